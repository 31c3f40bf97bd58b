"""The profile of a camera: its header cards, its image sections, and how it is calibrated."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from astropy import units as u

from ..errors import FrameRejected, ProfileError, SectionError
from .amplifier import Amplifier, AmplifierSet, check_amplifiers, is_pattern
from .cards import Card
from .checks import checked, checked_frame_size
from .chips import amplifiers_of_chip
from .contents import Cards, HeaderContents
from .extensions import in_extensions, refuse_missing_extensions
from .fingerprint import fingerprint
from .frame_size import check_frame_size
from .placement import amplifier_set
from .recipe import Recipe
from .settings import Period
from .single_steps import SingleSteps
from .values import ADDED, changed, picklable
from .watch import call
from .window import cut_amplifiers, window_text

__all__ = ["Profile"]


@dataclass(frozen=True, kw_only=True)
class Profile(HeaderContents, SingleSteps):
    """One camera: what its headers say, where its pixels lie, how it is calibrated.

    A function of the header may be used instead of almost any value.

    Parameters
    ----------
    instrument : str, tuple of str, callable or None
        The value or values of INSTRUME, exact but for outer blanks, or patterns with ``*`` and
        ``?``, such as ``"ZWO *"``; or a function that returns True for a header of this camera;
        None if it writes no INSTRUME. An exact value in any profile wins over a pattern.
    where : dict
        Other cards that must agree, such as ``{"OBSERVAT": "APO"}``. A value may be a
        number, a text, a shell pattern, or a tuple of these.
    telescope : str
        For readers only; it is not compared with any card.
    amplifiers : list of Amplifier or callable
    binning : tuple of two str, callable or None
        The cards for columns and rows. None: every frame is unbinned.
    overscan_bins : bool
        False if the overscan keeps its width in binned frames.
    frame_size : tuple of int, dict, callable or None
        Columns and rows of the whole raw frame, unbinned, if the sections do not reach its edge:
        ``frame_size=(4109, 4096)``. The rest is not used. A file whose extensions differ in size
        needs a dict, ``{1: (2080, 4128), 2: (2080, 4112)}``. None: the last column and row of the
        frame belong to a section. A frame of another size is set aside.
    exposure, filter, object, date, temperature, frame_type : str, tuple of str, callable or None
        The cards, tried in order; None if there is none. The exposure is in seconds,
        the temperature of the chip in degrees Celsius.
    frame_types : dict
        The type for each word of ``frame_type``: bias, dark, flat, arc, science, or None
        for a frame that is ignored on purpose. They take precedence over the words of
        `ccdprofiles.camera.frame_types.COMMON_FRAME_TYPES`, which need not be listed.
        Compared without case, blanks, ``-`` and ``_``.
    match : tuple of str or Card, or dict
        Further cards that a frame and its master must agree on: for all masters, or
        ``{"flat": ("SLIT",)}`` for some. A text is compared exactly, a `Card` as a number,
        with a tolerance and by several spellings. The usual set-up cards (gain, offset, read mode,
        speed, amplifier, temperature) are always compared.
    mixed_setup : {"split", "refuse"}
        For frames of one type whose set-up cards differ, "split" makes a master for each
        setting, and "refuse" makes none.
    ignore_cards : tuple of str
        Cards that have no influence on the pixels of this camera, although they have
        names of set-up cards.
    unit : Unit
        Of the raw pixels.
    recipe : Recipe or callable
        How its frames are calibrated; a function of the header if one camera takes images and
        spectra.
    file_types : dict
        The type for patterns of the path of a file inside the night, asked in their order and
        only if no card contains the type: ``{"*/FLAT/*": "flat", "Dark_*": "dark"}``. A pattern
        without ``/`` is compared with the name of the file. Compared without case.
    valid : tuple of str, or None
        The dates of the frames that the profile is for, ``("2019-03-01", "2023-07-14")``: the
        first included, the last not, None is open. Several profiles of one camera may have
        periods that do not overlap.
    window : str, tuple of str, callable or None
        The card, or several spellings, with the section of the detector that was read, in unbinned
        pixels: ``"CCDSEC"``; or a function of the header that returns this text, or None. The
        sections of the amplifiers are those of the whole frame, and are cut to the window. A frame
        without the card is a whole frame. Masters of the whole frame are cut for its windows.
    chips : dict of str to tuple of str
        The names of the amplifiers of each chip of a mosaic, whose chips lie apart on the sky:
        ``{"1": ("A", "B"), "2": ("C", "D")}``. Each chip is calibrated as a frame of its own.
    products : {"chips", "mef"}
        Of a mosaic: a product for each chip, or beside these one file with all chips.
    exposure_id : str, tuple of str, callable or None
        The cards, or a function, that tell which files are one exposure, if the camera writes a
        file for each chip or amplifier. Each file is calibrated by itself.
    status : str
        How well the profile is known: "tried on a real night", "headers seen" or "from documents
        only". It has no influence on the products.
    name, file, notes : str
        Filled in when the profile is read from its file.

    Raises
    ------
    ProfileError
        If a value is not valid.

    Examples
    --------
    >>> from ccdprofiles import Amplifier, Profile, Recipe
    >>> profile = Profile(
    ...     instrument="MyCam",
    ...     amplifiers=[Amplifier(data="[1:1024, 1:1024]", overscan=None)],
    ...     recipe=Recipe(bias=True, dark=None),
    ... )
    >>> profile.fits({"INSTRUME": "MyCam"})
    True
    """

    instrument: str | tuple[str, ...] | Callable[[Mapping], bool] | None
    amplifiers: Sequence[Amplifier] | Callable[[Mapping], Sequence[Amplifier]]
    recipe: Recipe | Callable[[Mapping], Recipe]
    where: Mapping[str, Any] = field(default_factory=dict)
    telescope: str = ""
    binning: tuple[str, str] | Callable[[Mapping], tuple[int, int]] | None = None
    overscan_bins: bool = True
    frame_size: (
        tuple[int, int]
        | Mapping[int | str, tuple[int, int]]
        | Callable[[Mapping], tuple[int, int]]
        | None
    ) = None
    exposure: Cards = "EXPTIME"
    filter: Cards = "FILTER"
    object: Cards = "OBJECT"
    date: Cards = "DATE-OBS"
    temperature: Cards = None
    frame_type: Cards = "IMAGETYP"
    frame_types: Mapping[str, str | None] = field(default_factory=dict)
    match: Sequence[str | Card] | Mapping[str, Sequence[str | Card]] = ()
    mixed_setup: str = "split"
    ignore_cards: Sequence[str] = ()
    unit: u.UnitBase = u.adu
    file_types: Mapping[str, str | None] = field(default_factory=dict, metadata=ADDED)
    valid: Period | None = field(default=None, metadata=ADDED)
    window: Cards = field(default=None, metadata=ADDED)
    chips: Mapping[str, tuple[str, ...]] = field(default_factory=dict, metadata=ADDED)
    products: str = field(default="chips", metadata=ADDED)
    exposure_id: Cards = field(default=None, metadata=ADDED)
    status: str = field(default="", compare=False)
    name: str = field(default="", compare=False)
    file: str = field(default="", compare=False)
    notes: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, value in checked(vars(self)).items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        cards = ", ".join(repr(name) for name in self.instruments) or "by other cards"
        amplifiers = () if callable(self.amplifiers) else self.amplifiers
        number = f", {len(amplifiers)} amplifier{'s' * (len(amplifiers) > 1)}" if amplifiers else ""
        file = f", {Path(self.file).name}" if self.file else ""
        return f"<Profile {self.name or '(no name)'}: {cards}{number}{file}>"

    def __str__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in fields(self) if f.repr}
        shown["file"] = Path(self.file).name
        text = f"Profile({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
        return re.sub(r" at 0x[0-9a-f]+>", ">", text)

    def __reduce__(self):
        return picklable(self)

    @property
    def folder(self) -> Path:
        """Where the files are that the recipe names: beside the profile, or else here."""
        return Path(self.file).absolute().parent if self.file else Path.cwd()

    @cached_property
    def amplifiers_vary(self) -> bool:
        """True if the amplifiers, or a number of one of them, depend on the header."""
        if callable(self.amplifiers) or callable(self.frame_size) or callable(self.window):
            return True
        return any(a.varies for a in self.amplifiers)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of everything that decides what the profile does, without comments and names."""
        return fingerprint(self, self._label)

    def but(self, **changes: Any) -> Profile:
        """Return a profile of another camera that differs in a few fields.

        Its name, file and notes are not those of this one. In the file of a profile it is named
        after its variable; elsewhere give ``name=``.

        Raises
        ------
        ProfileError
            If there is no such field, or a value is not valid.

        Examples
        --------
        >>> from ccdprofiles import load_profile
        >>> lfc = load_profile("lfc")
        >>> other = lfc.but(name="lfc2", instrument="LFC 2", recipe=lfc.recipe.but(electrons=True))
        >>> other
        <Profile lfc2: 'LFC 2', 1 amplifier>
        """
        return changed(self, {"name": "", "file": "", "notes": "", "status": ""} | changes)

    def of_chip(self, chip: str) -> Profile:
        """Return the profile of one chip of a mosaic, for single steps.

        Raises
        ------
        ProfileError
            If there is no such chip, or the amplifiers are known only from a header.

        Examples
        --------
        >>> from ccdprofiles import Amplifier, Profile, Recipe
        >>> one = Amplifier(name="A", data="[1:64, 1:64]", overscan=None, extension=1)
        >>> amplifiers = [one, one.but(name="B", extension=2)]
        >>> chips = {"1": ("A",), "2": ("B",)}
        >>> wfc = Profile(instrument="WFC", amplifiers=amplifiers, chips=chips, recipe=Recipe())
        >>> wfc.of_chip("2").amplifiers[0].extension
        2
        """
        if callable(self.amplifiers) or any(is_pattern(a.extension) for a in self.amplifiers):
            raise ProfileError(
                f"{self._label}: the amplifiers of chip {chip!r} are known only from a header; "
                "reduce a night, or write an amplifier for each extension."
            )
        own = amplifiers_of_chip(self.amplifiers, self.chips, chip)
        identity = {"name": self.name, "file": self.file, "notes": self.notes}
        chips = {chip: self.chips[chip]}
        return self.but(amplifiers=own, chips=chips, products="chips", **identity)

    @cached_property
    def section_cards(self) -> tuple[str, ...]:
        """The cards that the sections of its amplifiers are read from."""
        amplifiers = () if callable(self.amplifiers) else self.amplifiers
        return tuple(dict.fromkeys(card for a in amplifiers for card in a.section_cards))

    def amplifiers_of(
        self, header: Mapping, shapes: Mapping, headers: Mapping | None = None, chip: str = ""
    ) -> AmplifierSet:
        """Fit the amplifiers into a frame.

        Parameters
        ----------
        header : mapping
        shapes : mapping
            Rows and columns for each extension; the key None means the image of a file that has a
            single one.
        headers : mapping, optional
            The header of each extension, over the primary one; it is used instead of ``header`` for
            the sections and the numbers of its amplifier.
        chip : str
            The chip of a mosaic.

        Raises
        ------
        FrameRejected
            ``section`` if the size of the frame does not agree with the sections, or a card has
            no section that is possible,
            ``missing-extension`` if it lacks one, and ``mef`` if it has several images and the
            profile expects one.
        ProfileError
            If a function of the profile returns an invalid value.
        """
        amplifiers = self.amplifiers
        if callable(amplifiers):
            amplifiers = tuple(call(amplifiers, header))
            if not self.chips:
                check_amplifiers(amplifiers)
        amplifiers = in_extensions(amplifiers, shapes, self._label)
        everything = amplifiers
        if self.chips:
            amplifiers = amplifiers_of_chip(amplifiers, self.chips, chip, self._label)
            check_amplifiers(amplifiers)
        binning, bins, window = self.binning_of(header), self.overscan_bins, ""
        size = self.frame_size
        if callable(size):
            size = size(header)
            size = None if size is None else checked_frame_size(size, amplifiers)
        try:
            if self.window is not None:
                own = self.window_of(header)
                window = window_text(own, self.window)
                amplifiers, size = cut_amplifiers(amplifiers, size, own, binning, bins)
                everything = amplifiers
            refuse_missing_extensions(amplifiers, shapes, self._label)
            extensions = {a.extension for a in amplifiers}
            beside = [a for a in everything if a.extension in extensions]
            cards = self._binning_cards
            check_frame_size(beside, shapes, binning, bins, size, cards, window)
            return amplifier_set(
                amplifiers, shapes, binning, bins, header, headers, located=bool(window)
            )
        except SectionError as error:
            raise FrameRejected("section", f"{self._label}: {error}") from error
