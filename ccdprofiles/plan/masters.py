"""The masters that are there for the frames of a night, and how well each fits a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .frames import Frame
from .plan import Master
from .settings import Candidate, Comparison, Settings
from .wording import time_of

__all__ = ["Masters", "adopted", "best", "match_of", "read_out"]


@dataclass(frozen=True)
class Masters:
    """The masters that are planned so far, and those of other nights.

    Parameters
    ----------
    frames : mapping of str to sequence of Frame
        The accepted raw frames of the night by type.
    settings : Settings
    by_name : mapping of str to Candidate
        In the order in which they are made.
    alike : mapping of tuple to sequence of Candidate
        By type, by how their frames were read out, and by the cards of ``match``.
    """

    frames: Mapping[str, Sequence[Frame]]
    settings: Settings = field(default_factory=Settings)
    by_name: Mapping[str, Candidate] = field(default_factory=dict)
    alike: Mapping[tuple, Sequence[Candidate]] = field(default_factory=dict)

    def with_(self, candidates: Iterable[Candidate]) -> Masters:
        """Return these masters and some more."""
        by_name = dict(self.by_name)
        alike = {key: [*others] for key, others in self.alike.items()}
        for candidate in candidates:
            master = candidate.master
            by_name[master.name] = candidate
            alike.setdefault((master.type, master.setup, master.match), []).append(candidate)
        return Masters(self.frames, self.settings, by_name, alike)

    def for_frame(self, kind: str, frame: Frame) -> Sequence[Candidate]:
        """Return the masters of a type whose frames were read out as a frame was."""
        return self.alike.get((kind, read_out(frame), match_of(kind, frame)), ())

    def compared(self, candidate: Candidate, frame: Frame) -> Comparison:
        """Compare how a frame and the frames of a master were set."""
        return self.settings.compared(candidate, frame)

    def usable(self, candidates: Iterable[Candidate], frame: Frame) -> list[Candidate]:
        """Return the biases or darks whose settings are not wrong for a frame."""
        return [c for c in candidates if not self.compared(c, frame).blocked]

    def unlike(self, candidate: Candidate, frame: Frame) -> tuple[int, int]:
        """Count the settings in which a master and a frame differ, and those that are not known."""
        comparison = self.compared(candidate, frame)
        return len(comparison.differ) + len(candidate.unlike_cards(frame)), len(comparison.lack)


def best(
    candidates: Sequence[Candidate], frame: Frame, key: Callable[[Candidate], tuple]
) -> Candidate:
    """Return the master with the smallest key; of equal ones the nearest in time."""
    if len(candidates) == 1:  # mostly so, and nothing has to be compared
        return candidates[0]
    return min(candidates, key=lambda c: (*key(c), _time_between(c.master, frame), c.master.name))


def _time_between(master: Master, frame: Frame) -> float:
    """Return the seconds between a frame and a master; infinite where a date is not known."""
    when = time_of(frame.date)
    return float("inf") if master.time is None or when is None else abs(master.time - when)


def read_out(frame: Frame) -> tuple[str, str, tuple[int, int] | None]:
    """Return what a frame shares with every master that it takes."""
    return frame.profile.name, frame.amplifier_key, frame.binning


def match_of(kind: str, frame: Frame) -> tuple[tuple[str, str | None], ...]:
    """Return the further cards that a master of this type shares; an arc those of a flat."""
    if not frame.profile.match:
        return ()
    return frame.profile.match_of("flat" if kind == "arc" else kind, frame.header)


def adopted(frame: Frame, settings: Settings) -> Candidate:
    """Take a master of another night as it is."""
    setup = settings.of(frame)
    master = Master(
        name=f"calibrations/{frame.file}",
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
        temperature=frame.header.get("CPTEMP"),
        settings=setup.known,
    )
    return Candidate(master, setup)
