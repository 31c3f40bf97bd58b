"""Frames that were set differently share no master: gain, offset, read mode, temperature."""

import functools
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import Amplifier, Flat, Limits, Profile, Recipe, reduce_night
from ccdprofiles.errors import ProfileError
from ccdprofiles.files.cards import Cards, differing
from ccdprofiles.night import plan_night
from ccdprofiles.plan import planner
from ccdprofiles.plan.frames import Frame
from ccdprofiles.plan.setup_cards import SETUP, clusters, plain_value
from ccdprofiles.plan.setup_reader import SetupReader
from ccdprofiles.plan.unlisted_cards import about_readout, dividing_cards

HERE = Path(__file__).parents[1]
REAL = Path(os.environ.get("CCDPROFILES_REALDATA") or HERE.parents[1] / "shared" / "realdata")

make_plan = functools.partial(planner.make_plan, min_frames=1)

ASI = Profile(
    name="asi",
    instrument="ZWO ASI",
    amplifiers=[
        Amplifier(
            data="[1:24, 1:20]",
            overscan=None,
            gain=1 * u.electron / u.adu,
            read_noise=2 * u.electron,
            saturation=65535 * u.adu,
        )
    ],
    recipe=Recipe(bias=False, dark="match", flat=None),
)
BIASED = replace(ASI, recipe=Recipe(bias=True, dark=None, flat=None))
FLATS = replace(ASI, recipe=Recipe(bias=True, dark=None, flat=Flat()))


def frame(file, kind, profile=ASI, exposure=30.0, date="2026-11-20T22:00:00", **more):
    """Describe a frame that has no file; ``cards`` are those of its header."""
    cards = more.pop("cards", {})
    amplifiers = profile.amplifiers_of(cards, {None: (20, 24)})
    return Frame(
        f"{file}.fits",
        Path(f"{file}.fits"),
        profile=profile,
        recipe=profile.recipe_of(cards),
        type=kind,
        exposure=0.0 if kind == "bias" else exposure,
        binning=(1, 1),
        shape=(20, 24),
        amplifiers=amplifiers,
        amplifier_key=amplifiers.key,
        raw=SimpleNamespace(header=cards),
        date=date,
        **more,
    )


def frames(kind, number, stem="", profile=ASI, exposure=30.0, **cards):
    cards = {name.replace("__", " ").replace("_", "-"): value for name, value in cards.items()}
    return [
        frame(f"{stem or kind}{n}", kind, profile, exposure, cards=cards) for n in range(number)
    ]


def masters(made):
    return {
        m.name.removeprefix("masters/").removesuffix(".fits"): len(m.inputs) for m in made.masters
    }


def taken(made, kind="dark"):
    return {p.input.file: getattr(p.input, kind) for p in made.products}


CASES = [
    (kind, card, quantity)
    for quantity in SETUP
    for number, card in enumerate(quantity.cards)
    for kind in (("bias", "dark", "flat", "arc") if number == 0 else ("dark",))
    if not (quantity.within and kind in ("flat", "arc"))
]


# What becomes one master.


@pytest.mark.parametrize(("kind", "card", "quantity"), CASES, ids=[f"{k}-{c}" for k, c, _ in CASES])
def test_each_set_up_card_parts_the_frames_of_a_master(kind, card, quantity):
    profile = {"bias": BIASED, "flat": FLATS}.get(kind, ASI)
    values = (-10.0, -20.0) if quantity.within else (100, 0)
    made = [
        frame(f"{stem}{n}", kind, profile, cards={card: value})
        for stem, value in zip("ab", values, strict=True)
        for n in range(3)
    ]
    others = [frame("sky", "science", profile, cards={card: values[0]})]
    if kind == "flat":
        others += [frame(f"z{v}", "bias", profile, cards={card: v}) for v in values]
    found = make_plan([*made, *others])
    groups = [{i.file[0] for i in m.inputs} for m in found.masters if m.type == kind]
    assert sorted(groups, key=min) == [{"a"}, {"b"}]
    (note,) = [n for n in found.notes if n.startswith("the 6 ")]
    assert f"{card} is " in note
    assert note.count("in 3 frames") == 2


def test_flats_of_several_chip_temperatures_are_combined_with_a_note():
    flats = [frame(f"f{n}", "flat", FLATS, cards={"CCD-TEMP": -20.0 + 2 * n}) for n in range(4)]
    biases = [frame(f"z{n}", "bias", FLATS, cards={"CCD-TEMP": -20.0}) for n in range(3)]
    sky = frame("sky", "science", FLATS, cards={"CCD-TEMP": -20.0})
    made = make_plan([*flats, *biases, sky])
    assert [len(m.inputs) for m in made.masters if m.type == "flat"] == [4]
    (note,) = [n for n in made.notes if "chips of 4 flats" in n]
    assert "-20 to -14 °C" in note
    alike = make_plan([*flats[:2], *biases, sky])
    assert not any("chips of" in n for n in alike.notes)


def test_the_note_says_which_card_which_values_and_how_many_frames():
    found = make_plan(
        [
            *frames("dark", 5, "a", GAIN=0),
            *frames("dark", 4, "b", GAIN=100),
            *frames("science", 1, GAIN=0),
        ]
    )
    assert found.notes == (
        "the 9 darks of 30 s of asi were taken with different settings (GAIN is 0 in 5 frames and 100 in 4 "
        "frames); only frames with the same settings are combined",
    )
    assert found.notes[0] in str(found)


def test_the_note_counts_frames_of_one_temperature_together():
    """The means of two groups of -10 °C were written as two temperatures."""
    darks = [
        frame(f"d{n}", "dark", cards={"GAIN": 100 * (n % 2), "CCD-TEMP": degrees + 0.01 * (n % 4)})
        for degrees in (-10.0, 0.0)
        for n in range(8)
    ]
    made = [replace(f, file=f"{n}{f.file}") for n, f in enumerate(darks)]
    found = make_plan([*made, *frames("science", 1, GAIN=0, CCD_TEMP=-10.0)])
    assert "CCD-TEMP is -10 °C in 8 frames and 0 °C in 8 frames" in found.notes[0]


def test_numbers_are_compared_as_numbers_and_texts_without_case():
    values = [100, 100.0, "100", " 100.0 "]
    made = [
        frame(f"d{n}", "dark", cards={"GAIN": v, "READOUTM": m})
        for n, (v, m) in enumerate(zip(values, ["Fast", "FAST", "fast ", "Fast"], strict=True))
    ]
    found = make_plan([*made, *frames("science", 1, GAIN="100")])
    assert masters(found) == {"asi_dark_30s_1x1": 4}
    assert [n for n in found.notes if "different settings" in n] == []


def test_spellings_of_one_quantity_are_compared():
    found = make_plan(
        [
            *frames("dark", 3, READOUTM="Fast"),
            *frames("science", 1, "a", READMODE="fast"),
            *frames("science", 1, "b", READOUT="Slow"),
        ]
    )
    assert list(taken(found)) == ["a0.fits"]
    assert found.missing[0].reason == (
        "b0.fits: no dark of 30 s with READOUT = Slow; there are darks with READOUTM = Fast; if a card does not matter, add it to ignore_cards= of the profile."
    )


@pytest.mark.parametrize("odd", [1, None])
def test_one_bias_of_another_setting_among_many_is_named(odd):
    cards = [{"GAIN": 0}] * 9 + [{} if odd is None else {"GAIN": odd}]
    made = [frame(f"bias{n}", "bias", BIASED, cards=c) for n, c in enumerate(cards)]
    found = planner.make_plan([*made, *frames("science", 1, profile=BIASED, GAIN=0)])
    assert masters(found) == {"asi_bias_1x1": 9}
    (missing,) = found.missing
    what = "with GAIN missing" if odd is None else "with GAIN = 1"
    assert (missing.file, missing.code) == ("bias9.fits", "few-frames")
    assert f"bias9.fits: 1 of the biases {what} can be used, but a master needs 3" in missing.reason
    (note,) = found.notes[:1]
    assert f"GAIN is 0 in 9 frames and {'missing' if odd is None else 1} in bias9.fits" in note


def test_frames_without_a_card_that_others_have_are_a_group_of_their_own():
    found = make_plan(
        [*frames("dark", 3, "a", GAIN=0), *frames("dark", 3, "b"), *frames("science", 1, GAIN=0)]
    )
    assert masters(found) == {"asi_dark_30s_gain0_1x1": 3, "asi_dark_30s_no_gain_1x1": 3}
    assert taken(found) == {"science0.fits": "masters/asi_dark_30s_gain0_1x1.fits"}
    assert "GAIN is 0 in 3 frames and missing in 3 frames" in found.notes[0]


def test_a_gain_that_is_measured_for_each_frame_parts_nothing():
    gains = [1.506, 1.493, 1.5, 1.512, 1.487]
    found = make_plan(
        [
            *(frame(f"z{g}", "bias", BIASED, cards={"GAIN": g}) for g in gains),
            *frames("science", 1, profile=BIASED, GAIN=1.49),
        ]
    )
    assert masters(found) == {"asi_bias_1x1": 5}
    assert not found.missing
    steps = [*frames("dark", 3, "a", GAIN=1.0), *frames("dark", 3, "b", GAIN=1.4)]
    assert len(make_plan([*steps, *frames("science", 1, GAIN=1.0)]).masters) == 2


def test_a_spelling_that_says_nothing_hides_no_other():
    found = make_plan(
        [
            *frames("dark", 3, "a", READOUTM="", READMODE=1),
            *frames("dark", 3, "b", READOUTM="", READMODE=2),
            *frames("science", 1, READOUTM="", READMODE=1),
        ]
    )
    assert set(masters(found)) == {"asi_dark_30s_mode1_1x1", "asi_dark_30s_mode2_1x1"}


def test_unknown_is_as_good_as_missing():
    assert plain_value("unknown") is plain_value("N/A") is plain_value(None) is None


# Temperatures.


@pytest.mark.parametrize(("limit", "groups"), [(None, 1), (2 * u.deg_C, 2)])
def test_the_tolerance_of_the_profile_wins_over_the_usual_one(limit, groups):
    profile = replace(ASI, recipe=replace(ASI.recipe, limits=Limits(temperature=limit)))
    made = [frame(f"d{n}", "dark", profile, cards={"CCD-TEMP": -10 - 0.5 * n}) for n in range(6)]
    found = make_plan([*made, *frames("science", 1, profile=profile, CCD_TEMP=-10.0)])
    assert len(found.masters) == groups


def test_a_dark_of_another_temperature_is_not_taken_and_both_are_named():
    found = make_plan([*frames("dark", 3, CCD_TEMP=-10.0), *frames("science", 1, CCD_TEMP=-20.0)])
    assert found.missing[0].code == "no-dark"
    assert found.missing[0].reason == (
        "science0.fits: no dark of -20 ± 3 °C; there are darks of -10 °C."
    )


def test_a_dark_of_unknown_temperature_is_not_taken_where_the_profile_names_a_limit():
    profile = replace(ASI, recipe=replace(ASI.recipe, limits=Limits(temperature=2 * u.deg_C)))
    night = [
        *frames("dark", 3, profile=profile),
        *frames("science", 1, profile=profile, CCD_TEMP=1),
    ]
    found = make_plan(night)
    assert [m.code for m in found.missing] == ["no-dark"]
    assert "there are darks of unknown °C" in found.missing[0].reason


def test_a_scaled_dark_of_another_temperature_is_not_taken():
    profile = replace(ASI, recipe=Recipe(bias=True, dark="scale", flat=None))
    found = make_plan(
        [
            *frames("bias", 3, profile=profile, CCD_TEMP=-10.0),
            *frames("dark", 3, profile=profile, exposure=300.0, CCD_TEMP=-10.0),
            *frames("science", 1, profile=profile, CCD_TEMP=-20.0),
        ]
    )
    assert [m.code for m in found.missing] == ["no-dark"]
    assert "-20 ± 3 °C; there are darks of -10 °C" in found.missing[0].reason


def test_kelvin_and_a_broken_sensor():
    reader = SetupReader(ASI)
    assert reader.read({"CCDTEMP": 163.15}).chip == pytest.approx(-110)
    assert reader.read({"CCD-TEMP": -999.0}).chip is None
    assert reader.read({"CCD-TEMP": 999.9}).chip is None


@pytest.mark.parametrize(
    ("dark", "light"), [("-10,0", "-20,0"), ("-10 C", "-20 C"), ("263.15 K", "253.15 K")]
)
@pytest.mark.parametrize("own", [None, "CCD-TEMP"])
def test_temperatures_with_a_comma_or_a_unit_are_compared(dark, light, own):
    profile = replace(ASI, temperature=own)
    found = make_plan(
        [
            *frames("dark", 3, profile=profile, CCD_TEMP=dark),
            *frames("science", 2, profile=profile, CCD_TEMP=light),
        ]
    )
    assert {m.code for m in found.missing} == {"no-dark"}
    assert "-20 ± 3 °C; there are darks of -10 °C" in found.missing[0].reason


@pytest.mark.parametrize("first", ["", "unknown", "Normal"])
def test_a_card_counts_though_another_spelling_stands_before_it(first):
    made = make_plan(
        [
            *frames("dark", 3, "a", READOUTM=first, READMODE=0),
            *frames("dark", 3, "b", READOUTM=first, READMODE=1),
            *frames("science", 2, READOUTM=first, READMODE=1),
        ]
    )
    assert sorted(masters(made).values()) == [3, 3]
    used = {m.name: {i.file[0] for i in m.inputs} for m in made.masters}
    assert [used[dark] for dark in taken(made).values()] == [{"b"}, {"b"}]
    cards = "READOUTM/READMODE" if first == "Normal" else "READMODE"
    assert any(f"({cards} is " in note for note in made.notes)


def test_two_spellings_that_agree_are_one_setting():
    reader = SetupReader(ASI)
    both = reader.read({"READOUTM": "Monochrome", "READMODE": "MONOCHROME"})
    assert both.compared(reader.read({"READMODE": "Monochrome"}), 3) == ([], [])


def test_the_temperature_of_a_master_is_read_as_that_of_its_frames_was():
    reader = SetupReader(replace(ASI, temperature="CCDTEMP"))
    own = reader.read({"CCDTEMP": 163.0})
    lent = reader.read({"CPTEMP": 163.2}, master=True)
    assert own.compared(lent, 3) == ([], [])


def test_a_bias_of_another_temperature_is_taken_with_a_note():
    found = make_plan(
        [
            *frames("bias", 3, profile=BIASED, CCD_TEMP=-10.0),
            *frames("science", 2, profile=BIASED, CCD_TEMP=-20.0),
        ]
    )
    assert not found.missing
    assert found.notes == (
        "masters/asi_bias_1x1.fits was taken at -10 °C, and 2 frames (science0.fits … "
        "science1.fits), which are calibrated with it, at -20 °C; no other master is closer",
    )


def test_biases_of_a_drifting_temperature_are_one_master():
    """A camera that cools down would lose all its biases, each pair of its own."""
    found = make_plan(
        [
            *(frame(f"z{n}", "bias", BIASED, cards={"CCD-TEMP": -5.0 - n}) for n in range(10)),
            *(frame(f"s{n}", "science", BIASED, cards={"CCD-TEMP": -15 - n}) for n in range(9)),
        ]
    )
    assert masters(found) == {"asi_bias_1x1": 10}
    assert found.notes == (
        "the chips of 10 biases of asi were at -14 to -5 °C; they are combined, because the bias "
        "level hardly depends on it",
        "masters/asi_bias_1x1.fits was taken at -9.5 °C, and 9 frames (s0.fits … s8.fits), "
        "which are calibrated with it, at -23 to -15 °C; no other master is closer",
    )


def test_darks_of_a_drifting_temperature_are_named_by_it():
    darks = [frame(f"d{n:02}", "dark", cards={"CCD-TEMP": 10 + 0.3 * n}) for n in range(14)]
    found = make_plan([*darks, *frames("science", 1, CCD_TEMP=11.0)])
    assert masters(found) == {"asi_dark_30s_12C_1x1": 11, "asi_dark_30s_14C_1x1": 3}
    assert "(CCD-TEMP is 11.5 °C in 11 frames and 13.6 °C in 3 frames)" in found.notes[0]


def test_a_chip_as_cold_as_that_of_the_dark_needs_no_equal_target():
    found = make_plan(
        [
            *frames("dark", 3, SET_TEMP=-15.0, CCD_TEMP=-14.2),
            *frames("science", 1, SET_TEMP=-20.0, CCD_TEMP=-14.5),
        ]
    )
    assert taken(found) == {"science0.fits": "masters/asi_dark_30s_1x1.fits"}
    assert "SET-TEMP = -15 °C" in found.notes[0]


def test_the_bias_of_the_frames_own_temperature_comes_first():
    found = make_plan(
        [
            *frames("bias", 3, "a", profile=BIASED, SET_TEMP=-10.0),
            *frames("bias", 3, "b", profile=BIASED, SET_TEMP=-20.0),
            *frames("science", 1, profile=BIASED, SET_TEMP=-20.1),
        ]
    )
    assert taken(found, "bias") == {"science0.fits": "masters/asi_bias_m20C_1x1.fits"}


def test_clusters_are_no_wider_than_the_tolerance():
    assert clusters([0.0, 2.0, 4.0], 3) == [0, 0, 1]


# What a frame is calibrated with.


def test_no_frame_gets_a_dark_of_another_gain():
    found = make_plan(
        [
            *frames("dark", 3, GAIN=0, OFFSET=10),
            *frames("science", 1, GAIN=100, OFFSET=50),
        ]
    )
    assert found.missing[0].code == "no-dark"
    assert (
        "no dark of 30 s with GAIN = 100 and OFFSET = 50; there are darks with GAIN = 0 and OFFSET = 10"
        in found.missing[0].reason
    )


def test_no_frame_gets_a_bias_of_another_gain():
    found = make_plan(
        [
            *frames("bias", 3, profile=BIASED, GAIN=0),
            *frames("science", 1, profile=BIASED, GAIN=100),
        ]
    )
    assert "no bias with GAIN = 100; there are biases with GAIN = 0" in found.missing[0].reason


def test_a_dark_of_the_right_exposure_and_the_wrong_gain_is_named():
    found = make_plan(
        [
            *frames("dark", 3, "a", GAIN=100, exposure=5.0),
            *frames("dark", 3, "b", GAIN=0),
            *frames("science", 1, GAIN=100),
        ]
    )
    assert (
        "no dark of 30 s with GAIN = 100; there are darks with GAIN = 0" in found.missing[0].reason
    )


@pytest.mark.parametrize("lacking", ["dark", "science"])
def test_a_card_that_one_of_both_lacks_is_noted(lacking):
    cards = {"dark": {"GAIN": 100}, "science": {"GAIN": 100}} | {lacking: {}}
    found = make_plan(
        [*frames("dark", 3, **cards["dark"]), *frames("science", 2, **cards["science"])]
    )
    assert len(found.products) == 2
    (note,) = found.notes
    its, mine = ("missing", "= 100") if lacking == "dark" else ("= 100", "missing")
    assert note == (
        f"masters/asi_dark_30s_1x1.fits was taken with GAIN {its}, and 2 frames (science0.fits … "
        f"science1.fits), which are calibrated with it, with GAIN {mine}; it is used, although it "
        "is not known whether they agree"
    )


def test_a_master_that_is_known_to_agree_comes_before_one_that_may():
    made = [frame(f"a{n}", "dark", cards={}, date="2026-11-20T22:00:00") for n in range(3)] + [
        frame(f"b{n}", "dark", cards={"GAIN": 100}, date="2026-11-01T22:00:00") for n in range(3)
    ]
    found = make_plan([*made, *frames("science", 1, GAIN=100)])
    assert taken(found) == {"science0.fits": "masters/asi_dark_30s_gain100_1x1.fits"}


@pytest.mark.parametrize(
    ("card", "noted"),
    [("GAIN", False), ("CCD_TEMP", False), ("READOUTM", True), ("READAMPS", True)],
)
def test_a_flat_of_another_setting_is_taken_where_there_is_no_other(card, noted):
    one, other = (-10.0, -20.0) if card == "CCD_TEMP" else (1, 2)
    night = [
        *frames("bias", 3, "a", profile=FLATS, **{card: one}),
        *frames("bias", 3, "b", profile=FLATS, **{card: other}),
        *frames("flat", 3, profile=FLATS, **{card: one}),
        *frames("science", 1, profile=FLATS, **{card: other}),
    ]
    found = make_plan(night)
    assert taken(found, "flat") == {"science0.fits": "masters/asi_flat_1x1.fits"}
    assert any(n.startswith("masters/asi_flat_1x1.fits was taken") for n in found.notes) is noted
    own = make_plan([*night, *frames("flat", 3, "c", profile=FLATS, **{card: other})])
    (name,) = taken(own, "flat").values()
    # Flats of two temperatures are combined, each with its own bias.
    combined = {"c", "f"} if card == "CCD_TEMP" else {"c"}
    assert {i.file[0] for i in own.master(name).inputs} == combined


def test_the_flat_of_the_same_response_comes_first():
    """Two settings that do not change the response of a pixel count less than one that does."""
    flats = [
        *frames("flat", 3, "a", profile=FLATS, READOUTM="fast", GAIN=0, OFFSET=0),
        *frames("flat", 3, "b", profile=FLATS, READOUTM="slow", GAIN=9, OFFSET=9),
    ]
    biases = [
        frame(f"z{m}{g}", "bias", FLATS, cards={"READOUTM": m, "GAIN": g, "OFFSET": g})
        for m, g in (("fast", 0), ("slow", 9), ("slow", 0))
    ]
    sky = frame("sky", "science", FLATS, cards={"READOUTM": "slow", "GAIN": 0, "OFFSET": 0})
    assert "gain9" in taken(make_plan([*flats, *biases, sky]), "flat")["sky.fits"]


def test_the_flat_of_an_unlisted_setting_goes_to_its_frames():
    flats = [
        *frames("flat", 3, "a", profile=FLATS, HGAINSW=1),
        *frames("flat", 3, "b", profile=FLATS, HGAINSW=2),
    ]
    biases = frames("bias", 3, profile=FLATS)
    sky = frame("sky", "science", FLATS, cards={"HGAINSW": 2})
    assert "hgainsw2" in taken(make_plan([*flats, *biases, sky]), "flat")["sky.fits"]


def test_a_frame_that_is_set_aside_takes_no_master():
    profile = replace(BIASED, recipe=Recipe(bias=True, dark="match", flat=None))
    made = [
        frame(f"d{n}", "dark", profile, cards={"CCD-TEMP": -40 + 10 * (n == 3)}) for n in range(4)
    ]
    more = {"profile": profile, "CCD_TEMP": -40.0}
    found = planner.make_plan([*made, *frames("bias", 3, **more), *frames("science", 1, **more)])
    assert [m.file for m in found.missing] == ["d3.fits"]
    assert "1 of the darks of 30 s at -30 °C can be used" in found.missing[0].reason
    assert [n for n in found.notes if "calibrated with it" in n] == []


def test_a_card_of_match_is_named_too():
    profile = replace(BIASED, match=("FOO",))
    made = [frame(f"bias{n}", "bias", profile, cards={"FOO": int(n == 5)}) for n in range(6)]
    found = planner.make_plan([*made, *frames("science", 1, profile=profile, FOO=0)])
    assert "1 of the biases with FOO = 1 can be used" in found.missing[0].reason


# What a profile says.


def test_a_profile_may_refuse_mixed_settings():
    profile = replace(ASI, mixed_setup="refuse")
    found = make_plan(
        [
            *frames("dark", 3, "a", profile=profile, GAIN=0),
            *frames("dark", 3, "b", profile=profile, GAIN=100),
            *frames("science", 1, profile=profile, GAIN=0),
        ]
    )
    assert not found.masters
    assert {m.code for m in found.missing if m.file != "science0.fits"} == {"mixed-setup"}
    assert "GAIN is 0 in 3 frames and 100 in 3 frames" in found.missing[0].reason
    assert "science0.fits" in {m.file for m in found.missing}


def test_a_profile_may_ignore_a_card():
    profile = replace(ASI, ignore_cards=("gain",))
    found = make_plan(
        [
            *frames("dark", 3, "a", profile=profile, GAIN=0),
            *frames("dark", 3, "b", profile=profile, GAIN=100),
            *frames("science", 1, profile=profile, GAIN=50),
        ]
    )
    assert masters(found) == {"asi_dark_30s_1x1": 6}
    assert not found.missing
    assert not found.notes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"mixed_setup": "splitt"},
            "mixed_setup='splitt' is not one of split, refuse (did you mean 'split'?)",
        ),
        (
            {"ignore_cards": "GAIN"},
            "ignore_cards='GAIN' is a single text; use ignore_cards=('GAIN',).",
        ),
        ({"ignore_cards": 3}, "ignore_cards=3 is not a tuple of header cards"),
        ({"ignore_cards": ("",)}, "ignore_cards='' is not the name of a header card"),
        ({"ignore_cards": ("SLIT",), "match": {"flat": ("SLIT",)}}, "which match= compares"),
    ],
)
def test_what_cannot_be_right_is_refused(changes, sentence):
    with pytest.raises(ProfileError) as refused:
        replace(ASI, **changes)
    assert sentence in str(refused.value)


def test_the_hash_of_a_profile_that_uses_neither_is_as_it_was():
    plain = Profile(
        instrument="C", amplifiers=[Amplifier(data="[1:2, 1:2]", overscan=None)], recipe=Recipe()
    )
    assert plain.hash == "c1008025e20b83ece6209087689e3b71b55d9a0439a4fa2550a97ab14a770db1"
    assert replace(plain, mixed_setup="refuse").hash != plain.hash
    assert replace(plain, ignore_cards=("GAIN",)).hash != plain.hash


# Cards that nobody listed.


def test_an_unlisted_card_whose_name_speaks_of_the_read_out_parts_them():
    found = make_plan(
        [
            *frames("dark", 3, "a", HGAINSW=1),
            *frames("dark", 3, "b", HGAINSW=2),
            *frames("science", 1),
        ]
    )
    assert masters(found) == {"asi_dark_30s_hgainsw1_1x1": 3, "asi_dark_30s_hgainsw2_1x1": 3}
    assert "HGAINSW is 1 in 3 frames and 2 in 3 frames" in found.notes[0]


def test_a_master_that_an_unlisted_card_parts_is_taken_by_frames_of_its_value():
    """The nearest in time was taken, whatever the card said."""
    darks = [*frames("dark", 3, "a", HGAINSW=1), *frames("dark", 3, "b", HGAINSW=2)]
    found = make_plan([*darks, frame("s", "science", cards={"HGAINSW": 2})])
    assert taken(found) == {"s.fits": "masters/asi_dark_30s_hgainsw2_1x1.fits"}
    assert len(found.notes) == 1
    found = make_plan([*darks, frame("s", "science", cards={"HGAINSW": 3})])
    assert found.notes[1] == (
        "masters/asi_dark_30s_hgainsw1_1x1.fits was taken with HGAINSW = 1, and s.fits, "
        "which is calibrated with it, with HGAINSW = 3; no other master is closer"
    )


@pytest.mark.parametrize("number", [1, 3])
def test_arcs_of_several_lamps_are_named(number):
    arcs = [*frames("arc", number, "a", LAMPNAME="He"), *frames("arc", number, "b", LAMPNAME="Ne")]
    (note,) = [n for n in make_plan(arcs).notes if "LAMPNAME is" in n]
    assert "add a card that changes the light or the read-out to match=" in note


def test_another_card_is_named_and_parts_nothing():
    found = make_plan(
        [*frames("dark", 5, "a", FOO=1), *frames("dark", 4, "b", FOO=2), *frames("science", 1)]
    )
    assert masters(found) == {"asi_dark_30s_1x1": 9}
    assert found.notes == (
        "masters/asi_dark_30s_1x1.fits: FOO is 1 in 5 frames and 2 in 4 frames; add a card that changes the read-out to match=, and one that does not to ignore_cards=",
    )


@pytest.mark.parametrize(
    ("card", "one", "other"),
    [
        ("AIRMASS", 1.0, 2.0),
        ("OBSERVER", "Anne", "Jan"),
        ("FOCUSPOS", 100, 300),
        ("FILTER2", "a", "b"),
        ("AMBTEMP", 1, 20),
        ("SEQNUM", 1, 2),
        ("LAMP", "on", "off"),
        ("HA", "01:02", "03:04"),
        ("PRESSURE", 700.0, 800.0),
        ("ESO TEL FOCU VALUE", 1, 3),
        ("TELEM", 1.00, 1.01),
        ("HEATER", 1.00, 1.01),
        ("CPUFAN", 2000, 4000),
    ],
)
def test_what_has_nothing_to_do_with_the_detector_is_not_named(card, one, other):
    made = [frame(f"d{n}", "dark", cards={card: one if n < 3 else other}) for n in range(6)]
    found = make_plan([*made, *frames("science", 1)])
    assert masters(found) == {"asi_dark_30s_1x1": 6}
    assert not found.notes


@pytest.mark.parametrize(
    "card",
    [
        *("AIRMASS", "AMPM", "LAMP", "WINDSPD", "TRACKSPD", "ADCANG", "CAMTEMP", "READTIME"),
        *("RDNOISE", "READTM", "AOGAIN", "LOOPGAIN", "ADC1", "ADC-TYPE", "ADCPA", "MNTSPEED"),
    ],
)
def test_names_that_only_look_like_the_read_out(card):
    assert not about_readout(card)


# Real headers.


def cards_of(header):
    return Cards(header.tostring(endcard=False, padding=False).encode())


@pytest.mark.parametrize("folder", ["efosc2-pynot", "feder-msumastro", "goodman-focus"])
def test_real_frames_have_no_card_that_would_part_them_wrongly(folder):
    if not (REAL / folder).is_dir():
        pytest.skip("the real frames are not here")
    groups = {}
    for path in sorted((REAL / folder).glob("*.fit*")):
        header = fits.getheader(path)
        kind = header.get("ESO DPR TYPE", header.get("IMAGETYP", header.get("OBSTYPE")))
        groups.setdefault((header.get("INSTRUME"), kind), []).append(cards_of(header))
    for (_, word), headers in groups.items():
        kind = "bias" if word in ("DARK", "BIAS") else "dark"
        assert dividing_cards(headers, kind, ASI) == []


@pytest.mark.parametrize("camera", ["dis_red", "kosmos", "lfc", "cg16m", "pt5m"])
def test_the_headers_of_a_camera_agree_with_each_other(camera):
    """A bias, dark or flat of the collected headers may serve its science frame."""
    reader = SetupReader(ASI)
    read = {
        path.stem: reader.read(fits.Header.fromstring(path.read_text(), sep="\n"))
        for path in sorted((HERE / "headers").glob(f"{camera}-*.header"))
        if path.stem != "cg16m-flat-2017"
    }
    science = read.pop(f"{camera}-science")
    assert read
    assert [name for name, setup in read.items() if setup.compared(science, 3)[0]] == []


def test_raw_cards_are_read_as_a_dict_is():
    cards = {"GAIN": 100, "OFFSET": 5.5, "READOUTM": "High Gain", "CCD-TEMP": -10.1}
    header = fits.Header(cards)
    header["HIERARCH ESO DET READ SPEED"] = "fastL"
    reader = SetupReader(ASI)
    assert reader.read(cards_of(header)) == reader.read(cards | {"ESO DET READ SPEED": "fastL"})
    other = fits.Header(cards | {"GAIN": 0})
    assert reader.read(cards_of(other)).values[0] == 0


def test_cards_of_a_packed_file_divide_no_frames():
    headers = [{"TFORM1": f"1PB({36 + n % 2})", "ZDITHER0": n % 2} for n in range(6)]
    assert dividing_cards(headers, "bias", ASI) == []


def test_cards_that_differ_are_found_without_parsing():
    one = fits.Header({"GAIN": 1, "FOO": "a", "BAR": 3})
    two = fits.Header({"GAIN": 1, "FOO": "b", "BAR": 3})
    three = fits.Header({"FOO": "a", "GAIN": 1, "BAZ": 3})
    assert differing([cards_of(one), cards_of(two)]) == {"FOO"}
    assert differing([cards_of(one), cards_of(three)]) == {"BAR", "BAZ"}
    assert differing([cards_of(one), cards_of(one)]) == set()


@pytest.mark.parametrize(("egain", "noted"), [(1.0, True), (0.5, True), (1.9, False), (2, False)])
def test_a_gain_of_the_header_far_from_that_of_the_profile_is_noted(egain, noted):
    amplifier = replace(ASI.amplifiers[0], gain=2 * u.electron / u.adu)
    profile = replace(BIASED, amplifiers=[amplifier])
    biases = frames("bias", 3, profile=profile, EGAIN=egain)
    sky = frames("science", 2, profile=profile, EGAIN=egain)
    notes = [n for n in make_plan([*biases, *sky]).notes if "electrons per adu" in n]
    assert notes == noted * [
        f"2 files (science0.fits … science1.fits): EGAIN = {egain:g} electrons per adu, but the profile asi has 2; the gain of the profile is used for uncertainties and electrons. Let gain= read the card if it is right, or add the card to ignore_cards= if it is not."
    ]


def test_a_gain_of_the_header_is_not_compared_where_it_is_read_ignored_or_cannot_be():
    def noted(profile, **cards):
        biases = frames("bias", 3, profile=profile, **cards)
        made = make_plan([*biases, *frames("science", 1, profile=profile, **cards)])
        return any("electrons per adu" in note for note in made.notes)

    def with_gain(gain):
        return replace(BIASED, amplifiers=[replace(ASI.amplifiers[0], gain=gain)])

    assert noted(BIASED, EGAIN=3.0)
    assert not noted(with_gain(lambda header: header["EGAIN"] * u.electron / u.adu), EGAIN=3.0)
    assert not noted(with_gain(None), EGAIN=3.0)
    assert not noted(replace(BIASED, ignore_cards=("EGAIN",)), EGAIN=3.0)
    assert not noted(BIASED, EGAIN=0.0)
    assert not noted(BIASED, EGAIN="high")


# Names.


def test_names_say_the_setting_in_which_masters_differ():
    found = make_plan(
        [
            *frames("dark", 3, "a", GAIN=100, OFFSET=50),
            *frames("dark", 3, "b", GAIN=0, OFFSET=50),
            *frames("dark", 3, "c", GAIN=0, OFFSET=10),
            *frames("science", 1, GAIN=0, OFFSET=50),
        ]
    )
    assert set(masters(found)) == {
        "asi_dark_30s_gain100_offset50_1x1",
        "asi_dark_30s_gain0_offset50_1x1",
        "asi_dark_30s_gain0_offset10_1x1",
    }


def test_names_say_the_temperature_in_which_masters_differ():
    found = make_plan(
        [
            *frames("dark", 3, "a", CCD_TEMP=-9.98),
            *frames("dark", 3, "b", CCD_TEMP=0.04),
            *frames("dark", 3, "c", CCD_TEMP=10.1),
            *frames("science", 1, CCD_TEMP=0.0),
        ]
    )
    assert set(masters(found)) == {
        "asi_dark_30s_m10C_1x1",
        "asi_dark_30s_0C_1x1",
        "asi_dark_30s_10C_1x1",
    }


def test_names_say_a_card_of_match_too():
    profile = replace(BIASED, match=("FOO",))
    found = make_plan(
        [
            *frames("bias", 3, "a", profile=profile, FOO="one/two"),
            *frames("bias", 3, "b", profile=profile, FOO=3),
            *frames("science", 1, profile=profile, FOO=3),
        ]
    )
    assert set(masters(found)) == {"asi_bias_foo_one_two_1x1", "asi_bias_foo3_1x1"}


def test_settings_that_no_file_name_tells_apart_get_a_hash():
    found = make_plan(
        [
            *frames("dark", 3, "a", READOUTM="fast/1"),
            *frames("dark", 3, "b", READOUTM="fast 1"),
            *frames("science", 1, READOUTM="fast 1"),
        ]
    )
    plain, hashed = masters(found)
    assert plain == "asi_dark_30s_1x1"
    assert hashed.startswith("asi_dark_30s_1x1_")


def test_a_master_that_is_alone_keeps_its_name():
    assert set(masters(make_plan([*frames("dark", 3, GAIN=0), *frames("science", 1, GAIN=0)]))) == {
        "asi_dark_30s_1x1"
    }


# Whole nights.


SKY = 200


def write(path, kind, level, **cards):
    random = np.random.default_rng(sum(path.name.encode()))
    data = random.normal(level, 2, (20, 24)).round().astype("u2")
    header = fits.Header({"INSTRUME": "ZWO ASI", "IMAGETYP": kind, "EXPTIME": 30.0})
    header["DATE-OBS"] = "2026-11-20T22:00:00"
    header.update({k.replace("_", "-"): v for k, v in cards.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(data, header).writeto(path)


def write_darks(folder, temperatures=(-10.0, -10.1, -9.9)):
    for n in range(3):
        write(
            folder / f"d0_{n}.fits", "Dark", 500, GAIN=0, SET_TEMP=-10.0, CCD_TEMP=temperatures[n]
        )
        write(
            folder / f"d100_{n}.fits",
            "Dark",
            540,
            GAIN=[100, 100.0, "100"][n],
            SET_TEMP=-10.0,
            CCD_TEMP=-10.0,
        )
        write(folder / f"warm{n}.fits", "Dark", 560, GAIN=0, SET_TEMP=0.0, CCD_TEMP=0.1 * n)


@pytest.fixture
def zwo(tmp_path):
    """A night whose darks have two gains and two temperatures."""
    raw = tmp_path / "raw"
    write_darks(raw)
    write(raw / "sky.fits", "Light", 500 + SKY, GAIN=0, SET_TEMP=-10.0, CCD_TEMP=-10.2)
    return raw


def test_the_sky_of_a_night_with_darks_of_two_gains_is_right(zwo, tmp_path):
    """It came out 9 % low, with exit 0 and no note."""
    night = reduce_night(zwo, tmp_path / "out", profile=ASI)
    assert night.ok
    (path,) = night.products.values()
    data = fits.getdata(path)
    # Two adu of noise a pixel, and 480 of them.
    assert data.mean() == pytest.approx(SKY, abs=5 * 2 * np.sqrt(4 / 3) / np.sqrt(480))
    assert any("GAIN is 0 in 6 frames and 100 in 3 frames" in note for note in night.plan.notes)
    assert any("°C" in note for note in night.plan.notes)
    assert set(night.masters) == {
        "masters/asi_dark_30s_gain0_m10C_1x1.fits",
        "masters/asi_dark_30s_gain100_m10C_1x1.fits",
        "masters/asi_dark_30s_gain0_0C_1x1.fits",
    }
    report = (tmp_path / "out" / "report" / "index.html").read_text("utf-8")
    assert "GAIN is 0 in 6 frames" in report


def test_the_header_of_a_master_has_the_mean_of_temperatures_and_one_gain(zwo, tmp_path):
    for n, path in enumerate(sorted(zwo.glob("d100_*.fits"))):
        fits.setval(path, "SET-TEMP", value=-10.0 - 0.3 * n)
    night = reduce_night(zwo, tmp_path / "out", profile=ASI, only="d100_0.fits")
    # Its name does not depend on what is asked for.
    (name,) = night.masters
    assert name == "masters/asi_dark_30s_gain100_m10C_1x1.fits"
    header = fits.getheader(night.masters[name])
    assert (header["SET-TEMP"], header["GAIN"]) == (-10.3, 100)
    assert header["CCD-TEMP"] == -10.0


def test_masters_of_another_night_carry_what_is_compared(zwo, tmp_path):
    first = reduce_night(zwo, tmp_path / "out", profile=ASI)
    lent = first.output / "masters"
    raw = tmp_path / "second"
    write(raw / "a.fits", "Light", 700, GAIN=0, SET_TEMP=-10.0, CCD_TEMP=-10.0)
    write(raw / "b.fits", "Light", 740, GAIN=100, SET_TEMP=-10.0, CCD_TEMP=-10.0)
    write(raw / "c.fits", "Light", 760, GAIN=0, SET_TEMP=0.0, CCD_TEMP=0.0)
    write(raw / "d.fits", "Light", 760, GAIN=50, SET_TEMP=-10.0, CCD_TEMP=-10.0)
    write(raw / "e.fits", "Light", 760, GAIN=0, SET_TEMP=-30.0, CCD_TEMP=-30.0)
    found = plan_night(raw, profile=ASI, calibrations=[lent])
    assert {file: name.split("/")[-1] for file, name in taken(found).items()} == {
        "a.fits": "asi_dark_30s_gain0_m10C_1x1.fits",
        "b.fits": "asi_dark_30s_gain100_m10C_1x1.fits",
        "c.fits": "asi_dark_30s_gain0_0C_1x1.fits",
    }
    assert not [n for n in found.notes if "not known" in n]
    assert {m.file: m.code for m in found.missing} == {"d.fits": "no-dark", "e.fits": "no-dark"}


# Dates.


def test_a_date_that_is_none_is_noted_once():
    found = make_plan(
        [
            *(
                frame(f"d{n}", "dark", date=date)
                for n, date in enumerate(["yesterday", "20/11/26", None])
            ),
            *frames("science", 1),
        ]
    )
    assert found.notes[0] == (
        "2 files (d0.fits … d1.fits): DATE-OBS = 'yesterday' or the like is not a date "
        "and time such as 2018-08-22T03:14:15; it cannot be used to choose the master nearest in time"
    )


def test_a_date_of_the_profiles_function_is_noted_too():
    profile = replace(ASI, date=lambda header: "no time")
    found = make_plan([*frames("dark", 3), frame("sky", "science", profile, date="no time")])
    assert any(n.startswith("sky.fits: the date = 'no time' is not a date") for n in found.notes)


@pytest.mark.parametrize(
    "date", ["2026-11-20", "2026-11-20T22:00:00.1234567", "2026-11-20 22:00:00", None]
)
def test_a_date_is_not_noted(date):
    found = make_plan([frame("d", "dark", date=date), frame("sky", "science", date=date)])
    assert not [n for n in found.notes if "is not a date" in n]
