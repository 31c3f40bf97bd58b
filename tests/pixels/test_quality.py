"""One look at the pixels: what it tells, what follows from it, and what it must not refuse."""

import gzip
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import Amplifier, Flat, Limits, Profile, Recipe, SpectralFlat
from ccdprofiles.errors import FrameRejected, ProfileError
from ccdprofiles.files import pixels as pixels_module
from ccdprofiles.files.pixels import Pixels
from ccdprofiles.files.raw import read_raw
from ccdprofiles.pixels.quality import Quality, Sample, judge

AMPLIFIER = Amplifier(
    data="[1:200, 1:600]",
    overscan=None,
    gain=2 * u.electron / u.adu,
    read_noise=16 * u.electron,
    saturation=60000 * u.adu,
)


def amplifiers(*given, shape=(600, 200)):
    profile = Profile(instrument="C", amplifiers=given or [AMPLIFIER], recipe=Recipe())
    return profile.amplifiers_of({}, {None: shape})


def look(path, data, *given, **cards):
    """Write a frame, and look at it."""
    fits.PrimaryHDU(data, fits.Header(list(cards.items()))).writeto(path / "a.fits", overwrite=True)
    return look_at(path / "a.fits", *given, shape=data.shape)


def look_at(path, *given, shape=(600, 200)):
    frame = read_raw(path)
    sample = Sample(frame, amplifiers(*given, shape=shape))
    with Pixels(frame) as pixels:
        for rows in pixels.bands(hashlib.sha256()):
            sample.take(*rows)
    return sample.quality()


def noise(level, sigma, shape=(600, 200), seed=1, dtype="u2"):
    data = np.random.default_rng(seed).normal(level, sigma, shape)
    return (data if np.dtype(dtype).kind == "f" else data.round()).astype(dtype)


def verdict(quality, kind="bias", recipe=None, overscan=(), *given):
    wrong = judge(kind, quality, recipe or Recipe(), amplifiers(*given), overscan)
    return None if wrong is None else wrong.code


# What one look tells.


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8"])
def test_the_level_the_scatter_and_the_bright_part_of_any_stored_number(tmp_path, dtype):
    quality = look(tmp_path, noise(100, 8, dtype=dtype))
    assert quality.level == pytest.approx((100,), abs=1)
    assert quality.scatter == pytest.approx((8,), rel=0.03)
    assert quality.bright == pytest.approx((100 + 1.645 * 8,), abs=1)
    assert quality.saturated == quality.not_finite == quality.wrapped == quality.common == 0


@pytest.mark.parametrize("sigma", [0.7, 1.0, 1.5, 2.0])
def test_noise_of_an_adu_is_measured_though_numbers_are_whole(tmp_path, sigma):
    (scatter,) = look(tmp_path, noise(300, sigma)).scatter
    assert scatter == pytest.approx(np.sqrt(sigma**2 + 1 / 12), rel=0.03)


def test_scatter_knows_neither_gradients_nor_stars_nor_columns_read_apart(tmp_path):
    data = noise(1000, 5) + np.arange(600, dtype="u2")[:, np.newaxis] * 10
    data[:, ::2] += 200
    data[::7, ::9] += 20000
    assert look(tmp_path, data).scatter == pytest.approx((5,), rel=0.05)


@pytest.mark.parametrize("piece", [1, 3000, 2**20])
def test_a_look_at_a_packed_file_and_one_in_pieces_are_the_same(tmp_path, piece, monkeypatch):
    data = noise(1000, 8)
    data[40:60] = 7
    upper = Amplifier(data="[1:200, 301:600]", overscan=None, name="upper")
    lower = Amplifier(data="[1:200, 1:300]", overscan=None, name="lower")
    wanted, halves = look(tmp_path, data), look(tmp_path, data, upper, lower)
    monkeypatch.setattr(pixels_module, "PIECE", piece)
    monkeypatch.setattr(pixels_module, "_ROWS", 1 + piece // 400)
    (tmp_path / "b.fits").write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    fits.CompImageHDU(data, compression_type="RICE_1").writeto(tmp_path / "c.fits")
    for name in ("a.fits", "b.fits", "c.fits"):
        assert look_at(tmp_path / name) == wanted
        assert look_at(tmp_path / name, upper, lower) == halves


def test_every_row_of_one_value_is_found_wherever_it_lies(tmp_path):
    data = noise(1000, 8)
    for number, row in enumerate((0, 1, 300, 511, 512, 599), 1):
        data[row] = 5
        quality = look(tmp_path, data)
        assert (quality.constant_rows, quality.constant) == (number / 600, 5)


def test_a_row_that_nearly_holds_one_value_does_not(tmp_path):
    data = noise(1000, 8)
    data[10:200] = 5
    data[10:200, 197] = 6
    assert look(tmp_path, data).constant_rows == 0


def test_rows_of_nan_hold_one_value_and_a_frame_of_nan_none(tmp_path):
    data = noise(1000, 8, dtype="f4")
    data[:60] = np.nan
    quality = look(tmp_path, data)
    assert quality.constant_rows == 0.1
    assert quality.not_finite == pytest.approx(0.1, abs=0.01)
    with pytest.raises(FrameRejected, match="none of its pixels has a finite value") as refused:
        look(tmp_path, np.full_like(data, np.nan))
    assert refused.value.code == "all-nan"


def test_rows_of_infinity_are_looked_at_without_a_warning(tmp_path):
    data = noise(100, 8, dtype="f4")
    data[::2] = np.inf
    quality = look(tmp_path, data)
    assert quality.scatter == pytest.approx((8,), rel=0.05)
    assert quality.not_finite == 0.5


def test_rows_of_a_saturated_star_are_no_rows_of_one_value(tmp_path):
    data = noise(1000, 8)
    data[100:160] = 65535
    quality = look(tmp_path, data)
    assert quality.constant_rows == quality.common == 0
    assert quality.saturated == pytest.approx(0.1, abs=0.005)
    assert verdict(quality, "science") is None
    assert verdict(quality, "dark") == "saturated"


def test_an_amplifier_that_is_dead_is_found_beside_one_that_lives(tmp_path):
    data = noise(1000, 8)
    data[:, 100:] = 0
    halves = (
        Amplifier(name="left", data="[1:100, 1:600]", overscan=None),
        Amplifier(name="right", data="[101:200, 1:600]", overscan=None),
    )
    quality = look(tmp_path, data, *halves)
    assert quality.constant_rows == quality.common == 1
    assert quality.level == (1000, 0)
    assert verdict(quality, "bias", None, (), *halves) == "constant-rows"


def test_far_below_zero_is_told_of_signed_numbers_alone(tmp_path):
    data = noise(0, 5, dtype="i2")
    data[::20] = -20000
    assert look(tmp_path, data).wrapped == pytest.approx(0.05, abs=0.002)
    assert look(tmp_path, data.astype("f4")).wrapped == 0
    assert look(tmp_path, noise(0, 5, dtype="i2")).wrapped == 0


# What follows.


@pytest.mark.parametrize("sigma", [0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("step", [1, 16])
def test_a_bias_of_little_noise_holds_few_values_and_is_no_fault(tmp_path, sigma, step):
    """Up to four fifths of its pixels are equal, and it is a good bias; some cameras count by 16."""
    quality = look(tmp_path, noise(300, sigma) * np.uint16(step))
    assert quality.common == quality.constant_rows == 0
    assert verdict(quality) is None


@pytest.mark.parametrize("level", [1000, 20000])
def test_one_value_where_noise_should_be_is_a_fault(tmp_path, level):
    """BANZAI's frames of 1000 adu in too many pixels."""
    data = noise(level, 10)
    hit = np.random.default_rng(2).random(data.shape) < 0.3
    data[hit] = 1000
    quality = look(tmp_path, data)
    assert quality.value == 1000
    assert quality.common == pytest.approx(0.3, abs=0.03)
    for kind in ("bias", "dark", "flat", "arc", "science"):
        assert verdict(quality, kind) == "one-value"
    assert verdict(quality, recipe=Recipe(limits=Limits(common_value=0.5))) is None


def test_a_spectrum_on_a_dark_chip_is_no_fault(tmp_path):
    data = noise(300, 1.5)
    data[:, 80:110] = noise(20000, 150, (600, 30))
    assert verdict(look(tmp_path, data), "arc") is None


FULL = replace(AMPLIFIER, saturation=50000 * u.adu)


@pytest.mark.parametrize(
    ("light", "wanted"),
    [(4900, "flat-level"), (5100, None), (39900, None), (40100, "flat-level"), (-9, "flat-level")],
)
def test_the_light_of_a_flat_lies_between_a_tenth_and_four_fifths(light, wanted):
    quality = Quality(level=(light + 1000.0,), scatter=(8.0,), bright=(65535.0,))
    assert verdict(quality, "flat", None, (1000.0,), FULL) == wanted
    for kind in ("bias", "dark", "arc", "science"):
        assert verdict(quality, kind, None, (1000.0,), FULL) is None
    free = Recipe(limits=Limits(flat_level=None))
    assert verdict(quality, "flat", free, (1000.0,), FULL) is None
    unknown = replace(AMPLIFIER, saturation=None)
    assert verdict(quality, "flat", None, (1000.0,), unknown) is None


def test_a_spectral_flat_is_judged_by_its_brightest_part():
    quality = Quality(level=(1100.0,), scatter=(8.0,), bright=(31000.0,))
    spectral = Recipe(flat=SpectralFlat(dispersion="x"))
    assert verdict(quality, "flat", spectral, (1000.0,), FULL) is None
    assert verdict(quality, "flat", Recipe(flat=Flat()), (1000.0,), FULL) == "flat-level"
    burnt = replace(quality, bright=(45000.0,))
    assert verdict(burnt, "flat", spectral, (1000.0,), FULL) == "flat-level"


@pytest.mark.parametrize(("dtype", "top"), [("u2", 65535), ("i2", 32767)])
def test_rows_that_are_full_are_no_fault_of_science_though_no_one_knows_the_level(
    tmp_path, dtype, top
):
    unknown = replace(AMPLIFIER, saturation=None)
    data = noise(1000, 30, dtype=dtype)
    data[:200] = top
    quality = look(tmp_path, data, unknown)
    assert quality.saturated == pytest.approx(1 / 3, abs=0.01)
    assert quality.constant_rows == quality.common == 0
    assert verdict(quality, "science", None, (), unknown) is None
    assert verdict(quality, "flat", None, (), unknown) == "saturated"


# The level of rows.


# What a profile may say.


def test_the_limits_are_those_of_the_reference():
    limits = Limits()
    assert dict(limits.frames) == {"bias": 3, "dark": 3, "flat": 3, "arc": 1}
    assert dict(Limits(frames=2).frames) == dict.fromkeys(("bias", "dark", "flat", "arc"), 2)
    assert dict(Limits(frames={"flat": 1}).frames)["flat"] == 1
    assert dict(Limits(frames={"flat": 1}).frames)["dark"] == 3


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"saturated": 0}, "saturated=0 is not a fraction above 0 and up to 1."),
        ({"constant_rows": 5}, "constant_rows=5 is not a fraction above 0 and up to 1."),
        ({"common_value": "a"}, "common_value='a' is not a fraction above 0 and up to 1."),
        (
            {"flat_level": 0.1},
            "flat_level=0.1 is not a range; use the lowest and the highest value, such as (0.1, 0.8), or None.",
        ),
        (
            {"read_noise": (2, 1)},
            "read_noise=(2, 1) is not a range; use the lowest and the highest value, such as (0.1, 0.8), or None.",
        ),
        ({"outlier": -1}, "outlier=-1 is not a positive number; use such a number, or None."),
        ({"level": 5}, "level=5 is not in adu; write it as level=5 * u.adu."),
        ({"frames": 0}, "frames=0 is not a positive whole number."),
        ({"frames": {"bias": True}}, "frames=True is not a positive whole number."),
        (
            {"frames": {"flats": 3}},
            "frames='flats' is not one of bias, dark, flat, arc (did you mean 'flat'?).",
        ),
    ],
)
def test_limits_that_cannot_be_right_are_refused(wrong, sentence):

    with pytest.raises(ProfileError) as refused:
        Limits(**wrong)
    assert str(refused.value) == sentence


def test_a_recipe_takes_limits_and_nothing_else_for_them():

    with pytest.raises(ProfileError, match="limits=3 is not a set of limits; use Limits"):
        Recipe(limits=3)
    strict, usual = Recipe(limits=Limits(saturated=0.01)), Recipe()
    profiles = [Profile(instrument="C", amplifiers=[AMPLIFIER], recipe=r) for r in (strict, usual)]
    assert profiles[0].hash != profiles[1].hash
