"""Time whole nights: ccdprofiles against the guide's script, and IRAF and Siril where installed.

    python benchmarks/nights.py A B C --rounds 3

Makes each night once, runs the programs in turn as whole processes, and prints
medians and the ratios round by round; then holds our products against the guide's.
``--bench`` names the folder with make_night.py, baseline_ccdproc.py, iraf_night.sh
and siril_night.sh.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Make, run, compare, print."""
    options = _options()
    work = Path(options.work)
    work.mkdir(parents=True, exist_ok=True)
    results = {}
    for night in options.nights:
        raw = work / f"night_{night}"
        if not raw.is_dir():
            make = [sys.executable, options.bench / "make_night.py", night, raw]
            subprocess.run([*map(str, make)], check=True)
        results[night] = _night(night, raw, work, options)
    text = _table(results)
    print(text)
    if options.save:
        Path(options.save).write_text(json.dumps(results, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nights", nargs="+", choices=["A", "B", "C"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bench", type=Path, default=HERE.parents[1] / "shared" / "bench")
    parser.add_argument("--work", default=HERE / "made", help="where nights and products go")
    parser.add_argument("--only", nargs="+", help="programs to run: guide ours iraf siril")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--save", help="a file for the figures, as JSON")
    return parser.parse_args()


def _programs(
    night: str, raw: Path, work: Path, options: argparse.Namespace
) -> dict[str, list[str]]:
    """Return the command of every program that can be run."""
    out = {name: str(work / f"{name}_{night}") for name in ("guide", "ours", "iraf", "siril")}
    profile = str(HERE / "profiles" / f"night_{night.lower()}.py")
    bench = options.bench
    programs = {
        "guide": [sys.executable, str(bench / "baseline_ccdproc.py"), str(raw), out["guide"], "--night", night],
        "ours": [
            sys.executable, "-m", "ccdprofiles", "reduce", str(raw), "-o", out["ours"],
            "--profile", profile, "-q", "-j", str(options.jobs),
        ],
    }  # fmt: skip
    if shutil.which("irafcl"):
        programs["iraf"] = ["bash", str(bench / "iraf_night.sh"), night, str(raw), out["iraf"]]
    if shutil.which("siril-cli"):
        programs["siril"] = ["bash", str(bench / "siril_night.sh"), night, str(raw), out["siril"]]
    return {n: c for n, c in programs.items() if options.only is None or n in options.only}


def _night(night: str, raw: Path, work: Path, options: argparse.Namespace) -> dict:
    """Run the programs in turn, round by round."""
    programs = _programs(night, raw, work, options)
    runs: dict[str, list[dict]] = {name: [] for name in programs}
    for _ in range(options.rounds):
        for name, command in programs.items():
            shutil.rmtree(work / f"{name}_{night}", ignore_errors=True)
            runs[name].append(_timed(command))
    found = {"runs": runs}
    if {"guide", "ours"} <= set(programs):
        found["agreement"] = _compared(work / f"guide_{night}", work / f"ours_{night}")
    return found


def _timed(command: list[str]) -> dict:
    """Run one process to its end; wall and processor seconds, and the peak of its memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "wall": wall,
        "cpu": cpu,
        "rss": usage.ru_maxrss / 1024,
        "status": os.waitstatus_to_exitcode(status),
    }


def _compared(guide: Path, ours: Path) -> dict[str, float]:
    """Return how far our science frames lie from the guide's, in units of the noise."""
    import numpy as np
    from astropy.io import fits

    worst = 0.0
    shifts = []
    for product in sorted((ours / "science").rglob("*.fits"))[:40]:
        theirs = guide / (product.name.replace("_cal.fits", ".fits"))
        with fits.open(product) as hdus:
            good = hdus["DQ"].data == 0
            other = fits.getdata(theirs).astype("f8")
            # The guide divides by the flat's mean, we by its median.
            ratio = np.median(other[good]) / np.median(hdus[0].data[good])
            off = np.abs(other / ratio - hdus[0].data)[good] / hdus["UNCERT"].data[good]
        worst = max(worst, float(np.quantile(off, 0.999)))
        shifts.append(float(ratio))
    return {"99.9 % of pixels within sigma": worst, "guide / ours level": statistics.median(shifts)}


def _table(results: dict) -> str:
    lines = [
        f"ccdprofiles {version('ccdprofiles')}, ccdproc {version('ccdproc')}, astropy "
        f"{version('astropy')}, numpy {version('numpy')}, Python {platform.python_version()}, "
        f"{os.cpu_count()} processors, {time.strftime('%Y-%m-%d')}",
        "",
        f"{'night':6}{'program':10}{'wall s':>9}{'cpu s':>9}{'RSS MiB':>9}{'this / ours':>14}  rounds",
    ]
    for night, found in results.items():
        ours = found["runs"].get("ours", [])
        for name, runs in found["runs"].items():
            wall, cpu, rss = (statistics.median(r[k] for r in runs) for k in ("wall", "cpu", "rss"))
            ratios = [r["wall"] / o["wall"] for r, o in zip(runs, ours, strict=False)]
            middle = f"{statistics.median(ratios):.2f}" if ratios else ""
            spread = " ".join(f"{q:.2f}" for q in ratios)
            bad = "" if not any(r["status"] for r in runs) else "  FAILED"
            lines.append(
                f"{night:6}{name:10}{wall:9.2f}{cpu:9.2f}{rss:9.0f}{middle:>14}  {spread}{bad}"
            )
        for what, value in found.get("agreement", {}).items():
            lines.append(f"      {what}: {value:.4g}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
