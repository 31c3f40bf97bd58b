"""What is given out to workers: frames to measure, a master, some science frames.

A job holds all that it takes, as plain data that can travel to another process or
another machine, and gives back what it found; nothing else is shared but the disk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from .errors import FrameRejected
from .frames import Frame
from .ledger import Ledger, travelling
from .masters import MasterMaker
from .plan import Input, Master, Product
from .prepare import Measured, measure
from .products import sha256_of
from .science import Written, write_science

__all__ = ["MadeMaster", "MasterJob", "MeasureJob", "ScienceJob", "look_at"]


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
    """A master to be made.

    Parameters
    ----------
    ledger : Ledger
    master : Master
    inputs : tuple of Input
    key : str
    path : Path
    """

    ledger: Ledger
    master: Master
    inputs: tuple[Input, ...]
    key: str
    path: Path

    @property
    def held(self) -> int:
        """How many bytes it holds in memory, apart from bands."""
        rows, columns = self.ledger.frames[self.inputs[0].file].amplifiers.shape
        return 10 * rows * columns

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

    def run(self, mapped: Callable = map) -> MadeMaster:
        """Make it."""
        maker = MasterMaker(self.ledger, self.master, self.inputs, self.key, mapped)
        try:
            maker.write(self.path)
        except FrameRejected as error:
            return MadeMaster(self.path, "", maker.failed, error)
        return MadeMaster(self.path, sha256_of(self.path), maker.failed)


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
        return FrameRejected("unreadable", f"it cannot be read ({error.strerror}).")
