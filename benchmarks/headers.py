"""Time what comes before the first pixel: the headers of many frames, and their plan.

    python benchmarks/headers.py --number 20000

Writes frames of ten instruments with 60 cards each, whose pixels are holes that no
disk stores, and prints the seconds that a plain read of the header blocks, the frames,
the plan and the frames table take, each the median of several rounds; then those of
``ccdprofiles plan`` as a whole process.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from math import prod
from pathlib import Path

from ccdprofiles.night import scan_night
from ccdprofiles.plan.frames import frames_table
from ccdprofiles.plan.planner import make_plan
from ccdprofiles.simulate.cameras import CAMERAS
from ccdprofiles.simulate.exposures import Exposure, Exposures

HERE = Path(__file__).resolve().parent
CARDS = 60
BLOCK = 2880

# Rows and columns of a raw frame, then of its data; the binning; the filters.
SHIPPED = {
    "lfc": (0, (4128, 2080, 4128, 2048), (1, 1), ("g'", "r'", "i'")),
    "cg16m": (1, (4096, 4109, 4096, 4096), (1, 1), ("B", "V", "R")),
    "proem": (2, (256, 256, 256, 256), (4, 4), ("BG40",)),
    "pt5m": (3, (736, 1092, 736, 1092), (2, 2), ("B", "V")),
    "kosmos": (4, (4096, 2148, 4096, 2048), (1, 1), ("empty2",)),
    "dis_blue": (5, (1078, 2098, 1028, 2048), (1, 1), ("",)),
    "dis_red": (6, (1078, 2098, 1028, 2048), (1, 1), ("",)),
}
# INSTRUME, rows, columns and filters of those that write plain words.
PLAIN = {
    "sbo": ("SBO", 1024, 1024, ("V",)),
    "night_a": ("LFC", 4128, 2108, ("g", "i")),
    "night_b": ("TE16", 4096, 4109, ("g", "r")),
}


def main() -> None:
    """Make the frames, read them, print."""
    options = _options()
    folder = options.work / f"headers_{options.number}"
    if not folder.is_dir():
        print(f"{make(folder, options.number)} frames written to {folder}")
    profiles = sorted((HERE / "profiles").glob("*.py"))
    rounds = [_round(folder, profiles) for _ in range(options.rounds)]
    print(f"{options.number} frames of {CARDS} cards, median of {options.rounds} rounds")
    for what in rounds[0]:
        seconds = statistics.median(r[what] for r in rounds)
        print(f"{what:30}{seconds:8.3f} s{1e6 * seconds / options.number:8.1f} us a frame")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'memory at most':30}{memory:8.0f} MiB")
    command = [sys.executable, "-m", "ccdprofiles", "plan", str(folder)]
    command += [f"--profiles={profile}" for profile in profiles]
    walls = [_wall(command) for _ in range(options.rounds)]
    print(f"{'ccdprofiles plan':30}{statistics.median(walls):8.3f} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=HERE / "made", help="where the frames go")
    return parser.parse_args()


def _round(folder: Path, profiles: list[Path]) -> dict[str, float]:
    marks = [time.perf_counter()]
    plain_read(folder)
    marks.append(time.perf_counter())
    frames = scan_night(folder, profiles=profiles)
    marks.append(time.perf_counter())
    plan = make_plan(frames)
    marks.append(time.perf_counter())
    frames_table(frames)
    marks.append(time.perf_counter())
    if plan.set_aside or not plan.products:
        raise SystemExit(f"the frames are not as they should be:\n{plan}")
    names = ("plain read of the blocks", "frames", "plan", "frames table")
    seconds = dict(zip(names, (b - a for a, b in pairwise(marks)), strict=True))
    return seconds | {"frames, plan and table": marks[-1] - marks[1]}


def plain_read(folder: Path) -> None:
    """Open every file, read its first blocks, close it: no index can do with less."""
    for entry in os.scandir(folder):
        descriptor = os.open(entry.path, os.O_RDONLY)
        os.read(descriptor, 4 * BLOCK)
        os.close(descriptor)


def _wall(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    return time.perf_counter() - started


def make(folder: Path, number: int) -> int:
    """Write a night of so many frames, the same number of each instrument."""
    folder.mkdir(parents=True)
    written = 0
    for camera in (*SHIPPED, *PLAIN):
        for cards, rows, columns in _frames(camera, number // (len(SHIPPED) + len(PLAIN))):
            _write(folder / f"{camera}-{written:06d}.fits", cards, rows, columns)
            written += 1
    return written


def _frames(camera: str, number: int) -> Iterator[tuple[dict, int, int]]:
    """Give the cards and the raw shape of one instrument's frames."""
    filters = SHIPPED[camera][-1] if camera in SHIPPED else PLAIN[camera][-1]
    for index in range(number):
        kind, exposure = _kind(index, number, camera)
        when = datetime(2020, 3, 17, 17) + timedelta(seconds=7 * index)
        filter_ = filters[index % len(filters)] if kind in ("flat", "science") else None
        if camera in PLAIN:
            instrument, rows, columns, _ = PLAIN[camera]
            yield _plain_cards(instrument, kind, exposure, filter_, when), rows, columns
            continue
        place, size, binning, _ = SHIPPED[camera]
        shot = Exposure(
            type=kind,
            exposure=exposure,
            filter=filter_,
            object={"dark": "Dark", "science": f"field{index % 7}"}.get(kind, kind),
            when=when,
            number=index,
            running=index,
            rank=index,
            binning=binning,
            exposures=Exposures(kind, 1, exposure),
            size=size,
        )
        yield CAMERAS[place].cards(shot), *size[:2]


def _kind(index: int, number: int, camera: str) -> tuple[str, float]:
    """Begin with biases, darks of two exposures and flats; six in ten are of the sky."""
    part = index / number
    if part < 0.1 and camera not in ("proem", "sbo"):
        return "bias", 0.0
    if part < 0.25:
        return "dark", (3.0, 300.0)[index % 2]
    if part < 0.4:
        return "flat", 3.0
    return "science", 300.0


def _plain_cards(
    instrument: str, kind: str, exposure: float, filter_: str | None, when: datetime
) -> dict:
    return {
        "OBJECT": f"a {kind}",
        "IMAGETYP": kind.upper(),
        "EXPTIME": (exposure, "seconds"),
        "FILTER": filter_ or "none",
        "DATE-OBS": f"{when:%Y-%m-%dT%H:%M:%S}",
        "INSTRUME": instrument,
        "TELESCOP": "SYNTH",
        "XBINNING": 1,
        "YBINNING": 1,
        "BUNIT": "adu",
        "CHIPID": 9,  # without it, the LFC of Palomar would take them for its own
    }


def _write(path: Path, cards: dict, rows: int, columns: int) -> None:
    """Write a header; the pixels behind it are a hole of the right size."""
    cards = {
        "SIMPLE": True,
        "BITPIX": 16,
        "NAXIS": 2,
        "NAXIS1": columns,
        "NAXIS2": rows,
        "BSCALE": 1,
        "BZERO": 32768,
    } | cards
    for n in range(CARDS - 1 - len(cards)):
        cards[f"TELEM{n:02d}"] = (n * 1.37 + int(path.stem[-6:]) % 100, f"telemetry value {n}")
    lines = [_card(keyword, said) for keyword, said in cards.items()]
    block = "".join([*lines, "END".ljust(80)]).encode()
    header = block.ljust(-(-len(block) // BLOCK) * BLOCK)
    with open(path, "wb") as stream:
        stream.write(header)
        stream.truncate(len(header) + -(-2 * prod((rows, columns)) // BLOCK) * BLOCK)


def _card(keyword: str, said: object) -> str:
    value, comment = said if isinstance(said, tuple) else (said, "")
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = f"{chr(39) + value.replace(chr(39), 2 * chr(39)).ljust(8) + chr(39):20}"
    else:
        text = f"{value!r:>20}"
    return f"{keyword:8}= {text}{' / ' + comment if comment else ''}".ljust(80)[:80]


if __name__ == "__main__":
    main()
