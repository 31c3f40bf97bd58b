"""A camera and frames without files, for the tests of what is planned of them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe
from ccdprofiles.plan.frames import Frame


@pytest.fixture
def plain_camera():
    """Return a function that makes the profile of a camera of 12 x 20 pixels with an overscan."""

    def made(**recipe):
        amplifier = Amplifier(
            data="[1:20, 1:12]",
            overscan="[21:24, 1:12]",
            gain=2 * u.electron / u.adu,
            read_noise=8 * u.electron,
            saturation=60000 * u.adu,
        )
        return Profile(
            instrument="cam", name="cam", amplifiers=[amplifier], recipe=Recipe(**recipe)
        )

    return made


@pytest.fixture
def plain_frame(plain_camera):
    """Return a function that makes a frame without a file; ``cards`` are those of its header."""
    camera = plain_camera()

    def made(file, kind, exposure=0.0, profile=camera, cards=None, **more):
        cards = cards or {}
        amplifiers = profile.amplifiers_of(cards, {None: (12, 24)})
        described = {
            "profile": profile,
            "recipe": profile.recipe_of(cards),
            "type": kind,
            "exposure": exposure,
            "binning": (1, 1),
            "shape": (12, 24),
            "amplifiers": amplifiers,
            "amplifier_key": amplifiers.key,
            "raw": SimpleNamespace(header=cards),
        }
        return Frame(file, Path(file), **described | more)

    return made
