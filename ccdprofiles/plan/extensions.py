"""Images of a file that are not used, and files with fewer extensions than others of the night."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..camera.amplifier import is_pattern
from .frames import ACCEPTED, Frame
from .reason import Reason

__all__ = ["unused_images", "with_notes_on_extensions"]

_PLANE = re.compile(
    r"mask|bpm|badpix|dq|flags?|quality|uncert|err|var|ivar|weight|sigma|std|noise|conf", re.I
)
"""Names of planes that belong to another image."""


def unused_images(frame: Frame) -> Iterator[str]:
    """Note how many images of a file are not used, if the profile names the extensions of others.

    A mask, and an image of another size or type of number, is not counted.
    """
    raw, readouts = frame.raw, frame.amplifiers.readouts
    if len(raw.images) < 2 or any(r.extension is None for r in readouts):
        return
    used = {raw.extensions[r.extension] for r in readouts}
    kinds = {(raw.images[k].shape, raw.images[k].bitpix) for k in used}
    left = [
        image
        for k, image in enumerate(raw.images)
        if k not in used and (image.shape, image.bitpix) in kinds and not _PLANE.match(image.name)
    ]
    if left:
        names = ", ".join(image.name or str(image.index) for image in left)
        chosen = ", ".join(dict.fromkeys(str(r.extension) for r in readouts))
        yield (
            f"{len(left)} of its {len(left) + len(used)} images {'are' if left[1:] else 'is'} not used "
            f"(extension{'s' if left[1:] else ''} {names}): {frame.profile.name} reads extension {chosen}. "
            "Write a profile for the others if they are wanted."
        )


def with_notes_on_extensions(frames: Sequence[Frame]) -> list[Frame]:
    """Return frames with a note on those that lack extensions of a pattern which others have."""
    layouts: dict[tuple, dict[frozenset, str]] = {}
    own: dict[int, tuple[tuple, frozenset]] = {}
    for number, frame in enumerate(frames):
        if frame.verdict != ACCEPTED or frame.master or not _has_pattern(frame):
            continue
        shapes = frozenset(
            (r.extension, frame.raw.shapes[r.extension]) for r in frame.amplifiers.readouts
        )
        key = (frame.profile.name, frame.binning)
        own[number] = key, shapes
        layouts.setdefault(key, {}).setdefault(shapes, frame.file)
    noted = list(frames)
    for number, (key, shapes) in own.items():
        larger = [(len(other), file) for other, file in layouts[key].items() if shapes < other]
        if larger:
            most, file = max(larger)
            note = Reason.note(
                frames[number].file,
                f"it has {len(shapes)} of the {most} extensions of {file}, and is calibrated only with "
                "frames that have the same; if it was truncated, copy it again from the camera.",
            )
            noted[number] = replace(frames[number], notes=(*frames[number].notes, note))
    return noted


def _has_pattern(frame: Frame) -> bool:
    """Return True if the profile has an amplifier for each extension that fits a pattern."""
    amplifiers = frame.profile.amplifiers
    return not callable(amplifiers) and any(is_pattern(a.extension) for a in amplifiers)
