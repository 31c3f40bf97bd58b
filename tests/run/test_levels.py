"""An overscan level that cannot be right is set aside or noted; one that drifts is neither."""

import re
from dataclasses import replace
from types import SimpleNamespace

import by_hand
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import Amplifier, Combine, Flat, Profile, Recipe, reduce_night
from ccdprofiles.pixels.quality import Quality
from ccdprofiles.run.levels import Body, darker_than_bias, doubtful_levels
from ccdprofiles.simulate import Exposures, simulate_night, windowed

ROWS, COLUMNS, STRIP = 40, 60, 8
PEDESTAL, NOISE = 240.0, 4.0
LIGHT = {"bias": 0, "dark": 20, "flat": 20000, "science": 200, "arc": 50}
SECONDS = {"bias": 0.0, "dark": 60.0, "flat": 5.0, "science": 60.0, "arc": 10.0}


def recipe(**changes):
    return Recipe(**{"bias": True, "dark": None, "flat": None} | changes)


# One amplifier, without files.


def look(file, level, net=None, amplifiers=1, **changes):
    """Return a frame and what was measured of it: overscan levels, and data above the pedestal."""
    kind = file.rstrip("0123456789")
    levels = level if isinstance(level, tuple) else (level,) * amplifiers
    nets = net if isinstance(net, tuple) else (LIGHT[kind] if net is None else net,) * len(levels)
    noise = (NOISE**2 + LIGHT[kind]) ** 0.5
    middle = tuple(float(PEDESTAL + more) for more in nets)
    frame = SimpleNamespace(
        file=file,
        type=kind,
        date=file[-2:],
        exposure=SECONDS[kind],
        binning=(1, 1),
        amplifier_key="a",
        profile=SimpleNamespace(name="c"),
        recipe=changes.pop("recipe", recipe()),
        amplifiers=SimpleNamespace(readouts=levels),
    )
    quality = Quality(
        level=middle,
        scatter=(noise,) * len(levels),
        bright=middle,
        dark=tuple(m - 1.64 * noise for m in middle),
    )
    rows = tuple(None if one is None else np.full(ROWS, float(one)) for one in levels)
    return frame, SimpleNamespace(level=levels, levels=rows, quality=quality)


def judged(*looks, setups=None):
    frames = {frame.file: frame for frame, _ in looks}
    measured = {frame.file: found for frame, found in looks}
    return doubtful_levels(frames, measured, setups or {})


def good(kind, number, levels=None):
    levels = levels or [PEDESTAL] * number
    return [
        look(f"{kind}{n}", levels[n], LIGHT[kind] + levels[n] - PEDESTAL) for n in range(number)
    ]


TELL = (
    "; the frame does not show whether the pedestal or the overscan is wrong; compare it "
    "with others, and reject it, or set Recipe(overscan_drift=...) to use the nightly median."
)


@pytest.mark.parametrize("number", [0, 1, 5])
def test_an_overscan_far_above_the_night_and_the_data_is_set_aside(number):
    wrong, notes = judged(*good("bias", 3), *good("science", number), look("science9", 3240.0))
    assert list(wrong) == ["science9"]
    assert wrong["science9"].code == "overscan-level"
    below = str(wrong["science9"]).split(" are ")[1].split()[0]
    assert float(below) == pytest.approx(2800, abs=30)
    assert str(wrong["science9"]) == (
        "its overscan level 3240 adu deviates from the nightly median 240 adu by 3000 adu "
        f"(tolerance 30 adu), and its darkest pixels are {below} adu below it, but light is never "
        "negative; check its overscan, or set Recipe(overscan_drift=30 * u.adu) to use the nightly "
        "median."
    )
    assert notes == []


def test_an_overscan_far_below_the_night_is_noted_as_the_sky_may_be_bright():
    wrong, notes = judged(
        *good("bias", 3, [3240.0] * 3),
        *good("science", 2, [3240.0] * 2),
        look("science9", 240.0, 3200),
    )
    assert wrong == {}
    assert notes == [
        "science9: overscan level 240 adu deviates from the nightly median 3240 adu by 3000 adu "
        "(tolerance 64.8 adu)" + TELL
    ]


def test_the_note_names_the_worst_and_counts_the_others():
    flats = [look(f"flat{n}", 300.0 + n) for n in range(4)]
    wrong, (note,) = judged(*good("bias", 5), *flats)
    assert wrong == {}
    assert note.startswith("flat3 and 3 more of type flat: overscan level 303 adu deviates")


@pytest.mark.parametrize("kind", ["bias", "dark"])
@pytest.mark.parametrize("off", [3000.0, -200.0, 60.0])
@pytest.mark.parametrize("number", [2, 6])
def test_a_frame_without_light_whose_data_did_not_move_is_set_aside(kind, off, number):
    wrong, notes = judged(
        *good(kind, number), *good("science", 1), look(f"{kind}9", PEDESTAL + off)
    )
    assert list(wrong) == [f"{kind}9"]
    assert f"by {abs(off):.4g} adu" in str(wrong[f"{kind}9"])
    assert notes == []


@pytest.mark.parametrize("kind", ["bias", "dark"])
@pytest.mark.parametrize("off", [3000.0, -200.0])
def test_a_frame_without_light_whose_data_moved_is_noted(kind, off):
    moved = look(f"{kind}9", PEDESTAL + off, LIGHT[kind] + off)
    wrong, (note,) = judged(*good(kind, 4), *good("science", 2), moved)
    assert wrong == {}
    assert note.endswith("; the data changed with it, so the frame is used as it is.")


def test_data_that_moved_by_nearly_as_much_moved_with_the_overscan():
    wrong, (note,) = judged(*good("bias", 4), look("bias9", PEDESTAL + 400, 440))
    assert wrong == {}
    assert "the data changed with it" in note


@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
def test_the_light_of_a_frame_with_the_levels_of_the_night_is_judged_elsewhere(kind):
    assert judged(*good("bias", 4), look(f"{kind}9", PEDESTAL, -300)) == ({}, [])


def test_the_current_in_a_dark_is_no_level_below_which_there_is_no_light():
    darks = [look(f"dark{n}", PEDESTAL, 500) for n in range(3)]
    assert judged(*darks, look("science0", PEDESTAL)) == ({}, [])


def test_a_pedestal_that_jumps_between_two_levels_is_noted_once_for_each_type():
    levels = [240.0, 540.0] * 4
    wrong, notes = judged(*good("bias", 8, levels), *good("science", 4, levels[:4]))
    assert wrong == {}
    assert sorted(note.split(":")[0] for note in notes) == [
        "bias1 and 3 more of type bias",
        "science1 and 1 more of type science",
    ]


def test_one_amplifier_that_is_wrong_is_named():
    wrong, notes = judged(
        *[look(f"bias{n}", PEDESTAL, amplifiers=2) for n in range(4)],
        look("science0", (PEDESTAL, 3240.0)),
        look("science1", PEDESTAL, amplifiers=2),
    )
    assert "its overscan level of amplifier 2 3240 adu deviates" in str(wrong["science0"])
    assert (list(wrong), notes) == (["science0"], [])


def test_all_science_whose_overscan_is_wrong_is_held_against_the_biases():
    wrong, notes = judged(*good("bias", 3), *[look(f"science{n}", 3240.0) for n in range(9)])
    assert len(wrong) == 9
    assert notes == []


def test_a_lone_frame_is_judged_by_its_own_data():
    wrong, _ = judged(look("science0", 3240.0))
    assert "its overscan level is 3240 adu, and its darkest pixels are 28" in str(wrong["science0"])
    assert judged(look("science0", 240.0)) == ({}, [])


def test_a_camera_whose_data_lie_below_its_overscan_is_noted_once():
    """Without a bias or dark nothing else says where no light lies."""
    wrong, (note,) = judged(*[look(f"science{n}", PEDESTAL, -500) for n in range(4)])
    assert wrong == {}
    assert note.startswith("science0 and 3 more: the darkest pixels are 524")


def test_biases_tell_by_how_much_the_data_lie_below_the_overscan():
    looks = [look(f"bias{n}", PEDESTAL, -80) for n in range(3)]
    assert judged(*looks, look("science0", PEDESTAL, -80 + 200)) == ({}, [])
    assert judged(*looks, look("science0", PEDESTAL, -80)) == ({}, [])


def test_a_pedestal_that_settles_while_a_frame_is_read_is_no_fault():
    frame, found = look("science0", PEDESTAL, 200)
    found.levels = (PEDESTAL + np.linspace(-300, 300, ROWS),)
    found.quality = replace(found.quality, dark=(PEDESTAL - 100,))
    assert judged(*good("bias", 3), (frame, found)) == ({}, [])


def test_frames_of_another_bias_and_those_with_a_drift_of_the_recipe_are_left_alone():
    biases = good("bias", 3)
    setups = dict.fromkeys(["bias0", "bias1", "bias2"], "a") | {"science0": "b"}
    assert judged(*biases, look("science0", 640.0, 600), setups=setups) == ({}, [])
    told = look("science0", 3240.0, recipe=recipe(overscan_drift=30 * u.adu))
    assert judged(*biases, told) == ({}, [])


def test_without_an_overscan_what_is_darker_than_its_biases_is_noted():
    looks = [look(f"bias{n}", (None,), 0.0) for n in range(3)]
    looks += [look("science0", (None,), -900.0), look("science1", (None,), 200.0)]
    frames, measured = {f.file: f for f, _ in looks}, {f.file: m for f, m in looks}
    assert darker_than_bias(frames, measured, {}) == [
        "science0: the darkest pixels are 917.5 adu below those of the biases, but light is never "
        "negative; check that the biases were read out in the same way."
    ]
    assert darker_than_bias(frames, measured, {"science0": "another"}) == []


def test_without_an_overscan_a_frame_a_little_darker_than_its_biases_is_noted():
    looks = [look(f"bias{n}", (None,), 0.0) for n in range(3)]
    looks += [look("science0", (None,), -160.0), look("science1", (None,), -15.0)]
    frames, measured = {f.file: f for f, _ in looks}, {f.file: m for f, m in looks}
    (note,) = darker_than_bias(frames, measured, {})
    assert note.startswith("science0: the darkest pixels are 177.5 adu below those of the biases")


# Drift.


@pytest.mark.parametrize("drift", [0.0, 2.0, 10.0, 30.0])
@pytest.mark.parametrize("number", [2, 4, 8, 20, 60])
def test_a_pedestal_that_scatters_raises_no_alarm(drift, number):
    random = np.random.default_rng(3)
    far = 0
    for _ in range(100):
        levels = PEDESTAL + random.normal(0, min(drift, 30 if number > 2 else 20), number)
        far += not Body.of(levels).inside.all()
    # Four frames do not tell their scatter well.
    assert far <= (2 if number < 8 else 0)


@pytest.mark.parametrize("total", [30, 100, 300, -300])
@pytest.mark.parametrize("shape", [1, 2, 4])
def test_a_pedestal_that_drifts_through_the_night_raises_no_alarm(total, shape):
    """As one does whose electronics warm up, fast at first."""
    random = np.random.default_rng(4)
    run = 1 - (1 - np.linspace(0, 1, 60)) ** shape
    assert Body.of(PEDESTAL + total * run + random.normal(0, 1, 60)).inside.all()


@pytest.mark.parametrize("number", [3, 4, 8, 20])
@pytest.mark.parametrize("off", [60, -200, 3000])
def test_one_level_among_some_that_drift_is_found(number, off):
    random = np.random.default_rng(5)
    for _ in range(50):
        levels = PEDESTAL + random.normal(0, 1, number)
        levels[number // 2] += off
        assert np.flatnonzero(~Body.of(levels).inside).tolist() == [number // 2]


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize("off", [-300, 300])
def test_biases_of_another_level_than_all_other_frames_blame_themselves(number, off):
    """As many biases as darks lie apart; the flats and the science frames decide."""
    others = [*good("dark", number), *good("flat", 5), *good("science", 3)]
    biases = [look(f"bias{n}", PEDESTAL + off) for n in range(number)]
    wrong, notes = judged(*biases, *others)
    assert all(file.startswith("bias") for file in wrong)
    assert all(note.startswith("bias") for note in notes)
    assert wrong or notes


# Nights.


def camera(*amplifiers, **changes):
    numbers = {"gain": 1 * u.electron / u.adu, "read_noise": NOISE * u.electron}
    strip = f"[{COLUMNS + 1}:{COLUMNS + STRIP}, 1:{ROWS}]"
    one = Amplifier(data=f"[1:{COLUMNS}, 1:{ROWS}]", overscan=strip, **numbers)
    return Profile(
        instrument="C", name="c", amplifiers=amplifiers or [one], recipe=recipe(**changes)
    )


def write(path, kind, seed, off=0.0, pedestal=PEDESTAL):
    """Write a frame whose overscan lies off its pedestal."""
    random = np.random.default_rng(seed)
    data = random.normal(pedestal, NOISE, (ROWS, COLUMNS + STRIP))
    data[:, :COLUMNS] += random.poisson(LIGHT[kind], (ROWS, COLUMNS))
    data[:, COLUMNS:] += off
    word = "light" if kind == "science" else kind
    cards = {"INSTRUME": "C", "IMAGETYP": word, "EXPTIME": SECONDS[kind], "FILTER": "r"}
    cards["DATE-OBS"] = f"2024-03-01T20:{seed % 60:02}:00"
    fits.PrimaryHDU(
        data.round().clip(0, 65535).astype("u2"), fits.Header([*cards.items()])
    ).writeto(path)


def night(folder, wrong="science0", off=3000.0, biases=4, **changes):
    folder.mkdir()
    kinds = {"bias": biases, "flat": 3 * ("flat" in wrong), "science": 2}
    for k, (kind, number) in enumerate(kinds.items()):
        for n in range(number):
            name = f"{kind}{n}"
            write(
                folder / f"{name}.fits", kind, 10 * k + n, off if name == wrong else 0.0, **changes
            )
    return folder


def said(made):
    """Return what a run says, its numbers rounded."""
    return re.sub(r"\d+\.\d+", lambda found: f"{float(found[0]):.0f}", str(made))


def row(made, file):
    (found,) = (r for r in made.frames if r["file"] == file)
    return str(found["verdict"]), str(found["code"]), str(found["reason"])


@pytest.mark.parametrize("biases", [3, 4])
def test_science_with_an_overscan_3000_adu_too_high_is_set_aside(tmp_path, biases):
    raw = night(tmp_path / "raw", biases=biases)
    made = reduce_night(raw, tmp_path / "out", profile=camera())
    verdict, code, reason = row(made, "science0.fits")
    assert (verdict, code) == ("set aside", "overscan-level")
    assert reason.endswith(" To use it nevertheless: keep=[FILE] (--keep FILE).")
    assert len(made.products) == 1
    kept = reduce_night(raw, tmp_path / "kept", profile=camera(), keep=["science0.fits"])
    assert "kept by hand, although its overscan level 3240 adu deviates" in said(kept)
    assert len(kept.products) == 2


def test_the_nightly_level_is_taken_where_the_recipe_has_a_drift(tmp_path, caplog):
    raw = night(tmp_path / "raw")
    made = reduce_night(raw, tmp_path / "out", profile=camera(overscan_drift=30 * u.adu))
    assert made.ok
    product = made.products["science/science0_cal.fits"]
    assert np.median(fits.getdata(product)) == pytest.approx(200, abs=5)
    assert fits.getheader(product)["OSNIGHT1"]
    (logged,) = [m for m in caplog.messages if m.startswith("science0.fits: ")]
    assert re.fullmatch(
        r"science0.fits: overscan level 32\d\d.* adu deviates from the nightly median 240.* adu by "
        r"3\d\d\d.* adu \(tolerance 30 adu\); using the nightly median\.",
        logged,
    )
    assert (
        "  science0.fits: overscan level 3240 adu deviates from the nightly median 240 adu by 3000 "
        "adu (tolerance 30 adu); using the nightly median."
    ) in said(made).splitlines()


def test_a_leak_for_which_the_recipe_has_a_drift_is_no_news(tmp_path):
    raw = night(tmp_path / "raw", off=40.0)
    made = reduce_night(raw, tmp_path / "out", profile=camera(overscan_drift=30 * u.adu))
    assert fits.getheader(made.products["science/science0_cal.fits"])["OSNIGHT1"]
    assert "overscan" not in str(made)


def test_science_with_an_overscan_too_low_is_noted_and_used(tmp_path):
    raw = night(tmp_path / "raw", off=-3000.0, pedestal=3240.0)
    made = reduce_night(raw, tmp_path / "out", profile=camera())
    assert made.ok
    assert (
        "  science0.fits: overscan level 240 adu deviates from the nightly median 3240 adu by 3000 "
        "adu (tolerance 65 adu)" + TELL
    ) in said(made).splitlines()


def test_a_bias_and_a_flat_are_blamed_for_their_overscan_and_not_for_their_light(tmp_path):
    raw = night(tmp_path / "raw", wrong="bias1")
    made = reduce_night(raw, tmp_path / "out", profile=camera())
    assert row(made, "bias1.fits")[:2] == ("set aside", "overscan-level")
    assert len(made.products) == 2
    raw = night(tmp_path / "flats", wrong="flat1")
    made = reduce_night(raw, tmp_path / "with flats", profile=camera(flat=Flat()))
    assert made.ok
    assert "flat1.fits: overscan level 3240 adu deviates from the nightly median" in said(made)


def test_a_good_night_has_no_note(tmp_path):
    raw = night(tmp_path / "raw", off=4.0)
    assert "overscan" not in str(reduce_night(raw, tmp_path / "out", profile=camera()))


@pytest.mark.parametrize("strip", [True, False])
def test_one_of_three_biases_of_another_level_is_noted(tmp_path, strip):
    """Three are too few to leave one out, and a mean of them would take a third of it."""
    (tmp_path / "raw").mkdir()
    for n in range(3):
        write(tmp_path / "raw" / f"bias{n}.fits", "bias", n, pedestal=PEDESTAL + 300 * (n == 1))
    write(tmp_path / "raw" / "science0.fits", "science", 9)
    amplifier = replace(camera().amplifiers[0], **({} if strip else {"overscan": None}))
    profile = camera(amplifier, combine=Combine(method="average", clip=None))
    profile = replace(profile, frame_size=(COLUMNS + STRIP, ROWS))
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    assert made.ok
    wanted = "overscan level 540 adu" if strip else "level 540 adu"
    assert f"bias1.fits: {wanted} deviates from the nightly median 240 adu by 300 adu" in said(made)


def test_without_a_bias_frames_of_another_gain_are_not_compared(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for n in range(6):
        path = raw / f"science{n}.fits"
        write(path, "science", n, pedestal=PEDESTAL + 900 * (n > 3))
        fits.setval(path, "GAIN", value=100 if n > 3 else 0)
    made = reduce_night(raw, tmp_path / "out", profile=camera(bias=False))
    assert len(made.products) == 6
    assert "deviates" not in said(made)
    drift = camera(bias=False, overscan_drift=30 * u.adu)
    made = reduce_night(raw, tmp_path / "drift", profile=drift)
    assert len(made.products) == 6
    for product in made.products.values():
        assert "OSNIGHT1" not in fits.getheader(product)


def test_a_part_of_a_night_is_judged_by_the_levels_of_the_whole(tmp_path):
    """The pedestal drifts, which the frames that are asked for do not show."""
    raw = tmp_path / "raw"
    raw.mkdir()
    for n in range(3):
        write(raw / f"bias{n}.fits", "bias", n)
    for n, level in enumerate([0, 120, -20, 90, 200, 30, 160, 60, 150, 10]):
        write(raw / f"v{n}.fits", "science", 10 + n, pedestal=PEDESTAL + level)
    write(raw / "r.fits", "science", 30, off=300)
    write(raw / "odd.fits", "science", 31, off=9000)
    whole = reduce_night(raw, tmp_path / "whole", profile=camera())
    assert row(whole, "odd.fits")[1] == "overscan-level"
    part = reduce_night(raw, tmp_path / "part", profile=camera(), only="r.fits")
    name = "science/r_cal.fits"
    assert list(part.products) == [name]
    assert part.products[name].read_bytes() == whole.products[name].read_bytes()
    assert part.ok
    assert row(part, "v0.fits")[0] == row(part, "odd.fits")[0] == "not asked for"
    assert "odd.fits" not in said(part)


@pytest.mark.parametrize("strip", [True, False])
@pytest.mark.parametrize("dark", ["match", "scale"])
def test_darks_with_light_are_noted_where_the_sky_is_less_than_none(tmp_path, strip, dark):
    (tmp_path / "raw").mkdir()
    for n in range(3):
        write(tmp_path / "raw" / f"bias{n}.fits", "bias", n)
        # The light falls on the data, and not on the overscan.
        write(
            tmp_path / "raw" / f"dark{n}.fits", "dark", 10 + n, off=-500.0, pedestal=PEDESTAL + 500
        )
    write(tmp_path / "raw" / "science0.fits", "science", 20)
    amplifier = replace(camera().amplifiers[0], **({} if strip else {"overscan": None}))
    size = None if strip else (COLUMNS + STRIP, ROWS)
    profile = replace(camera(amplifier, dark=dark), frame_size=size)
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    assert np.median(fits.getdata(made.products["science/science0_cal.fits"])) < -300
    assert (
        "adu; made of dark0.fits and others), but light is never negative; check the darks for light, and "
        "that they were read out with the offset and mode of this frame."
    ) in said(made)
    assert "adu below masters/c_dark_60s_1x1.fits (error " in said(made)


def test_a_faint_sky_above_a_good_dark_is_not_noted(tmp_path):
    (tmp_path / "raw").mkdir()
    for n in range(3):
        write(tmp_path / "raw" / f"bias{n}.fits", "bias", n)
        write(tmp_path / "raw" / f"dark{n}.fits", "dark", 10 + n)
    write(tmp_path / "raw" / "science0.fits", "science", 20, pedestal=PEDESTAL - 185)
    amplifier = replace(camera().amplifiers[0], overscan=None)
    profile = replace(camera(amplifier, dark="match"), frame_size=(COLUMNS + STRIP, ROWS))
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    assert "no light is negative" not in str(made)


@pytest.mark.parametrize("number", [2, 12])
def test_the_level_of_a_night_does_not_follow_its_leaking_flats(tmp_path, number):
    flats = Exposures("flat", number, 10.0, overscan_light=40.0)
    truth = simulate_night(
        windowed("dis_red", 32, 32),
        tmp_path / "raw",
        frames=[Exposures("bias", 3), Exposures("dark", 3, 10.0), flats],
    )
    made = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known)
    for word in ("bias", "dark"):
        path = by_hand.only(made.masters, word)
        assert "OSNIGHT1" not in fits.getheader(path)
        assert np.median(fits.getdata(path)) == pytest.approx(0, abs=3)
    assert fits.getheader(by_hand.only(made.masters, "flat"))["OSNIGHT1"] is True


def test_an_overscan_that_scatters_too_much_is_noted(tmp_path):
    for n, noise in enumerate((2, 2, 40)):
        data = by_hand.pixels(100, n, (16, 24))
        data[:, 16:] = by_hand.pixels(100, 10 + n, (16, 8), noise)
        by_hand.write(tmp_path / f"raw/b{n}.fits", "bias", data)
    profile = by_hand.camera(overscan="[17:24, 1:16]")
    made = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    (note,) = [line for line in str(made).splitlines() if "read noise is" in line]
    assert note.startswith("  c: overscan [17:24, 1:16] scatters by ")
    assert note.endswith(
        " adu in b2.fits, but the read noise is 2 adu; check whether light falls on it."
    )
    assert made.ok


@pytest.mark.parametrize("late", [2, 5])
def test_many_biases_that_stand_apart_together_are_a_drift(tmp_path, late):
    """Ten biases of the evening, some of the morning higher, and no overscan that tells."""
    camera = Profile(
        name="c",
        instrument="C",
        amplifiers=[Amplifier(data="[1:64, 1:64]", overscan=None, saturation=60000 * u.adu)],
        recipe=Recipe(bias=True, dark=None, flat=None),
    )
    random = np.random.default_rng(5)
    (tmp_path / "raw").mkdir()
    for n in range(10 + late):
        image = random.normal(300 + 5 * (n >= 10), 1.5, (64, 64)).round().astype("u2")
        hdu = fits.PrimaryHDU(image)
        hdu.header.update(INSTRUME="C", IMAGETYP="bias", EXPTIME=0)
        hdu.writeto(tmp_path / "raw" / f"b{n:02}.fits")
    night = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera)
    apart = [row["file"] for row in night.frames if row["code"] == "outlier"]
    assert apart == ([] if late == 5 else ["b10.fits", "b11.fits"])
    assert ("5 of its 15 frames deviate together" in str(night)) == (late == 5)
