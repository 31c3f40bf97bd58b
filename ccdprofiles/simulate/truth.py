"""The true images of a simulated night."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

from ..camera.amplifier import Amplifier, Readout
from ..camera.frame_types import FRAME_TYPES
from ..camera.profile import Profile
from ..camera.settings import Setting
from ..camera.values import GAIN
from .chip import bias_structure, dark_current, hot_current
from .exposures import Exposure
from .known import with_numbers
from .light import efficiency, electrons, optics
from .readout import pedestals
from .simulation import Layout, Simulation

__all__ = ["Truth", "truth_of"]

_UNITS = {"gain": GAIN, "read_noise": u.electron, "saturation": u.adu}


@dataclass(frozen=True, eq=False)
class Truth:
    """The true images of a simulated night, with which a reduction can be compared.

    All images are trimmed, with the amplifiers put together, in float32. Pixels that no amplifier
    reads are NaN in those that contain a bias or a gain.

    Parameters
    ----------
    folder : Path
    profile : Profile
        The profile that was simulated.
    known : Profile
        A copy whose amplifiers have the gain and read noise that were simulated.
    bias : ndarray
        In adu, after the overscan is subtracted from amplifiers with a useful one.
    dark : ndarray
        Dark current in electron / s.
    gain : ndarray
        Of each pixel, in electron / adu.
    flats : dict of ndarray
        For each filter (``""`` if the header has none) the flat, normalised by the
        recipe's own statistic over the illuminated pixels. A spectral one is the
        response of the pixels times the illumination of the slit, without the spectrum
        of the lamp. If the products are in electron it contains no ratio of gains.
    arcs : dict of ndarray
        For each filter the light of the lamp, in adu / s.
    science : dict of ndarray
        For each science file the perfectly calibrated frame, in adu, or in electron if
        the recipe asks for it, without saturation; pixels below the flat's ``minimum``
        are not divided.
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
        """Return the perfect master of a type.

        Parameters
        ----------
        frame_type : {"bias", "dark", "flat", "arc"}
        exposure : float, optional
            Of a dark, in seconds; may be omitted if all have the same.
        filter : str, optional
            Of a flat or an arc; may be omitted if there is only one.

        Returns
        -------
        ndarray
            In adu; a flat has no unit. A dark contains its bias if the recipe subtracts none. An
            arc is the sum of all arcs of the night, and contains their dark.

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
            return dark if self.profile.recipe.has("bias") else self.bias + dark  # type: ignore[union-attr]
        name = self._only(filter, self.arcs, "filter")
        rows = self.frames[(self.frames["type"] == "arc") & (self.frames["filter"] == name)]
        return (self.arcs[name] + self.dark / self.gain) * np.float32(rows["exposure"].sum())

    def _only(self, wanted: Any, values: Collection, what: str) -> Any:
        if wanted is not None:
            return wanted
        if len(values) != 1:
            raise KeyError(f"{what} is one of {sorted(values)}; specify one.")
        return next(iter(values))


def truth_of(
    simulation: Simulation,
    shots: Sequence[Exposure],
    folder: Path,
    filters: Mapping[str, str],
    hits: Mapping[str, np.ndarray],
) -> Truth:
    """Return the true images of a simulation.

    Parameters
    ----------
    simulation : Simulation
    shots : sequence of Exposure
        All frames of the night.
    folder : Path
        Where they were written.
    filters : mapping
        The filter of each file, as the profile reads it.
    hits : mapping
        The pixels of each dark and science file that cosmic rays hit.
    """
    usual = next((s for s in shots if s.binning == simulation.binning), shots[0])
    layout = simulation.layout(usual)
    of: dict[str, dict[str, Exposure]] = {kind: {} for kind in FRAME_TYPES}
    for shot in shots:
        if shot.binning == usual.binning:
            of[shot.type][filters[shot.file]] = shot
    pedestal = [
        0.0 if readout.overscan is not None else level
        for readout, level in zip(
            layout.amplifiers.readouts, pedestals(simulation, layout), strict=True
        )
    ]
    return Truth(
        folder=folder,
        profile=simulation.profile,
        known=_known(simulation, layout),
        bias=bias_structure(simulation, usual) + layout.spread(pedestal),
        dark=dark_current(simulation, usual) * simulation.area(usual),
        gain=layout.gain,
        flats={name: _flat(simulation, usual, name) for name in of["flat"]},
        arcs={
            name: electrons(simulation, shot, name) / layout.gain / np.float32(shot.exposure)
            for name, shot in of["arc"].items()
        },
        science={
            s.file: _calibrated(simulation, s, filters[s.file])
            for s in shots
            if s.type == "science"
        },
        cosmic_rays=dict(hits),
        hot=hot_current(simulation, usual) > 0,
        illuminated=_illuminated(simulation, usual, {*of["flat"], *of["science"]}),
        frames=_table(shots, filters),
    )


def _table(shots: Sequence[Exposure], filters: Mapping[str, str]) -> Table:
    table = Table()
    table["file"] = [s.file for s in shots]
    table["type"] = [s.type for s in shots]
    table["exposure"] = [s.exposure for s in shots] * u.s
    table["filter"] = [filters[s.file] for s in shots]
    return table


def _illuminated(simulation: Simulation, shot: Exposure, filters: set[str]) -> np.ndarray:
    """Return the pixels that see the sky in all filters."""
    level = getattr(simulation.recipe.flat, "illuminated", 0.3)
    lit = np.isfinite(simulation.layout(shot).gain)
    for name in filters:
        light = optics(simulation, name, shot)
        # relative to the middle of the slit, not to the whole frame
        lit &= light >= level * np.median(light[light > 0.05])
    return lit


def _flat(simulation: Simulation, shot: Exposure, filter: str) -> np.ndarray:
    """Return the true flat of a filter, normalised as the recipe does."""
    flat = efficiency(simulation, filter, shot)
    if not simulation.recipe.electrons:
        flat = flat / simulation.layout(shot).gain
    good = _illuminated(simulation, shot, {filter})
    return flat / np.float32(simulation.statistic(flat[good]))


def _calibrated(simulation: Simulation, shot: Exposure, filter: str) -> np.ndarray:
    """Return a perfectly calibrated frame in the unit of the product."""
    run, numbers = shot.exposures, simulation.layout(shot).numbers
    key = (run.object, shot.exposure, filter, shot.binning, run.light, numbers)

    def make() -> np.ndarray:
        image = electrons(simulation, shot, filter)
        if not simulation.recipe.electrons:
            image = image / simulation.layout(shot).gain
        if simulation.recipe.flat is None:
            return image
        flat = simulation.once(
            ("flat", filter, shot.binning, numbers), lambda: _flat(simulation, shot, filter)
        )
        return image / np.where(flat >= simulation.recipe.flat.minimum, flat, np.float32(1))

    return simulation.once(("calibrated", *key), make)


def _known(simulation: Simulation, layout: Layout) -> Profile:
    """Return a profile with the gain, read noise and saturation level that were simulated."""
    profile = simulation.profile
    amplifiers, readouts = profile.amplifiers, layout.amplifiers.readouts
    if not callable(amplifiers) and len(amplifiers) == len(readouts):
        # A function has one value in all frames.
        fixed = [
            replace(
                a, **{f: getattr(r, f) * unit for f, unit in _UNITS.items() if _is_fixed(a, f, r)}
            )
            for a, r in zip(amplifiers, readouts, strict=True)
        ]
        profile = replace(profile, amplifiers=fixed)
    gain, noise = simulation.gain * GAIN, simulation.read_noise * u.electron
    return with_numbers(profile, gain=gain, read_noise=noise)


def _is_fixed(amplifier: Amplifier, field: str, readout: Readout) -> bool:
    """Return True if a function gives a number."""
    number = getattr(amplifier, field)
    is_function = callable(number) and not isinstance(number, Setting)
    return is_function and getattr(readout, field) is not None
