"""The level of a flat that all chips of a mosaic share, exposure by exposure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..plan.frames import Frame
from ..plan.plan import Input
from ..plan.reason import Reason
from .flat_levels import FlatLevel, levels_of
from .request import MasterRequest, are_exact

__all__ = ["levels_for"]

_CURE = "use Flat(level='chip'), or take this flat out of the night."


def levels_for(
    request: MasterRequest, chosen: Sequence[Input], mapped: Callable = map
) -> dict[str, FlatLevel]:
    """Measure the levels of some flats of a master: their own, or those of all chips.

    The level of all chips in an exposure is the mean of the levels of the chips: in electrons if
    the products are, as the flat must not correct for the gains then, else in adu.

    Parameters
    ----------
    request : MasterRequest
    chosen : sequence of Input
        Of its flats.
    mapped : callable
        As `map`; it may work in threads.

    Returns
    -------
    dict
        File → `FlatLevel`; refused if a chip has no level in this exposure.
    """
    levels = levels_of(request.inputs, chosen, are_exact(request.inputs, request.chosen), mapped)
    if not request.shares_level:
        return levels
    others = _levels_of_others(request, chosen, mapped)
    chips = set(request.frame.profile.chips) - {request.frame.chip}
    return {i.file: _shared(request, i.file, levels[i.file], others, chips) for i in chosen}


def _levels_of_others(
    request: MasterRequest, chosen: Sequence[Input], mapped: Callable
) -> dict[str, FlatLevel]:
    """Measure the flats of the other chips in the exposures of some flats."""
    frames = request.inputs.frames
    paths = {frames[i.file].path for i in chosen}
    by_chip: dict[str, list[Input]] = {}
    for other in request.others:
        by_chip.setdefault(frames[other.file].chip, []).append(other)
    levels: dict[str, FlatLevel] = {}
    for flats in by_chip.values():
        exact = are_exact(request.inputs, flats)
        now = [i for i in flats if frames[i.file].path in paths]
        levels |= levels_of(request.inputs, now, exact, mapped)
    return levels


def _shared(
    request: MasterRequest,
    file: str,
    own: FlatLevel,
    others: Mapping[str, FlatLevel],
    chips: set[str],
) -> FlatLevel:
    """Return the level by which a flat is divided, in the adu of its chip."""
    if own.refused is not None:
        return own
    frames = request.inputs.frames
    frame = frames[file]
    same = {frames[f].chip: f for f in others if frames[f].path == frame.path}
    lacking = [c for c in sorted(chips) if c not in same or others[same[c]].refused is not None]
    if lacking:
        text = (
            f"the level of all chips is not known in this exposure, as its flat of chip {lacking[0]} "
            f"cannot be used; {_CURE}"
        )
        return FlatLevel(refused=Reason(file, "flat-level", text))
    files = {**same, frame.chip: file}
    gains = {chip: _gain(frames[f]) for chip, f in files.items()}
    if None in gains.values() and {*gains.values()} != {None}:
        lacking = [chip for chip in sorted(gains) if gains[chip] is None]
        text = (
            f"the gain of chip {lacking[0]} is not known, so that its level cannot be compared with "
            f"that of the others; set gain= in the profile, or {_CURE}"
        )
        return FlatLevel(refused=Reason(file, "flat-level", text))
    values = {**{chip: others[f].value for chip, f in same.items()}, frame.chip: own.value}
    mean = np.mean([values[chip] * (gains[chip] or 1.0) for chip in sorted(values)])
    return replace(own, value=float(mean) / (gains[frame.chip] or 1.0))


def _gain(frame: Frame) -> float | None:
    """Return what makes the level of a chip comparable with others; None if its gain is not known.

    The flats of a chip whose amplifiers differ in gain are in electrons already.
    """
    if not frame.recipe.electrons:
        return 1.0
    gains = {readout.gain for readout in frame.amplifiers.readouts}
    if None in gains:
        return None
    return 1.0 if len(gains) > 1 else gains.pop()
