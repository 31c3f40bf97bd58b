"""Where a master dark is chosen."""

from __future__ import annotations

from astropy import units as u

from .frames import Frame
from .masters import Masters, best
from .missing import no_dark
from .reason import Reason
from .settings import Candidate

__all__ = ["choose_dark"]


def choose_dark(frame: Frame, masters: Masters, bias_off: bool) -> Candidate | Reason:
    """Choose the master dark of a frame.

    Among those that were set alike one of the frame's exposure is taken, within the
    recipe's tolerance. Where there is none and the recipe scales darks, the longest one
    is taken, which holds the least noise once it is scaled down.

    Parameters
    ----------
    frame : Frame
    masters : Masters
    bias_off : bool
        Whether the bias of the frame is subtracted. A dark that holds its bias would
        subtract it twice, one without its bias not at all.
    """
    there = [c for c in masters.for_frame("dark", frame) if c.master.bias_off == bias_off]
    fitting = masters.usable(there, frame)
    tolerance = _exposure_tolerance(frame)

    def off(candidate: Candidate) -> float:
        return abs(candidate.master.exposure - frame.exposure)

    near = [c for c in fitting if off(c) <= tolerance]
    if near:
        return best(near, frame, lambda c: (*masters.unlike(c, frame), round(off(c), 1)))
    if fitting and frame.recipe.dark == "scale":
        return best(fitting, frame, lambda c: (*masters.unlike(c, frame), -c.master.exposure))
    return no_dark(frame, there, tolerance, masters)


def _exposure_tolerance(frame: Frame) -> float:
    """Return the seconds by which the exposure of a dark may differ without being scaled."""
    tolerance = frame.recipe.exposure_tolerance.to_value(u.s)
    # A dark that is scaled by less than 1 % is as good as one that is not.
    return min(tolerance, 0.01 * frame.exposure) if frame.recipe.dark == "scale" else tolerance
