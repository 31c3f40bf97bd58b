"""Nights of a camera without bias frames, whose level follows from its offset."""

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
    Setting,
    combine,
    plan_night,
    reduce_night,
)
from ccdprofiles.camera.changes import Changes, read_change
from ccdprofiles.errors import PlanError, ProfileError

SHAPE = (120, 140)
GAIN, NOISE = 0.5, 4.0
LEVELS = {10: 100.0, 50: 500.0}
ROWS, COLUMNS = np.indices(SHAPE)
DARK = 0.4 + 0.3 * np.hypot(ROWS - 60, COLUMNS - 70) / 90  # electrons per second
RESPONSE = 1 + 0.1 * np.sin(COLUMNS / 20)
SKY = 900 + 5.0 * ROWS


def level(header):
    return LEVELS.get(header["OFFSET"]) and LEVELS[header["OFFSET"]] * u.adu


def camera(bias, **recipe):
    return Profile(
        name="cmos",
        instrument="QHY600*",
        amplifiers=[
            Amplifier(
                data="[:, :]",
                overscan=None,
                gain=GAIN * u.electron / u.adu,
                read_noise=NOISE * u.electron,
                saturation=65535 * u.adu,
            )
        ],
        recipe=Recipe(**{"bias": bias, "dark": "scale", "flat": Flat()} | recipe),
    )


TABLE = Setting("OFFSET", LEVELS, unit=u.adu)


def product(night, offset):
    return night.products[f"science/light_{offset}_cal.fits"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A night with two offsets, and a science frame of a third; its dark is longer than they are."""
    folder = tmp_path_factory.mktemp("constant")
    random = np.random.default_rng(20261122)

    def write(name, kind, exposure, light, offset):
        electrons = random.poisson(DARK * exposure + light) + random.normal(0, NOISE, SHAPE)
        adu = np.clip(np.round(electrons / GAIN + LEVELS.get(offset, 300)), 0, 65535)
        header = fits.Header(
            {"INSTRUME": "QHY600M", "IMAGETYP": kind, "EXPTIME": exposure, "OFFSET": offset}
        )
        header["FILTER"] = "R"
        fits.PrimaryHDU(adu.astype("u2"), header).writeto(folder / f"{name}.fits")

    for offset in LEVELS:
        for n in range(9):
            write(f"dark_{offset}_{n}", "Dark Frame", 100.0, 0, offset)
            write(f"flat_{offset}_{n}", "Flat Field", 4.0, 9000 * RESPONSE, offset)
        write(f"light_{offset}", "Light Frame", 40.0, SKY * RESPONSE, offset)
    write("light_30", "Light Frame", 40.0, SKY * RESPONSE, 30)
    write("bias", "Bias Frame", 0.0, 0, 10)
    return folder


@pytest.fixture(scope="module")
def night(raw, tmp_path_factory):
    return reduce_night(raw, tmp_path_factory.mktemp("out"), profile=camera(TABLE))


def test_a_frame_of_an_unknown_setting_lacks_its_bias(night):
    (reason,) = night.plan.missing
    assert (reason.file, reason.code) == ("light_30.fits", "bias-level")
    assert str(reason) == (
        "light_30.fits: no constant bias: OFFSET = 30 is not in its table (10, 50), but the recipe "
        "subtracts a constant from every frame; add it to bias= of the recipe, or omit the step with "
        "without=['bias'] (--without bias)."
    )
    rows = {row["file"]: row for row in night.frames}
    assert rows["light_30.fits"]["verdict"] == "not calibrated"
    assert rows["bias.fits"]["verdict"] == "not needed"


@pytest.mark.parametrize("offset", LEVELS)
def test_the_products_are_the_truth_within_their_uncertainty(night, offset):
    path = product(night, offset)
    truth = SKY / GAIN * np.median(RESPONSE)
    error = fits.getdata(path, "UNCERT")
    # The flat is divided by the median of its own light.
    pull = (fits.getdata(path) - truth) / error
    pull -= np.median(pull)
    assert np.std(pull) == pytest.approx(1, abs=0.03)
    assert np.median(fits.getdata(path) / truth) == pytest.approx(1, abs=0.002)


def test_the_headers_contain_the_constant(night):
    for offset, constant in LEVELS.items():
        header = fits.getheader(product(night, offset))
        assert (header["ZEROCOR"], header["BIASLEV"]) == ("constant", constant)
        assert "BIASSHA" not in header
        assert (header["CALSTAT"], header["HASPED"]) == ("BDF", False)
        assert header["DARKSCAL"] == 0.4
        assert f"bias subtracted: a constant of {constant:g} adu" in list(header["HISTORY"])
    darks = {n: fits.getheader(p) for n, p in night.masters.items() if "dark" in n}
    assert sorted(h["BIASLEV"] for h in darks.values()) == [100, 500]
    assert not any("bias" in name for name in night.masters)
    assert "bias of 100 adu" in str(night.plan)


def test_a_function_and_a_table_and_a_number_give_the_same_pixels(raw, night, tmp_path):
    by_function = reduce_night(raw, tmp_path / "function", profile=camera(level), jobs=2)
    by_number = reduce_night(raw, tmp_path / "number", profile=camera(100 * u.adu))
    for offset in LEVELS:
        np.testing.assert_array_equal(
            fits.getdata(product(by_function, offset)), fits.getdata(product(night, offset))
        )
    np.testing.assert_array_equal(
        fits.getdata(product(by_number, 10)),
        fits.getdata(product(night, 10)),
    )
    (reason,) = by_function.plan.missing
    assert "the function bias= of the recipe returns nothing for its header" in str(reason)
    assert "up to date" in reduce_night(raw, tmp_path / "function", profile=camera(level)).summary


def test_another_constant_makes_the_products_anew(raw, tmp_path):
    first = reduce_night(raw, tmp_path, profile=camera(100 * u.adu))
    second = reduce_night(raw, tmp_path, profile=camera(110 * u.adu))
    assert first.plan.profiles != second.plan.profiles
    header = fits.getheader(product(second, 10))
    assert header["BIASLEV"] == 110


def test_the_bias_can_be_omitted_or_changed_for_a_run(raw, tmp_path):
    plan = plan_night(raw, profile=camera(TABLE, dark=None, flat=None), without=["bias"])
    assert not plan.missing
    assert all(p.input.bias is None for p in plan.products)
    night = reduce_night(raw, tmp_path, profile=camera(level, dark=None, flat=None), without="bias")
    header = fits.getheader(product(night, 30))
    assert header["NOBIAS"] is True
    assert header["HASPED"] is True
    assert read_change("bias=100 adu") == ("bias", 100 * u.adu)
    assert read_change("bias=False") == ("bias", False)
    changed = Changes.of({"bias": "300adu"}).applied(camera(TABLE).recipe, "cmos")
    assert changed.bias == 300 * u.adu


def test_a_header_that_leads_to_no_level_is_named(raw):
    odd = camera(
        Setting("FILTER", {"V": 3}, unit=u.adu, else_card="INSTRUME"), dark=None, flat=None
    )
    reason = plan_night(raw, profile=odd).missing[0]
    assert "INSTRUME = 'QHY600M' is not a number, but one in adu was expected" in str(reason)
    missing = camera(Setting("BLKLEVEL", {1: 3}, unit=u.adu), dark=None, flat=None)
    assert "no constant bias: BLKLEVEL is missing" in str(
        plan_night(raw, profile=missing).missing[0]
    )


def test_cosmic_rays_are_found_in_frames_with_a_constant_bias(raw, tmp_path):
    profile = camera(TABLE, cosmic_rays=CosmicRays())
    night = reduce_night(raw, tmp_path, profile=profile)
    header = fits.getheader(product(night, 10))
    assert header["CRNUM"] < 40


def test_recipes_with_constants_compare_and_are_part_of_the_hash():
    assert camera(TABLE) == camera(Setting("OFFSET", LEVELS, unit=u.adu))
    hashes = {camera(bias).hash for bias in (TABLE, level, 100 * u.adu, 101 * u.adu, True)}
    assert len(hashes) == 5


def test_single_steps_give_the_same_frame(raw, night):
    profile = camera(TABLE)
    masters = {fits.getval(p, "CPTYPE"): p for n, p in night.masters.items() if "offset10" in n}
    darks = [profile.prepare(p) for p in sorted(raw.glob("dark_10_*.fits"))]
    dark = combine([profile.calibrate(d, bias=profile.recipe.bias) for d in darks])
    np.testing.assert_allclose(dark.data, fits.getdata(masters["dark"]), atol=1e-4)
    assert (dark.meta["ZEROCOR"], dark.meta["BIASLEV"]) == ("constant", 100)
    light = profile.prepare(raw / "light_10.fits")
    done = profile.calibrate(light, bias=100 * u.adu, dark=dark, flat=masters["flat"])
    np.testing.assert_allclose(done.data, fits.getdata(product(night, 10)), rtol=1e-5)
    uncertainty = fits.getdata(product(night, 10), "UNCERT")
    np.testing.assert_allclose(done.uncertainty.array, uncertainty, rtol=1e-4)
    assert (done.meta["CALSTAT"], done.meta["BIASLEV"], done.meta["HASPED"]) == ("BDF", 100, False)
    unknown = profile.prepare(raw / "light_30.fits")
    with pytest.raises(PlanError, match="OFFSET = 30 is not in its table"):
        profile.calibrate(unknown, bias=TABLE)
    with pytest.raises(ProfileError, match="is not in adu"):
        profile.calibrate(light, bias=100 * u.s)
    with pytest.raises(PlanError, match="would still contain it"):
        profile.calibrate(light, dark=masters["dark"])
