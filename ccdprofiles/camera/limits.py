"""The limits beyond which a raw frame is set aside, and the fewest frames of a master."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from astropy import units as u

from ..errors import ProfileError
from .frame_types import STEPS
from .values import (
    count,
    is_number,
    one_of,
    picklable,
    positive,
    quantity,
    read_only,
    several,
    written,
)

__all__ = ["Limits"]

_FEWEST_FRAMES = {"bias": 3, "dark": 3, "flat": 3, "arc": 1}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits beyond which a raw frame is set aside.

    Parameters
    ----------
    saturated : float
        A calibration frame of which this fraction of the pixels is saturated is set
        aside; in science frames they are flagged.
    constant_rows : float
        A frame is set aside if more than this fraction of its rows contain a single value;
        1 allows all, as simulated frames without noise may need.
    common_value : float
        A frame is set aside if more than this fraction of its pixels have the same value,
        unless its noise is below 1 adu; 1 allows all.
    flat_level : tuple of float, or None
        The range of the level of a flat, as fractions of the saturation level; of a
        spectral flat that of its brightest part. Checked if the saturation is known.
    read_noise : tuple of float, or None
        The range of the noise of a bias, as multiples of the profile's read noise.
    outlier : float or None
        A bias or dark further than this many ``mad_std`` from the median level of its
        master's frames is set aside.
    level : Quantity or None
        In adu; a frame this close to the median is never set aside. None: the scatter of one pixel.
    temperature : Quantity, dict or None
        In deg_C: the largest difference in chip temperature between a frame and its
        dark, and within the frames of one master. None means 3 °C, and also accepts a dark of
        unknown temperature. It is read from the profile's ``temperature``, or from the usual cards.
        A dict has a limit for each type of master, ``{"dark": 1 * u.deg_C, "bias": 3 * u.deg_C}``;
        biases and flats of another temperature are refused only if it names them.
    frames : int or dict
        The smallest number of frames for a master; by default ``{"bias": 3, "dark": 3,
        "flat": 3, "arc": 1}``.

    Raises
    ------
    ProfileError
        If a value is not valid.

    Examples
    --------
    >>> from ccdprofiles import Limits, Recipe
    >>> limits = Limits(flat_level=(0.2, 0.7), frames={"dark": 5})
    >>> limits.frames["dark"], limits.frames["bias"]
    (5, 3)
    """

    saturated: float = 0.05
    constant_rows: float = 0.01
    common_value: float = 0.2
    flat_level: tuple[float, float] | None = (0.1, 0.8)
    read_noise: tuple[float, float] | None = (0.7, 1.5)
    outlier: float | None = 5
    level: u.Quantity | None = None
    temperature: u.Quantity | Mapping[str, u.Quantity] | None = None
    frames: int | Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("saturated", "constant_rows", "common_value"):
            value = getattr(self, name)
            if not (is_number(value) and 0 < value <= 1):
                raise ProfileError(f"{name}={value!r} is not a fraction above 0 and up to 1.")
        for name in ("flat_level", "read_noise"):
            object.__setattr__(self, name, _checked_range(getattr(self, name), name))
        if self.outlier is not None:
            positive(self.outlier, "outlier", "; use such a number, or None")
        if self.level is not None:
            quantity(self.level, u.adu, "level")
        if isinstance(self.temperature, Mapping):
            for kind, limit in self.temperature.items():
                one_of(kind, STEPS, "temperature")
                quantity(limit, u.deg_C, f"temperature[{kind!r}]")
            object.__setattr__(self, "temperature", read_only(self.temperature))
        elif self.temperature is not None:
            quantity(self.temperature, u.deg_C, "temperature")
        given = self.frames
        if not isinstance(given, Mapping):
            given = dict.fromkeys(_FEWEST_FRAMES, given)
        for kind, number in given.items():
            one_of(kind, tuple(_FEWEST_FRAMES), "frames")
            count(number, "frames")
        object.__setattr__(self, "frames", read_only(_FEWEST_FRAMES | dict(given)))

    # A part of the hash of products.
    __repr__ = written

    def __reduce__(self):
        return picklable(self)

    def frames_for(self, master: str) -> int:
        """Return the smallest number of frames for a master of a type."""
        return self.frames if isinstance(self.frames, int) else self.frames[master]

    def temperature_of(self, master: str) -> float | None:
        """Return by how many kelvin a frame and a master of a type may differ; None: not limited.

        A single limit is that of darks.

        Parameters
        ----------
        master : {"bias", "dark", "flat", "arc"}

        Examples
        --------
        >>> from astropy import units as u
        >>> from ccdprofiles import Limits
        >>> limits = Limits(temperature={"dark": 1 * u.deg_C, "flat": 5 * u.deg_C})
        >>> limits.temperature_of("flat"), limits.temperature_of("bias")
        (5.0, None)
        """
        limit = self.temperature
        if isinstance(limit, Mapping):
            limit = limit.get(master)
        elif master != "dark":
            return None
        return None if limit is None else float(limit.value)


def _checked_range(value: Any, field: str) -> tuple[float, float] | None:
    """Return the lowest and the highest value as a tuple, or None if there is no limit."""
    if value is None:
        return None
    if (
        not several(value)
        or len(value) != 2
        or not all(map(is_number, value))
        or not 0 <= value[0] < value[1]
    ):
        raise ProfileError(
            f"{field}={value!r} is not a range; use the lowest and the highest value, such as (0.1, 0.8), or None."
        )
    return tuple(value)
