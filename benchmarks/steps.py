"""Say where the time of one night goes, step by step.

    python benchmarks/steps.py NIGHT --profile benchmarks/profiles/night_a.py

Reduces the night in this process with one worker, looks a few hundred times a second at
what every thread does, and adds the seconds up: by phase of the night (scan, plan,
measure, masters of each type, science, report) and, within each, by what is done
(reading, preparing, combining, writing …), then by function. The phase is told by the
outermost function of the package that has one, the work by the innermost.
"""

from __future__ import annotations

import argparse
import linecache
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

PACKAGE = Path(find_spec("ccdprofiles").origin).parent

PHASES = {
    "scan": "scan",
    "make_plan": "plan",
    "measure": "measure",
    "night_table": "report",
    "summary": "report",
    "frames_table": "report",
}
"""The functions that begin a phase; of others the module does."""

PHASE_MODULES = {
    "plan.frames": "scan",
    "camera.registry": "scan",
    "plan.plan": "plan",
    "reduce.masters": "masters",
    "reduce.science": "science",
    "report.table": "report",
    "report.report": "report",
    "report.page": "report",
}

WORK = {
    "files.raw": "reading",
    "pixels.prepare": "preparing",
    "pixels.combine": "combining",
    "pixels.response": "spectral flat",
    "pixels.noise": "noise",
    "pixels.calibrate": "calibrating",
    "pixels.cosmics": "cosmic rays",
    "reduce.keywords": "cards",
    "products.product": "writing",
}
"""What a module does; the others make up the rest of their phase."""

LINES = {
    "fsync": "fsync",
    "sha256": "hashing",
    "hashlib": "hashing",
    "checksum": "checksums",
    "_sum32": "checksums",
    "_level": "levels",
}
"""What a line or a function does that holds one of these words."""

PAUSE = 0.002

Stack = list[tuple[str, FrameType]]


class Sampler(threading.Thread):
    """Looks at what all threads do, and adds up the seconds between two looks."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.work: Counter[tuple[str, str]] = Counter()
        self.functions: Counter[str] = Counter()
        self.ended = threading.Event()

    def run(self) -> None:
        """Sample until told to end; a look that had to wait counts for as long."""
        last = time.perf_counter()
        while not self.ended.wait(PAUSE):
            frames = sys._current_frames()
            now = time.perf_counter()
            for thread, frame in frames.items():
                if thread != self.ident:
                    self._add(frame, now - last)
            last = now

    def _add(self, frame: FrameType, seconds: float) -> None:
        stack, imports = [], False
        waits = frame.f_code.co_filename.endswith(("threading.py", "queue.py", "selectors.py"))
        for inner in _outwards(frame):
            path = Path(inner.f_code.co_filename)
            imports = imports or (not stack and "importlib" in path.name)
            if path.is_relative_to(PACKAGE):
                stack.append((".".join(path.relative_to(PACKAGE).with_suffix("").parts), inner))
        if not stack or waits:
            return
        phase = _phase(stack)
        doing = "imports" if imports else _work(stack)
        module, innermost = stack[0]
        self.work[phase, doing] += seconds
        self.functions[f"{module}.{innermost.f_code.co_name}"] += seconds


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _phase(stack: Stack) -> str:
    """Name the phase by the outermost function that begins one."""
    for module, frame in reversed(stack):
        name = frame.f_code.co_name
        phase = PHASES.get(name) or PHASE_MODULES.get(module)
        if phase == "masters":
            return f"masters {_kind(stack)}".rstrip()
        if phase:
            return phase
    return "rest"


def _kind(stack: Stack) -> str:
    """Find the type of the master that is being made among the variables at hand."""
    for _, frame in stack:
        variables = frame.f_locals
        for holder in (variables.get("master"), getattr(variables.get("self"), "master", None)):
            kind = getattr(holder, "type", None)
            if isinstance(kind, str):
                return kind
    return ""


def _work(stack: Stack) -> str:
    """Name what is done by the innermost function, and by its line."""
    _, frame = stack[0]
    text = linecache.getline(frame.f_code.co_filename, frame.f_lineno) + frame.f_code.co_name
    told = next((doing for word, doing in LINES.items() if word in text), None)
    if told:
        return told
    return next((WORK[module] for module, _ in stack if module in WORK), "rest")


def main() -> None:
    """Reduce a night under observation, and print where its time went."""
    options = _options()
    output = Path(tempfile.mkdtemp(prefix="steps-", dir=options.work))
    sampler = Sampler()
    sampler.start()
    started, cpu = time.perf_counter(), time.process_time()
    try:
        from ccdprofiles import reduce_night

        night = reduce_night(options.night, output, profile=options.profile, jobs=options.jobs)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    finally:
        sampler.ended.set()
        sampler.join()
        shutil.rmtree(output)
    print(str(night).splitlines()[1])
    print(_table(sampler, wall, cpu, options.functions))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("night", type=Path)
    parser.add_argument("--profile", help="as for ccdprofiles reduce")
    parser.add_argument("-j", "--jobs", type=int, default=1)
    parser.add_argument("--functions", type=int, default=20, help="how many to show")
    parser.add_argument("--work", type=Path, help="where products go for a while")
    return parser.parse_args()


def _table(sampler: Sampler, wall: float, cpu: float, functions: int) -> str:
    total = sum(sampler.work.values())
    lines = [f"{wall:.2f} s, of the processors {cpu:.2f} s, seen at work {total:.2f} s", ""]
    phases: Counter[str] = Counter()
    for (phase, _), seconds in sampler.work.items():
        phases[phase] += seconds
    for phase, seconds in phases.most_common():
        lines.append(_line(phase, seconds, total))
        within = Counter({w: s for (p, w), s in sampler.work.items() if p == phase})
        lines += [_line(f"    {what}", part, total) for what, part in within.most_common()]
    lines += ["", "by function"]
    lines += [_line(f"    {n}", s, total) for n, s in sampler.functions.most_common(functions)]
    return "\n".join(lines)


def _line(what: str, seconds: float, total: float) -> str:
    return f"{what:40}{seconds:9.2f} s{100 * seconds / total:7.1f} %"


if __name__ == "__main__":
    main()
