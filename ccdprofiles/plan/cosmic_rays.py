"""The option on cosmic rays, and whether the frames of a night allow it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..camera.changes import Changes
from ..camera.recipe import CosmicRays
from ..errors import InputError, PlanError
from .frames import ACCEPTED, Frame
from .plan import Plan

__all__ = ["asked_cosmic_rays", "cosmic_rays_off", "possible_cosmic_rays"]


def asked_cosmic_rays(
    asked: bool | CosmicRays | None, changes: Changes
) -> bool | CosmicRays | None:
    """Return the option ``cosmic_rays`` with the settings that are changed for this run.

    Raises
    ------
    InputError
        If the option is not valid.
    """
    if asked is not None and not isinstance(asked, bool | CosmicRays):
        raise InputError(
            f"cosmic_rays={asked!r} is not valid; use True, False, None or CosmicRays(...)."
        )
    return changes.cosmic_rays(asked)


def possible_cosmic_rays(
    asked: bool | CosmicRays | None, frames: Iterable[Frame]
) -> CosmicRays | Literal[False] | None:
    """Return the option unless no frame allows it: L.A.Cosmic needs gain and read noise.

    Raises
    ------
    PlanError
        If cosmic rays are to be detected and no profile of the science frames has both.
    """
    if asked is False:
        return False
    how = CosmicRays() if asked is True else asked or None
    searched = [
        f for f in frames if f.verdict == ACCEPTED and f.type == "science" and (how or _asks(f))
    ]
    blind = [f for f in searched if f.amplifiers is None or not f.amplifiers.knows_noise]
    if blind and len(blind) == len(searched):
        raise PlanError(
            f"{blind[0].file}: cosmic rays cannot be distinguished from noise, as the profile "
            f"{_profile_of(blind[0])} has no gain or read noise; add both to the profile, or "
            "do not detect cosmic rays."
        )
    return how


def cosmic_rays_off(
    cosmic: CosmicRays | bool | None, plan: Plan, frames: Iterable[Frame]
) -> list[str]:
    """Name the profiles in whose frames cosmic rays are not detected although they should be.

    The caller switched that off, or the frames are mosaics of colours.
    """
    science = {p.input.file for p in plan.products}
    if cosmic is not False:
        colours = {
            _profile_of(f)
            for f in frames
            if f.file in science and f.mosaic is not None and (cosmic or _asks(f))
        }
        return [
            f"cosmic rays are not detected in the mosaics of colours of {name}, because every pixel "
            "of a mosaic differs from its neighbours; detect them after debayering"
            for name in sorted(colours)
        ]
    asking = {_profile_of(f) for f in frames if f.file in science and _asks(f)}
    return [
        f"cosmic rays are not detected, on purpose, although the recipe of {name} requires it"
        for name in sorted(asking)
    ]


def _asks(frame: Frame) -> bool:
    """Return True if the recipe of a frame flags cosmic rays."""
    return frame.recipe is not None and frame.recipe.cosmic_rays is not None


def _profile_of(frame: Frame) -> str:
    return frame.profile.name if frame.profile else ""
