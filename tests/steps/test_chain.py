"""One step after the other gives what the reduction of a night gives."""

import pytest

from ccdprofiles import detect_cosmics

from ..conftest import INSTRUMENTS
from .conftest import same


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_masters_are_those_of_the_night(steps_of, name):
    steps = steps_of(name)
    assert steps.night.masters
    for master, path in steps.night.masters.items():
        same(steps.masters[master], path)


@pytest.mark.parametrize("name", INSTRUMENTS)
@pytest.mark.parametrize("read", [False, True])
def test_science_frames_are_those_of_the_night(steps_of, name, read):
    steps = steps_of(name)
    for product in steps.night.plan.products[:2]:
        frame = detect_cosmics(steps.calibrated(product.input, read))
        same(frame, steps.night.products[product.name])
