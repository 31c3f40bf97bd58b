"""``ccdprofiles info``: the frames of a night and the profile chosen for each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .ends import DONE, INCOMPLETE, NOTHING
from .options import add_command, add_night, night_of
from .terminal import rows_of, show, show_json

if TYPE_CHECKING:
    from astropy.table import Table

    from ..camera.profile import Profile
    from ..plan.frames import Frame

__all__ = ["add_info"]

_FROM_HEADER = ("profile", "type", "exposure", "filter", "binning", "object", "date")
"""Columns that show the words of the header for a camera without a profile."""


def add_info(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "info",
        _run,
        "list the frames of a night and the profile chosen for each, with the reason",
    )
    add_night(parser)


def _run(options: argparse.Namespace) -> int:
    """Show the frames, and return the exit status."""
    from ..night import scan_night
    from ..plan.frames import SET_ASIDE, frames_table

    frames = scan_night(options.night, **night_of(options))
    table = frames_table(frames)
    if options.json:
        show_json(_json_rows(table, frames))
    elif not frames:
        show(f"{options.night} contains no file; specify the folder of the night.")
    else:
        _show(table, frames, options.profiles)
    if not frames:
        return NOTHING
    return INCOMPLETE if any(f.verdict == SET_ASIDE for f in frames) else DONE


def _json_rows(table: Table, frames: Sequence[Frame]) -> list[dict[str, object]]:
    from ..plan.unknown import header_words, is_unknown

    rows = [{**row, "code": f.code} for row, f in zip(rows_of(table), frames, strict=True)]
    for row, frame in zip(rows, frames, strict=True):
        if is_unknown(frame):
            row["header"] = header_words(frame.header)
    return rows


def _show(table: Table, frames: Sequence[Frame], profiles: Sequence[str]) -> None:
    from ..camera.registry import Registry
    from ..plan.unknown import is_unknown, overview
    from ..plan.wording import grouped

    shown = _with_unknown(table, frames)
    shown.remove_columns(["amplifiers", "reason"])
    show("\n".join(shown.pformat(max_lines=-1, max_width=-1)))
    unknown = [frame for frame in frames if is_unknown(frame)]
    if unknown:
        show(
            "\nThere is no profile for these cameras; values with a ? are the words of their headers"
        )
        show("\n".join(overview(unknown)))
        show("  To write a profile, put these cards into a copy of an existing one, as printed by")
        show("  ccdprofiles profiles sbo")
    _show_list("Profiles", _choices(frames))
    _show_list("Not used", grouped(f.fault for f in frames if f.fault))
    for sentence in Registry.gather(profiles).replaced:
        show(f"\n{sentence}")


def _show_list(title: str, entries: Sequence[str]) -> None:
    if entries:
        show(f"\n{title}")
    for entry in entries:
        show(f"  {entry}")


def _with_unknown(table: Table, frames: Sequence[Frame]) -> Table:
    """Return the table with the header words of unknown cameras, marked by question marks."""
    from ..plan.unknown import is_unknown, shown_words

    shown = table.copy()
    words = {n: shown_words(frame) for n, frame in enumerate(frames) if is_unknown(frame)}
    for name in _FROM_HEADER if words else ():
        cells = [line.strip() for line in table[name].pformat(max_lines=-1, show_name=False)]
        cells = cells[-len(table) :]
        for n, own in words.items():
            cells[n] = "?" if name == "profile" else own.get(name, "--")
        shown.replace_column(name, cells)
        shown[name].unit = table[name].unit
    return shown


def _choices(frames: Sequence[Frame]) -> list[str]:
    """Return, for each profile, the number of its frames and the cards that decided."""
    choices: dict[tuple[str, str, str], set[str]] = {}
    for frame in frames:
        profile = frame.profile
        if profile is not None:
            cards = ["INSTRUME", *profile.where]
            why = "by " + ", ".join(f"{c} = {frame.header.get(c)!r}" for c in cards)
            if not profile.fits(frame.header):
                why = f"chosen by you; {_disagreement(profile, frame.header)}"
            choices.setdefault((profile.name, profile.file, why), set()).add(frame.raw_file)
    return [
        f"{name}: {len(files)} file{'s' if len(files) > 1 else ''}, {why}"
        for (name, _, why), files in choices.items()
    ]


def _disagreement(profile: Profile, header: Mapping[str, object]) -> str:
    """Return why a profile chosen by the caller would not be chosen for a header."""
    from ..camera.settings import period_text

    if profile.knows(header):
        dates = f"it is valid {period_text(profile.valid)}" if profile.valid else ""
        return profile.disagreement(header) or dates
    if "INSTRUME" not in header:
        return "the header has no INSTRUME"
    own = f", which is {' or '.join(map(repr, profile.instruments))}" if profile.instruments else ""
    return f"INSTRUME = {header['INSTRUME']!r} is not that of the profile{own}"
