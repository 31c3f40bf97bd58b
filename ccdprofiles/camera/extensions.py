"""The amplifiers that a frame has, by the extensions of its file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from ..errors import FrameRejected
from .amplifier import Amplifier, is_pattern

__all__ = ["expanded", "in_extensions", "refuse_missing_extensions"]


def expanded(amplifiers: Sequence[Amplifier], extensions: Iterable) -> tuple[Amplifier, ...]:
    """Return amplifiers with one for each extension that a pattern fits, in the order of the file.

    Parameters
    ----------
    amplifiers : sequence of Amplifier
    extensions : iterable of (int, str or None)
        Those of a file, by all their names.

    Raises
    ------
    KeyError
        If no extension fits a pattern; its argument is the pattern.
    """
    found: list[Amplifier] = []
    for amplifier in amplifiers:
        pattern = amplifier.extension
        if not isinstance(pattern, str) or not is_pattern(pattern):
            found.append(amplifier)
            continue
        names = [e for e in extensions if isinstance(e, str) and fnmatchcase(e, pattern)]
        # Extensions of one name are known by it and by their versions, as SCI, SCI,1 and SCI,2.
        names = [n for n in names if not any(other.startswith(f"{n},") for other in names)]
        if not names:
            raise KeyError(pattern)
        for name in names:
            label = f"{amplifier.name} {name}".strip()
            found.append(replace(amplifier, extension=name, name=label))
    return tuple(found)


def in_extensions(
    amplifiers: Sequence[Amplifier], shapes: Mapping, label: str
) -> tuple[Amplifier, ...]:
    """Return amplifiers with one for each extension that a pattern fits.

    Parameters
    ----------
    amplifiers : sequence of Amplifier
    shapes : mapping
        Rows and columns for each extension.
    label : str
        The name of the profile in a message.

    Raises
    ------
    FrameRejected
        ``missing-extension`` if no extension fits a pattern.
    """
    try:
        return expanded(amplifiers, shapes)
    except KeyError as error:
        raise FrameRejected(
            "missing-extension",
            f"no extension has a name like {error.args[0]!r}, but {label} expects an "
            f"amplifier in each of them; the file has {list(shapes)}; correct extension= in the "
            "profile, or copy the file again if it was truncated.",
        ) from error


def refuse_missing_extensions(amplifiers: Sequence[Amplifier], shapes: Mapping, label: str) -> None:
    """Reject a file that lacks the extension of an amplifier; parameters as of `in_extensions`.

    Raises
    ------
    FrameRejected
        ``missing-extension``, or ``mef`` if it has several images and the profile expects one.
    """
    for amplifier in amplifiers:
        if amplifier.extension in shapes:
            continue
        if amplifier.extension is None:
            raise FrameRejected(
                "mef",
                f"it contains {sum(isinstance(e, int) for e in shapes)} images, but {label} "
                "expects one; set extension= for each amplifier in the profile.",
            )
        raise FrameRejected(
            "missing-extension",
            f"extension {amplifier.extension!r} is missing, but {label} expects "
            f"an amplifier there; the file has {list(shapes)}; it may have been truncated; copy it again from the camera.",
        )
