"""Which night a frame belongs to: local noon divides the nights.

Local noon follows from the first of these that the headers of a camera allow:

1. the local time in DATE-LOC, as NINA and SGP write it beside DATE-OBS;
2. the longitude of the site in OBSGEO-L, LONG-OBS, SITELONG, GEOLON, ESO TEL GEOLON or LONGITUD, in
   degrees, positive to the east; unless that puts noon within three hours of a science frame,
   because some observatories count to the west, and some cameras write local time;
3. the middle of the longest part of the day without a science frame (without any frame, if there
   is no science frame).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from itertools import pairwise

from ..camera.header_values import time_of
from .frames import Frame

__all__ = ["Nights", "local_noon", "longitude_of"]

_DAY, _HOUR = 86400.0, 3600.0
_LONGITUDES = ("OBSGEO-L", "LONG-OBS", "SITELONG", "GEOLON", "ESO TEL GEOLON", "LONGITUD")
_ANGLE = re.compile(
    r"([-+]?)(\d+(?:\.\d*)?)(?:[\s:d°]+(\d+(?:\.\d*)?))?(?:[\s:m']+(\d+(?:\.\d*)?))?"
)


@dataclass(frozen=True)
class Nights:
    """The nights in which the frames of each camera were taken.

    Parameters
    ----------
    frames : sequence of Frame
        All accepted frames, with those of other nights.
    """

    frames: Sequence[Frame] = field(default=(), repr=False)

    @cached_property
    def _by_profile(self) -> Mapping[str, list[Frame]]:
        by_profile: dict[str, list[Frame]] = {}
        for frame in self.frames:
            by_profile.setdefault(frame.profile.name, []).append(frame)
        return by_profile

    @cached_property
    def _noons(self) -> Mapping[str, float]:
        return {name: local_noon(frames) for name, frames in self._by_profile.items()}

    def number(self, profile: str, time: float | None) -> int | None:
        """Return the number of a night: the days from 1970 to its evening; None without a time."""
        if time is None:
            return None
        return int((time - self._noons.get(profile, _DAY / 2)) // _DAY)

    def apart(self, profile: str, one: float | None, other: float | None) -> float:
        """Return by how many nights two times differ; infinite if one of them is not known."""
        first, second = self.number(profile, one), self.number(profile, other)
        return float("inf") if first is None or second is None else abs(first - second)

    def divided(self, flats: list[Frame], minimum: int) -> dict[str, list[Frame]]:
        """Divide flats by night if the camera took science frames in several nights.

        They stay together if a night has fewer flats than a master needs, or one has no date.

        Returns
        -------
        dict of list
            By the date of the evening; by an empty text if they stay together.
        """
        name = flats[0].profile.name
        if not self._several(name):
            return {"": flats}
        nights: dict[int | None, list[Frame]] = {}
        for flat in flats:
            nights.setdefault(self.number(name, time_of(flat.date)), []).append(flat)
        known = sorted(n for n in nights if n is not None)
        if len(known) < len(nights) or len(nights) < 2 or min(map(len, nights.values())) < minimum:
            return {"": flats}
        return {(date(1970, 1, 1) + timedelta(days=n)).isoformat(): nights[n] for n in known}

    def _several(self, name: str) -> bool:
        """Return True if the science frames of a camera are of several nights."""
        times = _times(f for f in self._by_profile[name] if f.type == "science" and not f.origin)
        # Nearly all folders have one night, for which local noon need not be known.
        if not times or max(times) - min(times) < 6 * _HOUR:
            return False
        return self.number(name, min(times)) != self.number(name, max(times))


def local_noon(frames: Sequence[Frame]) -> float:
    """Return the time of local noon of a camera's site, in seconds of the day of its dates."""
    local = next((noon for f in frames if (noon := _noon_by_local_time(f)) is not None), None)
    if local is not None:
        return local
    science = _times(f for f in frames if f.type == "science")
    longitude = next((lon for f in frames if (lon := longitude_of(f.header)) is not None), None)
    if longitude is not None:
        noon = (_DAY / 2 - longitude / 360 * _DAY) % _DAY
        if all(abs((t - noon + _DAY / 2) % _DAY - _DAY / 2) > 3 * _HOUR for t in science):
            return noon
    return _middle_of_the_day(science or _times(frames))


def _noon_by_local_time(frame: Frame) -> float | None:
    """Return local noon according to DATE-LOC, or None."""
    text = frame.header.get("DATE-LOC")
    here, time = time_of(text if isinstance(text, str) else None), time_of(frame.date)
    if here is None or time is None or abs(here - time) > 14.5 * _HOUR:
        return None
    quarter = _HOUR / 4
    return _DAY / 2 - round((here - time) / quarter) * quarter


def longitude_of(header: Mapping) -> float | None:
    """Return the longitude of the site in degrees, positive to the east; None if it is not known.

    Examples
    --------
    >>> from ccdprofiles.plan.nights import longitude_of
    >>> longitude_of({"SITELONG": "-105 30 00"}), longitude_of({"ESO TEL GEOLON": -70.7345})
    (-105.5, -70.7345)
    """
    for card in _LONGITUDES:
        match = _ANGLE.match(str(header.get(card, "")).strip())
        if match:
            degrees = sum(float(part or 0) / 60**n for n, part in enumerate(match.groups()[1:]))
            if degrees <= 360:
                return -degrees if match[1] == "-" else degrees
    return None


def _middle_of_the_day(times: Iterable[float]) -> float:
    """Return the middle of the longest part of the day that contains none of some times."""
    clock = sorted({time % _DAY for time in times})
    if not clock:
        return _DAY / 2
    gaps = [(after - before, before) for before, after in pairwise([*clock, clock[0] + _DAY])]
    length, start = max(gaps)
    return (start + length / 2) % _DAY


def _times(frames: Iterable[Frame]) -> list[float]:
    return [time for f in frames if (time := time_of(f.date)) is not None]
