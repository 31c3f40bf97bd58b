"""Of which camera a header is: INSTRUME, the cards that must agree, and the date."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from typing import Any

from .header_values import agrees, quoted, time_of
from .settings import Period, within
from .values import several
from .watch import Failure, call

__all__ = ["Identity", "agrees_with_pattern", "is_pattern"]


class Identity:
    """The part of a profile that recognises its camera."""

    instrument: str | tuple[str, ...] | Callable[[Mapping], bool] | None
    where: Mapping[str, Any]
    valid: Period | None

    def text_of(self, field: str, header: Mapping) -> str | None:
        """Return the text of a field of the profile for a header."""
        raise NotImplementedError

    @property
    def instruments(self) -> tuple[str, ...]:
        """The values of INSTRUME; empty if a function or other cards identify the camera."""
        if isinstance(self.instrument, str):
            return (self.instrument,)
        return self.instrument if isinstance(self.instrument, tuple) else ()

    def knows(self, header: Mapping) -> bool:
        """Return True if INSTRUME, or the function in its place, fits this header."""
        if callable(self.instrument):
            try:
                return bool(call(self.instrument, header))
            except Failure:
                raise
            except (
                Exception
            ):  # the function was written for this camera, and the header is of another
                return False
        if self.instrument is None:
            return True
        value = header.get("INSTRUME")
        return isinstance(value, str) and (
            value.strip() in {n.strip() for n in self.instruments} or self.fits_pattern(value)
        )

    @property
    def patterns(self) -> tuple[str, ...]:
        """The values of INSTRUME that are patterns, with ``*`` or ``?``."""
        return tuple(name for name in self.instruments if is_pattern(name))

    def fits_pattern(self, instrument: str) -> bool:
        """Return True if a value of INSTRUME fits a pattern of this profile."""
        return any(agrees_with_pattern(instrument, pattern) for pattern in self.patterns)

    def is_valid_for(self, header: Mapping) -> bool | None:
        """Return True if the date of a header is in ``valid``; None if the date cannot be read."""
        if self.valid is None:
            return True
        time = time_of(self.text_of("date", header))
        return None if time is None else within(time, self.valid)

    def disagreement(self, header: Mapping) -> str | None:
        """Return the first card of ``where`` that does not agree, in words, or None."""
        for card, wanted in self.where.items():
            value = header.get(card)
            if not any(agrees(value, w) for w in (wanted if several(wanted) else (wanted,))):
                return f"{card} = {quoted(value)}, not {quoted(wanted)}"
        return None

    def fits(self, header: Mapping) -> bool:
        """Return True if a header is of this camera."""
        return (
            self.knows(header)
            and self.disagreement(header) is None
            and self.is_valid_for(header) is not False
        )


def is_pattern(instrument: str) -> bool:
    """Return True if a value of INSTRUME in a profile is a pattern with ``*`` or ``?``."""
    return "*" in instrument or "?" in instrument


def agrees_with_pattern(instrument: str, pattern: str) -> bool:
    """Return True if a value of INSTRUME fits a pattern; ``[`` has no special meaning.

    >>> from ccdprofiles.camera.identity import agrees_with_pattern
    >>> agrees_with_pattern("ZWO ASI2600MM Pro", "ZWO *"), agrees_with_pattern("ASI2600MM", "ZWO *")
    (True, False)
    """
    return fnmatch.fnmatchcase(instrument.strip(), pattern.strip().replace("[", "[[]"))
