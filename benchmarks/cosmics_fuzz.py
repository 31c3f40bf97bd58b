"""Hold `ccdprofiles.pixels.cosmics` against astroscrappy on made-up images of every kind.

    python benchmarks/cosmics_fuzz.py --images 3000 --seed 1

Draws small images, with sizes, types, faults and options as chance has them, makes
both find cosmic rays, and prints what differs; it ends with 1 if anything does. The sparse
way is taken however dense an image is, unless ``--switch`` leaves the choice to it.
"""

from __future__ import annotations

import argparse
import sys

import astroscrappy
import numpy as np

from ccdprofiles.pixels.cosmics import CosmicRayHits, detect_cosmics
from ccdprofiles.pixels.lacosmic import search

LIMITS = ("SCREENED", "PEAKED", "HIT")


def main() -> int:
    """Run, and say how many images agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--switch", action="store_true", help="let the content decide the way")
    options = parser.parse_args()
    if not options.switch:
        for name in LIMITS:
            setattr(search, name, np.inf)
    pixels = flagged = bad = 0
    ways: dict[str, int] = {}
    for number in range(options.images):
        image, how = made_up(np.random.default_rng([options.seed, number]))
        found, mask, cleaned = both(image, how)
        ways[found.way] = ways.get(found.way, 0) + 1
        pixels, flagged = pixels + image.size, flagged + int(mask.sum())
        differ = (found.mask != mask).sum(), (found.data != cleaned).sum()
        if any(differ):
            bad += 1
            told = {k: v if np.ndim(v) == 0 else "array" for k, v in how.items()}
            print(f"image {number}: {differ[0]} flags, {differ[1]} values; {image.dtype} {told}")
    print(
        f"{options.images} images of seed {options.seed}, {pixels / 1e6:.1f} Mpix, "
        f"{flagged} flagged, ways {ways}: {bad} differ"
    )
    return int(bad > 0)


def both(image: np.ndarray, how: dict) -> tuple[CosmicRayHits, np.ndarray, np.ndarray]:
    """Find cosmic rays both ways."""
    mask, cleaned = astroscrappy.detect_cosmics(image, **how)
    return detect_cosmics(image, **how), mask, cleaned


def made_up(random: np.random.Generator) -> tuple[np.ndarray, dict]:
    """Draw an image and the options for it."""
    shape = tuple(random.integers(24, 220, 2))
    image = random.choice([0, 20, 200, 5000]) + random.normal(0, random.choice([3, 20]), shape)
    image += np.linspace(0, random.choice([0, 300]), shape[1])
    for draw in (_stars, _lines, _dead, _hits):
        if random.random() < 0.6:
            draw(image, random)
    if random.random() < 0.15:
        image = np.round(image / 20) * 20  # many equal values
    kind = random.choice(["f4", "f8", "i4", "u2", ">f4", "i2"])
    if kind in ("u2", "i2"):
        image = np.clip(image, 0 if kind == "u2" else -30000, 32000 if kind == "i2" else 65535)
    return image.astype(kind), _options(image, random)


def _stars(image: np.ndarray, random: np.random.Generator) -> None:
    y, x = np.indices(image.shape)
    for _ in range(random.integers(1, 40)):
        row, column = random.uniform(0, image.shape[0]), random.uniform(0, image.shape[1])
        width, peak = random.uniform(0.4, 3), random.exponential(3000)
        image += peak * np.exp(-0.5 * ((y - row) ** 2 + (x - column) ** 2) / width**2)


def _lines(image: np.ndarray, random: np.random.Generator) -> None:
    x = np.arange(image.shape[1])
    for centre in random.uniform(0, image.shape[1], random.integers(1, 8)):
        image += random.exponential(2000) * np.exp(-0.5 * ((x - centre) / 1.2) ** 2)


def _dead(image: np.ndarray, random: np.random.Generator) -> None:
    """Add columns, rows, pixels and blocks without light, or with too much."""
    value = random.choice([0, -1000, 60000])
    image[:, random.integers(0, image.shape[1])] = value
    image[random.integers(0, image.shape[0])] = value
    image[random.random(image.shape) < 0.002] = value
    row, column = random.integers(0, image.shape[0]), random.integers(0, image.shape[1])
    image[row : row + 9, column : column + 7] = value


def _hits(image: np.ndarray, random: np.random.Generator) -> None:
    where = random.random(image.shape) < random.choice([0.001, 0.01, 0.05])
    image[where] += random.exponential(1500, where.sum())
    for _ in range(random.integers(0, 5)):
        row, column = random.integers(0, image.shape[0]), random.integers(0, image.shape[1])
        image[row : row + random.integers(1, 9), column : column + random.integers(1, 9)] += 9000


def _options(image: np.ndarray, random: np.random.Generator) -> dict:
    """Draw options, each mostly as it is by default."""
    choices = {
        "niter": [1, 2, 3, 10],
        "sepmed": [False],
        "fsmode": ["convolve"],
        "cleantype": ["medmask", "idw"],
        "sigclip": [3.0, 4.0, 6.1],
        "sigfrac": [0.1, 0.37, 0.5, 1.0],
        "objlim": [1.0, 2.0, 4.7],
        "gain": [0.41, 1.37, 2.0],
        "readnoise": [0.0, 3.3, 12.0],
        "satlevel": [float(np.percentile(image, 99)), 1000.0, np.inf],
    }
    how = {k: random.choice(v).item() for k, v in choices.items() if random.random() < 0.25}
    if how.get("fsmode"):
        psf = random.choice(["gauss", "gaussx", "gaussy", "own", "moffat"])
        how |= {"psffwhm": 3.1, "psfsize": 5} if random.random() < 0.5 else {}
        how |= (
            {"psfk": random.random((5, 3)).astype("f4") / 8} if psf == "own" else {"psfmodel": psf}
        )
    if random.random() < 0.25:
        how["inmask"] = random.random(image.shape) < random.choice([0.002, 0.05])
        row, column = random.integers(0, image.shape[0]), random.integers(0, image.shape[1])
        how["inmask"][row : row + 12, column : column + 9] = True
    if random.random() < 0.15:
        how["invar"] = (np.abs(image) * random.uniform(0.5, 2) + 20).astype("f4")
    if random.random() < 0.15:
        level = np.full(image.shape, max(float(np.median(image)), 0) * 0.8)
        how["inbkg"] = (level + random.normal(0, 3, image.shape)).astype("f4")
    return how


if __name__ == "__main__":
    sys.exit(main())
