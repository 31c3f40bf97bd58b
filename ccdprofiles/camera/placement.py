"""Place the amplifiers of a camera in one frame: binned sections, and the trimmed frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from astropy import units as u

from ..errors import FrameRejected, ProfileError, SectionError
from .amplifier import Amplifier, AmplifierSet, Readout, check_linear
from .section import Section, binned, compact
from .settings import number_of
from .values import GAIN

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
        overscan = None
        if amplifier.overscan is not None:
            strip = Section.parse(amplifier.overscan)
            (overscan,) = binned([strip], whole, x, y, overscan_bins)
            overscan = _beside(overscan, section, shapes[amplifier.extension])
        readouts.append(_readout(amplifier, section, overscan, place, header))
    return AmplifierSet(tuple(readouts), _shape(places, data))


def _unbinned_data(amplifier: Amplifier, shape: tuple[int, int], x: int, y: int) -> Section:
    """Return the data section without open ends, which reach to the edge of the unbinned frame."""
    section = Section.parse(amplifier.data)
    if section.first_column is not None and section.first_row is not None:
        return section
    rows, columns = shape
    return section.within((rows * y, max(columns * x, section.last_column or 0)), "data section")


def _beside(overscan: Section, data: Section, shape: tuple[int, int]) -> Section:
    """Return the overscan of the same rows as its data."""
    if overscan.first_row is None:
        overscan = replace(overscan, first_row=data.first_row, last_row=data.last_row)
    overscan = overscan.within(shape, "overscan")
    if overscan.height != data.height:
        raise SectionError(
            f"overscan {overscan} has {overscan.height} rows and data {data} has "
            f"{data.height}; use the same rows for both in the profile."
        )
    return overscan


def _readout(
    amplifier: Amplifier, data: Section, overscan: Section | None, place: Section, header: Mapping
) -> Readout:
    saturation = number_of(amplifier.saturation, header, u.adu, "saturation")
    return Readout(
        name=amplifier.name,
        data=data,
        overscan=overscan,
        place=place,
        gain=number_of(amplifier.gain, header, GAIN, "gain"),
        read_noise=number_of(amplifier.read_noise, header, u.electron, "read_noise"),
        saturation=saturation,
        extension=amplifier.extension,
        linear=_linear(amplifier, header, saturation),
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
    amplifiers: Sequence[Amplifier], data: list[Section], binning: tuple[int, int]
) -> list[Section]:
    """Return the position of the data of each amplifier in the trimmed frame."""
    if all(a.detector is None for a in amplifiers):
        return compact(data)
    on_chip = [Section.parse(a.detector or a.data) for a in amplifiers]
    places = compact(binned(on_chip, on_chip, *binning))
    for place, section in zip(places, data, strict=True):
        if (place.width, place.height) != (section.width, section.height):
            raise SectionError(
                f"the data {section} of an amplifier and its position {place} on the detector "
                "differ in size; correct detector= in the profile."
            )
    return places


def _shape(places: list[Section], data: list[Section]) -> tuple[int, int]:
    """Return the rows and columns of the trimmed frame."""
    rows, columns = max(p.last_row for p in places), max(p.last_column for p in places)
    if sum(p.width * p.height for p in places) != rows * columns:
        raise SectionError(
            f"the amplifiers' data {' + '.join(map(str, data))} do not fill a rectangle of "
            f"{columns} columns and {rows} rows when they are joined; correct data= "
            "or detector= in the profile."
        )
    return rows, columns
