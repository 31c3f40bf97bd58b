"""The lock of an output folder, by which one run at a time writes to it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

from ..errors import Locked, OutputError, words_of
from ..files.layout import FOLDERS
from ..files.places import refuse_other_name, write_new

__all__ = ["HOLDER", "LOCK", "has_lock", "locked", "may_be_locked"]

LOCK, HOLDER = ".ccdprofiles.lock", ".ccdprofiles.holder"


def has_lock(output: Path) -> bool:
    """Return True if a run of ccdprofiles has used this output folder."""
    return (output / LOCK).exists()


def may_be_locked(output: Path) -> bool:
    """Return True if an earlier run left a lock that is a regular file, so that it can be used.

    Folders that are links may lead back to the raw frames, which is known only once the
    headers are read.
    """
    try:
        lock = (output / LOCK).lstat()
    except OSError:
        return False
    linked = any((output / name).is_symlink() for name in FOLDERS)
    return S_ISREG(lock.st_mode) and lock.st_nlink == 1 and not linked


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Keep the lock of an output folder, which is created if there is none.

    Raises
    ------
    Locked
        If another run uses it; the message names that run.
    OutputError
        If the folder cannot be created or written.
    """
    from filelock import FileLock, Timeout

    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{output} cannot be created ({words_of(error)}); grant permission, or use another folder."
        ) from error
    holder = output / HOLDER

    # FileLock empties the file, and a link may lead to a file of others.
    refuse_other_name(output / LOCK)
    lock = FileLock(output / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Locked(
            f"another run writes to {output} ({_holder_of(holder)}); wait for it to end."
        ) from error
    except NotImplementedError as error:
        raise OutputError(
            f"the disk of {output} does not support file locks, which keep two runs from writing "
            "at the same time; use a folder on another disk."
        ) from error
    except OSError as error:
        raise OutputError(
            f"{output} cannot be written ({words_of(error)}); grant permission, or use another folder."
        ) from error
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        _write_holder(holder, f"process {os.getpid()} on {socket.gethostname()} since {now}\n")
        yield
    finally:
        with suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _holder_of(holder: Path) -> str:
    try:
        return holder.read_text(encoding="utf-8").strip() or "unknown"
    except OSError:
        return "unknown"


def _write_holder(holder: Path, text: str) -> None:
    """Record which run uses the folder, and check that it and the folders in it can be written."""
    path = holder
    try:
        # A link of this name may lead to a file of others.
        holder.unlink(missing_ok=True)
        write_new(holder, text)
        for name in FOLDERS:
            if (holder.parent / name).is_dir():
                path = holder.parent / name / ".probe.tmp"
                path.unlink(missing_ok=True)
                write_new(path, text)
                path.unlink()
    except OSError as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        raise OutputError(
            f"{path.parent} cannot be written ({words_of(error)}); "
            "free some space or grant write permission, or use another folder."
        ) from error
