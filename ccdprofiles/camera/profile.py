"""What one camera's headers call things, where its pixels lie, and how it is calibrated."""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from decimal import Decimal
from functools import cached_property, lru_cache, partial
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING

from astropy import units as u

from ..errors import FrameRejected, ProfileError, SectionError
from .amplifier import (
    Amplifier,
    AmplifierSet,
    amplifier_set,
    check_amplifiers,
    check_frame_size,
    declared_size,
    sections_reach,
)
from .recipe import FRAME_TYPES, Recipe, _frozen, _is_model, _reduced, _several, nearest, one_of
from .watch import Failure, call, place, reason

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["COMMON_FRAME_TYPES", "Profile"]

COMMON_FRAME_TYPES = {
    "bias": "bias",
    "bias frame": "bias",
    "offset": "bias",
    "zero": "bias",
    "dark": "dark",
    "dark frame": "dark",
    "dark flat": "dark",
    "flat dark": "dark",
    "flat": "flat",
    "flat field": "flat",
    "flat frame": "flat",
    "dome flat": "flat",
    "lamp flat": "flat",
    "sky flat": "flat",
    "twilight": "flat",
    "twilight flat": "flat",
    "arc": "arc",
    "comp": "arc",
    "comparison": "arc",
    "calibration lamp": "arc",
    "expose": "science",
    "light": "science",
    "light frame": "science",
    "object": "science",
    "science": "science",
    "snapshot": "science",
    "spectrum": "science",
    "standard": "science",
    "tricolor image": "science",
}
"""What most cameras write in IMAGETYP; upper case, blanks, ``-`` and ``_`` make no difference,
nor does the word "frame" at the end. The ``frame_types`` of a profile are added to these words.
"""

_LONGEST = 1000
"""Characters; what a function returns for a header is no text of that length."""

UNKNOWN = ("", "indef", "n/a", "none", "unknown")
"""What is written in place of an exposure that no one knows."""

_TEMPERATURE = re.compile(
    r"([-+]?(?:\d+[.,]?\d*|[.,]\d+)(?:e[-+]?\d+)?)\s*(?:deg|degrees?|°)?[\s_]*(c|celsius|k|kelvin)?",
    re.IGNORECASE | re.ASCII,
)

Cards = str | Sequence[str] | Callable[[Mapping], object] | None


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One camera: what its headers say, where its pixels lie, how it is calibrated.

    In place of almost any value a function of the header may stand.

    Parameters
    ----------
    instrument : str, tuple of str, callable or None
        The value or values of INSTRUME, exact but for outer blanks; or a function
        that says whether a header is of this camera; None where it writes no INSTRUME.
    where : dict
        Other cards that must agree too: ``{"OBSERVAT": "APO"}``. A value may be a
        number, a text, a shell pattern, or a tuple of these.
    telescope : str
        For people; no card is compared with it.
    amplifiers : list of Amplifier or callable
    binning : tuple of two str, callable or None
        The cards for columns and rows. Left out, the sections hold as they stand.
    overscan_bins : bool
        False where the overscan keeps its width in binned frames.
    frame_size : tuple of int, dict, callable or None
        Columns and rows of the whole raw frame, unbinned, where it is larger than what
        the sections reach: ``frame_size=(4109, 4096)``. The rest is not used. A file whose
        extensions differ in size needs a dict, ``{1: (2080, 4128), 2: (2080, 4112)}``.
        Left out, the last column and row of the frame must belong to a section, and a
        frame of another size is set aside.
    exposure, filter, object, date, temperature, frame_type : str, tuple of str, callable or None
        The cards, tried in order; None where there is none. The exposure is in seconds,
        the temperature of the chip in degrees Celsius.
    frame_types : dict
        What ``frame_type`` says → bias, dark, flat, arc, science, or None for a
        frame that is ignored on purpose. The words are added to
        `ccdprofiles.camera.profile.COMMON_FRAME_TYPES` and count before them, so None takes
        a common word away. Compared without case, blanks, ``-`` and ``_``.
    match : tuple of str, or dict
        Further cards that a frame and its master must agree on: for all masters,
        or ``{"flat": ("SLIT",)}`` for some. The usual set-up cards (gain, offset, read
        mode, speed, amplifier, temperature) are compared without being named.
    mixed_setup : {"split", "refuse"}
        What to do with frames of one type whose set-up cards differ: "split" makes a
        master for each setting, "refuse" makes none of them.
    ignore_cards : tuple of str
        Cards that do not matter for this camera, though their names suggest that they
        say how it was set.
    unit : Unit
        Of the raw pixels.
    recipe : Recipe or callable
        How its frames are calibrated; a function of the header where one camera takes
        images and spectra.
    name, file, notes : str
        Filled in when the profile is read from its file.

    Raises
    ------
    ProfileError
        If a value cannot be right.

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
    where: Mapping[str, object] = field(default_factory=dict)
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
    match: Sequence[str] | Mapping[str, Sequence[str]] = ()
    mixed_setup: str = "split"
    ignore_cards: Sequence[str] = ()
    unit: u.UnitBase = u.adu
    name: str = field(default="", compare=False)
    file: str = field(default="", compare=False)
    notes: str = field(default="", compare=False, repr=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        if isinstance(self.instrument, list):
            put(self, "instrument", tuple(self.instrument))
        names = (self.instrument,) if isinstance(self.instrument, str) else self.instrument
        if isinstance(names, tuple):
            for name in names:
                if not isinstance(name, str) or not name.strip():
                    raise ProfileError(f"instrument={name!r} is no value of INSTRUME.")
        elif names is None:
            if not self.where:
                raise ProfileError(
                    "instrument=None needs where={...}: without INSTRUME other cards must tell "
                    "this camera from all others."
                )
        elif not callable(names):
            raise ProfileError(f"instrument={names!r} is no text, tuple of texts or function.")
        if not isinstance(self.where, Mapping):
            raise ProfileError(f"where={self.where!r} is none; write where={{'CARD': 'value'}}.")
        put(self, "where", _frozen(self.where))
        if isinstance(self.amplifiers, Amplifier):
            raise ProfileError(
                "amplifiers=Amplifier(...) is no list; write amplifiers=[Amplifier(...)]."
            )
        if not callable(self.amplifiers):
            put(self, "amplifiers", tuple(self.amplifiers))
            if not self.amplifiers:
                raise ProfileError("amplifiers=[] is empty; a camera has at least one.")
            check_amplifiers(self.amplifiers)
        self._check_cards()
        self._check_setup()
        self._check_frame_types()
        if self.frame_size is not None and not callable(self.frame_size):
            fixed = () if callable(self.amplifiers) else self.amplifiers
            put(self, "frame_size", _checked_size(self.frame_size, fixed))
        if not isinstance(self.recipe, Recipe) and not callable(self.recipe):
            raise ProfileError(f"recipe={self.recipe!r} is none; write recipe=Recipe(...).")
        if not isinstance(self.unit, u.UnitBase):
            raise ProfileError(f"unit={self.unit!r} is no unit; write unit=u.adu.")

    def _check_cards(self) -> None:
        put = object.__setattr__
        for name in ("exposure", "filter", "object", "date", "temperature", "frame_type"):
            value = getattr(self, name)
            if isinstance(value, list):
                put(self, name, tuple(value))
            if value is not None and not callable(value):
                for card in (value,) if isinstance(value, str) else value:
                    _check_card(card, name)
        if self.frame_type is None:
            raise ProfileError(
                "frame_type=None: without the type of its frames no night can be planned; "
                "give a card or a function of the header."
            )
        if isinstance(self.binning, str):
            raise ProfileError(_not_two_cards(self.binning, self.binning))
        if self.binning is not None and not callable(self.binning):
            put(self, "binning", tuple(self.binning))
            if len(self.binning) != 2:
                alone = self.binning[0] if len(self.binning) == 1 else None
                raise ProfileError(_not_two_cards(self.binning, alone))
            for card in self.binning:
                _check_card(card, "binning")
        if callable(self.match):
            raise ProfileError("match= is a function; give the names of cards, or a dict of them.")
        if isinstance(self.match, str):
            raise ProfileError(f"match={self.match!r} is one text; write match=({self.match!r},).")
        if isinstance(self.match, Mapping):
            for frame_type in self.match:
                one_of(frame_type, ("bias", "dark", "flat"), "match")
            for cards in self.match.values():
                if not isinstance(cards, tuple | list):
                    raise ProfileError(
                        f"match={self.match!r} holds {cards!r}, which is no tuple of header cards; "
                        "write match={'flat': ('CARD',)}."
                    )
            put(self, "match", _frozen({k: tuple(v) for k, v in self.match.items()}))
        elif isinstance(self.match, tuple | list):
            put(self, "match", tuple(self.match))
        else:
            raise ProfileError(
                f"match={self.match!r} is no tuple of header cards; write match=('CARD',)."
            )
        for cards in self.match.values() if isinstance(self.match, Mapping) else (self.match,):
            for card in cards:
                _check_card(card, "match")

    def _check_setup(self) -> None:
        one_of(self.mixed_setup, ("split", "refuse"), "mixed_setup")
        cards = self.ignore_cards
        if isinstance(cards, str):
            raise ProfileError(
                f"ignore_cards={cards!r} is one text; write ignore_cards=({cards!r},)."
            )
        if not isinstance(cards, tuple | list):
            raise ProfileError(
                f"ignore_cards={cards!r} is no tuple of header cards; write ignore_cards=('CARD',)."
            )
        for card in cards:
            _check_card(card, "ignore_cards")
            needed = self.match if isinstance(self.match, tuple) else sum(self.match.values(), ())
            if card in needed:
                raise ProfileError(
                    f"ignore_cards names {card!r}, which match= compares; take it out of one of them."
                )
        object.__setattr__(self, "ignore_cards", tuple(cards))

    def _check_frame_types(self) -> None:
        if not isinstance(self.frame_types, Mapping):
            raise ProfileError(f"frame_types={self.frame_types!r} is no dict of words.")
        for word, frame_type in self.frame_types.items():
            if frame_type is not None and frame_type not in FRAME_TYPES:
                raise ProfileError(
                    f"frame_types says {word!r} is a {frame_type!r}; a frame is one of "
                    f"{', '.join(FRAME_TYPES)}, or None{nearest(frame_type, FRAME_TYPES)}."
                )
        words = {_word(word): kind for word, kind in self.frame_types.items()}
        object.__setattr__(self, "frame_types", _frozen(words))

    def __repr__(self) -> str:
        cards = ", ".join(repr(name) for name in self.instruments) or "by other cards"
        amplifiers = () if callable(self.amplifiers) else self.amplifiers
        number = f", {len(amplifiers)} amplifier{'s' * (len(amplifiers) > 1)}" if amplifiers else ""
        file = f", {Path(self.file).name}" if self.file else ""
        return f"<Profile {self.name or '(no name)'}: {cards}{number}{file}>"

    def __str__(self) -> str:
        shown = (f for f in fields(self) if f.repr)
        return f"Profile({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in shown)})"

    def __reduce__(self):
        return _reduced(self)

    # What a header says, in the words of this package.

    @property
    def instruments(self) -> tuple[str, ...]:
        """The values of INSTRUME that this profile names; empty where a function or other cards tell."""
        if isinstance(self.instrument, str):
            return (self.instrument,)
        return self.instrument if isinstance(self.instrument, tuple) else ()

    @cached_property
    def amplifiers_vary(self) -> bool:
        """Whether a function of the header tells the amplifiers, or a number of one."""
        return any(map(callable, (self.amplifiers, self.frame_size))) or any(
            callable(n) for a in self.amplifiers for n in (a.gain, a.read_noise, a.saturation)
        )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that decides what the profile does; comments and names do not count."""
        values = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.compare and f.name != "telescope" and not self._is_newer_default(f)
        }
        values["frame_types"] = self.frame_types or _HASHED_WORDS
        try:
            told = [f"{name}={_told(value)}" for name, value in values.items()]
        except Exception as error:  # objects of the profile describe themselves
            raise ProfileError(
                f"{self._who}: a value of the profile cannot be written down "
                f"({reason(error)}{place(error)}); give texts, numbers or plain functions."
            ) from error
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def _is_newer_default(self, f: Field) -> bool:
        """Return True for a field that was added later and is not used: hashes stay as they were."""
        newer = ("frame_size", "mixed_setup", "ignore_cards")
        return f.name in newer and getattr(self, f.name) == f.default

    def knows(self, header: Mapping) -> bool:
        """Say whether INSTRUME alone, or the function in its place, fits this header."""
        if callable(self.instrument):
            try:
                return bool(call(self.instrument, header))
            except Failure:
                raise
            except Exception:  # written for this camera's headers, and met with another's
                return False
        if self.instrument is None:
            return True
        said = header.get("INSTRUME")
        return isinstance(said, str) and said.strip() in {n.strip() for n in self.instruments}

    def disagreement(self, header: Mapping) -> str | None:
        """Name the first card of ``where`` that does not agree, or return None."""
        for card, wanted in self.where.items():
            said = header.get(card)
            if not any(_agrees(said, w) for w in (wanted if _several(wanted) else (wanted,))):
                return f"{card} = {_quoted(said)}, not {_quoted(wanted)}"
        return None

    def fits(self, header: Mapping) -> bool:
        """Say whether a header is of this camera."""
        return self.knows(header) and self.disagreement(header) is None

    def frame_type_of(self, header: Mapping) -> str | None:
        """Return the type of a frame, or None where it is ignored on purpose.

        Raises
        ------
        FrameRejected
            ``no-type`` where the card is missing or says a word that no one explained.
        """
        said = self._card("frame_type", header)
        if said is None:
            raise FrameRejected(
                "no-type",
                f"{self._missing('frame_type')}; it should say what type of frame this "
                f"is; give {self._who} another frame_type=.",
            )
        word = _word(said)
        if word in self.frame_types:
            return self.frame_types[word]
        if _loose(word) in self._loose_types:
            return self._loose_types[_loose(word)]
        raise FrameRejected(
            "no-type",
            f"{self._says('frame_type', said)} is no type of frame that "
            f"{self._who} knows{nearest(word, self._meant(word))}; "
            "add the word to its frame_types=.",
        )

    def _meant(self, word: str) -> Iterable[str]:
        """Return the words that one may be a misspelling of; it must not lead to another type."""
        if "acq" in word:
            return ()
        kinds = {w: self._loose_types[_loose(w)] for w in (*self.frame_types, *COMMON_FRAME_TYPES)}
        if "flat" not in word and "twilight" not in word:
            return kinds
        if "dark" in word:
            return [w for w, kind in kinds.items() if kind == "dark" and "flat" in w]
        return [w for w, kind in kinds.items() if kind == "flat"]

    @cached_property
    def _loose_types(self) -> dict[str, str | None]:
        """The words for types as `_loose` writes them; those of the profile count first."""
        return _COMMON_LOOSE | {_loose(word): kind for word, kind in self.frame_types.items()}

    def exposure_of(self, header: Mapping) -> float | None:
        """Return the exposure in seconds, or None where the header has none.

        A number in a text is read as that number.

        Raises
        ------
        FrameRejected
            ``exposure`` where it is no number, negative, or longer than a day.
        """
        said = self._card("exposure", header, UNKNOWN)
        if isinstance(said, u.Quantity):
            said = said.to_value(u.s)
        if said is None or _word(said) in UNKNOWN:
            return None
        try:
            # Python reads 1_0 as 10; no camera does.
            seconds = math.nan if "_" in str(said) else float(said)
        except (TypeError, ValueError):
            seconds = math.nan
        if isinstance(said, bool) or not 0 <= seconds <= 86400:
            raise FrameRejected(
                "exposure",
                f"{self._says('exposure', said)} is no exposure in seconds "
                "between 0 and a day; correct the header, or set the frame aside.",
            )
        return seconds

    def temperature_of(self, header: Mapping) -> float | None:
        """Return the temperature of the chip in degrees Celsius, or None where it is not known.

        Raises
        ------
        ProfileError
            Where a function of the profile returns what is neither a number nor a text.
        """
        try:
            said = self._card("temperature", header)
        except (TypeError, ValueError):
            return None  # float(None), of a function that met a header without the card
        return read_celsius(said)

    def binning_of(self, header: Mapping) -> tuple[int, int]:
        """Return how many columns and rows were summed into one.

        Raises
        ------
        FrameRejected
            ``binning`` where the cards are missing or are no whole numbers from 1.
        """
        if self.binning is None:
            return 1, 1
        said = (
            call(self.binning, header)
            if callable(self.binning)
            else tuple(header.get(card) for card in self.binning)
        )
        try:
            x, y = (_whole(value) for value in said)
        except (TypeError, ValueError, OverflowError):
            x = y = 0
        if x < 1 or y < 1:
            if not callable(self.binning) and set(said) == {None}:
                raise FrameRejected(
                    "binning",
                    f"{' and '.join(self.binning)} are missing, where two whole numbers from 1 "
                    f"were expected; correct the header, or binning= in {self._who}.",
                )
            cards = "" if callable(self.binning) else ", ".join(self.binning)
            raise FrameRejected(
                "binning",
                f"{cards + ' =' if cards else 'the function binning= returns'} {said}"
                f"{'' if cards else ', which'} is no binning; two whole numbers from 1 were expected; "
                f"correct the header, or binning= in {self._who}.",
            )
        return x, y

    def recipe_of(self, header: Mapping) -> Recipe:
        """Return how a frame is calibrated.

        Raises
        ------
        ProfileError
            Where a function of the profile returns no recipe.
        """
        if not callable(self.recipe):
            return self.recipe
        recipe = call(self.recipe, header)
        if not isinstance(recipe, Recipe):
            raise ProfileError(f"{self._who}: recipe= returns {recipe!r}, which is no Recipe(...).")
        return recipe

    def text_of(self, field: str, header: Mapping) -> str | None:
        """Return what the header says of ``filter``, ``object`` or ``date``, or None."""
        said = self._card(field, header)
        text = "" if said is None else str(said).strip()
        if len(text) > _LONGEST and callable(getattr(self, field)):
            raise ProfileError(
                f"the function {field}= returns {text[:40]!r} and {len(text) - 40} characters more, "
                "which is no text for a header."
            )
        return text or None

    def match_of(self, master: str, header: Mapping) -> tuple[tuple[str, str | None], ...]:
        """Return the further cards a master of this type must share, and what they say."""
        cards = self.match.get(master, ()) if isinstance(self.match, Mapping) else self.match
        return tuple((card, _text(header.get(card))) for card in cards)

    def amplifiers_of(self, header: Mapping, shapes: Mapping) -> AmplifierSet:
        """Fit the amplifiers into a frame.

        Parameters
        ----------
        header : mapping
        shapes : mapping
            Rows and columns for each extension; ``None`` stands for the image of a
            file that has one.

        Raises
        ------
        FrameRejected
            ``section`` where the frame has another size than the sections account for,
            and ``missing-extension`` where it lacks one.
        ProfileError
            Where a function of the profile returns what cannot be right.
        """
        amplifiers = self.amplifiers
        if callable(amplifiers):
            amplifiers = tuple(call(amplifiers, header))
            check_amplifiers(amplifiers)
        for amplifier in amplifiers:
            if amplifier.extension is None and None not in shapes:
                raise FrameRejected(
                    "mef",
                    f"it holds {sum(isinstance(e, int) for e in shapes)} images, where {self._who} expects one; "
                    "give its amplifiers their extension=.",
                )
            if amplifier.extension not in shapes:
                raise FrameRejected(
                    "missing-extension",
                    f"extension {amplifier.extension!r} is missing, where {self._who} expects "
                    f"an amplifier; the file has {list(shapes)}; it may have been cut.",
                )
        binning = self.binning_of(header)
        size = self._frame_size_of(header, amplifiers)
        try:
            check_frame_size(
                amplifiers, shapes, binning, self.overscan_bins, size, self._binning_cards
            )
            return amplifier_set(amplifiers, shapes, binning, self.overscan_bins, header)
        except SectionError as error:
            raise FrameRejected("section", f"{self._who}: {error}") from error

    # One step at a time. The steps stand on a higher floor, and are imported when they are used.

    def read(self, path: str | Path) -> CCDData:
        """Read a raw frame as a CCDData, its header as it is and no pixel changed.

        Parameters
        ----------
        path : str or Path
            A FITS file of one image, plain, gzipped or tile-compressed.

        Returns
        -------
        CCDData, shape (rows, columns)
            In the unit of the profile, mostly adu; float32, or float64 where the file has more
            than 16 bits. A BLANK pixel is NaN.

        Raises
        ------
        FrameRejected
            If the file cannot be read, or holds several images.
        """
        from ..steps.prepared import read_frame

        return read_frame(self, path)

    def prepare(
        self, frame: CCDData | str | Path, *, night_level: Sequence[float | None] | None = None
    ) -> CCDData:
        """Subtract the overscan, trim, and put the amplifiers side by side.

        Parameters
        ----------
        frame : CCDData, str or Path
            A raw frame in adu. One in memory is handed on in a temporary file.
        night_level : sequence of float, optional
            The median overscan level of the night in adu, for each amplifier. It is taken where
            the frame's own deviates by more than the recipe's ``overscan_drift``.

        Returns
        -------
        CCDData, shape (rows, columns)
            In adu; float32, or float64 for a calibration frame that float32 would round. The
            uncertainty is a standard deviation, sqrt(max(signal, 0) / gain + read noise^2), and
            None where gain or read noise is not known or the pedestal is still in it. ``flags``
            are bits as in a product, and ``mask`` follows from them. ``meta`` has the cards of a
            product, which say what the frame still holds.

        Raises
        ------
        FrameRejected
            If the header rules the frame out.
        PlanError
            If it was prepared before, or is not in the unit of raw frames.
        """
        from ..steps.prepared import prepare_frame

        return prepare_frame(self, frame, night_level)

    def calibrate(
        self,
        frame: CCDData | str | Path,
        *,
        bias: CCDData | str | Path | None = None,
        dark: CCDData | str | Path | None = None,
        flat: CCDData | str | Path | None = None,
        electrons: bool | None = None,
    ) -> CCDData:
        """Subtract bias and dark from a prepared frame, divide by the flat, and apply the gain.

        The dark is scaled and the gain applied where the recipe says so; the gain to science
        frames only. A master without the cards of this package is measured: a flat whose median
        is not 1 is divided by it, and whether a dark holds its pedestal is told from its level.
        What was found is logged as a warning and stands in HISTORY.

        Parameters
        ----------
        frame : CCDData, str or Path
            As `prepare` gives it.
        bias, dark, flat : CCDData, str or Path, optional
            As `ccdprofiles.combine` gives them, a master of `ccdprofiles.reduce_night`, or that
            of another program, trimmed as the frame is.
        electrons : bool, optional
            Whether the gain is applied; False where further masters are to follow. Left out, as
            the recipe says.

        Returns
        -------
        CCDData, shape (rows, columns)
            A science frame in float32, in adu or electron; a calibration frame in float64 and adu.

        Raises
        ------
        PlanError
            If the numbers would be wrong: a bias subtracted twice, a dark scaled that holds its
            pedestal, a flat that divides a pedestal, adu and electron mixed, or a master of
            another camera, amplifier set, binning, exposure or filter.
        """
        from ..steps.calibrated import calibrate_frame

        return calibrate_frame(self, frame, bias, dark, flat, electrons)

    def _frame_size_of(
        self, header: Mapping, amplifiers: tuple[Amplifier, ...]
    ) -> tuple[int, int] | Mapping | None:
        """Return the unbinned size of the raw frame, as far as the profile gives it."""
        if not callable(self.frame_size):
            return self.frame_size
        size = self.frame_size(header)
        return None if size is None else _checked_size(size, amplifiers)

    @property
    def _binning_cards(self) -> str:
        """The cards of the binning, in a sentence; nothing where there are none."""
        if callable(self.binning):
            return "binning= in the profile"
        return " and ".join(dict.fromkeys(self.binning or ()))

    @property
    def _who(self) -> str:
        return Path(self.file).name if self.file else self.name or "the profile"

    def _card(self, field: str, header: Mapping, missing: Sequence[str] = ("",)) -> object | None:
        """Read a field of the header: the first of its cards that is there and says something."""
        cards = getattr(self, field)
        if cards is None:
            return None
        if callable(cards):
            return call(cards, header)
        for card in (cards,) if isinstance(cards, str) else cards:
            said = header.get(card)
            if said is not None and _word(said) not in missing:
                return said
        return None

    def _says(self, field: str, said: object) -> str:
        """Begin a sentence about what a field of the header says, right or wrong."""
        cards = getattr(self, field)
        if callable(cards):
            return f"the function {field}= returns {_quoted(said)}, which"
        return f"{_names(cards)} = {_quoted(said)}"

    def _missing(self, field: str) -> str:
        cards = getattr(self, field)
        if callable(cards):
            return f"the function {field}= returns nothing for this header"
        return f"{_names(cards)} is missing"


def _names(cards: str | Sequence[str]) -> str:
    return cards if isinstance(cards, str) else "/".join(cards)


def _check_card(card: object, field: str) -> None:
    if not isinstance(card, str) or not card.strip():
        raise ProfileError(f"{field}={card!r} is no name of a header card.")


def _checked_size(
    frame_size: object, amplifiers: Sequence[Amplifier]
) -> tuple[int, int] | Mapping[int | str, tuple[int, int]]:
    """Return frame_size= as tuples, or refuse what is not a size or does not hold the sections.

    Raises
    ------
    ProfileError
    """
    sizes = frame_size if isinstance(frame_size, Mapping) else {None: frame_size}
    for size in sizes.values():
        if not (_several(size) and len(size) == 2 and all(_is_length(n) for n in size)):
            raise ProfileError(
                f"frame_size={size!r} is not the size of a frame; give its columns and rows, "
                "unbinned, as frame_size=(4109, 4096)."
            )
    checked = {extension: tuple(size) for extension, size in sizes.items()}
    result = _frozen(checked) if isinstance(frame_size, Mapping) else checked[None]
    for amplifier in amplifiers:
        size = declared_size(result, amplifier.extension)
        if size is None:
            raise ProfileError(
                f"frame_size= has no size for extension {amplifier.extension!r}, which an "
                f"amplifier names; it has {', '.join(map(repr, checked))}."
            )
        columns, rows = sections_reach([amplifier])
        if (columns or 0) > size[0] or (rows or 0) > size[1]:
            sections = " or ".join(t for t in (amplifier.data, amplifier.overscan) if t)
            raise ProfileError(
                f"section {sections} lies outside frame_size={size}; both are unbinned, "
                "columns first; correct one of them."
            )
    return result


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def read_celsius(said: object) -> float | None:
    """Return a temperature in degrees Celsius, or None where nobody knows it.

    Some programs write a comma or a unit into the card.

    Raises
    ------
    ProfileError
        If it is neither a number, nor a text, nor a temperature with its unit.

    Examples
    --------
    >>> from ccdprofiles.camera.profile import read_celsius
    >>> read_celsius("-10,5"), read_celsius("-10 C"), read_celsius("263.15 K")
    (-10.5, -10.0, -10.0)
    """
    if said is None or isinstance(said, bool):
        return None
    if isinstance(said, u.Quantity) and said.isscalar:
        said = float(said.to_value(u.deg_C, u.temperature()))
    elif not isinstance(said, str | Real | Decimal):
        raise ProfileError(f"{said!r} is no temperature; a number in degrees Celsius was expected.")
    found = _TEMPERATURE.fullmatch(str(said).strip())
    if not found:
        return None
    degrees = float(found[1].replace(",", "."))
    if (found[2] or "").lower().startswith("k"):
        degrees = round(degrees - 273.15, 6)
    return degrees if math.isfinite(degrees) else None


def _whole(said: object) -> int:
    """Read a whole number, which some cameras write as ``2.0`` or as a text."""
    number = float(str(said))
    if number != int(number):
        raise ValueError(said)
    return int(number)


def _word(said: object) -> str:
    return str(said).strip().lower()


@lru_cache(maxsize=256)
def _loose(word: str) -> str:
    """Write a word for a type as ``Bias_Frame``, ``bias-frame`` and ``BIAS`` share it."""
    return re.sub(r"[\s_-]+", " ", word).removesuffix(" frame").replace(" ", "")


_COMMON_LOOSE = {_loose(word): kind for word, kind in COMMON_FRAME_TYPES.items()}

_HASHED_WORDS = {
    word: _COMMON_LOOSE[_loose(word)]
    for word in (
        *("bias", "bias frame", "offset", "zero", "dark", "dark frame", "flat", "flat field"),
        *("flat frame", "flatfield", "domeflat", "skyflat", "twilight", "twilight flat", "arc"),
        *("comp", "light", "light frame", "object", "science"),
    )
}
"""What stands in the hash of a profile without ``frame_types``, so that products of the time when
these were all common words are still up to date."""


def _text(said: object) -> str | None:
    return None if said is None else str(said).strip()


def _quoted(said: object) -> str:
    if said is None:
        return "missing"
    text = repr(said.strip() if isinstance(said, str) else said)
    return text if len(text) <= 100 else f"{text[:99]}…"


def _not_two_cards(binning: object, alone: object) -> str:
    """Return what ``binning`` may be, and how one card that holds both numbers is read."""
    text = f"binning={binning!r} is none; give the two cards, columns first."
    if isinstance(alone, str):
        text += (
            " Where one card holds both numbers, as '2 2', write "
            f"binning=lambda header: header[{alone!r}].split()."
        )
    return text


def _agrees(said: object, wanted: object) -> bool:
    """Compare a card with a value, a text, or a shell pattern; texts exactly but for outer blanks."""
    if said is None or isinstance(wanted, bool) or isinstance(said, bool):
        return said is wanted
    if isinstance(wanted, str):
        return fnmatch.fnmatchcase(str(said).strip(), wanted.strip())
    try:
        return float(said) == float(wanted)
    except (TypeError, ValueError):
        return False


def _told(value: object) -> str:
    """Write a value of a profile down so that equal ones read alike."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_told(v)}" for k, v in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(_told(v) for v in value) + ")"
    if isinstance(value, Amplifier | Recipe):
        inner = ", ".join(f"{f.name}={_told(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({inner})"
    if _is_model(value):
        return f"{value.__class__.__name__}{value.parameters.tolist()}"
    if isinstance(value, u.Quantity):
        return f"{value.value.tolist()} {value.unit}"
    if isinstance(value, partial):
        return f"partial({_told(value.func)}, {_told(value.args)}, {_told(value.keywords)})"
    if callable(value):
        return _code(value)
    return repr(value)


def _code(function: Callable) -> str:
    """Write the file of a function down without comments, as it may lean on all of it."""
    try:
        lines, _ = inspect.findsource(function)
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        if code is None:
            return f"{type(function).__qualname__}{_told(getattr(function, '__dict__', {}))}"
        return f"{code.co_code.hex()}{code.co_consts!r}"
    tree = ast.parse("".join(lines))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body[0] = ast.Pass()
    return ast.unparse(tree)
