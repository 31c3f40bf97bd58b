"""The frames of a mosaic: one for each chip of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..camera.chips import amplifiers_of_chip, chip_file
from ..camera.extensions import expanded
from ..camera.recipe import ALL_CHIPS, Flat
from ..camera.watch import call
from .frames import Frame
from .plan import Input, Master

__all__ = ["chips_of", "flats_of_other_chips", "number_of_files"]


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


def flats_of_other_chips(
    masters: Iterable[Master], frames: Mapping[str, Frame]
) -> dict[str, tuple[tuple[str, Input], ...]]:
    """Return the flats of other chips that decide the level of each master flat.

    Parameters
    ----------
    masters : iterable of Master
    frames : mapping
        File → frame.

    Returns
    -------
    dict
        Name of a master flat whose level all chips share → the flats of the other chips in the
        same exposures, each with the name of its own master.
    """
    exposures: dict[Path, list[tuple[str, Input]]] = {}
    sharing: list[Master] = []
    for master in masters:
        if master.type != "flat" or master.path or not frames[master.inputs[0].file].chip:
            continue
        how = frames[master.inputs[0].file].recipe.flat
        if isinstance(how, Flat) and how.level == ALL_CHIPS:
            sharing.append(master)
            for chosen in master.inputs:
                exposures.setdefault(frames[chosen.file].path, []).append((master.name, chosen))
    return {
        master.name: tuple(
            (name, other)
            for chosen in master.inputs
            for name, other in exposures[frames[chosen.file].path]
            if frames[other.file].chip != frames[chosen.file].chip
        )
        for master in sharing
    }
