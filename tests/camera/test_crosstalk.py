"""Matrices of crosstalk: how they are given, and what cannot be one."""

import numpy as np
import pytest

from ccdprofiles import Recipe
from ccdprofiles.camera.crosstalk import crosstalk_matrix
from ccdprofiles.errors import ProfileError


def test_a_dict_and_a_matrix_are_the_same(tmp_path):
    wanted = [[0, 1e-3], [2e-3, 0]]
    names = ["A", "B"]
    for value in ({"A": {"B": 1e-3}, "B": {"A": 2e-3}}, wanted):
        recipe = Recipe(crosstalk=value)
        np.testing.assert_array_equal(crosstalk_matrix(recipe.crosstalk, names, tmp_path), wanted)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (3, "crosstalk=3 is not a matrix; use {'victim': {'aggressor': 1e-3}}, a square matrix in the order of the amplifiers, or the name of a table."),
        ([[0, 1e-3]], "crosstalk=[[0, 0.001]] is not a matrix; use {'victim': {'aggressor': 1e-3}}, a square matrix in the order of the amplifiers, or the name of a table."),
        ("table.txt", "crosstalk='table.txt' is not the name of a table; use one that ends in .ecsv, beside the profile, with the columns victim, aggressor and fraction."),
        ({"A": {"B": 0.16}}, "crosstalk= has 0.16 for the amplifier 'A' from 'B', which is not a fraction between -0.1 and 0.1; use such as 1e-3 for 0.1 %."),
        ({"A": {"A": 1e-3}}, "crosstalk= has 0.001 for the amplifier 'A' from itself; use 0, or leave it out."),
        ([[0, 1e-3], [1e-3, 1e-4]], "crosstalk= has 0.0001 for the amplifier 2 from itself; use 0, or leave it out."),
    ],
)  # fmt: skip
def test_what_is_not_a_matrix_is_refused(value, sentence):
    with pytest.raises(ProfileError) as refusal:
        Recipe(crosstalk=value)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ((("C", "A", 1e-3),), "crosstalk= names the amplifier 'C', but the frame has 'A', 'B'; correct the name."),
        (((0,),), "crosstalk= is a matrix of 1 amplifiers, but the frame has 2; use one row and one column for each."),
    ],
)  # fmt: skip
def test_a_matrix_of_other_amplifiers_is_refused(value, sentence, tmp_path):
    with pytest.raises(ProfileError) as refusal:
        crosstalk_matrix(value, ["A", "B"], tmp_path)
    assert str(refusal.value) == sentence


def test_a_table_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "crosstalk.ecsv").write_text("victim aggressor\nA B\n")
    with pytest.raises(ProfileError, match=r"crosstalk.ecsv is not a table of the crosstalk"):
        crosstalk_matrix("crosstalk.ecsv", ["A", "B"], tmp_path)
