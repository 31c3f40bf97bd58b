"""Significance, sharpness and fine structure of single pixels (van Dokkum 2001, section 3).

S is the Laplacian over twice the noise, S' is S minus its median, and F is the fine structure
over the noise. They are evaluated about a list of pixels; near an edge of the frame on pieces
that have this edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from .laplacian import convolved, laplacian, laplacian_with_edges
from .median_filters import inner_median
from .options import F4, Options
from .places import apply, inside, windows

__all__ = [
    "SMALLEST_VARIANCE",
    "Frame",
    "fine_structure",
    "laplacian_at",
    "sharpness",
    "significance",
]

SMALLEST_VARIANCE = F4(1e-5)
"""The smallest variance that L.A.Cosmic works with."""

_SMALLEST_FINE = F4(0.01)
"""The smallest fine structure that L.A.Cosmic works with."""

Whole = Callable[[np.ndarray, np.ndarray, Options], np.ndarray]
"""Evaluates images and their noise, shape (rows, columns, pieces), up to their edges."""


@dataclass(frozen=True)
class Frame:
    """A frame in electrons.

    Parameters
    ----------
    image, variance : ndarray of float32, shape (rows, columns)
        Working copies, in which hits are replaced.
    options : Options
    background : ndarray of float32 or None
        What was subtracted from the image; it still adds to the noise.
    masked : ndarray of bool, shape (rows * columns,), or None
        Pixels that are neither hits nor used as replacement, but count in every filter, as
        they do in astroscrappy.
    """

    image: np.ndarray
    variance: np.ndarray
    options: Options
    background: np.ndarray | None = None
    masked: np.ndarray | None = None

    def unmasked(self, pixels: np.ndarray) -> np.ndarray:
        """Return those of some pixels that are not masked."""
        return pixels if self.masked is None else pixels[~self.masked[pixels]]


def laplacian_at(frame: Frame, pixels: np.ndarray) -> np.ndarray:
    """Return the Laplacian of some pixels."""

    def within(pixels: np.ndarray) -> np.ndarray:
        return laplacian(windows(frame.image, pixels, 1))[0, 0]

    return _evaluated(frame, pixels, within, lambda image, noise, how: laplacian_with_edges(image))


def significance(frame: Frame, pixels: np.ndarray) -> np.ndarray:
    """Return S of some pixels."""
    return _evaluated(frame, pixels, lambda p: _significance(frame, p)[0, 0], _whole_significance)


def sharpness(frame: Frame, pixels: np.ndarray) -> np.ndarray:
    """Return S' of some pixels."""
    half, size = frame.options.edge, frame.options.sizes[0]

    def within(pixels: np.ndarray) -> np.ndarray:
        s = _significance(frame, pixels, half)
        return s[half, half] - frame.options.median(s, size)[0, 0]

    return _evaluated(frame, pixels, within, _whole_sharpness)


def fine_structure(frame: Frame, pixels: np.ndarray) -> np.ndarray:
    """Return F of some pixels."""
    how, size = frame.options, frame.options.sizes[2]
    half = size // 2
    wide = half + how.half_of_fine

    def within(pixels: np.ndarray) -> np.ndarray:
        image = windows(frame.image, pixels, wide)
        if how.kernel is None:
            fine = how.median(image, how.sizes[1])
        else:
            fine = _matched(image, _noise(frame, pixels, wide), how.kernel)
        above = fine[half, half] - how.median(fine, size)[0, 0]
        return np.maximum(above / _noise(frame, pixels)[0, 0], _SMALLEST_FINE)

    return _evaluated(frame, pixels, within, _whole_fine_structure)


def _evaluated(
    frame: Frame, pixels: np.ndarray, within: Callable[[np.ndarray], np.ndarray], whole: Whole
) -> np.ndarray:
    """Evaluate pixels far from the edges by one function, and those near them by another."""
    far = inside(pixels, frame.image.shape, frame.options.reach)
    values = np.empty(pixels.size, F4)
    values[far] = apply(within, pixels[far])
    values[~far] = apply(partial(_near_edge, frame, whole), pixels[~far])
    return values


def _noise(frame: Frame, pixels: np.ndarray, half: int = 0) -> np.ndarray:
    """Return the noise up to ``half`` pixels away: the square root of the median variance."""
    how = frame.options
    variance = how.median(windows(frame.variance, pixels, half + how.edge), how.sizes[0])
    if frame.background is not None:
        variance += windows(frame.background, pixels, half)
    return np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))


def _significance(frame: Frame, pixels: np.ndarray, half: int = 0) -> np.ndarray:
    """Return S up to ``half`` pixels away."""
    light = laplacian(windows(frame.image, pixels, half + 1))
    light /= 2 * _noise(frame, pixels, half)
    return light


def _matched(image: np.ndarray, noise: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return the image seen through a matched filter, weighted by the inverse variance."""
    inverse = 1 / noise / noise
    return convolved(image / noise / noise, kernel) / convolved(inverse, kernel)


def _near_edge(frame: Frame, whole: Whole, pixels: np.ndarray) -> np.ndarray:
    """Evaluate pieces, moved inwards as far as the frame goes, as if each were a frame.

    The sides of a piece that are not the frame's are too far from the pixel to affect it.
    """
    how, (rows, columns) = frame.options, frame.image.shape
    size = 2 * how.reach + 1
    row, column = np.divmod(pixels, columns)
    top = np.clip(row - how.reach, 0, rows - size)
    left = np.clip(column - how.reach, 0, columns - size)
    centre = (top + how.reach) * columns + left + how.reach
    image = windows(frame.image, centre, how.reach)
    variance = inner_median(windows(frame.variance, centre, how.reach), how.median, how.sizes[0])
    if frame.background is not None:
        variance += windows(frame.background, centre, how.reach)
    noise = np.sqrt(np.maximum(variance, SMALLEST_VARIANCE))
    return whole(image, noise, how)[row - top, column - left, np.arange(pixels.size)]


def _whole_significance(image: np.ndarray, noise: np.ndarray, how: Options) -> np.ndarray:
    return laplacian_with_edges(image) / (2 * noise)


def _whole_sharpness(image: np.ndarray, noise: np.ndarray, how: Options) -> np.ndarray:
    s = _whole_significance(image, noise, how)
    return s - inner_median(s, how.median, how.sizes[0])


def _whole_fine_structure(image: np.ndarray, noise: np.ndarray, how: Options) -> np.ndarray:
    if how.kernel is None:
        fine = inner_median(image, how.median, how.sizes[1])
    else:
        # Outside the frame there is neither light nor weight.
        high, wide = (n // 2 for n in how.kernel.shape)
        sides = ((high, high), (wide, wide), (0, 0))
        light, weight = (
            convolved(np.pad(values / noise / noise, sides), how.kernel)
            for values in (image, np.ones_like(image))
        )
        fine = light / weight
    above = fine - inner_median(fine, how.median, how.sizes[2])
    return np.maximum(above / noise, _SMALLEST_FINE)
