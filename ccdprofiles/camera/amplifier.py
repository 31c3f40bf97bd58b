"""Amplifiers: which part of a raw frame each one reads, and its gain, read noise and saturation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, permutations
from typing import Any

from astropy import units as u

from ..errors import ProfileError, SectionError
from .section import Section
from .settings import Number, cards_in, check_number, depends_on_header
from .values import ADDED, GAIN, changed, written

__all__ = ["Amplifier", "AmplifierSet", "Readout", "check_amplifiers", "check_linear"]

_UNITS = {"gain": GAIN, "read_noise": u.electron, "saturation": u.adu, "linear": u.adu}
"""The numbers of an amplifier, and their units."""


@dataclass(frozen=True, kw_only=True)
class Amplifier:
    """One amplifier of a camera, in unbinned FITS sections.

    Parameters
    ----------
    data : str
        The illuminated section, ``"[first column:last column, first row:last row]"``.
    overscan : str or None
        The *useful* strip of overscan or prescan; None if there is none, or if it does not follow
        the bias. There is no default: inspect a frame of the camera.
    gain : Quantity, str, Setting, Dated, callable or None
        Electrons per adu: a quantity; the name of the card that contains it; a table over a setting
        (`Setting`) or over dates (`Dated`); or a function of the header. None if it is not known.
    read_noise : Quantity, str, Setting, Dated, callable or None
        In electron; None if it is not known.
    saturation : Quantity, str, Setting, Dated, callable or None
        Saturation level of the raw frame in adu; pixels at or above it are flagged. None if it is
        not known.
    name : str
        Such as ``"left"``; may be empty for a camera with one amplifier.
    extension : int, str or None
        The HDU that contains it, if a file has one for each amplifier.
    detector : str or None
        The position of its data on the detector; needed only if every amplifier has its own
        extension, because its sections do not show the position then.
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
    """

    data: str
    overscan: str | None
    gain: Number = None
    read_noise: Number = None
    saturation: Number = None
    name: str = ""
    extension: int | str | None = None
    detector: str | None = None
    linear: Number = field(default=None, metadata=ADDED)

    def __post_init__(self) -> None:
        data = _section(self.data, "data")
        if self.detector is not None:
            _section(self.detector, "detector")
        for name, unit in _UNITS.items():
            check_number(getattr(self, name), unit, name)
        if isinstance(self.linear, u.Quantity) and isinstance(self.saturation, u.Quantity):
            check_linear(self.linear.to_value(u.adu), self.saturation.to_value(u.adu))
        if self.overscan is None:
            return
        overscan = _section(self.overscan, "overscan")
        if overscan.overlaps(data):
            raise _lit_overscan(overscan, data)
        if (overscan.first_row, overscan.last_row) != (data.first_row, data.last_row):
            raise ProfileError(
                f"overscan {overscan} and data {data} do not have the same rows; "
                "each row of the data needs its own overscan."
            )

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

    # A part of the hash of products.
    __repr__ = written

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
        text = "+".join(f"{r.extension}{r.data}{r.overscan}{r.place}" for r in self.readouts)
        return hashlib.sha256(text.encode()).hexdigest()[:8]

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
    names = [a.name for a in amplifiers]
    if len(set(names)) < len(names):
        raise ProfileError(
            "two amplifiers have the same name; use different names, such as name='left'."
        )
    rows = {(s.first_row, s.last_row) for s in (Section.parse(a.data) for a in amplifiers)}
    heights = {None if a is None or b is None else b - a + 1 for a, b in rows}
    if len(heights) > 1:
        raise ProfileError(
            "the amplifiers' data have different heights: "
            + ", ".join(a.data for a in amplifiers)
            + "; use for each the rows that it reads."
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
        if second.overscan is None or first.extension != second.extension:
            continue
        if Section.parse(second.overscan).overlaps(Section.parse(first.data)):
            raise _lit_overscan(second.overscan, first.data)


def _lit_overscan(overscan: object, data: object) -> ProfileError:
    return ProfileError(
        f"overscan {overscan} overlaps the data {data}; use the strip that receives no light."
    )


def _section(text: str, field: str) -> Section:
    try:
        return Section.parse(text)
    except SectionError as error:
        raise ProfileError(f"{field}={text!r}: {error}") from error
