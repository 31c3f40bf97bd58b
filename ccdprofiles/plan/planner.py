"""Decide from headers alone what is made from which frames, and what cannot be made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..camera.area import DetectorArea
from ..camera.frame_types import MASTER_TYPES, STEPS
from ..camera.values import nearest
from ..errors import PlanError
from .candidates import Candidate, Candidates, adopted, read_out
from .chips import mosaics_of, number_of_files
from .drafts import drafts_of
from .frames import ACCEPTED, IGNORED, SET_ASIDE, Frame
from .groups import groups_of, split_by_cards, split_by_settings
from .masters import choose_masters
from .match_cards import cards_of
from .names import Draft, master_names, product_names
from .nights import Nights
from .notes import choice_notes, cut_notes, night_notes, notes_of
from .plan import Input, Plan, Product
from .reason import Reason

__all__ = ["check_steps", "make_plan"]


def make_plan(
    frames: Sequence[Frame],
    without: Iterable[str] = (),
    *,
    keep: Iterable[str] = (),
    reject: Iterable[str] = (),
    min_frames: int | None = None,
) -> Plan:
    """Decide which masters are made from which frames, and what is calibrated with them.

    A master and a frame share instrument, amplifier set and binning; a dark also
    the exposure, within the recipe's tolerance, unless it is scaled; a flat the
    filter; and the cards of the profile's ``match``. A bias or dark is never
    matched by filter. Frames whose set-up cards differ (`ccdprofiles.plan.setup_cards.SETUP`)
    share no master, and no frame gets a bias or dark of another gain, offset or read mode, or a
    dark of another temperature. Of several candidates the nearest in time is used.

    Parameters
    ----------
    frames : sequence of Frame
    without : iterable of {"bias", "dark", "flat"}
        Steps that are omitted on purpose.
    keep, reject : iterable of str
        Files that were kept or rejected by hand, to be recorded.
    min_frames : int, optional
        The smallest number of frames for a bias, dark or flat, instead of that in the recipes.

    Raises
    ------
    PlanError
        If omitting a step would make another give wrong results.
    """
    frames = sorted(frames, key=lambda f: (f.origin, f.file))
    without = tuple(step for step in STEPS if step in set(without))
    keep = tuple(keep)
    _check_without(frames, without)
    accepted = _by_type(f for f in frames if f.verdict == ACCEPTED and not f.master)
    nights = Nights([f for f in frames if f.verdict == ACCEPTED])
    done = _Done(Candidates(accepted, nights=nights))
    done = replace(done, masters=done.masters.with_(_of_other_nights(frames, done.masters)))
    asking = _asked_for(accepted, without)
    for kind in MASTER_TYPES:
        done = _with_masters(kind, done, asking, without, min_frames)
    done = _with_inputs(accepted.get("science", ()), done, without)
    missing = {reason.file: reason for reason in done.missing}
    of_settings = (
        *done.notes,
        *cut_notes(done.inputs, missing, done.masters),
        *choice_notes(done.inputs, missing, done.masters),
    )
    products = _products(done)
    profiles = {f.profile.name: f.profile.hash for f in frames if f.profile}
    return Plan(
        masters=tuple(candidate.master for candidate in done.masters.by_name.values()),
        products=products,
        missing=tuple(missing[file] for file in sorted(missing)),
        set_aside=tuple(f.fault for f in frames if f.fault and f.verdict == SET_ASIDE),
        notes=tuple(notes_of(frames, done.masters, keep, of_settings)),
        without=without,
        profiles=tuple(sorted(profiles.items())),
        found=number_of_files(frames),
        ignored=sum(f.verdict == IGNORED for f in frames),
        keep=keep,
        reject=tuple(reject),
        min_frames=min_frames,
        mosaics=mosaics_of(products, {f.file: f for f in accepted.get("science", ())}),
        together=tuple((step, _together(step, accepted, without)) for step in STEPS),
    )


@dataclass(frozen=True)
class _Done:
    """The state of the planning so far.

    Parameters
    ----------
    masters : Candidates
    inputs : tuple of (Frame, Input)
        The frames that have all masters they need.
    missing : tuple of Reason
    notes : tuple of str
        Notes on frames that were taken with different settings.
    """

    masters: Candidates
    inputs: tuple[tuple[Frame, Input], ...] = ()
    missing: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()


def _by_type(frames: Iterable[Frame]) -> dict[str, list[Frame]]:
    by_type: dict[str, list[Frame]] = {}
    for frame in frames:
        by_type.setdefault(frame.type, []).append(frame)
    return by_type


def _of_other_nights(frames: Iterable[Frame], masters: Candidates) -> list[Candidate]:
    return [adopted(f, masters.settings) for f in frames if f.master and f.verdict == ACCEPTED]


def _with_masters(
    kind: str,
    done: _Done,
    asking: Mapping[tuple, Sequence[DetectorArea]],
    without: tuple[str, ...],
    min_frames: int | None,
) -> _Done:
    """Add the masters of one type, made from the frames of the night."""
    settings = done.masters.settings
    drafts: list[Draft] = []
    asked = _groups_asked_for(kind, done.masters.frames, asking)
    alike, notes = split_by_cards(kind, asked)
    groups = [*_by_night(kind, alike, done.masters.nights, min_frames)]
    done = replace(done, notes=(*done.notes, *notes, *night_notes(groups)))
    for night, frames in groups:
        split = split_by_settings(kind, frames, settings)
        done = replace(done, missing=done.missing + split.refused, notes=done.notes + split.notes)
        for part in split.parts:
            before = len(done.inputs)
            done = _with_inputs(part.frames, done, without)
            made = [*drafts_of(kind, part, done.inputs[before:], settings, min_frames)]
            drafts += [replace(d, night=night) for d in made if isinstance(d, Draft)]
            few = tuple(reason for reason in made if isinstance(reason, Reason))
            done = replace(done, missing=done.missing + few)
    names = master_names(drafts, done.masters.by_name)
    candidates = [
        Candidate(
            replace(d.master, name=name),
            d.setup,
            d.others,
            d.frames[0].shape,
            tuple(cards_of(kind, d.frames[0])),
            d.frames[0].flat_key if kind == "flat" else "",
            d.frames[0].area,
        )
        for d, name in zip(drafts, names, strict=True)
    ]
    named = (f"{name}: {n}" for d, name in zip(drafts, names, strict=True) for n in d.notes)
    return replace(done, masters=done.masters.with_(candidates), notes=(*done.notes, *named))


def _by_night(
    kind: str, groups: Iterable[list[Frame]], nights: Nights, min_frames: int | None
) -> Iterator[tuple[str, list[Frame]]]:
    """Divide the flats of a folder with several nights, because dust moves from night to night."""
    for group in groups:
        if kind == "flat":
            fewest = min_frames or group[0].recipe.limits.frames_for(kind)
            yield from nights.divided(group, fewest).items()
        else:
            yield "", group


def _asked_for(
    frames: Mapping[str, Sequence[Frame]], without: tuple[str, ...]
) -> dict[tuple, list[DetectorArea]]:
    """Return the types of masters that frames need, each with the read-out of these frames.

    The values are the parts of the detector that they need, of cameras that read windows.
    """
    night = (frame for of_type in frames.values() for frame in of_type)
    kinds = {(id(f.recipe), f.flat_key, read_out(f), f.area): f for f in night}
    steps = [step for step in STEPS if step not in without]
    asking: dict[tuple, list[DetectorArea]] = {}
    for f in kinds.values():
        for step in steps:
            if f.recipe.needs_master(step):
                areas = asking.setdefault((step, read_out(f, step)), [])
                areas += [] if f.area is None else [f.area]
    return asking


def _groups_asked_for(
    kind: str,
    frames: Mapping[str, Sequence[Frame]],
    asking: Mapping[tuple, Sequence[DetectorArea]],
) -> list[list[Frame]]:
    """Return the groups of a type that are needed; of arcs all of them."""
    return [
        group
        for group in groups_of(kind, frames.get(kind, ()))
        if kind == "arc" or _is_asked_for(kind, group[0], asking)
        if kind != "flat" or group[0].recipe.flat is not None
    ]


def _is_asked_for(kind: str, frame: Frame, asking: Mapping[tuple, Sequence[DetectorArea]]) -> bool:
    """Return True if a frame has the read-out of masters that other frames need."""
    areas = asking.get((kind, read_out(frame, kind)))
    if areas is None or frame.area is None:
        return areas is not None
    return any(not area.why_not_in(frame.area, kind) for area in areas)


def _with_inputs(frames: Iterable[Frame], done: _Done, without: tuple[str, ...]) -> _Done:
    """Choose the masters of frames, or record what they lack."""
    inputs, missing = [], []
    for frame in frames:
        chosen = choose_masters(frame, done.masters, without)
        if isinstance(chosen, Input):
            inputs.append((frame, chosen))
        elif (
            not frame.origin
        ):  # for a frame of another night, the frames that need it have the reason
            missing.append(chosen)
    return replace(done, inputs=(*done.inputs, *inputs), missing=(*done.missing, *missing))


def _products(done: _Done) -> tuple[Product, ...]:
    """Return the products of the science frames that have all masters they need."""
    science = [(frame, chosen) for frame, chosen in done.inputs if frame.type == "science"]
    names = product_names(frame for frame, _ in science)
    return tuple(Product(name, chosen) for name, (_, chosen) in zip(names, science, strict=True))


def _together(
    step: str, frames: Mapping[str, Sequence[Frame]], without: tuple[str, ...]
) -> tuple[str, ...]:
    """Return all steps that must be omitted with a step, so that no result is wrong."""
    out = {*without, step}
    exposed = [f for kind in ("flat", "science") for f in frames.get(kind, ())]
    if "bias" in out and any(f.recipe.dark == "scale" for f in exposed):
        out.add("dark")
    if any(
        f.recipe.flat
        and not f.amplifiers.has_overscan
        and all(s in out or not f.recipe.has(s) for s in ("bias", "dark"))
        for f in exposed
    ):
        out.add("flat")
    return tuple(s for s in STEPS if s in out)


def check_steps(steps: Iterable[str]) -> tuple[str, ...]:
    """Refuse a step that cannot be omitted.

    Raises
    ------
    PlanError
    """
    steps = (steps,) if isinstance(steps, str) else tuple(steps)
    for step in steps:
        if step not in STEPS:
            raise PlanError(
                f"without={step!r} is not a step that can be omitted; use one of "
                f"{', '.join(STEPS)}{nearest(step, STEPS)}."
            )
    return steps


def _check_without(frames: Iterable[Frame], without: tuple[str, ...]) -> None:
    """Refuse to omit the bias and scale darks that contain it."""
    if "bias" not in without or "dark" in without:
        return
    for frame in frames:
        if frame.recipe is not None and frame.recipe.dark == "scale":
            raise PlanError(
                f"without the bias step, the darks of {frame.profile.name} would be scaled although they "
                "still contain their bias; omit the dark as well, or do not omit the bias."
            )
