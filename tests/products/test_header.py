"""Headers of products: cards of the frames that still hold, as FITS allows them."""

import os
from pathlib import Path

import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdprofiles.files.cards import Cards
from ccdprofiles.files.header import ProductHeader
from ccdprofiles.files.raw import read_raw
from ccdprofiles.products.header import (
    add_mjd,
    ascii_text,
    combined_header,
    copied_header,
    flip_wcs,
    shift_wcs,
)

HEADERS = sorted((Path(__file__).parents[1] / "headers").glob("*.header"))
REAL = Path(
    os.environ.get("CCDPROFILES_REALDATA", Path(__file__).parents[2] / ".." / "shared" / "realdata")
)
REAL_FILES = sorted(p for p in REAL.rglob("*.fi*") if p.suffix in (".fits", ".fit"))


def block(*lines):
    return b"".join(
        (line if isinstance(line, bytes) else line.encode()).ljust(80)[:80] for line in lines
    )


def joined(header, more):
    """Both headers in one."""
    for card in (
        more.cards if isinstance(more, fits.Header) else fits.Header.fromstring(more.text()).cards
    ):
        header.hand_on(card.keyword, str(card))
    return header


def cards(*lines, primary=None):
    return Cards(block(*lines), primary)


def test_cards_of_structure_sections_and_checksums_are_left_behind():
    copied = copied_header(
        cards(
            "SIMPLE  =                    T",
            "BITPIX  =                   16",
            "NAXIS   =                    2",
            "NAXIS1  =                   20",
            "BZERO   =                32768",
            "BLANK   =               -32768",
            "BUNIT   = 'ADU     '",
            "CHECKSUM= 'abcdefghijklmnop'",
            "DATASEC = '[1:2048,1:4128]'",
            "BIASSEC = '[2049:2080,1:4127]'",
            "CSEC11  = '[1:2048,1:4128]'",
            "TRIMSEC2= '[1:2048,1:4128]'",
            "ZTILE1  =                   20",
            "COMMENT  by the camera",
            "HISTORY  of the camera",
            "OBJECT  = 'M 31    '           / target",
            "EXPTIME =                300.0 / [s]",
        )
    )
    assert list(copied) == ["OBJECT", "EXPTIME"]
    assert fits.Header.fromstring(copied.text()).comments["OBJECT"] == "target"


HOSTILE = [
    "GAIN    = NaN",
    "TEMP    = 'no end of this text",
    "EXPTIME = 300.0.0",
    "BAD KEY = 3",
    "lower   = 3",
    "OBJ#CT  = 'x'",
    b"OBSERVER= 'M\xfcller'",
    b"TABBED  = 'a\tb'",
    b"NUL     = 'a\x00b'",
    "NOVALUE =",
    "NOEQUALS  hello there",
    "FARAWAY      = 3",
    "DATE-OBS    = '2016-01-16'",
    "HIERARCH ESO DET CHIP1 NAME = 'a'",
    "HIERARCH " + "LONG " * 12 + "= 3",
    "CONTINUE  'of nothing'",
    "= 3",
    "        = 3",
    "COMPLEX = (1.0, 2.0)",
    "DEXP    =              1.5D+03",
    "BIGINT  = 123456789012345678901234567890",
    "EMPTY   = ''",
    "QUOTES  = 'O''Brien''s'",
    "WIDE    = '" + "w" * 68 + "'",
    "CMT     = 3 / " + "c" * 66,
    "DATE-OBS= '2016-01-16T25:61:61'",
    "END",
]


def test_a_card_that_fits_does_not_allow_is_left_behind_and_the_others_stay(
    tmp_path, write, verify, header
):
    copied = copied_header(cards(*HOSTILE, "OBJECT  = 'M 31'"))
    assert copied["OBJECT"] == "M 31"
    assert copied["QUOTES"] == "O'Brien's"
    assert copied["DEXP"] == 1500
    assert copied["ESO DET CHIP1 NAME"] == "a"
    assert copied["CMT"] == 3
    for gone in ("OBSERVER", "TABBED", "NUL", "GAIN", "FARAWAY"):
        assert gone not in copied
    verify(write(tmp_path / "a.fits", cards=joined(header(), copied)))


@pytest.mark.parametrize("line", HOSTILE)
def test_each_hostile_card_alone_leaves_a_valid_product(tmp_path, line, write, verify, header):
    copied = copied_header(cards(line))
    add_mjd(copied)
    verify(write(tmp_path / "a.fits", cards=joined(header(), copied)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=80, max_size=80), max_size=6))
def test_cards_of_any_bytes_are_copied_or_left_behind(lines):
    copied = copied_header(cards(*lines))
    text = copied.text()
    assert text.isascii()
    fits.Header.fromstring(text)


@settings(max_examples=60, deadline=None)
@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=8),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=70),
)
def test_cards_of_any_text_are_copied_or_left_behind(keyword, value):
    copied = copied_header(cards(f"{keyword.upper():8}= {value}"))
    for card in fits.Header.fromstring(copied.text()).cards:
        card.verify("exception")


@pytest.mark.parametrize("fixture", HEADERS, ids=lambda p: p.stem)
def test_the_headers_of_real_instruments_make_valid_products(tmp_path, fixture, write, verify):
    copied = copied_header(cards(*fixture.read_text().splitlines()))
    assert len(copied) > 3
    shift_wcs(copied, 5, 7)
    add_mjd(copied)
    copied["BUNIT"] = "adu"
    path = write(tmp_path / "a.fits", cards=copied)
    verify(path)
    CCDData.read(path)


@pytest.mark.skipif(not REAL_FILES, reason="real frames are not there")
@pytest.mark.parametrize("real", REAL_FILES, ids=lambda p: p.name)
def test_real_frames_make_valid_products(tmp_path, real, write, verify):
    copied = copied_header(read_raw(real).header)
    shift_wcs(copied, 5, 7)
    add_mjd(copied)
    copied["BUNIT"] = "adu"
    verify(write(tmp_path / "a.fits", cards=copied))


def test_the_card_of_an_image_counts_before_that_of_the_primary_header():
    primary = cards("OBJECT  = 'M 31'", "GAIN    = 1.0", "TELESCOP= 'big'")
    copied = copied_header(cards("GAIN    = 2.0", "EXPTIME = 30.0", primary=primary))
    assert copied["GAIN"] == 2
    assert (copied["OBJECT"], copied["TELESCOP"], copied["EXPTIME"]) == ("M 31", "big", 30)


def test_of_a_card_that_stands_twice_the_first_counts():
    copied = copied_header(cards("GAIN    = 1.0", "GAIN    = 2.0"))
    assert copied["GAIN"] == cards("GAIN    = 1.0", "GAIN    = 2.0")["GAIN"] == 1
    assert len(copied) == 1


def test_old_names_of_the_sky_are_renamed():
    copied = copied_header(cards("RADECSYS= 'FK5'", "EPOCH   = 2000.0"))
    assert copied["RADESYS"] == "FK5"
    assert copied["EQUINOX"] == 2000
    assert not {"RADECSYS", "EPOCH"} & set(copied)
    both = copied_header(cards("RADECSYS= 'FK5'", "RADESYS = 'ICRS'"))
    assert both["RADESYS"] == "ICRS"


def test_a_master_keeps_the_cards_that_all_its_frames_share_and_no_sky():
    wcs = (
        "CTYPE1  = 'RA---TAN'",
        "CRVAL1  = 10.0",
        "CRPIX1A = 10.0",
        "CD1_1   = 0.1",
        "PC001001= 1.0",
        "A_ORDER = 2",
        "BP_1_2  = 0.1",
        "RADECSYS= 'FK5'",
        "EQUINOX = 2000.0",
        "WCSAXES = 2",
        "PV2_1   = 1.0",
    )
    first = cards("GAIN    = 1.1", "EXPTIME = 30.0", "AIRMASS = 1.0", "FIRST   = 1", *wcs)
    second = cards("GAIN    = 1.10", "EXPTIME = 31.0", "AIRMASS = 1.1", *wcs)
    made = combined_header([first, second])
    assert dict(made) == {"GAIN": 1.1}
    assert dict(combined_header([first])) == {
        "GAIN": 1.1,
        "EXPTIME": 30.0,
        "AIRMASS": 1.0,
        "FIRST": 1,
    }


def sky():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [10, 20]
    wcs.wcs.crpix = [50, 60]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    return wcs.to_header()


def test_the_world_coordinates_follow_the_trim():
    before = sky()
    after = joined(ProductHeader(), before)
    shift_wcs(after, 8, 3)
    assert (after["CRPIX1"], after["CRPIX2"]) == (42, 57)
    there = WCS(before).pixel_to_world(30, 25)
    here = WCS(fits.Header.fromstring(after.text())).pixel_to_world(22, 22)
    assert there.separation(here) < 1e-9 * u.arcsec


def test_a_second_set_of_coordinates_follows_too_and_other_cards_do_not(header):
    made = header(CRPIX1=10.0, CRPIX1A=20.0, CRPIX2="north", CRPIX12=5.0)
    shift_wcs(made, 8, 3)
    assert made["CRPIX1"] == 2
    assert made["CRPIX1A"] == 12
    assert made["CRPIX2"] == "north"
    assert made["CRPIX12"] == 5
    shift_wcs(made, 0, 0)
    assert made["CRPIX1"] == 2


def test_mjd_is_written_beside_a_date(header):
    made = header(**{"DATE-OBS": "2018-08-23T08:49:30", "DATE-END": "2018-08-23T12:00:00"})
    add_mjd(made)
    assert made["MJD-OBS"] == pytest.approx(58353.367708333)
    assert made["MJD-END"] == 58353.5
    before = made.text()
    add_mjd(made)
    assert made.text() == before


@pytest.mark.parametrize("date", ["16/01/16", "yesterday", "", "2016-13-45", 2016])
def test_a_date_that_is_none_gives_no_mjd(date, header):
    made = header(**{"DATE-OBS": date})
    add_mjd(made)
    assert "MJD-OBS" not in made


@given(st.text())
def test_any_text_goes_into_a_card(text):
    told = ascii_text(text)
    assert told.isascii()
    fits.Card("HISTORY", told).verify("exception")


def test_a_plain_text_stays_as_it_is():
    assert ascii_text("lfc_flat_g'.fits") == "lfc_flat_g'.fits"


TAN = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 20.0,
    "CRPIX1": 33.25,
    "CRPIX2": 51.5,
}
MATRIX = {"CD1_1": -1e-4, "CD1_2": 2e-5, "CD2_1": 3e-5, "CD2_2": 1e-4}
SIP = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "A_ORDER": 2,
    "B_ORDER": 2,
    "A_2_0": 1e-4,
    "A_1_1": 2e-4,
    "A_0_2": -3e-4,
    "B_2_0": 2e-4,
    "B_1_1": -1e-4,
    "B_0_2": 4e-4,
    "AP_ORDER": 2,
    "BP_ORDER": 2,
    "AP_1_1": -2e-4,
    "BP_1_1": 1e-4,
}


@pytest.mark.parametrize(
    "cards",
    [
        TAN | MATRIX,
        TAN | MATRIX | SIP,
        TAN | {"CDELT1": -1e-4, "CDELT2": 1e-4},
        TAN | {"CDELT1": -1e-4, "CDELT2": 1e-4, "CROTA2": 30.0},
        TAN | {"CDELT1": -1e-4, "CDELT2": 1e-4, "PC1_2": 0.2, "PC2_1": -0.3},
        TAN | {"CDELT1": -1e-4, "CDELT2": 1e-4, "PC1_1": 0.9, "PC1_2": 0.2, "PC2_2": 1.1},
    ],
)
@pytest.mark.parametrize("axis", [1, 2])
def test_a_flip_leaves_every_star_where_it_is(cards, axis):
    header = ProductHeader()
    for card, value in cards.items():
        header[card] = value
    before = WCS(header.as_fits()).all_pix2world([[5.0, 7.0], [60.0, 90.5]], 1)
    flip_wcs(header, axis, 101)
    pixels = [[5.0, 7.0], [60.0, 90.5]]
    flipped = [[101 - x, y] if axis == 1 else [x, 101 - y] for x, y in pixels]
    after = WCS(header.as_fits()).all_pix2world(flipped, 1)
    assert after == pytest.approx(before, abs=1e-10)
