"""Read the settings of the detector from headers; cards that are equal are parsed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..camera.header_values import read_celsius
from ..camera.profile import Profile
from ..camera.section import is_card
from ..errors import ProfileError
from ..files.cards import Cards
from .setup_cards import (
    CHIP,
    MASTER_TEMPERATURE,
    SETUP,
    FrameSetup,
    SetupCard,
    folded_case,
    plain_value,
)

__all__ = ["SetupReader"]

_WARMEST = 60.0
"""Degrees Celsius; a greater number is in kelvin."""


@dataclass(frozen=True)
class _Names:
    """The cards of `SETUP` in headers of one layout."""

    fixed: tuple[tuple[str, ...], ...]
    aimed: tuple[str, ...]
    chip: tuple[str, ...]


class SetupReader:
    """Reads the set-up of one camera's frames; equal cards are parsed once.

    Parameters
    ----------
    profile : Profile
        Names the cards to ignore, and the card of the temperature.
    """

    def __init__(self, profile: Profile):
        self.profile = profile
        self._setup = [
            replace(quantity, cards=tuple(c for c in quantity.cards if c not in ignored))
            for ignored in [{c.upper() for c in (*profile.ignore_cards, *_gain_cards(profile))}]
            for quantity in SETUP
        ]
        self._places: dict[tuple[int, ...], tuple[object, _Names]] = {}
        self._fixed: dict[tuple, tuple[tuple, tuple[str, ...]]] = {}
        self._known: dict[tuple, FrameSetup] = {}

    def read(self, header: Mapping, master: bool = False) -> FrameSetup:
        """Return the set-up of a frame or of a master; equal set-ups are one object."""
        names = self._names(header)
        fixed, cards = self._fixed_of(header, names.fixed)
        aimed, aimed_card = _celsius(header, names.aimed)
        chip, chip_card = self._chip(header, names.chip, master)
        key = (id(fixed), id(cards), aimed, aimed_card, chip, chip_card)
        if key not in self._known:
            aimed_card = aimed_card or SETUP[-2].cards[0]
            chip_card = chip_card or SETUP[CHIP].cards[0]
            self._known[key] = FrameSetup((*fixed, aimed, chip), (*cards, aimed_card, chip_card))
        return self._known[key]

    def _fixed_of(
        self, header: Mapping, names: tuple[tuple[str, ...], ...]
    ) -> tuple[tuple, tuple[str, ...]]:
        if isinstance(header, Cards):
            key = (names, *(header.record(name) for spellings in names for name in spellings))
        else:
            key = (names, *(repr(header.get(name)) for spellings in names for name in spellings))
        if key not in self._fixed:
            self._fixed[key] = _read_fixed(header, names)
        return self._fixed[key]

    def _names(self, header: Mapping) -> _Names:
        """Return which spellings a header has; determined once for headers of one layout."""
        if not isinstance(header, Cards):
            return self._names_among((header,))
        layout = header.layout
        key = tuple(id(places) for places in layout)
        if key not in self._places:
            # The layout is stored too, so that no other one gets its id.
            self._places[key] = layout, self._names_among(layout)
        return self._places[key][1]

    def _names_among(self, layout: Sequence[Mapping]) -> _Names:
        there = [
            tuple(card for card in quantity.cards if any(card in places for places in layout))
            for quantity in self._setup
        ]
        return _Names(tuple(there[:-2]), *there[-2:])

    def _chip(
        self, header: Mapping, cards: tuple[str, ...], master: bool
    ) -> tuple[float | None, str]:
        own = self.profile.temperature
        if master and MASTER_TEMPERATURE in header:
            # Already in degrees Celsius, whatever the unit of the profile's card.
            mean = plain_value(header[MASTER_TEMPERATURE])
            return (mean if isinstance(mean, float) else None), MASTER_TEMPERATURE
        if own is None:
            return _celsius(header, cards)
        if callable(own):
            return _by_function(self.profile, header), MASTER_TEMPERATURE
        names = (own,) if isinstance(own, str) else own
        ignored = {card.upper() for card in self.profile.ignore_cards}
        if ignored.issuperset(name.upper() for name in names):
            return None, names[0]
        name = next((n for n in names if n in header), names[0])
        return self.profile.temperature_of(header), name


def _gain_cards(profile: Profile) -> list[str]:
    """Return the cards of gains in extensions of frames whose detector area is known.

    There the gain is compared amplifier by amplifier; the first extension of a window may be that
    of another amplifier than the first of the whole detector.
    """
    amplifiers = () if callable(profile.amplifiers) else profile.amplifiers
    return [
        a.gain
        for a in amplifiers
        if isinstance(a.gain, str) and a.extension is not None
        if profile.window is not None or is_card(a.detector)
    ]


def _read_fixed(header: Mapping, names: Iterable[tuple[str, ...]]) -> tuple[tuple, tuple[str, ...]]:
    read = [_read_one(header, *pair) for pair in zip(names, SETUP, strict=False)]
    return tuple(value for value, _ in read), tuple(card for _, card in read)


def _read_one(
    header: Mapping, spellings: tuple[str, ...], quantity: SetupCard
) -> tuple[float | str | None, str]:
    """Read a quantity by all of its spellings; different values are joined to one text."""
    read = {card: plain_value(header.get(card)) for card in spellings}
    values = {card: value for card, value in read.items() if value is not None}
    card = next(iter((*values, *spellings, quantity.cards[0])))
    kinds = {folded_case(value): value for value in values.values()}
    if len(kinds) < 2:
        return values.get(card), card
    texts = (f"{v:g}" if isinstance(v, float) else v for v in kinds.values())
    return " / ".join(texts), "/".join(values)


def _celsius(header: Mapping, cards: Sequence[str]) -> tuple[float | None, str]:
    """Read a temperature; large numbers are taken as kelvin, impossible ones as unknown."""
    for card in cards:
        value = plain_value(header.get(card))
        if isinstance(value, str):
            value = read_celsius(value)
        if isinstance(value, float):
            degrees = value - 273.15 if value > _WARMEST else value
            return (degrees if -273.15 < degrees <= _WARMEST else None), card
    return None, cards[0] if cards else ""


def _by_function(profile: Profile, header: Mapping) -> float | None:
    try:
        return profile.temperature_of(header)
    except (KeyError, TypeError, ValueError, ProfileError):
        return None  # the function expects a card that this header lacks
