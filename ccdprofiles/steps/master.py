"""Combine calibration frames prepared by a profile to a master, as in the reduction of a night."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from ..camera.recipe import Combine, Recipe, SpectralFlat
from ..errors import FrameRejected, PlanError
from ..pixels.calibrate import HOT, Noise, master_variance
from ..pixels.combine import Stacked, combine, variance_factor
from ..pixels.noise import offset_variance_factor, pooled_scatter
from ..pixels.prepare import NO_DATA, SATURATED
from ..pixels.response import illuminated
from ..pixels.statistics import MAD_TO_STD, exact_median, level
from ..products.band import Band
from ..reduce.flats import divide_lamp, flat_norm, good_pixels, normalise_flat
from .pipeline import bands_of, noise_of_frame, plane_of
from .tracked import Master, Origin, mask_of

__all__ = ["Planes", "make_master"]


@dataclass(frozen=True)
class Planes:
    """The planes of a master.

    Parameters
    ----------
    data : ndarray of float32, shape (rows, columns)
    variance : ndarray of float32 or None
    flags : ndarray of uint16
    norm : float or None
        The number by which a flat was divided.
    """

    data: np.ndarray
    variance: np.ndarray | None
    flags: np.ndarray
    norm: float | None = None


@dataclass(frozen=True)
class _Stack:
    """The frames of a master, and how they are combined."""

    frames: Sequence[CCDData]
    origins: Sequence[Origin]
    how: Combine
    scales: np.ndarray | None = None
    offsets: np.ndarray | None = None

    @property
    def type(self) -> str:
        return self.origins[0].frame.type

    @property
    def recipe(self) -> Recipe:
        return self.origins[0].frame.recipe

    @property
    def pedestal(self) -> bool:
        """Whether neither overscan nor bias removed the pedestal."""
        return not self.origins[0].frame.amplifiers.has_overscan and self.origins[0].bias is None

    @property
    def tells_its_noise(self) -> bool:
        """Whether the scatter of the frames is their noise, as for darks with a pedestal."""
        return self.type == "dark" and self.pedestal and len(self.frames) > 1

    @property
    def knows_variance(self) -> bool:
        amplifiers = self.origins[0].frame.amplifiers
        if self.type == "dark" and self.pedestal:
            return len(self.frames) > 1
        if self.type == "flat" and self.pedestal:
            darks = [o.dark for o in self.origins]
            known = all(d is not None and d.variance is not None for d in darks)
            return "gain" not in amplifiers.missing and known
        return amplifiers.knows_noise

    @property
    def shared_bias(self) -> Master | None:
        """The bias that was subtracted from every dark or arc.

        It is added while the frames are combined, so that they are whole numbers, and subtracted
        once.
        """
        sums = {o.bias.sha256 if o.bias else "" for o in self.origins}
        alone = len(sums) == 1 and self.type in ("dark", "arc") and self.scales is None
        return self.origins[0].bias if alone and not any(o.dark for o in self.origins) else None

    @property
    def exact(self) -> bool:
        """Whether float32 represents the sums of all frames exactly."""
        taken = any(o.dark or o.bias for o in self.origins) and self.shared_bias is None
        if taken or self.scales is not None or not all(o.exact for o in self.origins):
            return False
        return all(_is_whole(self.plus_bias(f.data, 0, len(f.data))) for f in self.frames)

    def plus_bias(self, values: np.ndarray, first: int, stop: int) -> np.ndarray:
        """Add the shared bias to rows of frames."""
        bias = self.shared_bias
        return values if bias is None else values + bias.data[first:stop].astype("f8")

    def less_bias(self, value: np.ndarray, first: int, stop: int) -> np.ndarray:
        """Subtract the shared bias from combined rows."""
        bias = self.shared_bias
        if bias is None:
            return value
        times = len(self.frames) if self.how.method == "sum" else 1
        return value - times * bias.data[first:stop].astype("f8")

    def relative_gain(self, first: int, stop: int) -> np.ndarray | None:
        """Return the gains if they differ and products are in electrons."""
        if self.type != "flat" or not self.recipe.electrons:
            return None
        gain = noise_of_frame(self.origins[0].frame, first, stop).gain
        return gain if isinstance(gain, np.ndarray) else None

    def rows(self, first: int, stop: int, dtype: str) -> np.ndarray:
        """Return rows of all frames, NaN where a pixel is masked but not flagged."""
        rows = [self.plus_bias(f.data[first:stop], first, stop) for f in self.frames]
        stack = np.stack(rows).astype(dtype, copy=False)
        for frame, values in zip(self.frames, stack, strict=True):
            mask = mask_of(frame)
            if mask is not None:
                values[mask[first:stop]] = np.nan
        gain = self.relative_gain(first, stop)
        return stack if gain is None else stack * gain


def _is_whole(data: np.ndarray) -> bool:
    """Return True if pixels are halves of whole numbers below 65536."""
    twice = data * data.dtype.type(2)
    return bool(np.array_equal(np.rint(twice), twice) and np.abs(twice).max() < 2**17)


def make_master(
    frames: Sequence[CCDData],
    origins: Sequence[Origin],
    how: Combine,
    scale: np.ndarray | str | None,
    mapped: Callable[[Callable, Iterable], Iterable],
) -> Planes:
    """Combine prepared frames of one type to the same master as in the reduction of a night.

    Parameters
    ----------
    frames : sequence of CCDData
    origins : sequence of Origin
        Of each.
    how : Combine
    scale : ndarray, {"median", "mode", "mean"} or None
        The factor of each frame, or the statistic by which it is divided.
    mapped : callable
        As `map`; it may work in threads.

    Raises
    ------
    PlanError
        If a flat has no light, or its lamp cannot be fitted.
    """
    stack = _Stack(frames, origins, how)
    if isinstance(scale, str):
        levels = [_flat_level(stack, n, scale) for n in range(len(frames))]
        values, offsets = (np.array(each) for each in zip(*levels, strict=True))
        stack = replace(stack, scales=1 / values, offsets=offsets)
    elif scale is not None:
        stack = replace(stack, scales=scale, offsets=np.ones(len(frames)))
    planes, scatter, kept = _combined(stack, mapped)
    if scatter is not None:
        single = pooled_scatter(planes.data, scatter, len(frames))
        variance = (single * (variance_factor(len(frames), how) / kept)).astype("f4")
        planes = replace(planes, variance=variance)
    if stack.type == "flat" and stack.recipe.flat is not None:
        planes = _without_level(planes, stack.recipe)
    elif stack.type == "dark":
        planes = _with_hot_pixels(planes)
    lost = (planes.flags & NO_DATA) != 0
    for plane in (planes.data if stack.type != "flat" else None, planes.variance):
        if plane is not None:
            plane[lost] = 0
    return planes


def _flat_level(stack: _Stack, number: int, statistic: str) -> tuple[float, float]:
    """Return the level of a flat over its good pixels, and the level in units of its median."""
    frame, origin, how = stack.frames[number], stack.origins[number], stack.recipe.flat
    image = np.asarray(frame.data, "f8")
    gain = stack.relative_gain(0, frame.shape[0])
    image = image if gain is None else image * gain
    good = np.isfinite(image)
    if origin.flags is not None:
        good &= origin.flags == 0
    if (mask := mask_of(frame)) is not None:
        good &= ~mask
    if isinstance(how, SpectralFlat):
        slit = illuminated(np.where(good, image, np.nan), how)
        good &= np.expand_dims(slit, 0 if how.dispersion == "y" else 1)
    values = image[good]
    found = level(values, statistic) if values.size else 0.0
    noise = 0.0
    if values.size > 1:
        noise = MAD_TO_STD * np.median(np.abs(np.diff(values[: values.size // 2]))) / 2**0.5
    if not found > noise:
        raise PlanError(
            f"{origin.frame.file} (frame {number + 1}): its level is {found:.6g} {frame.unit}, "
            "but a flat needs light after bias and dark have been subtracted; inspect it, and omit it."
        )
    return found, 1.0 if statistic == "median" else found / level(values, "median")


def _combined(
    stack: _Stack, mapped: Callable
) -> tuple[Planes, np.ndarray | None, np.ndarray | None]:
    """Combine band by band; for darks with a pedestal also return their scatter and `n_used`."""
    shape = stack.frames[0].shape
    planes = Planes(
        np.empty(shape, "f4"),
        np.empty(shape, "f4") if stack.knows_variance else None,
        np.zeros(shape, "u2"),
    )
    scatter = np.empty((2, *shape)) if stack.tells_its_noise else None
    number_kept = np.empty(shape) if stack.tells_its_noise else None
    exact = stack.exact

    def one(band: tuple[int, int]) -> None:
        rows = slice(*band)
        found = combine(
            stack.rows(*band, "f4" if exact else "f8"),
            stack.how,
            scatter=scatter is not None,
            whole=exact,
            scales=stack.scales,
        )
        value = stack.less_bias(found.data, *band)
        planes.data[rows] = value
        planes.flags[rows] = _flags(stack, found, *band)
        if scatter is not None:
            scatter[:, rows], number_kept[rows] = found.scatter, np.maximum(found.n_used, 1)
        elif planes.variance is not None:
            planes.variance[rows] = _variance(stack, value, found.n_used, *band)

    for _ in mapped(one, bands_of(shape, 8 * len(stack.frames))):
        pass
    return planes, scatter, number_kept


def _flags(stack: _Stack, found: Stacked, first: int, stop: int) -> np.ndarray:
    """Flag pixels that are saturated in too many frames, or have no value."""
    number, shape = len(stack.frames), found.data.shape
    flags = np.zeros(shape, "u2")
    known = [o.flags[first:stop] for o in stack.origins if o.flags is not None]
    if known:
        times = sum(((f & SATURATED) != 0).astype("i4") for f in known)
        robust = stack.how.method == "median" or stack.how.clip is not None
        flags[times * 2 >= number if robust else times > 0] |= SATURATED
    flags[np.broadcast_to(found.n_used == 0, shape)] |= NO_DATA
    for master in {id(m): m for o in stack.origins for m in (o.bias, o.dark) if m}.values():
        if master.flags is not None:
            flags |= master.flags[first:stop] & np.uint16(NO_DATA)
    return flags


def _rows_of(master: Master | None, first: int, stop: int) -> Master | None:
    """Return some rows of a master."""
    if master is None:
        return None
    cut = {
        name: None if (plane := getattr(master, name)) is None else plane[first:stop]
        for name in ("data", "variance", "flags")
    }
    return replace(master, **cut)


def _variance(
    stack: _Stack, value: np.ndarray, kept: np.ndarray | int, first: int, stop: int
) -> np.ndarray:
    """Return the variance of a combined band, before a flat is normalised."""
    number = len(stack.frames)
    factor = variance_factor(number, stack.how) / np.maximum(kept, 1)
    noise = noise_of_frame(stack.origins[0].frame, first, stop)
    if stack.type == "bias":
        return np.broadcast_to(np.asarray(factor * noise.read_variance), value.shape)
    if stack.scales is not None:
        return _scaled_variance(stack, value, factor, noise, first, stop)
    times = number**2 if stack.how.method == "sum" else 1
    mean = value / number if stack.how.method == "sum" else value
    own = times * factor * (np.maximum(mean, 0) / noise.gain + noise.read_variance)
    bias = stack.origins[0].bias
    if bias is None or bias.variance is None:
        return own
    return own + times * bias.variance[first:stop]


def _scaled_variance(
    stack: _Stack,
    value: np.ndarray,
    factor: np.ndarray | float,
    noise: Noise,
    first: int,
    stop: int,
) -> np.ndarray:
    """Return the variance of frames that were scaled to each other.

    Each is s (x - bias - r dark). Its photons are those of the light, value / s, and of the dark
    that was subtracted. The noise of their common bias and dark does not average down.
    """
    relative = stack.relative_gain(first, stop)
    k = 1.0 if relative is None else relative
    scales = stack.scales
    total = np.maximum(value, 0) * (k * scales.mean() / noise.gain)
    fixed = 0.0
    groups: dict[tuple, list[int]] = {}
    for n, o in enumerate(stack.origins):
        sums = tuple(None if m is None else m.sha256 for m in (o.bias, o.dark))
        groups.setdefault((*sums, o.dark_scale), []).append(n)
    for (*_, ratio), members in groups.items():
        one = stack.origins[members[0]]
        bias = _rows_of(one.bias, first, stop)
        bias, dark = (
            plane_of(bias),
            plane_of(_rows_of(one.dark, first, stop), bias, stack.pedestal),
        )
        s = scales[members]
        if stack.pedestal:
            single, more = dark.scatter, dark.variance
        else:
            light = 0 if dark is None else np.maximum(dark.data, 0) * (ratio / noise.gain)
            single, more = light + noise.read_variance, master_variance(bias, dark, ratio)
        total += k**2 * ((s * s).sum() / len(scales)) * single
        if more is not None:
            fixed = fixed + (s.sum() / len(scales)) * np.sqrt(more)
    off = stack.offsets
    if stack.how.method == "median" and (off != 1).any():
        # A mode is less certain than a median, and leaves the flats at slightly different levels.
        noise_of_one = np.sqrt(total) / np.maximum(np.abs(value), 1e-6)
        total = total * offset_variance_factor(off / off.mean() - 1, noise_of_one)
    return factor * total + (k * fixed) ** 2


def _with_hot_pixels(planes: Planes) -> Planes:
    """Flag the pixels of a dark that are ten standard deviations above its median."""
    good = np.isfinite(planes.data) & (planes.flags & NO_DATA == 0)
    if good.any():
        values = planes.data[good]
        middle = exact_median(values)
        top = middle + 10 * MAD_TO_STD * exact_median(values, about=middle)
        planes.flags[(planes.data > top) & good] |= HOT
    return planes


def _without_level(planes: Planes, recipe: Recipe) -> Planes:
    """Divide a flat by the level of its good pixels, or by the spectrum of its lamp."""
    how = recipe.flat
    band = Band(planes.data, planes.variance, planes.flags)
    try:
        if isinstance(how, SpectralFlat):
            done, norm = divide_lamp(band, how)
        else:
            good = planes.data[good_pixels(planes.data, planes.flags)]
            norm = flat_norm(good, how.scale, how.minimum)
            done = normalise_flat(band, norm, how.minimum)
    except FrameRejected as error:
        raise PlanError(f"the flats cannot be combined: {error}") from error
    return Planes(done.data, done.variance, done.flags, norm)


def unit_of(type: str, unit: u.UnitBase) -> u.UnitBase:
    """Return the unit of a master: a flat has none."""
    return u.dimensionless_unscaled if type == "flat" else unit
