"""Place the amplifiers of a camera in one frame: binned sections, and the trimmed frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from astropy import units as u

from ..errors import FrameRejected, ProfileError, SectionError
from .amplifier import Amplifier, AmplifierSet, Number, Readout
from .section import Section, binned, compact, read_position
from .values import GAIN, quantity
from .watch import call

__all__ = ["amplifier_set"]


def amplifier_set(
    amplifiers: Sequence[Amplifier],
    shapes: Mapping,
    binning: tuple[int, int],
    overscan_bins: bool,
    header: Mapping,
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
        Passed to the functions that are used instead of numbers.

    Raises
    ------
    SectionError
        If a section is outside the frame.
    FrameRejected
        If a function returns a wrong number for this header.
    """
    x, y = binning
    whole = [_unbinned_data(a, shapes[a.extension], x, y) for a in amplifiers]
    data = [
        section.within(shapes[a.extension], "data section")
        for section, a in zip(binned(whole, whole, x, y, overscan_bins), amplifiers, strict=True)
    ]
    places = _places(amplifiers, data, binning)
    readouts = []
    for amplifier, section, place in zip(amplifiers, data, places, strict=True):
        texts = [*amplifier.strips, *filter(None, [amplifier.parallel_overscan])]
        strips = [
            _along(strip, section, shapes[amplifier.extension])
            for strip in binned(map(Section.parse, texts), whole, x, y, overscan_bins)
        ]
        readouts.append(_readout(amplifier, section, strips, place, header))
    return AmplifierSet(tuple(readouts), _shape(amplifiers, places, data))


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
    amplifier: Amplifier, data: Section, strips: list[Section], place: Section, header: Mapping
) -> Readout:
    parallel = None if amplifier.parallel_overscan is None else strips.pop()
    return Readout(
        name=amplifier.name,
        data=data,
        overscan=strips[0] if strips else None,
        more_overscan=tuple(strips[1:]),
        parallel_overscan=parallel,
        place=place,
        gain=_number(amplifier.gain, header, GAIN, "gain"),
        read_noise=_number(amplifier.read_noise, header, u.electron, "read_noise"),
        saturation=_number(amplifier.saturation, header, u.adu, "saturation"),
        extension=amplifier.extension,
        flipped=read_position(amplifier.detector)[1] if amplifier.detector else (False, False),
    )


def _number(value: Number, header: Mapping, unit: u.UnitBase, field: str) -> float | None:
    if not callable(value):
        return None if value is None else quantity(value, unit, field)
    result = call(value, header)
    try:
        return None if result is None else quantity(result, unit, field)
    except ProfileError as error:
        raise FrameRejected(
            field,
            f"{error} A function of the profile returned this value; correct the header, or {field}= in the "
            "profile.",
        ) from error


def _places(
    amplifiers: Sequence[Amplifier], data: list[Section], binning: tuple[int, int]
) -> list[Section]:
    """Return the position of the data of each amplifier in the trimmed frame."""
    if all(a.detector is None for a in amplifiers):
        return compact(data)
    on_chip = [read_position(a.detector or a.data) for a in amplifiers]
    places = _on_detector(on_chip, data, binning)
    if any(a.detector is None for a in amplifiers):
        places = compact(places)
    return places


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
            *_bins(*columns, binning[0], flipped[0]), *_bins(*rows, binning[1], flipped[1])
        )
        if size != (section.width, section.height):
            raise SectionError(
                f"the data {section} of an amplifier and its position {place} on the detector "
                "differ in size; correct detector= in the profile."
            )
        places.append(place)
    return places


def _bins(start: int, stop: int, by: int, flipped: bool) -> tuple[int, int]:
    """Return the first and last bin, from 1, of the whole bins in ``stop - start`` pixels."""
    number = (stop - start) // by
    last = stop // by if flipped else start // by + number
    return last - number + 1, last


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
