"""The transformation between raw pixels and the detector, both ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccdprofiles.camera.pixel_map import PixelMap
from ccdprofiles.camera.section import Section


@st.composite
def maps(draw, largest_bin=4):
    """Any amplifier: where its data lie, its place on the detector, binning and flips."""
    size = draw(st.tuples(*[st.integers(1, 40)] * 2))
    binning = draw(st.tuples(*[st.integers(1, largest_bin)] * 2))
    raw, on = (draw(st.tuples(*[st.integers(1, 5000)] * 2)) for _ in range(2))
    partial = [draw(st.integers(0, by - 1)) for by in binning]  # the last bin may not be full
    data = Section(raw[0], raw[0] + size[0] - 1, raw[1], raw[1] + size[1] - 1)
    wide, tall = (n * by + rest for n, by, rest in zip(size, binning, partial, strict=True))
    place = Section(on[0], on[0] + wide - 1, on[1], on[1] + tall - 1)
    return PixelMap(data, place, binning, draw(st.tuples(st.booleans(), st.booleans())))


@given(maps(), st.floats(-10, 6000), st.floats(-10, 6000))
def test_there_and_back_is_where_one_began(pixel_map, column, row):
    assert pixel_map.to_raw(*pixel_map.to_detector(column, row)) == pytest.approx((column, row))
    assert pixel_map.to_detector(*pixel_map.to_raw(column, row)) == pytest.approx((column, row))


@given(maps())
def test_every_raw_pixel_covers_its_own_pixels_of_the_detector(pixel_map):
    """Against the plain way: the detector, flipped as it is read, and summed in blocks."""
    data, on, (x, y) = pixel_map.data, pixel_map.detector, pixel_map.binning
    columns = np.arange(on.first_column, on.last_column + 1)
    rows = np.arange(on.first_row, on.last_row + 1)
    columns = columns[::-1] if pixel_map.flipped[0] else columns
    rows = rows[::-1] if pixel_map.flipped[1] else rows
    columns = columns[: data.width * x].reshape(-1, x).mean(axis=1)
    rows = rows[: data.height * y].reshape(-1, y).mean(axis=1)
    raw_columns = np.arange(data.first_column, data.last_column + 1)
    found = pixel_map.to_detector(raw_columns, np.full(raw_columns.size, data.first_row))
    np.testing.assert_array_equal(found[0], columns)
    raw_rows = np.arange(data.first_row, data.last_row + 1)
    found = pixel_map.to_detector(np.full(raw_rows.size, data.first_column), raw_rows)
    np.testing.assert_array_equal(found[1], rows)


@given(maps(largest_bin=1), st.data())
def test_rows_of_the_frame_are_those_of_the_flipped_image(pixel_map, data):
    """Any band of rows, from 0, as `prepare` reads them."""
    on, raw = pixel_map.detector, pixel_map.data
    first = data.draw(st.integers(on.first_row - 1, on.last_row - 1))
    stop = data.draw(st.integers(first + 1, on.last_row))
    image = np.arange(raw.height * raw.width).reshape(raw.height, raw.width)
    whole = pixel_map.flip(image)
    rows = pixel_map.raw_rows(first, stop)
    part = image[rows.start - raw.first_row + 1 : rows.stop - raw.first_row + 1]
    wanted = whole[first - on.first_row + 1 : stop - on.first_row + 1]
    np.testing.assert_array_equal(pixel_map.flip(part), wanted)


@given(maps())
def test_a_flip_undoes_itself_and_stacks_too(pixel_map):
    image = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(pixel_map.flip(pixel_map.flip(image)), image)
    np.testing.assert_array_equal(pixel_map.flip(image)[1], pixel_map.flip(image[1]))
