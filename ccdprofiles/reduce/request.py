"""A master that is to be made: its frames, its recipe, and its path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from astropy import units as u

from ..camera.amplifier import AmplifierSet
from ..camera.corrections import used_corrections
from ..camera.recipe import ALL_CHIPS, Combine, Flat, Recipe
from ..files.pixels import Pixels
from ..pixels.measure import Measured
from ..pixels.prepare import refuse_changes
from ..plan.frames import Frame
from ..plan.plan import Input, Master
from .inputs import JobInputs, pedestal_off

__all__ = ["MasterRequest", "are_exact", "is_exact", "open_frames"]


@dataclass(frozen=True)
class MasterRequest:
    """A master that is to be made.

    Parameters
    ----------
    master : Master
    inputs : JobInputs
    chosen : tuple of Input
        Its frames, and the masters that each needs.
    key : str
        The hash of everything that determines it.
    path : Path
    has_variance : bool
        Whether its variance can be computed.
    others : tuple of Input
        Of a flat whose level all chips share: the flats of the other chips.
    """

    master: Master
    inputs: JobInputs
    chosen: tuple[Input, ...]
    key: str
    path: Path
    has_variance: bool
    others: tuple[Input, ...] = ()

    @classmethod
    def of(
        cls,
        master: Master,
        inputs: JobInputs,
        chosen: Sequence[Input],
        key: str,
        path: Path,
        others: Sequence[Input] = (),
    ) -> MasterRequest:
        """Return a request, with what is known of the master's variance."""
        frame = inputs.frames[chosen[0].file]
        amplifiers = frame.amplifiers
        has_variance = amplifiers.knows_noise
        if not pedestal_off(frame, chosen[0]):
            if master.type == "dark":
                has_variance = len(chosen) > 1
            elif master.type == "flat":
                # The noise of a flat follows from that of its darks.
                has_variance = "gain" not in amplifiers.missing and all(
                    i.dark and "UNCERT" in inputs.masters[i.dark].file.raw.shapes for i in chosen
                )
        return cls(master, inputs, tuple(chosen), key, path, has_variance, tuple(others))

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its frames."""
        return tuple(i.file for i in self.chosen)

    @property
    def frames(self) -> list[Frame]:
        """Its frames."""
        return [self.inputs.frames[i.file] for i in self.chosen]

    @property
    def measured(self) -> list[Measured]:
        """What was measured of each of its frames."""
        return [self.inputs.measured[i.file] for i in self.chosen]

    @property
    def frame(self) -> Frame:
        """Its first frame; all have the same profile, recipe and amplifiers."""
        return self.inputs.frames[self.chosen[0].file]

    @property
    def recipe(self) -> Recipe:
        """The recipe of its frames."""
        return self.frame.recipe

    @property
    def how(self) -> Combine:
        """How its frames are combined."""
        return self.recipe.combine_for(self.master.type)

    @property
    def amplifiers(self) -> AmplifierSet:
        """The amplifiers of its frames."""
        return self.frame.amplifiers

    @property
    def unit(self) -> u.UnitBase:
        """The unit of the raw pixels."""
        return self.frame.profile.unit

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the master."""
        return self.amplifiers.shape

    @property
    def keeps_pedestal(self) -> bool:
        """Whether neither overscan nor bias is subtracted from its frames."""
        return not pedestal_off(self.frame, self.chosen[0])

    @property
    def shares_level(self) -> bool:
        """Whether it is a flat that is divided by the level of all chips."""
        how = self.recipe.flat
        flat = self.master.type == "flat" and isinstance(how, Flat) and how.level == ALL_CHIPS
        return flat and bool(self.frame.chip)

    @property
    def measures_own_noise(self) -> bool:
        """Whether it is a dark whose noise is measured from the scatter of all its frames."""
        return self.master.type == "dark" and self.keeps_pedestal


def are_exact(inputs: JobInputs, chosen: Sequence[Input]) -> bool:
    """Return True if float32 holds frames less their overscan exactly."""
    return all(is_exact(inputs.frames[i.file], inputs.measured[i.file]) for i in chosen)


def is_exact(frame: Frame, measured: Measured) -> bool:
    """Return True if float32 holds a frame less its overscan exactly."""
    amplifiers, recipe = frame.amplifiers, frame.recipe
    if {"crosstalk", "linearity", "shutter"} & set(used_corrections(recipe, frame.type)):
        return False
    if amplifiers.has_overscan and recipe.overscan != "median":
        return False
    if any(r.parallel_overscan is not None for r in amplifiers.readouts):
        return False  # of two levels the second is a quarter of a whole number
    images = frame.raw.images
    if any(i.bitpix not in (8, 16) or i.bscale != 1 or i.bzero % 1 != 0 for i in images):
        return False
    # A level that comes from other rows, or other frames, may be any number.
    return not (any(measured.level_from_night) or any(measured.n_lit_rows))


@contextmanager
def open_frames(inputs: JobInputs, chosen: Sequence[Input]) -> Iterator[Mapping[str, Pixels]]:
    """Open frames once for all their bands: opening decompresses a compressed frame.

    Gives the open pixels by the name of the file.

    Raises
    ------
    FrameRejected
        ``changed``, at the end, if a file was changed in the meantime.
    """
    raws = {i.file: inputs.frames[i.file].raw for i in chosen}
    opened: dict[str, Pixels] = {}
    try:
        for file, raw in raws.items():
            opened[file] = Pixels(raw)
        yield opened
        refuse_changes(raws.values())
    finally:
        for pixels in opened.values():
            pixels.close()
