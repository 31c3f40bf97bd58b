"""Places in a frame: pixels by their index in the flattened frame, in increasing order.

Only one pixel in a thousand is looked at, so filters work on lists of pixels and on the
windows about them instead of on whole images.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

__all__ = [
    "BLOCK",
    "ROUND",
    "apply",
    "dilated",
    "grown_by_one",
    "inside",
    "near",
    "square",
    "union",
    "windows",
]

BLOCK = 16
"""Side of the blocks of pixels by which a frame is divided coarsely."""

_CHUNK = 512
"""Pixels at a time, so that their windows stay in the cache."""


@lru_cache
def square(half: int) -> tuple[tuple[int, int], ...]:
    """Return the offsets (row, column) of a square of ``2 half + 1`` pixels."""
    return tuple((r, c) for r in range(-half, half + 1) for c in range(-half, half + 1))


ROUND = tuple((r, c) for r, c in square(2) if abs(r * c) < 4)
"""A square of five pixels without its corners."""


def apply(function: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """Apply a function to as many pixels at a time as keep its windows in the cache."""
    done = [function(pixels[first : first + _CHUNK]) for first in range(0, pixels.size, _CHUNK)]
    return np.concatenate(done) if done else np.empty(0, np.float32)


def union(*pixels: np.ndarray) -> np.ndarray:
    """Return all pixels in order, each once.

    `numpy.unique` and `numpy.union1d` do the same by hashing, which takes far longer here.
    """
    ordered = np.sort(np.concatenate(pixels))
    first = np.ones(ordered.size, bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return ordered[first]


def inside(pixels: np.ndarray, shape: tuple[int, int], margin: int) -> np.ndarray:
    """Return True for pixels at least ``margin`` pixels away from the outermost ones."""
    row, column = np.divmod(pixels, shape[1])
    return (np.minimum(row, shape[0] - 1 - row) >= margin) & (
        np.minimum(column, shape[1] - 1 - column) >= margin
    )


def dilated(
    pixels: np.ndarray, offsets: tuple[tuple[int, int], ...], shape: tuple[int, int], edge: int
) -> np.ndarray:
    """Return pixels and those at some offsets from them that are ``edge`` pixels from the edges."""
    rows, columns = shape
    steps = np.array([row * columns + column for row, column in offsets])
    about = (pixels + steps[:, np.newaxis]).reshape(-1)
    about = about[(about >= edge * columns) & (about < (rows - edge) * columns)]
    column = about % columns
    about = about[(column >= edge) & (column < columns - edge)]
    return union(about, pixels)


def near(changed: np.ndarray, shape: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that returns True for pixels that may be near changed ones.

    It compares blocks: all pixels of a block that contains a changed pixel, and of the eight
    blocks about it, count as near.
    """
    rows, columns = shape
    coarse = np.zeros((rows // BLOCK + 3, columns // BLOCK + 3), bool)
    row, column = np.divmod(changed, columns)
    coarse[row // BLOCK + 1, column // BLOCK + 1] = True
    coarse = grown_by_one(coarse)

    def is_near(pixels: np.ndarray) -> np.ndarray:
        row, column = np.divmod(pixels, columns)
        return coarse[row // BLOCK + 1, column // BLOCK + 1]

    return is_near


def grown_by_one(mask: np.ndarray) -> np.ndarray:
    """Grow a mask by a pixel on all sides, but not into the outermost rows and columns."""
    grown = mask.copy()
    wide = mask[:, :-2] | mask[:, 1:-1] | mask[:, 2:]
    grown[1:-1, 1:-1] = wide[:-2] | wide[1:-1] | wide[2:]
    return grown


def windows(image: np.ndarray, pixels: np.ndarray, half: int) -> np.ndarray:
    """Return the surroundings of pixels, shape (2 half + 1, 2 half + 1, pixels)."""
    size, step, columns = 2 * half + 1, image.itemsize, image.shape[1]
    every = as_strided(
        image,
        (image.size - (size - 1) * (columns + 1), size, size),
        (step, step * columns, step),
        writeable=False,
    )
    corner = pixels - half * (columns + 1)
    # The pixels come last, so that a filter works on long rows of them.
    return np.ascontiguousarray(every[corner].transpose(1, 2, 0))
