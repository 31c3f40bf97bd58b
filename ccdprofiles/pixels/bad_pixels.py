"""Bad-pixel masks: pixels of a frame are flagged where a file says that they are bad."""

from __future__ import annotations

import numpy as np
from astropy.nddata import CCDData

from ..products.band import DQ

__all__ = ["bad_pixel_flags", "flag_bad_pixels"]


def bad_pixel_flags(mask: np.ndarray) -> np.ndarray | None:
    """Return the flags of the rows of a mask: `DQ.BAD_PIXEL` where it is not 0.

    Parameters
    ----------
    mask : ndarray, shape (rows, columns)
        NaN is bad, too.

    Returns
    -------
    ndarray of uint16, shape (rows, columns), or None
        None if no pixel is bad.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.bad_pixels import bad_pixel_flags
    >>> bad_pixel_flags(np.array([[0, 4, 0]]))
    array([[0, 1, 0]], dtype=uint16)
    """
    bad = mask != 0
    return bad * np.uint16(DQ.BAD_PIXEL.value) if bad.any() else None


def flag_bad_pixels(ccd: CCDData, flags: np.ndarray | None) -> CCDData:
    """Return a stack of frames with the flags of bad pixels added to each.

    Parameters
    ----------
    ccd : CCDData, shape (frames, rows, columns)
    flags : ndarray of uint16, shape (rows, columns), or None
        As returned by `bad_pixel_flags`.
    """
    if flags is None:
        return ccd
    joined = np.zeros(ccd.shape, "u2") if ccd.flags is None else ccd.flags.copy()
    joined |= flags
    return CCDData(ccd.data, unit=ccd.unit, flags=joined)
