"""Run the code of a profile so that any failure of it is reported as a fault of that profile.

The file of a profile and its functions are the user's code, which may call
`sys.exit`, recurse without end or loop for ever. `call` runs it: anything but an ordinary
exception becomes a `Failure` with the function, its file and the line, and code that runs
longer than `LIMIT` is stopped. Interrupts of the user pass through.

In the main thread a timer stops such code, also while it sleeps or waits for input. In
other threads, and if the program uses SIGALRM itself, a thread stops it as soon as it
is back in Python. A call into C that never returns, code that catches `BaseException` and
continues, and `os._exit` cannot be stopped from inside the process.
"""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from opcode import opmap
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

from ..errors import ProfileError, chain_of

__all__ = ["LIMIT", "Failure", "TooLong", "call", "place", "reason", "watched"]

_HOUSE = Path(__file__).parents[1]
_IMPORT = ("importlib", "importlib_metadata")
"""Folders of Python's import; the second, if it is installed, replaces a part of the first."""

LIMIT = 5.0
"""Seconds that a profile's file, or one of its functions on one header, may take."""

IMPORTING = 60.0
"""Seconds while it imports other modules, which a slow disk delays."""

TICK = 0.25
"""Seconds between two checks; time in which the process was stopped does not count."""


class Failure(ProfileError):
    """The code of a profile ended in a way that a function of a header should not.

    Parameters
    ----------
    reason : str
        The exception that it raised, or that it took too long.
    place : str
        The function, its file and the line.
    late : bool
        True if it was stopped because it took too long.
    """

    def __init__(self, reason: str, place: str, late: bool = False):
        super().__init__(
            f"a function of the profile failed ({reason}{place}); correct the profile."
        )
        self.reason = reason
        self.place = place
        self.late = late

    def __reduce__(self):
        return type(self), (self.reason, self.place, self.late)


class TooLong(BaseException):
    """Raised inside code that takes too long, where ``except Exception`` does not catch it."""


def call(function: Callable, *arguments: object) -> Any:
    """Call a function of a profile.

    Ordinary exceptions pass, and so do interrupts of the user.

    Raises
    ------
    Failure
        If it takes longer than `LIMIT`, recurses without end, or raises other than an
        ordinary exception, such as `SystemExit` or its own `KeyboardInterrupt`.
    """
    watch = _here.watch
    if watch is None:
        with watched():
            return call(function, *arguments)
    outermost = watch.begin()
    try:
        return _applied(function, arguments)
    except BaseException as error:
        _raise_if_grave(error, watch.handlers)
        raise
    finally:
        if outermost:
            watch.end()


@contextmanager
def watched() -> Iterator[None]:
    """Watch the time of every `call` in this block, which is faster than to begin it each time."""
    if _here.watch is not None:
        yield
        return
    watch = _Watch()
    with _timer(watch) if _alarm_is_free() else _watcher(watch):
        _here.watch = watch
        try:
            yield
        finally:
            _here.watch = None


def place(error: BaseException) -> str:
    """Return ``"; gain in mycam.py, line 12"``: the function that was called, and its last line."""
    entries = [e for e in _entries(error.__traceback__) if _is_foreign(e.tb_frame.f_code)]
    if not entries:
        return ""
    code = entries[0].tb_frame.f_code
    lines = [e.tb_lineno for e in entries if e.tb_frame.f_code.co_filename == code.co_filename]
    return f"; {code.co_name} in {Path(code.co_filename).name}, line {lines[-1]}"


def reason(error: BaseException) -> str:
    """Return what was raised, such as ``"ValueError: no number"``."""
    try:
        text = str(error)
    except Exception:  # its own class may fail to describe it
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _applied(function: Callable, arguments: tuple) -> Any:
    return function(*arguments)


_CALLING = _applied.__code__
"""The only frame of this package that may be interrupted, as a function in C has none."""


class _Watch:
    """Measures how long the code of a profile runs in one thread; a turn is one outermost call."""

    def __init__(self) -> None:
        self.handlers = _handlers()
        self._turn = 0  # odd while code of a profile runs
        self._seen = 0
        self._ticks = 0

    def begin(self) -> bool:
        """Begin a turn, unless the call is inside another."""
        if self._turn % 2:
            return False
        self._turn += 1
        return True

    def end(self) -> None:
        """End the turn."""
        self._turn += 1

    def late(self, frame: FrameType | None) -> bool:
        """Return True if the code that runs in this frame has used up its time."""
        turn = self._turn
        if turn % 2 == 0 or turn != self._seen:
            self._seen, self._ticks = turn, 0
            return False
        self._ticks += 1
        # Not between lines of this module, where the exception would leave the call.
        if frame is None or (frame.f_globals is globals() and frame.f_code is not _CALLING):
            return False
        if self._ticks * TICK < (IMPORTING if _imports(frame) else LIMIT):
            return False
        self._ticks = 0
        return True


class _Here(threading.local):
    """The watch of this thread."""

    watch: _Watch | None = None


_here = _Here()


def _is_foreign(code: CodeType) -> bool:
    """Return True if code belongs neither to this package nor to Python's import."""
    file = code.co_filename
    folder = Path(file).parent
    ours = _HOUSE in (folder, folder.parent) and folder.name != "profiles"
    return not (file.startswith("<frozen ") or {*folder.parts[-2:]} & {*_IMPORT} or ours)


def _raise_if_grave(error: BaseException, handlers: frozenset[CodeType]) -> None:
    """Raise a `Failure`, or an interrupt of the user; return if an exception is an ordinary one."""
    if isinstance(error, Failure):
        return
    grave = [e for e in chain_of(error) if not isinstance(e, Exception)]
    for raised in grave:
        if _is_interrupt(raised, handlers | _handlers()):
            raise raised
    if any(isinstance(e, TooLong) for e in grave):
        raise Failure(f"it took longer than {LIMIT:g} s", place(error), late=True) from error
    if isinstance(error, RecursionError | MemoryError) or not isinstance(error, Exception):
        raise Failure(reason(error), place(error)) from error


def _is_interrupt(error: BaseException, handlers: frozenset[CodeType]) -> bool:
    """Return True if a signal raised an exception, and not a statement of the code itself.

    Python's own handler raises KeyboardInterrupt between two instructions, never at a ``raise``; a
    handler in Python appears in the traceback.
    """
    if isinstance(error, TooLong):
        return False
    entries = list(_entries(error.__traceback__))
    if any(entry.tb_frame.f_code in handlers for entry in entries):
        return True
    if not isinstance(error, KeyboardInterrupt) or not entries:
        return False
    last = entries[-1]
    return last.tb_frame.f_code.co_code[last.tb_lasti] != opmap["RAISE_VARARGS"]


def _handlers() -> frozenset[CodeType]:
    """Return the code of the signal handlers that are written in Python."""
    installed = (signal.getsignal(number) for number in signal.valid_signals())
    codes = (getattr(handler, "__code__", None) for handler in installed)
    return frozenset(code for code in codes if code is not None)


def _entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def _imports(frame: FrameType | None) -> bool:
    """Return True if a module is being imported from inside the call."""
    while frame is not None and frame.f_code is not _CALLING:
        if frame.f_code.co_name == "_find_and_load":
            return True
        frame = frame.f_back
    return False


def _alarm_is_free() -> bool:
    """Return True if this thread may use SIGALRM, and nothing else uses it."""
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    )


@contextmanager
def _timer(watch: _Watch) -> Iterator[None]:
    """Check at every tick of a timer, which also interrupts waiting."""

    def tick(number: int, frame: FrameType | None) -> None:
        if watch.late(frame):
            raise TooLong

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, TICK, TICK)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _watcher(watch: _Watch) -> Iterator[None]:
    """Check from another thread, which interrupts code once it is back in Python."""
    thread_id = threading.get_ident()
    done = threading.Event()

    def check() -> None:
        while not done.wait(TICK):
            if watch.late(sys._current_frames().get(thread_id)):
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread_id), ctypes.py_object(TooLong)
                )

    thread = threading.Thread(target=check, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
