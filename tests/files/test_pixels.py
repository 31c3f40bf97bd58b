"""Pixels of a raw file, band by band, as floats, and against their sums."""

import gzip
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from raw_by_hand import everything, noise, refused, write

from ccdprofiles.errors import FrameRejected
from ccdprofiles.files import pixels as pixels_module
from ccdprofiles.files.pixels import Pixels
from ccdprofiles.files.raw import read_raw

REAL = Path(
    os.environ.get("CCDPROFILES_REALDATA", Path(__file__).parents[2] / ".." / "shared" / "realdata")
)
REAL_FILES = sorted(p for p in REAL.rglob("*.fi*") if p.suffix in (".fits", ".fit"))


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
    with pytest.raises(FrameRejected, match="cannot be decompressed") as refused:
        everything(path)
    assert refused.value.code == code


def test_a_tile_compressed_image_of_one_row_keeps_its_row(tmp_path):
    fits.CompImageHDU(noise(shape=(1, 90))).writeto(tmp_path / "a.fits.fz")
    np.testing.assert_array_equal(everything(tmp_path / "a.fits.fz"), noise(shape=(1, 90)))


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
        f"it decompresses to more than the {promised} bytes that its headers require; "
        "remove it from the night, or decompress it by hand."
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
                assert str(refusal.value).startswith(
                    f"DATASUM = {wanted} in its header does not agree with the sum "
                )


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
