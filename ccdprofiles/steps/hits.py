"""Detect cosmic rays in one frame, and set the mask and the flags of a CCDData."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty

from ..camera.recipe import CosmicRays
from ..errors import FrameRejected, PlanError, known
from ..pixels.calibrate import COSMIC_RAY, find_cosmic_rays
from ..pixels.cosmics import CosmicRayHits
from ..pixels.cosmics import detect_cosmics as search
from ..products.band import MASKED
from .ledger import State
from .pipeline import add_history, noise_of_frame
from .tracked import Origin, TrackedCCD, flags_of, variance_of

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
    from `Profile.calibrate` needs none: gain and read noise of each amplifier come from its
    profile, the other options from its recipe.

    Parameters
    ----------
    ccd : CCDData or ndarray, shape (rows, columns)
        With its sky background. Masked pixels are not searched.
    sigclip, sigfrac, objlim, niter, sepmed, cleantype, fsmode, psffwhm
        As in `ccdprofiles.CosmicRays`, and with its defaults.
    gain : float or Quantity, optional
        Electrons per adu; a number without unit is in this unit. By default 1, and the unit is
        unchanged.
    readnoise : float or Quantity, optional
        In electron; 6.5 by default.
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
        If the units of frame, gain and read noise do not agree, a gain is specified for a frame in
        electron, or the frame is a product that was read from a file, and ``readnoise`` is missing.

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
    asked = {
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
    plain = (psfmodel, psfsize, pssl) == ("gauss", 7, 0) and psfk is inbkg is invar is None
    if plain and gain is None and readnoise is None and isinstance(ccd, TrackedCCD) and ccd.origin:
        return _of_profile(ccd, ccd.origin, asked, repair)
    options = _checked(asked) | {
        "satlevel": satlevel,
        "psfmodel": psfmodel,
        "psfsize": psfsize,
        "psfk": psfk,
        "psfbeta": psfbeta,
        "inbkg": inbkg,
        "invar": invar,
    }
    if pssl and (inbkg is not None or invar is not None):
        raise PlanError(
            "pssl= and inbkg= or invar= both specify the sky background; use only one of them."
        )
    if not isinstance(ccd, CCDData):
        factor = 1.0 if gain is None else u.Quantity(gain).value
        hits = _search(np.asarray(ccd), None, factor, _number(readnoise), pssl, options)
        data = hits.data if repair else np.asarray(ccd)
        return (data * factor if gain_apply and factor != 1 else data), hits.mask
    return _of_options(ccd, gain, readnoise, pssl, gain_apply, options, repair)


def _checked(asked: dict) -> dict:
    """Return all options of the search, after those of the caller have been checked."""
    # The plain median is not allowed in a recipe, because astroscrappy 1.3.0 does not support it.
    plain = asked.get("cleantype") == "median"
    rest = {name: value for name, value in asked.items() if not (plain and name == "cleantype")}
    options = dict(vars(CosmicRays(**rest)))
    del options["repair"]
    return options | ({"cleantype": "median"} if plain else {})


def _of_profile(ccd: TrackedCCD, origin: Origin, asked: dict, repair: bool) -> TrackedCCD:
    """Search a frame with the gain and read noise of each of its amplifiers."""
    state = State.of(ccd.meta)
    if state is None or state.pedestal:
        raise PlanError(
            "this frame still contains its pedestal, which would be taken for light; "
            "subtract its bias or dark first."
        )
    if origin.frame.mosaic is not None:
        raise PlanError(
            f"this frame is a mosaic of colours ({origin.frame.mosaic.pattern}), in which every pixel "
            "differs from its neighbours, as if cosmic rays had hit it; detect them after debayering."
        )
    how = replace(origin.frame.recipe.cosmic_rays or CosmicRays(), **asked, repair=repair)
    amplifiers = origin.frame.amplifiers
    whole = CCDData(np.asarray(ccd.data, "f4"), unit=ccd.unit, flags=flags_of(ccd))
    try:
        hits = find_cosmic_rays(whole, amplifiers, how, noise_of_frame(origin.frame))
    except FrameRejected as error:
        raise PlanError(
            f"gain or read noise of {origin.profile.name} is not known, and cosmic rays cannot be "
            "detected without it; specify both with gain= and readnoise=."
        ) from error
    meta = _cards(ccd.meta, how, hits.meta["CRWAY"], int(((hits.flags & COSMIC_RAY) != 0).sum()))
    return TrackedCCD(
        hits.data,
        unit=ccd.unit,
        uncertainty=ccd.uncertainty,
        mask=ccd.mask | ((hits.flags & MASKED) != 0),
        flags=hits.flags,
        meta=meta,
        origin=origin,
    )


def _of_options(
    ccd: CCDData,
    gain: float | u.Quantity | None,
    readnoise: float | u.Quantity | None,
    pssl: float,
    gain_apply: bool,
    options: dict,
    repair: bool,
) -> CCDData:
    """Search a frame with the numbers of the caller."""
    if readnoise is None and "CPVERS" in ccd.meta:
        raise PlanError(
            "this product was read from a file, and its cards do not contain the read noise; specify gain= and "
            "readnoise=, or search the frame that calibrate() returns."
        )
    _check_units(ccd, gain, readnoise)
    factor = 1.0 if gain is None else u.Quantity(gain).value
    hits = _search(ccd.data, ccd.mask, factor, _number(readnoise), pssl, options)
    # astroscrappy multiplies the whole frame by the gain and divides it again.
    data = hits.data if repair else ccd.data.copy()
    unit, uncertainty = ccd.unit, ccd.uncertainty
    if gain is not None and gain_apply and ccd.unit != u.electron:
        data, unit = data * np.float32(factor), u.electron
        if uncertainty is not None:
            uncertainty = StdDevUncertainty(np.sqrt(known(variance_of(ccd), "variance")) * factor)
    flags = ccd.flags
    if isinstance(flags, np.ndarray):
        flags = flags | hits.mask * flags.dtype.type(COSMIC_RAY)
    mask = hits.mask if ccd.mask is None else ccd.mask | hits.mask
    how = CosmicRays(
        repair=repair,
        **{n: v for n, v in options.items() if n in ("sigclip", "objlim")},
    )
    meta = _cards(ccd.meta, how, hits.way, int(hits.mask.sum()))
    return CCDData(
        data, unit=unit, uncertainty=uncertainty, mask=mask, flags=flags, meta=meta, wcs=ccd.wcs
    )


def _check_units(
    ccd: CCDData, gain: float | u.Quantity | None, readnoise: float | u.Quantity | None
) -> None:
    """Refuse units that do not agree, as ccdproc does, and a gain that was already applied."""
    number = gain if isinstance(gain, u.Quantity) else (1 if gain is None else gain) * _GAIN
    if ccd.unit == u.electron:
        if number.value != 1:
            raise PlanError(
                f"this frame is already in electron, so gain={number} would be applied twice; omit it."
            )
        number = 1 * u.dimensionless_unscaled
    noise = readnoise if isinstance(readnoise, u.Quantity) else 1 * u.electron
    if not (number.unit * ccd.unit).is_equivalent(noise.unit):
        raise PlanError(
            f"gain in {number.unit}, frame in {ccd.unit} and read noise in {noise.unit} do not agree; "
            "use the gain in electron / adu and the read noise in electron."
        )


def _number(readnoise: float | u.Quantity | None) -> float | np.ndarray:
    return _READ_NOISE if readnoise is None else u.Quantity(readnoise).value


def _search(
    data: np.ndarray,
    mask: np.ndarray | None,
    gain: float,
    readnoise: float | np.ndarray,
    pssl: float,
    options: dict,
) -> CosmicRayHits:
    """Search an image with its sky added, and return it without."""
    mask = None if mask is None or mask is np.ma.nomask else np.asarray(mask, bool)
    hits = search(data + pssl if pssl else data, mask, gain=gain, readnoise=readnoise, **options)
    return hits._replace(data=hits.data - np.float32(pssl)) if pssl else hits


def _cards(meta: object, how: CosmicRays, way: str, number: int) -> fits.Header:
    """Record how cosmic rays were detected, and how many."""
    header = fits.Header(meta)
    done = "repaired" if how.repair else "flagged"
    header["CRAYS"] = (done, "cosmic rays, by L.A.Cosmic")
    header["CRWAY"] = (way, "sparse: our own way; else astroscrappy's")
    header["CRNUM"] = (number, "pixels hit by cosmic rays")
    return add_history(header, f"L.A.Cosmic sigclip={how.sigclip:g} objlim={how.objlim:g}")
