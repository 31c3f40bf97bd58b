"""Cosmic-ray hits are replaced by values of the 25 pixels around them."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..statistics import lower_median
from .places import apply, union, windows

__all__ = ["REPLACEMENTS", "Cleaner"]

F4 = np.float32


class Cleaner:
    """Replaces hits in the working copies of a frame and of its variance.

    Parameters
    ----------
    image, variance : ndarray of float32, shape (rows, columns)
        Working copies; `clean` changes them in place.
    masked : ndarray of bool, shape (rows * columns,), or None
        Pixels that are not used as replacement.
    cleantype : {"meanmask", "medmask", "idw", "median"}
    """

    def __init__(
        self,
        image: np.ndarray,
        variance: np.ndarray,
        masked: np.ndarray | None,
        cleantype: str,
    ):
        self.planes = (image, variance)
        self.masked = masked
        self.cleantype = cleantype
        self.flagged = np.zeros(image.size, bool)
        self.levels: dict[int, np.floating] = {}
        """The level of a plane before cleaning, once it has been computed."""
        self._originals: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def clean(self, hits: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Replace all hits, earlier and new ones.

        Returns
        -------
        hits, changed : ndarray of int
            All hits, and those whose value or variance changed.
        """
        flat = [plane.reshape(-1) for plane in self.planes]
        self._originals.append((new, *(plane[new] for plane in flat)))
        self.flagged[new] = True
        hits = union(hits, new)
        changed = np.zeros(hits.size, bool)
        # All are read before any is written: the plain median reads other hits.
        values = [apply(partial(self._replacement, which), hits) for which in range(2)]
        for plane, value in zip(flat, values, strict=True):
            changed |= plane[hits] != value
            plane[hits] = value
        return hits, hits[changed]

    def _replacement(self, which: int, hits: np.ndarray) -> np.ndarray:
        """Return the replacement of each hit from good pixels among the 25 around it."""
        shape = self.planes[which].shape
        values = windows(self.planes[which], hits, 2).reshape(25, -1)
        if self.cleantype == "median":
            return np.median(values, axis=0)
        good = ~windows(self.flagged.reshape(shape), hits, 2).reshape(25, -1)
        if self.masked is not None:
            good &= ~windows(self.masked.reshape(shape), hits, 2).reshape(25, -1)
        value = REPLACEMENTS[self.cleantype](values, good)
        without = ~good.any(axis=0)
        if without.any():
            value[without] = self._level(which)
        return value

    def _level(self, which: int) -> np.floating:
        """Return the median of the unmasked pixels of a plane before anything was replaced."""
        if which not in self.levels:
            values = self.planes[which].reshape(-1).copy()
            for pixels, *originals in self._originals:
                values[pixels] = originals[which]
            if self.masked is not None:
                values = values[~self.masked]
            self.levels[which] = lower_median(values) if values.size else F4(0)
        return self.levels[which]


# Replacements from 25 values each, in the order of the rows, of which some are good.


def _mean(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    total = np.zeros(values.shape[1], F4)
    for value, use in zip(values, good, strict=True):
        total += np.where(use, value, 0)
    return total / np.maximum(good.sum(axis=0), 1).astype(F4)


def _median(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    ordered = np.sort(np.where(good, values, F4(np.inf)), axis=0)
    half = np.maximum(good.sum(axis=0) - 1, 0) // 2
    return ordered[half, np.arange(half.size)]


def _inverse_distance(values: np.ndarray, good: np.ndarray) -> np.ndarray:
    total, weights = np.zeros((2, values.shape[1]), F4)
    for value, use, weight in zip(values, good, _WEIGHTS, strict=True):
        total += np.where(use, value * weight, 0)
        weights += np.where(use, weight, 0)
    return total / np.maximum(weights, F4(0.01))


_WEIGHTS = [
    F4(1 / np.hypot(row, column)) if row or column else F4(0)
    for row in range(-2, 3)
    for column in range(-2, 3)
]

REPLACEMENTS = {"meanmask": _mean, "medmask": _median, "idw": _inverse_distance}
"""Functions of 25 values and of which are good, by the ``cleantype`` of astroscrappy."""
