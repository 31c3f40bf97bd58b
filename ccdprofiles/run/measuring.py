"""Measure the frames of a night, and compare them with each other."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np
from astropy import units as u

from ..errors import FrameRejected
from ..pixels.measure import take_level
from ..plan.frames import Frame
from ..plan.reason import Reason
from ..plan.wording import grouped
from ..reduce.inputs import picklable
from .duplicates import same_pixels
from .jobs import MeasureJob
from .levels import deviation, largest_drift
from .runstate import RunState
from .verdicts import judge_pixels, same_settings
from .workers import Workers

__all__ = ["measure_frames"]

log = logging.getLogger(__name__)

_SHUTTER_CLOSED = (("bias", "dark"), ("science", "arc"))
"""The types whose overscan gives the nightly level, the best first."""

_BATCH_BYTES = 32 * 2**20
_BATCH_FILES = 64


def measure_frames(state: RunState, workers: Workers) -> None:
    """Measure every frame of a plan, and set aside those that cannot be used.

    Parameters
    ----------
    state : RunState
    workers : Workers

    Raises
    ------
    OSError
        If an operation of the system fails that does not concern a single file.
    """
    plan = state.plan
    files = sorted(
        {i.file for m in (*plan.masters, *plan.compared) for i in m.inputs}
        | {p.input.file for p in (*plan.products, *plan.measured)}
    )
    step = state.settings.progress("frames", len(files))
    for batch in _batches([state.frames[file] for file in files]):
        workers.submit(MeasureJob(tuple(picklable(frame) for frame in batch)))
    for job, outcome in workers.finished():
        if isinstance(outcome, Exception):
            outcome = [outcome] * len(job.files)
        for file, found in zip(job.files, outcome, strict=True):
            step()
            if isinstance(found, FrameRejected):
                state.fail(file, found.code, str(found))
            elif isinstance(found, Exception):
                raise found
            else:
                state.measured[file] = found
    judge_pixels(state)
    state.made.notes += grouped(same_pixels(state.measured))
    _take_nightly_levels(state)
    _note_overscan_scatter(state)


def _batches(frames: Sequence[Frame]) -> Iterator[list[Frame]]:
    """Group small frames, so that a job is worth its overhead."""
    batch: list[Frame] = []
    size = 0
    for frame in frames:
        if batch and (size + frame.raw.size > _BATCH_BYTES or len(batch) >= _BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(frame)
        size += frame.raw.size
    if batch:
        yield batch


def _take_nightly_levels(state: RunState) -> None:
    """Replace overscan levels that are too far from the nightly median, where recipes ask so."""
    groups: dict[tuple, tuple[float, list[str]]] = {}
    settings = same_settings(state)
    for file in state.measured:
        frame = state.frames[file]
        limit = frame.recipe.overscan_drift
        if limit is not None:
            key = (frame.profile.name, frame.amplifier_key, frame.binning, settings[file])
            groups.setdefault(key, (limit.to_value(u.adu), []))[1].append(file)
    notes: list[Reason] = []
    for drift, files in groups.values():
        night = _nightly_levels(state, files)
        for file in files:
            own = state.measured[file].level
            state.measured[file] = take_level(state.measured[file], night, drift)
            replaced = state.measured[file].level_from_night
            if any(replaced):
                levels = zip(own, night, replaced, strict=True)
                far = [(o, n) for o, n, r in levels if r and o is not None and n is not None]
                worst = max(far, key=lambda pair: abs(pair[0] - pair[1]))
                text = deviation("overscan level", *worst, drift)
                note = Reason.note(file, f"{text}; using the nightly median.")
                log.warning("%s", note)
                # Recipes have a drift because of light in the overscan; this is more.
                if abs(worst[0] - worst[1]) > largest_drift(worst[1]):
                    notes.append(note)
    state.made.notes += grouped(notes)


def _nightly_levels(state: RunState, files: Sequence[str]) -> list[float | None]:
    """Return the median overscan level of each amplifier, from frames with a closed shutter."""
    # Light may spill into the overscan of a flat, and never into that of a bias.
    kinds = {k: [f for f in files if state.frames[f].type in k] for k in _SHUTTER_CLOSED}
    asked = next((chosen for chosen in kinds.values() if chosen), files)
    levels = [state.measured[f].level for f in asked]
    return [
        None if None in amplifier else float(np.median(amplifier))
        for amplifier in zip(*levels, strict=True)
    ]


def _note_overscan_scatter(state: RunState) -> None:
    """Note an overscan that scatters far more than its read noise: light may fall on it."""
    odd: dict[tuple, list[tuple[str, float, float]]] = {}
    for file, measured in state.measured.items():
        for readout, noise in zip(measured.amplifiers.readouts, measured.noise, strict=True):
            expected = readout.read_variance and readout.read_variance**0.5
            if noise and expected and noise > 3 * expected:
                key = (state.frames[file].profile.name, readout.overscan_text)
                odd.setdefault(key, []).append((file, noise, expected))
    for (name, section), found in odd.items():
        file, noise, expected = max(found, key=lambda f: f[1])
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        state.made.notes.append(
            f"{name}: overscan {section} scatters by {noise:.3g} adu in {file}{more}, but the "
            f"read noise is {expected:.3g} adu; check whether light falls on it."
        )
