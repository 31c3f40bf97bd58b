"""How many cosmic rays of a made-up night are found, and how much else is taken for one.

    python benchmarks/cosmics_truth.py > table.rst

Makes a night for every profile that ships, calibrates it, looks for cosmic rays in
every science frame with `ccdprofiles.pixels.cosmics` and with astroscrappy, and prints the
table of docs/explain/cosmic_rays.rst. Complete: the hit pixels that are flagged. Pure: the
flagged pixels that were hit, or lie beside one that was.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import astroscrappy
import numpy as np
from astropy.io import fits
from scipy.ndimage import binary_dilation

from ccdprofiles import known_profiles, reduce_night, simulate_night
from ccdprofiles.pixels.cosmics import detect_cosmics
from ccdprofiles.simulate import windowed


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--columns", type=int, default=800)
    parser.add_argument("--rate", type=float, default=4.0, help="in units of the usual rate")
    options = parser.parse_args()
    print(".. list-table::\n   :header-rows: 1\n")
    _row("profile", "sigclip", "complete, %", "pure, %", "astroscrappy", "flags that differ")
    for name, profile in sorted(known_profiles().items()):
        if callable(profile.recipe):
            continue
        with tempfile.TemporaryDirectory() as folder:
            frames = list(
                _frames(windowed(profile, options.rows, options.columns), folder, options)
            )
        for sigclip in (4.5, 6.0):
            _row(name, f"{sigclip:g}", *_compared(frames, sigclip))


def _frames(profile, folder: str, options: argparse.Namespace):
    """Yield the calibrated frames in electrons, what is bad in them, and what hit them."""
    raw, reduced = Path(folder) / "raw", Path(folder) / "reduced"
    truth = simulate_night(profile, raw, seed=4, cosmic_rays=options.rate)
    night = reduce_night(raw, reduced, profile=truth.known)
    for product in night.plan.products:
        path = night.products[product.name]
        header = fits.getheader(path)
        image = fits.getdata(path).astype("f4")
        if header["BUNIT"] != "electron":
            image = image * truth.gain
        flags = fits.getdata(path, "DQ")
        readouts = truth.known.amplifiers_of(
            fits.getheader(raw / product.input.file),
            {None: fits.getdata(raw / product.input.file).shape},
        ).readouts
        noise = np.empty(image.shape, "f4")
        for readout in readouts:
            noise[readout.place.slices()] = readout.read_noise
        yield image.astype("f4"), (flags & 0xFF) != 0, noise, truth.cosmic_rays[product.input.file]


def _compared(frames: list, sigclip: float) -> tuple[str, ...]:
    ours, theirs, differ = np.zeros(4), np.zeros(4), 0
    for image, bad, noise, hit in frames:
        how = {"satlevel": np.inf, "sigclip": sigclip}
        found = detect_cosmics(image, bad, readnoise=noise, **how).mask
        mask, _ = astroscrappy.detect_cosmics(image, bad, invar=image + noise**2, **how)
        beside = binary_dilation(hit, np.ones((3, 3)))
        for total, flagged in ((ours, found), (theirs, mask)):
            flagged = flagged & ~bad
            total += [
                (flagged & hit).sum(),
                (hit & ~bad).sum(),
                (flagged & beside).sum(),
                flagged.sum(),
            ]
        differ += int((found != mask).sum())
    shares = [f"{100 * t[i] / max(t[i + 1], 1):.1f}" for t in (ours, theirs) for i in (0, 2)]
    return shares[0], shares[1], f"{shares[2]}, {shares[3]}", str(differ)


def _row(*cells: str) -> None:
    print(
        "\n".join(f"   {'* -' if n == 0 else '  -'} {c}" for n, c in enumerate(cells)), flush=True
    )


if __name__ == "__main__":
    main()
