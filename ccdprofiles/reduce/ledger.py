"""What a run has measured and made so far, and where it lies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from astropy import units as u

from .. import __version__
from ..camera.amplifier import AmplifierSet
from ..camera.changes import concerning
from ..camera.profile import Profile
from ..camera.recipe import CosmicRays, Recipe
from ..files.places import Places, identity
from ..pixels.calibrate import MasterBand, Noise
from ..pixels.measure import Measured
from ..pixels.overscan import overscan_noise
from ..plan.frames import Frame
from ..plan.plan import Input, Plan, Product
from ..products.header import ascii_text
from ..products.product import product_key
from ..products.saved import CheckedProduct, SavedProduct

__all__ = [
    "ASIDE",
    "Ledger",
    "Made",
    "ProfileLabel",
    "Settings",
    "bands_of",
    "left_out",
    "no_progress",
    "noise_of",
    "pedestal_off",
    "travelling",
]

_BAND_BYTES = 8 * 2**20
_OPEN_PRODUCTS = 128

ASIDE = "set aside, "
"""How the role of a frame begins in PROVENANCE that was not used after all."""


def no_progress(phase: str, total: int) -> Callable[[], None]:
    """Show nothing."""
    return lambda: None


@dataclass(frozen=True)
class ProfileLabel:
    """What is left of a profile once it has been read for a frame; it can travel.

    Parameters
    ----------
    name, hash : str
    unit : Unit
        Of the raw pixels.
    """

    name: str
    hash: str
    unit: u.UnitBase


@dataclass(frozen=True)
class Settings:
    """How a run goes about it; nothing here changes a pixel but ``cosmic_rays``.

    Parameters
    ----------
    output : Path
    jobs : int
        Threads.
    overwrite : bool
        Whether products that are there already are made anew.
    cosmic_rays : CosmicRays, False or None
        Overrules the recipes: False finds none, None does as they say.
    progress : callable
        ``progress(phase, total)`` returns a function to be called once for each thing done.
    places : Places, optional
        Where the folders of the output lay when the run began.
    """

    output: Path
    jobs: int = 0
    overwrite: bool = False
    cosmic_rays: CosmicRays | bool | None = None
    progress: Callable[[str, int], Callable[[], None]] = no_progress
    places: Places | None = None

    def path(self, name: str) -> Path:
        """Return where a product is written, by its name in the plan."""
        return (self.places or Places.of(self.output)).path(name)

    @staticmethod
    def open_products(workers: int) -> int:
        """How many products one worker may have open, each with its frame unpacked beside it."""
        try:
            import resource
        except ImportError:  # Windows, where the limit is far off
            return _OPEN_PRODUCTS // workers or 1
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        free = limit if limit != resource.RLIM_INFINITY else 2**16
        return max(1, min(_OPEN_PRODUCTS, (free - 32) // 2) // workers)


@dataclass
class Made:
    """What a run has made, and what it could not.

    Parameters
    ----------
    masters, products : dict
        Name in the plan → path of every one that is there now.
    kept : set of str
        Names of those that were there already and still hold.
    anew : dict
        Name of every one that was there and did not hold → why.
    failed : dict
        Name or file → code and sentence, of what turned out to be unusable only now.
    notes : list of str
        What looks odd in the pixels, though it was used.
    overruled : dict
        File → code and sentence, of what was kept by hand all the same.
    earlier : dict
        File that is not asked for → the product that an earlier run made of it.
    seen : dict
        Name → the identity of its file, when it was made or before it was checked.
    """

    masters: dict[str, Path] = field(default_factory=dict)
    products: dict[str, Path] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    anew: dict[str, str] = field(default_factory=dict)
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    overruled: dict[str, tuple[str, str]] = field(default_factory=dict)
    earlier: dict[str, str] = field(default_factory=dict)
    seen: dict[str, tuple[int, ...] | None] = field(default_factory=dict, repr=False)


class Ledger:
    """What a run has measured and made so far.

    Parameters
    ----------
    plan : Plan
    frames : sequence of Frame
    settings : Settings
    """

    def __init__(self, plan: Plan, frames: Sequence[Frame], settings: Settings):
        self.plan = plan
        self.frames = {f.file: f for f in frames}
        self.settings = settings
        self.made = Made()
        self.measured: dict[str, Measured] = {}
        self.keys: dict[str, str] = {}
        self.sums: dict[str, str] = {}
        self.saved: dict[str, SavedProduct] = {}

    def keep(self, name: str, path: Path, sha256: str, key: str | None = None) -> None:
        """Note a master that is there now; without a key of ours its bytes are its key."""
        self.saved[name] = SavedProduct(path, sha256)
        self.made.masters[name] = path
        self.sums[name] = sha256
        self.keys[name] = key or sha256

    def see(self, name: str) -> None:
        """Note the identity of a product's file as it is now."""
        self.made.seen[name] = identity(self.settings.output / name)

    def part(self, inputs: Sequence[Input], names: Sequence[str]) -> Ledger:
        """Return what it takes to make something of some frames, so that it can travel.

        A profile may hold functions, which cannot; what they said of a frame is in the
        frame already.

        Parameters
        ----------
        inputs : sequence of Input
        names : sequence of str
            Of what is to be made.
        """
        masters = {m for i in inputs for m in (i.bias, i.dark, i.flat) if m}
        wanted = set(names)
        plan = replace(
            self.plan,
            masters=tuple(m for m in self.plan.masters if m.name in masters),
            products=tuple(p for p in self.plan.products if p.name in wanted),
            missing=(),
            set_aside=(),
            notes=(),
            not_asked=(),
            compared=(),
            measured=(),
        )
        settings = replace(
            self.settings, output=self.settings.output.absolute(), progress=no_progress
        )
        part = Ledger(plan, [travelling(self.frames[i.file]) for i in inputs], settings)
        measured = (self.measured[i.file] for i in inputs)
        part.measured = {
            i.file: replace(m, raw=part.frames[i.file].raw)
            for i, m in zip(inputs, measured, strict=True)
        }
        for name in ("keys", "sums", "saved"):
            own = getattr(self, name)
            setattr(part, name, {n: own[n] for n in (*masters, *names) if n in own})
        overruled = self.made.overruled
        part.made.overruled = {i.file: overruled[i.file] for i in inputs if i.file in overruled}
        return part

    def kept_by_hand(self, files: Iterable[str]) -> list[str]:
        """Return those of some files that are used although their pixels speak against it."""
        return sorted(file for file in files if file in self.made.overruled)

    def remember(self, kept: CheckedProduct) -> None:
        """Note which frames were set aside when a master that is kept was made."""
        files = {ascii_text(file): file for file in self.frames}
        for file, _, role in kept.provenance:
            if role.startswith(ASIDE):
                code, sentence = role.removeprefix(ASIDE).split(": ", 1)
                self.made.failed[files.get(file, file)] = (code, sentence)

    def used(self, names: Iterable[str]) -> list[tuple[str, str, str]]:
        """Return masters as rows of PROVENANCE: name, SHA-256 and role."""
        return [(n, self.sums[n], f"master {self.plan.master(n).type}") for n in names]

    def profile(self, chosen: Input) -> Profile:
        """Return the profile of a frame."""
        return self.frames[chosen.file].profile

    def key(self, kind: str, profile: Profile, inputs: Sequence[Input], more: object = "") -> str:
        """Hash all that decides a product: inputs, masters, profile, settings and version."""
        parts: dict[str, object] = {"version": __version__, "kind": kind, "profile": profile.hash}
        first = inputs[0]
        used = (first.bias, first.dark, first.flat)
        parts["more"] = (
            more,
            profile.name,
            used,
            left_out(self.plan.without, self.frames[first.file], kind),
        )
        if changes := concerning(self.plan.changes, kind):
            parts["changes"] = changes
        if profile.amplifiers_vary or callable(profile.recipe):
            # The functions of a profile may read other files, which its hash does not cover.
            read = (self.frames[i.file] for i in inputs)
            parts["read"] = sorted({f"{f.amplifiers!r} {f.recipe!r}" for f in read})
        if kept := self.kept_by_hand(i.file for i in inputs):
            parts["kept"] = kept
        parts["inputs"] = sorted(
            (
                self.measured[i.file].sha256,
                i.file,
                self.keys.get(i.bias or "", ""),
                self.keys.get(i.dark or "", ""),
                i.dark_scale,
                self.keys.get(i.flat or "", ""),
                [
                    float(x[0]) if x is not None and r else None
                    for x, r in zip(
                        self.measured[i.file].levels,
                        self.measured[i.file].level_from_night,
                        strict=True,
                    )
                ],
            )
            for i in inputs
        )
        return product_key(parts)

    def bands(
        self, chosen: Input, first: int, stop: int
    ) -> tuple[MasterBand | None, MasterBand | None, MasterBand | None]:
        """Read the bands of the bias, dark and flat of a frame."""
        bias = self.band(chosen.bias, first, stop)
        dark = self.band(chosen.dark, first, stop)
        if dark is not None:
            bias_in_it = self.saved[chosen.dark].header.get("BIASSHA")
            dark = replace(dark, same_bias=bias_in_it == self.sums.get(chosen.bias or ""))
            if not pedestal_off(self.frames[chosen.file], chosen) and dark.variance is not None:
                dark = replace(dark, scatter=dark.variance * self._frames_of(chosen.dark))
        return bias, dark, self.band(chosen.flat, first, stop)

    def band(
        self, name: str | None, first: int, stop: int, variance: bool = True
    ) -> MasterBand | None:
        """Read rows of a master, or nothing where there is none."""
        return None if name is None else self.saved[name].band(first, stop, variance)

    def _frames_of(self, name: str) -> float:
        """How many times the variance of a master dark that of one of its frames is."""
        header = self.saved[name].header
        return float(header.get("NCOMBINE", 1)) / float(header.get("CPINEFF", 1.0))

    def cosmic_rays(self, product: Product) -> CosmicRays | None:
        """Say how cosmic rays are found in a frame: as the caller asks, else its recipe."""
        frame = self.frames[product.input.file]
        if not frame.amplifiers.knows_noise or self.settings.cosmic_rays is False:
            return None
        return self.settings.cosmic_rays or frame.recipe.cosmic_rays

    def without_cosmic_rays(self, file: str) -> bool:
        """Return True if the recipe of a frame looks for cosmic rays and the caller does not."""
        frame = self.frames[file]
        asked = frame.type == "science" and frame.recipe.cosmic_rays is not None
        return asked and frame.amplifiers.knows_noise and self.settings.cosmic_rays is False


def travelling(frame: Frame) -> Frame:
    """Return a frame without the functions of its profile, with the whole path of its file."""
    raw = replace(frame.raw, path=frame.raw.path.absolute())
    label = ProfileLabel(frame.profile.name, frame.profile.hash, frame.profile.unit)
    return frame.with_(profile=label, raw=raw, path=raw.path)


def left_out(without: Sequence[str], frame: Frame, kind: str) -> list[str]:
    """Return the steps left out on purpose that this frame would have had."""
    steps = {"bias": (), "dark": ("bias",), "arc": ("bias",), "flat": ("bias", "dark")}
    wanted = steps.get(kind, ("bias", "dark", "flat"))
    return [step for step in without if step in wanted and getattr(frame.recipe, step)]


def noise_of(amplifiers: AmplifierSet, recipe: Recipe, first: int, stop: int) -> Noise:
    """Return gain and read noise of some rows, with the noise of their overscan levels."""
    more = tuple(overscan_noise(r, recipe.overscan) for r in amplifiers.readouts)
    return Noise.of(amplifiers, more, first, stop)


def pedestal_off(frame: Frame, chosen: Input) -> bool:
    """Whether overscan or bias take the pedestal off, so that what is left is signal."""
    return frame.amplifiers.has_overscan or chosen.bias is not None


def bands_of(shape: tuple[int, int], bytes_a_pixel: int) -> list[tuple[int, int]]:
    """Cut a frame into bands of a multiple of four rows that fit into the memory of one."""
    rows, columns = shape
    step = max(4, _BAND_BYTES // (bytes_a_pixel * columns) // 4 * 4)
    return [(first, min(first + step, rows)) for first in range(0, rows, step)]
