"""Why a raw frame is refused because of its header, and what is noted about the header."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain

from ..camera.cards import spellings
from ..camera.colours import unread_pattern
from ..camera.contents import Cards
from ..camera.extensions import expanded
from ..camera.header_values import UNKNOWN
from ..camera.profile import Profile
from ..camera.settings import period_text, why_unknown
from ..errors import FrameRejected
from ..files.raw import RawFile
from .extensions import unused_images
from .frames import Frame
from .reason import Reason

__all__ = ["notes_of", "refuse", "refuse_cubes"]

_PLAIN = bytes(range(32, 127))
_TWINS = {"EXPTIME": "EXPOSURE", "EXPOSURE": "EXPTIME"}

# Cards of IRAF, of ccdproc and of MaxIm that no camera writes.
_REDUCED = ("ZEROCOR", "DARKCOR", "FLATCOR", "CALSTAT", "CCDPROC", "SUBBIAS", "SUBDARK")
_REDUCED_HISTORY = re.compile(
    rb"HISTORY +((?:Bias|Dark) (?:Subtraction|corrected with)|Flat (?:Field|corrected with))\b"
)
_UNITS = {
    "adu": "adu adus dn count counts ct cts",
    "electron": "electron electrons e e- photoelectrons",
}
_WORDS = {
    "read_noise": "read noise",
    "saturation": "saturation level",
    "linear": "limit of linearity",
}
_RATES = ("/s", "/sec", "/second", " s-1", " s^-1")


def refuse_cubes(raw: RawFile) -> None:
    """Refuse a file with several planes in one image.

    Raises
    ------
    FrameRejected
    """
    for image in raw.images:
        if image.planes == 3:
            raise FrameRejected(
                "cube",
                "it is a cube of 3 planes, probably a colour image that was debayered, but the raw "
                "image was expected, as debayering mixes pixels before their dark and flat are "
                "removed; save raw frames (RAW16) in the capture program, or write each plane to "
                "its own file.",
            )
        if image.planes > 1:
            raise FrameRejected(
                "cube",
                f"it is a cube of {image.planes} planes, but one image was "
                "expected; write each plane to its own file.",
            )


def refuse(frame: Frame) -> None:
    """Refuse a frame whose header contradicts itself, or that is calibrated or has no exposure.

    Raises
    ------
    FrameRejected
    """
    _refuse_twice(frame)
    _refuse_reduced(frame)
    _refuse_exposure(frame)


def _refuse_twice(frame: Frame) -> None:
    """Refuse a frame in which a card that matters occurs twice with different values."""
    header = frame.raw.header
    if not header.conflicting and (header.primary is None or not header.primary.conflicting):
        return
    for card in _deciding(frame.profile):
        if frame.header.conflicts(card):
            raise FrameRejected(
                "twice",
                f"{card} occurs twice in its header with different values; correct the header.",
            )


def _deciding(profile: Profile) -> Iterator[str]:
    """Return the cards that a profile reads; a function may read any."""
    yield "INSTRUME"
    yield from profile.where
    for cards in (
        profile.frame_type,
        profile.exposure,
        profile.filter,
        profile.binning,
        profile.window,
    ):
        yield from _cards_of(cards)
    if not callable(profile.amplifiers):
        yield from chain.from_iterable(a.cards for a in profile.amplifiers)
    match = profile.match
    matched = chain.from_iterable(match.values()) if isinstance(match, Mapping) else match
    yield from chain.from_iterable(map(spellings, matched))


def _cards_of(field: Cards) -> Sequence[str]:
    """Return the cards that a field of a profile names; none where a function stands."""
    if field is None or callable(field):
        return ()
    return (field,) if isinstance(field, str) else field


def _refuse_reduced(frame: Frame) -> None:
    """Refuse a frame that is already calibrated according to its header."""
    cards = [card for card in _REDUCED if frame.header.get(card)]
    if cards:
        raise FrameRejected(
            "already-reduced",
            f"{', '.join(cards)} {'show' if cards[1:] else 'shows'} that it is already calibrated; use the raw frame.",
        )
    block = frame.header.block
    if b"HISTORY" in block and (line := _REDUCED_HISTORY.search(block)):
        raise FrameRejected(
            "already-reduced",
            f"HISTORY {line[1].decode()!r} shows that it is already calibrated; use the raw frame.",
        )
    unit = str(frame.header.get("BUNIT", "")).strip().lower()
    if not unit:
        return
    electrons = _unit_of(unit) == "electron" and str(frame.profile.unit) != "electron"
    if electrons or unit.endswith(_RATES):
        raise FrameRejected(
            "already-reduced",
            f"BUNIT = {unit!r}, but {frame.profile.name} expects raw {frame.profile.unit}; "
            "use the raw frame.",
        )


def _refuse_exposure(frame: Frame) -> None:
    """Refuse a dark of zero exposure, and a frame for which no dark can be chosen."""
    profile = frame.profile
    if frame.type == "bias":
        return
    cards = profile.exposure if isinstance(profile.exposure, str) else "the exposure"
    if frame.exposure is None and frame.recipe.dark:
        raise FrameRejected(
            "exposure",
            f"{cards} is missing, so no dark can be chosen for this {frame.type}; "
            f"correct the header, or change exposure= in {profile.name}.",
        )
    if frame.type == "dark" and frame.exposure == 0:
        raise FrameRejected(
            "exposure",
            f"{cards} = 0 for a dark; if this camera labels its biases "
            "as darks, let frame_type= in its profile return bias.",
        )


def notes_of(frame: Frame, forced: bool) -> tuple[Reason, ...]:
    """Return what is unusual about a frame that is used.

    Parameters
    ----------
    frame : Frame
    forced : bool
        Whether its profile was chosen by the caller for all frames.
    """
    texts = [*_oddities(frame), *_other_exposure(frame), *_other_unit(frame)]
    texts += unused_images(frame)
    if frame.profile.amplifiers_vary:
        texts += dict.fromkeys(_unknown_numbers(frame))
    if frame.profile.valid is not None:
        texts += _without_date(frame)
    if forced:
        texts += _of_another_camera(frame)
    return tuple(Reason.note(frame.file, text) for text in texts)


def _oddities(frame: Frame) -> Iterator[str]:
    raw, header = frame.raw, frame.header
    if not raw.padded:
        yield "its last FITS block is incomplete, but no pixel is missing."
    if any(image.axes > 2 for image in raw.images):
        yield "a cube of one plane, used as an image."
    if twice := header.conflicting:
        cards = ", ".join(sorted(twice))
        yield f"{cards} {'occur' if len(twice) > 1 else 'occurs'} twice in its header with different values; the first is used."
    if header.block.translate(None, _PLAIN):
        yield "its header contains bytes that FITS does not allow; they are read as \ufffd."
    # The bytes are searched, as a note costs time in each of 20,000 headers.
    if b"BAYERPAT" in header.block and (odd := unread_pattern(header)):
        yield (
            f"{odd} is not a pattern of two by two colours; it is used as a monochrome image, and a "
            "flat changes the balance of its colours."
        )
    if frame.mosaic is not None and frame.binning != (1, 1):
        columns, rows = frame.binning
        yield (
            f"a mosaic of colours ({frame.mosaic.pattern}) binned {columns}x{rows}; if the binning "
            "mixed its colours, use it as a monochrome image; its flats are right in both cases."
        )
    for card in _cards_of(frame.profile.exposure):
        value = header.get(card)
        known = isinstance(value, str) and value.strip().lower() not in UNKNOWN
        if known and frame.exposure is not None:
            yield f"{card} = {value!r} is text, read as {frame.exposure:g} s."


def _other_exposure(frame: Frame) -> Iterator[str]:
    """Note the exposure of the other usual card if the two do not agree."""
    taken = next((c for c in _cards_of(frame.profile.exposure) if c in frame.header), None)
    other = _TWINS.get(taken or "")
    if other is None or other not in frame.header or frame.exposure is None:
        return
    value = frame.header[other]
    if not isinstance(value, int | float | str):
        return
    try:
        seconds = float(value)
    except ValueError:
        return
    if abs(seconds - frame.exposure) > max(0.1, 0.01 * frame.exposure):
        yield (
            f"{taken} = {frame.exposure:g} s is used, but {other} = {seconds:g}; if {other} is right, "
            f"use exposure={other!r} in {frame.profile.name}."
        )


def _other_unit(frame: Frame) -> Iterator[str]:
    """Note a unit that differs from that of the profile."""
    unit, profile = str(frame.header.get("BUNIT", "")).strip(), frame.profile
    if unit and _unit_of(unit) not in ("", _unit_of(profile.unit)):
        yield f"BUNIT = {unit!r}, but the unit {profile.unit} of {profile.name} is used."


def _unknown_numbers(frame: Frame) -> Iterator[str]:
    """Note the value of a card, or the date, that the table of a number does not have."""
    profile = frame.profile
    given = () if callable(profile.amplifiers) else profile.amplifiers
    own = profile.chips.get(frame.chip)
    for amplifier in expanded(given, frame.raw.shapes):
        if own is not None and amplifier.name not in own:
            continue
        header = frame.raw.headers.get(amplifier.extension, frame.header)
        for field in amplifier.varies:
            if why := why_unknown(getattr(amplifier, field), header):
                yield (
                    f"{why}, so its {_WORDS.get(field, field)} is not known; add the number to "
                    f"{field}= in {profile.name}."
                )


def _without_date(frame: Frame) -> Iterator[str]:
    """Note a frame whose date cannot be read, if the profile is not for all dates."""
    profile, valid = frame.profile, frame.profile.valid
    if valid is not None and profile.is_valid_for(frame.header) is None:
        date = "is missing" if frame.date is None else f"{frame.date[:60]!r} cannot be read"
        yield (
            f"its date {date}, so it is not known whether the profile {profile.name}, which is valid "
            f"{period_text(valid)}, is the right one; it is used. Correct the header."
        )


def _of_another_camera(frame: Frame) -> Iterator[str]:
    """Note a card because of which the profile chosen by the caller would not fit.

    A missing card is not noted, because it is often the reason for the choice.
    """
    header, profile = frame.header, frame.profile
    why = ""
    if profile.instruments and "INSTRUME" in header and not profile.knows(header):
        names = " or ".join(repr(name) for name in profile.instruments)
        why = f"INSTRUME = {header['INSTRUME']!r}, but the profile {profile.name} is for {names}"
    elif all(card in header for card in profile.where) and (other := profile.disagreement(header)):
        why = f"{other}, which the profile {profile.name} expects"
    elif profile.valid is not None and profile.is_valid_for(header) is False:
        why = (
            f"its date {frame.date} is outside the dates of the profile {profile.name}, "
            f"{period_text(profile.valid)}"
        )
    if why:
        yield (
            f"{why}; this profile was chosen for all frames and is used. "
            "Check that it is the profile of this camera."
        )


@lru_cache
def _unit_of(text: object) -> str:
    """Read a unit: adu, electron, its own text if it is another, empty if there is none."""
    word = str(text).strip().lower()
    if word.startswith(("unsigned", "signed")) or word in ("none", "unknown", "n/a"):
        return ""
    return next((unit for unit, words in _UNITS.items() if word in words.split()), str(text))
