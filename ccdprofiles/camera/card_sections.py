"""Sections that a camera writes into header cards: read from a frame, and checked against it.

A section of the raw image, such as DATASEC or BIASSEC, counts the pixels of the file as it is stored,
and so binned ones; a position on the detector, such as DETSEC, counts unbinned pixels. IRAF requires
neither, and some cameras write DATASEC of the unbinned frame into binned ones; such a section reaches
beyond the image, or has another size than the position, and the frame is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import SectionError
from .section import Section, read_position

__all__ = ["CardReader", "refuse_overlaps", "within_data"]

_CURE = "correct the header, or write the section in the profile"


@dataclass(frozen=True)
class CardReader:
    """Reads sections from the header of one image.

    Parameters
    ----------
    header : mapping
        Of the extension, over the primary one.
    extension : int, str or None
    shape : tuple of int
        Rows and columns of the image.
    binning : tuple of int
    """

    header: Mapping
    extension: int | str | None
    shape: tuple[int, int]
    binning: tuple[int, int]

    @property
    def _where(self) -> str:
        return "" if self.extension is None else f" of extension {self.extension!r}"

    def _text(self, card: str, field: str) -> str:
        value = self.header.get(card)
        if not isinstance(value, str) or not value.strip():
            what = "is missing" if value is None else f"= {value!r} is not a section"
            raise SectionError(
                f"{card}{self._where} {what}, but {field}= of an amplifier reads it; {_CURE}."
            )
        return value.strip()

    def section(self, card: str, field: str) -> Section:
        """Return the section in a card, in pixels of the image, without open ends.

        Raises
        ------
        SectionError
            If the card is missing, is not a section, or reaches beyond the image.
        """
        text = self._text(card, field)
        try:
            section = Section.parse(text)
        except SectionError as error:
            raise self._unread(card, error) from error
        rows, columns = self.shape
        if (section.last_column or 0) > columns or (section.last_row or 0) > rows:
            x, y = self.binning
            raise SectionError(
                f"{card} = {text!r}{self._where} reaches beyond the image, which has {columns} columns "
                f"and {rows} rows; it should count the pixels of the file as stored, here at a "
                f"binning of {x} x {y}; {_CURE}."
            )
        return section.within(self.shape)

    def position(self, card: str) -> tuple[Section, tuple[bool, bool]]:
        """Return the position on the detector in a card, and which of its axes are backward.

        Raises
        ------
        SectionError
            If the card is missing, or is not a position.
        """
        text = self._text(card, "detector")
        try:
            return read_position(text)
        except SectionError as error:
            raise self._unread(card, error) from error

    def check_size(self, card: str, position: Section, data: Section) -> None:
        """Refuse a position on the detector that has another size than the data.

        Raises
        ------
        SectionError
        """
        x, y = self.binning
        if (position.width // x, position.height // y) != (data.width, data.height):
            raise SectionError(
                f"{card}{self._where} covers {position.width} x {position.height} pixels of the "
                f"detector, but the data {data} have {data.width} x {data.height} pixels at a binning "
                f"of {x} x {y}; it should count unbinned pixels; {_CURE}."
            )

    def _unread(self, card: str, error: SectionError) -> SectionError:
        return SectionError(f"{card}{self._where}: {str(error).rstrip('.')}; {_CURE}.")


def within_data(strip: Section, data: Section) -> Section:
    """Return the part of a strip that lies beside the data, or straight above or below them.

    Cameras write an overscan that is longer than their data.
    """
    if strip.first_row <= data.first_row and data.last_row <= strip.last_row:
        return replace(strip, first_row=data.first_row, last_row=data.last_row)
    if strip.first_column <= data.first_column and data.last_column <= strip.last_column:
        return replace(strip, first_column=data.first_column, last_column=data.last_column)
    return strip


def refuse_overlaps(
    image: list[tuple[Section, tuple[Section, ...]]], places: list[Section]
) -> None:
    """Refuse amplifiers that use the same pixels.

    Parameters
    ----------
    image : list of (Section, tuple of Section)
        The data and the strips of overscan of each amplifier of one image.
    places : list of Section
        The places of all amplifiers in the frame.

    Raises
    ------
    SectionError
    """
    for n, (data, _) in enumerate(image):
        for m, (other, strips) in enumerate(image):
            if n != m and any(data.overlaps(section) for section in (other, *strips)):
                raise SectionError(
                    f"the data {data} of an amplifier overlap the data {other} or the overscan of "
                    f"another, as their cards have them; {_CURE}."
                )
    for n, place in enumerate(places):
        for other in places[:n]:
            if place.overlaps(other):
                raise SectionError(
                    f"two amplifiers have the same pixels of the detector, {other} and {place} of the "
                    f"frame, as their cards have them; {_CURE}."
                )
