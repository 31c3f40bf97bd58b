"""The recipe of a camera: the steps of its calibration, and their parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astropy import units as u

from ..errors import ProfileError
from .corrections import file_names
from .crosstalk import check_crosstalk
from .frame_types import MASTER_TYPES, STEPS
from .limits import Limits
from .linearity import check_linearity
from .settings import Dated, Number, Setting, check_number, number_of
from .values import (
    ADDED,
    boolean,
    changed,
    check_model,
    count,
    fraction,
    one_of,
    picklable,
    positive,
    quantity,
    read_only,
    written,
)

if TYPE_CHECKING:
    from astropy.modeling import Model

__all__ = ["ALL_CHIPS", "Combine", "CosmicRays", "Flat", "Limits", "Recipe", "SpectralFlat"]

ALL_CHIPS = "all chips"
"""The level of a flat that the chips of a mosaic share."""


@dataclass(frozen=True, kw_only=True)
class Combine:
    """How a stack of frames is combined.

    Parameters
    ----------
    method : {"average", "median", "sum"}
    clip : float or None
        Values further than this many ``mad_std`` from the median of their pixel,
        after scaling, are rejected from an average or a sum; None rejects nothing.

    Raises
    ------
    ProfileError
        If a value is not valid.

    Examples
    --------
    >>> from ccdprofiles import Combine, Recipe
    >>> recipe = Recipe(combine={"bias": Combine(method="median", clip=None)})
    >>> recipe.combine_for("bias").method, recipe.combine_for("dark").method
    ('median', 'average')
    """

    method: str = "average"
    clip: float | None = 5

    def __post_init__(self) -> None:
        one_of(self.method, ("average", "median", "sum"), "method")
        if self.clip is not None:
            positive(self.clip, "clip", "; use such a number, or None")


@dataclass(frozen=True, kw_only=True)
class Flat:
    """A flat of an imaging camera.

    Parameters
    ----------
    scale : {"median", "mode", "mean"}
        The statistic of the good pixels by which each flat is divided before they are
        combined, and the master afterwards. `ccdprofiles.pixels.statistics.mode` defines
        the mode of a float image.
    minimum : float
        Pixels of the master below this fraction of its level are flagged as having no
        flat, and are not divided.
    level : {"chip", "all chips"}
        Of a mosaic: "chip" normalises the flat of each chip by itself; "all chips" by one number,
        the mean level of all chips, so that the response of the chips relative to each other is
        corrected too.

    Raises
    ------
    ProfileError
        If a value is not valid.

    Examples
    --------
    >>> from ccdprofiles import Flat, Recipe
    >>> Recipe(flat=Flat(scale="mode")).flat.minimum
    0.05
    >>> Recipe(flat=Flat(level="all chips")).flat
    Flat(scale='median', minimum=0.05, level='all chips')
    """

    scale: str = "median"
    minimum: float = 0.05
    level: str = field(default="chip", metadata=ADDED)

    def __post_init__(self) -> None:
        one_of(self.scale, ("median", "mode", "mean"), "scale")
        fraction(self.minimum, "minimum")
        one_of(self.level, ("chip", ALL_CHIPS), "level")

    # A part of the hash of products.
    __repr__ = written


@dataclass(frozen=True, kw_only=True)
class SpectralFlat:
    """A flat of a spectrograph: the spectrum of the lamp is fitted and divided out.

    Parameters
    ----------
    dispersion : {"x", "y"}
        The FITS axis along which the wavelength runs.
    fit : {"spline", "polynomial"}
        The smooth curve that is fitted to the spectrum of the lamp.
    order : int
        Pieces of the cubic spline, or the degree of the (Chebyshev) polynomial.
    clip : float
        Points further than this many standard deviations from the curve, and more
        than 2 %, are rejected from the fit.
    illuminated : float
        Rows (or columns) whose light is below this fraction of the slit's brightest
        part, the 90th percentile, are flagged as not illuminated.
    minimum : float
        As in `Flat`.

    Raises
    ------
    ProfileError
        If a value is not valid.

    Examples
    --------
    >>> from ccdprofiles import Recipe, SpectralFlat
    >>> flat = SpectralFlat(dispersion="y", fit="polynomial", order=7)
    >>> Recipe(flat=flat).flat.illuminated
    0.5
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
        count(self.order, "order")
        positive(self.clip, "clip")


@dataclass(frozen=True, kw_only=True)
class CosmicRays:
    """L.A.Cosmic (van Dokkum 2001, PASP 113, 1420), with parameters and results of astroscrappy.

    Parameters
    ----------
    sigclip, sigfrac, objlim, niter, sepmed, cleantype, fsmode, psffwhm
        As in `astroscrappy.detect_cosmics`, and with its defaults.
    repair : bool
        True replaces the pixels that were hit; False only flags them.

    Raises
    ------
    ProfileError
        If a value is not valid.

    Examples
    --------
    >>> from ccdprofiles import CosmicRays, Recipe
    >>> Recipe(cosmic_rays=CosmicRays(sigclip=6)).cosmic_rays.objlim
    5.0
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
        for name in ("sigclip", "sigfrac", "objlim", "psffwhm"):
            positive(getattr(self, name), name)
        count(self.niter, "niter")
        for name in ("sepmed", "repair"):
            boolean(getattr(self, name), name)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The calibration steps of a camera, and their parameters.

    Parameters
    ----------
    overscan : {"median", "mean", "level"} or astropy model of one input
        How the overscan becomes a level for each row: the median or mean of the row, or
        one level for the whole frame. A model is fitted to the medians of the rows, with
        rejection; "level" is ``Polynomial1D(0)``.
    overscan_drift : Quantity or None
        The largest deviation, in adu, of the overscan level from the nightly median;
        beyond it the nightly median is used, and the header records this.
    bias : bool, Quantity, Setting, Dated or callable
        True subtracts a master bias. A constant in adu is subtracted from every frame instead, and
        no bias frames are needed: a quantity, a `Setting` of the offset, or a function of the header.
        A frame whose constant is not known lacks its bias.
    dark : {None, "match", "scale"}
        None subtracts no dark; "match" one of the frame's own exposure; "scale" one
        scaled by the exposures, which needs ``bias=True`` or a constant.
    exposure_tolerance : Quantity, or tuple of Quantity and float
        The largest difference in exposure between a frame and a matched dark; with a fraction of
        the exposure, such as ``(0.05 * u.s, 0.001)``, the larger of both.
    flat : None, Flat or SpectralFlat
    combine : Combine or dict
        For all masters, or ``{"bias": Combine(...), ...}``. Arcs are summed unless the dict
        specifies another method.
    electrons : bool
        True multiplies the products by the gain.
    cosmic_rays : None or CosmicRays
    limits : Limits
        When a raw frame is set aside, and how many frames a master needs.
    bad_pixels : str, dict or None
        The FITS file of a bad-pixel mask beside the profile, such as ``"mask_1x1.fits"``:
        an image of the trimmed frame in which every pixel other than 0 is bad. In the name
        ``{binning}`` stands for columns x rows, as in ``"mask_{binning}.fits"``; a dict gives a
        name for each binning. Bad pixels are flagged in masters and in science frames, and do
        not count for the level of a flat.
    crosstalk : dict, sequence, str or None
        Fractions of the counts of an amplifier that appear in another one at the same moment of the
        read-out: ``{"victim": {"aggressor": 1e-3}}``, a square matrix, victim x aggressor, in the
        order of the amplifiers, or the name of a table beside the profile, such as
        ``"crosstalk.ecsv"``, with the columns ``victim``, ``aggressor`` and ``fraction``. Subtracted
        after the overscan, before amplifiers are flipped into place; pixels of equal place in the
        data sections are read at the same moment.
    linearity : Polynomial1D, sequence of (raw, linear), str, dict or None
        Counts in adu above the bias, and what they would be if they were proportional to the light:
        a polynomial without a constant term, a table that begins at (0, 0), or the name of a table
        beside the profile, such as ``"linearity.ecsv"``, with the columns ``raw`` and ``linear``,
        and ``amplifier`` if they differ. A dict gives a curve for each amplifier. Applied after
        overscan and bias, before the dark. Pixels beyond the end of a table are flagged as
        non-linear.
    shutter : str, dict or None
        The FITS file of an image of the trimmed frame in seconds, named as ``bad_pixels`` is: how
        much longer than ``exposure`` each pixel is exposed. Flats and science frames are multiplied
        by t / (t + s).
    fringe : str, dict or None
        The FITS file of a master of fringes of the trimmed frame, for all filters, or a dict of such
        files by filter; frames in other filters are not corrected. Its uncertainty, in an
        extension UNCERT, is propagated. It is scaled to each science frame after the flat.
    name : str
        The stem of a product, in which ``{stem}`` is that of the raw file.

    Raises
    ------
    ProfileError
        If a value is not valid, or two contradict each other.

    Examples
    --------
    >>> from ccdprofiles import Flat, Recipe
    >>> recipe = Recipe(bias=True, dark="scale", flat=Flat(scale="mean"))
    >>> recipe.combine_for("arc").method
    'sum'

    A camera without bias frames, whose level follows from its offset:

    >>> from astropy import units as u
    >>> from ccdprofiles import Setting
    >>> recipe = Recipe(bias=Setting("OFFSET", {10: 100, 50: 500}, unit=u.adu), dark="scale")
    >>> recipe.has("bias"), recipe.needs_master("bias")
    (True, False)
    """

    overscan: str | Model = "median"
    overscan_drift: u.Quantity | None = None
    bias: bool | Number = True
    dark: str | None = "match"
    exposure_tolerance: u.Quantity | tuple[u.Quantity, float] = 1 * u.s
    flat: Flat | SpectralFlat | None = Flat()
    combine: Combine | Mapping[str, Combine] = Combine()
    electrons: bool = False
    cosmic_rays: CosmicRays | None = None
    limits: Limits = field(default_factory=Limits)
    bad_pixels: str | Mapping[str, str] | None = field(default=None, metadata=ADDED)
    crosstalk: Any = field(default=None, metadata=ADDED)
    linearity: Any = field(default=None, metadata=ADDED)
    shutter: str | Mapping[str, str] | None = field(default=None, metadata=ADDED)
    fringe: str | Mapping[str, str] | None = field(default=None, metadata=ADDED)
    name: str = "{stem}_cal"

    def __post_init__(self) -> None:
        if not check_model(self.overscan, "overscan"):
            choices = ("median", "mean", "level")
            one_of(self.overscan, choices, "overscan", " or an astropy model")
        _check_bias(self.bias)
        boolean(self.electrons, "electrons")
        if self.dark is not None:
            one_of(self.dark, ("match", "scale"), "dark", " or None")
        if self.dark == "scale" and not self.has("bias"):
            raise ProfileError(
                "dark='scale' needs bias=True or a constant: a dark that still contains its bias cannot "
                "be scaled."
            )
        object.__setattr__(self, "exposure_tolerance", _checked_tolerance(self.exposure_tolerance))
        if self.overscan_drift is not None:
            quantity(self.overscan_drift, u.adu, "overscan_drift")
        self._check_parts()
        for name in ("bad_pixels", "shutter"):
            object.__setattr__(self, name, file_names(getattr(self, name), name))
        object.__setattr__(self, "fringe", file_names(self.fringe, "fringe", by="filter"))
        object.__setattr__(self, "crosstalk", check_crosstalk(self.crosstalk))
        object.__setattr__(self, "linearity", check_linearity(self.linearity))
        if isinstance(self.combine, Mapping):
            object.__setattr__(self, "combine", read_only(self.combine))
        for frame_type in STEPS:
            if self.combine_for(frame_type).method == "sum":
                raise ProfileError(
                    f"combine='sum' for a {frame_type}: a master {frame_type} has the level of one "
                    "frame, and only arcs are summed; use 'average' or 'median'."
                )
        _check_product_name(self.name)

    # A part of the hash of products.
    __repr__ = written

    def _check_parts(self) -> None:
        """Refuse parts of the recipe that are of a wrong type."""
        if self.flat is not None and not isinstance(self.flat, Flat | SpectralFlat):
            raise ProfileError(
                f"flat={self.flat!r} is not a flat recipe; use Flat(), SpectralFlat(...) or None."
            )
        if self.cosmic_rays is not None and not isinstance(self.cosmic_rays, CosmicRays):
            raise ProfileError(
                f"cosmic_rays={self.cosmic_rays!r} is not a cosmic-ray detection; use CosmicRays() or "
                "None."
            )
        if not isinstance(self.limits, Limits):
            raise ProfileError(f"limits={self.limits!r} is not a set of limits; use Limits(...).")
        combines = self.combine if isinstance(self.combine, Mapping) else {"flat": self.combine}
        for frame_type, combine in combines.items():
            one_of(frame_type, MASTER_TYPES, "combine")
            if not isinstance(combine, Combine):
                raise ProfileError(
                    f"combine={combine!r} is not a way to combine frames; use Combine(...)."
                )

    def __reduce__(self):
        return picklable(self)

    def has(self, step: str) -> bool:
        """Return True if a step is part of the recipe.

        Parameters
        ----------
        step : {"bias", "dark", "flat"}
        """
        value = getattr(self, step)
        return value is not None and value is not False

    def needs_master(self, step: str) -> bool:
        """Return True if a step needs a master; a constant bias needs none.

        Parameters
        ----------
        step : {"bias", "dark", "flat"}
        """
        return self.bias is True if step == "bias" else self.has(step)

    def bias_level(self, header: Mapping) -> float | None:
        """Return the constant bias of a frame in adu, or None if it is not known.

        Raises
        ------
        FrameRejected
            If the header leads to something that is not a positive level.

        Examples
        --------
        >>> from astropy import units as u
        >>> from ccdprofiles import Recipe
        >>> Recipe(bias=100 * u.adu).bias_level({})
        100.0
        """
        return None if isinstance(self.bias, bool) else number_of(self.bias, header, u.adu, "bias")

    def tolerance_for(self, exposure: float) -> float:
        """Return by how many seconds the exposure of a matched dark may differ from that of a frame.

        Parameters
        ----------
        exposure : float
            Of the frame, in seconds.

        Examples
        --------
        >>> from astropy import units as u
        >>> from ccdprofiles import Recipe
        >>> recipe = Recipe(exposure_tolerance=(0.05 * u.s, 0.001))
        >>> recipe.tolerance_for(2.4), recipe.tolerance_for(600)
        (0.05, 0.6)
        """
        if not isinstance(self.exposure_tolerance, tuple):
            return float(self.exposure_tolerance.to_value(u.s))
        seconds, share = self.exposure_tolerance
        return max(float(seconds.to_value(u.s)), share * exposure)

    def combine_for(self, frame_type: str) -> Combine:
        """Return how frames of a type are combined."""
        if isinstance(self.combine, Mapping):
            if frame_type in self.combine:
                return self.combine[frame_type]
        elif frame_type != "arc":
            return self.combine
        return Combine(method="sum", clip=None) if frame_type == "arc" else Combine()

    def but(self, **changes: Any) -> Recipe:
        """Return a recipe with other values of some fields.

        Raises
        ------
        ProfileError
            If there is no such field, or a value is not valid.

        Examples
        --------
        >>> from ccdprofiles import Recipe
        >>> Recipe(bias=True, dark="match").but(dark="scale").dark
        'scale'
        """
        return changed(self, changes)


def _check_bias(value: Any) -> None:
    """Refuse what is neither True nor False nor a constant."""
    if isinstance(value, u.Quantity | Setting | Dated) or callable(value):
        check_number(value, u.adu, "bias")
    elif not isinstance(value, bool):
        raise ProfileError(
            f"bias={value!r} is not True or False, nor a constant; use such as bias=100 * u.adu, or "
            "Setting('OFFSET', {...}, unit=u.adu)."
        )


def _checked_tolerance(value: Any) -> u.Quantity | tuple[u.Quantity, float]:
    """Return the tolerance of exposures; one that is relative as a tuple."""
    pair = isinstance(value, tuple | list)
    if pair and not (len(value) == 2 and isinstance(value[0], u.Quantity)):
        raise ProfileError(
            f"exposure_tolerance={value!r} is not a time and a fraction; use such as (0.05 * u.s, 0.001)."
        )
    time = value[0] if pair else value
    if not isinstance(time, u.Quantity) or time != 0 * u.s:
        quantity(time, u.s, "exposure_tolerance")
    if not pair:
        return time
    fraction(value[1], "the fraction of exposure_tolerance")
    return time, value[1]


def _check_product_name(name: object) -> None:
    rest = name.replace("{stem}", "") if isinstance(name, str) else "{"
    if "{stem}" not in str(name) or set(rest) & set("{}/\\") or not rest.isprintable():
        raise ProfileError(
            f"name={name!r} is not a product name; use a text with {{stem}} and without a folder, "
            "such as '{stem}_cal'."
        )
