"""Made-up nights and what becomes of them, shared by all tests."""

from __future__ import annotations

import os
import signal

# The threads of astroscrappy (OpenMP) otherwise spin while they wait for each other, and on busy
# processors its tests take five times as long. It is read when the library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import by_hand
import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from hypothesis import settings

from ccdprofiles import Profile, known_profiles, reduce_night
from ccdprofiles.camera import registry
from ccdprofiles.night import Night
from ccdprofiles.simulate import Truth, simulate_night, windowed

# The same examples at every run, so that a test fails for everyone or for no one;
# HYPOTHESIS_PROFILE=default looks for new ones.
settings.register_profile("ccdprofiles", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ccdprofiles"))

INSTRUMENTS = ("lfc", "cg16m", "proem", "pt5m", "kosmos", "dis_blue", "dis_red", "sbo")
"""All that ship with the package."""

ROWS, COLUMNS = 400, 300
"""The usual size of a small night: 120,000 pixels tell a standard deviation to 0.2 %."""


@pytest.fixture(autouse=True)
def no_profiles_of_the_user(tmp_path, monkeypatch):
    """Whoever runs the tests may have profiles of their own; they count for no test."""
    monkeypatch.setattr(registry, "user_folder", lambda: tmp_path / "no profiles")


@contextmanager
def _usual_signals():
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    usual = dict.fromkeys(numbers, signal.SIG_DFL) | {signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, how) for number, how in usual.items()}
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, how in before.items():
            signal.signal(number, how)


@pytest.fixture(scope="session")
def as_usual():
    """A context in which signals do what they usually do, here and in processes begun there.

    Whoever runs the tests in the background of a shell, or under nohup, has some ignored.
    """
    return _usual_signals


@pytest.fixture
def usual_signals(as_usual):
    with as_usual():
        yield


@dataclass(frozen=True)
class Image:
    """A product as it was read back from its file."""

    path: Path

    @cached_property
    def ccd(self) -> CCDData:
        return CCDData.read(self.path)

    @cached_property
    def header(self) -> fits.Header:
        return fits.getheader(self.path)

    @cached_property
    def data(self) -> np.ndarray:
        return self.ccd.data.astype(float)

    @cached_property
    def sigma(self) -> np.ndarray | None:
        return None if self.ccd.uncertainty is None else self.ccd.uncertainty.array.astype(float)

    @cached_property
    def mask(self) -> np.ndarray:
        return np.zeros(self.data.shape, bool) if self.ccd.mask is None else self.ccd.mask

    @cached_property
    def flags(self) -> np.ndarray:
        return fits.getdata(self.path, "DQ")


@dataclass(frozen=True)
class Reduced:
    """A night that was made up and reduced, and the truth behind it."""

    truth: Truth
    night: Night

    @property
    def folder(self) -> Path:
        """Where the raw frames lie."""
        return self.truth.folder

    @property
    def profile(self) -> Profile:
        return self.truth.known

    def files(self, kind: str, exposure: float | None = None, filter: str | None = None) -> list:
        """Name the raw files of a type, in order."""
        rows = self.truth.frames[self.truth.frames["type"] == kind]
        if exposure is not None:
            rows = rows[rows["exposure"] == exposure]
        if filter is not None:
            rows = rows[rows["filter"] == filter]
        return sorted(rows["file"].tolist())

    @cached_property
    def masters(self) -> dict:
        """The masters, by type, exposure of a dark in seconds, and filter of a flat or arc."""
        made = {}
        for name, path in self.night.masters.items():
            master = self.night.plan.master(name)
            exposure = master.exposure if master.type == "dark" else None
            made[master.type, exposure, master.filter] = Image(path)
        return made

    def master(self, kind: str, exposure: float | None = None, filter: str | None = None) -> Image:
        """Return the one master that fits."""
        (found,) = (
            image
            for (k, e, f), image in self.masters.items()
            if k == kind and exposure in (None, e) and filter in (None, f)
        )
        return found

    @cached_property
    def science(self) -> dict[str, Image]:
        """The calibrated frames, by the name of their raw file."""
        return {
            product.input.file: Image(self.night.products[product.name])
            for product in self.night.plan.products
        }

    def product(self, file: str):
        """Return what the plan says of a science file."""
        return next(p for p in self.night.plan.products if p.input.file == file)

    def readouts(self, file: str):
        """Return the amplifiers of a raw file as they stand in it."""
        with fits.open(self.folder / file) as hdus:
            shapes = {None: hdus[0].shape}
            return self.profile.amplifiers_of(hdus[0].header, shapes).readouts

    def raw(self, file: str) -> np.ndarray:
        """Return what the camera wrote, trimmed, its amplifiers side by side."""
        whole = fits.getdata(self.folder / file).astype(float)
        readouts = self.readouts(file)
        trimmed = np.empty(
            (max(r.place.last_row for r in readouts), max(r.place.last_column for r in readouts))
        )
        for readout in readouts:
            trimmed[readout.place.slices()] = whole[readout.data.slices()]
        return trimmed


@pytest.fixture(scope="session")
def reduce_made_up(tmp_path_factory):
    """Make up a night and reduce it; each only once, as tests only read it.

    ``profile`` may be a name or a profile; the profile that is reduced with knows
    gain and read noise. What else is given goes to `simulate_night`.
    """
    kept: dict = {}

    def made(
        profile: str | Profile,
        rows: int | None = ROWS,
        columns: int | None = COLUMNS,
        *,
        seed: int = 7,
        **more,
    ) -> Reduced:
        key = (str(profile), rows, columns, seed, repr(sorted(more.items())))
        if key not in kept:
            chosen = known_profiles()[profile] if isinstance(profile, str) else profile
            small = windowed(chosen, rows, columns) if rows else chosen
            folder = tmp_path_factory.mktemp(chosen.name or "night")
            truth = simulate_night(small, folder / "raw", seed=seed, **more)
            night = reduce_night(folder / "raw", folder / "reduced", profile=truth.known)
            kept[key] = Reduced(truth, night)
        return kept[key]

    return made


@pytest.fixture(scope="session", params=INSTRUMENTS)
def reduced(request, reduce_made_up):
    """The usual night of each instrument in turn, on a small copy of its chip."""
    return reduce_made_up(request.param)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A night of 11 frames and 5 products, not to be touched."""
    folder = tmp_path_factory.mktemp("night")
    simulate_night(by_hand.SMALL, folder / "raw", frames=by_hand.ELEVEN)
    assert reduce_night(folder / "raw", folder / "out", profiles=[by_hand.SMALL]).ok
    return folder


@pytest.fixture
def raw_night(tmp_path):
    """A night of 12 frames that can be made whole."""
    simulate_night(by_hand.SMALL, tmp_path / "raw", frames=by_hand.FRAMES)
    return tmp_path / "raw"
