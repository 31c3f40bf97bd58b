"""A night from raw frames to science: `plan_night` and `reduce_night`."""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__
from .camera.changes import Changes
from .camera.profile import Profile
from .camera.recipe import CosmicRays
from .camera.registry import Registry, load_profile
from .errors import EmptyNight, InputError, PlanError, words_of
from .files.places import HeldFolders, Places, escaped_path, local_path
from .files.threads import NOT_STARTED
from .output.folder import (
    LOG,
    TABLES,
    check_files,
    check_folders,
    check_links,
    check_room,
    locked,
    logged,
    may_be_held,
    names_of,
    places_of,
    refuse_foreign,
    refuse_frames,
    refuse_links,
    stale,
)
from .plan.frames import ACCEPTED, Frame, by_hand, collection, shown_name
from .plan.notebook import folded
from .plan.plan import Plan
from .plan.planner import check_steps, make_plan
from .plan.scan import files_of, scan
from .plan.selection import Selection
from .run.state import Listing, Outcome, listing_of, outputs_of, recall, remember, request_of

# A plan needs headers only: what works on pixels is imported by what makes products.
if TYPE_CHECKING:
    from concurrent.futures import Executor

    from astropy.table import Table

    from .run.run import Made

__all__ = ["Night", "plan_night", "reduce_night", "scan_night"]

log = logging.getLogger("ccdprofiles")

_NOT_ASKED = (
    "folder",
    "output",
    "profile",
    "profiles",
    "overwrite",
    "jobs",
    "executor",
    "dask",
    "progress",
)
"""Options that change no result, or that are described by what they lead to."""


@dataclass(frozen=True)
class _Read:
    """What a run, or a second look at the headers, knows of every file."""

    scanned: tuple[Frame, ...]
    plan: Plan
    frames: Table
    made: Made


@dataclass(frozen=True, eq=False)
class Night:
    """A night that was reduced: what was made, what was set aside, and why.

    Parameters
    ----------
    folder, output : Path
    masters, products : dict
        The path of every master and calibrated frame, by its name in the plan.
    kept : frozenset of str
        Names of those that were there already and still hold.
    anew : dict
        Name of every one that was there and was made anew → why.
    ok : bool
        Whether everything that the night holds was made, and nothing set aside.
    """

    folder: Path
    output: Path
    masters: dict[str, Path]
    products: dict[str, Path]
    kept: frozenset[str]
    anew: dict[str, str]
    ok: bool
    _summary: str = field(repr=False)
    _read: Callable[[], _Read] = field(repr=False)

    @cached_property
    def _known(self) -> _Read:
        """Read only now where nothing changed, and so nothing was read."""
        return self._read()

    @property
    def plan(self) -> Plan:
        """What was to be made of what."""
        return self._known.plan

    @property
    def frames(self) -> Table:
        """One row for every file that was found, with its verdict and the reason."""
        return self._known.frames

    @property
    def _made(self) -> Made:
        return self._known.made

    @property
    def collection(self):
        """The accepted frames as a `ccdproc.ImageFileCollection`, with normalised columns."""
        return collection(self.folder, self._known.scanned)

    @property
    def set_aside(self) -> Table:
        """The rows of the frames that were set aside or could not be calibrated."""
        bad = [v in ("set aside", "not calibrated") for v in self.frames["verdict"]]
        return self.frames[bad]

    def __repr__(self) -> str:
        return (
            f"<Night {shown_name(str(self.folder))} reduced to {shown_name(str(self.output))}: "
            f"{len(self.frames)} file{'' if len(self.frames) == 1 else 's'} found, {len(self.masters)} masters, "
            f"{len(self.products)} science frames, {len(self.set_aside)} set aside or not "
            f"calibrated; ok={self.ok}>"
        )

    def _repr_html_(self) -> str:
        return folded("Night", str(self))

    def __str__(self) -> str:
        return f"Night {self.folder} reduced to {self.output}\n{self._summary}"


def _unchanged(folder: Path, output: Path, outcome: Outcome, planned: Callable) -> Night:
    """Return a night in which nothing was made; its headers are read when they are asked for."""
    paths = {n: Path(os.path.normpath(output / p)) for n, p in outcome.paths.items()}
    names = list(paths)
    night = Night(
        folder=folder,
        output=output,
        masters={n: paths[n] for n in names[: outcome.masters]},
        products={n: paths[n] for n in names[outcome.masters :]},
        kept=frozenset(names),
        anew={},
        ok=outcome.ok,
        _summary=outcome.summary,
        _read=lambda: _read_again(night, outcome, planned),
    )
    return night


def _read_again(night: Night, outcome: Outcome, planned: Callable) -> _Read:
    """Read the headers of a night again, and lay it out as the last run did."""
    from .report.page import night_table
    from .run.run import Made

    scanned, frames, plan = planned()
    made = Made(
        night.masters,
        night.products,
        set(night.kept),
        failed=dict(outcome.failed),
        notes=list(outcome.notes),
        overruled=dict(outcome.overruled),
    )
    table = night_table(frames, plan, made)
    table.meta["folders"] = _folders(night.folder, night.output, frames)
    return _Read(scanned, plan, table, made)


@contextmanager
def _in_words() -> Iterator[None]:
    """Raise what the system refuses about a file as a sentence that names it."""
    try:
        yield
    except OSError as error:
        if not isinstance(error.filename, str | bytes):
            raise
        raise InputError(
            f"{os.fsdecode(error.filename)} cannot be used ({words_of(error)}); "
            "allow it, or give another path."
        ) from error


@_in_words()
def scan_night(
    folder: str | Path,
    *,
    profile: str | Path | Profile | None = None,
    profiles: Iterable[str | Path | Profile] = (),
    calibrations: Iterable[str | Path] = (),
    leave_out: Iterable[str | Path] = (),
    changes: Mapping[str, object] | Changes | None = None,
) -> tuple[Frame, ...]:
    """Read the headers of a night, and choose the profile of every frame.

    Parameters are those of `reduce_night`.

    Raises
    ------
    InputError
        If a folder cannot be read.
    ProfileError
        If a profile cannot be right, or two fit one header.
    """
    changes = Changes.of(changes)
    folder = local_path(folder, "the night")
    calibrations = _paths(calibrations)
    registry, forced = _known(profile, profiles)
    return scan(
        folder,
        registry,
        forced=forced,
        calibrations=calibrations,
        leave_out=leave_out,
        changes=changes,
    )


def _known(
    profile: str | Path | Profile | None, profiles: Iterable[str | Path | Profile]
) -> tuple[Registry, Profile | None]:
    """Return the profiles to choose from, and the one that is taken for every frame."""
    registry = Registry.gather(profiles)
    for sentence in registry.replaced:
        log.info("%s", sentence)
    forced = _forced(profile, registry)
    if forced is not None and forced not in registry.profiles:
        registry = replace(registry, profiles=(forced, *registry.profiles))
    return registry, forced


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
    """Say what `reduce_night` would make of what, and what it could not; reads no pixel.

    Parameters are those of `reduce_night`.

    Returns
    -------
    Plan
        To be printed, saved with `Plan.to_json`, and compared.
    """
    return frames_and_plan(
        folder,
        profile=profile,
        profiles=profiles,
        calibrations=calibrations,
        without=without,
        keep=keep,
        reject=reject,
        min_frames=min_frames,
        only=only,
        changes=changes,
        output=output,
    )[1]


@_in_words()
def frames_and_plan(
    folder: str | Path,
    *,
    without: Iterable[str] = (),
    keep: Iterable[str | Path] = (),
    reject: Iterable[str | Path] = (),
    min_frames: int | None = None,
    only: Iterable[str] | str = (),
    changes: Mapping[str, object] | None = None,
    output: str | Path | None = None,
    **which: object,
) -> tuple[tuple[Frame, ...], Plan]:
    """Read the headers of a night, and say what would be made of what.

    Parameters are those of `plan_night`.
    """
    without = check_steps(without)
    folder = local_path(folder, "the night")
    leave_out = []
    if output is not None:
        leave_out = names_of(folder, output := local_path(output, "the output"))
        refuse_frames(output, folder)
    changes, selection = Changes.of(changes), Selection.of(only)
    frames = scan_night(folder, leave_out=leave_out, changes=changes, **which)
    return _planned(frames, without, (keep, reject), min_frames, changes, selection)[1:]


def _planned(
    scanned: tuple[Frame, ...],
    without: tuple[str, ...],
    by: tuple[Iterable[str | Path], Iterable[str | Path]],
    min_frames: int | None,
    changes: Changes,
    selection: Selection,
) -> tuple[tuple[Frame, ...], tuple[Frame, ...], Plan]:
    """Return all frames, the same with what is not asked for marked, and their plan."""
    scanned, keep, reject = by_hand(scanned, *by)
    fewest = _fewest(min_frames)
    plan = make_plan(scanned, without, keep=keep, reject=reject, min_frames=fewest)
    return scanned, *selection.applied(scanned, replace(plan, changes=changes.texts))


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
    """Turn a folder of raw frames into masters and calibrated science frames.

    Parameters
    ----------
    folder : path
        The night, with its sub-folders; nothing in it is written.
    output : path
        Where masters, science frames, tables and the report go.
    profile : str, path or Profile, optional
        Taken for every frame, whatever INSTRUME says.
    profiles : iterable of path or Profile
        More profiles to choose from, before the user's and the shipped ones.
    calibrations : iterable of path
        Folders with biases, darks and flats of other nights, raw or masters.
    without : iterable of {"bias", "dark", "flat"}
        Steps left out on purpose; header and report say so.
    keep : iterable of path
        Files of the night that are used although their pixels speak against them.
    reject : iterable of path
        Files of the night that are left out.
    min_frames : int, optional
        The fewest frames of a master bias, dark or flat, in place of what the recipes say.
    only : iterable of str
        The part of the night that is made, with the masters that it needs: ``"masters"``,
        a type of frame, ``"filter=R"``, ``"object=M 31"``, ``"file=PATTERN"`` or a pattern
        such as ``"ccd.03*.fits"``. Words of one kind add up; of every kind one has to fit.
    changes : mapping of str, optional
        Settings of the recipes that are changed for this run, such as
        ``{"electrons": True, "combine.flat.clip": 3}``; header and report say so.
    cosmic_rays : bool, CosmicRays or None
        True or ``CosmicRays(...)`` flags cosmic rays whatever the recipes say, False
        switches them off, and None does as each recipe says.
    strict : bool
        Refuse to begin unless all that the night holds can be made.
    overwrite : bool
        Make everything anew; otherwise what is there and still holds is kept.
    jobs : int
        Threads, or processes for a large night; 0 takes as many as there are processors.
        Results do not depend on it.
    executor : concurrent.futures.Executor, optional
        Does the work instead of our own threads or processes, such as a
        `~concurrent.futures.ProcessPoolExecutor`. It is not shut down.
    dask : str, optional
        Address of a dask.distributed scheduler whose workers do the work, or its
        scheduler file; they must see the folders under the same paths.
    progress : bool
        Whether progress bars are shown on a terminal.

    Returns
    -------
    Night

    Raises
    ------
    InputError
        If the folder cannot be read, or the output lies on or above it, or a file to
        be kept or rejected is none of the night's, or ``only`` fits nothing.
    ProfileError
        If a profile cannot be right, or two fit one header, or a setting that is
        changed does not exist or does not fit a recipe of the night.
    PlanError
        If ``strict`` and something is missing, or if a step left out makes
        another give wrong numbers.
    OutputError
        If the products cannot be written.
    Locked
        If another run holds the output folder.

    Examples
    --------
    >>> from ccdprofiles import reduce_night
    >>> night = reduce_night("2018-08-22", "reduced")  # doctest: +SKIP
    >>> print(night)  # doctest: +SKIP
    """
    asked = {name: value for name, value in locals().items() if name not in _NOT_ASKED}
    folder, output = local_path(folder, "the night"), local_path(output, "the output")
    without = check_steps(without)
    calibrations = _paths(calibrations)
    if not isinstance(jobs, int) or jobs < 0:
        raise InputError(f"jobs={jobs!r} is no number of threads; 0 takes all processors.")
    if executor is not None and dask is not None:
        raise InputError("an executor and a dask cluster are given; one can do the work, not both.")
    if dask is not None:
        from .run.cluster import address_of

        address_of(dask)
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise InputError(
            f"executor={executor!r} is no executor; give one of concurrent.futures, "
            "or leave it out and say how many with jobs=."
        )
    if cosmic_rays is not None and not isinstance(cosmic_rays, bool | CosmicRays):
        raise InputError(
            f"cosmic_rays={cosmic_rays!r} is neither True, False, None nor CosmicRays(...)."
        )
    changes, selection = Changes.of(changes), Selection.of(only)
    cosmic_rays = changes.cosmic_rays(cosmic_rays)
    check_folders(folder, output, calibrations)
    if executor is not None:
        from .run.workers import check_workers

        check_workers(executor)
    with ExitStack() as held:
        early = may_be_held(output)
        if early:
            # A second run is told at once, before it reads a night of headers.
            first = held.enter_context(_alone(output))
        registry, forced = _known(profile, profiles)

        def planned() -> tuple[tuple[Frame, ...], tuple[Frame, ...], Plan]:
            scanned = scan(
                folder,
                registry,
                forced=forced,
                calibrations=calibrations,
                leave_out=names_of(folder, output),
                changes=changes,
            )
            if not scanned:
                raise EmptyNight(f"{folder} holds no file; give the folder that holds the night.")
            return _planned(scanned, without, (keep, reject), min_frames, changes, selection)

        raw = _listed(folder, output, calibrations)
        request = last = None
        if raw is not None and raw.large:
            places = _where(folder, output, calibrations)
            request = request_of([forced, *registry.profiles], asked | places)
        if early and not overwrite:
            last = recall(output, request, raw, lambda: _left(output))
        if last is not None:
            log.info("ccdprofiles %s reduces %s", __version__, shown_name(folder.resolve().name))
            log.info("%s", last.summary)
            return _unchanged(folder, output, last, planned)

        from .output.earlier import refuse_other_night
        from .run.processes import process_pool, worth_while
        from .run.run import Settings, run_plan
        from .run.workers import workers_of

        scanned, frames, plan = planned()
        if strict and not plan.complete:
            raise PlanError(f"strict: not all of the night can be made.\n{plan}")
        places = places_of(output, plan)
        check_links(output, plan, [folder, *calibrations], frames)
        refuse_links(output)
        if not overwrite:
            refuse_foreign(output, plan)
            refuse_other_night(output, folder, frames)
        check_files(plan, frames)
        check_room(output, plan, frames, overwrite)
        cosmic = _cosmic_rays(cosmic_rays, frames)
        if not early:
            first = held.enter_context(_alone(output))
        if dask is not None:
            from .run.cluster import connected

            seen = [output, *(frame.path for frame in frames[:1])]
            executor, number = held.enter_context(connected(dask, seen))
            jobs = jobs or number
        elif executor is None and jobs != 1 and worth_while(frames):
            executor = held.enter_context(process_pool(workers_of(None, jobs)))
        settings = Settings(
            output=output,
            jobs=jobs,
            overwrite=overwrite,
            cosmic_rays=cosmic,
            progress=_bars if progress else _no_bars,
            places=places,
        )
        held.enter_context(logged(places.root))
        folders = held.enter_context(HeldFolders(places))
        # What was locked is what is written, though reading the headers took a while.
        first.check()
        # It may have become a link to the night before it was locked.
        check_folders(folder, output, calibrations)
        name = shown_name(folder.resolve().name)
        log.info("ccdprofiles %s reduces %s", __version__, name)
        for sentence in plan.on_purpose:
            log.info("%s", sentence)
        for file in plan.reject:
            log.info("%s: rejected by hand", file)
        with _meanwhile("report.page"):
            made = run_plan(plan, frames, settings, folders, executor)
        made.notes += _cosmic_rays_off(cosmic, plan, frames)
        from .report.page import complete, night_table, summary, write_report

        folders.check()
        made.earlier |= _earlier(output, plan)
        made.notes += stale(output, made)
        folders.check()
        table = night_table(frames, plan, made)
        table.meta["folders"] = _folders(folder, output, frames)
        write_report(places, name, table, plan, made)
        text = summary(table, plan, made)
        log.info("%s", text)
        night = Night(
            folder=folder,
            output=output,
            masters=made.masters,
            products=made.products,
            kept=frozenset(made.kept),
            anew={n: why for n, why in made.anew.items() if n in made.masters | made.products},
            ok=complete(table, plan, made),
            _summary=text,
            _read=partial(_Read, scanned, plan, table, made),
        )
        _remember(night, request, raw)
    return night


def _listed(folder: Path, output: Path, calibrations: Iterable[str | Path]) -> Listing | None:
    """List the files of a night and its calibrations before any of them is read."""
    leave_out = names_of(folder, output)
    return listing_of(
        (path, f"{number} {file}")
        for number, where in enumerate((folder, *calibrations))
        for path, file in files_of(where, leave_out)
    )


def _left(output: Path) -> Listing | None:
    """List what runs have left in the output."""
    return outputs_of(output, ("masters", "science"), (*TABLES, LOG))


def _where(folder: Path, output: Path, calibrations: Iterable[str | Path]) -> dict[str, object]:
    """Return what the tables and the report say of the places of the files."""
    folders = [Path(path).expanduser() for path in (folder, *calibrations)]
    return {
        "names": [path.resolve().name for path in folders],
        "seen": [_seen_from(output, path) for path in folders],
        "here": os.getcwd(),
    }


def _remember(night: Night, request: str | None, raw: Listing | None) -> None:
    """Let the next run know that it need not read this night again, if nothing changes."""
    if request is None:
        return
    from .report.page import summary

    made, output = night._made, night.output
    there = made.masters | made.products
    if made.earlier:  # an `Outcome` does not hold what was not asked for
        return
    unchanged = replace(made, kept=set(there), anew={})
    remember(
        output,
        request,
        raw,
        lambda: _left(output),
        {n: made.seen.get(n) for n, path in there.items() if path == output / n},
        Outcome(
            ok=night.ok,
            summary=summary(night.frames, night.plan, unchanged),
            paths={
                n: n if path == output / n else os.path.relpath(path, output)
                for n, path in there.items()
            },
            masters=len(made.masters),
            failed=made.failed,
            overruled=made.overruled,
            notes=made.notes,
        ),
        [*night.frames["code"].tolist(), *(code for code, _ in made.failed.values())],
    )


@contextmanager
def _alone(output: Path) -> Iterator[HeldFolders]:
    """Hold the output, without what is left there unfinished by a run that ended early.

    That takes room which this one may need; and if this is one, its workers are gone by then.
    """
    from .products.product import remove_leftovers

    with locked(output), HeldFolders(Places.of(output)) as folders:
        remove_leftovers(folders.places)
        try:
            yield folders
        except BaseException:
            with suppress(OSError):
                remove_leftovers(folders.places)
            raise


@contextmanager
def _meanwhile(module: str) -> Iterator[None]:
    """Import a module while others work; tables take astropy a good part of a second.

    Whoever needs the module imports it himself where no thread could do so.
    """
    thread = threading.Thread(target=_try_to_import, args=(module,), daemon=True)
    try:
        thread.start()
    except NOT_STARTED:
        thread = None
    try:
        yield
    finally:
        if thread is not None:
            thread.join()


def _try_to_import(module: str) -> None:
    with suppress(Exception):
        importlib.import_module(f"ccdprofiles.{module}")


def _forced(profile: str | Path | Profile | None, registry: Registry) -> Profile | None:
    if profile is None or (isinstance(profile, Profile) and profile.name):
        return profile
    if isinstance(profile, Profile):
        return Registry.gather([profile]).profiles[0]
    text = str(profile)
    if isinstance(profile, Path) or text.endswith(".py") or "/" in text or "\\" in text:
        return load_profile(profile)
    return registry[text]


def _earlier(output: Path, plan: Plan) -> dict[str, str]:
    """Return the products of an earlier run that are not asked for now, by their files."""
    names = {name for _, name in plan.not_asked if name and (output / name).exists()}
    return {file: name for file, name in plan.not_asked if name in names}


def _fewest(asked: int | None) -> int | None:
    if asked is not None and (not isinstance(asked, int) or isinstance(asked, bool) or asked < 1):
        raise InputError(f"min_frames={asked!r} is no whole number of frames from 1.")
    return asked


def _paths(paths: Iterable[str | Path] | str | Path) -> tuple[Path, ...]:
    paths = (paths,) if isinstance(paths, str | Path) else paths
    return tuple(local_path(path, "the folder of calibrations") for path in paths)


def _folders(folder: Path, output: Path, frames: Iterable[Frame]) -> dict[str, str]:
    """Say where the raw frames lie as seen from the output, by the first part of their names.

    The night's own folder has the name of nothing. What is told is relative, so
    that a night and its products may move together.
    """
    from .products.header import ascii_text

    found = {"": folder}
    for frame in frames:
        label, *parts = frame.file.split("/")
        if frame.origin and ascii_text(label) not in found:
            # Labels as PROVENANCE writes them, which has no other letters than those of ASCII.
            found[ascii_text(label)] = frame.path.parents[len(parts) - 1]
    return {label: _seen_from(output, path) for label, path in found.items()}


def _seen_from(output: Path, folder: Path) -> str:
    try:
        seen = os.path.relpath(folder.expanduser().resolve(), output.resolve())
    except ValueError:  # on another drive
        seen = str(folder.resolve())
    return escaped_path(Path(seen).as_posix())


def _cosmic_rays_off(
    cosmic: CosmicRays | bool | None, plan: Plan, frames: Iterable[Frame]
) -> list[str]:
    """Name the profiles whose recipe looks for cosmic rays where the caller switched that off."""
    if cosmic is not False:
        return []
    science = {p.input.file for p in plan.products}
    asking = {f.profile.name for f in frames if f.file in science and f.recipe.cosmic_rays}
    return [
        f"cosmic rays are not looked for, on purpose, although the recipe of {name} asks for it"
        for name in sorted(asking)
    ]


def _cosmic_rays(
    asked: bool | CosmicRays | None, frames: Iterable[Frame]
) -> CosmicRays | bool | None:
    """Return what was asked for; without gain and read noise L.A.Cosmic has no noise to go by."""
    if asked is False:
        return False
    how = CosmicRays() if asked is True else asked or None
    wanted = [
        f
        for f in frames
        if f.verdict == ACCEPTED and f.type == "science" and (how or f.recipe.cosmic_rays)
    ]
    blind = [f for f in wanted if not f.amplifiers.knows_noise]
    if blind and len(blind) == len(wanted):
        raise PlanError(
            f"{blind[0].file}: cosmic rays cannot be told from noise, as the profile "
            f"{blind[0].profile.name} knows no gain or read noise; give it both, or leave them."
        )
    return how


def _no_bars(phase: str, total: int) -> Callable[[], None]:
    return lambda: None


def _bars(phase: str, total: int) -> Callable[[], None]:
    """Show one bar a phase; silent where standard error is no terminal."""
    from tqdm.auto import tqdm

    bar = tqdm(total=total, desc=phase, unit="", disable=None, leave=True)

    def step() -> None:
        bar.update()
        if bar.n >= total:
            bar.close()

    if total == 0:
        bar.close()
    return step
