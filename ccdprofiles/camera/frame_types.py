"""The types of frame, and the words that headers have for them."""

from __future__ import annotations

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
    "possible_words",
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
