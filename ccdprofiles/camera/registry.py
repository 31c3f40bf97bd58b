"""Collect the profiles of all places, and choose the one that fits a header.

Profiles are searched for in this order: files named by the caller, the user's own
folder, installed packages, the shipped ones. The folder of a night is never searched: a downloaded
night must not run code.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain, count
from pathlib import Path
from typing import Any

from ..errors import AmbiguousProfile, ProfileError, UnknownInstrument
from ..files.places import local_path
from .installed import Unreadable, installed_profiles
from .profile import Profile
from .profile_file import read_profiles
from .spelling import near_words
from .watch import call, place, reason

__all__ = ["Registry", "known_profiles", "load_profile", "shipped_folder", "user_folder"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Registry:
    """The profiles that a run may choose from.

    Parameters
    ----------
    profiles : tuple of Profile
        Each with a different name.
    replaced : tuple of str
        A sentence for every profile that another of the same name replaces.
    broken : tuple of str
        A sentence for everything in the user's own folder or an installed package that
        cannot be read as a profile. What it was meant to replace is ignored too.
    """

    profiles: tuple[Profile, ...]
    replaced: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @classmethod
    def gather(cls, named: str | Path | Profile | Iterable[str | Path | Profile] = ()) -> Registry:
        """Collect the caller's profiles, the user's, the installed and the shipped ones.

        Parameters
        ----------
        named : iterable of str, Path or Profile
            Names, files or folders of files, or profiles that were made in a program.

        Raises
        ------
        ProfileError
            If a file that is named cannot be read as a profile.
        """
        items = [*_named_profiles(named), *_own_profiles()]
        for item in chain(installed_profiles(), _profiles_in(shipped_folder())):
            # Never reduce with another camera than the one that was meant to replace it.
            if isinstance(item, Unreadable) or not any(
                u.may_hold(item.name) for u in items if isinstance(u, Unreadable)
            ):
                items.append(item)
        first: dict[str, Profile] = {}
        replaced = []
        for profile in (item for item in items if isinstance(item, Profile)):
            used = first.setdefault(profile.name, profile)
            if used is not profile and used.file != profile.file:
                replaced.append(
                    f"{used.file or 'a profile given by the caller'} replaces "
                    f"{profile.file}: both are named {profile.name!r}."
                )
        broken = tuple(item.sentence for item in items if isinstance(item, Unreadable))
        for sentence in broken:
            _warn(sentence)
        return cls(tuple(first.values()), tuple(replaced), broken)

    def __repr__(self) -> str:
        names = [p.name for p in self.profiles]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return f"<Registry: {', '.join(names[:8])}{more}>"

    def __getitem__(self, name: str) -> Profile:
        for profile in self.profiles:
            if profile.name == name:
                return profile
        near = near_words(name, (p.name for p in self.profiles), 3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ProfileError(
            f"there is no profile {name!r}; use one of "
            f"{', '.join(sorted(p.name for p in self.profiles))}.{hint}{self._perhaps()}"
        )

    def _perhaps(self) -> str:
        """Return which files may contain the profile, but cannot be read."""
        return "".join(f" A file that cannot be read may contain it: {s}" for s in self.broken)

    def _failed(self, header: Mapping) -> str:
        """Return which ``instrument`` functions fail on a header without a profile."""
        sentences = []
        for profile in self._by_instrument[1]:
            try:
                if callable(profile.instrument):
                    call(profile.instrument, header)
            except Exception as error:
                at = place(error) if profile.file else ""
                sentences.append(
                    f" instrument= of the profile {profile.name} fails on this header ({reason(error)}{at})."
                )
        return "".join(sentences)

    @cached_property
    def _by_instrument(self) -> tuple[dict[str, list[Profile]], list[Profile]]:
        named: dict[str, list[Profile]] = {}
        others = []
        for profile in self.profiles:
            for name in profile.instruments:
                named.setdefault(name.strip(), []).append(profile)
            if not profile.instruments:
                others.append(profile)
        return named, others

    @cached_property
    def _deciding(self) -> tuple[str, ...]:
        """The cards in ``where`` of any profile."""
        return tuple(sorted({card for p in self.profiles for card in p.where}))

    @cached_property
    def _chosen(self) -> dict[tuple, Profile]:
        """The profiles chosen so far, by the values of the deciding cards."""
        return {}

    def choose(self, header: Mapping) -> Profile:
        """Return the one profile that fits a header.

        Raises
        ------
        UnknownInstrument
            If none fits; the message names the most similar one.
        AmbiguousProfile
            If two fit; the message names both and the deciding cards.
        """
        values = [header.get("INSTRUME"), *(header.get(card) for card in self._deciding)]
        known = tuple(p.knows(header) for p in self._by_instrument[1])
        # T, 1 and 1.0 are equal in Python, and not in a header.
        key = (*values, *map(type, values), known)
        if key not in self._chosen:
            self._chosen[key] = self._fitting(header)
        return self._chosen[key]

    def _fitting(self, header: Mapping) -> Profile:
        by_name, others = self._by_instrument
        value: Any = header.get("INSTRUME")
        # No name of a camera is longer, and the search for the closest takes time.
        word = value.strip()[:100] if isinstance(value, str) else value
        named = by_name.get(word, [])
        fitting = [
            p
            for p in (*named, *(p for p in others if p.knows(header)))
            if p.disagreement(header) is None
        ]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            why = self._unknown(word, header, named)
            raise UnknownInstrument(why + self._failed(header) + self._perhaps())
        cards = sorted({"INSTRUME", *(card for p in fitting for card in p.where)})
        raise AmbiguousProfile(
            f"INSTRUME = {word!r} fits {len(fitting)} profiles, "
            + " and ".join(f"{p.name} ({p.file or 'given by the caller'})" for p in fitting)
            + f"; the cards that decide are {', '.join(cards)}; "
            "add a where= that distinguishes them to one profile, or choose one with --profile."
        )

    def _unknown(self, word: object, header: Mapping, near: Iterable[Profile]) -> str:
        if word is None:
            return (
                "no profile fits a header without INSTRUME; write a profile with "
                "instrument=None and where={...}, or choose one with --profile."
            )
        start = f"no profile fits INSTRUME = {word!r}"
        almost = [f"{p.name} ({p.disagreement(header)})" for p in near]
        if almost:
            return (
                f"{start} with these cards; the closest: {', '.join(almost)}; "
                "write a profile for it, or choose one with --profile."
            )
        known = {n: p for p in self.profiles for n in p.instruments}
        folded = {n.lower(): n for n in known}
        close = difflib.get_close_matches(str(word).lower(), folded, 3, 0.5)
        names = [f"{folded[c]!r} ({known[folded[c]].name})" for c in close]
        closest = f"; the closest: {', '.join(names)}" if names else ""
        return f"{start}{closest}; write a profile for it, or choose one with --profile."


def known_profiles(*named: str | Path | Profile) -> dict[str, Profile]:
    """Return every profile that a night may be reduced with, by name.

    Parameters
    ----------
    *named : str, Path or Profile
        Further files, folders of files, or profiles; they come first.

    Raises
    ------
    ProfileError
        If a file that is named cannot be read as a profile.

    Examples
    --------
    >>> from ccdprofiles import known_profiles
    >>> known_profiles()["lfc"].instrument
    'LFC'
    """
    return {p.name: p for p in Registry.gather(named).profiles}


def load_profile(name: str | Path) -> Profile:
    """Return one profile, by its name or its file.

    Parameters
    ----------
    name : str or Path
        A name from `known_profiles`, or a path.

    Raises
    ------
    ProfileError
        If there is none, or if the file contains several.

    Examples
    --------
    >>> from ccdprofiles import load_profile
    >>> load_profile("lfc").amplifiers[0].overscan
    '[2056:2080, 1:4128]'
    """
    local_path(name, "the profile", ProfileError)
    if not _is_path(name):
        return Registry.gather()[str(name)]
    profiles = read_profiles(name)
    if len(profiles) > 1:
        raise ProfileError(
            f"{Path(name).name} contains {len(profiles)} profiles "
            f"({', '.join(p.name for p in profiles)}), but one was expected; use the name of one."
        )
    return profiles[0]


def user_folder() -> Path:
    """Return the folder for a user's own profiles."""
    import platformdirs

    return Path(platformdirs.user_config_dir("ccdprofiles", appauthor=False)) / "profiles"


def shipped_folder() -> Path:
    """Return the folder of the shipped profiles: inside the package, or beside it in a checkout."""
    here = Path(__file__).parents[1]
    inside = here / "profiles"
    return inside if inside.is_dir() else here.parent / "profiles"


def _named_profiles(
    named: str | Path | Profile | Iterable[str | Path | Profile],
) -> Iterator[Profile]:
    """Iterate over the profiles that the caller names or gives."""
    given_names: set[str] = set()
    for item in (named,) if isinstance(named, str | Path | Profile) else named:
        if isinstance(item, Profile):
            profile = item if item.name else replace(item, name=_new_name(item, given_names))
            given_names.add(profile.name)
            yield profile
            continue
        local_path(item, "the profile", ProfileError)
        path = Path(item).expanduser()
        if path.is_dir():
            yield from _profiles_in(path)
        elif _is_path(item):
            yield from read_profiles(item)
        else:
            yield Registry.gather()[str(item)]


def _own_profiles() -> Iterator[Profile | Unreadable]:
    """Iterate over the user's own folder."""
    for path in _files(user_folder()):
        try:
            yield from read_profiles(path)
        except ProfileError as error:
            yield Unreadable((path.stem,), f"{error} (in your own folder, {user_folder()})")


def _profiles_in(folder: Path) -> Iterator[Profile]:
    for path in _files(folder):
        yield from read_profiles(path)


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.py")) if folder.is_dir() else []
    return [path for path in files if not path.name.startswith(("_", "."))]


@lru_cache
def _warn(sentence: str) -> None:
    """Log a warning once, however often profiles are collected."""
    log.warning("%s", sentence)


def _new_name(profile: Profile, taken: set[str]) -> str:
    """Return an unused name for a profile that was made in a program."""
    word = profile.instruments[0] if profile.instruments else "camera"
    stem = re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_").lower() or "camera"
    return next(n for n in chain([stem], (f"{stem}_{i}" for i in count(2))) if n not in taken)


def _is_path(name: str | Path) -> bool:
    text = str(name)
    return isinstance(name, Path) or text.endswith(".py") or "/" in text or "\\" in text
