"""The masters of one type: their frames, what is subtracted from each, and their properties."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..camera.header_values import time_of
from .candidates import Settings, temperature_tolerance
from .frames import Frame
from .groups import Part
from .match_cards import mean_match
from .missing import few_frames
from .names import Draft
from .plan import Input, Master
from .reason import Reason
from .setup_cards import mean_setup
from .wording import cards_phrase

__all__ = ["drafts_of"]


def drafts_of(
    kind: str,
    part: Part,
    inputs: Sequence[tuple[Frame, Input]],
    settings: Settings,
    min_frames: int | None,
) -> Iterator[Draft | Reason]:
    """Describe the masters of frames with the same settings, or why a frame goes into none.

    Parameters
    ----------
    kind : {"bias", "dark", "flat", "arc"}
    part : Part
    inputs : sequence of (Frame, Input)
        Those of its frames that have the masters they need.
    settings : Settings
    min_frames : int or None
        The smallest number of frames for a bias, dark or flat, if the caller overrules the recipes.
    """
    # The bias is subtracted once darks or arcs are combined, so they must share it; so must flats
    # that have a constant one, as it is a setting of the camera.
    by_bias: dict[str | float | None, list[tuple[Frame, Input]]] = {}
    for frame, chosen in inputs:
        shared = chosen.bias if kind != "flat" or chosen.master_bias is None else None
        by_bias.setdefault(shared, []).append((frame, chosen))
    notes = part.notes
    for used in by_bias.values():
        frames = tuple(frame for frame, _ in used)
        draft = _draft(kind, part, frames, tuple(chosen for _, chosen in used), settings)
        if min_frames is not None and kind != "arc":  # arcs are summed, and one is enough
            draft = replace(draft, master=replace(draft.master, minimum=min_frames))
        if len(frames) < draft.master.minimum:
            yield from (few_frames(frame, draft.master) for frame in frames)
        else:
            yield replace(draft, notes=notes)
            notes = ()


def _draft(
    kind: str, part: Part, frames: tuple[Frame, ...], inputs: tuple[Input, ...], settings: Settings
) -> Draft:
    """Describe a master of frames that share their bias."""
    first = frames[0]
    exposures = [f.exposure for f in frames if f.exposure is not None]
    exposure = sum(exposures) / len(exposures) if exposures else None
    method = first.recipe.combine_for(kind).method
    if method == "sum" and exposures:
        exposure = sum(exposures)
    match = mean_match(kind, frames)
    setup = mean_setup(settings.of_all(frames))
    limited = first.recipe.limits.temperature_of(kind) is not None
    times = [time for f in frames if (time := time_of(f.date)) is not None]
    # The name of a flat already contains its cards of match.
    of_match = cards_phrase(match) if kind in ("bias", "dark") else ""
    master = Master(
        name="",
        type=kind,
        inputs=inputs,
        profile=first.profile.name,
        readout=first.amplifier_key,
        binning=first.binning,
        exposure=exposure,
        filter=first.filter if kind in ("flat", "arc") else None,
        match=match,
        method=method,
        time=sum(times) / len(times) if times else None,
        bias_off=inputs[0].bias is not None,
        minimum=first.recipe.limits.frames_for(kind),
        temperature=setup.chip if limited or part.by_temperature else None,
        settings=setup.known,
        among=part.among or of_match,
    )
    return Draft(master, setup, frames, part.others, temperature_tolerance(first, kind))
