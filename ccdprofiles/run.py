"""Walk a plan: measure the frames, make the masters, calibrate the science.

Everything goes band by band: rows of all the frames of a master, or of all the
science frames that share their masters, are read, worked on and written, so that
neither frames nor masters need to fit into memory.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from astropy import units as u

from .errors import FrameRejected
from .frames import Frame
from .ledger import Ledger, Made, Settings
from .masters import MasterMaker
from .plan import Master, Plan
from .prepare import Measured, measure, take_level
from .resume import still_holds
from .science import batches

__all__ = ["Made", "Settings", "run_plan"]

log = logging.getLogger(__name__)

_SHUTTER_CLOSED = (("bias", "dark"), ("science", "arc"))
"""The types whose overscan tells the level of a night, the best first."""


def run_plan(plan: Plan, frames: Sequence[Frame], settings: Settings) -> Made:
    """Make every master and every product of a plan.

    A frame that turns out to be unusable costs itself; what needs it says so in
    ``failed``. Results do not depend on the number of threads.

    Parameters
    ----------
    plan : Plan
    frames : sequence of Frame
    settings : Settings

    Raises
    ------
    OutputError
        If the products cannot be written.
    """
    # Once so much was freed, glibc keeps what bands leave behind for the next ones, and
    # does not give it back to the system, page by page, only to ask for it again.
    np.empty(31 * 2**20, "u1")
    pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="ccdprofiles")
    try:
        return _Run(plan, frames, settings, pool).run()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Run(Ledger):
    """Walks the plan."""

    def run(self) -> Made:
        self._measure()
        step = self.settings.progress("masters", len(self.plan.masters))
        for master in self.plan.masters:
            self._master(master)
            step()
        self._science()
        return self.made

    # Measuring.

    def _measure(self) -> None:
        files = sorted(
            {i.file for m in self.plan.masters for i in m.inputs}
            | {p.input.file for p in self.plan.products}
        )
        step = self.settings.progress("frames", len(files))

        def one(file: str) -> Measured | FrameRejected:
            try:
                return self._measured(file)
            finally:
                step()

        for file, found in zip(files, self.pool.map(one, files), strict=True):
            if isinstance(found, FrameRejected):
                self.made.failed[file] = (found.code, f"{file}: {found}")
            else:
                self.measured[file] = found
        self._compare_levels()
        self._check_scatter()

    def _measured(self, file: str) -> Measured | FrameRejected:
        """Measure one frame, or say why that cannot be done."""
        frame = self.frames[file]
        try:
            return measure(frame.raw, frame.amplifiers, frame.recipe)
        except FrameRejected as error:
            return error
        except OSError as error:
            return FrameRejected("unreadable", f"it cannot be read ({error.strerror}).")

    def _lost(self, file: str) -> bool:
        """Say whether a frame is no longer what was measured; if so, it costs itself."""
        found = self._measured(file)
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
        for file in self.measured:
            frame = self.frames[file]
            if frame.recipe.overscan_drift is not None:
                key = (frame.profile.name, frame.readout, frame.binning)
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
                self.measured[file] = take_level(self.measured[file], night, drift)
                if any(self.measured[file].replaced):
                    log.warning("%s: its overscan stands apart; the night's level is taken", file)

    # Masters.

    def _master(self, master: Master) -> None:
        """Make one master, unless it is there already or nothing is left to make it of."""
        if master.path:
            path = Path(master.path)
            self.keep(master.name, path)
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
                else ("none of its frames can be used, as said of each")
            )
            self.made.failed[master.name] = ("no-master", f"{master.name}: {why}.")
            return
        path = self.settings.output / PurePosixPath(master.name)
        key = self.key(master.type, self.profile(inputs[0]), inputs, master.method)
        if still_holds(self, master.name, path, key, inputs):
            self.made.kept.add(master.name)
            self.remember(path)
        else:
            try:
                MasterMaker(self, master, inputs, key).write(path)
            except (FrameRejected, FileNotFoundError, PermissionError) as error:
                lost = [i.file for i in inputs if self._lost(i.file)]
                if lost:
                    self._master(master)
                    return
                if not isinstance(error, FrameRejected):
                    raise
                self.made.failed[master.name] = (error.code, f"{master.name}: {error}")
                return
            log.info("%s made of %d frames", master.name, len(inputs), extra={"made": True})
        self.keep(master.name, path, key)

    # Science.

    def _science(self) -> None:
        step = self.settings.progress("science", len(self.plan.products))
        ready = []
        for product in self.plan.products:
            chosen = product.input
            lacking = [
                m
                for m in (chosen.bias, chosen.dark, chosen.flat)
                if m and m not in self.made.masters
            ]
            if chosen.file not in self.measured:
                step()
            elif lacking:
                why = f"{chosen.file}: its {_joined(lacking)} could not be made."
                self.made.failed[chosen.file] = ("no-master", why)
                step()
            else:
                ready.append(product)
        todo = []
        for product in ready:
            path = self.settings.output / PurePosixPath(product.name)
            cosmic = self.cosmic_rays(product)
            key = self.key("science", self.profile(product.input), [product.input], cosmic)
            self.keys[product.name] = key
            if still_holds(self, product.name, path, key, [product.input], cosmic):
                self.made.kept.add(product.name)
                self.made.products[product.name] = path
                step()
            else:
                todo.append(product)
        ready = list(batches(self, todo))
        if len(ready) > 1 and all(len(b.bands) == 1 for b in ready):
            for _ in self.pool.map(lambda batch: batch.write(map, step), ready):
                pass
        else:
            for batch in ready:
                batch.write(self.pool.map, step)


def _joined(names: Iterable[str] | str) -> str:
    return names if isinstance(names, str) else ", ".join(PurePosixPath(n).stem for n in names)
