"""The jobs that workers run: measure frames, make a master, calibrate science frames.

A job contains everything that it needs, as plain data that can be pickled, and returns its result;
only the disk is shared. A large master is made by several workers: the levels of its flats are
measured first, then its rows are combined, and then it is finished.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import FrameRejected
from ..pixels.measure import Measured, measure
from ..plan.frames import Frame
from ..plan.plan import Input
from ..reduce.chip_levels import levels_for
from ..reduce.flat_levels import FlatLevel
from ..reduce.inputs import JobInputs
from ..reduce.masters import MadeMaster, combine_part, make_master
from ..reduce.parts import Part
from ..reduce.request import MasterRequest
from ..reduce.science import ScienceRequest, Written, write_science

__all__ = [
    "FlatLevelsJob",
    "MasterJob",
    "MeasureJob",
    "RowsJob",
    "ScienceJob",
    "first_jobs",
    "look_at",
]

LARGE = 2**22
"""Pixels of all frames of a master from which several workers share it."""


@dataclass(frozen=True)
class MeasureJob:
    """Measure frames.

    Parameters
    ----------
    frames : tuple of Frame
    """

    frames: tuple[Frame, ...]
    held = 0

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its frames."""
        return tuple(f.file for f in self.frames)

    def split(self) -> list[MeasureJob]:
        """Return a job for every frame."""
        return [MeasureJob((f,)) for f in self.frames]

    def run(self, mapped: Callable = map) -> list[Measured | FrameRejected]:
        """Measure every frame, or return why this is impossible."""
        found: list[Measured | FrameRejected] = []
        sums: dict[Path, str] = {}
        for frame in self.frames:
            # The chips of a mosaic share a file, which is hashed once.
            found.append(look_at(frame, sums.get(frame.path, "") if frame.chip else ""))
            if isinstance(found[-1], Measured):
                sums[frame.path] = found[-1].sha256
        return found


@dataclass(frozen=True)
class _OfMaster:
    """A job that makes a master, or a part of it.

    Parameters
    ----------
    request : MasterRequest
    """

    request: MasterRequest

    @property
    def held(self) -> int:
        """How many bytes it needs in memory, besides bands."""
        rows, columns = self.request.shape
        return 10 * rows * columns

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the master's frames."""
        return self.request.files

    def split(self) -> list:
        """Return no job: a master needs all its frames."""
        return []


@dataclass(frozen=True)
class FlatLevelsJob(_OfMaster):
    """Measure the levels of some flats of a master; when all are known, `RowsJob` follow.

    Parameters
    ----------
    request : MasterRequest
    chosen : tuple of Input
        The flats.
    """

    chosen: tuple[Input, ...]

    def run(self, mapped: Callable = map) -> dict[str, FlatLevel]:
        """Return the levels of its flats by their files."""
        return levels_for(self.request, self.chosen, mapped)

    def following(self, results: Sequence[Mapping[str, FlatLevel]], workers: int) -> list[RowsJob]:
        """Return the jobs that follow when the levels of all flats are known."""
        levels = {file: level for found in results for file, level in found.items()}
        return _rows_jobs(self.request, levels, workers)


@dataclass(frozen=True)
class RowsJob(_OfMaster):
    """Combine some rows of a master; when all are combined, a `MasterJob` follows.

    Parameters
    ----------
    request : MasterRequest
    levels : mapping or None
        The levels of its flats.
    rows : tuple of int
        First and stop.
    """

    levels: Mapping[str, FlatLevel] | None
    rows: tuple[int, int]

    def run(self, mapped: Callable = map) -> Part:
        """Return the parts with the combined rows."""
        return combine_part(self.request, self.levels, *self.rows)

    def following(self, results: Sequence[Part], workers: int) -> list[MasterJob]:
        """Return the job that follows when all rows are combined."""
        parts = tuple(sorted(results, key=lambda part: part.first))
        return [MasterJob(self.request, self.levels, parts)]


@dataclass(frozen=True)
class MasterJob(_OfMaster):
    """Make a master; only jobs that need it follow.

    Parameters
    ----------
    request : MasterRequest
    levels : mapping or None
        The levels of its flats, if they are known.
    parts : tuple of Part
        Its rows, if they are combined.
    """

    levels: Mapping[str, FlatLevel] | None = None
    parts: tuple[Part, ...] = ()

    def run(self, mapped: Callable = map) -> MadeMaster:
        """Make the master, or return why it cannot be made."""
        return make_master(self.request, mapped, self.levels, self.parts)


@dataclass(frozen=True)
class ScienceJob:
    """Calibrate science frames that share their masters.

    Parameters
    ----------
    inputs : JobInputs
    requests : tuple of ScienceRequest
    """

    inputs: JobInputs
    requests: tuple[ScienceRequest, ...]

    @property
    def held(self) -> int:
        """How many bytes it needs in memory, besides bands."""
        if self.requests[0].cosmic_rays is None:
            return 0
        rows, columns = self.inputs.frames[self.files[0]].amplifiers.shape
        return 40 * rows * columns

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its frames."""
        return tuple(r.chosen.file for r in self.requests)

    def split(self) -> list[ScienceJob]:
        """Return a job for every frame."""
        return [ScienceJob(self.inputs, (request,)) for request in self.requests]

    def run(self, mapped: Callable = map) -> Written:
        """Calibrate the frames, and write the products."""
        return write_science(self.inputs, self.requests, mapped)


def first_jobs(request: MasterRequest, workers: int) -> Sequence[_OfMaster]:
    """Return the jobs with which a master begins: several if workers are to share it.

    Parameters
    ----------
    request : MasterRequest
    workers : int
        Among how many it may be divided; 0 if it may not be.
    """
    rows, columns = request.shape
    small = len(request.chosen) * rows * columns < LARGE
    # The noise of some darks is measured from all of their pixels.
    if not workers or small or request.measures_own_noise:
        return [MasterJob(request)]
    if request.master.type != "flat":
        return _rows_jobs(request, None, workers)
    step = -(-len(request.chosen) // workers)
    starts = range(0, len(request.chosen), step)
    return [FlatLevelsJob(request, request.chosen[n : n + step]) for n in starts]


def _rows_jobs(
    request: MasterRequest, levels: Mapping[str, FlatLevel] | None, workers: int
) -> list[RowsJob]:
    rows = request.shape[0]
    step = -(-rows // workers // 4) * 4
    return [
        RowsJob(request, levels, (first, min(first + step, rows))) for first in range(0, rows, step)
    ]


def look_at(frame: Frame, sha256: str = "") -> Measured | FrameRejected:
    """Measure one frame, or return why this is impossible.

    Parameters
    ----------
    frame : Frame
    sha256 : str
        That of its file, if it was computed for another chip in it.
    """
    try:
        flat = frame.type == "flat"
        return measure(frame.raw, frame.amplifiers, frame.recipe, flat=flat, sha256=sha256)
    except FrameRejected as error:
        return error
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise
        why = f"it cannot be read ({error.strerror}); check the disk, and copy it again."
        return FrameRejected("unreadable", why)
