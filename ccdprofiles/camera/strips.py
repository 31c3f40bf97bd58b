"""Strips of overscan beside, above and below the data: which of them give a level, and of what."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from ..errors import SectionError
from .section import Section

__all__ = ["check_strips", "is_above", "lit_overscan", "without_serial"]


def check_strips(data: Section, strips: Sequence[Section], parallel: Section | None) -> None:
    """Refuse strips of overscan that do not give a level for each row, or for each column.

    Parameters
    ----------
    data : Section
    strips : sequence of Section
        Of ``overscan``.
    parallel : Section or None

    Raises
    ------
    SectionError
    """
    for strip in (*strips, *([] if parallel is None else [parallel])):
        if strip.overlaps(data):
            raise lit_overscan(strip, data)
    for one, other in combinations(strips, 2):
        if one.overlaps(other):
            raise SectionError(
                f"overscan {one} and overscan {other} overlap; use each pixel once, in one strip."
            )
    by_column = [is_above(strip, data) for strip in strips]
    for strip, above in zip(strips, by_column, strict=True):
        if above:
            _check_columns("overscan", strip, data)
        elif (strip.first_row, strip.last_row) != (data.first_row, data.last_row):
            raise SectionError(
                f"overscan {strip} and data {data} do not have the same rows; "
                "each row of the data needs its own overscan."
            )
    if len({*by_column}) > 1:
        raise SectionError(
            f"overscan {' and '.join(map(str, strips))} are beside the data {data} and above or below "
            "them; use overscan= for those beside, and parallel_overscan= for the other."
        )
    if parallel is None:
        return
    if not strips or by_column[0]:
        raise without_serial(parallel)
    _check_columns("parallel_overscan", parallel, data)


def without_serial(parallel: object) -> SectionError:
    """Return the refusal of a parallel overscan without a level for each row."""
    return SectionError(
        f"parallel_overscan {parallel} is corrected after a level for each row, but overscan= has "
        "no strip beside the data; use overscan= for it if it is the only one."
    )


def is_above(strip: Section, data: Section) -> bool:
    """Return True if a strip is above or below the data, and not beside them."""
    if (strip.first_column, strip.last_column) == (data.first_column, data.last_column):
        return True
    beside = Section(strip.first_column, strip.last_column, data.first_row, data.last_row)
    return beside.overlaps(data)


def _check_columns(field: str, strip: Section, data: Section) -> None:
    if (strip.first_column, strip.last_column) != (data.first_column, data.last_column):
        raise SectionError(
            f"{field} {strip} is not beside the data {data} and does not have the same columns; "
            "each column of the data needs its own overscan."
        )


def lit_overscan(overscan: object, data: object) -> SectionError:
    """Return the refusal of an overscan that overlaps data."""
    return SectionError(
        f"overscan {overscan} overlaps the data {data}; use the strip that receives no light."
    )
