"""The output while a run is going on: nothing is written through a link, and what vanishes is named."""

import contextlib
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import by_hand
import numpy as np
import pytest
from astropy.io import fits
from by_hand import SMALL

from ccdprofiles import known_profiles, plan_night, reduce_night, simulate_night, verify_night
from ccdprofiles.cli.command import main
from ccdprofiles.errors import CCDProfilesError, InputError, OutputError
from ccdprofiles.output.lock import locked
from ccdprofiles.plan.scan import scan
from ccdprofiles.products.product import write_text
from ccdprofiles.run import making, run, runstate
from ccdprofiles.simulate import windowed

BIAS, DARK, FLAT = (f"masters/cg16m_{n}_1x1.fits" for n in ("bias", "dark_90s", "flat_r"))


@pytest.fixture
def night(made, tmp_path):
    """A copy of the raw night, which must be the same in the end."""
    shutil.copytree(made / "raw", tmp_path / "raw")
    before = state(tmp_path / "raw")
    yield tmp_path
    assert state(tmp_path / "raw") == before


def state(folder):
    return {
        p.relative_to(folder): (
            p.lstat().st_mtime_ns,
            p.lstat().st_ino,
            p.is_file() and p.read_bytes(),
        )
        for p in sorted(folder.rglob("*"))
    }


def reduce(night, **options):
    return reduce_night(night / "raw", night / "out", **{"profiles": [SMALL], "jobs": 1, **options})


# Every file that a run writes, as a link.

WRITTEN = (
    "ccdprofiles.log",
    ".ccdprofiles.lock",
    ".ccdprofiles.holder",
    "night.ecsv",
    "plan.json",
    "report/index.html",
    BIAS,
    FLAT,
    "science",
    "masters/.probe.tmp",
    ".plan.json.PID.tmp",
    ".night.ecsv.PID.tmp",
    "report/.index.html.PID.tmp",
)


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to", "dangling"])
@pytest.mark.parametrize("begun", [False, True])
def test_no_file_is_written_through_a_link(made, night, name, link, begun):
    # Each process of the tests must collect the same names.
    name = name.replace("PID", str(os.getpid()))
    if begun:
        shutil.copytree(made / "out", night / "out")
    if name == "science":
        name = plan_night(night / "raw", profiles=[SMALL]).products[0].name
    sentinel, path = night / "sentinel", night / "out" / name
    if link != "dangling":
        sentinel.write_bytes(b"not ours")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    getattr(path, link if link != "dangling" else "symlink_to")(sentinel)
    try:
        reduce(night, overwrite=begun)
    except CCDProfilesError as error:
        refusal = str(error)
    else:
        refusal = str(path)
    assert str(path.parent) in refusal
    assert "Errno" not in refusal
    if link == "dangling":
        assert not sentinel.exists()
    else:
        assert sentinel.read_bytes() == b"not ours"
        assert sentinel.stat().st_nlink <= 2


@pytest.mark.parametrize("name", ["ccdprofiles.log", ".ccdprofiles.lock"])
def test_a_link_in_place_of_log_or_lock_is_refused_with_what_to_do(night, name):
    (night / "out").mkdir()
    (night / "out" / name).symlink_to(night / "elsewhere")
    with pytest.raises(OutputError) as error:
        reduce(night)
    assert str(error.value) == (
        f"{night / 'out' / name} is a link to {night / 'elsewhere'}, and nothing is written through a link; remove it, and a new file will be created."
    )
    (night / "out" / name).unlink()
    assert reduce(night).ok


def test_a_log_that_becomes_a_link_during_the_run_is_not_followed(night, monkeypatch):
    log = night / "out" / "ccdprofiles.log"
    assert reduce(night).ok
    at(monkeypatch, "measure_frames", lambda: replace_by_link(log, night / "elsewhere"))
    with pytest.raises(OutputError, match="is a link to"):
        reduce(night, overwrite=True)
    assert not (night / "elsewhere").exists()


# Folders and files that vanish, or become something else, during a run.


def at(monkeypatch, moment, do):
    """Do something once, just before a run comes to a step of its own."""
    owner = run if hasattr(run, moment) else making._Making
    real, left = getattr(owner, moment), [do]

    def wrapped(*args):
        if left:
            left.pop()()
        return real(*args)

    monkeypatch.setattr(owner, moment, wrapped)


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def replace_by_link(path, target):
    if path.exists():
        path.rename(path.with_name(f"{path.name}-before"))
    path.symlink_to(target)


MOMENTS = ["make_products", "_begin_science", "science_finished", "_in_order"]


@pytest.mark.parametrize("folder", ["", "masters", "science"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_folder_that_becomes_a_link_to_the_night_ends_the_run(
    night, monkeypatch, folder, moment, capsys
):
    path = night / "out" / folder if folder else night / "out"
    at(monkeypatch, moment, lambda: replace_by_link(path, night / "raw"))
    with pytest.raises(OutputError) as error:
        reduce(night)
    assert f"{path} became a link to {night / 'raw'}" in str(error.value)
    assert "run it again" in str(error.value)
    assert "may be removed" not in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["", "masters", "science"])
@pytest.mark.parametrize("moment", ["science_finished", "_in_order"])
@pytest.mark.parametrize("again", [False, True])
def test_a_folder_that_is_removed_ends_the_run(night, monkeypatch, folder, moment, again):
    path = night / "out" / folder if folder else night / "out"

    def gone():
        shutil.rmtree(path)
        if again:
            path.mkdir()

    at(monkeypatch, moment, gone)
    with pytest.raises(OutputError) as error:
        reduce(night)
    assert f"{path} was removed or replaced during the run" in str(error.value)
    monkeypatch.undo()
    assert reduce(night).ok


def test_the_command_ends_with_5_where_the_output_is_removed(night, monkeypatch, capsys):
    camera = night / "cg16m.py"
    camera.write_text(
        "from ccdprofiles.simulate import windowed\nprofile = windowed('cg16m', 16, 24)\n"
    )
    at(monkeypatch, "science_finished", lambda: shutil.rmtree(night / "out"))
    command = ["reduce", str(night / "raw"), "-o", str(night / "out"), "-q", "-j", "1"]
    assert main([*command, "--profile", str(camera)]) == 5
    assert "was removed or replaced during the run" in capsys.readouterr().err


@pytest.mark.parametrize("again", [False, True])
def test_an_output_that_is_removed_while_headers_are_read_is_not_written(night, monkeypatch, again):
    assert reduce(night).ok

    def scan_and_remove(*arguments, **named):
        shutil.rmtree(night / "out")
        if again:
            (night / "out").mkdir()
        return scan(*arguments, **named)

    monkeypatch.setattr("ccdprofiles.plan.request.scan", scan_and_remove)
    with pytest.raises(OutputError, match="out was removed or replaced during the run"):
        reduce(night)
    monkeypatch.undo()
    assert reduce(night).ok


@pytest.mark.parametrize("begun", [False, True])
def test_an_output_that_becomes_the_night_before_it_is_locked_gets_no_products(
    made, tmp_path, monkeypatch, begun
):
    shutil.copytree(made / "raw", tmp_path / "raw")
    out = tmp_path / "out"
    if begun:
        assert reduce(tmp_path).ok

    def link_and_lock(output):
        if begun:
            out.rename(tmp_path / "aside")
        out.symlink_to(tmp_path / "raw")
        return locked(output)

    monkeypatch.setattr("ccdprofiles.output.folder.locked", link_and_lock)
    with pytest.raises(CCDProfilesError, match=r"own folder|became a link"):
        reduce(tmp_path)
    new = {p.name for p in (tmp_path / "raw").iterdir()}
    assert new - {p.name for p in (made / "raw").iterdir()} <= {".ccdprofiles.lock"}


@pytest.mark.parametrize("name", ["night.ecsv", "plan.json", "index.html"])
def test_an_output_that_is_removed_while_tables_are_written_stays_away(night, monkeypatch, name):
    def write(path, text):
        if path.name == name:
            shutil.rmtree(night / "out")
        write_text(path, text)

    monkeypatch.setattr("ccdprofiles.report.report.write_text", write)
    with pytest.raises(OutputError):
        reduce(night)
    monkeypatch.undo()
    assert not (night / "out").exists()
    assert reduce(night).ok


def test_an_output_that_was_copied_without_its_lock_is_gone_on_with(night):
    """Its table is no file of others."""
    assert reduce(night).ok
    (night / "out" / ".ccdprofiles.lock").unlink()
    assert len(reduce(night).kept) == 5
    shutil.rmtree(night / "out" / "masters")
    shutil.rmtree(night / "out" / "science")
    (night / "out" / ".ccdprofiles.lock").unlink()
    with pytest.raises(OutputError, match="was not made by ccdprofiles"):
        reduce(night)


def test_a_profile_whose_name_is_no_utf_8_is_written_to_the_tables(night):
    camera = night / os.fsdecode(b"\xff\xfe.py")
    try:
        camera.write_text(
            "from ccdprofiles.simulate import windowed\nprofile = windowed('cg16m', 16, 24)\n"
        )
    except OSError:
        pytest.skip("this disk holds no such name")
    for kept in (0, 5):
        done = reduce_night(night / "raw", night / "out", profile=camera, jobs=1)
        assert done.ok
        assert len(done.kept) == kept
    assert verify_night(night / "out").ok


def test_an_output_that_holds_frames_of_the_night_is_refused(made, tmp_path):
    """They would be left out of the night without a row."""
    shutil.copytree(made / "raw", tmp_path / "raw" / "darks")
    before = state(tmp_path / "raw")
    where = (tmp_path / "raw", tmp_path / "raw" / "darks")
    for make in (
        lambda: reduce_night(*where, profiles=[SMALL]),
        lambda: plan_night(where[0], output=where[1], profiles=[SMALL]),
    ):
        with pytest.raises(InputError, match=r"raw and contains .*\.fit, which would be ignored"):
            make()
    assert state(tmp_path / "raw") == before


def test_what_others_put_into_an_output_inside_the_night_stays_theirs(made, tmp_path):
    shutil.copytree(made / "raw", tmp_path / "raw")
    where = (tmp_path / "raw", tmp_path / "raw" / "out")
    assert reduce_night(*where, profiles=[SMALL], jobs=1).ok
    fits.writeto(tmp_path / "raw" / "out" / "stack.fits", np.ones((4, 4)))
    assert reduce_night(*where, profiles=[SMALL], jobs=1).ok


def assert_true(done):
    """The summary counts what is there, and blames no raw frame."""
    for path in (*done.masters.values(), *done.products.values()):
        assert path.is_file()
    assert (
        f"{len(done.masters)} of 3 masters and {len(done.products)} of 2 planned science frames"
        in str(done)
    )
    assert not done.ok
    assert "copy it again" not in str(done)
    assert "set aside" not in list(done.frames["verdict"])
    assert "run it again" in str(done)


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("how", ["removed", "replaced", "cut"])
def test_a_master_that_vanishes_before_it_is_needed_is_named(night, monkeypatch, pool, how):
    path = night / "out" / FLAT

    def change():
        octets = path.read_bytes()
        path.unlink()
        if how != "removed":
            # A file of the same bytes is the same master.
            path.write_bytes(octets[:2880] if how == "cut" else octets[:-1] + b"\1")

    at(monkeypatch, "_begin_science", change)
    with ProcessPoolExecutor(1) if pool else contextlib.nullcontext() as executor:
        done = reduce(night, executor=executor)
    assert_true(done)
    assert set(done.masters) == {BIAS, DARK}
    assert done.products == {}
    for row in done.frames[done.frames["type"] == "science"]:
        assert (row["verdict"], row["code"]) == ("not calibrated", "removed")
        assert "the master cg16m_flat_r_1x1 was removed or replaced during the run" in row["reason"]
    monkeypatch.undo()
    assert reduce(night).ok


@pytest.mark.parametrize("name", [BIAS, DARK, FLAT])
def test_a_master_that_vanishes_at_the_end_is_not_said_to_be_there(night, monkeypatch, name):
    at(monkeypatch, "_drop_removed", lambda: (night / "out" / name).unlink())
    done = reduce(night)
    assert_true(done)
    assert name not in done.masters
    assert len(done.products) == 2
    monkeypatch.undo()
    assert reduce(night).ok


def test_a_product_that_vanishes_is_not_said_to_be_there(night, monkeypatch):
    path = night / "out" / plan_night(night / "raw", profiles=[SMALL]).products[0].name
    at(monkeypatch, "_drop_removed", path.unlink)
    done = reduce(night)
    assert_true(done)
    (row,) = [r for r in done.frames if r["code"] == "removed"]
    assert path.name in row["reason"]
    monkeypatch.undo()
    again = reduce(night)
    assert again.ok
    assert len(again.kept) == 4


def test_a_bias_that_vanishes_before_the_others_are_made_is_named(night, monkeypatch):
    """By the time that it is noted itself, and by those that are made of it."""
    real = runstate.RunState.add_master

    def add_master(self, name, path, *args):
        if name == BIAS:
            Path(path).unlink()
        return real(self, name, path, *args)

    monkeypatch.setattr(runstate.RunState, "add_master", add_master)
    done = reduce(night)
    assert_true(done)
    assert f"{BIAS}: it was removed or replaced during the run" in str(done)
    monkeypatch.undo()
    assert reduce(night).ok


def test_others_in_the_output_are_not_said_to_be_removable(night):
    """Not even masters of another night to which a link leads."""
    assert reduce(night).ok
    shutil.copytree(night / "out", night / "other")
    (night / "out" / "science" / "paper.fits").symlink_to(night / "other" / BIAS)
    fits.writeto(night / "out" / "masters" / "mine.fits", np.ones((4, 4)))
    assert "may be removed" not in str(reduce(night))


def test_a_run_that_makes_nothing_calls_no_product_removable(night):
    """A wrong profile set all frames aside, and the products of the right one were to go."""
    assert reduce(night).ok
    made = reduce(night, profile=replace(SMALL, frame_size=(400, 300)))
    assert not made.masters
    assert not made.products
    assert "may be removed" not in str(made)


# What cannot be a path, and what the system refuses, is told in words.

ADDRESSES = ("s3://bucket/night", "https://example.org/night", "file:///night")


@pytest.mark.parametrize(
    "arguments",
    [
        ["reduce", "{}", "-o", "out"],
        ["reduce", "raw", "-o", "{}"],
        ["reduce", "raw", "-o", "out", "--calibrations", "{}"],
        ["reduce", "raw", "-o", "out", "--profile", "{}"],
        ["reduce", "raw", "-o", "out", "--profiles", "{}/cam.py"],
        ["plan", "{}"],
        ["plan", "raw", "-o", "{}"],
        ["plan", "raw", "--calibrations", "{}"],
        ["info", "{}"],
        ["verify", "{}"],
        ["demo", "sbo", "-o", "{}"],
        ["profiles", "{}"],
    ],
)
def test_an_address_is_no_path(night, monkeypatch, capsys, arguments):
    monkeypatch.chdir(night)
    address = ADDRESSES[len("".join(arguments)) % 3]
    before = sorted(night.iterdir())
    assert main([a.format(address) for a in arguments]) == 2
    said = capsys.readouterr().err
    assert address in said
    assert f"is an address ({address.partition('://')[0]}://)" in said
    assert "use that path" in said
    assert sorted(night.iterdir()) == before


@pytest.mark.parametrize("command", ["reduce", "plan", "info"])
def test_an_empty_folder_ends_every_command_alike(tmp_path, command, capsys):
    (tmp_path / "empty").mkdir()
    output = ["-o", str(tmp_path / "out")] if command == "reduce" else []
    assert main([command, str(tmp_path / "empty"), *output]) == 3
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--profile", "--profiles"])
def test_a_profile_that_may_not_be_read_is_told_in_words(night, monkeypatch, capsys, option):
    import ccdprofiles.camera.profile_file as module

    path = night / "cam.py"
    path.write_text("profile = None")

    def refused(*args):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(module.importlib.util, "module_from_spec", refused)
    assert main(["plan", str(night / "raw"), option, str(path)]) == 2
    said = capsys.readouterr().err
    assert f"{path} cannot be" in said
    assert "Permission denied" in said
    assert "Errno" not in said
    assert "PermissionError" not in said


@pytest.mark.parametrize("command", ["plan", "info", "reduce", "verify"])
def test_what_the_system_refuses_is_told_in_words(night, command, capsys):
    name = "x" * 300
    output = ["-o", str(night / "out")] if command == "reduce" else []
    assert main([command, str(night / name), *output]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ccdprofiles: ")
    assert name in said
    assert "Errno" not in said


def test_a_home_of_nobody_is_told(night, capsys):
    assert main(["plan", "~nobody-of-that-name/night"]) == 2
    assert "has no home folder here; use the whole path" in capsys.readouterr().err


def test_hidden_files_of_others_in_the_output_stay(tmp_path):
    profile = windowed(known_profiles()["lfc"], 64, 80)
    truth = simulate_night(profile, tmp_path / "raw", seed=1)
    (tmp_path / "out" / "masters").mkdir(parents=True)
    others = [tmp_path / "out" / ".notes.tmp", tmp_path / "out" / "masters" / ".paper.tmp"]
    ours = tmp_path / "out" / "masters" / ".lfc_dark.fits.4711-7f00aa.tmp"
    for path in (*others, ours):
        path.write_text("mine")
    by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known)
    assert all(path.exists() for path in others)
    assert not ours.exists()
