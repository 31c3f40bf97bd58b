"""How noisy a median is, and how a stack of darks tells its own noise."""

from __future__ import annotations

from itertools import pairwise
from math import pi

import numpy as np

__all__ = ["median_variance", "pooled_scatter", "scaled_apart"]

_BINS = 60
_FEWEST = 30


def median_variance(number: int) -> float:
    """Return the variance of the median of normal values, in units of one value's.

    It is nearly pi / (2 n) and smaller for few values. The constants fit the exact
    integrals over order statistics for every n to better than half a percent.

    >>> from ccdprofiles.pixels.noise import median_variance
    >>> [round(median_variance(n), 2) for n in (1, 2, 3, 5)]
    [1.0, 0.5, 0.45, 0.29]
    """
    more = 0.9 + 0.24 / number if number % 2 else 2.8 - 1.03 / number
    return pi / (2 * number + more)


def scaled_apart(offsets: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return how much noisier a median is whose frames were scaled a little apart.

    That a frame lies off by an amount of its own is no noise, as all its pixels do.
    But fewer values are then near the median, which is known the less for it: its
    variance is the sum of p (1 - p) over the squared sum of the densities there, p
    being the chance of each value to lie below it.

    Parameters
    ----------
    offsets : ndarray, shape (frames,)
        By how much of its level each frame is off.
    noise : ndarray
        The standard deviation of one value of each pixel, in the same measure.

    Returns
    -------
    ndarray
        The factor for the variance of each pixel's median.

    >>> import numpy as np
    >>> from ccdprofiles.pixels.noise import scaled_apart
    >>> factor = scaled_apart(np.array([-0.01, 0, 0.01]), np.array([0.005, 0.01, 1]))
    >>> [round(float(f), 1) for f in factor]
    [1.9, 1.3, 1.0]
    """
    from scipy.special import ndtr

    off = np.asarray(offsets, "f8")[:, np.newaxis]
    if not np.ptp(off):
        return np.ones_like(noise)
    widths = off.std() * np.geomspace(0.02, 100, 100)
    low, high = np.full_like(widths, off.min()), np.full_like(widths, off.max())
    for _ in range(50):
        middle = (low + high) / 2
        above = ndtr((middle - off) / widths).mean(axis=0) > 0.5
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    away = (middle - off) / widths
    chance = ndtr(away)
    density = np.exp(-0.5 * away**2).mean(axis=0)
    factor = 4 * (chance * (1 - chance)).mean(axis=0) / np.maximum(density, 1e-9) ** 2
    # At worst the median is a single value.
    return np.interp(noise, widths, np.minimum(factor, 2 * len(off) / pi))


def pooled_scatter(signal: np.ndarray, scatter: np.ndarray, number: int) -> np.ndarray:
    """Return the variance of one dark's pixels, from all pixels of about their level.

    The variance of a few frames' values is itself a poor number. Read noise is the
    same everywhere and the noise of dark current grows with it in proportion, so a
    straight line through the scatter of all pixels tells that of each far better. A
    pixel that scatters more than chance allows keeps its own number.

    Parameters
    ----------
    signal : ndarray
        The master dark, in adu, its pedestal in it.
    scatter : ndarray, shape (2, ...)
        The variance of all values of each pixel, and of those that do not stand
        apart, in adu squared, as `ccdprofiles.pixels.combine.combine` gives them.
    number : int
        Frames in the stack.

    Returns
    -------
    ndarray of float64, in adu squared
    """
    scatter, clipped = scatter
    good = np.isfinite(signal) & np.isfinite(scatter)
    if number < 2 or good.sum() < _FEWEST:
        return clipped
    order = np.argsort(signal[good], kind="stable")
    levels, values = signal[good][order], scatter[good][order]
    size = min(_FEWEST, len(levels))
    edges = np.unique(
        np.concatenate(
            [
                np.linspace(0, 0.98 * len(levels), _BINS).astype(int),
                np.arange(int(0.98 * len(levels)), len(levels), size),
                [len(levels)],
            ]
        )
    )
    counts = np.diff(edges)
    middle = np.add.reduceat(levels, edges[:-1], dtype="f8") / counts
    # The median of a chi-square of n - 1 degrees, as a few unsteady pixels must not count.
    spread = np.array([np.median(values[a:b]) for a, b in pairwise(edges)])
    spread /= (1 - 2 / (9 * (number - 1))) ** 3
    keep = spread > 0
    if keep.sum() < 2 or np.ptp(middle[keep]) == 0:
        fitted = np.full(signal.shape, spread.mean())
    else:
        slope, start = np.polyfit(
            middle[keep], spread[keep], 1, w=np.sqrt(counts[keep]) / spread[keep]
        )
        line = np.maximum(start + slope * signal, spread[keep].min())
        fitted = (
            np.where(good, line, clipped)
            if slope > 0
            else np.full(signal.shape, np.average(spread[keep], weights=counts[keep]))
        )
    # Six standard deviations of a variance of n values.
    chance = fitted * (1 + 6 * np.sqrt(2 / (number - 1)))
    return np.where(clipped > chance, clipped, fitted)
