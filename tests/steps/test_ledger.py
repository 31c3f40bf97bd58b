"""A step that would give wrong numbers is refused in one sentence; foreign masters are measured."""

import logging
from dataclasses import replace

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData

from ccdprofiles import Card, combine, detect_cosmics
from ccdprofiles.errors import CCDProfilesError, FrameRejected, PlanError


class Made:
    """A prepared science frame of an instrument, and its masters by type."""

    def __init__(self, steps):
        self.steps, self.profile = steps, steps.profile
        self.chosen = steps.night.plan.products[0].input
        self.frame = steps.prepared(self.chosen.file)

    def __getattr__(self, kind):
        return self.steps.masters[getattr(self.chosen, kind)]

    def calibrate(self, frame=None, **masters):
        return self.profile.calibrate(self.frame if frame is None else frame, **masters)


@pytest.fixture
def made(steps_of):
    return lambda name: Made(steps_of(name))


def with_cards(ccd, **cards):
    """Return a frame with other cards."""
    changed = ccd.copy()
    for card, value in cards.items():
        changed.meta[card] = value
    return changed


def foreign(ccd, **cards):
    """Return what another program would have written of a master."""
    meta = {"EXPTIME": ccd.meta["EXPTIME"]} if "EXPTIME" in ccd.meta else {}
    return CCDData(ccd.data, unit=ccd.unit, meta=meta | cards)


def test_a_bias_is_not_subtracted_twice(made):
    kosmos = made("kosmos")
    once = kosmos.calibrate(bias=kosmos.bias)
    with pytest.raises(
        PlanError, match=r"already corrected for its bias .* would repeat this step"
    ):
        kosmos.calibrate(once, bias=kosmos.bias)


def test_a_dark_that_holds_its_bias_goes_with_no_bias(made):
    kosmos = made("kosmos")
    master = kosmos.steps.night.plan.master(kosmos.chosen.dark)
    dark = combine([kosmos.steps.prepared(i.file) for i in master.inputs])
    with pytest.raises(PlanError, match=r"still contains its bias.*subtracted twice"):
        kosmos.calibrate(bias=kosmos.bias, dark=dark)


def test_a_dark_without_its_bias_needs_the_bias_too(made):
    cg16m = made("cg16m")
    with pytest.raises(PlanError, match=r"the bias was subtracted from .* use bias= as well"):
        cg16m.calibrate(dark=cg16m.dark)


def test_a_dark_that_holds_its_pedestal_is_not_scaled(made):
    cg16m = made("cg16m")
    plan = cg16m.steps.night.plan
    master = plan.master(cg16m.chosen.dark)
    dark = combine([cg16m.steps.prepared(i.file) for i in master.inputs])
    flat = next(m for m in plan.masters if m.type == "flat").inputs[0]
    with pytest.raises(
        PlanError, match=r"contains its pedestal, which must not be scaled by 0.011"
    ):
        cg16m.calibrate(cg16m.steps.prepared(flat.file), dark=dark)


def test_a_flat_does_not_divide_a_pedestal(made):
    for name in ("cg16m", "proem", "pt5m", "sbo"):
        camera = made(name)
        with pytest.raises(PlanError, match="this frame still contains its pedestal"):
            camera.calibrate(flat=camera.flat)


def test_a_flat_divides_once(made):
    lfc = made("lfc")
    once = lfc.calibrate(dark=lfc.dark, flat=lfc.flat)
    with pytest.raises(PlanError, match="already divided by its flat"):
        lfc.calibrate(once, flat=lfc.flat)


def test_a_dark_of_another_exposure_is_refused(made):
    lfc = made("lfc")
    masters = lfc.steps.night.plan.masters
    other = next(m.name for m in masters if m.type == "dark" and m.name != lfc.chosen.dark)
    with pytest.raises(PlanError, match=r"is \d+ s, that of the frame 300.*allows 1 s"):
        lfc.calibrate(dark=lfc.steps.masters[other])


def test_adu_and_electrons_are_not_mixed(made):
    kosmos = made("kosmos")
    electrons = kosmos.calibrate(bias=kosmos.bias)
    assert electrons.unit == u.electron
    with pytest.raises(PlanError, match=r"is in adu, but the frame is in electron"):
        kosmos.calibrate(electrons, dark=kosmos.dark)
    with pytest.raises(PlanError, match=r"frame 2 is in electron, but the first in adu"):
        combine([kosmos.frame, electrons])


def test_a_master_of_another_camera_is_refused(made):
    lfc = made("lfc")
    for card, value, what in (
        ("CPPROF", "kosmos", "another camera"),
        ("CPBIN", "2x2", "another binning"),
        ("CPAMPS", "0000", "another amplifier set"),
    ):
        with pytest.raises(PlanError, match=f"{what} .{card} = '{value}'"):
            lfc.calibrate(dark=with_cards(lfc.dark, **{card: value}))


def test_a_master_of_another_kind_or_size_is_refused(made):
    lfc = made("lfc")
    with pytest.raises(PlanError, match="CPTYPE of the frame in dark= is 'flat'"):
        lfc.calibrate(dark=with_cards(lfc.flat, CPTYPE="flat"), flat=None)
    with pytest.raises(PlanError, match="CPTYPE of the frame in flat= is 'dark'"):
        lfc.calibrate(flat=lfc.dark)
    with pytest.raises(PlanError, match="has 80 columns and 10 rows, but the frame has 80 and 64"):
        lfc.calibrate(dark=lfc.dark[:10])
    with pytest.raises(PlanError, match=r"dark= is an int, but a CCDData or the path"):
        lfc.calibrate(dark=3)


def test_a_flat_in_another_filter_is_refused(made):
    lfc = made("lfc")
    with pytest.raises(PlanError, match="the filter is 'Z9' in master flat"):
        lfc.calibrate(dark=lfc.dark, flat=with_cards(lfc.flat, CPFILT="Z9"))


def test_a_flat_of_another_rotator_angle_is_refused_and_one_without_the_card_is_not(made):
    lfc = made("lfc")
    rotator = Card("ROTATOR", "ROTATANG", within=2 * u.deg)
    profile = replace(lfc.profile, match={"flat": (rotator, "SLIT")})
    frame = with_cards(lfc.frame, ROTATOR=359.5)
    for angle in (1.0, "358"):
        profile.calibrate(frame, dark=lfc.dark, flat=with_cards(lfc.flat, ROTATANG=angle))
    profile.calibrate(frame, dark=lfc.dark, flat=lfc.flat)
    with pytest.raises(
        PlanError,
        match=r"ROTATANG is 90 in .*, but ROTATOR is 359.5 ± 2 deg in the frame; use a flat that was",
    ):
        profile.calibrate(frame, dark=lfc.dark, flat=with_cards(lfc.flat, ROTATANG=90))


def test_a_dark_within_the_relative_tolerance_of_exposures_is_subtracted(made):
    lfc = made("lfc")
    for fraction, refused in ((1e-6, True), (0.01, False)):
        recipe = replace(lfc.profile.recipe, exposure_tolerance=(1e-6 * u.s, fraction))
        profile = replace(lfc.profile, recipe=recipe)
        frame = profile.prepare(lfc.steps.path(lfc.chosen.file))
        dark = with_cards(lfc.dark, EXPTIME=lfc.dark.meta["EXPTIME"] * 1.005)
        if refused:
            with pytest.raises(PlanError, match=r"but the recipe allows 0\.000300"):
                profile.calibrate(frame, dark=dark)
        else:
            profile.calibrate(frame, dark=dark)


def test_a_frame_of_another_profile_is_refused(made):
    lfc = made("lfc")
    other = replace(lfc.profile, name="other")
    with pytest.raises(PlanError, match="prepared by the profile lfc, but other was used"):
        other.calibrate(lfc.frame, dark=lfc.dark)


def test_a_frame_is_prepared_once_and_first(made):
    lfc = made("lfc")
    with pytest.raises(PlanError, match="this frame was already prepared"):
        lfc.profile.prepare(lfc.frame)
    raw = lfc.profile.read(lfc.steps.path(lfc.chosen.file))
    with pytest.raises(PlanError, match=r"CALSTAT and HASPED are missing.*begin with prepare"):
        lfc.calibrate(raw, dark=lfc.dark)
    with pytest.raises(PlanError, match="in electron, but raw frames of lfc are in adu"):
        lfc.profile.prepare(CCDData(raw.data, unit="electron", meta=raw.meta))
    with pytest.raises(PlanError, match=r"prepare.. cannot use an int"):
        lfc.profile.prepare(3)


def test_a_frame_that_its_header_rules_out_is_refused(made):
    lfc = made("lfc")
    raw = lfc.profile.read(lfc.steps.path(lfc.chosen.file))
    with pytest.raises(FrameRejected) as refused:
        lfc.profile.prepare(with_cards(raw, EXPTIME=-3))
    assert refused.value.code == "exposure"
    with pytest.raises(FrameRejected) as refused:
        lfc.profile.prepare(CCDData(raw.data[:30], unit="adu", meta=raw.meta))
    assert refused.value.code == "section"


def test_a_file_of_several_images_is_prepared_by_its_path(made, tmp_path):
    path = tmp_path / "two.fits"
    images = [fits.ImageHDU(np.ones((5, 6), "f4")) for _ in range(2)]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(path)
    with pytest.raises(FrameRejected, match="it contains 2 images, but a CCDData has only one"):
        made("lfc").profile.read(path)


def test_cosmic_rays_are_not_looked_for_in_a_pedestal(made):
    with pytest.raises(PlanError, match="this frame still contains its pedestal"):
        detect_cosmics(made("proem").frame)


def test_a_product_that_was_read_back_needs_the_read_noise(made):
    lfc = made("lfc")
    path = lfc.steps.night.products[lfc.steps.night.plan.products[0].name]
    with pytest.raises(PlanError, match="specify gain= and readnoise="):
        detect_cosmics(CCDData.read(path))


def test_frames_of_two_kinds_are_not_combined(made):
    lfc, kosmos = made("lfc"), made("kosmos")
    with pytest.raises(PlanError, match="CPPROF is 'kosmos' in frame 2, but 'lfc' in the first"):
        combine([lfc.frame, kosmos.frame])
    masters = lfc.steps.night.plan.masters
    files = [m.inputs[0].file for m in masters if m.type == "dark"][:2]
    with pytest.raises(
        PlanError, match=r"the exposures of the darks are .* combine those of one exposure"
    ):
        combine([lfc.steps.prepared(f) for f in files])
    flat = next(m.inputs[0].file for m in masters if m.type == "flat")
    with pytest.raises(PlanError, match="CPTYPE is 'flat' in frame 2, but 'dark' in the first"):
        combine([lfc.steps.prepared(f) for f in (files[0], flat)])


def test_every_refusal_is_one_of_ours_and_one_sentence(made):
    lfc = made("lfc")
    with pytest.raises(CCDProfilesError) as refused:
        lfc.calibrate(dark=with_cards(lfc.dark, CPBIN="2x2"))
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


# Masters without our cards.


def test_a_foreign_flat_is_normalised_and_that_is_said(made, caplog):
    lfc = made("lfc")
    ours = lfc.calibrate(dark=lfc.dark, flat=lfc.flat)
    twice = foreign(lfc.flat)
    twice.data = twice.data * 20_000
    with caplog.at_level(logging.WARNING):
        theirs = lfc.calibrate(dark=lfc.dark, flat=twice)
    assert "so it was divided by that" in caplog.text
    assert any("divided by that" in line for line in theirs.meta["HISTORY"])
    good = ~ours.mask
    np.testing.assert_allclose(theirs.data[good], ours.data[good], rtol=2e-2)
    one = lfc.calibrate(dark=lfc.dark, flat=foreign(lfc.flat))
    assert "taken as normalised" in str(one.meta["HISTORY"])
    np.testing.assert_array_equal(one.data[good], ours.data[good])


def test_a_flat_that_was_not_combined_is_normalised_too(made):
    lfc = made("lfc")
    master = lfc.steps.night.plan.master(lfc.chosen.flat)
    single = lfc.steps.calibrated(master.inputs[0])
    done = lfc.calibrate(dark=lfc.dark, flat=single)
    assert done.meta["FLATNORM"] == pytest.approx(np.median(single.data[~single.mask]), rel=1e-3)


def test_a_flat_without_light_is_refused(made):
    lfc = made("lfc")
    dark = foreign(lfc.flat)
    dark.data = dark.data * 0
    with pytest.raises(PlanError, match="that of a flat must be positive"):
        lfc.calibrate(dark=lfc.dark, flat=dark)


def test_a_foreign_dark_is_looked_at_for_its_pedestal(made):
    cg16m = made("cg16m")
    ours = cg16m.calibrate(bias=cg16m.bias, dark=cg16m.dark)
    theirs = cg16m.calibrate(bias=foreign(cg16m.bias), dark=foreign(cg16m.dark))
    np.testing.assert_array_equal(theirs.data, ours.data)
    assert "free of its pedestal" in str(theirs.meta["HISTORY"])
    whole = foreign(cg16m.dark)
    whole.data = whole.data + cg16m.bias.data
    with pytest.raises(PlanError, match="still contains its bias"):
        cg16m.calibrate(bias=cg16m.bias, dark=whole)
    alone = cg16m.calibrate(dark=whole)
    assert alone.meta["HASPED"] is False
    with pytest.raises(PlanError, match="use bias= as well"):
        cg16m.calibrate(dark=foreign(cg16m.dark))


def test_a_pedestal_that_the_overscan_took_off_is_not_taken_off_again(made):
    lfc = made("lfc")
    whole = foreign(lfc.dark)
    whole.data = whole.data + np.float32(1049)
    with pytest.raises(
        PlanError,
        match="holds its pedestal, which was already removed from the frame with the overscan",
    ):
        lfc.calibrate(dark=whole)
    ours = lfc.calibrate(dark=lfc.dark)
    np.testing.assert_array_equal(lfc.calibrate(dark=foreign(lfc.dark)).data, ours.data)
    with pytest.raises(PlanError, match="would be subtracted twice"):
        lfc.calibrate(bias=whole)


def test_a_foreign_dark_needs_its_exposure(made):
    lfc = made("lfc")
    with pytest.raises(PlanError, match="exposure of master dark is not known"):
        lfc.calibrate(dark=CCDData(lfc.dark.data, unit="adu"))


# The gain.


def test_the_gain_is_applied_once(made):
    kosmos = made("kosmos")
    electrons = kosmos.calibrate(electrons=True)
    assert electrons.unit == u.electron
    later = kosmos.calibrate(electrons, flat=kosmos.flat)
    at_once = kosmos.calibrate(flat=kosmos.flat, electrons=True)
    assert later.unit == u.electron
    np.testing.assert_allclose(later.data, at_once.data, rtol=1e-5)
    np.testing.assert_allclose(
        kosmos.calibrate(electrons, electrons=True).data, electrons.data, rtol=1e-6
    )


@pytest.mark.parametrize("unit", ["electron2 / adu", "count", ""])
def test_a_frame_in_another_unit_is_refused(made, unit):
    kosmos = made("kosmos")
    frame = kosmos.frame.copy()
    frame.unit = u.Unit(unit)
    with pytest.raises(PlanError, match="but frames of kosmos are in adu, or in electron"):
        kosmos.calibrate(frame, flat=kosmos.flat)


# Flats and their pedestal.


@pytest.mark.parametrize("name", ["sbo", "pt5m", "cg16m"])
def test_flats_that_hold_their_pedestal_are_not_combined(made, name, tmp_path):
    camera = made(name)
    master = camera.steps.night.plan.master(camera.chosen.flat)
    flats = [camera.steps.prepared(i.file) for i in master.inputs]
    paths = [tmp_path / f"{n}.fits" for n in range(len(flats))]
    for flat, path in zip(flats, paths, strict=True):
        flat.write(path)
    for given in (flats, paths):
        with pytest.raises(PlanError, match="frame 1 is a flat that still contains its pedestal"):
            combine(given)


def test_a_flat_that_holds_its_pedestal_does_not_divide(made):
    sbo = made("sbo")
    masters = {t: getattr(sbo, t) for t in ("bias", "dark") if getattr(sbo.chosen, t)}
    single = sbo.steps.prepared(sbo.steps.night.plan.master(sbo.chosen.flat).inputs[0].file)
    for flat in (with_cards(sbo.flat, HASPED=True), single):
        with pytest.raises(PlanError, match="master flat still contains its pedestal"):
            sbo.calibrate(**masters, flat=flat)


# Masters that would have another level.


@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
def test_calibration_frames_are_not_summed(made, kind):
    lfc = made("lfc")
    frames = [with_cards(lfc.frame, CPTYPE=kind, HASPED=False) for _ in range(3)]
    with pytest.raises(PlanError, match=f"a master {kind} has the level of one frame"):
        combine(frames, method="sum")
    assert combine([lfc.frame] * 2, method="sum").meta["NCOMBINE"] == 2


# The order of the steps.


def test_bias_and_dark_are_not_subtracted_after_the_flat(made):
    kosmos = made("kosmos")
    divided = kosmos.calibrate(flat=kosmos.flat, electrons=False)
    for kind in ("bias", "dark"):
        with pytest.raises(PlanError, match=f"master {kind} must be subtracted before"):
            kosmos.calibrate(divided, **{kind: getattr(kosmos, kind)})


# Steps of ccdproc.


def test_a_frame_that_ccdproc_calibrated_is_refused(made):
    kosmos = made("kosmos")
    bias, flat = foreign(kosmos.bias), foreign(kosmos.flat)
    for function, changed in (
        ("subtract_bias", ccdproc.subtract_bias(kosmos.frame, bias)),
        ("flat_correct", ccdproc.flat_correct(kosmos.frame, flat)),
        ("gain_correct", ccdproc.gain_correct(kosmos.frame, 1.6 * u.electron / u.adu)),
    ):
        with pytest.raises(PlanError, match=f"this frame was changed by ccdproc.{function}"):
            kosmos.calibrate(changed, bias=kosmos.bias)
        with pytest.raises(PlanError, match=f"frame 1 was changed by ccdproc.{function}"):
            combine([changed, changed])
    with pytest.raises(PlanError, match=r"master flat was changed by ccdproc.subtract_dark"):
        kosmos.calibrate(bias=kosmos.bias, flat=with_cards(kosmos.flat, CALSTAT="O", SUBDARK="x"))


def test_a_master_that_ccdproc_made_is_measured_as_before(made):
    lfc = made("lfc")
    flat = foreign(lfc.flat, SUBBIAS="ccd=<CCDData>")
    assert lfc.calibrate(dark=lfc.dark, flat=flat).meta["CALSTAT"] == "ODF"


def test_calibration_frames_in_electrons_are_not_combined(made):
    kosmos = made("kosmos")
    master = kosmos.steps.night.plan.master(kosmos.chosen.dark)
    frames = [kosmos.steps.prepared(i.file) for i in master.inputs]
    frames = [kosmos.calibrate(f, bias=kosmos.bias, electrons=True) for f in frames]
    with pytest.raises(PlanError, match="frame 1 is a dark in electron"):
        combine(frames)


def test_spectral_flats_do_not_keep_their_lamp(made, tmp_path):
    kosmos = made("kosmos")
    master = kosmos.steps.night.plan.master(kosmos.chosen.flat)
    flats = [kosmos.steps.calibrated(i) for i in master.inputs]
    sides = {"sigma_clip": True, "sigma_clip_low_thresh": 3, "sigma_clip_high_thresh": 5}
    for options in (sides, {"minmax_clip": True, "minmax_clip_max": 6e4}):
        with pytest.raises(PlanError, match="the lamp cannot be divided out"):
            combine(flats, **options)
    paths = [tmp_path / f"{n}.fits" for n in range(len(flats))]
    for flat, path in zip(flats, paths, strict=True):
        flat.write(path)
    with pytest.raises(PlanError, match="master flat has no FLATNORM"):
        kosmos.calibrate(bias=kosmos.bias, flat=combine(paths, "average", clip=5, scale="median"))
    assert combine(flats, clip=5).meta["FLATNORM"] > 0


def test_prepared_frames_and_others_are_not_mixed(made):
    lfc = made("lfc")
    other = CCDData(lfc.frame.data, unit="adu")
    for frames in ([lfc.frame, other], [other, lfc.frame]):
        with pytest.raises(PlanError, match="has no cards CALSTAT and HASPED, but frame"):
            combine(frames)


def test_a_part_of_a_frame_is_refused(made):
    lfc = made("lfc")
    with pytest.raises(PlanError, match=r"this frame has the shape \(10, 80\), but a prepared"):
        lfc.calibrate(lfc.frame[:10], dark=lfc.dark[:10])


# Frames without a record of their masters.


@pytest.mark.parametrize("kind", ["dark", "flat"])
@pytest.mark.parametrize("given", ["path", "CCDData", "product"])
def test_prepared_frames_without_their_record_are_not_combined_by_the_recipe(
    made, kind, given, tmp_path
):
    lfc = made("lfc")
    master = lfc.steps.night.plan.master(getattr(lfc.chosen, kind))
    frames = [lfc.steps.calibrated(i) for i in master.inputs]
    paths = [tmp_path / f"{n}.fits" for n in range(len(frames))]
    for frame, path in zip(frames, paths, strict=True):
        frame.write(path)
    read = {
        "path": paths,
        "CCDData": [CCDData.read(path) for path in paths],
        "product": [frame.multiply(1, handle_meta="first_found") for frame in frames],
    }[given]
    words = "method= and clip=" if kind == "dark" else "method=, clip= and scale="
    lacking = [{}, {"method": "average"}, {"clip": 5}]
    if kind == "flat":
        lacking += [{"clip": 5, "scale": "median"}, {"method": "average", "clip": 5}]
    for options in lacking:
        with pytest.raises(PlanError, match=rf"frame 1.* is a {kind} .* recipe of lfc.* {words}"):
            combine(read, **options)
    options = {"method": "average", "clip": 5} | ({"scale": "median"} if kind == "flat" else {})
    plain = combine(read, **options)
    assert plain.meta["NCOMBINE"] == len(frames)
    assert combine(frames).meta["NCOMBINE"] == len(frames)


def test_science_frames_without_their_record_are_combined_as_ever(made, tmp_path):
    lfc = made("lfc")
    lfc.frame.write(tmp_path / "a.fits")
    assert combine([tmp_path / "a.fits"] * 2).meta["NCOMBINE"] == 2


@pytest.mark.parametrize("scale", ["median", [1, 2], lambda a: 1.0])
@pytest.mark.parametrize("kind", ["bias", "dark"])
def test_biases_and_darks_are_not_scaled(made, kind, scale, tmp_path):
    camera = made("cg16m")
    master = next(m for m in camera.steps.night.plan.masters if m.type == kind)
    frames = [camera.steps.calibrated(i) for i in master.inputs[:2]]
    with pytest.raises(PlanError, match=rf"frame 1 is a {kind}, .* omit scale="):
        combine(frames, scale=scale)
    for n, frame in enumerate(frames):
        frame.write(tmp_path / f"{n}.fits")
    with pytest.raises(PlanError, match=rf"frame 1 is a {kind}, .* omit scale="):
        combine(sorted(tmp_path.glob("*.fits")), "average", clip=None, scale=scale)


# Foreign masters.


def test_a_foreign_pedestal_is_compared_with_the_overscan_of_the_frame(made):
    lfc = made("lfc")
    bright = lfc.frame.copy()
    bright.data = bright.data + np.float32(20_000)
    for kind in ("bias", "dark"):
        whole = foreign(lfc.dark)
        whole.data = whole.data + np.float32(1049)
        with pytest.raises(PlanError, match=r"1\d\d\d.* overscan level .* 1049"):
            lfc.calibrate(bright, **{kind: whole})
    ours = lfc.calibrate(bright, dark=lfc.dark)
    theirs = lfc.calibrate(bright, dark=foreign(lfc.dark))
    np.testing.assert_array_equal(ours.data, theirs.data)
    # A warm chip and a dark sky: the dark is as high as the frame, and has no pedestal.
    warm, dim = foreign(lfc.dark), lfc.frame.copy()
    warm.data = warm.data + np.float32(100)
    dim.data = warm.data.copy()
    assert lfc.calibrate(dim, dark=warm).meta["CALSTAT"] == "OD"


def test_a_foreign_bias_without_its_pedestal_does_not_remove_one(made):
    camera = made("cg16m")
    bias = foreign(camera.bias)
    bias.data = bias.data - np.median(bias.data)
    with pytest.raises(PlanError, match="free of its pedestal, but the frame still contains"):
        camera.calibrate(bias=bias)
    camera.calibrate(bias=foreign(camera.bias))
    lfc = made("lfc")
    free = foreign(lfc.dark)
    free.data = free.data * 0
    lfc.calibrate(bias=free)


def test_a_foreign_flat_has_the_minimum_of_the_recipe(made):
    lfc = made("lfc")
    dim, hole = (12, 13), (20, 30)
    for factor in (1, 21_000):
        flat = foreign(lfc.flat)
        flat.data = flat.data * np.float32(factor)
        flat.data[dim], flat.data[hole] = 0.01 * factor, np.nan
        done = lfc.calibrate(dark=lfc.dark, flat=flat)
        undivided = lfc.calibrate(dark=lfc.dark)
        for pixel in (dim, hole):
            assert done.flags[pixel] & 128
            assert done.mask[pixel]
            assert done.data[pixel] == undivided.data[pixel]
        assert not done.flags[14, 15] & 128
    recipe = replace(lfc.profile.recipe, flat=replace(lfc.profile.recipe.flat, minimum=0.0))
    without = replace(lfc.profile, recipe=recipe)
    flat = foreign(lfc.flat)
    flat.data = flat.data.copy()
    flat.data[dim] = 0.01
    frame = without.prepare(lfc.steps.path(lfc.chosen.file))
    assert not without.calibrate(frame, dark=lfc.dark, flat=flat).flags[dim] & 128


def test_a_mask_that_was_set_on_a_master_counts(made):
    lfc = made("lfc")
    for dark in (lfc.dark.copy(), foreign(lfc.dark)):
        dark.mask = np.zeros(dark.shape, bool) if dark.mask is None else dark.mask.copy()
        assert not lfc.calibrate(dark=dark).mask[5, 6]
        dark.mask[5, 6] = True
        done = lfc.calibrate(dark=dark)
        assert done.mask[5, 6]
        assert done.flags[5, 6] & 1


# Slices.


@pytest.mark.parametrize(
    "part", [np.s_[::-1], np.s_[:, ::-1], np.s_[::-1, ::-1], np.s_[:40], np.s_[2:, 3:]], ids=str
)
def test_a_flip_or_a_part_of_a_frame_is_not_calibrated(made, part, tmp_path):
    kosmos = made("kosmos+two gains")
    raw = kosmos.profile.read(kosmos.steps.path(kosmos.chosen.file))
    with pytest.raises((PlanError, FrameRejected), match=r"part|section|pixels"):
        kosmos.profile.prepare(raw[part])
    cut, bias = kosmos.frame[part], kosmos.bias[part]
    cut.write(tmp_path / "cut.fits")
    for frame in (cut, tmp_path / "cut.fits"):
        with pytest.raises(PlanError, match=r"has the shape|is a part of a frame, or was flipped"):
            kosmos.calibrate(frame, bias=kosmos.bias)
    with pytest.raises(PlanError, match=r"columns and|is a part of a frame, or was flipped"):
        kosmos.calibrate(bias=bias)
    assert "CPCUT" not in kosmos.frame.meta
    whole = kosmos.frame[:, :]
    assert kosmos.calibrate(whole, bias=kosmos.bias).meta["CALSTAT"] == "OB"


# Masters that the recipe wants.


def test_a_flat_without_the_dark_that_the_recipe_wants_is_noted(made, caplog):
    lfc = made("lfc")
    with caplog.at_level(logging.WARNING):
        done = lfc.calibrate(flat=lfc.flat)
    words = "no dark was subtracted, although the recipe of lfc uses one"
    assert words in caplog.text
    assert words in str(done.meta["HISTORY"])
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        lfc.calibrate(dark=lfc.dark)
        done = lfc.calibrate(dark=lfc.dark, flat=lfc.flat)
        lfc.calibrate(lfc.calibrate(dark=lfc.dark), flat=lfc.flat)
        without = replace(lfc.profile, recipe=replace(lfc.profile.recipe, dark=None))
        frame = without.prepare(lfc.steps.path(lfc.chosen.file))
        without.calibrate(frame, flat=lfc.flat)
    assert words not in str(done.meta["HISTORY"])
    assert "no dark was subtracted" not in caplog.text


def test_each_missing_master_is_named_once(made, caplog):
    kosmos = made("kosmos")
    with caplog.at_level(logging.WARNING):
        done = kosmos.calibrate(flat=kosmos.flat)
    for kind in ("bias", "dark"):
        assert f"no {kind} was subtracted" in str(done.meta["HISTORY"])
    done = kosmos.calibrate(done, electrons=True)
    assert sum("no dark was subtracted" in str(line) for line in done.meta["HISTORY"]) == 1


def test_a_foreign_flat_in_another_filter_is_refused(made):
    lfc = made("lfc")
    card = lfc.profile.filter
    lfc.calibrate(dark=lfc.dark, flat=foreign(lfc.flat, **{card: lfc.frame.meta[card]}))
    with pytest.raises(PlanError, match=f"{card} is 'Z9' in master flat"):
        lfc.calibrate(dark=lfc.dark, flat=foreign(lfc.flat, **{card: "Z9"}))


def test_a_flipped_raw_frame_that_was_written_is_not_prepared(made, tmp_path):
    lfc = made("lfc")
    raw = lfc.profile.read(lfc.steps.path(lfc.chosen.file))
    raw[::-1].write(tmp_path / "flipped.fits")
    for given in (raw[::-1], tmp_path / "flipped.fits"):
        with pytest.raises(PlanError, match="or was flipped"):
            lfc.profile.prepare(given)


def test_flats_that_still_hold_their_dark_are_combined_with_a_note(made, caplog):
    lfc = made("lfc")
    master = lfc.steps.night.plan.master(lfc.chosen.flat)
    flats = [lfc.steps.prepared(i.file) for i in master.inputs]
    with caplog.at_level(logging.WARNING):
        done = combine(flats)
    words = "no dark was subtracted, although the recipe of lfc uses one"
    assert words in caplog.text
    assert words in str(done.meta["HISTORY"])
