"""Amplifiers: which part of a raw frame each one reads, and its gain, read noise and saturation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from itertools import combinations, permutations
from typing import TypeAlias

import numpy as np
from astropy import units as u

from ..errors import ProfileError, SectionError
from .pixel_map import PixelMap
from .section import Section, read_position
from .values import GAIN, quantity

__all__ = ["Amplifier", "AmplifierSet", "Readout", "check_amplifiers", "check_strips"]

Number: TypeAlias = "u.Quantity | Callable[[Mapping], u.Quantity | None] | None"


@dataclass(frozen=True, kw_only=True)
class Amplifier:
    """One amplifier of a camera, in unbinned FITS sections.

    Parameters
    ----------
    data : str
        The illuminated section, ``"[first column:last column, first row:last row]"``.
    overscan : str, tuple of str or None
        The *useful* strip of overscan or prescan; None if there is none, or if it does not follow
        the bias. There is no default: inspect a frame of the camera. A strip beside the data, with
        the same rows, gives a level for each row; one above or below them, with the same columns,
        a level for each column. The pixels of several strips, as on both sides of the data, are
        taken together.
    parallel_overscan : str or None
        A strip above or below the data that is corrected after ``overscan``, as the charge that
        is left over when rows are shifted: a level for each column. The levels of the rows are
        subtracted from it first.
    gain : Quantity, callable or None
        Electrons per adu, or a function of the header; None if it is not known.
    read_noise : Quantity, callable or None
        In electron; None if it is not known.
    saturation : Quantity, callable or None
        Saturation level of the raw frame in adu; pixels at or above it are flagged. None if it is
        not known.
    name : str
        Such as ``"left"``; may be empty for a camera with one amplifier.
    extension : int, str or None
        The HDU that contains it, if a file has one for each amplifier.
    detector : str or None
        The position of its data on the detector, unbinned; needed if every amplifier has its own
        extension, or if the amplifiers differ in height or width, because their sections do not
        show the position then. A backward range, as in ``"[4096:2049, 1:2048]"``, means that this
        axis is read from the far end; the data are flipped into place. If all amplifiers have
        one, the frame is the smallest rectangle around them, and pixels that none of them read
        are NaN and flagged ``no data``.

    Raises
    ------
    ProfileError
        If a section cannot be read, the overscan overlaps the data or has other rows, or a
        number has no unit or the wrong one.

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
    overscan: str | tuple[str, ...] | None
    parallel_overscan: str | None = None
    gain: Number = None
    read_noise: Number = None
    saturation: Number = None
    name: str = ""
    extension: int | str | None = None
    detector: str | None = None

    def __post_init__(self) -> None:
        data = _section(self.data, "data")
        if self.detector is not None:
            _position(self.detector)
        for field, unit in (("gain", GAIN), ("read_noise", u.electron), ("saturation", u.adu)):
            value = getattr(self, field)
            if value is not None and not callable(value):
                quantity(value, unit, field)
        self._check_strips(data)

    def _check_strips(self, data: Section) -> None:
        if isinstance(self.overscan, list) or self.overscan == ():
            raise ProfileError(
                f"overscan={self.overscan!r} is not a section, a tuple of sections or None; use None "
                "if no strip is useful."
            )
        strips = [_section(text, "overscan") for text in self.strips]
        parallel = self.parallel_overscan
        if parallel is not None:
            _section(parallel, "parallel_overscan")
        try:
            check_strips(data, strips, None if parallel is None else Section.parse(parallel))
        except SectionError as error:
            raise ProfileError(str(error)) from error

    @property
    def strips(self) -> tuple[str, ...]:
        """The sections of ``overscan``."""
        if self.overscan is None:
            return ()
        return (self.overscan,) if isinstance(self.overscan, str) else self.overscan


def check_strips(data: Section, strips: Sequence[Section], parallel: Section | None) -> None:
    """Refuse strips of overscan that do not give a level for each row, or for each column.

    Parameters
    ----------
    data : Section
    strips : sequence of Section
        Of ``overscan``.
    parallel : Section or None

    Raises
    ------
    SectionError
    """
    for strip in (*strips, *([] if parallel is None else [parallel])):
        if strip.overlaps(data):
            raise _lit_overscan(strip, data)
    for one, other in combinations(strips, 2):
        if one.overlaps(other):
            raise SectionError(
                f"overscan {one} and overscan {other} overlap; use each pixel once, in one strip."
            )
    by_column = [_is_above(strip, data) for strip in strips]
    for strip, above in zip(strips, by_column, strict=True):
        if above:
            _check_columns("overscan", strip, data)
        elif (strip.first_row, strip.last_row) != (data.first_row, data.last_row):
            raise SectionError(
                f"overscan {strip} and data {data} do not have the same rows; "
                "each row of the data needs its own overscan."
            )
    if len({*by_column}) > 1:
        raise SectionError(
            f"overscan {' and '.join(map(str, strips))} are beside the data {data} and above or below "
            "them; use overscan= for those beside, and parallel_overscan= for the other."
        )
    if parallel is None:
        return
    if not strips or by_column[0]:
        raise SectionError(
            f"parallel_overscan {parallel} is corrected after a level for each row, but overscan= has "
            "no strip beside the data; use overscan= for it if it is the only one."
        )
    _check_columns("parallel_overscan", parallel, data)


def _is_above(strip: Section, data: Section) -> bool:
    """Return True if a strip is above or below the data, and not beside them."""
    if (strip.first_column, strip.last_column) == (data.first_column, data.last_column):
        return True
    beside = Section(strip.first_column, strip.last_column, data.first_row, data.last_row)
    return beside.overlaps(data)


def _check_columns(field: str, strip: Section, data: Section) -> None:
    if (strip.first_column, strip.last_column) != (data.first_column, data.last_column):
        raise SectionError(
            f"{field} {strip} is not beside the data {data} and does not have the same columns; "
            "each column of the data needs its own overscan."
        )


@dataclass(frozen=True)
class Readout:
    """An amplifier in one frame: binned sections without open ends, and its numbers.

    Parameters
    ----------
    name : str
    data, overscan : Section
        In the raw frame; ``overscan`` may be None.
    place : Section
        The position of the data in the trimmed frame.
    gain : float or None
        In electron per adu.
    read_noise : float or None
        In electron.
    saturation : float or None
        In adu.
    extension : int, str or None
    flipped : tuple of bool
        Whether its columns, and its rows, are read from the far end.
    more_overscan : tuple of Section
        Strips whose pixels are taken together with those of ``overscan``.
    parallel_overscan : Section or None
    """

    name: str
    data: Section
    overscan: Section | None
    place: Section
    gain: float | None
    read_noise: float | None
    saturation: float | None
    extension: int | str | None = None
    flipped: tuple[bool, bool] = (False, False)
    more_overscan: tuple[Section, ...] = ()
    parallel_overscan: Section | None = None

    def __repr__(self) -> str:
        # It enters the keys of products, which fields that are not used must not change.
        shown = (
            f"{f.name}={getattr(self, f.name)!r}"
            for f in fields(self)
            if f.default is MISSING or f.name == "extension" or getattr(self, f.name) != f.default
        )
        return f"{type(self).__qualname__}({', '.join(shown)})"

    @property
    def in_frame(self) -> PixelMap:
        """The transformation from its raw pixels to the trimmed frame."""
        return PixelMap(self.data, self.place, flipped=self.flipped)

    @property
    def strips(self) -> tuple[Section, ...]:
        """All strips of its overscan but the parallel one."""
        return () if self.overscan is None else (self.overscan, *self.more_overscan)

    @property
    def by_column(self) -> bool:
        """True if its overscan gives a level for each column, and not for each row."""
        return self.overscan is not None and _is_above(self.overscan, self.data)

    @property
    def overscan_text(self) -> str:
        """Its strips of overscan, for a header or a message."""
        text = " + ".join(map(str, self.strips))
        return text if self.parallel_overscan is None else f"{text}, then {self.parallel_overscan}"

    @property
    def read_variance(self) -> float | None:
        """The variance of one pixel's read noise in adu squared, or None if it is not known."""
        if self.gain is None or self.read_noise is None:
            return None
        return (self.read_noise / self.gain) ** 2


@dataclass(frozen=True)
class AmplifierSet:
    """All amplifiers of one frame, and the shape of the joined frame.

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
        """A short hash that frames share when they were read out in the same way."""
        text = "+".join(
            f"{r.extension}{r.data}{r.overscan}{r.place}{_unusual(r)}" for r in self.readouts
        )
        return hashlib.sha256(text.encode()).hexdigest()[:8]

    @property
    def is_full(self) -> bool:
        """True if every pixel of the trimmed frame was read by an amplifier."""
        read = sum(r.place.width * r.place.height for r in self.readouts)
        return read == self.shape[0] * self.shape[1]

    def unread(self, first: int, stop: int) -> np.ndarray:
        """Return which pixels of the rows ``first`` up to ``stop`` no amplifier read."""
        unread = np.ones((stop - first, self.shape[1]), bool)
        for readout in self.readouts:
            rows, columns = readout.place.slices()
            unread[max(rows.start - first, 0) : max(rows.stop - first, 0), columns] = False
        return unread

    @property
    def has_overscan(self) -> bool:
        """True if every amplifier has a useful overscan."""
        return all(r.overscan is not None for r in self.readouts)

    @property
    def missing(self) -> tuple[str, ...]:
        """Those of ``gain``, ``read_noise`` and ``saturation`` that are not known."""
        fields = ("gain", "read_noise", "saturation")
        return tuple(f for f in fields if any(getattr(r, f) is None for r in self.readouts))

    @property
    def knows_noise(self) -> bool:
        """True if gain and read noise of every amplifier are known."""
        return all(r.read_variance is not None for r in self.readouts)

    def __str__(self) -> str:
        return " + ".join(str(r.data) for r in self.readouts)


def check_amplifiers(amplifiers: Sequence[Amplifier]) -> None:
    """Refuse amplifiers whose data overlap, or whose overscan overlaps the data of another.

    Raises
    ------
    ProfileError
    """
    for amplifier in amplifiers:
        if not isinstance(amplifier, Amplifier):
            raise ProfileError(
                f"amplifiers contains {amplifier!r}, which is not an amplifier; use Amplifier(...)."
            )
    _check_overlaps(amplifiers)
    extensions = {a.extension for a in amplifiers}
    if len(extensions) > 1 and any(a.detector is None for a in amplifiers):
        raise ProfileError(
            "the amplifiers are in several extensions, and their sections do not show their position on the detector; set detector='[…]' for each."
        )
    _check_positions(amplifiers)
    names = [a.name for a in amplifiers]
    if len(set(names)) < len(names):
        raise ProfileError(
            "two amplifiers have the same name; use different names, such as name='left'."
        )
    rows = {(s.first_row, s.last_row) for s in (Section.parse(a.data) for a in amplifiers)}
    heights = {None if a is None or b is None else b - a + 1 for a, b in rows}
    if len(heights) > 1 and any(a.detector is None for a in amplifiers):
        raise ProfileError(
            "the amplifiers' data have different heights: "
            + ", ".join(a.data for a in amplifiers)
            + "; use for each the rows that it reads, or set detector='[…]' for each if this is right."
        )


def _check_positions(amplifiers: Sequence[Amplifier]) -> None:
    """Refuse two amplifiers that have a pixel of the detector in common."""
    placed = [(a.detector, _position(a.detector)) for a in amplifiers if a.detector is not None]
    for (one, first), (other, second) in combinations(placed, 2):
        if first.overlaps(second):
            raise ProfileError(
                f"detector={one!r} and detector={other!r} of two amplifiers overlap; each pixel of "
                "the detector is read by one amplifier; correct one of them."
            )


def _check_overlaps(amplifiers: Sequence[Amplifier]) -> None:
    """Refuse two amplifiers of one image if one uses data of the other as data or overscan."""
    for first, second in combinations(amplifiers, 2):
        if first.extension == second.extension and Section.parse(first.data).overlaps(
            Section.parse(second.data)
        ):
            raise ProfileError(
                f"the amplifiers' data {first.data} and {second.data} overlap; "
                "each pixel is read by one amplifier."
            )
    for first, second in permutations(amplifiers, 2):
        more = () if second.parallel_overscan is None else (second.parallel_overscan,)
        for strip in (*second.strips, *more):
            if first.extension == second.extension and Section.parse(strip).overlaps(
                Section.parse(first.data)
            ):
                raise ProfileError(str(_lit_overscan(strip, first.data)))


def _lit_overscan(overscan: object, data: object) -> SectionError:
    return SectionError(
        f"overscan {overscan} overlaps the data {data}; use the strip that receives no light."
    )


def _section(text: str, field: str) -> Section:
    try:
        return Section.parse(text)
    except SectionError as error:
        raise ProfileError(f"{field}={text!r}: {error}") from error


def _position(text: str) -> Section:
    try:
        return read_position(text)[0]
    except SectionError as error:
        raise ProfileError(f"detector={text!r}: {error}") from error


def _unusual(readout: Readout) -> str:
    """Write what few cameras have, so that the hashes of all others stay as they are."""
    flips = f"flipped {readout.flipped}" if any(readout.flipped) else ""
    more = readout.more_overscan or readout.parallel_overscan is not None
    return flips + (f"strips {readout.overscan_text}" if more else "")
