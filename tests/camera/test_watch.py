"""Whatever the code of a profile does, it ends as that profile's error; interrupts pass."""

import signal
import sys
import threading
import time
import warnings

import pytest

from ccdprofiles.camera import watch
from ccdprofiles.camera.watch import Failure, call, watched


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Stop what is late after a twentieth of a second."""
    monkeypatch.setattr(watch, "LIMIT", 0.05)
    monkeypatch.setattr(watch, "TICK", 0.01)


@pytest.fixture
def on_signal():
    """Install signal handlers, and put back what was there."""
    before = {}

    def install(number, handler):
        before.setdefault(number, signal.signal(number, handler))

    yield install
    for number, handler in before.items():
        signal.signal(number, handler)


def refused(function, *arguments):
    with pytest.raises(Failure) as refusal:
        call(function, *arguments)
    return refusal.value


def loops(header):
    while True:
        pass


def sleeps(header):
    time.sleep(60)


def recurses(header):
    return recurses(header)


class Odd(BaseException):
    pass


@pytest.mark.parametrize("raised", [SystemExit(0), KeyboardInterrupt(), GeneratorExit(), Odd("x")])
def test_what_is_no_ordinary_exception_is_a_failure(raised):
    def gain(header):
        raise raised

    failure = refused(gain, {})
    line = gain.__code__.co_firstlineno + 1
    assert failure.reason == watch.reason(raised)
    assert failure.place == f"; gain in test_watch.py, line {line}"
    assert failure.__cause__ is raised
    assert not failure.late


def test_to_leave_the_program_is_a_failure():
    assert refused(lambda header: sys.exit(), {}).reason == "SystemExit"
    assert refused(sys.exit).place == ""


def test_recursion_without_end_and_too_little_memory_are_failures():
    assert refused(recurses, {}).reason.startswith("RecursionError: maximum recursion depth")
    assert refused(bytearray, sys.maxsize).reason.startswith("MemoryError")


def test_an_ordinary_exception_passes_and_so_does_a_value():
    with pytest.raises(KeyError, match="GAIN"):
        call(lambda header: header["GAIN"], {})
    with pytest.raises(UserWarning):
        call(warnings.warn, "odd")  # pytest makes errors of warnings
    assert call(dict.get, {"GAIN": 2}, "GAIN") == 2


# An interrupt of the user is none of the profile.


def interrupted(header):
    signal.raise_signal(signal.SIGINT)


def hides_it(header):
    try:
        interrupted(header)
    except BaseException:
        raise ValueError("a profile that catches all") from None


def leaves_upon_it(header):
    try:
        interrupted(header)
    except BaseException:
        sys.exit(1)


@pytest.mark.parametrize("function", [interrupted, hides_it, leaves_upon_it])
def test_an_interrupt_passes(function, on_signal):
    on_signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        call(function, {})


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, Odd])
def test_what_a_signal_handler_raises_passes(kind, on_signal):
    def end(number, frame):
        raise kind

    on_signal(signal.SIGTERM, end)
    with pytest.raises(kind):
        call(lambda header: signal.raise_signal(signal.SIGTERM), {})


# Time.


@pytest.mark.parametrize("function", [loops, sleeps])
def test_what_takes_too_long_is_stopped(function):
    failure = refused(function, {})
    assert failure.late
    assert failure.reason == "it took longer than 0.05 s"
    assert failure.place.startswith(f"; {function.__name__} in test_watch.py, line ")


def test_a_function_that_catches_exceptions_is_stopped():
    def stubborn(header):
        while True:
            try:
                loops(header)
            except Exception:
                continue

    assert refused(stubborn, {}).late


def test_a_function_that_makes_another_exception_of_it_is_late_too():
    def changes_it(header):
        try:
            loops(header)
        except BaseException as error:
            raise ValueError("no number") from error

    assert refused(changes_it, {}).late


def test_what_takes_too_long_is_stopped_in_a_thread():
    failures = []
    thread = threading.Thread(target=lambda: failures.append(refused(loops, {})), daemon=True)
    thread.start()
    thread.join(30)
    assert [f.late for f in failures] == [True]
    assert "watch" not in {t.name for t in threading.enumerate()}


def test_an_alarm_of_the_program_stays_its_own(on_signal):
    rung = []
    on_signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    assert refused(loops, {}).late
    assert rung == [signal.SIGALRM]


def test_a_timer_that_would_end_the_program_is_left_to_run():
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        assert refused(loops, {}).late
        assert 50 < signal.getitimer(signal.ITIMER_REAL)[0] < 60
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def test_nothing_is_left_behind():
    with watched():
        assert signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL
        call(len, ())
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_many_calls_that_are_quick_are_not_late_together():
    with watched():
        end = time.monotonic() + 0.15
        while time.monotonic() < end:
            call(time.sleep, 0.002)
        time.sleep(0.1)  # our own work between two calls
        call(len, ())


def test_a_call_inside_another_has_the_time_of_the_outer():
    def outer(header):
        while True:
            call(time.sleep, 0.001)

    assert refused(outer, {}).late
    assert refused(time.sleep, 60).late


def test_a_module_that_is_imported_has_more_time(tmp_path, monkeypatch):
    (tmp_path / "slow_module_of_a_test.py").write_text("import time\ntime.sleep(0.15)\n")
    monkeypatch.syspath_prepend(tmp_path)
    call(lambda: __import__("slow_module_of_a_test"))
    sys.modules.pop("slow_module_of_a_test")
    monkeypatch.setattr(watch, "IMPORTING", 0.05)
    assert refused(lambda: __import__("slow_module_of_a_test")).late


def test_an_exception_that_cannot_be_described_is_named():
    class Shy(Exception):
        def __str__(self):
            raise ValueError("of itself")

    assert watch.reason(Shy()) == "Shy"
