"""Frames whose level or noise deviates from that of their group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..camera.amplifier import AmplifierSet
from ..camera.recipe import Limits
from ..errors import FrameRejected
from .quality import Quality, light_of
from .statistics import MAD_TO_STD

__all__ = ["noise_ratios", "outliers"]

_GROUP = 4
"""So many frames it takes to say which of them stands apart."""


def outliers(
    kind: str,
    frames: Mapping[str, Quality],
    limits: Limits,
    overscan: Mapping[str, tuple[float | None, ...]],
) -> dict[str, FrameRejected]:
    """Find the biases or darks whose level stands apart from the others of their master.

    Flats are scaled to each other, and arcs need not be alike; both are left alone.
    It takes four frames to say which of them is wrong.

    Parameters
    ----------
    kind : {"bias", "dark", "flat", "arc"}
    frames : dict of Quality
        By file, all frames that become one master.
    limits : Limits
    overscan : dict of tuple
        By file, the level of each amplifier's overscan, in adu.

    Returns
    -------
    dict of FrameRejected
        ``outlier``, by file.
    """
    if kind not in ("bias", "dark") or limits.outlier is None or len(frames) < _GROUP:
        return {}
    files = sorted(frames)
    levels = np.array([light_of(frames[f].level, overscan[f]) for f in files])
    # An amplifier without any value in one of the frames says nothing of the others.
    levels = levels[:, np.isfinite(levels).all(axis=0)]
    if not levels.size:
        return {}
    middle = np.median(levels, axis=0)
    width = limits.outlier * MAD_TO_STD * np.median(np.abs(levels - middle), axis=0)
    scatter = max(1.0, np.median([np.nanmax([0.0, *frames[f].scatter]) for f in files]))
    least = scatter if limits.level is None else limits.level.value
    allowed = np.maximum(width, least)
    found = {}
    for file, own in zip(files, levels, strict=True):
        worst = int(np.argmax(np.abs(own - middle) - allowed))
        off = own[worst] - middle[worst]
        if abs(off) > allowed[worst]:
            cure = "look for light in it" if off > 0 else "look whether it was set alike"
            found[file] = FrameRejected(
                "outlier",
                f"its level stands {abs(off):.4g} adu {'above' if off > 0 else 'below'} the "
                f"{middle[worst]:.6g} adu of the {len(files)} {kind} frames it belongs to, where "
                f"{allowed[worst]:.4g} adu may be; {cure}.",
            )
    return found


def noise_ratios(
    frames: Mapping[str, Quality], amplifiers: AmplifierSet
) -> dict[str, tuple[float, ...]]:
    """Return how many times the profile's read noise biases scatter.

    Of the amplifiers whose read noise is known and that have values in all of the frames.
    """
    expected = [readout.read_variance for readout in amplifiers.readouts]
    told = [
        number
        for number, variance in enumerate(expected)
        if variance and all(np.isfinite(q.scatter[number]) for q in frames.values())
    ]
    return {
        file: tuple(quality.scatter[n] / expected[n] ** 0.5 for n in told)
        for file, quality in frames.items()
    }
