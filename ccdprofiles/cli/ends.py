"""How a command ends early: by a signal, by a bug in ccdprofiles, or for lack of memory."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from .. import __version__
from ..errors import (
    CCDProfilesError,
    EmptyNight,
    InputError,
    Locked,
    OutputError,
    PlanError,
    ProfileError,
    chain_of,
)
from ..files.layout import FOLDERS, LOG
from ..files.threads import NOT_STARTED

__all__ = ["Stopped", "check_memory", "crashed", "is_short_of_memory", "status_of", "stoppable"]

DONE, INCOMPLETE, USAGE, NOTHING, LOCKED, OUTPUT, CRASHED = 0, 1, 2, 3, 4, 5, 70

_OF_ERRORS = (
    (Locked, LOCKED),
    (OutputError, OUTPUT),
    (ProfileError, USAGE),
    (EmptyNight, NOTHING),
    (InputError, USAGE),
    (PlanError, USAGE),
)

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")

_PATIENCE = 4.0
"""Seconds in which a command must end by itself after a signal."""

_LIBRARIES = ("numpy", "astropy", "ccdproc", "scipy")


def status_of(error: CCDProfilesError) -> int:
    """Return the exit status of a command that ends with an error."""
    return next((status for kind, status in _OF_ERRORS if isinstance(error, kind)), INCOMPLETE)


class Stopped(KeyboardInterrupt):
    """The command was ended by a signal with this number."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number

    @property
    def status(self) -> int:
        """The exit status, as a shell reports it."""
        return 128 + self.number

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        how = "interrupted" if name == "SIGINT" else f"ended by {name}"
        return f"ccdprofiles: {how}; finished products are kept; run it again to continue."


@contextmanager
def stoppable(output: Path | None) -> Iterator[None]:
    """Raise `Stopped` on Ctrl-C, SIGTERM and SIGHUP, and make sure that the command ends.

    A signal that was ignored before, as SIGHUP is under nohup, remains ignored. The earlier
    handlers are restored at the end.

    Parameters
    ----------
    output : Path or None
        The folder in which unfinished files are removed if the command takes too long.
    """
    # Resolved now: a folder that becomes a link later may lead to files of others.
    names = ("", *FOLDERS)
    folders = None if output is None else [os.path.realpath(output / name) for name in names]
    signals: list[int] = []
    over = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        # A second signal must not interrupt the removal of files that the first one started.
        if not signals:
            signals.append(number)
            _end_in_time(Stopped(number), folders, over)
            raise Stopped(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        signals.append(0)
        over.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_in_time(stopped: Stopped, folders: list[str] | None, over: threading.Event) -> None:
    """End the process after some time, in case of work that cannot be interrupted."""
    watch = threading.Thread(target=_end_at_last, args=(stopped, folders, over), daemon=True)
    with suppress(*NOT_STARTED):
        watch.start()


def _end_at_last(stopped: Stopped, folders: list[str] | None, over: threading.Event) -> None:
    if over.wait(_PATIENCE):
        return
    with suppress(Exception):
        print(stopped, file=sys.stderr, flush=True)
    with suppress(Exception):
        from ..files.places import Places
        from ..output.lock import HOLDER
        from ..products.product import remove_leftovers

        if folders is not None and os.path.isdir(folders[0]):
            root, *inner = map(Path, folders)
            remove_leftovers(Places(root, dict(zip(FOLDERS, inner, strict=True))))
            (root / HOLDER).unlink(missing_ok=True)
    os._exit(stopped.status)


def crashed(error: BaseException, output: Path | None) -> str:
    """Log the traceback of a bug in ccdprofiles, and return the message for the user.

    Parameters
    ----------
    error : Exception
    output : Path or None
        The folder whose log is written to; without one a temporary file is written.
    """
    import traceback

    report = _report(error)
    where = _written(report, output)
    if where is None:
        with suppress(OSError):
            print(report, file=sys.stderr)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    at = "".join(f" at {Path(s.filename).name}, line {s.lineno}" for s in last)
    notes = "".join(f", {note}" for note in getattr(error, "__notes__", ()))
    log = "the text printed above" if where is None else f"the log {where}"
    return (
        f"ccdprofiles: a bug in ccdprofiles: {type(error).__name__}: {error}{at}{notes}; "
        f"finished products are kept. Please send {log} to the developers of ccdprofiles (see README)."
    )


def _report(error: BaseException) -> str:
    import platform
    import traceback
    from importlib import metadata

    versions = [f"ccdprofiles {__version__}", f"python {platform.python_version()}"]
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    return (
        f"{time.strftime('%Y-%m-%d %H:%M:%S')} CRASH {', '.join(versions)} on "
        f"{platform.platform()}\n{''.join(traceback.format_exception(error))}"
    )


def _written(report: str, output: Path | None) -> Path | None:
    """Append a report to the log of an output that a run has used, or to a file of its own."""
    import tempfile

    data = report.encode("utf-8", "backslashreplace")
    with suppress(OSError, OutputError, ImportError):
        from ..files.places import open_to_append
        from ..output.lock import has_lock

        if output is not None and has_lock(output):
            with open(open_to_append(output / LOG), "wb") as stream:
                stream.write(data)
                return output / LOG
    with suppress(OSError):
        descriptor, name = tempfile.mkstemp(prefix="ccdprofiles-", suffix=".log")
        with open(descriptor, "wb") as stream:
            stream.write(data)
        return Path(name)
    return None


def is_short_of_memory(error: BaseException | None) -> bool:
    """Return True if lack of memory, or of room for a thread, caused an error."""
    for one in chain_of(error):
        # If a library cannot load a shared object, only the message shows the reason.
        text = str(one)
        if isinstance(one, MemoryError) or (
            isinstance(one, ImportError | RuntimeError | OSError)
            and any(words in text for words in _WORDS)
        ):
            return True
    return False


_WORDS = (
    "failed to map segment",
    "annot allocate memory",
    "can't start new thread",
    "cannot create thread",
)


def check_memory(least: int, room: Callable[[], int | None] | None = None) -> None:
    """Refuse to start if the address space is too small for the libraries.

    Some of them wait for ever, or end the process, if they have too little memory.

    Parameters
    ----------
    least : int
        What is needed, in bytes.
    room : callable, optional
        Returns the limit in bytes, or None for no limit; by default that of this process.

    Raises
    ------
    OutputError
    """
    allowed = (room or _address_space)()
    if allowed is not None and allowed < least:
        raise OutputError(
            f"this process may use {allowed / 2**20:.0f} MiB of address space, but needs "
            f"{least / 2**20:.0f} MiB or more; raise the limit (ulimit -v, ulimit -d)."
        )


def _address_space() -> int | None:
    """Return the smaller limit of this process on its memory, or None for no limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    names = ("RLIMIT_AS", "RLIMIT_DATA")
    limits = [resource.getrlimit(getattr(resource, n))[0] for n in names if hasattr(resource, n)]
    return min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=None)
