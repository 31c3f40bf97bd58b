"""The linearity of a camera: from raw counts above the bias to counts proportional to the light."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ProfileError
from .values import is_model, is_number, read_only, several

__all__ = ["Curve", "check_linearity", "curves_of", "linearity_text"]

_TOP = 65535.0
"""The raw value, in adu, up to which a polynomial must increase."""

_COLUMNS = "the columns raw and linear, in adu, and amplifier if they differ"


@dataclass(frozen=True)
class Curve:
    """The linearity of one amplifier, as a polynomial or a table.

    Parameters
    ----------
    coefficients : tuple of float
        Of a polynomial in the raw counts, from the constant term, which is 0; empty for a table.
    raw, linear : tuple of float
        A table that begins at 0; its values are interpolated linearly, and its last slope is
        continued beyond its end.
    """

    coefficients: tuple[float, ...] = ()
    raw: tuple[float, ...] = ()
    linear: tuple[float, ...] = ()

    @property
    def end(self) -> float:
        """The raw counts above which the curve is not known; infinite for a polynomial."""
        return self.raw[-1] if self.raw else np.inf

    def __call__(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return linear counts and the slope of the curve there, of the type of ``counts``."""
        if self.coefficients:
            total, slope = np.zeros_like(counts), np.zeros_like(counts)
            for coefficient in reversed(self.coefficients):
                slope = slope * counts + total
                total = total * counts + counts.dtype.type(coefficient)
            return total, slope
        raw, linear = np.array(self.raw), np.array(self.linear)
        slopes = np.diff(linear) / np.diff(raw)
        piece = np.clip(np.searchsorted(raw, counts, side="right") - 1, 0, len(slopes) - 1)
        values = linear[piece] + (counts - raw[piece]) * slopes[piece]
        return values.astype(counts.dtype), slopes[piece].astype(counts.dtype)


def check_linearity(value: Any) -> Any:
    """Return the linearity of a recipe, with tuples and read-only dicts.

    Parameters
    ----------
    value : Polynomial1D, sequence of (raw, linear), str, mapping of these, or None

    Raises
    ------
    ProfileError
        If it is none of these, or a curve does not increase.
    """
    if value is None:
        return None
    if isinstance(value, Mapping):
        if not value or not all(isinstance(name, str) for name in value):
            raise ProfileError(
                f"linearity={dict(value)!r} does not name amplifiers; use {{'left': …, 'right': …}}."
            )
        return read_only({name: _checked(one) for name, one in value.items()})
    return _checked(value)


def _checked(value: Any) -> Any:
    if isinstance(value, str):
        if not value.lower().endswith(".ecsv"):
            raise ProfileError(
                f"linearity={value!r} is not the name of a table; use one that ends in .ecsv, beside "
                f"the profile, with {_COLUMNS}."
            )
        return value
    if several(value):
        value = tuple(tuple(pair) if several(pair) else pair for pair in value)
    curve = _curve(value)
    # A polynomial over another domain is hashed by its coefficients alone.
    if not is_model(value):
        return value
    named = {f"c{n}": coefficient for n, coefficient in enumerate(curve.coefficients)}
    return type(value)(value.degree, **named)


def _curve(value: Any) -> Curve:
    """Return a polynomial or the pairs of a table as a curve.

    Raises
    ------
    ProfileError
    """
    if is_model(value):
        return _polynomial(value)
    if isinstance(value, tuple) and all(
        isinstance(p, tuple) and len(p) == 2 and all(map(is_number, p)) for p in value
    ):
        return _table(value)
    raise ProfileError(
        f"linearity={value!r} is not a curve; use Polynomial1D(...) of the raw counts in adu, pairs "
        "((0, 0), (raw, linear), …), or the name of a table."
    )


def _polynomial(model: Any) -> Curve:
    if type(model).__name__ != "Polynomial1D":
        raise ProfileError(
            f"linearity={type(model).__name__}(...) is not a Polynomial1D; use one, or a table of pairs."
        )
    domain, window = model.domain or model.window, model.window
    plain = np.polynomial.Polynomial(model.parameters, domain, window).convert()
    coefficients = tuple(map(float, np.pad(plain.coef, (0, model.degree + 1 - len(plain.coef)))))
    if coefficients[0] != 0 or not np.isfinite(coefficients).all():
        raise ProfileError(
            f"linearity=Polynomial1D(c0={coefficients[0]:g}, …) does not leave 0 adu at 0 adu; set "
            "c0=0, because the bias is subtracted before."
        )
    curve = Curve(coefficients=coefficients)
    if not (curve(np.linspace(0, _TOP, 1001))[1] > 0).all():
        raise ProfileError(
            f"linearity=Polynomial1D(...) does not increase everywhere between 0 and {_TOP:g} adu; "
            "use another degree, or a table of pairs."
        )
    return curve


def _table(pairs: Sequence[tuple[float, float]]) -> Curve:
    if len(pairs) < 2 or tuple(pairs[0]) != (0, 0):
        raise ProfileError(
            f"linearity={pairs!r} does not begin at (0, 0), or has one point only; use the raw counts "
            "above the bias and the linear counts, both in adu."
        )
    raw, linear = (tuple(map(float, column)) for column in zip(*pairs, strict=True))
    for name, column in (("raw", raw), ("linear", linear)):
        if not (np.diff(column) > 0).all():
            raise ProfileError(
                f"linearity=: the {name} counts {column} do not increase from point to point; "
                "correct the table."
            )
    return Curve(raw=raw, linear=linear)


def curves_of(value: Any, names: Sequence[str], folder: Path) -> tuple[Curve, ...]:
    """Return the curve of each amplifier.

    Parameters
    ----------
    value : Polynomial1D, tuple, str or mapping
        The linearity of a recipe.
    names : sequence of str
        Of the amplifiers.
    folder : Path
        Where its files are.

    Raises
    ------
    ProfileError
        If an amplifier has no curve, or a table is not valid.
    """
    return tuple(_of_amplifier(value, name, folder) for name in names)


def linearity_text(value: Any) -> str:
    """Return the linearity of a recipe in a few words, for a header."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {linearity_text(one)}" for name, one in value.items())
    if isinstance(value, str):
        return Path(value).name
    if is_model(value):
        return " ".join(f"{c:+.6g} x^{n}" for n, c in enumerate(_curve(value).coefficients) if c)
    return f"table of {len(value)} points"


def _of_amplifier(value: Any, name: str, folder: Path) -> Curve:
    if isinstance(value, Mapping):
        if name not in value:
            raise ProfileError(
                f"linearity= has no curve for the amplifier {name!r}, only for {', '.join(value)}; add "
                "one."
            )
        value = value[name]
    if not isinstance(value, str):
        return _curve(value)
    path = folder / value
    now = os.stat(path)
    return _read(path, now.st_mtime_ns, now.st_size, name)


@lru_cache(64)
def _read(path: Path, mtime_ns: int, size: int, name: str) -> Curve:
    """Read the curve of an amplifier from a table."""
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.ecsv")
        if "amplifier" in table.colnames:
            table = table[[str(own) == name for own in table["amplifier"]]]
        pairs = tuple(zip(map(float, table["raw"]), map(float, table["linear"]), strict=True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProfileError(
            f"{path.name} is not a table of the linearity ({error}); write {_COLUMNS}."
        ) from error
    if not pairs:
        raise ProfileError(
            f"{path.name} has no rows for the amplifier {name!r}; add them, or leave out the column "
            "amplifier if one curve holds for all."
        )
    try:
        return _table(pairs)
    except ProfileError as error:
        raise ProfileError(f"{path.name}: {error}") from error
