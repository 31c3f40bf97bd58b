"""The corrections of a recipe for the rows of a frame, and the cards that record them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..camera.corrections import (
    Corrected,
    correction_file,
    sha256_of_file,
    used_corrections,
)
from ..camera.crosstalk import crosstalk_matrix
from ..camera.linearity import curves_of, linearity_text
from ..errors import FrameRejected, known
from ..files.header import ProductHeader
from ..files.planes import plane, planes
from ..pixels.bad_pixels import bad_pixel_flags
from ..pixels.fringes import Fringes
from ..pixels.linearity import BandLinearity
from ..pixels.shutter import shutter_factor
from ..plan.frames import Frame
from ..plan.plan import Input
from ..products.header import ascii_text
from .inputs import pedestal_off

__all__ = [
    "LINEAR",
    "bad_pixels_of",
    "correction_cards",
    "crosstalk_of",
    "fringes_of",
    "linearity_of",
    "refuse_pedestal",
    "shutter_of",
]

LINEAR = ("dark", "flat", "arc", "science")
"""The types of frames whose linearity is corrected; a bias has no light."""


def bad_pixels_of(frame: Corrected, first: int, stop: int) -> np.ndarray | None:
    """Return the flags of the bad pixels in the rows of a frame; None if none is bad.

    Raises
    ------
    FrameRejected, OSError
        If the mask cannot be read.
    """
    path = correction_file(frame, "bad_pixels")
    return None if path is None else bad_pixel_flags(plane(path)[first:stop])


def crosstalk_of(frame: Frame) -> np.ndarray | None:
    """Return the fractions of crosstalk between the amplifiers of a frame, victim x aggressor.

    None if it is not corrected.
    """
    value = frame.recipe.crosstalk
    if value is None:
        return None
    return crosstalk_matrix(value, _names(frame), frame.profile.folder)


def _names(frame: Frame) -> list[str]:
    return [readout.name for readout in frame.amplifiers.readouts]


def linearity_of(frame: Frame, first: int) -> BandLinearity | None:
    """Return the linearity of rows of a frame from ``first``; None if it is not corrected."""
    value = frame.recipe.linearity
    if value is None or frame.type not in LINEAR:
        return None
    curves = curves_of(value, _names(frame), frame.profile.folder)
    return BandLinearity(curves, frame.amplifiers, first)


def refuse_pedestal(frame: Frame, chosen: Input) -> None:
    """Refuse to correct the linearity of a frame that still contains its bias.

    Raises
    ------
    FrameRejected
        ``correction``
    """
    if not pedestal_off(frame, chosen):
        raise FrameRejected(
            "correction",
            "its linearity cannot be corrected, because the bias is not subtracted; do not leave out "
            "the bias, or use --set linearity=None.",
        )


def shutter_of(frames: Sequence[Frame], first: int, stop: int) -> np.ndarray | None:
    """Return by how much the light of frames is multiplied; None if it is not corrected.

    Parameters
    ----------
    frames : sequence of Frame
        Of one recipe and binning.
    first, stop : int
        Their rows.

    Returns
    -------
    ndarray of float32, shape (frames, rows, columns), or None
    """
    path = correction_file(frames[0], "shutter")
    if path is None:
        return None
    exposures = [known(frame.exposure, "exposure") for frame in frames]
    return shutter_factor(plane(path)[first:stop], exposures)


def fringes_of(frame: Frame) -> Fringes | None:
    """Return the master of the fringes in the filter of a frame; None if there is none.

    Raises
    ------
    FrameRejected, OSError
        If it cannot be read.
    """
    path = correction_file(frame, "fringe")
    if path is None:
        return None
    images = planes(path)
    data = next(iter(images.values()))
    if "MASK" in images:
        data = np.where(images["MASK"] == 0, data, np.float32(np.nan))
    return Fringes(data, images["UNCERT"] ** 2 if "UNCERT" in images else None)


def correction_cards(header: ProductHeader, frame: Corrected, kind: str) -> None:
    """Write the corrections of a frame, or of the frames of a master, into a header.

    Parameters
    ----------
    header : ProductHeader
    frame : Frame
    kind : {"bias", "dark", "flat", "arc", "science"}
    """
    path = correction_file(frame, "bad_pixels")
    if path is not None:
        name = ascii_text(path.name)
        header["BPMASK"] = (name[:64], "bad-pixel mask")
        header["BPMSHA"] = (sha256_of_file(path), "")
        header.add_history(f"bad pixels flagged: {name}")
    value = frame.recipe.crosstalk
    if value is not None:
        path = correction_file(frame, "crosstalk")
        text = ascii_text("matrix of the profile" if path is None else path.name)
        header["CROSSTLK"] = (text[:64], "crosstalk" if len(text) < 45 else "")
        if path is not None:
            header["CROSSSHA"] = (sha256_of_file(path), "")
        header.add_history(f"crosstalk subtracted: {text}")
    if "linearity" in used_corrections(frame.recipe, kind):
        text = ascii_text(linearity_text(frame.recipe.linearity))
        header["LINCOR"] = (text[:64], "linearity" if len(text) < 45 else "")
        path = correction_file(frame, "linearity")
        if path is not None:
            header["LINSHA"] = (sha256_of_file(path), "")
        header.add_history(f"linearity corrected: {text}")
    path = correction_file(frame, "shutter") if kind in ("flat", "science") else None
    if path is not None:
        name = ascii_text(path.name)
        header["SHUTCOR"] = (name[:64], "shutter corrected")
        header["SHUTSHA"] = (sha256_of_file(path), "")
        header.add_history(f"shutter corrected: {name}")
    path = correction_file(frame, "fringe") if kind == "science" else None
    if path is not None:
        name = ascii_text(path.name)
        header["FRINGCOR"] = (name[:64], "fringes subtracted")
        header["FRINGSHA"] = (sha256_of_file(path), "")
        header["FRINGSCL"] = (0.0, "the fringes were multiplied by this")
        header["FRINGERR"] = (0.0, "standard error of FRINGSCL")
        header.add_history(f"fringes subtracted: {name}")
