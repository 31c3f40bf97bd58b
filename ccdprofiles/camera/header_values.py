"""Values of header cards: read as seconds, degrees or pixels, and compared."""

from __future__ import annotations

import fnmatch
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from numbers import Real

from astropy import units as u

from ..errors import ProfileError

__all__ = [
    "UNKNOWN",
    "agrees",
    "card_names",
    "first_value",
    "folded_case",
    "lower_word",
    "plain_value",
    "quoted",
    "read_binning",
    "read_celsius",
    "read_seconds",
    "time_of",
]

UNKNOWN = ("", "indef", "n/a", "none", "unknown")
"""What headers contain instead of a number that is not known."""

_LONGEST_EXPOSURE = 86400.0
_TEMPERATURE = re.compile(
    r"([-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[-+]?\d+)?)\s*(?:deg|degrees?|°)?[\s_]*(c|celsius|k|kelvin)?",
    re.IGNORECASE | re.ASCII,
)


def card_names(cards: str | Sequence[str]) -> str:
    """Return the names of cards that are tried in order, such as ``EXPTIME/EXPOSURE``."""
    return cards if isinstance(cards, str) else "/".join(cards)


def first_value(
    header: Mapping, cards: str | Sequence[str], ignored: Sequence[str] = ("",)
) -> object | None:
    """Return the first value that one of the cards has, or None.

    Parameters
    ----------
    header : mapping
    cards : str or sequence of str
        Tried in order.
    ignored : sequence of str
        Words, in lower case, that count as no value.
    """
    for card in (cards,) if isinstance(cards, str) else cards:
        value = header.get(card)
        if value is not None and lower_word(value) not in ignored:
            return value
    return None


def lower_word(value: object) -> str:
    """Return a value as a word in lower case, without blanks around it."""
    return str(value).strip().lower()


def quoted(value: object) -> str:
    """Return a value for a message: quoted, without blanks around it, and shortened."""
    if value is None:
        return "missing"
    text = repr(value.strip() if isinstance(value, str) else value)
    return text if len(text) <= 100 else f"{text[:99]}…"


def agrees(value: object, wanted: object) -> bool:
    """Return True if a card has a value, or fits a shell pattern; outer blanks do not count."""
    if value is None or isinstance(wanted, bool) or isinstance(value, bool):
        return value is wanted
    if isinstance(wanted, str):
        return fnmatch.fnmatchcase(str(value).strip(), wanted.strip())
    try:
        return float(value) == float(wanted)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def plain_value(value: object) -> float | str | None:
    """Return the value of a card, so that ``100``, ``100.0`` and ``'100'`` are equal.

    >>> from ccdprofiles.camera.header_values import plain_value
    >>> plain_value("100") == plain_value(100.0) == plain_value(100)
    True
    >>> plain_value(" High Gain "), plain_value("unknown")
    ('High Gain', None)
    """
    if value is None or str(value).strip().lower() in UNKNOWN:
        return None
    text = str(value).strip()
    if isinstance(value, bool) or "_" in text:
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    # A program that stores 0.77 in four bytes keeps six digits.
    return float(f"{number:.6g}") if math.isfinite(number) else text


def folded_case(value: object) -> object:
    """Return a text without the difference of capital letters, and any other value as it is."""
    return value.casefold() if isinstance(value, str) else value


def read_seconds(value: object) -> float | None:
    """Return an exposure in seconds, or None if it is not known.

    Raises
    ------
    ValueError
        If it is not a number, negative, or longer than a day.
    """
    if isinstance(value, u.Quantity):
        value = value.to_value(u.s)
    if value is None or lower_word(value) in UNKNOWN:
        return None
    try:
        # Python reads 1_0 as 10; no camera does.
        seconds = math.nan if "_" in str(value) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds <= _LONGEST_EXPOSURE:
        raise ValueError(value)
    return seconds


def read_celsius(value: object) -> float | None:
    """Return a temperature in degrees Celsius, or None if it is not known.

    Some programs write a comma or a unit into the card.

    Raises
    ------
    ProfileError
        If it is neither a number, nor a text, nor a temperature with its unit.

    Examples
    --------
    >>> from ccdprofiles.camera.header_values import read_celsius
    >>> read_celsius("-10,5"), read_celsius("-10 C"), read_celsius("263.15 K")
    (-10.5, -10.0, -10.0)
    """
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, u.Quantity) and value.isscalar:
        value = float(value.to_value(u.deg_C, u.temperature()))
    elif not isinstance(value, str | Real | Decimal):
        raise ProfileError(
            f"{value!r} is not a temperature; a number in degrees Celsius was expected."
        )
    match = _TEMPERATURE.fullmatch(str(value).strip())
    if not match:
        return None
    degrees = float(match[1].replace(",", "."))
    if (match[2] or "").lower().startswith("k"):
        degrees = round(degrees - 273.15, 6)
    return degrees if math.isfinite(degrees) else None


def read_binning(values: Iterable) -> tuple[int, int]:
    """Return the binning of columns and rows.

    Raises
    ------
    ValueError
        Unless there are two positive whole numbers; a text such as ``"2.0"`` counts as one.
    """
    try:
        x, y = (float(str(value)) for value in values)
        whole = (int(x), int(y))
    except (TypeError, OverflowError) as error:
        raise ValueError(values) from error
    if whole != (x, y) or min(whole) < 1:
        raise ValueError(values)
    return whole


@lru_cache(2**16)
def time_of(date: object) -> float | None:
    """Read a date and time as seconds since 1970; None if it cannot be read."""
    if not isinstance(date, str):
        return None
    try:
        when = datetime.fromisoformat(date.strip())
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
