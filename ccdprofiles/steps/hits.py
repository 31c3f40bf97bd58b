"""Detect cosmic rays in one frame, and set the mask and the flags of a CCDData."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from ..camera.recipe import CosmicRays
from ..errors import FrameRejected, PlanError, known
from ..pixels.calibrate import COSMIC_RAY, find_cosmic_rays
from ..pixels.cosmics import LEAST_SIDE, CosmicRayHits
from ..pixels.cosmics import detect_cosmics as search
from ..products.band import MASKED
from .images import check_axes, header_of, kind_of
from .ledger import State
from .pipeline import add_history, noise_of_frame
from .tracked import Origin, TrackedCCD, flags_of
from .uncertainty import variance_of

__all__ = ["detect_cosmics"]

_READ_NOISE = 6.5
_GAIN = u.electron / u.adu


def detect_cosmics(
    ccd: CCDData | np.ndarray,
    sigclip: float | None = None,
    sigfrac: float | None = None,
    objlim: float | None = None,
    gain: float | u.Quantity | None = None,
    readnoise: float | u.Quantity | None = None,
    satlevel: float = 65535.0,
    pssl: float = 0.0,
    niter: int | None = None,
    sepmed: bool | None = None,
    cleantype: str | None = None,
    fsmode: str | None = None,
    psfmodel: str = "gauss",
    psffwhm: float | None = None,
    psfsize: int = 7,
    psfk: np.ndarray | None = None,
    psfbeta: float = 4.765,
    verbose: bool = False,
    gain_apply: bool = True,
    inbkg: np.ndarray | None = None,
    invar: np.ndarray | None = None,
    *,
    repair: bool = False,
) -> CCDData | tuple[np.ndarray, np.ndarray]:
    """Detect cosmic rays by L.A.Cosmic (van Dokkum 2001, PASP 113, 1420).

    The options, their defaults and the result are those of `ccdproc.cosmicray_lacosmic`. A frame
    from `Profile.calibrate` needs none: what is not given comes from its profile, gain and read
    noise of each amplifier, and from its recipe, as long as it is in memory.

    Parameters
    ----------
    ccd : CCDData or ndarray, shape (rows, columns)
        With its sky background. Masked pixels are not searched.
    sigclip, sigfrac, objlim, niter, sepmed, cleantype, fsmode, psffwhm
        As in `ccdprofiles.CosmicRays`, and with its defaults.
    gain : float or Quantity, optional
        Electrons per adu; a number without unit is in this unit. By default that of the profile of
        a frame from `Profile.calibrate`, and 1 for all others; then the unit is unchanged.
    readnoise : float or Quantity, optional
        In electron; by default that of the profile, and 6.5 for all others.
    satlevel : float
        In electron: a bright pixel above it may be a saturated star.
    pssl : float
        A sky level that was subtracted, in the unit of ``ccd``.
    psfmodel, psfsize, psfk, psfbeta
        As in `astroscrappy.detect_cosmics`.
    verbose : bool
        Nothing is printed in any case; the number of pixels hit is in CRNUM.
    gain_apply : bool
        Whether ``gain`` is applied to the result, which is then in electron.
    inbkg, invar : ndarray, optional
        A background that is subtracted for the search, and the variance of the frame.
    repair : bool
        True replaces the pixels that were hit.

    Returns
    -------
    CCDData
        With the pixels that were hit masked, and bit 8 set in its flags if it has flags; CRAYS,
        CRWAY and CRNUM are cards of its ``meta``.
    tuple of ndarray
        For an ndarray: its pixels, and the mask of those that were hit.

    Raises
    ------
    PlanError
        If it is not an image of two axes, the units of frame, gain and read noise do not agree, a
        gain is specified for a frame in electron, the frame still contains its pedestal, or it is a
        product that was read from a file, and ``readnoise`` is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.nddata import CCDData
    >>> from ccdprofiles import detect_cosmics
    >>> image = np.random.default_rng(1).normal(200, 14, (64, 64))
    >>> image[40, 20] += 1000
    >>> hits = detect_cosmics(CCDData(image, unit="electron"), readnoise=5 * u.electron)
    >>> np.argwhere(hits.mask)
    array([[40, 20]])
    """
    asked: dict[str, Any] = {
        "sigclip": sigclip,
        "sigfrac": sigfrac,
        "objlim": objlim,
        "niter": niter,
        "sepmed": sepmed,
        "cleantype": cleantype,
        "fsmode": fsmode,
        "psffwhm": psffwhm,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    origin = ccd.origin if isinstance(ccd, TrackedCCD) else None
    _check_image(ccd)
    gain, readnoise = _quantity("gain", gain), _quantity("readnoise", readnoise)
    if pssl and (inbkg is not None or invar is not None):
        raise PlanError(
            "pssl= and inbkg= or invar= both specify the sky background; use only one of them."
        )
    recipe = CosmicRays() if origin is None else origin.frame.recipe.cosmic_rays or CosmicRays()
    if origin is not None and isinstance(ccd, TrackedCCD):
        _refuse_pedestal(ccd)
        _refuse_mosaic(origin)
        usual = (psfmodel, psfsize, psfbeta, satlevel, pssl) == ("gauss", 7, 4.765, 65535, 0)
        plain = usual and psfk is inbkg is invar is None and asked.get("cleantype") != "median"
        if plain and gain is None and (readnoise is None or readnoise.isscalar):
            how = replace(recipe, **asked, repair=repair)
            return _of_profile(ccd, _with_read_noise(ccd, origin, readnoise), how)
    options = _checked(asked, recipe) | {
        "satlevel": satlevel,
        "psfmodel": psfmodel,
        "psfsize": psfsize,
        "psfk": psfk,
        "psfbeta": psfbeta,
        "inbkg": inbkg,
        "invar": invar,
    }
    if not isinstance(ccd, CCDData):
        factor = 1.0 if gain is None else u.Quantity(gain).value
        hits = _search(ccd, None, factor, _number(readnoise), pssl, options)
        data = hits.data if repair else ccd.copy()
        return (data * factor if gain_apply and factor != 1 else data), hits.mask
    return _of_options(ccd, gain, readnoise, pssl, gain_apply, options, repair)


def _check_image(ccd: object) -> None:
    """Refuse what is not an image."""
    if not isinstance(ccd, CCDData | np.ndarray):
        raise PlanError(
            f"the image is {kind_of(ccd)}, but a CCDData or an array of two axes was expected; read "
            "a file with CCDData.read()."
        )
    data = np.asarray(ccd.data) if isinstance(ccd, CCDData) else ccd
    check_axes(data, "the image")
    if min(data.shape) < LEAST_SIDE:
        raise PlanError(
            f"the image has the shape {data.shape}, but the filters of the search need at least "
            f"{LEAST_SIDE} rows and columns; search the whole frame."
        )


def _quantity(name: str, value: object) -> u.Quantity | None:
    """Return a number or quantity of the caller; one without a unit stays without."""
    try:
        quantity = None if value is None else u.Quantity(value)
    except TypeError as error:
        raise PlanError(
            f"{name}={value!r} is not a number; use one such as 1.5, with or without a unit."
        ) from error
    if quantity is not None and not (quantity.value >= 0).all():
        raise PlanError(f"{name}={value!r} is negative; use a positive number.")
    return quantity


def _refuse_pedestal(ccd: TrackedCCD) -> None:
    """Refuse a frame that still contains its pedestal."""
    state = State.of(ccd.meta)
    if state is None or state.pedestal:
        raise PlanError(
            "this frame still contains its pedestal, which would be taken for light; "
            "subtract its bias or dark first."
        )


def _refuse_mosaic(origin: Origin) -> None:
    """Refuse a mosaic of colours."""
    if origin.frame.mosaic is not None:
        raise PlanError(
            f"this frame is a mosaic of colours ({origin.frame.mosaic.pattern}), in which every pixel "
            "differs from its neighbours, as if cosmic rays had hit it; detect them after debayering."
        )


def _checked(asked: dict, recipe: CosmicRays) -> dict:
    """Return all options of the search, after those of the caller have been checked."""
    # The plain median is not allowed in a recipe, because astroscrappy 1.3.0 does not support it.
    plain = asked.get("cleantype") == "median"
    rest = {name: value for name, value in asked.items() if not (plain and name == "cleantype")}
    options = dict(vars(replace(recipe, **rest)))
    del options["repair"]
    return options | ({"cleantype": "median"} if plain else {})


def _with_read_noise(ccd: CCDData, origin: Origin, readnoise: u.Quantity | None) -> Origin:
    """Return an origin whose amplifiers have the read noise of the caller, if there is one."""
    if readnoise is None:
        return origin
    _check_units(ccd, None, readnoise)
    frame = origin.frame
    readouts = [replace(r, read_noise=float(readnoise.value)) for r in frame.amplifiers.readouts]
    amplifiers = replace(frame.amplifiers, readouts=tuple(readouts))
    return replace(origin, frame=frame.with_(amplifiers=amplifiers))


def _of_profile(ccd: TrackedCCD, origin: Origin, how: CosmicRays) -> TrackedCCD:
    """Search a frame with the gain and read noise of each of its amplifiers."""
    whole = CCDData(np.asarray(ccd.data, "f4"), unit=ccd.unit, flags=flags_of(ccd))
    try:
        hits = find_cosmic_rays(whole, origin.frame.amplifiers, how, noise_of_frame(origin.frame))
    except FrameRejected as error:
        raise _unknown_noise(origin) from error
    meta = _cards(ccd.meta, how, hits.meta["CRWAY"], int(((hits.flags & COSMIC_RAY) != 0).sum()))
    mask = (hits.flags & MASKED) != 0
    return TrackedCCD(
        np.array(hits.data),
        unit=ccd.unit,
        uncertainty=deepcopy(ccd.uncertainty),
        mask=mask if ccd.mask is None else ccd.mask | mask,
        flags=hits.flags,
        meta=meta,
        origin=ccd.origin,
    )


def _unknown_noise(origin: Origin) -> PlanError:
    return PlanError(
        f"gain or read noise of {origin.profile.name} is not known, and cosmic rays cannot be "
        "detected without it; specify both with gain= and readnoise=."
    )


def _noise(
    ccd: CCDData, gain: u.Quantity | None, readnoise: u.Quantity | None
) -> tuple[float | np.ndarray, float | np.ndarray]:
    """Return the gain and read noise of a search: those of the caller, else of the profile."""
    origin = ccd.origin if isinstance(ccd, TrackedCCD) else None
    own: float | np.ndarray = 1.0 if gain is None else gain.value
    noise = _number(readnoise)
    if origin is None:
        return own, noise
    factor: float | np.ndarray | None = own
    if gain is None and ccd.unit != u.electron:
        factor = noise_of_frame(origin.frame).gain
    if readnoise is None:
        noise = np.empty(ccd.shape, "f4")
        for readout in origin.frame.amplifiers.readouts:
            noise[readout.place.slices()] = (
                np.nan if readout.read_noise is None else readout.read_noise
            )
        noise = float(noise.flat[0]) if noise.min() == noise.max() else noise
    if factor is None or np.isnan(noise).any():
        raise _unknown_noise(origin)
    return factor, noise


def _of_options(
    ccd: CCDData,
    gain: u.Quantity | None,
    readnoise: u.Quantity | None,
    pssl: float,
    gain_apply: bool,
    options: dict,
    repair: bool,
) -> CCDData:
    """Search a frame with the numbers of the caller; a profile gives those that are missing."""
    origin = ccd.origin if isinstance(ccd, TrackedCCD) else None
    if readnoise is None and origin is None and "CPVERS" in ccd.meta:
        raise PlanError(
            "this frame has no record of its profile (it was read from a file, cut or changed), and its cards "
            "do not contain the read noise; specify gain= and readnoise=, or search the frame that "
            "calibrate() returns."
        )
    _check_units(ccd, gain, readnoise)
    factor, noise = _noise(ccd, gain, readnoise)
    hits = _search(ccd.data, ccd.mask, factor, noise, pssl, options)
    # astroscrappy multiplies the whole frame by the gain and divides it again.
    data = hits.data if repair else ccd.data.copy()
    unit, uncertainty = ccd.unit, deepcopy(ccd.uncertainty)
    if gain is not None and gain_apply and ccd.unit != u.electron:
        data, unit = data * np.float32(gain.value), u.electron
        if uncertainty is not None:
            std = np.sqrt(known(variance_of(ccd), "variance")) * gain.value
            uncertainty = StdDevUncertainty(std)
    flags = ccd.flags
    if isinstance(flags, np.ndarray):
        flags = flags | hits.mask * flags.dtype.type(COSMIC_RAY)
    mask = hits.mask if ccd.mask is None else ccd.mask | hits.mask
    how = CosmicRays(
        repair=repair,
        **{n: v for n, v in options.items() if n in ("sigclip", "objlim")},
    )
    planes = {
        "unit": unit,
        "uncertainty": uncertainty,
        "mask": mask,
        "flags": flags,
        "meta": _cards(ccd.meta, how, hits.way, int(hits.mask.sum())),
        "wcs": ccd.wcs,
    }
    return CCDData(data, **planes) if origin is None else TrackedCCD(data, origin=origin, **planes)


def _check_units(ccd: CCDData, gain: u.Quantity | None, readnoise: u.Quantity | None) -> None:
    """Refuse units that do not agree, as ccdproc does, and a gain that was already applied."""
    number = 1 * _GAIN if gain is None else gain
    number = number.value * _GAIN if number.unit == u.dimensionless_unscaled else number
    if ccd.unit == u.electron:
        if np.any(number.value != 1):
            raise PlanError(
                f"this frame is already in electron, so gain={number} would be applied twice; omit it."
            )
        number = 1 * u.dimensionless_unscaled
    unit = u.electron if readnoise is None else readnoise.unit
    unit = u.electron if unit == u.dimensionless_unscaled else unit
    if not (number.unit * ccd.unit).is_equivalent(unit):
        raise PlanError(
            f"gain in {number.unit}, frame in {ccd.unit} and read noise in {unit} do not agree; "
            "use the gain in electron / adu and the read noise in electron."
        )


def _number(readnoise: u.Quantity | None) -> float | np.ndarray:
    return _READ_NOISE if readnoise is None else readnoise.value


def _search(
    data: np.ndarray,
    mask: np.ndarray | None,
    gain: float | np.ndarray,
    readnoise: float | np.ndarray,
    pssl: float,
    options: dict,
) -> CosmicRayHits:
    """Search an image with its sky added, and return it without."""
    mask = None if mask is None or mask is np.ma.nomask else np.asarray(mask, bool)
    image = data + pssl if pssl else data
    if np.ndim(gain) == 0:
        hits = search(image, mask, gain=float(gain), readnoise=readnoise, **options)
    else:
        # Amplifiers of different gains are searched in electrons.
        powers = {"inbkg": gain, "invar": gain**2}
        scaled = {
            name: value * powers[name] if name in powers and value is not None else value
            for name, value in options.items()
        }
        hits = search(image * gain, mask, readnoise=readnoise, **scaled)
        hits = hits._replace(data=hits.data / gain)
    return hits._replace(data=hits.data - np.float32(pssl)) if pssl else hits


def _cards(meta: object, how: CosmicRays, way: str, number: int) -> fits.Header:
    """Record how cosmic rays were detected, and how many."""
    header = header_of(meta, "this frame")
    done = "repaired" if how.repair else "flagged"
    header["CRAYS"] = (done, "cosmic rays, by L.A.Cosmic")
    header["CRWAY"] = (way, "sparse: our own way; else astroscrappy's")
    header["CRNUM"] = (number, "pixels hit by cosmic rays")
    return add_history(header, f"L.A.Cosmic sigclip={how.sigclip:g} objlim={how.objlim:g}")
