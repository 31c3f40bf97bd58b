"""Simulated nights: recognised by their profiles, true to their truth, the same from the same seed."""

import ast
import hashlib
from pathlib import Path

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
    known_profiles,
    reduce_night,
)
from ccdprofiles.camera.section import Section
from ccdprofiles.errors import OutputError, ProfileError
from ccdprofiles.simulate import Exposures, simulate_night, windowed
from ccdprofiles.simulate import night as simulate

SHIPPED = ("cg16m", "dis_blue", "dis_red", "kosmos", "lfc", "pt5m", "proem", "sbo")
ROWS, COLUMNS = 120, 160


@pytest.fixture(scope="module", params=SHIPPED)
def night(request, tmp_path_factory):
    """The usual night of a shipped instrument, on a small copy of its chip."""
    folder = tmp_path_factory.mktemp(request.param)
    return simulate_night(windowed(request.param, ROWS, COLUMNS), folder, cosmic_rays=20)


def pixels(truth, file):
    return fits.getdata(truth.folder / file).astype(float)


def files(truth, frame_type, exposure=None, filter=None):
    rows = truth.frames[truth.frames["type"] == frame_type]
    if exposure is not None:
        rows = rows[rows["exposure"] == exposure]
    if filter is not None:
        rows = rows[rows["filter"] == filter]
    return list(rows["file"])


def prepared(truth, file):
    """Subtract the overscan where there is one, trim, and put the amplifiers together."""
    raw, header = pixels(truth, file), fits.getheader(truth.folder / file)
    amplifiers = truth.known.amplifiers_of(header, {None: raw.shape})
    image = np.empty(amplifiers.shape)
    for readout in amplifiers.readouts:
        data = raw[readout.data.slices()]
        if readout.overscan is not None:
            strip = raw[readout.overscan.slices()]
            by_row = isinstance(truth.profile.recipe.overscan, str)
            data = data - (strip.mean(axis=1, keepdims=True) if by_row else strip.mean())
        image[readout.place.slices()] = data
    return image


def digest(folder):
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(Path(folder).rglob("*"))
        if p.is_file()
    }


def test_every_shipped_profile_is_tried():
    assert set(known_profiles()) >= set(SHIPPED)


# What the headers say.


def test_frames_are_recognised_and_typed(night):
    for row in night.frames:
        header = fits.getheader(night.folder / row["file"])
        assert night.profile.fits(header)
        assert night.profile.frame_type_of(header) == row["type"]
        assert night.profile.exposure_of(header) == row["exposure"]
        assert (night.profile.text_of("filter", header) or "") == row["filter"]
        assert night.profile.text_of("date", header)


def test_one_profile_and_no_other_knows_them(night):
    header = fits.getheader(night.folder / night.frames["file"][0])
    assert [p.name for p in known_profiles().values() if p.fits(header)] == [night.profile.name]


def test_dates_go_forward(night):
    dates = [
        night.profile.text_of("date", fits.getheader(night.folder / f))
        for f in night.frames["file"]
    ]
    assert dates == sorted(dates)
    assert len(set(dates)) == len(dates)


def test_every_kind_of_frame_is_there(night):
    kinds = set(night.frames["type"])
    recipe = night.profile.recipe
    assert {"dark", "flat", "science"} <= kinds
    assert ("bias" in kinds) == recipe.bias
    assert ("arc" in kinds) == hasattr(recipe.flat, "dispersion")


def test_files_are_stored_as_the_camera_stores_them(night):
    with fits.open(night.folder / night.frames["file"][0]) as hdus:
        bitpix = fits.getheader(night.folder / night.frames["file"][0])["BITPIX"]
        assert len(hdus) == 1
    assert bitpix == (32 if night.profile.name == "kosmos" else 16)


def test_lfc_names_folders_and_lies(tmp_path):
    truth = simulate_night(windowed("lfc", 60, 80), tmp_path)
    darks, flats = files(truth, "dark"), files(truth, "flat")
    assert all(f.startswith("darks/ccd.") for f in darks)
    assert "ccd.014.0.fits" in flats
    assert "darks/ccd.014.0.fits" in darks
    dark, flat = (fits.getheader(tmp_path / f[0]) for f in (darks, flats))
    assert dark["FILTER"] == "r'"
    assert dark["DATE-OBS"] > "2016-03-01" > flat["DATE-OBS"]
    assert flat["BIASSEC"] == "[81:112,1:59]"
    assert set(truth.frames["exposure"]) == {7.0, 70.0, 300.0, 70.001, 70.011, 300.014, 300.062}


def test_cg16m_names_and_biassec(tmp_path):
    truth = simulate_night(windowed("cg16m", 60, 80), tmp_path)
    assert "Dark-S001-R001-C009-NoFilt.fit" in files(truth, "dark")
    header = fits.getheader(tmp_path / files(truth, "flat")[0])
    assert header["BIASSEC"] == "[80:93]"
    assert header["NAXIS1"] == 93
    bias = fits.getheader(tmp_path / files(truth, "bias")[0])
    assert "FILTER" not in bias
    assert "OBJECT" not in bias


def test_proem_says_no_type_and_kosmos_no_gain(tmp_path):
    proem = simulate_night(windowed("proem", 16, 16), tmp_path / "a")
    assert "IMAGETYP" not in fits.getheader(proem.folder / proem.frames["file"][0])
    kosmos = simulate_night(windowed("kosmos", 32, 32), tmp_path / "b")
    header = fits.getheader(kosmos.folder / files(kosmos, "arc")[0])
    assert "GAIN" not in header
    assert header["NEON"] == "on"


# What the pixels hold.


def test_bias_level_and_read_noise(night):
    biases = files(night, "bias")
    if not biases:
        pytest.skip("the instrument takes no bias")
    stack = np.array([prepared(night, f) for f in biases])
    assert np.median(stack.mean(axis=0) - night.bias) == pytest.approx(0, abs=0.3)
    header = fits.getheader(night.folder / biases[0])
    noise = np.std(stack - stack.mean(axis=0)) / np.sqrt(1 - 1 / len(stack))
    readout = night.known.amplifiers_of(header, {None: pixels(night, biases[0]).shape}).readouts[0]
    width = np.inf if readout.overscan is None else readout.overscan.width
    rounded = readout.read_noise / readout.gain * np.sqrt(1 + 1 / width)
    assert noise == pytest.approx(np.hypot(rounded, np.sqrt(1 / 12)), rel=0.05)


def test_dark_level(night):
    for exposure in sorted(set(night.frames["exposure"][night.frames["type"] == "dark"])):
        names = files(night, "dark", exposure)
        stack = np.array([prepared(night, f) for f in names])
        cool = ~night.hot
        truth = night.master("dark", exposure)
        left = night.bias if night.profile.recipe.bias else 0
        expected = np.mean((truth + left)[cool])
        tolerance = 5 * stack.std() / np.sqrt(stack.size) + 0.3
        assert np.mean(np.median(stack, axis=0)[cool]) == pytest.approx(
            expected, abs=tolerance + 0.3
        )


def test_hot_pixels_are_hot(night):
    exposure = night.frames["exposure"][night.frames["type"] == "dark"].max()
    dark = np.median([prepared(night, f) for f in files(night, "dark", exposure)], axis=0)
    assert night.hot.any()
    assert np.median(dark[night.hot]) > np.percentile(dark[~night.hot], 90)


def test_flats_divide_out(night):
    """A flat over the true flat is even, or smooth along the dispersion."""
    name = next(iter(night.flats))
    file = files(night, "flat", filter=name)[0]
    exposure = night.frames["exposure"][list(night.frames["file"]).index(file)]
    image = prepared(night, file) - night.bias - night.dark / night.gain * exposure
    lit = night.illuminated & ~night.hot
    ratio = np.where(lit, image / np.where(lit, night.flats[name], 1), np.nan)
    recipe = night.profile.recipe
    if hasattr(recipe.flat, "dispersion"):
        ratio /= np.nanmedian(ratio, axis=0 if recipe.flat.dispersion == "x" else 1, keepdims=True)
    level = np.nanmedian(ratio)
    assert np.nanstd(ratio) / level < 0.03
    assert np.abs(np.nanmedian(ratio[:, : COLUMNS // 2]) / level - 1) < 0.003


def test_flats_are_normalised_over_what_is_lit(night):
    statistic = simulate.STATISTICS[night.profile.recipe.flat.scale]
    for flat in night.flats.values():
        assert flat.dtype == np.float32
        assert statistic(flat[night.illuminated]) == pytest.approx(1, abs=1e-3)


def test_science_is_calibrated_by_the_truth(night):
    """The raw frame through true masters is the true frame, within the photon noise."""
    recipe = night.profile.recipe
    for file, truth in night.science.items():
        row = night.frames[list(night.frames["file"]).index(file)]
        flat = night.flats[row["filter"]]
        gain = night.gain if recipe.electrons else 1
        image = prepared(night, file) - night.bias - night.dark / night.gain * row["exposure"]
        image = image * gain / np.where(night.illuminated, flat, 1)
        good = night.illuminated & ~night.cosmic_rays[file] & ~night.hot
        noise = np.sqrt(np.maximum(truth * (1 if recipe.electrons else 1 / night.gain), 1) + 200)
        good &= truth < 40000
        assert np.median(((image - truth) / noise)[good]) == pytest.approx(0, abs=0.05)
        assert np.std(((image - truth) / noise)[good]) < 1.3


def test_cosmic_rays_are_where_the_mask_says(tmp_path):
    camera = windowed("lfc", ROWS, COLUMNS)
    with_rays = simulate_night(camera, tmp_path / "a", cosmic_rays=50)
    without = simulate_night(camera, tmp_path / "b", cosmic_rays=False)
    assert not any(mask.any() for mask in without.cosmic_rays.values())
    file = files(with_rays, "dark", 300.0)[0]
    mask = with_rays.cosmic_rays[file]
    difference = prepared(with_rays, file) - prepared(without, file)
    assert mask.sum() > 20
    assert difference[mask].min() > 100
    assert set(with_rays.cosmic_rays) == {*files(with_rays, "dark"), *files(with_rays, "science")}


def test_the_overscan_follows_the_drift(tmp_path):
    run = [Exposures("bias", 12)]
    truth = simulate_night(windowed("lfc", ROWS, COLUMNS), tmp_path, frames=run, drift=20 * u.adu)
    levels = [pixels(truth, f)[:, :COLUMNS].mean() for f in files(truth, "bias")]
    left = [np.mean(prepared(truth, f) - truth.bias) for f in files(truth, "bias")]
    assert np.std(levels) > 8
    assert np.std(left) < 0.5


def test_nothing_drifts_where_nothing_could_take_it_out(tmp_path):
    run = [Exposures("bias", 12)]
    truth = simulate_night(windowed("cg16m", ROWS, COLUMNS), tmp_path, frames=run)
    assert np.std([prepared(truth, f).mean() for f in files(truth, "bias")]) < 0.2


def test_amplifiers_have_levels_of_their_own(tmp_path):
    run = [Exposures("bias", 5)]
    truth = simulate_night(windowed("kosmos", 400, 200), tmp_path, frames=run)
    raw = np.mean([pixels(truth, f) for f in files(truth, "bias")], axis=0)
    assert raw[:, 100:200].mean() - raw[:, :100].mean() == pytest.approx(7, abs=4)
    assert prepared(truth, files(truth, "bias")[0])[:, 30:].mean() == pytest.approx(
        truth.bias[:, 30:].mean(), abs=0.5
    )


def test_overscan_that_the_profile_calls_useless_is_useless(tmp_path):
    truth = simulate_night(windowed("cg16m", ROWS, COLUMNS), tmp_path)
    bias, flat = (pixels(truth, files(truth, kind)[0]) for kind in ("bias", "flat"))
    assert bias[:, COLUMNS:].mean() > bias[:, :COLUMNS].mean() + 5
    assert flat[:, COLUMNS:].mean() > bias[:, COLUMNS:].mean() + 50


def test_lfc_light_leaks_into_biassec_but_not_into_the_useful_strip(tmp_path):
    truth = simulate_night(windowed("lfc", ROWS, COLUMNS), tmp_path)
    flat = pixels(truth, files(truth, "flat")[0])
    dark = pixels(truth, files(truth, "dark")[0])
    assert flat[:, COLUMNS : COLUMNS + 7].mean() > dark[:, COLUMNS : COLUMNS + 7].mean() + 100
    assert flat[:, COLUMNS + 7 :].mean() == pytest.approx(dark[:, COLUMNS + 7 :].mean(), abs=12)


def test_red_flats_of_dis_stray_into_their_overscan(tmp_path):
    truth = simulate_night(windowed("dis_red", ROWS, COLUMNS), tmp_path)
    strips = {
        t: np.mean([pixels(truth, f)[:ROWS, COLUMNS + 2 : COLUMNS + 49] for f in found])
        for t in (60.0, 120.0)
        if (found := files(truth, "flat", t))
    }
    assert strips[120.0] - strips[60.0] == pytest.approx(40, abs=6)


def test_pixels_saturate_where_the_profile_says(tmp_path):
    run = [Exposures("flat", 1, 7.0, "i'", light=6.0)]
    truth = simulate_night(windowed("lfc", ROWS, COLUMNS), tmp_path, frames=run)
    assert np.mean(pixels(truth, truth.frames["file"][0])[:100, :COLUMNS] == 65535) > 0.9


def test_master_of_a_dark_keeps_its_bias_where_the_recipe_says_so(tmp_path):
    proem = simulate_night(windowed("proem", 32, 32), tmp_path / "a")
    ten, three = proem.master("dark", 10.0), proem.master("dark", 3.0)
    assert np.median(ten - three) / 7 == pytest.approx(20 / 0.87, rel=0.1)
    assert np.median(three) > 876
    cg16m = simulate_night(windowed("cg16m", 32, 32), tmp_path / "b")
    assert np.median(cg16m.master("dark")) < 5
    assert cg16m.master("bias") is cg16m.bias
    assert cg16m.master("flat") is cg16m.flats["r"]
    with pytest.raises(KeyError, match="exposure is one of"):
        proem.master("dark")


def test_master_of_an_arc_is_the_sum(tmp_path):
    truth = simulate_night(windowed("kosmos", ROWS, COLUMNS), tmp_path)
    total = sum(prepared(truth, f) - truth.bias for f in files(truth, "arc"))
    master = truth.master("arc")
    bright = master > 0.2 * master.max()
    assert np.median(total[bright] / master[bright]) == pytest.approx(1, abs=0.01)


# Seeds and order.


def test_same_seed_same_bytes(tmp_path):
    camera = windowed("pt5m", 24, 32)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate_night(camera, tmp_path / name, seed=seed)
    a, b, c = (digest(tmp_path / name) for name in "abc")
    assert a == b
    assert a.keys() == c.keys()
    assert not any(a[name] == c[name] for name in a)


@pytest.mark.parametrize("name", ["lfc", "cg16m"])
def test_the_order_of_the_list_does_not_matter(tmp_path, name):
    run = [
        Exposures("science", 2, 90.0, "r"),
        Exposures("dark", 3, 90.0),
        Exposures("flat", 2, (1.0, 1.2), "r"),
        Exposures("bias", 2),
    ]
    camera = windowed(name, 24, 32)
    simulate_night(camera, tmp_path / "a", frames=run)
    simulate_night(camera, tmp_path / "b", frames=run[::-1])
    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_a_frame_does_not_change_when_others_are_added(tmp_path):
    camera = windowed("lfc", 24, 32)
    few = simulate_night(camera, tmp_path / "a", frames=[Exposures("dark", 2, 70.0)])
    more = simulate_night(
        camera, tmp_path / "b", frames=[Exposures("bias", 3), Exposures("dark", 4, 70.0)]
    )
    for one, other in zip(files(few, "dark"), files(more, "dark"), strict=False):
        np.testing.assert_array_equal(pixels(few, one), pixels(more, other))


# Other cameras, other nights.


def test_windowed_keeps_the_strips():
    for name in SHIPPED:
        whole, small = known_profiles()[name], windowed(name, ROWS, COLUMNS)
        binning = 4 if name == "proem" else 2 if name == "pt5m" else 1
        sections = [Section.parse(a.data) for a in small.amplifiers]
        assert max(s.last_column for s in sections) == COLUMNS * binning
        assert max(s.last_row for s in sections) == ROWS * binning
        for old, new in zip(whole.amplifiers, small.amplifiers, strict=True):
            assert (old.overscan is None) == (new.overscan is None)
            if old.overscan:
                before, after = Section.parse(old.overscan), Section.parse(new.overscan)
                assert after.width == before.width
                gap = before.first_column - Section.parse(whole.amplifiers[-1].data).last_column
                assert after.first_column - COLUMNS == gap
                assert (after.first_row, after.last_row) == (1, ROWS)


def test_windowed_cuts_strips_between_and_before_the_data():
    camera = Profile(
        instrument="Two",
        amplifiers=[
            Amplifier(name="left", data="[11:110, :]", overscan="[1:10, :]"),
            Amplifier(name="right", data="[121:220, :]", overscan="[221:230, :]"),
        ],
        recipe=Recipe(dark=None),
    )
    small = windowed(camera, 30, 40)
    assert [(a.data, a.overscan) for a in small.amplifiers] == [
        ("[11:30, 1:30]", "[1:10, 1:30]"),
        ("[41:60, 1:30]", "[61:70, 1:30]"),
    ]


def test_windowed_refuses_a_share_that_does_not_come_out_even():
    with pytest.raises(ProfileError, match="41 columns cannot be divided evenly among 2"):
        windowed("kosmos", 30, 41)


@pytest.mark.parametrize(
    ("binning", "shape"), [((1, 1), (60, 180)), ((2, 1), (60, 140)), ((2, 2), (30, 140))]
)
def test_the_overscan_of_kosmos_keeps_its_width_when_binned(tmp_path, binning, shape):
    camera = windowed("kosmos", 60, 80)
    run = [Exposures("bias", 6), Exposures("flat", 1, 20.0)]
    truth = simulate_night(camera, tmp_path, frames=run, binning=binning)
    image = pixels(truth, truth.frames["file"][0])
    assert image.shape == shape
    assert truth.bias.shape == (60 // binning[1], 80 // binning[0])
    left = np.mean([prepared(truth, f) for f in files(truth, "bias")], axis=0) - truth.bias
    assert left.mean() == pytest.approx(0, abs=0.5)


def test_frames_of_another_binning_show_the_same_chip(tmp_path):
    run = [
        Exposures("flat", 1, 2.0, "V", binning=(1, 1)),
        Exposures("flat", 1, 2.0, "V"),
        Exposures("dark", 5, 60.0),
    ]
    truth = simulate_night(windowed("pt5m", 40, 60), tmp_path, frames=run)
    single, double = (pixels(truth, f) - 210 for f in files(truth, "flat"))
    if single.size < double.size:
        single, double = double, single
    assert single.shape == (80, 120)
    assert double.shape == (40, 60)
    blocks = single.reshape(40, 2, 60, 2).sum(axis=(1, 3))
    ratio = blocks / double
    assert np.std(ratio) / np.mean(ratio) < 0.02


def own(**changes):
    values = {
        "instrument": "MyCam",
        "amplifiers": [Amplifier(data="[1:60, 1:50]", overscan=None)],
        "recipe": Recipe(flat=Flat(scale="mean"), cosmic_rays=CosmicRays()),
    }
    return Profile(**{**values, **changes})


def test_a_profile_of_ones_own_needs_no_template(tmp_path):
    camera = own(
        where={"SITE": "Hill*", "CHIP": (3, 4)},
        exposure=("TEXP", "EXPTIME"),
        filter="FILT",
        frame_type="KIND",
        frame_types={"null": "bias", "shut": "dark", "dome": "flat", "sky": "science"},
        binning=("XB", "YB"),
    )
    truth = simulate_night(camera, tmp_path, gain=2 * u.electron / u.adu)
    header = fits.getheader(tmp_path / files(truth, "flat")[0])
    assert (header["KIND"], header["FILT"], header["SITE"], header["CHIP"]) == (
        "DOME",
        "V",
        "Hill",
        3,
    )
    assert set(truth.frames["type"]) == {"bias", "dark", "flat", "science"}
    assert truth.known.amplifiers[0].gain == 2 * u.electron / u.adu
    assert truth.known.amplifiers[0].read_noise == 8 * u.electron
    assert truth.profile.amplifiers[0].gain is None


def test_header_fills_in_what_functions_read(tmp_path):
    camera = own(frame_type=lambda header: header.get("SHUTTER"), frame_types={"open": "science"})
    run = [Exposures("science", 2, 5.0)]
    with pytest.raises(ProfileError, match=r"reads type None instead of 'science'; use"):
        simulate_night(camera, tmp_path, frames=run)
    assert not list(tmp_path.iterdir())
    calls = []

    def header(frame_type, exposure, filter, number):
        calls.append((frame_type, exposure, filter, number))
        return {"SHUTTER": "open"}

    simulate_night(camera, tmp_path, frames=run, header=header)
    assert ("science", 5.0, None, 2) in calls


def test_cards_of_a_run_come_last_and_unchecked(tmp_path):
    run = [Exposures("dark", 1, 5.0, cards={"EXPTIME": None, "IMAGETYP": "nonsense"})]
    simulate_night(own(), tmp_path, frames=run)
    header = fits.getheader(next(tmp_path.iterdir()))
    assert "EXPTIME" not in header
    assert header["IMAGETYP"] == "nonsense"


def test_amplifiers_in_extensions_of_their_own(tmp_path):
    camera = own(
        amplifiers=[
            Amplifier(
                name=str(k),
                data="[1:30, 1:50]",
                overscan="[31:40, 1:50]",
                gain=(1 + k / 10) * u.electron / u.adu,
                extension=k,
                detector=f"[{30 * k - 29}:{30 * k}, 1:50]",
            )
            for k in (1, 2)
        ]
    )
    truth = simulate_night(windowed(camera, 20, 40), tmp_path)
    with fits.open(tmp_path / truth.frames["file"][0]) as hdus:
        assert [h.shape for h in hdus[1:]] == [(20, 30), (20, 30)]
    assert truth.bias.shape == (20, 40)
    assert truth.gain[0, [0, -1]] == pytest.approx([1.1, 1.2])
    step = truth.flats["V"][:, :20].mean() / truth.flats["V"][:, 20:].mean()
    assert step == pytest.approx(1.2 / 1.1, rel=0.02)


def test_a_flat_of_electrons_holds_no_ratio_of_gains(tmp_path):
    def camera(electrons):
        gains = (1.0, 2.0) * u.electron / u.adu
        return own(
            amplifiers=[
                Amplifier(name="l", data="[1:30, 1:50]", overscan=None, gain=gains[0]),
                Amplifier(name="r", data="[31:60, 1:50]", overscan=None, gain=gains[1]),
            ],
            recipe=Recipe(electrons=electrons),
        )

    for electrons, ratio in ((True, 1), (False, 2)):
        flat = simulate_night(camera(electrons), tmp_path / str(electrons)).flats["V"]
        assert flat[:, :30].mean() / flat[:, 30:].mean() == pytest.approx(ratio, rel=0.05)


def test_amplifiers_may_be_a_function(tmp_path):
    plain = own().amplifiers
    camera = windowed(own(amplifiers=lambda header: plain), 20, 30)
    truth = simulate_night(camera, tmp_path)
    header = fits.getheader(tmp_path / truth.frames["file"][0])
    known = truth.known.amplifiers_of(header, {None: (20, 30)})
    assert known.knows_noise
    assert known.shape == (20, 30)


def test_shape_says_where_open_sections_end(tmp_path):
    camera = own(amplifiers=[Amplifier(data="[:, :]", overscan=None)])
    truth = simulate_night(camera, tmp_path, shape=(40, 70), frames=[Exposures("bias", 1)])
    assert truth.bias.shape == (40, 70)


@pytest.mark.parametrize("size", [(75, 55), lambda header: (75, 55)])
def test_raw_frames_have_the_size_that_the_profile_gives(tmp_path, size):
    plain = own().amplifiers
    for name, amplifiers in (("plain", plain), ("function", lambda header: plain)):
        camera = own(amplifiers=amplifiers, frame_size=size)
        truth = simulate_night(camera, tmp_path / name, frames=[Exposures("bias", 1)])
        assert pixels(truth, truth.frames["file"][0]).shape == (55, 75)
        assert truth.bias.shape == (50, 60)
        small = simulate_night(
            windowed(camera, 20, 30), tmp_path / f"small {name}", frames=[Exposures("bias", 1)]
        )
        assert pixels(small, small.frames["file"][0]).shape == (25, 45)
        assert small.bias.shape == (20, 30)


def test_windowed_cuts_a_frame_whose_sections_are_open():
    whole = own(amplifiers=[Amplifier(data="[:, :]", overscan=None)], frame_size=(80, 60))
    assert windowed(whole, 20, 30).frame_size == (30, 20)


def test_no_file_is_replaced(tmp_path):
    run = [Exposures("bias", 1)]
    simulate_night(own(), tmp_path, frames=run)
    before = digest(tmp_path)
    with pytest.raises(OutputError, match="already exists; use an empty folder"):
        simulate_night(own(), tmp_path, frames=run, seed=5)
    assert digest(tmp_path) == before


def test_an_unknown_type_and_an_empty_night_are_refused(tmp_path):
    with pytest.raises(ProfileError, match="type='lamp' is not one of bias, dark"):
        Exposures("lamp", 1)
    with pytest.raises(ProfileError, match=r"frames=\[\] is empty"):
        simulate_night(own(), tmp_path, frames=[])


def test_a_statistic_of_ones_own_normalises_the_truth(tmp_path):
    truth = simulate_night(own(), tmp_path, statistic=np.max)
    assert truth.flats["V"].max() == pytest.approx(1)


def test_it_uses_nothing_that_reduces_a_frame():
    """Otherwise a fault of the reduction could be in the truth too."""
    modules = [*Path(simulate.__file__).parent.glob("*.py")]
    assert len(modules) > 5
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                assert node.module.split(".")[0] in ("camera", "errors"), module.name


def test_two_gains_in_one_night(tmp_path):
    """The same light has other numbers; each frame is read out with the gain of its own header."""
    gain = Setting("GAIN", {0: 0.8, 100: 0.2}, unit=u.electron / u.adu)
    camera = own(
        amplifiers=[Amplifier(data="[1:60, 1:50]", overscan=None, gain=gain)],
        recipe=Recipe(flat=None, dark=None, electrons=True),
    )
    run = [
        Exposures(kind, number, 60.0, None, f"gain {setting}", cards={"GAIN": setting})
        for setting in (0, 100)
        for kind, number in (("bias", 5), ("science", 2))
    ]
    truth = simulate_night(camera, tmp_path / "raw", frames=run)
    noise = {
        setting: np.std(np.diff([pixels(truth, f).astype(float) for f in named], axis=0))
        for setting in (0, 100)
        if (named := [f for f in files(truth, "bias") if f"gain {setting}/" in f])
    }
    assert noise[100] / noise[0] == pytest.approx(4, rel=0.05)
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profile=truth.known, jobs=1)
    assert night.ok
    assert len(night.products) == 4
    for name, wanted in truth.science.items():
        raw = f"{name.removesuffix('.fits')}_cal.fits"
        data = fits.getdata(tmp_path / "out" / "science" / raw)
        assert np.median(data - wanted) == pytest.approx(0, abs=0.03 * np.median(wanted))


def test_extensions_before_the_one_of_the_profile_are_written(tmp_path):
    camera = own(amplifiers=[Amplifier(data="DATASEC", overscan="BIASSEC", extension=3)])
    simulate_night(camera, tmp_path, frames=[Exposures("bias", 1)], shape=(40, 92))
    with fits.open(next(tmp_path.iterdir())) as hdus:
        assert [h.is_image and h.size > 0 for h in hdus] == [False, True, True, True]
        assert hdus[3].header["DATASEC"] == "[1:60,1:40]"
        assert hdus[3].header["BIASSEC"] == "[61:92,1:40]"


def test_a_dated_camera_is_simulated_within_its_dates(tmp_path):
    camera = own(valid=("1999-01-01", "2001-01-01"))
    truth = simulate_night(camera, tmp_path, frames=[Exposures("bias", 1)])
    header = fits.getheader(tmp_path / truth.frames["file"][0])
    assert camera.is_valid_for(header)
