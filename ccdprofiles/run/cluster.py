"""A cluster of dask.distributed that runs the jobs of a night."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["address_of", "check_paths", "connected"]

_PATIENCE = 30
"""How long to wait for the answer of a scheduler, in seconds."""

_ADDRESS = re.compile(r"(?:(?P<how>tcp|tls|ws|wss|ucx)://)?[^\s/]+:(?P<port>\d+)")


def address_of(given: str) -> str:
    """Return the address of a scheduler, read from its file if necessary.

    A `~distributed.Client` with an invalid address would wait for ever.

    Parameters
    ----------
    given : str
        Such as ``tcp://10.0.0.1:8786``, or the name of a scheduler file (``.json``).

    Raises
    ------
    InputError
        If it is not an address, or not a file written by a scheduler.
    """
    address = given
    if isinstance(given, str) and given.endswith(".json"):
        try:
            address = json.loads(Path(given).expanduser().read_text("utf-8"))["address"]
        except OSError as error:
            raise InputError(
                f"the scheduler file {given} cannot be read ({error.strerror}); start a "
                "scheduler that writes it (dask scheduler --scheduler-file), or correct the name."
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{given} is not a scheduler file with an address; use the one that "
                "dask scheduler --scheduler-file wrote."
            ) from error
    match = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if match is None or int(match["port"]) > 65535:
        raise InputError(
            f"dask={given!r} is not the address of a scheduler; use host and port, such as "
            "tcp://10.0.0.1:8786, or its scheduler file, whose name ends in .json."
        )
    return address


@contextmanager
def connected(address: str, paths: Iterable[Path] = ()) -> Iterator[tuple[Executor, int]]:
    """Connect to a scheduler; yields an executor and the number of jobs that run at a time.

    Parameters
    ----------
    address : str
        Such as ``tcp://10.0.0.1:8786``, or the name of a scheduler file (``.json``).
    paths : iterable of Path
        Files and folders that all workers must be able to access.

    Raises
    ------
    InputError
        If dask.distributed is not installed, the address is invalid, no scheduler answers,
        it has no worker, or a worker cannot access a path.
    """
    where = address_of(address)
    try:
        from distributed import Client
        from distributed.security import Security
    except ImportError as error:
        raise InputError(
            "a dask cluster needs dask.distributed; install it with pip install 'ccdprofiles[dask]'."
        ) from error
    secret = where.startswith(("tls:", "wss:"))
    if secret and Security().get_connection_args("client")["ssl_context"] is None:
        raise InputError(
            f"{where} needs TLS, but dask has no certificate; add it to the "
            "configuration of dask (distributed.comm.tls.client), or use a tcp:// address."
        )
    try:
        client = Client(where, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise InputError(
            f"no dask scheduler answers at {address} ({error}); start one, or correct the address."
        ) from error
    try:
        number = sum(client.nthreads().values())
        if not number:
            raise InputError(f"the dask scheduler at {address} has no worker; start at least one.")
        check_paths(client, paths)
        # Not pure: equal jobs must all run, because each writes a file.
        yield client.get_executor(pure=False), number
    finally:
        client.close()


def check_paths(client: Client, paths: Iterable[Path]) -> None:
    """Refuse workers that cannot access the night and its output under the same path.

    Raises
    ------
    InputError
    """
    wanted = [str(path.absolute()) for path in paths]
    for worker, missing in sorted(client.run(_unseen, wanted).items()):
        if missing:
            raise InputError(
                f"the worker {worker} cannot access {missing[0]}; move night and output to "
                "storage that all workers share under the same path."
            )


def _unseen(paths: list[str]) -> list[str]:
    return [path for path in paths if not os.path.exists(path)]
