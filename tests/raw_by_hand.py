"""Raw files made in a test, and all their pixels as the package reads them."""

import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles.errors import FrameRejected
from ccdprofiles.files.pixels import Pixels
from ccdprofiles.files.raw import read_raw


def write(path, data, header=None, **cards):
    header = fits.Header() if header is None else header
    for card, said in cards.items():
        header[card] = said
    fits.PrimaryHDU(data, header).writeto(path)
    return path


def everything(path, dtype="f4"):
    raw = read_raw(path)
    with Pixels(raw) as pixels:
        image = raw.images[0]
        return pixels.rows(image, 0, image.shape[0], dtype)


def refused(path):
    with pytest.raises(FrameRejected) as error:
        everything(path)
    return error.value.code, str(error.value)


def noise(seed=0, shape=(13, 7), dtype="u2"):
    return np.random.default_rng(seed).integers(0, 60000, shape).astype(dtype)
