"""The arithmetic of masters: their flags and variance, the level of a flat, hot pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from ..camera.amplifier import AmplifierSet
from ..camera.recipe import Combine, Flat, SpectralFlat
from ..errors import known
from ..products.band import Band
from .calibrate import HOT, Noise, master_variance
from .combine import Stacked, variance_factor
from .noise import offset_variance_factor, pooled_scatter
from .prepare import NO_DATA, NON_LINEAR, SATURATED
from .response import illuminated
from .statistics import MAD_TO_STD, exact_median, level

__all__ = [
    "FlatGroup",
    "blank",
    "blank_unread",
    "combined_flags",
    "combined_variance",
    "flag_hot",
    "flat_level",
    "flat_values",
    "hot_limit",
    "is_lit",
    "scaled_variance",
    "scatter_variance",
]

_HOT_SIGMAS = 10


def combined_flags(
    stacked: Stacked,
    how: Combine,
    number: int,
    flags: np.ndarray | None,
    subtracted: Iterable[Band | None],
    bad: np.ndarray | None = None,
) -> np.ndarray:
    """Return the flags of combined rows, from those of the frames and of subtracted masters.

    Parameters
    ----------
    stacked : Stacked
    how : Combine
    number : int
        Frames in the stack.
    flags : ndarray of uint16, shape (frames, rows, columns), or None
        Of the frames that have flags.
    subtracted : iterable of (Band or None)
        The same rows of the masters that were subtracted from the frames.
    bad : ndarray of uint16, shape (rows, columns), or None
        The flags of the bad pixels that all frames share.

    Returns
    -------
    ndarray of uint16, shape (rows, columns)
    """
    combined = np.zeros(stacked.data.shape, "u2")
    for master in subtracted:
        if master is not None and master.flags is not None:
            combined |= master.flags & NO_DATA
    if flags is not None:
        # A pixel that is saturated in half of the frames is saturated in their median; a
        # plain average or sum suffers from one.
        robust = how.method == "median" or how.clip is not None
        bent = np.bitwise_or.reduce(flags, axis=None) & NON_LINEAR
        for bit in (SATURATED, NON_LINEAR) if bent else (SATURATED,):
            times = ((flags & bit) != 0).sum(axis=0)
            combined[times * 2 >= number if robust else times > 0] |= bit
    if bad is not None:
        combined |= bad
    combined[np.broadcast_to(stacked.n_used == 0, combined.shape)] |= NO_DATA
    return combined


def combined_variance(
    type: str,
    value: np.ndarray,
    noise: Noise,
    bias: Band | None,
    *,
    how: Combine,
    number: int,
    n_used: np.ndarray | int,
    slope: np.ndarray | None = None,
) -> np.ndarray:
    """Return the variance of combined frames that were not scaled to each other.

    Parameters
    ----------
    type : {"bias", "dark", "flat", "arc"}
    value : ndarray, shape (rows, columns)
        The combined frames, without the bias.
    noise : Noise
        Of one frame.
    bias : Band or None
        The bias that was subtracted from every frame; its noise does not average down.
    how : Combine
    number : int
        Frames in the stack.
    n_used : ndarray or int
        How many values each pixel was made of; at least 1.
    slope : ndarray or None
        That of the curve of linearity, its root mean square over the frames.

    Returns
    -------
    ndarray of float64, shape (rows, columns)
        In the squared unit of ``value``.
    """
    factor = variance_factor(number, how) / n_used
    read_variance = noise.known_read_variance
    if type == "bias":
        return np.broadcast_to(np.asarray(factor * read_variance), value.shape)
    square = 1 if slope is None else slope**2
    read_variance = read_variance * square
    gain, times = noise.known_gain, 1
    if how.method == "sum":
        single = np.maximum(value / number, 0) / gain + read_variance
        own, times = number**2 * factor * single, number**2
    else:
        own = factor * (np.maximum(value, 0) / gain + read_variance)
    return own if bias is None or bias.variance is None else own + times * square * bias.variance


@dataclass(frozen=True)
class FlatGroup:
    """Flats that share their bias and dark.

    Parameters
    ----------
    scales : sequence of float
        What each was multiplied by.
    bias, dark : Band or None
        The rows that were subtracted from each.
    dark_scale : float
        What the dark was multiplied by.
    """

    scales: Sequence[float]
    bias: Band | None
    dark: Band | None
    dark_scale: float


def scaled_variance(
    value: np.ndarray,
    noise: Noise,
    groups: Iterable[FlatGroup],
    *,
    how: Combine,
    scales: np.ndarray,
    offsets: np.ndarray,
    n_used: np.ndarray | int,
    relative_gain: np.ndarray | None,
    keeps_pedestal: bool,
    slope: np.ndarray | None = None,
) -> np.ndarray:
    """Return the variance of flats that were scaled to each other and combined.

    Each is s (x - bias - r dark); its photons are those of the light, value / s, and of
    the dark that was subtracted. The noise of their common bias and dark does not average
    down.

    Parameters
    ----------
    value : ndarray, shape (rows, columns)
        The combined flats.
    noise : Noise
        Of one flat.
    groups : iterable of FlatGroup
    how : Combine
    scales, offsets : ndarray, shape (frames,)
        What each flat was multiplied by, and its level in units of its median.
    n_used : ndarray or int
        How many values each pixel was made of; at least 1.
    relative_gain : ndarray or None
        What the combined flats were multiplied by, where the gains of amplifiers differ or the
        shutter is corrected.
    keeps_pedestal : bool
        Whether only the darks remove the pedestal, so that their scatter gives the noise.
    slope : ndarray or None
        That of the curve of linearity, its root mean square over the flats.

    Returns
    -------
    ndarray of float64, shape (rows, columns)
        In the squared unit of ``value``.
    """
    # In electrons the light is already gain times what the frame holds.
    k = 1.0 if relative_gain is None else relative_gain
    total = np.maximum(value, 0) * (k * scales.mean() / noise.known_gain)
    fixed: np.ndarray | float = 0.0
    for group in groups:
        s = group.scales
        single, more = _noise_besides_light(group, noise, keeps_pedestal, slope)
        total += k**2 * (sum(x * x for x in s) / len(scales)) * single
        if more is not None:
            fixed = fixed + (sum(s) / len(scales)) * np.sqrt(more)
    if how.method == "median" and (offsets != 1).any():
        # A mode is less certain than a median, and leaves the flats at different levels.
        noise_of_one = np.sqrt(total) / np.maximum(np.abs(value), 1e-6)
        total = total * offset_variance_factor(offsets / offsets.mean() - 1, noise_of_one)
    return variance_factor(len(scales), how) / n_used * total + (k * fixed) ** 2


def _noise_besides_light(
    group: FlatGroup, noise: Noise, keeps_pedestal: bool, slope: np.ndarray | None
) -> tuple[np.ndarray | float, np.ndarray | None]:
    """Return the variance of one flat without its light, and what its masters add."""
    bias, dark, scale = group.bias, group.dark, group.dark_scale
    if keeps_pedestal:
        dark = known(dark, "dark of a flat that keeps its pedestal")
        return known(dark.scatter, "scatter of the dark"), dark.variance
    light = 0 if dark is None else np.maximum(dark.data, 0) * (scale / noise.known_gain)
    read_variance = noise.known_read_variance * (1 if slope is None else slope**2)
    return light + read_variance, master_variance(bias, dark, scale, slope)


def scatter_variance(
    data: np.ndarray, scatter: np.ndarray, n_used: np.ndarray, how: Combine, number: int
) -> np.ndarray:
    """Return the variance of combined darks, from the scatter of the frames.

    Parameters
    ----------
    data : ndarray, shape (rows, columns)
        The combined darks, with their pedestal.
    scatter : ndarray of float64, shape (2, rows, columns)
        As `ccdprofiles.pixels.combine.combine` gives it.
    n_used : ndarray
        How many values each pixel was made of; at least 1.
    how : Combine
    number : int
        Frames in the stack.

    Returns
    -------
    ndarray of float32, shape (rows, columns)
    """
    single = pooled_scatter(data, scatter, number)
    return (single * (variance_factor(number, how) / n_used)).astype("f4")


def flat_values(image: np.ndarray, good: np.ndarray, how: Flat | SpectralFlat | None) -> np.ndarray:
    """Return the good pixels of a flat; of a spectral flat, those within the slit."""
    if isinstance(how, SpectralFlat):
        slit = illuminated(np.where(good, image, np.nan), how)
        good = good & np.expand_dims(slit, 0 if how.dispersion == "y" else 1)
    return image.reshape(-1) if good.all() else image[good]


def flat_level(values: np.ndarray, statistic: str) -> tuple[float, float]:
    """Return the level of a flat, and this level in units of its median.

    Parameters
    ----------
    values : ndarray
        Its good pixels.
    statistic : {"median", "mean", "mode"}
    """
    flat = level(values, statistic)
    return flat, 1.0 if statistic == "median" else flat / level(values, "median")


def is_lit(flat: float, values: np.ndarray) -> bool:
    """Return True if the level of a flat is above the noise between its neighbouring pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.master import is_lit
    >>> values = np.array([3.0, -2, 1, -1, 2])
    >>> is_lit(1.0, values), is_lit(1000.0, values + 1000)
    (False, True)
    """
    if values.size < 2:
        return True
    return bool(flat > MAD_TO_STD * np.median(np.abs(np.diff(values))) / 2**0.5)


def hot_limit(values: np.ndarray) -> float:
    """Return the level above which a pixel of a dark is hot.

    It is ten standard deviations above the median of ``values``, its pixels with data.
    """
    if not values.size:
        return np.inf
    median = exact_median(values)
    return median + _HOT_SIGMAS * (MAD_TO_STD * exact_median(values, about=median))


def flag_hot(band: Band, limit: float) -> Band:
    """Flag pixels of a dark above ``limit`` as hot."""
    flags = known(band.flags, "flags").copy()
    with np.errstate(invalid="ignore"):
        hot = (band.data > limit) & (band.data < np.inf)
    flags[hot & (flags & NO_DATA == 0)] |= HOT
    return Band(band.data, band.variance, flags)


def blank(band: Band) -> Band:
    """Set pixels without data to 0, and their variance too."""
    lost = (known(band.flags, "flags") & NO_DATA) != 0
    if not lost.any():
        return band
    variance = None if band.variance is None else np.where(lost, np.float32(0), band.variance)
    return Band(np.where(lost, np.float32(0), band.data), variance, band.flags)


def blank_unread(band: Band, amplifiers: AmplifierSet, first: int = 0) -> Band:
    """Set pixels that no amplifier read to NaN, and flag them as without data.

    Parameters
    ----------
    band : Band
        Rows of a finished master, with flags.
    amplifiers : AmplifierSet
    first : int
        The number of its first row, from 0.
    """
    if amplifiers.is_full:
        return band
    unread = amplifiers.unread(first, first + len(band.data))
    variance = None if band.variance is None else np.where(unread, np.float32(nan), band.variance)
    flags = np.where(unread, np.uint16(NO_DATA), known(band.flags, "flags"))
    return Band(np.where(unread, np.float32(nan), band.data), variance, flags)
