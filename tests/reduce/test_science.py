"""Science frames: their batches, units, cosmic rays and world coordinates."""

import dataclasses

import by_hand
import pytest
from astropy.io import fits

from ccdprofiles import CosmicRays, Recipe
from ccdprofiles.reduce.science import open_products
from ccdprofiles.simulate import Exposures, simulate_night, windowed


def test_frames_of_which_only_one_is_to_be_in_electrons_do_not_share_a_batch(tmp_path):
    def recipe(header):
        return Recipe(bias=True, dark=None, flat=None, electrons=header["EXPTIME"] > 100)

    by_hand.write_some(tmp_path / "raw", "bias", 2, 100)
    by_hand.write(tmp_path / "raw/a.fits", "light", 600, 10.0)
    by_hand.write(tmp_path / "raw/b.fits", "light", 600, 300.0)
    made = by_hand.reduce_night(
        tmp_path / "raw", tmp_path / "out", profile=by_hand.with_recipe(recipe)
    )
    units = {name[8]: fits.getheader(path)["BUNIT"] for name, path in made.products.items()}
    assert units == {"a": "adu", "b": "electron"}


def test_cosmic_rays_are_looked_for_where_the_recipe_of_the_frame_asks(tmp_path):
    def recipe(header):
        how = CosmicRays() if header["EXPTIME"] > 100 else None
        return Recipe(bias=True, dark=None, flat=None, cosmic_rays=how)

    profile = dataclasses.replace(
        by_hand.with_recipe(recipe),
        amplifiers=[dataclasses.replace(by_hand.camera().amplifiers[0], data="[1:64, 1:64]")],
    )
    by_hand.write_some(tmp_path / "raw", "bias", 2, by_hand.pixels(100, shape=(64, 64)))
    by_hand.edit(tmp_path / "raw/bias1.fits", by_hand.put(101, 0, 0))
    for file, exposure in (("a", 10.0), ("b", 300.0)):
        path = tmp_path / f"raw/{file}.fits"
        by_hand.write(
            path,
            "light",
            by_hand.put(30000, 30, slice(20, 22))(by_hand.pixels(600, shape=(64, 64))),
            exposure,
        )
    made = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    hit = {
        n[8]: (fits.getdata(p, "DQ")[30, 20] & by_hand.COSMIC_RAY) for n, p in made.products.items()
    }
    assert hit == {"a": 0, "b": by_hand.COSMIC_RAY}


def test_world_coordinates_do_not_depend_on_the_order_of_the_amplifiers(tmp_path):
    frames = [Exposures("bias", 2), Exposures("science", 1, 10.0)]
    truth = simulate_night(windowed("kosmos", 32, 32), tmp_path / "raw", frames=frames)
    sky = {"CRPIX1": 10.0, "CRPIX2": 5.0, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
    (science,) = truth.frames["file"][truth.frames["type"] == "science"]
    by_hand.edit(tmp_path / "raw" / science, **sky)
    found = []
    for name, amplifiers in (("a", truth.known.amplifiers), ("b", truth.known.amplifiers[::-1])):
        made = by_hand.reduce_night(
            tmp_path / "raw",
            tmp_path / name,
            profile=dataclasses.replace(truth.known, amplifiers=amplifiers),
            without=("dark", "flat"),
        )
        header = fits.getheader(by_hand.only(made.products))
        found.append((header["CRPIX1"], header["CRPIX2"]))
    assert found[0] == found[1]


def test_products_stay_in_adu_where_one_amplifier_has_no_gain(tmp_path):
    frames = [Exposures("bias", 2), Exposures("flat", 2, 10.0), Exposures("science", 1, 10.0)]
    truth = simulate_night(windowed("kosmos", 32, 32), tmp_path / "raw", frames=frames)
    first, second = truth.known.amplifiers
    profile = dataclasses.replace(
        truth.known,
        amplifiers=[first, dataclasses.replace(second, gain=None)],
        recipe=dataclasses.replace(truth.known.recipe, electrons=True),
    )
    made = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile, without="dark")
    assert made.ok
    assert fits.getheader(by_hand.only(made.products))["BUNIT"] == "adu"
    note = "kosmos: the products stay in adu, because its gain is not known"
    assert note in made.plan.notes


def test_however_few_files_may_be_open_a_batch_has_one(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (31, 31))
    assert open_products(2) == 1
