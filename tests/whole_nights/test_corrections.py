"""Nights of a camera that is not linear, or whose shutter is slow, against the truth behind them."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.modeling.models import Polynomial1D
from by_hand import reduce_night, row, write

from ccdprofiles import Amplifier, Combine, Flat, Limits, Profile, Recipe
from ccdprofiles.errors import PlanError
from ccdprofiles.products.band import DQ

SHAPE = (160, 200)
GAIN, NOISE, BIAS = 1.6, 8.0, 1000.0
BENT = 3e-6
"""linear = raw (1 + BENT raw): 9 % at 30,000 adu."""
CURVE = Polynomial1D(2, c0=0, c1=1, c2=BENT)
NON_LINEAR = DQ.NON_LINEAR.value
GOOD = ~(DQ.HOT | DQ.NON_LINEAR).value & 0xFFFF


@dataclass(frozen=True)
class Camera:
    """Write frames of a camera from the light on them, in electrons."""

    folder: Path
    bent: float = 0.0
    overscan: bool = False
    dark_rate: float = 2.0

    def frame(self, kind, number, light=0.0, seconds=0.0):
        random = np.random.default_rng([sum(map(ord, kind)), number, int(self.overscan)])
        current = np.full(SHAPE, self.dark_rate * seconds)
        current[5::40, 7::40] *= 50
        electrons = random.poisson(light + current)
        counts = electrons / GAIN
        if self.bent:
            counts = (np.sqrt(1 + 4 * self.bent * counts) - 1) / (2 * self.bent)
        if self.overscan:
            counts = np.pad(counts, [(0, 0), (0, 30)])
        counts = counts + BIAS + random.normal(0, NOISE / GAIN, counts.shape)
        write(self.folder / f"{kind}{number}.fits", kind, counts.round().astype("u2"), exposure=seconds, FILTER="V")  # fmt: skip


def profile(overscan=False, **recipe):
    """A camera of one amplifier."""
    amplifier = Amplifier(
        data=f"[1:{SHAPE[1]}, 1:{SHAPE[0]}]",
        overscan=f"[{SHAPE[1] + 1}:{SHAPE[1] + 30}, 1:{SHAPE[0]}]" if overscan else None,
        gain=GAIN * u.electron / u.adu,
        read_noise=NOISE * u.electron,
        saturation=65535 * u.adu,
    )
    steps = {
        "dark": "match",
        "flat": Flat(),
        "limits": Limits(read_noise=None, outlier=None),
    } | recipe
    return Profile(instrument="C", amplifiers=[amplifier], recipe=Recipe(**steps))


def response():
    """The response of the pixels, with a slope of the illumination."""
    random = np.random.default_rng(1)
    return (1 + 0.01 * random.standard_normal(SHAPE)) * np.linspace(0.8, 1.2, SHAPE[1])


def sky():
    """The light of a science frame, from faint to bright, in electrons."""
    return np.geomspace(300, 50_000, SHAPE[0])[:, np.newaxis] * np.ones(SHAPE)


def night(folder, bent=0.0, overscan=False, shutter=0.0):
    """A night of biases, darks, flats and science frames of 4 s and 60 s."""
    camera = Camera(folder, bent, overscan)
    flat = response()
    for n in range(9):
        camera.frame("bias", n)
        camera.frame("dark", n, seconds=60)
        camera.frame("dark", 20 + n, seconds=4)
        level = 30_000 * (4 + shutter) * (1 + 0.05 * n) / 4
        camera.frame("flat", n, level * flat, seconds=4)
    for n in range(3):
        camera.frame("object", n, sky() * flat * (60 + shutter) / 60, seconds=60)
        camera.frame("object", 10 + n, sky() * flat * (4 + shutter) / 4, seconds=4)
    return camera


def assert_true(reduced, flat):
    """Hold that science frames and the flat have the truth within their uncertainties."""
    assert reduced.ok
    (path,) = (p for name, p in reduced.masters.items() if "flat" in name)
    data, sigma, flags = (fits.getdata(path, ext) for ext in (0, "UNCERT", "DQ"))
    good = flags & GOOD == 0
    level = np.median(data[good] / flat[good])
    pulls = ((data / level - flat) / (sigma / level))[good]
    assert pulls.std() == pytest.approx(1, abs=0.03)
    for name, path in reduced.products.items():
        data, sigma, flags = (fits.getdata(path, ext) for ext in (0, "UNCERT", "DQ"))
        good = flags == 0
        wanted = sky() / GAIN / level
        assert np.mean(data[good] / wanted[good]) == pytest.approx(1, abs=0.002), name
        for rows in (slice(0, 50), slice(50, 110), slice(110, 160)):
            pulls = ((data - wanted) / sigma)[rows][good[rows]]
            assert pulls.std() == pytest.approx(1, abs=0.035), (name, rows)
            assert abs(pulls.mean()) < 0.15, (name, rows)


@pytest.mark.parametrize("method", ["average", "median"])
@pytest.mark.parametrize("overscan", [False, True], ids=["bias", "overscan"])
def test_a_camera_that_is_not_linear_gives_the_truth(tmp_path, overscan, method):
    night(tmp_path / "raw", bent=BENT, overscan=overscan)
    camera = profile(overscan, linearity=CURVE, combine=Combine(method=method))
    assert_true(
        reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera, jobs=1), response()
    )


def test_without_the_correction_it_does_not(tmp_path):
    night(tmp_path / "raw", bent=BENT)
    reduced = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile(), jobs=1)
    data = fits.getdata(reduced.products["science/object0_cal.fits"])
    ratio = data / (sky() / GAIN)
    assert np.median(ratio[-10:]) < 0.95 * np.median(ratio[:40])


def test_darks_are_linear_too(tmp_path):
    night(tmp_path / "raw", bent=BENT)
    camera = profile(linearity=Polynomial1D(2, c0=0, c1=1, c2=1e-4))
    reduced = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera, jobs=1)
    plain = reduce_night(tmp_path / "raw", tmp_path / "plain", profile=profile(), jobs=1)
    (name,) = (n for n in reduced.masters if "dark_60" in n)
    hot = (slice(5, None, 40), slice(7, None, 40))
    raw, linear = (fits.getdata(night.masters[name])[hot] for night in (plain, reduced))
    np.testing.assert_allclose(linear, raw * (1 + 1e-4 * raw), rtol=2e-3)


def table_of(path, amplifier=None):
    raw = np.linspace(0, 40_000, 401)
    lines = ["# %ECSV 1.0", "# ---", "# datatype:", "# - {name: raw, unit: adu, datatype: float64}", "# - {name: linear, unit: adu, datatype: float64}"]  # fmt: skip
    head, end = "raw linear", ""
    if amplifier is not None:
        lines.append("# - {name: amplifier, datatype: string}")
        head, end = "raw linear amplifier", f" {amplifier}"
    lines += ["# schema: astropy-2.0", head]
    path.write_text("\n".join([*lines, *(f"{r} {r * (1 + BENT * r)}{end}" for r in raw)]) + "\n")
    return path


def test_a_table_is_as_good_and_its_end_is_flagged(tmp_path):
    camera = night(tmp_path / "raw", bent=BENT)
    bright = 78_000 * np.ones(SHAPE)
    bright[:, :100] = 10_000
    camera.frame("object", 30, bright, seconds=60)
    table = table_of(tmp_path / "linearity.ecsv")
    reduced = reduce_night(
        tmp_path / "raw", tmp_path / "out", profile=profile(linearity=str(table)), jobs=1
    )
    flags = fits.getdata(reduced.products["science/object30_cal.fits"], "DQ")
    lost = flags & NON_LINEAR != 0
    assert lost[:, 100:].all()
    assert not lost[:, :100].any()
    assert not fits.getdata(reduced.products["science/object30_cal.fits"], "MASK")[lost].any()
    header = fits.getheader(reduced.products["science/object0_cal.fits"])
    assert header["LINCOR"] == "linearity.ecsv"
    assert len(header["LINSHA"]) == 64
    assert "LINCOR" not in fits.getheader(
        next(p for n, p in reduced.masters.items() if "bias" in n)
    )
    (tmp_path / "raw" / "object30.fits").unlink()
    again = reduce_night(
        tmp_path / "raw", tmp_path / "again", profile=profile(linearity=str(table)), jobs=1
    )
    assert_true(again, response())


def test_a_changed_table_remakes_what_it_touches(tmp_path):
    night(tmp_path / "raw", bent=BENT)
    table = table_of(tmp_path / "linearity.ecsv")
    out = tmp_path / "out"
    reduce_night(tmp_path / "raw", out, profile=profile(linearity=str(table)), jobs=1)
    kept = reduce_night(tmp_path / "raw", out, profile=profile(linearity=str(table)), jobs=1)
    assert not kept.anew
    table.write_text(table.read_text() + "41000 46000\n")
    changed = reduce_night(tmp_path / "raw", out, profile=profile(linearity=str(table)), jobs=1)
    assert set(changed.anew) == {*changed.masters, *changed.products}


def test_frames_that_still_contain_their_bias_are_refused(tmp_path):
    night(tmp_path / "raw")
    reduced = reduce_night(
        tmp_path / "raw", tmp_path / "out", profile=profile(linearity=CURVE, bias=False), jobs=1
    )
    refused = row(reduced, "object0.fits")
    assert refused["code"] == "correction"
    assert refused["reason"] == (
        "object0.fits: linearity= of the profile c needs the counts above the bias, but the camera "
        "has no useful overscan and the recipe subtracts no bias; use bias=True, or a constant."
    )


def test_without_its_bias_nothing_is_linearised(tmp_path):
    night(tmp_path / "raw")
    reduced = reduce_night(
        tmp_path / "raw",
        tmp_path / "out",
        profile=profile(linearity=CURVE),
        without=["bias"],
        jobs=1,
    )
    assert not reduced.products
    assert "its linearity cannot be corrected, because the bias is not subtracted" in " ".join(
        reduced.frames["reason"]
    )


def test_an_amplifier_without_a_curve_is_refused(tmp_path):
    night(tmp_path / "raw")
    table = table_of(tmp_path / "linearity.ecsv", "left")
    for linearity, sentence in (
        ({"left": CURVE}, "linearity= has no curve for the amplifier '', only for left; add one."),
        (str(table), "linearity.ecsv has no rows for the amplifier ''; add them, or leave out the column amplifier if one curve holds for all."),
    ):  # fmt: skip
        out = tmp_path / f"out{len(sentence)}"
        camera = profile(linearity=linearity)
        reduced = reduce_night(tmp_path / "raw", out, profile=camera, jobs=1)
        refused = row(reduced, "object0.fits")
        assert refused["code"] == "correction"
        assert refused["reason"] == f"object0.fits: the profile c: {sentence}"


def test_single_steps_refuse_what_they_do_not_correct(tmp_path):
    night(tmp_path / "raw")
    with pytest.raises(PlanError, match="has linearity=, which only reduce_night"):
        profile(linearity=CURVE).prepare(tmp_path / "raw" / "object0.fits")
    profile(linearity=CURVE).prepare(tmp_path / "raw" / "bias0.fits")


def seconds_of_shutter():
    """How much longer than the exposure each pixel is open: an iris opens from its centre."""
    y, x = np.indices(SHAPE)
    off = np.hypot(y - SHAPE[0] / 2, x - SHAPE[1] / 2)
    return 0.5 * (1 - off / off.max())


def shutter_file(folder):
    path = folder / "shutter.fits"
    fits.PrimaryHDU(seconds_of_shutter().astype("f4")).writeto(path)
    return path


@pytest.mark.parametrize("bent", [0.0, BENT], ids=["linear", "not-linear"])
def test_a_slow_shutter_is_corrected(tmp_path, bent):
    night(tmp_path / "raw", bent=bent, shutter=seconds_of_shutter())
    camera = profile(shutter=str(shutter_file(tmp_path)), linearity=CURVE if bent else None)
    reduced = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera, jobs=1)
    assert_true(reduced, response())
    header = fits.getheader(reduced.products["science/object0_cal.fits"])
    assert header["SHUTCOR"] == "shutter.fits"
    assert "shutter corrected: shutter.fits" in [*header["HISTORY"]]


def test_without_the_correction_a_slow_shutter_is_seen(tmp_path):
    night(tmp_path / "raw", shutter=seconds_of_shutter())
    reduced = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile(), jobs=1)
    data = fits.getdata(reduced.products["science/object0_cal.fits"]) / sky()
    middle, corner = data[70:90, 90:110], data[:15, :15]
    assert np.median(corner) / np.median(middle) > 1.08


def test_a_frame_without_exposure_cannot_be_corrected_for_the_shutter(tmp_path):
    camera = night(tmp_path / "raw")
    camera.frame("object", 40, sky(), seconds=0.0)
    own = profile(shutter=str(shutter_file(tmp_path)))
    reduced = reduce_night(tmp_path / "raw", tmp_path / "out", profile=own, jobs=1)
    assert row(reduced, "object40.fits")["code"] == "correction"


def pattern():
    """Fringes: curved, about ten pixels wide, of mean 0."""
    y, x = np.indices(SHAPE)
    return np.sin((x + 0.4 * y + 0.002 * x * y) / 2)


def fringe_file(path, noise=0.0):
    random = np.random.default_rng(8)
    data = 100 + 10 * pattern() + random.normal(0, noise, SHAPE)
    hdus = [fits.PrimaryHDU(data.astype("f4"))]
    if noise:
        sigma = np.full(SHAPE, noise, "f4")
        hdus.append(fits.ImageHDU(sigma, name="UNCERT"))
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_fringes_are_scaled_to_each_frame_and_subtracted(tmp_path, noise):
    camera = Camera(tmp_path / "raw")
    for n in range(5):
        camera.frame("bias", n)
    star = np.zeros(SHAPE)
    star[40:60, 100:120] = 40_000
    strengths = (0.0, 100.0, 600.0)
    for n, strength in enumerate(strengths):
        camera.frame("object", n, 4000 + strength * pattern() + star, seconds=60)
    path = fringe_file(tmp_path / "fringe_V.fits", noise)
    own = profile(dark=None, flat=None, fringe={"V": str(path)})
    reduced = reduce_night(tmp_path / "raw", tmp_path / "out", profile=own, jobs=1)
    assert reduced.ok
    dark = camera.dark_rate * 60
    for n, strength in enumerate(strengths):
        product = reduced.products[f"science/object{n}_cal.fits"]
        header = fits.getheader(product)
        true = strength / GAIN / 10
        assert abs(header["FRINGSCL"] - true) < 4 * header["FRINGERR"]
        assert 0 < header["FRINGERR"] < 0.2
        assert header["FRINGCOR"] == "fringe_V.fits"
        data, sigma = fits.getdata(product), fits.getdata(product, "UNCERT")
        good = (star == 0) & (fits.getdata(product, "DQ") == 0)
        good[5::40, 7::40] = False
        pulls = ((data - (4000 + dark) / GAIN) / sigma)[good]
        assert pulls.std() == pytest.approx(1, abs=0.03)
        assert abs(pulls.mean()) < 0.1


def test_frames_in_other_filters_keep_theirs(tmp_path):
    camera = Camera(tmp_path / "raw")
    for n in range(5):
        camera.frame("bias", n)
    camera.frame("object", 0, 4000 + 300 * pattern(), seconds=60)
    path = fringe_file(tmp_path / "fringe_I.fits")
    own = profile(dark=None, flat=None, fringe={"I": str(path)})
    plain = profile(dark=None, flat=None)
    done, other = (
        next(iter(night.products.values()))
        for night in (
            reduce_night(tmp_path / "raw", tmp_path / "out", profile=own, jobs=1),
            reduce_night(tmp_path / "raw", tmp_path / "plain", profile=plain, jobs=1),
        )
    )
    assert "FRINGCOR" not in fits.getheader(done)
    np.testing.assert_array_equal(fits.getdata(done), fits.getdata(other))


QUARTERS = {
    "A": ("[1:60, 1:40]", "[1:60, 1:40]"),
    "B": ("[1:60, 1:40]", "[120:61, 1:40]"),
    "C": ("[1:60, 1:39]", "[1:60, 79:41]"),
    "D": ("[1:60, 1:39]", "[120:61, 79:41]"),
}
"""Four amplifiers that are read from the corners; those above have a row less."""

FRACTIONS = np.array(
    [[0, 1e-3, 5e-4, 2e-3], [1.6e-3, 0, 7e-4, 1e-3], [4e-4, 1e-3, 0, 9e-4], [1e-3, 2e-3, 1e-3, 0]]
)


def quarters(overscan=True, **recipe):
    amplifiers = [
        Amplifier(
            name=name,
            data=data,
            overscan=f"[61:80, {data.split(', ')[1]}" if overscan else None,
            extension=number,
            detector=place,
            gain=GAIN * u.electron / u.adu,
            read_noise=NOISE * u.electron,
            saturation=65535 * u.adu,
        )
        for number, (name, (data, place)) in enumerate(QUARTERS.items(), 1)
    ]
    steps = {"dark": None, "flat": None, "limits": Limits(read_noise=None, outlier=None)} | recipe
    return Profile(instrument="C", amplifiers=amplifiers, recipe=Recipe(**steps))


def write_quarters(path, kind, light, seed, seconds=0.0):
    """Write a frame of four extensions with crosstalk, each amplifier from its first pixel read."""
    random = np.random.default_rng(seed)
    raw = []
    for number, (data, _) in enumerate(QUARTERS.values()):
        height = 40 if data.endswith("40]") else 39
        right, top = number % 2, number // 2
        rows = slice(40, 79) if top else slice(0, 40)
        part = light[rows, 60:] if right else light[rows, :60]
        part = part[::-1] if top else part
        part = part[:, ::-1] if right else part
        assert part.shape == (height, 60)
        raw.append(random.poisson(part) / GAIN)
    hdus = [fits.PrimaryHDU()]
    cards = {"INSTRUME": "C", "IMAGETYP": kind, "EXPTIME": seconds, "DATE-OBS": "2020-01-01"}
    hdus[0].header.update(cards)
    for victim, own in enumerate(raw):
        counts = own.copy()
        for aggressor, other in enumerate(raw):
            rows = min(len(counts), len(other))
            counts[:rows] += FRACTIONS[victim, aggressor] * other[:rows]
        counts = np.pad(counts, [(0, 0), (0, 20)]) + BIAS
        counts += random.normal(0, NOISE / GAIN, counts.shape)
        hdus.append(fits.ImageHDU(counts.round().astype("u2")))
    path.parent.mkdir(exist_ok=True)
    fits.HDUList(hdus).writeto(path)


def crosstalk_night(folder):
    light = np.full((79, 120), 400.0)
    for place in ((10, 12), (25, 100), (60, 30), (70, 90), (39, 59), (40, 61)):
        light[place] = 90_000
    for n in range(5):
        write_quarters(folder / f"bias{n}.fits", "bias", 0 * light, n)
    for n in range(3):
        write_quarters(folder / f"object{n}.fits", "object", light, 10 + n, seconds=60)
    return light


def crosstalk_table(folder):
    lines = ["# %ECSV 1.0", "# ---", "# datatype:", "# - {name: victim, datatype: string}", "# - {name: aggressor, datatype: string}", "# - {name: fraction, datatype: float64}", "# schema: astropy-2.0", "victim aggressor fraction"]  # fmt: skip
    for i, victim in enumerate(QUARTERS):
        lines += [f"{victim} {a} {FRACTIONS[i, j]}" for j, a in enumerate(QUARTERS) if i != j]
    path = folder / "crosstalk.ecsv"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize("form", ["matrix", "dict", "table"])
@pytest.mark.parametrize("overscan", [True, False], ids=["overscan", "bias"])
def test_crosstalk_of_flipped_amplifiers_is_subtracted(tmp_path, form, overscan):
    light = crosstalk_night(tmp_path / "raw")
    given = {
        "matrix": FRACTIONS.tolist(),
        "dict": {v: {a: FRACTIONS[i, j] for j, a in enumerate(QUARTERS) if i != j} for i, v in enumerate(QUARTERS)},
        "table": crosstalk_table(tmp_path),
    }[form]  # fmt: skip
    own = quarters(overscan, crosstalk=given)
    own = replace(own, frame_size={n: (80, 40 if n < 3 else 39) for n in (1, 2, 3, 4)})
    reduced = reduce_night(tmp_path / "raw", tmp_path / "out", profile=own, jobs=1)
    assert reduced.ok
    ghosts, means, pulls = [], [], []
    for path in reduced.products.values():
        off = fits.getdata(path) - light / GAIN
        dark = light < 1000
        pulls.append((off / fits.getdata(path, "UNCERT"))[dark])
        means.append(off[dark].mean())
        ghosts += [off[10, 119 - 12], off[25, 119 - 100], off[78 - 60, 30], off[78 - 70, 90]]
    assert np.std(pulls) == pytest.approx(1, abs=0.03)
    assert abs(np.mean(means)) < 0.15
    # Each would be 40 to 110 adu.
    assert np.abs(ghosts).max() < 5 * np.hypot(NOISE, 20) / GAIN
    header = fits.getheader(next(iter(reduced.products.values())))
    assert header["CROSSTLK"] == ("crosstalk.ecsv" if form == "table" else "matrix of the profile")
    assert ("CROSSSHA" in header) == (form == "table")


def test_without_the_correction_the_ghosts_are_there(tmp_path):
    light = crosstalk_night(tmp_path / "raw")
    own = replace(quarters(), frame_size={n: (80, 40 if n < 3 else 39) for n in (1, 2, 3, 4)})
    reduced = reduce_night(tmp_path / "raw", tmp_path / "out", profile=own, jobs=1)
    off = fits.getdata(next(iter(reduced.products.values()))) - light / GAIN
    ghost = FRACTIONS[1, 0] * 90_000 / GAIN
    assert off[10, 119 - 12] == pytest.approx(ghost, abs=5 * np.hypot(NOISE, 20) / GAIN)
    assert ghost > 80
