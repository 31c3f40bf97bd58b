import copy
import dataclasses
import functools
import math
import pickle

import by_hand
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.modeling.models import (
    Polynomial1D,
)

from ccdprofiles import Amplifier, Combine, CosmicRays, Profile, Recipe, SpectralFlat
from ccdprofiles.errors import FrameRejected, ProfileError

WHOLE = Amplifier(data="[1:100, 1:100]", overscan=None)


def camera(**changes):
    return Profile(**{"instrument": "MyCam", "amplifiers": [WHOLE], "recipe": Recipe()} | changes)


def refusal_of(make, *args, **kwargs):
    with pytest.raises(ProfileError) as refusal:
        make(*args, **kwargs)
    return str(refusal.value)


def rejection_of(read, header):
    with pytest.raises(FrameRejected) as rejection:
        read(header)
    return rejection.value.code, str(rejection.value)


# What cannot be right is refused when it is made.


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"instrument": ""}, "instrument='' is not a value of INSTRUME."),
        ({"instrument": ("A", 2)}, "instrument=2 is not a value of INSTRUME."),
        ({"instrument": 5}, "instrument=5 is not a text, a tuple of texts or a function."),
        (
            {"instrument": None},
            "instrument=None needs where={...}: without INSTRUME other cards must identify "
            "this camera.",
        ),
        (
            {"where": "APO"},
            "where='APO' is not a dict of header cards; use where={'CARD': 'value'}.",
        ),
        ({"amplifiers": []}, "amplifiers=[] is empty; a camera has at least one."),
        (
            {"amplifiers": WHOLE},
            "amplifiers=Amplifier(...) is not a list; use amplifiers=[Amplifier(...)].",
        ),
        (
            {"amplifiers": [WHOLE, Amplifier(name="b", data="[100:200, 1:100]", overscan=None)]},
            "the amplifiers' data [1:100, 1:100] and [100:200, 1:100] overlap; "
            "each pixel is read by one amplifier.",
        ),
        ({"recipe": None}, "recipe=None is not a recipe; use recipe=Recipe(...)."),
        ({"unit": "adu"}, "unit='adu' is not a unit; use unit=u.adu."),
        ({"exposure": ""}, "exposure='' is not the name of a header card."),
        ({"filter": ("FILTER", 2)}, "filter=2 is not the name of a header card."),
        (
            {"frame_type": None},
            "frame_type=None: a night cannot be planned without the types of its frames; use the name of a card or a function of the header.",
        ),
        (
            {"frame_types": {"FLATFIELD": "flats"}},
            "frame_types maps 'FLATFIELD' to 'flats', which is not one of bias, dark, flat, arc, "
            "science or None (did you mean 'flat'?).",
        ),
        (
            {"frame_types": "flat"},
            "frame_types='flat' is not a dict of words; use frame_types={'LIGHT': 'science'}.",
        ),
        (
            {"binning": ("XBIN",)},
            "binning=('XBIN',) is not a pair of header cards; use two, that of the columns first. If one card contains both numbers, such as '2 2', write binning=lambda header: header['XBIN'].split().",
        ),
        (
            {"binning": "CCDSUM"},
            "binning='CCDSUM' is not a pair of header cards; use two, that of the columns first. If one card contains both numbers, such as '2 2', write binning=lambda header: header['CCDSUM'].split().",
        ),
        (
            {"binning": ("X", "Y", "Z")},
            "binning=('X', 'Y', 'Z') is not a pair of header cards; use two, that of the columns first.",
        ),
        ({"binning": ("XBIN", 4)}, "binning=4 is not the name of a header card."),
        ({"match": "SLIT"}, "match='SLIT' is a single text; use match=('SLIT',)."),
        (
            {"match": {"flats": ("SLIT",)}},
            "match='flats' is not one of bias, dark, flat (did you mean 'flat'?).",
        ),
        ({"match": None}, "match=None is not a tuple of header cards; use match=('CARD',)."),
        ({"match": ("GAIN", 1)}, "match=1 is not the name of a header card."),
        (
            {"match": {"flat": "SLIT"}},
            "match={'flat': 'SLIT'} contains 'SLIT', which is not a tuple of header cards; use "
            "match={'flat': ('CARD',)}.",
        ),
    ],
)
def test_refuses_a_profile_that_cannot_be_right(values, sentence):
    assert refusal_of(camera, **values) == sentence


# A profile is a value.


def everything():
    return camera(
        instrument=("A", "B"),
        where={"OBSERVAT": ("APO", "LCO")},
        binning=("XBIN", "YBIN"),
        match={"flat": ("SLIT",)},
        recipe=Recipe(
            overscan=Polynomial1D(0),
            overscan_drift=10 * u.adu,
            combine={"bias": Combine(method="median", clip=None)},
            flat=SpectralFlat(dispersion="x"),
            cosmic_rays=CosmicRays(),
        ),
    )


def test_a_profile_is_frozen():
    profile = everything()
    with pytest.raises(dataclasses.FrozenInstanceError):
        profile.instrument = "C"
    for mapping in (profile.where, profile.match, profile.frame_types, profile.recipe.combine):
        with pytest.raises(TypeError):
            mapping["other"] = "value"


@pytest.mark.parametrize("again", [lambda p: pickle.loads(pickle.dumps(p)), copy.deepcopy])
def test_a_profile_pickles_and_copies(again):
    profile = everything()
    assert again(profile).hash == profile.hash
    assert again(profile.recipe).combine == profile.recipe.combine
    assert again(camera()) == camera()


def test_a_list_given_by_the_caller_may_change_afterwards():
    where, types = {"OBSERVAT": "APO"}, {"Sky": "flat"}
    profile = camera(where=where, frame_types=types)
    where["OBSERVAT"], types["Sky"] = "KPNO", "bias"
    assert profile.fits({"INSTRUME": "MyCam", "OBSERVAT": "APO"})
    assert profile.frame_type_of({"IMAGETYP": "Sky"}) == "flat"


def with_noise(noise):
    return camera(
        amplifiers=[Amplifier(data="[1:100, 1:100]", overscan=None, read_noise=noise * u.electron)]
    )


def test_hash_tells_profiles_apart_by_what_they_do():
    assert with_noise(5).hash == with_noise(5).hash == with_noise(5.0).hash
    hashes = {
        p.hash
        for p in (
            camera(),
            with_noise(5),
            with_noise(5.1),
            camera(instrument="MyCam2"),
            camera(where={"OBSERVAT": "APO"}),
            camera(exposure="EXPOSURE"),
            camera(overscan_bins=False),
            camera(recipe=Recipe(electrons=True)),
            camera(recipe=Recipe(exposure_tolerance=2 * u.s)),
            camera(recipe=Recipe(overscan=Polynomial1D(0))),
            camera(recipe=Recipe(overscan=Polynomial1D(1))),
        )
    }
    assert len(hashes) == 11


def test_a_value_that_cannot_be_written_down_is_refused():
    class Shy(str):
        def __repr__(self):
            raise ValueError("of itself")

    class Turning:
        def __init__(self):
            self.myself = self

        def __call__(self, header):
            return "r"

    for value, why in ((Shy("FILTER"), "ValueError: of itself"), (Turning(), "RecursionError")):
        profile = camera(filter=value, name="c")
        sentence = refusal_of(lambda made: made.hash, profile)
        assert sentence.startswith(f"c: a value of the profile cannot be hashed ({why}")


def test_an_object_without_attributes_may_read_a_header():
    class Bare:
        __slots__ = ()

        def __call__(self, header):
            return "r"

    assert camera(filter=Bare()).hash == camera(filter=Bare()).hash


def test_hash_does_not_change_with_names_and_notes():
    named = dataclasses.replace(camera(), name="other", file="other.py", notes="Long ago.")
    assert named.hash == camera(telescope="1.5 m").hash == camera().hash


# What a header says.


@pytest.mark.parametrize(
    ("instrument", "said", "fits_"),
    [
        ("MyCam", "MyCam", True),
        ("MyCam", "  MyCam  ", True),
        ("MyCam", "mycam", False),
        ("MyCam", "MyCam2", False),
        ("MyCam", None, False),
        ("MyCam", 5, False),
        (("MyCam", "My Cam"), "My Cam", True),
        (["MyCam", "My Cam"], "My Cam", True),
        (lambda header: header["INSTRUME"].startswith("My"), "MyOther", True),
        (lambda header: header["DETECTOR"] == "MyChip", "MyCam", False),
    ],
)
def test_knows_its_instrument(instrument, said, fits_):
    header = {} if said is None else {"INSTRUME": said}
    assert camera(instrument=instrument).fits(header) is fits_


@pytest.mark.parametrize(
    ("wanted", "said", "agrees"),
    [
        ("APO", "APO", True),
        ("APO", " APO ", True),
        ("APO", "apo", False),
        ("APO", None, False),
        ("McDonald*", "McDonald 2.1m", True),
        ("[rR]ed", "Red", True),
        (("red", "Red"), "Red", True),
        (("red", "Red"), "RED", False),
        (0, 0, True),
        (0, 0.0, True),
        (0, "0", True),
        (0, 1, False),
        (0, "chip", False),
        ((0, None), None, True),
        ((0, None), 1, False),
        (True, True, True),
        (True, 1, False),
        (1, True, False),
    ],
)
def test_other_cards_must_agree(wanted, said, agrees):
    header = {"INSTRUME": "MyCam"} | ({} if said is None else {"CARD": said})
    profile = camera(where={"CARD": wanted})
    assert profile.fits(header) is agrees
    assert (profile.disagreement(header) is None) is agrees


def test_says_which_card_disagrees():
    profile = camera(where={"OBSERVAT": "APO"})
    assert profile.disagreement({"OBSERVAT": "KPNO    "}) == "OBSERVAT = 'KPNO', not 'APO'"
    assert profile.disagreement({}) == "OBSERVAT = missing, not 'APO'"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Bias Frame", "bias"),
        ("  BIAS  ", "bias"),
        ("zero", "bias"),
        ("Dark Frame", "dark"),
        ("FLAT", "flat"),
        ("FlatField", "flat"),
        ("Twilight", "flat"),
        ("Twilight Flat", "flat"),
        ("twilight-flat", "flat"),
        ("Offset", "bias"),
        ("comp", "arc"),
        ("Light Frame", "science"),
        ("object", "science"),
    ],
)
def test_common_words_for_types(said, kind):
    assert camera().frame_type_of({"IMAGETYP": said}) == kind


COMMON = {
    "bias": "bias, zero, offset, Bias Frame",
    "dark": "dark, Dark Frame, DARKFLAT, dark-flat, Dark Flat, flat-dark, FlatDark, flat_dark",
    "flat": "flat, Flat Frame, FLATFIELD, flat-field, domeflat, Dome Flat, skyflat, SKY_FLAT, "
    "twilight, TwilightFlat, lampflat, LAMP-FLAT",
    "arc": "arc, COMP, comparison, Calibration Lamp, CALIBRATION_LAMP",
    "science": "light, Light_Frame, OBJECT, science, expose, Tricolor Image, SNAPSHOT, standard, "
    "spectrum",
}


@pytest.mark.parametrize(
    ("word", "kind"), [(w, kind) for kind, words in COMMON.items() for w in words.split(", ")]
)
def test_words_of_a_profile_are_added_to_the_common_ones(word, kind):
    added = camera(frame_types={"sky": "flat", "focus": None})
    for profile in (camera(), added):
        assert profile.frame_type_of({"IMAGETYP": word}) == kind
    assert added.frame_type_of({"IMAGETYP": "SKY"}) == "flat"
    assert added.frame_type_of({"IMAGETYP": "Focus"}) is None


@pytest.mark.parametrize("spelling", ["SKY FLAT", "skyflat", "Sky_Flat", "sky-flat frame"])
def test_a_word_of_the_profile_counts_before_a_common_one(spelling):
    for word in ("sky flat", "SkyFlat", "sky-flat"):
        assert camera(frame_types={word: "science"}).frame_type_of({"IMAGETYP": spelling}) == (
            "science"
        )
        taken_away = camera(frame_types={word: None})
        assert taken_away.frame_type_of({"IMAGETYP": spelling}) is None
        assert taken_away.frame_type_of({"IMAGETYP": "dome flat"}) == "flat"


@pytest.mark.parametrize(
    ("said", "meant"),
    [("darkflatt", "dark flat"), ("lightt", "light"), ("skyflats", "sky flat"), ("twilihgt", None)],
)
def test_a_misspelt_common_word_is_recognised_as_such(said, meant):
    profile = camera(frame_types={"sky": "flat"})
    _, sentence = rejection_of(profile.frame_type_of, {"IMAGETYP": said})
    assert (f"did you mean {meant!r}?" in sentence) == (meant is not None)


@pytest.mark.parametrize(
    "word", ["FOCUS", "ACQ", "acquisition", "TEST", "SKY", "guide", "pointing"]
)
def test_words_that_are_not_common_are_never_science(word):
    _, sentence = rejection_of(camera().frame_type_of, {"IMAGETYP": word})
    assert "is not a frame type that" in sentence


@pytest.mark.parametrize("said", ["acq", "ACQ frame", "Twilights", "arcflat", "sky"])
def test_no_word_is_taken_for_the_misspelling_of_another_type(said):
    plain = camera(frame_types={"light": "science", "arc": "arc", "sci": "science"})
    for profile in (camera(), plain):
        with pytest.raises(FrameRejected) as refusal:
            profile.frame_type_of({"IMAGETYP": said})
        meant = str(refusal.value).partition("did you mean ")[2]
        assert not meant or meant.startswith(("'flat", "'twilight"))


def test_words_of_a_profile_are_compared_without_case_and_blanks():
    profile = camera(frame_type="TYPE", frame_types={" Sky ": "flat", "FOCUS": None})
    assert profile.frame_type_of({"TYPE": "SKY"}) == "flat"
    assert profile.frame_type_of({"TYPE": " focus"}) is None


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (
            {},
            "IMAGETYP is missing, so the type of the frame is not known; change frame_type= in the profile.",
        ),
        (
            {"IMAGETYP": "   "},
            "IMAGETYP is missing, so the type of the frame is not known; change frame_type= in the profile.",
        ),
        (
            {"IMAGETYP": "Flet "},
            "IMAGETYP = 'Flet' is not a frame type that the profile knows "
            "(did you mean 'flat'?); add the word to its frame_types=.",
        ),
        (
            {"IMAGETYP": 3},
            "IMAGETYP = 3 is not a frame type that the profile knows; "
            "add the word to its frame_types=.",
        ),
    ],
)
def test_a_frame_without_a_type_is_rejected(header, sentence):
    assert rejection_of(camera().frame_type_of, header) == ("no-type", sentence)


@pytest.mark.parametrize(
    ("fields", "read", "sentence"),
    [
        (
            {"frame_type": lambda header: 5},
            "frame_type_of",
            "the function frame_type= returns 5, which is not a frame type that the profile knows; "
            "add the word to its frame_types=.",
        ),
        (
            {"frame_type": lambda header: None},
            "frame_type_of",
            "the function frame_type= returns nothing for this header, so the type of the frame is not known; change frame_type= in the profile.",
        ),
        (
            {"frame_type": ("IMAGETYP", "OBSTYPE")},
            "frame_type_of",
            "IMAGETYP/OBSTYPE is missing, so the type of the frame is not known; change frame_type= in the profile.",
        ),
        (
            {"exposure": lambda header: -5},
            "exposure_of",
            "the function exposure= returns -5, which is not an exposure between 0 and "
            "86400 s; correct the header, or reject the frame.",
        ),
        (
            {"binning": lambda header: (0, 1)},
            "binning_of",
            "the function binning= returns (0, 1), which is not a binning; two positive whole "
            "numbers were expected; correct the header, or binning= in the profile.",
        ),
    ],
)
def test_what_a_function_returns_is_named_as_such(fields, read, sentence):
    _, said = rejection_of(getattr(camera(**fields), read), {})
    assert said == sentence
    assert "= =" not in said


def test_a_function_may_tell_the_type():
    profile = camera(frame_type=lambda header: header.get("SHUTTER") and "dark", frame_types={})
    assert profile.frame_type_of({"SHUTTER": "closed"}) == "dark"
    assert rejection_of(profile.frame_type_of, {})[0] == "no-type"


def test_a_function_may_answer_with_a_word_of_the_header():
    profile = camera(frame_type=lambda header: header["OBJECT"], frame_types={"Dome": "flat"})
    assert profile.frame_type_of({"OBJECT": "dome"}) == "flat"


def test_cards_are_tried_in_order():
    profile = camera(exposure=("EXPTIME", "EXPOSURE"), filter=["FILTER", "FILTER1"])
    assert profile.exposure_of({"EXPTIME": 1.0, "EXPOSURE": 2.0}) == 1
    assert profile.exposure_of({"EXPTIME": " ", "EXPOSURE": 2.0}) == 2
    assert profile.text_of("filter", {"FILTER1": " r "}) == "r"
    assert profile.text_of("filter", {"FILTER": " "}) is None
    assert camera(filter=None).text_of("filter", {"FILTER": "r"}) is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("90", 90.0),
        (" 90.5 ", 90.5),
        (90, 90.0),
        (90.0, 90.0),
        (0, 0.0),
        (86400, 86400.0),
        ("INDEF", None),
        ("n/a", None),
        ("", None),
        (None, None),
    ],
)
def test_exposures(said, seconds):
    header = {} if said is None else {"EXPTIME": said}
    assert camera().exposure_of(header) == seconds


@pytest.mark.parametrize(
    ("said", "degrees"),
    [
        (-10.5, -10.5),
        ("-10,5", -10.5),
        ("-10.5 C", -10.5),
        ("-10.5 deg_C", -10.5),
        ("-10.5°C", -10.5),
        ("263.15 K", -10),
        (263.15 * u.K, -10),
        (-10 * u.deg_C, -10),
        ("1_0", None),
        ("cold", None),
        ("10 F", None),
        (True, None),
        (math.nan, None),
        (math.inf, None),
        ("", None),
        (None, None),
    ],
)
def test_temperatures(said, degrees):
    wanted = degrees if degrees is None else pytest.approx(degrees)
    assert camera(temperature=lambda header: said).temperature_of({}) == wanted


def test_a_function_that_finds_no_temperature_tells_none():
    profile = camera(temperature=lambda header: float(header.get("CCD-TEMP")))
    assert profile.temperature_of({}) is None
    assert profile.temperature_of({"CCD-TEMP": "-10"}) == -10


@pytest.mark.parametrize("said", [[-10], (x for x in "1"), object(), 10 * u.m])
def test_what_is_no_temperature_at_all_is_refused(said):
    with pytest.raises((ProfileError, u.UnitConversionError)):
        camera(temperature=lambda header: said).temperature_of({})


@pytest.mark.parametrize("field", ["filter", "object", "date"])
def test_an_endless_text_of_a_function_is_refused(field):
    profile = camera(**{field: lambda header: [30.0] * 10**4})
    sentence = refusal_of(profile.text_of, field, {})
    assert sentence.startswith(f"the function {field}= returns '[30.0, 30.0, ")
    assert len(sentence) < 200


def test_an_exposure_may_be_a_quantity():
    assert camera(exposure=lambda header: 2 * u.min).exposure_of({}) == 120


@pytest.mark.parametrize("said", [-3, -0.001, math.nan, math.inf, 86401, "long", "90 s", True])
def test_exposures_that_are_none(said):
    quoted = repr(said)
    assert rejection_of(camera().exposure_of, {"EXPTIME": said}) == (
        "exposure",
        f"EXPTIME = {quoted} is not an exposure between 0 and 86400 s; "
        "correct the header, or reject the frame.",
    )


@pytest.mark.parametrize(
    ("said", "binning"),
    [((1, 1), (1, 1)), ((2, 1), (2, 1)), (("2", " 4 "), (2, 4)), ((2.0, "3.0"), (2, 3))],
)
def test_binnings(said, binning):
    profile = camera(binning=("XBIN", "YBIN"))
    assert profile.binning_of({"XBIN": said[0], "YBIN": said[1]}) == binning


@pytest.mark.parametrize("said", [(2, None), (0, 1), (-1, 1), ("2x2", 1), (1.5, 1), (True, 1)])
def test_binnings_that_are_none(said):
    header = {k: v for k, v in zip(("XBIN", "YBIN"), said, strict=True) if v is not None}
    assert rejection_of(camera(binning=("XBIN", "YBIN")).binning_of, header) == (
        "binning",
        f"XBIN, YBIN = {said} is not a binning; two positive whole numbers were expected; "
        "correct the header, or binning= in the profile.",
    )


def test_binning_cards_that_are_missing_are_named():
    assert rejection_of(camera(binning=("XBIN", "YBIN")).binning_of, {}) == (
        "binning",
        "XBIN and YBIN are missing, but two positive whole numbers were expected; correct the "
        "header, or binning= in the profile.",
    )


def test_binning_may_be_left_out_or_a_function():
    assert camera().binning_of({"XBIN": 2, "YBIN": 2}) == (1, 1)
    split = camera(binning=lambda header: header["CCDSUM"].split())
    assert split.binning_of({"CCDSUM": "2 4"}) == (2, 4)
    assert rejection_of(split.binning_of, {"CCDSUM": "2"}) == (
        "binning",
        "the function binning= returns ['2'], which is not a binning; two positive whole numbers were expected; "
        "correct the header, or binning= in the profile.",
    )


def test_cards_that_a_master_must_share():
    header = {"SLIT": "2.0-low ", "GAINSET": 2}
    for_flats = camera(match={"flat": ("SLIT", "GRATING")})
    assert for_flats.match_of("flat", header) == (("SLIT", "2.0-low"), ("GRATING", None))
    assert for_flats.match_of("dark", header) == ()
    assert camera(match=["GAINSET"]).match_of("dark", header) == (("GAINSET", "2"),)


def test_a_frame_that_does_not_hold_the_sections_is_rejected():
    code, sentence = rejection_of(
        lambda header: camera().amplifiers_of(header, {None: (99, 100)}), {}
    )
    assert code == "section"
    assert sentence == (
        "the profile: the frame has 100 columns and 99 rows, but 100 columns and 100 rows were expected, according to the sections in the profile; set binning= in the profile to the cards of the binning if the frame is binned, reject the frame if it was truncated or windowed, otherwise correct the "
        "sections in the profile."
    )


SECTIONS = Amplifier(data="[1:72, 1:64]", overscan=None)
STRIPS = (
    Amplifier(name="left", data="[1:1025, 1:10]", overscan="[2051:2100, 1:10]"),
    Amplifier(name="right", data="[1026:2050, 1:10]", overscan="[2101:2150, 1:10]"),
)


def size_refused(profile, columns, rows, header=None, extension=None):
    code, sentence = rejection_of(
        lambda h: profile.amplifiers_of(h, {extension: (rows, columns)}), header or {}
    )
    assert code == "section"
    return sentence


def size_fits(profile, columns, rows, header=None):
    return profile.amplifiers_of(header or {}, {None: (rows, columns)}).shape


@pytest.mark.parametrize(("columns", "rows"), [(96, 80), (73, 64), (72, 65), (72, 63), (80, 60)])
def test_a_frame_of_another_size_than_the_sections_is_rejected(columns, rows):
    profile = camera(amplifiers=[SECTIONS])
    assert size_fits(profile, 72, 64) == (64, 72)
    assert f"has {columns} columns and {rows} rows, but 72 columns and 64 rows were" in (
        size_refused(profile, columns, rows)
    )


def test_frame_size_says_that_the_rest_is_not_used():
    profile = camera(amplifiers=[SECTIONS], frame_size=(96, 80))
    assert size_fits(profile, 96, 80) == (64, 72)
    assert size_refused(profile, 72, 64) == (
        "the profile: the frame has 72 columns and 64 rows, but 96 columns and 80 rows were expected, according to frame_size= in the profile; set binning= in the profile to the cards of the binning if the frame is binned, reject the frame if it was truncated or windowed, otherwise correct frame_size= in the profile."
    )


def test_a_binning_that_lies_is_rejected_by_the_size():
    profile = camera(amplifiers=[SECTIONS], binning=("XBINNING", "YBINNING"))
    binned = {"XBINNING": 2, "YBINNING": 2}
    assert size_fits(profile, 36, 32, binned) == (32, 36)
    assert size_refused(profile, 72, 64, binned) == (
        "the profile: the frame has 72 columns and 64 rows, but 36 columns and 32 rows were expected at a binning of 2 x 2 (72 x 64 unbinned), according to the sections in the profile; "
        "correct XBINNING and YBINNING if the binning is not 2 x 2, write frame_size=(144, 128) "
        "in the profile if the rest is not to be used, otherwise use sections that cover it."
    )
    assert "correct XBINNING and YBINNING if the binning is not 1 x 1" in size_refused(
        profile, 36, 32, {"XBINNING": 1, "YBINNING": 1}
    )


@pytest.mark.parametrize(
    ("columns", "rows", "right"),
    [(728, 490, True), (728, 491, True), (728, 489, False), (727, 490, False), (729, 491, False)],
)
def test_a_partial_pixel_of_a_binned_frame_may_be_cut_or_kept(columns, rows, right):
    profile = camera(
        amplifiers=[Amplifier(data="[1:2180, 1:1470]", overscan=None)],
        frame_size=(2184, 1472),
        binning=lambda header: (3, 3),
    )
    if right:
        assert size_fits(profile, columns, rows) == (490, 726)
    else:
        sentence = size_refused(profile, columns, rows)
        assert "728 columns and 490 or 491 rows were expected at a binning of 3 x 3" in sentence
        assert "correct binning= in the profile if the binning is not 3 x 3" in sentence


@pytest.mark.parametrize(
    ("columns", "right"), [(1123, False), (1124, True), (1126, True), (1127, False), (1075, False)]
)
def test_an_overscan_that_is_not_binned_keeps_its_width_in_the_size(columns, right):
    profile = camera(amplifiers=STRIPS, binning=lambda header: (2, 1), overscan_bins=False)
    if right:
        assert size_fits(profile, columns, 10) == (10, 1024)
    else:
        assert "but 1124 or 1126 columns and 10 rows" in size_refused(profile, columns, 10)


def test_open_sections_account_for_a_frame_of_any_size():
    whole = camera(amplifiers=[Amplifier(data="[:, :]", overscan=None)])
    assert size_fits(whole, 300, 200) == (200, 300)
    columns = camera(amplifiers=[Amplifier(data="[1:72, :]", overscan="[73:80, :]")])
    assert size_fits(columns, 80, 200) == (200, 72)
    assert "96 columns and 64 rows, but 80 columns and 64 rows" in size_refused(columns, 96, 64)
    declared = dataclasses.replace(whole, frame_size=(300, 200))
    assert size_fits(declared, 300, 200) == (200, 300)
    assert "but 300 columns and 200 rows" in size_refused(declared, 150, 100)


def test_gaps_before_and_between_sections_need_no_frame_size():
    gaps = camera(amplifiers=[Amplifier(data="[5:72, 3:64]", overscan="[80:96, 3:64]")])
    assert size_fits(gaps, 96, 64) == (62, 68)


def test_amplifiers_of_a_function_account_for_the_frame_too():
    def amplifiers(header):
        return [SECTIONS] if header["WINDOW"] else [WHOLE]

    profile = camera(amplifiers=amplifiers)
    assert size_fits(profile, 72, 64, {"WINDOW": True}) == (64, 72)
    assert "but 100 columns and 100 rows" in size_refused(profile, 72, 64, {"WINDOW": False})
    sized = camera(amplifiers=amplifiers, frame_size=lambda header: header["SIZE"])
    assert size_fits(sized, 96, 80, {"WINDOW": True, "SIZE": (96, 80)}) == (64, 72)
    with pytest.raises(ProfileError, match=r"is outside frame_size=\(60, 60\)"):
        size_fits(sized, 96, 80, {"WINDOW": True, "SIZE": (60, 60)})


def test_every_extension_accounts_for_its_own_frame():
    halves = [
        dataclasses.replace(SECTIONS, name="a", extension=1, detector="[1:72, 1:64]"),
        dataclasses.replace(SECTIONS, name="b", extension=2, detector="[73:144, 1:64]"),
    ]
    right = {1: (64, 72), 2: (64, 72)}
    assert camera(amplifiers=halves).amplifiers_of({}, right).shape == (64, 144)
    code, sentence = rejection_of(
        lambda h: camera(amplifiers=halves).amplifiers_of(h, right | {2: (80, 96)}), {}
    )
    assert code == "section"
    assert "extension 2 has 96 columns and 80 rows, but 72 columns and 64 rows" in sentence
    for size in ((96, 80), {1: (96, 80), 2: (96, 80)}):
        both = camera(amplifiers=halves, frame_size=size)
        assert both.amplifiers_of({}, {1: (80, 96), 2: (80, 96)}).shape == (64, 144)
    unequal = camera(amplifiers=halves, frame_size={1: (96, 80), 2: (72, 64)})
    assert unequal.amplifiers_of({}, {1: (80, 96), 2: (64, 72)}).shape == (64, 144)
    assert pickle.loads(pickle.dumps(unequal)) == unequal
    assert "extension 2 of an amplifier, only for 1." in refusal_of(
        camera, amplifiers=halves, frame_size={1: (96, 80)}
    )


@pytest.mark.parametrize("size", ["4109 x 4096", (4109,), 4109, (0, 10), (10.5, 10), (True, 10)])
def test_a_frame_size_that_is_not_columns_and_rows_is_refused(size):
    assert refusal_of(camera, frame_size=size) == (
        f"frame_size={size!r} is not the size of a frame; use its unbinned columns and rows, such as frame_size=(4109, 4096)."
    )


def test_a_frame_size_that_does_not_hold_the_sections_is_refused():
    strip = Amplifier(data="[1:72, 1:64]", overscan="[73:80, 1:64]")
    assert refusal_of(camera, amplifiers=[strip], frame_size=(64, 80)) == (
        "section [1:72, 1:64] or [73:80, 1:64] is outside frame_size=(64, 80); correct one of them (both are unbinned, columns first)."
    )


def test_the_hash_of_a_profile_that_says_nothing_new_stays():
    words = "bias, bias frame, offset, zero, dark, dark frame, flat, flat field, flat frame, "
    words += (
        "flatfield, domeflat, skyflat, twilight, twilight flat, arc, comp, light, light frame, "
    )
    words += "object, science"
    kinds = {w: camera().frame_type_of({"IMAGETYP": w}) for w in words.split(", ")}
    assert camera().hash == camera(frame_types=kinds).hash
    assert camera().hash != camera(frame_types={"sky": "flat"}).hash


def test_frame_size_belongs_to_the_hash_where_it_is_given():
    plain, sized = camera(), camera(frame_size=[100, 100])
    assert sized.frame_size == (100, 100)
    assert sized.hash != plain.hash
    assert sized.hash == camera(frame_size=(100, 100)).hash != camera(frame_size=(101, 100)).hash


def test_a_missing_extension_is_rejected():
    mef = camera(amplifiers=[dataclasses.replace(WHOLE, extension=2)])
    assert rejection_of(lambda h: mef.amplifiers_of(h, {1: (100, 100)}), {}) == (
        "missing-extension",
        "extension 2 is missing, but the profile expects an amplifier there; the file has [1]; it may have been truncated; copy it again from the camera.",
    )


def test_amplifiers_may_be_a_function_of_the_header():
    def amplifiers(header):
        return [dataclasses.replace(WHOLE, data=header["DATASEC"])]

    profile = camera(amplifiers=amplifiers, frame_size=(100, 100))
    found = profile.amplifiers_of({"DATASEC": "[11:60, 1:100]"}, {None: (100, 100)})
    assert found.shape == (100, 50)


def test_a_fits_header_will_do():
    header = fits.Header({"INSTRUME": "MyCam   ", "IMAGETYP": "Bias Frame", "EXPTIME": 0.0})
    profile = camera()
    assert profile.fits(header)
    assert (profile.frame_type_of(header), profile.exposure_of(header)) == ("bias", 0)


@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
def test_only_arcs_are_summed(kind):
    with pytest.raises(ProfileError) as error:
        Recipe(bias=True, combine={kind: Combine(method="sum", clip=None)})
    assert str(error.value) == (
        f"combine='sum' for a {kind}: a master {kind} has the level of one frame, and only arcs are "
        "summed; use 'average' or 'median'."
    )
    Recipe(bias=True, combine={"arc": Combine(method="sum", clip=None)})


def test_a_partial_with_another_number_is_another_profile():
    def gain(header, factor):
        return factor * u.electron / u.adu

    def profile(factor):
        amplifier = Amplifier(
            data="[:, :]", overscan=None, gain=functools.partial(gain, factor=factor)
        )
        return dataclasses.replace(by_hand.camera(), amplifiers=[amplifier])

    assert profile(1.5).hash == profile(1.5).hash != profile(2.5).hash


def test_a_printed_profile_shows_names_instead_of_addresses_and_folders():
    """Another process prints the same, and the hash does not depend on it."""

    def gain_of(header):
        return 1.5

    whole = Amplifier(data="[1:100, 1:100]", overscan=None, gain=gain_of)
    profile = camera(amplifiers=[whole], date=gain_of, file="/home/me/mycam.py")
    text = str(profile)
    assert "gain=<function test_a_printed_profile_shows_names_instead_of_addresses" in text
    assert "date=<function test_a_printed_profile" in text
    assert "file='mycam.py')" in text
    assert "0x" not in text
    assert "/home" not in text


def test_a_gain_for_pixels_that_are_in_electrons_is_refused():
    amplifier = Amplifier(data="[1:8, 1:8]", overscan=None, gain=1.5 * u.electron / u.adu)
    with pytest.raises(ProfileError, match="would be applied to them again"):
        Profile(instrument="E", amplifiers=[amplifier], recipe=Recipe(), unit=u.electron)
