"""The corrections of a recipe for the rows of a frame, and the cards that record them."""

from __future__ import annotations

import numpy as np

from ..camera.corrections import Corrected, correction_file, sha256_of_file
from ..files.header import ProductHeader
from ..files.planes import plane
from ..pixels.bad_pixels import bad_pixel_flags
from ..products.header import ascii_text

__all__ = ["bad_pixels_of", "correction_cards"]


def bad_pixels_of(frame: Corrected, first: int, stop: int) -> np.ndarray | None:
    """Return the flags of the bad pixels in the rows of a frame; None if none is bad.

    Raises
    ------
    FrameRejected, OSError
        If the mask cannot be read.
    """
    path = correction_file(frame, "bad_pixels")
    return None if path is None else bad_pixel_flags(plane(path)[first:stop])


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
