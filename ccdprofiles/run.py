"""Walk a plan: measure the frames, make the masters, calibrate the science.

Everything goes band by band: rows of all the frames of a master, or of all the
science frames that share their masters, are read, worked on and written, so that
neither frames nor masters need to fit into memory.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData

from . import __version__
from .amplifier import AmplifierSet
from .calibrate import (
    BAD,
    HOT,
    NO_FLAT,
    UNILLUMINATED,
    MasterBand,
    Noise,
    calibrate,
    find_cosmic_rays,
    master_variance,
    subtract_masters,
)
from .combine import MAD_TO_STD, Stacked, combine, exact_median, inefficiency, level
from .errors import FrameRejected
from .frames import Frame
from .noise import pooled_scatter, scaled_apart
from .plan import Input, Master, Plan, Product
from .prepare import NO_DATA, SATURATED, Measured, measure, overscan_noise, prepare, take_level
from .products import (
    Band,
    ProductFile,
    SavedProduct,
    add_mjd,
    ascii_text,
    combined_header,
    copied_header,
    product_key,
    saved_key,
    sha256_of,
    shift_wcs,
)
from .profile import CosmicRays, Profile, Recipe, SpectralFlat
from .response import illuminated, spectral_flat

__all__ = ["Made", "Settings", "run_plan"]

log = logging.getLogger(__name__)

_BAND_BYTES = 24 * 2**20
_BATCH_PIXELS = 4 * 2**20
_BATCH_FRAMES = 64
_ASIDE = "set aside, "


@dataclass(frozen=True)
class Settings:
    """How a run goes about it; nothing here changes a pixel but ``cosmic_rays``.

    Parameters
    ----------
    output : Path
    jobs : int
        Threads.
    overwrite : bool
        Whether products that are there already are made anew.
    cosmic_rays : CosmicRays or None
        Overrules the recipes.
    without : tuple of str
        The steps that were left out of the plan.
    progress : callable
        ``progress(phase, total)`` returns a function to be called once for each thing done.
    """

    output: Path
    jobs: int = 0
    overwrite: bool = False
    cosmic_rays: CosmicRays | None = None
    without: tuple[str, ...] = ()
    progress: Callable[[str, int], Callable[[], None]] = lambda phase, total: lambda: None

    @property
    def workers(self) -> int:
        """The number of threads: as many as there are processors, unless told."""
        if hasattr(os, "sched_getaffinity"):
            return self.jobs or len(os.sched_getaffinity(0))
        return self.jobs or os.cpu_count() or 1


@dataclass
class Made:
    """What a run has made, and what it could not.

    Parameters
    ----------
    masters, products : dict
        Name in the plan → path of every one that is there now.
    kept : set of str
        Names of those that were there already and still hold.
    failed : dict
        Name or file → code and sentence, of what turned out to be unusable only now.
    """

    masters: dict[str, Path] = field(default_factory=dict)
    products: dict[str, Path] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)


def run_plan(plan: Plan, frames: Sequence[Frame], settings: Settings) -> Made:
    """Make every master and every product of a plan.

    A frame that turns out to be unusable costs itself; what needs it says so in
    ``failed``. Results do not depend on the number of threads.

    Parameters
    ----------
    plan : Plan
    frames : sequence of Frame
    settings : Settings

    Raises
    ------
    OutputError
        If the products cannot be written.
    """
    pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="ccdprofiles")
    try:
        return _Run(plan, frames, settings, pool).run()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Run:
    def __init__(self, plan: Plan, frames: Sequence[Frame], settings: Settings, pool: Executor):
        self.plan = plan
        self.frames = {f.file: f for f in frames}
        self.settings = settings
        self.pool = pool
        self.made = Made()
        self.measured: dict[str, Measured] = {}
        self.keys: dict[str, str] = {}
        self.sums: dict[str, str] = {}
        self.saved: dict[str, SavedProduct] = {}

    def run(self) -> Made:
        self._measure()
        step = self.settings.progress("masters", len(self.plan.masters))
        for master in self.plan.masters:
            self._master(master)
            step()
        self._science()
        return self.made

    # Measuring.

    def _measure(self) -> None:
        files = sorted(
            {i.file for m in self.plan.masters for i in m.inputs}
            | {p.input.file for p in self.plan.products}
        )
        step = self.settings.progress("frames", len(files))

        def one(file: str) -> Measured | FrameRejected:
            frame = self.frames[file]
            try:
                return measure(frame.raw, frame.amplifiers, frame.recipe)
            except FrameRejected as error:
                return error
            except OSError as error:
                return FrameRejected("unreadable", f"it cannot be read ({error.strerror}).")
            finally:
                step()

        for file, found in zip(files, self.pool.map(one, files), strict=True):
            if isinstance(found, FrameRejected):
                self.made.failed[file] = (found.code, f"{file}: {found}")
            else:
                self.measured[file] = found
        self._compare_levels()

    def _compare_levels(self) -> None:
        """Give the night's overscan level to frames whose own lies too far from it."""
        groups: dict[tuple, list[str]] = {}
        for file in self.measured:
            frame = self.frames[file]
            if frame.recipe.overscan_drift is not None:
                key = (frame.profile.name, frame.readout, frame.binning)
                groups.setdefault(key, []).append(file)
        for files in groups.values():
            drift = self.frames[files[0]].recipe.overscan_drift.to_value(u.adu)
            levels = [self.measured[f].level for f in files]
            night = [
                None if None in amplifier else float(np.median(amplifier))
                for amplifier in zip(*levels, strict=True)
            ]
            for file in files:
                self.measured[file] = take_level(self.measured[file], night, drift)
                if any(self.measured[file].replaced):
                    log.warning("%s: its overscan stands apart; the night's level is taken", file)

    # Masters.

    def _master(self, master: Master) -> None:
        """Make one master, unless it is there already or nothing is left to make it of."""
        if master.path:
            path = Path(master.path)
            self._keep(master.name, path, saved_key(path) or "")
            return
        inputs = [i for i in master.inputs if i.file in self.measured]
        lacking = {m for i in inputs for m in (i.bias, i.dark) if m and m not in self.made.masters}
        inputs = [i for i in inputs if not lacking & {i.bias, i.dark}]
        if not inputs:
            why = sorted(lacking) or "its frames, which cannot be used"
            self.made.failed[master.name] = (
                "no-master",
                f"{master.name}: it lacks {_joined(why)}.",
            )
            return
        path = self.settings.output / PurePosixPath(master.name)
        key = self._key(master.type, self._profile(inputs[0]), inputs, master.method)
        if not self.settings.overwrite and saved_key(path) == key:
            self.made.kept.add(master.name)
            self._remember(path)
        else:
            try:
                _MasterMaker(self, master, inputs, key).write(path)
            except FrameRejected as error:
                self.made.failed[master.name] = (error.code, f"{master.name}: {error}")
                return
            log.info("%s made of %d frames", master.name, len(inputs), extra={"made": True})
        self._keep(master.name, path, key)

    def _keep(self, name: str, path: Path, key: str) -> None:
        self.made.masters[name] = path
        self.keys[name] = key
        self.sums[name] = sha256_of(path)
        self.saved[name] = SavedProduct(path)

    def _remember(self, path: Path) -> None:
        """Read which frames were set aside when a master that is kept was made."""
        with fits.open(path) as hdus:
            for file, _, role in hdus["PROVENANCE"].data:
                if role.startswith(_ASIDE):
                    code, sentence = role.removeprefix(_ASIDE).split(": ", 1)
                    self.made.failed[file] = (code, sentence)

    def _profile(self, chosen: Input) -> Profile:
        return self.frames[chosen.file].profile

    def _key(self, kind: str, profile: Profile, inputs: Iterable[Input], more: object = "") -> str:
        """Hash all that decides a product: inputs, masters, profile, settings and version."""
        parts: dict[str, object] = {"version": __version__, "kind": kind, "profile": profile.hash}
        parts["more"] = more
        parts["inputs"] = sorted(
            (
                self.measured[i.file].sha256,
                i.file,
                self.keys.get(i.bias or "", ""),
                self.keys.get(i.dark or "", ""),
                i.dark_scale,
                self.keys.get(i.flat or "", ""),
                [
                    float(x[0]) if x is not None and r else None
                    for x, r in zip(
                        self.measured[i.file].levels, self.measured[i.file].replaced, strict=True
                    )
                ],
            )
            for i in inputs
        )
        return product_key(parts)

    def bands(
        self, chosen: Input, first: int, stop: int
    ) -> tuple[MasterBand | None, MasterBand | None, MasterBand | None]:
        """Read the bands of the bias, dark and flat of a frame."""
        bias = self._band(chosen.bias, first, stop)
        dark = self._band(chosen.dark, first, stop)
        if dark is not None:
            bias_in_it = self.saved[chosen.dark].header.get("BIASSHA")
            dark = replace(dark, same_bias=bias_in_it == self.sums.get(chosen.bias or ""))
            if not _pedestal_off(self.frames[chosen.file], chosen) and dark.variance is not None:
                dark = replace(dark, scatter=dark.variance * self._frames_of(chosen.dark))
        return bias, dark, self._band(chosen.flat, first, stop)

    def _band(self, name: str | None, first: int, stop: int) -> MasterBand | None:
        if name is None:
            return None
        saved = self.saved[name].band(first, stop)
        return MasterBand(saved.data, saved.variance, saved.flags)

    def _frames_of(self, name: str) -> float:
        """How many times the variance of a master dark that of one of its frames is."""
        header = self.saved[name].header
        return float(header.get("NCOMBINE", 1)) / float(header.get("CPINEFF", 1.0))

    # Science.

    def _science(self) -> None:
        step = self.settings.progress("science", len(self.plan.products))
        ready = []
        for product in self.plan.products:
            chosen = product.input
            lacking = [
                m
                for m in (chosen.bias, chosen.dark, chosen.flat)
                if m and m not in self.made.masters
            ]
            if chosen.file not in self.measured:
                step()
            elif lacking:
                why = f"{chosen.file}: its {_joined(lacking)} could not be made."
                self.made.failed[chosen.file] = ("no-master", why)
                step()
            else:
                ready.append(product)
        todo = []
        for product in ready:
            path = self.settings.output / PurePosixPath(product.name)
            cosmic = self._cosmic_rays(product)
            key = self._key("science", self._profile(product.input), [product.input], cosmic)
            self.keys[product.name] = key
            if not self.settings.overwrite and saved_key(path) == key:
                self.made.kept.add(product.name)
                self.made.products[product.name] = path
                step()
            else:
                todo.append(product)
        batches = list(self._batches(todo))
        if len(batches) > 1 and all(len(b.bands) == 1 for b in batches):
            for _ in self.pool.map(lambda batch: batch.write(map, step), batches):
                pass
        else:
            for batch in batches:
                batch.write(self.pool.map, step)

    def _cosmic_rays(self, product: Product) -> CosmicRays | None:
        return self.settings.cosmic_rays or self.frames[product.input.file].recipe.cosmic_rays

    def _batches(self, products: list[Product]) -> Iterable[_Batch]:
        """Put frames together that share their masters, as many as a band may hold."""
        groups: dict[tuple, list[Product]] = {}
        for product in products:
            i = product.input
            frame = self.frames[i.file]
            numbers = tuple((r.gain, r.read_noise, r.saturation) for r in frame.amplifiers.readouts)
            key = (frame.profile.name, frame.readout, numbers, i.bias, i.dark, i.dark_scale, i.flat)
            groups.setdefault(key, []).append(product)
        for group in groups.values():
            shape = self.frames[group[0].input.file].amplifiers.shape
            whole = self._cosmic_rays(group[0]) is not None
            size = max(1, min(_BATCH_FRAMES, _BATCH_PIXELS // (shape[0] * shape[1])))
            size = 1 if whole else max(size, 2)
            for first in range(0, len(group), size):
                yield _Batch(self, group[first : first + size], whole)


class _MasterMaker:
    """Makes one master: its bands are combined in threads, its whole is finished at the end."""

    def __init__(self, run: _Run, master: Master, inputs: list[Input], key: str):
        self.run = run
        self.master = master
        self.inputs = inputs
        self.key = key
        self.frames = [run.frames[i.file] for i in inputs]
        self.measured = [run.measured[i.file] for i in inputs]
        self.profile = self.frames[0].profile
        self.recipe = self.frames[0].recipe
        self.amplifiers = self.frames[0].amplifiers
        self.how = self.recipe.combine_for(master.type)
        self.shape = self.amplifiers.shape
        self.data = np.empty(self.shape, "f4")
        self.variance = np.empty(self.shape, "f4") if self._has_variance() else None
        self.flags = np.zeros(self.shape, "u2")
        self.scatter = self.kept = None
        if (
            self.variance is not None
            and master.type == "dark"
            and not _pedestal_off(self.frames[0], self.inputs[0])
        ):
            self.scatter = np.empty((2, *self.shape))
            self.kept = np.empty(self.shape)
        self.scales = np.ones(len(inputs))
        self.offsets: dict[str, float] = {}
        self.norm: float | None = None
        self.aside: list[tuple[str, str, str]] = []
        self._loaded: dict[str, Band] = {}

    def _has_variance(self) -> bool:
        if self.master.type == "dark" and not _pedestal_off(self.frames[0], self.inputs[0]):
            return len(self.inputs) > 1
        if self.master.type == "flat" and not _pedestal_off(self.frames[0], self.inputs[0]):
            return self.amplifiers.readouts[0].gain is not None and all(i.dark for i in self.inputs)
        return self.amplifiers.knows_noise

    def write(self, path: Path) -> None:
        """Make the master and write it."""
        if self.master.type == "flat":
            self._scale()
        itemsize = np.dtype(self._dtype).itemsize
        bands = _bands(self.shape, len(self.inputs) * itemsize)
        for _ in self.run.pool.map(lambda band: self._combine(*band), bands):
            pass
        self._finish()
        header = self._header()
        inputs = self._provenance()
        with ProductFile(path, header, self.shape, self.variance is not None, inputs) as product:
            for _ in self.run.pool.map(
                lambda band: self._save(product, *band), _bands(self.shape, 16)
            ):
                pass
            product.finish()

    def _save(self, product: ProductFile, first: int, stop: int) -> None:
        rows = slice(first, stop)
        variance = None if self.variance is None else self.variance[rows]
        product.write(first, Band(self.data[rows], variance, self.flags[rows]))

    def _scale(self) -> None:
        """Measure the level of every flat; one without light costs itself."""
        for name in {m for i in self.inputs for m in (i.bias, i.dark) if m}:
            self._pixels_of(name, 0, 1)

        def one(chosen: Input) -> float:
            try:
                return self._level(chosen)
            except FrameRejected as error:
                self.run.made.failed[chosen.file] = (error.code, str(error))
                return 0.0

        levels = np.array(list(self.run.pool.map(one, self.inputs)))
        self._loaded.clear()
        lit = np.flatnonzero(levels)
        if not lit.size:
            raise FrameRejected("flat-level", "none of its frames has light.")
        self.scales = 1 / levels[lit]
        self.aside = [
            (i.file, m.sha256, _ASIDE + ": ".join(self.run.made.failed[i.file]))
            for i, m, value in zip(self.inputs, self.measured, levels, strict=True)
            if not value
        ]
        for name in ("inputs", "frames", "measured"):
            setattr(self, name, [getattr(self, name)[i] for i in lit])

    @property
    def _dtype(self) -> str:
        """Return float32 where it holds a frame less its overscan exactly, else float64."""
        whole = all(image.bitpix in (8, 16) for f in self.frames for image in f.raw.images)
        exact = not self.amplifiers.has_overscan or self.recipe.overscan == "median"
        exact &= not any(any(m.replaced) for m in self.measured)
        return "f4" if whole and exact and self.master.type != "flat" else "f8"

    def _level(self, chosen: Input) -> float:
        """Measure the level of one flat, over its good pixels."""
        measured = [self.run.measured[chosen.file]]
        image = np.empty(self.shape, "f8")
        good = np.ones(self.shape, bool)
        for first, stop in _bands(self.shape, 24):
            masters = [self._pixels_of(name, first, stop) for name in (chosen.bias, chosen.dark)]
            ccd = self._less_masters(measured, first, stop, *masters, chosen.dark_scale)
            image[first:stop] = ccd.data[0]
            if ccd.flags is not None:
                good[first:stop] = ccd.flags[0] == 0
        how = self.recipe.flat
        if isinstance(how, SpectralFlat):
            slit = illuminated(np.where(good, image, np.nan), how)
            good &= np.expand_dims(slit, 0 if how.dispersion == "y" else 1)
        values = image.reshape(-1) if good.all() else image[good]
        found = level(values, how.scale) if values.size else 0.0
        if not found > 0:
            raise FrameRejected(
                "flat-level",
                f"{chosen.file} has a level of {found:.6g} adu once bias and dark are off, where a "
                "flat needs light; look at it, and take it out of the night.",
            )
        if how.scale != "median":
            self.offsets[chosen.file] = found / level(values, "median")
        return found

    def _less_masters(
        self,
        measured: Sequence[Measured],
        first: int,
        stop: int,
        bias: MasterBand | None,
        dark: MasterBand | None,
        scale: float,
    ) -> CCDData:
        """Read a band of some flats in float64, bias and dark off, in light alone."""
        ccd = prepare(measured, first, stop, unit=self.profile.unit, dtype="f8")
        ccd = subtract_masters(ccd, bias, dark, scale)
        gain = self._relative_gain(first, stop)
        if gain is not None:
            ccd.data *= gain
        return ccd

    def _pixels_of(self, name: str | None, first: int, stop: int) -> MasterBand | None:
        """Return a band of a master without its variance; every flat asks for the same."""
        if name is None:
            return None
        if name not in self._loaded:
            saved = self.run.saved[name]
            self._loaded[name] = saved.band(0, saved.shape[0], variance=False)
        whole = self._loaded[name]
        flags = None if whole.flags is None else whole.flags[first:stop]
        return MasterBand(whole.data[first:stop], None, flags)

    def _relative_gain(self, first: int, stop: int) -> np.ndarray | None:
        """Return the gains where they differ and the products are in electrons.

        Otherwise the flat would take out the ratio of the gains, and the gain would
        put it in again.
        """
        if not self.recipe.electrons:
            return None
        gain = Noise.of(self.amplifiers, (0,) * len(self.amplifiers.readouts), first, stop).gain
        return gain if isinstance(gain, np.ndarray) else None

    def _combine(self, first: int, stop: int) -> None:
        """Combine one band of rows, and set its variance and its flags."""
        kind = self.master.type
        rows = slice(first, stop)
        bands = {}
        if kind == "flat":
            # Most flats share their bias and dark, which are read once for all of them.
            for chosen in self.inputs:
                if (chosen.bias, chosen.dark) not in bands:
                    bands[chosen.bias, chosen.dark] = self.run.bands(chosen, first, stop)[:2]
            stack, flags = self._scaled_flats(bands, first, stop)
        else:
            ccd = prepare(self.measured, first, stop, unit=self.profile.unit, dtype=self._dtype)
            stack, flags = ccd.data, ccd.flags
        found = combine(stack, self.how, self.profile.unit, self.scatter is not None)
        value = found.data
        bias = self.run._band(self.inputs[0].bias, first, stop) if kind in ("dark", "arc") else None
        if bias is not None:
            # The same bias is in every frame, so it is taken off once.
            times = len(self.inputs) if self.how.method == "sum" else 1
            value = value - times * bias.data.astype("f8")
        self._set_flags(rows, flags, found.kept)
        if self.variance is not None:
            self.variance[rows] = self._band_variance(value, found, bias, bands, first, stop)
        self.data[rows] = value

    def _scaled_flats(
        self, bands: Mapping, first: int, stop: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Stack a band of all flats, bias and dark off, each scaled by its level."""
        groups: dict[tuple, list[int]] = {}
        for n, chosen in enumerate(self.inputs):
            groups.setdefault((chosen.bias, chosen.dark, chosen.dark_scale), []).append(n)
        stack = np.empty((len(self.inputs), stop - first, self.shape[1]), "f8")
        flags = None
        for (bias, dark, scale), members in groups.items():
            measured = [self.measured[n] for n in members]
            ccd = self._less_masters(measured, first, stop, *bands[bias, dark], scale)
            stack[members] = ccd.data * self.scales[members, np.newaxis, np.newaxis]
            if ccd.flags is not None:
                flags = np.zeros(stack.shape, "u2") if flags is None else flags
                flags[members] = ccd.flags
        return stack, flags

    def _set_flags(self, rows: slice, flags: np.ndarray | None, kept: np.ndarray | int) -> None:
        if flags is not None:
            # A pixel that is full in half of the frames is full in their median.
            full = ((flags & SATURATED) != 0).sum(axis=0) * 2 >= len(self.inputs)
            self.flags[rows][full] |= SATURATED
        self.flags[rows][np.broadcast_to(kept == 0, self.data[rows].shape)] |= NO_DATA

    def _band_variance(
        self,
        value: np.ndarray,
        found: Stacked,
        bias: MasterBand | None,
        bands: Mapping,
        first: int,
        stop: int,
    ) -> np.ndarray:
        """Return the variance of a combined band, before a flat is normalised."""
        number = len(self.inputs)
        kept = np.maximum(found.kept, 1)
        factor = inefficiency(number, self.how) / kept
        if self.scatter is not None:
            self.scatter[:, first:stop] = found.scatter
            self.kept[first:stop] = kept
            return factor * found.scatter[1]
        noise = self._noise(first, stop)
        kind = self.master.type
        if kind == "bias":
            return np.broadcast_to(np.asarray(factor * noise.read_variance), value.shape)
        if kind == "flat":
            return self._flat_variance(value, factor, noise, bands, first, stop)
        if self.how.method == "sum":
            single = np.maximum(value / number, 0) / noise.gain + noise.read_variance
            own, times = number**2 * factor * single, number**2
        else:
            own = factor * (np.maximum(value, 0) / noise.gain + noise.read_variance)
            times = 1
        return own if bias is None or bias.variance is None else own + times * bias.variance

    def _flat_variance(
        self,
        value: np.ndarray,
        factor: np.ndarray | float,
        noise: Noise,
        bands: Mapping,
        first: int,
        stop: int,
    ) -> np.ndarray:
        """Return the variance of flats that were scaled to each other.

        Each is s (x - bias - r dark); its photons are those of the light, value / s,
        and of the dark that was taken off. What flats have in common, their bias and
        dark, does not average down.
        """
        # In electrons the light is already gain times what the frame holds.
        relative = self._relative_gain(first, stop)
        k = 1.0 if relative is None else relative
        pedestal = not _pedestal_off(self.frames[0], self.inputs[0])
        total = np.maximum(value, 0) * (k * self.scales.mean() / noise.gain)
        fixed = 0.0
        for (bias, dark, scale), s in self._alike().items():
            bias, dark = bands[bias, dark]
            if pedestal:
                single, more = dark.scatter, dark.variance
            else:
                light = 0 if dark is None else np.maximum(dark.data, 0) * (scale / noise.gain)
                single, more = light + noise.read_variance, master_variance(bias, dark, scale)
            total += k**2 * (sum(x * x for x in s) / len(self.scales)) * single
            if more is not None:
                fixed = fixed + (sum(s) / len(self.scales)) * np.sqrt(more)
        if self.how.method == "median" and self.offsets:
            # A mode is less certain than a median, and leaves the flats a little apart.
            off = np.array([self.offsets[i.file] for i in self.inputs])
            noise_of_one = np.sqrt(total) / np.maximum(np.abs(value), 1e-6)
            total = total * scaled_apart(off / off.mean() - 1, noise_of_one)
        return factor * total + (k * fixed) ** 2

    def _alike(self) -> dict[tuple[str | None, str | None, float], list[float]]:
        """Put the scales of flats together that have bias, dark and its scale in common."""
        groups: dict[tuple, list[float]] = {}
        for chosen, s in zip(self.inputs, self.scales, strict=True):
            key = (chosen.bias, chosen.dark, chosen.dark_scale)
            groups.setdefault(key, []).append(float(s))
        return groups

    def _noise(self, first: int, stop: int) -> Noise:
        return _noise(self.amplifiers, self.recipe, first, stop)

    def _finish(self) -> None:
        """Do what needs the whole master: normalise a flat, find hot pixels."""
        if self.scatter is not None:
            number = len(self.inputs)
            single = pooled_scatter(self.data, self.scatter, number)
            self.variance = (single * (inefficiency(number, self.how) / self.kept)).astype("f4")
        if self.master.type == "dark":
            middle = exact_median(self.data)
            width = MAD_TO_STD * exact_median(np.abs(self.data - np.float32(middle)))
            self.flags[self.data > middle + 10 * width] |= HOT
        elif self.master.type == "flat":
            good = (self.flags == 0) & np.isfinite(self.data)
            if isinstance(self.recipe.flat, SpectralFlat):
                self._finish_spectral(good)
            else:
                self._finish_imaging(good)
        self.data[(self.flags & NO_DATA) != 0] = 0
        if self.variance is not None:
            self.variance[(self.flags & NO_DATA) != 0] = 0

    def _finish_imaging(self, good: np.ndarray) -> None:
        how = self.recipe.flat
        values = self.data.reshape(-1) if good.all() else self.data[good]
        for _ in range(2):
            # Pixels without light are no good pixels; the second round leaves them out.
            self.norm = level(values, how.scale) if values.size else 0.0
            if not self.norm > 0:
                raise FrameRejected("flat-level", "its good pixels have no light.")
            lit = values >= how.minimum * self.norm
            if lit.all():
                break
            values = values[lit]
        self.data = (self.data / self.norm).astype("f4", copy=False)
        if self.variance is not None:
            self.variance /= self.norm**2
        self._drop(~good | (self.data < how.minimum), NO_FLAT)

    def _finish_spectral(self, good: np.ndarray) -> None:
        how = self.recipe.flat
        try:
            found = spectral_flat(self.data.astype("f8"), self.variance, good, how)
        except ValueError as error:
            raise FrameRejected("flat-lamp", f"{error}; look at the flats.") from error
        self.norm = found.norm
        self.data = found.data.astype("f4")
        if self.variance is not None:
            axis = 1 if how.dispersion == "y" else 0
            self.variance /= ((np.expand_dims(found.lamp, axis) * found.norm) ** 2).astype("f4")
        self.flags[found.bad] |= BAD
        self._drop(~found.lit, UNILLUMINATED)
        self._drop(found.lit & (~good | (self.data < how.minimum)), NO_FLAT)

    def _drop(self, where: np.ndarray, flag: int) -> None:
        """Set pixels of a flat to 1 and say why, so that nothing is divided by darkness."""
        self.flags[where] |= flag
        self.data[where] = 1
        if self.variance is not None:
            self.variance[where] = 0

    # What is written about it.

    def _header(self) -> fits.Header:
        master, profile = self.master, self.profile
        header = combined_header([f.header for f in self.frames])
        exposures = [f.exposure for f in self.frames if f.exposure is not None]
        if exposures:
            total = sum(exposures) if master.type == "arc" else sum(exposures) / len(exposures)
            header["EXPTIME"] = (
                total,
                "[s] exposure: " + ("sum" if master.type == "arc" else "mean"),
            )
        dates = sorted(f.date for f in self.frames if f.date)
        if dates:
            header["DATE-OBS"] = (ascii_text(dates[0]), "of the earliest frame")
            header["DATE-END"] = (ascii_text(dates[-1]), "of the latest frame")
        for stale in ("MJD-OBS", "MJD-END"):
            header.remove(stale, ignore_missing=True)
        add_mjd(header)
        header["OBJECT"] = f"master {master.type}"
        header["BUNIT"] = (
            "1" if master.type == "flat" else str(profile.unit),
            "unit of the pixels",
        )
        header["CPTYPE"] = (master.type, "what this master is")
        header["NCOMBINE"] = (len(self.inputs), "frames combined")
        header["CPINEFF"] = (
            inefficiency(len(self.inputs), self.how),
            "variance of 1 / (1/NCOMBINE)",
        )
        if master.filter:
            header["CPFILT"] = (ascii_text(master.filter), "filter, as the profile reads it")
        _common_cards(header, self.run, self.frames[0], self.inputs[0], self.key, master.type)
        if self.norm is not None:
            header["FLATNORM"] = (self.norm, "the flat was divided by this")
        _level_cards(header, self.measured)
        clip = f", clipped at {self.how.clip:g} mad_std" if self.how.clip else ""
        header.add_history(f"{self.how.method} of {len(self.inputs)} frames{clip}")
        if master.type == "flat":
            how = self.recipe.flat
            header.add_history(f"each scaled by 1 / {how.scale}, then normalised")
            if isinstance(how, SpectralFlat):
                header.add_history(f"lamp divided out: {how.fit} of order {how.order}")
        return header

    def _provenance(self) -> list[tuple[str, str, str]]:
        rows = [
            (f.file, m.sha256, self.master.type)
            for f, m in zip(self.frames, self.measured, strict=True)
        ]
        rows += self.aside
        for name in sorted({m for i in self.inputs for m in (i.bias, i.dark) if m}):
            rows.append((name, self.run.sums[name], f"master {self.run.plan.master(name).type}"))
        return rows


class _Batch:
    """Science frames that share their masters, calibrated together band by band."""

    def __init__(self, run: _Run, products: list[Product], whole: bool):
        self.run = run
        self.products = products
        self.chosen = products[0].input
        self.frame = run.frames[self.chosen.file]
        self.recipe = self.frame.recipe
        self.amplifiers = self.frame.amplifiers
        self.measured = [run.measured[p.input.file] for p in products]
        self.whole = whole
        self.electrons = self.recipe.electrons and self.amplifiers.readouts[0].gain is not None
        shape = self.amplifiers.shape
        self.bands = [(0, shape[0])] if whole else _bands(shape, len(products) * 32)

    def write(self, mapped: Callable, step: Callable[[], None]) -> None:
        """Calibrate all bands, by ``mapped`` as `map` does, and write the products."""
        files = [self._open(p, m) for p, m in zip(self.products, self.measured, strict=True)]
        try:
            for _ in mapped(lambda band: self._band(files, *band), self.bands):
                pass
            for product, file, _ in zip(
                self.products, files, mapped(ProductFile.finish, files), strict=True
            ):
                self.run.made.products[product.name] = file.path
                log.info("%s made", product.name, extra={"made": True})
                step()
        except BaseException:
            for file in files:
                file.discard()
            raise

    @property
    def _uncertainty(self) -> bool:
        if _pedestal_off(self.frame, self.chosen):
            return self.amplifiers.knows_noise
        return (
            self.amplifiers.readouts[0].gain is not None
            and self.chosen.dark is not None
            and "UNCERT" in self.run.saved[self.chosen.dark].raw.shapes
        )

    def _band(self, files: list[ProductFile], first: int, stop: int) -> None:
        ccd = prepare(self.measured, first, stop, unit=self.frame.profile.unit)
        bias, dark, flat = self.run.bands(self.chosen, first, stop)
        done = calibrate(
            ccd,
            _noise(self.amplifiers, self.recipe, first, stop),
            pedestal=not _pedestal_off(self.frame, self.chosen),
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
                data, flags = self._cleaned(done, n)
            lost = ~np.isfinite(data)
            if lost.any():
                flags = np.zeros(data.shape, "u2") if flags is None else flags.copy()
                flags[lost] |= NO_DATA
            file.write(first, Band(data, variance, flags))

    def _cleaned(self, done, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Flag the cosmic rays of one whole frame."""
        how = self.run._cosmic_rays(self.products[n])
        flags = None if done.flags is None else done.flags[n]
        found = find_cosmic_rays(
            CCDData(done.data[n], unit=done.unit, flags=flags),
            self.amplifiers,
            how,
            _noise(self.amplifiers, self.recipe, 0, self.amplifiers.shape[0]),
        )
        return found.data, found.flags

    def _open(self, product: Product, measured: Measured) -> ProductFile:
        run, chosen = self.run, product.input
        frame = run.frames[chosen.file]
        header = copied_header(frame.header)
        first = self.amplifiers.readouts[0]
        rows, columns = first.data.slices()
        shift_wcs(header, columns.start, rows.start)
        add_mjd(header)
        header["BUNIT"] = (
            "electron" if self.electrons else str(frame.profile.unit),
            "unit of the pixels",
        )
        if self.electrons:
            for card in ("GAIN", "EGAIN"):
                if card in header:
                    header[card] = (1.0, "the gain was applied")
        header["CPTYPE"] = ("science", "a calibrated frame")
        _common_cards(header, run, frame, chosen, run.keys[product.name], "science")
        _level_cards(header, [measured])
        cosmic = run._cosmic_rays(product)
        if cosmic:
            header["CRAYS"] = (
                "repaired" if cosmic.repair else "flagged",
                "cosmic rays, by astroscrappy",
            )
            header.add_history(f"L.A.Cosmic sigclip={cosmic.sigclip:g} objlim={cosmic.objlim:g}")
        inputs = [(frame.file, measured.sha256, "science")]
        for name in (chosen.bias, chosen.dark, chosen.flat):
            if name:
                inputs.append((name, run.sums[name], f"master {run.plan.master(name).type}"))
        path = run.settings.output / PurePosixPath(product.name)
        return ProductFile(path, header, self.amplifiers.shape, self._uncertainty, inputs)


def _noise(amplifiers: AmplifierSet, recipe: Recipe, first: int, stop: int) -> Noise:
    more = tuple(overscan_noise(r, recipe.overscan) for r in amplifiers.readouts)
    return Noise.of(amplifiers, more, first, stop)


def _pedestal_off(frame: Frame, chosen: Input) -> bool:
    """Whether overscan or bias take the pedestal off, so that what is left is signal."""
    return frame.amplifiers.has_overscan or chosen.bias is not None


def _bands(shape: tuple[int, int], bytes_a_pixel: int) -> list[tuple[int, int]]:
    """Cut a frame into bands of a multiple of four rows that fit into the memory of one."""
    rows, columns = shape
    step = max(4, _BAND_BYTES // (bytes_a_pixel * columns) // 4 * 4)
    return [(first, min(first + step, rows)) for first in range(0, rows, step)]


def _common_cards(
    header: fits.Header, run: _Run, frame: Frame, chosen: Input, key: str, kind: str
) -> None:
    """Write what was done to a frame, and what it still holds."""
    profile, amplifiers = frame.profile, frame.amplifiers
    header["CPVERS"] = (__version__, "version of ccdprofiles")
    header["CPPROF"] = (ascii_text(profile.name), "profile")
    header["CPHASH"] = (profile.hash[:16], "hash of the profile")
    header["CPKEY"] = (key, "hash of all that went in")
    header["CPBIN"] = (f"{frame.binning[0]}x{frame.binning[1]}", "binning, columns x rows")
    header["CPAMPS"] = (frame.readout, "amplifier set")
    letters = ""
    if amplifiers.has_overscan:
        how = frame.recipe.overscan
        text = how if isinstance(how, str) else type(how).__name__
        header["OVERSCAN"] = (
            f"{text} of {amplifiers.readouts[0].overscan}"[:60],
            "overscan subtracted",
        )
        header.add_history(f"overscan subtracted: {text}, per amplifier and row")
        letters += "O"
    header["TRIM"] = (str(amplifiers)[:60], "data section kept")
    for card, letter, name, verb in (
        ("ZEROCOR", "B", chosen.bias, "bias subtracted"),
        ("DARKCOR", "D", chosen.dark, "dark subtracted"),
        ("FLATCOR", "F", chosen.flat, "divided by flat"),
    ):
        if name:
            stem = PurePosixPath(name).name
            header[card] = (ascii_text(stem)[:64], verb)
            header[{"B": "BIASSHA", "D": "DARKSHA", "F": "FLATSHA"}[letter]] = run.sums[name]
            header.add_history(f"{verb}: {ascii_text(stem)}")
            letters += letter
    if chosen.dark and kind == "science":
        header["DARKSCAL"] = (chosen.dark_scale, "the dark was multiplied by this")
    if chosen.flat:
        norm = run.saved[chosen.flat].header.get("FLATNORM")
        if norm is not None:
            header["FLATNORM"] = (norm, "the flat had been divided by this")
    header["CALSTAT"] = (letters, "O overscan, B bias, D dark, F flat")
    # A dark that still holds its bias takes the pedestal off with it.
    off = amplifiers.has_overscan or chosen.bias or chosen.dark
    header["HASPED"] = (not off, "whether the pedestal is still in it")
    dark = 0.0 if chosen.dark or kind == "bias" else frame.exposure or 0.0
    header["HASDARK"] = (dark, "[s] of dark current still in it")
    for step in run.plan.without:
        header[f"NO{step.upper()}"] = (True, f"{step} left out on purpose")
        header.add_history(f"{step} left out on purpose")
    if kind == "dark" and chosen.dark is None:
        header["DARKTIME"] = (frame.exposure, "[s] of dark current in it")
    for number in amplifiers.missing:
        header.add_history(f"{number.replace('_', ' ')} not known: {seconds_note(number)}")


def seconds_note(number: str) -> str:
    """Say what a missing number means for a product."""
    return "no saturated pixel is flagged" if number == "saturation" else "no uncertainty"


def _level_cards(header: fits.Header, frames: Sequence[Measured]) -> None:
    """Write the overscan level and the read noise that it shows, for each amplifier."""
    for n in range(len(frames[0].level)):
        levels = [np.median(m.levels[n]) for m in frames if m.levels[n] is not None]
        noises = [m.noise[n] for m in frames if m.noise[n] is not None and np.isfinite(m.noise[n])]
        if levels:
            header[f"OSLEV{n + 1}"] = (round(float(np.median(levels)), 4), "[adu] overscan level")
        if noises:
            header[f"OSRN{n + 1}"] = (
                round(float(np.median(noises)), 4),
                "[adu] read noise it shows",
            )
        if any(m.replaced[n] for m in frames):
            header[f"OSNIGHT{n + 1}"] = (True, "the night's level taken for a frame")


def _joined(names: Iterable[str] | str) -> str:
    return names if isinstance(names, str) else ", ".join(PurePosixPath(n).stem for n in names)
