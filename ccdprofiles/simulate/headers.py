"""The headers of simulated frames, as the instrument writes them and the profile reads them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from astropy.io import fits

from ..camera.header_values import time_of
from ..camera.profile import Profile
from ..camera.settings import within
from ..camera.values import several
from ..errors import FrameRejected, ProfileError
from .cameras import CAMERAS, Camera
from .exposures import Exposure, Exposures
from .observatories import OBSERVATORIES

__all__ = ["HINT", "SCIENCE", "camera_of", "frame_header", "readable", "set_card"]

HINT = "use a header= in simulate_night that writes the cards the profile reads."
"""What to do if a profile cannot read a simulated header."""

_SERIES = Exposures("science", 1, 1.0)
SCIENCE = Exposure(
    "science", 1.0, None, "field", datetime(2020, 3, 17, 21), 1, 1, 1, (1, 1), _SERIES
)
"""A science frame, for what is the same in all frames of a camera."""


@contextmanager
def readable(profile: Profile) -> Iterator[None]:
    """Refuse a profile with a function that reads a card which simulated headers lack."""
    try:
        yield
    except (KeyError, TypeError) as error:
        why = str(error.args[0] if error.args else error).rstrip(".")
        raise ProfileError(
            f"{profile.name}: a function of the profile fails on a simulated header ({why}); {HINT}"
        ) from error


def camera_of(profile: Profile) -> Camera:
    """Return the instrument whose headers fit a profile, or a generic camera, on a valid date."""
    every = (*CAMERAS, *OBSERVATORIES) if profile.instruments else ()
    undated = replace(profile, valid=None)
    camera = next((c for c in every if undated.fits(_filled(c.cards(SCIENCE)))), Camera())
    if profile.valid is None or within(time_of(camera.date) or 0.0, profile.valid):
        return camera
    start, end = (None if d is None else datetime.fromisoformat(d) for d in profile.valid)
    day = end - timedelta(days=1) if start is None and end else start
    return replace(camera, date=f"{day:%Y-%m-%d}T12:00:00")


def frame_header(
    profile: Profile, camera: Camera, shot: Exposure, more: Callable[..., Mapping] | None
) -> fits.Header:
    """Return the header of a frame.

    Parameters
    ----------
    profile : Profile
    camera : Camera
        Writes its usual cards.
    shot : Exposure
    more : callable or None
        Returns further cards, as ``header=`` of `ccdprofiles.simulate_night`.

    Raises
    ------
    ProfileError
        If the profile would read other values from it.
    """
    header = _filled(camera.cards(shot))
    _complete(header, profile, shot)
    if more is not None:
        cards = more(shot.type, shot.exposure, shot.filter, shot.number)
        if isinstance(cards, fits.Header):
            header.update(cards)
        else:
            for card, value in cards.items():
                set_card(header, card, value)
    _check_recognised(header, profile, shot)
    return header


def set_card(header: fits.Header, card: str, value: object) -> None:
    """Write a card, whose name may be longer than eight letters."""
    long = len(card) > 8 and card not in header and not card.startswith("HIERARCH ")
    header[f"HIERARCH {card}" if long else card] = value


def _filled(cards: Mapping) -> fits.Header:
    header = fits.Header()
    header.update(cards)
    return header


def _complete(header: fits.Header, profile: Profile, shot: Exposure) -> None:
    """Write the cards that the profile reads, if the instrument does not write them."""
    if profile.instruments and not profile.knows(header):
        header["INSTRUME"] = _plainly(profile.instruments[0])
    for _ in profile.where:
        disagreement = profile.disagreement(header)
        if disagreement is None:
            break
        card = disagreement.split(" = ")[0]
        wanted = profile.where[card]
        value = next(iter(wanted)) if several(wanted) else wanted
        set_card(header, card, _plainly(value) if isinstance(value, str) else value)
    if _value_of(profile.frame_type_of, header) != shot.type:
        words = [w for w, kind in profile.frame_types.items() if kind == shot.type]
        word = shot.type if shot.type in words or not words else words[0]
        set_card(header, _first(profile.frame_type, "IMAGETYP"), word.upper())
    if _value_of(profile.exposure_of, header) != shot.exposure and profile.exposure is not None:
        set_card(header, _first(profile.exposure, "EXPTIME"), shot.exposure)
    for name, value, card in (
        ("filter", shot.filter, "FILTER"),
        ("object", shot.object, "OBJECT"),
        ("date", f"{shot.day}T{shot.time}", "DATE-OBS"),
    ):
        cards = getattr(profile, name)
        missing = cards is not None and profile.text_of(name, header) is None
        if value and missing and not (name == "object" and not shot.lit):
            set_card(header, _first(cards, card), value)
    if callable(profile.binning):
        if _value_of(profile.binning_of, header) != shot.binning:
            header["CCDSUM"] = f"{shot.binning[0]} {shot.binning[1]}"
    elif profile.binning is not None:
        for card, number in zip(profile.binning, shot.binning, strict=True):
            set_card(header, card, number)


def _check_recognised(header: fits.Header, profile: Profile, shot: Exposure) -> None:
    """Refuse a frame that the profile would set aside."""
    if not profile.fits(header):
        raise ProfileError(f"{shot.file}: the profile does not recognise its own camera; {HINT}")
    checks: list[tuple[str, Callable, object]] = [("type", profile.frame_type_of, shot.type)]
    if profile.exposure is not None and shot.type != "bias":
        checks.append(("exposure", profile.exposure_of, shot.exposure))
    if profile.binning is not None:
        checks.append(("binning", profile.binning_of, shot.binning))
    if profile.filter is not None and shot.filter:
        checks.append(
            ("filter", lambda h: profile.text_of("filter", h) or shot.filter, shot.filter)
        )
    for what, read, wanted in checks:
        value = _value_of(read, header)
        if value != wanted:
            raise ProfileError(
                f"{shot.file}: the profile reads {what} {value!r} instead of {wanted!r}; {HINT}"
            )


def _value_of(read: Callable, header: Mapping) -> object:
    try:
        return read(header)
    except FrameRejected:
        return None


def _first(cards: Any, otherwise: str) -> str:
    if isinstance(cards, str):
        return cards
    return otherwise if callable(cards) or not cards else cards[0]


def _plainly(pattern: str) -> str:
    """Return a text that matches a shell pattern."""
    text = re.sub(r"\[(.)[^]]*\]", lambda m: "x" if m[1] == "!" else m[1], pattern)
    text = text.replace("*", "").replace("?", "x").strip()
    return text if fnmatch.fnmatchcase(text, pattern.strip()) else re.sub(r"[*?]", "x", pattern)
