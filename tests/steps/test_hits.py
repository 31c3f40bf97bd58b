"""`detect_cosmics` takes what `ccdproc.cosmicray_lacosmic` takes, and gives its answer."""

from dataclasses import replace

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty

from ccdprofiles import detect_cosmics
from ccdprofiles.errors import CCDProfilesError, PlanError

GAIN = 1.5 * u.electron / u.adu


def image(level=200.0, seed=1):
    """Make a sky with 40 hits."""
    random = np.random.default_rng(seed)
    made = random.normal(level, level**0.5, (120, 140)).astype("f4")
    made[random.integers(5, 115, 40), random.integers(5, 135, 40)] += 2000
    return made


def in_adu():
    return CCDData(image(), unit="adu")


def in_electrons():
    return CCDData(image(), unit="electron")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sigclip": 6, "objlim": 3, "sigfrac": 0.5, "niter": 2},
        {"sepmed": False},
        {"cleantype": "medmask"},
        {"cleantype": "idw"},
        {"fsmode": "convolve", "psffwhm": 3, "psfsize": 9},
        {"fsmode": "convolve", "psfmodel": "moffat"},
        {"satlevel": 2000.0},
        {"pssl": 50.0},
        {"invar": np.full((120, 140), 240, "f4")},
        {"inbkg": np.full((120, 140), 20, "f4")},
    ],
)
@pytest.mark.filterwarnings('ignore:"pssl" was deprecated')
def test_the_answer_is_that_of_ccdproc(options):
    theirs = ccdproc.cosmicray_lacosmic(in_electrons(), readnoise=5 * u.electron, **options)
    ours = detect_cosmics(in_electrons(), readnoise=5 * u.electron, repair=True, **options)
    assert ours.mask.any()
    np.testing.assert_array_equal(ours.mask, theirs.mask)
    np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-6)
    assert ours.unit == u.electron


def test_a_gain_is_applied_as_by_ccdproc():
    for gain, noise in ((GAIN, 5 * u.electron), (1.5, 5)):
        theirs = ccdproc.cosmicray_lacosmic(in_adu(), gain=gain, readnoise=noise)
        ours = detect_cosmics(in_adu(), gain=gain, readnoise=noise, repair=True)
        np.testing.assert_array_equal(ours.mask, theirs.mask)
        np.testing.assert_allclose(ours.data, theirs.data, rtol=1e-6)
        assert ours.unit == theirs.unit == u.electron


def test_a_gain_that_is_not_applied_leaves_adu():
    ours = detect_cosmics(in_adu(), gain=GAIN, readnoise=5 * u.electron, gain_apply=False)
    np.testing.assert_array_equal(ours.data, in_adu().data)
    assert ours.unit == u.adu


def test_without_a_gain_adu_stay_adu():
    ours = detect_cosmics(in_adu(), readnoise=5)
    theirs = ccdproc.cosmicray_lacosmic(in_adu(), readnoise=5)
    np.testing.assert_array_equal(ours.mask, theirs.mask)
    assert ours.unit == u.adu
    assert theirs.unit == u.electron


def test_the_uncertainty_follows_the_gain():
    frame = in_adu()
    frame.uncertainty = StdDevUncertainty(np.full(frame.shape, 2.0))
    ours = detect_cosmics(frame, gain=GAIN, readnoise=5 * u.electron)
    np.testing.assert_allclose(ours.uncertainty.array, 3.0)


def test_without_repair_only_the_mask_is_set():
    frame = in_electrons()
    ours = detect_cosmics(frame, readnoise=5)
    np.testing.assert_array_equal(ours.data, frame.data)
    assert ours.mask.sum() >= 38
    assert frame.mask is None
    assert (ours.meta["CRAYS"], ours.meta["CRNUM"]) == ("flagged", ours.mask.sum())


def test_a_mask_and_flags_are_added_to():
    frame = in_electrons()
    frame.mask = np.zeros(frame.shape, bool)
    frame.mask[3:6] = True
    frame.flags = frame.mask * np.uint16(1)
    ours = detect_cosmics(frame, readnoise=5)
    assert ours.mask[3:6].all()
    assert not (ours.flags[3:6] & 8).any()
    np.testing.assert_array_equal(ours.mask, ours.flags != 0)


def test_an_array_gives_an_array_and_a_mask():
    data, mask = detect_cosmics(image(), readnoise=5, repair=True)
    theirs, their_mask = ccdproc.cosmicray_lacosmic(image(), readnoise=5)
    np.testing.assert_array_equal(mask, their_mask)
    np.testing.assert_allclose(data, theirs, rtol=1e-6)
    data, _ = detect_cosmics(image(), readnoise=5)
    np.testing.assert_array_equal(data, image())


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (in_electrons(), {"gain": GAIN}, "would be applied twice"),
        (in_electrons(), {"readnoise": 5 * u.adu}, "do not agree"),
        (in_adu(), {"gain": 1.5 * u.s, "readnoise": 5 * u.electron}, "do not agree"),
        (in_adu(), {"pssl": 5, "invar": image()}, "specify the sky background"),
        (in_adu(), {"cleantype": "mean"}, "not one of meanmask, medmask, idw"),
        (in_adu(), {"niter": 0}, "positive whole number"),
    ],
)
def test_what_does_not_fit_is_refused(frame, options, words):
    with pytest.raises(CCDProfilesError, match=words):
        detect_cosmics(frame, **options)


def test_a_frame_of_a_profile_needs_no_number(steps_of):
    steps = steps_of("lfc")
    frame = steps.calibrated(steps.night.plan.products[0].input)
    repaired = detect_cosmics(frame, repair=True)
    hit = (repaired.flags & 8) != 0
    assert hit.any()
    np.testing.assert_array_equal(repaired.data[~hit], frame.data[~hit])
    assert (repaired.data[hit] != frame.data[hit]).any()
    few = detect_cosmics(frame, sigclip=30)
    assert ((few.flags & 8) != 0).sum() < hit.sum()


def test_where_nobody_knows_the_noise_it_is_asked_for(steps_of):
    steps = steps_of("lfc")
    chosen = steps.night.plan.products[0].input
    amplifiers = [replace(a, gain=None) for a in steps.profile.amplifiers]
    unknown = replace(steps.profile, amplifiers=amplifiers)
    frame = unknown.prepare(steps.path(chosen.file))
    assert frame.uncertainty is None
    with pytest.raises(PlanError, match="read noise of lfc is not known"):
        detect_cosmics(frame)
    with_numbers = detect_cosmics(frame, gain=GAIN, readnoise=8 * u.electron)
    assert with_numbers.unit == u.electron


# What the caller does not give comes from the profile.


@pytest.mark.parametrize("name", ["lfc", "kosmos", "kosmos+two gains"])
def test_a_read_noise_alone_keeps_the_gain_and_the_recipe_of_the_profile(steps_of, name):
    steps = steps_of(name)
    frame = steps.calibrated(steps.night.plan.products[0].input)
    profile = steps.profile
    noise = 2 * profile.amplifiers[0].read_noise
    amplifiers = [replace(a, read_noise=noise) for a in profile.amplifiers]
    twin = replace(profile, amplifiers=amplifiers)
    origin = replace(
        frame.origin,
        frame=frame.origin.frame.with_(
            amplifiers=twin.amplifiers_of(
                frame.meta, {None: tuple(map(int, frame.meta["CPRAW"].split("x")))[::-1]}
            )
        ),
    )
    expected = detect_cosmics(type(frame)(frame, flags=frame.flags, origin=origin))
    for given in (noise, noise.value):
        ours = detect_cosmics(frame, readnoise=given)
        assert ours.unit == frame.unit
        np.testing.assert_array_equal(ours.flags, expected.flags)
    assert name != "lfc" or (ours.flags != detect_cosmics(frame).flags).any()


def test_a_gain_alone_keeps_the_read_noise_of_the_profile(steps_of):
    steps = steps_of("lfc")
    recipe = replace(steps.profile.recipe, electrons=False)
    profile = replace(steps.profile, recipe=recipe)
    frame = profile.prepare(steps.path(steps.night.plan.products[0].input.file))
    noise = profile.amplifiers[0].read_noise
    ours = detect_cosmics(frame, gain=GAIN)
    theirs = detect_cosmics(frame, gain=GAIN, readnoise=noise)
    assert ours.unit == theirs.unit == u.electron
    np.testing.assert_array_equal(ours.mask, theirs.mask)
    assert (ours.mask != detect_cosmics(frame, gain=GAIN, readnoise=80).mask).any()


@pytest.mark.parametrize("name", ["lfc", "kosmos+two gains"])
@pytest.mark.parametrize("options", [{"psfsize": 5}, {"pssl": 30.0}, {"psfbeta": 3.0}])
def test_other_options_keep_gain_and_read_noise_of_the_profile(steps_of, name, options):
    steps = steps_of(name)
    frame = steps.profile.calibrate(
        steps.prepared(steps.night.plan.products[0].input.file), electrons=False
    )
    noise = steps.profile.amplifiers[0].read_noise
    ours = detect_cosmics(frame, **options)
    assert ours.unit == frame.unit
    np.testing.assert_array_equal(ours.data, frame.data)
    gains = np.empty(frame.shape, "f4")
    for readout in frame.origin.frame.amplifiers.readouts:
        gains[readout.place.slices()] = readout.gain
    electrons = CCDData(frame.data * gains, unit="electron", mask=frame.mask)
    level = options.get("pssl", 0) * float(gains[0, 0])
    if "pssl" in options and "two" in name:
        return
    theirs = detect_cosmics(electrons, readnoise=noise, **(options | {"pssl": level}))
    np.testing.assert_array_equal(ours.mask, theirs.mask)


def test_a_pedestal_is_not_searched_whatever_is_given(steps_of):
    steps = steps_of("proem")
    frame = steps.prepared(steps.night.plan.products[0].input.file)
    for options in ({"readnoise": 5}, {"gain": GAIN}, {"gain": GAIN, "readnoise": 5}):
        with pytest.raises(PlanError, match="still contains its pedestal"):
            detect_cosmics(frame, **options)
