"""A run: files that are copies, and files that are lost on the way."""

import gzip

import by_hand
import pytest
from astropy.io import fits

from ccdprofiles import Combine, Flat, night


def test_a_packed_copy_of_a_frame_counts_once(raw_night):
    bias = by_hand.files_of(raw_night, "bias")[0]
    (raw_night / f"{bias.name}.gz").write_bytes(gzip.compress(bias.read_bytes()))
    made = by_hand.reduce_night(raw_night, raw_night.parent / "out", profiles=[by_hand.SMALL])
    assert made.ok
    assert fits.getheader(by_hand.only(made.masters, "bias"))["NCOMBINE"] == 4
    assert by_hand.row(made, f"{bias.name}.gz")["code"] == "duplicate"


@pytest.mark.parametrize("phase", ["frames", "masters", "science"])
@pytest.mark.parametrize("lost", ["gone", "cut"])
@pytest.mark.parametrize("jobs", [1, 3])
def test_a_frame_that_is_lost_on_the_way_costs_itself(raw_night, monkeypatch, phase, lost, jobs):
    science = by_hand.files_of(raw_night, "light")[0]

    def bars(now, total):
        if now == phase and lost == "gone":
            science.unlink()
        elif now == phase:
            science.write_bytes(science.read_bytes()[:3000])
        return lambda: None

    monkeypatch.setattr(night, "progress_bar", bars)
    made = by_hand.reduce_night(
        raw_night, raw_night.parent / "out", profiles=[by_hand.SMALL], jobs=jobs, progress=True
    )
    assert len(made.masters) == 3
    assert len(made.products) == 1
    assert not made.ok
    assert by_hand.verdicts(made)[science.name] == "set aside"
    assert by_hand.row(made, science.name)["reason"].startswith(f"{science.name}: ")
    assert not list((raw_night.parent / "out").rglob("*.tmp"))


@pytest.mark.parametrize("lost", ["gone", "cut"])
@pytest.mark.parametrize("kind", ["bias", "flat"])
def test_a_calibration_that_is_lost_on_the_way_ends_no_run(raw_night, monkeypatch, lost, kind):
    file = by_hand.files_of(raw_night, kind)[0]

    def bars(now, total):
        if now == "masters" and lost == "gone":
            file.unlink()
        elif now == "masters":
            file.write_bytes(file.read_bytes()[:3000])
        return lambda: None

    monkeypatch.setattr(night, "progress_bar", bars)
    made = by_hand.reduce_night(
        raw_night, raw_night.parent / "out", profiles=[by_hand.SMALL], progress=True
    )
    assert len(made.masters) == 3
    assert len(made.products) == 2
    assert (
        fits.getheader(by_hand.only(made.masters, kind))["NCOMBINE"] == {"bias": 3, "flat": 2}[kind]
    )
    assert not made.ok
    assert by_hand.verdicts(made)[file.name] == "set aside"
    assert by_hand.row(made, file.name)["reason"].startswith(f"{file.name}: ")


def test_inputs_whose_dark_failed_are_not_called_used(tmp_path):
    folder = tmp_path / "raw"
    for stem, exposure in (("one", 1.0), ("ten", 10.0)):
        by_hand.write_some(folder, "dark", 2, 100, exposure, stem=stem)
    by_hand.write_some(folder, "flat", 2, 1100, 1.0)
    by_hand.write_some(folder, "flat", 2, 5100, 50.0, stem="long")
    by_hand.write(folder / "s.fits", "light", 600, 10.0)
    header = fits.Header({"INSTRUME": "C", "IMAGETYP": "dark", "EXPTIME": 50.0})
    packed = folder / "bad.fits"
    fits.CompImageHDU(by_hand.pixels(120), header, compression_type="GZIP_1").writeto(packed)
    with fits.open(packed, disable_image_compression=True) as hdus:
        tiles = hdus[1].fileinfo()["datLoc"] + hdus[1].header["NAXIS1"] * hdus[1].header["NAXIS2"]
    octets = bytearray(packed.read_bytes())
    octets[tiles : tiles + 60] = b"\xff" * 60
    packed.write_bytes(octets)
    profile = by_hand.camera(
        bias=False, dark="match", flat=Flat(), combine=Combine(method="median", clip=None)
    )
    made = by_hand.reduce_night(folder, tmp_path / "out", profile=profile)
    assert fits.getheader(by_hand.only(made.masters, "flat"))["NCOMBINE"] == 2
    told = by_hand.verdicts(made)
    assert (told["flat0.fits"], told["long0.fits"]) == ("used", "not calibrated")
    assert by_hand.row(made, "long1.fits")["reason"] == (
        "long1.fits: its c_dark_50s_1x1 could not be made."
    )
