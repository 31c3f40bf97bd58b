"""A cluster of dask.distributed that does the jobs of a night."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import InputError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["check_paths", "connected"]

_PATIENCE = 30
"""How long a scheduler may take to answer, in seconds."""


@contextmanager
def connected(address: str) -> Iterator[tuple[Executor, int]]:
    """Connect to a scheduler; gives an executor, and how many jobs its workers do at a time.

    Parameters
    ----------
    address : str
        Such as ``tcp://10.0.0.1:8786``, or the name of a scheduler file (``.json``).

    Raises
    ------
    InputError
        If dask.distributed is not installed, no scheduler answers, or it has no worker.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "a dask cluster needs dask.distributed; install it with pip install 'ccdprofiles[dask]'."
        ) from error
    where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        client = Client(**where, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no dask scheduler answers at {address} ({error}); start one, or correct the address."
        ) from error
    try:
        number = sum(client.nthreads().values())
        if not number:
            raise InputError(f"the dask scheduler at {address} has no worker; start some.")
        # Equal jobs are not one job: each writes.
        yield client.get_executor(pure=False), number
    finally:
        client.close()


def check_paths(client: Client, paths: Iterable[Path]) -> None:
    """Refuse workers that do not see the night and its output where we do.

    Raises
    ------
    InputError
    """
    wanted = [str(path.absolute()) for path in paths]
    for worker, missing in sorted(client.run(_unseen, wanted).items()):
        if missing:
            raise InputError(
                f"the worker {worker} does not see {missing[0]}; night and output must lie on a "
                "storage that all workers share, under the same path."
            )


def _unseen(paths: list[str]) -> list[str]:
    return [path for path in paths if not os.path.exists(path)]
