"""``ccdprofiles reduce``: the masters and the calibrated science frames."""

from __future__ import annotations

import argparse
from pathlib import Path

from .ends import DONE, INCOMPLETE, NOTHING
from .options import add_command, add_jobs, add_night, add_steps, night_of, steps_of
from .terminal import rows_of, show, show_json

__all__ = ["LEAST_MEMORY", "add_reduce"]

LEAST_MEMORY = 384 * 2**20
"""Address space in bytes that the libraries and the work need."""


def add_reduce(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "reduce",
        _run,
        "make the masters and the calibrated science frames",
        least_memory=LEAST_MEMORY,
        output_of=lambda options: Path(options.output).expanduser(),
    )
    add_night(parser)
    add_steps(parser)
    parser.add_argument(
        "-o", "--output", metavar="OUT", required=True, help="the folder for the products"
    )
    add_jobs(parser, "the number of workers; 0, the default, uses all processors")
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="use the workers of this dask scheduler (its address or scheduler file)",
    )
    parser.add_argument(
        "--cosmic-rays",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="detect cosmic rays even if the recipe does not, or (--no-cosmic-rays) do not detect "
        "them even if it does; by default as in the recipe",
    )
    parser.add_argument("--overwrite", action="store_true", help="remake all products")
    parser.add_argument("--strict", action="store_true", help="do not start if anything is missing")


def _run(options: argparse.Namespace) -> int:
    """Reduce the night, and return the exit status."""
    from ..run import processes
    from ..run.interpreter import end_server, import_for_good

    if options.jobs == 1 or options.dask or not processes.is_large(Path(options.night)):
        return _reduced(options)
    processes.stay_single()
    if options.process_is_ours and not _may_be_unchanged(options.output):
        import_for_good(f"ccdprofiles.{module}" for module in ("run.run", "night", "report.report"))
    try:
        return _reduced(options)
    finally:
        end_server()


def _reduced(options: argparse.Namespace) -> int:
    from ..night import reduce_night

    night = reduce_night(
        options.night,
        options.output,
        **steps_of(options),
        cosmic_rays=options.cosmic_rays,
        strict=options.strict,
        overwrite=options.overwrite,
        jobs=options.jobs,
        dask=options.dask,
        progress=not options.quiet,
        **night_of(options),
    )
    if options.json:
        show_json(rows_of(night.frames))
    else:
        show(str(night))
    if not night.masters and not night.products:
        return NOTHING
    return DONE if night.ok else INCOMPLETE


def _may_be_unchanged(output: str) -> bool:
    """Return True if the last run left a state file, so that this one may have nothing to make."""
    from ..run.state import STATE

    return (Path(output).expanduser() / STATE).exists()
