"""Profiles that other installed packages offer, through the entry points of this package."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint

from ..errors import ProfileError
from .profile import Profile
from .profile_file import read_profiles
from .watch import Failure, call, place, reason

__all__ = ["ENTRY_POINTS", "Unreadable", "installed_profiles"]

ENTRY_POINTS = "ccdprofiles.profiles"


@dataclass(frozen=True)
class Unreadable:
    """A file or an entry point that cannot be read as a profile.

    Parameters
    ----------
    names : tuple of str
        Names of the profiles that it may contain.
    sentence : str
        What is wrong with it.
    """

    names: tuple[str, ...]
    sentence: str

    def may_hold(self, name: str) -> bool:
        """Return True if it may contain a profile of this name."""
        return any(name == stem or name.startswith(f"{stem}_") for stem in self.names)


def installed_profiles() -> Iterator[Profile | Unreadable]:
    """Iterate over the profiles of installed packages, and what cannot be read as one."""
    points = []
    for item in _entry_points():
        if isinstance(item, Unreadable):
            yield item
        else:
            points.append(item)
    for point in sorted(points, key=lambda p: (p.name, _package(p))):
        try:
            yield from _profiles_of(point)
        except ProfileError as error:
            stem = point.module.rpartition(".")[2]
            yield Unreadable((point.name, stem), str(error))


def _entry_points() -> Iterator[EntryPoint | Unreadable]:
    """Iterate over what installed packages offer, and those whose metadata cannot be read."""
    try:
        points = [*importlib.metadata.entry_points(group=ENTRY_POINTS)]
    except Exception:  # a single package with a broken file would hide all others
        for package in importlib.metadata.distributions():
            try:
                yield from package.entry_points.select(group=ENTRY_POINTS)
            except Exception as error:
                name = getattr(package, "_path", "an installed package")
                sentence = (
                    f"{name}: its list of entry points cannot be read ({reason(error)}); the package is "
                    "ignored; reinstall or remove it."
                )
                yield Unreadable((), sentence)
    else:
        yield from points


def _profiles_of(point: EntryPoint) -> tuple[Profile, ...]:
    """Return what an entry point offers: a profile, or the profiles of a module.

    Raises
    ------
    ProfileError
        If it cannot be imported, or is something else; the package is named.
    """
    try:
        return call(_loaded, point)
    except Failure as error:
        why = f"cannot be read ({error.reason}{error.place})"
    except ProfileError as error:
        why = f"cannot be read ({str(error).removesuffix('.')})"
    except Exception as error:
        why = f"cannot be read ({reason(error)}{place(error)})"
    raise ProfileError(
        f"the installed profile {point.name!r} of {_package(point)} {why}; it is "
        "ignored; correct or remove the package."
    )


def _loaded(point: EntryPoint) -> tuple[Profile, ...]:
    offered = point.load()
    if isinstance(offered, Profile):
        return (offered if offered.name else replace(offered, name=point.name, file=point.value),)
    if getattr(offered, "__file__", None):
        return read_profiles(offered.__file__)
    raise ProfileError(
        f"{point.value} is of type {type(offered).__name__}, not a Profile or a module."
    )


def _package(point: EntryPoint) -> str:
    """Return the installed package of an entry point, with its version."""
    package = point.dist
    try:
        return point.value if package is None else f"{package.name} {package.version}"
    except Exception:  # metadata may be missing or unreadable
        return point.value
