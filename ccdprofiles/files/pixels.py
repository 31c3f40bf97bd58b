"""Pixels of a raw frame, read in bands of rows and checked against its sums."""

from __future__ import annotations

import gzip
import os
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import IO

import numpy as np

from ..errors import FrameRejected, OutputError
from .checksum import folded, word_sum
from .hdus import HEADER_LIMIT
from .quiet import caught_warnings
from .raw import RawFile, RawImage, refuse_changed
from .reading import PIECE, Digest, Passage, fill, opened

__all__ = ["Pixels", "physical", "rows_of"]

_LARGEST = 1e15
"""More than any detector counts; float32 can represent its square and the sum of many."""
_ROWS = 512


class Pixels:
    """The pixels of a raw file, a band of rows at a time.

    Parameters
    ----------
    raw : RawFile

    Notes
    -----
    A compressed file is decompressed once, into an anonymous temporary file. Several
    threads may read.
    """

    def __init__(self, raw: RawFile):
        self.raw = raw
        self._unpacked: IO[bytes] | None = None
        self._tiles: dict[int, tuple[IO[bytes], np.dtype]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Pixels:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Delete what was decompressed."""
        if self._unpacked is not None:
            self._unpacked.close()
        self._unpacked = None
        for stream, _ in self._tiles.values():
            stream.close()
        self._tiles.clear()

    def unpack(self) -> None:
        """Decompress the file if it is compressed, which shows whether that can be done."""
        if self.raw.gzipped:
            self._unpacked_file()
        for image in self.raw.images:
            if image.packed:
                self._tiled(image)

    def rows(self, image: RawImage, first: int, stop: int, dtype: str = "f4") -> np.ndarray:
        """Read rows ``first`` (from 0) to ``stop`` (exclusive) as floats in native order.

        Returns
        -------
        ndarray of float32 or float64, shape (stop - first, columns)
            Physical values, BSCALE and BZERO applied; BLANK is NaN.

        Raises
        ------
        FrameRejected
            ``truncated`` if the file contains fewer pixels than its header requires.
        """
        return physical(self.stored(image, first, stop), image, dtype)

    def stored(
        self, image: RawImage, first: int, stop: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Read rows as the file stores them; `physical` makes floats of them.

        Rows of an image that is not tile-compressed may be read into ``out``.
        """
        if image.packed:
            stream, dtype = self._tiled(image)
            data = np.empty((stop - first, image.shape[1]), dtype)
            offset = first * image.shape[1] * dtype.itemsize
            fill(stream.fileno(), data.reshape(-1).view("u1").data, offset)
            return data
        columns = image.shape[1]
        offset = image.offset + first * columns * image.stored.itemsize
        data = np.empty((stop - first, columns), image.stored) if out is None else out
        self._read(data.reshape(-1).view("u1").data, offset)
        return data

    def bands(self, digest: Digest) -> Iterator[tuple[RawImage, int, np.ndarray]]:
        """Read the file once from front to back, and yield the rows of all its images.

        Parameters
        ----------
        digest : hash, such as ``hashlib.sha256()``
            Updated with every byte of the file on the disk.

        Yields
        ------
        RawImage
        int
            The first of the rows, from 0.
        ndarray
            The rows as the file stores them; the next ones overwrite them.

        Raises
        ------
        FrameRejected
            ``truncated`` if the file has become shorter, ``checksum`` if the sum of an image is not
            its DATASUM, or the reason why it cannot be decompressed.
        """
        if self.raw.gzipped or any(image.packed for image in self.raw.images):
            yield from self._unpacked_bands(digest)
            return
        with opened(self.raw.path) as stream:
            passage = Passage(stream.fileno(), digest)
            for image in self.raw.images:
                passage.go_to(image.offset)
                first = total = 0
                row = image.shape[1] * image.stored.itemsize
                stop = image.offset + image.shape[0] * row
                # Four rows are always a multiple of the four bytes that DATASUM adds up.
                step = max(4, PIECE // row // 4 * 4)
                for piece in passage.pieces(stop, step * row):
                    total += 0 if image.datasum is None else word_sum(piece)
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
            Passage(stream.fileno(), digest).go_to(self.raw.size)
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
            ``checksum`` if its header has another sum.
        """
        total = 0
        for start in range(image.offset, image.offset + image.nbytes, PIECE):
            piece = memoryview(bytearray(min(PIECE, image.offset + image.nbytes - start)))
            self._read(piece, start)
            total += word_sum(piece)
        return _refuse_sum(image, total)

    def _read(self, buffer: memoryview, offset: int) -> None:
        if self.raw.gzipped:
            fill(self._unpacked_file().fileno(), buffer, offset)
            return
        with opened(self.raw.path) as file:
            refuse_changed(self.raw, os.fstat(file.fileno()))
            fill(file.fileno(), buffer, offset)

    def _unpacked_file(self) -> IO[bytes]:
        with self._lock:
            if self._unpacked is None:
                self._unpacked = _unpacked(self.raw)
            return self._unpacked

    def _decoded(self, image: RawImage) -> np.ndarray:
        """Decompress the tiles of an image with astropy; a decoder's warning counts as an error."""
        from astropy.io import fits

        with (
            opened(self.raw.path) as file,
            caught_warnings() as caught,
            fits.open(file, memmap=False) as hdus,
        ):
            refuse_changed(self.raw, os.fstat(file.fileno()))
            tiles = hdus[image.index].data.reshape(image.shape)
        # Other warnings concern cards, such as a BLANK of real numbers, and no pixel.
        spoilt = [str(w.message) for w in caught if "decompress" in str(w.message)]
        if spoilt:
            raise ValueError(spoilt[0])
        return tiles

    def _tiled(self, image: RawImage) -> tuple[IO[bytes], np.dtype]:
        """Decompress the tiles of an image into a temporary file."""
        with self._lock:
            if image.index not in self._tiles:
                try:
                    tiles = self._decoded(image)
                except (FrameRejected, OutputError):
                    raise
                except Exception as error:  # the decoders raise exceptions of any kind
                    raise FrameRejected(
                        "tiles",
                        f"its pixels cannot be decompressed ({error}); copy it again from the camera.",
                    ) from error
                stream = _temporary()
                native = tiles.astype(tiles.dtype.newbyteorder("="), copy=False)
                _put(stream, np.ascontiguousarray(native).data)
                self._tiles[image.index] = (stream, native.dtype)
            return self._tiles[image.index]


def rows_of(band: np.ndarray, first: int, rows: slice) -> tuple[int, np.ndarray]:
    """Return the part of a band within given rows, and where it begins in these.

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
    """Turn stored values into physical ones; unsigned 16 bits are exact in float32.

    Infinity, and values further from zero than 1e15, become NaN.

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
    # Numbers too large for float32 and NaN of other kinds make numpy warn.
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
    """Set infinity and numbers that no detector counts to NaN."""
    with np.errstate(invalid="ignore"):
        # A pixel without a value makes both ends NaN, and every pixel is looked at.
        if values.size and values.min() >= -_LARGEST and values.max() <= _LARGEST:
            return
        # A signalling NaN, which makes numpy warn later, becomes a quiet one.
        values[~(np.abs(values) <= _LARGEST)] = np.nan


def _refuse_sum(image: RawImage, total: int) -> int:
    """Refuse data whose sum is not DATASUM; return the sum with its carries added."""
    total = folded(total)
    # CHECKSUM is not checked: it is wrong after a card has been corrected by hand.
    if image.datasum not in (None, total):
        raise FrameRejected(
            "checksum",
            f"DATASUM = {image.datasum} in its header does not agree with the sum {total} of its "
            "pixels; copy it again from the camera.",
        )
    return total


def _unpacked(raw: RawFile) -> IO[bytes]:
    """Decompress a gzipped file into an anonymous temporary one, within limits."""
    # No more than its headers require: a small file may decompress to more than fits on the disk.
    limit = raw.end + HEADER_LIMIT
    out = _temporary()
    try:
        with opened(raw.path) as plain, gzip.open(plain) as packed:
            refuse_changed(raw, os.fstat(plain.fileno()))
            while chunk := packed.read(2**20):
                _put(out, chunk)
                if out.tell() > limit:
                    raise FrameRejected(
                        "gzip",
                        f"it decompresses to more than the {raw.end} bytes that its headers require; "
                        "remove it from the night, or decompress it by hand.",
                    )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        out.close()
        raise FrameRejected(
            "gzip", f"it cannot be decompressed ({error}); copy it again from the camera."
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


def _put(out: IO[bytes], data: bytes | memoryview) -> None:
    """Write to a temporary file; a full disk is not a fault of the frame."""
    try:
        out.write(data)
        out.flush()
    except OSError as error:
        with suppress(OSError):
            out.close()
        raise _no_room(error) from error


def _no_room(error: OSError) -> OutputError:
    folder = tempfile.tempdir or "the temporary folder"
    return OutputError(
        f"compressed frames cannot be decompressed in {folder} ({error.strerror or error}); free some space "
        "there, or set TMPDIR to another folder."
    )
