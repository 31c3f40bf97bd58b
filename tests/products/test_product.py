"""Products that are written: whole or not there, valid FITS, every plane and flag in its place."""

import hashlib
import random
import threading
import time
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from hypothesis import given, settings
from hypothesis import strategies as st

from ccdprofiles.errors import OutputError
from ccdprofiles.products import product as products
from ccdprofiles.products.band import DQ_BITS, MASKED, Band
from ccdprofiles.products.product import ProductFile, product_key, sha256_of, write_text

SHAPE = (12, 10)
SHA = "0" * 64
INPUTS = [("a.fits", SHA, "science"), ("masters/cam_bias_1x1.fits", SHA, "master bias")]


def test_ccddata_reads_a_product_without_being_told_anything(tmp_path, write, some_images):
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


def test_a_product_without_uncertainty_has_no_such_plane(tmp_path, write, verify):
    path = write(tmp_path / "a.fits", uncertainty=False)
    ccd = CCDData.read(path)
    assert ccd.uncertainty is None
    with fits.open(path) as hdus:
        assert [h.name for h in hdus] == ["PRIMARY", "MASK", "DQ", "PROVENANCE"]
    verify(path)


def test_a_product_is_valid_fits_with_checksums_in_every_hdu(tmp_path, write, verify):
    path = write(tmp_path / "a.fits")
    verify(path)
    with fits.open(path) as hdus:
        assert [h.name for h in hdus] == ["PRIMARY", "MASK", "UNCERT", "DQ", "PROVENANCE"]


@pytest.mark.parametrize("hdu", range(5))
def test_a_flipped_bit_is_found_by_the_checksums(tmp_path, hdu, write):
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
def test_checksums_hold_for_any_shape_and_card(
    tmp_path_factory, write, header, rows, columns, seed, text
):
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


def test_dq_tells_every_reason_and_its_header_the_meaning(tmp_path, write, some_images):
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
def test_the_mask_leaves_out_hot_and_hardly_non_linear_pixels(
    tmp_path, meaning, write, some_images
):
    data, variance, flags = some_images()
    flags[:] = DQ_BITS[meaning]
    path = write(tmp_path / "a.fits", images=(data, variance, flags))
    wanted = meaning not in ("hot", "non-linear")
    assert bool(fits.getdata(path, "MASK").all()) is wanted
    assert bool(fits.getdata(path, "MASK").any()) is wanted


def test_a_band_without_flags_is_good(tmp_path, header, some_images):
    data, variance, _ = some_images()
    with ProductFile(tmp_path / "a.fits", header(), SHAPE, True, INPUTS) as out:
        out.write(0, Band(data, variance))
        out.finish()
    assert not fits.getdata(tmp_path / "a.fits", "DQ").any()
    assert not CCDData.read(tmp_path / "a.fits").mask.any()


def test_the_provenance_names_every_file_its_sha256_and_its_role(tmp_path, write, verify):
    inputs = [("darks/d 1.fits", "ab" * 32, "dark"), ("nächte\n.fits", SHA, "dark")]
    path = write(tmp_path / "a.fits", inputs=inputs)
    table = fits.getdata(path, "PROVENANCE")
    assert table.names == ["file", "sha256", "role"]
    assert list(table["file"]) == ["darks/d 1.fits", "n\\xe4chte\\x0a.fits"]
    assert list(table["sha256"]) == ["ab" * 32, SHA]
    assert list(table["role"]) == ["dark", "dark"]
    verify(path)


def test_a_product_of_nothing_has_an_empty_provenance(tmp_path, write, verify):
    path = write(tmp_path / "a.fits", inputs=[])
    assert len(fits.getdata(path, "PROVENANCE")) == 0
    verify(path)


def test_the_bytes_do_not_depend_on_bands_nor_on_threads(tmp_path, write, header, some_images):
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


def test_nothing_of_the_hour_or_the_path_is_in_the_bytes(tmp_path, write):
    first = write(tmp_path / "a.fits").read_bytes()
    assert write(tmp_path / "sub" / "b.fits").read_bytes() == first
    assert str(tmp_path).encode() not in first


def test_until_it_is_whole_a_product_has_a_hidden_temporary_name(tmp_path, header, some_images):
    data, variance, flags = some_images()
    with ProductFile(tmp_path / "a.fits", header(), SHAPE, True, INPUTS) as out:
        out.write(0, Band(data, variance, flags))
        (temporary,) = tmp_path.iterdir()
        assert temporary.name.startswith(".a.fits.")
        assert temporary.name.endswith(".tmp")
        out.finish()
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]


def test_an_error_midway_leaves_no_file_and_the_old_one_as_it_was(
    tmp_path, write, header, some_images
):
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
def test_a_full_disk_leaves_the_old_product_and_says_so(
    tmp_path, monkeypatch, call, write, some_images
):
    path = write(tmp_path / "a.fits")
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(products.os, call, full)
    how = r"a\.fits cannot be written \(No space left on device\); free some space .* finished products are kept\."
    with pytest.raises(OutputError, match=how):
        write(path, images=some_images(seed=1))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]


def test_a_file_is_not_closed_while_it_is_being_put_on_the_disk(
    tmp_path, monkeypatch, header, some_images
):
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


def test_the_hash_is_that_of_the_file(tmp_path, header, some_images):
    data, variance, flags = some_images()
    with ProductFile(tmp_path / "a.fits", header(), SHAPE, True, INPUTS) as out:
        out.write(0, Band(data, variance, flags))
        told = out.finish_hashed()
    assert told == hashlib.sha256((tmp_path / "a.fits").read_bytes()).hexdigest()


def test_a_product_with_missing_rows_is_not_finished(tmp_path, header, some_images):
    data, variance, flags = some_images()
    out = ProductFile(tmp_path / "a.fits", header(), SHAPE, True, INPUTS)
    out.write(0, Band(data[:8], variance[:8], flags[:8]))
    with pytest.raises(ValueError, match="8 of 12 rows were written"), out:
        out.finish()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path, header):
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


def test_a_key_depends_on_every_part_and_not_on_their_order():
    one = product_key({"a": 1, "b": (2, "x")})
    assert one == product_key({"b": (2, "x"), "a": 1})
    assert len({one, product_key({"a": 1, "b": (2, "y")}), product_key({"a": 1})}) == 3


def test_the_sha256_is_that_of_the_file(tmp_path, write):
    path = write(tmp_path / "a.fits")
    assert sha256_of(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_card_is_set_until_the_product_is_finished(tmp_path, write, header, some_images):
    known = header(CRNUM=(0, "pixels hit by cosmic rays"), CRWAY=("", "which way"))
    data, variance, flags = some_images()
    with ProductFile(tmp_path / "a.fits", known, SHAPE, True, INPUTS) as out:
        out.write(0, Band(data, variance, flags))
        out.set_card("CRNUM", 12)
        out.set_card("CRWAY", "sparse")
        with pytest.raises(ValueError, match="does not fit into the header"):
            out.set_card("OTHER", 1)
        out.discard()
    with ProductFile(tmp_path / "a.fits", known, SHAPE, True, INPUTS) as out:
        out.write(0, Band(data, variance, flags))
        out.set_card("CRNUM", 12)
        out.set_card("CRWAY", "sparse")
        out.finish()
    # The given header stays as it is, and the bytes are those of a header that had the values.
    assert known["CRNUM"] == 0
    told = header(CRNUM=(12, "pixels hit by cosmic rays"), CRWAY=("sparse", "which way"))
    other = write(tmp_path / "b.fits", cards=told)
    assert (tmp_path / "a.fits").read_bytes() == other.read_bytes()
