"""Cameras that write a file for each chip: each is reduced alone, and a key tells the exposure."""

import numpy as np
import pytest
from astropy.io import fits
from geometries import PLAIN

from ccdprofiles import Amplifier, Profile, reduce_night, verify_night
from ccdprofiles.errors import ProfileError


def camera(**fields):
    given = {
        "instrument": "SIX",
        "name": "six",
        "amplifiers": [Amplifier(data="[1:32, 1:24]", overscan=None)],
        "match": ("CHIPID",),
        "exposure_id": "EXPID",
        "recipe": PLAIN.but(electrons=False),
    }
    return Profile(**given | fields)


def write(folder, chips=3):
    """A night whose chips differ by their pedestals and responses."""
    folder.mkdir()
    random = np.random.default_rng(8)
    number = 100
    for kind, times in (("BIAS", 4), ("FLAT", 4), ("LIGHT", 2)):
        for n in range(times):
            number += 1
            for chip in range(1, chips + 1):
                light = {"BIAS": 0, "FLAT": 20000, "LIGHT": 3000}[kind] * (1 + 0.1 * chip)
                image = random.normal(400 * chip + light, 8, (24, 32)).astype("u2")
                cards = [("INSTRUME", "SIX"), ("IMAGETYP", kind), ("EXPTIME", 1.0)]
                cards += [("CHIPID", f"c{chip}"), ("EXPID", number)]
                name = f"{kind}{n}_c{chip}.fits"
                fits.PrimaryHDU(image, fits.Header(cards)).writeto(folder / name)


@pytest.fixture
def night(tmp_path):
    write(tmp_path / "raw")
    return tmp_path


def test_each_file_is_reduced_with_the_masters_of_its_chip(night):
    result = reduce_night(night / "raw", night / "out", profile=camera())
    assert result.ok, str(result)
    assert len(result.masters) == len(result.products) == 6
    for path in result.products.values():
        header = fits.getheader(path)
        assert header["CHIPID"].lower() in header["ZEROCOR"].lower()
        assert header["CPEXPID"] == str(header["EXPID"])
        assert np.median(fits.getdata(path)) == pytest.approx(
            3000 * (1 + 0.1 * int(header["CHIPID"][1])), rel=0.01
        )
    table = result.frames
    assert set(table["exposure_id"]) == {str(n) for n in range(101, 111)}
    (group,) = {tuple(sorted(g["file"])) for g in [table[table["exposure_id"] == "109"]]}
    assert group == ("LIGHT0_c1.fits", "LIGHT0_c2.fits", "LIGHT0_c3.fits")
    assert reduce_night(night / "raw", night / "out", profile=camera()).kept == {
        *result.masters,
        *result.products,
    }
    assert verify_night(night / "out").ok


def test_the_key_may_be_a_function_of_the_header(night):
    profile = camera(exposure_id=lambda header: f"night-{header['EXPID']}")
    result = reduce_night(night / "raw", night / "out", profile=profile)
    ids = {fits.getval(path, "CPEXPID") for path in result.products.values()}
    assert ids == {"night-109", "night-110"}


def test_an_exposure_that_lacks_a_file_is_noted(night):
    (night / "raw" / "LIGHT1_c2.fits").unlink()
    result = reduce_night(night / "raw", night / "out", profile=camera())
    assert result.ok
    assert len(result.products) == 5
    assert "the exposure 110 has 2 files, but most of six have 3; look for missing" in str(result)
    assert "exposure 109" not in str(result)


def test_a_frame_without_the_key_is_used(night):
    with fits.open(night / "raw" / "LIGHT1_c2.fits", mode="update") as hdus:
        del hdus[0].header["EXPID"]
    result = reduce_night(night / "raw", night / "out", profile=camera())
    header = fits.getheader(result.products["science/LIGHT1_c2_cal.fits"])
    assert "CPEXPID" not in header


def test_without_the_key_nothing_changes(night):
    plain = camera(exposure_id=None)
    assert plain.hash != camera().hash
    result = reduce_night(night / "raw", night / "out", profile=plain)
    assert "exposure_id" not in result.frames.colnames
    assert not any("CPEXPID" in fits.getheader(path) for path in result.products.values())


@pytest.mark.parametrize("wrong", [7, ("EXPID", 3), ""])
def test_a_wrong_key_is_refused(wrong):
    with pytest.raises(ProfileError, match=r"exposure_id=.* is not the name of a header card"):
        camera(exposure_id=wrong)
