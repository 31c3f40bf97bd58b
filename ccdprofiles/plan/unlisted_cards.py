"""Cards that no profile lists and that divide a group of frames."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from ..camera.cards import matched_cards, spellings
from ..files.cards import Cards, differing
from .setup_cards import JITTER, SETUP, folded_case, plain_value

if TYPE_CHECKING:
    from ..camera.profile import Profile

__all__ = ["about_readout", "dividing_cards"]

_VALUES = 4


_READOUT = re.compile(
    r"GAIN|READ|RDOUT|RDSP|RDMOD|SPEED|SPD|PREAMP|(?<![LDCT])AMPL|^AMP|^N?AMPS?$|ADC|"
    r"(CCD|DET|CAM|CMOS|SENS|CHIP|ADC|CDS|HDR)-?_?MODE|LOWNOISE|HCG"
)
_NOT_READOUT = re.compile(
    r"^(RA|DEC|HA|ALT|AZ|PM|WS)|TEL|TCS|SKY|AIR|WIND|WND|FAN|TRK|TRACK|SLEW|ROT|DOM|MOTOR|SHUT|TEMP|TIM|DATE|NOISE|NOIS|RON|"
    r"AMPM|AIRM|AMB|FLOW|PUMP|COOL|START|END|STAT|SUM|MEAN|POS|AUTO|AGAIN|FILT|FOC|"
    r"^AO|LOOP|PID|SERVO|CHOP|FLEX|MNT|SIDS|TM$|MJD|READNO|"
    r"ADC[-_]?(?:PA|TYPE|STR|[XY\d])|GUID|ADCANG|ADCPOS|THREAD|SPREAD|NUM|CNT|FILE|ACCEL|VOLT|CUR$"
)
_ELSEWHERE = re.compile(
    r"TIM|DATE|MJD|^JD|HJD|BJD|LST|EPOCH|EQUINOX|AIRM|PARANG|^RA|RA$|^DEC|DEC$|ALT|AZ|HOURANG|"
    r"ANG|POS|TEL|DOME|MOON|SUN|WIND|HUM|PRES|DEW|TEMP|SEEING|FWHM|ENV|WEATH|CLOUD|OBJ|TARG|OBS|"
    r"PROP|PROG|^PI|USER|FILE|IMAGE|FRAM|SEQ|NUM|EXP|COUNT|INDEX|SUM$|CHECK|WCS|^CR|^CD\d|^PC\d|"
    r"CTYPE|CDELT|FOC|GUID|TRA[CK]K|CBLACK|CWHITE|DATAM|MIN$|MAX$|MEAN|MEDIAN|STD|RMS|SKY|NOIS|RON$|"
    r"VOLT|CURR|TLM|TELE|VAC|HEAT|FAN|COOL|POWER|PWR|SHUT|^SW|VERS|SOFT|NOTE|TITLE|ORIGIN|HIST|"
    r"RUN|NIGHT|VISIT|BLOCK|GROUP|DITH|REP|CYC|STAGE|UTC|DIT|UIT|TPL|START|END$|STAT|"
    r"AUTHOR|EQUI|ROTA|OFF|LIMIT|SITE|LONG|LAT|APER|APT|FLIP|PIER|STRETCH|"
    r"PEDESTAL|GEOM|JITTER|SERIAL|HOST|PATH|CREAT|PSNOSS|AUTO|^NDIT|RADESYS|RADECSYS|TYPE"
)
_LAMPS = re.compile(r"LAMP|NEON|ARGON|HELIUM|QUARTZ|KRYPT|XENON|MERCUR|THAR$|HENE|FEAR")
_OF_A_LAMP = re.compile(r"TIM|TEMP|VOLT|CURR|HOUR|HRS|POWER|COUNT|AGE|VERS|SER")
_TOKENS = {"UT", "HA", "ZD", "ST", "NO", "NR", "N", "ID", "LA", "LO", "EL", "PA", "SEC"}
_OPTICS = re.compile(r"FILT|GRAT|GRIS|SLIT|DISP|WHEEL|^FW|MASK|COLL|CAMFOC|OPT|WAV|ORDER|INS ")
_STRUCTURE = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "BZERO", "BSCALE", "BLANK", "PCOUNT", "GCOUNT"}
_PACKED = re.compile(r"(TFIELDS|TFORM|TTYPE|TDIM|ZTILE|ZNAME|ZVAL|ZDITHER)\d*|THEAP")
"""Cards of the table in which a tile-compressed image is stored."""


def about_readout(card: str) -> bool:
    """Return True if the name of a card shows that it describes the read-out of a detector.

    >>> from ccdprofiles.plan.unlisted_cards import about_readout
    >>> [about_readout(c) for c in ("HGAINSW", "ESO DET READ X", "AIRMASS", "WINDSPD", "LAMP")]
    [True, True, False, False, False]
    """
    name = card.upper()
    if name.startswith("ESO ") and not name.startswith("ESO DET "):
        return False
    return bool(_READOUT.search(name)) and not _NOT_READOUT.search(name)


def dividing_cards(
    headers: Sequence[Mapping], kind: str, profile: Profile
) -> list[tuple[str, tuple[object, ...]]]:
    """Return the cards that divide frames into groups of two or more, and their values.

    Omitted are those of `SETUP`, those that the profile reads or ignores, and those
    that do not affect the frames: times, positions, weather, counters. Cards of lamps matter
    for flats and arcs only.

    Parameters
    ----------
    headers : sequence of mapping
    kind : {"bias", "dark", "flat", "arc"}
    profile : Profile
    """
    if len(headers) < 2:
        return []
    known = {card for quantity in SETUP for card in quantity.cards} | _cards_read(profile)
    matched = matched_cards(profile.match, "flat" if kind == "arc" else kind)
    known |= {name for card in matched for name in spellings(card)}
    dividing: list[tuple[str, tuple[object, ...]]] = []
    for card in sorted(_differing(headers)):
        if card in known or _irrelevant(card, kind):
            continue
        values = tuple(plain_value(header.get(card)) for header in headers)
        if _divides(values, least=1 if _LAMPS.search(card) else 2):
            dividing.append((card, values))
    return dividing


def _differing(headers: Sequence[Mapping]) -> set[str]:
    """Return the cards that differ between headers, without parsing them."""
    first = headers[0]
    cards = [header for header in headers if isinstance(header, Cards)]
    if len(cards) == len(headers):
        return differing(cards)
    differ: set[str] = set()
    for header in headers[1:]:
        differ.update(c for c in {*first, *header} if first.get(c) != header.get(c))
    return differ


def _cards_read(profile: Profile) -> set[str]:
    fields = (profile.exposure, profile.filter, profile.object, profile.date, profile.frame_type)
    read = set(profile.ignore_cards)
    for field in (*fields, profile.binning, profile.temperature):
        if field is not None and not callable(field):
            read.update((field,) if isinstance(field, str) else field)
    return {card.upper() for card in read}


def _irrelevant(card: str, kind: str) -> bool:
    if about_readout(card):
        return False
    if card in _STRUCTURE or card.startswith("NAXIS") or _PACKED.fullmatch(card):
        return True
    if card.startswith("ESO ") and not card.startswith(("ESO DET ", "ESO INS ")):
        return True
    optics = _OPTICS.search(card)
    if optics and kind != "flat":
        return True
    if _LAMPS.search(card):
        return kind not in ("flat", "arc") or bool(_OF_A_LAMP.search(card))
    name = card.removeprefix("ESO DET ").removeprefix("ESO INS ")
    tokens = set(re.split(r"[^A-Z]+", name))
    return bool(_ELSEWHERE.search(name) or tokens & _TOKENS) and not optics


def _divides(values: Sequence[object], least: int) -> bool:
    """Return True if values look like those of a setting: at most four, each in several frames."""
    folded = [folded_case(value) for value in values]
    kinds = set(folded)
    if not 1 < len(kinds) <= _VALUES or any(folded.count(kind) < least for kind in kinds):
        return False
    if any(isinstance(k, str) and re.search(r"\d:\d|\.fits?\b|/", k) for k in kinds):
        return False
    numbers = sorted(k for k in kinds if isinstance(k, float))
    steps = [b - a for a, b in pairwise(numbers)]
    # Numbers that hardly change are telemetry.
    return not steps or min(steps) > JITTER * max(abs(numbers[0]), abs(numbers[-1]))
