"""EFOSC2, the profile that the how-to develops: its headers, and its real night where it is at hand.

The 24 frames are those of the repository jkrogager/PyNOT. The folder that holds them,
``efosc2-pynot``, is looked for in the one that CCDPROFILES_REALDATA names.
"""

import os
import shutil
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.stats import mad_std

from ccdprofiles import Flat, SpectralFlat, known_profiles, load_profile, reduce_night

ROOT = Path(__file__).parents[2]
FILE = ROOT / "profiles" / "efosc2.py"
PROFILE = load_profile(FILE)
HEADERS = {
    path.stem.removeprefix("efosc2-"): fits.Header.fromstring(path.read_text(), sep="\n")
    for path in sorted((ROOT / "tests" / "headers").glob("efosc2-*.header"))
}
REAL = Path(os.environ.get("CCDPROFILES_REALDATA") or ROOT.parent / "shared" / "realdata")
NIGHT = REAL / "efosc2-pynot"

BIAS = "masters/efosc2_bias_2x2.fits"
ARC = "masters/efosc2_arc_Free_SPECTRUM_slit_1.2_Gr_3_2x2.fits"
NARROW = "masters/efosc2_flat_Free_SPECTRUM_slit_1.2_Gr_3_2x2.fits"
WIDE = "masters/efosc2_flat_Free_SPECTRUM_slit_5.0_Gr_3_2x2.fits"
SKY = "masters/efosc2_flat_g_782_IMAGE_Free_Free_2x2.fits"


# Its headers.


def test_there_is_a_header_of_each_type():
    assert set(HEADERS) == {"arc", "bias", "flat", "science"}


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_are_recognised_and_typed(kind):
    assert PROFILE.fits(HEADERS[kind])
    assert PROFILE.frame_type_of(HEADERS[kind]) == kind
    assert PROFILE.binning_of(HEADERS[kind]) == (2, 2)


@pytest.mark.parametrize("kind", HEADERS)
def test_the_shipped_profile_alone_takes_them(kind):
    assert [p.name for p in known_profiles().values() if p.fits(HEADERS[kind])] == ["efosc2"]


def test_a_bias_is_a_dark_of_no_time():
    header = HEADERS["bias"].copy()
    assert header["ESO DPR TYPE"].strip() == "DARK"
    assert PROFILE.frame_type_of(header) == "bias"
    header["EXPTIME"] = 600.0
    assert PROFILE.frame_type_of(header) == "dark"


@pytest.mark.parametrize("kind", HEADERS)
def test_gain_and_sections(kind):
    header = HEADERS[kind]
    amplifiers = PROFILE.amplifiers_of(header, {None: (header["NAXIS2"], header["NAXIS1"])})
    (readout,) = amplifiers.readouts
    assert readout.gain == 1.10  # CONAD; GAIN is its inverse
    assert header["ESO DET OUT1 GAIN"] == pytest.approx(1 / 1.10, rel=0.01)
    assert str(readout.data) == "[1:1021, 1:1016]"
    assert str(readout.overscan) == "[1024:1027, 1:1016]"
    assert amplifiers.shape == (1016, 1021)


def test_images_and_spectra_have_their_own_flats():
    assert isinstance(PROFILE.recipe_of(HEADERS["science"]).flat, SpectralFlat)
    image = HEADERS["science"].copy()
    image["ESO DPR TECH"] = "IMAGE"
    assert PROFILE.recipe_of(image).flat == Flat()


def test_a_flat_of_one_slit_is_none_for_another():
    other = HEADERS["flat"].copy()
    assert PROFILE.match_of("flat", other) == PROFILE.match_of("flat", HEADERS["science"])
    other["ESO INS SLIT1 NAME"] = "slit#5.0"
    assert PROFILE.match_of("flat", other) != PROFILE.match_of("flat", HEADERS["science"])
    assert PROFILE.match_of("bias", other) == PROFILE.match_of("bias", HEADERS["science"])


# Its real night.


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    if not NIGHT.is_dir():
        pytest.skip("the real frames are not here; CCDPROFILES_REALDATA names their folder")
    return reduce_night(NIGHT, tmp_path_factory.mktemp("efosc2"), profile=FILE)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """The same night with the read noise that its biases show, whatever RON says."""
    if not NIGHT.is_dir():
        pytest.skip("the real frames are not here; CCDPROFILES_REALDATA names their folder")
    (amplifier,) = PROFILE.amplifiers
    measured = replace(PROFILE, amplifiers=[replace(amplifier, read_noise=11.3 * u.electron)])
    return reduce_night(NIGHT, tmp_path_factory.mktemp("quiet"), profile=measured)


def spectra(night):
    return [path for path in night.products.values() if technique(path) == "SPECTRUM"]


def images(night):
    return [path for path in night.products.values() if technique(path) == "IMAGE"]


def technique(path):
    return fits.getheader(path)["ESO DPR TECH"].strip()


def good(path):
    """The data and the uncertainty of a product, NaN where it is masked."""
    ccd = CCDData.read(path)
    data, sigma = ccd.data.astype(float), ccd.uncertainty.array.astype(float)
    data[ccd.mask] = sigma[ccd.mask] = np.nan
    return data, sigma


def blocks(image, size=127):
    """The medians of 8 x 8 blocks: stars and noise go, the run of the sky stays."""
    cut = image[: 8 * size, : 8 * size].reshape(8, size, 8, size)
    return np.nanmedian(cut, axis=(1, 3))


def rms(image):
    found = blocks(image)
    return found.std() / np.median(found)


def fall(image):
    """How far the four corners lie below the centre, on average."""
    found = blocks(image) / np.nanmedian(image)
    return found[3:5, 3:5].mean() - found[:: len(found) - 1, :: len(found) - 1].mean()


def test_every_frame_is_used(night):
    assert night.ok
    assert len(night.frames) == 24
    assert set(night.frames["verdict"]) == {"used"}
    kinds = night.frames["type"].tolist()
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "bias": 5,
        "flat": 9,
        "arc": 1,
        "science": 9,
    }


def test_masters_do_not_mix_slits(night):
    assert set(night.masters) == {BIAS, ARC, NARROW, WIDE, SKY}
    slits = {}
    for name in (NARROW, WIDE):
        files = [i.file for i in night.plan.master(name).inputs]
        slits[name] = {fits.getheader(NIGHT / f)["ESO INS SLIT1 NAME"] for f in files}
        assert len(files) == 3
    assert slits == {NARROW: {"slit#1.2"}, WIDE: {"slit#5.0"}}


def test_spectra_use_the_flat_of_their_slit(night):
    assert len(night.products) == 9
    assert len(spectra(night)) == 3
    for path in spectra(night):
        header = fits.getheader(path)
        wanted = {"slit#1.2": NARROW, "slit#5.0": WIDE}[header["ESO INS SLIT1 NAME"]]
        assert header["FLATCOR"] == Path(wanted).name
    for path in images(night):
        assert fits.getheader(path)["FLATCOR"] == Path(SKY).name


def test_products_are_in_electrons_and_read_by_ccddata(night):
    for path in night.products.values():
        ccd = CCDData.read(path)
        assert ccd.unit == u.electron
        assert ccd.shape == (1016, 1021)
        assert ccd.header["CALSTAT"] == "OBF"
        assert np.isfinite(ccd.data).all()
        assert (ccd.uncertainty.array[~ccd.mask] > 0).all()


def test_flats_take_the_overscan_level_of_the_night(night):
    for name in (NARROW, WIDE, SKY):
        header = fits.getheader(night.masters[name])
        assert header["OSNIGHT1"] is True
        assert 214 < header["OSLEV1"] < 222
    for path in (night.masters[BIAS], night.masters[ARC], *night.products.values()):
        header = fits.getheader(path)
        assert "OSNIGHT1" not in header
        assert header["OSLEV1"] == pytest.approx(215, abs=5)


def test_the_bias_keeps_only_what_the_overscan_does_not_see(night):
    bias, sigma = good(night.masters[BIAS])
    assert np.nanmedian(bias) == pytest.approx(3.5, abs=1)
    assert np.nanmedian(sigma) == pytest.approx(10.3 / np.sqrt(5), rel=0.05)


def test_the_sky_of_the_images_is_flat(night):
    """Measured: 2.4 % rms before and 1.0 to 1.3 % after; two opposite corners stay 3 % low.

    From the centre to the mean of the corners it is 7 to 9 % before, and 1 to 3 % after.
    """
    bias = CCDData.read(night.masters[BIAS]).data
    for path in images(night):
        header = fits.getheader(path)
        raw = fits.getdata(NIGHT / path.name.replace("_cal", ""))[:1016, :1021].astype(float)
        before, after = rms(raw - header["OSLEV1"] - bias), rms(good(path)[0])
        assert 0.022 < before < 0.027
        assert after < 0.014
        assert after < before / 1.7
        assert fall(raw - header["OSLEV1"] - bias) > 0.07
        assert abs(fall(good(path)[0])) < 0.032


def test_the_flat_of_the_images_holds_the_dust_and_the_edge(night):
    flat = CCDData.read(night.masters[SKY])
    assert np.median(flat.data[~flat.mask]) == pytest.approx(1, abs=1e-4)
    assert blocks(flat.data.astype(float)).min() < 0.96


def test_spectral_flats_hold_no_lamp(night):
    """The run along the dispersion is gone, and what the slit does not reach is flagged."""
    for name in (NARROW, WIDE):
        flat, _ = good(night.masters[name])
        along = np.nanmedian(flat, axis=1)
        assert np.nanstd(along) < 0.02
        assert np.isnan(flat).mean() < 0.2


def noise(path):
    """How much the sky of a frame scatters, in units of its own uncertainty.

    The median over patches of 32 x 32 pixels of the scatter within each, so that stars,
    lines and the run of the sky do not count.
    """
    data, sigma = good(path)
    ratios = []
    for row in range(0, 1016 - 31, 32):
        for column in range(0, 1021 - 31, 32):
            patch = (slice(row, row + 32), slice(column, column + 32))
            if np.isfinite(data[patch]).sum() > 500:
                ratios.append(mad_std(data[patch], ignore_nan=True) / np.nanmedian(sigma[patch]))
    return float(np.median(ratios))


def test_noise_of_images_agrees_with_their_uncertainty(night):
    """Measured: 1.05 to 1.06 with RON of the header."""
    for path in images(night):
        assert 0.95 < noise(path) < 1.10


def test_biases_scatter_by_more_than_the_header_says():
    """RON = 7.8 electrons; the biases scatter by 10.3 adu, which are 11.3."""
    if not NIGHT.is_dir():
        pytest.skip("the real frames are not here")
    files = sorted(NIGHT.glob("EFOSC.2022-01-26T19_0*.fits"))
    stack = [fits.getdata(f)[:1016, :1021].astype(float) for f in files]
    for first, second in pairwise(stack):
        difference = second - first
        scatter = difference[abs(difference) < 80].std() / np.sqrt(2)
        assert 1.10 * scatter == pytest.approx(11.3, abs=0.2)


def test_with_the_measured_read_noise_all_noise_agrees(quiet):
    """Measured: images 0.97 to 0.98, spectra, which are nearly dark, 0.98 to 1.00."""
    for path in quiet.products.values():
        assert 0.95 < noise(path) < 1.05


def test_products_are_valid_fits(night):
    verify = shutil.which("fitsverify")
    if verify is None:
        pytest.skip("there is no fitsverify")
    for path in (*night.masters.values(), *night.products.values()):
        told = subprocess.run([verify, "-q", path], capture_output=True, text=True, check=False)
        assert told.stdout.startswith("verification OK"), told.stdout
