"""A header card that a frame and its master must share, and how closely they must agree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from astropy import units as u

from ..errors import ProfileError
from .header_values import folded_case, plain_value
from .values import is_number, one_of

__all__ = ["Card", "card_text", "matched_cards", "spellings"]

_TURN = 360.0


@dataclass(frozen=True, init=False, repr=False)
class Card:
    """A card in ``match=`` whose values are compared as numbers, or within a tolerance.

    ``100``, ``100.0`` and ``'100'`` are equal, and so are texts that differ in capital letters only.

    Parameters
    ----------
    *cards : str
        The spellings of its name; the first one with a value is used.
    within : Quantity or number, optional
        The largest difference. The card is in the unit of the quantity; an angle is in degrees, and
        is compared modulo 360.
    relative : float, optional
        The largest difference as a fraction of the greater value. If ``within`` is given
        too, the larger of both counts.
    absent : {"differs", "agrees"}
        What a missing card means. "differs": a master that lacks the card is not used for a frame
        that has it; a frame that lacks the card uses a master that has it, with a note. "agrees":
        a missing card agrees with every value. A frame and a master that both lack it agree.

    Raises
    ------
    ProfileError
        If a value is not valid.

    Examples
    --------
    >>> from astropy import units as u
    >>> from ccdprofiles import Card
    >>> rotator = Card("ROTATOR", "ROTATANG", within=2 * u.deg, absent="agrees")
    >>> rotator
    Card('ROTATOR', 'ROTATANG', within=2 * u.deg, absent='agrees')
    >>> rotator.agrees("359.5", "1"), rotator.agrees(44, 47), rotator.agrees(44, None)
    (True, False, True)
    >>> Card("GAIN").agrees(100, "100.0"), Card("GAIN").agrees(None, 100)
    (True, False)
    """

    cards: tuple[str, ...]
    within: u.Quantity | float | None
    relative: float | None
    absent: str

    def __init__(
        self,
        *cards: str,
        within: u.Quantity | float | None = None,
        relative: float | None = None,
        absent: str = "differs",
    ):
        if not cards:
            raise ProfileError("Card() names no header card; use Card('GAIN').")
        for card in cards:
            if not isinstance(card, str) or not card.strip():
                raise ProfileError(f"Card({card!r}) is not the name of a header card.")
        _check_within(within)
        if relative is not None and not (is_number(relative) and 0 < relative < 1):
            raise ProfileError(
                f"relative={relative!r} is not a fraction between 0 and 1; use such as 0.001."
            )
        one_of(absent, ("differs", "agrees"), "absent")
        values = {"cards": cards, "within": within, "relative": relative, "absent": absent}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        parts = [repr(card) for card in self.cards]
        if isinstance(self.within, u.Quantity):
            parts.append(f"within={self.within.value:.12g} * u.{self.within.unit}")
        elif self.within is not None:
            parts.append(f"within={self.within!r}")
        parts += [] if self.relative is None else [f"relative={self.relative!r}"]
        parts += [] if self.absent == "differs" else [f"absent={self.absent!r}"]
        return f"Card({', '.join(parts)})"

    def __hash__(self) -> int:
        # Equal quantities of different units have different hashes.
        return hash((self.cards, self.relative, self.absent))

    def __reduce__(self):
        return _rebuilt, (self.cards, self.within, self.relative, self.absent)

    @property
    def name(self) -> str:
        """Its spellings, as in ``READOUTM/READMODE``."""
        return "/".join(self.cards)

    @property
    def tolerates(self) -> bool:
        """Whether different numbers may agree."""
        return self.within is not None or self.relative is not None

    @property
    def is_angle(self) -> bool:
        """Whether it is an angle, which is compared modulo 360 degrees."""
        return isinstance(self.within, u.Quantity) and self.within.unit.is_equivalent(u.deg)

    def read(self, header: Mapping) -> tuple[str, float | str | None]:
        """Return the spelling that a header has, and its value; the first spelling if it has none."""
        for card in self.cards:
            value = plain_value(header.get(card))
            if value is not None:
                return card, value
        return self.cards[0], None

    def agrees(self, master: object, frame: object) -> bool:
        """Return True if the value of a master allows its use for a frame with another value.

        Parameters
        ----------
        master, frame : number, str or None
            None if the card is missing.
        """
        one, other = plain_value(master), plain_value(frame)
        if one is None or other is None:
            return other is None or self.absent == "agrees"
        return self._near(one, other)

    def unknown(self, master: object, frame: object) -> bool:
        """Return True if a frame lacks a card that its master has, so that a note is due."""
        lacks = plain_value(frame) is None and plain_value(master) is not None
        return lacks and self.absent == "differs"

    def groups(self, values: Sequence[float | str | None]) -> list[int]:
        """Return the number of the group of each value; no group is wider than the tolerance.

        Missing values are a group of their own. If absence agrees and all others are one group,
        they belong to it.

        Examples
        --------
        >>> from astropy import units as u
        >>> from ccdprofiles import Card
        >>> Card("ROTATOR", within=2 * u.deg).groups([359.0, 90.0, 0.5, None])
        [0, 1, 0, 2]
        """
        numbers = sorted({v for v in values if isinstance(v, float)}, key=self._folded)
        texts = sorted({str(folded_case(v)) for v in values if isinstance(v, str)})
        label: dict[object, int] = {}
        start: float | None = None
        group = -1
        for number in self._unrolled(numbers):
            if start is None or not self._near(start, number):
                start, group = number, group + 1
            label[number] = group
        for text in texts:
            group += 1
            label[text] = group
        missing = group if group == 0 and self.absent == "agrees" else group + 1
        return [missing if v is None else label[folded_case(v)] for v in values]

    def mean(self, values: Sequence[float | str | None]) -> float | str | None:
        """Return the value of a master: the mean of the numbers of its frames, or their text."""
        known = [v for v in values if v is not None]
        numbers = [v for v in known if isinstance(v, float)]
        if not numbers or len(numbers) < len(known) or len({*numbers}) == 1:
            return known[0] if known else None
        first = numbers[0]
        mean = sum(first + self._between(first, v) for v in numbers) / len(numbers)
        return plain_value(mean % _TURN if self.is_angle else mean)

    @property
    def tolerance(self) -> str:
        """The tolerance in words: ``" ± 2 deg"``, ``" ± 0.1 %"``; nothing if there is none."""
        within, relative = self.within, self.relative
        value = within.value if isinstance(within, u.Quantity) else within
        unit = f" {within.unit}" if isinstance(within, u.Quantity) else ""
        parts = [] if within is None else [f"{value:g}{unit}"]
        parts += [] if relative is None else [f"{100 * relative:g} %"]
        return f" ± {' or '.join(parts)}" if parts else ""

    def _near(self, one: float | str, other: float | str) -> bool:
        if isinstance(one, str) or isinstance(other, str):
            return folded_case(one) == folded_case(other)
        within = self.within
        if isinstance(within, u.Quantity):
            within = float(within.to_value(u.deg) if self.is_angle else within.value)
        largest = max(abs(one), abs(other))
        limit = max(within or 0.0, (self.relative or 0.0) * largest)
        # 0.3 - 0.1 is slightly greater than 0.2.
        return abs(self._between(one, other)) <= limit * (1 + 1e-9) + 1e-12 * largest

    def _between(self, one: float, other: float) -> float:
        """Return the difference of two numbers; of angles the shorter way round."""
        difference = other - one
        return math.remainder(difference, _TURN) if self.is_angle else difference

    def _folded(self, value: float) -> float:
        return value % _TURN if self.is_angle else value

    def _unrolled(self, numbers: list[float]) -> list[float]:
        """Return sorted angles so that they begin after the widest gap of the circle."""
        if not self.is_angle or len(numbers) < 2:
            return numbers
        angles = [self._folded(n) for n in numbers]
        gaps = [b - a for a, b in pairwise([*angles, angles[0] + _TURN])]
        first = (gaps.index(max(gaps)) + 1) % len(numbers)
        return numbers[first:] + numbers[:first]


def _check_within(within: Any) -> None:
    """Refuse a tolerance that is not a positive number or quantity, or accepts every angle."""
    number = within.value if isinstance(within, u.Quantity) else within
    if within is None:
        return
    if not (is_number(number) and number > 0):
        raise ProfileError(
            f"within={within} is not a positive number; use one, such as within=2 * u.deg."
        )
    angle = isinstance(within, u.Quantity) and within.unit.is_equivalent(u.deg)
    if angle and within.to_value(u.deg) >= _TURN / 2:
        raise ProfileError(
            f"within={within} accepts every angle; use less than 180 deg, or omit the card."
        )


def _rebuilt(cards: tuple[str, ...], within: Any, relative: float | None, absent: str) -> Card:
    return Card(*cards, within=within, relative=relative, absent=absent)


def card_text(value: float | str | None) -> str | None:
    """Write the value of a card as masters keep it, so that ``100`` and ``'100.0'`` are equal."""
    return f"{value:g}" if isinstance(value, float) else value


def spellings(card: str | Card) -> tuple[str, ...]:
    """Return the names of a card in headers."""
    return card.cards if isinstance(card, Card) else (card,)


def matched_cards(
    match: Sequence[str | Card] | Mapping[str, Sequence[str | Card]], master: str
) -> Sequence[str | Card]:
    """Return the cards of ``match=`` that a master of a type must share."""
    return match.get(master, ()) if isinstance(match, Mapping) else match
