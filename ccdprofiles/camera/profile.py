"""What one camera's headers call things, where its pixels lie, and how it is calibrated."""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import inspect
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from decimal import Decimal
from functools import cached_property, lru_cache, partial
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from astropy import units as u

from ..errors import FrameRejected, ProfileError, SectionError
from .amplifier import (
    Amplifier,
    AmplifierSet,
    amplifier_set,
    check_amplifiers,
    check_frame_size,
    declared_size,
    quantity,
    sections_reach,
)
from .spelling import near_words
from .watch import Failure, call, place, reason

if TYPE_CHECKING:
    from astropy.modeling import Model

__all__ = [
    "COMMON_FRAME_TYPES",
    "FRAME_TYPES",
    "Combine",
    "CosmicRays",
    "Flat",
    "Limits",
    "Profile",
    "Recipe",
    "SpectralFlat",
]

FRAME_TYPES = ("bias", "dark", "flat", "arc", "science")
"""The types of frame that there are."""

COMMON_FRAME_TYPES = {
    "bias": "bias",
    "bias frame": "bias",
    "offset": "bias",
    "zero": "bias",
    "dark": "dark",
    "dark frame": "dark",
    "dark flat": "dark",
    "flat dark": "dark",
    "flat": "flat",
    "flat field": "flat",
    "flat frame": "flat",
    "dome flat": "flat",
    "lamp flat": "flat",
    "sky flat": "flat",
    "twilight": "flat",
    "twilight flat": "flat",
    "arc": "arc",
    "comp": "arc",
    "comparison": "arc",
    "calibration lamp": "arc",
    "expose": "science",
    "light": "science",
    "light frame": "science",
    "object": "science",
    "science": "science",
    "snapshot": "science",
    "spectrum": "science",
    "standard": "science",
    "tricolor image": "science",
}
"""What most cameras write in IMAGETYP; upper case, blanks, ``-`` and ``_`` make no difference,
nor does the word "frame" at the end. The ``frame_types`` of a profile are added to these words.
"""

_LONGEST = 1000
"""Characters; what a function returns for a header is no text of that length."""

UNKNOWN = ("", "indef", "n/a", "none", "unknown")
"""What is written in place of an exposure that no one knows."""

_TEMPERATURE = re.compile(
    r"([-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[-+]?\d+)?)\s*(?:deg|degrees?|°)?[\s_]*(c|celsius|k|kelvin)?",
    re.IGNORECASE | re.ASCII,
)

Cards = str | Sequence[str] | Callable[[Mapping], object] | None


def one_of(value: object, choices: Sequence[str], field: str, more: str = "") -> None:
    """Refuse a value that is none of the choices, with the nearest spelling.

    Raises
    ------
    ProfileError
    """
    if value not in choices:
        shown = value.__name__ if isinstance(value, type) else repr(value)
        raise ProfileError(
            f"{field}={shown} is none of {', '.join(choices)}{more}{nearest(value, choices)}."
        )


def fraction(value: object, field: str) -> None:
    """Refuse what is no number between 0 and 1.

    Raises
    ------
    ProfileError
    """
    if not (_is_number(value) and 0 <= value < 1):
        raise ProfileError(f"{field}={value!r} is no fraction between 0 and 1.")


def nearest(word: object, choices: Iterable[str]) -> str:
    """Return ``" (did you mean 'flat'?)"``, or nothing where no choice is really near."""
    near = near_words(word, choices)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _is_model(value: object) -> bool:
    """Say whether a value is a model; whoever made one has imported astropy.modeling."""
    modeling = sys.modules.get("astropy.modeling")
    return modeling is not None and isinstance(value, modeling.Model)


def check_model(value: object, field: str) -> bool:
    """Return True for a model that can be fitted along one axis, False for what is not a model.

    Raises
    ------
    ProfileError
        If it is a class instead of a model, has more than one input or output, stands for
        several models, or has nothing to fit.
    """
    modeling = sys.modules.get("astropy.modeling")
    if modeling and isinstance(value, type) and issubclass(value, modeling.Model):
        raise ProfileError(
            f"{field}={value.__name__} is a class, where a model was expected; "
            f"write {field}={value.__name__}(...)."
        )
    if not _is_model(value):
        return False
    shown = f"{field}={value.__class__.__name__}(...)"
    wanted = "a model that gives a level for each row is needed, as Polynomial1D(3)."
    if (value.n_inputs, value.n_outputs) != (1, 1):
        raise ProfileError(
            f"{shown} is a model of {_number_of(value.n_inputs, 'input')} and "
            f"{_number_of(value.n_outputs, 'output')}; {wanted}"
        )
    if len(value) != 1:
        raise ProfileError(f"{shown} is a set of {len(value)} models; {wanted}")
    if not (value.fittable and value.param_names):
        raise ProfileError(f"{shown} is a model without parameters to fit; {wanted}")
    return True


def _number_of(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


@dataclass(frozen=True, kw_only=True)
class Combine:
    """How a stack of frames becomes one.

    Parameters
    ----------
    method : {"average", "median", "sum"}
    clip : float or None
        Values further than this many ``mad_std`` from the median of their pixel,
        after scaling, are left out of an average or a sum; None leaves all in.
    """

    method: str = "average"
    clip: float | None = 5

    def __post_init__(self) -> None:
        one_of(self.method, ("average", "median", "sum"), "method")
        if self.clip is not None and not (_is_number(self.clip) and self.clip > 0):
            raise ProfileError(f"clip={self.clip!r} is no positive number; give one, or None.")


@dataclass(frozen=True, kw_only=True)
class Flat:
    """A flat of an imaging camera.

    Parameters
    ----------
    scale : {"median", "mode", "mean"}
        The statistic of the good pixels that each flat is divided by before they
        are combined, and the master after it. `ccdprofiles.pixels.combine.mode` says
        what the mode of a float image is.
    minimum : float
        Pixels of the master below this fraction of its level are flagged as
        having no flat, and are not divided.
    """

    scale: str = "median"
    minimum: float = 0.05

    def __post_init__(self) -> None:
        one_of(self.scale, ("median", "mode", "mean"), "scale")
        fraction(self.minimum, "minimum")


@dataclass(frozen=True, kw_only=True)
class SpectralFlat:
    """A flat of a spectrograph: the lamp's own spectrum is fitted and divided out.

    Parameters
    ----------
    dispersion : {"x", "y"}
        The FITS axis along which the wavelength runs.
    fit : {"spline", "polynomial"}
        The smooth curve that stands for the lamp.
    order : int
        Pieces of the cubic spline, or the degree of the (Chebyshev) polynomial.
    clip : float
        Points further than this many standard deviations from the curve, and more
        than 2 %, are left out of the fit.
    illuminated : float
        Rows (or columns) whose light is below this fraction of the slit's brightest
        part, the 90th percentile, are flagged as not illuminated.
    minimum : float
        As in `Flat`.
    """

    dispersion: str
    fit: str = "spline"
    order: int = 12
    clip: float = 3
    illuminated: float = 0.5
    minimum: float = 0.05

    scale = "median"

    def __post_init__(self) -> None:
        one_of(self.dispersion, ("x", "y"), "dispersion")
        one_of(self.fit, ("spline", "polynomial"), "fit")
        fraction(self.illuminated, "illuminated")
        fraction(self.minimum, "minimum")
        if not isinstance(self.order, int) or isinstance(self.order, bool) or self.order < 1:
            raise ProfileError(f"order={self.order!r} is no whole number from 1.")
        if not (_is_number(self.clip) and self.clip > 0):
            raise ProfileError(f"clip={self.clip!r} is no positive number.")


@dataclass(frozen=True, kw_only=True)
class CosmicRays:
    """L.A.Cosmic (van Dokkum 2001, PASP 113, 1420), by the names and with the answer of astroscrappy.

    Parameters
    ----------
    sigclip, sigfrac, objlim, niter, sepmed, cleantype, fsmode, psffwhm
        As in `astroscrappy.detect_cosmics`, and with its defaults.
    repair : bool
        True replaces the pixels that were hit; False only flags them.
    """

    sigclip: float = 4.5
    sigfrac: float = 0.3
    objlim: float = 5.0
    niter: int = 4
    sepmed: bool = True
    cleantype: str = "meanmask"
    fsmode: str = "median"
    psffwhm: float = 2.5
    repair: bool = False

    def __post_init__(self) -> None:
        one_of(self.cleantype, ("meanmask", "medmask", "idw"), "cleantype")
        one_of(self.fsmode, ("median", "convolve"), "fsmode")
        for name in ("sigclip", "sigfrac", "objlim", "niter", "psffwhm"):
            if not (_is_number(getattr(self, name)) and getattr(self, name) > 0):
                raise ProfileError(f"{name}={getattr(self, name)!r} is no positive number.")
        if not isinstance(self.niter, int):
            raise ProfileError(f"niter={self.niter!r} is no whole number from 1.")
        for name in ("sepmed", "repair"):
            if not isinstance(getattr(self, name), bool):
                raise ProfileError(f"{name}={getattr(self, name)!r} is not True or False.")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much may be wrong with the pixels of a raw frame before it is set aside.

    Parameters
    ----------
    saturated : float
        A calibration frame of which this fraction of the pixels is saturated is set
        aside; in science frames they are flagged.
    constant_rows : float
        A frame of which more than this fraction of the rows hold one value is set
        aside; 1 allows all, as simulated frames without noise may need.
    common_value : float
        A frame of which more than this fraction of the pixels hold one value, which
        noise of less than an adu does not explain, is set aside; 1 allows all.
    flat_level : tuple of float, or None
        Between which fractions of the saturation level the light of a flat may lie;
        of a spectral flat its brightest part. Judged where the saturation is known.
    read_noise : tuple of float, or None
        Between which multiples of the profile's read noise a bias may scatter.
    outlier : float or None
        A bias or dark further than this many ``mad_std`` from the median level of its
        master's frames is set aside.
    level : Quantity or None
        In adu; a frame this close to the median stays in any case. None takes the
        scatter of one pixel.
    temperature : Quantity or None
        In deg_C: how far the chip of a dark may be from that of the frame it is taken
        off, and within which those of one master lie. None takes 3 °C, and lets a dark
        whose temperature is not known do. It is read from the profile's ``temperature``,
        or from the usual cards.
    frames : int or dict
        The fewest frames that a master is made of, ``{"bias": 3, "dark": 3, "flat": 3,
        "arc": 1}`` unless told.
    """

    saturated: float = 0.05
    constant_rows: float = 0.01
    common_value: float = 0.2
    flat_level: tuple[float, float] | None = (0.1, 0.8)
    read_noise: tuple[float, float] | None = (0.7, 1.5)
    outlier: float | None = 5
    level: u.Quantity | None = None
    temperature: u.Quantity | None = None
    frames: int | Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("saturated", "constant_rows", "common_value"):
            value = getattr(self, name)
            if not (_is_number(value) and 0 < value <= 1):
                raise ProfileError(f"{name}={value!r} is no fraction above 0 and up to 1.")
        for name in ("flat_level", "read_noise"):
            value = getattr(self, name)
            if value is not None and not (
                _several(value)
                and len(value) == 2
                and all(_is_number(v) for v in value)
                and 0 <= value[0] < value[1]
            ):
                raise ProfileError(
                    f"{name}={value!r} is none; write the least and the most, as (0.1, 0.8), or None."
                )
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if self.outlier is not None and not (_is_number(self.outlier) and self.outlier > 0):
            raise ProfileError(
                f"outlier={self.outlier!r} is no positive number; give one, or None."
            )
        if self.level is not None:
            quantity(self.level, u.adu, "level")
        if self.temperature is not None:
            quantity(self.temperature, u.deg_C, "temperature")
        usual = {"bias": 3, "dark": 3, "flat": 3, "arc": 1}
        asked = self.frames
        if not isinstance(asked, Mapping):
            asked = dict.fromkeys(usual, asked)
        for kind, number in asked.items():
            one_of(kind, tuple(usual), "frames")
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise ProfileError(f"frames={number!r} is no whole number from 1.")
        object.__setattr__(self, "frames", _frozen(usual | dict(asked)))

    def __reduce__(self):
        return _reduced(self)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Which steps a camera's calibration needs.

    Parameters
    ----------
    overscan : {"median", "mean", "level"} or astropy model of one input
        How a strip of overscan becomes a level for each row: by the row's own median
        or mean, or one level for the whole frame. A model is fitted to the rows'
        medians with rejection; "level" is ``Polynomial1D(0)``.
    overscan_drift : Quantity or None
        How far, in adu, the level of a frame may lie from the median level of
        the night; beyond it the night's level is taken, and the header says so.
    bias : bool
        Whether a master bias is subtracted.
    dark : {None, "match", "scale"}
        None subtracts no dark; "match" one of the frame's own exposure; "scale"
        one scaled by the exposures, which needs ``bias=True``.
    exposure_tolerance : Quantity
        How far the exposure of a matched dark may lie from the frame's.
    flat : None, Flat or SpectralFlat
    combine : Combine or dict
        For all masters, or ``{"bias": Combine(...), ...}``. Arcs are summed
        unless the dict says otherwise.
    electrons : bool
        Whether the products are multiplied by the gain.
    cosmic_rays : None or CosmicRays
    limits : Limits
        How much may be wrong with the pixels of a frame, and how many frames a master needs.
    name : str
        The stem of a product, in which ``{stem}`` is that of the raw file.
    """

    overscan: str | Model = "median"
    overscan_drift: u.Quantity | None = None
    bias: bool = True
    dark: str | None = "match"
    exposure_tolerance: u.Quantity = 1 * u.s
    flat: Flat | SpectralFlat | None = Flat()
    combine: Combine | Mapping[str, Combine] = Combine()
    electrons: bool = False
    cosmic_rays: CosmicRays | None = None
    limits: Limits = field(default_factory=Limits)
    name: str = "{stem}_cal"

    def __post_init__(self) -> None:
        if not check_model(self.overscan, "overscan"):
            choices = ("median", "mean", "level")
            one_of(self.overscan, choices, "overscan", " or an astropy model")
        for name in ("bias", "electrons"):
            if not isinstance(getattr(self, name), bool):
                raise ProfileError(f"{name}={getattr(self, name)!r} is not True or False.")
        if self.dark is not None:
            one_of(self.dark, ("match", "scale"), "dark", " or None")
        if self.dark == "scale" and not self.bias:
            raise ProfileError(
                "dark='scale' needs bias=True: a dark that still holds its bias cannot be scaled."
            )
        if self.exposure_tolerance != 0 * u.s:
            quantity(self.exposure_tolerance, u.s, "exposure_tolerance")
        if self.overscan_drift is not None:
            quantity(self.overscan_drift, u.adu, "overscan_drift")
        if self.flat is not None and not isinstance(self.flat, Flat | SpectralFlat):
            raise ProfileError(
                f"flat={self.flat!r} is none; write flat=Flat(), flat=SpectralFlat(...) or None."
            )
        if self.cosmic_rays is not None and not isinstance(self.cosmic_rays, CosmicRays):
            raise ProfileError(
                f"cosmic_rays={self.cosmic_rays!r} is none; write CosmicRays() or None."
            )
        if not isinstance(self.limits, Limits):
            raise ProfileError(f"limits={self.limits!r} is none; write Limits(...).")
        if isinstance(self.combine, Mapping):
            for frame_type, combine in self.combine.items():
                one_of(frame_type, ("bias", "dark", "flat", "arc"), "combine")
                if not isinstance(combine, Combine):
                    raise ProfileError(f"combine={combine!r} is none; write Combine(...).")
            object.__setattr__(self, "combine", _frozen(self.combine))
        elif not isinstance(self.combine, Combine):
            raise ProfileError(f"combine={self.combine!r} is none; write Combine(...).")
        for frame_type in ("bias", "dark", "flat"):
            if self.combine_for(frame_type).method == "sum":
                raise ProfileError(
                    f"combine='sum' for a {frame_type}: a sum of {frame_type} frames is not what one "
                    "frame holds; only arcs are summed. Write 'average' or 'median'."
                )
        stem = self.name.replace("{stem}", "") if isinstance(self.name, str) else "{"
        odd = set(stem) & set("{}/\\") or not stem.isprintable()
        if "{stem}" not in str(self.name) or odd:
            raise ProfileError(
                f"name={self.name!r} is no product name; it needs {{stem}} and no folder, "
                "as '{stem}_cal'."
            )

    def __reduce__(self):
        return _reduced(self)

    def combine_for(self, frame_type: str) -> Combine:
        """Say how frames of this type are combined."""
        if isinstance(self.combine, Mapping):
            if frame_type in self.combine:
                return self.combine[frame_type]
        elif frame_type != "arc":
            return self.combine
        return Combine(method="sum", clip=None) if frame_type == "arc" else Combine()


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One camera: what its headers say, where its pixels lie, how it is calibrated.

    In place of almost any value a function of the header may stand.

    Parameters
    ----------
    instrument : str, tuple of str, callable or None
        The value or values of INSTRUME, exact but for outer blanks; or a function
        that says whether a header is of this camera; None where it writes no INSTRUME.
    where : dict
        Other cards that must agree too: ``{"OBSERVAT": "APO"}``. A value may be a
        number, a text, a shell pattern, or a tuple of these.
    telescope : str
        For people; no card is compared with it.
    amplifiers : list of Amplifier or callable
    binning : tuple of two str, callable or None
        The cards for columns and rows. Left out, the sections hold as they stand.
    overscan_bins : bool
        False where the overscan keeps its width in binned frames.
    frame_size : tuple of int, dict, callable or None
        Columns and rows of the whole raw frame, unbinned, where it is larger than what
        the sections reach: ``frame_size=(4109, 4096)``. The rest is not used. A file whose
        extensions differ in size needs a dict, ``{1: (2080, 4128), 2: (2080, 4112)}``.
        Left out, the last column and row of the frame must belong to a section, and a
        frame of another size is set aside.
    exposure, filter, object, date, temperature, frame_type : str, tuple of str, callable or None
        The cards, tried in order; None where there is none. The exposure is in seconds,
        the temperature of the chip in degrees Celsius.
    frame_types : dict
        What ``frame_type`` says → bias, dark, flat, arc, science, or None for a
        frame that is ignored on purpose. The words are added to
        `ccdprofiles.camera.profile.COMMON_FRAME_TYPES` and count before them, so None takes
        a common word away. Compared without case, blanks, ``-`` and ``_``.
    match : tuple of str, or dict
        Further cards that a frame and its master must agree on: for all masters,
        or ``{"flat": ("SLIT",)}`` for some. The usual set-up cards (gain, offset, read
        mode, speed, amplifier, temperature) are compared without being named.
    mixed_setup : {"split", "refuse"}
        What to do with frames of one type whose set-up cards differ: "split" makes a
        master for each setting, "refuse" makes none of them.
    ignore_cards : tuple of str
        Cards that do not matter for this camera, though their names suggest that they
        say how it was set.
    unit : Unit
        Of the raw pixels.
    recipe : Recipe or callable
        How its frames are calibrated; a function of the header where one camera takes
        images and spectra.
    name, file, notes : str
        Filled in when the profile is read from its file.

    Raises
    ------
    ProfileError
        If a value cannot be right.

    Examples
    --------
    >>> from ccdprofiles import Amplifier, Profile, Recipe
    >>> profile = Profile(
    ...     instrument="MyCam",
    ...     amplifiers=[Amplifier(data="[1:1024, 1:1024]", overscan=None)],
    ...     recipe=Recipe(bias=True, dark=None),
    ... )
    >>> profile.fits({"INSTRUME": "MyCam"})
    True
    """

    instrument: str | tuple[str, ...] | Callable[[Mapping], bool] | None
    amplifiers: Sequence[Amplifier] | Callable[[Mapping], Sequence[Amplifier]]
    recipe: Recipe | Callable[[Mapping], Recipe]
    where: Mapping[str, object] = field(default_factory=dict)
    telescope: str = ""
    binning: tuple[str, str] | Callable[[Mapping], tuple[int, int]] | None = None
    overscan_bins: bool = True
    frame_size: (
        tuple[int, int]
        | Mapping[int | str, tuple[int, int]]
        | Callable[[Mapping], tuple[int, int]]
        | None
    ) = None
    exposure: Cards = "EXPTIME"
    filter: Cards = "FILTER"
    object: Cards = "OBJECT"
    date: Cards = "DATE-OBS"
    temperature: Cards = None
    frame_type: Cards = "IMAGETYP"
    frame_types: Mapping[str, str | None] = field(default_factory=dict)
    match: Sequence[str] | Mapping[str, Sequence[str]] = ()
    mixed_setup: str = "split"
    ignore_cards: Sequence[str] = ()
    unit: u.UnitBase = u.adu
    name: str = field(default="", compare=False)
    file: str = field(default="", compare=False)
    notes: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        if isinstance(self.instrument, list):
            put(self, "instrument", tuple(self.instrument))
        names = (self.instrument,) if isinstance(self.instrument, str) else self.instrument
        if isinstance(names, tuple):
            for name in names:
                if not isinstance(name, str) or not name.strip():
                    raise ProfileError(f"instrument={name!r} is no value of INSTRUME.")
        elif names is None:
            if not self.where:
                raise ProfileError(
                    "instrument=None needs where={...}: without INSTRUME other cards must tell "
                    "this camera from all others."
                )
        elif not callable(names):
            raise ProfileError(f"instrument={names!r} is no text, tuple of texts or function.")
        if not isinstance(self.where, Mapping):
            raise ProfileError(f"where={self.where!r} is none; write where={{'CARD': 'value'}}.")
        put(self, "where", _frozen(self.where))
        if isinstance(self.amplifiers, Amplifier):
            raise ProfileError(
                "amplifiers=Amplifier(...) is no list; write amplifiers=[Amplifier(...)]."
            )
        if not callable(self.amplifiers):
            put(self, "amplifiers", tuple(self.amplifiers))
            if not self.amplifiers:
                raise ProfileError("amplifiers=[] is empty; a camera has at least one.")
            check_amplifiers(self.amplifiers)
        self._check_cards()
        self._check_setup()
        self._check_frame_types()
        if self.frame_size is not None and not callable(self.frame_size):
            fixed = () if callable(self.amplifiers) else self.amplifiers
            put(self, "frame_size", _checked_size(self.frame_size, fixed))
        if not isinstance(self.recipe, Recipe) and not callable(self.recipe):
            raise ProfileError(f"recipe={self.recipe!r} is none; write recipe=Recipe(...).")
        if not isinstance(self.unit, u.UnitBase):
            raise ProfileError(f"unit={self.unit!r} is no unit; write unit=u.adu.")

    def _check_cards(self) -> None:
        put = object.__setattr__
        for name in ("exposure", "filter", "object", "date", "temperature", "frame_type"):
            value = getattr(self, name)
            if isinstance(value, list):
                put(self, name, tuple(value))
            if value is not None and not callable(value):
                for card in (value,) if isinstance(value, str) else value:
                    _check_card(card, name)
        if self.frame_type is None:
            raise ProfileError(
                "frame_type=None: without the type of its frames no night can be planned; "
                "give a card or a function of the header."
            )
        if isinstance(self.binning, str):
            raise ProfileError(_not_two_cards(self.binning, self.binning))
        if self.binning is not None and not callable(self.binning):
            put(self, "binning", tuple(self.binning))
            if len(self.binning) != 2:
                alone = self.binning[0] if len(self.binning) == 1 else None
                raise ProfileError(_not_two_cards(self.binning, alone))
            for card in self.binning:
                _check_card(card, "binning")
        if callable(self.match):
            raise ProfileError("match= is a function; give the names of cards, or a dict of them.")
        if isinstance(self.match, str):
            raise ProfileError(f"match={self.match!r} is one text; write match=({self.match!r},).")
        if isinstance(self.match, Mapping):
            for frame_type in self.match:
                one_of(frame_type, ("bias", "dark", "flat"), "match")
            for cards in self.match.values():
                if not isinstance(cards, tuple | list):
                    raise ProfileError(
                        f"match={self.match!r} holds {cards!r}, which is no tuple of header cards; "
                        "write match={'flat': ('CARD',)}."
                    )
            put(self, "match", _frozen({k: tuple(v) for k, v in self.match.items()}))
        elif isinstance(self.match, tuple | list):
            put(self, "match", tuple(self.match))
        else:
            raise ProfileError(
                f"match={self.match!r} is no tuple of header cards; write match=('CARD',)."
            )
        for cards in self.match.values() if isinstance(self.match, Mapping) else (self.match,):
            for card in cards:
                _check_card(card, "match")

    def _check_setup(self) -> None:
        one_of(self.mixed_setup, ("split", "refuse"), "mixed_setup")
        cards = self.ignore_cards
        if isinstance(cards, str):
            raise ProfileError(
                f"ignore_cards={cards!r} is one text; write ignore_cards=({cards!r},)."
            )
        if not isinstance(cards, tuple | list):
            raise ProfileError(
                f"ignore_cards={cards!r} is no tuple of header cards; write ignore_cards=('CARD',)."
            )
        for card in cards:
            _check_card(card, "ignore_cards")
            needed = self.match if isinstance(self.match, tuple) else sum(self.match.values(), ())
            if card in needed:
                raise ProfileError(
                    f"ignore_cards names {card!r}, which match= compares; take it out of one of them."
                )
        object.__setattr__(self, "ignore_cards", tuple(cards))

    def _check_frame_types(self) -> None:
        if not isinstance(self.frame_types, Mapping):
            raise ProfileError(f"frame_types={self.frame_types!r} is no dict of words.")
        for word, frame_type in self.frame_types.items():
            if frame_type is not None and frame_type not in FRAME_TYPES:
                raise ProfileError(
                    f"frame_types says {word!r} is a {frame_type!r}; a frame is one of "
                    f"{', '.join(FRAME_TYPES)}, or None{nearest(frame_type, FRAME_TYPES)}."
                )
        words = {_word(word): kind for word, kind in self.frame_types.items()}
        object.__setattr__(self, "frame_types", _frozen(words))

    def __repr__(self) -> str:
        cards = ", ".join(repr(name) for name in self.instruments) or "by other cards"
        amplifiers = () if callable(self.amplifiers) else self.amplifiers
        number = f", {len(amplifiers)} amplifier{'s' * (len(amplifiers) > 1)}" if amplifiers else ""
        file = f", {Path(self.file).name}" if self.file else ""
        return f"<Profile {self.name or '(no name)'}: {cards}{number}{file}>"

    def __str__(self) -> str:
        shown = (f for f in fields(self) if f.repr)
        return f"Profile({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in shown)})"

    def __reduce__(self):
        return _reduced(self)

    # What a header says, in the words of this package.

    @property
    def instruments(self) -> tuple[str, ...]:
        """The values of INSTRUME that this profile names; empty where a function or other cards tell."""
        if isinstance(self.instrument, str):
            return (self.instrument,)
        return self.instrument if isinstance(self.instrument, tuple) else ()

    @cached_property
    def amplifiers_vary(self) -> bool:
        """Whether a function of the header tells the amplifiers, or a number of one."""
        return any(map(callable, (self.amplifiers, self.frame_size))) or any(
            callable(n) for a in self.amplifiers for n in (a.gain, a.read_noise, a.saturation)
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that decides what the profile does; comments and names do not count."""
        values = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.compare and f.name != "telescope" and not self._is_newer_default(f)
        }
        values["frame_types"] = self.frame_types or _HASHED_WORDS
        try:
            told = [f"{name}={_told(value)}" for name, value in values.items()]
        except Exception as error:  # objects of the profile describe themselves
            raise ProfileError(
                f"{self._who}: a value of the profile cannot be written down "
                f"({reason(error)}{place(error)}); give texts, numbers or plain functions."
            ) from error
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def _is_newer_default(self, f: Field) -> bool:
        """Return True for a field that was added later and is not used: hashes stay as they were."""
        newer = ("frame_size", "mixed_setup", "ignore_cards")
        return f.name in newer and getattr(self, f.name) == f.default

    def knows(self, header: Mapping) -> bool:
        """Say whether INSTRUME alone, or the function in its place, fits this header."""
        if callable(self.instrument):
            try:
                return bool(call(self.instrument, header))
            except Failure:
                raise
            except Exception:  # written for this camera's headers, and met with another's
                return False
        if self.instrument is None:
            return True
        said = header.get("INSTRUME")
        return isinstance(said, str) and said.strip() in {n.strip() for n in self.instruments}

    def disagreement(self, header: Mapping) -> str | None:
        """Name the first card of ``where`` that does not agree, or return None."""
        for card, wanted in self.where.items():
            said = header.get(card)
            if not any(_agrees(said, w) for w in (wanted if _several(wanted) else (wanted,))):
                return f"{card} = {_quoted(said)}, not {_quoted(wanted)}"
        return None

    def fits(self, header: Mapping) -> bool:
        """Say whether a header is of this camera."""
        return self.knows(header) and self.disagreement(header) is None

    def frame_type_of(self, header: Mapping) -> str | None:
        """Return the type of a frame, or None where it is ignored on purpose.

        Raises
        ------
        FrameRejected
            ``no-type`` where the card is missing or says a word that no one explained.
        """
        said = self._card("frame_type", header)
        if said is None:
            raise FrameRejected(
                "no-type",
                f"{self._missing('frame_type')}; it should say what type of frame this "
                f"is; give {self._who} another frame_type=.",
            )
        word = _word(said)
        if word in self.frame_types:
            return self.frame_types[word]
        if _loose(word) in self._loose_types:
            return self._loose_types[_loose(word)]
        raise FrameRejected(
            "no-type",
            f"{self._says('frame_type', said)} is no type of frame that "
            f"{self._who} knows{nearest(word, self._meant(word))}; "
            "add the word to its frame_types=.",
        )

    def _meant(self, word: str) -> Iterable[str]:
        """Return the words that one may be a misspelling of; it must not lead to another type."""
        if "acq" in word:
            return ()
        kinds = {w: self._loose_types[_loose(w)] for w in (*self.frame_types, *COMMON_FRAME_TYPES)}
        if "flat" not in word and "twilight" not in word:
            return kinds
        if "dark" in word:
            return [w for w, kind in kinds.items() if kind == "dark" and "flat" in w]
        return [w for w, kind in kinds.items() if kind == "flat"]

    @cached_property
    def _loose_types(self) -> dict[str, str | None]:
        """The words for types as `_loose` writes them; those of the profile count first."""
        return _COMMON_LOOSE | {_loose(word): kind for word, kind in self.frame_types.items()}

    def exposure_of(self, header: Mapping) -> float | None:
        """Return the exposure in seconds, or None where the header has none.

        A number in a text is read as that number.

        Raises
        ------
        FrameRejected
            ``exposure`` where it is no number, negative, or longer than a day.
        """
        said = self._card("exposure", header, UNKNOWN)
        if isinstance(said, u.Quantity):
            said = said.to_value(u.s)
        if said is None or _word(said) in UNKNOWN:
            return None
        try:
            # Python reads 1_0 as 10; no camera does.
            seconds = math.nan if "_" in str(said) else float(said)
        except (TypeError, ValueError):
            seconds = math.nan
        if isinstance(said, bool) or not 0 <= seconds <= 86400:
            raise FrameRejected(
                "exposure",
                f"{self._says('exposure', said)} is no exposure in seconds "
                "between 0 and a day; correct the header, or set the frame aside.",
            )
        return seconds

    def temperature_of(self, header: Mapping) -> float | None:
        """Return the temperature of the chip in degrees Celsius, or None where it is not known.

        Raises
        ------
        ProfileError
            Where a function of the profile returns what is neither a number nor a text.
        """
        try:
            said = self._card("temperature", header)
        except (TypeError, ValueError):
            return None  # float(None), of a function that met a header without the card
        return read_celsius(said)

    def binning_of(self, header: Mapping) -> tuple[int, int]:
        """Return how many columns and rows were summed into one.

        Raises
        ------
        FrameRejected
            ``binning`` where the cards are missing or are no whole numbers from 1.
        """
        if self.binning is None:
            return 1, 1
        said = (
            call(self.binning, header)
            if callable(self.binning)
            else tuple(header.get(card) for card in self.binning)
        )
        try:
            x, y = (_whole(value) for value in said)
        except (TypeError, ValueError, OverflowError):
            x = y = 0
        if x < 1 or y < 1:
            if not callable(self.binning) and set(said) == {None}:
                raise FrameRejected(
                    "binning",
                    f"{' and '.join(self.binning)} are missing, where two whole numbers from 1 "
                    f"were expected; correct the header, or binning= in {self._who}.",
                )
            cards = "" if callable(self.binning) else ", ".join(self.binning)
            raise FrameRejected(
                "binning",
                f"{cards + ' =' if cards else 'the function binning= returns'} {said}"
                f"{'' if cards else ', which'} is no binning; two whole numbers from 1 were expected; "
                f"correct the header, or binning= in {self._who}.",
            )
        return x, y

    def recipe_of(self, header: Mapping) -> Recipe:
        """Return how a frame is calibrated.

        Raises
        ------
        ProfileError
            Where a function of the profile returns no recipe.
        """
        if not callable(self.recipe):
            return self.recipe
        recipe = call(self.recipe, header)
        if not isinstance(recipe, Recipe):
            raise ProfileError(f"{self._who}: recipe= returns {recipe!r}, which is no Recipe(...).")
        return recipe

    def text_of(self, field: str, header: Mapping) -> str | None:
        """Return what the header says of ``filter``, ``object`` or ``date``, or None."""
        said = self._card(field, header)
        text = "" if said is None else str(said).strip()
        if len(text) > _LONGEST and callable(getattr(self, field)):
            raise ProfileError(
                f"the function {field}= returns {text[:40]!r} and {len(text) - 40} characters more, "
                "which is no text for a header."
            )
        return text or None

    def match_of(self, master: str, header: Mapping) -> tuple[tuple[str, str | None], ...]:
        """Return the further cards a master of this type must share, and what they say."""
        cards = self.match.get(master, ()) if isinstance(self.match, Mapping) else self.match
        return tuple((card, _text(header.get(card))) for card in cards)

    def amplifiers_of(self, header: Mapping, shapes: Mapping) -> AmplifierSet:
        """Fit the amplifiers into a frame.

        Parameters
        ----------
        header : mapping
        shapes : mapping
            Rows and columns for each extension; ``None`` stands for the image of a
            file that has one.

        Raises
        ------
        FrameRejected
            ``section`` where the frame has another size than the sections account for,
            and ``missing-extension`` where it lacks one.
        ProfileError
            Where a function of the profile returns what cannot be right.
        """
        amplifiers = self.amplifiers
        if callable(amplifiers):
            amplifiers = tuple(call(amplifiers, header))
            check_amplifiers(amplifiers)
        for amplifier in amplifiers:
            if amplifier.extension is None and None not in shapes:
                raise FrameRejected(
                    "mef",
                    f"it holds {sum(isinstance(e, int) for e in shapes)} images, where {self._who} expects one; "
                    "give its amplifiers their extension=.",
                )
            if amplifier.extension not in shapes:
                raise FrameRejected(
                    "missing-extension",
                    f"extension {amplifier.extension!r} is missing, where {self._who} expects "
                    f"an amplifier; the file has {list(shapes)}; it may have been cut.",
                )
        binning = self.binning_of(header)
        size = self._frame_size_of(header, amplifiers)
        try:
            check_frame_size(
                amplifiers, shapes, binning, self.overscan_bins, size, self._binning_cards
            )
            return amplifier_set(amplifiers, shapes, binning, self.overscan_bins, header)
        except SectionError as error:
            raise FrameRejected("section", f"{self._who}: {error}") from error

    def _frame_size_of(
        self, header: Mapping, amplifiers: tuple[Amplifier, ...]
    ) -> tuple[int, int] | Mapping | None:
        """Return the unbinned size of the raw frame, as far as the profile gives it."""
        if not callable(self.frame_size):
            return self.frame_size
        size = self.frame_size(header)
        return None if size is None else _checked_size(size, amplifiers)

    @property
    def _binning_cards(self) -> str:
        """The cards of the binning, in a sentence; nothing where there are none."""
        if callable(self.binning):
            return "binning= in the profile"
        return " and ".join(dict.fromkeys(self.binning or ()))

    @property
    def _who(self) -> str:
        return Path(self.file).name if self.file else self.name or "the profile"

    def _card(self, field: str, header: Mapping, missing: Sequence[str] = ("",)) -> object | None:
        """Read a field of the header: the first of its cards that is there and says something."""
        cards = getattr(self, field)
        if cards is None:
            return None
        if callable(cards):
            return call(cards, header)
        for card in (cards,) if isinstance(cards, str) else cards:
            said = header.get(card)
            if said is not None and _word(said) not in missing:
                return said
        return None

    def _says(self, field: str, said: object) -> str:
        """Begin a sentence about what a field of the header says, right or wrong."""
        cards = getattr(self, field)
        if callable(cards):
            return f"the function {field}= returns {_quoted(said)}, which"
        return f"{_names(cards)} = {_quoted(said)}"

    def _missing(self, field: str) -> str:
        cards = getattr(self, field)
        if callable(cards):
            return f"the function {field}= returns nothing for this header"
        return f"{_names(cards)} is missing"


def _names(cards: str | Sequence[str]) -> str:
    return cards if isinstance(cards, str) else "/".join(cards)


def _check_card(card: object, field: str) -> None:
    if not isinstance(card, str) or not card.strip():
        raise ProfileError(f"{field}={card!r} is no name of a header card.")


def _checked_size(
    frame_size: object, amplifiers: Sequence[Amplifier]
) -> tuple[int, int] | Mapping[int | str, tuple[int, int]]:
    """Return frame_size= as tuples, or refuse what is not a size or does not hold the sections.

    Raises
    ------
    ProfileError
    """
    sizes = frame_size if isinstance(frame_size, Mapping) else {None: frame_size}
    for size in sizes.values():
        if not (_several(size) and len(size) == 2 and all(_is_length(n) for n in size)):
            raise ProfileError(
                f"frame_size={size!r} is not the size of a frame; give its columns and rows, "
                "unbinned, as frame_size=(4109, 4096)."
            )
    checked = {extension: tuple(size) for extension, size in sizes.items()}
    result = _frozen(checked) if isinstance(frame_size, Mapping) else checked[None]
    for amplifier in amplifiers:
        size = declared_size(result, amplifier.extension)
        if size is None:
            raise ProfileError(
                f"frame_size= has no size for extension {amplifier.extension!r}, which an "
                f"amplifier names; it has {', '.join(map(repr, checked))}."
            )
        columns, rows = sections_reach([amplifier])
        if (columns or 0) > size[0] or (rows or 0) > size[1]:
            sections = " or ".join(t for t in (amplifier.data, amplifier.overscan) if t)
            raise ProfileError(
                f"section {sections} lies outside frame_size={size}; both are unbinned, "
                "columns first; correct one of them."
            )
    return result


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def read_celsius(said: object) -> float | None:
    """Return a temperature in degrees Celsius, or None where nobody knows it.

    Some programs write a comma or a unit into the card.

    Raises
    ------
    ProfileError
        If it is neither a number, nor a text, nor a temperature with its unit.

    Examples
    --------
    >>> from ccdprofiles.camera.profile import read_celsius
    >>> read_celsius("-10,5"), read_celsius("-10 C"), read_celsius("263.15 K")
    (-10.5, -10.0, -10.0)
    """
    if said is None or isinstance(said, bool):
        return None
    if isinstance(said, u.Quantity) and said.isscalar:
        said = float(said.to_value(u.deg_C, u.temperature()))
    elif not isinstance(said, str | Real | Decimal):
        raise ProfileError(f"{said!r} is no temperature; a number in degrees Celsius was expected.")
    found = _TEMPERATURE.fullmatch(str(said).strip())
    if not found:
        return None
    degrees = float(found[1].replace(",", "."))
    if (found[2] or "").lower().startswith("k"):
        degrees = round(degrees - 273.15, 6)
    return degrees if math.isfinite(degrees) else None


def _whole(said: object) -> int:
    """Read a whole number, which some cameras write as ``2.0`` or as a text."""
    number = float(str(said))
    if number != int(number):
        raise ValueError(said)
    return int(number)


def _word(said: object) -> str:
    return str(said).strip().lower()


@lru_cache(maxsize=256)
def _loose(word: str) -> str:
    """Write a word for a type as ``Bias_Frame``, ``bias-frame`` and ``BIAS`` share it."""
    return re.sub(r"[\s_-]+", " ", word).removesuffix(" frame").replace(" ", "")


_COMMON_LOOSE = {_loose(word): kind for word, kind in COMMON_FRAME_TYPES.items()}

_HASHED_WORDS = {
    word: _COMMON_LOOSE[_loose(word)]
    for word in (
        *("bias", "bias frame", "offset", "zero", "dark", "dark frame", "flat", "flat field"),
        *("flat frame", "flatfield", "domeflat", "skyflat", "twilight", "twilight flat", "arc"),
        *("comp", "light", "light frame", "object", "science"),
    )
}
"""What stands in the hash of a profile without ``frame_types``, so that products of the time when
these were all common words are still up to date."""


def _text(said: object) -> str | None:
    return None if said is None else str(said).strip()


def _quoted(said: object) -> str:
    if said is None:
        return "missing"
    text = repr(said.strip() if isinstance(said, str) else said)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _not_two_cards(binning: object, alone: object) -> str:
    """Return what ``binning`` may be, and how one card that holds both numbers is read."""
    text = f"binning={binning!r} is none; give the two cards, columns first."
    if isinstance(alone, str):
        text += (
            " Where one card holds both numbers, as '2 2', write "
            f"binning=lambda header: header[{alone!r}].split()."
        )
    return text


def _several(wanted: object) -> bool:
    return isinstance(wanted, tuple | list | set | frozenset)


def _agrees(said: object, wanted: object) -> bool:
    """Compare a card with a value, a text, or a shell pattern; texts exactly but for outer blanks."""
    if said is None or isinstance(wanted, bool) or isinstance(said, bool):
        return said is wanted
    if isinstance(wanted, str):
        return fnmatch.fnmatchcase(str(said).strip(), wanted.strip())
    try:
        return float(said) == float(wanted)
    except (TypeError, ValueError):
        return False


def _frozen(mapping: Mapping) -> Mapping:
    return MappingProxyType(dict(mapping))


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, MappingProxyType) else value


def _reduced(made: Profile | Recipe | Limits) -> tuple:
    """Take apart for pickling and copying: frozen mappings are neither pickled nor copied."""
    values = {f.name: _plain(getattr(made, f.name)) for f in fields(made)}
    return _rebuilt, (type(made), values)


def _rebuilt(kind: type, values: dict) -> Profile | Recipe:
    return kind(**values)


def _told(value: object) -> str:
    """Write a value of a profile down so that equal ones read alike."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_told(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(_told(v) for v in value) + ")"
    if isinstance(value, Amplifier | Recipe):
        inner = ", ".join(f"{f.name}={_told(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({inner})"
    if _is_model(value):
        return f"{value.__class__.__name__}{value.parameters.tolist()}"
    if isinstance(value, u.Quantity):
        return f"{value.value.tolist()} {value.unit}"
    if isinstance(value, partial):
        return f"partial({_told(value.func)}, {_told(value.args)}, {_told(value.keywords)})"
    if callable(value):
        return _code(value)
    return repr(value)


def _code(function: Callable) -> str:
    """Write the file of a function down without comments, as it may lean on all of it."""
    try:
        lines, _ = inspect.findsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        if code is None:
            return f"{type(function).__qualname__}{_told(getattr(function, '__dict__', {}))}"
        return f"{code.co_code.hex()}{code.co_consts!r}"
    tree = ast.parse("".join(lines))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(tree)
