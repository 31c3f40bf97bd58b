"""Bytes on their way to the disk, past the system's cache where nobody reads them again.

A night writes gigabytes that nothing in it asks for again. To find room for them in the
cache takes the system longer than the disk takes to write them, so that whole blocks go
straight to the disk, from a thread of their own, and only their edges through the cache.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from concurrent.futures import Future, wait
from pathlib import Path

import numpy as np

from .threads import Threads

__all__ = ["NewFile", "Writers"]

_BLOCK = 4096
"""Memory and file must begin at a multiple of the disk's sectors, which are hardly larger."""

_CHUNK = 2**20
_SMALL = 2**21
_RUNS = 8
_UNDER_WAY = 8


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
