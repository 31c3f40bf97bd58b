"""The right spelling of a word that was mistyped, where one is really near."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

__all__ = ["near_files", "near_words"]

_MOST_SLIPS = 3


def near_words(word: object, choices: Iterable[object], number: int = 1) -> list[str]:
    """Return the choices of which a word may be a misspelling, the nearest first.

    A slip is a letter that is missing, added, wrong, or swapped with the next one. One
    slip in three letters is allowed, and three in all; upper and lower case count as
    the same letter.

    Parameters
    ----------
    word : object
    choices : iterable
    number : int
        How many are returned at most.

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
    found = []
    for choice in map(str, choices):
        allowed = min(_MOST_SLIPS, max(len(text), len(choice)) // 3)
        slips = _slips(text, choice.casefold(), allowed)
        if slips <= allowed:
            found.append((slips, choice))
    return [choice for _, choice in sorted(found, key=lambda f: f[0])][:number]


def near_files(name: str, files: Iterable[str], number: int = 1) -> list[str]:
    """Return the files whose name is one slip from another, or only longer or shorter.

    Frames are numbered, so that names of one night are alike; what most of them share
    does not make two of them near. Folders and the last suffix are not compared.

    Examples
    --------
    >>> from ccdprofiles.camera.spelling import near_files
    >>> near_files("ccd.037.fits", ["ccd.037.0.fits", "ccd.038.0.fits"])
    ['ccd.037.0.fits']
    >>> near_files("nosuch.fits", ["ccd.037.0.fits", "ccd.038.0.fits"])
    []
    """
    text = PurePosixPath(name).stem.casefold()
    found = []
    for file in files:
        stem = PurePosixPath(file).stem.casefold()
        shortest = min(len(text), len(stem))
        if shortest < 3:
            continue
        if _slips(text, stem, 1) <= 1:
            found.append((0, file))
        elif stem.startswith(text) or text.startswith(stem):
            found.append((1, file))
    # Of files equally near the last is taken: a number that is missing was likely too high.
    found.reverse()
    return [file for _, file in sorted(found, key=lambda f: f[0])][:number]


def _slips(one: str, other: str, most: int) -> int:
    """Count the slips from one word to another; more than ``most`` are not counted."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        before, last, row = row, before, [i]
        for j, wanted in enumerate(other, 1):
            slips = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            swapped = i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted
            row.append(min(slips, last[j - 2] + 1) if swapped else slips)
    return row[-1]
