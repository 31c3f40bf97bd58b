"""The cards that say how a detector was set: gain, offset, read mode, temperature.

Frames that were set differently do not belong into one master, and a bias or dark
of one setting is wrong for a frame of another. `SETUP` lists what is compared for
every camera; what a profile's ``match`` names is compared as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..camera.header_values import UNKNOWN, read_celsius
from ..errors import ProfileError
from ..files.cards import Cards

if TYPE_CHECKING:
    from ..camera.profile import Profile

__all__ = [
    "SETUP",
    "TOLERANCE",
    "FrameSetup",
    "SetupCard",
    "SetupReader",
    "clusters",
    "differing_places",
    "mean_setup",
    "plain_value",
    "same_setup",
    "same_value",
    "setting_words",
    "shown",
    "word_for",
]

TOLERANCE = 3.0
"""Kelvin that two chips may differ by where the recipe's limits name no tolerance.

The dark current of a CCD doubles every 6 to 7 K, so 3 K change it by a third. That is
the upper end of what vendors advise; a profile that needs less says so.
"""

MASTER_TEMPERATURE = "CPTEMP"
"""The card of our own masters with the mean temperature of their frames' chips."""

_WARMEST = 60.0
_JITTER = 0.05
"""Numbers nearer than this share of each other are measured ones, as settings come in steps."""


@dataclass(frozen=True)
class SetupCard:
    """A quantity that says how the detector was set, and the cards that may hold it.

    Parameters
    ----------
    cards : tuple of str
        Its spellings. A header may have several of them, which then count together; of a
        temperature the first one that says something counts.
    word : str
        What stands for it in the name of a master, as in ``gain100``.
    within : {None, "temperature"}
        None for a quantity that must be equal; "temperature" for one in degrees
        Celsius (or kelvin) that must agree within the tolerance of the recipe.
    of_flat : bool
        Whether a flat of another value is noted where it is used: a mode, an
        amplifier or a speed may change the response of a pixel, a gain does not.
    """

    cards: tuple[str, ...]
    word: str
    within: str | None = None
    of_flat: bool = True


SETUP = (
    SetupCard(("GAIN",), "gain", of_flat=False),
    SetupCard(("CCDGAIN", "GAINSET", "GAINMODE", "NOCGAIN"), "gainset", of_flat=False),
    SetupCard(("ESO DET OUT1 GAIN",), "gain", of_flat=False),
    SetupCard(("ISOSPEED", "ISO"), "iso", of_flat=False),
    SetupCard(("EMGAIN", "EM-GAIN", "GAINEM", "MULTGAIN"), "emgain", of_flat=False),
    SetupCard(("PREAMP", "PREAMPG", "PREGAIN", "PRE-GAIN", "PGAGAIN"), "preamp", of_flat=False),
    SetupCard(("OFFSET", "BLKLEVEL", "BLACKLVL", "BLACKLEV"), "offset", of_flat=False),
    SetupCard(("READOUTM", "READMODE", "READOUT", "RDMODE", "ESO DET READ MODE"), "mode"),
    SetupCard(("ESO DET READ CLOCK", "ESO DET READ CURNAME"), "clock"),
    SetupCard(
        (
            "READRATE",
            "READSPD",
            "READSPEED",
            "READ-SPD",
            "RDSPEED",
            "RDOUTSPD",
            "ROSPEED",
            "RO-SPEED",
            "CCDSPEED",
            "ADCSPEED",
            "PIXRATE",
            "ADCRATE",
            "ESO DET READ SPEED",
        ),
        "speed",
    ),
    SetupCard(("HSSPEED", "HSPEED", "HSHIFT"), "hspeed"),
    SetupCard(("VSSPEED", "VSPEED", "VSHIFT"), "vspeed"),
    SetupCard(
        (
            "READAMPS",
            "READAMP",
            "AMPNAME",
            "AMPID",
            "CCDAMP",
            "AMPLIFIER",
            "AMPLIFIE",
            "ESO DET OUT1 NAME",
        ),
        "amp",
    ),
    SetupCard(("NAMPS", "ESO DET OUTPUTS"), "amps"),
    SetupCard(("RDPORT", "READPORT", "CCDPORT", "ADCPORT", "PORT"), "port"),
    SetupCard(("AMPGLOW",), "ampglow"),
    SetupCard(("ADCBITS", "ADC-BITS", "BITDEPTH", "ESO DET BITS"), "bits"),
    SetupCard(("ROWORDER",), "rows"),
    SetupCard(("EGAIN", "EPERADU", "ESO DET OUT1 CONAD"), "egain", of_flat=False),
    SetupCard(("SET-TEMP", "SETTEMP", "CCDSET", "TEMPSET"), "set", "temperature", False),
    SetupCard(
        (
            "CCD-TEMP",
            "CCDTEMP",
            "CCD_TEMP",
            "DETTEMP",
            "DET-TEMP",
            "CHIPTEMP",
            "SENSTEMP",
            "ESO DET CHIP TEMP",
            "TEMPERAT",
        ),
        "chip",
        "temperature",
        False,
    ),
)
"""What is compared for every camera; the temperature of the chip comes last."""

CHIP = len(SETUP) - 1
EGAIN = next(place for place, quantity in enumerate(SETUP) if quantity.word == "egain")


@dataclass(frozen=True)
class FrameSetup:
    """What one header says of each quantity of `SETUP`.

    Parameters
    ----------
    values : tuple
        Numbers and texts; None where the header says nothing.
    cards : tuple of str
        The cards that were read; the usual spelling where there is none. Two that say two
        things stand together, as ``READOUTM/READMODE``.
    """

    values: tuple[float | str | None, ...]
    cards: tuple[str, ...]

    @property
    def chip(self) -> float | None:
        """The temperature of the chip in degrees Celsius."""
        return self.values[CHIP]

    def compared(self, other: FrameSetup, tolerance: float) -> tuple[list[int], list[int]]:
        """Return in which quantities two headers differ, and which one of them lacks."""
        # Most frames agree in all but the measured temperature.
        alike = self.values[:-2] == other.values[:-2]
        differ, lack = [], []
        for place in range(CHIP - 1 if alike else 0, len(SETUP)):
            mine, its = self.values[place], other.values[place]
            if mine is None or its is None:
                lack += [place] if mine != its else []
            elif not _agree(SETUP[place], mine, its, tolerance):
                differ.append(place)
        return differ, lack

    def phrase(self, places: Iterable[int]) -> str:
        """Write some of its values for people: ``" with GAIN = 100 at -10 °C"``."""
        text = ""
        for place in sorted(places, key=lambda p: p == CHIP):
            value = shown(place, self.values[place])
            if place == CHIP and self.values[place] is not None:
                text += f" at {value}"
            else:
                joint = " and" if text else " with"
                text += f"{joint} {self.cards[place]} {'' if value == 'missing' else '= '}{value}"
        return text


@dataclass(frozen=True)
class _Names:
    """The cards of `SETUP` that headers of one layout have."""

    fixed: tuple[tuple[str, ...], ...]
    aimed: tuple[str, ...]
    chip: tuple[str, ...]


class SetupReader:
    """Reads the set-up of one camera's frames; equal cards are parsed once.

    Parameters
    ----------
    profile : Profile
        Names the cards that do not matter, and that of the temperature.
    """

    def __init__(self, profile: Profile):
        self.profile = profile
        self._setup = [
            replace(quantity, cards=tuple(c for c in quantity.cards if c not in ignored))
            for ignored in [{card.upper() for card in profile.ignore_cards}]
            for quantity in SETUP
        ]
        self._places: dict[tuple[int, ...], tuple[object, _Names]] = {}
        self._fixed: dict[tuple, tuple[tuple, tuple[str, ...]]] = {}
        self._known: dict[tuple, FrameSetup] = {}

    def read(self, header: Mapping, master: bool = False) -> FrameSetup:
        """Return the set-up of a frame, or of one of our own masters; one object for equal ones."""
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
        """Return which spellings a header has; the same for all headers of one layout."""
        if not isinstance(header, Cards):
            return self._names_among((header,))
        layout = header.layout
        key = tuple(id(places) for places in layout)
        if key not in self._places:
            # The layout is kept with them, so that its id is not given to another.
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
            # As it was read from its frames, in the unit of the profile's own card.
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


def plain_value(value: object) -> float | str | None:
    """Return what a card says, so that ``100``, ``100.0`` and ``'100'`` are equal.

    >>> from ccdprofiles.plan.setup_cards import plain_value
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
    # Six digits are what a program keeps that stores 0.77 in four bytes.
    return float(f"{number:.6g}") if math.isfinite(number) else text


def shown(place: int, value: float | str | None) -> str:
    """Write a value of `SETUP` for people: ``"100"``, ``"-10 °C"``, ``"missing"``."""
    if value is None:
        return "missing"
    if SETUP[place].within:
        return f"{round(value, 2) + 0.0:g} °C"
    return f"{value:g}" if isinstance(value, float) else value


def word_for(word: str, value: float | str | None, celsius: bool = False) -> str:
    """Return what the name of a master says of a setting.

    >>> from ccdprofiles.plan.setup_cards import word_for
    >>> word_for("gain", 100.0), word_for("mode", "High Gain"), word_for("chip", -10.02, True)
    ('gain100', 'mode_High Gain', 'm10C')
    """
    if value is None:
        return f"no_{word}"
    if celsius:
        degrees = round(value)
        return f"{'m' if degrees < 0 else ''}{abs(degrees)}C"
    if isinstance(value, float):
        return f"{word}{value:g}".replace("-", "m")
    return f"{word}_{value}"


def clusters(values: Sequence[float | None], tolerance: float, drifting: bool = False) -> list[int]:
    """Return the group of each temperature, none wider than a tolerance; the unknown are one group.

    With ``drifting`` a group may be wider, if no gap in it is.

    >>> from ccdprofiles.plan.setup_cards import clusters
    >>> clusters([-10.0, -20.0, -10.4, None], 3)
    [1, 0, 1, -1]
    >>> clusters([-10.0, -12.0, -14.0], 3), clusters([-10.0, -12.0, -14.0], 3, drifting=True)
    ([1, 0, 0], [0, 0, 0])
    """
    numbers: dict[float, int] = {}
    number, start = -1, -math.inf
    for value in sorted({v for v in values if v is not None}):
        if value - start > tolerance or number < 0:
            number, start = number + 1, value
        numbers[value] = number
        start = value if drifting else start
    return [-1 if v is None else numbers[v] for v in values]


def same_setup(setups: Sequence[FrameSetup], tolerance: float, drifting: bool = False) -> list[int]:
    """Return the group of each frame of those that were set alike, in the order of their first frames.

    A frame that lacks a card which others have is in a group of its own. Parameters are
    those of `clusters`.
    """
    parts: dict[tuple, list[int]] = {}
    columns = [_steps([s.values[place] for s in setups]) for place in range(CHIP - 1)]
    for number, fixed in enumerate(zip(*columns, strict=True)):
        parts.setdefault(fixed, []).append(number)
    for place in (CHIP - 1, CHIP):
        finer: dict[tuple, list[int]] = {}
        for key, members in parts.items():
            degrees = [setups[m].values[place] for m in members]
            numbered = clusters(degrees, tolerance, drifting)
            for member, number in zip(members, numbered, strict=True):
                finer.setdefault((*key, number), []).append(member)
        parts = finer
    labels = [0] * len(setups)
    for label, members in enumerate(sorted(parts.values())):
        for member in members:
            labels[member] = label
    return labels


def mean_setup(setups: Sequence[FrameSetup]) -> FrameSetup:
    """Return what a master of frames that were set alike has: their mean temperatures."""
    first = setups[0]
    means = []
    for place in (CHIP - 1, CHIP):
        known = [s.values[place] for s in setups if s.values[place] is not None]
        means.append(sum(known) / len(known) if known else None)
    return FrameSetup((*first.values[:-2], *means), first.cards)


def differing_places(
    setups: Sequence[FrameSetup], tolerance: float, drifting: bool = False
) -> list[int]:
    """Return in which quantities some set-ups are not alike, one that lacks a card among them."""
    places = []
    for place, quantity in enumerate(SETUP):
        values = [s.values[place] for s in setups]
        kinds = clusters(values, tolerance, drifting) if quantity.within else _steps(values)
        if len(set(kinds)) > 1:
            places.append(place)
    return places


def setting_words(setups: Sequence[FrameSetup], tolerance: float) -> list[list[str]]:
    """Return for each quantity that is not alike the words that name its values."""
    return [
        [word_for(SETUP[p].word, s.values[p], SETUP[p].within is not None) for s in setups]
        for p in differing_places(setups, tolerance)
    ]


def _agree(quantity: SetupCard, one: object, other: object, tolerance: float) -> bool:
    if quantity.within:
        return abs(one - other) <= tolerance
    return same_value(one, other)


def same_value(one: object, other: object) -> bool:
    """Return True if two values as `plain_value` returns them are of one setting."""
    return len(set(_steps([one, other]))) == 1


def _steps(values: Sequence[object]) -> list[object]:
    """Return the step of a setting to which each value belongs.

    A camera that measures its gain writes another number for each frame.
    """
    folded = [_folded(value) for value in values]
    first: dict[float, float] = {}
    before = None
    for number in sorted({v for v in folded if isinstance(v, float)}):
        near = before is not None and _measured(before, number)
        first[number] = first[before] if near else number
        before = number
    return [first.get(value, value) for value in folded]


def _measured(one: float, other: float) -> bool:
    whole = one.is_integer() and other.is_integer()
    return not whole and abs(other - one) <= _JITTER * max(abs(one), abs(other))


def _folded(value: object) -> object:
    return value.casefold() if isinstance(value, str) else value


def _read_fixed(header: Mapping, names: Iterable[tuple[str, ...]]) -> tuple[tuple, tuple[str, ...]]:
    read = [_read_one(header, *pair) for pair in zip(names, SETUP, strict=False)]
    return tuple(value for value, _ in read), tuple(card for _, card in read)


def _read_one(
    header: Mapping, spellings: tuple[str, ...], quantity: SetupCard
) -> tuple[float | str | None, str]:
    """Read a quantity by all of its spellings; two that say two things are joined to a text."""
    said = {card: plain_value(header.get(card)) for card in spellings}
    said = {card: value for card, value in said.items() if value is not None}
    card = next(iter((*said, *spellings, quantity.cards[0])))
    kinds = {_folded(value): value for value in said.values()}
    if len(kinds) < 2:
        return said.get(card), card
    texts = (f"{v:g}" if isinstance(v, float) else v for v in kinds.values())
    return " / ".join(texts), "/".join(said)


def _celsius(header: Mapping, cards: Sequence[str]) -> tuple[float | None, str]:
    """Read a temperature of a detector; kelvin are recognised by their size, nonsense is unknown."""
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
        return None  # written for the frames that have the card
