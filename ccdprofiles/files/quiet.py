"""What libraries warn of, caught where it can be acted on, so that none reaches a terminal."""

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
    """Gather the warnings of a library, and keep numpy from warning of its numbers.

    The filters of warnings belong to all threads, so that only one can be here.

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
