"""Master flats, held against NumPy in float64 from the same frames and masters."""

import by_hand
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.stats import mad_std

from ccdprofiles import Amplifier, Combine, Flat, Profile, Recipe, SpectralFlat, reduce_night
from ccdprofiles.errors import FrameRejected
from ccdprofiles.pixels.calibrate import BAD, NO_FLAT, UNILLUMINATED
from ccdprofiles.plan.plan import Input
from ccdprofiles.products.band import Band
from ccdprofiles.reduce import flat_levels
from ccdprofiles.reduce.flats import divide_lamp, flat_norm, normalise_flat

ROWS, COLUMNS = 48, 64
EPS = 2.0**-24

GAINS = {"one": (1.5, 1.5), "two": (1.5, 1.7)}


def camera(how, gains, scale="median"):
    """Two amplifiers side by side, with no overscan: a bias takes the pedestal off."""
    half = COLUMNS // 2
    return Profile(
        instrument="TESTCAM",
        amplifiers=[
            Amplifier(
                name=f"side{n}",
                data=f"[{1 + half * n}:{half * (n + 1)}, 1:{ROWS}]",
                overscan=None,
                gain=gain * u.electron / u.adu,
                read_noise=8.0 * u.electron,
                saturation=65535 * u.adu,
            )
            for n, gain in enumerate(GAINS[gains])
        ],
        recipe=Recipe(
            bias=True, dark="scale", flat=Flat(scale=scale), combine={"flat": how}, electrons=True
        ),
    )


def night(folder, levels, exposures, seed=1):
    """Write biases, darks with hot pixels, and flats of some levels and exposures."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    bias = 1000 + random.normal(0, 3, (ROWS, COLUMNS))
    current = random.gamma(0.3, 2.0, (ROWS, COLUMNS))
    current[5:7, 9:20] = 300.0
    lamp = 1 - 0.3 * np.hypot(*np.mgrid[-1 : 1 : ROWS * 1j, -1 : 1 : COLUMNS * 1j]) ** 2
    lamp *= random.normal(1, 0.01, lamp.shape)
    frames = [("Bias", 0.0, bias)] * 7 + [("Dark", 60.0, bias + 60 * current)] * 5
    frames += [
        ("Flat", t, bias + t * current + level * lamp)
        for level, t in zip(levels, exposures, strict=True)
    ]
    for number, (kind, seconds, mean) in enumerate(frames):
        light = random.normal(mean, np.sqrt(25 + np.maximum(mean - 1000, 0) / 1.5))
        light[random.random(light.shape) < 0.002] += 3000
        header = fits.Header(
            {
                "INSTRUME": "TESTCAM", "IMAGETYP": kind, "EXPTIME": seconds, "FILTER": "r",
                "DATE-OBS": f"2026-01-01T00:{number:02d}:00",
            }
        )  # fmt: skip
        pixels = np.clip(np.round(light), 0, 65000).astype("u2")
        fits.writeto(folder / f"f{number:03d}.fits", pixels, header)


def combined(stack, how):
    """Combine what lies near the median, in float64."""
    if how.clip is None:
        return np.mean(stack, 0) if how.method == "average" else np.median(stack, 0)
    centre = np.median(stack, 0)
    near = np.abs(stack - centre) <= how.clip * mad_std(stack, axis=0) * (1 + 1e-12)
    some = np.where(near, stack, np.nan)
    return np.nanmean(some, 0) if how.method == "average" else np.nanmedian(some, 0)


@pytest.mark.parametrize("gains", GAINS)
@pytest.mark.parametrize(
    "how",
    [
        Combine(method="average", clip=5),
        Combine(method="average", clip=2),
        Combine(method="average", clip=None),
        Combine(method="median", clip=None),
        Combine(method="median", clip=4),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("levels", "exposures"),
    [
        ([30_000, 31_000, 29_500, 30_200, 30_700, 30_100, 29_900], [5.0] * 7),
        ([45_000, 33_000, 24_000, 17_000, 12_000, 8_000], [5.0] * 6),
        ([30_000, 20_000, 31_000, 22_000, 30_500, 21_000, 30_700], [5, 60, 5, 60, 5, 7, 60]),
    ],
    ids=["dome", "twilight", "several exposures"],
)
def test_a_master_flat_is_that_of_float64(tmp_path, how, gains, levels, exposures):
    night(tmp_path / "raw", levels, exposures)
    made = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera(how, gains))
    assert made.ok, str(made)
    masters = {m.type: fits.getdata(path) for m, path in zip(
        made.plan.masters, made.masters.values(), strict=True)}  # fmt: skip
    (plan,) = (m for m in made.plan.masters if m.type == "flat")
    gain = np.repeat(GAINS[gains], COLUMNS // 2)
    stack = []
    for chosen in plan.inputs:
        raw = fits.getdata(tmp_path / "raw" / chosen.file).astype("f8")
        light = raw - masters["bias"] - masters["dark"].astype("f8") * chosen.dark_scale
        if len(set(GAINS[gains])) > 1:
            light *= gain.astype("f4")
        stack.append(light / np.median(light))
    expected = combined(np.array(stack), how)
    expected /= np.median(expected)
    found = masters["flat"]
    # Rounded when it is combined and when it is normalised; the norm is the mean of two
    # rounded values, and rounded itself.
    assert np.max(np.abs(found / expected - 1)) <= 4 * EPS


def test_flats_without_bias_and_dark_are_counted_in_light_once(tmp_path, monkeypatch):
    def amplifier(first, last, strip, gain):
        return Amplifier(
            name=f"a{first}",
            data=f"[{first}:{last},1:64]",
            overscan=strip,
            gain=gain * u.electron / u.adu,
            read_noise=6 * u.electron,
            saturation=60000 * u.adu,
        )

    random = np.random.default_rng(3)
    (tmp_path / "raw").mkdir()
    for n in range(4):
        image = np.full((64, 100), 300.0) + random.normal(0, 3, (64, 100))
        image[:, :80] += random.normal(20000 + 1000 * n, 300, (64, 80))
        hdu = fits.PrimaryHDU(np.round(image).astype("u2"))
        kind = "flat" if n < 3 else "science"
        hdu.header.update(INSTRUME="X", IMAGETYP=kind, EXPTIME=5, FILTER="R")
        hdu.writeto(tmp_path / "raw" / f"f{n}.fits")
    profile = Profile(
        name="x",
        instrument="X",
        amplifiers=[
            amplifier(1, 40, "[81:90,1:64]", 1.0),
            amplifier(41, 80, "[91:100,1:64]", 1.001),
        ],
        recipe=Recipe(bias=False, dark=None, flat=Flat(), electrons=True),
    )
    seen = []
    levels = flat_levels._levels

    def measured(flats, pixels, mapped):
        found = levels(flats, pixels, mapped)
        assert [level.offset for level in found] == [1, 1, 1]
        light = [flat_levels._light(flats, pixels, chosen) for chosen in flats.chosen]
        true = [float(np.median(values)) for values in light]
        seen.extend(zip((level.value for level in found), true, strict=True))
        return found

    monkeypatch.setattr(flat_levels, "_levels", measured)
    by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    assert len(seen) == 3
    for got, true in seen:
        assert got == pytest.approx(true, rel=1e-9)


def test_a_flat_is_normalised_and_what_has_no_light_is_flagged():
    band = Band(
        np.array([[200, 100, 1, 150]], "f4"),
        np.array([[4, 4, 4, 4]], "f4"),
        np.array([[0, 0, 0, 16]], "u2"),
    )
    before = [plane.copy() for plane in (band.data, band.variance, band.flags)]
    done = normalise_flat(band, norm=200.0, minimum=0.1)
    assert done.data.tolist() == [[1, 0.5, 1, 1]]
    assert done.variance.tolist() == [[np.float32(1e-4), np.float32(1e-4), 0, 0]]
    assert done.flags.tolist() == [[0, 0, 128, 16 | 128]]
    assert all(
        (a == b).all() for a, b in zip(before, (band.data, band.variance, band.flags), strict=True)
    )


def test_the_level_of_a_flat_leaves_out_what_is_not_illuminated():
    values = np.array([0.0] * 4 + [100.0] * 4 + [102.0], "f4")
    assert flat_norm(values, "median", 0.1) == 100
    assert flat_norm(values, "mean", 0.9) == pytest.approx(100.4)
    with pytest.raises(FrameRejected, match="have no light"):
        flat_norm(np.zeros(3, "f4"), "median", 0.1)


@pytest.mark.parametrize(
    ("values", "code"), [([0.0], None), ([0.0, 47.0], None), ([0.0, 48.0], "flat-level")]
)
def test_the_level_of_a_flat_is_above_the_noise_between_two_neighbours(values, code):
    level = flat_levels._checked(Input("f.fits"), 50.0, 1.0, np.array(values))
    assert (level.refused and level.refused.code) == code
    assert level.value == (50.0 if code is None else 0.0)


def test_pixels_of_a_spectral_flat_are_flagged_bad_unlit_or_without_flat():
    random = np.random.default_rng(5)
    data = np.zeros((300, 60)) + 1
    data[:, 8:52] = np.linspace(1000, 3000, 300)[:, np.newaxis] * random.normal(1, 0.01, (300, 44))
    data[150, 20] *= 0.5
    flags = np.zeros(data.shape, "u2")
    flags[10, 30] = 16
    done, _ = divide_lamp(Band(data.astype("f4"), None, flags), SpectralFlat(dispersion="y"))
    wanted = np.zeros(data.shape, "u2")
    wanted[:, :8] = wanted[:, 52:] = UNILLUMINATED
    wanted[150, 20], wanted[10, 30] = BAD, 16 | NO_FLAT
    np.testing.assert_array_equal(done.flags, wanted)
    assert (done.data[wanted >= UNILLUMINATED] == 1).all()
    assert done.data[150, 20] == pytest.approx(0.5, abs=0.05)
