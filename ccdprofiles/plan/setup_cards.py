"""The cards with the settings of a detector: gain, offset, read mode, temperature.

Frames with different settings are not combined into one master, and a bias or dark of one
setting is wrong for a frame of another. `SETUP` lists what is compared for every camera;
the cards that a profile names in ``match`` are compared as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..camera.header_values import folded_case, plain_value
from .wording import cards_phrase

__all__ = [
    "SETUP",
    "TOLERANCE",
    "FrameSetup",
    "SetupCard",
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
"""The temperatures of two chips may differ by this many kelvin, unless the recipe limits it.

The dark current of a CCD doubles every 6 to 7 K, so that 3 K change it by a third. That is
the upper end of what vendors advise; a profile can set a smaller limit.
"""

MASTER_TEMPERATURE = "CPTEMP"
"""The card of masters of ccdprofiles with the mean chip temperature of their frames."""

JITTER = 0.05
"""Numbers that differ by less than this fraction are measured values of one setting."""


@dataclass(frozen=True)
class SetupCard:
    """A setting of the detector, and the cards that may contain it.

    Parameters
    ----------
    cards : tuple of str
        Its names in headers. If a header has several of them, all are compared;
        of a temperature the first one with a value is used.
    word : str
        Its word in the name of a master, as in ``gain100``.
    within : {None, "temperature"}
        None for a quantity that must be equal; "temperature" for one in degrees
        Celsius (or kelvin) that must agree within the tolerance of the recipe.
    of_flat : bool
        Whether a note is made if a flat of another value is used: a mode, an amplifier or
        a speed may change the response of a pixel, a gain does not.
    """

    cards: tuple[str, ...]
    word: str
    within: str | None = None
    of_flat: bool = True


def _quantity(word: str, cards: str, within: str | None = None, of_flat: bool = True) -> SetupCard:
    return SetupCard(tuple(cards.split(", ")), word, within, of_flat)


SETUP = (
    _quantity("gain", "GAIN", of_flat=False),
    _quantity("gainset", "CCDGAIN, GAINSET, GAINMODE, NOCGAIN", of_flat=False),
    _quantity("gain", "ESO DET OUT1 GAIN", of_flat=False),
    _quantity("iso", "ISOSPEED, ISO", of_flat=False),
    _quantity("emgain", "EMGAIN, EM-GAIN, GAINEM, MULTGAIN", of_flat=False),
    _quantity("preamp", "PREAMP, PREAMPG, PREGAIN, PRE-GAIN, PGAGAIN", of_flat=False),
    _quantity("offset", "OFFSET, BLKLEVEL, BLACKLVL, BLACKLEV", of_flat=False),
    _quantity("mode", "READOUTM, READMODE, READOUT, RDMODE, ESO DET READ MODE"),
    _quantity("clock", "ESO DET READ CLOCK, ESO DET READ CURNAME"),
    _quantity(
        "speed",
        "READRATE, READSPD, READSPEED, READ-SPD, RDSPEED, RDOUTSPD, ROSPEED, "
        "RO-SPEED, CCDSPEED, ADCSPEED, PIXRATE, ADCRATE, ESO DET READ SPEED",
    ),
    _quantity("hspeed", "HSSPEED, HSPEED, HSHIFT"),
    _quantity("vspeed", "VSSPEED, VSPEED, VSHIFT"),
    _quantity(
        "amp", "READAMPS, READAMP, AMPNAME, AMPID, CCDAMP, AMPLIFIER, AMPLIFIE, ESO DET OUT1 NAME"
    ),
    _quantity("amps", "NAMPS, ESO DET OUTPUTS"),
    _quantity("port", "RDPORT, READPORT, CCDPORT, ADCPORT, PORT"),
    _quantity("ampglow", "AMPGLOW"),
    _quantity("bits", "ADCBITS, ADC-BITS, BITDEPTH, ESO DET BITS"),
    _quantity("rows", "ROWORDER"),
    _quantity("egain", "EGAIN, EPERADU, ESO DET OUT1 CONAD", of_flat=False),
    _quantity("set", "SET-TEMP, SETTEMP, CCDSET, TEMPSET", within="temperature", of_flat=False),
    _quantity(
        "chip",
        "CCD-TEMP, CCDTEMP, CCD_TEMP, DETTEMP, DET-TEMP, "
        "CHIPTEMP, SENSTEMP, ESO DET CHIP TEMP, TEMPERAT",
        within="temperature",
        of_flat=False,
    ),
)
"""What is compared for every camera; the temperature of the chip comes last."""

CHIP = len(SETUP) - 1
EGAIN = next(place for place, quantity in enumerate(SETUP) if quantity.word == "egain")


@dataclass(frozen=True)
class FrameSetup:
    """The value of each quantity of `SETUP` in one header.

    Parameters
    ----------
    values : tuple
        Numbers and texts; None if the header has no value.
    cards : tuple of str
        The cards that were read; the usual name if there is none. Two cards with different
        values are joined, as in ``READOUTM/READMODE``.
    """

    values: tuple[float | str | None, ...]
    cards: tuple[str, ...]

    @property
    def chip(self) -> float | None:
        """The temperature of the chip in degrees Celsius."""
        return self.celsius(CHIP)

    def celsius(self, place: int) -> float | None:
        """Return the value of a quantity that is a temperature."""
        value = self.values[place]
        return None if isinstance(value, str) else value

    def compared(self, other: FrameSetup, tolerance: float) -> tuple[list[int], list[int]]:
        """Return the quantities in which two headers differ, and those that one of them lacks."""
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
        """Write the values of several quantities: ``" with GAIN = 100 at -10 °C"``."""
        text = ""
        for place in sorted(places, key=lambda p: p == CHIP):
            value = None if self.values[place] is None else shown(place, self.values[place])
            if place == CHIP and value is not None:
                text += f" at {value}"
            else:
                text += cards_phrase([(self.cards[place], value)], text)
        return text

    @property
    def known(self) -> tuple[tuple[str, float | str], ...]:
        """The cards that have a value, and their values."""
        pairs = zip(self.cards, self.values, strict=True)
        return tuple((card, value) for card, value in pairs if value is not None)


def shown(place: int, value: float | str | None) -> str:
    """Write the value of a quantity: ``"100"``, ``"-10 °C"``, ``"missing"``."""
    if value is None:
        return "missing"
    if SETUP[place].within and not isinstance(value, str):
        return f"{round(value, 2) + 0.0:g} °C"
    return f"{value:g}" if isinstance(value, float) else value


def word_for(word: str, value: float | str | None, celsius: bool = False) -> str:
    """Return the word for a setting in the name of a master.

    >>> from ccdprofiles.plan.setup_cards import word_for
    >>> word_for("gain", 100.0), word_for("mode", "High Gain"), word_for("chip", -10.02, True)
    ('gain100', 'mode_High Gain', 'm10C')
    """
    if value is None:
        return f"no_{word}"
    if celsius and not isinstance(value, str):
        degrees = round(value)
        return f"{'m' if degrees < 0 else ''}{abs(degrees)}C"
    if isinstance(value, float):
        return f"{word}{value:g}".replace("-", "m")
    return f"{word}_{value}"


def clusters(values: Sequence[float | None], tolerance: float, drifting: bool = False) -> list[int]:
    """Return the group of each temperature; unknown temperatures are one group, numbered -1.

    No group is wider than the tolerance; with ``drifting`` only no gap in a group is.

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
    """Return the number of the settings group of each frame, in the order of their first frames.

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
            degrees = [setups[m].celsius(place) for m in members]
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
    """Return the set-up of a master: that of its frames, with their mean temperatures."""
    first = setups[0]
    means = []
    for place in (CHIP - 1, CHIP):
        known = [c for s in setups if (c := s.celsius(place)) is not None]
        means.append(sum(known) / len(known) if known else None)
    return FrameSetup((*first.values[:-2], *means), first.cards)


def differing_places(
    setups: Sequence[FrameSetup], tolerance: float, drifting: bool = False
) -> list[int]:
    """Return the quantities in which set-ups differ; a missing card counts as a difference."""
    places = []
    for place, quantity in enumerate(SETUP):
        kinds: Sequence[object]
        if quantity.within:
            kinds = clusters([s.celsius(place) for s in setups], tolerance, drifting)
        else:
            kinds = _steps([s.values[place] for s in setups])
        if len(set(kinds)) > 1:
            places.append(place)
    return places


def setting_words(setups: Sequence[FrameSetup], tolerance: float) -> list[list[str]]:
    """Return for each quantity in which set-ups differ the words for its values."""
    return [
        [word_for(SETUP[p].word, s.values[p], SETUP[p].within is not None) for s in setups]
        for p in differing_places(setups, tolerance)
    ]


def _agree(quantity: SetupCard, one: float | str, other: float | str, tolerance: float) -> bool:
    if quantity.within and not (isinstance(one, str) or isinstance(other, str)):
        return abs(one - other) <= tolerance
    return same_value(one, other)


def same_value(one: object, other: object) -> bool:
    """Return True if two values, as `plain_value` returns them, are of one setting."""
    return len(set(_steps([one, other]))) == 1


def _steps(values: Sequence[object]) -> list[object]:
    """Return the step of a setting to which each value belongs.

    A camera that measures its gain writes a slightly different number for each frame.
    """
    folded = [folded_case(value) for value in values]
    first: dict[float, float] = {}
    before: float | None = None
    for number in sorted({v for v in folded if isinstance(v, float)}):
        if before is not None and _measured(before, number):
            first[number] = first[before]
        else:
            first[number] = number
        before = number
    return [first[value] if isinstance(value, float) else value for value in folded]


def _measured(one: float, other: float) -> bool:
    whole = one.is_integer() and other.is_integer()
    return not whole and abs(other - one) <= JITTER * max(abs(one), abs(other))
