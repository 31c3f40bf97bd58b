"""Whole images of files that many frames share, such as a bad-pixel mask: each is read once."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from .pixels import Pixels
from .raw import read_raw

__all__ = ["plane", "planes"]

_KEPT = 4
"""Files of which the images stay in memory; a night has one for each correction and binning."""


def plane(path: Path) -> np.ndarray:
    """Return the first image of a file as float32; read-only.

    Raises
    ------
    FrameRejected, OSError
        If it cannot be read.
    """
    return next(iter(planes(path).values()))


def planes(path: Path) -> dict[str, np.ndarray]:
    """Return all images of a file as float32, by EXTNAME or number; read-only.

    Raises
    ------
    FrameRejected, OSError
        If it cannot be read.
    """
    now = os.stat(path)
    return dict(_read(path, now.st_mtime_ns, now.st_size))


@lru_cache(_KEPT)
def _read(path: Path, mtime_ns: int, size: int) -> tuple[tuple[str, np.ndarray], ...]:
    raw = read_raw(path)
    images = []
    with Pixels(raw) as pixels:
        for image in raw.images:
            data = pixels.rows(image, 0, image.shape[0])
            data.flags.writeable = False
            images.append((image.name or str(image.index), data))
    return tuple(images)
