"""The overscan: the level of each row or column, its noise, and its subtraction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.modeling import Model, fitting
from astropy.modeling.models import Polynomial1D
from astropy.nddata import CCDData
from astropy.stats import sigma_clip

from ..camera.amplifier import Readout
from ..errors import FrameRejected
from ..files.quiet import caught_warnings
from .noise import median_variance
from .statistics import nanmedian

__all__ = ["overscan_levels", "overscan_noise", "subtract_columns", "subtract_overscan"]


def subtract_columns(ccd: CCDData, levels: np.ndarray) -> CCDData:
    """Subtract the overscan level of each column.

    Parameters
    ----------
    ccd : CCDData, shape (frames, rows, columns)
    levels : ndarray, shape (frames, columns)
        In the unit and the type of ``ccd``.

    Returns
    -------
    CCDData

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdprofiles.pixels.overscan import subtract_columns
    >>> raw = CCDData(np.array([[[1005.0, 1007.0], [1010.0, 1012.0]]]), unit="adu")
    >>> subtract_columns(raw, np.array([[1000.0, 1004.0]])).data
    array([[[ 5.,  3.],
            [10.,  8.]]])
    """
    return CCDData(ccd.data - levels[:, np.newaxis], unit=ccd.unit)


def subtract_overscan(ccd: CCDData, levels: np.ndarray) -> CCDData:
    """Subtract the overscan level of each row.

    Parameters
    ----------
    ccd : CCDData, shape (rows, columns)
        Raw pixels of one amplifier; of several frames, one under the other.
    levels : ndarray, shape (rows,)
        In the unit and the type of ``ccd``; `overscan_levels` measures them.

    Returns
    -------
    CCDData

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from ccdprofiles.pixels.overscan import subtract_overscan
    >>> raw = CCDData(np.array([[1005.0, 1007.0], [1010.0, 1012.0]]), unit="adu")
    >>> subtract_overscan(raw, np.array([1000.0, 1004.0])).data
    array([[5., 7.],
           [6., 8.]])
    """
    import ccdproc  # takes half a second, and is not needed to measure frames

    # ccdproc gets one column, the level of each row: its own estimate from a strip supports neither
    # rejection nor missing values. The axis is passed, as ccdproc would guess it from the shape.
    return ccdproc.subtract_overscan(
        ccd,
        overscan=CCDData(levels[:, np.newaxis], unit=ccd.unit),
        overscan_axis=1,
        median=True,
        add_keyword=False,
    )


def overscan_levels(strip: np.ndarray, how: str | Model) -> tuple[np.ndarray, bool]:
    """Measure the overscan level of each row; of a transposed strip, that of each column.

    Parameters
    ----------
    strip : ndarray of float32 or float64, shape (rows, columns)
        The overscan in adu; NaN where there is no data. A row without any value takes the
        level interpolated between its neighbours.
    how : {"median", "mean", "level"} or astropy model
        A model is fitted to the medians of the rows, with rejection at 3 standard deviations
        in up to five iterations. ``"level"`` is one number for all rows, fitted likewise.

    Returns
    -------
    levels : ndarray of float64, shape (rows,)
        In adu.
    poor_fit : bool
        Whether astropy warned about the fit of a model.

    Raises
    ------
    FrameRejected
        ``overscan`` if the strip has no finite value, or the model cannot be fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.overscan import overscan_levels
    >>> overscan_levels(np.array([[1000, 1002, 1001], [1004, 1003, 9000]], "f4"), "median")
    (array([1001., 1004.]), False)
    """
    levels = _known_rows(strip, _row_means if how == "mean" else _row_medians)
    if how == "level":
        how = Polynomial1D(0)
    return (levels, False) if isinstance(how, str) else _fitted(levels, how)


def _fitted(medians: np.ndarray, model: Model) -> tuple[np.ndarray, bool]:
    """Fit a model to the levels of the rows; also return whether astropy warned about it."""
    rows = np.arange(len(medians), dtype="f8")
    # Rows mapped to -1 .. 1 keep the fit of polynomials of high degree well conditioned.
    place = 2 * rows / max(len(rows) - 1, 1) - 1
    model = model.copy()
    if hasattr(model, "domain"):
        # The same polynomial over another domain; only its coefficients differ.
        model.domain = (-1.0, 1.0)
    fitter = fitting.FittingWithOutlierRemoval(
        fitting.LinearLSQFitter() if model.linear else fitting.TRFLSQFitter(),
        sigma_clip,
        niter=5,
        sigma=3.0,
    )
    with caught_warnings() as caught:
        try:
            fitted, _ = fitter(model, place, medians)
            levels = np.broadcast_to(np.asarray(fitted(place), "f8"), medians.shape).copy()
        except Exception as error:  # a model raises exceptions of any kind
            raise _unfit(model, str(error)) from error
    if not np.isfinite(levels).all():
        raise _unfit(model, "the fitted model has no finite value in some rows")
    return levels, bool(caught)


def _unfit(model: Model, why: str) -> FrameRejected:
    return FrameRejected(
        "overscan",
        f"its overscan cannot be fitted by {model.name or type(model).__name__} "
        f"({why.splitlines()[0].rstrip('!.')}); "
        "use another model in overscan= of the recipe, or better initial parameters.",
    )


def overscan_noise(readout: Readout, how: str | Model) -> float:
    """Return the variance of an overscan level, in units of one pixel's read variance.

    It is 1 / n for a mean of n pixels and about pi / (2 n) for a median
    (`ccdprofiles.pixels.noise.median_variance`). A fitted model averages over so many rows
    that its noise is neglected.

    Parameters
    ----------
    readout : Readout
    how : {"median", "mean", "level"} or astropy model

    Notes
    -----
    Of a parallel overscan of p rows, the level of each row was subtracted first, whose variance
    is v(n); so a pixel of it varies by 1 + v(n), and the level of a column by v(p) (1 + v(n)). A
    pixel of the data less both levels has v(n) + v(p) (1 + v(n)) more than its own variance.
    """
    if readout.overscan is None or how not in ("median", "mean"):
        return 0.0
    if readout.by_column:
        return _level_variance(sum(strip.height for strip in readout.strips), how)
    serial = _level_variance(sum(strip.width for strip in readout.strips), how)
    if readout.parallel_overscan is None:
        return serial
    return serial + _level_variance(readout.parallel_overscan.height, how) * (1 + serial)


def _level_variance(pixels: int, how: str | Model) -> float:
    return 1 / pixels if how == "mean" else median_variance(pixels)


def _known_rows(strip: np.ndarray, level: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Measure the rows that have a value, and interpolate the level of the others."""
    if np.isfinite(strip).all():
        return level(strip)
    strip = np.where(np.isfinite(strip), strip, np.nan)
    known = ~np.isnan(strip).all(axis=1)
    if not known.any():
        raise FrameRejected(
            "overscan",
            "its overscan has no finite value; copy the file again, or remove it from the night.",
        )
    place = np.arange(len(strip))
    return np.interp(place, place[known], level(strip[known]))


def _row_means(strip: np.ndarray) -> np.ndarray:
    return np.nanmean(strip, axis=1, dtype="f8")


def _row_medians(strip: np.ndarray) -> np.ndarray:
    if np.isnan(strip).any():
        return nanmedian(strip, axis=1).astype("f8")
    # Ten times faster than numpy.median, with the same result.
    ordered = np.sort(strip, axis=1)
    columns = strip.shape[1]
    both = ordered[:, (columns - 1) // 2 : columns // 2 + 1].astype("f8")
    return (both[:, 0] + both[:, -1]) / 2
