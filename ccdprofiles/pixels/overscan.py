"""The overscan: its level for every row, and the read noise that it shows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from astropy.modeling import Model, fitting
from astropy.modeling.models import Polynomial1D
from astropy.stats import sigma_clip

from ..camera.amplifier import Readout
from ..errors import FrameRejected
from ..files.quiet import caught_warnings
from .noise import median_variance

__all__ = ["overscan_noise"]


def overscan_levels(strip: np.ndarray, how: str | Model) -> np.ndarray:
    """Turn a strip of overscan into the level of each row.

    Parameters
    ----------
    strip : ndarray of float32, shape (rows, columns)
        In adu; NaN where there is no data. A row without any takes the level of its
        neighbours.
    how : {"median", "mean", "level"} or astropy model
        A model is fitted to the medians of the rows, of which those further than
        3 standard deviations are left out, five times over.

    Returns
    -------
    ndarray of float64, shape (rows,)

    Raises
    ------
    FrameRejected
        ``overscan`` if the strip holds no value at all, or the model cannot be fitted.
    """
    return _levels(strip, how)[0]


def _levels(strip: np.ndarray, how: str | Model) -> tuple[np.ndarray, bool]:
    """Return the level of each row, and whether the fit of a model is in doubt."""
    medians = _known_rows(strip, _row_means if how == "mean" else _row_medians)
    if how == "level":
        how = Polynomial1D(0)
    return (medians, False) if isinstance(how, str) else _fitted(medians, how)


def _fitted(medians: np.ndarray, model: Model) -> tuple[np.ndarray, bool]:
    """Fit a model to the levels of the rows; also return whether astropy doubts the fit."""
    rows = np.arange(len(medians), dtype="f8")
    # A fit in the middle of -1 .. 1 keeps polynomials of high degree well conditioned.
    place = 2 * rows / max(len(rows) - 1, 1) - 1
    model = model.copy()
    if hasattr(model, "domain"):
        # A polynomial over other rows is one over these; only its coefficients differ.
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
        except Exception as error:  # a model raises whatever it likes
            raise _unfit(model, str(error)) from error
    if not np.isfinite(levels).all():
        raise _unfit(model, "it has no value in some rows")
    return levels, bool(caught)


def _unfit(model: Model, why: str) -> FrameRejected:
    return FrameRejected(
        "overscan",
        f"its overscan cannot be fitted by {_name_of(model)} ({why.splitlines()[0].rstrip('!.')}); "
        "give overscan= of the recipe another model, with parameters to start from.",
    )


def _name_of(model: Model) -> str:
    return str(model.name or type(model).__name__)


def overscan_noise(readout: Readout, how: str | Model) -> float:
    """Return the variance of an overscan level, in units of one pixel's read variance.

    A fitted model averages over so many rows that its noise does not count.
    """
    if readout.overscan is None or how not in ("median", "mean"):
        return 0.0
    k = readout.overscan.width
    return 1 / k if how == "mean" else median_variance(k)


def _known_rows(strip: np.ndarray, level: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Measure the rows that have a value, and give the others the level between them."""
    if np.isfinite(strip).all():
        return level(strip)
    strip = np.where(np.isfinite(strip), strip, np.nan)
    known = ~np.isnan(strip).all(axis=1)
    if not known.any():
        raise FrameRejected(
            "overscan", "its overscan holds no value; copy it again, or take it out of the night."
        )
    place = np.arange(len(strip))
    return np.interp(place, place[known], level(strip[known]))


def _row_means(strip: np.ndarray) -> np.ndarray:
    return np.nanmean(strip, axis=1, dtype="f8")


def _row_medians(strip: np.ndarray) -> np.ndarray:
    if np.isnan(strip).any():
        return np.nanmedian(strip, axis=1).astype("f8")
    # Ten times faster than numpy.median, and the same number.
    ordered = np.sort(strip, axis=1)
    columns = strip.shape[1]
    both = ordered[:, (columns - 1) // 2 : columns // 2 + 1].astype("f8")
    return (both[:, 0] + both[:, -1]) / 2
