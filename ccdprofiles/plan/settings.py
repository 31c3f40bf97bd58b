"""How the frames of a night were set, and where a frame differs from a master."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .frames import Frame
from .plan import Master
from .setup_cards import CHIP, SETUP, TOLERANCE, FrameSetup, plain_value, same_value
from .setup_reader import SetupReader

__all__ = ["Candidate", "Comparison", "Settings", "temperature_tolerance"]


@dataclass(frozen=True)
class Candidate:
    """A master that frames may take, and how the frames in it were set.

    Parameters
    ----------
    master : Master
    setup : FrameSetup
        The mean of its frames.
    others : tuple of (card, value)
        Cards that no profile lists and that divide its frames from those of other masters.
    shape : tuple of int or None
        Rows and columns of its raw frames; None for a master of another night.
    """

    master: Master
    setup: FrameSetup
    others: tuple[tuple[str, object], ...] = ()
    shape: tuple[int, int] | None = None

    def unlike_cards(self, frame: Frame) -> tuple[tuple[str, object], ...]:
        """Return those of its unlisted cards that have another value in a frame."""
        if not self.others:
            return ()
        return tuple(
            (card, value)
            for card, value in self.others
            if not same_value(value, plain_value(frame.header.get(card)))
        )


@dataclass(frozen=True)
class Comparison:
    """Where the set-up of a frame and that of a master differ, as places in `SETUP`.

    Parameters
    ----------
    differ : tuple of int
        What both say, and say differently.
    lack : tuple of int
        What one of them does not say.
    blocked : tuple of int
        What makes a bias or dark wrong for the frame.
    """

    differ: tuple[int, ...]
    lack: tuple[int, ...]
    blocked: tuple[int, ...]


class Settings:
    """Reads the set-up of each frame once, and compares it with each master once."""

    def __init__(self) -> None:
        self._readers: dict[int, SetupReader] = {}
        self._setups: dict[str, FrameSetup] = {}
        self._comparisons: dict[tuple, Comparison] = {}

    def of(self, frame: Frame) -> FrameSetup:
        """Return how a frame was set."""
        setup = self._setups.get(frame.file)
        if setup is None:
            reader = self._readers.get(id(frame.profile))
            if reader is None:
                reader = self._readers[id(frame.profile)] = SetupReader(frame.profile)
            setup = self._setups[frame.file] = reader.read(frame.header, bool(frame.master))
        return setup

    def of_all(self, frames: Sequence[Frame]) -> list[FrameSetup]:
        """Return how each of several frames was set."""
        return [self.of(frame) for frame in frames]

    def compared(self, candidate: Candidate, frame: Frame) -> Comparison:
        """Compare how a frame and the frames of a master were set."""
        setup, limit = self.of(frame), frame.recipe.limits.temperature
        # Frames that were set alike share their set-up, which lives as long as these settings.
        key = candidate.master.name, id(setup), None if limit is None else float(limit.value)
        if key not in self._comparisons:
            self._comparisons[key] = _comparison(candidate, setup, frame)
        return self._comparisons[key]


def _comparison(candidate: Candidate, setup: FrameSetup, frame: Frame) -> Comparison:
    differ, lack = setup.compared(candidate.setup, temperature_tolerance(frame))
    blocked = [p for p in differ if not SETUP[p].within]
    # The level of a bias hardly depends on the temperature, the current in a dark does.
    if candidate.master.type != "bias":
        if CHIP in differ or CHIP in lack or setup.chip is None:
            blocked = differ
        # Otherwise both chips are known to agree, whatever they were meant to be.
        strict = frame.recipe.limits.temperature is not None
        if strict and CHIP in lack and candidate.setup.chip is None:
            blocked = [*blocked, CHIP]
    return Comparison(tuple(differ), tuple(lack), tuple(blocked))


def temperature_tolerance(frame: Frame) -> float:
    """Return the kelvin that two chips may differ by, as the recipe of a frame says."""
    limit = frame.recipe.limits.temperature
    return TOLERANCE if limit is None else float(limit.value)
