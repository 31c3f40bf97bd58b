"""The options for a night, and the frames and the plan that follow from them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ..camera.changes import Changes
from ..camera.profile import Profile
from ..camera.registry import Registry, load_profile
from ..errors import InputError
from ..files.places import local_path
from .frames import Frame, by_hand
from .plan import Plan
from .planner import check_steps, make_plan
from .scan import scan
from .selection import Selection

__all__ = ["NightRequest", "Planned"]

log = logging.getLogger("ccdprofiles")


class Planned(NamedTuple):
    """The frames of a night, the same with unselected frames marked, and their plan."""

    scanned: tuple[Frame, ...]
    frames: tuple[Frame, ...]
    plan: Plan


class NightRequest:
    """The options for a night; parameters are those of `ccdprofiles.reduce_night`.

    Raises
    ------
    InputError, PlanError, ChangeError
        If an option is not valid by itself.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        profile: str | Path | Profile | None = None,
        profiles: Iterable[str | Path | Profile] = (),
        calibrations: Iterable[str | Path] = (),
        without: Iterable[str] = (),
        keep: Iterable[str | Path] = (),
        reject: Iterable[str | Path] = (),
        min_frames: int | None = None,
        only: Iterable[str] | str = (),
        changes: Mapping[str, object] | Changes | None = None,
    ):
        self.without = check_steps(without)
        self.folder = local_path(folder, "the night")
        self.profile, self.profiles = profile, profiles
        self.calibrations = _paths_of(calibrations)
        self.keep, self.reject = keep, reject
        self.min_frames = _number_of_frames(min_frames)
        self.changes, self.selection = Changes.of(changes), Selection.of(only)

    @cached_property
    def forced(self) -> Profile | None:
        """The profile that is used for every frame, if one was chosen."""
        profile, text = self.profile, str(self.profile)
        if profile is None or (isinstance(profile, Profile) and profile.name):
            return profile
        if isinstance(profile, Profile):
            return Registry.gather([profile]).profiles[0]
        if isinstance(profile, Path) or text.endswith(".py") or "/" in text or "\\" in text:
            return load_profile(profile)
        return self._gathered[text]

    @cached_property
    def registry(self) -> Registry:
        """The profiles to choose from."""
        registry = self._gathered
        if self.forced is None or self.forced in registry.profiles:
            return registry
        return replace(registry, profiles=(self.forced, *registry.profiles))

    @cached_property
    def _gathered(self) -> Registry:
        registry = Registry.gather(self.profiles)
        for sentence in registry.replaced:
            log.info("%s", sentence)
        return registry

    def scan(self, leave_out: Iterable[str | Path] = ()) -> tuple[Frame, ...]:
        """Read the headers of the night and its calibrations, except in excluded folders."""
        return scan(
            self.folder,
            self.registry,
            forced=self.forced,
            calibrations=self.calibrations,
            leave_out=leave_out,
            changes=self.changes,
        )

    def plan(self, scanned: tuple[Frame, ...]) -> Planned:
        """Plan what is made from the frames that `scan` returned."""
        scanned, keep, reject = by_hand(scanned, self.keep, self.reject)
        plan = make_plan(
            scanned, self.without, keep=keep, reject=reject, min_frames=self.min_frames
        )
        plan = replace(plan, changes=self.changes.texts)
        return Planned(scanned, *self.selection.applied(scanned, plan))


def _paths_of(paths: Iterable[str | Path] | str | Path) -> tuple[Path, ...]:
    paths = (paths,) if isinstance(paths, str | Path) else paths
    return tuple(local_path(path, "the folder of calibrations") for path in paths)


def _number_of_frames(number: int | None) -> int | None:
    wrong = not isinstance(number, int) or isinstance(number, bool) or number < 1
    if number is not None and wrong:
        raise InputError(f"min_frames={number!r} is not a whole number of 1 or more.")
    return number
