"""Where a master bias is chosen."""

from __future__ import annotations

from .frames import Frame
from .masters import Masters, best
from .missing import no_bias
from .reason import Reason
from .settings import Candidate

__all__ = ["choose_bias"]


def choose_bias(frame: Frame, masters: Masters) -> Candidate | Reason:
    """Choose the master bias of a frame: the most similar settings, then the nearest in time."""
    fitting = masters.usable(masters.for_frame("bias", frame), frame)
    if not fitting:
        return no_bias(frame, masters)
    return best(fitting, frame, lambda c: masters.unlike(c, frame))
