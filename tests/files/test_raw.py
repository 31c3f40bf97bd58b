"""Raw files: their HDUs and images, described from the headers or refused."""

import gzip
import os

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_by_hand import everything, noise, refused, write

from ccdprofiles.errors import FrameRejected
from ccdprofiles.files import hdus as hdus_module
from ccdprofiles.files import raw as raw_module
from ccdprofiles.files.pixels import Pixels
from ccdprofiles.files.raw import read_raw


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
        "writes; copy it again, or remove it from the night.",
    )


@pytest.mark.parametrize("length", [2880, 3000, 2880 + 13 * 7 * 2 - 1])
def test_a_truncated_file_is_refused_from_its_header(tmp_path, length):
    path = write(tmp_path / "a.fits", noise())
    path.write_bytes(path.read_bytes()[:length])
    assert refused(path) == (
        "truncated",
        f"its header requires 3062 bytes, but it has {length}; copy it again from the camera.",
    )
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert refused(path)[0] == "truncated"


def test_a_second_image_that_was_cut_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(noise()), fits.ImageHDU(noise())]).writeto(path)
    path.write_bytes(path.read_bytes()[:-2900])
    assert refused(path)[0] == "truncated"


def summed(path, data):
    fits.HDUList([fits.PrimaryHDU(data)]).writeto(path, checksum=True)
    return path


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


def test_extensions_of_one_name_are_known_by_their_versions(tmp_path):
    """SALT's RSS names all its extensions SCI."""
    images = [
        fits.ImageHDU(noise(n, (5 + n, 7)), fits.Header([("GAIN", n)]), name="SCI", ver=n)
        for n in (1, 2)
    ]
    primary = fits.PrimaryHDU(header=fits.Header([("GAIN", 9), ("EXPTIME", 30.0)]))
    fits.HDUList([primary, *images, fits.ImageHDU(noise(), name="X")]).writeto(tmp_path / "a.fits")
    raw = read_raw(tmp_path / "a.fits")
    assert list(raw.shapes) == [1, "SCI", "SCI,1", 2, "SCI,2", 3, "X"]
    assert raw.shapes["SCI"] == raw.shapes["SCI,1"] == (6, 7)
    assert raw.image("SCI,2") is raw.image(2) is raw.images[1]
    assert raw.image(None) is raw.image("SCI") is raw.images[0]
    with pytest.raises(KeyError):
        raw.image("SCI,3")
    headers = raw.headers
    assert [headers[e]["GAIN"] for e in ("SCI,1", "SCI,2", "X")] == [1, 2, 9]
    assert headers["SCI,2"]["EXPTIME"] == 30
    assert raw.without_headers().headers == {}
    assert raw.without_headers() == raw
