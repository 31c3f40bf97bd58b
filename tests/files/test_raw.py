"""Raw files: cards that survive broken neighbours, and pixels band by band."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdprofiles.errors import FrameRejected
from ccdprofiles.files import cards as cards_module
from ccdprofiles.files import hdus as hdus_module
from ccdprofiles.files import pixels as pixels_module
from ccdprofiles.files import raw as raw_module
from ccdprofiles.files.cards import Cards
from ccdprofiles.files.pixels import Pixels
from ccdprofiles.files.raw import read_raw

REAL = Path(
    os.environ.get("CCDPROFILES_REALDATA", Path(__file__).parents[2] / ".." / "shared" / "realdata")
)
REAL_FILES = sorted(p for p in REAL.rglob("*.fi*") if p.suffix in (".fits", ".fit"))


def cards(*lines, primary=None):
    octets = (line if isinstance(line, bytes) else line.encode() for line in lines)
    return Cards(b"".join(o.ljust(80)[:80] for o in octets), primary)


def value(line):
    return cards(line)["KEY"]


@pytest.fixture(autouse=True)
def nothing_is_written(tmp_path):
    """Hold every file of a test against what it was when it was last made on purpose."""
    yield
    for path in tmp_path.rglob("*"):
        assert not path.name.endswith(".tmp")


# Cards.


@pytest.mark.parametrize(
    ("card", "wanted"),
    [
        ("KEY     =                    3 / three", 3),
        ("KEY     = -3", -3),
        ("KEY     =                300.0 / [s]", 300.0),
        ("KEY     =              1.5E-02", 0.015),
        ("KEY     =              1.5D+03 / of FORTRAN", 1500.0),
        ("KEY     =              1.5d+03", 1500.0),
        ("KEY     = .5", 0.5),
        ("KEY     =                    T", True),
        ("KEY     = F / false", False),
        ("KEY     = 'M 31    '           / target", "M 31"),
        ("KEY     = '  M 31'", "  M 31"),
        ("KEY     = 'g'''", "g'"),
        ("KEY     = 'O''Brien''s'", "O'Brien's"),
        ("KEY     = 'a / b'   / c", "a / b"),
        ("KEY     = ''", ""),
        ("KEY     =", None),
        ("KEY     = / no value", None),
        ("KEY     ='tight'", "tight"),
        ("KEY     = 1_000", "1_000"),
        ("KEY     = 12:30:45", "12:30:45"),
        ("KEY     = 300.0.0", "300.0.0"),
        ("KEY     = 'no end of this text", "no end of this text"),
        ("KEY     = 123456789012345678901", 123456789012345678901),
    ],
)
def test_a_card_is_parsed(card, wanted):
    found = value(card)
    assert found == wanted
    assert type(found) is type(wanted)


def test_a_card_that_is_not_ascii_costs_itself():
    made = cards(b"KEY     = 'M\xfcller'", "OTHER   = 3", b"\xff\xfe  = 3", "LAST    = 4")
    assert made["KEY"] == "M\ufffdller"
    assert (made["OTHER"], made["LAST"]) == (3, 4)


def test_texts_go_on_in_continue_cards():
    made = cards(
        "KEY     = 'one &'",
        "CONTINUE  'two &'",
        "CONTINUE  'three' / a comment",
        "OTHER   = 3",
    )
    assert made["KEY"] == "one two three"
    assert made["OTHER"] == 3
    header = fits.Header()
    header["LONG"] = "it's a long text " * 20
    assert Cards(header.tostring().encode())["LONG"] == header["LONG"].rstrip()


def test_keywords_of_eso_are_found_with_and_without_hierarch():
    made = cards("HIERARCH ESO DET CHIP1 NAME = 'a=b' / c", "HIERARCH ESO DET GAIN=1.5")
    assert made["ESO DET CHIP1 NAME"] == made["HIERARCH ESO DET CHIP1 NAME"] == "a=b"
    assert made["eso det gain"] == 1.5
    assert "HIERARCH ESO DET GAIN" in made
    assert "ESO DET" not in made


def test_keywords_are_compared_without_case():
    made = cards("KEY     = 3")
    assert made["key"] == made["Key"] == 3
    assert "kEY" in made


def test_of_a_keyword_that_stands_twice_the_first_counts():
    made = cards("KEY     = 1", "KEY     = 2", "SAME    = 1", "SAME    = 1")
    assert made["KEY"] == 1
    assert made["SAME"] == 1


def test_a_keyword_conflicts_where_its_values_differ_and_it_counts():
    primary = cards("ONE     = 1", "ONE     = 2", "TWO     = 1 / a", "TWO     = 1.0 / b")
    above = cards("SIX     = 6", "SIX     = 7", "TWO     = 3", primary=primary)
    assert primary.conflicting == {"ONE"}
    assert above.conflicting == {"SIX"}
    said = {name: above.conflicts(name) for name in ("one", "TWO", "HIERARCH SIX", "NONE")}
    assert said == {"one": True, "TWO": False, "HIERARCH SIX": True, "NONE": False}
    # Below, where the image says nothing of its own.
    assert not cards("ONE     = 1", primary=primary).conflicts("ONE")


def test_what_a_terminal_would_obey_is_not_handed_on():
    assert value(b"KEY     = 'a\x1b[31m\x00\xe9'") == "a\ufffd[31m\ufffd\ufffd"


def test_a_text_without_end_is_cut():
    more = ["CONTINUE  '" + "y" * 60 + "&'"] * 10000
    assert cards("KEY     = 'x&'", *more)["KEY"] == "x" + "y" * (cards_module.TEXT_LIMIT - 1)


def test_comments_histories_and_blanks_are_no_keywords():
    made = cards(
        "COMMENT KEY     = 3", "HISTORY = 4", "        = 5", "KEY     = 6", "WORDS and = 7"
    )
    assert list(made) == ["KEY"]
    assert len(made) == 1


def test_a_missing_card_is_a_key_error_and_an_empty_one_is_missing_to_get():
    made = cards("EMPTY   =")
    with pytest.raises(KeyError, match="NOTHING is missing"):
        made["NOTHING"]
    assert made.get("NOTHING") is None
    assert made.get("NOTHING", 3) == made.get("EMPTY", 3) == 3
    assert "EMPTY" in made


def test_cards_of_an_image_lie_over_those_of_the_primary_header():
    primary = cards("OBJECT  = 'M 31'", "EXPTIME = 1.0")
    made = cards("EXPTIME = 30.0", primary=primary)
    assert (made["EXPTIME"], made["OBJECT"]) == (30, "M 31")
    assert "OBJECT" in made
    assert sorted(made) == ["EXPTIME", "OBJECT"]
    assert len(made) == 2


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=90)
values = st.one_of(
    st.integers(-(10**15), 10**15),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,7}", fullmatch=True), values, max_size=8))
def test_cards_that_astropy_wrote_are_read_as_astropy_reads_them(drawn):
    kept = {k: v for k, v in drawn.items() if k not in ("COMMENT", "HISTORY", "END", "CONTINUE")}
    header = fits.Header(list(kept.items()))
    wanted = fits.Header.fromstring(header.tostring())
    made = Cards(header.tostring().encode())
    for keyword in kept:
        if keyword in wanted:
            theirs = wanted[keyword]
            assert made[keyword] == (theirs.rstrip() if isinstance(theirs, str) else theirs)


@given(st.binary(max_size=400))
def test_no_bytes_make_the_cards_fail(octets):
    made = Cards(octets)
    for keyword in made:
        made.get(keyword)


# Files.


def write(path, data, header=None, **cards):
    header = fits.Header() if header is None else header
    for card, said in cards.items():
        header[card] = said
    fits.PrimaryHDU(data, header).writeto(path)
    return path


def everything(path, dtype="f4"):
    raw = read_raw(path)
    with Pixels(raw) as pixels:
        image = raw.images[0]
        return pixels.rows(image, 0, image.shape[0], dtype)


def refused(path):
    with pytest.raises(FrameRejected) as error:
        everything(path)
    return error.value.code, str(error.value)


def noise(seed=0, shape=(13, 7), dtype="u2"):
    return np.random.default_rng(seed).integers(0, 60000, shape).astype(dtype)


def test_a_file_is_described_without_its_pixels(tmp_path):
    raw = read_raw(write(tmp_path / "a.fits", noise(), EXPTIME=30.0))
    (image,) = raw.images
    assert (image.shape, image.bitpix, image.bzero, image.offset) == ((13, 7), 16, 32768, 2880)
    assert raw.header["EXPTIME"] == 30
    assert raw.shapes == {None: (13, 7), 0: (13, 7)}
    assert (raw.gzipped, raw.padded) == (False, True)


def test_a_header_of_many_blocks_is_read_to_its_end(tmp_path):
    header = fits.Header([(f"KEY{n}", n) for n in range(400)])
    raw = read_raw(write(tmp_path / "a.fits", noise(), header))
    assert raw.header["KEY399"] == 399
    np.testing.assert_array_equal(everything(tmp_path / "a.fits"), noise())


@pytest.mark.parametrize("number", [31, 32, 33])
def test_the_end_may_lie_on_the_edge_of_a_block(tmp_path, number):
    header = fits.Header([(f"KEY{n}", n) for n in range(number)])
    write(tmp_path / "a.fits", noise(dtype="i2"), header)
    np.testing.assert_array_equal(everything(tmp_path / "a.fits"), noise(dtype="i2"))


def test_a_card_that_begins_with_end_is_not_the_end(tmp_path):
    header = fits.Header([("ENDTIME", 3), ("COMMENT", "END" + " " * 60)])
    assert read_raw(write(tmp_path / "a.fits", noise(), header)).header["ENDTIME"] == 3


def test_a_short_last_block_is_good_enough(tmp_path):
    path = write(tmp_path / "a.fits", noise())
    path.write_bytes(path.read_bytes()[: 2880 + 13 * 7 * 2])
    assert read_raw(path).padded is False
    np.testing.assert_array_equal(everything(path), noise())


@pytest.mark.parametrize("extra", [b"\0" * 2880, b"rubbish" * 500])
def test_what_follows_the_last_hdu_is_left_alone(tmp_path, extra):
    path = write(tmp_path / "a.fits", noise())
    path.write_bytes(path.read_bytes() + extra)
    np.testing.assert_array_equal(everything(path), noise())


@pytest.mark.parametrize("name", ["a.fits.gz", "a.fits"])
def test_a_gzipped_file_is_told_by_its_bytes(tmp_path, name):
    path = write(tmp_path / "x.fits", noise())
    (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    assert read_raw(tmp_path / name).gzipped
    np.testing.assert_array_equal(everything(tmp_path / name), noise())


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1"])
@pytest.mark.parametrize("dtype", ["i2", "u2"])
def test_a_tile_compressed_image_is_unpacked(tmp_path, kind, dtype):
    data = noise(dtype=dtype) // 4
    fits.CompImageHDU(data, compression_type=kind, name="SCI").writeto(tmp_path / "a.fits.fz")
    raw = read_raw(tmp_path / "a.fits.fz")
    assert raw.images[0].packed
    assert raw.images[0].shape == (13, 7)
    np.testing.assert_array_equal(everything(tmp_path / "a.fits.fz"), data)


@pytest.mark.parametrize(
    ("card", "code"),
    [
        (b"BLANK   =                    3", None),  # of real numbers, which have none
        (b"ZVAL1   =                   99", "tiles"),  # the decoder finds bytes that are too many
    ],
)
def test_what_astropy_warns_of_in_tiles_decides_or_is_silent(tmp_path, card, code):
    path = tmp_path / "a.fits"
    data = np.random.default_rng(1).integers(0, 1000, (40, 50))
    data = data.astype("f4" if code is None else "i2")
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, compression_type="RICE_1")]).writeto(
        path
    )
    octets = path.read_bytes()
    start = octets.index(b"XTENSION= 'BINTABLE'")
    place = octets.find(card[:9], start)
    end = octets.index(b"END" + b" " * 77, start)
    if place < 0:
        octets = octets[:end] + card.ljust(80) + octets[end : end + 80] + octets[end + 160 :]
    else:
        octets = octets[:place] + card.ljust(80) + octets[place + 80 :]
    path.write_bytes(octets)
    if code is None:
        found = everything(path)
        known = np.isfinite(found)
        assert known.mean() > 0.9
        np.testing.assert_allclose(found[known], data[known], atol=100)
        return
    with pytest.raises(FrameRejected, match="cannot be unpacked") as refused:
        everything(path)
    assert refused.value.code == code


def test_a_tile_compressed_image_of_one_row_keeps_its_row(tmp_path):
    fits.CompImageHDU(noise(shape=(1, 90))).writeto(tmp_path / "a.fits.fz")
    np.testing.assert_array_equal(everything(tmp_path / "a.fits.fz"), noise(shape=(1, 90)))


def test_a_file_of_several_images_is_read_by_extension(tmp_path):
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(noise(n), name=f"IM{n}") for n in (1, 2))]
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])])
    fits.HDUList([hdus[0], hdus[1], table, hdus[2]]).writeto(tmp_path / "a.fits")
    raw = read_raw(tmp_path / "a.fits")
    assert raw.shapes == {1: (13, 7), "IM1": (13, 7), 3: (13, 7), "IM2": (13, 7)}
    with Pixels(raw) as pixels:
        for wanted in (2, "IM2"), (2, 3), (1, "IM1"), (1, None):
            image = raw.image(wanted[1])
            np.testing.assert_array_equal(pixels.rows(image, 0, 13), noise(wanted[0]))
    with pytest.raises(KeyError):
        raw.image("IM3")


def test_an_extension_does_not_take_its_name_from_the_primary_header(tmp_path):
    primary = fits.PrimaryHDU(header=fits.Header([("EXTNAME", "MAIN")]))
    fits.HDUList([primary, fits.ImageHDU(noise())]).writeto(tmp_path / "a.fits")
    assert read_raw(tmp_path / "a.fits").images[0].name == ""


# Files that are none.


def card_of(path, keyword, said):
    octets = path.read_bytes()
    where = octets.index(keyword.ljust(8).encode() + b"=")
    path.write_bytes(
        octets[:where] + f"{keyword:8}= {said:>20}".ljust(80).encode() + octets[where + 80 :]
    )
    return path


@pytest.mark.parametrize(
    ("keyword", "said", "code"),
    [
        ("NAXIS", "999", "naxis"),
        ("NAXIS", "-2", "naxis"),
        ("NAXIS", "'two'", "naxis"),
        ("NAXIS1", "-7", "naxis"),
        ("NAXIS1", "'wide'", "naxis"),
        ("NAXIS1", "0", "no-image"),
        ("BITPIX", "17", "bitpix"),
        ("BITPIX", "16.5", "bitpix"),
        ("NAXIS1", "2000000000", "truncated"),
        ("NAXIS1", "99999999999999999999", "truncated"),
    ],
)
def test_a_header_that_cannot_be_is_refused(tmp_path, keyword, said, code):
    path = write(tmp_path / "a.fits", noise())
    assert refused(card_of(path, keyword, said))[0] in (code, "too-big")


def test_more_pixels_than_anyone_has_are_refused_before_they_are_asked_for(tmp_path):
    header = fits.PrimaryHDU(np.zeros((2, 2), "u1")).header
    header["NAXIS1"], header["NAXIS2"] = 200000, 200000
    path = tmp_path / "a.fits"
    path.write_bytes(gzip.compress(header.tostring().encode()))
    code, sentence = refused(path)
    assert (code, sentence) == (
        "too-big",
        "it declares 200000 x 200000 pixels, more than the 2147483648 that a frame may have; "
        "copy it again from the camera, or correct its header.",
    )


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("keyword", "said"), [("PCOUNT", "-90000"), ("GCOUNT", "-1"), ("GCOUNT", "0")]
)
def test_a_count_that_cannot_be_is_refused(tmp_path, keyword, said, packed):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(noise())]).writeto(path)
    card_of(path, keyword, said)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert refused(path)[0] == "fits"


@pytest.mark.parametrize("said", ["-7", "99999999999", "'wide'"])
def test_a_tile_compressed_image_of_a_size_that_cannot_be_is_refused(tmp_path, said):
    path = tmp_path / "a.fits.fz"
    fits.CompImageHDU(noise(shape=(130, 70))).writeto(path)
    octets = path.read_bytes()
    assert b"ZNAXIS1 =" in octets
    assert refused(card_of(path, "ZNAXIS1", said))[0] in ("naxis", "too-big")


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"", "empty"),
        (b"hello", "not-fits"),
        (b"\0" * 5760, "not-fits"),
        (b"\xff\xd8\xff\xe0 JFIF", "not-fits"),
        (b"\x1f\x8b", "gzip"),
        (b"\x1f\x8b\x08\x00" + b"x" * 50, "gzip"),
        (b"SIMPLE  =                    T".ljust(80), "fits"),
        (b"SIMPLE  =                    T".ljust(80) + b" " * 80 * 40000, "fits"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, octets, code):
    (tmp_path / "a.fits").write_bytes(octets)
    assert refused(tmp_path / "a.fits")[0] == code


def test_a_header_of_no_end_is_not_read_for_ever(tmp_path):
    lines = b"KEY     = 3".ljust(80) * (hdus_module.HEADER_LIMIT // 80 + 9000)
    (tmp_path / "a.fits").write_bytes(b"SIMPLE  =                    T".ljust(80) + lines)
    code, sentence = refused(tmp_path / "a.fits")
    assert (code, sentence) == (
        "fits",
        f"its header is longer than {hdus_module.HEADER_LIMIT} bytes, more than any camera "
        "writes; copy it again, or take it out of the night.",
    )


@pytest.mark.parametrize("length", [2880, 3000, 2880 + 13 * 7 * 2 - 1])
def test_a_truncated_file_is_refused_from_its_header(tmp_path, length):
    path = write(tmp_path / "a.fits", noise())
    path.write_bytes(path.read_bytes()[:length])
    assert refused(path) == (
        "truncated",
        f"its header promises 3062 bytes and it has {length}; copy it again from the camera.",
    )
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert refused(path)[0] == "truncated"


def test_a_second_image_that_was_cut_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(noise()), fits.ImageHDU(noise())]).writeto(path)
    path.write_bytes(path.read_bytes()[:-2900])
    assert refused(path)[0] == "truncated"


def test_a_file_that_was_cut_after_its_header_was_read_is_refused(tmp_path):
    path = write(tmp_path / "a.fits", noise())
    raw = read_raw(path)
    path.write_bytes(path.read_bytes()[:2900])
    with Pixels(raw) as pixels, pytest.raises(FrameRejected) as error:
        pixels.rows(raw.images[0], 0, 13)
    assert error.value.code == "changed"


def test_a_gzip_that_would_fill_the_disk_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels_module, "HEADER_LIMIT", 2880)
    path = tmp_path / "a.fits.gz"
    pixels = np.tile(noise(shape=(420, 420), dtype="u1"), (10, 10))
    fits.PrimaryHDU(pixels).writeto(tmp_path / "x.fits")
    path.write_bytes(gzip.compress((tmp_path / "x.fits").read_bytes() + bytes(2**22)))
    code, sentence = refused(path)
    promised = 2880 + 4200 * 4200
    wanted = (
        f"it unpacks to more than the {promised} bytes that its headers promise; "
        "take it out of the night, or unpack it."
    )
    assert (code, sentence) == ("gzip", wanted)


def test_a_gzipped_image_may_have_a_large_table_behind_it(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels_module, "HEADER_LIMIT", 4 * 2880)
    column = fits.Column("a", "J", array=np.random.default_rng(1).integers(0, 2**30, 20000))
    hdus = [fits.PrimaryHDU(noise()), fits.BinTableHDU.from_columns([column])]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    path = tmp_path / "b.fits.gz"
    path.write_bytes(gzip.compress((tmp_path / "a.fits").read_bytes()))
    assert (everything(path) == noise()).all()


def summed(path, data):
    fits.HDUList([fits.PrimaryHDU(data)]).writeto(path, checksum=True)
    return path


@pytest.mark.parametrize("packing", ["plain", "gzip"])
@pytest.mark.parametrize("shape", [(13, 7), (13, 8), (1, 1)])
def test_pixels_are_held_against_datasum(tmp_path, shape, packing, monkeypatch):
    monkeypatch.setattr(pixels_module, "PIECE", 64)
    path = summed(tmp_path / "a.fits", noise(shape=shape))
    wanted = int(fits.getheader(path)["DATASUM"])
    octets = path.read_bytes()
    for wrong in (False, True):
        if wrong:
            octets = octets[:2881] + bytes([octets[2881] ^ 1]) + octets[2882:]
        path.write_bytes(gzip.compress(octets) if packing == "gzip" else octets)
        raw = read_raw(path)
        with Pixels(raw) as pixels:
            if not wrong:
                assert pixels.datasum(raw.images[0]) == wanted
                assert sum(len(band) for _, _, band in pixels.bands(hashlib.sha256())) == shape[0]
                continue
            for read in (
                lambda pixels: pixels.datasum(pixels.raw.images[0]),
                lambda pixels: list(pixels.bands(hashlib.sha256())),
            ):
                with pytest.raises(FrameRejected) as refusal:
                    read(pixels)
                assert refusal.value.code == "checksum"
                assert str(refusal.value).startswith(f"DATASUM = {wanted} in its header and ")


@pytest.mark.parametrize("piece", [4, 64, 2**20])
@pytest.mark.parametrize("packing", ["plain", "gzip", "tiles"])
def test_a_file_is_read_once_for_its_digest_its_sums_and_its_rows(
    tmp_path, packing, piece, monkeypatch
):
    monkeypatch.setattr(pixels_module, "PIECE", piece)
    monkeypatch.setattr(pixels_module, "_ROWS", 5)
    path = tmp_path / "a.fits"
    kind = fits.CompImageHDU if packing == "tiles" else fits.ImageHDU
    given = [noise(1, (13, 7)), noise(2, (9, 70)), noise(3, (1, 1))]
    cube = fits.ImageHDU(np.stack([given[0], given[0] + 1]))
    hdus = [fits.PrimaryHDU(), *map(kind, given[:2]), cube, fits.ImageHDU(given[2])]
    fits.HDUList(hdus).writeto(path, checksum=True)
    if packing == "gzip":
        path.write_bytes(gzip.compress(path.read_bytes()))
    digest = hashlib.sha256()
    raw = read_raw(path)
    found = {image.index: [] for image in raw.images}
    with Pixels(raw) as pixels:
        for image, first, band in pixels.bands(digest):
            assert first == sum(map(len, found[image.index]))
            found[image.index].append(pixels_module.physical(band, image))
    assert digest.hexdigest() == hashlib.sha256(path.read_bytes()).hexdigest()
    for bands, data in zip(found.values(), [*given[:2], given[0], given[2]], strict=True):
        np.testing.assert_array_equal(np.concatenate(bands), data)


def test_some_rows_of_a_band():
    band = np.arange(10, 20)[:, np.newaxis]
    for rows, start, held in (
        (slice(0, 12), 10, [10, 11]),
        (slice(12, 15), 0, [12, 13, 14]),
        (slice(5, 30), 5, list(range(10, 20))),
        (slice(0, 10), None, []),
        (slice(20, 30), None, []),
    ):
        found, part = pixels_module.rows_of(band, 10, rows)
        assert part[:, 0].tolist() == held
        assert not held or found == start


@pytest.mark.parametrize("said", ["'none'", "''", "-5", "1.5", "'99999999999'"])
def test_a_datasum_that_is_no_sum_is_none(tmp_path, said):
    path = card_of(summed(tmp_path / "a.fits", noise()), "DATASUM", said)
    assert read_raw(path).images[0].datasum is None


def test_a_file_is_known_by_its_size_and_time(tmp_path):
    path = write(tmp_path / "a.fits", noise())
    raw = read_raw(path)
    raw_module.refuse_changed(raw)
    os.utime(path, ns=(raw.mtime_ns, raw.mtime_ns + 1))
    with pytest.raises(FrameRejected) as refusal:
        raw_module.refuse_changed(raw)
    assert refusal.value.code == "changed"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_file_with_any_bytes_changed_is_read_or_refused(tmp_path_factory, data):
    """Whatever is wrong, it is a refusal, and no other error."""
    path = tmp_path_factory.mktemp("r") / "a.fits"
    hdus = [fits.PrimaryHDU(noise()), fits.ImageHDU(noise(1)), fits.CompImageHDU(noise(2))]
    fits.HDUList(hdus).writeto(path)
    octets = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    octets = octets[: data.draw(st.integers(len(octets) // 2, len(octets)))]
    path.write_bytes(octets)
    refused = None
    try:
        raw = read_raw(path)
        with Pixels(raw) as pixels:
            for image in raw.images:
                if image.planes == 1 and np.prod(image.shape) < 1e6:
                    pixels.rows(image, 0, image.shape[0])
    except FrameRejected as error:
        refused = error
    assert refused is None or (refused.code and str(refused).endswith("."))


# Pixels.

PIXELS = {
    "u1": (8, {}),
    "u2": (16, {}),
    "i2": (16, {}),
    "i4": (32, {}),
    "u4": (32, {}),
    "f4": (-32, {}),
    "f8": (-64, {}),
}


@pytest.mark.parametrize("dtype", PIXELS)
@pytest.mark.parametrize("wanted", ["f4", "f8"])
def test_pixels_of_every_type_are_read_as_native_floats(tmp_path, dtype, wanted):
    random = np.random.default_rng(3)
    if dtype[0] == "f":
        data = random.normal(0, 1e3, (13, 7)).astype(dtype)
        data[3, 4] = np.nan
    else:
        ends = np.iinfo(dtype)
        data = random.integers(ends.min, ends.max, (13, 7), dtype=dtype, endpoint=True)
        data[0, :2] = ends.min, ends.max
    path = write(tmp_path / "a.fits", data)
    assert read_raw(path).images[0].bitpix == PIXELS[dtype][0]
    found = everything(path, wanted)
    assert found.dtype == np.dtype(wanted)
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, data.astype(wanted))
    np.testing.assert_array_equal(everything(path, wanted), fits.getdata(path).astype(wanted))


@pytest.mark.parametrize("bitpix", [8, 16, 32])
def test_bscale_bzero_and_blank_are_applied(tmp_path, bitpix):
    stored = np.arange(91).reshape(13, 7).astype({8: "u1", 16: "i2", 32: "i4"}[bitpix])
    hdu = fits.PrimaryHDU(stored)
    hdu.header["BLANK"] = 5
    hdu.writeto(tmp_path / "a.fits")
    path = tmp_path / "a.fits"
    octets = path.read_bytes()
    lines = b"BSCALE  = 0.5".ljust(80) + b"BZERO   = 100.0".ljust(80)
    where = octets.index(b"END" + b" " * 77)
    path.write_bytes(octets[:where] + lines + octets[where : 2880 - 160] + octets[2880:])
    wanted = stored * 0.5 + 100
    wanted[stored == 5] = np.nan
    np.testing.assert_array_equal(everything(path), wanted)
    np.testing.assert_array_equal(everything(path), fits.getdata(path))


@pytest.mark.parametrize("wanted", ["f4", "f8"])
@pytest.mark.parametrize("bscale", [1e299, -1e36, 1e14])
def test_a_bscale_that_makes_more_than_any_detector_counts_makes_no_data(tmp_path, bscale, wanted):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.array([[0, 1, 30000], [-30000, 2, 3]], "i2")).writeto(path)
    octets = path.read_bytes()
    where = octets.index(b"END" + b" " * 77)
    card = f"BSCALE  = {bscale}".encode().ljust(80)
    path.write_bytes(octets[:where] + card + octets[where : 2880 - 80] + octets[2880:])
    found = everything(path, wanted)
    assert found[0, 0] == 0
    assert np.isnan(found[[0, 1], [2, 0]]).all()
    assert not np.isinf(found).any()


@pytest.mark.parametrize("wanted", ["f4", "f8"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_infinity_is_read_as_no_data(tmp_path, dtype, wanted):
    data = np.full((13, 7), 100, dtype)
    data[1, 2], data[3, 4], data[5, 6] = np.inf, -np.inf, 1e30
    found = everything(write(tmp_path / "a.fits", data), wanted)
    assert np.argwhere(np.isnan(found)).tolist() == [[1, 2], [3, 4], [5, 6]]
    assert np.nanmax(found) == 100


@pytest.mark.parametrize("kind", ["u2", "u4", "u8", "i8"])
def test_whole_numbers_of_all_sizes_are_exact(tmp_path, kind):
    path = write(tmp_path / "a.fits", noise().astype(kind))
    np.testing.assert_array_equal(everything(path), noise().astype("f4"))


def test_blank_among_unsigned_numbers_is_nan(tmp_path):
    path = write(tmp_path / "a.fits", noise())
    octets = path.read_bytes()
    where = octets.index(b"END" + b" " * 77)
    card = b"BLANK   = -32768".ljust(80)
    path.write_bytes(octets[:where] + card + octets[where : 2880 - 80] + octets[2880:])
    data = noise().astype("f4")
    data[data == 0] = np.nan
    np.testing.assert_array_equal(everything(path), data)


def test_signed_numbers_without_bzero_stay_signed(tmp_path):
    data = np.array([[-5, 40], [32767, -32768]], "i2")
    np.testing.assert_array_equal(everything(write(tmp_path / "a.fits", data)), data)


def test_a_cube_of_one_plane_is_an_image(tmp_path):
    raw = read_raw(write(tmp_path / "a.fits", noise(shape=(1, 13, 7))))
    assert (raw.images[0].shape, raw.images[0].planes) == ((13, 7), 1)
    np.testing.assert_array_equal(everything(tmp_path / "a.fits"), noise(shape=(13, 7)))
    assert read_raw(write(tmp_path / "b.fits", noise(shape=(3, 13, 7)))).images[0].planes == 3


@pytest.mark.parametrize("kind", ["plain", "gzip", "tiles"])
def test_bands_are_the_whole(tmp_path, kind):
    path = tmp_path / "a.fits"
    if kind == "tiles":
        fits.CompImageHDU(noise()).writeto(path)
    else:
        write(path, noise())
    if kind == "gzip":
        path.write_bytes(gzip.compress(path.read_bytes()))
    raw = read_raw(path)
    image = raw.images[0]
    with Pixels(raw) as pixels:
        for step in (1, 4, 5, 13):
            bands = [pixels.rows(image, a, min(a + step, 13)) for a in reversed(range(0, 13, step))]
            np.testing.assert_array_equal(np.concatenate(bands[::-1]), noise())


def test_pixels_are_not_changed_by_who_got_them(tmp_path):
    raw = read_raw(write(tmp_path / "a.fits", noise()))
    with Pixels(raw) as pixels:
        pixels.rows(raw.images[0], 0, 13)[:] = 0
        np.testing.assert_array_equal(pixels.rows(raw.images[0], 0, 13), noise())


def test_reading_writes_nothing(tmp_path):
    path = write(tmp_path / "a.fits", noise())
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    before = (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
    everything(path)
    tmp_path.chmod(0o755)
    assert (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not REAL_FILES, reason="real frames are not there")
@pytest.mark.parametrize("path", REAL_FILES, ids=lambda p: p.name)
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
@pytest.mark.filterwarnings("ignore::astropy.io.fits.verify.VerifyWarning")
def test_real_files_are_read_as_astropy_reads_them(path):
    try:
        raw = read_raw(path)
    except FrameRejected as error:
        pytest.skip(str(error))
    with fits.open(path) as hdus, Pixels(raw) as pixels:
        for image in raw.images:
            data = hdus[image.index].data
            mine = pixels.rows(image, 0, image.shape[0])
            np.testing.assert_array_equal(mine, np.squeeze(data).astype("f4"))
        wanted = hdus[raw.images[0].index].header
        for keyword in set(wanted):
            if keyword in ("", "COMMENT", "HISTORY") or isinstance(
                wanted[keyword], fits.card.Undefined
            ):
                continue
            if keyword not in raw.header:
                assert not wanted.cards[keyword].image[8:].startswith("=")
                continue
            theirs = wanted[keyword]
            assert raw.header[keyword] == (theirs.rstrip() if isinstance(theirs, str) else theirs)
