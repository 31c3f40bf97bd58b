"""Rows of an overscan whose level is contaminated by light."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy.ndimage import median_filter

from .noise import median
from .quality import _MAD

__all__ = ["steady"]

_WINDOW = 101
_APART = 8.0
_LEAST = 3.0
_MUCH = 10.0
_SIDE = 25
_BLOCKS = 2


def steady(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """Replace overscan levels that light has lifted far from those of the rows around them.

    A row is touched only where it stands apart by 8 times the noise from row to row
    and by 3 adu; all others keep their number to the last bit.

    Parameters
    ----------
    rows : ndarray of float64
        The level of each row, in adu.

    Returns
    -------
    ndarray of float64
        Rows that light has lifted have the level of the rows on their two sides.
    int
        How many rows those are.

    Notes
    -----
    A pedestal may settle while the first rows are read, drift, or jump, and the data
    move with it. Light lifts rows between others; at the ends of a frame only what
    breaks off from one row to the next, and is much, is believed to be light. A pedestal
    that swings goes down as often as up, and one that jumps more than twice to and fro
    is no light either.
    """
    if len(rows) < 8:
        return rows, 0
    noise = _MAD * median(np.abs(np.diff(rows))) / 2**0.5
    allowed = max(_APART * noise, _LEAST)
    if np.abs(rows - median(rows)).max() <= allowed:
        return rows, 0
    window = min(_WINDOW, (len(rows) - 1) // 2 * 2 + 1)
    near = median_filter(rows, window, mode="reflect")
    lit = np.zeros(len(rows), bool)
    for first, stop in [*_lifted(rows, near, window // 2, allowed), *_blocks(near, allowed)]:
        lit[first:stop] = True
    if not lit.any():
        return rows, 0
    found = rows.copy()
    for first, stop in _runs(lit):
        before, after = rows[:first][~lit[:first]], rows[stop:][~lit[stop:]]
        sides = [np.median(part) for part in (before[-_SIDE:], after[:_SIDE]) if part.size]
        found[first:stop] = np.linspace(sides[0], sides[-1], stop - first)
    return found, int(np.count_nonzero(lit))


def _runs(which: np.ndarray) -> np.ndarray:
    """Return first and stop of every run of True."""
    return np.flatnonzero(np.diff(np.r_[False, which, False])).reshape(-1, 2)


def _lifted(
    rows: np.ndarray, near: np.ndarray, margin: int, allowed: float
) -> list[tuple[int, int]]:
    """Find the rows that light lifts above those around them."""
    off = rows - near
    above = off > allowed
    # A pedestal that settles may lie low at the ends; one that swings does so in between.
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
    """Tell light from a pedestal that moves where the frame begins or ends."""
    if first >= margin and stop <= len(rows) - margin:
        return True
    ends = [(n - 1, n) for n in (first, stop) if 0 < n < len(rows)]
    breaks = all(abs(rows[a] - rows[b]) > allowed for a, b in ends)
    return breaks and (rows - near)[first:stop].max() > _MUCH * allowed


def _blocks(near: np.ndarray, allowed: float) -> list[tuple[int, int]]:
    """Find where light lifts many rows: a step up, and then one as large down."""
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
