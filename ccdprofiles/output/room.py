"""What a run needs from the system: disk space and open files."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError, OutputError
from ..plan.frames import Frame
from ..plan.plan import Input, Plan

__all__ = ["check_files", "check_room"]

SPARE_FILES = 40
"""Other open files: the standard streams, log and lock, libraries, pipes between workers."""

_HEADERS = 20 * 2880
"""Upper limit of the bytes that the headers and the provenance of a product take."""


def check_room(output: Path, plan: Plan, frames: Sequence[Frame], overwrite: bool) -> None:
    """Refuse to start if the disk has too little space for the products that are still to be made.

    The space of an earlier product is available to the one that replaces it; while one is replaced,
    both are on the disk.

    Raises
    ------
    OutputError
    """
    by_name = {frame.file: frame for frame in frames}
    sizes = {m.name: _size(by_name, m.inputs[0]) for m in plan.masters if m.inputs}
    sizes |= {p.name: _size(by_name, p.input) for p in plan.products}
    sizes |= {m.name: sum(sizes[name] for _, name in m.parts) for m in plan.joined}
    exists = output.exists()
    present = {name: _bytes_of(output / name) if exists else 0 for name in sizes}
    # Headers are only estimated, so they count for new products alone.
    needed = sum(
        max(0, size - present[n]) if present[n] else size + _HEADERS for n, size in sizes.items()
    )
    if overwrite:
        needed += max((size + _HEADERS for n, size in sizes.items() if present[n]), default=0)
    root = output.resolve()
    free = shutil.disk_usage(next(p for p in (root, *root.parents) if p.is_dir())).free
    if needed > free:
        raise OutputError(
            f"the products need {_amount(needed)}, but the disk of {output} has only {_amount(free)} "
            "free; free some space, or use a folder on another disk."
        )


def check_files(plan: Plan, frames: Sequence[Frame]) -> None:
    """Raise the limit of open files as compressed frames require, or refuse to start.

    Raises
    ------
    InputError
    """
    packed = {f.file for f in frames if f.raw and (f.raw.gzipped or f.raw.images[0].packed)}
    most = max(plan.masters, key=lambda m: sum(i.file in packed for i in m.inputs), default=None)
    number = sum(i.file in packed for i in most.inputs) if most else 0
    if most and number and not _may_open(number + SPARE_FILES):
        raise InputError(
            f"{most.name} is made of {number} compressed frames, all of which are open at the same time, but "
            "this system allows fewer open files; raise its limit (ulimit -n), or decompress them."
        )


def _may_open(wanted: int) -> bool:
    """Ask the system for a number of open files, and return True if it allows them."""
    try:
        import resource
    except ImportError:  # Windows, where the limit is high
        return True
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted <= hard or (hard == resource.RLIM_INFINITY != soft and soft < wanted):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return True
    return soft == resource.RLIM_INFINITY or soft >= wanted


def _size(frames: Mapping[str, Frame], chosen: Input) -> int:
    amplifiers = frames[chosen.file].amplifiers
    assert amplifiers is not None, chosen.file
    rows, columns = amplifiers.shape
    # Image, mask and flags, and if the gain is known the uncertainty.
    return rows * columns * (7 if "gain" in amplifiers.missing else 11)


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _amount(size: int) -> str:
    """Return a number of bytes with its unit.

    >>> from ccdprofiles.output.room import _amount
    >>> _amount(1_234_567_890)
    '1.23 GB'
    """
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"
