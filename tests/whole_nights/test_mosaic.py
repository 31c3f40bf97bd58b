"""Chips that lie apart on the sky: each is a frame of its own, against plain NumPy and the truth."""

import shutil
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from geometries import PLAIN
from mosaics import CHIPS, ORDER, amp_of, mosaic, reduced, sky

from ccdprofiles import (
    Amplifier,
    Flat,
    Profile,
    combine,
    plan_night,
    reduce_night,
    verify_night,
)
from ccdprofiles.camera.chips import without_chip
from ccdprofiles.errors import ChangeError, InputError, PlanError, ProfileError
from ccdprofiles.night import scan_night
from ccdprofiles.reduce import inputs
from ccdprofiles.run import jobs
from ccdprofiles.simulate import simulate_night

LEVELS = ("chip", "all chips")


@pytest.fixture(scope="module", params=LEVELS)
def night(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mosaic")
    camera = mosaic(request.param)
    camera.write(folder / "raw")
    result = reduce_night(folder / "raw", folder / "out", profile=camera.profile, jobs=1)
    return camera, folder, result


def planes(path):
    with fits.open(path) as hdus:
        return hdus[0].data, hdus["UNCERT"].data, hdus["DQ"].data


def made(result):
    """The planes of each product by ("bias" or "flat" or file, chip)."""
    found = {}
    for name, path in (result.masters | result.products).items():
        header = fits.getheader(path)
        what = header["CPTYPE"]
        if what == "science":
            what = f"{path.name.split('_')[0]}.fits"
        found[what, header["CPCHIP"]] = planes(path)
        assert f"chip{header['CPCHIP']}" in name
    return found


def level_of(camera):
    return camera.profile.recipe.flat.level


def test_each_chip_has_masters_and_products_of_its_own(night):
    _, _, result = night
    assert result.ok, str(result)
    masters = {f"masters/wfc_{kind}_chip{c}_1x1.fits" for kind in ("bias", "flat") for c in CHIPS}
    assert set(result.masters) == masters
    science = {f"science/light{n}_chip{chip}_cal.fits" for n in (0, 1) for chip in CHIPS}
    assert set(result.products) == science
    assert "18 files found (72 frames of single chips), 72 used" in str(result)


def test_the_table_has_a_row_for_every_chip_of_every_file(night):
    _, folder, result = night
    rows = set(zip(result.frames["file"], result.frames["chip"], strict=True))
    files = [path.name for path in (folder / "raw").iterdir()]
    assert rows == {(f"{file}[chip {chip}]", chip) for file in files for chip in CHIPS}
    assert set(result.frames["verdict"]) == {"used"}


def test_products_are_those_of_plain_numpy(night):
    camera, folder, result = night
    wanted = reduced(camera, folder / "raw", level_of(camera))
    found = made(result)
    assert set(found) == set(wanted)
    for name, (data, _, flags) in found.items():
        good = flags == 0
        assert good.mean() > 0.999
        np.testing.assert_allclose(data[good], wanted[name][good], rtol=3e-7, atol=3e-4)


@pytest.mark.parametrize("level", LEVELS)
def test_products_in_adu_are_those_of_plain_numpy(tmp_path, level):
    camera = mosaic(level, electrons=False)
    camera.write(tmp_path / "raw", science=1)
    result = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera.profile)
    wanted = reduced(camera, tmp_path / "raw", level, electrons=False)
    for name, (data, _, flags) in made(result).items():
        good = flags == 0
        np.testing.assert_allclose(data[good], wanted[name][good], rtol=3e-7, atol=3e-4)


def test_uncertainties_are_true(night):
    camera, _, result = night
    found = made(result)
    pulls = {"bias": [], "flat": [], "science": []}
    for chip in CHIPS:
        place = amp_of(camera, chip).place
        flat = camera.response[place] / np.median(camera.response[place])
        level = np.mean(found["flat", chip][0] / flat)
        light = camera.sky[place] * np.median(camera.response[place]) / level
        for (what, of), (data, sigma, flags) in found.items():
            if of == chip:
                truth = {"bias": np.zeros(flat.shape), "flat": flat * level}.get(what, light)
                good = flags == 0
                kind = what if what in pulls else "science"
                pulls[kind].append(((data - truth) / sigma)[good])
    for kind, values in pulls.items():
        assert np.std(values) == pytest.approx(1, abs=0.03), kind
        assert abs(np.mean(values)) < 0.05, kind


def test_one_level_keeps_the_response_of_the_chips_relative_to_each_other(night):
    """Light over the truth is the same number in all chips, or the level of each."""
    camera, _, result = night
    found = made(result)
    own, response = [], []
    for chip in CHIPS:
        place = amp_of(camera, chip).place
        own.append(np.median(found["light0.fits", chip][0] / camera.sky[place]))
        response.append(np.median(camera.response[place]))
    assert np.ptp(response) > 0.05
    shared = np.full(4, np.mean(response))
    wanted = shared if level_of(camera) == "all chips" else response
    np.testing.assert_allclose(own, wanted, rtol=3e-3)


def test_each_chip_has_its_world_coordinates(night):
    """To 0.01 pixel, after trimming and flips, and nothing of the primary header's."""
    camera, _, result = night
    for path in result.products.values():
        header = fits.getheader(path)
        assert not {"PC1_2", "CDELT1", "PV2_1"} & set(header)
        assert header["EQUINOX"] == 2000
        place = amp_of(camera, header["CPCHIP"]).place
        rows, columns = header["NAXIS2"], header["NAXIS1"]
        x, y = (g.ravel() for g in np.meshgrid([1, 20.5, columns], [1, 33.25, rows]))
        world = sky().all_pix2world(x + place[1].start, y + place[0].start, 1)
        np.testing.assert_allclose(WCS(header).all_world2pix(*world, 1), [x, y], atol=0.01)


def test_headers_say_the_chip_and_its_own_numbers(night):
    camera, _, result = night
    for path in result.products.values():
        header = fits.getheader(path)
        amp = amp_of(camera, header["CPCHIP"])
        assert header["OSLEV1"] == pytest.approx(amp.pedestal, abs=25)
        assert header["ZEROCOR"] == f"wfc_bias_chip{header['CPCHIP']}_1x1.fits"
        assert "EXTNAME" not in header
    flat = fits.getheader(result.masters["masters/wfc_flat_chip2_1x1.fits"])
    shared = any("mean over all chips" in line for line in flat["HISTORY"])
    assert shared == (level_of(camera) == "all chips") == (flat["FLATNORM"] == 1)


def test_a_second_run_makes_nothing_and_everything_is_whole(night):
    camera, folder, result = night
    before = {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*.fits")}
    second = reduce_night(folder / "raw", folder / "out", profile=camera.profile)
    assert second.kept == set(result.masters) | set(result.products)
    assert not second.anew
    assert {p: p.stat().st_mtime_ns for p in (folder / "out").rglob("*.fits")} == before
    verified = verify_night(folder / "out")
    assert verified.ok, str(verified)
    assert sum(verified.table["part"] == "input") == 72


@pytest.mark.parametrize("how", ["bands", "threads", "processes"])
def test_bands_and_workers_change_no_byte(night, tmp_path, monkeypatch, how):
    camera, folder, result = night
    options = {"jobs": 1}
    if how == "bands":
        monkeypatch.setattr(inputs, "_BAND_BYTES", 20_000)
    elif how == "threads":
        options = {"jobs": 3}
    else:
        monkeypatch.setattr(jobs, "LARGE", 1000)
        options = {"executor": ProcessPoolExecutor(2)}
    other = reduce_night(folder / "raw", tmp_path, profile=camera.profile, **options)
    for name, path in (result.masters | result.products).items():
        assert path.read_bytes() == (other.masters | other.products)[name].read_bytes(), name


@pytest.mark.parametrize("only", ["light0.fits", "light0.fits[chip 2]"])
def test_a_part_of_the_night_has_the_same_bytes(night, tmp_path, only):
    camera, folder, result = night
    part = reduce_night(folder / "raw", tmp_path, profile=camera.profile, only=only)
    assert len(part.products) == (1 if "chip" in only else 4)
    for name, path in (part.masters | part.products).items():
        assert path.read_bytes() == (result.masters | result.products)[name].read_bytes()
    flats = [name for name in part.masters if "flat" in name]
    alone = "chip" in only and level_of(camera) == "chip"
    assert len(flats) == (1 if alone else 4)


@pytest.fixture
def raw(night, tmp_path):
    """A copy of the raw frames that may be changed."""
    camera, folder, _ = night
    shutil.copytree(folder / "raw", tmp_path / "raw")
    return camera, tmp_path / "raw"


def verdicts(result):
    table = result.frames
    return {row["file"]: (row["verdict"], row["code"]) for row in table if row["verdict"] != "used"}


def test_frames_are_rejected_by_the_file_or_by_the_chip(night):
    camera, folder, _ = night
    for given, number in (("light0.fits", 4), ("light0.fits[chip 3]", 1)):
        plan = plan_night(folder / "raw", profile=camera.profile, reject=[given])
        assert len(plan.reject) == number
        assert len(plan.products) == 8 - number
    by_path = plan_night(
        folder / "raw", profile=camera.profile, reject=folder / "raw" / "light1.fits"
    )
    assert len(by_path.reject) == 4
    with pytest.raises(InputError, match=r"light0.fits\[chip 9\]"):
        plan_night(folder / "raw", profile=camera.profile, reject="light0.fits[chip 9]")


def test_a_missing_extension_costs_its_chip_only(raw, tmp_path):
    camera, folder = raw
    with fits.open(folder / "light0.fits") as hdus:
        short = fits.HDUList([h for n, h in enumerate(hdus) if n != ORDER[0]])
        short.writeto(folder / "light9.fits")
    result = reduce_night(folder, tmp_path / "out", profile=camera.profile)
    wrong = verdicts(result)
    assert wrong["light9.fits[chip 1]"] == ("set aside", "missing-extension")
    assert sum(without_chip(file) == "light9.fits" for file in result.frames["file"]) == 4


def test_damaged_pixels_cost_their_chip_only(raw, tmp_path):
    camera, folder = raw
    with fits.open(folder / "light0.fits", mode="update") as hdus:
        for hdu in hdus:
            hdu.add_datasum()
    with fits.open(folder / "light0.fits") as hdus:
        place = hdus[ORDER[1]].fileinfo()["datLoc"]
    with open(folder / "light0.fits", "r+b") as stream:
        stream.seek(place + 999)
        stream.write(b"x")
    result = reduce_night(folder, tmp_path / "out", profile=camera.profile)
    assert verdicts(result) == {"light0.fits[chip 2]": ("set aside", "checksum")}
    assert "science/light0_chip3_cal.fits" in result.products


def test_a_copy_of_a_file_is_ignored_chip_by_chip(raw, tmp_path):
    camera, folder = raw
    shutil.copy(folder / "light0.fits", folder / "light0-again.fits")
    result = reduce_night(folder, tmp_path / "out", profile=camera.profile)
    assert verdicts(result) == {
        f"light0-again.fits[chip {chip}]": ("ignored", "duplicate") for chip in CHIPS
    }


def test_a_flat_without_one_chip_has_no_level_of_all_chips(raw, tmp_path):
    camera, folder = raw
    with fits.open(folder / "flat3.fits", mode="update") as hdus:
        hdus[ORDER[2]].data[:, 5:77] = 65535
    result = reduce_night(folder, tmp_path / "out", profile=camera.profile)
    wrong = verdicts(result)
    assert wrong.pop("flat3.fits[chip 3]")[0] == "set aside"
    if level_of(camera) == "chip":
        assert not wrong
    else:
        others = {f"flat3.fits[chip {chip}]" for chip in "124"}
        assert wrong == dict.fromkeys(others, ("set aside", "flat-level"))
        assert "the level of all chips is not known in this exposure" in str(result)
    combined = [fits.getval(p, "NCOMBINE") for n, p in result.masters.items() if "flat" in n]
    assert set(combined) == ({6, 7} if level_of(camera) == "chip" else {6})


def test_flats_that_all_lack_one_chip_have_no_level_of_all_chips(tmp_path):
    camera = mosaic("all chips")
    camera.write(tmp_path / "raw", science=1)
    for path in (tmp_path / "raw").glob("flat*"):
        with fits.open(path, mode="update") as hdus:
            del hdus[ORDER[2]]
    result = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera.profile)
    assert not [name for name in result.masters if "flat" in name]
    assert not result.products
    assert "the level of all chips is not known in this exposure" in str(result)


def test_corrections_of_whole_frames_are_refused_for_chips(tmp_path):
    camera = mosaic()
    camera.write(tmp_path / "raw", science=1)
    fits.PrimaryHDU(np.zeros((10, 10), "u1")).writeto(tmp_path / "mask.fits")
    recipe = camera.profile.recipe.but(bad_pixels=str(tmp_path / "mask.fits"))
    profile = camera.profile.but(recipe=recipe, name="wfc")
    reasons = plan_night(tmp_path / "raw", profile=profile).set_aside
    assert "is for whole frames, but the profile is of the chips of a mosaic" in str(reasons[0])


def test_a_flat_of_one_level_is_remade_if_the_bias_of_another_chip_changes(tmp_path):
    camera = mosaic("all chips")
    camera.write(tmp_path / "raw", science=1)
    first = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera.profile)
    lost = "bias3.fits[chip 2]"
    second = reduce_night(tmp_path / "raw", tmp_path / "out", profile=camera.profile, reject=[lost])
    flats = {name for name in first.masters if "flat" in name}
    assert flats <= set(second.anew)
    biases = {name for name in second.anew if "bias" in name}
    assert biases == {"masters/wfc_bias_chip2_1x1.fits"}


def test_chips_of_unknown_and_known_gain_have_no_common_level(tmp_path):
    camera = mosaic("all chips")
    amplifiers = [a.but(gain=None) if a.name == "CCD2" else a for a in camera.profile.amplifiers]
    profile = camera.profile.but(amplifiers=amplifiers, name="wfc")
    camera.write(tmp_path / "raw", science=1)
    result = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    assert not result.ok
    assert "the gain of chip 2 is not known, so that its level cannot be compared" in str(result)


def test_masters_of_another_night_are_those_of_the_same_chip(night, tmp_path):
    camera, folder, result = night
    tonight = tmp_path / "tonight"
    tonight.mkdir()
    shutil.copy(folder / "raw" / "light1.fits", tonight)
    options = {"profile": camera.profile, "calibrations": folder / "out" / "masters"}
    other = reduce_night(tonight, tmp_path / "out", profiles=[camera.profile], **options)
    assert other.ok, str(other)
    for chip in CHIPS:
        name = f"science/light1_chip{chip}_cal.fits"
        np.testing.assert_array_equal(
            fits.getdata(other.products[name]), fits.getdata(result.products[name])
        )


def test_raw_frames_of_another_night_and_tile_compressed_ones_are_used(night, tmp_path):
    camera, folder, result = night
    for name in ("before", "tonight"):
        (tmp_path / name).mkdir()
    for path in (folder / "raw").iterdir():
        science = path.name.startswith("light")
        with fits.open(path) as hdus:
            packed = [fits.CompImageHDU(h.data, h.header) for h in hdus[1:]]
            target = tmp_path / ("tonight" if science else "before") / f"{path.name}.fz"
            fits.HDUList([hdus[0], *packed]).writeto(target)
    options = {"profile": camera.profile, "calibrations": tmp_path / "before"}
    other = reduce_night(tmp_path / "tonight", tmp_path / "out", **options)
    assert other.ok, str(other)
    for name, path in result.products.items():
        np.testing.assert_array_equal(fits.getdata(other.products[name]), fits.getdata(path))
        header = fits.getheader(other.products[name])
        assert header["CRPIX1"] == pytest.approx(fits.getval(path, "CRPIX1"))
    assert verify_night(tmp_path / "out").ok


def test_the_collection_gives_the_frames_of_the_chips(night):
    _, folder, result = night
    files = result.collection
    assert len(files.summary) == 72
    assert [*files.files_filtered(type="science", chip="3")] == ["light0.fits", "light1.fits"]
    with fits.open(folder / "raw" / "light1.fits") as hdus:
        for chip in CHIPS:
            frames = [*files.ccds(type="science", chip=chip)]
            assert len(frames) == 2
            np.testing.assert_array_equal(frames[1].data, hdus[ORDER[CHIPS.index(chip)]].data)
            assert frames[1].unit == "adu"


def test_single_steps_take_the_profile_of_one_chip(night):
    camera, folder, result = night
    found = made(result)
    for chip in CHIPS:
        profile = camera.profile.of_chip(chip)
        frames = [profile.prepare(p) for p in sorted((folder / "raw").glob("bias*.fits"))]
        bias = combine(frames)
        np.testing.assert_allclose(bias.data, found["bias", chip][0], rtol=1e-6, atol=1e-5)
        assert frames[0].meta["CPCHIP"] == chip
        assert frames[0].meta["CRPIX1"] == pytest.approx(80.3 - amp_of(camera, chip).place[1].start)
    with pytest.raises(PlanError, match=r"use profile.of_chip\('1'\) for one of them"):
        camera.profile.prepare(folder / "raw" / "light0.fits")
    flats = [profile.prepare(p) for p in sorted((folder / "raw").glob("flat*.fits"))]
    flats = [profile.calibrate(flat, bias=bias) for flat in flats]
    if level_of(camera) == "chip":
        np.testing.assert_allclose(combine(flats).data, found["flat", "4"][0], rtol=1e-5)
    else:
        with pytest.raises(PlanError, match="needs those of all chips"):
            combine(flats)


def two(**fields):
    """A camera of two chips side by side in one image."""
    amplifiers = [
        Amplifier(name="L", data="[1:20, 1:24]", overscan=None),
        Amplifier(name="R", data="[23:42, 1:24]", overscan=None),
    ]
    given = {"instrument": "TWO", "name": "two", "amplifiers": amplifiers, "recipe": PLAIN}
    return Profile(**given | {"chips": {"l": ("L",), "r": ("R",)}} | fields)


def write_two(folder, split=False):
    random = np.random.default_rng(5)
    folder.mkdir()
    for kind, number in (("BIAS", 5), ("FLAT", 4), ("LIGHT", 1)):
        for n in range(number):
            level = {"BIAS": 500, "FLAT": 20000, "LIGHT": 3000}[kind]
            image = random.normal(level, 10, (24, 42)).astype("u2")
            cards = fits.Header([("INSTRUME", "TWO"), ("IMAGETYP", kind), ("EXPTIME", 1.0)])
            hdus = [fits.PrimaryHDU(image, cards)]
            if split:
                halves = (image[:, :20], image[:, 22:])
                hdus = [fits.PrimaryHDU(header=cards)]
                hdus += [fits.ImageHDU(i, name="SCI", ver=v) for v, i in enumerate(halves, 1)]
            fits.HDUList(hdus).writeto(folder / f"{kind}{n}.fits")


def test_chips_may_be_parts_of_one_image_or_versions_of_one_name(tmp_path):
    write_two(tmp_path / "one")
    write_two(tmp_path / "split", split=True)
    plain = PLAIN.but(electrons=False)
    one = reduce_night(tmp_path / "one", tmp_path / "out1", profile=two(recipe=plain))
    every = Amplifier(data="[1:20, 1:24]", overscan=None, extension="SCI*")
    profile = two(amplifiers=[every], chips={"l": ("SCI,1",), "r": ("SCI,2",)}, recipe=plain)
    split = reduce_night(tmp_path / "split", tmp_path / "out2", profile=profile)
    assert one.ok, str(one)
    assert split.ok, str(split)
    for name, path in one.products.items():
        np.testing.assert_array_equal(fits.getdata(path), fits.getdata(split.products[name]))
    assert sorted(one.products) == [f"science/LIGHT0_chip{c}_cal.fits" for c in "lr"]


def test_an_amplifier_that_no_chip_names_sets_its_file_aside(tmp_path):
    write_two(tmp_path / "split", split=True)
    every = Amplifier(data="[1:20, 1:24]", overscan=None, extension="SCI*")
    profile = two(amplifiers=[every], chips={"l": ("SCI,1",)})
    frames = scan_night(tmp_path / "split", profile=profile)
    assert {f.code for f in frames} == {"profile-function"}
    assert "the amplifier 'SCI,2' is in none of them" in frames[0].reason


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"chips": {"l": ("L",)}}, "the amplifier 'R' is in none of them; add it to its chip"),
        ({"chips": {"l": ("L", "R"), "r": ("R",)}}, "'R' is in the chips 'l' and 'r'; each"),
        ({"chips": {"l": ("L", "L"), "r": ("R",)}}, "'L' is twice in chip 'l'"),
        (
            {"chips": {"l": ("L",), "r": ("Rr",)}},
            "names the amplifier 'Rr', but the amplifiers are 'L', 'R'",
        ),
        ({"chips": {"l": "L", "r": ("R",)}}, r"'L' is not a tuple of names of amplifiers; use"),
        ({"chips": {"l": (), "r": ("L", "R")}}, r"\(\) is not a tuple of names"),
        ({"chips": {1: ("L", "R")}}, "chips: 1 is not a name of a chip.* use letters, digits"),
        ({"chips": {"a/b": ("L", "R")}}, "'a/b' is not a name of a chip"),
        ({"chips": {"a": ("L",), "A": ("R",)}}, "'A' differs from another name by its case only"),
        ({"chips": (("L",), ("R",))}, r"is not a dict; use the names of the amplifiers of each"),
        ({"products": "mosaic"}, "products='mosaic' is not one of chips, mef"),
        ({"chips": {}, "products": "mef"}, r"products='mef' needs chips=\{...\}"),
        (
            {"chips": {}, "recipe": PLAIN.but(flat=Flat(level="all chips"))},
            r"flat=Flat\(level='all chips'\) needs chips=\{...\}",
        ),
    ],
)
def test_wrong_chips_are_refused(fields, text):
    with pytest.raises(ProfileError, match=text):
        two(**fields)


def test_a_wrong_level_is_refused():
    with pytest.raises(ProfileError, match="level='all' is not one of chip, all chips"):
        Flat(level="all")


def test_a_level_of_all_chips_cannot_be_set_for_a_camera_without_chips(tmp_path):
    write_two(tmp_path / "one")
    changes = {"flat.level": "all chips"}
    with pytest.raises(ChangeError, match=r"does not fit the recipe of two: .* needs chips=\{"):
        plan_night(tmp_path / "one", profile=two(chips={}), changes=changes)
    assert plan_night(tmp_path / "one", profile=two(), changes=changes).changes


def test_a_mosaic_is_not_simulated_as_one_frame(tmp_path):
    with pytest.raises(ProfileError, match="two has the chips 'l', 'r', which do not make one"):
        simulate_night(two(), tmp_path)


def test_levels_of_chips_are_compared_in_electrons_whatever_their_amplifiers(tmp_path):
    """The gains of the amplifiers differ in one chip, and agree in the other."""
    gains = {"A": 2.0, "B": 3.0, "C": 1.5, "D": 1.5}
    amplifiers = [
        Amplifier(
            name=name,
            data=f"[{1 + 20 * n}:{20 + 20 * n}, 1:60]",
            overscan=None,
            gain=gain * u.electron / u.adu,
            read_noise=5 * u.electron,
        )
        for n, (name, gain) in enumerate(gains.items())
    ]
    recipe = PLAIN.but(flat=Flat(level="all chips"))
    chips = {"1": ("A", "B"), "2": ("C", "D")}
    profile = two(amplifiers=amplifiers, chips=chips, recipe=recipe)
    response = np.repeat([1.1, 1.0, 0.8, 0.9], 20)
    random = np.random.default_rng(4)
    (tmp_path / "raw").mkdir()
    for kind, light in (("BIAS", 0), ("FLAT", 40000), ("LIGHT", 20000)):
        for n in range(5):
            charge = random.poisson(light * response, (60, 80))
            image = 300 + charge / np.repeat([*gains.values()], 20) + random.normal(0, 2, (60, 80))
            cards = fits.Header([("INSTRUME", "TWO"), ("IMAGETYP", kind), ("EXPTIME", 1.0)])
            hdu = fits.PrimaryHDU(np.rint(image).astype("u2"), cards)
            hdu.writeto(tmp_path / "raw" / f"{kind}{n}.fits")
    result = reduce_night(tmp_path / "raw", tmp_path / "out", profile=profile)
    assert result.ok, str(result)
    skies = [np.median(fits.getdata(path)) for path in result.products.values()]
    # The mean of the levels: the median of a chip of two halves is about their mean.
    np.testing.assert_allclose(skies, 20000 * np.mean([1.05, 0.85]), rtol=3e-3)


def test_a_chip_that_does_not_exist_is_refused():
    with pytest.raises(ProfileError, match=r"chip='R' is not a chip .* use one of 'l', 'r'"):
        two().of_chip("R")
    every = Amplifier(data="[1:20, 1:24]", overscan=None, extension="SCI*")
    with pytest.raises(ProfileError, match="are known only from a header"):
        two(amplifiers=[every], chips={"l": ("SCI,1",)}).of_chip("l")
    with pytest.raises(ProfileError, match="which do not make one frame"):
        two().amplifiers_of({}, {None: (24, 42)})


def test_amplifiers_of_one_chip_are_checked_and_those_of_two_are_not():
    """Two chips may have one place each on their own detectors; two amplifiers of one may not."""
    amplifiers = [
        Amplifier(name="A", data="[1:9, 1:9]", overscan=None, extension=1, detector="[1:9, 1:9]"),
        Amplifier(name="B", data="[1:9, 1:8]", overscan=None, extension=2, detector="[1:9, 1:8]"),
    ]
    two(amplifiers=amplifiers, chips={"1": ("A",), "2": ("B",)})
    with pytest.raises(ProfileError, match="overlap"):
        two(amplifiers=amplifiers, chips={"1": ("A", "B")})


def test_chips_change_the_hash_and_their_absence_does_not():
    plain = two(chips={})
    hashes = {p.hash for p in (plain, two(), two(chips={"r": ("L",), "l": ("R",)}))}
    assert len(hashes) == 3
    assert two(chips={}, products="chips").hash == plain.hash
    assert PLAIN.but(flat=Flat()).flat == Flat(level="chip")
    assert repr(Flat()) == "Flat(scale='median', minimum=0.05)"
