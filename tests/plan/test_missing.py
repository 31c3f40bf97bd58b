"""Why a frame cannot be calibrated, in one sentence for each cause."""

from ccdprofiles.plan.candidates import Candidates, Settings, adopted
from ccdprofiles.plan.missing import few_frames, mixed_setup, no_bias, no_dark, no_flat, pedestal
from ccdprofiles.plan.plan import Master


def test_each_reason_names_the_file_and_its_code(plain_frame):
    frame, none = plain_frame("a.fits", "science", 60.0, filter="R"), Candidates({})
    master = Master("m", "dark", (), "cam", "key", (1, 1), exposure=60.0, minimum=3)
    reasons = [
        no_bias(frame, none),
        no_dark(frame, (), 1.0, none),
        no_flat(frame, none),
        pedestal(frame),
        few_frames(frame, master),
        mixed_setup(frame, "2 darks of cam", "GAIN is 0 in a.fits and 1 in b.fits"),
    ]
    assert {r.file for r in reasons} == {"a.fits"}
    assert [r.code for r in reasons] == [
        *("no-bias", "no-dark", "no-flat", "pedestal", "few-frames", "mixed-setup"),
    ]
    assert [r.text for r in reasons[:3]] == [
        "no bias of 24x12 pixels binned 1x1; the night has none of cam.",
        "no dark of 60 s ± 1 s and 24x12 pixels binned 1x1; the night has none of cam.",
        "no flat in filter R of 24x12 pixels binned 1x1; the night has none of cam.",
    ]
    assert "0 of the darks of 60 s can be used, but a master needs 3" in reasons[4].text


def test_what_is_wrong_with_the_masters_that_are_there_is_said(plain_frame):
    frame = plain_frame("a.fits", "science", 60.0)
    wrong = {
        "is binned 2x2": {"binning": (2, 2)},
        "was read out by other amplifiers": {"amplifier_key": "another"},
    }
    for text, changed in wrong.items():
        master = adopted(plain_frame("b.fits", "bias", **changed), Settings())
        masters = Candidates({}).with_([master])
        assert no_bias(frame, masters).text.endswith(f"; b {text}.")


def test_frames_that_make_no_master_are_counted(plain_frame):
    frame = plain_frame("a.fits", "science", 60.0)
    masters = Candidates({"bias": [plain_frame("b.fits", "bias")]})
    assert no_bias(frame, masters).text == (
        "no bias of 24x12 pixels binned 1x1; the 1 of the night cannot be used for the reasons listed with them."
    )
