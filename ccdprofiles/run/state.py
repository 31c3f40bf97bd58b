"""Recognise a night in which nothing changed since the last run, without reading it again.

At its end a run of a large night writes one small file to the output. It contains a hash of
everything that determined the run: the version, the profiles, the options, and of every file of the
night and of the output its size, inode and times, which change whenever a file is written. A later
run that computes the same hash has nothing to make. If anything differs, or is uncertain, the night
is read as if the file were not there.
"""

from __future__ import annotations

import dis
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType, NoneType
from typing import Any

from .. import __version__
from ..camera.profile import Profile
from ..errors import OutputError
from ..files.places import identity, numbers_of
from ..plan.reason import Reason

__all__ = [
    "STATE",
    "Listing",
    "Outcome",
    "listing_of",
    "outputs_of",
    "recall",
    "remember",
    "request_of",
]

STATE = ".ccdprofiles.state"

_FORMAT = 1
_LONGEST = 2**28

_FILES = 500
_BYTES = 2**30
"""A smaller night is read again in a second or two, and gets no state file."""

_TICK = 100_000_000
"""Nanoseconds within which a file system may give two changes the same time."""

_COARSE_TICK = 2_500_000_000
"""The same for file systems that count whole seconds, or two of them."""

_PASSING = {"changed", "killed-worker", "not-a-file", "removed", "unreadable"}
"""Codes of faults that the next run may not encounter again, although no file changes."""


_PURE = {"astropy.units", "math", "re"}
"""Modules whose functions depend on nothing but their arguments."""

_IMPURE = {"__builtins__", "__import__", "eval", "exec", "globals", "open"}
"""Names by which a function reaches files or other modules without a global of its own."""

_PLAIN = (str, bytes, int, float, complex, tuple, list, set, frozenset, dict, re.Pattern, NoneType)

_OWN = f"{__name__.partition('.')[0]}."


class _Unsure(Exception):
    """It cannot be determined whether two runs had the same options."""


@dataclass(frozen=True)
class Listing:
    """Some files as the system describes them, without their contents.

    Parameters
    ----------
    digest : str
        A hash of the name, size, inode and times of each.
    number, size : int
        How many files there are, and their bytes.
    settled : bool
        Whether any later change gives a file other times than those in the digest.
    """

    digest: str
    number: int
    size: int
    settled: bool

    @property
    def large(self) -> bool:
        """Whether reading these files again takes long enough to avoid it."""
        return self.number >= _FILES or self.size >= _BYTES


@dataclass(frozen=True)
class Outcome:
    """The report of a run for which everything was up to date.

    Parameters
    ----------
    ok : bool
    summary : str
    paths : dict
        Name of every master and product → its path as seen from the output.
    masters : int
        How many of them, from the first, are masters.
    failed, overruled : dict
        File or name → `Reason`.
    notes : list of str
    """

    ok: bool
    summary: str
    paths: dict[str, str]
    masters: int
    failed: dict[str, Reason]
    overruled: dict[str, Reason]
    notes: list[str]

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Outcome:
        """Return the outcome that a state file holds.

        Raises
        ------
        KeyError, TypeError, ValueError, AttributeError
            If it was not written by `remember`.
        """
        kinds = {"ok": bool, "summary": str, "paths": dict, "masters": int, "notes": list}
        if any(type(stored[name]) is not kind for name, kind in kinds.items()):
            raise TypeError("a value has another type")
        return cls(
            ok=stored["ok"],
            summary=stored["summary"],
            paths=stored["paths"],
            masters=stored["masters"],
            failed=_reasons(stored["failed"]),
            overruled=_reasons(stored["overruled"]),
            notes=stored["notes"],
        )

    @property
    def stored(self) -> dict[str, object]:
        """What a state file holds of it, each reason as its code and sentence."""
        failed = {name: (why.code, str(why)) for name, why in self.failed.items()}
        overruled = {name: (why.code, str(why)) for name, why in self.overruled.items()}
        return vars(self) | {"failed": failed, "overruled": overruled}


def _reasons(stored: Mapping[str, tuple[str, str]]) -> dict[str, Reason]:
    return {
        name: Reason(name, code, sentence.removeprefix(f"{name}: "))
        for name, (code, sentence) in stored.items()
    }


def _tick(known: os.stat_result) -> int:
    return _TICK if known.st_ctime_ns % 10**9 else _COARSE_TICK


def listing_of(found: Iterable[tuple[Path, str]]) -> Listing | None:
    """Describe files by their names and what the system records about them.

    A link means the file to which it leads.

    Parameters
    ----------
    found : iterable of (path, name)

    Returns
    -------
    Listing or None
        None if a file cannot be examined, or if the system does not record when a
        file was last changed, as on Windows.
    """
    if os.name == "nt":
        return None
    digest, number, size, settled = hashlib.sha256(), 0, 0, True
    now = time.time_ns()
    for path, name in found:
        try:
            known = os.stat(path)
        except OSError:
            return None
        text = f"{name!r} {known.st_mode} {numbers_of(known)}\n"
        digest.update(text.encode("utf-8", "surrogateescape"))
        number += 1
        size += known.st_size
        settled = settled and known.st_ctime_ns + _tick(known) < now
    return Listing(digest.hexdigest(), number, size, settled)


def outputs_of(output: Path, folders: Sequence[str], names: Sequence[str]) -> Listing | None:
    """Describe the products, the tables and the log of a run.

    Parameters
    ----------
    output : Path
    folders : sequence of str
        Those of the products; files of others in them are described too.
    names : sequence of str
        Other files that a run writes.

    Returns
    -------
    Listing or None
        None if one of the names is missing, or anything is a link or not a regular file.
    """
    found = [(output / name, name) for name in names]
    for folder in folders:
        found += ((path, path.relative_to(output).as_posix()) for path in _below(output / folder))
    if any(identity(path) is None for path, _ in found):
        return None
    return listing_of(sorted(found, key=lambda pair: pair[1]))


def _below(folder: Path) -> Iterator[Path]:
    """Return every file below a folder, and every link instead of following it."""
    if folder.is_symlink():
        yield folder
    for here, inner, names in [] if folder.is_symlink() else os.walk(folder):
        where = Path(here)
        yield from (where / name for name in names)
        yield from (where / name for name in inner if (where / name).is_symlink())


def request_of(profiles: Iterable[Profile | None], options: Mapping[str, object]) -> str | None:
    """Hash the options of a run, besides its files.

    Parameters
    ----------
    profiles : iterable of Profile or None
        All that a run may choose from, in their order.
    options : mapping
        Every option that may change a result.

    Returns
    -------
    str or None
        None if two requests may differ although their texts are equal: a profile has a function
        that is not in the profile's own file, or an option is an object that does not describe
        itself.
    """
    try:
        known = [p if p is None else (p.name, p.hash, _functions(p, p.file)) for p in profiles]
        text = _described([__version__, known, options], "")
    except Exception:  # objects of the caller may raise anything; the run itself reports the error
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _functions(value: Any, file: str) -> list[str]:
    """Make sure that the functions of a profile stand in its file; describe what they enclose."""
    if isinstance(value, Mapping):
        value = list(value.values())
    elif is_dataclass(value):
        value = [getattr(value, f.name) for f in fields(value)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in _functions(inner, file)]
    if isinstance(value, partial):
        return [_described([value.args, value.keywords], file), *_functions(value.func, file)]
    code = getattr(value, "__code__", None)
    if code is not None:
        return [_enclosed(value, file)]
    if callable(value) and type(value).__module__.partition(".")[0] not in ("astropy", "numpy"):
        raise _Unsure
    return []


def _enclosed(function: Callable, file: str, callers: tuple[Callable, ...] = ()) -> str:
    """Describe all that a function depends on besides its argument and the text of its file."""
    if not file or function.__code__.co_filename != file:
        raise _Unsure
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    texts = [_described([cells, function.__defaults__, function.__kwdefaults__], file)]
    callers = (*callers, function)
    for name in sorted(_names(function.__code__)):
        value: Any = function.__globals__.get(name)
        if getattr(value, "__code__", None) is not None:
            texts += [] if value in callers else [_enclosed(value, file, callers)]
        elif isinstance(value, ModuleType):
            if value.__name__ not in _PURE:
                raise _Unsure
        elif isinstance(value, type) and value.__module__.startswith(_OWN):
            continue  # a class of this package, whose version is a part of the request
        elif isinstance(value, _PLAIN) or type(value).__module__.startswith(_OWN):
            texts.append(f"{name}={_described(value, file)}")
        else:
            raise _Unsure
    return f"({', '.join(texts)})"


def _names(code: CodeType) -> set[str]:
    """Return the global names and attributes that code uses; it must not import or read files."""
    if any(step.opname == "IMPORT_NAME" for step in dis.get_instructions(code)):
        raise _Unsure
    names = set(code.co_names)
    if names & _IMPURE:
        raise _Unsure
    return names.union(*(_names(c) for c in code.co_consts if isinstance(c, CodeType)))


def _described(value: Any, file: str) -> str:
    """Write a value down so that other values read otherwise."""
    if isinstance(value, Profile):
        value = (value.name, value.hash, _functions(value, value.file))
    if getattr(value, "__code__", None) is not None:
        return _enclosed(value, file)
    if hasattr(value, "__array__"):
        # Its repr is rounded and shortened.
        plain = getattr(value, "value", value).tolist()
        value = (plain, str(getattr(value, "unit", "")), str(value.dtype))
    if isinstance(value, Mapping):
        value = sorted((str(key), _described(inner, file)) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return f"({', '.join(_described(inner, file) for inner in value)})"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(_described(inner, file) for inner in value))}}}"
    text = repr(value)
    if " at 0x" in text:
        raise _Unsure
    return text


def recall(output: Path, request: str | None, raw: Listing | None, own: Callable) -> Outcome | None:
    """Return the outcome of the last run if nothing has changed since.

    Parameters
    ----------
    output : Path
    request : str or None
        As returned by `request_of`.
    raw : Listing or None
        The files of the night.
    own : callable
        Returns the listing of the output; called only if it is needed.
    """
    if request is None or raw is None or not raw.large:
        return None
    stored = _stored(output / STATE)
    if stored is None:
        return None
    left = own()
    values = {f.name: stored.get(f.name) for f in fields(Outcome)}
    if left is None or stored.get("key") != _key(request, raw, left, values):
        return None
    try:
        return Outcome.read(stored)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def remember(
    output: Path,
    request: str | None,
    raw: Listing | None,
    own: Callable[[], Listing | None],
    made: Mapping[str, tuple[int, ...] | None],
    outcome: Outcome,
    codes: Iterable[str],
) -> None:
    """Write the state file of a run that has just ended, if it saves the next run some time.

    Parameters
    ----------
    output : Path
    request, raw
        As for `recall`; ``raw`` must have been listed before any file was read.
    own : callable
        Returns the listing of the output.
    made : mapping
        Name → the identity of every product when it was made, or before it was checked.
    outcome : Outcome
    codes : iterable of str
        Of all that was set aside.
    """
    if request is None or raw is None or not (raw.large and raw.settled):
        return
    if _PASSING & set(codes):
        return
    # The files that were written last are then old enough to show any later change.
    time.sleep(1.5 * _TICK / 1e9)
    left = own()
    if left is None or not left.settled:
        return
    if any(known is None or identity(output / name) != known for name, known in made.items()):
        return
    from ..products.product import write_text

    values = outcome.stored
    key = _key(request, raw, left, values)
    text = json.dumps({"format": _FORMAT, "key": key, **values})
    # The products exist, whether or not there is space for this file.
    with suppress(OutputError, OSError):
        write_text(output / STATE, text)


def _key(request: str, raw: Listing, left: Listing, values: Mapping[str, object]) -> str:
    # A damaged file, or one written by hand, must not be used.
    told = json.dumps(values, sort_keys=True)
    return hashlib.sha256(f"{request} {raw.digest} {left.digest} {told}".encode()).hexdigest()


def _stored(path: Path) -> dict | None:
    """Read a state file; return None if it cannot be read or was not written by ccdprofiles."""
    known = identity(path)
    if known is None or known[0] > _LONGEST:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_NOFOLLOW", 0))
        with open(descriptor, "rb") as stream:
            stored = json.loads(stream.read(_LONGEST))
    except (OSError, ValueError, RecursionError):
        return None
    return stored if isinstance(stored, dict) and stored.get("format") == _FORMAT else None
