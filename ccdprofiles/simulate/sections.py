"""The cards of sections, gains and other numbers that a profile reads, as a camera would write them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any

from ..camera.amplifier import Amplifier, is_pattern
from ..camera.extensions import expanded
from ..camera.header_values import time_of
from ..camera.section import Section, is_card
from ..camera.settings import Dated, Number, Setting
from ..errors import ProfileError

__all__ = [
    "STRIP",
    "are_in_cards",
    "columns_across",
    "each_extension",
    "frames_of_cards",
    "has_text",
    "number_cards",
    "reach_of_cards",
    "section_cards",
]

STRIP = 32
"""Columns of overscan of each amplifier whose sections are in cards, and rows of a parallel one."""

PATTERN_EXTENSIONS = 4
"""How many extensions a file has for a pattern such as ``"SCI*"``."""

Cards = dict[int | str | None, dict[str, Any]]
"""The cards of each extension."""


def each_extension(amplifiers: Sequence[Amplifier]) -> tuple[Amplifier, ...]:
    """Return amplifiers with four extensions for each pattern."""
    names = [
        re.sub(r"\[[^]]*\]|[*?]", str(k), a.extension)
        for a in amplifiers
        if isinstance(a.extension, str) and is_pattern(a.extension)
        for k in range(1, PATTERN_EXTENSIONS + 1)
    ]
    return expanded(amplifiers, names)


def are_in_cards(amplifiers: Sequence[Amplifier]) -> bool:
    """Return True if all sections are in cards.

    Raises
    ------
    ProfileError
        If only some are.
    """
    cards = [card for a in amplifiers for card in a.section_cards]
    if not cards:
        return False
    texts = [t for a in amplifiers for t in (a.data, *a.strips, a.parallel_overscan, a.detector)]
    literal = [t for t in texts if t is not None and not is_card(t)]
    if literal:
        raise ProfileError(
            f"some sections of this camera are in cards ({', '.join(dict.fromkeys(cards))}) and others in "
            f"the profile ({literal[0]}), so no sections can be invented for them; use a header= in "
            "simulate_night that returns the cards of a real frame."
        )
    return True


def columns_across(number: int) -> int:
    """Return how many amplifiers of an image are beside each other, whose sections are in cards."""
    return _Grid.of(number).across


@dataclass(frozen=True)
class _Grid:
    """Amplifiers in rows and columns: all of them on the detector, or those of one image."""

    across: int
    up: int

    @classmethod
    def of(cls, number: int) -> _Grid:
        up = next(n for n in range(isqrt(number), 0, -1) if number % n == 0)
        return cls(number // up, up)

    def cell(self, k: int) -> tuple[int, int]:
        """Return the column and row of an amplifier in the grid, from 0."""
        return k % self.across, k // self.across


def _images(
    amplifiers: Sequence[Amplifier],
) -> Iterator[tuple[int | str | None, list[int], _Grid]]:
    """Iterate over the extensions: the amplifiers in each, and their grid."""
    for extension in dict.fromkeys(a.extension for a in amplifiers):
        here = [k for k, a in enumerate(amplifiers) if a.extension == extension]
        yield extension, here, _Grid.of(len(here))


def _margins(amplifiers: Sequence[Amplifier]) -> tuple[int, int]:
    """Return the columns and rows of overscan of each amplifier, unbinned."""
    serial = any(a.strips for a in amplifiers)
    parallel = any(a.parallel_overscan is not None for a in amplifiers)
    return STRIP * serial, STRIP * parallel


def frames_of_cards(
    amplifiers: Sequence[Amplifier], size: tuple[int, int]
) -> dict[int | str | None, tuple[int, int]]:
    """Return the columns and rows of the raw image of each extension, unbinned.

    Parameters
    ----------
    amplifiers : sequence of Amplifier
        Whose sections are in cards; a pattern stands for four extensions.
    size : tuple of int
        Rows and columns of the data of all of them, unbinned.

    Raises
    ------
    ProfileError
        If they cannot be divided evenly among the amplifiers.
    """
    every = each_extension(amplifiers)
    grid, (beside, above) = _Grid.of(len(every)), _margins(every)
    for length, by, what in ((size[1], grid.across, "columns"), (size[0], grid.up, "rows")):
        if length < by or length % by:
            raise ProfileError(
                f"{length} {what} cannot be divided evenly among {by} amplifiers; use a multiple of that number."
            )
    columns, rows = size[1] // grid.across + beside, size[0] // grid.up + above
    sizes = {e: (columns * own.across, rows * own.up) for e, _, own in _images(every)}
    patterns = {a.extension: next(iter(sizes.values())) for a in amplifiers if a not in every}
    return patterns | {e: s for e, s in sizes.items() if e in {a.extension for a in amplifiers}}


def section_cards(
    amplifiers: Sequence[Amplifier],
    shapes: Mapping[int | str | None, tuple[int, int]],
    binning: tuple[int, int],
    overscan_bins: bool,
) -> Cards:
    """Return the section cards of each extension, for amplifiers that are read side by side.

    Parameters
    ----------
    amplifiers : sequence of Amplifier
        Whose sections are in cards.
    shapes : mapping
        Rows and columns of the raw image of each extension, as stored.
    binning : tuple of int
    overscan_bins : bool
        False if overscan has as many columns and rows in every binning.
    """
    beside, above = _margins(amplifiers)
    if overscan_bins:
        beside, above = beside // binning[0], above // binning[1]
    chip = _Grid.of(len(amplifiers))
    cards: Cards = {}
    for extension, here, grid in _images(amplifiers):
        rows, columns = shapes[extension]
        wide, high = columns // grid.across - beside, rows // grid.up - above
        if min(wide, high) < 1:
            raise ProfileError(
                f"a raw image of {columns} columns and {rows} rows has no room for the data of "
                f"{len(here)} amplifiers and an overscan of {beside} columns; use a larger shape=."
            )
        own = cards.setdefault(extension, {})
        for place, k in enumerate(here):
            a = amplifiers[k]
            column, row = grid.cell(place)
            left, bottom = column * (wide + beside), row * (high + above)
            own[a.data] = _section(left, wide, bottom, high)
            for strip in a.strips:
                own[strip] = _section(left + wide, beside, bottom, high)
            if a.parallel_overscan is not None:
                own[a.parallel_overscan] = _section(left, wide, bottom + high, above)
            if a.detector is not None:
                own[a.detector] = _position(chip.cell(k), (wide, high), binning, len(here) == 1)
    return cards


def _section(left: int, wide: int, bottom: int, high: int) -> str:
    return f"[{left + 1}:{left + wide},{bottom + 1}:{bottom + high}]"


def _position(
    cell: tuple[int, int], size: tuple[int, int], binning: tuple[int, int], flips: bool
) -> str:
    """Return a position on the detector, backward if it is not in the first column or row."""
    ranges = []
    for n, length, by in zip(cell, size, binning, strict=True):
        first, last = n * length * by + 1, (n + 1) * length * by
        ranges.append(f"{last}:{first}" if flips and n else f"{first}:{last}")
    return f"[{ranges[0]},{ranges[1]}]"


def reach_of_cards(
    amplifiers: Sequence[Amplifier], header: Mapping
) -> tuple[int | None, int | None]:
    """Return the last column and row of all sections in the cards of a header, as stored."""
    names = {t for a in amplifiers for t in (a.data, *a.strips, a.parallel_overscan) if is_card(t)}
    sections = [Section.parse(header[c]) for c in names if has_text(header, c)]
    columns = [s.last_column for s in sections if s.last_column]
    rows = [s.last_row for s in sections if s.last_row]
    return max(columns, default=None), max(rows, default=None)


def has_text(header: Mapping, card: str | None) -> bool:
    """Return True if a card of a header is not blank."""
    return bool(str(header.get(card, "")).strip())


def number_cards(
    amplifiers: Sequence[Amplifier], header: Mapping, usual: Mapping[str, float]
) -> Cards:
    """Return the cards of each extension that contain the gain and other numbers, or lead to them.

    Parameters
    ----------
    amplifiers : sequence of Amplifier
    header : mapping
        A card that it has is not returned.
    usual : mapping
        The number for each field of an amplifier, used for cards that contain numbers.
    """
    cards: Cards = {}
    for amplifier in amplifiers:
        own = cards.setdefault(amplifier.extension, {})
        pairs = [(field, getattr(amplifier, field)) for field in amplifier.varies]
        # Tables first: the same card may also contain a number.
        for field, number in sorted(pairs, key=lambda pair: isinstance(pair[1], str)):
            for card, value in _leading_to(number, usual[field], header):
                if header.get(card) is None:
                    own.setdefault(card, value)
    return cards


def _leading_to(number: Number, usual: float, header: Mapping) -> Iterator[tuple[str, Any]]:
    """Iterate over the cards, and their values, that lead to a number of an amplifier."""
    if isinstance(number, str):
        yield number, usual
    elif isinstance(number, Dated):
        if time_of(header.get(number.card)) is not None:
            yield from _leading_to(number.at(header), usual, header)
    elif isinstance(number, Setting):
        known = [value for value, n in number.table.items() if n is not None]
        card = _first(number.card)
        if known:
            yield card, known[0]
        elif number.else_card is not None:
            yield _first(number.else_card), usual


def _first(card: str | tuple[str, ...]) -> str:
    return card if isinstance(card, str) else card[0]
