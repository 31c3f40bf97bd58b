"""Products: their names, their cards, where they come from, and writes that are whole or nothing.

A product has the image in its primary HDU (float32), MASK and UNCERT as
`astropy.nddata.CCDData.read` expects them, DQ (uint16) with a bit for every
reason, and PROVENANCE, a table of the files that went in. It is written band by
band under a temporary name and gets its own when it is whole and on the disk.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import wait
from contextlib import suppress
from functools import lru_cache
from math import prod
from pathlib import Path

import numpy as np
from astropy.io import fits

from ..errors import OutputError
from ..files.header import ProductHeader
from ..files.places import Places, refuse_link
from ..files.threads import Threads
from ..files.writer import NewFile, Writers
from .band import DQ_BITS, MASKED, Band
from .header import ascii_text

__all__ = [
    "ProductFile",
    "product_key",
    "remove_leftovers",
    "sha256_of",
    "sync_folders",
    "write_text",
]
_TEMPORARY = re.compile(r"\..+\.\d+(-[0-9a-f]+)?\.tmp")
"""Names of ours, with the number of the process; other people's hidden files stay."""
_PLANES = {"MASK": ">u1", "UNCERT": ">f4", "DQ": ">u2"}


class ProductFile:
    """A product that is being written; it gets its name when it is whole.

    Parameters
    ----------
    path : Path
        The final name, in a folder that is given without links.
    header : ProductHeader
        Cards of the primary HDU besides those of its structure.
    shape : tuple of int
        Rows, columns.
    uncertainty : bool
        Whether there is an UNCERT plane.
    inputs : sequence of (file, sha256, role)
        For the PROVENANCE table.
    writers : Writers, optional
        Write it past the system's cache, as nothing of this night will read it.

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
        self._lock = threading.Lock()
        self._layout: dict[str, tuple[int, bytes, int, np.dtype]] = {}
        self._sums: dict[str, int] = {}
        self._rows = 0
        position = 0
        unit = str(header.get("BUNIT", ""))
        for name, stored in {"": ">f4", **_PLANES}.items():
            if name == "UNCERT" and not uncertainty:
                continue
            block = (
                _plane_header(name, stored, tuple(shape), unit)
                if name
                else _image_header(header, shape, len(_PLANES) + uncertainty)
            )
            start = position + len(block)
            self._layout[name] = (position, block, start, np.dtype(stored))
            self._sums[name] = 0
            position = start + _padded(prod(shape) * np.dtype(stored).itemsize)
        self._table = _provenance(inputs)
        self._end = position
        self._temporary = path.with_name(f".{path.name}.{os.getpid()}-{id(self):x}.tmp")
        refuse_link(path.parent)
        try:
            path.parent.mkdir(exist_ok=True)
            self._file = NewFile(self._temporary, position + len(self._table), writers)
        except OSError as error:
            raise OutputError.of(path, error) from error

    def __enter__(self) -> ProductFile:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None:
            self.discard()

    def write(self, first: int, band: Band) -> None:
        """Write rows from ``first`` (from 0) on."""
        if first * self.shape[1] % 4:
            raise ValueError("a band must begin at a multiple of four rows")
        data = np.ascontiguousarray(band.data, "f4")
        try:
            self._put("", first, data, _sum_of_words(data))
            if "UNCERT" in self._layout:
                with np.errstate(invalid="ignore"):
                    uncertainty = np.sqrt(band.variance).astype("f4", copy=False)
                self._put("UNCERT", first, uncertainty, _sum_of_words(uncertainty))
            self._put_flags(first, band)
        except OSError as error:
            raise OutputError.of(self.path, error) from error
        with self._lock:
            self._rows += len(band.data)

    def _put_flags(self, first: int, band: Band) -> None:
        """Write MASK and DQ; most bands have nothing to flag."""
        size = band.data.size
        if band.flags is None:
            total = size // 2 * 0x80008000 + size % 2 * 0x80000000
            self._put("MASK", first, _same(size, 0, "u1"), 0)
            self._put("DQ", first, _same(size, 0x8000, ">u2"), total)
            return
        masked = np.ascontiguousarray((band.flags & MASKED) != 0).view("u1")
        self._put("MASK", first, masked, _sum32(masked.reshape(-1).data))
        flags = (band.flags ^ 0x8000).astype(">u2")
        self._put("DQ", first, flags, _sum32(flags.reshape(-1).view("u1").data))

    def _put(self, name: str, first: int, plane: np.ndarray, total: int) -> None:
        _, _, start, stored = self._layout[name]
        self._file.put(start + first * self.shape[1] * stored.itemsize, plane.reshape(-1), stored)
        with self._lock:
            self._sums[name] = _folded(self._sums[name] + total)

    def tell(self, keyword: str, value: str | int) -> None:
        """Fill in a card of the header whose value is known only now."""
        text = f"{value:>20d}" if isinstance(value, int) else f"'{value:<8}'"
        with self._lock:
            position, block, start, stored = self._layout[""]
            block = _with_value(block, keyword.encode("ascii"), text)
            self._layout[""] = (position, block, start, stored)

    def finish(self) -> None:
        """Write the headers and the table, put all on the disk, and give the product its name.

        The name itself is on the disk once `sync_folders` has been called.
        """
        self._finish(self._file.sync)

    def finish_hashed(self) -> str:
        """Do as `finish`, and return the SHA-256 of the file, made while the disk is at work."""
        with Threads(1) as other:
            hashed = []

            def sync() -> None:
                synced = other.submit(self._file.sync)
                try:
                    hashed.append(sha256_of(self._temporary))
                finally:
                    wait([synced])  # before anybody closes the file
                synced.result()

            self._finish(sync)
        return hashed[0]

    def _finish(self, sync: Callable[[], None]) -> None:
        if self._rows != self.shape[0]:
            raise ValueError(f"{self.path.name}: {self._rows} of {self.shape[0]} rows were written")
        try:
            for name, (position, block, _, _) in self._layout.items():
                self._file.put_bytes(position, _summed(block, self._sums[name]))
            self._file.put_bytes(self._end, self._table)
            self._file.complete()
            sync()
            self._file.close()
            refuse_link(self.path.parent)
            os.replace(self._temporary, self.path)
        except OutputError:
            self.discard()
            raise
        except OSError as error:
            self.discard()
            raise OutputError.of(self.path, error) from error

    def discard(self) -> None:
        """Throw away what was written."""
        self._file.close()
        # Where its folder is gone or became a link, what lies under this name is not ours.
        with suppress(OSError, OutputError):
            refuse_link(self._temporary.parent)
            self._temporary.unlink(missing_ok=True)


def product_key(parts: Mapping[str, object]) -> str:
    """Return a short hash of all that decides a product, by which a second run knows it."""
    told = "\n".join(f"{name}={value}" for name, value in sorted(parts.items()))
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remove_leftovers(places: Places) -> None:
    """Remove what a run that was killed left unfinished under temporary names.

    A folder that became a link since the run began leads to files that are not ours.
    """
    for folder in (*places.folders.values(), places.root):
        pattern = ".*.tmp" if folder == places.root else "**/.*.tmp"
        with suppress(OutputError):
            refuse_link(folder)
            for path in folder.glob(pattern):
                if _TEMPORARY.fullmatch(path.name):
                    path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; one that says so already is left alone."""
    refuse_link(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    # A function of a profile may return half a character, which no file can hold.
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


def _image_header(cards: ProductHeader, shape: tuple[int, int], extensions: int) -> bytes:
    """Write the header of the image itself, with room for its checksums."""
    text = f"{_structure(shape, extensions)}{cards.text()}{_ROOM}END"
    return text.ljust(_padded(len(text))).encode("ascii")


@lru_cache
def _structure(shape: tuple[int, int], extensions: int) -> str:
    header = fits.Header()
    header["SIMPLE"] = (True, "conforms to FITS standard")
    _describe(header, np.dtype(">f4"), shape)
    header["EXTEND"] = True
    # By it a file that lost its last HDUs is told from one that never had them.
    header["NEXTEND"] = (extensions, "extensions that follow")
    return header.tostring(endcard=False, padding=False)


@lru_cache(8)
def _same(size: int, value: int, stored: str) -> np.ndarray:
    """Return pixels that all have one value."""
    plane = np.full(size, value, stored)
    plane.flags.writeable = False
    return plane


@lru_cache
def _plane_header(name: str, stored: str, shape: tuple[int, int], unit: str) -> bytes:
    """Write the header of a plane beside the image; all products of a camera share it."""
    header = fits.Header()
    header["XTENSION"] = ("IMAGE", "image extension")
    _describe(header, np.dtype(stored), shape)
    header["PCOUNT"] = (0, "number of parameters")
    header["GCOUNT"] = (1, "number of groups")
    header["EXTNAME"] = (name, "extension name")
    if name == "UNCERT":
        header["UTYPE"] = ("StdDevUncertainty", "kind of uncertainty, as CCDData reads it")
        header["BUNIT"] = unit
    elif name == "MASK":
        header["COMMENT"] = f"1 where DQ has a bit of {MASKED}"
    elif name == "DQ":
        header["BSCALE"] = 1
        header["BZERO"] = (32768, "unsigned integers of 16 bits")
        for meaning, bit in DQ_BITS.items():
            header[f"DQBIT{bit.bit_length() - 1}"] = (meaning, f"bit {bit}")
    return _with_room(header)


def _describe(header: fits.Header, stored: np.dtype, shape: tuple[int, int]) -> None:
    bits = stored.itemsize * 8  # FITS knows no unsigned words; DQ has BZERO
    header["BITPIX"] = (-bits if stored.kind == "f" else bits, "array data type")
    header["NAXIS"] = (2, "number of array dimensions")
    header["NAXIS1"] = shape[1]
    header["NAXIS2"] = shape[0]


def _with_room(header: fits.Header) -> bytes:
    text = f"{header.tostring(endcard=False, padding=False)}{_ROOM}END"
    return text.ljust(_padded(len(text))).encode("ascii")


_ROOM = "".join(
    str(fits.Card(*card))
    for card in (("CHECKSUM", "0" * 16, "HDU checksum"), ("DATASUM", "0", "data unit checksum"))
)


def _provenance(inputs: Sequence[tuple[str, str, str]]) -> bytes:
    """Make the PROVENANCE table as the bytes of an HDU."""
    rows = [tuple(ascii_text(cell).encode("ascii") for cell in row) for row in inputs]
    widths = tuple(max([1, *(len(row[i]) for row in rows)]) for i in range(3))
    data = b"".join(
        cell.ljust(width, b"\0") for row in rows for cell, width in zip(row, widths, strict=True)
    )
    data += b"\0" * (_padded(len(data)) - len(data))
    return _summed(_table_header(len(rows), widths), _sum32(data)) + data


@lru_cache
def _table_header(rows: int, widths: tuple[int, int, int]) -> bytes:
    """Write the header of a PROVENANCE table; most products of a night share it."""
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name=name, format=f"{width}A", array=np.zeros(rows, f"S{width}"))
            for name, width in zip(("file", "sha256", "role"), widths, strict=True)
        ],
        name="PROVENANCE",
    )
    header = table.header
    header["COMMENT"] = "the files that this product was made from"
    return _with_room(header)


# The planes of most products that flag no pixel are the same.
@lru_cache(16)
def _summed(block: bytes, datasum: int) -> bytes:
    """Put DATASUM and CHECKSUM into the header of an HDU (FITS standard 4.0, section 4.4.2.7)."""
    before, _, after = block.rpartition(_ROOM.encode("ascii"))
    total = _folded(_sum32(before + _sum_cards("0" * 16, datasum) + after) + datasum)
    return before + _sum_cards(_encoded(~total & 0xFFFFFFFF), datasum) + after


def _sum_cards(checksum: str, datasum: int) -> bytes:
    """Write the cards that `_ROOM` has kept a place for."""
    told, quoted = f"CHECKSUM= '{checksum}'   / HDU checksum", f"'{datasum}'"
    return f"{told:<80}DATASUM = {quoted:<20} / data unit checksum".ljust(160).encode("ascii")


def _with_value(block: bytes, keyword: bytes, value: str) -> bytes:
    """Write another value into a card, whose comment stays."""
    name = keyword.ljust(8) + b"= "
    start = block.rfind(name)
    while start % 80:
        start = block.rfind(name, 0, start)
    comment = block[start : start + 80].rpartition(b" / ")[2].decode("ascii").rstrip()
    text = f"{keyword.decode():<8}= {value:<20} / {comment}".ljust(80)
    return block[:start] + text.encode("ascii") + block[start + 80 :]


def _encoded(value: int) -> str:
    """Write a checksum in 16 letters and digits (FITS standard 4.0, appendix J)."""
    columns = [_letters(byte) for byte in value.to_bytes(4, "big")]
    text = "".join("".join(rank) for rank in zip(*columns, strict=True))
    return text[-1] + text[:-1]


@lru_cache(256)
def _letters(byte: int) -> str:
    letters = [byte // 4 + byte % 4 + 48, byte // 4 + 48, byte // 4 + 48, byte // 4 + 48]
    while any(c in _PUNCTUATION for c in letters):
        for i in (0, 2):
            if letters[i] in _PUNCTUATION or letters[i + 1] in _PUNCTUATION:
                letters[i] += 1
                letters[i + 1] -= 1
    return "".join(map(chr, letters))


_PUNCTUATION = frozenset([*range(0x3A, 0x41), *range(0x5B, 0x61)])


def _sum_of_words(plane: np.ndarray) -> int:
    """Add up the words of a plane; those of the file have their bytes swapped."""
    return int(plane.view("u4").sum(dtype="u8"))


def _sum32(octets: bytes | memoryview) -> int:
    """Add up words of 32 bits, the carry coming round."""
    if len(octets) % 4:
        octets = bytes(octets) + b"\0" * (-len(octets) % 4)
    return _folded(int(np.frombuffer(octets, ">u4").sum(dtype="u8")))


def _folded(total: int) -> int:
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _padded(size: int) -> int:
    return -(-size // 2880) * 2880


def sync_folders(paths: Iterable[Path]) -> None:
    """Put the names of products on the disk, each folder once.

    Raises
    ------
    OutputError
        If the disk refuses.
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
