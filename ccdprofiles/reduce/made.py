"""What a run has made, and what it could not make."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..plan.reason import Reason

__all__ = ["Made"]


@dataclass
class Made:
    """The masters and products of a run, and why others are lacking.

    Only the run itself changes it, until it is given to the caller.

    Parameters
    ----------
    masters, products : dict
        Name in the plan → path of each file that exists now.
    kept : set of str
        Names of those that were already up to date.
    anew : dict
        Name of each product that was out of date → why it was made again.
    failed : dict
        Name or file → `Reason`, of what turned out to be unusable during the run.
    notes : list of str
        What looks odd in pixels that were used.
    overruled : dict
        File → `Reason`, of frames that fail a check and are used on request.
    earlier : dict
        File that is not asked for → the product that an earlier run made of it.
    seen : dict
        Name → the identity of its file, when it was made or before it was checked.
    """

    masters: dict[str, Path] = field(default_factory=dict)
    products: dict[str, Path] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    anew: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Reason] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    overruled: dict[str, Reason] = field(default_factory=dict)
    earlier: dict[str, str] = field(default_factory=dict)
    seen: dict[str, tuple[int, ...] | None] = field(default_factory=dict, repr=False)
