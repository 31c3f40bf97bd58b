"""What a command prints: results to standard output, messages and log to standard error."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import words_of
from .ends import OUTPUT

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = [
    "Undelivered",
    "allow_any_letter",
    "delivered",
    "logged_to_stderr",
    "rows_of",
    "show",
    "show_json",
    "show_verbatim",
    "tell",
    "undelivered",
]


class Undelivered(Exception):
    """Standard output could not be written, because of an error of the system."""

    def __init__(self, error: OSError):
        super().__init__(error)
        self.error = error


def show(text: str) -> None:
    """Print a result; control characters of file names and headers are escaped.

    Raises
    ------
    Undelivered
    """
    show_verbatim(_plain(text) + "\n")


def show_verbatim(text: str) -> None:
    """Print a text as it is.

    Raises
    ------
    Undelivered
    """
    try:
        print(text, end="")
    except OSError as error:
        raise Undelivered(error) from error


def show_json(value: object) -> None:
    """Print a result as JSON."""
    show(json.dumps(value, indent=1))


def rows_of(table: Table) -> list[dict[str, object]]:
    """Return the rows of a table for JSON; masked values become null."""
    return [{name: _json(row[name]) for name in table.colnames} for row in table]


def tell(text: str) -> None:
    """Write a message to standard error; a closed terminal or a full disk is ignored."""
    if sys.stderr is None:
        return
    try:
        print(_plain(text), file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = None


def allow_any_letter() -> None:
    """Let standard output escape letters that its encoding lacks, as in C locales."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def delivered(status: int) -> int:
    """Return the exit status once all results are written, or 5 if they cannot be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return undelivered(status, error)
    return status


def undelivered(status: int, error: OSError) -> int:
    """Close standard output, which Python would otherwise flush once more at its end."""
    sys.stdout = None
    if isinstance(error, BrokenPipeError):
        # The reader, such as head, has closed the pipe.
        return status
    tell(
        f"ccdprofiles: standard output cannot be written ({words_of(error)}); free some space, or "
        "redirect it to another file; finished products are kept."
    )
    return OUTPUT


@contextmanager
def logged_to_stderr(level: int) -> Iterator[None]:
    """Show the log of the package from a level on."""
    logger = logging.getLogger("ccdprofiles")
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(_PlainFormatter("%(levelname)s: %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        # A program that calls `main` may close its standard error afterwards.
        logger.removeHandler(handler)


class _PlainFormatter(logging.Formatter):
    """Writes a record without control characters, even if the name of a file contains them."""

    def format(self, record: logging.LogRecord) -> str:
        return _plain(super().format(record))


def _json(value: object) -> object:
    import numpy as np

    if value is np.ma.masked:
        return None
    return value.item() if hasattr(value, "item") else str(value)


def _plain(text: str) -> str:
    """Escape control characters, but for the ends of lines."""
    return "\n".join(line if line.isprintable() else _printable(line) for line in text.split("\n"))


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
