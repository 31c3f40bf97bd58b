"""Calibrate science frames that share their masters, together and band by band."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from ..camera.amplifier import AmplifierSet
from ..camera.corrections import correction_file
from ..camera.recipe import CosmicRays, Recipe
from ..errors import FrameRejected, known, words_of
from ..files.header import ProductHeader
from ..files.pixels import Pixels
from ..files.threads import Threads
from ..files.writer import Writers
from ..pixels.bad_pixels import flag_bad_pixels
from ..pixels.calibrate import COSMIC_RAY, calibrate, find_cosmic_rays
from ..pixels.fringes import Fringes, FringeScale, fringe_scale, subtract_fringes
from ..pixels.prepare import NO_DATA, prepare
from ..plan.frames import Frame
from ..plan.plan import Input
from ..plan.reason import Reason
from ..products.band import MASKED, Band
from ..products.product import ProductFile, sync_folders
from .corrections import (
    bad_pixels_of,
    crosstalk_of,
    fringes_of,
    linearity_of,
    refuse_pedestal,
    shutter_of,
)
from .inputs import JobInputs, bands_of, noise_of, pedestal_off
from .keywords import common_cards, hand_cards, level_cards, prepared_header
from .request import open_frames

__all__ = ["ScienceRequest", "Written", "batches", "open_products", "write_science"]

_JOB_PIXELS = 4 * 2**20
_BATCH_PIXELS = 2**19
_OPEN_PRODUCTS = 128
_CLOSERS = 4
_TOGETHER = 4
"""The smallest number of frames that share the bands of their masters."""


@dataclass(frozen=True)
class ScienceRequest:
    """A calibrated frame that is to be made.

    Parameters
    ----------
    name : str
        In the plan.
    chosen : Input
    key : str
        The hash of everything that determines it.
    path : Path
    cosmic_rays : CosmicRays or None
        How cosmic rays are detected.
    cosmic_rays_off : bool
        Whether its recipe detects cosmic rays and the caller switched that off.
    """

    name: str
    chosen: Input
    key: str
    path: Path
    cosmic_rays: CosmicRays | None = None
    cosmic_rays_off: bool = False

    def needs_whole(self, frame: Frame) -> bool:
        """Return True if the frame must be processed as a whole, for its cosmic rays or fringes."""
        return self.cosmic_rays is not None or correction_file(frame, "fringe") is not None


@dataclass(frozen=True)
class Written:
    """The products of some science frames.

    Parameters
    ----------
    products : mapping
        Name in the plan → path, or the future that ends when the file is on the disk.
    failed : dict
        File → `Reason`.
    """

    products: Mapping[str, Path | Future]
    failed: dict[str, Reason]

    @classmethod
    def all(cls, parts: Iterable[Written]) -> Written:
        """Return several as one."""
        products: dict[str, Path | Future] = {}
        failed: dict[str, Reason] = {}
        for part in parts:
            products |= part.products
            failed |= part.failed
        return cls(products, failed)


@dataclass(frozen=True)
class Batch:
    """Science frames that share their masters and recipe.

    Parameters
    ----------
    inputs : JobInputs
    requests : sequence of ScienceRequest
    """

    inputs: JobInputs
    requests: Sequence[ScienceRequest]

    @property
    def chosen(self) -> Input:
        """Its first frame; all need the same masters."""
        return self.requests[0].chosen

    @property
    def frame(self) -> Frame:
        """Its first frame; all have the same profile, recipe and amplifiers."""
        return self.inputs.frames[self.chosen.file]

    @property
    def recipe(self) -> Recipe:
        """The recipe of its frames."""
        return self.frame.recipe

    @property
    def amplifiers(self) -> AmplifierSet:
        """The amplifiers of its frames."""
        return self.frame.amplifiers

    @property
    def unit(self) -> u.UnitBase:
        """The unit of the raw pixels."""
        return self.frame.profile.unit

    @property
    def whole(self) -> bool:
        """Whether frames are processed as a whole, for their cosmic rays or fringes."""
        return self.requests[0].needs_whole(self.frame)

    @property
    def electrons(self) -> bool:
        """Whether the products are in electrons."""
        return self.recipe.electrons and "gain" not in self.amplifiers.missing

    @property
    def has_uncertainty(self) -> bool:
        """Whether the uncertainty of the products can be computed."""
        if pedestal_off(self.frame, self.chosen):
            return self.amplifiers.knows_noise
        if "gain" in self.amplifiers.missing or self.chosen.dark is None:
            return False
        return "UNCERT" in self.inputs.masters[self.chosen.dark].file.raw.shapes

    @property
    def bands(self) -> list[tuple[int, int]]:
        """The bands of rows in which its frames are calibrated."""
        rows, columns = self.amplifiers.shape
        number = len(self.requests)
        if self.whole or number * rows * columns <= _BATCH_PIXELS:
            return [(0, rows)]
        return bands_of((rows, columns), number * 32)

    def write(self, mapped: Callable, closers: Executor, writers: Writers) -> Written:
        """Calibrate all bands, by ``mapped`` as `map` does, and write the products.

        A frame whose pixels cannot be read is omitted, and the others are made again. ``closers``
        put the products on the disk while the next frames are calibrated.
        """
        try:
            return Written(self._write(mapped, closers, writers), {})
        except (FrameRejected, OSError) as error:
            if len(self.requests) > 1:
                alone = [Batch(self.inputs, [request]) for request in self.requests]
                return Written.all(one.write(mapped, closers, writers) for one in alone)
            if not isinstance(error, FrameRejected):
                why = f"it cannot be read ({words_of(error)}); check the disk, and copy it again."
                error = FrameRejected("unreadable", why)
            file = self.frame.file
            return Written({}, {file: Reason(file, error.code, str(error))})

    def _write(self, mapped: Callable, closers: Executor, writers: Writers) -> dict[str, Future]:
        files: list[ProductFile] = []
        try:
            with open_frames(self.inputs, [r.chosen for r in self.requests]) as pixels:
                files += self._products(writers)
                for _ in mapped(lambda band: self._band(pixels, files, *band), self.bands):
                    pass
        except BaseException:
            for file in files:
                file.discard()
            raise
        names = [request.name for request in self.requests]
        return {n: closers.submit(file.finish) for n, file in zip(names, files, strict=True)}

    def _band(
        self, pixels: Mapping[str, Pixels], files: Sequence[ProductFile], first: int, stop: int
    ) -> None:
        """Calibrate rows of all frames, and write them."""
        measured = [self.inputs.measured[r.chosen.file] for r in self.requests]
        opened = [pixels[r.chosen.file] for r in self.requests]
        crosstalk = crosstalk_of(self.frame)
        ccd = prepare(measured, first, stop, unit=self.unit, pixels=opened, crosstalk=crosstalk)
        frames = [self.inputs.frames[r.chosen.file] for r in self.requests]
        ccd = flag_bad_pixels(ccd, bad_pixels_of(self.frame, first, stop))
        linearity = linearity_of(self.frame, first)
        if linearity is not None:
            refuse_pedestal(self.frame, self.chosen)
        bias, dark, flat = self.inputs.bands(self.chosen, first, stop)
        done = calibrate(
            ccd,
            noise_of(self.amplifiers, self.recipe, first, stop),
            pedestal=not pedestal_off(self.frame, self.chosen),
            bias=bias,
            dark=dark,
            scale=self.chosen.dark_scale,
            flat=flat,
            electrons=self.electrons,
            linearity=linearity,
            shutter=shutter_of(frames, first, stop),
        )
        for n, file in enumerate(files):
            data = done.data[n]
            variance = None if done.uncertainty is None else done.uncertainty.array[n]
            flags = None if done.flags is None else done.flags[n]
            fringes = fringes_of(self.frame)
            if fringes is not None:
                data, variance, scale = self._without_fringes(data, variance, flags, fringes)
                file.set_card("FRINGSCL", scale.value)
                file.set_card("FRINGERR", scale.error)
                done = CCDData(data[np.newaxis], unit=done.unit, flags=done.flags)
            if self.requests[n].cosmic_rays is not None:
                data, flags, way = self._cleaned(done, n)
                file.set_card("CRWAY", way)
                file.set_card("CRNUM", int(np.count_nonzero(flags & COSMIC_RAY)))
            lost = ~np.isfinite(data)
            if lost.any():
                flags = np.zeros(data.shape, "u2") if flags is None else flags.copy()
                flags[lost] |= NO_DATA
            file.write(first, Band(data, variance, flags))

    def _without_fringes(
        self,
        data: np.ndarray,
        variance: np.ndarray | None,
        flags: np.ndarray | None,
        fringes: Fringes,
    ) -> tuple[np.ndarray, np.ndarray | None, FringeScale]:
        """Return the data and the variance of a whole frame without fringes, and their scale."""
        good = np.ones(data.shape, bool) if flags is None else (flags & MASKED) == 0
        scale = fringe_scale(data, good, fringes)
        return *subtract_fringes(data, variance, fringes, scale), scale

    def _cleaned(self, done: CCDData, n: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Find the cosmic rays of one whole frame; return data, flags and the method used."""
        flags = None if done.flags is None else done.flags[n]
        found = find_cosmic_rays(
            CCDData(done.data[n], unit=done.unit, flags=flags),
            self.amplifiers,
            known(self.requests[n].cosmic_rays, "recipe for cosmic rays"),
            noise_of(self.amplifiers, self.recipe, 0, self.amplifiers.shape[0]),
        )
        return found.data, found.flags, found.meta["CRWAY"]

    def _products(self, writers: Writers) -> Iterator[ProductFile]:
        """Open the products one after the other, each with its header."""
        shared: dict[float | None, ProductHeader] = {}
        used = self.inputs.used(self.chosen.masters)
        shape, uncertainty = self.amplifiers.shape, self.has_uncertainty
        for request in self.requests:
            frame = self.inputs.frames[request.chosen.file]
            if frame.exposure not in shared:
                shared[frame.exposure] = self._shared_cards(frame)
            header = self._header(request, frame, shared[frame.exposure])
            rows = [(frame.file, self.inputs.measured[frame.file].sha256, "science"), *used]
            yield ProductFile(request.path, header, shape, uncertainty, rows, writers)

    def _header(
        self, request: ScienceRequest, frame: Frame, shared: ProductHeader
    ) -> ProductHeader:
        header = prepared_header(frame)
        header.update(shared)
        header["CPKEY"] = (request.key, "hash of all that went in")
        if self.electrons:
            for card in ("GAIN", "EGAIN"):
                if card in header:
                    header[card] = (1.0, "the gain was applied")
        level_cards(header, [self.inputs.measured[frame.file]])
        hand_cards(header, self.inputs, [frame.file])
        _cosmic_ray_cards(header, request)
        return header

    def _shared_cards(self, frame: Frame) -> ProductHeader:
        """Return the cards of this package that are the same for all frames of an exposure."""
        header = ProductHeader()
        unit = "electron" if self.electrons else str(self.unit)
        header["BUNIT"] = (unit, "unit of the pixels")
        header["CPTYPE"] = ("science", "a calibrated frame")
        common_cards(header, self.inputs, frame, self.chosen, "", "science")
        return header


def _cosmic_ray_cards(header: ProductHeader, request: ScienceRequest) -> None:
    how = request.cosmic_rays
    if how:
        header["CRAYS"] = (
            "repaired" if how.repair else "flagged",
            "cosmic rays, by L.A.Cosmic",
        )
        header["CRWAY"] = ("", "sparse: our own way; else astroscrappy's")
        header["CRNUM"] = (0, "pixels hit by cosmic rays")
        header.add_history(f"L.A.Cosmic sigclip={how.sigclip:g} objlim={how.objlim:g}")
    elif request.cosmic_rays_off:
        header["NOCRAYS"] = (True, "cosmic rays left out on purpose")
        header.add_history("cosmic rays left out on purpose")


def batches(
    frames: Mapping[str, Frame], requests: Sequence[ScienceRequest], workers: int
) -> Iterator[tuple[ScienceRequest, ...]]:
    """Group frames that share masters and recipe into jobs.

    Parameters
    ----------
    frames : mapping
        File → frame.
    requests : sequence of ScienceRequest
    workers : int
        Among how many the frames are divided.
    """
    groups: dict[tuple, list[ScienceRequest]] = {}
    recipes = {id(f.recipe): f.recipe for f in frames.values()}
    texts = {key: repr(recipe) for key, recipe in recipes.items()}
    for request in requests:
        i = request.chosen
        frame = frames[i.file]
        readouts = frame.amplifiers.readouts
        numbers = tuple((r.gain, r.read_noise, r.saturation, r.linear) for r in readouts)
        profile = frame.profile.name
        recipe = texts[id(frame.recipe)]
        shared = (profile, frame.amplifier_key, frame.binning, numbers, recipe)
        fringe = correction_file(frame, "fringe")
        groups.setdefault((*shared, fringe, i.bias, i.dark, i.dark_scale, i.flat), []).append(
            request
        )
    for group in groups.values():
        rows, columns = frames[group[0].chosen.file].amplifiers.shape
        whole = group[0].needs_whole(frames[group[0].chosen.file])
        size = 1 if whole else max(_TOGETHER, _JOB_PIXELS // (rows * columns))
        size = min(size, -(-len(group) // workers))
        for first in range(0, len(group), size):
            yield tuple(group[first : first + size])


def write_science(
    inputs: JobInputs, requests: Sequence[ScienceRequest], mapped: Callable = map
) -> Written:
    """Calibrate frames that share masters and recipe, a few at a time.

    Parameters
    ----------
    inputs : JobInputs
    requests : sequence of ScienceRequest
    mapped : callable
        As `map`; it may work in threads.
    """
    first = Batch(inputs, requests)
    rows, columns = first.amplifiers.shape
    # Every frame of a batch is an open file, and so is one that waits to be closed.
    most = max(1, open_products(1) // 2)
    size = 1 if first.whole else min(most, max(_TOGETHER, _BATCH_PIXELS // (rows * columns)))
    done: list[Written] = []
    with Writers() as writers, Threads(_CLOSERS) as closers:
        for start in range(0, len(requests), size):
            batch = Batch(inputs, requests[start : start + size])
            done.append(batch.write(mapped, closers, writers))
            if len(done) > 1:
                _closed(done[-2])
    written = Written.all(done)
    names = _closed(written)
    paths = {r.name: r.path for r in requests if r.name in names}
    sync_folders(paths.values())
    return Written(paths, written.failed)


def open_products(workers: int) -> int:
    """Return how many products one worker may have open, each with its decompressed frame."""
    try:
        import resource
    except ImportError:  # Windows, where the limit is high
        return _OPEN_PRODUCTS // workers or 1
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    free = limit if limit != resource.RLIM_INFINITY else 2**16
    return max(1, min(_OPEN_PRODUCTS, (free - 32) // 2) // workers)


def _closed(written: Written) -> list[str]:
    """Wait until products are on the disk; return their names."""
    for future in written.products.values():
        if not isinstance(future, Path):
            future.result()
    return list(written.products)
