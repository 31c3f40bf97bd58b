"""Whether a file still holds what was written: DATASUM and CHECKSUM of every HDU, and SHA-256.

Files are read in pieces, so that a large one needs no more memory than a small one.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ..errors import words_of
from ..files.cards import Cards

__all__ = ["SavedCards", "read_saved", "sha256_or_fault"]

_BLOCK = 2880
_PIECE = 4 * 2**20
_MODULUS = 2**32 - 1
_END = b"END".ljust(80)
_WITH_UNCERT = ["PRIMARY", "MASK", "UNCERT", "DQ", "PROVENANCE"]


@dataclass(frozen=True)
class SavedCards:
    """What a product on the disk says of itself.

    Parameters
    ----------
    header : Cards
        Of its primary HDU.
    provenance : tuple of (file, sha256, role)
        What went in.
    faults : tuple of str
        What is wrong with its HDUs; nothing where they are whole.
    """

    header: Cards
    provenance: tuple[tuple[str, str, str], ...] = ()
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class _HDU:
    cards: Cards
    start: int
    data: int
    length: int

    @property
    def name(self) -> str:
        return str(self.cards.get("EXTNAME", "")) if self.start else "PRIMARY"

    @property
    def end(self) -> int:
        return self.data + -(-self.length // _BLOCK) * _BLOCK


def read_saved(path: Path, pixels: bool = True) -> SavedCards:
    """Read the cards and the provenance of a product, and check its HDUs.

    Parameters
    ----------
    path : Path
    pixels : bool
        Whether the sums of all planes are checked; otherwise those of the table at
        the end alone, which tell a file that was cut, or that lost its tail.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return SavedCards(Cards(b""), faults=("it is no regular file",))
        try:
            hdus = list(_walk(descriptor, os.fstat(descriptor).st_size))
        except (KeyError, TypeError, ValueError) as error:
            return SavedCards(Cards(b""), faults=(f"its headers cannot be read ({error})",))
        if not hdus:
            return SavedCards(Cards(b""), faults=("it is no whole FITS file",))
        faults = [*_missing(hdus)]
        for hdu in hdus if pixels else hdus[-1:]:
            faults += _wrong_sums(descriptor, hdu)
        rows = () if faults else tuple(_rows(descriptor, hdus[-1]))
        return SavedCards(hdus[0].cards, rows, tuple(faults))
    finally:
        os.close(descriptor)


def sha256_or_fault(path: Path) -> tuple[str, str]:
    """Return the SHA-256 of a file and nothing, or nothing and why there is none."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return "", "it is no regular file"
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), ""
    except FileNotFoundError:
        return "", "it is gone"
    except OSError as error:
        return "", f"it cannot be read ({words_of(error)})"


def _walk(descriptor: int, size: int) -> Iterator[_HDU]:
    """Go from HDU to HDU, as far as the file is long enough for them."""
    start = 0
    while start < size:
        block = b""
        while _END not in _cards_of(block[-_BLOCK:]):
            more = os.pread(descriptor, _BLOCK, start + len(block))
            if len(more) < _BLOCK or len(block) > 1000 * _BLOCK:
                return
            block += more
        if not block.startswith(b"XTENSION" if start else b"SIMPLE  ="):
            return
        cards = Cards(block)
        axes = [int(cards[f"NAXIS{n + 1}"]) for n in range(int(cards["NAXIS"]))]
        length = abs(int(cards["BITPIX"])) // 8 * prod(axes) if axes else 0
        hdu = _HDU(cards, start, start + len(block), length)
        if length < 0 or hdu.end > size:
            return
        yield hdu
        start = hdu.end


def _cards_of(block: bytes) -> list[bytes]:
    return [block[start : start + 80] for start in range(0, len(block), 80)]


def _missing(hdus: list[_HDU]) -> Iterator[str]:
    """Name the HDUs that a product should have and has not."""
    expected = list(_WITH_UNCERT)
    if hdus[0].cards.get("NEXTEND") != len(expected) - 1:
        expected.remove("UNCERT")
    names = [hdu.name for hdu in hdus]
    lost = [name for name in expected if name not in names]
    if lost:
        yield f"its {', '.join(lost)} {'is' if len(lost) == 1 else 'are'} cut off or missing"
    elif names != expected:
        yield f"it holds {', '.join(names)}, where {', '.join(expected)} were written"


def _wrong_sums(descriptor: int, hdu: _HDU) -> Iterator[str]:
    """Compare the sums of an HDU with those of its cards.

    Both are sums in ones' complement (FITS standard 4.0, appendix J), which is the
    remainder of the plain sum by 2**32 - 1.
    """
    lost = [card for card in ("CHECKSUM", "DATASUM") if card not in hdu.cards]
    if lost:
        yield f"{hdu.name} has no {' and no '.join(lost)}"
        return
    data = _sum(descriptor, hdu.data, hdu.end)
    told = str(hdu.cards["DATASUM"]).strip()
    if not told.isdigit() or (data - int(told)) % _MODULUS:
        yield f"the data of its {hdu.name} changed, as DATASUM tells"
    elif (data + _sum(descriptor, hdu.start, hdu.data)) % _MODULUS:
        yield f"the header of its {hdu.name} changed, as CHECKSUM tells"


def _sum(descriptor: int, start: int, stop: int) -> int:
    total = 0
    for offset in range(start, stop, _PIECE):
        octets = os.pread(descriptor, min(_PIECE, stop - offset), offset)
        octets += b"\0" * (-len(octets) % 4)
        total += int(np.frombuffer(octets, ">u4").sum(dtype="u8"))
    return total


def _rows(descriptor: int, table: _HDU) -> Iterator[tuple[str, str, str]]:
    """Read the rows of a PROVENANCE table, whose three columns hold text."""
    widths = [int(str(table.cards[f"TFORM{n}"]).strip().removesuffix("A")) for n in (1, 2, 3)]
    octets = os.pread(descriptor, table.length, table.data)
    for start in range(0, table.length, sum(widths)):
        cells = []
        for width in widths:
            cells.append(octets[start : start + width].rstrip(b"\0 ").decode("ascii"))
            start += width
        yield cells[0], cells[1], cells[2]
