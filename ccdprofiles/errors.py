"""The errors that this package raises.

::

    CCDProfilesError
    ├── ProfileError             a profile that cannot be right or does not exist
    │   ├── UnknownInstrument    no profile fits a header
    │   ├── AmbiguousProfile     several profiles fit a header
    │   └── ChangeError          a changed setting that does not exist or does not fit
    ├── SectionError             an invalid image section, or one outside the frame
    ├── InputError               the folder of the night cannot be used
    │   └── EmptyNight           the folder of the night holds no file
    ├── FrameRejected            one frame cannot be used; the night goes on without it
    ├── PlanError                a step that would silently give wrong results
    ├── OutputError              the products cannot be written
    └── Locked                   another run uses the output folder

Every message says which file is concerned, what it holds, what was expected and what to do.
"""

import errno
from collections.abc import Iterator
from typing import TypeVar

__all__ = [
    "AmbiguousProfile",
    "CCDProfilesError",
    "ChangeError",
    "EmptyNight",
    "FrameRejected",
    "InputError",
    "Locked",
    "OutputError",
    "PlanError",
    "ProfileError",
    "SectionError",
    "UnknownInstrument",
    "chain_of",
    "known",
    "words_of",
]

T = TypeVar("T")

_CURES = {
    errno.ENOENT: "it was removed while the run was going on; leave the output alone",
    errno.ESTALE: "it was removed while the run was going on; leave the output alone",
    errno.ENOTDIR: "a folder was replaced by a file; remove that file",
    errno.EEXIST: "a file of that name is in the way; remove it",
    errno.ELOOP: "nothing is written through a link; remove the link",
}
"""What to do if neither space nor permission is the reason why an output cannot be written."""


class CCDProfilesError(Exception):
    """The base class of all errors of ccdprofiles."""


class ProfileError(CCDProfilesError):
    """A profile that cannot be right or does not exist."""


class UnknownInstrument(ProfileError):
    """No profile fits a header."""


class AmbiguousProfile(ProfileError):
    """Several profiles fit one header."""


class ChangeError(ProfileError):
    """A setting changed for one run does not exist, or does not fit a recipe."""


class SectionError(CCDProfilesError):
    """An invalid image section, or one that lies outside the frame."""


class InputError(CCDProfilesError):
    """The folder of the night cannot be used."""


class EmptyNight(InputError):
    """The folder of the night holds no file that can be reduced."""


class FrameRejected(CCDProfilesError):
    """One frame cannot be used; the others are reduced without it.

    Parameters
    ----------
    code : str
        The stable short name of the fault, such as ``truncated``.
    sentence : str
        What the frame holds, what was expected, and what to do.
    path : str
        Of the file, where it was read together with others.
    """

    def __init__(self, code: str, sentence: str, path: str = ""):
        super().__init__(sentence)
        self.code = code
        self.path = path

    def __reduce__(self):
        return type(self), (self.code, str(self), self.path)


class PlanError(CCDProfilesError):
    """A step that would silently give wrong results."""


class OutputError(CCDProfilesError):
    """The products cannot be written."""

    @classmethod
    def of(cls, path: object, error: OSError) -> "OutputError":
        """Return the error for a file that the system does not write, with what to do."""
        cure = _CURES.get(error.errno or 0, "make room or allow it,")
        return cls(
            f"{path} cannot be written ({words_of(error)}); {cure} "
            "and run it again: what is finished stays."
        )


class Locked(CCDProfilesError):
    """Another run uses the output folder."""


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Go through an exception and those that caused it, each once."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def words_of(error: OSError) -> str:
    """Return the reason that the system gives, without the number of the error."""
    return error.strerror or str(error) or "the system gives no reason"


def known(value: T | None, what: str) -> T:
    """Return a value that the plan requires of every frame that it accepts.

    Parameters
    ----------
    value : object or None
    what : str
        What it is, for the message.

    Raises
    ------
    ValueError
        If it is None: a mistake of this package, not of the frame.

    Examples
    --------
    >>> from ccdprofiles.errors import known
    >>> known(1.5, "gain")
    1.5
    """
    if value is None:
        raise ValueError(f"{what} is not known, although the plan has accepted the frame")
    return value
