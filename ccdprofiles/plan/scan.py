"""Read the headers of a folder into frames."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any

from ..camera.amplifier import AmplifierSet
from ..camera.area import DetectorArea
from ..camera.changes import Changes
from ..camera.colours import mosaic_of
from ..camera.frame_types import STEPS
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
    SectionError,
    UnknownInstrument,
)
from ..files.raw import GROWTH_LIMIT, RawFile, read_raw
from ..files.reading import NOT_A_FILE, opened
from .chips import chips_of
from .corrections import refuse_corrections
from .extensions import with_notes_on_extensions
from .frames import ACCEPTED, IGNORED, PRODUCT_CARD, SET_ASIDE, Frame, shown_name
from .refusals import notes_of, refuse, refuse_cubes

__all__ = ["files_of", "has_varying_gain", "named_fits", "scan"]

_ALLOW = "grant read permission, copy it again, or remove it from the night."

_LATE = 3
"""The scan ends after this many headers on which a function of a profile took too long."""

_SUFFIXES = (".fits", ".fit", ".fts", ".new", ".fz")
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", "~")


class Scanner:
    """Reads the headers of files into frames.

    Recipes with changed settings and amplifiers are determined once for all frames that share them;
    these caches are filled while files are read.

    Parameters
    ----------
    registry : Registry
    forced : Profile, optional
        Used for every frame, regardless of its header.
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
        self._amplifiers: dict[tuple, dict[str, Any]] = {}
        self._late: list[str] = []

    def frames(self, path: Path, file: str) -> Iterator[Frame]:
        """Yield the frame of one file, or those of its chips if it is of a mosaic."""
        frame = self._judged(self._described, Frame(file, path))
        if frame.profile is None or not frame.profile.chips or frame.verdict != ACCEPTED:
            yield frame
            return
        whole = frame
        try:
            chips = [*self._watched(lambda f, _: [*chips_of(f)], whole, whole.profile)]
        except FrameRejected as error:
            yield whole.rejected(error.code, str(error))
            return
        for chip in chips:
            yield self._judged(lambda f: self._watched(self._typed, f, f.profile), chip)

    def _judged(self, read: Callable[[Frame], Frame], frame: Frame) -> Frame:
        """Read a frame; a fault in its header becomes the verdict on it."""
        path = frame.path
        try:
            frame = read(frame)
        except FrameRejected as error:
            verdict = IGNORED if error.code == "not-fits" and not named_fits(path) else SET_ASIDE
            return frame.rejected(error.code, str(error), verdict)
        except OSError as error:
            why = error.strerror or str(error)
            return frame.rejected("unreadable", f"it cannot be read ({why}); {_ALLOW}")
        return frame

    def _described(self, frame: Frame) -> Frame:
        if frame.file.startswith(".") or "/." in frame.file:
            return frame.rejected("hidden", "hidden file.", IGNORED)
        mode = os.stat(frame.path).st_mode
        if stat.S_ISDIR(mode) and not frame.path.is_symlink():
            raise FrameRejected(
                "unreadable",
                "this folder cannot be read; grant read permission, or move it elsewhere.",
            )
        if not stat.S_ISREG(mode):
            raise FrameRejected("not-a-file", NOT_A_FILE)
        if frame.path.name.lower().endswith(_UNFINISHED):
            text = "a temporary file of an unfinished copy."
            return frame.rejected("temporary", text, IGNORED)
        if not named_fits(frame.path) and not _looks_fits(frame.path):
            return frame.rejected("not-fits", "not a FITS file.", IGNORED)
        raw = read_raw(frame.path)
        header = raw.header
        frame = frame.with_(raw=raw, shape=raw.images[0].shape)
        if PRODUCT_CARD in header:
            kind = str(header.get("CPTYPE", ""))
            text = "a product of ccdprofiles, not a raw frame."
            return frame.with_(master=kind).rejected("product", text, IGNORED)
        refuse_cubes(raw)
        return self._watched(self._with_profile, frame, self.forced)

    def _with_profile(self, frame: Frame, profile: Profile) -> Frame:
        """Read a frame; one of a mosaic is read chip by chip later."""
        return frame.with_(profile=profile) if profile.chips else self._typed(frame, profile)

    def _watched(self, read: Callable, frame: Frame, profile: Profile | None) -> Any:
        """Read a frame with functions of its profile, which may fail or take too long."""
        try:
            profile = profile or call(self.registry.choose, frame.header)
            return call(read, frame, profile)
        except UnknownInstrument as error:
            return frame.rejected("no-profile", str(error))
        except (AmbiguousProfile, ChangeError, FrameRejected):
            raise
        except Exception as error:  # a profile's own function may raise anything
            sentence = _failure(profile, error)
            if isinstance(error, Failure) and error.late:
                self._late.append(frame.file)
                if len(self._late) == _LATE:
                    # All other headers may take as long.
                    raise ProfileError(
                        f"{frame.file}: {sentence} {_LATE} headers took too long, so "
                        "the scan was stopped."
                    ) from error
            raise FrameRejected("profile-function", sentence) from error

    def _typed(self, frame: Frame, profile: Profile) -> Frame:
        header = frame.header
        frame = frame.with_(
            profile=profile,
            object=profile.text_of("object", header),
            date=profile.text_of("date", header),
            recipe=self._recipe(profile, header),
            filter=profile.text_of("filter", header),
        )
        if profile.exposure_id is not None:
            frame = frame.with_(exposure_id=profile.text_of("exposure_id", header))
        try:
            kind = profile.frame_type_of(header, frame.file)
        except FrameRejected as error:
            return frame.rejected(error.code, str(error))
        if kind is None:
            text = f"{profile.name} ignores frames of this type on purpose."
            return frame.rejected("ignored-type", text, IGNORED)
        frame = frame.with_(type=kind)
        if callable(profile.temperature):
            profile.temperature_of(header)  # errors occur here, and not while the night is planned
        try:
            frame = frame.with_(exposure=profile.exposure_of(header))
            frame = frame.with_(binning=profile.binning_of(header))
            frame = frame.with_(**self._read_out(frame))
            if "BAYERPAT" in header or "COLORTYP" in header:
                frame = _with_colours(frame)
            refuse(frame)
            refuse_corrections(frame)
        except FrameRejected as error:
            return frame.rejected(error.code, str(error))
        notes = notes_of(frame, forced=self.forced is not None)
        return frame.with_(notes=notes) if notes else frame

    def _recipe(self, profile: Profile, header: Mapping) -> Recipe:
        """Return the recipe of a frame, with the settings that are changed for this run."""
        recipe = profile.recipe_of(header)
        if not self.changes:
            return recipe
        # The recipe is stored too, so that no other one gets its id.
        if id(recipe) not in self._recipes:
            self._recipes[id(recipe)] = recipe, self.changes.applied(recipe, profile)
        return self._recipes[id(recipe)][1]

    def _read_out(self, frame: Frame) -> dict[str, Any]:
        """Return the amplifiers of a frame, the hashes of its read-out, and its detector area."""
        profile, header, raw = frame.profile, frame.header, frame.raw
        if profile.amplifiers_vary:
            amplifiers = profile.amplifiers_of(header, raw.shapes, raw.headers, frame.chip)
            return _read_out_of(frame, amplifiers)
        sections = tuple(h.get(card) for card in profile.section_cards for h in raw.image_headers)
        window, shapes = profile.window_of(header), tuple(raw.shapes.items())
        key = (id(profile), frame.chip, frame.binning, shapes, sections, window)
        if key not in self._amplifiers:
            amplifiers = profile.amplifiers_of(header, raw.shapes, raw.headers, frame.chip)
            self._amplifiers[key] = _read_out_of(frame, amplifiers)
        return self._amplifiers[key]


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
        Used for every frame, regardless of INSTRUME.
    calibrations : iterable of path
        Folders with biases, darks and flats of other nights, raw or masters;
        their science frames are ignored.
    leave_out : iterable of path
        Folders that are not searched, such as the output.
    changes : Changes, optional
        Settings of the recipes that are changed for this run.

    Returns
    -------
    tuple of Frame
        One for every file found, sorted by name.

    Raises
    ------
    InputError
        If a folder does not exist or cannot be read.
    ProfileError
        If two profiles fit one header, or a profile is invalid.
    """
    with watched():
        return _all_frames(folder, Scanner(registry, forced, changes), calibrations, leave_out)


def _all_frames(
    folder: str | Path,
    scanner: Scanner,
    calibrations: Iterable[str | Path],
    leave_out: Iterable[str | Path],
) -> tuple[Frame, ...]:
    scanned = [
        frame
        for path, file in _distinct_names(files_of(folder, leave_out))
        for frame in scanner.frames(path, file)
    ]
    taken = {frame.path for frame in scanned}
    labels = {frame.file.split("/")[0] for frame in scanned}
    for number, other in enumerate(calibrations, 1):
        origin = _label(Path(other), labels)
        labels.add(origin)
        for path, file in _distinct_names(files_of(other, leave_out)):
            if path not in taken:
                for frame in scanner.frames(path, f"{origin}/{file}"):
                    frame = replace(frame, origin=str(number))
                    scanned.append(_calibration(frame, scanner.registry))
    frames = _without_copies(sorted(scanned, key=lambda f: (f.origin, f.file)))
    return tuple(with_notes_on_extensions(frames))


def files_of(folder: str | Path, leave_out: Iterable[str | Path]) -> Iterator[tuple[Path, str]]:
    """Yield the path and name of every file, sorted; links to folders are not followed."""
    top = Path(folder).expanduser()
    if not top.is_dir():
        raise InputError(f"{top} is not a folder; specify the folder of the night.")
    skip = {Path(p).resolve() for p in leave_out}

    closed: list[Path] = []

    def failed(error: OSError) -> None:
        if Path(error.filename) == top:
            raise InputError(
                f"{top} cannot be read ({error.strerror}); grant permission, or use another folder."
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
    """Name a calibration folder so that all files of a night have different names."""
    name = shown_name(folder.expanduser().resolve().name).lstrip(".") or "calibrations"
    numbered = (f"{name}-{i}" for i in count(2))
    return next(n for n in chain([name], numbered) if n not in taken)


def _distinct_names(files: Iterable[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
    """Give files different names if their escaped names are equal."""
    known: set[str] = set()
    for path, file in files:
        while file in known:
            file += f"~{hashlib.sha256(os.fsencode(path)).hexdigest()[:6]}"
        known.add(file)
        yield path, file


def _calibration(frame: Frame, registry: Registry) -> Frame:
    """Return a frame of a calibration folder; science frames and arcs are ignored."""
    if frame.master in STEPS:
        return _master(frame, registry)
    if frame.verdict == ACCEPTED and frame.type not in STEPS:
        article = "an" if frame.type == "arc" else "a"
        text = f"{article} {frame.type} frame in a calibration folder."
        return frame.rejected("not-calibration", text, IGNORED)
    return frame


def _master(frame: Frame, registry: Registry) -> Frame:
    """Read the properties of a master of another night from the cards of ccdprofiles."""
    header = frame.header
    try:
        profile = registry[str(header.get("CPPROF", ""))]
        x, y = str(header.get("CPBIN", "1x1")).split("x")
        seconds = header.get("EXPTIME")
        exposure = seconds if isinstance(seconds, int | float) else None
        if frame.master == "dark" and (exposure is None or exposure <= 0):
            raise ValueError(f"EXPTIME = {seconds!r} is not the exposure of a dark.")
        binning = int(x), int(y)
        return replace(
            frame,
            verdict=ACCEPTED,
            fault=None,
            profile=profile,
            area=DetectorArea.of_product(header, binning),
            type=frame.master,
            exposure=exposure,
            filter=_text(header.get("CPFILT")),
            date=_text(header.get("DATE-OBS")),
            binning=binning,
            amplifier_key=str(header.get("CPAMPS", "")),
        )
    except (ProfileError, SectionError, ValueError) as error:
        return frame.rejected("master", f"this master cannot be used: {error}")


def _without_copies(frames: list[Frame]) -> list[Frame]:
    """Ignore copies of a frame; the one with the shortest name is kept."""
    groups: dict[tuple[bytes, str], list[int]] = {}
    for number, frame in enumerate(frames):
        if frame.raw is not None and frame.verdict == ACCEPTED:
            groups.setdefault((frame.raw.header.block, frame.chip), []).append(number)
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
                continue  # removed or changed since; reported when its pixels are read
            if original is not frame:
                text = f"identical to {original.file}, which is used instead."
                frames[number] = frame.rejected("duplicate", text, IGNORED)
    return frames


def _contents(raw: RawFile) -> str:
    """Hash the decompressed contents of a file, so that a compressed copy is found too."""
    with opened(raw.path) as plain:
        if not raw.gzipped:
            return hashlib.file_digest(plain, "sha256").hexdigest()
        with gzip.open(plain) as stream:
            digest, left = hashlib.sha256(), GROWTH_LIMIT * raw.size
            while chunk := stream.read(min(2**20, left)):
                digest.update(chunk)
                left -= len(chunk)
            return digest.hexdigest()


def has_varying_gain(profile: Profile) -> bool:
    """Return True if the gain of an amplifier depends on the header."""
    given = profile.amplifiers
    return callable(given) or any("gain" in a.varies for a in given)


def _read_out_of(frame: Frame, amplifiers: AmplifierSet) -> dict[str, Any]:
    """Return the fields of a frame that say how it was read out.

    ``amplifier_key`` is a hash of its amplifiers, its raw shape, and a gain that changes.
    ``flat_key``, for flats, has the ratios of the gains of the amplifiers instead: a flat is
    normalised, so that its own gain does not matter. It is empty if the gain does not change.
    """
    what: list[object] = [
        amplifiers.key,
        [frame.raw.shapes[r.extension] for r in amplifiers.readouts],
    ]
    what += [frame.chip] if frame.chip else []
    varies = has_varying_gain(frame.profile)
    area = DetectorArea.of(amplifiers, frame.binning, varies)
    fields = {"amplifiers": amplifiers, "area": area, "flat_key": ""}
    if not varies:
        return fields | {"amplifier_key": _short_hash(what)}
    gains = [r.gain for r in amplifiers.readouts]
    ratios = [g and gains[0] and round(g / gains[0], 3) for g in gains]
    key, flat_key = _short_hash([*what, gains]), _short_hash([*what, ratios])
    return fields | {"amplifier_key": key, "flat_key": flat_key}


def _with_colours(frame: Frame) -> Frame:
    """Return a frame with its mosaic of colours, if it is one; masters of others do not fit it."""
    mosaic = mosaic_of(frame.header, frame.amplifiers, frame.raw.shapes)
    if mosaic is None:
        return frame
    keys = [
        key and _short_hash([key, mosaic.pattern]) for key in (frame.amplifier_key, frame.flat_key)
    ]
    # Masters are not cut for its windows, as the pattern of a window may begin at another colour.
    return frame.with_(mosaic=mosaic, amplifier_key=keys[0], flat_key=keys[1], area=None)


def _short_hash(what: list[object]) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()[:8]


def _failure(profile: Profile | None, error: Exception) -> str:
    """Describe what a function of a profile raised, and where, if the profile has a file."""
    if isinstance(error, Failure):
        why = error.reason + error.place
    else:
        why = reason(error) + (place(error) if profile is not None and profile.file else "")
    name = "that was chosen" if profile is None else profile.name
    return f"a function of the profile {name} failed on its header ({why}); correct the profile."


def named_fits(path: Path) -> bool:
    """Return True if a file has a name of a FITS file, compressed or not."""
    name = path.name.lower()
    plain = name.removesuffix(".gz").removesuffix(".fz")
    return plain.endswith(_SUFFIXES) or name.endswith(".fz")


def _looks_fits(path: Path) -> bool:
    with opened(path) as stream:
        return stream.read(9) == b"SIMPLE  ="


def _text(value: object) -> str | None:
    return None if value is None else str(value).strip() or None
