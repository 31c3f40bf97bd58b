import copy
import dataclasses
import pickle

import numpy as np
import pytest
from astropy import units as u

from ccdprofiles import Amplifier, Profile, Recipe
from ccdprofiles.camera.amplifier import check_amplifiers
from ccdprofiles.camera.placement import amplifier_set
from ccdprofiles.errors import FrameRejected, ProfileError, SectionError

HOW = "write it as FITS does, '[first column:last column, first row:last row]', counting from 1."


def lfc(**changes):
    values = {
        "data": "[1:2048, 1:4128]",
        "overscan": "[2056:2080, 1:4128]",
        "gain": 1.1 * u.electron / u.adu,
    }
    return Amplifier(**values | changes)


def fitted(*amplifiers, shape=(4128, 2080), binning=(1, 1), overscan_bins=True, header=None):
    shapes = shape if isinstance(shape, dict) else {None: shape}
    return amplifier_set(amplifiers, shapes, binning, overscan_bins, header or {})


def test_overscan_has_no_default():
    with pytest.raises(TypeError, match="overscan"):
        Amplifier(data="[1:10, 1:10]")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"overscan": "[2048:2080, 1:4128]"},
            "overscan [2048:2080, 1:4128] overlaps the data [1:2048, 1:4128]; use the strip that receives no light.",
        ),
        (
            {"overscan": "[2049:2080, 1:4127]"},
            "overscan [2049:2080, 1:4127] and data [1:2048, 1:4128] do not have the same rows; "
            "each row of the data needs its own overscan.",
        ),
        (
            {"overscan": "[2049:2080, :]"},
            "overscan [2049:2080, :] and data [1:2048, 1:4128] do not have the same rows; "
            "each row of the data needs its own overscan.",
        ),
        (
            {"overscan": "[1:2040, 4130:4140]"},
            "overscan [1:2040, 4130:4140] is not beside the data [1:2048, 1:4128] and does not have the "
            "same columns; each column of the data needs its own overscan.",
        ),
        (
            {"overscan": ("[2056:2080, 1:4128]", "[1:2048, 4130:4140]")},
            "overscan [2056:2080, 1:4128] and [1:2048, 4130:4140] are beside the data "
            "[1:2048, 1:4128] and above or below them; use overscan= for those beside, and "
            "parallel_overscan= for the other.",
        ),
        (
            {"overscan": ("[2056:2080, 1:4128]", "[2080:2090, 1:4128]")},
            "overscan [2056:2080, 1:4128] and overscan [2080:2090, 1:4128] overlap; use each pixel "
            "once, in one strip.",
        ),
        (
            {"overscan": ()},
            "overscan=() is not a section, a tuple of sections or None; use None if no strip is "
            "useful.",
        ),
        (
            {"overscan": ["[2056:2080, 1:4128]"]},
            "overscan=['[2056:2080, 1:4128]'] is not a section, a tuple of sections or None; use None "
            "if no strip is useful.",
        ),
        (
            {"overscan": None, "parallel_overscan": "[1:2048, 4130:4140]"},
            "parallel_overscan [1:2048, 4130:4140] is corrected after a level for each row, but "
            "overscan= has no strip beside the data; use overscan= for it if it is the only one.",
        ),
        (
            {"overscan": "[1:2048, 4150:4160]", "parallel_overscan": "[1:2048, 4130:4140]"},
            "parallel_overscan [1:2048, 4130:4140] is corrected after a level for each row, but "
            "overscan= has no strip beside the data; use overscan= for it if it is the only one.",
        ),
        (
            {"parallel_overscan": "[1:2040, 4130:4140]"},
            "parallel_overscan [1:2040, 4130:4140] is not beside the data [1:2048, 1:4128] and does "
            "not have the same columns; each column of the data needs its own overscan.",
        ),
        (
            {"parallel_overscan": "[1:2048, 4120:4140]"},
            "overscan [1:2048, 4120:4140] overlaps the data [1:2048, 1:4128]; use the strip that "
            "receives no light.",
        ),
        (
            {"overscan": "[4096:4109]"},
            "overscan='[4096:4109]': '[4096:4109]' is not an image section: it has 1 axis; " + HOW,
        ),
        (
            {"data": "[0:2047, 1:4128]"},
            "data='[0:2047, 1:4128]': '[0:2047, 1:4128]' is not an image section: "
            "it counts from 0; " + HOW,
        ),
        (
            {"detector": "[1:2048]"},
            "detector='[1:2048]': '[1:2048]' is not an image section: it has 1 axis; " + HOW,
        ),
        (
            {"detector": "[:, 1:4128]"},
            "detector='[:, 1:4128]': [:, 1:4128] has an open end, so it is not a position on the "
            "detector; write both ends of its columns and rows.",
        ),
        (
            {"data": "[2048:1, 1:4128]"},
            "data='[2048:1, 1:4128]': '[2048:1, 1:4128]' is not an image section: "
            "2048 is greater than 1; " + HOW,
        ),
        (
            {"gain": 2.0},
            "gain=2.0 is not in electron / adu; write it as gain=2.0 * u.electron / u.adu.",
        ),
        (
            {"gain": 2.0 * u.adu / u.electron},
            "gain=2.0 adu / electron is not in electron / adu; "
            "write it as gain=2.0 * u.electron / u.adu.",
        ),
        (
            {"read_noise": 11},
            "read_noise=11 is not in electron; write it as read_noise=11 * u.electron.",
        ),
        (
            {"saturation": 65535},
            "saturation=65535 is not in adu; write it as saturation=65535 * u.adu.",
        ),
        (
            {"gain": 0 * u.electron / u.adu},
            "gain=0.0 electron / adu is not a positive number.",
        ),
        (
            {"gain": float("nan") * u.electron / u.adu},
            "gain=nan electron / adu is not a positive number.",
        ),
        (
            {"read_noise": -5 * u.electron},
            "read_noise=-5.0 electron is not a positive number.",
        ),
        (
            {"saturation": float("inf") * u.adu},
            "saturation=inf adu is not a positive number.",
        ),
        (
            {"gain": [1.1, 1.2] * u.electron / u.adu},
            "gain=[1.1 1.2] electron / adu is not a positive number.",
        ),
        (
            {"read_noise": 1e308 * u.electron},
            "read_noise=1e+308 electron is outside the range 1e-15 to 1e+15 electron of possible cameras; correct it.",
        ),
        (
            {"gain": 1e-300 * u.electron / u.adu},
            "gain=1e-300 electron / adu is outside the range 1e-15 to 1e+15 electron / adu of possible cameras; correct it.",
        ),
    ],
)
def test_refuses_an_amplifier_that_cannot_be_right(changes, sentence):
    with pytest.raises(ProfileError) as refusal:
        lfc(**changes)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("amplifiers", "sentence"),
    [
        (
            [
                Amplifier(name="a", data="[1:10, 1:5]", overscan=None),
                Amplifier(name="b", data="[10:20, 1:5]", overscan=None),
            ],
            "the amplifiers' data [1:10, 1:5] and [10:20, 1:5] overlap; "
            "each pixel is read by one amplifier.",
        ),
        (
            [
                Amplifier(name="a", data="[1:10, 1:5]", overscan="[15:18, 1:5]"),
                Amplifier(name="b", data="[11:20, 1:5]", overscan=None),
            ],
            "overscan [15:18, 1:5] overlaps the data [11:20, 1:5]; use the strip that receives no light.",
        ),
        (
            [
                Amplifier(
                    name="a",
                    data="[1:10, 1:5]",
                    overscan="[25:30, 1:5]",
                    parallel_overscan="[1:10, 7:9]",
                ),
                Amplifier(name="b", data="[1:10, 8:12]", overscan=None),
            ],
            "overscan [1:10, 7:9] overlaps the data [1:10, 8:12]; use the strip that receives no light.",
        ),
        (
            [
                Amplifier(data="[1:10, 1:5]", overscan=None),
                Amplifier(data="[11:20, 1:5]", overscan=None),
            ],
            "two amplifiers have the same name; use different names, such as name='left'.",
        ),
        (
            [
                Amplifier(name="a", data="[1:10, 1:5]", overscan=None),
                Amplifier(name="b", data="[11:20, 1:6]", overscan=None),
            ],
            "the amplifiers' data have different heights: [1:10, 1:5], [11:20, 1:6]; use for each the rows that it reads, or set detector='[…]' for each if this is right.",
        ),
        (
            [
                Amplifier(name="a", data="[1:10, 1:5]", overscan=None, extension=1),
                Amplifier(name="b", data="[1:10, 1:5]", overscan=None, extension=2),
            ],
            "the amplifiers are in several extensions, and their sections do not show their position on the detector; set detector='[…]' for each.",
        ),
        (
            [
                Amplifier(
                    name="a", data="[1:10, 1:5]", overscan=None, extension=1, detector="[1:10, 1:5]"
                ),
                Amplifier(
                    name="b",
                    data="[1:10, 1:5]",
                    overscan=None,
                    extension=2,
                    detector="[19:10, 5:1]",
                ),
            ],
            "detector='[1:10, 1:5]' and detector='[19:10, 5:1]' of two amplifiers overlap; each pixel "
            "of the detector is read by one amplifier; correct one of them.",
        ),
        (
            [Amplifier(data="[1:10, 1:5]", overscan=None), "[11:20, 1:5]"],
            "amplifiers contains '[11:20, 1:5]', which is not an amplifier; use Amplifier(...).",
        ),
    ],
)
def test_refuses_amplifiers_that_do_not_go_together(amplifiers, sentence):
    with pytest.raises(ProfileError) as refusal:
        check_amplifiers(tuple(amplifiers))
    assert str(refusal.value) == sentence


def test_an_amplifier_is_frozen_and_pickles():
    amplifier = lfc()
    with pytest.raises(dataclasses.FrozenInstanceError):
        amplifier.gain = None
    assert pickle.loads(pickle.dumps(amplifier)) == amplifier
    assert copy.deepcopy(amplifier) == amplifier


def test_fits_into_a_frame():
    found = fitted(lfc(read_noise=11 * u.electron, saturation=65535 * u.adu))
    (readout,) = found.readouts
    assert found.shape == (4128, 2048)
    assert str(readout.data) == str(readout.place) == str(found) == "[1:2048, 1:4128]"
    assert str(readout.overscan) == "[2056:2080, 1:4128]"
    assert (readout.gain, readout.read_noise, readout.saturation) == (1.1, 11, 65535)
    assert readout.read_variance == pytest.approx(100)
    assert found.missing == ()
    assert found.has_overscan
    assert found.knows_noise


def test_what_nobody_knows_is_named():
    found = fitted(lfc(overscan=None, gain=None))
    assert found.missing == ("gain", "read_noise", "saturation")
    assert found.readouts[0].read_variance is None
    assert not found.knows_noise
    assert not found.has_overscan


def test_a_number_may_be_a_function_of_the_header():
    amplifier = lfc(
        gain=lambda header: header.get("EGAIN") and header["EGAIN"] * u.electron / u.adu
    )
    assert fitted(amplifier, header={"EGAIN": 1.3}).readouts[0].gain == 1.3
    assert fitted(amplifier).missing[0] == "gain"


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            1.3,
            "gain=1.3 is not in electron / adu; "
            "write it as gain=1.3 * u.electron / u.adu. "
            "A function of the profile returned this value; correct the header, or gain= in the profile.",
        ),
        (
            0 * u.electron / u.adu,
            "gain=0.0 electron / adu is not a positive number. "
            "A function of the profile returned this value; correct the header, or gain= in the profile.",
        ),
    ],
)
def test_a_header_with_a_wrong_number_costs_its_frame_only(said, sentence):
    with pytest.raises(FrameRejected) as refusal:
        fitted(lfc(gain=lambda header: said))
    assert refusal.value.code == "gain"
    assert str(refusal.value) == sentence


def test_two_amplifiers_come_to_stand_side_by_side():
    left = Amplifier(name="left", data="[5:1028, 1:4096]", overscan="[2060:2090, 1:4096]")
    right = Amplifier(name="right", data="[1031:2054, 1:4096]", overscan="[2110:2140, 1:4096]")
    found = fitted(left, right, shape=(4096, 2148))
    assert found.shape == (4096, 2048)
    assert [str(r.place) for r in found.readouts] == ["[1:1024, 1:4096]", "[1025:2048, 1:4096]"]
    assert str(found) == "[5:1028, 1:4096] + [1031:2054, 1:4096]"


def test_open_sections_reach_to_the_edge_in_every_binning():
    whole = Amplifier(data="[:, :]", overscan=None)
    assert fitted(whole, shape=(256, 256), binning=(4, 4)).shape == (256, 256)
    rows = Amplifier(data="[1:2048, :]", overscan="[2056:2080, :]")
    found = fitted(rows, shape=(2064, 1040), binning=(2, 2))
    assert found.shape == (2064, 1024)
    assert str(found.readouts[0].overscan) == "[1029:1040, 1:2064]"


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (
            (4127, 2080),
            "data section [1:2048, 1:4128] is outside the frame, which has 2080 columns and 4127 rows; correct the profile, or reject the frame if it was truncated.",
        ),
        (
            (4128, 2079),
            "overscan [2056:2080, 1:4128] is outside the frame, which has 2079 columns and 4128 rows; correct the profile, or reject the frame if it was truncated.",
        ),
    ],
)
def test_refuses_a_frame_that_is_too_small(shape, sentence):
    with pytest.raises(SectionError) as refusal:
        fitted(lfc(), shape=shape)
    assert str(refusal.value) == sentence


def test_frames_read_out_alike_share_a_key_and_others_do_not():
    one, two = lfc(), lfc(overscan="[2057:2080, 1:4128]")
    assert fitted(one).key == fitted(lfc(gain=None)).key
    assert fitted(one).key != fitted(two).key
    assert len(fitted(one).key) == 8


def quadrant(number, detector):
    return Amplifier(
        name=str(number),
        data="[5:104, 1:50]",
        overscan="[105:110, 1:50]",
        extension=number,
        detector=detector,
    )


def test_amplifiers_of_several_extensions_stand_where_the_detector_says():
    left, right = quadrant(1, "[101:200, 1:50]"), quadrant(2, "[1:100, 1:50]")
    check_amplifiers((left, right))
    found = fitted(left, right, shape={1: (50, 110), 2: (50, 110)})
    assert [str(r.place) for r in found.readouts] == ["[101:200, 1:50]", "[1:100, 1:50]"]
    assert [r.extension for r in found.readouts] == [1, 2]
    assert found.shape == (50, 200)


def test_refuses_a_place_on_the_detector_of_another_size():
    with pytest.raises(SectionError) as refusal:
        fitted(
            quadrant(1, "[1:100, 1:50]"),
            quadrant(2, "[101:199, 1:50]"),
            shape={1: (50, 110), 2: (50, 110)},
        )
    assert str(refusal.value) == (
        "the data [5:104, 1:50] of an amplifier and its position [101:199, 1:50] on the detector differ in size; correct detector= in the profile."
    )


def test_amplifiers_that_leave_a_hole_are_refused():
    """Two quarters that touch at a corner would leave pixels that nobody read."""
    profile = Profile(
        instrument="Quarters",
        amplifiers=[
            Amplifier(name="ll", data="[1:10, 1:10]", overscan=None),
            Amplifier(name="ur", data="[11:20, 11:20]", overscan=None),
        ],
        recipe=Recipe(bias=True, dark=None),
    )
    with pytest.raises(FrameRejected) as error:
        profile.amplifiers_of({}, {None: (20, 20)})
    assert str(error.value) == (
        "the profile: the amplifiers' data [1:10, 1:10] + [11:20, 11:20] do not fill a rectangle of 20 columns and 20 rows when they are joined; correct data= or detector= in the "
        "profile."
    )


def test_unequal_amplifiers_stand_in_the_rectangle_around_them():
    """A Sinistro's upper amplifiers miss a row in the middle of the chip."""
    rows = {1: "[1:100, 1:50]", 2: "[200:101, 1:50]", 3: "[1:100, 100:52]", 4: "[200:101, 100:51]"}
    heights = {1: 50, 2: 50, 3: 49, 4: 50}
    amplifiers = [
        Amplifier(
            name=str(n),
            data=f"[5:104, 1:{heights[n]}]",
            overscan=None,
            extension=n,
            detector=detector,
        )
        for n, detector in rows.items()
    ]
    check_amplifiers(amplifiers)
    found = fitted(*amplifiers, shape={n: (heights[n], 110) for n in rows})
    assert found.shape == (100, 200)
    assert [str(r.place) for r in found.readouts] == [
        "[1:100, 1:50]",
        "[101:200, 1:50]",
        "[1:100, 52:100]",
        "[101:200, 51:100]",
    ]
    assert [r.flipped for r in found.readouts] == [
        (False, False),
        (True, False),
        (False, True),
        (True, True),
    ]
    assert not found.is_full
    unread = found.unread(49, 52)
    assert unread[1, :100].all()
    assert unread.sum() == 100


def test_binned_amplifiers_keep_their_pixels_where_the_detector_has_them():
    """49 rows binned by two: the row nearest to the middle fills no bin, and is not read."""
    lower = Amplifier(
        name="lower", data="[1:8, 1:50]", overscan=None, extension=1, detector="[1:8, 1:50]"
    )
    upper = Amplifier(
        name="upper", data="[1:8, 1:49]", overscan=None, extension=2, detector="[1:8, 100:52]"
    )
    found = fitted(lower, upper, shape={1: (25, 4), 2: (24, 4)}, binning=(2, 2))
    assert found.shape == (50, 4)
    assert [str(r.place) for r in found.readouts] == ["[1:4, 1:25]", "[1:4, 27:50]"]
    assert np.flatnonzero(found.unread(0, 50).all(axis=1)).tolist() == [25]


def test_a_flip_changes_the_key_and_nothing_else_does():
    left, right = quadrant(1, "[101:200, 1:50]"), quadrant(2, "[1:100, 1:50]")
    flipped = dataclasses.replace(right, detector="[100:1, 1:50]")
    shapes = {1: (50, 110), 2: (50, 110)}
    one, other = (fitted(left, second, shape=shapes) for second in (right, flipped))
    assert one.key != other.key
    assert one.is_full
    assert other.is_full
    assert "flipped" not in repr(one)
    assert "flipped=(True, False)" in repr(other)


def test_strips_are_binned_and_open_ends_are_those_of_the_data():
    hdi = Amplifier(
        data="[1:4096, 1:4110]",
        overscan=("[4102:4151, 1:4110]", "[4160:4170, 1:4110]"),
        parallel_overscan="[1:4096, 4121:4150]",
    )
    (readout,) = fitted(hdi, shape=(2075, 2085), binning=(2, 2)).readouts
    assert readout.overscan_text == (
        "[2052:2075, 1:2055] + [2081:2085, 1:2055], then [1:2048, 2061:2075]"
    )
    assert not readout.by_column
    above = Amplifier(data="[:, 1:40]", overscan="[:, 45:50]")
    (readout,) = fitted(above, shape=(50, 30)).readouts
    assert readout.overscan_text == "[1:30, 45:50]"
    assert readout.by_column


def test_further_strips_change_the_key():
    one = lfc()
    keys = {
        fitted(a, shape=(4140, 2100)).key
        for a in (
            one,
            lfc(overscan=("[2056:2080, 1:4128]", "[2085:2090, 1:4128]")),
            lfc(parallel_overscan="[1:2048, 4130:4140]"),
        )
    }
    assert len(keys) == 3
    assert fitted(one, shape=(4140, 2100)).key == fitted(one).key
