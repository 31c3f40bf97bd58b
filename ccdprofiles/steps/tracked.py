"""A CCDData with a record of its origin, and the planes of a master."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty

from ..camera.profile import Profile
from ..errors import PlanError
from ..plan.frames import Frame
from ..products.band import DQ, MASKED

__all__ = [
    "Master",
    "Origin",
    "TrackedCCD",
    "flags_of",
    "mask_of",
    "origins",
    "read_ccd",
    "tracked",
    "variance_of",
    "without_storage",
]

_BAD = np.uint16(DQ.BAD_PIXEL.value)


@dataclass(frozen=True)
class Master:
    """A bias, dark or flat that was passed to `Profile.calibrate`.

    Parameters
    ----------
    type : {"bias", "dark", "flat"}
    name : str
        Of its file, or its type.
    meta : Header
    data : ndarray of float32, shape (rows, columns)
    unit : Unit
    variance : ndarray of float32 or None
    flags : ndarray of uint16 or None
    sha256 : str
        Of its file, or of its pixels if it was not read from a file.
    level : float or None
        Of a constant bias, in adu.
    """

    type: str
    name: str
    meta: fits.Header
    data: np.ndarray
    unit: u.UnitBase
    variance: np.ndarray | None
    flags: np.ndarray | None
    sha256: str
    level: float | None = None

    @property
    def used(self) -> str | float:
        """Its name, or the level of a constant bias."""
        return self.name if self.level is None else self.level

    @classmethod
    def constant(cls, level: float, shape: tuple[int, int]) -> Master:
        """Return a constant bias in adu, which has neither noise nor flags."""
        data = np.broadcast_to(np.float32(level), shape)
        sha256 = f"constant {level!r}"
        return cls("bias", sha256, fits.Header(), data, u.adu, None, None, sha256, level)

    @property
    def header(self) -> fits.Header:
        """Its cards."""
        return self.meta

    @classmethod
    def of(cls, given: CCDData | str | Path | None, type: str) -> Master | None:
        """Return the planes of a master, from its file or from memory."""
        if given is None:
            return None
        if isinstance(given, str | Path):
            # One opening, so that the SHA-256 is that of the bytes that are used.
            with open(given, "rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                name, ccd = Path(given).name, _ccd_of(file)
        elif isinstance(given, CCDData):
            ccd, name = given, f"master {type}"
            sha256 = hashlib.sha256(np.ascontiguousarray(ccd.data).data).hexdigest()
        else:
            raise PlanError(
                f"{type}={given!r} is not a master; use a CCDData or the path of a FITS file."
            )
        flags = ccd.flags
        if flags is None and ccd.mask is not None:
            flags = np.asarray(ccd.mask) * _BAD
        if flags is not None and not flags.any():
            flags = None
        data = np.asarray(ccd.data, "f4")
        variance = variance_of(ccd)
        variance = None if variance is None else variance.astype("f4", copy=False)
        return cls(type, name, fits.Header(ccd.meta), data, ccd.unit, variance, flags, sha256)


@dataclass(frozen=True)
class Origin:
    """The origin of a frame, and the masters that were subtracted from it.

    Parameters
    ----------
    profile : Profile
    frame : Frame
        The content of its header in the terms of this package.
    exact : bool
        Whether float32 represents the prepared frame exactly.
    flags : ndarray of uint16 or None
        Of the prepared frame.
    bias, dark, flat : Master or None
    dark_scale : float
    """

    profile: Profile
    frame: Frame
    exact: bool = False
    flags: np.ndarray | None = field(default=None, repr=False)
    bias: Master | None = field(default=None, repr=False)
    dark: Master | None = field(default=None, repr=False)
    flat: Master | None = field(default=None, repr=False)
    dark_scale: float = 1.0


class TrackedCCD(CCDData):
    """A `~astropy.nddata.CCDData` with a record of its profile and its masters.

    `ccdprofiles.combine` and `ccdprofiles.detect_cosmics` read the noise and the recipe from there.
    The results of arithmetic and slices have no record, and are treated as any CCDData.

    Parameters
    ----------
    *args, **kwargs
        Those of `~astropy.nddata.CCDData`.
    origin : Origin, optional
    """

    def __init__(self, *args: object, origin: Origin | None = None, **kwargs: object):
        super().__init__(*args, **kwargs)
        self.origin = origin

    def copy(self) -> TrackedCCD:
        """Return a copy with the same record."""
        flags = None if self.flags is None else self.flags.copy()
        return TrackedCCD(self, copy=True, flags=flags, origin=self.origin)

    def to_hdu(self, *args: object, **kwargs: object) -> fits.HDUList:
        """Return the HDUs of a FITS file: as CCDData makes them, and the flags as ``DQ``."""
        hdus = super().to_hdu(*args, **kwargs)
        if self.flags is not None and not kwargs.get("hdu_flags"):
            hdus.append(fits.ImageHDU(np.asarray(self.flags, "u2"), name="DQ"))
        return hdus


def tracked(
    data: np.ndarray,
    unit: u.UnitBase,
    variance: np.ndarray | None,
    flags: np.ndarray | None,
    meta: fits.Header,
    origin: Origin | None,
) -> TrackedCCD:
    """Join planes: the mask follows from the flags, the uncertainty from the variance."""
    flags = np.zeros(data.shape, "u2") if flags is None else flags
    uncertainty = None
    if variance is not None:
        with np.errstate(invalid="ignore"):
            uncertainty = StdDevUncertainty(np.sqrt(variance).astype("f4", copy=False))
    return TrackedCCD(
        data,
        unit=unit,
        uncertainty=uncertainty,
        mask=(flags & MASKED) != 0,
        flags=flags,
        meta=meta,
        origin=origin,
    )


def read_ccd(path: str | Path) -> CCDData:
    """Read a CCDData and its flags, in the unit of BUNIT, or in adu if it has none."""
    with open(path, "rb") as file:
        return _ccd_of(file)


def _ccd_of(file: BinaryIO) -> CCDData:
    with fits.open(file) as hdus:
        image = next(h for h in hdus if getattr(h, "is_image", False) and h.data is not None)
        planes = {h.name: np.array(h.data) for h in hdus if h.name in ("MASK", "UNCERT", "DQ")}
        kind = hdus["UNCERT"].header.get("UTYPE", "StdDevUncertainty") if "UNCERT" in hdus else ""
        meta, data = without_storage(image.header), np.array(image.data, _native(image.data))
    kinds = {k.__name__: k for k in (StdDevUncertainty, VarianceUncertainty, InverseVariance)}
    unit = str(meta.get("BUNIT", "adu")).strip()
    meta.remove("BUNIT", ignore_missing=True)
    return CCDData(
        data,
        unit=u.dimensionless_unscaled if unit in ("", "1") else unit.lower(),
        mask=planes["MASK"].astype(bool) if "MASK" in planes else None,
        uncertainty=kinds[kind](planes["UNCERT"].astype("f4")) if "UNCERT" in planes else None,
        flags=planes["DQ"].astype("u2") if "DQ" in planes else None,
        meta=meta,
    )


def without_storage(header: fits.Header) -> fits.Header:
    """Return a copy of a header without the cards that concern the stored bytes only."""
    header = header.copy()
    for card in ("BZERO", "BSCALE", "BLANK", "CHECKSUM", "DATASUM"):
        header.remove(card, ignore_missing=True)
    return header


def _native(data: np.ndarray) -> str:
    """Return the float type that represents the stored pixels."""
    return "f4" if data.dtype.itemsize <= 2 or data.dtype == np.dtype(">f4") else "f8"


def variance_of(ccd: CCDData, rows: slice = slice(None)) -> np.ndarray | None:
    """Return the variance of rows of a frame, whatever kind of uncertainty it has."""
    if ccd.uncertainty is None:
        return None
    values = np.asarray(ccd.uncertainty.array)[rows]
    if isinstance(ccd.uncertainty, StdDevUncertainty):
        return values * values
    if isinstance(ccd.uncertainty, VarianceUncertainty):
        return values
    if isinstance(ccd.uncertainty, InverseVariance):
        with np.errstate(divide="ignore"):
            return 1 / values
    raise PlanError(
        f"an uncertainty of the kind {ccd.uncertainty.uncertainty_type!r} cannot be propagated; "
        "use a StdDevUncertainty, VarianceUncertainty or InverseVariance."
    )


def mask_of(ccd: CCDData) -> np.ndarray | None:
    """Return the pixels that are masked but not flagged, or None."""
    if ccd.mask is None or ccd.mask is np.ma.nomask:
        return None
    mask = np.broadcast_to(np.asarray(ccd.mask, bool), ccd.shape)
    if isinstance(ccd.flags, np.ndarray):
        mask = mask & ((ccd.flags & MASKED) == 0)
    return mask if mask.any() else None


def flags_of(ccd: CCDData) -> np.ndarray | None:
    """Return the flags of a frame; pixels that are masked and not flagged are bad pixels."""
    mask = mask_of(ccd)
    if mask is None:
        return ccd.flags
    return mask * _BAD if ccd.flags is None else ccd.flags | mask * _BAD


def origins(frames: Sequence[object]) -> list[Origin] | None:
    """Return the origins of frames, or None where one of them remembers nothing."""
    found = [frame.origin for frame in frames if isinstance(frame, TrackedCCD)]
    kept = [origin for origin in found if origin is not None]
    return kept if len(kept) == len(frames) else None
