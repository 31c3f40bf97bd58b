"""Products: whole or not there, valid FITS, and every card and flag in its place."""

import hashlib
import os
import pickle
import random
import shutil
import subprocess
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdprofiles.errors import FrameRejected, OutputError
from ccdprofiles.files.cards import Cards
from ccdprofiles.files.header import ProductHeader
from ccdprofiles.files.raw import read_raw
from ccdprofiles.products import product as products
from ccdprofiles.products.band import DQ_BITS, MASKED, Band
from ccdprofiles.products.header import (
    add_mjd,
    ascii_text,
    combined_header,
    copied_header,
    shift_wcs,
)
from ccdprofiles.products.product import ProductFile, product_key, sha256_of, write_text
from ccdprofiles.products.saved import SavedProduct, check_product

HEADERS = sorted((Path(__file__).parents[1] / "headers").glob("*.header"))
REAL = Path(
    os.environ.get("CCDPROFILES_REALDATA", Path(__file__).parents[2] / ".." / "shared" / "realdata")
)
REAL_FILES = sorted(p for p in REAL.rglob("*.fi*") if p.suffix in (".fits", ".fit"))

SHAPE = (12, 10)
SHA = "0" * 64
INPUTS = [("a.fits", SHA, "science"), ("masters/cam_bias_1x1.fits", SHA, "master bias")]


def some_images(shape=SHAPE, seed=0):
    random = np.random.default_rng(seed)
    data = random.normal(100, 10, shape).astype("f4")
    variance = random.uniform(1, 4, shape).astype("f4")
    flags = np.zeros(shape, "u2")
    for row, bit in enumerate(DQ_BITS.values()):
        flags[row, row] = bit
    return data, variance, flags


def header(**cards):
    made = ProductHeader()
    made["BUNIT"] = "adu"
    for card, value in cards.items():
        made[card] = value
    return made


def write(path, step=4, order=None, cards=None, uncertainty=True, images=None, inputs=INPUTS):
    """Write a product band by band."""
    data, variance, flags = some_images() if images is None else images
    shape = data.shape
    bands = [(a, min(a + step, shape[0])) for a in range(0, shape[0], step)]
    if order is not None:
        order.shuffle(bands)
    with ProductFile(path, header() if cards is None else cards, shape, uncertainty, inputs) as out:
        for a, b in bands:
            band = Band(data[a:b], variance[a:b] if uncertainty else None, flags[a:b])
            out.write(a, band)
        out.finish()
    return path


def verify(path):
    """Hold a file against the FITS standard: by astropy, and by fitsverify where it is there."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True) as hdus:
            for hdu in hdus:
                hdu.verify("exception")
                assert "CHECKSUM" in hdu.header
                assert "DATASUM" in hdu.header
                hdu.data  # noqa: B018, reading it is the test
    if shutil.which("fitsverify"):
        said = subprocess.run(
            ["fitsverify", "-q", path], capture_output=True, text=True, check=False
        )
        if "verification OK" not in said.stdout:
            full = subprocess.run(["fitsverify", path], capture_output=True, text=True, check=False)
            pytest.fail(full.stderr + full.stdout)


# What a product is.


def test_ccddata_reads_a_product_without_being_told_anything(tmp_path):
    path = write(tmp_path / "a.fits")
    data, variance, flags = some_images()
    ccd = CCDData.read(path)
    np.testing.assert_array_equal(ccd.data, data)
    assert ccd.data.dtype.itemsize == 4
    assert ccd.unit == u.adu
    assert isinstance(ccd.uncertainty, StdDevUncertainty)
    assert ccd.uncertainty.unit == u.adu
    np.testing.assert_allclose(ccd.uncertainty.array, np.sqrt(variance), rtol=1e-6)
    np.testing.assert_array_equal(ccd.mask, (flags & MASKED) != 0)


def test_a_product_without_uncertainty_has_no_such_plane(tmp_path):
    path = write(tmp_path / "a.fits", uncertainty=False)
    ccd = CCDData.read(path)
    assert ccd.uncertainty is None
    with fits.open(path) as hdus:
        assert [h.name for h in hdus] == ["PRIMARY", "MASK", "DQ", "PROVENANCE"]
    verify(path)


def test_a_product_is_valid_fits_with_checksums_in_every_hdu(tmp_path):
    path = write(tmp_path / "a.fits")
    verify(path)
    with fits.open(path) as hdus:
        assert [h.name for h in hdus] == ["PRIMARY", "MASK", "UNCERT", "DQ", "PROVENANCE"]


@pytest.mark.parametrize("hdu", range(5))
def test_a_flipped_bit_is_found_by_the_checksums(tmp_path, hdu):
    path = write(tmp_path / "a.fits")
    with fits.open(path) as hdus:
        where = hdus[hdu].fileinfo()["datLoc"] + 9
    octets = bytearray(path.read_bytes())
    octets[where] ^= 4
    path.write_bytes(octets)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with fits.open(path, checksum=True) as hdus:
            hdus[hdu].data  # noqa: B018, reading it is the test
    assert any("hecksum verification failed" in str(w.message) for w in said)
    assert any("atasum verification failed" in str(w.message) for w in said)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 13),
    st.integers(1, 40),
    st.integers(0, 2**32),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
def test_checksums_hold_for_any_shape_and_card(tmp_path_factory, rows, columns, seed, text):
    path = tmp_path_factory.mktemp("p") / "a.fits"
    random = np.random.default_rng(seed)
    flags = random.integers(0, 2, (rows, columns)).astype("u2") * 4
    data = random.normal(0, 1e4, (rows, columns)).astype("f4")
    write(path, cards=header(OBJECT=text), images=(data, data**2, flags))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True) as hdus:
            np.testing.assert_array_equal(hdus[0].data, data)
            np.testing.assert_array_equal(hdus["DQ"].data, flags)


def test_dq_tells_every_reason_and_its_header_the_meaning(tmp_path):
    path = write(tmp_path / "a.fits")
    _, _, flags = some_images()
    with fits.open(path) as hdus:
        plane = hdus["DQ"]
        assert plane.data.dtype == np.uint16
        np.testing.assert_array_equal(plane.data, flags)
        for meaning, bit in DQ_BITS.items():
            assert plane.header[f"DQBIT{bit.bit_length() - 1}"] == meaning
            assert plane.header.comments[f"DQBIT{bit.bit_length() - 1}"] == f"bit {bit}"
    assert DQ_BITS == {
        "bad pixel": 1,
        "non-linear": 2,
        "saturated": 4,
        "cosmic ray": 8,
        "no data": 16,
        "unilluminated": 64,
        "no flat": 128,
        "hot": 256,
    }


@pytest.mark.parametrize("meaning", DQ_BITS)
def test_the_mask_leaves_out_hot_and_hardly_non_linear_pixels(tmp_path, meaning):
    data, variance, flags = some_images()
    flags[:] = DQ_BITS[meaning]
    path = write(tmp_path / "a.fits", images=(data, variance, flags))
    wanted = meaning not in ("hot", "non-linear")
    assert bool(fits.getdata(path, "MASK").all()) is wanted
    assert bool(fits.getdata(path, "MASK").any()) is wanted


def test_a_band_without_flags_is_good(tmp_path):
    data, variance, _ = some_images()
    with ProductFile(tmp_path / "a.fits", header(), SHAPE, True, INPUTS) as out:
        out.write(0, Band(data, variance))
        out.finish()
    assert not fits.getdata(tmp_path / "a.fits", "DQ").any()
    assert not CCDData.read(tmp_path / "a.fits").mask.any()


def test_the_provenance_names_every_file_its_sha256_and_its_role(tmp_path):
    inputs = [("darks/d 1.fits", "ab" * 32, "dark"), ("nächte\n.fits", SHA, "dark")]
    path = write(tmp_path / "a.fits", inputs=inputs)
    table = fits.getdata(path, "PROVENANCE")
    assert table.names == ["file", "sha256", "role"]
    assert list(table["file"]) == ["darks/d 1.fits", "n\\xe4chte\\x0a.fits"]
    assert list(table["sha256"]) == ["ab" * 32, SHA]
    assert list(table["role"]) == ["dark", "dark"]
    verify(path)


def test_a_product_of_nothing_has_an_empty_provenance(tmp_path):
    path = write(tmp_path / "a.fits", inputs=[])
    assert len(fits.getdata(path, "PROVENANCE")) == 0
    verify(path)


# The same bytes, whatever the order.


def test_the_bytes_do_not_depend_on_bands_nor_on_threads(tmp_path):
    whole = write(tmp_path / "whole.fits", step=12).read_bytes()
    for seed in range(4):
        path = write(tmp_path / f"{seed}.fits", order=random.Random(seed))
        assert path.read_bytes() == whole
    data, variance, flags = some_images((400, 10))
    wanted = write(tmp_path / "b.fits", step=400, images=(data, variance, flags)).read_bytes()
    with ProductFile(tmp_path / "c.fits", header(), (400, 10), True, INPUTS) as out:
        threads = [
            threading.Thread(
                target=out.write,
                args=(a, Band(data[a : a + 20], variance[a : a + 20], flags[a : a + 20])),
            )
            for a in range(0, 400, 20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        out.finish()
    assert (tmp_path / "c.fits").read_bytes() == wanted


def test_nothing_of_the_hour_or_the_path_is_in_the_bytes(tmp_path):
    first = write(tmp_path / "a.fits").read_bytes()
    assert write(tmp_path / "sub" / "b.fits").read_bytes() == first
    assert str(tmp_path).encode() not in first


# Whole or nothing.


def test_until_it_is_whole_a_product_has_a_hidden_temporary_name(tmp_path):
    data, variance, flags = some_images()
    with ProductFile(tmp_path / "a.fits", header(), SHAPE, True, INPUTS) as out:
        out.write(0, Band(data, variance, flags))
        (temporary,) = tmp_path.iterdir()
        assert temporary.name.startswith(".a.fits.")
        assert temporary.name.endswith(".tmp")
        out.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]


def test_an_error_midway_leaves_no_file_and_the_old_one_as_it_was(tmp_path):
    data, variance, flags = some_images()

    def fails():
        with ProductFile(tmp_path / "a.fits", header(), SHAPE, True, INPUTS) as out:
            out.write(0, Band(data[:4], variance[:4], flags[:4]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert list(tmp_path.iterdir()) == []
    before = write(tmp_path / "a.fits").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        fails()
    assert (tmp_path / "a.fits").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("call", ["pwrite", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_product_and_says_so(tmp_path, monkeypatch, call):
    path = write(tmp_path / "a.fits")
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(products.os, call, full)
    how = r"a\.fits cannot be written \(No space left on device\); make room .* finished stays\."
    with pytest.raises(OutputError, match=how):
        write(path, images=some_images(seed=1))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]


def test_a_file_is_not_closed_while_it_is_being_put_on_the_disk(tmp_path, monkeypatch):
    real, synced = products.os.fsync, []

    def slow(descriptor):
        time.sleep(0.2)
        real(descriptor)
        synced.append(descriptor)

    def unreadable(path):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(products.os, "fsync", slow)
    monkeypatch.setattr(products, "sha256_of", unreadable)
    data, variance, flags = some_images()
    out = ProductFile(tmp_path / "a.fits", header(), SHAPE, True, INPUTS)
    out.write(0, Band(data, variance, flags))
    with pytest.raises(OutputError, match="Input/output error"):
        out.finish_hashed()
    assert len(synced) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_hash_is_that_of_the_file(tmp_path):
    data, variance, flags = some_images()
    with ProductFile(tmp_path / "a.fits", header(), SHAPE, True, INPUTS) as out:
        out.write(0, Band(data, variance, flags))
        told = out.finish_hashed()
    assert told == hashlib.sha256((tmp_path / "a.fits").read_bytes()).hexdigest()


def test_a_product_with_missing_rows_is_not_finished(tmp_path):
    data, variance, flags = some_images()
    out = ProductFile(tmp_path / "a.fits", header(), SHAPE, True, INPUTS)
    out.write(0, Band(data[:8], variance[:8], flags[:8]))
    with pytest.raises(ValueError, match="8 of 12 rows were written"), out:
        out.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        ProductFile(tmp_path / "file" / "a.fits", header(), SHAPE, True, INPUTS)


def test_a_text_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / "report" / "a.html"
    path.parent.mkdir()
    write_text(path, "half a character: \ud800")
    assert path.read_text("utf-8") == "half a character: \\ud800"
    write_text(path, "first – ä\n")
    assert path.read_text("utf-8") == "first – ä\n"

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(products.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_text(path, "second")
    monkeypatch.undo()
    assert path.read_text("utf-8") == "first – ä\n"
    assert [p.name for p in path.parent.iterdir()] == ["a.html"]


# Read again.


def test_a_saved_product_of_the_same_bytes_is_the_same(tmp_path):
    """A cluster that lost an answer made a master once more, and its frames were given up."""
    path = write(tmp_path / "a.fits", cards=header(CPKEY="abc"))
    saved = SavedProduct(path, sha256_of(path))
    sent, late = pickle.dumps(saved), SavedProduct(path, sha256_of(path))
    other = shutil.copy(path, tmp_path / "b.fits")
    os.utime(other, ns=(1, 1))
    os.replace(other, path)
    saved.refuse_changed()
    assert pickle.loads(sent).band(0, 2).data.shape[0] == 2
    assert late.band(0, 2).data.shape[0] == 2
    fits.setval(path, "OBJECT", value="another")
    for product in (saved, pickle.loads(sent)):
        with pytest.raises(FrameRejected, match="was removed or replaced"):
            product.refuse_changed()


def test_a_saved_product_is_read_in_bands(tmp_path):
    path = write(tmp_path / "a.fits", cards=header(CPKEY="abc"))
    data, variance, flags = some_images()
    saved = SavedProduct(path)
    assert saved.shape == SHAPE
    assert saved.header["CPKEY"] == "abc"
    band = saved.band(3, 9)
    np.testing.assert_array_equal(band.data, data[3:9])
    np.testing.assert_allclose(band.variance, variance[3:9], rtol=1e-6)
    np.testing.assert_array_equal(band.flags, flags[3:9])
    assert band.data.dtype.isnative
    assert saved.band(10, 12).flags is None


def test_a_product_is_known_by_its_key_unless_it_is_cut(tmp_path):
    path = write(tmp_path / "a.fits", cards=header(CPKEY="abc"))
    assert check_product(path).header["CPKEY"] == "abc"
    path.write_bytes(path.read_bytes()[:-2880])
    assert check_product(path).faults == ("its PROVENANCE is damaged, cut off or missing",)
    assert check_product(tmp_path / "nothing.fits").faults == ("it is gone",)
    with pytest.raises(FrameRejected):
        SavedProduct(path)


def test_a_key_depends_on_every_part_and_not_on_their_order():
    one = product_key({"a": 1, "b": (2, "x")})
    assert one == product_key({"b": (2, "x"), "a": 1})
    assert len({one, product_key({"a": 1, "b": (2, "y")}), product_key({"a": 1})}) == 3


def test_the_sha256_is_that_of_the_file(tmp_path):
    path = write(tmp_path / "a.fits")
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


# Cards of the raw frame.


def block(*lines):
    return b"".join(
        (line if isinstance(line, bytes) else line.encode()).ljust(80)[:80] for line in lines
    )


def joined(header, more):
    """Both headers in one."""
    for card in more.cards if isinstance(more, fits.Header) else more.as_fits().cards:
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
    assert copied.as_fits().comments["OBJECT"] == "target"


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


def test_a_card_that_fits_does_not_allow_is_left_behind_and_the_others_stay(tmp_path):
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
def test_each_hostile_card_alone_leaves_a_valid_product(tmp_path, line):
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
    for card in copied.as_fits().cards:
        card.verify("exception")


@pytest.mark.parametrize("fixture", HEADERS, ids=lambda p: p.stem)
def test_the_headers_of_real_instruments_make_valid_products(tmp_path, fixture):
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
def test_real_frames_make_valid_products(tmp_path, real):
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


# The cards of a master.


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


# World coordinates.


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
    here = WCS(after.as_fits()).pixel_to_world(22, 22)
    assert there.separation(here) < 1e-9 * u.arcsec


def test_a_second_set_of_coordinates_follows_too_and_other_cards_do_not():
    made = header(CRPIX1=10.0, CRPIX1A=20.0, CRPIX2="north", CRPIX12=5.0)
    shift_wcs(made, 8, 3)
    assert made["CRPIX1"] == 2
    assert made["CRPIX1A"] == 12
    assert made["CRPIX2"] == "north"
    assert made["CRPIX12"] == 5
    shift_wcs(made, 0, 0)
    assert made["CRPIX1"] == 2


# Small things.


def test_mjd_is_written_beside_a_date():
    made = header(**{"DATE-OBS": "2018-08-23T08:49:30", "DATE-END": "2018-08-23T12:00:00"})
    add_mjd(made)
    assert made["MJD-OBS"] == pytest.approx(58353.367708333)
    assert made["MJD-END"] == 58353.5
    before = made.text()
    add_mjd(made)
    assert made.text() == before


@pytest.mark.parametrize("date", ["16/01/16", "yesterday", "", "2016-13-45", 2016])
def test_a_date_that_is_none_gives_no_mjd(date):
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


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=75)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**9), 10**9).map(lambda n: n / 10**4),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
def test_a_card_is_written_as_astropy_writes_it(value, comment):
    made = ProductHeader()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)  # of comments that are cut
        made["CPKEY"] = (value, comment)
        assert made.text() == str(fits.Card("CPKEY", value, comment))


def test_cards_that_frames_share_keep_their_places_when_they_are_added():
    made, shared = ProductHeader(), ProductHeader()
    made["TRIM"] = ("no", "of the camera")
    made["EXPTIME"] = 3.0
    made.add_history("first")
    shared["TRIM"] = ("[1:4, 1:4]", "data sections kept")
    shared["CPKEY"] = ("", "hash of all that went in")
    shared.add_history("second")
    for _ in range(2):
        # The shared ones stay as they are.
        header = ProductHeader()
        header.update(made)
        header.update(shared)
        assert list(header) == ["TRIM", "EXPTIME", "CPKEY"]
        assert header["TRIM"] == "[1:4, 1:4]"
        assert header.text().count("HISTORY") == 2


@pytest.mark.parametrize("number", [5, 45, 50, 60, 66, 67, 90])
@pytest.mark.parametrize("keyword", ["CPFILT", "ESO DET OUT1 FILTER"])
def test_a_comment_that_does_not_fit_is_cut_without_a_warning(keyword, number):
    """A filter may have a long name, and astropy says that its card is too long."""
    header = ProductHeader()
    header[keyword] = ("x" * number, "filter, as the profile reads it")
    assert header[keyword] == "x" * number
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = fits.Header()
        wanted[f"HIERARCH {keyword}" if " " in keyword else keyword] = (
            "x" * number,
            "filter, as the profile reads it",
        )
        text = wanted.tostring(endcard=False, padding=False)
    assert header.text().rstrip(" /") == text.rstrip(" /")
