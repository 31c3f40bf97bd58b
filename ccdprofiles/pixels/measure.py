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
        For each amplifier the overscan level of each row in adu, float64.
    level, noise : tuple of (float or None)
        For each amplifier the median level and the read noise measured in its overscan,
        in adu.
    level_from_night : tuple of bool
        For each amplifier, whether the nightly median replaces its own level.
    n_lit_rows : tuple of int
        For each amplifier, how many rows of its overscan were contaminated by light.
    quality : Quality
        Statistics of a sample of its pixels.
    poor_fit : tuple of bool
        For each amplifier, whether the model of its overscan is poorly determined.
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


def measure(raw: RawFile, amplifiers: AmplifierSet, recipe: Recipe, flat: bool = False) -> Measured:
    """Read a raw frame once, for its SHA-256 and its overscan levels.

    Parameters
    ----------
    raw : RawFile
    amplifiers : AmplifierSet
    recipe : Recipe
        Its ``overscan`` defines how a strip becomes a level for each row.
    flat : bool
        Whether the levels of even and odd rows and columns are measured too.

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
    digest = hashlib.sha256()
    sample = Sample(raw, amplifiers, phases=flat)
    strips = [_empty_strip(readout) for readout in amplifiers.readouts]
    try:
        with Pixels(raw) as pixels:
            for image, first, band in pixels.bands(digest):
                sample.take(image, first, band)
                for readout, strip in zip(amplifiers.readouts, strips, strict=True):
                    if readout.overscan is None or strip is None:
                        continue
                    if raw.image(readout.extension) is image:
                        _copy_overscan(strip, readout.overscan, image, first, band)
    except FrameRejected as error:
        if error.code != "not-a-file":
            refuse_changed(raw)  # a changed file may cause any error; this is its reason
        raise
    quality = sample.quality()
    overscans = [_measure_overscan(strip, recipe.overscan) for strip in strips]
    levels, level, noise, n_lit_rows, poor_fit = zip(*overscans, strict=True)
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
    )


def _measure_overscan(
    strip: np.ndarray | None, how: str | Model
) -> tuple[np.ndarray | None, float | None, float | None, int, bool]:
    """Return levels of the rows, their median, the read noise, lit rows, and a poor fit."""
    if strip is None:
        return None, None, None, 0, False
    rows, poor_fit = overscan_levels(strip, how)
    n_lit_rows = 0
    if isinstance(how, str):
        # A model is fitted with rejection, and needs no other.
        rows, n_lit_rows = replace_lit_rows(rows)
    return rows, median(rows), _scatter(strip), n_lit_rows, poor_fit


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
    return replace(measured, levels=levels, level_from_night=far)


def _empty_strip(readout: Readout) -> np.ndarray | None:
    """Return an empty array for the overscan of one amplifier; None if it has none."""
    section = readout.overscan
    return None if section is None else np.empty((section.height, section.width), "f4")


def _copy_overscan(
    strip: np.ndarray, section: Section, image: RawImage, first: int, band: np.ndarray
) -> None:
    """Copy the overscan in a band of rows, which begins at row ``first``, to its strip."""
    rows, columns = section.slices()
    start, part = rows_of(band, first, rows)
    if len(part):
        physical(part[:, columns], image, out=strip[start : start + len(part)])


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
