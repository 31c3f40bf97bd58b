"""One pass through a raw frame: SHA-256, overscan levels, and a sample of its pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from astropy.modeling import Model

from ..camera.amplifier import AmplifierSet, Readout
from ..camera.recipe import Recipe
from ..camera.section import Section
from ..errors import FrameRejected
from ..files.pixels import Pixels, physical, rows_of
from ..files.raw import RawFile, RawImage, refuse_changed
from .lit_rows import replace_lit_rows
from .overscan import overscan_levels
from .quality import Quality, Sample
from .statistics import MAD_TO_STD, median

__all__ = ["Measured", "measure", "take_level"]

_NO_SAMPLE = Quality((), (), ())


@dataclass(frozen=True)
class Measured:
    """A raw frame whose overscan has been measured.

    Parameters
    ----------
    raw : RawFile
    amplifiers : AmplifierSet
    sha256 : str
        Of the whole file.
    levels : tuple of (ndarray or None)
        For each amplifier the overscan level of each row in adu, float64; of each column, if its
        overscan is above or below the data.
    level, noise : tuple of (float or None)
        For each amplifier the median level, with that of its parallel overscan, and the read noise
        measured in its overscan, in adu.
    level_from_night : tuple of bool
        For each amplifier, whether the nightly median replaces its own level.
    n_lit_rows : tuple of int
        For each amplifier, how many rows of its overscan were contaminated by light.
    quality : Quality
        Statistics of a sample of its pixels.
    poor_fit : tuple of bool
        For each amplifier, whether the model of its overscan is poorly determined.
    column_levels : tuple of (ndarray or None)
        For each amplifier the level of each column in its parallel overscan, in adu, float64, once
        those of the rows are subtracted; None if it has none.
    """

    raw: RawFile
    amplifiers: AmplifierSet
    sha256: str
    levels: tuple[np.ndarray | None, ...]
    level: tuple[float | None, ...]
    noise: tuple[float | None, ...]
    level_from_night: tuple[bool, ...] = ()
    n_lit_rows: tuple[int, ...] = ()
    quality: Quality = _NO_SAMPLE
    poor_fit: tuple[bool, ...] = ()
    column_levels: tuple[np.ndarray | None, ...] = ()


def measure(
    raw: RawFile,
    amplifiers: AmplifierSet,
    recipe: Recipe,
    flat: bool = False,
    sha256: str = "",
) -> Measured:
    """Read a raw frame once, for its SHA-256 and its overscan levels.

    Parameters
    ----------
    raw : RawFile
    amplifiers : AmplifierSet
    recipe : Recipe
        Its ``overscan`` defines how a strip becomes a level for each row.
    flat : bool
        Whether the levels of even and odd rows and columns are measured too.
    sha256 : str
        That of the file, if it was computed for another chip in it.

    Returns
    -------
    Measured

    Raises
    ------
    FrameRejected
        If the file is shorter than its header requires (``truncated``), is no longer the one
        whose header was read (``changed``), does not agree with its DATASUM (``checksum``), or
        has an overscan that cannot be measured (``overscan``).
    """
    digest = _Computed(sha256) if sha256 else hashlib.sha256()
    sample = Sample(raw, amplifiers, phases=flat)
    strips = [_Strips.of(readout) for readout in amplifiers.readouts]
    try:
        with Pixels(raw) as pixels:
            for image, first, band in pixels.bands(digest):
                sample.take(image, first, band)
                for readout, of_readout in zip(amplifiers.readouts, strips, strict=True):
                    if of_readout and raw.image(readout.extension) is image:
                        of_readout.take(image, first, band)
    except FrameRejected as error:
        if error.code != "not-a-file":
            refuse_changed(raw)  # a changed file may cause any error; this is its reason
        raise
    quality = sample.quality()
    overscans = [_measure_overscan(each, recipe.overscan) for each in strips]
    levels, columns, level, noise, n_lit_rows, poor_fit = zip(*overscans, strict=True)
    refuse_changed(raw)
    return Measured(
        raw=raw,
        amplifiers=amplifiers,
        sha256=digest.hexdigest(),
        levels=levels,
        level=level,
        noise=noise,
        level_from_night=(False,) * len(levels),
        n_lit_rows=n_lit_rows,
        quality=quality,
        poor_fit=poor_fit,
        column_levels=columns,
    )


@dataclass(frozen=True)
class _Computed:
    """The digest of a file that was hashed before."""

    sha256: str

    def update(self, data: memoryview, /) -> None:
        """Do nothing."""

    def hexdigest(self) -> str:
        """Return the SHA-256."""
        return self.sha256


def _measure_overscan(
    strips: _Strips | None, how: str | Model
) -> tuple[np.ndarray | None, np.ndarray | None, float | None, float | None, int, bool]:
    """Return levels of rows, of columns, their median, the read noise, lit rows, and a poor fit."""
    if strips is None:
        return None, None, None, None, 0, False
    strip = strips.serial
    if strips.corner is not None:
        # The rows of the parallel overscan have a serial overscan too, above or below the others.
        strip = np.vstack([strips.corner, strip] if strips.is_below else [strip, strips.corner])
    rows, poor_fit = overscan_levels(strip, how)
    n_lit_rows = 0
    if isinstance(how, str) and not strips.by_column:
        # A model is fitted with rejection, and needs no other.
        rows, n_lit_rows = replace_lit_rows(rows)
    noise = _scatter(strip)
    if strips.corner is None or strips.parallel is None:
        return rows, None, median(rows), noise, n_lit_rows, poor_fit
    number = len(strips.corner)
    of_corner, rows = (
        (rows[:number], rows[number:]) if strips.is_below else (rows[-number:], rows[:-number])
    )
    columns, poor = overscan_levels((strips.parallel - of_corner[:, np.newaxis]).T, how)
    return rows, columns, median(rows) + median(columns), noise, n_lit_rows, poor_fit or poor


def take_level(measured: Measured, night: Sequence[float | None], drift: float) -> Measured:
    """Replace the overscan level of a frame that deviates from the nightly median by it.

    An over-exposed flat can spill light into its own overscan.

    Parameters
    ----------
    measured : Measured
    night : sequence of (float or None)
        The median level of the night for each amplifier, in adu.
    drift : float
        The largest deviation from it, in adu.

    Returns
    -------
    Measured
        With ``level_from_night`` set for the amplifiers whose level was replaced.
    """
    far = tuple(
        own is not None and usual is not None and abs(own - usual) > drift
        for own, usual in zip(measured.level, night, strict=True)
    )
    levels = tuple(
        np.full_like(rows, usual) if off else rows
        for rows, usual, off in zip(measured.levels, night, far, strict=True)
    )
    # The levels of columns were measured from those of rows that are wrong.
    columns = tuple(
        np.zeros_like(own) if off and own is not None else own
        for own, off in zip(measured.column_levels, far, strict=True)
    )
    return replace(measured, levels=levels, level_from_night=far, column_levels=columns)


@dataclass(frozen=True)
class _Strip:
    """A section of a raw frame that is copied while the frame is read."""

    section: Section
    pixels: np.ndarray

    @classmethod
    def of(cls, section: Section) -> _Strip:
        return cls(section, np.empty((section.height, section.width), "f4"))

    def take(self, image: RawImage, first: int, band: np.ndarray) -> None:
        """Copy its part of a band of rows, which begins at row ``first``."""
        rows, columns = self.section.slices()
        start, part = rows_of(band, first, rows)
        if len(part):
            physical(part[:, columns], image, out=self.pixels[start : start + len(part)])


@dataclass(frozen=True)
class _Strips:
    """The overscan of one amplifier.

    ``beside`` are its strips; ``above`` is its parallel overscan, and ``corners`` are the columns of
    its strips in the rows of that.
    """

    readout: Readout
    beside: tuple[_Strip, ...]
    above: _Strip | None
    corners: tuple[_Strip, ...]

    @classmethod
    def of(cls, readout: Readout) -> _Strips | None:
        """Return the strips of an amplifier, still empty; None if it has none."""
        if readout.overscan is None:
            return None
        parallel = readout.parallel_overscan
        beside = tuple(_Strip.of(section) for section in readout.strips)
        if parallel is None:
            return cls(readout, beside, None, ())
        rows = {"first_row": parallel.first_row, "last_row": parallel.last_row}
        corners = tuple(_Strip.of(replace(section, **rows)) for section in readout.strips)
        return cls(readout, beside, _Strip.of(parallel), corners)

    def take(self, image: RawImage, first: int, band: np.ndarray) -> None:
        """Copy what lies in a band of rows, which begins at row ``first``."""
        for strip in (*self.beside, *self.corners, *([] if self.above is None else [self.above])):
            strip.take(image, first, band)

    @property
    def by_column(self) -> bool:
        return self.readout.by_column

    @property
    def is_below(self) -> bool:
        """Whether the parallel overscan lies below the data."""
        below = None if self.above is None else self.above.section.first_row
        return below is not None and below < self.readout.data.first_row

    @property
    def serial(self) -> np.ndarray:
        """The pixels of its strips, in one row for each level."""
        pixels = [s.pixels.T if self.by_column else s.pixels for s in self.beside]
        return pixels[0] if len(pixels) == 1 else np.hstack(pixels)

    @property
    def parallel(self) -> np.ndarray | None:
        return None if self.above is None else self.above.pixels

    @property
    def corner(self) -> np.ndarray | None:
        return np.hstack([s.pixels for s in self.corners]) if self.corners else None


def _scatter(strip: np.ndarray) -> float:
    """Return the robust scatter of the overscan about the mean of its rows, in adu.

    The last factor corrects for the mean that was computed for each row from its own columns.
    """
    columns = strip.shape[1]
    if columns < 2:
        return float("nan")
    finite = np.isfinite(strip)
    if finite.all():
        residual = (strip - np.mean(strip, axis=1, dtype="f8")[:, np.newaxis]).reshape(-1)
    else:
        strip = np.where(finite, strip, np.nan)[finite.any(axis=1)]
        residual = strip - np.nanmean(strip, axis=1, dtype="f8")[:, np.newaxis]
        residual = residual[np.isfinite(residual)]
    if not residual.size:
        return float("nan")
    residual -= median(residual, overwrite=True)
    np.abs(residual, out=residual)
    return median(residual, overwrite=True) * MAD_TO_STD * sqrt(columns / (columns - 1))
