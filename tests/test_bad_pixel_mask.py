"""A bad-pixel mask from the masters of a night: what is put into the frames is found again."""

from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from by_hand import edit

from ccdprofiles import make_bad_pixel_mask, reduce_night, simulate_night
from ccdprofiles.cli.command import main
from ccdprofiles.errors import InputError, OutputError, ProfileError
from ccdprofiles.pixels.defects import Defect
from ccdprofiles.simulate import windowed

ROWS, COLUMNS = 120, 150
HOT, DEAD, NOISY, COLUMN = (kind.value for kind in Defect)
DEAD_PIXELS = ((10, 20), (50, 60), (119, 149), (0, 0))
NOISY_PIXELS = ((30, 31), (80, 9))
HOT_COLUMN, DEAD_COLUMN = 40, 90


def spoil(truth):
    """Put dead and noisy pixels, a hot and a dead column into the raw frames of a night."""
    random = np.random.default_rng(4)

    def change(kind):
        def changed(data):
            data = data.astype("f8")
            if kind in ("flat", "science"):
                for place in (*DEAD_PIXELS, (slice(None), DEAD_COLUMN)):
                    data[place] = 1000 + 0.3 * (data[place] - 1000)
            for place in NOISY_PIXELS:
                data[place] += random.normal(0, 60)
            if kind in ("dark", "science"):
                data[:, HOT_COLUMN] += 300
            return data.round().astype("u2")

        return changed

    for row in truth.frames:
        edit(truth.folder / row["file"], change(row["type"]))


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A reduced night of a detector with defects."""
    folder = tmp_path_factory.mktemp("mask")
    profile = windowed("lfc", rows=ROWS, columns=COLUMNS)
    truth = simulate_night(profile, folder / "raw", seed=5)
    spoil(truth)
    night = reduce_night(folder / "raw", folder / "out", profile=truth.known, jobs=1)
    return truth, night


@pytest.fixture(scope="module")
def mask(spoilt, tmp_path_factory):
    truth, night = spoilt
    path = tmp_path_factory.mktemp("made") / "mask_1x1.fits"
    return make_bad_pixel_mask(night.output, path, profile=truth.known)


def test_defects_are_found_and_nothing_else(spoilt, mask):
    truth, _ = spoilt
    dead = np.zeros((ROWS, COLUMNS), bool)
    dead[tuple(zip(*DEAD_PIXELS, strict=True))] = True
    dead[:, DEAD_COLUMN] = True
    np.testing.assert_array_equal((mask.pixels & DEAD) != 0, dead)
    noisy = {tuple(map(int, place)) for place in np.argwhere(mask.pixels & NOISY)}
    assert noisy == set(NOISY_PIXELS)
    columns = np.flatnonzero(((mask.pixels & COLUMN) != 0).all(axis=0))
    assert [*columns] == [HOT_COLUMN, DEAD_COLUMN]
    assert ((mask.pixels & COLUMN) != 0).sum() == 2 * ROWS
    hot = (mask.pixels & HOT) != 0
    assert hot[:, HOT_COLUMN].all()
    hot[:, HOT_COLUMN] = False
    seconds = max(truth.frames["exposure"])
    bright = truth.dark * seconds / truth.known.amplifiers[0].gain.value > 40
    assert hot[bright].all()
    assert not hot[~truth.hot].any()


def test_the_summary_gives_the_numbers_of_each_kind(mask):
    lines = str(mask).splitlines()
    bad = np.count_nonzero(mask.pixels)
    assert lines[0] == f"{mask.path}: 150 columns, 120 rows, {bad} bad pixels ({100 * bad / mask.pixels.size:.3g} %)"  # fmt: skip
    assert [line.split() for line in lines[1:]] == [
        [str(mask.counts["hot"]), "hot:", "dark", "current"],
        [str(mask.counts["dead"]), "dead:", "low", "response"],
        ["2", "noisy:", "scatter", "in", "time"],
        ["240", "in", "a", "bad", "column"],
    ]


def test_the_file_has_its_limits_and_where_it_comes_from(spoilt, mask):
    _, night = spoilt
    with fits.open(mask.path) as hdus:
        np.testing.assert_array_equal(hdus[0].data, mask.pixels)
        header = hdus[0].header
        assert [header[card] for card in ("BPHOT", "BPDEAD", "BPNOISY", "BPCOLUMN")] == [
            10,
            0.5,
            6,
            5,
        ]
        assert [header[f"BPNUM{n}"] for n in (1, 2, 3, 4)] == [*mask.counts.values()]
        assert header["CPPROF"] == "lfc"
        assert {row["file"] for row in hdus["PROVENANCE"].data} <= set(night.masters)
        assert {row["role"] for row in hdus["PROVENANCE"].data} == {"master dark", "master flat"}


def test_a_mask_is_made_twice_with_the_same_bytes(spoilt, mask, tmp_path):
    truth, night = spoilt
    again = make_bad_pixel_mask(night.output, tmp_path / "again.fits", profile=truth.known)
    assert again.path.read_bytes() == mask.path.read_bytes()


def test_it_is_read_on_another_night(spoilt, mask, tmp_path):
    truth, _ = spoilt
    recipe = replace(truth.known.recipe, bad_pixels=str(mask.path))
    profile = replace(windowed("lfc", rows=ROWS, columns=COLUMNS), recipe=recipe)
    other = simulate_night(profile, tmp_path / "raw", seed=6)
    night = reduce_night(tmp_path / "raw", tmp_path / "out", profile=other.known, jobs=1)
    assert night.ok
    for path in [*night.masters.values(), *night.products.values()]:
        np.testing.assert_array_equal((fits.getdata(path, "DQ") & 1) != 0, mask.pixels != 0)


def test_masters_that_were_made_with_a_mask_are_refused(spoilt, mask, tmp_path):
    truth, _ = spoilt
    recipe = replace(truth.known.recipe, bad_pixels=str(mask.path))
    profile = replace(truth.known, recipe=recipe)
    reduce_night(truth.folder, tmp_path / "out", profile=profile, only=["masters"], jobs=1)
    with pytest.raises(InputError) as refusal:
        make_bad_pixel_mask(tmp_path / "out", tmp_path / "new.fits", profile=profile)
    assert str(refusal.value).endswith(
        "was made with the bad-pixel mask mask_1x1.fits, which hides bad pixels; reduce the night "
        "to another folder with --set bad_pixels=None."
    )
    reduce_night(
        truth.folder,
        tmp_path / "without",
        profile=profile,
        only=["masters"],
        jobs=1,
        changes={"bad_pixels": None},
    )
    new = make_bad_pixel_mask(tmp_path / "without", tmp_path / "new.fits", profile=profile)
    np.testing.assert_array_equal(new.pixels, mask.pixels)


def test_refusals(spoilt, mask, tmp_path):
    truth, night = spoilt
    with pytest.raises(OutputError, match=r"exists; use another name, or overwrite=True"):
        make_bad_pixel_mask(night.output, mask.path, profile=truth.known)
    with pytest.raises(ProfileError, match="hot=-3 is not a positive number"):
        make_bad_pixel_mask(night.output, tmp_path / "m.fits", hot=-3)
    with pytest.raises(ProfileError, match="dead=2 is not a fraction between 0 and 1"):
        make_bad_pixel_mask(night.output, tmp_path / "m.fits", dead=2)
    with pytest.raises(InputError, match="contains no master bias, dark or flat of binning 3x3"):
        make_bad_pixel_mask(night.output, tmp_path / "m.fits", binning="3x3")
    with pytest.raises(InputError, match="contains no master bias, dark or flat; specify"):
        make_bad_pixel_mask(tmp_path, tmp_path / "m.fits")
    shorter = truth.known.amplifiers[0].overscan.replace(":182,", ":181,")
    amplifier = replace(truth.known.amplifiers[0], overscan=shorter)
    other = replace(truth.known, amplifiers=[amplifier], frame_size=(182, ROWS))
    with pytest.raises(InputError, match=r"use the profile of that night \(profile=, --profile\)"):
        make_bad_pixel_mask(night.output, tmp_path / "m.fits", profile=other)
    with pytest.raises(InputError, match=r"if the night was moved, use raw= \(--raw\)"):
        make_bad_pixel_mask(night.output, tmp_path / "m.fits", profile=truth.known, raw=tmp_path)
    assert not (tmp_path / "m.fits").exists()


def test_the_command_prints_the_numbers(spoilt, tmp_path, capsys):
    _, night = spoilt
    file = tmp_path / "own.py"
    file.write_text(
        "from ccdprofiles.simulate import windowed\n"
        f"profile = windowed('lfc', rows={ROWS}, columns={COLUMNS})\n"
    )
    words = ["badpix", str(night.output), "-o", str(tmp_path / "m.fits"), "--noisy", "7"]
    assert main([*words, "--profile", str(file)]) == 0
    assert "noisy: scatter in time" in capsys.readouterr().out
    assert main([*words, "--profile", str(file)]) == 5
    assert "exists; use another name" in capsys.readouterr().err


def test_without_darks_or_flats_it_says_what_was_not_examined(spoilt, tmp_path):
    truth, _ = spoilt
    reduce_night(truth.folder, tmp_path / "out", profile=truth.known, only=["dark"], jobs=1)
    made = make_bad_pixel_mask(tmp_path / "out", tmp_path / "m.fits", profile=truth.known)
    assert made.notes == ("no master flat: pixels of low response were not searched for.",)
    assert made.counts["dead"] == 0
