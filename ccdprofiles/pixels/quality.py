"""What one look at a raw frame's pixels tells: whether it can be what its header says.

A regular sample of the pixels is counted value by value, and all that is asked of
a frame is read off that count; no frame is converted whole. Whoever judges has the
numbers of one frame (`judge`) or of all that become one master (`outliers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import nan, sqrt
from zlib import crc32

import numpy as np

from ..camera.amplifier import AmplifierSet, Readout
from ..camera.recipe import Recipe, SpectralFlat
from ..errors import FrameRejected
from ..files.pixels import physical, rows_of
from ..files.raw import RawFile, RawImage
from .statistics import MAD_TO_STD, median

__all__ = ["Quality", "Sample", "judge", "light_of"]

_SAMPLE = 100_000
_FEWEST = 2**13
_PAIRS = 20_000
_ROWS = 512
_WORDS = 16

_WRAPPED = -4096.0
"""No camera writes a level so far below zero; unsigned numbers read as signed do."""

_LOWEST = np.finfo("f8").min

_COARSE = 0.1
"""Noise of half an adu still puts a fifth of its commonest value's number beside it."""


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
    dark : tuple of float
        For each amplifier the 5th percentile of its data, in adu.
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
    dark: tuple[float, ...] = ()


class Sample:
    """A sample of a raw frame's pixels, taken while the frame is read.

    Parameters
    ----------
    raw : RawFile
    amplifiers : AmplifierSet
    """

    def __init__(self, raw: RawFile, amplifiers: AmplifierSet):
        number = len(amplifiers.readouts)
        self._looks = [_Look(raw.image(r.extension), r, number) for r in amplifiers.readouts]

    def take(self, image: RawImage, first: int, band: np.ndarray) -> None:
        """Take what is wanted of some rows of an image, as `Pixels.bands` gives them."""
        for look in self._looks:
            if look.image is image:
                look.take(first, band)

    def quality(self) -> Quality:
        """Return what the pixels say, once all rows have been taken.

        Raises
        ------
        FrameRejected
            ``all-nan`` if no pixel has a value.
        """
        counts = [look.counted() for look in self._looks]
        if not any(count.known for count in counts):
            raise FrameRejected(
                "all-nan",
                "none of its pixels has a value; copy it again, or take it out of the night.",
            )
        constant_rows, constant = max(
            (look.rows() for look in self._looks), key=lambda found: found[0]
        )
        common, value = max((count.common for count in counts), key=lambda found: found[0])
        quantiles = [count.quantiles(0.05, 0.5, 0.95) for count in counts]
        pixels = [count.number for count in counts]
        fingerprint = 0
        for count in counts:
            fingerprint = crc32(count.counts, crc32(count.values, fingerprint))
        return Quality(
            level=tuple(half for _, half, _ in quantiles),
            scatter=tuple(look.scatter() for look in self._looks),
            bright=tuple(most for _, _, most in quantiles),
            saturated=_mean([count.saturated for count in counts], pixels),
            not_finite=_mean([count.not_finite for count in counts], pixels),
            wrapped=_mean([count.wrapped for count in counts], pixels),
            constant_rows=constant_rows,
            constant=constant,
            common=common,
            value=value,
            fingerprint=fingerprint,
            dark=tuple(least for least, _, _ in quantiles),
        )


class _Look:
    """What is taken of the rows of one amplifier."""

    def __init__(self, image: RawImage, readout: Readout, amplifiers: int):
        self.image = image
        self._rows, self._columns = readout.data.slices()
        self._height, self._width = readout.data.height, readout.data.width
        self._step, self._paired = _grid(self._height, self._width, amplifiers)
        self._saturation = _top(image) if readout.saturation is None else readout.saturation
        self._samples: list[np.ndarray] = []
        self._pairs: list[np.ndarray] = []
        self._constant: list[np.ndarray] = []

    def take(self, first: int, band: np.ndarray) -> None:
        start, band = rows_of(band, first, self._rows)
        if not len(band):
            return
        band, step = band[:, self._columns], self._step
        # Numbers of 32 bits are the quickest to sort.
        small = band.dtype.kind in "iu" and band.dtype.itemsize < 4
        native = np.dtype("i4") if small else band.dtype.newbyteorder("=")
        self._samples.append(band[-start % step :: step, ::step].astype(native).reshape(-1))
        if self._width > 2:
            some = slice(*np.searchsorted(self._paired, (start, start + len(band))))
            paired = band[self._paired[some] - start]
            # The same half of a chip reads a pixel and its next neighbour but one.
            pairs = np.stack([paired[:, :-2:step], paired[:, 2::step]])
            self._pairs.append(pairs.astype(native).reshape(2, -1))
        if self._width >= _WORDS:  # a few pixels may hold one value by chance
            self._constant.append(_one_value(band))

    def counted(self) -> _Count:
        """Count how often each value occurs."""
        stored, counts = np.unique(_joined(self._samples), return_counts=True)
        values = physical(stored, self.image, "f8")
        order = np.argsort(values, kind="stable")
        image = self.image
        signed = image.bitpix == 16 and image.bzero == 0 and not image.packed
        return _Count(values[order], counts[order], self._saturation, signed)

    def rows(self) -> tuple[float, float]:
        """Return which share of the rows hold one value short of saturation, and the first."""
        if not any(map(len, self._constant)):
            return 0.0, nan
        values = physical(_joined(self._constant), self.image, "f8")
        values = values[~(values >= self._saturation)]
        return values.size / self._height, float(values[0]) if values.size else nan

    def scatter(self) -> float:
        """Return the robust scatter from one pixel to the next but one."""
        if not self._pairs:
            return nan
        left, right = physical(_joined(self._pairs, axis=1), self.image, "f8")
        with np.errstate(invalid="ignore"):
            off = left - right  # of two that are infinite there is no difference
        finite = np.isfinite(off)
        if not finite.all():
            off = off[finite]
        if not off.size:
            return nan
        away = np.abs(off)
        # A median of whole numbers is too coarse for noise of an adu; it only finds the stars.
        wide = 5 * max(1.0, MAD_TO_STD * median(away))
        return sqrt(np.mean(off[away <= wide] ** 2) / 2)


@lru_cache
def _grid(height: int, width: int, amplifiers: int) -> tuple[int, np.ndarray]:
    """Return from how many pixels one is sampled, and the rows whose pairs are compared."""
    # An eighth of a small frame will do.
    sample = min(_SAMPLE, max(_FEWEST, height * width * amplifiers // 8))
    # Odd steps meet even and odd columns alike, which some cameras read out apart.
    step = int(np.sqrt(height * width * amplifiers / sample)) // 2 * 2 + 1
    # Fewer will do for the scatter: every so many of the rows that are sampled.
    thin = max(1, (height // step) * (width // step) // _PAIRS)
    paired = [
        np.arange(first + -first % step, min(first + _ROWS, height), step * thin)
        for first in range(0, height, _ROWS)
    ]
    return step, np.concatenate(paired)


def _top(image: RawImage) -> float:
    """Return the last number of 16 bits, at which a pixel is full where no one knows better."""
    return image.bzero + image.bscale * (2**15 - 1) if image.bitpix == 16 else np.inf


def _one_value(band: np.ndarray) -> np.ndarray:
    """Return the value of each row that holds one: told by a few pixels, then by all."""
    words = band if band.dtype.kind in "iu" else band.view(band.dtype.str.replace("f", "i"))
    some = words[:, :: words.shape[1] // 2]
    alike = np.flatnonzero((some[:, 1:] == some[:, :1]).all(axis=1))
    if alike.size:
        chosen = words[alike]
        alike = alike[(chosen == chosen[:, :1]).all(axis=1)]
    return band[alike, 0]


def _joined(parts: list[np.ndarray], axis: int = 0) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


class _Count:
    """Each value that the sample of one amplifier holds, in order, and how often.

    Parameters
    ----------
    values : ndarray of float64
        The least first; NaN last.
    counts : ndarray of int
    saturation : float
    signed : bool
        Whether unsigned numbers would be wrapped.
    """

    def __init__(self, values: np.ndarray, counts: np.ndarray, saturation: float, signed: bool):
        self.values, self.counts = values, counts
        self._below = np.zeros(len(counts) + 1, "i8")
        """How many pixels lie below each value."""
        np.cumsum(counts, out=self._below[1:])
        self.number = int(self._below[-1])
        # Where finite values, those above a limit, infinity and NaN begin.
        edges = np.searchsorted(values, (_LOWEST, _WRAPPED, saturation, np.inf, nan))
        self._finite = slice(edges[0], edges[3])
        self._full = edges[2]
        finite, wrapped, full, infinite, missing = self._below[edges].tolist()
        self.known = infinite - finite
        self.not_finite = (self.number - self.known) / self.number
        self.saturated = (missing - full) / self.number
        self.wrapped = wrapped / self.number if signed else 0.0

    def quantiles(self, *shares: float) -> list[float]:
        """Return below which values some shares of the finite pixels lie."""
        if not self.known:
            return [nan] * len(shares)
        first = self._finite.start
        number = self._below[first + 1 : self._finite.stop + 1] - self._below[first]
        places = np.searchsorted(number, [share * self.known for share in shares])
        return self.values[self._finite][places].tolist()

    @property
    def common(self) -> tuple[float, float]:
        """The share of the commonest value, and that value; nothing where noise explains it.

        Of a bias whose noise is less than the step from one value to the next, most
        pixels hold one value too, and the values beside it hold most others.
        """
        values, counts = self.values[: self._full], self.counts[: self._full]
        if not values.size:
            return 0.0, nan
        most = int(counts.argmax())
        value, often = float(values[most]), int(counts[most])
        beside = max(counts[most - 1] if most else 0, *counts[most + 1 : most + 2], 0)
        return (0.0 if beside >= _COARSE * often else often / self.number), value


def _mean(shares: list[float], pixels: list[int]) -> float:
    if not any(shares):
        return 0.0
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


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "arc" else f"a {kind}"


def light_of(
    level: tuple[float, ...], overscan: tuple[float | None, ...] = ()
) -> tuple[float, ...]:
    """Return levels less those of the overscan, where there is one."""
    known = overscan or (None,) * len(level)
    return tuple(one - (off or 0.0) for one, off in zip(level, known, strict=True))
