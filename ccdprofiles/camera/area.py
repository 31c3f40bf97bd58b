"""The part of a detector that a frame covers, and the amplifier that read each pixel of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count, takewhile
from math import isclose

from .amplifier import AmplifierSet
from .pixel_map import whole_bins
from .section import Section, around, position_text, read_position

__all__ = ["AreaPart", "DetectorArea"]

_SAME_GAIN = 1e-3


@dataclass(frozen=True)
class AreaPart:
    """The pixels of the detector that one amplifier read.

    Parameters
    ----------
    name : str
        Of the amplifier.
    section : Section
        On the detector, unbinned.
    flipped : tuple of bool
        Whether its columns, and its rows, are read from the far end.
    gain : float or None
        If it varies from frame to frame.
    """

    name: str
    section: Section
    flipped: tuple[bool, bool] = (False, False)
    gain: float | None = None

    @property
    def spans(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Its first and last column, and its first and last row."""
        s = self.section
        return (s.first_column, s.last_column), (s.first_row, s.last_row)

    def is_read_by(self, other: AreaPart) -> bool:
        """Return True if another part contains this one and is read from the same ends.

        A single column or row has no direction, as a section of it cannot be backward.
        """
        ends = zip(self.spans, self.flipped, other.flipped, strict=True)
        same = all(own == its or first == last for (first, last), own, its in ends)
        return same and other.section.covers(self.section)

    def __str__(self) -> str:
        return position_text(self.section, self.flipped)


@dataclass(frozen=True)
class DetectorArea:
    """The part of a detector that a frame or a master covers.

    A frame of a window is calibrated with a master that covers it: one of the same binning, whose
    binned pixels begin at the same columns and rows, and whose pixels were read by the same
    amplifiers from the same end.

    Parameters
    ----------
    parts : tuple of AreaPart
    binning : tuple of int
        Columns and rows that were summed into one.

    Examples
    --------
    >>> from ccdprofiles.camera.area import AreaPart, DetectorArea
    >>> from ccdprofiles.camera.section import Section
    >>> whole, window = (
    ...     DetectorArea((AreaPart("", Section.parse(text)),), (2, 2))
    ...     for text in ("[1:1000, 1:800]", "[101:300, 401:600]")
    ... )
    >>> window.place_in(whole)
    (slice(200, 300, None), slice(50, 150, None))
    >>> whole.place_in(window) is None
    True
    """

    parts: tuple[AreaPart, ...]
    binning: tuple[int, int]

    @classmethod
    def of(
        cls, amplifiers: AmplifierSet, binning: tuple[int, int], gains: bool
    ) -> DetectorArea | None:
        """Return the area of a frame; None if it is not known which part of the detector was read.

        Parameters
        ----------
        amplifiers : AmplifierSet
        binning : tuple of int
        gains : bool
            Whether the gain varies from frame to frame, so that masters of another are wrong.
        """
        parts = tuple(
            AreaPart(_card_text(r.name), r.detector, r.flipped, r.gain if gains else None)
            for r in amplifiers.readouts
            if r.detector is not None
        )
        return cls(parts, binning) if len(parts) == len(amplifiers.readouts) else None

    @classmethod
    def of_product(cls, header: Mapping, binning: tuple[int, int]) -> DetectorArea | None:
        """Read the area of a product from its cards; None if it has none.

        Raises
        ------
        SectionError
            If a card is not a section.
        """
        texts = takewhile(lambda t: t is not None, (header.get(f"DETSEC{n}") for n in count(1)))
        parts = []
        for n, text in enumerate(texts, 1):
            gain = header.get(f"CPGAIN{n}")
            gain = float(gain) if isinstance(gain, int | float) else None
            name = str(header.get(f"CPAMP{n}", "")).strip()
            parts.append(AreaPart(name, *read_position(str(text)), gain))
        return cls(tuple(parts), binning) if parts else None

    @property
    def cards(self) -> Iterable[tuple[str, str | float, str]]:
        """The cards of a product from which `of_product` reads it: keyword, value and comment."""
        yield "CCDSEC", str(self.section), "detector pixels of this image, unbinned"
        for n, part in enumerate(self.parts, 1):
            yield f"DETSEC{n}", str(part), "those of this amplifier, as it is read"
            if part.name:
                yield f"CPAMP{n}", part.name, "name of this amplifier"
            if part.gain is not None:
                yield f"CPGAIN{n}", part.gain, "[electron/adu] its gain in these frames"

    @cached_property
    def section(self) -> Section:
        """The smallest section of the detector around all parts, unbinned."""
        return around(part.section for part in self.parts)

    @property
    def size(self) -> int:
        """The number of unbinned pixels in that section."""
        return self.section.width * self.section.height

    @cached_property
    def _places(self) -> list[tuple[tuple[int, int], tuple[int, int]]]:
        """The first and last column, and row, of each part in the trimmed frame."""
        starts = self.section.first_column, self.section.first_row
        places = []
        for part in self.parts:
            axes = zip(part.spans, starts, self.binning, part.flipped, strict=True)
            columns, rows = (whole_bins(a - s, b - s + 1, by, back) for (a, b), s, by, back in axes)
            places.append((columns, rows))
        return places

    def place_in(self, whole: DetectorArea, kind: str = "") -> tuple[slice, slice] | None:
        """Return the rows and columns of this area in a frame of a larger one.

        Parameters
        ----------
        whole : DetectorArea
        kind : str
            The type of the master. The gain of a flat does not matter, only the ratios.

        Returns
        -------
        tuple of slice or None
            None if that frame does not cover this area.
        """
        return None if self.why_not_in(whole, kind) else self._slices(whole)

    def why_not_in(self, whole: DetectorArea, kind: str = "") -> str:
        """Return why a master does not cover this area, or nothing if it does."""
        if self.binning != whole.binning:
            return f"is binned {whole.binning[0]}x{whole.binning[1]}"
        if not whole.section.covers(self.section):
            return f"covers only {whole.section}"
        theirs = {part.name: part for part in whole.parts}
        pairs = [(part, theirs.get(part.name)) for part in self.parts]
        for part, other in pairs:
            if other is None or not part.is_read_by(other):
                return "was read out by other amplifiers"
        if not _same_gains([(p.gain, o.gain) for p, o in pairs if o is not None], kind == "flat"):
            return "was read out with another gain"
        if self._slices(whole) is None:
            return "has binned pixels that begin at other columns or rows"
        return ""

    def _slices(self, whole: DetectorArea) -> tuple[slice, slice] | None:
        """Return the place of this area in a larger one; None if binned pixels are not the same."""
        theirs = {p.name: (p, place) for p, place in zip(whole.parts, whole._places, strict=True)}
        ends: list[int] = []
        for axis, by in enumerate(self.binning):
            shifts = set()
            for part, place in zip(self.parts, self._places, strict=True):
                other, its_place = theirs[part.name]
                # Binned pixels are counted from the end that is read first.
                end = int(other.flipped[axis])
                apart = part.spans[axis][end] - other.spans[axis][end]
                if apart % by:
                    return None
                shifts.add(its_place[axis][end] + apart // by - place[axis][end])
            if len(shifts) > 1:
                return None
            ends += [shifts.pop(), max(place[axis][1] for place in self._places)]
        return slice(ends[2], ends[2] + ends[3]), slice(ends[0], ends[0] + ends[1])


def _card_text(name: str) -> str:
    """Return the name of an amplifier as a card can contain it."""
    return name.encode("ascii", "backslashreplace").decode().strip()[:60]


def _same_gains(pairs: Iterable[tuple[float | None, float | None]], ratios: bool) -> bool:
    """Return True if gains agree, or their ratios from amplifier to amplifier."""
    known = [(own, its) for own, its in pairs if own is not None or its is not None]
    if not known:
        return True
    scale = 1.0
    if ratios and known[0][0] and known[0][1]:
        scale = known[0][1] / known[0][0]
    tolerance = _SAME_GAIN if ratios else 1e-6
    return all(
        own is not None and its is not None and isclose(own * scale, its, rel_tol=tolerance)
        for own, its in known
    )
