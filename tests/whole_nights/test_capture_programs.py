"""Nights as capture programs write them: INDI with a QHY camera, SharpCap, and small chips."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import Amplifier, Card, Flat, Profile, Recipe, Setting, reduce_night

UNIT = u.electron / u.adu


class Program:
    """Writes frames with the cards of a program, and keeps the truth."""

    def __init__(self, folder, shape, gain, noise, pedestal, step=1):
        self.folder, self.shape, self.step = folder, shape, step
        self.gain, self.noise, self.pedestal = gain, noise, pedestal
        self.random, self.count = np.random.default_rng(20261122), 0
        rows, columns = np.indices(shape)
        middle = np.hypot(*shape) / 2
        self.response = 1 - 0.2 * np.hypot(rows - shape[0] / 2, columns - shape[1] / 2) / middle
        self.dark = 0.3 + 0.2 * rows / shape[0]  # electrons per second
        self.sky = 900.0 + 200 * columns / shape[1]

    def take(self, name, exposure, light, cards, mode=None):
        gain, noise, pedestal = (
            each[mode] if isinstance(each, dict) else each
            for each in (self.gain, self.noise, self.pedestal)
        )
        self.count += 1
        at = datetime(2026, 11, 22, 20) + timedelta(minutes=3 * self.count)
        electrons = self.random.poisson(self.dark * exposure + light)
        adu = (electrons + self.random.normal(0, noise, self.shape)) / gain + pedestal
        adu = np.clip(np.round(adu) * self.step, 0, 65536 - self.step).astype("u2")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        header = fits.Header({"DATE-OBS": f"{at.isoformat()}.1234567", "EXPTIME": exposure} | cards)
        fits.PrimaryHDU(adu, header).writeto(path)

    def pull_of(self, path, gain):
        """Return the deviations of a product from its truth in units of its uncertainty."""
        truth = self.sky / gain * np.median(self.response)
        pull = (fits.getdata(path) - truth) / fits.getdata(path, "UNCERT")
        return pull - np.median(pull)


# INDI: IMAGETYP and FRAME, the read mode as a number, GAIN and OFFSET, no unit of the gain.
QHY_GAIN, QHY_NOISE = {0: 0.9, 3: 0.35}, {0: 5.0, 3: 2.4}
QHY = Profile(
    name="qhy600",
    instrument=("QHY CCD QHY600M*", "QHY600M*"),
    amplifiers=[
        Amplifier(
            data="[:, :]",
            overscan=None,
            gain=Setting(("READOUTM", "READMODE"), QHY_GAIN, unit=UNIT),
            read_noise=Setting(("READOUTM", "READMODE"), QHY_NOISE, unit=u.electron),
            saturation=65535 * u.adu,
        )
    ],
    binning=("XBINNING", "YBINNING"),
    temperature="CCD-TEMP",
    match={
        "dark": (Card("GAIN"), Card("OFFSET"), Card("READOUTM", "READMODE")),
        "bias": (Card("GAIN"), Card("OFFSET"), Card("READOUTM", "READMODE")),
    },
    recipe=Recipe(bias=True, dark="scale", flat=Flat()),
)


@pytest.fixture(scope="module")
def indi(tmp_path_factory):
    pedestal = {0: 400.0, 3: 950.0}
    program = Program(tmp_path_factory.mktemp("indi"), (120, 130), QHY_GAIN, QHY_NOISE, pedestal)

    def take(kind, number, exposure, light, mode):
        cards = {
            "INSTRUME": "QHY CCD QHY600M-5d1f",
            "IMAGETYP": f"{kind} Frame",
            "FRAME": kind,
            "XBINNING": 1,
            "YBINNING": 1,
            "GAIN": 56.0,
            "OFFSET": 30.0,
            "READMODE": mode,
            "CCD-TEMP": -10.0,
            "FILTER": "R",
        }
        cards |= {"DARKTIME": exposure} if kind == "Dark" else {}
        for _ in range(number):
            name = f"{kind}_{mode}_{program.count:03}.fits"
            program.take(name, exposure, light, cards, mode)

    for mode in QHY_GAIN:
        take("Bias", 9, 0.0, 0, mode)
        take("Dark", 9, 120.0, 0, mode)
        take("Flat", 9, 3.0, 18000 * program.response, mode)
        take("Light", 2, 60.0, program.sky * program.response, mode)
    return program


def test_read_modes_by_number_have_masters_and_numbers_of_their_own(indi, tmp_path):
    night = reduce_night(indi.folder, tmp_path, profile=QHY)
    assert night.ok, night.summary
    assert (len(night.masters), len(night.products)) == (6, 4)
    pulls = []
    for mode, gain in QHY_GAIN.items():
        for name, path in night.products.items():
            if f"Light_{mode}_" in name:
                header = fits.getheader(path)
                assert header["READMODE"] == mode
                pulls.append(indi.pull_of(path, gain))
                dark = next(n for n in night.masters if header["DARKCOR"] in n)
                assert fits.getval(night.masters[dark], "READMODE") == mode
    assert np.std(pulls) == pytest.approx(1, abs=0.03)
    assert "light is never negative" not in night.summary
    assert "the first frame after" not in night.summary


# SharpCap: no type and no filter, 12 bits stored in 16, the gain of the converter in EGAIN.
SHARPCAP = Profile(
    name="asi183",
    instrument="ZWO ASI183MM*",
    amplifiers=[
        Amplifier(
            data="[:, :]",
            overscan=None,
            gain=Setting("GAIN", {0: 0.25}, unit=UNIT, else_card="EGAINSAV"),
            read_noise=3 * u.electron,
            saturation=65520 * u.adu,
        )
    ],
    filter=None,
    file_types={"*/darks/*": "dark", "*/flats/*": "flat", "*/lights/*": "science"},
    recipe=Recipe(bias=Setting("BLKLEVEL", {10: 640}, unit=u.adu), dark="scale", flat=Flat()),
)


def test_a_night_of_sharpcap_has_its_types_from_folders(tmp_path):
    # 4 electrons per unit of 12 bits are 0.25 per unit of 16.
    program = Program(tmp_path / "raw", (110, 124), 4.0, 3.0, 40.0, step=16)
    cards = {"INSTRUME": "ZWO ASI183MM Pro", "GAIN": 0, "BLKLEVEL": 10, "OFFSET": 10}
    cards |= {"EGAIN": 4.0, "EGAINSAV": 0.25, "ADCBITS": 12, "SWCREATE": "SharpCap 4.1"}
    for n in range(9):
        program.take(f"darks/{n}.fits", 90.0, 0, cards)
        program.take(f"flats/{n}.fits", 2.0, 8000 * program.response, cards)
    program.take("lights/a.fits", 45.0, program.sky * program.response, cards)
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profile=SHARPCAP)
    assert night.ok, night.summary
    (path,) = night.products.values()
    header = fits.getheader(path)
    assert (header["BIASLEV"], header["CALSTAT"]) == (640, "BDF")
    assert "all values are multiples of 16, as of 12 bits stored in 16" in night.summary
    # Rounding to 16 adu, which is 4 electrons, adds a noise of 4 / sqrt(12) electrons.
    rounding = 4 / np.sqrt(12)
    variance = fits.getdata(path, "UNCERT") ** 2
    pull = program.pull_of(path, 0.25) * np.sqrt(variance / (variance + (rounding / 0.25) ** 2))
    assert np.std(pull) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("shape", [(24, 32), (48, 16), (17, 65)])
def test_small_chips_raise_no_false_alarm(shape, tmp_path):
    program = Program(tmp_path / "raw", shape, 0.5, 3.0, 100.0)
    profile = SHARPCAP.but(
        name="guider",
        instrument="ZWO ASI120*",
        amplifiers=[SHARPCAP.amplifiers[0].but(gain=0.5 * UNIT)],
        recipe=Recipe(bias=100 * u.adu, dark="match", flat=Flat()),
    )
    cards = {"INSTRUME": "ZWO ASI120MM Mini", "BAYERPAT": "NONE"}
    for n in range(9):
        program.take(f"darks/long{n}.fits", 45.0, 0, cards)
        program.take(f"darks/short{n}.fits", 2.0, 0, cards)
        program.take(f"flats/{n}.fits", 2.0, 12000 * program.response, cards)
    for n in range(40):
        program.take(f"lights/{n}.fits", 45.0, program.sky * program.response, cards)
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    assert night.ok, night.summary
    pulls = [program.pull_of(path, 0.5) for path in night.products.values()]
    assert np.std(pulls) == pytest.approx(1, abs=0.03)
    assert "Notes" not in night.summary, night.summary
