"""Products that are being written: all or nothing.

A product has the image in its primary HDU (float32), MASK and UNCERT as
`astropy.nddata.CCDData.read` expects them, DQ (uint16) with a bit for every
reason, and PROVENANCE, a table of the files that it was made from. It is written
band by band under a temporary name and gets its final name when it is on the disk.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np

from ..errors import OutputError
from ..files.checksum import folded, with_sums, word_sum
from ..files.hdus import padded
from ..files.header import ProductHeader
from ..files.places import Places, refuse_link
from ..files.threads import Threads
from ..files.writer import NewFile, Writers
from .band import MASKED, Band
from .blocks import PLANES, image_header, plane_header, provenance_table

__all__ = [
    "ProductFile",
    "product_key",
    "remove_leftovers",
    "sha256_of",
    "sync_folders",
    "write_text",
]
_TEMPORARY = re.compile(r"\..+\.\d+(-[0-9a-f]+)?\.tmp")
"""Our names contain the number of the process; hidden files of others are not removed."""


@dataclass(frozen=True)
class _Plane:
    """The position of a plane of a product in its file: header, then pixels of a type."""

    place: int
    header: bytes
    stored: np.dtype

    @property
    def start(self) -> int:
        return self.place + len(self.header)


class ProductFile:
    """A product that is being written; it gets its name when it is complete.

    Parameters
    ----------
    path : Path
        The final name, in a folder whose path contains no links.
    header : ProductHeader
        Cards of the primary HDU besides those of its structure.
    shape : tuple of int
        Rows, columns.
    uncertainty : bool
        Whether there is an UNCERT plane.
    inputs : sequence of (file, sha256, role)
        For the PROVENANCE table.
    writers : Writers, optional
        Write it past the system's cache, as it will not be read again.

    Raises
    ------
    OutputError
        Here or later, if the disk cannot be written.

    Notes
    -----
    Bands may come in any order and from several threads, each row once; every
    band but the last needs a multiple of four rows. The bytes do not depend on
    the order.
    """

    def __init__(
        self,
        path: Path,
        header: ProductHeader,
        shape: tuple[int, int],
        uncertainty: bool,
        inputs: Sequence[tuple[str, str, str]],
        writers: Writers | None = None,
    ):
        self.path = path
        self.shape = shape
        self._header = header.copy()
        self._planes = _planes(header, shape, uncertainty)
        self._table = provenance_table(inputs)
        self._lock = threading.Lock()
        self._sums = dict.fromkeys(self._planes, 0)
        self._rows = 0
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}-{id(self):x}.tmp")
        refuse_link(path.parent)
        try:
            path.parent.mkdir(exist_ok=True)
            self._file = NewFile(self._temporary, self._end + len(self._table), writers)
        except OSError as error:
            raise OutputError.of(path, error) from error

    def __enter__(self) -> ProductFile:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None:
            self.discard()

    @property
    def _end(self) -> int:
        """Where the planes end and the table begins."""
        plane = self._planes["DQ"]
        return plane.start + padded(prod(self.shape) * plane.stored.itemsize)

    def write(self, first: int, band: Band) -> None:
        """Write rows from ``first`` (from 0) on."""
        if first * self.shape[1] % 4:
            raise ValueError("a band must begin at a multiple of four rows")
        data = np.ascontiguousarray(band.data, "f4")
        try:
            self._put("", first, data, word_sum(data, "="))
            if "UNCERT" in self._planes:
                if band.variance is None:
                    raise ValueError("a band of a product with UNCERT needs a variance")
                with np.errstate(invalid="ignore"):
                    uncertainty = np.ascontiguousarray(np.sqrt(band.variance), "f4")
                self._put("UNCERT", first, uncertainty, word_sum(uncertainty, "="))
            self._put_flags(first, band)
        except OSError as error:
            raise OutputError.of(self.path, error) from error
        with self._lock:
            self._rows += len(band.data)

    def _put_flags(self, first: int, band: Band) -> None:
        """Write MASK and DQ; most bands have no flagged pixel."""
        size = band.data.size
        if band.flags is None:
            total = size // 2 * 0x80008000 + size % 2 * 0x80000000
            self._put("MASK", first, _constant(size, 0, "u1"), 0)
            self._put("DQ", first, _constant(size, 0x8000, ">u2"), total)
            return
        masked = np.ascontiguousarray((band.flags & MASKED) != 0).view("u1")
        self._put("MASK", first, masked, word_sum(masked))
        flags = (band.flags ^ 0x8000).astype(">u2", order="C")
        self._put("DQ", first, flags, word_sum(flags))

    def _put(self, name: str, first: int, rows: np.ndarray, total: int) -> None:
        plane = self._planes[name]
        place = plane.start + first * self.shape[1] * plane.stored.itemsize
        self._file.put(place, rows.reshape(-1), plane.stored)
        with self._lock:
            self._sums[name] += total

    def set_card(self, keyword: str, value: str | float) -> None:
        """Set an existing card to a value that is known only now."""
        with self._lock:
            size = len(self._header.text())
            self._header[keyword] = value
            if len(self._header.text()) != size:
                raise ValueError(f"{keyword}={value!r} does not fit into the header as it is")

    def finish(self) -> None:
        """Write the headers and the table, sync the file, and rename it to its final name.

        The name itself is on the disk once `sync_folders` has been called.
        """
        with self._discarded_if_refused():
            self._complete()
            self._file.sync()
            self._rename()

    def finish_hashed(self) -> str:
        """Finish, and return the SHA-256 of the file, which is computed while the disk is busy."""
        with self._discarded_if_refused():
            self._complete()
            with Threads(1) as other:
                synced = other.submit(self._file.sync)
                sha256 = sha256_of(self._temporary)
            synced.result()
            self._rename()
        return sha256

    @contextmanager
    def _discarded_if_refused(self) -> Iterator[None]:
        try:
            yield
        except (OutputError, OSError) as error:
            self.discard()
            if isinstance(error, OutputError):
                raise
            raise OutputError.of(self.path, error) from error

    def _complete(self) -> None:
        """Write all remaining bytes, which can be read from then on."""
        if self._rows != self.shape[0]:
            raise ValueError(f"{self.path.name}: {self._rows} of {self.shape[0]} rows were written")
        final = image_header(self._header, self.shape, len(self._planes))
        for name, plane in self._planes.items():
            header = plane.header if name else final
            self._file.put_bytes(plane.place, with_sums(header, folded(self._sums[name])))
        self._file.put_bytes(self._end, self._table)
        self._file.complete()

    def _rename(self) -> None:
        self._file.close()
        refuse_link(self.path.parent)
        os.replace(self._temporary, self.path)

    def discard(self) -> None:
        """Discard what was written."""
        self._file.close()
        # If its folder was removed or became a link, the file of this name is not ours.
        with suppress(OSError, OutputError):
            refuse_link(self._temporary.parent)
            self._temporary.unlink(missing_ok=True)


def _planes(header: ProductHeader, shape: tuple[int, int], uncertainty: bool) -> dict[str, _Plane]:
    """Lay out the file of a product; its image has no name."""
    names = [name for name in PLANES if uncertainty or name != "UNCERT"]
    # The PROVENANCE table is one more extension.
    image = _Plane(0, image_header(header, shape, len(names) + 1), np.dtype(">f4"))
    planes = {"": image}
    unit = str(header.get("BUNIT", ""))
    last = image
    for name in names:
        place = last.start + padded(prod(shape) * last.stored.itemsize)
        last = _Plane(place, plane_header(name, tuple(shape), unit), np.dtype(PLANES[name]))
        planes[name] = last
    return planes


@lru_cache(8)
def _constant(size: int, value: int, stored: str) -> np.ndarray:
    """Return pixels of one value."""
    pixels = np.full(size, value, stored)
    pixels.flags.writeable = False
    return pixels


def product_key(parts: Mapping[str, object]) -> str:
    """Return a short hash of everything that determines a product."""
    text = "\n".join(f"{name}={value}" for name, value in sorted(parts.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remove_leftovers(places: Places) -> None:
    """Remove unfinished files that a killed run left under temporary names.

    A folder that became a link since the run began may lead to files of others.
    """
    for folder in (*places.folders.values(), places.root):
        pattern = ".*.tmp" if folder == places.root else "**/.*.tmp"
        with suppress(OutputError):
            refuse_link(folder)
            for path in folder.glob(pattern):
                if _TEMPORARY.fullmatch(path.name):
                    path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file completely or not at all; a file with the same text is not rewritten."""
    refuse_link(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # A function of a profile may return half a surrogate pair, which cannot be encoded.
    written = text.encode(errors="backslashreplace")
    try:
        if not path.is_symlink() and path.is_file() and path.read_bytes() == written:
            return
        with open(temporary, "xb") as stream:
            stream.write(written)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError.of(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sync_folders(paths: Iterable[Path]) -> None:
    """Write the names of products to the disk, with one sync for each folder.

    Raises
    ------
    OutputError
        If the disk cannot be written.
    """
    for folder in sorted({path.parent for path in paths}):
        try:
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OutputError.of(folder, error) from error
