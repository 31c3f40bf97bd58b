"""Windows: the sections of a profile as they lie in a frame of which only a part was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import FrameRejected, ProfileError, SectionError
from .amplifier import Amplifier
from .frame_size import declared_size, sections_reach
from .header_values import card_names
from .pixel_map import PixelMap
from .section import Section, around, compact, position_text, read_position

__all__ = ["check_window", "cut_amplifiers", "read_window", "window_text"]

Sizes = tuple[int, int] | Mapping | None


def read_window(value: object, window: str | Sequence[str] | Callable) -> Section | None:
    """Return the window of a frame, of the value that its header has for it; None if it has none.

    Parameters
    ----------
    value : object
    window : str, sequence of str or callable
        As in the profile.

    Raises
    ------
    FrameRejected
        ``section`` if it is not a section of the detector.
    """
    if value is None:
        return None
    try:
        section = Section.parse(str(value) if isinstance(value, str) else value)  # type: ignore[arg-type]
        if section.first_column is None or section.first_row is None:
            raise SectionError(f"{section} has an open end; write both ends of columns and rows.")
    except SectionError as error:
        raise FrameRejected(
            "section",
            f"{_label(window)}: {str(error).rstrip('.')}; the section of the detector that was read, "
            "in unbinned pixels, was expected; correct the header, or window= in the profile.",
        ) from error
    return section


def window_text(section: Section | None, window: str | Sequence[str] | Callable) -> str:
    """Return the window of a frame for a message."""
    label = _label(window)
    return f"the whole detector ({label} is missing)" if section is None else f"{label} = {section}"


def _label(window: str | Sequence[str] | Callable) -> str:
    return "the function window=" if callable(window) else card_names(window)


def check_window(amplifiers: Sequence[Amplifier], frame_size: Sizes) -> None:
    """Refuse sections that cannot be cut to a window.

    Raises
    ------
    ProfileError
    """
    cards = [card for a in amplifiers for card in a.section_cards]
    if cards:
        raise ProfileError(
            f"window= cuts the sections of the profile to the window, but {cards[0]!r} is a card that "
            "each frame has for itself; omit window=, and give the position of the data with "
            "detector=, such as detector='CCDSEC'."
        )
    if len({a.detector is None for a in amplifiers}) > 1:
        raise ProfileError(
            "window= needs the position of every amplifier on the detector, but only some have one; "
            "write detector='[…]' for each."
        )
    for amplifier in amplifiers:
        if declared_size(frame_size, amplifier.extension) is None and None in sections_reach(
            [amplifier]
        ):
            raise ProfileError(
                f"window= needs the size of the whole frame, because a section of data="
                f"{amplifier.data!r} has an open end; write frame_size=(columns, rows)."
            )


@dataclass(frozen=True)
class _Piece:
    """An amplifier, its sections in the whole raw frame, and the part of it in the window.

    Parameters
    ----------
    amplifier : Amplifier
    where : PixelMap
        From its data in the raw frame to the detector, unbinned.
    strips : tuple of Section
        Of its overscan, then of its parallel overscan.
    part : Section or None
        On the detector.
    """

    amplifier: Amplifier
    where: PixelMap
    strips: tuple[Section, ...]
    part: Section | None

    @property
    def raw_part(self) -> Section:
        """Its part in the whole raw frame."""
        part: Section = self.part  # type: ignore[assignment]
        ends = zip(
            self.where.to_raw(part.first_column, part.first_row),
            self.where.to_raw(part.last_column, part.last_row),
            strict=True,
        )
        columns, rows = (sorted(map(int, pair)) for pair in ends)
        return Section(*columns, *rows)


def cut_amplifiers(
    amplifiers: Sequence[Amplifier],
    frame_size: Sizes,
    window: Section | None,
    binning: tuple[int, int],
    overscan_bins: bool,
) -> tuple[tuple[Amplifier, ...], Mapping[Any, tuple[int, int]]]:
    """Return the amplifiers that a window touches, with sections of the frame of this window.

    The columns and rows of data outside the window are missing in the raw frame. All others stay,
    such as those of the overscan, but for those of amplifiers that the window does not touch.

    Parameters
    ----------
    amplifiers : sequence of Amplifier
        Of the whole frame.
    frame_size : tuple of int, mapping or None
        As in the profile.
    window : Section or None
        On the detector, unbinned; None for the whole detector.
    binning : tuple of int
    overscan_bins : bool

    Returns
    -------
    tuple of Amplifier
        Each with its position on the detector.
    mapping
        Extension → unbinned columns and rows of its raw image.

    Raises
    ------
    SectionError
        If the window reaches beyond the detector, or the sections cannot be cut to it.
    ProfileError
        If `check_window` refuses the amplifiers.
    """
    check_window(amplifiers, frame_size)
    pieces = _pieces(amplifiers, frame_size, window)
    cut: list[Amplifier] = []
    sizes: dict[Any, tuple[int, int]] = {}
    for piece in pieces:
        extension = piece.amplifier.extension
        if piece.part is None:
            continue
        _check_whole_bins(piece, binning)
        here = [p for p in pieces if p.amplifier.extension == extension]
        kept = [_kept(here, _size(here, frame_size)[axis], axis) for axis in (0, 1)]
        sizes[extension] = int(kept[0].sum()), int(kept[1].sum())
        cut.append(_cut(piece, kept, binning, overscan_bins))
    return tuple(cut), sizes


def _pieces(
    amplifiers: Sequence[Amplifier], frame_size: Sizes, window: Section | None
) -> list[_Piece]:
    """Return the sections of the whole frame without open ends, and the parts in the window."""
    data = []
    for a in amplifiers:
        here = [b for b in amplifiers if b.extension == a.extension]
        columns, rows = declared_size(frame_size, a.extension) or sections_reach(here)
        data.append(Section.parse(a.data).within((rows, columns), "data section"))  # type: ignore[arg-type]
    on = [read_position(a.detector) for a in amplifiers if a.detector is not None]
    on = on or [(place, (False, False)) for place in compact(data)]
    detector = around(section for section, _ in on)
    window = window or detector
    if not detector.covers(window):
        raise SectionError(
            f"the window {window} reaches beyond the detector, of which the amplifiers read "
            f"{detector}; it should count unbinned pixels of the detector; correct the header, or "
            "window= in the profile."
        )
    pieces = []
    for a, whole, (place, flipped) in zip(amplifiers, data, on, strict=True):
        strips = tuple(_closed(text, whole) for text in _strips(a))
        where = PixelMap(whole, place, flipped=flipped)
        pieces.append(_Piece(a, where, strips, place.common(window)))
    return pieces


def _strips(amplifier: Amplifier) -> tuple[str, ...]:
    """Return its strips of overscan, the parallel one last."""
    parallel = amplifier.parallel_overscan
    return amplifier.strips + (() if parallel is None else (parallel,))


def _closed(text: str, data: Section) -> Section:
    """Return a strip whose open ends are those of its data."""
    strip = Section.parse(text)
    if strip.first_row is None:
        strip = replace(strip, first_row=data.first_row, last_row=data.last_row)
    if strip.first_column is None:
        strip = replace(strip, first_column=data.first_column, last_column=data.last_column)
    return strip


def _size(here: Sequence[_Piece], frame_size: Sizes) -> tuple[int, int]:
    """Return the columns and rows of the whole raw image of an extension."""
    size = declared_size(frame_size, here[0].amplifier.extension)
    if size is not None:
        return size
    whole = around(section for p in here for section in (p.where.data, *p.strips))
    return whole.last_column, whole.last_row


def _check_whole_bins(piece: _Piece, binning: tuple[int, int]) -> None:
    """Refuse a window that leaves an amplifier a fraction of a binned pixel."""
    part, place = piece.part, piece.where.detector
    if part is None:
        return
    missing = place.width - part.width, place.height - part.height
    if any(n % by for n, by in zip(missing, binning, strict=True)):
        raise SectionError(
            f"the window leaves {part.width} x {part.height} of the {place.width} x {place.height} "
            f"pixels of amplifier {piece.amplifier.name!r}, which are not whole pixels at a "
            f"binning of {binning[0]} x {binning[1]}; correct the header, or window= in the profile."
        )


def _span(section: Section, axis: int) -> slice:
    """Return the columns (axis 0) or rows (axis 1) of a section, from 0."""
    return section.slices()[1 - axis]


def _kept(here: Sequence[_Piece], length: int, axis: int) -> np.ndarray:
    """Return which columns or rows of a whole raw image are in the image of the window."""
    data, wanted, named, stays = (np.zeros(length, bool) for _ in range(4))
    for piece in here:
        for section in (piece.where.data, *piece.strips):
            named[_span(section, axis)] = True
            if piece.part is not None:
                stays[_span(section, axis)] = True
        data[_span(piece.where.data, axis)] = True
        if piece.part is not None:
            wanted[_span(piece.raw_part, axis)] = True
    # Those that no section names go with their nearest neighbour.
    places, every = np.flatnonzero(named), np.arange(length)
    after = np.minimum(np.searchsorted(places, every), len(places) - 1)
    before = np.maximum(after - 1, 0)
    nearer = every - places[before] <= places[after] - every
    nearest = np.where(nearer & (places[before] <= every), places[before], places[after])
    return np.where(data, wanted, stays[nearest])


def _cut(
    piece: _Piece, kept: Sequence[np.ndarray], binning: tuple[int, int], overscan_bins: bool
) -> Amplifier:
    """Return an amplifier with the sections of the frame of a window."""
    part: Section = piece.part  # type: ignore[assignment]
    moved = [_moved(section, kept) for section in (piece.raw_part, *piece.strips)]
    data, strips = _moved(piece.where.data, kept), moved[1:]
    whole = (piece.where.data, *piece.strips)
    if data != moved[0] or any(
        _lost(section, strip, whole[0]) for section, strip in zip(whole[1:], strips, strict=True)
    ):
        raise SectionError(
            f"the window {part} of amplifier {piece.amplifier.name!r} is not a rectangle of the raw "
            "frame, in which other amplifiers share its columns or rows; use sections from cards."
        )
    texts = [*map(str, strips)]
    amplifier = piece.amplifier
    parallel = None
    if amplifier.parallel_overscan is not None:
        *texts, parallel = texts
    overscan = tuple(texts) if isinstance(amplifier.overscan, tuple) else (*texts, None)[0]
    on_chip = _whole_bins(part, data, piece.where.flipped, binning, overscan_bins)
    return replace(
        amplifier,
        data=str(data),
        overscan=overscan,
        parallel_overscan=parallel,
        detector=position_text(on_chip, piece.where.flipped),
    )


def _lost(section: Section, strip: Section, data: Section) -> bool:
    """Return True if a strip lost pixels across its direction, in which the window cuts nothing."""
    if _span(section, 0) == _span(data, 0):  # above or below the data
        return section.height != strip.height
    return section.width != strip.width


def _moved(section: Section, kept: Sequence[np.ndarray]) -> Section:
    """Return a section in an image that lacks columns and rows."""
    edges: list[int] = []
    for axis in (0, 1):
        span = _span(section, axis)
        before = int(kept[axis][: span.start].sum())
        edges += [before + 1, before + int(kept[axis][span].sum())]
    return Section(*edges)


def _whole_bins(
    part: Section,
    data: Section,
    flipped: tuple[bool, bool],
    binning: tuple[int, int],
    overscan_bins: bool,
) -> Section:
    """Return those pixels of the detector that whole binned pixels of the raw frame cover.

    A binned pixel that is partly prescan does not belong to the data.
    """
    edges: list[int] = []
    spans = (part.first_column, part.last_column), (part.first_row, part.last_row)
    starts = data.first_column - 1, data.first_row - 1
    for axis, ((first, last), start, by) in enumerate(zip(spans, starts, binning, strict=True)):
        lost = -start % by if overscan_bins or axis == 1 else 0
        length = (last - first + 1 - lost) // by * by
        low = last - lost - length + 1 if flipped[axis] else first + lost
        edges += [low, low + length - 1]
    return Section(*edges)
