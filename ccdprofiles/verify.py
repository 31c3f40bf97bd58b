"""Whether a night that was reduced is still what it was: its products, and what they were made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from astropy.io.registry import IORegistryError
from astropy.table import Table

from .errors import InputError, words_of
from .files.places import local_path, path_of_escaped
from .files.threads import Threads
from .output.folder import is_our_product
from .plan.frames import shown_name
from .plan.selection import NOT_ASKED
from .products.header import ascii_text
from .products.saved import GONE, CheckedProduct, check_product, sha256_or_fault
from .report.page import USED

__all__ = ["Verified", "verify_night"]

WHOLE = "whole"
CHANGED = "changed"
MISSING = "missing"
UNCHECKED = "not checked"

MADE, USED_UP = "product", "input"

_MASTER = "master "
_LENT = "calibrations/"
_AGAIN = "; reduce the night once more"
# A run that goes on reads a science frame only in part, and would keep this one.
_REMOVE = "; remove it and reduce the night once more"
_STALE = "it no longer belongs to the night as it is; remove it or move it away"
_UNTOLD = "the product that tells its SHA-256 is gone or damaged"


@dataclass(frozen=True)
class Verified:
    """What became of a night since it was reduced.

    Parameters
    ----------
    output : Path
    table : Table
        One row for every product, and for every file that went into one: ``file``,
        ``part`` (product or input), ``role``, ``verdict`` (whole, changed,
        missing, or not checked where the product that tells of it is damaged) and
        ``reason``.
    """

    output: Path
    table: Table

    @property
    def ok(self) -> bool:
        """Whether all is whole."""
        return len(self.bad) == 0

    @property
    def bad(self) -> Table:
        """The rows of what changed or is missing."""
        return self.table[[v in (CHANGED, MISSING) for v in self.table["verdict"]]]

    def __repr__(self) -> str:
        return (
            f"<Verified {self.output}: {len(self.table)} files, {len(self.bad)} changed or "
            f"missing; ok={self.ok}>"
        )

    def __str__(self) -> str:
        lines = [f"Night reduced to {self.output}"]
        for part in (MADE, USED_UP):
            rows = self.table[[said == part for said in self.table["part"]]]
            whole, unknown = (
                sum(verdict == v for verdict in rows["verdict"]) for v in (WHOLE, UNCHECKED)
            )
            more = f", {unknown} not checked" if unknown else ""
            lines.append(f"{whole} of {len(rows)} {part}s are whole{more}")
        stale = [str(row["file"]) for row in self.table if row["reason"] == _STALE]
        if stale:
            named = ", ".join(stale[:5]) + (", …" if len(stale) > 5 else "")
            lines.append(f"{len(stale)} of an earlier run, to be removed or moved away: {named}")
        if not self.ok:
            lines += ["", *self.bad.pformat(max_lines=-1, max_width=-1, align="<")]
        return "\n".join(line.rstrip() for line in lines)


def verify_night(
    output: str | Path,
    *,
    raw: str | Path | None = None,
    calibrations: Iterable[str | Path] = (),
    jobs: int = 0,
) -> Verified:
    """Check that a reduced night is still what it was: nothing cut, changed or lost.

    Every HDU of a product is held against its DATASUM and CHECKSUM, every master
    against the SHA-256 in the products that used it, and every raw frame against
    the SHA-256 that was taken when it was read.

    Parameters
    ----------
    output : path
        The folder that `ccdprofiles.reduce_night` wrote.
    raw : path, optional
        Where the night lies now, if it does not lie where it did.
    calibrations : iterable of path
        Where the folders of ``calibrations=`` lie now, in the same order.
    jobs : int
        Threads; 0 takes as many as there are processors.

    Returns
    -------
    Verified

    Raises
    ------
    InputError
        If the folder was not written by ccdprofiles, or one that is named is none.

    Examples
    --------
    >>> from ccdprofiles import verify_night
    >>> print(verify_night("reduced"))  # doctest: +SKIP
    """
    output = local_path(output, "the output")
    if not isinstance(jobs, int) or jobs < 0:
        raise InputError(f"jobs={jobs!r} is no number of threads; 0 takes all processors.")
    night = _night_of(output)
    paths = _Paths(output, _folders(output, night, raw, calibrations))
    belongs = _products_of(night)
    others = {name for name in _found(output) - belongs if is_our_product(output / name)}
    names = sorted(belongs | others)
    with Threads(jobs or None) as pool:
        saved = dict(zip(names, pool.map(lambda n: check_product(output / n), names), strict=True))
        inputs = _inputs({name: saved[name] for name in names if name in belongs})
        found = pool.map(lambda one: _sha256_of(*one, saved, paths), inputs)
        sums = dict(zip(inputs, found, strict=True))
    frames = _science_of(night)
    rows = {
        name: _judged(name, saved[name], name in belongs, frames.get(name, [])) for name in names
    }
    for (file, role), (sha, fault) in sums.items():
        verdict, reason = _compared(sha, fault, inputs[file, role])
        if not _own(file, role):
            where = f" from {paths.folder(file, role)}" if fault == GONE else ""
            rows[file, role] = (file, USED_UP, role, verdict, reason + where)
        elif verdict == CHANGED and rows[file][3] == WHOLE:
            rows[file] = (*rows[file][:3], verdict, reason + _AGAIN)
    # A table loses the blanks at the ends of a name.
    checked = {file.strip() for file, _ in inputs}
    rows |= {
        (file, kind): (file, USED_UP, kind, UNCHECKED, _UNTOLD)
        for file, kind in _went_in(night)
        if file.strip() not in checked
    }
    columns = ("file", "part", "role", "verdict", "reason")
    return Verified(output, Table(rows=list(rows.values()) or None, names=columns, dtype=["U"] * 5))


def _night_of(output: Path) -> Table:
    path = output / "night.ecsv"
    try:
        if path.exists() and not path.is_file():
            # To open a FIFO would wait for ever.
            raise ValueError("it is not a regular file")
        night = Table.read(path, format="ascii.ecsv")
        lost = {"product", "verdict"} - set(night.colnames)
        if lost or not isinstance(night.meta.get("folders", {}), Mapping):
            raise ValueError("it is none that ccdprofiles wrote")
    except FileNotFoundError as error:
        raise InputError(
            f"{output} holds no night.ecsv; give a folder that ccdprofiles reduce wrote."
        ) from error
    except (OSError, ValueError, LookupError, TypeError, IORegistryError) as error:
        why = words_of(error) if isinstance(error, OSError) else error
        raise InputError(
            f"{path} cannot be read ({why}); reduce the night once more, which keeps what is whole."
        ) from error
    return night


def _folders(
    output: Path, night: Table, raw: str | Path | None, calibrations: Iterable[str | Path]
) -> dict[str, Path]:
    """Return where the raw frames lie, by the first part of their names."""
    seen = night.meta.get("folders", {})
    told = {label: path_of_escaped(folder, output).resolve() for label, folder in seen.items()}
    given = [local_path(c, "the folder of calibrations") for c in calibrations]
    labels = [label for label in told if label]
    if len(given) > len(labels):
        raise InputError(
            f"{given[-1]}: the night was reduced with {len(labels)} folders of calibrations; "
            "give those, in the same order."
        )
    told |= dict(zip(labels, given, strict=False))
    if raw is not None:
        told[""] = local_path(raw, "the night")
        given.append(told[""])
    for folder in given:
        if not folder.is_dir():
            raise InputError(f"{folder} is no folder; give the folder that holds the raw frames.")
    return told


def _products_of(night: Table) -> set[str]:
    """Name the products that the last run made, found whole, or left as it was not asked for."""
    names = {
        str(name)
        for name, verdict in zip(night["product"], night["verdict"], strict=True)
        if verdict in (USED, NOT_ASKED)
    }
    return {name for name in names if name.startswith(("masters/", "science/"))}


def _went_in(night: Table) -> Iterator[tuple[str, str]]:
    """Name the files that the last run used, as PROVENANCE does, and their types."""
    for row in night[[verdict == USED for verdict in night["verdict"]]]:
        file, product, kind = (str(row[column]) for column in ("file", "product", "type"))
        if product.startswith(_LENT):
            # A master that was lent is what it went into.
            file, kind = product, f"{_MASTER}{kind}"
        yield ascii_text(file), kind


def _science_of(night: Table) -> dict[str, list[str]]:
    """Return the frames of every science product of the last run, as PROVENANCE names them."""
    frames: dict[str, list[str]] = {}
    for row in night[[verdict == USED for verdict in night["verdict"]]]:
        if str(row["product"]).startswith("science/"):
            # A table loses the blanks at the ends of a name.
            frames.setdefault(str(row["product"]), []).append(ascii_text(str(row["file"])).strip())
    return frames


def _found(output: Path) -> set[str]:
    paths = (p for folder in ("masters", "science") for p in (output / folder).rglob("*.fits"))
    return {p.relative_to(output).as_posix() for p in paths if not p.name.startswith(".")}


def _sha256_of(
    file: str, role: str, saved: Mapping[str, CheckedProduct], paths: _Paths
) -> tuple[str, str]:
    """Return the SHA-256 of what went in, or why there is none; masters were read already."""
    if _own(file, role) and file in saved:
        product = saved[file]
        return product.sha256, "" if product.sha256 else product.faults[0]
    return sha256_or_fault(paths.of(file, role))


def _inputs(saved: Mapping[str, CheckedProduct]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Collect what went into products: by file and role, which of them says which SHA-256."""
    inputs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for product, said in saved.items():
        for file, sha, role in said.provenance:
            inputs.setdefault((file, role.split(",")[0]), []).append((product, sha))
    return inputs


def _judged(
    name: str, saved: CheckedProduct, belongs: bool, frames: list[str]
) -> tuple[str, str, str, str, str]:
    """Return the row of a product, as far as its own file and the table of the night tell."""
    science = name.startswith("science/")
    role = "science frame" if science else f"{_MASTER}{saved.header.get('CPTYPE', '')}".strip()
    sums = {sha for _, sha, _ in saved.provenance}
    faults = list(saved.faults) or [
        f"its {card} is none of the masters in its PROVENANCE"
        for card in ("BIASSHA", "DARKSHA", "FLATSHA")
        if saved.header.get(card, next(iter(sums), "")) not in sums
    ]
    if not faults and frames and not {file.strip() for file, *_ in saved.provenance} & set(frames):
        faults = [f"it was not made of {frames[0]}, as the table of the night says"]
    if faults:
        verdict = MISSING if faults == [GONE] else CHANGED
        again = _AGAIN if verdict == MISSING else _REMOVE
        reason = "; ".join(faults) + (again if belongs else f"; {_STALE}")
        return name, MADE, role, verdict, reason
    return name, MADE, role, WHOLE, "" if belongs else _STALE


def _compared(sha: str, fault: str, users: list[tuple[str, str]]) -> tuple[str, str]:
    """Return verdict and reason of what went in, by what the products say of it."""
    if fault:
        return (MISSING if fault == GONE else CHANGED), fault
    others = [product for product, told in users if told != sha]
    if not others:
        return WHOLE, ""
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return CHANGED, f"it is not what went into {others[0]}{more}"


def _own(file: str, role: str) -> bool:
    """Say whether what went in is a master of this very night."""
    return role.startswith(_MASTER) and not file.startswith(_LENT)


class _Paths:
    """Where the files lie that PROVENANCE names."""

    def __init__(self, output: Path, folders: Mapping[str, Path]):
        self.output = output
        self.folders = folders
        self._odd: dict[Path, dict[str, Path]] = {}
        self._lock = Lock()

    def folder(self, file: str, role: str) -> Path:
        """Return the folder that a file is looked for in."""
        return self._parts(file, role)[0]

    def of(self, file: str, role: str) -> Path:
        """Return where a file lies, whether it is there or not."""
        folder, name = self._parts(file, role)
        if (folder / name).exists() or "\\" not in name:
            return folder / name
        # Only the escaped form of this name is told; it is looked for among all files.
        with self._lock:
            if folder not in self._odd:
                self._odd[folder] = {_told(p.relative_to(folder)): p for p in folder.rglob("*")}
        return self._odd[folder].get(name, folder / name)

    def _parts(self, file: str, role: str) -> tuple[Path, str]:
        if _own(file, role):
            return self.output, file
        name = file.removeprefix(_LENT) if role.startswith(_MASTER) else file
        label, _, inside = name.partition("/")
        if inside and label in self.folders:
            return self.folders[label], inside
        return self.folders.get("", self.output), name


def _told(path: Path) -> str:
    """Write a name as PROVENANCE tells it."""
    return ascii_text(shown_name(path.as_posix()))
