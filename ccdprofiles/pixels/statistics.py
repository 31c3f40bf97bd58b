"""Medians, mode and level of pixels, and the factor from a median deviation to a standard one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np

__all__ = [
    "MAD_TO_STD",
    "Bracket",
    "exact_median",
    "level",
    "lower_median",
    "median",
    "mode",
    "nanmedian",
]

MAD_TO_STD = 1.482602218505602
"""The factor of `astropy.stats.mad_std`: 1 over the normal quantile of 3/4."""

_CHUNK = 2**16
"""Values that are compared at a time, so that they stay in the cache."""


def median(values: np.ndarray, overwrite: bool = False) -> float:
    """Return the median of float64 values, as `numpy.median` does and several times faster.

    Parameters
    ----------
    values : ndarray of float64, shape (values,)
        None of them NaN.
    overwrite : bool
        Whether the order of ``values`` may be changed.
    """
    half = values.size // 2
    ordered = values if overwrite else values.copy()
    # numpy.median asks for three places; one is found by vector instructions.
    ordered.partition(half)
    other = ordered[half] if values.size % 2 else ordered[:half].max()
    return float(0.0 + (other + ordered[half]) / 2)


def lower_median(values: np.ndarray) -> np.floating:
    """Return the median of some values; of an even number the lower of the two in the middle.

    Parameters
    ----------
    values : ndarray, shape (values,)
        Not empty; none of them NaN.
    """
    half = (values.size - 1) // 2
    return np.partition(values, half)[half]


def nanmedian(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the median along an axis without NaN; NaN where there is no other value.

    Parameters
    ----------
    values : ndarray of float, shape (rows, columns)
        Not infinite.
    axis : {0, 1}

    Returns
    -------
    ndarray
        Of the type of ``values``.
    """
    ordered = np.sort(values, axis=axis)
    number = np.isfinite(ordered).sum(axis=axis, keepdims=True)
    last = values.shape[axis] - 1
    low = np.take_along_axis(ordered, np.maximum(number - 1, 0) // 2, axis)
    high = np.take_along_axis(ordered, np.minimum(number // 2, last), axis)
    return np.squeeze((low + high) / 2, axis)


def level(values: np.ndarray, statistic: str) -> float:
    """Return the median, mean or mode of some pixels.

    Parameters
    ----------
    values : ndarray
        Of any shape; finite.
    statistic : {"median", "mean", "mode"}

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.statistics import level
    >>> level(np.array([1.0, 2.0, 6.0]), "median"), level(np.array([1.0, 2.0, 6.0]), "mean")
    (2.0, 3.0)
    """
    if statistic == "mean":
        return float(np.mean(values, dtype="f8"))
    return mode(values) if statistic == "mode" else exact_median(values)


def exact_median(values: np.ndarray, about: float | None = None) -> float:
    """Return the median, as `numpy.median` does and several times faster on a whole frame.

    A sample shows between which two values the median lies; values outside are
    only counted, and values inside are sorted.

    Parameters
    ----------
    values : ndarray
        Of any shape; finite.
    about : float, optional
        Take the median of the distances from this value instead, as for a median deviation.
    """
    values = np.asarray(values).reshape(-1)
    size = values.size

    def wanted(part: np.ndarray) -> np.ndarray:
        return part if about is None else np.abs(part - part.dtype.type(about))

    if size < 100_000:
        return float(np.median(wanted(values)))
    sample = np.sort(wanted(values[:: max(1, size // 20_000)]))
    # Six standard deviations of a sample's median, in ranks.
    slack = int(3 * sqrt(sample.size)) + 1
    half = sample.size // 2
    bracket = Bracket(sample[max(0, half - slack)], sample[min(sample.size - 1, half + slack)])
    below, inside = 0, []
    for first in range(0, size, _CHUNK):
        chunk = wanted(values[first : first + _CHUNK])
        places, less = bracket.split(chunk)
        below += less
        inside.append(chunk[places])
    exact = Bracket.median(size, below, np.concatenate(inside))
    return float(np.median(wanted(values))) if exact is None else exact


@dataclass(frozen=True)
class Bracket:
    """Two values between which the median of a frame is expected.

    Parameters
    ----------
    low, high : float
    """

    low: np.float32
    high: np.float32

    @classmethod
    def of(cls, sample: np.ndarray) -> Bracket:
        """Return the bracket from a sample; an infinite one if the sample is too small."""
        ordered = np.sort(sample)
        # Six standard deviations of a sample's median, in ranks.
        slack = max(ordered.size // 100, int(3 * sqrt(ordered.size)) + 1)
        half = ordered.size // 2
        if slack >= half:
            return cls(np.float32(-np.inf), np.float32(np.inf))
        return cls(np.float32(ordered[half - slack]), np.float32(ordered[half + slack]))

    def split(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the places of the values inside, and the number of values below."""
        above = values >= self.low
        below = values.size - int(np.count_nonzero(above))
        above &= values <= self.high
        return np.flatnonzero(above), below

    @staticmethod
    def median(size: int, below: int, inside: np.ndarray) -> float | None:
        """Return the median of ``size`` values, or None if it is not among those inside."""
        first, last = (size - 1) // 2 - below, size // 2 - below
        if first < 0 or last >= inside.size:
            return None
        # numpy finds one place by vector instructions, but not two.
        ordered = np.partition(inside, first)
        upper = ordered[first] if first == last else ordered[first + 1 :].min()
        return float((ordered[first].astype("f8") + upper.astype("f8")) / 2)


def mode(values: np.ndarray | Iterable[float]) -> float:
    """Return the mode of float pixels: the maximum of their smoothed histogram.

    A float image has no most frequent value. Its histogram is smoothed by a Gaussian of
    width 1.3 min(s, IQR / 1.349) n^(-1/7), with s from the median deviation, in bins of an
    eighth of that, and the peak is that of a parabola through the three highest bins. The
    exponent is the one that determines the position of a peak best (Eddy 1980, Ann. Statist.
    8, 870); Silverman's 1/5 is meant for the height of a curve and leaves its top too rough.
    The factor is a third larger than for a normal distribution, as a vignetted flat has a
    broad top: its mode then repeats to 0.15 %. The mode depends neither on the order of the
    pixels nor on ties of integers.

    Parameters
    ----------
    values : array-like of float
        Finite.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.statistics import mode
    >>> skewed = np.random.default_rng(1).gamma(9, 100, 200_000)   # its mode is 800
    >>> abs(mode(skewed) - 800) < 16  # its width is 300
    True
    """
    from scipy.ndimage import gaussian_filter1d

    values = np.asarray(values, "f8").reshape(-1)
    quarter, centre, three = np.percentile(values, (25, 50, 75))
    spread = min(MAD_TO_STD * np.median(np.abs(values - centre)), (three - quarter) / 1.349)
    if spread == 0:
        return float(centre)
    width = 1.3 * spread * values.size ** (-1 / 7)
    edges = np.arange(-8 * spread, 8 * spread + width / 8, width / 8) + centre
    counts, _ = np.histogram(values, edges)
    smooth = gaussian_filter1d(counts.astype("f8"), 8.0, mode="constant")
    top = int(np.clip(np.argmax(smooth), 1, len(smooth) - 2))
    left, peak, right = smooth[top - 1 : top + 2]
    bend = left - 2 * peak + right
    shift = 0.5 * (left - right) / bend if bend else 0.0
    return float(edges[top] + (0.5 + shift) * (edges[1] - edges[0]))
