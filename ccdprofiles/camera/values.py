"""Single values of a profile: checks of choices, numbers, quantities and models.

Every check raises `ProfileError`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from types import MappingProxyType
from typing import Any

from astropy import units as u

from ..errors import ProfileError
from .spelling import near_words

__all__ = [
    "ADDED",
    "GAIN",
    "boolean",
    "check_model",
    "count",
    "fraction",
    "is_model",
    "is_number",
    "nearest",
    "one_of",
    "picklable",
    "positive",
    "quantity",
    "read_only",
    "several",
    "used_fields",
    "written",
]

GAIN = u.electron / u.adu

ADDED = {"added": True}
"""The metadata of a field that older profiles do not have. It is written and hashed only if it
differs from its default, so that the hashes of profiles that do not use it stay the same."""

_SMALLEST, _LARGEST = 1e-15, 1e15
"""The squares of these still fit into single precision."""

_SPELLED = {GAIN: "u.electron / u.adu", u.electron: "u.electron", u.adu: "u.adu"}


def one_of(value: object, choices: Sequence[str], field: str, more: str = "") -> None:
    """Refuse a value that is not one of the choices, with the nearest spelling."""
    if value not in choices:
        shown = value.__name__ if isinstance(value, type) else repr(value)
        raise ProfileError(
            f"{field}={shown} is not one of {', '.join(choices)}{more}{nearest(value, choices)}."
        )


def nearest(word: object, choices: Iterable[str]) -> str:
    """Return ``" (did you mean 'flat'?)"``, or nothing if no choice is near."""
    near = near_words(word, choices)
    return f" (did you mean {near[0]!r}?)" if near else ""


def several(value: object) -> bool:
    """Return True for a tuple, list or set of values."""
    return isinstance(value, tuple | list | set | frozenset)


def is_number(value: object) -> bool:
    """Return True for a finite number, but not for True or False."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def fraction(value: Any, field: str) -> None:
    """Refuse a value that is not a number from 0 up to, but not including, 1."""
    if not (is_number(value) and 0 <= value < 1):
        raise ProfileError(f"{field}={value!r} is not a fraction between 0 and 1.")


def positive(value: Any, field: str, more: str = "") -> None:
    """Refuse a value that is not a positive number."""
    if not (is_number(value) and value > 0):
        raise ProfileError(f"{field}={value!r} is not a positive number{more}.")


def count(value: object, field: str) -> None:
    """Refuse a value that is not a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ProfileError(f"{field}={value!r} is not a positive whole number.")


def boolean(value: object, field: str) -> None:
    """Refuse a value that is neither True nor False."""
    if not isinstance(value, bool):
        raise ProfileError(f"{field}={value!r} is not True or False.")


def quantity(value: object, unit: u.UnitBase, field: str) -> float:
    """Return a positive quantity as a number of ``unit``, or refuse it.

    Raises
    ------
    ProfileError
        If it has no unit or the wrong one, or is not a positive finite number that is possible for
        a camera.
    """
    if not isinstance(value, u.Quantity) or not value.unit.is_equivalent(unit):
        plain = value.value if isinstance(value, u.Quantity) else value
        spelled = _SPELLED.get(unit, f"u.{unit}")
        raise ProfileError(
            f"{field}={value} is not in {unit}; write it as {field}={plain} * {spelled}."
        )
    number = value.to_value(unit)
    if getattr(number, "ndim", 0) or not 0 < number < math.inf:
        raise ProfileError(f"{field}={value} is not a positive number.")
    if not _SMALLEST <= number <= _LARGEST:
        raise ProfileError(
            f"{field}={value} is outside the range {_SMALLEST:g} to {_LARGEST:g} {unit} of possible "
            "cameras; correct it."
        )
    return float(number)


def used_fields(instance: Any) -> list[Field]:
    """Return the fields of a dataclass without those marked `ADDED` that are not used."""
    return [
        f
        for f in fields(instance)
        if not f.metadata.get("added") or getattr(instance, f.name) != _default(f)
    ]


def _default(field: Field) -> Any:
    factory: Any = field.default_factory
    return field.default if factory is MISSING else factory()


def written(instance: Any) -> str:
    """Write a dataclass as Python would, without the added fields that are not used."""
    pairs = (f"{f.name}={getattr(instance, f.name)!r}" for f in used_fields(instance) if f.repr)
    return f"{type(instance).__qualname__}({', '.join(pairs)})"


def is_model(value: object) -> bool:
    """Return True for an astropy model; if there is one, astropy.modeling has been imported."""
    modeling = sys.modules.get("astropy.modeling")
    return modeling is not None and isinstance(value, modeling.Model)


def check_model(value: object, field: str) -> bool:
    """Return True for a model that can be fitted along one axis, False for what is not a model.

    Raises
    ------
    ProfileError
        If it is a class instead of a model, has more than one input or output, is a set
        of several models, or has no parameter to fit.
    """
    modeling = sys.modules.get("astropy.modeling")
    if modeling and isinstance(value, type) and issubclass(value, modeling.Model):
        raise ProfileError(
            f"{field}={value.__name__} is a class, but a model was expected; "
            f"write {field}={value.__name__}(...)."
        )
    if not is_model(value):
        return False
    fault = _fault_of(value)
    if fault:
        raise ProfileError(
            f"{field}={value.__class__.__name__}(...) is a {fault}; use a model that gives a level for "
            "each row, such as Polynomial1D(3)."
        )
    return True


def _fault_of(model: Any) -> str:
    """Return why a model cannot be fitted to one level for each row, or nothing."""
    if (model.n_inputs, model.n_outputs) != (1, 1):
        return (
            f"model of {_number_of(model.n_inputs, 'input')} and "
            f"{_number_of(model.n_outputs, 'output')}"
        )
    if len(model) != 1:
        return f"set of {len(model)} models"
    return "" if model.fittable and model.param_names else "model without parameters to fit"


def _number_of(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def read_only(mapping: Mapping) -> Mapping:
    """Return a read-only copy of a mapping."""
    return MappingProxyType(dict(mapping))


def picklable(instance: Any) -> tuple[Callable, tuple]:
    """Return what ``__reduce__`` needs to pickle or copy a dataclass with read-only mappings."""
    values = {f.name: _plain(getattr(instance, f.name)) for f in fields(instance)}
    return _rebuilt, (type(instance), values)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, MappingProxyType) else value


def _rebuilt(kind: type, values: dict) -> object:
    return kind(**values)
