"""Masters of other programs: what they contain is measured, because no card records it."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np
from astropy.nddata import CCDData

from ..camera.recipe import Flat, Recipe, SpectralFlat
from ..errors import PlanError, known
from ..pixels.calibrate import NO_FLAT
from ..pixels.statistics import MAD_TO_STD
from ..products.band import NO_LEVEL, Band
from ..reduce.flats import flat_norm, normalise_flat
from .ledger import State
from .pipeline import add_history
from .tracked import Master

__all__ = ["measured_masters"]

log = logging.getLogger(__name__)

_NEAR_ONE = 0.1
_SIGMAS = 10
"""The least level of a pedestal, in standard deviations of a pixel."""
_FREE = 3
"""The highest level of a bias without its pedestal."""


def measured_masters(
    frame: CCDData, state: State, recipe: Recipe, masters: list[Master]
) -> tuple[list[Master], list[str]]:
    """Measure masters without the cards of ccdprofiles, and record what they contain.

    Parameters
    ----------
    frame : CCDData
        From which they are subtracted.
    state : State
        Of the frame.
    recipe : Recipe
        For the lowest value of a flat.
    masters : list of Master

    Returns
    -------
    list of Master
        With CPTYPE, CALSTAT and HASPED; a flat divided by its median.
    list of str
        A sentence about each that was measured.

    Raises
    ------
    PlanError
        If a master has no valid pixel, or a flat no light.
    """
    done, notes = [], []
    bias = next((m for m in masters if m.type == "bias"), None)
    for master in masters:
        known_state = State.of(master.meta) is not None and not _is_single_flat(master)
        if known_state or master.level is not None:
            done.append(master)
            continue
        if master.type == "flat":
            master, sentence = _flat(master, recipe.flat or Flat())
        elif master.type == "dark":
            master, sentence = _dark(frame, state, master, bias)
        else:
            master, sentence = _bias(frame, state, master)
        log.warning("%s", sentence)
        done.append(master)
        notes.append(sentence)
    return done, notes


def _is_single_flat(master: Master) -> bool:
    """Return True for a flat of ccdprofiles that was not normalised, such as a single frame."""
    return (
        master.type == "flat"
        and str(master.meta.get("CPTYPE", "")) == "flat"
        and "FLATNORM" not in master.meta
    )


def _good(master: Master) -> np.ndarray:
    """Return the values of a master that are numbers and not flagged."""
    good = np.isfinite(master.data)
    if master.flags is not None:
        good &= (master.flags & NO_LEVEL) == 0
    if not good.any():
        raise PlanError(f"{master.name} has no good pixel; inspect it, and remake it.")
    return master.data[good]


def _flat(master: Master, how: Flat | SpectralFlat) -> tuple[Master, str]:
    """Divide a flat by its median, unless that is 1; pixels below the minimum become 1."""
    good = _good(master)
    level = float(np.median(good))
    if not level > 0:
        raise PlanError(
            f"the median of {master.name} is {level:.6g}, but that of a flat must be positive; inspect it, and use another flat."
        )
    level = flat_norm(good, "median", how.minimum)
    near = abs(level - 1) <= _NEAR_ONE
    norm = 1.0 if near else level
    flags = np.zeros(master.data.shape, "u2") if master.flags is None else master.flags
    band = normalise_flat(Band(master.data, master.variance, flags), norm, how.minimum)
    unusable = int(np.count_nonzero(known(band.flags, "flags") & NO_FLAT))
    sentence = f"{master.name}: its median is {level:.6g}, " + (
        "so it was taken as normalised" if near else "so it was divided by that"
    )
    if unusable:
        sentence += f"; {unusable} pixels are below {how.minimum:g} of it, or bad, and have no flat"
    meta = _cards(master, norm)
    changed = replace(master, data=band.data, variance=band.variance, flags=band.flags, meta=meta)
    return changed, sentence


def _dark(frame: CCDData, state: State, master: Master, bias: Master | None) -> tuple[Master, str]:
    """Record whether a dark contains a pedestal, by comparison with the bias or the frame."""
    level = float(np.median(_good(master)))
    overscan = _overscan_level(frame)
    if bias is not None:
        zero, what = float(np.median(_good(bias))), f"the bias's {{:.6g}} {frame.unit}"
    elif overscan is not None:
        zero, what = overscan, f"the frame's overscan level of {{:.6g}} {frame.unit}"
    else:
        zero, what = _darkest(frame), f"the frame's darkest pixels at {{:.6g}} {frame.unit}"
    holds = _stands_above_zero(master, level) and level > zero / 2
    if overscan is None and not state.pedestal and bias is None:
        # The frame has only its light, which is less than any pedestal.
        holds = _stands_above_zero(master, level) and level > max(zero, 0)
    sentence = (
        f"{master.name}: its median is {level:.6g} {master.unit} beside {what.format(zero)}, so it "
        f"{'holds its pedestal' if holds else 'was taken as free of its pedestal'}"
    )
    if holds and "O" in state.letters:
        raise PlanError(
            f"{sentence}, which was already removed from the frame with the overscan; prepare the darks in the "
            "same way as the frame, and combine them."
        )
    letters = "" if holds else "B"
    if not holds and bias is None and "B" not in state.letters and "O" in state.letters:
        letters = "O"
    return replace(master, meta=_cards(master, None, letters, holds)), sentence


def _bias(frame: CCDData, state: State, master: Master) -> tuple[Master, str]:
    """Refuse a bias that would subtract a pedestal twice, or leave that of the frame in it."""
    level, overscan = float(np.median(_good(master))), _overscan_level(frame)
    if overscan is None:
        zero, what = _darkest(frame), "the frame's darkest pixels at"
    else:
        zero, what = overscan, "the frame's overscan level of"
    holds = _stands_above_zero(master, level)
    sentence = (
        f"{master.name}: its median is {level:.6g} {master.unit} beside {what} {zero:.6g} "
        f"{frame.unit}, so it "
        f"{'holds its pedestal' if holds else 'was taken as free of its pedestal'}"
    )
    too_high = max(zero, 0) if overscan is None else overscan / 2
    if holds and not state.pedestal and level > too_high:
        raise PlanError(
            f"{sentence}, which was already subtracted from the frame and would be subtracted twice; "
            "prepare the biases in the same way as the frame, and combine them."
        )
    # A pedestal is several times the noise, so that no pixel falls below 0.
    if state.pedestal and not _stands_above_zero(master, level, _FREE) and zero > _scatter(master):
        raise PlanError(
            f"{sentence}, but the frame still contains its own; combine biases from which no "
            "pedestal was subtracted."
        )
    return replace(master, meta=_cards(master, None, "", holds)), sentence


def _overscan_level(frame: CCDData) -> float | None:
    """Return the median overscan level that was subtracted from a frame, or None."""
    levels = [frame.meta[card] for card in frame.meta if re.fullmatch(r"OSLEV\d+", card)]
    return float(np.median(levels)) if levels else None


def _darkest(frame: CCDData) -> float:
    """Return the level of the darkest hundredth of a frame."""
    values = frame.data[np.isfinite(frame.data)]
    return float(np.percentile(values, 1)) if values.size else 0.0


def _stands_above_zero(master: Master, level: float, sigmas: float = _SIGMAS) -> bool:
    """Return True if the level of a master is more than its noise."""
    return level > sigmas * _scatter(master)


def _scatter(master: Master) -> float:
    """Return the standard deviation of the pixels of a master."""
    values = _good(master)
    return MAD_TO_STD * float(np.median(np.abs(values - np.median(values))))


def _cards(master: Master, norm: float | None, letters: str = "", pedestal: bool = False) -> object:
    """Record the measurements of a master."""
    meta = master.meta.copy()
    meta["CPTYPE"] = (master.type, "what this master is, as it was measured")
    if norm is not None:
        meta["FLATNORM"] = (norm, "the flat was divided by this")
    meta["CALSTAT"] = (letters, "as it was measured")
    # Of a single flat that was prepared it is known, and not measured.
    known = pedestal or (master.type == "flat" and bool(master.meta.get("HASPED", False)))
    meta["HASPED"] = (known, "as it was measured")
    return add_history(meta)
