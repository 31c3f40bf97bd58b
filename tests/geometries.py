"""Cameras of unusual geometry: their raw frames, the truth, and a reduction in plain NumPy.

Nothing here knows how the package cuts, flips or joins: each amplifier is a few NumPy slices.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.io import fits

from ccdprofiles import Combine, Flat, Profile, Recipe

PLAIN = Recipe(
    bias=True,
    dark=None,
    flat=Flat(),
    electrons=True,
    combine=Combine(method="average", clip=None),
)
"""A recipe whose every step is one line of NumPy."""


@dataclass(frozen=True)
class Amp:
    """An amplifier: rows and columns of its data in the raw image, and in the frame.

    ``up`` and ``across`` are -1 where it is read from the far end. ``beside`` are strips with the
    rows of the data, ``above`` those with its columns; if it has both, the level of the rows is
    subtracted first, from the rows of ``above`` too.
    """

    data: tuple[slice, slice]
    place: tuple[slice, slice]
    shape: tuple[int, int]
    extension: int = 1
    up: int = 1
    across: int = 1
    beside: tuple[slice, ...] = ()
    above: tuple[slice, ...] = ()
    gain: float = 1.0
    noise: float = 5.0
    pedestal: float = 1000.0
    cards: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Camera:
    """A camera, its amplifiers, and how its profile says so.

    ``wander`` is by how many adu the pedestal changes from row to row, where there is a level for
    each, and from column to column.
    """

    profile: Profile
    amps: tuple[Amp, ...]
    shape: tuple[int, int]
    cards: dict = field(default_factory=dict)
    wander: float = 0.7

    @property
    def read(self) -> np.ndarray:
        """Which pixels of the frame an amplifier reads."""
        read = np.zeros(self.shape, bool)
        for amp in self.amps:
            read[amp.place] = True
        return read

    def spread(self, values) -> np.ndarray:
        image = np.full(self.shape, np.nan)
        for amp, value in zip(self.amps, values, strict=True):
            image[amp.place] = value
        return image

    @property
    def gain(self) -> np.ndarray:
        return self.spread([amp.gain for amp in self.amps])

    @property
    def response(self) -> np.ndarray:
        """The true flat, before it is normalised."""
        y, x = np.mgrid[: self.shape[0], : self.shape[1]] / np.array(self.shape)[:, None, None]
        grain = 1 + 0.02 * np.random.default_rng(3).standard_normal(self.shape)
        return (1 - 0.3 * (y - 0.4) ** 2 - 0.1 * x) * grain

    @property
    def sky(self) -> np.ndarray:
        """The electrons of a science frame if the response were 1; no two corners are alike."""
        y, x = np.mgrid[: self.shape[0], : self.shape[1]] / np.array(self.shape)[:, None, None]
        return 300 + 500 * y + 250 * x * y

    def write(self, folder: Path, biases: int = 9, flats: int = 7, science: int = 2) -> None:
        """Write a night; whole numbers of electrons fall, and the camera rounds to adu."""
        folder.mkdir()
        series = (("BIAS", biases, 0.0), ("FLAT", flats, 3.0), ("LIGHT", science, 60.0))
        for kind, number, seconds in series:
            for n in range(number):
                random = np.random.default_rng([n, len(kind), number])
                light = {"BIAS": 0.0, "FLAT": 25000.0, "LIGHT": self.sky}[kind]
                charge = random.poisson(light * self.response * np.ones(self.shape))
                cards = {
                    "INSTRUME": self.profile.instruments[0],
                    "IMAGETYP": kind,
                    "EXPTIME": seconds,
                    "DATE-OBS": f"2020-01-01T{len(kind):02d}:{n:02d}:00",
                } | self.cards
                self._write(folder / f"{kind.lower()}{n}.fits", cards, charge, random)

    def _write(self, path: Path, cards: dict, charge: np.ndarray, random) -> None:
        hdus = [fits.PrimaryHDU(header=fits.Header(list(cards.items())))]
        for amp in self.amps:
            rows, columns = amp.shape
            image = amp.pedestal + random.normal(0, amp.noise / amp.gain, amp.shape)
            image += np.cumsum(random.normal(0, self.wander, rows))[:, None] if amp.beside else 0.0
            image += np.cumsum(random.normal(0, self.wander, columns)) if amp.above else 0.0
            image[amp.data] += charge[amp.place][:: amp.up, :: amp.across] / amp.gain
            image = np.clip(np.rint(image), 0, 65535).astype("u2")
            if amp.extension:
                header = fits.Header(list(amp.cards.items()))
                hdus.append(fits.ImageHDU(image, header))
            else:
                hdus = [fits.PrimaryHDU(image, fits.Header(list((cards | amp.cards).items())))]
        fits.HDUList(hdus).writeto(path)

    def prepared(self, path: Path) -> np.ndarray:
        """Subtract the medians of the strips, flip and paste; NaN where nobody read."""
        frame = np.full(self.shape, np.nan)
        with fits.open(path) as hdus:
            for amp in self.amps:
                raw = hdus[amp.extension].data.astype("f8")
                if amp.beside:
                    strips = np.hstack([raw[:, columns] for columns in amp.beside])
                    raw = raw - np.median(strips, axis=1, keepdims=True)
                if amp.above:
                    strips = np.vstack([raw[rows] for rows in amp.above])
                    raw = raw - np.median(strips, axis=0)
                frame[amp.place] = raw[amp.data][:: amp.up, :: amp.across]
        return frame

    def reduced(self, folder: Path) -> dict[str, np.ndarray]:
        """Reduce a night in plain NumPy: ``bias``, ``flat``, and each science file."""
        made = {"bias": np.mean([self.prepared(p) for p in folder.glob("bias*.fits")], axis=0)}
        flats = []
        for path in sorted(folder.glob("flat*.fits")):
            flat = (self.prepared(path) - made["bias"]) * self.gain
            flats.append(flat / np.nanmedian(flat))
        flat = np.mean(flats, axis=0)
        made["flat"] = flat / np.nanmedian(flat)
        for path in folder.glob("light*.fits"):
            made[path.name] = (self.prepared(path) - made["bias"]) / made["flat"] * self.gain
        return made
