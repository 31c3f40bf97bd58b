"""The cards of a FITS header, as they are in the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import numpy as np

__all__ = ["BLOCK", "END", "Cards", "card_value", "differing"]

BLOCK = 2880
END = b"END".ljust(80)
TEXT_LIMIT = 1000
_DUPLICATE = " (again)"
_ABSENT = object()
_UNVALUED = (b"COMMENT ", b"HISTORY ", b"        ", b"END     ")


class Cards(Mapping):
    """The cards of a header, each parsed when it is first needed.

    Keywords are compared without case, with or without a leading ``HIERARCH``.
    If a keyword occurs more than once, the first card counts, as in astropy.

    Parameters
    ----------
    block : bytes
        Header cards of 80 bytes.
    primary : Cards, optional
        The header of the primary HDU, in which keywords that are missing here are looked up.
    """

    __slots__ = ("_cards", "_repeated", "_values", "block", "primary")

    def __init__(self, block: bytes, primary: Cards | None = None):
        self.block = block
        self.primary = primary
        self._values: dict[str, object] = {}
        self._cards, self._repeated = _places(block)

    @property
    def conflicting(self) -> set[str]:
        """The keywords that occur more than once, with different values."""
        return {
            name
            for name in self._repeated
            if any(self._differ(name, self._at(n)) for n in self._cards[name + _DUPLICATE])
        }

    def _differ(self, name: str, card: bytes) -> bool:
        first = self._card(name)
        return first != card and card_value(first) != card_value(card)

    def _at(self, start: int) -> bytes:
        return self.block[start : start + 80]

    def _card(self, name: str) -> bytes:
        """Return the card of a keyword, with those that continue it."""
        starts = self._cards[name]
        if len(starts) == 1:
            return self._at(starts[0])
        return b"".join(self._at(start) for start in starts)

    def _value(self, keyword: str) -> object:
        """Return the value of a card, or `_ABSENT`."""
        if keyword in self._values:
            return self._values[keyword]
        name = _keyword(keyword)
        if name in self._cards:
            value = card_value(self._card(name))
        else:
            value = _ABSENT if self.primary is None else self.primary._value(name)
        self._values[keyword] = value
        return value

    def __reduce__(self):
        return type(self), (self.block, self.primary)

    def __getitem__(self, keyword: str) -> object:
        value = self._value(keyword)
        if value is _ABSENT:
            raise KeyError(f"{keyword} is missing")
        return value

    def __contains__(self, keyword: object) -> bool:
        name = _keyword(str(keyword))
        return name in self._cards or (self.primary is not None and name in self.primary)

    @property
    def layout(self) -> tuple[Mapping[str, list[int]], ...]:
        """The positions of the cards: the same objects for all headers of one layout."""
        return self._cards, *(() if self.primary is None else self.primary.layout)

    def record(self, name: str) -> bytes:
        """Return the bytes of a card, unparsed; nothing if the keyword, in capitals, is missing."""
        if name in self._cards:
            return self._card(name)
        return b"" if self.primary is None else self.primary.record(name)

    def conflicts(self, keyword: str) -> bool:
        """Return True if a keyword has different values in the header that counts for it."""
        name = _keyword(keyword)
        if name in self._cards or self.primary is None:
            return name in self.conflicting
        return self.primary.conflicts(keyword)

    def get(self, keyword: str, default: object = None) -> object:
        """Return the value of a card, or ``default`` if it is missing or empty."""
        value = self._value(keyword)
        return default if value is _ABSENT or value is None else value

    def own(self, keyword: str, default: object = None) -> object:
        """Return the value of a card as `get` does, without looking in the primary header."""
        return self.get(keyword, default) if keyword in self._cards else default

    def __iter__(self) -> Iterator[str]:
        yield from self._cards
        if self.primary is not None:
            yield from (name for name in self.primary if name not in self._cards)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _places(block: bytes) -> tuple[Mapping[str, list[int]], tuple[str, ...]]:
    """Return the positions of the cards of each keyword, and the keywords that are repeated.

    The frames of a camera have the same keywords in the same places, so the result is
    cached by the first nine columns, where HIERARCH keywords do not show.
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
            if not last.endswith(_DUPLICATE):
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
            last += _DUPLICATE
        places.setdefault(last, []).append(80 * number)
    repeated = (name.removesuffix(_DUPLICATE) for name in places if name.endswith(_DUPLICATE))
    return MappingProxyType(places), tuple(name for name in repeated if name in places)


@lru_cache(1024)
def _keyword(keyword: str) -> str:
    return keyword.upper().strip().removeprefix("HIERARCH ").strip()


def differing(headers: Sequence[Cards]) -> set[str]:
    """Return the keywords whose cards are not the same bytes in all of the headers."""
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
    primaries = [header.primary for header in headers if header.primary is not None]
    if len(primaries) == len(headers):
        words |= differing(primaries) - set(first._cards)
    return {name.removesuffix(_DUPLICATE) for name in words}


# Few cards change from one frame to the next: camera, filter and exposure are parsed once.
@lru_cache(4096)
def card_value(card: bytes) -> object:
    """Parse the value of a card; what cannot be parsed is returned as text."""
    text = card.decode("ascii", "replace")
    if not text.isprintable():
        # Control characters could act on a terminal or break a table.
        text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    field = text[9:80] if not text.startswith("HIERARCH") else text[text.find("=") + 1 : 80]
    field = field.strip()
    if field.startswith("'"):
        return _continued(text) if len(card) > 80 else _quoted(field).rstrip()
    field = field.split("/", 1)[0].strip()
    if not field:
        return None
    if field in ("T", "F"):
        return field == "T"
    if "_" not in field:
        for parse in (int, float, _fortran_number):
            try:
                return parse(field)
            except ValueError:
                pass
    return field


def _fortran_number(field: str) -> float:
    return float(field.upper().replace("D", "E"))


def _quoted(field: str) -> str:
    """Read a quoted text, in which a doubled quote is one; the closing quote may be missing."""
    text = []
    position = 1
    while (end := field.find("'", position)) >= 0:
        text.append(field[position:end])
        if field[end + 1 : end + 2] != "'":
            return "".join(text)
        text.append("'")
        position = end + 2
    return "".join([*text, field[position:]])


def _continued(text: str) -> str:
    """Join a text that continues in CONTINUE cards."""
    whole = ""
    for start in range(0, len(text), 80):
        card = text[start : start + 80]
        part = _quoted(card[card.find("'") :]) if "'" in card else ""
        whole = whole.rstrip().removesuffix("&") + part
        if len(whole) > TEXT_LIMIT:
            return whole[:TEXT_LIMIT]
    return whole.rstrip()
