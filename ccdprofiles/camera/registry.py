"""Collect the profiles of all places, and choose the one that fits a header.

Profiles are searched for in this order: files named by the caller, the user's own
folder, installed packages, the shipped ones. The folder of a night is never searched: a downloaded
night must not run code.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import chain, combinations, count
from operator import itemgetter
from pathlib import Path

from ..errors import AmbiguousProfile, ProfileError, UnknownInstrument
from ..files.places import local_path
from .header_values import time_of
from .identity import is_pattern
from .installed import Unreadable, installed_profiles
from .profile import Profile
from .profile_file import read_profiles
from .settings import overlapping, period_text, span_of
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

    def __post_init__(self) -> None:
        dated = [p for p in self.profiles if p.valid is not None]
        for one, two in combinations(dated, 2):
            _refuse_overlap(one, two)

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
            If a file that is named cannot be read as a profile, or two profiles of one camera are
            valid on the same dates.
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
                if not is_pattern(name):
                    named.setdefault(name.strip(), []).append(profile)
            if not profile.instruments:
                others.append(profile)
        return named, others

    @cached_property
    def _of_word(self) -> dict[object, tuple[list[Profile], list[Profile]]]:
        """The profiles that have a value of INSTRUME, and those with a pattern that fits it."""
        return {}

    def _known_by(self, word: object) -> tuple[list[Profile], list[Profile]]:
        """Return the profiles with this value of INSTRUME, and those with a pattern that fits."""
        if word not in self._of_word:
            named = self._by_instrument[0].get(word, [])  # type: ignore[call-overload]
            patterned = [p for p in self.profiles if isinstance(word, str) and p.fits_pattern(word)]
            self._of_word[word] = named, [p for p in patterned if p not in named]
        return self._of_word[word]

    @cached_property
    def _dated(self) -> bool:
        """True if any profile is valid on some dates only."""
        return any(p.valid is not None for p in self.profiles)

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

        Notes
        -----
        A profile with the exact value of INSTRUME is preferred to one with a pattern.
        """
        values = [header.get("INSTRUME"), *(header.get(card) for card in self._deciding)]
        known = tuple(p.knows(header) for p in self._by_instrument[1])
        # T, 1 and 1.0 are equal in Python, and not in a header.
        key = (*values, *map(type, values), known)
        if self._dated:
            key += tuple(p.is_valid_for(header) for p in self._dated_of(header))
        if key not in self._chosen:
            self._chosen[key] = self._fitting(header)
        return self._chosen[key]

    def _dated_of(self, header: Mapping) -> list[Profile]:
        """Return the profiles with ``valid`` that may be of this camera."""
        named, patterned = self._known_by(_word(header))
        others = (p for p in self._by_instrument[1] if p.knows(header))
        return [p for p in (*named, *others, *patterned) if p.valid is not None]

    def _fitting(self, header: Mapping) -> Profile:
        word = _word(header)
        named, patterned = self._known_by(word)
        others = [p for p in self._by_instrument[1] if p.knows(header)]
        outside: list[Profile] = []
        for level in ([*named, *others], patterned):
            agreeing = [p for p in level if p.disagreement(header) is None]
            fitting = [p for p in agreeing if p.is_valid_for(header) is not False]
            outside += [p for p in agreeing if p not in fitting]
            if len(fitting) == 1:
                return fitting[0]
            if any(p.is_valid_for(header) is None for p in fitting):
                raise UnknownInstrument(_undated(word, fitting, header))
            if fitting:
                raise AmbiguousProfile(_ambiguous(word, fitting, level is patterned))
        if outside:
            raise UnknownInstrument(_outside(word, outside, header))
        why = self._unknown(word, header, [*named, *patterned])
        raise UnknownInstrument(why + self._failed(header) + self._perhaps())

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


def _word(header: Mapping) -> object:
    """Return INSTRUME without blanks around it."""
    value = header.get("INSTRUME")
    # No name of a camera is longer, and the search for the closest takes time.
    return value.strip()[:100] if isinstance(value, str) else value


def _source(profile: Profile) -> str:
    """Return the name of a profile and its file."""
    return f"{profile.name} ({profile.file or 'given by the caller'})"


def _ambiguous(word: object, fitting: Sequence[Profile], by_pattern: bool) -> str:
    """Return why none of several profiles is chosen."""
    cards = sorted({"INSTRUME", *(card for p in fitting for card in p.where)})
    what = "the patterns of " if by_pattern else ""
    cure = "write the exact INSTRUME in one of them, " if by_pattern else ""
    return (
        f"INSTRUME = {word!r} fits {what}{len(fitting)} profiles, "
        + " and ".join(map(_source, fitting))
        + f"; the cards that decide are {', '.join(cards)}; {cure}"
        "add a where= that distinguishes them to one profile, or choose one with --profile."
    )


def _undated(word: object, fitting: Iterable[Profile], header: Mapping) -> str:
    """Return why none of several profiles is chosen for a frame without a date."""
    listed = " and ".join(f"{_source(p)} {period_text(p.valid)}" for p in fitting if p.valid)
    date = next((p.text_of("date", header) for p in fitting if p.valid), None)
    shown = "missing" if date is None else f"{date[:60]!r}, which is not a date"
    return (
        f"INSTRUME = {word!r} fits {listed}, but the date of the frame is {shown}; correct the date "
        "in its header, or choose a profile with --profile."
    )


def _outside(word: object, outside: Sequence[Profile], header: Mapping) -> str:
    """Return why a frame is of no profile: its date is before, between or after their dates."""
    date = outside[0].text_of("date", header)
    now = time_of(date) or 0.0
    spans = [(*span_of(p.valid), p) for p in outside if p.valid]
    over = [(end, p) for _, end, p in spans if end <= now]
    coming = [(start, p) for start, _, p in spans if start > now]
    edges = []
    if over:
        last = max(over, key=itemgetter(0))[1]
        edges.append(f"{last.valid[1]}, the end of {_source(last)}")  # type: ignore[index]
    if coming:
        first = min(coming, key=itemgetter(0))[1]
        edges.append(f"{first.valid[0]}, the beginning of {_source(first)}")  # type: ignore[index]
    between = "between" if edges[1:] else "after" if over else "before"
    return (
        f"no profile fits INSTRUME = {word!r} on {date}, which is {between} {' and '.join(edges)}; "
        "extend valid= of a profile, write one for this date, or choose one with --profile."
    )


def _refuse_overlap(one: Profile, two: Profile) -> None:
    """Refuse two profiles of one camera that are valid on the same dates."""
    shared = {n.strip() for n in one.instruments} & {n.strip() for n in two.instruments}
    if not (one.valid and two.valid and shared and one.where == two.where):
        return
    if overlapping(one.valid, two.valid):
        raise ProfileError(
            f"two profiles for INSTRUME = {min(shared)!r} are valid on the same dates: {_source(one)} "
            f"{period_text(one.valid)} and {_source(two)} {period_text(two.valid)}; let valid= of the "
            "first end when the second begins."
        )


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
