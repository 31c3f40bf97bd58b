"""The truth behind a simulated night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from ..camera.profile import Profile

__all__ = ["Truth"]


@dataclass(frozen=True, eq=False)
class Truth:
    """What a simulated night really holds, for a reduction to be compared with.

    All images are trimmed, with the amplifiers put together, in float32.

    Parameters
    ----------
    folder : Path
    profile : Profile
        As it was given.
    known : Profile
        A copy whose amplifiers have the gain and read noise that were simulated.
    bias : ndarray
        In adu: what a bias holds after its overscan is subtracted, where the
        amplifier has a useful one; else all of it.
    dark : ndarray
        Dark current in electron / s.
    gain : ndarray
        Of each pixel, in electron / adu.
    flats : dict of ndarray
        For each filter (``""`` where the header has none) the flat, normalised by
        the recipe's own statistic over the illuminated pixels. A spectral one is
        the response of the pixels times the illumination of the slit, without the
        lamp's spectrum. Where the products are in electron it holds no ratio of gains.
    arcs : dict of ndarray
        For each filter the light of the lamp, in adu / s.
    science : dict of ndarray
        For each science file what the perfectly calibrated frame holds, in adu, or
        in electron where the recipe says so. It knows no saturation; pixels below
        the flat's ``minimum`` are not divided.
    cosmic_rays : dict of ndarray
        For each dark and science file the pixels that were hit.
    hot : ndarray of bool
        Pixels of high dark current.
    illuminated : ndarray of bool
        Pixels that see the sky.
    frames : Table
        One row a file: ``file``, ``type``, ``exposure`` in seconds, ``filter``.
    """

    folder: Path
    profile: Profile
    known: Profile
    bias: np.ndarray
    dark: np.ndarray
    gain: np.ndarray
    flats: Mapping[str, np.ndarray]
    arcs: Mapping[str, np.ndarray]
    science: Mapping[str, np.ndarray]
    cosmic_rays: Mapping[str, np.ndarray]
    hot: np.ndarray
    illuminated: np.ndarray
    frames: Table

    def __repr__(self) -> str:
        return f"<Truth {self.folder}: {self.profile.name}, {len(self.frames)} files>"

    def master(
        self, frame_type: str, exposure: float | None = None, filter: str | None = None
    ) -> np.ndarray:
        """Return what a perfect master holds.

        Parameters
        ----------
        frame_type : {"bias", "dark", "flat", "arc"}
        exposure : float, optional
            Of a dark, in seconds; may be left out where all have the same.
        filter : str, optional
            Of a flat or an arc; may be left out where there is one.

        Returns
        -------
        ndarray
            A flat has no unit, all else is in adu. A dark holds its bias where
            the recipe subtracts none. An arc is the sum of the night's, and holds
            their dark.

        Raises
        ------
        KeyError
            If the night has no such frames, or several that fit.
        """
        if frame_type == "bias":
            return self.bias
        if frame_type == "flat":
            return self.flats[self._only(filter, self.flats, "filter")]
        if frame_type == "dark":
            rows = self.frames[self.frames["type"] == "dark"]
            seconds = self._only(exposure, set(rows["exposure"].tolist()), "exposure")
            dark = self.dark / self.gain * np.float32(seconds)
            return dark if self.profile.recipe.bias else self.bias + dark
        name = self._only(filter, self.arcs, "filter")
        rows = self.frames[(self.frames["type"] == "arc") & (self.frames["filter"] == name)]
        return (self.arcs[name] + self.dark / self.gain) * np.float32(rows["exposure"].sum())

    def _only(self, wanted: object, there: object, what: str) -> object:
        if wanted is not None:
            return wanted
        if len(there) != 1:
            raise KeyError(f"{what} is one of {sorted(there)}; say which.")
        return next(iter(there))
