"""The frames of a mosaic: one for each chip of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from ..camera.chips import amplifiers_of_chip, chip_file
from ..camera.extensions import expanded
from ..camera.recipe import ALL_CHIPS, Flat
from ..camera.watch import call
from .frames import Frame
from .names import product_names
from .plan import Input, Master, Mosaic, Product

__all__ = ["chips_of", "flats_of_other_chips", "mosaics_of", "number_of_files"]


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


def mosaics_of(products: Sequence[Product], frames: Mapping[str, Frame]) -> tuple[Mosaic, ...]:
    """Return the files in which the products of chips are joined, if profiles ask for them.

    Parameters
    ----------
    products : sequence of Product
    frames : mapping
        File → science frame.
    """
    exposures: dict[str, list[tuple[Frame, str]]] = {}
    for product in products:
        frame = frames[product.input.file]
        if frame.chip and frame.profile.products == "mef":
            exposures.setdefault(frame.raw_file, []).append((frame, product.name))
    whole = [parts[0][0].with_(file=file, chip="") for file, parts in exposures.items()]
    names = product_names(whole, [product.name for product in products])
    mosaics = []
    for name, (file, parts) in zip(names, exposures.items(), strict=True):
        chips = tuple(parts[0][0].profile.chips)
        by_chip = {frame.chip: product for frame, product in parts}
        pairs = tuple((chip, by_chip[chip]) for chip in chips if chip in by_chip)
        mosaics.append(Mosaic(name, file, chips, pairs))
    return tuple(mosaics)


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
