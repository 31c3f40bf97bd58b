"""Why a file is not used, or what is unusual about it: the file, a code and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Reason"]


@dataclass(frozen=True)
class Reason:
    """Why a file is not used or cannot be calibrated, or what is unusual about it.

    Parameters
    ----------
    file : str
        As the frames table names it.
    code : str
        A name that does not change between versions, so that scripts can rely on it, such as
        ``no-dark``; empty for a note.
    text : str
        One sentence, without the name of the file.

    Examples
    --------
    >>> from ccdprofiles.plan.reason import Reason
    >>> print(Reason("dark7.fits", "no-bias", "no bias of 2048x2048 pixels binned 1x1."))
    dark7.fits: no bias of 2048x2048 pixels binned 1x1.
    """

    file: str
    code: str
    text: str

    @classmethod
    def note(cls, file: str, text: str) -> Reason:
        """Return a remark about a file that is used."""
        return cls(file, "", text)

    @property
    def reason(self) -> str:
        """The sentence with the name of the file, as tables and plans show it."""
        return str(self)

    def __str__(self) -> str:
        return f"{self.file}: {self.text}"
