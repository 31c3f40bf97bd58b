"""Execute a plan: measure the frames, make the masters, calibrate the science frames.

Each is a job for the workers, submitted once its inputs exist. Within a job
everything is done band by band: rows of all the frames of a master, or of all the
science frames that share their masters, are read, combined or calibrated, and written,
so that frames do not need to fit into memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace

from ..errors import FrameRejected
from ..files.places import HeldFolders
from ..plan.frames import Frame
from ..plan.plan import Plan
from ..products.product import remove_leftovers
from ..reduce.made import Made
from .making import make_products
from .measuring import measure_frames
from .mosaics import join_chips
from .runstate import RunState, Settings
from .workers import Workers, workers_of

__all__ = ["Made", "Settings", "run_plan"]


def run_plan(
    plan: Plan,
    frames: Sequence[Frame],
    settings: Settings,
    folders: HeldFolders,
    executor: Executor | None = None,
) -> Made:
    """Make every master and every product of a plan.

    A frame that cannot be used is omitted, and recorded in ``failed`` with everything that needs
    it. Results do not depend on the kind and the number of the workers.

    Parameters
    ----------
    plan : Plan
    frames : sequence of Frame
    settings : Settings
    folders : HeldFolders
        Those of the output.
    executor : Executor, optional
        Runs the jobs instead of threads of this process.

    Raises
    ------
    OutputError
        If the products cannot be written.
    """
    state = RunState(plan, frames, settings)
    with Workers(workers_of(executor, settings.jobs), executor) as workers:
        try:
            measure_frames(state, workers)
            make_products(state, workers, folders)
            folders.check()
            _drop_removed(state)
            join_chips(state, folders)
            return _in_order(state)
        finally:
            if workers.lost:
                remove_leftovers(folders.places)


def _drop_removed(state: RunState) -> None:
    """Remove products whose files no longer exist, so that only existing files are listed."""
    made = state.made
    for master in state.plan.masters:
        if master.name in state.masters and not master.path:
            try:
                state.masters[master.name].file.refuse_changed()
            except FrameRejected as error:
                state.drop_master(master.name, error)
    files = {p.name: p.input.file for p in state.plan.products}
    for name in [n for n, path in made.products.items() if not path.is_file()]:
        del made.products[name]
        made.kept.discard(name)
        why = f"its product {name} was removed during the run; run it again to remake it."
        state.fail(files[name], "removed", why)


def _in_order(state: RunState) -> Made:
    """Return what was made in the order of the plan, not in the order of completion."""
    plan, made = state.plan, state.made
    masters, failed = [m.name for m in plan.masters], made.failed
    names = dict.fromkeys([*sorted(state.frames), *masters, *sorted(failed)])
    science = [p.name for p in plan.products] + [m.name for m in plan.joined]
    return replace(
        made,
        masters={n: state.masters[n].file.path for n in masters if n in state.masters},
        products={name: made.products[name] for name in science if name in made.products},
        failed={name: failed[name] for name in names if name in failed},
    )
