"""Which master bias, dark and flat a frame uses."""

import pytest
from astropy import units as u

from ccdprofiles import Flat
from ccdprofiles.plan.candidates import Candidate, Candidates, match_of
from ccdprofiles.plan.masters import choose_bias, choose_dark, choose_flat, choose_masters
from ccdprofiles.plan.plan import Input, Master
from ccdprofiles.plan.reason import Reason
from ccdprofiles.plan.setup_reader import SetupReader


def there(*frames, **more):
    """Masters named as frames, each set and read out as its frame was."""
    candidates = []
    for frame in frames:
        master = Master(
            frame.file,
            frame.type,
            (),
            frame.profile.name,
            frame.amplifier_key,
            frame.binning,
            exposure=frame.exposure,
            filter=frame.filter,
            match=match_of(frame.type, frame),
            time=more.get("times", {}).get(frame.file),
            bias_off=more.get("bias_off", False),
        )
        candidates.append(Candidate(master, SetupReader(frame.profile).read(frame.header)))
    return Candidates({}).with_(candidates)


def name(chosen):
    return chosen.master.name if isinstance(chosen, Candidate) else chosen.code


def test_the_bias_nearest_in_time_is_chosen(plain_frame):
    masters = there(
        plain_frame("early", "bias"),
        plain_frame("late", "bias"),
        times={"early": 0.0, "late": 86400.0},
    )
    frame = plain_frame("a.fits", "science", 60.0, date="1970-01-01T20:00:00")
    assert name(choose_bias(frame, masters)) == "late"
    assert name(choose_bias(frame.with_(date="1970-01-01T02:00:00"), masters)) == "early"


def test_a_bias_of_another_gain_is_not_chosen(plain_frame):
    frame = plain_frame("a.fits", "science", 60.0, cards={"GAIN": 100})
    masters = there(plain_frame("b", "bias", cards={"GAIN": 0}))
    chosen = choose_bias(frame, masters)
    assert (chosen.file, chosen.code) == ("a.fits", "no-bias")
    assert "there are biases with GAIN = 0" in chosen.text


def test_a_dark_must_agree_in_temperature_and_a_bias_need_not(plain_frame):
    frame = plain_frame("a.fits", "science", 60.0, cards={"CCD-TEMP": -10})
    cold = {"CCD-TEMP": -20}
    masters = there(
        plain_frame("b", "bias", cards=cold), plain_frame("d", "dark", 60.0, cards=cold)
    )
    assert name(choose_bias(frame, masters)) == "b"
    assert "there are darks of -20 °C" in choose_dark(frame, masters, bias_off=False).text


@pytest.mark.parametrize(
    ("exposure", "chosen"), [(60.4, "d60"), (62.0, "no-dark"), (300.0, "d300")]
)
def test_a_dark_has_the_exposure_of_the_frame(plain_camera, plain_frame, exposure, chosen):
    camera = plain_camera(exposure_tolerance=1 * u.s)
    darks = [plain_frame(f"d{t:g}", "dark", t, camera) for t in (60.0, 300.0)]
    frame = plain_frame("a.fits", "science", exposure, camera)
    assert name(choose_dark(frame, there(*darks), bias_off=False)) == chosen


@pytest.mark.parametrize(
    ("exposure", "chosen"), [(60.0, "d60"), (60.4, "d60"), (62.0, "d300"), (500.0, "d300")]
)
def test_a_dark_that_may_be_scaled_is_the_longest(plain_camera, plain_frame, exposure, chosen):
    camera = plain_camera(dark="scale", exposure_tolerance=1 * u.s)
    darks = [plain_frame(f"d{t:g}", "dark", t, camera) for t in (60.0, 300.0)]
    frame = plain_frame("a.fits", "science", exposure, camera)
    assert name(choose_dark(frame, there(*darks, bias_off=True), bias_off=True)) == chosen


@pytest.mark.parametrize("bias_off", [True, False])
def test_a_dark_loses_its_bias_as_the_frame_does(plain_frame, bias_off):
    frame = plain_frame("a.fits", "science", 60.0)
    masters = there(plain_frame("d", "dark", 60.0), bias_off=bias_off)
    assert name(choose_dark(frame, masters, bias_off)) == "d"
    assert name(choose_dark(frame, masters, not bias_off)) == "no-dark"


def test_a_flat_is_of_the_filter_and_a_gain_does_not_matter(plain_frame):
    masters = there(
        plain_frame("r", "flat", filter="R", cards={"GAIN": 0}),
        plain_frame("v", "flat", filter="V", cards={"GAIN": 100}),
    )
    frame = plain_frame("a.fits", "science", 60.0, filter="R", cards={"GAIN": 100})
    assert name(choose_flat(frame, masters)) == "r"
    lacking = choose_flat(frame.with_(filter="B"), masters)
    assert lacking == Reason("a.fits", "no-flat", "no flat in filter B; there are flats in R, V.")


def test_the_masters_of_a_frame_are_one_input_or_the_first_that_is_missing(
    plain_camera, plain_frame
):
    camera = plain_camera(dark="scale", flat=Flat())
    frame = plain_frame("a.fits", "science", 60.0, camera, filter="R")
    bias = there(plain_frame("b", "bias", 0.0, camera))
    dark = there(plain_frame("d", "dark", 120.0, camera), bias_off=True)
    flat = there(plain_frame("f", "flat", 5.0, camera, filter="R"))
    masters = Candidates({})
    for kind, more in (("bias", bias), ("dark", dark), ("flat", flat)):
        assert choose_masters(frame, masters, ()).code == f"no-{kind}"
        masters = masters.with_(more.by_name.values())
    assert choose_masters(frame, masters, ()) == Input("a.fits", "b", "d", 0.5, "f")
    assert choose_masters(frame, masters, ("flat",)) == Input("a.fits", "b", "d", 0.5, None)
    assert choose_masters(frame.with_(type="bias"), Candidates({}), ()) == Input("a.fits")
