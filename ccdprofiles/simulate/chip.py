"""The chip of a simulated camera: the structure of its bias, dark current, hot pixels, response."""

from __future__ import annotations

import numpy as np

from .exposures import Exposure
from .simulation import Simulation

__all__ = ["bias_structure", "dark_current", "hot_current", "response"]


def bias_structure(simulation: Simulation, shot: Exposure) -> np.ndarray:
    """Return the fixed pattern of the bias, in adu."""
    return simulation.image(("structure",), _structure, shot)


def hot_current(simulation: Simulation, shot: Exposure) -> np.ndarray:
    """Return the additional dark current of hot pixels in electron / s, per pixel of the night's."""
    return simulation.image(("hot",), _hot, shot)


def dark_current(simulation: Simulation, shot: Exposure) -> np.ndarray:
    """Return the dark current in electron / s, per pixel of the night's binning."""
    return simulation.image(("dark",), _dark, shot)


def response(simulation: Simulation, shot: Exposure) -> np.ndarray:
    """Return the response of each pixel."""
    return simulation.image(("response",), _response, shot)


def _structure(simulation: Simulation, rows: int, columns: int) -> np.ndarray:
    """Return the fixed pattern of the bias, in adu: a glow at the edge, columns, a slow wave."""
    random = simulation.random("structure")
    pattern = 6 * np.exp(-np.arange(columns) / max(4, columns / 60))
    pattern += random.normal(0, 0.8, columns)
    wave = 1.5 * np.sin(2 * np.pi * np.arange(rows) / rows * 1.7 + 0.4)
    return (wave[:, None] + pattern).astype(np.float32)


def _hot(simulation: Simulation, rows: int, columns: int) -> np.ndarray:
    """Return the dark current that hot pixels have on top of the others, in electron / s."""
    x, y = simulation.binning
    random = simulation.random("hot")
    number = max(3, round(simulation.camera.hot * rows * columns / (x * y)))
    low, high = np.log(simulation.camera.hot_rates)
    hot = np.zeros((rows, columns), np.float32)
    places = random.choice(rows * columns, number, replace=False, shuffle=False)
    hot.flat[places] = np.exp(random.uniform(low, high, number)) * (x * y)
    return hot


def _dark(simulation: Simulation, rows: int, columns: int) -> np.ndarray:
    """Return the dark current in electron / s: even, a glow in a corner, and hot pixels."""
    up = (np.arange(rows) / rows - 1) ** 2
    across = (np.arange(columns) / columns - 1) ** 2
    glow = np.exp(-up / 0.02)[:, None] * np.exp(-across / 0.02)
    hot = simulation.once(("hot",), lambda: _hot(simulation, rows, columns))
    return (simulation.camera.dark + simulation.camera.glow * glow).astype(np.float32) + hot


def _response(simulation: Simulation, rows: int, columns: int) -> np.ndarray:
    """Return the response of each pixel, of 1 % scatter in the night's binning."""
    scatter = np.float32(0.01 * np.sqrt(np.prod(simulation.binning)))
    return 1 + scatter * simulation.random("response").standard_normal(
        (rows, columns), dtype=np.float32
    )
