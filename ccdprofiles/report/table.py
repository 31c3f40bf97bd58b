"""The table of a night: one row for each file, with its verdict and the reason for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from astropy.table import Table

from ..files.layout import CALIBRATIONS
from ..plan.frames import (
    ACCEPTED,
    NOT_CALIBRATED,
    NOT_NEEDED,
    SET_ASIDE,
    USED,
    Frame,
    frames_table,
)
from ..plan.plan import Plan
from ..plan.reason import Reason
from ..reduce.made import Made

__all__ = ["night_table", "texts_of"]

_WITHOUT_FAULT = ("no-master", "removed")
"""Codes of frames that have no fault themselves."""

_OF_THE_GROUP = ("few-frames", "mixed-setup")
"""Codes of frames whose own group cannot make a master."""


def night_table(frames: Sequence[Frame], plan: Plan, made: Made | None = None) -> Table:
    """Return the night with its final verdicts, one row for each file of the folder.

    Parameters
    ----------
    frames : sequence of Frame
    plan : Plan
    made : Made, optional
        The result of the run; without it the verdicts are those of the plan.

    Returns
    -------
    Table
        ``verdict`` is used, not needed, not asked for, not calibrated, set aside or
        ignored; ``product`` is the product that was made from the frame.
    """
    table = frames_table(frames)
    uses = _uses(plan)
    missing = {m.file: m for m in plan.missing}
    rows = [_verdict(frame, uses, missing, made) for frame in frames]
    for n, name in enumerate(("verdict", "code", "reason", "product")):
        table[name] = [row[n] for row in rows] or table["verdict"]
    return table


def texts_of(table: Table, name: str) -> list[str]:
    """Return a column as texts; a masked value becomes empty."""
    texts = map(str, table[name].tolist())
    return ["" if text in ("--", "None") else text for text in texts]


def _verdict(
    frame: Frame, uses: Mapping[str, str], missing: Mapping[str, Reason], made: Made | None
) -> tuple[str, str, str, str]:
    """Return the verdict on a frame, its code, the reason, and the product made from it."""
    if frame.verdict != ACCEPTED:
        earlier = "" if made is None else made.earlier.get(frame.file, "")
        return frame.verdict, frame.code, frame.reason, earlier
    failed = {} if made is None else made.failed
    if frame.file in failed:
        code, reason = failed[frame.file]
        return _lacking(code) if code in _WITHOUT_FAULT else SET_ASIDE, code, reason, ""
    if frame.file in missing:
        lack = missing[frame.file]
        return _lacking(lack.code), lack.code, lack.reason, ""
    product = uses.get(frame.file, "")
    if product in failed:
        return _lacking(failed[product][0]), *failed[product], ""
    if not product:
        return NOT_NEEDED, "not-needed", f"{frame.file}: {_why_not_needed(frame)}", ""
    if made is not None and frame.file in made.overruled:
        why = made.overruled[frame.file][1].removeprefix(f"{frame.file}: ")
        return USED, "kept", f"{frame.file}: kept by hand, although {why}", product
    return USED, "", "", product


def _why_not_needed(frame: Frame) -> str:
    if frame.master:
        return f"no frame of the night needs this master {frame.master}."
    return f"the recipe does not need this {frame.type}."


def _lacking(code: str) -> str:
    """Return the verdict on a frame that lacks other frames of its group, or a master."""
    return SET_ASIDE if code in _OF_THE_GROUP else NOT_CALIBRATED


def _uses(plan: Plan) -> dict[str, str]:
    """Return the product that is made from each file."""
    uses = {i.file: m.name for m in plan.masters for i in m.inputs}
    inputs = [*(i for m in plan.masters for i in m.inputs), *(p.input for p in plan.products)]
    needed = {name for i in inputs for name in (i.bias, i.dark, i.flat)}
    for master in plan.masters:
        if master.path and master.name in needed:
            uses[master.name.removeprefix(CALIBRATIONS)] = master.name
    return uses | {p.input.file: p.name for p in plan.products}
