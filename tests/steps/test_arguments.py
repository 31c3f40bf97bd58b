"""Arguments that are no image are refused in words, and results own their pixels."""

import os

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty, UnknownUncertainty

from ccdprofiles import combine, detect_cosmics
from ccdprofiles.errors import CCDProfilesError, FrameRejected, PlanError

from .test_ledger import Made, foreign


@pytest.fixture
def lfc(steps_of):
    return Made(steps_of("lfc"))


@pytest.fixture
def places(tmp_path):
    """Return paths that are not images, by what they are."""
    text, empty, table, cube = (
        tmp_path / f"{name}.fits" for name in ("text", "empty", "table", "cube")
    )
    text.write_text("no image " * 999)
    empty.write_bytes(b"")
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU()]).writeto(table)
    fits.writeto(cube, np.ones((3, 4, 5), "f4"))
    pipe = tmp_path / "pipe.fits"
    os.mkfifo(pipe)
    cut = tmp_path / "cut.fits"
    fits.writeto(cut, np.ones((100, 100), "f4"))
    cut.write_bytes(cut.read_bytes()[:5000])
    unit = tmp_path / "unit.fits"
    fits.writeto(unit, np.ones((4, 5), "f4"), fits.Header({"BUNIT": "parrots"}))
    missing = tmp_path / "missing.fits"
    made = {"text": text, "empty": empty, "table": table, "cube": cube, "pipe": pipe}
    return made | {"folder": tmp_path, "missing": missing, "cut": cut, "unit": unit}


NO_IMAGES = (
    ("missing", "No such file"),
    ("folder", "it is not a regular file"),
    ("pipe", "it is not a regular file"),
    ("text", "text.fits"),
    ("empty", "empty.fits"),
    ("table", "table.fits.*no image"),
    ("cube", "cube.fits.*two axes"),
    ("cut", "cut.fits"),
    ("unit", "unit.fits: BUNIT is 'parrots'"),
)


@pytest.mark.parametrize(("what", "words"), NO_IMAGES)
@pytest.mark.parametrize("argument", ["frame", "bias", "dark", "flat"])
@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_a_path_that_is_no_image_is_refused_by_calibrate(lfc, places, what, words, argument):
    given = {argument: places[what]}
    frame = given.pop("frame", lfc.frame)
    with pytest.raises(PlanError, match=words) as refused:
        lfc.profile.calibrate(frame, **given)
    assert f"{argument}=" in str(refused.value)
    assert "; " in str(refused.value)


@pytest.mark.parametrize(("what", "words"), NO_IMAGES[:-1])
@pytest.mark.parametrize("step", ["read", "prepare"])
def test_a_path_that_is_no_raw_frame_is_refused(lfc, places, what, words, step):
    with pytest.raises(CCDProfilesError, match=places[what].name):
        getattr(lfc.profile, step)(places[what])


@pytest.mark.parametrize(("what", "words"), NO_IMAGES[:-1])
def test_a_path_that_is_no_image_is_not_combined(places, what, words):
    with pytest.raises(CCDProfilesError, match=places[what].name):
        combine([places[what]] * 2, unit="adu")


THINGS = (3, None, b"a.fits", [1, 2], np.ones((64, 80)), {"a": 1})


@pytest.mark.parametrize("thing", THINGS, ids=lambda t: type(t).__name__)
def test_what_is_no_frame_is_refused(lfc, thing):
    for step in (lfc.profile.read, lfc.profile.prepare, lfc.profile.calibrate):
        with pytest.raises(PlanError, match=f"a.* {type(thing).__name__}") as refused:
            step(thing)
        assert "; " in str(refused.value)
    with pytest.raises(PlanError, match=type(thing).__name__):
        combine([thing, thing])
    if thing is not None:
        for kind in ("bias", "dark", "flat"):
            with pytest.raises(PlanError, match=f"{kind}= is an? .*{type(thing).__name__}"):
                lfc.profile.calibrate(lfc.frame, **{kind: thing})
    if not isinstance(thing, np.ndarray):
        with pytest.raises(PlanError, match=f"a.* {type(thing).__name__}"):
            detect_cosmics(thing)


@pytest.mark.parametrize("given", [3, None, 2.5])
def test_what_is_no_list_is_not_combined(given):
    with pytest.raises(PlanError, match=f"{type(given).__name__}.*list of CCDData or of paths"):
        combine(given)


@pytest.mark.parametrize("shape", [(50,), (2, 40, 50)])
def test_data_of_other_than_two_axes_is_refused(lfc, shape):
    ccd = CCDData(np.ones(shape, "f4"), unit="adu", meta=lfc.frame.meta)
    raw = CCDData(ccd.data, unit="adu")
    words = rf"{len(shape)} ax[ie]s"
    for step in (lambda: lfc.profile.prepare(raw), lambda: lfc.profile.calibrate(ccd)):
        with pytest.raises(PlanError, match=words):
            step()
    with pytest.raises(PlanError, match=f"dark= .*{words}"):
        lfc.calibrate(dark=raw)
    with pytest.raises(PlanError, match=f"frame 1 .*{words}"):
        combine([raw, raw])
    for image in (raw, raw.data):
        with pytest.raises(PlanError, match=words):
            detect_cosmics(image, readnoise=5)


def test_pixels_that_are_not_numbers_are_refused(lfc):
    texts = np.full(lfc.frame.shape, "a")
    ccd = CCDData(texts, unit="adu")
    for step in (
        lambda: detect_cosmics(texts, readnoise=5),
        lambda: combine([ccd, ccd]),
        lambda: combine([CCDData(np.ones((9, 9), complex), unit="adu")] * 2),
        lambda: lfc.calibrate(dark=ccd),
    ):
        with pytest.raises(PlanError, match=r"pixels of the type (str|complex)"):
            step()


@pytest.mark.parametrize("scale", [["a", "b"], lambda a: "x", 3 * [None], object()])
def test_a_scale_that_is_not_a_number_is_refused(scale):
    with pytest.raises(PlanError, match=r"scale= gives .* a positive number was expected"):
        combine([CCDData(np.ones((9, 9)), unit="adu")] * 2, scale=scale)


@pytest.mark.parametrize("name", ["gain", "readnoise"])
def test_a_gain_that_is_a_text_is_refused(name):
    with pytest.raises(PlanError, match=f"{name}='big' is not a number"):
        detect_cosmics(CCDData(np.ones((9, 9)), unit="adu"), **{name: "big"})


def test_a_unit_that_is_none_is_refused(tmp_path):
    fits.writeto(tmp_path / "a.fits", np.ones((4, 5), "f4"))
    with pytest.raises(PlanError, match="unit='parrots'"):
        combine([tmp_path / "a.fits"], unit="parrots")


# One place for the kind of an uncertainty.


@pytest.mark.parametrize("kind", ["UnknownUncertainty", "Parrot"])
def test_an_uncertainty_of_an_unknown_kind_is_refused(lfc, kind, tmp_path):
    ccd = CCDData(np.ones((9, 9), "f4"), unit="adu", uncertainty=StdDevUncertainty(np.ones((9, 9))))
    ccd.write(tmp_path / "a.fits")
    fits.setval(tmp_path / "a.fits", "UTYPE", value=kind, extname="UNCERT")
    for step in (lambda p: combine([p]), lambda p: lfc.calibrate(dark=p)):
        with pytest.raises(PlanError, match=f"a.fits.* {kind}"):
            step(tmp_path / "a.fits")
    ccd.uncertainty = UnknownUncertainty(np.ones((9, 9)))
    with pytest.raises(PlanError, match="UnknownUncertainty"):
        combine([ccd])
    dark = foreign(lfc.dark)
    dark.uncertainty = UnknownUncertainty(np.ones(dark.shape))
    with pytest.raises(PlanError, match="UnknownUncertainty"):
        lfc.calibrate(dark=dark)


# Results own their pixels.


def spoil(ccd):
    """Change all that a frame holds, in place."""
    ccd.data[:] = -77
    for plane in (ccd.mask, ccd.flags):
        if plane is not None:
            plane[:] = 1
    if ccd.uncertainty is not None:
        ccd.uncertainty.array[:] = -77
    for card in [c for c in ccd.meta if c not in ("HISTORY", "COMMENT", "")]:
        ccd.meta[card] = "spoilt"


def kept(ccd):
    """Return copies of all that a frame holds."""
    planes = [ccd.data, ccd.mask, ccd.flags, ccd.uncertainty and ccd.uncertainty.array]
    return [None if p is None else np.array(p) for p in planes], str(ccd.meta)


@pytest.mark.parametrize("repair", [False, True])
@pytest.mark.parametrize("options", [{}, {"readnoise": 8}, {"gain": 1.0, "readnoise": 8}])
def test_a_searched_frame_owns_its_pixels(lfc, repair, options):
    for given in (lfc.calibrate(dark=lfc.dark), foreign(lfc.calibrate(dark=lfc.dark))):
        if "readnoise" not in options and not hasattr(given, "origin"):
            continue
        before = kept(given)
        spoil(detect_cosmics(given, repair=repair, **options))
        after = kept(given)
        for one, other in zip(before[0], after[0], strict=True):
            np.testing.assert_array_equal(one, other)
        assert before[1] == after[1]


def test_a_searched_array_owns_its_pixels():
    image = np.random.default_rng(1).normal(200, 14, (64, 64)).astype("f4")
    before = image.copy()
    data, mask = detect_cosmics(image, readnoise=5)
    data[:], mask[:] = 0, True
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("kinds", [(), ("dark",), ("dark", "flat")])
@pytest.mark.parametrize("electrons", [False, True])
@pytest.mark.parametrize("twice", [False, True])
def test_a_calibrated_frame_owns_its_pixels(lfc, kinds, electrons, twice):
    frame = lfc.calibrate(dark=lfc.dark, electrons=False) if twice else lfc.frame.copy()
    masters = {kind: getattr(lfc, kind) for kind in kinds if not (twice and kind == "dark")}
    given = [frame, *masters.values()]
    before = [kept(ccd) for ccd in given]
    spoil(lfc.profile.calibrate(frame, **masters, electrons=electrons))
    for (planes, cards), ccd in zip(before, given, strict=True):
        now = kept(ccd)
        for one, other in zip(planes, now[0], strict=True):
            np.testing.assert_array_equal(one, other)
        assert cards == now[1]


@pytest.mark.parametrize("prepared", [False, True])
def test_a_combined_frame_owns_its_pixels(lfc, prepared):
    master = lfc.steps.night.plan.master(lfc.chosen.dark)
    frames = [lfc.steps.prepared(master.inputs[0].file)] if prepared else [foreign(lfc.dark)]
    before = [kept(f) for f in frames]
    spoil(combine(frames))
    for (planes, cards), ccd in zip(before, frames, strict=True):
        now = kept(ccd)
        for one, other in zip(planes, now[0], strict=True):
            np.testing.assert_array_equal(one, other)
        assert cards == now[1]


def test_a_raw_frame_that_was_prepared_stays(lfc):
    raw = lfc.profile.read(lfc.steps.path(lfc.chosen.file))
    before = kept(raw)
    spoil(lfc.profile.prepare(raw))
    np.testing.assert_array_equal(before[0][0], raw.data)
    assert before[1] == kept(raw)[1]


def test_a_raw_frame_of_the_wrong_kind_of_header_names_its_file(lfc, tmp_path):
    path = tmp_path / "odd.fits"
    with fits.open(lfc.steps.path(lfc.chosen.file)) as hdus:
        hdus[0].header["EXPTIME"] = -3
        hdus.writeto(path)
    with pytest.raises(FrameRejected, match=r"odd\.fits: "):
        lfc.profile.prepare(path)


@pytest.mark.parametrize("shape", [(0, 40), (3, 40), (40, 8), (1, 1)])
def test_an_image_smaller_than_the_filters_is_not_searched(shape):
    for image in (np.ones(shape, "f4"), CCDData(np.ones(shape, "f4"), unit="adu")):
        with pytest.raises(PlanError, match="at least 9 rows and columns"):
            detect_cosmics(image, readnoise=5)


@pytest.mark.parametrize("name", ["gain", "readnoise"])
def test_a_negative_gain_is_refused(name):
    with pytest.raises(PlanError, match=f"{name}=-2 is negative"):
        detect_cosmics(CCDData(np.ones((9, 9)), unit="adu"), **{name: -2})
