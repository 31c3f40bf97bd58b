"""One pass through a frame: what is measured, and what does not touch its pixels."""

import hashlib

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.modeling.models import Polynomial1D

from ccdprofiles import Amplifier, Profile, Recipe
from ccdprofiles.errors import FrameRejected
from ccdprofiles.files.raw import read_raw
from ccdprofiles.pixels.measure import measure, take_level
from ccdprofiles.pixels.prepare import prepare

ROWS, COLUMNS, STRIP = 300, 40, 10


def write(path, level=1000.0, seed=1):
    random = np.random.default_rng(seed)
    image = random.normal(0, 5, (ROWS, COLUMNS + STRIP)) + level
    image[:, :COLUMNS] += 300
    fits.writeto(path, np.round(image).astype("u2"))
    return path


def measured(path, overscan="median", strip=f"[{COLUMNS + 1}:{COLUMNS + STRIP}, :]"):
    amplifier = Amplifier(data=f"[1:{COLUMNS}, :]", overscan=strip, gain=2 * u.electron / u.adu)
    size = None if strip else (COLUMNS + STRIP, ROWS)
    recipe = Recipe(overscan=overscan)
    profile = Profile(instrument="X", amplifiers=[amplifier], recipe=recipe, frame_size=size)
    raw = read_raw(path)
    return measure(raw, profile.amplifiers_of(raw.header, raw.shapes), profile.recipe)


def test_one_pass_gives_hash_levels_noise_and_statistics(tmp_path):
    path = write(tmp_path / "a.fits")
    result = measured(path)
    strip = fits.getdata(path)[:, COLUMNS:]
    assert result.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_array_equal(result.levels[0], np.median(strip, axis=1))
    assert result.level == (np.median(result.levels[0]),)
    assert result.noise[0] == pytest.approx(5, rel=0.1)
    assert result.quality.level[0] == pytest.approx(1300, abs=3)
    assert (result.level_from_night, result.n_lit_rows, result.poor_fit) == (
        (False,),
        (0,),
        (False,),
    )


def test_without_overscan_there_is_no_level(tmp_path):
    result = measured(write(tmp_path / "a.fits"), strip=None)
    assert (result.levels, result.level, result.noise) == ((None,), (None,), (None,))
    assert (result.n_lit_rows, result.poor_fit) == ((0,), (False,))


def test_rows_with_light_are_counted_and_replaced_except_by_a_model(tmp_path):
    path = write(tmp_path / "a.fits")
    with fits.open(path) as hdus:
        image = hdus[0].data.copy()
    image[100:104, COLUMNS:] += 5000
    fits.writeto(path, image, overwrite=True)
    result = measured(path)
    assert result.n_lit_rows == (4,)
    assert np.abs(result.levels[0] - 1000).max() < 15
    assert measured(path, Polynomial1D(1)).n_lit_rows == (0,)


def test_the_level_of_the_night_replaces_one_that_deviates(tmp_path):
    one = measured(write(tmp_path / "a.fits"))
    other = take_level(one, [950.0], 10)
    assert other.level_from_night == (True,)
    assert (other.levels[0] == 950).all()
    assert not (one.levels[0] == 950).any()
    assert take_level(one, [one.level[0] + 5], 10).level_from_night == (False,)


def test_a_file_that_changed_is_refused_as_such(tmp_path):
    path = write(tmp_path / "a.fits")
    raw = read_raw(path)
    path.write_bytes(path.read_bytes()[:-2880])
    amplifier = Amplifier(data=f"[1:{COLUMNS}, :]", overscan=None)
    size = (COLUMNS + STRIP, ROWS)
    profile = Profile(instrument="X", amplifiers=[amplifier], recipe=Recipe(), frame_size=size)
    with pytest.raises(FrameRejected) as refused:
        measure(raw, profile.amplifiers_of(raw.header, raw.shapes), profile.recipe)
    assert refused.value.code == "changed"


def test_a_level_of_the_night_takes_off_the_whole_pedestal(tmp_path):
    """Light in the overscan columns makes the levels of the columns wrong too."""
    image = np.full((18, 28), 1000, "u2")
    image[12:, :20] += 7  # the overscan rows
    image[:12, :20] += 7 + 100
    image[:, 20:] += 40
    fits.PrimaryHDU(image).writeto(tmp_path / "a.fits")
    profile = Profile(
        instrument="X",
        amplifiers=[
            Amplifier(
                data="[1:20, 1:12]", overscan="[21:28, 1:12]", parallel_overscan="[1:20, 14:18]"
            )
        ],
        recipe=Recipe(),
    )
    raw = read_raw(tmp_path / "a.fits")
    lit = measure(raw, profile.amplifiers_of(raw.header, raw.shapes), profile.recipe)
    assert lit.level == (1007.0,)
    assert set(lit.levels[0]) == {1040.0}
    assert set(lit.column_levels[0]) == {-33.0}
    (data,) = prepare([take_level(lit, [1002.0], 4.0)], 0, 12).data
    assert (data == 105).all()
    (data,) = prepare([take_level(lit, [1002.0], 6.0)], 0, 12).data
    assert (data == 100).all()
