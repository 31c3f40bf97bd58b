"""A reason is one frozen value; its sentence is made where it is shown."""

import dataclasses
import pickle

import pytest

from ccdprofiles.plan.frames import IGNORED, SET_ASIDE
from ccdprofiles.plan.reason import Reason


def test_a_reason_is_written_with_its_file():
    reason = Reason("dark7.fits", "no-bias", "no bias.")
    assert str(reason) == reason.reason == "dark7.fits: no bias."
    assert pickle.loads(pickle.dumps(reason)) == reason
    with pytest.raises(dataclasses.FrozenInstanceError):
        reason.text = "another"


def test_a_note_has_no_code():
    assert Reason.note("a.fits", "odd.") == Reason("a.fits", "", "odd.")


def test_a_rejected_frame_has_a_reason_and_the_frame_itself_is_unchanged(plain_frame):
    frame = plain_frame("a.fits", "bias")
    rejected = frame.rejected("cut", "too short.")
    assert rejected.fault == Reason("a.fits", "cut", "too short.")
    assert (rejected.verdict, rejected.code, rejected.reason) == (
        SET_ASIDE,
        "cut",
        "a.fits: too short.",
    )
    assert (frame.fault, frame.code, frame.reason) == (None, "", "")
    assert frame.rejected("hidden", "hidden file.", IGNORED).verdict == IGNORED
