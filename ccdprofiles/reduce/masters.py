"""Make a master: combine rows of its frames, normalise the whole, and write it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from uuid import uuid4

import numpy as np

from ..camera.colours import ColourMosaic
from ..camera.recipe import Flat, SpectralFlat
from ..errors import FrameRejected, known
from ..files.threads import Threads
from ..pixels.master import blank, blank_unread, flag_hot, hot_limit, scatter_variance
from ..pixels.prepare import NO_DATA
from ..plan.reason import Reason
from ..products.band import Band
from ..products.product import ProductFile, sync_folders
from .chip_levels import levels_for
from .flat_levels import FlatLevel, lit_flats, refused_flats
from .flats import Flats, colour_norms, divide_lamp, flat_norm, good_pixels, normalise_flat
from .inputs import ASIDE, bands_of, flat_recipe
from .keywords import master_header
from .parts import Part
from .request import MasterRequest, open_frames
from .rows import combine_rows, row_bands

__all__ = ["CombinedMaster", "MadeMaster", "combine_part", "make_master"]

_WRITERS = 2


@dataclass(frozen=True)
class MadeMaster:
    """A master that was made, or the reason why it could not be made.

    Parameters
    ----------
    sha256 : str
        Of the file.
    failed : dict
        File → `Reason`, of frames that turned out to be unusable.
    refused : FrameRejected or None
        Why it could not be made.
    """

    sha256: str
    failed: Mapping[str, Reason]
    refused: FrameRejected | None = None


@dataclass(frozen=True)
class CombinedMaster:
    """All rows of a combined master.

    Parameters
    ----------
    whole : Band
        Its data; its variance and flags are None if they are in ``parts``.
    parts : sequence of Part
        Temporary files of the rows that other workers combined.
    has_variance : bool
        Whether these files contain a variance.
    """

    whole: Band
    parts: Sequence[Part] = ()
    has_variance: bool = False

    @classmethod
    def read(cls, request: MasterRequest, parts: Sequence[Part]) -> CombinedMaster:
        """Read the data of combined rows; their other planes are read when they are needed."""
        data = np.empty(request.shape, "f4")
        for part in parts:
            part.read("data", 0, data)
        return cls(Band(data), parts, request.has_variance)

    def band(self, first: int, stop: int) -> Band:
        """Return rows with their variance, if it is known, and their flags."""
        data = self.whole.data[first:stop]
        if self.parts:
            variance = self._read("variance", first, data, "f4") if self.has_variance else None
            return Band(data, variance, self.flags(first, stop))
        variance = None if self.whole.variance is None else self.whole.variance[first:stop]
        return Band(data, variance, self.flags(first, stop))

    def flags(self, first: int, stop: int) -> np.ndarray:
        """Return the flags of rows."""
        if self.parts:
            return self._read("flags", first, self.whole.data[first:stop], "u2")
        return known(self.whole.flags, "flags")[first:stop]

    def _read(self, name: str, first: int, data: np.ndarray, dtype: str) -> np.ndarray:
        plane = np.empty(data.shape, dtype)
        for part in self.parts:
            part.read(name, first, plane)
        return plane

    def values(self, good: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the pixels for which ``good(data, flags)`` is True, usually all of them."""
        data = self.whole.data
        bands = bands_of(data.shape, 16)

        def which() -> Iterator[np.ndarray]:
            for first, stop in bands:
                yield good(data[first:stop], self.flags(first, stop))

        if all(each.all() for each in which()):
            return data.reshape(-1)
        return data[np.concatenate(list(which()))]


@dataclass(frozen=True)
class _Finished:
    """A master of which every band can be completed separately.

    Parameters
    ----------
    combined : CombinedMaster
    complete : callable
        Takes a band and returns it as it is written.
    norm : float, dict or None
        The number by which a flat is divided; of a mosaic that of each colour.
    """

    combined: CombinedMaster
    complete: Callable[[Band], Band]
    norm: float | Mapping[str, float] | None = None


def make_master(
    request: MasterRequest,
    mapped: Callable = map,
    levels: Mapping[str, FlatLevel] | None = None,
    parts: Sequence[Part] = (),
) -> MadeMaster:
    """Make a master and write it.

    Parameters
    ----------
    request : MasterRequest
    mapped : callable
        As `map`; it may work in threads.
    levels : mapping, optional
        The levels of its flats by file, if they have already been measured.
    parts : sequence of Part
        All its rows, if they have already been combined. The caller removes their files, as
        a worker that was lost may have to read them a second time.

    Raises
    ------
    OutputError
        If it cannot be written.
    OSError
        If a frame cannot be read.
    """
    failed: dict[str, Reason] = {}
    used, flats = request, None
    try:
        if request.master.type == "flat":
            if levels is None:
                levels = levels_for(request, request.chosen, mapped)
            failed = refused_flats(levels)
            used, flats = lit_flats(request, levels)
        combined = CombinedMaster.read(used, parts) if parts else _combine(used, flats, mapped)
        finished = _finish(used, combined)
        return MadeMaster(_write(request, used, finished, failed, parts, mapped), failed)
    except FrameRejected as error:
        return MadeMaster("", failed, error)


def combine_part(
    request: MasterRequest, levels: Mapping[str, FlatLevel] | None, first: int, stop: int
) -> Part:
    """Combine some rows of a master into a temporary file.

    Raises
    ------
    FrameRejected
        If too few of its flats can be used.
    OutputError
        If the disk cannot be written.
    """
    used, flats = request, None
    if request.master.type == "flat":
        used, flats = lit_flats(request, known(levels, "levels of flats"))
    # Unique, as the same worker combines these rows again if a frame changes meanwhile.
    unique = f"{os.getpid()}-{uuid4().hex}"
    path = request.path.with_name(f".{request.path.name}.{unique}.tmp")
    part = Part(request.path, path, first, stop, request.shape[1])
    try:
        with open_frames(used.inputs, used.chosen) as pixels, part.create() as stream:
            for band in row_bands(used, flats, first, stop):
                rows = combine_rows(used, flats, pixels, *band).band
                variance = None if rows.variance is None else rows.variance.astype("f4")
                flags = None if rows.flags is None or not rows.flags.any() else rows.flags
                part.write(stream, band[0], Band(rows.data.astype("f4"), variance, flags))
    except BaseException:
        part.remove()
        raise
    return part


def _combine(request: MasterRequest, flats: Flats | None, mapped: Callable) -> CombinedMaster:
    """Combine all rows in memory, one band after the other or several in threads."""
    shape = request.shape
    data, flags = np.empty(shape, "f4"), np.empty(shape, "u2")
    variance = np.empty(shape, "f4") if request.has_variance else None
    own_noise = request.has_variance and request.measures_own_noise
    scatter = np.empty((2, *shape)) if own_noise else None
    n_used = np.empty(shape if own_noise else 0)

    def fill(rows: tuple[int, int]) -> None:
        found, where = combine_rows(request, flats, pixels, *rows), slice(*rows)
        data[where], flags[where] = found.band.data, found.band.flags
        if scatter is not None:
            scatter[:, where], n_used[where] = found.scatter, found.n_used
        elif variance is not None:
            variance[where] = found.band.variance

    with open_frames(request.inputs, request.chosen) as pixels:
        for _ in mapped(fill, row_bands(request, flats, 0, shape[0])):
            pass
    if scatter is not None:
        variance = scatter_variance(data, scatter, n_used, request.how, len(request.chosen))
    return CombinedMaster(Band(data, variance, flags))


def _finish(request: MasterRequest, combined: CombinedMaster) -> _Finished:
    """Measure what needs the whole master, such as the level of a flat."""
    if request.master.type == "dark":
        return finish_dark(combined)
    if request.master.type != "flat":
        return _Finished(combined, blank)
    how = flat_recipe(request.recipe)
    if isinstance(how, SpectralFlat):
        return finish_spectral(combined, how)
    mosaic = request.frame.mosaic
    if mosaic is not None:
        return finish_mosaic(combined, how, mosaic)
    return finish_flat(combined, how, shared=request.shares_level)


def finish_dark(combined: CombinedMaster) -> _Finished:
    """Find the level from which a pixel of a dark is hot."""
    values = combined.values(lambda data, flags: np.isfinite(data) & (flags & NO_DATA == 0))
    limit = hot_limit(values)
    return _Finished(combined, lambda band: blank(flag_hot(band, limit)))


def finish_flat(combined: CombinedMaster, how: Flat, shared: bool = False) -> _Finished:
    """Measure the level of a flat, by which its bands are divided.

    A flat whose level all chips share has been divided by it, frame by frame.
    """
    norm = 1.0
    if not shared:
        norm = flat_norm(combined.values(good_pixels), how.scale, how.minimum)
    return _Finished(combined, partial(normalise_flat, norm=norm, minimum=how.minimum), norm)


def finish_mosaic(combined: CombinedMaster, how: Flat, mosaic: ColourMosaic) -> _Finished:
    """Measure the level of each colour of a flat, by which its pixels are divided."""

    def values(colour: str) -> np.ndarray:
        return combined.values(
            lambda data, flags: good_pixels(data, flags) & mosaic.where(colour, data.shape)
        )

    norms = colour_norms(values, mosaic, how)

    def complete(band: Band) -> Band:
        return normalise_flat(band, mosaic.per_pixel(norms, band.data.shape), how.minimum)

    return _Finished(combined, complete, norms)


def finish_spectral(combined: CombinedMaster, how: SpectralFlat) -> _Finished:
    """Divide a flat of a spectrograph by the spectrum of its lamp, which needs all rows."""
    whole, norm = divide_lamp(combined.band(0, len(combined.whole.data)), how)
    return _Finished(CombinedMaster(whole), lambda band: band, norm)


def _write(
    request: MasterRequest,
    used: MasterRequest,
    finished: _Finished,
    failed: Mapping[str, Reason],
    parts: Sequence[Part],
    mapped: Callable,
) -> str:
    """Write a master; return the SHA-256 of the file."""
    header = master_header(used, finished.norm)
    rows = _provenance(request, used, failed)
    shape = request.shape
    with ProductFile(request.path, header, shape, request.has_variance, rows) as product:

        def save(band: tuple[int, int]) -> None:
            done = finished.complete(finished.combined.band(*band))
            done = blank_unread(done, request.amplifiers, band[0])
            flags = None if done.flags is None or not done.flags.any() else done.flags
            product.write(band[0], replace(done, flags=flags))

        # While the other workers wait for the last master, two threads may write it.
        with Threads(_WRITERS) as writers:
            for _ in (writers.map if parts else mapped)(save, bands_of(shape, 16)):
                pass
        sha256 = product.finish_hashed()
    sync_folders([request.path])
    return sha256


def _provenance(
    request: MasterRequest, used: MasterRequest, failed: Mapping[str, Reason]
) -> list[tuple[str, str, str]]:
    """Return the frames and masters from which a master was made: name, SHA-256 and role."""
    measured, kind = request.inputs.measured, request.master.type
    rows = [(file, measured[file].sha256, kind) for file in used.files]
    for file in request.files:
        if file in failed:
            role = f"{ASIDE}{failed[file].code}: {failed[file]}"
            rows.append((file, measured[file].sha256, role))
    masters = {name for i in used.chosen for name in i.masters}
    return rows + request.inputs.used(sorted(masters))
