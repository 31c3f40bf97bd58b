"""The overscan: the level of each row, its noise, and its subtraction."""

import dataclasses

import numpy as np
import pytest
from astropy import units as u
from astropy.modeling.models import (
    Chebyshev1D,
    Legendre1D,
    Logarithmic1D,
    Polynomial1D,
    PowerLaw1D,
    custom_model,
)
from astropy.nddata import CCDData

from ccdprofiles import Amplifier, Profile, Recipe
from ccdprofiles.errors import FrameRejected
from ccdprofiles.pixels.overscan import overscan_levels, overscan_noise, subtract_overscan


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_each_row_loses_its_own_level(dtype):
    random = np.random.default_rng(1)
    data = np.round(random.normal(1300, 20, (9, 40))).astype(dtype)
    levels = np.round(random.normal(1000, 5, 9)).astype(dtype)
    before = data.copy(), levels.copy()
    result = subtract_overscan(CCDData(data, unit=u.electron), levels)
    np.testing.assert_array_equal(result.data, data - levels[:, np.newaxis])
    assert (result.data.dtype, result.unit, dict(result.meta)) == (data.dtype, u.electron, {})
    np.testing.assert_array_equal(data, before[0])
    np.testing.assert_array_equal(levels, before[1])


@pytest.mark.parametrize("how", ["median", "mean"])
@pytest.mark.parametrize("width", [1, 2, 3, 10, 25])
def test_levels_are_those_of_numpy(how, width):
    strip = np.random.default_rng(width).integers(900, 1100, (50, width)).astype("f4")
    wanted = getattr(np, how)(strip.astype("f8"), axis=1)
    found = overscan_levels(strip, how)[0]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


@pytest.mark.parametrize("how", ["median", "mean"])
def test_nan_in_the_overscan_counts_as_no_value(how):
    strip = np.array([[1, 2, 3], [1, np.nan, 5], [np.nan, np.inf, 9]], "f4")
    np.testing.assert_array_equal(overscan_levels(strip, how)[0], [2, 3, 9])


def test_one_level_a_frame_has_a_word_of_its_own():
    random = np.random.default_rng(4)
    strip = random.normal(1000, 5, (64, 25)).astype("f4")
    strip[7] += 400  # light of its own
    found = overscan_levels(strip, "level")[0]
    assert np.array_equal(found, overscan_levels(strip, Polynomial1D(0))[0])
    assert len(set(found)) == 1
    assert abs(found[0] - 1000) < 2


@pytest.mark.parametrize("model", [Polynomial1D(2), Chebyshev1D(3)])
def test_a_model_follows_the_rows_and_rejects_what_stands_apart(model):
    rows = np.arange(200.0)
    wanted = 1000 + 0.1 * rows - 3e-4 * rows**2
    strip = np.random.default_rng(1).normal(wanted[:, np.newaxis], 1, (200, 15)).astype("f4")
    strip[40:44] += 5000
    found = overscan_levels(strip, model)[0]
    assert np.abs(found - wanted).max() < 0.5
    np.testing.assert_array_equal(model.parameters, type(model)(model.degree).parameters)


def test_a_model_of_high_degree_is_well_conditioned():
    strip = np.random.default_rng(1).normal(1000, 1, (4128, 9)).astype("f4")
    found = overscan_levels(strip, Polynomial1D(12))[0]
    assert np.abs(found - 1000).max() < 1


@pytest.mark.parametrize(
    "model",
    [
        Chebyshev1D(6, domain=(1, 4128)),
        Chebyshev1D(6, domain=(0, 2000)),
        Legendre1D(6, domain=[-500, 500]),
    ],
)
def test_the_domain_of_a_polynomial_is_that_of_the_rows(model):
    """Over other rows than those of the strip it would be poorly conditioned."""
    strip = np.repeat(np.linspace(100, 140, 80)[:, np.newaxis] ** 1.2, 5, axis=1).astype("f4")
    np.testing.assert_allclose(overscan_levels(strip, model)[0], strip[:, 0], atol=0.01)


@pytest.mark.parametrize(
    "model", [PowerLaw1D(), Logarithmic1D()], ids=lambda model: type(model).__name__
)
def test_a_model_that_cannot_be_fitted_sets_the_frame_aside_without_a_warning(model):
    strip = np.random.default_rng(1).normal(300, 4, (200, 8)).astype("f4")
    with pytest.raises(FrameRejected, match=r"cannot be fitted by \w+ \(.*\); use") as refused:
        overscan_levels(strip, model)
    assert refused.value.code == "overscan"
    assert "\n" not in str(refused.value)


def test_a_model_that_cannot_be_fitted_is_called_by_its_own_name_or_that_of_its_class():
    strip = np.random.default_rng(1).normal(300, 4, (200, 8)).astype("f4")
    for model, called in ((PowerLaw1D(), "PowerLaw1D"), (PowerLaw1D(name="drift"), "drift")):
        with pytest.raises(FrameRejected, match=f"cannot be fitted by {called} "):
            overscan_levels(strip, model)


@pytest.mark.parametrize("rows", [1, 2, 12])
def test_a_model_counts_the_rows_from_minus_one_to_one(rows):
    places = []

    @custom_model
    def drift(row, level=1000.0):
        places.append(row)
        return np.full(np.shape(row), level)

    found = overscan_levels(np.full((rows, 5), 1004, "f4"), drift())[0]
    np.testing.assert_allclose(found, 1004)
    np.testing.assert_allclose(places[-1], np.linspace(-1, 1, rows))


def test_the_noise_of_a_level_is_that_of_its_estimate():
    amplifier = Amplifier(data="[1:20, 1:12]", overscan="[21:27, 1:12]")
    profile = Profile(instrument="X", name="x", amplifiers=[amplifier], recipe=Recipe())
    (readout,) = profile.amplifiers_of({}, {None: (12, 27)}).readouts
    assert overscan_noise(readout, "mean") == 1 / 7
    strips = np.random.default_rng(1).normal(0, 1, (200_000, 7)).astype("f4")
    assert overscan_noise(readout, "median") == pytest.approx(
        overscan_levels(strips, "median")[0].var(), rel=0.02
    )
    assert overscan_noise(readout, Polynomial1D(1)) == 0
    assert overscan_noise(readout, "level") == 0
    assert overscan_noise(dataclasses.replace(readout, overscan=None), "mean") == 0


@pytest.mark.parametrize(("how", "limit"), [("mean", 0.01), ("median", 0.02)])
def test_the_noise_of_two_levels_is_that_of_their_estimates(how, limit):
    """The level of a row, then that of a column less those of the rows of its strip."""
    amplifier = Amplifier(
        data="[1:20, 1:12]",
        overscan=("[21:24, 1:12]", "[26:28, 1:12]"),
        parallel_overscan="[1:20, 14:18]",
    )
    profile = Profile(
        instrument="X", name="x", amplifiers=[amplifier], recipe=Recipe(), frame_size=(28, 18)
    )
    (readout,) = profile.amplifiers_of({}, {None: (18, 28)}).readouts
    random = np.random.default_rng(1)
    # A row of data above five of overscan, and a column of data beside seven of overscan.
    frames = random.normal(0, 1, (200_000, 6, 8)).astype("f4")
    rows = overscan_levels(frames[..., 1:].reshape(-1, 7), how)[0].reshape(-1, 6)
    columns = overscan_levels(frames[:, 1:, 0] - rows[:, 1:], how)[0]
    found = (frames[:, 0, 0] - rows[:, 0] - columns).var()
    assert 1 + overscan_noise(readout, how) == pytest.approx(found, rel=limit)


def test_the_noise_of_the_level_of_a_column():
    amplifier = Amplifier(data="[1:20, 1:12]", overscan=("[1:20, 14:16]", "[1:20, 18:20]"))
    profile = Profile(instrument="X", name="x", amplifiers=[amplifier], recipe=Recipe())
    (readout,) = profile.amplifiers_of({}, {None: (20, 20)}).readouts
    assert overscan_noise(readout, "mean") == 1 / 6
