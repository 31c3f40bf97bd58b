"""Masters of other programs: what they contain is measured, because no card records it."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from astropy.nddata import CCDData

from ..errors import PlanError
from ..pixels.statistics import MAD_TO_STD
from ..products.band import NO_LEVEL
from .ledger import State
from .pipeline import add_history
from .tracked import Master

__all__ = ["measured_masters"]

log = logging.getLogger(__name__)

_NEAR_ONE = 0.1
_SIGMAS = 10
"""The least level of a pedestal, in standard deviations of a pixel."""


def measured_masters(
    frame: CCDData, state: State, masters: list[Master]
) -> tuple[list[Master], list[str]]:
    """Measure masters without the cards of ccdprofiles, and record what they contain.

    Parameters
    ----------
    frame : CCDData
        From which they are subtracted.
    state : State
        Of the frame.
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
        if State.of(master.meta) is not None and not _is_single_flat(master):
            done.append(master)
            continue
        if master.type == "flat":
            master, sentence = _flat(master)
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


def _flat(master: Master) -> tuple[Master, str]:
    """Divide a flat by its median, unless that is 1."""
    level = float(np.median(_good(master)))
    if not level > 0:
        raise PlanError(
            f"the median of {master.name} is {level:.6g}, but that of a flat must be positive; inspect it, and use another flat."
        )
    near = abs(level - 1) <= _NEAR_ONE
    sentence = f"{master.name}: its median is {level:.6g}, " + (
        "so it was taken as normalised" if near else "so it was divided by that"
    )
    meta = _cards(master, 1.0 if near else level)
    if near:
        return replace(master, meta=meta), sentence
    variance = None if master.variance is None else master.variance / level**2
    return replace(master, data=master.data / np.float32(level), variance=variance, meta=meta), (
        sentence
    )


def _dark(frame: CCDData, state: State, master: Master, bias: Master | None) -> tuple[Master, str]:
    """Record whether a dark contains a pedestal, by comparison with the bias or the frame."""
    level = float(np.median(_good(master)))
    if bias is not None:
        zero, what = float(np.median(_good(bias))), f"the bias's {{:.6g}} {frame.unit}"
    else:
        zero, what = _darkest(frame), f"the frame's darkest pixels at {{:.6g}} {frame.unit}"
    holds = _stands_above_zero(master, level) and level > zero / 2
    if not state.pedestal and bias is None:
        # Without the overscan level the frame has only its light, which is less than any pedestal.
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
    """Refuse a bias that contains a pedestal which was already subtracted from the frame."""
    level, zero = float(np.median(_good(master))), _darkest(frame)
    holds = _stands_above_zero(master, level)
    sentence = (
        f"{master.name}: its median is {level:.6g} {master.unit} beside the frame's darkest pixels "
        f"at {zero:.6g} {frame.unit}, so it "
        f"{'holds its pedestal' if holds else 'was taken as free of its pedestal'}"
    )
    if holds and not state.pedestal and level > max(zero, 0):
        raise PlanError(
            f"{sentence}, which was already subtracted from the frame and would be subtracted twice; "
            "prepare the biases in the same way as the frame, and combine them."
        )
    return replace(master, meta=_cards(master, None, "", holds)), sentence


def _darkest(frame: CCDData) -> float:
    """Return the level of the darkest hundredth of a frame."""
    values = frame.data[np.isfinite(frame.data)]
    return float(np.percentile(values, 1)) if values.size else 0.0


def _stands_above_zero(master: Master, level: float) -> bool:
    """Return True if the level of a master is more than its noise."""
    values = _good(master)
    scatter = MAD_TO_STD * float(np.median(np.abs(values - level)))
    return level > _SIGMAS * scatter


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
