"""Amplifiers: which part of a raw frame each one reads, and what its numbers are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from astropy import units as u

from ..errors import FrameRejected, ProfileError, SectionError
from .section import Section, binned, binned_size, compact
from .watch import call

__all__ = ["Amplifier", "AmplifierSet", "Readout"]

GAIN = u.electron / u.adu

Number = u.Quantity | Callable[[Mapping], u.Quantity | None] | None


@dataclass(frozen=True, kw_only=True)
class Amplifier:
    """One amplifier of a camera, in unbinned FITS sections.

    Parameters
    ----------
    data : str
        The section that holds light, ``"[first column:last column, first row:last row]"``.
    overscan : str or None
        The *useful* strip of overscan or prescan, or None where there is none
        or where it does not follow the bias. There is no default: whoever
        writes a profile has to look.
    gain : Quantity, callable or None
        Electrons per adu, or a function of the header; None where nobody knows.
    read_noise : Quantity, callable or None
        In electron; None where nobody knows.
    saturation : Quantity, callable or None
        The raw level from which a pixel tells nothing, in adu; None where nobody knows.
    name : str
        Such as ``"left"``; may stay empty where there is one amplifier.
    extension : int, str or None
        The HDU that holds it, where a file has one for each amplifier.
    detector : str or None
        Where its data lie on the detector, needed only where every amplifier has
        an extension of its own, as the sections then do not tell.

    Raises
    ------
    ProfileError
        Where sections cannot be read, the overscan lies on the data or has other
        rows, or a number has no unit or the wrong one.

    Examples
    --------
    >>> from astropy import units as u
    >>> from ccdprofiles import Amplifier
    >>> amplifier = Amplifier(
    ...     data="[1:2048, 1:4128]",
    ...     overscan="[2056:2080, 1:4128]",
    ...     gain=1.1 * u.electron / u.adu,
    ... )
    >>> amplifier.read_noise is None
    True
    """

    data: str
    overscan: str | None
    gain: Number = None
    read_noise: Number = None
    saturation: Number = None
    name: str = ""
    extension: int | str | None = None
    detector: str | None = None

    def __post_init__(self) -> None:
        data = _section(self.data, "data")
        if self.detector is not None:
            _section(self.detector, "detector")
        for field, unit in (("gain", GAIN), ("read_noise", u.electron), ("saturation", u.adu)):
            value = getattr(self, field)
            if value is not None and not callable(value):
                quantity(value, unit, field)
        if self.overscan is None:
            return
        overscan = _section(self.overscan, "overscan")
        if overscan.overlaps(data):
            raise ProfileError(
                f"overscan {overscan} lies on the data {data}; give the strip that holds no light."
            )
        if (overscan.first_row, overscan.last_row) != (data.first_row, data.last_row):
            raise ProfileError(
                f"overscan {overscan} and data {data} do not have the same rows; "
                "each row of the data needs its own overscan."
            )


@dataclass(frozen=True)
class Readout:
    """An amplifier as it stands in one frame: binned, filled in, its numbers read.

    Parameters
    ----------
    name : str
    data, overscan : Section
        In the raw frame; ``overscan`` may be None.
    place : Section
        Where the data lie in the trimmed frame.
    gain : float or None
        In electron per adu.
    read_noise : float or None
        In electron.
    saturation : float or None
        In adu.
    extension : int, str or None
    """

    name: str
    data: Section
    overscan: Section | None
    place: Section
    gain: float | None
    read_noise: float | None
    saturation: float | None
    extension: int | str | None = None

    @property
    def read_variance(self) -> float | None:
        """The variance of one pixel's read noise in adu squared, or None where not known."""
        if self.gain is None or self.read_noise is None:
            return None
        return (self.read_noise / self.gain) ** 2


@dataclass(frozen=True)
class AmplifierSet:
    """All amplifiers of one frame, and the shape of the frame once they are put together.

    Parameters
    ----------
    readouts : tuple of Readout
    shape : tuple of int
        Rows and columns of the trimmed frame.
    """

    readouts: tuple[Readout, ...]
    shape: tuple[int, int]

    @property
    def key(self) -> str:
        """A short name that two frames share when they were read out alike."""
        text = "+".join(f"{r.extension}{r.data}{r.overscan}{r.place}" for r in self.readouts)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def has_overscan(self) -> bool:
        """Whether every amplifier has a useful overscan."""
        return all(r.overscan is not None for r in self.readouts)

    @property
    def missing(self) -> tuple[str, ...]:
        """The numbers that no one knows, of ``gain``, ``read_noise``, ``saturation``."""
        fields = ("gain", "read_noise", "saturation")
        return tuple(f for f in fields if any(getattr(r, f) is None for r in self.readouts))

    @property
    def knows_noise(self) -> bool:
        """Whether gain and read noise of every amplifier are known."""
        return all(r.read_variance is not None for r in self.readouts)

    def __str__(self) -> str:
        return " + ".join(str(r.data) for r in self.readouts)


def amplifier_set(
    amplifiers: tuple[Amplifier, ...],
    shapes: Mapping,
    binning: tuple[int, int],
    overscan_bins: bool,
    header: Mapping,
) -> AmplifierSet:
    """Fit amplifiers into one frame.

    Parameters
    ----------
    amplifiers : tuple of Amplifier
    shapes : mapping
        Rows and columns of the raw frame for every extension an amplifier names.
    binning : tuple of int
        Columns and rows that were summed into one.
    overscan_bins : bool
        See `ccdprofiles.camera.section.binned`.
    header : mapping
        Given to the functions that stand in place of numbers.

    Raises
    ------
    SectionError
        If a section lies outside the frame.
    FrameRejected
        If a function makes no number out of this header.
    """
    data = [Section.parse(a.data) for a in amplifiers]
    strips = [None if a.overscan is None else Section.parse(a.overscan) for a in amplifiers]
    x, y = binning
    whole = [
        s.within(_unbinned(s, shapes[a.extension], x, y), "data section") if _open(s) else s
        for s, a in zip(data, amplifiers, strict=True)
    ]
    lit = [
        s.within(shapes[a.extension], "data section")
        for s, a in zip(binned(whole, whole, x, y, overscan_bins), amplifiers, strict=True)
    ]
    places = _places(amplifiers, lit, binning)
    readouts = []
    for amplifier, section, strip, place in zip(amplifiers, lit, strips, places, strict=True):
        overscan = None
        if strip is not None:
            (overscan,) = binned([strip], whole, x, y, overscan_bins)
            overscan = (
                replace(overscan, first_row=section.first_row, last_row=section.last_row)
                if strip.first_row is None
                else overscan
            )
            overscan = overscan.within(shapes[amplifier.extension], "overscan")
            if overscan.height != section.height:
                raise SectionError(
                    f"overscan {overscan} has {overscan.height} rows and data {section} has "
                    f"{section.height}; give both the same rows in the profile."
                )
        readouts.append(
            Readout(
                name=amplifier.name,
                data=section,
                overscan=overscan,
                place=place,
                gain=_number(amplifier.gain, header, GAIN, "gain"),
                read_noise=_number(amplifier.read_noise, header, u.electron, "read_noise"),
                saturation=_number(amplifier.saturation, header, u.adu, "saturation"),
                extension=amplifier.extension,
            )
        )
    shape = (max(p.last_row for p in places), max(p.last_column for p in places))
    if sum(p.width * p.height for p in places) != shape[0] * shape[1]:
        raise SectionError(
            f"the amplifiers' data {' + '.join(map(str, lit))} do not fill a rectangle of "
            f"{shape[1]} columns and {shape[0]} rows once they are put together; correct data= "
            "or detector= in the profile."
        )
    return AmplifierSet(tuple(readouts), shape)


def check_frame_size(
    amplifiers: tuple[Amplifier, ...],
    shapes: Mapping,
    binning: tuple[int, int],
    overscan_bins: bool,
    frame_size: tuple[int, int] | Mapping | None,
    cards: str,
) -> None:
    """Refuse a frame of another size than the profile accounts for.

    Parameters
    ----------
    amplifiers, shapes, binning, overscan_bins
        As in `amplifier_set`.
    frame_size : tuple of int, mapping or None
        Columns and rows of the unbinned raw frame, or those of each extension. None: the
        sections reach to its last column and row.
    cards : str
        The cards of the binning, or nothing where the profile names none.

    Raises
    ------
    SectionError
        If the frame is larger, so that part of it would be left out by mistake, or smaller.
    """
    for extension in dict.fromkeys(a.extension for a in amplifiers):
        here = [a for a in amplifiers if a.extension == extension]
        size = declared_size(frame_size, extension) or sections_reach(here)
        data = [Section.parse(a.data) for a in here]
        expected = binned_size(size, data, *binning, overscan_bins)
        rows, columns = shapes[extension]
        if all(e is None or n in e for e, n in zip(expected, (columns, rows), strict=True)):
            continue
        image = "the frame" if extension is None else f"extension {extension!r}"
        raise SectionError(
            f"{image} has {_by(columns, rows)}, where {_expected(expected, columns, rows)} were "
            f"expected{_unbinned_size(size, binning)}, as "
            + ("frame_size= says" if frame_size else "the sections reach no further")
            + f"; {_size_cure(expected, (columns, rows), binning, overscan_bins, frame_size, cards)}."
        )


def declared_size(
    frame_size: tuple[int, int] | Mapping | None, extension: int | str | None
) -> tuple[int, int] | None:
    """Return the unbinned columns and rows that a profile gives for an extension, or None."""
    return frame_size.get(extension) if isinstance(frame_size, Mapping) else frame_size


def sections_reach(amplifiers: Iterable[Amplifier]) -> tuple[int | None, int | None]:
    """Return the last column and row of all sections, unbinned; None where one is open."""
    texts = [t for a in amplifiers for t in (a.data, a.overscan) if t is not None]
    sections = [Section.parse(text) for text in texts]
    columns = [s.last_column for s in sections]
    rows = [s.last_row for s in sections]
    return (
        None if None in columns else max(columns),
        None if None in rows else max(rows),
    )


_LEAST, _MOST = 1e-15, 1e15
"""Single precision holds the squares of these."""


def quantity(value: object, unit: u.UnitBase, field: str) -> float:
    """Return a positive quantity as a number of ``unit``, or refuse it.

    Raises
    ------
    ProfileError
        If it has no unit, the wrong one, or is not a positive finite number that a
        camera may have.
    """
    if not isinstance(value, u.Quantity) or not value.unit.is_equivalent(unit):
        plain = value.value if isinstance(value, u.Quantity) else value
        raise ProfileError(
            f"{field}={value} is not in {unit}; write it as {field}={plain} * {_spelled(unit)}."
        )
    number = value.to_value(unit)
    if not (number.ndim == 0 if hasattr(number, "ndim") else True) or not 0 < number < float("inf"):
        raise ProfileError(f"{field}={value} is not a positive number.")
    if not _LEAST <= number <= _MOST:
        raise ProfileError(
            f"{field}={value} lies outside {_LEAST:g} to {_MOST:g} {unit}, where a value of any "
            "camera lies; correct it."
        )
    return float(number)


def check_amplifiers(amplifiers: tuple[Amplifier, ...]) -> None:
    """Refuse amplifiers whose data overlap, or whose overscan lies on another's data.

    Raises
    ------
    ProfileError
    """
    for amplifier in amplifiers:
        if not isinstance(amplifier, Amplifier):
            raise ProfileError(f"amplifiers holds {amplifier!r}, which is no Amplifier(...).")
    for i, first in enumerate(amplifiers):
        for j, second in enumerate(amplifiers):
            if i == j or first.extension != second.extension:
                continue
            if i < j and Section.parse(first.data).overlaps(Section.parse(second.data)):
                raise ProfileError(
                    f"the amplifiers' data {first.data} and {second.data} overlap; "
                    "each pixel is read by one amplifier."
                )
            strip = second.overscan
            if strip is not None and Section.parse(strip).overlaps(Section.parse(first.data)):
                raise ProfileError(
                    f"overscan {strip} lies on the data {first.data}; "
                    "give the strip that holds no light."
                )
    extensions = {a.extension for a in amplifiers}
    if len(extensions) > 1 and any(a.detector is None for a in amplifiers):
        raise ProfileError(
            "amplifiers lie in several extensions, and their sections do not tell how they "
            "stand side by side; give each its detector='[…]'."
        )
    names = [a.name for a in amplifiers]
    if len(names) > 1 and len(set(names)) < len(names):
        raise ProfileError("two amplifiers have one name; name each, such as name='left'.")
    rows = {(s.first_row, s.last_row) for s in (Section.parse(a.data) for a in amplifiers)}
    heights = {None if a is None else b - a + 1 for a, b in rows}
    if len(heights) > 1:
        raise ProfileError(
            "the amplifiers' data have different heights: "
            + ", ".join(a.data for a in amplifiers)
            + "; give each the rows that it reads."
        )


def _places(
    amplifiers: tuple[Amplifier, ...], lit: list[Section], binning: tuple[int, int]
) -> list[Section]:
    """Find where each amplifier's data lie in the trimmed frame."""
    if all(a.detector is None for a in amplifiers):
        return compact(lit)
    on_chip = [Section.parse(a.detector or a.data) for a in amplifiers]
    places = compact(binned(on_chip, on_chip, *binning))
    for place, section in zip(places, lit, strict=True):
        if (place.width, place.height) != (section.width, section.height):
            raise SectionError(
                f"an amplifier's data {section} and its place on the detector {place} "
                "differ in size; correct detector= in the profile."
            )
    return places


def _by(columns: object, rows: object) -> str:
    return f"{columns} columns and {rows} rows"


def _expected(expected: tuple[range | None, range | None], columns: int, rows: int) -> str:
    """Write the expected numbers of columns and rows; any will do on an open axis."""
    return _by(
        *(
            n if e is None else " or ".join(map(str, sorted({e[0], e[-1]})))
            for e, n in zip(expected, (columns, rows), strict=True)
        )
    )


def _unbinned_size(size: tuple[int | None, int | None], binning: tuple[int, int]) -> str:
    if binning == (1, 1):
        return ""
    columns, rows = ("any" if n is None else n for n in size)
    return f" at a binning of {binning[0]} x {binning[1]} ({columns} x {rows} unbinned)"


def _size_cure(
    expected: tuple[range | None, range | None],
    found: tuple[int, int],
    binning: tuple[int, int],
    overscan_bins: bool,
    frame_size: object,
    cards: str,
) -> str:
    """Return the cure for a frame of another size."""
    x, y = binning
    smaller = any(e is not None and n < e[0] for e, n in zip(expected, found, strict=True))
    if cards:
        cure = [f"correct {cards} if the binning is not {x} x {y}"]
    else:
        cure = ["name the cards of the binning in binning= if the frame is binned"] * smaller
    if smaller:
        cure.append("set the frame aside if it was cut or windowed")
        cure.append(
            f"else correct {'frame_size=' if frame_size else 'the sections'} in the profile"
        )
    elif frame_size:
        cure.append(f"{'or ' * len(cure)}correct frame_size= in the profile if it is wrong")
    else:
        whole = f"({found[0] * x}, {found[1] * y})"
        if x > 1 and not overscan_bins:
            whole = "(columns, rows)"
        cure.append(f"write frame_size={whole} in the profile if the rest is not to be used")
        cure.append("else give sections that cover it")
    return ", ".join(cure)


def _section(text: str, field: str) -> Section:
    try:
        return Section.parse(text)
    except SectionError as error:
        raise ProfileError(f"{field}={text!r}: {error}") from error


def _open(section: Section) -> bool:
    return section.first_column is None or section.first_row is None


def _unbinned(section: Section, shape: tuple[int, int], x: int, y: int) -> tuple[int, int]:
    """Return the unbinned size of a frame, as far as open ends need it."""
    rows, columns = shape
    return rows * y, max(columns * x, section.last_column or 0)


def _number(value: Number, header: Mapping, unit: u.UnitBase, field: str) -> float | None:
    if not callable(value):
        return None if value is None else quantity(value, unit, field)
    said = call(value, header)
    try:
        return None if said is None else quantity(said, unit, field)
    except ProfileError as error:
        raise FrameRejected(
            field,
            f"the profile's function says: {error} Correct its header, or {field}= in the profile.",
        ) from error


def _spelled(unit: u.UnitBase) -> str:
    return {GAIN: "u.electron / u.adu", u.electron: "u.electron", u.adu: "u.adu"}.get(
        unit, f"u.{unit}"
    )
