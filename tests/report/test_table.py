"""The table of a night: frames that are not needed."""

import by_hand

from ccdprofiles import Flat


def test_frames_of_another_night_that_nothing_needs_leave_the_night_whole(tmp_path):
    by_hand.write_some(tmp_path / "night", "bias", 2, 100)
    by_hand.write_some(tmp_path / "night", "dark", 2, 110, 10.0)
    by_hand.write_some(tmp_path / "night", "flat", 2, 1000, 10.0, FILTER="r")
    by_hand.write(tmp_path / "night/s.fits", "light", 600, 10.0, FILTER="r")
    by_hand.write_some(tmp_path / "other", "flat", 2, 1000, 3.0, FILTER="g")
    made = by_hand.reduce_night(
        tmp_path / "night",
        tmp_path / "out",
        profile=by_hand.camera(dark="match", flat=Flat()),
        calibrations=[tmp_path / "other"],
    )
    assert made.ok
    assert by_hand.verdicts(made)["other/flat0.fits"] == "not needed"


def test_frames_that_no_one_needs_are_counted(raw_night):
    made = by_hand.reduce_night(
        raw_night, raw_night.parent / "out", profiles=[by_hand.SMALL], without=["dark"]
    )
    unneeded = sum(made.frames["verdict"] == "not needed")
    assert unneeded
    assert f" used, {unneeded} not needed\n" in str(made)
