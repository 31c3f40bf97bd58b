"""Biases and darks whose level or noise deviates from that of their group."""

from dataclasses import replace

import pytest
from astropy import units as u

from ccdprofiles import Amplifier, Limits, Profile, Recipe
from ccdprofiles.pixels.outliers import noise_ratios, outliers
from ccdprofiles.pixels.quality import Quality, light_of

AMPLIFIER = Amplifier(
    data="[1:200, 1:600]",
    overscan=None,
    gain=2 * u.electron / u.adu,
    read_noise=16 * u.electron,
)


def amplifiers(one=AMPLIFIER):
    profile = Profile(instrument="C", amplifiers=[one], recipe=Recipe())
    return profile.amplifiers_of({}, {None: (600, 200)})


def group(*levels, scatter=5.0):
    frames = {
        f"{n}.fits": Quality(level=(float(level),), scatter=(scatter,), bright=(0.0,))
        for n, level in enumerate(levels)
    }
    return frames, dict.fromkeys(frames, (None,))


@pytest.mark.parametrize(
    ("levels", "wanted"),
    [
        ((100, 101, 102, 130), ["3.fits"]),
        ((100, 101, 102, 70), ["3.fits"]),
        ((100, 100, 100, 104), []),  # less than the scatter of one pixel
        ((100, 100, 100, 106), ["3.fits"]),
        ((100, 110, 120, 130, 140, 150), []),  # a drift
        ((100, 101, 130), []),  # no one can say which
    ],
)
def test_a_level_that_stands_apart_is_found(levels, wanted):
    frames, overscan = group(*levels)
    assert list(outliers("bias", frames, Limits(), overscan)) == wanted
    for kind in ("flat", "arc"):
        assert outliers(kind, frames, Limits(), overscan) == {}
    assert outliers("dark", frames, Limits(outlier=None), overscan) == {}


@pytest.mark.parametrize(
    ("last", "cure"),
    [(130, "check it for light."), (70, "check whether its settings were the same.")],
)
def test_light_is_blamed_only_for_a_level_that_is_too_high(last, cure):
    frames, overscan = group(100, 101, 102, last)
    (refused,) = outliers("bias", frames, Limits(), overscan).values()
    assert str(refused).endswith(f" adu); {cure}")


def test_the_limit_of_a_profile_is_in_adu():
    frames, overscan = group(100, 101, 102, 130)
    assert outliers("bias", frames, Limits(level=40 * u.adu), overscan) == {}
    frames, overscan = group(100, 100, 100, 104)
    assert list(outliers("bias", frames, Limits(level=2 * u.adu), overscan)) == ["3.fits"]


def test_what_the_overscan_follows_is_no_outlier():
    frames, _ = group(100, 200, 300, 400)
    overscan = {file: (quality.level[0] - 3,) for file, quality in frames.items()}
    assert outliers("bias", frames, Limits(), overscan) == {}
    assert light_of((7.0, 9.0), (None, 4.0)) == (7.0, 5.0)


def test_an_amplifier_without_a_value_says_nothing_of_the_others():
    frames, overscan = group(100, 101, 102, 130)
    nan = float("nan")
    for file, quality in frames.items():
        dead = 50.0 if file > "0.fits" else nan
        frames[file] = Quality((quality.level[0], dead), (5.0, nan), (0.0, nan))
        overscan[file] = (None, None)
    assert list(outliers("bias", frames, Limits(), overscan)) == ["3.fits"]
    all_dead = {file: replace(quality, level=(nan, nan)) for file, quality in frames.items()}
    assert outliers("bias", all_dead, Limits(), overscan) == {}


def test_the_noise_is_held_against_that_of_the_profile():
    frames, _ = group(100, 100, scatter=12.0)
    assert noise_ratios(frames, amplifiers()) == {"0.fits": (1.5,), "1.fits": (1.5,)}
    frames["1.fits"] = replace(frames["1.fits"], scatter=(float("nan"),))
    assert noise_ratios(frames, amplifiers()) == {"0.fits": (), "1.fits": ()}
    unknown = amplifiers(replace(AMPLIFIER, read_noise=None))
    assert noise_ratios(frames, unknown) == {"0.fits": (), "1.fits": ()}
