"""A raw frame becomes floats: overscan off, trimmed, amplifiers side by side, flags set.

Two passes over a frame. `measure` reads it once, for its SHA-256 and the levels
of its overscan; `prepare` reads a band of rows of one frame or of many, so that a
stack of frames never has to fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import ccdproc
import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from ..camera.amplifier import Readout
from ..errors import FrameRejected
from ..files.pixels import Pixels, physical
from ..files.raw import RawFile, RawImage, refuse_changed
from ..products.band import DQ
from .measure import Measured

__all__ = ["NO_DATA", "SATURATED", "prepare", "refuse_changes"]

SATURATED, NO_DATA = DQ.SATURATED.value, DQ.NO_DATA.value

_TOGETHER = 2**19


def prepare(
    frames: Sequence[Measured],
    first: int,
    stop: int,
    *,
    unit: u.UnitBase = u.adu,
    dtype: str = "f4",
    pixels: Sequence[Pixels] | None = None,
) -> CCDData:
    """Read a band of rows of some frames: overscan off, trimmed, amplifiers together.

    Parameters
    ----------
    frames : sequence of Measured
        All of one amplifier set.
    first, stop : int
        Rows of the trimmed frame, from 0, ``stop`` not included.
    unit : Unit
    dtype : {"f4", "f8"}
        float32 holds integers less a median of integers exactly.
    pixels : sequence of Pixels, optional
        Open files, one for each frame.

    Returns
    -------
    CCDData, shape (frames, rows, columns)
        Its ``flags`` are uint16 of that shape, or None where no pixel is flagged.
    """
    amplifiers = frames[0].amplifiers
    columns = amplifiers.shape[1]
    whole = np.empty((len(frames), stop - first, columns), dtype)
    flags = None
    opened = pixels or [Pixels(f.raw) for f in frames]
    try:
        for number, readout in enumerate(amplifiers.readouts):
            rows = slice(
                max(first, readout.place.slices()[0].start),
                min(stop, readout.place.slices()[0].stop),
            )
            if rows.start >= rows.stop:
                continue
            band = _amplifier_band(frames, opened, number, rows, unit, dtype)
            cut = (
                slice(None),
                slice(rows.start - first, rows.stop - first),
                readout.place.slices()[1],
            )
            found = band.flags
            if len(amplifiers.readouts) == 1:
                return band
            whole[cut] = band.data
            if found is not None:
                flags = np.zeros(whole.shape, "u2") if flags is None else flags
                flags[cut] = found
    finally:
        if pixels is None:
            for each in opened:
                each.close()
    return CCDData(whole, unit=unit, flags=flags)


def _amplifier_band(
    frames: Sequence[Measured],
    opened: Sequence[Pixels],
    number: int,
    rows: slice,
    unit: u.UnitBase,
    dtype: str,
) -> CCDData:
    """Prepare the rows of one amplifier, ``rows`` counted in the trimmed frame.

    The frames are laid under one another, so that one call of ccdproc does them all.
    """
    readout = frames[0].amplifiers.readouts[number]
    data_rows, data_columns = readout.data.slices()
    offset = data_rows.start - readout.place.slices()[0].start
    first, stop = rows.start + offset, rows.stop + offset
    height = stop - first
    tall = np.empty((len(frames) * height, readout.data.width), dtype)
    done = 0
    for image, some in _alike(opened, readout, height):
        stored = _Band(_stored(some, readout, first, stop), unit=unit)
        trimmed = ccdproc.trim_image(stored[:, data_columns], add_keyword=False)
        physical(trimmed.data, image, dtype, out=tall[done : done + len(trimmed.data)])
        done += len(trimmed.data)
    ccd = _Band(tall, unit=unit)
    flags = _flags(ccd.data, readout.saturation)
    if readout.overscan is not None:
        start = rows.start - readout.place.slices()[0].start
        part = slice(start, start + rows.stop - rows.start)
        levels = np.concatenate([f.levels[number][part] for f in frames]).astype(dtype)
        # One column that already is the level of its row: ccdproc's own estimate
        # knows no rejection, and guesses the axis from the shape.
        ccd = ccdproc.subtract_overscan(
            ccd,
            overscan=CCDData(levels[:, np.newaxis], unit=unit),
            overscan_axis=1,
            median=True,
            add_keyword=False,
        )
    shape = (len(frames), rows.stop - rows.start, ccd.shape[1])
    return CCDData(
        ccd.data.reshape(shape),
        unit=unit,
        flags=None if flags is None else flags.reshape(shape),
    )


def _alike(
    opened: Sequence[Pixels], readout: Readout, height: int
) -> Iterator[tuple[RawImage, list[Pixels]]]:
    """Put frames that follow one another together if their files store numbers the same way.

    Rows of so many as stay in the cache until they are floats.
    """

    def way(each: Pixels) -> tuple:
        image = each.raw.image(readout.extension)
        told = (image.shape, image.bitpix, image.bzero, image.bscale, image.blank)
        return (*told, id(each) if image.packed else None)

    for _, some in groupby(opened, way):
        group = list(some)
        image = group[0].raw.image(readout.extension)
        number = max(1, _TOGETHER // (height * image.shape[1] * image.stored.itemsize))
        for first in range(0, len(group), number):
            yield image, group[first : first + number]


def _stored(opened: Sequence[Pixels], readout: Readout, first: int, stop: int) -> np.ndarray:
    """Read rows of frames that are stored alike, one frame under the other."""
    image = opened[0].raw.image(readout.extension)
    height = stop - first
    tall = None
    if not image.packed:
        tall = np.empty((len(opened) * height, image.shape[1]), image.stored)
    for n, each in enumerate(opened):
        rows = None if tall is None else tall[n * height : (n + 1) * height]
        try:
            read = each.stored(each.raw.image(readout.extension), first, stop, out=rows)
        except (FrameRejected, OSError) as error:
            raise _unreadable(error, each.raw) from error
    return read if tall is None else tall


def refuse_changes(raw: Iterable[RawFile]) -> None:
    """Refuse frames that are no longer those that were measured, once all was read of them.

    Raises
    ------
    FrameRejected
        ``changed``, with the path of the frame; ``unreadable`` if it is no longer there.
    """
    for each in raw:
        try:
            refuse_changed(each)
        except (FrameRejected, OSError) as error:
            raise _unreadable(error, each) from error


def _unreadable(error: FrameRejected | OSError, raw: RawFile) -> FrameRejected:
    """Say of one of many frames that it cannot be read, and which it is."""
    if isinstance(error, FrameRejected):
        return FrameRejected(error.code, str(error), str(raw.path))
    why = f"it cannot be read ({error.strerror}); look at the disk, and copy it again."
    return FrameRejected("unreadable", why, str(raw.path))


class _Band(CCDData):
    """A band of rows that no one else holds.

    ccdproc copies a frame before it puts new pixels in the place of its own; here
    that would only cost time.
    """

    def copy(self) -> CCDData:
        """Return a frame that shares its pixels."""
        return type(self)(self.data, unit=self.unit)


def _flags(data: np.ndarray, saturation: float | None) -> np.ndarray | None:
    """Flag saturated and missing pixels of a raw band; None where there is none."""
    top = data.max()
    missing = not np.isfinite(top) or not np.isfinite(data.min())
    full = saturation is not None and (missing or top >= saturation)
    if not (missing or full):
        return None
    flags = np.zeros(data.shape, "u2")
    if full:
        with np.errstate(invalid="ignore"):
            flags[data >= saturation] |= SATURATED
    if missing:
        flags[~np.isfinite(data)] |= NO_DATA
    return flags if flags.any() else None
