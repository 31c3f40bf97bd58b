"""Find the files that hold profiles, and the profile that fits a header.

Files are looked for in this order: those named by the caller, the user's own
folder, installed packages, the shipped ones. Never in the folder of a night: a
downloaded night must not run code.
"""

from __future__ import annotations

import builtins
import difflib
import importlib.metadata
import importlib.util
import logging
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from itertools import chain, count
from pathlib import Path
from types import ModuleType

from ..errors import AmbiguousProfile, ProfileError, UnknownInstrument, words_of
from ..files.places import local_path
from . import amplifier, recipe
from . import profile as profile_module
from .profile import Profile
from .spelling import near_words
from .watch import Failure, call, place, reason

__all__ = ["Registry", "known_profiles", "load_profile", "read_profiles", "user_folder"]

log = logging.getLogger(__name__)

ENTRY_POINTS = "ccdprofiles.profiles"


@dataclass(frozen=True)
class _Broken:
    """What cannot be read as a profile, and the names of the profiles that it may have held."""

    names: tuple[str, ...]
    sentence: str

    def may_be(self, name: str) -> bool:
        """Return True if it may have held a profile of this name."""
        return any(name == stem or name.startswith(f"{stem}_") for stem in self.names)


@dataclass(frozen=True)
class Registry:
    """The profiles that a run may choose from.

    Parameters
    ----------
    profiles : tuple of Profile
        The first of a name is the one that counts.
    replaced : tuple of str
        A sentence for every profile that another of the same name stands in for.
    broken : tuple of str
        A sentence for every file of the user's own folder, and for everything that an
        installed package offers, that cannot be read as a profile. What it would stand
        in for is left out too.
    """

    profiles: tuple[Profile, ...]
    replaced: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()

    @classmethod
    def gather(cls, named: Iterable[str | Path | Profile] = ()) -> Registry:
        """Collect the caller's profiles, the user's, the installed and the shipped ones.

        Parameters
        ----------
        named : iterable of str, Path or Profile
            Files, folders of files, or profiles that were made on the spot.

        Raises
        ------
        ProfileError
            If a file that is named cannot be read as a profile.
        """
        kept: dict[str, Profile] = {}
        replaced = []
        broken: list[_Broken] = []
        for profile in _all(named, broken):
            first = kept.setdefault(profile.name, profile)
            if first is not profile and first.file != profile.file:
                replaced.append(
                    f"{first.file or 'a profile given by the caller'} stands in for "
                    f"{profile.file}: both are named {profile.name!r}."
                )
        sentences = tuple(left_out.sentence for left_out in broken)
        for sentence in sentences:
            _warn(sentence)
        return cls(tuple(kept.values()), tuple(replaced), sentences)

    def __repr__(self) -> str:
        return f"<Registry: {', '.join(p.name for p in self.profiles)}>"

    def __getitem__(self, name: str) -> Profile:
        for profile in self.profiles:
            if profile.name == name:
                return profile
        near = near_words(name, (p.name for p in self.profiles), 3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ProfileError(
            f"there is no profile {name!r}; there are "
            f"{', '.join(sorted(p.name for p in self.profiles))}.{hint}{self._perhaps()}"
        )

    def _perhaps(self) -> str:
        """Name the files that may hold what is looked for, and cannot be read."""
        return "".join(f" Or is it in a file that cannot be read? {s}" for s in self.broken)

    def _failed(self, header: Mapping) -> str:
        """Name the functions in place of ``instrument`` that fail on a header nobody knows."""
        sentences = []
        for profile in self._by_instrument[1]:
            try:
                if callable(profile.instrument):
                    call(profile.instrument, header)
            except Exception as error:
                at = place(error) if profile.file else ""
                sentences.append(
                    f" instrument= of the profile {profile.name} fails on it ({reason(error)}{at})."
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
        """The cards that some profile's ``where`` asks for."""
        return tuple(sorted({card for p in self.profiles for card in p.where}))

    @cached_property
    def _chosen(self) -> dict[tuple, Profile]:
        """The profiles chosen so far, by what the cards said that decide."""
        return {}

    def choose(self, header: Mapping) -> Profile:
        """Return the one profile that fits a header.

        Raises
        ------
        UnknownInstrument
            If none does; the message names the closest.
        AmbiguousProfile
            If two do; the message names both and the cards that decide.
        """
        said = [header.get("INSTRUME"), *(header.get(card) for card in self._deciding)]
        known = tuple(p.knows(header) for p in self._by_instrument[1])
        # T, 1 and 1.0 are equal in Python, and not in a header.
        key = (*said, *map(type, said), known)
        if key not in self._chosen:
            self._chosen[key] = self._fitting(header)
        return self._chosen[key]

    def _fitting(self, header: Mapping) -> Profile:
        named, others = self._by_instrument
        said = header.get("INSTRUME")
        # No name of a camera is longer, and looking for the closest takes time.
        word = said.strip()[:100] if isinstance(said, str) else said
        candidates = [*named.get(word, ()), *(p for p in others if p.knows(header))]
        fitting = [p for p in candidates if p.disagreement(header) is None]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            why = self._unknown(word, header, named.get(word, ()))
            raise UnknownInstrument(why + self._failed(header) + self._perhaps())
        cards = sorted({"INSTRUME", *(card for p in fitting for card in p.where)})
        raise AmbiguousProfile(
            f"INSTRUME = {word!r} fits {len(fitting)} profiles, "
            + " and ".join(f"{p.name} ({p.file or 'given by the caller'})" for p in fitting)
            + f"; the cards that decide are {', '.join(cards)}; "
            "give one of them a where= that tells them apart, or name one with --profile."
        )

    def _unknown(self, word: object, header: Mapping, near: Iterable[Profile]) -> str:
        if word is None:
            return (
                "no profile knows a header without INSTRUME; write a profile with "
                "instrument=None and where={...}, or name one with --profile."
            )
        start = f"no profile knows INSTRUME = {word!r}"
        almost = [f"{p.name} ({p.disagreement(header)})" for p in near]
        if almost:
            return (
                f"{start} with these cards; the closest: {', '.join(almost)}; "
                "add a profile for it, or name one with --profile."
            )
        known = {n: p for p in self.profiles for n in p.instruments}
        folded = {n.lower(): n for n in known}
        close = difflib.get_close_matches(str(word).lower(), folded, 3, 0.5)
        names = [f"{folded[c]!r} ({known[folded[c]].name})" for c in close]
        closest = f"; the closest: {', '.join(names)}" if names else ""
        return f"{start}{closest}; add a profile for it, or name one with --profile."


def known_profiles(*named: str | Path | Profile) -> dict[str, Profile]:
    """Return every profile that a night may be reduced with, by name.

    >>> from ccdprofiles import known_profiles
    >>> known_profiles()["lfc"].instrument
    'LFC'
    """
    return {p.name: p for p in Registry.gather(named).profiles}


def load_profile(name: str | Path) -> Profile:
    """Return one profile, by its name or by the file that holds it.

    Raises
    ------
    ProfileError
        If there is none, or if the file holds several.
    """
    local_path(name, "the profile", ProfileError)
    if not _is_path(name):
        return Registry.gather()[str(name)]
    found = read_profiles(name)
    if len(found) > 1:
        raise ProfileError(
            f"{Path(name).name} holds {len(found)} profiles "
            f"({', '.join(p.name for p in found)}), where one was expected."
        )
    return found[0]


def read_profiles(path: str | Path) -> tuple[Profile, ...]:
    """Read the profiles of one file: every `Profile` it binds to a public name.

    ``profile = Profile(...)`` in ``lfc.py`` is named ``lfc``; ``blue = Profile(...)``
    in ``dis.py`` is named ``dis_blue``.

    Raises
    ------
    ProfileError
        If the file cannot be run, holds none, or holds one that cannot be right.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ProfileError(f"{path} is no file; a profile is one Python file.")
    if path.suffix != ".py":
        raise ProfileError(f"{path} is no Python file; the name of a profile's file ends in .py.")
    module = _run(path)
    found = {}
    for variable, value in vars(module).items():
        if isinstance(value, Profile) and not variable.startswith("_"):
            stem = path.stem
            name = stem if variable in ("profile", stem) else f"{stem}_{variable}"
            found.setdefault(id(value), (name, value))
    if not found:
        raise ProfileError(f"{path.name}: it holds no profile; end it with profile = Profile(...).")
    notes = (module.__doc__ or "").strip()
    return tuple(
        replace(value, name=name, file=str(path), notes=notes) for name, value in found.values()
    )


def user_folder() -> Path:
    """Return the folder for a user's own profiles."""
    import platformdirs

    return Path(platformdirs.user_config_dir("ccdprofiles", appauthor=False)) / "profiles"


def shipped_folder() -> Path:
    """Return the folder of the shipped profiles: inside the package, or beside it in a checkout."""
    here = Path(__file__).parents[1]
    inside = here / "profiles"
    return inside if inside.is_dir() else here.parent / "profiles"


def _all(named: Iterable[str | Path | Profile], broken: list[_Broken]) -> Iterable[Profile]:
    """Go through all profiles; ``broken`` gets what of the user's and installed cannot be read."""
    named = (named,) if isinstance(named, str | Path | Profile) else named
    made_up: set[str] = set()
    for item in named:
        if not isinstance(item, Profile):
            local_path(item, "the profile", ProfileError)
        if isinstance(item, Profile):
            yield item if item.name else replace(item, name=_made_up(item, made_up))
        elif not _is_path(item) and not Path(item).is_dir():
            yield Registry.gather()[str(item)]
        elif Path(item).expanduser().is_dir():
            yield from _folder(Path(item).expanduser())
        else:
            yield from read_profiles(item)
    for path in _files(user_folder()):
        try:
            yield from read_profiles(path)
        except ProfileError as error:
            sentence = f"{error} (in your own folder, {user_folder()})"
            broken.append(_Broken((path.stem,), sentence))
    for profile in _others(broken):
        # Never reduce with another camera than the one that was meant to stand in for it.
        if not any(left_out.may_be(profile.name) for left_out in broken):
            yield profile


def _others(broken: list[_Broken]) -> Iterable[Profile]:
    """Go through the installed profiles and the shipped ones."""
    for point in sorted(_entry_points(broken), key=lambda p: (p.name, _package(p))):
        try:
            profiles = _installed(point)
        except ProfileError as error:
            stem = point.module.rpartition(".")[2]
            broken.append(_Broken((point.name, stem), str(error)))
        else:
            yield from profiles
    yield from _folder(shipped_folder())


def _entry_points(broken: list[_Broken]) -> list[importlib.metadata.EntryPoint]:
    """Return what installed packages offer, without those whose metadata cannot be read."""
    try:
        return list(importlib.metadata.entry_points(group=ENTRY_POINTS))
    except Exception:  # one package with a broken file would hide all others
        pass
    found = []
    for package in importlib.metadata.distributions():
        try:
            found += package.entry_points.select(group=ENTRY_POINTS)
        except Exception as error:
            name = getattr(package, "_path", "an installed package")
            sentence = (
                f"{name}: its list of entry points cannot be read ({reason(error)}); it is left "
                "out; install the package again, or remove it."
            )
            broken.append(_Broken((), sentence))
    return found


def _folder(folder: Path) -> Iterable[Profile]:
    for path in _files(folder):
        yield from read_profiles(path)


def _files(folder: Path) -> list[Path]:
    found = sorted(folder.glob("*.py")) if folder.is_dir() else []
    return [path for path in found if not path.name.startswith(("_", "."))]


@lru_cache
def _warn(sentence: str) -> None:
    """Say it once, however often profiles are collected."""
    log.warning("%s", sentence)


def _installed(point: importlib.metadata.EntryPoint) -> tuple[Profile, ...]:
    """Read what an installed package offers: a profile, or the module that holds some.

    Raises
    ------
    ProfileError
        If it cannot be imported, or is something else; the package is named.
    """
    try:
        return call(_offered, point)
    except Failure as error:
        why = f"cannot be read ({error.reason}{error.place})"
    except ProfileError as error:
        why = f"cannot be read ({str(error).removesuffix('.')})"
    except Exception as error:
        why = f"cannot be read ({reason(error)}{place(error)})"
    raise ProfileError(
        f"the installed profile {point.name!r} of {_package(point)} {why}; it is left out; "
        "correct the package, or remove it."
    )


def _offered(point: importlib.metadata.EntryPoint) -> tuple[Profile, ...]:
    offered = point.load()
    if isinstance(offered, Profile):
        return (offered if offered.name else replace(offered, name=point.name, file=point.value),)
    if getattr(offered, "__file__", None):
        return read_profiles(offered.__file__)
    raise ProfileError(
        f"{point.value} is of type {type(offered).__name__}, not a Profile or a module."
    )


def _package(point: importlib.metadata.EntryPoint) -> str:
    """Name the installed package that an entry point belongs to, with its version."""
    package = point.dist
    try:
        return point.value if package is None else f"{package.name} {package.version}"
    except Exception:  # metadata may be missing or unreadable
        return point.value


def _run(path: Path):
    """Run a profile's file, and name it in whatever goes wrong."""
    spec = importlib.util.spec_from_file_location(f"ccdprofiles_profile_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    written = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        call(spec.loader.exec_module, module)
    except Failure as error:
        line = _line(error.__cause__ or error, path)
        raise ProfileError(f"{path.name}{line}: {error.reason}; correct the file.") from error
    except ProfileError as error:
        raise ProfileError(f"{path.name}{_line(error, path)}: {error}") from error
    except SyntaxError as error:
        end = "" if error.msg.endswith("?") else "."
        raise ProfileError(f"{path.name}, line {error.lineno}: {error.msg}{end}") from error
    except Exception as error:
        raise ProfileError(f"{path.name}{_line(error, path)}: {_explained(error)}") from error
    finally:
        sys.dont_write_bytecode = written
    return module


def _line(error: BaseException, path: Path) -> str:
    """Name the last line of a file that was run before something went wrong."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [
        frame.lineno for frame in frames if frame.filename in (str(path), str(path.absolute()))
    ]
    return f", line {lines[-1]}" if lines else ""


def _explained(error: Exception) -> str:
    """Add the nearest right spelling to a misspelt keyword."""
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'} cannot be read ({words_of(error)}); allow it."
    misspelt = re.search(
        r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error)
    )
    if misspelt:
        name, keyword = misspelt.groups()
        homes = (profile_module, recipe, amplifier)
        made = next((getattr(home, name) for home in homes if hasattr(home, name)), None)
        if made is not None:
            known = [f.name for f in fields(made)]
            near = near_words(keyword, known)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(known)}."
            return f"{name}(...) has no {keyword!r}{hint}"
    absent = re.search(
        r"(\w+)\.__init__\(\) missing \d+ required keyword-only arguments?: (.*)", str(error)
    )
    if absent:
        return f"{absent[1]}(...) lacks {absent[2]}."
    return _unknown_name(error) or f"{type(error).__name__}: {error}"


def _unknown_name(error: Exception) -> str:
    """Name the nearest right spelling of a misspelt import, name or attribute."""
    name = getattr(error, "name", None)
    imported = re.match(r"cannot import name '(\w+)' from '([\w.]+)'", str(error))
    public = sys.modules["ccdprofiles"].__all__
    if imported:
        name, module = imported.groups()
        known = public if module == "ccdprofiles" else dir(sys.modules.get(module))
        return f"{module} has no {name!r}{_nearest(name, known)}"
    if isinstance(error, ModuleNotFoundError) and name:
        known = [*sys.modules, *sys.stdlib_module_names]
        return f"ModuleNotFoundError: {error}{_nearest(name, known)}"
    if type(error) is NameError and name:
        if name in public:
            return f"{name!r} is not imported; write from ccdprofiles import {name}."
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        known = [*frame.f_locals, *frame.f_globals, *public, *dir(builtins)]
        return f"NameError: name {name!r} is not defined{_nearest(name, known)}"
    if isinstance(error, AttributeError) and name and isinstance(error.obj, ModuleType):
        return f"{error.obj.__name__} has no {name!r}{_nearest(name, dir(error.obj))}"
    return ""


def _nearest(name: str, known: Iterable[str]) -> str:
    near = near_words(name, (k for k in known if not k.startswith("_")))
    return f"; did you mean {near[0]!r}?" if near else "."


def _made_up(profile: Profile, taken: set[str]) -> str:
    """Name a profile that was made on the spot, each differently."""
    word = profile.instruments[0] if profile.instruments else "camera"
    stem = re.sub(r"[^A-Za-z0-9]+", "_", word).strip("_").lower() or "camera"
    name = next(n for n in chain([stem], (f"{stem}_{i}" for i in count(2))) if n not in taken)
    taken.add(name)
    return name


def _is_path(name: str | Path) -> bool:
    text = str(name)
    return isinstance(name, Path) or text.endswith(".py") or "/" in text or "\\" in text
