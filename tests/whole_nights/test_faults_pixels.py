"""What goes wrong with pixels and with the set of frames, each among a night that is good.

The rows P and C, and F7, of the list of faults that this package is built against; each
test says which. A night has one fault at a time. Then every file has its row, the faulty
frame its code and its sentence; what does not depend on it has the same bytes as without
the fault, and a master is the one of a night that never had the frame.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import by_hand
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import Amplifier, Flat, Limits, Profile, Recipe, plan_night, reduce_night
from ccdprofiles.cli.command import main
from ccdprofiles.errors import InputError, PlanError
from ccdprofiles.products.band import DQ_BITS

ROWS, COLUMNS, STRIP = 64, 80, 16
PEDESTAL, READ_NOISE = 1000, 4.0
SATURATED, NO_DATA, NO_FLAT = (DQ_BITS[n] for n in ("saturated", "no data", "no flat"))

CAMERA = Profile(
    instrument="C",
    name="c",
    amplifiers=[
        Amplifier(
            data=f"[1:{COLUMNS}, 1:{ROWS}]",
            overscan=f"[{COLUMNS + 1}:{COLUMNS + STRIP}, 1:{ROWS}]",
            gain=1 * u.electron / u.adu,
            read_noise=READ_NOISE * u.electron,
            saturation=60000 * u.adu,
        )
    ],
    recipe=Recipe(bias=True, dark="match", flat=Flat()),
)

LIGHT = {"bias": 0, "dark": 40, "flat": 20000, "science": 400}
SECONDS = {"bias": 0.0, "dark": 30.0, "flat": 30.0, "science": 30.0}
NIGHT = {"bias": 5, "dark": 5, "flat_r": 4, "flat_g": 4, "science_r": 2, "science_g": 1}
KEPT = " To use it nevertheless: keep=[FILE] (--keep FILE)."

BIAS, DARK = "masters/c_bias_1x1.fits", "masters/c_dark_30s_1x1.fits"
FLAT_R, FLAT_G = "masters/c_flat_r_1x1.fits", "masters/c_flat_g_1x1.fits"


# Nights, good and bad.


def image(name, kind):
    """Return the pixels of a good frame: light on the data, none on the overscan."""
    random = np.random.default_rng(int(hashlib.sha256(name.encode()).hexdigest()[:8], 16))
    data = random.normal(PEDESTAL, READ_NOISE, (ROWS, COLUMNS + STRIP))
    light = random.poisson(LIGHT[kind], (ROWS, COLUMNS))
    data[:, :COLUMNS] += light
    return data.round().astype("u2")


def write(path, data, kind, filter=None, **cards):
    said = {"INSTRUME": "C", "IMAGETYP": "light" if kind == "science" else kind}
    said |= {"EXPTIME": SECONDS[kind], "DATE-OBS": "2024-03-01T20:00:00"}
    said |= {"FILTER": filter} if filter else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(data, fits.Header([*(said | cards).items()])).writeto(path)


def write_night(folder, night=NIGHT):
    for word, number in night.items():
        kind, _, filter = word.partition("_")
        for n in range(number):
            name = f"{word}{n}.fits"
            write(folder / name, image(name, kind), kind, filter)
    return folder


def damage(path, change, **cards):
    """Write a frame anew with other pixels; its header says what it said."""
    with fits.open(path) as hdus:
        data, header = hdus[0].data.copy(), hdus[0].header.copy()
    for card in ("BZERO", "BSCALE"):
        header.remove(card, ignore_missing=True)
    path.unlink()
    header.update(cards)
    fits.PrimaryHDU(change(data), header).writeto(path)


def octets(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def reduced(folder, output, **options):
    """Reduce a night that no one may write to, and see that no one did."""
    before = octets(folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    night = reduce_night(folder, output, **{"profile": CAMERA, **options})
    assert octets(folder) == before
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert sorted(night.frames["file"]) == sorted(before)
    return night


@pytest.fixture(scope="session")
def good(tmp_path_factory):
    """The night without a fault, and what becomes of it."""
    folder = tmp_path_factory.mktemp("good")
    write_night(folder / "raw")
    night = reduced(folder / "raw", folder / "out")
    assert night.ok
    assert len(night.masters) == 4
    assert len(night.products) == 3
    return night


@pytest.fixture
def raw(good, tmp_path):
    """A copy of the good night, to be spoilt."""
    return Path(shutil.copytree(good.folder, tmp_path / "raw"))


@pytest.fixture(scope="session")
def without(good, tmp_path_factory):
    """The good night less one file, made once for each file."""
    made = {}

    def night(file):
        if file not in made:
            folder = tmp_path_factory.mktemp("without")
            shutil.copytree(good.folder, folder / "raw")
            (folder / "raw" / file).unlink()
            made[file] = reduced(folder / "raw", folder / "out")
        return made[file]

    return night


def row(night, file):
    (found,) = (r for r in night.frames if r["file"] == file)
    return found


def told(night, file):
    found = row(night, file)
    return str(found["verdict"]), str(found["code"]), str(found["reason"])


def needs(plan, name):
    """Return every file that a master or product is made of, through its masters too."""
    masters = {m.name: m for m in plan.masters}
    inputs = masters[name].inputs if name in masters else ()
    inputs = inputs or [p.input for p in plan.products if p.name == name]
    files = {i.file for i in inputs}
    above = {m for i in inputs for m in (i.bias, i.dark, i.flat) if m}
    return files.union(*(needs(plan, m) for m in above))


def same_pixels(one, other):
    with fits.open(one) as a, fits.open(other) as b:
        for name in (0, "UNCERT", "DQ"):
            np.testing.assert_array_equal(a[name].data, b[name].data)


def compare(night, good, less, file):
    """What needs the frame is as if it had never been there, the rest as if nothing were wrong."""
    everything = {**good.masters, **good.products}
    made = {**night.masters, **night.products}
    left = {**less.masters, **less.products}
    for name, path in everything.items():
        if file not in needs(good.plan, name):
            assert made[name].read_bytes() == path.read_bytes(), name
        else:
            assert (name in made) == (name in left), name
            if name in left:
                same_pixels(made[name], left[name])


# One frame is set aside, and costs itself.


@dataclass(frozen=True)
class Fault:
    """What is done to a frame, and what is said of it."""

    row: str
    file: str
    change: object
    code: str
    sentence: str
    more: str = KEPT


def put(value, *where):
    def change(data):
        data[where] = value
        return data

    return change


def over(light):
    """Return a change that puts other light on the data, and none on the overscan."""

    def change(data):
        fresh = np.random.default_rng(3).normal(PEDESTAL + light, READ_NOISE, (ROWS, COLUMNS))
        data[:, :COLUMNS] = fresh.round().clip(0, 65535)
        return data

    return change


def noisy(data):
    data[:, :COLUMNS] = np.random.default_rng(3).normal(PEDESTAL, 12, (ROWS, COLUMNS)).round()
    return data


def some_of(value, share):
    def change(data):
        hit = np.random.default_rng(5).random((ROWS, COLUMNS)) < share
        data[:, :COLUMNS][hit] = value
        return data

    return change


TAIL = "17.2 % of its rows contain a single value (0 adu), but at most 1 % may; the read-out or the copying was probably interrupted; copy it again from the camera."

FAULTS = [
    Fault("F7 in a bias", "bias0.fits", put(0, slice(53, None)), "constant-rows", TAIL),
    Fault("F7 in a dark", "dark1.fits", put(0, slice(53, None)), "constant-rows", TAIL),
    Fault("F7 in a flat", "flat_r0.fits", put(0, slice(53, None)), "constant-rows", TAIL),
    Fault("F7 in science", "science_r1.fits", put(0, slice(53, None)), "constant-rows", TAIL),
    Fault(
        "P10",
        "bias2.fits",
        lambda data: np.full(data.shape, np.nan, "f4"),
        "all-nan",
        "none of its pixels has a finite value; copy the file again, or remove it from the night.",
        more="",
    ),
    Fault(
        "A5, one value",
        "dark0.fits",
        some_of(1000, 0.4),
        "one-value",
        "40.6 % of its pixels have the same value (1000 adu), but at most 20 % may; inspect it, and remove it from the night.",
    ),
    Fault(
        "P12, a bias with light",
        "bias3.fits",
        over(60),
        "outlier",
        "its level is 60 adu above the median of its group (0 adu, 5 bias frames, tolerance "
        "4.053 adu); check it for light.",
    ),
    Fault(
        "P12, a dark with light",
        "dark3.fits",
        over(90),
        "outlier",
        "its level is 49.5 adu above the median of its group (40 adu, 5 dark frames, tolerance "
        "7.451 adu); check it for light.",
    ),
    Fault(
        "A5, the noise of a bias",
        "bias4.fits",
        noisy,
        "read-noise",
        "its pixels scatter by 3.03 times the read noise of the profile, but 0.7 to 1.5 times are "
        "expected of a bias; check that it was read out in the same way as the others.",
    ),
    Fault(
        "P14, saturated",
        "flat_g1.fits",
        some_of(65535, 0.12),
        "saturated",
        "12.9 % of its pixels are saturated, but a flat must have less than 5 %; take it again "
        "with less light.",
    ),
    Fault(
        "P14, too bright",
        "flat_r1.fits",
        over(52000),
        "flat-level",
        "its level of 52000 adu is 86.7 % of the saturation level, but a flat needs 10 % to "
        "80 %; take it again with less light.",
    ),
    Fault(
        "P14, low counts",
        "flat_r2.fits",
        over(3000),
        "flat-level",
        "its level of 3000 adu is 5 % of the saturation level, but a flat needs 10 % to 80 %; "
        "take it again with more light.",
    ),
    Fault(
        "P14, a bias",
        "flat_g2.fits",
        over(0),
        "flat-level",
        "its level of 0 adu is 0 % of the saturation level, but a flat needs 10 % to 80 %; take "
        "it again with more light.",
    ),
    Fault(
        "P14, all zero",
        "flat_g0.fits",
        put(0),
        "constant-rows",
        TAIL.replace("17.2", "100"),
    ),
    Fault(
        "P13 and P25, negative",
        "flat_r3.fits",
        over(-500),
        "flat-level",
        "its level of -500 adu is -0.833 % of the saturation level, but a flat needs 10 % to "
        "80 %; take it again with more light.",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.row)
def test_one_bad_frame_is_set_aside_and_costs_itself(good, without, raw, tmp_path, fault):
    damage(raw / fault.file, fault.change)
    night = reduced(raw, tmp_path / "out")
    sentence = f"{fault.file}: {fault.sentence}{fault.more}"
    assert told(night, fault.file) == ("set aside", fault.code, sentence)
    others = night.frames[night.frames["file"] != fault.file]
    assert set(others["verdict"]) == {"used"}
    assert not night.ok
    compare(night, good, without(fault.file), fault.file)


def test_an_overscan_without_any_value_sets_its_frame_aside(good, without, raw, tmp_path):
    """Row P18, where a median leaves nothing out because there is nothing."""
    damage(raw / "bias1.fits", lambda d: put(np.nan, slice(None), slice(COLUMNS, None))(as_real(d)))
    night = reduced(raw, tmp_path / "out")
    assert told(night, "bias1.fits") == (
        "set aside",
        "overscan",
        "bias1.fits: its overscan has no finite value; copy the file again, or remove it from the night.",
    )
    compare(night, good, without("bias1.fits"), "bias1.fits")


# A frame is used, and what is wrong with it is said.


def as_real(data):
    return data.astype("f4")


def product_of(night, file):
    (name,) = (p.name for p in night.plan.products if p.input.file == file)
    return night.products[name]


def assert_others_are_the_same(night, good, file):
    for name, path in {**good.masters, **good.products}.items():
        if file not in needs(good.plan, name):
            assert {**night.masters, **night.products}[name].read_bytes() == path.read_bytes()


def test_unsigned_numbers_that_a_file_calls_signed_are_told_of(good, raw, tmp_path):
    """Row P4: 40000 adu become -25536."""

    def change(data):
        data[20:24, 20:24] = 40000
        return data.view("i2")

    damage(raw / "science_r0.fits", change)
    night = reduced(raw, tmp_path / "out")
    assert (
        "  science_r0.fits: 0.312 % of its pixels are below -4096 adu, like values above 32767 in a file that declares them signed (BITPIX = 16 without BZERO); check that the camera writes "
        "BZERO = 32768."
    ) in str(night).splitlines()
    assert told(night, "science_r0.fits")[0] == "used"
    assert_others_are_the_same(night, good, "science_r0.fits")


def test_signed_numbers_about_zero_are_no_fault(raw, tmp_path):
    """Row P4, the other side: noise about a pedestal of nothing is negative half of the time."""
    damage(raw / "science_r0.fits", lambda d: (d.astype("i4") - 1400).clip(-200, 200).astype("i2"))
    assert "calls them signed" not in str(reduced(raw, tmp_path / "out"))


@pytest.mark.parametrize("blank", [True, False])
def test_pixels_without_a_value_are_flagged_and_the_others_are_what_they_were(
    good, raw, tmp_path, blank
):
    """Rows P5 and P6: BLANK in whole numbers, NaN in real ones."""
    if blank:
        change, cards = (lambda d: put(-999, 7, 9)(d.astype("i4"))), {"BLANK": -999}
    else:
        change, cards = (lambda d: put(np.nan, 7, 9)(as_real(d))), {}
    damage(raw / "science_r0.fits", change, **cards)
    night = reduced(raw, tmp_path / "out")
    assert night.ok
    flags = fits.getdata(product_of(night, "science_r0.fits"), "DQ")
    usual = fits.getdata(product_of(good, "science_r0.fits"), "DQ")
    assert flags[7, 9] == NO_DATA
    data = fits.getdata(product_of(night, "science_r0.fits"))
    was = fits.getdata(product_of(good, "science_r0.fits"))
    rest = np.ones((ROWS, COLUMNS), bool)
    rest[7, 9] = False
    np.testing.assert_array_equal(data[rest], was[rest])
    np.testing.assert_array_equal(flags[rest], usual[rest])
    assert_others_are_the_same(night, good, "science_r0.fits")


# Infinity is no value either.


def strewn(*values, dtype="f4"):
    """Return a change that puts values that are no adu on the data and on the overscan."""

    def change(data):
        data = data.astype(dtype)
        for n, value in enumerate(values):
            data[10 + n, 20 + n] = value
            data[30 + n, COLUMNS + 3] = value
        return data

    return change


SIGNALLING = np.array([0x7FF0000000000001], "u8").view("f8")[0]


@pytest.mark.parametrize(
    ("kinds", "options", "change"),
    [
        (NIGHT, {}, strewn(np.inf, -np.inf)),
        (NIGHT, {}, strewn(np.inf, -np.inf, 1e39, -1e300, SIGNALLING, dtype="f8")),
        (NIGHT, {}, strewn(1e38, -3e38, 1e25)),
        (("science_r",), {"cosmic_rays": True}, strewn(np.inf, -np.inf)),
    ],
    ids=["float32", "float64", "huge", "cosmic rays"],
)
def test_infinity_is_no_data_in_any_frame(tmp_path, kinds, options, change):
    """It is flagged as NaN is, no warning of numpy is raised, and no plane holds it."""
    write_night(tmp_path / "raw")
    for kind in kinds:
        # In a single frame of each, so that masters have the other frames there.
        damage(tmp_path / "raw" / f"{kind}0.fits", change)
    night = reduced(tmp_path / "raw", tmp_path / "out", **options)
    assert night.ok
    for name, path in {**night.masters, **night.products}.items():
        with fits.open(path) as hdus:
            for plane in (0, "UNCERT"):
                assert not np.isinf(hdus[plane].data).any(), (name, plane)
                assert np.nanmax(np.abs(hdus[plane].data)) < 1e5, (name, plane)
    path = product_of(night, "science_r0.fits")
    assert fits.getdata(path, "DQ")[10, 20] == NO_DATA
    assert np.isnan(fits.getdata(path)[10, 20])
    assert fits.getdata(path)[35, 40] == pytest.approx(400, abs=150)


def test_infinity_in_every_frame_of_a_master_is_no_data_of_it(tmp_path):
    write_night(tmp_path / "raw")
    for path in (tmp_path / "raw").glob("*.fits"):
        damage(path, strewn(np.inf, -np.inf))
    night = reduced(tmp_path / "raw", tmp_path / "out")
    assert night.ok
    for path in night.masters.values():
        assert fits.getdata(path, "DQ")[10, 20] & (NO_DATA | NO_FLAT)
    for path in (*night.masters.values(), *night.products.values()):
        assert not np.isinf(fits.getdata(path)).any()
        assert not np.isinf(fits.getdata(path, "UNCERT")).any()


def test_saturation_is_told_from_the_raw_pixels(good, raw, tmp_path):
    """Row P7: 60500 adu are full, although 59500 are left once the overscan is off."""
    damage(raw / "science_r0.fits", put(60500, slice(30, 33), slice(40, 43)))
    night = reduced(raw, tmp_path / "out")
    assert night.ok
    full = fits.getdata(product_of(night, "science_r0.fits"), "DQ") & SATURATED
    assert np.argwhere(full).tolist() == [[y, x] for y in (30, 31, 32) for x in (40, 41, 42)]
    assert_others_are_the_same(night, good, "science_r0.fits")


def test_science_that_is_saturated_is_flagged_and_used(raw, tmp_path):
    """A5: too much light costs a calibration frame, and never a science frame."""
    damage(raw / "science_r0.fits", some_of(65535, 0.3))
    night = reduced(raw, tmp_path / "out")
    assert night.ok
    full = fits.getdata(product_of(night, "science_r0.fits"), "DQ") & SATURATED
    assert np.count_nonzero(full) > 0.25 * full.size


@pytest.mark.parametrize("hole", [0, np.nan])
def test_a_hole_in_the_flats_divides_nothing(good, raw, tmp_path, hole):
    """Row P13: a pixel without light or value has no flat, and is not divided."""
    for n in range(4):
        damage(raw / f"flat_r{n}.fits", lambda d: put(hole, 12, 13)(as_real(d)))
    night = reduced(raw, tmp_path / "out")
    assert night.ok
    with fits.open(night.masters[FLAT_R]) as flat:
        assert flat[0].data[12, 13] == 1
        assert flat["DQ"].data[12, 13] & NO_FLAT
    with fits.open(product_of(night, "science_r0.fits")) as science:
        assert science["DQ"].data[12, 13] & NO_FLAT
        assert science[0].data[12, 13] == pytest.approx(LIGHT["science"], abs=150)
    assert_others_are_the_same(night, good, "flat_r0.fits")


STAR = slice(20, 26), slice(COLUMNS, None)


def test_a_star_in_the_overscan_costs_the_rows_nothing(good, raw, tmp_path):
    """Row P17: a row of 245 adu became -58756."""
    damage(raw / "science_r0.fits", put(59000, *STAR))
    night = reduced(raw, tmp_path / "out")
    assert told(night, "science_r0.fits")[0] == "used"
    assert (
        "  science_r0.fits: light in the overscan [81:96, 1:64]: 6 of its 64 rows deviate; the "
        "level of the other rows is used for them."
    ) in str(night).splitlines()
    path, usual = product_of(night, "science_r0.fits"), product_of(good, "science_r0.fits")
    assert fits.getheader(path)["OSLIT1"] == 6
    assert "OSLIT1" not in fits.getheader(usual)
    data, was = fits.getdata(path), fits.getdata(usual)
    lit = np.zeros(ROWS, bool)
    lit[STAR[0]] = True
    np.testing.assert_array_equal(data[~lit], was[~lit])
    np.testing.assert_allclose(data[lit], was[lit], atol=4)
    assert_others_are_the_same(night, good, "science_r0.fits")


def test_light_over_much_of_the_overscan_leaves_the_level_of_its_sides(good, raw, tmp_path):
    """Row P17: the neighbours are lit as well."""
    damage(raw / "science_r0.fits", put(5000, slice(20, 48), slice(COLUMNS, None)))
    night = reduced(raw, tmp_path / "out")
    data = fits.getdata(product_of(night, "science_r0.fits"))
    was = fits.getdata(product_of(good, "science_r0.fits"))
    np.testing.assert_allclose(data, was, atol=5)
    assert fits.getheader(product_of(night, "science_r0.fits"))["OSLIT1"] == 28


def test_missing_pixels_of_an_overscan_are_left_out(good, raw, tmp_path):
    """Row P18: one NaN made a row NaN."""
    damage(raw / "science_r0.fits", lambda d: put(np.nan, 5, COLUMNS + 3)(as_real(d)))
    night = reduced(raw, tmp_path / "out")
    assert night.ok
    data = fits.getdata(product_of(night, "science_r0.fits"))
    was = fits.getdata(product_of(good, "science_r0.fits"))
    np.testing.assert_array_equal(np.delete(data, 5, 0), np.delete(was, 5, 0))
    np.testing.assert_allclose(data[5], was[5], atol=3)


@pytest.mark.parametrize("kind", ["bias", "dark", "flat", "science"])
def test_a_frame_of_another_shape_is_not_mixed_with_the_others(good, without, raw, tmp_path, kind):
    """Rows P19 to P21: rows are not cropped, and a row is not laid over all others."""
    file = next(f for f in sorted(octets(raw)) if f.startswith(kind))
    damage(raw / file, lambda d: d[:1])
    night = reduced(raw, tmp_path / "out")
    assert told(night, file) == (
        "set aside",
        "section",
        f"{file}: c: the frame has 96 columns and 1 rows, but 96 columns and 64 rows were expected, according to the sections in the profile; set binning= in the profile to the cards of the binning if the frame is binned, reject the frame if it was truncated or windowed, otherwise correct the "
        "sections in the profile.",
    )
    compare(night, good, without(file), file)


def test_a_frame_that_is_larger_than_the_others_is_not_cropped_into_their_master(
    good, without, raw, tmp_path
):
    """Row P20."""
    larger = np.random.default_rng(8).normal(PEDESTAL, READ_NOISE, (ROWS + 8, COLUMNS + STRIP))
    damage(raw / "bias0.fits", lambda d: larger.round().astype("u2"))
    night = reduced(raw, tmp_path / "out")
    assert told(night, "bias0.fits")[:2] == ("set aside", "section")
    compare(night, good, without("bias0.fits"), "bias0.fits")


def test_biases_that_all_scatter_otherwise_speak_against_the_profile(good, tmp_path):
    """A5: what all of them say is not the fault of one."""
    (amplifier,) = CAMERA.amplifiers
    wrong = replace(CAMERA, amplifiers=[replace(amplifier, read_noise=2 * u.electron)])
    night = reduced(good.folder, tmp_path / "out", profile=wrong)
    assert night.ok
    assert (
        "  c: the 5 frames of masters/c_bias_1x1.fits scatter by 2.03 times the read noise of "
        "the profile, but 0.7 to 1.5 times are expected; correct read_noise= or gain= in the profile."
    ) in str(night).splitlines()


def two_amplifiers(left, right):
    """Return the camera with a read noise for each half of the chip."""
    half, strip = COLUMNS // 2, STRIP // 2
    return replace(
        CAMERA,
        amplifiers=[
            replace(
                CAMERA.amplifiers[0],
                name=name,
                data=f"[{n * half + 1}:{(n + 1) * half}, 1:{ROWS}]",
                overscan=f"[{COLUMNS + n * strip + 1}:{COLUMNS + (n + 1) * strip}, 1:{ROWS}]",
                read_noise=noise * u.electron,
            )
            for n, (name, noise) in enumerate((("left", left), ("right", right)))
        ],
    )


def test_one_amplifier_whose_noise_the_profile_has_wrong_costs_no_bias(raw, tmp_path):
    damage(raw / "bias4.fits", noisy)
    night = reduced(raw, tmp_path / "out", profile=two_amplifiers(READ_NOISE, 2))
    said = str(night)
    assert night.set_aside["file"].tolist() == ["bias4.fits"]
    assert "its pixels scatter by 2.98 times the read noise of the profile" in said
    assert (
        "read noise of the profile in 1 of 2 amplifiers, but 0.7 to 1.5 times are expected; correct "
        "read_noise= or gain= in the profile."
    ) in said


def test_biases_alike_stay_together_though_the_limit_lies_between_them(good, tmp_path):
    # Noise of 1.016 times the profile's, as rounding adds to it, and of a percent more or less.
    limits = Limits(read_noise=(0.7, 1.016))
    profile = replace(CAMERA, recipe=replace(CAMERA.recipe, limits=limits))
    night = reduced(good.folder, tmp_path / "out", profile=profile)
    assert night.ok


# The set of frames.


def test_a_night_without_science_makes_its_masters(tmp_path):
    """Row C1."""
    write_night(tmp_path / "raw", {k: n for k, n in NIGHT.items() if "science" not in k})
    night = reduced(tmp_path / "raw", tmp_path / "out")
    assert night.ok
    assert len(night.masters) == 4
    assert "  the night has no science frame; only masters are made" in str(night).splitlines()


def test_science_without_a_flat_is_told_and_can_be_had_without(good, raw, tmp_path):
    """Row C2."""
    for n in range(4):
        (raw / f"flat_g{n}.fits").unlink()
    night = reduced(raw, tmp_path / "out")
    assert told(night, "science_g0.fits") == (
        "not calibrated",
        "no-flat",
        "science_g0.fits: no flat in filter g; there are flats in r.",
    )
    assert_others_are_the_same(night, good, "flat_g0.fits")
    night = reduced(raw, tmp_path / "without", without=("flat",))
    header = fits.getheader(product_of(night, "science_g0.fits"))
    assert (header["CALSTAT"], header["NOFLAT"], "FLATCOR" in header) == ("OBD", True, False)


def test_science_without_a_dark_is_told(raw, tmp_path):
    """Row C3."""
    for n in range(5):
        damage(raw / f"dark{n}.fits", lambda d: d, EXPTIME=60.0)
    night = reduced(raw, tmp_path / "out")
    assert told(night, "science_g0.fits") == (
        "not calibrated",
        "no-dark",
        "science_g0.fits: no dark of 30 s ± 1 s; the nearest is 60 s, which differs by 30 s. To scale a longer dark, use dark='scale' in the recipe (--set dark=scale).",
    )


FEW = (
    "2 of the flats in g can be used, but a master needs 3; take more, or allow fewer with "
    "min_frames=2 (--min-frames 2)."
)


@pytest.fixture
def few(raw):
    """A night of two flats in g."""
    for n in (2, 3):
        (raw / f"flat_g{n}.fits").unlink()
    return raw


def test_fewer_frames_than_a_master_needs_are_set_aside(good, few, tmp_path):
    """Rows C4 and P23."""
    plan = plan_night(few, profile=CAMERA)
    assert not plan.complete
    assert f"  2 files (flat_g0.fits … flat_g1.fits): {FEW}" in str(plan).splitlines()
    assert any("--min-frames" in remedy for remedy in plan.remedies)
    with pytest.raises(PlanError, match="min_frames=2"):
        reduce_night(few, tmp_path / "out", profile=CAMERA, strict=True)
    night = reduced(few, tmp_path / "out")
    for n in (0, 1):
        file = f"flat_g{n}.fits"
        assert told(night, file) == ("set aside", "few-frames", f"{file}: {FEW}")
    assert told(night, "science_g0.fits")[1] == "no-flat"
    assert FLAT_G not in night.masters
    assert_others_are_the_same(night, good, "flat_g0.fits")


@pytest.mark.parametrize("by_profile", [True, False])
def test_fewer_frames_do_where_somebody_says_so(good, few, tmp_path, by_profile):
    """Row C4: the profile decides, and the caller overrules it."""
    if by_profile:
        recipe = replace(CAMERA.recipe, limits=Limits(frames={"flat": 2}))
        night = reduced(few, tmp_path / "out", profile=replace(CAMERA, recipe=recipe))
    else:
        night = reduced(few, tmp_path / "out", min_frames=2)
        assert json.loads((night.output / "plan.json").read_text())["min_frames"] == 2
    assert night.ok
    assert fits.getheader(night.masters[FLAT_G])["NCOMBINE"] == 2


def test_more_frames_may_be_asked_for(good, tmp_path):
    """Row C4: and no master is made of fewer; arcs need no more than they did."""
    night = reduced(good.folder, tmp_path / "out", min_frames=5)
    assert sorted(night.masters) == [BIAS, DARK]
    assert row(night, "flat_r3.fits")["code"] == "few-frames"


def test_one_arc_is_enough(raw, tmp_path):
    write(raw / "arc.fits", image("arc", "flat"), "flat", "r", IMAGETYP="arc")
    night = reduced(raw, tmp_path / "out", min_frames=2)
    assert told(night, "arc.fits")[0] == "used"


def test_too_few_that_are_left_make_no_master(raw, tmp_path):
    """Row C4: three flats are enough, and two that are left of them are not."""
    (raw / "flat_g3.fits").unlink()
    damage(raw / "flat_g0.fits", over(3000))
    night = reduced(raw, tmp_path / "out")
    assert told(night, "flat_g0.fits")[1] == "flat-level"
    assert told(night, "flat_g1.fits") == ("set aside", "few-frames", f"{FLAT_G}: {FEW}")
    assert told(night, "science_g0.fits") == (
        "not calibrated",
        "no-master",
        "science_g0.fits: its c_flat_g_1x1 could not be made.",
    )
    assert reduced(raw, tmp_path / "two", min_frames=2).masters.keys() >= {FLAT_G}


def test_no_frame_that_is_left_makes_no_master(raw, tmp_path):
    """Row P24: an empty group is no IndexError."""
    for n in range(4):
        damage(raw / f"flat_g{n}.fits", over(0))
    night = reduced(raw, tmp_path / "out", min_frames=1)
    assert (
        "  masters/c_flat_g_1x1.fits: none of its frames can be used; see the reason for each."
    ) in str(night).splitlines()
    assert told(night, "science_g0.fits")[1] == "no-master"


def test_two_cameras_in_one_folder_stay_apart(good, raw, tmp_path):
    """Row C5."""
    for kind, number in (("bias", 3), ("dark", 3), ("flat", 3), ("science", 1)):
        for n in range(number):
            data = image(f"d{kind}{n}", kind)
            write(raw / f"d_{kind}{n}.fits", data, kind, "r", INSTRUME="D")
    other = replace(CAMERA, instrument="D", name="d")
    night = reduced(raw, tmp_path / "out", profile=None, profiles=[CAMERA, other])
    assert night.ok
    assert len(night.masters) == 7
    for name, path in {**good.masters, **good.products}.items():
        same_pixels({**night.masters, **night.products}[name], path)


def test_flats_of_twilight_are_scaled_and_their_stars_clipped(raw, tmp_path):
    """Row C6: a ramp of light is no fault, and a star in one of the flats none either."""
    for n, light in enumerate((40000, 30000, 20000, 10000)):
        damage(raw / f"flat_r{n}.fits", over(light), EXPTIME=30.0 + n / 10)
    damage(raw / "flat_r0.fits", put(50000, slice(30, 34), slice(30, 34)))
    night = reduced(raw, tmp_path / "out")
    assert night.ok
    flat = fits.getdata(night.masters[FLAT_R])
    assert flat[30:34, 30:34].mean() == pytest.approx(1, abs=0.005)


def test_masters_of_another_night_are_taken_only_when_named(good, raw, tmp_path):
    """Row C7."""
    for n in range(5):
        (raw / f"bias{n}.fits").unlink()
    night = reduced(raw, tmp_path / "alone")
    assert told(night, "science_r0.fits")[1] == "no-bias"
    lent = reduced_beside(raw, tmp_path / "lent", good.output / "masters")
    header = fits.getheader(product_of(lent, "science_r0.fits"))
    assert header["ZEROCOR"] == "c_bias_1x1.fits"
    rows = fits.getdata(product_of(lent, "science_r0.fits"), "PROVENANCE")
    assert ("calibrations/masters/c_bias_1x1.fits", "master bias") in {(r[0], r[2]) for r in rows}


def reduced_beside(raw, output, *folders):
    return reduce_night(raw, output, profile=CAMERA, calibrations=folders)


def test_too_few_of_another_night_are_told(good, raw, tmp_path):
    """Rows C4 and C7."""
    for n in range(5):
        (raw / f"bias{n}.fits").unlink()
    for n in range(2):
        write(tmp_path / "june" / f"b{n}.fits", image(f"june{n}", "bias"), "bias")
    night = reduced_beside(raw, tmp_path / "out", tmp_path / "june")
    assert told(night, "june/b0.fits")[:2] == ("set aside", "few-frames")
    assert told(night, "science_r0.fits") == (
        "not calibrated",
        "no-bias",
        "science_r0.fits: no bias of 96x64 pixels binned 1x1; the 2 of the night cannot be used for the reasons listed with them.",
    )


def test_a_profile_that_changed_makes_all_anew(good, raw, tmp_path):
    """Row C8."""
    reduced(raw, tmp_path / "out")
    assert len(reduced(raw, tmp_path / "out").kept) == 7
    recipe = replace(CAMERA.recipe, limits=Limits(saturated=0.1))
    night = reduced(raw, tmp_path / "out", profile=replace(CAMERA, recipe=recipe))
    assert night.kept == frozenset()
    assert night.ok


def test_limits_of_the_profile_decide(raw, tmp_path):
    """F7: simulated frames without noise may need it."""
    damage(raw / "bias0.fits", put(0, slice(53, None)))
    recipe = replace(CAMERA.recipe, limits=Limits(constant_rows=1, common_value=1))
    night = reduced(raw, tmp_path / "out", profile=replace(CAMERA, recipe=recipe))
    assert told(night, "bias0.fits")[0] == "used"


COLD = replace(
    CAMERA,
    temperature="CCD-TEMP",
    recipe=replace(CAMERA.recipe, limits=Limits(temperature=2 * u.deg_C)),
)


def cool(folder, **degrees):
    """Write into the headers how cold the chip was."""
    for path in sorted(folder.glob("*.fits")):
        damage(path, lambda d: d, **{"CCD-TEMP": degrees.get(path.stem, -40.0)})


def test_a_dark_of_another_temperature_goes_to_its_own_group(good, without, raw, tmp_path):
    """Row H17 and A5: whether the profile names the card or not; only one that ignores it is blind."""
    cool(raw, dark4=-30.0, dark3=-39.0)
    blind = replace(CAMERA, ignore_cards=("CCD-TEMP",))
    assert reduced(raw, tmp_path / "blind", profile=blind).ok
    usual = reduced(raw, tmp_path / "usual")
    assert told(usual, "dark4.fits")[:2] == ("set aside", "few-frames")
    night = reduced(raw, tmp_path / "out", profile=COLD)
    assert told(night, "dark4.fits") == (
        "set aside",
        "few-frames",
        "dark4.fits: 1 of the darks of 30 s at -30 °C can be used, but a master needs 3; take "
        "more, or allow fewer with min_frames=1 (--min-frames 1).",
    )
    compare_pixels = without("dark4.fits")
    for name in (*compare_pixels.masters, *compare_pixels.products):
        made = {**night.masters, **night.products}[name]
        same_pixels(made, {**compare_pixels.masters, **compare_pixels.products}[name])
    assert fits.getheader(night.masters[DARK])["CPTEMP"] == -39.75


def test_a_frame_takes_no_dark_of_another_temperature(raw, tmp_path):
    cool(raw, science_g0=-35.0)
    night = reduced(raw, tmp_path / "out", profile=COLD)
    assert told(night, "science_g0.fits") == (
        "not calibrated",
        "no-dark",
        "science_g0.fits: no dark of -35 ± 2 °C; there are darks of -40 °C.",
    )
    assert told(night, "science_r0.fits")[0] == "used"
    # A master that is lent remembers how cold its chips were.
    lent = reduce_night(
        raw,
        tmp_path / "lent",
        profile=COLD,
        reject=[f"dark{n}.fits" for n in range(5)],
        calibrations=[night.output / "masters"],
    )
    assert told(lent, "science_g0.fits")[1] == "no-dark"
    assert told(lent, "science_r0.fits")[0] == "used"


@pytest.mark.parametrize("card", ["GAIN", "READMODE"])
def test_a_frame_that_was_read_out_otherwise_goes_to_its_own_group(
    good, without, raw, tmp_path, card
):
    """Row H17: what the profile names is a key of the groups, and one frame is no group."""
    for path in sorted(raw.glob("*.fits")):
        damage(path, lambda d: d, **{card: 2 if path.name == "bias1.fits" else 1})
    if card == "GAIN":
        (amplifier,) = CAMERA.amplifiers
        read = replace(amplifier, gain=lambda header: header["GAIN"] * u.electron / u.adu)
        camera = replace(CAMERA, amplifiers=[read])
    else:
        camera = replace(CAMERA, match=(card,))
    night = reduced(raw, tmp_path / "out", profile=camera)
    assert told(night, "bias1.fits")[:2] == ("set aside", "few-frames")
    less = without("bias1.fits")
    assert len(night.products) == len(less.products)
    for product in less.plan.products:
        same_pixels(product_of(night, product.input.file), less.products[product.name])


# What people decide.


def test_a_frame_that_is_rejected_is_left_out(good, without, raw, tmp_path):
    night = reduced(raw, tmp_path / "out", reject=["flat_r1.fits"])
    assert told(night, "flat_r1.fits") == (
        "set aside",
        "rejected",
        "flat_r1.fits: rejected by hand.",
    )
    # It was omitted on purpose, so that nothing is missing.
    assert night.ok
    assert night.plan.complete
    compare(night, good, without("flat_r1.fits"), "flat_r1.fits")
    plan = json.loads((night.output / "plan.json").read_text())
    assert (plan["keep"], plan["reject"]) == ([], ["flat_r1.fits"])
    log = (night.output / "ccdprofiles.log").read_text()
    assert "flat_r1.fits: rejected by hand" in log
    assert reduced(raw, tmp_path / "strict", reject="flat_r1.fits", strict=True).ok


def test_to_reject_redoes_what_depends_on_it_and_nothing_else(raw, tmp_path):
    reduced(raw, tmp_path / "out")
    night = reduced(raw, tmp_path / "out", reject=["flat_r1.fits"])
    science_g = {n for n in night.products if "science_g" in n}
    assert night.kept == {BIAS, DARK, FLAT_G} | science_g


def test_a_frame_that_is_kept_is_used_and_that_is_said(raw, tmp_path):
    damage(raw / "flat_r1.fits", over(52000))
    first = reduced(raw, tmp_path / "out")
    assert told(first, "flat_r1.fits")[1] == "flat-level"
    night = reduced(raw, tmp_path / "out", keep=["flat_r1.fits"])
    told_of = (
        "flat_r1.fits: kept by hand, although its level of 52000 adu is 86.7 % of the saturation "
        "level, but a flat needs 10 % to 80 %; take it again with less light."
    )
    assert told(night, "flat_r1.fits") == ("used", "kept", told_of)
    assert night.ok
    assert f"  {told_of}" in str(night).splitlines()
    header = fits.getheader(night.masters[FLAT_R])
    assert header["NCOMBINE"] == 4
    assert "kept by hand: flat_r1.fits" in list(header["HISTORY"])
    assert json.loads((night.output / "plan.json").read_text())["keep"] == ["flat_r1.fits"]
    assert told_of in (night.output / "ccdprofiles.log").read_text()
    assert told_of in (night.output / "report" / "index.html").read_text()
    again = reduced(raw, tmp_path / "out", keep=["flat_r1.fits"])
    assert len(again.kept) == 7


def test_science_that_is_kept_says_so(good, raw, tmp_path):
    damage(raw / "science_g0.fits", put(0, slice(53, None)))
    night = reduced(raw, tmp_path / "out", keep=["science_g0.fits"])
    assert night.ok
    header = fits.getheader(product_of(night, "science_g0.fits"))
    assert "kept by hand: science_g0.fits" in list(header["HISTORY"])
    assert_others_are_the_same(night, good, "science_g0.fits")


def test_to_keep_a_good_frame_changes_nothing(good, raw, tmp_path):
    night = reduced(raw, tmp_path / "out", keep=["flat_r1.fits"])
    for name, path in {**good.masters, **good.products}.items():
        assert {**night.masters, **night.products}[name].read_bytes() == path.read_bytes()


def test_a_kept_frame_is_no_measure_for_the_others(raw, tmp_path):
    """A bias far off that was kept does not make the others stand apart, nor is it lost."""
    damage(raw / "bias3.fits", over(60))
    night = reduced(raw, tmp_path / "out", keep=["bias3.fits"])
    assert night.ok
    assert told(night, "bias3.fits")[:2] == ("used", "kept")


def test_a_header_that_cannot_be_is_not_kept(raw, tmp_path):
    damage(raw / "dark0.fits", lambda d: d, EXPTIME=-1.0)
    night = reduced(raw, tmp_path / "out", keep=["dark0.fits"])
    assert told(night, "dark0.fits")[:2] == ("set aside", "exposure")
    assert (
        "  dark0.fits cannot be kept: it is set aside because of its header, not because of its pixels"
    ) in str(night).splitlines()


def test_a_name_may_be_that_of_the_table_or_a_path_or_its_last_part(good, tmp_path):
    shutil.copytree(good.folder, tmp_path / "raw" / "one")
    for name in ("one/bias0.fits", tmp_path / "raw/one/bias0.fits", "bias0.fits"):
        plan = plan_night(tmp_path / "raw", profile=CAMERA, reject=[name])
        assert plan.reject == ("one/bias0.fits",)
    write(tmp_path / "raw" / "two" / "bias0.fits", image("two", "bias"), "bias")
    with pytest.raises(InputError) as refused:
        plan_night(tmp_path / "raw", profile=CAMERA, keep=["bias0.fits"])
    assert str(refused.value) == (
        "keep='bias0.fits' matches 2 files of the night: one/bias0.fits, two/bias0.fits; use a longer part of the path."
    )


def test_a_name_of_no_file_is_refused_with_the_nearest(good, tmp_path, capsys):
    with pytest.raises(InputError) as refused:
        reduce_night(good.folder, tmp_path / "out", profile=CAMERA, reject=["flat_r9.fits"])
    assert str(refused.value) == (
        "reject='flat_r9.fits' is not a file of the night (did you mean 'flat_r3.fits'?); use a name that ccdprofiles info lists."
    )
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="to be both kept and rejected; choose one"):
        plan_night(good.folder, profile=CAMERA, keep="bias0.fits", reject="bias0.fits")
    with pytest.raises(InputError, match="min_frames=0 is not a whole number"):
        plan_night(good.folder, profile=CAMERA, min_frames=0)


def test_the_command_line_keeps_rejects_and_counts(tmp_path, capsys):
    cards = tmp_path / "c.py"
    cards.write_text(
        "from astropy import units as u\n"
        "from ccdprofiles import Amplifier, Flat, Profile, Recipe\n"
        "profile = Profile(instrument='C', amplifiers=[Amplifier(data='[1:80, 1:64]',\n"
        "    overscan='[81:96, 1:64]', saturation=60000 * u.adu)], recipe=Recipe())\n"
    )
    write_night(tmp_path / "raw")
    damage(tmp_path / "raw" / "flat_r0.fits", over(52000))
    raw, out = str(tmp_path / "raw"), str(tmp_path / "out")
    use = ["--profile", str(cards)]
    assert main(["reduce", raw, "-o", out, *use]) == 1
    assert main(["reduce", raw, "-o", out, *use, "--keep", "flat_r0.fits"]) == 0
    assert main(["reduce", raw, "-o", out, *use, "--reject", "flat_r0.fits"]) == 0
    assert main(["plan", raw, *use, "--min-frames", "5"]) == 1
    capsys.readouterr()
    assert main(["plan", raw, *use, "--reject", "flat_r7.fits"]) == 2
    assert "did you mean" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["plan", raw, *use, "--min-frames", "0"])
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("option", "said", "least"), [("--min-frames", "x", 1), ("-j", "x", 0), ("-j", "1.5", 0)]
)
def test_what_is_no_whole_number_is_refused_with_a_sentence(option, said, least, capsys):
    with pytest.raises(SystemExit):
        main(["reduce", "night", "-o", "out", option, said])
    assert f"'{said}' is not a whole number of {least} or more" in capsys.readouterr().err


def test_a_flat_that_is_saturated_all_over_says_so(tmp_path):
    by_hand.write_some(tmp_path / "raw", "bias", 2, 100)
    by_hand.write(tmp_path / "raw/flat.fits", "flat", np.full((16, 16), 65535, "u2"), 3.0)
    by_hand.write(tmp_path / "raw/s.fits", "light", 600, 10.0)
    camera_of_flats = by_hand.camera(flat=Flat())
    made = by_hand.reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera_of_flats)
    assert (by_hand.row(made, "flat.fits")["code"], by_hand.row(made, "flat.fits")["reason"]) == (
        "saturated",
        "flat.fits: 100 % of its pixels are saturated, but a flat must have less than 5 %; take "
        "it again with less light. To use it nevertheless: keep=[FILE] (--keep FILE).",
    )
    made = by_hand.reduce_night(
        tmp_path / "raw", tmp_path / "out", profile=camera_of_flats, keep=["flat.fits"]
    )
    assert (by_hand.row(made, "flat.fits")["code"], by_hand.row(made, "flat.fits")["reason"]) == (
        "flat-saturated",
        "flat.fits: all of its pixels are saturated or without data; take it out of the night.",
    )
