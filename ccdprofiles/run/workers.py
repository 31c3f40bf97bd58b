"""Run jobs, in threads of this process or in a given executor.

In threads a job divides its bands among them, so that even one master keeps all
processors busy. Another executor gets whole jobs. When one of its workers dies, every job that was
running is run again, each alone. If a job kills its worker a second time, it is split into its
frames, and a frame that does so is refused.
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
from typing import Any

from ..errors import CCDProfilesError, FrameRejected, InputError, OutputError
from ..files.threads import NOT_STARTED, Threads
from .interpreter import (
    NotStarted,
    first_answer,
    has_ended,
    keep_memory,
    kill_processes,
    renewed,
    size_of,
)
from .jobs import FlatLevelsJob, MasterJob, MeasureJob, RowsJob, ScienceJob

__all__ = ["Job", "Workers", "check_workers", "workers_of"]

Job = MeasureJob | FlatLevelsJob | RowsJob | MasterJob | ScienceJob

_HELD = 400 * 2**20
"""Bytes that the jobs running in threads may use in memory."""

_SPARE = 4 * 2**20
"""Bytes in reserve, so that running out of memory can still be reported."""

_LOOK = 2.0
"""Seconds after which a pool of processes that gives no answer is checked."""

log = logging.getLogger(__name__)


class Workers:
    """Runs jobs, several at a time.

    Parameters
    ----------
    number : int
        How many threads to use, or how many workers the executor has.
    executor : Executor, optional
        Runs the jobs instead of threads of this process.
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
        """Add a job to the queue."""
        self._queue.append(job)

    def finished(self) -> Iterator[tuple[Job, Any]]:
        """Give each job with its result, or with the exception that ended it."""
        while self._queue or self._suspects or self._running:
            self._fill()
            done, _ = wait(self._running, timeout=_LOOK, return_when=FIRST_COMPLETED)
            if not done and self._pool is not None and has_ended(self._pool):
                # The thread that passes answers on has ended.
                yield from self._again([self._running.popitem()[1]])
                continue
            broken = []
            for future in done:
                job = self._running.pop(future)
                if future.cancelled():
                    raise OutputError(
                        "the workers have ended; run it again to continue; finished products are kept."
                    )
                error = future.exception()
                if error is None:
                    yield job, future.result()
                elif _lost(error):
                    if isinstance(error, BrokenExecutor) and self._pool is None:
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
        """Start as many jobs as fit into memory; a suspect runs alone."""
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
        """Start a job; return False if the jobs of a dead worker must be handled first."""
        if self._bands is not None:
            self._running[self._jobs.submit(self._frugally, job.run, self._mapped)] = job
            return True
        try:
            future = self._jobs.submit(_run, job)
        except BrokenExecutor:
            if self._pool is None:
                raise
            if self._running:
                return False
            # It died while idle.
            self.lost += 1
            self._renew(self._pool)
            future = self._jobs.submit(_run, job)
        self._running[future] = job
        return True

    def _frugally(self, work: Callable, *arguments: object) -> object:
        """Do some work; if memory runs out, free the reserve."""
        try:
            return work(*arguments)
        except MemoryError:
            self._spare = None
            raise

    def _go_on_alone(self, job: Job, error: BaseException) -> None:
        """Run a job that ran out of memory again with one worker, or end the run.

        Raises
        ------
        OutputError
        """
        self._spare = None
        second = any(one is job for one in self._short)
        if second or (self.number == 1 and not self._running):
            raise OutputError(
                f"not enough memory for {_shown(job)}, even with one worker; allow more (ulimit -v), "
                "or close other programs, and run it again; finished products are kept."
            ) from error
        if self.number > 1:
            log.warning("not enough memory; the run continues with one worker (-j 1)")
        self._short.append(job)
        self.number = 1
        self._queue.appendleft(job)

    def _again(self, jobs: list[Job]) -> Iterator[tuple[Job, object]]:
        """Run the jobs of a worker that died again; refuse a frame that certainly killed it."""
        self.lost += 1
        if self._pool is not None:
            # All that was under way is lost with it.
            jobs += self._running.values()
            self._running.clear()
            self._renew(self._pool)
        if not self._alone:
            self._suspects.extend(jobs)
            return
        (job,) = jobs
        parts = job.split()
        if len(parts) > 1:
            self._suspects.extend(parts)
            return
        what = (
            "a worker process died twice while working on it; check that the file is intact and "
            "that there is enough memory."
        )
        yield job, FrameRejected("killed-worker", what)

    def _renew(self, pool: ProcessPoolExecutor) -> None:
        """Replace a pool that broke by one like it.

        Raises
        ------
        OutputError
            If the system starts none.
        """
        try:
            self._jobs = pool = renewed(pool)
            first_answer(pool)
        except (NotStarted, *NOT_STARTED) as error:
            kill_processes(pool)
            raise OutputError(
                f"the system starts no more workers ({error}); allow more processes (ulimit -u) "
                "or use fewer workers (-j 1), and run it again; finished products are kept."
            ) from error

    @property
    def _pool(self) -> ProcessPoolExecutor | None:
        """The pool of processes, which can be renewed; None where jobs run otherwise."""
        return self._jobs if isinstance(self._jobs, ProcessPoolExecutor) else None

    def _mapped(self, work: Callable, bands: Iterable) -> list:
        """Work as `map` does, in threads; return only when all of them have ended."""
        bands = list(bands)
        if len(bands) == 1:
            return [work(bands[0])]
        if self._short or self._bands is None:
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


def _run(job: Job) -> object:
    keep_memory()
    return job.run()


def _lost(error: BaseException) -> bool:
    """Return True if a worker died, rather than the job failed; dask has its own exception."""
    return isinstance(error, BrokenExecutor) or type(error).__name__ == "KilledWorker"


def _is_short(error: BaseException) -> bool:
    """Return True if the system has no memory left, which is not the fault of a file."""
    return isinstance(error, MemoryError) or (
        isinstance(error, OSError) and error.errno == errno.ENOMEM
    )


def _shown(job: Job) -> str:
    """Return the file of a job, or the first and the number of the others."""
    more = len(job.files) - 1
    return job.files[0] + (f" and {more} more" if more else "")


def check_workers(executor: Executor) -> None:
    """Refuse a pool whose processes do not start.

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
            f"the processes of the executor cannot be started ({error}); use fewer, allow more "
            "(ulimit -u), or omit the executor and set the number of workers with jobs=."
        ) from error
    except BrokenExecutor as error:
        raise InputError(
            f"the processes of the executor end as soon as they start ({error}); in a script, put the code "
            'under if __name__ == "__main__":, because every new process imports the script.'
        ) from error


def workers_of(executor: Executor | None, jobs: int) -> int:
    """Return the number of workers: as requested, that of the executor, or of processors."""
    if number := jobs or size_of(executor):
        return number
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
