"""The contract that every shipped profile is held to."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest
from astropy.io import fits

from ccdprofiles import SpectralFlat
from ccdprofiles.camera.profile_file import read_profiles
from ccdprofiles.camera.registry import Registry, shipped_folder
from ccdprofiles.camera.section import Section
from ccdprofiles.errors import FrameRejected, UnknownInstrument

FILES = sorted(p for p in shipped_folder().glob("*.py") if not p.name.startswith("_"))
PROFILES = {p.name: p for file in FILES for p in read_profiles(file)}
REGISTRY = Registry(tuple(PROFILES.values()))
FIXTURES = {p.stem: p for p in sorted((Path(__file__).parents[1] / "headers").glob("*.header"))}

# fixture: profile, type, exposure, filter, object, date, binning
KNOWN = {
    "arctic-bias": ("arctic", "bias", 0, "empty", None, "2015-10-27T17:27:27.592443", (2, 2)),
    "arctic-bias-1x1": ("arctic", "bias", 0, "empty", None, "2015-10-27T17:30:17.291492", (1, 1)),
    "arctic-bias-2x1": ("arctic", "bias", 0, "empty", None, "2015-10-27T17:30:58.573098", (2, 1)),
    "arctic-bias-window": (
        ("arctic", "bias", 0, "empty", None, "2015-10-27T17:32:55.850860", (2, 2))
    ),
    "arctic-dark": ("arctic", "dark", 0.2, "empty", None, "2015-10-27T17:25:23.635513", (2, 2)),
    "arctic-flat": ("arctic", "flat", 0.2, "empty", None, "2015-10-27T17:25:44.523035", (2, 2)),
    "arctic-science": (
        ("arctic", "science", 0.2, "empty", None, "2015-10-27T17:26:14.371876", (2, 2))
    ),
    "cafos-arc": ("cafos", "arc", 3, "free", "[arc]  N.0001", "2024-07-20T14:44:12", (1, 1)),
    "cafos-bias": ("cafos", "bias", 0, "free", "[bias] N.0001", "2024-07-20T15:22:33", (1, 1)),
    "cafos-flat": (
        ("cafos", "flat", 5, "free", "[flat] Dome  N.0001", "2024-07-20T14:28:32", (1, 1))
    ),
    "cafos-science": (
        ("cafos", "science", 1350, "free", "AT2024psn G200", "2024-07-20T22:24:10", (1, 1))
    ),
    "cfccd-science": (
        *("cfccd", "science", 120, "RG715 HoloPhAg", "HD205905", "2017-06-02T06:42:01.306"),
        (1, 1),
    ),
    "cg16m-bias": ("cg16m", "bias", 0, None, None, "2018-08-23T00:50:00", (1, 1)),
    "cg16m-dark": ("cg16m", "dark", 90, None, None, "2018-08-23T10:30:00", (1, 1)),
    "cg16m-flat": ("cg16m", "flat", 1, "r", None, "2018-08-23T01:25:17", (1, 1)),
    "cg16m-flat-2017": ("cg16m", "flat", 1, "R", None, "2017-04-12T03:28:40", (1, 1)),
    "cg16m-science": ("cg16m", "science", 90, "r", "kelt-16-b", "2018-08-23T08:49:30", (1, 1)),
    "deveny-arc": ("deveny", "arc", 15, "Clear (C)", "HD92788", "2025-02-03T08:12:09.97", (1, 1)),
    "dis_blue-arc": ("dis_blue", "arc", 30, None, "HeNeAr", "2019-10-18T22:45:10.9", (1, 1)),
    "dis_blue-bias": ("dis_blue", "bias", 0, None, "bias", "2019-10-18T22:01:00.1", (1, 1)),
    "dis_blue-dark": ("dis_blue", "dark", 1200, None, "dark", "2019-10-19T12:40:00.1", (1, 1)),
    "dis_blue-flat": ("dis_blue", "flat", 60, None, "quartz", "2019-10-18T22:20:31.4", (1, 1)),
    "dis_blue-science": (
        ("dis_blue", "science", 1200, None, "BD+284211", "2019-10-19T05:12:44.0", (1, 1))
    ),
    "dis_red-arc": ("dis_red", "arc", 30, None, "HeNeAr", "2019-10-18T22:45:10.9", (1, 1)),
    "dis_red-bias": ("dis_red", "bias", 0, None, "bias", "2019-10-18T22:01:00.1", (1, 1)),
    "dis_red-dark": ("dis_red", "dark", 1200, None, "dark", "2019-10-19T12:40:00.1", (1, 1)),
    "dis_red-flat": ("dis_red", "flat", 60, None, "quartz", "2019-10-18T22:20:31.4", (1, 1)),
    "dis_red-science": (
        ("dis_red", "science", 1200, None, "BD+284211", "2019-10-19T05:12:44.0", (1, 1))
    ),
    "efosc2-arc": ("efosc2", "arc", 1.6049, "Free", "WAVE", "2022-01-26T19:37:39.560", (2, 2)),
    "efosc2-bias": ("efosc2", "bias", 0, "Free", "DARK", "2022-01-26T19:02:38.210", (2, 2)),
    "efosc2-flat": ("efosc2", "flat", 10.312, "Free", "FLAT", "2022-01-26T19:18:58.463", (2, 2)),
    "efosc2-science": (
        *("efosc2", "science", 600.0005, "Free", "J061856-315835"),
        *("2022-01-27T02:31:32.701", (2, 2)),
    ),
    "goodman_blue-arc": (
        *("goodman_blue", "arc", 1, "NO_FILTER", "CD-34d241"),
        *("2023-12-15T00:52:56.895", (1, 2)),
    ),
    "goodman_red-arc": (
        *("goodman_red", "arc", 1, "NO_FILTER", "Gaia24asr"),
        *("2024-03-08T04:28:05.935", (1, 2)),
    ),
    "goodman_red-arc-2017": (
        ("goodman_red", "arc", 1, "<NO FILTER>", "HgArNe", "2017-12-18T11:04:29.407", (1, 1))
    ),
    "goodman_red-ignored": (
        ("goodman_red", None, 1.35, "<NO FILTER>", None, "2019-05-15T21:01:23.366", (1, 1))
    ),
    "goodman_red_imager-ignored": (
        ("goodman_red_imager", None, 3, "g-SDSS", None, "2019-05-15T22:16:55.809", (1, 1))
    ),
    "kosmos-arc": (
        ("kosmos", "arc", 30, "empty2", "Gp013_parad", "2021-10-29T22:48:09.044120", (1, 1))
    ),
    "kosmos-bias": (
        ("kosmos", "bias", 0, "empty2", "Gp013_parad", "2021-10-29T22:10:02.118042", (1, 1))
    ),
    "kosmos-bias-2x1": (
        ("kosmos", "bias", 0, "empty2", "Gp013_parad", "2021-10-29T22:15:33.770904", (2, 1))
    ),
    "kosmos-dark": (
        ("kosmos", "dark", 1500, "empty2", "Gp013_parad", "2021-10-30T13:05:11.902217", (1, 1))
    ),
    "kosmos-flat": (
        ("kosmos", "flat", 20, "empty2", "Gp013_parad", "2021-10-29T22:31:40.500117", (1, 1))
    ),
    "kosmos-science": (
        ("kosmos", "science", 1500, "empty2", "Gp013_parad", "2021-10-30T01:37:45.543483", (1, 1))
    ),
    "lfc-bias": ("lfc", "bias", 0, "r'", "bias", "2016-01-16T03:50:00.00", (1, 1)),
    "lfc-dark": ("lfc", "dark", 300, "r'", "dark", "2016-03-13T05:00:00.00", (1, 1)),
    "lfc-flat": ("lfc", "flat", 70.001, "g'", "flat_g", "2016-01-16T04:17:28.00", (1, 1)),
    "lfc-flat-i": ("lfc", "flat", 7, "i'", "flat_i", "2016-01-16T04:27:23.00", (1, 1)),
    "lfc-science": ("lfc", "science", 300.062, "g'", "vv124_1", "2016-01-16T06:10:00.00", (1, 1)),
    "maxim-bias": ("maxim", "bias", 0, None, None, "2012-02-06T11:45:25", (1, 1)),
    "maxim-dark": ("maxim", "dark", 30, None, None, "2012-02-06T11:45:25", (1, 1)),
    "maxim-science": ("maxim", "science", 90, "B", "ngc-6946", "2013-10-16T06:46:34", (1, 1)),
    "maxim-science-sbig": (
        ("maxim", "science", 60, "R", "46P_Wirtanen", "2018-12-23T14:57:39", (2, 2))
    ),
    "proem-dark": ("proem", "dark", 10, "blocking", "Dark", "2016-10-31T22:04:00", (4, 4)),
    "proem-flat": ("proem", "flat", 3, "BG40", "Flat", "2016-10-31T23:40:00", (4, 4)),
    "proem-science": (
        ("proem", "science", 10, "BG40", "SDSS J1618+3854", "2016-11-01T04:12:00", (4, 4))
    ),
    "pt5m-bias": ("pt5m", "bias", 0, "V", None, "2015-11-20T19:01:10", (2, 2)),
    "pt5m-dark": ("pt5m", "dark", 60, "V", None, "2015-11-20T19:05:40", (2, 2)),
    "pt5m-flat": ("pt5m", "flat", 2, "V", None, "2015-11-20T18:40:12", (1, 1)),
    "pt5m-ignored": ("pt5m", None, 5, "R", None, "2015-11-20T19:31:00", (2, 2)),
    "pt5m-science": ("pt5m", "science", 60, "V", "XY Leo", "2015-11-20T22:13:05", (2, 2)),
    "qhy-science": ("qhy", "science", 300, None, "NGC 2244", "2022-02-28T22:30:33.562", (1, 1)),
    "sbo-dark": ("sbo", "dark", 60, "V", None, "2021-03-04T02:00:00", (2, 2)),
    "sbo-flat": ("sbo", "flat", 4, "V", None, "2021-03-04T01:10:00", (2, 2)),
    "sbo-science": ("sbo", "science", 60, "V", "M 67", "2021-03-04T03:30:00", (2, 2)),
    "zwo-science": ("zwo", "science", 30, None, "MarsM45", "2021-03-02T20:19:00.455", (1, 1)),
    "zwo-science-apt": ("zwo", "science", 240, None, "TEST", "2018-09-17T21:04:46", (1, 1)),
    "zwo-science-sgp": (
        ("zwo", "science", 30, "HaOIII", "M57", "2020-05-30T00:22:49.0968820", (1, 1))
    ),
}
# Headers of extensions, a header without a type, and one whose sections are wrong: see
# test_profiles_cameras.py. A header without a date: see test_observatories.py.
ALONE = {name for name in FIXTURES if "_extension-" in name} | {
    "acam-science",
    "zwo-untyped",
    "sinistro-science",
}
WRONG_SECTIONS = {"arctic-bias-window"}
STRANGERS = sorted(FIXTURES.keys() - KNOWN.keys() - ALONE)
TUTORIALS = ("lfc", "cg16m", "proem", "pt5m", "kosmos", "dis_blue", "dis_red", "sbo")

# Sections in the header; LOIS is that of a real frame, the others have numbers of this test.
AZCAM = {"DATASEC": "[1:600,1:400]", "BIASSEC": "[601:620,1:400]", "CCDBIN1": 2, "CCDBIN2": 2}
ING = {"TRIMSEC": "[54:2101,3:4098]", "BIASSEC": "[10:45,3:4098]", "CCDXBIN": 1, "CCDYBIN": 1}
WINDOW = {"NAXIS1": 1100, "NAXIS2": 1600, "CCDBINX": 1, "CCDBINY": 1}
LOIS = {"NAXIS1": 2148, "NAXIS2": 516, "TRIMSEC": "[54:2096,5:512]", "BIASSEC": "[2101:2144,5:512]"}

# profile, raw shape (or one for each extension), cards, and what is left of it after trimming
SHAPES = [
    ("acam", {1: (2501, 1074)}, {}, (2501, 1074)),
    ("bok_bc", (400, 620), AZCAM, (400, 600)),
    ("cafos", (1600, 1100), WINDOW, (1599, 1095)),
    ("deveny", (516, 2148), LOIS | {"CCDSUM": "1 1"}, (508, 2043)),
    ("dolores", (2100, 2100), {"CRDELT1": 1, "CRDELT2": 1}, (2100, 2100)),
    ("fors2_chip1", (1034, 2048), {"ESO DET WIN1 BINX": 2, "ESO DET WIN1 BINY": 2}, (1024, 2048)),
    ("fors2_chip2", (1034, 2048), {"ESO DET WIN1 BINX": 2, "ESO DET WIN1 BINY": 2}, (1024, 2048)),
    ("lmi", (516, 2148), LOIS | {"CCDSUM": "2 2"}, (508, 2043)),
    ("osmos", (4064, 4128), {"CCDXBIN": 1, "CCDYBIN": 1, "NAXIS2": 4064}, (4064, 4064)),
    ("osmos", (1016, 4128), {"CCDXBIN": 1, "CCDYBIN": 1, "NAXIS2": 1016}, (1016, 4064)),
    ("prism", (2064, 2138), {"CCDSUM": "1 1"}, (2062, 2048)),
    ("wfc chip 4", {4: (4200, 2154)}, ING, (4096, 2048)),
    ("y4kcam", (4104, 4104), {"CCDSUM": "1 1"}, (4064, 4064)),
    ("y4kcam", (2072, 2072), {"CCDSUM": "2 2"}, (2032, 2032)),
    ("lfc", (4128, 2080), {"CCDBIN1": 1, "CCDBIN2": 1}, (4128, 2048)),
    ("cg16m", (4096, 4109), {"XBINNING": 1, "YBINNING": 1}, (4096, 4096)),
    ("proem", (256, 256), {"XBIN": 4, "YBIN": 4}, (256, 256)),
    ("kosmos", (4096, 2148), {"BINX": 1, "BINY": 1}, (4096, 2048)),
    ("kosmos", (4096, 1124), {"BINX": 2, "BINY": 1}, (4096, 1024)),
    ("kosmos", (2048, 1124), {"BINX": 2, "BINY": 2}, (2048, 1024)),
    ("dis_blue", (1078, 2098), {"CCDSUM": "1 1"}, (1028, 2048)),
    ("dis_red", (1078, 2098), {}, (1028, 2048)),
    ("pt5m", (1472, 2184), {"XBINNING": 1, "YBINNING": 1}, (1472, 2184)),
    ("pt5m", (736, 1092), {"XBINNING": 2, "YBINNING": 2}, (736, 1092)),
    ("pt5m", (490, 728), {"XBINNING": 3, "YBINNING": 3}, (490, 728)),
    ("sbo", (1024, 1024), {"XBINNING": 2, "YBINNING": 2}, (1024, 1024)),
    ("alfosc", (2102, 2148), {"DETXBIN": 1, "DETYBIN": 1}, (2052, 2048)),
    ("alfosc", (1051, 1074), {"DETXBIN": 2, "DETYBIN": 2}, (1026, 1024)),
    ("efosc2", (1030, 1030), {"ESO DET WIN1 BINX": 2, "ESO DET WIN1 BINY": 2}, (1016, 1021)),
    ("goodman_blue", (948, 4142), {"CCDSUM": "1 2", "NAXIS2": 948}, (948, 4093)),
    ("goodman_blue", (948, 2071), {"CCDSUM": "2 2", "NAXIS2": 948}, (948, 2046)),
    ("goodman_blue_imager", (1548, 1548), {"CCDSUM": "2 2"}, (1548, 1548)),
    ("goodman_red", (1896, 4142), {"CCDSUM": "1 1", "NAXIS2": 1896}, (1896, 4092)),
    ("goodman_red", (400, 4142), {"CCDSUM": "1 1", "NAXIS2": 400}, (400, 4092)),
    ("goodman_red", (948, 2071), {"CCDSUM": "2 2", "NAXIS2": 948}, (948, 2046)),
    ("goodman_red", (632, 1380), {"CCDSUM": "3 3", "NAXIS2": 632}, (632, 1363)),
    ("goodman_red_imager", (400, 4142), {"CCDSUM": "1 1"}, (400, 4142)),
    ("hdi", (4150, 4150), {"CCDBIN1": 1, "CCDBIN2": 1}, (4111, 4096)),
    ("maxim", (1266, 1676), {"XBINNING": 2, "YBINNING": 2}, (1266, 1676)),
    ("qhy", (4176, 6252), {"XBINNING": 1, "YBINNING": 1}, (4176, 6252)),
    ("zwo", (2822, 4144), {"XBINNING": 1, "YBINNING": 1}, (2822, 4144)),
    ("zwo_asi2600", (4176, 6248), {"XBINNING": 1, "YBINNING": 1}, (4176, 6248)),
]
# Their sections are those of the header.
BY_HEADER = {"arctic", "cfccd", "mont4k", "sinistro", "vatt4k"}


def header(name):
    return fits.Header.fromstring(FIXTURES[name].read_text(), sep="\n")


def shape(cards):
    return {None: (cards["NAXIS2"], cards["NAXIS1"])}


# Every shipped profile.


@pytest.mark.parametrize("name", PROFILES)
def test_has_a_name_notes_and_a_telescope(name):
    profile = PROFILES[name]
    assert re.fullmatch(r"[a-z][a-z0-9_]*", profile.name)
    assert len(profile.notes.splitlines()) > 5
    assert profile.telescope
    assert Path(profile.file).parent == shipped_folder()


@pytest.mark.parametrize("name", PROFILES)
def test_lists_what_is_not_known(name):
    profile = PROFILES[name]
    unknown = {
        field
        for amplifier in (() if callable(profile.amplifiers) else profile.amplifiers)
        for field in ("gain", "read_noise", "saturation")
        if getattr(amplifier, field) is None
    }
    assert not unknown or "Not known:" in profile.notes


@pytest.mark.parametrize("name", PROFILES)
def test_is_told_from_others_by_a_plain_instrume(name):
    assert PROFILES[name].instruments


@pytest.mark.parametrize("name", PROFILES)
def test_has_a_header_of_every_type_that_it_reduces(name):
    profile = PROFILES[name]
    if name not in TUTORIALS and profile.status != "tried on a real night":
        pytest.skip("headers were seen of some types only, or of none")
    found = {known[1] for known in KNOWN.values() if known[0] == name} - {None}
    wanted = {"flat", "science"}
    recipe = profile.recipe
    if callable(recipe):
        recipe = recipe(next(header(f) for f, k in KNOWN.items() if k[:2] == (name, "science")))
    wanted |= {"bias"} if recipe.bias else set()
    wanted |= {"dark"} if recipe.dark else set()
    wanted |= {"arc"} if isinstance(recipe.flat, SpectralFlat) else set()
    assert found >= wanted


@pytest.mark.parametrize("name", PROFILES)
def test_its_status_is_that_of_its_headers(name):
    files = [path for fixture, path in FIXTURES.items() if fixture.split("-")[0] == name]
    seen = any(not re.search("All (inferred|made up)", path.read_text()) for path in files)
    assert seen is (PROFILES[name].status != "from documents only")
    assert PROFILES[name].status


@pytest.mark.parametrize("name", PROFILES)
def test_two_readings_of_a_file_agree(name):
    again = {p.name: p for p in read_profiles(PROFILES[name].file)}
    assert again[name].hash == PROFILES[name].hash


@pytest.mark.parametrize(("name", "raw", "cards", "trimmed"), SHAPES)
def test_sections_fit_the_raw_frames(name, raw, cards, trimmed):
    name, _, chip = name.partition(" chip ")
    shapes = raw if isinstance(raw, dict) else {None: raw}
    found = PROFILES[name].amplifiers_of(cards, shapes, chip=chip)
    assert found.shape == trimmed


@pytest.mark.parametrize(
    "name", sorted({s[0] for s in SHAPES if s[0] in ("lfc", "kosmos", "dis_blue", "dis_red")})
)
def test_a_frame_cut_short_is_rejected(name):
    _, (rows, columns), cards, _ = next(s for s in SHAPES if s[0] == name)
    for cut in ((rows // 2, columns), (rows, columns - 60)):
        with pytest.raises(FrameRejected) as rejection:
            PROFILES[name].amplifiers_of(cards, {None: cut})
        assert rejection.value.code == "section"


def test_every_shipped_profile_is_tried_on_a_raw_shape():
    assert {s[0].partition(" chip ")[0] for s in SHAPES} == PROFILES.keys() - BY_HEADER


# Its headers.


@pytest.mark.parametrize("name", FIXTURES)
def test_a_fixture_says_where_it_is_from_and_names_no_machine(name):
    text = FIXTURES[name].read_text()
    assert text.startswith("COMMENT ")
    assert all(len(line) <= 80 and line == line.rstrip() for line in text.splitlines())
    assert not re.search(r"/(home|root|tmp|usr|var|work|Users)/|~/|[A-Z]:\\", text)


@pytest.mark.parametrize("name", KNOWN)
def test_its_headers_are_recognised_by_it_and_by_no_other(name):
    cards = header(name)
    found = [p.name for p in PROFILES.values() if p.fits(cards) and not _is_family(p)]
    assert found in ([KNOWN[name][0]], [])  # a family leaves a camera to its own profile
    assert REGISTRY.choose(cards).name == KNOWN[name][0]


def _is_family(profile):
    return any("*" in name or "?" in name for name in profile.instruments)


@pytest.mark.parametrize("name", STRANGERS)
def test_strangers_are_recognised_by_none(name):
    with pytest.raises(UnknownInstrument, match="no profile fits INSTRUME"):
        REGISTRY.choose(header(name))


def test_the_strangers_are_those_that_could_be_mistaken():
    assert {name.split("-")[0] for name in STRANGERS} == {
        "alta",
        "kpno_kosmos",
        "saao",
    }


@pytest.mark.parametrize("name", KNOWN)
def test_reads_its_headers(name):
    cards = header(name)
    profile = REGISTRY.choose(cards)
    assert (
        profile.name,
        profile.frame_type_of(cards),
        profile.exposure_of(cards),
        profile.text_of("filter", cards),
        profile.text_of("object", cards),
        profile.text_of("date", cards),
        profile.binning_of(cards),
    ) == KNOWN[name]


@pytest.mark.parametrize("name", sorted(KNOWN.keys() - WRONG_SECTIONS))
def test_its_sections_fit_the_frames_of_its_headers(name):
    cards = header(name)
    REGISTRY.choose(cards).amplifiers_of(cards, shape(cards))


def test_masters_of_a_spectrograph_share_its_set_up():
    assert PROFILES["kosmos"].match_of("flat", header("kosmos-flat")) == (
        ("FILTER2", "empty3"),
        ("DISPERSR", "red"),
        ("SLIT", "2.0-low"),
    )
    assert PROFILES["kosmos"].match_of("bias", header("kosmos-bias")) == ()
    assert PROFILES["dis_red"].match_of("flat", header("dis_red-flat")) == (
        ("GRATING", "R300"),
        ("SLITMASK", "1.5"),
    )


# What one camera asks for and others do not.


def changed(name, **cards):
    found = header(name)
    for card, value in cards.items():
        if value is None:
            del found[card]
        else:
            found[card] = value
    return found


@pytest.mark.parametrize(
    ("cards", "date"),
    [
        ({}, "2016-01-16T04:17:28.00"),
        ({"UT": None}, "2016-01-16"),
        ({"DATE-OBS": None}, None),
        ({"DATE-OBS": "2016-01-16T04:17:28"}, "2016-01-16T04:17:28"),
    ],
)
def test_lfc_joins_day_and_time(cards, date):
    assert PROFILES["lfc"].text_of("date", changed("lfc-flat", **cards)) == date


@pytest.mark.parametrize(("chip", "fits_"), [(0, True), (None, True), (1, False), (5, False)])
def test_lfc_is_chip_0(chip, fits_):
    assert PROFILES["lfc"].fits(changed("lfc-flat", CHIPID=chip)) is fits_


@pytest.mark.parametrize(
    ("cards", "kind"),
    [
        ({"SHUTTER": "closed", "FILTER": "BG40", "OBJECT": "G117-B15A"}, "dark"),
        ({"SHUTTER": "open", "FILTER": "blocking", "OBJECT": "G117-B15A"}, "dark"),
        ({"SHUTTER": None, "FILTER": None, "OBJECT": "DARK "}, "dark"),
        ({"SHUTTER": "open", "FILTER": "BG40", "OBJECT": "Dome Flats"}, "flat"),
        ({"SHUTTER": "open", "FILTER": "BG40", "OBJECT": "G117-B15A"}, "science"),
    ],
)
def test_proem_tells_types_without_imagetyp(cards, kind):
    assert PROFILES["proem"].frame_type_of(changed("proem-dark", **cards)) == kind


def test_proem_frame_that_says_nothing_has_no_type():
    cards = changed("proem-dark", SHUTTER=None, FILTER=None, OBJECT=None)
    with pytest.raises(FrameRejected) as rejection:
        PROFILES["proem"].frame_type_of(cards)
    assert rejection.value.code == "no-type"


@pytest.mark.parametrize("lamp", ["KRYPTON", "NEON", "ARGON", "HE-TR", "NE-TR", "AR-TR"])
@pytest.mark.parametrize(
    ("said", "kind"),
    [("Object", "arc"), ("Flat  ", "arc"), ("Comp", "arc"), ("Bias", "bias"), ("dark", "dark")],
)
def test_kosmos_arcs_are_told_by_their_lamps(lamp, said, kind):
    cards = changed("kosmos-science", IMAGETYP=said, **{lamp: "on      "})
    assert PROFILES["kosmos"].frame_type_of(cards) == kind


@pytest.mark.parametrize(
    ("said", "lamp", "kind"),
    [
        ("object", "HeNeAr", "arc"),
        ("object", "Ne", "arc"),
        ("comp", "", "arc"),
        ("flat", "Bright Quartz", "flat"),
        ("object", "", "science"),
        ("zero", "He", "bias"),
        ("dark", "Ar", "dark"),
    ],
)
def test_dis_arcs_are_told_by_their_lamp(said, lamp, kind):
    cards = changed("dis_blue-arc", IMAGETYP=said, LAMP=lamp)
    assert PROFILES["dis_blue"].frame_type_of(cards) == kind


def test_dis_channels_differ_in_gain_and_noise_only():
    blue, red = (PROFILES[name].amplifiers[0] for name in ("dis_blue", "dis_red"))
    assert (blue.gain.value, blue.read_noise.value) == (1.68, 4.9)
    assert (red.gain.value, red.read_noise.value) == (1.88, 4.6)
    assert (blue.data, blue.overscan, blue.saturation) == (red.data, red.overscan, red.saturation)


@pytest.mark.parametrize(("egain", "gain"), [(1.3, 1.3), ("1.27", 1.27), (None, None)])
def test_pt5m_gain_is_that_of_the_header(egain, gain):
    cards = changed("pt5m-bias", EGAIN=egain)
    assert PROFILES["pt5m"].amplifiers_of(cards, shape(cards)).readouts[0].gain == gain


@pytest.mark.parametrize("name", ["cg16m-science", "cg16m-flat", "cg16m-bias"])
def test_cg16m_never_reads_the_malformed_biassec(name):
    cards = header(name)
    assert cards["BIASSEC"] == "[4096:4109]"
    found = PROFILES["cg16m"].amplifiers_of(cards, shape(cards))
    assert not found.has_overscan


def test_lfc_overscan_stays_clear_of_the_leak_and_reaches_every_row():
    strip = Section.parse(PROFILES["lfc"].amplifiers[0].overscan)
    assert strip == Section(2056, 2080, 1, 4128)


def test_the_recipes_of_the_tutorials():
    recipes = {name: PROFILES[name].recipe for name in TUTORIALS}
    assert {name: (r.bias, r.dark) for name, r in recipes.items()} == {
        "lfc": (False, "match"),
        "cg16m": (True, "scale"),
        "proem": (False, "match"),
        "pt5m": (True, "scale"),
        "kosmos": (True, "match"),
        "dis_blue": (True, "match"),
        "dis_red": (True, "match"),
        "sbo": (False, "match"),
    }
    assert {name for name, r in recipes.items() if r.electrons} == {"kosmos", "dis_blue", "dis_red"}
    for name in ("lfc", "cg16m"):
        for kind in ("bias", "dark", "flat"):
            combine = recipes[name].combine_for(kind)
            assert (combine.method, combine.clip) == ("average", 5)
    assert recipes["proem"].combine_for("dark").method == "median"
    assert recipes["proem"].flat.scale == "mode"
    assert recipes["proem"].name == "{stem}c"
    assert recipes["kosmos"].combine_for("bias").method == "median"
    assert recipes["kosmos"].combine_for("arc").method == "sum"
    assert (recipes["kosmos"].flat.dispersion, recipes["kosmos"].flat.fit) == ("y", "spline")
    assert (recipes["dis_red"].flat.dispersion, recipes["dis_red"].flat.fit) == ("x", "polynomial")
    assert recipes["dis_red"].overscan == "level"


# Its source.


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_number_has_its_source_beside_it(path):
    text = path.read_text()
    commented = {
        token.start[0]
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    for call in ast.walk(ast.parse(text)):
        for keyword in call.keywords if isinstance(call, ast.Call) else ():
            written = keyword.arg in _ALWAYS and not isinstance(keyword.value, ast.Name)
            if written or _holds_a_number(keyword.value):
                assert {keyword.value.lineno, keyword.value.lineno - 1} & commented, (
                    f"{path.name}, line {keyword.value.lineno}: {keyword.arg}= has no source"
                )


_ALWAYS = ("data", "overscan", "gain", "read_noise", "saturation")


def _holds_a_number(value):
    """Return True if a number or section is written here, and not in a call further down."""
    if isinstance(value, ast.Constant):
        number = isinstance(value.value, int | float) and not isinstance(value.value, bool)
        return number or "[" in str(value.value)
    if isinstance(value, ast.BinOp):
        return _holds_a_number(value.left) or _holds_a_number(value.right)
    return False


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_shipped_file_is_short(path):
    assert len(path.read_text().splitlines()) < 90
