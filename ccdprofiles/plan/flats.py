"""Where a master flat is chosen."""

from __future__ import annotations

from .frames import Frame
from .masters import Masters, best
from .missing import no_flat
from .reason import Reason
from .settings import Candidate
from .setup_cards import SETUP

__all__ = ["choose_flat"]


def choose_flat(frame: Frame, masters: Masters) -> Candidate | Reason:
    """Choose the master flat of a frame in its filter.

    Settings that may change the response of a pixel count first, then all settings, then
    the time.
    """
    fitting = [c for c in masters.for_frame("flat", frame) if c.master.filter == frame.filter]
    if not fitting:
        return no_flat(frame, masters)
    return best(
        fitting,
        frame,
        lambda c: (_unlike_in_response(c, frame, masters), *masters.unlike(c, frame)),
    )


def _unlike_in_response(candidate: Candidate, frame: Frame, masters: Masters) -> int:
    differ = masters.compared(candidate, frame).differ
    return sum(SETUP[p].of_flat for p in differ) + len(candidate.unlike_cards(frame))
