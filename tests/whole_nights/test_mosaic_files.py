"""The chips of one exposure in one file: its structure, second runs, damage, and missing chips."""

import json
import shutil

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS
from mosaics import CHIPS, ORDER, amp_of, mosaic, reduced, sky

from ccdprofiles import plan_night, reduce_night, verify_night
from ccdprofiles.errors import OutputError

NAMES = {"science/light0_cal.fits", "science/light1_cal.fits"}


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mef")
    camera = mosaic("all chips", "mef")
    camera.write(folder / "raw")
    return camera, folder, reduce_night(folder / "raw", folder / "out", profile=camera.profile)


@pytest.fixture
def copy(night, tmp_path):
    """The raw frames and the output, which may be changed."""
    camera, folder, _ = night
    shutil.copytree(folder / "raw", tmp_path / "raw")
    shutil.copytree(folder / "out", tmp_path / "out")
    return camera, tmp_path


def again(copy, **options):
    camera, folder = copy
    return reduce_night(folder / "raw", folder / "out", profile=camera.profile, **options)


def test_each_exposure_has_one_file_beside_those_of_its_chips(night):
    _, folder, result = night
    assert result.ok, str(result)
    parts = {f"science/chips/light{n}_chip{chip}_cal.fits" for n in (0, 1) for chip in CHIPS}
    assert set(result.products) == NAMES | parts
    assert "10 of 10 planned science frames are there" in str(result)
    assert {p.name for p in (folder / "out" / "science").glob("*.fits")} == {
        name.rpartition("/")[2] for name in NAMES
    }


def test_the_plan_names_the_files(night):
    camera, folder, result = night
    plan = plan_night(folder / "raw", profile=camera.profile)
    assert plan == result.plan
    assert str(plan).startswith("18 files found, 72 frames of single chips used")
    assert "Files of all chips\n  science/light0_cal.fits  chips 1, 2, 3, 4" in str(plan)
    assert len(json.loads(plan.to_json())["mosaics"]) == 2
    without = plan_night(folder / "raw", profile=mosaic().profile)
    assert "mosaics" not in json.loads(without.to_json())


def test_a_file_has_the_planes_of_each_chip_with_valid_sums(night):
    _, _, result = night
    with fits.open(result.products["science/light1_cal.fits"], checksum=True) as hdus:
        hdus.verify("exception")
        names = [(hdu.name, hdu.ver) for hdu in hdus[1:-1]]
        kinds = ("SCI", "MASK", "UNCERT", "DQ")
        assert names == [(kind, n) for n in (1, 2, 3, 4) for kind in kinds]
        assert hdus[0].data is None
        assert hdus[-1].name == "PROVENANCE"
        assert hdus[0].header["NEXTEND"] == len(hdus) - 1
        assert hdus[0].header["NCHIPS"] == 4
        for number, chip in enumerate(CHIPS, 1):
            assert hdus[0].header[f"CPCHIP{number}"] == hdus["SCI", number].header["CPCHIP"] == chip
            own = result.products[f"science/chips/light1_chip{chip}_cal.fits"]
            with fits.open(own) as part:
                for kind, name in zip(kinds, ("PRIMARY", *kinds[1:]), strict=True):
                    np.testing.assert_array_equal(hdus[kind, number].data, part[name].data)
                cards = {
                    k: v
                    for k, v in part[0].header.items()
                    if k not in ("SIMPLE", "EXTEND", "NEXTEND", "CHECKSUM", "HISTORY")
                }
                assert cards.items() <= dict(hdus["SCI", number].header).items()
                rows = {tuple(row) for row in part["PROVENANCE"].data}
                assert rows <= {tuple(row) for row in hdus["PROVENANCE"].data}


def test_the_primary_header_has_only_what_all_chips_share(night):
    _, _, result = night
    header = fits.getheader(result.products["science/light0_cal.fits"])
    assert header["INSTRUME"] == "WFC"
    assert header["EXPTIME"] == 60
    assert header["CPTYPE"] == "science"
    own = {"CRPIX1", "CTYPE1", "EQUINOX", "CPCHIP", "CPAMPS", "BIASSHA", "OSLEV1", "TRIM", "BUNIT"}
    assert not own & set(header)


def test_each_chip_is_read_as_ccddata_with_its_world_coordinates(night):
    camera, folder, result = night
    wanted = reduced(camera, folder / "raw", "all chips")
    path = result.products["science/light0_cal.fits"]
    for number, chip in enumerate(CHIPS, 1):
        planes = {"hdu_mask": ("MASK", number), "hdu_uncertainty": ("UNCERT", number)}
        ccd = CCDData.read(path, hdu=("SCI", number), **planes)
        assert ccd.unit == u.electron
        good = ~ccd.mask
        np.testing.assert_allclose(ccd.data[good], wanted["light0.fits", chip][good], atol=4e-4)
        place = amp_of(camera, chip).place
        for wcs in (ccd.wcs, WCS(fits.getheader(path, ("SCI", number)))):
            world = sky().all_pix2world(place[1].start + 30.5, place[0].start + 41, 1)
            np.testing.assert_allclose(wcs.all_world2pix(*world, 1), [30.5, 41], atol=0.01)
        assert np.std(ccd.uncertainty.array[good]) > 0


def test_a_second_run_makes_nothing_and_everything_is_whole(night):
    camera, folder, result = night
    before = {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*.fits")}
    second = reduce_night(folder / "raw", folder / "out", profile=camera.profile)
    assert second.kept == set(result.masters) | set(result.products)
    assert not second.anew
    assert "no longer belong" not in str(second)
    assert {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*.fits")} == before
    verified = verify_night(folder / "out")
    assert verified.ok, str(verified)
    assert "18 of 18 products are whole" in str(verified)
    assert not [r for r in verified.table["reason"] if "no longer belongs" in r]


def test_the_number_of_workers_changes_no_byte(night, tmp_path):
    camera, folder, result = night
    other = reduce_night(folder / "raw", tmp_path, profile=camera.profile, jobs=3)
    for name in NAMES:
        assert result.products[name].read_bytes() == other.products[name].read_bytes()


def test_damage_is_seen_and_mended(copy):
    name = "science/light1_cal.fits"
    path = copy[1] / "out" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:9000] + b"x" + whole[9001:])
    (row,) = verify_night(copy[1] / "out").bad
    assert (row["file"], row["verdict"]) == (name, "changed")
    path.write_bytes(whole[: len(whole) // 2])
    (row,) = verify_night(copy[1] / "out").bad
    assert row["file"] == name
    assert "cut off or missing" in row["reason"]
    result = again(copy)
    assert set(result.anew) == {name}
    assert path.read_bytes() == whole
    path.unlink()
    assert again(copy).ok
    assert path.read_bytes() == whole


def test_a_chip_that_changed_remakes_its_file(copy):
    path = copy[1] / "out" / "science/chips/light0_chip3_cal.fits"
    path.unlink()
    assert again(copy).anew == {}, "the same bytes are no change"
    result = again(copy, reject=["bias1.fits[chip 3]"])
    chip = {"science/chips/light0_chip3_cal.fits", "science/chips/light1_chip3_cal.fits"}
    assert NAMES | chip <= set(result.anew)
    assert "a product of its chips changed" in str(result)


def test_a_chip_that_cannot_be_made_is_missing_and_noted(copy):
    with fits.open(copy[1] / "raw" / "light0.fits") as hdus:
        short = fits.HDUList([h for n, h in enumerate(hdus) if n != ORDER[0]])
        short.writeto(copy[1] / "raw" / "light9.fits")
    result = again(copy)
    assert not result.ok
    with fits.open(result.products["science/light9_cal.fits"]) as hdus:
        assert hdus[0].header["NCHIPS"] == 3
        assert [hdus["SCI", n].header["CPCHIP"] for n in (1, 2, 3)] == ["2", "3", "4"]
    assert "science/light9_cal.fits is without chip 1; see the reason for each" in str(result)


def test_a_file_stays_if_only_one_of_its_chips_is_selected(copy):
    before = {n: (copy[1] / "out" / n).read_bytes() for n in NAMES}
    part = again(copy, only="light0.fits[chip 2]")
    assert set(part.products) == {"science/chips/light0_chip2_cal.fits"}
    assert "no longer belong" not in str(part)
    assert {n: (copy[1] / "out" / n).read_bytes() for n in NAMES} == before
    assert verify_night(copy[1] / "out").ok
    whole = again(copy, only="light0.fits")
    assert "science/light0_cal.fits" in whole.kept
    assert "5 of 5 planned science frames" in str(whole)


def test_a_file_of_others_is_not_replaced(night, tmp_path):
    camera, folder, _ = night
    (tmp_path / "science").mkdir()
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "science" / "light0_cal.fits")
    with pytest.raises(OutputError, match="is not a product of ccdprofiles"):
        reduce_night(folder / "raw", tmp_path, profile=camera.profile)
