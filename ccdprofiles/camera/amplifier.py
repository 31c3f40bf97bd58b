"""Amplifiers: which part of a raw frame each one reads, and its gain, read noise and saturation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, permutations
from typing import Any

import numpy as np
from astropy import units as u

from ..errors import ProfileError, SectionError
from .pixel_map import PixelMap
from .section import Section, is_card, read_position
from .settings import Number, cards_in, check_number, depends_on_header
from .strips import check_strips, is_above, lit_overscan, without_serial
from .values import ADDED, GAIN, changed, written

__all__ = [
    "Amplifier",
    "AmplifierSet",
    "Readout",
    "check_amplifiers",
    "check_linear",
    "check_types",
    "is_pattern",
    "rows_bin",
]

_UNITS = {"gain": GAIN, "read_noise": u.electron, "saturation": u.adu, "linear": u.adu}
"""The numbers of an amplifier, and their units."""


@dataclass(frozen=True, kw_only=True)
class Amplifier:
    """One amplifier of a camera, in unbinned FITS sections.

    Instead of a section there may be the name of a header card, such as ``"DATASEC"``, which is then
    read from every frame: from the header of the amplifier's extension, or else from the primary
    header. The sections in the cards of ``data``, ``overscan`` and ``parallel_overscan`` count the
    pixels of the file as it is stored, and so binned ones; those in the card of ``detector``, such
    as ``"DETSEC"``, unbinned pixels of the detector. An overscan may have more rows, or a parallel
    one more columns, than the data; the others are not used.

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
    gain : Quantity, str, Setting, Dated, callable or None
        Electrons per adu: a quantity; the name of the card that contains it; a table over a setting
        (`Setting`) or over dates (`Dated`); or a function of the header, which is that of its
        extension over the primary one. None if it is not known.
    read_noise : Quantity, str, Setting, Dated, callable or None
        In electron; None if it is not known.
    saturation : Quantity, str, Setting, Dated, callable or None
        Saturation level of the raw frame in adu; pixels at or above it are flagged. None if it is
        not known.
    name : str
        Such as ``"left"``; may be empty for a camera with one amplifier.
    extension : int, str or None
        The HDU that contains it, if a file has one for each amplifier: its number or its name. A
        name with ``*`` or ``?``, such as ``"SCI*"``, stands for one amplifier in each extension
        that it fits, named after the extension; ``detector`` must then be a card. Extensions of
        one name are distinguished by EXTVER, as in ``"SCI,2"``.
    detector : str or None
        The position of its data on the detector, unbinned; needed if every amplifier has its own
        extension, or if the amplifiers differ in height or width, because their sections do not
        show the position then. A backward range, as in ``"[4096:2049, 1:2048]"``, means that this
        axis is read from the far end; the data are flipped into place. If all amplifiers have
        one, the frame is the smallest rectangle around them, and pixels that none of them read
        are NaN and flagged ``no data``.
    linear : Quantity, str, Setting, Dated, callable or None
        Limit of linearity of the raw frame in adu, at or below the saturation level. Pixels above
        it are flagged as non-linear, and used.

    Raises
    ------
    ProfileError
        If a section cannot be read, the overscan overlaps the data or has other rows, a
        number has no unit or the wrong one, or the limit of linearity is above the saturation.

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

    A mosaic whose extensions SCI1, SCI2, … have sections of their own:

    >>> chips = Amplifier(
    ...     data="DATASEC", overscan="BIASSEC", detector="DETSEC", extension="SCI*"
    ... )
    >>> chips.section_cards
    ('DATASEC', 'BIASSEC', 'DETSEC')
    """

    data: str
    overscan: str | tuple[str, ...] | None
    parallel_overscan: str | None = field(default=None, metadata=ADDED)
    gain: Number = None
    read_noise: Number = None
    saturation: Number = None
    name: str = ""
    extension: int | str | None = None
    detector: str | None = None
    linear: Number = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        if isinstance(self.overscan, list) or self.overscan == ():
            raise ProfileError(
                f"overscan={self.overscan!r} is not a section, a tuple of sections or None; use None "
                "if no strip is useful."
            )
        data = _section(self.data, "data")
        for name, unit in _UNITS.items():
            check_number(getattr(self, name), unit, name)
        if isinstance(self.linear, u.Quantity) and isinstance(self.saturation, u.Quantity):
            check_linear(self.linear.to_value(u.adu), self.saturation.to_value(u.adu))
        strips = [_section(text, "overscan") for text in self.strips]
        parallel = None
        if self.parallel_overscan is not None:
            parallel = _section(self.parallel_overscan, "parallel_overscan")
        if self.detector is not None and not is_card(self.detector):
            _position(self.detector)
        if self.parallel_overscan is not None and not strips:
            raise ProfileError(str(without_serial(self.parallel_overscan)))
        if data is None or None in strips or (self.parallel_overscan and parallel is None):
            return  # they are compared in every frame, once the cards are read
        try:
            check_strips(data, [strip for strip in strips if strip], parallel)
        except SectionError as error:
            raise ProfileError(str(error)) from error

    @property
    def section_cards(self) -> tuple[str, ...]:
        """The cards that its sections are read from."""
        texts = (self.data, *self.strips, self.parallel_overscan, self.detector)
        return tuple(text for text in texts if text is not None and is_card(text))

    @property
    def strips(self) -> tuple[str, ...]:
        """The sections of ``overscan``."""
        if self.overscan is None:
            return ()
        return (self.overscan,) if isinstance(self.overscan, str) else self.overscan

    @cached_property
    def varies(self) -> tuple[str, ...]:
        """Those of its numbers that are read from the header: by a card, a table or a function."""
        return tuple(n for n in _UNITS if depends_on_header(getattr(self, n)))

    @property
    def cards(self) -> tuple[str, ...]:
        """The cards that its numbers are read from, apart from those of functions."""
        return tuple(card for field in self.varies for card in cards_in(getattr(self, field)))

    def but(self, **changes: Any) -> Amplifier:
        """Return an amplifier with other values of some fields.

        Raises
        ------
        ProfileError
            If there is no such field, or a value is not valid.

        Examples
        --------
        >>> from ccdprofiles import Amplifier
        >>> left = Amplifier(name="left", data="[1:1024, :]", overscan=None)
        >>> left.but(name="right", data="[1025:2048, :]").data
        '[1025:2048, :]'
        """
        return changed(self, changes)


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
    linear : float or None
        In adu.
    flipped : tuple of bool
        Whether its columns, and its rows, are read from the far end.
    more_overscan : tuple of Section
        Strips whose pixels are taken together with those of ``overscan``.
    parallel_overscan : Section or None
    detector : Section or None
        The pixels of the detector that its data cover, unbinned, if the frame may be a window.
    """

    name: str
    data: Section
    overscan: Section | None
    place: Section
    gain: float | None
    read_noise: float | None
    saturation: float | None
    extension: int | str | None = None
    linear: float | None = field(default=None, metadata=ADDED)
    flipped: tuple[bool, bool] = field(default=(False, False), metadata=ADDED)
    more_overscan: tuple[Section, ...] = field(default=(), metadata=ADDED)
    parallel_overscan: Section | None = field(default=None, metadata=ADDED)
    detector: Section | None = field(default=None, metadata=ADDED)

    # A part of the hash of products.
    __repr__ = written

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
        return self.overscan is not None and is_above(self.overscan, self.data)

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
    origin : tuple of int or None
        Column and row of the detector where the frame begins, if positions are read from cards or
        the profile has a window.
    """

    readouts: tuple[Readout, ...]
    shape: tuple[int, int]
    origin: tuple[int, int] | None = field(default=None, metadata=ADDED)

    # A part of the hash of products.
    __repr__ = written

    @property
    def key(self) -> str:
        """A short hash that frames share when they were read out in the same way."""
        text = "+".join(
            f"{r.extension}{r.data}{r.overscan}{r.place}{_unusual(r)}" for r in self.readouts
        )
        text += "" if self.origin is None else f"from {self.origin}"
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


def check_linear(linear: float, saturation: float) -> None:
    """Refuse a limit of linearity above the saturation level, both in adu.

    Raises
    ------
    ProfileError
    """
    if linear > saturation:
        raise ProfileError(
            f"linear={linear:g} adu is above saturation={saturation:g} adu; the limit of linearity "
            "is at or below the saturation level."
        )


def check_types(amplifiers: Sequence) -> None:
    """Refuse what is not an amplifier.

    Raises
    ------
    ProfileError
    """
    for amplifier in amplifiers:
        if not isinstance(amplifier, Amplifier):
            raise ProfileError(
                f"amplifiers contains {amplifier!r}, which is not an amplifier; use Amplifier(...)."
            )


def check_amplifiers(
    amplifiers: Sequence[Amplifier], chips: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Refuse amplifiers whose data overlap, or whose overscan overlaps the data of another.

    Parameters
    ----------
    amplifiers : sequence of Amplifier
    chips : mapping, optional
        The names of the amplifiers of each chip; only those of one chip are placed in one frame.

    Raises
    ------
    ProfileError
    """
    check_types(amplifiers)
    _check_overlaps(amplifiers)
    frames = [[a for a in amplifiers if a.name in names] for names in (chips or {}).values()]
    frames = frames or [[*amplifiers]]
    for frame in frames:
        _check_places(frame)
    names = [a.name for a in amplifiers]
    if len(set(names)) < len(names):
        raise ProfileError(
            "two amplifiers have the same name; use different names, such as name='left'."
        )
    for frame in frames:
        _check_heights(frame)


def _check_places(amplifiers: Sequence[Amplifier]) -> None:
    """Refuse amplifiers of one frame whose positions are not known, or overlap."""
    for amplifier in amplifiers:
        if is_pattern(amplifier.extension) and not is_card(amplifier.detector):
            raise ProfileError(
                f"extension={amplifier.extension!r} stands for several extensions, but "
                f"detector={amplifier.detector!r} gives no position to each; use the name of a card "
                "that each has, such as detector='DETSEC'."
            )
    extensions = {a.extension for a in amplifiers}
    if len(extensions) > 1 and any(a.detector is None for a in amplifiers):
        raise ProfileError(
            "the amplifiers are in several extensions, and their sections do not show their position on the detector; set detector='[…]' for each."
        )
    _check_positions(amplifiers)


def _check_heights(amplifiers: Sequence[Amplifier]) -> None:
    """Refuse amplifiers of one frame that differ in height and have no position."""
    data = [Section.parse(a.data) for a in amplifiers if not is_card(a.data)]
    rows = {(s.first_row, s.last_row) for s in data}
    heights = {None if a is None or b is None else b - a + 1 for a, b in rows}
    if len(heights) > 1 and any(a.detector is None for a in amplifiers):
        raise ProfileError(
            "the amplifiers' data have different heights: "
            + ", ".join(a.data for a in amplifiers)
            + "; use for each the rows that it reads, or set detector='[…]' for each if this is right."
        )


def _check_positions(amplifiers: Sequence[Amplifier]) -> None:
    """Refuse two amplifiers that have a pixel of the detector in common."""
    texts = [a.detector for a in amplifiers if a.detector is not None]
    placed = [(text, _position(text)) for text in texts if not is_card(text)]
    for (one, first), (other, second) in combinations(placed, 2):
        if first.overlaps(second):
            raise ProfileError(
                f"detector={one!r} and detector={other!r} of two amplifiers overlap; each pixel of "
                "the detector is read by one amplifier; correct one of them."
            )


def _check_overlaps(amplifiers: Sequence[Amplifier]) -> None:
    """Refuse two amplifiers of one image if one uses data of the other as data or overscan."""
    known = [a for a in amplifiers if not is_card(a.data)]
    for first, second in combinations(known, 2):
        if first.extension == second.extension and Section.parse(first.data).overlaps(
            Section.parse(second.data)
        ):
            raise ProfileError(
                f"the amplifiers' data {first.data} and {second.data} overlap; "
                "each pixel is read by one amplifier."
            )
    for first, second in permutations(known, 2):
        for strip in (*second.strips, second.parallel_overscan):
            if strip is None or is_card(strip) or first.extension != second.extension:
                continue
            if Section.parse(strip).overlaps(Section.parse(first.data)):
                raise ProfileError(str(lit_overscan(strip, first.data)))


def is_pattern(extension: int | str | None) -> bool:
    """Return True if the name of an extension stands for all that it fits."""
    return isinstance(extension, str) and any(letter in extension for letter in "*?[")


def rows_bin(amplifiers: Sequence[Amplifier], overscan_bins: bool) -> bool:
    """Return False if only the rows of data are binned: a strip lies above or below, and is not."""
    if overscan_bins:
        return True
    for amplifier in amplifiers:
        strips = [text for text in amplifier.strips if not is_card(text)]
        if amplifier.parallel_overscan is not None:
            return False
        if strips and not is_card(amplifier.data):
            data = Section.parse(amplifier.data)
            if any(is_above(Section.parse(strip), data) for strip in strips):
                return False
    return True


def _section(text: str, field: str) -> Section | None:
    """Read a section of the profile; None if it is the name of a card."""
    if is_card(text):
        return None
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
