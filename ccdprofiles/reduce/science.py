"""Calibrate science frames that share their masters, together and band by band."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.nddata import CCDData

from ..errors import FrameRejected, words_of
from ..files.header import ProductHeader
from ..files.pixels import Pixels
from ..files.threads import Threads
from ..files.writer import Writers
from ..pixels.calibrate import COSMIC_RAY, calibrate, find_cosmic_rays
from ..pixels.measure import Measured
from ..pixels.prepare import NO_DATA, prepare, refuse_changes
from ..plan.frames import Frame
from ..plan.plan import Product
from ..products.band import Band
from ..products.header import add_mjd, copied_header, shift_wcs
from ..products.product import ProductFile, sync_folders
from .keywords import common_cards, hand_cards, level_cards
from .ledger import Ledger, bands_of, noise_of, pedestal_off

__all__ = ["Batch", "Written", "batches", "write_science"]

_JOB_PIXELS = 4 * 2**20
_BATCH_PIXELS = 2**19
_CLOSERS = 4
_TOGETHER = 4
"""How many frames share the bands of their masters at least."""


@dataclass(frozen=True)
class Written:
    """What became of a batch.

    Parameters
    ----------
    products : dict
        Name in the plan → path, or the future of its being put on the disk.
    failed : dict
        File → code and sentence.
    """

    products: dict[str, Path | Future]
    failed: dict[str, tuple[str, str]]

    @classmethod
    def all(cls, some: Iterable[Written]) -> Written:
        """Put several together."""
        products, failed = {}, {}
        for each in some:
            products |= each.products
            failed |= each.failed
        return cls(products, failed)


class Batch:
    """Science frames that share their masters, calibrated together band by band."""

    def __init__(self, run: Ledger, products: Sequence[Product], whole: bool):
        self.run = run
        self.products = products
        self.chosen = products[0].input
        self.frame = run.frames[self.chosen.file]
        self.recipe = self.frame.recipe
        self.amplifiers = self.frame.amplifiers
        self.measured = [run.measured[p.input.file] for p in products]
        self.whole = whole
        self.electrons = self.recipe.electrons and "gain" not in self.amplifiers.missing
        shape = self.amplifiers.shape
        small = len(products) * shape[0] * shape[1] <= _BATCH_PIXELS
        together = whole or small
        masters = (self.chosen.bias, self.chosen.dark, self.chosen.flat)
        self.used = run.used(name for name in masters if name)
        self._told: dict[float | None, ProductHeader] = {}
        self.bands = [(0, shape[0])] if together else bands_of(shape, len(products) * 32)

    def write(self, mapped: Callable, closers: Executor, writers: Writers) -> Written:
        """Calibrate all bands, by ``mapped`` as `map` does, and write the products.

        A frame whose pixels cannot be read after all costs itself. The products are put
        on the disk by ``closers``, while the next frames are worked on.
        """
        try:
            return Written(self._write(mapped, closers, writers), {})
        except (FrameRejected, OSError) as error:
            if len(self.products) > 1:
                alone = [Batch(self.run, [p], self.whole) for p in self.products]
                return Written.all(one.write(mapped, closers, writers) for one in alone)
            if not isinstance(error, FrameRejected):
                why = f"it cannot be read ({words_of(error)}); look at the disk, and copy it again."
                error = FrameRejected("unreadable", why)
            file = self.frame.file
            return Written({}, {file: (error.code, f"{file}: {error}")})

    def _write(self, mapped: Callable, closers: Executor, writers: Writers) -> dict[str, Future]:
        self.pixels = [Pixels(m.raw) for m in self.measured]
        files: list[ProductFile] = []
        try:
            for product, measured in zip(self.products, self.measured, strict=True):
                files.append(self._open(product, measured, writers))
            for _ in mapped(lambda band: self._band(files, *band), self.bands):
                pass
            refuse_changes(measured.raw for measured in self.measured)
        except BaseException:
            for file in files:
                file.discard()
            raise
        finally:
            for pixels in self.pixels:
                pixels.close()
        names = [product.name for product in self.products]
        return {n: closers.submit(file.finish) for n, file in zip(names, files, strict=True)}

    @property
    def _uncertainty(self) -> bool:
        if pedestal_off(self.frame, self.chosen):
            return self.amplifiers.knows_noise
        return (
            "gain" not in self.amplifiers.missing
            and self.chosen.dark is not None
            and "UNCERT" in self.run.saved[self.chosen.dark].raw.shapes
        )

    def _band(self, files: list[ProductFile], first: int, stop: int) -> None:
        unit = self.frame.profile.unit
        ccd = prepare(self.measured, first, stop, unit=unit, pixels=self.pixels)
        bias, dark, flat = self.run.bands(self.chosen, first, stop)
        done = calibrate(
            ccd,
            noise_of(self.amplifiers, self.recipe, first, stop),
            pedestal=not pedestal_off(self.frame, self.chosen),
            bias=bias,
            dark=dark,
            scale=self.chosen.dark_scale,
            flat=flat,
            electrons=self.electrons,
        )
        for n, file in enumerate(files):
            data = done.data[n]
            variance = None if done.uncertainty is None else done.uncertainty.array[n]
            flags = None if done.flags is None else done.flags[n]
            if self.whole:
                data, flags, way = self._cleaned(done, n)
                file.set_card("CRWAY", way)
                file.set_card("CRNUM", int(np.count_nonzero(flags & COSMIC_RAY)))
            lost = ~np.isfinite(data)
            if lost.any():
                flags = np.zeros(data.shape, "u2") if flags is None else flags.copy()
                flags[lost] |= NO_DATA
            file.write(first, Band(data, variance, flags))

    def _cleaned(self, done: CCDData, n: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Flag the cosmic rays of one whole frame, and tell the way it was done."""
        how = self.run.cosmic_rays(self.products[n])
        flags = None if done.flags is None else done.flags[n]
        found = find_cosmic_rays(
            CCDData(done.data[n], unit=done.unit, flags=flags),
            self.amplifiers,
            how,
            noise_of(self.amplifiers, self.recipe, 0, self.amplifiers.shape[0]),
        )
        return found.data, found.flags, found.meta["CRWAY"]

    def _open(self, product: Product, measured: Measured, writers: Writers) -> ProductFile:
        run, chosen = self.run, product.input
        frame = run.frames[chosen.file]
        header = copied_header(frame.header)
        first = self.amplifiers.readouts[0]
        (row, column), (down, across) = (
            (s[0].start, s[1].start) for s in (first.data.slices(), first.place.slices())
        )
        shift_wcs(header, column - across, row - down)
        add_mjd(header, frame.date)
        if frame.exposure not in self._told:
            self._told[frame.exposure] = self._own_cards(frame)
        header.update(self._told[frame.exposure])
        header["CPKEY"] = (run.keys[product.name], "hash of all that went in")
        if self.electrons:
            for card in ("GAIN", "EGAIN"):
                if card in header:
                    header[card] = (1.0, "the gain was applied")
        level_cards(header, [measured])
        hand_cards(header, run, [frame.file])
        cosmic = run.cosmic_rays(product)
        if cosmic:
            header["CRAYS"] = (
                "repaired" if cosmic.repair else "flagged",
                "cosmic rays, by L.A.Cosmic",
            )
            header["CRWAY"] = ("", "sparse: our own way; else astroscrappy's")
            header["CRNUM"] = (0, "pixels hit by cosmic rays")
            header.add_history(f"L.A.Cosmic sigclip={cosmic.sigclip:g} objlim={cosmic.objlim:g}")
        elif run.without_cosmic_rays(frame.file):
            header["NOCRAYS"] = (True, "cosmic rays left out on purpose")
            header.add_history("cosmic rays left out on purpose")
        inputs = [(frame.file, measured.sha256, "science"), *self.used]
        path = run.settings.path(product.name)
        shape = self.amplifiers.shape
        return ProductFile(path, header, shape, self._uncertainty, inputs, writers)

    def _own_cards(self, frame: Frame) -> ProductHeader:
        """Make the cards that are ours and the same for all frames of an exposure."""
        header = ProductHeader()
        unit = "electron" if self.electrons else str(frame.profile.unit)
        header["BUNIT"] = (unit, "unit of the pixels")
        header["CPTYPE"] = ("science", "a calibrated frame")
        common_cards(header, self.run, frame, self.chosen, "", "science")
        return header


def batches(
    run: Ledger, products: Sequence[Product], workers: int
) -> Iterable[tuple[tuple[Product, ...], bool]]:
    """Put frames together that share masters and recipe, as many as are worth a job.

    Also says whether they are worked on whole, as for cosmic rays.

    Parameters
    ----------
    run : Ledger
    products : sequence of Product
    workers : int
        Among whom they are shared out.
    """
    groups: dict[tuple, list[Product]] = {}
    recipes = {id(f.recipe): f.recipe for f in run.frames.values()}
    told = {key: repr(recipe) for key, recipe in recipes.items()}
    for product in products:
        i = product.input
        frame = run.frames[i.file]
        numbers = tuple((r.gain, r.read_noise, r.saturation) for r in frame.amplifiers.readouts)
        shared = (
            frame.profile.name,
            frame.amplifier_key,
            frame.binning,
            numbers,
            told[id(frame.recipe)],
        )
        groups.setdefault((*shared, i.bias, i.dark, i.dark_scale, i.flat), []).append(product)
    for group in groups.values():
        rows, columns = run.frames[group[0].input.file].amplifiers.shape
        whole = run.cosmic_rays(group[0]) is not None
        size = 1 if whole else max(_TOGETHER, _JOB_PIXELS // (rows * columns))
        size = min(size, -(-len(group) // workers))
        for first in range(0, len(group), size):
            yield tuple(group[first : first + size]), whole


def write_science(
    run: Ledger, products: Sequence[Product], whole: bool, mapped: Callable = map
) -> Written:
    """Calibrate frames that share masters and recipe, a few at a time.

    Parameters
    ----------
    run : Ledger
    products : sequence of Product
    whole : bool
    mapped : callable
        As `map`; it may work in threads.
    """
    rows, columns = run.frames[products[0].input.file].amplifiers.shape
    # Every frame of a batch is an open file, and so is one that waits to be closed.
    most = max(1, run.settings.open_products(1) // 2)
    size = 1 if whole else min(most, max(_TOGETHER, _BATCH_PIXELS // (rows * columns)))
    parts = [products[first : first + size] for first in range(0, len(products), size)]
    done: list[Written] = []
    with Writers() as writers, Threads(_CLOSERS) as closers:
        for some in parts:
            done.append(Batch(run, some, whole).write(mapped, closers, writers))
            if len(done) > 1:
                _closed(done[-2])
    written = Written.all(done)
    paths = {name: run.settings.path(name) for name in _closed(written)}
    sync_folders(paths.values())
    return Written(paths, written.failed)


def _closed(written: Written) -> list[str]:
    """Wait until products are on the disk; return their names."""
    for future in written.products.values():
        future.result()
    return list(written.products)
