"""Judge the overscan level of a frame by the levels of the night and by the frame's own data.

The pedestal drifts from frame to frame, and the overscan follows it. Levels without a gap
between them are drift. A level outside this group is noted; it is wrong if the data did not
change with it, because a frame without light is then far from zero, or a frame with light is
negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import FrameRejected
from ..pixels.measure import Measured
from ..pixels.statistics import MAD_TO_STD
from ..plan.frames import Frame

__all__ = ["Body", "darker_than_bias", "deviation", "doubtful_levels", "largest_drift"]

_CLOSED = ("bias", "dark")
_DARK_SOMEWHERE = ("science", "arc")
_FLOOR, _CEILING = 30.0, 200.0
"""Adu: pedestals of warm cameras drift by tens of adu between two frames, and not by more."""
_OF_TWO = 100.0
"""Of two frames no scatter is known."""
_SHARE, _MOST = 0.02, 0.1
"""The same as shares of the level."""
_SIGMAS = 8.0
_NOISE = 5.0
_QUANTILE = 0.3
_OF_NORMAL = 0.545
"""The 0.3 quantile of the distance of two normal values, in standard deviations of one."""
_MANY = 8
_FEWEST = 3


@dataclass(frozen=True)
class Body:
    """The largest group of overscan levels of a night without a gap between them.

    Parameters
    ----------
    level : float
        Their median, in adu.
    tolerance : float
        The gap that separates a level from the group, in adu.
    inside : ndarray of bool
        Which of the levels belong to the group.
    """

    level: float
    tolerance: float
    inside: np.ndarray

    @classmethod
    def of(cls, levels: Sequence[float], closed: Sequence[bool] = ()) -> Body:
        """Return the group to which most levels belong.

        Parameters
        ----------
        levels : sequence of float
            In the order of time.
        closed : sequence of bool
            Which frames were taken with a closed shutter; no light falls on their
            overscan, so that three of them decide.
        """
        values = np.asarray(levels, "f8")
        dark = np.asarray(closed or [False] * len(values))
        tolerance = _tolerance(values)
        order = np.argsort(values, kind="stable")
        number = np.zeros(len(values), int)
        number[order[1:]] = np.cumsum(np.diff(values[order]) > tolerance)
        frames = np.bincount(number)
        shut = np.bincount(number, weights=dark)
        decide = shut.max() >= 2 and dark.sum() >= _FEWEST
        # If two groups hold equally many closed frames, the other frames decide.
        best = int(np.lexsort((-frames, -shut))[0] if decide else np.argmax(frames))
        inside = number == best
        return cls(float(np.median(values[inside])), tolerance, inside)


def _tolerance(values: np.ndarray) -> float:
    """Return the gap between two levels that no drift explains."""
    usual = float(np.median(values))
    floor = max(_FLOOR, _SHARE * abs(usual))
    if len(values) < _FEWEST:
        return max(_OF_TWO, floor)
    return min(max(floor, _SIGMAS * _scatter(values)), largest_drift(usual))


def largest_drift(level: float) -> float:
    """Return by how much the pedestal of any camera may drift between two frames, in adu."""
    return max(_CEILING, _MOST * abs(level))


def _scatter(values: np.ndarray) -> float:
    """Return the scatter of levels from frame to frame, without that of outliers.

    A slow drift and a single jump leave the steps from one frame to the next what they
    are; a level that swings at every frame has two values, each of which half of the
    frames share.
    """
    if len(values) < _MANY:
        return MAD_TO_STD * float(np.median(np.abs(values - np.median(values))))
    ordered, half = np.sort(values), (len(values) + 1) // 2
    shortest = float((ordered[half:] - ordered[:-half]).min()) / 1.349
    steps = float(np.quantile(np.abs(np.diff(values)), _QUANTILE)) / _OF_NORMAL
    return min(shortest, steps)


@dataclass(frozen=True)
class _Level:
    """The overscan level of one amplifier of a frame, and the levels of its data."""

    frame: Frame
    amplifier: int
    own: float
    lowest: float
    middle: float
    dark: float
    scatter: float

    @classmethod
    def of(cls, frame: Frame, measured: Measured, amplifier: int, own: float) -> _Level:
        quality, rows = measured.quality, measured.levels[amplifier]
        dark, scatter = quality.dark[amplifier], quality.scatter[amplifier]
        lowest = own
        if rows is not None and not dark >= own - _FLOOR:
            # A pedestal that moves within the frame is below its median somewhere.
            lowest = float(np.quantile(rows, 0.01))
        scatter = scatter if np.isfinite(scatter) else 0.0
        return cls(frame, amplifier, own, lowest, quality.level[amplifier], dark, scatter)

    @property
    def closed(self) -> bool:
        return self.frame.type in _CLOSED

    @property
    def net(self) -> float:
        """The level of the data above the overscan."""
        return self.middle - self.own

    @property
    def name(self) -> str:
        many = len(self.frame.amplifiers.readouts) > 1
        return f"overscan level of amplifier {self.amplifier + 1}" if many else "overscan level"


def doubtful_levels(
    frames: Mapping[str, Frame], measured: Mapping[str, Measured], setups: Mapping[str, str]
) -> tuple[dict[str, FrameRejected], list[str]]:
    """Return the frames whose overscan level is wrong, and notes on those whose level deviates.

    Parameters
    ----------
    frames : mapping
        File → frame. Those whose recipe has an ``overscan_drift`` are left out.
    measured : mapping
        File → what was measured of it.
    setups : mapping
        File → the master bias that belongs to it; frames of other ones are not compared.

    Returns
    -------
    dict of FrameRejected
        ``overscan-level``, by file.
    list of str
        A note on each kind of frame whose level deviates and may be right.
    """
    groups: dict[tuple, list[_Level]] = {}
    for file in sorted(measured, key=lambda f: (str(frames[f].date), f)):
        frame = frames[file]
        if frame.recipe.overscan_drift is not None:
            continue
        for n, level in enumerate(measured[file].level):
            if level is not None and np.isfinite(measured[file].quality.level[n]):
                key = (frame.profile.name, frame.amplifier_key, frame.binning, setups.get(file), n)
                groups.setdefault(key, []).append(_Level.of(frame, measured[file], n, float(level)))
    wrong: dict[str, FrameRejected] = {}
    notes: list[str] = []
    for group in groups.values():
        found, more = _judged(group)
        wrong = found | wrong
        notes += more
    return wrong, notes


def darker_than_bias(
    frames: Mapping[str, Frame], measured: Mapping[str, Measured], setups: Mapping[str, str]
) -> list[str]:
    """Note frames without an overscan whose darkest pixels lie far below those of their biases.

    It is unknown whether the pedestal of the biases or of the frame differs, so no frame is
    set aside. Parameters are those of `doubtful_levels`.
    """
    groups: dict[tuple, list[str]] = {}
    for file in sorted(measured):
        frame = frames[file]
        key = (frame.profile.name, frame.amplifier_key, frame.binning, setups.get(file))
        groups.setdefault(key, []).append(file)
    notes = []
    for files in groups.values():
        biases = [measured[f].quality.dark for f in files if frames[f].type == "bias"]
        if not biases:
            continue
        zero = np.median(biases, axis=0)
        odd = []
        for file in files:
            found = measured[file]
            scatter = np.nan_to_num(found.quality.scatter)
            below = zero - found.quality.dark
            floor = np.maximum(_FLOOR, _SHARE * np.abs(zero))
            limit = np.maximum(floor, _NOISE * scatter)
            alone = np.array([level is None for level in found.level])
            far = alone & (below > limit)
            if far.any() and frames[file].type != "bias":
                odd.append((float(below[far].max()), file))
        if odd:
            worst, file = max(odd)
            more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
            notes.append(
                f"{file}{more}: the darkest pixels are {worst:.4g} adu below those of the biases, "
                "but light is never negative; check that the biases were read out in the same way."
            )
    return notes


def _judged(group: Sequence[_Level]) -> tuple[dict[str, FrameRejected], list[str]]:
    """Judge the levels of one amplifier."""
    body = Body.of([one.own for one in group], [one.closed for one in group])
    # A wrong level says nothing about the zero point.
    zero = _zero([one for one, within in zip(group, body.inside, strict=True) if within])
    below = [_below(one, zero or 0.0, body.tolerance) for one in group]
    if body.inside.all() and not any(below):
        return {}, []
    nets = _usual_nets([one for one, within in zip(group, body.inside, strict=True) if within])
    # If no frame without light gives the zero point, the camera itself may read low.
    usual = zero is None and 2 * sum(map(bool, below)) > len(group) > 1
    wrong, notes = {}, []
    odd: dict[tuple[str, str], list[_Level]] = {}
    for one, within, missing in zip(group, body.inside, below, strict=True):
        follows = None if within else _follows(one, body, nets)
        # A frame with the level of the night is not at fault; other checks judge its light.
        judged = not within or one.frame.type in _DARK_SOMEWHERE
        if (missing and judged and not usual) or follows is False:
            wrong[one.frame.file] = _refusal(one, body, within, missing)
        elif not within:
            odd.setdefault((one.frame.type, _remark(one, follows)), []).append(one)
    for (_, remark), some in odd.items():
        notes.append(_note(some, body, remark))
    if usual:
        lowest = max(zip(below, group, strict=True), key=lambda pair: pair[0])
        notes.append(
            f"{lowest[1].frame.file} and {sum(map(bool, below)) - 1} more: the darkest pixels are "
            f"{lowest[0]:.4g} adu below the {lowest[1].name}, but light is never negative; check "
            "the overscan, and set overscan=None in the profile if it is of no use."
        )
    return wrong, notes


def _zero(group: Sequence[_Level]) -> float | None:
    """Return where the darkest pixels of a frame without light lie above its overscan, in adu."""
    for kind in _CLOSED:
        lows = [one.dark - one.own for one in group if one.frame.type == kind]
        if lows:
            low = float(np.median(lows))
            return low if kind == "bias" else min(low, 0.0)
    return None


def _below(one: _Level, zero: float, tolerance: float) -> float:
    """Return how far the darkest pixels of a frame are below the zero point, or 0."""
    missing = one.lowest + zero - one.dark
    return missing if missing > max(tolerance, _NOISE * one.scatter) else 0.0


def _usual_nets(inside: Sequence[_Level]) -> dict[tuple[str, float | None], float]:
    """Return how far the data of frames without light lie above the overscan, by exposure."""
    nets: dict[tuple[str, float | None], list[float]] = {}
    for one in inside:
        if one.closed:
            nets.setdefault((one.frame.type, one.frame.exposure), []).append(one.net)
    return {kind: float(np.median(values)) for kind, values in nets.items()}


def _follows(one: _Level, body: Body, nets: Mapping) -> bool | None:
    """Return True if the data of a frame without light changed with its overscan, False if not.

    None if the data do not show it.
    """
    usual = nets.get((one.frame.type, one.frame.exposure))
    if usual is None:
        return None
    moved, excess = one.own - body.level, one.net - usual
    if abs(excess) < abs(moved) / 4:
        return True
    return False if abs(excess + moved) < abs(moved) / 4 else None


def _refusal(one: _Level, body: Body, within: bool, missing: float) -> FrameRejected:
    if missing:
        why = f"its darkest pixels are {missing:.4g} adu below it, but light is never negative"
    else:
        why = f"its data did not change with it, as those of {_a(one.frame.type)} do"
    if within:
        level = f"its {one.name} is {one.own:.6g} adu"
        cure = "check its pixels and its overscan, and remove it from the night."
    else:
        level = f"its {_deviation(one, body)}"
        cure = (
            f"check its overscan, or set Recipe(overscan_drift={body.tolerance:.0f} * u.adu) to "
            "use the nightly median."
        )
    return FrameRejected("overscan-level", f"{level}, and {why}; {cure}")


def _remark(one: _Level, follows: bool | None) -> str:
    if follows:
        return "the data changed with it, so the frame is used as it is."
    return (
        "the frame does not show whether the pedestal or the overscan is wrong; compare it with "
        "others, and reject it, or set Recipe(overscan_drift=...) to use the nightly median."
    )


def _deviation(one: _Level, body: Body) -> str:
    return deviation(one.name, one.own, body.level, body.tolerance)


def deviation(name: str, own: float, usual: float, tolerance: float) -> str:
    """Return by how much a level deviates from the nightly median, in words.

    Parameters
    ----------
    name : str
    own, usual, tolerance : float
        In adu.
    """
    return (
        f"{name} {own:.6g} adu deviates from the nightly median {usual:.6g} adu by "
        f"{abs(own - usual):.4g} adu (tolerance {tolerance:.3g} adu)"
    )


def _note(some: Sequence[_Level], body: Body, remark: str) -> str:
    worst = max(some, key=lambda one: abs(one.own - body.level))
    more = f" and {len(some) - 1} more of type {worst.frame.type}" if len(some) > 1 else ""
    return f"{worst.frame.file}{more}: {_deviation(worst, body)}; {remark}"


def _a(kind: str) -> str:
    return f"an {kind}" if kind == "arc" else f"a {kind}"
