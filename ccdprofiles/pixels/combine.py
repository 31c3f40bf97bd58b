"""A stack of frames becomes one, band by band.

`ccdproc.Combiner` holds the stack and makes the result; what is rejected and what
the median is comes from here, as ccdproc's own clipping looks at frames before
they are scaled, at masked pixels too, and takes its time. Values are sorted by a
network of minima and maxima (Batcher 1968, AFIPS 32, 307) on tiles that fit into
the cache, so that the median and the median deviation of all pixels come without
a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData
from ccdproc import Combiner

from ..camera.recipe import Combine
from .noise import MAD_TO_STD, median_variance

__all__ = ["Stacked", "combine", "variance_factor"]

_TILE_BYTES = 2**17
_NETWORK = 256

_ROUNDING = 2**-21
"""How far values in float32 may lie from the true ones, and differences of them, at most."""


@dataclass(frozen=True)
class Stacked:
    """What a stack of frames became.

    Parameters
    ----------
    data : ndarray, shape (rows, columns)
        Of the type of the stack; float64 where it was scaled.
    kept : ndarray of int32 or int
        How many values of each pixel were kept; one number where none was rejected.
    scatter : ndarray of float64, shape (2, rows, columns), or None
        The variance of one frame's pixel as all values scatter, and as those within
        five ``mad_std`` do, if asked for.
    """

    data: np.ndarray
    kept: np.ndarray | int
    scatter: np.ndarray | None = None


def combine(
    stack: np.ndarray,
    how: Combine,
    unit: u.UnitBase = u.adu,
    scatter: bool = False,
    *,
    whole: bool = False,
    scales: np.ndarray | None = None,
    values: Callable[[np.ndarray], np.ndarray] | None = None,
    rounding: float = 0.0,
) -> Stacked:
    """Combine a stack of frames, scaled to each other.

    Parameters
    ----------
    stack : ndarray of float32 or float64, shape (frames, rows, columns)
        Of float32 the sums are made in float64. NaN counts as no value.
    how : Combine
        Values further than ``clip`` times ``mad_std`` from the median of their
        pixel are left out, in one pass.
    unit : Unit
    scatter : bool
        Whether the variance of a single frame is wanted too.
    whole : bool
        Whether the values are halves of whole numbers below 65536, so that float32
        sums up to 64 of them exactly.
    scales : ndarray of float64, shape (frames,), optional
        What each frame is multiplied by before all else.
    values : callable, optional
        Where ``stack`` was rounded to float32: given the numbers of some pixels (from
        0, row by row), returns their scaled values in float64, shape (frames, pixels).
        What is rejected is decided with them.
    rounding : float
        How far scaled values of float32 may lie from those; 2^-21 of themselves if not
        given.

    Returns
    -------
    Stacked
        A pixel of which no frame has a value is NaN, and keeps none.

    Examples
    --------
    A cosmic ray in one of five frames goes:

    >>> import numpy as np
    >>> from ccdprofiles.pixels.combine import combine
    >>> from ccdprofiles import Combine
    >>> stack = np.array([10, 11, 9, 10.5, 900])[:, np.newaxis, np.newaxis]
    >>> combine(stack, Combine(method="average", clip=5)).data
    array([[10.125]])
    """
    # The Combiner would copy the stack and lay a mask of equal size beside it; it takes
    # the stack as it is, and what is rejected is ours to know.
    dtype = stack.dtype if scales is None else np.dtype("f8")
    combiner = Combiner([CCDData(f[:1, :1], unit=unit) for f in stack], dtype=dtype)
    combiner.data_arr = np.ma.array(stack, copy=False)
    found = _combined(stack, how, scatter, whole, scales, values, rounding)

    def result(data: np.ndarray, axis: int) -> np.ndarray:
        return found.data

    def no_uncertainty(data: np.ndarray, axis: int) -> np.ndarray:
        return np.zeros(data.shape[1:], "f4")

    # The scatter of the values knows nothing of their noise, so ours is made elsewhere.
    if how.method == "median":
        ccd = combiner.median_combine(median_func=result, uncertainty_func=no_uncertainty)
    elif how.method == "sum":
        ccd = combiner.sum_combine(sum_func=result, uncertainty_func=no_uncertainty)
    else:
        ccd = combiner.average_combine(scale_func=result, uncertainty_func=no_uncertainty)
    return Stacked(ccd.data, found.kept, found.scatter)


def _combined(
    stack: np.ndarray,
    how: Combine,
    scatter: bool = False,
    whole: bool = False,
    scales: np.ndarray | None = None,
    values: Callable[[np.ndarray], np.ndarray] | None = None,
    rounding: float = 0.0,
) -> Stacked:
    """Work through the pixels of a stack tile by tile."""
    number = len(stack)
    flat = stack.reshape(number, -1)
    pixels = flat.shape[1]
    data = np.empty(pixels, stack.dtype if scales is None else "f8")
    spread = np.empty((2, pixels), "f8") if scatter else None
    kept = None
    step = _TILE_BYTES // stack.itemsize
    for first in range(0, pixels, step):
        tile = flat[:, first : first + step]
        where = slice(first, first + tile.shape[1])
        data[where], odd = _tile(tile, how, whole, scales, rounding)
        if odd.size:
            given = _scaled(tile[:, odd], scales) if values is None else values(first + odd)
            again, few = _few(given, how)
            data[first + odd] = again
            if few.min() < number:
                kept = np.full(pixels, number, "i4") if kept is None else kept
                kept[first + odd] = few
        if spread is not None:
            spread[:, where] = _spread(_scaled(tile, scales))
    shape = stack.shape[1:]
    return Stacked(
        data.reshape(shape),
        number if kept is None else kept.reshape(shape),
        None if spread is None else spread.reshape(2, *shape),
    )


def _tile(
    tile: np.ndarray, how: Combine, whole: bool, scales: np.ndarray | None, rounding: float
) -> tuple[np.ndarray, np.ndarray]:
    """Combine all values of a tile; and tell which of its pixels may lose some."""
    number = len(tile)
    if how.clip is None and how.method != "median":
        value = _total(tile, whole, scales)
        odd = np.flatnonzero(np.isnan(value))
    else:
        # A mean is made of the values themselves; a median is one of those in order.
        exact = np.dtype("f8") if scales is not None and how.method == "median" else tile.dtype
        ordered = _sorted(tile, scales, exact)
        centre = _middle(ordered)
        odd = _suspect(ordered, centre, how.clip, whole, rounding)
        value = centre if how.method == "median" else _total(tile, whole, scales)
    return value / number if how.method == "average" else value, odd


def _scaled(tile: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
    """Return the values of some pixels in float64, scaled."""
    return tile.astype("f8") if scales is None else tile * scales[:, np.newaxis]


def _total(tile: np.ndarray, whole: bool, scales: np.ndarray | None) -> np.ndarray:
    """Add up the values of every pixel, in float32 where that is exact."""
    if scales is not None:
        total, row = np.multiply(tile[0], scales[0], dtype="f8"), np.empty(tile.shape[1])
        for values, scale in zip(tile[1:], scales[1:], strict=True):
            total += np.multiply(values, scale, out=row)
        return total
    exact = whole and len(tile) <= 64
    return np.add.reduce(tile, axis=0, dtype=tile.dtype if exact else "f8").astype("f8", copy=False)


def _suspect(
    ordered: Sequence[np.ndarray],
    centre: np.ndarray,
    clip: float | None,
    whole: bool,
    rounding: float,
) -> np.ndarray:
    """Say which pixels have a value that is missing, or too far off or nearly so."""
    low, high = ordered[0], ordered[-1]
    if clip is None:
        return np.flatnonzero(np.isnan(low))
    exact = low.dtype.type
    reach = _deviation(ordered, centre)
    # What rounding may hide is left to float64 to decide.
    reach *= exact(clip * MAD_TO_STD * (1 - 2**-20))
    if rounding:
        reach -= exact(rounding * (1 + clip * MAD_TO_STD))
    elif not whole:
        reach -= np.maximum(np.abs(low), np.abs(high)) * exact(_ROUNDING * (1 + clip * MAD_TO_STD))
    # A pixel with NaN has NaN everywhere, and fails both.
    return np.flatnonzero(~(np.maximum(centre - low, high - centre) <= reach))


def _few(values: np.ndarray, how: Combine) -> tuple[np.ndarray, np.ndarray]:
    """Combine the few pixels that may lose values, each with those that it keeps.

    Values are float64, shape (frames, pixels); also returns how many were kept.
    """
    number = len(values)
    ordered = np.stack(_sorted(values))
    lost = np.isnan(ordered[0])
    if lost.any():
        result, few = np.empty(values.shape[1]), np.empty(values.shape[1], "i4")
        result[lost], few[lost] = _mended(values[:, lost], how)
        if not lost.all():
            result[~lost], few[~lost] = _few(values[:, ~lost], how)
        return result, few
    centre = _middle(ordered)
    reach = _deviation(ordered, centre) * (how.clip * MAD_TO_STD)
    keep = np.abs(ordered - centre) <= reach
    few = np.count_nonzero(keep, axis=0)
    if how.method == "median":
        start = np.count_nonzero(centre - ordered > reach, axis=0)
        place = np.arange(len(start))
        low, high = start + (few - 1) // 2, start + few // 2
        return (ordered[low, place] + ordered[high, place]) / 2, few
    ordered[~keep] = 0
    mean = np.add.reduce(ordered, axis=0) / few
    # A sum stands for all frames, whatever was left out of it.
    return mean if how.method == "average" else mean * number, few


def _mended(values: np.ndarray, how: Combine) -> tuple[np.ndarray, np.ndarray]:
    """Combine pixels of which some frames have no value."""
    keep = np.isfinite(values)
    some = np.where(keep, values, np.nan)
    if how.clip is not None:
        centre = _nanmedian(some)
        reach = _nanmedian(np.abs(some - centre)) * (how.clip * MAD_TO_STD)
        with np.errstate(invalid="ignore"):
            keep &= np.abs(some - centre) <= reach
    few = keep.sum(axis=0)
    if how.method == "median":
        return _nanmedian(np.where(keep, some, np.nan)), few
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(keep, some, 0).sum(axis=0) / few
    return mean if how.method == "average" else mean * len(values), few


def _spread(values: np.ndarray) -> np.ndarray:
    """Return the variance of all values, and of those within five ``mad_std``.

    The second knows no cosmic ray, but is too small where values are few.
    """
    finite = np.isfinite(values)
    if finite.all():
        ordered = _sorted(values)
        centre = _middle(ordered)
        deviation = _deviation(ordered, centre)
    else:
        centre = _nanmedian(values)
        deviation = _nanmedian(np.abs(values - centre))
    with np.errstate(invalid="ignore"):
        near = np.abs(values - centre) <= deviation * (5 * MAD_TO_STD)
    return np.stack([_variance(values, keep) for keep in (finite, near)])


def _variance(values: np.ndarray, keep: np.ndarray) -> np.ndarray:
    number = keep.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(keep, values, 0).sum(axis=0) / number
        squares = np.where(keep, (values - mean) ** 2, 0).sum(axis=0)
    return squares / np.maximum(number - 1, 1)


def _sorted(
    tile: np.ndarray, scales: np.ndarray | None = None, dtype: np.dtype | None = None
) -> list[np.ndarray]:
    """Sort the scaled values of every pixel; NaN spreads over all of its values."""
    number = len(tile)
    factors = np.ones(number, tile.dtype) if scales is None else scales.astype(dtype)
    if number > _NETWORK:
        ordered = np.sort(tile * factors[:, np.newaxis], axis=0)
        lost = np.isnan(ordered[-1])
        ordered[:, lost] = np.nan
        return list(ordered)
    rows = [row * factor for row, factor in zip(tile, factors, strict=True)]
    spare = np.empty_like(rows[0])
    for low, high in _network(number):
        np.minimum(rows[low], rows[high], out=spare)
        np.maximum(rows[low], rows[high], out=rows[high])
        rows[low], spare = spare, rows[low]
    return rows


@lru_cache
def _network(number: int) -> tuple[tuple[int, int], ...]:
    """Batcher's merge exchange: the pairs to be put in order (Knuth 5.2.2, algorithm M)."""
    pairs = []
    top = 1 << max(0, (number - 1).bit_length() - 1)
    step = top
    while step > 0:
        stride, offset, distance = top, 0, step
        while True:
            pairs += [(i, i + distance) for i in range(number - distance) if i & step == offset]
            if stride == step:
                break
            distance = stride - step
            stride //= 2
            offset = step
        step //= 2
    return tuple(pairs)


def _middle(ordered: Sequence[np.ndarray]) -> np.ndarray:
    """Return the median of values in order."""
    half = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) * ordered[half].dtype.type(0.5)


def _deviation(ordered: Sequence[np.ndarray], centre: np.ndarray) -> np.ndarray:
    """Return the median of the distances from the centre, of values in order.

    The k values nearest to the centre are neighbours in the order, so the k-th
    smallest distance is the least over all runs of k neighbours of the greater
    distance of their two ends.
    """
    number = len(ordered)
    below = [centre - row for row in ordered]

    def nearest(k: int) -> np.ndarray:
        least = np.maximum(below[0], -below[k - 1])
        for i in range(1, number - k + 1):
            np.minimum(least, np.maximum(below[i], -below[i + k - 1]), out=least)
        return least

    half = number // 2
    if number % 2:
        return nearest(half + 1)
    return (nearest(half) + nearest(half + 1)) * centre.dtype.type(0.5)


def _nanmedian(values: np.ndarray) -> np.ndarray:
    """Return the median down the stack without NaN; NaN where there is nothing else."""
    ordered = np.sort(values, axis=0)
    number = np.isfinite(ordered).sum(axis=0)
    columns = np.arange(values.shape[1])
    low = ordered[np.maximum(number - 1, 0) // 2, columns]
    return (low + ordered[np.minimum(number // 2, len(values) - 1), columns]) / 2


@lru_cache
def variance_factor(number: int, how: Combine) -> float:
    """Return the variance of a combined pixel, in units of one value's variance / kept.

    For a mean it is 1, for a median of normal values about pi / 2. A mean that was
    clipped about the median with the median deviation of few values throws good ones away, and
    scatters more than the square root of what it kept; how much is found from
    40,000 made-up pixels of normal noise, the same at every call.

    Parameters
    ----------
    number : int
        Frames in the stack.
    how : Combine
    """
    if how.method == "median":
        return number * median_variance(number)
    if how.clip is None or number < 3 or number > 64:
        return 1.0
    random = np.random.default_rng(1968)
    # Digitised as real pixels are; the ties of whole numbers matter to the median deviation.
    values = np.round(random.normal(0, 6, (number, 40_000)))
    found = _combined(values[:, np.newaxis, :], Combine(method="average", clip=how.clip), False)
    kept = np.broadcast_to(found.kept, found.data.shape)
    return float(np.mean(found.data**2 * kept) / (36 + 1 / 12))
