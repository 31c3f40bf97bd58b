"""``ccdprofiles badpix``: a bad-pixel mask from the masters of a reduced night."""

from __future__ import annotations

import argparse

from .ends import DONE
from .options import add_command
from .terminal import show, show_json

__all__ = ["add_badpix"]

_LIMITS = (
    ("hot", 10.0, "dark current above the median of its amplifier"),
    ("noisy", 6.0, "scatter in time above what chance allows"),
    ("columns", 5.0, "median of a column away from that of the columns around it"),
)


def add_badpix(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands, "badpix", _run, "make a bad-pixel mask from the masters of a reduced night"
    )
    parser.add_argument("output", metavar="OUT", help="the folder with the masters")
    parser.add_argument(
        "-o",
        "--mask",
        metavar="FILE",
        required=True,
        help="the mask to be written, such as mask_1x1.fits",
    )
    for name, value, text in _LIMITS:
        parser.add_argument(
            f"--{name}",
            type=float,
            default=value,
            metavar="SIGMA",
            help=f"{text}, in standard deviations; by default {value:g}",
        )
    parser.add_argument(
        "--dead",
        type=float,
        default=0.5,
        metavar="FRACTION",
        help="the response relative to the pixels around below which a pixel is dead; by default 0.5",
    )
    parser.add_argument(
        "--profile", metavar="NAME|FILE", help="the profile, if it is not one of the known ones"
    )
    parser.add_argument("--binning", metavar="NxN", help="the binning, if the night has several")
    parser.add_argument("--raw", metavar="DIR", help="the folder that now contains the night")
    parser.add_argument("--overwrite", action="store_true", help="replace a file of this name")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")


def _run(options: argparse.Namespace) -> int:
    """Make the mask, and return the exit status."""
    from ..bad_pixel_mask import make_bad_pixel_mask

    names = ("hot", "dead", "noisy", "columns", "profile", "binning", "raw", "overwrite")
    made = make_bad_pixel_mask(
        options.output, options.mask, **{name: getattr(options, name) for name in names}
    )
    if options.json:
        show_json({"mask": str(made.path), **made.counts, "notes": list(made.notes)})
    else:
        show(str(made))
    return DONE
