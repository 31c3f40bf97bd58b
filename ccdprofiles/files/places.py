"""Paths of the output folder: kept open, never followed through links, identified by the system."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, OutputError
from .layout import FOLDERS

__all__ = [
    "HeldFolders",
    "Places",
    "escaped_path",
    "identity",
    "local_path",
    "numbers_of",
    "open_to_append",
    "path_of_escaped",
    "refuse_link",
    "seen_from",
    "write_new",
]


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
# A single blank inside a path may stay; at its ends, or beside another, tables lose it.
_UNSAFE = re.compile(r"[^\w/.~+=() -]|^ | $|(?<= ) ", re.ASCII)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_HELD_FOLDERS = 4
_REPLACED = (
    "{} was removed or replaced during the run; do not change the output folder, or "
    "restore it, and run it again; intact products are kept."
)


def local_path(given: str | Path, what: str, kind: type[Exception] = InputError) -> Path:
    """Return the path of a file or folder of this machine; ``~`` is the home folder.

    Parameters
    ----------
    given : str or Path
    what : str
        Its purpose, for the message.
    kind : type
        The class of the refusal.

    Raises
    ------
    InputError
        Or ``kind``, if it is the address of something that is not on this machine, or
        the home folder of a user who does not exist.
    """
    text = os.fspath(given)
    if isinstance(text, str) and _ADDRESS.match(text):
        scheme = text.partition("://")[0]
        raise kind(
            f"{what} {text!r} is an address ({scheme}://), but a path on this machine was "
            "expected; copy it to a local disk or mount it there, and use that path."
        )
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise kind(
            f"{what} {text!r} begins with ~, but that user has no home folder here; "
            "use the whole path."
        ) from error


def identity(path: str | Path) -> tuple[int, ...] | None:
    """Return what the system records of a file's last change, or None if it is not a regular file.

    Every change of its content, and every rename over it, gives other numbers.
    """
    try:
        known = os.lstat(path)
    except OSError:
        return None
    return numbers_of(known) if stat.S_ISREG(known.st_mode) else None


def numbers_of(known: os.stat_result) -> tuple[int, ...]:
    """Return size, inode and times of the last change."""
    return known.st_size, known.st_ino, known.st_mtime_ns, known.st_ctime_ns


def escaped_path(path: str) -> str:
    r"""Write a path as text that can be stored in any table: unsafe bytes become %XX.

    >>> from ccdprofiles.files.places import escaped_path
    >>> escaped_path("../a night")
    '../a night'
    >>> escaped_path("50% of\n#1")
    '50%25 of%0A%231'
    """
    return _UNSAFE.sub(lambda c: "".join(f"%{byte:02X}" for byte in os.fsencode(c[0])), path)


def path_of_escaped(text: str, beside: Path) -> Path:
    """Return the path that `escaped_path` wrote, seen from a folder.

    Older tables contain unescaped paths; such a path is used if only it exists.
    """
    raw = re.sub(rb"%([0-9A-F]{2})", lambda c: bytes.fromhex(c[1].decode()), text.encode())
    path = beside / os.fsdecode(raw)
    return beside / text if not path.exists() and (beside / text).exists() else path


def seen_from(output: Path, folder: Path) -> str:
    """Return the path of a folder relative to the output, escaped for a table."""
    try:
        seen = os.path.relpath(folder.expanduser().resolve(), output.resolve())
    except ValueError:  # on another drive
        seen = str(folder.resolve())
    return escaped_path(Path(seen).as_posix())


_WITHOUT_LINK: dict[Path, tuple[int, int]] = {}
"""Folders that were reached without a link, with their device and inode: a name that leads to
another folder by now is checked once more."""


def refuse_link(folder: Path) -> None:
    """Refuse to write into a folder that is reached through a link.

    The paths of a run contain no links, so a link that exists now appeared during the run, and may
    lead to files that are not ours.

    Raises
    ------
    OutputError
    """
    try:
        status = os.stat(folder)
    except OSError:
        identity = None
    else:
        identity = status.st_dev, status.st_ino
    # It is called twice for each product, and resolving a path takes a tenth of a small one.
    if identity is not None and _WITHOUT_LINK.get(folder) == identity:
        return
    real = os.path.realpath(folder)
    if real != os.path.abspath(folder):
        raise OutputError(
            f"{folder} became a link to {real} during the run, and nothing is written "
            "through a link; remove the link and run it again; finished products are kept."
        )
    if identity is not None:
        _WITHOUT_LINK[folder] = identity


def write_new(path: Path, text: str) -> None:
    """Write a small text file under a name that must be free; a link there is not followed."""
    how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK
    with open(os.open(path, how, 0o666), "w", encoding="utf-8") as stream:
        stream.write(text)


def open_to_append(path: Path) -> int:
    """Open a file of ccdprofiles to append to it; create it if there is none.

    Raises
    ------
    OutputError
        If it is a link, has another name elsewhere, or is not a regular file.
    OSError
    """
    how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | _NO_LINK
    try:
        descriptor = os.open(path, how, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENXIO):
            refuse_other_name(path)
        raise
    try:
        refuse_other_name(path, os.fstat(descriptor))
    except OutputError:
        os.close(descriptor)
        raise
    return descriptor


def refuse_other_name(path: Path, status: os.stat_result | None = None) -> None:
    """Refuse a file to be written in place that is a link, or not a regular file.

    Raises
    ------
    OutputError
    """
    if status is None:
        try:
            status = os.lstat(path)
        except OSError:
            return
    if stat.S_ISLNK(status.st_mode):
        what = f"is a link to {os.readlink(path)}"
    elif not stat.S_ISREG(status.st_mode):
        what = "is not a regular file"
    elif status.st_nlink > 1:
        what = "has another name (a hard link)"
    else:
        return
    raise OutputError(
        f"{path} {what}, and nothing is written through a link; remove it, "
        "and a new file will be created."
    )


@dataclass(frozen=True)
class Places:
    """The paths of the folders of an output, determined when a run begins.

    A folder may be a link to another disk by then. One that becomes a link later is
    noticed, because these paths contain no link.

    Parameters
    ----------
    root : Path
        The output, without links.
    folders : mapping
        Folders inside the output → their paths, without links.
    """

    root: Path
    folders: Mapping[str, Path]

    @classmethod
    def of(cls, output: Path, folders: Iterable[str] = FOLDERS) -> Places:
        """Determine the current paths of an output and some folders inside it."""
        real = {name: Path(os.path.realpath(output / name)) for name in folders}
        return cls(Path(os.path.realpath(output)), real)

    def path(self, name: str) -> Path:
        """Return the path of a file of the output, from its name in the output."""
        folder, _, last = name.rpartition("/")
        return self.folders.get(folder, self.root / folder) / last


class HeldFolders:
    """Folders that a run has opened, so that one that is removed or replaced is noticed.

    An open folder keeps its number on the disk, which a new one of its name would
    otherwise be likely to get.

    Parameters
    ----------
    places : Places
    """

    def __init__(self, places: Places):
        self.places = places
        self._held: dict[Path, int] = {}
        self._made: set[Path] = set()

    def __enter__(self) -> HeldFolders:
        refuse_link(self.places.root)
        if not self.places.root.is_dir():
            raise OutputError(_REPLACED.format(self.places.root))
        self._hold(self.places.root)
        for folder in self.places.folders.values():
            if folder.is_dir():
                self._hold(folder)
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def make(self, name: str) -> Path:
        """Return the path of a file of the output; its folder is created if there is none.

        Raises
        ------
        OutputError
            If the folder cannot be made, or a folder of the output is not what it was.
        """
        path = self.places.path(name)
        if path.parent not in self._made:
            self.check()
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError.of(path.parent, error) from error
            refuse_link(path.parent)
            self._hold(path.parent)
            self._made.add(path.parent)
        return path

    def check(self) -> None:
        """Refuse to continue if a folder was removed, replaced, or became a link.

        Raises
        ------
        OutputError
        """
        for folder, descriptor in self._held.items():
            refuse_link(folder)
            try:
                same = os.path.samestat(os.lstat(folder), os.fstat(descriptor))
            except OSError:
                same = False
            if not same:
                raise OutputError(_REPLACED.format(folder))

    def _hold(self, folder: Path) -> None:
        # A night in many folders would need as many open files; the first are those that count.
        if folder not in self._held and len(self._held) < _HELD_FOLDERS:
            with suppress(OSError):
                self._held[folder] = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)
