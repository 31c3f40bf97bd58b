"""Why a frame cannot be calibrated as its recipe requires, in one sentence for each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from ..camera.header_values import card_names
from ..camera.settings import Setting, why_unknown
from .candidates import Candidate, Candidates, exposure_of, temperature_tolerance
from .frames import Frame
from .match_cards import differing_cards
from .plan import Master, too_few
from .reason import Reason
from .setup_cards import CHIP
from .wording import plural, seconds

__all__ = [
    "few_frames",
    "mixed_setup",
    "no_bias",
    "no_bias_level",
    "no_dark",
    "no_flat",
    "pedestal",
]


def no_bias(frame: Frame, masters: Candidates) -> Reason:
    """Return why there is no bias for a frame."""
    there = masters.for_frame("bias", frame)
    if there:
        text = f"no bias{_set_otherwise(there, frame, masters)}"
    else:
        text = f"no bias of {_described(frame)}{_other_masters('bias', frame, masters)}."
    return Reason(frame.file, "no-bias", text)


def no_bias_level(frame: Frame, fault: str = "") -> Reason:
    """Return why the constant bias of a frame is not known.

    Parameters
    ----------
    frame : Frame
    fault : str
        What is wrong with its header; empty if its bias is just not known.
    """
    bias, text = frame.recipe.bias, fault
    if not fault:
        why = why_unknown(bias, frame.header)
        if not why and isinstance(bias, Setting):
            why = f"{card_names(bias.card)} is missing"
        text = (
            f"{why or 'the function bias= of the recipe returns nothing for its header'}, but the "
            "recipe subtracts a constant from every frame; add it to bias= of the recipe, or omit the "
            "step with without=['bias'] (--without bias)."
        )
    return Reason(frame.file, "bias-level", f"no constant bias: {text}")


def no_dark(
    frame: Frame, there: Sequence[Candidate], tolerance: float, masters: Candidates
) -> Reason:
    """Return why none of the available darks can be used for a frame."""
    text = f"no dark{_dark_wanted(frame, there, tolerance, masters)}"
    return Reason(frame.file, "no-dark", text)


def no_flat(frame: Frame, masters: Candidates) -> Reason:
    """Return why there is no flat for a frame."""
    wanted = "no flat" + (f" in filter {frame.filter}" if frame.filter else " without a filter")
    there = masters.for_frame("flat", frame)
    of_filter = [c for c in there if c.master.filter == frame.filter]
    if of_filter:
        text = f"{wanted}{_set_otherwise(of_filter, frame, masters)}"
    elif there:
        others = ", ".join(sorted({c.master.filter or "no filter" for c in there}))
        text = f"{wanted}; there are flats in {others}."
    else:
        text = f"{wanted} of {_described(frame)}{_other_masters('flat', frame, masters)}."
    return Reason(frame.file, "no-flat", text)


def pedestal(frame: Frame) -> Reason:
    """Return why a frame from which no pedestal is subtracted must not be divided by a flat."""
    return Reason(
        frame.file,
        "pedestal",
        "it still contains its pedestal, and such a frame must not be divided "
        "by a flat; omit the flat as well, or subtract a bias or dark.",
    )


def few_frames(frame: Frame, master: Master) -> Reason:
    """Return why a frame goes into no master: there are too few of its kind."""
    return Reason(frame.file, "few-frames", too_few(master, len(master.inputs)))


def mixed_setup(frame: Frame, what: str, differences: str) -> Reason:
    """Return why a frame goes into no master: others have different settings, which is refused."""
    return Reason(
        frame.file,
        "mixed-setup",
        f"the {what} were taken with different settings ({differences}), but mixed_setup='refuse' "
        "allows only one; reject the frames with the wrong settings, or use mixed_setup='split' "
        "to make one master for each.",
    )


# What a frame needs, and what is available.


def _dark_wanted(
    frame: Frame, there: Sequence[Candidate], tolerance: float, masters: Candidates
) -> str:
    fitting = masters.usable(there, frame)
    off = {c.master.name: abs(exposure_of(c.master) - exposure_of(frame)) for c in there}
    near = [c for c in there if off[c.master.name] <= tolerance]
    if near or (there and not fitting):
        of_exposure = (
            ""
            if _only_temperature(near or there, frame, masters)
            else f" of {seconds(frame.exposure)}"
        )
        return of_exposure + _set_otherwise(near or there, frame, masters)
    scaled = frame.recipe.dark == "scale"
    wanted = "any exposure" if scaled else f"{seconds(frame.exposure)} ± {seconds(tolerance)}"
    if not fitting:
        return f" of {wanted} and {_described(frame)}{_other_masters('dark', frame, masters)}."
    nearest = min((off[c.master.name], c.master.name, c.master.exposure) for c in fitting)
    hint = f" of {wanted}; the nearest is {seconds(nearest[2])}, which differs by {seconds(nearest[0])}."
    own = exposure_of(frame)
    longer = any(c.master.bias_off and exposure_of(c.master) > own for c in fitting)
    if longer and frame.recipe.has("bias"):
        hint += " To scale a longer dark, use dark='scale' in the recipe (--set dark=scale)."
    return hint


def _only_temperature(candidates: Sequence[Candidate], frame: Frame, masters: Candidates) -> bool:
    """Return True if masters are wrong for a frame because of the temperature of the chip alone."""
    return all(masters.compared(c, frame).blocked == (CHIP,) for c in candidates)


def _of_temperature(candidates: Sequence[Candidate], frame: Frame, masters: Candidates) -> str:
    """Describe which temperature a frame needs, and which are available."""
    kind = candidates[0].master.type
    chips = {c.setup.chip for c in candidates} - {None}
    there = ", ".join(sorted(f"{chip:.4g}" for chip in chips)) or "unknown"
    wanted = f"{masters.settings.of(frame).chip:.4g} ± {temperature_tolerance(frame, kind):g} °C"
    return f" of {wanted}; there are {plural(kind)} of {there} °C."


def _set_otherwise(candidates: Sequence[Candidate], frame: Frame, masters: Candidates) -> str:
    """Describe which setting a frame needs, and which are available."""
    if _only_temperature(candidates, frame, masters):
        return _of_temperature(candidates, frame, masters)
    blocked = [masters.compared(c, frame).blocked for c in candidates]
    wanted = masters.settings.of(frame).phrase({p for places in blocked for p in places})
    pairs = zip(candidates, blocked, strict=True)
    there = sorted({c.setup.phrase(places) for c, places in pairs})
    return f"{wanted}; there are {plural(candidates[0].master.type)}{', or'.join(there[:3])}; if a card does not matter, add it to ignore_cards= of the profile."


def _other_masters(kind: str, frame: Frame, masters: Candidates) -> str:
    """Describe the masters of a type, and why each is wrong for a frame."""
    name = frame.profile.name
    there = [
        c for c in masters.by_name.values() if (c.master.type, c.master.profile) == (kind, name)
    ]
    if not there:
        unused = [f for f in masters.frames.get(kind, ()) if f.profile.name == name]
        if unused:
            return (
                f"; the {len(unused)} of the night cannot be used for the reasons listed with them"
            )
        return f"; the night has none of {name}"
    texts = {f"{PurePosixPath(c.master.name).stem} {_wrong_in(c, frame)}": c for c in there}
    nearest = sorted(texts, key=lambda text: (_distance(texts[text], frame), text))
    return "; " + "; ".join(nearest[:3])


def _distance(candidate: Candidate, frame: Frame) -> tuple[float, ...]:
    """Return how far a master is from what a frame needs, so that the nearest is named first."""
    master = candidate.master
    cards = len(differing_cards(master.type, master.match, frame))
    if master.type == "dark" and master.exposure is not None:
        return cards, abs(master.exposure - exposure_of(frame))
    return cards, float(master.type == "flat" and master.filter != frame.filter)


def _wrong_in(candidate: Candidate, frame: Frame) -> str:
    """Describe why a master is wrong for a frame."""
    master = candidate.master
    wrong = differing_cards(master.type, master.match, frame)
    if master.binning != frame.binning:
        return f"is binned {_binning(master.binning)}"
    reads_windows = candidate.area is not None
    alike = candidate.covers(frame) if reads_windows else master.readout == frame.amplifier_key
    if master.type == "dark" and alike and not wrong:
        return "had its bias subtracted" if master.bias_off else "still contains its bias"
    if candidate.area is not None and frame.area is not None:
        if why := frame.area.why_not_in(candidate.area, master.type):
            return why
        return f"has {', '.join(wrong) or 'other cards'}"
    if candidate.shape not in (None, frame.shape):
        return f"has {candidate.shape[1]}x{candidate.shape[0]} pixels"
    own = frame.flat_key if candidate.flat_key else frame.amplifier_key
    if (candidate.flat_key or master.readout) != own:
        return "was read out by other amplifiers"
    return f"has {', '.join(wrong) or 'other cards'}"


def _described(frame: Frame) -> str:
    rows, columns = frame.shape
    if frame.area is not None:
        return f"the window {frame.area.section} binned {_binning(frame.binning)}"
    return f"{columns}x{rows} pixels binned {_binning(frame.binning)}"


def _binning(binning: tuple[int, int]) -> str:
    return f"{binning[0]}x{binning[1]}"
