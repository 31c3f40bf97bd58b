"""The size of a raw frame: the size that a profile expects, and the refusal of any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from ..errors import SectionError
from .amplifier import Amplifier, is_pattern, rows_bin
from .section import Section, binned_size, is_card

__all__ = ["check_frame_size", "declared_size", "sections_reach"]

Lengths = tuple[range | None, range | None]
"""The numbers of columns and rows that are right; None means any number."""


def declared_size(
    frame_size: tuple[int, int] | Mapping | None, extension: int | str | None
) -> tuple[int, int] | None:
    """Return the unbinned columns and rows that a profile gives for an extension, or None."""
    if not isinstance(frame_size, Mapping):
        return frame_size
    names = (k for k in frame_size if is_pattern(k) and fnmatchcase(str(extension), k))
    return frame_size.get(extension) or frame_size.get(next(names, None))


def sections_reach(amplifiers: Sequence[Amplifier]) -> tuple[int | None, int | None]:
    """Return the last column and row of all sections, unbinned; None if one is open or a card."""
    if any(a.section_cards for a in amplifiers):
        return None, None
    texts = [t for a in amplifiers for t in (a.data, *a.strips, a.parallel_overscan)]
    sections = [Section.parse(text) for text in texts if text is not None]
    return _last([s.last_column for s in sections]), _last([s.last_row for s in sections])


def _last(edges: list[int | None]) -> int | None:
    return None if None in edges else max(e for e in edges if e is not None)


def check_frame_size(
    amplifiers: Sequence[Amplifier],
    shapes: Mapping,
    binning: tuple[int, int],
    overscan_bins: bool,
    frame_size: tuple[int, int] | Mapping | None,
    cards: str,
    window: str = "",
) -> None:
    """Refuse a frame whose size differs from that in the profile.

    Parameters
    ----------
    amplifiers, shapes, binning, overscan_bins
        As in `ccdprofiles.camera.placement.amplifier_set`.
    frame_size : tuple of int, mapping or None
        Columns and rows of the unbinned raw frame, or those of each extension. None: the
        sections reach to its last column and row.
    cards : str
        The cards of the binning, or nothing if the profile names none.
    window : str
        The window of the frame for a message, if the profile reads one.

    Raises
    ------
    SectionError
        If the frame is larger, so that part of it would be omitted by mistake, or smaller.
    """
    for extension in dict.fromkeys(a.extension for a in amplifiers):
        here = [a for a in amplifiers if a.extension == extension]
        size = declared_size(frame_size, extension) or sections_reach(here)
        data = [Section.parse(a.data) for a in here if not is_card(a.data)]
        if len(data) < len(here) and not overscan_bins and binning[0] > 1:
            size = (None, size[1])  # how many of the columns are overscan stands in the cards
        rows_too = rows_bin(here, overscan_bins)
        expected = binned_size(size, data, *binning, overscan_bins, rows_too)
        rows, columns = shapes[extension]
        if all(e is None or n in e for e, n in zip(expected, (columns, rows), strict=True)):
            continue
        image = "the frame" if extension is None else f"extension {extension!r}"
        if window:
            raise SectionError(
                f"{image} has {_by(columns, rows)}, but {_expected(expected, columns, rows)} were "
                f"expected{_unbinned(size, binning)} for {window}, with all overscan beside it; "
                "correct the header, or window= or the sections in the profile."
            )
        reach = (
            "according to frame_size= in the profile"
            if frame_size
            else "according to the sections in the profile"
        )
        cure = _cure(expected, (columns, rows), binning, overscan_bins, bool(frame_size), cards)
        raise SectionError(
            f"{image} has {_by(columns, rows)}, but {_expected(expected, columns, rows)} were "
            f"expected{_unbinned(size, binning)}, {reach}; {cure}."
        )


def _by(columns: object, rows: object) -> str:
    return f"{columns} columns and {rows} rows"


def _expected(expected: Lengths, columns: int, rows: int) -> str:
    """Write the expected numbers of columns and rows; any is right on an open axis."""
    texts = [
        str(n) if e is None else " or ".join(map(str, sorted({e[0], e[-1]})))
        for e, n in zip(expected, (columns, rows), strict=True)
    ]
    return _by(*texts)


def _unbinned(size: tuple[int | None, int | None], binning: tuple[int, int]) -> str:
    if binning == (1, 1):
        return ""
    columns, rows = ("any" if n is None else n for n in size)
    return f" at a binning of {binning[0]} x {binning[1]} ({columns} x {rows} unbinned)"


def _cure(
    expected: Lengths,
    size: tuple[int, int],
    binning: tuple[int, int],
    overscan_bins: bool,
    declared: bool,
    cards: str,
) -> str:
    """Return what to do about a frame of another size."""
    x, y = binning
    smaller = any(e is not None and n < e[0] for e, n in zip(expected, size, strict=True))
    if cards:
        cures = [f"correct {cards} if the binning is not {x} x {y}"]
    else:
        cures = [
            "set binning= in the profile to the cards of the binning if the frame is binned"
        ] * smaller
    if smaller:
        cures.append("reject the frame if it was truncated or windowed")
        cures.append(
            f"otherwise correct {'frame_size=' if declared else 'the sections'} in the profile"
        )
    elif declared:
        cures.append(f"{'or ' * len(cures)}correct frame_size= in the profile if it is wrong")
    else:
        whole = (
            "(columns, rows)" if x > 1 and not overscan_bins else f"({size[0] * x}, {size[1] * y})"
        )
        cures.append(f"write frame_size={whole} in the profile if the rest is not to be used")
        cures.append("otherwise use sections that cover it")
    return ", ".join(cures)
