"""`combine` takes what ccdproc's takes, and gives its numbers where both mean the same."""

import os
import tracemalloc

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty
from astropy.stats import mad_std

from ccdprofiles import combine
from ccdprofiles.errors import CCDProfilesError, PlanError

SHAPE = (40, 50)


def frames(number=9, level=1000.0, masked=False, seed=1):
    """Make frames of normal noise, each 2 % brighter than the one before."""
    random = np.random.default_rng(seed)
    made = []
    for n in range(number):
        data = random.normal(level * (1 + 0.02 * n), 10, SHAPE)
        mask = random.random(SHAPE) < 0.05 if masked else None
        made.append(CCDData(data, unit="adu", mask=mask, meta={"EXPTIME": 10.0 + n}))
    return made


@pytest.mark.parametrize("method", ["average", "median", "sum"])
@pytest.mark.parametrize("number", [1, 2, 5, 8])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_plain_numbers_are_those_of_ccdproc(method, number, dtype):
    stack = [CCDData(f.data.astype(dtype), unit="adu") for f in frames(number)]
    theirs = ccdproc.combine(stack, method=method)
    np.testing.assert_allclose(combine(stack, method).data, theirs.data, rtol=1e-12)


@pytest.mark.parametrize("method", ["average", "median"])
def test_masked_pixels_are_left_out(method):
    stack = frames(7, masked=True)
    theirs = ccdproc.combine(stack, method=method)
    ours = combine(stack, method=method)
    np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-12)
    assert not ours.mask.any()


def test_a_sum_stands_for_all_frames_where_some_are_masked():
    stack = frames(4)
    stack[0].mask = np.zeros(SHAPE, bool)
    stack[0].mask[3, 4] = True
    expected = np.mean([f.data[3, 4] for f in stack[1:]]) * 4
    assert combine(stack, "sum").data[3, 4] == pytest.approx(expected)


def test_a_pixel_that_is_masked_in_all_frames_is_masked():
    stack = frames(3, masked=True)
    for frame in stack:
        frame.mask[2, 3] = True
    ours = combine(stack)
    assert ours.mask[2, 3]
    assert ours.mask.sum() == np.logical_and.reduce([f.mask for f in stack]).sum()
    assert ours.data[2, 3] == 0


@pytest.mark.parametrize("scale", [lambda a: 1 / np.mean(a), [1.0, 0.5, 2, 1, 1, 3, 1, 1, 1]])
def test_scales_are_those_of_ccdproc(scale):
    stack = frames()
    theirs = ccdproc.combine(stack, scale=scale)
    np.testing.assert_allclose(combine(stack, scale=scale).data, theirs.data, rtol=1e-12)


@pytest.mark.parametrize("word", ["median", "mean", "mode"])
def test_a_word_divides_each_frame_by_its_own_statistic(word):
    combined = combine(frames(), scale=word)
    assert np.median(combined.data) == pytest.approx(1, rel=0.01)


def test_a_masked_pixel_tells_nothing_of_the_scale():
    stack = frames(3)
    stack[0].data[:20] = 1e6
    stack[0].mask = stack[0].data == 1e6
    by_word = combine(stack, scale="mean").data
    by_function = combine(stack, scale=lambda a: 1 / np.ma.mean(a)).data
    np.testing.assert_allclose(by_word, by_function, rtol=1e-12)
    assert np.median(by_word) == pytest.approx(1, rel=0.01)


def test_clipping_follows_the_scaling():
    stack = [CCDData(np.full(SHAPE, 1000.0 * n), unit="adu") for n in range(1, 7)]
    for frame in stack:
        frame.data += np.random.default_rng(int(frame.data[0, 0])).normal(0, 1, SHAPE)
    stack[2].data[5, 5] *= 2  # a star
    options = {"scale": [1 / n for n in range(1, 7)], "sigma_clip": True}
    options |= {"sigma_clip_low_thresh": 5, "sigma_clip_high_thresh": 5}
    ours = combine(stack, **options).data[5, 5]
    assert ours == pytest.approx(1000, abs=1)
    theirs = ccdproc.combine(
        stack, **options, sigma_clip_func=np.ma.median, sigma_clip_dev_func=mad_std
    )
    assert theirs.data[5, 5] > 1100


def test_a_clip_is_a_sigma_clip_by_median_and_mad_std():
    stack = frames(9)
    stack = [CCDData(f.data / np.median(f.data), unit="adu") for f in stack]
    for n, frame in enumerate(stack):
        frame.data[n, :] += 0.5
    theirs = ccdproc.combine(
        stack,
        sigma_clip=True,
        sigma_clip_low_thresh=4,
        sigma_clip_high_thresh=4,
        sigma_clip_func=np.ma.median,
        sigma_clip_dev_func=mad_std,
    )
    np.testing.assert_allclose(combine(stack, clip=4).data, theirs.data, rtol=1e-12)


@pytest.mark.parametrize(("low", "high"), [(3, 5), (None, 4), (4, None)])
def test_the_two_sides_may_differ(low, high):
    stack = frames(9, masked=True)
    sides = {"sigma_clip_low_thresh": low, "sigma_clip_high_thresh": high}
    values = np.ma.array([f.data for f in stack], mask=[f.mask for f in stack])
    centre = np.ma.median(values, axis=0)
    reach = np.ma.median(np.abs(values - centre), axis=0) * 1.482602218505602
    off = values - centre
    out = np.zeros(values.shape, bool)
    out |= False if low is None else (off < -low * reach).filled(False)
    out |= False if high is None else (off > high * reach).filled(False)
    expected = np.ma.array(values.data, mask=values.mask | out).mean(axis=0)
    np.testing.assert_allclose(combine(stack, sigma_clip=True, **sides).data, expected, rtol=1e-12)


def test_ends_are_those_of_ccdproc():
    stack = frames(6)
    ends = {"minmax_clip": True, "minmax_clip_min": 990, "minmax_clip_max": 1100}
    theirs = ccdproc.combine(stack, **ends)
    ours = combine(stack, **ends)
    np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-12)
    plain = combine(stack)
    assert (ours.data != plain.data).any()


def test_files_lists_and_texts_are_one(tmp_path):
    stack = frames(5, masked=True)
    paths = [tmp_path / f"{n}.fits" for n in range(5)]
    for frame, path in zip(stack, paths, strict=True):
        frame.write(path)
    ours = combine(stack, clip=4)
    for given in (paths, [str(p) for p in paths], ",".join(map(str, paths)), np.array(paths)):
        again = combine(given, clip=4)
        np.testing.assert_array_equal(again.data, ours.data)
        assert again.unit == u.adu


def test_files_without_a_unit_need_one(tmp_path):
    paths = [tmp_path / f"{n}.fits" for n in range(3)]
    for n, path in enumerate(paths):
        fits.writeto(path, np.full(SHAPE, 100 + n, "u2"))
    with pytest.raises(PlanError, match=r"0.fits: BUNIT is '', .* use unit='adu'"):
        combine(paths)
    combined = combine(paths, unit="adu")
    np.testing.assert_array_equal(combined.data, 101)
    assert combined.unit == u.adu


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
@pytest.mark.parametrize("in_files", [False, True])
def test_uncertainties_are_carried(kind, in_files, tmp_path):
    stack = frames(4)
    values = {"StdDevUncertainty": 10, "VarianceUncertainty": 100, "InverseVariance": 0.01}
    for frame in stack:
        frame.uncertainty = kind(np.full(SHAPE, values[kind.__name__]))
    if in_files:
        for n, frame in enumerate(stack):
            frame.write(tmp_path / f"{n}.fits")
        stack = sorted(tmp_path.glob("*.fits"))
    np.testing.assert_allclose(combine(stack).uncertainty.array, 5, rtol=1e-6)
    np.testing.assert_allclose(combine(stack, "sum").uncertainty.array, 20, rtol=1e-6)
    np.testing.assert_allclose(combine(stack, scale=[2] * 4).uncertainty.array, 10, rtol=1e-6)


def test_the_uncertainty_of_a_median_is_that_of_a_median():
    random = np.random.default_rng(2)
    stack = [
        CCDData(random.normal(0, 1, (200, 200)), unit="adu", uncertainty=StdDevUncertainty(one))
        for one in [np.ones((200, 200))] * 9
    ]
    combined = combine(stack, "median")
    assert combined.uncertainty.array.mean() == pytest.approx(combined.data.std(), rel=0.03)


def test_without_uncertainties_there_is_none():
    assert combine(frames(3)).uncertainty is None


def test_cards_that_all_share_stay_and_the_exposure_is_meant_right():
    stack = frames(3)
    for n, frame in enumerate(stack):
        frame.meta |= {"OBJECT": "M 31", "SEQ": n, "DATE-OBS": f"2020-01-01T00:0{n}:00"}
    meta = combine(stack).meta
    assert (meta["OBJECT"], meta["EXPTIME"], meta["NCOMBINE"]) == ("M 31", 11.0, 3)
    assert (meta["DATE-OBS"], meta["DATE-END"]) == ("2020-01-01T00:00:00", "2020-01-01T00:02:00")
    assert "SEQ" not in meta
    assert combine(stack, "sum").meta["EXPTIME"] == 33.0


def test_memory_is_bounded_by_bands_of_files(tmp_path):
    shape = (600, 500)
    random = np.random.default_rng(3)
    for n in range(12):
        fits.writeto(tmp_path / f"{n:02}.fits", random.normal(100, 5, shape).astype("f4"))
    paths = sorted(tmp_path.glob("*.fits"))
    combine(paths[:2], unit="adu")
    tracemalloc.start()
    small = combine(paths, unit="adu", clip=5, mem_limit=2e6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stack = 12 * 600 * 500 * 8
    assert peak < stack / 2
    np.testing.assert_array_equal(small.data, combine(paths, unit="adu", clip=5).data)


def test_the_type_of_the_result_can_be_chosen():
    assert combine(frames(3)).data.dtype == np.float64
    assert combine(frames(3), dtype="f4").data.dtype == np.float32


def test_whole_numbers_do_not_wrap():
    stack = [CCDData(np.full(SHAPE, 60_000, "u2"), unit="adu") for _ in range(3)]
    assert combine(stack, "sum").data[0, 0] == 180_000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "mean"}, "not one of average, median, sum"),
        ({"scale": "modus"}, "not one of median, mode, mean"),
        ({"scale": [1, 2]}, "has 2 numbers for 3 frames"),
        ({"scale": [1, 2, -1]}, "but positive numbers are needed"),
        ({"clip": -3}, "not a positive number"),
        ({"weights": np.ones(3)}, "is not supported; use ccdproc.combine"),
        ({"output_file": "a.fits"}, "write the result with its .write"),
        (
            {"sigma_clip": True, "sigma_clip_func": np.ma.mean},
            "sigma_clip_func=mean is not supported",
        ),
    ],
)
def test_options_that_cannot_be_right_are_refused(options, words):
    with pytest.raises(CCDProfilesError, match=words):
        combine(frames(3), **options)


def test_a_call_that_was_written_for_ccdproc_is_taken():
    options = {"sigma_clip": True, "sigma_clip_func": np.ma.median, "sigma_clip_dev_func": mad_std}
    usual = {"output_file": None, "weights": None, "clip_extrema": False, "nlow": 1}
    ours = combine(frames(9), **options, **usual)
    np.testing.assert_array_equal(ours.data, combine(frames(9), clip=3).data)
    with pytest.raises(TypeError, match="'sigma'"):
        combine(frames(3), sigma=3)


def test_frames_that_cannot_be_combined_are_refused():
    with pytest.raises(PlanError, match="nothing to combine"):
        combine([])
    with pytest.raises(PlanError, match="cannot use a ndarray"):
        combine([np.ones(SHAPE)])
    other = CCDData(np.ones((3, 4)), unit="adu")
    with pytest.raises(PlanError, match=r"frame 4 has the shape \(3, 4\)"):
        combine([*frames(3), other])
    with pytest.raises(PlanError, match="frame 4 is in electron"):
        combine([*frames(3), CCDData(np.ones(SHAPE), unit="electron")])


def test_files_that_cannot_be_read_are_refused_in_words(tmp_path):
    good, text, pipe = (tmp_path / name for name in ("a.fits", "b.txt", "c.fits"))
    fits.writeto(good, np.ones(SHAPE, "f4"))
    text.write_text("no image")
    os.mkfifo(pipe)
    for path, words in (
        (tmp_path / "d.fits", r"d.fits: it cannot be opened \(No such file"),
        (text, "b.txt: "),
        (pipe, "c.fits: it is not a regular file"),
    ):
        opened = len(os.listdir("/proc/self/fd"))
        with pytest.raises(PlanError, match=words):
            combine([good, path], unit="adu")
        assert len(os.listdir("/proc/self/fd")) == opened
    with pytest.raises(PlanError, match=r"a\.fits: HDU 3 is not an image"):
        combine([good], unit="adu", hdu=3)


def test_a_pixel_without_values_is_clipped_without_a_warning(recwarn):
    stack = frames(5, masked=True)
    for frame in stack:
        frame.mask[2, 3] = True
    combined = combine(stack, sigma_clip=True, sigma_clip_high_thresh=5)
    assert combined.mask[2, 3]
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "average of 5 frames"),
        ({"method": "median"}, "median of 5 frames"),
        ({"method": "sum", "clip": 4}, "sum of 5 frames, clipped at 4 mad_std"),
        ({"method": "median", "clip": 4}, "median of 5 frames"),
        (
            {"sigma_clip": True, "sigma_clip_high_thresh": 5},
            "average of 5 frames, clipped at 3 and 5 mad_std",
        ),
        (
            {"sigma_clip": True, "sigma_clip_low_thresh": None},
            "average of 5 frames, clipped above 3 mad_std",
        ),
        (
            {"minmax_clip": True, "minmax_clip_min": 990, "minmax_clip_max": 2000},
            "average of 5 frames, of values from 990 to 2000",
        ),
        (
            {"minmax_clip": True, "minmax_clip_max": 2000, "clip": 3},
            "average of 5 frames, clipped at 3 mad_std, of values up to 2000",
        ),
        ({"scale": "median"}, "average of 5 frames, each scaled by 1 / median"),
        ({"scale": [1] * 5}, "average of 5 frames, each scaled"),
    ],
)
def test_history_says_how_frames_were_combined(options, line):
    meta = combine(frames(5), **options).meta
    assert list(map(str, meta["HISTORY"])) == [line]
    assert meta["NCOMBINE"] == 5


def test_cards_of_a_sum_and_a_mean_of_prepared_frames(steps_of):
    steps = steps_of("lfc")
    files = [p.input.file for p in steps.night.plan.products[:2]]
    science = [steps.prepared(f) for f in files]
    seconds = [f.meta["EXPTIME"] for f in science]
    for method, of in (("sum", np.sum), ("average", np.mean)):
        meta = combine(science, method).meta
        assert meta["NCOMBINE"] == 2
        assert meta["EXPTIME"] == pytest.approx(of(seconds))
        assert meta["HASDARK"] == pytest.approx(of(seconds))
        assert meta["HISTORY"][-1] == f"{method} of 2 frames"
    science = [steps.calibrated(p.input) for p in steps.night.plan.products[:2]]
    assert combine(science, "sum").meta["HASDARK"] == 0


def test_cards_of_a_sum_of_arcs(steps_of):
    steps = steps_of("kosmos")
    master = next(m for m in steps.night.plan.masters if m.type == "arc")
    arcs = [steps.calibrated(i) for i in master.inputs] * 2
    meta = combine(arcs, "sum").meta
    seconds = sum(f.meta["EXPTIME"] for f in arcs)
    assert (meta["NCOMBINE"], meta["EXPTIME"], meta["HASDARK"]) == (len(arcs), seconds, seconds)
    assert f"sum of {len(arcs)} frames" in meta["HISTORY"][-1]
