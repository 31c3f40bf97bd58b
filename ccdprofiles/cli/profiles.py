"""``ccdprofiles profiles``: all profiles, or the text of one."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ProfileError
from .ends import DONE
from .options import add_command
from .terminal import show, show_verbatim

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
    from ..camera.registry import Registry
    from ..camera.settings import period_text

    registry = Registry.gather()
    width = max(len(p.name) for p in registry.profiles)
    for profile in sorted(registry.profiles, key=lambda p: p.name):
        names = ", ".join(profile.instruments) or "by a function"
        where = "".join(f", {k} {v!r}" for k, v in profile.where.items())
        dates = f", {period_text(profile.valid)}" if profile.valid else ""
        status = f"  [{profile.status}]" if profile.status else ""
        show(f"{profile.name:{width}}  {names}{where}{dates}  {profile.telescope}{status}".rstrip())
    for sentence in registry.replaced:
        show(sentence)


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
