"""The smooth level of an image, from the medians of blocks of pixels."""

from __future__ import annotations

import numpy as np

from .statistics import nanmedian

__all__ = ["local_level"]


def local_level(image: np.ndarray, block: int) -> np.ndarray:
    """Return the level around each pixel, interpolated between the medians of square blocks.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        NaN where a pixel does not count.
    block : int
        Pixels along the side of a block.

    Returns
    -------
    ndarray of float64

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.background import local_level
    >>> image = np.full((32, 32), 7.0)
    >>> image[3, 4] = 1000
    >>> float(local_level(image, 16)[3, 4])
    7.0
    """
    from scipy.ndimage import map_coordinates

    rows, columns = image.shape
    down, across = -(-rows // block), -(-columns // block)
    padded = np.full((down * block, across * block), np.nan)
    padded[:rows, :columns] = image
    blocks = padded.reshape(down, block, across, block).transpose(1, 3, 0, 2)
    level = nanmedian(blocks.reshape(block**2, -1)).reshape(down, across)
    known = np.isfinite(level)
    level = np.where(known, level, np.median(level[known]) if known.any() else 0.0)
    places = np.meshgrid(
        (np.arange(rows) - (block - 1) / 2) / block,
        (np.arange(columns) - (block - 1) / 2) / block,
        indexing="ij",
    )
    return map_coordinates(level, places, order=1, mode="nearest")
