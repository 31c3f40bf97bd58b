"""The header of a product while it is being made, card by card.

A night may have thousands of products whose headers hardly differ. Most cards are copied
from the raw frame as text, and the others are formatted once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from astropy.io import fits

from .cards import card_value

__all__ = ["ProductHeader"]

_PLAIN = re.compile(r"[A-Za-z0-9 _.,:;+*()/=-]*[A-Za-z0-9_.,:;+*()/=-]")
_DECIMAL = re.compile(r"(?=.{1,20}$)-?[0-9]+\.[0-9]+")

Value = str | bool | int | float | None


class ProductHeader:
    """Cards by their keywords, in order; the history comes last.

    Values are set as in `astropy.io.fits.Header`: alone, which keeps the comment of the
    card, or with a comment.

    >>> from ccdprofiles.files.header import ProductHeader
    >>> header = ProductHeader()
    >>> header["GAIN"] = (1.5, "electrons per adu")
    >>> header["GAIN"] = 1.0
    >>> print(header)
    GAIN    =                  1.0 / electrons per adu
    """

    def __init__(self) -> None:
        self._cards: dict[str, str] = {}
        self._history: list[str] = []

    def copy(self) -> ProductHeader:
        """Return a header with the same cards."""
        header = ProductHeader()
        header.update(self)
        return header

    def __contains__(self, keyword: object) -> bool:
        return keyword in self._cards

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._cards))

    def __len__(self) -> int:
        return len(self._cards)

    def keys(self) -> tuple[str, ...]:
        """Return the keywords."""
        return tuple(self._cards)

    def __getitem__(self, keyword: str) -> object:
        return card_value(self._cards[keyword].encode("ascii"))

    def get(self, keyword: str, default: object = None) -> object:
        """Return the value of a card, or ``default`` if it is missing."""
        return self[keyword] if keyword in self._cards else default

    def __setitem__(self, keyword: str, value: Value | tuple[Value, str]) -> None:
        value, comment = value if isinstance(value, tuple) else (value, None)
        if comment is None:
            old = self._cards.get(keyword)
            comment = "" if old is None else fits.Card.fromstring(old).comment
        if isinstance(value, np.generic):
            value = value.item()
        # True, 1 and 1.0 are one key of a cache, but three values of a card.
        kind: type = type(value)
        self._cards[keyword] = _written(keyword, kind, value, comment)

    def __delitem__(self, keyword: str) -> None:
        del self._cards[keyword]

    def __str__(self) -> str:
        return "\n".join(card.rstrip() for card in (*self._cards.values(), *self._history))

    def discard(self, keyword: str) -> None:
        """Delete a card if it is there."""
        self._cards.pop(keyword, None)

    def hand_on(self, keyword: str, text: str) -> None:
        """Add a card as text of 80 characters or a multiple, unless the keyword is there."""
        self._cards.setdefault(keyword, text)

    def update(self, other: ProductHeader) -> None:
        """Set the cards of another header too, and add its history."""
        self._cards.update(other._cards)
        self._history += other._history

    def rename(self, old: str, new: str) -> None:
        """Rename a card; the new keyword has at most eight letters."""
        self._cards = {
            new if k == old else k: f"{new:<8}{text[8:]}" if k == old else text
            for k, text in self._cards.items()
        }

    def put_before(self, keyword: str, place: str) -> None:
        """Move a card before another."""
        text = self._cards.pop(keyword)
        self._insert(keyword, text, list(self._cards).index(place))

    def set_after(self, place: str, keyword: str, value: Value, comment: str) -> None:
        """Set a card that comes right after another."""
        self.discard(keyword)
        self[keyword] = (value, comment)
        text = self._cards.pop(keyword)
        self._insert(keyword, text, list(self._cards).index(place) + 1)

    def _insert(self, keyword: str, text: str, place: int) -> None:
        cards = list(self._cards.items())
        cards.insert(place, (keyword, text))
        self._cards = dict(cards)

    def add_history(self, line: str) -> None:
        """Add a line to the history."""
        self._history.append(_written("HISTORY", str, line, ""))

    def as_fits(self) -> fits.Header:
        """Return an astropy header with the same cards."""
        return fits.Header.fromstring(self.text())

    def text(self) -> str:
        """Return the cards as they are in a file."""
        return "".join((*self._cards.values(), *self._history))


@lru_cache(4096)
def _written(keyword: str, kind: type, value: Value, comment: str) -> str:
    if keyword == "HISTORY":
        header = fits.Header()
        header.add_history(value)
        return header.tostring(endcard=False, padding=False)
    plain = ""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        plain = f"'{value:<8}'".ljust(20)
    elif kind is float and _DECIMAL.fullmatch(str(value)):
        plain = str(value).rjust(20)
    if plain and len(keyword) <= 8:
        # Most cards are of this kind, and astropy is slow.
        text = f"{keyword:<8}= {plain}{f' / {comment}' if comment else ''}"
        if len(text) <= 80 and comment.isascii() and comment.isprintable():
            return text.ljust(80)
    name = f"HIERARCH {keyword}" if len(keyword) > 8 or " " in keyword else keyword
    alone = str(fits.Card(name, value))
    if len(alone) == 80:
        # A comment that does not fit is cut, as astropy does with a warning.
        comment = comment[: max(0, 77 - max(30, len(alone.rstrip())))]
    return str(fits.Card(name, value, comment))
