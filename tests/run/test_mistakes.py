"""Mistakes of a night that its pixels show: each has a night that shows it, and one that does not."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import Amplifier, Flat, Limits, Profile, Recipe, reduce_night

SHAPE = (96, 128)
ROWS, COLUMNS = np.indices(SHAPE)
SHADE = 1 - 0.3 * (((ROWS - 47.5) / 47.5) ** 2 + ((COLUMNS - 63.5) / 63.5) ** 2) / 2
GAIN, NOISE = 1.0, 6.0


def camera(saturation=65535 * u.adu, gain=GAIN * u.electron / u.adu, **recipe):
    return Profile(
        name="cam",
        instrument="QHY*",
        amplifiers=[
            Amplifier(
                data="[:, :]",
                overscan=None,
                gain=gain,
                read_noise=NOISE * u.electron,
                saturation=saturation,
            )
        ],
        binning=("XBINNING", "YBINNING"),
        recipe=Recipe(**{"bias": False, "flat": Flat()} | recipe),
    )


class Night:
    """Writes frames in the order of time."""

    def __init__(self, folder, level=500.0, step=1):
        self.folder, self.level, self.step, self.count = folder, level, step, 0
        self.random = np.random.default_rng(20261122)

    def take(self, kind, number, exposure, light=0.0, level=None, noise=NOISE, **cards):
        for _ in range(number):
            self.count += 1
            level_ = self.level if level is None else level
            electrons = self.random.poisson(np.broadcast_to(np.asarray(light, float), SHAPE))
            adu = electrons / GAIN + self.random.normal(0, noise, SHAPE) + level_
            adu = np.clip(np.round(adu / self.step) * self.step, 0, 65536 - self.step)
            header = {"INSTRUME": "QHY600M", "IMAGETYP": kind, "EXPTIME": exposure, "FILTER": "R"}
            header |= {"DATE-OBS": f"2026-11-22T{self.count // 60:02}:{self.count % 60:02}:00"}
            header |= {"XBINNING": 1, "YBINNING": 1, "OFFSET": 10, "OBJECT": "M31"} | cards
            fits.PrimaryHDU(adu.astype("u2"), fits.Header(header)).writeto(
                self.folder / f"{self.count:03}_{kind}.fits"
            )

    def calibrations(self, exposure=60.0, level=None):
        self.take("dark", 5, exposure, level=level)
        self.take("dark", 5, 2.0)
        self.take("flat", 5, 2.0, 20000 * SHADE)


@pytest.fixture
def night(tmp_path):
    (tmp_path / "raw").mkdir()
    return Night(tmp_path / "raw")


def notes_of(night, profile=None):
    reduced = reduce_night(night.folder, night.folder.parent / "out", profile=profile or camera())
    assert not [r for r in reduced.frames if r["verdict"] == "set aside"], reduced.summary
    return [line.strip() for line in reduced.summary.split("Notes")[-1].splitlines()]


def one_with(words, notes):
    found = [note for note in notes if words in note]
    assert len(found) == 1, notes
    return found[0]


WORDS = (
    "light is never negative",
    "the first frame after",
    "corrects a pedestal too much",
    "multiples of",
    "averaged in software",
    "colour camera taken for",
    "probably shifted",
)


def test_a_night_without_mistakes_has_no_note(night):
    night.calibrations()
    # A sky of 2 electrons, with noise as of its dark, and one with a gradient.
    night.take("light", 3, 60.0, 2 * SHADE)
    night.take("light", 2, 60.0, (300 + 2 * COLUMNS) * SHADE)
    # Sky that is brighter in the corners than the centre in reality has no pedestal.
    night.take("light", 1, 60.0, 4000 * SHADE)
    notes = notes_of(night)
    assert not [n for n in notes if any(words in n for words in WORDS)], notes


@pytest.mark.parametrize("off", [12.0, 400.0])
def test_a_dark_of_another_offset_is_named_with_the_light(night, off):
    night.calibrations(level=500 + off)
    night.take("light", 2, 60.0, 2 * SHADE)
    note = one_with("light is never negative", notes_of(night))
    assert note.startswith(("016_light.fits and 1 more: its sky is", "017_light.fits and 1 more"))
    assert "below masters/cam_dark_60s_1x1.fits (error" in note
    assert "made of 001_dark.fits and others" in note


def test_darks_that_drift_allow_a_light_to_be_lower(night):
    for n in range(5):
        night.take("dark", 1, 60.0, level=500 + 4 * n)
        night.take("dark", 1, 2.0)
    night.take("flat", 5, 2.0, 20000 * SHADE)
    night.take("light", 2, 60.0, 2 * SHADE, level=498)
    assert not [n for n in notes_of(night) if "light is never negative" in n]


@pytest.mark.parametrize("kind", ["dark", "light"])
def test_the_first_frame_after_a_change_that_keeps_the_old_settings_is_named(night, kind):
    night.calibrations()
    night.take("light", 2, 60.0, 20 * SHADE)
    changed = {"GAIN": 100, "FILTER": "V", "EXPTIME": 30.0}
    exposure = changed.pop("EXPTIME")
    light = 0.0 if kind == "dark" else 50.0
    night.take(kind, 1, exposure, light, level=500, noise=NOISE, **changed)
    night.take(kind, 3, exposure, light, level=800, noise=3 * NOISE, **changed)
    profile = (
        camera(flat=None, dark=None) if kind == "light" else camera(limits=Limits(outlier=None))
    )
    note = one_with("the first frame after", notes_of(night, profile))
    assert note.startswith(
        f"018_{kind}.fits: the first frame after 017_light.fits with other settings"
    )
    assert "are those of 019" in note


def test_the_first_frame_after_a_change_that_is_like_the_others_is_not_named(night):
    night.calibrations()
    night.take("light", 3, 60.0, 20 * SHADE, GAIN=0)
    night.take("light", 4, 60.0, 200 * SHADE, level=800, noise=2 * NOISE, GAIN=100)
    night.take("light", 3, 60.0, 20 * SHADE, GAIN=0)
    profile = camera(flat=None, dark=None)
    assert not [n for n in notes_of(night, profile) if "the first frame after" in n]


def test_a_light_that_keeps_a_pedestal_is_named(night):
    night.calibrations()
    night.take("light", 1, 60.0, 300 * SHADE, level=800)
    note = one_with("corrects a pedestal too much", notes_of(night))
    assert note.startswith("016_light.fits: its corners have 0.8")
    assert "masters/cam_dark_60s_1x1.fits was subtracted" in note
    assert "masters/cam_flat_R_1x1.fits" in note


@pytest.mark.parametrize("sky", [300 * SHADE, (200 + 3 * COLUMNS) * SHADE, 300 * SHADE**2])
def test_a_light_without_a_pedestal_is_not_named(night, sky):
    night.calibrations()
    night.take("light", 1, 60.0, sky)
    assert not [n for n in notes_of(night) if "corrects a pedestal" in n]


@pytest.mark.parametrize(
    ("saturation", "end"),
    [
        (65535 * u.adu, "no pixel reaches the saturation of cam; write saturation=65520 * u.adu."),
        (None, "it counts as saturated in the checks, as cam has no saturation; add it."),
        (65520 * u.adu, "the saturation of cam is below it."),
    ],
)
def test_twelve_bits_in_sixteen_are_noted(night, saturation, end):
    night.step = 16
    night.calibrations()
    night.take("light", 1, 60.0, 3000 * SHADE)
    note = one_with("multiples of", notes_of(night, camera(saturation)))
    assert (
        "all values are multiples of 16, as of 12 bits stored in 16; the largest is then 65520 adu"
        in note
    )
    assert note.endswith(end)


def test_a_saturated_flat_of_twelve_bits_is_set_aside_without_a_saturation(night):
    night.step = 16
    night.calibrations()
    night.take("flat", 1, 2.0, 80000 * SHADE)
    night.take("light", 1, 60.0, 3000 * SHADE)
    reduced = reduce_night(night.folder, night.folder.parent / "out", profile=camera(None))
    rows = {r["file"]: r["reason"] for r in reduced.frames}
    assert "of its pixels are saturated" in rows["016_flat.fits"]


def test_a_software_average_is_noted_in_binned_flats(night):
    profile = camera(dark="match", limits=Limits(flat_level=None)).but(
        amplifiers=[camera().amplifiers[0].but(data="[1:256, 1:192]")]
    )

    def take(kind, number, exposure, light, noise, factor):
        for _ in range(number):
            values = np.broadcast_to(np.asarray(light, float), SHAPE)
            blocks = [night.random.poisson(values) for _ in range(factor)]
            blocks = np.mean(blocks, axis=0)
            night.take(
                kind, 1, exposure, 0, level=500 + blocks, noise=noise, XBINNING=2, YBINNING=2
            )

    for factor, expected in ((1, False), (4, True)):
        night.folder = night.folder.parent / f"raw{factor}"
        night.folder.mkdir()
        night.count = 0
        noise = NOISE / factor**0.5
        take("dark", 5, 2.0, 0, noise, factor)
        take("dark", 5, 60.0, 0, noise, factor)
        take("flat", 4, 2.0, 20000, noise, factor)
        take("light", 1, 60.0, 300 * SHADE, noise, factor)
        out = night.folder.parent / f"out{factor}"
        reduced = reduce_night(night.folder, out, profile=profile)
        notes = [n for n in reduced.summary.splitlines() if "averaged in software" in n]
        assert bool(notes) is expected, reduced.summary
        if notes:
            assert "011_flat.fits and 3 more" in notes[0]
            assert (
                "corresponds to a gain of 4" in notes[0]
                or "corresponds to a gain of 3.9" in notes[0]
            )


def colours(pattern, numbers={"R": 0.4, "G": 1.0, "B": 0.6}):  # noqa: B006
    four = np.array([numbers[c] for c in pattern]).reshape(2, 2)
    return np.tile(four, (SHAPE[0] // 2, SHAPE[1] // 2))


def test_a_colour_camera_taken_for_a_monochrome_one_is_noted(night):
    night.take("dark", 5, 2.0)
    night.take("dark", 5, 60.0)
    night.take("flat", 4, 2.0, 30000 * SHADE * colours("RGGB"))
    night.take("light", 1, 60.0, 300 * SHADE * colours("RGGB"))
    note = one_with("colour camera taken for", notes_of(night))
    assert note.startswith(
        "masters/cam_flat_R_1x1.fits (011_flat.fits and 3 more): the pixels in even"
    )


@pytest.mark.parametrize("rows", [True, False])
def test_even_and_odd_rows_or_columns_of_other_gain_are_no_colours(night, rows):
    pattern = "RRGG" if rows else "RGRG"
    stripes = colours(pattern, {"R": 0.85, "G": 1.0})
    night.take("dark", 5, 2.0)
    night.take("dark", 5, 60.0)
    night.take("flat", 4, 2.0, 30000 * SHADE * stripes)
    night.take("light", 1, 60.0, 300 * SHADE * stripes)
    assert not [n for n in notes_of(night) if "colour camera" in n]


def test_a_mosaic_without_mistakes_has_no_note(night):
    for exposure in (2.0, 60.0):
        night.take("dark", 5, exposure, BAYERPAT="RGGB")
    night.take("flat", 4, 2.0, 30000 * SHADE * colours("RGGB"), BAYERPAT="RGGB")
    for sky in (3, 300, 3000):
        night.take("light", 1, 60.0, sky * SHADE * colours("RGGB"), BAYERPAT="RGGB")
    notes = notes_of(night)
    assert not [n for n in notes if any(words in n for words in WORDS)], notes


@pytest.mark.parametrize(("card", "noted"), [("RGGB", False), ("GRBG", True)])
def test_a_pattern_that_is_shifted_is_noted(night, card, noted):
    night.take("dark", 5, 2.0, BAYERPAT=card)
    night.take("dark", 5, 60.0, BAYERPAT=card)
    night.take("flat", 4, 2.0, 30000 * SHADE * colours("RGGB"), BAYERPAT=card)
    night.take("light", 1, 60.0, 300 * SHADE * colours("RGGB"), BAYERPAT=card)
    notes = [n for n in notes_of(night) if "probably shifted" in n]
    assert bool(notes) is noted


def test_darks_of_another_order_of_rows_are_refused_by_the_card(night):
    night.calibrations()
    for path in night.folder.glob("*.fits"):
        fits.setval(path, "ROWORDER", value="TOP-DOWN")
    night.take("light", 1, 60.0, 300 * SHADE, ROWORDER="BOTTOM-UP")
    reduced = reduce_night(night.folder, night.folder.parent / "out", profile=camera())
    rows = {r["file"]: r["reason"] for r in reduced.frames}
    assert (
        "ROWORDER = BOTTOM-UP; there are darks with ROWORDER = TOP-DOWN" in rows["016_light.fits"]
    )
