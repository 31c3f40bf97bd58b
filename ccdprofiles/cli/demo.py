"""``ccdprofiles demo``: a simulated night of an instrument, reduced."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import OutputError, words_of
from ..files.layout import MASTERS, PAGE, SCIENCE
from .ends import DONE, INCOMPLETE
from .options import add_command, add_jobs
from .reduce import LEAST_MEMORY
from .terminal import show

__all__ = ["add_demo"]

_WINDOW = (480, 512)
"""Rows and columns of the frames, unless full size is chosen."""


def add_demo(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "demo",
        _run,
        "simulate a night of an instrument and reduce it",
        least_memory=LEAST_MEMORY,
        output_of=lambda options: Path(options.output).expanduser() / "reduced",
    )
    parser.add_argument(
        "name",
        nargs="?",
        default="lfc",
        metavar="NAME",
        help="the name or file of a profile, by default %(default)s",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default="ccdprofiles-demo",
        help="the folder for the night and its products, by default %(default)s",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        metavar="N",
        help="the seed of the random numbers; another number gives another night",
    )
    parser.add_argument(
        "--full", action="store_true", help="simulate frames of full size instead of a small window"
    )
    add_jobs(parser, argparse.SUPPRESS)


def _run(options: argparse.Namespace) -> int:
    """Simulate a night, show its plan, reduce it, and return the exit status."""
    from ..camera.registry import load_profile
    from ..files.places import local_path
    from ..night import plan_night, reduce_night
    from ..simulate.night import simulate_night
    from ..simulate.window import windowed

    folder = local_path(options.output, "the output")
    profile = load_profile(options.name)
    chip = next(iter(profile.chips), "")
    profile = profile.of_chip(chip) if chip else profile
    size = None if options.full else _WINDOW
    raw, reduced = _new_folder(folder / "night"), folder / "reduced"
    cut = profile if size is None else windowed(profile, *size)
    part = f", chip {chip} alone" if chip else ""
    part += "" if size is None else f", a window of {size[1]} x {size[0]} pixels"
    show(f"A simulated night of {profile.name}{part}: {raw}")
    simulate_night(cut, raw, seed=options.seed)
    camera = folder / f"{profile.name}.py"
    camera.write_text(_profile_text(options.name, profile.name, size, chip), "utf-8")
    show(f"\n{plan_night(raw, profile=camera)}\n")
    night = reduce_night(
        raw, reduced, profile=camera, jobs=options.jobs, progress=not options.quiet
    )
    show(str(night))
    first = min(night.products.values(), default=reduced)
    show(f"\nMasters:        {reduced / MASTERS}")
    show(f"Science frames: {reduced / SCIENCE}, such as {first.name}")
    show(f"Report:         {reduced / PAGE}")
    show(f"Profile:        {camera}; try ccdprofiles info {raw} --profile {camera}")
    return DONE if night.ok else INCOMPLETE


def _new_folder(folder: Path) -> Path:
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} exists already; remove it, or use another folder with -o.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be created ({words_of(error)}); grant permission, or use another folder with -o."
        ) from error
    return folder


def _profile_text(given: str, name: str, size: tuple[int, int] | None, chip: str) -> str:
    """Return the profile of a demo: reduced to its window, with the numbers of the simulation."""
    source = repr(str(Path(given).resolve()) if given.endswith(".py") else given)
    camera = f"load_profile({source})" + (f".of_chip({chip!r})" if chip else "")
    if size is not None:
        camera = f"windowed({camera}, rows={size[0]}, columns={size[1]})"
    return f'''"""The camera of this demo: {name}, with the numbers that were simulated."""

from astropy import units as u

from ccdprofiles import load_profile
from ccdprofiles.simulate import windowed, with_numbers

# Used where the profile has no number of its own.
profile = with_numbers(
    {camera},
    gain=1.5 * u.electron / u.adu,
    read_noise=8 * u.electron,
    saturation=65535 * u.adu,
)
'''
