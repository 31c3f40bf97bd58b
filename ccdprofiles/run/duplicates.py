"""Frames of a night that hold the same pixels though their headers differ."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import FrameRejected
from ..files.pixels import Pixels
from ..pixels.measure import Measured

__all__ = ["same_pixels"]

_ROWS = 512


def same_pixels(measured: Mapping[str, Measured]) -> list[str]:
    """Name frames that hold the same pixels: one of them was copied and its header changed.

    A copy with the same header is counted once; which header is right no one can tell
    but the observer, so these are used, and said.

    Parameters
    ----------
    measured : mapping
        The frames by their file.

    Returns
    -------
    list of str
        A sentence for each.
    """
    alike: dict[tuple, list[str]] = {}
    for file, frame in sorted(measured.items()):
        key = (frame.quality.fingerprint, *((i.shape, i.bitpix) for i in frame.raw.images))
        alike.setdefault(key, []).append(file)
    told = []
    for first, *others in alike.values():
        told += [
            f"{file}: the same pixels as {first} under another header; both are used as they "
            "say, so take the wrong one out of the night."
            for file in others
            if _equal(measured[first], measured[file])
        ]
    return told


def _equal(first: Measured, second: Measured) -> bool:
    """Compare the pixels themselves, as their samples may agree by chance."""
    try:
        with Pixels(first.raw) as one, Pixels(second.raw) as other:
            return all(
                (one.stored(a, row, stop) == other.stored(b, row, stop)).all()
                for a, b in zip(first.raw.images, second.raw.images, strict=True)
                for row in range(0, a.shape[0], _ROWS)
                for stop in (min(row + _ROWS, a.shape[0]),)
            )
    except (FrameRejected, OSError):
        return False  # said where its pixels are read
