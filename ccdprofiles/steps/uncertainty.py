"""The variance of a frame, whatever kind of uncertainty it has."""

from __future__ import annotations

import numpy as np
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDUncertainty,
    StdDevUncertainty,
    VarianceUncertainty,
)

from ..errors import PlanError

__all__ = ["uncertainty_type", "variance_from", "variance_of"]

_KINDS: tuple[type[NDUncertainty], ...] = (StdDevUncertainty, VarianceUncertainty, InverseVariance)


def uncertainty_type(name: str, what: str) -> type[NDUncertainty]:
    """Return the kind of uncertainty of which UTYPE has the name.

    Raises
    ------
    PlanError
        If it is not one that can be propagated.
    """
    for kind in _KINDS:
        if kind.__name__ == name:
            return kind
    raise PlanError(
        f"{what}: its uncertainty is of the kind {name}, which cannot be propagated; use a "
        "StdDevUncertainty, VarianceUncertainty or InverseVariance, or none."
    )


def variance_from(values: np.ndarray, kind: type[NDUncertainty]) -> np.ndarray:
    """Return the variance of pixels from the values of their uncertainty."""
    if issubclass(kind, StdDevUncertainty):
        return values * values
    if issubclass(kind, VarianceUncertainty):
        return values
    with np.errstate(divide="ignore"):
        return 1 / values


def variance_of(
    ccd: CCDData, rows: slice = slice(None), what: str = "this frame"
) -> np.ndarray | None:
    """Return the variance of rows of a frame; None if it has no uncertainty.

    Raises
    ------
    PlanError
        If its kind is not one that can be propagated.
    """
    if ccd.uncertainty is None:
        return None
    kind = type(ccd.uncertainty)
    if not issubclass(kind, _KINDS):
        kind = uncertainty_type(kind.__name__, what)
    return variance_from(np.asarray(ccd.uncertainty.array)[rows], kind)
