"""Medians are those of numpy; a mode is the highest point of its distribution."""

import numpy as np
import pytest
from astropy.stats import mad_std
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ccdprofiles.pixels.statistics import (
    MAD_TO_STD,
    exact_median,
    level,
    lower_median,
    median,
    mode,
    nanmedian,
)


@pytest.mark.parametrize("number", [1, 2, 3, 8, 1000, 1001])
def test_the_middle_is_the_median_to_the_last_bit(number):
    random = np.random.default_rng(number)
    for values in (random.normal(0, 1, number), random.integers(-9, 9, number) / 3):
        given = values.copy()
        assert median(values) == np.median(values)
        np.testing.assert_array_equal(values, given)
        assert median(values, overwrite=True) == np.median(given)
    assert not np.signbit(median(np.full(number, -0.0)))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([99_999, 100_000, 100_001, 150_000]),
    st.integers(0, 2**32),
    st.sampled_from(["normal", "integers", "two", "sorted", "equal"]),
    st.sampled_from(["f4", "f8"]),
)
def test_the_exact_median_is_that_of_numpy(size, seed, kind, dtype):
    random = np.random.default_rng(seed)
    values = {
        "normal": lambda: random.normal(0, 1, size),
        "integers": lambda: random.integers(0, 9, size),
        "two": lambda: random.integers(0, 2, size) * 1000,
        "sorted": lambda: np.sort(random.gamma(2, 1, size)),
        "equal": lambda: np.full(size, 3),
    }[kind]().astype(dtype)
    before = values.copy()
    assert exact_median(values) == pytest.approx(float(np.median(values.astype("f8"))), rel=1e-12)
    np.testing.assert_array_equal(values, before)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("size", [1000, 99_999, 100_001, 300_000])
def test_the_median_of_distances_needs_no_second_image(size, dtype):
    values = np.random.default_rng(size).normal(1000, 30, size).astype(dtype)
    about = exact_median(values)
    distances = np.abs(values - values.dtype.type(about)).astype("f8")
    assert exact_median(values, about=about) == np.median(distances)


@given(hnp.arrays(np.float64, st.integers(1, 50), elements=st.floats(-1e9, 1e9)))
def test_the_exact_median_of_few_values_is_that_of_numpy(values):
    assert exact_median(values) == np.median(values)


def test_the_median_does_not_trust_its_sample():
    """Every value that the sample sees lies on one side."""
    values = np.zeros(200_000)
    values[::10] = 5
    assert exact_median(values) == 0
    values = np.arange(200_000.0)
    values[::10] = 1e9
    assert exact_median(values) == np.median(values)


def test_the_mode_of_a_skewed_distribution_is_its_highest_point():
    random = np.random.default_rng(1)
    found = [mode(random.gamma(9, 100, 50_000)) for _ in range(20)]
    assert np.mean(found) == pytest.approx(800, abs=10)
    assert np.std(found) < 30


def test_the_mode_does_not_depend_on_order_ties_or_scale():
    random = np.random.default_rng(2)
    values = random.gamma(9, 100, 50_000)
    found = mode(values)
    assert mode(random.permutation(values)) == found
    assert mode(values.reshape(500, 100)) == found
    assert mode(np.round(values)) == pytest.approx(found, rel=0.01)
    assert mode(values * 1000) == pytest.approx(found * 1000, rel=1e-9)
    assert mode(values + 5000) == pytest.approx(found + 5000, abs=2)


def test_the_mode_is_not_moved_by_a_few_stars():
    random = np.random.default_rng(3)
    values = random.normal(1000, 10, 50_000)
    values[:500] = 60_000
    assert mode(values) == pytest.approx(1000, abs=2)


@pytest.mark.parametrize("values", [[5.0], [5.0] * 40, [5.0, 5.0, 5.0, 9.0]])
def test_the_mode_of_equal_values_is_that_value(values):
    assert mode(values) == 5


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.float64, st.integers(1, 200), elements=st.floats(-1e5, 1e5)))
def test_the_mode_lies_among_the_values(values):
    found = mode(values)
    reach = (values.max() - values.min()) + 1e-9
    assert values.min() - 0.1 * reach <= found <= values.max() + 0.1 * reach


def test_a_level_is_what_the_recipe_calls_it():
    values = np.array([[1.0, 2, 3], [4, 5, 100]], "f4")
    assert level(values, "mean") == pytest.approx(115 / 6)
    assert level(values, "median") == 3.5
    assert level(values, "mode") == mode(values)


def test_the_lower_median_is_one_of_the_values():
    assert lower_median(np.array([4.0, 1.0, 3.0, 2.0])) == 2
    assert lower_median(np.array([3.0, 1.0, 2.0])) == 2
    assert lower_median(np.array([7.0], "f4")) == 7


@pytest.mark.filterwarnings("ignore:All-NaN slice")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("shape", [(1, 9), (8, 30), (31, 7)])
def test_the_median_without_nan_is_that_of_numpy_to_the_last_bit(shape, axis, dtype):
    random = np.random.default_rng(shape[0])
    values = random.normal(1000, 10, shape).astype(dtype)
    values[random.random(shape) < 0.3] = np.nan
    values[0] = np.nan
    before = values.copy()
    result = nanmedian(values, axis)
    np.testing.assert_array_equal(result, np.nanmedian(values, axis=axis))
    np.testing.assert_array_equal(values, before)
    assert result.dtype == values.dtype


def test_the_factor_is_that_of_mad_std():
    values = np.random.default_rng(1).normal(0, 1, 999)
    deviation = np.median(np.abs(values - np.median(values)))
    assert mad_std(values) == pytest.approx(MAD_TO_STD * deviation, rel=1e-14)
