"""The part of a night that a caller selects: ``--only WORD``."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..camera.frame_types import FRAME_TYPES
from ..camera.spelling import near_files, near_words
from ..errors import InputError
from ..files.layout import CALIBRATIONS
from .chips import flats_of_other_chips
from .frames import IGNORED, NOT_ASKED, SET_ASIDE, Frame
from .plan import Input, Master, Plan, Product
from .reason import Reason

__all__ = ["Selection"]

_KINDS = ("type", "filter", "object", "file")
_MASTERS = "masters"
_WORDS = (_MASTERS, *FRAME_TYPES)
_FILE_LIKE = ("*", "?", "[", "/", ".")
_SHOWN = 12


@dataclass(frozen=True)
class Selection:
    """The part of a night that is selected.

    A frame is selected if it matches one of the words of every kind. The products of selected
    frames are made, and the masters that they need.

    Parameters
    ----------
    words : tuple of str
        The words of the caller.
    wanted : tuple of (kind, value)
        The kind is type, filter, object or file.

    Examples
    --------
    >>> from ccdprofiles.plan.selection import Selection
    >>> Selection.of(["science", "filter=R"]).wanted
    (('type', 'science'), ('filter', 'R'))
    """

    words: tuple[str, ...] = ()
    wanted: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, given: Iterable[str] | str | Selection | None) -> Selection:
        """Read words: ``masters``, a type of frame, ``KIND=VALUE``, or a pattern of file names.

        Raises
        ------
        InputError
            If a word is not one of these.
        """
        if isinstance(given, Selection):
            return given
        words = (given,) if isinstance(given, str) else tuple(given or ())
        return cls(words, tuple(wanted for word in words for wanted in _read(word)))

    def __bool__(self) -> bool:
        return bool(self.words)

    def applied(self, frames: Sequence[Frame], plan: Plan) -> tuple[tuple[Frame, ...], Plan]:
        """Return the frames and the plan without what is not selected.

        Parameters
        ----------
        frames : sequence of Frame
        plan : Plan
            Of the whole night.

        Raises
        ------
        InputError
            If a word matches no frame of the night, or nothing is made from the matching frames.
        """
        if not self:
            return tuple(frames), plan
        self._check(frames)
        asked = {f.file for f in frames if f.verdict != IGNORED and self.fits(f)}
        products = tuple(p for p in plan.products if p.input.file in asked)
        masters = _masters(plan, products, asked, {f.file: f for f in frames})
        missing = _still_missing(plan, {f.file: f for f in frames}, asked)
        if not (masters or products or missing):
            raise InputError(
                f"nothing is made from the frames that {self} selects: the recipes need no such "
                "master, or the frames were set aside; ccdprofiles info lists the reasons."
            )
        left_out = _left_out(plan, frames, asked, masters, products, missing)
        marked = tuple(
            f.rejected("not-asked", f"not selected by {self}.", NOT_ASKED)
            if f.file in left_out
            else f
            for f in frames
        )
        return marked, _reduced(self, plan, masters, products, missing, left_out, frames)

    def fits(self, frame: Frame) -> bool:
        """Return True if a frame matches one word of every kind; an unknown value may match."""
        return all(
            any(_is(frame, kind, value) for k, value in self.wanted if k == kind)
            for kind in dict(self.wanted)
        )

    def _check(self, frames: Sequence[Frame]) -> None:
        """Refuse words that match no frame, separately or all together."""
        there = [f for f in frames if f.verdict != IGNORED]
        for word in self.words:
            # A night need not contain all types of masters.
            wanted = _read(word)
            kind, value = wanted[-1]
            night = there if kind == "file" else [f for f in there if f.type]
            if not any(_is(f, *one) for f in night for one in wanted):
                raise InputError(_nothing_fits(word, kind, value, night))
        if not any(self.fits(f) for f in there):
            raise InputError(
                f"no frame of the night matches {self}; words of different kinds must all match, so "
                "use fewer of them."
            )

    def __str__(self) -> str:
        return "only=" + ", ".join(self.words)


def _read(word: object) -> list[tuple[str, str]]:
    """Read one word as a kind and a value; ``masters`` are four types."""
    text = word.strip() if isinstance(word, str) else ""
    if not text:
        raise InputError(
            f"only={word!r} is not valid; use masters, a type of frame, KIND=VALUE or a pattern."
        )
    if text == _MASTERS:
        return [("type", kind) for kind in FRAME_TYPES if kind != "science"]
    if text in FRAME_TYPES:
        return [("type", text)]
    kind, equals, value = (part.strip() for part in text.partition("="))
    if equals and kind in _KINDS:
        if not value:
            raise InputError(f"only={text!r} has no value; use {kind}=VALUE.")
        if kind == "type" and value not in FRAME_TYPES:
            raise InputError(
                f"only={text!r}: {value!r} is not a type of frame; use one of "
                f"{', '.join(FRAME_TYPES)}{_near(value, FRAME_TYPES)}."
            )
        return [(kind, value)]
    if not equals and any(mark in text for mark in _FILE_LIKE):
        return [("file", text)]
    choices = _KINDS if equals else _WORDS
    raise InputError(
        f"only={text!r} is not valid{_near(kind, choices)}; use masters, one of "
        f"{', '.join(FRAME_TYPES)}, filter=NAME, object=NAME, or file=PATTERN."
    )


def _near(word: str, choices: Iterable[str]) -> str:
    near = near_words(word, choices)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _is(frame: Frame, kind: str, value: str) -> bool:
    """Return True if a frame is of a kind, or if its header does not show this."""
    if kind == "file":
        files = (frame.file, frame.raw_file) if frame.chip else (frame.file,)
        names = (name for file in files for name in (file, file.rsplit("/", 1)[-1]))
        return any(name == value or fnmatch.fnmatchcase(name, value) for name in names)
    if not frame.type:
        return True
    if kind == "type":
        return frame.type == value
    # The filter and object of a bias or dark mean nothing, nor the object of a flat.
    if frame.type not in (("flat", "arc", "science") if kind == "filter" else ("arc", "science")):
        return False
    return _alike(getattr(frame, kind), value, exact=kind == "filter")


def _alike(text: str | None, value: str, exact: bool) -> bool:
    """Compare texts; filters R and r differ, M 31 and m 31 are the same object."""
    if text is None:
        return False
    if not exact:
        text, value = (" ".join(t.split()).casefold() for t in (text, value))
    return text == value or fnmatch.fnmatchcase(text, value)


def _nothing_fits(word: str, kind: str, value: str, frames: Sequence[Frame]) -> str:
    """Return the refusal of a word that no frame matches, with the words that match."""
    if kind == "file":
        near = near_files(value, (f.file for f in frames))
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return (
            f"only={word!r}: no file of the night has such a name{hint}; "
            "use a name that ccdprofiles info lists."
        )
    types = {"filter": ("flat", "arc", "science"), "object": ("arc", "science")}
    night = [f for f in frames if f.type in types.get(kind, FRAME_TYPES)]
    there = sorted({text for f in night if (text := getattr(f, kind))})
    shown = ", ".join(there[:_SHOWN]) + (", …" if len(there) > _SHOWN else "")
    what = f"only={word!r}: no frame of the night has that {kind}"
    return f"{what}; the night has {shown or 'none'}{_near(value, there)}."


def _masters(
    plan: Plan, products: Iterable[Product], asked: set[str], frames: Mapping[str, Frame]
) -> tuple[Master, ...]:
    """Return the selected masters, and those that are needed, in the order of the plan."""
    by_name = {m.name: m for m in plan.masters}
    chosen = {m.name for m in plan.masters if _files(m) & asked}
    needed = [*_needed(p.input for p in products), *chosen]
    others = flats_of_other_chips(plan.masters, frames)
    while needed:
        name = needed.pop()
        chosen.add(name)
        more = [*_needed(by_name[name].inputs), *(other for other, _ in others.get(name, ()))]
        needed += [n for n in more if n not in chosen]
    return tuple(m for m in plan.masters if m.name in chosen)


def _needed(inputs: Iterable[Input]) -> Iterator[str]:
    for chosen in inputs:
        yield from chosen.masters


def _files(master: Master) -> set[str]:
    """Return the frames of a master; one of another night is a file itself."""
    if master.path:
        return {master.name.removeprefix(CALIBRATIONS)}
    return {i.file for i in master.inputs}


def _still_missing(plan: Plan, frames: dict[str, Frame], asked: set[str]) -> tuple[Reason, ...]:
    """Return what is missing for the selected frames, and for the masters that they lack."""
    of_concern = {m.file for m in plan.missing if m.file in asked}
    # A science frame may lack its flat because the flat lacks its dark.
    for kind in ("flat", "dark", "bias"):
        lacking = [
            frames[m.file] for m in plan.missing if m.file in of_concern and m.code == f"no-{kind}"
        ]
        of_concern |= {
            m.file
            for m in plan.missing
            if frames[m.file].type == kind and any(_serves(frames[m.file], f) for f in lacking)
        }
    return tuple(m for m in plan.missing if m.file in of_concern)


def _serves(calibration: Frame, frame: Frame) -> bool:
    """Return True if a bias, dark or flat might be usable for a frame."""
    same_filter = calibration.type != "flat" or calibration.filter == frame.filter
    return calibration.profile.name == frame.profile.name and same_filter


def _left_out(
    plan: Plan,
    frames: Sequence[Frame],
    asked: set[str],
    masters: Sequence[Master],
    products: Sequence[Product],
    missing: Sequence[Reason],
) -> set[str]:
    """Return the files that would be used or refused, but are not selected."""
    kept = {f for m in masters for f in _files(m)} | {p.input.file for p in products}
    kept |= {m.file for m in missing}
    whole = {f for m in plan.masters for f in _files(m)} | {p.input.file for p in plan.products}
    whole |= {m.file for m in plan.missing}
    of_use = _of_use([f for f in frames if f.file in kept], missing)
    bad = {
        f.file
        for f in frames
        if f.verdict == SET_ASIDE
        and f.code != "rejected"
        and f.file not in asked
        # A faulty frame of a master that is made now is reported.
        and not (f.profile and (f.profile.name, f.type, _filter_of(f)) in of_use)
    }
    return (whole | bad) - kept


def _of_use(frames: Iterable[Frame], missing: Iterable[Reason]) -> set[tuple]:
    """Return profile, type and filter of the frames that are used, and of those that are missing."""
    lacking = {m.file: m.code.removeprefix("no-") for m in missing}
    of_use = set()
    for frame in frames:
        of_use.add((frame.profile.name, frame.type, _filter_of(frame)))
        if frame.file in lacking:
            kind = lacking[frame.file]
            of_use.add((frame.profile.name, kind, frame.filter if kind == "flat" else None))
    return of_use


def _filter_of(frame: Frame) -> str | None:
    return frame.filter if frame.type == "flat" else None


def _reduced(
    selection: Selection,
    plan: Plan,
    masters: tuple[Master, ...],
    products: tuple[Product, ...],
    missing: tuple[Reason, ...],
    left_out: set[str],
    frames: Sequence[Frame],
) -> Plan:
    """Return the plan of the selected part."""
    made = {m.name for m in masters} | {p.name for p in products}
    goes_into = {f: m.name for m in plan.masters for f in _files(m) if not m.path}
    goes_into |= {p.input.file: p.name for p in plan.products}
    others = [m for m in plan.masters if m.name not in made]
    compared, measured = _compared(plan, frames, made)
    return replace(
        plan,
        masters=masters,
        products=products,
        missing=missing,
        set_aside=tuple(s for s in plan.set_aside if s.file not in left_out),
        notes=tuple(n for n in plan.notes if not any(n.startswith(m.name) for m in others)),
        only=selection.words,
        not_asked=tuple((file, goes_into.get(file, "")) for file in sorted(left_out)),
        compared=compared,
        measured=measured,
    )


def _compared(
    plan: Plan, frames: Sequence[Frame], made: set[str]
) -> tuple[tuple[Master, ...], tuple[Product, ...]]:
    """Return what is measured only, for the overscan levels of the night.

    The overscan of each frame is compared with that of the night. A part of the night must be
    compared with the same levels as the whole, so that its products have the same bytes.
    """
    strips = {f.file: _group(f) for f in frames if f.amplifiers and f.amplifiers.has_overscan}
    used = {i.file for m in plan.masters if m.name in made for i in m.inputs}
    used |= {p.input.file for p in plan.products if p.name in made}
    groups = {strips[file] for file in used & set(strips)}
    peers = {file for file, group in strips.items() if group in groups}
    others = [m for m in plan.masters if m.name not in made and not m.path]
    products = [p for p in plan.products if p.name not in made]
    return (
        tuple(m for m in others if _files(m) & peers),
        tuple(p for p in products if p.input.file in peers),
    )


def _group(frame: Frame) -> tuple:
    return frame.profile.name, frame.amplifier_key, frame.binning
