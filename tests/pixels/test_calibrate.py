"""Bias, dark, flat, gain and cosmic rays: the numbers, their noise and their flags."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, VarianceUncertainty

from ccdprofiles import Amplifier, CosmicRays, Profile, Recipe
from ccdprofiles.errors import FrameRejected
from ccdprofiles.pixels.calibrate import (
    BAD,
    COSMIC_RAY,
    HOT,
    NO_FLAT,
    UNILLUMINATED,
    Noise,
    calibrate,
    find_cosmic_rays,
    master_variance,
    subtract_masters,
)
from ccdprofiles.pixels.prepare import SATURATED
from ccdprofiles.products.band import Band

SHAPE = (120, 130)
GAIN = u.electron / u.adu


def stack(*values, flags=None, dtype="f4"):
    """Frames of one value each, as `prepare` gives them."""
    data = np.array([np.full((2, 3), v) for v in values], dtype)
    return CCDData(data, unit=u.adu, flags=flags)


def band(value, variance=None, **more):
    def filled(v):
        return None if v is None else np.full((2, 3), v, "f4")

    return Band(filled(value), filled(variance), **more)


NOISE = Noise(gain=2.0, read_variance=9.0)


# The numbers.


def test_bias_and_dark_are_subtracted_from_every_frame():
    found = subtract_masters(stack(1000, 1100), band(900), band(50))
    assert found.data[:, 0, 0].tolist() == [50, 150]
    assert found.unit == u.adu


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_type_of_the_pixels_does_not_drift(dtype):
    assert subtract_masters(stack(1, dtype=dtype), band(1), band(1), 0.3).data.dtype == dtype
    found = calibrate(
        stack(1, dtype=dtype),
        NOISE,
        pedestal=False,
        bias=band(1, 1),
        dark=band(1, 1),
        scale=0.3,
        flat=band(1, 0),
        electrons=True,
    )
    assert found.data.dtype == np.float32
    assert found.uncertainty.array.dtype == np.float32


def test_a_dark_is_multiplied_by_the_ratio_of_exposures():
    assert subtract_masters(stack(100), None, band(30), 2.5).data[0, 0, 0] == 25


def test_nothing_to_subtract_changes_nothing():
    assert (subtract_masters(stack(7), None, None).data == 7).all()


def test_a_frame_is_divided_by_its_flat():
    found = calibrate(stack(1000), NOISE, pedestal=False, flat=band(0.5))
    assert (found.data == 2000).all()


def test_masked_and_broken_pixels_of_a_flat_do_not_move_the_others():
    """The mean that ccdproc divides a flat by counts masked pixels, and one NaN spoils all."""
    flat = band(1.0)
    flat.data[0, 0] = 1e6
    found = calibrate(stack(500), NOISE, pedestal=False, flat=flat)
    assert (found.data[0].ravel()[1:] == 500).all()
    flat.data[0, 0] = np.nan
    found = calibrate(stack(500), NOISE, pedestal=False, flat=flat)
    assert (found.data[0].ravel()[1:] == 500).all()


def test_what_is_given_is_left_as_it_was():
    ccd, bias, dark, flat = stack(1000), band(900, 1), band(50, 1), band(0.5, 0.1)
    kept = [a.copy() for a in (ccd.data, bias.data, dark.data, dark.variance, flat.data)]
    calibrate(
        ccd, NOISE, pedestal=False, bias=bias, dark=dark, scale=0.5, flat=flat, electrons=True
    )
    for before, after in zip(
        kept, (ccd.data, bias.data, dark.data, dark.variance, flat.data), strict=True
    ):
        np.testing.assert_array_equal(before, after)


# Electrons.


def test_electrons_have_their_unit_and_their_noise():
    plain = calibrate(stack(1000), NOISE, pedestal=False)
    found = calibrate(stack(1000), NOISE, pedestal=False, electrons=True)
    assert (plain.unit, found.unit) == (u.adu, u.electron)
    assert (found.data == 2000).all()
    np.testing.assert_allclose(found.uncertainty.array, plain.uncertainty.array * 4)
    assert isinstance(found.uncertainty, VarianceUncertainty)


def two_amplifiers():
    def one(name, data, gain, read_noise, saturation=None):
        return Amplifier(
            name=name,
            data=data,
            overscan=None,
            gain=gain * GAIN,
            read_noise=read_noise * u.electron,
            saturation=saturation,
        )

    profile = Profile(
        instrument="X",
        amplifiers=[one("left", "[1:2, 1:4]", 2.0, 6.0), one("right", "[3:5, 1:4]", 4.0, 20.0)],
        recipe=Recipe(),
    )
    return profile.amplifiers_of({}, {None: (4, 5)})


def test_each_amplifier_has_its_own_gain_and_read_noise():
    noise = Noise.of(two_amplifiers(), (0.0, 0.0), 1, 3)
    assert noise.gain.tolist() == [[2, 2, 4, 4, 4]] * 2
    assert noise.read_variance.tolist() == [[9, 9, 25, 25, 25]] * 2
    ccd = CCDData(np.full((1, 2, 5), 100, "f4"), unit=u.adu)
    found = calibrate(ccd, noise, pedestal=False, electrons=True)
    assert found.unit == u.electron
    assert found.data[0, 0].tolist() == [200, 200, 400, 400, 400]
    # 100 adu are 200 and 400 electrons, and so is their variance; with 6 and 20 of read noise.
    assert found.uncertainty.array[0, 0].tolist() == [236, 236, 800, 800, 800]


def test_equal_amplifiers_share_one_number_and_the_overscan_adds_its_noise():
    amplifiers = two_amplifiers()
    noise = Noise.of(amplifiers, (0.5, 0.25), 0, 4)
    assert noise.read_variance[0].tolist() == [13.5, 13.5, 31.25, 31.25, 31.25]
    single = type(amplifiers)(amplifiers.readouts[:1], (4, 2))
    noise = Noise.of(single, (0.5,), 0, 4)
    assert (noise.gain, noise.read_variance) == (2.0, 13.5)


def test_without_gain_or_read_noise_there_is_no_uncertainty():
    for noise in (Noise(None, None), Noise(2.0, None)):
        assert calibrate(stack(1000), noise, pedestal=False).uncertainty is None


# The variance, against chance. Every pixel is one trial.

RANDOM = np.random.default_rng(8)
G, READ = 1.6, 7.0
PEDESTAL = 1000.0


def exposed(electrons, number=1, pedestal=PEDESTAL):
    """Frames with this many electrons in every pixel."""
    shape = (number, *SHAPE)
    light = RANDOM.poisson(electrons, shape) if electrons else np.zeros(shape)
    return pedestal + (light + RANDOM.normal(0, READ, shape)) / G


def master_bias(number):
    return Band(exposed(0, number).mean(axis=0), np.full(SHAPE, (READ / G) ** 2 / number))


def master_dark(electrons, number, bias):
    data = exposed(electrons, number).mean(axis=0) - bias.data
    own = (electrons / G**2 + (READ / G) ** 2) / number
    return Band(data, np.full(SHAPE, own) + bias.variance)


def science(electrons):
    return CCDData(exposed(electrons), unit=u.adu)


CHIP = Noise(gain=G, read_variance=(READ / G) ** 2)


def holds(found, mean, tolerance=0.04):
    data, variance = found.data[0], found.uncertainty.array[0]
    assert data.mean() == pytest.approx(mean, abs=5 * data.std() / np.sqrt(data.size) + 1e-3)
    assert variance.mean() == pytest.approx(data.var(), rel=tolerance)


@pytest.mark.parametrize("electrons", [0, 20, 2000])
def test_the_variance_of_a_frame_is_photons_and_read_noise(electrons):
    bias = Band(np.full(SHAPE, PEDESTAL), np.zeros(SHAPE))
    found = calibrate(science(electrons), CHIP, pedestal=False, bias=bias)
    # Noise below zero counts as no light, so a frame without any is told a little too noisy.
    holds(found, electrons / G, 0.04 if electrons > 1000 else 0.1)


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("frames", [(3, 3), (20, 2)])
def test_the_noise_of_a_bias_that_is_in_the_dark_too_cancels(scale, frames):
    """Twice taken off, it is in the result (1 - scale) times."""
    bias = master_bias(frames[0])
    dark = master_dark(400, frames[1], bias)
    found = calibrate(
        science(600 + 400 * scale), CHIP, pedestal=False, bias=bias, dark=dark, scale=scale
    )
    holds(found, 600 / G)


def test_the_noise_of_two_biases_does_not_cancel():
    bias, other = master_bias(2), master_bias(2)
    dark = master_dark(400, 2, other)
    dark = Band(dark.data, dark.variance, same_bias=False)
    found = calibrate(science(1000), CHIP, pedestal=False, bias=bias, dark=dark)
    holds(found, 600 / G)
    assert master_variance(bias, dark, 1.0).mean() > 2 * bias.variance.mean()


def test_what_the_masters_add_is_nothing_where_there_are_none():
    assert master_variance(None, None, 1) is None
    bias, dark = band(0, 4.0), band(0, 9.0)
    assert master_variance(bias, None, 1)[0, 0] == 4
    assert master_variance(None, dark, 0.5)[0, 0] == 9 / 4
    assert master_variance(bias, dark, 1)[0, 0] == 5
    assert master_variance(bias, dark, 0.5)[0, 0] == 4 / 4 + 5 / 4
    assert master_variance(band(0), band(0), 1) is None


def test_a_flat_adds_its_noise_and_divides_that_of_the_frame():
    bias = Band(np.full(SHAPE, PEDESTAL), np.zeros(SHAPE))
    truth = 0.8
    noisy = truth + RANDOM.normal(0, 0.02, SHAPE)
    flat = Band(noisy.astype("f4"), np.full(SHAPE, 0.02**2, "f4"))
    found = calibrate(science(50_000 * truth), CHIP, pedestal=False, bias=bias, flat=flat)
    assert found.uncertainty.array.mean() == pytest.approx(found.data.var(), rel=0.05)
    assert np.median(found.data) == pytest.approx(50_000 / G, rel=2e-3)


def test_the_noise_of_electrons_is_what_chance_makes_it():
    bias = Band(np.full(SHAPE, PEDESTAL), np.zeros(SHAPE))
    found = calibrate(science(2000), CHIP, pedestal=False, bias=bias, electrons=True)
    holds(found, 2000)


def test_a_camera_without_bias_has_its_read_noise_from_the_scatter_of_its_darks():
    """The photon part counts what lies above the dark; pedestal and dark are not light."""
    number, current = 15, 300.0
    darks = exposed(current, number)
    single = current / G**2 + (READ / G) ** 2
    dark = Band(
        darks.mean(axis=0),
        np.full(SHAPE, single / number),
        scatter=np.full(SHAPE, single),
    )
    for light in (0, 500):
        found = calibrate(science(light + current), CHIP, pedestal=True, dark=dark)
        holds(found, light / G, 0.04 if light else 0.2)


def test_a_pedestal_without_the_scatter_of_a_dark_has_no_uncertainty():
    assert calibrate(stack(1000), NOISE, pedestal=True).uncertainty is None
    found = calibrate(stack(1000), NOISE, pedestal=True, dark=band(900, 1.0))
    assert found.uncertainty is None


def test_light_below_zero_makes_no_noise_nor_nan():
    found = calibrate(stack(-50), NOISE, pedestal=False)
    assert (found.uncertainty.array == 9).all()


def test_the_pedestal_is_no_light():
    """Made before the bias is off, the variance would count it."""
    found = calibrate(stack(1010), NOISE, pedestal=False, bias=band(1000, 0))
    assert (found.uncertainty.array == 10 / 2 + 9).all()


# Flags.


def flags(*bits):
    made = np.zeros((2, 3), "u2")
    made.reshape(-1)[: len(bits)] = bits
    return made


def test_the_flags_of_a_frame_and_of_its_masters_are_joined():
    own = np.stack([flags(4, 0, 16), flags()])
    ccd = stack(1000, 1000, flags=own)
    dark = Band(np.zeros((2, 3), "f4"), flags=flags(HOT, HOT))
    flat = Band(np.ones((2, 3), "f4"), flags=flags(0, UNILLUMINATED | NO_FLAT, 0, BAD))
    found = calibrate(ccd, NOISE, pedestal=False, dark=dark, flat=flat)
    assert found.flags.dtype == np.uint16
    assert found.flags[0].ravel()[:4].tolist() == [4 | HOT, HOT | 64 | 128, 16, BAD]
    assert found.flags[1].ravel()[:4].tolist() == [HOT, HOT | 64 | 128, 0, BAD]
    assert own[0].ravel()[:3].tolist() == [4, 0, 16]


def test_frames_without_a_flag_have_none():
    assert calibrate(stack(1), NOISE, pedestal=False, bias=band(1)).flags is None


# Cosmic rays.


def sky(seed=0, gain=2.0, read_noise=6.0, saturation=None):
    """A frame of two amplifiers in electron, a few pixels of it hit."""
    random = np.random.default_rng(seed)
    image = random.poisson(200, (64, 80)) + random.normal(0, read_noise, (64, 80))
    hits = [(10, 10), (30, 55), (31, 56), (50, 70)]
    for place in hits:
        image[place] += 3000

    def one(name, data):
        return Amplifier(
            name=name,
            data=data,
            overscan=None,
            gain=gain * GAIN,
            read_noise=read_noise * u.electron,
            saturation=saturation,
        )

    profile = Profile(
        instrument="X",
        amplifiers=[one("left", "[1:40, 1:64]"), one("right", "[41:80, 1:64]")],
        recipe=Recipe(),
    )
    return image.astype("f4"), hits, profile.amplifiers_of({}, {None: (64, 80)})


ONE = Noise(gain=2.0, read_variance=9.0)


def test_cosmic_rays_are_flagged_and_not_repaired():
    image, hits, amplifiers = sky()
    ccd = CCDData(image.copy(), unit=u.electron)
    found = find_cosmic_rays(ccd, amplifiers, CosmicRays(), ONE)
    assert all(found.flags[place] == COSMIC_RAY for place in hits)
    assert (found.flags != 0).sum() < 20
    np.testing.assert_array_equal(found.data, image)
    np.testing.assert_array_equal(ccd.data, image)
    assert found.unit == u.electron


def test_a_frame_that_is_too_small_for_the_search_is_set_aside():
    profile = Profile(
        instrument="Small",
        amplifiers=[
            Amplifier(
                data="[1:8, 1:40]",
                overscan=None,
                gain=2 * u.electron / u.adu,
                read_noise=3 * u.electron,
            )
        ],
        recipe=Recipe(),
    )
    amplifiers = profile.amplifiers_of({}, {None: (40, 8)})
    ccd = CCDData(np.zeros((40, 8), "f4"), unit=u.electron)
    with pytest.raises(FrameRejected, match="8 columns and 40 rows"):
        find_cosmic_rays(ccd, amplifiers, CosmicRays(), ONE)


def test_cosmic_rays_are_repaired_where_that_was_asked():
    image, hits, amplifiers = sky()
    found = find_cosmic_rays(
        CCDData(image, unit=u.electron), amplifiers, CosmicRays(repair=True), ONE
    )
    hit = found.flags == COSMIC_RAY
    assert all(hit[place] for place in hits)
    np.testing.assert_array_equal(found.data[~hit], image[~hit])
    assert found.data[hit].max() < 400


def test_in_adu_the_same_pixels_are_found_and_the_unit_stays():
    """Given adu or a gain of its own, ccdproc relabels the image or multiplies it twice."""
    image, hits, amplifiers = sky()
    how = CosmicRays(repair=True)
    one = find_cosmic_rays(CCDData(image, unit=u.electron), amplifiers, how, ONE)
    two = find_cosmic_rays(CCDData(image / np.float32(2), unit=u.adu), amplifiers, how, ONE)
    np.testing.assert_array_equal(two.flags, one.flags)
    assert two.unit == u.adu
    np.testing.assert_allclose(two.data * 2, one.data, rtol=1e-6)
    assert hits


def test_pixels_known_to_be_bad_are_no_cosmic_rays_and_keep_their_flags():
    image, hits, amplifiers = sky()
    known = np.zeros(image.shape, "u2")
    known[hits[0]] = BAD
    known[hits[3]] = HOT
    image[20, 20] = np.nan
    known[20, 20] = 16
    uncertainty = VarianceUncertainty(np.ones(image.shape))
    ccd = CCDData(image, unit=u.electron, flags=known.copy(), uncertainty=uncertainty)
    found = find_cosmic_rays(ccd, amplifiers, CosmicRays(repair=True), ONE)
    assert found.flags[hits[0]] == BAD
    assert found.flags[hits[3]] == HOT | COSMIC_RAY
    assert found.flags[20, 20] == 16
    assert np.isnan(found.data[20, 20])
    assert found.data[hits[0]] == image[hits[0]]
    assert np.isfinite(np.delete(found.data.ravel(), 20 * 80 + 20)).all()
    np.testing.assert_array_equal(ccd.flags, known)
    assert found.uncertainty is not None


def test_stars_are_no_cosmic_rays():
    image, hits, amplifiers = sky()
    rows, columns = np.mgrid[:64, :80]
    for y, x in ((20, 25), (45, 60)):
        image += 4000 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 1.5**2))
    found = find_cosmic_rays(CCDData(image, unit=u.electron), amplifiers, CosmicRays(), ONE)
    assert not found.flags[17:24, 22:29].any()
    assert all(found.flags[place] for place in hits)


def test_saturated_stars_are_no_cosmic_rays_and_saturated_hits_are():
    image, hits, amplifiers = sky(saturation=30000 * u.adu)
    image[40:49, 15:24] = 60000
    image[hits[0]] = 60000
    saturated = np.where(image == 60000, np.uint16(SATURATED), np.uint16(0))
    ccd = CCDData(image, unit=u.electron, flags=saturated)
    found = find_cosmic_rays(ccd, amplifiers, CosmicRays(), ONE)
    assert not (found.flags[36:53, 11:28] & COSMIC_RAY).any()
    assert all(found.flags[place] & COSMIC_RAY for place in hits)
    assert found.flags[hits[0]] == SATURATED | COSMIC_RAY


def test_the_read_noise_of_each_amplifier_counts():
    image, _, amplifiers = sky()
    image[:] = np.random.default_rng(1).normal(0, 3, image.shape)
    image[10, 10] = image[10, 60] = 80
    left, right = amplifiers.readouts
    loud = type(right)(**{**vars(right), "read_noise": 100.0})
    both = type(amplifiers)((left, loud), amplifiers.shape)
    found = find_cosmic_rays(CCDData(image, unit=u.electron), both, CosmicRays(), ONE)
    assert found.flags[10, 10] == COSMIC_RAY
    assert not found.flags[:, 40:].any()
