"""Corrections that a recipe asks for: bad pixels flagged in masters and in science frames."""

import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.modeling.models import Polynomial1D
from by_hand import bytes_of, camera, pixels, reduce_night, row, write, write_some

from ccdprofiles import Flat, Recipe, combine
from ccdprofiles.camera.profile_file import read_profiles
from ccdprofiles.errors import ProfileError
from ccdprofiles.products.band import DQ

BAD, NO_FLAT = DQ.BAD_PIXEL.value, DQ.NO_FLAT.value


def mask_file(path, *bad, shape=(16, 16)):
    mask = np.zeros(shape, "u1")
    for place in bad:
        mask[place] = 1
    fits.PrimaryHDU(mask).writeto(path, overwrite=True)
    return path


@pytest.fixture
def night(tmp_path):
    """A night of biases, flats and a science frame, of which one pixel is far off in the flats."""
    raw = tmp_path / "raw"
    write_some(raw, "bias", 3, 300)
    for n in range(3):
        write(raw / f"flat{n}.fits", "flat", pixels(20000, n, noise=100), 5)
    write(raw / "science.fits", "object", pixels(1000, 9), 60)
    return raw


def with_mask(tmp_path, **recipe):
    mask = mask_file(tmp_path / "mask_1x1.fits", (3, 4), (slice(None), 7))
    return camera(flat=Flat(), bad_pixels=str(mask), **recipe), fits.getdata(mask) != 0


def test_bad_pixels_are_flagged_in_masters_and_science_frames(tmp_path, night):
    profile, bad = with_mask(tmp_path)
    reduced = reduce_night(night, tmp_path / "out", profile=profile)
    plain = reduce_night(night, tmp_path / "plain", profile=camera(flat=Flat()))
    assert reduced.ok
    for name, path in (reduced.masters | reduced.products).items():
        flags, other = (
            fits.getdata(p, "DQ") for p in (path, {**plain.masters, **plain.products}[name])
        )
        np.testing.assert_array_equal((flags & BAD) != 0, bad)
        np.testing.assert_array_equal(flags[~bad], other[~bad])
        assert (fits.getdata(path, "MASK")[bad] == 1).all()


def test_bad_pixels_do_not_count_for_the_level_of_a_flat(tmp_path, night):
    profile, bad = with_mask(tmp_path)
    for path in night.glob("flat*"):
        with fits.open(path, mode="update") as hdus:
            hdus[0].data[bad] = 60000
    reduced = reduce_night(night, tmp_path / "out", profile=profile)
    (flat,) = (p for n, p in reduced.masters.items() if "flat" in n)
    data, flags = fits.getdata(flat), fits.getdata(flat, "DQ")
    assert np.median(data[~bad]) == pytest.approx(1, abs=1e-6)
    assert (data[bad] == 1).all()
    assert ((flags[bad] & NO_FLAT) != 0).all()


def test_the_header_names_the_mask(tmp_path, night):
    profile, _ = with_mask(tmp_path)
    reduced = reduce_night(night, tmp_path / "out", profile=profile)
    for path in [*reduced.masters.values(), *reduced.products.values()]:
        header = fits.getheader(path)
        assert header["BPMASK"] == "mask_1x1.fits"
        assert len(header["BPMSHA"]) == 64
        assert "bad pixels flagged: mask_1x1.fits" in [*header["HISTORY"]]


def test_products_are_remade_when_the_mask_changes(tmp_path, night):
    profile, _ = with_mask(tmp_path)
    reduce_night(night, tmp_path / "out", profile=profile)
    again = reduce_night(night, tmp_path / "out", profile=replace(profile))
    assert not again.anew
    before = profile.hash
    mask_file(tmp_path / "mask_1x1.fits", (1, 1))
    changed = replace(profile)
    assert changed.hash != before
    third = reduce_night(night, tmp_path / "out", profile=changed)
    assert len(third.anew) == 3
    assert fits.getdata(next(iter(third.products.values())), "DQ")[1, 1] & BAD


def test_a_profile_without_corrections_has_the_hash_it_always_had():
    text = camera().hash
    assert replace(camera(), recipe=replace(camera().recipe, bad_pixels=None)).hash == text


def test_single_steps_flag_them_too(tmp_path, night):
    profile, _ = with_mask(tmp_path)
    reduced = reduce_night(night, tmp_path / "out", profile=profile)
    bias = combine([profile.prepare(p) for p in sorted(night.glob("bias*"))])
    flats = [profile.calibrate(profile.prepare(p), bias=bias) for p in sorted(night.glob("flat*"))]
    done = profile.calibrate(
        profile.prepare(night / "science.fits"), bias=bias, flat=combine(flats)
    )
    (product,) = reduced.products.values()
    np.testing.assert_array_equal(done.flags, fits.getdata(product, "DQ"))
    np.testing.assert_array_equal(done.data, fits.getdata(product))
    assert done.meta["BPMASK"] == "mask_1x1.fits"


def profile_beside(tmp_path, bad_pixels):
    """Write a profile file into the folder, and read it."""
    text = f"""
from ccdprofiles import Amplifier, Profile, Recipe
profile = Profile(
    instrument="C",
    amplifiers=[Amplifier(data="[1:16, 1:16]", overscan=None)],
    binning=("XBIN", "YBIN"),
    recipe=Recipe(dark=None, flat=None, bad_pixels={bad_pixels!r}),
)
"""
    (tmp_path / "own.py").write_text(text)
    return read_profiles(tmp_path / "own.py")[0]


@pytest.mark.parametrize("name", ["mask_1x1.fits", "mask_{binning}.fits", {"1x1": "mask_1x1.fits"}])
def test_the_mask_lies_beside_the_profile(tmp_path, name):
    mask_file(tmp_path / "mask_1x1.fits", (3, 4))
    profile = profile_beside(tmp_path, name)
    write_some(tmp_path / "raw", "bias", 3, 300, XBIN=1, YBIN=1)
    reduced = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    (bias,) = reduced.masters.values()
    assert [*zip(*np.nonzero(fits.getdata(bias, "DQ")), strict=True)] == [(3, 4)]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (3, "bad_pixels=3 is not the name of a FITS file; use a text such as 'bad_pixels_{binning}.fits', or a dict of names by binning."),
        ("mask.txt", "bad_pixels='mask.txt' is not the name of a FITS file; use one that ends in .fits, beside the profile, in which {binning} may stand for the binning, such as 2x2."),
        ("mask_{bin}.fits", "bad_pixels='mask_{bin}.fits' is not the name of a FITS file; use one that ends in .fits, beside the profile, in which {binning} may stand for the binning, such as 2x2."),
        ({(2, 2): "mask.fits"}, "bad_pixels= has the key (2, 2), which is not a binning; write columns x rows, such as {'2x2': 'mask.fits'}."),
    ],
)  # fmt: skip
def test_what_is_not_a_file_is_refused(value, sentence):
    with pytest.raises(ProfileError) as refusal:
        Recipe(bad_pixels=value)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize("name", ["mask_1x1.fits", "mask_{binning}.fits"])
def test_a_profile_whose_mask_does_not_exist_is_refused(tmp_path, name):
    with pytest.raises(ProfileError) as refusal:
        profile_beside(tmp_path, name)
    assert str(refusal.value) == (
        f"own.py: bad_pixels={name!r}: there is no such file in {tmp_path}; put it beside the "
        "profile, or correct bad_pixels= in the recipe."
    )


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "mask_{binning}.fits",
            "bad_pixels= of the profile own needs the file mask_2x2.fits for frames of the binning "
            "2x2, but there is no such file in {folder}; put it there, or take the frame out of "
            "the night.",
        ),
        (
            {"1x1": "mask_1x1.fits"},
            "its binning is 2x2, but bad_pixels= of the profile own names files for 1x1 only; add "
            "one for this binning, or take the frame out of the night.",
        ),
        (
            "mask_1x1.fits",
            "mask_1x1.fits, which bad_pixels= of the profile own names, has 16 columns and 16 rows, "
            "but the trimmed frame has 8 and 8; use a file of the trimmed frame in this binning.",
        ),
    ],
)
def test_a_frame_without_a_mask_that_fits_is_set_aside(tmp_path, name, sentence):
    mask_file(tmp_path / "mask_1x1.fits", (3, 4))
    profile = profile_beside(tmp_path, name)
    write_some(tmp_path / "raw", "bias", 3, 300, XBIN=1, YBIN=1)
    write(tmp_path / "raw" / "other.fits", "bias", pixels(300, shape=(8, 8)), XBIN=2, YBIN=2)
    reduced = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    refused = row(reduced, "other.fits")
    assert refused["code"] == "correction"
    assert refused["reason"] == "other.fits: " + sentence.replace("{folder}", str(tmp_path))


def test_a_mask_that_cannot_be_read_sets_its_frames_aside(tmp_path):
    (tmp_path / "mask_1x1.fits").write_text("nothing")
    profile = profile_beside(tmp_path, "mask_1x1.fits")
    write_some(tmp_path / "raw", "bias", 3, 300, XBIN=1, YBIN=1)
    reduced = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    assert set(reduced.frames["code"]) == {"correction"}
    assert (
        "mask_1x1.fits, which bad_pixels= of the profile names, cannot be read"
        in (reduced.frames["reason"][0])
    )


def test_what_a_recipe_does_not_use_is_not_written():
    """Its text is a part of the hash of products, which must not change."""
    unused = ("bad_pixels", "crosstalk", "linearity", "shutter", "fringe")
    assert not any(f"{field}=" in repr(Recipe()) for field in unused)
    assert "bad_pixels='mask.fits'" in repr(Recipe(bad_pixels="mask.fits"))


def test_a_recipe_with_all_corrections_can_be_sent_to_a_worker():
    recipe = Recipe(
        bad_pixels={"1x1": "mask.fits"},
        crosstalk={"A": {"B": 1e-3}},
        linearity={"A": Polynomial1D(2, c1=1, c2=1e-6), "B": ((0, 0), (1, 1))},
        shutter="shutter.fits",
        fringe={"I": "fringe.fits"},
    )
    sent = pickle.loads(pickle.dumps(recipe))
    assert repr(sent) == repr(recipe)
    assert sent.linearity["B"] == ((0, 0), (1, 1))


def test_workers_in_processes_make_the_same_bytes(tmp_path, night):
    mask = mask_file(tmp_path / "mask_1x1.fits", (3, 4))
    curve = Polynomial1D(2, c1=1, c2=1e-6)
    profile = camera(flat=Flat(), bad_pixels=str(mask), linearity=curve)
    one = reduce_night(night, tmp_path / "one", profile=profile, jobs=1)
    with ProcessPoolExecutor(2) as pool:
        two = reduce_night(night, tmp_path / "two", profile=profile, executor=pool)
    assert one.ok
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")
    assert two.ok


def test_cosmic_rays_are_searched_after_fringes_are_subtracted(tmp_path):
    raw = tmp_path / "raw"
    x = np.arange(64) * np.ones((64, 1))
    pattern = 1000 * np.sin(x / 1.5)
    for n in range(3):
        write(raw / f"bias{n}.fits", "bias", pixels(300, n, (64, 64)))
    light = np.random.default_rng(2).normal(3300, 2, (64, 64)) + pattern
    light[30, 31] += 20_000
    write(raw / "science.fits", "object", light.round().astype("u2"), 60)
    fits.PrimaryHDU(pattern.astype("f4")).writeto(tmp_path / "fringe.fits")
    profile = camera("[1:64, 1:64]", fringe=str(tmp_path / "fringe.fits"))
    reduced = reduce_night(raw, tmp_path / "out", profile=profile, cosmic_rays=True)
    (path,) = reduced.products.values()
    header, flags = fits.getheader(path), fits.getdata(path, "DQ")
    assert header["CRNUM"] == 1
    assert flags[30, 31] & DQ.COSMIC_RAY.value
    assert header["FRINGSCL"] == pytest.approx(1, abs=0.01)
    assert "fringes subtracted: fringe.fits" in [*header["HISTORY"]]


def test_linearity_needs_a_bias_that_may_be_a_constant(tmp_path, night):
    straight = Polynomial1D(1, c0=0, c1=1)
    profile = camera(flat=None, bias=300 * u.adu, linearity=straight)
    assert reduce_night(night, tmp_path / "out", profile=profile).ok
    without = camera(flat=None, bias=False, linearity=straight)
    reduced = reduce_night(night, tmp_path / "without", profile=without)
    assert "needs the counts above the bias" in row(reduced, "science.fits")["reason"]


def test_whole_frame_corrections_are_refused_for_windows(tmp_path, night):
    profile, _ = with_mask(tmp_path)
    windows = replace(profile, window="CCDSEC")
    reduced = reduce_night(night, tmp_path / "out", profile=windows)
    reason = row(reduced, "science.fits")["reason"]
    assert "bad_pixels= of the profile" in reason
    assert "is for whole frames, but the profile is of windows" in reason


def test_a_master_of_another_night_without_the_correction_is_not_used(tmp_path, night):
    plain, straight = camera(flat=Flat()), Polynomial1D(1, c0=0, c1=1)
    earlier = reduce_night(night, tmp_path / "earlier", profile=plain)
    assert earlier.ok
    for path in night.glob("flat*"):
        path.unlink()
    for name, profile, ok in (
        ("same", plain, True),
        ("corrected", camera(flat=Flat(), linearity=straight), False),
    ):
        reduced = reduce_night(
            night, tmp_path / name, profile=profile, calibrations=[tmp_path / "earlier" / "masters"]
        )
        assert (len(reduced.products) == 1) is ok
