"""Sections from header cards: read from every frame, checked against it and each other."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles import Amplifier, Profile, Recipe
from ccdprofiles.camera.amplifier import check_amplifiers
from ccdprofiles.errors import FrameRejected, ProfileError
from ccdprofiles.files.raw import read_raw
from ccdprofiles.pixels.measure import measure
from ccdprofiles.pixels.prepare import prepare

CARDS = {"DATASEC": "[3:22,1:12]", "BIASSEC": "[25:30,1:14]"}
CURE = "correct the header, or write the section in the profile."


def camera(*amplifiers, **more):
    amplifiers = amplifiers or (Amplifier(data="DATASEC", overscan="BIASSEC"),)
    return Profile(instrument="X", name="x", amplifiers=amplifiers, recipe=Recipe(), **more)


def binned_camera(*amplifiers, **more):
    return camera(*amplifiers, binning=("XBIN", "YBIN"), **more)


def test_sections_are_those_of_the_frame():
    found = camera().amplifiers_of(CARDS, {None: (14, 30)})
    (readout,) = found.readouts
    assert str(readout.data) == "[3:22, 1:12]"
    assert str(readout.overscan) == "[25:30, 1:12]"  # no longer than the data
    assert found.shape == (12, 20)
    window = CARDS | {"DATASEC": "[3:12,1:5]", "BIASSEC": "[25:30, 1:5]"}
    other = camera().amplifiers_of(window, {None: (5, 30)})
    assert other.shape == (5, 10)
    assert other.key != found.key


def test_sections_in_cards_count_binned_pixels_and_positions_unbinned_ones():
    amplifier = Amplifier(data="DATASEC", overscan="BIASSEC", detector="DETSEC")
    cards = CARDS | {"DETSEC": "[141:101, 11:34]", "XBIN": 2, "YBIN": 2}
    found = binned_camera(amplifier).amplifiers_of(cards, {None: (14, 30)})
    (readout,) = found.readouts
    assert str(readout.data) == "[3:22, 1:12]"
    assert readout.flipped == (True, False)
    assert found.shape == (12, 20)
    assert found.origin == (101, 11)
    moved = cards | {"DETSEC": "[151:111, 11:34]"}
    assert binned_camera(amplifier).amplifiers_of(moved, {None: (14, 30)}).key != found.key


def test_some_sections_may_be_cards_and_others_not():
    amplifier = Amplifier(data="[5:44, 1:24]", overscan="BIASSEC")
    cards = CARDS | {"XBIN": 2, "YBIN": 2}
    (readout,) = binned_camera(amplifier).amplifiers_of(cards, {None: (14, 30)}).readouts
    assert str(readout.data) == "[3:22, 1:12]"
    assert str(readout.overscan) == "[25:30, 1:12]"


@pytest.mark.parametrize(
    ("cards", "sentence"),
    [
        (
            {"DATASEC": None},
            "x: DATASEC is missing, but data= of an amplifier reads it; " + CURE,
        ),
        (
            {"BIASSEC": 7},
            "x: BIASSEC = 7 is not a section, but overscan= of an amplifier reads it; " + CURE,
        ),
        (
            {"BIASSEC": "[25:30]"},
            "x: BIASSEC: '[25:30]' is not an image section: it has 1 axis; write it as FITS does, "
            "'[first column:last column, first row:last row]', counting from 1; " + CURE,
        ),
        (
            {"DATASEC": "[22:3,1:12]"},
            "x: DATASEC: '[22:3,1:12]' is not an image section: 22 is greater than 3; write it as "
            "FITS does, '[first column:last column, first row:last row]', counting from 1; " + CURE,
        ),
        (
            {"DATASEC": "[3:42,1:24]"},
            "x: DATASEC = '[3:42,1:24]' reaches beyond the image, which has 30 columns and 14 rows; "
            "it should count the pixels of the file as stored, here at a binning of 2 x 2; " + CURE,
        ),
        (
            {"BIASSEC": "[25:30,1:11]"},
            "x: DATASEC and BIASSEC: overscan [25:30, 1:11] and data [3:22, 1:12] do not have the "
            "same rows; each row of the data needs its own overscan; correct the header, or write the "
            "sections in the profile.",
        ),
        (
            {"BIASSEC": "[20:30,1:12]"},
            "x: DATASEC and BIASSEC: overscan [20:30, 1:12] overlaps the data [3:22, 1:12]; use the "
            "strip that receives no light; correct the header, or write the sections in the profile.",
        ),
    ],
)
def test_a_card_that_cannot_be_right_costs_its_frame(cards, sentence):
    header = {k: v for k, v in (CARDS | cards).items() if v is not None} | {"XBIN": 2, "YBIN": 2}
    with pytest.raises(FrameRejected) as refusal:
        binned_camera().amplifiers_of(header, {None: (14, 30)})
    assert refusal.value.code == "section"
    assert str(refusal.value) == sentence


CHIP = Amplifier(data="DATASEC", overscan=None, detector="DETSEC", extension="SCI*")
SHAPES = {1: (12, 24), "SCI1": (12, 24), 2: (12, 24), "SCI2": (12, 24)}


def chips(one, two):
    headers = [{"DATASEC": "[3:22,1:12]", "DETSEC": text} for text in (one, two)]
    by_name = {1: headers[0], "SCI1": headers[0], 2: headers[1], "SCI2": headers[1]}
    return camera(CHIP).amplifiers_of({}, SHAPES, by_name)


def test_a_pattern_stands_for_every_extension_that_it_fits():
    found = chips("[1:20,1:12]", "[40:21,1:12]")
    assert [(r.name, r.extension) for r in found.readouts] == [("SCI1", "SCI1"), ("SCI2", "SCI2")]
    assert [r.flipped for r in found.readouts] == [(False, False), (True, False)]
    assert found.shape == (12, 40)
    named = dataclasses.replace(CHIP, name="chip")
    found = camera(named).amplifiers_of(
        {"DATASEC": "[3:22,1:12]", "DETSEC": "[1:20,1:12]"}, {1: (12, 24), "SCI1": (12, 24)}
    )
    assert [r.name for r in found.readouts] == ["chip SCI1"]


@pytest.mark.parametrize(
    ("one", "two", "sentence"),
    [
        (
            "[1:20,1:12]",
            "[39:20,1:12]",
            "x: two amplifiers have the same pixels of the detector, [1:20, 1:12] and [20:39, 1:12] "
            "of the frame, as their cards have them; " + CURE,
        ),
        (
            "[1:20,1:12]",
            "[21:41,1:12]",
            "x: DETSEC of extension 'SCI2' covers 21 x 12 pixels of the detector, but the data "
            "[3:22, 1:12] have 20 x 12 pixels at a binning of 1 x 1; it should count unbinned "
            "pixels; " + CURE,
        ),
        (
            "[1:20,:]",
            "[21:40,1:12]",
            "x: DETSEC of extension 'SCI1': [1:20, :] has an open end, so it is not a position on "
            "the detector; write both ends of its columns and rows; " + CURE,
        ),
    ],
)
def test_positions_that_cannot_be_right_cost_the_frame(one, two, sentence):
    with pytest.raises(FrameRejected) as refusal:
        chips(one, two)
    assert str(refusal.value) == sentence


def test_two_amplifiers_of_one_image_use_their_own_pixels():
    left = Amplifier(name="left", data="DSEC1", overscan="BSEC1")
    right = Amplifier(name="right", data="DSEC2", overscan=None)
    cards = {"DSEC1": "[1:10,1:5]", "BSEC1": "[18:22,1:5]", "DSEC2": "[11:20,1:5]"}
    with pytest.raises(FrameRejected) as refusal:
        camera(left, right).amplifiers_of(cards, {None: (5, 22)})
    assert str(refusal.value) == (
        "x: the data [11:20, 1:5] of an amplifier overlap the data [1:10, 1:5] or the overscan of "
        "another, as their cards have them; " + CURE
    )


def test_a_file_without_the_extensions_of_a_pattern_is_refused():
    with pytest.raises(FrameRejected) as refusal:
        camera(CHIP).amplifiers_of({}, {None: (12, 24), 0: (12, 24)})
    assert refusal.value.code == "missing-extension"
    assert str(refusal.value) == (
        "no extension has a name like 'SCI*', but x expects an amplifier in each of them; the file "
        "has [None, 0]; correct extension= in the profile, or copy the file again if it was truncated."
    )


@pytest.mark.parametrize("detector", [None, "[1:20, 1:12]"])
def test_a_pattern_needs_a_position_for_each_extension(detector):
    with pytest.raises(ProfileError) as refusal:
        check_amplifiers([dataclasses.replace(CHIP, detector=detector)])
    assert str(refusal.value) == (
        f"extension='SCI*' stands for several extensions, but detector={detector!r} gives no position "
        "to each; use the name of a card that each has, such as detector='DETSEC'."
    )


def test_a_section_without_brackets_is_not_a_card():
    with pytest.raises(ProfileError, match=r"data='1:20, 1:12': .* is not an image section"):
        Amplifier(data="1:20, 1:12", overscan=None)


def test_a_parallel_overscan_needs_a_serial_one_in_cards_too():
    with pytest.raises(ProfileError, match="parallel_overscan BIASSEC2 is corrected after a level"):
        Amplifier(data="DATASEC", overscan=None, parallel_overscan="BIASSEC2")


def test_a_literal_strip_beside_a_card_needs_an_overscan_that_is_binned():
    amplifier = Amplifier(data="DATASEC", overscan="[25:30, 1:12]")
    profile = binned_camera(amplifier, overscan_bins=False)
    with pytest.raises(FrameRejected) as refusal:
        profile.amplifiers_of(CARDS | {"XBIN": 2, "YBIN": 1}, {None: (14, 30)})
    assert str(refusal.value) == (
        "x: data='DATASEC' is a card, so [25:30, 1:12] cannot be placed in a binned frame whose "
        "overscan is not binned; use the card of the overscan in the profile."
    )


def test_the_size_of_the_frame_is_checked_only_if_the_profile_gives_it():
    assert camera().amplifiers_of(CARDS, {None: (50, 80)}).shape == (12, 20)
    with pytest.raises(FrameRejected, match="80 columns and 50 rows, but 30 columns and 14 rows"):
        camera(frame_size=(30, 14)).amplifiers_of(CARDS, {None: (50, 80)})
    sizes = camera(CHIP, frame_size={"SCI*": (24, 12)})
    cards = {"DATASEC": "[3:22,1:12]", "DETSEC": "[1:20,1:12]"}
    assert sizes.amplifiers_of(cards, {1: (12, 24), "SCI1": (12, 24)}).shape == (12, 20)
    with pytest.raises(FrameRejected, match="extension 'SCI1' has 25 columns and 12 rows"):
        sizes.amplifiers_of(cards, {1: (12, 25), "SCI1": (12, 25)})


def test_cards_enter_the_hash():
    one, other = camera(), camera(Amplifier(data="TRIMSEC", overscan="BIASSEC"))
    assert one.hash != other.hash
    assert one.section_cards == ("DATASEC", "BIASSEC")
    parallel = Amplifier(data="DATASEC", overscan="BIASSEC", parallel_overscan="PSEC")
    assert camera(parallel).hash != one.hash


def test_sections_of_a_real_mosaic():
    """Two segments of an LSST sensor, as the headers of its test stand have them."""
    segments = {
        "Segment10": {"DATASEC": "[11:522,1:2002]", "DETSEC": "[512:1,1:2002]"},
        "Segment11": {"DATASEC": "[11:522,1:2002]", "DETSEC": "[1024:513,1:2002]"},
    }
    profile = camera(
        Amplifier(
            data="DATASEC",
            overscan="[526:573, 1:2002]",
            detector="DETSEC",
            extension="Segment*",
        )
    )
    shapes = dict.fromkeys(segments, (2048, 576))
    found = profile.amplifiers_of({}, shapes, segments)
    assert found.shape == (2002, 1024)
    assert [str(r.place) for r in found.readouts] == ["[1:512, 1:2002]", "[513:1024, 1:2002]"]
    assert {r.flipped for r in found.readouts} == {(True, False)}


REAL = Path(
    os.environ.get("CCDPROFILES_REALDATA", Path(__file__).parents[2] / ".." / "shared" / "realdata")
)


@pytest.mark.skipif(not REAL.is_dir(), reason="the public frames are not here")
def test_a_real_frame_with_sections_in_its_cards():
    """A SAAO frame: sections with blanks inside, its overscan on the left."""
    profile = Profile(
        instrument=None,
        where={"OBSERVAT": "*"},
        amplifiers=[Amplifier(data="TRIMSEC", overscan="BIASSEC")],
        recipe=Recipe(),
    )
    raw = read_raw(REAL / "ccdproc-tests" / "a8280271.fits")
    found = profile.amplifiers_of(raw.header, raw.shapes, raw.headers)
    assert str(found.readouts[0].overscan) == "[4:13, 1:520]"
    (data,) = prepare([measure(raw, found, profile.recipe)], 0, 520).data
    with fits.open(raw.path) as hdus:
        image = hdus[0].data.astype("f8")
    wanted = image[:, 16:528] - np.median(image[:, 3:13], axis=1, keepdims=True)
    np.testing.assert_allclose(data, wanted, rtol=1e-6)
