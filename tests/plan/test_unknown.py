"""Cameras that no profile knows: what their headers say is shown, and marked as such."""

import json

import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles.cli.command import main
from ccdprofiles.plan.unknown import header_words


def write(path, **cards):
    path.parent.mkdir(exist_ok=True)
    cards = {card.replace("_", "-"): value for card, value in cards.items()}
    random = np.random.default_rng(len(path.name))
    data = random.integers(900, 1100, (32, 48)).astype("u2")
    fits.PrimaryHDU(data, fits.Header(cards)).writeto(path)


@pytest.fixture
def night(tmp_path):
    """Frames of two unknown cameras, and one whose profile is shipped."""
    folder = tmp_path / "night"
    altair = {"INSTRUME": "Altair 26M", "XBINNING": 2, "YBINNING": 2}
    write(folder / "a.fits", **altair, IMAGETYP="LIGHT", EXPTIME=300.0, FILTER="Ha", OBJECT="M 31")
    write(folder / "b.fits", **altair, IMAGETYP="DARKFLAT", EXPOSURE=2.5, CAMERA="cold one")
    write(folder / "c.fits", DETNAM="X4", FRAME=12, OBSTYPE="sky", ITIME=3, CCDSUM="1 2")
    write(
        folder / "d.fits",
        INSTRUME="SBO",
        IMAGETYP="Dark Frame",
        EXPTIME=7.0,
        XBINNING=1,
        YBINNING=1,
    )
    return folder


def info(night, capsys, *options):
    main(["info", str(night), *options])
    return capsys.readouterr().out


def test_the_table_shows_the_words_of_headers_that_no_profile_knows(night, capsys):
    lines = info(night, capsys).splitlines()
    shown = {line.split()[0]: line.split()[1:] for line in lines[:7] if ".fits" in line}
    assert shown["a.fits"][:6] == ["?", "LIGHT?", "300?", "Ha?", "2x2?", "48x32"]
    assert shown["b.fits"][:6] == ["?", "DARKFLAT?", "2.5?", "--", "2x2?", "48x32"]
    assert shown["c.fits"][:7] == ["?", "sky?", "3?", "--", "1", "2?", "48x32"]
    assert shown["d.fits"][:5] == ["sbo", "dark", "7", "--", "1x1"]
    assert lines[1].split() == ["s"]


def test_the_cards_are_listed_camera_by_camera(night, capsys):
    text = info(night, capsys)
    assert "values with a ? are the words of their headers" in text
    begin = text.index("  INSTRUME = 'Altair 26M': 2 files")
    assert [" ".join(line.split()) for line in text[begin:].splitlines()[1:7]] == [
        "type IMAGETYP: LIGHT (1), DARKFLAT (1)",
        "exposure EXPTIME: 300 (1); EXPOSURE: 2.5 (1)",
        "filter FILTER: Ha (1)",
        "binning XBINNING, YBINNING: 2x2 (2)",
        "shape columns x rows: 48x32 (2)",
        "also CAMERA: 'cold one' (1)",
    ]
    assert "no INSTRUME: 1 file\n    type      OBSTYPE: sky (1)\n" in text


def test_json_has_the_cards_and_leaves_known_frames_as_they_are(night, capsys):
    rows = {row["file"]: row for row in json.loads(info(night, capsys, "--json"))}
    assert rows["a.fits"]["header"] == {
        "camera": {"INSTRUME": "Altair 26M"},
        "type": {"IMAGETYP": "LIGHT"},
        "exposure": {"EXPTIME": 300.0},
        "filter": {"FILTER": "Ha"},
        "binning": {"XBINNING": 2, "YBINNING": 2},
        "object": {"OBJECT": "M 31"},
    }
    assert (rows["a.fits"]["type"], rows["a.fits"]["code"]) == ("", "no-profile")
    assert rows["c.fits"]["header"]["type"] == {"OBSTYPE": "sky"}
    assert "header" not in rows["d.fits"]


def test_a_night_of_known_cameras_is_shown_without_marks(night, capsys):
    for name in "abc":
        (night / f"{name}.fits").unlink()
    text = info(night, capsys)
    assert "?" not in text
    assert "usual card" not in text


def test_a_named_profile_is_compared_with_what_the_header_has(night, capsys):
    profile = night.parent / "x4.py"
    profile.write_text(
        "from ccdprofiles import Amplifier, Profile, Recipe\n"
        "profile = Profile(instrument='SBO', where={'FILTER': 'V'}, recipe=Recipe(),\n"
        "                  amplifiers=[Amplifier(data='[:, :]', overscan=None)])\n"
    )
    text = info(night, capsys, "--profile", str(profile))
    assert "x4: 1 file, chosen by you; the header has no INSTRUME\n" in text
    assert (
        "x4: 2 files, chosen by you; INSTRUME = 'Altair 26M' is not that of the profile, "
        "which is 'SBO'\n" in text
    )
    assert "x4: 1 file, chosen by you; FILTER = missing, not 'V'\n" in text


def test_a_number_in_frame_is_not_a_type():
    assert header_words({"FRAME": 12, "FRAMETYP": " "}) == {}
    assert header_words({"FRAME": "Light"}) == {"type": {"FRAME": "Light"}}
    assert header_words({"XBINNING": 1}) == {}
