"""Read-only mappings inside frozen dataclasses, which Python neither pickles nor copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

__all__ = ["picklable", "read_only"]


def read_only(mapping: Mapping) -> Mapping:
    """Return a copy of a mapping that nobody can change."""
    return MappingProxyType(dict(mapping))


def picklable(instance: Any) -> tuple[Callable, tuple]:
    """Return what ``__reduce__`` of a dataclass needs to pickle and to copy it."""
    values = {f.name: _plain(getattr(instance, f.name)) for f in fields(instance)}
    return _rebuilt, (type(instance), values)


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, MappingProxyType) else value


def _rebuilt(kind: type, values: dict) -> object:
    return kind(**values)
