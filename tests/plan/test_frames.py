"""Every file of a folder becomes one row: what it is, and why it is used or not."""

import dataclasses
import gzip
import os
import shutil
import threading
from pathlib import Path

import by_hand
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import Amplifier, Dated, Limits, Profile, Recipe, Setting
from ccdprofiles.camera import watch
from ccdprofiles.camera.registry import Registry, load_profile
from ccdprofiles.errors import AmbiguousProfile, InputError, ProfileError
from ccdprofiles.files import raw as raw_module
from ccdprofiles.plan.frames import ACCEPTED, IGNORED, SET_ASIDE, collection, frames_table
from ccdprofiles.plan.scan import scan

HEADERS = Path(__file__).parents[1] / "headers"
SIZE = 2880 + 2880  # of a frame of 12 x 10 pixels


def camera(**changes):
    values = {
        "instrument": "TestCam",
        "name": "testcam",
        "amplifiers": [Amplifier(data="[1:10, 1:12]", overscan=None)],
        "recipe": Recipe(bias=True, dark="match"),
    }
    return Profile(**values | changes)


def pixels(seed=0, shape=(12, 10)):
    return np.random.default_rng(seed).integers(900, 1100, shape).astype("u2")


def write(path, kind="LIGHT", seed=0, data=None, **cards):
    """Write a frame of TestCam; a card that is None is left out."""
    header = fits.Header()
    words = {"INSTRUME": "TestCam", "IMAGETYP": kind, "EXPTIME": 30.0, "FILTER": "V"}
    for card, value in (words | cards).items():
        if value is not None:
            header[card] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(pixels(seed) if data is None else data, header).writeto(path)
    return path


def scanned(folder, *profiles, **options):
    """Scan a folder; every file in it must have one row, and no other has any."""
    frames = scan(folder, Registry(profiles or (camera(),)), **options)
    own = [f.file for f in frames if not f.origin]
    there = []
    for here, folders, names in os.walk(folder):
        links = [n for n in folders if (Path(here) / n).is_symlink()]
        there += [(Path(here) / n).relative_to(folder).as_posix() for n in [*names, *links]]
    if not options.get("leave_out"):
        assert own == sorted(there)
    assert len({f.file for f in frames}) == len(frames)
    for frame in frames:
        assert frame.verdict in (ACCEPTED, SET_ASIDE, IGNORED)
        assert bool(frame.code) == bool(frame.reason) == (frame.verdict != ACCEPTED)
        if frame.reason:
            assert frame.reason.startswith(f"{frame.file}: ")
            assert frame.reason.endswith(".")
    return frames


def only(folder, *profiles, **options):
    (frame,) = scanned(folder, *profiles, **options)
    return frame


def said(frame):
    """What a row says, without the name of its file."""
    return frame.verdict, frame.code, frame.reason.removeprefix(f"{frame.file}: ")


def changed(path, old, new):
    """Overwrite one card of a file that is there already."""
    octets = path.read_bytes()
    assert octets.count(old) == 1
    path.write_bytes(octets.replace(old, new.ljust(len(old))))


# What a frame is.


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("BIAS", "bias"),
        ("Bias Frame", "bias"),
        ("zero  ", "bias"),
        ("dark", "dark"),
        ("FlatField", "flat"),
        ("comp", "arc"),
        ("Light Frame", "science"),
    ],
)
def test_words_of_type_are_read_without_case_and_outer_blanks(tmp_path, word, kind):
    write(tmp_path / "a.fits", word)
    frame = only(tmp_path)
    assert (frame.verdict, frame.type) == (ACCEPTED, kind)


@pytest.mark.parametrize(
    ("fixture", "kind", "exposure"),
    [("proem-dark", "dark", None), ("proem-flat", "flat", None), ("proem-science", "science", 10)],
)
def test_proem_which_writes_no_imagetyp_has_its_types_read_from_other_cards(
    tmp_path, fixture, kind, exposure
):
    header = fits.Header.fromtextfile(HEADERS / f"{fixture}.header")
    for card in ("BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "BSCALE", "BZERO"):
        header.remove(card, ignore_missing=True)
    assert "IMAGETYP" not in header
    fits.PrimaryHDU(pixels(), header).writeto(tmp_path / "a.fits")
    frame = only(tmp_path, load_profile("proem"))
    assert (frame.verdict, frame.type) == (ACCEPTED, kind)
    assert exposure is None or frame.exposure == exposure


def test_a_frame_is_described_in_the_words_of_the_package(tmp_path):
    write(tmp_path / "a.fits", OBJECT=" M 31 ", **{"DATE-OBS": "2024-01-02T03:04:05"})
    frame = only(tmp_path)
    assert frame.exposure == 30
    assert (frame.filter, frame.object, frame.date) == ("V", "M 31", "2024-01-02T03:04:05")
    assert (frame.binning, frame.shape) == ((1, 1), (12, 10))
    assert len(frame.amplifier_key) == 8
    assert frame.header["EXPTIME"] == 30


@pytest.mark.parametrize(
    ("said_", "seconds"),
    [(30, 30.0), ("30", 30.0), (" 30.5 ", 30.5), ("3.0E1", 30.0), (0, 0.0), (1e-3, 0.001)],
)
def test_a_number_in_a_text_is_an_exposure(tmp_path, said_, seconds):
    write(tmp_path / "a.fits", EXPTIME=said_)
    assert only(tmp_path).exposure == seconds


def test_darktime_beside_exptime_is_not_the_exposure(tmp_path):
    write(tmp_path / "a.fits", "DARK", EXPTIME=300.0, DARKTIME=300.73)
    assert only(tmp_path).exposure == 300
    write(tmp_path / "b.fits", "DARK", EXPTIME=None, DARKTIME=300.73)
    first, second = scanned(tmp_path, camera(exposure=("EXPTIME", "DARKTIME")))
    assert (first.exposure, second.exposure) == (300, 300.73)


@pytest.mark.parametrize(
    ("exptime", "exposure", "noted"),
    [
        (2.0, 300, True),
        (300.0, "2", True),
        (0.5, 0.7, True),
        (300.06, 300.0, False),
        (0.0, 0.001, False),
        (30.0, "soon", False),
        (30.0, None, False),
        ("30", 30.0, False),
    ],
)
def test_two_exposures_that_disagree_are_noted(tmp_path, exptime, exposure, noted):
    write(tmp_path / "a.fits", EXPTIME=exptime, EXPOSURE=exposure)
    notes = [str(note) for note in only(tmp_path).notes if "EXPOSURE" in note.text]
    sentence = (
        f"a.fits: EXPTIME = {float(exptime):g} s is used, but EXPOSURE = {exposure}; if EXPOSURE is "
        "right, use exposure='EXPOSURE' in testcam."
    )
    assert notes == noted * [sentence]


@pytest.mark.parametrize("exposure", [None, "", "INDEF", "N/A", "unknown"])
def test_an_exposure_that_is_missing_matters_only_where_a_dark_must_be_chosen(tmp_path, exposure):
    write(tmp_path / "a.fits", EXPTIME=exposure)
    assert said(only(tmp_path)) == (
        SET_ASIDE,
        "exposure",
        "EXPTIME is missing, so no dark can be chosen for this science; correct the header, or change exposure= in testcam.",
    )
    assert only(tmp_path, camera(recipe=Recipe(dark=None))).verdict == ACCEPTED
    (tmp_path / "a.fits").unlink()
    write(tmp_path / "a.fits", "BIAS", EXPTIME=exposure)
    frame = only(tmp_path)
    assert (frame.verdict, frame.exposure) == (ACCEPTED, None)


@pytest.mark.parametrize(
    ("exposure", "shown"), [(-90.0, "-90.0"), ("90s", "'90s'"), (86401, "86401"), (True, "True")]
)
def test_an_exposure_that_cannot_be_is_refused(tmp_path, exposure, shown):
    write(tmp_path / "a.fits", EXPTIME=exposure)
    assert said(only(tmp_path)) == (
        SET_ASIDE,
        "exposure",
        f"EXPTIME = {shown} is not an exposure between 0 and 86400 s; "
        "correct the header, or reject the frame.",
    )


def test_a_dark_of_no_time_is_refused_unless_the_profile_says_that_it_is_a_bias(tmp_path):
    write(tmp_path / "a.fits", "DARK", EXPTIME=0.0)
    assert said(only(tmp_path)) == (
        SET_ASIDE,
        "exposure",
        "EXPTIME = 0 for a dark; if this camera labels its biases "
        "as darks, let frame_type= in its profile return bias.",
    )

    def frame_type(header):
        kind = header.get("IMAGETYP")
        return "bias" if kind == "DARK" and header.get("EXPTIME") == 0 else kind

    frame = only(tmp_path, camera(frame_type=frame_type))
    assert (frame.verdict, frame.type) == (ACCEPTED, "bias")


def test_calibrations_need_no_filter(tmp_path):
    write(tmp_path / "a.fits", "BIAS", FILTER=None)
    write(tmp_path / "b.fits", "DARK", FILTER="")
    assert [f.filter for f in scanned(tmp_path)] == [None, None]
    assert frames_table(scanned(tmp_path))["filter"].mask.all()


# The refusals of a header, word for word.


def test_a_type_that_no_one_explained_is_refused_with_the_nearest_word(tmp_path):
    write(tmp_path / "a.fits", "FLATT")
    assert said(only(tmp_path)) == (
        SET_ASIDE,
        "no-type",
        "IMAGETYP = 'FLATT' is not a frame type that testcam knows (did you mean 'flat'?); "
        "add the word to its frame_types=.",
    )


def test_a_missing_type_is_refused(tmp_path):
    write(tmp_path / "a.fits", None)
    assert said(only(tmp_path)) == (
        SET_ASIDE,
        "no-type",
        "IMAGETYP is missing, so the type of the frame is not known; change frame_type= in testcam.",
    )


def test_a_type_ignored_on_purpose_is_ignored(tmp_path):
    write(tmp_path / "a.fits", "FOCUS")
    frame = only(tmp_path, camera(frame_types={"focus": None, "light": "science"}))
    assert said(frame) == (
        IGNORED,
        "ignored-type",
        "testcam ignores frames of this type on purpose.",
    )


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (
            "TestCan",
            "no profile fits INSTRUME = 'TestCan'; the closest: 'TestCam' (testcam); "
            "write a profile for it, or choose one with --profile.",
        ),
        (
            "Hubble",
            "no profile fits INSTRUME = 'Hubble'; write a profile for it, or choose one with --profile.",
        ),
        (
            None,
            "no profile fits a header without INSTRUME; write a profile with instrument=None and where={...}, or choose one with --profile.",
        ),
    ],
)
def test_an_unknown_instrument_is_a_row_that_names_the_closest(tmp_path, word, sentence):
    write(tmp_path / "a.fits", INSTRUME=word)
    assert said(only(tmp_path)) == (SET_ASIDE, "no-profile", sentence)


def test_two_profiles_that_fit_one_header_stop_the_scan(tmp_path):
    write(tmp_path / "a.fits")
    with pytest.raises(AmbiguousProfile, match="fits 2 profiles"):
        scan(tmp_path, Registry((camera(), camera(name="other", where={"FILTER": "V"}))))


def test_a_forced_profile_is_taken_whatever_instrume_says(tmp_path):
    write(tmp_path / "a.fits", INSTRUME="Hubble")
    frame = only(tmp_path, forced=camera())
    assert (frame.verdict, frame.profile.name) == (ACCEPTED, "testcam")


def test_a_forced_profile_of_another_camera_is_noted(tmp_path):
    write(tmp_path / "other.fits", INSTRUME="Nobody's")
    write(tmp_path / "same.fits", INSTRUME="Cam", DETECTOR="red")
    write(tmp_path / "right.fits", INSTRUME="Cam", DETECTOR="blue")
    profile = camera(instrument="Cam", name="cam", where={"DETECTOR": "blue"})
    notes = {
        frame.file: tuple(map(str, frame.notes)) for frame in scanned(tmp_path, forced=profile)
    }
    assert notes == {
        "other.fits": (
            "other.fits: INSTRUME = \"Nobody's\", but the profile cam is for 'Cam'; this profile was chosen for all frames and is used. Check that it is the profile of this camera.",
        ),
        "right.fits": (),
        "same.fits": (
            "same.fits: DETECTOR = 'red', not 'blue', which the profile cam expects; this profile was chosen for all frames and is used. Check that it is the profile of this camera.",
        ),
    }
    unnamed = camera(instrument=None, where={"CHIP": 1})
    assert [f.notes for f in scanned(tmp_path, forced=unnamed)] == [()] * 3


@pytest.mark.parametrize("shape", [(12, 9), (16, 14)])
def test_a_frame_of_another_size_than_its_sections_is_refused(tmp_path, shape):
    write(tmp_path / "a.fits", data=pixels(shape=shape))
    verdict, code, reason = said(only(tmp_path))
    assert (verdict, code) == (SET_ASIDE, "section")
    assert f"the frame has {shape[1]} columns and {shape[0]} rows, but 10 columns and" in reason


@pytest.mark.parametrize("size", [None, (10, 12)])
def test_a_binning_that_lies_is_refused_before_the_pixels_are_read(tmp_path, size):
    write(tmp_path / "a.fits", XB=2, YB=2)
    verdict, code, reason = said(only(tmp_path, camera(binning=("XB", "YB"), frame_size=size)))
    assert (verdict, code) == (SET_ASIDE, "section")
    expected = "but 5 columns and 6 rows were expected at a binning of 2 x 2 (10 x 12 unbinned)"
    assert f"the frame has 10 columns and 12 rows, {expected}" in reason
    assert "correct XB and YB if the binning is not 2 x 2, " in reason
    assert "light" not in reason


def test_a_binning_that_is_none_is_refused(tmp_path):
    write(tmp_path / "a.fits", XB="two", YB=2)
    assert said(only(tmp_path, camera(binning=("XB", "YB")))) == (
        SET_ASIDE,
        "binning",
        "XB, YB = ('two', 2) is not a binning; two positive whole numbers were expected; "
        "correct the header, or binning= in testcam.",
    )


@pytest.mark.parametrize(
    ("cards", "sentence"),
    [
        (
            {"ZEROCOR": "bias.fits", "FLATCOR": "f.fits"},
            "ZEROCOR, FLATCOR show that it is already calibrated; use the raw frame.",
        ),
        ({"CALSTAT": "BDF"}, "CALSTAT shows that it is already calibrated; use the raw frame."),
        (
            {"BUNIT": "electron"},
            "BUNIT = 'electron', but testcam expects raw adu; use the raw frame.",
        ),
    ],
)
def test_a_frame_that_was_reduced_before_is_refused(tmp_path, cards, sentence):
    write(tmp_path / "a.fits", **cards)
    assert said(only(tmp_path)) == (SET_ASIDE, "already-reduced", sentence)


def test_an_empty_calstat_refuses_nothing(tmp_path):
    write(tmp_path / "a.fits", CALSTAT="", BUNIT="ADU")
    assert only(tmp_path).verdict == ACCEPTED


def test_a_function_of_the_profile_that_fails_costs_its_frame(tmp_path):
    def frame_type(header):
        return header["OBSTYPE"]

    write(tmp_path / "a.fits")
    write(tmp_path / "b.fits", seed=1, OBSTYPE="science")
    first, second = scanned(tmp_path, camera(frame_type=frame_type))
    assert said(first) == (
        SET_ASIDE,
        "profile-function",
        "a function of the profile testcam failed on its header (KeyError: 'OBSTYPE is missing'); "
        "correct the profile.",
    )
    assert second.verdict == ACCEPTED


FIELDS = (
    "amplifiers",
    "binning",
    "date",
    "exposure",
    "filter",
    "frame_type",
    "instrument",
    "object",
    "recipe",
    "temperature",
    "gain",
)


def with_function(field, function):
    """Return a camera with this function in a field of the profile, or in one of an amplifier."""
    if field == "gain":
        amplifier = Amplifier(data="[1:10, 1:12]", overscan=None, gain=function)
        return camera(amplifiers=[amplifier])
    if field == "temperature":
        recipe = Recipe(limits=Limits(temperature=1 * u.deg_C))
        return camera(temperature=function, recipe=recipe)
    return camera(**{field: function})


@pytest.mark.parametrize("raised", [SystemExit(0), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("field", FIELDS)
def test_a_function_that_would_end_the_program_costs_its_frame(tmp_path, field, raised):
    def ends(header):
        raise raised

    write(tmp_path / "a.fits")
    frame = only(tmp_path, with_function(field, ends))
    assert (frame.verdict, frame.code) == (SET_ASIDE, "profile-function")
    line = ends.__code__.co_firstlineno + 1
    assert f"{type(raised).__name__}" in frame.reason
    assert f"; ends in test_frames.py, line {line}); correct the profile." in frame.reason


def test_a_value_that_would_end_the_program_costs_its_frame(tmp_path):
    class Hostile:
        def __str__(self):
            raise SystemExit(0)

    def amplifiers(header):
        raise SystemExit(0)
        yield

    write(tmp_path / "a.fits")
    for profile in (camera(filter=lambda header: Hostile()), camera(amplifiers=amplifiers)):
        assert only(tmp_path, profile).code == "profile-function"


def test_a_temperature_that_cannot_be_read_costs_its_frame_before_the_plan(tmp_path):
    write(tmp_path / "a.fits")
    frame = only(tmp_path, with_function("temperature", lambda header: header["CCD-TEMP"]))
    assert said(frame)[:2] == (SET_ASIDE, "profile-function")


def test_a_function_that_takes_too_long_is_named_and_ends_the_scan(tmp_path, monkeypatch):
    monkeypatch.setattr(watch, "LIMIT", 0.02)
    monkeypatch.setattr(watch, "TICK", 0.01)

    def date(header):
        while header["SLOW"]:
            pass

    for number, slow in enumerate((True, False, True, False)):
        write(tmp_path / f"{number}.fits", seed=number, SLOW=slow)
    late, _, _, quick = scanned(tmp_path, camera(date=date))
    assert quick.verdict == ACCEPTED
    assert late.code == "profile-function"
    assert "(it took longer than 0.02 s; date in test_frames.py, line " in late.reason
    write(tmp_path / "4.fits", seed=4, SLOW=True)
    with pytest.raises(ProfileError, match=r"^4.fits: .* 3 headers took too long, so the scan"):
        scanned(tmp_path, camera(date=date))


def test_a_cube_is_refused_and_one_of_a_single_plane_is_an_image(tmp_path):
    write(tmp_path / "a.fits", data=pixels(shape=(3, 12, 10)))
    write(tmp_path / "b.fits", data=pixels(shape=(1, 12, 10)))
    cube, image = scanned(tmp_path)
    assert said(cube) == (
        SET_ASIDE,
        "cube",
        "it is a cube of 3 planes, probably a colour image that was debayered, but the raw image was expected, as debayering mixes pixels before their dark and flat are removed; save raw frames (RAW16) in the capture program, or write each plane to its own file.",
    )
    assert (image.verdict, image.shape) == (ACCEPTED, (12, 10))


# Files of several images.


def mef(path, *names, **cards):
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"] = "TestCam"
    primary.header["IMAGETYP"] = "LIGHT"
    primary.header["EXPTIME"] = 30.0
    primary.header.update(cards)
    fits.HDUList([primary, *(fits.ImageHDU(pixels(), name=n) for n in names)]).writeto(path)


def test_a_file_of_several_images_needs_amplifiers_with_extensions(tmp_path):
    mef(tmp_path / "a.fits", "IM1", "IM2")
    verdict, code, reason = said(only(tmp_path))
    assert (verdict, code) == (SET_ASIDE, "mef")
    assert reason.endswith(
        "but testcam expects one; set extension= for each amplifier in the profile."
    )

    def half(name, detector):
        return Amplifier(
            data="[1:10, 1:12]", overscan=None, extension=name, name=name, detector=detector
        )

    two = camera(amplifiers=[half("IM1", "[1:10, 1:12]"), half("IM2", "[11:20, 1:12]")])
    frame = only(tmp_path, two)
    assert (frame.verdict, frame.type, frame.amplifiers.shape) == (ACCEPTED, "science", (12, 20))
    (tmp_path / "a.fits").unlink()
    mef(tmp_path / "a.fits", "IM1")
    verdict, code, reason = said(only(tmp_path, two))
    assert (verdict, code) == (SET_ASIDE, "missing-extension")
    assert "extension 'IM2' is missing" in reason


def test_the_image_of_an_extension_takes_its_cards_from_the_primary_header(tmp_path):
    mef(tmp_path / "a.fits", "IM1")
    frame = only(tmp_path)
    assert (frame.verdict, frame.type, frame.exposure) == (ACCEPTED, "science", 30)


def test_a_file_with_tables_only_is_refused(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    assert said(only(tmp_path)) == (
        SET_ASIDE,
        "no-image",
        "it contains no image, only tables or headers; remove it from the night.",
    )


# Which files are frames.


@pytest.mark.parametrize(
    "name",
    [
        "a.fits",
        "a.fit",
        "a.fts",
        "a.FITS",
        "a.Fit",
        "a.FTS",
        "a b[1] %d {x}.fits",
        "a",
        "a.0",
        "ä.fit",
    ],
)
def test_a_frame_is_found_by_its_name_or_by_its_first_bytes(tmp_path, name):
    write(tmp_path / "x").rename(tmp_path / name)
    assert only(tmp_path).verdict == ACCEPTED


@pytest.mark.parametrize("name", ["a.fits.gz", "a.FIT.GZ", "a.fts.gz", "a.fits"])
def test_a_gzipped_frame_is_told_by_its_bytes(tmp_path, name):
    path = write(tmp_path / "x")
    (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert only(tmp_path).verdict == ACCEPTED


def test_a_plain_frame_may_be_called_gz(tmp_path):
    write(tmp_path / "x").rename(tmp_path / "a.fits.gz")
    assert only(tmp_path).verdict == ACCEPTED


@pytest.mark.parametrize("name", ["a.fits.fz", "a.FZ"])
def test_a_tile_compressed_frame_has_its_cards(tmp_path, name):
    header = fits.getheader(write(tmp_path / "x"))
    (tmp_path / "x").unlink()
    fits.CompImageHDU(pixels(), header, compression_type="RICE_1").writeto(tmp_path / "y.fits")
    (tmp_path / "y.fits").rename(tmp_path / name)
    frame = only(tmp_path)
    assert (frame.verdict, frame.type, frame.shape) == (ACCEPTED, "science", (12, 10))


def test_what_is_no_fits_file_by_name_and_bytes_is_ignored(tmp_path):
    (tmp_path / "night.log").write_text("21:00 opened the dome\n")
    (tmp_path / "empty.txt").write_bytes(b"")
    for frame in scanned(tmp_path):
        assert said(frame) == (IGNORED, "not-fits", "not a FITS file.")


def test_hidden_files_and_those_in_hidden_folders_are_ignored(tmp_path):
    write(tmp_path / "._a.fits")
    write(tmp_path / ".a.fits.123.tmp")
    write(tmp_path / ".Trash" / "b.fits")
    for frame in scanned(tmp_path):
        assert said(frame) == (IGNORED, "hidden", "hidden file.")


def test_a_night_in_a_hidden_folder_is_a_night(tmp_path):
    write(tmp_path / ".night" / "a.fits")
    assert only(tmp_path / ".night").verdict == ACCEPTED
    write(tmp_path / "n" / "b.fits", seed=1)
    frames = scanned(tmp_path / "n", calibrations=[tmp_path / ".night"])
    assert {f.code for f in frames} == {"", "not-calibration"}


def text(path):
    path.write_text("hello")


def truncated(path):
    path.write_bytes(write(path).read_bytes()[:3000])


def header_only(path):
    path.write_bytes(write(path).read_bytes()[:2880])


def no_end(path):
    path.write_bytes(write(path).read_bytes()[:400])


def cut_gzip(path):
    octets = gzip.compress(write(path).read_bytes())
    path.write_bytes(octets[:-40])


def short_gzip(path):
    path.write_bytes(gzip.compress(write(path).read_bytes()[:3000]))


def too_big(path):
    changed(write(path), b"NAXIS1  =                   10", b"NAXIS1  =           2000000000")


def negative(path):
    changed(write(path), b"NAXIS1  =                   10", b"NAXIS1  =                  -10")


def many_axes(path):
    changed(write(path), b"NAXIS   =                    2", b"NAXIS   =                  999")


def odd_bits(path):
    changed(write(path), b"BITPIX  =                   16", b"BITPIX  =                   17")


CORRECT = "copy it again from the camera, or correct its header."
ALLOW = "grant read permission, copy it again, or remove it from the night."

FAULTS = {
    "empty": (
        lambda path: path.write_bytes(b""),
        "it is empty; copy it again from the camera.",
    ),
    "not-fits": (
        text,
        "it does not begin with SIMPLE, so it is not a FITS file despite its name; "
        "copy it again, or remove it from the night.",
    ),
    "truncated": (
        truncated,
        "its header requires 3120 bytes, but it has 3000; copy it again from the camera.",
    ),
    "truncated: header only": (
        header_only,
        "its header requires 3120 bytes, but it has 2880; copy it again from the camera.",
    ),
    "truncated: in gzip": (
        short_gzip,
        "its header requires 3120 bytes, but it has 3000; copy it again from the camera.",
    ),
    "fits": (no_end, "its header has no END card; copy it again from the camera."),
    "gzip": (
        cut_gzip,
        "it cannot be decompressed (Compressed file ended before the end-of-stream marker was "
        "reached); copy it again from the camera.",
    ),
    "naxis": (many_axes, f"NAXIS = 999 is not a valid number of axes; {CORRECT}"),
    "naxis: negative": (negative, f"an axis of -10 pixels is not possible; {CORRECT}"),
    "bitpix": (odd_bits, f"BITPIX = 17 is not one of [-64, -32, 8, 16, 32, 64]; {CORRECT}"),
    "not-a-file": (
        lambda path: os.mkfifo(path),
        "it is not a regular file; remove it from the night.",
    ),
    "unreadable": (
        lambda path: path.symlink_to("nowhere.fits"),
        f"it cannot be read (No such file or directory); {ALLOW}",
    ),
    "unreadable: loop": (
        lambda path: path.symlink_to(path.name),
        f"it cannot be read (Too many levels of symbolic links); {ALLOW}",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_file_costs_itself_and_says_why(tmp_path, fault):
    make, sentence = FAULTS[fault]
    make(tmp_path / "a.fits")
    write(tmp_path / "b.fits", seed=1)
    found = []
    # A scan that opens a FIFO would wait for ever.
    thread = threading.Thread(target=lambda: found.append(scanned(tmp_path)), daemon=True)
    thread.start()
    thread.join(20)
    assert found, "the scan hangs"
    broken, good = found[0]
    assert said(broken) == (SET_ASIDE, fault.split(":")[0], sentence)
    assert good.verdict == ACCEPTED


def test_a_frame_that_declares_more_than_it_could_hold_is_refused_from_its_header(tmp_path):
    too_big(tmp_path / "a.fits")
    assert said(only(tmp_path))[1] in ("too-big", "truncated")


def test_a_file_without_permission_costs_itself(tmp_path, monkeypatch):
    write(tmp_path / "a.fits")
    write(tmp_path / "b.fits", seed=1)

    real = os.open

    def forbidden(path, *args, **options):
        if Path(path).name == "a.fits":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **options)

    monkeypatch.setattr(raw_module.os, "open", forbidden)
    first, second = scanned(tmp_path)
    sentence = f"it cannot be read (Permission denied); {ALLOW}"
    assert said(first) == (SET_ASIDE, "unreadable", sentence)
    assert second.verdict == ACCEPTED


def test_links_to_folders_are_rows_and_are_not_followed(tmp_path):
    write(tmp_path / "else" / "a.fits")
    night = tmp_path / "night"
    write(night / "b.fits", seed=1)
    (night / "link").symlink_to(tmp_path / "else")
    (night / "loop").symlink_to(night)
    frames = {f.file: f for f in scanned(night)}
    assert sorted(frames) == ["b.fits", "link", "loop"]
    assert frames["link"].code == frames["loop"].code == "not-a-file"


def test_sub_folders_may_hold_files_of_equal_names(tmp_path):
    write(tmp_path / "ccd.001.fits", seed=1)
    write(tmp_path / "darks" / "ccd.001.fits", "DARK", seed=2)
    write(tmp_path / "darks" / "more" / "ccd.001.fits", "DARK", seed=3)
    frames = scanned(tmp_path)
    assert [f.file for f in frames] == [
        "ccd.001.fits",
        "darks/ccd.001.fits",
        "darks/more/ccd.001.fits",
    ]
    assert {f.verdict for f in frames} == {ACCEPTED}


def test_a_folder_left_out_is_not_looked_into(tmp_path):
    write(tmp_path / "a.fits")
    write(tmp_path / "reduced" / "b.fits", seed=1)
    frames = scanned(tmp_path, leave_out=[tmp_path / "reduced"])
    assert [f.file for f in frames] == ["a.fits"]


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder; specify the folder of the night"):
        scan(tmp_path / "nothing", Registry((camera(),)))


def test_a_name_that_is_not_utf8_is_escaped(tmp_path):
    write(tmp_path / "x").rename(os.fsdecode(bytes(tmp_path) + b"/a\xff.fits"))
    (frame,) = scan(tmp_path, Registry((camera(),)))
    assert (frame.verdict, frame.file) == (ACCEPTED, "a\\xff.fits")
    assert frame.path.exists()


# Copies.


def test_a_copy_of_a_frame_is_counted_once(tmp_path):
    write(tmp_path / "a.fit")
    shutil.copy(tmp_path / "a.fit", tmp_path / "a copy.fit")
    shutil.copy(tmp_path / "a.fit", tmp_path / "0 another copy.fit")
    os.link(tmp_path / "a.fit", tmp_path / "hard link.fit")
    (tmp_path / "symbolic link.fit").symlink_to(tmp_path / "a.fit")
    frames = {f.file: f for f in scanned(tmp_path)}
    assert frames.pop("a.fit").verdict == ACCEPTED
    for frame in frames.values():
        assert said(frame) == (
            IGNORED,
            "duplicate",
            "identical to a.fit, which is used instead.",
        )


def test_two_frames_with_equal_headers_are_no_copies(tmp_path):
    write(tmp_path / "a.fits", "BIAS", seed=1)
    write(tmp_path / "b.fits", "BIAS", seed=2)
    assert [f.verdict for f in scanned(tmp_path)] == [ACCEPTED, ACCEPTED]


def test_a_frame_of_the_night_that_is_in_a_calibration_folder_too_is_the_nights(tmp_path):
    write(tmp_path / "night" / "some long name.fits", "DARK")
    write(tmp_path / "darks" / "a.fits", "DARK")
    frames = scanned(tmp_path / "night", calibrations=[tmp_path / "darks"])
    assert [(f.file, f.code) for f in frames] == [
        ("some long name.fits", ""),
        ("darks/a.fits", "duplicate"),
    ]


# Calibrations of other nights.


def test_calibration_folders_give_biases_darks_and_flats_but_no_science(tmp_path):
    write(tmp_path / "night" / "a.fits")
    for number, kind in enumerate(("BIAS", "DARK", "FLAT", "LIGHT", "COMP")):
        write(tmp_path / "other" / f"{kind}.fits", kind, seed=number)
    frames = {f.file: f for f in scanned(tmp_path / "night", calibrations=[tmp_path / "other"])}
    assert [f.file for f in frames.values() if f.verdict == ACCEPTED and f.origin] == [
        f"other/{kind}.fits" for kind in ("BIAS", "DARK", "FLAT")
    ]
    assert said(frames["other/LIGHT.fits"]) == (
        IGNORED,
        "not-calibration",
        "a science frame in a calibration folder.",
    )
    assert said(frames["other/COMP.fits"])[2] == "an arc frame in a calibration folder."


def test_folders_of_one_name_keep_their_files_apart(tmp_path):
    """Frames are known by their names, so two must never share one."""
    write(tmp_path / "night" / "darks" / "a.fits", "DARK", seed=1)
    for number, where in enumerate(("may", "june"), 2):
        write(tmp_path / where / "darks" / "a.fits", "DARK", seed=number)
    frames = scanned(
        tmp_path / "night",
        calibrations=[tmp_path / "may" / "darks", tmp_path / "june" / "darks"],
    )
    assert len({f.file for f in frames}) == len(frames) == 3
    assert [f.verdict for f in frames] == [ACCEPTED] * 3


def test_a_calibration_folder_inside_the_night_gives_each_frame_once(tmp_path):
    write(tmp_path / "darks" / "a.fits", "DARK")
    frames = scanned(tmp_path, calibrations=[tmp_path / "darks"])
    assert [(f.file, f.origin) for f in frames] == [("darks/a.fits", "")]


def test_products_of_our_own_are_no_frames(tmp_path):
    write(tmp_path / "a.fits", CPVERS="0.1.0", CPTYPE="science", CALSTAT="BDF")
    assert said(only(tmp_path)) == (
        IGNORED,
        "product",
        "a product of ccdprofiles, not a raw frame.",
    )


@pytest.mark.parametrize("exposure", [None, 0.0, "long"])
def test_a_master_dark_of_no_exposure_is_refused(tmp_path, exposure):
    cards = {"CPVERS": "0.1.0", "CPTYPE": "dark", "CPPROF": "testcam", "EXPTIME": exposure}
    (tmp_path / "night").mkdir()
    write(tmp_path / "old" / "a.fits", **cards)
    (frame,) = scan(tmp_path / "night", Registry((camera(),)), calibrations=[tmp_path / "old"])
    assert said(frame) == (
        SET_ASIDE,
        "master",
        f"this master cannot be used: EXPTIME = {exposure!r} is not the exposure of a dark.",
    )


def test_a_master_of_a_profile_that_is_not_there_is_refused(tmp_path):
    cards = {"CPVERS": "0.1.0", "CPTYPE": "bias", "CPPROF": "gone"}
    (tmp_path / "night").mkdir()
    write(tmp_path / "old" / "a.fits", **cards)
    (frame,) = scan(tmp_path / "night", Registry((camera(),)), calibrations=[tmp_path / "old"])
    assert (frame.verdict, frame.code) == (SET_ASIDE, "master")
    assert "there is no profile 'gone'" in frame.reason


# The table.

COLUMNS = [
    "file",
    "profile",
    "type",
    "exposure",
    "filter",
    "binning",
    "shape",
    "object",
    "date",
    "amplifiers",
    "verdict",
    "reason",
]


def test_the_table_has_one_row_a_file_and_an_exposure_in_seconds(tmp_path):
    write(tmp_path / "a.fits", OBJECT="M 31")
    write(tmp_path / "b.fits", "BIAS", seed=1, EXPTIME=None, FILTER=None)
    text(tmp_path / "c.fits")
    table = frames_table(scanned(tmp_path))
    assert table.colnames == COLUMNS
    assert table["exposure"].unit == u.s
    assert list(table["file"]) == ["a.fits", "b.fits", "c.fits"]
    assert list(table["exposure"].mask) == [False, True, True]
    assert list(table["filter"].mask) == [False, True, True]
    assert list(table["binning"]) == ["1x1", "1x1", ""]
    assert list(table["shape"]) == ["10x12", "10x12", ""]
    assert list(table["verdict"]) == [ACCEPTED, ACCEPTED, SET_ASIDE]
    assert table["object"][0] == "M 31"


def test_the_table_of_an_empty_folder_has_the_same_columns(tmp_path):
    table = frames_table(scanned(tmp_path))
    assert (table.colnames, len(table)) == (COLUMNS, 0)
    assert table["exposure"].unit == u.s
    assert table["exposure"].dtype == float
    assert {table[n].dtype.kind for n in COLUMNS if n != "exposure"} == {"U"}


# The collection, as users of ccdproc know it.


@pytest.fixture
def night(tmp_path):
    write(tmp_path / "a.fits", OBJECT="M 31")
    write(tmp_path / "b.fits", "BIAS", seed=1, EXPTIME=None, FILTER=None)
    write(tmp_path / "darks" / "d1.FIT", "Dark Frame", seed=2, EXPTIME="300.0", FILE="x")
    write(tmp_path / "darks" / "d2.fit", "DARK", seed=3, EXPTIME=300.0)
    write(tmp_path / "darks" / "d3.fit", "DARK", seed=4, EXPTIME=70.0)
    text(tmp_path / "bad.fits")
    return tmp_path, scanned(tmp_path)


def test_a_collection_holds_the_accepted_frames_and_reads_no_header_when_it_is_made(
    night, monkeypatch
):
    folder, frames = night

    def refuse(*args, **options):
        raise AssertionError("a header was read")

    monkeypatch.setattr(fits, "open", refuse)
    monkeypatch.setattr(fits, "getheader", refuse)
    found = collection(folder, frames)
    assert list(found.files) == ["a.fits", "b.fits", "darks/d1.FIT", "darks/d2.fit", "darks/d3.fit"]
    assert found.summary.colnames == COLUMNS[:-2]
    assert list(found.summary["type"]) == ["science", "bias", "dark", "dark", "dark"]


def test_a_collection_is_filtered_by_what_the_profile_says(night):
    folder, frames = night
    found = collection(folder, frames)
    dark = found.files_filtered(type="dark", exposure=300.0)
    assert list(dark) == ["darks/d1.FIT", "darks/d2.fit"]
    whole = found.files_filtered(type="dark", exposure=300.0, include_path=True)
    assert [Path(p) for p in whole] == [folder / "darks/d1.FIT", folder / "darks/d2.fit"]
    assert all(Path(p).is_file() for p in whole)


def test_a_collection_gives_frames_headers_and_hdus(night):
    folder, frames = night
    found = collection(folder, frames)
    ccds = list(found.ccds(type="dark", exposure=300.0, ccd_kwargs={"unit": "adu"}))
    assert [c.unit for c in ccds] == [u.adu, u.adu]
    np.testing.assert_array_equal(ccds[0].data, pixels(2))
    (header,) = found.headers(type="science")
    assert header["OBJECT"] == "M 31"
    assert [h.data.shape for h in found.hdus(type="bias")] == [(12, 10)]
    assert len(list(collection(folder, frames).data())) == 5


def test_a_collection_of_nothing_is_empty(tmp_path):
    found = collection(tmp_path, [])
    assert list(found.files) == []
    assert found.summary is None  # as that of ccdproc in an empty folder
    assert list(found.ccds(type="dark", ccd_kwargs={"unit": "adu"})) == []
    assert list(found.files_filtered(type="dark")) == []


def test_scanning_writes_nothing(night):
    folder, _ = night
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}
    scanned(folder)
    assert before == {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in folder.rglob("*")}


def test_a_function_for_another_camera_does_not_cost_the_frames_of_this_one(raw_night):
    other = dataclasses.replace(
        by_hand.camera(),
        instrument=lambda header: header.get("CAMERA").strip() == "mine",
        name="mine",
    )
    assert by_hand.reduce_night(
        raw_night, raw_night.parent / "out", profiles=[other, by_hand.SMALL]
    ).ok


def test_a_card_that_decides_and_says_two_things_sets_its_frame_aside(tmp_path):
    by_hand.write_some(tmp_path / "raw", "bias", 2, 100)
    for name, second in (("s", 99.0), ("t", 10.0)):
        path = tmp_path / f"raw/{name}.fits"
        by_hand.write(path, "light", 600, 10.0)
        header = path.read_bytes()[:2880]
        end = header.index(b"END".ljust(80))
        card = f"EXPTIME = {second:20}".ljust(80).encode()
        rest = path.read_bytes()[2880:]
        path.write_bytes(header[:end] + card + header[end:-80] + rest)
    made = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=by_hand.camera())
    assert (by_hand.row(made, "s.fits")["verdict"], by_hand.row(made, "s.fits")["code"]) == (
        "set aside",
        "twice",
    )
    assert by_hand.row(made, "s.fits")["reason"] == (
        "s.fits: EXPTIME occurs twice in its header with different values; correct the header."
    )
    assert by_hand.row(made, "t.fits")["verdict"] == "used"


# What no card says, and what no table has.


def test_the_types_of_a_night_may_be_those_of_its_folders(tmp_path):
    types = {"*/FLAT/*": "flat", "Dark_*": "dark", "light/*": "science"}
    for seed, name in enumerate(("M31/Flat/1.fits", "dark_1.fits", "light/1.fits", "1.fits")):
        write(tmp_path / name, kind=None, seed=seed)
    write(tmp_path / "light" / "2.fits", kind="BIAS", seed=7)
    frames = {f.file: f for f in scanned(tmp_path, camera(file_types=types))}
    assert {file: f.type for file, f in frames.items()} == {
        "1.fits": "",
        "M31/Flat/1.fits": "flat",
        "dark_1.fits": "dark",
        "light/1.fits": "science",
        "light/2.fits": "bias",
    }
    assert said(frames["1.fits"]) == (
        SET_ASIDE,
        "no-type",
        "IMAGETYP is missing, and '1.fits' fits no pattern of file_types=, so the type of the frame is "
        "not known; change frame_type= or file_types= in testcam.",
    )


def test_the_deepest_folder_decides_the_type(tmp_path):
    types = {"*/dark/*": "dark", "*/light/*": "science"}
    names = (
        "Dark/a/1.fits",
        "Dark/Light/1.fits",
        "Light/Dark Nebula/1.fits",
        "Dark site/Light/1.fits",
    )
    for seed, name in enumerate(names):
        write(tmp_path / name, kind=None, seed=seed)
    frames = {f.file: f.type for f in scanned(tmp_path, camera(file_types=types))}
    assert frames == dict(zip(names, ("dark", "science", "science", "science"), strict=True))


def test_the_types_of_calibrations_may_be_those_of_their_folder(tmp_path):
    write(tmp_path / "night" / "1.fits")
    write(tmp_path / "Flat" / "1.fits", kind=None, seed=1)
    profile = camera(file_types={"*/flat/*": "flat"})
    frames = scanned(tmp_path / "night", profile, calibrations=[tmp_path / "Flat"])
    assert [f.type for f in frames] == ["science", "flat"]


def with_numbers(**numbers):
    return camera(amplifiers=[Amplifier(data="[1:10, 1:12]", overscan=None, **numbers)])


def test_a_value_that_a_table_does_not_have_is_noted(tmp_path):
    unit = u.electron / u.adu
    gain = Setting("GAIN", {0: 0.77, 100: 0.25}, unit=unit)
    changes = Dated({(None, "2019-03-01"): 5 * u.electron})
    profile = with_numbers(gain=gain, read_noise=changes, saturation="SATURATE")
    write(tmp_path / "a.fits", GAIN=55, **{"DATE-OBS": "2020-01-01"})
    write(tmp_path / "b.fits", seed=1, GAIN="100", **{"DATE-OBS": "2018-01-01"})
    write(tmp_path / "c.fits", seed=2, **{"DATE-OBS": "2018-01-01"})
    a, b, c = scanned(tmp_path, profile)
    assert [note.text for note in a.notes] == [
        "GAIN = 55 is not in its table (0, 100), so its gain is not known; add the number to gain= in "
        "testcam.",
        "DATE-OBS = 2020-01-01 is in none of its periods (until 2019-03-01), so its read noise is not "
        "known; add the number to read_noise= in testcam.",
    ]
    assert b.notes == c.notes == ()
    assert [f.amplifiers.readouts[0].gain for f in (a, b, c)] == [None, 0.25, None]
    assert len({f.amplifier_key for f in (a, b, c)}) == 2


def test_a_number_that_is_none_sets_its_frame_aside(tmp_path):
    write(tmp_path / "a.fits", EGAIN="high")
    assert said(only(tmp_path, with_numbers(gain="EGAIN"))) == (
        SET_ASIDE,
        "setting",
        "EGAIN = 'high' is not a number, but one in electron / adu was expected; correct the header, "
        "or use another card or a number in the profile.",
    )


def test_frames_of_another_gain_share_no_master_by_whatever_means_it_is_read(tmp_path):
    unit = u.electron / u.adu
    write(tmp_path / "a.fits", EGAIN=1.0)
    write(tmp_path / "b.fits", seed=1, EGAIN=2.0)
    for gain in ("EGAIN", Setting("EGAIN", {1: 1, 2: 2}, unit=unit), lambda h: h["EGAIN"] * unit):
        assert len({f.amplifier_key for f in scanned(tmp_path, with_numbers(gain=gain))}) == 2
    for level in ("EGAIN", None):
        keys = {f.amplifier_key for f in scanned(tmp_path, with_numbers(saturation=level))}
        assert len(keys) == 1


def test_a_frame_without_a_date_is_noted_if_the_profile_is_not_for_all_dates(tmp_path):
    write(tmp_path / "a.fits")
    write(tmp_path / "b.fits", seed=1, **{"DATE-OBS": "2020-01-01"})
    a, b = scanned(tmp_path, camera(valid=("2019-03-01", None)))
    assert [note.text for note in a.notes] == [
        "its date is missing, so it is not known whether the profile testcam, which is valid from "
        "2019-03-01, is the right one; it is used. Correct the header."
    ]
    assert b.notes == ()


def test_a_frame_outside_the_dates_is_set_aside_unless_the_profile_is_forced(tmp_path):
    profile = camera(valid=("2019-03-01", None))
    write(tmp_path / "a.fits", **{"DATE-OBS": "2018-01-01"})
    assert only(tmp_path, profile).code == "no-profile"
    assert [note.text for note in only(tmp_path, forced=profile).notes] == [
        "its date 2018-01-01 is outside the dates of the profile testcam, from 2019-03-01; this "
        "profile was chosen for all frames and is used. Check that it is the profile of this camera."
    ]


def test_a_card_of_a_number_that_contradicts_itself_is_refused(tmp_path):
    path = write(tmp_path / "a.fits", EGAIN=1.0, EGAIM=2.0)
    changed(path, b"EGAIM   =", b"EGAIN   =")
    assert said(only(tmp_path, with_numbers(gain="EGAIN"))) == (
        SET_ASIDE,
        "twice",
        "EGAIN occurs twice in its header with different values; correct the header.",
    )
    assert only(tmp_path, with_numbers(saturation=5 * u.adu)).verdict == ACCEPTED


# Sections that stand in cards.


def test_frames_with_other_sections_in_their_cards_are_read_out_differently(tmp_path, monkeypatch):
    """The amplifiers are determined once for all frames whose cards are the same."""
    asked = []
    usual = Profile.amplifiers_of

    def counted(self, *args):
        asked.append(args)
        return usual(self, *args)

    monkeypatch.setattr(Profile, "amplifiers_of", counted)
    profile = camera(amplifiers=[Amplifier(data="DATASEC", overscan="BIASSEC")])
    whole = {"DATASEC": "[1:8, 1:12]", "BIASSEC": "[9:10, 1:12]"}
    for n in range(3):
        write(tmp_path / f"whole{n}.fits", seed=n, **whole)
        write(tmp_path / f"part{n}.fits", seed=n + 5, **whole | {"DATASEC": "[3:8, 1:12]"})
    write(tmp_path / "wrong.fits", seed=9, **whole | {"BIASSEC": "[9:11, 1:12]"})
    frames = {f.file: f for f in scanned(tmp_path, profile)}
    wrong = frames.pop("wrong.fits")
    assert (wrong.verdict, wrong.code) == (SET_ASIDE, "section")
    assert wrong.reason == (
        "wrong.fits: testcam: BIASSEC = '[9:11, 1:12]' reaches beyond the image, which has 10 columns "
        "and 12 rows; it should count the pixels of the file as stored, here at a binning of 1 x 1; "
        "correct the header, or write the section in the profile."
    )
    keys = {name: frame.amplifier_key for name, frame in frames.items()}
    assert len({keys[f"whole{n}.fits"] for n in range(3)}) == 1
    assert len({keys[f"part{n}.fits"] for n in range(3)}) == 1
    assert keys["whole0.fits"] != keys["part0.fits"]
    assert len(asked) == 3


def test_each_amplifier_reads_the_cards_of_its_own_extension(tmp_path):
    images = [
        fits.ImageHDU(pixels(n), fits.Header([("GAIN", 1.0 + n), ("DATASEC", sec)]), name=f"IM{n}")
        for n, sec in ((1, "[1:10, 1:12]"), (2, "[3:10, 1:12]"))
    ]
    primary = fits.PrimaryHDU()
    cards = {"INSTRUME": "TestCam", "IMAGETYP": "LIGHT", "EXPTIME": 30.0, "GAIN": 99.0, "RON": 5.0}
    primary.header.update(cards)
    fits.HDUList([primary, *images]).writeto(tmp_path / "a.fits")

    def half(n, detector):
        return Amplifier(
            name=str(n),
            data="DATASEC",
            overscan=None,
            extension=n,
            detector=detector,
            gain=lambda header: header["GAIN"] * u.electron / u.adu,
            read_noise=lambda header: header["RON"] * u.electron,
        )

    profile = camera(amplifiers=[half(1, "[1:10, 1:12]"), half(2, "[18:11, 1:12]")])
    readouts = only(tmp_path, profile).amplifiers.readouts
    assert [r.gain for r in readouts] == [2, 3]
    assert [r.read_noise for r in readouts] == [5, 5]
    assert [str(r.data) for r in readouts] == ["[1:10, 1:12]", "[3:10, 1:12]"]
