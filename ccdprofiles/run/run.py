"""Walk a plan: measure the frames, make the masters, calibrate the science.

Each is a job for the workers, given out as soon as what it needs is there. Within a
job everything goes band by band: rows of all the frames of a master, or of all the
science frames that share their masters, are read, worked on and written, so that
frames do not need to fit into memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from astropy import units as u

from ..errors import FrameRejected
from ..files.places import HeldFolders
from ..pixels.measure import Measured, take_level
from ..plan.frames import Frame
from ..plan.plan import Input, Master, Plan, Product, too_few
from ..plan.wording import grouped
from ..products.product import remove_leftovers
from ..products.saved import CheckedProduct, check_product
from ..reduce.flats import FlatLevel
from ..reduce.ledger import Ledger, Made, Settings
from ..reduce.masters import Part
from ..reduce.science import Written, batches
from .duplicates import same_pixels
from .jobs import MadeMaster, MasterJob, MeasureJob, ScienceJob, look_at
from .levels import deviation, largest_drift
from .resume import still_holds
from .verdicts import judge_pixels, same_settings
from .workers import Workers, workers_of

__all__ = ["Made", "Settings", "run_plan"]

log = logging.getLogger(__name__)

_SHUTTER_CLOSED = (("bias", "dark"), ("science", "arc"))
"""The types whose overscan tells the level of a night, the best first."""

_REMOVED = (
    "it was removed or replaced while the run was going on; run it again: it is made anew, "
    "and what is finished stays."
)

_AT_ONCE = 32 * 2**20
_FILES_AT_ONCE = 64


def run_plan(
    plan: Plan,
    frames: Sequence[Frame],
    settings: Settings,
    folders: HeldFolders,
    executor: Executor | None = None,
) -> Made:
    """Make every master and every product of a plan.

    A frame that turns out to be unusable costs itself; what needs it says so in
    ``failed``. Results do not depend on who does the work, nor on how many.

    Parameters
    ----------
    plan : Plan
    frames : sequence of Frame
    settings : Settings
    folders : HeldFolders
        Those of the output.
    executor : Executor, optional
        Does the jobs instead of threads of this process.

    Raises
    ------
    OutputError
        If the products cannot be written.
    """
    with Workers(workers_of(executor, settings.jobs), executor) as workers:
        run = _Run(plan, frames, settings, workers, folders)
        try:
            return run.run()
        finally:
            if workers.lost:
                remove_leftovers(folders.places)


class _Run(Ledger):
    """Walks the plan."""

    def __init__(
        self,
        plan: Plan,
        frames: Sequence[Frame],
        settings: Settings,
        workers: Workers,
        folders: HeldFolders,
    ):
        super().__init__(plan, frames, settings)
        self.workers = workers
        self.folders = folders
        self.settled: set[str] = set()
        self.waiting: list[Master] = []
        self.ready: list[Product] = []
        self.shares: dict[str, tuple[MasterJob, int, list]] = {}

    def run(self) -> Made:
        self._measure()
        self._make()
        self.folders.check()
        self._leave_out_removed()
        return self._in_order()

    def _leave_out_removed(self) -> None:
        """Take back what was removed since it was made, so that only what is there is listed."""
        made = self.made
        for name in [m.name for m in self.plan.masters if m.name in made.masters and not m.path]:
            try:
                self.saved[name].refuse_changed()
            except FrameRejected as error:
                self._take_back(name, error)
        files = {p.name: p.input.file for p in self.plan.products}
        for name in [n for n, path in made.products.items() if not path.is_file()]:
            del made.products[name]
            made.kept.discard(name)
            why = f"{name} was removed while the run was going on; run it again to make it anew."
            made.failed[files[name]] = ("removed", f"{files[name]}: its product {why}")

    def _take_back(self, name: str, error: FrameRejected) -> None:
        """Note a master that was removed or replaced after it was made."""
        self.made.masters.pop(name, None)
        self.made.kept.discard(name)
        self.made.failed[name] = (error.code, f"{name}: {error}")

    def _take(self, master: Master, path: Path, sha256: str, key: str) -> bool:
        """Note a master that is there; return False if it was removed in the meantime."""
        with suppress(FrameRejected, OSError):
            if sha256:
                self.keep(master.name, path, sha256, key)
                return True
        self.folders.check()
        self._take_back(master.name, FrameRejected("removed", _REMOVED))
        return False

    def _in_order(self) -> Made:
        """Return what was made in the order of the plan, whoever was first."""
        made = self.made
        made.masters = {
            m.name: made.masters[m.name] for m in self.plan.masters if m.name in made.masters
        }
        made.products = {
            p.name: made.products[p.name] for p in self.plan.products if p.name in made.products
        }
        first = [*sorted(self.frames), *(m.name for m in self.plan.masters)]
        names = dict.fromkeys([*first, *sorted(made.failed)])
        made.failed = {name: made.failed[name] for name in names if name in made.failed}
        return made

    # Measuring.

    def _measure(self) -> None:
        files = sorted(
            {i.file for m in (*self.plan.masters, *self.plan.compared) for i in m.inputs}
            | {p.input.file for p in (*self.plan.products, *self.plan.measured)}
        )
        step = self.settings.progress("frames", len(files))
        for some in _heaps([self.frames[file] for file in files]):
            self.workers.submit(MeasureJob(tuple(some)))
        for job, outcome in self.workers.finished():
            if isinstance(outcome, Exception):
                outcome = [outcome] * len(job.files)
            for file, found in zip(job.files, outcome, strict=True):
                step()
                if isinstance(found, FrameRejected):
                    self.made.failed[file] = (found.code, f"{file}: {found}")
                elif isinstance(found, Exception):
                    raise found
                else:
                    self.measured[file] = found
        judge_pixels(self)
        self.made.notes += grouped(same_pixels(self.measured))
        self._compare_levels()
        self._check_scatter()

    def _lost(self, file: str, error: Exception) -> bool:
        """Say whether a frame is no longer what was measured; if so, it costs itself."""
        path = self.frames[file].raw.path
        blamed = getattr(error, "path", "")
        if blamed in (str(path), str(path.absolute())):
            found = error
        elif blamed:
            return False
        else:
            found = look_at(self.frames[file])
        if isinstance(found, Measured):
            if found.sha256 == self.measured[file].sha256:
                return False
            found = FrameRejected("changed", "it changed while it was read; copy it again.")
        self.made.failed[file] = (found.code, f"{file}: {found}")
        del self.measured[file]
        return True

    def _check_scatter(self) -> None:
        """Note an overscan that scatters far more than its read noise: light may fall on it."""
        odd: dict[tuple, list[tuple[str, float, float]]] = {}
        for file, measured in self.measured.items():
            for readout, noise in zip(measured.amplifiers.readouts, measured.noise, strict=True):
                expected = readout.read_variance and readout.read_variance**0.5
                if noise and expected and noise > 3 * expected:
                    key = (self.frames[file].profile.name, str(readout.overscan))
                    odd.setdefault(key, []).append((file, noise, expected))
        for (name, section), found in odd.items():
            file, noise, expected = max(found, key=lambda f: f[1])
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            self.made.notes.append(
                f"{name}: overscan {section} scatters by {noise:.3g} adu in {file}{more}, where the "
                f"read noise is {expected:.3g} adu; look whether light falls on it."
            )

    def _compare_levels(self) -> None:
        """Give the night's overscan level to frames whose own lies too far from it."""
        groups: dict[tuple, list[str]] = {}
        notes: list[str] = []
        settings = same_settings(self)
        for file in self.measured:
            frame = self.frames[file]
            if frame.recipe.overscan_drift is not None:
                key = (frame.profile.name, frame.amplifier_key, frame.binning, settings[file])
                groups.setdefault(key, []).append(file)
        for files in groups.values():
            drift = self.frames[files[0]].recipe.overscan_drift.to_value(u.adu)
            # Light may spill into the overscan of a flat, and never into that of a bias.
            kinds = {k: [f for f in files if self.frames[f].type in k] for k in _SHUTTER_CLOSED}
            asked = next((chosen for chosen in kinds.values() if chosen), files)
            levels = [self.measured[f].level for f in asked]
            night = [
                None if None in amplifier else float(np.median(amplifier))
                for amplifier in zip(*levels, strict=True)
            ]
            for file in files:
                own = self.measured[file].level
                self.measured[file] = take_level(self.measured[file], night, drift)
                replaced = self.measured[file].level_from_night
                if any(replaced):
                    levels = zip(own, night, replaced, strict=True)
                    pairs = [(o, n) for o, n, far in levels if far]
                    log.warning("%s", _taken(file, pairs, drift))
                    notes += _far_off(file, pairs, drift)
        self.made.notes += grouped(notes)

    # Making.

    def _make(self) -> None:
        """Give out every job as soon as the masters that it needs are there, or cannot be."""
        self.masters_done = self.settings.progress("masters", len(self.plan.masters))
        self.science_done = self.settings.progress("science", len(self.plan.products))
        self.waiting = list(self.plan.masters)
        self.ready = list(self.plan.products)
        self._give_out()
        for job, outcome in self.workers.finished():
            self.folders.check()
            if isinstance(job, MasterJob):
                self._master_made(job, outcome)
            else:
                self._science_made(job, outcome)
            self._give_out()

    def _give_out(self) -> None:
        again = True
        while again:
            # A master that is kept or impossible is settled at once, and may free others.
            again = False
            for master in list(self.waiting):
                if self._settled(master.inputs):
                    self.waiting.remove(master)
                    self._master(master)
                    again = True
        free = [p for p in self.ready if self._settled([p.input])]
        if free:
            self.ready = [p for p in self.ready if not self._settled([p.input])]
            self._science(free)

    def _settled(self, inputs: Iterable[Input]) -> bool:
        return all(m is None or m in self.settled for i in inputs for m in (i.bias, i.dark, i.flat))

    def _master(self, master: Master) -> None:
        """Have one master made, unless it is there already or nothing is left to make it of."""
        if master.path:
            self._lent(master)
            self._settle(master)
            return
        inputs = [i for i in master.inputs if i.file in self.measured]
        lacking = {m for i in inputs for m in (i.bias, i.dark) if m and m not in self.made.masters}
        for chosen in inputs:
            gone = sorted(lacking & {chosen.bias, chosen.dark})
            if gone:
                why = f"{chosen.file}: its {_joined(gone)} could not be made."
                self.made.failed[chosen.file] = ("no-master", why)
        inputs = [i for i in inputs if not lacking & {i.bias, i.dark}]
        if not inputs:
            why = (
                f"{_joined(sorted(lacking))} could not be made"
                if lacking
                else "none of its frames can be used, as said of each"
            )
            self.made.failed[master.name] = ("no-master", f"{master.name}: {why}.")
            self._settle(master)
            return
        if len(inputs) < master.minimum:
            few = f"{master.name}: {too_few(master, len(inputs))}"
            self.made.failed[master.name] = ("few-frames", few)
            self._settle(master)
            return
        path = self.settings.output / PurePosixPath(master.name)
        key = self.key(master.type, self.profile(inputs[0]), inputs, master.method)
        if kept := still_holds(self, master.name, path, key, inputs):
            self._keep_master(master, path, key, kept)
            self._settle(master)
            return
        path = self.folders.make(master.name)
        self._hand_out(MasterJob(self, master, tuple(inputs), key, path))

    def _keep_master(self, master: Master, path: Path, key: str, kept: CheckedProduct) -> None:
        """Go on with a master of an earlier run."""
        self.remember(kept)
        if self._take(master, path, kept.sha256, key):
            self.made.kept.add(master.name)

    def _lent(self, master: Master) -> None:
        """Take a master of another night, if it is still what was written then."""
        path = Path(master.path)
        lent = check_product(path)
        if lent.faults:
            why = f"{path}: {'; '.join(lent.faults)}; make it anew, or take it out of the calibrations."
            self.made.failed[master.name] = ("checksum", f"{master.name}: {why}")
            return
        self.keep(master.name, path, lent.sha256)

    def _hand_out(self, job: MasterJob) -> None:
        """Give a master to one worker, or shares of it to all of them."""
        shares = job.shared(self.workers.number) if self.workers.abroad else []
        self.shares[job.master.name] = (job, len(shares), [])
        for share in shares or [job]:
            self.workers.submit(share)

    def _share_made(self, job: MasterJob, outcome: Part | dict[str, FlatLevel]) -> None:
        """Take the levels of some flats, or some rows; when all are there, go on with them."""
        whole, wanted, made = self.shares[job.master.name]
        made.append(outcome)
        if len(made) < wanted:
            return
        if job.rows is None:
            levels = {file: level for some in made for file, level in some.items()}
            self._hand_out(replace(whole, levels=levels))
        else:
            parts = tuple(sorted(made, key=lambda part: part.first))
            self._hand_out(replace(whole, parts=parts))

    def _master_made(self, job: MasterJob, outcome: MadeMaster | Exception) -> None:
        master = job.master
        under_way = self.shares.get(master.name)
        if under_way is None or under_way[0].inputs != job.inputs:
            # Another share of it has failed, and it was given up or begun again.
            if isinstance(outcome, Part):
                outcome.path.unlink(missing_ok=True)
            return
        if isinstance(outcome, Part | dict):
            self._share_made(job, outcome)
            return
        del self.shares[master.name]
        if isinstance(outcome, MadeMaster):
            self.made.failed |= outcome.failed
            refused = outcome.refused
        else:
            refused = outcome
        if refused is None:
            number = len(job.inputs) - len(outcome.failed)
            log.info("%s made of %d frames", master.name, number, extra={"made": True})
            path = self.settings.output / PurePosixPath(master.name)
            self._take(master, path, outcome.sha256, job.key)
            self.see(master.name)
        elif not isinstance(refused, FrameRejected | OSError):
            raise refused
        elif lost := [file for file in job.files if self._lost(file, refused)]:
            log.warning("%s is begun again without %s", master.name, ", ".join(lost))
            self._master(master)
            return
        elif isinstance(refused, FrameRejected):
            self.made.failed[master.name] = (refused.code, f"{master.name}: {refused}")
        else:
            raise refused
        self._settle(master)

    def _settle(self, master: Master) -> None:
        self.settled.add(master.name)
        self.masters_done()

    def _science(self, products: Iterable[Product]) -> None:
        """Have those of some frames calibrated whose products are not there already."""
        todo = []
        for product in products:
            chosen = product.input
            lacking = [
                m
                for m in (chosen.bias, chosen.dark, chosen.flat)
                if m and m not in self.made.masters
            ]
            if chosen.file in self.measured and not lacking:
                todo.append(product)
                continue
            if chosen.file in self.measured:
                why = f"{chosen.file}: its {_joined(lacking)} could not be made."
                self.made.failed[chosen.file] = ("no-master", why)
            self.science_done()
        todo = [product for product in todo if not self._kept(product)]
        for product in todo:
            self.folders.make(product.name)
        for some, whole in batches(self, todo, self.workers.number):
            self.workers.submit(ScienceJob(self, some, whole))

    def _kept(self, product: Product) -> bool:
        """Say whether a product is there already, and holds."""
        path = self.settings.output / PurePosixPath(product.name)
        cosmic = self.cosmic_rays(product)
        how = "switched off" if self.without_cosmic_rays(product.input.file) else cosmic
        key = self.key("science", self.profile(product.input), [product.input], how)
        self.keys[product.name] = key
        if not still_holds(self, product.name, path, key, [product.input], cosmic):
            return False
        self.made.kept.add(product.name)
        self.made.products[product.name] = path
        self.science_done()
        return True

    def _science_made(self, job: ScienceJob, outcome: Written | Exception) -> None:
        if isinstance(outcome, FrameRejected):
            file = job.files[0]
            outcome = Written({}, {file: (outcome.code, f"{file}: {outcome}")})
        elif isinstance(outcome, Exception):
            raise outcome
        for product in job.products:
            if product.name in outcome.products:
                path = self.settings.output / PurePosixPath(product.name)
                self.made.products[product.name] = path
                self.see(product.name)
                log.info("%s made", product.name, extra={"made": True})
            self.science_done()
        self.made.failed |= outcome.failed


def _heaps(frames: Sequence[Frame]) -> Iterable[list[Frame]]:
    """Put small frames together, so that a job is worth its while."""
    heap: list[Frame] = []
    size = 0
    for frame in frames:
        if heap and (size + frame.raw.size > _AT_ONCE or len(heap) >= _FILES_AT_ONCE):
            yield heap
            heap, size = [], 0
        heap.append(frame)
        size += frame.raw.size
    if heap:
        yield heap


def _far_off(file: str, pairs: Sequence[tuple[float, float]], drift: float) -> list[str]:
    """Note an overscan that is further off than the light for which the recipe has a drift."""
    own, usual = _worst(pairs)
    return [] if abs(own - usual) <= largest_drift(usual) else [_taken(file, pairs, drift)]


def _taken(file: str, pairs: Sequence[tuple[float, float]], drift: float) -> str:
    """Say of which overscan level the nightly one takes the place."""
    text = deviation("overscan level", *_worst(pairs), drift)
    return f"{file}: {text}; the nightly level was taken."


def _worst(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return max(pairs, key=lambda pair: abs(pair[0] - pair[1]))


def _joined(names: Iterable[str] | str) -> str:
    return names if isinstance(names, str) else ", ".join(PurePosixPath(n).stem for n in names)
