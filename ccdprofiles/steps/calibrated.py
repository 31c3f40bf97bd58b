"""Calibrate a prepared frame: bias, dark, flat and gain; steps with wrong results are refused."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from ..camera.area import DetectorArea
from ..camera.colours import ColourMosaic
from ..camera.frame_types import STEPS
from ..camera.profile import Profile
from ..camera.recipe import SpectralFlat
from ..camera.settings import Dated, Number, Setting, check_number, number_of, why_unknown
from ..errors import FrameRejected, PlanError, known
from ..pixels.calibrate import Noise, calibrate, subtract_masters
from ..pixels.prepare import NO_DATA
from ..plan.frames import Frame
from ..plan.scan import has_varying_gain
from .foreign import measured_masters
from .images import header_of, image_of
from .ledger import (
    State,
    check_masters,
    check_steps,
    check_unit,
    missing_steps,
    scale_of_dark,
)
from .pipeline import add_history, finite_or_flagged, noise_of_frame, plane_of, step_cards
from .settings import current, setting_notes
from .tracked import Master, Origin, TrackedCCD, flags_of, tracked
from .uncertainty import variance_of

__all__ = ["calibrate_frame"]

log = logging.getLogger(__name__)


def calibrate_frame(
    profile: Profile,
    frame: CCDData | str | Path,
    bias: CCDData | str | Path | Number = None,
    dark: CCDData | str | Path | None = None,
    flat: CCDData | str | Path | None = None,
    electrons: bool | None = None,
) -> TrackedCCD:
    """Subtract and divide masters; see `ccdprofiles.Profile.calibrate`."""
    frame = image_of(frame, "frame")
    cards = header_of(frame.meta, "this frame")
    state = State.of(frame.meta)
    if state is None:
        raise PlanError(
            "the cards CALSTAT and HASPED are missing, so it is not known what this frame still contains; "
            "begin with prepare(), which takes the raw frame or its path."
        )
    check_steps(frame.meta, state, "this frame")
    check_unit(profile, frame)
    origin = getattr(frame, "origin", None) or _origin(profile, frame, state)
    origin = current(origin, cards)
    if frame.shape != origin.frame.amplifiers.shape:
        raise PlanError(
            f"this frame has the shape {frame.shape}, but a prepared frame of its camera "
            f"{origin.frame.amplifiers.shape}; calibrate the whole frame, and cut it afterwards."
        )
    constant = _constant_of(bias, frame)
    of_file = None if constant is not None else bias
    given = [Master.of(of_file, "bias"), Master.of(dark, "dark"), Master.of(flat, "flat")]
    masters = [m for m in (constant, *given) if m is not None]
    for master in masters:
        if (own := State.of(master.meta)) is not None:
            check_steps(master.meta, own, master.name)
            _check_lamp(master, origin)
    masters = [_cut_for(origin.frame, state, master) for master in masters]
    recipe = origin.frame.recipe
    masters, notes = measured_masters(frame, state, recipe, masters)
    check_masters(profile, frame, state, recipe, masters)
    further = setting_notes(origin.frame, masters)
    used = {m.type: m for m in masters}
    scale = scale_of_dark(
        origin.frame.exposure, recipe, used.get("dark"), _exposure_of(profile, used.get("dark"))
    )
    origin = replace(
        origin,
        bias=used.get("bias", origin.bias),
        dark=used.get("dark", origin.dark),
        flat=used.get("flat", origin.flat),
        dark_scale=scale if "dark" in used else origin.dark_scale,
    )
    science = origin.frame.type == "science"
    gain = electrons if electrons is not None else science and recipe.electrons
    if _untouched(state) and frame.unit == profile.unit:
        done = _first_time(frame, state, origin, gain)
    else:
        done = _further(frame, used, scale)
        done = _electrons(done, origin) if gain else done
    flags = finite_or_flagged(done.data, done.flags, NO_DATA) if science else done.flags
    meta = step_cards(cards, origin, *masters)
    # Neither bias nor dark can follow a flat, or the gain where the recipe has no flat.
    if "flat" in used or (done.unit == u.electron and recipe.flat is None):
        further += missing_steps(origin, meta["CALSTAT"])
    for note in further:
        log.warning("%s", note)
    meta = add_history(meta, *further, *notes)
    if done.unit == u.electron:
        for card in ("GAIN", "EGAIN"):
            if card in meta:
                meta[card] = (1.0, "the gain was applied")
    return tracked(done.data, done.unit, variance_of(done), flags, meta, origin)


def _constant_of(bias: object, frame: CCDData) -> Master | None:
    """Return a constant bias as a master; None if the bias is a master of its own."""
    if not (isinstance(bias, u.Quantity | Setting | Dated) or callable(bias)):
        return None
    check_number(bias, u.adu, "bias")
    level = number_of(bias, frame.meta, u.adu, "bias")
    if level is None:
        raise PlanError(
            f"bias={bias!r} has no level for the header of this frame"
            f"{': ' + why if (why := why_unknown(bias, frame.meta)) else ''}; add it, or use a number "
            "such as bias=100 * u.adu."
        )
    return Master.constant(level, frame.shape)


def _cut_for(frame: Frame, state: State, master: Master) -> Master:
    """Return a master cut to the window of a frame, if both are of one camera."""
    own = State.of(master.meta)
    if own is None or (own.profile, own.binning) != (state.profile, state.binning):
        return master  # which is refused with the reason
    try:
        return master.cut_for(frame)
    except FrameRejected as error:
        raise PlanError(f"{master.name}: {error}") from error


def _check_lamp(master: Master, origin: Origin) -> None:
    """Refuse a spectral flat of ccdprofiles that still contains the spectrum of its lamp."""
    spectral = isinstance(origin.frame.recipe.flat, SpectralFlat)
    if master.type == "flat" and spectral and "FLATNORM" not in master.meta:
        raise PlanError(
            f"{master.name} has no FLATNORM, so it still contains the spectrum of its lamp; combine "
            "calibrated flats in memory with combine(), without sigma_clip limits that differ."
        )


def _untouched(state: State) -> bool:
    """Return True if only the overscan was subtracted from a frame."""
    return not set(state.letters) & set("BDF")


def _origin(profile: Profile, frame: CCDData, state: State) -> Origin:
    """Determine the amplifiers of a frame from its cards."""
    if profile.section_cards:
        raise PlanError(
            f"the sections of this camera are in cards of its raw frames "
            f"({', '.join(profile.section_cards)}), which a saved frame does not have; calibrate the "
            "frame that prepare() returned before you save it."
        )
    size = re.fullmatch(r"(\d+)x(\d+)", str(frame.meta.get("CPRAW", "")))
    if size is None:
        raise PlanError(
            "the card CPRAW is missing, so the size of the raw frame and its amplifiers are not "
            "known; begin with prepare(), which takes the raw frame or its path."
        )
    columns, rows = map(int, size.groups())
    meta = frame.meta
    amplifiers = profile.amplifiers_of(meta, {None: (rows, columns)})
    binning = profile.binning_of(meta)
    known = Frame(
        "frame",
        Path("frame"),
        profile=profile,
        recipe=profile.recipe_of(meta),
        type=state.type,
        exposure=profile.exposure_of(meta),
        filter=profile.text_of("filter", meta),
        date=profile.text_of("date", meta),
        binning=binning,
        amplifiers=amplifiers,
        amplifier_key=state.amplifiers,
        mosaic=ColourMosaic(str(meta["CPMOSAIC"])) if "CPMOSAIC" in meta else None,
        area=DetectorArea.of(amplifiers, binning, has_varying_gain(profile)),
    )
    return Origin(profile, known, flags=frame.flags)


def _exposure_of(profile: Profile, dark: Master | None) -> float | None:
    """Return the exposure of a master dark: EXPTIME of ours, else as the profile reads it."""
    if dark is None:
        return None
    seconds = dark.meta.get("EXPTIME") if "CPVERS" in dark.meta else None
    return float(seconds) if isinstance(seconds, int | float) else profile.exposure_of(dark.meta)


def _first_time(frame: CCDData, state: State, origin: Origin, electrons: bool) -> CCDData:
    """Calibrate a frame from which only the overscan was subtracted, in the order of a night."""
    pedestal = state.pedestal and origin.bias is None
    bias, flat = plane_of(origin.bias), plane_of(origin.flat)
    dark = plane_of(origin.dark, origin.bias, pedestal)
    data = np.asarray(frame.data)
    done = calibrate(
        CCDData(data.astype("f4")[np.newaxis], unit=frame.unit, flags=_stacked(frame)),
        noise_of_frame(origin.frame),
        pedestal=pedestal,
        bias=bias,
        dark=dark,
        flat=flat,
        scale=origin.dark_scale,
        electrons=electrons and "gain" not in origin.frame.amplifiers.missing,
    )
    values = done.data[0]
    if origin.frame.type != "science" and origin.flat is None and not electrons:
        # Frames that are to be combined stay in float64, as float32 would round them.
        stack = CCDData(data.astype("f8")[np.newaxis], unit=frame.unit)
        values = subtract_masters(stack, bias, dark, origin.dark_scale).data[0]
    return _of_stack(done, values)


def _of_stack(done: CCDData, values: np.ndarray) -> CCDData:
    """Return the one frame of a stack with these values."""
    flags = None if done.flags is None else done.flags[0]
    uncertainty = (
        None
        if done.uncertainty is None
        else type(done.uncertainty)(known(variance_of(done), "variance")[0])
    )
    return CCDData(values, unit=done.unit, uncertainty=uncertainty, flags=flags)


def _stacked(frame: CCDData) -> np.ndarray | None:
    """Return the flags of a frame as a stack of one; other masked pixels are flagged as bad."""
    flags = flags_of(frame)
    return None if flags is None or not flags.any() else np.asarray(flags, "u2")[np.newaxis]


def _further(frame: CCDData, used: dict[str, Master], scale: float) -> CCDData:
    """Subtract further masters from a frame, and propagate its uncertainty."""
    own = variance_of(frame)
    # The frame's own variance replaces the read noise, and includes that of its photons.
    noise = Noise(None, None) if own is None else Noise(np.inf, own[np.newaxis])
    bias, dark, flat = (plane_of(used.get(type), used.get("bias")) for type in STEPS)
    stack = CCDData(np.array(frame.data, "f4")[np.newaxis], unit=frame.unit, flags=_stacked(frame))
    done = calibrate(stack, noise, pedestal=False, bias=bias, dark=dark, flat=flat, scale=scale)
    return _of_stack(done, done.data[0])


def _electrons(done: CCDData, origin: Origin) -> CCDData:
    """Apply the gain if it is known and was not yet applied."""
    gain = noise_of_frame(origin.frame).gain
    if gain is None or done.unit == u.electron:
        return done
    variance = variance_of(done)
    uncertainty = None if variance is None else type(done.uncertainty)(variance * gain**2)
    data = (done.data * gain).astype("f4", copy=False)
    return CCDData(data, unit=u.electron, uncertainty=uncertainty, flags=done.flags)
