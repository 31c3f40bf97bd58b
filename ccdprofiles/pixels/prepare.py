"""Raw frames become floats: overscan subtracted, trimmed, amplifiers joined, pixels flagged.

A frame is read twice. `ccdprofiles.pixels.measure.measure` reads it once as a whole, for its
SHA-256 and its overscan levels; `prepare` reads a band of rows of one frame or of many, so
that a stack of frames never has to fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from ..camera.amplifier import Readout
from ..errors import FrameRejected, known
from ..files.pixels import Pixels, physical
from ..files.raw import RawFile, RawImage, refuse_changed
from ..products.band import DQ
from .crosstalk import subtract_crosstalk
from .measure import Measured
from .overscan import subtract_columns, subtract_overscan

__all__ = ["NON_LINEAR", "NO_DATA", "SATURATED", "prepare", "refuse_changes"]

SATURATED, NO_DATA, NON_LINEAR = DQ.SATURATED.value, DQ.NO_DATA.value, DQ.NON_LINEAR.value

_CACHE_BYTES = 2**19
"""Raw bytes that are converted to floats at a time, so that they stay in the cache."""


def prepare(
    frames: Sequence[Measured],
    first: int,
    stop: int,
    *,
    unit: u.UnitBase = u.adu,
    dtype: str = "f4",
    pixels: Sequence[Pixels] | None = None,
    crosstalk: np.ndarray | None = None,
) -> CCDData:
    """Read a band of rows of frames: subtract the overscan, trim, join the amplifiers.

    Parameters
    ----------
    frames : sequence of Measured
        All with the same amplifiers.
    first, stop : int
        Rows of the trimmed frame, from 0, ``stop`` not included.
    unit : Unit
        Of the raw pixels.
    dtype : {"f4", "f8"}
        float32 represents integers minus a median of integers exactly.
    pixels : sequence of Pixels, optional
        Open files, one for each frame.
    crosstalk : ndarray, shape (amplifiers, amplifiers), optional
        Fractions, victim x aggressor; see `ccdprofiles.pixels.crosstalk.correct_crosstalk`.

    Returns
    -------
    CCDData, shape (frames, rows, columns)
        Its ``flags`` are uint16 of that shape, or None if no pixel is flagged.

    Raises
    ------
    FrameRejected
        With the path of a frame that cannot be read.
    """
    amplifiers = frames[0].amplifiers
    joined = np.empty((len(frames), stop - first, amplifiers.shape[1]), dtype)
    flags = None
    if not amplifiers.is_full:
        unread = amplifiers.unread(first, stop)
        joined[:, unread] = np.nan
        flags = np.zeros(joined.shape, "u2")
        flags[:, unread] = NO_DATA
    with ExitStack() as files:
        opened = pixels or [files.enter_context(Pixels(f.raw)) for f in frames]
        for number, readout in enumerate(amplifiers.readouts):
            place, columns = readout.place.slices()
            rows = slice(max(first, place.start), min(stop, place.stop))
            if rows.start >= rows.stop:
                continue
            band = _amplifier_band(frames, opened, number, rows, unit, dtype, crosstalk)
            if len(amplifiers.readouts) == 1 and not any(readout.flipped):
                return band
            cut = (slice(None), slice(rows.start - first, rows.stop - first), columns)
            joined[cut] = band.data
            if band.flags is not None:
                flags = np.zeros(joined.shape, "u2") if flags is None else flags
                flags[cut] = band.flags
    return CCDData(joined, unit=unit, flags=flags)


def _amplifier_band(
    frames: Sequence[Measured],
    opened: Sequence[Pixels],
    number: int,
    rows: slice,
    unit: u.UnitBase,
    dtype: str,
    crosstalk: np.ndarray | None,
) -> CCDData:
    """Prepare the rows of one amplifier, ``rows`` counted in the trimmed frame.

    All is done in the order of the raw pixels, which are flipped into place at the end.
    """
    readout = frames[0].amplifiers.readouts[number]
    start = readout.data.slices()[0].start
    raw = readout.in_frame.raw_rows(rows.start, rows.stop)
    part = slice(raw.start - start, raw.stop - start)
    ccd = _raw_band(frames, opened, number, part, unit, dtype)
    data = ccd.data
    if crosstalk is not None:
        others = frames[0].amplifiers.readouts
        together = {}
        for other in np.flatnonzero(crosstalk[number]):
            rows_there = slice(part.start, min(part.stop, others[other].data.height))
            if rows_there.start < rows_there.stop:
                there = _raw_band(frames, opened, int(other), rows_there, unit, dtype)
                together[int(other)] = there.data
        data = subtract_crosstalk(data, together, crosstalk[number])
    flags = None if ccd.flags is None else readout.in_frame.flip(ccd.flags)
    return CCDData(readout.in_frame.flip(data), unit=unit, flags=flags)


def _raw_band(
    frames: Sequence[Measured],
    opened: Sequence[Pixels],
    number: int,
    part: slice,
    unit: u.UnitBase,
    dtype: str,
) -> CCDData:
    """Read rows of the data section of one amplifier, and subtract its overscan.

    The frames are stacked vertically, so that one call of ccdproc processes all of them.
    """
    readout = frames[0].amplifiers.readouts[number]
    ccd = CCDData(_read_trimmed(opened, readout, part, dtype), unit=unit)
    # Saturation is a level of the raw pixels, so they are flagged before anything is subtracted.
    integers = all(each.raw.image(readout.extension).bitpix > 0 for each in opened)
    flags = _flags(ccd.data, readout, integers)
    if readout.overscan is not None and not readout.by_column:
        levels = [known(f.levels[number], "overscan level")[part] for f in frames]
        ccd = subtract_overscan(ccd, np.concatenate(levels).astype(dtype))
    shape = (len(frames), part.stop - part.start, readout.data.width)
    data = ccd.data.reshape(shape)
    if readout.by_column or readout.parallel_overscan is not None:
        columns = [(f.levels if readout.by_column else f.column_levels)[number] for f in frames]
        of_frames = np.stack([known(each, "overscan level") for each in columns]).astype(dtype)
        data = subtract_columns(CCDData(data, unit=unit), of_frames).data
    return CCDData(data, unit=unit, flags=None if flags is None else flags.reshape(shape))


def _read_trimmed(
    opened: Sequence[Pixels], readout: Readout, part: slice, dtype: str
) -> np.ndarray:
    """Read rows of the data section of one amplifier as floats, one frame under the other.

    A slice trims the stored numbers before they are converted; `ccdproc.trim_image` would copy
    them with their overscan first.
    """
    data_rows, columns = readout.data.slices()
    first, stop = data_rows.start + part.start, data_rows.start + part.stop
    tall = np.empty((len(opened) * (stop - first), readout.data.width), dtype)
    done = 0
    for image, files in _stored_alike(opened, readout, stop - first):
        trimmed = _stored(files, readout, first, stop)[:, columns]
        physical(trimmed, image, dtype, out=tall[done : done + len(trimmed)])
        done += len(trimmed)
    return tall


def _stored_alike(
    opened: Sequence[Pixels], readout: Readout, height: int
) -> Iterator[tuple[RawImage, list[Pixels]]]:
    """Group successive frames that are stored in the same way, as many as fit into the cache."""

    def storage(each: Pixels) -> tuple:
        image = each.raw.image(readout.extension)
        cards = (image.shape, image.bitpix, image.bzero, image.bscale, image.blank)
        return (*cards, id(each) if image.packed else None)

    for _, files in groupby(opened, storage):
        group = list(files)
        image = group[0].raw.image(readout.extension)
        number = max(1, _CACHE_BYTES // (height * image.shape[1] * image.stored.itemsize))
        for first in range(0, len(group), number):
            yield image, group[first : first + number]


def _stored(opened: Sequence[Pixels], readout: Readout, first: int, stop: int) -> np.ndarray:
    """Read rows of frames that are stored in the same way, one frame below the other."""
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
    """Refuse frames that changed since they were measured; called after their last row is read.

    Raises
    ------
    FrameRejected
        ``changed``, with the path of the frame; ``unreadable`` if it is missing.
    """
    for each in raw:
        try:
            refuse_changed(each)
        except (FrameRejected, OSError) as error:
            raise _unreadable(error, each) from error


def _unreadable(error: FrameRejected | OSError, raw: RawFile) -> FrameRejected:
    """Return an error with the path of the frame that cannot be read."""
    if isinstance(error, FrameRejected):
        return FrameRejected(error.code, str(error), str(raw.path))
    why = f"it cannot be read ({error.strerror}); check the disk, and copy it again."
    return FrameRejected("unreadable", why, str(raw.path))


def _flags(data: np.ndarray, readout: Readout, integers: bool) -> np.ndarray | None:
    """Flag saturated, non-linear and missing pixels of a raw band; None if there are none."""
    saturation, linear = readout.saturation, readout.linear
    # The maximum is cheaper than a mask, and mostly enough. It is NaN if any pixel is; only
    # files of floats can also contain minus infinity.
    top = data.max()
    missing = not np.isfinite(top) or not (integers or np.isfinite(data.min()))
    full = saturation is not None and (missing or top >= saturation)
    bent = linear is not None and (missing or top > linear)
    if not (missing or full or bent):
        return None
    flags = np.zeros(data.shape, "u2")
    if full:
        with np.errstate(invalid="ignore"):
            flags[data >= saturation] |= SATURATED
    if bent:
        with np.errstate(invalid="ignore"):
            flags[data > linear] |= NON_LINEAR
    if missing:
        flags[~np.isfinite(data)] |= NO_DATA
    return flags if flags.any() else None
