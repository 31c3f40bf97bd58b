"""Shipped profiles of cameras at observatories: their headers, and raw frames of their sizes."""

import os
import shutil
from pathlib import Path

import pytest
from astropy.io import fits

from ccdprofiles import SpectralFlat, plan_night, reduce_night
from ccdprofiles.camera.profile_file import read_profiles
from ccdprofiles.camera.registry import Registry, shipped_folder
from ccdprofiles.errors import UnknownInstrument

FILES = [p for p in shipped_folder().glob("*.py") if not p.name.startswith("_")]
PROFILES = {p.name: p for file in FILES for p in read_profiles(file)}
HEADERS = Path(__file__).parents[1] / "headers"
REALDATA = os.environ.get("CCDPROFILES_REALDATA", HEADERS.parents[2] / "shared" / "realdata")
# CAFOS_pipeline_tutorial_dataset of the repository ggarcimo/CAHA-CAFOS-pipeline
NIGHT = Path(REALDATA) / "cafos-pipeline"


def header(name):
    return fits.Header.fromstring((HEADERS / f"{name}.header").read_text(), sep="\n")


def profile_of(name):
    return PROFILES[name.partition("-")[0]]


def shape(cards):
    return {None: (cards["NAXIS2"], cards["NAXIS1"])}


def write(path, cards):
    """Write a frame of zeros, as a file with a hole."""
    text = cards.copy()
    text.insert(0, ("SIMPLE", True))
    path.write_bytes(text.tostring().encode())
    size = path.stat().st_size + 2 * cards["NAXIS1"] * cards["NAXIS2"]
    os.truncate(path, -(-size // 2880) * 2880)


def test_numbers_are_those_of_the_headers():
    found = {}
    for name in ("cafos-bias", "cfccd-science", "deveny-arc"):
        cards = header(name)
        readouts = profile_of(name).amplifiers_of(cards, shape(cards)).readouts
        found[name] = {(r.gain, r.read_noise) for r in readouts}
    assert found == {
        "cafos-bias": {(1.43, 9.0)},  # the read noise was measured
        "cfccd-science": {(3.0, 12.0)},
        "deveny-arc": {(1.52, 4.9)},
    }


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("deveny-arc", {"INSTRUME": "DEVENY2"}),
        ("cfccd-science", {"AMPLIST": "21 22"}),
        ("cfccd-science", {"TELESCOP": "CTIO 1.5 meter telescope"}),
        ("cafos-bias", {"CCDNAME": "LORAL#11i"}),
    ],
)
def test_other_cameras_and_modes_are_strangers(name, changes):
    cards = header(name)
    cards.update(changes)
    with pytest.raises(UnknownInstrument):
        Registry.gather().choose(cards)


def test_a_part_of_a_header_is_recognised():
    cards = header("acam-science")
    assert Registry.gather().choose(cards).name == "acam"
    assert PROFILES["acam"].frame_type_of(cards) == "science"
    assert PROFILES["acam"].text_of("filter", cards) == "CLEAR+V400"


def test_one_header_of_each_type_is_planned(tmp_path):
    names = [
        *("cafos-bias", "cafos-flat", "cafos-arc", "cafos-science"),
        *("cfccd-science", "deveny-arc"),
    ]
    for name in names:
        write(tmp_path / f"{name}.fits", header(name))
    plan = plan_night(tmp_path, min_frames=1)
    assert (plan.found, plan.set_aside) == (6, ())
    assert [name for name, _ in plan.profiles] == ["cafos", "cfccd", "deveny"]
    assert [p.name for p in plan.products] == ["science/cafos-science_cal.fits"]
    assert [m.type for m in plan.masters] == ["bias", "flat", "arc"]


# What one camera asks for and others do not.


@pytest.mark.parametrize(
    ("cards", "kind"),
    [
        ({"EXPTIME": 0, "OBS-TYPE": "OBJECT", "LMP_ID": "Parking"}, "bias"),
        ({"EXPTIME": 3.0, "OBS-TYPE": "CALIB", "LMP_ID": "Halogen"}, "flat"),
        ({"EXPTIME": 3.0, "OBS-TYPE": "CALIB", "LMP_ID": "Ne+Hg"}, "arc"),
        ({"EXPTIME": 3.0, "OBS-TYPE": "OBJECT", "LMP_ID": "Parking", "OBJCAT": "skyflat"}, "flat"),
        ({"EXPTIME": 3.0, "OBS-TYPE": "OBJECT", "OBJCAT": "M 67"}, "science"),
    ],
)
def test_dolores_types(cards, kind):
    assert PROFILES["dolores"].frame_type_of(cards) == kind


@pytest.mark.parametrize(
    ("cards", "kind"),
    [
        ({"IMAGETYP": "zero", "OBJECT": "anything"}, "bias"),
        ({"IMAGETYP": "object", "OBJECT": "Dome Flat"}, "flat"),
        ({"IMAGETYP": "object", "OBJECT": "BIAS"}, "bias"),
        ({"IMAGETYP": "object", "OBJECT": "HeAr", "COMPLAMP": "HE/AR"}, "arc"),
        ({"IMAGETYP": "object", "OBJECT": "Feige 34"}, "science"),
    ],
)
def test_bok_types(cards, kind):
    assert PROFILES["bok_bc"].frame_type_of(cards) == kind


@pytest.mark.parametrize(
    ("wheels", "name"),
    [
        (("Open", "R", "Empty"), "R"),
        (("Open", "Open", "Open"), "none"),
        (("V", "Open", "ND"), "V+ND"),
    ],
)
def test_prism_has_three_wheels(wheels, name):
    cards = {f"FILTNME{n}": w for n, w in enumerate(wheels, 1)}
    assert PROFILES["prism"].text_of("filter", cards) == name


@pytest.mark.parametrize(
    ("cards", "name"),
    [
        ({"OBJNAME": "SN 2025a", "SCITARG": "HD 1"}, "SN 2025a"),
        ({"OBJNAME": "  ", "SCITARG": "HD 1"}, "HD 1"),
        ({"OBJNAME": "UNKNOWN", "SCITARG": ""}, None),
    ],
)
def test_deveny_names(cards, name):
    assert PROFILES["deveny"].text_of("object", cards) == name


@pytest.mark.parametrize(
    ("name", "cards", "dispersion"),
    [
        ("acam", {"ACAMMODE": "SPECTROSCOPY      "}, "y"),
        ("acam", {"ACAMMODE": "IMAGING"}, None),
        ("cafos", {"INSGRNAM": "green-200 "}, "y"),
        ("cafos", {"INSGRNAM": "FREE"}, None),
        ("dolores", {"GRM_ID": "LR-B"}, "x"),
        ("dolores", {"GRM_ID": "OPEN"}, None),
        ("fors2_chip1", {"ESO DPR TECH": "SPECTRUM"}, "x"),
        ("fors2_chip1", {"ESO DPR TECH": "IMAGE"}, None),
    ],
)
def test_images_and_spectra_have_their_own_flats(name, cards, dispersion):
    flat = PROFILES[name].recipe_of(cards).flat
    assert isinstance(flat, SpectralFlat) is (dispersion is not None)
    assert getattr(flat, "dispersion", None) == dispersion


def test_fors2_slit_masks_have_no_flat():
    assert PROFILES["fors2_chip2"].recipe_of({"ESO DPR TECH": "MXU"}).flat is None


@pytest.mark.parametrize("name", ["mont4k", "vatt4k"])
def test_azcam_halves_are_put_together(name):
    """The sections are those that azcam computes for a binning of 2; the second half is mirrored."""
    across = name == "mont4k"
    raw, trimmed = ((2048, 1044), (2048, 2048)) if across else ((1016, 2052), (2032, 2032))
    columns, rows = raw[1] - 20, raw[0]
    size = 4096 if across else 4064
    half = size // 2
    common = {
        "DATASEC": f"[1:{columns},1:{rows}]",
        "CCDBIN1": 2,
        "CCDBIN2": 2,
        "BIASSEC": f"[{columns + 1}:{columns + 20},1:{rows}]",
        "GAIN": 3.19,
        "RDNOISE": 6.3,
    }
    first = f"[1:{half},1:{size}]" if across else f"[{size}:1,{size}:{half + 1}]"
    second = f"[{size}:{half + 1},1:{size}]" if across else f"[1:{size},1:{half}]"
    headers = {1: common | {"DETSEC": first}, 2: common | {"DETSEC": second}}
    found = PROFILES[name].amplifiers_of(common, {1: raw, 2: raw}, headers)
    assert found.shape == trimmed
    assert [any(r.flipped) for r in found.readouts] == [not across, across]


@pytest.mark.skipif(not NIGHT.is_dir(), reason="the frames of CAFOS are not there")
def test_a_real_night_of_cafos(tmp_path):
    raw = shutil.copytree(NIGHT, tmp_path / "raw")
    night = reduce_night(raw, output=tmp_path / "out")
    assert [Path(name).parent.name for name in night.products].count("science") == 3
    assert len(list((tmp_path / "out" / "masters").glob("*.fits"))) == 4
