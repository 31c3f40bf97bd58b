"""How a command ends: signals, crashes, too little memory."""

import contextlib
import logging
import os
import resource
import signal
import subprocess
import sys
import threading

import pytest

from ccdprofiles import night, reduce_night
from ccdprofiles.cli import command as cli
from ccdprofiles.cli.ends import crashed
from ccdprofiles.simulate import Exposures, simulate_night, windowed

FRAMES = [Exposures("bias", 3)]
CAMERA = """
from ccdprofiles import load_profile
from ccdprofiles.simulate import windowed
profile = windowed(load_profile("cg16m"), rows=16, columns=24)
"""


@pytest.fixture
def command(tmp_path):
    """A command that reduces a tiny night; only its end is looked at."""
    simulate_night(windowed("cg16m", 16, 24), tmp_path / "raw", frames=FRAMES)
    (tmp_path / "cam.py").write_text(CAMERA)
    folders = [tmp_path / "raw", "-o", tmp_path / "out", "--profile", tmp_path / "cam.py"]
    return [str(word) for word in ("reduce", *folders, "-j", "1", "-q")]


def raiser(error):
    def fail(*_, **__):
        raise error

    return fail


# Crashes.


@pytest.mark.parametrize("where", ["plan.request.scan", "plan.request.make_plan", "night.stale"])
def test_a_crash_ends_with_70_and_is_reported(command, tmp_path, monkeypatch, capsys, where):
    monkeypatch.setattr(f"ccdprofiles.{where}", raiser(KeyError("odd")))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.main(command) == 70
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "KeyError: 'odd'" in said
    assert "Traceback" not in said
    log = tmp_path / "out" / "ccdprofiles.log"
    if where != "night.stale":  # the output is not there yet
        (log,) = tmp_path.glob("ccdprofiles-*.log")
    assert f"Please send the log {log} to the developers" in said
    text = log.read_text()
    assert "Traceback" in text
    for word in ("CRASH ccdprofiles", "python 3", "numpy", "astropy", "ccdproc", "test_ends.py"):
        assert word in text


def test_a_crash_names_the_file_that_was_worked_on(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ccdprofiles.run.jobs.measure", raiser(ZeroDivisionError("odd")))
    assert cli.main(command) == 70
    assert "while working on" in capsys.readouterr().err
    assert "while working on" in (tmp_path / "out" / "ccdprofiles.log").read_text()
    assert not list((tmp_path / "out").rglob(".*.tmp"))


def test_a_crash_writes_through_no_link(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".ccdprofiles.lock").touch()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "out" / "ccdprofiles.log").symlink_to(tmp_path / "mine")
    assert str(tmp_path / "ccdprofiles-") in crashed(ValueError("odd"), tmp_path / "out")
    assert (tmp_path / "mine").read_text() == "mine"


# Standard output and standard error that refuse what is written.


@pytest.fixture
def broken_pipe():
    """A pipe whose reader has gone, as with ``| true``."""
    reader, writer = os.pipe()
    os.close(reader)
    with contextlib.suppress(OSError), open(writer, "w") as stream:
        yield stream


WORDS = [["profiles"], ["profiles", "lfc"], ["--version"], ["--help"], ["plan", "night"]]


def ended(words):
    try:
        return cli.main(words)
    except SystemExit as asked:
        return asked.code


@pytest.mark.parametrize("buffering", [-1, 1], ids=["late", "at once"])
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_results_that_find_no_room_end_with_5(words, buffering, tmp_path, monkeypatch, capsys):
    """With a sentence, and not as a fault of the program; "late" is what was left in a buffer."""
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "a.fits").touch()
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(OSError), open("/dev/full", "w", buffering) as full:
        monkeypatch.setattr(sys, "stdout", full)
        status = ended(words)
    assert status == 5
    assert sys.stdout is None  # so that Python does not flush it once more
    assert capsys.readouterr().err == (
        "ccdprofiles: standard output cannot be written (No space left on device); free some space, or redirect it to another file; finished products are kept.\n"
    )


@pytest.mark.parametrize("words", WORDS[:4], ids=" ".join)
def test_a_reader_that_has_seen_enough_ends_a_command_in_peace(
    words, broken_pipe, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "stdout", broken_pipe)
    assert ended(words) == 0
    assert sys.stdout is None
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [["plan", "nosuch"], ["verify", "nosuch"]], ids=" ".join)
def test_a_refusal_that_cannot_be_written_keeps_its_status(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    full = open("/dev/full", "w", 1)  # noqa: SIM115 - closing it raises
    monkeypatch.setattr(sys, "stderr", full)
    try:
        assert cli.main(words) == 2
    finally:
        with contextlib.suppress(OSError):
            full.close()


def test_letters_that_the_terminal_does_not_have_are_shown_by_their_numbers(tmp_path, monkeypatch):
    (tmp_path / "n\u00e4cht").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ccdprofiles", "info", "n\u00e4cht"])
    with open(tmp_path / "shown", "w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.main() == 3
    assert (
        tmp_path / "shown"
    ).read_text() == "n\\xe4cht contains no file; specify the folder of the night.\n"


# Signals.

PLACES = [
    "plan.request.scan",
    "plan.request.make_plan",
    "run.run.run_plan",
    "report.report.Report.write",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_command(
    command, tmp_path, monkeypatch, capsys, usual_signals, name, place
):
    number = getattr(signal, name)

    def signalled(*_, **__):
        os.kill(os.getpid(), number)
        raise AssertionError("the signal was lost")

    monkeypatch.setattr(f"ccdprofiles.{place}", signalled)
    monkeypatch.setattr("ccdprofiles.cli.ends._PATIENCE", 1.0)
    before = signal.getsignal(number)
    assert cli.main(command) == 128 + number
    assert signal.getsignal(number) is before
    said = capsys.readouterr().err
    assert said.endswith("finished products are kept; run it again to continue.\n")
    assert {p.name for p in (tmp_path / "out").rglob(".*")} <= {".ccdprofiles.lock"}
    monkeypatch.undo()
    assert cli.main(command) == 0


def test_a_signal_that_is_ignored_stays_ignored(command, monkeypatch, usual_signals):
    """As under nohup."""

    def signalled(*_, **__):
        os.kill(os.getpid(), signal.SIGHUP)
        return []

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr(night, "stale", signalled)
    assert cli.main(command) == 0


def test_the_library_leaves_signals_alone(command, tmp_path, monkeypatch, usual_signals):
    seen = []

    def look(*_, **__):
        seen.append([signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)])
        return []

    monkeypatch.setattr(night, "stale", look)
    reduce_night(tmp_path / "raw", tmp_path / "out", profile=tmp_path / "cam.py", jobs=1)
    assert seen == [[signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL]]


STUCK = """
import os, signal, sys, threading, time
from ccdprofiles.plan import request
from ccdprofiles.cli import command as cli, ends
ends._PATIENCE = 0.3
def stuck(*_, **__):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(20)
def never(*_, **__):
    try:
        stuck()
    except BaseException:
        time.sleep(20)
request.scan = never
sys.exit(cli.main(sys.argv[1:]))
"""


def test_work_that_cannot_be_interrupted_is_ended(command, usual_signals):
    told = subprocess.run(
        [sys.executable, "-c", STUCK, *command], capture_output=True, text=True, timeout=15
    )
    assert (told.returncode, told.stderr.count("ended by SIGTERM")) == (143, 1)


# Memory.


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        ImportError("libscipy.so: failed to map segment from shared object"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_memory_that_runs_out_ends_with_5(command, monkeypatch, capsys, error):
    monkeypatch.setattr("ccdprofiles.plan.request.make_plan", raiser(error))
    assert cli.main(command) == 5
    said = capsys.readouterr().err
    assert said.startswith("ccdprofiles: not enough memory or threads; allow more (ulimit -v")
    assert said.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is kept by Linux")
@pytest.mark.parametrize("mebi", [60, 300])
def test_a_small_address_space_is_refused_at_once(command, mebi):
    """OpenBLAS ended the process or waited for ever."""
    told = subprocess.run(
        [sys.executable, "-m", "ccdprofiles", *command],
        capture_output=True,
        text=True,
        timeout=20,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (mebi * 2**20,) * 2),
    )
    assert told.returncode == 5
    assert told.stderr == (
        f"ccdprofiles: this process may use {mebi} MiB of address space, but needs 384 MiB or more; raise the limit (ulimit -v, ulimit -d).\n"
    )


def test_threads_of_tests_are_gone():
    assert not [t for t in threading.enumerate() if t.name.startswith(("job", "band", "writer"))]


def test_an_error_that_is_its_own_cause_ends_the_command(tmp_path):
    """Python prints such a chain once; following it must end too."""
    path = tmp_path / "cam.py"
    path.write_text(
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise error from error\n"
    )
    (tmp_path / "raw").mkdir()
    # Of a process of its own, as nothing else could end one that does not return.
    code = "import sys; from ccdprofiles.cli.command import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "plan", str(tmp_path / "raw"), "--profile", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "ZeroDivisionError" in done.stderr


def test_a_command_leaves_no_log_handler_behind(capsys):
    """A later message went to the standard error of then, which a program may have closed."""
    logger = logging.getLogger("ccdprofiles")
    before = list(logger.handlers)
    assert cli.main(["profiles"]) == 0
    assert logger.handlers == before


def test_an_interrupt_while_a_class_is_made_is_an_interrupt(command, monkeypatch):
    """Python 3.11 makes a RuntimeError of it, as from an import that Ctrl-C met."""
    wrapped = RuntimeError("Error calling __set_name__")
    wrapped.__cause__ = KeyboardInterrupt()
    monkeypatch.setattr("ccdprofiles.plan.request.make_plan", raiser(wrapped))
    assert cli.main(command) == 130
