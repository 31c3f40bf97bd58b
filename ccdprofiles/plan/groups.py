"""Which frames make one master: those of one kind with the same settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf

from ..camera.corrections import used_corrections
from .candidates import Settings, read_out, temperature_tolerance
from .frames import Frame
from .match_cards import (
    cards_of,
    divided_by_cards,
    exact_match,
    match_of,
    matched_settings,
    mean_match,
)
from .missing import mixed_setup
from .reason import Reason
from .setup_cards import CHIP, SETUP, FrameSetup, differing_places, mean_setup, same_setup, shown
from .unlisted_cards import about_readout, dividing_cards
from .wording import card_value, cards_phrase, in_filter, plural, seconds, tally, temperature_range

__all__ = ["Part", "Split", "groups_of", "split_by_cards", "split_by_settings"]


@dataclass(frozen=True)
class Part:
    """Frames of one type that were taken with the same settings.

    Parameters
    ----------
    frames : tuple of Frame
    others : tuple of (card, value)
        The cards that no profile lists and that divide them from other frames.
    notes : tuple of str
        Notes that follow the name of their master.
    among : str
        Their setting, if the group has several: ``" with GAIN = 100"``.
    by_temperature : bool
        Whether the temperature of the chip divides them from others.
    """

    frames: tuple[Frame, ...]
    others: tuple[tuple[str, object], ...] = ()
    notes: tuple[str, ...] = ()
    among: str = ""
    by_temperature: bool = False


@dataclass(frozen=True)
class Split:
    """A group of frames divided by their settings, with notes and refusals."""

    parts: tuple[Part, ...] = ()
    notes: tuple[str, ...] = ()
    refused: tuple[Reason, ...] = ()


def groups_of(kind: str, frames: Sequence[Frame]) -> list[list[Frame]]:
    """Group the frames of a type; each group makes one master if its cards and settings agree."""
    groups: dict[tuple, list[Frame]] = {}
    for frame in frames:
        filter = frame.filter if kind in ("flat", "arc") else None
        match = exact_match(match_of(kind, frame), cards_of(kind, frame))
        read = read_out(frame), frame.amplifier_key
        key = (frame.origin, read, match, _treatment(kind, frame), filter)
        groups.setdefault(key, []).append(frame)
    if kind == "dark":
        return [of_one for group in groups.values() for of_one in _by_exposure(group)]
    return list(groups.values())


def split_by_cards(
    kind: str, groups: Iterable[list[Frame]]
) -> tuple[list[list[Frame]], tuple[str, ...]]:
    """Divide groups by the cards of ``match`` that are compared as numbers, and note the division."""
    parts, notes = [], []
    for group in groups:
        divided = divided_by_cards(kind, group)
        parts += divided
        if divided[1:]:
            notes.append(_division(kind, divided))
    return parts, tuple(notes)


def _division(kind: str, parts: Sequence[Sequence[Frame]]) -> str:
    """Note by which cards of ``match`` frames are divided, and how many have which value."""
    files = [f.file for part in parts for f in part]
    texts = []
    for pairs in zip(*(mean_match(kind, part) for part in parts), strict=True):
        values = [card_value(value) for _, value in pairs]
        each = [v for part, v in zip(parts, values, strict=True) for _ in part]
        if len({*values}) > 1:
            names = dict.fromkeys(name for name, value in pairs if value is not None)
            texts.append(f"{'/'.join(names)} is {tally(each, files)}")
    return _divided(f"{len(files)} {_described(kind, parts[0][0])}", "; ".join(texts))


def _divided(what: str, differences: str) -> str:
    return (
        f"the {what} were taken with different settings ({differences}); only frames with the same "
        "settings are combined"
    )


def _treatment(kind: str, frame: Frame) -> str:
    """Return the steps of the recipe for a frame; frames of different recipes are not combined."""
    recipe = frame.recipe
    of_flat = (recipe.flat, recipe.electrons) if kind == "flat" else ()
    corrections = used_corrections(recipe, kind)
    used = (corrections,) if corrections else ()
    return repr((recipe.overscan, recipe.combine_for(kind), *of_flat, *used))


def _by_exposure(darks: list[Frame]) -> Iterator[list[Frame]]:
    """Divide darks by exposure; those that differ by less than 1 % and the tolerance are one."""
    recipe = darks[0].recipe
    group: list[Frame] = []
    for frame in sorted(darks, key=lambda f: (f.exposure or 0, f.file)):
        first = group[0].exposure or 0 if group else frame.exposure or 0
        if (frame.exposure or 0) - first > min(recipe.tolerance_for(first), 0.01 * first):
            yield sorted(group, key=lambda f: f.file)
            group = []
        group.append(frame)
    yield sorted(group, key=lambda f: f.file)


def split_by_settings(kind: str, frames: Sequence[Frame], settings: Settings) -> Split:
    """Divide the frames of one master by their settings, and note where they differ.

    Parameters
    ----------
    kind : {"bias", "dark", "flat", "arc"}
    frames : sequence of Frame
        As `groups_of` returns them.
    settings : Settings
    """
    elsewhere = matched_settings(kind, frames[0])
    setups = [setup.without(elsewhere) for setup in settings.of_all(frames)]
    tolerance = temperature_tolerance(frames[0], kind)
    limited = frames[0].recipe.limits.temperature_of(kind) is not None
    drifting = kind == "bias" and not limited
    limit = inf if kind in ("flat", "arc") and not limited else tolerance
    labels = same_setup(setups, limit, drifting)
    groups = [[f for f, n in zip(frames, labels, strict=True) if n == m] for m in sorted({*labels})]
    combined = groups if drifting else [frames] if limit == inf else []
    notes = [n for group in combined for n in _drift_notes(kind, group, tolerance, settings)]
    by_cards = [_by_unlisted_cards(kind, group) for group in groups]
    parts = [part for group in by_cards for part in group]
    if len(parts) == 1:
        return Split(tuple(parts), tuple(notes))
    means = [mean_setup(settings.of_all(group)).without(elsewhere) for group in groups]
    places = differing_places(setups, limit, drifting)
    differences = _differences(groups, means, places, parts, tolerance)
    what = f"{len(frames)} {_described(kind, frames[0])}"
    if frames[0].profile.mixed_setup == "refuse":
        refused = tuple(mixed_setup(frame, what, differences) for frame in frames)
        return Split((), tuple(notes), refused)
    notes.append(_divided(what, differences))
    named = (
        replace(part, among=_setting(part, places, settings), by_temperature=CHIP in places)
        for part in parts
    )
    return Split(tuple(named), tuple(notes))


def _drift_notes(
    kind: str, frames: Sequence[Frame], tolerance: float, settings: Settings
) -> Iterator[str]:
    """Note frames of several chip temperatures that are still combined.

    The response of a pixel and the level of a bias hardly depend on the temperature;
    the dark current does, and each flat has its own dark subtracted.
    """
    chips = [setup.chip for setup in settings.of_all(frames) if setup.chip is not None]
    if chips and max(chips) - min(chips) > tolerance:
        why = "bias level hardly depends" if kind == "bias" else "response hardly depends"
        yield (
            f"the chips of {len(frames)} {_described(kind, frames[0])} were at "
            f"{temperature_range(chips)}; they are combined, because the {why} on it"
        )


def _by_unlisted_cards(kind: str, frames: Sequence[Frame]) -> list[Part]:
    """Divide frames by unlisted cards that describe the read-out; note the others."""
    cards = dividing_cards([f.header for f in frames], kind, frames[0].profile)
    clear = [(card, values) for card, values in cards if about_readout(card)]
    parts: dict[tuple, list[Frame]] = {}
    for number, frame in enumerate(frames):
        parts.setdefault(tuple(values[number] for _, values in clear), []).append(frame)
    files = [f.file for f in frames]
    unclear = [
        f"{card} is {tally([card_value(v) for v in values], files)}"
        for card, values in cards
        if not about_readout(card)
    ]
    notes: tuple[str, ...] = ()
    if unclear:
        more = f"; {len(unclear) - 3} other cards differ too" if unclear[3:] else ""
        what = "light or the read-out" if kind in ("flat", "arc") else "read-out"
        notes = (
            f"{'; '.join(unclear[:3])}{more}; add a card that changes the {what} to "
            "match=, and one that does not to ignore_cards=",
        )
    names = [card for card, _ in clear]
    return [
        Part(tuple(members), tuple(zip(names, values, strict=True)), notes)
        for values, members in parts.items()
    ]


def _setting(part: Part, places: Sequence[int], settings: Settings) -> str:
    """Write the settings that distinguish a part from the others."""
    mean = mean_setup(settings.of_all(part.frames))
    # The temperature of a chip is a field of the master itself.
    text = mean.phrase(p for p in places if p != CHIP)
    return text + cards_phrase(part.others, text)


def _differences(
    groups: Sequence[Sequence[Frame]],
    means: Sequence[FrameSetup],
    places: Sequence[int],
    parts: Sequence[Part],
    tolerance: float,
) -> str:
    """Describe which cards differ, and in how many frames they have which value."""
    files = [f.file for group in groups for f in group]
    # Groups that another card divides have the same temperature within its jitter.
    digits = 1 if tolerance >= 2 else 2
    texts = []
    for place in places:
        values = [_rounded(place, mean.values[place], digits) for mean in means]
        each = [value for group, value in zip(groups, values, strict=True) for _ in group]
        cards = {m.cards[place] for m in means if m.values[place] is not None}
        texts.append(f"{'/'.join(sorted(cards))} is {tally(each, files)}")
    files = [f.file for part in parts for f in part.frames]
    for card in sorted({card for part in parts for card, _ in part.others}):
        own = [dict(p.others).get(card, p.frames[0].header.get(card)) for p in parts]
        each = [card_value(v) for p, v in zip(parts, own, strict=True) for _ in p.frames]
        texts.append(f"{card} is {tally(each, files)}")
    return "; ".join(texts)


def _rounded(place: int, value: float | str | None, digits: int) -> str:
    if SETUP[place].within and value is not None and not isinstance(value, str):
        value = round(value, digits) + 0.0
    return shown(place, value)


def _described(kind: str, frame: Frame) -> str:
    """Write the frames of a type: ``"darks of 300 s of lfc"``."""
    of_dark = f" of {seconds(frame.exposure)}" if kind == "dark" else ""
    of_light = in_filter(frame.filter) if kind in ("flat", "arc") else ""
    return f"{plural(kind)}{of_dark}{of_light} of {frame.profile.name}"
