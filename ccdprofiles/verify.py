"""Check that the products of a reduced night, and the files they were made from, are unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from astropy.io.registry import IORegistryError
from astropy.table import Table

from .camera.chips import without_chip
from .errors import InputError, words_of
from .files.layout import CALIBRATIONS, NIGHT, PRODUCTS, SCIENCE
from .files.places import local_path, path_of_escaped
from .files.threads import Threads
from .output.contents import fits_files, is_our_product
from .plan.frames import NOT_ASKED, USED, shown_name
from .products.header import ascii_text
from .products.saved import GONE, CheckedProduct, check_product, sha256_or_fault

__all__ = ["Verified", "verify_night"]

WHOLE = "whole"
CHANGED = "changed"
MISSING = "missing"
UNCHECKED = "not checked"

PRODUCT, INPUT = "product", "input"

_MASTER = "master "
_REDUCE = "; reduce the night again"
# A second run reads a science frame only in part, and would keep this one.
_REMOVE = "; remove it and reduce the night again"
_STALE = "it no longer belongs to the night; remove it or move it away"
_NO_SHA256 = "the product that records its SHA-256 is missing or damaged"

_Row = tuple[str, str, str, str, str]
"""File, part, role, verdict and reason."""


@dataclass(frozen=True)
class Verified:
    """What has changed since a night was reduced.

    Parameters
    ----------
    output : Path
    table : Table
        One row for each product, and for each file that a product was made from: ``file``,
        ``part`` (product or input), ``role``, ``verdict`` (whole, changed, missing, or not checked
        if the product that records its SHA-256 is damaged) and ``reason``.
    """

    output: Path
    table: Table

    @property
    def ok(self) -> bool:
        """True if nothing has changed and nothing is missing."""
        return len(self.bad) == 0

    @property
    def bad(self) -> Table:
        """The rows of the files that have changed or are missing."""
        return self.table[[v in (CHANGED, MISSING) for v in self.table["verdict"]]]

    def __repr__(self) -> str:
        return (
            f"<Verified {self.output}: {len(self.table)} files, {len(self.bad)} changed or "
            f"missing; ok={self.ok}>"
        )

    def __str__(self) -> str:
        lines = [f"Night reduced to {self.output}"]
        for part in (PRODUCT, INPUT):
            pairs = zip(self.table["part"], self.table["verdict"], strict=True)
            verdicts = [verdict for own, verdict in pairs if own == part]
            unchecked = verdicts.count(UNCHECKED)
            more = f", {unchecked} {UNCHECKED}" if unchecked else ""
            lines.append(f"{verdicts.count(WHOLE)} of {len(verdicts)} {part}s are {WHOLE}{more}")
        stale = [str(row["file"]) for row in self.table if row["reason"] == _STALE]
        if stale:
            shown = ", ".join(stale[:5]) + (", …" if len(stale) > 5 else "")
            lines.append(f"{len(stale)} of an earlier run, to be removed or moved away: {shown}")
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
    """Check that a reduced night is complete and unchanged.

    Each HDU of a product is compared with its DATASUM and CHECKSUM, each master with
    the SHA-256 in the products that used it, and each raw frame with the SHA-256 that
    was computed when it was read.

    Parameters
    ----------
    output : path
        The folder that `ccdprofiles.reduce_night` wrote.
    raw : path, optional
        The folder that now contains the night.
    calibrations : iterable of path
        The folders that now contain the calibrations, in the same order.
    jobs : int
        Number of threads; 0 uses all processors.

    Returns
    -------
    Verified

    Raises
    ------
    InputError
        If the folder was not written by ccdprofiles, or ``raw`` or one of ``calibrations``
        is not a folder.

    Examples
    --------
    >>> import tempfile
    >>> from ccdprofiles import reduce_night, simulate_night, verify_night
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = simulate_night("sbo", f"{folder}/raw", shape=(32, 40))
    ...     night = reduce_night(f"{folder}/raw", f"{folder}/reduced", profile=truth.known)
    ...     whole = verify_night(f"{folder}/reduced")
    ...     min(night.products.values()).unlink()
    ...     damaged = verify_night(f"{folder}/reduced")
    >>> print(whole)
    Night reduced to ...
    6 of 6 products are whole
    24 of 24 inputs are whole
    >>> whole.ok, damaged.ok
    (True, False)
    >>> print(damaged.bad["reason"][0])
    it is missing; reduce the night again
    """
    output = local_path(output, "the output")
    if not isinstance(jobs, int) or jobs < 0:
        raise InputError(f"jobs={jobs!r} is not a number of threads; 0 uses all processors.")
    night = _night_of(output)
    paths = _Paths(output, _folders(output, night, raw, calibrations))
    belongs = _products_of(night)
    names = sorted(belongs | _other_products(output, belongs))
    with Threads(jobs or None) as pool:
        saved = dict(zip(names, pool.map(lambda n: check_product(output / n), names), strict=True))
        inputs = _inputs({name: saved[name] for name in names if name in belongs})
        pairs = pool.map(lambda one: _sha256_of(one[0], one[1], saved, paths), inputs)
        sums = dict(zip(inputs, pairs, strict=True))
    frames = _science_of(night)
    products = {
        name: _product_row(name, saved[name], name in belongs, frames.get(name, []))
        for name in names
    }
    rows = [
        *_compared_products(products, sums, inputs).values(),
        *_input_rows(paths, sums, inputs),
        *_unchecked_rows(night, inputs),
    ]
    columns = ("file", "part", "role", "verdict", "reason")
    return Verified(output, Table(rows=rows or None, names=columns, dtype=["U"] * 5))


def _night_of(output: Path) -> Table:
    path = output / NIGHT
    try:
        if path.exists() and not path.is_file():
            # Opening a FIFO would wait for ever.
            raise ValueError("it is not a regular file")
        night = Table.read(path, format="ascii.ecsv")
        lost = {"product", "verdict"} - set(night.colnames)
        if lost or not isinstance(night.meta.get("folders", {}), Mapping):
            raise ValueError("ccdprofiles did not write it")
    except FileNotFoundError as error:
        raise InputError(
            f"{output} contains no {NIGHT}; specify an output folder of ccdprofiles reduce."
        ) from error
    except (OSError, ValueError, LookupError, TypeError, IORegistryError) as error:
        why = words_of(error) if isinstance(error, OSError) else error
        raise InputError(
            f"{path} cannot be read ({why}); reduce the night again, which keeps products that are up to date."
        ) from error
    return night


def _folders(
    output: Path, night: Table, raw: str | Path | None, calibrations: Iterable[str | Path]
) -> dict[str, Path]:
    """Return the folders of the raw frames, by the first part of their names."""
    seen = night.meta.get("folders", {})
    folders = {label: path_of_escaped(folder, output).resolve() for label, folder in seen.items()}
    given = [local_path(c, "the folder of calibrations") for c in calibrations]
    labels = [label for label in folders if label]
    if len(given) > len(labels):
        raise InputError(
            f"{given[-1]}: the night was reduced with {len(labels)} folders of calibrations; "
            "specify those, in the same order."
        )
    folders |= dict(zip(labels, given, strict=False))
    if raw is not None:
        folders[""] = local_path(raw, "the night")
        given.append(folders[""])
    for folder in given:
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; specify the folder of the raw frames.")
    return folders


def _products_of(night: Table) -> set[str]:
    """Name the products that the last run made, kept, or did not select."""
    names = {
        str(name)
        for name, verdict in zip(night["product"], night["verdict"], strict=True)
        if verdict in (USED, NOT_ASKED)
    }
    names |= {str(name) for name in night.meta.get("mosaics", ())}
    return {name for name in names if name.startswith(tuple(f"{p}/" for p in PRODUCTS))}


def _other_products(output: Path, belongs: set[str]) -> set[str]:
    """Name the products in an output that the last run did not make."""
    paths = {path.relative_to(output).as_posix(): path for path in fits_files(output)}
    return {name for name in paths.keys() - belongs if is_our_product(paths[name])}


def _used_files(night: Table) -> Iterator[tuple[str, str, str]]:
    """Name the files that the last run used as PROVENANCE does, with their types and products."""
    for row in night[[verdict == USED for verdict in night["verdict"]]]:
        file, kind, product = (str(row[column]) for column in ("file", "type", "product"))
        yield ascii_text(file), kind, product


def _science_of(night: Table) -> dict[str, list[str]]:
    """Return the frames of each science product of the last run, as PROVENANCE names them."""
    frames: dict[str, list[str]] = {}
    for file, _, product in _used_files(night):
        if product.startswith(f"{SCIENCE}/"):
            # A table loses the blanks at the ends of a name.
            frames.setdefault(product, []).append(file.strip())
    return frames


def _sha256_of(
    file: str, role: str, saved: Mapping[str, CheckedProduct], paths: _Paths
) -> tuple[str, str]:
    """Return the SHA-256 of an input, or why it cannot be read; masters were already read."""
    if _is_own_master(file, role) and file in saved:
        product = saved[file]
        return product.sha256, "" if product.sha256 else product.faults[0]
    return sha256_or_fault(paths.of(file, role))


def _inputs(saved: Mapping[str, CheckedProduct]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Return, for each file and role, the products made from it and the SHA-256 they record."""
    inputs: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for product, cards in saved.items():
        for file, sha, role in cards.provenance:
            inputs.setdefault((file, role.split(",")[0]), []).append((product, sha))
    return inputs


def _product_row(name: str, saved: CheckedProduct, belongs: bool, frames: list[str]) -> _Row:
    """Return the row of a product, according to its own file and the table of the night."""
    science = name.startswith(f"{SCIENCE}/")
    role = "science frame" if science else f"{_MASTER}{saved.header.get('CPTYPE', '')}".strip()
    sums = {sha for _, sha, _ in saved.provenance}
    faults = list(saved.faults) or [
        f"its {card} is not that of a master in its PROVENANCE"
        for card in ("BIASSHA", "DARKSHA", "FLATSHA")
        if saved.header.get(card, next(iter(sums), "")) not in sums
    ]
    if not faults and frames and not {file.strip() for file, *_ in saved.provenance} & set(frames):
        faults = [f"it was not made from {frames[0]}, according to the table of the night"]
    if not faults:
        return name, PRODUCT, role, WHOLE, "" if belongs else _STALE
    verdict = MISSING if faults == [GONE] else CHANGED
    remedy = _REDUCE if verdict == MISSING else _REMOVE
    reason = "; ".join(faults) + (remedy if belongs else f"; {_STALE}")
    return name, PRODUCT, role, verdict, reason


def _compared_products(
    products: Mapping[str, _Row],
    sums: Mapping[tuple[str, str], tuple[str, str]],
    inputs: Mapping[tuple[str, str], list[tuple[str, str]]],
) -> dict[str, _Row]:
    """Return the rows of the products; a master must be the one that others were made from."""
    rows = dict(products)
    for (file, role), (sha, fault) in sums.items():
        if _is_own_master(file, role):
            verdict, reason = _compared(sha, fault, inputs[file, role])
            if verdict == CHANGED and rows[file][3] == WHOLE:
                rows[file] = (*rows[file][:3], verdict, reason + _REDUCE)
    return rows


def _input_rows(
    paths: _Paths,
    sums: Mapping[tuple[str, str], tuple[str, str]],
    inputs: Mapping[tuple[str, str], list[tuple[str, str]]],
) -> Iterator[_Row]:
    """Return the rows of the raw frames and of the masters of other nights."""
    for (file, role), (sha, fault) in sums.items():
        if not _is_own_master(file, role):
            verdict, reason = _compared(sha, fault, inputs[file, role])
            folder = f" from {paths.folder(file, role)}" if fault == GONE else ""
            yield file, INPUT, role, verdict, reason + folder


def _unchecked_rows(night: Table, inputs: Iterable[tuple[str, str]]) -> Iterator[_Row]:
    """Return the rows of the files that the last run used and no whole product records."""
    # A table loses the blanks at the ends of a name.
    checked = {file.strip() for file, _ in inputs}
    for file, kind, product in _used_files(night):
        if product.startswith(CALIBRATIONS):
            # A master of another night is a product itself.
            file, kind = ascii_text(product), f"{_MASTER}{kind}"
        if file.strip() not in checked:
            yield file, INPUT, kind, UNCHECKED, _NO_SHA256


def _compared(sha: str, fault: str, recorded: list[tuple[str, str]]) -> tuple[str, str]:
    """Return verdict and reason for a file, by the SHA-256 that products record of it."""
    if fault:
        return (MISSING if fault == GONE else CHANGED), fault
    others = [product for product, own in recorded if own != sha]
    if not others:
        return WHOLE, ""
    users = (
        f"{others[0]} was" if len(others) == 1 else f"{others[0]} and {len(others) - 1} more were"
    )
    return CHANGED, f"it is not the file that {users} made from"


def _is_own_master(file: str, role: str) -> bool:
    """Return True for a master of this night."""
    return role.startswith(_MASTER) and not file.startswith(CALIBRATIONS)


class _Paths:
    """Where the files are that PROVENANCE names."""

    def __init__(self, output: Path, folders: Mapping[str, Path]):
        self.output = output
        self.folders = folders
        self._escaped: dict[Path, dict[str, Path]] = {}
        self._lock = Lock()

    def folder(self, file: str, role: str) -> Path:
        """Return the folder in which a file is searched for."""
        return self._parts(file, role)[0]

    def of(self, file: str, role: str) -> Path:
        """Return the path of a file, whether it exists or not."""
        folder, name = self._parts(file, role)
        if not (folder / name).exists():
            name = without_chip(name)
        if (folder / name).exists() or "\\" not in name:
            return folder / name
        # Only the escaped form of this name is recorded; it is searched for among all files.
        with self._lock:
            if folder not in self._escaped:
                self._escaped[folder] = {
                    ascii_text(shown_name(p.relative_to(folder).as_posix())): p
                    for p in folder.rglob("*")
                }
        return self._escaped[folder].get(name, folder / name)

    def _parts(self, file: str, role: str) -> tuple[Path, str]:
        if _is_own_master(file, role):
            return self.output, file
        name = file.removeprefix(CALIBRATIONS) if role.startswith(_MASTER) else file
        label, _, inside = name.partition("/")
        if inside and label in self.folders:
            return self.folders[label], inside
        return self.folders.get("", self.output), name
