"""Numbers of a camera that depend on a setting, on a header card, or on the date."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from astropy import units as u

from ..errors import FrameRejected, ProfileError
from .header_values import UNKNOWN, card_names, folded_case, lower_word, plain_value, time_of
from .values import boolean, is_number, picklable, quantity, read_only, unit_text
from .watch import call

__all__ = [
    "Dated",
    "Number",
    "Period",
    "Setting",
    "cards_in",
    "check_number",
    "check_period",
    "depends_on_header",
    "number_of",
    "overlapping",
    "period_text",
    "span_of",
    "why_unknown",
    "within",
]

Period: TypeAlias = tuple[str | None, str | None]
"""The first date, and the date before which it ends; None is open."""


@dataclass(frozen=True, repr=False)
class Setting:
    """A number that depends on a setting of the camera, such as the gain on the card GAIN.

    Parameters
    ----------
    card : str or tuple of str
        The card of the setting; of several spellings the first that has a value counts.
    table : dict
        The number for each value of the card; None for one whose number is not known. The values
        100, 100.0 and ``'100'`` are equal, and texts are compared without case.
    unit : Unit
        Of the numbers; it may be left out if they are quantities.
    else_card : str or tuple of str, optional
        The card that contains the number itself, in the same unit. It is read if the value of
        ``card`` is not in the table.
    interpolate : bool
        True interpolates linearly between neighbouring values of the card, but never beyond the
        first and the last. Use it only if the manufacturer says that the number changes smoothly.

    Raises
    ------
    ProfileError
        If the table is not valid.
    FrameRejected
        ``setting``, when it is called, if the value of ``else_card`` is not a number.

    Examples
    --------
    >>> from astropy import units as u
    >>> from ccdprofiles import Setting
    >>> gain = Setting("GAIN", {0: 0.77, 100: 0.25}, unit=u.electron / u.adu, else_card="EGAIN")
    >>> print(gain({"GAIN": "100"}), gain({"GAIN": 55, "EGAIN": 0.4}), gain({"GAIN": 55}))
    0.25 electron / adu 0.4 electron / adu None
    >>> gain
    Setting('GAIN', {0: 0.77, 100: 0.25}, unit=u.electron / u.adu, else_card='EGAIN')
    """

    card: str | tuple[str, ...]
    table: Mapping[Any, Any]
    _: KW_ONLY
    unit: Any = None
    else_card: str | tuple[str, ...] | None = None
    interpolate: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "card", _card(self.card, "the card of a Setting"))
        if self.else_card is not None:
            object.__setattr__(self, "else_card", _card(self.else_card, "else_card"))
        boolean(self.interpolate, "interpolate")
        name = card_names(self.card)
        if not isinstance(self.table, Mapping) or not self.table:
            raise ProfileError(
                f"Setting({name!r}, {self.table!r}) has no table; use a dict of the number for "
                "each value of the card, such as {0: 0.77, 100: 0.25}."
            )
        unit = _unit_of(self.table, self.unit, name)
        table = _by_value(self.table, unit, name)
        if self.interpolate and sum(isinstance(v, float) for v in table) < 2:
            raise ProfileError(
                f"Setting({name!r}, ..., interpolate=True) needs numbers for two values of the card "
                "that are numbers; add one, or omit interpolate."
            )
        object.__setattr__(self, "unit", unit)
        object.__setattr__(self, "table", read_only(table))

    def __hash__(self) -> int:
        return hash(repr(self))

    def __reduce__(self):
        return picklable(self)

    def __repr__(self) -> str:
        pairs = ", ".join(f"{_shown(v)!r}: {_shown(n)!r}" for v, n in self.table.items())
        more = "" if self.else_card is None else f", else_card={self.else_card!r}"
        more += ", interpolate=True" if self.interpolate else ""
        return f"Setting({self.card!r}, {{{pairs}}}, unit={unit_text(self.unit)}{more})"

    def __call__(self, header: Mapping) -> u.Quantity | None:
        """Return the number for a header with its unit, or None if it is not known."""
        _, value = _first_card(header, self.card)
        key = folded_case(plain_value(value))
        number = self._number(key)
        if number is None and key not in self.table and self.else_card is not None:
            return _card_number(header, self.else_card, self.unit)
        return None if number is None else number * self.unit

    def _number(self, key: object) -> float | None:
        """Return the number for a value of the card, from the table alone."""
        if key in self.table or not self.interpolate or not isinstance(key, float):
            return self.table.get(key)
        values = [v for v in self.table if isinstance(v, float)]
        for low, high in pairwise(values):
            one, two = self.table[low], self.table[high]
            if low < key < high and one is not None and two is not None:
                return one + (two - one) * (key - low) / (high - low)
        return None

    @property
    def numbers(self) -> Iterator[u.Quantity]:
        """The numbers of the table with their unit."""
        return (number * self.unit for number in self.table.values() if number is not None)

    def why_unknown(self, header: Mapping) -> str:
        """Return why the number for a header is not known; nothing if it is, or has no card."""
        card, value = _first_card(header, self.card)
        if value is None or self(header) is not None:
            return ""
        listed = ", ".join(str(_shown(v)) for v in self.table)
        if folded_case(plain_value(value)) in self.table:
            return f"{card} = {value}, for which its table has no number"
        return f"{card} = {value} is not in its table ({listed})"


@dataclass(frozen=True, repr=False)
class Dated:
    """A number that changed on known dates, such as the gain after a repair.

    Parameters
    ----------
    periods : dict
        The number for each period ``(from, until)``: ISO dates, the first included and the last
        not; None is open. A number is what an amplifier takes: a quantity, a `Setting`, the name
        of a card, a function of the header, or None if it is not known.
    card : str
        The card of the date.

    Raises
    ------
    ProfileError
        If a date cannot be read, or two periods overlap.

    Examples
    --------
    >>> from astropy import units as u
    >>> from ccdprofiles import Dated
    >>> gain = Dated({
    ...     (None, "2019-03-01"): 1.4 * u.electron / u.adu,
    ...     ("2019-03-01", None): 1.2 * u.electron / u.adu,
    ... })
    >>> print(gain.at({"DATE-OBS": "2020-01-31T03:14:15"}))
    1.2 electron / adu
    """

    periods: Mapping[Period, Any]
    _: KW_ONLY
    card: str = "DATE-OBS"

    def __post_init__(self) -> None:
        if not isinstance(self.periods, Mapping) or not self.periods:
            raise ProfileError(
                f"Dated({self.periods!r}) has no periods; use a dict such as "
                "{('2019-03-01', None): 1.2 * u.electron / u.adu}."
            )
        _card(self.card, "the card of a Dated number")
        given = [(check_period(p, "Dated"), number) for p, number in self.periods.items()]
        periods = sorted(given, key=lambda pair: span_of(pair[0]))
        for (one, _), (two, _) in pairwise(periods):
            if overlapping(one, two):
                raise ProfileError(
                    f"Dated has two numbers for one date: the periods {period_text(one)} and "
                    f"{period_text(two)} overlap; let the first end when the second begins."
                )
        object.__setattr__(self, "periods", read_only(dict(periods)))

    def __hash__(self) -> int:
        return hash(repr(self))

    def __reduce__(self):
        return picklable(self)

    def __repr__(self) -> str:
        pairs = (f"{p!r}: {_number_text(n)}" for p, n in self.periods.items())
        more = "" if self.card == "DATE-OBS" else f", card={self.card!r}"
        return f"Dated({{{', '.join(pairs)}}}{more})"

    def at(self, header: Mapping) -> Any:
        """Return what stands for the date of a header, or None if nothing does."""
        time = time_of(header.get(self.card))
        if time is None:
            return None
        return next((n for period, n in self.periods.items() if within(time, period)), None)

    def why_unknown(self, header: Mapping) -> str:
        """Return why the number for a header is not known; nothing if it is."""
        date = header.get(self.card)
        time = time_of(date)
        if time is None:
            shown = "is missing" if date is None else f"= {date!r} is not a date"
            return f"{self.card} {shown}, and it depends on the date"
        for period, number in self.periods.items():
            if within(time, period):
                return why_unknown(number, header)
        listed = " and ".join(map(period_text, self.periods))
        return f"{self.card} = {date} is in none of its periods ({listed})"


Number: TypeAlias = (
    "u.Quantity | str | Setting | Dated | Callable[[Mapping], u.Quantity | None] | None"
)
"""What may stand for a number of an amplifier; a text is the name of a card."""


def depends_on_header(value: object) -> bool:
    """Return True if a number is read from the header: a card, a table, or a function."""
    return isinstance(value, str | Dated) or callable(value)


def cards_in(value: object) -> tuple[str, ...]:
    """Return the cards that a number is read from; a function may read any."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Setting):
        both = (value.card, value.else_card or ())
        return tuple(name for c in both for name in ((c,) if isinstance(c, str) else c))
    if isinstance(value, Dated):
        return (value.card, *(name for n in value.periods.values() for name in cards_in(n)))
    return ()


def why_unknown(value: object, header: Mapping) -> str:
    """Return why a number is not known for a header; nothing if there is no more to say."""
    return value.why_unknown(header) if isinstance(value, Setting | Dated) else ""


def check_number(value: Any, unit: u.UnitBase, field: str) -> None:
    """Refuse what cannot be a number of an amplifier.

    Raises
    ------
    ProfileError
    """
    if isinstance(value, str):
        _card(value, field)
        if is_number(_float(value)):
            raise ProfileError(
                f"{field}={value!r} is a text, and texts are the names of cards; "
                f"write {field}={value} * {unit_text(unit)}."
            )
    elif isinstance(value, Setting):
        for number in (1 * value.unit, *value.numbers):
            quantity(number, unit, field)
    elif isinstance(value, Dated):
        for number in value.periods.values():
            check_number(number, unit, field)
    elif value is not None and not callable(value):
        quantity(value, unit, field)


def number_of(value: Number, header: Mapping, unit: u.UnitBase, field: str) -> float | None:
    """Return a number of an amplifier for one header, or None if it is not known.

    Parameters
    ----------
    value : Number
    header : mapping
    unit : Unit
        Of the result, and of the number in a card.
    field : str
        Its name in the profile; the code of the fault.

    Raises
    ------
    FrameRejected
        With the field as code, if the header leads to something that is not a positive number;
        ``setting`` if a card does not contain a number.
    """
    if isinstance(value, Dated):
        return number_of(value.at(header), header, unit, field)
    if value is None or isinstance(value, u.Quantity):
        return None if value is None else quantity(value, unit, field)
    if isinstance(value, str):
        result, source = _card_number(header, value, unit), f"{value} contains this value"
    elif isinstance(value, Setting):
        source = f"The header leads to it by {card_names(value.else_card or value.card)}"
        result = value(header)
    else:
        result, source = call(value, header), "A function of the profile returned this value"
    try:
        return None if result is None else quantity(result, unit, field)
    except ProfileError as error:
        raise FrameRejected(
            field, f"{error} {source}; correct the header, or {field}= in the profile."
        ) from error


def check_period(period: Any, field: str) -> Period:
    """Return a period as a tuple of two dates.

    Raises
    ------
    ProfileError
        If it is not a pair of dates in their order.
    """
    pair = tuple(period) if isinstance(period, tuple | list) else ()
    if len(pair) != 2 or pair == (None, None) or not all(map(_is_date, pair)):
        raise ProfileError(
            f"{field}: {period!r} is not a period; use two ISO dates, of which one may be None, such "
            "as ('2019-03-01', '2023-07-14') or ('2019-03-01', None)."
        )
    start, end = span_of(pair)
    if start >= end:
        raise ProfileError(
            f"{field}: the period {period!r} ends before it begins; write the earlier date first."
        )
    return pair


def overlapping(one: Period, two: Period) -> bool:
    """Return True if two periods have a date in common."""
    (a, b), (c, d) = span_of(one), span_of(two)
    return max(a, c) < min(b, d)


def within(time: float, period: Period) -> bool:
    """Return True if a time, in seconds since 1970, is in a period."""
    start, end = span_of(period)
    return start <= time < end


def period_text(period: Period) -> str:
    """Write a period: ``"2019-03-01 to 2023-07-14"``.

    >>> from ccdprofiles.camera.settings import period_text
    >>> period_text((None, "2019-03-01")), period_text(("2019-03-01", None))
    ('until 2019-03-01', 'from 2019-03-01')
    """
    start, end = period
    return (
        f"until {end}" if start is None else f"from {start}" if end is None else f"{start} to {end}"
    )


def span_of(period: Period) -> tuple[float, float]:
    """Return the start and the end of a period in seconds since 1970; infinite if open."""
    start, end = map(time_of, period)
    return -math.inf if start is None else start, math.inf if end is None else end


def _is_date(date: object) -> bool:
    return date is None or (isinstance(date, str) and time_of(date) is not None)


def _card(card: Any, field: str) -> Any:
    cards = tuple(card) if isinstance(card, list | tuple) else (card,)
    for name in cards or ("",):
        if not isinstance(name, str) or not name.strip():
            raise ProfileError(f"{field}={name!r} is not the name of a header card.")
    return cards[0] if len(cards) == 1 else cards


def _unit_of(table: Mapping, unit: Any, name: str) -> u.UnitBase:
    """Return the unit of the numbers in a table."""
    if unit is None:
        unit = next((n.unit for n in table.values() if isinstance(n, u.Quantity)), None)
    if not isinstance(unit, u.UnitBase):
        raise ProfileError(
            f"Setting({name!r}, ...) has no unit; write unit=u.electron / u.adu for a gain, "
            "unit=u.electron for a read noise, unit=u.adu for a level."
        )
    return unit


def _by_value(table: Mapping, unit: u.UnitBase, name: str) -> dict[Any, float | None]:
    """Return a table with its values as they are compared, in order, and its numbers in one unit."""
    numbers: dict[Any, float | None] = {}
    for value, number in table.items():
        key = folded_case(plain_value(value))
        if key is None or key in numbers:
            fault = "is listed twice" if key in numbers else "is not a value of a card"
            raise ProfileError(
                f"Setting({name!r}, ...): {value!r} {fault}; use each value once "
                "(100, 100.0 and '100' are equal, and so are texts that differ in case)."
            )
        numbers[key] = None if number is None else _in_unit(number, unit, f"{name} = {value}")
    return dict(sorted(numbers.items(), key=lambda item: (isinstance(item[0], str), item[0])))


def _in_unit(number: Any, unit: u.UnitBase, where: str) -> float:
    if isinstance(number, u.Quantity) and number.isscalar and number.unit.is_equivalent(unit):
        number = float(number.to_value(unit))
    if not is_number(number):
        raise ProfileError(
            f"Setting: {number} for {where} is not a number in {unit}; use a number, or None if it "
            "is not known."
        )
    return float(number)


def _first_card(header: Mapping, cards: str | tuple[str, ...]) -> tuple[str, Any]:
    """Return the first card that has a value, and its value; None if there is none."""
    names = (cards,) if isinstance(cards, str) else cards
    for name in names:
        value = header.get(name)
        if value is not None and lower_word(value) not in UNKNOWN:
            return name, value
    return names[0], None


def _card_number(
    header: Mapping, cards: str | tuple[str, ...], unit: u.UnitBase
) -> u.Quantity | None:
    """Return the number in a card, or None if there is none."""
    card, value = _first_card(header, cards)
    if value is None:
        return None
    number = _float(value)
    if not is_number(number):
        raise FrameRejected(
            "setting",
            f"{card} = {value!r} is not a number, but one in {unit} was expected; correct the header, "
            "or use another card or a number in the profile.",
        )
    return number * unit


def _float(value: object) -> float:
    """Return the number in a card or a text; NaN if there is none."""
    try:
        # Python reads 1_0 as 10, and True as 1; no camera does.
        return math.nan if isinstance(value, bool) or "_" in str(value) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _shown(value: Any) -> Any:
    """Return a value for a table that is printed: 100 for 100.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number_text(value: Any) -> str:
    if isinstance(value, u.Quantity):
        return f"{value.value.tolist()!r} * {unit_text(value.unit)}"
    return repr(value)
