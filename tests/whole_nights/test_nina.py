"""A night of NINA with a ZWO camera: dark-flats, two gains and offsets, a rotator, and mistakes."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import (
    Amplifier,
    Card,
    Flat,
    Limits,
    Profile,
    Recipe,
    plan_night,
    reduce_night,
)

SHAPE = (64, 72)
GAIN = {0: 0.77, 100: 0.25}  # electrons per adu
NOISE = {0: 3.4, 100: 1.5}  # electrons


def gain(header):
    return GAIN[header["GAIN"]] * u.electron / u.adu


def read_noise(header):
    return NOISE[header["GAIN"]] * u.electron


ZWO = Profile(
    name="zwo",
    instrument="ZWO ASI2600MM Pro",
    amplifiers=[
        Amplifier(
            data="[:, :]",
            overscan=None,
            gain=gain,
            read_noise=read_noise,
            saturation=65535 * u.adu,
        )
    ],
    binning=("XBINNING", "YBINNING"),
    temperature=("CCD-TEMP", "TEMPERAT"),
    match={
        "dark": (Card("GAIN"), Card("OFFSET"), Card("READOUTM", "READMODE", absent="agrees")),
        "flat": (Card("ROTATOR", "ROTATANG", within=2 * u.deg, absent="agrees"),),
    },
    recipe=Recipe(
        bias=False,
        dark="match",
        exposure_tolerance=(0.05 * u.s, 0.001),
        flat=Flat(),
        limits=Limits(temperature={"dark": 1 * u.deg_C, "flat": 5 * u.deg_C}),
    ),
)

ROWS, COLUMNS = np.indices(SHAPE)
DARK_CURRENT = 0.4 + 0.3 * np.hypot(ROWS - 32, COLUMNS - 36) / 48  # electrons per second
SKY = 400 + 200 * np.exp(-((ROWS - 20) ** 2 + (COLUMNS - 40) ** 2) / 200)  # electrons
DUST = {
    angle: 1 - 0.3 * np.exp(-((ROWS - y) ** 2 + (COLUMNS - x) ** 2) / 30)
    for angle, y, x in ((45, 12, 50), (135, 50, 12))
}


class Nina:
    """Writes the frames of a night, one after the other, as NINA does."""

    def __init__(self, folder):
        self.folder, self.count = folder, 0
        self.random = np.random.default_rng(20261120)

    def take(self, kind, number, exposure, setting, light=0.0, **cards):
        for _ in range(number):
            self._one(kind, exposure, setting, light, cards)

    def _one(self, kind, exposure, setting, light, cards):
        self.count += 1
        electrons = DARK_CURRENT * exposure + light
        at = datetime(2026, 11, 20, 19) + timedelta(minutes=5 * self.count)
        given = {
            "IMAGETYP": kind,
            "EXPOSURE": exposure,
            "EXPTIME": exposure,
            "DATE-LOC": (at + timedelta(hours=1)).isoformat(),
            "DATE-OBS": at.isoformat(),
            "XBINNING": 1,
            "YBINNING": 1,
            "GAIN": setting[0],
            "OFFSET": setting[1],
            "EGAIN": GAIN[setting[0]],
            "SET-TEMP": -10.0,
            "CCD-TEMP": round(-10 + self.random.normal(0, 0.1), 1),
            "READOUTM": "High Gain Mode",
            "INSTRUME": "ZWO ASI2600MM Pro",
            "ROWORDER": "TOP-DOWN",
            "SWCREATE": "N.I.N.A. 3.1.2.9001 (x64)",
        } | cards
        adu = self.random.poisson(electrons) + self.random.normal(0, NOISE[setting[0]], SHAPE)
        adu = np.clip(np.round(adu / GAIN[setting[0]] + 10 * setting[1]), 0, 65535)
        fits.PrimaryHDU(adu.astype("u2"), fits.Header(given)).writeto(
            self.folder / f"{self.count:03}_{kind}.fits"
        )


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """Return the folder of a night in which one dark and one light have another offset."""
    folder = tmp_path_factory.mktemp("nina")
    nina = Nina(folder)
    high, low = (100, 50), (0, 30)
    at_45, at_135 = {"FILTER": "R", "ROTATOR": 45.2}, {"FILTER": "R", "ROTATANG": 135.0}
    nina.take("FLAT", 4, 0.81, high, 7500 * DUST[45], **at_45)
    nina.take("FLAT", 4, 2.41, high, 7000 * DUST[135], **at_135)
    nina.take("DARKFLAT", 5, 0.8, high)
    nina.take("DARKFLAT", 5, 2.4, high)
    nina.take("LIGHT", 3, 300.0, high, SKY * DUST[45], **at_45 | {"ROTATOR": 44.1})
    nina.take("LIGHT", 3, 60.0, low, SKY * DUST[135], **at_135)
    nina.take("LIGHT", 1, 300.0, (100, 10), SKY * DUST[45], **at_45)
    nina.take("LIGHT", 1, 60.0, low, SKY, **at_135 | {"ROTATANG": 315.0})
    nina.take("DARK", 5, 300.0, high)
    nina.take("DARK", 1, 300.0, (100, 10))
    nina.take("DARK", 5, 60.0, low)
    return folder


def test_the_plan_needs_no_pixels_and_names_the_mistakes(night):
    plan = plan_night(night, profile=ZWO)
    masters = {m.name.split("/")[1]: len(m.inputs) for m in plan.masters}
    assert masters == {
        "zwo_dark_0.8s_1x1.fits": 5,
        "zwo_dark_2.4s_1x1.fits": 5,
        "zwo_dark_60s_1x1.fits": 5,
        "zwo_dark_300s_1x1.fits": 5,
        "zwo_flat_R_45.2_1x1.fits": 4,
        "zwo_flat_R_135_1x1.fits": 4,
    }
    flats = {m.name[8:]: {i.dark[8:] for i in m.inputs} for m in plan.masters if m.type == "flat"}
    assert flats == {
        "zwo_flat_R_45.2_1x1.fits": {"zwo_dark_0.8s_1x1.fits"},
        "zwo_flat_R_135_1x1.fits": {"zwo_dark_2.4s_1x1.fits"},
    }
    used = [(p.input.dark[8:], p.input.flat[8:]) for p in plan.products]
    assert (
        used
        == [("zwo_dark_300s_1x1.fits", "zwo_flat_R_45.2_1x1.fits")] * 3
        + [("zwo_dark_60s_1x1.fits", "zwo_flat_R_135_1x1.fits")] * 3
    )
    assert plan.set_aside == ()
    texts = {m.file: (m.code, m.text) for m in plan.missing}
    assert set(texts) == {"025_LIGHT.fits", "026_LIGHT.fits", "032_DARK.fits"}
    assert texts["025_LIGHT.fits"] == (
        "no-dark",
        "no dark of 300 s ± 0.3 s and 72x64 pixels binned 1x1; zwo_dark_300s_1x1 has OFFSET = 50, "
        "but the frame has OFFSET = 10; zwo_dark_2.4s_1x1 has OFFSET = 50, but the frame has "
        "OFFSET = 10; zwo_dark_0.8s_1x1 has OFFSET = 50, but the frame has OFFSET = 10.",
    )
    code, text = texts["026_LIGHT.fits"]
    assert code == "no-flat"
    assert "zwo_flat_R_135_1x1 has ROTATANG = 135, but the frame has ROTATANG = 315 ± 2 deg" in text
    code, text = texts["032_DARK.fits"]
    assert code == "few-frames"
    assert "with GAIN = 100 and OFFSET = 10" in text
    assert (
        "the 6 darks of 300 s of zwo were taken with different settings (OFFSET is 50 in 5 frames "
        "and 10 in 032_DARK.fits); only frames with the same settings are combined"
    ) in plan.notes


def test_the_products_are_the_sky_within_their_uncertainties(night, tmp_path):
    reduced = reduce_night(night, tmp_path / "reduced", profile=ZWO, jobs=1)
    products = [*reduced.products.values()]
    assert len(products) == 6
    pulls = []
    for product in products:
        with fits.open(product) as hdus:
            number = hdus[0].header["GAIN"]
            good = hdus["MASK"].data == 0
            angle = 45 if number == 100 else 135
            truth = SKY / GAIN[number] * np.median(DUST[angle])
            pulls.append(((hdus[0].data - truth) / hdus["UNCERT"].data)[good])
    pull = np.concatenate(pulls)
    assert pull.size > 0.95 * 6 * SHAPE[0] * SHAPE[1]
    assert abs(pull.mean()) < 0.1
    assert pull.std() == pytest.approx(1, abs=0.03)


def test_masters_of_that_night_serve_another_by_their_headers(night, tmp_path):
    first = reduce_night(night, tmp_path / "first", profile=ZWO, jobs=1)
    assert fits.getval(tmp_path / "first/masters/zwo_flat_R_45.2_1x1.fits", "ROTATOR") == 45.2
    later = tmp_path / "later"
    later.mkdir()
    nina = Nina(later)
    for angle in (44.0, 48.0):
        cards = {"FILTER": "R", "ROTATOR": angle}
        nina.take("LIGHT", 1, 300.0, (100, 50), SKY * DUST[45], **cards)
    plan = plan_night(later, profile=ZWO, calibrations=[first.output / "masters"])
    (product,) = plan.products
    assert product.input.flat.endswith("/zwo_flat_R_45.2_1x1.fits")
    (reason,) = plan.missing
    assert "has ROTATOR = 45.2, but the frame has ROTATOR = 48 ± 2 deg" in reason.text


def test_the_mean_of_angles_that_differ_stands_in_the_master(tmp_path):
    nina = Nina(tmp_path)
    for angle in (359.5, 0.1, 0.4):
        nina.take("FLAT", 1, 0.8, (100, 50), 7500, FILTER="R", ROTATOR=angle)
    nina.take("DARKFLAT", 3, 0.8, (100, 50))
    reduced = reduce_night(tmp_path, tmp_path / "reduced", profile=ZWO, jobs=1)
    (flat,) = (path for name, path in reduced.masters.items() if "flat" in name)
    assert fits.getval(flat, "ROTATOR") == 0.0
