"""Curves of linearity: what they give, and what cannot be one."""

import numpy as np
import pytest
from astropy.modeling.models import Chebyshev1D, Polynomial1D

from ccdprofiles import Recipe
from ccdprofiles.camera.linearity import Curve, curves_of
from ccdprofiles.errors import ProfileError


def curve(value):
    return curves_of(value, ["", "right"], None)[1]


def test_a_polynomial_and_its_slope():
    counts = np.array([-5.0, 0, 100, 30_000, np.nan])
    linear, slope = curve(Polynomial1D(3, c1=1.01, c2=2e-6, c3=1e-12))(counts)
    np.testing.assert_allclose(linear, 1.01 * counts + 2e-6 * counts**2 + 1e-12 * counts**3)
    np.testing.assert_allclose(slope, 1.01 + 4e-6 * counts + 3e-12 * counts**2)


def test_a_polynomial_over_another_domain_is_the_same():
    model = Polynomial1D(2, c0=20_000, c1=20_500, c2=500, domain=(0, 40_000))
    plain = curve(Recipe(linearity=model).linearity)
    assert Recipe(linearity=model).linearity.domain == (-1, 1)
    counts = np.linspace(0, 40_000, 9)
    np.testing.assert_allclose(plain(counts)[0], model(counts), atol=1e-6)


def test_a_table_is_interpolated_and_its_ends_are_continued():
    table = curve(((0, 0), (1000, 1000), (2000, 2100)))
    linear, slope = table(np.array([-10.0, 500, 1000, 1500, 3000]))
    np.testing.assert_allclose(linear, [-10, 500, 1000, 1550, 3200])
    np.testing.assert_allclose(slope, [1, 1, 1.1, 1.1, 1.1])
    assert table.end == 2000
    assert Curve(coefficients=(0, 1)).end == np.inf


def test_float32_stays_float32():
    for value in (Polynomial1D(1, c1=1), ((0, 0), (1, 1))):
        linear, slope = curve(value)(np.ones(3, "f4"))
        assert linear.dtype == slope.dtype == np.float32


def test_amplifiers_have_curves_of_their_own():
    both = {"": ((0, 0), (1, 1)), "right": ((0, 0), (1, 2))}
    left, right = curves_of(both, ["", "right"], None)
    assert (left.linear, right.linear) == ((0, 1), (0, 2))


def test_lists_become_tuples_so_that_a_recipe_does_not_change():
    assert Recipe(linearity=[[0, 0], [1, 1.1]]).linearity == ((0, 0), (1, 1.1))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (3, "linearity=3 is not a curve; use Polynomial1D(...) of the raw counts in adu, pairs ((0, 0), (raw, linear), …), or the name of a table."),
        (((0, 0), 1), "linearity=((0, 0), 1) is not a curve; use Polynomial1D(...) of the raw counts in adu, pairs ((0, 0), (raw, linear), …), or the name of a table."),
        ("table.txt", "linearity='table.txt' is not the name of a table; use one that ends in .ecsv, beside the profile, with the columns raw and linear, in adu, and amplifier if they differ."),
        (((0, 0),), "linearity=((0, 0),) does not begin at (0, 0), or has one point only; use the raw counts above the bias and the linear counts, both in adu."),
        (((1, 1), (2, 2)), "linearity=((1, 1), (2, 2)) does not begin at (0, 0), or has one point only; use the raw counts above the bias and the linear counts, both in adu."),
        (((0, 0), (2, 2), (1, 3)), "linearity=: the raw counts (0.0, 2.0, 1.0) do not increase from point to point; correct the table."),
        (((0, 0), (1, 2), (2, 1)), "linearity=: the linear counts (0.0, 2.0, 1.0) do not increase from point to point; correct the table."),
        (Chebyshev1D(2), "linearity=Chebyshev1D(...) is not a Polynomial1D; use one, or a table of pairs."),
        (Polynomial1D(1, c0=3, c1=1), "linearity=Polynomial1D(c0=3, …) does not leave 0 adu at 0 adu; set c0=0, because the bias is subtracted before."),
        (Polynomial1D(2, c1=1, c2=-1e-5), "linearity=Polynomial1D(...) does not increase everywhere between 0 and 65535 adu; use another degree, or a table of pairs."),
        ({}, "linearity={} does not name amplifiers; use {'left': …, 'right': …}."),
    ],
)  # fmt: skip
def test_what_is_not_a_curve_is_refused(value, sentence):
    with pytest.raises(ProfileError) as refusal:
        Recipe(linearity=value)
    assert str(refusal.value) == sentence


def test_a_table_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "linearity.ecsv").write_text("raw linear\n0 0\n")
    with pytest.raises(ProfileError, match=r"linearity.ecsv is not a table of the linearity"):
        curves_of("linearity.ecsv", [""], tmp_path)
