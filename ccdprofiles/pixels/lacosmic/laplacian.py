"""The Laplacian of an image whose pixels are divided into four (van Dokkum 2001, section 3.1).

Images have the shape (rows, columns, pieces). The order of the float32 operations is that of
astroscrappy's compiled code, so that results agree to the last bit.
"""

from __future__ import annotations

import numpy as np

__all__ = ["convolved", "laplacian", "laplacian_with_edges"]


def laplacian(image: np.ndarray) -> np.ndarray:
    """Return the Laplacian of the inner pixels; smaller by two rows and two columns.

    A quarter has its own pixel on two sides. Negative quarters count as zero.
    """
    here, left, right = image[1:-1, 1:-1], image[1:-1, :-2], image[1:-1, 2:]
    above, below = image[:-2, 1:-1], image[2:, 1:-1]
    four = 4 * here
    to_left, to_right = (four - here) - left, (four - right) - here
    upper, lower = here + above, below + here
    return _mean_of_quarters(to_left - upper, to_right - upper, to_left - lower, to_right - lower)


def laplacian_with_edges(image: np.ndarray) -> np.ndarray:
    """Return the Laplacian of a whole image; neighbours outside the image are omitted.

    The order of the terms differs from edge to edge, as it does in astroscrappy's compiled
    code; it affects the last bit only.
    """
    fine = image.repeat(2, 0).repeat(2, 1)
    four = 4 * fine
    result = np.empty_like(fine)
    up, down = fine[:-2], fine[2:]
    left, right = fine[:, :-2], fine[:, 2:]
    result[1:-1, 1:-1] = ((four[1:-1, 1:-1] - right[1:-1]) - left[1:-1]) - (
        down[:, 1:-1] + up[:, 1:-1]
    )
    result[-1, 1:-1] = (four[-1, 1:-1] - fine[-2, 1:-1]) - (right[-1] + left[-1])
    result[1:-1, 0] = (four[1:-1, 0] - fine[1:-1, 1]) - (down[:, 0] + up[:, 0])
    result[1:-1, -1] = (four[1:-1, -1] - down[:, -1]) - (fine[1:-1, -2] + up[:, -1])
    # The compiled code adds up the first row in double precision.
    top = fine[:2].astype("f8")
    result[0, 1:-1] = 4 * top[0, 1:-1] - top[0, 2:] - top[0, :-2] - top[1, 1:-1]
    result[0, 0] = four[0, 0] - (fine[0, 1] + fine[1, 0])
    result[0, -1] = four[0, -1] - (fine[0, -2] + fine[1, -1])
    result[-1, 0] = four[-1, 0] - (fine[-1, 1] + fine[-2, 0])
    result[-1, -1] = (four[-1, -1] - fine[-1, -2]) - fine[-2, -1]
    return _mean_of_quarters(
        result[::2, ::2], result[::2, 1::2], result[1::2, ::2], result[1::2, 1::2]
    )


def _mean_of_quarters(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Return the mean of the positive quarters: upper left and right, lower left and right."""
    a, b, c, d = (np.maximum(quarter, 0) for quarter in (a, b, c, d))
    return ((a + d) + (b + c)) * np.float32(0.25)


def convolved(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return weighted sums of neighbours, added in the order of the kernel; smaller by it."""
    rows, columns = (n - k + 1 for n, k in zip(image.shape, kernel.shape, strict=False))
    total = np.zeros((rows, columns, *image.shape[2:]), np.float32)
    for (row, column), weight in np.ndenumerate(kernel):
        total += image[row : row + rows, column : column + columns] * weight
    return total
