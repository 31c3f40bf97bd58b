"""The command line: ``ccdprofiles info, plan, reduce, verify, profiles, demo``.

Results go to standard output, progress and log to standard error. What needs
astropy or ccdproc is imported by the command that needs it, so that ``--help``
answers at once.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .. import __version__
from ..errors import (
    CCDProfilesError,
    EmptyNight,
    InputError,
    Locked,
    OutputError,
    PlanError,
    ProfileError,
    words_of,
)
from ..files.threads import stay_single
from .ends import Stopped, check_memory, crashed, is_short_of_memory, stoppable

__all__ = ["main"]

DONE, INCOMPLETE, USAGE, NOTHING, LOCKED, OUTPUT, CRASHED = 0, 1, 2, 3, 4, 5, 70

_EXITS = (
    (Locked, LOCKED),
    (OutputError, OUTPUT),
    (ProfileError, USAGE),
    (EmptyNight, NOTHING),
    (InputError, USAGE),
    (PlanError, USAGE),
)

_WINDOW = (480, 512)

_LEAST = {"_reduce": 384 * 2**20, "_demo": 384 * 2**20}
_LEAST_MEMORY = 256 * 2**20
"""Address space that the libraries of a command take, with some room to work in."""

_DESCRIPTION = (
    "Reduce a night of CCD frames: teach it your camera once, reduce every night after that."
)

_EPILOG = """\
exit status: 0 all was made; 1 something is missing or was set aside; 2 usage or
profile; 3 nothing could be reduced; 4 another run holds the output; 5 the output
cannot be written, or memory runs out; 70 a fault of ccdprofiles itself; 129, 130
and 143 ended by SIGHUP, Ctrl-C and SIGTERM."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process, if not given.

    Returns
    -------
    int
        The exit status.
    """
    try:
        options = _parser().parse_args(arguments)
        options.process_is_ours = arguments is None
        if options.process_is_ours:
            _print_any_letter()
        with _logged_to_stderr(options), stoppable(_output_of(options)):
            return _delivered(_ended(options))
    except SystemExit as asked:  # of --help, or for a word that the parser refuses
        raise SystemExit(_delivered(asked.code)) from None
    except KeyboardInterrupt as error:
        stopped = error if isinstance(error, Stopped) else Stopped(signal.SIGINT)
        _tell(str(stopped))
        _delivered(stopped.status)
        return stopped.status


def _print_any_letter() -> None:
    """Let standard output show letters that its encoding lacks, as in C locales, by their numbers."""
    if getattr(sys.stdout, "errors", "") == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _delivered(status: int) -> int:
    """Return the exit status once the results are out, or that of an output that refuses them."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        return _undelivered(status, error)
    return status


def _undelivered(status: int, error: OSError) -> int:
    """Give up standard output, which Python would otherwise flush once more at its end."""
    sys.stdout = None
    if isinstance(error, BrokenPipeError):
        # The reader, such as head, has seen enough.
        return status
    _tell(
        f"ccdprofiles: standard output cannot be written ({words_of(error)}); make room, or "
        "send it somewhere else: what is finished stays."
    )
    return OUTPUT


def _tell(text: str) -> None:
    """Write a line to standard error; a terminal that was closed, or a full disk, changes no end."""
    if sys.stderr is None:
        return
    try:
        print(_plain(text), file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = None


def _is_of_print(error: OSError) -> bool:
    """Return True if an error was raised by a print in this module, which opens no file itself."""
    entry = error.__traceback__
    while entry is not None and entry.tb_next is not None:
        entry = entry.tb_next
    return entry is not None and entry.tb_frame.f_globals is globals() and not error.filename


def _ended(options: argparse.Namespace) -> int:
    """Do a command, and return the exit status, whatever ends it."""
    try:
        check_memory(_LEAST.get(options.command.__name__, _LEAST_MEMORY))
        if options.process_is_ours:
            # Threads of libraries take the room that small limits leave for ours.
            stay_single()
        return options.command(options)
    except CCDProfilesError as error:
        if is_short_of_memory(error.__cause__) and not isinstance(error, OutputError):
            return _short_of_memory()
        _tell(f"ccdprofiles: {error}")
        return next((code for kind, code in _EXITS if isinstance(error, kind)), INCOMPLETE)
    except BrokenPipeError as error:
        return _undelivered(DONE, error)
    except Exception as error:
        if isinstance(error, OSError) and _is_of_print(error):
            return _undelivered(DONE, error)
        if is_short_of_memory(error):
            return _short_of_memory()
        if isinstance(error, OSError) and error.filename:
            _tell(f"ccdprofiles: {error.filename} cannot be used ({words_of(error)}).")
            return USAGE
        _tell(crashed(error, _output_of(options)))
        return CRASHED


def _short_of_memory() -> int:
    _tell(
        "ccdprofiles: memory or threads run out; allow more (ulimit -v, ulimit -u), end other "
        "programs, or take fewer workers (-j 1): what is finished stays."
    )
    return OUTPUT


def _output_of(options: argparse.Namespace) -> Path | None:
    """Return the folder that the products of a command go to, if it makes any."""
    if options.command not in (_reduce, _demo):
        return None
    folder = Path(options.output).expanduser()
    return folder / "reduced" if options.command is _demo else folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ccdprofiles",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ccdprofiles {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    info = _command(commands, "info", _info, "show the frames of a night, their profile, and why")
    _night_options(info)
    plan = _command(commands, "plan", _plan, "show what would be made of what, and what is missing")
    _night_options(plan)
    _step_options(plan)
    plan.add_argument(
        "-o", "--output", metavar="OUT", help="an output folder to leave out of the night"
    )
    reduce = _command(commands, "reduce", _reduce, "make masters and calibrated science frames")
    _night_options(reduce)
    _step_options(reduce)
    reduce.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="the folder for the products"
    )
    reduce.add_argument(
        "-j",
        "--jobs",
        type=_count,
        default=0,
        metavar="N",
        help="workers; 0, or nothing told, takes all processors",
    )
    reduce.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="have the workers of this dask.distributed scheduler (or scheduler file) do the work",
    )
    reduce.add_argument(
        "--cosmic-rays",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="flag cosmic rays in the science frames even if the recipe does not, or leave them "
        "even if it does; without either option the recipe decides",
    )
    reduce.add_argument("--overwrite", action="store_true", help="make everything anew")
    reduce.add_argument(
        "--strict", action="store_true", help="refuse to begin if something is missing"
    )
    verify = _command(commands, "verify", _verify, "check that a reduced night is still whole")
    verify.add_argument("output", metavar="OUT", help="the folder with the products")
    verify.add_argument("--raw", metavar="DIR", help="where the night lies now")
    verify.add_argument(
        "--calibrations",
        metavar="DIR",
        action="append",
        default=[],
        help="where the night's calibrations lie now; as often and in the order of the reduction",
    )
    verify.add_argument(
        "-j",
        "--jobs",
        type=_count,
        default=0,
        metavar="N",
        help="threads; 0, or nothing told, takes all processors",
    )
    verify.add_argument("--json", action="store_true", help="the result as JSON")
    shown = _command(commands, "profiles", _profiles, "list the profiles, or show one")
    shown.add_argument("name", nargs="?", metavar="NAME", help="a profile's name or file")
    demo = _command(commands, "demo", _demo, "simulate a night of an instrument, and reduce it")
    demo.add_argument(
        "name",
        nargs="?",
        default="lfc",
        metavar="NAME",
        help="a profile's name or file; lfc unless told",
    )
    demo.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default="ccdprofiles-demo",
        help="where; %(default)s unless told",
    )
    demo.add_argument(
        "--seed", type=int, default=1, metavar="N", help="another number, another night"
    )
    demo.add_argument(
        "--full", action="store_true", help="frames of full size, instead of a small window"
    )
    demo.add_argument("-j", "--jobs", type=_count, default=0, metavar="N", help=argparse.SUPPRESS)
    return parser


def _command(commands, name: str, run: Callable, text: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    command.set_defaults(command=run)
    loudness = command.add_mutually_exclusive_group()
    loudness.add_argument(
        "-q", "--quiet", action="store_true", help="no progress bars, and of the log only errors"
    )
    loudness.add_argument("-v", "--verbose", action="store_true", help="log every step")
    return command


def _night_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("night", metavar="DIR", help="the folder of the night")
    command.add_argument("--profile", metavar="NAME|FILE", help="take this profile for every frame")
    command.add_argument(
        "--profiles",
        metavar="FILE|DIR",
        action="append",
        default=[],
        help="more profiles to choose from; may be given several times",
    )
    command.add_argument(
        "--calibrations",
        metavar="DIR",
        action="append",
        default=[],
        help="biases, darks and flats of another night, raw or masters; may be given several times",
    )
    command.add_argument("--json", action="store_true", help="the result as JSON")


def _step_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--without",
        metavar="STEP",
        action="append",
        default=[],
        help="leave out bias, dark or flat on purpose; may be given several times",
    )
    command.add_argument(
        "--keep",
        metavar="FILE",
        action="append",
        default=[],
        help="use this file although its pixels speak against it; may be given several times",
    )
    command.add_argument(
        "--reject",
        metavar="FILE",
        action="append",
        default=[],
        help="leave this file out; may be given several times",
    )
    command.add_argument(
        "--min-frames",
        type=_some,
        metavar="N",
        help="the fewest frames of a bias, dark or flat; 3 unless the profile says so",
    )
    command.add_argument(
        "--only",
        metavar="WHAT",
        action="append",
        default=[],
        help="make only this, and the masters that it needs: masters, a type of frame (bias, dark, "
        "flat, arc, science), filter=NAME, object=NAME, or the name or pattern of files, such as "
        "'ccd.03*.fits'; may be given several times: words of one kind add up, words of two kinds "
        "must both fit",
    )
    command.add_argument(
        "--set",
        dest="changes",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="change a setting of the recipe for this run, such as electrons=True or "
        "combine.flat.clip=3; may be given several times",
    )


def _some(text: str) -> int:
    return _whole(text, 1)


def _count(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
    return int(text)


def _info(options: argparse.Namespace) -> int:
    from ..camera.registry import Registry
    from ..night import scan_night
    from ..plan.frames import SET_ASIDE, frames_table
    from ..plan.unknown import header_words, is_unknown

    frames = scan_night(options.night, **_which(options))
    table = frames_table(frames)
    if options.json:
        rows = [
            {**row, "code": frame.code} for row, frame in zip(_rows(table), frames, strict=True)
        ]
        for row, frame in zip(rows, frames, strict=True):
            if is_unknown(frame):
                row["header"] = header_words(frame.header)
        print(json.dumps(rows, indent=1))
    elif not frames:
        print(f"{options.night} holds no file.")
    else:
        shown = _with_unknown(table, frames)
        shown.remove_columns(["amplifiers", "reason"])
        print(_plain("\n".join(shown.pformat(max_lines=-1, max_width=-1))))
        _unknown(frames)
        _why(frames)
        for sentence in Registry.gather(options.profiles).replaced:
            print(f"\n{sentence}")
    bad = [f for f in frames if f.verdict == SET_ASIDE]
    return NOTHING if not frames else INCOMPLETE if bad else DONE


def _with_unknown(table, frames):
    """Return the table with what the headers of unknown cameras say, marked by question marks."""
    from ..plan.unknown import is_unknown, shown_words

    shown = table.copy()
    words = {n: shown_words(frame) for n, frame in enumerate(frames) if is_unknown(frame)}
    for name in ("profile", "type", "exposure", "filter", "binning", "object", "date"):
        if words:
            cells = [line.strip() for line in table[name].pformat(max_lines=-1, show_name=False)]
            cells = cells[-len(table) :]
            for n, own in words.items():
                cells[n] = "?" if name == "profile" else own.get(name, "--")
            shown.replace_column(name, cells)
            shown[name].unit = table[name].unit
    return shown


def _unknown(frames) -> None:
    """Describe what the headers of unknown cameras hold, for a first profile."""
    from ..plan.unknown import is_unknown, overview

    unknown = [frame for frame in frames if is_unknown(frame)]
    if unknown:
        print("\nNo profile knows these cameras yet; values with a ? are the header's own words")
        print(_plain("\n".join(overview(unknown))))
        print("  To begin a profile, put these cards into a copy of a shipped one, as shown by")
        print("  ccdprofiles profiles sbo")


def _why(frames) -> None:
    """Say which cards chose the profiles, and why frames were set aside or ignored."""
    from ..plan.wording import grouped

    chosen = {}
    for frame in frames:
        if frame.profile is not None:
            cards = ["INSTRUME", *frame.profile.where]
            said = "by " + ", ".join(f"{c} = {frame.header.get(c)!r}" for c in cards)
            if not frame.profile.fits(frame.header):
                said = f"named by you; {_unlike(frame.profile, frame.header)}"
            chosen.setdefault((frame.profile.name, frame.profile.file, said), 0)
            chosen[frame.profile.name, frame.profile.file, said] += 1
    if chosen:
        print("\nProfiles")
        for (name, _, said), number in chosen.items():
            print(_plain(f"  {name}: {number} file{'s' if number > 1 else ''}, {said}"))
    reasons = [f.reason for f in frames if f.reason]
    if reasons:
        print("\nNot used")
        for reason in grouped(reasons):
            print(f"  {_plain(reason)}")


def _unlike(profile, header) -> str:
    """Say why a profile that was named would not be chosen for a header."""
    if profile.knows(header):
        return profile.disagreement(header)
    if "INSTRUME" not in header:
        return "the header has no INSTRUME"
    own = f", which is {' or '.join(map(repr, profile.instruments))}" if profile.instruments else ""
    return f"INSTRUME = {header['INSTRUME']!r} is not its own{own}"


def _plan(options: argparse.Namespace) -> int:
    from ..night import frames_and_plan

    frames, plan = frames_and_plan(
        options.night, output=options.output, **_steps(options), **_which(options)
    )
    if options.json:
        from ..report.page import night_table

        rows = _rows(night_table(frames, plan))
        print(json.dumps({**json.loads(plan.to_json()), "frames": rows}, indent=1))
    else:
        print(_plain(str(plan)))
    if not plan.masters and not plan.products:
        return NOTHING
    return DONE if plan.complete else INCOMPLETE


def _reduce(options: argparse.Namespace) -> int:
    from ..run import processes
    from ..run.pools import end_server

    if options.jobs == 1 or options.dask or not processes.is_large(Path(options.night)):
        return _reduced(options)
    processes.stay_single()
    if options.process_is_ours and not _may_be_unchanged(options.output):
        _keep_imports()
    try:
        return _reduced(options)
    finally:
        end_server()


def _may_be_unchanged(output: str) -> bool:
    """Return True if the last run left a state file, so that this one may have nothing to make."""
    from ..run.state import STATE

    return (Path(output).expanduser() / STATE).exists()


def _keep_imports() -> None:
    """Import what reducing needs, without garbage collection, and keep it to the end.

    This saves 0.3 s of 1.5 s of processor time, the median of six paired runs.
    """
    gc.disable()
    try:
        for module in ("run.run", "night", "report.page"):
            importlib.import_module(f"ccdprofiles.{module}")
    finally:
        gc.enable()
    gc.freeze()
    atexit.register(gc.freeze)


def _reduced(options: argparse.Namespace) -> int:
    from ..night import reduce_night

    night = reduce_night(
        options.night,
        options.output,
        **_steps(options),
        cosmic_rays=options.cosmic_rays,
        strict=options.strict,
        overwrite=options.overwrite,
        jobs=options.jobs,
        dask=options.dask,
        progress=not options.quiet,
        **_which(options),
    )
    print(json.dumps(_rows(night.frames), indent=1) if options.json else _plain(str(night)))
    if not night.masters and not night.products:
        return NOTHING
    return DONE if night.ok else INCOMPLETE


def _verify(options: argparse.Namespace) -> int:
    from ..verify import verify_night

    found = verify_night(
        options.output, raw=options.raw, calibrations=options.calibrations, jobs=options.jobs
    )
    print(json.dumps(_rows(found.table), indent=1) if options.json else _plain(str(found)))
    return DONE if found.ok else INCOMPLETE


def _profiles(options: argparse.Namespace) -> int:
    from ..camera.registry import Registry, read_profiles
    from ..files.places import local_path

    if options.name is None:
        registry = Registry.gather()
        width = max(len(p.name) for p in registry.profiles)
        for profile in sorted(registry.profiles, key=lambda p: p.name):
            names = ", ".join(profile.instruments) or "by a function"
            where = "".join(f", {k} {v!r}" for k, v in profile.where.items())
            print(f"{profile.name:{width}}  {names}{where}  {profile.telescope}".rstrip())
        for sentence in registry.replaced:
            print(sentence)
        return DONE
    path = local_path(options.name, "the profile", ProfileError)
    if path.suffix == ".py" and path.is_file():
        found = read_profiles(path)
    else:
        found = (Registry.gather()[options.name],)
    if not Path(found[0].file).is_file():
        print("\n".join(str(profile) for profile in found))
        return DONE
    text = Path(found[0].file).read_text(encoding="utf-8")
    print(f"# {', '.join(p.name for p in found)}: {found[0].file}\n\n{text}", end="")
    return DONE


def _demo(options: argparse.Namespace) -> int:
    """Simulate a night, print its plan, reduce it, and say where everything lies."""
    from ..camera.registry import load_profile
    from ..files.places import local_path
    from ..night import plan_night, reduce_night
    from ..simulate.night import simulate_night
    from ..simulate.window import windowed

    folder = local_path(options.output, "the output")
    night, reduced = folder / "night", folder / "reduced"
    profile = load_profile(options.name)
    size = None if options.full else _WINDOW
    if night.exists() and any(night.iterdir()):
        raise OutputError(f"{night} is there already; remove it, or give another folder with -o.")
    cut = profile if size is None else windowed(profile, *size)
    part = "" if size is None else f", a window of {size[1]} x {size[0]} pixels"
    try:
        night.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{night} cannot be made ({words_of(error)}).") from error
    print(f"A night of {profile.name}{part}, made up: {night}")
    truth = simulate_night(cut, night, seed=options.seed)
    camera = folder / f"{profile.name}.py"
    camera.write_text(_demo_profile(options.name, profile.name, size, truth.known), "utf-8")
    print(f"\n{plan_night(night, profile=camera)}\n")
    done = reduce_night(
        night, reduced, profile=camera, jobs=options.jobs, progress=not options.quiet
    )
    print(done)
    first = min(done.products.values(), default=reduced)
    print(f"\nMasters:        {reduced / 'masters'}")
    print(f"Science frames: {reduced / 'science'}, such as {first.name}")
    print(f"Report:         {reduced / 'report' / 'index.html'}")
    print(f"Its camera:     {camera}; try ccdprofiles info {night} --profile {camera}")
    return DONE if done.ok else INCOMPLETE


def _demo_profile(asked: str, name: str, size: tuple[int, int] | None, known) -> str:
    """Write the profile of a demo: the asked one, cut to its window, its numbers filled in."""
    numbers = ",\n    ".join(
        f"dict(gain={a.gain.value} * ADU, read_noise={a.read_noise.value} * u.electron, "
        f"saturation={a.saturation.value} * u.adu)"
        for a in known.amplifiers
    )
    source = repr(str(Path(asked).resolve()) if asked.endswith(".py") else asked)
    camera = f"load_profile({source})"
    if size is not None:
        camera = f"windowed({camera}, rows={size[0]}, columns={size[1]})"
    return f'''"""The camera of this demo: {name}, with the numbers that were simulated."""

from dataclasses import replace

from astropy import units as u

from ccdprofiles import load_profile
from ccdprofiles.simulate import windowed

ADU = u.electron / u.adu

_camera = {camera}
_numbers = [
    {numbers},
]
profile = replace(
    _camera,
    amplifiers=[replace(a, **n) for a, n in zip(_camera.amplifiers, _numbers, strict=True)],
)
'''


def _which(options: argparse.Namespace) -> dict:
    return {
        "profile": options.profile,
        "profiles": options.profiles,
        "calibrations": options.calibrations,
    }


def _steps(options: argparse.Namespace) -> dict:
    return {
        "without": options.without,
        "keep": options.keep,
        "reject": options.reject,
        "min_frames": options.min_frames,
        "only": options.only,
        "changes": _changes(options.changes),
    }


def _changes(texts: Sequence[str]) -> dict[str, object]:
    """Read the settings to be changed; one that is given twice is refused."""
    from ..camera.changes import read_change

    changes: dict[str, object] = {}
    for text in texts:
        name, value = read_change(text)
        if name in changes:
            raise InputError(f"{name} is set twice; give --set {name}=VALUE once.")
        changes[name] = value
    return changes


def _rows(table) -> list[dict]:
    """Turn a table into plain rows; what is masked becomes null."""
    return [{name: _json(row[name]) for name in table.colnames} for row in table]


def _json(value: object) -> object:
    import numpy as np

    if value is np.ma.masked:
        return None
    return value.item() if hasattr(value, "item") else str(value)


def _plain(text: str) -> str:
    """Show control characters of file names and headers instead of obeying them."""
    return "\n".join(line if line.isprintable() else _printable(line) for line in text.split("\n"))


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


class _PlainFormatter(logging.Formatter):
    """Writes a record without control characters, whatever a file is called."""

    def format(self, record: logging.LogRecord) -> str:
        return _plain(super().format(record))


@contextmanager
def _logged_to_stderr(options: argparse.Namespace) -> Iterator[None]:
    logger = logging.getLogger("ccdprofiles")
    level = logging.ERROR if options.quiet else logging.INFO if options.verbose else logging.WARNING
    handler = logging.StreamHandler()
    handler.setLevel(level)
    handler.setFormatter(_PlainFormatter("%(levelname)s: %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        # A program that calls `main` may close its standard error afterwards.
        logger.removeHandler(handler)
