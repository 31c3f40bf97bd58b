"""Bias, dark, flat, gain and cosmic rays: what turns a prepared frame into a calibrated one.

ccdproc does the arithmetic. The variance is carried beside the data in one
expression, as arithmetic with uncertainties would make every step six times slower.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import ccdproc
import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, VarianceUncertainty

from ..camera.amplifier import AmplifierSet
from ..camera.recipe import CosmicRays
from ..errors import FrameRejected
from ..products.band import DQ, Band
from .cosmics import detect_cosmics, saturated_stars
from .prepare import SATURATED

__all__ = [
    "BAD",
    "COSMIC_RAY",
    "HOT",
    "NO_FLAT",
    "UNILLUMINATED",
    "MasterBand",
    "Noise",
    "calibrate",
    "find_cosmic_rays",
    "master_variance",
    "subtract_masters",
]

log = logging.getLogger(__name__)

BAD, COSMIC_RAY, HOT = DQ.BAD_PIXEL.value, DQ.COSMIC_RAY.value, DQ.HOT.value
UNILLUMINATED, NO_FLAT = DQ.UNILLUMINATED.value, DQ.NO_FLAT.value

MasterBand = Band


@dataclass(frozen=True)
class Noise:
    """The gain and the read noise of a band of rows.

    Parameters
    ----------
    gain : float or ndarray or None
        Electrons per adu; an array of shape (rows, columns) where amplifiers differ.
    read_variance : float or ndarray or None
        Of one pixel, with the noise of its overscan level, in adu squared.
    """

    gain: float | np.ndarray | None
    read_variance: float | np.ndarray | None

    @classmethod
    def of(
        cls, amplifiers: AmplifierSet, overscan_noise: tuple[float, ...], first: int, stop: int
    ) -> Noise:
        """Lay the numbers of the amplifiers out for rows ``first`` up to ``stop``.

        Parameters
        ----------
        amplifiers : AmplifierSet
        overscan_noise : tuple of float
            The variance of each overscan level in units of a pixel's read variance.
        first, stop : int
        """
        gains = [r.gain for r in amplifiers.readouts]
        read = [
            None if r.read_variance is None else r.read_variance * (1 + more)
            for r, more in zip(amplifiers.readouts, overscan_noise, strict=True)
        ]
        return cls(
            _laid_out(gains, amplifiers, first, stop), _laid_out(read, amplifiers, first, stop)
        )


def subtract_masters(
    ccd: CCDData, bias: MasterBand | None, dark: MasterBand | None, scale: float = 1.0
) -> CCDData:
    """Subtract a bias and a dark.

    Parameters
    ----------
    ccd : CCDData, shape (frames, rows, columns)
        As `ccdprofiles.pixels.prepare.prepare` gives it.
    bias, dark : MasterBand or None
    scale : float
        What the dark is multiplied by.

    Returns
    -------
    CCDData
        Of the type of ``ccd``, with its flags.
    """
    flags, dtype = ccd.flags, ccd.data.dtype
    ccd = CCDData(ccd.data, unit=ccd.unit)
    if bias is not None:
        ccd = ccdproc.subtract_bias(ccd, _like(bias.data, ccd), add_keyword=False)
    if dark is not None:
        # Scaled once for all frames. Both exposures are given, as ccdproc asks for them
        # even where it does not scale.
        current = dark.data if scale == 1 else dark.data.astype(dtype, copy=False) * scale
        ccd = ccdproc.subtract_dark(
            ccd,
            _like(current, ccd),
            dark_exposure=1 * u.s,
            data_exposure=1 * u.s,
            scale=False,
            add_keyword=False,
        )
    data = ccd.data.astype(dtype, copy=False)
    return CCDData(data, unit=ccd.unit, flags=flags)


def calibrate(
    ccd: CCDData,
    noise: Noise,
    *,
    pedestal: bool,
    bias: MasterBand | None = None,
    dark: MasterBand | None = None,
    scale: float = 1.0,
    flat: MasterBand | None = None,
    electrons: bool = False,
) -> CCDData:
    """Calibrate a prepared band of one frame or of many.

    Parameters
    ----------
    ccd : CCDData, shape (frames, rows, columns)
        In adu, its overscan off where it has a useful one.
    noise : Noise
    pedestal : bool
        Whether ``ccd`` still holds its pedestal once its bias is off, as where a
        camera has neither overscan nor bias; its photons are then counted above
        the dark, and the noise below them is that of the dark's own frames.
    bias, dark, flat : MasterBand or None
    scale : float
        What the dark is multiplied by.
    electrons : bool
        Whether the result is multiplied by the gain.

    Returns
    -------
    CCDData, shape (frames, rows, columns), float32
        With a `VarianceUncertainty` where gain and read noise are known, and flags.

    Notes
    -----
    The variance in adu squared is max(signal, 0) / gain + read variance for the
    frame, and what the masters add. A bias that is in the dark too is subtracted
    (1 - scale) times in all.
    """
    with_bias = subtract_masters(ccd, bias, None)
    data = subtract_masters(with_bias, None, dark, scale) if dark is not None else with_bias
    variance = _variance(with_bias.data, data.data, noise, pedestal, bias, dark, scale)
    flags = _flagged(ccd.flags, data.shape, bias, dark, flat)
    if flat is not None:
        # The flat was normalised over its good pixels; ccdproc would take masked ones too.
        divided = ccdproc.flat_correct(
            CCDData(data.data, unit=data.unit),
            _Flat(np.broadcast_to(flat.data, data.shape), unit=u.dimensionless_unscaled),
            norm_value=1.0,
            add_keyword=False,
        )
        values = divided.data.astype("f4", copy=False)
        if variance is not None:
            if flat.variance is not None:
                of_flat = values**2
                of_flat *= flat.variance
                variance += of_flat
            variance /= flat.data**2
        data = CCDData(values, unit=data.unit)
    if electrons:
        data, variance = _electrons(data, variance, noise.gain)
    uncertainty = (
        None if variance is None else VarianceUncertainty(variance.astype("f4", copy=False))
    )
    return CCDData(
        data.data.astype("f4", copy=False), unit=data.unit, uncertainty=uncertainty, flags=flags
    )


def find_cosmic_rays(
    ccd: CCDData, amplifiers: AmplifierSet, how: CosmicRays, gain: Noise
) -> CCDData:
    """Flag cosmic rays by L.A.Cosmic, and repair them where the recipe asks.

    Parameters
    ----------
    ccd : CCDData, shape (rows, columns)
        A calibrated frame, in adu or electron, with flags.
    amplifiers : AmplifierSet
        For the read noise and the saturation of each amplifier.
    how : CosmicRays
    gain : Noise
        Of all rows.

    Returns
    -------
    CCDData
        The frame with bit 8 set in its flags; its data untouched unless ``how.repair``.
        Its ``meta["CRWAY"]`` says how they were found: ``"sparse"`` or ``"astroscrappy"``.

    Raises
    ------
    FrameRejected
        If gain or read noise is unknown.

    Notes
    -----
    All amplifiers are searched as one image, each with its own read noise, so that a hit
    on the seam between two is found. Saturated stars are masked; a cosmic ray may saturate.
    """
    if not amplifiers.knows_noise:
        raise FrameRejected("noise", "cosmic rays cannot be found without gain and read noise.")
    rows, _ = ccd.shape
    factor = 1.0 if ccd.unit == u.electron else gain.gain
    electrons = (ccd.data * factor).astype("f4")
    flags = np.zeros(ccd.shape, "u2") if ccd.flags is None else ccd.flags.copy()
    finite = np.isfinite(electrons)
    bad = ~finite | ((flags & ~np.uint16(HOT | SATURATED)) != 0)
    mask, saturated = bad, (flags & SATURATED) != 0
    levels = [r.saturation * r.gain for r in amplifiers.readouts if r.saturation is not None]
    if levels and saturated.any():
        known = np.where(finite, electrons, np.float32(0))
        mask = bad | saturated_stars(known, saturated, min(levels), how.sepmed)
    found = detect_cosmics(
        electrons,
        mask,
        readnoise=_laid_out([r.read_noise for r in amplifiers.readouts], amplifiers, 0, rows),
        satlevel=float("inf"),
        sigclip=how.sigclip,
        sigfrac=how.sigfrac,
        objlim=how.objlim,
        niter=how.niter,
        sepmed=how.sepmed,
        cleantype=how.cleantype,
        fsmode=how.fsmode,
        psffwhm=how.psffwhm,
    )
    hit = found.mask & ~bad
    flags[hit] |= COSMIC_RAY
    log.info("%d pixels hit by cosmic rays, the %s way", np.count_nonzero(hit), found.way)
    cleaned = _with_flags(ccd, flags)
    cleaned.meta["CRWAY"] = found.way
    if how.repair:
        data = ccd.data.copy()
        data[hit] = (found.data / factor)[hit]
        cleaned.data = data
    return cleaned


def _with_flags(ccd: CCDData, flags: np.ndarray) -> CCDData:
    """Return the frame with other flags."""
    return CCDData(ccd.data, unit=ccd.unit, uncertainty=ccd.uncertainty, flags=flags)


def _variance(
    light: np.ndarray,
    signal: np.ndarray,
    noise: Noise,
    pedestal: bool,
    bias: MasterBand | None,
    dark: MasterBand | None,
    scale: float,
) -> np.ndarray | None:
    """Add up the variance of a frame in adu squared; None where gain or read noise is unknown."""
    if noise.gain is None:
        return None
    if pedestal:
        if dark is None or dark.scatter is None:
            return None
        total = np.maximum(signal, 0)
        total /= noise.gain
        total += dark.scatter
        total += dark.variance
        return total
    if noise.read_variance is None:
        return None
    total = np.maximum(light, 0)
    total /= np.asarray(noise.gain, total.dtype)
    total += np.asarray(noise.read_variance, total.dtype)
    fixed = master_variance(bias, dark, scale)
    if fixed is not None:
        total += fixed
    return total


def master_variance(
    bias: MasterBand | None, dark: MasterBand | None, scale: float
) -> np.ndarray | None:
    """Return what bias and dark add to the variance of a frame, in adu squared."""
    of_bias = None if bias is None else bias.variance
    of_dark = None if dark is None else dark.variance
    if of_dark is None:
        return of_bias
    if of_bias is None:
        return scale**2 * of_dark
    if not dark.same_bias:
        return of_bias + scale**2 * of_dark
    own = np.maximum(of_dark - of_bias, 0)
    return (1 - scale) ** 2 * of_bias + scale**2 * own


def _flagged(
    flags: np.ndarray | None, shape: tuple[int, ...], *masters: MasterBand | None
) -> np.ndarray | None:
    """Join the flags of a frame and of its masters; None where there is none."""
    joined = None if flags is None else flags.copy()
    for master in masters:
        if master is not None and master.flags is not None:
            if joined is None:
                joined = np.zeros(shape, "u2")
            joined |= master.flags
    return joined


def _electrons(
    data: CCDData, variance: np.ndarray | None, gain: float | np.ndarray
) -> tuple[CCDData, np.ndarray | None]:
    """Turn adu into electrons; without a gain there are none to be had."""
    if np.ndim(gain) == 0:
        data = ccdproc.gain_correct(
            CCDData(data.data, unit=data.unit), float(gain) * u.electron / u.adu, add_keyword=False
        )
    else:
        data = CCDData(data.data * gain, unit=data.unit * u.electron / u.adu)
    return data, None if variance is None else variance * np.asarray(gain) ** 2


class _Flat(CCDData):
    """A flat that has been normalised.

    ccdproc divides a flat by its norm first, which of ones would make a copy in float64
    for every frame of a stack.
    """

    def divide(self, norm: u.Quantity) -> CCDData:
        """Return the flat as it is, as its norm is 1."""
        return self


def _like(master: np.ndarray, ccd: CCDData) -> CCDData:
    """Lay a master under every frame of a stack, without copying it."""
    return CCDData(
        np.broadcast_to(master.astype(ccd.data.dtype, copy=False), ccd.shape), unit=ccd.unit
    )


def _laid_out(
    values: list[float | None], amplifiers: AmplifierSet, first: int, stop: int
) -> float | np.ndarray | None:
    """Return one number where all amplifiers share it, else a value for each pixel."""
    if any(v is None for v in values):
        return None
    if len(set(values)) == 1:
        return values[0]
    laid = np.empty((stop - first, amplifiers.shape[1]), "f4")
    for value, readout in zip(values, amplifiers.readouts, strict=True):
        rows, columns = readout.place.slices()
        laid[max(rows.start - first, 0) : max(rows.stop - first, 0), columns] = value
    return laid
