"""Rows of the overscan whose level is contaminated by light."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.ndimage import median_filter

from .statistics import MAD_TO_STD, median

__all__ = ["replace_lit_rows"]

_WINDOW = 101
"""Rows of the running median from which a row must deviate."""

_SIGMAS, _ADU = 8.0, 3.0
"""A row must deviate by so many times the noise from row to row, and by so many adu."""

_FACTOR_AT_ENDS = 10.0
"""How many times more a row must deviate near the first and the last row."""

_SIDE = 25
"""Rows on either side from whose median the level of contaminated rows is interpolated."""

_BLOCKS = 2
"""More blocks of rows than this, raised and lowered again, are jumps of the pedestal."""


def replace_lit_rows(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Replace overscan levels contaminated by light by those of the rows around them.

    A row is replaced only where it deviates by 8 times the noise from row to row and by
    3 adu; all others keep their value to the last bit.

    Parameters
    ----------
    rows : ndarray of float64, shape (rows,)
        The overscan level of each row, in adu.

    Returns
    -------
    levels : ndarray of float64, shape (rows,)
        In adu; contaminated rows have the level interpolated between their two sides.
    n_lit_rows : int
        How many rows were replaced.

    Notes
    -----
    A pedestal may settle while the first rows are read, drift, or jump, and the data move
    with it. Light raises rows between others; near the ends of a frame only a sudden and
    large rise from one row to the next is taken for light. An oscillating pedestal falls as
    often as it rises, and one that jumps up and down more than twice is not light either.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.lit_rows import replace_lit_rows
    >>> rows = 1000 + np.tile([0.0, 1.0], 150)
    >>> rows[150:155] += 40
    >>> levels, n_lit_rows = replace_lit_rows(rows)
    >>> n_lit_rows, float(levels[152])
    (5, 1001.0)
    """
    if len(rows) < 8:
        return rows, 0
    noise = MAD_TO_STD * median(np.abs(np.diff(rows))) / 2**0.5
    allowed = max(_SIGMAS * noise, _ADU)
    if np.abs(rows - median(rows)).max() <= allowed:
        return rows, 0
    window = min(_WINDOW, (len(rows) - 1) // 2 * 2 + 1)
    near = median_filter(rows, window, mode="reflect")
    lit = np.zeros(len(rows), bool)
    for first, stop in [*_raised(rows, near, window // 2, allowed), *_blocks(near, allowed)]:
        lit[first:stop] = True
    if not lit.any():
        return rows, 0
    levels = rows.copy()
    for first, stop in _runs(lit):
        before, after = rows[:first][~lit[:first]], rows[stop:][~lit[stop:]]
        sides = [np.median(part) for part in (before[-_SIDE:], after[:_SIDE]) if part.size]
        levels[first:stop] = np.linspace(sides[0], sides[-1], stop - first)
    return levels, int(np.count_nonzero(lit))


def _runs(which: np.ndarray) -> np.ndarray:
    """Return the first place of each run of True, and the place after its last."""
    return np.flatnonzero(np.diff(np.r_[False, which, False])).reshape(-1, 2)


def _raised(
    rows: np.ndarray, near: np.ndarray, margin: int, allowed: float
) -> list[tuple[int, int]]:
    """Return the runs of rows that light raises above the running median."""
    off = rows - near
    above = off > allowed
    # A settling pedestal may be low near the ends; an oscillating one is low in between too.
    below = off[margin:-margin] < -allowed
    if np.count_nonzero(below) > np.count_nonzero(above) / 2:
        return []
    return [
        (first, stop)
        for first, stop in _runs(above)
        if _is_light(rows, near, first, stop, margin, allowed)
    ]


def _is_light(
    rows: np.ndarray, near: np.ndarray, first: int, stop: int, margin: int, allowed: float
) -> bool:
    """Return True unless the rows may be a pedestal that settles at an end of the frame."""
    if first >= margin and stop <= len(rows) - margin:
        return True
    ends = [(n - 1, n) for n in (first, stop) if 0 < n < len(rows)]
    breaks = all(abs(rows[a] - rows[b]) > allowed for a, b in ends)
    return breaks and (rows - near)[first:stop].max() > _FACTOR_AT_ENDS * allowed


def _blocks(near: np.ndarray, allowed: float) -> list[tuple[int, int]]:
    """Return the blocks of rows that light raises: a step up, then a similar step down."""
    steps = np.diff(near)
    ends = [
        (first, stop, steps[first:stop].sum()) for first, stop in _runs(np.abs(steps) > allowed)
    ]
    blocks = [
        (first + 1, stop)
        for (first, _, up), (_, stop, down) in pairwise(ends)
        if up > 0 > down and 0.5 < -down / up < 2
    ]
    return blocks if len(blocks) <= _BLOCKS else []
