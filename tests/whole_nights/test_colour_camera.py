"""Nights of colour cameras: flats are normalised for each colour, and nothing is debayered."""

import by_hand
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import (
    Amplifier,
    CosmicRays,
    Flat,
    Profile,
    Recipe,
    combine,
    detect_cosmics,
    plan_night,
    reduce_night,
)
from ccdprofiles.camera.colours import ColourMosaic
from ccdprofiles.errors import PlanError

SHAPE = (122, 140)
GAIN, NOISE, BIAS = 0.8, 3.0, 200.0
UNBINNED = {"XBINNING": 1, "YBINNING": 1}
ROWS, COLUMNS = np.indices(SHAPE)
RESPONSE = 1 - 0.15 * np.hypot(ROWS - 61, COLUMNS - 70) / 93
DARK = 0.2 + 0.1 * COLUMNS / 140
LAMP = {"R": 0.35, "G": 1.0, "B": 0.6}
SKY = {"R": 1.0, "G": 0.8, "B": 0.5}


def colours(of, pattern, x=0, y=0, upwards=False):
    """Return the number of each pixel's colour, computed pixel by pixel."""
    image = np.empty(SHAPE)
    for (row, column), _ in np.ndenumerate(image):
        line = SHAPE[0] - 1 - row if upwards else row
        image[row, column] = of[pattern[2 * ((line + y) % 2) + (column + x) % 2]]
    return image


def camera(data="[:, :]", **recipe):
    return Profile(
        name="osc",
        instrument="ZWO ASI*",
        amplifiers=[
            Amplifier(
                data=data,
                overscan=None,
                gain=GAIN * u.electron / u.adu,
                read_noise=NOISE * u.electron,
                saturation=65535 * u.adu,
            )
        ],
        binning=("XBINNING", "YBINNING"),
        frame_size=(140, 122),
        recipe=Recipe(**{"bias": False, "flat": Flat()} | recipe),
    )


class Night:
    """Writes frames of a colour camera as capture programs do."""

    def __init__(self, folder, pattern="RGGB", x=0, y=0, upwards=False, cards=None):
        self.folder, self.random = folder, np.random.default_rng(20261122)
        self.shift = {"pattern": pattern, "x": x, "y": y, "upwards": upwards}
        order = {"ROWORDER": "BOTTOM-UP" if upwards else "TOP-DOWN"}
        self.cards = {"BAYERPAT": pattern, "XBAYROFF": x, "YBAYROFF": y} | order
        self.cards = self.cards if cards is None else cards
        for n in range(12):
            self.take(f"flat_{n}", "FLAT", 2.0, 24000 * RESPONSE * self.of(LAMP))
            self.take(f"darkflat_{n}", "DARKFLAT", 2.0, 0)
            self.take(f"dark_{n}", "DARK", 60.0, 0)
        self.take("light", "LIGHT", 60.0, 3000 * RESPONSE * self.of(SKY))

    def of(self, numbers):
        return colours(numbers, **self.shift)

    def take(self, name, kind, exposure, light, **more):
        electrons = self.random.poisson(DARK * exposure + light)
        electrons = electrons + self.random.normal(0, NOISE, SHAPE)
        adu = np.clip(np.round(electrons / GAIN + BIAS), 0, 65535).astype("u2")
        header = {"INSTRUME": "ZWO ASI533MC Pro", "IMAGETYP": kind, "EXPTIME": exposure}
        header |= {"FILTER": "L", "XBINNING": 1, "YBINNING": 1} | self.cards | more
        fits.PrimaryHDU(adu, fits.Header(header)).writeto(self.folder / f"{name}.fits")


SHIFTS = {
    "RGGB": {},
    "GBRG": {"pattern": "GBRG"},
    "shifted": {"x": 1, "y": 1},
    "upwards": {"pattern": "GRBG", "upwards": True},
    "upwards-shifted": {"upwards": True, "x": 1, "y": 1},
}


@pytest.fixture(scope="module", params=SHIFTS)
def raw(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("colours")
    return Night(folder, **SHIFTS[request.param])


@pytest.mark.parametrize("section", ["[:, :]", "[2:139, 2:121]", "[1:140, 2:122]"])
def test_a_frame_keeps_its_colours_and_loses_its_vignetting(raw, section, tmp_path):
    night = reduce_night(raw.folder, tmp_path, profile=camera(section))
    assert night.ok, night.summary
    (path,) = night.products.values()
    inside = camera(section).amplifiers_of(UNBINNED, {None: SHAPE}).readouts[0].data.slices()
    sky = (3000 / GAIN * raw.of(SKY))[inside]
    header = fits.getheader(path)
    (flat,) = (p for name, p in night.masters.items() if "flat" in name)
    # One number per colour: the median of its light.
    lamp, response = (raw.of(LAMP))[inside], RESPONSE[inside]
    truth = np.empty_like(sky)
    for colour, level in LAMP.items():
        own = lamp == level
        norm = fits.getval(flat, f"FLATN_{colour}")
        assert norm / header["FLATN_G"] == pytest.approx(level, rel=0.01)
        assert header[f"FLATN_{colour}"] == norm
        assert np.median(fits.getdata(flat)[own]) == pytest.approx(1, abs=1e-6)
        truth[own] = sky[own] * np.median(response[own])
    pull = (fits.getdata(path) - truth) / fits.getdata(path, "UNCERT")
    assert np.std(pull) == pytest.approx(1, abs=0.03)
    assert abs(np.mean(pull)) < 0.1
    assert header["FLATNORM"] == header["FLATN_G"]
    assert "each scaled by 1 / median, then normalised for each colour" in [
        *fits.getheader(flat)["HISTORY"]
    ]
    # The cards of the pattern hold for the trimmed image, as another program reads them.
    y = header.get("YBAYROFF", 0)
    rows = np.arange(len(sky))
    lines = rows[::-1] if header["ROWORDER"] == "BOTTOM-UP" else rows
    columns = np.arange(sky.shape[1])
    indices = 2 * ((lines[:, np.newaxis] + y) % 2) + (columns + header.get("XBAYROFF", 0)) % 2
    as_read = np.array([LAMP[c] for c in header["BAYERPAT"]])[indices]
    np.testing.assert_array_equal(as_read, lamp)
    mosaic = ColourMosaic(header["CPMOSAIC"])
    np.testing.assert_array_equal(mosaic.per_pixel(LAMP, sky.shape), lamp)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return Night(tmp_path_factory.mktemp("plain"))


def test_several_workers_and_a_large_master_give_the_same_pixels(plain, tmp_path, monkeypatch):
    one = reduce_night(plain.folder, tmp_path / "one", profile=camera(), jobs=1)
    monkeypatch.setattr("ccdprofiles.run.jobs.LARGE", 1)
    two = reduce_night(plain.folder, tmp_path / "two", profile=camera(), jobs=2)
    for name, path in (one.masters | one.products).items():
        other = (two.masters | two.products)[name]
        assert path.read_bytes() == other.read_bytes()


def test_a_header_without_a_pattern_is_read_as_monochrome(plain, tmp_path):
    for value in ("MONO", None, "XTRANS"):
        folder = tmp_path / str(value)
        folder.mkdir()
        night = Night.__new__(Night)
        vars(night).update(vars(plain), folder=folder, random=np.random.default_rng(1))
        night.cards = {} if value is None else {"BAYERPAT": value}
        night.take("light", "LIGHT", 60.0, 500)
        plan = plan_night(folder, profile=camera(dark=None, flat=None))
        assert len(plan.products) == 1
        notes = [n for n in plan.notes if "BAYERPAT" in n]
        assert bool(notes) is (value == "XTRANS")
        if notes:
            assert "BAYERPAT = 'XTRANS' is not a pattern of two by two colours" in notes[0]


def test_a_flat_of_another_pattern_is_not_used(plain, tmp_path):
    for path in plain.folder.glob("*.fits"):
        (tmp_path / path.name).symlink_to(path)
    other = Night.__new__(Night)
    vars(other).update(vars(plain), folder=tmp_path, cards=plain.cards | {"BAYERPAT": "BGGR"})
    other.take("other", "LIGHT", 60.0, 500)
    (reason,) = plan_night(tmp_path, profile=camera()).missing
    assert (reason.file, reason.code) == ("other.fits", "no-dark")


def test_a_binned_mosaic_is_noted(plain, tmp_path):
    other = Night.__new__(Night)
    vars(other).update(vars(plain), folder=tmp_path)
    other.take("binned", "LIGHT", 60.0, 500, XBINNING=2, YBINNING=2)
    plan = plan_night(tmp_path, profile=camera(dark=None, flat=None).but(frame_size=None))
    assert any("a mosaic of colours (RGGB) binned 2x2" in note for note in plan.notes)


def test_an_offset_that_is_no_number_is_refused(plain, tmp_path):
    other = Night.__new__(Night)
    vars(other).update(vars(plain), folder=tmp_path)
    other.take("odd", "LIGHT", 60.0, 500, XBAYROFF="left")
    (reason,) = plan_night(tmp_path, profile=camera(dark=None, flat=None)).set_aside
    assert reason.code == "mosaic"
    assert "XBAYROFF = 'left' is not a whole number" in str(reason)


def test_amplifiers_that_break_the_pattern_are_refused(plain):
    halves = [
        Amplifier(data="[1:69, :]", overscan=None, name="left"),
        Amplifier(data="[71:140, :]", overscan=None, name="right"),
    ]
    profile = camera().but(amplifiers=halves)
    assert {r.code for r in plan_night(plain.folder, profile=profile).set_aside} == {"mosaic"}
    even = [halves[0].but(data="[1:68, :]"), halves[1]]
    assert not plan_night(plain.folder, profile=camera().but(amplifiers=even)).set_aside


def test_amplifiers_that_flip_the_pattern_are_refused(plain):
    flipped = [Amplifier(data="[1:140, 1:122]", overscan=None, detector="[140:1, 1:122]")]
    profile = camera().but(amplifiers=flipped, frame_size=None)
    reasons = plan_night(plain.folder, profile=profile).set_aside
    assert {r.code for r in reasons} == {"mosaic"}
    assert "detector= flips an amplifier" in str(reasons[0])


def test_a_debayered_cube_is_refused_with_the_reason(tmp_path):
    header = fits.Header({"INSTRUME": "ZWO ASI533MC", "IMAGETYP": "LIGHT", "EXPTIME": 1.0})
    fits.PrimaryHDU(np.zeros((3, 20, 30), "u2"), header).writeto(tmp_path / "rgb.fits")
    (reason,) = plan_night(tmp_path, profile=camera()).set_aside
    assert reason.code == "cube"
    assert "probably a colour image that was debayered" in str(reason)


def test_cosmic_rays_are_not_searched_in_a_mosaic(plain, tmp_path):
    profile = camera(cosmic_rays=CosmicRays())
    night = reduce_night(plain.folder, tmp_path, profile=profile)
    (path,) = night.products.values()
    assert "CRAYS" not in fits.getheader(path)
    assert "cosmic rays are not detected in the mosaics of colours of osc" in night.summary
    assert "up to date" in reduce_night(plain.folder, tmp_path, profile=profile).summary


def test_single_steps_make_the_same_flat(plain, tmp_path):
    night = reduce_night(plain.folder, tmp_path, profile=camera())
    masters = {
        n.split("_")[1] + str(i): p for i, (n, p) in enumerate(sorted(night.masters.items()))
    }
    darks = [p for p in night.masters.values() if fits.getval(p, "EXPTIME") == 2.0]
    dark = next(p for p in darks if fits.getval(p, "CPTYPE") == "dark")
    flats = [camera().prepare(p) for p in sorted(plain.folder.glob("flat_*.fits"))]
    flats = [camera().calibrate(f, dark=dark) for f in flats]
    made = combine(flats)
    (flat,) = (p for p in night.masters.values() if fits.getval(p, "CPTYPE") == "flat")
    np.testing.assert_allclose(made.data, fits.getdata(flat), rtol=2e-6)
    assert made.meta["FLATN_R"] == pytest.approx(fits.getval(flat, "FLATN_R"), rel=1e-6)
    assert masters
    light = camera().prepare(plain.folder / "light.fits")
    longer = next(p for p in night.masters.values() if fits.getval(p, "EXPTIME") == 60.0)
    with pytest.raises(PlanError, match="mosaic of colours"):
        detect_cosmics(camera().calibrate(light, dark=longer))


def test_a_mosaic_takes_no_monochrome_masters_even_where_windows_are_read(tmp_path):
    for number in range(3):
        by_hand.write(tmp_path / f"bias{number}.fits", "bias", 300, CCDSEC="[1:16, 1:16]")
    for name, cards in {"grey": {}, "colour": {"BAYERPAT": "RGGB"}}.items():
        light = by_hand.pixels(1000, seed=9 + len(cards))
        by_hand.write(
            tmp_path / f"{name}.fits", "object", light, 60, CCDSEC="[1:16, 1:16]", **cards
        )
    plan = by_hand.plan_night(tmp_path, profile=by_hand.camera().but(window="CCDSEC"))
    assert [product.input.file for product in plan.products] == ["grey.fits"]
    assert [reason.file for reason in plan.missing] == ["colour.fits"]
