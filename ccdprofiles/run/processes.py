"""Processes of this machine that run the jobs of a large night.

Threads wait for each other whenever they run Python code; processes do not. A process
with a single thread, such as the command line, is forked. Any other could not be forked
safely: then processes are forked from a server that has imported what the jobs need and
nothing else, and the caller's own script is not run again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ..files.threads import LIBRARIES, NOT_STARTED, stay_single
from .interpreter import (
    FewerProcesses,
    NotStarted,
    first_answer,
    has_ended,
    kill_processes,
    leave_uncollected,
    stop_results,
)

if TYPE_CHECKING:
    from ..plan.frames import Frame

__all__ = ["Processes", "is_large", "process_pool", "stay_single", "worth_while"]

log = logging.getLogger(__name__)

_LEAST = 128 * 2**20
"""Bytes of raw files from which processes are faster than threads."""

_PR_SET_PDEATHSIG = 1
"""The option of prctl(2) in Linux."""

_SIGNALS = {
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
}


def is_large(folder: Path) -> bool:
    """Return True if a folder may contain a night that is large enough for processes."""
    size = 0
    for where, _, files in os.walk(folder):
        with suppress(OSError):
            size += sum(os.lstat(os.path.join(where, file)).st_size for file in files)
        if size >= _LEAST:
            return True
    return False


def worth_while(frames: Iterable[Frame]) -> bool:
    """Return True if a night is large enough for processes and its recipes can be pickled."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return False
    raw = [f for f in frames if f.raw is not None]
    if sum(f.raw.size for f in raw) < _LEAST:
        return False
    try:
        ForkingPickler.dumps(list({id(f.recipe): f.recipe for f in raw}.values()))
    except Exception:  # threads need not pickle anything
        return False
    return True


def _is_single() -> bool:
    """Return True if this process has a single thread, as far as the system shows it."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _start_server() -> None:
    """Start the server, which imports what jobs need."""
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ccdprofiles.run.jobs"])
    before = {name: os.environ.get(name) for name in LIBRARIES}
    os.environ.update(dict.fromkeys(LIBRARIES, "1"))
    try:
        with _without_main():
            forkserver.ensure_running()
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextmanager
def process_pool(number: int) -> Iterator[Processes | None]:
    """Start processes and end them at the end; yields None if the system starts none.

    Parameters
    ----------
    number : int
    """
    pool = None
    try:
        with _uninterrupted():
            pool = _begun(number)
        yield pool
    except BaseException:
        if pool is not None:
            kill_processes(pool)
            stop_results(pool)
        raise
    finally:
        if pool is not None:
            pool.shutdown(wait=not has_ended(pool), cancel_futures=True)
            kill_processes(pool)


def _begun(number: int) -> Processes | None:
    """Start processes, or half as many until the system starts them."""
    asked = number
    if not _is_single():
        # The server that forks would die with a traceback if the system refuses; each
        # worker has one thread more, and so have the pool (two), the server and its tracker.
        number = min(number, (_threads_given(2 * number + 4) - 4) // 2)
    while number > 0:
        with suppress(NotStarted, BrokenExecutor, ImportError, *NOT_STARTED):
            pool = Processes(number)
            try:
                first_answer(pool)
            except BaseException:
                kill_processes(pool)
                raise
            return pool
        number //= 2
    log.warning("no process can be started for %d workers; threads are used instead", asked)
    return None


def _threads_given(wanted: int) -> int:
    """Return how many threads, which count as processes, the system would start now."""
    over = threading.Event()
    started = []
    with suppress(*NOT_STARTED):
        for _ in range(wanted):
            thread = threading.Thread(target=over.wait, daemon=True)
            thread.start()
            started.append(thread)
    over.set()
    for thread in started:
        thread.join()
    return len(started)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay signals until the processes have started, and let this one handle them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        with _put_off():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _put_off() -> Iterator[None]:
    """Delay the handlers of signals that other threads receive; they run in the main thread."""
    came: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {n: h for n in _SIGNALS if callable(h := signal.getsignal(n))}
    for number in handlers:
        signal.signal(number, lambda received, _: came.append(received))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in came[:1]:
            signal.raise_signal(number)


class Processes(FewerProcesses):
    """Processes that are forked from this one if it has a single thread, else from the server."""

    def __init__(self, number: int, **_: object):
        single = _is_single()
        if not single:
            _start_server()
        context = multiprocessing.get_context("fork" if single else "forkserver")
        super().__init__(number, mp_context=context, initializer=_settle)

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Hide the caller's script, and delay signals."""
        with _without_main(), _uninterrupted():
            yield


def _settle() -> None:
    """Leave signals to the process that submits the jobs, and end when it ends."""
    leave_uncollected()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    try:
        threading.Thread(target=_go_with, args=(parent.sentinel,), daemon=True).start()
    except NOT_STARTED:
        _end_with_parent()


def _end_with_parent() -> None:
    """Let the system end this process when its parent ends, without a thread."""
    import ctypes

    try:
        if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL)) == 0:
            return
    except (OSError, AttributeError, TypeError):
        pass
    # A worker that would outlive its parent must not start.
    os._exit(1)


def _go_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the caller's script, which a new process would otherwise run again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
