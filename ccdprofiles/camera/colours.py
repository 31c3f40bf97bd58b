"""Mosaics of colours: the filters on the pixels of a colour camera, as its header describes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..errors import FrameRejected
from .amplifier import AmplifierSet
from .header_values import UNKNOWN, lower_word

__all__ = ["ColourMosaic", "mosaic_of", "pattern_cards", "unread_pattern"]

_PATTERN = ("BAYERPAT", "COLORTYP")
_OFFSETS = (("XBAYROFF", "BAYOFFX"), ("YBAYROFF", "BAYOFFY"))
_NO_MOSAIC = frozenset(UNKNOWN) | {"mono", "monochrome", "rgb", "bgr", "none", "false", "f", "0"}
_COLOURS = frozenset("RGBCMYW")

Number = TypeVar("Number", float, np.ndarray)


@dataclass(frozen=True)
class ColourMosaic:
    """The colours of the pixels of a trimmed frame; they repeat every two columns and rows.

    Parameters
    ----------
    pattern : str
        The colours of the first two rows in the order of the file: ``"RGGB"`` for red and green,
        then green and blue.

    Examples
    --------
    >>> from ccdprofiles.camera.colours import ColourMosaic
    >>> mosaic = ColourMosaic("RGGB")
    >>> mosaic.colours
    ('G', 'B', 'R')
    >>> mosaic.where("G", (2, 4))
    array([[False,  True, False,  True],
           [ True, False,  True, False]])
    """

    pattern: str

    @property
    def colours(self) -> tuple[str, ...]:
        """Its colours, the one with the most pixels first."""
        often = Counter(self.pattern)
        return tuple(sorted(often, key=lambda colour: (-often[colour], colour)))

    def where(self, colour: str, shape: tuple[int, int]) -> np.ndarray:
        """Return where the pixels of a colour are, in rows that begin with an even one."""
        return self._spread(np.array([c == colour for c in self.pattern]), shape)

    def per_pixel(self, numbers: Mapping[str, float], shape: tuple[int, int]) -> np.ndarray:
        """Return the number of the colour of each pixel, in rows that begin with an even one."""
        return self._spread(np.array([numbers[c] for c in self.pattern]), shape)

    @staticmethod
    def _spread(four: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        rows, columns = shape
        return np.tile(four.reshape(2, 2), (-(-rows // 2), -(-columns // 2)))[:rows, :columns]


def mosaic_of(
    header: Mapping, amplifiers: AmplifierSet, shapes: Mapping[int | str | None, tuple[int, int]]
) -> ColourMosaic | None:
    """Return the mosaic of colours of a trimmed frame, or None if it is monochrome.

    The pattern of ``BAYERPAT`` or ``COLORTYP`` begins at the first row of the file, or at its last
    one if ``ROWORDER`` is ``BOTTOM-UP``, and is shifted by ``XBAYROFF`` and ``YBAYROFF``.

    Parameters
    ----------
    header : mapping
    amplifiers : AmplifierSet
    shapes : mapping
        Rows and columns of the raw image of each extension.

    Raises
    ------
    FrameRejected
        ``mosaic``, if an offset is not a whole number, if an amplifier is flipped, or if the trimmed
        sections of the amplifiers do not continue the pattern.

    Examples
    --------
    >>> from ccdprofiles import Amplifier, Profile, Recipe
    >>> from ccdprofiles.camera.colours import mosaic_of
    >>> trimmed = [Amplifier(data="[2:8, 1:6]", overscan=None)]
    >>> profile = Profile(instrument="OSC", amplifiers=trimmed, recipe=Recipe())
    >>> shapes = {None: (6, 8)}
    >>> mosaic_of({"BAYERPAT": "RGGB"}, profile.amplifiers_of({}, shapes), shapes)
    ColourMosaic(pattern='GRBG')
    """
    pattern = _read(header)
    if pattern is None or len(pattern) != 4 or not set(pattern) <= _COLOURS:
        return None
    if any(any(readout.flipped) for readout in amplifiers.readouts):
        raise FrameRejected(
            "mosaic",
            f"{_card(header, _PATTERN)} = {pattern!r}, but detector= flips an amplifier, and with it the "
            "pattern of colours; write detector= of a colour camera forwards.",
        )
    x, y = (_offset(header, cards) for cards in _OFFSETS)
    upwards = _bottom_up(header)
    found = set()
    for readout in amplifiers.readouts:
        (rows, columns), (down, across) = readout.data.slices(), readout.place.slices()
        row, column = rows.start - down.start, columns.start - across.start
        last = shapes[readout.extension][0] - 1
        found.add(
            "".join(
                pattern[
                    2 * ((last - row - i if upwards else row + i) + y & 1) + (column + j + x & 1)
                ]
                for i in (0, 1)
                for j in (0, 1)
            )
        )
    if len(found) > 1:
        raise FrameRejected(
            "mosaic",
            f"{_card(header, _PATTERN)} = {pattern!r}, but its amplifiers, put together, do not "
            "continue this pattern of colours; trim an even number of columns and rows in the "
            "profile.",
        )
    return ColourMosaic(found.pop())


def unread_pattern(header: Mapping) -> str:
    """Return the card of a pattern of colours that is not understood, with its value."""
    pattern = _read(header)
    if pattern is None or (len(pattern) == 4 and set(pattern) <= _COLOURS):
        return ""
    return f"{_card(header, _PATTERN)} = {header[_card(header, _PATTERN)]!r}"


def pattern_cards(
    header: Mapping, mosaic: ColourMosaic, raw_rows: int, amplifiers: AmplifierSet
) -> dict[str, int]:
    """Return the offsets of the pattern that hold for the trimmed frame, where they changed."""
    first = amplifiers.readouts[0]
    (rows, columns), (down, across) = first.data.slices(), first.place.slices()
    row, column = rows.start - down.start, columns.start - across.start
    # Counted from the last row if the pattern begins there.
    moved = raw_rows - amplifiers.shape[0] - row if _bottom_up(header) else row
    changed = {}
    for cards, by in zip(_OFFSETS, (column, moved), strict=True):
        old = _offset(header, cards)
        if by % 2:
            changed[_card(header, cards)] = (old + by) % 2
    return changed


def _bottom_up(header: Mapping) -> bool:
    return lower_word(header.get("ROWORDER", "")).replace("_", "-") == "bottom-up"


def _read(header: Mapping) -> str | None:
    """Return the pattern in capitals; None if the header has none."""
    for card in _PATTERN:
        value = header.get(card)
        if isinstance(value, str) and lower_word(value) not in _NO_MOSAIC:
            return value.strip().upper()
    return None


def _card(header: Mapping, cards: tuple[str, ...]) -> str:
    return next((card for card in cards if header.get(card) is not None), cards[0])


def _offset(header: Mapping, cards: tuple[str, ...]) -> int:
    card = _card(header, cards)
    value = header.get(card, 0)
    try:
        number = float(value)
        if number.is_integer():
            return int(number)
    except (TypeError, ValueError):
        pass
    raise FrameRejected(
        "mosaic",
        f"{card} = {value!r} is not a whole number, by which the pattern of colours is shifted; "
        "correct the header.",
    )
