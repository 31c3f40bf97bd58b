"""The executor that runs the jobs of a night: own threads or processes, or that of the caller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path

from ..errors import InputError
from ..plan.frames import Frame

__all__ = ["check_executor", "executor_of"]


def check_executor(jobs: int, executor: Executor | None, dask: str | None) -> None:
    """Refuse options that do not specify an executor.

    Raises
    ------
    InputError
        If an option is not valid, or both an executor and a cluster are specified.
    """
    if not isinstance(jobs, int) or jobs < 0:
        raise InputError(f"jobs={jobs!r} is not a number of threads; 0 uses all processors.")
    if executor is not None and dask is not None:
        raise InputError(
            "both an executor and a dask cluster are specified, but only one can run the jobs; omit the other."
        )
    if dask is not None:
        from .cluster import address_of

        address_of(dask)
    if executor is not None:
        if not callable(getattr(executor, "submit", None)):
            raise InputError(
                f"executor={executor!r} is not an executor; use one of concurrent.futures, "
                "or omit it and set the number of workers with jobs=."
            )
        from .workers import check_workers

        check_workers(executor)


@contextmanager
def executor_of(
    frames: Sequence[Frame], output: Path, jobs: int, executor: Executor | None, dask: str | None
) -> Iterator[tuple[Executor | None, int]]:
    """Yield the executor for the jobs of a night and the number of its workers.

    The executor is None for threads of this process; the number 0 means all processors.
    """
    from .processes import process_pool, worth_while
    from .workers import workers_of

    if dask is not None:
        from .cluster import connected

        with connected(dask, [output, *(frame.path for frame in frames[:1])]) as (client, number):
            yield client, jobs or number
    elif executor is None and jobs != 1 and worth_while(frames):
        with process_pool(workers_of(None, jobs)) as pool:
            yield pool, jobs
    else:
        yield executor, jobs
