"""A card of ``match=``: numbers, tolerances, spellings, and what a missing card means."""

import pickle
from dataclasses import FrozenInstanceError

import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st

from ccdprofiles import Amplifier, Card, Profile, Recipe
from ccdprofiles.camera.cards import spellings
from ccdprofiles.errors import ProfileError

ROTATOR = Card("ROTATOR", "ROTATANG", within=2 * u.deg)


def camera(**changes):
    amplifier = Amplifier(data="[1:20, 1:12]", overscan=None)
    return Profile(instrument="cam", name="cam", amplifiers=[amplifier], recipe=Recipe(), **changes)


# What is refused.


@pytest.mark.parametrize(
    ("cards", "options", "sentence"),
    [
        ((), {}, "Card() names no header card; use Card('GAIN')."),
        ((" ",), {}, "Card(' ') is not the name of a header card."),
        (("GAIN", 1), {}, "Card(1) is not the name of a header card."),
        (("A",), {"within": 0}, "within=0 is not a positive number; use one, such as within=2"),
        (("A",), {"within": -2 * u.deg}, "within=-2.0 deg is not a positive number;"),
        (("A",), {"within": "2"}, "within=2 is not a positive number;"),
        (("A",), {"within": [1, 2] * u.deg}, "within=[1. 2.] deg is not a positive number;"),
        (("A",), {"within": True}, "within=True is not a positive number;"),
        (("A",), {"within": 180 * u.deg}, "within=180.0 deg accepts every angle; use less than"),
        (("A",), {"within": 4 * u.rad}, "within=4.0 rad accepts every angle;"),
        (("A",), {"relative": 1}, "relative=1 is not a fraction between 0 and 1; use such as"),
        (("A",), {"relative": 0}, "relative=0 is not a fraction between 0 and 1;"),
        (
            ("A",),
            {"absent": "agree"},
            "absent='agree' is not one of differs, agrees (did you mean 'agrees'?).",
        ),
    ],
)
def test_a_card_that_is_not_valid_is_refused(cards, options, sentence):
    with pytest.raises(ProfileError) as error:
        Card(*cards, **options)
    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"match": Card("GAIN")},
            "match=Card('GAIN') is a single card; use match=(Card('GAIN'),).",
        ),
        (
            {"match": {"flat": Card("GAIN")}},
            "contains Card('GAIN'), which is not a tuple of header cards",
        ),
        (
            {"match": (Card("ROTATOR", "ROTATANG"),), "ignore_cards": ("ROTATANG",)},
            "ignore_cards names 'ROTATANG', which match= compares; remove it from one of them.",
        ),
        (
            {"exposure": Card("EXPTIME")},
            "exposure=Card('EXPTIME') is not the name of a header card.",
        ),
        (
            {"ignore_cards": (Card("GAIN"),)},
            "ignore_cards=Card('GAIN') is not the name of a header card.",
        ),
    ],
)
def test_a_card_stands_only_in_a_tuple_of_match(changes, sentence):
    with pytest.raises((ProfileError, TypeError)) as error:
        camera(**changes)
    assert sentence in str(error.value)


# What it is.


def test_a_card_compares_hashes_prints_and_pickles():
    same = Card("ROTATOR", "ROTATANG", within=120 * u.arcmin)
    assert same == ROTATOR
    assert hash(same) == hash(ROTATOR)
    assert Card("ROTATOR", within=2) != ROTATOR
    assert Card("A", relative=0.1) != Card("A")
    assert pickle.loads(pickle.dumps(ROTATOR)) == ROTATOR
    for card in (
        Card("GAIN"),
        ROTATOR,
        Card("A", "B", within=0.5, relative=0.001, absent="agrees"),
    ):
        assert eval(repr(card), {"Card": Card, "u": u}) == card
    with pytest.raises(FrozenInstanceError):
        ROTATOR.absent = "agrees"


def test_a_card_enters_the_hash_of_a_profile_and_a_text_keeps_its_own():
    plain = camera(match=("GAIN",))
    hashes = {
        camera(match=match).hash
        for match in ((), (Card("GAIN"),), (Card("GAIN", absent="agrees"),), (ROTATOR,))
    }
    assert len({*hashes, plain.hash}) == 5
    assert camera(match=(Card("GAIN"),)).hash == camera(match=[Card("GAIN")]).hash


def test_a_profile_with_cards_can_be_pickled_and_gives_their_values():
    profile = camera(match={"flat": (ROTATOR, "SLIT")})
    again = pickle.loads(pickle.dumps(profile))
    assert again.match == profile.match
    header = {"ROTATANG": "45.50", "SLIT": " 1.2 "}
    assert again.match_of("flat", header) == (("ROTATANG", "45.5"), ("SLIT", "1.2"))
    assert again.match_of("flat", {}) == (("ROTATOR", None), ("SLIT", None))
    assert spellings(ROTATOR) == ("ROTATOR", "ROTATANG")
    assert spellings("SLIT") == ("SLIT",)


# What agrees.


@pytest.mark.parametrize(
    ("card", "one", "other", "agree"),
    [
        (Card("A"), 100, "100.0", True),
        (Card("A"), 100, 100.5, False),
        (Card("A"), "High Gain", "high gain ", True),
        (Card("A"), "High Gain", 3, False),
        (Card("A", within=0.5), 10, 10.5, True),
        (Card("A", within=0.5), 10, 10.51, False),
        (Card("A", within=0.2), 0.1, 0.3, True),
        (Card("A", relative=0.01), 1000, 1010, True),
        (Card("A", relative=0.01), 1000, 1011, False),
        (Card("A", within=5, relative=0.01), 100, 105, True),
        (Card("A", within=5, relative=0.01), 1000, 1009, True),
        (ROTATOR, 359.5, 1, True),
        (ROTATOR, -1, 361, True),
        (ROTATOR, 44, 46.1, False),
        (Card("A", within=30 * u.arcmin), 10, 10.5, True),
        (Card("A", within=30 * u.arcmin), 10, 10.6, False),
        (Card("A", within=5 * u.nm), 359, 1, False),
    ],
)
def test_values_agree_as_numbers_within_the_larger_tolerance(card, one, other, agree):
    assert card.agrees(one, other) is card.agrees(other, one) is agree


@pytest.mark.parametrize(
    ("absent", "master", "frame", "agree", "unknown"),
    [
        ("differs", None, 45, False, False),
        ("differs", 45, None, True, True),
        ("differs", None, None, True, False),
        ("differs", "unknown", 45, False, False),
        ("agrees", None, 45, True, False),
        ("agrees", 45, None, True, False),
    ],
)
def test_a_missing_card_is_no_match_on_a_master_and_a_note_on_a_frame(
    absent, master, frame, agree, unknown
):
    card = Card("A", absent=absent)
    assert card.agrees(master, frame) is agree
    assert card.unknown(master, frame) is unknown


def test_the_first_spelling_with_a_value_is_read():
    assert ROTATOR.read({"ROTATOR": "", "ROTATANG": "12"}) == ("ROTATANG", 12.0)
    assert ROTATOR.read({"ROTATOR": 0, "ROTATANG": 12}) == ("ROTATOR", 0.0)
    assert ROTATOR.read({}) == ("ROTATOR", None)


# Groups.


@pytest.mark.parametrize(
    ("card", "values", "groups"),
    [
        (Card("A"), [100.0, 0.0, 100.0, None], [1, 0, 1, 2]),
        (Card("A", absent="agrees"), [100.0, None], [0, 0]),
        (Card("A", absent="agrees"), [100.0, None, 0.0], [1, 2, 0]),
        (Card("A"), [None, None], [0, 0]),
        (Card("A"), ["Low", "high", "LOW", 1.0], [2, 1, 2, 0]),
        (Card("A", within=2), [0.0, 2.0, 4.0], [0, 0, 1]),
        (ROTATOR, [359.0, 90.0, 0.5, 361.0], [0, 1, 0, 0]),
        (ROTATOR, [], []),
    ],
)
def test_values_that_agree_are_one_group(card, values, groups):
    assert card.groups(values) == groups


angles = st.lists(st.floats(-720, 720).map(lambda x: float(f"{x:.6g}")), min_size=1, max_size=12)


@given(angles, st.sampled_from([ROTATOR, Card("A", within=7), Card("A", relative=0.1)]))
def test_no_group_is_wider_than_the_tolerance_and_its_mean_serves_all_of_it(values, card):
    numbers = card.groups(values)
    by_value = dict(zip(values, numbers, strict=True))
    assert card.groups(values[::-1]) == [by_value[v] for v in values[::-1]]
    for group in set(numbers):
        members = [v for v, n in zip(values, numbers, strict=True) if n == group]
        assert all(card.agrees(a, b) for a in members for b in (members[0], members[-1]))
        if card is not ROTATOR and card.relative is None:
            assert all(card.agrees(card.mean(members), v) for v in members)


def test_the_mean_of_angles_is_taken_the_short_way_round():
    assert ROTATOR.mean([359.0, 1.0, 359.6]) == pytest.approx(359.867, abs=1e-3)
    assert ROTATOR.mean([None, 3.0]) == 3
    assert ROTATOR.mean([None]) is None
    assert Card("A").mean(["High", "HIGH"]) == "High"
    assert Card("A", within=1).mean([1.0, 2.0]) == 1.5


def test_the_tolerance_is_written_as_an_observer_says_it():
    texts = [c.tolerance for c in (ROTATOR, Card("A"), Card("A", within=5, relative=0.001))]
    assert texts == [" ± 2 deg", "", " ± 5 or 0.1 %"]
