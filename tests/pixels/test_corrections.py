"""Corrections of single bands: amplifiers apart, bands as the whole, what is missing left alone."""

import numpy as np
from astropy.nddata import CCDData

from ccdprofiles.camera.amplifier import AmplifierSet, Readout
from ccdprofiles.camera.linearity import Curve
from ccdprofiles.camera.section import Section
from ccdprofiles.pixels.bad_pixels import bad_pixel_flags, flag_bad_pixels
from ccdprofiles.pixels.crosstalk import subtract_crosstalk
from ccdprofiles.pixels.fringes import Fringes, FringeScale, fringe_scale, subtract_fringes
from ccdprofiles.pixels.linearity import BandLinearity, linearise, root_mean_square
from ccdprofiles.pixels.shutter import shutter_factor


def amplifiers(*places):
    sections = [Section.parse(place) for place in places]
    readouts = tuple(Readout(str(n), s, None, s, None, None, None) for n, s in enumerate(sections))
    return AmplifierSet(readouts, (8, 12))


QUARTERS = amplifiers("[1:6, 1:4]", "[7:12, 1:4]", "[1:6, 5:8]", "[7:12, 5:8]")
CURVES = [Curve(coefficients=(0, 1, n * 1e-6)) for n in range(3)] + [
    Curve(raw=(0, 1000, 20_000), linear=(0, 1000, 22_000))
]


def stack():
    data = np.random.default_rng(0).uniform(0, 30_000, (3, 8, 12))
    data[1, 2, 3] = np.nan
    flags = np.zeros(data.shape, "u2")
    flags[0, 7, 11] = 4
    return CCDData(data, unit="adu", flags=flags)


def test_each_amplifier_has_its_own_curve():
    done, slope = linearise(stack(), BandLinearity(CURVES, QUARTERS))
    raw = stack().data
    for n, (rows, columns) in enumerate([(0, 0), (0, 6), (4, 0), (4, 6)]):
        part = (slice(None), slice(rows, rows + 4), slice(columns, columns + 6))
        linear, own_slope = CURVES[n](raw[part])
        np.testing.assert_array_equal(done.data[part], linear)
        np.testing.assert_array_equal(slope[part], own_slope)
    beyond = np.zeros(raw.shape, bool)
    beyond[:, 4:, 6:] = raw[:, 4:, 6:] > 20_000
    np.testing.assert_array_equal(done.flags & 2 != 0, beyond)
    assert done.flags[0, 7, 11] & 4
    np.testing.assert_allclose(root_mean_square(slope), np.sqrt((slope**2).mean(axis=0)))


def test_bands_are_corrected_as_the_whole():
    whole, slope = linearise(stack(), BandLinearity(CURVES, QUARTERS))
    for first, stop in ((0, 3), (3, 6), (6, 8)):
        ccd = stack()
        part = CCDData(ccd.data[:, first:stop], unit="adu", flags=ccd.flags[:, first:stop])
        done, own = linearise(part, BandLinearity(CURVES, QUARTERS, first))
        np.testing.assert_array_equal(done.data, whole.data[:, first:stop])
        np.testing.assert_array_equal(done.flags, whole.flags[:, first:stop])
        np.testing.assert_array_equal(own, slope[:, first:stop])


def test_nothing_that_was_given_is_changed():
    ccd = stack()
    linearise(ccd, BandLinearity(CURVES, QUARTERS))
    flag_bad_pixels(ccd, np.ones((8, 12), "u2"))
    np.testing.assert_array_equal(ccd.data, stack().data)
    np.testing.assert_array_equal(ccd.flags, stack().flags)
    victim, aggressor = np.ones((4, 5)), np.full((4, 5), 1000.0)
    subtract_crosstalk(victim, {1: aggressor}, [0, 1e-3])
    assert (victim == 1).all()


def test_bad_pixels_are_flagged_in_every_frame_of_a_stack():
    mask = np.zeros((8, 12))
    mask[1, 2], mask[3, 4] = 8, np.nan
    flags = flag_bad_pixels(stack(), bad_pixel_flags(mask)).flags
    assert (flags[:, 1, 2] == 1).all()
    assert (flags[:, 3, 4] == 1).all()
    assert np.count_nonzero(flags & 1) == 6
    assert flags[0, 7, 11] == 4
    assert bad_pixel_flags(np.zeros((2, 2))) is None


def test_an_aggressor_that_is_smaller_or_has_no_value_leaves_the_rest_alone():
    victim, aggressor = np.full((2, 4, 5), 10.0), np.full((2, 3, 4), 1000.0)
    aggressor[0, 1, 1] = np.nan
    done = subtract_crosstalk(victim, {2: aggressor}, [0, 0, 5e-3])
    wanted = np.full((2, 4, 5), 10.0)
    wanted[:, :3, :4] = 5
    wanted[0, 1, 1] = 10
    np.testing.assert_array_equal(done, wanted)


def test_the_shutter_matters_less_the_longer_the_exposure():
    image = np.array([[0.1, -0.1]])
    factor = shutter_factor(image, [1, 100])
    np.testing.assert_allclose(factor[:, 0, 0], [1 / 1.1, 100 / 100.1], rtol=1e-6)
    np.testing.assert_allclose(factor[:, 0, 1], [1 / 0.9, 100 / 99.9], rtol=1e-6)


def test_a_master_without_structure_subtracts_nothing():
    flat = Fringes(np.full((70, 70), 3.0))
    data = np.random.default_rng(1).normal(100, 3, (70, 70)).astype("f4")
    scale = fringe_scale(data, np.ones(data.shape, bool), flat)
    assert scale == FringeScale(0.0, 0.0)
    np.testing.assert_array_equal(subtract_fringes(data, None, flat, scale)[0], data)


def test_no_good_pixel_gives_no_scale():
    fringes = Fringes(np.random.default_rng(1).normal(0, 3, (70, 70)))
    nothing = np.zeros((70, 70), bool)
    assert fringe_scale(np.ones((70, 70)), nothing, fringes) == FringeScale(0.0, 0.0)


def test_stars_do_not_change_the_scale_of_fringes():
    random = np.random.default_rng(3)
    y, x = np.indices((200, 200))
    pattern = np.sin((x + y) / 4)
    data = 1000 + 20 * pattern + random.normal(0, 5, pattern.shape)
    for _ in range(100):
        row, column = random.integers(5, 190, 2)
        data[row : row + 6, column : column + 6] += random.uniform(50, 5000)
    scale = fringe_scale(data, np.ones(data.shape, bool), Fringes(pattern))
    assert abs(scale.value - 20) < 5 * scale.error
    assert scale.error < 0.1
