"""Numbers by a setting, a card or the date."""

import copy
import pickle

import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from ccdprofiles import Amplifier, Dated, Profile, Recipe, Setting
from ccdprofiles.camera.settings import check_period, number_of, overlapping, why_unknown
from ccdprofiles.errors import FrameRejected, ProfileError

GAIN = u.electron / u.adu
BY_GAIN = Setting("GAIN", {0: 0.77, 100: 0.25}, unit=GAIN)


def refusal_of(make, *args, **kwargs):
    with pytest.raises(ProfileError) as refusal:
        make(*args, **kwargs)
    return str(refusal.value)


def rejection_of(*args):
    with pytest.raises(FrameRejected) as rejection:
        number_of(*args)
    return rejection.value.code, str(rejection.value)


def camera(**numbers):
    amplifier = Amplifier(data="[1:10, 1:10]", overscan=None, **numbers)
    return Profile(instrument="cam", amplifiers=[amplifier], recipe=Recipe())


def readout(profile, header):
    return profile.amplifiers_of(header, {None: (10, 10)}).readouts[0]


# A table over a setting.


@pytest.mark.parametrize("value", [100, 100.0, "100", " 100.0 ", "1e2"])
def test_numbers_are_compared_as_numbers(value):
    assert BY_GAIN({"GAIN": value}) == 0.25 * GAIN


@pytest.mark.parametrize("value", ["High Gain", "high gain", " HIGH GAIN "])
def test_texts_are_compared_without_case(value):
    mode = Setting("MODE", {"High Gain": 1.5, "Low Gain": None}, unit=u.electron)
    assert mode({"MODE": value}) == 1.5 * u.electron
    assert mode({"MODE": "low gain"}) is None


def test_the_first_spelling_with_a_value_counts():
    mode = Setting(("READOUTM", "READMODE"), {1: 3, 2: 5}, unit=u.electron)
    assert mode({"READMODE": 2}) == 5 * u.electron
    assert mode({"READOUTM": "", "READMODE": 2}) == 5 * u.electron
    assert mode({"READOUTM": 1, "READMODE": 2}) == 3 * u.electron


@pytest.mark.parametrize(
    ("header", "number"),
    [
        ({"GAIN": 0, "EGAIN": 9}, 0.77),
        ({"GAIN": 55, "EGAIN": 0.4}, 0.4),
        ({"GAIN": 55, "EGAIN": "0.4"}, 0.4),
        ({"EGAIN": 0.4}, 0.4),
        ({"GAIN": 55}, None),
        ({"GAIN": 55, "EGAIN": "unknown"}, None),
        ({}, None),
    ],
)
def test_what_is_not_in_the_table_is_read_from_the_other_card(header, number):
    setting = Setting("GAIN", {0: 0.77}, unit=GAIN, else_card="EGAIN")
    assert number_of(setting, header, GAIN, "gain") == number


def test_a_value_whose_number_is_unknown_does_not_ask_the_other_card():
    setting = Setting("GAIN", {0: None}, unit=GAIN, else_card="EGAIN")
    assert setting({"GAIN": 0, "EGAIN": 1}) is None


@given(st.floats(-10, 310))
def test_interpolates_between_neighbours_and_never_beyond(value):
    setting = Setting("GAIN", {0: 1, 100: 3, 300: 2, "auto": 7}, unit=u.adu, interpolate=True)
    got = setting({"GAIN": value})
    value = float(f"{value:.6g}")
    if not 0 <= value <= 300:
        assert got is None
    elif value <= 100:
        assert got.value == pytest.approx(1 + 2 * value / 100)
    else:
        assert got.value == pytest.approx(3 - (value - 100) / 200)
    assert setting({"GAIN": "Auto"}) == 7 * u.adu


def test_does_not_interpolate_unless_asked_nor_across_an_unknown_number():
    assert BY_GAIN({"GAIN": 50}) is None
    gap = Setting("GAIN", {0: 1, 100: None, 200: 3}, unit=u.adu, interpolate=True)
    assert gap({"GAIN": 50}) is None
    assert gap({"GAIN": 100}) is None


@pytest.mark.parametrize(
    ("args", "more", "sentence"),
    [
        (
            ("GAIN", {0: 0.77}),
            {},
            "Setting('GAIN', ...) has no unit; write unit=u.electron / u.adu for a gain, "
            "unit=u.electron for a read noise, unit=u.adu for a level.",
        ),
        (
            ("GAIN", {}),
            {"unit": GAIN},
            "Setting('GAIN', {}) has no table; use a dict of the number for each value of the card, "
            "such as {0: 0.77, 100: 0.25}.",
        ),
        (
            ("GAIN", {100: 1, "100.0": 2}),
            {"unit": GAIN},
            "Setting('GAIN', ...): '100.0' is listed twice; use each value once (100, 100.0 and "
            "'100' are equal, and so are texts that differ in case).",
        ),
        (
            ("GAIN", {"unknown": 1}),
            {"unit": GAIN},
            "Setting('GAIN', ...): 'unknown' is not a value of a card; use each value once (100, "
            "100.0 and '100' are equal, and so are texts that differ in case).",
        ),
        (
            ("GAIN", {0: "high"}),
            {"unit": GAIN},
            "Setting: high for GAIN = 0 is not a number in electron / adu; use a number, or None if "
            "it is not known.",
        ),
        (
            ("GAIN", {0: 2 * u.electron}),
            {"unit": GAIN},
            "Setting: 2.0 electron for GAIN = 0 is not a number in electron / adu; use a number, or "
            "None if it is not known.",
        ),
        (
            ("", {0: 1}),
            {"unit": GAIN},
            "the card of a Setting='' is not the name of a header card.",
        ),
        ((5, {0: 1}), {"unit": GAIN}, "the card of a Setting=5 is not the name of a header card."),
        (
            ("GAIN", {0: 1}),
            {"unit": GAIN, "else_card": " "},
            "else_card=' ' is not the name of a header card.",
        ),
        (
            ("GAIN", {0: 1, "auto": 2}),
            {"unit": GAIN, "interpolate": True},
            "Setting('GAIN', ..., interpolate=True) needs numbers for two values of the card that "
            "are numbers; add one, or omit interpolate.",
        ),
        (
            ("GAIN", {0: 1}),
            {"unit": GAIN, "interpolate": "yes"},
            "interpolate='yes' is not True or False.",
        ),
    ],
)
def test_refuses_a_table_that_cannot_be_right(args, more, sentence):
    assert refusal_of(Setting, *args, **more) == sentence


def test_equal_tables_are_equal_however_they_were_written():
    same = Setting("GAIN", {"100": 0.25 * GAIN, 0.0: 770 * u.electron / (1000 * u.adu)})
    assert same == BY_GAIN
    assert hash(same) == hash(BY_GAIN)
    assert repr(same) == repr(BY_GAIN)
    assert Setting("GAIN", {0: 0.77, 100: 0.26}, unit=GAIN) != BY_GAIN
    assert Setting("GAIN", {0: 0.77, 100: 0.25}, unit=GAIN, else_card="EGAIN") != BY_GAIN


OBJECTS = [
    BY_GAIN,
    Setting(("A", "B"), {"x": 1, 2.5: None}, unit=u.adu, else_card=("C", "D")),
    Setting("GAIN", {0: 1, 1: 2}, unit=u.electron, interpolate=True),
    Dated({("2019-03-01", None): 1.2 * GAIN, (None, "2019-03-01"): BY_GAIN}),
    Dated({("2019-03-01", "2020-01-01"): "EGAIN", ("2021-01-01", None): None}, card="DATE"),
]


@pytest.mark.parametrize("value", OBJECTS)
def test_is_printed_as_it_is_written_and_can_be_copied_and_pickled(value):
    names = {"Setting": Setting, "Dated": Dated, "u": u}
    for other in (eval(repr(value), names), pickle.loads(pickle.dumps(value)), copy.copy(value)):
        assert other == value
        assert hash(other) == hash(value)
        assert repr(other) == repr(value)


# A number that changed on a date.


@pytest.mark.parametrize(
    ("date", "number"),
    [
        ("2019-02-28T23:59:59.999", 1.4),
        ("2019-03-01", 1.2),
        ("2019-03-01T00:00:00", 1.2),
        ("2019-12-31T23:59:59", 1.2),
        ("2020-01-01", None),
        ("2021-01-01T12:00:00", 0.5),
        ("yesterday", None),
        (None, None),
    ],
)
def test_the_date_of_the_frame_decides(date, number):
    dated = Dated(
        {
            ("2021-01-01", None): "EGAIN",
            (None, "2019-03-01"): 1.4 * GAIN,
            ("2019-03-01", "2020-01-01"): lambda header: 1.2 * GAIN,
        }
    )
    header = {"EGAIN": 0.5} | ({} if date is None else {"DATE-OBS": date})
    assert number_of(dated, header, GAIN, "gain") == number
    assert readout(camera(gain=dated), header).gain == number


@pytest.mark.parametrize(
    ("periods", "sentence"),
    [
        (
            {("2019-01-01", "2020-01-02"): None, ("2020-01-01", None): None},
            "Dated has two numbers for one date: the periods 2019-01-01 to 2020-01-02 and from "
            "2020-01-01 overlap; let the first end when the second begins.",
        ),
        (
            {("2020-01-01", "2019-01-01"): None},
            "Dated: the period ('2020-01-01', '2019-01-01') ends before it begins; write the "
            "earlier date first.",
        ),
        (
            {("2020", None): None},
            "Dated: ('2020', None) is not a period; use two ISO dates, of which one may be None, "
            "such as ('2019-03-01', '2023-07-14') or ('2019-03-01', None).",
        ),
        (
            {"2020-01-01": None},
            "Dated: '2020-01-01' is not a period; use two ISO dates, of which one may be None, "
            "such as ('2019-03-01', '2023-07-14') or ('2019-03-01', None).",
        ),
        (
            {},
            "Dated({}) has no periods; use a dict such as {('2019-03-01', None): 1.2 * u.electron / "
            "u.adu}.",
        ),
    ],
)
def test_refuses_periods_that_cannot_be_right(periods, sentence):
    assert refusal_of(Dated, periods) == sentence


def test_a_period_that_is_open_on_both_sides_is_none():
    assert "is not a period" in refusal_of(check_period, (None, None), "valid")


def test_periods_that_touch_do_not_overlap():
    assert not overlapping((None, "2019-03-01"), ("2019-03-01", None))
    assert overlapping((None, "2019-03-02"), ("2019-03-01", None))


# In an amplifier.


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        (
            {"gain": "1.2"},
            "gain='1.2' is a text, and texts are the names of cards; write gain=1.2 * u.electron / "
            "u.adu.",
        ),
        ({"saturation": ""}, "saturation='' is not the name of a header card."),
        (
            {"gain": Setting("G", {0: 3}, unit=u.electron)},
            "gain=1.0 electron is not in electron / adu; write it as gain=1.0 * u.electron / u.adu.",
        ),
        (
            {"read_noise": Setting("G", {0: 3, 1: -1}, unit=u.electron)},
            "read_noise=-1.0 electron is not a positive number.",
        ),
        (
            {"gain": Dated({(None, "2019-01-01"): 3 * u.adu})},
            "gain=3.0 adu is not in electron / adu; write it as gain=3.0 * u.electron / u.adu.",
        ),
        (
            {"linear": 5 * u.electron},
            "linear=5.0 electron is not in adu; write it as linear=5.0 * u.adu.",
        ),
        (
            {"linear": 60000 * u.adu, "saturation": 50000 * u.adu},
            "linear=60000 adu is above saturation=50000 adu; the limit of linearity is at or below "
            "the saturation level.",
        ),
    ],
)
def test_an_amplifier_refuses_what_is_not_its_number(numbers, sentence):
    assert refusal_of(camera, **numbers) == sentence


@pytest.mark.parametrize(
    ("value", "header", "code", "sentence"),
    [
        (
            "EGAIN",
            {"EGAIN": "high"},
            "setting",
            "EGAIN = 'high' is not a number, but one in electron / adu was expected; correct the "
            "header, or use another card or a number in the profile.",
        ),
        (
            "EGAIN",
            {"EGAIN": True},
            "setting",
            "EGAIN = True is not a number, but one in electron / adu was expected; correct the "
            "header, or use another card or a number in the profile.",
        ),
        (
            "EGAIN",
            {"EGAIN": 0},
            "gain",
            "gain=0.0 electron / adu is not a positive number. EGAIN contains this value; correct "
            "the header, or gain= in the profile.",
        ),
        (
            Setting("GAIN", {0: 1}, unit=GAIN, else_card="EGAIN"),
            {"GAIN": 5, "EGAIN": -1},
            "gain",
            "gain=-1.0 electron / adu is not a positive number. The header leads to it by EGAIN; "
            "correct the header, or gain= in the profile.",
        ),
    ],
)
def test_a_card_that_contains_no_number_rejects_the_frame(value, header, code, sentence):
    assert rejection_of(value, header, GAIN, "gain") == (code, sentence)


@pytest.mark.parametrize("header", [{}, {"EGAIN": ""}, {"EGAIN": "N/A"}])
def test_a_missing_card_is_a_number_that_is_not_known(header):
    assert readout(camera(gain="EGAIN"), header).gain is None


def test_all_numbers_may_be_read_from_cards_or_tables():
    profile = camera(
        gain="EGAIN",
        read_noise=Setting("GAIN", {0: 3.5, 100: 1.5}, unit=u.electron),
        saturation="SATURATE",
        linear=Dated({(None, "2030-01-01"): 60000 * u.adu}),
    )
    assert profile.amplifiers_vary
    assert profile.amplifiers[0].varies == ("gain", "read_noise", "saturation", "linear")
    header = {"EGAIN": 0.7, "GAIN": "100", "SATURATE": 65535, "DATE-OBS": "2020-01-01"}
    read = readout(profile, header)
    assert (read.gain, read.read_noise, read.saturation, read.linear) == (0.7, 1.5, 65535, 60000)


def test_a_limit_of_linearity_above_the_saturation_of_the_header_rejects_the_frame():
    profile = camera(saturation="SATURATE", linear=60000 * u.adu)
    with pytest.raises(FrameRejected) as rejection:
        readout(profile, {"SATURATE": 4095})
    assert rejection.value.code == "linear"
    assert str(rejection.value).startswith("linear=60000 adu is above saturation=4095 adu;")


def test_only_numbers_that_depend_on_the_header_vary():
    assert not camera(gain=1 * GAIN, saturation=5 * u.adu).amplifiers_vary
    assert camera(linear="LINEAR").amplifiers_vary


def test_an_amplifier_knows_the_cards_that_it_reads():
    dated = Dated({(None, "2019-01-01"): OBJECTS[1]}, card="DATE")
    amplifier = Amplifier(data="[:, :]", overscan=None, gain="EGAIN", read_noise=lambda h: None)
    assert amplifier.cards == ("EGAIN",)
    assert amplifier.but(saturation=dated, gain=None).cards == ("DATE", "A", "B", "C", "D")


# Why a number is not known.


@pytest.mark.parametrize(
    ("value", "header", "why"),
    [
        (BY_GAIN, {"GAIN": 0}, ""),
        (BY_GAIN, {}, ""),
        (BY_GAIN, {"GAIN": 55}, "GAIN = 55 is not in its table (0, 100)"),
        (
            Setting(("A", "GAIN"), {0: None}, unit=GAIN),
            {"GAIN": 0},
            "GAIN = 0, for which its table has no number",
        ),
        ("EGAIN", {}, ""),
        (None, {}, ""),
        (
            Dated({(None, "2019-01-01"): BY_GAIN}),
            {},
            "DATE-OBS is missing, and it depends on the date",
        ),
        (
            Dated({(None, "2019-01-01"): BY_GAIN}),
            {"DATE-OBS": "1/2/18"},
            "DATE-OBS = '1/2/18' is not a date, and it depends on the date",
        ),
        (
            Dated({(None, "2019-01-01"): BY_GAIN}),
            {"DATE-OBS": "2018-01-01", "GAIN": 55},
            "GAIN = 55 is not in its table (0, 100)",
        ),
        (
            Dated({(None, "2019-01-01"): BY_GAIN, ("2020-01-01", None): None}),
            {"DATE-OBS": "2019-05-01"},
            "DATE-OBS = 2019-05-01 is in none of its periods (until 2019-01-01 and from 2020-01-01)",
        ),
    ],
)
def test_why_a_number_is_not_known(value, header, why):
    assert why_unknown(value, header) == why


# The hash.


def test_the_hash_covers_tables_and_dates():
    hashes = [
        camera(**{"gain": gain} | more).hash
        for gain, more in (
            (0.77 * GAIN, {}),
            (BY_GAIN, {}),
            (Setting("GAIN", {0: 0.77, 100: 0.26}, unit=GAIN), {}),
            (Setting("GAIN2", {0: 0.77, 100: 0.25}, unit=GAIN), {}),
            ("EGAIN", {}),
            (Dated({(None, "2019-01-01"): BY_GAIN}), {}),
            (Dated({(None, "2019-01-02"): BY_GAIN}), {}),
            (Dated({(None, "2019-01-01"): "EGAIN"}), {}),
            (0.77 * GAIN, {"linear": 5 * u.adu}),
        )
    ]
    assert len(set(hashes)) == len(hashes)
    assert camera(gain=Setting("GAIN", {"100": 0.25, "0": 0.77}, unit=GAIN)).hash == hashes[1]


def test_a_limit_of_linearity_that_is_not_used_is_not_in_the_text_of_a_readout():
    """It enters the keys of products."""
    assert "linear" not in repr(readout(camera(), {}))
    assert "linear=5.0" in repr(readout(camera(linear=5 * u.adu), {}))
