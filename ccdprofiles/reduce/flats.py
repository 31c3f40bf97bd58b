"""Flat frames: bias and dark subtraction, scaling to each other, and normalisation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from astropy.nddata import CCDData

from ..camera.amplifier import AmplifierSet
from ..camera.colours import ColourMosaic
from ..camera.corrections import used_corrections
from ..camera.recipe import Flat, Recipe, SpectralFlat
from ..errors import FrameRejected, known
from ..files.pixels import Pixels
from ..pixels.bad_pixels import flag_bad_pixels
from ..pixels.calibrate import BAD, NO_FLAT, UNILLUMINATED, Noise, subtract_masters
from ..pixels.linearity import linearise, root_mean_square
from ..pixels.prepare import prepare
from ..pixels.response import spectral_flat
from ..pixels.statistics import level
from ..plan.plan import Input
from ..products.band import NO_LEVEL, Band
from .corrections import bad_pixels_of, crosstalk_of, linearity_of, refuse_pedestal, shutter_of
from .inputs import JobInputs

__all__ = [
    "Flats",
    "Pair",
    "ScaledFlats",
    "colour_norms",
    "divide_lamp",
    "flat_norm",
    "good_pixels",
    "normalise_flat",
    "subtract_exactly",
]

Pair = tuple[Band | None, Band | None]
"""The same rows of a bias and of a dark."""

Pairs = Mapping[tuple[str | float | None, str | None], Pair]
"""Such rows by the names of the bias, or its constant, and the dark."""


@dataclass(frozen=True)
class ScaledFlats:
    """Rows of flats, with bias and dark subtracted, that are to be scaled and combined.

    Parameters
    ----------
    stack : ndarray of float32 or float64, shape (frames, rows, columns)
        Before it is scaled.
    flags : ndarray of uint16 or None
    left_out : ndarray of float64, shape (rows, columns), or 0
        By how much the mean of the scaled frames is too high: fractions of an adu that float32
        could not represent exactly.
    gain : ndarray or None
        The factor of the combined frame, if the amplifiers differ.
    values : callable or None
        Of a stack of float32: returns the scaled values of the pixels whose numbers are
        given, in float64 and too high by the same amount.
    rounding : float
        The largest difference between scaled values in float32 and those.
    slope, shutter : ndarray or None
        The slope of the curve of linearity and the factor of the shutter, where they are corrected.
    """

    stack: np.ndarray
    flags: np.ndarray | None
    left_out: np.ndarray | float = 0.0
    gain: np.ndarray | None = None
    values: partial | None = None
    rounding: float = 0.0
    slope: np.ndarray | None = None
    shutter: np.ndarray | None = None

    def factor(self, gain: np.ndarray | None) -> np.ndarray | None:
        """Return what light was multiplied by, for its variance: the gain and the shutter's factor."""
        if gain is None or self.shutter is None:
            return self.shutter if gain is None else gain
        return gain * self.shutter

    def whole(self, combined: np.ndarray) -> np.ndarray:
        """Return the combined light in float64, with the remainder subtracted."""
        light = combined - self.left_out
        return light if self.gain is None else light * self.gain


@dataclass(frozen=True)
class Flats:
    """The flat frames of one master.

    Parameters
    ----------
    inputs : JobInputs
    chosen : sequence of Input
    exact : bool
        Whether float32 represents every frame exactly.
    scales : ndarray, shape (frames,)
        The factor of each.
    offsets : ndarray, shape (frames,)
        The level of each in units of its median.
    """

    inputs: JobInputs
    chosen: Sequence[Input]
    exact: bool
    scales: np.ndarray = field(default_factory=lambda: np.ones(0))
    offsets: np.ndarray = field(default_factory=lambda: np.ones(0))

    @property
    def amplifiers(self) -> AmplifierSet:
        """Their amplifiers."""
        return self.inputs.frames[self.chosen[0].file].amplifiers

    @property
    def recipe(self) -> Recipe:
        """Their recipe."""
        return self.inputs.frames[self.chosen[0].file].recipe

    @property
    def mosaic(self) -> ColourMosaic | None:
        """Their mosaic of colours, if they are from a colour camera."""
        return self.inputs.frames[self.chosen[0].file].mosaic

    @property
    def small(self) -> bool:
        """Whether they are stacked in float32, with a remainder of their masters omitted.

        That remainder is subtracted from the mean of the scaled frames; for a median it is
        unknown to which frame it belongs.
        """
        return self.exact and self.recipe.combine_for("flat").method != "median"

    @property
    def groups(self) -> dict[tuple[str | float | None, str | None, float], list[int]]:
        """The numbers of flats by their bias, their dark and the scale of the dark."""
        groups: dict[tuple, list[int]] = {}
        for n, chosen in enumerate(self.chosen):
            groups.setdefault((chosen.bias, chosen.dark, chosen.dark_scale), []).append(n)
        return groups

    def pairs(self, first: int, stop: int) -> dict[tuple[str | float | None, str | None], Pair]:
        """Read rows of each bias and dark once; most flats share them."""
        pairs: dict[tuple[str | float | None, str | None], Pair] = {}
        for chosen in self.chosen:
            if (chosen.bias, chosen.dark) not in pairs:
                pairs[chosen.bias, chosen.dark] = self.inputs.bands(chosen, first, stop)[:2]
        return pairs

    def scaled(
        self, pixels: Mapping[str, Pixels], pairs: Pairs, first: int, stop: int
    ) -> ScaledFlats:
        """Return rows of all flats with bias and dark subtracted, to be scaled by their levels.

        Parameters
        ----------
        pixels : mapping
            The open pixels of each file.
        pairs : mapping
            As returned by `pairs`.
        first, stop : int
        """
        ccd = self.prepared(pixels, self.chosen, first, stop, "f4" if self.small else "f8")
        if self.is_corrected:
            return self._corrected(ccd, pairs, first, stop)
        groups = self.groups
        stack = None if len(groups) == 1 else np.empty_like(ccd.data)
        left_out: np.ndarray | float = 0.0
        for (bias, dark, scale), members in groups.items():
            part = ccd if stack is None else CCDData(ccd.data[members], unit=ccd.unit)
            master, left = self._sum_of(*pairs[bias, dark], scale)
            light = subtract_masters(part, master, None).data
            left_out = left_out + left * (self.scales[members].sum() / len(self.chosen))
            if stack is not None:
                stack[members] = light
        stack = light if stack is None else stack
        gain = self.relative_gain(first, stop)
        if not self.small:
            return ScaledFlats(stack, ccd.flags, left_out, gain)
        values = partial(self._scaled_values, ccd.data, pairs, left_out)
        # The products of numbers below 2^17 and of scales are rounded, by 2^-7 twice, and
        # what was omitted from their masters counts with each frame's own scale, up to 2^-7.
        # It holds for a value and for the median that it is compared with.
        rounding = float(2**-4 * self.scales.max())
        return ScaledFlats(stack, ccd.flags, left_out, gain, values, rounding)

    @property
    def is_corrected(self) -> bool:
        """Whether linearity or shutter are corrected, so that bias and dark are subtracted apart."""
        return bool({"linearity", "shutter"} & set(used_corrections(self.recipe, "flat")))

    def _corrected(self, ccd: CCDData, pairs: Pairs, first: int, stop: int) -> ScaledFlats:
        """Return rows of all flats in float64, with their linearity and the shutter corrected."""
        stack, flags, slopes = np.empty_like(ccd.data), None, np.ones_like(ccd.data)
        for (bias, dark, scale), members in self.groups.items():
            own = None if ccd.flags is None else ccd.flags[members]
            part = CCDData(ccd.data[members], unit=ccd.unit, flags=own)
            chosen = [self.chosen[n] for n in members]
            done, slopes[members] = self._light(part, *pairs[bias, dark], scale, chosen, first)
            stack[members] = done.data
            if done.flags is not None:
                flags = np.zeros(stack.shape, "u2") if flags is None else flags
                flags[members] = done.flags
        frames = [self.inputs.frames[i.file] for i in self.chosen]
        factor = shutter_of(frames, first, stop)
        slope = None if self.recipe.linearity is None else root_mean_square(slopes)
        shutter = None if factor is None else factor.mean(axis=0, dtype="f8")
        gain = self.relative_gain(first, stop)
        return ScaledFlats(stack, flags, gain=gain, slope=slope, shutter=shutter)

    def _light(
        self,
        ccd: CCDData,
        bias: Band | None,
        dark: Band | None,
        scale: float,
        chosen: Sequence[Input],
        first: int,
    ) -> tuple[CCDData, np.ndarray | float]:
        """Return rows of flats less bias and dark, linearity and shutter corrected, and the slope."""
        frames = [self.inputs.frames[i.file] for i in chosen]
        light = subtract_masters(ccd, bias, None)
        slope: np.ndarray | float = 1.0
        linearity = linearity_of(frames[0], first)
        if linearity is not None:
            refuse_pedestal(frames[0], chosen[0])
            light, slope = linearise(light, linearity)
        light = subtract_masters(light, None, dark, scale)
        factor = shutter_of(frames, first, first + ccd.shape[1])
        if factor is not None:
            light = CCDData(light.data * factor, unit=light.unit, flags=light.flags)
        return light, slope

    def _sum_of(
        self, bias: Band | None, dark: Band | None, scale: float
    ) -> tuple[Band | None, np.ndarray | float]:
        """Return the sum of a bias and a scaled dark, and the remainder that was omitted.

        To a 128th of an adu float32 represents the difference from 16-bit values exactly.
        """
        if dark is not None:
            both = dark.data.astype("f8") * scale
            both += 0.0 if bias is None else bias.data
        elif bias is not None:
            both = bias.data.astype("f8")
        else:
            return None, 0.0
        if not self.small:
            return Band(both), 0.0
        rough = (np.round(both * 128) / 128).astype("f4")
        return Band(rough), both - rough

    def _scaled_values(
        self, prepared: np.ndarray, pairs: Pairs, left_out: np.ndarray | float, where: np.ndarray
    ) -> np.ndarray:
        chosen = prepared.reshape(len(prepared), -1)[:, where]
        exact = np.empty(chosen.shape)
        for (bias, dark, scale), members in self.groups.items():
            light = subtract_exactly(chosen[members], *pairs[bias, dark], scale, where)
            exact[members] = light * self.scales[members, np.newaxis]
        return exact + np.broadcast_to(left_out, prepared.shape[1:]).reshape(-1)[where]

    def prepared(
        self,
        pixels: Mapping[str, Pixels],
        chosen: Sequence[Input],
        first: int,
        stop: int,
        dtype: str,
    ) -> CCDData:
        """Return rows of some of the flats with their overscan subtracted."""
        measured = [self.inputs.measured[i.file] for i in chosen]
        opened = [pixels[i.file] for i in chosen]
        frame = self.inputs.frames[chosen[0].file]
        ccd = prepare(
            measured,
            first,
            stop,
            unit=frame.profile.unit,
            dtype=dtype,
            pixels=opened,
            crosstalk=crosstalk_of(frame),
        )
        return flag_bad_pixels(ccd, bad_pixels_of(frame, first, stop))

    def subtracted(
        self,
        ccd: CCDData,
        bias: Band | None,
        dark: Band | None,
        scale: float,
        first: int,
        chosen: Sequence[Input] = (),
    ) -> CCDData:
        """Return rows of flats with bias and dark subtracted, and the amplifiers' gains equalised.

        The corrections of linearity and shutter are made if the flats are ``chosen``.
        """
        if chosen and self.is_corrected:
            ccd = self._light(ccd, bias, dark, scale, chosen, first)[0]
        else:
            ccd = subtract_masters(ccd, bias, dark, scale)
        gain = self.relative_gain(first, first + ccd.shape[1])
        if gain is not None:
            # Not in place: without bias and dark these are the frames themselves.
            ccd.data = ccd.data * gain.astype(ccd.data.dtype, copy=False)
        return ccd

    def relative_gain(self, first: int, stop: int) -> np.ndarray | None:
        """Return the gains if they differ and the products are in electrons.

        Otherwise the flat would remove the ratio of the gains, and applying the gain would restore
        it.
        """
        if not self.recipe.electrons:
            return None
        gain = Noise.of(self.amplifiers, (0,) * len(self.amplifiers.readouts), first, stop).gain
        return gain if isinstance(gain, np.ndarray) else None


def subtract_exactly(
    values: np.ndarray,
    bias: Band | None,
    dark: Band | None,
    scale: float,
    where: np.ndarray,
) -> np.ndarray:
    """Return values of shape (frames, pixels) minus bias and dark at these pixels, in float64."""
    light = values.astype("f8")
    if bias is not None:
        light -= bias.data.reshape(-1)[where]
    if dark is not None:
        light -= dark.data.reshape(-1)[where].astype("f8") * scale
    return light


def good_pixels(data: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """Return where pixels of a flat are finite, and have no flag but that of a non-linear level."""
    return ((flags & NO_LEVEL) == 0) & np.isfinite(data)


def flat_norm(values: np.ndarray, scale: str, minimum: float) -> float:
    """Return the level of a combined flat, by which it is divided.

    Parameters
    ----------
    values : ndarray
        Its good pixels.
    scale : {"median", "mean", "mode"}
    minimum : float
        Pixels below this fraction of the level are not illuminated, and do not count.

    Raises
    ------
    FrameRejected
        ``flat-level``, if they have no light.
    """
    for _ in range(2):
        norm = level(values, scale) if values.size else 0.0
        if not norm > 0:
            raise FrameRejected("flat-level", "its good pixels have no light.")
        if values.min() >= minimum * norm:
            break
        # The second round excludes what is not illuminated.
        values = values[values >= minimum * norm]
    return norm


def colour_norms(
    values: Callable[[str], np.ndarray], mosaic: ColourMosaic, how: Flat
) -> dict[str, float]:
    """Return the level of each colour of a combined flat, by which its pixels are divided.

    The colour of the lamp therefore does not change the colours of the science frames. The two
    greens of a pattern share their level.

    Parameters
    ----------
    values : callable
        Returns the good pixels of a colour.
    mosaic : ColourMosaic
    how : Flat

    Raises
    ------
    FrameRejected
        ``flat-level``, if a colour has no light.
    """
    return {c: flat_norm(values(c), how.scale, how.minimum) for c in mosaic.colours}


def normalise_flat(band: Band, norm: float | np.ndarray, minimum: float) -> Band:
    """Divide rows of a combined flat by its level, and its variance by the square of it.

    A pixel that is not good, or below ``minimum``, becomes 1 and is flagged ``no flat``,
    so that nothing is divided by it.

    Parameters
    ----------
    band : Band
        With flags.
    norm : float, or ndarray of the shape of the rows
    minimum : float
    """
    # Division by a float64, so that a pixel is rounded once.
    data = _divided(band.data, np.asarray(norm, "f8"))
    variance = None if band.variance is None else _divided(band.variance, norm**2)
    unusable = ~good_pixels(band.data, known(band.flags, "flags")) | (data < minimum)
    return _without_flat(Band(data, variance, band.flags), unusable, NO_FLAT)


def _divided(plane: np.ndarray, by: float | np.ndarray) -> np.ndarray:
    return np.divide(plane, by, out=np.empty_like(plane), casting="same_kind")


def divide_lamp(whole: Band, how: SpectralFlat) -> tuple[Band, float]:
    """Divide a combined flat of a spectrograph by the spectrum of its lamp.

    Pixels that are outside the slit, or have no flat, become 1 and are flagged.

    Parameters
    ----------
    whole : Band
        All rows, with flags.
    how : SpectralFlat

    Returns
    -------
    Band
    float
        The level of the flat.

    Raises
    ------
    FrameRejected
        ``flat-lamp``, if the spectrum of the lamp cannot be fitted.
    """
    flags = known(whole.flags, "flags")
    good = good_pixels(whole.data, flags)
    try:
        found = spectral_flat(whole.data.astype("f8"), whole.variance, good, how)
    except ValueError as error:
        raise FrameRejected("flat-lamp", f"{error}; inspect the flats.") from error
    data, variance = found.data.astype("f4"), whole.variance
    if variance is not None:
        axis = 1 if how.dispersion == "y" else 0
        variance = variance / ((np.expand_dims(found.lamp, axis) * found.norm) ** 2).astype("f4")
    flags = flags.copy()
    flags[found.bad] |= BAD
    band = _without_flat(Band(data, variance, flags), ~found.lit, UNILLUMINATED)
    unusable = found.lit & (~good | (band.data < how.minimum))
    return _without_flat(band, unusable, NO_FLAT), found.norm


def _without_flat(band: Band, where: np.ndarray, flag: int) -> Band:
    """Set pixels of a flat to 1 and flag them, so that nothing is divided by them."""
    variance = None if band.variance is None else np.where(where, np.float32(0), band.variance)
    data = np.where(where, np.float32(1), band.data)
    flags = known(band.flags, "flags")
    return Band(data, variance, np.where(where, flags | np.uint16(flag), flags))
