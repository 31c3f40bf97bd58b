"""Settings of the Python interpreter, and private parts of its pools, that a run uses.

The allocator and the garbage collector are set where that saves time; each setting has its
figure. `concurrent.futures` and `multiprocessing` have no public functions to start with fewer
processes, notice a dead worker, and end at once, so the private names of process pools that a run
uses are here, too. They save no time in a night that runs to its end: without them a run that is
interrupted, or a system that starts no more processes, would make the user wait for seconds or
for ever. Another version of Python may lack any of this; a run then works without it. Each has its
test in ``tests/run/test_interpreter.py``.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from multiprocessing.process import BaseProcess

from ..files.threads import NOT_STARTED

__all__ = [
    "FewerProcesses",
    "NotStarted",
    "collector_paused",
    "end_server",
    "first_answer",
    "has_ended",
    "import_for_good",
    "keep_memory",
    "kill_processes",
    "leave_uncollected",
    "renewed",
    "size_of",
    "stop_results",
]

_LOOK = 0.5
"""Seconds after which a pool that gives no answer is checked."""


@lru_cache
def keep_memory() -> None:
    """Let this process keep the memory of its bands for the next ones.

    Once glibc has freed so large a block, it no longer returns smaller ones to the system,
    page by page, only to ask for them again. A night takes 6 % more processor time without
    it (the medians of six paired runs). Other allocators do not mind.
    """
    with suppress(MemoryError):
        bytes(31 * 2**20)


def import_for_good(modules: Iterable[str]) -> None:
    """Import modules without garbage collection, and never collect what they define.

    For those that a reduction needs this saves 0.3 s of 1.5 s of processor time, the median of six
    paired runs of the imports.
    """
    gc.disable()
    try:
        for module in modules:
            importlib.import_module(module)
    finally:
        gc.enable()
    leave_uncollected()
    atexit.register(leave_uncollected)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collect no garbage in this block, which keeps nearly all that it makes.

    To read and plan 20,000 headers takes a quarter less processor time (the median of six paired
    runs) and no more memory.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def leave_uncollected() -> None:
    """Never collect what is in memory now.

    In a forked process the collector would write to, and so copy, every page that was there before
    the fork. A night of 10 s of processor time takes 0.2 s more without it (six paired runs).
    """
    # Only CPython has it.
    if hasattr(gc, "freeze"):
        gc.freeze()


class NotStarted(Exception):
    """The system starts no process, or no thread to communicate with it."""


class FewerProcesses(ProcessPoolExecutor):
    """A pool of processes that works with fewer if the system starts no more.

    The pool of the standard library fails at the first process that cannot start.
    """

    def _spawn_process(self) -> None:
        try:
            with self.starting():
                super()._spawn_process()  # type: ignore[misc]  # not in the public interface
        except NOT_STARTED:
            if not self._processes:
                raise

    def starting(self) -> AbstractContextManager:
        """Return a context in which each process is started."""
        return nullcontext()


def _processes(pool: ProcessPoolExecutor) -> list[BaseProcess]:
    return list((getattr(pool, "_processes", None) or {}).values())


def _manager(pool: ProcessPoolExecutor) -> threading.Thread | None:
    return getattr(pool, "_executor_manager_thread", None)


def kill_processes(pool: ProcessPoolExecutor) -> None:
    """Kill the processes of a pool, which has no method for it before Python 3.14, and wait."""
    processes = _processes(pool)
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def stop_results(pool: ProcessPoolExecutor) -> None:
    """Close the pipe of results of a pool whose processes were killed.

    A process that was sending its result leaves a part of it in the pipe, and the pool would wait
    for the rest as long as this process has the pipe open for writing.
    """
    with suppress(OSError, AttributeError):
        pool._result_queue._writer.close()  # type: ignore[attr-defined]  # not public


def has_ended(pool: ProcessPoolExecutor) -> bool:
    """Return True if the thread has ended that passes jobs to the processes of a pool."""
    thread = _manager(pool)
    return thread is not None and not thread.is_alive()


def renewed(pool: ProcessPoolExecutor) -> ProcessPoolExecutor:
    """Return a new pool like one that broke, which is ended.

    Raises
    ------
    NotStarted
        If this version of Python does not show how the pool was made.
    """
    pool.shutdown(wait=False, cancel_futures=True)
    kill_processes(pool)
    try:
        return type(pool)(
            size_of(pool),
            mp_context=pool._mp_context,
            initializer=pool._initializer,
            initargs=pool._initargs,
        )
    except AttributeError as error:
        raise NotStarted(f"this version of Python cannot renew a pool: {error}") from error


def size_of(executor: Executor | None) -> int | None:
    """Return how many workers an executor has, or None if that is unknown."""
    if (number := getattr(executor, "_max_workers", None)) is not None:
        return number
    # The executor of dask.distributed has a client, which has the cluster.
    if (client := getattr(executor, "_client", None)) is not None:
        return sum(client.nthreads().values()) or 1
    return None


def end_server() -> None:
    """End the server from which processes are forked, so that nothing outlives a command.

    It has no data, and would take 0.2 s to clean up its imports.
    """
    from multiprocessing import forkserver

    server = getattr(forkserver, "_forkserver", None)
    pid = getattr(server, "_forkserver_pid", None)
    if server is not None and pid is not None and hasattr(server, "_stop"):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        server._stop()


def first_answer(pool: ProcessPoolExecutor) -> None:
    """Wait until a pool gives its first answer.

    Raises
    ------
    NotStarted
        If the system starts no process, or no thread of this one that would communicate with it.
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
                raise NotStarted("the thread that communicates with them ended")
    future.result()


@contextmanager
def _quiet(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Print no traceback of the thread that `has_ended` notices."""
    before = threading.excepthook

    def hook(ended: threading.ExceptHookArgs) -> None:
        if ended.thread is None or ended.thread is not _manager(pool):
            before(ended)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
