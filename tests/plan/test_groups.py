"""Which frames make one master."""

import dataclasses

import pytest

from ccdprofiles.plan.candidates import Settings
from ccdprofiles.plan.groups import groups_of, split_by_settings


def names(groups):
    return [[frame.file for frame in group] for group in groups]


def test_flats_are_grouped_by_filter_and_biases_are_not(plain_frame):
    for kind, groups in (("flat", [["0", "2"], ["1"]]), ("bias", [["0", "1", "2"]])):
        frames = [plain_frame(f"{n}", kind, filter=f) for n, f in enumerate("RVR")]
        assert names(groups_of(kind, frames)) == groups


@pytest.mark.parametrize(
    "other", [{"binning": (2, 2)}, {"amplifier_key": "another"}, {"origin": "1"}]
)
def test_frames_that_were_read_out_differently_are_not_combined(plain_frame, other):
    frames = [plain_frame("a", "bias"), plain_frame("b", "bias", **other)]
    assert names(groups_of("bias", frames)) == [["a"], ["b"]]


def test_darks_are_grouped_by_exposure_within_one_per_cent(plain_frame):
    darks = [plain_frame(f"{t:g}", "dark", t) for t in (300.0, 60.0, 60.4, 61.0, 300.9)]
    assert names(groups_of("dark", darks)) == [["60", "60.4"], ["61"], ["300", "300.9"]]
    assert groups_of("dark", []) == []


def test_darks_of_an_unknown_exposure_are_a_group_before_the_shortest(plain_frame):
    darks = [plain_frame(f"{t}", "dark", t) for t in (0.5, None, 1.0, None)]
    assert names(groups_of("dark", darks)) == [["None", "None"], ["0.5"], ["1.0"]]


def test_frames_of_one_setting_stay_one_group_without_a_note(plain_frame):
    frames = [plain_frame(f"{n}", "bias", cards={"GAIN": 3}) for n in range(3)]
    split = split_by_settings("bias", frames, Settings())
    assert names(part.frames for part in split.parts) == [["0", "1", "2"]]
    assert (split.notes, split.refused) == ((), ())


def test_frames_of_two_settings_are_divided_with_a_note_or_refused(plain_frame):
    frames = [plain_frame(f"{n}", "bias", cards={"GAIN": n % 2}) for n in range(4)]
    split = split_by_settings("bias", frames, Settings())
    assert names(part.frames for part in split.parts) == [["0", "2"], ["1", "3"]]
    assert [part.among for part in split.parts] == [" with GAIN = 0", " with GAIN = 1"]
    assert split.notes == (
        "the 4 biases of cam were taken with different settings (GAIN is 0 in 2 frames and 1 in 2 "
        "frames); only frames with the same settings are combined",
    )
    strict = dataclasses.replace(frames[0].profile, mixed_setup="refuse")
    split = split_by_settings("bias", [f.with_(profile=strict) for f in frames], Settings())
    assert split.parts == ()
    assert [(r.file, r.code) for r in split.refused] == [(f"{n}", "mixed-setup") for n in range(4)]


def test_flats_of_several_temperatures_are_combined_and_darks_are_not(plain_frame):
    for kind, number in (("flat", 1), ("dark", 2)):
        frames = [plain_frame(f"{n}", kind, 5.0, cards={"CCD-TEMP": -5 * n}) for n in range(2)]
        split = split_by_settings(kind, frames, Settings())
        assert len(split.parts) == number
        assert any("chips of 2 flats" in note for note in split.notes) is (kind == "flat")
        assert [part.by_temperature for part in split.parts] == [kind == "dark"] * number


@pytest.mark.parametrize(("number", "more"), [(3, ""), (5, "; 2 other cards differ too")])
def test_three_unlisted_cards_are_quoted_and_the_others_counted(plain_frame, number, more):
    cards = [dict.fromkeys((f"KNOB{n}" for n in range(number)), value) for value in (0, 1, 0, 1)]
    frames = [plain_frame(f"{n}", "bias", cards=c) for n, c in enumerate(cards)]
    (part,) = split_by_settings("bias", frames, Settings()).parts
    quoted = "; ".join(f"KNOB{n} is 0 in 2 frames and 1 in 2 frames" for n in range(3))
    assert part.notes == (
        f"{quoted}{more}; add a card that changes the read-out to match=, and one that does not to "
        "ignore_cards=",
    )
