"""The output folder: apart from the raw frames, writable, large enough, and held by one run."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, TextIO

from ..errors import InputError, Locked, OutputError, words_of
from ..files.places import Places, open_to_append, refuse_other_name, write_new
from ..plan.frames import Frame
from ..plan.plan import Input, Plan
from ..plan.scan import files_of, named_fits

# A plan asks for names only; what holds and writes the folder is imported by what does it.
if TYPE_CHECKING:
    from ..reduce.made import Made

__all__ = [
    "check_files",
    "check_folders",
    "check_links",
    "check_room",
    "held_before",
    "is_our_product",
    "locked",
    "logged",
    "may_be_held",
    "names_of",
    "places_of",
    "refuse_foreign",
    "refuse_frames",
    "refuse_links",
    "stale",
]

log = logging.getLogger("ccdprofiles")

LOCK, HOLDER, LOG = ".ccdprofiles.lock", ".ccdprofiles.holder", "ccdprofiles.log"
_OPENED = (LOCK, HOLDER, LOG)
_FOLDERS = ("masters", "science", "report")
TABLES = ("night.ecsv", "plan.json", "report/index.html")

_OUR_CARDS = ("CPVERS", "CPKEY", "CPTYPE")

SPARE_FILES = 40
"""What else may be open: the standard streams, log and lock, libraries, pipes between workers."""

_LONGEST = 64 * 2880
"""What is read at most to find the end of a header."""

_HEADERS = 20 * 2880
"""What the headers and the provenance of a product take, on the safe side."""


def check_folders(folder: Path, output: Path, calibrations: Iterable[str | Path] = ()) -> None:
    """Refuse an output on or above the night or its calibrations: they are never written over.

    Folders are compared as the disk knows them, so that links and mounts of one
    folder under several names count as that folder.

    Raises
    ------
    InputError
        If the folder is none, or the output is the night's own, or that of its
        calibrations, or holds it.
    OutputError
        If the output is a file, or cannot be written.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the folder that holds the night.")
    inputs = [("night's", folder), *(("calibrations'", Path(c)) for c in calibrations)]
    for whose, given in inputs:
        if _is_or_holds(output, given):
            raise InputError(
                f"the output {output} is the {whose} own folder or lies above it; "
                "give another folder, such as one named reduced beside it."
            )
        refuse_frames(output, given)
    if output.exists() and not output.is_dir():
        raise OutputError(f"the output {output} is a file; give a folder.")
    there = next((p for p in (output.resolve(), *output.resolve().parents) if p.exists()), output)
    if there.is_dir() and not os.access(there, os.W_OK | os.X_OK):
        raise OutputError(
            f"the output {output} cannot be written, as {there} is read-only; "
            "allow it, or give another folder."
        )


def refuse_frames(output: Path, given: Path) -> None:
    """Refuse an output inside a night that holds frames of it, which would be left out.

    Raises
    ------
    InputError
    """
    # Once a run of ours has it, what others put there later is theirs to leave out.
    if not output.is_dir() or held_before(output) or len(names_of(given, output)) == 1:
        return
    ours = [output / name for name in _FOLDERS]
    for path, name in files_of(output, ours):
        if named_fits(path):
            raise InputError(
                f"the output {output} lies in {given} and holds {name}, which would be left out "
                "as if it were a product; give another folder, such as one named reduced beside it."
            )


def names_of(folder: Path, output: Path) -> list[Path]:
    """Return the output by every name that it has inside the night, to be left out of it."""
    names = [output]
    for parent in (output.resolve(), *output.resolve().parents):
        if parent.exists() and folder.exists() and os.path.samefile(parent, folder):
            names.append(folder / output.resolve().relative_to(parent))
    return names


def places_of(output: Path, plan: Plan) -> Places:
    """Return where the folders of an output lie that a plan writes into."""
    folders = {name.rpartition("/")[0] for name in (*_products(plan), *TABLES)}
    return Places.of(output, sorted((folders | set(_FOLDERS)) - {""}))


def refuse_links(output: Path) -> None:
    """Refuse files that are written in place, and are links or have another name elsewhere.

    Raises
    ------
    OutputError
    """
    for name in _OPENED:
        refuse_other_name(output / name)


def check_links(output: Path, plan: Plan, inputs: Iterable[Path], frames: Sequence[Frame]) -> None:
    """Refuse an output that leads back to the raw frames by a link inside it.

    Raises
    ------
    InputError
    """
    inside = [Path(given).expanduser().resolve() for given in inputs]
    root = output.resolve()
    folders = {name.rpartition("/")[0] for name in (*_products(plan), *TABLES)}
    for folder in sorted(output / name for name in folders):
        real = folder.resolve()
        if not real.is_relative_to(root) and any(real.is_relative_to(raw) for raw in inside):
            raise InputError(
                f"{folder} is a link to {real}, a folder of raw frames, which are never written; "
                "remove the link, or give another output."
            )
    # These few are opened to be written, and not put in place whole.
    written = {_identity(output / name): output / name for name in _OPENED}
    written.pop(None, None)
    for frame in frames if written else ():
        path = written.get(_identity(frame.path))
        if path is not None and not frame.path.resolve().is_relative_to(root):
            raise InputError(
                f"{path} is a link to {frame.file}, which is never written; remove that link."
            )


def check_room(output: Path, plan: Plan, frames: Sequence[Frame], overwrite: bool) -> None:
    """Refuse to begin where the disk cannot hold what is still to be made.

    What is there already counts as room for what replaces it; while one is
    replaced, both are there.

    Raises
    ------
    OutputError
    """
    by_name = {frame.file: frame for frame in frames}
    sizes = {m.name: _size(by_name, m.inputs[0]) for m in plan.masters if m.inputs}
    sizes |= {p.name: _size(by_name, p.input) for p in plan.products}
    begun = output.exists()
    there = {name: _bytes_of(output / name) if begun else 0 for name in sizes}
    # Headers are only estimated, so they count where there is nothing yet.
    needed = sum(
        max(0, size - there[n]) if there[n] else size + _HEADERS for n, size in sizes.items()
    )
    if overwrite:
        needed += max((size + _HEADERS for n, size in sizes.items() if there[n]), default=0)
    free = shutil.disk_usage(_nearest(output)).free
    if needed > free:
        raise OutputError(
            f"the products need {_amount(needed)} and the disk of {output} has {_amount(free)} "
            "free; make room, or give a folder on another disk."
        )


def refuse_foreign(output: Path, plan: Plan) -> None:
    """Refuse to replace a file that no run of ours made.

    Raises
    ------
    OutputError
    """
    if not output.exists():
        return
    for name in _products(plan):
        if (output / name).exists() and not _may_go(output / name):
            raise OutputError(
                f"{output / name} is there already and is no product of ccdprofiles; "
                "give another folder, or let it be replaced with overwrite=True (--overwrite)."
            )
    ours = held_before(output) or _has_our_products(output)
    for name in TABLES:
        if (output / name).exists() and not ours:
            raise OutputError(
                f"{output / name} is there already, and no run of ccdprofiles made it; "
                "give another folder, or let it be replaced with overwrite=True (--overwrite)."
            )


def stale(output: Path, made: Made) -> list[str]:
    """Name the products of an earlier run that this one no longer makes.

    Files of others are not named, whatever they are called. A run that could make
    nothing, as with a wrong profile, says nothing about the products of another one.
    """
    ours = {*made.masters.values(), *made.products.values()}
    if not ours:
        return []
    ours |= {output / name for name in made.earlier.values()}
    # What was replaced while the run was going on belongs to this night all the same.
    ours |= {output / name for name, (code, _) in made.failed.items() if code == "removed"}
    others = [
        path
        for folder in ("masters", "science")
        for path in sorted((output / folder).rglob("*.fits"))
        if path not in ours
    ]
    if not others:
        return []
    # One of ours may have two names.
    real = {path.resolve() for path in ours}
    left = [
        p.relative_to(output).as_posix()
        for p in others
        if p.resolve() not in real and is_our_product(p)
    ]
    if not left:
        return []
    shown = ", ".join(left[:5]) + (", …" if len(left) > 5 else "")
    return [
        f"{len(left)} product{'s' if len(left) > 1 else ''} of an earlier run no longer "
        f"belong{'' if len(left) > 1 else 's'} to this night as it is, and may be removed: {shown}"
    ]


def is_our_product(path: Path) -> bool:
    """Return True if a file is a product as we write it: our cards, our HDUs, our provenance.

    A file that somebody made from a product may have its cards, and is not ours.
    """
    from ..products.checksum import read_saved

    if path.is_symlink() or path.name.startswith("."):
        return False
    try:
        saved = read_saved(path, pixels=False)
    except OSError:
        return False
    return not saved.faults and all(card in saved.header for card in _OUR_CARDS)


def held_before(output: Path) -> bool:
    """Say whether a run of ours has had this output folder."""
    return (output / LOCK).exists()


def _has_our_products(output: Path) -> bool:
    """Return True for an output of ours that was copied without its lock."""
    found = (p for folder in ("masters", "science") for p in (output / folder).rglob("*.fits"))
    return any(is_our_product(path) for path in found)


def may_be_held(output: Path) -> bool:
    """Return True if the lock of an earlier run is a file of its own, so that it can be taken.

    Folders that are links may lead back to the raw frames, which is found out only
    once those are known.
    """
    try:
        lock = (output / LOCK).lstat()
    except OSError:
        return False
    linked = any((output / name).is_symlink() for name in _FOLDERS)
    return S_ISREG(lock.st_mode) and lock.st_nlink == 1 and not linked


def check_files(plan: Plan, frames: Sequence[Frame]) -> None:
    """Let as many files be open as packed frames need, or refuse to begin.

    Raises
    ------
    InputError
    """
    packed = {f.file for f in frames if f.raw and (f.raw.gzipped or f.raw.images[0].packed)}
    most = max(plan.masters, key=lambda m: sum(i.file in packed for i in m.inputs), default=None)
    number = sum(i.file in packed for i in most.inputs) if most else 0
    if number and not _open_files(number + SPARE_FILES):
        raise InputError(
            f"{most.name} is made of {number} packed frames, all of which are open at once, and "
            "this system allows fewer open files; raise its limit (ulimit -n), or unpack them."
        )


def _open_files(wanted: int) -> bool:
    """Ask the system for so many open files, and say whether it allows them."""
    try:
        import resource
    except ImportError:  # Windows, where the limit is far off
        return True
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted <= hard or (hard == resource.RLIM_INFINITY != soft and soft < wanted):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return True
    return soft == resource.RLIM_INFINITY or soft >= wanted


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold the output folder alone; a second run is told who has it.

    Raises
    ------
    Locked
    OutputError
        If the folder cannot be made or written.
    """
    from filelock import FileLock, Timeout

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{output} cannot be made ({words_of(error)}); allow it, or give another folder."
        ) from error
    holder = output / HOLDER

    # Nothing else than an empty file is made of it, and a link leads to a file that is not ours.
    refuse_other_name(output / LOCK)
    lock = FileLock(output / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Locked(
            f"another run writes to {output} ({_said(holder)}); wait for it to end."
        ) from error
    except NotImplementedError as error:
        raise OutputError(
            f"the disk of {output} knows no locks, by which two runs keep apart; "
            "give a folder on another disk."
        ) from error
    except OSError as error:
        raise OutputError(
            f"{output} cannot be written ({words_of(error)}); allow it, or give another folder."
        ) from error
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _try_to_write(holder, f"process {os.getpid()} on {socket.gethostname()} since {now}\n")
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


@contextmanager
def logged(output: Path) -> Iterator[None]:
    """Write the log of a run into the output folder too, from the first thing it makes on.

    Raises
    ------
    OutputError
        If the log could not be written.
    """
    handler = _RunLog(output / LOG)
    level = log.level
    log.addHandler(handler)
    if log.getEffectiveLevel() > logging.INFO:
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()
    if isinstance(handler.failed, OutputError):
        raise handler.failed
    if handler.failed is not None:
        raise OutputError.of(output / LOG, handler.failed) from handler.failed


class _RunLog(logging.FileHandler):
    """A log file that stays as it is when a run has nothing to do."""

    def __init__(self, path: Path):
        super().__init__(path, encoding="utf-8", errors="backslashreplace", delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.failed: OSError | OutputError | None = None
        self._held: list[logging.LogRecord] = []
        self._begun = not path.exists()

    def emit(self, record: logging.LogRecord) -> None:
        """Hold records back until one tells of something made."""
        self._begun = self._begun or bool(getattr(record, "made", False))
        self._held.append(record)
        while self._begun and self._held:
            self._write(self._held.pop(0))

    def _write(self, record: logging.LogRecord) -> None:
        """Write a record, or remember why that cannot be done: a run tells it at its end."""
        if self.failed is None:
            try:
                self.stream = self.stream or self._open()
                self.stream.write(self.format(record) + self.terminator)
                self.stream.flush()
            except (OSError, OutputError) as error:
                self.failed = error

    def _open(self) -> TextIO:
        descriptor = open_to_append(Path(self.baseFilename))
        return os.fdopen(descriptor, "w", encoding=self.encoding, errors=self.errors)

    def close(self) -> None:
        """Close the file; on a full disk what could not be written is tried once more."""
        try:
            super().close()
        except OSError as error:
            self.failed = self.failed or error


def _products(plan: Plan) -> list[str]:
    return [m.name for m in plan.masters if not m.path] + [p.name for p in plan.products]


def _may_go(path: Path) -> bool:
    """Say whether a file is ours, or nobody's: empty, or cut within its header."""
    from ..products.saved import made_by_us

    if not S_ISREG(path.stat().st_mode):
        return False
    with open(path, "rb") as stream:
        start = stream.read(_LONGEST)
    ends = any(start.startswith(b"END     ", card) for card in range(0, len(start), 80))
    cut = len(start) < _LONGEST and start.startswith(b"SIMPLE  =") and not ends
    return cut or not start.strip(b"\0") or made_by_us(path)


def _is_or_holds(output: Path, given: Path) -> bool:
    out, real = output.resolve(), given.resolve()
    if out == real or out in real.parents:
        return True
    if not out.exists() or not real.exists():
        return False
    return any(os.path.samefile(out, folder) for folder in (real, *real.parents))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_dev, told.st_ino


def _size(frames: dict[str, Frame], chosen: Input) -> int:
    amplifiers = frames[chosen.file].amplifiers
    rows, columns = amplifiers.shape
    # Image, mask and flags, and where the gain is known the uncertainty.
    return rows * columns * (7 if "gain" in amplifiers.missing else 11)


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _nearest(folder: Path) -> Path:
    """Return the folder, or what is there of the way to it."""
    return next(p for p in (folder.resolve(), *folder.resolve().parents) if p.is_dir())


def _amount(octets: int) -> str:
    """Write a number of bytes for people.

    >>> from ccdprofiles.output.folder import _amount
    >>> _amount(1_234_567_890)
    '1.23 GB'
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if octets >= size:
            return f"{octets / size:.3g} {unit}"
    return f"{octets} bytes"


def _said(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"


def _try_to_write(holder: Path, text: str) -> None:
    """Say who holds the folder, and find out whether it and what is in it can be written."""
    where = holder
    try:
        # What lies under these names may be a link to a file that is not ours.
        holder.unlink(missing_ok=True)
        write_new(holder, text)
        for name in _FOLDERS:
            if (holder.parent / name).is_dir():
                where = holder.parent / name / ".probe.tmp"
                where.unlink(missing_ok=True)
                write_new(where, text)
                where.unlink()
    except OSError as error:
        with suppress(OSError):
            where.unlink(missing_ok=True)
        raise OutputError(
            f"{where.parent} cannot be written ({words_of(error)}); "
            "make room or allow it, or give another folder."
        ) from error
