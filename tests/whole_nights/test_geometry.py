"""Flips, holes, strips on all sides and cards of extensions: against plain NumPy and the truth."""

from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.modeling.models import Polynomial1D
from astropy.wcs import WCS
from geometries import PLAIN, Amp, Camera

from ccdprofiles import (
    Amplifier,
    Combine,
    CosmicRays,
    Flat,
    Profile,
    Recipe,
    SpectralFlat,
    combine,
    reduce_night,
    verify_night,
)
from ccdprofiles.camera.section import read_position
from ccdprofiles.errors import FrameRejected, PlanError, ProfileError
from ccdprofiles.products.band import DQ
from ccdprofiles.reduce import inputs
from ccdprofiles.simulate import Exposures, simulate_night, windowed

GAIN = u.electron / u.adu


def section(columns, rows):
    """Write 0-based slices as FITS does."""
    return f"[{columns.start + 1}:{columns.stop}, {rows.start + 1}:{rows.stop}]"


def backward(place, up, across):
    """Write a position on the detector, backward where the amplifier is read from the far end."""
    rows, columns = ((s.start + 1, s.stop) for s in place)
    columns, rows = columns[::across], rows[::up]
    return f"[{columns[0]}:{columns[1]}, {rows[0]}:{rows[1]}]"


def numbers(amp):
    return {
        "gain": amp.gain * GAIN,
        "read_noise": amp.noise * u.electron,
        "saturation": 65535 * u.adu,
    }


def sinistro():
    """Four amplifiers in four extensions, read from the corners; the upper two miss a row.

    As LCO's: 2048 columns and rows each (2047 in two of them), overscan at the end of the rows.
    """
    wide, tall = 90, 80
    corners = (  # name, rows and columns of the frame, directions, rows read
        ("ll", slice(0, tall), slice(0, wide), 1, 1),
        ("lr", slice(0, tall), slice(wide, 2 * wide), 1, -1),
        ("ur", slice(tall + 1, 2 * tall), slice(wide, 2 * wide), -1, -1),
        ("ul", slice(tall, 2 * tall), slice(0, wide), -1, 1),
    )
    amps, amplifiers = [], []
    for n, (name, rows, columns, up, across) in enumerate(corners, 1):
        height = rows.stop - rows.start
        data = (slice(0, height), slice(0, wide))
        amp = Amp(
            data=data,
            place=(rows, columns),
            shape=(height, wide + 16),
            extension=n,
            up=up,
            across=across,
            beside=(slice(wide + 3, wide + 16),),
            gain=1.0 + 0.1 * n,
            noise=7.0 + n,
            pedestal=900.0 + 70 * n,
        )
        amps.append(amp)
        amplifiers.append(
            Amplifier(
                name=name,
                data=section(data[1], data[0]),
                overscan=section(amp.beside[0], data[0]),
                extension=n,
                detector=backward(amp.place, up, across),
                **numbers(amp),
            )
        )
    profile = Profile(instrument="fa03", name="sinistro", amplifiers=amplifiers, recipe=PLAIN)
    return Camera(profile, tuple(amps), (2 * tall, 2 * wide))


def lsst():
    """Sixteen amplifiers in two rows of eight; the upper ones are read from above."""
    wide, tall, left = 24, 90, 3
    amps, amplifiers = [], []
    for n in range(16):
        column, top = n % 8, n // 8
        place = (
            slice(tall * top, tall * (top + 1)),
            slice(wide * column, wide * (column + 1)),
        )
        up, across = (-1 if top else 1), (-1 if column % 2 else 1)
        data = (slice(0, tall), slice(left, left + wide))
        amp = Amp(
            data=data,
            place=place,
            shape=(tall + 4, left + wide + 12),
            extension=n + 1,
            up=up,
            across=across,
            beside=(slice(left + wide + 2, left + wide + 12),),
            gain=1.5 + 0.02 * n,
            noise=6.0,
            pedestal=1000.0 + 40 * n,
        )
        amps.append(amp)
        amplifiers.append(
            Amplifier(
                name=f"C{top}{column}",
                data=section(data[1], data[0]),
                overscan=section(amp.beside[0], data[0]),
                extension=n + 1,
                detector=backward(place, up, across),
                **numbers(amp),
            )
        )
    size = (left + wide + 12, tall + 4)
    profile = Profile(
        instrument="lsstCam", name="lsst", amplifiers=amplifiers, recipe=PLAIN, frame_size=size
    )
    return Camera(profile, tuple(amps), (2 * tall, 8 * wide))


def one(name, amp, **sections):
    """A camera of one amplifier in one image, which is as large as it is cut."""
    amplifier = Amplifier(data=section(*amp.data[::-1]), **sections, **numbers(amp))
    rows, columns = amp.shape
    profile = Profile(
        instrument=name,
        name=name,
        amplifiers=[amplifier],
        recipe=PLAIN,
        frame_size=(columns, rows),
    )
    return Camera(profile, (amp,), (amp.place[0].stop, amp.place[1].stop))


def hdi():
    """WIYN 0.9 m HDI: overscan columns beside the data, and overscan rows above them."""
    tall, wide = 150, 160
    amp = Amp(
        data=(slice(0, tall), slice(0, wide)),
        place=(slice(0, tall), slice(0, wide)),
        shape=(tall + 30, wide + 24),
        extension=0,
        beside=(slice(wide + 4, wide + 22),),
        above=(slice(tall + 6, tall + 30),),
        gain=1.3,
        noise=7.0,
    )
    return one(
        "hdi",
        amp,
        overscan=f"[{wide + 5}:{wide + 22}, 1:{tall}]",
        parallel_overscan=f"[1:{wide}, {tall + 7}:{tall + 30}]",
    )


def hdi_below():
    """The same, with its overscan rows below the data, and read from the upper right."""
    camera = hdi()
    (amp,) = camera.amps
    amp = replace(
        amp,
        data=(slice(30, 180), slice(0, 160)),
        above=(slice(2, 26),),
        up=-1,
        across=-1,
    )
    return one(
        "hdi",
        amp,
        overscan="[165:182, 31:180]",
        parallel_overscan="[1:160, 3:26]",
        detector="[160:1, 150:1]",
    )


def alfosc():
    """NOT ALFOSC: strips on both sides of the data are taken together."""
    tall, wide, left = 200, 150, 50
    amp = Amp(
        data=(slice(0, tall), slice(left, left + wide)),
        place=(slice(0, tall), slice(0, wide)),
        shape=(tall, left + wide + 20),
        extension=0,
        beside=(slice(4, 16), slice(left + wide + 5, left + wide + 14)),
        gain=0.7,
        noise=4.0,
    )
    return one(
        "ALFOSC_FASU",
        amp,
        overscan=(f"[5:16, 1:{tall}]", f"[{left + wide + 6}:{left + wide + 14}, 1:{tall}]"),
    )


def above():
    """Overscan rows above and below the data, and no columns: a level for each column."""
    tall, wide, low = 160, 170, 12
    amp = Amp(
        data=(slice(low, low + tall), slice(0, wide)),
        place=(slice(0, tall), slice(0, wide)),
        shape=(low + tall + 10, wide),
        extension=0,
        above=(slice(1, 9), slice(low + tall + 3, low + tall + 10)),
        gain=2.0,
        noise=6.0,
    )
    strips = [section(slice(0, wide), rows) for rows in amp.above]
    return one("above", amp, overscan=tuple(strips))


def gain(header):
    return header["GAIN"] * GAIN


def read_noise(header):
    return header["RDNOISE"] * u.electron


def mef(name="SCI{}", pattern="SCI*"):
    """The Sinistro's chip, written with all sections and numbers in the header of each extension.

    The overscan of the cards is longer than the data, as that of many cameras.
    """
    camera = sinistro()
    amps = []
    for n, (amp, amplifier) in enumerate(
        zip(camera.amps, camera.profile.amplifiers, strict=True), 1
    ):
        rows, columns = amp.shape
        cards = {
            "EXTNAME": name.format(n),
            "EXTVER": n,
            "DATASEC": section(slice(2, 92), slice(1, rows + 1)),
            "BIASSEC": section(slice(95, columns + 2), slice(0, rows + 3)),
            "DETSEC": amplifier.detector,
            "GAIN": amp.gain,
            "RDNOISE": amp.noise,
        }
        amps.append(
            replace(
                amp,
                data=(slice(1, rows + 1), slice(2, 92)),
                beside=(slice(95, columns + 2),),
                shape=(rows + 3, columns + 2),
                cards=cards,
            )
        )
    amplifier = Amplifier(
        data="DATASEC",
        overscan="BIASSEC",
        detector="DETSEC",
        extension=pattern,
        gain=gain,
        read_noise=read_noise,
        saturation=65535 * u.adu,
    )
    profile = Profile(instrument="mef", name="mef", amplifiers=[amplifier], recipe=PLAIN)
    # Numbers of the primary header, which those of the extensions override.
    return Camera(profile, tuple(amps), camera.shape, {"GAIN": 9.9, "RDNOISE": 99.0})


def versions():
    """The same as SALT's RSS writes it: all extensions have one name, and versions."""
    return mef("SCI", "SCI*")


MAKERS = (sinistro, lsst, hdi, hdi_below, alfosc, above, mef, versions)
CAMERAS = {make.__name__: make() for make in MAKERS}


@pytest.fixture(scope="module", params=CAMERAS)
def night(request, tmp_path_factory):
    camera = CAMERAS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    camera.write(folder / "raw")
    return camera, folder, reduce_night(folder / "raw", folder / "out", profile=camera.profile)


def planes(path):
    """The values, uncertainties and flags of a product."""
    with fits.open(path) as hdus:
        return [hdus[e].data.copy() for e in ("PRIMARY", "UNCERT", "DQ")]


def made(result):
    """The planes of all masters by type, and of the science frames by the name of the raw file."""
    masters = {result.plan.master(n).type: planes(p) for n, p in result.masters.items()}
    science = {p.input.file: planes(result.products[p.name]) for p in result.plan.products}
    return masters | science


def test_a_night_is_reduced(night):
    _, _, result = night
    assert result.ok, str(result)
    assert len(result.products) == 2
    assert {result.plan.master(name).type for name in result.masters} == {"bias", "flat"}


def test_products_are_those_of_plain_numpy(night):
    camera, folder, result = night
    wanted = camera.reduced(folder / "raw")
    for name, (data, _, flags) in made(result).items():
        assert data.shape == camera.shape
        good = flags == 0
        assert good[camera.read].mean() > 0.999
        np.testing.assert_allclose(data[good], wanted[name][good], rtol=3e-7, atol=3e-4)


def test_pixels_that_nobody_read_are_nan_and_flagged(night):
    camera, _, result = night
    for data, sigma, flags in made(result).values():
        np.testing.assert_array_equal(np.isnan(data), ~camera.read)
        np.testing.assert_array_equal(np.isnan(sigma), ~camera.read)
        np.testing.assert_array_equal((flags & DQ.NO_DATA.value) != 0, ~camera.read)


def test_uncertainties_are_true(night):
    """Pulls from the truth, of masters and science frames, have a standard deviation of 1."""
    camera, _, result = night
    found = made(result)
    flat = camera.response / np.median(camera.response[camera.read])
    level = np.mean(found["flat"][0][camera.read] / flat[camera.read])
    truth = {"bias": np.zeros(camera.shape), "flat": flat * level}
    light = camera.sky * np.median(camera.response[camera.read]) / level
    for name, (data, sigma, flags) in found.items():
        good = flags == 0
        pulls = (data - truth.get(name, light))[good] / sigma[good]
        assert pulls.std() == pytest.approx(1, abs=0.03), name
        assert abs(pulls.mean()) < 0.1, name


def test_the_size_of_bands_and_the_number_of_jobs_change_no_byte(night, tmp_path, monkeypatch):
    camera, folder, result = night
    monkeypatch.setattr(inputs, "_BAND_BYTES", 20_000)
    for jobs in (1, 2):
        out = tmp_path / f"{jobs}"
        other = reduce_night(folder / "raw", out, profile=camera.profile, jobs=jobs)
        for name, path in (result.masters | result.products).items():
            again = (other.masters | other.products)[name]
            assert path.read_bytes() == again.read_bytes(), name


def test_single_steps_give_the_frame_of_the_night(night):
    camera, folder, _ = night
    ccd = camera.profile.prepare(folder / "raw" / "light0.fits")
    wanted = camera.prepared(folder / "raw" / "light0.fits")
    np.testing.assert_array_equal(ccd.data, wanted.astype("f4"))
    np.testing.assert_array_equal((ccd.flags & DQ.NO_DATA.value) != 0, ~camera.read)


def test_single_steps_make_the_master_of_the_night(night):
    camera, folder, result = night
    frames = [camera.profile.prepare(p) for p in sorted((folder / "raw").glob("bias*.fits"))]
    bias = combine(frames)
    data, _, flags = made(result)["bias"]
    np.testing.assert_allclose(bias.data, data, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(bias.flags, flags)


@pytest.mark.parametrize("how", ["mean", "level", Polynomial1D(2)])
@pytest.mark.parametrize("name", ["hdi", "alfosc", "above"])
def test_other_levels_give_true_uncertainties(tmp_path, name, how):
    """The pedestal does not wander here from row to row, which only a level of each row follows."""
    camera = replace(CAMERAS[name], wander=0.7 if how == "mean" else 0.0)
    recipe = replace(PLAIN, overscan=how)
    camera = replace(camera, profile=replace(camera.profile, recipe=recipe))
    camera.write(tmp_path / "raw")
    result = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera.profile)
    assert result.ok, str(result)
    test_uncertainties_are_true((camera, tmp_path, result))


def test_a_hole_keeps_its_flag_where_gains_agree_and_darks_are_subtracted(tmp_path):
    """Other paths of the arithmetic: adu, one gain, clipping, and cosmic rays that are searched."""
    camera = sinistro()
    recipe = replace(PLAIN, electrons=False, combine=Combine(), cosmic_rays=CosmicRays(repair=True))
    camera = replace(camera, profile=replace(camera.profile, recipe=recipe))
    camera.write(tmp_path / "raw")
    result = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera.profile)
    assert result.ok
    for data, _, flags in made(result).values():
        np.testing.assert_array_equal(np.isnan(data), ~camera.read)
        np.testing.assert_array_equal((flags & DQ.NO_DATA.value) != 0, ~camera.read)
        assert ((flags & DQ.COSMIC_RAY.value) != 0).mean() < 1e-3


def corner(**cards):
    """A camera of one amplifier, read from the upper right after four columns of prescan."""
    profile = Profile(
        instrument="C",
        amplifiers=[Amplifier(data="[5:20, 1:12]", overscan=None, detector="[16:1, 12:1]")],
        recipe=replace(PLAIN, flat=None, electrons=False),
    )
    image = np.arange(240.0).reshape(12, 20)
    header = fits.Header([("INSTRUME", "C"), ("IMAGETYP", "BIAS"), *cards.items()])
    return profile, image, fits.PrimaryHDU(image.astype("u2"), header)


def test_masked_pixels_of_a_raw_frame_are_flagged_where_they_are_flipped_to(tmp_path):
    profile, image, hdu = corner()
    hdu.writeto(tmp_path / "a.fits")
    frame = profile.read(tmp_path / "a.fits")
    frame.mask = image == 27
    ccd = profile.prepare(frame)
    wanted = image[::-1, 4:][:, ::-1]
    np.testing.assert_array_equal(ccd.data, wanted)
    np.testing.assert_array_equal(ccd.flags == DQ.BAD_PIXEL.value, wanted == 27)


def test_world_coordinates_follow_a_flip(tmp_path):
    sky = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0}
    profile, image, hdu = corner(**sky, CRPIX1=10.0, CRPIX2=3.0, CD1_1=-1e-4, CD2_2=-1e-4)
    hdu.writeto(tmp_path / "a.fits")
    before, after = WCS(hdu.header), WCS(profile.prepare(tmp_path / "a.fits").header)
    data = profile.prepare(tmp_path / "a.fits").data
    for row, column in ((2, 9), (0, 4), (11, 19)):
        place = np.argwhere(data == image[row, column])[0][::-1]
        assert after.pixel_to_world_values(*place) == pytest.approx(
            before.pixel_to_world_values(column, row)
        )


@pytest.mark.parametrize("name", ["sinistro", "hdi", "hdi_below", "alfosc", "above"])
def test_the_simulator_knows_the_geometry(tmp_path, name):
    profile = CAMERAS[name].profile
    truth = simulate_night(profile, tmp_path / "raw", seed=5, cosmic_rays=False)
    result = reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known)
    assert result.ok, str(result)
    found = made(result)
    flat, (wanted,) = found["flat"], truth.flats.values()
    level = np.mean((flat[0] / wanted)[flat[2] == 0])
    for file, light in truth.science.items():
        data, sigma, flags = found[file]
        good = (flags == 0) & ~truth.hot
        # This recipe subtracts no dark.
        dark = truth.dark * 60 / wanted
        pulls = ((data - (light + dark) / level) / sigma)[good]
        assert pulls.std() == pytest.approx(1, abs=0.03)
        np.testing.assert_array_equal(np.isnan(data), np.isnan(truth.bias))


@pytest.mark.parametrize("name", ["sinistro", "hdi", "hdi_below", "alfosc", "above", "lsst"])
def test_a_small_copy_keeps_the_geometry(tmp_path, name):
    profile = CAMERAS[name].profile
    small = windowed(profile, 32, 32)
    simulate_night(small, tmp_path, frames=[Exposures("bias", 1)])
    found = small.prepare(next(tmp_path.glob("*.fits")))
    assert found.shape[1] == 32
    for amplifier, whole in zip(small.amplifiers, profile.amplifiers, strict=True):
        assert len(amplifier.strips) == len(whole.strips)
        assert (amplifier.parallel_overscan is None) == (whole.parallel_overscan is None)
        flips = [read_position(a.detector)[1] for a in (amplifier, whole) if a.detector]
        assert flips[:1] == flips[1:]


def from_cards(tmp_path):
    """A frame of a camera whose sections are in cards, prepared and saved."""
    profile = Profile(
        instrument="C",
        amplifiers=[Amplifier(data="DATASEC", overscan=None)],
        recipe=replace(PLAIN, flat=None, electrons=False),
    )
    _, image, hdu = corner(DATASEC="[5:20,1:12]")
    hdu.writeto(tmp_path / "a.fits")
    return profile, image, profile.prepare(tmp_path / "a.fits")


def test_single_steps_read_sections_from_cards(tmp_path):
    profile, image, ccd = from_cards(tmp_path)
    np.testing.assert_array_equal(ccd.data, image[:, 4:])
    assert profile.calibrate(ccd, electrons=False).shape == (12, 16)
    again = profile.prepare(profile.read(tmp_path / "a.fits"))
    np.testing.assert_array_equal(again.data, ccd.data)


def test_a_saved_frame_has_lost_the_sections_of_its_cards(tmp_path):
    profile, _, ccd = from_cards(tmp_path)
    ccd.write(tmp_path / "b.fits")
    with pytest.raises(PlanError) as refusal:
        profile.calibrate(tmp_path / "b.fits", electrons=False)
    assert str(refusal.value) == (
        "the sections of this camera are in cards of its raw frames (DATASEC), which a saved frame "
        "does not have; calibrate the frame that prepare() returned before you save it."
    )


def test_a_camera_with_sections_in_cards_has_smaller_frames(tmp_path):
    small = windowed(CAMERAS["mef"].profile, 32, 48)
    truth = simulate_night(small, tmp_path / "raw", header=lambda *_: {"GAIN": 1.5, "RDNOISE": 7})
    assert truth.bias.shape == (32, 48)
    with fits.open(next((tmp_path / "raw").glob("*.fits"))) as hdus:
        assert [h.name for h in hdus[1:]] == ["SCI1", "SCI2", "SCI3", "SCI4"]
        assert [h.header["DETSEC"] for h in hdus[1:]] == [
            "[1:24,1:16]",
            "[48:25,1:16]",
            "[1:24,32:17]",
            "[48:25,32:17]",
        ]
    assert reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known).ok


def test_no_sections_are_invented_beside_those_of_the_profile():
    profile = Profile(
        instrument="C", amplifiers=[Amplifier(data="[1:9, 1:9]", overscan="BIASSEC")], recipe=PLAIN
    )
    with pytest.raises(ProfileError) as refusal:
        windowed(profile, 32, 32)
    assert str(refusal.value) == (
        "some sections of this camera are in cards (BIASSEC) and others in the profile ([1:9, 1:9]), so no "
        "sections can be invented for them; use a header= in simulate_night that returns the cards of a "
        "real frame."
    )


def test_the_simulator_takes_sections_from_the_cards_it_is_given(tmp_path):
    cards = {"DATASEC": "[1:48,1:60]", "BIASSEC": "[51:60,1:64]"}
    amplifier = Amplifier(data="DATASEC", overscan="BIASSEC", **numbers(CAMERAS["alfosc"].amps[0]))
    profile = Profile(
        instrument="C", amplifiers=[amplifier], recipe=PLAIN, frame_size=(60, 64), name="c"
    )
    truth = simulate_night(profile, tmp_path / "raw", header=lambda *_: cards)
    result = reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known)
    assert result.ok
    assert made(result)["flat"][0].shape == (60, 48)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(bias=False, dark="match", flat=Flat(scale="mode"), electrons=True),
        Recipe(bias=True, dark="scale", flat=Flat(), combine=Combine(method="median", clip=None)),
        Recipe(bias=True, dark="match", flat=SpectralFlat(dispersion="x"), electrons=True),
    ],
)
def test_a_hole_stays_a_hole_in_every_recipe(tmp_path, recipe):
    """Also in darks and arcs, in flats of another level or with a lamp, and when it is resumed."""
    profile = replace(sinistro().profile, recipe=recipe)
    truth = simulate_night(profile, tmp_path / "raw", seed=3)
    result = reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known)
    assert result.ok, str(result)
    hole = np.isnan(truth.bias)
    assert hole.any()
    for data, sigma, flags in made(result).values():
        np.testing.assert_array_equal(np.isnan(data), hole)
        np.testing.assert_array_equal(np.isnan(sigma), hole)
        np.testing.assert_array_equal((flags & DQ.NO_DATA.value) != 0, hole)
    assert verify_night(tmp_path / "out").ok
    assert reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known).ok


def test_a_strip_above_the_data_is_not_binned_where_no_overscan_is(tmp_path):
    """20 columns and 10 rows of overscan in every binning, as those of Y4KCam."""
    amplifier = Amplifier(
        data="[1:60, 1:40]",
        overscan="[61:80, 1:40]",
        parallel_overscan="[1:60, 41:50]",
        **numbers(CAMERAS["alfosc"].amps[0]),
    )
    profile = Profile(
        instrument="C",
        name="c",
        amplifiers=[amplifier],
        recipe=PLAIN,
        binning=("X", "Y"),
        overscan_bins=False,
    )
    for binning, raw in (((1, 1), (50, 80)), ((2, 2), (30, 50)), ((1, 4), (20, 80))):
        folder = tmp_path / f"{binning}"
        truth = simulate_night(profile, folder / "raw", binning=binning)
        file = next((folder / "raw").glob("*.fits"))
        assert fits.getdata(file).shape == raw
        (readout,) = profile.amplifiers_of(fits.getheader(file), {None: raw}).readouts
        assert (readout.overscan.width, readout.parallel_overscan.height) == (20, 10)
        assert readout.parallel_overscan.last_row == raw[0]
        assert reduce_night(folder / "raw", folder / "out", profile=truth.known).ok
    with pytest.raises(FrameRejected, match="50 columns and 25 rows, but 50 columns and 30 rows"):
        profile.amplifiers_of({"X": 2, "Y": 2}, {None: (25, 50)})
