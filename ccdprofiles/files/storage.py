"""Bytes on their way to the disk, past the system's cache where nobody reads them again.

A night writes gigabytes that nothing in it asks for again. To find room for them in the
cache takes the system longer than the disk takes to write them, so that whole blocks go
straight to the disk, from a thread of their own, and only their edges through the cache.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import InputError, OutputError
from .threads import Threads

__all__ = [
    "HeldFolders",
    "NewFile",
    "Places",
    "Writers",
    "escaped_path",
    "identity",
    "local_path",
    "numbers_of",
    "open_to_append",
    "path_of_escaped",
    "refuse_link",
    "write_new",
]

_BLOCK = 4096
"""Memory and file must begin at a multiple of the disk's sectors, which are hardly larger."""

_CHUNK = 2**20
_SMALL = 2**21
_RUNS = 8
_UNDER_WAY = 8


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# A single blank inside a path may stay; at its ends, or beside another, tables lose it.
_UNSAFE = re.compile(r"[^\w/.~+=() -]|^ | $|(?<= ) ", re.ASCII)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_HELD_FOLDERS = 4
_REPLACED = (
    "{} was removed or replaced while the run was going on; leave the output alone, or put it "
    "back, and run it again: what is still there and whole is kept."
)


def local_path(given: str | Path, what: str, kind: type[Exception] = InputError) -> Path:
    """Return the path of a file or folder of this machine; ``~`` is the home folder.

    Parameters
    ----------
    given : str or Path
    what : str
        What it is for, as the message says it.
    kind : type
        The class of the refusal.

    Raises
    ------
    InputError
        Or ``kind``, if it is the address of something that is no file of this machine, or
        the home folder of a user who does not exist.
    """
    text = os.fspath(given)
    if isinstance(text, str) and _ADDRESS.match(text):
        scheme = text.partition("://")[0]
        raise kind(
            f"{what} {text!r} is an address ({scheme}://), where a path on this machine is "
            "expected; copy it to a local disk or mount it there, and give that path."
        )
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise kind(
            f"{what} {text!r} begins with ~, and that user has no home folder here; "
            "give the whole path."
        ) from error


def identity(path: str | Path) -> tuple[int, ...] | None:
    """Return what the system knows of a file's last change, or None if it is not a regular file.

    Every change of its content, and every rename over it, gives other numbers.
    """
    try:
        known = os.lstat(path)
    except OSError:
        return None
    return numbers_of(known) if stat.S_ISREG(known.st_mode) else None


def numbers_of(known: os.stat_result) -> tuple[int, ...]:
    """Return size, inode and times of the last change."""
    return known.st_size, known.st_ino, known.st_mtime_ns, known.st_ctime_ns


def escaped_path(path: str) -> str:
    r"""Write a path as text that survives any table: bytes that could not stand there become %XX.

    >>> from ccdprofiles.files.storage import escaped_path
    >>> escaped_path("../a night")
    '../a night'
    >>> escaped_path("50% of\n#1")
    '50%25 of%0A%231'
    """
    return _UNSAFE.sub(lambda c: "".join(f"%{byte:02X}" for byte in os.fsencode(c[0])), path)


def path_of_escaped(text: str, beside: Path) -> Path:
    """Return the path that `escaped_path` wrote, seen from a folder.

    Older tables hold paths as they are; such a path is taken if it alone exists.
    """
    octets = re.sub(rb"%([0-9A-F]{2})", lambda c: bytes.fromhex(c[1].decode()), text.encode())
    meant = beside / os.fsdecode(octets)
    return beside / text if not meant.exists() and (beside / text).exists() else meant


_WITHOUT_LINK: dict[Path, tuple[int, int]] = {}
"""Folders that were reached without a link, and what the system called them: a name that leads
to another folder by now is followed once more."""


def refuse_link(folder: Path) -> None:
    """Refuse to write into a folder that is reached through a link.

    The folders of a run are given without links, so that one that is there now appeared
    while the run was going on, and may lead to files that are not ours.

    Raises
    ------
    OutputError
    """
    try:
        status = os.stat(folder)
    except OSError:
        identity = None
    else:
        identity = status.st_dev, status.st_ino
    # A small product asks twice, and to follow every part of a path takes a tenth of its time.
    if identity is not None and _WITHOUT_LINK.get(folder) == identity:
        return
    real = os.path.realpath(folder)
    if real != os.path.abspath(folder):
        raise OutputError(
            f"{folder} became a link to {real} while the run was going on, and nothing is written "
            "through a link; remove the link and run it again: what is finished stays."
        )
    if identity is not None:
        _WITHOUT_LINK[folder] = identity


def write_new(path: Path, text: str) -> None:
    """Write a small text file under a name that must be free; a link there is not followed."""
    how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK
    with open(os.open(path, how, 0o666), "w", encoding="utf-8") as stream:
        stream.write(text)


def open_to_append(path: Path) -> int:
    """Open a file of our own to write at its end, and make it if there is none.

    Raises
    ------
    OutputError
        If it is a link, has another name elsewhere, or is no regular file.
    OSError
    """
    how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | _NO_LINK
    try:
        descriptor = os.open(path, how, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):
            refuse_other_name(path)
        raise
    try:
        refuse_other_name(path, os.fstat(descriptor))
    except OutputError:
        os.close(descriptor)
        raise
    return descriptor


def refuse_other_name(path: Path, status: os.stat_result | None = None) -> None:
    """Refuse a file to be written in place that is a link, or no regular file.

    Raises
    ------
    OutputError
    """
    if status is None:
        try:
            status = os.lstat(path)
        except OSError:
            return
    if stat.S_ISLNK(status.st_mode):
        what = f"is a link to {os.readlink(path)}"
    elif not stat.S_ISREG(status.st_mode):
        what = "is no regular file"
    elif status.st_nlink > 1:
        what = "has another name elsewhere (a hard link)"
    else:
        return
    raise OutputError(
        f"{path} {what}, and nothing is written through a link; remove it, "
        "and a new file is made in its place."
    )


@dataclass(frozen=True)
class Places:
    """Where the folders of an output lie, settled when a run begins.

    A folder may be a link to another disk by then. One that becomes a link later is
    noticed, as these paths hold no link.

    Parameters
    ----------
    root : Path
        The output, without links.
    folders : mapping
        Folders inside the output → where they lie, without links.
    """

    root: Path
    folders: Mapping[str, Path]

    @classmethod
    def of(cls, output: Path, folders: Iterable[str] = ("masters", "science", "report")) -> Places:
        """Find out where an output and some folders inside it lie now."""
        real = {name: Path(os.path.realpath(output / name)) for name in folders}
        return cls(Path(os.path.realpath(output)), real)

    def path(self, name: str) -> Path:
        """Return where a file of the output is written, by its name in the output."""
        folder, _, last = name.rpartition("/")
        return self.folders.get(folder, self.root / folder) / last


class HeldFolders:
    """Folders that a run has opened, so that one that is removed or replaced is noticed.

    An open folder keeps its number on the disk, which a new one of its name would
    otherwise be likely to get.

    Parameters
    ----------
    places : Places
    """

    def __init__(self, places: Places):
        self.places = places
        self._held: dict[Path, int] = {}
        self._made: set[Path] = set()

    def __enter__(self) -> HeldFolders:
        refuse_link(self.places.root)
        if not self.places.root.is_dir():
            raise OutputError(_REPLACED.format(self.places.root))
        self._hold(self.places.root)
        for folder in self.places.folders.values():
            if folder.is_dir():
                self._hold(folder)
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def make(self, name: str) -> Path:
        """Return where a file of the output is written; its folder is made if there is none.

        Raises
        ------
        OutputError
            If the folder cannot be made, or a folder of the output is not what it was.
        """
        path = self.places.path(name)
        if path.parent not in self._made:
            self.check()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError.of(path.parent, error) from error
            refuse_link(path.parent)
            self._hold(path.parent)
            self._made.add(path.parent)
        return path

    def check(self) -> None:
        """Refuse to go on where a folder was removed, replaced, or became a link.

        Raises
        ------
        OutputError
        """
        for folder, descriptor in self._held.items():
            refuse_link(folder)
            try:
                same = os.path.samestat(os.lstat(folder), os.fstat(descriptor))
            except OSError:
                same = False
            if not same:
                raise OutputError(_REPLACED.format(folder))

    def _hold(self, folder: Path) -> None:
        # A night in many folders would need as many open files; the first are those that count.
        if folder not in self._held and len(self._held) < _HELD_FOLDERS:
            with suppress(OSError):
                self._held[folder] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)


class Writers:
    """A thread that writes chunks of new files, while the next are being filled."""

    def __init__(self) -> None:
        self._thread = Threads(1, "writer")
        self._room = threading.Semaphore(_UNDER_WAY)
        self._spare: deque[np.ndarray] = deque()

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True)

    def buffer(self) -> np.ndarray:
        """Return room for a chunk, at an address that is a multiple of a block."""
        try:
            return self._spare.pop()
        except IndexError:
            return _aligned(_CHUNK)

    def submit(self, file: NewFile, chunk: np.ndarray, part: slice, place: int) -> Future:
        """Have a part of a chunk written; waits where the disk cannot follow."""
        self._room.acquire()
        return self._thread.submit(self._write, file, chunk, part, place)

    def _write(self, file: NewFile, chunk: np.ndarray, part: slice, place: int) -> None:
        try:
            file.write_now(chunk[part].data, place)
        finally:
            self._spare.append(chunk)
            self._room.release()


class _Run:
    """Bytes that follow one another in a file, in a chunk that begins at a block."""

    def __init__(self, chunk: np.ndarray, place: int):
        self.chunk = chunk
        self.base = place // _BLOCK * _BLOCK
        self.first = self.end = place

    @property
    def room(self) -> int:
        return self.base + len(self.chunk) - self.end

    def take(self, values: np.ndarray, stored: np.dtype) -> None:
        """Copy values behind those that are there, as they are stored."""
        start = self.end - self.base
        self.end += values.size * stored.itemsize
        self.chunk[start : self.end - self.base].view(stored)[...] = values


class NewFile:
    """A file that is being written, each of its bytes once.

    Parameters
    ----------
    path : Path
        It must not be there yet.
    size : int
        How long it will be; what is never written is zero.
    writers : Writers, optional
        Write it past the system's cache, where the file system allows that.

    Raises
    ------
    OSError
        Here or later, if the disk refuses.

    Notes
    -----
    Bytes may come in any order and from several threads. Small files are put together
    in memory and written at once.
    """

    def __init__(self, path: Path, size: int, writers: Writers | None = None):
        self._lock = threading.Lock()
        self._writers = writers
        self._around = 0 if writers is None else getattr(os, "O_DIRECT", 0)
        how = os.O_RDWR | os.O_CREAT | os.O_EXCL
        try:
            self._file = os.open(path, how | self._around, 0o666)
        except OSError as error:
            if not self._around or error.errno != errno.EINVAL:
                raise
            # A file system of another kind may refuse after it has made the file.
            path.unlink(missing_ok=True)
            self._around = 0
            self._file = os.open(path, how, 0o666)
        self._whole = _aligned(-(-size // _BLOCK) * _BLOCK) if size <= _SMALL else None
        if self._whole is not None:
            self._whole[...] = 0
        self._size = size
        self._runs: dict[int, _Run] = {}
        self._edges: list[tuple[bytes, int]] = []
        self._under_way: list[Future] = []

    def put(self, place: int, values: np.ndarray, stored: str | np.dtype) -> None:
        """Put values at a place, as they are stored.

        Parameters
        ----------
        place : int
            In bytes, a multiple of the size of a value.
        values : ndarray
            Of one dimension.
        stored : dtype
        """
        stored = np.dtype(stored)
        stop = place + values.size * stored.itemsize
        if place % stored.itemsize or place < 0 or stop > self._size:
            raise ValueError(f"bytes {place} to {stop} have no place in a file of {self._size}")
        with self._lock:
            if self._whole is not None:
                self._whole[place:stop].view(stored)[...] = values
                return
            if self._around:
                self._follow(place, values, stored)
                return
        self.write_now(np.ascontiguousarray(values, stored).view("u1").data, place)

    def put_bytes(self, place: int, octets: bytes) -> None:
        """Put some bytes, such as a header, at a place."""
        with self._lock:
            if self._whole is not None:
                self._whole[place : place + len(octets)] = np.frombuffer(octets, "u1")
            else:
                self._edges.append((octets, place))

    def complete(self) -> None:
        """Write all that is left; from now on the file can be read."""
        with self._lock:
            runs, self._runs = list(self._runs.values()), {}
            for run in runs:
                self._hand_over(run)
            if self._whole is not None:
                blocks = self._size // _BLOCK * _BLOCK if self._around else 0
                self.write_now(self._whole[:blocks].data, 0)
                self._edges.append((self._whole[blocks : self._size].data, blocks))
        for future in self._under_way:
            future.result()
        self._through_cache()
        for octets, place in self._edges:
            self.write_now(octets, place)
        os.ftruncate(self._file, self._size)

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file, finished or not."""
        wait(self._under_way)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def write_now(self, octets: bytes | memoryview, place: int) -> None:
        """Write bytes; whole blocks of memory at a block of the file, or through the cache."""
        view = memoryview(octets)
        size, start = len(view), place
        while view:
            try:
                done = os.pwrite(self._file, view, place)
            except OSError as error:
                if error.errno != errno.EINVAL or not self._around:
                    raise
                self._through_cache()
                continue
            view, place = view[done:], place + done
        if size >= _CHUNK and not self._around and hasattr(os, "posix_fadvise"):
            # The disk may begin at once, so that there is less to wait for at the end.
            os.posix_fadvise(self._file, start, size, os.POSIX_FADV_DONTNEED)

    def _through_cache(self) -> None:
        """Let everything that is written from now on go through the cache of the system."""
        if self._around:
            import fcntl

            flags = fcntl.fcntl(self._file, fcntl.F_GETFL)
            fcntl.fcntl(self._file, fcntl.F_SETFL, flags & ~self._around)
            self._around = 0

    def _follow(self, place: int, values: np.ndarray, stored: np.dtype) -> None:
        """Copy values into chunks, and hand over those that are full."""
        # Asked once each: what fails between two questions would not be heard of.
        ended = [future for future in self._under_way if future.done()]
        self._under_way = [future for future in self._under_way if future not in ended]
        for future in ended:
            future.result()
        run = self._runs.pop(place, None) or _Run(self._writers.buffer(), place)
        while values.size:
            fits = run.room // stored.itemsize
            run.take(values[:fits], stored)
            values = values[fits:]
            if not run.room:
                self._hand_over(run)
                run = _Run(self._writers.buffer(), run.end)
        self._runs[run.end] = run
        if len(self._runs) > _RUNS:
            self._hand_over(self._runs.pop(next(iter(self._runs))))

    def _hand_over(self, run: _Run) -> None:
        """Have the whole blocks of a run written, and keep its edges for the end."""
        low, high = -(-run.first // _BLOCK) * _BLOCK, run.end // _BLOCK * _BLOCK
        edges = [(run.first, low), (high, run.end)] if low < high else [(run.first, run.end)]
        for first, stop in edges:
            if first < stop:
                octets = run.chunk[first - run.base : stop - run.base].tobytes()
                self._edges.append((octets, first))
        blocks = slice(low - run.base, high - run.base) if low < high else slice(0)
        self._under_way.append(self._writers.submit(self, run.chunk, blocks, low))


def _aligned(size: int) -> np.ndarray:
    """Return room in memory that begins at a multiple of a block."""
    room = np.empty(size + _BLOCK, "u1")
    start = -room.ctypes.data % _BLOCK
    return room[start : start + size]
