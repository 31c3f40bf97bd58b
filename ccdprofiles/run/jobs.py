"""What is given out to workers: frames to measure, a master, some science frames.

A job holds all that it takes, as plain data that can travel to another process or
another machine, and gives back what it found; nothing else is shared but the disk.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import FrameRejected
from ..pixels.measure import Measured, measure
from ..plan.frames import Frame
from ..plan.plan import Input, Master, Product
from ..reduce.flats import FlatLevel, levels_of
from ..reduce.ledger import Ledger, travelling
from ..reduce.masters import MasterMaker, Part
from ..reduce.science import Written, write_science

__all__ = ["MadeMaster", "MasterJob", "MeasureJob", "ScienceJob", "look_at"]

LARGE = 2**22
"""Pixels of all its frames from which several workers share a master."""


@dataclass(frozen=True)
class MeasureJob:
    """Frames whose pixels are looked at for the first time.

    Parameters
    ----------
    frames : tuple of Frame
    """

    frames: tuple[Frame, ...]

    @property
    def held(self) -> int:
        """How many bytes it holds in memory, apart from bands."""
        return 0

    @property
    def files(self) -> tuple[str, ...]:
        """Its frames."""
        return tuple(f.file for f in self.frames)

    def split(self) -> list[MeasureJob]:
        """Return a job for every frame."""
        return [MeasureJob((f,)) for f in self.frames]

    def run(self, mapped: Callable = map) -> list[Measured | FrameRejected]:
        """Measure every frame, or say why that cannot be done."""
        return [look_at(f) for f in self.frames]

    def travelling(self) -> MeasureJob:
        """Return this job with no more than it needs."""
        return MeasureJob(tuple(travelling(f) for f in self.frames))


@dataclass(frozen=True)
class MadeMaster:
    """A master that was made.

    Parameters
    ----------
    path : Path
    sha256 : str
    failed : dict
        File → code and sentence, of frames that turned out to be unusable.
    refused : FrameRejected or None
        Why it could not be made after all.
    """

    path: Path
    sha256: str
    failed: dict[str, tuple[str, str]]
    refused: FrameRejected | None = None


@dataclass(frozen=True)
class MasterJob:
    """A master to be made, or what comes before it: the levels of some flats, or some rows.

    Parameters
    ----------
    ledger : Ledger
    master : Master
    inputs : tuple of Input
    key : str
    path : Path
    levels : dict or None
        Of its flats, by their files, where they have been measured.
    flats : tuple of Input
        The flats whose levels are wanted, and nothing else.
    rows : tuple of int
        First and stop of the rows that are wanted, and nothing else.
    parts : tuple of Part
        All its rows, where they have been combined.
    """

    ledger: Ledger
    master: Master
    inputs: tuple[Input, ...]
    key: str
    path: Path
    levels: dict[str, FlatLevel] | None = None
    flats: tuple[Input, ...] = ()
    rows: tuple[int, int] | None = None
    parts: tuple[Part, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the master."""
        return self.ledger.frames[self.inputs[0].file].amplifiers.shape

    @property
    def held(self) -> int:
        """How many bytes it holds in memory, apart from bands."""
        return 10 * self.shape[0] * self.shape[1]

    @property
    def files(self) -> tuple[str, ...]:
        """Its frames."""
        return tuple(i.file for i in self.inputs)

    def split(self) -> list[MasterJob]:
        """Return nothing: a master needs all its frames."""
        return []

    def travelling(self) -> MasterJob:
        """Return this job with no more than it needs."""
        return replace(self, ledger=self.ledger.part(self.inputs, []), path=self.path.absolute())

    def shared(self, number: int) -> list[MasterJob]:
        """Return the jobs that come next where several workers share a master.

        None are left once its rows are combined, or where it cannot be shared.
        """
        rows, columns = self.shape
        maker = self._maker()
        if self.parts or not maker.in_parts or len(self.inputs) * rows * columns < LARGE:
            return []
        if self.master.type == "flat" and self.levels is None:
            step = -(-len(self.inputs) // number)
            some = range(0, len(self.inputs), step)
            return [replace(self, flats=self.inputs[n : n + step]) for n in some]
        step = -(-rows // number // 4) * 4
        return [
            replace(self, rows=(first, min(first + step, rows))) for first in range(0, rows, step)
        ]

    def run(self, mapped: Callable = map) -> MadeMaster | Part | dict[str, FlatLevel]:
        """Make it, or what is wanted of it."""
        maker = self._maker(mapped)
        try:
            if self.flats:
                return levels_of(self.ledger, self.flats, maker.exact, mapped)
            if self.rows is not None:
                return maker.write_part(self.path, *self.rows)
            sha256 = maker.write(self.path, self.parts)
        except FrameRejected as error:
            return MadeMaster(self.path, "", maker.failed, error)
        return MadeMaster(self.path, sha256, maker.failed)

    def _maker(self, mapped: Callable = map) -> MasterMaker:
        return MasterMaker(self.ledger, self.master, self.inputs, self.key, mapped, self.levels)


@dataclass(frozen=True)
class ScienceJob:
    """Science frames to be calibrated together.

    Parameters
    ----------
    ledger : Ledger
    products : tuple of Product
    whole : bool
        Whether frames are worked on whole, as for cosmic rays.
    """

    ledger: Ledger
    products: tuple[Product, ...]
    whole: bool

    @property
    def held(self) -> int:
        """How many bytes it holds in memory, apart from bands."""
        rows, columns = self.ledger.frames[self.products[0].input.file].amplifiers.shape
        return 40 * rows * columns if self.whole else 0

    @property
    def files(self) -> tuple[str, ...]:
        """Its frames."""
        return tuple(p.input.file for p in self.products)

    def split(self) -> list[ScienceJob]:
        """Return a job for every frame."""
        return [replace(self, products=(p,)) for p in self.products]

    def travelling(self) -> ScienceJob:
        """Return this job with no more than it needs."""
        inputs = [p.input for p in self.products]
        return replace(self, ledger=self.ledger.part(inputs, [p.name for p in self.products]))

    def run(self, mapped: Callable = map) -> Written:
        """Calibrate them, and write the products."""
        return write_science(self.ledger, self.products, self.whole, mapped)


def look_at(frame: Frame) -> Measured | FrameRejected:
    """Measure one frame, or say why that cannot be done."""
    try:
        return measure(frame.raw, frame.amplifiers, frame.recipe)
    except FrameRejected as error:
        return error
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise
        why = f"it cannot be read ({error.strerror}); look at the disk, and copy it again."
        return FrameRejected("unreadable", why)
