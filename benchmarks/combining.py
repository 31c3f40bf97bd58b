"""Time the combining of 15 frames of 16.8 million pixels, and count what is clipped wrongly.

    python benchmarks/combining.py

Makes 15 biases and 15 flats of different levels, with cosmic rays, and combines each kind
with ``ccdproc.combine`` as the guide calls it, from the float32 files that the guide
writes, and with `reduce_night` from the raw frames, which also reads overscans, hashes,
propagates uncertainty and flags, and writes the master to the disk. The masters are held
against a plain one in float64 that clips after scaling; a value that was clipped there
and not here, or the other way round, shows as a step of several millionths at least.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.stats import mad_std

from ccdprofiles import Amplifier, Combine, Flat, Profile, Recipe, reduce_night
from ccdprofiles.pixels.combine import combine

HERE = Path(__file__).resolve().parent
NUMBER = 15
STRIP = 16
PEDESTAL = 1000
BAND = 64

MAD_TO_STD = 1.482602218505602
CLIP = 5

ROUNDING = 1e-6
"""The most that a master in float32 may differ from one in float64, as a fraction of its level."""


def main() -> None:
    """Make, combine, compare, print."""
    options = _options()
    size, work = options.size, options.work / f"combining_{options.size}"
    profile = _profile(size)
    wrong = []
    for kind in ("bias", "flat"):
        raw, trimmed = work / kind, work / f"{kind}_float32"
        if not raw.is_dir():
            _make(raw, trimmed, kind, size)
        seconds: dict[str, list[float]] = {"ccdproc.combine": [], "ccdprofiles": []}
        for _ in range(options.rounds):
            if not options.no_guide:
                seconds["ccdproc.combine"].append(_of(_guide, trimmed, kind))
            seconds["ccdprofiles"].append(_of(_ours, raw, work / "ours", profile, options.jobs))
        seconds["combine() of an array, one thread"] = [_array(trimmed, options.rounds)]
        print(f"{NUMBER} {kind} frames of {size} x {size}, {os.cpu_count()} processors")
        for name, found in seconds.items():
            if found:
                print(f"  {name:36}{statistics.median(found):8.2f} s")
        ratios = [a / b for a, b in zip(*list(seconds.values())[:2], strict=False)]
        if ratios:
            spread = " ".join(f"{r:.1f}" for r in ratios)
            print(f"  ccdproc / ccdprofiles {statistics.median(ratios):.1f} ({spread})")
        master = next((work / "ours" / "masters").glob("*.fits"))
        flipped, farthest, clipped = _against_reference(master, raw, kind, size)
        print(
            f"  {clipped} values are clipped in float64; {flipped} pixels were decided otherwise; "
            f"the others lie within {farthest:.1e} of their level"
        )
        if flipped:
            wrong.append(f"{kind}: {flipped} pixels were clipped otherwise than in float64")
    if wrong:
        raise SystemExit("\n".join(wrong))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=4096, help="rows and columns")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--no-guide", action="store_true", help="leave ccdproc.combine out")
    parser.add_argument("--work", type=Path, default=HERE / "made", help="where frames go")
    return parser.parse_args()


def _profile(size: int) -> Profile:
    return Profile(
        instrument="COMBINE",
        amplifiers=[
            Amplifier(
                data=f"[1:{size}, 1:{size}]",
                overscan=f"[{size + 1}:{size + STRIP}, 1:{size}]",
                gain=1.5 * u.electron / u.adu,
                read_noise=9 * u.electron,
                saturation=65535 * u.adu,
            )
        ],
        recipe=Recipe(bias=True, dark=None, flat=Flat(), combine=Combine(clip=CLIP)),
    )


def _make(raw: Path, trimmed: Path, kind: str, size: int) -> None:
    """Write raw frames, and what the guide makes of them before it combines."""
    raw.mkdir(parents=True)
    trimmed.mkdir()
    random = np.random.default_rng([size, len(kind)])
    for n in range(NUMBER):
        level = 0 if kind == "bias" else random.uniform(15000, 30000)
        noise = np.hypot(6.0, np.sqrt(level / 1.5))
        image = random.normal(level, noise, (size, size))
        hits = random.integers(0, size, (2, size * size // 5000))
        image[tuple(hits)] += random.exponential(100 * noise, hits.shape[1])
        whole = np.full((size, size + STRIP), PEDESTAL)
        whole[:, :size] += np.clip(np.rint(image), -PEDESTAL, 64000).astype(int)
        header = fits.Header({"INSTRUME": "COMBINE", "IMAGETYP": kind, "EXPTIME": float(n)})
        header["FILTER"] = "V"
        header["DATE-OBS"] = f"2020-03-17T00:00:{n:02d}"
        fits.writeto(raw / f"{kind}{n:02d}.fits", whole.astype("u2"), header)
        header["BUNIT"] = "adu"
        light = (whole[:, :size] - PEDESTAL).astype("f4")
        fits.writeto(trimmed / f"{kind}{n:02d}.fits", light, header)


def _of(work, *arguments: object) -> float:
    started = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started


def _guide(trimmed: Path, kind: str) -> None:
    """Combine as the CCD Data Reduction Guide does."""
    import ccdproc

    scaled = {"scale": lambda image: 1 / np.median(image)} if kind == "flat" else {}
    ccdproc.combine(
        sorted(map(str, trimmed.glob("*.fits"))),
        method="average",
        sigma_clip=True,
        sigma_clip_low_thresh=CLIP,
        sigma_clip_high_thresh=CLIP,
        sigma_clip_func=np.ma.median,
        sigma_clip_dev_func=mad_std,
        mem_limit=350e6,
        unit="adu",
        **scaled,
    ).write(trimmed.parent / "guide.fits", overwrite=True)


def _ours(raw: Path, output: Path, profile: Profile, jobs: int) -> None:
    shutil.rmtree(output, ignore_errors=True)
    without = () if raw.name == "bias" else ("bias",)
    night = reduce_night(raw, output, profile=profile, without=without, jobs=jobs)
    if len(night.masters) != 1:
        raise SystemExit(f"one master was expected:\n{night}")


def _array(trimmed: Path, rounds: int) -> float:
    """Combine arrays that are in memory, on one thread."""
    stack = np.stack([fits.getdata(path) for path in sorted(trimmed.glob("*.fits"))]).astype("f4")
    how = Combine(clip=CLIP)
    return statistics.median(_of(combine, stack, how) for _ in range(rounds))


def _against_reference(master: Path, raw: Path, kind: str, size: int) -> tuple[int, float, int]:
    """Hold a master against one in float64 that clips after scaling.

    Returns
    -------
    flipped : int
        Pixels in which another number of values was clipped.
    farthest : float
        How far the others lie from the reference, as a fraction of its level.
    clipped : int
        Values that the reference clips.
    """
    stored = [fits.getdata(path) for path in sorted(raw.glob("*.fits"))]
    levels = np.ones(NUMBER)
    with fits.open(master) as hdus:
        ours = hdus[0].data.astype("f8")
        if kind == "flat":
            levels = np.array([np.median(s[:, :size]) - PEDESTAL for s in stored], "f8")
            ours *= hdus[0].header["FLATNORM"]
    unit = 6.0 if kind == "bias" else 1.0
    flipped, farthest, clipped = 0, 0.0, 0
    for first in range(0, size, BAND):
        rows = slice(first, first + BAND)
        values = np.stack([s[rows, :size].astype("f8") - PEDESTAL for s in stored])
        values /= levels[:, None, None]
        far = np.abs(values - np.median(values, axis=0))
        out = far > CLIP * MAD_TO_STD * np.median(far, axis=0)
        expected = np.where(out, 0, values).sum(axis=0) / (~out).sum(axis=0)
        off = np.abs(ours[rows] - expected) / unit
        clipped += int(out.sum())
        flipped += int((off > ROUNDING).sum())
        farthest = max(farthest, float(off[off <= ROUNDING].max(initial=0)))
    return flipped, farthest, clipped


if __name__ == "__main__":
    main()
