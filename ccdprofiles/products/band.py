"""Rows of a product: data, uncertainty and flags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["DQ_BITS", "MASKED", "Band"]

DQ_BITS = {
    "bad pixel": 1,
    "non-linear": 2,
    "saturated": 4,
    "cosmic ray": 8,
    "no data": 16,
    "unilluminated": 64,
    "no flat": 128,
    "hot": 256,
}
"""What the bits of the DQ plane mean; those up to 64 are DRAGONS' own."""

MASKED = 1 | 4 | 8 | 16 | 64 | 128
"""The bits that set MASK; a hot pixel and one that is hardly non-linear can be used."""


@dataclass(frozen=True)
class Band:
    """A band of rows of a product.

    Parameters
    ----------
    data : ndarray of float32
    variance : ndarray of float32 or None
    flags : ndarray of uint16 or None
        None where no pixel is flagged.
    """

    data: np.ndarray
    variance: np.ndarray | None = None
    flags: np.ndarray | None = None
