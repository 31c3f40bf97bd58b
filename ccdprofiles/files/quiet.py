"""Warnings of libraries, caught where they can be acted on instead of reaching a terminal."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["caught_warnings"]

_LOCK = threading.Lock()


@contextmanager
def caught_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """Collect the warnings of a library, and silence those of numpy about numbers.

    Warning filters belong to all threads, so only one thread can be in here at a time.

    >>> import warnings
    >>> from ccdprofiles.files.quiet import caught_warnings
    >>> with caught_warnings() as caught:
    ...     warnings.warn("the fit may be poor")
    >>> [str(warning.message) for warning in caught]
    ['the fit may be poor']
    """
    with _LOCK, warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        yield caught
