"""The flat of a spectrograph: the lamp goes, the pixels and the slit stay."""

import numpy as np
import pytest

from ccdprofiles import SpectralFlat
from ccdprofiles.pixels.response import illuminated, lamp_curve, spectral_flat

ROWS, COLUMNS = 300, 60


def lamp(number=ROWS, steep=3.0):
    """Bright in the red, faint in the blue."""
    place = np.linspace(0, 1, number)
    return 900 * np.exp(steep * place * (1.5 - 0.5 * place)) * (1 + 0.05 * np.sin(6 * place))


def flat(seed=0, noise=0.0, dispersion="y", steep=3.0):
    """An image, and the response that it should give: pixels times slit, where the slit is lit."""
    random = np.random.default_rng(seed)
    pixels = 1 + random.normal(0, 0.01, (ROWS, COLUMNS))
    slit = np.zeros(COLUMNS)
    slit[8:52] = 1 - 0.1 * np.linspace(-1, 1, 44) ** 2
    response = pixels * slit
    image = response * lamp(steep=steep)[:, np.newaxis]
    image = image + random.normal(0, 1, image.shape) * noise * np.sqrt(np.maximum(image, 1))
    lit = np.broadcast_to(slit > 0, image.shape)
    response = response / np.median(response[lit])
    if dispersion == "x":
        return image.T, response.T, lit.T
    return image, response, lit


FITS = [
    SpectralFlat(dispersion="y", fit="spline"),
    SpectralFlat(dispersion="x", fit="spline"),
    SpectralFlat(dispersion="y", fit="polynomial", order=8),
    SpectralFlat(dispersion="x", fit="polynomial", order=8),
]


@pytest.mark.parametrize("how", FITS, ids=str)
def test_the_lamp_is_divided_out_and_the_response_stays(how):
    image, response, lit = flat(dispersion=how.dispersion)
    found = spectral_flat(image, None, np.ones(image.shape, bool), how)
    np.testing.assert_array_equal(found.lit, lit)
    np.testing.assert_allclose(found.data[lit], response[lit], rtol=0.01)
    assert np.median(found.data[lit]) == pytest.approx(1, abs=1e-9)
    assert not found.bad.any()
    assert found.lamp.shape == (ROWS,)


@pytest.mark.parametrize("how", FITS, ids=str)
def test_the_curve_does_not_drop_at_the_ends(how):
    """A lamp that is smoothed before it is fitted falls there, and the response rises."""
    image, response, lit = flat(noise=1, dispersion=how.dispersion)
    found = spectral_flat(image, None, np.ones(image.shape, bool), how)
    ratio = np.where(lit, found.data / np.where(lit, response, 1), np.nan)
    along = np.nanmedian(ratio, axis=1 if how.dispersion == "y" else 0)
    for end in (along[:6], along[-6:]):
        assert abs(np.median(end) - 1) < 0.012
    assert np.abs(along[20:-20] - 1).max() < 0.02


@pytest.mark.parametrize("how", FITS[:3:2], ids=str)
def test_the_curve_is_that_of_the_lamp(how):
    curve = lamp_curve(lamp(), how)
    np.testing.assert_allclose(curve, lamp(), rtol=0.02)
    assert (curve > 0).all()


def test_a_lamp_that_spans_four_decades_is_followed():
    steep = 10 ** np.linspace(0, 4, 500)
    np.testing.assert_allclose(lamp_curve(steep, FITS[0]), steep, rtol=1e-3)


@pytest.mark.parametrize("how", FITS[:3:2], ids=str)
def test_points_that_stand_apart_do_not_pull_the_curve(how):
    dirty = lamp()
    dirty[100:103] *= 20
    dirty[200] = 0
    dirty[210] = -5
    dirty[220] = np.nan
    np.testing.assert_allclose(lamp_curve(dirty, how), lamp_curve(lamp(), how), rtol=0.02)


def test_a_lamp_without_noise_keeps_all_its_points():
    place = np.linspace(-1, 1, 100)
    how = SpectralFlat(dispersion="y", fit="polynomial", order=3)
    np.testing.assert_allclose(lamp_curve(np.exp(1 + place), how), np.exp(1 + place), rtol=1e-10)


# What is lit.


@pytest.mark.parametrize("dispersion", ["x", "y"])
def test_the_unlit_part_of_the_slit_is_told_by_its_light(dispersion):
    image, _, lit = flat(noise=1, dispersion=dispersion)
    how = SpectralFlat(dispersion=dispersion)
    slit = illuminated(image, how)
    axis = 0 if dispersion == "y" else 1
    np.testing.assert_array_equal(slit, lit.all(axis=axis))
    image = image.copy()
    image[(slice(None), slice(30, 33)) if dispersion == "y" else (slice(30, 33),)] = np.nan
    slit = illuminated(image, how)
    assert not slit[30:33].any()
    assert slit.sum() == 41


def test_the_limit_is_that_of_the_recipe():
    image = np.ones((50, 10)) * 1000
    image[:, 2] = 400
    image[:, 5] = 700
    for limit, dark in ((0.5, [2]), (0.8, [2, 5]), (0.3, [])):
        slit = illuminated(image, SpectralFlat(dispersion="y", illuminated=limit))
        assert np.flatnonzero(~slit).tolist() == dark


def test_a_single_bright_line_does_not_make_the_slit_dark():
    image = np.ones((50, 40)) * 1000
    image[:, 7] = 60000
    assert illuminated(image, SpectralFlat(dispersion="y")).all()


# Bad pixels.


def test_pixels_that_stand_apart_are_bad():
    image, _, lit = flat(noise=1)
    image[150, 20] *= 0.4
    image[200, 30] *= 3
    found = spectral_flat(image, np.abs(image) + 1, np.ones(image.shape, bool), FITS[0])
    assert np.argwhere(found.bad).tolist() == [[150, 20], [200, 30]]
    assert lit[150, 20]


def test_pixels_that_are_bad_already_take_no_part_and_are_not_told_twice():
    image, response, lit = flat()
    good = np.ones(image.shape, bool)
    image[100:140, 25] = 1e6
    good[100:140, 25] = False
    image[50, 50] = np.nan
    good[50, 50] = False
    found = spectral_flat(image, None, good, FITS[0])
    assert not found.bad.any()
    use = lit & good
    np.testing.assert_allclose(found.data[use], response[use], rtol=0.01)


def test_noise_alone_makes_no_pixel_bad():
    """In the blue the lamp is faint and its pixels scatter, which is no fault of theirs."""
    image, _, _ = flat(noise=1, steep=6.0)
    variance = np.maximum(image, 1)
    found = spectral_flat(image, variance, np.ones(image.shape, bool), FITS[0])
    assert found.bad.sum() == 0


# Too little light.


@pytest.mark.parametrize("how", [FITS[0], FITS[2]], ids=str)
def test_too_few_lit_points_are_refused(how):
    values = np.full(40, -1.0)
    values[:5] = 100
    with pytest.raises(ValueError, match="lit points are too few"):
        lamp_curve(values, how)


@pytest.mark.parametrize("how", [FITS[0], FITS[2]], ids=str)
@pytest.mark.parametrize("dark", [0.0, -3.0, np.nan])
def test_a_flat_without_light_is_refused(how, dark):
    image = np.full((60, 30), dark)
    with pytest.raises(
        ValueError, match=r"lit points are too few|no part of the slit is illuminated"
    ):
        spectral_flat(image, None, np.isfinite(image), how)


def test_a_gap_wider_than_a_piece_of_the_spline_is_refused():
    values = lamp()
    values[100:200] = np.nan
    with pytest.raises(ValueError, match="the lit points are too few for a spline of 12 pieces"):
        lamp_curve(values, FITS[0])


def test_what_is_given_is_left_as_it_was():
    image, _, _ = flat()
    before = image.copy()
    spectral_flat(image, None, np.ones(image.shape, bool), FITS[0])
    np.testing.assert_array_equal(image, before)


def test_points_that_do_not_determine_a_polynomial_are_refused_without_a_warning():
    """Numpy would warn that the fit is poorly conditioned, and hand a curve on."""
    lamp = np.full(300, np.nan)
    lamp[:68] = 1e4
    how = SpectralFlat(dispersion="x", fit="polynomial", order=60)
    with pytest.raises(ValueError, match="68 lit points lie too close together for degree 60"):
        lamp_curve(lamp, how)


def test_a_curve_far_from_all_points_stays_a_number():
    lamp = np.full(2000, np.nan)
    lamp[:300] = 1e4 * np.exp(np.random.default_rng(1).normal(0, 0.3, 300))
    curve = lamp_curve(lamp, SpectralFlat(dispersion="x", fit="polynomial", order=7))
    assert np.isfinite(curve).all()
    assert (curve > 0).all()
