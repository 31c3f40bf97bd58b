"""A stack becomes one frame: held against NumPy, pixel by pixel."""

import numpy as np
import pytest
from astropy.stats import mad_std
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ccdprofiles import Combine
from ccdprofiles.pixels.combine import combine, variance_factor

METHODS = [
    Combine(method="average", clip=5),
    Combine(method="average", clip=1.5),
    Combine(method="average", clip=None),
    Combine(method="median", clip=None),
    Combine(method="median", clip=3),
    Combine(method="sum", clip=None),
    Combine(method="sum", clip=5),
]


def reference(stack, how):
    """Combine as the documentation says, slowly and in float64."""
    number = len(stack)
    shape = stack.shape[1:]
    data, kept = np.full(shape, np.nan), np.zeros(shape, int)
    for place in np.ndindex(shape):
        values = stack[(slice(None), *place)].astype("f8")
        values = values[np.isfinite(values)]
        if how.clip is not None and values.size:
            centre = np.median(values)
            # Only the last bit of the limit may differ from that of mad_std.
            values = values[np.abs(values - centre) <= how.clip * mad_std(values) * (1 + 1e-12)]
        kept[place] = values.size
        if values.size:
            if how.method == "median":
                data[place] = np.median(values)
            else:
                data[place] = values.mean() * (number if how.method == "sum" else 1)
    return data, kept


def compare(stack, how):
    before = stack.copy()
    found = combine(stack, how)
    data, kept = reference(stack, how)
    tolerance = 1e-6 if stack.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(found.data, data, rtol=tolerance, atol=1e-9)
    np.testing.assert_array_equal(np.broadcast_to(found.n_used, kept.shape), kept)
    np.testing.assert_array_equal(stack, before)
    assert found.data.dtype == stack.dtype


@pytest.mark.parametrize("how", METHODS, ids=str)
@pytest.mark.parametrize("number", [*range(1, 13), 16, 31, 33, 61, 64, 65, 255, 256, 257])
def test_any_number_of_frames_is_combined_as_numpy_would(number, how):
    random = np.random.default_rng(number)
    stack = random.normal(1000, 10, (number, 3, 7))
    stack[number // 2, 1, 1] = 5e4
    stack[0, 2, 2] = -5e4
    for dtype in ("f8", "f4"):
        compare(stack.astype(dtype), how)


@pytest.mark.parametrize("how", METHODS, ids=str)
@pytest.mark.parametrize("number", [2, 3, 5, 8, 15, 64, 66])
def test_nan_counts_as_no_value(number, how):
    random = np.random.default_rng(number)
    stack = random.normal(1000, 10, (number, 6, 9))
    stack[random.random(stack.shape) < 0.3] = np.nan
    stack[:, 0, 0] = np.nan
    stack[1:, 0, 1] = np.nan
    for dtype in ("f8", "f4"):
        compare(stack.astype(dtype), how)


@pytest.mark.parametrize("how", METHODS, ids=str)
@pytest.mark.parametrize("number", [3, 4, 7, 10, 65])
def test_ties_of_whole_numbers_are_kept(number, how):
    random = np.random.default_rng(number)
    stack = random.integers(0, 4, (number, 8, 9)).astype("f4")
    stack[0, 0] = 3
    compare(stack, how)


SCALED = [how for how in METHODS if how.method != "sum"]


@pytest.mark.parametrize("how", SCALED, ids=str)
@pytest.mark.parametrize("number", [1, 2, 5, 10, 61, 257])
def test_scaled_frames_are_combined_as_in_float64(number, how):
    """Float32 holds what is stacked exactly; what it makes of the scales decides nothing."""
    random = np.random.default_rng(number)
    stack = np.round(random.normal(20_000, 150, (number, 40, 50))) - 1000.25
    scales = 1 / random.uniform(5_000, 25_000, number)
    stack /= scales[:, np.newaxis, np.newaxis] / scales[0]
    stack = np.round(stack * 128) / 128
    # A value that lies at the limit of its pixel, or a rounding of float32 on either side.
    exact = stack * scales[:, np.newaxis, np.newaxis]
    if how.clip is not None and number > 2:
        for column, off in enumerate((-3e-8, -1e-9, 0, 1e-9, 3e-8)):
            values = exact[:, 7, column]
            centre, reach = np.median(values), how.clip * mad_std(values)
            values[np.argmax(values)] = centre + reach * (1 + off)
    stack = (exact / scales[:, np.newaxis, np.newaxis]).astype("f4")

    def values(where):
        return stack.reshape(number, -1)[:, where].astype("f8") * scales[:, np.newaxis]

    found = combine(
        stack, how, scales=scales, values=values, rounding=2**17 * 2**-22 * scales.max()
    )
    data, kept = reference(stack * scales[:, np.newaxis, np.newaxis], how)
    np.testing.assert_allclose(found.data, data, rtol=1e-13)
    np.testing.assert_array_equal(np.broadcast_to(found.n_used, kept.shape), kept)
    assert found.data.dtype == np.float64


@pytest.mark.parametrize("how", SCALED, ids=str)
def test_scaled_frames_of_float64_may_lack_values(how):
    random = np.random.default_rng(3)
    stack = random.normal(1000, 10, (7, 6, 9))
    stack[random.random(stack.shape) < 0.3] = np.nan
    scales = 1 / random.uniform(500, 2500, 7)
    found = combine(stack, how, scales=scales)
    data, kept = reference(stack * scales[:, np.newaxis, np.newaxis], how)
    np.testing.assert_allclose(found.data, data, rtol=1e-12)
    np.testing.assert_array_equal(np.broadcast_to(found.n_used, kept.shape), kept)


@pytest.mark.parametrize("method", ["average", "median", "sum"])
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("values", [[1, 3], [0, 1, 11, 12], [10, 11, 17, 18]])
def test_a_pixel_of_which_every_value_is_rejected_is_nan(method, missing, values):
    """The two middle values lie further from their mean than a clip of 0.5 allows."""
    stack = np.array([*values, *[np.nan] * missing], "f8")[:, np.newaxis, np.newaxis]
    compare(stack, Combine(method=method, clip=0.5))
    found = combine(stack, Combine(method=method, clip=0.5))
    assert np.isnan(found.data).all()
    assert (found.n_used == 0).all()


def test_equal_values_are_all_kept():
    """Their median deviation is 0, and nothing lies further than that."""
    found = combine(np.full((5, 2, 2), 7.0), Combine(clip=5))
    assert (found.data == 7).all()
    assert found.n_used == 5


def test_a_single_other_value_among_equal_ones_goes():
    stack = np.full((5, 1, 1), 7.0)
    stack[3] = 8
    found = combine(stack, Combine(clip=5))
    assert (found.data, found.n_used) == (7, 4)


@settings(max_examples=80, deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 12), st.integers(1, 3), st.integers(1, 4)),
        elements=st.one_of(
            st.floats(-1e6, 1e6, width=32), st.integers(-5, 5).map(float), st.just(np.nan)
        ),
    ),
    st.sampled_from(METHODS),
)
def test_whatever_the_values_are(stack, how):
    # Where rounding decides whether a value lies on the limit, either is right.
    if how.clip is not None:
        centre = (
            np.nanmedian(np.where(np.isfinite(stack), stack, np.nan), axis=0) if len(stack) else 0
        )
        deviation = np.nanmedian(np.abs(stack - centre), axis=0) * how.clip * 1.482602218505602
        edge = np.abs(np.abs(stack - centre) - deviation) < 1e-5 * (np.abs(stack) + deviation)
        if (edge & (deviation > 0)).any():
            return
    compare(stack, how)


test_whatever_the_values_are = pytest.mark.filterwarnings("ignore:All-NaN slice")(
    test_whatever_the_values_are
)


# What the clipping of ccdproc gets wrong.


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_flats_are_clipped_after_they_are_scaled(dtype):
    """Six twilight flats, 1 to 6 times as bright, a star in one: ccdproc leaves 1.333."""
    flats = np.array([n * np.ones((4, 4)) for n in range(1, 7)]) * 10000
    flats[2, 1, 1] *= 3
    scaled = (flats / np.array([f[0, 0] for f in flats])[:, np.newaxis, np.newaxis]).astype(dtype)
    found = combine(scaled, Combine(method="average", clip=5))
    np.testing.assert_array_equal(found.data, np.ones((4, 4)))
    assert found.n_used[1, 1] == 5
    assert found.n_used.sum() == 16 * 6 - 1


@pytest.mark.parametrize("number", range(3, 12))
def test_one_outlier_among_few_frames_goes(number):
    """A mean and a standard deviation cannot reject it among fewer than 11."""
    stack = np.random.default_rng(number).normal(100, 5, (number, 20, 20))
    stack[1, 5, 5] = 1e5
    found = combine(stack, Combine(clip=5))
    assert abs(found.data[5, 5] - 100) < 15


def test_a_value_among_masked_ones_is_judged_by_the_good_ones():
    """ccdproc lets masked pixels shift the centre, so that a cosmic ray stays."""
    stack = np.array([10.0, 11, 9, 10, 500, np.nan, np.nan, np.nan])[:, np.newaxis, np.newaxis]
    found = combine(stack, Combine(clip=5))
    assert (found.data, found.n_used) == (10, 4)


def test_a_sum_stands_for_all_frames_whatever_was_left_out():
    stack = np.full((4, 1, 2), 10.0)
    stack[1, 0, 0] = np.nan
    found = combine(stack, Combine(method="sum", clip=None))
    assert found.data.tolist() == [[40, 40]]
    assert found.n_used.tolist() == [[3, 4]]


def test_float32_is_summed_in_float64():
    stack = np.full((64, 1, 1), 16777216.0, "f4")
    stack[1::2] += 2
    found = combine(stack, Combine(clip=None))
    assert found.data == np.float32(16777217)


def test_a_pixel_without_a_value_is_nan_and_keeps_none():
    stack = np.ones((3, 1, 2))
    stack[:, 0, 0] = np.nan
    for how in METHODS:
        found = combine(stack, how)
        assert np.isnan(found.data[0, 0])
        assert found.n_used.tolist() == [[0, 3]]


def test_the_order_of_the_frames_does_not_matter():
    random = np.random.default_rng(5)
    stack = random.normal(1000, 10, (9, 30, 30)).astype("f4")
    stack[4, 3, 3] = 1e5
    for how in METHODS[:5]:
        first = combine(stack, how).data
        second = combine(stack[random.permutation(9)], how).data
        np.testing.assert_allclose(second, first, rtol=1e-7)


def test_tiles_do_not_show():
    stack = np.random.default_rng(1).normal(0, 1, (5, 3, 5000)).astype("f4")
    for how in METHODS:
        whole = combine(stack, how)
        parts = [combine(stack[:, :, a : a + 700], how).data for a in range(0, 5000, 700)]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole.data)


# The scatter of the frames.


def test_the_scatter_is_the_variance_of_one_frame():
    random = np.random.default_rng(3)
    stack = random.normal(100, 7, (20, 60, 60))
    stack[4, 2, 2] = 1e5
    stack[5, 3, 3] = np.nan
    found = combine(stack, Combine(method="median", clip=None), scatter=True)
    assert found.scatter.shape == (2, 60, 60)
    every, near = found.scatter
    good = np.ones((60, 60), bool)
    good[2, 2] = good[3, 3] = False
    np.testing.assert_allclose(every[good], stack.var(axis=0, ddof=1)[good])
    assert every[3, 3] == pytest.approx(np.nanvar(stack[:, 3, 3], ddof=1))
    assert every[2, 2] > 1e8
    assert near[2, 2] == pytest.approx(np.delete(stack[:, 2, 2], 4).var(ddof=1))
    assert near.mean() == pytest.approx(49, rel=0.05)


def test_the_scatter_of_one_frame_is_none():
    found = combine(np.ones((1, 2, 2)), Combine(), scatter=True)
    assert (found.scatter == 0).all()


# How much noisier a clipped mean or a median is than a mean.


@pytest.mark.parametrize(
    ("number", "how"),
    [
        (3, Combine(clip=5)),
        (5, Combine(clip=5)),
        (10, Combine(clip=5)),
        (25, Combine(clip=5)),
        (5, Combine(clip=3)),
        (10, Combine(clip=None)),
        (7, Combine(method="median", clip=None)),
        (10, Combine(method="median", clip=None)),
        (2, Combine(method="median", clip=None)),
    ],
    ids=str,
)
def test_the_variance_of_a_combined_pixel_is_what_chance_makes_it(number, how):
    """Another seed, another noise and another level than those it is found from."""
    random = np.random.default_rng(77)
    stack = np.round(random.normal(1000, 9, (number, 200, 200)))
    found = combine(stack, how)
    kept = np.broadcast_to(found.n_used, found.data.shape)
    expected = np.mean(variance_factor(number, how) / kept) * (81 + 1 / 12)
    assert found.data.var() == pytest.approx(expected, rel=0.03)


def test_a_plain_mean_loses_nothing():
    assert variance_factor(10, Combine(clip=None)) == 1
    assert variance_factor(10, Combine(method="sum", clip=None)) == 1
    assert variance_factor(1, Combine(clip=5)) == variance_factor(2, Combine(clip=5)) == 1
    assert variance_factor(1, Combine(method="median", clip=None)) == pytest.approx(1, rel=0.01)
    assert variance_factor(50, Combine(method="median", clip=None)) == pytest.approx(
        np.pi / 2, rel=0.03
    )


# Levels.
