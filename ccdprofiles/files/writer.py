"""New files that are written past the system's cache.

A night does not read its science products again, and to make space for gigabytes of them in
the cache takes longer than writing them to the disk. With O_DIRECT, from a
thread of its own, nights A and C of the benchmarks took 10.3 s instead of 18.1 s and 8.0 s
instead of 11.7 s, and a quarter less processor time (medians of five paired runs on two
processors and ext4).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from pathlib import Path

import numpy as np

from .threads import Threads

__all__ = ["NewFile", "Writers"]

_BLOCK = 4096
"""Memory and file must begin at a multiple of the disk's sectors, which are hardly larger."""

_CHUNK = 2**20
_UNDER_WAY = 8


class Writers:
    """A thread that writes chunks of new files while the next ones are being filled."""

    def __init__(self) -> None:
        self._thread = Threads(1, "writer")
        self._room = threading.Semaphore(_UNDER_WAY)

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True)

    def submit(self, write: Callable, chunk: np.ndarray, place: int) -> Future:
        """Submit the call ``write(chunk, place)``; wait if the disk is too slow."""
        self._room.acquire()
        future = self._thread.submit(write, chunk, place)
        future.add_done_callback(lambda _: self._room.release())
        return future


class NewFile:
    """A file that is being written, each of its bytes once.

    Parameters
    ----------
    path : Path
        It must not exist yet.
    size : int
        How long it will be; what is never written is zero.
    writers : Writers, optional
        Write it past the system's cache, if the file system allows that.

    Raises
    ------
    OSError
        Here or later, if the disk refuses.

    Notes
    -----
    Bytes may come in any order and from several threads. They are gathered in chunks,
    which are written when they are full, or at the end.
    """

    def __init__(self, path: Path, size: int, writers: Writers | None = None):
        self._lock = threading.Lock()
        self._writers = writers
        self._size = size
        self._chunks: dict[int, np.ndarray] = {}
        self._filled: dict[int, int] = {}
        self._under_way: list[Future] = []
        self._refused: OSError | None = None
        self._file = _created(path, 0 if writers is None else getattr(os, "O_DIRECT", 0))

    def put(self, place: int, values: np.ndarray, stored: str | np.dtype) -> None:
        """Write values at a position, as they are stored.

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
            raise ValueError(f"bytes {place} to {stop} are outside a file of {self._size} bytes")
        with self._lock:
            while place < stop:
                number, start = divmod(place, _CHUNK)
                part = values[: (_CHUNK - start) // stored.itemsize]
                end = start + part.size * stored.itemsize
                self._chunk(number)[start:end].view(stored)[...] = part
                self._filled[number] += end - start
                if self._filled[number] == _CHUNK:
                    self._hand_over(number)
                values, place = values[part.size :], place + end - start

    def put_bytes(self, place: int, data: bytes) -> None:
        """Write bytes, such as a header, at a position."""
        self.put(place, np.frombuffer(data, "u1"), "u1")

    def complete(self) -> None:
        """Write all remaining bytes; from now on the file can be read."""
        with self._lock:
            self._raise_refused()
            for number in sorted(self._chunks):
                self._write(self._chunks.pop(number), number * _CHUNK)
        for future in self._under_way:
            future.result()
        self._raise_refused()
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

    def _chunk(self, number: int) -> np.ndarray:
        if number not in self._chunks:
            # The last one ends where its last block does.
            size = -(-(self._size - number * _CHUNK) // _BLOCK) * _BLOCK
            self._chunks[number] = _aligned_zeros(min(size, _CHUNK))
            self._filled[number] = 0
        return self._chunks[number]

    def _hand_over(self, number: int) -> None:
        """Write a full chunk, or submit it to be written."""
        chunk, place = self._chunks.pop(number), number * _CHUNK
        if self._writers is None:
            self._write(chunk, place)
            return
        self._raise_refused()
        self._under_way.append(self._writers.submit(self._write_later, chunk, place))

    def _write_later(self, chunk: np.ndarray, place: int) -> None:
        """Write a chunk in the thread of the writers, unless the disk has refused another one."""
        if self._refused is None:
            try:
                self._write(chunk, place)
            except OSError as error:
                # Its traceback would keep the chunk in memory.
                self._refused = error.with_traceback(None)

    def _raise_refused(self) -> None:
        """Raise the error of a chunk that could not be written."""
        if self._refused is not None:
            raise OSError(*self._refused.args)

    def _write(self, chunk: np.ndarray, place: int) -> None:
        view, start = chunk.data, place
        may_retry = True
        while view:
            try:
                done = os.pwrite(self._file, view, start)
            except OSError as error:
                if error.errno != errno.EINVAL or not may_retry:
                    raise
                # Another thread may have switched to the cache since this write began.
                may_retry = False
                _use_cache(self._file)
                continue
            view, start = view[done:], start + done
        if len(chunk) == _CHUNK and hasattr(os, "posix_fadvise"):
            # If it is in the cache, the disk may begin at once, so that less remains at the end.
            os.posix_fadvise(self._file, place, len(chunk), os.POSIX_FADV_DONTNEED)


def _created(path: Path, direct: int) -> int:
    """Create a file, past the cache if the file system allows that; return its descriptor."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
    try:
        return os.open(path, flags | direct, 0o666)
    except OSError as error:
        if not direct or error.errno != errno.EINVAL:
            raise
        # A file system may refuse after it has created the file.
        path.unlink(missing_ok=True)
        return os.open(path, flags, 0o666)


def _use_cache(file: int) -> None:
    """Write through the cache from now on."""
    if direct := getattr(os, "O_DIRECT", 0):
        import fcntl

        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) & ~direct)


def _aligned_zeros(size: int) -> np.ndarray:
    """Return zeros in memory that begins at a multiple of a block."""
    memory = np.zeros(size + _BLOCK, "u1")
    start = -memory.ctypes.data % _BLOCK
    return memory[start : start + size]
