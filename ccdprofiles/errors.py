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
    "words_of",
]

_CURES = {
    errno.ENOENT: "it was removed while the run was going on; leave the output alone",
    errno.ESTALE: "it was removed while the run was going on; leave the output alone",
    errno.ENOTDIR: "a folder was replaced by a file; remove that file",
    errno.EEXIST: "a file of that name is in the way; remove it",
    errno.ELOOP: "nothing is written through a link; remove the link",
}
"""What to do where an output cannot be written for another reason than room or permission."""


class CCDProfilesError(Exception):
    """Something that ccdprofiles refuses, said in one sentence."""


class ProfileError(CCDProfilesError):
    """A profile that cannot be right."""


class UnknownInstrument(ProfileError):
    """No profile knows the instrument of a header."""


class AmbiguousProfile(ProfileError):
    """Two different profiles fit one header."""


class ChangeError(ProfileError):
    """A setting changed for one run that does not exist, or does not fit a recipe."""


class SectionError(CCDProfilesError):
    """A section that is none, or that lies outside the frame."""


class InputError(CCDProfilesError):
    """The folder of the night cannot be used."""


class EmptyNight(InputError):
    """The folder of the night holds no file, so that nothing can be reduced."""


class FrameRejected(CCDProfilesError):
    """One frame cannot be used; the others go on.

    Parameters
    ----------
    code : str
        The stable short name of the fault, such as ``truncated``.
    sentence : str
        What the frame says, what was expected, and what to do.
    path : str
        Of the file, where it was read beside others.
    """

    def __init__(self, code: str, sentence: str, path: str = ""):
        super().__init__(sentence)
        self.code = code
        self.path = path

    def __reduce__(self):
        return type(self), (self.code, str(self), self.path)


class PlanError(CCDProfilesError):
    """A step that would give wrong numbers without a word."""


class OutputError(CCDProfilesError):
    """The products cannot be written."""

    @classmethod
    def of(cls, path: object, error: OSError) -> "OutputError":
        """Say that a disk is full, or refuses, and how to go on."""
        cure = _CURES.get(error.errno, "make room or allow it,")
        return cls(
            f"{path} cannot be written ({words_of(error)}); {cure} "
            "and run it again: what is finished stays."
        )


class Locked(CCDProfilesError):
    """Another run holds the output folder."""


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Go from an exception to those during whose handling it was raised, to each once."""
    known: set[int] = set()
    while error is not None and id(error) not in known:
        known.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def words_of(error: OSError) -> str:
    """Return the reason of the system in words, without the number and the name of its class."""
    return error.strerror or str(error) or "the system gives no reason"
