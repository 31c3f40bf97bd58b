"""Images that are not used, and files that lack extensions, are noted."""

import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles import Amplifier, Profile, Recipe
from ccdprofiles.night import frames_and_plan
from ccdprofiles.simulate import Exposures, simulate_night

RECIPE = Recipe(bias=True, dark=None, flat=None)
PATTERN = Amplifier(data="DATASEC", overscan=None, detector="DETSEC", extension="SCI*")
RUN = [Exposures("bias", 3)]


def camera(*amplifiers):
    return Profile(instrument="Mosaic", name="mosaic", amplifiers=amplifiers, recipe=RECIPE)


def notes(folder, profile):
    return {
        f.file: [n.text for n in f.notes] for f in frames_and_plan(folder, profile=profile).frames
    }


def test_images_of_other_chips_are_counted(tmp_path):
    profile = camera(Amplifier(data="[1:30, 1:20]", overscan=None, extension=3))
    simulate_night(profile, tmp_path, frames=RUN)
    texts = notes(tmp_path, profile).values()
    assert len(texts) == 3
    assert {tuple(t) for t in texts} == {
        (
            "2 of its 3 images are not used (extensions 1, 2): mosaic reads extension 3. Write a "
            "profile for the others if they are wanted.",
        )
    }


@pytest.mark.parametrize(
    ("name", "pixels"),
    [
        ("MASK", np.zeros((20, 30), np.int16)),
        ("bpm", np.zeros((20, 30), np.int16)),
        ("UNCERT", np.zeros((20, 30), np.int16)),
        ("GUIDER", np.zeros((5, 5), np.int16)),
        ("OTHER", np.zeros((20, 30), np.uint8)),
    ],
)
def test_planes_of_an_image_and_small_images_are_not_counted(tmp_path, name, pixels):
    profile = camera(Amplifier(data="[1:30, 1:20]", overscan=None, extension=1))
    simulate_night(profile, tmp_path, frames=RUN)
    for file in tmp_path.iterdir():
        fits.append(file, pixels, fits.Header({"EXTNAME": name}))
    assert set(map(tuple, notes(tmp_path, profile).values())) == {()}


def test_a_file_that_lost_extensions_of_a_pattern_is_noted(tmp_path):
    profile = camera(PATTERN)
    simulate_night(profile, tmp_path, frames=RUN)
    first, short, _ = sorted(tmp_path.iterdir())
    assert not any(notes(tmp_path, profile).values())
    with fits.open(short) as hdus:
        kept = fits.HDUList([hdu.copy() for hdu in hdus[:-1]])
    kept.writeto(short, overwrite=True)
    found = notes(tmp_path, profile)
    assert found.pop(short.name) == [
        f"it has 3 of the 4 extensions of {first.name}, and is calibrated only with frames that have the "
        "same; if it was truncated, copy it again from the camera."
    ]
    assert not any(found.values())
