"""Products on the disk: what they contain, and whether they are unchanged."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

import numpy as np

from ..errors import FrameRejected, words_of
from ..files.cards import Cards
from ..files.checksum import MODULUS, word_sum
from ..files.hdus import HDU, hdus_of, padded
from ..files.pixels import Pixels
from ..files.raw import RawFile, read_raw, refuse_changed
from ..files.reading import Passage, opened
from .band import Band, flags_of_stored

__all__ = [
    "GONE",
    "CheckedProduct",
    "SavedProduct",
    "check_product",
    "made_by_us",
    "sha256_or_fault",
]

GONE = "it is missing"
_SMALL = 2**18
_HDUS = ["PRIMARY", "MASK", "UNCERT", "DQ", "PROVENANCE"]
_COLUMNS = ["file", "sha256", "role"]


@dataclass(frozen=True)
class CheckedProduct:
    """A product as it was when its file was read.

    Parameters
    ----------
    header : Cards
        Of its primary HDU.
    provenance : tuple of (file, sha256, role)
        The files that it was made from.
    faults : tuple of str
        What is wrong with its HDUs; empty if they are intact.
    sha256 : str
        Of the file; empty if the whole file was not read.
    """

    header: Cards
    provenance: tuple[tuple[str, str, str], ...] = ()
    faults: tuple[str, ...] = ()
    sha256: str = ""


def check_product(path: Path, pixels: bool = True) -> CheckedProduct:
    """Read a product once: its cards, its provenance, its checksums and its SHA-256.

    A file that cannot be read is a fault, too.

    Parameters
    ----------
    path : Path
    pixels : bool
        Whether the whole file is read. Otherwise only the sums of the table at its end
        are checked, which is enough to notice a truncated file, and there is no SHA-256.
    """
    try:
        with opened(path) as stream:
            return _checked(stream, pixels)
    except (FrameRejected, OSError) as error:
        return CheckedProduct(Cards(b""), faults=(_fault(error),))


def sha256_or_fault(path: Path) -> tuple[str, str]:
    """Return the SHA-256 of a file and an empty fault, or an empty SHA-256 and the fault."""
    try:
        with opened(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest(), ""
    except (FrameRejected, OSError) as error:
        return "", _fault(error)


def _fault(error: FrameRejected | OSError) -> str:
    if isinstance(error, FrameRejected):
        cut = error.code == "truncated"
        return "it was truncated while it was read" if cut else "it is not a regular file"
    if isinstance(error, FileNotFoundError):
        return GONE
    return f"it cannot be read ({words_of(error)})"


def _checked(stream: io.FileIO, pixels: bool) -> CheckedProduct:
    size = os.fstat(stream.fileno()).st_size
    hdus = list(_complete_hdus(stream, size))
    sha256 = ""
    if pixels:
        digest = hashlib.sha256()
        passage = Passage(stream.fileno(), digest)
        sums = [_sums(passage, hdu) for hdu in hdus]
        passage.go_to(size)
        sha256 = digest.hexdigest()
    else:
        sums = [_sums(Passage(stream.fileno(), None, hdu.start), hdu) for hdu in hdus[-1:]]
    if not hdus:
        return CheckedProduct(Cards(b""), faults=("it is not a complete FITS file",), sha256=sha256)
    faults = [*_missing(hdus)]
    if not faults and (more := size - padded(hdus[-1].end)):
        faults.append(f"it contains {more} bytes after its PROVENANCE that are not ours")
    for hdu, (header, data) in zip(hdus[-len(sums) :], sums, strict=True):
        faults += _wrong_sums(hdu, header, data)
    rows: tuple[tuple[str, str, str], ...] = ()
    if not faults:
        try:
            rows = tuple(_rows(stream, hdus[-1]))
        except ValueError:
            faults.append("its PROVENANCE was not written by ccdprofiles")
    return CheckedProduct(hdus[0].cards, rows, tuple(faults), sha256)


def _complete_hdus(stream: io.FileIO, size: int) -> Iterator[HDU]:
    """Iterate over the HDUs as far as they are valid and the file is long enough for them."""
    with suppress(FrameRejected):
        for hdu in hdus_of(stream, size=size):
            if padded(hdu.end) > size:
                return
            yield hdu


def _name(hdu: HDU) -> str:
    return str(hdu.cards.own("EXTNAME", "")) if hdu.index else "PRIMARY"


def _missing(hdus: list[HDU]) -> Iterator[str]:
    """Name the HDUs that are missing in a product."""
    expected = list(_HDUS)
    if _name(hdus[-1]) == "PROVENANCE" and "NCHIPS" in hdus[0].cards:
        expected = _of_chips(hdus)
    elif hdus[0].cards.get("NEXTEND") != len(expected) - 1:
        expected.remove("UNCERT")
    names = [_name(hdu) for hdu in hdus]
    lost = [name for name in expected if name not in names]
    if lost:
        verb = "is" if len(lost) == 1 else "are"
        yield f"its {', '.join(lost)} {verb} damaged, cut off or missing"
    elif names != expected:
        yield f"it contains {', '.join(names)}, but {', '.join(expected)} were written"


def _of_chips(hdus: list[HDU]) -> list[str]:
    """Return the HDUs of a file of several chips: PRIMARY, the planes of each, PROVENANCE."""
    number = hdus[0].cards.get("NEXTEND")
    names = [_name(hdu) for hdu in hdus]
    if number != len(hdus) - 1 or names.count("SCI") != hdus[0].cards.get("NCHIPS"):
        return ["PRIMARY", f"{number} extensions"]
    return names


def _sums(passage: Passage, hdu: HDU) -> tuple[int, int]:
    """Return the sums of words of an HDU's header and of its data."""
    header = sum(map(word_sum, passage.pieces(hdu.data)))
    return header, sum(map(word_sum, passage.pieces(padded(hdu.end))))


def _wrong_sums(hdu: HDU, header: int, data: int) -> Iterator[str]:
    """Compare the sums of an HDU with those of its cards."""
    name = _name(hdu)
    absent = [card for card in ("CHECKSUM", "DATASUM") if hdu.cards.own(card) is None]
    written = str(hdu.cards.own("DATASUM")).strip()
    if absent:
        yield f"{name} has no {' and no '.join(absent)}"
    elif not written.isdigit() or (data - int(written)) % MODULUS:
        yield f"the data of its {name} changed (DATASUM)"
    elif (data + header) % MODULUS:
        yield f"the header of its {name} changed (CHECKSUM)"


def _rows(stream: io.FileIO, table: HDU) -> Iterator[tuple[str, str, str]]:
    """Read the rows of a PROVENANCE table, whose three columns contain text.

    Raises
    ------
    ValueError
        If it has other columns, or its text is not ASCII.
    """
    names = [table.cards.own(f"TTYPE{n}") for n in (1, 2, 3)]
    forms = [str(table.cards.own(f"TFORM{n}")).strip() for n in (1, 2, 3)]
    if names != _COLUMNS or not all(re.fullmatch("[1-9][0-9]*A", form) for form in forms):
        raise ValueError("not three columns of text")
    widths = [int(form.removesuffix("A")) for form in forms]
    if sum(widths) != table.cards.own("NAXIS1") or table.nbytes % sum(widths):
        raise ValueError("more than three columns")
    stored = os.pread(stream.fileno(), table.nbytes, table.data)
    for start in range(0, table.nbytes, sum(widths)):
        cells = []
        for width in widths:
            cells.append(stored[start : start + width].rstrip(b"\0 ").decode("ascii"))
            start += width
        yield cells[0], cells[1], cells[2]


class SavedProduct:
    """A product on the disk, of which bands of rows are read.

    Parameters
    ----------
    path : Path
    sha256 : str
        Of the file. A cluster may make a master a second time after it lost the answer of
        the first time, and a file of the same bytes is the same master.
    raw : RawFile, optional
        What `read_raw` returned for it.

    Raises
    ------
    FrameRejected
        If it is not a complete FITS file.
    """

    def __init__(self, path: Path, sha256: str = "", raw: RawFile | None = None):
        self.path = Path(path)
        self.raw = read_raw(self.path) if raw is None else raw
        self._sha256 = sha256
        self._whole: dict[bool, Band] = {}

    def __reduce__(self):
        path = self.path.absolute()
        raw = replace(self.raw.without_headers(), path=path)
        return SavedProduct, (path, self._sha256, raw)

    @property
    def header(self) -> Cards:
        """The cards of its primary HDU."""
        return self.raw.header

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.raw.images[0].shape

    def refuse_changed(self) -> None:
        """Refuse a product if it is no longer the file whose header was read.

        Raises
        ------
        FrameRejected
            ``removed``, with its path.
        """
        with self._blamed():
            try:
                refuse_changed(self.raw)
            except FrameRejected:
                if not self._has_same_bytes():
                    raise

    def band(self, first: int, stop: int, variance: bool = True) -> Band:
        """Read rows ``first`` (from 0) to ``stop`` (exclusive), with or without variance.

        Raises
        ------
        FrameRejected
            ``removed``, with its path, if the file was removed or replaced.
        """
        rows, columns = self.shape
        with self._blamed():
            if rows * columns > _SMALL:
                return self._read(first, stop, variance)
            # A small master is read again for every few frames of a long series.
            if variance not in self._whole:
                self._whole[variance] = self._read(0, rows, variance)
        band = self._whole[variance]
        square = None if band.variance is None else band.variance[first:stop]
        flags = None if band.flags is None else band.flags[first:stop]
        return _band(band.data[first:stop], square, flags)

    def _read(self, first: int, stop: int, variance: bool) -> Band:
        try:
            return _read_band(self.raw, first, stop, variance)
        except FrameRejected:
            if not self._has_same_bytes():
                raise
        return _read_band(read_raw(self.path), first, stop, variance)

    def _has_same_bytes(self) -> bool:
        return self._sha256 != "" and sha256_or_fault(self.path)[0] == self._sha256

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Report a read error as a fault of this file, not of the frames that need it."""
        try:
            yield
        except (FrameRejected, OSError) as error:
            raise FrameRejected(
                "removed",
                f"the master {self.path.stem} was removed or replaced during the run; "
                "run it again: the master is remade, and finished products are kept.",
                str(self.path),
            ) from error


def _read_band(raw: RawFile, first: int, stop: int, variance: bool) -> Band:
    planes = {image.name: image for image in raw.images}
    square = flags = None
    with Pixels(raw) as pixels:
        data = pixels.rows(raw.images[0], first, stop)
        if variance and "UNCERT" in planes:
            square = pixels.rows(planes["UNCERT"], first, stop)
            square *= square
        if "DQ" in planes:
            flags = flags_of_stored(pixels.stored(planes["DQ"], first, stop))
        elif "MASK" in planes:
            flags = pixels.stored(planes["MASK"], first, stop).astype("u2")
    return _band(data, square, flags)


def _band(data: np.ndarray, variance: np.ndarray | None, flags: np.ndarray | None) -> Band:
    """Return a band; its flags are None if no pixel is flagged."""
    return Band(data, variance, None if flags is None or not flags.any() else flags)


def made_by_us(start: bytes) -> bool:
    """Return True if the first blocks of a file are those of a product."""
    if not start.startswith(b"SIMPLE  ="):
        return False
    cards = (start[place : place + 80] for place in range(0, len(start), 80))
    header = takewhile(lambda card: card.rstrip() != b"END", cards)
    return any(card.startswith(b"CPVERS  =") for card in header)
