"""Statistics of a sample of a raw frame's pixels, and whether they agree with its frame type.

A regular grid of pixels is sampled while the frame is read, and a histogram of its exact
values answers all questions about the frame; no frame is converted to floats as a whole.
`judge` checks one frame, `ccdprofiles.pixels.outliers.outliers` at all frames of a master.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import gcd, nan, sqrt
from zlib import crc32

import numpy as np

from ..camera.amplifier import AmplifierSet, Readout
from ..camera.recipe import Recipe, SpectralFlat
from ..errors import FrameRejected
from ..files.pixels import physical, rows_of
from ..files.raw import RawFile, RawImage
from .statistics import MAD_TO_STD, median

__all__ = ["Quality", "Sample", "judge", "light_of"]

_SAMPLE, _SMALLEST_SAMPLE = 100_000, 2**13
"""Pixels in the sample of a frame, and of a small one."""

_PAIRS = 20_000
"""Pairs of pixels from which the scatter is measured; it is then known to about 1 %."""

_BAND_ROWS = 512
"""The rows with pairs are chosen separately in each band of so many rows."""

_ZONE = 8
"""The corners and the centre have this fraction of the rows and columns."""

_FEWEST_VALUES = 16
"""From fewer different values no common divisor follows."""

_FEWEST_COLUMNS = 16
"""In fewer columns the pixels of a row may have one value by chance."""

_WRAPPED = -4096.0
"""No camera writes a level so far below zero; unsigned integers read as signed do."""

_LOWEST = np.finfo("f8").min

_NEIGHBOUR = 0.1
"""With a noise of half an adu the values next to the most frequent one still occur a fifth as
often; if they occur less than a tenth as often, noise does not explain that value."""


@dataclass(frozen=True)
class Quality:
    """Statistics of a sample of a raw frame's pixels, before anything is subtracted.

    Parameters
    ----------
    level : tuple of float
        For each amplifier the median of its data, in adu; NaN if it has none.
    scatter : tuple of float
        For each amplifier the robust standard deviation, in adu, from the differences of
        pixels two columns apart.
    bright : tuple of float
        For each amplifier the 95th percentile of its data, in adu.
    dark : tuple of float
        For each amplifier the 5th percentile of its data, in adu.
    saturated, not_finite, wrapped : float
        Fractions of all pixels: at the amplifier's saturation level, or where that is
        unknown at the largest 16-bit integer; not finite; and far below zero in a file of
        signed integers.
    constant_rows : float
        The largest fraction of an amplifier's rows that contain a single value below saturation.
    constant : float
        The value of the first of these rows, in adu.
    common : float
        The largest fraction of an amplifier's pixels that have one value below saturation, unless
        noise explains it.
    value : float
        That value, in adu.
    fingerprint : int
        CRC-32 of the sample; frames with other fingerprints have other pixels.
    phases : tuple of tuple of float
        Of a flat, for each amplifier, the medians of the pixels in even and odd columns of even
        rows, then of odd rows, in adu.
    step : int
        The greatest common divisor of the differences between the stored integers; 16 for 12 bits
        stored in 16, and 0 if it is not known.
    quarter : tuple of float
        For each amplifier the 25th percentile of its data, the median of the darker half, in adu.
    zones : tuple of float
        The medians of the four corners and of the centre, in adu.
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
    phases: tuple[tuple[float, ...], ...] = ()
    step: int = 0
    quarter: tuple[float, ...] = ()
    zones: tuple[float, ...] = ()


class Sample:
    """A sample of a raw frame's pixels, taken while the frame is read.

    Parameters
    ----------
    raw : RawFile
    amplifiers : AmplifierSet
    phases : bool
        Whether the levels of the pixels in even and odd rows and columns are measured too.
    """

    def __init__(self, raw: RawFile, amplifiers: AmplifierSet, phases: bool = False):
        self._phases = phases
        number = len(amplifiers.readouts)
        self._shape = amplifiers.shape
        self._parts = [
            _AmplifierSample(raw.image(r.extension), r, number) for r in amplifiers.readouts
        ]

    def take(self, image: RawImage, first: int, band: np.ndarray) -> None:
        """Sample some rows of an image, as `ccdprofiles.files.pixels.Pixels.bands` yields them."""
        for part in self._parts:
            if part.image is image:
                part.take(first, band)

    def quality(self) -> Quality:
        """Return the statistics, after all rows have been sampled.

        Raises
        ------
        FrameRejected
            ``all-nan`` if no pixel is finite.
        """
        histograms = [part.histogram() for part in self._parts]
        if not any(each.n_finite for each in histograms):
            raise FrameRejected(
                "all-nan",
                "none of its pixels has a finite value; copy the file again, or remove it from the night.",
            )
        constant_rows, constant = max(
            (part.constant_rows() for part in self._parts), key=lambda pair: pair[0]
        )
        common, value = max((each.most_frequent for each in histograms), key=lambda pair: pair[0])
        quantiles = [each.quantiles(0.05, 0.25, 0.5, 0.95) for each in histograms]
        dark, quarter, level, bright = zip(*quantiles, strict=True)
        pixels = [each.number for each in histograms]
        fingerprint = 0
        for each in histograms:
            fingerprint = crc32(each.counts.data, crc32(each.values.data, fingerprint))
        return Quality(
            level=level,
            scatter=tuple(part.scatter() for part in self._parts),
            bright=bright,
            saturated=_mean([each.saturated for each in histograms], pixels),
            not_finite=_mean([each.not_finite for each in histograms], pixels),
            wrapped=_mean([each.wrapped for each in histograms], pixels),
            constant_rows=constant_rows,
            constant=constant,
            common=common,
            value=value,
            fingerprint=fingerprint,
            dark=dark,
            phases=tuple(part.phases() for part in self._parts) if self._phases else (),
            step=gcd(*(part.step for part in self._parts)),
            quarter=quarter,
            zones=self._zones(),
        )

    def _zones(self) -> tuple[float, ...]:
        """Return the medians of the four corners and of the centre of the trimmed frame."""
        (rows, columns), zones = self._shape, []
        high, wide = rows // _ZONE, columns // _ZONE
        corners = [(r, c) for r in (0, rows - high) for c in (0, columns - wide)]
        for row, column in [*corners, ((rows - high) // 2, (columns - wide) // 2)]:
            parts = [part.within(row, row + high, column, column + wide) for part in self._parts]
            values = np.concatenate(parts)
            values = values[np.isfinite(values)]
            zones.append(median(values) if values.size else nan)
        return tuple(zones)


class _AmplifierSample:
    """The sample of one amplifier: single pixels, pairs of pixels, and rows of one value."""

    def __init__(self, image: RawImage, readout: Readout, amplifiers: int):
        self.image = image
        self._rows, self._columns = readout.data.slices()
        self._place = tuple(s.start for s in readout.place.slices())
        self._height, self._width = readout.data.height, readout.data.width
        self._step, self._paired = _grid(self._height, self._width, amplifiers)
        self._guessed = readout.saturation is None and image.bitpix == 16
        self._saturation = _largest(image) if readout.saturation is None else readout.saturation
        self._samples: list[np.ndarray] = []
        self._odd: list[int] = []
        self._across = 0
        self.step = 0
        self._pairs: list[np.ndarray] = []
        self._constant: list[np.ndarray] = []

    def take(self, first: int, band: np.ndarray) -> None:
        start, band = rows_of(band, first, self._rows)
        if not len(band):
            return
        band, step = band[:, self._columns], self._step
        # Integers of 32 bits are sorted fastest.
        small = band.dtype.kind in "iu" and band.dtype.itemsize < 4
        native = np.dtype("i4") if small else band.dtype.newbyteorder("=")
        sampled = band[-start % step :: step, ::step].astype(native)
        self._odd.append((start + -start % step) // step % 2)
        self._across = sampled.shape[1]
        self._samples.append(sampled.reshape(-1))
        if self._width > 2:
            chosen = slice(*np.searchsorted(self._paired, (start, start + len(band))))
            paired = band[self._paired[chosen] - start]
            # Pixels two columns apart, as some cameras read odd and even columns separately.
            pairs = np.stack([paired[:, :-2:step], paired[:, 2::step]])
            self._pairs.append(pairs.astype(native).reshape(2, -1))
        if self._width >= _FEWEST_COLUMNS:
            self._constant.append(_values_of_constant_rows(band))

    def histogram(self) -> _Histogram:
        """Count how often each value occurs."""
        stored, counts = np.unique(_joined(self._samples), return_counts=True)
        if stored.dtype.kind in "iu" and len(stored) >= _FEWEST_VALUES:
            self.step = int(np.gcd.reduce(np.diff(stored.astype("i8"))))
            if self._guessed and self.step > 1:
                # Of 12 bits in 16 no pixel reaches the largest integer.
                unreached = (2**15 - 1 - int(stored[0])) % self.step
                self._saturation -= self.image.bscale * unreached
        values = physical(stored, self.image, "f8")
        order = np.argsort(values, kind="stable")
        image = self.image
        signed = image.bitpix == 16 and image.bzero == 0 and not image.packed
        return _Histogram(values[order], counts[order], self._saturation, signed)

    def within(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        """Return the sampled pixels in some rows and columns of the trimmed frame."""
        (down, across), step = self._place, self._step
        first, stop = (max(0, -(-(edge - down) // step)) for edge in (top, bottom))
        columns = slice(*(max(0, -(-(edge - across) // step)) for edge in (left, right)))
        parts, done = [], 0
        for sample in self._samples:
            rows = sample.reshape(-1, self._across)
            parts.append(rows[max(0, first - done) : max(0, stop - done), columns].reshape(-1))
            done += len(rows)
        return physical(_joined(parts), self.image, "f8")

    def phases(self) -> tuple[float, ...]:
        """Return the medians of the pixels in even and odd columns of even rows, then of odd rows."""
        parts: list[list[np.ndarray]] = [[], [], [], []]
        for odd, sample in zip(self._odd, self._samples, strict=True):
            # The step of the grid is odd, so that its pixels alternate as those of the frame.
            rows = sample.reshape(-1, self._across)
            for n, part in enumerate(parts):
                part.append(rows[(n // 2 + odd) % 2 :: 2, n % 2 :: 2].reshape(-1))
        whole = (physical(_joined(part), self.image, "f8") for part in parts)
        return tuple(median(each) if each.size else nan for each in whole)

    def constant_rows(self) -> tuple[float, float]:
        """Return the fraction of rows with a single value below saturation, and the first value."""
        if not any(map(len, self._constant)):
            return 0.0, nan
        values = physical(_joined(self._constant), self.image, "f8")
        values = values[~(values >= self._saturation)]
        return values.size / self._height, float(values[0]) if values.size else nan

    def scatter(self) -> float:
        """Return the robust standard deviation of a pixel, from the differences of pairs."""
        if not self._pairs:
            return nan
        left, right = physical(_joined(self._pairs, axis=1), self.image, "f8")
        with np.errstate(invalid="ignore"):
            difference = left - right  # NaN of two infinite pixels
        finite = np.isfinite(difference)
        if not finite.all():
            difference = difference[finite]
        if not difference.size:
            return nan
        distance = np.abs(difference)
        # A median of integers is too coarse for a noise of one adu, so it only excludes stars.
        limit = 5 * max(1.0, MAD_TO_STD * median(distance))
        return sqrt(np.mean(difference[distance <= limit] ** 2) / 2)


@lru_cache
def _grid(height: int, width: int, amplifiers: int) -> tuple[int, np.ndarray]:
    """Return the step of the grid in rows and columns, and the rows whose pairs are compared."""
    # An eighth of a small frame is enough.
    sample = min(_SAMPLE, max(_SMALLEST_SAMPLE, height * width * amplifiers // 8))
    # An odd step samples both even and odd columns, which some cameras read separately.
    step = int(np.sqrt(height * width * amplifiers / sample)) // 2 * 2 + 1
    # Fewer pixels are enough for the scatter: some of the sampled rows.
    thin = max(1, (height // step) * (width // step) // _PAIRS)
    paired = [
        np.arange(first + -first % step, min(first + _BAND_ROWS, height), step * thin)
        for first in range(0, height, _BAND_ROWS)
    ]
    return step, np.concatenate(paired)


def _largest(image: RawImage) -> float:
    """Return the largest 16-bit value, which counts as saturated if the level is not known."""
    return image.bzero + image.bscale * (2**15 - 1) if image.bitpix == 16 else np.inf


def _values_of_constant_rows(band: np.ndarray) -> np.ndarray:
    """Return the value of each row that contains a single one."""
    # As integers, so that a row of NaN counts too. Three pixels exclude almost all rows.
    words = band if band.dtype.kind in "iu" else band.view(band.dtype.str.replace("f", "i"))
    three = words[:, :: words.shape[1] // 2]
    constant = np.flatnonzero((three[:, 1:] == three[:, :1]).all(axis=1))
    if constant.size:
        rows = words[constant]
        constant = constant[(rows == rows[:, :1]).all(axis=1)]
    return band[constant, 0]


def _joined(parts: list[np.ndarray], axis: int = 0) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


class _Histogram:
    """How often each value occurs in the sample of one amplifier.

    Parameters
    ----------
    values : ndarray of float64
        In increasing order; NaN last.
    counts : ndarray of int
    saturation : float
    signed : bool
        Whether the file stores signed integers, as which unsigned ones may be misread.
    """

    def __init__(self, values: np.ndarray, counts: np.ndarray, saturation: float, signed: bool):
        self.values, self.counts = values, counts
        # How many pixels are below each value.
        self._below = np.concatenate([[0], np.cumsum(counts, dtype="i8")])
        self.number = int(self._below[-1])
        # Where finite values, those above the limits, infinity and NaN begin.
        edges = np.searchsorted(values, (_LOWEST, _WRAPPED, saturation, np.inf, nan))
        self._finite = slice(edges[0], edges[3])
        self._full = edges[2]
        finite, wrapped, full, infinite, missing = self._below[edges].tolist()
        self.n_finite = infinite - finite
        self.not_finite = (self.number - self.n_finite) / self.number
        self.saturated = (missing - full) / self.number
        self.wrapped = wrapped / self.number if signed else 0.0

    def quantiles(self, *fractions: float) -> list[float]:
        """Return the quantiles of the finite pixels for some fractions."""
        if not self.n_finite:
            return [nan] * len(fractions)
        first = self._finite.start
        number = self._below[first + 1 : self._finite.stop + 1] - self._below[first]
        places = np.searchsorted(number, [fraction * self.n_finite for fraction in fractions])
        return self.values[self._finite][places].tolist()

    @property
    def most_frequent(self) -> tuple[float, float]:
        """The fraction of the most frequent value, and that value; 0 where noise explains it.

        In a bias whose noise is less than the step between two values most pixels also have one
        value, but the values next to it are frequent as well.
        """
        values, counts = self.values[: self._full], self.counts[: self._full]
        if not values.size:
            return 0.0, nan
        most = int(counts.argmax())
        value, often = float(values[most]), int(counts[most])
        beside = max(counts[most - 1] if most else 0, *counts[most + 1 : most + 2], 0)
        return (0.0 if beside >= _NEIGHBOUR * often else often / self.number), value


def _mean(fractions: list[float], pixels: list[int]) -> float:
    return float(np.average(fractions, weights=pixels)) if any(fractions) else 0.0


def judge(
    kind: str,
    quality: Quality,
    recipe: Recipe,
    amplifiers: AmplifierSet,
    overscan: tuple[float | None, ...] = (),
    mosaic: bool = False,
) -> FrameRejected | None:
    """Return the fault of the pixels of a frame, or None.

    Science frames are checked only for faults that no sky can cause; their saturated pixels are
    flagged instead.

    Parameters
    ----------
    kind : {"bias", "dark", "flat", "arc", "science"}
    quality : Quality
    recipe : Recipe
        With its ``limits``.
    amplifiers : AmplifierSet
    overscan : tuple of (float or None)
        The level of each amplifier's overscan, in adu.
    mosaic : bool
        Whether its pixels have several colours; its brightest colour is then judged.

    Returns
    -------
    FrameRejected or None
        ``saturated``, ``constant-rows``, ``one-value`` or ``flat-level``.
    """
    limits = recipe.limits
    if kind != "science" and quality.saturated >= limits.saturated:
        return FrameRejected(
            "saturated",
            f"{_percent(quality.saturated)} of its pixels are saturated, but "
            f"{'an' if kind == 'arc' else 'a'} {kind} must have less than "
            f"{_percent(limits.saturated)}; take it again with less light.",
        )
    if quality.constant_rows > limits.constant_rows:
        return FrameRejected(
            "constant-rows",
            f"{_percent(quality.constant_rows)} of its rows contain a single value "
            f"({quality.constant:g} adu), but at most {_percent(limits.constant_rows)} may; "
            "the read-out or the copying was probably interrupted; copy it again from the camera.",
        )
    if quality.common > limits.common_value:
        return FrameRejected(
            "one-value",
            f"{_percent(quality.common)} of its pixels have the same value ({quality.value:g} "
            f"adu), but at most {_percent(limits.common_value)} may; inspect it, and remove it from "
            "the night.",
        )
    return _judge_light(quality, recipe, amplifiers, overscan, mosaic) if kind == "flat" else None


def _judge_light(
    quality: Quality,
    recipe: Recipe,
    amplifiers: AmplifierSet,
    overscan: tuple[float | None, ...],
    mosaic: bool,
) -> FrameRejected | None:
    """Compare the level of a flat with the saturation level, if that is known."""
    full = [r.saturation for r in amplifiers.readouts if r.saturation is not None]
    if recipe.limits.flat_level is None or len(full) < len(amplifiers.readouts):
        return None
    # Much of a spectrum is dark, and so may be two colours of three; the brightest part shows how
    # it was exposed.
    uneven = mosaic or isinstance(recipe.flat, SpectralFlat)
    light = light_of(quality.bright if uneven else quality.level, overscan)
    filled = float(np.nanmedian([one / most for one, most in zip(light, full, strict=True)]))
    least, most = recipe.limits.flat_level
    if least <= filled <= most:
        return None
    return FrameRejected(
        "flat-level",
        f"its level of {np.nanmedian(light):.6g} adu is {_percent(filled)} of the saturation level, "
        f"but a flat needs {_percent(least)} to {_percent(most)}; take it again with "
        f"{'more' if filled < least else 'less'} light.",
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.3g} %"


def light_of(
    level: tuple[float, ...], overscan: tuple[float | None, ...] = ()
) -> tuple[float, ...]:
    """Return levels minus those of the overscan, if there is one."""
    known = overscan or (None,) * len(level)
    return tuple(one - (off or 0.0) for one, off in zip(level, known, strict=True))
