"""Combine calibration frames prepared by a profile to a master, as in the reduction of a night."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from ..camera.amplifier import AmplifierSet
from ..camera.colours import ColourMosaic
from ..camera.recipe import ALL_CHIPS, Combine, Flat, Recipe
from ..errors import FrameRejected, PlanError, known
from ..pixels.combine import Stacked, combine
from ..pixels.master import (
    FlatGroup,
    blank,
    blank_unread,
    combined_flags,
    combined_variance,
    flag_hot,
    flat_level,
    flat_values,
    hot_limit,
    is_lit,
    scaled_variance,
    scatter_variance,
)
from ..pixels.prepare import NO_DATA
from ..products.band import NO_LEVEL, Band
from ..reduce.corrections import bad_pixels_of
from ..reduce.flats import colour_norms, divide_lamp, flat_norm, good_pixels, normalise_flat
from .pipeline import bands_of, noise_of_frame, plane_of
from .tracked import Master, Origin, TrackedCCD, left_out

__all__ = ["make_master", "unit_of"]


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
    def amplifiers(self) -> AmplifierSet:
        return self.origins[0].frame.amplifiers

    @property
    def pedestal(self) -> bool:
        """Whether neither overscan nor bias took the pedestal off."""
        return not self.amplifiers.has_overscan and self.origins[0].bias is None

    @property
    def tells_its_noise(self) -> bool:
        """Whether the scatter of the frames is their noise, as for darks with a pedestal."""
        return self.type == "dark" and self.pedestal and len(self.frames) > 1

    @property
    def knows_variance(self) -> bool:
        if self.type == "dark" and self.pedestal:
            return len(self.frames) > 1
        if self.type == "flat" and self.pedestal:
            darks = [o.dark for o in self.origins]
            known_noise = all(d is not None and d.variance is not None for d in darks)
            return "gain" not in self.amplifiers.missing and known_noise
        return self.amplifiers.knows_noise

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

    def left_out(self, frame: TrackedCCD) -> np.ndarray | None:
        """Return the pixels of a frame that do not enter the master."""
        return left_out(frame, bad_pixels_of(self.origins[0].frame, 0, frame.shape[0]))

    def rows(self, first: int, stop: int, dtype: str) -> np.ndarray:
        """Return rows of all frames, NaN where a pixel is left out."""
        rows = [self.plus_bias(f.data[first:stop], first, stop) for f in self.frames]
        stack = np.stack(rows).astype(dtype, copy=False)
        for frame, values in zip(self.frames, stack, strict=True):
            mask = self.left_out(frame)
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
) -> tuple[Band, float | dict[str, float] | None]:
    """Combine prepared frames of one type to the master that a night would make of them.

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

    Returns
    -------
    Band
        All rows, with flags.
    float, dict or None
        What a flat was divided by; of a mosaic of colours that of each colour.

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
    whole = _combined(stack, mapped)
    if stack.type == "flat":
        whole, norm = _without_level(whole, stack.recipe, origins[0].frame.mosaic)
        # Normalised it is 1 where it has no data, and without a recipe it stays as it is.
        return blank_unread(replace(blank(whole), data=whole.data), stack.amplifiers), norm
    if stack.type == "dark":
        good = np.isfinite(whole.data) & (known(whole.flags, "flags") & NO_DATA == 0)
        whole = flag_hot(whole, hot_limit(whole.data[good]))
    return blank_unread(blank(whole), stack.amplifiers), None


def _flat_level(stack: _Stack, number: int, statistic: str) -> tuple[float, float]:
    """Return the level of a flat over its good pixels, and the level in units of its median."""
    frame, origin, how = stack.frames[number], stack.origins[number], stack.recipe.flat
    image = np.asarray(frame.data, "f8")
    gain = stack.relative_gain(0, frame.shape[0])
    image = image if gain is None else image * gain
    good = np.isfinite(image)
    if origin.flags is not None:
        good &= (origin.flags & NO_LEVEL) == 0
    if (mask := stack.left_out(frame)) is not None:
        good &= ~mask
    if (mosaic := origin.frame.mosaic) is not None:
        good &= mosaic.where(mosaic.colours[0], image.shape)
    values = flat_values(image, good, how)
    found, offset = flat_level(values, statistic) if values.size else (0.0, 1.0)
    if not (found > 0 and is_lit(found, values[: values.size // 2])):
        raise PlanError(
            f"{origin.frame.file} (frame {number + 1}): its level is {found:.6g} {frame.unit}, "
            "but a flat needs light after bias and dark have been subtracted; inspect it, and omit it."
        )
    return found, offset


def _combined(stack: _Stack, mapped: Callable) -> Band:
    """Combine band by band; the variance of darks with a pedestal follows from their scatter."""
    shape, number = stack.frames[0].shape, len(stack.frames)
    data, flags = np.empty(shape, "f4"), np.zeros(shape, "u2")
    variance = np.empty(shape, "f4") if stack.knows_variance else None
    scatter = np.empty((2, *shape)) if stack.tells_its_noise else None
    n_used = np.empty(shape if stack.tells_its_noise else 0)
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
        data[rows], flags[rows] = value, _flags(stack, found, *band)
        if scatter is not None:
            scatter[:, rows], n_used[rows] = found.scatter, np.maximum(found.n_used, 1)
        elif variance is not None:
            variance[rows] = _variance(stack, value, found.n_used, *band)

    for _ in mapped(one, bands_of(shape, 8 * number)):
        pass
    if scatter is not None:
        variance = scatter_variance(data, scatter, n_used, stack.how, number)
    return Band(data, variance, flags)


def _flags(stack: _Stack, found: Stacked, first: int, stop: int) -> np.ndarray:
    """Flag pixels that are saturated in too many frames, or have no value."""
    flags = [o.flags[first:stop] for o in stack.origins if o.flags is not None]
    masters = {id(m): m for o in stack.origins for m in (o.bias, o.dark) if m}.values()
    subtracted = [plane_of(_rows_of(m, first, stop)) for m in masters]
    bad = bad_pixels_of(stack.origins[0].frame, first, stop)
    return combined_flags(
        found, stack.how, len(stack.frames), np.stack(flags) if flags else None, subtracted, bad
    )


def _rows_of(master: Master | None, first: int, stop: int) -> Master | None:
    """Return some rows of a master."""
    if master is None:
        return None
    return replace(
        master,
        data=master.data[first:stop],
        variance=None if master.variance is None else master.variance[first:stop],
        flags=None if master.flags is None else master.flags[first:stop],
    )


def _variance(
    stack: _Stack, value: np.ndarray, n_used: np.ndarray | int, first: int, stop: int
) -> np.ndarray:
    """Return the variance of a combined band, before a flat is normalised."""
    origin, n_used = stack.origins[0], np.maximum(n_used, 1)
    noise = noise_of_frame(origin.frame, first, stop)
    if stack.type == "bias" or stack.scales is None or stack.offsets is None:
        return combined_variance(
            stack.type,
            value,
            noise,
            plane_of(_rows_of(origin.bias, first, stop)),
            how=stack.how,
            number=len(stack.frames),
            n_used=n_used,
        )
    return scaled_variance(
        value,
        noise,
        _groups(stack, stack.scales, first, stop),
        how=stack.how,
        scales=stack.scales,
        offsets=stack.offsets,
        n_used=n_used,
        relative_gain=stack.relative_gain(first, stop),
        keeps_pedestal=stack.pedestal,
    )


def _groups(stack: _Stack, scales: np.ndarray, first: int, stop: int) -> list[FlatGroup]:
    """Return the frames by the rows of the masters that were subtracted from them."""
    members: dict[tuple, list[int]] = {}
    for n, o in enumerate(stack.origins):
        sums = tuple(None if m is None else m.sha256 for m in (o.bias, o.dark))
        members.setdefault((*sums, o.dark_scale), []).append(n)
    groups = []
    for numbers in members.values():
        one = stack.origins[numbers[0]]
        bias, dark = (_rows_of(m, first, stop) for m in (one.bias, one.dark))
        planes = plane_of(bias), plane_of(dark, bias, stack.pedestal)
        groups.append(FlatGroup([float(scales[n]) for n in numbers], *planes, one.dark_scale))
    return groups


def _without_level(
    band: Band, recipe: Recipe, mosaic: ColourMosaic | None
) -> tuple[Band, float | dict[str, float] | None]:
    """Divide a flat by the level of its good pixels, or by the spectrum of its lamp."""
    how = recipe.flat
    if how is None:
        return band, None
    try:
        if not isinstance(how, Flat):
            return divide_lamp(band, how)
        if how.level == ALL_CHIPS:
            raise PlanError(
                f"the flats of one chip cannot be combined with Flat(level={ALL_CHIPS!r}), which "
                "needs those of all chips; reduce the night, or use Flat(level='chip')."
            )
        good = good_pixels(band.data, known(band.flags, "flags"))
        if mosaic is None:
            norm = flat_norm(band.data[good], how.scale, how.minimum)
            return normalise_flat(band, norm, how.minimum), norm
        shape = band.data.shape
        norms = colour_norms(lambda c: band.data[good & mosaic.where(c, shape)], mosaic, how)
        return normalise_flat(band, mosaic.per_pixel(norms, shape), how.minimum), norms
    except FrameRejected as error:
        raise PlanError(f"the flats cannot be combined: {error}") from error


def unit_of(type: str, unit: u.UnitBase) -> u.UnitBase:
    """Return the unit of a master: a flat has none."""
    return u.dimensionless_unscaled if type == "flat" else unit
