"""The correction of fringes: a master of their pattern is scaled to each frame and subtracted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .background import local_level
from .statistics import MAD_TO_STD

__all__ = ["FringeScale", "Fringes", "fringe_scale", "subtract_fringes"]

_BLOCK = 64
"""Pixels along the side of the blocks whose medians are the sky; fringes are narrower."""

_CLIP = 3.0
_ROUNDS = 20


@dataclass(frozen=True)
class Fringes:
    """A master of the fringes in one filter.

    Parameters
    ----------
    data : ndarray, shape (rows, columns)
        The pattern, with or without the sky, in any unit; NaN where it is not known.
    variance : ndarray or None
    """

    data: np.ndarray
    variance: np.ndarray | None = None


@dataclass(frozen=True)
class FringeScale:
    """By what a master of fringes is multiplied.

    Parameters
    ----------
    value, error : float
        In the unit of the frame over that of the master.
    """

    value: float
    error: float


def fringe_scale(data: np.ndarray, good: np.ndarray, fringes: Fringes) -> FringeScale:
    """Fit the scale of a master of fringes to a frame by robust regression.

    The sky, the medians of blocks of 64 x 64 pixels, is subtracted from both. A straight line through
    the origin is then fitted by least squares; pixels further than three ``mad_std`` from it, such as
    stars, are rejected, until nothing changes. The variance of the master is taken off the sum of its
    squares, which would otherwise make the scale too small (Fuller 1987, Measurement Error Models).

    Parameters
    ----------
    data : ndarray, shape (rows, columns)
        A frame that was divided by the flat.
    good : ndarray of bool
        The pixels that count.
    fringes : Fringes

    Returns
    -------
    FringeScale
        Both numbers are 0 if the master has no structure.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.fringes import Fringes, fringe_scale
    >>> y, x = np.indices((128, 128))
    >>> pattern = np.sin((x + 2 * y) / 3)
    >>> noise = np.random.default_rng(0).normal(0, 1, pattern.shape)
    >>> scale = fringe_scale(500 + 12 * pattern + noise, np.ones_like(pattern, bool), Fringes(pattern))
    >>> round(scale.value), scale.error < 0.02
    (12, True)
    """
    good = good & np.isfinite(data) & np.isfinite(fringes.data)
    pattern, light = (
        (plane - local_level(np.where(good, plane, np.nan), _BLOCK))[good]
        for plane in (fringes.data.astype("f8"), data.astype("f8"))
    )
    own_variance = np.zeros(data.shape) if fringes.variance is None else fringes.variance
    noise_of_master = np.nan_to_num(own_variance[good])
    kept = np.abs(light - np.median(light)) <= 5 * _spread(light) if light.size else light > 0
    scale = noise = 0.0
    for _ in range(_ROUNDS):
        square = float(np.sum(pattern[kept] ** 2))
        if square == 0:
            return FringeScale(0.0, 0.0)
        # The noise of the master adds to the squares, and would make the scale too small.
        own = square - float(np.sum(noise_of_master[kept]))
        scale = float(np.sum(pattern[kept] * light[kept])) / (own if own > 0 else square)
        left = light - scale * pattern
        noise = _spread(left[kept])
        now = np.abs(left) <= _CLIP * noise
        if np.array_equal(now, kept):
            break
        kept = now
    return FringeScale(float(scale), float(noise / np.sqrt(square)))


def subtract_fringes(
    data: np.ndarray, variance: np.ndarray | None, fringes: Fringes, scale: FringeScale
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a frame without its fringes, and its variance.

    Only the pattern is subtracted, without its median, so that the sky stays. The variance grows by
    that of the scaled master, and by that of the scale.

    Parameters
    ----------
    data : ndarray of float32, shape (rows, columns)
    variance : ndarray or None
    fringes : Fringes
        Where it is NaN, nothing is subtracted.
    scale : FringeScale
    """
    pattern = fringes.data - np.nanmedian(fringes.data)
    pattern = np.where(np.isfinite(pattern), pattern, 0).astype("f4")
    done = data - np.float32(scale.value) * pattern
    if variance is None:
        return done, None
    more = np.float32(scale.error**2) * pattern**2
    if fringes.variance is not None:
        more = more + np.float32(scale.value**2) * np.nan_to_num(fringes.variance)
    return done, (variance + more).astype("f4")


def _spread(values: np.ndarray) -> float:
    """Return the ``mad_std`` of values; 0 if there are none."""
    if not values.size:
        return 0.0
    return float(MAD_TO_STD * np.median(np.abs(values - np.median(values))))
