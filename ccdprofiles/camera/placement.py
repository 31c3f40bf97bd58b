"""Place the amplifiers of a camera in one frame: binned sections, and the trimmed frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from astropy import units as u

from ..errors import FrameRejected, ProfileError, SectionError
from .amplifier import Amplifier, AmplifierSet, Readout, check_linear, rows_bin
from .card_sections import CardReader, refuse_overlaps, within_data
from .pixel_map import whole_bins
from .section import Section, around, binned, compact, is_card, read_position
from .settings import number_of
from .strips import check_strips
from .values import GAIN

__all__ = ["amplifier_set"]


def amplifier_set(
    amplifiers: Sequence[Amplifier],
    shapes: Mapping,
    binning: tuple[int, int],
    overscan_bins: bool,
    header: Mapping,
    headers: Mapping | None = None,
    located: bool = False,
) -> AmplifierSet:
    """Fit amplifiers into one frame.

    Parameters
    ----------
    amplifiers : sequence of Amplifier
    shapes : mapping
        Rows and columns of the raw frame for every extension an amplifier names.
    binning : tuple of int
        Columns and rows that were summed into one.
    overscan_bins : bool
        See `ccdprofiles.camera.section.binned`.
    header : mapping
        Passed to the functions that are used instead of numbers, and read for sections.
    headers : mapping, optional
        The header of every extension, used instead of ``header``.
    located : bool
        Whether the positions hold for this frame, so that it is known which part of the detector
        it covers; otherwise they do so only if they are read from cards.

    Raises
    ------
    SectionError
        If a section is outside the frame, or a card has no section that is possible.
    FrameRejected
        If a function returns a wrong number for this header.
    """
    cards = [
        CardReader(
            (headers or {}).get(a.extension, header), a.extension, shapes[a.extension], binning
        )
        for a in amplifiers
    ]
    whole = {
        a.extension: [
            _unbinned_data(b, shapes[b.extension], *binning)
            for b in amplifiers
            if b.extension == a.extension and not is_card(b.data)
        ]
        for a in amplifiers
    }

    def stored(texts: Iterable[str], a: Amplifier) -> list[Section]:
        """Return the sections of the profile in the binned frame."""
        if is_card(a.data) and not overscan_bins and binning[0] > 1:
            raise SectionError(
                f"data={a.data!r} is a card, so {' and '.join(texts)} cannot be placed in a binned frame "
                "whose overscan is not binned; use the card of the overscan in the profile."
            )
        sections = map(Section.parse, texts)
        here = [b for b in amplifiers if b.extension == a.extension]
        rows_too = rows_bin(here, overscan_bins)
        return binned(sections, whole[a.extension], *binning, overscan_bins, rows_too)

    data = [_data(a, own, stored) for a, own in zip(amplifiers, cards, strict=True)]
    places, flips, on_chip = _places(amplifiers, data, binning, cards, located)
    readouts = []
    for n, (amplifier, own) in enumerate(zip(amplifiers, cards, strict=True)):
        texts = [*amplifier.strips, *filter(None, [amplifier.parallel_overscan])]
        strips = [_strip(text, amplifier, data[n], own, stored) for text in texts]
        if amplifier.section_cards:
            _check_cards(amplifier, data[n], strips)
        on = None if on_chip is None else on_chip[n]
        readouts.append(_readout(amplifier, data[n], strips, places[n], flips[n], on, own.header))
    if any(a.section_cards for a in amplifiers):
        for extension in whole:
            here = [r for r in readouts if r.extension == extension]
            refuse_overlaps([(r.data, r.strips) for r in here], places)
    origin = None
    if on_chip is not None:
        whole_area = around(on_chip)
        origin = whole_area.first_column, whole_area.first_row
    return AmplifierSet(tuple(readouts), _shape(amplifiers, places, data), origin)


def _data(amplifier: Amplifier, cards: CardReader, stored: Callable) -> Section:
    """Return the data of an amplifier in the raw frame."""
    if is_card(amplifier.data):
        return cards.section(amplifier.data, "data")
    whole = _unbinned_data(amplifier, cards.shape, *cards.binning)
    (section,) = stored([str(whole)], amplifier)
    return section.within(cards.shape, "data section")


def _strip(
    text: str, amplifier: Amplifier, data: Section, cards: CardReader, stored: Callable
) -> Section:
    """Return a strip of overscan in the raw frame, of the same rows or columns as the data."""
    if is_card(text):
        return within_data(cards.section(text, "overscan"), data)
    (strip,) = stored([text], amplifier)
    return _along(strip, data, cards.shape)


def _check_cards(amplifier: Amplifier, data: Section, strips: list[Section]) -> None:
    """Refuse data and overscan that do not belong to each other, of which some are in cards."""
    serial, parallel = strips[: len(amplifier.strips)], strips[len(amplifier.strips) :]
    try:
        check_strips(data, serial, parallel[0] if parallel else None)
    except SectionError as error:
        raise SectionError(
            f"{' and '.join(amplifier.section_cards)}: {str(error).rstrip('.')}; correct the header, or "
            "write the sections in the profile."
        ) from error


def _unbinned_data(amplifier: Amplifier, shape: tuple[int, int], x: int, y: int) -> Section:
    """Return the data section without open ends, which reach to the edge of the unbinned frame."""
    section = Section.parse(amplifier.data)
    if section.first_column is not None and section.first_row is not None:
        return section
    rows, columns = shape
    return section.within((rows * y, max(columns * x, section.last_column or 0)), "data section")


def _along(strip: Section, data: Section, shape: tuple[int, int]) -> Section:
    """Return a strip of the same rows as its data, or of the same columns."""
    if strip.first_row is None:
        strip = replace(strip, first_row=data.first_row, last_row=data.last_row)
    if strip.first_column is None:
        strip = replace(strip, first_column=data.first_column, last_column=data.last_column)
    strip = strip.within(shape, "overscan")
    above = (strip.first_column, strip.last_column) == (data.first_column, data.last_column)
    if not above and strip.height != data.height:
        raise SectionError(
            f"overscan {strip} has {strip.height} rows and data {data} has "
            f"{data.height}; use the same rows for both in the profile."
        )
    return strip


def _readout(
    amplifier: Amplifier,
    data: Section,
    strips: list[Section],
    place: Section,
    flipped: tuple[bool, bool],
    on_detector: Section | None,
    header: Mapping,
) -> Readout:
    saturation = number_of(amplifier.saturation, header, u.adu, "saturation")
    parallel = None if amplifier.parallel_overscan is None else strips.pop()
    return Readout(
        name=amplifier.name,
        data=data,
        overscan=strips[0] if strips else None,
        more_overscan=tuple(strips[1:]),
        parallel_overscan=parallel,
        place=place,
        gain=number_of(amplifier.gain, header, GAIN, "gain"),
        read_noise=number_of(amplifier.read_noise, header, u.electron, "read_noise"),
        saturation=saturation,
        extension=amplifier.extension,
        linear=_linear(amplifier, header, saturation),
        flipped=flipped,
        detector=on_detector,
    )


def _linear(amplifier: Amplifier, header: Mapping, saturation: float | None) -> float | None:
    """Return the limit of linearity, which is not above the saturation level."""
    linear = number_of(amplifier.linear, header, u.adu, "linear")
    if linear is not None and saturation is not None:
        try:
            check_linear(linear, saturation)
        except ProfileError as error:
            raise FrameRejected(
                "linear", f"{error} Correct linear= or saturation= in the profile."
            ) from error
    return linear


def _places(
    amplifiers: Sequence[Amplifier],
    data: list[Section],
    binning: tuple[int, int],
    cards: Sequence[CardReader],
    located: bool,
) -> tuple[list[Section], list[tuple[bool, bool]], list[Section] | None]:
    """Return the positions in the trimmed frame, the flips, and the positions on the detector.

    The last are None unless they hold for this frame.

    An amplifier without a position stands where its data are.
    """
    if all(a.detector is None for a in amplifiers):
        return compact(data), [(False, False)] * len(data), None
    on_chip = []
    for amplifier, section, own in zip(amplifiers, data, cards, strict=True):
        text = amplifier.detector
        if text is not None and is_card(text):
            position = own.position(text)
            own.check_size(text, position[0], section)
        else:
            position = read_position(text or amplifier.data)
        on_chip.append(position)
    places = _on_detector(on_chip, data, binning)
    flips = [flipped for _, flipped in on_chip]
    if any(a.detector is None for a in amplifiers):
        return compact(places), flips, None
    if not located and not any(is_card(a.detector) for a in amplifiers):
        return places, flips, None
    return places, flips, [section for section, _ in on_chip]


def _on_detector(
    on_chip: Sequence[tuple[Section, tuple[bool, bool]]],
    data: Sequence[Section],
    binning: tuple[int, int],
) -> list[Section]:
    """Return the binned positions in the smallest rectangle around all positions.

    Binned pixels are counted from the end of an amplifier that is read first, and stay in the
    whole bins of the rectangle, so that amplifiers that touch on the detector still do.
    """
    left = min(section.first_column for section, _ in on_chip)
    bottom = min(section.first_row for section, _ in on_chip)
    places = []
    for (on, flipped), section in zip(on_chip, data, strict=True):
        columns = (on.first_column - left, on.last_column - left + 1)
        rows = (on.first_row - bottom, on.last_row - bottom + 1)
        size = tuple((b - a) // by for (a, b), by in zip((columns, rows), binning, strict=True))
        place = Section(
            *whole_bins(*columns, binning[0], flipped[0]),
            *whole_bins(*rows, binning[1], flipped[1]),
        )
        if size != (section.width, section.height):
            raise SectionError(
                f"the data {section} of an amplifier and its position {place} on the detector "
                "differ in size; correct detector= in the profile."
            )
        places.append(place)
    return places


def _shape(
    amplifiers: Sequence[Amplifier], places: list[Section], data: list[Section]
) -> tuple[int, int]:
    """Return the rows and columns of the trimmed frame."""
    rows, columns = max(p.last_row for p in places), max(p.last_column for p in places)
    holes = sum(p.width * p.height for p in places) != rows * columns
    if holes and any(a.detector is None for a in amplifiers):
        raise SectionError(
            f"the amplifiers' data {' + '.join(map(str, data))} do not fill a rectangle of "
            f"{columns} columns and {rows} rows when they are joined; correct data= "
            "or detector= in the profile."
        )
    return rows, columns
