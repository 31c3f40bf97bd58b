"""A mosaic of four chips that lie apart on the sky: its raw frames, the truth, and plain NumPy.

As the WFC of the INT: an extension for each chip, prescan and overscan beside the data, gains,
pedestals and world coordinates of its own. The light falls on one focal plane with gaps.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.wcs import WCS
from geometries import PLAIN, Amp, Camera

from ccdprofiles import Amplifier, Flat, Profile

GAIN = u.electron / u.adu
TALL, WIDE, GAP, LEFT = 84, 72, 9, 5
GAINS = (2.8, 3.1, 2.5, 2.95)
ORDER = (4, 1, 3, 2)
"""The extension of each chip, as the order in the file need not be that of the names."""

CHIPS = ("1", "2", "3", "4")


def sky() -> WCS:
    """The world coordinates of the focal plane, in its pixels."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 210.8, 54.35
    wcs.wcs.crpix = 80.3, 95.7
    wcs.wcs.cd = [[-9.2e-5, 1.1e-6], [1.3e-6, 9.15e-5]]
    return wcs


def mosaic(level: str = "chip", products: str = "chips", electrons: bool = True) -> Camera:
    """A camera of four chips, the last of which is read from the upper right corner."""
    amps, amplifiers = [], []
    for n, extension in enumerate(ORDER):
        row, column = divmod(n, 2)
        bottom, left = row * (TALL + GAP), column * (WIDE + GAP)
        turned = -1 if n == 3 else 1
        amp = Amp(
            data=(slice(2, 2 + TALL), slice(LEFT, LEFT + WIDE)),
            place=(slice(bottom, bottom + TALL), slice(left, left + WIDE)),
            shape=(TALL + 2, LEFT + WIDE + 20),
            extension=extension,
            up=turned,
            across=turned,
            beside=(slice(LEFT + WIDE + 4, LEFT + WIDE + 20),),
            gain=GAINS[n],
            noise=6.0 + n,
            pedestal=900.0 + 130 * n,
        )
        amp = replace(amp, cards={"EXTNAME": f"im{extension}", **_wcs_cards(amp)})
        amps.append(amp)
        amplifiers.append(
            Amplifier(
                name=f"CCD{n + 1}",
                data=_section(amp.data[1], amp.data[0]),
                overscan=_section(amp.beside[0], amp.data[0]),
                extension=extension,
                detector=f"[{WIDE}:1, {TALL}:1]" if turned < 0 else None,
                gain=amp.gain * GAIN,
                read_noise=amp.noise * u.electron,
                saturation=65535 * u.adu,
            )
        )
    profile = Profile(
        instrument="WFC",
        name="wfc",
        amplifiers=amplifiers,
        chips={chip: (a.name,) for chip, a in zip(CHIPS, amplifiers, strict=True)},
        products=products,
        frame_size=(LEFT + WIDE + 20, TALL + 2),
        recipe=PLAIN.but(flat=Flat(level=level), electrons=electrons),
    )
    amps.sort(key=lambda amp: amp.extension)
    size = 2 * TALL + GAP, 2 * WIDE + GAP
    # The primary header describes the sky in another way, which no chip may take over.
    primary = {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CRPIX1": 1.0, "CRPIX2": 1.0}
    primary |= {"PC1_2": 0.5, "CDELT1": 1e-3, "CDELT2": 1e-3, "PV2_1": 0.1, "EQUINOX": 2000.0}
    return Camera(profile, tuple(amps), size, primary)


def amp_of(camera: Camera, chip: str) -> Amp:
    """The amplifier of a chip."""
    return next(amp for amp in camera.amps if amp.extension == ORDER[CHIPS.index(chip)])


def reduced(camera: Camera, folder: Path, level: str, electrons: bool = True) -> dict:
    """Reduce a night in plain NumPy: images by ("bias" or "flat" or file, chip)."""
    places = {chip: amp_of(camera, chip).place for chip in CHIPS}
    gain = {chip: amp_of(camera, chip).gain if electrons else 1.0 for chip in CHIPS}

    def stack(kind):
        return [camera.prepared(path) for path in sorted(folder.glob(f"{kind}*.fits"))]

    made = {}
    biases = np.mean(stack("bias"), axis=0)
    flats = [flat - biases for flat in stack("flat")]
    levels = np.array([[np.median(flat[places[c]]) for c in CHIPS] for flat in flats])
    if level == "all chips":
        common = np.mean(levels * [gain[c] for c in CHIPS], axis=1)
        levels = np.array([[mean / gain[c] for c in CHIPS] for mean in common])
    for n, chip in enumerate(CHIPS):
        own = places[chip]
        flat = np.mean([f[own] / levels[k, n] for k, f in enumerate(flats)], axis=0)
        flat /= 1 if level == "all chips" else np.median(flat)
        made |= {("bias", chip): biases[own], ("flat", chip): flat}
        for path in sorted(folder.glob("light*.fits")):
            light = (camera.prepared(path) - biases)[own] / flat * gain[chip]
            made[path.name, chip] = light
    return made


def _section(columns: slice, rows: slice) -> str:
    return f"[{columns.start + 1}:{columns.stop}, {rows.start + 1}:{rows.stop}]"


def _wcs_cards(amp: Amp) -> dict:
    """The world coordinates of a chip in the pixels of its raw image."""
    wcs = sky().wcs
    cards = dict(zip(("CTYPE1", "CTYPE2"), wcs.ctype, strict=True))
    for axis in (1, 2):
        data, place = amp.data[2 - axis], amp.place[2 - axis]
        turned = (amp.across, amp.up)[axis - 1]
        within = float(wcs.crpix[axis - 1]) - place.start
        length = data.stop - data.start
        cards[f"CRPIX{axis}"] = data.start + (within if turned > 0 else length + 1 - within)
        cards[f"CRVAL{axis}"] = float(wcs.crval[axis - 1])
        for row in (1, 2):
            cards[f"CD{row}_{axis}"] = turned * float(wcs.cd[row - 1, axis - 1])
    return cards
