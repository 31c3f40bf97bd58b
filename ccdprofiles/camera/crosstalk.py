"""The crosstalk of a camera: the fractions of each amplifier's counts that appear in the others."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ProfileError
from .values import is_number, several

__all__ = ["check_crosstalk", "crosstalk_matrix"]

_LARGEST = 0.1
"""A larger fraction is no crosstalk, but a mistake, such as percent."""

_COLUMNS = "the columns victim, aggressor and fraction"


def check_crosstalk(value: Any) -> Any:
    """Return the crosstalk of a recipe: a matrix or (victim, aggressor, fraction) as tuples.

    Parameters
    ----------
    value : mapping of mappings, sequence of sequences, str, or None

    Raises
    ------
    ProfileError
        If it is none of these, or a fraction is not between -0.1 and 0.1.
    """
    if value is None:
        return None
    if isinstance(value, str):
        if not value.lower().endswith(".ecsv"):
            raise ProfileError(
                f"crosstalk={value!r} is not the name of a table; use one that ends in .ecsv, beside "
                f"the profile, with {_COLUMNS}."
            )
        return value
    if isinstance(value, Mapping) and all(isinstance(row, Mapping) for row in value.values()):
        value = [(victim, *pair) for victim, row in value.items() for pair in row.items()]
    if _is_list(value):
        for victim, aggressor, fraction in value:
            _check_fraction(victim, aggressor, fraction)
        return tuple(map(tuple, value))
    if several(value) and all(several(row) and len(row) == len(value) for row in value):
        for i, row in enumerate(value, 1):
            for j, fraction in enumerate(row, 1):
                _check_fraction(i, j, fraction)
        return tuple(map(tuple, value))
    raise ProfileError(
        f"crosstalk={value!r} is not a matrix; use {{'victim': {{'aggressor': 1e-3}}}}, a square matrix "
        "in the order of the amplifiers, or the name of a table."
    )


def _is_list(value: Any) -> bool:
    """Return True for a list of victims, aggressors and fractions."""
    return several(value) and all(
        several(row) and len(row) == 3 and isinstance(row[0], str) for row in value
    )


def _check_fraction(victim: object, aggressor: object, fraction: Any) -> None:
    if not is_number(fraction) or abs(fraction) > _LARGEST:
        raise ProfileError(
            f"crosstalk= has {fraction!r} for the amplifier {victim!r} from {aggressor!r}, which is not "
            f"a fraction between -{_LARGEST} and {_LARGEST}; use such as 1e-3 for 0.1 %."
        )
    if victim == aggressor and fraction:
        raise ProfileError(
            f"crosstalk= has {fraction!r} for the amplifier {victim!r} from itself; use 0, or leave it out."
        )


def crosstalk_matrix(value: Any, names: Sequence[str], folder: Path) -> np.ndarray:
    """Return the fractions as a matrix, victim x aggressor, in the order of the amplifiers.

    Parameters
    ----------
    value : tuple or str
        The crosstalk of a recipe.
    names : sequence of str
        Of the amplifiers.
    folder : Path
        Where its files are.

    Returns
    -------
    ndarray of float64, shape (amplifiers, amplifiers)

    Raises
    ------
    ProfileError
        If it names an amplifier that does not exist, has another number of them, or is a table
        that cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from ccdprofiles.camera.crosstalk import crosstalk_matrix
    >>> crosstalk_matrix((("B", "A", 1e-3),), ["A", "B"], Path())
    array([[0.   , 0.   ],
           [0.001, 0.   ]])
    """
    if isinstance(value, str):
        path = folder / value
        now = os.stat(path)
        value = _read(path, now.st_mtime_ns, now.st_size)
    if not _is_list(value):
        if len(value) != len(names):
            raise ProfileError(
                f"crosstalk= is a matrix of {len(value)} amplifiers, but the frame has {len(names)}; "
                "use one row and one column for each."
            )
        return np.array(value, "f8")
    matrix = np.zeros((len(names), len(names)))
    for victim, aggressor, fraction in value:
        for name in (victim, aggressor):
            if name not in names:
                raise ProfileError(
                    f"crosstalk= names the amplifier {name!r}, but the frame has "
                    f"{', '.join(map(repr, names))}; correct the name."
                )
        matrix[names.index(victim), names.index(aggressor)] = fraction
    return matrix


@lru_cache(16)
def _read(path: Path, mtime_ns: int, size: int) -> tuple:
    """Read a table of fractions."""
    from astropy.table import Table

    try:
        table = Table.read(path, format="ascii.ecsv")
        fractions = [
            (str(row["victim"]), str(row["aggressor"]), float(row["fraction"])) for row in table
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProfileError(
            f"{path.name} is not a table of the crosstalk ({error}); write {_COLUMNS}."
        ) from error
    try:
        return check_crosstalk(fractions)
    except ProfileError as error:
        raise ProfileError(f"{path.name}: {error}") from error
