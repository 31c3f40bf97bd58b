"""Image sections as FITS, IRAF and DS9 write them: ``[columns, rows]``, from 1, both ends included.

This is the only module where a section becomes a NumPy slice.

>>> from ccdprofiles.camera.section import Section
>>> overscan = Section.parse("[2056:2080, 1:4128]")
>>> overscan.width, overscan.height
(25, 4128)
>>> overscan.slices()
(slice(0, 4128, None), slice(2055, 2080, None))
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import SectionError

__all__ = [
    "Section",
    "around",
    "binned",
    "binned_size",
    "compact",
    "is_card",
    "position_text",
    "read_position",
]

_SECTION = re.compile(r"\[([^\[\],]*),([^\[\],]*)\]")
_CARD = re.compile(r"[A-Za-z0-9_-]+( [A-Za-z0-9_-]+)*")
_RANGE = re.compile(r"([0-9]{1,9}):([0-9]{1,9})")

Edge = Any
"""A whole number from 1, or None if the section reaches to the edge of a frame."""

_HOW = "write it as FITS does, '[first column:last column, first row:last row]', counting from 1"


@dataclass(frozen=True, order=True)
class Section:
    """A rectangle of pixels, in columns and rows that count from 1, both ends included.

    An end that is None extends to the edge of the frame, as ``:`` does in
    ``"[1:2048, :]"``; `within` fills it in.

    Parameters
    ----------
    first_column, last_column, first_row, last_row : int or None
        The edges of the rectangle; its columns are a FITS file's first axis.
    """

    first_column: Edge
    last_column: Edge
    first_row: Edge
    last_row: Edge

    @classmethod
    def parse(cls, text: str) -> Section:
        """Read a section such as ``"[2056:2080, 1:4128]"``.

        Blanks are ignored. ``:`` or ``*`` alone means a whole axis.

        Raises
        ------
        SectionError
            Unless the text contains exactly two ranges of whole numbers from 1, each in
            ascending order. ccdproc accepts a section of one axis and slices rows with
            it, which subtracts the wrong part of the chip.
        """
        if not isinstance(text, str):
            raise SectionError(f"{text!r} is not an image section; {_HOW}.")
        return _parsed(text)

    @property
    def width(self) -> Edge:
        """The number of columns, or None if they reach to an unknown edge."""
        return None if self.last_column is None else self.last_column - self.first_column + 1

    @property
    def height(self) -> Edge:
        """The number of rows, or None if they reach to an unknown edge."""
        return None if self.last_row is None else self.last_row - self.first_row + 1

    def within(self, shape: tuple[int, int], what: str = "section") -> Section:
        """Return this section with its open ends filled in for a frame of ``shape`` (rows, columns).

        Raises
        ------
        SectionError
            If any part of it is outside the frame. ccdproc silently cuts such a section,
            even to nothing.
        """
        rows, columns = shape
        full = Section(
            self.first_column or 1,
            self.last_column or columns,
            self.first_row or 1,
            self.last_row or rows,
        )
        if full.last_column > columns or full.last_row > rows:
            raise SectionError(
                f"{what} {self} is outside the frame, which has {columns} columns and "
                f"{rows} rows; correct the profile, or reject the frame if it was truncated."
            )
        return full

    def slices(self) -> tuple[slice, slice]:
        """Return the NumPy slices (rows, columns) of this section."""
        return (
            slice(None if self.first_row is None else self.first_row - 1, self.last_row),
            slice(None if self.first_column is None else self.first_column - 1, self.last_column),
        )

    def overlaps(self, other: Section) -> bool:
        """Return True if two sections share a pixel; an open end has no limit."""
        return _meet(
            (self.first_column, self.last_column), (other.first_column, other.last_column)
        ) and _meet((self.first_row, self.last_row), (other.first_row, other.last_row))

    def covers(self, other: Section) -> bool:
        """Return True if every pixel of another section is in this one; neither has open ends."""
        return self.common(other) == other

    def common(self, other: Section) -> Section | None:
        """Return the pixels that are in both of two sections without open ends, or None."""
        if not self.overlaps(other):
            return None
        return Section(
            max(self.first_column, other.first_column),
            min(self.last_column, other.last_column),
            max(self.first_row, other.first_row),
            min(self.last_row, other.last_row),
        )

    def __str__(self) -> str:
        return f"[{_range(self.first_column, self.last_column)}, {_range(self.first_row, self.last_row)}]"


@lru_cache(maxsize=256)  # the sections of a profile are read for every frame
def _parsed(text: str) -> Section:
    match = _SECTION.fullmatch(re.sub(r"\s", "", text))
    if not match:
        axes = text.count(",") + 1
        why = f"it has {axes} axis" if axes == 1 else "it cannot be read"
        raise SectionError(f"{text!r} is not an image section: {why}; {_HOW}.")
    edges: list[Edge] = []
    for part in match.groups():
        if part in (":", "*"):
            edges += [None, None]
            continue
        pair = _RANGE.fullmatch(part)
        if not pair:
            raise SectionError(
                f"{text!r} is not an image section: {part!r} is not a range; {_HOW}."
            )
        first, last = map(int, pair.groups())
        if first < 1:
            raise SectionError(f"{text!r} is not an image section: it counts from {first}; {_HOW}.")
        if first > last:
            raise SectionError(
                f"{text!r} is not an image section: {first} is greater than {last}; {_HOW}."
            )
        edges += [first, last]
    return Section(*edges)


def is_card(text: object) -> bool:
    """Return True if a text is the name of a header card and not a section.

    >>> from ccdprofiles.camera.section import is_card
    >>> is_card("DATASEC"), is_card("[1:2048, 1:4128]"), is_card("1:2048, 1:4128")
    (True, False, False)
    """
    return isinstance(text, str) and _CARD.fullmatch(text) is not None


def read_position(text: str) -> tuple[Section, tuple[bool, bool]]:
    """Read a position on the detector, whose ranges may be backward; also return which are.

    A backward range means that an amplifier reads this axis from the far end.

    Returns
    -------
    section : Section
        With ascending ranges, and without open ends.
    flipped : tuple of bool
        Whether the columns, and the rows, were backward.

    Raises
    ------
    SectionError

    Examples
    --------
    >>> from ccdprofiles.camera.section import read_position
    >>> section, flipped = read_position("[4096:2049, 1:2048]")
    >>> str(section), flipped
    ('[2049:4096, 1:2048]', (True, False))
    """
    match = _SECTION.fullmatch(re.sub(r"\s", "", text)) if isinstance(text, str) else None
    ranges = [_RANGE.fullmatch(part) for part in match.groups()] if match else []
    ends = [tuple(map(int, pair.groups())) for pair in ranges if pair]
    if len(ends) < 2:
        section = Section.parse(text)
        raise SectionError(
            f"{section} has an open end, so it is not a position on the detector; write both ends "
            "of its columns and rows."
        )
    columns, rows = (sorted(pair) for pair in ends)
    section = Section.parse(f"[{columns[0]}:{columns[1]}, {rows[0]}:{rows[1]}]")
    return section, (ends[0][0] > ends[0][1], ends[1][0] > ends[1][1])


def position_text(section: Section, flipped: tuple[bool, bool]) -> str:
    """Write a position on the detector, backward along the axes that are read from the far end.

    >>> from ccdprofiles.camera.section import position_text, read_position
    >>> position_text(*read_position("[4096:2049, 1:2048]"))
    '[4096:2049, 1:2048]'
    """
    ends = [
        (section.first_column, section.last_column),
        (section.first_row, section.last_row),
    ]
    ranges = [e[::-1] if backward else e for e, backward in zip(ends, flipped, strict=True)]
    return f"[{', '.join(f'{first}:{last}' for first, last in ranges)}]"


def around(sections: Iterable[Section]) -> Section:
    """Return the smallest section that contains all of these, which have no open ends."""
    all_of = [*sections]
    return Section(
        min(s.first_column for s in all_of),
        max(s.last_column for s in all_of),
        min(s.first_row for s in all_of),
        max(s.last_row for s in all_of),
    )


def binned(
    sections: Iterable[Section],
    data: Iterable[Section],
    x: int,
    y: int,
    overscan_bins: bool = True,
    rows_bin: bool = True,
) -> list[Section]:
    """Return the positions of unbinned sections in a frame binned ``x`` by ``y``.

    Parameters
    ----------
    sections : iterable of Section
        Unbinned.
    data : iterable of Section
        The data sections of all amplifiers, unbinned.
    x, y : int
        Columns and rows that were summed into one.
    overscan_bins : bool
        False if only data columns are binned, as in KOSMOS, whose overscan is 50
        columns wide in every binning.
    rows_bin : bool
        False if only data rows are binned, as where a strip of overscan lies above them that has as
        many rows in every binning.

    Returns
    -------
    list of Section

    Raises
    ------
    SectionError
        If a section contains no whole binned pixel.

    Examples
    --------
    The right overscan of KOSMOS begins 50 columns after the data in every binning:

    >>> from ccdprofiles.camera.section import Section, binned
    >>> data = [Section.parse("[1:1024, 1:4096]"), Section.parse("[1025:2048, 1:4096]")]
    >>> right = Section.parse("[2099:2148, 1:4096]")
    >>> str(binned([right], data, 2, 1, overscan_bins=False)[0])
    '[1075:1124, 1:4096]'
    """
    data = list(data)
    columns_of_data = None if overscan_bins else {(s.first_column, s.last_column) for s in data}
    rows_of_data = None if rows_bin else {(s.first_row, s.last_row) for s in data}

    def moved(first: Edge, last: Edge, by: int, spans: set[tuple[Edge, Edge]] | None):
        """Return the position of a range; with ``spans`` only the pixels in these are binned."""
        if first is None or by == 1:
            return first, last
        if spans is None:
            return -(-(first - 1) // by) + 1, last // by
        return _before(first - 1, spans, by) + 1, _before(last, spans, by)

    def translate(section: Section) -> Section:
        columns = moved(section.first_column, section.last_column, x, columns_of_data)
        rows = moved(section.first_row, section.last_row, y, rows_of_data)
        if any(edges[0] is not None and edges[0] > edges[1] for edges in (columns, rows)):
            raise SectionError(
                f"section {section} contains no whole pixel of a frame binned {x}x{y}; "
                "correct the profile."
            )
        return Section(*columns, *rows)

    return [translate(section) for section in sections]


def _before(edge: int, spans: set[tuple[Edge, Edge]], by: int) -> int:
    """Return the number of binned pixels before an unbinned edge, if only those in spans are binned."""
    count = edge
    for first, last in spans:
        lit = max(0, min(edge, last) - first + 1)
        # Each amplifier bins its own pixels, and drops those that fill no bin.
        count += (lit // by if edge >= last else -(-lit // by)) - lit
    return count


def binned_size(
    size: tuple[int | None, int | None],
    data: Iterable[Section],
    x: int,
    y: int,
    overscan_bins: bool = True,
    rows_bin: bool = True,
) -> tuple[range | None, range | None]:
    """Return how many columns and rows a frame may have once it is binned ``x`` by ``y``.

    Where the binning does not divide a length, some cameras drop the last pixel and
    others read it as a partial one, so that both numbers are right.

    Parameters
    ----------
    size : tuple of int or None
        Columns and rows, unbinned; None means any number.
    data : iterable of Section
        The data sections of all amplifiers, unbinned.
    x, y, overscan_bins, rows_bin
        As in `binned`.

    Returns
    -------
    columns, rows : range or None

    Examples
    --------
    >>> from ccdprofiles.camera.section import Section, binned_size
    >>> binned_size((2184, 1471), [], 3, 2)
    (range(728, 729), range(735, 737))
    >>> data = [Section.parse("[1:1024, 1:4096]"), Section.parse("[1025:2048, 1:4096]")]
    >>> binned_size((2148, 4096), data, 2, 1, overscan_bins=False)
    (range(1124, 1125), range(4096, 4097))
    """
    data = list(data)

    def length(whole: int | None, by: int, spans: Iterable[tuple[Edge, Edge]], all_bin: bool):
        if whole is None:
            return None
        if all_bin or by == 1:
            return _either([whole], by)
        closed = {(first or 1, min(last or whole, whole)) for first, last in spans}
        lit = [last - first + 1 for first, last in closed]
        return _either(lit, by, whole - sum(lit))

    columns, rows = size
    return (
        length(columns, x, ((s.first_column, s.last_column) for s in data), overscan_bins),
        length(rows, y, ((s.first_row, s.last_row) for s in data), rows_bin),
    )


def _either(lengths: list[int], by: int, unbinned: int = 0) -> range:
    """Return the lengths with partial pixels dropped, and with them kept."""
    return range(
        unbinned + sum(n // by for n in lengths), unbinned + sum(-(-n // by) for n in lengths) + 1
    )


def compact(sections: list[Section]) -> list[Section]:
    """Return the positions of data sections in the trimmed frame, without the gaps between them.

    Columns and rows that no section covers are omitted, so that two halves with
    overscan between them become neighbours.

    >>> from ccdprofiles.camera.section import Section, compact
    >>> halves = [Section.parse("[11:20, 1:5]"), Section.parse("[31:40, 1:5]")]
    >>> [str(s) for s in compact(halves)]
    ['[1:10, 1:5]', '[11:20, 1:5]']
    """
    columns = _covered([(s.first_column, s.last_column) for s in sections])
    rows = _covered([(s.first_row, s.last_row) for s in sections])
    return [
        Section(
            _rank(columns, s.first_column),
            _rank(columns, s.last_column),
            _rank(rows, s.first_row),
            _rank(rows, s.last_row),
        )
        for s in sections
    ]


def _covered(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge ranges that touch or overlap."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _rank(spans: list[tuple[int, int]], position: int) -> int:
    """Count the covered pixels up to and including ``position``."""
    return sum(max(0, min(position, last) - first + 1) for first, last in spans)


def _meet(a: tuple[Edge, Edge], b: tuple[Edge, Edge]) -> bool:
    low = max(a[0] or 1, b[0] or 1)
    high = min(a[1] or float("inf"), b[1] or float("inf"))
    return low <= high


def _range(first: Edge, last: Edge) -> str:
    return ":" if first is None else f"{first}:{last}"
