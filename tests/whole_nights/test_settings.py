"""Whole nights of cameras whose numbers depend on a setting of the camera."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import Amplifier, Profile, Recipe, Setting, reduce_night
from ccdprofiles.products.band import DQ

GAINS = {0: 0.8, 100: 0.25}
UNIT = u.electron / u.adu
SHAPE = (40, 60)
TOP = 50000


def camera(**numbers):
    amplifier = Amplifier(data="[:, :]", overscan=None, **numbers)
    return Profile(
        instrument="QHY*",
        name="qhy",
        amplifiers=[amplifier],
        file_types={"*/FLAT/*": "flat", "*/light/*": "science", "Bias_*": "bias"},
        recipe=Recipe(bias=True, dark=None, electrons=True),
    )


def write(path, level, seed, **cards):
    random = np.random.default_rng(seed)
    data = random.normal(level, 12, SHAPE)
    data[10:12, 20:23] += TOP if "light" in path.parts else 0
    header = {"INSTRUME": "QHY268M", "EXPTIME": 1.0, "FILTER": "V"} | cards
    hdu = fits.PrimaryHDU(data.clip(0, 65535).astype("u2"))
    hdu.header.update(header)
    path.parent.mkdir(parents=True, exist_ok=True)
    hdu.writeto(path)


@pytest.fixture
def night(tmp_path):
    """A night of a program that writes neither types nor gains, in two settings of the gain."""
    for gain in GAINS:
        for n in range(3):
            seed = 10 * gain + n
            write(tmp_path / "raw" / f"bias_{gain}_{n}.fits", 500, seed, GAIN=gain, EXPTIME=0.0)
            write(tmp_path / "raw" / "Flat" / f"{gain}_{n}.fits", 20000, seed + 3, GAIN=gain)
        write(tmp_path / "raw" / "light" / f"{gain}.fits", 1500, 10 * gain + 9, GAIN=f"{gain}")
    return tmp_path / "raw"


def test_each_setting_has_its_own_masters_and_its_own_gain(night, tmp_path):
    gain = Setting("GAIN", GAINS, unit=UNIT)
    noise = Setting("GAIN", {0: 12 * 0.8, 100: 12 * 0.25}, unit=u.electron)
    profile = camera(gain=gain, read_noise=noise, saturation=65535 * u.adu)
    reduced = reduce_night(night, tmp_path / "out", profile=profile)
    assert reduced.ok, reduced.summary
    assert len(reduced.masters) == 4
    for value, per_adu in GAINS.items():
        (path,) = (p for p in reduced.products.values() if p.name == f"{value}_cal.fits")
        assert np.median(fits.getdata(path)) == pytest.approx(1000 * per_adu, rel=0.01)
        assert fits.getval(path, "BUNIT") == "electron"
        expected = np.sqrt(1000 * per_adu + (12 * per_adu) ** 2 * 4 / 3)
        assert np.median(fits.getdata(path, "UNCERT")) == pytest.approx(expected, rel=0.1)
    again = reduce_night(night, tmp_path / "out", profile=profile)
    assert "up to date" in again.summary


def test_a_setting_that_the_table_lacks_leaves_its_products_in_adu(night, tmp_path):
    profile = camera(gain=Setting("GAIN", {0: 0.8}, unit=UNIT), read_noise=9 * u.electron)
    reduced = reduce_night(night, tmp_path / "out", profile=profile)
    units = {p.name: fits.getval(p, "BUNIT") for p in reduced.products.values()}
    assert units == {"0_cal.fits": "electron", "100_cal.fits": "adu"}
    assert any("GAIN = 100 is not in its table (0), so its gain" in n for n in reduced.plan.notes)


def test_pixels_above_the_limit_of_linearity_are_flagged_and_used(night, tmp_path):
    numbers = {"gain": 1 * UNIT, "read_noise": 12 * u.electron, "saturation": 65535 * u.adu}
    bent = slice(10, 12), slice(20, 23)
    plain = reduce_night(night, tmp_path / "plain", profile=camera(**numbers))
    reduced = reduce_night(night, tmp_path / "out", profile=camera(**numbers, linear=40000 * u.adu))
    for file, path in reduced.products.items():
        flags = fits.getdata(path, "DQ")
        wanted = np.zeros(SHAPE, "u2")
        wanted[bent] = DQ.NON_LINEAR.value
        np.testing.assert_array_equal(flags, wanted)
        assert not fits.getdata(path, "MASK").any()
        np.testing.assert_array_equal(fits.getdata(path), fits.getdata(plain.products[file]))


def test_flats_above_the_limit_of_linearity_are_flagged_and_divide(night, tmp_path):
    numbers = {"gain": 1 * UNIT, "read_noise": 12 * u.electron, "saturation": 65535 * u.adu}
    plain = reduce_night(night, tmp_path / "plain", profile=camera(**numbers))
    reduced = reduce_night(night, tmp_path / "out", profile=camera(**numbers, linear=20000 * u.adu))
    flats = [name for name in reduced.masters if "flat" in name]
    assert len(flats) == len([name for name in plain.masters if "flat" in name]) > 0
    for name in flats:
        flags = fits.getdata(reduced.masters[name], "DQ")
        assert set(np.unique(flags)) == {0, DQ.NON_LINEAR.value}
        assert 0.2 < (flags != 0).mean() < 0.8
        np.testing.assert_array_equal(
            fits.getdata(reduced.masters[name]), fits.getdata(plain.masters[name])
        )
    for file, path in reduced.products.items():
        np.testing.assert_array_equal(fits.getdata(path), fits.getdata(plain.products[file]))
        assert not fits.getdata(path, "MASK").any()
