"""Rows of the overscan that are contaminated by light are replaced, and no others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdprofiles.pixels.lit_rows import replace_lit_rows


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 700),
    sigma=st.floats(0.01, 20),
    slope=st.floats(-0.2, 0.2),
    columns=st.sampled_from([1, 4, 25]),
)
def test_rows_without_light_keep_their_number_to_the_last_bit(seed, rows, sigma, slope, columns):
    strip = np.random.default_rng(seed).normal(1000, sigma, (rows, columns)).round()
    levels = np.median(strip, axis=1) + slope * np.arange(rows)
    found, n_lit_rows = replace_lit_rows(levels)
    assert n_lit_rows == 0
    assert found is levels or (found == levels).all()


def lit(where, light, rows=500):
    levels = np.random.default_rng(2).normal(1000, 0.5, rows) + 0.02 * np.arange(rows)
    shone = levels.copy()
    shone[where] += light
    return levels, shone


@pytest.mark.parametrize("light", [8, 100, 60000])
def test_rows_with_light_take_the_level_of_their_neighbours(light):
    where = slice(200, 230)
    levels, shone = lit(where, light)
    found, n_lit_rows = replace_lit_rows(shone)
    assert n_lit_rows == 30
    np.testing.assert_allclose(found[where], levels[where], atol=2)
    np.testing.assert_array_equal(np.delete(found, np.r_[where]), np.delete(levels, np.r_[where]))


@pytest.mark.parametrize("where", [slice(100, 320), slice(60, 440)])
def test_light_on_many_rows_leaves_the_level_between_its_sides(where):
    levels, shone = lit(where, 3000)
    found, n_lit_rows = replace_lit_rows(shone)
    assert n_lit_rows == where.stop - where.start
    np.testing.assert_allclose(found[where], levels[where], atol=3)
    np.testing.assert_array_equal(np.delete(found, np.r_[where]), np.delete(levels, np.r_[where]))


@pytest.mark.parametrize(
    "shape",
    [
        lambda row: 80 * np.exp(-row / 12),  # settles while the first rows are read
        lambda row: -80 * np.exp(-row / 12),
        lambda row: 60 * np.exp((row - 499) / 9),
        lambda row: np.where(row < 300, 0.0, 50.0),  # jumps
        lambda row: 0.2 * row,  # drifts
        lambda row: 40 * np.sin(row / 60),
        lambda row: 10 * np.sin(row / 14),
        lambda row: 10 * np.sin(row / 5),
        lambda row: np.where(row // 60 % 2, 10.0, 0.0),  # jumps to and fro
    ],
    ids=["settling", "falling", "rising", "jump", "drift", "wave", "swing", "hum", "telegraph"],
)
def test_a_pedestal_that_moves_is_no_light(shape):
    rows = np.random.default_rng(3).normal(1000, 0.5, 500) + shape(np.arange(500.0))
    found, n_lit_rows = replace_lit_rows(rows)
    assert n_lit_rows == 0
    assert found is rows


def test_light_is_told_while_a_pedestal_settles():
    levels, _ = lit(slice(0), 0)
    levels -= 80 * np.exp(-np.arange(500.0) / 12)
    shone = levels.copy()
    shone[300:304] += 200
    found, n_lit_rows = replace_lit_rows(shone)
    assert n_lit_rows == 4
    np.testing.assert_allclose(found, levels, atol=2)


@pytest.mark.parametrize("where", [slice(0, 6), slice(495, 500)])
def test_light_that_breaks_off_at_the_edge_is_light(where):
    levels, shone = lit(where, 5000)
    found, n_lit_rows = replace_lit_rows(shone)
    assert n_lit_rows == where.stop - where.start
    np.testing.assert_allclose(found, levels, atol=3)
