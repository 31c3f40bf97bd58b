"""Sections of a profile cut to the window of a frame, and the refusals."""

import numpy as np
import pytest
from astropy import units as u
from hypothesis import assume, given
from hypothesis import strategies as st

from ccdprofiles import Amplifier, Profile, Recipe
from ccdprofiles.camera.area import DetectorArea
from ccdprofiles.camera.pixel_map import PixelMap
from ccdprofiles.errors import FrameRejected, ProfileError

ONE = Amplifier(data="[11:110, 1:80]", overscan="[115:130, 1:80]")


def camera(*amplifiers, **more):
    more = {"window": "CCDSEC"} | more
    return Profile(
        instrument="X", name="x", amplifiers=amplifiers or (ONE,), recipe=Recipe(), **more
    )


def binned(*amplifiers, **more):
    return camera(*amplifiers, binning=("XBIN", "YBIN"), **more)


def sections(found):
    return [(r.name, str(r.data), r.overscan_text, str(r.detector)) for r in found.readouts]


def test_data_are_cut_and_the_overscan_stays_beside_them():
    found = camera().amplifiers_of({"CCDSEC": "[21:60,11:40]"}, {None: (30, 70)})
    assert sections(found) == [("", "[11:50, 1:30]", "[55:70, 1:30]", "[21:60, 11:40]")]
    assert found.shape == (30, 40)
    assert found.origin == (21, 11)


def test_a_frame_without_the_card_is_a_whole_frame():
    found = camera().amplifiers_of({}, {None: (80, 130)})
    assert sections(found) == [("", "[11:110, 1:80]", "[115:130, 1:80]", "[1:100, 1:80]")]
    window = camera().amplifiers_of({"CCDSEC": "[1:100, 1:80]"}, {None: (80, 130)})
    assert window.key == found.key


def test_the_first_of_several_spellings_and_a_function_of_the_header():
    window = {"CCDSEC": "[21:60,11:40]"}
    found = camera(window=("WINDOW", "CCDSEC")).amplifiers_of(window, {None: (30, 70)})
    assert found.origin == (21, 11)

    def of_own_cards(header):
        x, y, wide, tall = (header[card] for card in ("X0", "Y0", "NX", "NY"))
        return f"[{x + 1}:{x + wide}, {y + 1}:{y + tall}]"

    profile = camera(window=of_own_cards)
    assert profile.amplifiers_vary
    header = {"X0": 20, "Y0": 10, "NX": 40, "NY": 30}
    assert profile.amplifiers_of(header, {None: (30, 70)}).origin == (21, 11)


def test_strips_above_and_below_are_cut_with_the_columns():
    amplifier = Amplifier(
        data="[3:102, 5:84]",
        overscan=("[105:112, 5:84]",),
        parallel_overscan="[3:102, 88:95]",
        detector="[100:1, 80:1]",
    )
    found = camera(amplifier, frame_size=(115, 96)).amplifiers_of(
        {"CCDSEC": "[11:30, 41:60]"}, {None: (36, 35)}
    )
    (readout,) = found.readouts
    assert str(readout.data) == "[3:22, 5:24]"
    assert readout.overscan_text == "[25:32, 5:24], then [3:22, 28:35]"
    assert readout.flipped == (True, True)


def test_only_the_amplifiers_that_a_window_touches_remain():
    halves = [
        Amplifier(name="left", data="[1:50, 1:60]", overscan="[103:110, 1:60]"),
        Amplifier(name="right", data="[51:100, 1:60]", overscan="[113:120, 1:60]"),
    ]
    profile = camera(*halves)
    both = profile.amplifiers_of({"CCDSEC": "[41:60, 1:60]"}, {None: (60, 40)})
    assert sections(both) == [
        ("left", "[1:10, 1:60]", "[23:30, 1:60]", "[41:50, 1:60]"),
        ("right", "[11:20, 1:60]", "[33:40, 1:60]", "[51:60, 1:60]"),
    ]
    # Of the two unused columns after the data one is next to those of the right half.
    one = profile.amplifiers_of({"CCDSEC": "[61:80, 1:60]"}, {None: (60, 30)})
    assert [name for name, *_ in sections(one)] == ["right"]


def test_a_binned_pixel_that_is_partly_prescan_is_not_data():
    amplifier = Amplifier(data="[4:103, 1:80]", overscan="[107:120, 1:80]")
    cards = {"XBIN": 2, "YBIN": 2, "CCDSEC": "[11:50, 1:40]"}
    (readout,) = binned(amplifier).amplifiers_of(cards, {None: (20, 30)}).readouts
    assert (str(readout.data), str(readout.detector)) == ("[3:21, 1:20]", "[12:49, 1:40]")


def test_an_overscan_that_is_not_binned():
    cards = {"XBIN": 2, "YBIN": 2, "CCDSEC": "[21:60, 11:40]"}
    found = binned(overscan_bins=False).amplifiers_of(cards, {None: (15, 50)})
    assert sections(found) == [("", "[11:30, 1:15]", "[35:50, 1:15]", "[21:60, 11:40]")]


CURE = "correct the header, or window= in the profile."


@pytest.mark.parametrize(
    ("header", "shape", "sentence"),
    [
        (
            {"CCDSEC": "[21:60,11:40]"},
            (30, 71),
            "x: the frame has 71 columns and 30 rows, but 70 columns and 30 rows were expected for "
            "CCDSEC = [21:60, 11:40], with all overscan beside it; correct the header, or window= or "
            "the sections in the profile.",
        ),
        (
            {},
            (30, 70),
            "x: the frame has 70 columns and 30 rows, but 130 columns and 80 rows were expected for "
            "the whole detector (CCDSEC is missing), with all overscan beside it; correct the header, "
            "or window= or the sections in the profile.",
        ),
        (
            {"CCDSEC": "[21:101,11:40]"},
            (30, 111),
            "x: the window [21:101, 11:40] reaches beyond the detector, of which the amplifiers read "
            "[1:100, 1:80]; it should count unbinned pixels of the detector; " + CURE,
        ),
        (
            {"CCDSEC": "[60:21,11:40]"},
            (30, 70),
            "CCDSEC: '[60:21,11:40]' is not an image section: 60 is greater than 21; write it as FITS "
            "does, '[first column:last column, first row:last row]', counting from 1; the section of "
            "the detector that was read, in unbinned pixels, was expected; " + CURE,
        ),
        (
            {"CCDSEC": "[:, 11:40]"},
            (30, 70),
            "CCDSEC: [:, 11:40] has an open end; write both ends of columns and rows; the section of "
            "the detector that was read, in unbinned pixels, was expected; " + CURE,
        ),
        (
            {"CCDSEC": 7},
            (30, 70),
            "CCDSEC: 7 is not an image section; write it as FITS does, '[first column:last column, "
            "first row:last row]', counting from 1; the section of the detector that was read, in "
            "unbinned pixels, was expected; " + CURE,
        ),
    ],
)
def test_a_window_that_cannot_be_right_costs_its_frame(header, shape, sentence):
    with pytest.raises(FrameRejected) as refusal:
        camera().amplifiers_of(header, {None: shape})
    assert refusal.value.code == "section"
    assert str(refusal.value) == sentence


def test_a_window_must_leave_whole_binned_pixels():
    with pytest.raises(FrameRejected) as refusal:
        binned().amplifiers_of({"XBIN": 2, "YBIN": 2, "CCDSEC": "[21:61,11:40]"}, {None: (15, 35)})
    assert str(refusal.value) == (
        "x: the window leaves 41 x 30 of the 100 x 80 pixels of amplifier '', which are not whole "
        "pixels at a binning of 2 x 2; " + CURE
    )


def test_a_window_that_is_not_a_rectangle_of_the_raw_frame_is_refused():
    # Both halves are in the same columns of the file, but not of the detector.
    halves = [
        Amplifier(name="a", data="[1:50, 1:60]", overscan=None, detector="[1:50, 1:60]"),
        Amplifier(name="b", data="[1:50, 61:120]", overscan=None, detector="[51:100, 1:60]"),
    ]
    with pytest.raises(FrameRejected) as refusal:
        camera(*halves).amplifiers_of({"CCDSEC": "[41:60, 1:60]"}, {None: (120, 20)})
    assert str(refusal.value) == (
        "x: the window [41:50, 1:60] of amplifier 'a' is not a rectangle of the raw frame, in which "
        "other amplifiers share its columns or rows; use sections from cards."
    )


@pytest.mark.parametrize(
    ("amplifiers", "sentence"),
    [
        (
            [Amplifier(data="DATASEC", overscan=None)],
            "window= cuts the sections of the profile to the window, but 'DATASEC' is a card that "
            "each frame has for itself; omit window=, and give the position of the data with "
            "detector=, such as detector='CCDSEC'.",
        ),
        (
            [
                Amplifier(name="a", data="[1:50, 1:60]", overscan=None, detector="[1:50, 1:60]"),
                Amplifier(name="b", data="[51:100, 1:60]", overscan=None),
            ],
            "window= needs the position of every amplifier on the detector, but only some have one; "
            "write detector='[…]' for each.",
        ),
        (
            [Amplifier(data="[1:100, :]", overscan=None)],
            "window= needs the size of the whole frame, because a section of data='[1:100, :]' has "
            "an open end; write frame_size=(columns, rows).",
        ),
    ],
)
def test_sections_that_cannot_be_cut_are_refused_with_the_profile(amplifiers, sentence):
    with pytest.raises(ProfileError) as refusal:
        camera(*amplifiers)
    assert str(refusal.value) == sentence
    with pytest.raises(ProfileError) as refusal:
        camera().but(amplifiers=lambda _: amplifiers).amplifiers_of({}, {None: (60, 100)})
    assert str(refusal.value) == sentence


def test_window_must_be_the_name_of_a_card():
    with pytest.raises(ProfileError, match=r"window=7 is not the name of a header card\."):
        camera(window=7)


def test_a_window_belongs_to_the_hash_of_a_profile_that_has_one():
    plain = camera(window=None)
    assert "window" not in repr(plain)
    assert len({plain.hash, camera().hash, camera(window="DETSEC").hash}) == 3


def area(header, binning=(1, 1), profile=None, **gain):
    profile = profile or binned(ONE.but(**gain))
    x, y = binning
    cards = {"XBIN": x, "YBIN": y, "CCDSEC": "[1:100, 1:80]"} | header
    window = profile.window_of(cards)
    shape = (window.height // y, (window.width + 30) // x)
    found = profile.amplifiers_of(cards, {None: shape})
    return DetectorArea.of(found, binning, gains=bool(gain))


def test_a_master_covers_a_window_on_whole_binned_pixels():
    whole, window = area({}, (2, 2)), area({"CCDSEC": "[21:60, 11:40]"}, (2, 2))
    assert window.place_in(whole) == (slice(5, 20), slice(10, 30))
    assert whole.place_in(whole) == (slice(0, 40), slice(0, 50))
    assert whole.why_not_in(window) == "covers only [21:60, 11:40]"
    assert area({}).why_not_in(whole) == "is binned 2x2"
    odd = area({"CCDSEC": "[22:61, 11:40]"}, (2, 2))
    assert odd.why_not_in(whole) == "has binned pixels that begin at other columns or rows"
    assert odd.place_in(whole) is None


def test_a_master_of_other_amplifiers_or_flips_does_not_cover_a_window():
    whole, window = area({}), {"CCDSEC": "[21:60, 11:40]"}
    for other in (ONE.but(name="other"), ONE.but(detector="[100:1, 1:80]")):
        found = area(window, profile=binned(other))
        assert found.why_not_in(whole) == "was read out by other amplifiers"


def test_a_gain_that_varies_must_agree_except_for_flats():
    gains = [area({}, gain=n * u.electron / u.adu) for n in (1.0, 2.0)]
    assert gains[0].why_not_in(gains[1], "bias") == "was read out with another gain"
    assert gains[0].why_not_in(gains[1], "flat") == ""
    assert gains[0].why_not_in(area({}), "flat") == "was read out with another gain"


@pytest.mark.parametrize("gain", [{}, {"gain": 1.37 * u.electron / u.adu}])
def test_the_cards_of_a_product_contain_its_area(gain):
    profile = binned(ONE.but(name="left", detector="[100:1, 1:80]", **gain))
    found = area({"CCDSEC": "[21:60, 11:40]"}, (2, 2), profile, **gain)
    header = {card: value for card, value, _ in found.cards}
    assert header["CCDSEC"] == "[21:60, 11:40]"
    assert header["DETSEC1"] == "[60:21, 11:40]"
    assert DetectorArea.of_product(header, (2, 2)) == found
    assert DetectorArea.of_product({}, (2, 2)) is None


HALVES = Amplifier(data="DATASEC", overscan=None, detector="DETSEC", extension="SCI*")


def halves(first, last, split, binning, flips):
    """Two amplifiers side by side that cover the columns first to last, by their cards."""
    spans = [("SCI1", first, min(last, split)), ("SCI2", max(first, split + 1), last)]
    shapes, headers = {}, {}
    for (name, left, right), flipped in zip(spans, flips, strict=True):
        wide = (right - left + 1) // binning
        if wide < 1:
            continue
        shapes[name] = (3, wide)
        ends = (right, left) if flipped else (left, right)
        headers[name] = {"DATASEC": f"[1:{wide}, 1:3]", "DETSEC": f"[{ends[0]}:{ends[1]}, 1:3]"}
    profile = camera(HALVES, window=None, binning=("XBIN", "YBIN"))
    found = profile.amplifiers_of({"XBIN": binning, "YBIN": 1}, shapes, headers)
    return DetectorArea.of(found, (binning, 1), gains=False), labels(found, binning)


def labels(found, binning):
    """The column of the detector at the centre of each pixel of a row, and which amplifier read it."""
    row = np.full((2, found.shape[1]), np.nan)
    for readout in found.readouts:
        pixel_map = PixelMap(readout.data, readout.detector, (binning, 1), readout.flipped)
        raw = np.arange(1, readout.data.width + 1)
        columns = pixel_map.to_detector(raw, np.ones(raw.size))[0]
        place = slice(readout.place.first_column - 1, readout.place.last_column)
        row[0, place] = columns[::-1] if readout.flipped[0] else columns
        row[1, place] = int(readout.name[-1])
    return row


@given(st.data())
def test_the_place_of_a_window_is_where_the_same_pixels_of_the_detector_are(data):
    binning, split = data.draw(st.integers(1, 3)), data.draw(st.integers(4, 15))
    flips = data.draw(st.tuples(st.booleans(), st.booleans()))
    width = data.draw(st.integers(split + 4, 30))
    first = data.draw(st.integers(1, width - 3))
    last = data.draw(st.integers(first + 2, width))
    assume(max(min(last, split) - first + 1, last - max(first, split + 1) + 1) >= binning)
    whole, its = halves(1, width, split, binning, flips)
    window, own = halves(first, last, split, binning, flips)
    found = window.place_in(whole)
    if found is not None:
        its = its[:, found[1]]
        # A pixel that no amplifier of the window read may be read by one of the whole.
        np.testing.assert_array_equal(np.where(np.isnan(own), np.nan, its), own)
        return
    starts = range(its.shape[1] - own.shape[1] + 1)
    known = ~np.isnan(own).any(axis=0)
    parts = [its[:, n : n + own.shape[1]][:, known] for n in starts]
    assert not any(np.array_equal(part, own[:, known]) for part in parts)
