"""The flat of a spectrograph: the spectrum of the lamp is fitted and divided out.

A quartz lamp is bright in the red and faint in the blue. A flat must keep the response of
single pixels and the illumination of the slit, but not the smooth spectrum of the lamp along
the dispersion. The curve is fitted to the logarithm of the lamp over the illuminated part of
the slit. Nothing is smoothed beforehand, so the curve does not fall off at the ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.stats import mad_std
from numpy.polynomial import Chebyshev

from ..camera.recipe import SpectralFlat
from .statistics import nanmedian

__all__ = ["SpectralMaster", "illuminated", "lamp_curve", "spectral_flat"]

_ITERATIONS = 10
"""Fits with rejection, at most."""

_SIGMAS = 10
"""A pixel further from the slit profile than so many standard deviations is bad."""

_LARGEST = 20
"""How far, in the logarithm, a curve may leave the range of the lamp where it extrapolates."""

_TOLERANCE = 0.02
"""Points this close to the curve are never rejected: a lamp of little noise deviates from any
curve by more than its noise, and would lose whole ranges of it."""


@dataclass(frozen=True)
class SpectralMaster:
    """A spectral flat without its lamp.

    Parameters
    ----------
    data : ndarray of float64, shape (rows, columns)
        Normalised to a median of 1 over its lit, good pixels.
    lit : ndarray of bool
        Where the slit is lit.
    bad : ndarray of bool
        Lit pixels that deviate from all others.
    lamp : ndarray of float64
        The curve that was divided out, along the dispersion.
    norm : float
        What the flat was divided by after that.
    """

    data: np.ndarray
    lit: np.ndarray
    bad: np.ndarray
    lamp: np.ndarray
    norm: float


def illuminated(image: np.ndarray, how: SpectralFlat) -> np.ndarray:
    """Return the illuminated part of the slit.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
        A flat; NaN where it has no value.
    how : SpectralFlat

    Returns
    -------
    ndarray of bool, along the slit
    """
    profile = nanmedian(image, _dispersion(how))
    known = profile[np.isfinite(profile)]
    bright = np.percentile(known, 90) if known.size else 0
    if not bright > 0:
        return np.zeros(profile.shape, bool)
    with np.errstate(invalid="ignore"):
        return profile >= how.illuminated * bright


def lamp_curve(lamp: np.ndarray, how: SpectralFlat) -> np.ndarray:
    """Fit a smooth curve to the spectrum of a lamp, with rejection of outliers.

    Parameters
    ----------
    lamp : ndarray, along the dispersion
        Points that are not above zero are ignored.
    how : SpectralFlat
        ``fit="spline"``: a cubic spline of ``order`` equal pieces;
        ``"polynomial"``: Chebyshev polynomials up to degree ``order``.

    Returns
    -------
    ndarray of float64, along the dispersion
        Above zero everywhere.
    """
    place = np.linspace(-1, 1, len(lamp))
    with np.errstate(invalid="ignore", divide="ignore"):
        logarithm = np.log(lamp.astype("f8"))
    good = np.isfinite(logarithm)
    curve = np.zeros_like(place)
    for _ in range(_ITERATIONS):
        curve = _fitted(place, logarithm, good, how)
        off = np.abs(logarithm - curve)
        limit = max(how.clip * mad_std((logarithm - curve)[good]), _TOLERANCE)
        with np.errstate(invalid="ignore"):
            close = np.isfinite(logarithm) & (off <= limit)
        if np.array_equal(close, good):
            break
        good = close
    # Far from all points the exponential of a polynomial may overflow.
    ends = logarithm[good].min() - _LARGEST, logarithm[good].max() + _LARGEST
    return np.exp(np.clip(curve, *ends))


def spectral_flat(
    image: np.ndarray, variance: np.ndarray | None, good: np.ndarray, how: SpectralFlat
) -> SpectralMaster:
    """Divide a combined flat by the spectrum of its lamp, and find unlit and bad pixels.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
    variance : ndarray or None
    good : ndarray of bool
        Pixels with a usable value.
    how : SpectralFlat

    Returns
    -------
    SpectralMaster

    Raises
    ------
    ValueError
        If too little of the flat is illuminated to fit a curve.
    """
    axis = _dispersion(how)
    values = np.where(good, image, np.nan)
    slit = illuminated(values, how)
    if not slit.any():
        raise ValueError("no part of the slit is illuminated")
    lit = np.broadcast_to(np.expand_dims(slit, axis), image.shape)
    lamp = nanmedian(values.compress(slit, axis=1 - axis), 1 - axis)
    curve = lamp_curve(lamp, how)
    flat = image / np.expand_dims(curve, 1 - axis)
    norm = float(np.median(flat[lit & good]))
    flat = flat / norm
    profile = np.expand_dims(nanmedian(np.where(good, flat, np.nan), axis), axis)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.abs(flat / profile - 1)
        limit = _SIGMAS * mad_std((flat / profile)[lit & good])
        if variance is not None:
            # Where the lamp is faint its own noise is larger than the typical scatter.
            own = np.sqrt(variance) / (np.expand_dims(curve, 1 - axis) * norm * profile)
            limit = np.maximum(limit, _SIGMAS * own)
        bad = lit & good & (deviation > limit)
    return SpectralMaster(flat, lit, bad, curve, norm)


def _fitted(
    place: np.ndarray, values: np.ndarray, good: np.ndarray, how: SpectralFlat
) -> np.ndarray:
    """Fit the good points once, and return the curve everywhere."""
    from scipy.interpolate import make_lsq_spline

    if how.fit == "polynomial":
        if good.sum() <= how.order:
            raise ValueError(f"{good.sum()} lit points are too few for degree {how.order}")
        # With full=True numpy returns the rank instead of warning about it.
        curve, (_, rank, _, _) = Chebyshev.fit(
            place[good], values[good], how.order, domain=[-1, 1], full=True
        )
        if rank <= how.order:
            raise ValueError(
                f"{good.sum()} lit points lie too close together for degree {how.order}"
            )
        return curve(place)
    inner = np.linspace(-1, 1, how.order + 1)[1:-1]
    # Each piece needs points of its own, or the spline is not determined there.
    counts, _ = np.histogram(place[good], np.concatenate([[-1], inner, [1]]))
    if (counts < 2).any():
        raise ValueError(f"the lit points are too few for a spline of {how.order} pieces")
    knots = np.concatenate([[-1.0] * 4, inner, [1.0] * 4])
    return make_lsq_spline(place[good], values[good], knots, k=3)(place)


def _dispersion(how: SpectralFlat) -> int:
    """Return the array axis along which the wavelength runs."""
    return 0 if how.dispersion == "y" else 1
