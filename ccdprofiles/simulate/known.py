"""Copies of cameras with the numbers that their profiles do not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from astropy import units as u

from ..camera.amplifier import Amplifier
from ..camera.profile import Profile
from ..camera.values import GAIN

__all__ = ["with_numbers"]


def with_numbers(
    profile: Profile,
    *,
    gain: u.Quantity = 1.5 * GAIN,
    read_noise: u.Quantity = 8 * u.electron,
    saturation: u.Quantity = 65535 * u.adu,
) -> Profile:
    """Return a copy of a camera in which every amplifier has a gain, read noise and saturation level.

    Those that a profile contains, or reads from the header, stay as they are.

    Parameters
    ----------
    profile : Profile
    gain, read_noise, saturation : Quantity
        For amplifiers of which they are not known; by default what `simulate_night` uses.

    Examples
    --------
    >>> from ccdprofiles import load_profile
    >>> from ccdprofiles.simulate import with_numbers
    >>> lfc, simulated = load_profile("lfc"), with_numbers(load_profile("lfc"))
    >>> print(lfc.amplifiers[0].read_noise, simulated.amplifiers[0].read_noise)
    None 8.0 electron
    """
    numbers = {"gain": gain, "read_noise": read_noise, "saturation": saturation}

    def filled(amplifiers: Sequence[Amplifier]) -> tuple[Amplifier, ...]:
        return tuple(
            replace(a, **{f: n for f, n in numbers.items() if getattr(a, f) is None})
            for a in amplifiers
        )

    amplifiers = profile.amplifiers
    if callable(amplifiers):
        return replace(profile, amplifiers=lambda header: filled(amplifiers(header)), file="")
    return replace(profile, amplifiers=filled(amplifiers), file="")
