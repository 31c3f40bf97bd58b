"""What the world does to a run: kills, full disks, other runs, odd places, strange surroundings."""

import ast
import contextlib
import errno
import gzip
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections import namedtuple
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.table import Table

import ccdprofiles
from ccdprofiles import plan_night, reduce_night, simulate_night
from ccdprofiles.cli import command as cli
from ccdprofiles.errors import InputError, OutputError
from ccdprofiles.files.places import write_new
from ccdprofiles.simulate import Exposures, windowed

SMALL = windowed("cg16m", 64, 80)
FRAMES = [
    Exposures("bias", 4),
    Exposures("dark", 3, 90.0),
    Exposures("flat", 3, 1.0, filter="r"),
    Exposures("flat", 3, 1.0, filter="V"),
    Exposures("science", 6, 90.0, filter="r", object="m31"),
    Exposures("science", 6, 90.0, filter="V", object="m31"),
]
CAMERA = """
from ccdprofiles import load_profile
from ccdprofiles.simulate import windowed
profile = windowed(load_profile("cg16m"), rows=64, columns=80)
"""

NURSERY = """
import json, os, resource, shutil, sys
from collections import namedtuple
from ccdprofiles import cli, night, verify
from ccdprofiles.report import report  # what every child would import again

for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(asked["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), 2)
        os.dup2(2, 1)
        if asked.get("roomy"):
            shutil.disk_usage = lambda path: namedtuple("Usage", "total used free")(0, 0, 2**50)
        for name, limit in asked.get("limits", {}).items():
            resource.setrlimit(getattr(resource, name), limit)
        status = 1
        try:
            status = cli.main(asked["command"])
            sys.stdout.flush()
        finally:
            os._exit(status)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""
"""Forks a process for each command line, as to import all of it anew takes a second or more."""


class Child:
    """A run of the command line in a process of its own."""

    def __init__(self, nursery, command, said, **more):
        self._nursery = nursery
        self.said = Path(said)
        asked = {"command": [str(c) for c in command], "said": str(said), **more}
        nursery.stdin.write(json.dumps(asked) + "\n")
        nursery.stdin.flush()
        self.pid = int(nursery.stdout.readline())
        self.began = time.monotonic()

    def signal(self, number):
        """Send a signal to the whole process group, as a terminal does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait(self):
        """Return its exit status, or less the number of the signal that ended it."""
        return int(self._nursery.stdout.readline())


@pytest.fixture(scope="module")
def nursery(as_usual):
    # Not under the memory of pytest, whose threads a fork would not like.
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    with (
        as_usual(),
        subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", NURSERY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        ) as process,
    ):
        yield process
        process.stdin.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory, nursery):
    """A night of 25 frames, its camera, and what an undisturbed run makes of it, and how fast."""
    folder = tmp_path_factory.mktemp("night")
    simulate_night(SMALL, folder / "raw", frames=FRAMES)
    (folder / "cam.py").write_text(CAMERA)
    for output in ("warm", "out"):
        child = Child(nursery, reduce_command(folder, folder / output), folder / "said")
        assert child.wait() == 0, child.said.read_text()
    return folder, time.monotonic() - child.began


def reduce_command(folder, output, *more):
    return [
        "reduce",
        folder / "raw",
        "-o",
        output,
        "--profile",
        folder / "cam.py",
        "-j",
        "2",
        *more,
    ]


def tree(folder, log=False):
    """The SHA-256 of every file in a folder, but for the line that tells where the night lies."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and (log or path.name != "ccdprofiles.log"):
            octets = path.read_bytes()
            if path.name == "night.ecsv":
                lines = octets.splitlines(keepends=True)
                octets = b"".join(line for line in lines if not line.startswith(b"# - folders: "))
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(octets).hexdigest()
    return found


def assert_whole(output):
    """Every file under its final name opens, and has all that it should have."""
    number = 0
    for path in sorted(Path(output).rglob("*")):
        if path.is_dir() or path.name.startswith("."):
            continue
        if path.suffix == ".fits":
            number += 1
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                with fits.open(path, checksum=True, memmap=False) as hdus:
                    assert [h.name for h in hdus] == [
                        "PRIMARY",
                        "MASK",
                        "UNCERT",
                        "DQ",
                        "PROVENANCE",
                    ]
                    for hdu in hdus:
                        assert hdu.data is not None
        elif path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.suffix == ".ecsv":
            assert len(Table.read(path)) == 25
        elif path.suffix == ".html":
            assert path.read_text("utf-8").endswith("</html>\n")
        else:
            assert path.name == "ccdprofiles.log"
    return number


def leftovers(output):
    return [p.name for p in Path(output).rglob(".*") if p.name != ".ccdprofiles.lock"]


# Ends that come too early.


def test_fifty_kills_leave_whole_files_and_a_run_that_goes_on(made, nursery, tmp_path):
    folder, seconds = made
    raw, wanted = tree(folder / "raw"), tree(folder / "out")
    chance = random.Random(1)
    kills, there, unfinished = 0, [], 0
    for number in range(150):
        output = tmp_path / str(number)
        child = Child(nursery, reduce_command(folder, output), tmp_path / "said")
        if number % 2:
            time.sleep(chance.uniform(0, seconds))
        else:
            # When the first, second … product begins to be written.
            begun = 1 + number // 2 % 16
            limit = child.began + 3 * seconds
            while time.monotonic() < limit and written(output) < begun:
                time.sleep(0.0002)
            time.sleep(chance.uniform(0, seconds / 50))
        child.signal(signal.SIGKILL)
        if child.wait() != -signal.SIGKILL:
            continue
        kills += 1
        there.append(assert_whole(output))
        unfinished += any(n.endswith(".tmp") for n in leftovers(output))
        again = Child(nursery, reduce_command(folder, output), tmp_path / "said")
        assert again.wait() == 0, again.said.read_text()
        assert tree(output) == wanted
        assert leftovers(output) == []
        shutil.rmtree(output)
        if kills == 50:
            break
    assert kills == 50
    # They came at all moments: before any product, between two, and while one was written.
    assert len(set(there)) >= 5
    assert unfinished >= 5
    assert tree(folder / "raw") == raw


def written(output):
    """Count the products that are there, or that were begun."""
    found = 0
    for name in ("masters", "science"):
        with contextlib.suppress(OSError):
            found += len(os.listdir(output / name))
    return found


def test_a_run_that_was_killed_again_and_again_gets_to_its_end(made, nursery, tmp_path):
    folder, seconds = made
    chance = random.Random(2)
    output = tmp_path / "out"
    there = [0]
    for _ in range(8):
        child = Child(nursery, reduce_command(folder, output), tmp_path / "said")
        time.sleep(chance.uniform(0.2, 0.8) * seconds)
        child.signal(signal.SIGKILL)
        child.wait()
        there.append(assert_whole(output) if output.exists() else 0)
    # What is finished stays.
    assert there == sorted(there)
    child = Child(nursery, reduce_command(folder, output), tmp_path / "said")
    assert child.wait() == 0
    assert tree(output) == tree(folder / "out")


def test_ctrl_c_ends_a_run_in_seconds_and_it_goes_on_later(made, nursery, tmp_path):
    folder, seconds = made
    chance = random.Random(3)
    stopped = 0
    for number in range(30):
        output = tmp_path / str(number)
        child = Child(nursery, reduce_command(folder, output), tmp_path / "said")
        while not (output / ".ccdprofiles.holder").exists() and written(output) == 0:
            if time.monotonic() > child.began + 5:
                break
            time.sleep(0.0002)
        time.sleep(chance.uniform(0, seconds))
        child.signal(signal.SIGINT)
        asked = time.monotonic()
        status = child.wait()
        assert time.monotonic() - asked < 5
        assert_whole(output)
        if status == 0:
            continue
        stopped += 1
        assert status == 130, child.said.read_text()
        assert child.said.read_text().splitlines()[-1] == (
            "ccdprofiles: interrupted; finished products are kept; run it again to continue."
        )
        # A second of a thousand may fall between a file and its removal; the next run sees to it.
        child = Child(nursery, reduce_command(folder, output), tmp_path / "said")
        assert child.wait() == 0
        assert leftovers(output) == []
        assert tree(output) == tree(folder / "out")
        if stopped == 8:
            break
    assert stopped == 8


def test_ctrl_c_in_a_terminal(usual_signals, made, tmp_path):
    folder, _ = made
    output = tmp_path / "out"
    command = [sys.executable, "-m", "ccdprofiles", *map(str, reduce_command(folder, output))]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        while not (output / "masters").exists() and run.poll() is None:
            time.sleep(0.001)
        os.killpg(run.pid, signal.SIGINT)
        asked = time.monotonic()
        _, said = run.communicate()
    assert time.monotonic() - asked < 5
    assert (run.returncode, said.count("Traceback")) in ((130, 0), (0, 0))
    assert_whole(output)


def test_what_a_killed_run_left_is_removed(made, tmp_path):
    folder, _ = made
    output = tmp_path / "out"
    shutil.copytree(folder / "out", output)
    (output / "science" / "sub").mkdir()
    left = [
        output / "masters" / ".cg16m_bias_1x1.fits.4711-7f00.tmp",
        output / "science" / "sub" / ".a_cal.fits.4711-7f01.tmp",
        output / "report" / ".index.html.4711.tmp",
        output / ".night.ecsv.4711.tmp",
    ]
    for path in left:
        path.write_bytes(b"SIMPLE  =")
    (output / ".ccdprofiles.holder").write_text("process 4711 on dome since yesterday\n")
    reduce_night(folder / "raw", output, profile=folder / "cam.py")
    assert leftovers(output) == []
    assert tree(output) == tree(folder / "out")


# Two runs.


def test_a_second_run_is_told_at_once_who_holds_the_output(made, nursery, tmp_path):
    folder, _ = made
    output = tmp_path / "out"
    first = Child(nursery, reduce_command(folder, output), tmp_path / "first")
    while written(output) == 0:
        assert time.monotonic() < first.began + 20
    first.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(SystemExit) as ended:
            sys.exit(cli.main([str(c) for c in reduce_command(folder, output)]))
        assert ended.value.code == 4
        assert time.monotonic() - began < 5
        who = (output / ".ccdprofiles.holder").read_text()
        assert who.startswith(f"process {first.pid} on ")
    finally:
        first.signal(signal.SIGCONT)
    assert first.wait() == 0
    assert tree(output) == tree(folder / "out")


def test_the_lock_of_a_killed_run_is_free(made, nursery, tmp_path, capsys):
    folder, _ = made
    output = tmp_path / "out"
    first = Child(nursery, reduce_command(folder, output), tmp_path / "first")
    while written(output) == 0:
        assert time.monotonic() < first.began + 20
    first.signal(signal.SIGSTOP)
    command = [str(c) for c in reduce_command(folder, output)]
    assert cli.main(command) == 4
    assert f"(process {first.pid} on " in capsys.readouterr().err
    first.signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert cli.main(command) == 0
    assert tree(output) == tree(folder / "out")


# Disks.


@contextlib.contextmanager
def disk(where, octets):
    """A disk of a few bytes, where this may be made."""
    where.mkdir()
    if not mounted("-t", "tmpfs", "-o", f"size={octets}", "tmpfs", where):
        pytest.skip("no disk can be mounted here")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", where], check=True)


def mounted(*words):
    try:
        done = subprocess.run(["mount", *map(str, words)], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


@pytest.mark.parametrize("part", [0.02, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.97])
def test_a_disk_that_fills_up_ends_a_run_that_goes_on_later(made, nursery, tmp_path, part):
    folder, _ = made
    size = sum(p.stat().st_size for p in (folder / "out").rglob("*") if p.is_file())
    with disk(tmp_path / "disk", int(size * part)) as small:
        output = small / "out"
        # Its room is not counted here, as another may take it while a run goes on.
        command = reduce_command(folder, output)
        child = Child(nursery, command, tmp_path / "said", roomy=True)
        said = lambda: child.said.read_text()  # noqa: E731
        assert child.wait() == 5, said()
        assert "(No space left on device)" in said()
        assert "Traceback" not in said()
        assert_whole(output)
        assert leftovers(output) == []
        # Nor does it help to try again, and nothing is lost by it.
        before = {n: s for n, s in tree(output).items() if n.endswith(".fits")}
        child = Child(nursery, command, tmp_path / "said", roomy=True)
        assert child.wait() == 5
        assert before.items() <= tree(output).items()
        assert mounted("-o", f"remount,size={3 * size}", small)
        child = Child(nursery, command, tmp_path / "said")
        assert child.wait() == 0, said()
        assert tree(output) == tree(folder / "out")
        # To make it anew on a disk that is full loses none of what was there.
        taken = small / "taken"
        with contextlib.suppress(OSError), open(taken, "wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        child = Child(nursery, [*command, "--overwrite"], tmp_path / "said", roomy=True)
        assert child.wait() == 5, said()
        assert_whole(output)
        assert tree(output) == tree(folder / "out")


def test_a_disk_without_room_is_refused_before_work_begins(made, nursery, tmp_path):
    folder, _ = made
    size = sum(p.stat().st_size for p in (folder / "out").rglob("*") if p.is_file())
    with disk(tmp_path / "disk", size // 2) as small:
        child = Child(nursery, reduce_command(folder, small / "out"), tmp_path / "said")
        assert child.wait() == 5
        told = child.said.read_text()
        assert "the products need " in told
        assert f"but the disk of {small / 'out'} has only " in told
        assert not (small / "out").exists()


Usage = namedtuple("Usage", "total used free")


def test_room_is_counted_for_what_is_still_to_be_made(made, tmp_path, monkeypatch):
    folder, _ = made
    options = {"profile": folder / "cam.py"}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 1_234_567))
    with pytest.raises(OutputError) as error:
        reduce_night(folder / "raw", tmp_path / "out", **options)
    assert str(error.value) == (
        f"the products need 1.82 MB, but the disk of {tmp_path / 'out'} has only 1.23 MB free; free some space, or use a folder on another disk."
    )
    assert not (tmp_path / "out").exists()
    # What is there already needs none, so that a night that is whole is whole on a full disk.
    shutil.copytree(folder / "out", tmp_path / "out")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 0))
    assert len(reduce_night(folder / "raw", tmp_path / "out", **options).kept) == 16
    before = tree(tmp_path / "out", log=True)
    with pytest.raises(
        OutputError, match=r"the products need 114 kB, but .* has only 0 bytes free"
    ):
        reduce_night(folder / "raw", tmp_path / "out", overwrite=True, **options)
    assert tree(tmp_path / "out", log=True) == before


class FullAt:
    """Stands for a call to the system that finds the disk full the nth time, and from then on."""

    def __init__(self, monkeypatch, name, number):
        self.number, self.calls = number, 0
        self._call = getattr(os, name)
        monkeypatch.setattr(os, name, self)

    def __call__(self, *args, **options):
        self.calls += 1
        if self.calls >= self.number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._call(*args, **options)


@pytest.mark.parametrize("name", ["pwrite", "fsync", "replace", "ftruncate"])
def test_a_full_disk_at_any_call_to_the_system_loses_nothing(made, tmp_path, monkeypatch, name):
    folder, _ = made

    def run(output, **options):
        return reduce_night(folder / "raw", output, profile=folder / "cam.py", jobs=1, **options)

    with monkeypatch.context() as patched:
        counted = FullAt(patched, name, 10**9)
        run(tmp_path / "undisturbed")
    last = counted.calls
    assert last >= 16
    for number in sorted({1, 2, 3, last // 4, last // 2, 3 * last // 4, last - 2, last - 1, last}):
        output = tmp_path / str(number)
        with monkeypatch.context() as patched:
            FullAt(patched, name, number)
            with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"):
                run(output)
        assert_whole(output)
        assert leftovers(output) == []
        run(output)
        assert tree(output) == tree(tmp_path / "undisturbed")
        # What is there stays whole and the same while it is made anew.
        with monkeypatch.context() as patched:
            FullAt(patched, name, number)
            with contextlib.suppress(OutputError):
                run(output, overwrite=True)
        assert tree(output) == tree(tmp_path / "undisturbed")


def test_a_product_is_on_the_disk_before_it_gets_its_name(made, tmp_path, monkeypatch):
    """And then its name is, so that a power cut leaves the one or the other."""
    folder, _ = made
    done = []

    def told(name, call):
        def recorded(first, *more):
            place = os.readlink(f"/proc/self/fd/{first}") if isinstance(first, int) else first
            done.append((name, str(place), *map(str, more)))
            return call(first, *more)

        return recorded

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, told(name, getattr(os, name)))
    night = reduce_night(folder / "raw", tmp_path / "out", profile=folder / "cam.py")
    named = [c for c in done if c[0] == "replace"]
    tables = [night.output / n for n in ("night.ecsv", "plan.json", "report/index.html")]
    assert {Path(c[2]) for c in named} == {
        *night.masters.values(),
        *night.products.values(),
        *tables,
    }
    for call in named:
        _, temporary, name = call
        assert Path(temporary).parent == Path(name).parent
        assert Path(temporary).name.startswith(".")
        when = done.index(call)
        assert ("fsync", temporary) in done[:when]
        assert ("fsync", str(Path(name).parent)) in done[when:]


def test_files_that_may_not_grow_end_a_run(made, nursery, tmp_path):
    folder, _ = made
    output = tmp_path / "out"
    child = Child(
        nursery,
        reduce_command(folder, output),
        tmp_path / "said",
        limits={"RLIMIT_FSIZE": [30000] * 2},
    )
    assert child.wait() == 5, child.said.read_text()
    assert "cannot be written (File too large)" in child.said.read_text()
    assert assert_whole(output) == 0
    assert leftovers(output) == []


def test_a_log_that_cannot_be_written_is_told_and_the_products_stay(
    made, tmp_path, monkeypatch, capsys
):
    folder, _ = made
    output = tmp_path / "out"
    full = "ccdprofiles.output.log.open_to_append"
    monkeypatch.setattr(full, lambda path: os.open("/dev/full", os.O_WRONLY))
    assert cli.main([str(c) for c in reduce_command(folder, output)]) == 5
    told = capsys.readouterr().err
    assert f"{output / 'ccdprofiles.log'} cannot be written (No space left on device)" in told
    assert "Traceback" not in told
    assert assert_whole(output) == 16
    monkeypatch.undo()
    assert cli.main([str(c) for c in reduce_command(folder, output)]) == 0


# Where the output lies.


def state(folder):
    return {
        p: (p.lstat().st_mtime_ns, p.lstat().st_ino, p.is_file() and p.read_bytes())
        for p in sorted(folder.rglob("*"))
    }


@pytest.fixture
def night(made, tmp_path):
    """A copy of the night alone, which must be the same in the end."""
    shutil.copytree(made[0] / "raw", tmp_path / "raw")
    shutil.copy(made[0] / "cam.py", tmp_path)
    before = state(tmp_path / "raw")
    yield tmp_path
    now = state(tmp_path / "raw")
    assert {p: now[p] for p in before} == before


def reduce(night, output, **options):
    return reduce_night(night / "raw", output, profile=night / "cam.py", **options)


@pytest.mark.parametrize("where", [".", "above", "inside"])
def test_a_mount_of_the_night_is_the_night(night, where):
    other = night / "mount"
    other.mkdir()
    (night / "top").mkdir()
    (night / "raw").rename(night / "top" / "raw")
    source = night / "top" if where == "above" else night / "top" / "raw"
    if not mounted("--bind", source, other):
        (night / "top" / "raw").rename(night / "raw")
        pytest.skip("nothing can be mounted here")
    try:
        options = {"profile": night / "cam.py"}
        if where == "inside":
            for _ in range(2):
                done = reduce_night(night / "top" / "raw", other / "reduced", **options)
                assert done.ok
                assert len(done.frames) == 25
            assert len(done.kept) == 16
        else:
            with pytest.raises(InputError, match="is, or contains, the folder of the night"):
                reduce_night(night / "top" / "raw", other, **options)
    finally:
        subprocess.run(["umount", other], check=True)
        (night / "top" / "raw").rename(night / "raw")


def test_a_disk_that_is_read_only_is_refused(night):
    other = night / "mount"
    other.mkdir()
    if not mounted("-t", "tmpfs", "-o", "ro", "tmpfs", other):
        pytest.skip("nothing can be mounted here")
    try:
        for output in (other, other / "out"):
            with pytest.raises(OutputError, match=r"cannot be (written|made)"):
                reduce(night, output)
    finally:
        subprocess.run(["umount", other], check=True)


def test_a_night_on_a_disk_that_is_read_only_is_reduced(night, made):
    other = night / "mount"
    other.mkdir()
    if not (mounted("--bind", night / "raw", other) and mounted("-o", "remount,bind,ro", other)):
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(OSError, match="Read-only"):
            (other / "a").touch()
        done = reduce_night(other, night / "out", profile=night / "cam.py")
        assert done.ok
        science = tree(night / "out" / "science")
        assert science == tree(made[0] / "out" / "science")
    finally:
        subprocess.run(["umount", other], check=True)


@pytest.mark.parametrize("name", ["science", "masters", "report"])
@pytest.mark.parametrize("target", ["raw", "raw/sub"])
def test_an_output_that_leads_into_the_night_by_a_link_is_refused(night, name, target):
    (night / "raw" / "sub").mkdir()
    (night / "out").mkdir()
    (night / "out" / name).symlink_to(night / target)
    with pytest.raises(InputError, match=r"is a link to .*, a folder of raw frames"):
        reduce(night, night / "out")
    assert list((night / "raw" / "sub").iterdir()) == []


@pytest.mark.parametrize("name", ["science", "masters", "report"])
def test_nor_is_the_night_touched_where_a_run_has_had_the_output(night, name):
    (night / "out").mkdir()
    (night / "out" / ".ccdprofiles.lock").touch()
    (night / "out" / name).symlink_to(night / "raw")
    before = (night / "raw").stat().st_mtime_ns
    with pytest.raises(InputError, match=r"is a link to .*, a folder of raw frames"):
        reduce(night, night / "out")
    assert (night / "raw").stat().st_mtime_ns == before


@pytest.mark.parametrize("name", [".ccdprofiles.holder", "science/.probe.tmp"])
@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_what_the_lock_writes_goes_through_no_link(night, name, link):
    (night / "out" / "science").mkdir(parents=True)
    (night / "out" / ".ccdprofiles.lock").touch()
    frame = sorted((night / "raw").iterdir())[0]
    before = frame.read_bytes()
    getattr(night / "out" / name, link)(frame)
    with contextlib.suppress(InputError):
        reduce(night, night / "out")
    assert frame.read_bytes() == before


def test_a_link_in_the_output_to_a_disk_elsewhere_is_followed(night):
    (night / "large").mkdir()
    (night / "out").mkdir()
    (night / "out" / "science").symlink_to(night / "large")
    assert reduce(night, night / "out").ok
    assert len(list((night / "large").glob("*_cal.fits"))) == 12


@pytest.mark.parametrize("name", ["ccdprofiles.log", ".ccdprofiles.lock", ".ccdprofiles.holder"])
@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_raw_frame_under_the_name_of_our_log_or_lock_is_not_written(night, name, link):
    (night / "out").mkdir()
    frame = sorted((night / "raw").iterdir())[0]
    getattr(night / "out" / name, link)(frame)
    with pytest.raises(InputError, match=f"is a link to {frame.name}, which is never written"):
        reduce(night, night / "out")


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_product_that_is_a_link_to_a_raw_frame_leaves_the_frame_alone(night, link):
    product = plan_night(night / "raw", profile=night / "cam.py").products[0]
    path = night / "out" / product.name
    path.parent.mkdir(parents=True)
    getattr(path, link)(night / "raw" / product.input.file)
    with pytest.raises(OutputError, match="is not a product of ccdprofiles"):
        reduce(night, night / "out")
    assert reduce(night, night / "out", overwrite=True).ok
    assert not path.is_symlink()
    assert_whole(night / "out")


@pytest.mark.parametrize("place", ["", "masters", "science", "report"])
def test_an_output_that_refuses_a_file_is_told_before_work_begins(night, monkeypatch, place):
    (night / "out" / place).mkdir(parents=True)
    write = write_new

    def refused(path, text):
        if path.parent == night / "out" / place:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return write(path, text)

    monkeypatch.setattr("ccdprofiles.output.lock.write_new", refused)
    monkeypatch.setattr("ccdprofiles.run.run.run_plan", None)
    with pytest.raises(
        OutputError, match=r"cannot be written \(Read-only file system\); free some space"
    ):
        reduce(night, night / "out")
    monkeypatch.undo()
    assert leftovers(night / "out") == []


def test_a_folder_without_leave_to_write_is_refused_before_a_header_is_read(night, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != night)
    monkeypatch.setattr("ccdprofiles.plan.request.scan", None)
    with pytest.raises(OutputError, match=f"cannot be written, as {night} is read-only"):
        reduce(night, night / "out" / "deep")
    assert not (night / "out").exists()


def test_a_disk_without_locks_is_told(night, monkeypatch):
    def none(self, **options):
        raise NotImplementedError("no flock")

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    with pytest.raises(OutputError, match="does not support file locks"):
        reduce(night, night / "out")


# Surroundings.


@pytest.mark.parametrize("files", [40, 64])
def test_few_files_may_be_open_at_once(nursery, tmp_path, files):
    small = windowed("cg16m", 16, 24)
    frames = [
        Exposures("bias", 150),
        Exposures("dark", 3, 90.0),
        Exposures("flat", 3, 1.0, filter="r"),
        Exposures("science", 100, 90.0, filter="r", object="m31"),
    ]
    simulate_night(small, tmp_path / "raw", frames=frames)
    (tmp_path / "cam.py").write_text(CAMERA.replace("64", "16").replace("80", "24"))
    limits = {"RLIMIT_NOFILE": [files, files]}
    command = reduce_command(tmp_path, tmp_path / "out")
    child = Child(nursery, command, tmp_path / "said", limits=limits)
    assert child.wait() == 0, child.said.read_text()
    child = Child(nursery, reduce_command(tmp_path, tmp_path / "free"), tmp_path / "said")
    assert child.wait() == 0
    assert tree(tmp_path / "out") == tree(tmp_path / "free")
    child = Child(nursery, ["verify", tmp_path / "out"], tmp_path / "said", limits=limits)
    assert child.wait() == 0


def test_packed_frames_that_no_system_of_few_files_can_open_are_refused(nursery, tmp_path):
    """Each is unpacked into a file of its own, and all of a master are open at once."""
    small = windowed("cg16m", 16, 24)
    frames = [Exposures("bias", 50), Exposures("science", 1, 90.0, filter="r", object="m31")]
    simulate_night(small, tmp_path / "raw", frames=frames)
    (tmp_path / "cam.py").write_text(CAMERA.replace("64", "16").replace("80", "24"))
    for path in (tmp_path / "raw").iterdir():
        path.write_bytes(gzip.compress(path.read_bytes()))
    command = reduce_command(tmp_path, tmp_path / "out", "--without", "dark", "--without", "flat")
    child = Child(nursery, command, tmp_path / "said", limits={"RLIMIT_NOFILE": [64, 64]})
    assert child.wait() == 2
    assert child.said.read_text() == (
        "ccdprofiles: masters/cam_bias_1x1.fits is made of 50 compressed frames, all of which are "
        "open at the same time, but this system allows fewer open files; raise its limit "
        "(ulimit -n), or decompress them.\n"
    )
    assert not (tmp_path / "out").exists()
    # A limit that may be raised is raised.
    child = Child(nursery, command, tmp_path / "said", limits={"RLIMIT_NOFILE": [64, 256]})
    assert child.wait() == 0, child.said.read_text()


ALONE = """
import os, socket, sys
def refused(self, address, connect=socket.socket.connect):
    if self.family != socket.AF_UNIX:
        os._exit(99)
    return connect(self, address)
socket.socket.connect = refused
from ccdprofiles.cli.command import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("zone", "language", "seed"), [("Pacific/Kiritimati", "C", "0"), ("America/Lima", "POSIX", "7")]
)
def test_home_clock_language_hashes_and_network_do_not_matter(made, tmp_path, zone, language, seed):
    folder, _ = made
    shutil.copytree(folder / "raw", tmp_path / "raw")
    shutil.copy(folder / "cam.py", tmp_path)
    for path in (*(tmp_path / "raw").rglob("*"), tmp_path / "raw"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = tree(tmp_path / "raw")
    home = tmp_path / "home"
    home.write_text("no folder, so nothing can be written in it")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "LC_", "LANG"))}
    env |= {"HOME": str(home), "TZ": zone, "LC_ALL": language, "PYTHONHASHSEED": seed}
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", ALONE]
            + [str(c) for c in reduce_command(tmp_path, tmp_path / "out")],
            capture_output=True,
            text=True,
            env=env,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert tree(tmp_path / "out") == tree(folder / "out")
        assert tree(tmp_path / "raw") == before
    finally:
        (tmp_path / "raw").chmod(0o755)


def test_warnings_of_many_frames_do_not_flood_the_terminal(made, nursery, tmp_path):
    """Cards of the sky that make astropy warn at every frame, and one that is broken."""
    folder, _ = made
    shutil.copytree(folder / "raw", tmp_path / "raw")
    shutil.copy(folder / "cam.py", tmp_path)
    for path in (tmp_path / "raw").iterdir():
        with fits.open(path, memmap=False) as hdus:
            data, header = hdus[0].data, hdus[0].header.copy()
        header["RADECSYS"] = "FK5"
        header["EPOCH"] = 2000.0
        header["CTYPE1"], header["CTYPE2"] = "RA---TPV", "DEC--XYZ"
        header["DATE-OBS"] = "31/12/99"
        header["ODD"] = 1.0
        path.unlink()
        fits.PrimaryHDU(data, header).writeto(path)
        octets = path.read_bytes()
        card, broken = (b"ODD     = " + v.rjust(20) for v in (b"1.0", b"1.0.0 nan"))
        assert card in octets
        path.write_bytes(octets.replace(card, broken))
    child = Child(nursery, reduce_command(tmp_path, tmp_path / "out"), tmp_path / "said")
    status = child.wait()
    told = child.said.read_text()
    assert status == 0, told
    assert len(told.splitlines()) < 30, told
    assert "Warning" not in told


# The source.

SOURCES = sorted(Path(ccdprofiles.__file__).parent.rglob("*.py"))


def test_no_file_is_mapped_and_none_is_opened_for_update():
    assert len(SOURCES) > 20
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {a.name for a in node.names} | {getattr(node, "module", None)}
                assert not names & {"mmap", "memmap", "pickle", "shelve"}, source.name
            if isinstance(node, ast.Attribute):
                assert node.attr not in {"memmap", "open_memmap", "mmap"}, source.name
            if isinstance(node, ast.keyword) and node.arg in ("memmap", "use_memmap"):
                assert ast.unparse(node.value) == "False", source.name
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("fits.open"):
                told = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert "mode" not in told, source.name
                assert len(node.args) == 1, source.name
            if isinstance(node, ast.Constant) and node.value == "update":
                pytest.fail(f"{source.name} says 'update' in line {node.lineno}")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells what is mapped")
def test_no_raw_frame_is_mapped_while_it_is_read(made, tmp_path):
    folder, _ = made
    reduce_night(folder / "raw", tmp_path / "out", profile=folder / "cam.py")
    assert str(folder) not in Path("/proc/self/maps").read_text()
