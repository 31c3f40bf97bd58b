"""A CCDData with a record of its origin, and the planes of a master."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from ..camera.profile import Profile
from ..plan.frames import Frame
from ..products.band import DQ, MASKED
from ..reduce.inputs import cut_of
from .images import hashed_image, header_of
from .uncertainty import variance_of

__all__ = [
    "CUT",
    "Master",
    "Origin",
    "TrackedCCD",
    "flags_of",
    "left_out",
    "mask_of",
    "origins",
    "tracked",
]

_BAD = np.uint16(DQ.BAD_PIXEL.value)

CUT = "CPCUT"
"""The card of a slice: its amplifiers are no longer where the other cards say."""


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
        """Return the planes of a master, from its file or from memory.

        Raises
        ------
        PlanError
            If it is not an image.
        """
        if given is None:
            return None
        ccd, sha256 = hashed_image(given, type)
        name = f"master {type}" if isinstance(given, CCDData) else Path(given).name
        flags = flags_of(ccd)
        if flags is not None and not flags.any():
            flags = None
        data = np.asarray(ccd.data, "f4")
        variance = variance_of(ccd, what=name)
        variance = None if variance is None else variance.astype("f4", copy=False)
        meta = header_of(ccd.meta, name)
        return cls(type, name, meta, data, ccd.unit, variance, flags, sha256)

    def cut_for(self, frame: Frame) -> Master:
        """Return the part of it that is the window of a frame; itself if it is not larger.

        Raises
        ------
        FrameRejected
            ``section`` if it does not cover the frame.
        """
        cut = cut_of(frame, self.meta)
        if cut is None or CUT in self.meta:
            return self
        variance, flags = (
            None if plane is None else np.ascontiguousarray(plane[cut])
            for plane in (self.variance, self.flags)
        )
        data = np.ascontiguousarray(self.data[cut])
        meta = self.meta.copy()
        meta["CPAMPS"] = frame.amplifier_key
        return replace(self, meta=meta, data=data, variance=variance, flags=flags)


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
    The results of arithmetic and slices have no record. A slice that is not the whole frame, or is
    flipped, has the card CPCUT, because its amplifiers are no longer where its other cards say.

    Parameters
    ----------
    *args, **kwargs
        Those of `~astropy.nddata.CCDData`.
    origin : Origin, optional
    """

    def __init__(self, *args: object, origin: Origin | None = None, **kwargs: object):
        super().__init__(*args, **kwargs)
        self.origin = origin

    def _slice(self, item: object) -> dict:
        """Return the planes of a slice, as astropy asks for; its header is its own."""
        planes = super()._slice(item)
        meta = header_of(self.meta, "this frame")
        if not _same_pixels(planes["data"], self.data):
            meta[CUT] = (True, "a part of a frame, or flipped")
        return planes | {"meta": meta}

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


def _same_pixels(one: np.ndarray, other: np.ndarray) -> bool:
    """Return True if two arrays are the same pixels in the same order."""
    places = (a.__array_interface__["data"][0] for a in (one, other))
    return one.shape == other.shape and one.strides == other.strides and len({*places}) == 1


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


def mask_of(ccd: CCDData) -> np.ndarray | None:
    """Return the pixels that are masked but not flagged, or None."""
    if ccd.mask is None or ccd.mask is np.ma.nomask:
        return None
    mask = np.broadcast_to(np.asarray(ccd.mask, bool), ccd.shape)
    if isinstance(ccd.flags, np.ndarray):
        mask = mask & ((ccd.flags & MASKED) == 0)
    return mask if mask.any() else None


def left_out(ccd: CCDData, of_recipe: np.ndarray | None = None) -> np.ndarray | None:
    """Return the pixels that are not combined: masked and not flagged, or flagged as bad.

    Parameters
    ----------
    ccd : CCDData
    of_recipe : ndarray of uint16, optional
        Flags of the bad pixels of the recipe, which are combined and stay flagged, as in a night.
    """
    mask = mask_of(ccd)
    if not isinstance(ccd.flags, np.ndarray):
        return mask
    bad = (ccd.flags & _BAD) != 0
    if of_recipe is not None:
        bad &= (of_recipe & _BAD) == 0
    if mask is None:
        return bad if bad.any() else None
    return mask | bad


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
