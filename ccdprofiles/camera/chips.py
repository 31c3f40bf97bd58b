"""The chips of a mosaic: their names, the amplifiers of each, and how a frame of one is named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ProfileError
from .amplifier import Amplifier, is_pattern
from .values import nearest, one_of, read_only

__all__ = [
    "PRODUCTS",
    "amplifiers_of_chip",
    "checked_chips",
    "chip_file",
    "several_chips",
    "without_chip",
]

PRODUCTS = ("chips", "mef")
"""What is made of a mosaic: a product for each chip, or beside them one file with all chips."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")
_SUFFIX = re.compile(r"(?s)(.+)\[chip ([A-Za-z0-9][A-Za-z0-9_+-]*)\]")


def checked_chips(chips: Any, amplifiers: Any, products: Any) -> Mapping[str, tuple[str, ...]]:
    """Return the names of the amplifiers of each chip, read-only.

    Parameters
    ----------
    chips : dict of str to tuple of str
    amplifiers : sequence of Amplifier or callable
        The names of amplifiers that depend on the header, or stand for several extensions, are
        checked in every frame.
    products : {"chips", "mef"}

    Raises
    ------
    ProfileError
        If a name is not valid or unknown, or an amplifier is in no chip or in several.
    """
    one_of(products, PRODUCTS, "products")
    if not isinstance(chips, Mapping):
        raise ProfileError(
            f"chips={chips!r} is not a dict; use the names of the amplifiers of each chip, such as "
            "chips={'1': ('A', 'B'), '2': ('C', 'D')}."
        )
    if not chips:
        if products != PRODUCTS[0]:
            raise ProfileError(
                f"products={products!r} needs chips={{...}}: without chips each frame has one product."
            )
        return read_only({})
    names: dict[str, tuple[str, ...]] = {}
    for chip, members in chips.items():
        if not isinstance(chip, str) or not _NAME.fullmatch(chip):
            raise ProfileError(
                f"chips: {chip!r} is not a name of a chip, which is a part of the names of its "
                "products; use letters, digits, '_', '+' and '-', as a text such as '1'."
            )
        if chip.lower() in {name.lower() for name in names}:
            raise ProfileError(
                f"chips: {chip!r} differs from another name by its case only; some file systems do "
                "not distinguish them; use another name."
            )
        if not isinstance(members, tuple | list) or not members:
            raise ProfileError(
                f"chips: {chip!r}: {members!r} is not a tuple of names of amplifiers; use such as "
                f"chips={{{chip!r}: ('A', 'B')}}."
            )
        names[chip] = tuple(members)
    _check_members(names, amplifiers)
    return read_only(names)


def _check_members(chips: Mapping[str, tuple[str, ...]], amplifiers: Any) -> None:
    """Refuse a name that no amplifier has, and an amplifier that is not in exactly one chip."""
    listed: dict[str, str] = {}
    fixed = not callable(amplifiers) and not any(is_pattern(a.extension) for a in amplifiers)
    known = [a.name for a in amplifiers] if fixed else []
    for chip, members in chips.items():
        for name in members:
            if fixed and name not in known:
                raise ProfileError(
                    f"chips: {chip!r} names the amplifier {name!r}, but the amplifiers are "
                    f"{', '.join(map(repr, known))}{nearest(name, known)}; correct chips= or name=."
                )
            if name in listed:
                where = f"twice in chip {chip!r}"
                if listed[name] != chip:
                    where = f"in the chips {listed[name]!r} and {chip!r}"
                raise ProfileError(
                    f"chips: the amplifier {name!r} is {where}; each amplifier belongs to one chip."
                )
            listed[name] = chip
    for name in known:
        if name not in listed:
            raise ProfileError(
                f"chips: the amplifier {name!r} is in none of them; add it to its chip."
            )


def amplifiers_of_chip(
    amplifiers: Sequence[Amplifier],
    chips: Mapping[str, tuple[str, ...]],
    chip: str,
    label: str = "the profile",
) -> tuple[Amplifier, ...]:
    """Return the amplifiers of one chip.

    Parameters
    ----------
    amplifiers : sequence of Amplifier
        All of the camera.
    chips : mapping
        The names of the amplifiers of each chip.
    chip : str
        May be empty if there is only one.
    label : str
        The name of the profile in a message.

    Raises
    ------
    ProfileError
        If there is no such chip, or none is given, or a frame has other amplifiers than the chips name.
    """
    if not chip and len(chips) > 1:
        raise ProfileError(several_chips(label, chips))
    chip = chip or next(iter(chips))
    if chip not in chips:
        raise ProfileError(
            f"chip={chip!r} is not a chip of this camera{nearest(chip, [*chips])}; use one of "
            f"{', '.join(map(repr, chips))}."
        )
    named = {name for members in chips.values() for name in members}
    if others := [a.name for a in amplifiers if a.name not in named]:
        raise ProfileError(
            f"chips: the amplifier {others[0]!r} is in none of them; add it to its chip."
        )
    return tuple(a for a in amplifiers if a.name in chips[chip])


def several_chips(label: str, chips: Mapping[str, tuple[str, ...]]) -> str:
    """Return why a file of a mosaic cannot be used as one frame.

    Parameters
    ----------
    label : str
        The name of the profile.
    chips : mapping
    """
    return (
        f"{label} has the chips {', '.join(map(repr, chips))}, which do not make one frame; use "
        f"profile.of_chip({next(iter(chips))!r}) for one of them."
    )


def chip_file(file: str, chip: str) -> str:
    """Name the frame of one chip in a file.

    >>> from ccdprofiles.camera.chips import chip_file
    >>> chip_file("r416104.fits", "2")
    'r416104.fits[chip 2]'
    """
    return f"{file}[chip {chip}]" if chip else file


def without_chip(file: str) -> str:
    """Return the file that a frame of one chip is in.

    >>> from ccdprofiles.camera.chips import without_chip
    >>> without_chip("r416104.fits[chip 2]"), without_chip("ccd.037.0.fits")
    ('r416104.fits', 'ccd.037.0.fits')
    """
    match = _SUFFIX.fullmatch(file)
    return match[1] if match else file
