"""The log file of a run in its output folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from ..errors import OutputError
from ..files.layout import LOG
from ..files.places import open_to_append

__all__ = ["logged"]

log = logging.getLogger("ccdprofiles")


@contextmanager
def logged(output: Path) -> Iterator[None]:
    """Write the log of a run into its output folder too, once the run makes something.

    Raises
    ------
    OutputError
        If the log could not be written.
    """
    handler = _RunLog(output / LOG)
    level = log.level
    log.addHandler(handler)
    if log.getEffectiveLevel() > logging.INFO:
        log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()
    if isinstance(handler.failure, OutputError):
        raise handler.failure
    if handler.failure is not None:
        raise OutputError.of(output / LOG, handler.failure) from handler.failure


class _RunLog(logging.FileHandler):
    """A log file that does not change when a run has nothing to do."""

    def __init__(self, path: Path):
        super().__init__(path, encoding="utf-8", errors="backslashreplace", delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.failure: OSError | OutputError | None = None
        self._waiting: list[logging.LogRecord] = []
        self._begun = not path.exists()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; in a file of an earlier run only once something is made."""
        self._begun = self._begun or bool(getattr(record, "made", False))
        self._waiting.append(record)
        while self._begun and self._waiting:
            self._write(self._waiting.pop(0))

    def _write(self, record: logging.LogRecord) -> None:
        """Write a record, or keep the error, which the run raises at its end."""
        if self.failure is None:
            try:
                stream = self.stream = self.stream or self._open()
                stream.write(self.format(record) + self.terminator)
                stream.flush()
            except (OSError, OutputError) as error:
                self.failure = error

    def _open(self) -> TextIOWrapper:
        descriptor = open_to_append(Path(self.baseFilename))
        return os.fdopen(descriptor, "w", encoding=self.encoding, errors=self.errors)

    def close(self) -> None:
        """Close the file, which on a full disk tries once more to write what is left."""
        try:
            super().close()
        except OSError as error:
            self.failure = self.failure or error
