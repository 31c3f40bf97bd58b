"""What a strict reader found wrong, each once, so that it never comes back."""

import dataclasses
import errno
import functools
import gzip
import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import (
    Amplifier,
    Combine,
    CosmicRays,
    Flat,
    Limits,
    Profile,
    Recipe,
    known_profiles,
    night,
)
from ccdprofiles.camera import registry
from ccdprofiles.cli.command import main
from ccdprofiles.errors import InputError, OutputError, ProfileError
from ccdprofiles.files.pixels import Pixels
from ccdprofiles.products.band import DQ_BITS
from ccdprofiles.reduce import flat_levels
from ccdprofiles.reduce.science import open_products
from ccdprofiles.run import run
from ccdprofiles.simulate import Exposures, simulate_night, windowed

plan_night = functools.partial(night.plan_night, min_frames=1)
reduce_night = functools.partial(night.reduce_night, min_frames=1)
"""Nights of one or two frames of a kind, to be seen at a glance."""

SATURATED, COSMIC_RAY, NO_DATA, HOT = (
    DQ_BITS[name] for name in ("saturated", "cosmic ray", "no data", "hot")
)


@pytest.fixture(autouse=True)
def no_profiles_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "user_folder", lambda: tmp_path / "no profiles")


def camera(data="[1:16, 1:16]", overscan=None, unit=u.adu, instrument="C", **recipe):
    """Describe a camera of 16 x 16 pixels whose recipe takes off nothing unless told."""
    # Flats of these nights have as much light as a test can be read with.
    limits = Limits(flat_level=None)
    steps = {"bias": True, "dark": None, "flat": None, "limits": limits} | recipe
    return Profile(
        instrument=instrument,
        amplifiers=[
            Amplifier(
                data=data,
                overscan=overscan,
                gain=1 * u.electron / u.adu,
                read_noise=2 * u.electron,
                saturation=65535 * u.adu,
            )
        ],
        recipe=Recipe(**steps),
        unit=unit,
    )


def with_recipe(function):
    return dataclasses.replace(camera(), recipe=function)


def pixels(level, seed=0, shape=(16, 16), noise=2.0):
    return np.random.default_rng(seed).normal(level, noise, shape).round().astype("u2")


def write(path, kind, data, exposure=0.0, date="2020-01-01T00:00:00", **cards):
    """Write one raw frame; a number becomes noise about that level."""
    path.parent.mkdir(exist_ok=True, parents=True)
    if not isinstance(data, np.ndarray):
        data = pixels(data, int(hashlib.sha256(path.name.encode()).hexdigest()[:6], 16))
    given = {"INSTRUME": "C", "IMAGETYP": kind, "DATE-OBS": date, "EXPTIME": exposure} | cards
    header = fits.Header([(card, value) for card, value in given.items() if value is not None])
    fits.PrimaryHDU(data, header).writeto(path)


def write_some(folder, kind, number, data, exposure=0.0, stem=None, **more):
    for n in range(number):
        write(folder / f"{stem or kind}{n}.fits", kind, data, exposure, **more)


def edit(path, change=lambda data: data, **cards):
    """Write a raw frame anew, with other pixels or cards."""
    with fits.open(path) as hdus:
        data, header = hdus[0].data.copy(), hdus[0].header.copy()
    header.update(cards)
    path.unlink()
    fits.PrimaryHDU(change(data), header).writeto(path)


def put(value, *where):
    """Return a change of pixels for `edit`."""

    def change(data):
        data[where] = value
        return data

    return change


def files_of(folder, kind):
    said = [(p, fits.getheader(p)["IMAGETYP"].strip().lower()) for p in sorted(folder.iterdir())]
    return [path for path, word in said if word == kind]


def bytes_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*.fits"))}


def only(paths, word=""):
    (found,) = (path for name, path in paths.items() if word in name)
    return found


def verdicts(reduced):
    return dict(zip(reduced.frames["file"], reduced.frames["verdict"], strict=True))


def row(reduced, file):
    (index,) = np.flatnonzero(reduced.frames["file"] == file)
    return reduced.frames[index]


SMALL = windowed("cg16m", 16, 24)
BIASES, DARKS = Exposures("bias", 4), Exposures("dark", 3, 90.0)
FLATS = Exposures("flat", 3, 1.0, filter="r")
SCIENCE = Exposures("science", 2, 90.0, filter="r", object="m31")
FRAMES = [BIASES, DARKS, FLATS, SCIENCE]


@pytest.fixture
def raw(tmp_path):
    """A night of 12 frames that can be made whole."""
    simulate_night(SMALL, tmp_path / "raw", frames=FRAMES)
    return tmp_path / "raw"


# Which frames share a master or a batch.


def test_a_master_dark_holds_frames_of_one_bias_only(tmp_path):
    for n in range(3):
        write(tmp_path / f"before/b{n}.fits", "bias", 1000, 0, f"2020-01-01T00:0{n}:00")
        write(tmp_path / f"after/b{n}.fits", "bias", 1100, 0, f"2020-01-03T00:0{n}:00")
    for n in range(2):
        write(tmp_path / f"night/d{n}.fits", "dark", 1050, 100, f"2020-01-01T20:0{n}:00")
        write(tmp_path / f"night/e{n}.fits", "dark", 1150, 100, f"2020-01-02T04:0{n}:00")
    write(tmp_path / "night/s.fits", "light", 1250, 100, "2020-01-02T05:00:00")
    made = reduce_night(
        tmp_path / "night",
        tmp_path / "out",
        profile=camera(dark="match"),
        calibrations=[tmp_path / "before", tmp_path / "after"],
    )
    darks = [p for name, p in made.masters.items() if "dark" in name]
    assert [fits.getheader(p)["NCOMBINE"] for p in darks] == [2, 2]
    for path in darks:
        assert fits.getdata(path).mean() == pytest.approx(50, abs=1)
    assert fits.getdata(only(made.products)).mean() == pytest.approx(100, abs=1)


@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
def test_only_arcs_are_summed(kind):
    with pytest.raises(ProfileError) as error:
        Recipe(bias=True, combine={kind: Combine(method="sum", clip=None)})
    assert str(error.value) == (
        f"combine='sum' for a {kind}: a sum of {kind} frames is not what one frame holds; "
        "only arcs are summed. Write 'average' or 'median'."
    )
    Recipe(bias=True, combine={"arc": Combine(method="sum", clip=None)})


def test_frames_of_which_only_one_is_to_be_in_electrons_do_not_share_a_batch(tmp_path):
    def recipe(header):
        return Recipe(bias=True, dark=None, flat=None, electrons=header["EXPTIME"] > 100)

    write_some(tmp_path / "raw", "bias", 2, 100)
    write(tmp_path / "raw/a.fits", "light", 600, 10.0)
    write(tmp_path / "raw/b.fits", "light", 600, 300.0)
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=with_recipe(recipe))
    units = {name[8]: fits.getheader(path)["BUNIT"] for name, path in made.products.items()}
    assert units == {"a": "adu", "b": "electron"}


def test_cosmic_rays_are_looked_for_where_the_recipe_of_the_frame_asks(tmp_path):
    def recipe(header):
        how = CosmicRays() if header["EXPTIME"] > 100 else None
        return Recipe(bias=True, dark=None, flat=None, cosmic_rays=how)

    profile = dataclasses.replace(
        with_recipe(recipe),
        amplifiers=[dataclasses.replace(camera().amplifiers[0], data="[1:64, 1:64]")],
    )
    write_some(tmp_path / "raw", "bias", 2, pixels(100, shape=(64, 64)))
    edit(tmp_path / "raw/bias1.fits", put(101, 0, 0))
    for file, exposure in (("a", 10.0), ("b", 300.0)):
        path = tmp_path / f"raw/{file}.fits"
        write(path, "light", put(30000, 30, slice(20, 22))(pixels(600, shape=(64, 64))), exposure)
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    hit = {n[8]: (fits.getdata(p, "DQ")[30, 20] & COSMIC_RAY) for n, p in made.products.items()}
    assert hit == {"a": 0, "b": COSMIC_RAY}


def test_flats_of_two_recipes_do_not_share_a_master(tmp_path):
    def recipe(header):
        scale = "mean" if header.get("GRISM") else "median"
        return Recipe(bias=True, dark=None, flat=Flat(scale=scale))

    write_some(tmp_path, "bias", 2, 100)
    write_some(tmp_path, "flat", 2, 1000, 3.0, GRISM="7")
    write_some(tmp_path, "flat", 2, 1000, 3.0, stem="other")
    plan = plan_night(tmp_path, profile=with_recipe(recipe))
    assert [[i.file for i in m.inputs] for m in plan.masters if m.type == "flat"] == [
        ["flat0.fits", "flat1.fits"],
        ["other0.fits", "other1.fits"],
    ]


def test_two_raw_shapes_with_open_sections_do_not_share_a_master(tmp_path):
    for kind, exposure in (("bias", 0.0), ("light", 10.0)):
        write_some(tmp_path / "raw", kind, 2, 300, exposure)
        for n in range(2):
            write(tmp_path / f"raw/wide{kind}{n}.fits", kind, pixels(500, n, (32, 32)), exposure)
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera("[:, :]"))
    assert sorted(fits.getdata(p).shape for p in made.masters.values()) == [(16, 16), (32, 32)]
    assert made.ok
    for path in made.products.values():
        assert fits.getdata(path).mean() == pytest.approx(0, abs=1)


def test_raw_shapes_do_not_mix_though_the_sections_are_the_same(tmp_path):
    write_some(tmp_path, "bias", 2, 100)
    for n in range(2):
        write(tmp_path / f"wide{n}.fits", "bias", pixels(300, n, (32, 32)))
    sizes = dataclasses.replace(camera(), frame_size=lambda h: (h["NAXIS1"], h["NAXIS2"]))
    plan = plan_night(tmp_path, profile=sizes)
    assert [len(m.inputs) for m in plan.masters] == [2, 2]


def test_frames_whose_gain_differs_do_not_share_a_master(tmp_path):
    def gain(header):
        return header["EGAIN"] * u.electron / u.adu

    profile = camera()
    profile = dataclasses.replace(
        profile, amplifiers=[dataclasses.replace(profile.amplifiers[0], gain=gain)]
    )
    write_some(tmp_path, "bias", 2, 100, EGAIN=1.3)
    write_some(tmp_path, "bias", 3, 100, stem="high", EGAIN=2.6)
    plan = plan_night(tmp_path, profile=profile)
    assert sorted(len(m.inputs) for m in plan.masters) == [2, 3]


def test_a_dark_that_is_scaled_is_the_long_one(tmp_path):
    write_some(tmp_path, "bias", 2, 100)
    write_some(tmp_path, "dark", 2, 190, 90.0)
    write_some(tmp_path, "dark", 2, 100, 0.1, stem="short")
    write(tmp_path / "s.fits", "light", 600, 1.0)
    (product,) = plan_night(tmp_path, profile=camera(dark="scale")).products
    assert product.input.dark == "masters/c_dark_90s_1x1.fits"
    assert product.input.dark_scale == pytest.approx(1 / 90)


def test_two_profiles_made_on_the_spot_get_two_names(tmp_path):
    profiles = []
    for detector in ("blue", "red"):
        profiles.append(dataclasses.replace(camera(), where={"DETECTOR": detector}))
        write_some(tmp_path, "bias", 2, 100, stem=detector, DETECTOR=detector)
    plan = plan_night(tmp_path, profiles=profiles)
    assert [m.name for m in plan.masters] == [
        "masters/c_bias_1x1.fits",
        "masters/c_2_bias_1x1.fits",
    ]
    assert plan.complete


# What pixels are worth.


def test_a_sum_of_arcs_is_saturated_where_one_of_them_is(tmp_path):
    write_some(tmp_path / "raw", "bias", 2, 100)
    for n in range(3):
        data = pixels(60000, n)
        data[4, 4] = 65535 if n == 0 else 60000
        write(tmp_path / f"raw/arc{n}.fits", "arc", data, 10.0)
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera())
    flags = fits.getdata(only(made.masters, "arc"), "DQ")
    assert flags[4, 4] == SATURATED
    assert np.count_nonzero(flags) == 1


@pytest.mark.parametrize("clip", [None, 5])
def test_an_average_is_saturated_where_one_frame_is_unless_it_is_clipped(tmp_path, clip):
    write_some(tmp_path / "raw", "bias", 2, 100)
    for n, level in enumerate((20000, 30000, 40000, 60000, 20100)):
        data = pixels(level, n, noise=level**0.5)
        data[4, 4] = min(1.3 * level, 65535)
        write(tmp_path / f"raw/flat{n}.fits", "flat", data, 3.0)
    profile = camera(flat=Flat(), combine=Combine(method="average", clip=clip))
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    path = only(made.masters, "flat")
    flagged = fits.getdata(path, "DQ")[4, 4] & SATURATED
    assert flagged == (SATURATED if clip is None else 0)
    assert fits.getdata(path)[4, 4] == pytest.approx(1 if clip is None else 1.3, abs=0.01)


@pytest.mark.parametrize("number", [2, 12])
def test_the_level_of_a_night_does_not_follow_its_leaking_flats(tmp_path, number):
    flats = Exposures("flat", number, 10.0, overscan_light=40.0)
    truth = simulate_night(
        windowed("dis_red", 32, 32),
        tmp_path / "raw",
        frames=[Exposures("bias", 3), Exposures("dark", 3, 10.0), flats],
    )
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known)
    for word in ("bias", "dark"):
        path = only(made.masters, word)
        assert "OSNIGHT1" not in fits.getheader(path)
        assert np.median(fits.getdata(path)) == pytest.approx(0, abs=3)
    assert fits.getheader(only(made.masters, "flat"))["OSNIGHT1"] is True


def test_one_missing_pixel_does_not_switch_hot_pixels_off(tmp_path):
    write_some(tmp_path / "raw", "bias", 2, 100)
    for n in range(3):
        data = pixels(150, n).astype("f4")
        data[5, 5], data[3, 3] = 5000, np.nan
        write(tmp_path / f"raw/dark{n}.fits", "dark", data, 10.0)
    write(tmp_path / "raw/s.fits", "light", 600, 10.0)
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera(dark="match"))
    flags = fits.getdata(only(made.masters, "dark"), "DQ")
    assert (flags[5, 5], flags[3, 3]) == (HOT, NO_DATA)


def test_what_a_bias_has_no_data_for_is_handed_on(tmp_path):
    for n in range(2):
        data = pixels(1000, n).astype("f4")
        data[3, 3] = np.nan
        write(tmp_path / f"raw/bias{n}.fits", "bias", data)
    write_some(tmp_path / "raw", "dark", 3, 1010, 10.0)
    write_some(tmp_path / "raw", "flat", 3, 5000, 10.0)
    write(tmp_path / "raw/s.fits", "light", 1600, 10.0)
    profile = camera(dark="match", flat=Flat())
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    assert made.ok
    for name, path in (made.masters | made.products).items():
        flags = fits.getdata(path, "DQ")
        assert flags[3, 3] & NO_DATA, name
        assert not flags[3, 3] & HOT, name
        assert np.count_nonzero(flags) == 1, name
        assert np.isfinite(fits.getdata(path)).all(), name
        assert np.isfinite(fits.getdata(path, "UNCERT")).all(), name


def test_world_coordinates_do_not_depend_on_the_order_of_the_amplifiers(tmp_path):
    frames = [Exposures("bias", 2), Exposures("science", 1, 10.0)]
    truth = simulate_night(windowed("kosmos", 32, 32), tmp_path / "raw", frames=frames)
    sky = {"CRPIX1": 10.0, "CRPIX2": 5.0, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    (science,) = truth.frames["file"][truth.frames["type"] == "science"]
    edit(tmp_path / "raw" / science, **sky)
    found = []
    for name, amplifiers in (("a", truth.known.amplifiers), ("b", truth.known.amplifiers[::-1])):
        made = reduce_night(
            tmp_path / "raw",
            tmp_path / name,
            profile=dataclasses.replace(truth.known, amplifiers=amplifiers),
            without=("dark", "flat"),
        )
        header = fits.getheader(only(made.products))
        found.append((header["CRPIX1"], header["CRPIX2"]))
    assert found[0] == found[1]


def test_one_dark_of_the_exposure_of_the_flats_is_enough(tmp_path):
    frames = [
        Exposures("dark", 1, 3.0),
        Exposures("dark", 3, 10.0),
        Exposures("flat", 3, 3.0, filter="V"),
        Exposures("science", 1, 10.0, filter="V"),
    ]
    truth = simulate_night(windowed("proem", 16, 24), tmp_path / "raw", frames=frames)
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known)
    assert made.ok
    with fits.open(only(made.masters, "flat")) as hdus:
        assert "UNCERT" not in hdus
    with fits.open(only(made.products)) as hdus:
        assert "UNCERT" in hdus


def test_products_stay_in_adu_where_one_amplifier_has_no_gain(tmp_path):
    frames = [Exposures("bias", 2), Exposures("flat", 2, 10.0), Exposures("science", 1, 10.0)]
    truth = simulate_night(windowed("kosmos", 32, 32), tmp_path / "raw", frames=frames)
    first, second = truth.known.amplifiers
    profile = dataclasses.replace(
        truth.known,
        amplifiers=[first, dataclasses.replace(second, gain=None)],
        recipe=dataclasses.replace(truth.known.recipe, electrons=True),
    )
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile, without="dark")
    assert made.ok
    assert fits.getheader(only(made.products))["BUNIT"] == "adu"
    note = "kosmos: the products stay in adu, as nobody knows its gain"
    assert note in made.plan.notes


# Which files count, and what they cost.


def test_a_packed_copy_of_a_frame_counts_once(raw):
    bias = files_of(raw, "bias")[0]
    (raw / f"{bias.name}.gz").write_bytes(gzip.compress(bias.read_bytes()))
    made = reduce_night(raw, raw.parent / "out", profiles=[SMALL])
    assert made.ok
    assert fits.getheader(only(made.masters, "bias"))["NCOMBINE"] == 4
    assert row(made, f"{bias.name}.gz")["code"] == "duplicate"


@pytest.mark.parametrize("phase", ["frames", "masters", "science"])
@pytest.mark.parametrize("lost", ["gone", "cut"])
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_frame_that_is_lost_on_the_way_costs_itself(raw, monkeypatch, phase, lost, jobs):
    science = files_of(raw, "light")[0]

    def bars(now, total):
        if now == phase and lost == "gone":
            science.unlink()
        elif now == phase:
            science.write_bytes(science.read_bytes()[:3000])
        return lambda: None

    monkeypatch.setattr(night, "_no_bars", bars)
    made = reduce_night(raw, raw.parent / "out", profiles=[SMALL], jobs=jobs)
    assert len(made.masters) == 3
    assert len(made.products) == 1
    assert not made.ok
    assert verdicts(made)[science.name] == "set aside"
    assert row(made, science.name)["reason"].startswith(f"{science.name}: ")
    assert not list((raw.parent / "out").rglob("*.tmp"))


@pytest.mark.parametrize("lost", ["gone", "cut"])
@pytest.mark.parametrize("kind", ["bias", "flat"])
def test_a_calibration_that_is_lost_on_the_way_ends_no_run(raw, monkeypatch, lost, kind):
    file = files_of(raw, kind)[0]

    def bars(now, total):
        if now == "masters" and lost == "gone":
            file.unlink()
        elif now == "masters":
            file.write_bytes(file.read_bytes()[:3000])
        return lambda: None

    monkeypatch.setattr(night, "_no_bars", bars)
    made = reduce_night(raw, raw.parent / "out", profiles=[SMALL])
    assert len(made.masters) == 3
    assert len(made.products) == 2
    assert fits.getheader(only(made.masters, kind))["NCOMBINE"] == {"bias": 3, "flat": 2}[kind]
    assert not made.ok
    assert verdicts(made)[file.name] == "set aside"
    assert row(made, file.name)["reason"].startswith(f"{file.name}: ")


def test_a_function_for_another_camera_does_not_cost_the_frames_of_this_one(raw):
    other = dataclasses.replace(
        camera(), instrument=lambda header: header.get("CAMERA").strip() == "mine", name="mine"
    )
    assert reduce_night(raw, raw.parent / "out", profiles=[other, SMALL]).ok


def test_inputs_whose_dark_failed_are_not_called_used(tmp_path):
    folder = tmp_path / "raw"
    for stem, exposure in (("one", 1.0), ("ten", 10.0)):
        write_some(folder, "dark", 2, 100, exposure, stem=stem)
    write_some(folder, "flat", 2, 1100, 1.0)
    write_some(folder, "flat", 2, 5100, 50.0, stem="long")
    write(folder / "s.fits", "light", 600, 10.0)
    header = fits.Header({"INSTRUME": "C", "IMAGETYP": "dark", "EXPTIME": 50.0})
    packed = folder / "bad.fits"
    fits.CompImageHDU(pixels(120), header, compression_type="GZIP_1").writeto(packed)
    with fits.open(packed, disable_image_compression=True) as hdus:
        tiles = hdus[1].fileinfo()["datLoc"] + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
    octets = bytearray(packed.read_bytes())
    octets[tiles : tiles + 60] = b"\xff" * 60
    packed.write_bytes(octets)
    profile = camera(
        bias=False, dark="match", flat=Flat(), combine=Combine(method="median", clip=None)
    )
    made = reduce_night(folder, tmp_path / "out", profile=profile)
    assert fits.getheader(only(made.masters, "flat"))["NCOMBINE"] == 2
    told = verdicts(made)
    assert (told["flat0.fits"], told["long0.fits"]) == ("used", "not calibrated")
    assert row(made, "long1.fits")["reason"] == (
        "long1.fits: its c_dark_50s_1x1 could not be made."
    )


def test_frames_of_another_night_that_nothing_needs_leave_the_night_whole(tmp_path):
    write_some(tmp_path / "night", "bias", 2, 100)
    write_some(tmp_path / "night", "dark", 2, 110, 10.0)
    write_some(tmp_path / "night", "flat", 2, 1000, 10.0, FILTER="r")
    write(tmp_path / "night/s.fits", "light", 600, 10.0, FILTER="r")
    write_some(tmp_path / "other", "flat", 2, 1000, 3.0, FILTER="g")
    made = reduce_night(
        tmp_path / "night",
        tmp_path / "out",
        profile=camera(dark="match", flat=Flat()),
        calibrations=[tmp_path / "other"],
    )
    assert made.ok
    assert verdicts(made)["other/flat0.fits"] == "not needed"


def test_a_date_that_is_none_gives_valid_fits(tmp_path):
    for n, date in enumerate(("31/01/20 01:00", "01/02/20 01:00")):
        write(tmp_path / f"raw/b{n}.fits", "bias", 100, date=date)
    write(tmp_path / "raw/s.fits", "light", 600, 10.0, date="01/02/20 02:00")
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera())
    assert made.ok
    header = fits.getheader(only(made.masters))
    assert not {"DATE-OBS", "DATE-END", "MJD-OBS", "MJD-END"} & set(header)


def test_a_card_that_decides_and_says_two_things_sets_its_frame_aside(tmp_path):
    write_some(tmp_path / "raw", "bias", 2, 100)
    for name, second in (("s", 99.0), ("t", 10.0)):
        path = tmp_path / f"raw/{name}.fits"
        write(path, "light", 600, 10.0)
        header = path.read_bytes()[:2880]
        end = header.index(b"END".ljust(80))
        card = f"EXPTIME = {second:20}".ljust(80).encode()
        rest = path.read_bytes()[2880:]
        path.write_bytes(header[:end] + card + header[end:-80] + rest)
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera())
    assert (row(made, "s.fits")["verdict"], row(made, "s.fits")["code"]) == ("set aside", "twice")
    assert row(made, "s.fits")["reason"] == (
        "s.fits: EXPTIME stands twice in its header and says two things; correct the header."
    )
    assert row(made, "t.fits")["verdict"] == "used"


def test_a_flat_that_is_saturated_all_over_says_so(tmp_path):
    write_some(tmp_path / "raw", "bias", 2, 100)
    write(tmp_path / "raw/flat.fits", "flat", np.full((16, 16), 65535, "u2"), 3.0)
    write(tmp_path / "raw/s.fits", "light", 600, 10.0)
    camera_of_flats = camera(flat=Flat())
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera_of_flats)
    assert (row(made, "flat.fits")["code"], row(made, "flat.fits")["reason"]) == (
        "saturated",
        "flat.fits: 100 % of its pixels are saturated, where of a flat less than 5 % may be; take "
        "it again with less light. To use it all the same: keep=[FILE] (--keep FILE).",
    )
    made = reduce_night(
        tmp_path / "raw", tmp_path / "out", profile=camera_of_flats, keep=["flat.fits"]
    )
    assert (row(made, "flat.fits")["code"], row(made, "flat.fits")["reason"]) == (
        "flat-saturated",
        "flat.fits: all of its pixels are saturated or without data; take it out of the night.",
    )


def test_an_overscan_that_scatters_too_much_is_noted(tmp_path):
    for n, noise in enumerate((2, 2, 40)):
        data = pixels(100, n, (16, 24))
        data[:, 16:] = pixels(100, 10 + n, (16, 8), noise)
        write(tmp_path / f"raw/b{n}.fits", "bias", data)
    profile = camera(overscan="[17:24, 1:16]")
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    (note,) = [line for line in str(made).splitlines() if "read noise is" in line]
    assert note.startswith("  c: overscan [17:24, 1:16] scatters by ")
    assert note.endswith(
        " adu in b2.fits, but the read noise is 2 adu; check whether light falls on it."
    )
    assert made.ok


# A second run.


def test_a_run_without_a_step_leaves_no_trace_in_the_next(raw):
    reduce_night(raw, raw.parent / "a", profiles=[SMALL], without=("flat",))
    reduce_night(raw, raw.parent / "a", profiles=[SMALL])
    reduce_night(raw, raw.parent / "b", profiles=[SMALL])
    assert bytes_of(raw.parent / "a") == bytes_of(raw.parent / "b")


def test_an_adopted_master_that_changed_remakes_what_used_it(raw):
    reduce_night(raw, raw.parent / "calibrations", profiles=[SMALL])
    alone = raw.parent / "alone"
    alone.mkdir()
    for path in files_of(raw, "light"):
        shutil.copy(path, alone)

    def again():
        masters = raw.parent / "calibrations/masters"
        return reduce_night(alone, raw.parent / "o", profiles=[SMALL], calibrations=[masters])

    first = {name: fits.getdata(path) for name, path in again().products.items()}
    assert set(again().kept) == set(first)
    with fits.open(raw.parent / "calibrations/masters/cg16m_bias_1x1.fits", "update") as hdus:
        hdus[0].data += 100
    made = again()
    assert not made.kept
    for name, path in made.products.items():
        assert not np.array_equal(fits.getdata(path), first[name])


def test_a_partial_as_gain_keeps_everything_on_the_second_run(raw):
    (raw.parent / "cg.py").write_text(
        "from functools import partial\n"
        "from astropy import units as u\n"
        "from ccdprofiles import *\n"
        "def gain(header, factor):\n"
        "    return factor * u.electron / u.adu\n"
        "profile = Profile(\n"
        "    instrument=('AspenCG16', 'Apogee Aspen CG16M'),\n"
        "    amplifiers=[Amplifier(\n"
        "        data='[:, :]', overscan=None, gain=partial(gain, factor=1.5))],\n"
        "    binning=('XBINNING', 'YBINNING'),\n"
        "    recipe=Recipe(bias=True, dark='scale'),\n"
        ")\n"
    )
    runs = [reduce_night(raw, raw.parent / "out", profile=raw.parent / "cg.py") for _ in range(2)]
    assert [len(made.kept) for made in runs] == [0, 5]


def test_a_partial_with_another_number_is_another_profile():
    def gain(header, factor):
        return factor * u.electron / u.adu

    def profile(factor):
        amplifier = Amplifier(
            data="[:, :]", overscan=None, gain=functools.partial(gain, factor=factor)
        )
        return dataclasses.replace(camera(), amplifiers=[amplifier])

    assert profile(1.5).hash == profile(1.5).hash != profile(2.5).hash


@pytest.mark.skipif(sys.platform == "win32", reason="names of files are UTF-8 elsewhere")
def test_a_dark_flat_whose_name_is_not_ascii_stays_set_aside(tmp_path):
    write_some(tmp_path / "raw", "bias", 2, 100)
    write_some(tmp_path / "raw", "flat", 2, 1100, 1.0)
    write(tmp_path / "raw/flaté.fits", "flat", 90, 1.0)
    for _ in range(2):
        made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera(flat=Flat()))
        assert not made.ok
        assert list(made.set_aside["file"]) == ["flaté.fits"]


def test_products_of_an_earlier_run_that_no_longer_belong_are_named(raw):
    out = raw.parent / "out"
    assert "no longer" not in str(reduce_night(raw, out, profiles=[SMALL]))
    science = files_of(raw, "light")[0]
    science.unlink()
    made = reduce_night(raw, out, profiles=[SMALL])
    assert str(made).endswith(
        "  1 product of an earlier run no longer belongs to this night as it is, and may be removed: "
        f"science/{science.stem}_cal.fits"
    )
    assert made.ok


def test_frames_that_no_one_needs_are_counted(raw):
    made = reduce_night(raw, raw.parent / "out", profiles=[SMALL], without=["dark"])
    unneeded = sum(made.frames["verdict"] == "not needed")
    assert unneeded
    assert f" used, {unneeded} not needed\n" in str(made)


def test_a_folder_of_products_or_of_packed_frames_says_why_nothing_is_made(raw, tmp_path, capsys):
    out = raw.parent / "out"
    reduce_night(raw, out, profiles=[SMALL])
    plan = str(plan_night(out / "science", profiles=[SMALL]))
    assert " made by ccdprofiles; give the folder of the raw night" in plan
    packed = tmp_path / "packed"
    packed.mkdir()
    for name in ("a.fits.bz2", "b.fits.Z", "notes.txt"):
        (packed / name).write_bytes(b"BZh9 and more")
    assert str(plan_night(packed)).endswith(
        "2 files (a.fits.bz2 … b.fits.Z) are packed in a way that is not read (.Z, .bz2); unpack "
        "them\n  notes.txt: not a FITS file."
    )
    assert main(["reduce", str(packed), "-o", str(tmp_path / "o")]) == 3
    assert "a.fits.bz2 … b.fits.Z" in capsys.readouterr().out
    (raw / "a.fits.bz2").write_bytes(b"BZh9 and more")
    assert "a.fits.bz2 is packed in a way" in str(plan_night(raw, profiles=[SMALL]))


# What is refused before anything is written.


def someone_elses(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".fits":
        fits.PrimaryHDU(np.zeros((4, 4), "f4")).writeto(path)
    else:
        path.write_text("{}")
    return path.read_bytes()


@pytest.mark.parametrize("name", ["science", "plan.json", "night.ecsv", "masters"])
def test_the_files_of_others_are_replaced_only_where_that_is_asked(raw, name):
    file = {
        "science": f"science/{files_of(raw, 'light')[0].stem}_cal.fits",
        "masters": "masters/cg16m_bias_1x1.fits",
    }.get(name, name)
    path = raw.parent / "out" / file
    before = someone_elses(path)
    with pytest.raises(OutputError) as error:
        reduce_night(raw, raw.parent / "out", profiles=[SMALL])
    assert str(path) in str(error.value)
    assert "overwrite=True" in str(error.value)
    assert [p for p in (raw.parent / "out").rglob("*") if p.is_file()] == [path]
    assert path.read_bytes() == before
    assert reduce_night(raw, raw.parent / "out", profiles=[SMALL], overwrite=True).ok
    assert path.read_bytes() != before


def test_a_negative_number_of_threads_is_refused(raw):
    with pytest.raises(InputError) as error:
        reduce_night(raw, raw.parent / "out", profiles=[SMALL], jobs=-1)
    assert str(error.value) == "jobs=-1 is no number of threads; 0 takes all processors."
    assert not (raw.parent / "out").exists()


def test_the_demo_leaves_its_camera_beside_its_night(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ccdprofiles.cli.command._WINDOW", (32, 32))
    folder = tmp_path / "demo"
    assert main(["demo", "kosmos", "-q", "-o", str(folder)]) == 0
    assert f"Its camera:     {folder / 'kosmos.py'}" in capsys.readouterr().out
    for command in ("info", "plan"):
        asked = [command, str(folder / "night"), "--profile", str(folder / "kosmos.py")]
        assert main(asked) == 0
    assert "Not calibrated" not in capsys.readouterr().out


def test_a_date_without_its_time_gets_the_one_that_the_profile_reads(tmp_path):
    """LFC writes the day into DATE-OBS and the time into UT; midnight would be made up."""
    truth = simulate_night(windowed("lfc", 60, 80), tmp_path / "night")
    night = reduce_night(truth.folder, tmp_path / "out", profile=truth.known)
    header = fits.getheader(min(night.products.values()))
    assert header["DATE-OBS"].endswith(header["UT"][:8]) or header["UT"] in header["DATE-OBS"]
    assert header["MJD-OBS"] % 1 > 0


# What a strict reading found.


def test_flats_without_bias_and_dark_are_counted_in_light_once(tmp_path, monkeypatch):
    def amplifier(first, last, strip, gain):
        return Amplifier(
            name=f"a{first}",
            data=f"[{first}:{last},1:64]",
            overscan=strip,
            gain=gain * u.electron / u.adu,
            read_noise=6 * u.electron,
            saturation=60000 * u.adu,
        )

    random = np.random.default_rng(3)
    (tmp_path / "raw").mkdir()
    for n in range(4):
        image = np.full((64, 100), 300.0) + random.normal(0, 3, (64, 100))
        image[:, :80] += random.normal(20000 + 1000 * n, 300, (64, 80))
        hdu = fits.PrimaryHDU(np.round(image).astype("u2"))
        kind = "flat" if n < 3 else "science"
        hdu.header.update(INSTRUME="X", IMAGETYP=kind, EXPTIME=5, FILTER="R")
        hdu.writeto(tmp_path / "raw" / f"f{n}.fits")
    profile = Profile(
        name="x",
        instrument="X",
        amplifiers=[
            amplifier(1, 40, "[81:90,1:64]", 1.0),
            amplifier(41, 80, "[91:100,1:64]", 1.001),
        ],
        recipe=Recipe(bias=False, dark=None, flat=Flat(), electrons=True),
    )
    seen = []
    levels = flat_levels._levels

    def measured(flats, pixels, mapped):
        found = levels(flats, pixels, mapped)
        light = [flat_levels._light(flats, pixels, chosen) for chosen in flats.chosen]
        true = [float(np.median(values)) for values in light]
        seen.extend(zip((level.value for level in found), true, strict=True))
        return found

    monkeypatch.setattr(flat_levels, "_levels", measured)
    reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    assert len(seen) == 3
    for got, true in seen:
        assert got == pytest.approx(true, rel=1e-9)


@pytest.mark.parametrize("kind", ["dark", "science"])
def test_a_disk_error_at_the_second_reading_costs_that_frame(tmp_path, monkeypatch, kind):
    profile = windowed(known_profiles()["lfc"], 64, 80)
    truth = simulate_night(profile, tmp_path / "raw", seed=1)
    rows = truth.frames[truth.frames["type"] == kind]
    bad = sorted(rows["file"].tolist())[0]
    stored = Pixels.stored

    def broken(self, image, first, stop, **place):
        if self.raw.path.name == Path(bad).name:
            raise OSError(errno.EIO, "Input/output error")
        return stored(self, image, first, stop, **place)

    monkeypatch.setattr(Pixels, "stored", broken)
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known)
    (row,) = [r for r in night.frames if r["file"] == bad]
    assert row["code"] == "unreadable"
    assert "(Input/output error); look at the disk" in row["reason"]
    assert list(night.set_aside["file"]) == [bad]
    assert len(night.masters) == len(night.plan.masters)


def test_hidden_files_of_others_in_the_output_stay(tmp_path):
    profile = windowed(known_profiles()["lfc"], 64, 80)
    truth = simulate_night(profile, tmp_path / "raw", seed=1)
    (tmp_path / "out" / "masters").mkdir(parents=True)
    others = [tmp_path / "out" / ".notes.tmp", tmp_path / "out" / "masters" / ".paper.tmp"]
    ours = tmp_path / "out" / "masters" / ".lfc_dark.fits.4711-7f00aa.tmp"
    for path in (*others, ours):
        path.write_text("mine")
    reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known)
    assert all(path.exists() for path in others)
    assert not ours.exists()


def test_however_few_files_may_be_open_a_batch_has_one(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (31, 31))
    assert open_products(2) == 1


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
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera)
    apart = [row["file"] for row in night.frames if row["code"] == "outlier"]
    assert apart == ([] if late == 5 else ["b10.fits", "b11.fits"])
    assert ("5 of its 15 frames deviate together" in str(night)) == (late == 5)


@pytest.mark.parametrize("fault", ["flipped", "gone"])
def test_a_master_of_another_night_is_held_against_its_checksums(tmp_path, monkeypatch, fault):
    camera = windowed(known_profiles()["cg16m"], 16, 24)
    every = [
        Exposures("bias", 3),
        Exposures("dark", 3, 90.0),
        Exposures("flat", 3, 1.0, filter="r"),
    ]
    simulate_night(camera, tmp_path / "first", frames=every)
    reduce_night(tmp_path / "first", tmp_path / "lent", profiles=[camera])
    science = [Exposures("science", 2, 90.0, filter="r", object="m31")]
    simulate_night(camera, tmp_path / "second", frames=science)
    flat = next((tmp_path / "lent" / "masters").glob("*flat*"))
    if fault == "flipped":
        octets = bytearray(flat.read_bytes())
        with fits.open(flat) as hdus:
            octets[hdus[0].fileinfo()["datLoc"] + 400] ^= 0x40
        flat.write_bytes(octets)
    else:  # taken away once the plan is made
        begin = run.run_plan
        monkeypatch.setattr(run, "run_plan", lambda *a: (flat.unlink(), begin(*a))[1])
    lent = tmp_path / "lent" / "masters"
    night = reduce_night(
        tmp_path / "second", tmp_path / "out", profiles=[camera], calibrations=[lent]
    )
    assert not night.products
    assert not night.ok
    assert "make it anew, or take it out of the calibrations" in str(night)
