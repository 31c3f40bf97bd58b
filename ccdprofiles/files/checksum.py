"""DATASUM and CHECKSUM of an HDU (FITS standard 4.0, section 4.4.2.7 and appendix J).

Both are sums of 32-bit words in ones' complement: a carry is added at the other end.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["MODULUS", "ROOM", "encoded", "folded", "with_sums", "word_sum"]

MODULUS = 2**32 - 1
"""Sums in ones' complement are equal if they leave the same remainder."""

_PUNCTUATION = frozenset([*range(0x3A, 0x41), *range(0x5B, 0x61)])


def word_sum(data: bytes | memoryview | np.ndarray, byteorder: str = ">") -> int:
    """Return the plain sum of 32-bit words, which `folded` makes a DATASUM.

    Parameters
    ----------
    data : bytes or memoryview or ndarray
        Contiguous. If the last word is not complete, zeros are added to it.
    byteorder : str
        ``>`` for data as they are in a file; ``=`` for pixels of four bytes in native order.
    """
    stored = np.frombuffer(data, "u1")
    whole = len(stored) // 4 * 4
    total = int(stored[:whole].view(f"{byteorder}u4").sum(dtype="u8"))
    return total + int.from_bytes(stored[whole:].tobytes().ljust(4, b"\0"), "big")


def folded(total: int) -> int:
    """Return a sum of words with all carries added, as in DATASUM.

    >>> from ccdprofiles.files.checksum import folded
    >>> folded(2**32 + 5)
    6
    """
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def encoded(value: int) -> str:
    """Write a checksum as 16 letters and digits.

    >>> from ccdprofiles.files.checksum import encoded
    >>> encoded(0)
    '0000000000000000'
    """
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


def _cards(checksum: str, datasum: int) -> bytes:
    first, quoted = f"CHECKSUM= '{checksum}'   / HDU checksum", f"'{datasum}'"
    return f"{first:<80}DATASUM = {quoted:<20} / data unit checksum".ljust(160).encode("ascii")


ROOM = _cards("0" * 16, 0)
"""The two cards of a header whose sums are not known yet."""


# The planes of most products in which no pixel is flagged are the same.
@lru_cache(16)
def with_sums(header: bytes, datasum: int) -> bytes:
    """Return the blocks of a header with its sums in the place of `ROOM`.

    Parameters
    ----------
    header : bytes
    datasum : int
        Of the data, with all carries added.
    """
    before, _, after = header.rpartition(ROOM)
    total = folded(word_sum(before + _cards("0" * 16, datasum) + after) + datasum)
    return before + _cards(encoded(~total & 0xFFFFFFFF), datasum) + after
