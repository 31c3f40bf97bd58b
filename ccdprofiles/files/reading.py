"""Plain reads of regular files, never through a memory map.

A file that is truncated while it is mapped kills the process; an incomplete read does not.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import FrameRejected

__all__ = ["NOT_A_FILE", "PIECE", "Digest", "Passage", "fill", "opened"]

NOT_A_FILE = "it is not a regular file; remove it from the night."
PIECE = 2**19
"""Bytes that are read at a time by default; they fit into the processor's cache."""


class Digest(Protocol):
    """A hash of `hashlib`."""

    def update(self, data: memoryview, /) -> None:
        """Add bytes."""


def opened(path: Path) -> io.FileIO:
    """Open a regular file for reading; a FIFO in its place would block for ever.

    Raises
    ------
    FrameRejected
        ``not-a-file``
    OSError
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FrameRejected("not-a-file", NOT_A_FILE)
    return io.FileIO(descriptor)


def fill(descriptor: int, buffer: memoryview, offset: int) -> None:
    """Fill a buffer with the bytes of a file from ``offset`` on.

    Raises
    ------
    FrameRejected
        ``truncated`` if the file ends before.
    """
    done = 0
    while done < len(buffer):
        step = os.preadv(descriptor, [buffer[done:]], offset + done)
        if step == 0:
            raise FrameRejected(
                "truncated", "it ends before its last pixel; copy it again from the camera."
            )
        done += step


class Passage:
    """One reading of a file from front to back, with a digest of all bytes that are read.

    Parameters
    ----------
    descriptor : int
    digest : hash, such as ``hashlib.sha256()``, or None
    start : int
        Where the reading begins.
    """

    def __init__(self, descriptor: int, digest: Digest | None, start: int = 0):
        self._descriptor = descriptor
        self._digest = digest
        self._buffer = memoryview(b"")
        self._position = start

    def pieces(self, stop: int, size: int = PIECE) -> Iterator[memoryview]:
        """Read up to ``stop``; each piece takes the memory of the one before it."""
        while self._position < stop:
            size = min(size, stop - self._position)
            if len(self._buffer) < size:
                self._buffer = np.empty(size, "u1").data
            piece = self._buffer[:size]
            fill(self._descriptor, piece, self._position)
            if self._digest is not None:
                self._digest.update(piece)
            self._position += size
            yield piece

    def go_to(self, place: int) -> None:
        """Read up to ``place`` for the digest alone."""
        for _ in self.pieces(place):
            pass
