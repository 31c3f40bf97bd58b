"""The command line: ``ccdprofiles info, plan, reduce, verify, badpix, profiles, demo``.

Results go to standard output, progress and log to standard error. What needs
astropy or ccdproc is imported by the command that needs it, so that ``--help`` is fast.
"""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Sequence

from .. import __version__
from ..errors import CCDProfilesError, OutputError, chain_of, words_of
from ..files.threads import stay_single
from .badpix import add_badpix
from .demo import add_demo
from .ends import (
    CRASHED,
    DONE,
    OUTPUT,
    USAGE,
    Stopped,
    check_memory,
    crashed,
    is_short_of_memory,
    status_of,
    stoppable,
)
from .info import add_info
from .plan import add_plan
from .profiles import add_profiles
from .reduce import add_reduce
from .terminal import (
    Undelivered,
    allow_any_letter,
    delivered,
    logged_to_stderr,
    tell,
    undelivered,
)
from .verify import add_verify

__all__ = ["main", "parser"]

_DESCRIPTION = (
    "Reduce a night of CCD frames: describe your camera once, reduce each night with one command."
)

_EPILOG = """\
exit status: 0 everything was made; 1 some frames are missing or were set aside; 2 the
command line or a profile is not valid; 3 nothing could be reduced; 4 another run is using
the output folder; 5 the output cannot be written, or there is not enough memory; 70 a bug
in ccdprofiles; 129, 130 and 143 ended by SIGHUP, Ctrl-C and SIGTERM."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit status.
    """
    try:
        options = parser().parse_args(arguments)
        options.process_is_ours = arguments is None
        if options.process_is_ours:
            allow_any_letter()
        level = (
            logging.ERROR if options.quiet else logging.INFO if options.verbose else logging.WARNING
        )
        with logged_to_stderr(level), stoppable(options.output_of(options)):
            return delivered(_ended(options))
    except SystemExit as ended:  # raised by --help, or for an invalid command line
        raise SystemExit(delivered(int(ended.code or 0))) from None
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
        tell(str(stopped))
        delivered(stopped.status)
        return stopped.status


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    made = argparse.ArgumentParser(
        prog="ccdprofiles",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"ccdprofiles {__version__}")
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        add_info,
        add_plan,
        add_reduce,
        add_verify,
        add_badpix,
        add_profiles,
        add_demo,
    ):
        add(commands)
    return made


def _ended(options: argparse.Namespace) -> int:
    """Run a command, and return the exit status in any case."""
    try:
        check_memory(options.least_memory)
        if options.process_is_ours:
            # Threads of libraries use memory that is needed for the workers if the limit is small.
            stay_single()
        return options.command(options)
    except CCDProfilesError as error:
        if is_short_of_memory(error.__cause__) and not isinstance(error, OutputError):
            return _short_of_memory()
        tell(f"ccdprofiles: {error}")
        return status_of(error)
    except Undelivered as error:
        return undelivered(DONE, error.error)
    except BrokenPipeError as error:
        return undelivered(DONE, error)
    except Exception as error:
        # Python 3.11 wraps what interrupts the making of a class in a RuntimeError.
        if stopped := [e for e in chain_of(error) if not isinstance(e, Exception)]:
            raise stopped[0] from error
        if is_short_of_memory(error):
            return _short_of_memory()
        if isinstance(error, OSError) and error.filename:
            tell(f"ccdprofiles: {error.filename} cannot be used ({words_of(error)}).")
            return USAGE
        tell(crashed(error, options.output_of(options)))
        return CRASHED


def _short_of_memory() -> int:
    tell(
        "ccdprofiles: not enough memory or threads; allow more (ulimit -v, ulimit -u), end other "
        "programs, or use fewer workers (-j 1); finished products are kept."
    )
    return OUTPUT
