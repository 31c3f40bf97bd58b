"""Make a master: its bands are combined in threads, its whole is finished at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ..camera.recipe import SpectralFlat
from ..errors import FrameRejected, OutputError
from ..files.header import ProductHeader
from ..files.pixels import Pixels
from ..files.places import refuse_link
from ..files.threads import Threads
from ..pixels.calibrate import (
    BAD,
    HOT,
    NO_FLAT,
    UNILLUMINATED,
    MasterBand,
    Noise,
    master_variance,
)
from ..pixels.combine import Stacked, combine, variance_factor
from ..pixels.noise import pooled_scatter, scaled_apart
from ..pixels.prepare import NO_DATA, SATURATED, prepare, refuse_changes
from ..pixels.response import spectral_flat
from ..pixels.statistics import MAD_TO_STD, exact_median, level
from ..plan.plan import Input, Master, too_few
from ..plan.wording import time_of
from ..products.band import Band
from ..products.header import add_mjd, ascii_text, combined_header
from ..products.product import ProductFile, sync_folders
from .flats import FlatLevel, Flats, levels_of
from .keywords import common_cards, hand_cards, level_cards, setup_cards
from .ledger import ASIDE, Ledger, bands_of, noise_of, pedestal_off

__all__ = ["MasterMaker", "Part"]

_THREADS = 2


@dataclass(frozen=True)
class Part:
    """Rows of a master that were combined, as they lie on the disk.

    Parameters
    ----------
    product : Path
        The master.
    path : Path
        A temporary file.
    first, stop : int
    columns : int
    """

    product: Path
    path: Path
    first: int
    stop: int
    columns: int

    def create(self) -> IO[bytes]:
        """Make the file, in which all is zero.

        Raises
        ------
        OutputError
            If the disk refuses.
        """
        refuse_link(self.path.parent)
        with self._blamed():
            stream = open(self.path, "xb", buffering=0)  # noqa: SIM115 the caller closes it
            try:
                stream.truncate(self._place("flags", self.stop))
            except BaseException:
                stream.close()
                raise
        return stream

    def write(self, stream: IO[bytes], name: str, first: int, plane: np.ndarray) -> None:
        """Write rows of one of its planes: ``data``, ``variance`` or ``flags``.

        Raises
        ------
        OutputError
            If the disk refuses.
        """
        with self._blamed():
            stream.seek(self._place(name, first))
            octets = memoryview(plane.reshape(-1).view("u1"))
            while octets:
                octets = octets[stream.write(octets) :]

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError.of(self.product, error) from error

    def read(self, name: str, first: int, whole: np.ndarray) -> None:
        """Read those of its rows that belong into a band, whose first row is told."""
        start, stop = max(first, self.first), min(first + len(whole), self.stop)
        if start >= stop:
            return
        rows = whole[start - first : stop - first]
        with self._blamed(), open(self.path, "rb", buffering=0) as stream:
            stream.seek(self._place(name, start))
            octets = memoryview(rows.reshape(-1).view("u1"))
            while octets:
                number = stream.readinto(octets)
                if not number:
                    raise OutputError(f"{self.path} was cut; run again to go on.")
                octets = octets[number:]

    def _place(self, name: str, row: int) -> int:
        """Return where a row of a plane begins; the planes lie one behind the other."""
        before, size = {"data": (0, 4), "variance": (4, 4), "flags": (8, 2)}[name]
        return self.columns * (before * (self.stop - self.first) + size * (row - self.first))


class MasterMaker:
    """Makes one master: its bands are combined in threads, its whole is finished at the end."""

    def __init__(
        self,
        run: Ledger,
        master: Master,
        inputs: Sequence[Input],
        key: str,
        mapped: Callable = map,
        levels: Mapping[str, FlatLevel] | None = None,
    ):
        self.run = run
        self.mapped = mapped
        self.levels = levels
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
        self.pedestal = not pedestal_off(self.frames[0], inputs[0])
        self.flats: Flats | None = None
        self.norm: float | None = None
        self.hot: float | None = None
        self.parts: Sequence[Part] = ()
        self.variance: np.ndarray | None = None
        self.scatter: np.ndarray | None = None
        self.knows_variance = self._has_variance()
        self.aside: list[tuple[str, str, str]] = []
        self.failed: dict[str, tuple[str, str]] = {}

    def _has_variance(self) -> bool:
        if self.master.type == "dark" and self.pedestal:
            return len(self.inputs) > 1
        if self.master.type == "flat" and self.pedestal:
            # The noise of the darks tells that of the flats.
            return "gain" not in self.amplifiers.missing and all(
                i.dark and "UNCERT" in self.run.saved[i.dark].raw.shapes for i in self.inputs
            )
        return self.amplifiers.knows_noise

    def write(self, path: Path, parts: Sequence[Part] = ()) -> str:
        """Make the master and write it.

        Parameters
        ----------
        path : Path
        parts : sequence of Part
            Rows that others have combined already; none where all is to be done here.

        Returns
        -------
        str
            The SHA-256 of the file.
        """
        rows, _ = self.shape
        if not parts:
            self._room(0, rows)
        if self.master.type == "flat":
            self._scale()
        if parts:
            self._gather(parts)
        else:
            self._stack(0, rows)
        self._finish()
        header = self._header()
        inputs = self._provenance()
        with ProductFile(path, header, self.shape, self.knows_variance, inputs) as product:
            # The other workers may have nothing to do before it is there.
            with Threads(_THREADS) as others:
                mapped = others.map if parts else self.mapped
                bands = bands_of(self.shape, 16)
                for _ in mapped(lambda band: self._save(product, *band), bands):
                    pass
            sha256 = product.finish_hashed()
        sync_folders([path])
        for part in parts:
            part.path.unlink(missing_ok=True)
        return sha256

    def write_part(self, path: Path, first: int, stop: int) -> Part:
        """Combine some rows, and leave them on the disk for the one who makes the whole.

        Raises
        ------
        OutputError
            If the disk refuses.
        """
        if self.master.type == "flat":
            self._scale()
        name = f".{path.name}.{first}-{os.getpid()}.tmp"
        part = Part(path, path.with_name(name), first, stop, self.shape[1])
        try:
            with self._opened(), part.create() as stream:
                for band in self._bands(first, stop):
                    self._room(*band)
                    self._combine(*band)
                    planes = {"data": self.data, "variance": self.variance}
                    if self.flags.any():
                        planes["flags"] = self.flags
                    for name, plane in planes.items():
                        if plane is not None:
                            part.write(stream, name, band[0], plane)
        except BaseException:
            part.path.unlink(missing_ok=True)
            raise
        return part

    def _gather(self, parts: Sequence[Part]) -> None:
        """Read the image of combined rows; their other planes are read band by band if that will do."""
        self.data = np.empty(self.shape, "f4")
        planes = {"data": self.data}
        if self._is_spectral:
            self.variance = np.empty(self.shape, "f4") if self.knows_variance else None
            self.flags = np.zeros(self.shape, "u2")
            planes |= {"variance": self.variance, "flags": self.flags}
        else:
            self.parts = parts
        for name, plane in planes.items():
            for part in parts:
                if plane is not None:
                    part.read(name, 0, plane)

    def _flags_of(self, first: int, stop: int) -> np.ndarray:
        if not self.parts:
            return self.flags[first:stop]
        flags = np.zeros((stop - first, self.shape[1]), "u2")
        for part in self.parts:
            part.read("flags", first, flags)
        return flags

    def _variance_of(self, first: int, stop: int) -> np.ndarray | None:
        if not self.parts:
            return None if self.variance is None else self.variance[first:stop]
        if not self.knows_variance:
            return None
        variance = np.empty((stop - first, self.shape[1]), "f4")
        for part in self.parts:
            part.read("variance", first, variance)
        return variance

    @property
    def in_parts(self) -> bool:
        """Whether rows may be combined apart; a dark that tells its own noise needs them all."""
        return not (self.master.type == "dark" and self.pedestal)

    def _room(self, first: int, stop: int) -> None:
        """Make room for some rows."""
        self.first = first
        shape = (stop - first, self.shape[1])
        self.data = np.empty(shape, "f4")
        self.variance = np.empty(shape, "f4") if self.knows_variance else None
        self.flags = np.zeros(shape, "u2")
        if self.variance is not None and not self.in_parts:
            self.scatter = np.empty((2, *shape))
            self.kept = np.empty(shape)

    def _stack(self, first: int, stop: int) -> None:
        """Combine rows, band by band."""
        with self._opened():
            for _ in self.mapped(lambda band: self._combine(*band), self._bands(first, stop)):
                pass

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """Open the frames once for all bands, as a packed frame is unpacked when it is opened."""
        self.pixels = {f.raw.path: Pixels(f.raw) for f in self.frames}
        try:
            yield
            refuse_changes(f.raw for f in self.frames)
        finally:
            for pixels in self.pixels.values():
                pixels.close()

    def _bands(self, first: int, stop: int) -> list[tuple[int, int]]:
        small = self.exact if self.flats is None else self.flats.small
        size = len(self.inputs) * (4 if small else 8)
        bands = bands_of((stop - first, self.shape[1]), size)
        return [(first + start, first + end) for start, end in bands]

    def _save(self, product: ProductFile, first: int, stop: int) -> None:
        data, flags = self.data[first:stop], self._flags_of(first, stop)
        variance = self._variance_of(first, stop)
        self._complete(data, variance, flags)
        product.write(first, Band(data, variance, flags if flags.any() else None))

    def _scale(self) -> None:
        """Take the level of every flat; one without light costs itself."""
        levels = self.levels
        if levels is None:
            levels = levels_of(self.run, self.inputs, self.exact, self.mapped)
        found = [levels[i.file] for i in self.inputs]
        lit = [n for n, one in enumerate(found) if one.refused is None]
        for chosen, measured, one in zip(self.inputs, self.measured, found, strict=True):
            if one.refused is not None:
                code, why = one.refused.code, str(one.refused)
                self.failed[chosen.file] = (code, why)
                self.aside.append((chosen.file, measured.sha256, f"{ASIDE}{code}: {why}"))
        if not lit:
            raise FrameRejected(
                "flat-level", "none of its frames can be used, as said of each; take new flats."
            )
        if len(lit) < self.master.minimum:
            raise FrameRejected("few-frames", too_few(self.master, len(lit)))
        for name in ("inputs", "frames", "measured"):
            setattr(self, name, [getattr(self, name)[n] for n in lit])
        self.flats = Flats(
            self.run,
            self.inputs,
            self.exact,
            scales=1 / np.array([found[n].value for n in lit]),
            offsets={self.inputs[m].file: found[n].offset for m, n in enumerate(lit)},
        )

    @property
    def exact(self) -> bool:
        """Whether float32 holds a frame less its overscan exactly."""
        images = [image for f in self.frames for image in f.raw.images]
        whole = all(i.bitpix in (8, 16) and i.bscale == 1 and i.bzero % 1 == 0 for i in images)
        exact = not self.amplifiers.has_overscan or self.recipe.overscan == "median"
        # A level that comes from other rows, or other frames, may be any number.
        return (
            whole
            and exact
            and not any(any(m.level_from_night) or any(m.n_lit_rows) for m in self.measured)
        )

    def _combine(self, first: int, stop: int) -> None:
        """Combine one band of rows, and set its variance and its flags."""
        kind = self.master.type
        rows = slice(first - self.first, stop - self.first)
        bands = {}
        if kind == "flat":
            # Most flats share their bias and dark, which are read once for all of them.
            for chosen in self.inputs:
                if (chosen.bias, chosen.dark) not in bands:
                    bands[chosen.bias, chosen.dark] = self.run.bands(chosen, first, stop)[:2]
            scaled = self.flats.scaled(self.pixels, bands, first, stop)
            found = combine(
                scaled.stack,
                self.how,
                scales=self.flats.scales,
                values=scaled.values,
                rounding=scaled.rounding,
            )
            flags, value = scaled.flags, scaled.whole(found.data)
        else:
            opened = [self.pixels[f.raw.path] for f in self.frames]
            dtype = "f4" if self.exact else "f8"
            unit = self.profile.unit
            ccd = prepare(self.measured, first, stop, unit=unit, dtype=dtype, pixels=opened)
            spread = self.scatter is not None
            found = combine(ccd.data, self.how, spread, whole=self.exact)
            flags, value = ccd.flags, found.data
        bias = self.run.band(self.inputs[0].bias, first, stop) if kind in ("dark", "arc") else None
        self._hand_on(rows, bias, *(m for pair in bands.values() for m in pair))
        if bias is not None:
            # The same bias is in every frame, so it is taken off once.
            times = len(self.inputs) if self.how.method == "sum" else 1
            value = value - times * bias.data.astype("f8")
        self._set_flags(rows, flags, found.n_used)
        if self.variance is not None:
            self.variance[rows] = self._band_variance(value, found, bias, bands, first, stop)
        self.data[rows] = value

    def _hand_on(self, rows: slice, *masters: MasterBand | None) -> None:
        """Flag what a bias or dark that was subtracted has no data for."""
        for master in masters:
            if master is not None and master.flags is not None:
                lost = master.flags & NO_DATA
                if lost.any():
                    self.flags[rows] |= lost

    def _set_flags(self, rows: slice, flags: np.ndarray | None, kept: np.ndarray | int) -> None:
        if flags is not None:
            # A pixel that is full in half of the frames is full in their median; a plain
            # average or sum suffers from one.
            times = ((flags & SATURATED) != 0).sum(axis=0)
            robust = self.how.method == "median" or self.how.clip is not None
            full = times * 2 >= len(self.inputs) if robust else times > 0
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
        kept = np.maximum(found.n_used, 1)
        factor = variance_factor(number, self.how) / kept
        if self.scatter is not None:
            rows = slice(first - self.first, stop - self.first)
            self.scatter[:, rows] = found.scatter
            self.kept[rows] = kept
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
        relative = self.flats.relative_gain(first, stop)
        k = 1.0 if relative is None else relative
        total = np.maximum(value, 0) * (k * self.flats.scales.mean() / noise.gain)
        fixed = 0.0
        for (bias, dark, scale), members in Flats.alike(self.inputs).items():
            bias, dark = bands[bias, dark]
            s = [float(self.flats.scales[n]) for n in members]
            if self.pedestal:
                single, more = dark.scatter, dark.variance
            else:
                light = 0 if dark is None else np.maximum(dark.data, 0) * (scale / noise.gain)
                single, more = light + noise.read_variance, master_variance(bias, dark, scale)
            total += k**2 * (sum(x * x for x in s) / len(self.flats.scales)) * single
            if more is not None:
                fixed = fixed + (sum(s) / len(self.flats.scales)) * np.sqrt(more)
        off = np.array([self.flats.offsets[i.file] for i in self.inputs])
        if self.how.method == "median" and (off != 1).any():
            # A mode is less certain than a median, and leaves the flats a little apart.
            noise_of_one = np.sqrt(total) / np.maximum(np.abs(value), 1e-6)
            total = total * scaled_apart(off / off.mean() - 1, noise_of_one)
        return factor * total + (k * fixed) ** 2

    def _noise(self, first: int, stop: int) -> Noise:
        return noise_of(self.amplifiers, self.recipe, first, stop)

    def _finish(self) -> None:
        """Find what needs the whole master: the level of a flat, how dark a dark pixel may be."""
        if self.scatter is not None:
            number = len(self.inputs)
            single = pooled_scatter(self.data, self.scatter, number)
            self.variance = (single * (variance_factor(number, self.how) / self.kept)).astype("f4")
        if self.master.type == "dark":
            values = self._where(lambda data, flags: np.isfinite(data) & (flags & NO_DATA == 0))
            if values.size:
                middle = exact_median(values)
                width = MAD_TO_STD * exact_median(values, about=middle)
                self.hot = middle + 10 * width
        elif self._is_spectral:
            self._finish_spectral((self.flags == 0) & np.isfinite(self.data))
        elif self.master.type == "flat":
            self.norm = self._flat_level()

    @property
    def _is_spectral(self) -> bool:
        return self.master.type == "flat" and isinstance(self.recipe.flat, SpectralFlat)

    def _where(self, good: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Return the values of good pixels, which mostly are all."""
        bands = bands_of(self.shape, 16)

        def which() -> Iterator[np.ndarray]:
            for first, stop in bands:
                yield good(self.data[first:stop], self._flags_of(first, stop))

        if all(each.all() for each in which()):
            return self.data.reshape(-1)
        return self.data[np.concatenate(list(which()))]

    def _flat_level(self) -> float:
        how = self.recipe.flat
        values = self._where(_is_good)
        for _ in range(2):
            # Pixels without light are no good pixels; the second round leaves them out.
            norm = level(values, how.scale) if values.size else 0.0
            if not norm > 0:
                raise FrameRejected("flat-level", "its good pixels have no light.")
            if values.min() >= how.minimum * norm:
                break
            values = values[values >= how.minimum * norm]
        return norm

    def _complete(self, data: np.ndarray, variance: np.ndarray | None, flags: np.ndarray) -> None:
        """Do the last things to a band: normalise a flat, flag hot pixels, empty what is not known."""
        lost = (flags & NO_DATA) != 0
        if self.hot is not None:
            with np.errstate(invalid="ignore"):
                flags[(data > self.hot) & (data < np.inf) & ~lost] |= HOT
        if self.master.type == "flat" and not self._is_spectral:
            good = _is_good(data, flags)
            # A norm of float64, so that a pixel is rounded once.
            np.divide(data, np.float64(self.norm), out=data, casting="same_kind")
            if variance is not None:
                variance /= self.norm**2
            _drop(data, variance, flags, ~good | (data < self.recipe.flat.minimum), NO_FLAT)
        # A flat is 1 there already, so that nothing is divided by 0.
        if self.master.type != "flat":
            data[lost] = 0
        if variance is not None:
            variance[lost] = 0

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
        planes = (self.data, self.variance, self.flags)
        _drop(*planes, ~found.lit, UNILLUMINATED)
        _drop(*planes, found.lit & (~good | (self.data < how.minimum)), NO_FLAT)

    # What is written about it.

    def _header(self) -> ProductHeader:
        master, profile = self.master, self.profile
        header = combined_header([f.header for f in self.frames])
        exposures = [f.exposure for f in self.frames if f.exposure is not None]
        if exposures:
            summed = self.how.method == "sum"
            total = sum(exposures) if summed else sum(exposures) / len(exposures)
            header["EXPTIME"] = (
                total,
                "[s] exposure: " + ("sum" if summed else "mean"),
            )
        times = {t: f.date for f in self.frames if (t := time_of(f.date)) is not None}
        for card, when in (("DATE-OBS", min), ("DATE-END", max)):
            header.discard(card)
            if times:
                which = "earliest" if when is min else "latest"
                header[card] = (times[when(times)], f"of the {which} frame")
        for stale in ("MJD-OBS", "MJD-END"):
            header.discard(stale)
        add_mjd(header)
        header["OBJECT"] = f"master {master.type}"
        header["BUNIT"] = (
            "1" if master.type == "flat" else str(profile.unit),
            "unit of the pixels",
        )
        header["CPTYPE"] = (master.type, "what this master is")
        header["NCOMBINE"] = (len(self.inputs), "frames combined")
        header["CPINEFF"] = (
            variance_factor(len(self.inputs), self.how),
            "variance of 1 / (1/NCOMBINE)",
        )
        if master.filter:
            header["CPFILT"] = (ascii_text(master.filter), "filter, as the profile reads it")
        if master.temperature is not None:
            header["CPTEMP"] = (round(master.temperature, 3), "[Celsius] mean of the frames' chips")
        setup_cards(header, master.settings)
        common_cards(header, self.run, self.frames[0], self.inputs[0], self.key, master.type)
        if self.norm is not None:
            header["FLATNORM"] = (self.norm, "the flat was divided by this")
        level_cards(header, self.measured)
        hand_cards(header, self.run, [i.file for i in self.inputs])
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
        return rows + self.run.used(sorted({m for i in self.inputs for m in (i.bias, i.dark) if m}))


def _is_good(data: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Say which pixels of a flat tell its level."""
    return (flags == 0) & np.isfinite(data)


def _drop(
    data: np.ndarray, variance: np.ndarray | None, flags: np.ndarray, where: np.ndarray, flag: int
) -> None:
    """Set pixels of a flat to 1 and say why, so that nothing is divided by darkness."""
    flags[where] |= flag
    data[where] = 1
    if variance is not None:
        variance[where] = 0
