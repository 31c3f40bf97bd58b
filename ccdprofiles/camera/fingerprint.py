"""The hash of a profile: equal for profiles that do the same, regardless of comments and names."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import Field
from functools import partial
from typing import Any

from astropy import units as u

from ..errors import ProfileError
from .amplifier import Amplifier
from .corrections import named_files, sha256_of_file
from .frame_types import HASHED_FRAME_TYPES
from .recipe import Recipe
from .settings import Dated, Setting
from .values import is_model, used_fields
from .watch import place, reason

__all__ = ["fingerprint"]

_ADDED_LATER = ("frame_size", "mixed_setup", "ignore_cards")
"""Fields that enter the hash only if they are used, so that older hashes do not change, as those
do that are marked `ADDED`."""


def fingerprint(profile: Any, name: str) -> str:
    """Return the SHA-256 of everything that determines what a profile does.

    Parameters
    ----------
    profile : Profile
    name : str
        The name of the profile in a message.

    Raises
    ------
    ProfileError
        If a value of the profile fails to describe itself, or a file that it names is missing.
    """
    values = {f.name: getattr(profile, f.name) for f in used_fields(profile) if _counts(profile, f)}
    values["frame_types"] = profile.frame_types or HASHED_FRAME_TYPES
    try:
        lines = [f"{field}={_written(value)}" for field, value in values.items()]
    except Exception as error:  # raised by the user's own objects
        raise ProfileError(
            f"{name}: a value of the profile cannot be hashed ({reason(error)}{place(error)}); "
            "use texts, numbers or plain functions."
        ) from error
    if isinstance(profile.recipe, Recipe):
        files = named_files(profile.recipe, profile.folder)
        lines += [f"{field} {path.name} {sha256_of_file(path)}" for field, path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _counts(owner: Any, field: Field) -> bool:
    """Return True if a field of a profile, an amplifier or a recipe enters the hash."""
    if not field.compare or field.name == "telescope":
        return False
    return field.name not in _ADDED_LATER or getattr(owner, field.name) != field.default


def _written(value: Any) -> str:
    """Write a value so that equal values give equal texts."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(_written, value)) + ")"
    if isinstance(value, Amplifier | Recipe):
        inner = ", ".join(
            f"{f.name}={_written(getattr(value, f.name))}" for f in used_fields(value)
        )
        return f"{type(value).__name__}({inner})"
    if is_model(value):
        return f"{value.__class__.__name__}{value.parameters.tolist()}"
    if isinstance(value, u.Quantity):
        return f"{value.value.tolist()} {value.unit}"
    if isinstance(value, Setting):
        return repr(value)  # written in one way, however it was given
    if isinstance(value, Dated):
        return f"Dated({_written(value.periods)}, {value.card})"
    if isinstance(value, partial):
        return (
            f"partial({_written(value.func)}, {_written(value.args)}, {_written(value.keywords)})"
        )
    return _source(value) if callable(value) else repr(value)


def _source(function: Callable) -> str:
    """Return the file of a function, which may use all of it, without comments and the status."""
    try:
        lines, _ = inspect.findsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        if code is None:
            return f"{type(function).__qualname__}{_written(getattr(function, '__dict__', {}))}"
        return f"{code.co_code.hex()}{code.co_consts!r}"
    tree = ast.parse("".join(lines))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("Profile", ".but")):
            node.keywords = [k for k in node.keywords if k.arg != "status"]
    return ast.unparse(tree)
