"""Settings that a caller changes for one run: refused like a profile's, applied, written down."""

import dataclasses
import json
import logging

import pytest
from astropy import units as u
from astropy.io import fits

from ccdprofiles import (
    Combine,
    CosmicRays,
    Flat,
    Limits,
    Recipe,
    SpectralFlat,
    plan_night,
    reduce_night,
    simulate_night,
)
from ccdprofiles.camera.changes import Changes, concerning, read_change, setting_names
from ccdprofiles.cli.command import main
from ccdprofiles.errors import ChangeError, ProfileError
from ccdprofiles.simulate import Exposures, windowed

SMALL = windowed("cg16m", 16, 24)
FRAMES = [
    Exposures("bias", 3),
    Exposures("dark", 3, 90.0),
    Exposures("flat", 3, 1.0, filter="r"),
    Exposures("science", 1, 90.0, filter="r", object="m31"),
]


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night of ten frames; nothing of it is changed."""
    folder = tmp_path_factory.mktemp("night") / "raw"
    return folder, simulate_night(SMALL, folder, frames=FRAMES).known


def refusal(call, *args):
    with pytest.raises(ChangeError) as refused:
        call(*args)
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("electrons=True", True),
        ("combine.flat.clip=3", 3),
        ("combine.clip=None", None),
        ("combine.bias.method=median", "median"),
        ("dark='scale'", "scale"),
        ("limits.flat_level=(0.2, 0.7)", (0.2, 0.7)),
        ("limits.frames.bias = 5", 5),
        ("exposure_tolerance=2s", 2 * u.s),
        ("exposure_tolerance=1.5 * u.min", 1.5 * u.min),
        ("limits.temperature=2 deg_C", 2 * u.deg_C),
        ("overscan_drift=None", None),
        ("name={stem}_new", "{stem}_new"),
        ("name=__import__('os').getcwd()", "__import__('os').getcwd()"),
    ],
)
def test_a_value_is_a_literal_a_quantity_or_a_word_and_never_code(text, value):
    assert read_change(text) == (text.partition("=")[0].strip(), value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("electrons", "write NAME=VALUE, such as --set electrons=True."),
        ("electron=True", "no setting 'electron' (did you mean 'electrons'?)"),
        ("combine.flat.clp=3", "'combine.flat.clp' (did you mean 'combine.flat.clip'?)"),
        ("clip=3", "'clip' (did you mean 'combine.clip'?)"),
        ("gain=3", "there is no setting 'gain'; use one of overscan, "),
        ("limits.nonsense=3", "use one of limits.saturated, limits.constant_rows"),
        ("electrons=yes", "electrons='yes' is not True or False."),
        ("dark=scaled", "(did you mean 'scale'?)"),
        ("combine.flat.clip=-3", "combine.flat.clip=-3 is not a positive number"),
        ("combine.flat.method=meddian", "combine.flat.method='meddian' is not one of average"),
        ("combine.flat.method=sum", "only arcs are summed"),
        ("exposure_tolerance=2", "exposure_tolerance=2 has no unit; write exposure_tolerance=2s."),
        ("exposure_tolerance=2 parsnips", "'parsnips' is not a unit"),
        ("exposure_tolerance=2 adu", "=2 adu is not in s; write exposure_tolerance=2s."),
        ("limits.temperature=2C", "=2C is not in deg_C; write limits.temperature=2deg_C."),
        (
            "combine.flat=3",
            "is a group of settings; use one of combine.flat.method, combine.flat.clip.",
        ),
        ("exposure_tolerance=soon", "is not a number with a unit; write exposure_tolerance=2s."),
        (
            "limits.flat_level=3",
            "limits.flat_level=3 is not a range; use the lowest and the highest value",
        ),
        ("flat.scale=mod", "flat.scale='mod' is not one of median, mode, mean"),
        ("limits.frames.bias=0", "frames=0 is not a positive whole number."),
        ("cosmic_rays.sigclip=-1", "cosmic_rays.sigclip=-1 is not a positive number"),
        ("name=../x", "is not a product name"),
    ],
)
def test_a_setting_is_refused_as_a_profile_would_be(text, sentence):
    assert sentence in refusal(lambda: Changes.of(dict([read_change(text)])))


def test_python_values_are_taken_as_they_are_and_refused_as_well():
    changes = Changes.of({"exposure_tolerance": 2 * u.s, "flat": Flat(scale="mode")})
    assert changes.applied(Recipe(), "cam").flat == Flat(scale="mode")
    assert Changes.of({"limits.level": "5 adu"}).values == (("limits.level", 5 * u.adu),)
    assert "is not in s" in refusal(Changes.of, {"exposure_tolerance": 2})
    assert "is not a dict" in refusal(Changes.of, ["electrons=True"])
    assert "contradict" in refusal(Changes.of, {"flat": None, "flat.scale": "mode"})
    assert issubclass(ChangeError, ProfileError)


def test_every_setting_of_a_recipe_can_be_named():
    assert {f.name for f in dataclasses.fields(Recipe)} < set(setting_names())
    for part, kind in (
        ("limits", Limits),
        ("combine", Combine),
        ("flat", Flat),
        ("flat", SpectralFlat),
        ("cosmic_rays", CosmicRays),
    ):
        names = {f"{part}.{f.name}" for f in dataclasses.fields(kind)}
        assert names < set(setting_names())


def test_the_special_overrules_the_general_whatever_comes_first():
    for names in (("combine.clip", "combine.flat.clip"), ("combine.flat.clip", "combine.clip")):
        changes = Changes.of({name: 3 if "flat" in name else 4 for name in names})
        recipe = changes.applied(Recipe(combine={"bias": Combine(method="median")}), "cam")
        assert recipe.combine_for("bias") == Combine(method="median", clip=4)
        assert recipe.combine_for("dark") == Combine(clip=4)
        assert recipe.combine_for("flat") == Combine(clip=3)
        assert recipe.combine_for("arc") == Combine(method="sum", clip=None)


def test_settings_that_need_each_other_are_applied_together():
    recipe = Recipe(bias=False, dark="match")
    assert Changes.of({"dark": "scale", "bias": True}).applied(recipe, "cam").dark == "scale"
    assert refusal(Changes.of({"dark": "scale"}).applied, recipe, "cam") == (
        "dark=scale does not fit the recipe of cam: dark='scale' needs bias=True or a constant: a dark that still contains its bias cannot be scaled."
    )


@pytest.mark.parametrize(
    ("recipe", "has"),
    [
        (Recipe(flat=None), "it has no flat; omit"),
        (Recipe(flat=SpectralFlat(dispersion="x")), "it has a SpectralFlat, which has only disp"),
    ],
)
def test_a_setting_that_does_not_fit_one_of_the_profiles_names_it(recipe, has):
    said = refusal(Changes.of({"flat.scale": "mode"}).applied, recipe, "cam")
    assert said.startswith(f"flat.scale=mode does not fit the recipe of cam: {has}")


def test_products_that_a_setting_decides():
    def of(name):
        kinds = ("bias", "dark", "flat", "arc", "science")
        return {kind for kind in kinds if concerning([(name, "")], kind)}

    everything = {"bias", "dark", "flat", "arc", "science"}
    assert of("electrons") == {"flat", "science"}
    assert of("combine.flat.clip") == {"flat", "science"}
    assert of("combine.arc.method") == {"arc"}
    assert of("limits.frames.dark") == {"dark", "flat", "science"}
    assert of("combine.clip") == of("overscan") == of("a setting of the future") == everything
    assert of("cosmic_rays.sigclip") == {"science"}
    # Both say which frames share a master.
    assert of("exposure_tolerance") == {"dark", "flat", "science"}
    assert of("limits.temperature") == everything


def test_a_night_has_one_refusal_for_the_profile_that_does_not_fit(night):
    folder, camera = night
    spectral = dataclasses.replace(
        camera, recipe=lambda h: dataclasses.replace(SMALL.recipe, flat=None)
    )
    said = refusal(lambda: plan_night(folder, profile=spectral, changes={"flat.scale": "mode"}))
    assert "does not fit the recipe of cg16m" in said


def test_a_function_in_place_of_a_recipe_is_changed_too(night):
    folder, camera = night
    by_header = dataclasses.replace(camera, recipe=lambda header: SMALL.recipe)
    plan = plan_night(folder, profile=by_header, changes={"dark": None, "flat": None})
    assert [m.type for m in plan.masters] == ["bias"]
    assert plan.changes == (("dark", "None"), ("flat", "None"))


def test_a_changed_setting_remakes_what_it_decides_and_is_written_down(night, tmp_path, caplog):
    folder, camera = night
    caplog.set_level(logging.INFO, "ccdprofiles")
    out = tmp_path / "out"
    first = reduce_night(folder, out, profile=camera)
    bytes_before = {n: p.read_bytes() for n, p in (first.masters | first.products).items()}
    changed = reduce_night(folder, out, profile=camera, changes={"combine.flat.clip": 3})
    assert changed.ok
    flat, product = "masters/cg16m_flat_r_1x1.fits", *changed.products
    assert set(changed.anew) == {flat, product}
    why = "its settings changed: combine.flat.clip=3 instead of the recipe's value"
    assert why in changed.anew[flat]
    for name in (flat, product):
        header = fits.getheader(out / name)
        assert header["CPSET1"] == "combine.flat.clip=3"
        assert "setting changed for this run: combine.flat.clip=3" in str(header["HISTORY"])
    assert "CPSET1" not in fits.getheader(changed.masters["masters/cg16m_bias_1x1.fits"])
    assert "setting changed for this run: combine.flat.clip=3" in str(changed)
    assert "combine.flat.clip=3" in (out / "report/index.html").read_text("utf-8")
    assert "combine.flat.clip=3" in (out / "ccdprofiles.log").read_text("utf-8")
    written = json.loads((out / "plan.json").read_text("utf-8"))
    assert written["changes"] == [["combine.flat.clip", "3"]]
    again = reduce_night(folder, out, profile=camera, changes={"combine.flat.clip": 3})
    assert again.anew == {}
    other = reduce_night(folder, out, profile=camera, changes={"combine.flat.clip": 4})
    why = "its settings changed: combine.flat.clip=4 instead of 3"
    assert why in other.anew[flat]
    back = reduce_night(folder, out, profile=camera)
    why = "its settings changed: combine.flat.clip from the recipe instead of 4"
    assert why in back.anew[flat]
    assert bytes_before == {n: p.read_bytes() for n, p in (back.masters | back.products).items()}


def test_a_long_setting_is_read_back_as_it_was_written(night, tmp_path):
    folder, camera = night
    changes = {"name": f"{{stem}}_{'é' * 20}{'x' * 60}", "limits.flat_level": (0.0123456789, 0.7)}
    first = reduce_night(folder, tmp_path / "out", profile=camera, changes=changes)
    again = reduce_night(folder, tmp_path / "out", profile=camera, changes=changes)
    assert again.kept == {*first.masters, *first.products}
    changes["limits.flat_level"] = (0.0123456788, 0.7)
    (why,) = {
        why
        for name, why in reduce_night(
            folder, tmp_path / "out", profile=camera, changes=changes
        ).anew.items()
        if name.startswith("masters/")
    }
    assert why == (
        "its settings changed: limits.flat_level=(0.0123456788, 0.7) instead of (0.0123456789, 0.7)"
    )
    (product,) = first.products.values()
    assert fits.getheader(product)["CPSET2"].startswith("name={stem}_")


def test_electrons_come_out_in_electron(night, tmp_path):
    folder, camera = night
    done = reduce_night(folder, tmp_path / "out", profile=camera, changes={"electrons": True})
    assert {fits.getheader(p)["BUNIT"] for p in done.products.values()} == {"electron"}


def test_cosmic_rays_and_their_settings_agree_or_are_refused(night):
    changes = Changes.of({"cosmic_rays.sigclip": 6})
    assert changes.applied(Recipe(), "cam").cosmic_rays == CosmicRays(sigclip=6)
    assert changes.cosmic_rays(True) == CosmicRays(sigclip=6)
    assert changes.cosmic_rays(None) is None
    for asked in (False, CosmicRays()):
        assert "contradict" in refusal(changes.cosmic_rays, asked)
    folder, camera = night
    with pytest.raises(ChangeError, match="contradict"):
        reduce_night(
            folder,
            folder.parent / "none",
            profile=camera,
            cosmic_rays=False,
            changes={"cosmic_rays.sigclip": 6},
        )
    assert not (folder.parent / "none").exists()


def test_the_command_line_sets_and_refuses(night, tmp_path, capsys):
    folder, _ = night
    file = tmp_path / "small.py"
    file.write_text(
        "from ccdprofiles.simulate import windowed\nprofile = windowed('cg16m', 16, 24)\n"
    )
    use = ["plan", str(folder), "--profile", str(file)]
    assert main([*use, "--set", "dark=None", "--set", "flat=None"]) == 0
    said = capsys.readouterr().out
    assert "  setting changed for this run: dark=None\n" in said
    assert main([*use, "--set", "elctrons=True"]) == 2
    assert "(did you mean 'electrons'?)" in capsys.readouterr().err
    assert main([*use, "--set", "electrons=True", "--set", "electrons=False"]) == 2
    assert "electrons is set twice" in capsys.readouterr().err
