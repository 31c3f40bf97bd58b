"""The table of a night: one row for each file, with its verdict and the reason for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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

__all__ = ["Verdict", "night_table", "texts_of", "verdicts_of"]

_WITHOUT_FAULT = ("no-master", "removed")
"""Codes of frames that have no fault themselves."""

_OF_THE_GROUP = ("few-frames", "mixed-setup")
"""Codes of frames whose own group cannot make a master."""


@dataclass(frozen=True)
class Verdict:
    """What became of a frame.

    Parameters
    ----------
    verdict : str
        Used, not needed, not asked for, not calibrated, set aside or ignored.
    reason : Reason or None
        Why, of itself or of the master that it went into; None if it is simply used.
    product : str
        The product that was made from the frame.
    """

    verdict: str
    reason: Reason | None = None
    product: str = ""


def night_table(frames: Sequence[Frame], verdicts: Sequence[Verdict]) -> Table:
    """Return the night with its final verdicts, one row for each file of the folder.

    Parameters
    ----------
    frames : sequence of Frame
    verdicts : sequence of Verdict
        Those of `verdicts_of`.

    Returns
    -------
    Table
        Of `frames_table`, with the columns ``verdict``, ``code``, ``reason`` and ``product``.
    """
    table = frames_table(frames)
    columns = {
        "verdict": [v.verdict for v in verdicts],
        "code": [v.reason.code if v.reason else "" for v in verdicts],
        "reason": [str(v.reason or "") for v in verdicts],
        "product": [v.product for v in verdicts],
    }
    for name, values in columns.items():
        table[name] = values or table["verdict"]
    return table


def verdicts_of(
    frames: Sequence[Frame], plan: Plan, made: Made | None = None
) -> tuple[Verdict, ...]:
    """Return the verdict on each frame.

    Parameters
    ----------
    frames : sequence of Frame
    plan : Plan
    made : Made, optional
        What the run made; without it the verdicts are those of the plan.
    """
    uses = _uses(plan)
    missing = {m.file: m for m in plan.missing}
    return tuple(_verdict(frame, uses, missing, made or Made()) for frame in frames)


def texts_of(table: Table, name: str) -> list[str]:
    """Return a column as texts; a masked value becomes empty."""
    texts = map(str, table[name].tolist())
    return ["" if text in ("--", "None") else text for text in texts]


def _verdict(
    frame: Frame, uses: Mapping[str, str], missing: Mapping[str, Reason], made: Made
) -> Verdict:
    if frame.verdict != ACCEPTED:
        return Verdict(frame.verdict, frame.fault, made.earlier.get(frame.file, ""))
    if why := made.failed.get(frame.file):
        return Verdict(_lacking(why.code) if why.code in _WITHOUT_FAULT else SET_ASIDE, why)
    product = uses.get(frame.file, "")
    if why := missing.get(frame.file) or made.failed.get(product):
        return Verdict(_lacking(why.code), why)
    if not product:
        return Verdict(NOT_NEEDED, Reason(frame.file, "not-needed", _why_not_needed(frame)))
    if why := made.overruled.get(frame.file):
        text = f"kept by hand, although {why.text}"
        return Verdict(USED, Reason(frame.file, "kept", text), product)
    return Verdict(USED, None, product)


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
    needed = {name for i in inputs for name in i.masters}
    for master in plan.masters:
        if master.path and master.name in needed:
            uses[master.name.removeprefix(CALIBRATIONS)] = master.name
    return uses | {p.input.file: p.name for p in plan.products}
