"""The location of an output folder: writable, and separate from the raw frames."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import InputError, OutputError
from ..files.layout import FOLDERS, LOG, TABLES
from ..files.places import Places, refuse_other_name, seen_from
from ..plan.frames import Frame
from ..plan.plan import Plan
from ..plan.scan import files_of, named_fits
from .lock import HOLDER, LOCK, has_lock

__all__ = [
    "check_folders",
    "check_links",
    "folders_seen_from",
    "names_of",
    "places_of",
    "products_of",
    "refuse_frames",
]

_WRITTEN_IN_PLACE = (LOCK, HOLDER, LOG)
"""Files that are opened to be written; all others are written elsewhere and renamed."""

_ANOTHER = "use another folder, such as one named reduced beside it."


def check_folders(folder: Path, output: Path, calibrations: Iterable[str | Path] = ()) -> None:
    """Refuse an output that is, or contains, the night or its calibrations.

    Folders are compared as the disk knows them, so that links and mounts of one
    folder under several names count as that folder.

    Raises
    ------
    InputError
        If the night is not a folder, or the output is or contains the folder of the night
        or of its calibrations.
    OutputError
        If the output is a file, or cannot be written.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; specify the folder of the night.")
    inputs = [("night", folder), *(("calibrations", Path(c)) for c in calibrations)]
    for whose, given in inputs:
        if _contains(output, given):
            raise InputError(
                f"the output {output} is, or contains, the folder of the {whose}; {_ANOTHER}"
            )
        refuse_frames(output, given)
    if output.exists() and not output.is_dir():
        raise OutputError(f"the output {output} is a file; specify a folder.")
    real = output.resolve()
    parent = next((p for p in (real, *real.parents) if p.exists()), output)
    if parent.is_dir() and not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"the output {output} cannot be written, as {parent} is read-only; "
            "grant permission, or use another folder."
        )


def refuse_frames(output: Path, given: Path) -> None:
    """Refuse an output inside a night if it contains frames, which would be omitted from the night.

    Raises
    ------
    InputError
    """
    # Once a run has used the folder, files that others put there are ignored on purpose.
    if not output.is_dir() or has_lock(output) or len(names_of(given, output)) == 1:
        return
    ours = [output / name for name in FOLDERS]
    for path, name in files_of(output, ours):
        if named_fits(path):
            raise InputError(
                f"the output {output} is inside {given} and contains {name}, which would be ignored "
                f"as if it were a product; {_ANOTHER}"
            )


def names_of(folder: Path, output: Path) -> list[Path]:
    """Return the paths of an output inside a night, which are not searched for frames."""
    names = [output]
    for parent in (output.resolve(), *output.resolve().parents):
        if parent.exists() and folder.exists() and os.path.samefile(parent, folder):
            names.append(folder / output.resolve().relative_to(parent))
    return names


def places_of(output: Path, plan: Plan) -> Places:
    """Return the folders of an output to which a plan writes."""
    return Places.of(output, sorted((_folders_of(plan) | set(FOLDERS)) - {""}))


def products_of(plan: Plan) -> list[str]:
    """Return the names of the masters and science frames that a plan makes."""
    science = [p.name for p in plan.products] + [m.name for m in plan.joined]
    return [m.name for m in plan.masters if not m.path] + science


def check_links(output: Path, plan: Plan, inputs: Iterable[Path], frames: Sequence[Frame]) -> None:
    """Refuse an output with links to the raw frames, or whose lock or log is a link.

    Raises
    ------
    InputError
        If a folder or file of the output is a link to the raw frames.
    OutputError
        If a file that is written in place is a link, or has another name (a hard link).
    """
    inside = [Path(given).expanduser().resolve() for given in inputs]
    root = output.resolve()
    for folder in sorted(output / name for name in _folders_of(plan)):
        real = folder.resolve()
        if not real.is_relative_to(root) and any(real.is_relative_to(raw) for raw in inside):
            raise InputError(
                f"{folder} is a link to {real}, a folder of raw frames, which are never written; "
                "remove the link, or use another output folder."
            )
    written = {_identity(output / name): output / name for name in _WRITTEN_IN_PLACE}
    written.pop(None, None)
    for frame in frames if written else ():
        path = written.get(_identity(frame.path))
        if path is not None and not frame.path.resolve().is_relative_to(root):
            raise InputError(
                f"{path} is a link to {frame.file}, which is never written; remove that link."
            )
    for name in _WRITTEN_IN_PLACE:
        refuse_other_name(output / name)


def folders_seen_from(output: Path, night: Path, frames: Iterable[Frame]) -> dict[str, str]:
    """Return where the raw frames are relative to the output, by the first part of their names.

    The night itself has an empty name. As the paths are relative, a night and its products
    may be moved together.
    """
    from ..products.header import ascii_text

    folders = {"": night}
    for frame in frames:
        label, *parts = frame.file.split("/")
        # PROVENANCE writes labels in ASCII.
        if frame.origin and ascii_text(label) not in folders:
            folders[ascii_text(label)] = frame.path.parents[len(parts) - 1]
    return {label: seen_from(output, folder) for label, folder in folders.items()}


def _folders_of(plan: Plan) -> set[str]:
    return {name.rpartition("/")[0] for name in (*products_of(plan), *TABLES)}


def _contains(output: Path, given: Path) -> bool:
    """Return True if a folder is the output or inside it."""
    out, real = output.resolve(), given.resolve()
    if out == real or out in real.parents:
        return True
    if not out.exists() or not real.exists():
        return False
    return any(os.path.samefile(out, folder) for folder in (real, *real.parents))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
