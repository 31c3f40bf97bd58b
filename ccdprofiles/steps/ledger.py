"""What a frame still contains according to its cards, and the refusal of wrong steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from astropy import units as u
from astropy.nddata import CCDData

from ..camera.profile import Profile
from ..camera.recipe import Recipe
from ..errors import PlanError
from ..reduce.inputs import omitted_steps
from .pipeline import LETTERS
from .source import FileFrame, MemoryFrame
from .tracked import CUT, Master, Origin

__all__ = [
    "State",
    "check_alike",
    "check_masters",
    "check_recorded",
    "check_steps",
    "check_unit",
    "missing_steps",
    "scale_of_dark",
]


@dataclass(frozen=True)
class State:
    """The steps that were done to a frame according to its cards, and what it still contains.

    Parameters
    ----------
    type : str
        bias, dark, flat, arc or science.
    letters : str
        O overscan, B bias, D dark, F flat.
    pedestal : bool
        Whether the pedestal is still in it.
    profile, amplifiers, binning : str
        Of the camera, from CPPROF, CPAMPS and CPBIN.
    """

    type: str
    letters: str
    pedestal: bool
    profile: str
    amplifiers: str
    binning: str

    @classmethod
    def of(cls, meta: Mapping) -> State | None:
        """Read the state from cards; None if they are not those of this package."""
        if "CALSTAT" not in meta or "HASPED" not in meta:
            return None
        return cls(
            type=str(meta.get("CPTYPE", "")),
            letters=str(meta["CALSTAT"]),
            pedestal=bool(meta["HASPED"]),
            profile=str(meta.get("CPPROF", "")),
            amplifiers=str(meta.get("CPAMPS", "")),
            binning=str(meta.get("CPBIN", "")),
        )


def check_unit(profile: Profile, frame: CCDData) -> None:
    """Refuse a frame that is neither in the unit of raw frames nor in electrons.

    Raises
    ------
    PlanError
    """
    if frame.unit not in (profile.unit, u.electron):
        raise PlanError(
            f"this frame is in {frame.unit}, but frames of {profile.name or 'this profile'} are in "
            f"{profile.unit}, or in electron once the gain is applied; begin with prepare(), and "
            "apply the gain with electrons=True."
        )


_STEPS_OF_CCDPROC = (
    ("subtract_bias", "subbias", "B"),
    ("subtract_dark", "subdark", "D"),
    ("flat_correct", "flatcor", "F"),
    ("gain_correct", "gaincor", "gain"),
)
"""The functions of ccdproc, the cards in which it records them, and the letters of CALSTAT."""


def check_steps(meta: Mapping, state: State, name: str) -> None:
    """Refuse a prepared frame that was calibrated with ccdproc, which CALSTAT does not record.

    Raises
    ------
    PlanError
    """
    cards = {str(card).lower() for card in meta}
    for function, card, letter in _STEPS_OF_CCDPROC:
        if {function, card} & cards and letter not in set(state.letters):
            raise PlanError(
                f"{name} was changed by ccdproc.{function} ({card.upper()}), which is not in CALSTAT = "
                f"{state.letters!r}, so what it still contains is not known; begin with the prepared frame, "
                "and use calibrate()."
            )


def check_masters(
    profile: Profile, frame: CCDData, state: State, recipe: Recipe, masters: list[Master]
) -> None:
    """Refuse masters that would give wrong results for a frame.

    Raises
    ------
    PlanError
    """
    _check_whole(frame.meta, "this frame")
    if state.profile != profile.name:
        raise PlanError(
            f"this frame was prepared by the profile {state.profile or '(no name)'}, but "
            f"{profile.name or '(no name)'} was used to calibrate it; use one profile for both."
        )
    for master in masters:
        if LETTERS[master.type] in state.letters:
            verb = (
                "divided by its flat"
                if master.type == "flat"
                else f"corrected for its {master.type}"
            )
            raise PlanError(
                f"this frame is already {verb} (CALSTAT = {state.letters!r}), and {master.name} "
                f"would repeat this step; omit {master.type}=."
            )
        if master.type != "flat" and "F" in state.letters:
            raise PlanError(
                f"this frame is already divided by its flat (CALSTAT = {state.letters!r}), and {master.name} "
                f"must be subtracted before; begin with the prepared frame, and use {master.type}= with flat=."
            )
        own = State.of(master.meta)
        if own is not None:
            _check_camera(state, own, master)
        _check_plane(frame, master)
        _check_whole(master.meta, master.name)
        _check_match(profile, frame, master, foreign="CPPROF" not in master.meta)
    _check_pedestal(state, masters)


def _check_plane(frame: CCDData, master: Master) -> None:
    """Refuse a master of another shape or unit."""
    if master.data.shape != frame.shape:
        rows, columns = master.data.shape
        raise PlanError(
            f"{master.name} has {columns} columns and {rows} rows, but the frame has {frame.shape[1]} "
            f"and {frame.shape[0]}; use a master of the same binning, trimmed in the same way as the frame."
        )
    if master.type != "flat" and master.unit != frame.unit:
        raise PlanError(
            f"{master.name} is in {master.unit}, but the frame is in {frame.unit}; subtract masters "
            "in the unit of the frame, before the gain is applied (electrons=False)."
        )


def _check_camera(state: State, own: State, master: Master) -> None:
    """Refuse a master of another kind, camera, amplifier set or binning."""
    if own.type != master.type:
        raise PlanError(
            f"CPTYPE of the frame in {master.type}= is {own.type!r}; use a master {master.type}."
        )
    for field, card, what in (
        ("profile", "CPPROF", "another camera"),
        ("binning", "CPBIN", "another binning"),
        ("amplifiers", "CPAMPS", "another amplifier set"),
    ):
        theirs, ours = getattr(own, field), getattr(state, field)
        if theirs and theirs != ours:
            raise PlanError(
                f"{master.name} is of {what} ({card} = {theirs!r}, and {ours!r} in the frame); "
                f"use a {master.type} that was read out in the same way as the frame."
            )


def _check_whole(meta: Mapping, name: str) -> None:
    """Refuse a slice, as its amplifiers are no longer where its cards say."""
    if CUT in meta:
        raise PlanError(
            f"{name} is a part of a frame, or was flipped (CPCUT = T), so its amplifiers are not "
            "where its other cards say; calibrate whole frames, and cut them afterwards."
        )


def _check_match(profile: Profile, frame: CCDData, master: Master, foreign: bool) -> None:
    """Refuse a flat in another filter, and a master that differs in a card of ``match``."""
    pairs = [
        (card, value, _text(master.meta.get(card)))
        for card, value in profile.match_of(master.type, frame.meta)
        if card in master.meta
    ]
    if master.type == "flat" and "CPFILT" in master.meta:
        theirs = _text(master.meta["CPFILT"])
        pairs.append(("the filter", profile.text_of("filter", frame.meta), theirs))
    elif master.type == "flat" and foreign and isinstance(profile.filter, str):
        card = profile.filter
        if card in master.meta and card in frame.meta:
            pairs.append((card, _text(frame.meta[card]), _text(master.meta[card])))
    for card, ours, theirs in pairs:
        if ours != theirs:
            raise PlanError(
                f"{card} is {theirs!r} in {master.name} and {ours!r} in the frame; "
                f"use a {master.type} that was taken in the same way as the frame."
            )


def _check_pedestal(state: State, masters: list[Master]) -> None:
    """Refuse masters that subtract the pedestal twice or not at all, or a flat that divides it."""
    given = {m.type: m for m in masters}
    dark = given.get("dark")
    bias_off = "bias" in given or "B" in state.letters
    if dark is not None and (own := State.of(dark.meta)) is not None:
        if bias_off and "B" not in own.letters:
            raise PlanError(
                f"{dark.name} still contains its bias, which is also subtracted separately and "
                "would be subtracted twice; subtract the bias from the darks before they are "
                "combined."
            )
        if not bias_off and "B" in own.letters:
            raise PlanError(
                f"the bias was subtracted from {dark.name}, but not from this frame, which would "
                "still contain it; use bias= as well."
            )
    pedestal = state.pedestal and not bias_off and dark is None
    if "flat" in given and pedestal:
        raise PlanError(
            "this frame still contains its pedestal (HASPED = T), which must not be divided by a "
            "flat; use bias= or dark= as well."
        )
    flat = given.get("flat")
    if flat is not None and flat.meta.get("HASPED", False):
        raise PlanError(
            f"{flat.name} still contains its pedestal (HASPED = T), which must not divide a frame; "
            "subtract bias or dark from the flats before they are combined."
        )


def scale_of_dark(
    frame_exposure: float | None, recipe: Recipe, dark: Master | None, dark_exposure: float | None
) -> float:
    """Return the factor of a dark, or refuse one of another exposure.

    Raises
    ------
    PlanError
    """
    if dark is None:
        return 1.0
    if frame_exposure is None or not dark_exposure:
        where = "the frame" if frame_exposure is None else dark.name
        raise PlanError(
            f"the exposure of {where} is not known, so the dark cannot be compared "
            "with the frame; write it into the header (meta)."
        )
    if recipe.dark != "scale":
        tolerance = recipe.exposure_tolerance.to_value(u.s)
        off = abs(dark_exposure - frame_exposure)
        if off > tolerance:
            raise PlanError(
                f"the exposure of {dark.name} is {dark_exposure:g} s, that of the frame {frame_exposure:g} s; "
                f"they differ by {off:g} s, but the recipe allows {tolerance:g} s; use a dark of "
                f"{frame_exposure:g} s, or set Recipe(bias=True, dark='scale')."
            )
        return 1.0
    scale = frame_exposure / dark_exposure
    own = State.of(dark.meta)
    if own is not None and "B" not in own.letters and abs(scale - 1) > 0:
        raise PlanError(
            f"{dark.name} still contains its pedestal, which must not be scaled by {scale:.6g}; "
            "subtract the bias from the darks before they are combined."
        )
    return scale


def check_alike(
    frames: Sequence[CCDData | FileFrame | MemoryFrame],
    states: list[State | None],
    method: str | None = None,
    scaled: bool = False,
) -> None:
    """Refuse a stack whose frames do not belong together.

    Raises
    ------
    PlanError
    """
    for number, (frame, state) in enumerate(zip(frames, states, strict=True), 1):
        if frame.shape != frames[0].shape:
            raise PlanError(
                f"frame {number} has the shape {frame.shape}, but the first {frames[0].shape}; combine "
                "frames of one shape."
            )
        if frame.unit != frames[0].unit:
            raise PlanError(
                f"frame {number} is in {frame.unit}, but the first in {frames[0].unit}; combine "
                "frames of one unit."
            )
        if state is not None:
            check_steps(frame.header, state, f"frame {number}")
            _check_kind(number, frame, state, method, scaled)
        first = states[0]
        if (state is None) != (first is None):
            without, prepared = (number, 1) if state is None else (1, number)
            raise PlanError(
                f"frame {without} has no cards CALSTAT and HASPED, but frame {prepared} has; combine "
                "frames that were all prepared with prepare()."
            )
        if state is None or first is None or state == first:
            continue
        for field, card in (
            ("profile", "CPPROF"),
            ("amplifiers", "CPAMPS"),
            ("binning", "CPBIN"),
            ("type", "CPTYPE"),
            ("letters", "CALSTAT"),
        ):
            ours, theirs = getattr(state, field), getattr(first, field)
            if ours != theirs:
                raise PlanError(
                    f"{card} is {ours!r} in frame {number}, but {theirs!r} in the first; combine "
                    "frames of one kind that were read out and calibrated in the same way."
                )


def _check_kind(
    number: int,
    frame: CCDData | FileFrame | MemoryFrame,
    state: State,
    method: str | None,
    scaled: bool,
) -> None:
    """Refuse a calibration frame of which no master can be made."""
    if state.type in (*LETTERS, "arc") and frame.unit == u.electron:
        raise PlanError(
            f"frame {number} is a {state.type} in electron, but masters are made before the gain is "
            "applied; use calibrate() with electrons=False for these frames."
        )
    if method == "sum" and state.type in LETTERS:
        raise PlanError(
            f"frame {number} is a {state.type}, and a master {state.type} has the level of one frame; "
            "use method='average' or 'median', as only arcs and science frames are summed."
        )
    if scaled and state.type in ("bias", "dark"):
        raise PlanError(
            f"frame {number} is a {state.type}, and its level must not be changed before it is "
            "subtracted; omit scale=, as only flats are scaled."
        )
    if state.type == "flat" and state.pedestal:
        raise PlanError(
            f"frame {number} is a flat that still contains its pedestal (HASPED = T), so its level "
            "is not that of its light; subtract bias or dark with calibrate() before flats are combined."
        )


def check_recorded(
    frames: Sequence[FileFrame | MemoryFrame], states: Sequence[State | None], missing: str
) -> None:
    """Refuse calibration frames that would lose what their recipe asks for without a word.

    Parameters
    ----------
    frames : sequence of FileFrame or MemoryFrame
        Without a record of their profile, or of their masters.
    states : sequence of State or None
        Of each.
    missing : str
        The options with which the caller can say how they are combined, and did not.

    Raises
    ------
    PlanError
    """
    for number, (frame, state) in enumerate(zip(frames, states, strict=True), 1):
        if missing and state is not None and state.type in (*LETTERS, "arc"):
            name = f"frame {number}"
            name += f" ({frame.name})" if isinstance(frame, FileFrame) else ""
            raise PlanError(
                f"{name} is {'an' if state.type == 'arc' else 'a'} {state.type} without the record "
                "that prepare() and calibrate() keep in memory (it was read from a file, cut or "
                f"changed), so the recipe of {state.profile or 'its profile'} cannot be followed; "
                f"combine frames in memory, or specify {missing} for plain images."
            )


def missing_steps(origin: Origin, letters: str) -> list[str]:
    """Name the bias and dark that the recipe of a frame uses and that were not subtracted."""
    frame = origin.frame
    return [
        f"no {step} was subtracted, although the recipe of {origin.profile.name} uses one"
        for step in omitted_steps(("bias", "dark"), frame, frame.type)
        if LETTERS[step] not in letters
    ]


def _text(value: object) -> str | None:
    return None if value is None else str(value).strip()
