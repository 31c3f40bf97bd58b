"""The noise of medians, and of darks from the darks themselves."""

import numpy as np
import pytest

from ccdprofiles.pixels.noise import median_variance, offset_variance_factor, pooled_scatter


def scatter_of(stack):
    """All values, and those within five mad_std, which a cosmic ray does not reach."""
    centre = np.median(stack, axis=0)
    reach = 5 * 1.4826 * np.median(np.abs(stack - centre), axis=0)
    near = np.ma.masked_array(stack, np.abs(stack - centre) > reach)
    return np.stack([stack.var(axis=0, ddof=1), near.var(axis=0, ddof=1).filled(0)])


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5, 6, 10, 15, 25, 61])
def test_the_variance_of_a_median_is_what_chance_makes_it(number):
    values = np.random.default_rng(number).normal(0, 1, (number, 150_000))
    assert median_variance(number) == pytest.approx(np.median(values, axis=0).var(), rel=0.015)


def test_the_variance_of_a_median_of_many_is_pi_halves_of_the_mean():
    assert median_variance(10_000) * 10_000 == pytest.approx(np.pi / 2, rel=1e-3)


@pytest.mark.parametrize("offsets", [[-1.0, 0, 1.0], [-3.0, -1, 0, 1, 3], [0.0, 0, 0, 5]])
def test_frames_scaled_a_little_apart_make_a_noisier_median(offsets):
    """The offsets are the same for all pixels, so only the noise about them counts."""
    offsets = np.array(offsets)
    values = offsets[:, np.newaxis] + np.random.default_rng(1).normal(0, 1, (len(offsets), 200_000))
    together = np.random.default_rng(1).normal(0, 1, values.shape)
    wanted = np.median(values, axis=0).var() / np.median(together, axis=0).var()
    found = offset_variance_factor(offsets, np.array([1.0]))
    assert found == pytest.approx(wanted, rel=0.2)


def test_frames_that_are_not_apart_cost_nothing():
    assert offset_variance_factor(np.zeros(5), np.array([1.0, 2.0])).tolist() == [1, 1]
    assert offset_variance_factor(np.array([-1e-6, 1e-6, 0]), np.array([1.0])) == pytest.approx(
        1, abs=1e-3
    )


@pytest.mark.parametrize("number", [3, 5, 15, 61])
def test_the_scatter_of_a_dark_is_read_noise_and_its_own_current(number):
    random = np.random.default_rng(number)
    current = random.gamma(2, 20, 20_000)
    stack = (
        500
        + random.poisson(current, (number, current.size))
        + random.normal(0, 6, (number, current.size))
    )
    found = pooled_scatter(stack.mean(axis=0), scatter_of(stack), number)
    wanted = 36 + current
    assert np.mean(found / wanted) == pytest.approx(1, abs=0.06)
    # One pixel is known far better than from its own few frames.
    assert np.std(found / wanted) < 0.6 * np.sqrt(2 / (number - 1))


def test_a_dark_without_current_has_one_scatter():
    random = np.random.default_rng(1)
    stack = random.normal(500, 6, (9, 60, 60))
    found = pooled_scatter(stack.mean(axis=0), scatter_of(stack), 9)
    assert np.median(found) == pytest.approx(36, rel=0.06)


def test_a_pixel_that_is_unsteady_keeps_its_own_scatter():
    random = np.random.default_rng(1)
    stack = random.normal(500, 6, (15, 40, 40))
    stack[:, 7, 7] = random.normal(500, 300, 15)
    found = pooled_scatter(stack.mean(axis=0), scatter_of(stack), 15)
    assert found[7, 7] > 1e4
    assert np.median(found) < 45


def test_a_cosmic_ray_in_one_dark_does_not_make_its_pixel_unsteady():
    random = np.random.default_rng(1)
    stack = random.normal(500, 6, (15, 40, 40))
    stack[3, 7, 7] = 1e5
    found = pooled_scatter(np.median(stack, axis=0), scatter_of(stack), 15)
    assert found[7, 7] < 100


def test_a_few_pixels_or_a_single_frame_keep_what_they_show():
    scatter = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(pooled_scatter(np.array([1.0, 2.0]), scatter, 5), scatter[1])
    many = np.stack([np.zeros((9, 9)), np.zeros((9, 9))])
    np.testing.assert_array_equal(pooled_scatter(np.zeros((9, 9)), many, 1), many[1])


def test_darks_that_are_all_equal_have_no_scatter():
    found = pooled_scatter(np.full((9, 9), 500.0), np.zeros((2, 9, 9)), 5)
    np.testing.assert_array_equal(found, 0)


def test_pixels_without_a_value_do_not_spoil_the_others():
    random = np.random.default_rng(1)
    stack = random.normal(500, 6, (9, 60, 60))
    signal, scatter = stack.mean(axis=0), scatter_of(stack)
    signal[3, 3] = np.nan
    scatter[:, 4, 4] = np.nan
    found = pooled_scatter(signal, scatter, 9)
    good = np.ones((60, 60), bool)
    good[3, 3] = good[4, 4] = False
    assert np.isfinite(found[good]).all()
    assert np.median(found[good]) == pytest.approx(36, rel=0.06)
