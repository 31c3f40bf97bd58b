"""Small copies of cameras, for fast simulations."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..camera.amplifier import Amplifier
from ..camera.frame_size import declared_size
from ..camera.profile import Profile
from ..camera.registry import load_profile
from ..camera.section import Edge, Section, read_position
from ..errors import ProfileError
from .headers import camera_of
from .sections import are_in_cards, frames_of_cards

__all__ = ["windowed"]

Span = tuple[Edge, Edge]
"""The first and last column, or row, of a section."""


def windowed(profile: Profile | str, rows: int, columns: int) -> Profile:
    """Return a copy of a camera with fewer pixels of data.

    Overscan keeps its width and its place beside the data. If the sections are in cards, only the
    size of the raw frame is smaller, for which `simulate_night` writes them.

    Parameters
    ----------
    profile : Profile or str
    rows, columns : int
        Of the trimmed frame, all amplifiers together, in the binning that
        `simulate_night` takes for this instrument.

    Raises
    ------
    ProfileError
        If the rows or columns cannot be divided evenly among the amplifiers, or some sections are in
        cards and others are not.

    Examples
    --------
    >>> from ccdprofiles.simulate import windowed
    >>> windowed("lfc", 60, 80).amplifiers[0].overscan
    '[88:112, 1:60]'
    """
    profile = load_profile(profile) if isinstance(profile, str | Path) else profile
    x, y = camera_of(profile).binning if profile.binning is not None else (1, 1)
    size = (rows * y, columns * x)
    amplifiers, frame_size = profile.amplifiers, profile.frame_size
    if not callable(amplifiers) and not callable(frame_size):
        frame_size = _cut_frame(frame_size, amplifiers, size)
        return replace(profile, amplifiers=_cut(amplifiers, size), frame_size=frame_size, file="")

    def of(value: Any, header: Mapping) -> Any:
        return value(header) if callable(value) else value

    def cut(header: Mapping) -> tuple[Amplifier, ...]:
        return _cut(tuple(of(amplifiers, header)), size)

    def cut_frame(header: Mapping) -> Any:
        return _cut_frame(of(frame_size, header), tuple(of(amplifiers, header)), size)

    # Sections that a function names as cards are known from a header only.
    is_open = frame_size is None and not callable(amplifiers)
    return replace(profile, amplifiers=cut, frame_size=None if is_open else cut_frame, file="")


def _cut(amplifiers: Sequence[Amplifier], size: tuple[int, int]) -> tuple[Amplifier, ...]:
    """Return amplifiers that share ``size`` (rows, columns), unbinned."""
    if are_in_cards(amplifiers):
        return tuple(amplifiers)
    chip = _chip(amplifiers)
    shares = _shares(chip, size)
    small = []
    for amplifier in amplifiers:
        position = _moved_position(amplifier.detector, chip, shares)
        own = _own_shares(position, shares)
        image = [Section.parse(a.data) for a in amplifiers if a.extension == amplifier.extension]
        small.append(
            replace(
                amplifier,
                data=_moved_section(amplifier.data, image, own),
                overscan=_moved_strips(amplifier.overscan, image, own),
                parallel_overscan=_moved_section(amplifier.parallel_overscan, image, own),
                detector=position,
            )
        )
    return tuple(small)


def _cut_frame(frame_size: Any, amplifiers: Sequence[Amplifier], size: tuple[int, int]) -> Any:
    """Return the size of the raw frame with smaller data and everything else unchanged."""
    if are_in_cards(amplifiers):
        return _single(frames_of_cards(amplifiers, size))
    if frame_size is None:
        return None
    chip = _chip(amplifiers)
    shares = _shares(chip, size)

    def small(extension: int | str | None) -> tuple[int, int]:
        columns, rows = declared_size(frame_size, extension)  # type: ignore[misc]
        here = [a for a in amplifiers if a.extension == extension]
        data = [Section.parse(a.data) for a in here]
        across, along = _own_shares(_moved_position(here[0].detector, chip, shares), shares)
        return _length(columns, _columns(data), across), _length(rows, _rows(data), along)

    if not isinstance(frame_size, Mapping):
        return small(amplifiers[0].extension)
    return {extension: small(extension) for extension in {a.extension for a in amplifiers}}


def _single(sizes: Mapping) -> Any:
    """Return the size of all extensions if they have the same, or else the size of each."""
    first, *others = dict.fromkeys(sizes.values())
    return dict(sizes) if others else first


def _columns(sections: Sequence[Section]) -> list[Span]:
    return [(s.first_column, s.last_column) for s in sections]


def _rows(sections: Sequence[Section]) -> list[Span]:
    return [(s.first_row, s.last_row) for s in sections]


def _shares(chip: Sequence[Section], size: tuple[int, int]) -> tuple[int, int]:
    """Return the columns and rows of each amplifier in a frame of ``size`` (rows, columns)."""
    columns, rows = _together(_columns(chip)), _together(_rows(chip))
    return _share(size[1], columns, "columns"), _share(size[0], rows, "rows")


def _together(spans: Sequence[Span]) -> list[Span]:
    """Return spans with those that overlap as one, as of two rows of amplifiers of unequal height."""
    whole: list[Span] = [span for span in {*spans} if span[0] is None]
    for first, last in sorted(span for span in {*spans} if span[0] is not None):
        if whole and whole[-1][0] is not None and first <= whole[-1][1]:
            first, last = whole[-1][0], max(last, whole.pop()[1])
        whole.append((first, last))
    return whole


def _own_shares(position: str | None, shares: tuple[int, int]) -> tuple[int, int]:
    """Return the columns and rows of one amplifier, of which some may lack a few."""
    if position is None:
        return shares
    section, _ = read_position(position)
    return section.width, section.height


def _share(size: int, spans: Collection[Span], what: str) -> int:
    if size < len(spans) or size % len(spans):
        raise ProfileError(
            f"{size} {what} cannot be divided evenly among {len(spans)} amplifiers; use a multiple of that number."
        )
    return size // len(spans)


def _moved_strips(
    overscan: str | tuple[str, ...] | None, data: Sequence[Section], shares: tuple[int, int]
) -> str | tuple[str, ...] | None:
    if isinstance(overscan, tuple):
        return tuple(_moved_section(strip, data, shares) for strip in overscan)
    return _moved_section(overscan, data, shares)


def _moved_section(text: str | None, data: Sequence[Section], shares: tuple[int, int]) -> Any:
    """Return the position of a section when the data are cut to their shares."""
    if text is None:
        return None
    section = Section.parse(text)
    (columns,), (rows,) = _columns([section]), _rows([section])
    across, along = shares
    across_spans, along_spans = _together(_columns(data)), _together(_rows(data))
    return str(Section(*_moved(columns, across_spans, across), *_moved(rows, along_spans, along)))


def _chip(amplifiers: Sequence[Amplifier]) -> list[Section]:
    """Return where the amplifiers lie on the detector, or in the image if they do not say."""
    return [
        Section.parse(a.data) if a.detector is None else read_position(a.detector)[0]
        for a in amplifiers
    ]


def _moved_position(
    text: str | None, chip: Sequence[Section], shares: tuple[int, int]
) -> str | None:
    """Return a position on the detector when the data are cut; backward ranges stay so."""
    if text is None:
        return None
    section, flipped = read_position(text)
    moved = Section.parse(_moved_section(str(section), chip, shares))
    ends = [(moved.first_column, moved.last_column), (moved.first_row, moved.last_row)]
    ranges = [e[::-1] if f else e for e, f in zip(ends, flipped, strict=True)]
    return f"[{', '.join(f'{first}:{last}' for first, last in ranges)}]"


def _length(length: int, spans: list[Span], width: int) -> int:
    return _moved((None, None) if spans[0][0] is None else (1, length), spans, width)[1]


def _moved(edges: Span, spans: list[Span], width: int) -> Span:
    """Return the position of a range when each of ``spans`` is cut to ``width``."""
    if edges[0] is None:
        return 1, width

    def place(edge: int) -> int:
        lost = 0
        for first, last in sorted({s for s in spans if s[0] is not None}):
            if edge >= last:
                lost += last - first + 1 - width
            elif edge >= first:
                lost += max(0, edge - (first + width - 1))
        return edge - lost

    return place(edges[0] - 1) + 1, place(edges[1])
