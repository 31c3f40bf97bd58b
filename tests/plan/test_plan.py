"""The plan: what is made of what, and what cannot be, before a pixel is read."""

import dataclasses
import functools
import json
import random
import re
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import by_hand
import pytest
from astropy import units as u
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccdprofiles import Amplifier, Combine, Flat, Profile, Recipe, plan_night, reduce_night
from ccdprofiles.cli.command import main
from ccdprofiles.errors import PlanError
from ccdprofiles.files import pixels
from ccdprofiles.plan import planner
from ccdprofiles.plan.frames import ACCEPTED, SET_ASIDE, Frame
from ccdprofiles.simulate import Exposures, simulate_night, windowed

make_plan = functools.partial(planner.make_plan, min_frames=1)
"""Most nights of this page have one or two frames of a kind, to be seen at a glance."""


def camera(name="cam", overscan=None, **changes):
    values = {
        "instrument": name,
        "name": name,
        "amplifiers": [
            Amplifier(
                data="[1:20, 1:12]",
                overscan=overscan,
                gain=2 * u.electron / u.adu,
                read_noise=8 * u.electron,
                saturation=60000 * u.adu,
            )
        ],
        "frame_size": (25, 12),
        "binning": ("XB", "YB"),
        "recipe": Recipe(bias=True, dark="match"),
    }
    return Profile(**values | changes)


CAMERA = camera()


def frame(file, kind, exposure=None, profile=CAMERA, binning=(1, 1), **more):
    """Describe a frame that has no file; ``cards`` are those of its header."""
    cards = {"XB": binning[0], "YB": binning[1]} | more.pop("cards", {})
    x, y = binning
    shape = more.pop("shape", (12 // y, 25 // x))
    amplifiers = profile.amplifiers_of(cards, {None: shape})
    return Frame(
        file,
        Path(file),
        profile=profile,
        recipe=profile.recipe_of(cards),
        type=kind,
        exposure=exposure,
        binning=binning,
        shape=shape,
        amplifiers=amplifiers,
        amplifier_key=amplifiers.key,
        raw=SimpleNamespace(header=cards),
        **more,
    )


def some(kind, number, exposure=None, start=1, **more):
    stem = more.pop("stem", kind)
    return [frame(f"{stem}{n}.fits", kind, exposure, **more) for n in range(start, start + number)]


def a_night(**more):
    return [
        *some("bias", 3, 0.0, **more),
        *some("dark", 3, 300.0, **more),
        *some("dark", 2, 5.0, start=4, **more),
        *some("flat", 2, 5.0, filter="V", **more),
        *some("science", 2, 300.062, filter="V", **more),
    ]


def master(plan, name):
    return plan.master(f"masters/{name}.fits")


def files(made):
    return [i.file for i in made.inputs]


def reasons(plan):
    return [str(m) for m in plan.missing]


def sentence(frames, without=()):
    """The reason of the one frame that cannot be made."""
    (missing,) = make_plan(frames, without).missing
    return missing.code, missing.reason.removeprefix(f"{missing.file}: ")


# What is made of what.


def test_each_master_is_made_of_its_own_frames():
    plan = make_plan(a_night())
    assert [m.name for m in plan.masters] == [
        "masters/cam_bias_1x1.fits",
        "masters/cam_dark_5s_1x1.fits",
        "masters/cam_dark_300s_1x1.fits",
        "masters/cam_flat_V_1x1.fits",
    ]
    assert files(master(plan, "cam_dark_300s_1x1")) == ["dark1.fits", "dark2.fits", "dark3.fits"]
    flat = master(plan, "cam_flat_V_1x1").inputs[0]
    assert flat.bias == "masters/cam_bias_1x1.fits"
    assert flat.dark == "masters/cam_dark_5s_1x1.fits"
    assert flat.flat is None
    science = plan.products[0].input
    assert science.dark == "masters/cam_dark_300s_1x1.fits"
    assert science.dark_scale == 1
    assert science.flat == "masters/cam_flat_V_1x1.fits"
    assert plan.complete


def test_a_master_that_is_not_planned_is_refused_with_the_names_there_are():
    plan = planner.make_plan(some("bias", 3, 0.0))
    name = plan.masters[0].name
    with pytest.raises(PlanError) as refusal:
        plan.master("bias")
    assert str(refusal.value) == f"'bias' is not a master of this plan; use one of {name}."
    with pytest.raises(PlanError, match=r"'bias' is not a master of this plan; it has none\."):
        planner.make_plan([]).master("bias")


def test_a_plan_is_printed_for_people():
    frames = [
        *a_night(),
        frame("deep.fits", "science", 357.0, filter="V"),
        frame("x.fits", "science").rejected("exposure", "EXPTIME is missing."),
    ]
    assert str(make_plan(frames)) == (
        "14 files found, 12 used\n"
        "\n"
        "Masters\n"
        "  masters/cam_bias_1x1.fits  average of 3 biases\n"
        "  masters/cam_dark_5s_1x1.fits  average of 2 darks of 5 s\n"
        "  masters/cam_dark_300s_1x1.fits  average of 3 darks of 300 s\n"
        "  masters/cam_flat_V_1x1.fits  average of 2 flats in V\n"
        "\n"
        "Science frames\n"
        "  science/science1_cal.fits  cam_bias_1x1, cam_dark_300s_1x1, cam_flat_V_1x1\n"
        "  science/science2_cal.fits  cam_bias_1x1, cam_dark_300s_1x1, cam_flat_V_1x1\n"
        "\n"
        "Not calibrated\n"
        "  deep.fits: no dark of 357 s ± 1 s; the nearest is 300 s, which differs by 57 s.\n"
        "\n"
        "What to do\n"
        "  take matching darks, use those of another night with calibrations=[FOLDER] "
        "(--calibrations), or omit the step with without=['dark'] (--without dark)\n"
        "\n"
        "Set aside\n"
        "  x.fits: EXPTIME is missing."
    )


@pytest.mark.parametrize("overscan", ["[21:25, 1:12]", None])
@pytest.mark.parametrize("dark", ["scale", "match"])
@pytest.mark.parametrize("lost", ["bias", "dark", "flat"])
def test_steps_that_the_plan_advises_to_leave_out_can_be_left_out(overscan, dark, lost):
    profile = camera(
        amplifiers=[Amplifier(data="[1:20, 1:12]", overscan=overscan)],
        recipe=Recipe(bias=True, dark=dark),
    )
    frames = [f for f in a_night(profile=profile) if f.type != lost]
    plan = make_plan(frames)
    (told,) = (
        r for r in plan.remedies if f"--without {lost}" in r and f"take matching {lost}" in r
    )
    after = make_plan(frames, re.findall(r"--without (\w+)", told))
    assert after.complete
    assert after.products


def test_the_advice_for_want_of_biases_where_darks_are_scaled():
    amplifiers = [Amplifier(data="[1:20, 1:12]", overscan="[21:25, 1:12]")]
    profile = camera(amplifiers=amplifiers, recipe=Recipe(bias=True, dark="scale"))
    frames = [f for f in a_night(profile=profile) if f.type != "bias"]
    told = make_plan(frames).remedies[0]
    assert told.endswith(
        "omit the steps with without=['bias', 'dark'] (--without bias --without dark)"
    )


def test_the_notes_say_what_the_products_will_lack():
    unknown = camera(amplifiers=[Amplifier(data="[1:20, 1:12]", overscan=None)])
    plan = make_plan(a_night(profile=unknown), without=["flat"])
    assert str(plan).endswith(
        "\n\nNotes\n"
        "  step omitted on purpose: flat\n"
        "  cam: no uncertainty, because its gain and read noise are not known\n"
        "  cam: saturated pixels are not flagged, because the saturation level is not known"
    )


def test_a_plan_goes_to_json_and_is_the_same_whatever_the_order_of_the_files():
    frames = [*a_night(), frame("deep.fits", "science", 357.0, filter="V")]
    plan = make_plan(frames)
    told = json.loads(plan.to_json())
    assert told["found"] == len(frames)
    assert told["masters"][0]["name"] == "masters/cam_bias_1x1.fits"
    (missing,) = plan.missing
    assert told.pop("missing") == [
        {"file": "deep.fits", "code": "no-dark", "reason": missing.reason}
    ]
    fields = dataclasses.asdict(plan)
    del fields["missing"]
    assert fields.pop("mosaics") == (), "written only if a profile joins its chips"
    assert told == json.loads(json.dumps(fields))
    for seed in range(5):
        shuffled = random.Random(seed).sample(frames, len(frames))
        assert make_plan(shuffled) == plan
        assert make_plan(shuffled).to_json() == plan.to_json()


def test_instruments_binnings_filters_and_exposures_of_one_folder_stay_apart():
    other = camera("other")
    frames = []
    for number, (profile, binning) in enumerate(
        [(CAMERA, (1, 1)), (CAMERA, (2, 2)), (other, (1, 1))]
    ):
        for kind, exposure, filter in (
            ("bias", 0.0, "V"),
            ("bias", 0.0, "R"),
            ("dark", 5.0, "V"),
            ("dark", 60.0, "R"),
            ("flat", 5.0, "V"),
            ("flat", 5.0, "R"),
            ("science", 60.0, "R"),
        ):
            name = f"{kind}{number}{exposure:g}{filter}.fits"
            frames.append(frame(name, kind, exposure, profile, binning, filter=filter))
    plan = make_plan(frames)
    assert plan.complete
    assert len(plan.masters) == 3 * (1 + 2 + 2)
    assert files(master(plan, "cam_bias_2x2")) == ["bias10R.fits", "bias10V.fits"]
    for product in plan.products:
        number = product.input.file.removeprefix("science")[0]
        chosen = product.input
        for name in (chosen.bias, chosen.dark, chosen.flat):
            for file in files(plan.master(name)):
                assert re.fullmatch(rf"(bias|dark|flat){number}.*", file)
        assert files(plan.master(chosen.flat)) == [f"flat{number}5R.fits"]


def test_amplifier_sets_stay_apart():
    small = camera(amplifiers=[Amplifier(data="[1:10, 1:12]", overscan=None)])
    frames = [*some("bias", 2, 0.0, profile=small), frame("s.fits", "science", 1.0)]
    assert sentence(frames) == (
        "no-bias",
        "no bias of 25x12 pixels binned 1x1; cam_bias_1x1 was read out by other amplifiers.",
    )


def test_a_master_of_another_size_is_said_to_be_of_another_size():
    whole = camera(amplifiers=[Amplifier(data="[:, :]", overscan=None)], frame_size=None)
    frames = some("bias", 2, 0.0, profile=whole)
    cut = frame("s.fits", "science", 1.0, profile=whole, shape=(8, 10))
    assert sentence([*frames, cut]) == (
        "no-bias",
        "no bias of 10x8 pixels binned 1x1; cam_bias_1x1 has 25x12 pixels.",
    )


# Darks.


@pytest.mark.parametrize(
    ("recipe", "exposure", "offered"),
    [
        (Recipe(bias=True, dark="match"), 5.0, True),
        (Recipe(bias=True, dark="match"), 100.0, False),  # nothing is scaled up unasked
        (Recipe(bias=False, dark="match"), 5.0, False),  # its bias would be scaled
    ],
)
def test_scaling_is_offered_where_a_longer_dark_without_its_bias_is_there(
    recipe, exposure, offered
):
    profile = camera(recipe=recipe)
    frames = [*some("bias", 1, 0.0, profile=profile), *some("dark", 1, 60.0, profile=profile)]
    code, text = sentence([*frames, frame("s.fits", "science", exposure, profile=profile)])
    assert code == "no-dark"
    assert ("--set dark=scale" in text) is offered


def test_one_file_is_counted_as_one():
    assert str(make_plan(some("bias", 1, 0.0))).startswith("1 file found, 1 used\n")


def test_a_matched_dark_is_the_nearest_in_exposure_within_the_tolerance():
    recipe = Recipe(bias=False, dark="match", exposure_tolerance=20 * u.s, flat=None)
    profile = camera(recipe=recipe)
    frames = [
        frame("d290.fits", "dark", 290.0, profile),
        frame("d305.fits", "dark", 305.0, profile),
        frame("s.fits", "science", 300.0, profile),
    ]
    (product,) = make_plan(frames).products
    assert product.input.dark == "masters/cam_dark_305s_1x1.fits"
    assert product.input.dark_scale == 1


def test_darks_whose_exposures_hardly_differ_become_one_master():
    frames = [*some("bias", 2, 0.0)] + [
        frame(f"d{n}.fits", "dark", exposure)
        for n, exposure in enumerate([300.0, 300.5, 299.8, 1.0, 1.5])
    ]
    plan = make_plan(frames)
    assert [files(m) for m in plan.masters if m.type == "dark"] == [
        ["d3.fits"],
        ["d4.fits"],
        ["d0.fits", "d1.fits", "d2.fits"],
    ]


SCALED = camera(recipe=Recipe(bias=True, dark="scale"))


def test_a_scaled_dark_is_the_longest_and_the_scale_is_the_ratio_of_exposures():
    frames = [
        *some("bias", 2, 0.0, profile=SCALED),
        *some("dark", 2, 60.0, profile=SCALED),
        *some("dark", 2, 90.0, start=3, profile=SCALED),
        *some("flat", 1, 1.21, profile=SCALED),
        *some("science", 1, 90.0, profile=SCALED),
        frame("half.fits", "science", 45.0, SCALED),
        frame("exact.fits", "science", 60.0, SCALED),
    ]
    plan = make_plan(frames)
    assert plan.complete
    flat = master(plan, "cam_flat_1x1").inputs[0]
    assert flat.dark == "masters/cam_dark_90s_1x1.fits"
    assert flat.dark_scale == 1.21 / 90
    scales = {p.input.file: (p.input.dark, p.input.dark_scale) for p in plan.products}
    assert scales["science1.fits"] == ("masters/cam_dark_90s_1x1.fits", 1)
    assert scales["half.fits"] == ("masters/cam_dark_90s_1x1.fits", 0.5)
    assert scales["exact.fits"] == ("masters/cam_dark_60s_1x1.fits", 1)
    assert "cam_dark_90s_1x1 x 0.5, cam_flat_1x1" in str(plan)


def test_a_bias_and_a_dark_are_never_matched_by_filter():
    frames = [
        *some("bias", 2, 0.0, filter="B"),
        *some("dark", 2, 60.0, filter="blocking"),
        frame("f.fits", "flat", 60.0, filter="V"),
        frame("s.fits", "science", 60.0, filter="V"),
    ]
    plan = make_plan(frames)
    assert plan.complete
    assert len(plan.products) == 1


# What is missing, word for word.

MISSING = {
    "no bias at all": (
        [frame("s.fits", "science", 60.0)],
        "no-bias",
        "no bias of 25x12 pixels binned 1x1; the night has none of cam.",
    ),
    "a bias of another binning": (
        [*some("bias", 2, 0.0), frame("s.fits", "science", 60.0, binning=(2, 2))],
        "no-bias",
        "no bias of 12x6 pixels binned 2x2; cam_bias_1x1 is binned 1x1.",
    ),
    "a bias of another camera": (
        [*some("bias", 2, 0.0, profile=camera("other")), frame("s.fits", "science", 60.0)],
        "no-bias",
        "no bias of 25x12 pixels binned 1x1; the night has none of cam.",
    ),
    "a dark of another exposure": (
        [*some("bias", 1, 0.0), *some("dark", 1, 300.0), frame("s.fits", "science", 357.0)],
        "no-dark",
        "no dark of 357 s ± 1 s; the nearest is 300 s, which differs by 57 s.",
    ),
    "no dark at all": (
        [*some("bias", 1, 0.0), frame("s.fits", "science", 357.0)],
        "no-dark",
        "no dark of 357 s ± 1 s and 25x12 pixels binned 1x1; the night has none of cam.",
    ),
    "no dark to be scaled": (
        [*some("bias", 1, 0.0, profile=SCALED), frame("s.fits", "science", 7.0, SCALED)],
        "no-dark",
        "no dark of any exposure and 25x12 pixels binned 1x1; the night has none of cam.",
    ),
    "no flat at all": (
        [
            *some("bias", 1, 0.0),
            *some("dark", 1, 60.0),
            frame("s.fits", "science", 60.0, filter="V"),
        ],
        "no-flat",
        "no flat in filter V of 25x12 pixels binned 1x1; the night has none of cam.",
    ),
    "a flat in another filter": (
        [
            *some("bias", 1, 0.0),
            *some("dark", 1, 60.0),
            *some("flat", 1, 60.0, filter="R"),
            *some("flat", 1, 60.0, start=2),
            frame("s.fits", "science", 60.0, filter="V"),
        ],
        "no-flat",
        "no flat in filter V; there are flats in R, no filter.",
    ),
    "a flat in a filter for science without": (
        [
            *some("bias", 1, 0.0),
            *some("dark", 1, 60.0),
            *some("flat", 1, 60.0, filter="R"),
            frame("s.fits", "science", 60.0),
        ],
        "no-flat",
        "no flat without a filter; there are flats in R.",
    ),
}


@pytest.mark.parametrize("case", MISSING)
def test_what_is_missing_is_said_with_the_nearest_that_there_is(case):
    frames, code, reason = MISSING[case]
    assert sentence(frames) == (code, reason)
    plan = make_plan(frames)
    assert not plan.complete
    assert plan.products == ()


def test_a_flat_through_another_slit_is_refused_with_its_cards():
    profile = camera(match={"flat": ("SLIT", "GRATING")})
    frames = [
        *some("bias", 1, 0.0, profile=profile),
        *some("dark", 1, 60.0, profile=profile),
        frame("f.fits", "flat", 60.0, profile, cards={"SLIT": "2.0", "GRATING": "B300"}),
        frame("s.fits", "science", 60.0, profile, cards={"SLIT": "1.2", "GRATING": "B300"}),
    ]
    assert sentence(frames) == (
        "no-flat",
        "no flat without a filter of 25x12 pixels binned 1x1; cam_flat_2.0_B300_1x1 has SLIT = 2.0.",
    )
    frames.append(frame("g.fits", "flat", 60.0, profile, cards={"SLIT": 1.2, "GRATING": "B300"}))
    plan = make_plan(frames)
    (product,) = plan.products
    assert files(plan.master(product.input.flat)) == ["g.fits"]


def test_a_frame_without_flat_frames_that_could_be_used_is_told_of_those_that_cannot():
    frames = [
        *some("bias", 1, 0.0),
        *some("dark", 1, 60.0),
        frame("f.fits", "flat", 5.0, filter="V"),
        frame("s.fits", "science", 60.0, filter="V"),
    ]
    assert reasons(make_plan(frames)) == [
        "f.fits: no dark of 5 s ± 1 s; the nearest is 60 s, which differs by 55 s. To scale a longer dark, use dark='scale' in the recipe (--set dark=scale).",
        "s.fits: no flat in filter V of 25x12 pixels binned 1x1; the 1 of the night cannot be used for the reasons listed with them.",
    ]


def test_flats_at_1x1_beside_science_at_2x2_are_refused_with_the_reason(tmp_path):
    small = windowed("pt5m", 24, 40)
    night = [
        Exposures("bias", 3),
        Exposures("dark", 3, 60.0),
        Exposures("bias", 3, binning=(1, 1)),
        Exposures("dark", 3, 60.0, binning=(1, 1)),
        Exposures("flat", 3, 2.0, filter="V", binning=(1, 1)),
        Exposures("science", 2, 60.0, filter="V"),
    ]
    simulate_night(small, tmp_path, frames=night)
    plan = plan_night(tmp_path, profiles=[small])
    assert plan.products == ()
    assert {m.code for m in plan.missing} == {"no-flat"}
    assert len(plan.missing) == 2
    for reason in reasons(plan):
        assert reason.endswith(
            "no flat in filter V of 40x24 pixels binned 2x2; pt5m_flat_V_1x1 is binned 1x1."
        )


# Several candidates.


def test_of_several_masters_the_nearest_in_time_is_taken():
    recipe = Recipe(bias=False, dark="match", flat=None)
    profile = camera(recipe=recipe)
    frames = [
        frame("early.fits", "dark", 60.0, profile, date="2024-01-01T20:00:00", origin="1"),
        frame("late.fits", "dark", 60.0, profile, date="2024-01-08T20:00:00", origin="2"),
        frame("a.fits", "science", 60.0, profile, date="2024-01-02T03:00:00"),
        frame("b.fits", "science", 60.0, profile, date="2024-01-07T03:00:00"),
        frame("c.fits", "science", 60.0, profile),
    ]
    plan = make_plan(frames)
    chosen = {p.input.file: files(plan.master(p.input.dark)) for p in plan.products}
    assert chosen["a.fits"] == ["early.fits"]
    assert chosen["b.fits"] == ["late.fits"]
    assert len(chosen["c.fits"]) == 1
    for seed in range(5):
        assert make_plan(random.Random(seed).sample(frames, 5)) == plan


# Steps omitted on purpose.


def test_a_step_left_out_needs_no_master_and_is_told():
    frames = [*some("bias", 1, 0.0), *some("dark", 1, 60.0), frame("s.fits", "science", 60.0)]
    plan = make_plan(frames, ["flat"])
    assert plan.complete
    assert plan.without == ("flat",)
    assert plan.products[0].input.flat is None
    assert "step omitted on purpose: flat" in str(plan)
    plan = make_plan([*frames, *some("flat", 2, 60.0)], ["flat"])
    assert not [m for m in plan.masters if m.type == "flat"]


def test_scaled_darks_without_bias_are_refused():
    with pytest.raises(PlanError) as error:
        make_plan(some("dark", 2, 60.0, profile=SCALED), ["bias"])
    assert str(error.value) == (
        "without the bias step, the darks of cam would be scaled although they still contain their bias; omit the dark as well, or do not omit the bias."
    )
    make_plan(some("dark", 2, 60.0, profile=SCALED), ["bias", "dark"])


def test_a_flat_never_divides_a_pedestal():
    frames = [*some("flat", 1, 60.0), frame("s.fits", "science", 60.0)]
    reason = "it still contains its pedestal, and such a frame must not be divided by a flat; omit the flat as well, or subtract a bias or dark."
    plan = make_plan(frames, ["bias", "dark"])
    assert [(m.file, m.code) for m in plan.missing] == [
        ("flat1.fits", "pedestal"),
        ("s.fits", "pedestal"),
    ]
    assert reasons(plan) == [f"flat1.fits: {reason}", f"s.fits: {reason}"]
    assert make_plan(frames, ["bias", "dark", "flat"]).complete
    # An overscan, or a dark that holds the bias, takes the pedestal off.
    lapped = camera(overscan="[21:25, 1:12]")
    frames = [frame("f.fits", "flat", 60.0, lapped), frame("s.fits", "science", 60.0, lapped)]
    assert make_plan(frames, ["bias", "dark"]).complete
    frames = [*some("dark", 1, 60.0), *some("flat", 1, 60.0), frame("s.fits", "science", 60.0)]
    assert make_plan(frames, ["bias"]).complete


@pytest.mark.parametrize("step", ["overscan", "Flat", "flats", ""])
def test_a_step_that_cannot_be_left_out_is_refused(tmp_path, step):
    with pytest.raises(PlanError, match="is not a step that can be omitted; use one of bias, dark"):
        plan_night(tmp_path, without=[step])


def test_one_step_may_be_given_as_a_text(tmp_path):
    simulate_night(windowed("lfc", 16, 20), tmp_path)
    plan = plan_night(tmp_path, profile=windowed("lfc", 16, 20), without="flat")
    assert plan.without == ("flat",)


# Arcs.


def test_arcs_are_summed_need_no_dark_and_have_the_exposure_of_all():
    profile = camera(match={"flat": ("SLIT",)})
    frames = [*some("bias", 1, 0.0, profile=profile)] + [
        frame(f"arc{n}.fits", "arc", 30.0, profile, filter="none", cards={"SLIT": slit})
        for n, slit in enumerate(("1.2", "1.2", "2.0"))
    ]
    plan = make_plan(frames)
    arcs = [m for m in plan.masters if m.type == "arc"]
    assert [(files(m), m.exposure, m.method) for m in arcs] == [
        (["arc0.fits", "arc1.fits"], 60.0, "sum"),
        (["arc2.fits"], 30.0, "sum"),
    ]
    assert arcs[0].inputs[0].bias == "masters/cam_bias_1x1.fits"
    assert str(arcs[0]).endswith("sum of 2 arcs")


def test_the_method_is_that_of_the_recipe():
    recipe = Recipe(bias=True, dark=None, flat=None, combine={"bias": Combine(method="median")})
    plan = make_plan(some("bias", 2, 0.0, profile=camera(recipe=recipe)))
    assert plan.masters[0].method == "median"


# Calibrations of other nights.


@pytest.fixture
def small():
    return windowed("cg16m", 16, 20)


DARKS = [Exposures("bias", 3), Exposures("dark", 3, 90.0), Exposures("flat", 3, 1.0, filter="r")]


def test_raw_calibrations_of_another_night_are_combined(tmp_path, small):
    simulate_night(small, tmp_path / "other", frames=DARKS)
    simulate_night(
        small, tmp_path / "night", seed=1, frames=[Exposures("science", 2, 90.0, filter="r")]
    )
    assert not plan_night(tmp_path / "night", profiles=[small]).complete
    plan = plan_night(tmp_path / "night", profiles=[small], calibrations=tmp_path / "other")
    assert plan.complete
    assert len(plan.products) == 2
    assert {PurePosixPath(i.file).parts[0] for m in plan.masters for i in m.inputs} == {"other"}
    assert plan == plan_night(
        tmp_path / "night", profiles=[small], calibrations=[tmp_path / "other"]
    )


def test_masters_of_another_night_are_taken_as_they_are(tmp_path, small):
    simulate_night(small, tmp_path / "other", frames=DARKS)
    before = reduce_night(tmp_path / "other", tmp_path / "reduced", profiles=[small])
    assert len(before.masters) == 3
    simulate_night(
        small, tmp_path / "night", seed=1, frames=[Exposures("science", 2, 90.0, filter="r")]
    )
    plan = plan_night(
        tmp_path / "night", profiles=[small], calibrations=[tmp_path / "reduced" / "masters"]
    )
    assert plan.complete
    assert [str(m) for m in plan.masters] == [
        f"calibrations/masters/{name}.fits  a master of another night"
        for name in ("cg16m_bias_1x1", "cg16m_dark_90s_1x1", "cg16m_flat_r_1x1")
    ]
    assert [m.inputs for m in plan.masters] == [()] * 3
    chosen = plan.products[0].input
    assert chosen.bias == "calibrations/masters/cg16m_bias_1x1.fits"
    assert chosen.flat == "calibrations/masters/cg16m_flat_r_1x1.fits"


def adopted(kind, exposure, cards, profile=CAMERA, **more):
    made = frame("old/m.fits", kind, exposure, profile, cards=cards, origin="1", **more)
    return dataclasses.replace(made, master=kind, recipe=None, amplifiers=None, raw=made.raw)


def test_a_master_dark_that_holds_its_bias_is_not_subtracted_beside_a_bias():
    """It would take the pedestal off twice."""
    frames = [*some("bias", 2, 0.0), frame("s.fits", "science", 60.0)]
    bare = adopted("dark", 60.0, {"ZEROCOR": "cam_bias_1x1.fits"})
    assert make_plan([*frames, bare], ["flat"]).complete
    full = adopted("dark", 60.0, {})
    plan = make_plan([*frames, full], ["flat"])
    assert plan.products == ()
    assert reasons(plan) == [
        "s.fits: no dark of 60 s ± 1 s and 25x12 pixels binned 1x1; m still contains its bias."
    ]


def test_a_master_dark_without_its_bias_does_not_stand_in_for_one():
    """The pedestal would stay, and be divided by the flat."""
    bare = adopted("dark", 60.0, {"ZEROCOR": "cam_bias_1x1.fits"})
    frames = [bare, frame("s.fits", "science", 60.0)]
    plan = make_plan(frames, ["bias", "flat"])
    assert plan.products == ()
    assert reasons(plan) == [
        "s.fits: no dark of 60 s ± 1 s and 25x12 pixels binned 1x1; m had its bias subtracted."
    ]


# No pixel is read.


@pytest.mark.parametrize("name", ["lfc", "kosmos", "proem", "pt5m"])
def test_planning_reads_no_pixel(tmp_path, monkeypatch, name):
    small = windowed(name, 16, 20)
    simulate_night(small, tmp_path)

    def refuse(*args, **options):
        raise AssertionError("pixels were read")

    for method in ("__init__", "rows", "stored"):
        monkeypatch.setattr(pixels.Pixels, method, refuse)
    plan = plan_night(tmp_path, profiles=[small])
    assert plan.complete
    assert plan.products


def test_a_profile_made_on_the_spot_gets_a_name(tmp_path):
    small = dataclasses.replace(windowed("lfc", 16, 20), name="", file="")
    simulate_night(small, tmp_path)
    plan = plan_night(tmp_path, profile=small)
    assert plan.complete
    assert plan.masters[0].name == "masters/lfc_dark_7s_1x1.fits"


# Names.


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=5, unique=True))
def test_filters_of_any_text_stay_inside_masters_and_apart(filters):
    filters = [f for f in filters if f.strip() == f and f]
    frames = [frame(f"{n}.fits", "flat", 5.0, filter=f) for n, f in enumerate(filters)]
    plan = make_plan([*some("bias", 1, 0.0), *some("dark", 1, 5.0), *frames])
    names = [m.name for m in plan.masters]
    assert len(names) == 2 + len(filters)
    # Some file systems know no difference of case.
    assert len({n.lower() for n in names}) == len(names)
    for name in names:
        assert re.fullmatch(r"masters/[A-Za-z0-9_+][A-Za-z0-9._+-]*\.fits", name)
        assert len(PurePosixPath(name).name) < 200


def test_products_keep_their_folders_and_stay_apart():
    profile = camera(recipe=Recipe(bias=False, dark=None, flat=None))
    names = ["a.fits", "a.fit", "A.FITS", "a.fits.gz", "x/a.fits", "x/b.0.fits.fz", "c", "ä.fts"]
    plan = make_plan([frame(n, "science", 1.0, profile) for n in names])
    products = {p.input.file: p.name for p in plan.products}
    assert products["x/a.fits"] == "science/x/a_cal.fits"
    assert products["x/b.0.fits.fz"] == "science/x/b.0_cal.fits"
    assert products["c"] == "science/c_cal.fits"
    assert products["ä.fts"] == "science/ä_cal.fits"
    assert len({n.lower() for n in products.values()}) == len(names)
    assert {PurePosixPath(n).parts[0] for n in products.values()} == {"science"}


def test_a_very_long_name_of_a_raw_frame_leaves_room_for_a_temporary_one():
    profile = camera(recipe=Recipe(bias=False, dark=None, flat=None))
    names = ["a" * 245 + f"{n}.fits" for n in range(2)] + ["ä" * 120 + ".fits"]
    plan = make_plan([frame(n, "science", 1.0, profile) for n in names])
    assert len({p.name for p in plan.products}) == 3
    for product in plan.products:
        assert len(PurePosixPath(product.name).name.encode()) < 200


# Whatever a night holds, every accepted frame ends in one place.

PROFILES = {
    "match": CAMERA,
    "scale": camera("scale", recipe=Recipe(bias=True, dark="scale")),
    "overscan": camera("lapped", overscan="[21:25, 1:12]", recipe=Recipe(bias=False, dark="match")),
    "little": camera("little", recipe=Recipe(bias=True, dark=None, flat=None)),
}

kinds = st.sampled_from(["bias", "dark", "flat", "arc", "science"])
described = st.tuples(
    st.sampled_from(sorted(PROFILES)),
    kinds,
    st.sampled_from([1.0, 5.0, 5.3, 60.0, 300.0, 300.5]),
    st.sampled_from([None, "V", "R"]),
    st.sampled_from([(1, 1), (2, 2), (2, 1)]),
    st.sampled_from([None, "2024-01-01T20:00:00", "2024-01-02T05:00:00"]),
    st.sampled_from(["", "1"]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(described, max_size=14),
    st.sets(st.sampled_from(["bias", "dark", "flat"])),
    st.randoms(use_true_random=False),
)
def test_every_accepted_frame_ends_in_exactly_one_place(drawn, without, shuffler):
    frames = []
    for number, (which, kind, exposure, filter, binning, date, origin) in enumerate(drawn):
        if kind in ("science", "arc"):
            origin = ""
        frames.append(
            frame(
                f"{number}.fits",
                kind,
                0.0 if kind == "bias" else exposure,
                PROFILES[which],
                binning,
                filter=filter,
                date=date,
                origin=origin,
            )
        )
    if any(f.recipe.dark == "scale" for f in frames) and without & {"bias", "dark"} == {"bias"}:
        with pytest.raises(PlanError):
            make_plan(frames, without)
        return
    plan = make_plan(frames, without)
    used = [i.file for m in plan.masters for i in m.inputs]
    used += [p.input.file for p in plan.products]
    missing = [m.file for m in plan.missing]
    places = used + missing
    assert len(places) == len(set(places))
    by_name = {f.file: f for f in frames}
    for file in set(by_name) - set(places):
        recipe, kind = by_name[file].recipe, by_name[file].type
        # What another night offers and nobody can use is no fault of this one.
        assert by_name[file].origin or kind in without or not getattr(recipe, kind)
    # What a frame uses is there, was made before it, and is of its own kind of frame.
    known = {}
    for made in plan.masters:
        for chosen in made.inputs:
            for name in (chosen.bias, chosen.dark):
                assert name is None or name in known
            assert by_name[chosen.file].amplifier_key == made.readout
            assert by_name[chosen.file].binning == made.binning
        known[made.name] = made
    for product in plan.products:
        science = by_name[product.input.file]
        for name in (product.input.bias, product.input.dark, product.input.flat):
            if name is not None:
                assert known[name].setup == (
                    science.profile.name,
                    science.amplifier_key,
                    science.binning,
                )
        if product.input.flat:
            assert known[product.input.flat].filter == science.filter
        if product.input.dark and science.recipe.dark == "match":
            assert abs(known[product.input.dark].exposure - science.exposure) <= 1
    shuffled = list(frames)
    shuffler.shuffle(shuffled)
    assert make_plan(shuffled, without) == plan
    assert plan.found == len(frames)
    assert all(f.verdict in (ACCEPTED, SET_ASIDE) for f in frames)


def test_a_master_dark_holds_frames_of_one_bias_only(tmp_path):
    for n in range(3):
        by_hand.write(tmp_path / f"before/b{n}.fits", "bias", 1000, 0, f"2020-01-01T00:0{n}:00")
        by_hand.write(tmp_path / f"after/b{n}.fits", "bias", 1100, 0, f"2020-01-03T00:0{n}:00")
    for n in range(2):
        by_hand.write(tmp_path / f"night/d{n}.fits", "dark", 1050, 100, f"2020-01-01T20:0{n}:00")
        by_hand.write(tmp_path / f"night/e{n}.fits", "dark", 1150, 100, f"2020-01-02T04:0{n}:00")
    by_hand.write(tmp_path / "night/s.fits", "light", 1250, 100, "2020-01-02T05:00:00")
    made = by_hand.reduce_night(
        tmp_path / "night",
        tmp_path / "out",
        profile=by_hand.camera(dark="match"),
        calibrations=[tmp_path / "before", tmp_path / "after"],
    )
    darks = [p for name, p in made.masters.items() if "dark" in name]
    assert [fits.getheader(p)["NCOMBINE"] for p in darks] == [2, 2]
    for path in darks:
        assert fits.getdata(path).mean() == pytest.approx(50, abs=1)
    assert fits.getdata(by_hand.only(made.products)).mean() == pytest.approx(100, abs=1)


def test_flats_of_two_recipes_do_not_share_a_master(tmp_path):
    def recipe(header):
        scale = "mean" if header.get("GRISM") else "median"
        return Recipe(bias=True, dark=None, flat=Flat(scale=scale))

    by_hand.write_some(tmp_path, "bias", 2, 100)
    by_hand.write_some(tmp_path, "flat", 2, 1000, 3.0, GRISM="7")
    by_hand.write_some(tmp_path, "flat", 2, 1000, 3.0, stem="other")
    plan = by_hand.plan_night(tmp_path, profile=by_hand.with_recipe(recipe))
    assert [[i.file for i in m.inputs] for m in plan.masters if m.type == "flat"] == [
        ["flat0.fits", "flat1.fits"],
        ["other0.fits", "other1.fits"],
    ]


def test_two_raw_shapes_with_open_sections_do_not_share_a_master(tmp_path):
    for kind, exposure in (("bias", 0.0), ("light", 10.0)):
        by_hand.write_some(tmp_path / "raw", kind, 2, 300, exposure)
        for n in range(2):
            by_hand.write(
                tmp_path / f"raw/wide{kind}{n}.fits",
                kind,
                by_hand.pixels(500, n, (32, 32)),
                exposure,
            )
    made = by_hand.reduce_night(
        tmp_path / "raw", tmp_path / "out", profile=by_hand.camera("[:, :]")
    )
    assert sorted(fits.getdata(p).shape for p in made.masters.values()) == [(16, 16), (32, 32)]
    assert made.ok
    for path in made.products.values():
        assert fits.getdata(path).mean() == pytest.approx(0, abs=1)


def test_raw_shapes_do_not_mix_though_the_sections_are_the_same(tmp_path):
    by_hand.write_some(tmp_path, "bias", 2, 100)
    for n in range(2):
        by_hand.write(tmp_path / f"wide{n}.fits", "bias", by_hand.pixels(300, n, (32, 32)))
    sizes = dataclasses.replace(by_hand.camera(), frame_size=lambda h: (h["NAXIS1"], h["NAXIS2"]))
    plan = by_hand.plan_night(tmp_path, profile=sizes)
    assert [len(m.inputs) for m in plan.masters] == [2, 2]


def test_frames_whose_gain_differs_do_not_share_a_master(tmp_path):
    def gain(header):
        return header["EGAIN"] * u.electron / u.adu

    profile = by_hand.camera()
    profile = dataclasses.replace(
        profile, amplifiers=[dataclasses.replace(profile.amplifiers[0], gain=gain)]
    )
    by_hand.write_some(tmp_path, "bias", 2, 100, EGAIN=1.3)
    by_hand.write_some(tmp_path, "bias", 3, 100, stem="high", EGAIN=2.6)
    plan = by_hand.plan_night(tmp_path, profile=profile)
    assert sorted(len(m.inputs) for m in plan.masters) == [2, 3]


def test_a_dark_that_is_scaled_is_the_long_one(tmp_path):
    by_hand.write_some(tmp_path, "bias", 2, 100)
    by_hand.write_some(tmp_path, "dark", 2, 190, 90.0)
    by_hand.write_some(tmp_path, "dark", 2, 100, 0.1, stem="short")
    by_hand.write(tmp_path / "s.fits", "light", 600, 1.0)
    (product,) = by_hand.plan_night(tmp_path, profile=by_hand.camera(dark="scale")).products
    assert product.input.dark == "masters/c_dark_90s_1x1.fits"
    assert product.input.dark_scale == pytest.approx(1 / 90)


def test_two_profiles_made_on_the_spot_get_two_names(tmp_path):
    profiles = []
    for detector in ("blue", "red"):
        profiles.append(dataclasses.replace(by_hand.camera(), where={"DETECTOR": detector}))
        by_hand.write_some(tmp_path, "bias", 2, 100, stem=detector, DETECTOR=detector)
    plan = by_hand.plan_night(tmp_path, profiles=profiles)
    assert [m.name for m in plan.masters] == [
        "masters/c_bias_1x1.fits",
        "masters/c_2_bias_1x1.fits",
    ]
    assert plan.complete


def test_one_dark_of_the_exposure_of_the_flats_is_enough(tmp_path):
    frames = [
        Exposures("dark", 1, 3.0),
        Exposures("dark", 3, 10.0),
        Exposures("flat", 3, 3.0, filter="V"),
        Exposures("science", 1, 10.0, filter="V"),
    ]
    truth = simulate_night(windowed("proem", 16, 24), tmp_path / "raw", frames=frames)
    made = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known)
    assert made.ok
    with fits.open(by_hand.only(made.masters, "flat")) as hdus:
        assert "UNCERT" not in hdus
    with fits.open(by_hand.only(made.products)) as hdus:
        assert "UNCERT" in hdus


def test_a_folder_of_products_or_of_packed_frames_says_why_nothing_is_made(
    raw_night, tmp_path, capsys
):
    out = raw_night.parent / "out"
    by_hand.reduce_night(raw_night, out, profiles=[by_hand.SMALL])
    plan = str(by_hand.plan_night(out / "science", profiles=[by_hand.SMALL]))
    assert " products of ccdprofiles; specify the folder of the raw night" in plan
    packed = tmp_path / "packed"
    packed.mkdir()
    for name in ("a.fits.bz2", "b.fits.Z", "notes.txt"):
        (packed / name).write_bytes(b"BZh9 and more")
    assert str(by_hand.plan_night(packed)).endswith(
        "2 files (a.fits.bz2 … b.fits.Z) are compressed in a format that is not read (.Z, .bz2); "
        "decompress them\n  notes.txt: not a FITS file."
    )
    assert main(["reduce", str(packed), "-o", str(tmp_path / "o")]) == 3
    assert "a.fits.bz2 … b.fits.Z" in capsys.readouterr().out
    (raw_night / "a.fits.bz2").write_bytes(b"BZh9 and more")
    assert "a.fits.bz2 is compressed in a format that is not read" in str(
        by_hand.plan_night(raw_night, profiles=[by_hand.SMALL])
    )
