"""The cards of a header, as they are written in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import numpy as np

__all__ = ["Cards", "card_value", "differing"]

BLOCK = 2880
TEXT_LIMIT = 1000
_END = b"END".ljust(80)
_AGAIN = " (again)"
_ABSENT = object()
_UNVALUED = (b"COMMENT ", b"HISTORY ", b"        ", b"END     ")


class Cards(Mapping):
    """The cards of a header, each parsed when it is asked for.

    Keywords are compared without case, with or without a leading ``HIERARCH``.
    Of a keyword that stands twice the first counts, as in astropy.

    Parameters
    ----------
    block : bytes
        Header cards of 80 bytes.
    below : Cards, optional
        Cards that hold where this header is silent: those of the primary HDU.
    """

    __slots__ = ("_again", "_cards", "_values", "below", "block")

    def __init__(self, block: bytes, below: Cards | None = None):
        self.block = block
        self.below = below
        self._values: dict[str, object] = {}
        self._cards, self._again = _places(block)

    @property
    def twice(self) -> set[str]:
        """The keywords that stand twice and say two things."""
        return {
            name
            for name in self._again
            if any(self._differ(name, self._at(n)) for n in self._cards[name + _AGAIN])
        }

    def _differ(self, name: str, card: bytes) -> bool:
        first = self._card(name)
        return first != card and card_value(first) != card_value(card)

    def _at(self, start: int) -> bytes:
        return self.block[start : start + 80]

    def _card(self, name: str) -> bytes:
        """Return the card of a keyword, and those that continue it."""
        starts = self._cards[name]
        if len(starts) == 1:
            return self._at(starts[0])
        return b"".join(self._at(start) for start in starts)

    def _said(self, keyword: str) -> object:
        """Return the value of a card, or `_ABSENT`."""
        if keyword in self._values:
            return self._values[keyword]
        name = _keyword(keyword)
        if name in self._cards:
            value = card_value(self._card(name))
        else:
            value = _ABSENT if self.below is None else self.below._said(name)
        self._values[keyword] = value
        return value

    def __reduce__(self):
        return type(self), (self.block, self.below)

    def __getitem__(self, keyword: str) -> object:
        value = self._said(keyword)
        if value is _ABSENT:
            raise KeyError(f"{keyword} is missing")
        return value

    def __contains__(self, keyword: object) -> bool:
        name = _keyword(str(keyword))
        return name in self._cards or (self.below is not None and name in self.below)

    @property
    def layout(self) -> tuple[Mapping[str, list[int]], ...]:
        """Where the cards lie, here and below: one object for all headers of a layout."""
        below = () if self.below is None else self.below.layout
        return self._cards, *below

    def record(self, name: str) -> bytes:
        """Return the bytes of a card in capital letters, unparsed; nothing where it is missing."""
        if name in self._cards:
            return self._card(name)
        return b"" if self.below is None else self.below.record(name)

    def says_two_things(self, keyword: str) -> bool:
        """Say whether a keyword stands twice where it counts, with different values."""
        name = keyword.upper().strip().removeprefix("HIERARCH ").strip()
        if name in self._cards or self.below is None:
            return name in self.twice
        return self.below.says_two_things(keyword)

    def get(self, keyword: str, default: object = None) -> object:
        """Return the value of a card, or ``default`` where it is missing or empty."""
        value = self._said(keyword)
        return default if value is _ABSENT or value is None else value

    def __iter__(self) -> Iterator[str]:
        yield from self._cards
        if self.below is not None:
            yield from (name for name in self.below if name not in self._cards)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _places(block: bytes) -> tuple[Mapping[str, list[int]], tuple[str, ...]]:
    """Find where each keyword's cards begin, and the keywords that stand twice.

    The frames of a camera have the same keywords in the same places, so that they are
    looked for once. A long keyword does not show in the first columns.
    """
    if len(block) % 80 or b"HIERARCH" in block:
        return _index([block[n : n + 80] for n in range(0, len(block), 80)])
    return _shared_places(np.frombuffer(block, "u1").reshape(-1, 80)[:, :9].tobytes())


@lru_cache(1024)
def _shared_places(words: bytes) -> tuple[Mapping[str, list[int]], tuple[str, ...]]:
    return _index([words[n : n + 9] for n in range(0, len(words), 9)])


def _index(cards: list[bytes]) -> tuple[Mapping[str, list[int]], tuple[str, ...]]:
    places: dict[str, list[int]] = {}
    last = ""
    for number, card in enumerate(cards):
        word = card[:8]
        if word in _UNVALUED:
            continue
        if word == b"CONTINUE":
            if not last.endswith(_AGAIN):
                places.setdefault(last, []).append(80 * number)
            continue
        if word == b"HIERARCH":
            name = card[9 : max(card.find(b"="), 9)]
        elif card[8:9] == b"=":
            name = word
        else:
            continue
        last = name.strip().upper().decode("ascii", "replace")
        if last in places:
            last += _AGAIN
        places.setdefault(last, []).append(80 * number)
    again = (name.removesuffix(_AGAIN) for name in places if name.endswith(_AGAIN))
    return MappingProxyType(places), tuple(name for name in again if name in places)


@lru_cache(1024)
def _keyword(keyword: str) -> str:
    return keyword.upper().strip().removeprefix("HIERARCH ").strip()


def differing(headers: Sequence[Cards]) -> set[str]:
    """Return the keywords whose cards are not the same bytes in all of some headers."""
    first = headers[0]
    words: set[str] = set()
    unlike = np.zeros(len(first.block) // 80, bool)
    for header in headers[1:]:
        if header.block == first.block:
            continue
        if header._cards is first._cards and len(header.block) == len(first.block):
            one, two = (np.frombuffer(h.block, "u8").reshape(-1, 10) for h in (first, header))
            unlike |= (one != two).any(axis=1)
        else:
            names = {*first._cards, *header._cards}
            words.update(n for n in names if first.record(n) != header.record(n))
    for name, starts in first._cards.items() if unlike.any() else ():
        if any(unlike[start // 80] for start in starts):
            words.add(name)
    below = [header.below for header in headers if header.below is not None]
    if len(below) == len(headers):
        words |= differing(below) - set(first._cards)
    return {name.removesuffix(_AGAIN) for name in words}


# Of one frame to the next few cards change: camera, filter and exposure are parsed once.
@lru_cache(4096)
def card_value(card: bytes) -> object:
    """Parse the value of a card; what cannot be parsed is its own text."""
    text = card.decode("ascii", "replace")
    if not text.isprintable():
        # What a terminal or a table would obey.
        text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    field = text[9:80] if not text.startswith("HIERARCH") else text[text.find("=") + 1 : 80]
    field = field.strip()
    if field.startswith("'"):
        if len(card) > 80:
            return _continued(text)
        return _quoted(field)[0].rstrip()
    field = field.split("/", 1)[0].strip()
    if not field:
        return None
    if field in ("T", "F"):
        return field == "T"
    if "_" not in field:
        for parse in (int, float):
            try:
                return parse(field)
            except ValueError:
                pass
        try:
            return float(field.upper().replace("D", "E"))
        except ValueError:
            pass
    return field


def _quoted(field: str) -> tuple[str, bool]:
    """Read a text between quotes, in which a doubled quote is one; and whether it was closed."""
    text = []
    position = 1
    while True:
        end = field.find("'", position)
        if end < 0:
            return "".join([*text, field[position:]]), False
        text.append(field[position:end])
        if field[end + 1 : end + 2] != "'":
            return "".join(text), True
        text.append("'")
        position = end + 2


def _continued(text: str) -> str:
    """Join a text that goes on in CONTINUE cards."""
    whole = ""
    for start in range(0, len(text), 80):
        card = text[start : start + 80]
        part = _quoted(card[card.find("'") :])[0] if "'" in card else ""
        whole = whole.rstrip()
        whole = (whole[:-1] if whole.endswith("&") else whole) + part
        if len(whole) > TEXT_LIMIT:
            return whole[:TEXT_LIMIT]
    return whole.rstrip()
