"""What a header says in the words of a profile: type, exposure, binning, filter and the like."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from astropy import units as u

from ..errors import FrameRejected, ProfileError
from .cards import Card, card_text, matched_cards
from .frame_types import loose, possible_words, type_of_path, with_common
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
from .recipe import Recipe
from .section import Section
from .values import nearest
from .watch import call
from .window import read_window

__all__ = ["Cards", "HeaderContents"]

_LONGEST_TEXT = 1000
"""Characters that a function may return for a card."""

Cards = str | Sequence[str] | Callable[[Mapping], Any] | None


class HeaderContents(Identity):
    """The part of a profile that reads headers."""

    recipe: Recipe | Callable[[Mapping], Recipe]
    binning: tuple[str, str] | Callable[[Mapping], tuple[int, int]] | None
    frame_types: Mapping[str, str | None]
    file_types: Mapping[str, str | None]
    match: Sequence[str | Card] | Mapping[str, Sequence[str | Card]]
    window: Cards
    name: str
    file: str

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
            pattern = type_of_path(file, self.file_types)
            if pattern is not None:
                return self.file_types[pattern]
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

    def window_of(self, header: Mapping) -> Section | None:
        """Return the section of the detector that was read, or None if no card contains one.

        Raises
        ------
        FrameRejected
            ``section`` if it is not a section.

        Examples
        --------
        >>> from ccdprofiles import Amplifier, Profile, Recipe
        >>> profile = Profile(
        ...     instrument="MyCam",
        ...     amplifiers=[Amplifier(data="[1:1024, 1:1024]", overscan="[1029:1056, 1:1024]")],
        ...     window="CCDSEC",
        ...     recipe=Recipe(bias=True, dark=None),
        ... )
        >>> str(profile.window_of({"CCDSEC": "[101:600,1:500]"}))
        '[101:600, 1:500]'
        >>> profile.amplifiers_of({"CCDSEC": "[101:600,1:500]"}, {None: (500, 532)}).shape
        (500, 500)
        """
        value = self._value("window", header)
        return None if self.window is None else read_window(value, self.window)

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
