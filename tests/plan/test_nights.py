"""Local noon divides the nights, and a frame is divided by the flats of the nearest night."""

from datetime import datetime, timedelta

import pytest

from ccdprofiles import Flat
from ccdprofiles.plan.nights import Nights, local_noon, longitude_of
from ccdprofiles.plan.planner import make_plan

HOUR = 3600.0
EAST = {"SITELONG": "+30 00 00"}
WEST = {"SITELONG": "-105 00 00"}


@pytest.fixture
def taken(plain_camera, plain_frame):
    """Return a function that makes a frame of a number of hours after 2026-11-20 0:00 UT."""
    camera = plain_camera(bias=False, dark=None, flat=Flat())

    def made(hours, kind="science", name="", **more):
        date = (datetime(2026, 11, 20) + timedelta(hours=hours)).isoformat()
        file = f"{name or kind}{hours:g}.fits"
        return plain_frame(file, kind, 5.0, camera, **{"date": date} | more)

    return made


@pytest.mark.parametrize(
    ("cards", "degrees"),
    [
        ({"SITELONG": "-105 30 00"}, -105.5),
        ({"SITELONG": "+17:45:36"}, 17.76),
        ({"LONG-OBS": -70.7345}, -70.7345),
        ({"OBSGEO-L": 10, "SITELONG": 20}, 10),
        ({"LONGITUD": "-00:30:00"}, -0.5),
        ({"LONGITUD": "west"}, None),
        ({"SITELONG": 1e9}, None),
        ({}, None),
    ],
)
def test_the_longitude_is_read_from_the_usual_cards(cards, degrees):
    found = longitude_of(cards)
    assert found is degrees is None or found == pytest.approx(degrees)


@pytest.mark.parametrize(
    ("cards", "hour"),
    [
        (WEST, 19),  # 105 degrees west: noon is seven hours later
        (EAST, 10),
        ({"DATE-LOC": "2026-11-19T21:00:00.5"}, 19),  # beside 4:00 UT
        ({"DATE-LOC": "2026-11-19T21:00:00"} | EAST, 19),
        ({"SITELONG": 105}, 16),  # counted to the west, noon would be at 5:00, beside the science
        ({"DATE-LOC": "2020-01-01T00:00:00"}, 16),
        ({}, 16),
    ],
)
def test_local_noon_follows_from_the_local_time_the_longitude_or_the_science_frames(
    taken, cards, hour
):
    science = [taken(t, cards=cards if t == 4 else {}) for t in (2.0, 4.0, 6.0)]
    assert local_noon([*science, taken(16, "flat")]) == hour * HOUR


def test_without_science_frames_the_longest_part_of_the_day_without_any_frame_counts(taken):
    assert local_noon([taken(t, "flat") for t in (0, 1, 20)]) == 10.5 * HOUR
    assert local_noon([]) == 12 * HOUR
    assert local_noon([taken(0, date=None), taken(1, date="yesterday")]) == 12 * HOUR


def test_the_number_of_a_night_changes_at_noon_only(taken):
    nights = Nights([taken(4, cards=WEST)])
    first = nights.number("cam", datetime.fromisoformat("2026-11-20T19:00:00+00:00").timestamp())
    times = [taken(t).date + "+00:00" for t in (18.9, 19.1, 24, 42.9, 43.1)]
    numbers = [nights.number("cam", datetime.fromisoformat(t).timestamp()) for t in times]
    assert [n - first for n in numbers] == [-1, 0, 0, 0, 1]
    assert nights.number("cam", None) is None
    assert nights.apart("cam", None, 0.0) == float("inf")


# The flats of a night.


def chosen(plan):
    return {
        p.input.file.removesuffix(".fits"): plan.master(p.input.flat).inputs[0].file
        for p in plan.products
    }


def test_the_flats_of_the_same_night_come_before_nearer_ones_of_another(taken):
    flats = [taken(n / 60, "flat", "own") for n in range(3)]
    others = [taken(20.5 + n / 60, "flat", "next", origin="1") for n in range(3)]
    for cards, flat in ((WEST, "own"), ({"SITELONG": 80}, "next")):
        plan = make_plan([*flats, *others, taken(11, cards=cards)])
        assert chosen(plan)["science11"].startswith(flat)


def test_a_folder_of_several_nights_has_flats_for_each(taken):
    night = [
        taken(24 * day + hour + n / 60, kind)
        for day in range(2)
        for kind, hour, number in (("flat", 1, 3), ("science", 5, 2), ("flat", 12, 3))
        for n in range(number)
    ]
    plan = make_plan(night)
    assert {m.name: len(m.inputs) for m in plan.masters} == {
        "masters/cam_flat_2026-11-19_1x1.fits": 6,
        "masters/cam_flat_2026-11-20_1x1.fits": 6,
    }
    assert (
        "the flats of cam were taken in 2 nights (2026-11-19, 2026-11-20); each night has its own "
        "master flats, and a frame is divided by those of the nearest night"
    ) in plan.notes
    by_file = {p.input.file: p.input.flat for p in plan.products}
    assert by_file["science5.fits"].endswith("2026-11-19_1x1.fits")
    assert by_file["science29.fits"].endswith("2026-11-20_1x1.fits")


@pytest.mark.parametrize("case", ["one night", "too few", "undated"])
def test_flats_stay_together_in_one_night_or_if_a_night_has_too_few(taken, case):
    science = [taken(5), taken(10)] + [taken(29)] * (case != "one night")
    flats = [taken(1 + n / 60, "flat") for n in range(4)]
    flats += [taken(25 + n / 60, "flat") for n in range(2 if case == "too few" else 4)]
    if case == "undated":
        flats[0] = flats[0].with_(date=None)
    plan = make_plan([*flats, *science])
    assert [len(m.inputs) for m in plan.masters] == [len(flats)]
    assert not any("nights" in note for note in plan.notes)


def test_as_many_flats_as_the_caller_allows_make_a_night(taken):
    science = [taken(5), taken(29)]
    flats = [taken(1, "flat"), taken(25, "flat")]
    plan = make_plan([*flats, *science], min_frames=1)
    assert [len(m.inputs) for m in plan.masters] == [1, 1]
