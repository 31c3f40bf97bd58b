"""The files of corrections that a recipe names: their names, where they are, and their SHA-256.

A file lies beside the profile. ``{binning}`` in its name stands for the binning of a frame,
columns x rows, as in ``mask_2x2.fits``; a dict gives a name for each binning, or for each filter.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from ..errors import FrameRejected, ProfileError, words_of
from .frame_types import FRAME_TYPES
from .values import read_only

__all__ = [
    "CORRECTIONS",
    "Corrected",
    "correction_file",
    "file_names",
    "named_files",
    "sha256_of_file",
    "used_corrections",
    "used_files",
]

_AFFECTED = {
    "bad_pixels": FRAME_TYPES,
    "crosstalk": FRAME_TYPES,
    "linearity": ("dark", "flat", "arc", "science"),
    "shutter": ("flat", "science"),
    "fringe": ("science",),
}
"""The fields of a recipe that name corrections, and the frames whose pixels each changes."""

CORRECTIONS = tuple(_AFFECTED)
"""Fields of a recipe, all of them None unless they are used."""

_BY_BINNING, _BY_FILTER = ("bad_pixels", "shutter"), ("fringe",)
"""Those of which a dict gives a file for each binning, or for each filter; other filters are not
corrected. A dict of the others is by amplifiers."""

_BINNING = "{binning}"
_FITS = (".fits", ".fit", ".fits.gz", ".fits.fz", ".fit.gz")


class _OfProfile(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def folder(self) -> Path: ...


class Corrected(Protocol):
    """A frame, as far as its corrections depend on it."""

    @property
    def profile(self) -> _OfProfile:
        """Its profile, with the folder in which the files are."""

    @property
    def recipe(self) -> Any:
        """How it is calibrated."""

    @property
    def binning(self) -> tuple[int, int]:
        """Columns and rows that were summed into one."""

    @property
    def filter(self) -> str | None:
        """Its filter."""


def file_names(value: Any, field: str, by: str = "binning") -> Any:
    """Return the names of FITS files in a recipe: None, a text, or a read-only dict of texts.

    Parameters
    ----------
    value : str, mapping of str, or None
    field : str
        Its name in a message.
    by : {"binning", "filter"}
        What the keys of a dict are.

    Raises
    ------
    ProfileError
        If a name is not that of a FITS file, or a key is not a binning.

    Examples
    --------
    >>> from ccdprofiles.camera.corrections import file_names
    >>> file_names("mask_{binning}.fits", "bad_pixels")
    'mask_{binning}.fits'
    """
    if value is None or isinstance(value, str):
        if value is not None:
            _check_name(value, field)
        return value
    if not isinstance(value, Mapping):
        raise ProfileError(
            f"{field}={value!r} is not the name of a FITS file; use a text such as "
            f"'{field}_{_BINNING}.fits', or a dict of names by {by}."
        )
    for key, name in value.items():
        if by == "binning" and not (isinstance(key, str) and re.fullmatch(r"\d+x\d+", key)):
            raise ProfileError(
                f"{field}= has the key {key!r}, which is not a binning; write columns x rows, "
                "such as {'2x2': 'mask.fits'}."
            )
        _check_name(name, field)
    return read_only(value)


def _check_name(name: object, field: str) -> None:
    plain = name.replace(_BINNING, "") if isinstance(name, str) else ""
    if not plain.lower().endswith(_FITS) or set(plain) & set("{}*?["):
        raise ProfileError(
            f"{field}={name!r} is not the name of a FITS file; use one that ends in .fits, beside the "
            f"profile, in which {_BINNING} may stand for the binning, such as 2x2."
        )


def used_corrections(recipe: Any, kind: str | None = None) -> dict[str, Any]:
    """Return the corrections that a recipe makes, by their fields.

    Parameters
    ----------
    recipe : Recipe
    kind : {"bias", "dark", "flat", "arc", "science"}, optional
        Only the corrections of such frames.
    """
    values = {field: getattr(recipe, field) for field in CORRECTIONS}
    return {
        field: value
        for field, value in values.items()
        if value is not None and (kind is None or kind in _AFFECTED[field])
    }


def named_files(recipe: Any, folder: Path) -> tuple[tuple[str, Path], ...]:
    """Return every file that a recipe names, as field and path.

    Parameters
    ----------
    recipe : Recipe
    folder : Path
        Of the profile.

    Raises
    ------
    ProfileError
        If one does not exist.
    """
    return tuple(
        (field, path)
        for field, value in used_corrections(recipe).items()
        for name in (value.values() if isinstance(value, Mapping) else (value,))
        if isinstance(name, str)
        for path in _existing(name, folder, field)
    )


def _existing(name: str, folder: Path, field: str) -> Iterator[Path]:
    """Iterate over the files of a name, one for each binning if it contains ``{binning}``."""
    stem, _, end = (folder / name).name.partition(_BINNING)
    pattern = re.escape(stem) + (r"\d+x\d+" if _BINNING in name else "") + re.escape(end)
    place = (folder / name).parent
    found = sorted(p for p in place.glob("*") if re.fullmatch(pattern, p.name))
    if not found:
        raise ProfileError(
            f"{field}={name!r}: there is no such file in {place}; put it beside the profile, or "
            f"correct {field}= in the recipe."
        )
    yield from found


def correction_file(frame: Corrected, field: str) -> Path | None:
    """Return the file of a correction for a frame; None if its recipe makes no such correction.

    Raises
    ------
    FrameRejected
        ``correction`` if there is none for its binning.
    """
    value = getattr(frame.recipe, field)
    binning = "{}x{}".format(*frame.binning)
    if isinstance(value, Mapping) and field in (*_BY_BINNING, *_BY_FILTER):
        name = value.get(binning if field in _BY_BINNING else frame.filter)
        if name is None and field in _BY_BINNING:
            raise FrameRejected(
                "correction",
                f"its binning is {binning}, but {field}= of the profile {frame.profile.name} names "
                f"files for {', '.join(value)} only; add one for this binning, or take the frame out "
                "of the night.",
            )
        value = name
    if not isinstance(value, str):
        return None
    return _existing_file(frame, field, value)


def _existing_file(frame: Corrected, field: str, name: str) -> Path:
    binning = "{}x{}".format(*frame.binning)
    path = frame.profile.folder / name.replace(_BINNING, binning)
    if not path.is_file():
        raise FrameRejected(
            "correction",
            f"{field}= of the profile {frame.profile.name} needs the file {path.name} for frames of "
            f"the binning {binning}, but there is no such file in {path.parent}; put it there, or "
            "take the frame out of the night.",
        )
    return path


def used_files(frame: Corrected, kind: str) -> tuple[tuple[str, Path], ...]:
    """Return the files with which a frame of a type is corrected, as field and path.

    Raises
    ------
    FrameRejected
        ``correction`` if there is none for its binning.
    """
    files: list[tuple[str, Path]] = []
    for field, value in used_corrections(frame.recipe, kind).items():
        path = correction_file(frame, field)
        if path is not None:
            files.append((field, path))
        elif field == "linearity" and isinstance(value, Mapping):
            names = dict.fromkeys(name for name in value.values() if isinstance(name, str))
            files += ((field, _existing_file(frame, field, name)) for name in names)
    return tuple(files)


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file; it is computed once as long as the file does not change.

    Raises
    ------
    ProfileError
        If it cannot be read.
    """
    try:
        now = os.stat(path)
        return _sha256(path, now.st_mtime_ns, now.st_size)
    except OSError as error:
        raise ProfileError(
            f"{path} cannot be read ({words_of(error)}); grant read permission, or correct the recipe."
        ) from error


@lru_cache(256)
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
