"""``ccdprofiles plan``: what would be made from which frames, and what is missing."""

from __future__ import annotations

import argparse
import json

from .ends import DONE, INCOMPLETE, NOTHING
from .options import add_command, add_night, add_steps, night_of, steps_of
from .terminal import rows_of, show, show_json

__all__ = ["add_plan"]


def add_plan(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands, "plan", _run, "show what would be made from which frames, and what is missing"
    )
    add_night(parser)
    add_steps(parser)
    parser.add_argument(
        "-o", "--output", metavar="OUT", help="an output folder to leave out of the night"
    )


def _run(options: argparse.Namespace) -> int:
    """Show the plan, and return the exit status."""
    from ..night import frames_and_plan

    _, frames, plan = frames_and_plan(
        options.night, output=options.output, **steps_of(options), **night_of(options)
    )
    if options.json:
        from ..report.table import night_table, verdicts_of

        rows = rows_of(night_table(frames, verdicts_of(frames, plan)))
        show_json({**json.loads(plan.to_json()), "frames": rows})
    else:
        show(str(plan))
    if not plan.masters and not plan.products:
        return NOTHING
    return DONE if plan.complete else INCOMPLETE
