"""A night from raw frames to science: nothing lost, nothing written over, nothing done twice."""

import dataclasses
import gzip
import hashlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import Table
from by_hand import FRAMES, SMALL
from filelock import FileLock

from ccdprofiles import (
    Amplifier,
    CosmicRays,
    Flat,
    Limits,
    Profile,
    Recipe,
    known_profiles,
    plan_night,
    reduce_night,
)
from ccdprofiles.errors import InputError, Locked, OutputError, PlanError, ProfileError
from ccdprofiles.pixels import prepare
from ccdprofiles.run import run
from ccdprofiles.simulate import Exposures, simulate_night, windowed


@pytest.fixture
def raw(raw_night):
    """A night of 12 frames that can be made whole."""
    return raw_night


def reduce(raw, output=None, **options):
    output = raw.parent / "out" if output is None else output
    return reduce_night(raw, output, **{"profiles": [SMALL], **options})


def tree(folder, mtimes=False, log=True):
    """The SHA-256 of every file in a folder, and when it was last written."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and (log or name != "ccdprofiles.log"):
            octets = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = (octets, path.stat().st_mtime_ns) if mtimes else octets
    return found


def row(night, file):
    (index,) = np.flatnonzero(night.frames["file"] == file)
    return night.frames[index]


def a_file(raw, kind, number=0):
    """A file of the night by its type."""
    types = [(p, fits.getheader(p)["IMAGETYP"].strip().lower()) for p in sorted(raw.rglob("*.f*"))]
    return [p for p, said in types if said == kind][number]


def edit(path, change=None, **cards):
    """Write a raw frame anew, with other pixels or cards."""
    with fits.open(path) as hdus:
        data, header = hdus[0].data.copy(), hdus[0].header.copy()
    for card, value in cards.items():
        header[card] = value
    path.unlink()
    fits.PrimaryHDU(data if change is None else change(data), header).writeto(path)


def like_a_bias(data):
    """Give pixels that hold no light; their median is below that of the bias."""
    return np.random.default_rng(4).normal(900, 6, data.shape).round().astype(data.dtype)


# A night that is whole.


def test_a_night_is_reduced_to_masters_and_science(raw):
    night = reduce(raw)
    assert night.ok
    assert sorted(night.masters) == [
        "masters/cg16m_bias_1x1.fits",
        "masters/cg16m_dark_90s_1x1.fits",
        "masters/cg16m_flat_r_1x1.fits",
    ]
    assert len(night.products) == 2
    for name, path in (night.masters | night.products).items():
        assert path == night.output / name
        ccd = CCDData.read(path)
        assert ccd.shape == (16, 24)
        assert ccd.uncertainty is not None
        assert ccd.mask is not None
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(path, checksum=True) as hdus:
                assert [h.name for h in hdus] == ["PRIMARY", "MASK", "UNCERT", "DQ", "PROVENANCE"]
    assert set(tree(night.output)) == {
        ".ccdprofiles.lock",
        "ccdprofiles.log",
        "night.ecsv",
        "plan.json",
        "report/index.html",
        *night.masters,
        *night.products,
    }


def test_a_night_is_printed_for_people(raw):
    night = reduce(raw)
    assert str(night) == (
        f"Night {raw} reduced to {night.output}\n"
        "12 files found, 12 used\n"
        "3 of 3 masters and 2 of 2 planned science frames are there"
    )
    (raw / "broken.fits").write_text("hello")
    night = reduce(raw)
    assert str(night) == (
        f"Night {raw} reduced to {night.output}\n"
        "13 files found, 12 used\n"
        "3 of 3 masters and 2 of 2 planned science frames are there, 5 already up to date\n"
        "\n"
        "Set aside\n"
        "  broken.fits: it does not begin with SIMPLE, so it is not a FITS file despite its name; "
        "copy it again, or remove it from the night."
    )


def test_the_cards_of_a_master_say_what_it_is_made_of(raw):
    night = reduce(raw)
    dark = fits.getheader(night.masters["masters/cg16m_dark_90s_1x1.fits"])
    assert (dark["CPTYPE"], dark["NCOMBINE"], dark["EXPTIME"]) == ("dark", 3, 90)
    assert dark["OBJECT"] == "master dark"
    assert dark["CALSTAT"] == "B"
    assert dark["ZEROCOR"] == "cg16m_bias_1x1.fits"
    assert (dark["HASPED"], dark["HASDARK"]) == (False, 90)
    dates = [
        d for d, t in zip(night.frames["date"], night.frames["type"], strict=True) if t == "dark"
    ]
    assert (dark["DATE-OBS"], dark["DATE-END"]) == (min(dates), max(dates))
    assert not [k for k in dark if k.startswith(("CRVAL", "CRPIX", "CTYPE", "CD1_"))]
    bias = fits.getheader(night.masters["masters/cg16m_bias_1x1.fits"])
    assert (bias["NCOMBINE"], bias["CALSTAT"], bias["HASPED"]) == (4, "", True)
    flat = fits.getheader(night.masters["masters/cg16m_flat_r_1x1.fits"])
    assert (flat["BUNIT"], flat["CPFILT"], flat["CALSTAT"]) == ("1", "r", "BD")
    assert flat["FLATNORM"] > 0
    with fits.open(night.masters["masters/cg16m_dark_90s_1x1.fits"]) as hdus:
        table = hdus["PROVENANCE"].data
        assert list(table["role"]) == ["dark"] * 3 + ["master bias"]
        for file, told in zip(table["file"][:3], table["sha256"][:3], strict=True):
            assert hashlib.sha256((raw / file).read_bytes()).hexdigest() == told


def test_the_cards_of_a_product_say_what_was_done_to_it(raw):
    night = reduce(raw)
    name, path = sorted(night.products.items())[0]
    header = fits.getheader(path)
    file = next(p.input.file for p in night.plan.products if p.name == name)
    original = fits.getheader(raw / file)
    for card in ("EXPTIME", "DATE-OBS", "FILTER", "OBJECT", "INSTRUME"):
        assert header[card] == original[card]
    assert header["BUNIT"] == "adu"
    assert header["CALSTAT"] == "BDF"
    assert header["ZEROCOR"] == "cg16m_bias_1x1.fits"
    assert header["DARKCOR"] == "cg16m_dark_90s_1x1.fits"
    assert header["DARKSCAL"] == 1
    assert header["FLATCOR"] == "cg16m_flat_r_1x1.fits"
    assert (header["HASPED"], header["HASDARK"]) == (False, 0)
    assert (header["CPPROF"], header["CPBIN"], header["CPTYPE"]) == ("cg16m", "1x1", "science")
    for card, master in (
        ("BIASSHA", "bias_1x1"),
        ("DARKSHA", "dark_90s_1x1"),
        ("FLATSHA", "flat_r_1x1"),
    ):
        octets = night.masters[f"masters/cg16m_{master}.fits"].read_bytes()
        assert header[card] == hashlib.sha256(octets).hexdigest()
    assert not [k for k in header if k.endswith("SEC") and k != "PCOUNT"]
    with fits.open(path) as hdus:
        assert list(hdus["PROVENANCE"].data["role"]) == [
            "science",
            "master bias",
            "master dark",
            "master flat",
        ]


def test_a_flat_whose_dark_was_scaled_does_not_depend_on_the_order_of_files(raw):
    night = reduce(raw)
    (flat,) = [m for m in night.plan.masters if m.type == "flat"]
    assert [i.dark_scale for i in flat.inputs] == pytest.approx([1 / 90] * 3)


def test_products_mirror_the_folders_of_the_night(raw):
    science = a_file(raw, "light")
    (raw / "field 1").mkdir()
    science.rename(raw / "field 1" / "a.fit")
    night = reduce(raw)
    assert "science/field 1/a_cal.fits" in night.products
    assert (night.output / "science" / "field 1" / "a_cal.fits").is_file()


def test_arcs_are_summed_with_the_exposure_of_all(tmp_path):
    small = windowed("kosmos", 32, 24)
    frames = [
        Exposures("bias", 3),
        Exposures("arc", 3, 30.0),
    ]
    simulate_night(small, tmp_path / "raw", frames=frames)
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profiles=[small])
    assert night.ok
    (arc,) = [p for n, p in night.masters.items() if "arc" in n]
    header = fits.getheader(arc)
    assert (header["EXPTIME"], header["NCOMBINE"], header["CPTYPE"]) == (90, 3, "arc")
    assert "sum of 3 frames" in str(header["HISTORY"])


# A second run.


def test_a_second_run_writes_nothing(raw):
    reduce(raw)
    before = tree(raw.parent / "out", mtimes=True, log=False)
    night = reduce(raw)
    assert night.ok
    assert night.kept == {*night.masters, *night.products}
    assert tree(raw.parent / "out", mtimes=True, log=False) == before


def test_a_second_run_keeps_the_verdict_on_a_flat_without_light(raw):
    dark = a_file(raw, "flat")
    edit(dark, like_a_bias)
    # Only what was kept by hand is judged when the flats are combined.
    first = reduce(raw, keep=[dark.name], min_frames=2)
    second = reduce(raw, keep=[dark.name], min_frames=2)
    assert len(second.kept) == 5
    assert list(first.frames["verdict"]) == list(second.frames["verdict"])
    assert list(first.frames["reason"]) == list(second.frames["reason"])
    assert first.ok is second.ok is False


def test_to_overwrite_makes_everything_anew_with_the_same_bytes(raw):
    reduce(raw)
    out = raw.parent / "out"
    before, written = tree(out, log=False), tree(out, mtimes=True, log=False)
    night = reduce(raw, overwrite=True)
    assert night.kept == frozenset()
    assert tree(out, log=False) == before
    for name in {*night.masters, *night.products}:
        assert tree(out, mtimes=True)[name] != written[name]


def test_bytes_do_not_depend_on_workers_nor_on_the_order_of_files(raw, monkeypatch):
    wanted = tree(reduce(raw, raw.parent / "a", jobs=1).output, log=False)
    assert tree(reduce(raw, raw.parent / "b", jobs=4).output, log=False) == wanted
    walk = os.walk

    def backwards(*args, **options):
        for here, folders, names in walk(*args, **options):
            yield here, folders, names[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    assert tree(reduce(raw, raw.parent / "c", jobs=2).output, log=False) == wanted


def test_a_changed_frame_redoes_what_depends_on_it_and_nothing_else(raw):
    first = reduce(raw)
    edit(a_file(raw, "flat"), lambda data: data + 1)
    night = reduce(raw)
    assert night.kept == {"masters/cg16m_bias_1x1.fits", "masters/cg16m_dark_90s_1x1.fits"}
    edit(a_file(raw, "light"), lambda data: data + 1)
    night = reduce(raw)
    assert len(night.kept) == 4
    edit(a_file(raw, "bias"), lambda data: data + 1)
    assert reduce(raw).kept == frozenset()
    assert first.ok


def test_another_profile_or_option_redoes_what_depends_on_it(raw):
    reduce(raw)
    other = dataclasses.replace(SMALL, recipe=dataclasses.replace(SMALL.recipe, dark="match"))
    assert reduce(raw, profiles=[other]).kept == frozenset()
    reduce(raw, overwrite=True)
    night = reduce(raw, cosmic_rays=True)
    assert night.kept == set(night.masters)


def test_a_product_that_was_cut_or_is_gone_is_made_again(raw):
    night = reduce(raw)
    before = tree(night.output, log=False)
    first, second = sorted(night.products.values())
    first.write_bytes(first.read_bytes()[:4000])
    second.unlink()
    assert reduce(raw).kept == set(night.masters)
    assert tree(night.output, log=False) == before


# The raw frames are left alone.


def test_the_raw_frames_are_not_touched_and_may_be_read_only(raw):
    before = tree(raw, mtimes=True)
    for path in (*raw.rglob("*"), raw):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert reduce(raw).ok
    finally:
        raw.chmod(0o755)
    assert tree(raw, mtimes=True) == before


@pytest.mark.parametrize("where", [".", "..", "../raw", "../link", "../linked/.."])
def test_an_output_on_or_above_the_night_is_refused(raw, where):
    (raw.parent / "link").symlink_to(raw)
    (raw.parent / "linked").symlink_to(raw)
    before = tree(raw.parent, mtimes=True)
    with pytest.raises(InputError, match="is, or contains, the folder of the night"):
        reduce(raw, raw / where)
    assert tree(raw.parent, mtimes=True) == before


@pytest.mark.parametrize("where", [".", "masters"])
def test_an_output_on_or_above_the_calibrations_is_refused(raw, where):
    other = raw.parent / "other"
    (other / "masters").mkdir(parents=True)
    before = tree(raw.parent, mtimes=True)
    with pytest.raises(InputError, match="is, or contains, the folder of the calibrations"):
        reduce(raw, other, calibrations=[other / where])
    assert tree(raw.parent, mtimes=True) == before


def test_an_output_that_is_a_file_is_refused(raw):
    (raw.parent / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file; specify a folder"):
        reduce(raw, raw.parent / "file")


def test_an_output_that_cannot_be_made_is_refused(raw):
    (raw.parent / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be created"):
        reduce(raw, raw.parent / "file" / "out")


def test_an_output_inside_the_night_is_left_out_of_it(raw):
    first = reduce(raw, raw / "reduced")
    assert first.ok
    second = reduce(raw, raw / "reduced")
    assert second.ok
    assert len(second.frames) == len(first.frames) == 12
    assert len(second.kept) == 5
    assert plan_night(raw, profiles=[SMALL], output=raw / "reduced") == second.plan
    # Another run that knows nothing of that output takes its products for what they are.
    third = reduce(raw)
    products = [
        r for r in third.frames if r["file"].startswith("reduced/") and r["code"] == "product"
    ]
    assert len(products) == 5
    assert sum(v == "used" for v in third.frames["verdict"]) == 12


# Refusals before anything is done.


def test_a_folder_that_is_none_or_empty_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder; specify the folder of the night"):
        reduce(tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "raw").mkdir()
    with pytest.raises(InputError, match="contains no file; specify the folder of the night"):
        reduce(tmp_path / "raw", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_strict_refuses_to_begin_where_something_is_missing(raw):
    for _ in range(3):
        a_file(raw, "dark").unlink()
    with pytest.raises(
        PlanError,
        match=r"(?s)strict: something is missing, so the run does not start\..*no dark of any",
    ):
        reduce(raw, strict=True)
    assert not (raw.parent / "out").exists()


def test_strict_makes_a_night_that_is_whole(raw):
    assert reduce(raw, strict=True).ok


def test_scaled_darks_without_their_bias_are_refused(raw):
    with pytest.raises(PlanError, match="would be scaled although they still contain their bias"):
        reduce(raw, without=["bias"])
    assert not (raw.parent / "out").exists()


def test_an_unknown_profile_is_refused(raw):
    with pytest.raises(ProfileError, match="there is no profile 'cg16'"):
        reduce(raw, profile="cg16")


def test_a_second_run_at_the_same_time_is_told_who_holds_the_output(raw):
    out = raw.parent / "out"
    out.mkdir()
    (out / ".ccdprofiles.holder").write_text("process 7 on dome since 2024-01-01T00:00:00\n")
    with FileLock(out / ".ccdprofiles.lock"), pytest.raises(Locked) as error:
        reduce(raw)
    assert str(error.value) == (
        f"another run writes to {out} (process 7 on dome since 2024-01-01T00:00:00); "
        "wait for it to end."
    )
    assert reduce(raw).ok
    assert not (out / ".ccdprofiles.holder").exists()


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_run_of_another_process_holds_the_output(raw):
    out = raw.parent / "out"
    out.mkdir()
    command = [sys.executable, "-c", HOLD, str(out / ".ccdprofiles.lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(Locked, match=r"\(unknown\)"):
            reduce(raw)
        other.stdin.write("done\n")
    assert reduce(raw).ok


# One bad frame costs itself.


def truncated(path):
    path.write_bytes(path.read_bytes()[:-3000])


def no_header(path):
    path.write_bytes(b"hello")


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def short_gzip(path):
    path.write_bytes(gzip.compress(path.read_bytes()[:-3000]))


def broken_tiles(path):
    with fits.open(path) as hdus:
        packed = fits.CompImageHDU(hdus[0].data, hdus[0].header, compression_type="GZIP_1")
    path.unlink()
    packed.writeto(path)
    with fits.open(path, disable_image_compression=True) as hdus:
        table = hdus[1].fileinfo()
        start = table["datLoc"] + hdus[1].header[
            "THEAP" if "THEAP" in hdus[1].header else "NAXIS1"
        ] * (1 if "THEAP" in hdus[1].header else hdus[1].header["NAXIS2"])
    octets = bytearray(path.read_bytes())
    octets[start : start + 40] = b"\0" * 40
    path.write_bytes(octets)


def broken_card(path):
    octets = path.read_bytes()
    assert b"EXPTIME =" in octets
    where = octets.index(b"EXPTIME =")
    path.write_bytes(octets[:where] + b"EXPTIME = 90.0.0".ljust(80) + octets[where + 80 :])


FAULTS = {
    "truncated": truncated,
    "not-fits": no_header,
    "not-a-file": fifo,
    "truncated: in gzip": short_gzip,
    "tiles": broken_tiles,
    "exposure": broken_card,
}


@pytest.mark.parametrize("kind", ["light", "dark"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_frame_costs_itself_only(raw, fault, kind):
    bad = a_file(raw, kind)
    shutil.copytree(raw, raw.parent / "without")
    (raw.parent / "without" / bad.name).unlink()
    wanted = reduce(raw.parent / "without", raw.parent / "wanted")
    FAULTS[fault](bad)
    night = reduce(raw)
    said = row(night, bad.name)
    assert (said["verdict"], said["code"]) == ("set aside", fault.split(":")[0])
    assert said["reason"].startswith(f"{bad.name}: ")
    assert said["reason"].count(bad.name) == 1
    assert len(night.frames) == 12
    assert not night.ok
    assert set(night.products) == set(wanted.products)
    for name in {**night.products, **night.masters}:
        assert (night.output / name).read_bytes() == (wanted.output / name).read_bytes()


def test_a_flat_without_light_costs_itself(raw):
    dark = a_file(raw, "flat")
    edit(dark, like_a_bias)
    night = reduce(raw, keep=[dark.name], min_frames=2)
    said = row(night, dark.name)
    assert (said["verdict"], said["code"]) == ("set aside", "flat-level")
    assert "where a flat needs light; look at it, and take it out of the night." in said["reason"]
    assert str(night).split("Notes")[0].count(dark.name) == 1
    assert fits.getheader(night.masters["masters/cg16m_flat_r_1x1.fits"])["NCOMBINE"] == 2
    assert len(night.products) == 2


def test_flats_that_are_all_dark_cost_the_science_that_needs_them(raw):
    for number in range(3):
        edit(a_file(raw, "flat", number), like_a_bias)
    night = reduce(raw)
    assert night.products == {}
    assert "masters/cg16m_flat_r_1x1.fits" not in night.masters
    assert not night.ok
    for said in night.frames[night.frames["type"] == "science"]:
        assert said["verdict"] == "not calibrated"
        assert said["reason"] == f"{said['file']}: its cg16m_flat_r_1x1 could not be made."
    assert "none of its frames can be used" in str(night)


def test_an_unknown_instrument_is_a_row_and_the_others_go_on(raw):
    stranger = a_file(raw, "light")
    edit(stranger, INSTRUME="AspenCG17")
    night = reduce(raw)
    said = row(night, stranger.name)
    assert (said["verdict"], said["code"]) == ("set aside", "no-profile")
    assert said["reason"] == (
        f"{stranger.name}: no profile fits INSTRUME = 'AspenCG17'; the closest: 'AspenCG16' "
        "(cg16m), 'Apogee Aspen CG16M' (cg16m); write a profile for it, or choose one with --profile."
    )
    assert len(night.products) == 1
    assert not night.ok
    assert list(night.set_aside["file"]) == [stranger.name]


def test_a_night_of_strangers_makes_nothing_and_says_so(tmp_path):
    (tmp_path / "raw").mkdir()
    header = fits.Header([("INSTRUME", "Hubble")])
    fits.PrimaryHDU(np.zeros((4, 4), "f4"), header).writeto(tmp_path / "raw" / "a.fits")
    night = reduce(tmp_path / "raw")
    assert (night.masters, night.products, night.ok) == ({}, {}, False)
    assert list(night.frames["code"]) == ["no-profile"]


def test_a_night_of_calibrations_only_is_whole(raw):
    for _ in range(2):
        a_file(raw, "light").unlink()
    night = reduce(raw)
    assert night.ok
    assert len(night.masters) == 3
    assert night.products == {}


def test_a_missing_dark_leaves_the_frame_out_and_says_why(tmp_path):
    small = windowed("lfc", 16, 24)
    frames = [
        Exposures("dark", 3, 300.0),
        Exposures("dark", 3, 7.0),
        Exposures("flat", 3, 7.0, filter="g'"),
        Exposures("science", 1, 300.062, filter="g'"),
        Exposures("science", 1, 357.0, filter="g'"),
    ]
    simulate_night(small, tmp_path / "raw", frames=frames)
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profiles=[small])
    assert len(night.products) == 1
    assert not night.ok
    (said,) = night.set_aside
    assert (said["verdict"], said["code"]) == ("not calibrated", "no-dark")
    assert said["reason"] == (
        f"{said['file']}: no dark of 357 s ± 1 s; the nearest is 300 s, which differs by 57 s."
    )


# Steps left out, and the unit.


def test_a_flat_left_out_is_told_in_header_and_report(raw):
    night = reduce(raw, without=["flat"])
    assert night.ok
    for path in night.products.values():
        header = fits.getheader(path)
        assert header["NOFLAT"] is True
        assert "FLATCOR" not in header
        assert header["CALSTAT"] == "BD"
        assert "flat left out on purpose" in list(header["HISTORY"])
    assert "step omitted on purpose: flat" in str(night)
    assert "step omitted on purpose: flat" in (night.output / "report/index.html").read_text()
    flats = night.frames[night.frames["type"] == "flat"]
    assert set(flats["verdict"]) == {"not needed"}


def test_what_is_subtracted_when_the_bias_is_left_out_is_told(tmp_path):
    recipe = Recipe(bias=True, dark="match", flat=None)
    small = dataclasses.replace(SMALL, recipe=recipe)
    simulate_night(small, tmp_path / "raw", frames=[FRAMES[0], FRAMES[1], FRAMES[3]])
    night = reduce(tmp_path / "raw", profiles=[small], without=["bias"])
    assert night.ok
    header = fits.getheader(sorted(night.products.values())[0])
    assert (header["CALSTAT"], header["NOBIAS"], header["HASPED"]) == ("D", True, False)
    assert fits.getheader(night.masters["masters/cg16m_dark_90s_1x1.fits"])["HASPED"] is True
    night = reduce(tmp_path / "raw", profiles=[small], without=["bias", "dark"])
    header = fits.getheader(sorted(night.products.values())[0])
    assert (header["CALSTAT"], header["HASPED"], header["HASDARK"]) == ("", True, 90)


def test_products_in_electron_say_so_and_that_the_gain_is_in_them(tmp_path):
    recipe = dataclasses.replace(SMALL.recipe, electrons=True)
    small = dataclasses.replace(SMALL, recipe=recipe)
    simulate_night(small, tmp_path / "raw", frames=FRAMES)
    for path in (tmp_path / "raw").rglob("*.f*"):
        edit(path, EGAIN=1.5)
    plain = reduce(tmp_path / "raw", tmp_path / "adu", profiles=[SMALL])
    night = reduce(tmp_path / "raw", profiles=[small])
    for name, path in night.products.items():
        ccd, other = CCDData.read(path), CCDData.read(plain.products[name])
        assert (ccd.unit, other.unit) == (u.electron, u.adu)
        assert fits.getheader(path)["EGAIN"] == 1
        np.testing.assert_allclose(ccd.data, other.data * 1.5, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(ccd.uncertainty.array, other.uncertainty.array * 1.5, rtol=1e-5)


def test_a_camera_whose_gain_is_not_known_stays_in_adu(tmp_path):
    small = dataclasses.replace(
        SMALL,
        amplifiers=[dataclasses.replace(a, gain=None) for a in SMALL.amplifiers],
        recipe=dataclasses.replace(SMALL.recipe, electrons=True),
    )
    simulate_night(small, tmp_path / "raw", frames=FRAMES)
    night = reduce(tmp_path / "raw", profiles=[small])
    assert len(night.products) == 2
    for path in night.products.values():
        assert fits.getheader(path)["BUNIT"] == "adu"
        assert CCDData.read(path).uncertainty is None
    assert "the products stay in adu, because its gain is not known" in str(night)


# Cosmic rays.


def test_cosmic_rays_are_flagged_and_not_repaired_unless_asked(tmp_path):
    small = windowed("cg16m", 60, 80)
    truth = simulate_night(small, tmp_path / "raw", frames=FRAMES, cosmic_rays=40)
    plain = reduce_night(tmp_path / "raw", tmp_path / "plain", profiles=[small])
    flagged = reduce_night(
        tmp_path / "raw", tmp_path / "flagged", profiles=[small], cosmic_rays=True
    )
    how = CosmicRays(repair=True)
    repaired = reduce_night(
        tmp_path / "raw", tmp_path / "repaired", profiles=[small], cosmic_rays=how
    )
    for product in plain.plan.products:
        name, hit = product.name, truth.cosmic_rays[product.input.file]
        one, two, three = (fits.open(night.products[name]) for night in (plain, flagged, repaired))
        with one, two, three:
            found = (two["DQ"].data & 8) != 0
            assert not (one["DQ"].data & 8).any()
            assert "CRAYS" not in one[0].header
            assert (found & hit).sum() > 0.5 * hit.sum()
            np.testing.assert_array_equal(two[0].data, one[0].data)
            assert two["MASK"].data[found].all()
            assert two[0].header["CRAYS"] == "flagged"
            assert three[0].header["CRAYS"] == "repaired"
            np.testing.assert_array_equal(three["DQ"].data, two["DQ"].data)
            np.testing.assert_array_equal(three[0].data[~found], one[0].data[~found])
            assert np.median(three[0].data[found]) < np.median(one[0].data[found])


def test_cosmic_rays_without_a_known_noise_are_refused(tmp_path):
    small = windowed("lfc", 16, 24)
    simulate_night(small, tmp_path / "raw")
    with pytest.raises(
        PlanError, match="cosmic rays cannot be distinguished from noise, as the profile lfc"
    ):
        reduce_night(tmp_path / "raw", tmp_path / "out", profiles=[small], cosmic_rays=True)


# Calibrations of other nights.


@pytest.fixture
def two_nights(tmp_path):
    simulate_night(SMALL, tmp_path / "other", frames=FRAMES[:3])
    simulate_night(SMALL, tmp_path / "raw", seed=1, frames=FRAMES[3:])
    return tmp_path


def test_raw_calibrations_and_their_masters_give_the_same_science(two_nights):
    folder = two_nights
    assert not reduce(folder / "raw", folder / "bare").ok
    raw = reduce(folder / "raw", folder / "a", calibrations=folder / "other")
    assert raw.ok
    assert len(raw.frames) == 12
    reduce(folder / "other", folder / "reduced")
    night = reduce(folder / "raw", folder / "b", calibrations=[folder / "reduced" / "masters"])
    assert night.ok
    assert len(night.products) == 2
    assert not (night.output / "masters").exists()
    for name, path in night.products.items():
        with fits.open(path) as one, fits.open(raw.products[name]) as two:
            for plane in ("PRIMARY", "UNCERT", "DQ", "MASK"):
                np.testing.assert_array_equal(one[plane].data, two[plane].data)
            assert (
                one[0].header["BIASSHA"]
                == hashlib.sha256(
                    (folder / "reduced/masters/cg16m_bias_1x1.fits").read_bytes()
                ).hexdigest()
            )
            assert "calibrations/masters/cg16m_bias_1x1.fits" in one["PROVENANCE"].data["file"]
    again = reduce(folder / "raw", folder / "b", calibrations=[folder / "reduced" / "masters"])
    assert again.kept == set(night.products)


def test_a_whole_reduced_night_may_be_given_as_calibrations(two_nights):
    folder = two_nights
    simulate_night(SMALL, folder / "other" / "more", seed=2, frames=FRAMES[3:])
    reduce(folder / "other", folder / "reduced")
    night = reduce(folder / "raw", calibrations=[folder / "reduced"])
    assert night.ok
    codes = {r["file"]: (r["verdict"], r["code"]) for r in night.frames}
    assert codes["reduced/masters/cg16m_bias_1x1.fits"] == ("used", "")
    assert codes["reduced/night.ecsv"] == ("ignored", "not-fits")
    science = [v for f, v in codes.items() if f.startswith("reduced/science")]
    assert science == [("ignored", "product")] * 2


def test_a_master_that_no_frame_needs_is_told_so(two_nights):
    folder = two_nights
    reduce(folder / "other", folder / "reduced")
    night = reduce(folder / "raw", calibrations=[folder / "reduced" / "masters"], without=["flat"])
    assert night.ok
    said = row(night, "masters/cg16m_flat_r_1x1.fits")
    assert (said["verdict"], said["product"]) == ("not needed", "")
    assert said["reason"] == (
        "masters/cg16m_flat_r_1x1.fits: no frame of the night needs this master flat."
    )
    assert row(night, "masters/cg16m_bias_1x1.fits")["verdict"] == "used"


def test_a_master_whose_name_is_not_ascii_can_be_used(two_nights):
    folder = two_nights
    reduce(folder / "other", folder / "reduced")
    for path in (folder / "reduced" / "masters").iterdir():
        path.rename(path.with_name("ä\n " + path.name))
    night = reduce(folder / "raw", calibrations=[folder / "reduced" / "masters"])
    assert night.ok
    header = fits.getheader(sorted(night.products.values())[0])
    assert header["ZEROCOR"] == "\\xe4\\n cg16m_bias_1x1.fits"


def test_folders_of_one_name_do_not_mix_their_frames(tmp_path):
    """Two nights keep their darks in folders of one name, in files of one name."""
    noiseless = Limits(constant_rows=1, common_value=1, frames=1)
    recipe = Recipe(bias=False, dark="match", flat=None, limits=noiseless)
    profile = Profile(
        instrument="X",
        name="x",
        amplifiers=[Amplifier(data="[1:8, 1:8]", overscan=None)],
        recipe=recipe,
    )

    def write(path, kind, value, day):
        path.parent.mkdir(parents=True, exist_ok=True)
        header = fits.Header([("INSTRUME", "X"), ("IMAGETYP", kind), ("EXPTIME", 9.0)])
        header["DATE-OBS"] = f"2024-01-{day:02d}T20:00:00"
        fits.PrimaryHDU(np.full((8, 8), value, "u2"), header).writeto(path)

    write(tmp_path / "raw" / "s.fits", "LIGHT", 1000, 1)
    write(tmp_path / "raw" / "darks" / "d.fits", "DARK", 100, 1)
    write(tmp_path / "june" / "darks" / "d.fits", "DARK", 700, 20)
    night = reduce_night(
        tmp_path / "raw",
        tmp_path / "out",
        profiles=[profile],
        calibrations=[tmp_path / "june" / "darks"],
    )
    (science,) = night.products.values()
    assert (fits.getdata(science) == 900).all()
    values = sorted(float(fits.getdata(p).mean()) for p in night.masters.values())
    assert values == [100, 700]


# What is written about a night.


def test_every_file_has_one_row_with_its_verdict(raw):
    shutil.copy(a_file(raw, "dark"), raw / "an unneeded copy of a dark with a long name.fit")
    (raw / "night.log").write_text("clear\n")
    (raw / "._x.fits").write_bytes(b"")
    (raw / "broken.fits").write_bytes(b"")
    night = reduce(raw)
    table = night.frames
    assert sorted(table["file"]) == sorted(p.name for p in raw.iterdir())
    assert table.colnames == [
        "file",
        "profile",
        "type",
        "exposure",
        "filter",
        "binning",
        "shape",
        "object",
        "date",
        "amplifiers",
        "verdict",
        "reason",
        "code",
        "product",
    ]
    verdicts = dict(
        zip(table["file"], zip(table["verdict"], table["code"], strict=True), strict=True)
    )
    assert verdicts["night.log"] == ("ignored", "not-fits")
    assert verdicts["._x.fits"] == ("ignored", "hidden")
    assert verdicts["broken.fits"] == ("set aside", "empty")
    assert verdicts["an unneeded copy of a dark with a long name.fit"] == ("ignored", "duplicate")
    assert sum(v == "used" for v in table["verdict"]) == 12
    assert not night.ok
    for line in table[table["verdict"] == "used"]:
        assert (night.output / line["product"]).is_file()
        assert line["reason"] == ""
    for line in table[table["verdict"] != "used"]:
        assert line["reason"].startswith(line["file"])


def test_the_tables_on_the_disk_are_those_of_the_night(raw):
    night = reduce(raw)
    table = Table.read(night.output / "night.ecsv")
    assert table.colnames == night.frames.colnames
    stream = io.StringIO()
    night.frames.write(stream, format="ascii.ecsv")
    assert (night.output / "night.ecsv").read_text("utf-8") == stream.getvalue()
    assert list(table["file"]) == list(night.frames["file"])
    assert table["exposure"].unit == u.s
    told = json.loads((night.output / "plan.json").read_text("utf-8"))
    assert told == json.loads(night.plan.to_json())
    log = (night.output / "ccdprofiles.log").read_text("utf-8")
    assert " reduces raw\n" in log
    assert "12 files found, 12 used" in log
    page = (night.output / "report" / "index.html").read_text("utf-8")
    assert "Everything was made." in page
    for name in (*night.masters, *night.products):
        assert name in page


def test_the_collection_of_a_night_is_one_of_ccdproc(raw):
    night = reduce(raw)
    files = night.collection.files_filtered(type="dark", exposure=90.0)
    assert len(files) == 3
    assert len(list(night.collection.ccds(type="bias", ccd_kwargs={"unit": "adu"}))) == 4


HOSTILE = "<script>alert('x')</script>&\"{}%s"


def test_hostile_texts_are_escaped_in_the_report(raw):
    science = a_file(raw, "light")
    edit(science, OBJECT=HOSTILE, FILTER="../../<b>")
    flat = a_file(raw, "flat")
    edit(flat, FILTER="../../<b>")
    name = "<img src=x>\n\x1b[31m'ä{0}.fit"
    science.rename(raw / name)
    (raw / "<i>.fits").write_bytes(b"")
    night = reduce(raw, min_frames=1)
    shown = name.replace("\n", "\\n").replace("\x1b", "\\x1b")
    assert row(night, shown)["object"] == HOSTILE
    page = (night.output / "report" / "index.html").read_text("utf-8")
    for bad in ("<script", "<img", "<i>", "<b>", "\x1b"):
        assert bad not in page
    assert "&lt;script&gt;" in page
    assert "\\x1b[31m" in page
    assert Table.read(night.output / "night.ecsv")["file"].tolist() == night.frames["file"].tolist()
    assert len(night.products) == 2
    for path in night.output.rglob("*"):
        assert path.resolve().is_relative_to(night.output.resolve())
    assert {p.name for p in raw.parent.iterdir()} == {"raw", "out"}


def test_names_that_are_not_utf8_and_very_long_ones_are_reduced(raw):
    first, second = a_file(raw, "light"), a_file(raw, "light", 1)
    first.rename(os.fsdecode(os.fsencode(raw) + b"/a\xff.fit"))
    second.rename(raw / ("b" * 250 + ".fit"))
    night = reduce(raw)
    assert night.ok
    assert len(night.products) == 2
    assert "a\\xff.fit" in night.frames["file"]


def test_the_log_of_the_caller_is_left_as_it_was(raw):
    log = logging.getLogger("ccdprofiles")
    before = (log.level, list(log.handlers))
    reduce(raw)
    assert (log.level, list(log.handlers)) == before


def test_bars_are_shown_only_where_asked_and_on_a_terminal(raw, capsys):
    reduce(raw, progress=True)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_profile_may_be_forced_by_name_file_or_as_it_is(raw, tmp_path):
    for path in raw.rglob("*.f*"):
        edit(path, INSTRUME="Unheard of")
    assert not reduce(raw).ok
    night = reduce(raw, tmp_path / "b", profile="cg16m")
    assert night.ok
    night = reduce(raw, tmp_path / "c", profiles=(), profile=SMALL)
    assert night.ok
    file = tmp_path / "mine.py"
    file.write_text(
        "from ccdprofiles import Amplifier, Profile, Recipe\n"
        "profile = Profile(instrument='x', amplifiers=[Amplifier(data='[1:24, 1:16]', "
        "overscan=None)], frame_size=(37, 16), recipe=Recipe(bias=True, dark='scale'))\n"
    )
    night = reduce(raw, tmp_path / "d", profiles=(), profile=file)
    assert set(night.frames["profile"]) == {"mine"}
    assert night.ok


def test_the_world_coordinates_of_science_follow_the_trim_and_masters_have_none(tmp_path):
    profile = Profile(
        instrument="X",
        name="x",
        amplifiers=[
            Amplifier(data="[5:12, 3:10]", overscan="[13:16, 3:10]", gain=2 * u.electron / u.adu)
        ],
        frame_size=(16, 12),
        recipe=Recipe(bias=True, dark=None, flat=Flat(), limits=Limits(frames=2)),
    )
    sky = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 6.0, "CRPIX2": 8.0}
    sky |= {"CRVAL1": 10.0, "CRVAL2": 20.0, "CDELT1": 1e-4, "CDELT2": 1e-4, "RADECSYS": "FK5"}
    (tmp_path / "raw").mkdir()
    random = np.random.default_rng(1)
    for number, (kind, level) in enumerate(
        [("BIAS", 0), ("BIAS", 0), ("FLAT", 9000), ("FLAT", 9000), ("LIGHT", 100)]
    ):
        data = random.normal(1000, 3, (12, 16))
        data[2:10, 4:12] += level
        header = fits.Header([("INSTRUME", "X"), ("IMAGETYP", kind), *sky.items()])
        fits.PrimaryHDU(data.astype("u2"), header).writeto(tmp_path / "raw" / f"{number}.fits")
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profiles=[profile])
    assert night.ok
    header = fits.getheader(night.products["science/4_cal.fits"])
    assert (header["CRPIX1"], header["CRPIX2"], header["RADESYS"]) == (2, 6, "FK5")
    assert "RADECSYS" not in header
    assert CCDData.read(night.products["science/4_cal.fits"]).wcs is not None
    for path in night.masters.values():
        assert not set(sky) & set(fits.getheader(path))
        assert CCDData.read(path).wcs is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_world_coordinates_do_not_depend_on_the_order_of_the_amplifiers(tmp_path, order):
    halves = [
        Amplifier(name="left", data="[5:8, 3:10]", overscan=None),
        Amplifier(name="right", data="[9:12, 3:10]", overscan=None),
    ]
    profile = Profile(
        instrument="X",
        name="x",
        amplifiers=[halves[n] for n in order],
        frame_size=(16, 12),
        recipe=Recipe(bias=False, dark=None, flat=None),
    )
    (tmp_path / "raw").mkdir()
    header = fits.Header(
        [("INSTRUME", "X"), ("IMAGETYP", "LIGHT"), ("CRPIX1", 6.0), ("CRPIX2", 8.0)]
    )
    data = np.arange(192, dtype="f4").reshape(12, 16)
    fits.PrimaryHDU(data, header).writeto(tmp_path / "raw" / "a.fits")
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profiles=[profile])
    (product,) = night.products.values()
    header = fits.getheader(product)
    assert (header["CRPIX1"], header["CRPIX2"]) == (2, 6)
    np.testing.assert_array_equal(fits.getdata(product), data[2:10, 4:12])


def test_the_cards_of_an_image_extension_count_in_its_product(tmp_path):
    amplifier = Amplifier(data="[1:8, 1:8]", overscan=None, extension=1)
    profile = Profile(
        instrument="X",
        name="x",
        amplifiers=[amplifier],
        recipe=Recipe(
            bias=False, dark=None, flat=None, limits=Limits(constant_rows=1, common_value=1)
        ),
    )
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "X", "IMAGETYP": "LIGHT", "EXPTIME": 1.0})
    image = fits.ImageHDU(np.ones((8, 8), "u2"))
    image.header["EXPTIME"] = 30.0
    (tmp_path / "raw").mkdir()
    fits.HDUList([primary, image]).writeto(tmp_path / "raw" / "a.fits")
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profiles=[profile])
    assert night.frames["exposure"][0] == 30
    assert fits.getheader(night.products["science/a_cal.fits"])["EXPTIME"] == 30


@pytest.mark.parametrize("kind", ["flat", "science", "dark"])
@pytest.mark.parametrize("back", [False, True])
def test_a_frame_that_is_replaced_after_it_was_measured_costs_itself(
    tmp_path, monkeypatch, kind, back
):
    """Its SHA-256 stands in the products, which would be made of other pixels."""
    profile = windowed(known_profiles()["lfc"], 64, 80)
    truth = simulate_night(profile, tmp_path / "raw", seed=1)
    rows = truth.frames[truth.frames["type"] == kind]
    bad, other = sorted(rows["file"].tolist())[:2]
    path, aside = tmp_path / "raw" / bad, tmp_path / "aside.fits"
    real = {"make": run.make_products, "prepare": prepare._amplifier_band}

    def make(*args):
        path.rename(aside)
        path.write_bytes((tmp_path / "raw" / other).read_bytes())
        return real["make"](*args)

    def band(frames, opened, *args):
        try:
            return real["prepare"](frames, opened, *args)
        finally:
            if back and aside.exists() and any(p.raw.path.name == Path(bad).name for p in opened):
                aside.rename(path)

    monkeypatch.setattr(run, "make_products", make)
    monkeypatch.setattr(prepare, "_amplifier_band", band)
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known, jobs=1)
    if not back:
        (row,) = [r for r in night.frames if r["file"] == bad]
        assert row["code"] == "changed", row
        assert len(night.masters) == len(night.plan.masters)
        return
    # It was there again when what failed was tried once more, or it was set aside.
    monkeypatch.undo()
    clean = reduce_night(tmp_path / "raw", tmp_path / "clean", profile=truth.known)
    assert clean.ok
    assert len(night.masters) == len(clean.masters)
    for name, path in night.products.items() if night.ok else ():
        assert path.read_bytes() == clean.products[name].read_bytes()
    assert night.ok or bad in list(night.set_aside["file"])
