"""The parts of L.A.Cosmic, each against astroscrappy's own or against a plain definition."""

import numpy as np
import pytest
from astroscrappy import utils

from ccdprofiles.pixels.lacosmic.cleaning import REPLACEMENTS, Cleaner
from ccdprofiles.pixels.lacosmic.contrast import (
    Frame,
    fine_structure,
    laplacian_at,
    sharpness,
    significance,
)
from ccdprofiles.pixels.lacosmic.laplacian import laplacian, laplacian_with_edges
from ccdprofiles.pixels.lacosmic.median_filters import box_median, inner_median, separable_median
from ccdprofiles.pixels.lacosmic.options import Options
from ccdprofiles.pixels.lacosmic.places import (
    ROUND,
    dilated,
    grown_by_one,
    inside,
    near,
    square,
    union,
    windows,
)
from ccdprofiles.pixels.lacosmic.screening import bright_enough, quietest_blocks, screen

SHAPE = (50, 61)


@pytest.fixture
def image():
    random = np.random.default_rng(1)
    image = random.normal(200, 15, SHAPE).astype("f4")
    image[random.random(SHAPE) < 0.02] += 900
    return image


@pytest.fixture(params=[True, False], ids=["separable", "box"])
def frame(request, image):
    options = Options(sepmed=request.param)
    return Frame(image, image + options.readnoise**2, options)


def every(shape=SHAPE):
    return np.arange(shape[0] * shape[1])


def with_axis(image):
    return image[:, :, np.newaxis]


def whole(frame):
    """S, S' and F of the whole frame, by the filters of astroscrappy."""
    if frame.options.sepmed:
        noise, fine, wide = utils.sepmedfilt7, utils.sepmedfilt5, utils.sepmedfilt9
    else:
        noise, fine, wide = utils.medfilt5, utils.medfilt3, utils.medfilt7
    light = utils.rebin(np.maximum(utils.laplaceconvolve(utils.subsample(frame.image)), 0))
    sigma = np.sqrt(np.maximum(noise(frame.variance), np.float32(1e-5)))
    s = light / (2 * sigma)
    narrow = fine(frame.image)
    f = np.maximum((narrow - wide(narrow)) / sigma, np.float32(0.01))
    return light, s, s - noise(s), f


def test_contrast_of_single_pixels_is_that_of_the_whole_frame(frame):
    expected = whole(frame)
    functions = laplacian_at, significance, sharpness, fine_structure
    for function, image in zip(functions, expected, strict=True):
        np.testing.assert_allclose(
            function(frame, every()), image.reshape(-1), rtol=2e-6, atol=1e-5
        )


def test_the_laplacian_with_edges_agrees_inside_with_the_one_without(image):
    np.testing.assert_allclose(
        laplacian_with_edges(with_axis(image))[1:-1, 1:-1], laplacian(with_axis(image)), rtol=1e-5
    )


@pytest.mark.parametrize("size", [3, 5, 7, 9])
def test_medians_are_those_of_numpy(image, size):
    boxes = np.lib.stride_tricks.sliding_window_view(image, (size, size))
    medians = np.median(boxes, axis=(2, 3))
    np.testing.assert_array_equal(box_median(with_axis(image), size)[..., 0], medians)
    rows = np.median(np.lib.stride_tricks.sliding_window_view(image, size, axis=1), axis=2)
    both = np.median(np.lib.stride_tricks.sliding_window_view(rows, size, axis=0), axis=2)
    np.testing.assert_array_equal(separable_median(with_axis(image), size)[..., 0], both)
    filtered = inner_median(with_axis(image), box_median, size)[..., 0]
    half = size // 2
    np.testing.assert_array_equal(filtered[half:-half, half:-half], medians)
    np.testing.assert_array_equal(filtered[:half], image[:half])


def test_no_pixel_beyond_sigclip_is_screened_out(frame):
    s = significance(frame, every())
    margin = inside(every(), SHAPE, frame.options.edge)
    beyond = every()[margin & (s > frame.options.sigclip)]
    candidates = screen(frame, np.inf)
    assert beyond.size
    assert np.isin(beyond, candidates).all()
    assert candidates.size < every().size / 5
    assert bright_enough(frame, beyond, quietest_blocks(frame), None).all()
    assert screen(frame, candidates.size - 1) is None


def test_masked_pixels_are_no_candidates(frame):
    masked = np.random.default_rng(2).random(every().size) < 0.5
    part = Frame(frame.image, frame.variance, frame.options, masked=masked)
    candidates = screen(frame, np.inf)
    np.testing.assert_array_equal(screen(part, np.inf), candidates[~masked[candidates]])


# Places.


def test_windows_and_neighbours_are_those_of_the_image(image):
    pixels = np.array([5 * SHAPE[1] + 7, 30 * SHAPE[1] + 40])
    around = windows(image, pixels, 2)
    np.testing.assert_array_equal(around[..., 0], image[3:8, 5:10])
    np.testing.assert_array_equal(around[..., 1], image[28:33, 38:43])
    grown = np.zeros(SHAPE, bool)
    grown.reshape(-1)[dilated(pixels, square(1), SHAPE, 3)] = True
    expected = np.zeros(SHAPE, bool)
    expected.reshape(-1)[pixels] = True
    np.testing.assert_array_equal(grown, grown_by_one(expected))
    assert len(ROUND) == 21


def test_nothing_grows_over_an_edge():
    corner = np.array([0, SHAPE[1] - 1, SHAPE[1] * (SHAPE[0] - 1)])
    np.testing.assert_array_equal(dilated(corner, square(2), SHAPE, 3), corner)
    assert not inside(corner, SHAPE, 1).any()
    assert inside(corner, SHAPE, 0).all()
    np.testing.assert_array_equal(union(np.array([5, 2]), np.array([2, 9])), [2, 5, 9])


def test_all_pixels_within_a_block_are_near():
    changed = np.array([25 * SHAPE[1] + 30])
    row, column = np.divmod(every(), SHAPE[1])
    close = np.maximum(np.abs(row - 25), np.abs(column - 30)) <= 16
    is_near = near(changed, SHAPE)(every())
    assert is_near[close].all()
    assert not is_near.all()


# Replacement of hits.


@pytest.mark.parametrize(
    ("cleantype", "expected"), [("meanmask", 3.0), ("medmask", 2.0), ("idw", None)]
)
def test_hits_are_replaced_by_good_neighbours(cleantype, expected):
    values = np.zeros((25, 1), "f4")
    values[[11, 13, 7], 0] = 2, 2, 5
    good = values > 0
    value = REPLACEMENTS[cleantype](values, good)[0]
    assert value == pytest.approx(3.0 if expected is None else expected)


def test_a_hit_without_good_neighbours_takes_the_level_before_cleaning():
    image = np.full((20, 20), 100, "f4")
    image[:, ::2] = 90
    variance = image + 36
    image[8:13, 8:13] = 5000
    masked = np.zeros(400, bool)
    cleaner = Cleaner(image, variance, masked, "meanmask")
    block = np.flatnonzero(image == 5000)
    hits, changed = cleaner.clean(np.empty(0, np.intp), block)
    np.testing.assert_array_equal(hits, block)
    assert 10 * 20 + 10 in changed
    assert image[10, 10] == 100
    assert cleaner.flagged.sum() == 25
    # Cleaned once more, nothing changes.
    assert cleaner.clean(hits, block[:0])[1].size == 0
