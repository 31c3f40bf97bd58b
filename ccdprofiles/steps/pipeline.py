"""The functions of the reduction of a whole night that the single steps use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData

from ..camera.chips import several_chips
from ..camera.profile import Profile
from ..camera.recipe import Combine
from ..camera.registry import Registry
from ..camera.watch import watched
from ..errors import FrameRejected, PlanError
from ..files.cards import Cards
from ..files.header import ProductHeader
from ..pixels.bad_pixels import flag_bad_pixels
from ..pixels.calibrate import Noise
from ..pixels.combine import variance_factor
from ..pixels.measure import Measured, measure, take_level
from ..pixels.prepare import prepare, refuse_changes
from ..plan.frames import ACCEPTED, Frame
from ..plan.plan import Input
from ..plan.scan import Scanner
from ..products.band import Band
from ..products.header import add_mjd, ascii_text, combined_header
from ..reduce.corrections import bad_pixels_of
from ..reduce.inputs import bands_of, noise_of
from ..reduce.keywords import common_cards, level_cards, prepared_header, setup_cards
from ..reduce.request import is_exact
from .tracked import Master, Origin

__all__ = [
    "LETTERS",
    "add_history",
    "bands_of",
    "cards_of",
    "combined_cards",
    "exposure_of_all",
    "finite_or_flagged",
    "is_exact",
    "master_cards",
    "measured_frame",
    "merged",
    "noise_of_frame",
    "plane_of",
    "prepared_cards",
    "prepared_pixels",
    "scanned_frame",
    "step_cards",
]

_CARD = 72
"""Letters of one HISTORY card."""

LETTERS = {"bias": "B", "dark": "D", "flat": "F"}


@dataclass(frozen=True)
class _StepInputs:
    """The attributes of a job from which the cards of a product are written."""

    masters: Mapping[str, Master]
    without: tuple[str, ...] = ()
    changes: tuple[tuple[str, str], ...] = ()


def scanned_frame(profile: Profile, path: Path, name: str) -> Frame:
    """Read the header of a raw file.

    Raises
    ------
    FrameRejected
        If the frame cannot be used because of its header.
    PlanError
        If it is of a mosaic, and the profile of all its chips.
    """
    if len(profile.chips) > 1:
        raise PlanError(f"{name}: {several_chips(profile.name or 'the profile', profile.chips)}")
    with watched():
        (found,) = Scanner(Registry(()), forced=profile).frames(path, name)
    if found.verdict != ACCEPTED:
        raise FrameRejected(found.code, found.reason, str(path))
    return found


def measured_frame(frame: Frame, night_level: Sequence[float | None] | None) -> Measured:
    """Read the overscan of a frame; one too far from the level of the night gets that level."""
    recipe = frame.recipe
    measured = measure(frame.raw, frame.amplifiers, recipe)
    drift = recipe.overscan_drift
    if night_level is not None and drift is not None:
        measured = take_level(measured, night_level, drift.to_value("adu"))
    return measured


def prepared_pixels(frame: Frame, measured: Measured, dtype: str) -> CCDData:
    """Return the whole frame: overscan subtracted, trimmed, amplifiers side by side."""
    rows = frame.amplifiers.shape[0]
    unit = frame.profile.unit
    ccd = prepare([measured], 0, rows, unit=unit, dtype=dtype)
    ccd = flag_bad_pixels(ccd, bad_pixels_of(frame, 0, rows))
    refuse_changes([frame.raw])
    return CCDData(ccd.data[0], unit=ccd.unit, flags=None if ccd.flags is None else ccd.flags[0])


def noise_of_frame(frame: Frame, first: int = 0, stop: int | None = None) -> Noise:
    """Return gain and read noise of the rows of a frame."""
    amplifiers = frame.amplifiers
    stop = amplifiers.shape[0] if stop is None else stop
    return noise_of(amplifiers, frame.recipe, first, stop)


def plane_of(
    master: Master | None, bias: Master | None = None, pedestal: bool = False
) -> Band | None:
    """Return a master as the arithmetic takes it.

    Parameters
    ----------
    master : Master or None
    bias : Master, optional
        The bias that is subtracted together with this dark.
    pedestal : bool
        Whether the scatter of the dark's frames is the noise of the frame.
    """
    if master is None:
        return None
    scatter = None
    if pedestal and master.variance is not None:
        times = float(master.meta.get("NCOMBINE", 1)) / float(master.meta.get("CPINEFF", 1.0))
        scatter = master.variance * times
    same = bias is not None and master.meta.get("BIASSHA") == bias.sha256
    return Band(master.data, master.variance, master.flags, scatter, same or bias is None)


def prepared_cards(frame: Frame, measured: Measured) -> fits.Header:
    """Make the header of a prepared frame."""
    raw = frame.raw
    header = prepared_header(frame)
    header["CPTYPE"] = (frame.type, "what this frame is")
    if None in raw.shapes:
        rows, columns = raw.shapes[None]
        header["CPRAW"] = (f"{columns}x{rows}", "raw frame, columns x rows")
    header.update(_own_cards(frame, Input(frame.file), {}, frame.type))
    level_cards(header, [measured])
    return header.as_fits()


def step_cards(meta: fits.Header, origin: Origin, *masters: Master) -> fits.Header:
    """Return the header of a frame after masters have been subtracted."""
    used = {m.type: m for m in masters}
    kind = origin.frame.type
    chosen = Input(
        origin.frame.file,
        bias=used["bias"].used if "bias" in used else None,
        dark=used["dark"].name if "dark" in used else None,
        flat=used["flat"].name if "flat" in used else None,
        dark_scale=origin.dark_scale,
    )
    own = _own_cards(origin.frame, chosen, {m.name: m for m in masters}, kind).as_fits()
    letters = [*meta.get("CALSTAT", ""), *own["CALSTAT"]]
    own["CALSTAT"] = "".join(letter for letter in "OBDF" if letter in letters)
    own["HASPED"] = bool(meta.get("HASPED", True) and own["HASPED"])
    if not meta.get("HASDARK", 0.0):
        own["HASDARK"] = 0.0
    return merged(meta, own)


def _own_cards(
    frame: Frame, chosen: Input, masters: Mapping[str, Master], kind: str
) -> ProductHeader:
    """Make the cards that record what was done to a frame, and what it still contains."""
    header = ProductHeader()
    common_cards(header, _StepInputs(masters), frame, chosen, "", kind)
    header.discard("CPKEY")
    return header


def merged(meta: fits.Header, own: fits.Header) -> fits.Header:
    """Return a header with the cards of another one added, and its history added once."""
    header = meta.copy()
    for card in own.cards:
        if card.keyword not in ("HISTORY", ""):
            header[card.keyword] = (card.value, card.comment)
    return add_history(header, *own.get("HISTORY", ()))


def add_history(header: fits.Header, *lines: str) -> fits.Header:
    """Add the lines that are not there yet to the history of a header, and return it."""
    for line in lines:
        text = ascii_text(str(line).replace("°", "deg "))
        # A long line is stored in several cards.
        pieces = [text[n : n + _CARD].rstrip() for n in range(0, len(text), _CARD)]
        cards = [str(card).rstrip() for card in header.get("HISTORY", ())]
        if not any(cards[n : n + len(pieces)] == pieces for n in range(len(cards))):
            header.add_history(text)
    return header


def combined_cards(
    headers: Sequence[fits.Header],
    summed: bool,
    settings: Sequence[tuple[str, float | str]] = (),
) -> fits.Header:
    """Make the header of combined frames: the cards they share, their settings and times."""
    header = combined_header([cards_of(h) for h in headers])
    setup_cards(header, settings)
    _combine_seconds(header, "EXPTIME", headers, summed)
    _combine_seconds(header, "HASDARK", headers, summed)
    dates = [h["DATE-OBS"] for h in headers if isinstance(h.get("DATE-OBS"), str)]
    for card, when in (("DATE-OBS", min), ("DATE-END", max)):
        header.discard(card)
        if dates:
            which = "earliest" if when is min else "latest"
            header[card] = (when(dates), f"of the {which} frame")
    for stale in ("MJD-OBS", "MJD-END"):
        header.discard(stale)
    add_mjd(header)
    header["NCOMBINE"] = (len(headers), "frames combined")
    return header.as_fits()


def _combine_seconds(
    header: ProductHeader, card: str, headers: Sequence[fits.Header], summed: bool
) -> None:
    """Set a card that adds up in a sum, if all frames have it."""
    values = [h[card] for h in headers if isinstance(h.get(card), int | float)]
    if values and (card == "EXPTIME" or len(values) == len(headers)):
        total = sum(values) if summed else sum(values) / len(values)
        what = "exposure" if card == "EXPTIME" else "of dark current still in it"
        header[card] = (float(total), f"[s] {what}: " + ("sum" if summed else "mean"))


def cards_of(header: fits.Header) -> Cards:
    """Return a header as the plan of a night reads it, without characters that are not ASCII."""
    return Cards(header.tostring(endcard=False, padding=False).encode("ascii", "replace"))


def exposure_of_all(header: fits.Header, frames: Sequence[Frame], summed: bool) -> fits.Header:
    """Set the exposure of combined frames as their profile reads it."""
    exposures = [f.exposure for f in frames if f.exposure is not None]
    if exposures:
        total = sum(exposures) if summed else sum(exposures) / len(exposures)
        header["EXPTIME"] = (total, "[s] exposure: " + ("sum" if summed else "mean"))
    return header


def finite_or_flagged(data: np.ndarray, flags: np.ndarray | None, bit: int) -> np.ndarray | None:
    """Flag pixels without a number."""
    lost = ~np.isfinite(data)
    if not lost.any():
        return flags
    flags = np.zeros(data.shape, "u2") if flags is None else flags.copy()
    flags[lost] |= bit
    return flags


def master_cards(
    origin: Origin, masters: Sequence[Master], number: int, how: Combine
) -> fits.Header:
    """Make the cards of a master of prepared frames."""
    frame = origin.frame
    used = {m.type: m for m in masters}
    chosen = Input(
        frame.file,
        used["bias"].used if "bias" in used else None,
        used["dark"].name if "dark" in used else None,
        origin.dark_scale,
    )
    header = _own_cards(frame, chosen, {m.name: m for m in masters}, frame.type)
    header["OBJECT"] = f"master {frame.type}"
    header["CPTYPE"] = (frame.type, "what this master is")
    if how.method == "sum":
        header.discard("HASDARK")  # that of all frames together stands
    header["CPINEFF"] = (variance_factor(number, how), "variance of 1 / (1/NCOMBINE)")
    if frame.type in ("flat", "arc") and frame.filter:
        header["CPFILT"] = (ascii_text(frame.filter), "filter, as the profile reads it")
    return header.as_fits()
