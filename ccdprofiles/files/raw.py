"""Raw frames as files: their headers and images, described without reading pixels.

A card is parsed when it is needed, so an invalid card does not affect the rest of the night.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from pathlib import Path

import numpy as np

from ..errors import FrameRejected
from .cards import BLOCK, Cards
from .hdus import CORRECT, HDU, STORED, Stream, hdus_of, integer, is_integer, padded
from .reading import opened

__all__ = ["RawFile", "RawImage", "read_raw", "refuse_changed"]

PIXEL_LIMIT = 2**31
GROWTH_LIMIT = 200
_SHAPING = ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "BZERO", "BSCALE", "BLANK")
_PACKINGS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1", "NOCOMPRESS")


@dataclass(frozen=True)
class RawImage:
    """One image of a file: the position of its pixels and how they are stored.

    Parameters
    ----------
    index : int
        The number of the HDU; the primary one is 0.
    name : str
        EXTNAME, or empty.
    shape : tuple of int
        Rows and columns; a cube of one plane counts as that plane.
    bitpix : int
    bzero, bscale : float
    blank : int or None
    offset : int
        Of the first pixel, in bytes from the start of the decompressed file.
    packed : bool
        Whether it is tile-compressed, as in ``.fz``.
    planes : int
        More than one for a cube.
    axes : int
        More than two for a cube, even with a single plane.
    nbytes : int
        Of the data of its HDU.
    datasum : int or None
        The sum of these in the header.
    version : int
        EXTVER, or 1.
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
    version: int = 1

    @property
    def stored(self) -> np.dtype:
        """The type of the pixels as the file stores them."""
        return np.dtype(STORED[self.bitpix])


@dataclass(frozen=True)
class RawFile:
    """A file, its header and its images; no pixel is read.

    Parameters
    ----------
    path : Path
    size : int
        In bytes, on the disk.
    header : Cards
        Of the image, or of the first of several, over those of the primary HDU.
    images : tuple of RawImage
    gzipped : bool
        As its first bytes show, not its name.
    padded : bool
        False if the last block is shorter than FITS requires; the file is still readable.
    mtime_ns : int
        Time of its last change, to check that it is still the same file.
    end : int
        Where the data of its last HDU end, in bytes from the start of the decompressed file.
    image_headers : tuple of Cards
        Of each image, over those of the primary HDU.
    names : tuple of str
        EXTNAME of all images of the file, if ``images`` are only those of one chip.
    """

    path: Path
    size: int
    header: Cards
    images: tuple[RawImage, ...]
    gzipped: bool = False
    padded: bool = field(default=True, compare=False)
    mtime_ns: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)
    image_headers: tuple[Cards, ...] = field(default=(), compare=False, repr=False)
    names: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @cached_property
    def extensions(self) -> dict[int | str | None, int]:
        """The place in ``images`` by extension: by its number, its name, and its name and version.

        None means the image of a file that has one; a version counts only where names are equal.
        """
        extensions: dict[int | str | None, int] = {None: 0} if len(self.images) == 1 else {}
        names = self.names or tuple(image.name for image in self.images)
        for place, image in enumerate(self.images):
            extensions[image.index] = place
            if image.name:
                extensions.setdefault(image.name, place)
                if names.count(image.name) > 1:
                    extensions.setdefault(f"{image.name},{image.version}", place)
        return extensions

    @cached_property
    def shapes(self) -> dict[int | str | None, tuple[int, int]]:
        """Rows and columns by extension; None means the image of a file that has one."""
        return {name: self.images[place].shape for name, place in self.extensions.items()}

    @property
    def headers(self) -> dict[int | str | None, Cards]:
        """The header of each extension, over that of the primary HDU."""
        headers = self.image_headers
        return {name: headers[place] for name, place in self.extensions.items()} if headers else {}

    def image(self, extension: int | str | None) -> RawImage:
        """Return the image of an extension; None means the first."""
        return self.images[0 if extension is None else self.extensions[extension]]

    def only(self, extensions: Iterable[int | str | None]) -> RawFile:
        """Return the same file with only the images of some extensions, and their headers."""
        places = sorted({self.extensions[extension] for extension in extensions})
        headers = tuple(self.image_headers[place] for place in places)
        return replace(
            self,
            header=headers[0],
            images=tuple(self.images[place] for place in places),
            image_headers=headers,
            names=self.names or tuple(image.name for image in self.images),
        )

    def without_headers(self) -> RawFile:
        """Return the same file without the headers of its images, for other processes."""
        return replace(self, image_headers=())


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
        file = os.fstat(plain.fileno())
        if file.st_size == 0:
            raise FrameRejected("empty", "it is empty; copy it again from the camera.")
        start = plain.read(4 * BLOCK)
        gzipped = start[:2] == b"\x1f\x8b"
        try:
            if gzipped:
                plain.seek(0)
                with gzip.open(plain) as unpacked:
                    return _described(path, unpacked, unpacked.read(4 * BLOCK), file, True)
            return _described(path, plain, start, file, False)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FrameRejected(
                "gzip", f"it cannot be decompressed ({error}); copy it again from the camera."
            ) from error


def refuse_changed(raw: RawFile, now: os.stat_result | None = None) -> None:
    """Refuse a file if it is no longer the one whose header was read.

    Parameters
    ----------
    raw : RawFile
    now : stat_result, optional
        Of the file if it is open.

    Raises
    ------
    FrameRejected
        ``changed``
    OSError
    """
    now = os.stat(raw.path) if now is None else now
    if (now.st_size, now.st_mtime_ns) != (raw.size, raw.mtime_ns):
        raise FrameRejected("changed", "it changed while it was read; copy it again.")


def _described(
    path: Path, stream: Stream, start: bytes, file: os.stat_result, gzipped: bool
) -> RawFile:
    """Describe the images of a file from its headers."""
    images: list[RawImage] = []
    headers: list[Cards] = []
    size = file.st_size
    for hdu in hdus_of(stream, start, None if gzipped else size):
        image = _image(hdu)
        _refuse_cut(hdu, stream, size, gzipped)
        if image is not None:
            if image.packed:
                _refuse_growth(hdu.cards, image, size)
            headers.append(hdu.cards)
            images.append(image)
    if not images:
        raise FrameRejected(
            "no-image",
            "it contains no image, only tables or headers; remove it from the night.",
        )
    return RawFile(
        path,
        size,
        headers[0],
        tuple(images),
        gzipped,
        padded=gzipped or padded(hdu.end) <= size,
        mtime_ns=file.st_mtime_ns,
        end=hdu.end,
        image_headers=tuple(headers),
    )


def _refuse_cut(hdu: HDU, stream: Stream, size: int, gzipped: bool) -> None:
    """Refuse a file that is too short for its data, or that decompresses to far too much."""
    if gzipped and hdu.end > GROWTH_LIMIT * size:
        raise FrameRejected(
            "gzip",
            f"its {size} bytes would decompress to {hdu.end}, more than {GROWTH_LIMIT} times as many, "
            "which is impossible for an image; remove it from the night, or decompress it by hand.",
        )
    there = min(hdu.end, stream.seek(hdu.end)) if gzipped else size
    if hdu.end > there:
        raise FrameRejected(
            "truncated",
            f"its header requires {hdu.end} bytes, but it has {there}; "
            "copy it again from the camera.",
        )


def _image(hdu: HDU) -> RawImage | None:
    """Describe the image of an HDU; None if it has none."""
    cards = hdu.cards
    packed = cards.get("ZIMAGE") is True and "ZBITPIX" in cards
    if not packed and hdu.kind != "IMAGE":
        return None
    prefix = "Z" if packed else ""
    bitpix = integer(cards, f"{prefix}BITPIX")
    if packed:
        _refuse_packing(cards, bitpix)
    naxis = min(integer(cards, f"{prefix}NAXIS"), 99)
    axes = [integer(cards, f"{prefix}NAXIS{i + 1}") for i in range(naxis)]
    if len(axes) < 2 or 0 in axes:
        return None
    if min(axes) < 0:
        raise FrameRejected("naxis", f"an axis of {min(axes)} pixels is not possible; {CORRECT}")
    if prod(axes) > PIXEL_LIMIT:
        raise FrameRejected(
            "too-big",
            f"it declares {' x '.join(map(str, axes))} pixels, more than the {PIXEL_LIMIT} "
            f"that a frame may have; {CORRECT}",
        )
    if not packed:
        _refuse_scaling(cards)
    blank = cards.own(f"{prefix}BLANK")
    datasum = str(cards.own("DATASUM", "")).strip()
    return RawImage(
        index=hdu.index,
        name=str(cards.own("EXTNAME", "")).strip(),
        shape=(axes[1], axes[0]),
        bitpix=bitpix,
        bzero=_real(cards, "BZERO", 0.0),
        bscale=_real(cards, "BSCALE", 1.0),
        blank=blank if is_integer(blank) else None,
        offset=hdu.data,
        packed=packed,
        planes=prod(axes[2:]),
        axes=len(axes),
        nbytes=hdu.nbytes,
        datasum=int(datasum) if datasum.isdecimal() and len(datasum) <= 10 else None,
        version=integer(cards, "EXTVER", 1),
    )


def _refuse_packing(cards: Cards, bitpix: int) -> None:
    if bitpix not in STORED:
        raise FrameRejected(
            "bitpix", f"ZBITPIX = {bitpix} is not one of {sorted(STORED)}; {CORRECT}"
        )
    packing = cards.get("ZCMPTYPE")
    if str(packing).strip() not in _PACKINGS:
        # astropy would take it for RICE_1, and turn the image into noise.
        raise FrameRejected(
            "tiles", f"ZCMPTYPE = {packing!r} is not one of {', '.join(_PACKINGS)}; {CORRECT}"
        )


def _refuse_scaling(cards: Cards) -> None:
    """Refuse pixels that cannot be scaled, or whose shape or scale is ambiguous."""
    for keyword in ("BZERO", "BSCALE"):
        value = cards.own(keyword)
        if value is None:
            continue
        number = (
            isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
        )
        if not number or (keyword == "BSCALE" and value == 0):
            raise FrameRejected(
                "scaling", f"{keyword} = {value!r} does not give valid pixel values; {CORRECT}"
            )
    for keyword in cards.conflicting:
        if keyword in _SHAPING:
            raise FrameRejected(
                "twice",
                f"{keyword} occurs twice in its header with different values; correct the header.",
            )


def _refuse_growth(cards: Cards, image: RawImage, size: int) -> None:
    """Refuse tiles that would decompress to far more than any image."""
    tile = [integer(cards, f"ZTILE{i + 1}", 1) for i in range(image.axes)]
    largest = max(prod(image.shape) * image.planes, prod(tile)) * image.stored.itemsize
    if largest > GROWTH_LIMIT * size or min(tile) < 1:
        raise FrameRejected(
            "tiles",
            f"its {size} bytes would decompress to {largest} in tiles of "
            f"{' x '.join(map(str, tile))} pixels, which is impossible for an image; "
            "remove it from the night, or decompress it by hand.",
        )


def _real(cards: Cards, keyword: str, default: float) -> float:
    value = cards.own(keyword)
    return float(value) if isinstance(value, int | float) else default
