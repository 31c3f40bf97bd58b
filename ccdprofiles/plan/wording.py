"""How a plan writes exposures, dates, lists of files and names of products."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

__all__ = []


def seconds(value: float | None) -> str:
    """Write an exposure as people do: ``"300 s"``."""
    return "unknown exposure" if value is None else f"{value:.6g} s"


def file_name(text: str) -> str:
    """Make a name that is safe in every file system, whatever a header said.

    >>> from ccdprofiles.plan.wording import file_name
    >>> file_name("../../g'")
    'g'
    >>> file_name("H-alpha 656/3")
    'H-alpha_656_3'
    """
    clean = re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("._-")[:60]
    if clean.upper() in {"CON", "PRN", "AUX", "NUL"} or re.fullmatch(r"(?i)(com|lpt)\d", clean):
        clean = f"_{clean}"
    return clean or "unnamed"


@lru_cache(2**16)
def time_of(date: str | None) -> float | None:
    """Read a date and time as seconds since 1970, or None where it is none."""
    if not date:
        return None
    try:
        when = datetime.fromisoformat(date.strip())
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def grouped(reasons: Iterable[str]) -> list[str]:
    """Say once what is true of several files, as ``"3 files (a.fits … c.fits): …"``.

    >>> from ccdprofiles.plan.wording import grouped
    >>> grouped(["a.fits: too short.", "b.fits: too short.", "c.fits: too short."])
    ['3 files (a.fits … c.fits): too short.']
    """
    together: dict[str, list[str]] = {}
    # Several frames may share the reason of the master that they went into.
    for reason in dict.fromkeys(reasons):
        file, _, told = reason.partition(": ")
        together.setdefault(told or file, []).append(file)
    return [
        f"{files[0]}: {told}"
        if len(files) == 1
        else f"{len(files)} files ({files[0]} … {files[-1]}): {told}"
        for told, files in together.items()
    ]
