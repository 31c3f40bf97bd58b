"""What one shipped camera asks for and others do not; nights that are planned from its headers."""

import math
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles import SpectralFlat, load_profile, reduce_night
from ccdprofiles.camera.registry import Registry
from ccdprofiles.errors import FrameRejected, UnknownInstrument
from ccdprofiles.night import frames_and_plan

ROOT = Path(__file__).parents[2]
HEADERS = {p.stem: p for p in sorted((ROOT / "tests" / "headers").glob("*.header"))}
REAL = Path(os.environ.get("CCDPROFILES_REALDATA") or ROOT.parent / "shared" / "realdata")
CAMERAS = (
    *("arctic", "efosc2", "goodman_blue", "goodman_red", "goodman_red_imager"),
    *("maxim", "qhy", "sinistro", "zwo"),
)


@pytest.fixture(scope="module")
def registry():
    return Registry.gather()


def header(name, **changes):
    found = fits.Header.fromstring(HEADERS[name].read_text(), sep="\n")
    for card, value in changes.items():
        if value is None:
            found.remove(card, ignore_missing=True)
        else:
            found[card] = value
    return found


def hdu(name, **changes):
    """The bytes of an HDU with the header of a camera, whose pixels are all 0."""
    cards = header(name, **changes)
    del cards["COMMENT"]
    whole = fits.Header()
    if "XTENSION" not in cards:
        whole["SIMPLE"] = True
    whole.extend(cards, strip=False, unique=True)
    axes = [cards[f"NAXIS{n + 1}"] for n in range(cards["NAXIS"])]
    size = abs(cards["BITPIX"]) // 8 * math.prod(axes) if axes else 0
    return whole.tostring().encode() + bytes(-(-size // 2880) * 2880)


def write(path, name, **changes):
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == "sinistro-science":
        parts = [hdu("sinistro-science", NAXIS=0, NAXIS1=None, NAXIS2=None, EXTEND=True)]
        parts += [hdu(f"sinistro_extension-{n}") for n in (1, 2, 3, 4)]
        path.write_bytes(b"".join(parts))
    else:
        path.write_bytes(hdu(name, **changes))


def readouts(profile, cards):
    shapes = {None: (cards["NAXIS2"], cards["NAXIS1"])}
    return profile.amplifiers_of(cards, shapes).readouts


# Nights.


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_night_of_its_headers_is_planned(tmp_path, camera):
    names = [name for name in HEADERS if name.split("-")[0] == camera and name != "zwo-untyped"]
    for name in names:
        write(tmp_path / f"{name}.fits", name)
    frames = frames_and_plan(tmp_path).frames
    verdicts = {frame.file.removesuffix(".fits"): frame for frame in frames}
    assert verdicts.keys() == set(names)
    for name, frame in verdicts.items():
        if name == "arctic-bias-window":
            continue
        assert frame.type == ("" if name.endswith("-ignored") else name.split("-")[1])


def test_types_of_sharpcap_are_those_of_its_folders(tmp_path):
    folders = {
        "2019-04-29/darks/1.fits": "dark",
        "2019-04-29/Flats/1.fits": "flat",
        "2019-04-29/flat darks/1.fits": "dark",
        "2019-04-29/darkflats/1.fits": "dark",
        "2019-04-29/bias/1.fits": "bias",
        "2019-04-29/M 51/lights/1.fits": "science",
    }
    for number, path in enumerate(folders):
        stamp = f"2019-04-29T20:25:{number:02}"
        write(tmp_path / path, "zwo-untyped", **{"DATE-OBS": stamp})
    frames = frames_and_plan(tmp_path).frames
    assert {frame.file: frame.type for frame in frames} == folders


# ZWO, QHY and MaxIm.


@pytest.mark.parametrize(
    ("cards", "profile"),
    [
        ({"INSTRUME": "ZWO ASI294MC Pro"}, "zwo"),
        ({"INSTRUME": "ZWO CCD ASI294MC Pro"}, "zwo"),
        ({"INSTRUME": "ASI174MM"}, "zwo"),
        ({"INSTRUME": "ZWO ASI2600MM Pro"}, "zwo_asi2600"),
        ({"INSTRUME": "ZWO CCD ASI2600MC Pro(2600)"}, "zwo_asi2600"),
        ({"INSTRUME": "QHY268C"}, "qhy"),
        ({"INSTRUME": "QHY CCD QHY600M-3eda8b4"}, "qhy"),
        ({"INSTRUME": "QHYCCD-Cameras-Capture"}, "qhy"),
        ({"INSTRUME": "SBIG STF-8300 CCD Camera", "SWCREATE": "MaxIm DL Version 6.05"}, "maxim"),
        ({"INSTRUME": "Apogee USB/Net", "SWCREATE": "MaxIm DL Version 5.23"}, "maxim"),
        ({"INSTRUME": "FLI", "SWCREATE": "MaxIm DL Version 6.16"}, "maxim"),
        ({"INSTRUME": "Apogee Aspen CG16M", "SWCREATE": "MaxIm DL Version 5.15"}, "cg16m"),
        ({"INSTRUME": "SBIG ST-7", "SWCREATE": "SBIG Win CCDOPS Version 5.47"}, None),
        ({"INSTRUME": "Apogee Alta"}, None),
    ],
)
def test_names_of_families(registry, cards, profile):
    if profile is None:
        with pytest.raises(UnknownInstrument):
            registry.choose(cards)
    else:
        assert registry.choose(cards).name == profile


def test_programs_disagree_about_egain_so_it_is_not_used(registry):
    """One camera at one setting: 1.00224 by NINA and APT, 3.99 by SGP."""
    names = ("zwo-science", "zwo-science-apt", "zwo-science-sgp")
    values = {(header(n)["INSTRUME"][-16:], header(n)["GAIN"]) for n in names}
    assert values == {("ZWO ASI294MC Pro", 120)}
    assert sorted(round(header(n)["EGAIN"], 2) for n in names) == [1.00, 1.00, 3.99]
    assert [readouts(registry["zwo"], header(n))[0].gain for n in names] == [None] * 3


@pytest.mark.parametrize(
    ("cards", "gain"), [((0, 0.77), 0.76), ((100, 0.25), 0.25), ((100, None), None)]
)
def test_gain_of_a_camera_of_16_bits(registry, cards, gain):
    setting, egain = cards
    found = header("zwo-science", INSTRUME="ZWO ASI2600MM Pro", GAIN=setting, EGAIN=egain)
    assert readouts(registry.choose(found), found)[0].gain == gain


def test_gain_of_maxim_is_that_of_the_header(registry):
    sbig, apogee = header("maxim-science-sbig"), header("maxim-science")
    assert readouts(registry["maxim"], sbig)[0].gain == 0.38
    assert readouts(registry["maxim"], apogee)[0].gain is None


def test_frames_that_maxim_has_calibrated_are_refused(tmp_path):
    write(tmp_path / "a.fits", "maxim-science", CALSTAT="BDF")
    (frame,) = frames_and_plan(tmp_path).frames
    assert frame.fault.code == "already-reduced"


# Spectrographs.


@pytest.mark.parametrize(
    ("camera", "mode", "profile"),
    [
        ("Red", "400 m1", "goodman_red"),
        ("Red", "Custom", "goodman_red"),
        ("Red", "Imaging", "goodman_red_imager"),
        ("Red", "IMAGING", "goodman_red_imager"),
        ("Blue", "400 m1", "goodman_blue"),
        ("Blue", "Imaging", "goodman_blue_imager"),
    ],
)
def test_modes_of_goodman_had_one_name(registry, camera, mode, profile):
    cards = header("goodman_red-arc-2017", INSTCONF=camera, WAVMODE=mode)
    assert cards["INSTRUME"] == "Goodman Spectro"
    assert registry.choose(cards).name == profile


@pytest.mark.parametrize(
    ("gain", "saturation"), [(1.48, 65535), (3.48, 58908), (3.87, 52972), (9.0, None)]
)
def test_goodman_saturates_by_its_gain(registry, gain, saturation):
    cards = header("goodman_red-arc", GAIN=gain)
    assert readouts(registry["goodman_red"], cards)[0].saturation == saturation


def test_the_prescan_of_goodman_is_dark_and_its_data_are_lit(registry):
    files = sorted((REAL / "goodman-focus").glob("sp_*.fits"))
    if not files:
        pytest.skip("the real frames are not here; CCDPROFILES_REALDATA names their folder")
    for file in files:
        data, cards = fits.getdata(file).astype(float), fits.getheader(file)
        profile = registry.choose(cards)
        assert profile.name == "goodman_red"
        assert profile.frame_type_of(cards) is None  # FOCUS
        (readout,) = readouts(profile, cards)
        strip = data[readout.overscan.slices()][1:]  # the first row contains other signal
        columns = np.median(data, axis=0)
        assert strip.std() * cards["GAIN"] < cards["RDNOISE"]
        assert abs(np.median(strip, axis=0) - np.median(strip)).max() < 1.5
        assert columns[50] > columns[10:48].max() + 5  # column 51 is the first one with light


ALFOSC = {
    "INSTRUME": "ALFOSC_FASU",
    "SHSTAT": "OPEN",
    "EXPTIME": 30.0,
    "ALGRNM": "Grism_#4",
    "ALAPRTNM": "Slit_1.0",
    **dict.fromkeys(("CLAMP1", "CLAMP2", "CLAMP3", "CLAMP4"), 0),
}


@pytest.mark.parametrize(
    ("cards", "kind"),
    [
        ({"SHSTAT": "CLOSED", "EXPTIME": 0.0}, "bias"),
        ({"SHSTAT": "CLOSED"}, "dark"),
        ({}, "science"),
        ({"CLAMP3": 1}, "flat"),
        ({"CLAMP1": 1}, "arc"),
        ({"CLAMP2": 1}, "arc"),
        ({"CLAMP4": 1}, "arc"),
        ({"ALGRNM": "Open"}, None),
        ({"ALGRNM": "Open", "ALAPRTNM": "Open"}, "science"),
        ({"ALGRNM": "Open (Lyot)", "ALAPRTNM": "Open", "IMAGETYP": "FLAT,SKY"}, "flat"),
        ({"OBJECT": "EasyFlat count test", "ALGRNM": "Open", "ALAPRTNM": "Open"}, None),
    ],
)
def test_types_of_alfosc_are_told_by_lamps_grism_and_slit(cards, kind):
    assert load_profile("alfosc").frame_type_of(ALFOSC | cards) == kind


def test_alfosc_disperses_along_the_columns_unless_the_slit_is_vertical():
    profile = load_profile("alfosc")
    assert profile.recipe_of(ALFOSC).flat == SpectralFlat(dispersion="y")
    vertical = profile.recipe_of(ALFOSC | {"ALAPRTNM": "Vert_1.0"})
    assert vertical.flat == SpectralFlat(dispersion="x")
    assert not isinstance(profile.recipe_of(ALFOSC | {"ALGRNM": "Open"}).flat, SpectralFlat)


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"FAFLTNM": "Open", "FBFLTNM": "R_Bes 650_130", "ALFLTNM": "Open"}, "R_Bes 650_130"),
        ({"FAFLTNM": "Open", "FBFLTNM": "Open"}, "Open"),
    ],
)
def test_alfosc_has_three_wheels_of_filters(cards, name):
    assert load_profile("alfosc").text_of("filter", ALFOSC | cards) == name


# Imagers.


def test_hdi_needs_both_wheels():
    profile = load_profile("hdi")
    assert profile.text_of("filter", {"FILTER1": "107", "FILTER2": 204}) == "107,204"
    assert profile.text_of("filter", {"FILTER1": "107"}) is None


def test_hdi_has_an_overscan_of_columns_and_one_of_rows():
    profile = load_profile("hdi")
    cards = {"INSTRUME": "hdi", "NAXIS1": 4150, "NAXIS2": 4150}
    shapes = {None: (4150, 4150)}
    (readout,) = profile.amplifiers_of(cards, shapes).readouts
    assert (str(readout.overscan), str(readout.parallel_overscan)) == (
        "[4100:4150, 1:4111]",
        "[1:4096, 4120:4150]",
    )
    assert readout.linear == 40_000


@pytest.mark.parametrize(
    ("name", "data", "overscan"),
    [
        ("arctic-bias-1x1", "[3:4098, 1:4096]", "[4101:4200, 1:4096]"),
        ("arctic-bias-2x1", "[3:2050, 1:4096]", "[2053:2100, 1:4096]"),
        ("arctic-bias", "[3:2050, 1:2048]", "[2053:2100, 1:2048]"),
    ],
)
def test_the_prescan_of_arctic_is_not_binned_and_its_overscan_is(registry, name, data, overscan):
    cards = header(name)
    (readout,) = readouts(registry["arctic"], cards)
    assert (str(readout.data), str(readout.overscan)) == (data, overscan)


def test_a_window_of_arctic_has_wrong_sections_and_is_set_aside(registry):
    cards = header("arctic-bias-window")
    with pytest.raises(FrameRejected) as rejection:
        readouts(registry["arctic"], cards)
    assert rejection.value.code == "section"


def test_quadrants_of_sinistro_are_put_where_their_headers_say(tmp_path):
    write(tmp_path / "a.fits", "sinistro-science")
    (frame,) = frames_and_plan(tmp_path).frames
    assert frame.profile.name == "sinistro"
    places = {r.name: (str(r.place), r.flipped, r.gain) for r in frame.amplifiers.readouts}
    assert places == {
        "Q1": ("[1:512, 513:1024]", (False, True), 6.42),
        "Q2": ("[1:512, 1:512]", (False, False), 6.23),
        "Q3": ("[513:1024, 1:512]", (True, False), 6.27),
        "Q4": ("[513:1024, 513:1024]", (True, True), 6.26),
    }
    assert {r.saturation for r in frame.amplifiers.readouts} == {40_000}
    assert {r.read_noise for r in frame.amplifiers.readouts} == {7}


# Real frames.


def test_biases_and_darks_of_an_apogee_by_maxim_are_combined(tmp_path):
    files = sorted((REAL / "feder-msumastro").glob("[bd]*test?.fit"))
    if not files:
        pytest.skip("the real frames are not here; CCDPROFILES_REALDATA names their folder")
    night = tmp_path / "night"
    night.mkdir()
    for file in files:
        (night / file.name).symlink_to(file)
    done = reduce_night(night, tmp_path / "reduced")
    assert {frame["profile"] for frame in done.frames} == {"maxim"}
    assert sorted(Path(name).name.split("_")[1] for name in done.masters) == ["bias", "dark"]


def test_other_real_frames_of_maxim_are_recognised(registry):
    files = sorted((REAL / "feder-msumastro").glob("maximdl_*.fit"))
    if not files:
        pytest.skip("the real frames are not here; CCDPROFILES_REALDATA names their folder")
    found = {f.stem: registry.choose(fits.getheader(f)).name for f in files}
    assert found == {
        "maximdl_5_21_header": "maxim",
        "maximdl_5_23_header": "maxim",
        "maximdl_6_16_header": "maxim",
        "maximdl_6_18_header": "cg16m",
    }
