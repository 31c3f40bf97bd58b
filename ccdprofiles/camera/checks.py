"""Checks of the fields of a profile, made when the profile is created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from astropy import units as u

from ..errors import ProfileError
from .amplifier import Amplifier, check_amplifiers, check_types
from .cards import Card, spellings
from .chips import checked_chips
from .frame_size import declared_size, sections_reach
from .frame_types import FRAME_TYPES, STEPS
from .header_values import lower_word
from .recipe import ALL_CHIPS, Flat, Recipe
from .settings import check_period
from .values import nearest, one_of, read_only, several
from .window import check_window

__all__ = ["STATUSES", "check_flat_level", "checked", "checked_frame_size"]

STATUSES = ("tried on a real night", "headers seen", "from documents only")
"""How well a profile is known."""

_CARD_FIELDS = ("exposure", "filter", "object", "date", "temperature", "frame_type", "exposure_id")


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a profile as it keeps them: tuples and read-only mappings.

    Raises
    ------
    ProfileError
        If a field is not valid.
    """
    values = dict(fields)
    values["instrument"] = _instrument(values["instrument"], values["where"])
    values["where"] = _where(values["where"])
    values["amplifiers"] = _amplifiers(values["amplifiers"])
    values["chips"] = checked_chips(values["chips"], values["amplifiers"], values["products"])
    if not callable(values["amplifiers"]):
        check_amplifiers(values["amplifiers"], values["chips"])
    for name in _CARD_FIELDS:
        values[name] = _cards(values[name], name)
    if values["frame_type"] is None:
        raise ProfileError(
            "frame_type=None: a night cannot be planned without the types of its frames; use the name of a card or a function of the header."
        )
    values["binning"] = _binning(values["binning"])
    values["match"] = _match(values["match"])
    one_of(values["mixed_setup"], ("split", "refuse"), "mixed_setup")
    values["ignore_cards"] = _ignore_cards(values["ignore_cards"], values["match"])
    values["frame_types"] = _frame_types(values["frame_types"])
    values["file_types"] = _file_types(values["file_types"])
    if values["valid"] is not None:
        values["valid"] = check_period(values["valid"], "valid")
    if values["status"] != "":
        one_of(values["status"], STATUSES, "status")
    size, amplifiers = values["frame_size"], values["amplifiers"]
    if size is not None and not callable(size):
        values["frame_size"] = checked_frame_size(size, () if callable(amplifiers) else amplifiers)
    values["window"] = _cards(values["window"], "window")
    if values["window"] is not None and not callable(amplifiers) and not callable(size):
        check_window(amplifiers, values["frame_size"])
    if not isinstance(values["recipe"], Recipe) and not callable(values["recipe"]):
        raise ProfileError(f"recipe={values['recipe']!r} is not a recipe; use recipe=Recipe(...).")
    check_flat_level(values["recipe"], values["chips"])
    if not isinstance(values["unit"], u.UnitBase):
        raise ProfileError(f"unit={values['unit']!r} is not a unit; use unit=u.adu.")
    _check_gain_of_electrons(values["unit"], () if callable(amplifiers) else amplifiers)
    return values


def _check_gain_of_electrons(unit: u.UnitBase, amplifiers: Sequence[Amplifier]) -> None:
    """Refuse a gain for raw pixels that are in electrons already."""
    for amplifier in amplifiers if unit == u.electron else ():
        gain = amplifier.gain
        if isinstance(gain, u.Quantity) and gain.value != 1:
            raise ProfileError(
                f"unit=u.electron says that raw pixels are in electrons, so gain={gain} would be applied "
                "to them again; use gain=1 * u.electron / u.adu, or unit=u.adu."
            )


def check_flat_level(recipe: Any, chips: Mapping) -> None:
    """Refuse a flat that is normalised over the chips of a camera without chips.

    Raises
    ------
    ProfileError
    """
    flat = recipe.flat if isinstance(recipe, Recipe) else None
    if isinstance(flat, Flat) and flat.level == ALL_CHIPS and not chips:
        raise ProfileError(
            f"flat=Flat(level={ALL_CHIPS!r}) needs chips={{...}}: without chips a flat has one level."
        )


def _instrument(instrument: Any, where: Any) -> Any:
    if isinstance(instrument, list):
        instrument = tuple(instrument)
    if instrument is None:
        if not where:
            raise ProfileError(
                "instrument=None needs where={...}: without INSTRUME other cards must identify "
                "this camera."
            )
    elif isinstance(instrument, str | tuple):
        for name in (instrument,) if isinstance(instrument, str) else instrument:
            if not isinstance(name, str) or not name.strip():
                raise ProfileError(f"instrument={name!r} is not a value of INSTRUME.")
    elif not callable(instrument):
        raise ProfileError(
            f"instrument={instrument!r} is not a text, a tuple of texts or a function."
        )
    return instrument


def _where(where: Any) -> Mapping:
    if not isinstance(where, Mapping):
        raise ProfileError(
            f"where={where!r} is not a dict of header cards; use where={{'CARD': 'value'}}."
        )
    return read_only(where)


def _amplifiers(amplifiers: Any) -> Any:
    if isinstance(amplifiers, Amplifier):
        raise ProfileError(
            "amplifiers=Amplifier(...) is not a list; use amplifiers=[Amplifier(...)]."
        )
    if callable(amplifiers):
        return amplifiers
    amplifiers = tuple(amplifiers)
    if not amplifiers:
        raise ProfileError("amplifiers=[] is empty; a camera has at least one.")
    check_types(amplifiers)
    return amplifiers


def _cards(cards: Any, field: str) -> Any:
    """Return one card, several as a tuple, a function, or None."""
    if cards is None or callable(cards):
        return cards
    cards = tuple(cards) if isinstance(cards, list) else cards
    _check_cards(cards if isinstance(cards, tuple) else (cards,), field)
    return cards


def _check_cards(cards: Sequence, field: str, *also: type) -> None:
    """Refuse what is neither the name of a card nor of a type that is allowed as well."""
    for card in cards:
        if not isinstance(card, (str, *also)) or not str(card).strip():
            raise ProfileError(f"{field}={card!r} is not the name of a header card.")


def _binning(binning: Any) -> Any:
    if binning is None or callable(binning):
        return binning
    cards = (binning,) if isinstance(binning, str) else tuple(binning)
    if len(cards) != 2:
        text = f"binning={binning!r} is not a pair of header cards; use two, that of the columns first."
        if len(cards) == 1 and isinstance(cards[0], str):
            text += (
                " If one card contains both numbers, such as '2 2', write "
                f"binning=lambda header: header[{cards[0]!r}].split()."
            )
        raise ProfileError(text)
    _check_cards(cards, "binning")
    return cards


def _match(match: Any) -> Any:
    if callable(match):
        raise ProfileError("match= is a function; use the names of cards, or a dict of them.")
    if isinstance(match, Card):
        raise ProfileError(f"match={match!r} is a single card; use match=({match!r},).")
    if not isinstance(match, Mapping):
        return _tuple_of_cards(match, "match", Card)
    for frame_type, cards in match.items():
        one_of(frame_type, STEPS, "match")
        if not isinstance(cards, tuple | list):
            raise ProfileError(
                f"match={match!r} contains {cards!r}, which is not a tuple of header cards; "
                "use match={'flat': ('CARD',)}."
            )
        _check_cards(cards, "match", Card)
    return read_only({frame_type: tuple(cards) for frame_type, cards in match.items()})


def _tuple_of_cards(cards: Any, field: str, *also: type) -> tuple:
    if isinstance(cards, str):
        raise ProfileError(f"{field}={cards!r} is a single text; use {field}=({cards!r},).")
    if not isinstance(cards, tuple | list):
        raise ProfileError(
            f"{field}={cards!r} is not a tuple of header cards; use {field}=('CARD',)."
        )
    _check_cards(cards, field, *also)
    return tuple(cards)


def _ignore_cards(cards: Any, match: tuple | Mapping) -> tuple[str, ...]:
    ignored = _tuple_of_cards(cards, "ignore_cards")
    matched = match if isinstance(match, tuple) else sum(match.values(), ())
    compared = {name for card in matched for name in spellings(card)}
    for card in ignored:
        if card in compared:
            raise ProfileError(
                f"ignore_cards names {card!r}, which match= compares; remove it from one of them."
            )
    return ignored


def _frame_types(frame_types: Any) -> Mapping:
    if not isinstance(frame_types, Mapping):
        raise ProfileError(
            f"frame_types={frame_types!r} is not a dict of words; use frame_types={{'LIGHT': "
            "'science'}."
        )
    for word, frame_type in frame_types.items():
        if frame_type is not None and frame_type not in FRAME_TYPES:
            raise ProfileError(
                f"frame_types maps {word!r} to {frame_type!r}, which is not one of "
                f"{', '.join(FRAME_TYPES)} or None{nearest(frame_type, FRAME_TYPES)}."
            )
    return read_only({lower_word(word): kind for word, kind in frame_types.items()})


def _file_types(file_types: Any) -> Mapping:
    if not isinstance(file_types, Mapping):
        raise ProfileError(
            f"file_types={file_types!r} is not a dict of patterns; use file_types={{'Dark_*': "
            "'dark'}."
        )
    for pattern, frame_type in file_types.items():
        if not isinstance(pattern, str) or not pattern.strip():
            raise ProfileError(
                f"file_types: {pattern!r} is not a pattern of a path; use a text such as 'Dark_*'."
            )
        if frame_type is not None:
            one_of(frame_type, FRAME_TYPES, f"file_types: {pattern!r}", " or None")
    return read_only(file_types)


def checked_frame_size(
    frame_size: Any, amplifiers: Sequence[Amplifier]
) -> tuple[int, int] | Mapping[int | str, tuple[int, int]]:
    """Return ``frame_size=`` as tuples.

    Raises
    ------
    ProfileError
        If it is not a size, or is smaller than the sections.
    """
    sizes = frame_size if isinstance(frame_size, Mapping) else {None: frame_size}
    for size in sizes.values():
        if not (several(size) and len(size) == 2 and all(map(_is_length, size))):
            raise ProfileError(
                f"frame_size={size!r} is not the size of a frame; use its unbinned columns and rows, such as frame_size=(4109, 4096)."
            )
    tuples = {extension: tuple(size) for extension, size in sizes.items()}
    result = read_only(tuples) if isinstance(frame_size, Mapping) else tuples[None]
    for amplifier in amplifiers:
        _check_reach(amplifier, declared_size(result, amplifier.extension), tuples)
    return result


def _check_reach(
    amplifier: Amplifier, size: tuple[int, int] | None, sizes: Mapping[Any, tuple]
) -> None:
    """Refuse a frame size that is smaller than the sections of an amplifier."""
    if size is None:
        raise ProfileError(
            f"frame_size= has no size for the extension {amplifier.extension!r} of an "
            f"amplifier, only for {', '.join(map(repr, sizes))}."
        )
    columns, rows = sections_reach([amplifier])
    if (columns or 0) > size[0] or (rows or 0) > size[1]:
        texts = (amplifier.data, *amplifier.strips, amplifier.parallel_overscan)
        sections = " or ".join(text for text in texts if text)
        raise ProfileError(
            f"section {sections} is outside frame_size={size}; correct one of them (both are unbinned, columns first)."
        )


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
