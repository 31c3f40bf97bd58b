"""The notes of a plan: settings that differ, gains and dates to check, planes that are omitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from ..camera.header_values import time_of
from .candidates import Candidate, Candidates, Settings
from .frames import ACCEPTED, IGNORED, Frame
from .plan import Input
from .reason import Reason
from .setup_cards import CHIP, EGAIN, SETUP, FrameSetup, plain_value
from .wording import cards_phrase, grouped, temperature_range

__all__ = ["choice_notes", "cut_notes", "night_notes", "notes_of"]

_PACKED = (".bz2", ".xz", ".zip", ".z", ".7z", ".rar", ".tar", ".tgz", ".zst", ".lz4")
"""Suffixes of compressed files that are not read."""

_GAIN_RATIO = 1.25
"""Measured gains differ from those of a manual by less than this fraction."""


def notes_of(
    frames: Sequence[Frame], masters: Candidates, keep: Iterable[str], of_settings: Iterable[str]
) -> Iterator[str]:
    """Note what is unusual about a night, and what its products will lack.

    Parameters
    ----------
    frames : sequence of Frame
        All files of the night.
    masters : Candidates
        All masters that are planned.
    keep : iterable of str
        Files that are kept by hand.
    of_settings : iterable of str
        Notes on settings that differ.
    """
    science = masters.frames.get("science", ())
    if masters.by_name and not science:
        yield "the night has no science frame; only masters are made"
    yield from _not_read(frames, nothing_left=not (masters.by_name or science))
    ruled_out = {f.file for f in frames if f.verdict != ACCEPTED}
    for file in sorted(ruled_out & set(keep)):
        yield f"{file} cannot be kept: it is set aside because of its header, not because of its pixels"
    accepted = [f for f in frames if f.verdict == ACCEPTED]
    yield from grouped(note for f in accepted for note in f.notes)
    yield from _date_notes(accepted)
    yield from _incomplete_exposures(frames)
    yield from grouped(_gain_notes(science, masters.settings))
    yield from of_settings
    for name, candidate in masters.by_name.items():
        if len(candidate.master.inputs) == 1:
            yield f"{name} is made of one frame; cosmic rays in it are not removed"
    yield from _lacking(accepted, science)


def _not_read(frames: Sequence[Frame], nothing_left: bool) -> Iterator[str]:
    """Note the files that may contain frames but are not read; all files if there is no frame."""
    ignored = [f for f in frames if f.verdict == IGNORED and not f.origin]
    packed = [f for f in ignored if f.file.lower().endswith(_PACKED)]
    if packed:
        kinds = ", ".join(sorted({PurePosixPath(f.file).suffix for f in packed}))
        yield f"{_are(packed)} compressed in a format that is not read ({kinds}); decompress them"
    if not nothing_left:
        return
    products = [f for f in ignored if f.code == "product"]
    if products:
        yield (
            f"{_are(products)} products of ccdprofiles; specify the folder of the raw night, or "
            "use masters of another night with calibrations=[FOLDER] (--calibrations)"
        )
    others = [f for f in ignored if f not in packed and f not in products]
    yield from grouped(f.fault for f in others if f.fault)


def _incomplete_exposures(frames: Iterable[Frame]) -> Iterator[str]:
    """Note the exposures that have fewer or more files than most others of their camera."""
    cameras: dict[str, dict[str, set[str]]] = {}
    for frame in frames:
        if frame.exposure_id and frame.verdict != IGNORED:
            exposures = cameras.setdefault(frame.profile.name, {})
            exposures.setdefault(frame.exposure_id, set()).add(frame.raw_file)
    for profile, exposures in cameras.items():
        numbers = Counter(len(files) for files in exposures.values())
        usual, _ = numbers.most_common(1)[0]
        for name, files in sorted(exposures.items()):
            if len(files) != usual:
                yield (
                    f"{_files(sorted(files))}: the exposure {name} has {_number_of(files)}, but most of "
                    f"{profile} have {usual}; look for missing or renamed files, or correct exposure_id= "
                    "in the profile"
                )


def _number_of(files: Collection[str]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files)} files"


def _date_notes(frames: Iterable[Frame]) -> Iterator[str]:
    """Note the frames whose date cannot be read, as time decides between masters."""
    undated: dict[str, dict[str, str]] = {}
    for frame in frames:
        if frame.date and time_of(frame.date) is None:
            cards = frame.profile.date
            label = "the date" if callable(cards) else cards or ""
            label = label if isinstance(label, str) else "/".join(label)
            undated.setdefault(label, {})[frame.file] = frame.date
    for label, dates in undated.items():
        first, *others = dates.values()
        more = " or the like" if {*others} - {first} else ""
        yield (
            f"{_files([*dates])}: {label} = {first[:60]!r}{more} is "
            "not a date and time such as 2018-08-22T03:14:15; it cannot be used to choose the "
            "master nearest in time"
        )


def _gain_notes(science: Iterable[Frame], settings: Settings) -> Iterator[Reason]:
    """Note the science frames whose header has a gain far from that of the profile."""
    for frame in science:
        profile = frame.profile
        # A profile that reads its amplifiers from the header has made its choice.
        if profile.amplifiers_vary:
            continue
        setup = settings.of(frame)
        own = setup.values[EGAIN]
        if not isinstance(own, float) or own <= 0:
            continue
        readouts = frame.amplifiers.readouts
        gains = [r.gain for r in readouts if r.gain is not None]
        if len(gains) < len(readouts) or any(max(own / g, g / own) <= _GAIN_RATIO for g in gains):
            continue
        says = " and ".join(f"{gain:g}" for gain in sorted(set(gains)))
        yield Reason.note(
            frame.file,
            f"{setup.cards[EGAIN]} = {own:g} electrons per adu, but the profile {profile.name} "
            f"has {says}; the gain of the profile is used for uncertainties and electrons. Let gain= "
            "read the card if it is right, or add the card to ignore_cards= if it is not.",
        )


def _lacking(frames: Iterable[Frame], science: Iterable[Frame]) -> Iterator[str]:
    """Note which plane or check each camera's products will lack, and why."""
    numbers: dict[str, set[str]] = {}
    known = {(f.profile.name, id(f.amplifiers)): f.amplifiers for f in frames}
    for (name, _), amplifiers in known.items():
        if amplifiers is not None:
            numbers.setdefault(name, set()).update(amplifiers.missing)
    # Some frames of one camera may have a gain and others none.
    in_adu = {
        f.profile.name for f in science if f.recipe.electrons and "gain" in f.amplifiers.missing
    }
    for name, lacking in sorted(numbers.items()):
        if name in in_adu:
            yield f"{name}: the products stay in adu, because its gain is not known"
        noise = [n.replace("_", " ") for n in ("gain", "read_noise") if n in lacking]
        if noise:
            unknown = "are not known" if noise[1:] else "is not known"
            yield f"{name}: no uncertainty, because its {' and '.join(noise)} {unknown}"
        if "saturation" in lacking:
            why = "the saturation level is not known"
            yield f"{name}: saturated pixels are not flagged, because {why}"


def night_notes(groups: Iterable[tuple[str, Sequence[Frame]]]) -> Iterator[str]:
    """Note the cameras whose flats are divided by night.

    Parameters
    ----------
    groups : iterable of (date, frames)
        The date is empty for flats that are not divided.
    """
    evenings: dict[str, set[str]] = {}
    for evening, frames in groups:
        if evening:
            evenings.setdefault(frames[0].profile.name, set()).add(evening)
    for name, dates in evenings.items():
        yield (
            f"the flats of {name} were taken in {len(dates)} nights ({', '.join(sorted(dates))}); each "
            "night has its own master flats, and a frame is divided by those of the nearest night"
        )


def choice_notes(
    chosen: Iterable[tuple[Frame, Input]], missing: Mapping[str, Reason], masters: Candidates
) -> Iterator[str]:
    """Note the masters that differ, or may differ, in a setting from the frames that use them.

    Parameters
    ----------
    chosen : iterable of (Frame, Input)
    missing : mapping of str to Reason
        By file; these frames use no master.
    masters : Candidates
    """
    asking: dict[tuple, list[tuple[str, float | None]]] = {}
    for frame, taken in chosen:
        for name in taken.masters:
            for key, chip in _differences(masters.by_name[name], frame, masters):
                asking.setdefault(key, []).append((frame.file, chip))
    for (name, its, own, end), frames in asking.items():
        used = [(file, chip) for file, chip in frames if file not in missing]
        if used:
            chips = [chip for _, chip in used if chip is not None]
            degrees = f" at {temperature_range(chips)}" if chips else ""
            which = _files([file for file, _ in used], "frames")
            which += ", which are calibrated" if used[1:] else ", which is calibrated"
            yield f"{name} was taken{its}, and {which} with it,{own}{degrees}; {end}"


def cut_notes(
    chosen: Iterable[tuple[Frame, Input]], missing: Mapping[str, Reason], masters: Candidates
) -> Iterator[str]:
    """Note the masters that are cut to the window of the frames that use them.

    Parameters are those of `choice_notes`.
    """
    windows: dict[tuple[str, str], list[str]] = {}
    for frame, taken in chosen:
        for name in (taken.master_bias, taken.dark, taken.flat):
            area = None if name is None else masters.by_name[name].area
            if name is None or area is None or frame.area is None or frame.file in missing:
                continue
            if frame.area.section != area.section:
                windows.setdefault((name, str(frame.area.section)), []).append(frame.file)
    for (name, section), files in windows.items():
        yield f"{name} is cut to {section} for {_files(files, 'frames')}"


def _differences(
    candidate: Candidate, frame: Frame, masters: Candidates
) -> Iterator[tuple[tuple[str, str, str, str], float | None]]:
    """Describe in which cards a master that is used differs, then in which it may differ."""
    comparison, others = masters.compared(candidate, frame), candidate.unlike_cards(frame)
    unknown = candidate.unknown_cards(frame)
    if not (comparison.differ or comparison.lack or others or unknown):
        return
    setup, of_flat = masters.settings.of(frame), candidate.master.type == "flat"
    own = tuple((card, plain_value(frame.header.get(card))) for card, _ in others)
    for places, cards, own_cards, end in (
        (comparison.differ, others, own, "no other master is closer"),
        (
            comparison.lack,
            unknown,
            tuple((card, None) for card, _ in unknown),
            "it is used, although it is not known whether they agree",
        ),
    ):
        counting = [p for p in places if SETUP[p].of_flat or not of_flat]
        if counting or cards:
            of_master, of_frame = candidate.setup.phrase(counting), _but_chip(setup, counting)
            of_master += cards_phrase(cards, of_master)
            of_frame += cards_phrase(own_cards, of_frame)
            chip = setup.chip if CHIP in counting else None
            yield (candidate.master.name, of_master, of_frame, end), chip


def _but_chip(setup: FrameSetup, places: Iterable[int]) -> str:
    """Write the values of a set-up but for a known temperature of the chip."""
    return setup.phrase(p for p in places if p != CHIP or setup.chip is None)


def _files(files: Sequence[str], noun: str = "files") -> str:
    return files[0] if len(files) == 1 else f"{len(files)} {noun} ({files[0]} … {files[-1]})"


def _are(frames: Sequence[Frame]) -> str:
    return f"{_files([f.file for f in frames])} {'is' if len(frames) == 1 else 'are'}"
