"""The night whose products an output contains, read from its table or from the products."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..errors import OutputError
from ..files.layout import MASTERS, NIGHT, SCIENCE
from ..files.places import path_of_escaped
from ..plan.frames import IGNORED, Frame
from ..products.header import ascii_text
from ..products.saved import check_product, sha256_or_fault
from .contents import fits_files, is_our_product

__all__ = ["earlier_night", "refuse_other_night"]

_COMPARED = 16
"""The largest number of raw files that are read to find one that the earlier run used."""

_FOLDER = re.compile(r"folders: \{[^}]*?'' ?: ['\"]?([\w/.~+=() %-]+?)['\"]?(?:,|\})", re.ASCII)
"""The folder of the night in the head of its table, as `escaped_path` wrote it."""


@dataclass(frozen=True)
class EarlierFrame:
    """A raw frame of an earlier run.

    Parameters
    ----------
    file, type, date : str
        As in its table; empty if they are missing there.
    product : str
        The product made from it, whose PROVENANCE contains its SHA-256.
    """

    file: str
    type: str = ""
    date: str = ""
    product: str = ""


@dataclass(frozen=True)
class EarlierNight:
    """The night of an earlier run.

    Parameters
    ----------
    frames : tuple of EarlierFrame
    folder : Path or None
        Where it was, if the output records it.
    """

    frames: tuple[EarlierFrame, ...]
    folder: Path | None = None

    def __str__(self) -> str:
        where = "a night" if self.folder is None else f"the night {self.folder}"
        example = next((f for f in self.frames if f.type == "science"), self.frames[0])
        date = f" of {example.date}" if example.date else ""
        return f"{where} ({len(self.frames)} frames, such as {example.file}{date})"


def refuse_other_night(output: Path, folder: Path, frames: Sequence[Frame]) -> None:
    """Refuse an output that contains the products of another night.

    The folder of a night does not decide, because a night may be moved, and one folder may contain
    a new night every day. It is the same night if it shares a frame with the earlier run: in the
    same folder one of the same name and time, in another folder one of the same name and bytes.
    Calibrations may be copied from night to night, so the frame must be a science frame if both
    nights have science frames; in the same folder, if a science frame has the name of an earlier
    one.

    Raises
    ------
    OutputError
    """
    earlier = earlier_night(output)
    own = {f.file: f for f in frames if not f.origin and f.verdict != IGNORED}
    if earlier is None or not own or _is_same(output, earlier, folder, own):
        return
    raise OutputError(
        f"{output} contains the products of {earlier}, but none of its frames is in {folder}, which is "
        "another night; use another folder, or replace the earlier night with overwrite=True "
        "(--overwrite)."
    )


def earlier_night(output: Path) -> EarlierNight | None:
    """Return the night whose products an output contains, or None if it contains no products."""
    return _of_table(output) or _of_products(output)


def _is_same(output: Path, earlier: EarlierNight, folder: Path, own: Mapping[str, Frame]) -> bool:
    pairs = [(e, own[e.file]) for e in earlier.frames if e.file in own]
    science = [(e, f) for e, f in pairs if "science" in (e.type, f.type)]
    if earlier.folder is not None and _same_folder(earlier.folder, folder):
        pairs = science or pairs
        dated = [(e, f) for e, f in pairs if e.date and f.date]
        if any(e.date == f.date for e, f in dated) or (pairs and not dated):
            return True
        # Renamed files keep their times; many frames share a date without a time.
        timed = [e for e in earlier.frames if "T" in e.date]
        times = {(e.type, e.date) for e in timed if e.type == "science" or not science}
        if any((f.type, f.date) in times for f in own.values()):
            return True
    elif _has_science(earlier.frames) and _has_science(own.values()):
        pairs = science
    return any(_holds(output, e, f) for e, f in islice(pairs, _COMPARED))


def _has_science(frames: Iterable[EarlierFrame | Frame]) -> bool:
    return any(frame.type == "science" for frame in frames)


def _same_folder(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _holds(output: Path, earlier: EarlierFrame, frame: Frame) -> bool:
    """Return True if a frame has the bytes of the one that an earlier product was made from."""
    recorded = set()
    if earlier.product:
        provenance = check_product(output / earlier.product, pixels=False).provenance
        recorded = {sha for file, sha, _ in provenance if file == ascii_text(earlier.file)}
    if not recorded:
        # None of its products is left that could be lost.
        return bool(earlier.date) and earlier.date == frame.date
    return sha256_or_fault(frame.path)[0] in recorded


def _of_table(output: Path) -> EarlierNight | None:
    """Read the table of the last run, as far as it can be read.

    astropy's reader takes longer for a large night than the headers of its frames do.
    """
    table = output / NIGHT
    try:
        # Opening a FIFO would wait for ever.
        text = table.read_text("utf-8") if table.is_file() else ""
    except (OSError, UnicodeDecodeError):
        return None
    lines = [f"{line}\n" for line in text.split("\n")]
    head = [line for line in lines if line.startswith("#")]
    rows = csv.DictReader(lines[len(head) :], delimiter=" ")
    columns = ("file", "type", "date", "product", "verdict")
    try:
        if not set(columns) <= set(rows.fieldnames or ()):
            return None
        cells = [tuple(row[name] for name in columns) for row in rows]
    except csv.Error:
        return None
    if any(None in row for row in cells):
        return None
    frames = tuple(EarlierFrame(*row[:4]) for row in cells if row[4] != IGNORED)
    return EarlierNight(frames, _folder_of(output, head)) if frames else None


def _folder_of(output: Path, head: Iterable[str]) -> Path | None:
    # A long line continues on the next.
    match = _FOLDER.search(" ".join(line[1:].strip() for line in head))
    return path_of_escaped(match[1], output).resolve() if match else None


def _of_products(output: Path) -> EarlierNight | None:
    """Collect the raw frames of the products in an output whose table was lost."""
    frames = {frame.file: frame for frame in _inputs_of_products(output)}
    return EarlierNight(tuple(frames.values())) if frames else None


def _inputs_of_products(output: Path) -> Iterator[EarlierFrame]:
    for path in filter(is_our_product, fits_files(output, (SCIENCE, MASTERS))):
        name = path.relative_to(output).as_posix()
        for file, _, role in check_product(path, pixels=False).provenance:
            if not role.startswith("master "):
                yield EarlierFrame(file, role.split(",")[0], product=name)
