"""Masters: what their flags say."""

import by_hand
import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles import Combine, Flat


def test_a_sum_of_arcs_is_saturated_where_one_of_them_is(tmp_path):
    by_hand.write_some(tmp_path / "raw", "bias", 2, 100)
    for n in range(3):
        data = by_hand.pixels(60000, n)
        data[4, 4] = 65535 if n == 0 else 60000
        by_hand.write(tmp_path / f"raw/arc{n}.fits", "arc", data, 10.0)
    made = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=by_hand.camera())
    flags = fits.getdata(by_hand.only(made.masters, "arc"), "DQ")
    assert flags[4, 4] == by_hand.SATURATED
    assert np.count_nonzero(flags) == 1


@pytest.mark.parametrize("clip", [None, 5])
def test_an_average_is_saturated_where_one_frame_is_unless_it_is_clipped(tmp_path, clip):
    by_hand.write_some(tmp_path / "raw", "bias", 2, 100)
    for n, level in enumerate((20000, 30000, 40000, 60000, 20100)):
        data = by_hand.pixels(level, n, noise=level**0.5)
        data[4, 4] = min(1.3 * level, 65535)
        by_hand.write(tmp_path / f"raw/flat{n}.fits", "flat", data, 3.0)
    profile = by_hand.camera(flat=Flat(), combine=Combine(method="average", clip=clip))
    made = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    path = by_hand.only(made.masters, "flat")
    flagged = fits.getdata(path, "DQ")[4, 4] & by_hand.SATURATED
    assert flagged == (by_hand.SATURATED if clip is None else 0)
    assert fits.getdata(path)[4, 4] == pytest.approx(1 if clip is None else 1.3, abs=0.01)


def test_one_missing_pixel_does_not_switch_hot_pixels_off(tmp_path):
    by_hand.write_some(tmp_path / "raw", "bias", 2, 100)
    for n in range(3):
        data = by_hand.pixels(150, n).astype("f4")
        data[5, 5], data[3, 3] = 5000, np.nan
        by_hand.write(tmp_path / f"raw/dark{n}.fits", "dark", data, 10.0)
    by_hand.write(tmp_path / "raw/s.fits", "light", 600, 10.0)
    made = by_hand.reduce_night(
        tmp_path / "raw", tmp_path / "out", profile=by_hand.camera(dark="match")
    )
    flags = fits.getdata(by_hand.only(made.masters, "dark"), "DQ")
    assert (flags[5, 5], flags[3, 3]) == (by_hand.HOT, by_hand.NO_DATA)


def test_what_a_bias_has_no_data_for_is_handed_on(tmp_path):
    for n in range(2):
        data = by_hand.pixels(1000, n).astype("f4")
        data[3, 3] = np.nan
        by_hand.write(tmp_path / f"raw/bias{n}.fits", "bias", data)
    by_hand.write_some(tmp_path / "raw", "dark", 3, 1010, 10.0)
    by_hand.write_some(tmp_path / "raw", "flat", 3, 5000, 10.0)
    by_hand.write(tmp_path / "raw/s.fits", "light", 1600, 10.0)
    profile = by_hand.camera(dark="match", flat=Flat())
    made = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    assert made.ok
    for name, path in (made.masters | made.products).items():
        flags = fits.getdata(path, "DQ")
        assert flags[3, 3] & by_hand.NO_DATA, name
        assert not flags[3, 3] & by_hand.HOT, name
        assert np.count_nonzero(flags) == 1, name
        assert np.isfinite(fits.getdata(path)).all(), name
        assert np.isfinite(fits.getdata(path, "UNCERT")).all(), name
