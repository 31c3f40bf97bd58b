"""Find the defects of a detector in its masters: hot, dead and noisy pixels, and bad columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntFlag

import numpy as np

from ..camera.amplifier import AmplifierSet
from .background import local_level
from .statistics import MAD_TO_STD, nanmedian

__all__ = [
    "Defect",
    "TimeScatter",
    "bad_columns",
    "dead_pixels",
    "hot_pixels",
    "local_response",
    "noisy_pixels",
    "squared_deviations",
]

_BLOCK = 16
"""Pixels along the side of the blocks whose medians are the local level of a flat."""

_NEIGHBOURS = 15
"""Columns of which the median is the level that a column is compared with."""

_SHARE = 0.5
"""The share of defective pixels beyond which a whole column is bad."""


class Defect(IntFlag):
    """The bits of a bad-pixel mask."""

    HOT = 1
    DEAD = 2
    NOISY = 4
    COLUMN = 8


def hot_pixels(dark: np.ndarray, amplifiers: AmplifierSet, sigmas: float) -> np.ndarray:
    """Return the pixels whose dark current is above that of their amplifier.

    Parameters
    ----------
    dark : ndarray, shape (rows, columns)
        A master dark in adu.
    amplifiers : AmplifierSet
    sigmas : float
        How many ``mad_std`` above the median of its amplifier a pixel is hot.

    Returns
    -------
    ndarray of bool
    """
    hot = np.zeros(dark.shape, bool)
    for readout in amplifiers.readouts:
        place = readout.place.slices()
        centre, spread = _centre_and_spread(dark[place])
        with np.errstate(invalid="ignore"):
            hot[place] = dark[place] > centre + sigmas * spread
    return hot


def local_response(flat: np.ndarray) -> np.ndarray:
    """Return the response of each pixel relative to the pixels around it.

    The level around a pixel is interpolated between the medians of blocks of 16 x 16 pixels, so
    that vignetting and the slope of the illumination do not count.

    Parameters
    ----------
    flat : ndarray, shape (rows, columns)
        A master flat; NaN where a pixel does not count.

    Returns
    -------
    ndarray of float64
        About 1; NaN where ``flat`` is.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.defects import local_response
    >>> flat = np.ones((32, 32)) * np.linspace(0.8, 1.2, 32)
    >>> flat[3, 4] *= 0.4
    >>> bool(local_response(flat)[3, 4] < 0.5)
    True
    """
    around = local_level(flat, _BLOCK)
    with np.errstate(divide="ignore", invalid="ignore"):
        return flat / around


def dead_pixels(response: np.ndarray, least: float, sigmas: float) -> np.ndarray:
    """Return the pixels of low response.

    Parameters
    ----------
    response : ndarray, shape (rows, columns)
        As returned by `local_response`.
    least : float
        The response, relative to the pixels around, below which a pixel is dead.
    sigmas : float
        How many ``mad_std`` below 1 it must be besides, so that noise of a faint flat makes none.
    """
    _, spread = _centre_and_spread(response)
    with np.errstate(invalid="ignore"):
        return (response < least) & (response < 1 - sigmas * spread)


@dataclass(frozen=True)
class TimeScatter:
    """The scatter of pixels in time, summed over stacks of frames.

    Parameters
    ----------
    chi2 : ndarray, shape (rows, columns)
        The squared deviations of all frames, in units of the usual variance of a pixel.
    freedom : int
        Degrees of freedom.
    """

    chi2: np.ndarray
    freedom: int

    def __add__(self, other: TimeScatter) -> TimeScatter:
        return TimeScatter(self.chi2 + other.chi2, self.freedom + other.freedom)

    @classmethod
    def of(cls, squares: np.ndarray, number: int, amplifiers: AmplifierSet) -> TimeScatter:
        """Return the scatter of a stack of frames, relative to that of its amplifier.

        Its median over an amplifier is taken for the usual one, so the read noise need not be known.

        Parameters
        ----------
        squares : ndarray, shape (rows, columns)
            As returned by `squared_deviations`.
        number : int
            Frames in the stack.
        amplifiers : AmplifierSet
        """
        freedom = number - 2
        # The median of a chi-square distribution (Wilson & Hilferty 1931, PNAS 17, 684).
        middle = freedom * (1 - 2 / (9 * freedom)) ** 3
        chi2 = np.zeros(squares.shape)
        for readout in amplifiers.readouts:
            place = readout.place.slices()
            usual = np.nanmedian(squares[place])
            if usual > 0:
                chi2[place] = np.nan_to_num(squares[place] * (middle / usual))
        return cls(chi2, freedom)


def squared_deviations(stack: np.ndarray) -> np.ndarray:
    """Return the sum of squared deviations from the mean for each pixel of a stack.

    The highest value of each pixel is left out, as a cosmic ray may have hit it.

    Parameters
    ----------
    stack : ndarray, shape (frames, rows, columns)
        At least four frames of one kind, each less its own median level.

    Returns
    -------
    ndarray of float64, shape (rows, columns)
    """
    ordered = np.sort(stack.astype("f8"), axis=0)[:-1]
    return ((ordered - ordered.mean(axis=0)) ** 2).sum(axis=0)


def noisy_pixels(scatter: TimeScatter, sigmas: float) -> np.ndarray:
    """Return the pixels that scatter in time more than chance allows.

    Parameters
    ----------
    scatter : TimeScatter
    sigmas : float
        The limit is the value that chi-square exceeds as rarely as a normal value exceeds this
        many standard deviations.
    """
    from scipy.stats import chi2, norm

    return scatter.chi2 > chi2.isf(norm.sf(sigmas), scatter.freedom)


def bad_columns(
    images: Sequence[np.ndarray],
    defects: np.ndarray,
    amplifiers: AmplifierSet,
    sigmas: float,
) -> np.ndarray:
    """Return the columns of amplifiers of which the median deviates, or most pixels are defective.

    Parameters
    ----------
    images : sequence of ndarray, shape (rows, columns)
        Master darks in adu and the response of flats; NaN where a pixel does not count.
    defects : ndarray of bool
        The pixels that are hot, dead or noisy.
    amplifiers : AmplifierSet
    sigmas : float
        A column is bad if its median differs from that of the columns around it by more than this
        many ``mad_std``, of its pixels or of such differences, whichever is larger. A smaller
        difference is removed by the dark and the flat.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
    """
    bad = np.zeros(defects.shape, bool)
    for readout in amplifiers.readouts:
        place = readout.place.slices()
        columns = defects[place].mean(axis=0) > _SHARE
        for image in images:
            part = image[place]
            medians = nanmedian(part)
            off = medians - _around(medians)
            spread = max(_centre_and_spread(part - medians)[1], _centre_and_spread(off)[1])
            with np.errstate(invalid="ignore"):
                columns |= np.abs(off) > sigmas * spread
        bad[place] |= columns
    return bad


def _around(medians: np.ndarray) -> np.ndarray:
    """Return for each column the median of those around it."""
    from scipy.ndimage import median_filter

    known = np.isfinite(medians)
    if not known.any():
        return medians
    place = np.arange(len(medians))
    filled = np.interp(place, place[known], medians[known])
    return median_filter(filled, size=min(_NEIGHBOURS, len(filled)), mode="nearest")


def _centre_and_spread(values: np.ndarray) -> tuple[float, float]:
    """Return the median of the finite values, and their ``mad_std``."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.nan, np.nan
    centre = np.median(finite)
    return float(centre), float(MAD_TO_STD * np.median(np.abs(finite - centre)))
