"""Products that are read again, and whether they are what was written."""

import os
import pickle
import shutil
import signal

import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles.errors import FrameRejected
from ccdprofiles.products import saved as saved_module
from ccdprofiles.products.product import sha256_of
from ccdprofiles.products.saved import SavedProduct, check_product, made_by_us, sha256_or_fault

SHAPE = (12, 10)


def test_a_saved_product_of_the_same_bytes_is_the_same(tmp_path, write, header):
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


def test_a_saved_product_is_read_in_bands(tmp_path, write, header, some_images):
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


def test_a_product_is_known_by_its_key_unless_it_is_cut(tmp_path, write, header):
    path = write(tmp_path / "a.fits", cards=header(CPKEY="abc"))
    assert check_product(path).header["CPKEY"] == "abc"
    path.write_bytes(path.read_bytes()[:-2880])
    assert check_product(path).faults == ("its PROVENANCE is damaged, cut off or missing",)
    assert check_product(tmp_path / "nothing.fits").faults == ("it is missing",)
    with pytest.raises(FrameRejected):
        SavedProduct(path)


def flip(path, where):
    data = bytearray(path.read_bytes())
    data[where] ^= 4
    path.write_bytes(data)


def test_a_product_is_checked_in_one_reading(tmp_path, write, header, monkeypatch):
    path = write(tmp_path / "a.fits", cards=header(CPKEY="abc"))
    opens, real = [], saved_module.opened

    def counted(path):
        opens.append(path)
        return real(path)

    monkeypatch.setattr(saved_module, "opened", counted)
    checked = check_product(path)
    assert opens == [path]
    assert checked.header["CPKEY"] == "abc"
    assert [file for file, *_ in checked.provenance] == ["a.fits", "masters/cam_bias_1x1.fits"]
    assert checked.faults == ()
    assert checked.sha256 == sha256_of(path) == sha256_or_fault(path)[0]


def test_without_its_pixels_only_the_end_of_a_product_is_checked(tmp_path, write):
    path = write(tmp_path / "a.fits")
    whole, rapid = check_product(path), check_product(path, pixels=False)
    assert (rapid.provenance, rapid.faults, rapid.sha256) == (whole.provenance, (), "")
    with fits.open(path) as hdus:
        image, table = (hdus[n].fileinfo()["datLoc"] for n in (0, "PROVENANCE"))
    flip(path, image)
    assert check_product(path, pixels=False).faults == ()
    assert check_product(path).faults == ("the data of its PRIMARY changed (DATASUM)",)
    flip(path, table)
    for pixels in (True, False):
        faults = check_product(path, pixels).faults
        assert faults[-1] == "the data of its PROVENANCE changed (DATASUM)"
        assert check_product(path, pixels).provenance == ()


def test_a_damaged_product_has_its_sha256_all_the_same(tmp_path, write):
    path = write(tmp_path / "a.fits")
    path.write_bytes(path.read_bytes()[:3000])
    checked = check_product(path)
    assert checked.faults == ("it is not a complete FITS file",)
    assert checked.sha256 == sha256_of(path)


def test_what_cannot_be_read_is_a_fault(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for name, fault in (
        ("nothing", "it is missing"),
        ("fifo", "it is not a regular file"),
        ("", "it is not a regular file"),
    ):
        assert check_product(tmp_path / name).faults == (fault,)
        assert sha256_or_fault(tmp_path / name) == ("", fault)


@pytest.mark.parametrize(
    "more",
    [b"\0", b"\0" * 2880, b"XTENSION".ljust(2880), b"x" * 10_000],
    ids=["byte", "block", "header", "text"],
)
def test_bytes_after_the_last_hdu_are_a_fault(tmp_path, write, more):
    path = write(tmp_path / "a.fits")
    assert check_product(path).faults == ()
    path.write_bytes(path.read_bytes() + more)
    for pixels in (True, False):
        (fault,) = check_product(path, pixels).faults
        assert fault.startswith(f"it contains {len(more)} bytes after its PROVENANCE")


def test_a_fifo_in_the_place_of_a_master_is_refused_at_once(tmp_path, write):
    def too_late(*_):
        raise AssertionError("the FIFO was opened, and nobody writes to it")

    path = write(tmp_path / "a.fits")
    saved = SavedProduct(path, sha256_of(path))
    path.unlink()
    os.mkfifo(path)
    before = signal.signal(signal.SIGALRM, too_late)
    signal.alarm(5)
    try:
        with pytest.raises(FrameRejected, match="was removed or replaced"):
            saved.refuse_changed()
        with pytest.raises(FrameRejected, match="was removed or replaced"):
            saved.band(0, 2)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def column(name, form="3A"):
    return fits.Column(name=name, format=form, array=[b"abc" if form == "3A" else 1])


@pytest.mark.parametrize(
    "foreign",
    [
        fits.ImageHDU(np.zeros((4, 5), "i2")),
        fits.BinTableHDU.from_columns([column("file"), column("sha256"), column("role", "J")]),
        fits.BinTableHDU.from_columns([column("file"), column("sha256")]),
        fits.BinTableHDU.from_columns([column(name) for name in ("file", "sha256", "role", "by")]),
        fits.BinTableHDU.from_columns([column(name) for name in "abc"]),
    ],
    ids=["image", "integers", "two", "four", "names"],
)
def test_a_provenance_that_others_wrote_is_a_fault(tmp_path, write, foreign):
    path = write(tmp_path / "a.fits")
    with fits.open(path, mode="update") as hdus:
        hdus["PROVENANCE"] = foreign
        foreign.name = "PROVENANCE"
        foreign.add_checksum()
    for pixels in (True, False):
        checked = check_product(path, pixels)
        assert checked.faults == ("its PROVENANCE was not written by ccdprofiles",)
        assert checked.provenance == ()


def test_a_provenance_without_rows_is_no_fault(tmp_path, write):
    checked = check_product(write(tmp_path / "a.fits", inputs=[]))
    assert (checked.faults, checked.provenance) == ((), ())


def test_a_small_master_is_read_once(tmp_path, write, monkeypatch):
    saved = SavedProduct(write(tmp_path / "a.fits"))
    first = saved.band(0, 12)
    monkeypatch.setattr(saved_module, "Pixels", None)
    np.testing.assert_array_equal(saved.band(4, 8).data, first.data[4:8])


def test_a_file_of_ours_is_known_by_its_first_cards(tmp_path, write, header):
    ours = write(tmp_path / "a.fits", cards=header(CPVERS="1")).read_bytes()
    assert made_by_us(ours)
    assert made_by_us(ours[:2000])
    assert not made_by_us(write(tmp_path / "b.fits").read_bytes())
    assert not made_by_us(b"CPVERS  =".ljust(2880))
