"""The correction of a shutter that takes time to open and close: the exposure of each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["shutter_factor"]


def shutter_factor(image: np.ndarray, exposures: Sequence[float]) -> np.ndarray:
    """Return what the light of frames is multiplied by to be that of their nominal exposures.

    A pixel at which the image of the shutter is s was exposed for t + s instead of t, so its
    light is multiplied by t / (t + s) (Stetson 1989, Highlights of Astronomy 8, 635). Dark
    current is not affected, so the dark is subtracted before, and the flat divides after.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        In seconds; mostly positive in the centre for an iris, or a slope for a blade.
    exposures : sequence of float
        Of each frame, in seconds.

    Returns
    -------
    ndarray of float32, shape (frames, rows, columns)
        NaN where a pixel was not exposed at all.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.shutter import shutter_factor
    >>> shutter_factor(np.array([[0.0, 0.25, -2]]), [1.0])
    array([[[1. , 0.8, nan]]], dtype=float32)
    """
    seconds = np.asarray(exposures, "f4")[:, np.newaxis, np.newaxis]
    open_for = seconds + np.asarray(image, "f4")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(open_for > 0, seconds / open_for, np.float32(np.nan))
