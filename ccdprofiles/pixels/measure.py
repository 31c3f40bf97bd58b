"""One pass through a raw frame: overscan levels, checks, sums."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from ..camera.amplifier import AmplifierSet, Readout
from ..camera.recipe import Recipe
from ..errors import FrameRejected
from ..files.pixels import Pixels, physical, rows_of
from ..files.raw import RawFile, RawImage, refuse_changed
from .lit_rows import steady
from .noise import MAD_TO_STD, median
from .overscan import _levels
from .quality import Quality, Sample

__all__ = ["Measured", "measure", "take_level"]


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
        For each amplifier the median level and the read noise that its overscan
        shows, in adu.
    replaced : tuple of bool
        Whether an amplifier's level was taken from the night.
    apart : tuple of int
        For each amplifier, of how many rows light had lifted the overscan.
    quality : Quality or None
        What a sample of its pixels says.
    unsure : tuple of bool
        For each amplifier, whether the model of its overscan is poorly determined.
    """

    raw: RawFile
    amplifiers: AmplifierSet
    sha256: str
    levels: tuple[np.ndarray | None, ...]
    level: tuple[float | None, ...]
    noise: tuple[float | None, ...]
    replaced: tuple[bool, ...] = ()
    apart: tuple[int, ...] = ()
    quality: Quality | None = None
    unsure: tuple[bool, ...] = ()


def measure(raw: RawFile, amplifiers: AmplifierSet, recipe: Recipe) -> Measured:
    """Read a raw frame once, for its SHA-256 and the levels of its overscan.

    Parameters
    ----------
    raw : RawFile
    amplifiers : AmplifierSet
    recipe : Recipe
        Its ``overscan`` says how a strip becomes a level for each row.

    Raises
    ------
    FrameRejected
        If the file is shorter than it says (``truncated``), is no longer the one whose
        header was read (``changed``), or holds other bytes than its DATASUM says
        (``checksum``).
    """
    digest = hashlib.sha256()
    sample = Sample(raw, amplifiers)
    strips = [_Strip(raw, readout) for readout in amplifiers.readouts]
    try:
        with Pixels(raw) as pixels:
            for image, first, band in pixels.bands(digest):
                sample.take(image, first, band)
                for strip in strips:
                    strip.take(image, first, band)
    except FrameRejected as error:
        if error.code != "not-a-file":
            refuse_changed(raw)  # which may make it look like anything
        raise
    quality = sample.quality()
    levels, level, noise, apart, unsure = [], [], [], [], []
    for strip in strips:
        rows = usual = scatter = None
        lifted, doubtful = 0, False
        if strip.values is not None:
            rows, doubtful = _levels(strip.values, recipe.overscan)
            if isinstance(recipe.overscan, str):
                # A model is fitted with rejection; it needs no second one.
                rows, lifted = steady(rows)
            usual = median(rows)
            scatter = _scatter(strip.values)
        levels.append(rows)
        level.append(usual)
        noise.append(scatter)
        apart.append(lifted)
        unsure.append(doubtful)
    refuse_changed(raw)
    return Measured(
        raw=raw,
        amplifiers=amplifiers,
        sha256=digest.hexdigest(),
        levels=tuple(levels),
        level=tuple(level),
        noise=tuple(noise),
        replaced=(False,) * len(levels),
        apart=tuple(apart),
        quality=quality,
        unsure=tuple(unsure),
    )


def take_level(measured: Measured, night: Sequence[float | None], drift: float) -> Measured:
    """Give a frame the night's overscan level where its own lies too far from it.

    An over-exposed flat can spill light into its own overscan.

    Parameters
    ----------
    measured : Measured
    night : sequence of (float or None)
        The median level of the night for each amplifier, in adu.
    drift : float
        How far a level may lie from it, in adu.
    """
    far = tuple(
        own is not None and usual is not None and abs(own - usual) > drift
        for own, usual in zip(measured.level, night, strict=True)
    )
    levels = tuple(
        np.full_like(rows, usual) if off else rows
        for rows, usual, off in zip(measured.levels, night, far, strict=True)
    )
    return replace(measured, levels=levels, replaced=far)


class _Strip:
    """The overscan of one amplifier, gathered while the frame is read."""

    def __init__(self, raw: RawFile, readout: Readout):
        self._image = raw.image(readout.extension)
        self.values = None
        if readout.overscan is not None:
            self._rows, self._columns = readout.overscan.slices()
            self.values = np.empty((readout.overscan.height, readout.overscan.width), "f4")

    def take(self, image: RawImage, first: int, band: np.ndarray) -> None:
        if self.values is None or image is not self._image:
            return
        start, part = rows_of(band, first, self._rows)
        if len(part):
            place = self.values[start : start + len(part)]
            physical(part[:, self._columns], image, out=place)


def _scatter(strip: np.ndarray) -> float:
    """Measure how the overscan scatters about the level of its rows, in adu."""
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
