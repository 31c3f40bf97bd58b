"""What must agree between a master and a frame: further cards, exposures and temperatures."""

import functools
from dataclasses import replace

import pytest
from astropy import units as u

from ccdprofiles import Amplifier, Card, Flat, Limits, Profile, Recipe
from ccdprofiles.errors import ProfileError
from ccdprofiles.plan import planner
from ccdprofiles.plan.candidates import Candidates, Settings, adopted
from ccdprofiles.plan.masters import choose_dark, choose_flat
from ccdprofiles.plan.match_cards import match_of, mean_match
from ccdprofiles.plan.unlisted_cards import dividing_cards

make_plan = functools.partial(planner.make_plan, min_frames=1)

ROTATOR = Card("ROTATOR", "ROTATANG", within=2 * u.deg)
NEAR = (0.05 * u.s, 0.001)


@pytest.fixture
def zwo():
    """Return a function that makes the profile of a camera without overscan and bias."""

    def made(match=(), **recipe):
        amplifier = Amplifier(
            data="[1:24, 1:12]", overscan=None, gain=1 * u.electron / u.adu, saturation=6e4 * u.adu
        )
        recipe = Recipe(**{"bias": False, "dark": "match", "flat": None} | recipe)
        return Profile(
            instrument="zwo", name="zwo", amplifiers=[amplifier], match=match, recipe=recipe
        )

    return made


@pytest.fixture
def some(plain_frame):
    """Return a function that makes several frames; a card with a list of values has one for each."""

    def made(profile, kind, stem, exposure=30.0, number=3, **more):
        cards = more.pop("cards", {})
        lists = {card: v if isinstance(v, list) else [v] * number for card, v in cards.items()}
        return [
            plain_frame(
                f"{stem}{n}.fits",
                kind,
                exposure,
                profile,
                {card: values[n] for card, values in lists.items() if values[n] is not None},
                **more,
            )
            for n in range(number)
        ]

    return made


def groups(plan, kind="dark"):
    return {m.name.split("/")[1]: len(m.inputs) for m in plan.masters if m.type == kind}


def taken(plan, kind):
    return {
        p.input.file.removesuffix(".fits"): plan.master(name).inputs[0].file[:-6]
        for p in plan.products
        if (name := getattr(p.input, kind))
    }


def missing(plan):
    return {m.file.removesuffix(".fits"): m.text for m in plan.missing}


# Cards as numbers.


def test_numbers_are_compared_as_numbers_and_a_wrong_one_names_both_values(zwo, some):
    profile = zwo(match={"dark": (Card("USBSPEED"),)})
    plan = make_plan(
        [
            *some(profile, "dark", "a", cards={"USBSPEED": [40, "40", 40.0]}),
            *some(profile, "dark", "b", cards={"USBSPEED": 80}),
            *some(profile, "science", "s", number=2, cards={"USBSPEED": ["40.0", 60]}),
        ]
    )
    assert groups(plan) == {
        "zwo_dark_30s_usbspeed40_1x1.fits": 3,
        "zwo_dark_30s_usbspeed80_1x1.fits": 3,
    }
    assert taken(plan, "dark") == {"s0": "a"}
    assert missing(plan) == {
        "s1": "no dark of 30 s ± 1 s and 24x12 pixels binned 1x1; "
        "zwo_dark_30s_usbspeed40_1x1 has USBSPEED = 40, but the frame has USBSPEED = 60; "
        "zwo_dark_30s_usbspeed80_1x1 has USBSPEED = 80, but the frame has USBSPEED = 60."
    }
    assert (
        "the 6 darks of 30 s of zwo were taken with different settings (USBSPEED is 40 in 3 frames "
        "and 80 in 3 frames); only frames with the same settings are combined"
    ) in plan.notes


def test_a_flat_of_another_rotator_angle_is_refused_with_both_angles_and_the_tolerance(zwo, some):
    profile = zwo(match={"flat": (ROTATOR,)}, flat=Flat())
    plan = make_plan(
        [
            *some(profile, "dark", "d"),
            *some(profile, "flat", "f", cards={"ROTATOR": [359.2, 0.1, "1.0"]}),
            *some(profile, "flat", "g", cards={"ROTATANG": 90.0}),
            *some(profile, "science", "s", cards={"ROTATOR": [359.0, 91.5, 45.0]}),
        ]
    )
    assert groups(plan, "flat") == {"zwo_flat_0.1_1x1.fits": 3, "zwo_flat_90_1x1.fits": 3}
    assert taken(plan, "flat") == {"s0": "f", "s1": "g"}
    assert missing(plan) == {
        "s2": "no flat without a filter of 24x12 pixels binned 1x1; "
        "zwo_flat_0.1_1x1 has ROTATOR = 0.1, but the frame has ROTATOR = 45 ± 2 deg; "
        "zwo_flat_90_1x1 has ROTATANG = 90, but the frame has ROTATOR = 45 ± 2 deg."
    }
    assert [m.match for m in plan.masters if m.type == "flat"] == [
        (("ROTATOR", "0.1"),),
        (("ROTATANG", "90"),),
    ]


def test_of_the_wrong_masters_the_nearest_are_named_first(zwo, some):
    profile = zwo(match={"dark": (Card("OFFSET"), Card("GAIN"))})
    cards = {"GAIN": 100, "OFFSET": 50}
    darks = [f for t in (1, 2, 300) for f in some(profile, "dark", f"d{t}_", t, cards=cards)]
    frame = some(profile, "science", "s", 300, 1, cards=cards | {"OFFSET": 30})
    (text,) = missing(make_plan([*darks, *frame])).values()
    assert text.startswith(
        "no dark of 300 s ± 1 s and 24x12 pixels binned 1x1; zwo_dark_300s_1x1 has OFFSET = 50, "
        "but the frame has OFFSET = 30; zwo_dark_2s_1x1 has"
    )


@pytest.mark.parametrize("absent", ["differs", "agrees"])
def test_what_absence_means_is_said_by_the_card(zwo, some, absent):
    profile = zwo(match={"dark": (Card("KNOB", absent=absent),)})
    darks = some(profile, "dark", "d", cards={"KNOB": 1})
    bare = some(profile, "dark", "n")
    science = some(profile, "science", "s", number=2, cards={"KNOB": [1, None]})
    notes = [n for n in make_plan([*darks, *science]).notes if "KNOB" in n]
    assert taken(make_plan([*darks, *science]), "dark") == {"s0": "d", "s1": "d"}
    note = (
        "masters/zwo_dark_30s_1x1.fits was taken with KNOB = 1, and s1.fits, which is calibrated "
        "with it, with KNOB missing; it is used, although it is not known whether they agree"
    )
    assert notes == ([note] if absent == "differs" else [])
    lacking = make_plan([*bare, *science])
    if absent == "agrees":
        assert taken(lacking, "dark") == {"s0": "n", "s1": "n"}
        assert groups(make_plan([*darks, *bare, *science])) == {"zwo_dark_30s_1x1.fits": 6}
    else:
        assert taken(lacking, "dark") == {"s1": "n"}
        assert missing(lacking)["s0"].endswith(
            "; zwo_dark_30s_1x1 has KNOB missing, but the frame has KNOB = 1."
        )


def test_a_tolerated_card_takes_the_place_of_the_usual_comparison(zwo, some):
    darks = {"cards": {"OFFSET": [50, 51, 50]}}
    for match, number in (((), 2), ((Card("OFFSET"),), 2), ((Card("OFFSET", within=2),), 1)):
        profile = zwo(match=match)
        frame = some(profile, "science", "s", number=1, cards={"OFFSET": 49})
        plan = make_plan([*some(profile, "dark", "d", **darks), *frame])
        assert len(groups(plan)) == number
        assert len(plan.products) == (number == 1)
    # For another type of master the usual comparison stays.
    profile = zwo(match={"bias": (Card("OFFSET", within=2),)})
    night = [*some(profile, "dark", "d", **darks), *some(profile, "science", "s")]
    assert len(groups(make_plan(night))) == 2


def test_a_tolerated_card_is_not_noted_as_one_that_nobody_lists(zwo):
    headers = [{"KNOB": value} for value in (1, 1, 9, 9)]
    assert dividing_cards(headers, "flat", zwo()) == [("KNOB", (1.0, 1.0, 9.0, 9.0))]
    for card in (Card("KNOB", within=10), Card("OTHER", "KNOB", within=10)):
        profile = zwo(match={"flat": (card,)})
        assert dividing_cards(headers, "flat", profile) == []
        assert dividing_cards(headers, "arc", profile) == []
        assert dividing_cards(headers, "dark", profile) != []


def test_an_arc_shares_the_cards_of_a_flat(zwo, some):
    profile = zwo(match={"flat": (ROTATOR,)})
    arcs = some(profile, "arc", "a", number=2, cards={"ROTATOR": [10, 11]})
    assert match_of("arc", arcs[0]) == (("ROTATOR", "10"),)
    assert mean_match("arc", arcs) == (("ROTATOR", "10.5"),)
    assert len(make_plan(arcs).masters) == 1


def test_a_master_of_another_night_is_compared_by_its_header(zwo, some, plain_frame):
    profile = zwo(match={"flat": (ROTATOR,)}, flat=Flat())
    masters = Candidates({}).with_(
        adopted(plain_frame(name, "flat", 1.0, profile, {"ROTATOR": angle}), Settings())
        for name, angle in (("m0.fits", 0.5), ("m90.fits", 90))
    )
    for angle, chosen in ((359, "m0"), (91, "m90")):
        frame = plain_frame("s.fits", "science", 30.0, profile, {"ROTATANG": angle})
        assert choose_flat(frame, masters).master.name == f"calibrations/{chosen}.fits"
    frame = plain_frame("s.fits", "science", 30.0, profile, {"ROTATANG": 45})
    assert (
        "m90 has ROTATOR = 90, but the frame has ROTATANG = 45" in choose_flat(frame, masters).text
    )


# Exposures.


@pytest.mark.parametrize(
    ("tolerance", "sentence"),
    [
        ((1 * u.s,), "is not a time and a fraction; use such as (0.05 * u.s, 0.001)."),
        ((1 * u.s, 0.1, 2), "is not a time and a fraction; use such as"),
        ((0.05, 0.001), "exposure_tolerance=(0.05, 0.001) is not a time and a fraction;"),
        ((-1 * u.s, 0.1), "exposure_tolerance=-1.0 s is not a positive number."),
        ((1 * u.m, 0.1), "exposure_tolerance=1.0 m is not in s;"),
        ((1 * u.s, 1.5), "the fraction of exposure_tolerance=1.5 is not a fraction between 0"),
        ((1 * u.s, None), "the fraction of exposure_tolerance=None is not a fraction"),
        ((1 * u.s, 2 * u.s), "the fraction of exposure_tolerance="),
    ],
)
def test_a_tolerance_of_exposures_that_is_not_valid_is_refused(tolerance, sentence):
    with pytest.raises(ProfileError) as error:
        Recipe(exposure_tolerance=tolerance)
    assert sentence in str(error.value)


def test_the_larger_of_two_tolerances_counts():
    recipe = Recipe(exposure_tolerance=list(NEAR))
    assert recipe.exposure_tolerance == NEAR
    assert [recipe.tolerance_for(t) for t in (0, 50, 60, 1000)] == [0.05, 0.05, 0.06, 1.0]
    assert Recipe().tolerance_for(1000) == 1
    assert Recipe(exposure_tolerance=0 * u.s).tolerance_for(1000) == 0
    assert Recipe(exposure_tolerance=(0 * u.s, 0.01)).tolerance_for(10) == 0.1


def test_auto_exposed_flats_take_the_dark_flat_of_their_own_exposure(zwo, some):
    profile = zwo(flat=Flat(), exposure_tolerance=NEAR)
    darks = [f for t in (0.8, 1.6, 2.4) for f in some(profile, "dark", f"d{t}_", t)]
    flats = [f for t in (0.81, 1.62, 2.4) for f in some(profile, "flat", f"f{t}_", t)]
    plan = make_plan([*darks, *flats, *some(profile, "flat", "x", 2.0, number=1)])
    (flat,) = (m for m in plan.masters if m.type == "flat")
    used = {i.file[:-7]: i.dark.split("_")[2] for i in flat.inputs}
    assert used == {"f0.81": "0.8s", "f1.62": "1.6s", "f2.4": "2.4s"}
    assert missing(plan) == {
        "x0": "no dark of 2 s ± 0.05 s; the nearest is 1.6 s, which differs by 0.4 s."
    }


def test_of_several_darks_within_the_tolerance_the_nearest_is_taken(zwo, plain_frame):
    profile = zwo(exposure_tolerance=NEAR)
    darks = [plain_frame(f"{t}.fits", "dark", t, profile) for t in (0.77, 0.80, 0.83)]
    masters = Candidates({}).with_(adopted(d, Settings()) for d in darks)
    frame = plain_frame("s.fits", "science", 0.795, profile)
    assert choose_dark(frame, masters, bias_off=False).master.exposure == 0.80
    exact = replace(profile.recipe, exposure_tolerance=(0 * u.s, 0))
    frame = frame.with_(recipe=exact, exposure=0.83)
    assert choose_dark(frame, masters, bias_off=False).master.exposure == 0.83


def test_darks_are_combined_within_the_larger_tolerance(zwo, some):
    profile = zwo(exposure_tolerance=NEAR)
    darks = [
        f for t in (10.0, 10.04, 10.2, 600.0, 600.5) for f in some(profile, "dark", f"{t}_", t, 1)
    ]
    plan = make_plan([*darks, *some(profile, "science", "s", 10.0)])
    assert groups(plan) == {
        "zwo_dark_10.02s_1x1.fits": 2,
        "zwo_dark_10.2s_1x1.fits": 1,
        "zwo_dark_600.25s_1x1.fits": 2,
    }


# Temperatures.


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ({"darks": 1 * u.deg_C}, "temperature='darks' is not one of bias, dark, flat (did you"),
        ({"dark": 1}, "temperature['dark']=1 is not in deg_C; write it as"),
        ({"dark": -1 * u.deg_C}, "temperature['dark']=-1.0 deg_C is not a positive number."),
        ({"flat": None}, "temperature['flat']=None is not in deg_C"),
    ],
)
def test_a_limit_of_temperatures_that_is_not_valid_is_refused(limit, sentence):
    with pytest.raises(ProfileError) as error:
        Limits(temperature=limit)
    assert str(error.value).startswith(sentence)


def test_one_limit_is_that_of_darks_and_a_dict_has_one_for_each_type():
    one, each = Limits(temperature=2 * u.deg_C), Limits(temperature={"flat": 5 * u.deg_C})
    kinds = ("bias", "dark", "flat", "arc")
    assert [one.temperature_of(kind) for kind in kinds] == [None, 2, None, None]
    assert [each.temperature_of(kind) for kind in kinds] == [None, None, 5, None]
    assert each == Limits(temperature={"flat": 5 * u.deg_C})
    assert each != one


def test_a_bias_and_a_flat_of_another_temperature_are_refused_if_the_recipe_limits_them(zwo, some):
    for limit in (None, 1 * u.deg_C, {"dark": 1 * u.deg_C}):
        profile = zwo(bias=True, dark=None, flat=Flat(), limits=Limits(temperature=limit))
        assert not make_plan(_of_temperatures(profile, some)).missing
    limits = Limits(temperature={"bias": 1 * u.deg_C})
    profile = zwo(bias=True, dark=None, flat=Flat(), limits=limits)
    plan = make_plan(_of_temperatures(profile, some))
    assert missing(plan)["s0"] == "no bias of -5 ± 1 °C; there are biases of -10 °C."
    limits = Limits(temperature={"flat": 2 * u.deg_C})
    profile = zwo(bias=True, dark=None, flat=Flat(), limits=limits)
    plan = make_plan(_of_temperatures(profile, some))
    assert (
        missing(plan)["s0"] == "no flat without a filter of -5 ± 2 °C; there are flats of -10 °C."
    )
    assert [m.temperature for m in plan.masters] == [None, -10.0]


def _of_temperatures(profile, some):
    cold = {"cards": {"CCD-TEMP": -10.0}}
    return [
        *some(profile, "bias", "b", 0.0, **cold),
        *some(profile, "flat", "f", 1.0, **cold),
        *some(profile, "science", "s", number=1, cards={"CCD-TEMP": -5.0}),
    ]


def test_biases_and_flats_of_two_temperatures_are_two_masters_if_the_recipe_limits_them(zwo, some):
    temperatures = {"CCD-TEMP": [-10.0, -8.0, -6.0]}
    for limit, number in ((None, 1), (1 * u.deg_C, 3)):
        limits = None if limit is None else {"bias": limit, "flat": limit}
        profile = zwo(bias=True, dark=None, flat=Flat(), limits=Limits(temperature=limits))
        plan = make_plan(
            [
                *some(profile, "bias", "b", 0.0, cards=temperatures),
                *some(profile, "flat", "f", 1.0, cards=temperatures),
                *some(profile, "science", "s", number=1, cards={"CCD-TEMP": -10.0}),
            ]
        )
        assert len(groups(plan, "bias")) == len(groups(plan, "flat")) == number
        assert len(plan.products) == 1


def test_a_flat_of_unknown_temperature_is_refused_if_the_recipe_limits_it(zwo, some):
    limits = Limits(temperature={"flat": 2 * u.deg_C})
    profile = zwo(dark=None, bias=True, flat=Flat(), limits=limits)
    plan = make_plan(
        [
            *some(profile, "bias", "b", 0.0),
            *some(profile, "flat", "f", 1.0, cards={"GAIN": 100}),
            *some(profile, "science", "s", number=1, cards={"CCD-TEMP": -5.0, "GAIN": 0}),
        ]
    )
    assert "there are flats of unknown °C" in missing(plan)["s0"]
