"""Nights of a few frames that a test writes itself, and what it asks of their products."""

import dataclasses
import functools
import hashlib

import numpy as np
from astropy import units as u
from astropy.io import fits

from ccdprofiles import (
    Amplifier,
    Limits,
    Profile,
    Recipe,
    night,
)
from ccdprofiles.products.band import DQ_BITS
from ccdprofiles.simulate import Exposures, windowed

plan_night = functools.partial(night.plan_night, min_frames=1)
reduce_night = functools.partial(night.reduce_night, min_frames=1)
SATURATED, COSMIC_RAY, NO_DATA, HOT = (
    DQ_BITS[name] for name in ("saturated", "cosmic ray", "no data", "hot")
)


def camera(data="[1:16, 1:16]", overscan=None, unit=u.adu, instrument="C", **recipe):
    """Describe a camera of 16 x 16 pixels whose recipe only subtracts the bias."""
    # Flats of these nights have as much light as a test can be read with.
    limits = Limits(flat_level=None)
    steps = {"bias": True, "dark": None, "flat": None, "limits": limits} | recipe
    return Profile(
        instrument=instrument,
        amplifiers=[
            Amplifier(
                data=data,
                overscan=overscan,
                gain=1 * u.electron / u.adu,
                read_noise=2 * u.electron,
                saturation=65535 * u.adu,
            )
        ],
        recipe=Recipe(**steps),
        unit=unit,
    )


def with_recipe(function):
    return dataclasses.replace(camera(), recipe=function)


def pixels(level, seed=0, shape=(16, 16), noise=2.0):
    return np.random.default_rng(seed).normal(level, noise, shape).round().astype("u2")


def write(path, kind, data, exposure=0.0, date="2020-01-01T00:00:00", **cards):
    """Write one raw frame; a number becomes noise about that level."""
    path.parent.mkdir(exist_ok=True, parents=True)
    if not isinstance(data, np.ndarray):
        data = pixels(data, int(hashlib.sha256(path.name.encode()).hexdigest()[:6], 16))
    given = {"INSTRUME": "C", "IMAGETYP": kind, "DATE-OBS": date, "EXPTIME": exposure} | cards
    header = fits.Header([(card, value) for card, value in given.items() if value is not None])
    fits.PrimaryHDU(data, header).writeto(path)


def write_some(folder, kind, number, data, exposure=0.0, stem=None, **more):
    for n in range(number):
        write(folder / f"{stem or kind}{n}.fits", kind, data, exposure, **more)


def edit(path, change=lambda data: data, **cards):
    """Write a raw frame anew, with other pixels or cards."""
    with fits.open(path) as hdus:
        data, header = hdus[0].data.copy(), hdus[0].header.copy()
    header.update(cards)
    path.unlink()
    fits.PrimaryHDU(change(data), header).writeto(path)


def put(value, *where):
    """Return a change of pixels for `edit`."""

    def change(data):
        data[where] = value
        return data

    return change


def files_of(folder, kind):
    said = [(p, fits.getheader(p)["IMAGETYP"].strip().lower()) for p in sorted(folder.iterdir())]
    return [path for path, word in said if word == kind]


def bytes_of(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*.fits"))}


def only(paths, word=""):
    (found,) = (path for name, path in paths.items() if word in name)
    return found


def verdicts(reduced):
    return dict(zip(reduced.frames["file"], reduced.frames["verdict"], strict=True))


def row(reduced, file):
    (index,) = np.flatnonzero(reduced.frames["file"] == file)
    return reduced.frames[index]


SMALL = windowed("cg16m", 16, 24)
BIASES, DARKS = Exposures("bias", 4), Exposures("dark", 3, 90.0)
FLATS = Exposures("flat", 3, 1.0, filter="r")
SCIENCE = Exposures("science", 2, 90.0, filter="r", object="m31")
FRAMES = [BIASES, DARKS, FLATS, SCIENCE]
ELEVEN = [Exposures("bias", 3), DARKS, FLATS, SCIENCE]
