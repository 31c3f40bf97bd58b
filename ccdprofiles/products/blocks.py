"""The headers of a product's HDUs and its PROVENANCE table, as bytes of a file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from astropy.io import fits

from ..files.checksum import ROOM, folded, with_sums, word_sum
from ..files.hdus import padded
from ..files.header import ProductHeader
from .band import DQ_BITS, MASKED
from .header import ascii_text

__all__ = ["PLANES", "header_blocks", "image_header", "plane_header", "provenance_table"]

PLANES = {"MASK": ">u1", "UNCERT": ">f4", "DQ": ">u2"}
"""The planes beside the image, in order, and the types of their pixels in the file."""


def image_header(cards: ProductHeader, shape: tuple[int, int], extensions: int) -> bytes:
    """Return the header of the image itself, with room for its sums."""
    return header_blocks(f"{_structure(shape, extensions)}{cards.text()}")


@lru_cache
def _structure(shape: tuple[int, int], extensions: int) -> str:
    header = fits.Header()
    header["SIMPLE"] = (True, "conforms to FITS standard")
    _describe(header, np.dtype(">f4"), shape)
    header["EXTEND"] = True
    # It distinguishes a file that lost its last HDUs from one that never had them.
    header["NEXTEND"] = (extensions, "extensions that follow")
    return _text(header)


@lru_cache
def plane_header(name: str, shape: tuple[int, int], unit: str) -> bytes:
    """Return the header of a plane beside the image; all products of a camera share it."""
    header = fits.Header()
    header["XTENSION"] = ("IMAGE", "image extension")
    _describe(header, np.dtype(PLANES[name]), shape)
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
    return header_blocks(_text(header))


def _describe(header: fits.Header, stored: np.dtype, shape: tuple[int, int]) -> None:
    bits = stored.itemsize * 8  # FITS has no unsigned integers; DQ has BZERO
    header["BITPIX"] = (-bits if stored.kind == "f" else bits, "array data type")
    header["NAXIS"] = (2, "number of array dimensions")
    header["NAXIS1"] = shape[1]
    header["NAXIS2"] = shape[0]


def provenance_table(inputs: Sequence[tuple[str, str, str]]) -> bytes:
    """Return a PROVENANCE table as the bytes of an HDU.

    Parameters
    ----------
    inputs : sequence of (file, sha256, role)
    """
    rows = [tuple(ascii_text(cell).encode("ascii") for cell in row) for row in inputs]
    widths = tuple(max([1, *(len(row[i]) for row in rows)]) for i in range(3))
    data = b"".join(
        cell.ljust(width, b"\0") for row in rows for cell, width in zip(row, widths, strict=True)
    )
    data = data.ljust(padded(len(data)), b"\0")
    return with_sums(_table_header(len(rows), widths), folded(word_sum(data))) + data


@lru_cache
def _table_header(rows: int, widths: tuple[int, int, int]) -> bytes:
    """Return the header of a PROVENANCE table; most products of a night share it."""
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name=name, format=f"{width}A", array=np.zeros(rows, f"S{width}"))
            for name, width in zip(("file", "sha256", "role"), widths, strict=True)
        ],
        name="PROVENANCE",
    )
    header = table.header
    header["COMMENT"] = "the files that this product was made from"
    return header_blocks(_text(header))


def _text(header: fits.Header) -> str:
    return header.tostring(endcard=False, padding=False)


def header_blocks(text: str) -> bytes:
    """Return cards as whole blocks, with room for the sums before END."""
    cards = text.encode("ascii") + ROOM + b"END"
    return cards.ljust(padded(len(cards)))
