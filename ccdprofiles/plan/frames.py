"""The frames of a night as their headers describe them: one for every file, or chip of a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..camera.amplifier import AmplifierSet
from ..camera.area import DetectorArea
from ..camera.chips import without_chip
from ..camera.colours import ColourMosaic
from ..camera.profile import Profile
from ..camera.recipe import Recipe
from ..camera.spelling import near_files
from ..errors import InputError
from ..files.cards import Cards
from ..files.raw import RawFile
from .reason import Reason

if TYPE_CHECKING:
    from astropy.table import MaskedColumn, Table

__all__ = [
    "ACCEPTED",
    "IGNORED",
    "NOT_ASKED",
    "NOT_CALIBRATED",
    "NOT_NEEDED",
    "SET_ASIDE",
    "USED",
    "Frame",
    "by_hand",
    "collection",
    "frames_table",
    "shown_name",
]

ACCEPTED = "accepted"
SET_ASIDE = "set aside"
IGNORED = "ignored"
USED = "used"
NOT_NEEDED = "not needed"
NOT_ASKED = "not asked for"
NOT_CALIBRATED = "not calibrated"

_NOT_READ: Any = None
"""A field that every accepted frame has, in one that was refused before it was read."""

_NO_CARDS = Cards(b"")

PRODUCT_CARD = "CPVERS"
"""The card that only products of ccdprofiles have."""


@dataclass(frozen=True)
class Frame:
    """One file of a night, or one chip in it, with its header in the terms of this package.

    A raw frame that is accepted has a profile, a recipe, amplifiers, a binning and a shape,
    and these fields have their types. They are None in a frame whose header was not read so
    far before it was refused; a master of another night has neither recipe nor amplifiers.

    Parameters
    ----------
    file : str
        Its path inside the folder of the night, with ``/``.
    path : Path
    verdict : {"accepted", "set aside", "ignored"}
    fault : Reason or None
        Why it is set aside or ignored.
    profile : Profile
    recipe : Recipe
    type : str
        bias, dark, flat, arc, science; empty if it is not known.
    exposure : float or None
        In seconds.
    filter, object, date : str or None
    binning : tuple of int
        Columns, rows.
    shape : tuple of int
        Rows, columns of the raw frame, or of its first image.
    amplifiers : AmplifierSet
    amplifier_key : str
        A hash of its amplifiers: equal for frames that were read out alike.
    flat_key : str
        The same without the gain, if that varies from frame to frame: equal for frames that may
        share a flat.
    area : DetectorArea or None
        The part of the detector that it covers, if its camera reads windows or writes the position.
    raw : RawFile
    mosaic : ColourMosaic or None
        The colours of its pixels after trimming, if it is a mosaic of colours.
    origin : str
        The calibration folder that contains it; empty for frames of the night itself.
    master : str
        The type of master, if it is a product of ccdprofiles.
    notes : tuple of Reason
        What is unusual in its header although it is used.
    chip : str
        The chip of a mosaic, whose files have a frame for each chip; ``file`` ends with its name.
    exposure_id : str or None
        What the files of one exposure share, if a camera writes several.
    """

    file: str
    path: Path
    verdict: str = ACCEPTED
    fault: Reason | None = None
    profile: Profile = _NOT_READ
    recipe: Recipe = _NOT_READ
    type: str = ""
    exposure: float | None = None
    filter: str | None = None
    object: str | None = None
    date: str | None = None
    binning: tuple[int, int] = _NOT_READ
    shape: tuple[int, int] = _NOT_READ
    amplifiers: AmplifierSet = _NOT_READ
    amplifier_key: str = ""
    flat_key: str = ""
    area: DetectorArea | None = None
    raw: RawFile = _NOT_READ
    mosaic: ColourMosaic | None = None
    origin: str = ""
    master: str = ""
    notes: tuple[Reason, ...] = ()
    chip: str = ""
    exposure_id: str | None = None

    def __repr__(self) -> str:
        exposure = "" if self.exposure is None else f"{self.exposure:g} s"
        profile = "" if self.profile is None else self.profile.name
        parts = (self.verdict, self.code, self.type, exposure, self.filter or "", profile)
        return f"<Frame {self.file}: {', '.join(part for part in parts if part)}>"

    @property
    def header(self) -> Cards:
        """The cards of the frame."""
        return _NO_CARDS if self.raw is None else self.raw.header

    @property
    def raw_file(self) -> str:
        """The name of its file, without that of the chip."""
        return without_chip(self.file) if self.chip else self.file

    @property
    def code(self) -> str:
        """The code of its fault, or an empty text."""
        return "" if self.fault is None else self.fault.code

    @property
    def reason(self) -> str:
        """The reason why it is not used, or an empty text."""
        return "" if self.fault is None else str(self.fault)

    def rejected(self, code: str, text: str, verdict: str = SET_ASIDE) -> Frame:
        """Return this frame with a verdict against it and the reason in one sentence."""
        return self.with_(verdict=verdict, fault=Reason(self.file, code, text))

    def with_(self, **more: Any) -> Frame:
        """Return this frame with new values of fields."""
        # dataclasses.replace takes ten times as long, and a night has 20,000 frames.
        frame = object.__new__(Frame)
        vars(frame).update(vars(self), **more)
        return frame


def frames_table(frames: Sequence[Frame]) -> Table:
    """Return the frames as a table, one row per file, or per chip of a mosaic."""
    # Importing astropy tables takes longer than scanning a night, and a plan needs no table.
    from astropy.table import Table

    table = Table()
    table["file"] = [f.file for f in frames] or np.array([], "U1")
    if any(f.chip for f in frames):
        table["chip"] = [f.chip for f in frames]
    if any(f.exposure_id for f in frames):
        table["exposure_id"] = _masked([f.exposure_id for f in frames], "", "U")
    table["profile"] = [f.profile.name if f.profile else "" for f in frames]
    table["type"] = [f.type for f in frames]
    table["exposure"] = _masked([f.exposure for f in frames], 0.0, "f8")
    table["exposure"].unit = "s"
    table["exposure"].info.format = ".10g"
    table["filter"] = _masked([f.filter for f in frames], "", "U")
    table["binning"] = [
        "" if f.binning is None else f"{f.binning[0]}x{f.binning[1]}" for f in frames
    ]
    table["shape"] = ["" if f.shape is None else f"{f.shape[1]}x{f.shape[0]}" for f in frames]
    table["object"] = _masked([f.object for f in frames], "", "U")
    table["date"] = _masked([f.date for f in frames], "", "U")
    table["amplifiers"] = [f.amplifier_key for f in frames]
    table["verdict"] = [f.verdict for f in frames]
    table["reason"] = [f.reason for f in frames]
    for name in ("profile", "type", "binning", "shape", "amplifiers", "verdict", "reason"):
        if len(frames) == 0:
            table.replace_column(name, np.array([], "U1"))
    return table


def by_hand(
    frames: Sequence[Frame], keep: Iterable[str | Path] = (), reject: Iterable[str | Path] = ()
) -> tuple[tuple[Frame, ...], tuple[str, ...], tuple[str, ...]]:
    """Set aside the frames that the caller rejects, and identify those that the caller keeps.

    Parameters
    ----------
    frames : sequence of Frame
    keep, reject : iterable of path
        As the frames table names them, as paths, or by the last part of their name if it is
        unique. The name of a file stands for all chips in it.

    Returns
    -------
    tuple of Frame
        The rejected ones are set aside.
    keep, reject : tuple of str
        As the frames table names them, sorted.

    Raises
    ------
    InputError
        If no file or several have that name, or one is both kept and rejected.
    """
    kept = _files_named(keep, frames, "keep")
    rejected = _files_named(reject, frames, "reject")
    for file in sorted(set(kept) & set(rejected)):
        raise InputError(f"{file} is to be both kept and rejected; choose one.")
    left_out = tuple(
        f.rejected("rejected", "rejected by hand.") if f.file in rejected else f for f in frames
    )
    return left_out, kept, rejected


def _listed(names: Iterable[str | Path] | str | Path) -> Iterable[str | Path]:
    return (names,) if isinstance(names, str | Path) else names


def _files_named(
    names: Iterable[str | Path] | str | Path, frames: Sequence[Frame], option: str
) -> tuple[str, ...]:
    named = (_file_named(name, frames, option) for name in _listed(names))
    return tuple(sorted({file for files in named for file in files}))


def _file_named(name: str | Path, frames: Sequence[Frame], option: str) -> list[str]:
    """Return the one file of the night that a name matches: of a mosaic the frames of its chips."""
    text = str(name)
    ways = (
        lambda f: text in (f.file, f.raw_file),
        lambda f: f.path.resolve() == Path(name).expanduser().resolve(),
        lambda f: text in (f.file.rsplit("/", 1)[-1], f.raw_file.rsplit("/", 1)[-1]),
    )
    for fits_it in ways:
        matching = [f for f in frames if fits_it(f)]
        names = [*dict.fromkeys(f.raw_file for f in matching)]
        if len(names) > 1:
            raise InputError(
                f"{option}={text!r} matches {len(names)} files of the night: "
                f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}; use a longer part of the path."
            )
        if names:
            return [f.file for f in matching]
    near = near_files(text, (f.file for f in frames))
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise InputError(
        f"{option}={text!r} is not a file of the night{hint}; use a name that "
        "ccdprofiles info lists."
    )


def collection(folder: str | Path, frames: Sequence[Frame]):
    """Return the accepted frames as a `ccdproc.ImageFileCollection`.

    Its summary has the columns of the frames table, so that
    ``files_filtered(type="dark", exposure=300.0)`` finds the frames that the profile
    recognises as such; no header is read until a card is needed. ``ccds()`` returns
    each frame in the unit of its profile.
    """
    from astropy.table import Table

    from .collection import NightFiles

    accepted = [f for f in frames if f.verdict == ACCEPTED and not f.origin]
    summary = Table(frames_table(accepted), masked=True)
    summary.remove_columns(["verdict", "reason"])
    # A collection opens files by their names; the chips of a file are distinguished by "hdu".
    summary["file"] = [f.raw_file for f in accepted] or summary["file"]
    hdus = [f.raw.images[0].index if f.chip else None for f in accepted]
    if any(f.chip for f in accepted):
        summary["hdu"] = [hdu or 0 for hdu in hdus]
    return NightFiles(folder, summary, [f.profile.unit for f in accepted], hdus)


def shown_name(name: str) -> str:
    """Escape the control characters of a name, for tables and logs."""
    if name.isprintable():
        return name
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _masked(values: list, fill: object, dtype: str) -> MaskedColumn:
    from astropy.table import MaskedColumn

    return MaskedColumn(
        [fill if v is None else v for v in values],
        mask=[v is None for v in values],
        dtype=dtype if values else ("U1" if dtype == "U" else dtype),
    )
