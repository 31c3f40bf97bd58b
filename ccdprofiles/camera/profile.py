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
from .cards import Card, card_text, matched_cards
from .checks import checked, checked_frame_size
from .chips import amplifiers_of_chip
from .extensions import in_extensions, refuse_missing_extensions
from .fingerprint import fingerprint
from .frame_size import check_frame_size
from .frame_types import loose, path_fits, possible_words, with_common
from .header_values import (
    UNKNOWN,
    card_names,
    first_value,
    lower_word,
    quoted,
    read_binning,
    read_celsius,
    read_seconds,
)
from .identity import Identity
from .placement import amplifier_set
from .recipe import Recipe
from .settings import Period
from .single_steps import SingleSteps
from .values import ADDED, changed, nearest, picklable
from .watch import call

__all__ = ["Profile"]

_LONGEST_TEXT = 1000
"""Characters that a function may return for a card."""

Cards = str | Sequence[str] | Callable[[Mapping], Any] | None


@dataclass(frozen=True, kw_only=True)
class Profile(Identity, SingleSteps):
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

    @cached_property
    def amplifiers_vary(self) -> bool:
        """True if the amplifiers, or a number of one of them, depend on the header."""
        if callable(self.amplifiers) or callable(self.frame_size):
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

    def frame_type_of(self, header: Mapping, file: str = "") -> str | None:
        """Return the type of a frame, or None if it is ignored on purpose.

        Parameters
        ----------
        header : mapping
        file : str
            The path of the file inside the night, for ``file_types``.

        Raises
        ------
        FrameRejected
            ``no-type`` if the card is missing, or has a word that the profile does not know.
        """
        value = self._value("frame_type", header)
        if value is None:
            for pattern, kind in self.file_types.items():
                if path_fits(file, pattern):
                    return kind
            path = f", and {file!r} fits no pattern of file_types=" if self.file_types else ""
            raise FrameRejected(
                "no-type",
                f"{self._missing('frame_type')}{path}, so the type of the frame is not known; "
                f"change frame_type={' or file_types=' if path else ''} in {self._label}.",
            )
        word = lower_word(value)
        if word in self.frame_types:
            return self.frame_types[word]
        if loose(word) in self._all_frame_types:
            return self._all_frame_types[loose(word)]
        raise FrameRejected(
            "no-type",
            f"{self._quoted('frame_type', value)} is not a frame type that {self._label} knows"
            f"{nearest(word, possible_words(word, self.frame_types))}; "
            "add the word to its frame_types=.",
        )

    @cached_property
    def _all_frame_types(self) -> dict[str, str | None]:
        return with_common(self.frame_types)

    def exposure_of(self, header: Mapping) -> float | None:
        """Return the exposure in seconds, or None if the header has none.

        A number in a text is read as that number.

        Raises
        ------
        FrameRejected
            ``exposure`` if it is not a number, is negative, or is longer than a day.
        """
        value = self._value("exposure", header, UNKNOWN)
        if isinstance(value, u.Quantity):
            value = value.to_value(u.s)
        try:
            return read_seconds(value)
        except ValueError as error:
            raise FrameRejected(
                "exposure",
                f"{self._quoted('exposure', value)} is not an exposure between 0 and 86400 s; "
                "correct the header, or reject the frame.",
            ) from error

    def temperature_of(self, header: Mapping) -> float | None:
        """Return the temperature of the chip in degrees Celsius, or None if it is not known.

        Raises
        ------
        ProfileError
            If a function of the profile returns neither a number nor a text.
        """
        try:
            value = self._value("temperature", header)
        except (TypeError, ValueError):
            return None  # float(None), of a function and a header without the card
        return read_celsius(value)

    def binning_of(self, header: Mapping) -> tuple[int, int]:
        """Return how many columns and rows were summed into one.

        Raises
        ------
        FrameRejected
            ``binning`` if the cards are missing, or are not positive whole numbers.
        """
        if self.binning is None:
            return 1, 1
        if callable(self.binning):
            values = call(self.binning, header)
            start = f"the function binning= returns {values}, which"
        else:
            values = tuple(header.get(card) for card in self.binning)
            start = f"{', '.join(self.binning)} = {values}"
        try:
            return read_binning(values)
        except ValueError as error:
            fault = f"{start} is not a binning; two positive whole numbers were expected"
            if not callable(self.binning) and set(values) == {None}:
                fault = (
                    f"{' and '.join(self.binning)} are missing, but two positive whole numbers "
                    "were expected"
                )
            raise FrameRejected(
                "binning", f"{fault}; correct the header, or binning= in {self._label}."
            ) from error

    def recipe_of(self, header: Mapping) -> Recipe:
        """Return how a frame is calibrated.

        Raises
        ------
        ProfileError
            If a function of the profile does not return a recipe.
        """
        if not callable(self.recipe):
            return self.recipe
        recipe = call(self.recipe, header)
        if not isinstance(recipe, Recipe):
            raise ProfileError(
                f"{self._label}: recipe= returns {recipe!r}, which is not a recipe; use Recipe(...)."
            )
        return recipe

    def text_of(self, field: str, header: Mapping) -> str | None:
        """Return ``filter``, ``object``, ``date`` or ``exposure_id`` of a header, or None.

        Raises
        ------
        ProfileError
            If a function of the profile returns a text that is too long.
        """
        value = self._value(field, header)
        text = "" if value is None else str(value).strip()
        if len(text) > _LONGEST_TEXT and callable(getattr(self, field)):
            raise ProfileError(
                f"the function {field}= returns {text[:40]!r} and {len(text) - 40} characters more, "
                "which is too long for a header."
            )
        return text or None

    def match_of(self, master: str, header: Mapping) -> tuple[tuple[str, str | None], ...]:
        """Return the further cards that a master of this type must share, and their values."""
        pairs: list[tuple[str, str | None]] = []
        for card in matched_cards(self.match, master):
            if isinstance(card, Card):
                name, number = card.read(header)
                pairs.append((name, card_text(number)))
            else:
                value = header.get(card)
                pairs.append((card, None if value is None else str(value).strip()))
        return tuple(pairs)

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
        refuse_missing_extensions(amplifiers, shapes, self._label)
        binning = self.binning_of(header)
        size = self.frame_size
        if callable(size):
            size = size(header)
            size = None if size is None else checked_frame_size(size, amplifiers)
        try:
            extensions = {a.extension for a in amplifiers}
            beside = [a for a in everything if a.extension in extensions]
            check_frame_size(beside, shapes, binning, self.overscan_bins, size, self._binning_cards)
            bins = self.overscan_bins
            return amplifier_set(amplifiers, shapes, binning, bins, header, headers)
        except SectionError as error:
            raise FrameRejected("section", f"{self._label}: {error}") from error

    @property
    def _binning_cards(self) -> str:
        """The cards of the binning for a message; nothing if there are none."""
        if callable(self.binning):
            return "binning= in the profile"
        return " and ".join(dict.fromkeys(self.binning or ()))

    @property
    def _label(self) -> str:
        """The name of the profile in a message."""
        return Path(self.file).name if self.file else self.name or "the profile"

    def _value(self, field: str, header: Mapping, ignored: Sequence[str] = ("",)) -> Any:
        """Return the value of a field: of a function, or of the first of its cards that has one."""
        cards = getattr(self, field)
        if cards is None:
            return None
        return call(cards, header) if callable(cards) else first_value(header, cards, ignored)

    def _quoted(self, field: str, value: Any) -> str:
        """Begin a sentence about the value of a field."""
        cards = getattr(self, field)
        if callable(cards):
            return f"the function {field}= returns {quoted(value)}, which"
        return f"{card_names(cards)} = {quoted(value)}"

    def _missing(self, field: str) -> str:
        cards = getattr(self, field)
        if callable(cards):
            return f"the function {field}= returns nothing for this header"
        return f"{card_names(cards)} is missing"
