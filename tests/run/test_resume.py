"""A second run makes what no longer holds, says why, and touches nothing else."""

import dataclasses
import logging
import os
import shutil
import sys
from pathlib import Path

import by_hand
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

import ccdprofiles
from ccdprofiles import Amplifier, CosmicRays, Flat, reduce_night, simulate_night
from ccdprofiles.simulate import Exposures, windowed

SMALL = windowed("cg16m", 16, 24)
FRAMES = [
    Exposures("bias", 4),
    Exposures("dark", 3, 90.0),
    Exposures("flat", 3, 1.0, filter="r"),
    Exposures("flat", 3, 1.0, filter="V"),
    Exposures("science", 2, 90.0, filter="r", object="m31"),
    Exposures("science", 1, 90.0, filter="V", object="m31"),
]
BIAS, DARK, FLAT_R, FLAT_V = (
    f"masters/cg16m_{n}_1x1.fits" for n in ("bias", "dark_90s", "flat_r", "flat_V")
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A night of 16 frames, 4 masters and 3 products, not to be touched."""
    folder = tmp_path_factory.mktemp("night")
    simulate_night(SMALL, folder / "raw", frames=FRAMES)
    assert reduce_night(folder / "raw", folder / "out", profiles=[SMALL]).ok
    return folder


@pytest.fixture
def night(made, tmp_path):
    """A copy of that night."""
    shutil.copytree(made, tmp_path / "night")
    return tmp_path / "night"


def again(night, **options):
    return reduce_night(night / "raw", night / "out", **{"profiles": [SMALL], **options})


def state(folder):
    """Bytes, time and inode of every file."""
    return {
        p.relative_to(folder).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_ino)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def written(before, after):
    """Name the FITS files that a run wrote."""
    return {n for n in after if n.endswith(".fits") and before.get(n) != after[n]}


def files(night, kind, filter=None):
    found = []
    for path in sorted((night / "raw").iterdir()):
        header = fits.getheader(path)
        if header["IMAGETYP"].strip().lower() == kind and filter in (None, header.get("FILTER")):
            found.append(path)
    return found


def brighten(path):
    with fits.open(path, memmap=False) as hdus:
        data, header = hdus[0].data + 1, hdus[0].header.copy()
    path.unlink()
    fits.PrimaryHDU(data, header).writeto(path)


def science(night, kind):
    return {f"science/{p.stem}_cal.fits" for p in files(night, "light", kind)}


def reasons(caplog):
    """Name → why, of what the log says is made anew."""
    told = [r.getMessage() for r in caplog.records if "is remade: " in r.getMessage()]
    return dict(text.split(" is remade: ") for text in told)


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.INFO, "ccdprofiles")


def test_a_second_run_writes_no_file_at_all(night, caplog):
    before = state(night / "out")
    done = again(night)
    assert done.kept == {*done.masters, *done.products}
    assert reasons(caplog) == {}
    assert "Remade" not in str(done)
    assert str(done).endswith("7 already up to date") or "7 already up to date\n" in str(done)
    assert state(night / "out") == before
    # Nor does one that is asked from elsewhere, with other words for the same folders.
    here = Path.cwd()
    os.chdir(night)
    try:
        reduce_night("raw/../raw", "out", profiles=[SMALL], jobs=1)
    finally:
        os.chdir(here)
    assert state(night / "out") == before


def test_a_touched_flat_redoes_its_filter_and_nothing_else(night, caplog):
    before = state(night / "out")
    flat = files(night, "flat", "r")[1]
    brighten(flat)
    done = again(night)
    after = state(night / "out")
    assert written(before, after) == {FLAT_R, *science(night, "r")}
    why = reasons(caplog)
    assert set(why) == written(before, after)
    assert done.anew == why
    assert why[FLAT_R] == f"its flat {flat.name} changed"
    assert {why[n] for n in science(night, "r")} == {"its master flat cg16m_flat_r_1x1 changed"}
    assert "4 already up to date, 3 remade" in str(done)
    assert f"  {FLAT_R}: its flat {flat.name} changed." in str(done)
    log = (night / "out" / "ccdprofiles.log").read_text()
    assert f"{FLAT_R} is remade: its flat {flat.name} changed\n" in log


def test_a_file_that_was_only_touched_redoes_nothing(night):
    before = state(night / "out")
    os.utime(files(night, "flat")[0])
    again(night)
    assert state(night / "out") == before


def test_a_touched_science_frame_redoes_itself(night, caplog):
    before = state(night / "out")
    frame = files(night, "light", "V")[0]
    brighten(frame)
    again(night)
    (name,) = science(night, "V")
    assert written(before, state(night / "out")) == {name}
    assert reasons(caplog) == {name: f"its science {frame.name} changed"}


def test_frames_that_came_or_went_are_named(night, caplog):
    first, second = files(night, "bias")[:2]
    first.unlink()
    second.rename(second.with_name("a new name.fit"))
    again(night)
    why = reasons(caplog)
    assert set(why) == {BIAS, DARK, FLAT_R, FLAT_V, *science(night, "r"), *science(night, "V")}
    assert why[BIAS] == (
        "its bias a new name.fit was added; "
        f"2 of its bias frames were removed ({first.name} … {second.name})"
    )
    assert why[DARK] == "its master bias cg16m_bias_1x1 changed"


def test_an_edited_read_noise_is_a_changed_profile(night, caplog):
    noisy = [dataclasses.replace(a, read_noise=99 * u.electron) for a in SMALL.amplifiers]
    done = again(night, profiles=[dataclasses.replace(SMALL, amplifiers=noisy)])
    assert done.kept == frozenset()
    assert set(reasons(caplog)) == {*done.masters, *done.products}
    assert reasons(caplog)[BIAS] == "the profile cg16m changed"
    assert reasons(caplog)[FLAT_R].startswith("the profile cg16m changed; its master bias")


def test_another_profile_is_named(night, caplog):
    # Its masters have its own name, so only the science frames were there before.
    other = dataclasses.replace(SMALL, name="mine")
    again(night, profiles=[], profile=other)
    why = reasons(caplog)
    assert set(why) == {*science(night, "r"), *science(night, "V")}
    assert all(w.startswith("the profile is mine instead of cg16m; ") for w in why.values())
    assert all(
        "the master flat is mine_flat_" in w and " instead of cg16m_flat_" in w
        for w in why.values()
    )


def test_another_version_is_named(night, caplog, monkeypatch):
    for module in ("run.runstate", "reduce.keywords", "run.resume"):
        monkeypatch.setattr(f"ccdprofiles.{module}.__version__", "99.0")
    done = again(night)
    assert done.kept == frozenset()
    assert (
        reasons(caplog)[BIAS] == f"it was made by version {ccdprofiles.__version__}, this is 99.0"
    )


def test_changed_settings_are_named(night, caplog):
    before = state(night / "out")
    names = {*science(night, "r"), *science(night, "V")}
    again(night, cosmic_rays=True)
    assert written(before, state(night / "out")) == names
    assert reasons(caplog) == dict.fromkeys(names, "its settings changed: cosmic rays")
    caplog.clear()
    again(night, cosmic_rays=CosmicRays(sigclip=9))
    assert reasons(caplog) == dict.fromkeys(
        names, "its settings changed: how cosmic rays are detected"
    )
    caplog.clear()
    again(night, without=["flat"])
    assert reasons(caplog) == dict.fromkeys(
        names,
        "its settings changed: flat omitted on purpose; its settings changed: cosmic rays",
    )
    caplog.clear()
    again(night)
    assert set(reasons(caplog)) == names
    for name, why in reasons(caplog).items():
        kind = "r" if name in science(night, "r") else "V"
        assert why == (
            f"the master flat cg16m_flat_{kind}_1x1 is available now; "
            "its settings changed: flat no longer omitted on purpose"
        )
    assert {n: b[0] for n, b in state(night / "out").items() if n.endswith(".fits")} == {
        n: b[0] for n, b in before.items() if n.endswith(".fits")
    }


def test_the_level_of_the_night_is_a_reason(tmp_path, caplog):
    profile = dataclasses.replace(
        SMALL,
        amplifiers=[Amplifier(data="[1:24, 1:16]", overscan="[25:40, 1:16]")],
        frame_size=(40, 16),
        recipe=dataclasses.replace(
            SMALL.recipe, dark=None, flat=None, bias=False, overscan_drift=5 * u.adu
        ),
    )
    random = np.random.default_rng(1)
    (tmp_path / "raw").mkdir()

    def write(name, kind, level):
        header = fits.Header([("INSTRUME", "AspenCG16"), ("IMAGETYP", kind), ("EXPTIME", 9.0)])
        header["XBINNING"] = header["YBINNING"] = 1
        data = random.normal(level, 1, (16, 40)).astype("u2")
        fits.PrimaryHDU(data, header).writeto(tmp_path / "raw" / name, overwrite=True)

    for number, level in enumerate((1000, 1000, 1100)):
        write(f"{number}.fit", "LIGHT", level)
    first = again(tmp_path, profiles=[], profile=profile)
    assert [fits.getheader(p).get("OSNIGHT1") for p in first.products.values()] == [
        None,
        None,
        True,
    ]
    caplog.clear()
    write("1.fit", "LIGHT", 1101)
    again(tmp_path, profiles=[], profile=profile)
    why = reasons(caplog)
    assert why["science/1_cal.fits"] == "its science 1.fit changed"
    assert why["science/2_cal.fits"] == "the nightly median of the overscan level changed"


@pytest.mark.parametrize(
    ("name", "place", "why"),
    [
        (FLAT_V, "middle", "the data of its UNCERT changed (DATASUM)"),
        (FLAT_V, "end", "the data of its PROVENANCE changed (DATASUM)"),
        ("science", "end", "the data of its PROVENANCE changed (DATASUM)"),
    ],
)
def test_zeros_at_the_tail_of_a_product_are_not_kept(night, caplog, name, place, why):
    """As a power loss may leave them; the bytes that come back are those that were."""
    name = sorted(science(night, "V"))[0] if name == "science" else name
    path = night / "out" / name
    before = path.read_bytes()
    with fits.open(path, memmap=False) as hdus:
        start = hdus["UNCERT" if place == "middle" else "PROVENANCE"].fileinfo()["datLoc"]
    path.write_bytes(before[:start] + bytes(100) + before[start + 100 :])
    done = again(night)
    assert reasons(caplog) == {name: why}
    assert done.kept == {*done.masters, *done.products} - {name}
    assert path.read_bytes() == before


@pytest.mark.parametrize("blocks", [0, 1, 5, 9, -2, -1])
def test_a_product_cut_at_a_block_is_made_again(night, caplog, blocks):
    for name in (DARK, sorted(science(night, "r"))[0]):
        path = night / "out" / name
        before = path.read_bytes()
        path.write_bytes(before[: blocks * 2880])
        done = again(night)
        assert name not in done.kept
        assert name in reasons(caplog)
        assert path.read_bytes() == before


def test_a_file_of_zeros_under_the_name_of_a_product_is_nobodys(night):
    path = night / "out" / FLAT_R
    before = path.read_bytes()
    path.write_bytes(bytes(len(before)))
    assert FLAT_R not in again(night).kept
    assert path.read_bytes() == before


def test_all_is_made_anew_as_asked(night, caplog):
    done = again(night, overwrite=True)
    assert set(reasons(caplog).values()) == {"as requested"}
    assert len(reasons(caplog)) == 7
    assert "7 remade" in str(done)


def test_a_master_of_the_same_name_from_another_folder_is_told_by_its_folder(tmp_path):
    simulate_night(SMALL, tmp_path / "raw", frames=[Exposures("bias", 3), *FRAMES[-1:]])
    for seed, name in ((1, "june"), (2, "july")):
        simulate_night(SMALL, tmp_path / name, seed=seed, frames=FRAMES[:-1])
        reduce_night(tmp_path / name, tmp_path / f"of-{name}", profiles=[SMALL])
        lent = (tmp_path / f"of-{name}" / "masters").rename(tmp_path / f"lent-{name}")
        done = reduce_night(
            tmp_path / "raw", tmp_path / "out", profiles=[SMALL], calibrations=[lent]
        )
        assert done.products
    assert done.anew
    for why in done.anew.values():
        assert "instead of calibrations/lent-june/" in why
        assert " calibrations/lent-july/" in why


def test_what_is_made_for_the_first_time_is_not_anew(made, tmp_path):
    done = reduce_night(made / "raw", tmp_path / "out", profiles=[SMALL])
    assert "anew" not in str(done)
    sorted(done.products.values())[0].unlink()
    done = reduce_night(made / "raw", tmp_path / "out", profiles=[SMALL])
    assert "there, 6 already up to date, 1 new" in str(done)
    assert "anew" not in str(done)
    assert done.anew == {}


def test_the_report_is_the_same_whether_made_at_once_or_bit_by_bit(night, tmp_path):
    brighten(files(night, "flat", "r")[0])
    again(night)
    fresh = reduce_night(night / "raw", night / "fresh", profiles=[SMALL])
    for name, (octets, _, _) in state(fresh.output).items():
        if name != "ccdprofiles.log":
            assert (night / "out" / name).read_bytes() == octets, name


@pytest.fixture(scope="module")
def with_rays(tmp_path_factory):
    """A night whose recipe looks for cosmic rays, reduced as the recipe says."""
    folder = tmp_path_factory.mktemp("rays")
    recipe = dataclasses.replace(SMALL.recipe, cosmic_rays=CosmicRays())
    truth = simulate_night(
        dataclasses.replace(SMALL, recipe=recipe), folder / "raw", frames=FRAMES[:3] + FRAMES[4:5]
    )
    night = reduce_night(folder / "raw", folder / "out", profile=truth.known)
    return folder, truth.known, night


def test_cosmic_rays_of_the_recipe_are_looked_for_unless_switched_off(with_rays, tmp_path, caplog):
    folder, camera, first = with_rays
    shutil.copytree(folder, tmp_path / "night")
    raw, out = tmp_path / "night/raw", tmp_path / "night/out"
    assert all("CRAYS" in fits.getheader(p) for p in first.products.values())
    off = reduce_night(raw, out, profile=camera, cosmic_rays=False)
    assert off.ok
    assert off.kept == set(off.masters)
    assert set(reasons(caplog).values()) == {
        "its settings changed: cosmic rays switched off on purpose"
    }
    for path in off.products.values():
        header = fits.getheader(path)
        assert header["NOCRAYS"] is True
        assert "CRAYS" not in header
        assert "cosmic rays left out on purpose" in str(header["HISTORY"])
    said = "cosmic rays are not detected, on purpose, although the recipe of cg16m requires it"
    assert said in str(off)
    assert said in (out / "report/index.html").read_text("utf-8")
    assert reduce_night(raw, out, profile=camera, cosmic_rays=False).anew == {}
    caplog.clear()
    on = reduce_night(raw, out, profile=camera)
    assert on.kept == set(on.masters)
    assert set(reasons(caplog).values()) == {
        "its settings changed: cosmic rays no longer switched off on purpose"
    }


def test_to_switch_off_what_no_recipe_asks_for_changes_nothing(night):
    before = state(night / "out")
    done = again(night, cosmic_rays=False)
    assert state(night / "out") == before
    assert "cosmic rays" not in str(done)


@pytest.mark.parametrize("what", ["gain", "recipe"])
def test_a_number_that_a_profile_reads_from_another_file_counts(made, tmp_path, what):
    """The text of the profile, and so its hash, stays as it was."""
    camera, number = tmp_path / "cam.py", tmp_path / "number.txt"
    camera.write_text(
        "import dataclasses\n"
        "from pathlib import Path\n"
        "from astropy import units as u\n"
        "from ccdprofiles.simulate import windowed\n"
        "_base = windowed('cg16m', 16, 24)\n"
        f"def number():\n    return float(Path({str(number)!r}).read_text())\n"
        "def gain(header):\n    return number() * u.electron / u.adu\n"
        "def recipe(header):\n    return dataclasses.replace(_base.recipe, electrons=number() > 2)\n"
        "_ = [dataclasses.replace(a, gain=gain) for a in _base.amplifiers]\n"
        + "profile = dataclasses.replace(_base, "
        + ("amplifiers=_" if what == "gain" else "recipe=recipe")
        + ")\n"
    )
    number.write_text("1.5")
    options = {"profile": camera, "jobs": 1}
    first = reduce_night(made / "raw", tmp_path / "out", **options)
    assert first.ok
    assert len(reduce_night(made / "raw", tmp_path / "out", **options).kept) == 7
    number.write_text("2.5")
    assert set(reduce_night(made / "raw", tmp_path / "out", **options).anew) >= {*first.products}


def test_a_run_without_a_step_leaves_no_trace_in_the_next(raw_night):
    by_hand.reduce_night(
        raw_night, raw_night.parent / "a", profiles=[by_hand.SMALL], without=("flat",)
    )
    by_hand.reduce_night(raw_night, raw_night.parent / "a", profiles=[by_hand.SMALL])
    by_hand.reduce_night(raw_night, raw_night.parent / "b", profiles=[by_hand.SMALL])
    assert by_hand.bytes_of(raw_night.parent / "a") == by_hand.bytes_of(raw_night.parent / "b")


def test_an_adopted_master_that_changed_remakes_what_used_it(raw_night):
    by_hand.reduce_night(raw_night, raw_night.parent / "calibrations", profiles=[by_hand.SMALL])
    alone = raw_night.parent / "alone"
    alone.mkdir()
    for path in by_hand.files_of(raw_night, "light"):
        shutil.copy(path, alone)

    def again():
        masters = raw_night.parent / "calibrations/masters"
        return by_hand.reduce_night(
            alone, raw_night.parent / "o", profiles=[by_hand.SMALL], calibrations=[masters]
        )

    first = {name: fits.getdata(path) for name, path in again().products.items()}
    assert set(again().kept) == set(first)
    with fits.open(raw_night.parent / "calibrations/masters/cg16m_bias_1x1.fits", "update") as hdus:
        hdus[0].data += 100
    made = again()
    assert not made.kept
    for name, path in made.products.items():
        assert not np.array_equal(fits.getdata(path), first[name])


def test_a_partial_as_gain_keeps_everything_on_the_second_run(raw_night):
    (raw_night.parent / "cg.py").write_text(
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
    runs = [
        by_hand.reduce_night(
            raw_night, raw_night.parent / "out", profile=raw_night.parent / "cg.py"
        )
        for _ in range(2)
    ]
    assert [len(made.kept) for made in runs] == [0, 5]


@pytest.mark.skipif(sys.platform == "win32", reason="names of files are UTF-8 elsewhere")
def test_a_dark_flat_whose_name_is_not_ascii_stays_set_aside(tmp_path):
    by_hand.write_some(tmp_path / "raw", "bias", 2, 100)
    by_hand.write_some(tmp_path / "raw", "flat", 2, 1100, 1.0)
    by_hand.write(tmp_path / "raw/flaté.fits", "flat", 90, 1.0)
    for _ in range(2):
        made = by_hand.reduce_night(
            tmp_path / "raw", tmp_path / "out", profile=by_hand.camera(flat=Flat())
        )
        assert not made.ok
        assert list(made.set_aside["file"]) == ["flaté.fits"]
