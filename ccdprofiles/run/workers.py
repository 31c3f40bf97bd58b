"""Those who do the jobs: threads of this process, or whatever executor is given.

In threads a job shares out its bands, so that even one master keeps all processors
busy. Another executor gets whole jobs. When one of its workers dies, every job that
was under way is done again, each alone; one that takes its worker with it a second
time is split into its frames, and a frame that does so is given back as a refusal.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import suppress
from functools import lru_cache

import numpy as np

from ..errors import CCDProfilesError, FrameRejected, InputError, OutputError
from ..files.threads import NOT_STARTED, Threads
from .jobs import FlatLevelsJob, MasterJob, MeasureJob, RowsJob, ScienceJob
from .processes import NotStarted, discard, first_answer, has_ended

__all__ = ["Job", "Workers", "check_workers", "workers_of"]

Job = MeasureJob | FlatLevelsJob | RowsJob | MasterJob | ScienceJob

_HELD = 400 * 2**20
"""How much the jobs under way may hold in memory in threads, in bytes."""

_SPARE = 4 * 2**20
"""Bytes kept aside, so that running out of memory can still be reported."""

_LOOK = 2.0
"""Seconds after which a pool of processes that gives no answer is looked at."""

log = logging.getLogger(__name__)


class Workers:
    """Does jobs, several at a time.

    Parameters
    ----------
    number : int
        Threads; or how many workers the executor has, as far as is known.
    executor : Executor, optional
        Does the jobs instead of threads of this process.
    """

    def __init__(self, number: int, executor: Executor | None = None):
        self.number = number
        self.lost = 0
        self.remote = executor is not None
        self._given = executor
        self._jobs = executor or Threads(number, "job")
        self._bands = None if self.remote else Threads(number, "band")
        self._spare: bytearray | None = None
        self._short: list[Job] = []
        self._stopped = threading.Event()
        self._queue: deque[Job] = deque()
        self._suspects: deque[Job] = deque()
        self._running: dict[Future, Job] = {}
        self._alone = False
        keep_memory()
        with suppress(MemoryError):
            self._spare = bytearray(_SPARE)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self._stopped.set()
        for future in self._running:
            future.cancel()
        if self._bands is not None:
            self._jobs.shutdown(wait=True, cancel_futures=True)
            self._bands.shutdown(wait=True, cancel_futures=True)
        elif self._jobs is not self._given:
            self._jobs.shutdown(wait=kind is None, cancel_futures=True)

    def submit(self, job: Job) -> None:
        """Take a job on."""
        self._queue.append(job)

    def finished(self) -> Iterator[tuple[Job, object]]:
        """Give back each job with its result, or with the exception that ended it."""
        while self._queue or self._suspects or self._running:
            self._fill()
            done, _ = wait(self._running, timeout=_LOOK, return_when=FIRST_COMPLETED)
            if not done and self._can_renew and has_ended(self._jobs):
                # Nobody is left who would pass an answer on.
                yield from self._again([self._running.popitem()[1]])
                continue
            broken = []
            for future in done:
                job = self._running.pop(future)
                if future.cancelled():
                    raise OutputError(
                        "the workers are gone; what is finished stays, run it again to go on."
                    )
                error = future.exception()
                if error is None:
                    yield job, future.result()
                elif _lost(error):
                    if isinstance(error, BrokenExecutor) and not self._can_renew:
                        raise error
                    broken.append(job)
                elif _is_short(error):
                    self._go_on_alone(job, error)
                elif isinstance(error, CCDProfilesError | OSError):
                    yield job, error
                else:
                    error.add_note(f"while working on {_shown(job)}")
                    raise error
            if broken:
                yield from self._again(broken)

    def _fill(self) -> None:
        """Hand out as many jobs as there is room for; a suspect gets all the room."""
        if self._suspects:
            if not self._running:
                self._alone = True
                self._start(self._suspects.popleft())
            return
        self._alone = False
        while self._queue and self._room(self._queue[0]):
            job = self._queue.popleft()
            if not self._start(job):
                self._queue.appendleft(job)
                return

    def _room(self, job: Job) -> bool:
        if not self._running or self._short:
            return not self._running
        if self.remote:
            return len(self._running) < 2 * self.number
        held = sum(j.held for j in self._running.values()) + job.held
        return len(self._running) < self.number and (job.held == 0 or held <= _HELD)

    def _start(self, job: Job) -> bool:
        """Give a job out; say no where a worker has just died, and what it did is to be heard of."""
        if self._bands is not None:
            self._running[self._jobs.submit(self._frugally, job.run, self._mapped)] = job
            return True
        try:
            future = self._jobs.submit(_run, job)
        except BrokenExecutor:
            if not self._can_renew:
                raise
            if self._running:
                return False
            # It died with nothing to do.
            self.lost += 1
            self._renew()
            future = self._jobs.submit(_run, job)
        self._running[future] = job
        return True

    def _frugally(self, work: Callable, *arguments: object) -> object:
        """Do some work; if memory runs out, give back what was kept aside for that."""
        try:
            return work(*arguments)
        except MemoryError:
            self._spare = None
            raise

    def _go_on_alone(self, job: Job, error: BaseException) -> None:
        """Do a job for which memory ran out once more with one worker, or end the run.

        Raises
        ------
        OutputError
        """
        self._spare = None
        again = any(one is job for one in self._short)
        if again or (self.number == 1 and not self._running):
            raise OutputError(
                f"memory runs out at {_shown(job)}, with one worker too; allow more of it "
                "(ulimit -v), or end other programs, and run it again: what is finished stays."
            ) from error
        if self.number > 1:
            log.warning("memory runs out; the run goes on with one worker (-j 1)")
        self._short.append(job)
        self.number = 1
        self._queue.appendleft(job)

    def _again(self, jobs: list[Job]) -> Iterator[tuple[Job, object]]:
        """Give the jobs of a worker that died out again, or back if it was surely theirs."""
        self.lost += 1
        if self._can_renew:
            # All that was under way is lost with it.
            jobs += self._running.values()
            self._running.clear()
            self._renew()
        if not self._alone:
            self._suspects.extend(jobs)
            return
        (job,) = jobs
        parts = job.split()
        if len(parts) > 1:
            self._suspects.extend(parts)
            return
        what = "a worker died of it twice; look whether it is whole, and whether memory runs out."
        yield job, FrameRejected("killed-worker", what)

    def _renew(self) -> None:
        """Put a pool of processes like it in the place of the one that broke.

        Raises
        ------
        OutputError
            If the system starts none.
        """
        try:
            self._jobs = _renewed(self._jobs)
            first_answer(self._jobs)
        except (NotStarted, *NOT_STARTED) as error:
            discard(self._jobs)
            raise OutputError(
                f"the system starts no worker any more ({error}); allow more processes "
                "(ulimit -u) or take fewer workers (-j 1), and run it again: what is finished stays."
            ) from error

    @property
    def _can_renew(self) -> bool:
        return isinstance(self._jobs, ProcessPoolExecutor)

    def _mapped(self, work: Callable, bands: Iterable) -> list:
        """Do as `map` in threads; and do not leave before all of them are done."""
        bands = list(bands)
        if len(bands) == 1:
            return [work(bands[0])]
        if self._short:
            return [self._unless_stopped(work, band) for band in bands]
        futures = [self._bands.submit(self._unless_stopped, work, band) for band in bands]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()
            wait(futures)

    def _unless_stopped(self, work: Callable, band: object) -> object:
        if self._stopped.is_set():
            raise OutputError("the run was interrupted.")
        return self._frugally(work, band)


@lru_cache
def keep_memory() -> None:
    """Let a process keep what bands leave behind for the next ones.

    Once glibc has freed so large a block, it no longer gives smaller ones back to the
    system, page by page, only to ask for them again.
    """
    with suppress(MemoryError):
        np.empty(31 * 2**20, "u1")


def _run(job: Job) -> object:
    keep_memory()
    return job.run()


def _lost(error: BaseException) -> bool:
    """Say whether a worker died, rather than the job failed; dask has a word of its own for it."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"


def _is_short(error: BaseException) -> bool:
    """Return True if the system has no memory left, which is no fault of a file."""
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno == errno.ENOMEM
    )


def _shown(job: Job) -> str:
    """Name the files of a job, or the first of many."""
    more = len(job.files) - 1
    return job.files[0] + (f" and {more} more" if more else "")


def _renewed(pool: ProcessPoolExecutor) -> ProcessPoolExecutor:
    """Make a pool of processes like the one that broke."""
    pool.shutdown(wait=False, cancel_futures=True)
    discard(pool)
    return type(pool)(
        pool._max_workers,
        mp_context=pool._mp_context,
        initializer=pool._initializer,
        initargs=pool._initargs,
    )


def check_workers(executor: Executor) -> None:
    """Refuse a pool of processes whose processes do not come up.

    Raises
    ------
    InputError
    """
    if not isinstance(executor, ProcessPoolExecutor):
        return
    try:
        first_answer(executor)
    except NotStarted as error:
        raise InputError(
            f"the executor's processes cannot be started ({error}); give it fewer of them, allow "
            "more (ulimit -u), or leave it out and say how many with jobs=."
        ) from error
    except BrokenExecutor as error:
        raise InputError(
            f"the executor's processes end as soon as they begin ({error}); in a script, put what "
            'it does under if __name__ == "__main__":, as every new process reads the script.'
        ) from error


def workers_of(executor: Executor | None, jobs: int) -> int:
    """Return how many workers there are, as far as an executor tells."""
    if jobs:
        return jobs
    # A pool of the standard library tells its size, that of dask knows its cluster.
    if told := getattr(executor, "_max_workers", None):
        return told
    if client := getattr(executor, "_client", None):
        return sum(client.nthreads().values()) or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
