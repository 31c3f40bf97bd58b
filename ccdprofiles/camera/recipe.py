"""The recipe of a camera: which steps its calibration takes, and how."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import TYPE_CHECKING

from astropy import units as u

from ..errors import ProfileError
from .amplifier import (
    quantity,
)
from .spelling import near_words

if TYPE_CHECKING:
    from astropy.modeling import Model

__all__ = ["FRAME_TYPES", "Combine", "CosmicRays", "Flat", "Limits", "Recipe", "SpectralFlat"]

FRAME_TYPES = ("bias", "dark", "flat", "arc", "science")
"""The types of frame that there are."""


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


def _several(wanted: object) -> bool:
    return isinstance(wanted, tuple | list | set | frozenset)


def _frozen(mapping: Mapping) -> Mapping:
    return MappingProxyType(dict(mapping))


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, MappingProxyType) else value


def _reduced(made: object) -> tuple:
    """Take apart for pickling and copying: frozen mappings are neither pickled nor copied."""
    values = {f.name: _plain(getattr(made, f.name)) for f in fields(made)}
    return _rebuilt, (type(made), values)


def _rebuilt(kind: type, values: dict) -> object:
    return kind(**values)
