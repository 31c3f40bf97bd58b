"""Level, exact median and mode of an image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from .noise import MAD_TO_STD

__all__ = ["Bracket", "exact_median", "level", "mode"]
_AT_ONCE = 2**16


def level(values: np.ndarray, statistic: str) -> float:
    """Return the median, mean or mode of some pixels.

    Parameters
    ----------
    values : ndarray
        Of any shape; finite.
    statistic : {"median", "mean", "mode"}
    """
    if statistic == "mean":
        return float(np.mean(values, dtype="f8"))
    return mode(values) if statistic == "mode" else exact_median(values)


def exact_median(values: np.ndarray, about: float | None = None) -> float:
    """Return the median, as `numpy.median` does and several times faster on a whole frame.

    A sample tells between which two values the median lies; what is outside is
    only counted, and what is inside is sorted.

    Parameters
    ----------
    values : ndarray
        Of any shape; finite.
    about : float, optional
        Take the median of the distances from it instead, as for a median deviation.
    """
    values = np.asarray(values).reshape(-1)
    size = values.size

    def sought(some: np.ndarray) -> np.ndarray:
        return some if about is None else np.abs(some - some.dtype.type(about))

    if size < 100_000:
        return float(np.median(sought(values)))
    sample = np.sort(sought(values[:: max(1, size // 20_000)]))
    # Six standard deviations of a sample's median, in ranks.
    slack = int(3 * sqrt(sample.size)) + 1
    half = sample.size // 2
    low, high = sample[max(0, half - slack)], sample[min(sample.size - 1, half + slack)]
    below, held = 0, []
    for first in range(0, size, _AT_ONCE):
        some = sought(values[first : first + _AT_ONCE])
        inside, less = Bracket(low, high).split(some)
        below += less
        held.append(some[inside])
    found = Bracket.median(size, below, np.concatenate(held))
    return float(np.median(sought(values))) if found is None else found


@dataclass(frozen=True)
class Bracket:
    """Two values between which the median of a frame is sought.

    Parameters
    ----------
    low, high : float
    """

    low: np.float32
    high: np.float32

    @classmethod
    def of(cls, sample: np.ndarray) -> Bracket:
        """Tell the two from a sample; one that is too small tells nothing."""
        ordered = np.sort(sample)
        # Six standard deviations of a sample's median, in ranks.
        slack = max(ordered.size // 100, int(3 * sqrt(ordered.size)) + 1)
        half = ordered.size // 2
        if slack >= half:
            return cls(np.float32(-np.inf), np.float32(np.inf))
        return cls(np.float32(ordered[half - slack]), np.float32(ordered[half + slack]))

    def split(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the numbers of the values between the two, and how many lie below."""
        above = values >= self.low
        below = values.size - int(np.count_nonzero(above))
        above &= values <= self.high
        return np.flatnonzero(above), below

    @staticmethod
    def median(size: int, below: int, held: np.ndarray) -> float | None:
        """Return the median of ``size`` values, or None where it is not among those held."""
        first, last = (size - 1) // 2 - below, size // 2 - below
        if first < 0 or last >= held.size:
            return None
        # One place numpy finds by vector instructions, and not two.
        held = np.partition(held, first)
        upper = held[first] if first == last else held[first + 1 :].min()
        return float((held[first].astype("f8") + upper.astype("f8")) / 2)


def mode(values: np.ndarray | Iterable[float]) -> float:
    """Return the mode of float pixels: where the smoothed histogram is highest.

    A float image has no most frequent value. Its histogram is smoothed by a
    Gaussian 1.3 min(s, IQR / 1.349) n^(-1/7) wide, with s from the median deviation,
    in bins of an eighth of that, and a parabola through the three highest bins tells
    the peak. The power is the one at which the place of a peak is known best (Eddy
    1980, Ann. Statist. 8, 870); that of Silverman, 1/5, is for the height of a curve
    and leaves its top too rough. The factor is a third above that of a normal curve,
    as a vignetted flat has a broad top: its mode then repeats to 0.15 %. The mode does
    not depend on the order of the pixels, nor on ties of integers.

    Parameters
    ----------
    values : array-like of float
        Finite.

    Examples
    --------
    >>> import numpy as np
    >>> from ccdprofiles.pixels.statistics import mode
    >>> skewed = np.random.default_rng(1).gamma(9, 100, 200_000)   # its mode is 800
    >>> abs(mode(skewed) - 800) < 16  # its width is 300
    True
    """
    from scipy.ndimage import gaussian_filter1d

    values = np.asarray(values, "f8").reshape(-1)
    quarter, centre, three = np.percentile(values, (25, 50, 75))
    spread = min(MAD_TO_STD * np.median(np.abs(values - centre)), (three - quarter) / 1.349)
    if spread == 0:
        return float(centre)
    width = 1.3 * spread * values.size ** (-1 / 7)
    edges = np.arange(-8 * spread, 8 * spread + width / 8, width / 8) + centre
    counts, _ = np.histogram(values, edges)
    smooth = gaussian_filter1d(counts.astype("f8"), 8.0, mode="constant")
    top = int(np.clip(np.argmax(smooth), 1, len(smooth) - 2))
    left, peak, right = smooth[top - 1 : top + 2]
    bend = left - 2 * peak + right
    shift = 0.5 * (left - right) / bend if bend else 0.0
    return float(edges[top] + (0.5 + shift) * (edges[1] - edges[0]))
