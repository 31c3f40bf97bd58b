"""A night from raw frames to science: `plan_night` and `reduce_night`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .camera.profile import Profile
from .camera.recipe import CosmicRays
from .errors import EmptyNight, InputError, PlanError, words_of
from .files.places import HeldFolders, local_path
from .files.threads import imported_meanwhile
from .output.contents import stale
from .output.folder import OutputFolder
from .output.location import folders_seen_from, names_of, refuse_frames
from .plan.cosmic_rays import asked_cosmic_rays, cosmic_rays_off, possible_cosmic_rays
from .plan.frames import NOT_CALIBRATED, SET_ASIDE, Frame, collection, shown_name
from .plan.notebook import folded
from .plan.plan import Plan
from .plan.request import NightRequest, Planned
from .report.progress import progress_bar
from .run.executors import check_executor, executor_of
from .run.interpreter import collector_paused
from .run.memory import Memory
from .run.state import Outcome

# A plan needs headers only: what works on pixels is imported by what makes products.
if TYPE_CHECKING:
    from concurrent.futures import Executor

    from astropy.table import Table
    from ccdproc import ImageFileCollection

    from .reduce.made import Made
    from .report.report import Report

__all__ = ["Night", "frames_and_plan", "plan_night", "reduce_night", "scan_night"]

log = logging.getLogger("ccdprofiles")

_OF_THE_PLAN = (
    *("profile", "profiles", "calibrations", "without", "keep", "reject"),
    *("min_frames", "only", "changes"),
)
"""Options of a plan."""

_OF_RESULTS = {*_OF_THE_PLAN, "cosmic_rays", "strict"} - {"profile", "profiles"}
"""Options that change what a run reports; profiles are compared by their content."""


@dataclass(frozen=True, eq=False)
class Night:
    """A night that was reduced: what was made, what was set aside, and why.

    Parameters
    ----------
    folder, output : Path
    masters, products : dict
        The path of each master and calibrated frame, by its name in the plan.
    kept : frozenset of str
        Names of those that were already up to date.
    anew : dict
        Name of each one that was remade → why.
    ok : bool
        True if everything in the night was made and no frame was set aside.
    summary : str
        A few lines: what was made, what was not, and why.

    Examples
    --------
    >>> import tempfile
    >>> from ccdprofiles import reduce_night, simulate_night
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = simulate_night("sbo", f"{folder}/raw", shape=(32, 40))
    ...     night = reduce_night(f"{folder}/raw", f"{folder}/reduced", profile=truth.known)
    >>> night.ok, len(night.set_aside)
    (True, 0)
    >>> min(night.masters)
    'masters/sbo_dark_3s_1x1.fits'
    >>> print(night.frames["file", "verdict"][:2])
         file     verdict
    ------------- -------
    dark-001.fits    used
    dark-002.fits    used
    """

    folder: Path
    output: Path
    masters: dict[str, Path]
    products: dict[str, Path]
    kept: frozenset[str]
    anew: dict[str, str]
    ok: bool
    summary: str = field(repr=False)
    _read: Callable[[], tuple[Sequence[Frame], Report]] = field(repr=False)

    @cached_property
    def _headers(self) -> tuple[Sequence[Frame], Report]:
        """The frames and the report; if nothing changed, headers are read only for these."""
        return self._read()

    @property
    def _report(self) -> Report:
        return self._headers[1]

    @property
    def plan(self) -> Plan:
        """The plan: what is made from which frames."""
        return self._report.plan

    @property
    def frames(self) -> Table:
        """One row for each file, or chip of a mosaic, with its verdict and the reason."""
        return self._report.table

    @property
    def collection(self) -> ImageFileCollection:
        """The accepted frames as a `ccdproc.ImageFileCollection`, with normalised columns."""
        return collection(self.folder, self._headers[0])

    @property
    def set_aside(self) -> Table:
        """The rows of the frames that were set aside or could not be calibrated."""
        bad = [verdict in (SET_ASIDE, NOT_CALIBRATED) for verdict in self.frames["verdict"]]
        return self.frames[bad]

    def __repr__(self) -> str:
        files = self.plan.found
        return (
            f"<Night {shown_name(str(self.folder))} reduced to {shown_name(str(self.output))}: "
            f"{files} file{'' if files == 1 else 's'} found, {len(self.masters)} masters, "
            f"{len(self.products)} science frames, {len(self.set_aside)} set aside or not "
            f"calibrated; ok={self.ok}>"
        )

    def _repr_html_(self) -> str:
        return folded("Night", str(self))

    def __str__(self) -> str:
        return f"Night {self.folder} reduced to {self.output}\n{self.summary}"


@contextmanager
def _in_words() -> Iterator[None]:
    """Raise an error of the system about a file as an `InputError` that names the file."""
    try:
        yield
    except OSError as error:
        if not isinstance(error.filename, str | bytes):
            raise
        raise InputError(
            f"{os.fsdecode(error.filename)} cannot be used ({words_of(error)}); "
            "grant permission, or use another path."
        ) from error


@_in_words()
@collector_paused()
def scan_night(folder: str | Path, **options: Any) -> tuple[Frame, ...]:
    """Read the headers of a night, and choose the profile of each frame.

    Parameters are those of `plan_night` that concern headers: ``profile``, ``profiles``,
    ``calibrations`` and ``changes``.

    Raises
    ------
    InputError
        If a folder cannot be read.
    ProfileError
        If a profile is not valid, or two fit one header.
    """
    return NightRequest(folder, **options).scan()


@_in_words()
def plan_night(
    folder: str | Path,
    *,
    profile: str | Path | Profile | None = None,
    profiles: Iterable[str | Path | Profile] = (),
    calibrations: Iterable[str | Path] = (),
    without: Iterable[str] = (),
    keep: Iterable[str | Path] = (),
    reject: Iterable[str | Path] = (),
    min_frames: int | None = None,
    only: Iterable[str] | str = (),
    changes: Mapping[str, object] | None = None,
    output: str | Path | None = None,
) -> Plan:
    """Return what `reduce_night` would make from which frames; reads headers only.

    Parameters are those of `reduce_night`.

    Returns
    -------
    Plan
        It can be printed, saved with `Plan.to_json`, and compared.

    Examples
    --------
    >>> import tempfile
    >>> from ccdprofiles import plan_night, simulate_night
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = simulate_night("sbo", folder, shape=(32, 40))
    ...     plan = plan_night(folder)
    >>> plan.complete
    True
    >>> plan.masters[0].name
    'masters/sbo_dark_3s_1x1.fits'
    """
    given = locals()
    return frames_and_plan(folder, output=output, **{n: given[n] for n in _OF_THE_PLAN}).plan


@_in_words()
@collector_paused()
def frames_and_plan(
    folder: str | Path, *, output: str | Path | None = None, **options: Any
) -> Planned:
    """Return the frames of a night beside their plan.

    Parameters are those of `plan_night`.
    """
    request = NightRequest(folder, **options)
    leave_out = []
    if output is not None:
        output = local_path(output, "the output")
        leave_out = names_of(request.folder, output)
        refuse_frames(output, request.folder)
    return request.plan(request.scan(leave_out))


@_in_words()
def reduce_night(
    folder: str | Path,
    output: str | Path,
    *,
    profile: str | Path | Profile | None = None,
    profiles: Iterable[str | Path | Profile] = (),
    calibrations: Iterable[str | Path] = (),
    without: Iterable[str] = (),
    keep: Iterable[str | Path] = (),
    reject: Iterable[str | Path] = (),
    min_frames: int | None = None,
    only: Iterable[str] | str = (),
    changes: Mapping[str, object] | None = None,
    cosmic_rays: bool | CosmicRays | None = None,
    strict: bool = False,
    overwrite: bool = False,
    jobs: int = 0,
    executor: Executor | None = None,
    dask: str | None = None,
    progress: bool = False,
) -> Night:
    """Reduce a folder of raw frames to masters and calibrated science frames.

    Parameters
    ----------
    folder : path
        The night, with its sub-folders; nothing in it is written.
    output : path
        Where masters, science frames, tables and the report are written.
    profile : str, path or Profile, optional
        Used for every frame, regardless of INSTRUME.
    profiles : iterable of path or Profile
        More profiles to choose from, before the user's and the shipped ones.
    calibrations : iterable of path
        Folders with biases, darks and flats of other nights, raw or masters.
    without : iterable of {"bias", "dark", "flat"}
        Steps to omit on purpose; header and report record this.
    keep : iterable of path
        Frames of the night to use even if they fail the checks of their pixels.
    reject : iterable of path
        Frames of the night to reject.
    min_frames : int, optional
        The smallest number of frames for a master bias, dark or flat, instead of that in the
        recipes.
    only : iterable of str
        The part of the night to make, with the masters that it needs: ``"masters"``,
        a type of frame, ``"filter=R"``, ``"object=M 31"``, ``"file=PATTERN"`` or a pattern
        such as ``"ccd.03*.fits"``. Words of the same kind are alternatives, words of different
        kinds must all match.
    changes : mapping of str, optional
        Settings of the recipes to change for this run, such as
        ``{"electrons": True, "combine.flat.clip": 3}``; header and report record this.
    cosmic_rays : bool, CosmicRays or None
        True or ``CosmicRays(...)`` detects cosmic rays even if the recipes do not, False does not
        detect them even if the recipes do, and None follows each recipe.
    strict : bool
        Do not start if anything is missing.
    overwrite : bool
        Remake all products; otherwise products that are up to date are kept.
    jobs : int
        Number of threads, or of processes for a large night; 0 uses all processors.
        Results do not depend on it.
    executor : concurrent.futures.Executor, optional
        Runs the jobs instead of own threads or processes, such as a
        `~concurrent.futures.ProcessPoolExecutor`. It is not shut down.
    dask : str, optional
        Address of a dask.distributed scheduler whose workers run the jobs, or its
        scheduler file; they must see the folders under the same paths.
    progress : bool
        Whether to show progress bars on a terminal.

    Returns
    -------
    Night

    Raises
    ------
    InputError
        If the folder cannot be read, the output is or contains it, a file to be kept or
        rejected is not in the night, or ``only`` matches nothing.
    ProfileError
        If a profile is not valid, or two fit one header, or a setting to be changed does
        not exist or does not fit a recipe of the night.
    PlanError
        If ``strict`` and anything is missing, or if omitting a step would make another give wrong
        results.
    OutputError
        If the products cannot be written.
    Locked
        If another run uses the output folder.

    Examples
    --------
    >>> import tempfile
    >>> from ccdprofiles import reduce_night, simulate_night
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = simulate_night("sbo", f"{folder}/raw", shape=(32, 40))
    ...     where = f"{folder}/raw", f"{folder}/reduced"
    ...     night = reduce_night(*where, profile=truth.known)
    ...     second = reduce_night(*where, profile=truth.known)
    >>> print(night.summary)
    24 files found, 24 used
    3 of 3 masters and 3 of 3 planned science frames are there
    >>> print(second.summary)
    24 files found, 24 used
    3 of 3 masters and 3 of 3 planned science frames are there, 6 already up to date
    """
    given = locals()
    request = NightRequest(folder, **{name: given[name] for name in _OF_THE_PLAN})
    output = local_path(output, "the output")
    cosmic_rays = asked_cosmic_rays(cosmic_rays, request.changes)
    check_executor(jobs, executor, dask)
    with OutputFolder(output, request.folder, request.calibrations, overwrite=overwrite) as out:
        asked = {name: given[name] for name in _OF_RESULTS}
        memory = Memory.of(request, output, out.names, asked)
        last = memory.recall() if out.locked_early and not overwrite else None
        if last is not None:
            log.info("ccdprofiles %s reduces %s", __version__, _name_of(request.folder))
            log.info("%s", last.summary)
            return _unchanged(request, out, last)
        planned = _planned(request, out)
        if strict and not planned.plan.complete:
            raise PlanError(
                f"strict: something is missing, so the run does not start.\n{planned.plan}"
            )
        cosmic = possible_cosmic_rays(cosmic_rays, planned.frames)
        places = out.accept(planned.plan, planned.frames)
        with (
            executor_of(planned.frames, output, jobs, executor, dask) as (executor, jobs),
            out.written(places) as folders,
        ):
            log.info("ccdprofiles %s reduces %s", __version__, _name_of(request.folder))
            how = {"output": output, "jobs": jobs, "overwrite": overwrite, "cosmic_rays": cosmic}
            made = _run(planned, folders, executor, progress, **how)
            report = _report_of(planned, made, out, folders, cosmic)
            night = _night_of(planned, report, out)
            memory.remember(report.made, report.ok, report.summary_of_next, report.codes)
    return night


@collector_paused()
def _planned(request: NightRequest, out: OutputFolder) -> Planned:
    """Read the headers of a night and plan it."""
    scanned = request.scan(out.names)
    if not scanned:
        raise EmptyNight(f"{out.night} contains no file; specify the folder of the night.")
    return request.plan(scanned)


def _run(
    planned: Planned,
    folders: HeldFolders,
    executor: Executor | None,
    progress: bool,
    **settings: Any,
) -> Made:
    """Make the masters and products of the plan."""
    from .run.run import run_plan
    from .run.runstate import Settings, no_progress

    bars = progress_bar if progress else no_progress
    how = Settings(**settings, progress=bars, places=folders.places)
    for sentence in planned.plan.on_purpose:
        log.info("%s", sentence)
    for file in planned.plan.reject:
        log.info("%s: rejected by hand", file)
    with imported_meanwhile("ccdprofiles.report.report"):
        return run_plan(planned.plan, planned.frames, how, folders, executor)


def _report_of(
    planned: Planned,
    made: Made,
    out: OutputFolder,
    folders: HeldFolders,
    cosmic: CosmicRays | bool | None,
) -> Report:
    """Write the report of what was made."""
    from .report.report import Report

    _, frames, plan = planned
    folders.check()
    made = replace(made, earlier=made.earlier | _earlier(out.path, plan))
    notes = [*made.notes, *cosmic_rays_off(cosmic, plan, frames), *stale(out.path, made)]
    folders.check()
    places = folders_seen_from(out.path, out.night, frames)
    report = Report(frames, plan, replace(made, notes=notes), places)
    report.write(folders.places, _name_of(out.night))
    log.info("%s", report.summary)
    return report


def _night_of(planned: Planned, report: Report, out: OutputFolder) -> Night:
    made = report.made
    present = made.masters | made.products
    return Night(
        folder=out.night,
        output=out.path,
        masters=made.masters,
        products=made.products,
        kept=frozenset(made.kept),
        anew={name: why for name, why in made.anew.items() if name in present},
        ok=report.ok,
        summary=report.summary,
        _read=lambda: (planned.scanned, report),
    )


def _unchanged(request: NightRequest, out: OutputFolder, last: Outcome) -> Night:
    """Return a night in which nothing was made; its headers are read when they are needed."""
    paths = {name: Path(os.path.normpath(out.path / path)) for name, path in last.paths.items()}
    names = list(paths)
    masters = {name: paths[name] for name in names[: last.masters]}
    products = {name: paths[name] for name in names[last.masters :]}

    def read() -> tuple[Sequence[Frame], Report]:
        from .reduce.made import Made
        from .report.report import Report

        scanned, frames, plan = _planned(request, out)
        made = Made(
            masters,
            products,
            set(names),
            failed=dict(last.failed),
            notes=list(last.notes),
            overruled=dict(last.overruled),
        )
        folders = folders_seen_from(out.path, out.night, frames)
        return scanned, Report(frames, plan, made, folders)

    return Night(
        folder=out.night,
        output=out.path,
        masters=masters,
        products=products,
        kept=frozenset(names),
        anew={},
        ok=last.ok,
        summary=last.summary,
        _read=read,
    )


def _name_of(folder: Path) -> str:
    return shown_name(folder.resolve().name)


def _earlier(output: Path, plan: Plan) -> dict[str, str]:
    """Return the products of an earlier run that are not selected now, by their files."""
    left = {file: name for file, name in plan.not_asked if name and (output / name).exists()}
    # A file of all chips is not written if one of them is not selected.
    others = {m.name for m in plan.mosaics} - {m.name for m in plan.joined}
    return left | {name: name for name in sorted(others) if (output / name).exists()}
