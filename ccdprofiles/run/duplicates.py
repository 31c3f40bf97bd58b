"""Find frames with the same pixels and different headers."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import FrameRejected
from ..files.pixels import Pixels
from ..pixels.measure import Measured
from ..plan.reason import Reason

__all__ = ["same_pixels"]

_ROWS = 512


def same_pixels(measured: Mapping[str, Measured]) -> list[Reason]:
    """Return notes on frames with the same pixels: one was copied and its header changed.

    A copy with the same header is counted once. Only the observer knows which of two headers
    is right, so both frames are used, with a note.

    Parameters
    ----------
    measured : mapping
        The frames by their file.

    Returns
    -------
    list of Reason
        A note on each.
    """
    alike: dict[tuple, list[str]] = {}
    for file, frame in sorted(measured.items()):
        key = (frame.quality.fingerprint, *((i.shape, i.bitpix) for i in frame.raw.images))
        alike.setdefault(key, []).append(file)
    notes = []
    for first, *others in alike.values():
        notes += [
            Reason.note(
                file,
                f"the same pixels as {first}, but another header; both are used according to "
                "their headers; remove the wrong one from the night.",
            )
            for file in others
            if _equal(measured[first], measured[file])
        ]
    return notes


def _equal(first: Measured, second: Measured) -> bool:
    """Return True if all pixels are equal; samples of them may agree by chance."""
    try:
        with Pixels(first.raw) as one, Pixels(second.raw) as other:
            return all(
                (one.stored(a, row, stop) == other.stored(b, row, stop)).all()
                for a, b in zip(first.raw.images, second.raw.images, strict=True)
                for row in range(0, a.shape[0], _ROWS)
                for stop in (min(row + _ROWS, a.shape[0]),)
            )
    except (FrameRejected, OSError):
        return False  # reported when its pixels are read
