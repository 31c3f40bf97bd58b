"""The level of each flat, from its good pixels with bias and dark subtracted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..camera.recipe import Flat
from ..errors import FrameRejected
from ..files.pixels import Pixels
from ..pixels.master import flat_level, flat_values, is_lit
from ..pixels.statistics import Bracket, level
from ..plan.plan import Input, too_few
from ..plan.reason import Reason
from ..products.band import NO_LEVEL, Band
from .flats import Flats, subtract_exactly
from .inputs import JobInputs, bands_of, flat_recipe
from .request import MasterRequest, are_exact, open_frames

__all__ = ["FlatLevel", "levels_of", "lit_flats", "refused_flats"]

_TOGETHER = 5
_SAMPLES = 32
"""The number of places of a flat where a sample is taken before its median is computed."""


@dataclass(frozen=True)
class FlatLevel:
    """The level of a flat.

    Parameters
    ----------
    value : float
        In adu, with bias and dark subtracted.
    offset : float
        The level in units of the median; 1 where it is the median.
    refused : Reason or None
        Why the flat cannot be used.
    """

    value: float = 0.0
    offset: float = 1.0
    refused: Reason | None = None


def levels_of(
    inputs: JobInputs, chosen: Sequence[Input], exact: bool, mapped: Callable = map
) -> dict[str, FlatLevel]:
    """Measure the levels of flats from their good pixels.

    Parameters
    ----------
    inputs : JobInputs
    chosen : sequence of Input
    exact : bool
        Whether float32 represents every frame exactly.
    mapped : callable
        As `map`; it may work in threads.

    Returns
    -------
    dict
        File → `FlatLevel`.
    """
    found: dict[str, FlatLevel] = {}
    # A few at a time, so that many flats take no more memory.
    for first in range(0, len(chosen), _TOGETHER):
        group = chosen[first : first + _TOGETHER]
        with open_frames(inputs, group) as pixels:
            levels = _levels(Flats(inputs, group, exact), pixels, mapped)
        found |= {i.file: level for i, level in zip(group, levels, strict=True)}
    return found


def refused_flats(levels: Mapping[str, FlatLevel]) -> dict[str, Reason]:
    """Return the reason of each flat that cannot be used, by their files."""
    return {file: each.refused for file, each in levels.items() if each.refused is not None}


def lit_flats(
    request: MasterRequest, levels: Mapping[str, FlatLevel]
) -> tuple[MasterRequest, Flats]:
    """Return a request without the flats that cannot be used, and the others with their scales.

    Raises
    ------
    FrameRejected
        ``flat-level`` or ``few-frames``, if too few are left.
    """
    chosen = tuple(i for i in request.chosen if levels[i.file].refused is None)
    if not chosen:
        raise FrameRejected(
            "flat-level",
            "none of its frames can be used; see the reason for each, and take new flats.",
        )
    if len(chosen) < request.master.minimum:
        raise FrameRejected("few-frames", too_few(request.master, len(chosen)))
    used = [levels[i.file] for i in chosen]
    flats = Flats(
        request.inputs,
        chosen,
        are_exact(request.inputs, chosen),
        scales=1 / np.array([each.value for each in used]),
        offsets=np.array([each.offset for each in used]),
    )
    return replace(request, chosen=chosen), flats


def _levels(flats: Flats, pixels: Mapping[str, Pixels], mapped: Callable) -> list[FlatLevel]:
    how = flats.recipe.flat
    if flats.exact and isinstance(how, Flat) and how.scale == "median" and flats.mosaic is None:
        return _medians(flats, pixels, mapped)
    return list(mapped(partial(_level, flats, pixels), flats.chosen))


def _level(flats: Flats, pixels: Mapping[str, Pixels], chosen: Input) -> FlatLevel:
    how = flat_recipe(flats.recipe)
    values = _light(flats, pixels, chosen)
    if not values.size:
        return _saturated(chosen)
    found, offset = flat_level(values, how.scale)
    return _checked(chosen, found, offset, values[: values.size // 2])


def _light(flats: Flats, pixels: Mapping[str, Pixels], chosen: Input) -> np.ndarray:
    """Return the good pixels of a flat in float64, with bias and dark subtracted.

    Of a mosaic of colours they are those of its most frequent colour.
    """
    shape = flats.amplifiers.shape
    image = np.empty(shape, "f8")
    good = np.ones(shape, bool)
    for first, stop in bands_of(shape, 24):
        bias = flats.inputs.band(chosen.file, chosen.bias, first, stop, False)
        dark = flats.inputs.band(chosen.file, chosen.dark, first, stop, False)
        ccd = flats.prepared(pixels, [chosen], first, stop, "f8")
        ccd = flats.subtracted(ccd, bias, dark, chosen.dark_scale, first, [chosen])
        image[first:stop] = ccd.data[0]
        if ccd.flags is not None:
            good[first:stop] = (ccd.flags[0] & NO_LEVEL) == 0
    if flats.mosaic is not None:
        # The median of several colours may lie in the gap between two of them.
        good &= flats.mosaic.where(flats.mosaic.colours[0], shape)
    return flat_values(image, good, flats.recipe.flat)


def _medians(flats: Flats, pixels: Mapping[str, Pixels], mapped: Callable) -> list[FlatLevel]:
    """Return the medians of `_light` of all flats, without a whole frame in memory.

    Samples give a bracket for each median. Values below it are only counted, and values inside are
    sorted in float64.
    """
    rows = flats.amplifiers.shape[0]
    places = [(row, min(row + 4, rows)) for row in range(0, rows, max(4, rows // _SAMPLES))]
    everything = [None] * len(flats.chosen)
    looked = list(mapped(lambda band: _pick(flats, pixels, band, everything), places))
    samples = [np.concatenate([held for _, _, held in each]) for each in zip(*looked, strict=True)]
    brackets = [Bracket.of(sample) for sample in samples]
    bands = bands_of(flats.amplifiers.shape, 8 * len(flats.chosen))
    counted = list(mapped(lambda band: _pick(flats, pixels, band, brackets), bands))
    found: list[FlatLevel] = []
    for chosen, sample, parts in zip(
        flats.chosen, samples, zip(*counted, strict=True), strict=True
    ):
        size, below, held = zip(*parts, strict=True)
        if not sum(size):
            found.append(_saturated(chosen))
            continue
        median = Bracket.median(sum(size), sum(below), np.concatenate(held))
        if median is None:
            median = level(_light(flats, pixels, chosen), "median")
        found.append(_checked(chosen, median, 1.0, sample))
    return found


def _pick(
    flats: Flats,
    pixels: Mapping[str, Pixels],
    band: tuple[int, int],
    brackets: Sequence[Bracket | None],
) -> list[tuple[int, int, np.ndarray]]:
    """Count the good pixels of each flat and those below its bracket; return those inside it."""
    picked = []
    gain = flats.relative_gain(*band)
    for (bias_name, dark_name, scale), members in flats.groups.items():
        file = flats.chosen[members[0]].file  # all cover the same part of the detector
        bias = flats.inputs.band(file, bias_name, *band, False)
        dark = flats.inputs.band(file, dark_name, *band, False)
        ccd = flats.prepared(pixels, [flats.chosen[n] for n in members], *band, "f4")
        done = flats.subtracted(ccd, _added(bias, dark, scale), None, 1.0, band[0])
        for place, n in enumerate(members):
            flags = None if done.flags is None else done.flags[place]
            good = None if flags is None else np.flatnonzero((flags & NO_LEVEL) == 0)
            rounded = done.data[place].reshape(-1)
            rounded = rounded if good is None else rounded[good]
            bracket = brackets[n]
            inside, below = np.arange(rounded.size), 0
            if bracket is not None:
                inside, below = bracket.split(rounded)
            where = inside if good is None else good[inside]
            light = subtract_exactly(ccd.data[place].reshape(-1)[where], bias, dark, scale, where)
            if gain is not None:
                light *= gain.reshape(-1)[where]
            picked.append((n, (rounded.size, below, light)))
    return [each for _, each in sorted(picked, key=lambda p: p[0])]


def _added(bias: Band | None, dark: Band | None, scale: float) -> Band | None:
    """Return the sum of bias and scaled dark in float32, enough to sort pixels into brackets."""
    if dark is None:
        return bias
    current = dark.data * np.float32(scale)
    return Band(current if bias is None else current + bias.data)


def _saturated(chosen: Input) -> FlatLevel:
    refused = Reason(
        chosen.file,
        "flat-saturated",
        "all of its pixels are saturated or without data; take it out of the night.",
    )
    return FlatLevel(refused=refused)


def _checked(chosen: Input, found: float, offset: float, values: np.ndarray) -> FlatLevel:
    """Return the level of a flat, refused if it is not above the noise between neighbours."""
    if is_lit(found, values):
        return FlatLevel(found, offset)
    refused = Reason(
        chosen.file,
        "flat-level",
        f"its level is {found:.6g} adu once bias and dark are off, where a "
        "flat needs light; look at it, and take it out of the night.",
    )
    return FlatLevel(refused=refused)
