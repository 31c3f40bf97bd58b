"""Read the headers of a folder into frames."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, count
from pathlib import Path
from typing import IO

from ..camera.amplifier import AmplifierSet
from ..camera.changes import Changes
from ..camera.header_values import UNKNOWN
from ..camera.profile import Profile
from ..camera.recipe import Recipe
from ..camera.registry import Registry
from ..camera.watch import Failure, call, place, reason, watched
from ..errors import (
    AmbiguousProfile,
    ChangeError,
    FrameRejected,
    InputError,
    ProfileError,
    UnknownInstrument,
)
from ..files.raw import GROWTH_LIMIT, RawFile, read_raw
from ..files.reading import NOT_A_FILE, opened
from .frames import ACCEPTED, IGNORED, PRODUCT_CARD, SET_ASIDE, Frame, shown_name

__all__ = ["files_of", "named_fits", "scan"]

_ALLOW = "allow it to be read, copy it again, or take it out of the night."
_PLAIN = bytes(range(32, 127))
_TWINS = {"EXPTIME": "EXPOSURE", "EXPOSURE": "EXPTIME"}

_LATE = 3
"""After how many headers that take a profile's functions too long a scan ends."""

_SUFFIXES = (".fits", ".fit", ".fts", ".new", ".fz")
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", "~")
# Cards of IRAF, of ccdproc and of MaxIm that no camera writes.
_REDUCED = ("ZEROCOR", "DARKCOR", "FLATCOR", "CALSTAT", "CCDPROC", "SUBBIAS", "SUBDARK")
_REDUCED_HISTORY = re.compile(
    rb"HISTORY +((?:Bias|Dark) (?:Subtraction|corrected with)|Flat (?:Field|corrected with))\b"
)
_UNITS = {
    "adu": "adu adus dn count counts ct cts",
    "electron": "electron electrons e e- photoelectrons",
}
_RATES = ("/s", "/sec", "/second", " s-1", " s^-1")


class Scanner:
    """Reads the headers of files into frames; what many frames share is worked out once.

    Parameters
    ----------
    registry : Registry
    forced : Profile, optional
        Taken for every frame instead of the one that its header asks for.
    changes : Changes, optional
        Settings of the recipes that are changed for this run.
    """

    def __init__(
        self, registry: Registry, forced: Profile | None = None, changes: Changes | None = None
    ):
        self.registry = registry
        self.forced = forced
        self.changes = changes
        self._recipes: dict[int, tuple[Recipe, Recipe]] = {}
        self._readouts: dict[tuple, tuple[AmplifierSet, str]] = {}
        self._late = 0

    def frame(self, path: Path, file: str) -> Frame:
        """Read one file's header; whatever is wrong with it becomes its verdict."""
        frame = Frame(file, path)
        try:
            frame = self._described(frame)
        except FrameRejected as error:
            verdict = IGNORED if error.code == "not-fits" and not named_fits(path) else SET_ASIDE
            return frame.rejected(error.code, f"{file}: {error}", verdict)
        except OSError as error:
            why = error.strerror or str(error)
            return frame.rejected("unreadable", f"{file}: it cannot be read ({why}); {_ALLOW}")
        return frame

    def _described(self, frame: Frame) -> Frame:
        if frame.file.startswith(".") or "/." in frame.file:
            return frame.rejected("hidden", f"{frame.file}: hidden file.", IGNORED)
        mode = os.stat(frame.path).st_mode
        if stat.S_ISDIR(mode) and not frame.path.is_symlink():
            raise FrameRejected(
                "unreadable", "this folder may not be read; allow it, or leave it out."
            )
        if not stat.S_ISREG(mode):
            raise FrameRejected("not-a-file", NOT_A_FILE)
        if frame.path.name.lower().endswith(_UNFINISHED):
            reason = f"{frame.file}: a temporary file of a copy that did not end."
            return frame.rejected("temporary", reason, IGNORED)
        if not named_fits(frame.path) and not _looks_fits(frame.path):
            reason = f"{frame.file}: not a FITS file."
            return frame.rejected("not-fits", reason, IGNORED)
        raw = read_raw(frame.path)
        header = raw.header
        frame = frame.with_(raw=raw, shape=raw.images[0].shape)
        if PRODUCT_CARD in header:
            kind = str(header.get("CPTYPE", ""))
            reason = f"{frame.file}: a product of ccdprofiles, not a raw frame."
            return frame.with_(master=kind).rejected("product", reason, IGNORED)
        _refuse_cubes(raw)
        profile = self.forced
        try:
            profile = profile or call(self.registry.choose, header)
            return call(self._typed, frame, profile)
        except UnknownInstrument as error:
            return frame.rejected("no-profile", f"{frame.file}: {error}")
        except (AmbiguousProfile, ChangeError, FrameRejected):
            raise
        except Exception as error:  # a profile's own function may raise anything
            sentence = _failure(profile, error)
            if isinstance(error, Failure) and error.late:
                self._count_late(f"{frame.file}: {sentence}")
            raise FrameRejected("profile-function", sentence) from error

    def _count_late(self, sentence: str) -> None:
        """Give up once several headers have taken a function too long: all others may."""
        self._late += 1
        if self._late == _LATE:
            raise ProfileError(f"{sentence} {_LATE} headers took too long; no more are tried.")

    def _typed(self, frame: Frame, profile: Profile) -> Frame:
        header = frame.header
        frame = frame.with_(
            profile=profile,
            object=profile.text_of("object", header),
            date=profile.text_of("date", header),
            recipe=self._recipe(profile, header),
            filter=profile.text_of("filter", header),
        )
        try:
            kind = profile.frame_type_of(header)
        except FrameRejected as error:
            return frame.rejected(error.code, f"{frame.file}: {error}")
        if kind is None:
            reason = f"{frame.file}: its type is ignored on purpose by {profile.name}."
            return frame.rejected("ignored-type", reason, IGNORED)
        frame = frame.with_(type=kind)
        if callable(profile.temperature):
            profile.temperature_of(header)  # fails here, and not while the night is planned
        try:
            frame = frame.with_(exposure=profile.exposure_of(header))
            frame = frame.with_(binning=profile.binning_of(header))
            amplifiers, readout = self._read_out(frame)
            frame = frame.with_(amplifiers=amplifiers, readout=readout)
            _refuse_twice(frame)
            _refuse_reduced(frame)
            _refuse_exposure(frame)
        except FrameRejected as error:
            return frame.rejected(error.code, f"{frame.file}: {error}")
        notes = tuple(_oddities(frame))
        if self.forced is not None:
            notes += tuple(_of_another_camera(frame))
        return frame.with_(notes=notes) if notes else frame

    def _recipe(self, profile: Profile, header: Mapping) -> Recipe:
        """Return the recipe of a frame, with what is changed for this run."""
        recipe = profile.recipe_of(header)
        if not self.changes:
            return recipe
        # The recipe itself is held too, so that no other one gets its id.
        if id(recipe) not in self._recipes:
            self._recipes[id(recipe)] = recipe, self.changes.applied(recipe, profile)
        return self._recipes[id(recipe)][1]

    def _read_out(self, frame: Frame) -> tuple[AmplifierSet, str]:
        """Fit the amplifiers into a frame, and name how it was read out."""
        profile, header, shapes = frame.profile, frame.header, frame.raw.shapes
        if profile.amplifiers_vary:
            amplifiers = profile.amplifiers_of(header, shapes)
            return amplifiers, _readout(frame, amplifiers)
        key = (id(profile), frame.binning, tuple(shapes.items()))
        if key not in self._readouts:
            amplifiers = profile.amplifiers_of(header, shapes)
            self._readouts[key] = amplifiers, _readout(frame, amplifiers)
        return self._readouts[key]


def scan(
    folder: str | Path,
    registry: Registry,
    *,
    forced: Profile | None = None,
    calibrations: Iterable[str | Path] = (),
    leave_out: Iterable[str | Path] = (),
    changes: Changes | None = None,
) -> tuple[Frame, ...]:
    """Read the headers of every file in a folder and its sub-folders.

    Parameters
    ----------
    folder : path
    registry : Registry
    forced : Profile, optional
        Taken for every frame, whatever INSTRUME says.
    calibrations : iterable of path
        Folders with biases, darks and flats of other nights, raw or masters;
        their science frames are ignored.
    leave_out : iterable of path
        Folders that are not looked into, such as the output.
    changes : Changes, optional
        Settings of the recipes that are changed for this run.

    Returns
    -------
    tuple of Frame
        One for every file found, sorted by name.

    Raises
    ------
    InputError
        If a folder is none or cannot be read.
    ProfileError
        If two profiles fit one header, or a profile cannot be right.
    """
    with watched():
        return _scanned(folder, Scanner(registry, forced, changes), calibrations, leave_out)


def _scanned(
    folder: str | Path,
    scanner: Scanner,
    calibrations: Iterable[str | Path],
    leave_out: Iterable[str | Path],
) -> tuple[Frame, ...]:
    found = [scanner.frame(path, file) for path, file in _apart(files_of(folder, leave_out))]
    taken = {frame.path for frame in found}
    labels = {frame.file.split("/")[0] for frame in found}
    for number, other in enumerate(calibrations, 1):
        origin = _label(Path(other), labels)
        labels.add(origin)
        for path, file in _apart(files_of(other, leave_out)):
            if path not in taken:
                frame = replace(scanner.frame(path, f"{origin}/{file}"), origin=str(number))
                found.append(_calibration(frame, scanner.registry))
    frames = _once(sorted(found, key=lambda f: (f.origin, f.file)))
    return tuple(frames)


def files_of(folder: str | Path, leave_out: Iterable[str | Path]) -> Iterator[tuple[Path, str]]:
    """Every entry that is no folder, sorted; links to folders are not followed."""
    top = Path(folder).expanduser()
    if not top.is_dir():
        raise InputError(f"{top} is no folder; give the folder that holds the night.")
    skip = {Path(p).resolve() for p in leave_out}

    closed: list[Path] = []

    def failed(error: OSError) -> None:
        if Path(error.filename) == top:
            raise InputError(
                f"{top} cannot be read ({error.strerror}); allow it, or give another folder."
            ) from error
        closed.append(Path(error.filename))

    for here, folders, names in os.walk(top, onerror=failed):
        folders.sort()
        folders[:] = [f for f in folders if (Path(here) / f).resolve() not in skip]
        inside = Path(here)
        links = [f for f in folders if (inside / f).is_symlink()]
        start = "" if inside == top else inside.relative_to(top).as_posix() + "/"
        for name in sorted([*names, *links]):
            yield inside / name, shown_name(start + name)
    for path in sorted(closed):
        yield path, shown_name(path.relative_to(top).as_posix())


def _label(folder: Path, taken: Iterable[str]) -> str:
    """Name a calibration folder so that no two files of a night share a name."""
    name = shown_name(folder.expanduser().resolve().name).lstrip(".") or "calibrations"
    numbered = (f"{name}-{i}" for i in count(2))
    return next(n for n in chain([name], numbered) if n not in taken)


def _apart(found: Iterable[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
    """Tell files apart whose names are written alike once they are escaped."""
    known: set[str] = set()
    for path, file in found:
        while file in known:
            file += f"~{hashlib.sha256(os.fsencode(path)).hexdigest()[:6]}"
        known.add(file)
        yield path, file


def _calibration(frame: Frame, registry: Registry) -> Frame:
    """Judge a frame of a calibration folder: masters are welcome, science is not."""
    if frame.master in ("bias", "dark", "flat"):
        return _master(frame, registry)
    if frame.verdict == ACCEPTED and frame.type not in ("bias", "dark", "flat"):
        article = "an" if frame.type == "arc" else "a"
        reason = f"{frame.file}: {article} {frame.type} frame in a calibration folder."
        return frame.rejected("not-calibration", reason, IGNORED)
    return frame


def _master(frame: Frame, registry: Registry) -> Frame:
    """Read what a master of another night is from the cards that we wrote into it."""
    header = frame.header
    try:
        profile = registry[str(header.get("CPPROF", ""))]
        x, y = str(header.get("CPBIN", "1x1")).split("x")
        exposure = header.get("EXPTIME")
        if frame.master == "dark" and not (isinstance(exposure, int | float) and exposure > 0):
            raise ValueError(f"EXPTIME = {exposure!r} is no exposure of a dark.")
        return replace(
            frame,
            verdict=ACCEPTED,
            code="",
            reason="",
            profile=profile,
            type=frame.master,
            exposure=exposure,
            filter=_text(header.get("CPFILT")),
            date=_text(header.get("DATE-OBS")),
            binning=(int(x), int(y)),
            readout=str(header.get("CPAMPS", "")),
        )
    except (ProfileError, ValueError) as error:
        return frame.rejected("master", f"{frame.file}: this master cannot be used: {error}")


def _once(frames: list[Frame]) -> list[Frame]:
    """Count a copy of a frame once: the shortest name stays, the others are duplicates."""
    groups: dict[bytes, list[int]] = {}
    for number, frame in enumerate(frames):
        if frame.raw is not None and frame.verdict == ACCEPTED:
            groups.setdefault(frame.raw.header.block, []).append(number)
    for members in groups.values():
        if len(members) < 2:
            continue
        first: dict[str, Frame] = {}
        for number in sorted(
            members, key=lambda n: (frames[n].origin, len(frames[n].file), frames[n].file)
        ):
            frame = frames[number]
            try:
                original = first.setdefault(_contents(frame.raw), frame)
            except (OSError, EOFError, zlib.error, FrameRejected):
                continue  # gone or changed since; said when its pixels are read
            if original is not frame:
                reason = f"{frame.file}: the same bytes as {original.file}, which is counted once."
                frames[number] = frame.rejected("duplicate", reason, IGNORED)
    return frames


def _contents(raw: RawFile) -> str:
    """Hash what a file holds once it is unpacked, so that a packed copy is a copy."""
    with opened(raw.path) as plain:
        if not raw.gzipped:
            return hashlib.file_digest(plain, "sha256").hexdigest()
        with gzip.open(plain) as stream:
            return hashlib.file_digest(_Bounded(stream, raw.size), "sha256").hexdigest()


class _Bounded(io.RawIOBase):
    """What a gzipped file unpacks to, as far as that can be a picture."""

    def __init__(self, stream: IO[bytes], size: int):
        self._stream = stream
        self._left = GROWTH_LIMIT * size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:
        octets = self._stream.read(min(len(buffer), self._left))
        buffer[: len(octets)] = octets
        self._left -= len(octets)
        return len(octets)


def _readout(frame: Frame, amplifiers: AmplifierSet) -> str:
    """Name how a frame was read out: its amplifiers, its raw shape, and a gain that changes."""
    shapes = [frame.raw.shapes[r.extension] for r in amplifiers.readouts]
    told = [amplifiers.key, shapes]
    given = frame.profile.amplifiers
    if callable(given) or any(callable(a.gain) for a in given):
        told.append([r.gain for r in amplifiers.readouts])
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


def _failure(profile: Profile | None, error: Exception) -> str:
    """Name the profile and what its function raised, and where, if it has a file."""
    if isinstance(error, Failure):
        why = error.reason + error.place
    else:
        why = reason(error) + (place(error) if profile is not None and profile.file else "")
    name = "that was asked" if profile is None else profile.name
    return f"a function of the profile {name} failed on its header ({why}); correct the profile."


def _refuse_twice(frame: Frame) -> None:
    """Refuse a frame in which a card that decides stands twice and says two things."""
    header = frame.raw.header
    if not header.conflicting and (header.primary is None or not header.primary.conflicting):
        return
    for card in _deciding(frame.profile):
        if frame.header.conflicts(card):
            raise FrameRejected(
                "twice",
                f"{card} stands twice in its header and says two things; correct the header.",
            )


def _deciding(profile: Profile) -> Iterator[str]:
    """Name the cards by which a profile decides; a function may read any."""
    yield "INSTRUME"
    yield from profile.where
    for cards in (profile.frame_type, profile.exposure, profile.filter, profile.binning):
        yield from _cards_of(cards)
    match = profile.match
    yield from chain.from_iterable(match.values()) if isinstance(match, Mapping) else match


def _cards_of(field: object) -> Sequence[str]:
    """Return the cards that a field of a profile names; none where a function stands."""
    if field is None or callable(field):
        return ()
    return (field,) if isinstance(field, str) else field


def _oddities(frame: Frame) -> Iterator[str]:
    """Say what is odd about a frame that is used all the same."""
    raw, header, profile = frame.raw, frame.header, frame.profile
    if not raw.padded:
        yield f"{frame.file}: its last block is cut short, but no pixel is missing."
    if any(image.axes > 2 for image in raw.images):
        yield f"{frame.file}: a cube of one plane, taken as the image that it holds."
    if twice := header.conflicting:
        cards = ", ".join(sorted(twice))
        yield f"{frame.file}: {cards} twice in its header, saying two things; the first counts."
    if header.block.translate(None, _PLAIN):
        yield f"{frame.file}: its header holds bytes that FITS does not allow; read as \ufffd."
    for card in _cards_of(profile.exposure):
        said = header.get(card)
        known = isinstance(said, str) and said.strip().lower() not in UNKNOWN
        if known and frame.exposure is not None:
            yield f"{frame.file}: {card} = {said!r} is a text, read as {frame.exposure:g} s."
    yield from _other_exposure(frame)
    said = str(header.get("BUNIT", "")).strip()
    if said and _unit_of(said) not in ("", _unit_of(profile.unit)):
        yield f"{frame.file}: BUNIT = {said!r}, taken as {profile.unit}, as {profile.name} says."


def _of_another_camera(frame: Frame) -> Iterator[str]:
    """Note a card by which the profile that was named for all frames would not be chosen.

    A card that is missing says nothing, and is often why the profile was named.
    """
    header, profile = frame.header, frame.profile
    why = ""
    if profile.instruments and "INSTRUME" in header and not profile.knows(header):
        names = " or ".join(repr(name) for name in profile.instruments)
        why = f"INSTRUME = {header['INSTRUME']!r}, where the profile {profile.name} is for {names}"
    elif all(card in header for card in profile.where) and (other := profile.disagreement(header)):
        why = f"{other}, as the profile {profile.name} expects"
    if why:
        yield (
            f"{frame.file}: {why}; it was named for all frames, and is taken. "
            "Make sure that it is the profile of this camera."
        )


def _other_exposure(frame: Frame) -> Iterator[str]:
    """Note an exposure of the other usual card, where the two do not agree."""
    taken = next((c for c in _cards_of(frame.profile.exposure) if c in frame.header), None)
    other = _TWINS.get(taken)
    if other is None or other not in frame.header or frame.exposure is None:
        return
    try:
        seconds = float(frame.header[other])
    except (TypeError, ValueError):
        return
    if abs(seconds - frame.exposure) > max(0.1, 0.01 * frame.exposure):
        yield (
            f"{frame.file}: {taken} = {frame.exposure:g} s was taken, and {other} = {seconds:g} is "
            f"another; if that is the right one, write exposure={other!r} in {frame.profile.name}."
        )


@lru_cache
def _unit_of(said: object) -> str:
    """Read a unit: adu, electron, its own text where it is another, nothing where it says none."""
    word = str(said).strip().lower()
    if word.startswith(("unsigned", "signed")) or word in ("none", "unknown", "n/a"):
        return ""
    return next((unit for unit, words in _UNITS.items() if word in words.split()), str(said))


def _refuse_cubes(raw: RawFile) -> None:
    for image in raw.images:
        if image.planes > 1:
            raise FrameRejected(
                "cube",
                f"it is a cube of {image.planes} planes, where one image was expected; "
                "write its planes to files of their own.",
            )


def _refuse_reduced(frame: Frame) -> None:
    said = [card for card in _REDUCED if frame.header.get(card)]
    if said:
        raise FrameRejected(
            "already-reduced",
            f"{', '.join(said)} says that it was calibrated before; give the raw frame.",
        )
    block = frame.header.block
    if b"HISTORY" in block and (told := _REDUCED_HISTORY.search(block)):
        raise FrameRejected(
            "already-reduced",
            f"HISTORY {told[1].decode()!r} says that it was calibrated before; give the raw frame.",
        )
    unit = str(frame.header.get("BUNIT", "")).strip().lower()
    if not unit:
        return
    electrons = _unit_of(unit) == "electron" and str(frame.profile.unit) != "electron"
    if electrons or unit.endswith(_RATES):
        raise FrameRejected(
            "already-reduced",
            f"BUNIT = {unit!r}, where {frame.profile.name} expects raw {frame.profile.unit}; "
            "give the raw frame.",
        )


def _refuse_exposure(frame: Frame) -> None:
    """Refuse a dark of no time, and a frame for which no dark can be chosen."""
    profile = frame.profile
    if frame.type == "bias":
        return
    cards = profile.exposure if isinstance(profile.exposure, str) else "the exposure"
    if frame.exposure is None and frame.recipe.dark:
        raise FrameRejected(
            "exposure",
            f"{cards} is missing; without it no dark can be chosen for this {frame.type}; "
            f"give {profile.name} another exposure=.",
        )
    if frame.type == "dark" and frame.exposure == 0:
        raise FrameRejected(
            "exposure",
            f"{cards} = 0 for a dark; if this camera labels its biases so, "
            "let frame_type= in its profile say bias.",
        )


def named_fits(path: Path) -> bool:
    """Return True if a file is named as FITS files are, packed or not."""
    name = path.name.lower()
    plain = name.removesuffix(".gz").removesuffix(".fz")
    return plain.endswith(_SUFFIXES) or name.endswith(".fz")


def _looks_fits(path: Path) -> bool:
    with opened(path) as stream:
        return stream.read(9) == b"SIMPLE  ="


def _text(said: object) -> str | None:
    return None if said is None else str(said).strip() or None
