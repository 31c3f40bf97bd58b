"""L.A.Cosmic the sparse way gives what astroscrappy gives, pixel by pixel."""

import importlib.util
import os
import platform
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import astroscrappy
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astroscrappy import utils

from ccdprofiles import CosmicRays, known_profiles
from ccdprofiles.camera.amplifier import AmplifierSet, Readout
from ccdprofiles.camera.section import Section
from ccdprofiles.errors import FrameRejected
from ccdprofiles.pixels.calibrate import COSMIC_RAY, Noise, find_cosmic_rays
from ccdprofiles.pixels.cosmics import detect_cosmics
from ccdprofiles.pixels.lacosmic import search
from ccdprofiles.pixels.lacosmic.stars import saturated_stars
from ccdprofiles.pixels.prepare import SATURATED
from ccdprofiles.simulate import simulate_night, windowed

ROOT = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("CCDPROFILES_REALDATA", ROOT.parent / "shared" / "realdata"))

# The order in which compiled code adds differs from machine to machine.
EXACT = sys.platform == "linux" and platform.machine() == "x86_64"

LIMITS = ("SCREENED", "PEAKED", "HIT")


def load_fuzz():
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "benchmarks" / "cosmics_fuzz.py")
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    return fuzz


@pytest.fixture
def always_sparse(monkeypatch):
    """However dense an image is, it is searched the sparse way."""
    for name in LIMITS:
        monkeypatch.setattr(search, name, np.inf)


def sky(random, shape=(220, 240), level=200.0, hits=150):
    image = random.normal(level, np.sqrt(level + 36), shape).astype("f4")
    where = random.integers(0, shape[0], hits), random.integers(0, shape[1], hits)
    image[where] += random.exponential(900, hits).astype("f4")
    y, x = np.indices(shape)
    for row, column in random.uniform(0, min(shape), (12, 2)):
        image += (4000 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4)).astype("f4")
    return image


def assert_same(image, **options):
    """Hold the sparse way against astroscrappy, and return it."""
    mask, cleaned = astroscrappy.detect_cosmics(image, **options)
    found = detect_cosmics(image, **options)
    np.testing.assert_array_equal(found.mask, mask)
    if EXACT:
        np.testing.assert_array_equal(found.data, cleaned)
    else:
        np.testing.assert_allclose(found.data, cleaned, rtol=1e-6)
    return found


def matrix(image):
    """All that the sparse way covers, for one image."""
    random = np.random.default_rng(3)
    inmask = random.random(image.shape) < 0.002
    inmask[:, 31] = True
    inmask[50:60, 80:95] = True
    level = np.full(image.shape, max(np.median(image), 1), "f4")
    yield from ({"niter": n} for n in (1, 2, 3, 4, 10))
    yield from ({"cleantype": c} for c in ("medmask", "idw"))
    yield {"sepmed": False}
    yield {"fsmode": "convolve"}
    yield {"fsmode": "convolve", "sepmed": False, "psfmodel": "gaussy", "psfsize": 9}
    yield {"fsmode": "convolve", "psfk": random.random((3, 5)).astype("f4")}
    yield {"satlevel": float(np.percentile(image, 99.5))}
    yield {"inmask": inmask}
    yield {"inmask": inmask, "sepmed": False, "cleantype": "medmask"}
    variance = np.abs(image.astype("f4")) + 50
    yield {"invar": variance}
    yield {"inbkg": level * np.float32(0.9)}
    yield {"inbkg": level * np.float32(0.9), "invar": variance, "gain": 1.3}
    yield {"gain": 1.37, "readnoise": 3.3}
    yield {"sigclip": 3.0, "objlim": 2.0, "sigfrac": 0.5}


@pytest.mark.parametrize("number", range(19))
def test_option_matrix(always_sparse, number):
    image = sky(np.random.default_rng(1))
    options = list(matrix(image))
    assert len(options) == 19
    found = assert_same(image, **options[number])
    assert found.way == "sparse"
    assert found.mask.any()


@pytest.mark.parametrize(
    "name", ["cg16m", "dis_blue", "dis_red", "kosmos", "lfc", "proem", "pt5m", "sbo"]
)
def test_frames_of_every_simulated_profile(always_sparse, name, tmp_path):
    truth = simulate_night(windowed(known_profiles()[name], 260, 300), tmp_path, cosmic_rays=60)
    file = next(row["file"] for row in truth.frames if row["type"] == "science")
    raw = fits.getdata(tmp_path / file)[:100, :110]
    for options in matrix(raw):
        assert assert_same(raw, **options).way == "sparse"
    level = np.percentile(raw, 5)
    assert assert_same(raw - level, gain=1.7, satlevel=60000.0).way == "sparse"


def real_frames():
    return sorted((REAL / "efosc2-pynot").glob("*.fits"))


@pytest.mark.skipif(not real_frames(), reason="no real frames here")
def test_real_frames(always_sparse):
    seen = set()
    for path in real_frames():
        header = fits.getheader(path)
        kind = header.get("HIERARCH ESO DPR TYPE"), header.get("HIERARCH ESO DPR TECH")
        if kind in seen:
            continue
        seen.add(kind)
        image = fits.getdata(path)[200:420, 300:560]
        few = matrix(image) if "OBJECT" in str(kind) else ({}, {"sepmed": False})
        for options in few:
            assert_same(image, **options)
    assert seen


def test_small_images_of_every_kind(always_sparse):
    fuzz = load_fuzz()
    for number in range(100):
        image, how = fuzz.made_up(np.random.default_rng([5, number]))
        assert_same(image, **how)


def test_hits_along_the_edges(always_sparse):
    random = np.random.default_rng(2)
    for sepmed in (True, False):
        for n in range(8):
            image = random.normal(300, 18, (60, 70)).astype("f4")
            for row, column in ((n, 30), (59 - n, 40), (25, n), (35, 69 - n), (n, n), (59 - n, n)):
                image[row, column] += 4000
            found = assert_same(image, sepmed=sepmed)
            assert found.mask.any() == (n >= (3 if sepmed else 2))


@pytest.mark.parametrize("cleantype", ["meanmask", "medmask", "idw"])
def test_nothing_good_in_a_box(always_sparse, cleantype):
    image = np.random.default_rng(4).normal(300, 18, (80, 90)).astype("f4")
    image[30:39, 40:49] += np.random.default_rng(5).exponential(9000, (9, 9))
    inmask = np.zeros(image.shape, bool)
    inmask[27:42, 37:43] = inmask[27:42, 46:52] = True
    for how in ({}, {"inmask": inmask}, {"inmask": ~inmask}):
        assert_same(image, cleantype=cleantype, objlim=0.5, niter=6, **how)


def test_later_iterations_may_look_only_near_repairs(always_sparse, monkeypatch):
    image = sky(np.random.default_rng(6), hits=900)
    near = detect_cosmics(image, niter=6, objlim=2.0)
    everywhere = lambda changed, shape: lambda pixels: np.ones(pixels.size, bool)  # noqa: E731
    monkeypatch.setattr(search, "near", everywhere)
    far = detect_cosmics(image, niter=6, objlim=2.0)
    np.testing.assert_array_equal(near.mask, far.mask)
    np.testing.assert_array_equal(near.data, far.data)


def test_content_decides_the_way():
    random = np.random.default_rng(8)
    assert assert_same(sky(random)).way == "sparse"
    crowded = random.normal(200, 15, (300, 300)) * 1.0
    crowded[::3, ::3] += 5000  # more hits than sky
    assert assert_same(crowded).way == "astroscrappy"
    lines = sky(random)
    lines[:, ::4] += 3000
    assert assert_same(lines).way == "astroscrappy"


@pytest.mark.parametrize(
    "options",
    [
        {"sigfrac": 1.5},
        {"fsmode": "convolve", "psfmodel": "moffat"},
        {"fsmode": "convolve", "psfsize": 21},
    ],
)
def test_other_options_go_to_astroscrappy(options):
    assert assert_same(sky(np.random.default_rng(9)), **options).way == "astroscrappy"


def test_small_frames_go_to_astroscrappy():
    assert assert_same(sky(np.random.default_rng(9), (12, 90))).way == "astroscrappy"


# The plain median, which astroscrappy 1.3.0 gets wrong.


def plain(image, niter, readnoise):
    """L.A.Cosmic as the paper has it, on the whole frame, with an unmasked median."""
    image = image.copy()
    variance = image + np.float32(readnoise) ** 2
    hits = np.zeros(image.shape, bool)
    for _ in range(niter):
        light = utils.laplaceconvolve(utils.subsample(image))
        noise = np.sqrt(np.maximum(utils.sepmedfilt7(variance), np.float32(1e-5)))
        s = utils.rebin(np.maximum(light, 0)) / (2 * noise)
        sharp = s - utils.sepmedfilt7(s)
        fine = utils.sepmedfilt5(image)
        fine = np.maximum((fine - utils.sepmedfilt9(fine)) / noise, np.float32(0.01))
        new = (sharp > 4.5) & (sharp / fine > 5)
        new = utils.dilate3(new).astype(bool) & (sharp > 4.5)
        new = utils.dilate3(new).astype(bool) & (sharp > np.float32(0.3) * np.float32(4.5))
        if not new.any():
            break
        hits |= new
        for values in (image, variance):
            boxes = np.lib.stride_tricks.sliding_window_view(values, (5, 5)).copy()
            inner = hits[2:-2, 2:-2]
            values[2:-2, 2:-2][inner] = np.median(boxes[inner], axis=(1, 2))
    return hits, image


@pytest.mark.parametrize("niter", [1, 4, 12])
def test_plain_median(niter):
    image = sky(np.random.default_rng(10), hits=600)
    hits, cleaned = plain(image, niter, 6.5)
    found = detect_cosmics(image, niter=niter, cleantype="median")
    assert found.way == "sparse"
    np.testing.assert_array_equal(found.mask, hits)
    np.testing.assert_array_equal(found.data, cleaned)


def test_plain_median_is_never_left_to_astroscrappy():
    crowded = np.random.default_rng(8).normal(200, 15, (120, 120))
    crowded[::3, ::3] += 5000
    assert detect_cosmics(crowded, cleantype="median").way == "sparse"
    with pytest.raises(ValueError, match="of uninitialised memory"):
        detect_cosmics(crowded, cleantype="median", sigfrac=2.0)


# What goes in.


def test_ccddata_brings_its_mask():
    image = sky(np.random.default_rng(11))
    first = detect_cosmics(image)
    mask = np.zeros(image.shape, bool)
    mask[first.mask] = True
    found = detect_cosmics(CCDData(image, unit="electron", mask=mask))
    assert not (found.mask & mask).any()
    np.testing.assert_array_equal(found.mask, detect_cosmics(image, mask).mask)
    with pytest.raises(ValueError, match="already in electron"):
        detect_cosmics(CCDData(image, unit="electron"), gain=2.0)
    with pytest.raises(ValueError, match="not in 3 dimensions"):
        detect_cosmics(np.zeros((2, 40, 40)))


def test_pixels_without_a_number():
    image = sky(np.random.default_rng(12))
    lost = np.random.default_rng(1).random(image.shape) < 0.002
    filled = np.where(lost, np.median(image[~lost]), image)
    image[lost] = np.nan
    image[np.nonzero(lost)[0][0], np.nonzero(lost)[1][0]] = np.inf
    found = detect_cosmics(image)
    mask, _ = astroscrappy.detect_cosmics(filled, inmask=lost)
    np.testing.assert_array_equal(found.mask, mask)
    np.testing.assert_array_equal(found.data[lost], image[lost])
    assert np.isfinite(found.data[~lost]).all()
    nothing = detect_cosmics(np.full((60, 60), np.nan))
    assert not nothing.mask.any()
    assert np.isnan(nothing.data).all()


def test_read_noise_of_each_pixel():
    image = sky(np.random.default_rng(13), level=5.0)
    one = detect_cosmics(image, readnoise=8.0)
    same = detect_cosmics(image, readnoise=np.full(image.shape, 8.0))
    np.testing.assert_array_equal(one.mask, same.mask)
    np.testing.assert_array_equal(one.data, same.data)
    noisy = np.where(np.arange(image.shape[1]) < 120, 8.0, 60.0) * np.ones(image.shape)
    both = detect_cosmics(image, readnoise=noisy)
    far = np.abs(np.arange(image.shape[1]) - 120) > 40
    np.testing.assert_array_equal(both.mask[:, :80], one.mask[:, :80])
    assert both.mask[:, far].sum() < one.mask[:, far].sum()


def test_the_input_is_left_alone():
    image = sky(np.random.default_rng(14))
    before = image.copy()
    detect_cosmics(image)
    np.testing.assert_array_equal(image, before)


def test_arrays_may_lie_in_memory_as_they_like(always_sparse):
    image = sky(np.random.default_rng(14))
    variance, level = np.abs(image) + 50, np.full(image.shape, 150, "f4")
    mask = np.random.default_rng(1).random(image.shape) < 0.01
    one = detect_cosmics(image, mask, level, variance)
    other = detect_cosmics(*(np.asfortranarray(a) for a in (image, mask, level, variance)))
    wide = np.repeat(image, 2, axis=1)[:, ::2]
    third = detect_cosmics(wide, mask, level, variance)
    for found in (other, third):
        np.testing.assert_array_equal(found.mask, one.mask)
        np.testing.assert_array_equal(found.data, one.data)


def test_one_frame_at_a_time_goes_to_astroscrappy(monkeypatch):
    within, most = [], []
    really = astroscrappy.detect_cosmics
    lock = threading.Lock()

    def watched(*args, **options):
        with lock:
            within.append(1)
            most.append(len(within))
        found = really(*args, **options)
        with lock:
            within.pop()
        return found

    monkeypatch.setattr(astroscrappy, "detect_cosmics", watched)
    crowded = np.random.default_rng(8).normal(200, 15, (120, 120))
    crowded[::3, ::3] += 5000
    with ThreadPoolExecutor(4) as pool:
        ways = [f.way for f in pool.map(detect_cosmics, [crowded] * 8)]
    assert ways == ["astroscrappy"] * 8
    assert max(most) == 1


def test_threads_agree():
    frames = [sky(np.random.default_rng(n)) for n in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detect_cosmics, frames))
    for frame, one in zip(frames, found, strict=True):
        np.testing.assert_array_equal(one.mask, detect_cosmics(frame).mask)


# Saturation, and frames of several amplifiers.


def test_saturated_star_is_no_cosmic_ray_and_a_saturated_ray_is():
    image = np.random.default_rng(15).normal(300, 18, (80, 80)).astype("f4")
    y, x = np.indices(image.shape)
    image += (200_000 * np.exp(-((y - 30) ** 2 + (x - 30) ** 2) / 18)).astype("f4")
    image[60, 60] = 90_000
    image = np.minimum(image, 60_000)
    full = image == 60_000
    stars = saturated_stars(image, full, 60_000)
    assert stars[30, 30]
    assert stars[full].sum() == full.sum() - 1
    assert not stars[60, 60]
    expected = np.zeros(image.shape, bool)
    astroscrappy.update_mask(image, expected, 60_000.0, True)
    np.testing.assert_array_equal(stars, expected)


def two_amplifiers(noises=(5.0, 40.0)):
    halves = [Section.parse("[1:60, 1:100]"), Section.parse("[61:120, 1:100]")]
    readouts = [
        Readout(
            name=str(n),
            data=half,
            overscan=None,
            place=half,
            gain=2.0,
            read_noise=noise,
            saturation=50_000.0,
        )
        for n, (half, noise) in enumerate(zip(halves, noises, strict=True))
    ]
    return AmplifierSet(tuple(readouts), (100, 120))


def frame_of_two(repair=False):
    """A dark sky with four hits of 60 adu, one upon the seam, and one that saturates."""
    random = np.random.default_rng(16)
    data = np.concatenate([random.normal(0, 2.5, (100, 60)), random.normal(0, 20, (100, 60))], 1)
    for place in ((20, 20), (50, 59), (70, 90), (80, 100)):
        data[place] += 60
    data[10, 40] = 55_000
    flags = np.zeros(data.shape, "u2")
    flags[10, 40] = SATURATED
    ccd = CCDData(data.astype("f4"), unit=u.adu, flags=flags)
    amplifiers = two_amplifiers()
    noise = Noise.of(amplifiers, (0.0, 0.0), 0, 100)
    return ccd, find_cosmic_rays(ccd, amplifiers, CosmicRays(repair=repair), noise)


def test_amplifiers_have_their_own_noise_and_no_seam():
    ccd, found = frame_of_two()
    hit = (found.flags & COSMIC_RAY) != 0
    assert hit[20, 20]
    assert hit[50, 59]
    assert hit[10, 40]
    assert not hit[70, 90]
    assert found.flags[10, 40] == SATURATED | COSMIC_RAY
    assert found.meta["CRWAY"] == "sparse"
    np.testing.assert_array_equal(found.data, ccd.data)


def test_repair_is_in_the_unit_of_the_frame():
    ccd, found = frame_of_two(repair=True)
    hit = (found.flags & COSMIC_RAY) != 0
    np.testing.assert_array_equal(found.data[~hit], ccd.data[~hit])
    assert abs(found.data[20, 20]) < 10
    assert abs(found.data[10, 40]) < 10


def test_without_noise_nothing_is_found():
    amplifiers = two_amplifiers((5.0, None))
    ccd = CCDData(np.zeros((100, 120), "f4"), unit=u.adu)
    with pytest.raises(FrameRejected, match="without gain and read noise"):
        find_cosmic_rays(ccd, amplifiers, CosmicRays(), Noise(2.0, None))


@pytest.mark.parametrize("shape", [(0, 20), (3, 3), (8, 40), (40, 8)])
def test_an_image_smaller_than_the_filters_is_refused(shape):
    with pytest.raises(ValueError, match="need at least 9 rows and columns"):
        detect_cosmics(np.zeros(shape, "f4"), readnoise=5)
