"""Small nights of every instrument, reduced as a whole, and step by step."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from ccdprofiles import Combine, CosmicRays, combine, known_profiles, reduce_night
from ccdprofiles.night import Night
from ccdprofiles.simulate import Truth, simulate_night, windowed

ROWS, COLUMNS = 64, 80


@dataclass(frozen=True)
class Steps:
    """A night, its products, and the same made one step at a time."""

    truth: Truth
    night: Night

    @property
    def profile(self):
        return self.truth.known

    @cached_property
    def night_level(self):
        """The overscan level of the night, where the recipe compares frames with it."""
        if self.profile.recipe.overscan_drift is None:
            return None
        closed = [m for m in self.night.plan.masters if m.type in ("bias", "dark")]
        frames = [self.profile.prepare(self.path(i.file)) for m in closed for i in m.inputs]
        return [float(np.median([f.meta["OSLEV1"] for f in frames]))]

    def path(self, file: str) -> Path:
        return self.truth.folder / file

    def prepared(self, file: str, read: bool = False) -> CCDData:
        frame = self.path(file)
        frame = self.profile.read(frame) if read else frame
        return self.profile.prepare(frame, night_level=self.night_level)

    def calibrated(self, chosen, read: bool = False) -> CCDData:
        """Take the masters of a frame off it, as the plan has chosen them."""
        masters = {
            kind: self.masters[name]
            for kind in ("bias", "dark", "flat")
            if (name := getattr(chosen, kind))
        }
        return self.profile.calibrate(self.prepared(chosen.file, read), **masters)

    @cached_property
    def masters(self) -> dict[str, CCDData]:
        """The masters by their names in the plan, made in its order."""
        made = self.__dict__["masters"] = {}
        for master in self.night.plan.masters:
            made[master.name] = combine([self.calibrated(i) for i in master.inputs])
        return made


def camera(name: str):
    """Return a small copy of a camera; after a + what differs from the shipped profile."""
    name, _, variant = name.partition("+")
    profile = windowed(known_profiles()[name], ROWS, COLUMNS)
    if variant == "two gains":
        left, right = profile.amplifiers
        return replace(profile, amplifiers=[left, replace(right, gain=0.9 * left.gain)])
    if variant:
        recipe = replace(profile.recipe, combine=Combine(method=variant, clip=None))
        return replace(profile, recipe=recipe)
    return profile


@pytest.fixture(scope="session")
def steps_of(tmp_path_factory):
    """Return the night of an instrument, made up and reduced once."""
    kept = {}

    def made(name: str) -> Steps:
        if name not in kept:
            folder = tmp_path_factory.mktemp(name.replace(" ", "-"))
            truth = simulate_night(camera(name), folder / "raw", seed=3, cosmic_rays=20)
            night = reduce_night(
                folder / "raw",
                folder / "reduced",
                profile=truth.known,
                cosmic_rays=CosmicRays(),
                jobs=1,
            )
            kept[name] = Steps(truth, night)
        return kept[name]

    return made


def planes_of(path: Path):
    """Return data, uncertainty, mask and flags of a product."""
    with fits.open(path) as hdus:
        uncertainty = hdus["UNCERT"].data if "UNCERT" in hdus else None
        return hdus[0].data, uncertainty, hdus["MASK"].data != 0, hdus["DQ"].data


def same(ccd: CCDData, path: Path, ulp: int = 2) -> None:
    """Hold that a CCDData is a product: flags and mask equal, numbers to their last bits."""
    data, uncertainty, mask, flags = planes_of(path)
    np.testing.assert_array_equal(ccd.flags, flags)
    np.testing.assert_array_equal(ccd.mask, mask)
    np.testing.assert_array_max_ulp(ccd.data, data.astype("f4"), ulp)
    assert (ccd.uncertainty is None) == (uncertainty is None)
    if uncertainty is not None:
        np.testing.assert_array_max_ulp(ccd.uncertainty.array, uncertainty.astype("f4"), ulp)
