"""The light of flats: each less its bias and dark, its level, and all scaled alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from astropy.nddata import CCDData

from ..camera.amplifier import AmplifierSet
from ..camera.recipe import Recipe, SpectralFlat
from ..errors import FrameRejected
from ..files.pixels import Pixels
from ..pixels.calibrate import MasterBand, Noise, subtract_masters
from ..pixels.prepare import prepare, refuse_changes
from ..pixels.response import illuminated
from ..pixels.statistics import MAD_TO_STD, Bracket, level
from ..plan.plan import Input
from .ledger import Ledger, bands_of

__all__ = ["FlatLevel", "Flats", "ScaledFlats", "levels_of"]

_TOGETHER = 5
_SAMPLES = 32
"""How many places of a flat are looked at before its median is sought."""


@dataclass(frozen=True)
class ScaledFlats:
    """A band of rows of flats, bias and dark off, to be scaled and combined.

    Parameters
    ----------
    stack : ndarray of float32 or float64, shape (frames, rows, columns)
        Before it is scaled.
    flags : ndarray of uint16 or None
    left_out : ndarray of float64, shape (rows, columns), or 0
        By how much the mean of the scaled frames is too high: fractions of an adu that
        float32 could not have held exactly.
    gain : ndarray or None
        What the combined frame is to be multiplied by, where amplifiers differ.
    values : callable or None
        Of a stack of float32: returns the scaled pixels whose numbers are given, in
        float64 and as much too high.
    rounding : float
        How far scaled values of float32 may lie from those.
    """

    stack: np.ndarray
    flags: np.ndarray | None
    left_out: np.ndarray | float = 0.0
    gain: np.ndarray | None = None
    values: partial | None = None
    rounding: float = 0.0

    def whole(self, combined: np.ndarray) -> np.ndarray:
        """Return the combined light in float64, with nothing left out."""
        light = combined - self.left_out
        return light if self.gain is None else light * self.gain


@dataclass(frozen=True)
class FlatLevel:
    """The level of a flat.

    Parameters
    ----------
    value : float
        In adu, bias and dark off.
    offset : float
        The level in units of the median; 1 where it is the median.
    refused : FrameRejected or None
        Why it has none.
    """

    value: float = 0.0
    offset: float = 1.0
    refused: FrameRejected | None = None


def levels_of(
    run: Ledger, inputs: Sequence[Input], exact: bool, mapped: Callable = map
) -> dict[str, FlatLevel]:
    """Measure the levels of flats, over their good pixels.

    Parameters
    ----------
    run : Ledger
    inputs : sequence of Input
    exact : bool
        Whether float32 holds every frame exactly.
    mapped : callable
        As `map`; it may work in threads.

    Returns
    -------
    dict
        File → level.
    """
    found: dict[str, FlatLevel] = {}
    # A few at a time, so that many flats take no more memory.
    for first in range(0, len(inputs), _TOGETHER):
        some = inputs[first : first + _TOGETHER]
        # Opened once for all bands, as a packed frame is unpacked when it is opened.
        pixels = {run.frames[i.file].raw.path: Pixels(run.frames[i.file].raw) for i in some}
        try:
            levels = Flats(run, some, exact)._levels(pixels, mapped)
            refuse_changes(each.raw for each in pixels.values())
        finally:
            for each in pixels.values():
                each.close()
        found |= {i.file: level for i, level in zip(some, levels, strict=True)}
    return found


@dataclass(frozen=True)
class Flats:
    """The flats of one master.

    Parameters
    ----------
    run : Ledger
    inputs : sequence of Input
    exact : bool
        Whether float32 holds every frame exactly.
    scales : ndarray, shape (frames,)
        What each is multiplied by.
    offsets : dict
        The level of each in units of its median.
    """

    run: Ledger
    inputs: Sequence[Input]
    exact: bool
    scales: np.ndarray = field(default_factory=lambda: np.ones(0))
    offsets: dict[str, float] = field(default_factory=dict)

    @property
    def amplifiers(self) -> AmplifierSet:
        """How they were read out."""
        return self.run.frames[self.inputs[0].file].amplifiers

    @property
    def recipe(self) -> Recipe:
        """How they are reduced."""
        return self.run.frames[self.inputs[0].file].recipe

    # Levels.

    def _levels(self, pixels: Mapping[Path, Pixels], mapped: Callable) -> list[FlatLevel]:
        how = self.recipe.flat
        if self.exact and not isinstance(how, SpectralFlat) and how.scale == "median":
            return self._medians(pixels, mapped)
        return list(mapped(partial(self._level, pixels), self.inputs))

    def _level(self, pixels: Mapping[Path, Pixels], chosen: Input) -> FlatLevel:
        """Measure the level of one flat, over its good pixels."""
        how = self.recipe.flat
        values = self._light(pixels, chosen)
        if not values.size:
            return _saturated(chosen)
        found = level(values, how.scale)
        offset = 1.0 if how.scale == "median" else found / level(values, "median")
        return _lit(chosen, found, offset, values[: values.size // 2])

    def _light(self, pixels: Mapping[Path, Pixels], chosen: Input) -> np.ndarray:
        """Return the good pixels of a flat in float64, bias and dark off."""
        shape = self.amplifiers.shape
        image = np.empty(shape, "f8")
        good = np.ones(shape, bool)
        for first, stop in bands_of(shape, 24):
            masters = [
                self.run.band(name, first, stop, False) for name in (chosen.bias, chosen.dark)
            ]
            ccd = self._prepared(pixels, [chosen], first, stop, "f8")
            ccd = self._less_masters(ccd, *masters, chosen.dark_scale, first)
            image[first:stop] = ccd.data[0]
            if ccd.flags is not None:
                good[first:stop] = ccd.flags[0] == 0
        how = self.recipe.flat
        if isinstance(how, SpectralFlat):
            slit = illuminated(np.where(good, image, np.nan), how)
            good &= np.expand_dims(slit, 0 if how.dispersion == "y" else 1)
        return image.reshape(-1) if good.all() else image[good]

    def _medians(self, pixels: Mapping[Path, Pixels], mapped: Callable) -> list[FlatLevel]:
        """Return the medians of `_light` of all flats, without holding a frame.

        Samples tell between which values each median lies. Then what lies below is
        only counted, and what lies between is sorted in float64.
        """
        rows = self.amplifiers.shape[0]
        step = max(4, rows // _SAMPLES)
        places = [(first, min(first + 4, rows)) for first in range(0, rows, step)]
        everything = [None] * len(self.inputs)
        looked = list(mapped(lambda band: self._pick(pixels, band, everything), places))
        samples = [
            np.concatenate([held for _, _, held in each]) for each in zip(*looked, strict=True)
        ]
        brackets = [Bracket.of(sample) for sample in samples]
        bands = bands_of(self.amplifiers.shape, 8 * len(self.inputs))
        counted = list(mapped(lambda band: self._pick(pixels, band, brackets), bands))
        found: list[FlatLevel] = []
        for chosen, sample, parts in zip(
            self.inputs, samples, zip(*counted, strict=True), strict=True
        ):
            size, below, held = zip(*parts, strict=True)
            if not sum(size):
                found.append(_saturated(chosen))
                continue
            median = Bracket.median(sum(size), sum(below), np.concatenate(held))
            if median is None:
                median = level(self._light(pixels, chosen), "median")
            found.append(_lit(chosen, median, 1.0, sample))
        return found

    def _pick(
        self,
        pixels: Mapping[Path, Pixels],
        band: tuple[int, int],
        brackets: Sequence[Bracket | None],
    ) -> list[tuple[int, int, np.ndarray]]:
        """Count the good pixels of every flat and those below its bracket; pick those inside."""
        picked = []
        gain = self.relative_gain(*band)
        for (bias, dark, scale), members in self._alike().items():
            masters = [self.run.band(name, *band, False) for name in (bias, dark)]
            ccd = self._prepared(pixels, [self.inputs[n] for n in members], *band, "f4")
            done = self._less_masters(ccd, _added(*masters, scale), None, 1.0, band[0])
            for place, n in enumerate(members):
                flags = None if done.flags is None else done.flags[place]
                good = None if flags is None else np.flatnonzero(flags == 0)
                rounded = done.data[place].reshape(-1)
                rounded = rounded if good is None else rounded[good]
                inside, below = np.arange(rounded.size), 0
                if brackets[n] is not None:
                    inside, below = brackets[n].split(rounded)
                where = inside if good is None else good[inside]
                chosen = ccd.data[place].reshape(-1)[where]
                light = self._exact(chosen, *masters, scale, where)
                if gain is not None:
                    light *= gain.reshape(-1)[where]
                picked.append((n, (rounded.size, below, light)))
        return [each for _, each in sorted(picked, key=lambda p: p[0])]

    # Scaled flats.

    @property
    def small(self) -> bool:
        """Whether they are stacked in float32, less what it cannot hold of their masters.

        That is taken off the mean of the scaled frames; of a median no one knows whose
        it would be.
        """
        return self.exact and self.recipe.combine_for("flat").method != "median"

    def scaled(
        self, pixels: Mapping[Path, Pixels], bands: Mapping, first: int, stop: int
    ) -> ScaledFlats:
        """Return a band of all flats, bias and dark off, to be scaled by their levels.

        Parameters
        ----------
        pixels : mapping
            The open file of each, by its path.
        bands : mapping
            Names of a bias and a dark → their bands.
        first, stop : int
        """
        ccd = self._prepared(pixels, self.inputs, first, stop, "f4" if self.small else "f8")
        groups = self._alike()
        stack = None if len(groups) == 1 else np.empty_like(ccd.data)
        left_out = 0.0
        for (bias, dark, scale), members in groups.items():
            some = ccd if stack is None else CCDData(ccd.data[members], unit=ccd.unit)
            master, left = self._together(*bands[bias, dark], scale)
            light = subtract_masters(some, master, None).data
            left_out = left_out + left * (self.scales[members].sum() / len(self.inputs))
            if stack is not None:
                stack[members] = light
        stack = light if stack is None else stack
        gain = self.relative_gain(first, stop)
        if not self.small:
            return ScaledFlats(stack, ccd.flags, left_out, gain)
        values = partial(self._scaled_values, ccd.data, bands, left_out, first)
        # The products of numbers below 2^17 and of scales are rounded, by 2^-7 twice, and
        # what was left out of their masters counts with each frame's own scale, up to 2^-7.
        # It holds for a value and for the median that it is compared with.
        rounding = float(2**-4 * self.scales.max())
        return ScaledFlats(stack, ccd.flags, left_out, gain, values, rounding)

    def _together(
        self, bias: MasterBand | None, dark: MasterBand | None, scale: float
    ) -> tuple[MasterBand | None, np.ndarray | float]:
        """Add a bias and a scaled dark, and tell what was left out.

        To a 128th of an adu float32 holds what remains of 16 bits exactly.
        """
        if bias is None and dark is None:
            return None, 0.0
        both = 0.0 if bias is None else bias.data.astype("f8")
        if dark is not None:
            both = both + dark.data.astype("f8") * scale
        if not self.small:
            return MasterBand(both), 0.0
        rough = (np.round(both * 128) / 128).astype("f4")
        return MasterBand(rough), both - rough

    def _scaled_values(
        self,
        prepared: np.ndarray,
        bands: Mapping,
        left_out: np.ndarray | float,
        first: int,
        where: np.ndarray,
    ) -> np.ndarray:
        chosen = prepared.reshape(len(prepared), -1)[:, where]
        exact = np.empty(chosen.shape)
        for (bias, dark, scale), members in self._alike().items():
            light = self._exact(chosen[members], *bands[bias, dark], scale, where)
            exact[members] = light * self.scales[members, np.newaxis]
        return exact + np.broadcast_to(left_out, prepared.shape[1:]).reshape(-1)[where]

    def _prepared(
        self,
        pixels: Mapping[Path, Pixels],
        inputs: Sequence[Input],
        first: int,
        stop: int,
        dtype: str,
    ) -> CCDData:
        measured = [self.run.measured[i.file] for i in inputs]
        opened = [pixels[m.raw.path] for m in measured]
        unit = self.run.frames[inputs[0].file].profile.unit
        return prepare(measured, first, stop, unit=unit, dtype=dtype, pixels=opened)

    def _less_masters(
        self,
        ccd: CCDData,
        bias: MasterBand | None,
        dark: MasterBand | None,
        scale: float,
        first: int,
    ) -> CCDData:
        """Take bias and dark off a band of some flats, and count it in light alone."""
        ccd = subtract_masters(ccd, bias, dark, scale)
        gain = self.relative_gain(first, first + ccd.shape[1])
        if gain is not None:
            # Not in place: without bias and dark these are the frames themselves.
            ccd.data = ccd.data * gain.astype(ccd.data.dtype, copy=False)
        return ccd

    @staticmethod
    def _exact(
        chosen: np.ndarray,
        bias: MasterBand | None,
        dark: MasterBand | None,
        scale: float,
        where: np.ndarray,
    ) -> np.ndarray:
        """Take bias and dark off some pixels in float64; shape (frames, pixels)."""
        light = chosen.astype("f8")
        if bias is not None:
            light -= bias.data.reshape(-1)[where]
        if dark is not None:
            light -= dark.data.reshape(-1)[where].astype("f8") * scale
        return light

    def relative_gain(self, first: int, stop: int) -> np.ndarray | None:
        """Return the gains where they differ and the products are in electrons.

        Otherwise the flat would take out the ratio of the gains, and the gain would
        put it in again.
        """
        if not self.recipe.electrons:
            return None
        gain = Noise.of(self.amplifiers, (0,) * len(self.amplifiers.readouts), first, stop).gain
        return gain if isinstance(gain, np.ndarray) else None

    def _alike(self) -> dict[tuple[str | None, str | None, float], list[int]]:
        return self.alike(self.inputs)

    @staticmethod
    def alike(inputs: Sequence[Input]) -> dict[tuple[str | None, str | None, float], list[int]]:
        """Put flats together, by their numbers, that share bias, dark and the dark's scale."""
        groups: dict[tuple, list[int]] = {}
        for n, chosen in enumerate(inputs):
            groups.setdefault((chosen.bias, chosen.dark, chosen.dark_scale), []).append(n)
        return groups


def _added(bias: MasterBand | None, dark: MasterBand | None, scale: float) -> MasterBand | None:
    """Add up bias and scaled dark in float32, near enough to tell what lies where."""
    if dark is None:
        return bias
    current = dark.data * np.float32(scale)
    return MasterBand(current if bias is None else current + bias.data)


def _saturated(chosen: Input) -> FlatLevel:
    refused = FrameRejected(
        "flat-saturated",
        f"{chosen.file}: all of its pixels are saturated or without data; "
        "take it out of the night.",
    )
    return FlatLevel(refused=refused)


def _lit(chosen: Input, found: float, offset: float, values: np.ndarray) -> FlatLevel:
    """Return the level of a flat, if it stands above the noise from one pixel to the next."""
    if values.size < 2:
        return FlatLevel(found, offset)
    noise = MAD_TO_STD * np.median(np.abs(np.diff(values))) / 2**0.5
    if found > noise:
        return FlatLevel(found, offset)
    refused = FrameRejected(
        "flat-level",
        f"{chosen.file}: its level is {found:.6g} adu once bias and dark are off, where a "
        "flat needs light; look at it, and take it out of the night.",
    )
    return FlatLevel(refused=refused)
