"""The further cards of a profile, ``match=``, that a master and the frames it serves must share."""

from __future__ import annotations

from collections.abc import Sequence

from ..camera.cards import Card, card_text, matched_cards
from .frames import Frame
from .setup_cards import SETUP

__all__ = [
    "Match",
    "cards_of",
    "differing_cards",
    "divided_by_cards",
    "exact_match",
    "match_of",
    "matched_settings",
    "mean_match",
    "unknown_cards",
]

Match = tuple[tuple[str, str | None], ...]
"""Cards and their values as texts; None if a header has no such card."""


def cards_of(kind: str, frame: Frame) -> Sequence[str | Card]:
    """Return the further cards that a master of a type shares with a frame; an arc those of a flat."""
    return matched_cards(frame.profile.match, "flat" if kind == "arc" else kind)


def match_of(kind: str, frame: Frame) -> Match:
    """Return the further cards of a frame that a master of a type shares, and their values."""
    if not frame.profile.match:
        return ()
    return frame.profile.match_of("flat" if kind == "arc" else kind, frame.header)


def matched_settings(kind: str, frame: Frame) -> frozenset[int]:
    """Return the settings of `SETUP` that a `Card` with a tolerance compares in their place."""
    tolerant = [c for c in cards_of(kind, frame) if isinstance(c, Card) and c.tolerates]
    names = {name.upper() for card in tolerant for name in card.cards}
    if not names:
        return frozenset()
    return frozenset(p for p, quantity in enumerate(SETUP) if names.intersection(quantity.cards))


def exact_match(match: Match, cards: Sequence[str | Card]) -> Match:
    """Return the cards that are compared as exact texts, and their values."""
    if not any(isinstance(card, Card) for card in cards):
        return match
    pairs = zip(match, cards, strict=True)
    return tuple(pair for pair, card in pairs if not isinstance(card, Card))


def divided_by_cards(kind: str, frames: Sequence[Frame]) -> list[list[Frame]]:
    """Divide frames that share all exact texts by the cards that have a tolerance or spellings.

    No group is wider than the tolerance of a card, and the groups do not depend on the order of the
    frames.
    """
    groups = [[*frames]]
    for card in cards_of(kind, frames[0]):
        if isinstance(card, Card):
            groups = [part for group in groups for part in _divided(card, group)]
    return groups


def _divided(card: Card, frames: Sequence[Frame]) -> list[list[Frame]]:
    """Divide frames by one card; the groups are in the order of their first frames."""
    groups: dict[int, list[Frame]] = {}
    numbers = card.groups([card.read(frame.header)[1] for frame in frames])
    for frame, number in zip(frames, numbers, strict=True):
        groups.setdefault(number, []).append(frame)
    return [*groups.values()]


def mean_match(kind: str, frames: Sequence[Frame]) -> Match:
    """Return the further cards of a master: the values of its frames, means of those that differ."""
    match = match_of(kind, frames[0])
    cards = cards_of(kind, frames[0])
    if exact_match(match, cards) is match:
        return match
    pairs = zip(match, cards, strict=True)
    return tuple(_mean(card, frames) if isinstance(card, Card) else pair for pair, card in pairs)


def _mean(card: Card, frames: Sequence[Frame]) -> tuple[str, str | None]:
    read = [card.read(frame.header) for frame in frames]
    name = next((name for name, value in read if value is not None), card.cards[0])
    return name, card_text(card.mean([value for _, value in read]))


def differing_cards(kind: str, match: Match, frame: Frame) -> list[str]:
    """Return why the further cards of a master do not agree with those of a frame.

    Parameters
    ----------
    kind : {"bias", "dark", "flat", "arc"}
    match : tuple of (card, value)
        Of the master.
    frame : Frame

    Returns
    -------
    list of str
        For every card that differs the value of the master, and where a `Card` compares
        them that of the frame with the tolerance.
    """
    own, cards = match_of(kind, frame), cards_of(kind, frame)
    if match == own:
        return []
    texts = []
    for card, (name, its), (my_name, mine) in zip(cards, match, own, strict=True):
        if not isinstance(card, Card):
            texts += [] if its == mine else [f"{name} = {its}"]
        elif not card.agrees(its, mine):
            value = "missing" if its is None else f"= {its}"
            texts.append(f"{name} {value}, but the frame has {my_name} = {mine}{card.tolerance}")
    return sorted(texts)


def unknown_cards(kind: str, match: Match, frame: Frame) -> tuple[tuple[str, str | None], ...]:
    """Return the further cards of a master that a frame lacks, so that a note is due."""
    own, cards = match_of(kind, frame), cards_of(kind, frame)
    if match == own:
        return ()
    return tuple(
        pair
        for card, pair, (_, mine) in zip(cards, match, own, strict=True)
        if isinstance(card, Card) and card.unknown(pair[1], mine)
    )
