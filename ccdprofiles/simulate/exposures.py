"""The frames of a simulated night: series of exposures, and each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..camera.frame_types import FRAME_TYPES
from ..camera.values import one_of

__all__ = ["Exposure", "Exposures"]


@dataclass(frozen=True)
class Exposures:
    """A series of similar frames in a night.

    Parameters
    ----------
    type : {"bias", "dark", "flat", "arc", "science"}
    number : int
        How many.
    exposure : float or sequence of float
        In seconds; several are used in turn.
    filter : str, optional
    folder : str
        The sub-folder that they are written to.
    object : str, optional
        The OBJECT card, which also chooses the field of stars. None: the usual name for this
        instrument.
    start : float, optional
        Hours after noon of the first day, more than a day for another night. None: a usual hour for
        the type.
    binning : tuple of int, optional
        Columns and rows; None: that of the night.
    light : float
        The light relative to the usual: less under clouds, more in an over-exposed flat.
    overscan_light : float
        Stray light in the useful overscan, in adu.
    cards : dict
        Written into the header last, unchecked; None removes a card.

    Raises
    ------
    ProfileError
        If the type does not exist.

    Examples
    --------
    >>> from ccdprofiles.simulate import Exposures
    >>> Exposures("dark", 5, 300.0).number
    5
    """

    type: str
    number: int
    exposure: float | Sequence[float] = 0.0
    filter: str | None = None
    folder: str = ""
    object: str | None = None
    start: float | None = None
    binning: tuple[int, int] | None = None
    light: float = 1.0
    overscan_light: float = 0.0
    cards: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of(self.type, FRAME_TYPES, "type")


@dataclass(frozen=True)
class Exposure:
    """One frame of the night.

    ``number`` counts the files of this type, filter and object in their folder,
    ``running`` all files of the folder, ``rank`` the frames that do not differ otherwise. ``size``
    holds the rows and columns of the raw frame, then of its data.
    """

    type: str
    exposure: float
    filter: str | None
    object: str
    when: datetime
    number: int
    running: int
    rank: int
    binning: tuple[int, int]
    exposures: Exposures
    file: str = ""
    size: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def lit(self) -> bool:
        """True if the shutter opens."""
        return self.type not in ("bias", "dark")

    @property
    def day(self) -> str:
        """The date, as in 2020-03-17."""
        return f"{self.when:%Y-%m-%d}"

    @property
    def time(self) -> str:
        """The time of day, as in 21:14:03."""
        return f"{self.when:%H:%M:%S}"

    @property
    def key(self) -> tuple:
        """What identifies this frame, independent of the rest of the night."""
        run = self.exposures
        what = (self.type, self.filter, self.object, self.exposure)
        return (run.folder, *what, self.binning, self.rank)

    @property
    def julian(self) -> float:
        """The Julian date."""
        seconds = self.when.hour * 3600 + self.when.minute * 60 + self.when.second
        return self.when.toordinal() + 1721424.5 + seconds / 86400
