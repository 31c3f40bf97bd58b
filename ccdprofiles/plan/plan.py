"""A plan as data: what is made from which frames, and what cannot be made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ..camera.chips import without_chip
from ..errors import PlanError
from .notebook import folded
from .reason import Reason
from .wording import grouped, in_filter, plural, seconds

__all__ = ["Input", "Master", "Mosaic", "Plan", "Product"]

_FEW = "take more frames of each type, or allow fewer with min_frames=N (--min-frames N)"


@dataclass(frozen=True)
class Input:
    """A raw frame, and the masters that calibrate it.

    Parameters
    ----------
    file : str
    bias : str, float or None
        The name of the master bias, or the constant in adu that is subtracted instead.
    dark, flat : str or None
        Names of masters.
    dark_scale : float
        The factor of the master dark; 1 if it has the exposure of the frame.
    """

    file: str
    bias: str | float | None = None
    dark: str | None = None
    dark_scale: float = 1.0
    flat: str | None = None

    @property
    def master_bias(self) -> str | None:
        """The name of the master bias; None if there is none, or a constant is subtracted."""
        return self.bias if isinstance(self.bias, str) else None

    @property
    def masters(self) -> tuple[str, ...]:
        """The names of the masters that it uses."""
        return tuple(name for name in (self.master_bias, self.dark, self.flat) if name)


@dataclass(frozen=True)
class Master:
    """A master calibration frame, and the raw frames from which it is made.

    Parameters
    ----------
    name : str
        Its path in the output folder, such as ``masters/lfc_dark_300s_1x1.fits``.
    type : {"bias", "dark", "flat", "arc"}
    inputs : tuple of Input
        Empty for a master of another night.
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
        The file of a master of another night.
    bias_off : bool
        Of a dark: whether its bias was subtracted.
    minimum : int
        The smallest number of frames from which it can be made.
    temperature : float or None
        The mean chip temperature of its frames in degrees Celsius: if the recipe limits the
        temperature of its type, and wherever it distinguishes this master from another.
    settings : tuple of (card, value)
        The settings of its frames: gain, offset, read mode … and the temperatures.
    among : str
        The setting that distinguishes it from other masters: ``" with GAIN = 100"``.
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
    settings: tuple[tuple[str, float | str], ...] = ()
    among: str = ""

    @property
    def setup(self) -> tuple:
        """What it shares with every frame that uses it."""
        return self.profile, self.readout, self.binning

    def __repr__(self) -> str:
        return f"<Master {self.name}: {self.type}, {len(self.inputs)} frames>"

    def __str__(self) -> str:
        if self.path:
            return f"{self.name}  a master of another night"
        number = len(self.inputs)
        what = {"dark": f" of {seconds(self.exposure)}", "flat": in_filter(self.filter)}.get(
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
        Its path in the output folder, such as ``science/ccd.037.0_cal.fits``.
    input : Input
    """

    name: str
    input: Input

    def __str__(self) -> str:
        used = [
            f"bias of {m:g} adu" if isinstance(m, float) else PurePosixPath(m).stem
            for m in (self.input.bias, self.input.dark)
            if m
        ]
        if self.input.dark and self.input.dark_scale != 1:
            used[-1] += f" x {self.input.dark_scale:.6g}"
        used += [PurePosixPath(self.input.flat).stem] if self.input.flat else []
        return f"{self.name}  {', '.join(used) or 'no master'}"


@dataclass(frozen=True)
class Mosaic:
    """A file with all chips of an exposure.

    Parameters
    ----------
    name : str
        Its path in the output folder, such as ``science/r416104_cal.fits``.
    file : str
        The raw file.
    chips : tuple of str
        All chips of the camera.
    parts : tuple of (chip, name)
        The products of the chips that are planned.
    """

    name: str
    file: str
    chips: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.name}  chips {', '.join(chip for chip, _ in self.parts)}"


@dataclass(frozen=True)
class Plan:
    """What will be made from which frames. It can be printed, saved as JSON, and compared.

    Parameters
    ----------
    masters : tuple of Master
        In the order in which they are made: biases, darks, flats, arcs.
    products : tuple of Product
    missing : tuple of Reason
        The frames that cannot be used or calibrated as their recipe requires. The codes are
        ``no-bias``, ``bias-level``, ``no-dark``, ``no-flat``, ``pedestal``, ``few-frames``, ``mixed-setup``.
    set_aside : tuple of Reason
        Frames that cannot be used because of their headers.
    notes : tuple of str
        What is unusual about the night, and what the products will lack.
    without : tuple of str
        The steps that are omitted on request.
    profiles : tuple of (name, hash)
        The profiles that are used.
    found, ignored : int
        The number of files, and of those that are not frames or are copies of others.
    keep, reject : tuple of str
        The files that are used even if they fail the checks of their pixels, and those rejected.
    min_frames : int or None
        The smallest number of frames of a bias, dark or flat, if not that of the recipes.
    together : tuple of (step, steps)
        For every step the steps that must be omitted with it.
    changes : tuple of (name, text)
        The settings of the recipes that are changed for this run.
    only : tuple of str
        The words of ``only``; empty if the whole night is selected.
    not_asked : tuple of (file, name)
        The files that are not used because of ``only``, and the product or master that would be
        made from each, or nothing.
    compared : tuple of Master
        Masters that are not selected, whose frames are measured because the
        nightly overscan level is computed from them.
    measured : tuple of Product
        Science frames that are not selected, but measured for the same reason.
    mosaics : tuple of Mosaic
        The files with all chips of an exposure, of cameras with ``products="mef"``; they are made
        if all their chips are selected, see `joined`.
    """

    masters: tuple[Master, ...]
    products: tuple[Product, ...]
    missing: tuple[Reason, ...] = ()
    set_aside: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    profiles: tuple[tuple[str, str], ...] = ()
    found: int = 0
    ignored: int = 0
    keep: tuple[str, ...] = ()
    reject: tuple[str, ...] = ()
    min_frames: int | None = None
    together: tuple[tuple[str, tuple[str, ...]], ...] = ()
    changes: tuple[tuple[str, str], ...] = ()
    only: tuple[str, ...] = ()
    not_asked: tuple[tuple[str, str], ...] = ()
    compared: tuple[Master, ...] = ()
    measured: tuple[Product, ...] = ()
    mosaics: tuple[Mosaic, ...] = ()

    @property
    def joined(self) -> tuple[Mosaic, ...]:
        """The files of all chips that are made."""
        names = {product.name for product in self.products}
        return tuple(m for m in self.mosaics if all(name in names for _, name in m.parts))

    @property
    def on_purpose(self) -> tuple[str, ...]:
        """What differs from the profiles at the request of the caller."""
        asked = ", ".join(self.only)
        return (
            *((f"only a part of the night is made: {asked}",) if self.only else ()),
            *(f"step omitted on purpose: {step}" for step in self.without),
            *(f"setting changed for this run: {name}={text}" for name, text in self.changes),
        )

    @property
    def complete(self) -> bool:
        """Whether all frames, except those rejected by hand, can be used as their recipe requires."""
        return not (self.missing or {r.file for r in self.set_aside} - set(self.reject))

    def master(self, name: str) -> Master:
        """Return a master by its name, such as ``masters/lfc_dark_300s_1x1.fits``.

        Raises
        ------
        PlanError
            If no master of the plan has this name.
        """
        for master in self.masters:
            if master.name == name:
                return master
        names = ", ".join(m.name for m in self.masters)
        raise PlanError(
            f"{name!r} is not a master of this plan; "
            + (f"use one of {names}." if names else "it has none.")
        )

    @property
    def remedies(self) -> tuple[str, ...]:
        """What to do about missing calibrations."""
        steps = {m.code.removeprefix("no-") for m in self.missing if m.code.startswith("no-")}
        few = any(m.code == "few-frames" for m in self.missing)
        left_out = dict(self.together)
        return tuple(
            f"take matching {plural}, use those of another night with calibrations=[FOLDER] "
            f"(--calibrations), or {_leaving_out(left_out.get(step, (step,)))}"
            for step, plural in (("bias", "biases"), ("dark", "darks"), ("flat", "flats"))
            if step in steps
        ) + ((_FEW,) if few else ())

    def to_json(self) -> str:
        """Return the plan as JSON, or write it to a file."""
        written = vars(self) | {
            "missing": [{"file": r.file, "code": r.code, "reason": str(r)} for r in self.missing],
            "set_aside": [(r.file, str(r)) for r in self.set_aside],
        }
        if not self.mosaics:
            del written["mosaics"]
        return json.dumps(written, default=vars, indent=1, sort_keys=True)

    def __repr__(self) -> str:
        return (
            f"<Plan: {_counted(self.found)} found, {len(self.masters)} masters, "
            f"{len(self.products)} science frames, {len(self.missing)} not calibrated, "
            f"{len(self.set_aside)} set aside; {'complete' if self.complete else 'incomplete'}>"
        )

    def _repr_html_(self) -> str:
        return folded("Plan", str(self))

    def __str__(self) -> str:
        used = {i.file for m in self.masters for i in m.inputs}
        used |= {p.input.file for p in self.products}
        ignored = f", {self.ignored} ignored" if self.ignored else ""
        left_out = f", {len(self.not_asked)} not asked for" if self.only else ""
        of_chips = any(without_chip(file) != file for file in used)
        number = f"{len(used)} frames of single chips" if of_chips else f"{len(used)}"
        lines = [f"{_counted(self.found)} found, {number} used{left_out}{ignored}"]
        lines += _listed("Masters", self.masters)
        lines += _listed("Science frames", self.products)
        lines += _listed("Files of all chips", self.joined)
        lines += _listed("Not calibrated", grouped(self.missing))
        lines += _listed("What to do", self.remedies)
        lines += _listed("Set aside", grouped(self.set_aside))
        lines += _listed("Notes", [*self.on_purpose, *self.notes])
        return "\n".join(lines)


def _counted(number: int) -> str:
    return "1 file" if number == 1 else f"{number} files"


def _leaving_out(steps: Sequence[str]) -> str:
    """Return the options that omit steps."""
    what = "the step" if len(steps) == 1 else "the steps"
    options = " ".join(f"--without {step}" for step in steps)
    return f"omit {what} with without={list(steps)} ({options})"


def too_few(master: Master, number: int) -> str:
    """Return the sentence for a master that has fewer frames than it needs."""
    cold = "" if master.temperature is None else f" at {master.temperature:.4g} °C"
    what = {"dark": f" of {seconds(master.exposure)}", "flat": in_filter(master.filter)}
    kind = plural(master.type)
    return (
        f"{number} of the {kind}{what.get(master.type, '')}{master.among}{cold} can be used, but a "
        f"master needs {master.minimum}; take more, or allow fewer with min_frames={max(number, 1)} "
        f"(--min-frames {max(number, 1)})."
    )


def _listed(title: str, items: Sequence) -> list[str]:
    return ["", title, *(f"  {item}" for item in items)] if items else []
