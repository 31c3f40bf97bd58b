"""The frames of a mosaic: one for each chip of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..camera.chips import amplifiers_of_chip, chip_file
from ..camera.extensions import expanded
from ..camera.watch import call
from .frames import Frame

__all__ = ["chips_of", "number_of_files"]


def chips_of(frame: Frame) -> Iterator[Frame]:
    """Yield a frame for each chip of a mosaic, with the images and the header of that chip.

    A chip of which the file has no image keeps those of the file, and is refused once its
    amplifiers are placed.

    Parameters
    ----------
    frame : Frame
        Of the whole file, with its profile.
    """
    profile, raw = frame.profile, frame.raw
    amplifiers = profile.amplifiers
    if callable(amplifiers):
        amplifiers = tuple(call(amplifiers, frame.header))
    try:
        amplifiers = expanded(amplifiers, raw.shapes)
    except KeyError:
        amplifiers = ()
    for chip in profile.chips:
        own = amplifiers_of_chip(amplifiers, profile.chips, chip)
        extensions = [a.extension for a in own if a.extension in raw.shapes]
        part = raw.only(extensions) if extensions else raw
        shape = part.images[0].shape
        yield frame.with_(file=chip_file(frame.file, chip), chip=chip, raw=part, shape=shape)


def number_of_files(frames: Sequence[Frame]) -> int:
    """Return in how many files frames are; the chips of a mosaic share one."""
    if not any(frame.chip for frame in frames):
        return len(frames)
    return len({frame.raw_file for frame in frames})
