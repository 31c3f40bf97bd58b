"""The masters that are available for the frames of a night, and how well each fits a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..camera.area import DetectorArea
from ..camera.cards import Card
from ..camera.corrections import used_corrections
from ..camera.header_values import time_of
from ..files.layout import CALIBRATIONS
from .frames import Frame
from .match_cards import (
    Match,
    cards_of,
    differing_cards,
    exact_match,
    match_of,
    matched_settings,
    unknown_cards,
)
from .nights import Nights
from .plan import Master
from .setup_cards import CHIP, SETUP, TOLERANCE, FrameSetup, plain_value, same_value
from .setup_reader import SetupReader

__all__ = [
    "Candidate",
    "Candidates",
    "Comparison",
    "Settings",
    "adopted",
    "best",
    "exposure_of",
    "match_of",
    "read_out",
    "temperature_tolerance",
]


_RECORDED = {"crosstalk": "CROSSTLK", "linearity": "LINCOR", "shutter": "SHUTCOR"}
"""The corrections that must agree between a master and a frame, and their cards."""

ANY_WINDOW = "any window"
"""What stands for the read-out of frames that cover a known part of the detector."""


@dataclass(frozen=True)
class Candidate:
    """A master that frames may use, and the settings of its frames.

    Parameters
    ----------
    master : Master
    setup : FrameSetup
        The mean of its frames.
    others : tuple of (card, value)
        Cards that no profile lists and that divide its frames from those of other masters.
    shape : tuple of int or None
        Rows and columns of its raw frames; None for a master of another night.
    cards : tuple of str or Card
        The cards of ``match`` as its profile names them.
    flat_key : str
        Of a flat of the night: the read-out of its frames without their gain, if that varies.
    area : DetectorArea or None
        The part of the detector that it covers, if it can be cut to the window of a frame.
    corrections : frozenset of str or None
        The corrections of the frames of a master of another night; None for one of this night,
        which is made with those of the recipe.
    """

    master: Master
    setup: FrameSetup
    others: tuple[tuple[str, object], ...] = ()
    shape: tuple[int, int] | None = None
    cards: tuple[str | Card, ...] = ()
    flat_key: str = ""
    area: DetectorArea | None = None
    corrections: frozenset[str] | None = None

    def is_corrected_as(self, frame: Frame) -> bool:
        """Return True if its frames were corrected as the recipe of a frame requires."""
        if self.corrections is None:
            return True
        used = used_corrections(frame.recipe, self.master.type)
        return self.corrections == frozenset(used) & _RECORDED.keys()

    def covers(self, frame: Frame) -> bool:
        """Return True if it covers a frame of a camera that reads windows."""
        if self.area is None or frame.area is None:
            return False
        return not frame.area.why_not_in(self.area, self.master.type)

    @property
    def area_size(self) -> int:
        """The unbinned pixels of the detector that it covers: the smallest one is preferred."""
        return 0 if self.area is None else self.area.size

    def unlike_cards(self, frame: Frame) -> tuple[tuple[str, object], ...]:
        """Return those of its unlisted cards whose value differs in a frame."""
        if not self.others:
            return ()
        return tuple(
            (card, value)
            for card, value in self.others
            if not same_value(value, plain_value(frame.header.get(card)))
        )

    def unknown_cards(self, frame: Frame) -> Match:
        """Return those of its further cards that a frame lacks, so that a note is due."""
        return unknown_cards(self.master.type, self.master.match, frame)


@dataclass(frozen=True)
class Comparison:
    """The differences between the set-up of a frame and that of a master, as indices of `SETUP`.

    Parameters
    ----------
    differ : tuple of int
        Quantities that differ.
    lack : tuple of int
        Quantities that one of them lacks.
    blocked : tuple of int
        Differences that make the master wrong for the frame.
    """

    differ: tuple[int, ...]
    lack: tuple[int, ...]
    blocked: tuple[int, ...]


class Settings:
    """Reads the set-up of each frame once, and compares it with each master once."""

    def __init__(self) -> None:
        self._readers: dict[int, SetupReader] = {}
        self._setups: dict[str, FrameSetup] = {}
        self._comparisons: dict[tuple, Comparison] = {}

    def of(self, frame: Frame) -> FrameSetup:
        """Return the settings of a frame."""
        setup = self._setups.get(frame.file)
        if setup is None:
            reader = self._readers.get(id(frame.profile))
            if reader is None:
                reader = self._readers[id(frame.profile)] = SetupReader(frame.profile)
            setup = self._setups[frame.file] = reader.read(frame.header, bool(frame.master))
        return setup

    def of_all(self, frames: Sequence[Frame]) -> list[FrameSetup]:
        """Return the settings of several frames."""
        return [self.of(frame) for frame in frames]

    def compared(self, candidate: Candidate, frame: Frame) -> Comparison:
        """Compare the settings of a frame with those of a master."""
        setup, master = self.of(frame), candidate.master
        # Frames that were taken with the same settings share their set-up, which is kept as long as
        # these settings.
        limits = frame.recipe.limits
        limit: tuple[float, float | None] | None = None
        if limits.temperature is not None:
            limit = temperature_tolerance(frame, master.type), limits.temperature_of(master.type)
        key = master.name, id(setup), limit
        if key not in self._comparisons:
            self._comparisons[key] = _comparison(candidate, setup, frame)
        return self._comparisons[key]


def _comparison(candidate: Candidate, setup: FrameSetup, frame: Frame) -> Comparison:
    kind = candidate.master.type
    differ, lack = setup.compared(candidate.setup, temperature_tolerance(frame, kind))
    if elsewhere := matched_settings(kind, frame):
        differ, lack = ([p for p in places if p not in elsewhere] for places in (differ, lack))
    blocked = [p for p in differ if not SETUP[p].within]
    strict = frame.recipe.limits.temperature_of(kind) is not None
    # The level of a bias hardly depends on the temperature, the current in a dark does.
    if kind == "dark" or strict:
        if CHIP in differ or CHIP in lack or setup.chip is None:
            blocked = differ
        # Otherwise both chips are known to agree, whatever their set points were.
        if strict and CHIP in lack and candidate.setup.chip is None:
            blocked = [*blocked, CHIP]
    if kind == "flat":  # of another gain or offset it is used once it has its own dark
        blocked = [p for p in blocked if SETUP[p].within]
    return Comparison(tuple(differ), tuple(lack), tuple(blocked))


def temperature_tolerance(frame: Frame, kind: str) -> float:
    """Return by how many kelvin the chips of a frame and a master may agree to differ.

    Parameters
    ----------
    frame : Frame
        Its recipe has the limit.
    kind : {"bias", "dark", "flat", "arc"}
        The type of the master.
    """
    limit = frame.recipe.limits.temperature
    if isinstance(limit, Mapping):
        limit = limit.get(kind)
    return TOLERANCE if limit is None else float(limit.value)


@dataclass(frozen=True)
class Candidates:
    """The masters that are planned so far, and those of other nights.

    Parameters
    ----------
    frames : mapping of str to sequence of Frame
        The accepted raw frames of the night by type.
    settings : Settings
    by_name : mapping of str to Candidate
        In the order in which they are made.
    alike : mapping of tuple to sequence of Candidate
        By type, by the read-out of their frames, or by camera and binning where windows are read,
        and by the cards of ``match`` that are compared as exact texts.
    nights : Nights
    """

    frames: Mapping[str, Sequence[Frame]]
    settings: Settings = field(default_factory=Settings)
    by_name: Mapping[str, Candidate] = field(default_factory=dict)
    alike: Mapping[tuple, Sequence[Candidate]] = field(default_factory=dict)
    nights: Nights = field(default_factory=Nights)

    def with_(self, candidates: Iterable[Candidate]) -> Candidates:
        """Return these masters and further ones."""
        by_name = dict(self.by_name)
        alike = {key: [*others] for key, others in self.alike.items()}
        for candidate in candidates:
            master = candidate.master
            by_name[master.name] = candidate
            exact = exact_match(master.match, candidate.cards)
            key = candidate.flat_key or master.readout if candidate.area is None else ANY_WINDOW
            shared = master.profile, key, master.binning
            alike.setdefault((master.type, shared, exact), []).append(candidate)
        return replace(self, by_name=by_name, alike=alike)

    def for_frame(self, kind: str, frame: Frame) -> Sequence[Candidate]:
        """Return the masters of a type whose read-out and cards of ``match`` agree with a frame."""
        match, cards = match_of(kind, frame), cards_of(kind, frame)
        exact = exact_match(match, cards)
        alike = self.alike.get((kind, read_out(frame), exact), ())
        if frame.area is not None:
            alike = [c for c in alike if c.covers(frame)]
        elif kind == "flat" and frame.flat_key:
            alike = [*alike, *self.alike.get((kind, read_out(frame, kind), exact), ())]
        if any(c.corrections is not None for c in alike):
            alike = [c for c in alike if c.is_corrected_as(frame)]
        if exact is match:
            return alike
        return [c for c in alike if not differing_cards(kind, c.master.match, frame)]

    def compared(self, candidate: Candidate, frame: Frame) -> Comparison:
        """Compare the settings of a frame with those of a master."""
        return self.settings.compared(candidate, frame)

    def usable(self, candidates: Iterable[Candidate], frame: Frame) -> list[Candidate]:
        """Return the biases or darks whose settings are not wrong for a frame."""
        return [c for c in candidates if not self.compared(c, frame).blocked]

    def nights_apart(self, candidate: Candidate, frame: Frame) -> float:
        """Return by how many nights a master and a frame differ; infinite if that is not known."""
        return self.nights.apart(frame.profile.name, candidate.master.time, time_of(frame.date))

    def unlike(self, candidate: Candidate, frame: Frame) -> tuple[int, int]:
        """Count the settings in which a master and a frame differ, and those that are not known."""
        comparison = self.compared(candidate, frame)
        return len(comparison.differ) + len(candidate.unlike_cards(frame)), len(comparison.lack)


def best(
    candidates: Sequence[Candidate], frame: Frame, key: Callable[[Candidate], tuple]
) -> Candidate:
    """Return the master with the smallest key; of equal ones the nearest in time."""
    if len(candidates) == 1:  # the usual case, in which nothing has to be compared
        return candidates[0]
    return min(candidates, key=lambda c: (*key(c), _time_between(c.master, frame), c.master.name))


def _time_between(master: Master, frame: Frame) -> float:
    """Return the seconds between a frame and a master; infinite if a date is not known."""
    when = time_of(frame.date)
    return float("inf") if master.time is None or when is None else abs(master.time - when)


def exposure_of(taken: Frame | Master) -> float:
    """Return the exposure of a dark, or of a frame that takes one; others may have none."""
    if taken.exposure is None:
        raise ValueError(f"{taken!r} has no exposure, so that no dark can be chosen for it")
    return taken.exposure


def read_out(frame: Frame, kind: str = "") -> tuple[str, str, tuple[int, int]]:
    """Return what a frame shares with every master of a type that it takes.

    A flat of another gain may be used, as it is normalised and has its own dark. Of a camera that
    reads windows it is the camera and the binning, as a master of another window may cover a frame.
    """
    key = frame.flat_key if kind == "flat" else ""
    key = ANY_WINDOW if frame.area is not None else key or frame.amplifier_key
    return frame.profile.name, key, frame.binning


def adopted(frame: Frame, settings: Settings) -> Candidate:
    """Take a master of another night as it is."""
    setup, temperature = settings.of(frame), frame.header.get("CPTEMP")
    master = Master(
        name=f"{CALIBRATIONS}{frame.file}",
        type=frame.type,
        inputs=(),
        profile=frame.profile.name,
        readout=frame.amplifier_key,
        binning=frame.binning,
        exposure=frame.exposure,
        filter=frame.filter,
        match=match_of(frame.type, frame),
        time=time_of(frame.date),
        path=str(frame.path),
        bias_off="ZEROCOR" in frame.header,
        temperature=temperature if isinstance(temperature, int | float) else None,
        settings=setup.known,
    )
    corrections = frozenset(field for field, card in _RECORDED.items() if card in frame.header)
    cards = tuple(cards_of(frame.type, frame))
    return Candidate(master, setup, cards=cards, area=frame.area, corrections=corrections)
