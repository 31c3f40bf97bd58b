"""The nearest spelling of a mistyped word, if one is near enough."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

__all__ = ["near_files", "near_words"]

_MOST_SLIPS = 3
"""The largest number of typing errors in a word of any length."""


def near_words(word: object, choices: Iterable[object], number: int = 1) -> list[str]:
    """Return the choices of which a word may be a misspelling, the nearest first.

    A typing error is a letter that is missing, added, wrong, or swapped with the next one. One per
    three letters is allowed, and three in total; case does not count.

    Parameters
    ----------
    word : object
    choices : iterable
    number : int
        The largest number that is returned.

    Examples
    --------
    >>> from ccdprofiles.camera.spelling import near_words
    >>> near_words("drak", ["bias", "dark", "flat"])
    ['dark']
    >>> near_words("V", ["B", "R", "v"])
    ['v']
    >>> near_words("nonsense", ["bias", "dark", "flat"])
    []
    """
    text = str(word).casefold()
    near = []
    for choice in map(str, choices):
        allowed = min(_MOST_SLIPS, max(len(text), len(choice)) // 3)
        slips = _slips(text, choice.casefold(), allowed)
        if slips <= allowed:
            near.append((slips, choice))
    return [choice for _, choice in sorted(near, key=lambda n: n[0])][:number]


def near_files(name: str, files: Iterable[str], number: int = 1) -> list[str]:
    """Return the files whose name differs by one typing error, or begins with the other name.

    Only one typing error, because the names of numbered frames are similar. Folders and the last
    suffix are not compared.

    Examples
    --------
    >>> from ccdprofiles.camera.spelling import near_files
    >>> near_files("ccd.037.fits", ["ccd.037.0.fits", "ccd.038.0.fits"])
    ['ccd.037.0.fits']
    >>> near_files("nosuch.fits", ["ccd.037.0.fits", "ccd.038.0.fits"])
    []
    """
    text = PurePosixPath(name).stem.casefold()
    near = []
    for file in files:
        stem = PurePosixPath(file).stem.casefold()
        shortest = min(len(text), len(stem))
        if shortest < 3:
            continue
        if _slips(text, stem, 1) <= 1:
            near.append((0, file))
        elif stem.startswith(text) or text.startswith(stem):
            near.append((1, file))
    # Of equally near files the last comes first: a missing number was probably too high.
    near.reverse()
    return [file for _, file in sorted(near, key=lambda n: n[0])][:number]


def _slips(one: str, other: str, most: int) -> int:
    """Return the number of typing errors between two words (Damerau's distance), up to ``most``."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    previous: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        previous, last_but_one, row = row, previous, [i]
        for j, wanted in enumerate(other, 1):
            slips = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (letter != wanted))
            swapped = i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted
            row.append(min(slips, last_but_one[j - 2] + 1) if swapped else slips)
    return row[-1]
