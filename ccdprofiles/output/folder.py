"""The output folder of a run, from its first check until the last file is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType

from ..files.places import HeldFolders, Places
from ..plan.frames import Frame
from ..plan.plan import Plan
from .contents import refuse_foreign
from .location import check_folders, check_links, names_of, places_of
from .lock import locked, may_be_locked
from .log import logged
from .room import check_files, check_room

__all__ = ["OutputFolder"]


class OutputFolder:
    """The folder that a run writes to; as a context manager it is locked at most once.

    An output of an earlier run is locked at once, so that a second run is refused before it
    reads a night of headers. Otherwise it is locked by `accept`, once the headers have shown that
    it does not lead to the raw frames.

    Parameters
    ----------
    output, night : Path
    calibrations : sequence of Path
    overwrite : bool
        Whether files of others and of other nights may be replaced.

    Raises
    ------
    InputError
        If the night is not a folder, or the output contains raw frames.
    OutputError
        If the output is a file, or cannot be written.
    """

    def __init__(
        self,
        output: Path,
        night: Path,
        calibrations: Sequence[Path] = (),
        *,
        overwrite: bool = False,
    ):
        check_folders(night, output, calibrations)
        self.path = output
        self.night = night
        self.calibrations = tuple(calibrations)
        self.overwrite = overwrite
        self.locked_early = may_be_locked(output)
        self._root = HeldFolders(Places.of(output))
        self._lock = ExitStack()

    def __enter__(self) -> OutputFolder:
        if self.locked_early:
            self._lock.enter_context(_alone(self._root, self.path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.__exit__(kind, error, traceback)

    @property
    def names(self) -> list[Path]:
        """Its paths inside the night, which are not searched for frames."""
        return names_of(self.night, self.path)

    def accept(self, plan: Plan, frames: Sequence[Frame]) -> Places:
        """Lock the folder if the products of a plan can be written to it.

        Parameters
        ----------
        plan : Plan
        frames : sequence of Frame

        Returns
        -------
        Places
            Where its folders are.

        Raises
        ------
        InputError
            If a link leads to the raw frames, or too few files may be open.
        OutputError
            If it contains another night or files of others, or the disk has too little free space.
        Locked
            If another run uses it.
        """
        from .earlier import refuse_other_night

        places = places_of(self.path, plan)
        check_links(self.path, plan, [self.night, *self.calibrations], frames)
        if not self.overwrite:
            refuse_foreign(self.path, plan)
            refuse_other_night(self.path, self.night, frames)
        check_files(plan, frames)
        check_room(self.path, plan, frames, self.overwrite)
        if not self.locked_early:
            self._lock.enter_context(_alone(self._root, self.path))
        return places

    @contextmanager
    def written(self, places: Places) -> Iterator[HeldFolders]:
        """Keep the folders open while a run writes to them and to its log.

        Parameters
        ----------
        places : Places
            As `accept` returned them.

        Raises
        ------
        OutputError
            If a folder was removed, replaced or became a link since it was locked.
        """
        with logged(places.root), HeldFolders(places) as folders:
            self._root.check()
            # It may have become a link to the night before it was locked.
            check_folders(self.night, self.path, self.calibrations)
            yield folders


@contextmanager
def _alone(root: HeldFolders, output: Path) -> Iterator[None]:
    """Keep the lock of an output, and remove the unfinished files of a run that ended early.

    They use space on the disk; and once the lock is free, the workers of that run have ended.
    """
    from ..products.product import remove_leftovers

    with locked(output), root:
        remove_leftovers(root.places)
        try:
            yield
        except BaseException:
            with suppress(OSError):
                remove_leftovers(root.places)
            raise
