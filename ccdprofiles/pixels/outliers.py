"""Frames whose level or noise deviates from that of their group."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..camera.amplifier import AmplifierSet
from ..camera.limits import Limits
from ..errors import FrameRejected
from .quality import Quality, light_of
from .statistics import MAD_TO_STD

__all__ = ["noise_ratios", "outliers"]

_FEWEST = 4
"""In a group of fewer frames no outlier can be identified."""


def outliers(
    kind: str,
    frames: Mapping[str, Quality],
    limits: Limits,
    overscan: Mapping[str, tuple[float | None, ...]],
) -> dict[str, FrameRejected]:
    """Return the biases or darks whose level deviates from the median of their group.

    Flats are scaled to each other, and arcs need not be similar; neither is compared. Groups of
    fewer than four frames are not compared either.

    Parameters
    ----------
    kind : {"bias", "dark", "flat", "arc"}
    frames : dict of Quality
        By file, all frames that become one master.
    limits : Limits
    overscan : dict of tuple
        By file, the overscan level of each amplifier, in adu.

    Returns
    -------
    dict of FrameRejected
        ``outlier``, by file.
    """
    if kind not in ("bias", "dark") or limits.outlier is None or len(frames) < _FEWEST:
        return {}
    files = sorted(frames)
    levels = np.array([light_of(frames[f].level, overscan[f]) for f in files])
    # An amplifier without a finite value in one of the frames cannot be compared.
    levels = levels[:, np.isfinite(levels).all(axis=0)]
    if not levels.size:
        return {}
    median = np.median(levels, axis=0)
    width = limits.outlier * MAD_TO_STD * np.median(np.abs(levels - median), axis=0)
    # Levels that agree by chance must not make their neighbours outliers.
    scatter = max(1.0, np.median([np.nanmax([0.0, *frames[f].scatter]) for f in files]))
    tolerance = np.maximum(width, scatter if limits.level is None else limits.level.value)
    rejected = {}
    for file, own in zip(files, levels, strict=True):
        worst = int(np.argmax(np.abs(own - median) - tolerance))
        off = own[worst] - median[worst]
        if abs(off) > tolerance[worst]:
            cure = "check it for light" if off > 0 else "check whether its settings were the same"
            rejected[file] = FrameRejected(
                "outlier",
                f"its level is {abs(off):.4g} adu {'above' if off > 0 else 'below'} the median of "
                f"its group ({median[worst]:.6g} adu, {len(files)} {kind} frames, tolerance "
                f"{tolerance[worst]:.4g} adu); {cure}.",
            )
    return rejected


def noise_ratios(
    frames: Mapping[str, Quality], amplifiers: AmplifierSet
) -> dict[str, tuple[float, ...]]:
    """Return the scatter of biases in units of the read noise of their profile.

    Only of the amplifiers whose read noise is known and that have finite values in all frames.
    """
    known = {
        number: readout.read_variance**0.5
        for number, readout in enumerate(amplifiers.readouts)
        if readout.read_variance and all(np.isfinite(q.scatter[number]) for q in frames.values())
    }
    return {
        file: tuple(quality.scatter[n] / read_noise for n, read_noise in known.items())
        for file, quality in frames.items()
    }
