"""The correction of crosstalk: the ghosts that amplifiers cast on each other at the same moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["correct_crosstalk", "crosstalk_variance"]


def correct_crosstalk(parts: Sequence[np.ndarray], matrix: np.ndarray) -> list[np.ndarray]:
    """Return the data of amplifiers that are read out together, without their crosstalk.

    A fraction of the counts of each amplifier (the aggressor) is subtracted from each other one (the
    victim) at the same place of the read-out, counted from the first pixel that is read. The
    fractions are small, so the counts of the aggressors are those that were measured, and ghosts of
    ghosts are neglected, as in BANZAI (``banzai.crosstalk``) and in LSST's ``ip_isr``.

    Parameters
    ----------
    parts : sequence of ndarray, shape (..., rows, columns)
        Of each amplifier, in the order in which its pixels are read, without overscan. A smaller one
        begins at the same pixel; where an aggressor has no pixel or no finite value, nothing is
        subtracted.
    matrix : ndarray, shape (amplifiers, amplifiers)
        The fraction of the counts of the aggressor (column) that appears in the victim (row); its
        diagonal is 0.

    Returns
    -------
    list of ndarray

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.crosstalk import correct_crosstalk
    >>> left, right = np.array([[10.0, 50_000]]), np.array([[10.0, 60]])
    >>> correct_crosstalk([left, right], np.array([[0, 0], [1e-3, 0]]))[1]
    array([[ 9.99, 10.  ]])
    """
    return [_less(part, parts, fractions) for part, fractions in zip(parts, matrix, strict=True)]


def _less(victim: np.ndarray, parts: Sequence[np.ndarray], fractions: np.ndarray) -> np.ndarray:
    done = victim.copy()
    for aggressor, fraction in zip(parts, fractions, strict=True):
        if fraction:
            rows, columns = (min(a, b) for a, b in zip(done.shape[-2:], aggressor.shape[-2:], strict=True))  # fmt: skip
            ghost = aggressor[..., :rows, :columns] * done.dtype.type(fraction)
            done[..., :rows, :columns] -= np.where(np.isfinite(ghost), ghost, 0)
    return done


def crosstalk_variance(variances: Sequence[float], matrix: np.ndarray) -> list[float]:
    """Return the variance of pixels after crosstalk was subtracted, from that before.

    Parameters
    ----------
    variances : sequence of float
        Of each amplifier.
    matrix : ndarray, shape (amplifiers, amplifiers)
        As in `correct_crosstalk`.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.crosstalk import crosstalk_variance
    >>> crosstalk_variance([25.0, 25.0], np.array([[0, 0], [0.1, 0]]))
    [25.0, 25.25]
    """
    return [float(own + fractions**2 @ np.asarray(variances)) for own, fractions in zip(variances, np.asarray(matrix, "f8"), strict=True)]  # fmt: skip
