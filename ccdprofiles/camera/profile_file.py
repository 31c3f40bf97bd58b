"""Read a file of profiles, and explain what is wrong with it."""

from __future__ import annotations

import builtins
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ProfileError, words_of
from .amplifier import Amplifier
from .cards import Card
from .corrections import named_files
from .limits import Limits
from .profile import Profile
from .recipe import Combine, CosmicRays, Flat, Recipe, SpectralFlat
from .settings import Dated, Setting
from .spelling import near_words
from .watch import Failure, call

__all__ = ["read_profiles"]

_CLASSES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (
        *(Amplifier, Card, Combine, CosmicRays, Dated, Flat, Limits, Profile, Recipe, Setting),
        SpectralFlat,
    )
}


def read_profiles(path: str | Path) -> tuple[Profile, ...]:
    """Read the profiles of one file: every `Profile` in a public variable.

    ``profile = Profile(...)`` in ``lfc.py`` is named ``lfc``; ``blue = Profile(...)``
    in ``dis.py`` is named ``dis_blue``.

    Raises
    ------
    ProfileError
        If the file cannot be run, contains no profile, or contains one that is not valid or
        names a file that does not exist.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise ProfileError(f"{path} is not a file; a profile is one Python file.")
    if path.suffix != ".py":
        raise ProfileError(f"{path} is not a Python file; use a file whose name ends in .py.")
    module = _run(path)
    named: dict[int, tuple[str, Profile]] = {}
    for variable, value in vars(module).items():
        if isinstance(value, Profile) and not variable.startswith("_"):
            stem = path.stem
            name = stem if variable in ("profile", stem) else f"{stem}_{variable}"
            named.setdefault(id(value), (name, value))
    if not named:
        raise ProfileError(
            f"{path.name}: it contains no profile; end it with profile = Profile(...)."
        )
    notes = (module.__doc__ or "").strip()
    profiles = tuple(
        replace(value, name=name, file=str(path), notes=notes) for name, value in named.values()
    )
    for profile in profiles:
        _check_files(profile)
    return profiles


def _check_files(profile: Profile) -> None:
    """Refuse a profile whose recipe names a file that does not exist."""
    if isinstance(profile.recipe, Recipe):
        try:
            named_files(profile.recipe, profile.folder)
        except ProfileError as error:
            raise ProfileError(f"{Path(profile.file).name}: {error}") from error


def _run(path: Path) -> ModuleType:
    """Run the file of a profile, and name it and the line in every error."""
    spec = importlib.util.spec_from_file_location(f"ccdprofiles_profile_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    writes_no_bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        call(spec.loader.exec_module, module)  # type: ignore[union-attr]
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
        sys.dont_write_bytecode = writes_no_bytecode
    return module


def _line(error: BaseException, path: Path) -> str:
    """Return the last line of a file that was run before an error."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [
        frame.lineno for frame in frames if frame.filename in (str(path), str(path.absolute()))
    ]
    return f", line {lines[-1]}" if lines else ""


def _explained(error: Exception) -> str:
    """Return an error in words, with the nearest spelling of a misspelt name."""
    if isinstance(error, OSError):
        return f"{error.filename or 'a file'} cannot be read ({words_of(error)}); grant read permission."
    misspelt = re.search(
        r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error)
    )
    if misspelt and misspelt[1] in _CLASSES:
        name, keyword = misspelt.groups()
        keywords = [f.name for f in fields(_CLASSES[name])]
        near = near_words(keyword, keywords)
        hint = f"; did you mean {near[0]!r}?" if near else f"; it takes {', '.join(keywords)}."
        return f"{name}(...) has no {keyword!r}{hint}"
    missing = re.search(
        r"(\w+)\.__init__\(\) missing \d+ required keyword-only arguments?: (.*)", str(error)
    )
    if missing:
        return f"{missing[1]}(...) requires {missing[2]}."
    return _unknown_name(error) or f"{type(error).__name__}: {error}"


def _unknown_name(error: Exception) -> str:
    """Return the nearest spelling of a misspelt import, name or attribute."""
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
