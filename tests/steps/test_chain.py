"""One step after the other gives what the reduction of a night gives."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData

from ccdprofiles import combine, detect_cosmics

from ..conftest import INSTRUMENTS
from .conftest import same

CAMERAS = (*INSTRUMENTS, "kosmos+two gains", "lfc+median")
"""Those that ship, and what none of them has."""


@pytest.mark.parametrize("name", CAMERAS)
def test_masters_are_those_of_the_night(steps_of, name):
    steps = steps_of(name)
    assert steps.night.masters
    for master, path in steps.night.masters.items():
        same(steps.masters[master], path)


@pytest.mark.parametrize("name", CAMERAS)
def test_science_frames_are_those_of_the_night(steps_of, name):
    steps = steps_of(name)
    for number, product in enumerate(steps.night.plan.products[:2]):
        frame = detect_cosmics(steps.calibrated(product.input, read=number == 0))
        same(frame, steps.night.products[product.name])


@pytest.mark.parametrize("name", ["lfc", "kosmos"])
def test_masters_of_the_night_can_be_given_by_their_paths(steps_of, name):
    steps = steps_of(name)
    product = steps.night.plan.products[0]
    masters = {
        kind: steps.night.masters[master]
        for kind in ("bias", "dark", "flat")
        if (master := getattr(product.input, kind))
    }
    frame = steps.profile.calibrate(steps.prepared(product.input.file), **masters)
    same(detect_cosmics(frame), steps.night.products[product.name], ulp=0)


@pytest.mark.parametrize("name", ["lfc", "kosmos"])
def test_a_prepared_frame_that_was_written_goes_on_as_before(steps_of, name, tmp_path):
    steps = steps_of(name)
    chosen = steps.night.plan.products[0].input
    prepared = steps.prepared(chosen.file)
    prepared.write(tmp_path / "prepared.fits")
    masters = {
        kind: steps.masters[master]
        for kind in ("bias", "dark", "flat")
        if (master := getattr(chosen, kind))
    }
    again = steps.profile.calibrate(tmp_path / "prepared.fits", **masters)
    once = steps.profile.calibrate(prepared, **masters)
    np.testing.assert_array_equal(again.data, once.data)
    np.testing.assert_array_equal(again.uncertainty.array, once.uncertainty.array)
    np.testing.assert_array_equal(again.flags, once.flags)
    assert again.unit == once.unit


def test_bias_and_dark_in_two_calls_are_bias_and_dark_in_one(steps_of):
    steps = steps_of("kosmos")
    chosen = steps.night.plan.products[0].input
    prepared = steps.prepared(chosen.file)
    bias, dark, flat = (steps.masters[m] for m in (chosen.bias, chosen.dark, chosen.flat))
    once = steps.profile.calibrate(prepared, bias=bias, dark=dark, flat=flat)
    first = steps.profile.calibrate(prepared, bias=bias, electrons=False)
    two = steps.profile.calibrate(first, dark=dark, flat=flat)
    assert two.unit == once.unit
    np.testing.assert_allclose(two.data, once.data, rtol=1e-5)
    # Nobody knows in the second call that the same bias is in the dark.
    np.testing.assert_allclose(two.uncertainty.array, once.uncertainty.array, rtol=0.2)
    assert two.meta["CALSTAT"] == once.meta["CALSTAT"] == "OBDF"


def test_nothing_that_was_given_is_changed(steps_of):
    steps = steps_of("lfc")
    chosen = steps.night.plan.products[0].input
    raw = steps.profile.read(steps.path(chosen.file))
    before, cards = raw.data.copy(), raw.meta.tostring()
    prepared = steps.profile.prepare(raw)
    assert np.array_equal(raw.data, before)
    assert raw.meta.tostring() == cards
    kept = prepared.copy()
    dark = steps.masters[chosen.dark]
    dark_before = dark.data.copy()
    calibrated = steps.profile.calibrate(prepared, dark=dark)
    detect_cosmics(calibrated, repair=True)
    assert np.array_equal(prepared.data, kept.data)
    assert np.array_equal(prepared.flags, kept.flags)
    assert prepared.meta["CALSTAT"] == "O"
    assert np.array_equal(dark.data, dark_before)


def test_a_raw_frame_is_read_as_it_is(steps_of):
    steps = steps_of("lfc")
    file = steps.night.plan.products[0].input.file
    raw, plain = steps.profile.read(steps.path(file)), CCDData.read(steps.path(file), unit="adu")
    np.testing.assert_array_equal(raw.data, plain.data)
    assert raw.data.dtype == np.float32
    assert raw.unit == "adu"
    assert raw.meta["EXPTIME"] == plain.meta["EXPTIME"]


@pytest.mark.parametrize("packed", ["gz", "fz"])
def test_a_packed_frame_is_read_and_prepared_alike(steps_of, packed, tmp_path):
    steps = steps_of("lfc")
    path = steps.path(steps.night.plan.products[0].input.file)
    other = tmp_path / f"frame.fits.{packed}"
    with fits.open(path) as hdus:
        hdu = hdus[0]
        if packed == "fz":
            hdu = fits.CompImageHDU(hdu.data, hdu.header, compression_type="RICE_1")
        hdu.writeto(other)
    raw, plain = steps.profile.read(other), steps.profile.read(path)
    np.testing.assert_array_equal(raw.data, plain.data)
    expected = steps.profile.prepare(path)
    for frame in (raw, other):
        np.testing.assert_array_equal(steps.profile.prepare(frame).data, expected.data)


def test_cards_say_what_was_done(steps_of):
    steps = steps_of("kosmos")
    product = steps.night.plan.products[0]
    meta = detect_cosmics(steps.calibrated(product.input)).meta
    header = CCDData.read(steps.night.products[product.name]).meta
    cards = ("CALSTAT", "HASPED", "HASDARK", "DARKSCAL", "CPPROF", "CPBIN", "CPAMPS", "CPTYPE")
    for card in (*cards, "EXPTIME", "OSLEV1", "OSLEV2", "TRIM1", "CRAYS", "CRNUM", "CRWAY"):
        assert meta[card] == header[card], card
    assert meta["FLATNORM"] == pytest.approx(header["FLATNORM"], rel=1e-12)
    for line in ("bias subtracted", "dark subtracted", "divided by flat", "L.A.Cosmic"):
        assert any(line in said for said in meta["HISTORY"]), line


def test_a_master_has_the_cards_of_a_master(steps_of):
    steps = steps_of("lfc")
    for name, path in steps.night.masters.items():
        meta, header = steps.masters[name].meta, CCDData.read(path).meta
        for card in ("NCOMBINE", "EXPTIME", "DATE-OBS", "CPTYPE", "CALSTAT", "CPINEFF", "OBJECT"):
            assert meta[card] == header[card], (name, card)


def test_a_product_is_written_with_its_flags(steps_of, tmp_path):
    steps = steps_of("lfc")
    product = steps.night.plan.products[0]
    frame = detect_cosmics(steps.calibrated(product.input))
    frame.write(tmp_path / "frame.fits")
    same(frame, tmp_path / "frame.fits", ulp=0)


def test_a_pixel_that_was_masked_by_hand_is_left_out_of_a_master(steps_of):
    steps = steps_of("lfc")
    master = next(m for m in steps.night.plan.masters if m.type == "dark")
    frames = [steps.calibrated(i) for i in master.inputs]
    frames[0].data[5, 6] = 50_000
    frames[0].mask[5, 6] = True
    others = combine(frames[1:], clip=None)
    assert combine(frames, clip=None).data[5, 6] == pytest.approx(others.data[5, 6], rel=1e-6)


@pytest.mark.parametrize("how", ["raw mask", "flags", "flags and mask"])
def test_a_pixel_that_was_called_bad_is_left_out_of_a_master(steps_of, how):
    steps = steps_of("lfc")
    master = next(m for m in steps.night.plan.masters if m.type == "dark")
    frames = [steps.calibrated(i) for i in master.inputs]
    if how == "raw mask":
        raw = steps.profile.read(steps.path(master.inputs[0].file))
        raw.data[5, 6] = 50_000
        raw.mask = np.zeros(raw.shape, bool)
        raw.mask[5, 6] = True
        frames[0] = steps.profile.prepare(raw, night_level=steps.night_level)
    else:
        frames[0].data[5, 6] = 50_000
        frames[0].flags[5, 6] |= 1
        frames[0].mask[5, 6] = "mask" in how
    expected = combine(frames[1:], clip=None).data[5, 6]
    assert combine(frames, clip=None).data[5, 6] == pytest.approx(expected, rel=1e-6)


def test_a_bad_pixel_of_a_dark_is_flagged_in_the_flat(steps_of):
    steps = steps_of("lfc")
    master = next(m for m in steps.night.plan.masters if m.type == "flat")
    dark = steps.masters[master.inputs[0].dark].copy()
    dark.mask[5, 6] = True
    flats = [steps.profile.calibrate(steps.prepared(i.file), dark=dark) for i in master.inputs]
    flat = combine(flats)
    assert flat.mask[5, 6]
    assert flat.data[5, 6] == 1
    usual = steps.masters[master.name]
    others = np.ones(flat.shape, bool)
    others[5, 6] = False
    np.testing.assert_allclose(flat.data[others], usual.data[others], rtol=1e-2)
