"""The chip of a simulated camera: its amplifiers, dust, stars, and hits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..camera.amplifier import AmplifierSet

__all__ = []


# The chip, and the light that falls on it.


@dataclass(frozen=True)
class _Layout:
    """Where everything lies in raw frames of one binning.

    Parameters
    ----------
    amplifiers : AmplifierSet
        Gain and read noise filled in.
    shapes : dict
        Rows and columns of the raw image of each extension.
    owners : dict
        Which readout each pixel of it comes through.
    spills : dict
        For each readout the columns into which light spills, and how much of it.
    """

    amplifiers: AmplifierSet
    shapes: Mapping[int | str | None, tuple[int, int]]
    owners: Mapping[int | str | None, np.ndarray]
    spills: Mapping[int, tuple[np.ndarray, np.ndarray]]

    @property
    def size(self) -> tuple[int, int, int, int]:
        """Rows and columns of the raw frame, then of its data."""
        return (*next(iter(self.shapes.values())), *self.amplifiers.shape)

    def spread(self, values: Sequence[float]) -> np.ndarray:
        """Give each pixel of the trimmed frame the value of its amplifier."""
        image = np.empty(self.amplifiers.shape, np.float32)
        for readout, value in zip(self.amplifiers.readouts, values, strict=True):
            image[readout.place.slices()] = value
        return image


def _dust(image: np.ndarray, random: np.random.Generator) -> None:
    """Cast the ring-shaped shadow of a grain of dust."""
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
    """Add a Gaussian, cut off where less than a thousandth of an adu is left of it."""
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
    for centre, peak in zip(
        random.uniform(0.03, 0.97, number),
        np.exp(random.uniform(*np.log(peaks), number)),
        strict=True,
    ):
        lines += peak * np.exp(-0.5 * ((wave - centre) / width) ** 2)
    return lines


def _hit(charge: np.ndarray, hit: np.ndarray, expected: float, random: np.random.Generator) -> None:
    """Let cosmic rays cross the chip; each leaves a straight track."""
    rows, columns = charge.shape
    for _ in range(random.poisson(expected)):
        row, column, angle = random.uniform((0, 0, 0), (rows, columns, np.pi))
        steps = np.arange(1 + int(random.exponential(4)))
        y = (row + steps * np.sin(angle)).astype(int)
        x = (column + steps * np.cos(angle)).astype(int)
        inside = (y < rows) & (x >= 0) & (x < columns)
        np.add.at(charge, (y[inside], x[inside]), random.uniform(400, 6000))
        hit[y[inside], x[inside]] = True
