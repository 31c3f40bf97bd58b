"""Combine the same rows of all frames of a master, with their variance and flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..files.pixels import Pixels
from ..pixels.calibrate import Noise, master_variance
from ..pixels.combine import Stacked, combine, variance_factor
from ..pixels.noise import offset_variance_factor
from ..pixels.prepare import NO_DATA, SATURATED, prepare
from ..products.band import Band
from .flats import Flats, Pair
from .inputs import bands_of, noise_of
from .request import MasterRequest, are_exact

__all__ = ["CombinedRows", "combine_rows", "row_bands"]


@dataclass(frozen=True)
class CombinedRows:
    """Rows of a master before its level, or its noise, is computed from all rows.

    Parameters
    ----------
    band : Band
        With flags. Its variance is None if it is unknown, or follows from ``scatter``.
    scatter : ndarray of float64, shape (2, rows, columns), or None
        The variance of one frame's pixel, as returned by `combine`.
    n_used : ndarray or int
        The number of values used for each pixel; at least 1.
    """

    band: Band
    scatter: np.ndarray | None = None
    n_used: np.ndarray | int = 1


def row_bands(
    request: MasterRequest, flats: Flats | None, first: int, stop: int
) -> list[tuple[int, int]]:
    """Divide rows of a master into bands, of which all frames fit into memory."""
    small = are_exact(request.inputs, request.chosen) if flats is None else flats.small
    size = len(request.chosen) * (4 if small else 8)
    bands = bands_of((stop - first, request.shape[1]), size)
    return [(first + start, first + end) for start, end in bands]


def combine_rows(
    request: MasterRequest,
    flats: Flats | None,
    pixels: Mapping[str, Pixels],
    first: int,
    stop: int,
) -> CombinedRows:
    """Combine rows ``first`` up to ``stop`` of the frames of a master.

    Parameters
    ----------
    request : MasterRequest
    flats : Flats or None
        The same frames with their scales, for a master flat.
    pixels : mapping
        The open pixels of each file.
    first, stop : int
    """
    if flats is not None:
        return _combine_flats(request, flats, pixels, first, stop)
    chosen, how = request.chosen, request.how
    exact = are_exact(request.inputs, chosen)
    ccd = prepare(
        request.measured,
        first,
        stop,
        unit=request.frame.profile.unit,
        dtype="f4" if exact else "f8",
        pixels=[pixels[i.file] for i in chosen],
    )
    scatter = request.has_variance and request.measures_own_noise
    stacked = combine(ccd.data, how, scatter, whole=exact)
    value = stacked.data
    bias = None
    if request.master.type in ("dark", "arc"):
        bias = request.inputs.band(chosen[0].bias, first, stop)
    if bias is not None:
        # The same bias is in every frame, so it is subtracted once.
        times = len(chosen) if how.method == "sum" else 1
        value = value - times * bias.data.astype("f8")
    flags = _flags(request, ccd.flags, stacked, bias)
    n_used = np.maximum(stacked.n_used, 1)
    if not request.has_variance or scatter:
        return CombinedRows(Band(value, None, flags), stacked.scatter, n_used)
    factor = variance_factor(len(chosen), how) / n_used
    noise = noise_of(request.amplifiers, request.recipe, first, stop)
    variance = _variance(request, value, factor, noise, bias)
    return CombinedRows(Band(value, variance, flags), None, n_used)


def _combine_flats(
    request: MasterRequest,
    flats: Flats,
    pixels: Mapping[str, Pixels],
    first: int,
    stop: int,
) -> CombinedRows:
    pairs = flats.pairs(first, stop)
    scaled = flats.scaled(pixels, pairs, first, stop)
    stacked = combine(
        scaled.stack,
        request.how,
        scales=flats.scales,
        values=scaled.values,
        rounding=scaled.rounding,
    )
    value = scaled.whole(stacked.data)
    flags = _flags(request, scaled.flags, stacked, *(m for pair in pairs.values() for m in pair))
    n_used = np.maximum(stacked.n_used, 1)
    if not request.has_variance:
        return CombinedRows(Band(value, None, flags), None, n_used)
    factor = variance_factor(len(flats.chosen), request.how) / n_used
    variance = _flat_variance(request, flats, value, factor, pairs, first, stop)
    return CombinedRows(Band(value, variance, flags), None, n_used)


def _flags(
    request: MasterRequest,
    flags: np.ndarray | None,
    stacked: Stacked,
    *subtracted: Band | None,
) -> np.ndarray:
    """Return the flags of combined rows, from those of the frames and of subtracted masters."""
    combined = np.zeros(stacked.data.shape, "u2")
    for master in subtracted:
        if master is not None and master.flags is not None:
            combined |= master.flags & NO_DATA
    if flags is not None:
        # A pixel that is saturated in half of the frames is saturated in their median; a
        # plain average or sum suffers from one.
        times = ((flags & SATURATED) != 0).sum(axis=0)
        robust = request.how.method == "median" or request.how.clip is not None
        saturated = times * 2 >= len(request.chosen) if robust else times > 0
        combined[saturated] |= SATURATED
    combined[np.broadcast_to(stacked.n_used == 0, combined.shape)] |= NO_DATA
    return combined


def _variance(
    request: MasterRequest,
    value: np.ndarray,
    factor: np.ndarray | float,
    noise: Noise,
    bias: Band | None,
) -> np.ndarray:
    """Return the variance of combined biases, darks or arcs."""
    if request.master.type == "bias":
        return np.broadcast_to(np.asarray(factor * noise.read_variance), value.shape)
    number, times = len(request.chosen), 1
    if request.how.method == "sum":
        single = np.maximum(value / number, 0) / noise.gain + noise.read_variance
        own, times = number**2 * factor * single, number**2
    else:
        own = factor * (np.maximum(value, 0) / noise.gain + noise.read_variance)
    return own if bias is None or bias.variance is None else own + times * bias.variance


def _flat_variance(
    request: MasterRequest,
    flats: Flats,
    value: np.ndarray,
    factor: np.ndarray | float,
    pairs: Mapping[tuple[str | None, str | None], Pair],
    first: int,
    stop: int,
) -> np.ndarray:
    """Return the variance of flats that were scaled to each other.

    Each is s (x - bias - r dark); its photons are those of the light, value / s, and of
    the dark that was subtracted. The noise of their common bias and dark does not average
    down.
    """
    noise = noise_of(request.amplifiers, request.recipe, first, stop)
    # In electrons the light is already the gain times the values of the frame.
    relative = flats.relative_gain(first, stop)
    k = 1.0 if relative is None else relative
    total = np.maximum(value, 0) * (k * flats.scales.mean() / noise.gain)
    fixed: np.ndarray | float = 0.0
    for (bias_name, dark_name, scale), members in flats.groups.items():
        bias, dark = pairs[bias_name, dark_name]
        s = [float(flats.scales[n]) for n in members]
        if request.keeps_pedestal:
            single, more = dark.scatter, dark.variance
        else:
            light = 0 if dark is None else np.maximum(dark.data, 0) * (scale / noise.gain)
            single, more = light + noise.read_variance, master_variance(bias, dark, scale)
        total += k**2 * (sum(x * x for x in s) / len(flats.scales)) * single
        if more is not None:
            fixed = fixed + (sum(s) / len(flats.scales)) * np.sqrt(more)
    offsets = flats.offsets
    if request.how.method == "median" and (offsets != 1).any():
        # A mode is less certain than a median, and leaves the flats at different levels.
        noise_of_one = np.sqrt(total) / np.maximum(np.abs(value), 1e-6)
        total = total * offset_variance_factor(offsets / offsets.mean() - 1, noise_of_one)
    return factor * total + (k * fixed) ** 2
