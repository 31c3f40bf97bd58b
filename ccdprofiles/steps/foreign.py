"""Masters that other programs made: what they hold is measured, as no card says it."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from astropy.nddata import CCDData

from ..errors import PlanError
from ..pixels.statistics import MAD_TO_STD
from .ledger import State
from .pipeline import add_history
from .tracked import Master

__all__ = ["measured_masters"]

log = logging.getLogger(__name__)

_NEAR_ONE = 0.1
_SIGMAS = 10
"""Standard deviations of a pixel that a pedestal stands above zero at least."""


def measured_masters(
    frame: CCDData, state: State, masters: list[Master]
) -> tuple[list[Master], list[str]]:
    """Measure masters without our cards, and write what they hold into their cards.

    Parameters
    ----------
    frame : CCDData
        From which they are taken off.
    state : State
        Of the frame.
    masters : list of Master

    Returns
    -------
    list of Master
        With CPTYPE, CALSTAT and HASPED; a flat divided by its median.
    list of str
        A sentence on each that was measured.

    Raises
    ------
    PlanError
        If a master has no value, or a flat no light.
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
    """Return True for a flat of ours that was not normalised, such as a single frame."""
    return master.type == "flat" and "FLATNORM" not in master.meta


def _good(master: Master) -> np.ndarray:
    """Return the values of a master that are numbers and not flagged."""
    good = np.isfinite(master.data)
    if master.flags is not None:
        good &= master.flags == 0
    if not good.any():
        raise PlanError(f"{master.name} has no good pixel; look at it, and make it anew.")
    return master.data[good]


def _flat(master: Master) -> tuple[Master, str]:
    """Divide a flat by its median, unless that is 1."""
    level = float(np.median(_good(master)))
    if not level > 0:
        raise PlanError(
            f"the median of {master.name} is {level:.6g}, and a flat has light; look at it."
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
    """Tell whether a dark holds a pedestal: by the bias, or by the darkest pixels of the frame."""
    level = float(np.median(_good(master)))
    if bias is not None:
        zero, what = float(np.median(_good(bias))), f"the bias's {{:.6g}} {frame.unit}"
    else:
        zero, what = _darkest(frame), f"the frame's darkest pixels at {{:.6g}} {frame.unit}"
    holds = _stands_above_zero(master, level) and level > zero / 2
    if not state.pedestal and bias is None:
        # Without the overscan's level the frame has its light alone, less than any pedestal.
        holds = _stands_above_zero(master, level) and level > max(zero, 0)
    sentence = (
        f"{master.name}: its median is {level:.6g} {master.unit} beside {what.format(zero)}, so it "
        f"{'holds its pedestal' if holds else 'was taken as free of its pedestal'}"
    )
    if holds and "O" in state.letters:
        raise PlanError(
            f"{sentence}, which the overscan took off the frame already; prepare the darks as the "
            "frame was, and combine them."
        )
    letters = "" if holds else "B"
    if not holds and bias is None and "B" not in state.letters and "O" in state.letters:
        letters = "O"
    return replace(master, meta=_cards(master, None, letters, holds)), sentence


def _bias(frame: CCDData, state: State, master: Master) -> tuple[Master, str]:
    """Refuse a bias that holds a pedestal which the frame holds no longer."""
    level, zero = float(np.median(_good(master))), _darkest(frame)
    holds = _stands_above_zero(master, level)
    sentence = (
        f"{master.name}: its median is {level:.6g} {master.unit} beside the frame's darkest pixels "
        f"at {zero:.6g} {frame.unit}, so it "
        f"{'holds its pedestal' if holds else 'was taken as free of its pedestal'}"
    )
    if holds and not state.pedestal and level > max(zero, 0):
        raise PlanError(
            f"{sentence}, which was taken off the frame already: it would be subtracted twice; "
            "prepare the biases as the frame was, and combine them."
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
    """Write down what was measured of a master."""
    meta = master.meta.copy()
    meta["CPTYPE"] = (master.type, "what this master is, as it was measured")
    if norm is not None:
        meta["FLATNORM"] = (norm, "the flat was divided by this")
    meta["CALSTAT"] = (letters, "as it was measured")
    meta["HASPED"] = (pedestal, "as it was measured")
    return add_history(meta)
