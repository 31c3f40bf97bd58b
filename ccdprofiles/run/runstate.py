"""The options of a run, and what it has measured and made so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from .. import __version__
from ..camera.changes import concerning
from ..camera.corrections import sha256_of_file, used_files
from ..camera.profile import Profile
from ..camera.recipe import CosmicRays
from ..errors import FrameRejected
from ..files.places import Places, identity
from ..pixels.measure import Measured
from ..plan.frames import Frame
from ..plan.plan import Input, Plan
from ..plan.reason import Reason
from ..products.header import ascii_text
from ..products.product import product_key
from ..products.saved import CheckedProduct, SavedProduct
from ..reduce.inputs import ASIDE, JobInputs, MasterOnDisk, omitted_steps, picklable, settled
from ..reduce.made import Made

__all__ = ["RunState", "Settings", "no_progress"]


def no_progress(phase: str, total: int) -> Callable[[], None]:
    """Show nothing."""
    return lambda: None


@dataclass(frozen=True)
class Settings:
    """The settings of a run; only ``cosmic_rays`` changes pixels.

    Parameters
    ----------
    output : Path
    jobs : int
        Threads.
    overwrite : bool
        Whether products that exist already are made again.
    cosmic_rays : CosmicRays, False or None
        Overrules the recipes: False detects none, None follows the recipes.
    progress : callable
        ``progress(phase, total)`` returns a function to be called once for each finished step.
    places : Places, optional
        The folders of the output when the run began.
    """

    output: Path
    jobs: int = 0
    overwrite: bool = False
    cosmic_rays: CosmicRays | Literal[False] | None = None
    progress: Callable[[str, int], Callable[[], None]] = no_progress
    places: Places | None = None


class RunState:
    """What a run has measured and made so far; the run owns it, and jobs get `JobInputs`.

    Parameters
    ----------
    plan : Plan
    frames : sequence of Frame
    settings : Settings

    Attributes
    ----------
    frames : dict
        File → frame.
    measured : dict
        File → its measurements; without the frames that cannot be used.
    masters : dict
        Name in the plan → `MasterOnDisk`.
    made : Made
    """

    def __init__(self, plan: Plan, frames: Sequence[Frame], settings: Settings):
        self.plan = plan
        self.frames = {f.file: f for f in frames}
        self.settings = settings
        self.made = Made()
        self.measured: dict[str, Measured] = {}
        self.masters: dict[str, MasterOnDisk] = {}

    def fail(self, name: str, code: str, sentence: str) -> None:
        """Note why a frame, or a product, cannot be used or made."""
        self.made.failed[name] = Reason(name, code, sentence)

    def add_master(self, name: str, path: Path, sha256: str, key: str = "") -> None:
        """Note a master that exists now; one of another night has its SHA-256 as its key.

        Raises
        ------
        FrameRejected, OSError
            If it cannot be read.
        """
        kind = self.plan.master(name).type
        self.masters[name] = MasterOnDisk(kind, SavedProduct(path, sha256), sha256, key or sha256)

    def drop_master(self, name: str, error: FrameRejected) -> None:
        """Note that a master was removed or replaced after it was made."""
        self.masters.pop(name, None)
        self.made.kept.discard(name)
        self.fail(name, error.code, str(error))

    def note_identity(self, name: str) -> None:
        """Note the identity of a product's file as it is now."""
        self.made.seen[name] = identity(self.settings.output / name)

    def note_set_aside(self, kept: CheckedProduct) -> None:
        """Note the frames that were set aside when an existing master was made."""
        files = {ascii_text(file): file for file in self.frames}
        for name, _, role in kept.provenance:
            if role.startswith(ASIDE):
                code, sentence = role.removeprefix(ASIDE).split(": ", 1)
                self.fail(files.get(name, name), code, sentence.removeprefix(f"{name}: "))

    def missing_masters(self, chosen: Input) -> list[str]:
        """Return those masters of a frame that do not exist."""
        return [m for m in chosen.masters if m not in self.masters]

    def masters_of(self, inputs: Iterable[Input]) -> list[tuple]:
        """Return what of some frames decides a product that is not made from their pixels."""
        return sorted(
            (i.file, self._key_of(i.bias), self._key_of(i.dark), i.dark_scale) for i in inputs
        )

    def profile(self, chosen: Input) -> Profile:
        """Return the profile of a frame."""
        return self.frames[chosen.file].profile

    def job_inputs(self, chosen: Sequence[Input]) -> JobInputs:
        """Return the inputs of a job for some frames."""
        names = {m for i in chosen for m in i.masters}
        frames = {i.file: picklable(self.frames[i.file]) for i in chosen}
        return JobInputs(
            frames,
            {file: replace(self.measured[file], raw=frame.raw) for file, frame in frames.items()},
            {name: self.masters[name] for name in names},
            self.plan.without,
            self.plan.changes,
            frozenset(file for file in frames if file in self.made.overruled),
        )

    def key(self, kind: str, profile: Profile, inputs: Sequence[Input], more: object = "") -> str:
        """Hash what determines a product: inputs, masters, profile, settings and version."""
        parts: dict[str, object] = {"version": __version__, "kind": kind, "profile": profile.hash}
        first = inputs[0]
        used = (first.bias, first.dark, first.flat)
        parts["more"] = (
            more,
            profile.name,
            used,
            omitted_steps(self.plan.without, self.frames[first.file], kind),
        )
        if changes := concerning(self.plan.changes, kind):
            parts["changes"] = changes
        if profile.amplifiers_vary or callable(profile.recipe):
            # The functions of a profile may read other files, which its hash does not cover.
            read = (self.frames[i.file] for i in inputs)
            parts["read"] = sorted({f"{f.amplifiers!r} {settled(f.recipe)!r}" for f in read})
        if files := {path for i in inputs for _, path in used_files(self.frames[i.file], kind)}:
            parts["files"] = sorted((path.name, sha256_of_file(path)) for path in files)
        if kept := sorted(i.file for i in inputs if i.file in self.made.overruled):
            parts["kept"] = kept
        parts["inputs"] = sorted(
            (
                self.measured[i.file].sha256,
                i.file,
                self._key_of(i.bias),
                self._key_of(i.dark),
                i.dark_scale,
                self._key_of(i.flat),
                _levels_from_night(self.measured[i.file]),
            )
            for i in inputs
        )
        return product_key(parts)

    def _key_of(self, master: str | float | None) -> str:
        if isinstance(master, float):  # a constant bias
            return repr(master)
        return "" if master is None else self.masters[master].key if master in self.masters else ""

    def used(self, names: Iterable[str]) -> list[tuple[str, str, str]]:
        """Return masters as rows of PROVENANCE: name, SHA-256 and role."""
        return JobInputs({}, {}, self.masters).used(names)

    def cosmic_rays(self, file: str) -> CosmicRays | None:
        """Return how cosmic rays are detected in a frame: by the caller's option, else by its recipe."""
        frame = self.frames[file]
        # In a mosaic every pixel differs from its neighbours, as if a cosmic ray had hit it.
        possible = frame.amplifiers.knows_noise and frame.mosaic is None
        if not possible or self.settings.cosmic_rays is False:
            return None
        return self.settings.cosmic_rays or frame.recipe.cosmic_rays

    def cosmic_rays_off(self, file: str) -> bool:
        """Return True if a frame's recipe detects cosmic rays and the caller switched that off."""
        frame = self.frames[file]
        asked = frame.type == "science" and frame.recipe.cosmic_rays is not None
        return asked and frame.amplifiers.knows_noise and self.settings.cosmic_rays is False


def _levels_from_night(measured: Measured) -> list[float | None]:
    """Return the overscan level of each amplifier if it is the nightly median, else None."""
    pairs = zip(measured.levels, measured.level_from_night, strict=True)
    return [float(x[0]) if x is not None and r else None for x, r in pairs]
