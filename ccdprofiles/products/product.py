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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import takewhile
from math import prod
from pathlib import Path

import numpy as np
from astropy.io import fits

from ..errors import FrameRejected, OutputError
from ..files.header import ProductHeader
from ..files.raw import Cards, Pixels, RawFile, RawImage, opened, read_raw, refuse_changed
from ..files.storage import NewFile, Places, Writers, refuse_link
from ..files.threads import Threads

__all__ = [
    "DQ_BITS",
    "MASKED",
    "Band",
    "ProductFile",
    "SavedProduct",
    "add_mjd",
    "ascii_text",
    "combined_header",
    "copied_header",
    "made_by_us",
    "product_key",
    "remove_leftovers",
    "saved_key",
    "sha256_of",
    "shift_wcs",
    "sync_folders",
    "write_text",
]

DQ_BITS = {
    "bad pixel": 1,
    "non-linear": 2,
    "saturated": 4,
    "cosmic ray": 8,
    "no data": 16,
    "unilluminated": 64,
    "no flat": 128,
    "hot": 256,
}
"""What the bits of the DQ plane mean; those up to 64 are DRAGONS' own."""

MASKED = 1 | 4 | 8 | 16 | 64 | 128
"""The bits that set MASK; a hot pixel and one that is hardly non-linear can be used."""

_STRUCTURE = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|XTENSION|PCOUNT|GCOUNT|TFIELDS|BZERO|BSCALE|BLANK|BUNIT|"
    r"CHECKSUM|DATASUM|EXTNAME|EXTVER|INHERIT|NEXTEND|ZIMAGE|ZTENSION|ZBITPIX|ZNAXIS\d*|ZCMPTYPE|"
    r"ZTILE\d+|ZNAME\d+|ZVAL\d+|ZQUANTIZ|ZDITHER0|ZSIMPLE|ZEXTEND|ZBLANK|ZHECKSUM|ZDATASUM|"
    r"T(TYPE|FORM|UNIT|DIM|NULL|SCAL|ZERO)\d+|THEAP|END|COMMENT|HISTORY|"
    r"LT[VM]\d(_\d)?|(DATA|BIAS|TRIM|CCD|AMP|DET)SEC\w*|[BCD]SEC\d+|CONTINUE|LONGSTRN|"
)
_SKY = re.compile(
    r"(WCSAXES|WCSNAME|CTYPE\d|CRVAL\d|CRPIX\d|CDELT\d|CROTA\d|CUNIT\d|CD\d_\d|PC\d+_\d+|PV\d_\d+|"
    r"(PC|CD)\d{6}|PS\d_\d+|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX|EPOCH|[AB]P?_ORDER|[AB]P?_\d_\d|PLTSOLVD)[A-Z]?"
)
_TEMPORARY = re.compile(r"\..+\.\d+(-[0-9a-f]+)?\.tmp")
"""Names of ours, with the number of the process; other people's hidden files stay."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d*)?)?")
_SMALL = 2**18
_PLANES = {"MASK": ">u1", "UNCERT": ">f4", "DQ": ">u2"}


@dataclass(frozen=True)
class Band:
    """A band of rows of a product.

    Parameters
    ----------
    data : ndarray of float32
    variance : ndarray of float32 or None
    flags : ndarray of uint16 or None
        None where no pixel is flagged.
    """

    data: np.ndarray
    variance: np.ndarray | None = None
    flags: np.ndarray | None = None


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


class SavedProduct:
    """A product on the disk, its header and bands of its rows.

    Parameters
    ----------
    path : Path
    sha256 : str
        Of the file. A cluster may make a master once more after it lost the answer of the
        first time, and a file of the same bytes is the same master.

    Raises
    ------
    FrameRejected
        If it is no whole FITS file.
    """

    def __init__(self, path: Path, sha256: str = ""):
        self.path = Path(path)
        self._sha256 = sha256
        self._whole: dict[bool, tuple[np.ndarray | None, ...]] = {}
        self.__dict__["raw"] = read_raw(self.path)

    def __reduce__(self):
        expected = self.raw.size, self.raw.mtime_ns
        return _not_read_yet, (self.path.absolute(), self._sha256, *expected)

    @cached_property
    def raw(self) -> RawFile:
        """Its headers, read again by a worker of another process when it asks for them."""
        with self._blamed():
            raw = read_raw(self.path)
            if (raw.size, raw.mtime_ns) != self._expected and not self._has_same_bytes():
                raise FrameRejected("changed", "it is another file.")
            return raw

    @cached_property
    def _pixels(self) -> Pixels:
        return Pixels(self.raw)

    def _has_same_bytes(self) -> bool:
        return self._sha256 != "" and sha256_of(self.path) == self._sha256

    @cached_property
    def _planes(self) -> dict[str | None, RawImage]:
        return {image.name: image for image in self.raw.images}

    def refuse_changed(self) -> None:
        """Refuse a product that is no longer the file whose header was read.

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

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Blame what cannot be read on this file, and on none of those that need it."""
        try:
            yield
        except (FrameRejected, OSError) as error:
            raise FrameRejected(
                "removed",
                f"the master {self.path.stem} was removed or replaced while the run was going on; "
                "run it again: the master is made anew, and what is finished stays.",
                str(self.path),
            ) from error

    @property
    def header(self) -> Cards:
        """The cards of its primary HDU."""
        return self.raw.header

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.raw.images[0].shape

    def band(self, first: int, stop: int, variance: bool = True) -> Band:
        """Read rows ``first`` (from 0) up to but without ``stop``, with or without variance."""
        rows, columns = self.shape
        with self._blamed():
            if rows * columns > _SMALL:
                return Band(*self._read(first, stop, variance))
            # A small master is asked for by every few frames of a long series.
            if variance not in self._whole:
                self._whole[variance] = self._read(0, rows, variance)
        data, square, flags = (p if p is None else p[first:stop] for p in self._whole[variance])
        return Band(data, square, None if flags is None or not flags.any() else flags)

    def _read(
        self, first: int, stop: int, variance: bool
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        try:
            return self._planes_of(first, stop, variance)
        except FrameRejected:
            if not self._has_same_bytes():
                raise
        for name in ("_pixels", "_planes"):
            vars(self).pop(name, None)
        vars(self)["raw"] = read_raw(self.path)
        return self._planes_of(first, stop, variance)

    def _planes_of(
        self, first: int, stop: int, variance: bool
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        data = self._pixels.rows(self.raw.images[0], first, stop)
        square = flags = None
        if variance and "UNCERT" in self._planes:
            square = self._pixels.rows(self._planes["UNCERT"], first, stop)
            square *= square
        if "DQ" in self._planes:
            stored = self._pixels.stored(self._planes["DQ"], first, stop)
            flags = stored.view(">u2").astype("u2") ^ 0x8000
        elif "MASK" in self._planes:
            flags = self._pixels.stored(self._planes["MASK"], first, stop).astype("u2")
        if flags is not None and not flags.any():
            flags = None
        return data, square, flags


def _not_read_yet(path: Path, sha256: str, *expected: int) -> SavedProduct:
    """Return a product that is read when it is asked for, so that a worker can say it is gone."""
    product = object.__new__(SavedProduct)
    vars(product).update(path=path, _sha256=sha256, _whole={}, _expected=expected)
    return product


def copied_header(cards: Cards) -> ProductHeader:
    """Copy the cards of a raw frame into a product, without those that no longer hold.

    Cards of structure, of checksums and of sections are left behind; so is a
    card that FITS does not allow, as a product must be valid.
    """
    header = ProductHeader()
    for text in _card_texts(cards):
        kept = _kept_card(text)
        if kept is not None:
            header.hand_on(*kept)
    if "RADECSYS" in header and "RADESYS" not in header:
        # Old names make astropy and fitsverify warn at every reading.
        header.rename("RADECSYS", "RADESYS")
    if "EPOCH" in header:
        if "EQUINOX" in header:
            del header["EPOCH"]
        elif isinstance(header["EPOCH"], int | float):
            header.rename("EPOCH", "EQUINOX")
    _order_sky(header)
    return header


def combined_header(headers: Sequence[Cards]) -> ProductHeader:
    """Make the header of a master: the cards that all frames share, and none of the sky's."""
    header = copied_header(headers[0])
    for keyword in header:
        own = headers[0].get(keyword)
        if _is_sky(keyword) or any(h.get(keyword) != own for h in headers[1:]):
            del header[keyword]
    return header


def shift_wcs(header: ProductHeader, columns: int, rows: int) -> None:
    """Let the world coordinates follow a trim that took away columns and rows at the origin."""
    for keyword in header:
        axis = keyword.startswith("CRPIX") and re.fullmatch(r"CRPIX([12])[A-Z]?", keyword)
        shift = axis and (columns, rows)[int(axis[1]) - 1]
        if shift and isinstance(header[keyword], int | float):
            header[keyword] = header[keyword] - shift


def add_mjd(header: ProductHeader, date: str | None = None) -> None:
    """Write the times of DATE-OBS and DATE-END as MJD too, where they are missing.

    Otherwise astropy works them out at every reading, and warns that it did. A
    DATE-OBS of a day alone gets its time from ``date``, as the profile reads it.
    """
    if date is not None and "T" in date and "T" not in str(header.get("DATE-OBS", "T")):
        header["DATE-OBS"] = date
    for keyword, date in (("MJD-OBS", "DATE-OBS"), ("MJD-END", "DATE-END")):
        if keyword not in header and isinstance(header.get(date), str):
            when = _time(header[date])
            if when is not None:
                mjd = (when - datetime(1858, 11, 17)) / timedelta(days=1)
                header.set_after(date, keyword, round(mjd, 9), f"[d] {date}")


def ascii_text(text: object) -> str:
    """Make a text that a FITS card may hold: other characters are escaped."""
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return text.encode("ascii", "backslashreplace").decode().translate(_CONTROL)


def product_key(parts: Mapping[str, object]) -> str:
    """Return a short hash of all that decides a product, by which a second run knows it."""
    told = "\n".join(f"{name}={value}" for name, value in sorted(parts.items()))
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def saved_key(path: Path) -> str | None:
    """Return the key of a product on the disk, or None where there is no whole one."""
    try:
        return str(read_raw(path).header.get("CPKEY"))
    except (FrameRejected, OSError):
        return None


def made_by_us(path: Path) -> bool:
    """Return True if a file begins as our products do, whole or not."""
    with opened(path) as stream:
        start = stream.read(64 * 2880)
    if not start.startswith(b"SIMPLE  ="):
        return False
    cards = (start[place : place + 80] for place in range(0, len(start), 80))
    header = takewhile(lambda card: card.rstrip() != b"END", cards)
    return any(card.startswith(b"CPVERS  =") for card in header)


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


_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127)}


def _time(text: str) -> datetime | None:
    """Read a date as FITS writes it, or None where it is none."""
    try:
        return datetime.fromisoformat(text.strip()) if _DATE.fullmatch(text.strip()) else None
    except ValueError:
        return None


def _order_sky(header: ProductHeader) -> None:
    """Put the world coordinates into the order and the form that FITS allows."""
    sky = [k for k in header if _is_sky(k)]
    for letter in {found[1] for k in sky if (found := re.fullmatch(r"PC\d+_\d+([A-Z]?)", k))}:
        # Where both are there, PC is what readers go by.
        for old in [k for k in sky if re.fullmatch(rf"(CD\d+_\d+|CROTA\d){letter}", k)]:
            del header[old]
            sky.remove(old)
    for axes in [k for k in sky[1:] if k.startswith("WCSAXES")]:
        header.put_before(axes, sky[0])


@lru_cache(1024)
def _is_sky(keyword: str) -> bool:
    return _SKY.fullmatch(keyword) is not None


def _card_texts(cards: Cards) -> Iterable[str]:
    """Go through the cards of a header, then of the primary one below it, as text."""
    for source in (cards,) if cards.below is None else (cards, cards.below):
        text = source.block.decode("ascii", "replace")
        texts = [text[start : start + 80] for start in range(0, len(text), 80)]
        if "CONTINUE" in text:
            texts = _joined(texts)
        yield from texts


def _joined(texts: Iterable[str]) -> list[str]:
    """Join every card with those that continue it."""
    joined: list[str] = []
    for text in texts:
        if text.startswith("CONTINUE") and joined:
            joined[-1] += text
        else:
            joined.append(text)
    return joined


_CARD = re.compile(
    r"([A-Z0-9_-]{1,8} *= |HIERARCH [A-Z0-9_-]+( [A-Z0-9_-]+)* *= ) *"
    r"('(?P<text>([^']|\'\')*)'|[TF]|[+-]?(\d+\.?\d*|\.\d+)([ED][+-]?\d+)?) *(/.*)?"
)
_KEYWORD = re.compile(r"[A-Z0-9_-]{1,8}|[A-Z0-9_-]+( [A-Z0-9_-]+)*")
_KEYWORD_FIRST = re.compile(r"(?=.{8}= )(?!HIERARCH)([A-Z0-9_-]+) *= ")
_NUMBER = re.compile(r" *([TF]|[+-]?[0-9]+(\.[0-9]*)?) *(/[ -~]*)?")


def _kept_card(text: str) -> tuple[str, str] | None:
    """Return a card that goes into a product, as keyword and text, or None if it does not."""
    keyword = _plain_keyword(text[:10])
    if keyword and len(text) == 80 and _NUMBER.fullmatch(text, 10):
        # What changes most from one frame to the next.
        return keyword, text
    return _kept_text(text)


@lru_cache(1024)
def _plain_keyword(start: str) -> str | None:
    """Return the keyword with which a card begins, if it stays and is spelled as FITS wants it."""
    found = _KEYWORD_FIRST.fullmatch(start)
    return None if found is None or _STRUCTURE.fullmatch(found[1]) else found[1]


@lru_cache(4096)
def _kept_text(text: str) -> tuple[str, str] | None:
    card = _whole_card(text)
    return None if card is None or _STRUCTURE.fullmatch(card[0]) else card


def _whole_card(text: str) -> tuple[str, str] | None:
    """Read a card, or None where FITS does not allow it."""
    if not text.isascii() or not text.isprintable():
        return None
    text = text.ljust(80)
    found = _CARD.fullmatch(text)
    if len(text) == 80 and found and (text[8] == "=" or text.startswith("HIERARCH ")):
        dated = text.startswith("DATE") and (found["text"] or "").strip()
        if dated and _time(dated) is None:
            return None
        return text[: text.find("=")].strip().removeprefix("HIERARCH").strip(), text
    # Made anew, so that odd spelling of the camera's software becomes standard.
    parsed = Cards(text.encode())
    for keyword, value in parsed.items():
        quoted = text[text.find("=") + 1 :].lstrip().startswith("'")
        if not _KEYWORD.fullmatch(keyword) or value is None or (isinstance(value, str) != quoted):
            return None
        if keyword.startswith("DATE") and quoted and value and _time(value) is None:
            return None
        try:
            name = f"HIERARCH {keyword}" if len(keyword) > 8 or " " in keyword else keyword
            image = fits.Card(name, value).image
            return (keyword, image) if len(image) == 80 else None
        except ValueError:
            return None
    return None


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
