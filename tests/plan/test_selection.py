"""A part of a night that is asked for: what is made, what is left out, and what stays."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import plan_night, reduce_night, simulate_night, verify_night
from ccdprofiles.cli.command import main
from ccdprofiles.errors import InputError
from ccdprofiles.plan.selection import NOT_ASKED, Selection
from ccdprofiles.simulate import Exposures, windowed

SMALL = windowed("cg16m", 16, 24)
FRAMES = [
    Exposures("bias", 3),
    Exposures("dark", 3, 90.0),
    Exposures("flat", 3, 1.0, filter="r"),
    Exposures("flat", 3, 1.0, filter="V"),
    Exposures("science", 2, 90.0, filter="r", object="M 31"),
    Exposures("science", 1, 90.0, filter="V", object="M 33"),
]
BIAS, DARK, FLAT_R, FLAT_V = (
    f"masters/cg16m_{n}_1x1.fits" for n in ("bias", "dark_90s", "flat_r", "flat_V")
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A night of 15 frames and all that is made of it, not to be touched."""
    folder = tmp_path_factory.mktemp("night")
    camera = simulate_night(SMALL, folder / "raw", frames=FRAMES).known
    assert reduce_night(folder / "raw", folder / "whole", profile=camera).ok
    return folder, camera


@pytest.fixture
def night(made, tmp_path):
    """A copy of the raw night."""
    shutil.copytree(made[0] / "raw", tmp_path / "raw")
    return tmp_path / "raw", made[1]


def asked(made, *words):
    folder, camera = made
    return plan_night(folder / "raw", profile=camera, only=words)


def masters(plan):
    return [m.name for m in plan.masters]


def filters(plan):
    return sorted(p.name[-10:-9] for p in plan.products)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.fits")}


@pytest.mark.parametrize(
    ("words", "made_", "science"),
    [
        (["masters"], [BIAS, DARK, FLAT_V, FLAT_R], 0),
        (["bias"], [BIAS], 0),
        (["dark"], [BIAS, DARK], 0),
        (["flat"], [BIAS, DARK, FLAT_V, FLAT_R], 0),
        (["filter=r"], [BIAS, DARK, FLAT_R], 2),
        (["science"], [BIAS, DARK, FLAT_V, FLAT_R], 3),
        (["science", "filter=V"], [BIAS, DARK, FLAT_V], 1),
        (["flat", "filter=V"], [BIAS, DARK, FLAT_V], 0),
        (["masters", "filter=r"], [BIAS, DARK, FLAT_R], 0),
        (["filter=V", "filter=r"], [BIAS, DARK, FLAT_V, FLAT_R], 3),
        (["object=m  31"], [BIAS, DARK, FLAT_R], 2),
        (["object=M*"], [BIAS, DARK, FLAT_V, FLAT_R], 3),
        (["M 3*"], [BIAS, DARK, FLAT_V, FLAT_R], 3),
        (["AutoFlat*-r-*.fit"], [BIAS, DARK, FLAT_R], 0),
        (["file=*C001-r.fit"], [BIAS, DARK, FLAT_R], 1),
        (["type=bias", "bias"], [BIAS], 0),
    ],
)
def test_what_is_asked_for_is_made_with_the_masters_that_it_needs(made, words, made_, science):
    plan = asked(made, *words)
    assert sorted(masters(plan)) == sorted(made_)
    assert len(plan.products) == science
    assert plan.complete
    assert plan.only == tuple(words)
    used = {i.file for m in plan.masters for i in m.inputs} | {p.input.file for p in plan.products}
    assert used | {file for file, _ in plan.not_asked} == {
        p.name for p in (made[0] / "raw").iterdir()
    }
    assert not used & {file for file, _ in plan.not_asked}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["flats"], "only='flats' is not valid (did you mean 'flat'?); use masters, one of"),
        (["master"], "(did you mean 'masters'?)"),
        (["nonsense"], "only='nonsense' is not valid; use masters"),
        (["filtre=r"], "only='filtre=r' is not valid (did you mean 'filter'?)"),
        (
            ["type=flats"],
            "'flats' is not a type of frame; use one of bias, dark, flat, arc, science",
        ),
        (["filter="], "only='filter=' has no value; use filter=VALUE."),
        ([""], "only='' is not valid"),
        ([3], "only=3 is not valid"),
        (
            ["filter=R"],
            "only='filter=R': no frame of the night has that filter; the night has V, r "
            "(did you mean 'r'?).",
        ),
        (["object=M 42"], "no frame of the night has that object; the night has M 31, M 33"),
        (["arc"], "no frame of the night has that type; the night has bias, dark, flat, science"),
        (
            ["nosuch.fit"],
            "only='nosuch.fit': no file of the night has such a name; use a name that ccdprofiles",
        ),
        (["bias", "filter=r"], "no frame of the night matches only=bias, filter=r;"),
    ],
)
def test_a_word_that_fits_nothing_is_refused_with_what_there_is(made, words, sentence):
    with pytest.raises(InputError) as refused:
        asked(made, *words)
    assert sentence in str(refused.value)


def test_a_master_that_no_recipe_needs_is_refused_when_it_is_all_that_is_asked_for(made):
    folder, camera = made
    for options in ({"without": ["bias", "dark"]}, {"changes": {"dark": None, "bias": False}}):
        with pytest.raises(
            InputError, match="nothing is made from the frames that only=dark selects"
        ):
            plan_night(
                folder / "raw", profile=camera, only="dark", **{"without": ["flat"]} | options
            )


def test_the_words_are_checked_before_any_header_is_read(tmp_path):
    with pytest.raises(InputError, match="is not valid"):
        plan_night(tmp_path / "none", only="flats")
    assert not Selection.of(())
    assert Selection.of("masters").wanted == tuple(
        ("type", kind) for kind in ("bias", "dark", "flat", "arc")
    )


def test_what_is_left_out_has_its_row_and_a_later_run_makes_the_rest(made, night, tmp_path):
    raw, camera = night
    out = tmp_path / "out"
    part = reduce_night(raw, out, profile=camera, only=["science", "filter=r"])
    assert part.ok
    assert len(part.products) == 2
    assert {name.split("/")[0] for _, name in part.plan.not_asked} == {"masters", "science"}
    rows = part.frames[part.frames["verdict"] == NOT_ASKED]
    assert len(rows) == 4
    assert set(rows["code"]) == {"not-asked"}
    assert set(rows["product"]) == {""}
    name = rows["file"][0]
    assert rows["reason"][0] == f"{name}: not selected by only=science, filter=r."
    assert str(part).splitlines()[1] == "15 files found, 11 used, 4 not asked for"
    assert "only a part of the night is made: science, filter=r" in str(part)
    assert len(part.collection.files) == 15
    whole = contents(made[0] / "whole")
    assert contents(out) == {n: whole[n] for n in contents(out)}
    rest = reduce_night(raw, out, profile=camera)
    assert rest.ok
    assert rest.anew == {}
    assert len(rest.kept) == 5
    assert contents(out) == whole


def test_products_of_an_earlier_run_stay_when_others_are_asked_for(made, tmp_path):
    folder, camera = made
    shutil.copytree(folder, tmp_path / "night")
    raw, out = tmp_path / "night/raw", tmp_path / "night/whole"
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in out.rglob("*.fits")}
    again = reduce_night(raw, out, profile=camera, only="filter=V")
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in out.rglob("*.fits")} == before
    assert again.ok
    assert again.anew == {}
    assert "removed" not in str(again)
    verified = verify_night(out)
    assert verified.ok
    assert "earlier run" not in str(verified)
    assert set(again.frames[again.frames["verdict"] == NOT_ASKED]["product"]) >= {FLAT_R}
    (out / FLAT_R).unlink()
    assert not verify_night(out).ok


def test_what_is_wrong_with_other_frames_is_of_no_concern(night, tmp_path):
    raw, camera = night
    (flat,) = sorted(raw.glob("AutoFlat*-V-*"))[:1]
    fits.setval(flat, "EXPTIME", value=-1.0)
    for wanted, whole in (("filter=r", True), ("bias", True), ("filter=V", False)):
        plan = plan_night(raw, profile=camera, only=wanted, min_frames=2)
        assert plan.complete is whole, wanted
    night = reduce_night(raw, tmp_path / "out", profile=camera, only="filter=r")
    assert night.ok
    said = night.frames[night.frames["file"] == flat.name]
    assert said["verdict"][0] == NOT_ASKED
    # Two flats in V are left, and a master needs three: that is why V cannot be made.
    plan = plan_night(raw, profile=camera, only=["science", "filter=V"])
    assert {m.code for m in plan.missing} == {"no-flat", "few-frames"}
    assert [reason.file for reason in plan.set_aside] == [flat.name]
    # Of a file that ends in its header nobody knows what it is, so that it may be asked for.
    flat.write_bytes(flat.read_bytes()[:3000])
    assert not plan_night(raw, profile=camera, only="filter=r").complete
    assert plan_night(raw, profile=camera, only=["M 31*", "science"]).complete


def test_what_is_noted_of_other_masters_is_left_out(night):
    raw, camera = night
    flats = sorted(raw.glob("AutoFlat*-V-*.fit"))
    for flat in flats[1:]:
        flat.unlink()
    whole = plan_night(raw, profile=camera, min_frames=1)
    assert any(note.startswith(FLAT_V) for note in whole.notes)
    part = plan_night(raw, profile=camera, min_frames=1, only="filter=r")
    assert not any(note.startswith(FLAT_V) for note in part.notes)


def test_the_level_of_the_night_is_that_of_the_whole_night(tmp_path):
    """Five of eight darks of another exposure decide about the overscan of the others."""
    lfc = windowed("lfc", 16, 24)
    recipe = dataclasses.replace(lfc.recipe, overscan_drift=5 * u.adu, flat=None)
    camera = dataclasses.replace(lfc, recipe=recipe)
    frames = [
        Exposures("dark", 5, 70.0),
        Exposures("dark", 3, 300.0),
        Exposures("science", 1, 70.0, filter="g'", object="a"),
        Exposures("science", 1, 300.0, filter="g'", object="b"),
    ]
    camera = simulate_night(camera, tmp_path / "raw", frames=frames).known
    for path in (tmp_path / "raw").iterdir():
        header = fits.getheader(path)
        if header["EXPTIME"] == 300 and "dark" in header["IMAGETYP"].lower():
            data = fits.getdata(path)
            fits.writeto(path, (data + np.uint16(50)).astype("u2"), header, overwrite=True)
    whole = reduce_night(tmp_path / "raw", tmp_path / "whole", profile=camera)
    part = reduce_night(tmp_path / "raw", tmp_path / "part", profile=camera, only="object=b")
    assert part.ok
    (name,) = part.products
    assert any(
        k.startswith("OSNIGHT") for k in fits.getheader(*[part.masters[m] for m in part.masters])
    )
    assert part.products[name].read_bytes() == whole.products[name].read_bytes()
    assert [m.exposure for m in part.plan.compared] == [70.0]


def test_the_command_line_makes_a_part_and_ends_well(made, tmp_path, capsys):
    folder, _ = made
    file = tmp_path / "small.py"
    file.write_text(
        "from ccdprofiles.simulate import windowed\nprofile = windowed('cg16m', 16, 24)\n"
    )
    use = [str(folder / "raw"), "--profile", str(file)]
    assert main(["plan", *use, "--only", "masters"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("15 files found, 12 used, 3 not asked for\n")
    assert "  only a part of the night is made: masters\n" in said
    assert main(["plan", *use, "--only", "filter=V", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    verdicts = [row["verdict"] for row in plan["frames"]]
    assert (verdicts.count(NOT_ASKED), verdicts.count("used")) == (5, 10)
    assert main(["reduce", *use, "-o", str(tmp_path / "out"), "--only", "bias", "-q"]) == 0
    assert [p.name for p in (tmp_path / "out/masters").iterdir()] == ["small_bias_1x1.fits"]
    assert main(["plan", *use, "--only", "flats"]) == 2
    assert "did you mean 'flat'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "asked"), [([], None), (["--cosmic-rays"], True), (["--no-cosmic-rays"], False)]
)
def test_cosmic_rays_are_as_the_recipe_says_unless_asked(words, asked):
    from ccdprofiles.cli.command import parser

    assert parser().parse_args(["reduce", "a", "-o", "b", *words]).cosmic_rays is asked
