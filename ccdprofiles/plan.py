"""From the frames of a night to what will be made of what, and what cannot; no pixel is read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import PurePosixPath

from astropy import units as u

from .errors import PlanError
from .frames import ACCEPTED, IGNORED, SET_ASIDE, Frame
from .notebook import folded
from .profile import nearest

__all__ = ["STEPS", "Input", "Master", "Missing", "Plan", "Product", "make_plan"]

STEPS = ("bias", "dark", "flat")
"""The steps that ``without`` may leave out."""

_SUFFIXES = re.compile(r"(?i)(\.(fits|fit|fts|new))?(\.(gz|fz))?$")
_PACKED = (".bz2", ".xz", ".zip", ".z", ".7z", ".rar", ".tar", ".tgz", ".zst", ".lz4")
"""How files are packed that are not read."""

_FEW = "take more frames of a kind, or let fewer do with min_frames=N (--min-frames N)"


@dataclass(frozen=True)
class Input:
    """A raw frame, and the masters that are taken from it.

    Parameters
    ----------
    file : str
    bias, dark, flat : str or None
        Names of masters.
    dark_scale : float
        What the master dark is multiplied by; 1 where it is matched.
    """

    file: str
    bias: str | None = None
    dark: str | None = None
    dark_scale: float = 1.0
    flat: str | None = None


@dataclass(frozen=True)
class Master:
    """A master, and the frames that it is made of.

    Parameters
    ----------
    name : str
        Its place in the output folder, such as ``masters/lfc_dark_300s_1x1.fits``.
    type : {"bias", "dark", "flat", "arc"}
    inputs : tuple of Input
        Empty for a master that was made on another night.
    profile : str
    readout : str
        The key of the amplifier set.
    binning : tuple of int
    exposure : float or None
        In seconds: of one frame, or of all together for an arc.
    filter : str or None
    match : tuple of (card, value)
        The further cards that its frames share.
    method : str
        ``average``, ``median`` or ``sum``.
    time : float or None
        The mean time of its frames, in seconds since 1970.
    path : str
        Where it lies, if it was made on another night.
    bias_off : bool
        Of a dark: whether its bias was subtracted.
    minimum : int
        The fewest frames that it may be made of.
    temperature : float or None
        Of a dark: the mean of its frames' chips in degrees Celsius, where that is looked at.
    """

    name: str
    type: str
    inputs: tuple[Input, ...]
    profile: str
    readout: str
    binning: tuple[int, int]
    exposure: float | None = None
    filter: str | None = None
    match: tuple[tuple[str, str | None], ...] = ()
    method: str = "average"
    time: float | None = None
    path: str = ""
    bias_off: bool = False
    minimum: int = 1
    temperature: float | None = None

    @property
    def setup(self) -> tuple:
        """What every frame that uses it must share."""
        return self.profile, self.readout, self.binning

    def __repr__(self) -> str:
        return f"<Master {self.name}: {self.type}, {len(self.inputs)} frames>"

    def __str__(self) -> str:
        if self.path:
            return f"{self.name}  a master of another night"
        number = len(self.inputs)
        what = {"dark": f" of {seconds(self.exposure)}", "flat": _in(self.filter)}.get(
            self.type, ""
        )
        plural = "es" if self.type == "bias" else "s"
        return f"{self.name}  {self.method} of {number} {self.type}{plural if number > 1 else ''}{what}"


@dataclass(frozen=True)
class Product:
    """A calibrated science frame.

    Parameters
    ----------
    name : str
        Its place in the output folder, such as ``science/ccd.037.0_cal.fits``.
    input : Input
    """

    name: str
    input: Input

    def __str__(self) -> str:
        masters = [PurePosixPath(m).stem for m in (self.input.bias, self.input.dark) if m]
        if self.input.dark and self.input.dark_scale != 1:
            masters[-1] += f" x {self.input.dark_scale:.6g}"
        masters += [PurePosixPath(self.input.flat).stem] if self.input.flat else []
        return f"{self.name}  {', '.join(masters) or 'no master'}"


@dataclass(frozen=True)
class Missing:
    """A frame that cannot be used or calibrated as its recipe asks, and why.

    Parameters
    ----------
    file : str
    code : str
        ``no-bias``, ``no-dark``, ``no-flat``, ``pedestal`` or ``few-frames``.
    reason : str
    """

    file: str
    code: str
    reason: str

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True)
class Plan:
    """What will be made of what. Print it, save it as JSON, compare two of them.

    Parameters
    ----------
    masters : tuple of Master
        In the order in which they are made: biases, darks, flats, arcs.
    products : tuple of Product
    missing : tuple of Missing
    set_aside : tuple of (file, reason)
        Frames that their headers rule out.
    notes : tuple of str
        What the products will lack, such as an uncertainty.
    without : tuple of str
        The steps that are left out on purpose.
    profiles : tuple of (name, hash)
        Every profile that is used.
    found, ignored : int
        How many files were found, and how many are no frames or copies of others.
    keep, reject : tuple of str
        The files that are used whatever their pixels say, and those that are left out.
    min_frames : int or None
        The fewest frames of a bias, dark or flat, where the caller overrules the recipes.
    together : tuple of (step, steps)
        For every step all that must be left out if it is.
    """

    masters: tuple[Master, ...]
    products: tuple[Product, ...]
    missing: tuple[Missing, ...] = ()
    set_aside: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    profiles: tuple[tuple[str, str], ...] = ()
    found: int = 0
    ignored: int = 0
    keep: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    min_frames: int | None = None
    together: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every frame can be used as its recipe asks, but for those left out by hand."""
        return not (self.missing or {file for file, _ in self.set_aside} - set(self.reject))

    def master(self, name: str) -> Master:
        """Return a master by its name."""
        return next(m for m in self.masters if m.name == name)

    @property
    def remedies(self) -> tuple[str, ...]:
        """What can be done about what is missing."""
        steps = {m.code.removeprefix("no-") for m in self.missing if m.code.startswith("no-")}
        few = any(m.code == "few-frames" for m in self.missing)
        left_out = dict(self.together)
        return tuple(
            f"take {plural} that match, name another night's with calibrations=[FOLDER] "
            f"(--calibrations), or {_leaving_out(left_out.get(step, (step,)))}"
            for step, plural in (("bias", "biases"), ("dark", "darks"), ("flat", "flats"))
            if step in steps
        ) + ((_FEW,) if few else ())

    def to_json(self) -> str:
        """Write the plan down as JSON."""
        return json.dumps(vars(self), default=vars, indent=1, sort_keys=True)

    def __repr__(self) -> str:
        return (
            f"<Plan: {self.found} files found, {len(self.masters)} masters, "
            f"{len(self.products)} science frames, {len(self.missing)} not calibrated, "
            f"{len(self.set_aside)} set aside; {'complete' if self.complete else 'incomplete'}>"
        )

    def _repr_html_(self) -> str:
        return folded("Plan", str(self))

    def __str__(self) -> str:
        used = {i.file for m in self.masters for i in m.inputs}
        used |= {p.input.file for p in self.products}
        ignored = f", {self.ignored} ignored" if self.ignored else ""
        lines = [f"{self.found} files found, {len(used)} used{ignored}"]
        lines += _listed("Masters", self.masters)
        lines += _listed("Science frames", self.products)
        lines += _listed("Not calibrated", grouped(str(m) for m in self.missing))
        lines += _listed("What helps", self.remedies)
        lines += _listed("Set aside", grouped(reason for _, reason in self.set_aside))
        left_out = [f"step left out on purpose: {step}" for step in self.without]
        lines += _listed("Notes", [*left_out, *self.notes])
        return "\n".join(lines)


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
    matched by filter. Of several candidates the nearest in time is taken.

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
        return [alike for group in groups for alike in _as_cold(group)]

    def _masters(self, kind: str, groups: list[list[Frame]]) -> None:
        for frames in groups:
            if not self._wanted(kind, frames[0]):
                continue
            # Darks and arcs lose their bias once they are combined, so it must be one.
            by_bias: dict[str | None, list[tuple[Frame, Input]]] = {}
            for frame in frames:
                chosen = self._input(frame)
                if chosen is not None:
                    shared = None if kind == "flat" else chosen.bias
                    by_bias.setdefault(shared, []).append((frame, chosen))
            for used in by_bias.values():
                self._add(kind, [f for f, _ in used], tuple(i for _, i in used))

    def _wanted(self, kind: str, frame: Frame) -> bool:
        """Say whether a frame that was read out alike asks for such a master."""
        if kind in self.without or (kind == "flat" and frame.recipe.flat is None):
            return False
        return kind == "arc" or (kind, _setup(frame)) in self.wanted

    def _add(self, kind: str, frames: list[Frame], inputs: tuple[Input, ...]) -> None:
        first = frames[0]
        exposures = [f.exposure for f in frames if f.exposure is not None]
        exposure = sum(exposures) / len(exposures) if exposures else None
        method = first.recipe.combine_for(kind).method
        if method == "sum" and exposures:
            exposure = sum(exposures)
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
            temperature=_mean_temperature(frames) if kind == "dark" else None,
        )
        if len(inputs) < master.minimum:
            for frame in frames:
                few = f"{frame.file}: {too_few(master, len(inputs))}"
                self.missing[frame.file] = Missing(frame.file, "few-frames", few)
            return
        name = self._named(master, first.origin)
        self._keep(dataclasses.replace(master, name=name))

    def _keep(self, master: Master) -> None:
        self.masters[master.name] = master
        self._alike.setdefault((master.type, master.setup, master.match), []).append(master)

    def _minimum(self, kind: str, frame: Frame) -> int:
        """Say of how many frames a master is made at least; arcs are summed, and one will do."""
        if self.min_frames is not None and kind != "arc":
            return self.min_frames
        return frame.recipe.limits.frames[kind]

    def _adopt(self, frame: Frame) -> None:
        """Take a master of another night as it is."""
        master = Master(
            name=f"calibrations/{frame.file}",
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
        )
        self._keep(master)

    def _named(self, master: Master, origin: str) -> str:
        parts = [master.profile, master.type]
        if master.type == "dark":
            parts.append(seconds(master.exposure).replace(" ", ""))
        if master.type in ("flat", "arc"):
            parts += [value for value in (master.filter, *dict(master.match).values()) if value]
        parts.append(f"{master.binning[0]}x{master.binning[1]}")
        stem = "_".join(file_name(part) for part in parts)[:180]
        name = f"masters/{stem}.fits"
        # Some file systems do not tell R from r.
        if name.lower() in (other.lower() for other in self.masters):
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
            name = f"masters/{stem}_{hashlib.sha256(told.encode()).hexdigest()[:6]}.fits"
        return name

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
        if same:
            return min(same, key=lambda m: (_apart(m, frame), m.name))
        return self._lacks(
            frame, "no-bias", f"no bias of {_described(frame)}{self._others('bias', frame)}."
        )

    def _dark(self, frame: Frame, bias_off: bool) -> Master | None:
        recipe = frame.recipe
        tolerance = recipe.exposure_tolerance.to_value(u.s)
        # A dark that holds its bias would subtract it twice, one without it not at all.
        same = [m for m in self._candidates("dark", frame) if m.bias_off == bias_off]
        degrees, limit = _temperature(frame), recipe.limits.temperature
        if same and degrees is not None and limit is not None:
            apart = {m.name: abs((m.temperature or 0.0) - degrees) for m in same}
            known = [m for m in same if m.temperature is not None]
            same = [m for m in known if apart[m.name] <= limit.value]
            if not same:
                there = ", ".join(sorted({f"{m.temperature:.4g}" for m in known})) or "unknown"
                return self._lacks(
                    frame,
                    "no-dark",
                    f"no dark of {degrees:.4g} ± {limit.value:g} °C; there are darks of {there} °C.",
                )
        off = {m.name: abs(m.exposure - frame.exposure) for m in same}
        if recipe.dark == "scale":
            # Hardly scaled, so as good as matched.
            tolerance = min(tolerance, 0.01 * frame.exposure)
        near = [m for m in same if off[m.name] <= tolerance]
        if near:
            return min(near, key=lambda m: (round(off[m.name], 1), _apart(m, frame), m.name))
        if recipe.dark == "scale" and same:
            # The longest dark holds the least noise once it is scaled down.
            return min(same, key=lambda m: (-m.exposure, _apart(m, frame), m.name))
        wanted = (
            "any exposure"
            if recipe.dark == "scale"
            else (f"{seconds(frame.exposure)} ± {seconds(tolerance)}")
        )
        if same:
            best = min(same, key=lambda m: (off[m.name], m.name))
            hint = f"; nearest is {seconds(best.exposure)}, {seconds(off[best.name])} off"
        else:
            hint = f" and {_described(frame)}{self._others('dark', frame)}"
        return self._lacks(frame, "no-dark", f"no dark of {wanted}{hint}.")

    def _flat(self, frame: Frame) -> Master | None:
        same = self._candidates("flat", frame)
        fitting = [m for m in same if m.filter == frame.filter]
        if fitting:
            return min(fitting, key=lambda m: (_apart(m, frame), m.name))
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
            elif master.readout != frame.readout:
                told.append(f"{PurePosixPath(master.name).stem} was read out by other amplifiers")
            else:
                wrong = set(master.match) - set(_match(kind, frame))
                cards = ", ".join(f"{card} = {value}" for card, value in sorted(wrong, key=str))
                told.append(f"{PurePosixPath(master.name).stem} has {cards or 'other cards'}")
        return "; " + "; ".join(sorted(told)[:3])

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


def _leaving_out(steps: Sequence[str]) -> str:
    """Say how steps are left out on purpose."""
    what = "the step" if len(steps) == 1 else "the steps"
    options = " ".join(f"--without {step}" for step in steps)
    return f"leave {what} out with without={list(steps)} ({options})"


def too_few(master: Master, number: int) -> str:
    """Say that a master has fewer frames than it needs."""
    cold = "" if master.temperature is None else f" at {master.temperature:.4g} °C"
    what = {"dark": f" of {seconds(master.exposure)}{cold}", "flat": _in(master.filter)}
    kind = {"bias": "biases"}.get(master.type, f"{master.type}s")
    return (
        f"{number} of the {kind}{what.get(master.type, '')} can be used, where a master needs "
        f"{master.minimum}; take more, or let fewer do with min_frames={max(number, 1)} "
        f"(--min-frames {max(number, 1)})."
    )


def seconds(value: float | None) -> str:
    """Write an exposure as people do: ``"300 s"``."""
    return "unknown exposure" if value is None else f"{value:.6g} s"


def file_name(text: str) -> str:
    """Make a name that is safe in every file system, whatever a header said.

    >>> from ccdprofiles.plan import file_name
    >>> file_name("../../g'")
    'g'
    >>> file_name("H-alpha 656/3")
    'H-alpha_656_3'
    """
    clean = re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("._-")[:60]
    if clean.upper() in {"CON", "PRN", "AUX", "NUL"} or re.fullmatch(r"(?i)(com|lpt)\d", clean):
        clean = f"_{clean}"
    return clean or "unnamed"


@lru_cache(1024)
def time_of(date: str | None) -> float | None:
    """Read a date and time as seconds since 1970, or None where it is none."""
    if not date:
        return None
    try:
        when = datetime.fromisoformat(date.strip())
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def grouped(reasons: Iterable[str]) -> list[str]:
    """Say once what is true of several files, as ``"3 files (a.fits … c.fits): …"``.

    >>> from ccdprofiles.plan import grouped
    >>> grouped(["a.fits: too short.", "b.fits: too short.", "c.fits: too short."])
    ['3 files (a.fits … c.fits): too short.']
    """
    together: dict[str, list[str]] = {}
    for reason in reasons:
        file, _, told = reason.partition(": ")
        together.setdefault(told or file, []).append(file)
    return [
        f"{files[0]}: {told}"
        if len(files) == 1
        else f"{len(files)} files ({files[0]} … {files[-1]}): {told}"
        for told, files in together.items()
    ]


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


def _temperature(frame: Frame) -> float | None:
    """Return the temperature of a frame's chip, where the recipe looks at it."""
    if frame.recipe.limits.temperature is None:
        return None
    return frame.profile.temperature_of(frame.header)


def _mean_temperature(frames: list[Frame]) -> float | None:
    degrees = [t for f in frames if (t := _temperature(f)) is not None]
    return sum(degrees) / len(degrees) if degrees else None


def _as_cold(frames: list[Frame]) -> list[list[Frame]]:
    """Part darks whose chips were not as cold as each other; those of unknown ones stay together."""
    limit = frames[0].recipe.limits.temperature
    known = [f for f in frames if _temperature(f) is not None]
    if limit is None or not known:
        return [frames]
    groups: list[list[Frame]] = []
    for frame in sorted(known, key=lambda f: (_temperature(f), f.file)):
        if not groups or _temperature(frame) - _temperature(groups[-1][0]) > limit.value:
            groups.append([])
        groups[-1].append(frame)
    groups = [sorted(group, key=lambda f: f.file) for group in groups]
    unknown = [f for f in frames if _temperature(f) is None]
    return [*groups, unknown] if unknown else groups


def _mean_time(frames: list[Frame]) -> float | None:
    times = [t for f in frames if (t := time_of(f.date)) is not None]
    return sum(times) / len(times) if times else None


def _described(frame: Frame) -> str:
    rows, columns = frame.shape
    return f"{columns}x{rows} pixels binned {_binning(frame.binning)}"


def _binning(binning: tuple[int, int]) -> str:
    return f"{binning[0]}x{binning[1]}"


def _in(filter: str | None) -> str:
    return f" in {filter}" if filter else ""


def _product_name(frame: Frame) -> str:
    folder, slash, name = frame.file.rpartition("/")
    stem = _SUFFIXES.sub("", name)
    if len(stem.encode()) > 180:
        # A name has 255 bytes at most, and the temporary one is longer.
        told = hashlib.sha256(stem.encode()).hexdigest()[:6]
        stem = stem.encode()[:170].decode(errors="ignore") + f"_{told}"
    return f"science/{folder}{slash}{frame.recipe.name.format(stem=stem)}.fits"


def _listed(title: str, items: Sequence) -> list[str]:
    return ["", title, *(f"  {item}" for item in items)] if items else []
