"""Every instrument's night against the truth behind it, and what must change nothing.

The errors that are allowed are computed from the noise itself: a level of overscan is
common to its row, or to its frame where a recipe takes one level a frame; masters are
common to all frames; and the level of a flat is a matter of definition, as the median
or mode of a noisy flat is not quite that of a perfect one. So the level is compared by
itself, and taken off before anything else is.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from math import pi, sqrt

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import profiles, reduce_night
from ccdprofiles.simulate import Exposures, simulate_night, windowed

SPECTRAL = ("kosmos", "dis_blue", "dis_red")


def name_of(reduced):
    return reduced.truth.profile.name


def usable(reduced, image):
    """Pixels without a flag, far from what could be flagged but for its noise."""
    truth = reduced.truth
    # A pixel with much dark current is flagged as hot or not as chance has it.
    dark = truth.dark - np.median(truth.dark)
    noise = np.hypot(1, reduced.readouts(truth.frames["file"][0])[0].read_noise / 10)
    return (image.flags == 0) & ~truth.hot & (dark < 2 * noise) | np.zeros(dark.shape, bool)
