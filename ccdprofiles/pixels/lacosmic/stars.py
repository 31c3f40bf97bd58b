"""Saturated stars, which L.A.Cosmic must not take for cosmic rays."""

from __future__ import annotations

import numpy as np

from .options import F4, Options
from .places import ROUND, apply, dilated, inside, windows

__all__ = ["about_stars", "saturated_stars"]


def saturated_stars(
    image: np.ndarray, saturated: np.ndarray, satlevel: float, sepmed: bool = True
) -> np.ndarray:
    """Return the saturated stars of a frame, but not the cosmic rays that saturate.

    About a star the median of the pixels is bright too. L.A.Cosmic recognises saturated
    pixels by their level, which a calibrated frame no longer has; here they are a parameter.

    Parameters
    ----------
    image : ndarray of float32, shape (rows, columns)
        In electron; finite.
    saturated : ndarray of bool
    satlevel : float
        Saturation level in electron.
    sepmed : bool
        As for `ccdprofiles.pixels.cosmics.detect_cosmics`.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
        The saturated stars and what lies within four pixels of them.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.lacosmic.stars import saturated_stars
    >>> image = np.full((40, 40), 100, "f4")
    >>> image[10:19, 10:19] = image[30, 30] = 60_000
    >>> stars = saturated_stars(image, image == 60_000, 60_000)
    >>> bool(stars[14, 14]), bool(stars[30, 30])
    (True, False)
    """
    options = Options(satlevel=satlevel, sepmed=sepmed)
    stars = np.zeros(image.size, bool)
    image = np.ascontiguousarray(image, F4)
    stars[about_stars(image, np.flatnonzero(saturated), options)] = True
    return stars.reshape(image.shape)


def about_stars(image: np.ndarray, bright: np.ndarray, options: Options) -> np.ndarray:
    """Return the pixels about those bright ones whose median is above a tenth of saturation."""

    def smooth(pixels: np.ndarray) -> np.ndarray:
        return options.median(windows(image, pixels, options.edge), options.sizes[0])[0, 0]

    within = inside(bright, image.shape, options.edge)
    level = image.reshape(-1)[bright]
    level[within] = apply(smooth, bright[within])
    stars = bright[level > options.satlevel / F4(10)]
    for _ in range(2):
        stars = dilated(stars, ROUND, image.shape, 2)
    return stars
