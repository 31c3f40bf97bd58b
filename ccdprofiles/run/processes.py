"""Processes of this machine that do the jobs of a large night.

Threads wait for each other whenever they come back to Python; processes do not. A
process that has a single thread, as the command line sees to, is forked. From any other
that would not be safe: then they are forked from a server that has imported what the
jobs need and nothing else, and neither run nor need the caller's own script.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, wait
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ..files.threads import LIBRARIES, NOT_STARTED, stay_single

if TYPE_CHECKING:
    from ..plan.frames import Frame

__all__ = [
    "NotStarted",
    "Processes",
    "discard",
    "end",
    "first_answer",
    "has_ended",
    "is_large",
    "process_pool",
    "stay_single",
    "worth_while",
]

log = logging.getLogger(__name__)

_LEAST = 128 * 2**20
"""Raw bytes from which a night is worth the start of processes."""

_LOOK = 0.5
"""Seconds after which processes that give no answer are looked at."""

_PR_SET_PDEATHSIG = 1
"""The option of prctl(2) in Linux."""

_SIGNALS = {
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
}


def is_large(folder: Path) -> bool:
    """Say whether a folder may hold a night that is worth the start of processes."""
    size = 0
    for where, _, files in os.walk(folder):
        with suppress(OSError):
            size += sum(os.lstat(os.path.join(where, file)).st_size for file in files)
        if size >= _LEAST:
            return True
    return False


def worth_while(frames: Iterable[Frame]) -> bool:
    """Say whether a night is large enough for processes, and its recipes can travel."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return False
    raw = [f for f in frames if f.raw is not None]
    if sum(f.raw.size for f in raw) < _LEAST:
        return False
    try:
        ForkingPickler.dumps(list({id(f.recipe): f.recipe for f in raw}.values()))
    except Exception:  # whatever it is that cannot travel, threads need not send it
        return False
    return True


def _is_single() -> bool:
    """Say whether this process has one thread, as far as the system tells."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _begin() -> None:
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


def end() -> None:
    """End the server and wait for it, so that nothing outlives a command."""
    from multiprocessing import forkserver

    server = forkserver._forkserver
    pid = getattr(server, "_forkserver_pid", None)
    if pid is not None and hasattr(server, "_stop"):
        # It holds nothing, and would take its time to tidy up what it imported.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        server._stop()


class NotStarted(Exception):
    """The system starts no process, or no thread to talk to it."""


@contextmanager
def process_pool(number: int) -> Iterator[ProcessPoolExecutor | None]:
    """Run some processes; gives None where the system has none to give.

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
            for process in list((pool._processes or {}).values()):
                process.kill()
            # One that was about to tell its result leaves half of it behind, and the pool
            # would wait for the rest as long as we could still write it.
            with suppress(OSError):
                pool._result_queue._writer.close()
        raise
    finally:
        if pool is not None:
            pool.shutdown(wait=not has_ended(pool), cancel_futures=True)
            discard(pool)


def _begun(number: int) -> Processes | None:
    """Start processes, or half as many; one process alone does no more than threads do."""
    asked = number
    if not _is_single():
        # The server that forks would die with a traceback where the system refuses; each
        # worker has one thread more, and so have the pool (two), the server and its tracker.
        number = min(number, (_threads_given(2 * number + 4) - 4) // 2)
    while number > 0:
        with suppress(NotStarted, BrokenExecutor, ImportError, *NOT_STARTED):
            pool = Processes(number)
            try:
                first_answer(pool)
            except BaseException:
                discard(pool)
                raise
            return pool
        number //= 2
    log.warning("no process can be started for %d workers; threads do the work", asked)
    return None


def _threads_given(wanted: int) -> int:
    """Return how many threads, which count like processes, the system would start now."""
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


def first_answer(pool: ProcessPoolExecutor) -> None:
    """Wait until a pool gives its first answer.

    Raises
    ------
    NotStarted
        If the system starts no process, or no thread of this one that would talk to it.
    BrokenExecutor
        If the processes end as soon as they begin.
    """
    with _quiet(pool):
        try:
            future = pool.submit(int)
        except BrokenExecutor:
            raise
        except NOT_STARTED as error:
            raise NotStarted(str(error)) from error
        while not wait([future], timeout=_LOOK).done:
            if has_ended(pool):
                raise NotStarted("the thread that talks to them ended")
    future.result()


def has_ended(pool: ProcessPoolExecutor) -> bool:
    """Return True if the thread has ended that passes jobs to the processes of a pool."""
    thread = getattr(pool, "_executor_manager_thread", None)
    return thread is not None and not thread.is_alive()


def discard(pool: ProcessPoolExecutor) -> None:
    """End the processes that a pool has left behind."""
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.kill()
        process.join()


@contextmanager
def _quiet(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Print nothing where the thread of a pool ends as the system starts no other; it is noticed."""
    before = threading.excepthook

    def hook(ended: threading.ExceptHookArgs) -> None:
        if ended.thread is None or ended.thread is not pool._executor_manager_thread:
            before(ended)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Keep signals until the processes are there and leave them to this one."""
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
    """Put off the handlers of signals that other threads receive; they run in the main thread."""
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


class Processes(ProcessPoolExecutor):
    """A pool of processes that are forked from this one where it is single, else from the server."""

    def __init__(self, number: int, **_: object):
        single = _is_single()
        if not single:
            _begin()
        context = multiprocessing.get_context("fork" if single else "forkserver")
        super().__init__(number, mp_context=context, initializer=_settle)

    def _spawn_process(self) -> None:
        """Start one more process; one that cannot start is done without if there are others."""
        try:
            with _without_main(), _uninterrupted():
                super()._spawn_process()
        except NOT_STARTED:
            if not self._processes:
                raise


def _settle() -> None:
    """Leave signals to the process that gives out the jobs, and go when it goes."""
    # What is there already stays: to look for garbage in it would copy it, page by page.
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    parent = multiprocessing.parent_process()
    try:
        threading.Thread(target=_go_with, args=(parent.sentinel,), daemon=True).start()
    except NOT_STARTED:
        _end_with_parent()


def _end_with_parent() -> None:
    """Have the system end this process when its parent ends; it needs no thread for that."""
    import ctypes

    try:
        if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL)) == 0:
            return
    except (OSError, AttributeError, TypeError):
        pass
    # A worker that would outlive the one that leads it must not begin.
    os._exit(1)


def _go_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the caller's script, which a new process would otherwise run once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
