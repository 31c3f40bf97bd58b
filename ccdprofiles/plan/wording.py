"""The wording of a plan: exposures, dates, card values, lists of files and names of products."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .reason import Reason

__all__ = []


def seconds(value: float | None) -> str:
    """Write an exposure with its unit: ``"300 s"``."""
    return "unknown exposure" if value is None else f"{value:.6g} s"


def plural(kind: str) -> str:
    """Return the plural of a type of frame."""
    return "biases" if kind == "bias" else f"{kind}s"


def in_filter(filter: str | None) -> str:
    """Write a filter after the name of its frames: ``" in R"``."""
    return f" in {filter}" if filter else ""


def temperature_range(chips: Sequence[float]) -> str:
    """Write the lowest and the highest of several temperatures."""
    ends = dict.fromkeys(f"{chip:.4g}" for chip in (min(chips), max(chips)))
    return f"{' to '.join(ends)} °C"


def card_value(value: object) -> str:
    """Write the value of a card; ``"missing"`` if there is none."""
    return "missing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def cards_phrase(cards: Iterable[tuple[str, object]], before: str = "") -> str:
    """Write cards and their values after a noun, or after the cards that precede them.

    >>> from ccdprofiles.plan.wording import cards_phrase
    >>> cards_phrase([("GAIN", 100.0), ("READOUTM", None)])
    ' with GAIN = 100 and READOUTM missing'
    """
    text = ""
    for card, value in cards:
        joint = "and" if before or text else "with"
        text += f" {joint} {card} {'missing' if value is None else f'= {card_value(value)}'}"
    return text


def tally(values: Sequence[str], files: Sequence[str]) -> str:
    """Count values: ``"0 in 9 frames and 1 in bias1.fits"``."""
    by_value: dict[str, list[str]] = {}
    for value, file in zip(values, files, strict=True):
        by_value.setdefault(value, []).append(file)
    counts = [
        f"{value} in {members[0] if len(members) == 1 else f'{len(members)} frames'}"
        for value, members in sorted(by_value.items(), key=lambda item: -len(item[1]))
    ]
    return ", ".join(counts[:-1]) + (" and " if counts[1:] else "") + counts[-1]


def file_name(text: str) -> str:
    """Make a name that is valid in every file system from any text of a header.

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


def grouped(reasons: Iterable[Reason]) -> list[str]:
    """Write what is true of several files as one line: ``"3 files (a.fits … c.fits): …"``.

    Parameters
    ----------
    reasons : iterable of Reason

    Examples
    --------
    >>> from ccdprofiles.plan.reason import Reason
    >>> from ccdprofiles.plan.wording import grouped
    >>> grouped([Reason(file, "cut", "too short.") for file in ("a.fits", "b.fits", "c.fits")])
    ['3 files (a.fits … c.fits): too short.']
    """
    # Several frames may share the reason of the master to which they belong.
    files_of: dict[str, dict[str, None]] = {}
    for reason in reasons:
        files_of.setdefault(reason.text, {})[reason.file] = None
    return [
        f"{file}: {text}"
        if len(files) == 1
        else f"{len(files)} files ({file} … {[*files][-1]}): {text}"
        for text, files in files_of.items()
        for file in [next(iter(files))]
    ]
