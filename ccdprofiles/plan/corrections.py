"""Check that the corrections of a recipe fit a frame, before any pixel is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from ..camera.corrections import used_corrections, used_files
from ..camera.crosstalk import crosstalk_matrix
from ..camera.linearity import curves_of
from ..errors import FrameRejected, ProfileError, words_of
from ..files.raw import read_raw
from .frames import Frame

__all__ = ["refuse_corrections"]


def refuse_corrections(frame: Frame) -> None:
    """Refuse a frame if a file with which it is to be corrected is missing or has another shape.

    Raises
    ------
    FrameRejected
        ``correction``
    """
    used = used_corrections(frame.recipe, frame.type)
    if not used:
        return
    _refuse_parts(frame, used)
    if "linearity" in used:
        _refuse_linearity(frame)
    if "crosstalk" in used:
        _refuse(frame, crosstalk_matrix, frame.recipe.crosstalk)
    if "shutter" in used and not frame.exposure:
        raise FrameRejected(
            "correction",
            "it has no exposure, with which shutter= of the profile "
            f"{frame.profile.name} corrects it; correct the header, or exposure= in the profile.",
        )
    for field, path in used_files(frame, frame.type):
        if field in ("crosstalk", "linearity"):
            continue
        found, wanted = _shape(field, path), frame.amplifiers.shape
        if found != wanted:
            raise FrameRejected(
                "correction",
                f"{path.name}, which {field}= of the profile {frame.profile.name} names, has "
                f"{found[1]} columns and {found[0]} rows, but the trimmed frame has {wanted[1]} and "
                f"{wanted[0]}; use a file of the trimmed frame in this binning.",
            )


def _refuse_parts(frame: Frame, used: Iterable[str]) -> None:
    """Refuse corrections of whole frames for the chips of a mosaic and for windows.

    Neither a file nor a matrix tells to which chip or window it belongs.
    """
    profile = frame.profile
    part = "the chips of a mosaic" if frame.chip else "windows" if profile.window else ""
    for field in used:
        if part and field != "linearity":
            raise FrameRejected(
                "correction",
                f"{field}= of the profile {profile.name} is for whole frames, but the profile is of "
                f"{part}; reduce them without {field}=, or use a profile of whole frames.",
            )


def _refuse_linearity(frame: Frame) -> None:
    """Refuse a frame whose level above the bias is not known, or an amplifier without a curve."""
    if not (frame.amplifiers.has_overscan or frame.recipe.has("bias")):
        raise FrameRejected(
            "correction",
            f"linearity= of the profile {frame.profile.name} needs the counts above the bias, but the "
            "camera has no useful overscan and the recipe subtracts no bias; use bias=True, or a constant.",
        )
    _refuse(frame, curves_of, frame.recipe.linearity)


def _refuse(frame: Frame, made: Callable, value: object) -> None:
    """Refuse a frame if curves or a matrix cannot be made for its amplifiers."""
    names = [readout.name for readout in frame.amplifiers.readouts]
    try:
        made(value, names, frame.profile.folder)
    except (ProfileError, OSError) as error:
        why = words_of(error) if isinstance(error, OSError) else str(error)
        raise FrameRejected("correction", f"the profile {frame.profile.name}: {why}") from error


def _shape(field: str, path: Path) -> tuple[int, int]:
    try:
        now = os.stat(path)
        return _shape_of(path, now.st_mtime_ns, now.st_size)
    except (FrameRejected, OSError) as error:
        why = words_of(error) if isinstance(error, OSError) else str(error)
        raise FrameRejected(
            "correction",
            f"{path.name}, which {field}= of the profile names, cannot be read ({why.rstrip('.')}); "
            "write it again.",
        ) from error


@lru_cache(256)
def _shape_of(path: Path, mtime_ns: int, size: int) -> tuple[int, int]:
    return read_raw(path).images[0].shape
