"""Make the masters and products of a plan, each as soon as the masters that it needs exist."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import FrameRejected
from ..files.places import HeldFolders
from ..pixels.measure import Measured
from ..plan.chips import flats_of_other_chips
from ..plan.plan import Input, Master, Product, too_few
from ..products.saved import CheckedProduct, check_product
from ..reduce.flat_levels import refused_flats
from ..reduce.parts import Part
from ..reduce.request import MasterRequest
from ..reduce.science import ScienceRequest, Written, batches
from .jobs import FlatLevelsJob, MasterJob, MeasureJob, RowsJob, ScienceJob, first_jobs, look_at
from .resume import still_holds
from .runstate import RunState
from .workers import Workers

__all__ = ["make_products"]

log = logging.getLogger(__name__)

_REMOVED = (
    "it was removed or replaced during the run; run it again to remake it; "
    "finished products are kept."
)


def make_products(state: RunState, workers: Workers, folders: HeldFolders) -> None:
    """Make every master and every product of a plan from the measured frames.

    Parameters
    ----------
    state : RunState
    workers : Workers
    folders : HeldFolders
        Those of the output.

    Raises
    ------
    OutputError
        If a product cannot be written, or a folder of the output was replaced.
    """
    making = _Making(state, workers, folders)
    making.submit_ready()
    for job, outcome in workers.finished():
        folders.check()
        if isinstance(job, ScienceJob):
            making.science_finished(job, outcome)
        elif not isinstance(job, MeasureJob):
            making.master_finished(job, outcome)
        making.submit_ready()


@dataclass(frozen=True)
class _Pending:
    """A master whose jobs are running: its frames, and the results so far."""

    request: MasterRequest
    jobs: int
    results: list = field(default_factory=list)


class _Making:
    """The masters and products that are still to be made, and the jobs that make them."""

    def __init__(self, state: RunState, workers: Workers, folders: HeldFolders):
        plan = state.plan
        self.state = state
        self.workers = workers
        self.folders = folders
        self.masters: list[Master] = list(plan.masters)
        self.products: list[Product] = list(plan.products)
        self.pending: dict[str, _Pending] = {}
        self.settled: set[str] = set()
        self.of_other_chips = flats_of_other_chips(plan.masters, state.frames)
        self.master_step: Callable = state.settings.progress("masters", len(plan.masters))
        self.science_step: Callable = state.settings.progress("science", len(plan.products))

    def submit_ready(self) -> None:
        """Submit a job for each master and product whose own masters exist or have failed."""
        ready, self.masters = self._divided(self.masters, self._inputs_of)
        while ready:
            for master in ready:
                self._begin_master(master)
            # A master that is up to date or impossible is settled at once, and may free others.
            ready, self.masters = self._divided(self.masters, self._inputs_of)
        products, self.products = self._divided(self.products, lambda p: [p.input])
        if products:
            self._begin_science(products)

    def _divided(self, items: Sequence, inputs_of: Callable) -> tuple[list, list]:
        """Return the items whose own masters all exist or have failed, and the others."""
        ready: list = []
        waiting: list = []
        for item in items:
            (ready if self._is_ready(inputs_of(item)) else waiting).append(item)
        return ready, waiting

    def _is_ready(self, inputs: Iterable[Input]) -> bool:
        return all(m in self.settled for i in inputs for m in i.masters)

    def _inputs_of(self, master: Master) -> Sequence[Input]:
        """Return the frames of a master, and those of other chips that decide its level."""
        others = self.of_other_chips.get(master.name)
        return [*master.inputs, *(i for _, i in others)] if others else master.inputs

    # Masters.

    def _begin_master(self, master: Master) -> None:
        """Submit the jobs of a master, unless it exists already or cannot be made."""
        if master.path:
            self._take_external(master)
            self._settle(master)
            return
        chosen = self._usable(master)
        if chosen is None:
            self._settle(master)
            return
        state = self.state
        path = state.settings.output / PurePosixPath(master.name)
        others = self._other_chips(master, chosen)
        more: object = master.method
        if master.name in self.of_other_chips:
            more = (master.method, state.masters_of(others))
        key = state.key(master.type, state.profile(chosen[0]), chosen, more)
        if kept := still_holds(state, master.name, path, key, chosen):
            self._keep_master(master, path, key, kept)
            self._settle(master)
            return
        path = self.folders.make(master.name)
        inputs = state.job_inputs([*chosen, *others])
        request = MasterRequest.of(master, inputs, chosen, key, path, others)
        self._submit(request, first_jobs(request, self._sharing))

    def _usable(self, master: Master) -> list[Input] | None:
        """Return the frames of a master that can be used, or None if they are too few."""
        state, name = self.state, master.name
        measured = [i for i in master.inputs if i.file in state.measured]
        missing = {i.file: state.missing_masters(i) for i in measured}
        for file, names in missing.items():
            if names:
                state.fail(file, "no-master", f"its {_joined(sorted(names))} could not be made.")
        chosen = [i for i in measured if not missing[i.file]]
        if not chosen:
            lacking = sorted({n for names in missing.values() for n in names})
            why = "none of its frames can be used; see the reason for each"
            state.fail(
                name,
                "no-master",
                f"{_joined(lacking)} could not be made." if lacking else f"{why}.",
            )
            return None
        if len(chosen) < master.minimum:
            state.fail(name, "few-frames", too_few(master, len(chosen)))
            return None
        return chosen

    def _other_chips(self, master: Master, chosen: Sequence[Input]) -> list[Input]:
        """Return the flats of other chips, in the exposures of some flats, that can be used."""
        state = self.state
        paths = {state.frames[i.file].path for i in chosen}
        return [
            other
            for _, other in self.of_other_chips.get(master.name, ())
            if state.frames[other.file].path in paths
            and other.file in state.measured
            and not state.missing_masters(other)
        ]

    @property
    def _sharing(self) -> int:
        """Among how many workers a master may be divided; threads divide its bands instead."""
        return self.workers.number if self.workers.remote else 0

    def _submit(self, request: MasterRequest, jobs: Sequence) -> None:
        self.pending[request.master.name] = _Pending(request, len(jobs))
        for job in jobs:
            self.workers.submit(job)

    def _take_external(self, master: Master) -> None:
        """Use a master of another night, if its file is unchanged."""
        path = Path(master.path)
        external = check_product(path)
        if external.faults:
            faults = "; ".join(external.faults)
            why = f"{path}: {faults}; remake it, or remove it from the calibrations."
            self.state.fail(master.name, "checksum", why)
            return
        try:
            self.state.add_master(master.name, path, external.sha256)
        except (FrameRejected, OSError):
            why = "it was removed or replaced during the run; remake it, or remove it from the"
            self.state.fail(master.name, "removed", f"{path}: {why} calibrations.")

    def _keep_master(self, master: Master, path: Path, key: str, kept: CheckedProduct) -> None:
        """Use a master of an earlier run that is up to date."""
        self.state.note_set_aside(kept)
        if self._take_master(master, path, kept.sha256, key):
            self.state.made.kept.add(master.name)

    def _take_master(self, master: Master, path: Path, sha256: str, key: str) -> bool:
        """Note a master that exists; return False if it was removed in the meantime."""
        with suppress(FrameRejected, OSError):
            if sha256:
                self.state.add_master(master.name, path, sha256, key)
                return True
        self.folders.check()
        self.state.drop_master(master.name, FrameRejected("removed", _REMOVED))
        return False

    def master_finished(
        self,
        job: FlatLevelsJob | RowsJob | MasterJob,
        outcome: Any,
    ) -> None:
        """Process the result of a job of a master, and submit the jobs that follow it."""
        master = job.request.master
        pending = self.pending.get(master.name)
        if pending is None or pending.request is not job.request:
            # Another of its jobs has failed, and it was abandoned or restarted.
            if isinstance(outcome, Part):
                outcome.remove()
            return
        if not isinstance(job, MasterJob) and not isinstance(outcome, Exception):
            self._part_finished(pending, job, outcome)
            return
        del self.pending[master.name]
        finished = job.parts if isinstance(job, MasterJob) else pending.results
        for part in finished:
            if isinstance(part, Part):
                part.remove()
        if isinstance(outcome, Exception):
            self._master_refused(job.request, outcome)
            return
        self.state.made.failed |= outcome.failed
        if outcome.refused is not None:
            self._master_refused(job.request, outcome.refused)
            return
        number = len(job.files) - len(outcome.failed)
        log.info("%s made of %d frames", master.name, number, extra={"made": True})
        path = self.state.settings.output / PurePosixPath(master.name)
        self._take_master(master, path, outcome.sha256, job.request.key)
        self.state.note_identity(master.name)
        self._settle(master)

    def _part_finished(self, pending: _Pending, job: FlatLevelsJob | RowsJob, outcome: Any) -> None:
        """Take the levels of some flats, or some rows; when all are there, go on with them."""
        if isinstance(job, FlatLevelsJob):
            self.state.made.failed |= refused_flats(outcome)
        pending.results.append(outcome)
        if len(pending.results) == pending.jobs:
            self._submit(pending.request, job.following(pending.results, self.workers.number))

    def _master_refused(self, request: MasterRequest, refused: Exception) -> None:
        """Restart a master without the frames that changed, or note why it cannot be made."""
        master = request.master
        if not isinstance(refused, FrameRejected | OSError):
            raise refused
        if lost := [file for file in request.files if self._is_lost(file, refused)]:
            log.warning("%s is remade without %s", master.name, ", ".join(lost))
            self._begin_master(master)
            return
        if not isinstance(refused, FrameRejected):
            raise refused
        self.state.fail(master.name, refused.code, str(refused))
        self._settle(master)

    def _is_lost(self, file: str, error: Exception) -> bool:
        """Return True if a frame is no longer the file that was measured, and set it aside."""
        state = self.state
        path = state.frames[file].raw.path
        found: Measured | FrameRejected
        if not isinstance(error, FrameRejected) or not error.path:
            found = look_at(state.frames[file])
        elif error.path in (str(path), str(path.absolute())):
            found = error
        else:
            return False
        if isinstance(found, Measured):
            if found.sha256 == state.measured[file].sha256:
                return False
            found = FrameRejected("changed", "it changed while it was read; copy it again.")
        state.fail(file, found.code, str(found))
        del state.measured[file]
        return True

    def _settle(self, master: Master) -> None:
        self.settled.add(master.name)
        self.master_step()

    # Science.

    def _begin_science(self, products: Iterable[Product]) -> None:
        """Submit jobs for the science frames whose products are not up to date."""
        state = self.state
        requests = []
        for product in products:
            file = product.input.file
            missing = state.missing_masters(product.input)
            if file in state.measured and missing:
                state.fail(file, "no-master", f"its {_joined(missing)} could not be made.")
            if file not in state.measured or missing:
                self.science_step()
            elif (request := self._science_request(product)) is not None:
                requests.append(request)
        for batch in batches(state.frames, requests, self.workers.number):
            inputs = state.job_inputs([request.chosen for request in batch])
            self.workers.submit(ScienceJob(inputs, batch))

    def _science_request(self, product: Product) -> ScienceRequest | None:
        """Return the request for a product; None if it is up to date."""
        state, name, chosen = self.state, product.name, product.input
        path = state.settings.output / PurePosixPath(name)
        cosmic_rays = state.cosmic_rays(chosen.file)
        switched_off = state.cosmic_rays_off(chosen.file)
        how = "switched off" if switched_off else cosmic_rays
        key = state.key("science", state.profile(chosen), [chosen], how)
        if still_holds(state, name, path, key, [chosen], cosmic_rays):
            state.made.kept.add(name)
            state.made.products[name] = path
            self.science_step()
            return None
        path = self.folders.make(name)
        return ScienceRequest(name, chosen, key, path, cosmic_rays, switched_off)

    def science_finished(self, job: ScienceJob, outcome: Written | Exception) -> None:
        """Note the products of a job, and the frames that it could not calibrate."""
        state = self.state
        if isinstance(outcome, FrameRejected):
            state.fail(job.files[0], outcome.code, str(outcome))
            outcome = Written({}, {})
        elif isinstance(outcome, Exception):
            raise outcome
        for request in job.requests:
            if request.name in outcome.products:
                path = state.settings.output / PurePosixPath(request.name)
                state.made.products[request.name] = path
                state.note_identity(request.name)
                log.info("%s made", request.name, extra={"made": True})
            self.science_step()
        state.made.failed |= outcome.failed


def _joined(names: Iterable[str]) -> str:
    return ", ".join(PurePosixPath(name).stem for name in names)
