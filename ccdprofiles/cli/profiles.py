"""``ccdprofiles profiles``: all profiles, or the text of one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ProfileError
from .ends import DONE
from .options import add_command
from .terminal import show, show_verbatim

if TYPE_CHECKING:
    from ..camera.profile import Profile

__all__ = ["add_profiles"]


def add_profiles(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = add_command(commands, "profiles", _run, "list the profiles, or print one")
    parser.add_argument("name", nargs="?", metavar="NAME", help="the name or file of a profile")


def _run(options: argparse.Namespace) -> int:
    """Show the profiles, and return the exit status."""
    if options.name is None:
        _list()
    else:
        _show(options.name)
    return DONE


def _list() -> None:
    """Show a table of the profiles: name, status, telescope, and what a header must have."""
    from ..camera.registry import Registry

    registry = Registry.gather()
    profiles = sorted(registry.profiles, key=lambda p: p.name)
    rows = [(p.name, p.status, p.telescope, _chosen_by(p)) for p in profiles]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *cells, last in rows:
        padded = [f"{c:{w}}" for c, w in zip(cells, widths, strict=True) if w]
        show("  ".join([*padded, last]).rstrip())
    for sentence in registry.replaced:
        show(sentence)


def _chosen_by(profile: Profile) -> str:
    """Return the names of a camera, and the other cards and dates by which it is recognised."""
    from ..camera.settings import period_text

    names = profile.instruments
    more = f" and {len(names) - 3} more" if len(names) > 4 else ""
    words = [", ".join(names[:3] if more else names) + more or "by a function"]
    words += [f"{card} {_values(value)}" for card, value in profile.where.items()]
    return ", ".join([*words, *([period_text(profile.valid)] if profile.valid else [])])


def _values(value: object) -> str:
    """Return the values that a card may have."""
    values = value if isinstance(value, tuple) else (value,)
    return " or ".join("missing" if v is None else repr(v) for v in values)


def _show(name: str) -> None:
    from ..camera.registry import Registry, read_profiles
    from ..files.places import local_path

    path = local_path(name, "the profile", ProfileError)
    if path.suffix == ".py" and path.is_file():
        chosen = read_profiles(path)
    else:
        chosen = (Registry.gather()[name],)
    file = Path(chosen[0].file)
    if not file.is_file():
        show("\n".join(str(profile) for profile in chosen))
        return
    text = file.read_text(encoding="utf-8")
    show_verbatim(f"# {', '.join(p.name for p in chosen)}: {file}\n\n{text}")
    if ".but(" in text:  # parts of a profile may be in another file
        for profile in chosen:
            show_verbatim(f"\n# {profile.name} with all its values:\n# {profile}")
