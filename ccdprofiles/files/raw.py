"""A raw file: its header blocks, and rows of its pixels by plain reads.

Headers are read block by block without their pixels, and a card is parsed when
someone asks for it; one broken card costs that card, not the night. Pixels are
read a band of rows at a time, and never through a memory map: a file that is cut
while it is mapped kills the process.
"""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from ..errors import FrameRejected
from .cards import _END, BLOCK, Cards

__all__ = ["RawFile", "RawImage", "opened", "read_raw", "refuse_changed"]
HEADER_LIMIT = 1000 * BLOCK
HDU_LIMIT = 200
PIXEL_LIMIT = 2**31
GROWTH_LIMIT = 200
NOT_A_FILE = "it is no regular file, as a frame should be; take it out of the night."
_SHAPING = ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "BZERO", "BSCALE", "BLANK")
_CORRECT = "copy it again from the camera, or correct its header."
_PACKINGS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS")
_STORED = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


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


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, octets: memoryview, /) -> None:
        """Take in some bytes."""


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


def _whole(cards: Cards, keyword: str, default: int | None = -1) -> int | None:
    value = cards._cards.get(keyword) and cards[keyword]
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _real(cards: Cards, keyword: str, default: float) -> float:
    value = cards[keyword] if keyword in cards._cards else None
    return float(value) if isinstance(value, int | float) else default
