"""What a job needs to make products: frames, their measurements, and masters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from astropy import units as u

from ..camera.amplifier import AmplifierSet
from ..camera.area import DetectorArea
from ..camera.cards import Card
from ..camera.frame_types import STEPS
from ..camera.recipe import Flat, Recipe, SpectralFlat
from ..camera.settings import Dated, Setting
from ..errors import FrameRejected
from ..pixels.calibrate import Noise
from ..pixels.measure import Measured
from ..pixels.overscan import overscan_noise
from ..plan.frames import Frame
from ..plan.plan import Input
from ..products.band import Band
from ..products.saved import SavedProduct

__all__ = [
    "ASIDE",
    "JobInputs",
    "MasterOnDisk",
    "ProfileLabel",
    "bands_of",
    "cut_of",
    "flat_recipe",
    "noise_of",
    "omitted_steps",
    "pedestal_off",
    "picklable",
    "settled",
]

_BAND_BYTES = 8 * 2**20

ASIDE = "set aside, "
"""The beginning of the role, in PROVENANCE, of a frame that was not used."""


@dataclass(frozen=True)
class ProfileLabel:
    """The part of a profile that is needed once a frame has been read; it can be pickled.

    Parameters
    ----------
    name, hash : str
    unit : Unit
        Of the raw pixels.
    folder : Path
        Where the files are that its recipe names.
    match : tuple or dict
        The cards that a master and its frames share.
    chips : tuple of str
        The chips of a mosaic.
    """

    name: str
    hash: str
    unit: u.UnitBase
    folder: Path
    match: Sequence[str | Card] | Mapping[str, Sequence[str | Card]] = ()
    chips: tuple[str, ...] = ()


@dataclass(frozen=True)
class MasterOnDisk:
    """A master that exists.

    Parameters
    ----------
    type : {"bias", "dark", "flat", "arc"}
    file : SavedProduct
    sha256 : str
        Of the file.
    key : str
        The hash of everything that determined it; for a master of another night its SHA-256.
    """

    type: str
    file: SavedProduct
    sha256: str
    key: str

    @property
    def header(self) -> Mapping:
        """The cards of its primary HDU."""
        return self.file.header

    @property
    def frame_variance_factor(self) -> float:
        """The variance of one of its frames in units of its own."""
        return self._number("NCOMBINE") / self._number("CPINEFF")

    def _number(self, card: str) -> float:
        """Return the number in a card; 1 if it is missing."""
        value = self.header.get(card, 1)
        if not isinstance(value, int | float | str):
            raise TypeError(f"{card} is {value!r}, which is not a number")
        return float(value)


@dataclass(frozen=True)
class JobInputs:
    """Everything that a job reads; it is small and can be pickled.

    Parameters
    ----------
    frames : mapping
        File → frame, as `picklable` returns it.
    measured : mapping
        File → its measurements.
    masters : mapping
        Name in the plan → the masters that these frames need.
    without : sequence of str
        The steps that are omitted on purpose.
    changes : sequence of (name, text)
        The settings of the recipes that are changed for this run.
    kept_by_hand : frozenset of str
        Files that fail a check and are used on request.
    """

    frames: Mapping[str, Frame]
    measured: Mapping[str, Measured]
    masters: Mapping[str, MasterOnDisk]
    without: Sequence[str] = ()
    changes: Sequence[tuple[str, str]] = ()
    kept_by_hand: frozenset[str] = frozenset()

    def used(self, names: Iterable[str]) -> list[tuple[str, str, str]]:
        """Return masters as rows of PROVENANCE: name, SHA-256 and role."""
        masters = ((name, self.masters[name]) for name in names)
        return [(name, m.sha256, f"master {m.type}") for name, m in masters]

    def bands(
        self, chosen: Input, first: int, stop: int
    ) -> tuple[Band | None, Band | None, Band | None]:
        """Read the same rows of the bias, dark and flat of a frame."""
        bias = self.band(chosen.file, chosen.bias, first, stop)
        dark = self.band(chosen.file, chosen.dark, first, stop)
        if chosen.dark is not None and dark is not None:
            master = self.masters[chosen.dark]
            own_bias = self.masters[chosen.master_bias].sha256 if chosen.master_bias else None
            dark = replace(dark, same_bias=master.header.get("BIASSHA") == own_bias)
            if not pedestal_off(self.frames[chosen.file], chosen) and dark.variance is not None:
                dark = replace(dark, scatter=dark.variance * master.frame_variance_factor)
        return bias, dark, self.band(chosen.file, chosen.flat, first, stop)

    def band(
        self, file: str, name: str | float | None, first: int, stop: int, variance: bool = True
    ) -> Band | None:
        """Read those pixels of a master that rows of a frame need; None if there is no master.

        A constant bias, a number instead of a name, has neither variance nor flags.
        """
        if name is None:
            return None
        if isinstance(name, float):
            columns = self.frames[file].amplifiers.shape[1]
            return Band(np.broadcast_to(np.float32(name), (stop - first, columns)))
        master = self.masters[name].file
        cut = cut_of(self.frames[file], master.header)
        if cut is None:
            return master.band(first, stop, variance)
        rows, across = cut
        return master.band(rows.start + first, rows.start + stop, variance).of_columns(across)


def cut_of(frame: Frame, header: Mapping) -> tuple[slice, slice] | None:
    """Return the rows and columns of a master that are the window of a frame.

    Parameters
    ----------
    frame : Frame
    header : mapping
        Of the master.

    Returns
    -------
    tuple of slice or None
        None if the master is not cut.

    Raises
    ------
    FrameRejected
        ``section`` if the master does not cover the frame.
    """
    if frame.area is None:
        return None
    area = DetectorArea.of_product(header, frame.binning)
    if area is None or area.section == frame.area.section:
        return None
    kind = str(header.get("CPTYPE", ""))
    if why := frame.area.why_not_in(area, kind):
        raise FrameRejected(
            "section",
            f"its master {kind} {why}, but the frame covers {frame.area.section}; take {kind} frames "
            "of this window, or of the whole detector.",
        )
    return frame.area.place_in(area, kind)


def picklable(frame: Frame) -> Frame:
    """Return a frame without the functions of its profile, with the absolute path of its file."""
    raw, profile = frame.raw, frame.profile
    raw = replace(raw.without_headers(), path=raw.path.absolute())
    match = dict(profile.match) if isinstance(profile.match, Mapping) else profile.match
    recipe = settled(frame.recipe)
    chips = tuple(profile.chips)
    label = ProfileLabel(profile.name, profile.hash, profile.unit, profile.folder, match, chips)
    return frame.with_(profile=label, recipe=recipe, raw=raw, path=raw.path)


def settled(recipe: Recipe) -> Recipe:
    """Return a recipe without a function for its bias, which its frames already have as a number."""
    own = isinstance(recipe.bias, Dated) or (
        callable(recipe.bias) and not isinstance(recipe.bias, Setting)
    )
    return recipe.but(bias=True) if own else recipe


def flat_recipe(recipe: Recipe) -> Flat | SpectralFlat:
    """Return how flats are made, of a recipe that makes flats."""
    if recipe.flat is None:
        raise ValueError("this recipe makes no flats")
    return recipe.flat


def omitted_steps(without: Sequence[str], frame: Frame, kind: str) -> list[str]:
    """Return the steps omitted on purpose that this frame would otherwise have."""
    steps = {"bias": (), "dark": ("bias",), "arc": ("bias",), "flat": ("bias", "dark")}
    wanted = steps.get(kind, STEPS)
    return [step for step in without if step in wanted and frame.recipe.has(step)]


def noise_of(amplifiers: AmplifierSet, recipe: Recipe, first: int, stop: int) -> Noise:
    """Return gain and read noise of some rows, including the noise of their overscan levels."""
    more = tuple(overscan_noise(r, recipe.overscan) for r in amplifiers.readouts)
    return Noise.of(amplifiers, more, first, stop)


def pedestal_off(frame: Frame, chosen: Input) -> bool:
    """Return True if overscan or bias remove the pedestal, so that only signal remains."""
    return frame.amplifiers.has_overscan or chosen.bias is not None


def bands_of(shape: tuple[int, int], bytes_a_pixel: int) -> list[tuple[int, int]]:
    """Divide a frame into bands of a multiple of four rows, each small enough for memory."""
    rows, columns = shape
    step = max(4, _BAND_BYTES // (bytes_a_pixel * columns) // 4 * 4)
    return [(first, min(first + step, rows)) for first in range(0, rows, step)]
