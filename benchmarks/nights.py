"""Time whole nights: ccdprofiles against the guide's script, and IRAF and Siril where installed.

    python benchmarks/nights.py A B C --rounds 3

Makes each night once, runs the programs in turn as whole processes, holds our products
against the guide's, and writes the medians and the ratios round by round as a table and
a picture for the documentation. Ends with an error if a program fails or the products
do not agree. ``--bench`` names the folder with make_night.py, baseline_ccdproc.py,
iraf_night.sh and siril_night.sh; ``--frames 4`` takes each night four times as long, to
see what that does to the memory.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs" / "explain" / "benchmarks"

PROGRAMS = ("guide", "ours", "iraf", "siril")
NAMES = {
    "guide": "ccdproc, as the guide has it",
    "ours": "ccdprofiles",
    "iraf": "IRAF ccdred",
    "siril": "Siril (no overscan, no dark scaling)",
}
CONTENTS = {
    "A": "61 frames of 2108 x 4128",
    "B": "55 frames of 4109 x 4096",
    "C": "2183 frames of 256 x 256",
}

FARTHEST = 0.25
"""How far 99.9 % of our pixels may lie from the guide's, in units of their noise."""

STORAGES = (1, 5, 20)
"""Gigabytes a second: a disk of a workstation, a file server, a parallel file system."""

SAMPLED = 0.05
"""Seconds from one look at the memory of all processes to the next."""


def main() -> None:
    """Make, run, compare, write."""
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    # As installed packages are.
    compileall.compile_dir(HERE.parent / "ccdprofiles", quiet=1)
    results = {night: _night(night, options) for night in options.nights}
    text = _table(results, options)
    print(text)
    if options.save:
        options.save.write_text(json.dumps(results, indent=1))
    wrong = _wrong(results)
    if wrong:
        raise SystemExit("\n".join(["", "The benchmark does not count:", *wrong]))
    if options.docs and options.frames == 1:
        options.docs.mkdir(parents=True, exist_ok=True)
        (options.docs / "table.txt").write_text(text + "\n", "utf-8")
        (options.docs / "cost.txt").write_text(_cost(results) + "\n", "utf-8")
        _picture(results, options.docs / "ratios.png")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nights", nargs="+", choices=["A", "B", "C"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bench", type=Path, default=HERE.parents[1] / "shared" / "bench")
    parser.add_argument(
        "--work", type=Path, default=HERE / "made", help="where nights and products go"
    )
    parser.add_argument("--docs", type=Path, help=f"for table and picture, such as {DOCS}")
    parser.add_argument("--only", nargs="+", choices=PROGRAMS, help="programs to run")
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--frames", type=int, default=1, help="so many times as many frames")
    parser.add_argument("--save", type=Path, help="a file for the figures, as JSON")
    return parser.parse_args()


def _programs(
    night: str, raw: Path, options: argparse.Namespace, number: int
) -> dict[str, list[str]]:
    """Return the command of every program that can be run, for one of the rounds."""
    out = {name: str(_products(name, raw, options, number)) for name in PROGRAMS}
    bench = options.bench
    programs = {
        "guide": [sys.executable, bench / "baseline_ccdproc.py", raw, out["guide"], "--night", night],
        "ours": [
            sys.executable, "-m", "ccdprofiles", "reduce", raw, "-o", out["ours"],
            "--profile", HERE / "profiles" / f"night_{night.lower()}.py", "-q", "-j", options.jobs,
        ],
    }  # fmt: skip
    if shutil.which("irafcl"):
        programs["iraf"] = ["bash", bench / "iraf_night.sh", night, raw, out["iraf"]]
    if shutil.which("siril-cli"):
        programs["siril"] = ["bash", bench / "siril_night.sh", night, raw, out["siril"]]
    chosen = options.only or PROGRAMS
    return {n: [str(word) for word in c] for n, c in programs.items() if n in chosen}


def _products(program: str, raw: Path, options: argparse.Namespace, number: int) -> Path:
    return options.work / f"{program}_{raw.name.removeprefix('night_')}_{number}"


def _night(night: str, options: argparse.Namespace) -> dict:
    """Run the programs in turn, round by round.

    Every round writes into folders of its own, which are removed at the end: some file
    systems are slow to make files where others have just been deleted. What one program
    has left to be written is on the disk before the next one begins.
    """
    raw = _made(night, options)
    last = options.rounds - 1
    runs: dict[str, list[dict]] = {name: [] for name in _programs(night, raw, options, 0)}
    made = [_products(n, raw, options, number) for n in runs for number in range(last + 2)]
    _remove(made)
    for number in range(options.rounds):
        for name, command in _programs(night, raw, options, number).items():
            runs[name].append(_timed(command))
            _forget(_products(name, raw, options, number))
            print(f"{raw.name} {number + 1}/{options.rounds} {name}", _short(runs[name][-1]))
    found = {"files": len(list(raw.iterdir())), "raw": _size(raw), "runs": runs, "tree": {}}
    found["made"] = _size(_products("ours", raw, options, last))
    if "ours" in runs:
        # A run of its own, as looking at the memory takes time.
        found["tree"]["ours"] = _memory(_programs(night, raw, options, last + 1)["ours"])
    if {"guide", "ours"} <= set(runs):
        both = (_products(name, raw, options, last) for name in ("guide", "ours"))
        found["agreement"] = _compared(*both)
    _remove(made)
    return found


def _forget(folder: Path) -> None:
    """Let the system's cache forget products, so that it keeps the night and has room."""
    os.sync()
    for path in folder.rglob("*") if hasattr(os, "posix_fadvise") else ():
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _remove(folders: list[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _short(run: dict) -> str:
    return f"{run['wall']:.2f} s{'' if run['status'] == 0 else '  FAILED'}"


def _made(night: str, options: argparse.Namespace) -> Path:
    """Make a night, and one that is several times as long."""
    raw = options.work / f"night_{night}"
    if not raw.is_dir():
        subprocess.run(
            [sys.executable, options.bench / "make_night.py", night, raw],
            check=True,
        )
    if options.frames == 1:
        return raw
    longer = options.work / f"night_{night}x{options.frames}"
    if not longer.is_dir():
        longer.mkdir()
        for path in sorted(raw.glob("*.fits")):
            for copy in range(options.frames):
                _shifted(path, longer / f"{path.stem}-{copy}.fits", copy)
    return longer


def _shifted(path: Path, copy: Path, number: int) -> None:
    """Copy a frame with its rows moved up: the same sky, other noise in every pixel."""
    import numpy as np
    from astropy.io import fits

    octets = bytearray(path.read_bytes())
    with fits.open(path, memmap=False) as hdus:
        shape, start = hdus[0].shape, hdus[0].fileinfo()["datLoc"]
    pixels = np.frombuffer(octets, ">i2", shape[0] * shape[1], start).reshape(shape)
    pixels[:] = np.roll(pixels, 2 * number, axis=0)
    copy.write_bytes(octets.replace(b"'make_night'", b"'make_%05d'" % number, 1))


def _timed(command: list[str]) -> dict:
    """Run one process to its end; wall and processor seconds, and its largest process."""
    # A child begins with the peak of its parent's memory, so the parent must be a small one.
    small = [sys.executable, "-I", "-S", "-c", _RUNNER, *command]
    return json.loads(subprocess.run(small, capture_output=True, check=True, text=True).stdout)


_RUNNER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps({
    "wall": time.perf_counter() - started,
    "cpu": usage.ru_utime + usage.ru_stime,
    "rss": usage.ru_maxrss / 1024,
    "status": os.waitstatus_to_exitcode(status),
}))
"""


def _memory(command: list[str]) -> dict:
    """Run one process; the most that it and its children had in memory at one time."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most, number = 0.0, 0
    while process.poll() is None:
        tree = _tree(process.pid)
        number = max(number, len(tree))
        most = max(most, sum(_proportional(pid) for pid in tree))
        time.sleep(SAMPLED)
    return {"pss": most, "processes": number, "status": process.returncode}


def _tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    found, at = [pid], 0
    while at < len(found):
        try:
            for thread in os.listdir(f"/proc/{found[at]}/task"):
                text = Path(f"/proc/{found[at]}/task/{thread}/children").read_text()
                found += [int(child) for child in text.split()]
        except OSError:
            pass  # it has ended
        at += 1
    return found


def _proportional(pid: int) -> float:
    """Return the memory of a process in MiB; a page that n processes share counts 1/n."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return next((int(w.split()[1]) / 1024 for w in text.splitlines() if w.startswith("Pss:")), 0.0)


def _compared(guide: Path, ours: Path) -> dict[str, float]:
    """Return how far our science frames lie from the guide's, in units of the noise."""
    import numpy as np
    from astropy.io import fits

    worst, levels = 0.0, []
    products = sorted((ours / "science").rglob("*.fits"))
    for product in products[:: max(1, len(products) // 40)]:
        theirs = guide / (product.name.replace("_cal.fits", ".fits"))
        with fits.open(product) as hdus:
            good = hdus["DQ"].data == 0
            other = fits.getdata(theirs).astype("f8")
            # The guide divides by the flat's mean, we by its median.
            ratio = np.median(other[good]) / np.median(hdus[0].data[good])
            off = np.abs(other / ratio - hdus[0].data)[good] / hdus["UNCERT"].data[good]
        worst = max(worst, float(np.quantile(off, 0.999)))
        levels.append(float(ratio))
    return {
        "frames": len(levels),
        "sigma": worst if levels else float("inf"),
        "level": statistics.median(levels) if levels else float("nan"),
    }


def _wrong(results: dict) -> list[str]:
    """Say what must not be in a benchmark that counts."""
    wrong = []
    for night, found in results.items():
        failed = [n for n, runs in found["runs"].items() if any(r["status"] for r in runs)]
        failed += [n for n, tree in found["tree"].items() if tree["status"]]
        wrong += [f"{night}: {name} failed" for name in dict.fromkeys(failed)]
        agreement = found.get("agreement")
        if agreement and not agreement["sigma"] <= FARTHEST:
            wrong.append(
                f"{night}: 0.1 % of our pixels lie more than {agreement['sigma']:.2g} sigma from "
                f"the guide's, where {FARTHEST} was expected"
            )
        if agreement and not abs(agreement["level"] - 1) < 0.02:
            wrong.append(f"{night}: our level is 1 / {agreement['level']:.4f} of the guide's")
    return wrong


def _table(results: dict, options: argparse.Namespace) -> str:
    lines = [
        *_machine(),
        "",
        f"{'night':7}{'program':9}{'wall s':>8}{'cpu s':>8}{'RSS MiB':>9}{'tree MiB':>10}"
        f"{'this / ours':>13}   rounds",
    ]
    for night, found in results.items():
        label = night + (f" x{options.frames}" if options.frames > 1 else "")
        for name, runs in found["runs"].items():
            wall, cpu, rss = (statistics.median(r[k] for r in runs) for k in ("wall", "cpu", "rss"))
            tree = found["tree"].get(name)
            told = f"{tree['pss']:.0f}" if tree else ""
            ratios = _ratios(found, name, "wall")
            middle = f"{statistics.median(ratios):.2f}" if ratios else ""
            spread = " ".join(f"{q:.2f}" for q in ratios)
            lines.append(
                f"{label:7}{name:9}{wall:8.2f}{cpu:8.2f}{rss:9.0f}{told:>10}{middle:>13}   {spread}"
            )
        if "agreement" in found:
            a = found["agreement"]
            lines.append(
                f"       {a['frames']} science frames compared: 99.9 % of the pixels within "
                f"{a['sigma']:.3f} sigma of the guide's, whose level is {a['level']:.4f} of ours"
            )
    lines += [
        "",
        "wall, cpu: medians. RSS: the largest process. tree: the most that all processes had in",
        f"memory at one time, shared pages counted once, looked at every {1000 * SAMPLED:.0f} ms in",
        "a run of its own. Page cache warm, the disk at rest before each; programs in turn, whole",
        "processes, round by round.",
    ]
    return "\n".join(lines)


def _cost(results: dict) -> str:
    """Tell what a frame costs, and how many cores ask all of a storage."""
    lines = [
        f"{'':8}{'processor':>12}{'read':>10}{'written':>10}{'moved a core':>15}"
        f"{'cores that move':>19}",
        f"{'night':8}{'s a frame':>12}{'MB':>10}{'MB':>10}{'MB/s':>15}"
        + "".join(f"{speed:>4} GB/s" for speed in STORAGES),
    ]
    for night, found in results.items():
        if "ours" not in found["runs"]:
            continue
        seconds = statistics.median(r["cpu"] for r in found["runs"]["ours"]) / found["files"]
        read, written = (found[k] / found["files"] / 1e6 for k in ("raw", "made"))
        core = (read + written) / seconds
        cores = "".join(f"{1000 * speed / core:9.1f}" for speed in STORAGES)
        lines.append(f"{night:8}{seconds:12.3f}{read:10.2f}{written:10.2f}{core:15.0f}{cores}")
    return "\n".join(lines)


def _ratios(found: dict, name: str, what: str) -> list[float]:
    ours = found["runs"].get("ours", [])
    return [r[what] / o[what] for r, o in zip(found["runs"][name], ours, strict=False)]


def _machine() -> list[str]:
    """Say when this was measured, with what, and on what machine."""
    packages = ("ccdprofiles", "ccdproc", "astropy", "numpy")
    told = [f"{name} {version(name)}" for name in packages]
    told.append(f"Python {platform.python_version()}")
    if shutil.which("dpkg-query"):
        ask = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", "iraf", "siril"]
        told += subprocess.run(ask, capture_output=True, text=True, check=False).stdout.splitlines()
    return [
        f"{time.strftime('%Y-%m-%d')}, {_processor()}, {os.cpu_count()} cores, "
        f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB, "
        f"{platform.system()} {platform.release().split('-')[0]}",
        ", ".join(told),
    ]


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    names = [w.partition(":")[2].strip() for w in text.splitlines() if w.startswith("model name")]
    return names[0] if names else platform.machine()


def _picture(results: dict, path: Path) -> None:
    """Draw how many times as long, and as much memory, the others take."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    programs = [n for n in PROGRAMS if any(n in f["runs"] for f in results.values())]
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 1.2 + 0.9 * len(results)), sharey=True)
    colours = dict(zip(PROGRAMS, ("#8a8f98", "#1f6feb", "#c77d3b", "#4f9d69"), strict=True))
    height = 0.8 / len(programs)
    for axis, what in zip(axes, ("wall", "rss"), strict=True):
        for place, (night, found) in enumerate(results.items()):
            for step, name in enumerate(n for n in programs if n in found["runs"]):
                ratio = statistics.median(_ratios(found, name, what))
                at = place + (step - (len(programs) - 1) / 2) * height
                label = NAMES[name] if night == next(iter(results)) else None
                axis.barh(at, ratio, 0.9 * height, color=colours[name], label=label)
                axis.text(ratio * 1.03, at, f"{ratio:.1f}", va="center", fontsize=8)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.margins(x=0.12)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_yticks(range(len(results)), [f"{n}: {CONTENTS[n]}" for n in results])
    axes[0].invert_yaxis()
    axes[0].set_xlabel("seconds, as a multiple of ours")
    axes[1].set_xlabel("memory, as a multiple of ours")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="upper center", ncols=4, fontsize=8)
    figure.tight_layout(rect=(0, 0, 1, 0.92))
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
