"""The noise of a median, and the noise of darks from the scatter of their stack."""

from __future__ import annotations

from itertools import pairwise
from math import pi

import numpy as np

__all__ = ["median_variance", "offset_variance_factor", "pooled_scatter"]

_BINS = 60
"""Bins of level in which the scatter of darks is averaged; the brightest 2 % have finer ones."""

_FEWEST = 30
"""Pixels of a bin, at least."""


def median_variance(number: int) -> float:
    """Return the variance of the median of normal values, in units of one value's.

    It is nearly pi / (2 n) and smaller for few values. The constants fit the exact
    integrals over order statistics for every n to better than half a percent.

    Examples
    --------
    >>> from ccdprofiles.pixels.noise import median_variance
    >>> [round(median_variance(n), 2) for n in (1, 2, 3, 5)]
    [1.0, 0.5, 0.45, 0.29]
    """
    correction = 0.9 + 0.24 / number if number % 2 else 2.8 - 1.03 / number
    return pi / (2 * number + correction)


def offset_variance_factor(offsets: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return how much noisier a median is if its frames were scaled to slightly other levels.

    An offset that all pixels of a frame share is not noise. But fewer values are then close
    to the median, which is less certain for it: its variance is the sum of p (1 - p) over
    the squared sum of the densities there, with p the probability of each value to be below the
    median.

    Parameters
    ----------
    offsets : ndarray, shape (frames,)
        The offset of each frame, as a fraction of its level.
    noise : ndarray
        The standard deviation of one value of each pixel, as such a fraction.

    Returns
    -------
    ndarray
        The factor for the variance of each pixel's median.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.noise import offset_variance_factor
    >>> factor = offset_variance_factor(np.array([-0.01, 0, 0.01]), np.array([0.005, 0.01, 1]))
    >>> [round(float(f), 1) for f in factor]
    [1.9, 1.3, 1.0]
    """
    from scipy.special import ndtr

    off = np.asarray(offsets, "f8")[:, np.newaxis]
    if not np.ptp(off):
        return np.ones_like(noise)
    widths = off.std() * np.geomspace(0.02, 100, 100)
    low, high = np.full_like(widths, off.min()), np.full_like(widths, off.max())
    for _ in range(50):  # bisection
        median = (low + high) / 2
        above = ndtr((median - off) / widths).mean(axis=0) > 0.5
        low, high = np.where(above, low, median), np.where(above, median, high)
    sigmas = (median - off) / widths
    below = ndtr(sigmas)
    density = np.exp(-0.5 * sigmas**2).mean(axis=0)
    factor = 4 * (below * (1 - below)).mean(axis=0) / np.maximum(density, 1e-9) ** 2
    # At worst the median is as noisy as a single value.
    return np.interp(noise, widths, np.minimum(factor, 2 * len(off) / pi))


def pooled_scatter(signal: np.ndarray, scatter: np.ndarray, number: int) -> np.ndarray:
    """Return the variance of one dark's pixels, from all pixels of about the same level.

    The variance of a few values is itself poorly known. Read noise is the same for all
    pixels and the variance of dark current is proportional to it, so a straight line through
    the scatter of all pixels is far better than the scatter of each. A pixel that scatters
    more than chance allows keeps its own value.

    Parameters
    ----------
    signal : ndarray
        The master dark, in adu, with its pedestal.
    scatter : ndarray, shape (2, ...)
        The variance of all values of each pixel, and of those without outliers, in adu
        squared, as `ccdprofiles.pixels.combine.combine` returns them.
    number : int
        Frames in the stack.

    Returns
    -------
    ndarray of float64
        In adu squared, of the shape of ``signal``.
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
    centre = np.add.reduceat(levels, edges[:-1], dtype="f8") / counts
    # A median, as a few unstable pixels must not count, over that of a chi-square
    # distribution of n - 1 degrees of freedom (Wilson & Hilferty 1931, PNAS 17, 684).
    spread = np.array([np.median(values[a:b]) for a, b in pairwise(edges)])
    spread /= (1 - 2 / (9 * (number - 1))) ** 3
    keep = spread > 0
    if keep.sum() < 2 or np.ptp(centre[keep]) == 0:
        fitted = np.full(signal.shape, spread.mean())
    else:
        slope, start = np.polyfit(
            centre[keep], spread[keep], 1, w=np.sqrt(counts[keep]) / spread[keep]
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
