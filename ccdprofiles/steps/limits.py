"""The limits beyond which values of a pixel are rejected, as in ccdproc."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..pixels.statistics import MAD_TO_STD, nanmedian

__all__ = ["Limits"]

Ends = tuple[float | None, float | None]


@dataclass(frozen=True)
class Limits:
    """Which values of a pixel are rejected: by their distance from the median, or by limits.

    Parameters
    ----------
    clip : float or str or None
        One distance for both sides, in ``mad_std``; ``"recipe"`` that of the recipe.
    sides : tuple of (float or None), or None
        The distances below and above.
    ends : tuple of (float or None), or None
        The smallest and the largest value.
    """

    clip: float | str | None
    sides: Ends | None
    ends: Ends | None

    @classmethod
    def of(cls, clip: float | str | None, sides: Ends | None, ends: Ends | None) -> Limits:
        """Return one clip for two equal limits."""
        if sides is not None and sides[0] == sides[1]:
            clip, sides = sides[0], None
        return cls(clip, sides, ends)

    @property
    def plain(self) -> bool:
        """Whether a single limit is enough."""
        return self.sides is None and self.ends is None

    def phrase(self, clip: float | None) -> str:
        """Describe what is rejected: ``", clipped at 5 mad_std"``.

        Parameters
        ----------
        clip : float or None
            The distance that is used for both sides.
        """
        text = f", clipped at {clip:g} mad_std" if clip else ""
        match self.sides:
            case None | (None, None):
                pass
            case (low, None):
                text = f", clipped below {low:g} mad_std"
            case (None, high):
                text = f", clipped above {high:g} mad_std"
            case (low, high):
                text = f", clipped at {low:g} and {high:g} mad_std"
        match self.ends:
            case None | (None, None):
                return text
            case (low, None):
                return f"{text}, of values from {low:g}"
            case (None, high):
                return f"{text}, of values up to {high:g}"
            case (low, high):
                return f"{text}, of values from {low:g} to {high:g}"
        return text

    def applied(self, values: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
        """Return the values, NaN where they lie outside."""
        if self.ends is not None:
            low, high = self.ends
            outside = np.zeros(values.shape, bool)
            with np.errstate(invalid="ignore"):
                outside |= False if low is None else values < low
                outside |= False if high is None else values > high
            values = np.where(outside, np.nan, values)
        if self.sides is None:
            return values
        scaled = values if scales is None else values * scales[:, np.newaxis, np.newaxis]
        centre = _median_of_pixels(scaled)
        reach = _median_of_pixels(np.abs(scaled - centre)) * MAD_TO_STD
        low, high = (np.inf if side is None else side for side in self.sides)
        off = scaled - centre
        with np.errstate(invalid="ignore"):
            return np.where((off < -low * reach) | (off > high * reach), np.nan, values)


def _median_of_pixels(stack: np.ndarray) -> np.ndarray:
    """Return the median of the finite values of each pixel; NaN where there is none."""
    finite = np.where(np.isfinite(stack), stack, np.nan)
    return nanmedian(finite.reshape(len(stack), -1)).reshape(stack.shape[1:])
