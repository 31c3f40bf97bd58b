"""Read a simulated frame out: photons, dark current, cosmic rays, noise and pedestals, in adu."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy import units as u

from ..camera.amplifier import Readout
from .cameras import Camera
from .chip import bias_structure, dark_current
from .exposures import Exposure
from .light import electrons
from .simulation import Layout, Simulation

__all__ = ["pedestals", "read_out"]

COSMIC_RAY_RATE = 1.5e-7
"""Hits per pixel and second."""


def pedestals(simulation: Simulation, layout: Layout) -> list[float]:
    """Return the level of each amplifier in adu."""
    levels = simulation.camera.pedestals
    return [levels[k % len(levels)] for k in range(len(layout.amplifiers.readouts))]


def read_out(simulation: Simulation, shot: Exposure, filter: str) -> tuple[dict, np.ndarray]:
    """Return the raw image of each extension, and the pixels that cosmic rays hit."""
    layout = simulation.layout(shot)
    random = simulation.random("frame", shot.key)
    light = electrons(simulation, shot, filter) * np.float32(
        random.uniform(0.85, 1.1) if shot.type == "flat" else 1
    )
    dark = dark_current(simulation, shot) * (simulation.area(shot) * np.float32(shot.exposure))
    charge = random.poisson(light + dark).astype(np.float32) if shot.type != "bias" else dark
    hit = np.zeros(layout.amplifiers.shape, bool)
    if shot.type in ("dark", "science") and simulation.cosmic_rays:
        rate = COSMIC_RAY_RATE * simulation.cosmic_rays * np.prod(shot.binning)
        _hit(charge, hit, rate * charge.size * shot.exposure, random)
    stray = (float(np.mean(light)), float(np.median(dark)))
    return _digitised(simulation, shot, charge, stray, random), hit


def _digitised(
    simulation: Simulation,
    shot: Exposure,
    charge: np.ndarray,
    stray: tuple[float, float],
    random: np.random.Generator,
) -> dict:
    """Return the charge in adu, with the bias, its drift, and the noise of the amplifiers.

    Parameters
    ----------
    simulation : Simulation
    shot : Exposure
    charge : ndarray
        In electron, trimmed.
    stray : tuple of float
        The mean light and the median dark current of the frame, in electron, which leak
        into the columns beside the data.
    random : Generator
    """
    layout = simulation.layout(shot)
    readouts, gains = layout.amplifiers.readouts, layout.gains
    levels = _levels(simulation, layout, random)
    structure = bias_structure(simulation, shot)
    noise = [(r.read_noise or 0.0) / gain for r, gain in zip(readouts, gains, strict=True)]
    images = {}
    for extension, shape in layout.shapes.items():
        owners = layout.owners[extension]
        image = random.standard_normal(shape, dtype=np.float32) * _per_pixel(
            np.array(noise, np.float32), owners
        )
        image += _per_pixel(levels, owners)
        for k, r in enumerate(readouts):
            if r.extension != extension:
                continue
            image[r.data.slices()] += r.in_frame.flip(charge[r.place.slices()]) / np.float32(
                gains[k]
            )
            image[r.data.slices()] += r.in_frame.flip(structure[r.place.slices()])
            columns, decay = layout.spills[k]
            image[:, columns] += _leak(simulation.camera, shot, decay, gains[k], stray)
            for strip in r.strips:
                image[strip.slices()] += np.float32(shot.exposures.overscan_light)
            top = r.saturation or np.inf
            image[r.data.slices()] = np.minimum(image[r.data.slices()], np.float32(top))
        images[extension] = _whole(image, readouts)
    return images


def _leak(
    camera: Camera, shot: Exposure, decay: np.ndarray, gain: float, stray: tuple[float, float]
) -> np.ndarray:
    """Return the light and dark current in the columns beside the data, in adu."""
    light, dark = stray
    leak = camera.leak * light / gain * decay + dark / gain + camera.offsets[int(shot.lit)]
    return leak.astype(np.float32)


def _levels(simulation: Simulation, layout: Layout, random: np.random.Generator) -> np.ndarray:
    """Return the pedestal of each amplifier and row, which drifts from frame to frame."""
    rows = max(shape[0] for shape in layout.shapes.values())
    by_row = simulation.recipe.overscan in ("median", "mean")
    levels = []
    for pedestal, readout in zip(
        pedestals(simulation, layout), layout.amplifiers.readouts, strict=True
    ):
        drift = simulation.drift
        if drift is None:
            drift = 0.0 if readout.overscan is None else _usual_drift(simulation)
        shift, turn, slope = random.normal(0, 1, 3)
        wave = np.sin(2 * np.pi * np.arange(rows) / rows + turn) * 0.3 * slope
        wave *= by_row and not readout.by_column
        levels.append(pedestal + drift * (shift + wave))
    return np.array(levels, np.float32)


def _usual_drift(simulation: Simulation) -> float:
    """Return 2 adu, or less if the recipe would reject such a level."""
    limit = simulation.recipe.overscan_drift
    return 2.0 if limit is None else min(2.0, limit.to_value(u.adu) / 5)


def _per_pixel(values: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return for each pixel of a raw image the value of its amplifier, or amplifier and row."""
    first = owners.flat[0]
    if (owners == first).all():
        return values[first] if values.ndim == 1 else values[first][: owners.shape[0], None]
    if values.ndim == 1:
        return values[owners]
    return values[owners, np.arange(owners.shape[0])[:, None]]


def _whole(image: np.ndarray, readouts: Sequence[Readout]) -> np.ndarray:
    """Return the whole numbers that the camera writes: 16 bits, or 32 if it saturates higher."""
    wide = any(r.saturation is not None and r.saturation > 65535 for r in readouts)
    image = np.rint(image, out=image)
    if wide:
        return np.maximum(image, 0).astype(np.int32)
    return np.clip(image, 0, 65535).astype(np.uint16)


def _hit(charge: np.ndarray, hit: np.ndarray, expected: float, random: np.random.Generator) -> None:
    """Add the straight tracks of cosmic rays."""
    rows, columns = charge.shape
    for _ in range(random.poisson(expected)):
        row, column, angle = random.uniform((0, 0, 0), (rows, columns, np.pi))
        steps = np.arange(1 + int(random.exponential(4)))
        y = (row + steps * np.sin(angle)).astype(int)
        x = (column + steps * np.cos(angle)).astype(int)
        inside = (y < rows) & (x >= 0) & (x < columns)
        np.add.at(charge, (y[inside], x[inside]), random.uniform(400, 6000))
        hit[y[inside], x[inside]] = True
