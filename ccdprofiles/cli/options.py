"""Options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError

__all__ = ["add_command", "add_jobs", "add_night", "add_steps", "night_of", "steps_of"]

_LEAST_MEMORY = 256 * 2**20
"""Address space in bytes that the libraries and the work of a command need."""


def add_command(
    commands: argparse._SubParsersAction,
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
    *,
    least_memory: int = _LEAST_MEMORY,
    output_of: Callable[[argparse.Namespace], Path | None] = lambda options: None,
) -> argparse.ArgumentParser:
    """Add a command that ``run`` runs, and return its parser.

    ``least_memory`` is the address space in bytes below which it does not start;
    ``output_of`` returns the folder of its products, if it makes any.
    """
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(command=run, least_memory=least_memory, output_of=output_of)
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        "-q", "--quiet", action="store_true", help="print only errors and no progress bars"
    )
    loudness.add_argument("-v", "--verbose", action="store_true", help="log every step")
    return parser


def add_night(parser: argparse.ArgumentParser) -> None:
    """Add the night, its profiles and its calibrations."""
    parser.add_argument("night", metavar="DIR", help="the folder of the night")
    parser.add_argument("--profile", metavar="NAME|FILE", help="use this profile for every frame")
    _add_repeated(parser, "--profiles", "FILE|DIR", "more profiles to choose from")
    _add_repeated(
        parser,
        "--calibrations",
        "DIR",
        "also use the biases, darks and flats of another night (raw frames or masters)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def night_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_night` added as options of `ccdprofiles.plan_night`."""
    return {name: getattr(options, name) for name in ("profile", "profiles", "calibrations")}


def add_steps(parser: argparse.ArgumentParser) -> None:
    """Add what changes the plan of a night."""
    _add_repeated(parser, "--without", "STEP", "omit the bias, dark or flat on purpose")
    _add_repeated(
        parser, "--keep", "FILE", "use this frame even if it fails the checks of its pixels"
    )
    _add_repeated(parser, "--reject", "FILE", "reject this frame")
    parser.add_argument(
        "--min-frames",
        type=_one_or_more,
        metavar="N",
        help="the smallest number of frames for a master bias, dark or flat; by default that "
        "of the profile, or 3",
    )
    _add_repeated(
        parser,
        "--only",
        "WHAT",
        "make only this, and the masters that it needs: masters, a type of frame (bias, dark, "
        "flat, arc, science), filter=NAME, object=NAME, or the name or pattern of files, such as "
        "'ccd.03*.fits'",
        "; words of the same kind are alternatives, words of different kinds must all match",
    )
    _add_repeated(
        parser,
        "--set",
        "NAME=VALUE",
        "change a setting of the recipe for this run, such as electrons=True or "
        "combine.flat.clip=3",
        dest="changes",
    )


def steps_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_steps` added as options of `ccdprofiles.plan_night`."""
    names = ("without", "keep", "reject", "min_frames", "only")
    return {name: getattr(options, name) for name in names} | {"changes": _changes(options.changes)}


def add_jobs(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--jobs``; ``text`` is its help."""
    parser.add_argument("-j", "--jobs", type=_zero_or_more, default=0, metavar="N", help=text)


def _add_repeated(
    parser: argparse.ArgumentParser,
    name: str,
    metavar: str,
    text: str,
    more: str = "",
    dest: str | None = None,
) -> None:
    """Add an option that may be given several times."""
    parser.add_argument(
        name,
        dest=dest or name.removeprefix("--"),
        metavar=metavar,
        action="append",
        default=[],
        help=f"{text}; may be given several times{more}",
    )


def _changes(texts: Sequence[str]) -> dict[str, object]:
    """Return the settings to change; refuse a setting that is repeated."""
    from ..camera.changes import read_change

    changes: dict[str, object] = {}
    for text in texts:
        name, value = read_change(text)
        if name in changes:
            raise InputError(f"{name} is set twice; use --set {name}=VALUE once.")
        changes[name] = value
    return changes


def _one_or_more(text: str) -> int:
    return _whole(text, 1)


def _zero_or_more(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
    return int(text)
