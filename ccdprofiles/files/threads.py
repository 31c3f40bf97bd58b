"""Threads, as many as the system allows.

A limit on processes or on address space may refuse any thread, the first or a later one.
Then the threads that did start do all the work; if none did, the caller does it.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

__all__ = ["LIBRARIES", "NOT_STARTED", "Threads", "imported_meanwhile", "stay_single"]

NOT_STARTED = (OSError, RuntimeError, MemoryError, EOFError)
"""What Python raises if the system does not start a thread or process."""

LIBRARIES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables of the environment that set how many threads libraries start for themselves."""


def stay_single() -> None:
    """Keep the libraries from starting threads of their own; jobs do no linear algebra."""
    for name in LIBRARIES:
        os.environ.setdefault(name, "1")


class Threads(ThreadPoolExecutor):
    """A pool of threads that also works with fewer of them, or without any.

    Parameters
    ----------
    number : int
        The largest number of threads at one time.
    name : str
        The beginning of their names.
    """

    def __init__(self, number: int | None, name: str = ""):
        super().__init__(number, thread_name_prefix=name)
        # Whether a first thread can start must be known before there is work in the queue.
        try:
            super().submit(int)
        except NOT_STARTED:
            self.started = False
        else:
            self.started = True

    def submit(self, work: Callable, /, *arguments: object, **named: object) -> Future:
        """Submit work to a thread, or do it now if there is none."""
        if self.started:
            return super().submit(work, *arguments, **named)
        future: Future = Future()
        try:
            future.set_result(work(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future

    def _adjust_thread_count(self) -> None:
        """Start one more thread; one that cannot start is not needed if there are others."""
        try:
            super()._adjust_thread_count()
        except NOT_STARTED:
            if not self._threads:
                raise


@contextmanager
def imported_meanwhile(module: str) -> Iterator[None]:
    """Import a module while jobs run: importing astropy tables takes much of a second.

    The module is imported again where it is needed, in case no thread could start.
    """
    thread = threading.Thread(target=_try_to_import, args=(module,), daemon=True)
    started = False
    with suppress(*NOT_STARTED):
        thread.start()
        started = True
    try:
        yield
    finally:
        if started:
            thread.join()


def _try_to_import(module: str) -> None:
    with suppress(Exception):
        importlib.import_module(module)
