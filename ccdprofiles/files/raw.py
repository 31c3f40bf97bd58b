"""A raw file: its header blocks, and rows of its pixels by plain reads.

Headers are read block by block without their pixels, and a card is parsed when
someone asks for it; one broken card costs that card, not the night. Pixels are
read a band of rows at a time, and never through a memory map: a file that is cut
while it is mapped kills the process.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tempfile
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import IO, Protocol

import numpy as np

from ..errors import FrameRejected, OutputError
from .quiet import caught_warnings

__all__ = [
    "Cards",
    "Pixels",
    "RawFile",
    "RawImage",
    "card_value",
    "differing",
    "opened",
    "physical",
    "read_raw",
    "refuse_changed",
    "rows_of",
]

BLOCK = 2880
HEADER_LIMIT = 1000 * BLOCK
HDU_LIMIT = 200
PIXEL_LIMIT = 2**31
GROWTH_LIMIT = 200
TEXT_LIMIT = 1000

_PIECE = 2**19
_LARGEST = 1e15
"""No detector counts so far, and float32 holds the square of it and the sum of many."""
_ROWS = 512
_END = b"END".ljust(80)
_AGAIN = " (again)"
_ABSENT = object()
_UNVALUED = (b"COMMENT ", b"HISTORY ", b"        ", b"END     ")
NOT_A_FILE = "it is no regular file, as a frame should be; take it out of the night."
_SHAPING = ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "BZERO", "BSCALE", "BLANK")
_CORRECT = "copy it again from the camera, or correct its header."
_PACKINGS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS")
_STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


class Cards(Mapping):
    """The cards of a header, each parsed when it is asked for.

    Keywords are compared without case, with or without a leading ``HIERARCH``.
    Of a keyword that stands twice the first counts, as in astropy.

    Parameters
    ----------
    block : bytes
        Header cards of 80 bytes.
    below : Cards, optional
        Cards that hold where this header is silent: those of the primary HDU.
    """

    __slots__ = ("_again", "_cards", "_values", "below", "block")

    def __init__(self, block: bytes, below: Cards | None = None):
        self.block = block
        self.below = below
        self._values: dict[str, object] = {}
        self._cards, self._again = _places(block)

    @property
    def twice(self) -> set[str]:
        """The keywords that stand twice and say two things."""
        return {
            name
            for name in self._again
            if any(self._differ(name, self._at(n)) for n in self._cards[name + _AGAIN])
        }

    def _differ(self, name: str, card: bytes) -> bool:
        first = self._card(name)
        return first != card and card_value(first) != card_value(card)

    def _at(self, start: int) -> bytes:
        return self.block[start : start + 80]

    def _card(self, name: str) -> bytes:
        """Return the card of a keyword, and those that continue it."""
        starts = self._cards[name]
        if len(starts) == 1:
            return self._at(starts[0])
        return b"".join(self._at(start) for start in starts)

    def _said(self, keyword: str) -> object:
        """Return the value of a card, or `_ABSENT`."""
        if keyword in self._values:
            return self._values[keyword]
        name = _keyword(keyword)
        if name in self._cards:
            value = card_value(self._card(name))
        else:
            value = _ABSENT if self.below is None else self.below._said(name)
        self._values[keyword] = value
        return value

    def __reduce__(self):
        return type(self), (self.block, self.below)

    def __getitem__(self, keyword: str) -> object:
        value = self._said(keyword)
        if value is _ABSENT:
            raise KeyError(f"{keyword} is missing")
        return value

    def __contains__(self, keyword: object) -> bool:
        name = _keyword(str(keyword))
        return name in self._cards or (self.below is not None and name in self.below)

    @property
    def layout(self) -> tuple[Mapping[str, list[int]], ...]:
        """Where the cards lie, here and below: one object for all headers of a layout."""
        below = () if self.below is None else self.below.layout
        return self._cards, *below

    def record(self, name: str) -> bytes:
        """Return the bytes of a card in capital letters, unparsed; nothing where it is missing."""
        if name in self._cards:
            return self._card(name)
        return b"" if self.below is None else self.below.record(name)

    def says_two_things(self, keyword: str) -> bool:
        """Say whether a keyword stands twice where it counts, with different values."""
        name = keyword.upper().strip().removeprefix("HIERARCH ").strip()
        if name in self._cards or self.below is None:
            return name in self.twice
        return self.below.says_two_things(keyword)

    def get(self, keyword: str, default: object = None) -> object:
        """Return the value of a card, or ``default`` where it is missing or empty."""
        value = self._said(keyword)
        return default if value is _ABSENT or value is None else value

    def __iter__(self) -> Iterator[str]:
        yield from self._cards
        if self.below is not None:
            yield from (name for name in self.below if name not in self._cards)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True)
class RawImage:
    """One image of a file: where its pixels lie and how they are stored.

    Parameters
    ----------
    index : int
        The number of the HDU; the primary one is 0.
    name : str
        EXTNAME, or nothing.
    shape : tuple of int
        Rows and columns; a cube of one plane counts as that plane.
    bitpix : int
    bzero, bscale : float
    blank : int or None
    offset : int
        Of the first pixel, in bytes from the start of the unpacked file.
    packed : bool
        Whether it is tile-compressed, as in ``.fz``.
    planes : int
        More than one for a cube.
    axes : int
        More than two for a cube, though it may have one plane only.
    nbytes : int
        Of the data of its HDU.
    datasum : int or None
        The sum that its header says they have.
    """

    index: int
    name: str
    shape: tuple[int, int]
    bitpix: int
    bzero: float
    bscale: float
    blank: int | None
    offset: int
    packed: bool = False
    planes: int = 1
    axes: int = 2
    nbytes: int = 0
    datasum: int | None = None

    @property
    def stored(self) -> np.dtype:
        """The type of the pixels as the file stores them."""
        return np.dtype(_STORED[self.bitpix])


@dataclass(frozen=True)
class RawFile:
    """A file, its header and its images; no pixel is read.

    Parameters
    ----------
    path : Path
    size : int
        In bytes, as it lies on the disk.
    header : Cards
        Of the image, or of the first of several, over those of the primary HDU.
    images : tuple of RawImage
    gzipped : bool
        Told by the first bytes, not by the name.
    padded : bool
        False where the last block is shorter than FITS wants it; readable all the same.
    mtime_ns : int
        When it was last written, to know whether it is still the same file.
    end : int
        Where the data of its last HDU end, in bytes from the start of the unpacked file.
    """

    path: Path
    size: int
    header: Cards
    images: tuple[RawImage, ...]
    gzipped: bool = False
    padded: bool = field(default=True, compare=False)
    mtime_ns: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)

    @cached_property
    def shapes(self) -> dict[int | str | None, tuple[int, int]]:
        """Rows and columns by extension; None stands for the image of a file that has one."""
        shapes: dict[int | str | None, tuple[int, int]] = {}
        if len(self.images) == 1:
            shapes[None] = self.images[0].shape
        for image in self.images:
            shapes[image.index] = image.shape
            if image.name:
                shapes[image.name] = image.shape
        return shapes

    def image(self, extension: int | str | None) -> RawImage:
        """Return the image of an extension; None stands for the first."""
        for image in self.images:
            if extension in (None, image.index) or (image.name and extension == image.name):
                return image
        raise KeyError(extension)


class Pixels:
    """The pixels of a raw file, a band of rows at a time.

    Parameters
    ----------
    raw : RawFile

    Notes
    -----
    A packed file is unpacked once, into an anonymous temporary file. Several
    threads may read.
    """

    def __init__(self, raw: RawFile):
        self.raw = raw
        self._unpacked = None
        self._tiles: dict[int, tuple[IO[bytes], np.dtype]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Pixels:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what was unpacked."""
        if self._unpacked is not None:
            self._unpacked.close()
        self._unpacked = None
        for stream, _ in self._tiles.values():
            stream.close()
        self._tiles.clear()

    def unpack(self) -> None:
        """Unpack the file, if it is packed, to find out whether that can be done."""
        if self.raw.gzipped:
            with self._lock:
                if self._unpacked is None:
                    self._unpacked = _unpacked(self.raw)
        for image in self.raw.images:
            if image.packed:
                self._tiled(image)

    def rows(self, image: RawImage, first: int, stop: int, dtype: str = "f4") -> np.ndarray:
        """Read rows ``first`` (from 0) up to but without ``stop``, as floats in native order.

        Returns
        -------
        ndarray of float32 or float64, shape (stop - first, columns)
            Physical values, BSCALE and BZERO applied; BLANK is NaN.

        Raises
        ------
        FrameRejected
            ``truncated`` if the file holds fewer pixels than it says.
        """
        return physical(self.stored(image, first, stop), image, dtype)

    def stored(
        self, image: RawImage, first: int, stop: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Read rows as the file stores them; `physical` makes floats of them.

        Rows of a plain image may be read into a place that is there, of its type.
        """
        if image.packed:
            stream, dtype = self._tiled(image)
            data = np.empty((stop - first, image.shape[1]), dtype)
            offset = first * image.shape[1] * dtype.itemsize
            _fill(stream.fileno(), memoryview(data.reshape(-1).view("u1")), offset)
            return data
        columns = image.shape[1]
        offset = image.offset + first * columns * image.stored.itemsize
        data = np.empty((stop - first, columns), image.stored) if out is None else out
        self._read(memoryview(data.reshape(-1).view("u1")), offset)
        return data

    def bands(self, digest: Digest) -> Iterator[tuple[RawImage, int, np.ndarray]]:
        """Read the file once from front to back, and give the rows of all its images.

        Parameters
        ----------
        digest : hash, such as ``hashlib.sha256()``
            Told every byte of the file as it lies on the disk.

        Yields
        ------
        RawImage
        int
            The first of the rows, from 0.
        ndarray
            The rows as the file stores them. The next ones are read into the same place.

        Raises
        ------
        FrameRejected
            ``truncated`` if the file has become shorter, ``checksum`` if an image has
            another sum than its DATASUM says, or the reason why it cannot be unpacked.
        """
        if self.raw.gzipped or any(image.packed for image in self.raw.images):
            yield from self._unpacked_bands(digest)
            return
        with opened(self.raw.path) as stream:
            passage = _Passage(stream.fileno(), digest)
            for image in self.raw.images:
                passage.go_to(image.offset)
                first = total = 0
                row = image.shape[1] * image.stored.itemsize
                stop = image.offset + image.shape[0] * row
                # Four rows are always a multiple of the four bytes that DATASUM adds up.
                some = max(4, _PIECE // row // 4 * 4)
                for piece in passage.pieces(stop, some * row):
                    total += 0 if image.datasum is None else _sum32(piece)
                    band = np.frombuffer(piece, image.stored).reshape(-1, image.shape[1])
                    yield image, first, band
                    first += len(band)
                if image.datasum is None:
                    continue
                if stop == image.offset + image.nbytes:
                    _refuse_sum(image, total)
                else:
                    self.datasum(image)  # of a cube all planes
            passage.go_to(self.raw.size)

    def _unpacked_bands(self, digest: Digest) -> Iterator[tuple[RawImage, int, np.ndarray]]:
        with opened(self.raw.path) as stream:
            hashlib.file_digest(stream, lambda: digest)
        for image in self.raw.images:
            if image.datasum is not None:
                self.datasum(image)
        self.unpack()
        for image in self.raw.images:
            rows = image.shape[0]
            for first in range(0, rows, _ROWS):
                yield image, first, self.stored(image, first, min(first + _ROWS, rows))

    def datasum(self, image: RawImage) -> int:
        """Add up the bytes of an image as DATASUM does.

        Raises
        ------
        FrameRejected
            ``checksum`` if its header says another sum.
        """
        total = 0
        for start in range(image.offset, image.offset + image.nbytes, _PIECE):
            piece = memoryview(bytearray(min(_PIECE, image.offset + image.nbytes - start)))
            self._read(piece, start)
            total += _sum32(piece)
        return _refuse_sum(image, total)

    def _read(self, buffer: memoryview, offset: int) -> None:
        if self.raw.gzipped:
            self.unpack()
            _fill(self._unpacked.fileno(), buffer, offset)
            return
        descriptor = _descriptor(self.raw.path)
        try:
            _refuse_other(os.fstat(descriptor), self.raw)
            _fill(descriptor, buffer, offset)
        finally:
            os.close(descriptor)

    def _decoded(self, image: RawImage) -> np.ndarray:
        """Let astropy unpack the tiles of an image; a warning of its decoders refuses it."""
        from astropy.io import fits

        with (
            opened(self.raw.path) as file,
            caught_warnings() as caught,
            fits.open(file, memmap=False) as hdus,
        ):
            _refuse_other(os.fstat(file.fileno()), self.raw)
            tiles = hdus[image.index].data.reshape(image.shape)
        # Others are of cards, such as a BLANK of real numbers, which decide no pixel.
        spoilt = [str(w.message) for w in caught if "decompress" in str(w.message)]
        if spoilt:
            raise ValueError(spoilt[0])
        return tiles

    def _tiled(self, image: RawImage) -> tuple[IO[bytes], np.dtype]:
        """Unpack the tiles of an image into a temporary file."""
        with self._lock:
            if image.index not in self._tiles:
                try:
                    tiles = self._decoded(image)
                except (FrameRejected, OutputError):
                    raise
                except Exception as error:  # the decoders raise whatever they like
                    raise FrameRejected(
                        "tiles", f"its pixels cannot be unpacked ({error}); copy it again."
                    ) from error
                stream = _temporary()
                native = tiles.astype(tiles.dtype.newbyteorder("="), copy=False)
                _put(stream, np.ascontiguousarray(native).data)
                self._tiles[image.index] = (stream, native.dtype)
            return self._tiles[image.index]


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, octets: memoryview, /) -> None:
        """Take in some bytes."""


class _Passage:
    """A file that is read once from front to back, every byte of it told to a digest."""

    def __init__(self, descriptor: int, digest: Digest):
        self._descriptor = descriptor
        self._digest = digest
        self._buffer = memoryview(b"")
        self._position = 0

    def pieces(self, stop: int, size: int = _PIECE) -> Iterator[memoryview]:
        """Read up to a place, each piece into the memory of the one before it."""
        while self._position < stop:
            size = min(size, stop - self._position)
            if len(self._buffer) < size:
                self._buffer = memoryview(np.empty(size, "u1"))
            piece = self._buffer[:size]
            _fill(self._descriptor, piece, self._position)
            self._digest.update(piece)
            self._position += size
            yield piece

    def go_to(self, place: int) -> None:
        """Read what lies before a place and is no pixel."""
        for _ in self.pieces(place):
            pass


def read_raw(path: Path) -> RawFile:
    """Read the headers of a FITS file, plain, gzipped or tile-compressed.

    Raises
    ------
    FrameRejected
        ``not-a-file``, ``empty``, ``not-fits``, ``fits``, ``truncated``, ``gzip``,
        ``naxis``, ``bitpix``, ``too-big``, ``no-image`` or ``cube``.
    OSError
        If the file cannot be opened.
    """
    with opened(path) as plain:
        found = os.fstat(plain.fileno())
        size = found.st_size
        if size == 0:
            raise FrameRejected("empty", "it holds no byte; copy it again from the camera.")
        start = plain.read(4 * BLOCK)
        gzipped = start[:2] == b"\x1f\x8b"
        try:
            if gzipped:
                plain.seek(0)
                with gzip.open(plain) as unpacked:
                    return _walk(path, unpacked, unpacked.read(4 * BLOCK), found, True)
            return _walk(path, plain, start, found, False)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FrameRejected(
                "gzip", f"it cannot be unpacked ({error}); copy it again from the camera."
            ) from error


def opened(path: Path) -> IO[bytes]:
    """Open a regular file for reading; a FIFO in its place would keep us waiting for ever.

    Raises
    ------
    FrameRejected
        ``not-a-file``
    OSError
    """
    return os.fdopen(_descriptor(path), "rb", buffering=0)


def _descriptor(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FrameRejected("not-a-file", NOT_A_FILE)
    return descriptor


def refuse_changed(raw: RawFile) -> None:
    """Refuse a file that is no longer the one whose header was read.

    Raises
    ------
    FrameRejected
        ``changed``
    OSError
    """
    _refuse_other(os.stat(raw.path), raw)


def _refuse_other(now: os.stat_result, raw: RawFile) -> None:
    if (now.st_size, now.st_mtime_ns) != (raw.size, raw.mtime_ns):
        raise FrameRejected("changed", "it changed while it was read; copy it again.")


def _walk(path: Path, stream, start: bytes, file: os.stat_result, gzipped: bool) -> RawFile:
    """Go from header to header; the pixels between them are stepped over."""
    size = file.st_size
    if start[:9] != b"SIMPLE  =":
        raise FrameRejected(
            "not-fits",
            "it does not begin with SIMPLE; it is no FITS file, whatever its name; "
            "copy it again, or take it out of the night.",
        )
    images: list[RawImage] = []
    primary = chosen = None
    position = 0
    padded = True
    room = HEADER_LIMIT
    for index in range(HDU_LIMIT + 1):
        block, position = _header(stream, start, position, room)
        if block is None:
            break
        if index == HDU_LIMIT:
            raise FrameRejected(
                "fits",
                f"it holds more than {HDU_LIMIT} HDUs, where a raw frame has a few; "
                "take it out of the night.",
            )
        start = b""
        room -= len(block)
        cards = Cards(block, primary)
        primary = primary or cards
        image, nbytes = _image(cards, index, position)
        end = position + nbytes
        if gzipped and end > GROWTH_LIMIT * size:
            raise FrameRejected(
                "gzip",
                f"its {size} bytes would unpack to {end}, more than {GROWTH_LIMIT} times as many, "
                "as no picture does; take it out of the night, or unpack it.",
            )
        there = min(end, stream.seek(end)) if gzipped else size
        if end > there:
            raise FrameRejected(
                "truncated",
                f"its header promises {end} bytes and it has {there}; copy it again from the camera.",
            )
        if image is not None:
            if image.packed:
                _refuse_growth(cards, image, size)
            chosen = chosen or cards
            images.append(image)
        position = -(-end // BLOCK) * BLOCK
        if not gzipped and position >= size:
            padded = position == size
            break
    if not images:
        raise FrameRejected(
            "no-image",
            "it holds no image, only tables or headers; take it out of the night.",
        )
    return RawFile(path, size, chosen, tuple(images), gzipped, padded, file.st_mtime_ns, end)


def _header(stream, start: bytes, position: int, room: int) -> tuple[bytes | None, int]:
    """Read header blocks up to END; None where the file has no further HDU."""
    block = start
    if not block:
        stream.seek(position)
        block = stream.read(4 * BLOCK)
    if not block:
        return None, position
    if position and not block.startswith(b"XTENSION"):
        return None, position
    searched = 0
    while True:
        end = block.find(_END, searched)
        while end % 80 and end > 0:
            end = block.find(_END, end + 1)
        if end >= 0:
            length = -(-(end + 80) // BLOCK) * BLOCK
            return block[:end], position + length
        if len(block) > room:
            raise FrameRejected(
                "fits",
                f"its header is longer than {HEADER_LIMIT} bytes, more than any camera writes; "
                "copy it again, or take it out of the night.",
            )
        searched = max(0, len(block) - 80)
        more = stream.read(16 * BLOCK)
        if not more:
            raise FrameRejected("fits", "its header has no END; copy it again from the camera.")
        block += more


def _image(cards: Cards, index: int, offset: int) -> tuple[RawImage | None, int]:
    """Describe the data of one HDU, and count their bytes."""
    bitpix = _whole(cards, "BITPIX")
    naxis = _whole(cards, "NAXIS")
    if bitpix not in _STORED:
        raise FrameRejected("bitpix", f"BITPIX = {bitpix} is none of {sorted(_STORED)}; {_CORRECT}")
    if not 0 <= naxis <= 99:
        raise FrameRejected("naxis", f"NAXIS = {naxis} is no number of axes; {_CORRECT}")
    axes = [_whole(cards, f"NAXIS{i + 1}") for i in range(naxis)]
    if min(axes, default=0) < 0:
        raise FrameRejected("naxis", f"an axis of {min(axes)} pixels cannot be; {_CORRECT}")
    groups = (_whole(cards, "GCOUNT", 1), _whole(cards, "PCOUNT", 0)) if index else (1, 0)
    kind = str(cards.get("XTENSION", "IMAGE")).strip() if index else "IMAGE"
    if min(groups) < 0 or (kind == "IMAGE" and groups[0] == 0):
        raise FrameRejected("fits", f"GCOUNT, PCOUNT = {groups} cannot be; {_CORRECT}")
    nbytes = abs(bitpix) // 8 * groups[0] * (groups[1] + prod(axes)) if axes else 0
    packed = cards.get("ZIMAGE") is True and "ZBITPIX" in cards
    if packed:
        bitpix = _whole(cards, "ZBITPIX")
        if bitpix not in _STORED:
            raise FrameRejected(
                "bitpix", f"ZBITPIX = {bitpix} is none of {sorted(_STORED)}; {_CORRECT}"
            )
        if str(cards.get("ZCMPTYPE")).strip() not in _PACKINGS:
            # astropy would take RICE_1 for it, and make noise of the picture.
            raise FrameRejected(
                "tiles",
                f"ZCMPTYPE = {cards.get('ZCMPTYPE')!r} is none of {', '.join(_PACKINGS)}; "
                f"{_CORRECT}",
            )
        axes = [_whole(cards, f"ZNAXIS{i + 1}") for i in range(min(_whole(cards, "ZNAXIS"), 99))]
    elif kind != "IMAGE":
        return None, nbytes
    if len(axes) < 2 or 0 in axes:
        return None, nbytes
    if min(axes) < 0:
        raise FrameRejected("naxis", f"an axis of {min(axes)} pixels cannot be; {_CORRECT}")
    if prod(axes) > PIXEL_LIMIT:
        raise FrameRejected(
            "too-big",
            f"it declares {' x '.join(map(str, axes))} pixels, more than the {PIXEL_LIMIT} "
            f"that a frame may have; {_CORRECT}",
        )
    if packed is False:
        _refuse_scaling(cards)
    summed = str(cards.get("DATASUM", "")).strip() if "DATASUM" in cards._cards else ""
    image = RawImage(
        index=index,
        name=str(cards.get("EXTNAME", "")).strip() if "EXTNAME" in cards._cards else "",
        shape=(axes[1], axes[0]),
        bitpix=bitpix,
        bzero=_real(cards, "BZERO", 0.0),
        bscale=_real(cards, "BSCALE", 1.0),
        blank=_whole(cards, "ZBLANK" if packed else "BLANK", None),
        offset=offset,
        packed=packed,
        planes=prod(axes[2:]),
        axes=len(axes),
        nbytes=nbytes,
        datasum=int(summed) if summed.isdecimal() and len(summed) <= 10 else None,
    )
    return image, nbytes


def _refuse_scaling(cards: Cards) -> None:
    """Refuse pixels that could not be turned into numbers, or into which ones is not clear."""
    for keyword in ("BZERO", "BSCALE"):
        said = cards[keyword] if keyword in cards._cards else None
        if said is None:
            continue
        number = isinstance(said, int | float) and not isinstance(said, bool)
        if not (number and abs(said) < 1e300) or (keyword == "BSCALE" and said == 0):
            raise FrameRejected(
                "scaling", f"{keyword} = {said!r} makes no number of a pixel; {_CORRECT}"
            )
    for keyword in cards.twice:
        if keyword in _SHAPING:
            raise FrameRejected(
                "twice",
                f"{keyword} stands twice in its header and says two things; correct the header.",
            )


def _refuse_growth(cards: Cards, image: RawImage, size: int) -> None:
    """Refuse tiles that would unpack to far more than any picture does."""
    tile = [_whole(cards, f"ZTILE{i + 1}", 1) for i in range(image.axes)]
    largest = max(prod(image.shape) * image.planes, prod(tile)) * image.stored.itemsize
    if largest > GROWTH_LIMIT * size or min(tile) < 1:
        raise FrameRejected(
            "tiles",
            f"its {size} bytes would unpack to {largest} in tiles of "
            f"{' x '.join(map(str, tile))} pixels, as no picture does; "
            "take it out of the night, or unpack it.",
        )


def rows_of(band: np.ndarray, first: int, rows: slice) -> tuple[int, np.ndarray]:
    """Return those of a band's rows that belong to some rows, and which of these is the first.

    Parameters
    ----------
    band : ndarray, shape (rows, columns)
    first : int
        The number of its first row.
    rows : slice
    """
    start = max(first, rows.start)
    stop = max(start, min(first + len(band), rows.stop))
    return start - rows.start, band[start - first : stop - first]


def physical(
    data: np.ndarray, image: RawImage, dtype: str = "f4", out: np.ndarray | None = None
) -> np.ndarray:
    """Turn stored into physical values; unsigned 16 bits are exact in float32.

    Infinity, and what is further from zero than 1e15, is no data: it becomes NaN.

    Parameters
    ----------
    data : ndarray
        Of `Pixels.stored`, or a part of it; left as it is.
    image : RawImage
    dtype : str
    out : ndarray, optional
        Filled and returned instead of a new array.

    Returns
    -------
    ndarray in native order
    """
    stored, values = data, np.empty(data.shape, dtype) if out is None else out
    unsigned = image.bitpix == 16 and image.blank is None
    if unsigned and not image.packed and (image.bzero, image.bscale) == (32768, 1):
        native = data.astype("i2").view("u2")
        native ^= 0x8000
        values[...] = native
        return values
    unscaled = image.packed or (image.bzero == 0 and image.bscale == 1)
    if image.bitpix == 64 and not image.packed and (image.bzero, image.bscale) == (2**63, 1):
        # Unsigned 64 bits, of which a sum in float64 would keep multiples of 1024 only.
        unscaled = True
        data = data.astype("i8").view("u8") ^ np.uint64(2**63)
    # Numbers that float32 cannot hold and NaN of other kinds make numpy warn.
    with np.errstate(over="ignore", invalid="ignore"):
        if unscaled:
            values[...] = data
        else:
            values[...] = data * np.float64(image.bscale) + image.bzero
    farthest = 2.0 ** (8 * data.dtype.itemsize)
    if not unscaled:
        farthest = abs(image.bscale) * farthest + abs(image.bzero)
    if data.dtype.kind == "f" or farthest > _LARGEST:
        _drop_impossible(values)
    if image.bitpix > 0 and image.blank is not None and not image.packed:
        values[stored == image.blank] = np.nan
    return values


def _drop_impossible(values: np.ndarray) -> None:
    """Make NaN of infinity and of numbers that no detector counts."""
    with np.errstate(invalid="ignore"):
        # A pixel without a value makes both ends NaN, and every pixel is looked at.
        if values.size and values.min() >= -_LARGEST and values.max() <= _LARGEST:
            return
        # A signalling NaN, which makes numpy warn later, becomes a quiet one.
        values[~(np.abs(values) <= _LARGEST)] = np.nan


def _sum32(octets: memoryview) -> int:
    """Add up numbers of 32 bits, the last of which may lack some."""
    if len(octets) % 4:
        octets = bytes(octets) + b"\0" * (-len(octets) % 4)
    return int(np.frombuffer(octets, ">u4").sum(dtype="u8"))


def _refuse_sum(image: RawImage, total: int) -> int:
    """Hold a sum against DATASUM; return it as that would say it."""
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    # CHECKSUM is not asked: who corrects a card by hand leaves it wrong.
    if image.datasum not in (None, total):
        raise FrameRejected(
            "checksum",
            f"DATASUM = {image.datasum} in its header and {total} in its pixels, which should "
            "agree; copy it again from the camera.",
        )
    return total


def _fill(descriptor: int, buffer: memoryview, offset: int) -> None:
    """Read a buffer full."""
    done = 0
    while done < len(buffer):
        step = os.preadv(descriptor, [buffer[done:]], offset + done)
        if step == 0:
            raise FrameRejected(
                "truncated", "it ends before its last pixel; copy it again from the camera."
            )
        done += step


def _unpacked(raw: RawFile):
    """Unpack a gzipped file into an anonymous temporary one, within limits."""
    # What its headers promise, and no more: a few bytes can unpack to a full disk.
    limit = raw.end + HEADER_LIMIT
    out = _temporary()
    try:
        with opened(raw.path) as plain, gzip.open(plain) as packed:
            _refuse_other(os.fstat(plain.fileno()), raw)
            while chunk := packed.read(2**20):
                _put(out, chunk)
                if out.tell() > limit:
                    raise FrameRejected(
                        "gzip",
                        f"it unpacks to more than the {raw.end} bytes that its headers promise; "
                        "take it out of the night, or unpack it.",
                    )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        out.close()
        raise FrameRejected(
            "gzip", f"it cannot be unpacked ({error}); copy it again from the camera."
        ) from error
    except BaseException:
        out.close()
        raise
    return out


def _temporary() -> IO[bytes]:
    """Open an anonymous temporary file, to be closed by the caller."""
    try:
        return tempfile.TemporaryFile(prefix="ccdprofiles-")
    except OSError as error:
        raise _no_room(error) from error


def _put(out: IO[bytes], octets: bytes | memoryview) -> None:
    """Write to a temporary file; that its disk is full is no fault of the frame."""
    try:
        out.write(octets)
        out.flush()
    except OSError as error:
        with suppress(OSError):
            out.close()
        raise _no_room(error) from error


def _no_room(error: OSError) -> OutputError:
    folder = tempfile.tempdir or "the temporary folder"
    return OutputError(
        f"packed frames cannot be unpacked in {folder} ({error.strerror or error}); make room "
        "there, or name another folder with TMPDIR."
    )


def _whole(cards: Cards, keyword: str, default: int | None = -1) -> int | None:
    value = cards._cards.get(keyword) and cards[keyword]
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _real(cards: Cards, keyword: str, default: float) -> float:
    value = cards[keyword] if keyword in cards._cards else None
    return float(value) if isinstance(value, int | float) else default


def _places(block: bytes) -> tuple[Mapping[str, list[int]], tuple[str, ...]]:
    """Find where each keyword's cards begin, and the keywords that stand twice.

    The frames of a camera have the same keywords in the same places, so that they are
    looked for once. A long keyword does not show in the first columns.
    """
    if len(block) % 80 or b"HIERARCH" in block:
        return _index([block[n : n + 80] for n in range(0, len(block), 80)])
    return _shared_places(np.frombuffer(block, "u1").reshape(-1, 80)[:, :9].tobytes())


@lru_cache(1024)
def _shared_places(words: bytes) -> tuple[Mapping[str, list[int]], tuple[str, ...]]:
    return _index([words[n : n + 9] for n in range(0, len(words), 9)])


def _index(cards: list[bytes]) -> tuple[Mapping[str, list[int]], tuple[str, ...]]:
    places: dict[str, list[int]] = {}
    last = ""
    for number, card in enumerate(cards):
        word = card[:8]
        if word in _UNVALUED:
            continue
        if word == b"CONTINUE":
            if not last.endswith(_AGAIN):
                places.setdefault(last, []).append(80 * number)
            continue
        if word == b"HIERARCH":
            name = card[9 : max(card.find(b"="), 9)]
        elif card[8:9] == b"=":
            name = word
        else:
            continue
        last = name.strip().upper().decode("ascii", "replace")
        if last in places:
            last += _AGAIN
        places.setdefault(last, []).append(80 * number)
    again = (name.removesuffix(_AGAIN) for name in places if name.endswith(_AGAIN))
    return MappingProxyType(places), tuple(name for name in again if name in places)


@lru_cache(1024)
def _keyword(keyword: str) -> str:
    return keyword.upper().strip().removeprefix("HIERARCH ").strip()


def differing(headers: Sequence[Cards]) -> set[str]:
    """Return the keywords whose cards are not the same bytes in all of some headers."""
    first = headers[0]
    words: set[str] = set()
    unlike = np.zeros(len(first.block) // 80, bool)
    for header in headers[1:]:
        if header.block == first.block:
            continue
        if header._cards is first._cards and len(header.block) == len(first.block):
            one, two = (np.frombuffer(h.block, "u8").reshape(-1, 10) for h in (first, header))
            unlike |= (one != two).any(axis=1)
        else:
            names = {*first._cards, *header._cards}
            words.update(n for n in names if first.record(n) != header.record(n))
    for name, starts in first._cards.items() if unlike.any() else ():
        if any(unlike[start // 80] for start in starts):
            words.add(name)
    below = [header.below for header in headers if header.below is not None]
    if len(below) == len(headers):
        words |= differing(below) - set(first._cards)
    return {name.removesuffix(_AGAIN) for name in words}


# Of one frame to the next few cards change: camera, filter and exposure are parsed once.
@lru_cache(4096)
def card_value(card: bytes) -> object:
    """Parse the value of a card; what cannot be parsed is its own text."""
    text = card.decode("ascii", "replace")
    if not text.isprintable():
        # What a terminal or a table would obey.
        text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    field = text[9:80] if not text.startswith("HIERARCH") else text[text.find("=") + 1 : 80]
    field = field.strip()
    if field.startswith("'"):
        if len(card) > 80:
            return _continued(text)
        return _quoted(field)[0].rstrip()
    field = field.split("/", 1)[0].strip()
    if not field:
        return None
    if field in ("T", "F"):
        return field == "T"
    if "_" not in field:
        for parse in (int, float):
            try:
                return parse(field)
            except ValueError:
                pass
        try:
            return float(field.upper().replace("D", "E"))
        except ValueError:
            pass
    return field


def _quoted(field: str) -> tuple[str, bool]:
    """Read a text between quotes, in which a doubled quote is one; and whether it was closed."""
    text = []
    position = 1
    while True:
        end = field.find("'", position)
        if end < 0:
            return "".join([*text, field[position:]]), False
        text.append(field[position:end])
        if field[end + 1 : end + 2] != "'":
            return "".join(text), True
        text.append("'")
        position = end + 2


def _continued(text: str) -> str:
    """Join a text that goes on in CONTINUE cards."""
    whole = ""
    for start in range(0, len(text), 80):
        card = text[start : start + 80]
        part = _quoted(card[card.find("'") :])[0] if "'" in card else ""
        whole = whole.rstrip()
        whole = (whole[:-1] if whole.endswith("&") else whole) + part
        if len(whole) > TEXT_LIMIT:
            return whole[:TEXT_LIMIT]
    return whole.rstrip()
