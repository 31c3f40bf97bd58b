"""Every instrument's night against the truth behind it, and what must change nothing.

What errors are allowed is computed from the noise itself: a level of overscan is
common to its row, or to its frame where a recipe takes one level a frame; masters are
common to all frames. The level of a flat is a matter of definition, as the median or
mode of a noisy flat is not quite that of a perfect one; so it is compared by itself,
and taken off before anything else is.
"""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.modeling import Model

from ccdprofiles import Limits, known_profiles, reduce_night
from ccdprofiles.camera.recipe import SpectralFlat
from ccdprofiles.pixels.combine import variance_factor
from ccdprofiles.pixels.noise import median_variance
from ccdprofiles.reduce import inputs
from ccdprofiles.simulate import Exposures, simulate_night, windowed

GAIN = u.electron / u.adu


def filter_of(reduced, file):
    """The filter of a frame, as the truth names it."""
    return reduced.truth.frames["filter"][reduced.truth.frames["file"] == file][0]


def flat_level(reduced, filter):
    """How the level of a master flat lies to that of the true one."""
    flat = reduced.master("flat", filter=filter or None)
    good = flat.flags == 0
    return float(np.mean(flat.data[good] / reduced.truth.flats[filter][good]))


def true_master(reduced, key):
    kind, exposure, filter = key
    if kind == "flat":
        return reduced.truth.flats[filter or ""] * flat_level(reduced, filter or "")
    name = (filter or "") if kind == "arc" else None
    return reduced.truth.master(kind, exposure=exposure, filter=name)


def residual(reduced, file):
    """What a calibrated frame holds above the truth, NaN where it tells nothing.

    Left out are flagged pixels, those that were hit, and those of so much dark
    current that chance decides whether they are flagged as hot.
    """
    truth, image = reduced.truth, reduced.science[file]
    seconds = float(truth.frames["exposure"][truth.frames["file"] == file][0])
    warm = (truth.dark - np.median(truth.dark)) * seconds > 25
    good = (image.flags == 0) & ~truth.cosmic_rays[file] & ~truth.hot & ~warm
    wanted = truth.science[file] / flat_level(reduced, filter_of(reduced, file))
    return np.where(good, image.data - wanted, np.nan)


def standard_error(reduced, file, values):
    """The standard error of the mean of residuals, with what rows, columns and frames share."""
    used = np.isfinite(values)
    lit = np.ix_(used.any(axis=1), used.any(axis=0))
    values = values[lit]
    rows, columns = np.nanmean(values, axis=1), np.nanmean(values, axis=0)
    # Noise of single pixels is in the scatter of the rows and in that of the columns.
    variance = np.var(rows) / rows.size + np.var(columns) / columns.size
    variance -= np.nanvar(values) / used.sum()
    recipe = reduced.profile.recipe
    if isinstance(recipe.overscan, Model):
        # One level a frame, of the frame and of its darks; that of the bias cancels.
        readout = reduced.readouts(file)[0]
        dark = reduced.night.plan.master(reduced.product(file).input.dark)
        own = (readout.read_noise / (readout.gain if not recipe.electrons else 1)) ** 2
        own *= median_variance(readout.overscan.width) / readout.overscan.height
        number = len(dark.inputs)
        variance += own * (1 + variance_factor(number, recipe.combine_for("dark")) / number)
    return sqrt(variance)


def below_the_mean(reduced, file):
    """How far a median of darks lies below their mean, in adu, as electrons come skewed.

    It is the third moment over six times the variance (Cornish & Fisher 1938), and
    less by what the median of few scatters.
    """
    recipe = reduced.profile.recipe
    if recipe.combine_for("dark").method != "median":
        return 0.0
    readout = reduced.readouts(file)[0]
    dark = reduced.night.plan.master(reduced.product(file).input.dark)
    electrons = float(np.median(reduced.truth.dark)) * dark.exposure
    skew = electrons / (6 * (electrons + readout.read_noise**2))
    return skew * (1 - median_variance(len(dark.inputs))) / readout.gain


def pulls(data, wanted, sigma, good):
    return ((data - wanted) / np.where(good, sigma, 1))[good]


def assert_true_uncertainties(night):
    for key, image in night.masters.items():
        found = pulls(image.data, true_master(night, key), image.sigma, image.flags == 0)
        assert found.std() == pytest.approx(1, abs=0.03), key
    for file, image in night.science.items():
        values = residual(night, file)
        found = pulls(values, 0, image.sigma, np.isfinite(values))
        assert found.std() == pytest.approx(1, abs=0.03), file


# Each instrument's night, and the truth.


def test_everything_was_made(reduced):
    assert reduced.night.ok, str(reduced.night)
    assert len(reduced.science) == len(reduced.files("science"))


def test_uncertainties_are_true(reduced):
    for image in (*reduced.masters.values(), *reduced.science.values()):
        # Enough pixels for the standard deviation to be known to 0.3 %.
        assert (image.flags == 0).sum() > 90_000
    assert_true_uncertainties(reduced)


def test_mean_of_science_is_true(reduced):
    for file in reduced.science:
        values = residual(reduced, file)
        error = standard_error(reduced, file, values)
        mean = np.nanmean(values) - below_the_mean(reduced, file)
        # The test would be none if the error were more than a tenth of a pixel's noise.
        assert error < 0.1 * np.nanstd(values)
        assert abs(mean) < 3 * error, (file, mean, error)


def test_flats_are_true_from_corner_to_corner(reduced):
    for filter, wanted in reduced.truth.flats.items():
        flat = reduced.master("flat", filter=filter or None)
        good = flat.flags == 0
        assert good.mean() > 0.75
        lit = np.ix_(good.any(axis=1), good.any(axis=0))
        ratio = np.where(good, flat.data / wanted, np.nan)[lit]
        rows, columns = ratio.shape[0] // 6, ratio.shape[1] // 6
        corners = [
            np.nanmean(ratio[up, across])
            for up in (slice(rows), slice(-rows, None))
            for across in (slice(columns), slice(-columns, None))
        ]
        assert np.ptp(corners) < 0.003 * np.nanmean(ratio)


def test_levels_of_flats_are_true(reduced):
    # A mode is found where a histogram is flat at its top, a median where it is steep.
    limit = 0.01 if reduced.profile.recipe.flat.scale == "mode" else 0.0005
    for filter in reduced.truth.flats:
        assert flat_level(reduced, filter) == pytest.approx(1, abs=limit)


@pytest.mark.parametrize("master", ["bias", "dark", "flat"])
def test_no_master_is_left_in_science(reduced, master):
    """No part of the pattern of bias, dark or flat can be found in the residuals."""
    truth = reduced.truth
    for file, image in reduced.science.items():
        seconds = float(truth.frames["exposure"][truth.frames["file"] == file][0])
        flat = truth.flats[filter_of(reduced, file)]
        pattern = {
            "bias": truth.bias / flat,
            "dark": truth.dark * seconds / truth.gain / flat,
            "flat": truth.science[file] * (flat - 1),
        }[master]
        values = residual(reduced, file)
        pattern = np.where(np.isfinite(values), pattern, np.nan)
        lit = np.ix_(*(np.isfinite(values).any(axis=axis) for axis in (1, 0)))
        values, pattern, sigma = values[lit], pattern[lit], image.sigma[lit]
        # What a row has in common may be the noise of its overscan.
        values = values - np.nanmean(values, axis=1, keepdims=True)
        pattern = pattern - np.nanmean(pattern, axis=1, keepdims=True)
        weight = np.nansum(pattern**2)
        left = np.nansum(pattern * values) / weight
        error = sqrt(np.nansum((pattern * sigma) ** 2)) / weight
        assert abs(left) < 4 * error, (file, left, error)


# Nights whose noise is of another kind than usual.


def test_noise_of_a_bias_that_is_in_the_dark_too_cancels(reduce_made_up):
    """Three biases are noisy, but what is added to the dark is taken off the frame."""
    frames = [
        Exposures("bias", 3),
        Exposures("dark", 9, 90.0),
        Exposures("flat", 5, 1.0, "r"),
        Exposures("science", 2, 90.0, "r", light=0.02),
    ]
    assert_true_uncertainties(reduce_made_up("cg16m", frames=frames))


def test_noise_of_a_narrow_overscan_counts(reduce_made_up):
    """A median of three columns is nearly half as noisy as the pixels it is taken from."""
    kosmos = known_profiles()["kosmos"]
    narrow = [
        replace(amplifier, overscan=strip)
        for amplifier, strip in zip(
            kosmos.amplifiers, ("[2056:2058, 1:4096]", "[2106:2108, 1:4096]"), strict=True
        )
    ]
    frames = [
        Exposures("bias", 11),
        Exposures("dark", 9, 600.0),
        Exposures("dark", 9, 20.0),
        Exposures("flat", 5, 20.0),
        Exposures("science", 2, 600.0, light=0.02),
    ]
    night = reduce_made_up(replace(kosmos, amplifiers=narrow), 800, 160, frames=frames)
    assert_true_uncertainties(night)


def test_noise_of_a_faint_flat_is_in_a_bright_frame(reduce_made_up):
    """Two flats of 2000 adu are noisier than the sky that they divide."""
    frames = [
        Exposures("dark", 9, 3.0),
        Exposures("dark", 9, 60.0),
        Exposures("flat", 2, 3.0, "V", light=0.1),
        Exposures("science", 2, 60.0, "V", light=10),
    ]
    assert_true_uncertainties(reduce_made_up("sbo", frames=frames))


def test_noise_of_flats_whose_modes_are_uncertain(reduce_made_up):
    """A mode is off by half a percent or so, and what lies apart makes a noisy median."""
    assert_true_uncertainties(reduce_made_up("proem", seed=4))


# The two amplifiers of KOSMOS.


def step(reduced):
    """The step from the left to the right half in electron, and its standard error."""
    steps = []
    for file in reduced.science:
        values = residual(reduced, file)
        half = values.shape[1] // 2
        steps.append(np.nanmean(values[:, half:], axis=1) - np.nanmean(values[:, :half], axis=1))
    rows = np.mean(steps, axis=0)
    return rows.mean(), rows.std() / sqrt(rows.size)


@pytest.mark.parametrize("gain", [0.6, 0.66])
def test_no_step_between_the_amplifiers_of_kosmos(reduce_made_up, gain):
    """Also where the two gains differ: the flat must not take out what the gain puts in."""
    kosmos = known_profiles()["kosmos"]
    left, right = kosmos.amplifiers
    kosmos = replace(kosmos, amplifiers=[left, replace(right, gain=gain * GAIN)])
    night = reduce_made_up(kosmos, 1600, 160)
    found, error = step(night)
    noise = left.read_noise.value
    assert error < 0.03 * noise
    assert abs(found) < 0.1 * noise, (found, error)


def test_kosmos_binned_two_by_two(reduce_made_up):
    """The overscan keeps its width, the halves their own level, the noise its size."""
    night = reduce_made_up("kosmos", 800, 600, binning=(2, 2))
    assert night.night.ok
    assert {image.data.shape for image in night.masters.values()} == {(400, 300)}
    assert_true_uncertainties(night)
    for file in night.science:
        values = residual(night, file)
        assert abs(np.nanmean(values)) < 3 * standard_error(night, file, values)
    found, error = step(night)
    assert abs(found) < 3 * error


# What must change nothing, or only what it should.


def altered(raw, folder, change):
    """Copy a night, with a change to each file's header and data."""
    for path in sorted(raw.rglob("*.fit*")):
        with fits.open(path) as hdus:
            header, data = hdus[0].header.copy(), hdus[0].data.copy()
        data = change(path.relative_to(raw).as_posix(), header, data)
        copy = folder / path.relative_to(raw)
        copy.parent.mkdir(parents=True, exist_ok=True)
        fits.PrimaryHDU(data, header).writeto(copy)


def planes(paths):
    """The pixels of some products: values, uncertainties and flags."""
    found = {}
    for name, path in paths.items():
        with fits.open(path) as hdus:
            found[name] = [hdus[e].data.copy() for e in ("PRIMARY", "UNCERT", "DQ")]
    return found


def assert_same_pixels(one, other):
    assert set(one) == set(other)
    for name, wanted in one.items():
        for a, b in zip(wanted, other[name], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


def small(reduce_made_up, name):
    return reduce_made_up(name, 120, 100, seed=1)


@pytest.mark.parametrize("name", ["kosmos", "lfc"])
def test_another_pedestal_of_one_amplifier_changes_nothing(reduce_made_up, tmp_path, name):
    night = small(reduce_made_up, name)

    def lift(file, header, data):
        readout = night.readouts(file)[-1]
        for section in (readout.data, readout.overscan):
            place = section.slices()
            # Stars that are full stay full.
            data[place] = np.minimum(data[place].astype(int) + 137, readout.saturation)
        return data

    altered(night.folder, tmp_path / "raw", lift)
    lifted = reduce_night(tmp_path / "raw", tmp_path / "out", profile=night.profile)
    assert_same_pixels(planes(night.night.masters), planes(lifted.masters))
    for name, (data, sigma, flags) in planes(night.night.products).items():
        unlike = np.zeros(data.shape, bool)
        for a, b in zip((data, sigma, flags), planes(lifted.products)[name], strict=True):
            unlike |= (a != b) & ((flags & 4) == 0)
        # A few pixels that were nearly full are full now.
        assert unlike.sum() <= 5


def test_new_names_and_another_order_change_no_pixel_of_a_master(reduced, tmp_path):
    files = reduced.truth.frames["file"].tolist()
    order = np.random.default_rng(5).permutation(len(files))
    for file, number in zip(files, order, strict=True):
        copy = tmp_path / "raw" / f"{number % 3}" / f"frame{number:03d}.fits"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((reduced.folder / file).read_bytes())
    other = reduce_night(tmp_path / "raw", tmp_path / "out", profile=reduced.profile)
    before, after = planes(reduced.night.masters), planes(other.masters)
    assert set(before) == set(after)
    for name, (data, sigma, flags) in before.items():
        np.testing.assert_array_equal(data, after[name][0])
        # What the noises of frames add up to is rounded in their order.
        np.testing.assert_allclose(sigma, after[name][1], rtol=3e-7)
        np.testing.assert_array_equal(flags, after[name][2])


@pytest.mark.parametrize("name", ["cg16m", "dis_red", "kosmos", "lfc", "proem"])
def test_number_of_jobs_and_size_of_bands_change_no_byte(
    reduce_made_up, tmp_path, monkeypatch, name
):
    night = small(reduce_made_up, name)

    def all_bytes(folder, jobs):
        reduce_night(night.folder, tmp_path / folder, profile=night.profile, jobs=jobs)
        return {
            path.relative_to(tmp_path / folder).as_posix(): path.read_bytes()
            for path in sorted((tmp_path / folder).rglob("*.fits"))
        }

    wanted = all_bytes("whole", 1)
    monkeypatch.setattr(inputs, "_BAND_BYTES", 60_000)
    for jobs in (1, 2, 8):
        found = all_bytes(f"{jobs}", jobs)
        assert set(found) == set(wanted)
        assert [name for name in wanted if found[name] != wanted[name]] == []


@pytest.mark.parametrize("name", ["lfc", "cg16m"])
def test_sections_that_a_header_claims_do_not_matter(reduce_made_up, tmp_path, name):
    night = small(reduce_made_up, name)

    def lie(file, header, data):
        for card in ("BIASSEC", "TRIMSEC", "DATASEC", "CCDSEC"):
            header[card] = "[3:17,5:9]"
        return data

    altered(night.folder, tmp_path / "raw", lie)
    other = reduce_night(tmp_path / "raw", tmp_path / "out", profile=night.profile)
    assert other.ok
    assert_same_pixels(planes(night.night.masters), planes(other.masters))
    assert_same_pixels(planes(night.night.products), planes(other.products))


def test_a_flat_that_lights_its_own_overscan_gets_the_level_of_the_night(tmp_path):
    """Forty adu that leak into the overscan of a faint flat would bend it by a percent."""
    frames = [
        Exposures("bias", 15),
        Exposures("dark", 5, 120.0),
        Exposures("dark", 5, 300.0),
        Exposures("flat", 5, 120.0, light=0.1, overscan_light=40.0),
        Exposures("science", 1, 300.0),
    ]
    truth = simulate_night(windowed("dis_red", 200, 200), tmp_path / "raw", seed=3, frames=frames)
    faint = replace(truth.known.recipe, limits=Limits(flat_level=(0.01, 0.8)))
    recipes = {"believed": replace(faint, overscan_drift=None), "night's": faint}
    bent, told = {}, {}
    for name, recipe in recipes.items():
        night = reduce_night(
            tmp_path / "raw", tmp_path / name, profile=replace(truth.known, recipe=recipe)
        )
        (path,) = (p for n, p in night.masters.items() if night.plan.master(n).type == "flat")
        with fits.open(path) as hdus:
            good = hdus["DQ"].data == 0
            wanted = truth.flats[""][good].astype(float)
            ratio = hdus[0].data[good] / wanted
            told[name] = hdus[0].header.get("OSNIGHT1", False)
        # Light that is missing everywhere is missed most where the slit is darkest.
        bent[name] = np.polyfit(1 / wanted, ratio, 1)[0]
    assert told == {"believed": False, "night's": True}
    assert abs(bent["night's"]) < 0.004
    assert bent["believed"] < -0.01


def test_an_arc_is_a_sum_and_says_so(reduced):
    if not isinstance(reduced.profile.recipe.flat, SpectralFlat):
        assert not reduced.files("arc")
        return
    rows = reduced.truth.frames[reduced.truth.frames["type"] == "arc"]
    arc = reduced.master("arc")
    assert len(rows) == 3
    assert arc.header["EXPTIME"] == pytest.approx(rows["exposure"].sum())
    assert arc.header["NCOMBINE"] == 3
    wanted = reduced.truth.master("arc", filter=rows["filter"][0])
    good = arc.flags == 0
    assert arc.data[good].sum() == pytest.approx(wanted[good].sum(), rel=1e-3)
