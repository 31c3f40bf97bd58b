"""The names of masters and products: each contains what distinguishes it from the others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..camera.area import DetectorArea
from ..files.layout import CHIPS, MASTERS, SCIENCE
from .frames import Frame
from .plan import Master
from .setup_cards import FrameSetup, plain_value, setting_words, word_for
from .wording import file_name, seconds

__all__ = ["Draft", "master_names", "product_names"]

_SUFFIXES = re.compile(r"(?i)(\.(fits|fit|fts|new))?(\.(gz|fz))?$")


@dataclass(frozen=True)
class Draft:
    """A master that has no name yet.

    Parameters
    ----------
    master : Master
    setup : FrameSetup
        The mean of its frames.
    frames : tuple of Frame
    others : tuple of (card, value)
        The cards that no profile lists and that divide its frames from others.
    tolerance : float
        In kelvin; colder and warmer masters have names of their own.
    notes : tuple of str
    night : str
        The date of the evening, if the folder has flats of several nights.
    """

    master: Master
    setup: FrameSetup
    frames: tuple[Frame, ...]
    others: tuple[tuple[str, object], ...]
    tolerance: float
    notes: tuple[str, ...] = ()
    night: str = ""


def master_names(drafts: Sequence[Draft], taken: Iterable[str]) -> list[str]:
    """Name masters; if two would share a name, the names contain the card in which they differ.

    Parameters
    ----------
    drafts : sequence of Draft
        Of one type.
    taken : iterable of str
        The names of other masters.
    """
    sharing: dict[str, list[int]] = {}
    for number, draft in enumerate(drafts):
        sharing.setdefault(_stem(draft.master, _chip_word(draft)).lower(), []).append(number)
    words: dict[int, list[str]] = {}
    for numbers in sharing.values():
        words.update(zip(numbers, _fewest_words([drafts[n] for n in numbers]), strict=True))
    # Some file systems do not distinguish R from r.
    lower = {name.lower() for name in taken}
    names = []
    for number, draft in enumerate(drafts):
        names.append(_free_name(draft, [*_chip_word(draft), *words[number]], lower))
        lower.add(names[-1].lower())
    return names


def _chip_word(draft: Draft) -> list[str]:
    """Return the chip of a master as a word of its name; no word if the camera has no chips."""
    chip = draft.frames[0].chip
    return [f"chip{chip}"] if chip else []


def _stem(master: Master, words: Sequence[str] = ()) -> str:
    """Return the name of a master without its folder, with words for its setting."""
    parts = [master.profile, master.type]
    if master.type == "dark":
        parts.append(seconds(master.exposure).replace(" ", ""))
    if master.type in ("flat", "arc"):
        parts += [value for value in (master.filter, *dict(master.match).values()) if value]
    parts += [*words, f"{master.binning[0]}x{master.binning[1]}"]
    return "_".join(file_name(part) for part in parts)[:180]


def _free_name(draft: Draft, words: Sequence[str], taken: set[str]) -> str:
    """Name a master, with a hash if no word distinguishes it from another."""
    master = draft.master
    stem = _stem(master, words)
    if f"{MASTERS}/{stem}.fits".lower() not in taken:
        return f"{MASTERS}/{stem}.fits"
    origin = draft.frames[0].origin
    what = [master.readout, master.match, master.filter, master.exposure, origin]
    what += [] if master.temperature is None else [master.temperature]
    return f"{MASTERS}/{stem}_{_short_hash(repr(tuple(what)))}.fits"


def _fewest_words(drafts: Sequence[Draft]) -> list[list[str]]:
    """Return for each of several masters the fewest words for settings that distinguish them."""
    chosen: list[list[str]] = [[] for _ in drafts]
    if len(drafts) == 1:
        return chosen
    columns = []
    if drafts[0].master.type in ("bias", "dark"):
        # Two headers may spell a card differently, so that it is identified by its place.
        for place, (card, _) in enumerate(drafts[0].master.match):
            columns.append([_card_word(card, d.master.match[place][1]) for d in drafts])
    columns.append([d.night for d in drafts])
    columns.append([_window_word(d.frames[0].area) for d in drafts])
    setups = [d.setup for d in drafts]
    columns += setting_words(setups, drafts[0].tolerance)
    for card in sorted({card for d in drafts for card, _ in d.others}):
        columns.append([_card_word(card, dict(d.others).get(card)) for d in drafts])
    # Groups of a temperature that drifts have means nearer than the tolerance.
    columns += setting_words(setups, 0.5)
    for column in columns:
        named = [[file_name(word)] if word else [] for word in column]
        finer = [words + name for words, name in zip(chosen, named, strict=True)]
        if _different(finer) > _different(chosen):
            chosen = finer
    return chosen


def _window_word(area: DetectorArea | None) -> str:
    """Return a word for the part of the detector of a master, such as ``x101-600_y1-500``."""
    if area is None:
        return ""
    s = area.section
    return f"x{s.first_column}-{s.last_column}_y{s.first_row}-{s.last_row}"


def _different(names: Iterable[Sequence[str]]) -> int:
    """Count names as in a file system that does not distinguish R from r."""
    return len({tuple(word.lower() for word in words) for words in names})


def _card_word(card: str, value: object) -> str:
    word = re.sub(r"[^a-z0-9]+", "_", " ".join(card.lower().split()[-2:]))
    return word_for(word, plain_value(value))


def product_names(frames: Iterable[Frame], taken: Iterable[str] = ()) -> list[str]:
    """Name the products of science frames, with a hash if two would share a name.

    Parameters
    ----------
    frames : iterable of Frame
    taken : iterable of str
        The names of other products.
    """
    taken = {name.lower() for name in taken}
    names = []
    for frame in frames:
        name = _product_name(frame)
        # Some file systems do not distinguish A.fits from a.fits.
        if name.lower() in taken:
            name = f"{name.removesuffix('.fits')}_{_short_hash(frame.file)}.fits"
        taken.add(name.lower())
        names.append(name)
    return names


def _product_name(frame: Frame) -> str:
    folder, slash, name = frame.raw_file.rpartition("/")
    stem = _SUFFIXES.sub("", name)
    if len(stem.encode()) > 180:
        # A name has 255 bytes at most, and the temporary one is longer.
        stem = stem.encode()[:170].decode(errors="ignore") + f"_{_short_hash(stem)}"
    stem += f"_chip{frame.chip}" if frame.chip else ""
    top = SCIENCE if not frame.chip or frame.profile.products != "mef" else f"{SCIENCE}/{CHIPS}"
    return f"{top}/{folder}{slash}{frame.recipe.name.format(stem=stem)}.fits"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
