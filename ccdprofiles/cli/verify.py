"""``ccdprofiles verify``: whether a reduced night is complete and unchanged."""

from __future__ import annotations

import argparse

from .ends import DONE, INCOMPLETE
from .options import add_command, add_jobs
from .terminal import rows_of, show, show_json

__all__ = ["add_verify"]


def add_verify(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands, "verify", _run, "check that a reduced night is complete and unchanged"
    )
    parser.add_argument("output", metavar="OUT", help="the folder with the products")
    parser.add_argument("--raw", metavar="DIR", help="the folder that now contains the night")
    parser.add_argument(
        "--calibrations",
        metavar="DIR",
        action="append",
        default=[],
        help="the folder that now contains the calibrations; repeat it as often and in the same order "
        "as for the reduction",
    )
    add_jobs(parser, "the number of threads; 0, the default, uses all processors")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _run(options: argparse.Namespace) -> int:
    """Check the night, and return the exit status."""
    from ..verify import verify_night

    verified = verify_night(
        options.output, raw=options.raw, calibrations=options.calibrations, jobs=options.jobs
    )
    if options.json:
        show_json(rows_of(verified.table))
    else:
        show(str(verified))
    return DONE if verified.ok else INCOMPLETE
