"""Single steps compare the settings of frames and masters as the plan of a night does."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from ccdprofiles import combine
from ccdprofiles.errors import PlanError

from .test_ledger import Made, foreign, with_cards


@pytest.fixture
def made(steps_of):
    return lambda name: Made(steps_of(name))


def frames_of(camera, kind):
    """Return the frames of one master, calibrated as the plan says."""
    masters = camera.steps.night.plan.masters
    master = next(m for m in masters if m.type == kind)
    return [camera.steps.calibrated(i) for i in master.inputs]


@pytest.mark.parametrize("source", ["ours", "foreign"])
@pytest.mark.parametrize("kind", ["bias", "dark"])
@pytest.mark.parametrize("card", ["GAIN", "READOUTM", "OFFSET"])
def test_a_bias_or_dark_of_other_settings_is_refused(made, kind, card, source):
    camera = made("cg16m")
    frame = with_cards(camera.frame, **{card: 7})
    masters = {"bias": camera.bias, "dark": camera.dark}
    masters = {k: with_cards(m, **{card: 7}) for k, m in masters.items()}
    camera.calibrate(frame, **masters)
    other = with_cards(masters[kind], **{card: 9})
    masters[kind] = foreign(other, **{card: 9}) if source == "foreign" else other
    with pytest.raises(
        PlanError, match=rf"master {kind} was taken with {card} = 9, but the frame with {card} = 7"
    ):
        camera.calibrate(frame, **masters)


def test_a_dark_of_another_temperature_is_refused_within_the_tolerance_of_the_recipe(made):
    camera = made("cg16m")
    chip = camera.frame.meta["CCD-TEMP"]
    camera.calibrate(with_cards(camera.frame, **{"CCD-TEMP": chip + 2.5}), bias=camera.bias)
    warm = with_cards(camera.frame, **{"CCD-TEMP": chip + 4, "SET-TEMP": -16})
    with pytest.raises(
        PlanError, match=r"master dark was taken .*at -20.02 °C, but the frame .*at -16.02 °C"
    ):
        camera.calibrate(warm, bias=camera.bias, dark=camera.dark)
    limits = replace(camera.profile.recipe.limits, temperature=1 * u.deg_C)
    strict = replace(camera.profile, recipe=replace(camera.profile.recipe, limits=limits))
    frame = strict.prepare(camera.steps.path(camera.chosen.file))
    near = with_cards(frame, **{"CCD-TEMP": chip + 1.5})
    with pytest.raises(PlanError, match="the recipe allows 1 °C"):
        strict.calibrate(near, bias=camera.bias, dark=camera.dark)


def test_a_bias_of_another_temperature_is_only_noted(made, caplog):
    camera = made("cg16m")
    chip = camera.frame.meta["CCD-TEMP"]
    warm = with_cards(camera.frame, **{"CCD-TEMP": chip + 5})
    with caplog.at_level(logging.WARNING):
        done = camera.calibrate(warm, bias=camera.bias)
    assert "master bias was taken at -20.02 °C, and the frame at -15.02 °C" in caplog.text
    history = "".join(map(str, done.meta["HISTORY"]))
    assert "master bias was taken at -20.02 deg C" in history


def test_a_flat_may_differ_in_gain_and_a_difference_in_mode_is_noted(made, caplog):
    camera = made("cg16m")
    masters = {"bias": camera.bias, "dark": camera.dark}
    usual = camera.calibrate(**masters, flat=camera.flat)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        done = camera.calibrate(**masters, flat=with_cards(camera.flat, GAIN=5))
    assert not caplog.records
    np.testing.assert_array_equal(done.data, usual.data)
    with caplog.at_level(logging.WARNING):
        done = camera.calibrate(**masters, flat=with_cards(camera.flat, READOUTM="Fast"))
    assert "master flat was taken with READOUTM = Fast, and the frame with READOUTM =" in (
        caplog.text
    )
    np.testing.assert_array_equal(done.data, usual.data)
    assert "READOUTM = Fast" in "".join(map(str, done.meta["HISTORY"]))


def test_a_setting_that_is_not_known_is_noted(made, caplog):
    camera = made("cg16m")
    with caplog.at_level(logging.WARNING):
        camera.calibrate(with_cards(camera.frame, GAIN=5), bias=camera.bias)
    assert "GAIN missing, and the frame with GAIN = 5; it is not known" in caplog.text


@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
@pytest.mark.parametrize(("card", "value"), [("GAIN", 9), ("READOUTM", "Fast")])
def test_frames_of_two_settings_are_not_combined(made, kind, card, value):
    frames = frames_of(made("cg16m"), kind)
    frames = [with_cards(f, GAIN=7) for f in frames]
    combine(frames)
    frames[1] = with_cards(frames[1], **{card: value})
    with pytest.raises(PlanError, match=rf"different settings \({card} is .*{value}"):
        combine(frames)


def test_darks_of_two_temperatures_are_not_combined_and_biases_are_with_a_note(made, caplog):
    camera = made("cg16m")
    darks, biases = frames_of(camera, "dark"), frames_of(camera, "bias")
    darks[0], biases[0] = (with_cards(f[0], **{"CCD-TEMP": -10.0}) for f in (darks, biases))
    with pytest.raises(PlanError, match=r"CCD-TEMP is .*-10 °C in frame 1"):
        combine(darks)
    biases[1] = with_cards(biases[1], **{"CCD-TEMP": -17.5})
    biases[2] = with_cards(biases[2], **{"CCD-TEMP": -15.0})
    biases[3] = with_cards(biases[3], **{"CCD-TEMP": -12.5})
    with caplog.at_level(logging.WARNING):
        done = combine(biases)
    assert "they are combined, because the bias level hardly depends on it" in caplog.text
    assert "hardly depends" in "".join(map(str, done.meta["HISTORY"]))


def test_a_master_has_the_settings_of_its_frames(made):
    camera = made("cg16m")
    darks = [
        with_cards(f, **{"CCD-TEMP": -20 + n / 10}) for n, f in enumerate(frames_of(camera, "dark"))
    ]
    dark = combine(darks)
    mean = np.mean([f.meta["CCD-TEMP"] for f in darks])
    assert dark.meta["CPTEMP"] == pytest.approx(mean, abs=1e-3)
    assert "CCD-TEMP" not in dark.meta
    with pytest.raises(PlanError, match="at -5 °C"):
        camera.calibrate(
            with_cards(camera.frame, **{"CCD-TEMP": -5.0, "SET-TEMP": -5.0}),
            bias=camera.bias,
            dark=dark,
        )


def test_flats_of_two_filters_or_slits_are_not_combined(made):
    lfc = made("lfc")
    flats = frames_of(lfc, "flat")
    card = lfc.profile.filter
    own = flats[0].meta[card]
    flats[2] = with_cards(flats[2], **{card: "Z9"})
    words = f"frame 1 .*frame 3 .*the filter is {own!r} in frame 1 .* 'Z9' in frame 3"
    with pytest.raises(PlanError, match=words):
        combine(flats)
    kosmos = made("kosmos")
    flats = frames_of(kosmos, "flat")
    slit = flats[0].meta["SLIT"]
    flats[1] = with_cards(flats[1], SLIT="wide")
    with pytest.raises(PlanError, match=rf"SLIT is '{slit}' in frame 1 .* 'wide' in frame 2"):
        combine(flats)


# What the header says now.


def test_the_exposure_is_that_of_the_header_now(made):
    lfc = made("lfc")
    frame = with_cards(lfc.frame, EXPTIME=111.0)
    with pytest.raises(PlanError, match="that of the frame 111 s"):
        lfc.calibrate(frame, dark=lfc.dark)
    done = lfc.calibrate(frame)
    assert done.meta["HASDARK"] == 111.0
    darks = frames_of(lfc, "dark")
    darks[0] = with_cards(darks[0], EXPTIME=123.0)
    with pytest.raises(PlanError, match=r"the exposures of the darks are .* 123"):
        combine(darks)
    with pytest.raises(PlanError, match="the filter is"):
        lfc.calibrate(
            with_cards(lfc.frame, **{lfc.profile.filter: "Z9"}), dark=lfc.dark, flat=lfc.flat
        )
