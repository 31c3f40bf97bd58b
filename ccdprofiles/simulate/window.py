"""A camera whose chip is cut to a small window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ..camera.amplifier import Amplifier
from ..camera.frame_size import declared_size
from ..camera.profile import Profile
from ..camera.registry import load_profile
from ..camera.section import Section
from ..errors import ProfileError
from .headers import camera_of

__all__ = ["windowed"]


def windowed(profile: Profile | str, rows: int, columns: int) -> Profile:
    """Return a small copy of a camera: fewer pixels of data, all else as it was.

    Overscan keeps its width and its place beside the data, so that what is useful
    of it stays useful.

    Parameters
    ----------
    profile : Profile or str
    rows, columns : int
        Of the trimmed frame, all amplifiers together, in the binning that
        `simulate_night` takes for this instrument.

    Returns
    -------
    Profile

    Raises
    ------
    ProfileError
        If the rows or columns cannot be shared out evenly among the amplifiers.
    """
    profile = load_profile(profile) if isinstance(profile, str | Path) else profile
    x, y = camera_of(profile).binning if profile.binning is not None else (1, 1)
    size = (rows * y, columns * x)
    amplifiers, frame_size = profile.amplifiers, profile.frame_size
    if not callable(amplifiers) and not callable(frame_size):
        frame_size = _cut_frame(frame_size, amplifiers, size)
        return replace(profile, amplifiers=_cut(amplifiers, size), frame_size=frame_size, file="")

    def of(value: object, header: Mapping) -> object:
        return value(header) if callable(value) else value

    def cut(header: Mapping) -> tuple[Amplifier, ...]:
        return _cut(tuple(of(amplifiers, header)), size)

    def cut_frame(header: Mapping) -> tuple[int, int] | Mapping | None:
        return _cut_frame(of(frame_size, header), tuple(of(amplifiers, header)), size)

    return replace(
        profile, amplifiers=cut, frame_size=None if frame_size is None else cut_frame, file=""
    )


# A small copy of a camera.


def _cut(amplifiers: tuple[Amplifier, ...], size: tuple[int, int]) -> tuple[Amplifier, ...]:
    """Give each amplifier its share of ``size`` (rows, columns), unbinned."""
    chip = [Section.parse(a.detector or a.data) for a in amplifiers]
    across, along = _shares(chip, size)
    small = []
    for amplifier in amplifiers:
        beside = [Section.parse(a.data) for a in amplifiers if a.extension == amplifier.extension]

        def moved(text: str | None, among: list[Section] = beside) -> str | None:
            if text is None:
                return None
            old = Section.parse(text)
            columns = [(s.first_column, s.last_column) for s in among]
            rows = [(s.first_row, s.last_row) for s in among]
            return str(
                Section(
                    *_moved((old.first_column, old.last_column), columns, across),
                    *_moved((old.first_row, old.last_row), rows, along),
                )
            )

        small.append(
            replace(
                amplifier,
                data=moved(amplifier.data),
                overscan=moved(amplifier.overscan),
                detector=moved(amplifier.detector, chip),
            )
        )
    return tuple(small)


def _cut_frame(
    frame_size: object, amplifiers: tuple[Amplifier, ...], size: tuple[int, int]
) -> tuple[int, int] | dict | None:
    """Cut the size of the raw frame as its data are cut; what lies beside them stays."""
    if frame_size is None:
        return None
    across, along = _shares([Section.parse(a.detector or a.data) for a in amplifiers], size)

    def small(extension: object) -> tuple[int, int]:
        columns, rows = declared_size(frame_size, extension)
        data = [Section.parse(a.data) for a in amplifiers if a.extension == extension]
        return (
            _length(columns, [(s.first_column, s.last_column) for s in data], across),
            _length(rows, [(s.first_row, s.last_row) for s in data], along),
        )

    if not isinstance(frame_size, Mapping):
        return small(amplifiers[0].extension)
    return {extension: small(extension) for extension in {a.extension for a in amplifiers}}


def _length(length: int, spans: list[tuple[int | None, int | None]], width: int) -> int:
    edges = (None, None) if spans[0][0] is None else (1, length)
    return _moved(edges, spans, width)[1]


def _shares(chip: list[Section], size: tuple[int, int]) -> tuple[int, int]:
    """Return the columns and rows of each amplifier in a frame of ``size`` (rows, columns)."""
    return (
        _share(size[1], {(s.first_column, s.last_column) for s in chip}, "columns"),
        _share(size[0], {(s.first_row, s.last_row) for s in chip}, "rows"),
    )


def _share(size: int, spans: set[tuple], what: str) -> int:
    if size < len(spans) or size % len(spans):
        raise ProfileError(f"{size} {what} cannot be shared out among {len(spans)} amplifiers.")
    return size // len(spans)


def _moved(
    edges: tuple[int | None, int | None], spans: list[tuple[int | None, int | None]], width: int
) -> tuple[int, int]:
    """Move a range to where it lies when each of ``spans`` is cut to ``width``."""
    if edges[0] is None:
        return 1, width
    spans = sorted({s for s in spans if s[0] is not None})

    def place(edge: int) -> int:
        gone = 0
        for first, last in spans:
            if edge >= last:
                gone += last - first + 1 - width
            elif edge >= first:
                gone += max(0, edge - (first + width - 1))
        return edge - gone

    return place(edges[0] - 1) + 1, place(edges[1])
