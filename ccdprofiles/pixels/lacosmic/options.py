"""The options of L.A.Cosmic, in float32 as astroscrappy compares them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .cleaning import REPLACEMENTS
from .median_filters import box_median, separable_median

__all__ = ["F4", "Options"]

F4 = np.float32

_WIDEST = 12
"""The widest reach of a filter, in pixels, for which the sparse search is faster."""


@dataclass(frozen=True)
class Options:
    """The options of one search; `ccdprofiles.pixels.cosmics.detect_cosmics` explains them.

    Parameters
    ----------
    kernel : ndarray of float32 or None
        The matched filter for the fine structure, as it is applied to the pixels; None for a
        median.
    """

    sigclip: float = 4.5
    sigfrac: float = 0.3
    objlim: float = 5.0
    gain: float = 1.0
    readnoise: float = 6.5
    satlevel: float = 65536.0
    niter: int = 4
    sepmed: bool = True
    cleantype: str = "meanmask"
    kernel: np.ndarray | None = None

    def __post_init__(self) -> None:
        # astroscrappy compares in float32; a float64 would decide otherwise in the last bit.
        for name in ("sigclip", "sigfrac", "objlim", "gain", "readnoise", "satlevel"):
            object.__setattr__(self, name, F4(getattr(self, name)))

    @property
    def supported(self) -> bool:
        """Whether the sparse search gives the result of astroscrappy with these options."""
        sane = self.sigclip > 0 and 0 < self.sigfrac <= 1 and self.gain > 0
        return sane and self.cleantype in ("median", *REPLACEMENTS) and self.reach <= _WIDEST

    @property
    def plain_median(self) -> bool:
        """Whether hits are replaced by a plain median, which astroscrappy 1.3.0 gets wrong.

        The sparse search is then used even for crowded frames.
        """
        return self.cleantype == "median"

    @property
    def median(self) -> Callable[[np.ndarray, int], np.ndarray]:
        """The median filter: along rows and then columns, or of the whole box."""
        return separable_median if self.sepmed else box_median

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The windows of the noise and of S, of the fine structure, and of its surroundings.

        Those of the separable median are wider than the 5, 3 and 7 pixels of the paper.
        """
        return (7, 5, 9) if self.sepmed else (5, 3, 7)

    @property
    def edge(self) -> int:
        """How many pixels along the edges cannot be hits.

        A median filter leaves its input unchanged there, so S minus its median is zero.
        """
        return self.sizes[0] // 2

    @property
    def half_of_fine(self) -> int:
        """Half the width of the filter for the fine structure."""
        return (self.sizes[1] if self.kernel is None else max(self.kernel.shape)) // 2

    @property
    def reach(self) -> int:
        """The largest distance, in rows or columns, at which one pixel affects another."""
        noise = 0 if self.kernel is None else self.edge
        return max(2 * self.edge, noise + self.half_of_fine + self.sizes[2] // 2)
