"""The light on a simulated chip: sky, stars, spectra, lamps, vignetting, dust and slit."""

from __future__ import annotations

import zlib
from functools import partial

import numpy as np

from .chip import response
from .exposures import Exposure
from .simulation import Simulation

__all__ = ["efficiency", "electrons", "optics"]


def electrons(simulation: Simulation, shot: Exposure, filter: str) -> np.ndarray:
    """Return the light that a frame is expected to collect, in electron."""
    if not shot.lit:
        return np.zeros((), np.float32)
    seconds = 1.0 if shot.type == "flat" else shot.exposure
    numbers = simulation.layout(shot).numbers
    key = ("electrons", shot.type, filter, shot.exposures.object, seconds, shot.binning, numbers)
    light = simulation.once(
        key,
        lambda: (
            _light(simulation, shot, filter)
            * efficiency(simulation, filter, shot)
            * (simulation.area(shot) * np.float32(seconds))
        ),
    )
    return light * np.float32(shot.exposures.light)


def efficiency(simulation: Simulation, filter: str, shot: Exposure) -> np.ndarray:
    """Return the fraction of the light that is recorded: optics times response of the pixels."""
    return simulation.once(
        ("efficiency", filter, shot.binning),
        lambda: optics(simulation, filter, shot) * response(simulation, shot),
    )


def optics(simulation: Simulation, filter: str, shot: Exposure) -> np.ndarray:
    """Return the fraction of the light that the telescope, or the slit, transmits."""
    make = _slit if simulation.dispersion else _vignetting
    return simulation.image(("optics", filter), partial(make, filter), shot)


def _vignetting(filter: str, simulation: Simulation, rows: int, columns: int) -> np.ndarray:
    up, across = np.arange(rows) / rows - 0.5, np.arange(columns) / columns - 0.5
    tilt = 0.02 + 0.03 * _share_of(filter)
    image = (1 - 0.45 * up**2)[:, None] - 0.45 * across**2 - tilt * across
    image = image.astype(np.float32)
    for random in (simulation.random("dust"), simulation.random("dust", filter)):
        for _ in range(7):
            _dust(image, random)
    return image


def _slit(filter: str, simulation: Simulation, rows: int, columns: int) -> np.ndarray:
    """Return a slit that is dark at its ends, and even along the dispersion."""
    s, edge = _along_slit(simulation, rows, columns), 0.006
    lit = 0.25 * (1 + np.tanh((s - 0.1) / edge)) * (1 + np.tanh((0.91 - s) / edge))
    lit = lit * (1 - 0.3 * (s - 0.45) ** 2)
    return np.broadcast_to(lit, (rows, columns)).astype(np.float32)


def _along_slit(simulation: Simulation, rows: int, columns: int) -> np.ndarray:
    """Return the position along the slit, 0 to 1, as a row or a column."""
    if simulation.dispersion == "x":
        return (np.arange(rows) / rows)[:, None]
    return (np.arange(columns) / columns)[None, :]


def _along_spectrum(simulation: Simulation, rows: int, columns: int) -> np.ndarray:
    """Return the position from blue to red, 0 to 1, as a row or a column."""
    if simulation.dispersion == "x":
        wave = (np.arange(columns) / columns)[None, :]
    else:
        wave = (np.arange(rows) / rows)[:, None]
    return 1 - wave if simulation.camera.backwards else wave


def _light(simulation: Simulation, shot: Exposure, filter: str) -> np.ndarray:
    """Return the light before the telescope: electrons for a flat, else electron / s."""
    rows, columns = simulation.size(shot)
    gain = float(np.mean(simulation.layout(shot).gains))
    if shot.type == "flat":
        # A flat fainter than a tenth of the saturation level is not used.
        level = max(simulation.camera.flat, 0.15 * _full(simulation, shot))
        light = _lamp(simulation, rows, columns) * level * gain
    else:
        make = _lines if shot.type == "arc" else _spectrum if simulation.dispersion else _field
        light = make(simulation, shot, filter, rows, columns)
        light = light * (gain / (simulation.reference[shot.type] or 1.0))
    light = np.broadcast_to(light.astype(np.float32), (rows, columns))
    return simulation.rebinned(light, shot)


def _lamp(simulation: Simulation, rows: int, columns: int) -> np.ndarray:
    """Return a lamp: even, or of a spectrum that is smooth along the dispersion."""
    if not simulation.dispersion:
        return np.ones((1, 1))
    wave = _along_spectrum(simulation, rows, columns)
    return 1.1 * np.exp(-0.5 * ((wave - 0.6) / 0.42) ** 2)


def _full(simulation: Simulation, shot: Exposure) -> float:
    """Return the saturation level in adu."""
    levels = [r.saturation for r in simulation.layout(shot).amplifiers.readouts]
    return min((level for level in levels if level is not None), default=65535.0)


def _field(
    simulation: Simulation, shot: Exposure, filter: str, rows: int, columns: int
) -> np.ndarray:
    """Return sky and stars in adu at the reference exposure; the brightest star saturates."""
    x, y = simulation.binning
    random = simulation.random("field", shot.exposures.object)
    number = int(np.clip(rows * columns / (x * y) / 2500, 8, 1500))
    colour = simulation.random("field", shot.exposures.object, filter).uniform(0.6, 1.0, number)
    full = _full(simulation, shot)
    peaks = np.exp(random.uniform(np.log(40), np.log(0.3 * full), number)) * colour
    peaks[0] = 1.5 * full
    across, up = random.uniform(0, columns, number), random.uniform(0, rows, number)
    sky = simulation.camera.sky * (0.7 + 0.6 * _share_of(filter))
    image = np.full((rows, columns), sky, np.float32)
    for column, row, peak in zip(across, up, peaks, strict=True):
        _star(image, row, column, peak, 1.8 * y, 1.8 * x)
    return image


def _spectrum(
    simulation: Simulation, shot: Exposure, filter: str, rows: int, columns: int
) -> np.ndarray:
    """Return a night sky with its lines and the trace of a star, in adu."""
    wave, s = _along_spectrum(simulation, rows, columns), _along_slit(simulation, rows, columns)
    sky = simulation.camera.sky * (0.4 + 0.6 * wave) + _emission(
        wave, simulation.random("sky"), 14, (0.5 * simulation.camera.sky, 8 * simulation.camera.sky)
    )
    star = 0.3 + 0.7 * np.sin(np.pi * (0.15 + 0.7 * wave))
    for centre in (0.22, 0.41, 0.73):
        star = star * (1 - 0.5 * np.exp(-0.5 * ((wave - centre) / 0.004) ** 2))
    width = max(2.5 / s.size, 0.004)
    trace = np.exp(-0.5 * ((s - 0.5 - 0.02 * (wave - 0.5)) / width) ** 2)
    return sky + 0.06 * _full(simulation, shot) * star * trace


def _lines(
    simulation: Simulation, shot: Exposure, filter: str, rows: int, columns: int
) -> np.ndarray:
    """Return the lines of an arc lamp, in adu."""
    full = _full(simulation, shot)
    wave = _along_spectrum(simulation, rows, columns)
    return 0.0003 * full + _emission(wave, simulation.random("arc"), 30, (0.003 * full, 0.3 * full))


def _dust(image: np.ndarray, random: np.random.Generator) -> None:
    """Add the ring-shaped shadow of a grain of dust."""
    rows, columns = image.shape
    size = min(rows, columns)
    row, column = random.uniform(0, rows), random.uniform(0, columns)
    radius, depth = random.uniform(0.015, 0.05) * size, random.uniform(0.01, 0.05)
    reach = int(1.8 * radius) + 1
    top, left = max(0, int(row) - reach), max(0, int(column) - reach)
    part = image[top : int(row) + reach, left : int(column) + reach]
    y = np.arange(top, top + part.shape[0])[:, None] - row
    x = np.arange(left, left + part.shape[1]) - column
    ring = np.exp(-((np.hypot(x, y) / radius - 1) ** 2) / 0.06)
    part *= (1 - depth * ring).astype(np.float32)


def _star(
    image: np.ndarray, row: float, column: float, peak: float, tall: float, wide: float
) -> None:
    """Add a Gaussian, cut off below a thousandth of an adu."""
    reach = np.sqrt(2 * np.log(max(peak, 2) * 1e3))
    top, left = max(0, int(row - reach * tall)), max(0, int(column - reach * wide))
    part = image[top : int(row + reach * tall) + 2, left : int(column + reach * wide) + 2]
    y = np.exp(-0.5 * ((np.arange(top, top + part.shape[0]) - row) / tall) ** 2)
    x = np.exp(-0.5 * ((np.arange(left, left + part.shape[1]) - column) / wide) ** 2)
    part += (peak * np.outer(y, x)).astype(np.float32)


def _emission(
    wave: np.ndarray, random: np.random.Generator, number: int, peaks: tuple[float, float]
) -> np.ndarray:
    """Return lines of 2 pixels' width at random places along a spectrum."""
    width = max(2.0 / wave.size, 0.001)
    lines = np.zeros_like(wave)
    low, high = np.log(peaks)
    centres = random.uniform(0.03, 0.97, number)
    heights = np.exp(random.uniform(low, high, number))
    for centre, peak in zip(centres, heights, strict=True):
        lines += peak * np.exp(-0.5 * ((wave - centre) / width) ** 2)
    return lines


def _share_of(word: str) -> float:
    """Return a number from 0 to 1 that belongs to a word."""
    return zlib.crc32(word.encode()) % 1000 / 1000
