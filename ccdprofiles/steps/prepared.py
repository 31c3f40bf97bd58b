"""Read a raw frame, and prepare it: overscan, trim, amplifiers, uncertainty and flags."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData

from ..camera.corrections import used_corrections
from ..camera.profile import Profile
from ..errors import FrameRejected, PlanError, known
from ..files.pixels import Pixels
from ..files.raw import read_raw
from ..pixels.calibrate import BAD
from ..plan.frames import Frame
from ..plan.refusals import refuse_cubes
from .images import check_axes, header_of, kind_of, regular, without_storage
from .pipeline import (
    is_exact,
    measured_frame,
    noise_of_frame,
    prepared_cards,
    prepared_pixels,
    scanned_frame,
)
from .tracked import CUT, Origin, TrackedCCD, tracked

__all__ = ["prepare_frame", "read_frame"]

log = logging.getLogger(__name__)


def read_frame(profile: Profile, path: str | Path) -> TrackedCCD:
    """Read a raw frame unchanged; see `ccdprofiles.Profile.read`."""
    path = _raw_path(path, "read()", "")
    try:
        raw = read_raw(path)
        refuse_cubes(raw)
    except FrameRejected as error:
        raise FrameRejected(error.code, f"{path.name}: {error}", str(path)) from error
    if len(raw.images) != 1:
        raise FrameRejected(
            "mef",
            f"{path.name}: it contains {len(raw.images)} images, but a CCDData has only one; pass its "
            "path to prepare(), which joins them.",
            str(path),
        )
    (image,) = raw.images
    dtype = "f4" if image.bitpix in (8, 16, -32) else "f8"
    with Pixels(raw) as pixels:
        data = pixels.rows(image, 0, image.shape[0], dtype)
    with open(path, "rb") as file:
        header = fits.getheader(file, image.index)
    return TrackedCCD(data, unit=profile.unit, meta=without_storage(header))


def _raw_path(path: object, step: str, more: str) -> Path:
    """Return the path of a raw frame, or refuse what is not a file."""
    if not isinstance(path, str | Path):
        raise PlanError(
            f"{step} cannot use {kind_of(path)}: the path of a raw frame{more} was expected; pass "
            "that."
        )
    with regular(path, str(path)):
        return Path(path)


def prepare_frame(
    profile: Profile,
    frame: CCDData | str | Path,
    night_level: Sequence[float | None] | None = None,
) -> TrackedCCD:
    """Prepare a raw frame; see `ccdprofiles.Profile.prepare`."""
    if not isinstance(frame, CCDData):
        path = _raw_path(frame, "prepare()", ", or a CCDData from read(),")
        return _prepared(profile, path, path.name, night_level)
    check_axes(frame.data, "the raw frame")
    _refuse_prepared(profile, frame)
    with tempfile.TemporaryDirectory(prefix="ccdprofiles-") as folder:
        path = Path(folder, "frame.fits")
        _as_stored(frame).writeto(path)
        prepared = _prepared(profile, path, "frame", night_level)
    return _with_mask(prepared, frame.mask)


def _refuse_corrections(frame: Frame) -> None:
    """Refuse a frame with corrections that only the reduction of a night makes."""
    for field in used_corrections(frame.recipe, frame.type):
        if field != "bad_pixels":
            raise PlanError(
                f"the recipe of {frame.profile.name} has {field}=, which only reduce_night() corrects; "
                f"use it, or a profile without {field}=."
            )


def _prepared(
    profile: Profile, path: Path, name: str, night_level: Sequence[float | None] | None
) -> TrackedCCD:
    frame = scanned_frame(profile, path, name)
    _refuse_cut(frame.header)
    _refuse_corrections(frame)
    for note in frame.notes:
        log.warning("%s", note)
    measured = measured_frame(frame, night_level)
    exact = is_exact(frame, measured)
    science = frame.type == "science"
    ccd = prepared_pixels(frame, measured, "f4" if science or exact else "f8")
    origin = Origin(profile, frame, exact, ccd.flags)
    variance = _variance(frame, ccd.data)
    meta = prepared_cards(frame, measured)
    return tracked(ccd.data, ccd.unit, variance, ccd.flags, meta, origin)


def _refuse_cut(meta: Mapping) -> None:
    """Refuse a slice, as its amplifiers are no longer where the profile expects them."""
    if CUT in meta:
        raise PlanError(
            "this raw frame is a part of a frame, or was flipped (CPCUT = T), so its amplifiers are "
            "not where the profile expects them; prepare the whole frame, and cut it afterwards."
        )


def _variance(frame: Frame, data: np.ndarray) -> np.ndarray | None:
    """Return the variance of a prepared frame; None if it still contains its pedestal."""
    bias = frame.type == "bias"
    amplifiers = frame.amplifiers
    if not amplifiers.knows_noise or not (bias or amplifiers.has_overscan):
        return None
    noise = noise_of_frame(frame)
    light = (
        np.zeros(data.shape, "f4") if bias else np.maximum(data, 0).astype("f4") / noise.known_gain
    )
    return light + noise.known_read_variance


def _refuse_prepared(profile: Profile, frame: CCDData) -> None:
    if "CPVERS" in frame.meta:
        raise PlanError(
            "this frame was already prepared: its overscan would be subtracted and its edges would "
            "be trimmed twice; use the raw frame, or continue with calibrate()."
        )
    _refuse_cut(frame.meta)
    if frame.unit != profile.unit:
        raise PlanError(
            f"this frame is in {frame.unit}, but raw frames of {profile.name} are in "
            f"{profile.unit}; use the raw frame."
        )


def _as_stored(frame: CCDData) -> fits.PrimaryHDU:
    """Return the frame as a camera stores it: as integers of 16 bits if they are exact."""
    data = np.asarray(frame.data)
    if data.dtype.kind == "f" and data.size:
        low, high = data.min(), data.max()
        if low >= 0 and high < 2**16 and np.array_equal(whole := data.astype("u2"), data):
            data = whole
    return fits.PrimaryHDU(data, without_storage(header_of(frame.meta, "the raw frame")))


def _with_mask(prepared: TrackedCCD, mask: np.ndarray | None) -> TrackedCCD:
    """Flag the pixels that were masked in the raw frame as bad."""
    if mask is None or not np.any(mask):
        return prepared
    flags, origin = prepared.flags.copy(), known(prepared.origin, "origin")
    for readout in origin.frame.amplifiers.readouts:
        masked = readout.in_frame.flip(mask[readout.data.slices()])
        flags[readout.place.slices()] |= masked * np.uint16(BAD)
    variance = None if prepared.uncertainty is None else prepared.uncertainty.array**2
    return tracked(
        prepared.data, prepared.unit, variance, flags, prepared.meta, replace(origin, flags=flags)
    )
