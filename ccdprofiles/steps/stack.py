"""Combine frames: CCDData or files become one CCDData."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from numpy.typing import DTypeLike

from ..camera.frame_types import MASTER_TYPES
from ..camera.recipe import Combine, SpectralFlat
from ..camera.values import one_of
from ..errors import PlanError
from ..files.threads import Threads
from ..pixels.combine import combine as combine_stack
from ..pixels.combine import variance_factor
from ..pixels.statistics import level
from ..reduce.keywords import norm_cards
from .images import header_of
from .ledger import State, check_alike, check_recorded, missing_steps
from .limits import Limits
from .master import make_master, unit_of
from .pipeline import (
    add_history,
    combined_cards,
    exposure_of_all,
    master_cards,
    merged,
)
from .settings import check_group, current
from .source import FileFrame, MemoryFrame, frames_of, listed
from .tracked import Master, Origin, TrackedCCD, origins, tracked

__all__ = ["combine"]

log = logging.getLogger(__name__)

_BAND_BYTES = 32 * 2**20
_STATISTICS = ("median", "mode", "mean")
_OF_RECIPE = "recipe"

Frames = Sequence[MemoryFrame | FileFrame]
Scale = str | Sequence[float] | np.ndarray | Callable[[np.ndarray], float]


def combine(
    img_list: Sequence[CCDData | str | Path] | str | Path,
    method: str | None = None,
    *,
    scale: str | Sequence[float] | np.ndarray | Callable[[np.ndarray], float] | None = None,
    clip: float | str | None = _OF_RECIPE,
    sigma_clip: bool = False,
    sigma_clip_low_thresh: float | None = 3,
    sigma_clip_high_thresh: float | None = 3,
    sigma_clip_func: Callable | str | None = None,
    sigma_clip_dev_func: Callable | str | None = None,
    minmax_clip: bool = False,
    minmax_clip_min: float | None = None,
    minmax_clip_max: float | None = None,
    mem_limit: float = 16e9,
    dtype: str | np.dtype | None = None,
    unit: object = None,
    hdu: int | None = None,
    **of_ccdproc: object,
) -> CCDData:
    """Combine frames to one, clipped after they are scaled to each other.

    Calibration frames from `Profile.prepare` give the same master as in `ccdprofiles.reduce_night`:
    flats are scaled and normalised, the lamp is divided out of spectral flats, hot pixels of darks
    are flagged. All others are combined as in `ccdproc.combine`.

    Parameters
    ----------
    img_list : list of CCDData or of path, or str
        Files are read a band of rows at a time. A text contains paths separated by commas.
    method : {"average", "median", "sum"}, optional
        By default the method of the recipe for prepared frames, and ``"average"`` for all others.
    scale : callable, array-like, {"median", "mode", "mean"}, optional
        The factor of each frame; a function takes the pixels of a frame and returns its factor. A
        word is the statistic of its good pixels by which each frame is divided. By default that of
        the recipe for prepared flats, and 1 for all others.
    clip : float or None, optional
        Values further than this many ``mad_std`` from the median of their pixel are rejected from
        an average or a sum. By default the limit of the recipe for prepared frames, and None for
        all others.
    sigma_clip, sigma_clip_low_thresh, sigma_clip_high_thresh
        The same with a limit for each side, as in `ccdproc.combine`.
    sigma_clip_func, sigma_clip_dev_func : callable or str, optional
        The median and ``mad_std``, which are used in any case; others are refused.
    minmax_clip, minmax_clip_min, minmax_clip_max
        Values outside are rejected, in the unit of the frames, before they are scaled.
    mem_limit : float
        How many bytes the bands of a stack may take. A frame takes no more than 32 MiB in any
        case, and its result the size of three frames.
    dtype : dtype, optional
        Of the result; float32 for masters of prepared frames, float64 for all others.
    unit : Unit or str, optional
        Of files that have no BUNIT.
    hdu : int, optional
        The HDU of files that is combined, by default the first image.
    **of_ccdproc
        Other options of `ccdproc.combine` are refused, unless they have no effect.

    Returns
    -------
    CCDData, shape (rows, columns)
        Pixels of which every frame is masked are masked, and 0. The uncertainty is a standard
        deviation; None if the frames have none. ``meta`` has the cards that all frames share,
        NCOMBINE, and the exposure: the mean, of a sum the sum.

    Raises
    ------
    PlanError
        If the frames differ in shape, unit, camera or in the steps done to them; if a night would
        not combine them, because settings, exposure or filter differ; if a bias or dark is to be
        scaled, or a flat has no light; if calibration frames of a profile were read from files and
        ``method``, ``clip`` or, for flats, ``scale`` is missing; or if an option of
        `ccdproc.combine` is not supported.

    Examples
    --------
    A cosmic ray in one of five frames is rejected:

    >>> from astropy.nddata import CCDData
    >>> from ccdprofiles import combine
    >>> frames = [CCDData([[value]], unit="adu") for value in (10.0, 11, 9, 10.5, 900)]
    >>> combine(frames, clip=5).data
    array([[10.125]])
    """
    _refuse(of_ccdproc, sigma_clip_func, sigma_clip_dev_func)
    images = listed(img_list)
    states = [State.of(i.meta) if isinstance(i, CCDData) else None for i in images]
    limits = Limits.of(
        clip if sigma_clip is False else None,
        (sigma_clip_low_thresh, sigma_clip_high_thresh) if sigma_clip else None,
        (minmax_clip_min, minmax_clip_max) if minmax_clip else None,
    )
    sources = _known_origins(images, states)
    if sources is not None and not limits.plain:
        _refuse_spectral(sources[0])
    if sources is not None and limits.plain:
        prepared = [image for image in images if isinstance(image, TrackedCCD)]
        check_alike(prepared, states, method, scale is not None)
        return _master(prepared, sources, method, scale, limits, dtype)
    frames = frames_of(images, unit, hdu)
    try:
        states = [State.of(f.header) for f in frames]
        check_alike(frames, states, method, scale is not None)
        check_recorded(frames, states, _missing_options(states, method, limits, scale))
        return _plain(frames, _how(method, limits.clip), scale, limits, mem_limit, dtype)
    finally:
        for frame in frames:
            frame.close()


def _missing_options(
    states: Sequence[State | None], method: str | None, limits: Limits, scale: Scale | None
) -> str:
    """Name the options that plain images of these types need if one is missing, or nothing."""
    flats = any(state is not None and state.type == "flat" for state in states)
    open_clip = limits.clip == _OF_RECIPE
    if method is not None and not open_clip and (scale is not None or not flats):
        return ""
    return "method=, clip= and scale=" if flats else "method= and clip="


def _refuse_spectral(origin: Origin) -> None:
    """Refuse limits with which the lamp would not be divided out of spectral flats."""
    if origin.frame.type == "flat" and isinstance(origin.frame.recipe.flat, SpectralFlat):
        raise PlanError(
            "the lamp cannot be divided out of spectral flats that are combined with two limits of "
            "sigma_clip or with minmax_clip; use clip= with one limit."
        )


_NOT_TAKEN = {
    "output_file": "write the result with its .write()",
    "overwrite_output": "write the result with its .write()",
    "weights": "use ccdproc.combine",
    "clip_extrema": "use clip=, or ccdproc.combine",
    "nlow": "use clip=, or ccdproc.combine",
    "nhigh": "use clip=, or ccdproc.combine",
    "combine_uncertainty_function": "the uncertainty follows from that of the frames",
}
"""Options of `ccdproc.combine` that are not supported, and what to do instead."""


def _refuse(others: dict[str, object], centre: object, deviation: object) -> None:
    """Refuse options that are not supported."""
    for name, value in others.items():
        if name not in _NOT_TAKEN:
            raise TypeError(f"combine() got an unexpected keyword argument {name!r}")
        if value is not None and value is not False and name not in ("nlow", "nhigh"):
            raise PlanError(f"{name}= is not supported; {_NOT_TAKEN[name]}.")
    for name, value, taken in (
        ("sigma_clip_func", centre, ("median", "nanmedian")),
        ("sigma_clip_dev_func", deviation, ("mad_std",)),
    ):
        function = getattr(value, "__name__", value)
        if value is not None and function not in taken:
            raise PlanError(
                f"{name}={function} is not supported, because values are clipped about their median in units of "
                f"mad_std; omit it, or use ccdproc.combine."
            )


def _how(method: str | None, clip: float | str | None) -> Combine:
    """Return how frames without a profile are combined."""
    one_of(method or "average", ("average", "median", "sum"), "method")
    return Combine(method=method or "average", clip=_clip_of(clip, None))


def _clip_of(clip: float | str | None, usual: float | None) -> float | None:
    """Return the clip that was asked for, or else the usual one."""
    # `Combine` refuses any other text.
    return usual if clip == _OF_RECIPE else cast("float | None", clip)


def _known_origins(
    images: Sequence[CCDData | str | Path], states: Sequence[State | None]
) -> list[Origin] | None:
    """Return where calibration frames come from, or None if one of them does not tell all of it."""
    sources = origins(images)
    if sources is None:
        return None
    for origin, state in zip(sources, states, strict=True):
        used = {"B": origin.bias, "D": origin.dark, "F": origin.flat}
        if state is None or states[0] is None or states[0].type not in MASTER_TYPES:
            return None
        if any((letter in state.letters) != (used[letter] is not None) for letter in used):
            return None
    return sources


def _mapped(threads: Threads) -> Callable:
    return threads.map if threads.started else map


# Masters of prepared frames.


def _master(
    frames: Sequence[TrackedCCD],
    sources: Sequence[Origin],
    method: str | None,
    scale: Scale | None,
    limits: Limits,
    dtype: DTypeLike | None,
) -> CCDData:
    """Make the master that the recipe asks for."""
    sources = [
        current(o, header_of(f.meta, "a frame")) for o, f in zip(sources, frames, strict=True)
    ]
    notes, settings = check_group(sources)
    first = sources[0].frame
    kind = first.type
    if kind == "flat":
        notes += missing_steps(sources[0], str(frames[0].meta["CALSTAT"]))
    for note in notes:
        log.warning("%s", note)
    recipe = first.recipe
    usual = recipe.combine_for(kind)
    how = Combine(
        method=usual.method if method is None else method,
        clip=_clip_of(limits.clip, usual.clip),
    )
    if scale is None and kind == "flat" and recipe.flat is not None:
        scale = recipe.flat.scale
    factors = scale if isinstance(scale, str) or scale is None else _factors(frames, scale)
    if isinstance(factors, str):
        one_of(factors, _STATISTICS, "scale")
    with Threads(_threads()) as threads:
        whole, norm = make_master(frames, sources, how, factors, _mapped(threads))
    masters = [m for m in (sources[0].bias, sources[0].dark) if m is not None]
    meta = add_history(_master_meta(frames, sources, how, masters, settings), *notes)
    if norm is not None:
        norm_cards(meta, norm)
        lines = [f"each scaled by 1 / {scale}, then normalised"] if isinstance(scale, str) else []
        if isinstance(flat := recipe.flat, SpectralFlat):
            lines.append(f"lamp divided out: {flat.fit} of order {flat.order}")
        meta = add_history(meta, *lines)
    unit = unit_of(kind, frames[0].unit) if norm is not None else frames[0].unit
    data = whole.data if dtype is None else whole.data.astype(dtype)
    return tracked(data, unit, whole.variance, whole.flags, meta, None)


def _master_meta(
    frames: Sequence[TrackedCCD],
    sources: Sequence[Origin],
    how: Combine,
    masters: list[Master],
    settings: Sequence[tuple[str, float | str]],
) -> fits.Header:
    """Make the header of a master."""
    summed = how.method == "sum"
    first = sources[0]
    meta = combined_cards([f.meta for f in frames], summed, settings)
    meta = exposure_of_all(meta, [o.frame for o in sources], summed)
    meta = merged(meta, master_cards(first, masters, len(frames), how))
    return add_history(meta, *_lines(len(frames), how))


def _lines(number: int, how: Combine) -> list[str]:
    clip = f", clipped at {how.clip:g} mad_std" if how.clip else ""
    return [f"{how.method} of {number} frames{clip}"]


def _plain_line(number: int, how: Combine, limits: Limits, scale: Scale | None) -> str:
    """Describe how plain frames were combined; a single clip is not used for a median."""
    clip = None if how.method == "median" else how.clip
    scaled = "" if scale is None else ", each scaled"
    scaled += f" by 1 / {scale}" if isinstance(scale, str) else ""
    return f"{how.method} of {number} frames{limits.phrase(clip)}{scaled}"


# Frames without a profile.


def _plain(
    frames: Frames,
    how: Combine,
    scale: Scale | None,
    limits: Limits,
    mem_limit: float,
    dtype: DTypeLike | None,
) -> CCDData:
    """Combine frames of which only the pixels are known."""
    scales = None if scale is None else _factors(frames, scale)
    shape, number = frames[0].shape, len(frames)
    data, kept = np.empty(shape, dtype or "f8"), np.empty(shape, "i4")
    noisy = all(f.variance(0, 1) is not None for f in frames)
    std = np.empty(shape, "f4") if noisy else None
    weights = np.ones(number) if scales is None else scales
    # Scaled values are added up in float64; only the median of an odd number is one of them.
    exact = scales is None and how.method == "median" and number % 2

    def one(band: tuple[int, int]) -> None:
        rows = slice(*band)
        stack = limits.applied(np.stack([f.rows(*band) for f in frames]), scales)
        stack = stack if stack.dtype.kind == "f" else stack.astype("f8")
        found = combine_stack(stack, how, scales=None if exact else weights)
        kept[rows] = found.n_used
        data[rows] = np.where(kept[rows] > 0, found.data, 0)
        if std is not None:
            std[rows] = np.sqrt(_variance(frames, weights, stack, kept[rows], how, *band))

    threads = _threads()
    with Threads(threads) as pool:
        for _ in _mapped(pool)(one, _bands(frames, mem_limit / threads)):
            pass
    mask = kept == 0
    return CCDData(
        data,
        unit=frames[0].unit,
        mask=mask if mask.any() or any(_has_mask(f) for f in frames) else None,
        uncertainty=None if std is None else StdDevUncertainty(std),
        meta=add_history(
            combined_cards([f.header for f in frames], how.method == "sum"),
            _plain_line(number, how, limits, scale),
        ),
    )


def _variance(
    frames: Frames,
    weights: np.ndarray,
    stack: np.ndarray,
    kept: np.ndarray,
    how: Combine,
    first: int,
    stop: int,
) -> np.ndarray:
    """Return the variance of combined pixels, from that of the values that were used."""
    total = np.zeros(kept.shape)
    for frame, weight, values in zip(frames, weights, stack, strict=True):
        total += np.where(np.isfinite(values), weight**2 * frame.variance(first, stop), 0)
    number = len(frames)
    there = np.maximum(np.isfinite(stack).sum(axis=0), 1)
    single = total / there
    variance = single * variance_factor(number, how) / np.maximum(kept, 1)
    return variance * number**2 if how.method == "sum" else variance


def _bands(frames: Frames, room: float) -> list[tuple[int, int]]:
    """Divide the rows into bands of which all frames fit into memory."""
    rows, columns = frames[0].shape
    row = 24 * len(frames) * columns
    step = max(1, int(min(_BAND_BYTES, room) // row))
    return [(first, min(first + step, rows)) for first in range(0, rows, step)]


def _threads() -> int:
    return max(1, min(4, os.cpu_count() or 1))


def _has_mask(frame: MemoryFrame | FileFrame) -> bool:
    return isinstance(frame, MemoryFrame) and frame.ccd.mask is not None


def _factors(frames: Sequence, scale: Scale) -> np.ndarray:
    """Return what each frame is multiplied by.

    Raises
    ------
    PlanError
        If there are not as many numbers as frames, or one is not a positive number.
    """
    if isinstance(scale, str):
        one_of(scale, _STATISTICS, "scale")
        with Threads(_threads()) as threads:
            levels = _mapped(threads)(lambda frame: level(_good(frame), scale), frames)
            found = [1 / one if one > 0 else np.nan for one in levels]
    elif callable(scale):
        found = [_number(scale(_pixels(frame))) for frame in frames]
    else:
        found = [_number(number) for number in np.ravel(np.asarray(scale, object))]
    if len(found) != len(frames):
        raise PlanError(
            f"scale= has {len(found)} numbers for {len(frames)} frames; use one for each frame."
        )
    factors = np.array(found)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise PlanError(f"scale= gives {factors.tolist()}, but positive numbers are needed.")
    return factors


def _number(factor: object) -> float:
    try:
        return float(cast("float", factor))
    except (TypeError, ValueError) as error:
        raise PlanError(
            f"scale= gives {factor!r}, but a positive number was expected for each frame; use "
            "numbers, a function that returns one, or 'median', 'mean' or 'mode'."
        ) from error


def _pixels(frame: CCDData | MemoryFrame | FileFrame) -> np.ndarray:
    """Return the pixels of a frame, as a masked array where some are masked."""
    if isinstance(frame, CCDData):
        frame = MemoryFrame(frame)
    data = frame.rows(0, frame.shape[0])
    lost = np.isnan(data) if data.dtype.kind == "f" else np.zeros(1, bool)
    return np.ma.array(data, mask=lost) if lost.any() else data


def _good(frame: MemoryFrame | FileFrame) -> np.ndarray:
    """Return the values of the good pixels of a frame."""
    data = frame.rows(0, frame.shape[0])
    data = data if data.dtype.kind == "f" else data.astype("f8")
    good = np.isfinite(data)
    if not good.any():
        raise PlanError(
            f"{frame.name} has no good pixel, but its level was to be measured; omit it."
        )
    return data.reshape(-1) if good.all() else data[good]
