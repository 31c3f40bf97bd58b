"""Decide from headers alone what is made from what, and say what cannot be made."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from pathlib import PurePosixPath

from astropy import units as u

from ..camera.profile import Profile
from ..camera.recipe import nearest
from ..errors import PlanError
from ..files.layout import CALIBRATIONS, MASTERS, SCIENCE
from .frames import ACCEPTED, IGNORED, SET_ASIDE, Frame
from .plan import STEPS, Input, Master, Missing, Plan, Product, _in, _plural, too_few
from .setup_cards import (
    CHIP,
    EGAIN,
    SETUP,
    TOLERANCE,
    FrameSetup,
    SetupReader,
    differing_places,
    mean_setup,
    plain_value,
    same_setup,
    same_value,
    setting_words,
    shown,
    word_for,
)
from .unlisted_cards import about_readout, dividing_cards, tally
from .wording import file_name, grouped, seconds, time_of

__all__ = ["make_plan"]

_SUFFIXES = re.compile(r"(?i)(\.(fits|fit|fts|new))?(\.(gz|fz))?$")
_PACKED = (".bz2", ".xz", ".zip", ".z", ".7z", ".rar", ".tar", ".tgz", ".zst", ".lz4")
"""How files are packed that are not read."""

_GAIN_RATIO = 1.25
"""Measured gains differ from those of a manual by less."""


def make_plan(
    frames: Sequence[Frame],
    without: Iterable[str] = (),
    *,
    keep: Iterable[str] = (),
    reject: Iterable[str] = (),
    min_frames: int | None = None,
) -> Plan:
    """Decide which masters are made of which frames, and what is calibrated with them.

    A master and a frame share instrument, amplifier set and binning; a dark also
    the exposure, within the recipe's tolerance, unless it is scaled; a flat the
    filter; and the cards of the profile's ``match``. A bias or dark is never
    matched by filter. Frames whose set-up cards differ (`ccdprofiles.plan.setup_cards.SETUP`)
    share no master, and no frame gets a bias or dark of another gain, offset or read
    mode, or a dark of another temperature. Of several candidates the nearest in time is
    taken.

    Parameters
    ----------
    frames : sequence of Frame
    without : iterable of {"bias", "dark", "flat"}
        Steps that are left out on purpose.
    keep, reject : iterable of str
        Files that were kept or left out by hand, to be written down.
    min_frames : int, optional
        The fewest frames of a bias, dark or flat; the recipes say it unless told.

    Raises
    ------
    PlanError
        If a step left out would make another give wrong numbers.
    """
    without = tuple(step for step in STEPS if step in set(without))
    ordered = sorted(frames, key=lambda f: (f.origin, f.file))
    planner = _Planner(ordered, without, tuple(keep), tuple(reject), min_frames)
    return planner.plan()


@dataclass(frozen=True)
class _Part:
    """Frames of one type that were set alike."""

    frames: tuple[Frame, ...]
    others: tuple[tuple[str, object], ...] = ()
    """The unlisted cards that part them from others, and their values."""
    notes: tuple[str, ...] = ()
    among: str = ""
    by_temperature: bool = False


@dataclass(frozen=True)
class _Draft:
    """A master that has no name yet."""

    master: Master
    setup: FrameSetup
    origin: str
    others: tuple[tuple[str, object], ...]
    tolerance: float
    notes: tuple[str, ...] = ()


class _Planner:
    """Builds a plan; the plan itself is data."""

    def __init__(
        self,
        frames: list[Frame],
        without: tuple[str, ...],
        keep: tuple[str, ...],
        reject: tuple[str, ...],
        min_frames: int | None,
    ):
        self.frames = frames
        self.without = without
        self.keep = keep
        self.reject = reject
        self.min_frames = min_frames
        self.masters: dict[str, Master] = {}
        self._alike: dict[tuple, list[Master]] = {}
        self._readers: dict[int, SetupReader] = {}
        self._setups: dict[str, FrameSetup] = {}
        self._of_master: dict[str, FrameSetup] = {}
        self._comparisons: dict[tuple, tuple[list[int], list[int]]] = {}
        self._split_notes: list[str] = []
        self._other_cards: dict[str, tuple[tuple[str, object], ...]] = {}
        self._choice_notes: dict[tuple, list[tuple[str, float | None]]] = {}
        self.missing: dict[str, Missing] = {}
        self.of_type: dict[str, list[Frame]] = {}
        self.wanted: set[tuple] = set()
        for frame in (f for f in frames if f.verdict == ACCEPTED and not f.master):
            self.of_type.setdefault(frame.type, []).append(frame)
            setup = _setup(frame)
            asked = (kind for kind in STEPS if getattr(frame.recipe, kind))
            self.wanted.update((kind, setup) for kind in asked)
        for frame in frames:
            if frame.recipe is not None:
                _check_without(frame, without)

    def plan(self) -> Plan:
        for frame in self.frames:
            if frame.master and frame.verdict == ACCEPTED:
                self._adopt(frame)
        self._masters("bias", self._groups("bias", lambda f: ()))
        self._masters("dark", self._dark_groups())
        self._masters("flat", self._groups("flat", lambda f: (f.filter,)))
        self._masters("arc", self._groups("arc", lambda f: (f.filter,)))
        products = self._products()
        profiles = {f.profile.name: f.profile.hash for f in self.frames if f.profile}
        return Plan(
            masters=tuple(self.masters.values()),
            products=products,
            missing=tuple(self.missing[file] for file in sorted(self.missing)),
            set_aside=tuple((f.file, f.reason) for f in self.frames if f.verdict == SET_ASIDE),
            notes=tuple(self._notes()),
            without=self.without,
            profiles=tuple(sorted(profiles.items())),
            found=len(self.frames),
            ignored=sum(f.verdict == IGNORED for f in self.frames),
            keep=self.keep,
            reject=self.reject,
            min_frames=self.min_frames,
            together=tuple((step, self._together(step)) for step in STEPS),
        )

    # Groups of frames that become one master.

    def _groups(self, kind: str, more: Callable[[Frame], tuple]) -> list[list[Frame]]:
        groups: dict[tuple, list[Frame]] = {}
        for frame in self.of_type.get(kind, ()):
            key = (
                frame.origin,
                _setup(frame),
                _match(kind, frame),
                _made(kind, frame),
                *more(frame),
            )
            groups.setdefault(key, []).append(frame)
        return list(groups.values())

    def _dark_groups(self) -> list[list[Frame]]:
        """Darks of one exposure; exposures that differ by less than 1 % and the tolerance are one."""
        groups = []
        for frames in self._groups("dark", lambda f: ()):
            tolerance = frames[0].recipe.exposure_tolerance.to_value(u.s)
            group: list[Frame] = []
            for frame in sorted(frames, key=lambda f: (f.exposure or 0, f.file)):
                first = group[0].exposure if group else frame.exposure
                if (frame.exposure or 0) - (first or 0) > min(tolerance, 0.01 * (first or 0)):
                    groups.append(sorted(group, key=lambda f: f.file))
                    group = []
                group.append(frame)
            groups.append(sorted(group, key=lambda f: f.file))
        return groups

    def _masters(self, kind: str, groups: list[list[Frame]]) -> None:
        drafts: list[_Draft] = []
        for frames in groups:
            if self._wanted(kind, frames[0]):
                for part in self._parts(kind, frames):
                    drafts += self._drafts(kind, part)
        for draft, name in zip(drafts, self._names(drafts), strict=True):
            self._keep(dataclasses.replace(draft.master, name=name), draft.setup, draft.others)
            self._split_notes += [f"{name}: {note}" for note in draft.notes]

    def _drafts(self, kind: str, part: _Part) -> Iterable[_Draft]:
        """Make the masters of frames that were set alike, but for their names."""
        # Darks and arcs lose their bias once they are combined, so it must be one.
        by_bias: dict[str | None, list[tuple[Frame, Input]]] = {}
        for frame in part.frames:
            chosen = self._input(frame)
            if chosen is not None:
                shared = None if kind == "flat" else chosen.bias
                by_bias.setdefault(shared, []).append((frame, chosen))
        notes = part.notes
        for used in by_bias.values():
            draft = self._draft(kind, part, [f for f, _ in used], tuple(i for _, i in used))
            if draft is not None:
                yield dataclasses.replace(draft, notes=notes)
                notes = ()

    # How frames were set.

    def _setup_of(self, frame: Frame) -> FrameSetup:
        if frame.file not in self._setups:
            reader = self._reader(frame.profile)
            self._setups[frame.file] = reader.read(frame.header, bool(frame.master))
        return self._setups[frame.file]

    def _reader(self, profile: Profile) -> SetupReader:
        if id(profile) not in self._readers:
            self._readers[id(profile)] = SetupReader(profile)
        return self._readers[id(profile)]

    def _parts(self, kind: str, frames: list[Frame]) -> list[_Part]:
        """Part frames of one would-be master that were not set alike, and say so."""
        setups = [self._setup_of(f) for f in frames]
        tolerance = _tolerance(frames[0])
        drifting = kind == "bias"
        if kind in ("flat", "arc"):
            self._note_drift(kind, frames, tolerance)
            tolerance = inf
        labels = same_setup(setups, tolerance, drifting)
        groups = [
            [f for f, n in zip(frames, labels, strict=True) if n == m] for m in sorted({*labels})
        ]
        if drifting:
            for group in groups:
                self._note_drift(kind, group, tolerance)
        parts = [part for group in groups for part in self._by_other_cards(kind, group)]
        if len(parts) == 1:
            return parts
        means = [mean_setup([self._setup_of(f) for f in group]) for group in groups]
        places = differing_places(setups, tolerance, drifting)
        differences = self._differences(groups, means, places, parts)
        what = (
            f"{len(frames)} {_plural(kind)}{_kind_of(kind, frames[0])} of {frames[0].profile.name}"
        )
        if frames[0].profile.mixed_setup == "refuse":
            self._refuse(frames, what, differences)
            return []
        self._split_notes.append(
            f"the {what} were not set alike ({differences}); frames of different settings are "
            "not combined"
        )
        return [
            dataclasses.replace(
                part, among=self._phrase(part, places), by_temperature=CHIP in places
            )
            for part in parts
        ]

    def _note_drift(self, kind: str, frames: list[Frame], tolerance: float) -> None:
        """Note frames of several chip temperatures that are combined all the same.

        The response of a pixel and the level of a bias hardly depend on the temperature;
        the dark current does, and each flat has its own dark subtracted.
        """
        chips = [chip for f in frames if (chip := self._setup_of(f).chip) is not None]
        if chips and max(chips) - min(chips) > tolerance:
            what = "level hardly depends" if kind == "bias" else "light does not depend"
            self._split_notes.append(
                f"the chips of {len(frames)} {_plural(kind)}{_kind_of(kind, frames[0])} of "
                f"{frames[0].profile.name} were at {_range_of(chips)}; they are combined, as their "
                f"{what} on it"
            )

    def _phrase(self, part: _Part, places: list[int]) -> str:
        mine = mean_setup([self._setup_of(f) for f in part.frames])
        # The temperature of a chip is a field of the master itself.
        text = mine.phrase(p for p in places if p != CHIP)
        return text + _cards_phrase(part.others, text)

    def _differences(
        self,
        groups: list[list[Frame]],
        means: list[FrameSetup],
        places: list[int],
        parts: list[_Part],
    ) -> str:
        """Describe which cards differ, and in how many frames they have which value."""
        files = [f.file for group in groups for f in group]
        # Groups that another card parts are as cold as each other but for the jitter.
        digits = 1 if _tolerance(groups[0][0]) >= 2 else 2
        texts = []
        for place in places:
            values = [
                shown(
                    place,
                    _rounded(mean.values[place], digits)
                    if SETUP[place].within
                    else mean.values[place],
                )
                for group, mean in zip(groups, means, strict=True)
                for _ in group
            ]
            cards = {m.cards[place] for m in means if m.values[place] is not None}
            texts.append(f"{'/'.join(sorted(cards))} is {tally(values, files)}")
        for card in sorted({card for part in parts for card, _ in part.others}):
            files = [f.file for part in parts for f in part.frames]
            values = [
                _shown(dict(part.others).get(card, part.frames[0].header.get(card)))
                for part in parts
                for _ in part.frames
            ]
            texts.append(f"{card} is {tally(values, files)}")
        return "; ".join(texts)

    def _refuse(self, frames: list[Frame], what: str, differences: str) -> None:
        """Make no master of frames that were not set alike, as their profile wants it."""
        for frame in frames:
            reason = (
                f"{frame.file}: the {what} were not set alike ({differences}), where "
                "mixed_setup='refuse' asks for one setting; leave out those of the wrong one, or "
                "write mixed_setup='split' for a master of each."
            )
            self.missing[frame.file] = Missing(frame.file, "mixed-setup", reason)

    def _by_other_cards(self, kind: str, frames: list[Frame]) -> list[_Part]:
        """Part frames by unlisted cards whose name speaks of the read-out; name the others."""
        found = dividing_cards([f.header for f in frames], kind, frames[0].profile)
        clear = [(card, values) for card, values in found if about_readout(card)]
        parts: dict[tuple, list[Frame]] = {}
        for number, frame in enumerate(frames):
            parts.setdefault(tuple(v[number] for _, v in clear), []).append(frame)
        files = [f.file for f in frames]
        unclear = [
            f"{card} is {tally([_shown(v) for v in values], files)}"
            for card, values in found
            if not about_readout(card)
        ]
        notes = ()
        if unclear:
            more = f"; and {len(unclear) - 3} other cards divide them" if unclear[3:] else ""
            what = "light or the read-out" if kind in ("flat", "arc") else "read-out"
            notes = (
                f"{'; '.join(unclear[:3])}{more}; a card that changes the {what} belongs into "
                "match=, one that does not into ignore_cards=",
            )
        return [
            _Part(
                tuple(members),
                tuple((c, v) for (c, _), v in zip(clear, values, strict=True)),
                notes,
            )
            for values, members in parts.items()
        ]

    def _wanted(self, kind: str, frame: Frame) -> bool:
        """Say whether a frame that was read out alike asks for such a master."""
        if kind in self.without or (kind == "flat" and frame.recipe.flat is None):
            return False
        return kind == "arc" or (kind, _setup(frame)) in self.wanted

    def _draft(
        self, kind: str, part: _Part, frames: list[Frame], inputs: tuple[Input, ...]
    ) -> _Draft | None:
        """Describe a master, or say that its frames are too few."""
        first = frames[0]
        exposures = [f.exposure for f in frames if f.exposure is not None]
        exposure = sum(exposures) / len(exposures) if exposures else None
        method = first.recipe.combine_for(kind).method
        if method == "sum" and exposures:
            exposure = sum(exposures)
        setup = mean_setup([self._setup_of(f) for f in frames])
        looked_at = kind == "dark" and first.recipe.limits.temperature is not None
        master = Master(
            name="",
            type=kind,
            inputs=inputs,
            profile=first.profile.name,
            readout=first.readout,
            binning=first.binning,
            exposure=exposure,
            filter=first.filter if kind in ("flat", "arc") else None,
            match=_match(kind, first),
            method=method,
            time=_mean_time(frames),
            bias_off=inputs[0].bias is not None,
            minimum=self._minimum(kind, first),
            temperature=setup.chip if looked_at or part.by_temperature else None,
            settings=_known(setup),
            among=part.among or _of_match(kind, first),
        )
        if len(inputs) < master.minimum:
            for frame in frames:
                few = f"{frame.file}: {too_few(master, len(inputs))}"
                self.missing[frame.file] = Missing(frame.file, "few-frames", few)
            return None
        return _Draft(master, setup, first.origin, part.others, tolerance=_tolerance(first))

    def _keep(
        self, master: Master, setup: FrameSetup, others: tuple[tuple[str, object], ...] = ()
    ) -> None:
        self.masters[master.name] = master
        self._of_master[master.name] = setup
        self._other_cards[master.name] = others
        self._alike.setdefault((master.type, master.setup, master.match), []).append(master)

    def _minimum(self, kind: str, frame: Frame) -> int:
        """Say of how many frames a master is made at least; arcs are summed, and one will do."""
        if self.min_frames is not None and kind != "arc":
            return self.min_frames
        return frame.recipe.limits.frames[kind]

    def _adopt(self, frame: Frame) -> None:
        """Take a master of another night as it is."""
        master = Master(
            name=f"{CALIBRATIONS}{frame.file}",
            type=frame.type,
            inputs=(),
            profile=frame.profile.name,
            readout=frame.readout,
            binning=frame.binning,
            exposure=frame.exposure,
            filter=frame.filter,
            match=_match(frame.type, frame),
            time=time_of(frame.date),
            path=str(frame.path),
            bias_off="ZEROCOR" in frame.header,
            temperature=frame.header.get("CPTEMP"),
            settings=_known(self._setup_of(frame)),
        )
        self._keep(master, self._setup_of(frame))

    def _names(self, drafts: list[_Draft]) -> list[str]:
        """Name masters; those that would share a name say in which card they differ."""
        sharing: dict[str, list[int]] = {}
        for number, draft in enumerate(drafts):
            sharing.setdefault(_stem(draft.master).lower(), []).append(number)
        words: dict[int, list[str]] = {}
        for numbers in sharing.values():
            columns = _word_columns([drafts[n] for n in numbers])
            words.update(zip(numbers, columns, strict=True))
        taken = [name.lower() for name in self.masters]
        names = []
        for number, draft in enumerate(drafts):
            names.append(_free_name(draft.master, words[number], draft.origin, taken))
            taken.append(names[-1].lower())
        return names

    # The masters that a frame needs.

    def _input(self, frame: Frame) -> Input | None:
        """Choose the masters of a frame, or say what is missing."""
        kind, recipe = frame.type, frame.recipe
        bias = dark = flat = None
        scale = 1.0
        if kind != "bias" and recipe.bias and "bias" not in self.without:
            bias = self._bias(frame)
            if bias is None:
                return None
        if kind in ("flat", "science") and recipe.dark and "dark" not in self.without:
            dark = self._dark(frame, bias is not None)
            if dark is None:
                return None
            if recipe.dark == "scale":
                scale = frame.exposure / dark.exposure
        if kind in ("flat", "science") and recipe.flat and "flat" not in self.without:
            if self._holds_pedestal(frame, bias, dark):
                return self._lacks(
                    frame,
                    "pedestal",
                    "its pedestal is still in it, and a flat must not divide a pedestal; "
                    "leave the flat out too, or take the dark or bias along.",
                )
            if kind == "science":
                flat = self._flat(frame)
                if flat is None:
                    return None
        for master in (bias, dark, flat):
            if master is not None:
                self._note_choice(master, frame)
        return Input(
            file=frame.file,
            bias=bias and bias.name,
            dark=dark and dark.name,
            dark_scale=scale,
            flat=flat and flat.name,
        )

    def _together(self, step: str) -> tuple[str, ...]:
        """Return all that must be left out if a step is, so that no number is wrong."""
        out = {*self.without, step}
        frames = [f for kind in ("flat", "science") for f in self.of_type.get(kind, ())]
        if "bias" in out and any(f.recipe.dark == "scale" for f in frames):
            out.add("dark")
        if any(
            f.recipe.flat
            and not f.amplifiers.has_overscan
            and all(s in out or not getattr(f.recipe, s) for s in ("bias", "dark"))
            for f in frames
        ):
            out.add("flat")
        return tuple(s for s in STEPS if s in out)

    def _holds_pedestal(self, frame: Frame, bias: Master | None, dark: Master | None) -> bool:
        return not (frame.amplifiers.has_overscan or bias or dark)

    def _bias(self, frame: Frame) -> Master | None:
        same = self._candidates("bias", frame)
        fitting = [m for m in same if not self._blocked(m, frame)]
        if fitting:
            return _first(fitting, lambda m: (*self._unlike(m, frame), _apart(m, frame), m.name))
        if same:
            return self._lacks(frame, "no-bias", f"no bias{self._set_otherwise(same, frame)}")
        return self._lacks(
            frame, "no-bias", f"no bias of {_described(frame)}{self._others('bias', frame)}."
        )

    def _dark(self, frame: Frame, bias_off: bool) -> Master | None:
        recipe = frame.recipe
        tolerance = recipe.exposure_tolerance.to_value(u.s)
        # A dark that holds its bias would subtract it twice, one without it not at all.
        there = [m for m in self._candidates("dark", frame) if m.bias_off == bias_off]
        same = [m for m in there if not self._blocked(m, frame)]
        off = {m.name: abs(m.exposure - frame.exposure) for m in there}
        if recipe.dark == "scale":
            # Hardly scaled, so as good as matched.
            tolerance = min(tolerance, 0.01 * frame.exposure)
        near = [m for m in same if off[m.name] <= tolerance]
        if near:
            return _first(
                near,
                lambda m: (
                    *self._unlike(m, frame),
                    round(off[m.name], 1),
                    _apart(m, frame),
                    m.name,
                ),
            )
        if recipe.dark == "scale" and same:
            # The longest dark holds the least noise once it is scaled down.
            return _first(
                same,
                lambda m: (*self._unlike(m, frame), -m.exposure, _apart(m, frame), m.name),
            )
        blocked = [m for m in there if m not in same and off[m.name] <= tolerance]
        if blocked or (there and not same):
            why = self._dark_set_otherwise(blocked or there, frame)
            return self._lacks(frame, "no-dark", f"no dark{why}")
        wanted = (
            "any exposure"
            if recipe.dark == "scale"
            else (f"{seconds(frame.exposure)} ± {seconds(tolerance)}")
        )
        if same:
            best = min(same, key=lambda m: (off[m.name], m.name))
            hint = f"; nearest is {seconds(best.exposure)}, {seconds(off[best.name])} off"
            if bias_off and recipe.bias and any(m.exposure > frame.exposure for m in same):
                hint += ". To scale a longer one: dark='scale' in the recipe (--set dark=scale)"
        else:
            hint = f" and {_described(frame)}{self._others('dark', frame)}"
        return self._lacks(frame, "no-dark", f"no dark of {wanted}{hint}.")

    # Whether a master was set as the frame was.

    def _compared(self, master: Master, frame: Frame) -> tuple[list[int], list[int]]:
        setup, tolerance = self._setup_of(frame), _tolerance(frame)
        # Frames that were set alike share their set-up, which is kept as long as the plan.
        key = (master.name, id(setup), tolerance)
        if key not in self._comparisons:
            self._comparisons[key] = setup.compared(self._of_master[master.name], tolerance)
        return self._comparisons[key]

    def _blocked(self, master: Master, frame: Frame) -> list[int]:
        """Return the quantities for which a bias or dark is wrong for a frame.

        The level of a bias hardly depends on the temperature, the current in a dark does.
        """
        differ, lack = self._compared(master, frame)
        if master.type == "bias":
            return [p for p in differ if not SETUP[p].within]
        if CHIP not in differ and CHIP not in lack and self._setup_of(frame).chip is not None:
            # How cold the chips were counts, whatever they were meant to be.
            differ = [p for p in differ if not SETUP[p].within]
        strict = frame.recipe.limits.temperature is not None
        unknown = CHIP in lack and self._of_master[master.name].chip is None
        return [*differ, CHIP] if strict and unknown else differ

    def _flat_unlike(self, master: Master, frame: Frame) -> tuple[int, int, int]:
        """Count as `_unlike` does, first what may change the response of a pixel."""
        differ, _ = self._compared(master, frame)
        others = len(self._unlike_cards(master, frame))
        return sum(SETUP[p].of_flat for p in differ) + others, *self._unlike(master, frame)

    def _unlike(self, master: Master, frame: Frame) -> tuple[int, int]:
        """Count the quantities in which a master that may be taken differs, and that are not known."""
        differ, lack = self._compared(master, frame)
        return len(differ) + len(self._unlike_cards(master, frame)), len(lack)

    def _unlike_cards(self, master: Master, frame: Frame) -> tuple[tuple[str, object], ...]:
        """Return the unlisted cards that part a master from others, where the frame's differ."""
        return tuple(
            (card, value)
            for card, value in self._other_cards[master.name]
            if not same_value(value, plain_value(frame.header.get(card)))
        )

    def _set_otherwise(self, masters: list[Master], frame: Frame) -> str:
        """Describe which setting a frame needs, and which settings there are."""
        blocked = {m.name: self._blocked(m, frame) for m in masters}
        wanted = self._setup_of(frame).phrase({p for places in blocked.values() for p in places})
        there = {self._of_master[name].phrase(places) for name, places in blocked.items()}
        return (
            f"{wanted}; there are {_plural(masters[0].type)}{', or'.join(sorted(there)[:3])}; if a "
            "card does not matter, name it in ignore_cards= of the profile."
        )

    def _dark_set_otherwise(self, masters: list[Master], frame: Frame) -> str:
        if any(self._blocked(m, frame) != [CHIP] for m in masters):
            return f" of {seconds(frame.exposure)}{self._set_otherwise(masters, frame)}"
        limit = _tolerance(frame)
        chips = {self._of_master[m.name].chip for m in masters} - {None}
        there = ", ".join(sorted(f"{chip:.4g}" for chip in chips)) or "unknown"
        degrees = self._setup_of(frame).chip
        return f" of {degrees:.4g} ± {limit:g} °C; there are darks of {there} °C."

    def _note_choice(self, master: Master, frame: Frame) -> None:
        """Note in which cards a master that is taken differs, or may differ."""
        differ, lack = self._compared(master, frame)
        others = self._unlike_cards(master, frame)
        if not (differ or lack or others):
            return
        setup, its = self._setup_of(frame), self._of_master[master.name]
        if master.type == "flat":
            differ = [p for p in differ if SETUP[p].of_flat]
            lack = [p for p in lack if SETUP[p].of_flat]
        mine = tuple((card, plain_value(frame.header.get(card))) for card, _ in others)
        for places, cards, own, end in (
            (differ, others, mine, "there is none nearer"),
            (lack, (), (), "it is taken, as nobody knows whether they agree"),
        ):
            if places or cards:
                of_master, of_frame = its.phrase(places), _but_chip(setup, places)
                of_master += _cards_phrase(cards, of_master)
                of_frame += _cards_phrase(own, of_frame)
                key = (master.name, of_master, of_frame, end)
                chip = setup.chip if CHIP in places else None
                self._choice_notes.setdefault(key, []).append((frame.file, chip))

    def _setup_notes(self) -> Iterable[str]:
        """Describe frames whose settings differ, and masters whose setting is not certain."""
        yield from self._split_notes
        for (name, its, mine, end), asking in self._choice_notes.items():
            # What is set aside after all takes no master.
            files = [file for file, _ in asking if file not in self.missing]
            if not files:
                continue
            which = (
                files[0] if len(files) == 1 else f"{len(files)} frames ({files[0]} … {files[-1]})"
            )
            chips = [t for file, t in asking if t is not None and file not in self.missing]
            degrees = f" at {_range_of(chips)}" if chips else ""
            yield f"{name} was taken{its}, and {which}, whose master it is,{mine}{degrees}; {end}"

    def _gain_notes(self) -> Iterable[str]:
        """Name the science frames whose header has a gain far from that of the profile."""
        for frame in self.of_type.get("science", ()):
            profile = frame.profile
            # A function of the header has made its choice.
            if profile.amplifiers_vary or "gain" in frame.amplifiers.missing:
                continue
            setup, gains = self._setup_of(frame), [r.gain for r in frame.amplifiers.readouts]
            own = setup.values[EGAIN]
            if not isinstance(own, float) or own <= 0:
                continue
            if all(max(own / gain, gain / own) > _GAIN_RATIO for gain in gains):
                says = " and ".join(f"{gain:g}" for gain in sorted(set(gains)))
                yield (
                    f"{frame.file}: {setup.cards[EGAIN]} = {own:g} electrons per adu, where the "
                    f"profile {profile.name} says {says}; the profile's gain is used for "
                    "uncertainties and electrons. Let gain= read the card if it is right, or name "
                    "the card in ignore_cards= if it is not."
                )

    def _date_notes(self) -> Iterable[str]:
        """Name the frames whose date cannot be read, as time decides between masters."""
        undated: dict[str, list[Frame]] = {}
        for frame in self.frames:
            if frame.verdict == ACCEPTED and frame.date and time_of(frame.date) is None:
                cards = frame.profile.date
                label = "the date" if callable(cards) else cards
                label = label if isinstance(label, str) else "/".join(label)
                undated.setdefault(label, []).append(frame)
        for label, frames in undated.items():
            more = "" if len({f.date for f in frames}) == 1 else " or the like"
            yield (
                f"{_count_of(frames).removesuffix(' is').removesuffix(' are')}: {label} = "
                f"{frames[0].date[:60]!r}{more} is no date and time as 2018-08-22T03:14:15; which "
                "master is nearest in time cannot be decided by it"
            )

    def _flat(self, frame: Frame) -> Master | None:
        same = self._candidates("flat", frame)
        fitting = [m for m in same if m.filter == frame.filter]
        if fitting:
            return _first(
                fitting, lambda m: (*self._flat_unlike(m, frame), _apart(m, frame), m.name)
            )
        wanted = "no flat" + (f" in filter {frame.filter}" if frame.filter else " without a filter")
        if same:
            others = ", ".join(sorted({m.filter or "no filter" for m in same}))
            reason = f"{wanted}; there are flats in {others}."
        else:
            reason = f"{wanted} of {_described(frame)}{self._others('flat', frame)}."
        return self._lacks(frame, "no-flat", reason)

    def _candidates(self, kind: str, frame: Frame) -> list[Master]:
        return self._alike.get((kind, _setup(frame), _match(kind, frame)), [])

    def _others(self, kind: str, frame: Frame) -> str:
        """Say what the nearest master of this kind differs in."""
        others = [m for m in self.masters.values() if m.type == kind]
        mine = [m for m in others if m.profile == frame.profile.name]
        if not mine:
            unused = self.of_type.get(kind, ())
            same = [f for f in unused if f.profile.name == frame.profile.name]
            if same:
                return f"; the {len(same)} there cannot be used, as said of them"
            return f"; the night has none of {frame.profile.name}"
        told = []
        for master in mine:
            if master.binning != frame.binning:
                told.append(
                    f"{PurePosixPath(master.name).stem} is binned {_binning(master.binning)}"
                )
            elif (
                kind == "dark"
                and master.match == _match(kind, frame)
                and (master.readout == frame.readout)
            ):
                state = "without" if master.bias_off else "with"
                told.append(f"{PurePosixPath(master.name).stem} was made {state} its bias")
            elif (shape := self._shape_of(master)) not in (None, frame.shape):
                told.append(f"{PurePosixPath(master.name).stem} has {shape[1]}x{shape[0]} pixels")
            elif master.readout != frame.readout:
                told.append(f"{PurePosixPath(master.name).stem} was read out by other amplifiers")
            else:
                wrong = set(master.match) - set(_match(kind, frame))
                cards = ", ".join(f"{card} = {value}" for card, value in sorted(wrong, key=str))
                told.append(f"{PurePosixPath(master.name).stem} has {cards or 'other cards'}")
        return "; " + "; ".join(sorted(told)[:3])

    def _shape_of(self, master: Master) -> tuple[int, int] | None:
        """Return the shape of the raw frames of a master, where it is made of this night's."""
        return self._shapes[master.inputs[0].file] if master.inputs else None

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, int]]:
        return {frame.file: frame.shape for frame in self.frames}

    def _lacks(self, frame: Frame, code: str, reason: str) -> None:
        if frame.origin:
            return  # of another night; what needs it says so
        self.missing[frame.file] = Missing(frame.file, code, f"{frame.file}: {reason}")

    def _products(self) -> tuple[Product, ...]:
        products: dict[str, Product] = {}
        taken: set[str] = set()
        for frame in self.of_type.get("science", ()):
            chosen = self._input(frame)
            if chosen is not None:
                name = _product_name(frame)
                # Some file systems do not tell A.fits from a.fits.
                if name.lower() in taken:
                    told = hashlib.sha256(frame.file.encode()).hexdigest()[:6]
                    name = name.removesuffix(".fits") + f"_{told}.fits"
                taken.add(name.lower())
                products[name] = Product(name, chosen)
        return tuple(products.values())

    def _not_read(self) -> Iterable[str]:
        """Say which files may hold frames and are not read; if nothing is left, all of them."""
        ignored = [f for f in self.frames if f.verdict == IGNORED and not f.origin]
        packed = [f for f in ignored if f.file.lower().endswith(_PACKED)]
        if packed:
            kinds = ", ".join(sorted({PurePosixPath(f.file).suffix for f in packed}))
            yield f"{_count_of(packed)} packed in a way that is not read ({kinds}); unpack them"
        if self.masters or self.of_type.get("science"):
            return
        products = [f for f in ignored if f.code == "product"]
        if products:
            yield (
                f"{_count_of(products)} made by ccdprofiles; give the folder of the raw night, or "
                "masters of another night with calibrations=[FOLDER] (--calibrations)"
            )
        yield from grouped(f.reason for f in ignored if f not in packed and f not in products)

    def _notes(self) -> Iterable[str]:
        """Say which plane or check each camera's products will lack, and why."""
        if self.masters and not self.of_type.get("science"):
            yield "the night has no science frame; only masters are made"
        yield from self._not_read()
        beyond = {f.file for f in self.frames if f.verdict != ACCEPTED}
        for file in sorted(beyond & set(self.keep)):
            yield f"{file} cannot be kept, as not its pixels but its header rules it out"
        yield from grouped(n for f in self.frames if f.verdict == ACCEPTED for n in f.notes)
        yield from self._date_notes()
        yield from grouped(self._gain_notes())
        yield from self._setup_notes()
        for master in self.masters.values():
            if len(master.inputs) == 1:
                yield f"{master.name} is made of one frame; a cosmic ray in it stays"
        lacking: dict[str, set[str]] = {}
        for frame in self.frames:
            if frame.verdict == ACCEPTED and frame.amplifiers is not None:
                lacking.setdefault(frame.profile.name, set()).update(frame.amplifiers.missing)
        adu = {
            f.profile.name
            for f in self.of_type.get("science", ())
            if f.recipe.electrons and "gain" in f.amplifiers.missing
        }
        for name, numbers in sorted(lacking.items()):
            if name in adu:
                yield f"{name}: the products stay in adu, as nobody knows its gain"
            noise = [n.replace("_", " ") for n in ("gain", "read_noise") if n in numbers]
            if noise:
                yield f"{name}: no uncertainty, as nobody knows its {' and '.join(noise)}"
            if "saturation" in numbers:
                yield f"{name}: saturated pixels are not flagged, as nobody knows the level"


def _count_of(frames: Sequence[Frame]) -> str:
    if len(frames) == 1:
        return f"{frames[0].file} is"
    return f"{len(frames)} files ({frames[0].file} … {frames[-1].file}) are"


def check_steps(steps: Iterable[str]) -> tuple[str, ...]:
    """Refuse a step that cannot be left out.

    Raises
    ------
    PlanError
    """
    steps = (steps,) if isinstance(steps, str) else tuple(steps)
    for step in steps:
        if step not in STEPS:
            raise PlanError(
                f"without={step!r} is no step that can be left out; "
                f"these can: {', '.join(STEPS)}{nearest(step, STEPS)}."
            )
    return steps


def _check_without(frame: Frame, without: tuple[str, ...]) -> None:
    if frame.recipe.dark == "scale" and "bias" in without and "dark" not in without:
        raise PlanError(
            f"without bias the darks of {frame.profile.name} would be scaled with their bias in them; "
            "leave the dark out too, or keep the bias."
        )


def _setup(frame: Frame) -> tuple:
    return frame.profile.name, frame.readout, frame.binning


def _match(kind: str, frame: Frame) -> tuple:
    """Return the further cards that a master of this kind shares; an arc those of a flat."""
    return frame.profile.match_of("flat" if kind == "arc" else kind, frame.header)


def _made(kind: str, frame: Frame) -> str:
    """Tell how a frame becomes a master; frames of different recipes do not mix."""
    recipe = frame.recipe
    of_flat = (recipe.flat, recipe.electrons) if kind == "flat" else ()
    return repr((recipe.overscan, recipe.combine_for(kind), *of_flat))


def _apart(master: Master, frame: Frame) -> float:
    when = time_of(frame.date)
    return abs(master.time - when) if master.time is not None and when is not None else float("inf")


def _of_match(kind: str, frame: Frame) -> str:
    """Write the cards of ``match`` for a bias or dark, whose name does not say them."""
    cards = _match(kind, frame) if kind in ("bias", "dark") else ()
    text = " and ".join(f"{card} {_shown_after(value)}" for card, value in cards)
    return f" with {text}" if text else ""


def _shown_after(value: object) -> str:
    return "missing" if value is None else f"= {_shown(value)}"


def _rounded(degrees: float | None, digits: int) -> float | None:
    return None if degrees is None else round(degrees, digits) + 0.0


def _first(masters: list[Master], key: Callable[[Master], tuple]) -> Master:
    """Return the smallest master; mostly there is one, and nothing has to be compared."""
    return masters[0] if len(masters) == 1 else min(masters, key=key)


def _tolerance(frame: Frame) -> float:
    limit = frame.recipe.limits.temperature
    return TOLERANCE if limit is None else float(limit.value)


def _known(setup: FrameSetup) -> tuple[tuple[str, float | str], ...]:
    pairs = zip(setup.cards, setup.values, strict=True)
    return tuple((card, value) for card, value in pairs if value is not None)


def _shown(value: object) -> str:
    return "missing" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _range_of(chips: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{chip:.4g}" for chip in (min(chips), max(chips)))
    return f"{' to '.join(ends)} °C"


def _but_chip(setup: FrameSetup, places: Iterable[int]) -> str:
    """Write the values of a set-up but for a known temperature of the chip."""
    return setup.phrase(p for p in places if p != CHIP or setup.chip is None)


def _cards_phrase(cards: Iterable[tuple[str, object]], before: str) -> str:
    """Write the values of unlisted cards as `FrameSetup.phrase` does those of the others."""
    text = ""
    for card, value in cards:
        text += f"{' and' if before or text else ' with'} {card} {_shown_after(value)}"
    return text


def _kind_of(kind: str, frame: Frame) -> str:
    return (
        f" of {seconds(frame.exposure)}"
        if kind == "dark"
        else (_in(frame.filter) if kind in ("flat", "arc") else "")
    )


def _stem(master: Master, words: Sequence[str] = ()) -> str:
    """Return the name of a master without its folder, with words for its setting."""
    parts = [master.profile, master.type]
    if master.type == "dark":
        parts.append(seconds(master.exposure).replace(" ", ""))
    if master.type in ("flat", "arc"):
        parts += [value for value in (master.filter, *dict(master.match).values()) if value]
    parts += words
    parts.append(f"{master.binning[0]}x{master.binning[1]}")
    return "_".join(file_name(part) for part in parts)[:180]


def _free_name(master: Master, words: Sequence[str], origin: str, taken: Sequence[str]) -> str:
    """Name a master; a hash is put to the name where no word distinguishes it from another."""
    stem = _stem(master, words)
    name = f"{MASTERS}/{stem}.fits"
    # Some file systems do not tell R from r.
    if name.lower() in taken:
        told = repr(
            (
                master.readout,
                master.match,
                master.filter,
                master.exposure,
                origin,
                *(() if master.temperature is None else (master.temperature,)),
            )
        )
        name = f"{MASTERS}/{stem}_{hashlib.sha256(told.encode()).hexdigest()[:6]}.fits"
    return name


def _word_columns(drafts: list[_Draft]) -> list[list[str]]:
    """Return for each of some masters the fewest words for settings that distinguish them."""
    chosen: list[list[str]] = [[] for _ in drafts]
    if len(drafts) == 1:
        return chosen
    columns = []
    if drafts[0].master.type in ("bias", "dark"):
        for card in dict(drafts[0].master.match):
            columns.append([_card_word(card, dict(d.master.match).get(card)) for d in drafts])
    setups = [d.setup for d in drafts]
    columns += setting_words(setups, drafts[0].tolerance)
    for card in sorted({card for d in drafts for card, _ in d.others}):
        columns.append([_card_word(card, dict(d.others).get(card)) for d in drafts])
    # Groups of a temperature that drifts have means nearer than the tolerance.
    columns += setting_words(setups, 0.5)
    for column in columns:
        finer = [[*words, file_name(word)] for words, word in zip(chosen, column, strict=True)]
        if _kinds(finer) > _kinds(chosen):
            chosen = finer
    return chosen


def _kinds(names: Iterable[Sequence[str]]) -> int:
    """Count names as a file system does for which R and r are the same."""
    return len({tuple(word.lower() for word in words) for words in names})


def _card_word(card: str, value: object) -> str:
    word = re.sub(r"[^a-z0-9]+", "_", " ".join(card.lower().split()[-2:]))
    return word_for(word, plain_value(value))


def _mean_time(frames: list[Frame]) -> float | None:
    times = [t for f in frames if (t := time_of(f.date)) is not None]
    return sum(times) / len(times) if times else None


def _described(frame: Frame) -> str:
    rows, columns = frame.shape
    return f"{columns}x{rows} pixels binned {_binning(frame.binning)}"


def _binning(binning: tuple[int, int]) -> str:
    return f"{binning[0]}x{binning[1]}"


def _product_name(frame: Frame) -> str:
    folder, slash, name = frame.file.rpartition("/")
    stem = _SUFFIXES.sub("", name)
    if len(stem.encode()) > 180:
        # A name has 255 bytes at most, and the temporary one is longer.
        told = hashlib.sha256(stem.encode()).hexdigest()[:6]
        stem = stem.encode()[:170].decode(errors="ignore") + f"_{told}"
    return f"{SCIENCE}/{folder}{slash}{frame.recipe.name.format(stem=stem)}.fits"
