"""Combine the same rows of all frames of a master, with their variance and flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..files.pixels import Pixels
from ..pixels.calibrate import subtract_masters
from ..pixels.combine import combine
from ..pixels.linearity import linearise, root_mean_square
from ..pixels.master import FlatGroup, combined_flags, combined_variance, scaled_variance
from ..pixels.prepare import prepare
from ..products.band import Band
from .corrections import bad_pixels_of, crosstalk_of, linearity_of, refuse_pedestal
from .flats import Flats
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
        unit=request.unit,
        dtype="f4" if exact else "f8",
        pixels=[pixels[i.file] for i in chosen],
        crosstalk=crosstalk_of(request.frame),
    )
    scatter = request.has_variance and request.measures_own_noise
    bias = None
    if request.master.type in ("dark", "arc"):
        bias = request.inputs.band(chosen[0].file, chosen[0].bias, first, stop)
    linearity, slope = linearity_of(request.frame, first), None
    if linearity is not None:
        refuse_pedestal(request.frame, chosen[0])
        ccd, slopes = linearise(subtract_masters(ccd, bias, None), linearity)
        slope = root_mean_square(slopes)
    stacked = combine(ccd.data, how, scatter, whole=exact)
    value = stacked.data
    if bias is not None and linearity is None:
        # The same bias is in every frame, so it is subtracted once.
        times = len(chosen) if how.method == "sum" else 1
        value = value - times * bias.data.astype("f8")
    bad = bad_pixels_of(request.frame, first, stop)
    flags = combined_flags(stacked, how, len(chosen), ccd.flags, [bias], bad)
    n_used = np.maximum(stacked.n_used, 1)
    if not request.has_variance or scatter:
        return CombinedRows(Band(value, None, flags), stacked.scatter, n_used)
    variance = combined_variance(
        request.master.type,
        value,
        noise_of(request.amplifiers, request.recipe, first, stop),
        bias,
        how=how,
        number=len(chosen),
        n_used=n_used,
        slope=slope,
    )
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
    masters = [m for pair in pairs.values() for m in pair]
    bad = bad_pixels_of(request.frame, first, stop)
    flags = combined_flags(stacked, request.how, len(flats.chosen), scaled.flags, masters, bad)
    n_used = np.maximum(stacked.n_used, 1)
    if not request.has_variance:
        return CombinedRows(Band(value, None, flags), None, n_used)
    groups = [
        FlatGroup([float(flats.scales[n]) for n in members], *pairs[bias, dark], dark_scale)
        for (bias, dark, dark_scale), members in flats.groups.items()
    ]
    variance = scaled_variance(
        value,
        noise_of(request.amplifiers, request.recipe, first, stop),
        groups,
        how=request.how,
        scales=flats.scales,
        offsets=flats.offsets,
        n_used=n_used,
        relative_gain=scaled.factor(flats.relative_gain(first, stop)),
        keeps_pedestal=request.keeps_pedestal,
        slope=scaled.slope,
    )
    return CombinedRows(Band(value, variance, flags), None, n_used)
