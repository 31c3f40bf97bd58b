"""Every instrument's night against a short script of plain ccdproc calls, to float32 rounding.

The scripts follow the recipes as astronomers write them down, above all the guide of
Craig & Chambers, with its slips put right: frames are clipped after they are scaled,
bias is taken off flats, and outliers are told by median and median deviation. They
work in float64 throughout and know nothing of this package.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field

import ccdproc
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.stats import mad_std, sigma_clipped_stats
from ccdproc import (
    Combiner,
    ImageFileCollection,
    flat_correct,
    gain_correct,
    subtract_bias,
    subtract_dark,
    subtract_overscan,
    trim_image,
)
from scipy.interpolate import LSQUnivariateSpline
from scipy.stats import gaussian_kde

from ccdprofiles import reduce_night, verify_night
from ccdprofiles.cli.command import main

EPS = 2.0**-24
"""What rounding to float32 may change, relative to a value."""


@pytest.fixture(autouse=True)
def _quiet_headers():
    with ccdproc.conf.set_temp("auto_logging", False):
        yield


# Plain calls that the scripts share.


@dataclass
class Script:
    """What a script makes: masters by type, exposure of a dark and filter; science by file."""

    masters: dict = field(default_factory=dict)
    science: dict = field(default_factory=dict)


def read(path):
    """Read a raw frame as float64, as whole numbers of 16 bits would wrap."""
    with fits.open(path) as hdus:
        return CCDData(hdus[0].data.astype("f8"), unit="adu", header=hdus[0].header)


def average(frames):
    """Average what lies within 5 mad_std of the median."""
    combiner = Combiner(frames, dtype="f8")
    combiner.sigma_clipping(low_thresh=5, high_thresh=5, func="median", dev_func="mad_std")
    return combiner.average_combine()


def median(frames):
    return Combiner(frames, dtype="f8").median_combine()


def scaled(ccd, level):
    return CCDData(ccd.data / level, unit=ccd.unit, header=ccd.header)


def less_dark(ccd, dark, seconds=None):
    """Subtract a dark as it is, or scaled from the seconds that it was exposed for."""
    own = ccd.header["EXPTIME"] * u.s
    return subtract_dark(
        ccd,
        dark,
        data_exposure=own,
        dark_exposure=own if seconds is None else seconds * u.s,
        scale=seconds is not None,
    )


# The scripts.


def lfc(folder, rows, columns):
    def prepared(path):
        ccd = read(path)
        strip = ccd[:, columns + 7 : columns + 32]
        ccd = subtract_overscan(ccd, overscan=strip, overscan_axis=1, median=True)
        return trim_image(ccd[:rows, :columns])

    made = Script()
    darks = ImageFileCollection(folder / "darks", keywords=["imagetyp", "exptime"])
    for seconds in (7.0, 70.0, 300.0):
        files = darks.files_filtered(imagetyp="DARK", exptime=seconds, include_path=True)
        made.masters["dark", seconds, None] = average([prepared(file) for file in files])
    lights = ImageFileCollection(folder, keywords=["imagetyp", "filter"])
    for name, seconds in (("g'", 70.0), ("i'", 7.0)):
        files = lights.files_filtered(imagetyp="FLATFIELD", filter=name, include_path=True)
        flats = [less_dark(prepared(f), made.masters["dark", seconds, None]) for f in files]
        flat = average([scaled(flat, np.median(flat.data)) for flat in flats])
        made.masters["flat", None, name] = scaled(flat, np.median(flat.data))
        for file in lights.files_filtered(imagetyp="OBJECT", filter=name):
            ccd = less_dark(prepared(folder / file), made.masters["dark", 300.0, None])
            ccd = flat_correct(ccd, made.masters["flat", None, name], norm_value=1)
            made.science[file] = ccd.data
    return made


def cg16m(folder, rows, columns):
    def prepared(path):
        return trim_image(read(path)[:rows, :columns])  # the overscan is of no use

    made = Script()
    files = ImageFileCollection(folder, keywords=["imagetyp"])
    biases = files.files_filtered(imagetyp="BIAS", include_path=True)
    bias = made.masters["bias", None, None] = average([prepared(f) for f in biases])
    darks = files.files_filtered(imagetyp="DARK", include_path=True)
    dark = average([subtract_bias(prepared(f), bias) for f in darks])
    made.masters["dark", 90.0, None] = dark
    flats = files.files_filtered(imagetyp="FLAT", include_path=True)
    flats = [less_dark(subtract_bias(prepared(f), bias), dark, 90.0) for f in flats]
    flat = average([scaled(flat, np.median(flat.data)) for flat in flats])
    flat = made.masters["flat", None, "r"] = scaled(flat, np.median(flat.data))
    for file in files.files_filtered(imagetyp="LIGHT"):
        ccd = less_dark(subtract_bias(prepared(folder / file), bias), dark)
        made.science[file] = flat_correct(ccd, flat, norm_value=1).data
    return made


def proem(folder, rows, columns, mode):
    made = Script()
    darks = {}
    for seconds in (3, 10):
        files = sorted((folder / "dark").glob(f"dark_{seconds}s-*.fits"))
        darks[seconds] = median([read(f) for f in files])
        made.masters["dark", float(seconds), None] = darks[seconds]
    files = sorted((folder / "flat").glob("*.fits"))
    flats = [less_dark(read(f), darks[3]) for f in files]
    flat = median([scaled(flat, mode(flat.data)) for flat in flats])
    flat = made.masters["flat", None, "BG40"] = scaled(flat, mode(flat.data))
    for file in sorted(folder.glob("ktwo*.fits")):
        ccd = less_dark(read(file), darks[10])
        made.science[file.name] = flat_correct(ccd, flat, norm_value=1).data
    return made


def pt5m(folder, rows, columns):
    made = Script()
    files = ImageFileCollection(folder, keywords=["type", "filter"])
    bias = median([read(f) for f in files.files_filtered(type="BIAS", include_path=True)])
    darks = files.files_filtered(type="DARK", include_path=True)
    dark = average([subtract_bias(read(f), bias) for f in darks])
    made.masters["bias", None, None], made.masters["dark", 60.0, None] = bias, dark
    for name in "BV":
        flats = files.files_filtered(type="SKY", filter=name, include_path=True)
        flats = [less_dark(subtract_bias(read(f), bias), dark, 60.0) for f in flats]
        flat = median([scaled(flat, np.median(flat.data)) for flat in flats])
        flat = made.masters["flat", None, name] = scaled(flat, np.median(flat.data))
        for file in files.files_filtered(type="SCIENCE", filter=name):
            ccd = less_dark(subtract_bias(read(folder / file), bias), dark, 60.0)
            made.science[file] = flat_correct(ccd, flat, norm_value=1).data
    return made


def sbo(folder, rows, columns):
    made = Script()
    files = ImageFileCollection(folder, keywords=["imagetyp", "exptime"])
    for seconds in (3.0, 60.0):
        darks = files.files_filtered(imagetyp="DARK", exptime=seconds, include_path=True)
        made.masters["dark", seconds, None] = average([read(f) for f in darks])
    flats = files.files_filtered(imagetyp="FLAT", include_path=True)
    flats = [less_dark(read(f), made.masters["dark", 3.0, None]) for f in flats]
    flat = average([scaled(flat, np.median(flat.data)) for flat in flats])
    flat = made.masters["flat", None, "V"] = scaled(flat, np.median(flat.data))
    for file in files.files_filtered(imagetyp="SCIENCE"):
        ccd = less_dark(read(folder / file), made.masters["dark", 60.0, None])
        made.science[file] = flat_correct(ccd, flat, norm_value=1).data
    return made


def kosmos(folder, rows, columns):
    half = columns // 2

    def prepared(path):
        ccd = read(path)
        halves = [
            subtract_overscan(data, overscan=strip, overscan_axis=1, median=True).data
            for data, strip in (
                (ccd[:, :half], ccd[:, columns + 7 : columns + 40]),
                (ccd[:, half:columns], ccd[:, columns + 57 : columns + 90]),
            )
        ]
        return CCDData(np.hstack(halves), unit="adu", header=ccd.header)

    def log_lamp(x, y):
        """A cubic spline of 12 equal pieces."""
        return LSQUnivariateSpline(x, y, np.linspace(-1, 1, 13)[1:-1], k=3, bbox=[-1, 1])

    files = ImageFileCollection(folder, keywords=["imagetyp", "neon", "exptime"])
    arcs = files.files_filtered(neon="on", include_path=True)
    kinds = {word: files.files_filtered(imagetyp=word) for word in ("Bias", "Dark", "Flat")}
    kinds["Object"] = files.files_filtered(imagetyp="Object", neon="off")
    kinds = {word: [folder / f for f in names] for word, names in kinds.items()}
    return spectra(kinds, arcs, prepared, log_lamp, axis=0, gain=0.6, name="empty2")


def dis(folder, rows, columns, gain):
    def strip_level(ccd):
        strip = ccd.data[:rows, columns + 2 : columns + 49]
        return sigma_clipped_stats(np.median(strip, axis=1), sigma=3, maxiters=None)[0]

    files = ImageFileCollection(folder, keywords=["imagetyp"])
    # No light can spill into the overscan of a frame that was taken with the shutter closed.
    closed = [
        f for w in ("zero", "dark") for f in files.files_filtered(imagetyp=w, include_path=True)
    ]
    night = np.median([strip_level(read(f)) for f in closed])

    def prepared(path):
        """One level a frame, but not one that lies far from the night's."""
        ccd = read(path)
        level = strip_level(ccd)
        level = night if abs(level - night) > 10 else level
        return CCDData(ccd.data[:rows, :columns] - level, unit="adu", header=ccd.header)

    def log_lamp(x, y):
        """A polynomial of degree 7."""
        series = np.polynomial.chebyshev.chebfit(x, y, 7)
        return lambda at: np.polynomial.chebyshev.chebval(at, series)

    words = {"Bias": "zero", "Dark": "dark", "Flat": "flat", "Object": "object"}
    kinds = {k: files.files_filtered(imagetyp=w, include_path=True) for k, w in words.items()}
    arcs = files.files_filtered(imagetyp="comp", include_path=True)
    return spectra(kinds, arcs, prepared, log_lamp, axis=1, gain=gain, name=None)


def spectra(kinds, arcs, prepared, log_lamp, axis, gain, name):
    """What both spectrographs need once their overscan is off; wavelength runs along ``axis``."""
    made = Script()
    bias = made.masters["bias", None, None] = median([prepared(f) for f in kinds["Bias"]])
    darks = {}
    for ccd in (subtract_bias(prepared(f), bias) for f in kinds["Dark"]):
        darks.setdefault(ccd.header["EXPTIME"], []).append(ccd)
    darks = {seconds: average(stack) for seconds, stack in darks.items()}
    made.masters |= {("dark", seconds, None): dark for seconds, dark in darks.items()}
    lines = Combiner([subtract_bias(prepared(f), bias) for f in arcs], dtype="f8")
    made.masters["arc", None, name] = lines.sum_combine()

    def slit(image):
        """Where along the slit there is light."""
        light = np.median(image, axis=axis)
        return light >= 0.5 * np.percentile(light, 90)

    def lit(image):
        return image.compress(slit(image), axis=1 - axis)

    flats = []
    for file in kinds["Flat"]:
        flat = subtract_bias(prepared(file), bias)
        flat = less_dark(flat, darks[flat.header["EXPTIME"]])
        flats.append(scaled(flat, np.median(lit(flat.data))))
    flat = median(flats).data
    lamp = np.log(np.median(lit(flat), axis=1 - axis))
    x = np.linspace(-1, 1, len(lamp))
    keep = np.isfinite(lamp)
    for _ in range(10):
        curve = log_lamp(x[keep], lamp[keep])(x)
        # Points within 2 % of the curve stay, however little the lamp scatters.
        near = np.abs(lamp - curve) <= max(3 * mad_std((lamp - curve)[keep]), 0.02)
        if (near == keep).all():
            break
        keep = near
    bright = slit(flat)
    flat = flat / np.expand_dims(np.exp(curve), 1 - axis)
    flat = flat / np.median(flat.compress(bright, axis=1 - axis))
    # Nothing is divided by the dark ends of the slit.
    flat = np.where(np.expand_dims(bright, axis), flat, 1)
    flat = made.masters["flat", None, name] = CCDData(flat, unit=u.one)
    for file in kinds["Object"]:
        ccd = subtract_bias(prepared(file), bias)
        ccd = flat_correct(less_dark(ccd, darks[ccd.header["EXPTIME"]]), flat, norm_value=1)
        made.science[file.name if hasattr(file, "name") else file.rsplit("/", 1)[-1]] = (
            gain_correct(ccd, gain * u.electron / u.adu).data
        )
    return made


def smoothed_mode(image):
    """The peak of a histogram smoothed as the package defines a mode."""
    quarter, centre, three = np.percentile(image, (25, 50, 75))
    spread = min(mad_std(image), (three - quarter) / 1.349)
    step = 1.3 * spread * image.size ** (-1 / 7) / 8
    edges = np.arange(-8 * spread, 8 * spread + step, step) + centre
    kernel = np.exp(-0.5 * (np.arange(-32, 33) / 8) ** 2)
    counts = np.convolve(np.histogram(image, edges)[0], kernel / kernel.sum(), "same")
    k = np.argmax(counts)
    bend, slope, _ = np.polyfit([-1, 0, 1], counts[k - 1 : k + 2], 2)
    return edges[k] + step * (0.5 - slope / (2 * bend))


def density_mode(image):
    """The peak of the density that scipy estimates from every fourth pixel."""
    density = gaussian_kde(image.reshape(-1)[::4], "silverman")
    places = np.linspace(*np.percentile(image, (20, 99)), 400)
    return places[np.argmax(density(places))]


SCRIPTS = {
    "lfc": lfc,
    "cg16m": cg16m,
    "proem": lambda *place: proem(*place, smoothed_mode),
    "pt5m": pt5m,
    "kosmos": kosmos,
    "dis_blue": lambda *place: dis(*place, gain=1.68),
    "dis_red": lambda *place: dis(*place, gain=1.88),
    "sbo": sbo,
}


# What is compared.


def raw_level(reduced, files):
    """The highest level that the camera wrote of each pixel."""
    return np.max([reduced.raw(file) for file in files], axis=0)


def inputs(reduced, key):
    """The raw files of a master."""
    kind, exposure, filter = key
    (master,) = (
        m
        for m in reduced.night.plan.masters
        if m.type == kind and m.filter == filter and (kind != "dark" or m.exposure == exposure)
    )
    return [i.file for i in master.inputs]


def tolerances(reduced, script):
    """How far each product may lie from the script's: roundings of what the camera wrote.

    A master may be rounded four times: when it is written, and when overscan, bias and
    dark come off. A sum has so many of each frame, and a flat is divided by its light.
    A calibrated frame is rounded once more by each of its three masters and by the
    division and the gain.
    """
    masters = {}
    dark = raw_level(reduced, reduced.files("dark"))
    pedestal = np.median(raw_level(reduced, reduced.files("dark")[:1]))
    for key, master in script.masters.items():
        raw = raw_level(reduced, inputs(reduced, key))
        if key[0] == "arc":
            raw = raw * len(inputs(reduced, key))
        if key[0] == "flat":
            raw = np.maximum(raw, dark) / np.maximum(raw - pedestal, 1) * master.data
        masters[key] = 4 * EPS * raw
    science = {}
    for file in script.science:
        raw = np.maximum(reduced.raw(file), dark)
        filter = reduced.truth.frames["filter"][reduced.truth.frames["file"] == file][0]
        flat = script.masters["flat", None, filter or None].data
        gain = reduced.readouts(file)[0].gain if reduced.profile.recipe.electrons else 1
        science[file] = 8 * EPS * raw / flat * gain
    return masters, science


def worst(image, wanted, tolerance):
    """The largest deviation of an unmasked pixel, in units of the tolerance."""
    return float(np.max((np.abs(image.data - wanted) / tolerance)[~image.mask]))


def deviations(reduced, script):
    """Every product's largest deviation; all that the script makes must be there, and no more."""
    for_masters, for_science = tolerances(reduced, script)
    assert set(reduced.masters) == set(script.masters)
    assert set(reduced.science) == set(script.science)
    found = {
        key: worst(reduced.masters[key], master.data, for_masters[key])
        for key, master in script.masters.items()
    }
    return found | {
        file: worst(reduced.science[file], data, for_science[file])
        for file, data in script.science.items()
    }


@pytest.fixture(scope="module")
def golden(reduced):
    with ccdproc.conf.set_temp("auto_logging", False):
        rows, columns = reduced.truth.bias.shape
        script = SCRIPTS[reduced.truth.profile.name](reduced.folder, rows, columns)
    return reduced, script


def test_night_agrees_with_plain_script(golden):
    reduced, script = golden
    if reduced.truth.profile.name == "proem":
        # Rounding moves a mode a little further than a pixel; all pixels share that.
        key = ("flat", None, "BG40")
        ratio = np.median(reduced.masters[key].data / script.masters[key].data)
        assert abs(ratio - 1) < 1e-5
        script.masters[key] = scaled(script.masters[key], 1 / ratio)
        for file in script.science:
            script.science[file] = script.science[file] / ratio
    found = deviations(reduced, script)
    assert max(found.values()) <= 1, found


# The FITS standard.


def not_valid(paths):
    """Return what fitsverify says of products that it finds any fault with."""
    if shutil.which("fitsverify") is None:
        pytest.skip("the command fitsverify is not there, which tells errors and warnings of FITS")
    told = subprocess.run(
        ["fitsverify", "-q", *paths], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    assert len(told) == len(paths) > 0, told
    return [line for line in told if not line.startswith("verification OK: ")]


def test_the_products_of_every_night_are_valid_fits(reduced):
    night = reduced.night
    paths = [*night.masters.values(), *night.products.values()]
    assert sorted(paths) == sorted(night.output.rglob("*.fits"))
    assert not_valid(paths) == []


@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_the_products_of_every_demo_are_valid_fits(name, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("ccdprofiles.cli.demo._WINDOW", (100, 120))
    assert main(["demo", name, "-q", "-o", str(tmp_path / "demo")]) == 0
    reduced = tmp_path / "demo" / "reduced"
    assert not_valid(sorted(reduced.rglob("*.fits"))) == []
    assert verify_night(reduced).ok


def test_a_product_with_cosmic_rays_and_steps_left_out_is_valid_fits(reduce_made_up, tmp_path):
    made = reduce_made_up("cg16m")
    for number, options in enumerate(
        ({"cosmic_rays": True}, {"without": ["flat"]}, {"without": ["bias", "dark", "flat"]})
    ):
        night = reduce_night(made.folder, tmp_path / str(number), profile=made.profile, **options)
        assert not_valid(sorted(night.output.rglob("*.fits"))) == []


def test_a_fault_of_a_product_is_seen(reduced, tmp_path):
    path = sorted(reduced.night.products.values())[0]
    octets = path.read_bytes()
    bad, odd = tmp_path / "bad.fits", tmp_path / "odd.fits"
    bad.write_bytes(octets[:-2880])
    odd.write_bytes(octets.replace(b"NEXTEND = ", b"NEXTEND=  ", 1))
    said = not_valid([path, bad, odd])
    assert len(said) == 2
    assert all("verification FAILED" in line for line in said)


def test_no_more_is_masked_than_is_saturated_or_unlit(golden):
    reduced, _ = golden
    lit = np.ones(reduced.truth.bias.shape, bool)
    for (kind, _, _), image in reduced.masters.items():
        if kind == "flat" and hasattr(reduced.profile.recipe.flat, "dispersion"):
            axis = {"y": 0, "x": 1}[reduced.profile.recipe.flat.dispersion]
            lit = ~image.mask
            # What is masked are whole rows or columns at the ends of the slit.
            assert (lit == lit.any(axis=axis, keepdims=True)).all()
            assert 0.75 < lit.mean() < 0.85
        else:
            assert not image.mask.any()
    for file, image in reduced.science.items():
        full = np.zeros(lit.shape, bool)
        for readout in reduced.readouts(file):
            place = readout.place.slices()
            full[place] = reduced.raw(file)[place] >= readout.saturation
        np.testing.assert_array_equal(image.mask, full | ~lit)


def test_proem_agrees_with_another_estimate_of_the_mode(reduce_made_up):
    """A mode is a matter of definition: the level may differ by 0.5 %, the shape may not."""
    reduced = reduce_made_up("proem")
    script = proem(reduced.folder, *reduced.truth.bias.shape, density_mode)
    key = ("flat", None, "BG40")
    ratio = reduced.masters[key].data / script.masters[key].data
    assert abs(np.median(ratio) - 1) < 0.005
    blocks = ratio.reshape(8, 50, 6, 50).mean(axis=(1, 3)) / np.median(ratio)
    assert np.abs(blocks - 1).max() < 0.0005
    for file, image in reduced.science.items():
        ratio = np.median((image.data / script.science[file])[~image.mask])
        assert abs(ratio - 1) < 0.005


@pytest.mark.slow
def test_full_size_lfc_night_agrees_with_plain_script(reduce_made_up):
    reduced = reduce_made_up("lfc", None, None)
    script = lfc(reduced.folder, *reduced.truth.bias.shape)
    found = deviations(reduced, script)
    assert max(found.values()) <= 1, found
