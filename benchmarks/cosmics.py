"""Time `ccdprofiles.pixels.cosmics` against astroscrappy, in turn and in one process.

    python benchmarks/cosmics.py --threads 2 --night A=night_A --night B=night_B

Nights are folders that make_night.py has written; one science frame of each is
calibrated plainly. The made-up scenes are those that sparse methods do not like.
Prints medians, ratios, the way that was taken, whether the answers are the same, and
what memory a frame takes beyond its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
from astropy.io import fits

NIGHTS = {"A": (2.0, 9.0, 2048), "B": (1.5, 9.0, 4096)}
"""Electrons per adu, read noise in electron and lit columns, as make_night.py has them."""

SIZE = 2048


def main() -> None:
    """Time every frame and scene."""
    options = _options()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import astroscrappy  # it counts its threads when it is imported

    from ccdprofiles.pixels.cosmics import detect_cosmics

    print(f"astroscrappy {astroscrappy.__version__} on {options.threads} threads")
    print(f"{'frame':28} {'theirs s':>9} {'ours s':>8} {'ratio':>6} {'MB':>5}  way, hits")
    for name, image, how in _frames(options):
        times: dict[str, list[float]] = {"theirs": [], "ours": []}
        for _ in range(options.rounds):
            start = time.perf_counter()
            mask, cleaned = astroscrappy.detect_cosmics(image, **how)
            middle = time.perf_counter()
            found = detect_cosmics(image, **how)
            times["theirs"].append(middle - start)
            times["ours"].append(time.perf_counter() - middle)
        # The fast ones are timed some more, as a single run of them says little.
        while found.way == "sparse" and len(times["ours"]) < 9:
            start = time.perf_counter()
            detect_cosmics(image, **how)
            times["ours"].append(time.perf_counter() - start)
        theirs, ours = (statistics.median(t) for t in times.values())
        same = (found.mask == mask).all() and (found.data == cleaned).all()
        print(
            f"{name:28} {theirs:9.3f} {ours:8.3f} {theirs / ours:6.2f} "
            f"{_memory(image, how):5.0f}  {found.way}, {mask.sum()}"
            + ("" if same else "  NOT THE SAME")
        )
        sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="of astroscrappy; we take one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--night", action="append", default=[], metavar="A=FOLDER")
    parser.add_argument("--only", default="", help="scenes whose name holds this")
    return parser.parse_args()


def _frames(options: argparse.Namespace):
    for night in options.night:
        letter, folder = night.split("=", 1)
        yield f"night {letter}", _calibrated(letter, Path(folder)), {"readnoise": NIGHTS[letter][1]}
    for name, scene in scenes().items():
        if options.only in name:
            yield name, scene(np.random.default_rng(7)), {"readnoise": 9.0}


def _memory(image: np.ndarray, how: dict) -> float:
    """Return the peak of what Python allocates, in 10^6 bytes."""
    from ccdprofiles.pixels.cosmics import detect_cosmics

    tracemalloc.start()
    detect_cosmics(image, **how)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def _calibrated(letter: str, folder: Path) -> np.ndarray:
    """Calibrate the first science frame of a night, in electrons."""
    gain, _, columns = NIGHTS[letter]
    files: dict[tuple, list[Path]] = {}
    for path in sorted(folder.glob("*.fits")):
        header = fits.getheader(path)
        kind = header["IMAGETYP"]
        more = {"DARK": header["EXPTIME"], "FLATFIELD": header["FILTER"]}.get(kind)
        files.setdefault((kind, more), []).append(path)
    science = files["OBJECT", None][0]
    header = fits.getheader(science)
    dark = _median(files["DARK", header["EXPTIME"]], columns)
    flat = _median(files["FLATFIELD", header["FILTER"]], columns)
    flat -= _median(files.get(("BIAS", None), files["DARK", header["EXPTIME"]]), columns)
    light = fits.getdata(science)[:, :columns] - dark
    return (light / np.clip(flat / np.median(flat), 0.2, None) * gain).astype("f4")


def _median(files: list[Path], columns: int) -> np.ndarray:
    return np.median([fits.getdata(f)[:, :columns].astype("f4") for f in files[:5]], axis=0)


def scenes() -> dict:
    """Name the made-up scenes; each is a function of a random generator."""
    return {
        "sky": lambda random: _sky(random),
        "bias": lambda random: _sky(random, 0),
        "500 stars": lambda random: _stars(random, 500),
        "2,000 stars": lambda random: _stars(random, 2000),
        "5,000 stars": lambda random: _stars(random, 5000),
        "20,000 stars": lambda random: _stars(random, 20_000),
        "100,000 stars": lambda random: _stars(random, 100_000),
        "2,000 undersampled stars": lambda random: _stars(random, 2000, 0.5),
        "20,000 undersampled stars": lambda random: _stars(random, 20_000, 0.5),
        "20 bright lines": lambda random: _lines(random, 20),
        "200 bright lines": lambda random: _lines(random, 200),
        "500 dead pixels": lambda random: _dead(random, 500),
        "1,500 dead pixels": lambda random: _dead(random, 1500),
        "5,000 dead pixels": lambda random: _dead(random, 5000),
        "20,000 more hits": lambda random: _hit(_sky(random), random, 20_000),
        "100,000 more hits": lambda random: _hit(_sky(random), random, 100_000),
    }


def _sky(random: np.random.Generator, level: float = 200.0) -> np.ndarray:
    image = random.normal(level, np.sqrt(level + 81), (SIZE, SIZE)).astype("f4")
    return _hit(image, random, 1000)


def _hit(image: np.ndarray, random: np.random.Generator, number: int) -> np.ndarray:
    rows, columns = random.integers(0, SIZE, (2, number))
    image[rows, columns] += random.exponential(1500, number)
    return image


def _stars(random: np.random.Generator, number: int, width: float = 1.5) -> np.ndarray:
    image = _sky(random)
    reach = int(6 * width) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    for row, column in random.uniform(reach + 1, SIZE - reach - 2, (number, 2)):
        r, c = int(row), int(column)
        star = np.exp(-0.5 * ((y - row + r) ** 2 + (x - column + c) ** 2) / width**2)
        peak = 10 ** random.uniform(1.5, 4.5)
        image[r - reach : r + reach + 1, c - reach : c + reach + 1] += peak * star
    return image


def _lines(random: np.random.Generator, number: int) -> np.ndarray:
    image = _sky(random)
    x = np.arange(SIZE)
    for centre in random.uniform(0, SIZE, number):
        image += (10 ** random.uniform(2, 4.5) * np.exp(-0.5 * ((x - centre) / 1.3) ** 2)).astype(
            "f4"
        )
    image += random.normal(0, 1, image.shape) * np.sqrt(np.maximum(image - 200, 0))
    return image.astype("f4")


def _dead(random: np.random.Generator, number: int) -> np.ndarray:
    image = _sky(random)
    rows, columns = random.integers(0, SIZE, (2, number))
    image[rows, columns] = -1000
    return image


if __name__ == "__main__":
    main()
