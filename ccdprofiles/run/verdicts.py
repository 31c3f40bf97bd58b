"""Check the measured frames: which are set aside, and what is noted."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from math import inf

import numpy as np

from ..errors import FrameRejected
from ..pixels.outliers import noise_ratios, outliers
from ..pixels.quality import Quality, judge, light_of
from ..plan.plan import Master
from ..plan.reason import Reason
from ..plan.setup_cards import same_setup
from ..plan.setup_reader import SetupReader
from .levels import Body, darker_than_bias, deviation, doubtful_levels
from .mistakes import mistakes
from .runstate import RunState

__all__ = ["judge_pixels", "same_settings"]

log = logging.getLogger(__name__)

_WRAPPED = 1e-4
_GROUP = 4
"""The smallest number of frames of which an outlier is set aside."""
_MANY = 3
"""The smallest number of frames that deviate together because the level of a camera drifts."""


def judge_pixels(state: RunState) -> None:
    """Set aside the frames that fail a check of their pixels.

    A frame that the caller keeps is used, with a note. First each frame is checked by itself, then
    the remaining frames of each master together.

    Parameters
    ----------
    state : RunState
        With measured frames, before anything is made of them.
    """
    settings = same_settings(state)
    _note_wrapped(state)
    _judge_overscan(state, settings)
    for file, measured in sorted(state.measured.items()):
        frame = state.frames[file]
        wrong = judge(
            frame.type,
            measured.quality,
            frame.recipe,
            measured.amplifiers,
            measured.level,
            frame.mosaic is not None,
        )
        if wrong is not None:
            _set_aside(state, file, wrong)
    for master in (*state.plan.masters, *state.plan.compared):
        _judge_noise(state, master)
        _judge_level(state, master)
    state.made.notes += mistakes(state, settings)
    _note_light(state)
    _note_fits(state)


def _set_aside(state: RunState, file: str, wrong: FrameRejected) -> None:
    if file in state.plan.keep:
        state.made.overruled[file] = Reason(file, wrong.code, str(wrong))
        state.made.notes.append(f"{file}: kept by hand, although {wrong}")
        log.warning("%s: kept by hand, although %s", file, wrong)
        return
    state.fail(file, wrong.code, f"{wrong} To use it nevertheless: keep=[FILE] (--keep FILE).")
    del state.measured[file]
    log.warning("%s", state.made.failed[file])


def _of(state: RunState, master: Master) -> dict[str, Quality]:
    """Return the quality of those frames of a master that fail no check."""
    return {
        i.file: state.measured[i.file].quality
        for i in master.inputs
        if i.file in state.measured and i.file not in state.made.overruled
    }


def _judge_overscan(state: RunState, settings: Mapping[str, str]) -> None:
    """Compare the overscan level of every frame with the night's and with its own data."""
    plan = state.plan
    masters, products = (*plan.masters, *plan.compared), (*plan.products, *plan.measured)
    biases = {i.file: i.master_bias for m in masters for i in m.inputs}
    biases |= {i.file: m.name for m in masters if m.type == "bias" for i in m.inputs}
    biases |= {p.input.file: p.input.master_bias for p in products}
    setups = {**settings} | {file: name for file, name in biases.items() if name}
    wrong, notes = doubtful_levels(state.frames, state.measured, setups)
    for file, why in sorted(wrong.items()):
        _set_aside(state, file, why)
    state.made.notes += notes + darker_than_bias(state.frames, state.measured, setups)


def same_settings(state: RunState) -> dict[str, str]:
    """Return a label for each file; frames of a profile with the same settings share it."""
    files: dict[str, list[str]] = {}
    for file in state.measured:
        files.setdefault(state.frames[file].profile.name, []).append(file)
    settings: dict[str, str] = {}
    for members in files.values():
        reader = SetupReader(state.frames[members[0]].profile)
        setups = [reader.read(state.frames[file].header) for file in members]
        labels = map(str, same_setup(setups, inf))
        settings |= dict(zip(members, labels, strict=True))
    return settings


def _judge_level(state: RunState, master: Master) -> None:
    frames = _of(state, master)
    if frames:
        limits = state.frames[min(frames)].recipe.limits
        overscan = {file: state.measured[file].level for file in frames}
        found = outliers(master.type, frames, limits, overscan)
        if len(frames) < _GROUP:
            _note_level(state, master, frames, overscan)
        if len(found) >= _MANY and 4 * len(found) >= len(frames):
            state.made.notes.append(
                f"{master.name}: {len(found)} of its {len(frames)} frames deviate together, probably "
                "because the level of the camera drifts; all are used; check them."
            )
            return
        for file, wrong in found.items():
            _set_aside(state, file, wrong)


def _note_level(
    state: RunState,
    master: Master,
    frames: Mapping[str, Quality],
    overscan: Mapping[str, tuple[float | None, ...]],
) -> None:
    """Note a bias or dark of another level if there are too few to omit one."""
    if master.type not in ("bias", "dark"):
        return
    files = sorted(frames)
    levels = np.array([light_of(frames[f].level, overscan[f]) for f in files])
    odd: dict[str, str] = {}
    for own in levels.T[np.isfinite(levels).all(axis=0)]:
        body = Body.of(own)
        for n in np.flatnonzero(~body.inside):
            odd.setdefault(files[n], deviation("level", own[n], body.level, body.tolerance))
    state.made.notes += [
        f"{file}: {text}; all {len(files)} frames of {master.name} are used; check it for light, "
        "and reject it or take more frames."
        for file, text in odd.items()
    ]


def _judge_noise(state: RunState, master: Master) -> None:
    """Compare the noise of each bias, and of all together, with the read noise of the profile."""
    frames = _of(state, master) if master.type == "bias" else {}
    if not frames:
        return
    first = state.frames[min(frames)]
    limits = first.recipe.limits.read_noise
    ratios = noise_ratios(frames, first.amplifiers)
    if limits is None or not ratios[first.file]:
        return
    usual = np.median(list(ratios.values()), axis=0)
    known = (usual >= limits[0]) & (usual <= limits[1])
    span = f"{limits[0]:g} to {limits[1]:g} times"
    if not known.all():
        # If all of them deviate, the profile is wrong, and not the night.
        state.made.notes.append(
            f"{first.profile.name}: the {len(frames)} frames of {master.name} scatter by "
            f"{_furthest(usual):.3g} times the read noise of the profile{_part(~known)}, but {span} "
            "are expected; correct read_noise= or gain= in the profile."
        )
    for file, own in ratios.items():
        # Similar frames are treated equally, even if the limit is between them.
        odd = [
            ratio
            for ratio, other in zip(np.array(own)[known], usual[known], strict=True)
            if not (_within(ratio, limits) or _within(ratio / other, limits))
        ]
        if odd:
            wrong = FrameRejected(
                "read-noise",
                f"its pixels scatter by {_furthest(odd):.3g} times the read noise of the profile, but "
                f"{span} are expected of a bias; check that it was read out in the same way as the others.",
            )
            _set_aside(state, file, wrong)


def _part(which: np.ndarray) -> str:
    return f" in {np.count_nonzero(which)} of {which.size} amplifiers" if which.size > 1 else ""


def _within(ratio: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= ratio <= limits[1]


def _furthest(ratios: Iterable[float]) -> float:
    """Return the ratio that lies furthest from 1, as a factor."""
    return max(ratios, key=lambda r: max(r, 1 / r) if r > 0 else np.inf)


def _note_wrapped(state: RunState) -> None:
    """Note pixels far below zero: unsigned values that the file declares signed."""
    odd: dict[str, list[tuple[str, float]]] = {}
    for file, measured in sorted(state.measured.items()):
        if measured.quality.wrapped >= _WRAPPED:
            name = state.frames[file].profile.name
            odd.setdefault(name, []).append((file, measured.quality.wrapped))
    for found in odd.values():
        file, share = max(found, key=lambda f: f[1])
        state.made.notes.append(
            f"{file}{_and_more(found)}: {100 * share:.3g} % of its pixels are below -4096 adu, like "
            "values above 32767 in a file that declares them signed (BITPIX = 16 without BZERO); "
            "check that the camera writes BZERO = 32768."
        )


def _note_light(state: RunState) -> None:
    """Note rows whose overscan is contaminated by light, and how they were corrected."""
    odd: dict[tuple[str, str], list[tuple[str, int, int]]] = {}
    for file, measured in sorted(state.measured.items()):
        for readout, lifted in zip(measured.amplifiers.readouts, measured.n_lit_rows, strict=True):
            if lifted and readout.overscan is not None:
                key = (state.frames[file].profile.name, readout.overscan_text)
                odd.setdefault(key, []).append((file, lifted, readout.overscan.height))
    for (_, section), found in odd.items():
        file, lifted, rows = max(found, key=lambda f: f[1])
        state.made.notes.append(
            f"{file}{_and_more(found)}: light in the overscan {section}: {lifted} of its {rows} rows "
            "deviate; the level of the other rows is used for them."
        )


def _note_fits(state: RunState) -> None:
    """Note models of the overscan whose fit did not converge or is poorly determined."""
    odd: dict[tuple[str, str, str], list[str]] = {}
    for file, measured in sorted(state.measured.items()):
        frame = state.frames[file]
        for readout, doubtful in zip(measured.amplifiers.readouts, measured.poor_fit, strict=True):
            if doubtful and readout.overscan is not None:
                model, strip = frame.recipe.overscan, readout.overscan
                name = str(getattr(model, "name", None) or type(model).__name__)
                lines = f"{strip.width} columns" if readout.by_column else f"{strip.height} rows"
                odd.setdefault((frame.profile.name, name, lines), []).append(file)
    for (profile, name, lines), files in odd.items():
        state.made.notes.append(
            f"{profile}: the fit of {name} to the {lines} of overscan of {files[0]}"
            f"{_and_more(files)} did not converge or is poorly determined; use a model with fewer parameters in overscan= "
            "of the recipe, or better initial parameters."
        )


def _and_more(found: Sequence) -> str:
    return f" and {len(found) - 1} more" if len(found) > 1 else ""
