"""How exposures, dates, cards, lists of files and names are written."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccdprofiles.camera.header_values import time_of
from ccdprofiles.plan.reason import Reason
from ccdprofiles.plan.wording import (
    cards_phrase,
    file_name,
    grouped,
    seconds,
    tally,
    temperature_range,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1970-01-01T00:01:00", 60),
        ("1970-01-02", 86400),
        (" 1970-01-01T00:00:00.5 ", 0.5),
        ("1970-01-01T01:00:00+01:00", 0),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_is_read_as_a_time_or_is_none(text, number):
    assert time_of(text) == number


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("g'", "g"),
        ("H-alpha 656/3", "H-alpha_656_3"),
        ("../../etc/passwd", "etc_passwd"),
        ("/etc/x", "etc_x"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("CON", "_CON"),
        ("lpt1", "_lpt1"),
        ("a\nb\x00c", "a_b_c"),
        ("Hα", "H"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
    ],
)
def test_a_name_from_a_header_is_safe(text, name):
    assert file_name(text) == name


@given(st.text())
def test_any_text_makes_a_safe_name(text):
    name = file_name(text)
    assert re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,60}", name)
    assert file_name(name) == name or name.startswith("_")


def test_exposures_are_written_as_people_do():
    assert [seconds(x) for x in (300.0, 1.21, 0.001, None)] == [
        "300 s",
        "1.21 s",
        "0.001 s",
        "unknown exposure",
    ]


def test_cards_follow_a_noun_or_other_cards():
    cards = [("GAIN", 100.0), ("READOUTM", "fast"), ("OFFSET", None)]
    assert cards_phrase(cards) == " with GAIN = 100 and READOUTM = fast and OFFSET missing"
    assert cards_phrase(cards[:1], " with ISO = 3") == " and GAIN = 100"
    assert cards_phrase([]) == ""


def test_values_are_counted_the_most_frequent_first():
    files = ["a.fits", "b.fits", "c.fits", "d.fits"]
    assert tally(["1", "0", "0", "0"], files) == "0 in 3 frames and 1 in a.fits"
    assert tally(["2", "2", "2", "2"], files) == "2 in 4 frames"


def test_temperatures_are_a_range_unless_they_are_equal():
    assert temperature_range([-10.0, -12.04, -11]) == "-12.04 to -10 °C"
    assert temperature_range([-10.0, -10.0001]) == "-10 °C"


def test_a_reason_that_several_frames_share_word_for_word_is_said_once():
    """As that of a master, which is the reason of all the frames that went into it."""
    reasons = [Reason("masters/x.fits", "few-frames", "few frames.")] * 2
    reasons += [Reason("a.fits", "cut", "cut."), Reason("b.fits", "cut", "cut.")]
    assert grouped(reasons) == ["masters/x.fits: few frames.", "2 files (a.fits … b.fits): cut."]


def test_a_colon_in_the_name_of_a_file_does_not_divide_a_reason():
    assert grouped([Reason("m: 31.fits", "cut", "cut.")]) == ["m: 31.fits: cut."]
