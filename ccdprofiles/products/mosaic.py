"""The chips of one exposure in one file: an image, its planes and its world coordinates for each.

The primary HDU has no image, only the cards that all chips share. Then come SCI, MASK, UNCERT and
DQ of each chip, numbered by EXTVER, with the bytes of its own product, and PROVENANCE at the end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import FrameRejected, OutputError
from ..files.checksum import folded, with_sums, word_sum
from ..files.hdus import HDU, hdus_of, padded
from ..files.header import ProductHeader
from ..files.places import refuse_link
from ..files.reading import opened
from .blocks import PLANES, header_blocks, provenance_table
from .header import is_sky
from .product import sync_folders
from .saved import CheckedProduct, check_product

__all__ = ["ChipProduct", "write_mosaic"]

_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|EXTEND|NEXTEND|PCOUNT|GCOUNT|EXTNAME|EXTVER|CHECKSUM|DATASUM"
)
_OF_CHIPS = re.compile(r"BUNIT|CPCHIP|CPAMPS|CPKEY|OVERSCAN|TRIM\d*|OS[A-Z]+\d+|HISTORY|COMMENT|")
"""Cards of single chips, even if a file has only one or all of them have the same value."""

_PIECE = 2**22


@dataclass(frozen=True)
class ChipProduct:
    """The product of one chip.

    Parameters
    ----------
    chip : str
    path : Path
    saved : CheckedProduct
        Its header and its provenance.
    """

    chip: str
    path: Path
    saved: CheckedProduct

    @classmethod
    def read(cls, chip: str, path: Path) -> ChipProduct:
        """Read the header of a product.

        Raises
        ------
        FrameRejected
            ``removed``, if it is not whole.
        """
        saved = check_product(path, pixels=False)
        if saved.faults:
            raise FrameRejected(
                "removed",
                f"the product {path.name} of chip {chip} is damaged ({'; '.join(saved.faults)}); remove it "
                "and run it again.",
            )
        return cls(chip, path, saved)

    @property
    def key(self) -> str:
        """The hash of everything that determines it."""
        return str(self.saved.header.get("CPKEY"))


def write_mosaic(path: Path, chips: Sequence[ChipProduct], key: str) -> None:
    """Write the products of the chips of one exposure to one file.

    Parameters
    ----------
    path : Path
        The final name, in a folder whose path contains no links.
    chips : sequence of ChipProduct
        In the order of the profile.
    key : str
        The hash of everything that determines it.

    Raises
    ------
    FrameRejected
        ``removed``, if the pixels of a product were damaged.
    OutputError
        If it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    refuse_link(path.parent)
    try:
        with open(temporary, "xb") as out:
            planes = sum(1 + _planes(chip) for chip in chips)
            out.write(with_sums(_primary(chips, key, planes + 1), 0))
            for number, chip in enumerate(chips, 1):
                _copy(out, chip, number)
            rows = dict.fromkeys(row for chip in chips for row in chip.saved.provenance)
            out.write(provenance_table([*rows]))
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError.of(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_folders([path])


def _planes(chip: ChipProduct) -> int:
    """Return how many planes the product of a chip has beside its image."""
    extensions = chip.saved.header.get("NEXTEND")
    return extensions - 1 if isinstance(extensions, int) else len(PLANES)


def _primary(chips: Sequence[ChipProduct], key: str, extensions: int) -> bytes:
    """Return the header without an image: the cards of all chips that are not of single ones."""
    header = ProductHeader()
    header["SIMPLE"] = (True, "conforms to FITS standard")
    header["BITPIX"] = (8, "array data type")
    header["NAXIS"] = (0, "number of array dimensions")
    header["EXTEND"] = True
    header["NEXTEND"] = (extensions, "extensions that follow")
    texts = [_cards(chip.saved.header.block) for chip in chips]
    others = [{card for group in text for card in group} for text in texts[1:]]
    for group in texts[0]:
        keyword = _keyword(group[0])
        own = _STRUCTURE.fullmatch(keyword) or _OF_CHIPS.fullmatch(keyword) or is_sky(keyword)
        if not own and all(set(group) <= other for other in others):
            header.hand_on(keyword, "".join(group))
    header["CPKEY"] = (key, "hash of all that went in")
    header["NCHIPS"] = (len(chips), "chips in this file")
    for number, chip in enumerate(chips, 1):
        header[f"CPCHIP{number}"] = (chip.chip, f"the chip with EXTVER = {number}")
    return header_blocks(header.text())


def _copy(out: IO[bytes], chip: ChipProduct, number: int) -> None:
    """Write the image and the planes of a chip as extensions."""
    with opened(chip.path) as stream:
        for hdu in hdus_of(stream):
            name = str(hdu.cards.own("EXTNAME", "")) if hdu.index else "SCI"
            if name == "PROVENANCE":
                break
            datasum = int(str(hdu.cards.own("DATASUM")))
            out.write(with_sums(_extension(hdu, name, number), datasum))
            if _copy_data(out, stream, hdu) != datasum:
                raise FrameRejected(
                    "removed",
                    f"the {name} of {chip.path.name} is damaged (DATASUM); remove it and run it again.",
                )


def _extension(hdu: HDU, name: str, number: int) -> bytes:
    """Return the header of a plane of a product as that of an extension."""
    header = ProductHeader()
    header["XTENSION"] = ("IMAGE", "image extension")
    for keyword in ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2"):
        value = hdu.cards.own(keyword)
        header[keyword] = int(str(value))
    header["PCOUNT"] = (0, "number of parameters")
    header["GCOUNT"] = (1, "number of groups")
    header["EXTNAME"] = (name, "extension name")
    header["EXTVER"] = (number, "number of the chip in this file")
    rest = "".join(
        card
        for group in _cards(hdu.cards.block)
        for card in group
        if not _STRUCTURE.fullmatch(_keyword(group[0]))
    )
    return header_blocks(header.text() + rest)


def _copy_data(out: IO[bytes], stream: IO[bytes], hdu: HDU) -> int:
    """Copy the data of an HDU, and return their DATASUM."""
    left, place, total = padded(hdu.end) - hdu.data, hdu.data, 0
    while left:
        piece = os.pread(stream.fileno(), min(_PIECE, left), place)
        if not piece:
            return -1  # it was truncated
        total += word_sum(piece)
        out.write(piece)
        left, place = left - len(piece), place + len(piece)
    return folded(total)


def _cards(block: bytes) -> list[list[str]]:
    """Return the cards of a header, each with those that continue it."""
    text = block.decode("ascii")
    groups: list[list[str]] = []
    for start in range(0, len(text), 80):
        card = text[start : start + 80]
        if card.rstrip() == "END":
            break
        if card.startswith("CONTINUE") and groups:
            groups[-1].append(card)
        elif card.strip():
            groups.append([card])
    return groups


def _keyword(card: str) -> str:
    return card.partition("=")[0].strip() if card.startswith("HIERARCH") else card[:8].strip()
