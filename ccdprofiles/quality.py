"""What one look at a raw frame's pixels tells: whether it can be what its header says.

A regular sample of the pixels is counted value by value, and all that is asked of
a frame is read off that count; no frame is converted whole. Whoever judges has the
numbers of one frame (`judge`) or of all that become one master (`outliers`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

import numpy as np
from scipy.ndimage import median_filter

from .amplifier import AmplifierSet, Readout
from .errors import FrameRejected
from .profile import Limits, Recipe, SpectralFlat
from .raw import Pixels, RawImage, physical

__all__ = ["Quality", "inspect", "judge", "light_of", "noise_ratios", "outliers", "steady"]

_SAMPLE = 100_000
_FEWEST = 2**13
_PAIRS = 20_000
_ROWS = 512
_WORDS = 16
_MAD = 1.4826

_WRAPPED = -4096.0
"""No camera writes a level so far below zero; unsigned numbers read as signed do."""

_COARSE = 0.1
"""Noise of half an adu still puts a fifth of its commonest value's number beside it."""

_GROUP = 4
"""So many frames it takes to say which of them stands apart."""

_WINDOW = 101
_APART = 8.0
_LEAST = 3.0
_MUCH = 10.0
_SIDE = 25
_BLOCKS = 2


@dataclass(frozen=True)
class Quality:
    """What a sample of a raw frame's pixels says, before anything is taken off.

    Parameters
    ----------
    level : tuple of float
        For each amplifier the median of its data, in adu; NaN where it has none.
    scatter : tuple of float
        For each amplifier the robust scatter from one pixel to the next but one, in adu.
    bright : tuple of float
        For each amplifier the 95th percentile of its data, in adu.
    saturated, not_finite, wrapped : float
        Fractions of all pixels: at the amplifier's saturation, or where no one knows
        it at the last number of 16 bits; without a value; and
        far below zero in a file of signed numbers.
    constant_rows : float
        The fraction of an amplifier's rows that hold one value, short of saturation.
    constant : float
        The value of those rows.
    common : float
        The largest fraction of an amplifier's pixels that hold one value which noise
        does not explain, short of saturation.
    value : float
        That value.
    fingerprint : int
        Of the sample; frames that differ in it do not hold the same pixels.
    """

    level: tuple[float, ...]
    scatter: tuple[float, ...]
    bright: tuple[float, ...]
    saturated: float = 0.0
    not_finite: float = 0.0
    wrapped: float = 0.0
    constant_rows: float = 0.0
    constant: float = float("nan")
    common: float = 0.0
    value: float = float("nan")
    fingerprint: int = 0


def inspect(pixels: Pixels, amplifiers: AmplifierSet) -> Quality:
    """Look at a sample of a raw frame's pixels.

    Parameters
    ----------
    pixels : Pixels
        Best with the whole file in memory.
    amplifiers : AmplifierSet

    Raises
    ------
    FrameRejected
        ``all-nan`` if no pixel has a value; ``truncated`` if the file is shorter than
        it says.
    """
    looks = [_look(pixels, readout, len(amplifiers.readouts)) for readout in amplifiers.readouts]
    if not any(np.isfinite(look.values).any() for look in looks):
        raise FrameRejected(
            "all-nan",
            "none of its pixels has a value; copy it again, or take it out of the night.",
        )
    constant_rows, constant = max((look.rows for look in looks), key=lambda found: found[0])
    common, value = max((look.common for look in looks), key=lambda found: found[0])
    pixels_of = [look.counts.sum() for look in looks]
    return Quality(
        level=tuple(look.quantile(0.5) for look in looks),
        scatter=tuple(look.scatter for look in looks),
        bright=tuple(look.quantile(0.95) for look in looks),
        saturated=_mean([look.saturated for look in looks], pixels_of),
        not_finite=_mean([look.not_finite for look in looks], pixels_of),
        wrapped=_mean([look.wrapped for look in looks], pixels_of),
        constant_rows=constant_rows,
        constant=constant,
        common=common,
        value=value,
        fingerprint=crc32(
            b"".join(look.values.tobytes() + look.counts.tobytes() for look in looks)
        ),
    )


@dataclass(frozen=True, eq=False)
class _Look:
    """The sample of one amplifier: each value that it holds, and how often."""

    values: np.ndarray
    counts: np.ndarray
    scatter: float
    rows: tuple[float, float]
    saturation: float
    signed: bool

    def quantile(self, share: float) -> float:
        finite = np.isfinite(self.values)
        number = np.cumsum(self.counts[finite])
        if not number.size:
            return float("nan")
        return float(self.values[finite][np.searchsorted(number, share * number[-1])])

    def share(self, which: np.ndarray) -> float:
        return float(self.counts[which].sum() / self.counts.sum())

    @property
    def saturated(self) -> float:
        return self.share(self.values >= self.saturation)

    @property
    def not_finite(self) -> float:
        return self.share(~np.isfinite(self.values))

    @property
    def wrapped(self) -> float:
        return self.share(self.values < _WRAPPED) if self.signed else 0.0

    @property
    def common(self) -> tuple[float, float]:
        """The share of the commonest value, and that value; nothing where noise explains it.

        Of a bias whose noise is less than the step from one value to the next, most
        pixels hold one value too, and the values beside it hold most others.
        """
        below = self.values < self.saturation
        values, counts = self.values[below], self.counts[below]
        if not values.size:
            return 0.0, float("nan")
        most = int(np.argmax(counts))
        beside = max(counts[most - 1] if most else 0, *counts[most + 1 : most + 2], 0)
        if beside >= _COARSE * counts[most]:
            return 0.0, float(values[most])
        return float(counts[most] / self.counts.sum()), float(values[most])


def _look(pixels: Pixels, readout: Readout, amplifiers: int) -> _Look:
    """Sample the data of one amplifier, and find its rows of one value."""
    image = pixels.raw.image(readout.extension)
    rows, columns = readout.data.slices()
    height, width = rows.stop - rows.start, columns.stop - columns.start
    # Odd steps meet even and odd columns alike, which some cameras read out apart.
    # An eighth of a small frame will do.
    sample = min(_SAMPLE, max(_FEWEST, height * width * amplifiers // 8))
    step = int(np.sqrt(height * width * amplifiers / sample)) // 2 * 2 + 1
    saturation = _top(image) if readout.saturation is None else readout.saturation
    samples, pairs, constant = [], [], []
    # Fewer will do for the scatter: every so many of the rows that are sampled.
    thin = max(1, (height // step) * (width // step) // _PAIRS)
    for first in range(rows.start, rows.stop, _ROWS):
        band = pixels.stored(image, first, min(first + _ROWS, rows.stop))[:, columns]
        sampled = band[-(first - rows.start) % step :: step]
        samples.append(sampled[:, ::step].reshape(-1))
        if width > 2:
            pairs.append(_pairs(sampled[::thin], step))
        if width >= _WORDS:  # a few pixels may hold one value by chance
            constant.append(physical(_one_value(band), image, "f8"))
    found, counts = _counted(np.concatenate(samples))
    found = physical(found, image, "f8")
    order = np.argsort(found, kind="stable")
    of_rows = np.concatenate(constant) if constant else np.empty(0)
    of_rows = of_rows[~(of_rows >= saturation)]
    return _Look(
        values=found[order],
        counts=counts[order],
        scatter=_scatter([physical(p, image, "f8") for p in pairs]),
        rows=(of_rows.size / height, float(of_rows[0]) if of_rows.size else float("nan")),
        saturation=saturation,
        signed=image.bitpix == 16 and image.bzero == 0 and not image.packed,
    )


def _top(image: RawImage) -> float:
    """Return the last number of 16 bits, at which a pixel is full where no one knows better."""
    return image.bzero + image.bscale * (2**15 - 1) if image.bitpix == 16 else np.inf


def _pairs(sampled: np.ndarray, step: int) -> np.ndarray:
    """Take pixels and their next neighbours but one, which the same half of a chip reads."""
    left, right = sampled[:, :-2:step], sampled[:, 2::step]
    return np.stack([left.reshape(-1), right.reshape(-1)])


def _scatter(pairs: list[np.ndarray]) -> float:
    if not pairs:
        return float("nan")
    left, right = np.concatenate(pairs, axis=1)
    with np.errstate(invalid="ignore"):
        off = left - right  # of two that are infinite there is no difference
    off = off[np.isfinite(off)]
    if not off.size:
        return float("nan")
    # A median of whole numbers is too coarse for noise of an adu; it only finds the stars.
    wide = 5 * max(1.0, _MAD * float(np.median(np.abs(off))))
    return float(np.sqrt(np.mean(off[np.abs(off) <= wide] ** 2) / 2))


def _one_value(band: np.ndarray) -> np.ndarray:
    """Return the value of each row that holds one: told by a few words, then by all of those few."""
    words = band if band.dtype.kind in "iu" else band.view(band.dtype.str.replace("f", "i"))
    some = words[:, :: max(1, words.shape[1] // _WORDS)]
    alike = np.flatnonzero((some == some[:, :1]).all(axis=1))
    if alike.size:
        chosen = words[alike]
        alike = alike[(chosen == chosen[:, :1]).all(axis=1)]
    return band[alike, 0]


def _counted(sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count how often each stored value occurs."""
    if sample.dtype.kind in "iu" and sample.dtype.itemsize == 2:
        native = sample.astype(sample.dtype.newbyteorder("="))
        counts = np.bincount(native.view("u2"), minlength=2**16)
        held = np.flatnonzero(counts)
        return held.astype("u2").view(native.dtype), counts[held]
    native = sample.astype(sample.dtype.newbyteorder("="))
    return np.unique(native, return_counts=True)


def _mean(shares: list[float], pixels: list[int]) -> float:
    return float(np.average(shares, weights=pixels))


# What follows from it.


def judge(
    kind: str,
    quality: Quality,
    recipe: Recipe,
    amplifiers: AmplifierSet,
    overscan: tuple[float | None, ...] = (),
) -> FrameRejected | None:
    """Say what is wrong with the pixels of a frame, or nothing.

    Science frames are judged only by what no sky explains; their saturated pixels
    are flagged.

    Parameters
    ----------
    kind : {"bias", "dark", "flat", "arc", "science"}
    quality : Quality
    recipe : Recipe
        Its ``limits`` say how much is too much.
    amplifiers : AmplifierSet
    overscan : tuple of (float or None)
        The level of each amplifier's overscan, in adu.

    Returns
    -------
    FrameRejected or None
        ``saturated``, ``constant-rows``, ``one-value`` or ``flat-level``.
    """
    limits = recipe.limits
    if kind != "science" and quality.saturated >= limits.saturated:
        return FrameRejected(
            "saturated",
            f"{_percent(quality.saturated)} of its pixels are saturated, where of {_a(kind)} less "
            f"than {_percent(limits.saturated)} may be; take it again with less light.",
        )
    if quality.constant_rows > limits.constant_rows:
        return FrameRejected(
            "constant-rows",
            f"{_percent(quality.constant_rows)} of its rows hold one value ({quality.constant:g} "
            f"adu), where at most {_percent(limits.constant_rows)} may; it was not read out or "
            f"copied to its end; copy it again from the camera.",
        )
    if quality.common > limits.common_value:
        return FrameRejected(
            "one-value",
            f"{_percent(quality.common)} of its pixels hold one value ({quality.value:g} adu), "
            f"where at most {_percent(limits.common_value)} may; look at it, and take it out of "
            f"the night.",
        )
    return _judge_light(quality, recipe, amplifiers, overscan) if kind == "flat" else None


def _judge_light(
    quality: Quality,
    recipe: Recipe,
    amplifiers: AmplifierSet,
    overscan: tuple[float | None, ...],
) -> FrameRejected | None:
    """Compare the light of a flat with what its amplifiers hold, where that is known."""
    full = [readout.saturation for readout in amplifiers.readouts]
    if recipe.limits.flat_level is None or None in full:
        return None
    # Much of a spectrum is dark by nature; its brightest part tells how it was exposed.
    spectral = isinstance(recipe.flat, SpectralFlat)
    light = light_of(quality.bright if spectral else quality.level, overscan)
    filled = float(np.nanmedian([one / most for one, most in zip(light, full, strict=True)]))
    least, most = recipe.limits.flat_level
    if least <= filled <= most:
        return None
    return FrameRejected(
        "flat-level",
        f"its light of {np.nanmedian(light):.6g} adu is {_percent(filled)} of the saturation level, "
        f"where a flat needs {_percent(least)} to {_percent(most)}; take it again with "
        f"{'more' if filled < least else 'less'} light.",
    )


def light_of(
    level: tuple[float, ...], overscan: tuple[float | None, ...] = ()
) -> tuple[float, ...]:
    """Return levels less those of the overscan, where there is one."""
    known = overscan or (None,) * len(level)
    return tuple(one - (off or 0.0) for one, off in zip(level, known, strict=True))


def outliers(
    kind: str,
    frames: Mapping[str, Quality],
    limits: Limits,
    overscan: Mapping[str, tuple[float | None, ...]],
) -> dict[str, FrameRejected]:
    """Find the biases or darks whose level stands apart from the others of their master.

    Flats are scaled to each other, and arcs need not be alike; both are left alone.
    It takes four frames to say which of them is wrong.

    Parameters
    ----------
    kind : {"bias", "dark", "flat", "arc"}
    frames : dict of Quality
        By file, all frames that become one master.
    limits : Limits
    overscan : dict of tuple
        By file, the level of each amplifier's overscan, in adu.

    Returns
    -------
    dict of FrameRejected
        ``outlier``, by file.
    """
    if kind not in ("bias", "dark") or limits.outlier is None or len(frames) < _GROUP:
        return {}
    files = sorted(frames)
    levels = np.array([light_of(frames[f].level, overscan[f]) for f in files])
    # An amplifier without any value in one of the frames says nothing of the others.
    levels = levels[:, np.isfinite(levels).all(axis=0)]
    if not levels.size:
        return {}
    middle = np.median(levels, axis=0)
    width = limits.outlier * _MAD * np.median(np.abs(levels - middle), axis=0)
    scatter = max(1.0, np.median([np.nanmax([0.0, *frames[f].scatter]) for f in files]))
    least = scatter if limits.level is None else limits.level.value
    allowed = np.maximum(width, least)
    found = {}
    for file, own in zip(files, levels, strict=True):
        worst = int(np.argmax(np.abs(own - middle) - allowed))
        off = own[worst] - middle[worst]
        if abs(off) > allowed[worst]:
            found[file] = FrameRejected(
                "outlier",
                f"its level stands {abs(off):.4g} adu {'above' if off > 0 else 'below'} the "
                f"{middle[worst]:.6g} adu of the {len(files)} {kind} frames it belongs to, where "
                f"{allowed[worst]:.4g} adu may be; look for light in it.",
            )
    return found


def noise_ratios(
    frames: Mapping[str, Quality], amplifiers: AmplifierSet
) -> dict[str, tuple[float, ...]]:
    """Return how many times the profile's read noise biases scatter.

    Of the amplifiers whose read noise is known and that have values in all of the frames.
    """
    expected = [readout.read_variance for readout in amplifiers.readouts]
    told = [
        number
        for number, variance in enumerate(expected)
        if variance and all(np.isfinite(q.scatter[number]) for q in frames.values())
    ]
    return {
        file: tuple(quality.scatter[n] / expected[n] ** 0.5 for n in told)
        for file, quality in frames.items()
    }


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "arc" else f"a {kind}"


def steady(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Replace overscan levels that light has lifted far from those of the rows around them.

    A row is touched only where it stands apart by 8 times the noise from row to row
    and by 3 adu; all others keep their number to the last bit.

    Parameters
    ----------
    rows : ndarray of float64
        The level of each row, in adu.

    Returns
    -------
    ndarray of float64
        Rows that light has lifted have the level of the rows on their two sides.
    int
        How many rows those are.

    Notes
    -----
    A pedestal may settle while the first rows are read, drift, or jump, and the data
    move with it. Light lifts rows between others; at the ends of a frame only what
    breaks off from one row to the next, and is much, is believed to be light. A pedestal
    that swings goes down as often as up, and one that jumps more than twice to and fro
    is no light either.
    """
    if len(rows) < 8:
        return rows, 0
    noise = _MAD * np.median(np.abs(np.diff(rows))) / 2**0.5
    allowed = max(_APART * noise, _LEAST)
    if np.abs(rows - np.median(rows)).max() <= allowed:
        return rows, 0
    window = min(_WINDOW, (len(rows) - 1) // 2 * 2 + 1)
    near = median_filter(rows, window, mode="reflect")
    lit = np.zeros(len(rows), bool)
    for first, stop in [*_lifted(rows, near, window // 2, allowed), *_blocks(near, allowed)]:
        lit[first:stop] = True
    if not lit.any():
        return rows, 0
    found = rows.copy()
    for first, stop in _runs(lit):
        before, after = rows[:first][~lit[:first]], rows[stop:][~lit[stop:]]
        sides = [np.median(part) for part in (before[-_SIDE:], after[:_SIDE]) if part.size]
        found[first:stop] = np.linspace(sides[0], sides[-1], stop - first)
    return found, int(np.count_nonzero(lit))


def _runs(which: np.ndarray) -> np.ndarray:
    """Return first and stop of every run of True."""
    return np.flatnonzero(np.diff(np.r_[False, which, False])).reshape(-1, 2)


def _lifted(
    rows: np.ndarray, near: np.ndarray, margin: int, allowed: float
) -> list[tuple[int, int]]:
    """Find the rows that light lifts above those around them."""
    off = rows - near
    above = off > allowed
    # A pedestal that settles may lie low at the ends; one that swings does so in between.
    below = off[margin:-margin] < -allowed
    if np.count_nonzero(below) > np.count_nonzero(above) / 2:
        return []
    return [
        (first, stop)
        for first, stop in _runs(above)
        if _is_light(rows, near, first, stop, margin, allowed)
    ]


def _is_light(
    rows: np.ndarray, near: np.ndarray, first: int, stop: int, margin: int, allowed: float
) -> bool:
    """Tell light from a pedestal that moves where the frame begins or ends."""
    if first >= margin and stop <= len(rows) - margin:
        return True
    ends = [(n - 1, n) for n in (first, stop) if 0 < n < len(rows)]
    breaks = all(abs(rows[a] - rows[b]) > allowed for a, b in ends)
    return breaks and (rows - near)[first:stop].max() > _MUCH * allowed


def _blocks(near: np.ndarray, allowed: float) -> list[tuple[int, int]]:
    """Find where light lifts many rows: a step up, and then one as large down."""
    steps = np.diff(near)
    ends = [
        (first, stop, steps[first:stop].sum()) for first, stop in _runs(np.abs(steps) > allowed)
    ]
    blocks = [
        (first + 1, stop)
        for (first, _, up), (_, stop, down) in pairwise(ends)
        if up > 0 > down and 0.5 < -down / up < 2
    ]
    return blocks if len(blocks) <= _BLOCKS else []
