"""Networks sort any values: it is enough that they sort all zeros and ones (Knuth 5.3.4)."""

from itertools import product

import numpy as np
import pytest

from ccdprofiles.pixels.sorting import median_network, sorting_network


def zeros_and_ones(number):
    if number <= 13:
        return np.array(list(product([0, 1], repeat=number)))
    return np.random.default_rng(number).integers(0, 2, (5000, number))


@pytest.mark.parametrize("number", [*range(1, 14), 25, 64, 81])
def test_the_network_sorts(number):
    values = zeros_and_ones(number)
    for low, high in sorting_network(number):
        assert low < high
        pair = values[:, [low, high]]
        values[:, low], values[:, high] = pair.min(axis=1), pair.max(axis=1)
    assert (np.diff(values, axis=1) >= 0).all()


@pytest.mark.parametrize("number", [1, 3, 5, 7, 9, 11, 13, 25, 49, 81])
def test_the_shorter_network_leaves_the_median_at_its_place(number):
    values = zeros_and_ones(number)
    median = np.median(values, axis=1)
    steps = median_network(number)
    assert len(steps) <= len(sorting_network(number))
    for i, j, low, high in steps:
        pair = values[:, [i, j]]
        # What is not needed is not computed, so nobody may read it.
        values[:, i] = pair.min(axis=1) if low else -9
        values[:, j] = pair.max(axis=1) if high else 9
    np.testing.assert_array_equal(values[:, number // 2], median)
