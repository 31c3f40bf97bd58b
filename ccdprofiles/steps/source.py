"""The frames of a stack, in memory or in files, a band of rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDUncertainty

from ..errors import FrameRejected, PlanError
from ..files.pixels import Pixels
from ..files.raw import RawFile, RawImage, read_raw
from ..products.band import MASKED, flags_of_stored
from .images import check_axes, header_of, kind_of, regular
from .uncertainty import uncertainty_type, variance_from, variance_of

__all__ = ["FileFrame", "MemoryFrame", "frames_of", "listed"]


class MemoryFrame:
    """A frame in memory.

    Parameters
    ----------
    ccd : CCDData
    name : str
        For messages.
    """

    def __init__(self, ccd: CCDData, name: str = "a frame"):
        check_axes(ccd.data, name)
        self.ccd = ccd
        self.name = name
        self.unit = ccd.unit
        self.shape = ccd.shape
        self.header = header_of(ccd.meta, name)

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Return rows ``first`` to ``stop`` (exclusive); NaN where they are masked."""
        data = np.asarray(self.ccd.data[first:stop])
        mask = self.ccd.mask
        if mask is None or mask is np.ma.nomask:
            return data
        mask = np.broadcast_to(np.asarray(mask, bool), self.shape)[first:stop]
        return np.where(mask, np.nan, data) if mask.any() else data

    def variance(self, first: int, stop: int) -> np.ndarray | None:
        """Return the variance of these rows, or None."""
        return variance_of(self.ccd, slice(first, stop), self.name)

    def close(self) -> None:
        """Do nothing, because no file is open."""


class FileFrame:
    """A frame in a FITS file, of which a band of rows is read at a time.

    Parameters
    ----------
    path : str or Path
    unit : Unit, optional
        Used if the file has no BUNIT.
    hdu : int, optional
        The HDU of the image, by default the first image.
    """

    def __init__(self, path: str | Path, unit: object = None, hdu: int | None = None):
        self.name = Path(path).name
        self.raw = _raw(Path(path))
        images = {image.index: image for image in self.raw.images}
        if hdu is not None and hdu not in images:
            raise PlanError(
                f"{self.name}: HDU {hdu} is not an image, but {', '.join(map(str, images))} can be "
                "combined; use hdu= with one of these."
            )
        self._image: RawImage = self.raw.images[0] if hdu is None else images[hdu]
        self._planes = {image.name: image for image in self.raw.images}
        self.header = fits.Header.fromstring(self.raw.header.block.decode("ascii", "replace"))
        self.unit = _unit(self.name, self.header.get("BUNIT"), unit)
        self.shape = self._image.shape
        self._pixels = Pixels(self.raw)

    def rows(self, first: int, stop: int) -> np.ndarray:
        """Return rows ``first`` to ``stop`` (exclusive); NaN where they are masked."""
        small = self._image.bitpix in (8, 16, -32)
        data = self._pixels.rows(self._image, first, stop, "f4" if small else "f8")
        if "MASK" in self._planes:
            mask = self._pixels.stored(self._planes["MASK"], first, stop) != 0
        elif "DQ" in self._planes:
            flags = flags_of_stored(self._pixels.stored(self._planes["DQ"], first, stop))
            mask = (flags & MASKED) != 0
        else:
            return data
        data[mask] = np.nan
        return data

    def variance(self, first: int, stop: int) -> np.ndarray | None:
        """Return the variance of these rows, or None."""
        plane = self._planes.get("UNCERT")
        if plane is None:
            return None
        values = self._pixels.rows(plane, first, stop, "f8")
        return variance_from(values, self._kind(plane))

    def _kind(self, plane: RawImage) -> type[NDUncertainty]:
        with regular(self.raw.path, self.name) as file:
            name = fits.getheader(file, plane.index).get("UTYPE", "StdDevUncertainty")
        return uncertainty_type(str(name), self.name)

    def close(self) -> None:
        """Close the file."""
        self._pixels.close()


def _raw(path: Path) -> RawFile:
    """Read the headers of a file.

    Raises
    ------
    PlanError
        If it cannot be read.
    """
    with regular(path, str(path)):
        pass  # what is not a file is refused in the same words as by the other steps
    try:
        raw = read_raw(path)
    except (FrameRejected, OSError) as error:
        raise PlanError(f"{path.name}: {error}") from error
    for image in raw.images:
        if image.planes > 1:
            raise PlanError(
                f"{path.name}: it is a cube of {image.planes} planes, but an image of two axes was "
                "expected; write each plane to its own file."
            )
    return raw


def _unit(name: str, bunit: object, given: object) -> u.UnitBase:
    """Return the unit of a file: that of BUNIT, else that of the caller."""
    text = str(bunit or "").strip()
    for spelling in (text, text.lower()):
        with suppress(ValueError):
            if spelling:
                return u.Unit(spelling)
    if given is None:
        raise PlanError(
            f"{name}: BUNIT is {text!r}, which is not a unit; use unit='adu', or the unit of its pixels."
        )
    try:
        return u.Unit(given)
    except (TypeError, ValueError) as error:
        raise PlanError(
            f"unit={given!r} is not a unit; use unit='adu', or the unit of the pixels."
        ) from error


def listed(
    images: Iterable[CCDData | str | Path] | CCDData | str | Path,
) -> list[CCDData | str | Path]:
    """Return what is to be combined as a list: CCDData, or paths, which a text parts by commas."""
    if isinstance(images, str):
        images = [path.strip() for path in images.split(",")]
    elif isinstance(images, Path | CCDData):
        images = [images]
    if not isinstance(images, Iterable):
        raise PlanError(
            f"combine() was given {kind_of(images)}, but a list of CCDData or of paths was "
            "expected; pass [frame, frame, ...]."
        )
    found = list(images)
    if not found:
        raise PlanError("there is nothing to combine; pass a list of CCDData or of paths.")
    for each in found:
        if not isinstance(each, CCDData | str | Path):
            raise PlanError(
                f"combine() cannot use {kind_of(each)}; pass CCDData or paths of FITS files."
            )
    return found


def frames_of(
    images: Sequence[CCDData | str | Path], unit: object = None, hdu: int | None = None
) -> list[MemoryFrame | FileFrame]:
    """Return the frames of a stack; if one is refused, the files that are open are closed."""
    frames: list[MemoryFrame | FileFrame] = []
    try:
        for number, each in enumerate(images, 1):
            memory = isinstance(each, CCDData)
            name = f"frame {number}"
            frames.append(MemoryFrame(each, name) if memory else FileFrame(each, unit, hdu))
    except BaseException:
        for frame in frames:
            frame.close()
        raise
    return frames
