"""The types of frame, and the words that headers have for them."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

__all__ = [
    "COMMON_FRAME_TYPES",
    "FRAME_TYPES",
    "HASHED_FRAME_TYPES",
    "MASTER_TYPES",
    "STEPS",
    "loose",
    "path_fits",
    "possible_words",
    "type_of_path",
    "with_common",
]

STEPS = ("bias", "dark", "flat")
"""The types whose masters calibrate other frames: the steps that can be omitted."""

MASTER_TYPES = (*STEPS, "arc")
"""The types of which masters are made, each after those that it may need."""

FRAME_TYPES = (*MASTER_TYPES, "science")
"""All types of frame."""

_WORDS = {
    "bias": ("bias", "bias frame", "offset", "zero"),
    "dark": ("dark", "dark frame", "dark flat", "flat dark"),
    "flat": (
        *("flat", "flat field", "flat frame", "dome flat", "lamp flat", "sky flat"),
        *("twilight", "twilight flat"),
    ),
    "arc": ("arc", "comp", "comparison", "calibration lamp"),
    "science": (
        *("expose", "light", "light frame", "object", "science", "snapshot", "spectrum"),
        *("standard", "tricolor image"),
    ),
}

COMMON_FRAME_TYPES = {word: kind for kind, words in _WORDS.items() for word in words}
"""What most cameras write in IMAGETYP. Case, blanks, ``-`` and ``_`` make no difference,
nor does the word "frame" at the end. The ``frame_types`` of a profile are added to these words.
"""


@lru_cache(maxsize=256)
def loose(word: str) -> str:
    """Write a word as ``Bias_Frame``, ``bias-frame`` and ``BIAS`` share it."""
    return re.sub(r"[\s_-]+", " ", word.lower()).removesuffix(" frame").replace(" ", "")


_COMMON_LOOSE = {loose(word): kind for word, kind in COMMON_FRAME_TYPES.items()}

HASHED_FRAME_TYPES = {
    word: _COMMON_LOOSE[loose(word)]
    for word in (
        *("bias", "bias frame", "offset", "zero", "dark", "dark frame", "flat", "flat field"),
        *("flat frame", "flatfield", "domeflat", "skyflat", "twilight", "twilight flat", "arc"),
        *("comp", "light", "light frame", "object", "science"),
    )
}
"""What the hash of a profile without ``frame_types`` contains: the common words of the first
version, so that its products stay up to date."""


def with_common(frame_types: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the words of a profile and the common ones, as `loose` writes them."""
    return _COMMON_LOOSE | {loose(word): kind for word, kind in frame_types.items()}


def possible_words(word: str, frame_types: Mapping[str, str | None]) -> Iterable[str]:
    """Return the words that may be meant; a correction must not lead to another type.

    Parameters
    ----------
    word : str
        In lower case.
    frame_types : mapping
        The words of the profile, which count before the common ones.
    """
    if "acq" in word:
        return ()
    known = with_common(frame_types)
    kinds = {w: known[loose(w)] for w in (*frame_types, *COMMON_FRAME_TYPES)}
    if "flat" not in word and "twilight" not in word:
        return kinds
    if "dark" in word:
        return [w for w, kind in kinds.items() if kind == "dark" and "flat" in w]
    return [w for w, kind in kinds.items() if kind == "flat"]


def type_of_path(file: str, file_types: Mapping[str, str | None]) -> str | None:
    """Return the pattern that decides the type of a file; None if none fits.

    The deepest folder decides, and of several patterns that fit it the first one. A pattern that
    does not begin with ``*`` begins at the folder of the night.

    >>> from ccdprofiles.camera.frame_types import type_of_path
    >>> types = {"*dark*/*": "dark", "*/light/*": "science"}
    >>> type_of_path("Dark site/Light/1.fits", types), type_of_path("M31/1.fits", types)
    ('*/light/*', None)
    """
    folders = file.split("/")
    for depth in range(len(folders) - 2, -1, -1) if folders[1:] else (0,):
        inside = "/".join(folders[depth:])
        for pattern in file_types:
            anywhere = pattern.startswith("*") or "/" not in pattern
            if (anywhere or depth == 0) and path_fits(inside, pattern):
                return pattern
    return None


def path_fits(file: str, pattern: str) -> bool:
    """Return True if a path inside a night fits a pattern, without case.

    A pattern without ``/`` is compared with the name of the file, and ``*`` includes ``/``.

    >>> from ccdprofiles.camera.frame_types import path_fits
    >>> path_fits("flat/a.fits", "*/FLAT/*"), path_fits("d/dark_1.fits", "Dark_*")
    (True, True)
    """
    path = f"/{file}" if "/" in pattern else file.rpartition("/")[2]
    text = pattern if pattern.startswith(("*", "/")) or "/" not in pattern else f"/{pattern}"
    return bool(file) and fnmatch.fnmatchcase(path.lower(), text.lower())
