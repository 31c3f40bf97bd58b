"""The images that a caller passes: a CCDData, or the path of a FITS file."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData

from ..errors import FrameRejected, PlanError, words_of
from ..files.reading import opened
from .uncertainty import uncertainty_type

__all__ = [
    "check_axes",
    "hashed_image",
    "header_of",
    "image_of",
    "kind_of",
    "regular",
    "without_storage",
]


def kind_of(thing: object) -> str:
    """Return what an argument is: ``"a list"``, ``"an ndarray"``."""
    name = type(thing).__name__
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def image_of(given: object, argument: str) -> CCDData:
    """Return an image that was passed, or that of a file.

    Parameters
    ----------
    given : CCDData, str or Path
    argument : str
        Which argument it is, for messages.

    Raises
    ------
    PlanError
        If it is neither, if the file cannot be read, or if it does not have two axes.
    """
    if isinstance(given, CCDData):
        check_axes(given.data, f"{argument}=")
        return given
    return _of_file(given, argument)[0]


def hashed_image(given: object, argument: str) -> tuple[CCDData, str]:
    """Return an image as `image_of`, and the SHA-256 of its file, or of its pixels in memory."""
    if isinstance(given, CCDData):
        ccd = image_of(given, argument)
        return ccd, hashlib.sha256(np.ascontiguousarray(ccd.data).data).hexdigest()
    return _of_file(given, argument)


def _of_file(given: object, argument: str) -> tuple[CCDData, str]:
    if not isinstance(given, str | Path):
        raise PlanError(
            f"{argument}= is {kind_of(given)}, but a CCDData or the path of a FITS file was "
            "expected; make a CCDData of an array by CCDData(array, unit='adu')."
        )
    what = f"{argument}={Path(given)}"
    # One opening, so that the SHA-256 is that of the bytes that are used.
    with regular(given, what) as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        return _read(file, what), sha256


@contextmanager
def regular(path: str | Path, what: str) -> Iterator[io.BufferedReader[io.FileIO]]:
    """Open a regular file for reading; anything else is refused in words.

    Raises
    ------
    PlanError
    """
    try:
        file = opened(Path(path))
    except (FrameRejected, ValueError) as error:
        raise PlanError(
            f"{what}: it is not a regular file, but a folder, a pipe or the like; use the path of "
            "a FITS file."
        ) from error
    except OSError as error:
        raise PlanError(
            f"{what}: it cannot be opened ({words_of(error)}); use the path of a FITS file."
        ) from error
    with io.BufferedReader(file) as buffered:
        yield buffered


def check_axes(data: np.ndarray, what: str) -> None:
    """Refuse an image that does not have two axes, or whose pixels are not numbers.

    Raises
    ------
    PlanError
    """
    shape = np.shape(data)
    if len(shape) != 2:
        axes = "axis" if len(shape) == 1 else "axes"
        raise PlanError(
            f"{what} has {len(shape)} {axes} (shape {shape}), but an image of two axes, rows "
            "and columns, was expected; use one image at a time."
        )
    if np.asarray(data).dtype.kind not in "biuf":
        raise PlanError(
            f"{what} has pixels of the type {np.asarray(data).dtype.name}, but numbers were expected; "
            "convert them to float32."
        )


def header_of(meta: object, what: str) -> fits.Header:
    """Return a copy of the header of a CCDData, whose meta may be any mapping.

    Raises
    ------
    PlanError
        If it has a value that FITS cannot store.
    """
    try:
        return meta.copy() if isinstance(meta, fits.Header) else fits.Header(meta)
    except (TypeError, ValueError, fits.VerifyError) as error:
        raise PlanError(
            f"{what}: its meta cannot be a FITS header ({error}); use texts and numbers."
        ) from error


def _read(file: BinaryIO, what: str) -> CCDData:
    """Read an image and its planes, in the unit of BUNIT, or in adu if it has none."""
    try:
        with fits.open(file, memmap=False) as hdus:
            images = [h for h in hdus if getattr(h, "is_image", False) and h.data is not None]
            if not images:
                raise PlanError(
                    f"{what}: it contains no image, but one was expected; use the path of an image."
                )
            planes = {h.name: np.array(h.data) for h in hdus if h.name in ("MASK", "UNCERT", "DQ")}
            name = (
                hdus["UNCERT"].header.get("UTYPE", "StdDevUncertainty") if "UNCERT" in hdus else ""
            )
            meta = without_storage(images[0].header)
            data = np.array(images[0].data, _native(images[0].data))
    except (OSError, ValueError, TypeError, KeyError, fits.VerifyError) as error:
        raise PlanError(
            f"{what}: it cannot be read as FITS ({' '.join(str(error).split())}); copy it again, or "
            "use the path of another file."
        ) from error
    check_axes(data, what)
    for plane, values in planes.items():
        if values.shape != data.shape:
            raise PlanError(
                f"{what}: {plane} has the shape {values.shape}, but its image {data.shape}; write "
                "the file again."
            )
    unit = _unit(meta.pop("BUNIT", "adu"), what)
    uncertainty = None
    if "UNCERT" in planes:
        uncertainty = uncertainty_type(str(name), what)(planes["UNCERT"].astype("f4"))
    return CCDData(
        data,
        unit=unit,
        mask=planes["MASK"].astype(bool) if "MASK" in planes else None,
        uncertainty=uncertainty,
        flags=planes["DQ"].astype("u2") if "DQ" in planes else None,
        meta=meta,
    )


def _unit(bunit: object, what: str) -> u.UnitBase:
    """Return the unit of a file."""
    text = str(bunit).strip()
    try:
        return u.dimensionless_unscaled if text in ("", "1") else u.Unit(text.lower())
    except ValueError as error:
        raise PlanError(
            f"{what}: BUNIT is {text!r}, which is not a unit; correct the card, as to 'adu'."
        ) from error


def without_storage(header: fits.Header) -> fits.Header:
    """Return a copy of a header without the cards that concern the stored bytes only."""
    header = header.copy()
    for card in ("BZERO", "BSCALE", "BLANK", "CHECKSUM", "DATASUM"):
        header.remove(card, ignore_missing=True)
    return header


def _native(data: np.ndarray) -> str:
    """Return the float type that represents the stored pixels."""
    return "f4" if data.dtype.itemsize <= 2 or data.dtype == np.dtype(">f4") else "f8"
