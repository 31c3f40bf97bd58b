"""From header to header: HDUs of raw frames and of products."""

import io

import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles.errors import FrameRejected
from ccdprofiles.files.hdus import HDU_LIMIT, hdus_of, padded


def stream_of(*hdus):
    stream = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(stream)
    stream.seek(0)
    return stream


def table():
    return fits.BinTableHDU.from_columns([fits.Column("a", "J", array=np.arange(1000))])


def test_hdus_lie_where_astropy_has_them():
    image = fits.ImageHDU(np.zeros((2, 30, 50), "i4"), name="SCI")
    stream = stream_of(fits.PrimaryHDU(), image, table(), fits.CompImageHDU(np.eye(9)))
    found = list(hdus_of(stream))
    stream.seek(0)
    with fits.open(stream, disable_image_compression=True) as hdus:
        places = [hdu.fileinfo() for hdu in hdus]
    assert [(h.start, h.data) for h in found] == [(p["hdrLoc"], p["datLoc"]) for p in places]
    assert [padded(h.end) - h.data for h in found] == [p["datSpan"] for p in places]
    assert [h.kind for h in found] == ["IMAGE", "IMAGE", "BINTABLE", "BINTABLE"]
    assert [h.index for h in found] == [0, 1, 2, 3]
    assert found[1].cards["EXTNAME"] == "SCI"
    assert found[1].cards.primary is found[0].cards


def test_the_walk_ends_where_the_file_does():
    stream = stream_of(fits.PrimaryHDU(np.zeros((9, 9))))
    size = len(stream.getvalue())
    assert len(list(hdus_of(stream, size=size))) == 1
    stream.seek(0, io.SEEK_END)
    stream.write(b"no extension".ljust(2880))
    stream.seek(0)
    assert len(list(hdus_of(stream))) == 1


def test_what_was_read_already_is_not_read_again():
    stream = stream_of(fits.PrimaryHDU(), table())
    start = stream.read(2880)
    assert [h.kind for h in hdus_of(stream, start)] == ["IMAGE", "BINTABLE"]


def test_hdus_before_a_broken_one_are_given():
    stream = stream_of(fits.PrimaryHDU(), fits.ImageHDU(np.zeros((3, 3))), table())
    data = stream.getvalue()
    where = data.index(b"BITPIX  =", data.index(b"BINTABLE"))
    broken = data[:where] + b"BITPIX  = 7".ljust(80) + data[where + 80 :]
    hdus = hdus_of(io.BytesIO(broken))
    assert [next(hdus).index, next(hdus).index] == [0, 1]
    with pytest.raises(FrameRejected) as refusal:
        next(hdus)
    assert refusal.value.code == "bitpix"


def test_more_hdus_than_any_frame_has_are_refused():
    stream = stream_of(fits.PrimaryHDU(), *[fits.ImageHDU() for _ in range(HDU_LIMIT)])
    with pytest.raises(FrameRejected, match=f"more than {HDU_LIMIT} HDUs"):
        list(hdus_of(stream))
