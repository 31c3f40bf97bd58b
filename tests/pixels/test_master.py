"""The arithmetic of masters, on arrays: the same for a night and for single steps."""

import numpy as np
import pytest

from ccdprofiles import Combine, Flat, SpectralFlat
from ccdprofiles.pixels.calibrate import HOT, Noise
from ccdprofiles.pixels.combine import Stacked, variance_factor
from ccdprofiles.pixels.master import (
    FlatGroup,
    blank,
    combined_flags,
    combined_variance,
    flag_hot,
    flat_level,
    flat_values,
    hot_limit,
    is_lit,
    scaled_variance,
)
from ccdprofiles.pixels.prepare import NO_DATA, NON_LINEAR, SATURATED
from ccdprofiles.products.band import Band

MEAN, CLIPPED = Combine(method="average", clip=None), Combine(method="average", clip=5)
SUM, MEDIAN = Combine(method="sum", clip=None), Combine(method="median", clip=None)


@pytest.mark.parametrize(
    ("how", "least"), [(MEAN, 1), (SUM, 1), (CLIPPED, 2), (MEDIAN, 2)], ids=str
)
@pytest.mark.parametrize("bit", [SATURATED, NON_LINEAR, SATURATED | NON_LINEAR])
def test_a_robust_master_is_saturated_where_half_of_its_frames_are(how, least, bit):
    flags = np.zeros((4, 1, 5), "u2")
    for times in range(5):
        flags[:times, 0, times] = bit
    flags = combined_flags(Stacked(np.ones((1, 5)), 4), how, 4, flags, [None])
    assert flags.dtype == "u2"
    assert flags.tolist() == [[bit * (times >= least) for times in range(5)]]


def test_a_master_has_no_data_where_no_value_was_used_and_where_its_bias_has_none():
    bias = Band(np.zeros((1, 3)), flags=np.array([[NO_DATA | HOT, HOT, 0]], "u2"))
    stacked = Stacked(np.ones((1, 3)), np.array([[3, 3, 0]]))
    assert combined_flags(stacked, MEAN, 3, None, [bias]).tolist() == [[NO_DATA, 0, NO_DATA]]


def test_the_variance_of_a_mean_is_that_of_one_frame_over_their_number():
    value, noise = np.array([[-3.0, 50]]), Noise(2.0, 9.0)
    of = {"how": MEAN, "number": 4, "n_used": np.array([[4, 2]])}
    variance = combined_variance("dark", value, noise, None, **of)
    assert variance == pytest.approx(np.array([[9 / 4, (50 / 2 + 9) / 2]]))
    assert combined_variance("bias", value, noise, None, **of) == pytest.approx(
        np.array([[9 / 4, 9 / 2]])
    )


def test_the_noise_of_a_common_bias_does_not_average_down():
    bias = Band(np.zeros((1, 1)), variance=np.full((1, 1), 0.7))
    value, noise = np.array([[400.0]]), Noise(2.0, 9.0)
    of = {"number": 4, "n_used": 4}
    mean = combined_variance("arc", value / 4, noise, bias, how=MEAN, **of)
    total = combined_variance("arc", value, noise, bias, how=SUM, **of)
    assert mean[0, 0] == pytest.approx((100 / 2 + 9) / 4 + 0.7)
    assert total == pytest.approx(16 * mean)


def test_scaled_flats_add_their_own_noise_and_that_of_their_masters():
    scales = np.array([0.1, 0.2])
    bias = Band(np.zeros((1, 1)), variance=np.full((1, 1), 0.5))
    variance = scaled_variance(
        np.array([[1000.0]]),
        Noise(2.0, 9.0),
        [FlatGroup([0.1, 0.2], bias, None, 1.0)],
        how=MEAN,
        scales=scales,
        offsets=np.ones(2),
        n_used=2,
        relative_gain=None,
        keeps_pedestal=False,
    )
    own = 1000 * 0.15 / 2 + (0.01 + 0.04) / 2 * 9
    assert variance[0, 0] == pytest.approx(variance_factor(2, MEAN) * own / 2 + 0.15**2 * 0.5)


def test_a_flat_that_keeps_its_pedestal_has_the_noise_of_its_darks():
    dark = Band(np.ones((1, 1)), np.full((1, 1), 2.0), scatter=np.full((1, 1), 8.0))
    variance = scaled_variance(
        np.array([[0.0]]),
        Noise(2.0, None),
        [FlatGroup([1.0], None, dark, 1.0)],
        how=MEAN,
        scales=np.ones(1),
        offsets=np.ones(1),
        n_used=1,
        relative_gain=None,
        keeps_pedestal=True,
    )
    assert variance[0, 0] == pytest.approx(8 + 2)


def test_an_unknown_gain_is_refused():
    with pytest.raises(ValueError, match="gain is not known"):
        combined_variance(
            "dark", np.ones((1, 1)), Noise(None, 1.0), None, how=MEAN, number=3, n_used=3
        )


def test_the_level_of_a_flat_counts_in_units_of_its_median():
    values = np.array([1.0, 2, 6])
    assert flat_level(values, "median") == (2, 1)
    assert flat_level(values, "mean") == (3, 1.5)


def test_a_flat_is_lit_if_its_level_is_above_the_noise_between_neighbours():
    values = np.random.default_rng(1).normal(0, 5, 1000)
    assert is_lit(7.0, values)
    assert not is_lit(3.0, values)


def test_only_the_slit_counts_in_a_spectral_flat():
    image = np.tile(np.where((np.arange(60) > 9) & (np.arange(60) < 50), 1000.0, 1.0), (80, 1))
    good = np.ones(image.shape, bool)
    good[0, 20] = False
    slit = flat_values(image, good, SpectralFlat(dispersion="y", fit="polynomial", order=3))
    assert slit.min() == 1000
    assert good.sum() == flat_values(image, good, Flat()).size == image.size - 1


def test_a_hot_pixel_stands_ten_standard_deviations_above_the_median():
    data = np.random.default_rng(2).normal(10, 1, (100, 100)).astype("f4")
    data[0, :4] = [18, 25, 25, np.inf]
    flags = np.zeros(data.shape, "u2")
    flags[0, 2] = NO_DATA
    limit = hot_limit(data[(flags == 0) & np.isfinite(data)])
    assert limit == pytest.approx(20, abs=0.5)
    hot = flag_hot(Band(data, None, flags), limit).flags
    assert np.argwhere(hot & HOT).tolist() == [[0, 1]]
    assert not (flags & HOT).any()


def test_nothing_is_hot_in_a_dark_without_data():
    assert hot_limit(np.ones(0)) == np.inf


def test_pixels_without_data_become_zero_in_a_copy():
    band = Band(np.ones((1, 2), "f4"), np.ones((1, 2), "f4"), np.array([[0, NO_DATA]], "u2"))
    done = blank(band)
    assert done.data.tolist() == done.variance.tolist() == [[1, 0]]
    assert band.data.tolist() == [[1, 1]]
