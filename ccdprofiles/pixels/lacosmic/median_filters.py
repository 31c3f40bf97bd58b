"""Median filters of images, shape (rows, columns, pieces), by sorting networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..sorting import median_network

__all__ = ["box_median", "inner_median", "separable_median"]


def separable_median(image: np.ndarray, size: int) -> np.ndarray:
    """Return the median along the rows and then along the columns; smaller by ``size - 1``."""
    columns = image.shape[1] - size + 1
    along = _median([image[:, n : n + columns] for n in range(size)])
    rows = image.shape[0] - size + 1
    return _median([along[n : n + rows] for n in range(size)])


def box_median(image: np.ndarray, size: int) -> np.ndarray:
    """Return the median of square boxes; smaller by ``size - 1``."""
    rows, columns = image.shape[0] - size + 1, image.shape[1] - size + 1
    return _median(
        [
            image[row : row + rows, column : column + columns]
            for row in range(size)
            for column in range(size)
        ]
    )


def inner_median(
    image: np.ndarray, median: Callable[[np.ndarray, int], np.ndarray], size: int
) -> np.ndarray:
    """Return the median-filtered image, its edges unchanged, as astroscrappy leaves them."""
    smooth, half = image.copy(), size // 2
    smooth[half:-half, half:-half] = median(image, size)
    return smooth


def _median(images: Sequence[np.ndarray]) -> np.ndarray:
    """Return the pixel-wise median of an odd number of images."""
    values = list(images)
    for i, j, low, high in median_network(len(values)):
        a, b = values[i], values[j]
        if low:
            values[i] = np.minimum(a, b)
        if high:
            values[j] = np.maximum(a, b)
    return values[len(values) // 2]
