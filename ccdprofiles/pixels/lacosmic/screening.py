"""Which pixels can be cosmic rays at all: bounds that cost one pass over the frame."""

from __future__ import annotations

import numpy as np

from .contrast import SMALLEST_VARIANCE, Frame, laplacian_at
from .options import F4
from .places import BLOCK

__all__ = ["bright_enough", "quietest_blocks", "screen"]

_BAND = 2**17
"""Pixels at a time, so that they stay in the cache."""


def screen(frame: Frame, most: float) -> np.ndarray | None:
    """Return the pixels whose S may exceed ``sigclip``; None if they are more than ``most``.

    Notes
    -----
    The Laplacian of a pixel c is at most 2 c minus the lower of its neighbours in the row and
    the lower in the column. The median of a window is at least the minimum of any subset that
    contains more than half of its values, so a few minima bound the noise from below.
    """
    how, (rows, width) = frame.options, frame.image.shape
    image, variance = frame.image.reshape(-1), frame.variance.reshape(-1)
    steps = max(1, _BAND // width)
    first, last = how.edge * width, (rows - how.edge) * width
    candidates, number = [], 0
    for start in range(first, last, steps * width):
        stop = min(start + steps * width, last)
        a, b = start + how.edge, stop - how.edge
        lower = _lower_bound(variance, start, stop, width, how.sepmed)
        if frame.background is not None:
            lower += frame.background.reshape(-1)[a:b]
        pixels = a + _above(image, a, b, width, lower, how.sigclip)
        column = pixels % width
        pixels = frame.unmasked(pixels[(column >= how.edge) & (column < width - how.edge)])
        candidates.append(pixels)
        number += pixels.size
        if number > most:
            return None
    return np.concatenate(candidates)


def _lower_bound(
    variance: np.ndarray, start: int, stop: int, width: int, sepmed: bool
) -> np.ndarray:
    """Return a lower bound of the median variance, of pixels ``start + edge`` to ``stop - edge``.

    The median of seven values is at least the minimum of the first four, and of the last
    four; the median of 25 at least the minimum of the upper 15, and of the lower 15.
    """
    edge = 3 if sepmed else 2
    values = variance[start - edge * width : stop + edge * width]
    if sepmed:
        values = _minimum(_minimum(values, 2, 1), 2, 2)
        values = np.maximum(values[:-3], values[3:])
        values = _minimum(_minimum(values, 2, width), 2, 2 * width)
        return np.maximum(values[: -3 * width], values[3 * width :])
    values = _minimum(_minimum(values, 5, 1), 3, width)
    return np.maximum(values[: -2 * width], values[2 * width :])


def _minimum(values: np.ndarray, number: int, step: int) -> np.ndarray:
    """Return the minimum of each value and those that follow it at multiples of a step."""
    size = values.size - (number - 1) * step
    least = np.minimum(values[:size], values[step : step + size])
    for n in range(2, number):
        np.minimum(least, values[n * step : n * step + size], out=least)
    return least


def _above(
    image: np.ndarray, start: int, stop: int, width: int, lower: np.ndarray, sigclip: float
) -> np.ndarray:
    """Return where the upper bound of S exceeds ``sigclip``; ``lower`` is overwritten."""
    about = image[start - width : stop + width]
    top = np.minimum(image[start - width : stop - width], image[start + width : stop + width])
    top += np.minimum(image[start - 1 : stop - 1], image[start + 1 : stop + 1])
    top *= F4(-0.5)
    top += image[start:stop]
    # The Laplacian itself is rounded a few times, in steps of the brightest values near it.
    top += 4e-6 * max(about.max(), -about.min())
    np.maximum(top, 0, out=top)
    top *= top
    np.maximum(lower, SMALLEST_VARIANCE, out=lower)
    lower *= sigclip * sigclip * F4(0.9999)
    return np.flatnonzero(top > lower)


def quietest_blocks(frame: Frame) -> np.ndarray:
    """Return for each block of pixels the smallest variance in it and in the blocks about it.

    It is zero, which excludes nothing, where a background was subtracted and where a repair
    may take any value.
    """
    rows = range(0, frame.image.shape[0], BLOCK)
    least = np.array([frame.variance[row : row + BLOCK].min(axis=0) for row in rows])
    least = np.minimum.reduceat(least, np.arange(0, frame.image.shape[1], BLOCK), axis=1)
    if frame.background is not None or frame.options.plain_median:
        least[:] = 0
    least = np.pad(least, 1, mode="edge")
    least = np.minimum(np.minimum(least[:-2], least[1:-1]), least[2:])
    return np.minimum(np.minimum(least[:, :-2], least[:, 1:-1]), least[:, 2:])


def bright_enough(
    frame: Frame, pixels: np.ndarray, quietest: np.ndarray, level: np.floating | None
) -> np.ndarray:
    """Return True where the Laplacian exceeds ``sigclip`` times the smallest noise nearby.

    A replacement takes values from two pixels away, so no variance becomes smaller than the
    smallest nearby, unless it is the ``level`` of the whole frame.
    """
    row, column = np.divmod(pixels, frame.image.shape[1])
    least = quietest[row // BLOCK, column // BLOCK]
    if level is not None:
        least = np.minimum(least, level)
    noise = np.sqrt(np.maximum(least, SMALLEST_VARIANCE))
    return laplacian_at(frame, pixels) > 1.9999 * frame.options.sigclip * noise
