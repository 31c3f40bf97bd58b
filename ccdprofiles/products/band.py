"""Rows of an image with their variance and their flags."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntFlag

import numpy as np

__all__ = ["DQ", "DQ_BITS", "MASKED", "NO_LEVEL", "Band", "flags_of_stored"]


class DQ(IntFlag):
    """The bits of the DQ plane; those up to 64 have the same meaning as in DRAGONS.

    numpy converts ``flags & DQ.HOT`` to int64; the plain int ``DQ.HOT.value`` keeps uint16.
    """

    BAD_PIXEL = 1
    NON_LINEAR = 2
    SATURATED = 4
    COSMIC_RAY = 8
    NO_DATA = 16
    UNILLUMINATED = 64
    NO_FLAT = 128
    HOT = 256


DQ_BITS = {
    "bad pixel": DQ.BAD_PIXEL.value,
    "non-linear": DQ.NON_LINEAR.value,
    "saturated": DQ.SATURATED.value,
    "cosmic ray": DQ.COSMIC_RAY.value,
    "no data": DQ.NO_DATA.value,
    "unilluminated": DQ.UNILLUMINATED.value,
    "no flat": DQ.NO_FLAT.value,
    "hot": DQ.HOT.value,
}
"""The bits by their names in the header of a DQ plane."""

MASKED = sum(DQ_BITS.values()) & ~(DQ.NON_LINEAR | DQ.HOT).value
"""The bits that set MASK; a hot pixel and one that is slightly non-linear can be used."""

NO_LEVEL = 0xFFFF & ~DQ.NON_LINEAR.value
"""The bits that exclude a pixel from the level of a flat: without the pixels above the limit of
linearity, which differ from flat to flat, the levels of the flats would not be comparable."""


def flags_of_stored(stored: np.ndarray) -> np.ndarray:
    """Return the flags of rows of a DQ plane, which FITS stores as int16 less 2**15.

    >>> import numpy as np
    >>> from ccdprofiles.products.band import flags_of_stored
    >>> flags_of_stored(np.array([-32768, -32764], ">i2"))
    array([0, 4], dtype=uint16)
    """
    return stored.view(">u2").astype("u2") ^ 0x8000


@dataclass(frozen=True)
class Band:
    """A band of rows of a product.

    Parameters
    ----------
    data : ndarray of float32, shape (rows, columns)
        In the unit of the product; a flat is normalised to 1.
    variance : ndarray of float32 or None
    flags : ndarray of uint16 or None
        `DQ` bits; None if no pixel is flagged.
    scatter : ndarray or None
        Of a master dark that still contains its pedestal: the variance of one of its frames.
    same_bias : bool
        Of a master dark: whether its bias is the one that is subtracted from the frame, so
        that the noise of the bias cancels.
    """

    data: np.ndarray
    variance: np.ndarray | None = None
    flags: np.ndarray | None = None
    scatter: np.ndarray | None = None
    same_bias: bool = True

    def of_columns(self, columns: slice) -> Band:
        """Return some columns of it."""
        variance, flags, scatter = (
            None if plane is None else np.ascontiguousarray(plane[:, columns])
            for plane in (self.variance, self.flags, self.scatter)
        )
        data = np.ascontiguousarray(self.data[:, columns])
        flags = None if flags is None or not flags.any() else flags
        return replace(self, data=data, variance=variance, flags=flags, scatter=scatter)
