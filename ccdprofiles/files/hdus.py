"""The HDUs of a FITS file: their headers and the positions of their data; no pixel is read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TypeGuard

from ..errors import FrameRejected
from .cards import BLOCK, END, Cards

__all__ = ["HDU", "Stream", "hdus_of", "integer", "is_integer", "padded"]

Stream = io.FileIO | io.BufferedIOBase
HEADER_LIMIT = 1000 * BLOCK
HDU_LIMIT = 200
STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
"""Types of pixels by BITPIX."""
CORRECT = "copy it again from the camera, or correct its header."


@dataclass(frozen=True)
class HDU:
    """A header and the place of the data that belong to it.

    Parameters
    ----------
    index : int
        Its number; the primary HDU is 0.
    cards : Cards
        Its own over those of the primary HDU.
    kind : str
        IMAGE, BINTABLE or TABLE.
    start : int
        Where its header begins, in bytes from the start of the decompressed file.
    data : int
        Where its data begin.
    nbytes : int
        How many bytes of data it has.
    """

    index: int
    cards: Cards
    kind: str
    start: int
    data: int
    nbytes: int

    @property
    def end(self) -> int:
        """Where its data end, before they are padded to whole blocks."""
        return self.data + self.nbytes


def padded(size: int) -> int:
    """Return a number of bytes, rounded up to whole FITS blocks."""
    return -(-size // BLOCK) * BLOCK


def hdus_of(stream: Stream, start: bytes = b"", size: int | None = None) -> Iterator[HDU]:
    """Iterate over the headers of a file, skipping the data between them.

    Bytes after the last HDU are ignored. The caller must check that the file is long enough for the
    data of an HDU before it asks for the next one.

    Parameters
    ----------
    stream : file
    start : bytes
        The bytes that were already read from it.
    size : int, optional
        Of the decompressed file, if it is known.

    Raises
    ------
    FrameRejected
        ``not-fits``, ``fits``, ``bitpix`` or ``naxis``.
    """
    primary = None
    position = 0
    room = HEADER_LIMIT
    for index in range(HDU_LIMIT + 1):
        block, data = _header(stream, start, position, room)
        if block is None:
            return
        if index == HDU_LIMIT:
            raise FrameRejected(
                "fits",
                f"it contains more than {HDU_LIMIT} HDUs, but a raw frame has only a few; "
                "remove it from the night.",
            )
        start = b""
        room -= len(block)
        cards = Cards(block, primary)
        if primary is None:
            primary = cards
        kind = str(cards.get("XTENSION", "IMAGE")).strip()
        hdu = HDU(index, cards, kind, position, data, _nbytes(cards, index, kind))
        yield hdu
        position = padded(hdu.end)
        if size is not None and position >= size:
            return


def integer(cards: Cards, keyword: str, default: int = -1) -> int:
    """Return the integer value of a keyword in this header itself, or ``default``."""
    value = cards.own(keyword)
    return value if is_integer(value) else default


def is_integer(value: object) -> TypeGuard[int]:
    """Return True if the value of a card is an integer, and not T or F."""
    return isinstance(value, int) and not isinstance(value, bool)


def _header(stream: Stream, start: bytes, position: int, room: int) -> tuple[bytes | None, int]:
    """Read header blocks up to END; None if the file has no further HDU."""
    block = start
    if not block:
        stream.seek(position)
        block = stream.read(4 * BLOCK)
    if position and not block.startswith(b"XTENSION"):
        return None, position
    if not position and not block.startswith(b"SIMPLE  ="):
        raise FrameRejected(
            "not-fits",
            "it does not begin with SIMPLE, so it is not a FITS file despite its name; "
            "copy it again, or remove it from the night.",
        )
    searched = 0
    while True:
        end = block.find(END, searched)
        while end % 80 and end > 0:
            end = block.find(END, end + 1)
        if end >= 0:
            return block[:end], position + padded(end + 80)
        if len(block) > room:
            raise FrameRejected(
                "fits",
                f"its header is longer than {HEADER_LIMIT} bytes, more than any camera writes; "
                "copy it again, or remove it from the night.",
            )
        searched = max(0, len(block) - 80)
        more = stream.read(16 * BLOCK)
        if not more:
            raise FrameRejected(
                "fits", "its header has no END card; copy it again from the camera."
            )
        block += more


def _nbytes(cards: Cards, index: int, kind: str) -> int:
    """Return the number of bytes of an HDU's data (FITS standard 4.0, equation 2)."""
    bitpix, naxis = integer(cards, "BITPIX"), integer(cards, "NAXIS")
    if bitpix not in STORED:
        raise FrameRejected(
            "bitpix", f"BITPIX = {bitpix} is not one of {sorted(STORED)}; {CORRECT}"
        )
    if not 0 <= naxis <= 99:
        raise FrameRejected("naxis", f"NAXIS = {naxis} is not a valid number of axes; {CORRECT}")
    axes = [integer(cards, f"NAXIS{i + 1}") for i in range(naxis)]
    if min(axes, default=0) < 0:
        raise FrameRejected("naxis", f"an axis of {min(axes)} pixels is not possible; {CORRECT}")
    groups, extra = (integer(cards, "GCOUNT", 1), integer(cards, "PCOUNT", 0)) if index else (1, 0)
    if min(groups, extra) < 0 or (kind == "IMAGE" and groups == 0):
        raise FrameRejected("fits", f"GCOUNT, PCOUNT = {groups, extra} are not possible; {CORRECT}")
    return abs(bitpix) // 8 * groups * (extra + prod(axes)) if axes else 0
