"""Products of a few pixels, written and held against the FITS standard."""

import shutil
import subprocess
import warnings

import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles.files.header import ProductHeader
from ccdprofiles.products.band import DQ_BITS, Band
from ccdprofiles.products.product import ProductFile

SHAPE = (12, 10)
SHA = "0" * 64
INPUTS = [("a.fits", SHA, "science"), ("masters/cam_bias_1x1.fits", SHA, "master bias")]


@pytest.fixture(scope="session")
def some_images():
    def some_images(shape=SHAPE, seed=0):
        random = np.random.default_rng(seed)
        data = random.normal(100, 10, shape).astype("f4")
        variance = random.uniform(1, 4, shape).astype("f4")
        flags = np.zeros(shape, "u2")
        for row, bit in enumerate(DQ_BITS.values()):
            flags[row, row] = bit
        return data, variance, flags

    return some_images


@pytest.fixture(scope="session")
def header():
    def header(**cards):
        made = ProductHeader()
        made["BUNIT"] = "adu"
        for card, value in cards.items():
            made[card] = value
        return made

    return header


@pytest.fixture(scope="session")
def write(some_images, header):
    def write(path, step=4, order=None, cards=None, uncertainty=True, images=None, inputs=INPUTS):
        """Write a product band by band."""
        data, variance, flags = some_images() if images is None else images
        shape = data.shape
        bands = [(a, min(a + step, shape[0])) for a in range(0, shape[0], step)]
        if order is not None:
            order.shuffle(bands)
        with ProductFile(
            path, header() if cards is None else cards, shape, uncertainty, inputs
        ) as out:
            for a, b in bands:
                band = Band(data[a:b], variance[a:b] if uncertainty else None, flags[a:b])
                out.write(a, band)
            out.finish()
        return path

    return write


@pytest.fixture(scope="session")
def verify():
    def verify(path):
        """Hold a file against the FITS standard: by astropy, and by fitsverify where it is there."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(path, checksum=True) as hdus:
                for hdu in hdus:
                    hdu.verify("exception")
                    assert "CHECKSUM" in hdu.header
                    assert "DATASUM" in hdu.header
                    hdu.data  # noqa: B018, reading it is the test
        if shutil.which("fitsverify"):
            said = subprocess.run(
                ["fitsverify", "-q", path], capture_output=True, text=True, check=False
            )
            if "verification OK" not in said.stdout:
                full = subprocess.run(
                    ["fitsverify", path], capture_output=True, text=True, check=False
                )
                pytest.fail(full.stderr + full.stdout)

    return verify
