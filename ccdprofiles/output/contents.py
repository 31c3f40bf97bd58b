"""What an output folder holds: products of this run and of earlier ones, and files of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING

from ..errors import OutputError
from ..files.layout import PRODUCTS, TABLES
from ..plan.plan import Plan
from .location import products_of
from .lock import has_lock

# A plan must not wait for what works on pixels.
if TYPE_CHECKING:
    from ..reduce.made import Made

__all__ = ["fits_files", "is_our_product", "refuse_foreign", "stale"]

_OUR_CARDS = ("CPVERS", "CPKEY", "CPTYPE")

_LONGEST = 64 * 2880
"""Bytes in which the end of a header is looked for."""

_REPLACE = "give another folder, or let it be replaced with overwrite=True (--overwrite)."


def fits_files(output: Path, folders: Sequence[str] = PRODUCTS) -> Iterator[Path]:
    """Return every FITS file in the folders of the products, in order."""
    for folder in folders:
        yield from sorted((output / folder).rglob("*.fits"))


def is_our_product(path: Path) -> bool:
    """Return True if a file is a product as ccdprofiles writes it, with its cards and HDUs.

    A file that somebody made from a product may have the cards, but not the HDUs.
    """
    from ..products.saved import check_product

    if path.is_symlink() or path.name.startswith("."):
        return False
    saved = check_product(path, pixels=False)
    return not saved.faults and all(card in saved.header for card in _OUR_CARDS)


def refuse_foreign(output: Path, plan: Plan) -> None:
    """Refuse to replace a file that ccdprofiles did not make.

    Raises
    ------
    OutputError
    """
    if not output.exists():
        return
    for name in products_of(plan):
        if (output / name).exists() and not _may_be_replaced(output / name):
            raise OutputError(
                f"{output / name} exists and is not a product of ccdprofiles; {_REPLACE}"
            )
    tables = [output / name for name in TABLES if (output / name).exists()]
    # An output that was copied may have lost its lock.
    if tables and not has_lock(output) and not any(map(is_our_product, fits_files(output))):
        raise OutputError(f"{tables[0]} exists, and no run of ccdprofiles made it; {_REPLACE}")


def stale(output: Path, made: Made) -> list[str]:
    """Return a sentence that names products of an earlier run that no longer belong to the night.

    Files of others are not named. A run that could make nothing, as with a wrong
    profile, does not name the products of another one.
    """
    ours = {*made.masters.values(), *made.products.values()}
    if not ours:
        return []
    ours |= {output / name for name in made.earlier.values()}
    # What was replaced during the run belongs to this night all the same.
    ours |= {output / name for name, why in made.failed.items() if why.code == "removed"}
    others = [path for path in fits_files(output) if path not in ours]
    # A product may have two names.
    real = {path.resolve() for path in ours} if others else set()
    left = [
        p.relative_to(output).as_posix()
        for p in others
        if p.resolve() not in real and is_our_product(p)
    ]
    if not left:
        return []
    shown = ", ".join(left[:5]) + (", …" if len(left) > 5 else "")
    return [
        f"{len(left)} product{'s' if len(left) > 1 else ''} of an earlier run no longer "
        f"belong{'' if len(left) > 1 else 's'} to this night and may be removed: {shown}"
    ]


def _may_be_replaced(path: Path) -> bool:
    """Return True if a file is a product, or empty, or cut off within its header."""
    from ..products.saved import made_by_us

    if not S_ISREG(path.stat().st_mode):
        return False
    with open(path, "rb") as stream:
        start = stream.read(_LONGEST)
    ends = any(start.startswith(b"END     ", card) for card in range(0, len(start), 80))
    cut = len(start) < _LONGEST and start.startswith(b"SIMPLE  =") and not ends
    return cut or not start.strip(b"\0") or made_by_us(start)
