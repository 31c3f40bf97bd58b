"""Which master bias, dark and flat a frame uses."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import FrameRejected
from .candidates import Candidate, Candidates, best, exposure_of
from .frames import Frame
from .missing import no_bias, no_bias_level, no_dark, no_flat, pedestal
from .plan import Input
from .reason import Reason
from .setup_cards import SETUP

__all__ = ["choose_bias", "choose_dark", "choose_flat", "choose_masters"]


def choose_masters(frame: Frame, masters: Candidates, without: Iterable[str]) -> Input | Reason:
    """Choose the masters of a frame, or return why one is missing.

    Parameters
    ----------
    frame : Frame
    masters : Candidates
    without : iterable of {"bias", "dark", "flat"}
        Steps that are omitted on purpose.
    """
    recipe, exposed = frame.recipe, frame.type in ("flat", "science")
    bias: str | float | None = None
    dark: Candidate | None = None
    flat: Candidate | None = None
    scale = 1.0
    if frame.type != "bias" and recipe.has("bias") and "bias" not in without:
        of_bias = choose_bias(frame, masters)
        if isinstance(of_bias, Reason):
            return of_bias
        bias = of_bias if isinstance(of_bias, float) else of_bias.master.name
    if exposed and recipe.dark and "dark" not in without:
        choice = choose_dark(frame, masters, bias_off=bias is not None)
        if isinstance(choice, Reason):
            return choice
        dark = choice
        if recipe.dark == "scale":
            scale = exposure_of(frame) / exposure_of(dark.master)
    if exposed and recipe.flat and "flat" not in without:
        if not (bias or dark or frame.amplifiers.has_overscan):
            return pedestal(frame)
        if frame.type == "science":
            choice = choose_flat(frame, masters)
            if isinstance(choice, Reason):
                return choice
            flat = choice
    return Input(
        file=frame.file,
        bias=bias,
        dark=dark.master.name if dark else None,
        dark_scale=scale,
        flat=flat.master.name if flat else None,
    )


def choose_bias(frame: Frame, masters: Candidates) -> Candidate | float | Reason:
    """Choose the bias of a frame.

    It is the constant of its recipe in adu, or the master bias with the most similar settings; of
    several the nearest in time. Of a camera that reads windows a master of the same window is
    preferred, then the smallest that covers the frame. So are darks and flats.
    """
    if not frame.recipe.needs_master("bias"):
        try:
            level = frame.recipe.bias_level(frame.header)
        except FrameRejected as error:
            return no_bias_level(frame, str(error))
        return no_bias_level(frame) if level is None else level
    fitting = masters.usable(masters.for_frame("bias", frame), frame)
    if not fitting:
        return no_bias(frame, masters)
    return best(fitting, frame, lambda c: (*masters.unlike(c, frame), c.area_size))


def choose_dark(frame: Frame, masters: Candidates, bias_off: bool) -> Candidate | Reason:
    """Choose the master dark of a frame.

    Of the darks with the same settings, one whose exposure agrees with that of the frame within the
    recipe's tolerance is used. If there is none and the recipe scales darks, the longest one is
    used, which has the least noise after scaling.

    Parameters
    ----------
    frame : Frame
    masters : Candidates
    bias_off : bool
        Whether the bias of the frame is subtracted. A dark that contains its bias would subtract it
        twice, one without its bias not at all.
    """
    there = [c for c in masters.for_frame("dark", frame) if c.master.bias_off == bias_off]
    fitting = masters.usable(there, frame)
    tolerance = _exposure_tolerance(frame)

    def off(candidate: Candidate) -> float:
        return abs(exposure_of(candidate.master) - exposure_of(frame))

    near = [c for c in fitting if off(c) <= tolerance]
    if near:
        # Exposures in headers jitter: a tenth of a second, or of a tolerance in two parts, is nothing.
        relative = isinstance(frame.recipe.exposure_tolerance, tuple) and tolerance > 0
        step = tolerance / 10 if relative else 1.0
        digits = 0 if relative else 1
        return best(
            near,
            frame,
            lambda c: (*masters.unlike(c, frame), round(off(c) / step, digits), c.area_size),
        )
    if fitting and frame.recipe.dark == "scale":
        return best(
            fitting,
            frame,
            lambda c: (*masters.unlike(c, frame), -exposure_of(c.master), c.area_size),
        )
    return no_dark(frame, there, tolerance, masters)


def _exposure_tolerance(frame: Frame) -> float:
    """Return the seconds by which the exposure of a dark may differ without being scaled."""
    tolerance = frame.recipe.tolerance_for(exposure_of(frame))
    # A dark that is scaled by less than 1 % is as good as one that is not.
    scaled = frame.recipe.dark == "scale"
    return min(tolerance, 0.01 * exposure_of(frame)) if scaled else tolerance


def choose_flat(frame: Frame, masters: Candidates) -> Candidate | Reason:
    """Choose the master flat of a frame in its filter.

    Settings that may change the response of a pixel count first, then the night, because dust
    moves, then all settings, then the time.
    """
    there = [c for c in masters.for_frame("flat", frame) if c.master.filter == frame.filter]
    limited = frame.recipe.limits.temperature_of("flat") is not None
    fitting = masters.usable(there, frame) if limited else there
    if not fitting:
        return no_flat(frame, masters)
    return best(
        fitting,
        frame,
        lambda c: (
            _unlike_in_response(c, frame, masters),
            masters.nights_apart(c, frame),
            *masters.unlike(c, frame),
            c.area_size,
        ),
    )


def _unlike_in_response(candidate: Candidate, frame: Frame, masters: Candidates) -> int:
    differ = masters.compared(candidate, frame).differ
    return sum(SETUP[p].of_flat for p in differ) + len(candidate.unlike_cards(frame))
