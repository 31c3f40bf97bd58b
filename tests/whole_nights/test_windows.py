"""Windows of a detector, calibrated with masters of the whole one: equal to a cut of the whole."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from geometries import PLAIN, Amp, Camera
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccdprofiles import Amplifier, CosmicRays, Flat, Profile, Recipe, combine, reduce_night
from ccdprofiles.errors import PlanError
from ccdprofiles.products.band import DQ
from ccdprofiles.reduce import inputs

TALL, WIDE = 40, 50
LEFT, RIGHT, MIDDLE = 2, 72, 62
"""In the raw image: where the data of the left and right amplifiers begin, and what lies between."""

SEAM = (slice(20, 64), slice(30, 70))
CORNER = (slice(50, 78), slice(60, 90))
"""Rows and columns of the frame: over all four amplifiers, and inside the upper right one."""


def quadrants(by=1):
    """Four amplifiers in one image as they are read, from the corners, like those of ARCTIC.

    2 columns of prescan, the left data, 10 columns of overscan for each side, the right data, and 2
    columns of prescan; all in pixels of the file, of which the profile has ``by`` times as many.
    """
    amps, amplifiers = [], []
    for n, (name, top, right) in enumerate(
        (("ll", 0, 0), ("lr", 0, 1), ("ul", 1, 0), ("ur", 1, 1))
    ):
        first = RIGHT if right else LEFT
        rows = slice(TALL * top, TALL * (top + 1))
        strip = slice(MIDDLE if right else MIDDLE - 10, MIDDLE + 10 if right else MIDDLE)
        amp = Amp(
            data=(rows, slice(first, first + WIDE)),
            place=(rows, slice(WIDE * right, WIDE * (right + 1))),
            shape=(2 * TALL, 124),
            extension=0,
            up=-1 if top else 1,
            across=-1 if right else 1,
            beside=(strip,),
            gain=1.5 + 0.1 * n,
            noise=6.0,
            pedestal=900.0 + 60 * n,
        )
        amps.append(amp)
        place = [(s.start * by + 1, s.stop * by) for s in amp.place]
        ends = [place[1][:: amp.across], place[0][:: amp.up]]
        amplifiers.append(
            Amplifier(
                name=name,
                data=section(amp.data[::-1], by),
                overscan=section((strip, rows), by),
                detector=f"[{', '.join(f'{a}:{b}' for a, b in ends)}]",
                gain=amp.gain * u.electron / u.adu,
                read_noise=amp.noise * u.electron,
                saturation=65535 * u.adu,
            )
        )
    profile = Profile(
        instrument="arctic",
        name="quads",
        amplifiers=amplifiers,
        frame_size=(124 * by, 2 * TALL * by),
        binning=("XBIN", "YBIN"),
        window=("WINDOW", "CCDSEC"),
        recipe=PLAIN,
    )
    return Quadrants(profile, tuple(amps), (2 * TALL, 2 * WIDE), {"XBIN": by, "YBIN": by})


def section(columns_and_rows, by=1):
    return f"[{', '.join(f'{s.start * by + 1}:{s.stop * by}' for s in columns_and_rows)}]"


class Quadrants(Camera):
    """The image of all four is one; `Camera` writes one image for each."""

    def _write(self, path, cards, charge, random):
        image = np.zeros((2 * TALL, 124))
        for amp in self.amps:
            side = slice(MIDDLE, 124) if amp.across < 0 else slice(0, MIDDLE)
            own = amp.pedestal + random.normal(0, amp.noise / amp.gain, (TALL, 62))
            own += np.cumsum(random.normal(0, self.wander, TALL))[:, None]
            image[amp.data[0], side] = own
            image[amp.data] += charge[amp.place][:: amp.up, :: amp.across] / amp.gain
        image = np.clip(np.rint(image), 0, 65535).astype("u2")
        fits.PrimaryHDU(image, fits.Header(list(cards.items()))).writeto(path)


def cut(camera, source, path, window, **cards):
    """Write the raw frame that the camera gives of a window, of a raw frame of the whole detector.

    Every column and row is asked where its data lie; overscan and prescan go with their side.
    """
    rows, columns = window
    x, y = np.arange(124), np.arange(2 * TALL)
    right, top = x >= MIDDLE, y >= TALL
    in_frame = np.where(right, 2 * WIDE - 1 - (x - RIGHT), x - LEFT)
    is_data = ((x >= LEFT) & (x < LEFT + WIDE)) | ((x >= RIGHT) & (x < RIGHT + WIDE))
    touched = np.where(right, columns.stop > WIDE, columns.start < WIDE)
    wanted = np.where(is_data, (in_frame >= columns.start) & (in_frame < columns.stop), touched)
    row = np.where(top, 2 * TALL - 1 - (y - TALL), y)
    with fits.open(source) as hdus:
        image, header = hdus[0].data, hdus[0].header
        by = header["XBIN"]
        image = image[(row >= rows.start) & (row < rows.stop)][:, wanted]
        header["CCDSEC"] = section((columns, rows), by)
        header.update(cards)
        fits.PrimaryHDU(image, header).writeto(path, overwrite=True)


def add_darks(camera, folder):
    """Make darks of 60 s of the last four biases."""
    for n in range(5, 9):
        with fits.open(folder / f"bias{n}.fits") as hdus:
            image, header = hdus[0].data.astype("i4"), hdus[0].header
            for amp in camera.amps:
                image[amp.data] += np.random.default_rng(n).poisson(30, (TALL, WIDE))
            header.update(IMAGETYP="DARK", EXPTIME=60.0)
            fits.PrimaryHDU(image.astype("u2"), header).writeto(folder / f"dark{n}.fits")
        (folder / f"bias{n}.fits").unlink()


RECIPES = {
    "plain": PLAIN,
    "dark": replace(PLAIN, dark="scale"),
    "rays": Recipe(
        bias=True, dark="match", flat=Flat(), electrons=False, cosmic_rays=CosmicRays(repair=False)
    ),
}


@pytest.fixture(
    scope="module", params=[(1, "plain"), (2, "plain"), (2, "dark"), (1, "rays")], ids=str
)
def night(request, tmp_path_factory):
    """A night of the whole detector, and the same with its second science frame as windows."""
    by, recipe = request.param
    camera = quadrants(by)
    camera = replace(camera, profile=camera.profile.but(name="quads", recipe=RECIPES[recipe]))
    folder = tmp_path_factory.mktemp("quadrants")
    camera.write(folder / "raw")
    if recipe != "plain":
        flats = sorted((folder / "raw").glob("flat*.fits"))
        for path in flats:
            fits.setval(path, "EXPTIME", value=60.0)
        add_darks(camera, folder / "raw")
    whole = reduce_night(folder / "raw", folder / "whole", profile=camera.profile)
    windows = folder / "windows"
    shutil.copytree(folder / "raw", windows)
    for name, window in (("seam", SEAM), ("corner", CORNER)):
        cut(camera, windows / "light1.fits", windows / f"light_{name}.fits", window)
    cut(camera, windows / "light0.fits", windows / "light_other.fits", SEAM)
    return camera, folder, whole, reduce_night(windows, folder / "out", profile=camera.profile)


def planes(path):
    with fits.open(path) as hdus:
        return [hdus[e].data.copy() for e in ("PRIMARY", "UNCERT", "DQ")]


def product(result, file):
    return next(result.products[p.name] for p in result.plan.products if p.input.file == file)


def test_a_window_is_the_cut_of_the_whole_frame_to_the_last_bit(night):
    _, _, whole, result = night
    assert result.ok, str(result)
    for name, window in (("seam", SEAM), ("corner", CORNER)):
        wanted = planes(product(whole, "light1.fits"))
        for own, its in zip(planes(product(result, f"light_{name}.fits")), wanted, strict=True):
            # The search for cosmic rays sees other neighbours at the edge of a window.
            if "CRAYS" in fits.getheader(product(whole, "light1.fits")):
                own, its = own[4:-4, 4:-4], its[window][4:-4, 4:-4]
                assert (own == its).mean() > 0.999
            elif name == "seam" or own.dtype.kind != "f":
                np.testing.assert_array_equal(own, its[window])
            else:
                # Of one amplifier the gain is one number of eight bytes, of several an image of four.
                np.testing.assert_array_max_ulp(own, its[window], 2)


def test_masters_and_whole_frames_do_not_change_by_windows(night):
    _, _, whole, result = night
    for name, path in (whole.masters | whole.products).items():
        own = (result.masters | result.products)[name]
        assert own.read_bytes() == path.read_bytes(), name


@pytest.mark.parametrize("night", [(1, "plain"), (2, "plain")], indirect=True, ids=str)
def test_uncertainties_of_windows_are_true(night):
    camera, _, whole, result = night
    flat = camera.response / np.median(camera.response)
    master = next(p for n, p in whole.masters.items() if whole.plan.master(n).type == "flat")
    level = np.mean(planes(master)[0] / flat)
    light = camera.sky * np.median(camera.response) / level
    pulls = []
    for name in ("light_seam.fits", "light_other.fits"):
        data, sigma, flags = planes(product(result, name))
        pulls.append(((data - light[SEAM]) / sigma)[flags == 0])
    assert np.std(pulls) == pytest.approx(1, abs=0.03)
    assert abs(np.mean(pulls)) < 0.1


def test_the_plan_and_the_header_say_what_was_cut(night):
    camera, _, _, result = night
    by = camera.cards["XBIN"]
    text = section(SEAM[::-1], by)
    bias = next(n for n in result.masters if "_bias" in n)
    files = "2 frames (light_other.fits … light_seam.fits)"
    assert f"{bias} is cut to {text} for {files}" in result.plan.notes
    header = fits.getheader(product(result, "light_seam.fits"))
    assert header["CCDSEC"] == text
    assert f"{Path(bias).name} cut to {text}" in [*header["HISTORY"]]
    assert [header[f"CPAMP{n}"] for n in (1, 2, 3, 4)] == ["ll", "lr", "ul", "ur"]
    assert header["DETSEC2"] == f"[{70 * by}:{50 * by + 1}, {20 * by + 1}:{40 * by}]"
    corner = fits.getheader(product(result, "light_corner.fits"))
    assert corner["CPAMP1"] == "ur"
    assert "CPAMP2" not in corner
    assert fits.getheader(result.masters[bias])["CCDSEC"] == f"[1:{100 * by}, 1:{80 * by}]"


def test_the_size_of_bands_and_the_number_of_jobs_change_no_byte(night, tmp_path, monkeypatch):
    camera, folder, _, result = night
    monkeypatch.setattr(inputs, "_BAND_BYTES", 20_000)
    windows = folder / "windows"
    other = reduce_night(windows, tmp_path / "out", profile=camera.profile, jobs=2)
    for name, path in (result.masters | result.products).items():
        assert path.read_bytes() == (other.masters | other.products)[name].read_bytes(), name
    again = reduce_night(windows, tmp_path / "out", profile=camera.profile)
    assert len(again.kept) == len(result.masters | result.products)


def test_masters_of_another_night_are_cut_too(night):
    camera, folder, _, result = night
    raw, out = folder / "later", folder / "later_out"
    raw.mkdir()
    for name in ("light_seam.fits", "light_corner.fits"):
        shutil.copy(folder / "windows" / name, raw)
    later = reduce_night(
        raw, out, profile=camera.profile, calibrations=[folder / "whole" / "masters"]
    )
    assert later.ok, str(later)
    for name in ("light_seam.fits", "light_corner.fits"):
        for own, its in zip(
            planes(product(later, name)), planes(product(result, name)), strict=True
        ):
            np.testing.assert_array_equal(own, its)


@pytest.mark.parametrize("night", [(1, "plain"), (2, "dark")], indirect=True, ids=str)
def test_single_steps_cut_the_masters_as_a_night_does(night):
    camera, folder, _, result = night
    masters = {result.plan.master(n).type: p for n, p in result.masters.items()}
    frame = camera.profile.prepare(folder / "windows" / "light_seam.fits")
    done = camera.profile.calibrate(frame, **masters)
    data, _, flags = planes(product(result, "light_seam.fits"))
    np.testing.assert_array_equal(done.data, data)
    np.testing.assert_array_equal(done.flags, flags)
    assert done.meta["CCDSEC"] == section(SEAM[::-1], camera.cards["XBIN"])
    assert sum("cut to" in line for line in done.meta["HISTORY"]) == len(masters)


@pytest.fixture(scope="module")
def biases(tmp_path_factory):
    camera = quadrants(2)
    recipe = replace(PLAIN, flat=None)
    camera = replace(camera, profile=camera.profile.but(name="quads", recipe=recipe))
    folder = tmp_path_factory.mktemp("biases")
    camera.write(folder / "raw")
    for path in (folder / "raw").glob("flat*.fits"):
        path.unlink()
    return camera, folder / "raw"


def windows_of(biases, tmp_path, window, of_biases, keep=True):
    """A night with a science frame of a window, and biases of windows."""
    camera, raw = biases
    night = tmp_path / "night"
    shutil.copytree(raw, night)
    (night / "light1.fits").unlink()
    cut(camera, night / "light0.fits", night / "light0.fits", window)
    for path in sorted(night.glob("bias*.fits")):
        for n, own in enumerate(of_biases):
            cut(camera, path, night / f"window{n}_{path.name}", own)
        if not keep:
            path.unlink()
    return camera, night


def test_a_master_of_the_same_window_is_preferred_then_the_smallest_that_covers(biases, tmp_path):
    larger, largest = (slice(10, 70), slice(20, 80)), (slice(10, 72), slice(20, 80))
    camera, night = windows_of(biases, tmp_path, SEAM, [SEAM, larger, largest])
    result = reduce_night(night, tmp_path / "out", profile=camera.profile)
    assert result.ok
    (one,) = result.plan.products
    assert one.input.bias == "masters/quads_bias_x61-140_y41-128_2x2.fits"
    assert not any("cut to" in note for note in result.plan.notes)
    for path in night.glob("window0_*"):
        path.unlink()
    result = reduce_night(night, tmp_path / "other", profile=camera.profile)
    (one,) = result.plan.products
    assert one.input.bias == "masters/quads_bias_x41-160_y21-140_2x2.fits"
    assert f"{one.input.bias} is cut to [61:140, 41:128] for light0.fits" in result.plan.notes


def test_a_smaller_window_never_covers_a_larger_one(biases, tmp_path):
    camera, night = windows_of(biases, tmp_path, SEAM, [CORNER, (SEAM[0], slice(32, 70))], False)
    result = reduce_night(night, tmp_path / "out", profile=camera.profile)
    assert not result.products
    (reason,) = [r for r in result.plan.missing if r.file == "light0.fits"]
    assert reason.code == "no-bias"
    assert reason.text == (
        "no bias of the window [61:140, 41:128] binned 2x2; quads_bias_x121-180_y101-156_2x2 covers "
        "only [121:180, 101:156]; quads_bias_x65-140_y41-128_2x2 covers only [65:140, 41:128]."
    )


def test_single_steps_refuse_a_master_that_does_not_cover_the_frame(biases, tmp_path):
    camera, night = windows_of(biases, tmp_path, SEAM, [CORNER], keep=False)
    bias = combine([camera.profile.prepare(p) for p in sorted(night.glob("window0_*"))])
    frame = camera.profile.prepare(night / "light0.fits")
    with pytest.raises(PlanError) as refusal:
        camera.profile.calibrate(frame, bias=bias)
    assert str(refusal.value) == (
        "master bias: its master bias covers only [121:180, 101:156], but the frame covers "
        "[61:140, 41:128]; take bias frames of this window, or of the whole detector."
    )


def test_world_coordinates_of_a_window_are_those_of_the_whole_frame(biases, tmp_path):
    camera, raw = biases
    sky = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}
    sky |= {"CRPIX1": 45.0, "CRPIX2": 33.0, "CD1_1": -1e-4, "CD2_2": 1e-4}
    path = tmp_path / "whole.fits"
    shutil.copy(raw / "light0.fits", path)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(sky)
    moved = {"CRPIX1": 45.0 - 30, "CRPIX2": 33.0 - 20}
    cut(camera, path, tmp_path / "window.fits", SEAM, **moved)
    whole = camera.profile.prepare(path)
    window = camera.profile.prepare(tmp_path / "window.fits")
    for x, y in ((1, 1), (17.5, 30.25), (40, 44)):
        own = WCS(window.meta).wcs_pix2world(x, y, 1)
        its = WCS(whole.meta).wcs_pix2world(x + 30, y + 20, 1)
        np.testing.assert_allclose(own, its, rtol=1e-12)


@st.composite
def any_window(draw):
    firsts = [draw(st.integers(0, n - 1)) for n in (2 * TALL, 2 * WIDE)]
    stops = [draw(st.integers(a + 1, n)) for a, n in zip(firsts, (2 * TALL, 2 * WIDE), strict=True)]
    return tuple(slice(a, b) for a, b in zip(firsts, stops, strict=True))


@given(any_window())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_to_cut_and_to_prepare_commute(biases, tmp_path, window):
    camera, raw = biases
    cut(camera, raw / "light0.fits", tmp_path / "window.fits", window)
    whole = camera.profile.prepare(raw / "light0.fits")
    part = camera.profile.prepare(tmp_path / "window.fits")
    np.testing.assert_array_equal(part.data, whole.data[window])
    np.testing.assert_array_equal(part.flags, whole.flags[window])
    np.testing.assert_array_equal(part.uncertainty.array, whole.uncertainty.array[window])
    assert not (part.flags & DQ.NO_DATA.value).any()


def cards_camera():
    """Two amplifiers in extensions that have all their sections in cards; the right one is flipped."""
    amps = []
    for n, (across, columns) in enumerate(((1, "1:60"), (-1, "120:61"))):
        cards = {"EXTNAME": f"SCI{n + 1}", "DETSEC": f"[{columns}, 1:70]"}
        cards |= {"DATASEC": "[4:63, 1:70]", "BIASSEC": "[66:80, 1:70]"}
        amp = Amp(
            data=(slice(0, 70), slice(3, 63)),
            place=(slice(0, 70), slice(60 * n, 60 * n + 60)),
            shape=(70, 80),
            extension=n + 1,
            across=across,
            beside=(slice(65, 80),),
            gain=1.2 + 0.3 * n,
            pedestal=800.0 + 90 * n,
            cards=cards | {"GAIN": 1.2 + 0.3 * n},
        )
        amps.append(amp)
    amplifier = Amplifier(
        data="DATASEC",
        overscan="BIASSEC",
        detector="DETSEC",
        extension="SCI*",
        gain="GAIN",
        read_noise=5.0 * u.electron,
        saturation=65535 * u.adu,
    )
    profile = Profile(instrument="mosaic", name="mosaic", amplifiers=[amplifier], recipe=PLAIN)
    return Camera(profile, tuple(amps), (70, 120))


def cut_cards(source, path, window):
    """Write the extensions of a window, with the cards that a camera writes."""
    rows, columns = window
    with fits.open(source) as hdus:
        kept = [hdus[0].copy()]
        for hdu in hdus[1:]:
            right = hdu.name == "SCI2"
            first, stop = (max(columns.start, 60 * right), min(columns.stop, 60 + 60 * right))
            if first >= stop:
                continue
            raw = slice(120 - stop, 120 - first) if right else slice(first, stop)
            wide, tall = stop - first, rows.stop - rows.start
            data = hdu.data[rows, 3:63][:, raw]
            image = np.hstack([hdu.data[rows, :3], data, hdu.data[rows, 63:]])
            header = hdu.header.copy()
            header["DATASEC"] = f"[4:{3 + wide}, 1:{tall}]"
            header["BIASSEC"] = f"[{6 + wide}:{20 + wide}, 1:{tall}]"
            ends = (stop, first + 1) if right else (first + 1, stop)
            header["DETSEC"] = f"[{ends[0]}:{ends[1]}, {rows.start + 1}:{rows.stop}]"
            kept.append(fits.ImageHDU(image, header))
        fits.HDUList(kept).writeto(path)


def test_windows_of_sections_in_cards_are_cuts_too(tmp_path):
    camera = cards_camera()
    camera.write(tmp_path / "raw")
    whole = reduce_night(tmp_path / "raw", tmp_path / "whole", profile=camera.profile)
    windows = {"seam": (slice(11, 60), slice(33, 101)), "right": (slice(5, 66), slice(71, 111))}
    for name, window in windows.items():
        cut_cards(tmp_path / "raw/light1.fits", tmp_path / f"raw/light_{name}.fits", window)
    result = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera.profile)
    assert result.ok, str(result)
    wanted = planes(product(whole, "light1.fits"))
    for name, window in windows.items():
        for own, its in zip(planes(product(result, f"light_{name}.fits")), wanted, strict=True):
            if own.dtype.kind == "f":
                np.testing.assert_array_max_ulp(own, its[window], 0 if name == "seam" else 2)
            else:
                np.testing.assert_array_equal(own, its[window])


@pytest.mark.parametrize("recipe", ["plain", "dark"])
def test_flats_of_a_window_are_calibrated_with_masters_of_the_whole_detector(tmp_path, recipe):
    """Their master is that of a night of which each raw frame is the window."""
    camera = quadrants(2)
    camera = replace(camera, profile=camera.profile.but(name="quads", recipe=RECIPES[recipe]))
    camera.write(tmp_path / "mixed")
    if recipe == "dark":
        add_darks(camera, tmp_path / "mixed")
    shutil.copytree(tmp_path / "mixed", tmp_path / "small")
    for path in (tmp_path / "small").iterdir():
        cut(camera, path, path, SEAM)
        if not path.name.startswith(("bias", "dark")):
            shutil.copy(path, tmp_path / "mixed")
    mixed, small = (
        reduce_night(tmp_path / name, tmp_path / f"{name}_out", profile=camera.profile)
        for name in ("mixed", "small")
    )
    assert mixed.ok, str(mixed)
    assert small.ok, str(small)
    flats = [next(p for n, p in night.masters.items() if "_flat" in n) for night in (mixed, small)]
    pairs = [flats, [product(night, "light0.fits") for night in (mixed, small)]]
    for own, its in pairs:
        for plane, wanted in zip(planes(own), planes(its), strict=True):
            np.testing.assert_array_equal(plane, wanted)


def test_a_prepared_window_that_was_saved_is_calibrated_with_masters_of_the_whole(biases, tmp_path):
    camera, raw = biases
    cut(camera, raw / "light0.fits", tmp_path / "raw.fits", SEAM)
    frame = camera.profile.prepare(tmp_path / "raw.fits")
    frame.write(tmp_path / "prepared.fits")
    bias = combine([camera.profile.prepare(p) for p in sorted(raw.glob("bias*.fits"))])
    wanted = camera.profile.calibrate(frame, bias=bias)
    saved = camera.profile.calibrate(tmp_path / "prepared.fits", bias=bias)
    np.testing.assert_array_equal(saved.data, wanted.data)
    np.testing.assert_array_equal(saved.uncertainty.array, wanted.uncertainty.array)
