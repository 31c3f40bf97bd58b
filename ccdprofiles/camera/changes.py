"""Settings of recipes that are changed for one run: ``--set NAME=VALUE``."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import Field, dataclass, fields, replace
from typing import Any

from astropy import units as u

from ..errors import ChangeError, ProfileError
from .checks import check_flat_level
from .frame_types import FRAME_TYPES, MASTER_TYPES, STEPS
from .limits import Limits
from .profile import Profile
from .recipe import Combine, CosmicRays, Flat, Recipe, SpectralFlat
from .spelling import near_words

__all__ = ["Changes", "concerning", "read_change", "setting_names"]

_PARTS = {
    "combine": (Combine,),
    "cosmic_rays": (CosmicRays,),
    "flat": (Flat, SpectralFlat),
    "limits": (Limits,),
}
_BY_TYPE = {"combine": ("method", "clip"), "limits": ("frames",)}
_UNITS = {
    "bias": "adu",
    "exposure_tolerance": "s",
    "overscan_drift": "adu",
    "limits.level": "adu",
    "limits.temperature": "deg_C",
}

_CONCERNED = {
    "bias": FRAME_TYPES,
    "dark": ("dark", "flat", "science"),
    "flat": ("flat", "science"),
    "arc": ("arc",),
}
"""For each type of master all products that contain its frames."""

_OF_SETTINGS = {
    "bias": ("dark", "flat", "arc", "science"),
    "dark": ("flat", "science"),
    "exposure_tolerance": ("dark", "flat", "science"),
    "flat": ("flat", "science"),
    "electrons": ("flat", "science"),
    "cosmic_rays": ("science",),
    "linearity": ("dark", "flat", "arc", "science"),
    "shutter": ("flat", "science"),
    "fringe": ("science",),
    "name": ("science",),
    "limits.flat_level": ("flat", "science"),
}
"""The products that a setting affects; one that is not listed affects all of them."""

_QUANTITY = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*\*?\s*(?:u\.)?(.*)")
_LONGEST = 60


@dataclass(frozen=True)
class Changes:
    """Settings of recipes that a caller changes for one run.

    Parameters
    ----------
    values : tuple of (name, value)
        General names come before names for one type of frame.

    Examples
    --------
    >>> from ccdprofiles import Recipe
    >>> from ccdprofiles.camera.changes import Changes
    >>> recipe = Changes.of({"electrons": True, "combine.flat.clip": 3}).applied(Recipe(), "lfc")
    >>> recipe.electrons, recipe.combine_for("flat").clip, recipe.combine_for("dark").clip
    (True, 3, 5)
    """

    values: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any] | Changes | None) -> Changes:
        """Check names and values, as far as possible without the recipes of the night.

        Parameters
        ----------
        given : mapping of str, or None
            The value of each setting; a quantity may be a text, such as ``"2 s"``.

        Raises
        ------
        ChangeError
            If a setting does not exist, or cannot have its value.
        """
        if isinstance(given, Changes):
            return given
        if given is not None and not isinstance(given, Mapping):
            raise ChangeError(
                f"changes={given!r} is not a dict; write changes={{'electrons': True}}."
            )
        values: dict[str, Any] = {}
        for name, value in (given or {}).items():
            _check_name(name)
            is_text = isinstance(value, str) and _is_quantity(name, value)
            values[name] = _read_quantity(name, value) if is_text else value
            _check_value(name, values[name])
        for name in values:
            part = name.split(".")[0]
            if name != part and values.get(part, part) is None:
                raise ChangeError(
                    f"{part}=None and {name} contradict each other; use only one of them."
                )
        return cls(tuple(sorted(values.items(), key=lambda v: v[0].count("."))))

    def __bool__(self) -> bool:
        return bool(self.values)

    @property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """The settings by name, each value written for headers, plan and report."""
        return tuple((name, _text(value)) for name, value in sorted(self.values, key=_first))

    def applied(self, recipe: Recipe, profile: Profile | str) -> Recipe:
        """Return a recipe with these settings.

        Parameters
        ----------
        recipe : Recipe
        profile : Profile or str
            Named in an error message.

        Raises
        ------
        ChangeError
            If a setting does not fit this recipe.
        """
        name = profile if isinstance(profile, str) else profile.name
        parts: dict[str, Any] = {}
        for setting, value in self.values:
            part, *path = setting.split(".")
            whole = parts.get(part, getattr(recipe, part))
            parts[part] = value if not path else _changed(setting, value, whole, recipe, name)
        try:
            changed = replace(recipe, **parts)
            if isinstance(profile, Profile):
                check_flat_level(changed, profile.chips)
            return changed
        except ProfileError as error:
            listed = ", ".join(f"{setting}={text}" for setting, text in self.texts)
            raise ChangeError(f"{listed} does not fit the recipe of {name}: {error}") from error

    def cosmic_rays(self, asked: bool | CosmicRays | None) -> bool | CosmicRays | None:
        """Return ``cosmic_rays=`` with these settings.

        Raises
        ------
        ChangeError
            If the two contradict each other.
        """
        own = [(name, value) for name, value in self.values if name.startswith("cosmic_rays")]
        if not own or asked is None:
            return asked
        name, value = own[0]
        if asked is not True or name == "cosmic_rays":
            raise ChangeError(
                f"cosmic_rays={asked!r} and the setting {name}={_text(value)} contradict each other; use only one of them."
            )
        return CosmicRays(**{name.split(".")[1]: value for name, value in own})


def read_change(text: str) -> tuple[str, object]:
    """Read ``NAME=VALUE``: a Python literal, a number with its unit, or a plain word.

    No code is evaluated.

    Raises
    ------
    ChangeError

    Examples
    --------
    >>> from ccdprofiles.camera.changes import read_change
    >>> read_change("combine.flat.clip=3")
    ('combine.flat.clip', 3)
    >>> read_change("dark=scale")
    ('dark', 'scale')
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not name or not value:
        raise ChangeError(
            f"--set {text!r} is not a setting; write NAME=VALUE, such as --set electrons=True."
        )
    _check_name(name)
    if _is_quantity(name, value):
        return name, _read_quantity(name, value)
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return name, value


def setting_names() -> list[str]:
    """Return the names of all settings that can be changed for a run."""
    names = [f.name for f in fields(Recipe)]
    for part, kinds in _PARTS.items():
        names += dict.fromkeys(f"{part}.{f.name}" for kind in kinds for f in fields(kind))
    names += [f"combine.{kind}.{field}" for kind in MASTER_TYPES for field in _BY_TYPE["combine"]]
    names += [f"limits.frames.{kind}" for kind in MASTER_TYPES]
    return names


def concerning(changes: Iterable[tuple[str, str]], kind: str) -> list[tuple[str, str]]:
    """Return the settings that affect products of a type, as ``(name, text)``.

    Parameters
    ----------
    changes : iterable of (name, text)
        All changes of a plan.
    kind : {"bias", "dark", "flat", "arc", "science"}
    """
    return [(name, text) for name, text in changes if kind in _concerned(name)]


def _concerned(name: str) -> tuple[str, ...]:
    part, *path = name.split(".")
    if part == "combine" and path[:1] and path[0] in MASTER_TYPES:
        return _CONCERNED[path[0]]
    if part == "limits" and len(path) == 2:
        return _CONCERNED[path[1]]
    return _OF_SETTINGS.get(name) or _OF_SETTINGS.get(part) or _CONCERNED["bias"]


def _check_name(name: object) -> None:
    """Refuse a setting that does not exist, and suggest the most similar one."""
    names = setting_names()
    if name in names:
        return
    below = [n for n in names if n.startswith(f"{name}.")]
    if below:
        raise ChangeError(f"{name!r} is a group of settings; use one of {', '.join(below)}.")
    # For a part of the recipe its own settings are listed, else those of the recipe.
    part = str(name).rpartition(".")[0]
    inside = [n for n in names if n.rpartition(".")[0] == part]
    if not inside:
        part, inside = "", [n for n in names if "." not in n]
    near = near_words(name, names) or near_words(str(name).rpartition(".")[2], inside)
    last = str(name).rpartition(".")[2]
    deeper = near_words(last, (n.rpartition(".")[2] for n in names if "." in n))
    if not near and deeper:
        near = [n for n in names if n.endswith(f".{deeper[0]}")]
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ChangeError(
        f"there is no setting {name!r}{hint}; use one of {', '.join(inside)}"
        + ("." if part else ", or a part of one, such as combine.flat.clip.")
    )


def _field(name: str) -> Field | None:
    """Return the field of a dataclass that a setting changes, or None."""
    part, *path = name.split(".")
    kinds = _PARTS[part] if path else (Recipe,)
    last = path[-1] if path else part
    return next((f for kind in kinds for f in fields(kind) if f.name == last), None)


def _is_quantity(name: str, text: str) -> bool:
    field = _field(name)
    if name == "bias":  # True and False are no numbers
        return bool(_QUANTITY.fullmatch(text.strip()))
    return field is not None and "Quantity" in str(field.type)


def _read_quantity(name: str, text: str) -> u.Quantity | None:
    """Read a number with its unit: ``2s``, ``2 s``, ``2 * u.s``."""
    if text == "None":
        return None
    match = _QUANTITY.fullmatch(text.strip())
    unit = _UNITS.get(name, " UNIT")
    if not match:
        raise ChangeError(f"{name}={text} is not a number with a unit; write {name}=2{unit}.")
    number, given = match[1], match[2].strip()
    if not given:
        raise ChangeError(f"{name}={text} has no unit; write {name}={number}{unit}.")
    try:
        value = float(number) * u.Unit(given)
    except (ValueError, TypeError) as error:
        raise ChangeError(
            f"{name}={text}: {given!r} is not a unit; write {name}={number}{unit}."
        ) from error
    if name in _UNITS and not value.unit.is_equivalent(u.Unit(unit)):
        raise ChangeError(f"{name}={text} is not in {unit}; write {name}={number}{unit}.")
    return value


def _check_value(name: str, value: object) -> None:
    """Refuse a value that is impossible in any recipe."""
    part, *path = name.split(".")
    last = path[-1] if path else part
    for kind, given in _trials(part, path, value):
        try:
            kind(**given)
            return
        except (ProfileError, TypeError, ValueError) as error:
            fault = error
    why = str(fault)
    text = f"{name}{why[len(last) :]}" if why.startswith(f"{last}=") else f"{name}: {why}"
    raise ChangeError(text) from fault


def _trials(part: str, path: list[str], value: object) -> list[tuple[type, dict]]:
    """Return the classes and arguments to try a value with; one of them must accept it."""
    if not path:
        return [(Recipe, {part: value})]
    if part == "limits" and len(path) == 2:
        return [(Limits, {"frames": {path[1]: value}})]
    if part == "combine" and len(path) == 2 and path[1] == "method" and value == "sum":
        return [(Recipe, {"combine": {path[0]: Combine(method="sum")}})]
    if part != "flat":
        return [(_PARTS[part][0], {path[-1]: value})]
    given = {path[0]: value}
    kinds = [k for k in _PARTS["flat"] if path[0] in {f.name for f in fields(k)}]
    return [(k, given if k is Flat else {"dispersion": "x"} | given) for k in kinds]


def _changed(setting: str, value: Any, whole: Any, recipe: Recipe, profile: str) -> Any:
    """Return a part of a recipe with one setting changed."""
    part, *path = setting.split(".")
    if part == "combine":
        return _combined(path, value, replace(recipe, combine=whole))
    if part == "limits" and len(path) == 2:
        path, value = ["frames"], {**whole.frames, path[1]: value}
    if part == "cosmic_rays" and whole is None:
        whole = CosmicRays()
    if part == "flat":
        known = [] if whole is None else [f.name for f in fields(whole)]
        if path[0] not in known:
            has = "no flat" if whole is None else f"a {type(whole).__name__}"
            takes = f", which has only {', '.join(known)}" if known else ""
            raise ChangeError(
                f"{setting}={_text(value)} does not fit the recipe of {profile}: it has "
                f"{has}{takes}; omit the setting, or move the frames of that camera to a folder of their own."
            )
    try:
        return replace(whole, **{path[0]: value})
    except ProfileError as error:
        raise ChangeError(
            f"{setting}={_text(value)} does not fit the recipe of {profile}: {error}"
        ) from error


def _combined(path: list[str], value: Any, recipe: Recipe) -> dict[str, Combine]:
    """Return how masters are combined, with one setting of all or of one type changed."""
    own = dict(recipe.combine) if isinstance(recipe.combine, Mapping) else {}
    kinds = path[:1] if len(path) == 2 else STEPS
    all_of_them = {kind: recipe.combine_for(kind) for kind in STEPS} | own
    for kind in kinds:
        was = all_of_them.get(kind, recipe.combine_for(kind))
        all_of_them[kind] = replace(was, **{path[-1]: value})
    return all_of_them


def _text(value: object) -> str:
    """Write a value on one line, short enough for a card."""
    if isinstance(value, u.Quantity):
        return f"{str(float(value.value)).removesuffix('.0')} {value.unit}"
    text = " ".join(str(value).split())
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - 7]}~{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _first(value: tuple[str, object]) -> str:
    return value[0]
