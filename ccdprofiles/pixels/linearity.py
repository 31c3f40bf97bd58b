"""The correction of linearity: counts above the bias become proportional to the light.

It follows the subtraction of overscan and bias and precedes that of the dark, as in the pipelines of
LSST (``ip_isr``: overscan, bias, linearity, crosstalk, dark, flat) and of JWST (``calwebb_detector1``:
superbias, reference pixels, linearity, dark), and in DRAGONS (``nonlinearityCorrect`` before the dark).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from astropy.nddata import CCDData

from ..camera.amplifier import AmplifierSet
from ..camera.linearity import Curve
from .prepare import NON_LINEAR

__all__ = ["BandLinearity", "linearise", "root_mean_square"]


@dataclass(frozen=True)
class BandLinearity:
    """The curves of the amplifiers, for some rows of the trimmed frame.

    Parameters
    ----------
    curves : sequence of Curve
        One for each amplifier.
    amplifiers : AmplifierSet
    first : int
        The first of the rows.
    """

    curves: Sequence[Curve]
    amplifiers: AmplifierSet
    first: int = 0


def linearise(ccd: CCDData, linearity: BandLinearity) -> tuple[CCDData, np.ndarray]:
    """Return frames whose counts are proportional to the light, and the slope of the curve.

    Parameters
    ----------
    ccd : CCDData, shape (frames, rows, columns)
        In adu, without overscan and bias.
    linearity : BandLinearity

    Returns
    -------
    CCDData
        Pixels beyond the end of a table are flagged `DQ.NON_LINEAR`; its last slope is continued.
    slope : ndarray, shape (frames, rows, columns)
        The derivative, by the square of which variance in raw counts is multiplied. That of the
        photons is not: their noise arises before the amplifier, so it is the linear counts over
        the gain.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdprofiles.camera.amplifier import AmplifierSet, Readout
    >>> from ccdprofiles.camera.linearity import Curve
    >>> from ccdprofiles.camera.section import Section
    >>> from ccdprofiles.pixels.linearity import BandLinearity, linearise
    >>> place = Section.parse("[1:3, 1:1]")
    >>> readout = Readout("", place, None, place, None, None, None)
    >>> table = Curve(raw=(0, 100, 200), linear=(0, 100, 220))
    >>> ccd = CCDData(np.array([[[50.0, 150, 210]]]), unit="adu")
    >>> done, slope = linearise(ccd, BandLinearity([table], AmplifierSet((readout,), (1, 3))))
    >>> done.data, slope, done.flags
    (array([[[ 50., 160., 232.]]]), array([[[1. , 1.2, 1.2]]]), array([[[0, 0, 2]]], dtype=uint16))
    """
    data, slope = ccd.data.copy(), np.ones_like(ccd.data)
    beyond = np.zeros(data.shape, bool)
    last = linearity.first + data.shape[1]
    for curve, readout in zip(linearity.curves, linearity.amplifiers.readouts, strict=True):
        rows, columns = readout.place.slices()
        start, stop = max(rows.start, linearity.first), min(rows.stop, last)
        if start >= stop:
            continue
        part = (slice(None), slice(start - linearity.first, stop - linearity.first), columns)
        counts = ccd.data[part]
        data[part], slope[part] = curve(counts)
        if np.isfinite(curve.end):
            with np.errstate(invalid="ignore"):
                beyond[part] = counts > curve.end
    flags = ccd.flags
    if beyond.any():
        flags = np.zeros(data.shape, "u2") if flags is None else flags.copy()
        flags[beyond] |= NON_LINEAR
    return CCDData(data, unit=ccd.unit, flags=flags), slope


def root_mean_square(slopes: np.ndarray) -> np.ndarray:
    """Return the slope that a stack of frames has for its variance, shape (rows, columns)."""
    return np.sqrt(np.mean(slopes.astype("f8") ** 2, axis=0))
