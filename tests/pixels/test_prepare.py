"""Overscan, trim and flags of raw frames: each trap of the arithmetic has its line held."""

import dataclasses
import hashlib
from itertools import pairwise

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.modeling.models import (
    Chebyshev1D,
    Polynomial1D,
    Sine1D,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdprofiles import Amplifier, Profile, Recipe
from ccdprofiles.errors import FrameRejected
from ccdprofiles.files.raw import read_raw
from ccdprofiles.pixels.measure import measure, take_level
from ccdprofiles.pixels.prepare import NO_DATA, NON_LINEAR, SATURATED, prepare

ROWS, COLUMNS, STRIP = 12, 20, 7


def camera(*amplifiers, **changes):
    if not amplifiers:
        amplifiers = [amplifier()]
    values = {"instrument": "X", "name": "x", "amplifiers": amplifiers, "recipe": Recipe()}
    return Profile(**values | changes)


def amplifier(data="[1:20, 1:12]", overscan="[21:27, 1:12]", **more):
    return Amplifier(data=data, overscan=overscan, **more)


def measured(tmp_path, data, profile=None, name="a.fits", recipe=None, **cards):
    """Write a frame, and measure it."""
    path = tmp_path / name
    header = fits.Header(list(cards.items()))
    (data if hasattr(data, "writeto") else fits.PrimaryHDU(data, header)).writeto(path)
    profile = profile or camera()
    raw = read_raw(path)
    return measure(raw, profile.amplifiers_of(raw.header, raw.shapes), recipe or profile.recipe)


def prepared(tmp_path, data, profile=None, first=0, stop=None, **options):
    one = measured(tmp_path, data, profile, **options)
    return prepare([one], first, stop or one.amplifiers.shape[0])


def frame(level=1000.0, light=300.0, seed=0, noise=0.0, dtype="u2"):
    """A frame with a level for each row, and light in its data."""
    random = np.random.default_rng(seed)
    image = np.empty((ROWS, COLUMNS + STRIP))
    image[:] = np.broadcast_to(level, ROWS)[:, np.newaxis]
    image[:, :COLUMNS] += light
    return (image + np.round(random.normal(0, noise, image.shape))).astype(dtype)


def test_the_overscan_goes_and_the_frame_is_trimmed(tmp_path):
    level = 1000 + np.arange(ROWS) ** 2
    ccd = prepared(tmp_path, frame(level))
    assert ccd.shape == (1, ROWS, COLUMNS)
    assert ccd.unit == u.adu
    assert (ccd.data == 300).all()
    assert ccd.data.dtype == np.float32
    assert ccd.data.dtype.isnative
    assert ccd.flags is None


def test_unsigned_numbers_do_not_wrap(tmp_path):
    """ccdproc takes 101 from 100 in uint16 and gets 65535."""
    ccd = prepared(tmp_path, frame(101, -1))
    assert (ccd.data == -1).all()


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_every_type_of_raw_pixel_gives_the_same(tmp_path, dtype):
    ccd = prepared(tmp_path, frame(100, 50, dtype=dtype))
    assert (ccd.data == 50).all()
    assert ccd.data.dtype == np.float32


def test_the_file_is_known_by_its_sha256(tmp_path):
    one = measured(tmp_path, frame())
    octets = (tmp_path / "a.fits").read_bytes()
    assert one.sha256 == hashlib.sha256(octets).hexdigest()


# The level of a row.


def test_the_median_is_not_moved_by_one_bad_pixel_and_the_mean_is(tmp_path):
    data = frame()
    data[3, COLUMNS + 2] = 60000
    ccd = prepared(tmp_path, data)
    assert (ccd.data == 300).all()
    data[3, COLUMNS + 2] = 1014
    mean = Recipe(overscan="mean")
    ccd = prepared(tmp_path, data, name="b.fits", recipe=mean)
    assert (ccd.data[0, 3] == 300 - 14 / 7).all()
    assert (ccd.data[0, :3] == 300).all()


@pytest.mark.parametrize("how", ["median", "mean", Polynomial1D(1)])
def test_a_row_without_overscan_takes_the_level_between_its_neighbours(tmp_path, how):
    level = 1000.0 + 10 * np.arange(ROWS)
    data = frame(level, dtype="f4")
    data[5, COLUMNS:] = np.nan
    data[8:10, COLUMNS:] = np.nan
    ccd = prepared(tmp_path, data, recipe=Recipe(overscan=how))
    np.testing.assert_allclose(ccd.data, 300, rtol=1e-5)
    one = measured(tmp_path, data, name="b.fits")
    assert np.isfinite(one.noise[0])


def test_an_overscan_without_a_value_is_refused(tmp_path):
    data = frame(dtype="f4")
    data[:, COLUMNS:] = np.nan
    with pytest.raises(FrameRejected) as error:
        measured(tmp_path, data)
    assert (error.value.code, str(error.value)) == (
        "overscan",
        "its overscan has no finite value; copy the file again, or remove it from the night.",
    )


def test_a_frame_of_one_row_has_a_level_of_its_own(tmp_path):
    """ccdproc makes one number of a strip of one row, and guesses the axis from the shape."""
    profile = camera(amplifier("[1:4, 1:1]", "[5:40, 1:1]"))
    data = np.array([[500] * 4 + [100] * 36], "u2")
    assert (prepared(tmp_path, data, profile).data == 400).all()


def test_a_strip_wider_than_tall_is_measured_by_row(tmp_path):
    profile = camera(amplifier("[1:3, 1:4]", "[4:60, 1:4]"))
    data = np.full((4, 60), 100, "u2") + 10 * np.arange(4, dtype="u2")[:, np.newaxis]
    data[:, :3] += 5
    assert (prepared(tmp_path, data, profile).data == 5).all()


def test_a_prescan_on_the_left_may_be_the_overscan(tmp_path):
    profile = camera(amplifier("[8:27, 1:12]", "[1:7, 1:12]"))
    ccd = prepared(tmp_path, frame()[:, ::-1].copy(), profile)
    assert ccd.shape == (1, ROWS, COLUMNS)
    assert (ccd.data == 300).all()


def test_without_a_useful_overscan_the_frame_is_only_trimmed(tmp_path):
    profile = dataclasses.replace(
        camera(amplifier(overscan=None)), frame_size=(COLUMNS + STRIP, ROWS)
    )
    one = measured(tmp_path, frame(), profile)
    assert (one.levels, one.level, one.noise) == ((None,), (None,), (None,))
    ccd = prepare([one], 0, ROWS)
    assert ccd.shape == (1, ROWS, COLUMNS)
    assert (ccd.data == 1300).all()


def test_a_one_axis_section_in_the_header_is_never_read(tmp_path):
    """BIASSEC = '[4096:4109]' makes ccdproc subtract the last row of the sky from every row."""
    ccd = prepared(tmp_path, frame(), BIASSEC="[27:27]", TRIMSEC="[1:5,1:5]")
    assert (ccd.data == 300).all()


# A model of the overscan.


def test_a_model_of_degree_0_is_one_level_a_frame(tmp_path):
    data = frame(1000, noise=5, seed=1)
    one = measured(tmp_path, data, recipe=Recipe(overscan=Polynomial1D(0)))
    (levels,) = one.levels
    assert levels.shape == (ROWS,)
    assert np.ptp(levels) < 1e-9
    assert levels[0] == pytest.approx(np.median(data[:, COLUMNS:], axis=1).mean(), abs=2)


@pytest.mark.parametrize("model", [Polynomial1D(60), Chebyshev1D(14), Sine1D()])
def test_a_fit_that_astropy_doubts_is_told_and_not_warned_of(tmp_path, model):
    found = measured(tmp_path, frame(), recipe=Recipe(overscan=model))
    assert found.poor_fit == (True,)
    sure = measured(tmp_path, frame(), name="b.fits", recipe=Recipe(overscan=Polynomial1D(2)))
    assert sure.poor_fit == (False,)


def test_the_read_noise_that_the_overscan_shows_is_measured(tmp_path):
    random = np.random.default_rng(1)
    data = frame(1000 + 50 * np.arange(ROWS), dtype="f8")
    profile = camera(amplifier("[1:20, 1:400]", "[21:27, 1:400]"))
    tall = np.tile(data, (40, 1))[:400] + random.normal(0, 6, (400, 27))
    tall[7, 22] = 6e4
    one = measured(tmp_path, tall.astype("f4"), profile)
    assert one.noise[0] == pytest.approx(6, rel=0.05)
    assert one.level[0] == pytest.approx(np.median(one.levels[0]))


def test_an_overscan_of_one_column_tells_no_noise(tmp_path):
    profile = camera(amplifier("[1:20, 1:12]", "[21:21, 1:12]"))
    one = measured(tmp_path, frame()[:, :21].copy(), profile)
    assert np.isnan(one.noise[0])


# The level of the night.


def test_a_level_too_far_from_that_of_the_night_is_replaced(tmp_path):
    data = frame(1000)
    data[:, COLUMNS:] += np.where(np.arange(ROWS) < 6, 40, 44).astype("u2")[:, np.newaxis]
    one = measured(tmp_path, data)
    same = take_level(one, [1035.0], 10)
    assert same.level_from_night == (False,)
    assert same.levels[0] is one.levels[0]
    other = take_level(one, [1000.0], 10)
    assert other.level_from_night == (True,)
    assert (prepare([other], 0, ROWS).data == 300).all()
    assert not (prepare([one], 0, ROWS).data == 300).all()


def test_a_night_without_a_level_replaces_nothing(tmp_path):
    one = measured(tmp_path, frame())
    assert take_level(one, [None], 10).level_from_night == (False,)


# Two amplifiers.

HALVES = (
    amplifier("[1:10, 1:12]", "[21:25, 1:12]", name="left"),
    amplifier("[11:20, 1:12]", "[26:30, 1:12]", name="right"),
)


def test_each_amplifier_has_its_own_level(tmp_path):
    data = np.empty((12, 30), "u2")
    rows = np.arange(12)[:, np.newaxis]
    data[:, :10], data[:, 20:25] = 1300 + rows, 1000 + rows
    data[:, 10:20], data[:, 25:30] = 2300 - rows, 2000 - rows
    ccd = prepared(tmp_path, data, camera(*HALVES))
    assert ccd.shape == (1, 12, 20)
    assert (ccd.data == 300).all()


def test_amplifiers_with_overscan_between_them_are_put_together(tmp_path):
    profile = camera(
        amplifier("[1:10, 1:12]", "[11:15, 1:12]", name="left"),
        amplifier("[21:30, 1:12]", "[16:20, 1:12]", name="right"),
    )
    data = np.full((12, 30), 100, "u2")
    data[:, :10] += np.arange(10, dtype="u2")
    data[:, 20:] += np.arange(10, 20, dtype="u2")
    ccd = prepared(tmp_path, data, profile)
    np.testing.assert_array_equal(ccd.data[0], np.tile(np.arange(20), (12, 1)))


def test_amplifiers_one_above_the_other_are_put_together_band_by_band(tmp_path):
    profile = camera(
        amplifier("[1:20, 1:6]", "[21:27, 1:6]", name="lower"),
        amplifier("[1:20, 9:14]", "[21:27, 9:14]", name="upper"),
    )
    data = np.full((14, 27), 100, "u2")
    data[8:] = 200
    data[:, :20] += np.arange(14, dtype="u2")[:, np.newaxis]
    whole = prepared(tmp_path, data, profile)
    wanted = np.tile(np.r_[0:6, 8:14][:, np.newaxis], (1, 20))
    np.testing.assert_array_equal(whole.data[0], wanted)
    one = measured(tmp_path, data, profile, name="b.fits")
    bands = [prepare([one], a, a + 4).data for a in (0, 4, 8)]
    np.testing.assert_array_equal(np.concatenate(bands, axis=1), whole.data)


def test_each_amplifier_may_have_an_extension_and_a_saturation_of_its_own(tmp_path):
    def one(name, detector, saturation):
        return amplifier(
            "[1:10, 1:12]",
            "[11:15, 1:12]",
            name=name,
            extension=name,
            detector=detector,
            saturation=saturation * u.adu,
        )

    profile = camera(one("IM1", "[11:20, 1:12]", 1500), one("IM2", "[1:10, 1:12]", 5000))
    first, second = np.full((12, 15), 1000, "u2"), np.full((12, 15), 2000, "u2")
    first[:, :10] += 1
    second[:, :10] += 2
    first[3, 4] = second[5, 6] = 1600
    hdus = fits.HDUList(
        [fits.PrimaryHDU(), fits.ImageHDU(first, name="IM1"), fits.ImageHDU(second, name="IM2")]
    )
    ccd = prepared(tmp_path, hdus, profile)
    wanted = np.full((12, 20), 1.0)
    wanted[:, :10] = 2
    wanted[3, 14], wanted[5, 6] = 600, -400
    np.testing.assert_array_equal(ccd.data[0], wanted)
    flags = np.zeros((12, 20), int)
    flags[3, 14] = SATURATED
    np.testing.assert_array_equal(ccd.flags[0], flags)


# Flags.


def test_saturation_is_told_by_the_raw_adu(tmp_path):
    profile = camera(amplifier(saturation=60000 * u.adu))
    data = frame(59000, 0)
    data[2, 3], data[2, 4], data[2, 5] = 59999, 60000, 65535
    ccd = prepared(tmp_path, data, profile)
    assert ccd.data.max() < 60000  # after the overscan nothing looks saturated
    assert np.argwhere(ccd.flags[0] == SATURATED).tolist() == [[2, 4], [2, 5]]
    assert (ccd.flags[0] != 0).sum() == 2


def test_saturated_overscan_flags_no_pixel(tmp_path):
    profile = camera(amplifier(saturation=60000 * u.adu))
    data = frame()
    data[2, COLUMNS + 1] = 65535
    assert prepared(tmp_path, data, profile).flags is None


def test_missing_pixels_are_flagged_and_nan(tmp_path):
    data = frame(dtype="f4")
    data[1, 2], data[3, 4], data[5, 6] = np.nan, np.inf, -np.inf
    ccd = prepared(tmp_path, data, camera(amplifier(saturation=60000 * u.adu)))
    assert (ccd.flags[0, 1, 2], ccd.flags[0, 5, 6]) == (NO_DATA, NO_DATA)
    assert ccd.flags[0, 3, 4] & NO_DATA
    assert np.isnan(ccd.data[0, 1, 2])
    assert not np.isfinite(ccd.data[0, [3, 5], [4, 6]]).any()
    assert (ccd.flags != 0).sum() == 3


def test_blank_pixels_are_missing(tmp_path):
    hdu = fits.PrimaryHDU(frame(dtype="i2"))
    hdu.data[1, 2] = -32768
    hdu.header["BLANK"] = -32768
    ccd = prepared(tmp_path, hdu)
    assert np.argwhere(ccd.flags[0] == NO_DATA).tolist() == [[1, 2]]


# Bands and stacks.


def test_frames_are_stacked_in_their_order(tmp_path):
    frames = [measured(tmp_path, frame(1000, n), name=f"{n}.fits") for n in (5, 3, 9)]
    ccd = prepare(frames, 2, 7)
    assert ccd.shape == (3, 5, COLUMNS)
    assert [float(f.mean()) for f in ccd.data] == [5, 3, 9]
    assert prepare(frames, 2, 7, dtype="f8").data.dtype == np.float64


def test_flags_stay_with_their_frame(tmp_path):
    profile = camera(amplifier(saturation=60000 * u.adu))
    frames = []
    for n in range(3):
        data = frame()
        data[n, n] = 65535
        frames.append(measured(tmp_path, data, profile, name=f"{n}.fits"))
    flags = prepare(frames, 0, ROWS).flags
    assert np.argwhere(flags).tolist() == [[0, 0, 0], [1, 1, 1], [2, 2, 2]]


def test_frames_of_one_stack_may_be_stored_in_different_ways(tmp_path):
    """Unsigned, signed, packed, as floats: what counts is what each file itself says."""
    signed = fits.PrimaryHDU(frame(dtype="i2"))
    packed = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(frame())])
    scaled = fits.PrimaryHDU(frame(dtype="i4"))
    kinds = [frame(), signed, packed, scaled, frame(dtype="f4"), frame(dtype="f8")]
    profile = camera(amplifier(extension=None))
    for order in (kinds, kinds[::-1]):
        frames = [
            measured(tmp_path, hdu, profile, name=f"{id(order)}{n}.fits")
            for n, hdu in enumerate(order)
        ]
        ccd = prepare(frames, 0, ROWS)
        assert (ccd.data == 300).all()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_bands_are_the_whole(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("p")
    image = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 65535, (12, 30))
    one = measured(folder, image.astype("u2"), camera(*HALVES))
    whole = prepare([one], 0, 12).data
    edges = sorted({0, 12, *data.draw(st.lists(st.integers(1, 11), max_size=4))})
    bands = [prepare([one], a, b).data for a, b in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(bands, axis=1), whole)
    strip = np.median(image[:, 20:25], axis=1, keepdims=True)
    np.testing.assert_array_equal(whole[0, :, :10], image[:, :10] - strip)


def test_a_frame_may_be_prepared_twice_with_the_same_result(tmp_path):
    one = measured(tmp_path, frame(1000, 300, noise=4))
    first = prepare([one], 0, ROWS).data
    first_copy = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(prepare([one], 0, ROWS).data, first_copy)


def test_a_file_that_was_cut_since_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    one = measured(tmp_path, frame())
    path.write_bytes(path.read_bytes()[:2900])
    with pytest.raises(FrameRejected, match="it changed while it was read"):
        prepare([one], 0, ROWS)


def test_a_file_that_grew_or_shrank_since_its_header_was_read_is_refused(tmp_path):
    fits.PrimaryHDU(frame()).writeto(tmp_path / "a.fits")
    raw = read_raw(tmp_path / "a.fits")
    amplifiers = camera().amplifiers_of(raw.header, raw.shapes)
    (tmp_path / "a.fits").write_bytes((tmp_path / "a.fits").read_bytes()[:2900])
    with pytest.raises(FrameRejected):
        measure(raw, amplifiers, Recipe())


def test_pixels_above_the_limit_of_linearity_are_flagged_beside_saturated_ones(tmp_path):
    profile = camera(amplifier(saturation=60000 * u.adu, linear=50000 * u.adu))
    data = frame(40000, 0)
    data[2, 3:7] = 50000, 50001, 59999, 60000
    ccd = prepared(tmp_path, data, profile)
    wanted = np.zeros(ccd.shape[1:], "u2")
    wanted[2, 3:7] = 0, NON_LINEAR, NON_LINEAR, NON_LINEAR | SATURATED
    np.testing.assert_array_equal(ccd.flags[0], wanted)
    alone = camera(amplifier(linear=50000 * u.adu))
    flags = prepared(tmp_path, data, alone, name="b.fits").flags[0]
    np.testing.assert_array_equal(flags, wanted & NON_LINEAR)
    assert prepared(tmp_path, frame(40000, 0), profile, name="c.fits").flags is None


def test_missing_pixels_are_not_non_linear(tmp_path):
    data = frame(dtype="f4")
    data[1, 2], data[3, 4] = np.nan, 55000
    ccd = prepared(tmp_path, data, camera(amplifier(linear=50000 * u.adu)))
    assert (ccd.flags[0, 1, 2], ccd.flags[0, 3, 4]) == (NO_DATA, NON_LINEAR)
    assert (ccd.flags != 0).sum() == 2
