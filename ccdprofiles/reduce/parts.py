"""Combined rows of a master in temporary files, written by one worker and read by another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import OutputError
from ..files.places import refuse_link
from ..products.band import Band

__all__ = ["Part"]

_PLANES = {"data": (0, 4), "variance": (4, 4), "flags": (8, 2)}
"""Where each plane begins, and the size of its pixels, in bytes for each pixel of the part."""


@dataclass(frozen=True)
class Part:
    """Combined rows of a master in a temporary file.

    Parameters
    ----------
    product : Path
        The master.
    path : Path
        The temporary file.
    first, stop : int
        The rows, from 0.
    columns : int
    """

    product: Path
    path: Path
    first: int
    stop: int
    columns: int

    def create(self) -> IO[bytes]:
        """Create the file, filled with zeros.

        Raises
        ------
        OutputError
            If the disk cannot be written.
        """
        refuse_link(self.path.parent)
        with self._blamed():
            stream = open(self.path, "xb", buffering=0)  # noqa: SIM115 the caller closes it
            try:
                stream.truncate(self._place("flags", self.stop))
            except BaseException:
                stream.close()
                raise
        return stream

    def write(self, stream: IO[bytes], first: int, band: Band) -> None:
        """Write a band that begins at row ``first``; planes that are None stay zero.

        Raises
        ------
        OutputError
            If the disk cannot be written.
        """
        for name in _PLANES:
            plane = getattr(band, name)
            if plane is None:
                continue
            with self._blamed():
                stream.seek(self._place(name, first))
                left = plane.reshape(-1).view("u1").data
                while left:
                    left = left[stream.write(left) :]

    def read(self, name: str, first: int, plane: np.ndarray) -> None:
        """Fill those rows of a plane, which begins at row ``first``, that this file contains.

        Raises
        ------
        OutputError
            If the file was truncated, or the disk cannot be read.
        """
        start, stop = max(first, self.first), min(first + len(plane), self.stop)
        if start >= stop:
            return
        rows = plane[start - first : stop - first]
        with self._blamed(), open(self.path, "rb", buffering=0) as stream:
            stream.seek(self._place(name, start))
            left = rows.reshape(-1).view("u1").data
            while left:
                number = stream.readinto(left)
                if not number:
                    raise OutputError(
                        f"{self.path} was truncated during the run; run it again to continue."
                    )
                left = left[number:]

    def remove(self) -> None:
        """Remove the file, unless its folder was removed or replaced by a link."""
        with suppress(OSError, OutputError):
            refuse_link(self.path.parent)
            self.path.unlink(missing_ok=True)

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError.of(self.product, error) from error

    def _place(self, name: str, row: int) -> int:
        """Return the position of a row of a plane; the planes follow one another."""
        before, size = _PLANES[name]
        return self.columns * (before * (self.stop - self.first) + size * (row - self.first))
