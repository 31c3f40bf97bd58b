import importlib.metadata
import sys
import types
from pathlib import Path

import pytest

import ccdprofiles
from ccdprofiles import Amplifier, Profile, Recipe, known_profiles, load_profile, simulate_night
from ccdprofiles.camera import registry, watch
from ccdprofiles.camera.installed import ENTRY_POINTS
from ccdprofiles.camera.profile_file import read_profiles
from ccdprofiles.camera.registry import Registry
from ccdprofiles.cli.command import main
from ccdprofiles.errors import AmbiguousProfile, ProfileError, UnknownInstrument

SHIPPED = sorted(
    profile.name
    for file in registry.shipped_folder().glob("*.py")
    if not file.name.startswith("_")
    for profile in read_profiles(file)
)

TEXT = '''"""{notes}"""

from ccdprofiles import Amplifier, Profile, Recipe

profile = Profile(
    instrument={instrument!r},
    where={where!r},
    amplifiers=[Amplifier(data="[1:{columns}, 1:100]", overscan=None)],
    recipe=Recipe(),
)
'''


def write(path, instrument="MyCam", where=None, columns=100, notes="My camera."):
    path.parent.mkdir(parents=True, exist_ok=True)
    text = TEXT.format(instrument=instrument, where=where or {}, columns=columns, notes=notes)
    path.write_text(text)
    return path


def camera(**changes):
    amplifier = Amplifier(data="[1:100, 1:100]", overscan=None)
    values = {"instrument": "MyCam", "amplifiers": [amplifier], "recipe": Recipe()}
    return Profile(**values | changes)


def installed(monkeypatch, *points):
    """Make these the entry points of our group, and leave those of others alone."""
    real = importlib.metadata.entry_points

    def entry_points(**which):
        return points if which.get("group") == ENTRY_POINTS else real(**which)

    monkeypatch.setattr(importlib.metadata, "entry_points", entry_points)


@pytest.fixture(autouse=True)
def user(tmp_path, monkeypatch):
    """A user's folder of profiles that is empty, and nothing installed."""
    folder = tmp_path / "config" / "profiles"
    monkeypatch.setattr(registry, "user_folder", lambda: folder)
    installed(monkeypatch)
    return folder


@pytest.fixture
def install(monkeypatch):
    """Offer something as an installed package would."""

    def offer(offered, name="extra"):
        module = sys.modules.get(offered) or types.ModuleType(offered)
        monkeypatch.setitem(sys.modules, offered, module)
        value = f"{offered}:profile" if hasattr(module, "profile") else offered
        point = importlib.metadata.EntryPoint(name, value, ENTRY_POINTS)
        installed(monkeypatch, point)

    return offer


def module(monkeypatch, name, **content):
    made = types.ModuleType(name)
    vars(made).update(content)
    monkeypatch.setitem(sys.modules, name, made)
    return name


def refusal_of(call, *args, kind=ProfileError):
    with pytest.raises(kind) as refusal:
        call(*args)
    return str(refusal.value)


# What there is.


def test_the_shipped_profiles():
    assert sorted(known_profiles()) == SHIPPED


def test_a_profile_knows_its_file_and_notes():
    lfc = load_profile("lfc")
    assert Path(lfc.file).name == "lfc.py"
    assert lfc.notes.startswith("LFC, the Large Format Camera")


def test_no_profile_of_that_name():
    assert refusal_of(load_profile, "kosmo") == (
        f"there is no profile 'kosmo'; use one of {', '.join(SHIPPED)}. Did you mean kosmos?"
    )


def test_two_profiles_of_one_file_have_two_names(tmp_path):
    path = write(tmp_path / "spec.py")
    path.write_text(
        path.read_text().replace("profile = ", "blue = ")
        + "red = Profile(instrument='Red', amplifiers=blue.amplifiers, recipe=Recipe())\n"
        + "_private = red\n"
    )
    assert [p.name for p in read_profiles(path)] == ["spec_blue", "spec_red"]
    assert refusal_of(load_profile, path) == (
        "spec.py contains 2 profiles (spec_blue, spec_red), but one was expected; use the name of one."
    )


def test_the_public_name_may_be_that_of_the_file(tmp_path):
    path = write(tmp_path / "mycam.py")
    path.write_text(path.read_text().replace("profile = ", "mycam = "))
    assert load_profile(path).name == "mycam"


def test_a_folder_of_profiles(tmp_path):
    write(tmp_path / "mine" / "one.py", "One")
    write(tmp_path / "mine" / "two.py", "Two")
    write(tmp_path / "mine" / "_draft.py", "Draft")
    (tmp_path / "mine" / "notes.txt").write_text("not a profile")
    assert sorted(set(known_profiles(tmp_path / "mine")) - set(SHIPPED)) == ["one", "two"]


def test_a_profile_made_on_the_spot_is_named_after_its_instrument():
    assert camera(instrument="My Cam 2").name == ""
    found = Registry.gather([camera(instrument="My Cam 2")])
    assert found.profiles[0].name == "my_cam_2"
    assert found.choose({"INSTRUME": "My Cam 2"}).name == "my_cam_2"


def test_a_profile_without_a_name_never_takes_one_that_was_given():
    found = Registry.gather([camera(name="mycam", where={"CHIP": 1}), camera()])
    assert [p.name for p in found.profiles[:2]] == ["mycam", "mycam_2"]


# Which comes first.


def test_order_is_caller_then_user_then_installed_then_shipped(
    tmp_path, user, install, monkeypatch
):
    def widths():
        return [p.amplifiers[0].data for p in Registry.gather(named).profiles if p.name == "lfc"]

    named = []
    assert widths() == ["[1:2048, 1:4128]"]
    theirs = write(tmp_path / "site" / "lfc.py", "LFC", columns=3)
    install(module(monkeypatch, "their_package", __file__=str(theirs)))
    assert widths() == ["[1:3, 1:100]"]
    write(user / "lfc.py", "LFC", columns=2)
    assert widths() == ["[1:2, 1:100]"]
    named = [write(tmp_path / "lfc.py", "LFC", columns=1)]
    assert widths() == ["[1:1, 1:100]"]


def test_a_replaced_profile_is_reported(user):
    path = write(user / "lfc.py", "LFC")
    shipped = registry.shipped_folder() / "lfc.py"
    found = Registry.gather()
    assert found.replaced == (f"{path} replaces {shipped}: both are named 'lfc'.",)
    assert found.choose({"INSTRUME": "LFC"}).file == str(path)


def test_a_profile_given_by_the_caller_replaces_one_of_its_name():
    found = Registry.gather([camera(name="sbo", instrument="SBO")])
    assert found.replaced == (
        f"a profile given by the caller replaces "
        f"{registry.shipped_folder() / 'sbo.py'}: both are named 'sbo'.",
    )


def test_naming_a_shipped_profile_replaces_nothing():
    assert Registry.gather(["lfc"]).replaced == ()
    assert Registry.gather("lfc").profiles[0].name == "lfc"


def test_never_from_the_folder_of_the_night(tmp_path, monkeypatch):
    (tmp_path / "lfc.py").write_text("raise SystemExit('a downloaded night ran code')")
    monkeypatch.chdir(tmp_path)
    assert Path(Registry.gather()["lfc"].file).parent == registry.shipped_folder()


def test_the_users_folder_is_in_the_users_configuration(monkeypatch):
    monkeypatch.undo()
    assert registry.user_folder().parts[-2:] == ("ccdprofiles", "profiles")


# Installed packages.


def test_an_installed_module_holds_profiles(tmp_path, install, monkeypatch):
    path = write(tmp_path / "theircam.py", "TheirCam")
    install(module(monkeypatch, "theirs", __file__=str(path)))
    assert known_profiles()["theircam"].file == str(path)


def test_an_installed_profile_is_named_by_its_entry_point(install, monkeypatch):
    install(module(monkeypatch, "theirs", profile=camera(instrument="TheirCam")), "theircam")
    assert known_profiles()["theircam"].file == "theirs:profile"


def test_an_installed_thing_that_is_no_profile_is_left_out(install, monkeypatch):
    install(module(monkeypatch, "theirs", profile="MyCam"))
    assert Registry.gather().broken == (
        "the installed profile 'extra' of theirs:profile cannot be read (theirs:profile is of type str, "
        "not a Profile or a module); it is ignored; correct or remove the package.",
    )


def test_an_installed_profile_that_cannot_be_imported_is_left_out(monkeypatch):
    point = importlib.metadata.EntryPoint("extra", "no_such_package", ENTRY_POINTS)
    installed(monkeypatch, point)
    assert Registry.gather().broken == (
        "the installed profile 'extra' of no_such_package cannot be read (ModuleNotFoundError: "
        "No module named 'no_such_package'); it is ignored; correct or remove the package.",
    )
    assert sorted(known_profiles()) == SHIPPED


# Which one fits a header.


def test_instrume_is_compared_exactly():
    found = Registry.gather()
    assert found.choose({"INSTRUME": "kosmos  ", "OBSERVAT": "APO"}).name == "kosmos"
    assert found.choose({"INSTRUME": "Apogee Aspen CG16M"}).name == "cg16m"
    assert found.choose({"INSTRUME": "AspenCG16"}).name == "cg16m"


def test_kitt_peaks_kosmos_is_not_taken_for_apos():
    found = Registry.gather()
    kpno = {"INSTRUME": "KOSMOS  ", "OBSERVAT": "KPNO    "}
    assert refusal_of(found.choose, kpno, kind=UnknownInstrument) == (
        "no profile fits INSTRUME = 'KOSMOS'; the closest: 'kosmos' (kosmos), 'OSMOS' (osmos); "
        "write a profile for it, or choose one with --profile."
    )
    assert refusal_of(found.choose, kpno | {"INSTRUME": "kosmos"}, kind=UnknownInstrument) == (
        "no profile fits INSTRUME = 'kosmos' with these cards; "
        "the closest: kosmos (OBSERVAT = 'KPNO', not 'APO'); "
        "write a profile for it, or choose one with --profile."
    )


def test_an_unknown_instrument_names_the_closest():
    found = Registry.gather()
    assert refusal_of(found.choose, {"INSTRUME": "LFC2"}, kind=UnknownInstrument) == (
        "no profile fits INSTRUME = 'LFC2'; the closest: 'LFC' (lfc), 'WFC' (wfc); "
        "write a profile for it, or choose one with --profile."
    )
    assert refusal_of(found.choose, {"INSTRUME": "STE3 CCD"}, kind=UnknownInstrument) == (
        "no profile fits INSTRUME = 'STE3 CCD'; write a profile for it, or choose one with --profile."
    )


def test_a_header_without_instrume():
    assert refusal_of(Registry.gather().choose, {}, kind=UnknownInstrument) == (
        "no profile fits a header without INSTRUME; write a profile with instrument=None and where={...}, or choose one with --profile."
    )


@pytest.mark.parametrize("said", [5, 1.5, True])
def test_an_instrume_that_is_no_text(said):
    sentence = refusal_of(Registry.gather().choose, {"INSTRUME": said}, kind=UnknownInstrument)
    assert sentence.startswith(f"no profile fits INSTRUME = {said!r}")


def test_two_profiles_that_fit_are_an_error(tmp_path):
    one = write(tmp_path / "one.py", where={"TELESCOP": "1m*"})
    two = write(tmp_path / "two.py")
    found = Registry.gather([one, two])
    header = {"INSTRUME": "MyCam", "TELESCOP": "1m north"}
    assert refusal_of(found.choose, header, kind=AmbiguousProfile) == (
        f"INSTRUME = 'MyCam' fits 2 profiles, one ({one}) and two ({two}); "
        "the cards that decide are INSTRUME, TELESCOP; "
        "add a where= that distinguishes them to one profile, or choose one with --profile."
    )
    assert found.choose({"INSTRUME": "MyCam", "TELESCOP": "2m"}).name == "two"


def test_where_tells_two_cameras_of_one_name_apart():
    red = camera(name="red", where={"DETECTOR": ("red", "Red")})
    blue = camera(name="blue", where={"DETECTOR": "[bB]lue"})
    found = Registry.gather([red, blue])
    assert found.choose({"INSTRUME": "MyCam", "DETECTOR": "Red"}).name == "red"
    assert found.choose({"INSTRUME": "MyCam", "DETECTOR": "blue "}).name == "blue"
    with pytest.raises(UnknownInstrument, match=r"red \(DETECTOR = 'IR', not \('red', 'Red'\)\)"):
        found.choose({"INSTRUME": "MyCam", "DETECTOR": "IR"})


def test_a_camera_without_instrume_is_told_by_other_cards():
    nameless = camera(name="nameless", instrument=None, where={"CAMERA": "ST-7*"})
    found = Registry.gather([nameless])
    assert found.choose({"CAMERA": "ST-7XME"}).name == "nameless"
    with pytest.raises(UnknownInstrument):
        found.choose({"CAMERA": "ST-8"})


def test_a_function_may_tell_the_instrument():
    found = Registry.gather([camera(name="f", instrument=lambda h: h["CAMTYPE"] == "E2V")])
    assert found.choose({"CAMTYPE": "E2V"}).name == "f"
    assert found.choose({"INSTRUME": "LFC", "CHIPID": 0}).name == "lfc"


# What is wrong with a file is said with its name.


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            "overscan=None",
            "overscna=None",
            "mycam.py, line 8: Amplifier(...) has no 'overscna'; did you mean 'overscan'?",
        ),
        (
            "recipe=Recipe()",
            "recipe=Recipe(drak='match')",
            "mycam.py, line 9: Recipe(...) has no 'drak'; did you mean 'dark'?",
        ),
        (
            "instrument='MyCam'",
            "instrumnet='MyCam'",
            "mycam.py, line 5: Profile(...) has no 'instrumnet'; did you mean 'instrument'?",
        ),
        (
            "overscan=None",
            "overscan=None, qwxz=1",
            "mycam.py, line 8: Amplifier(...) has no 'qwxz'; it takes data, overscan, parallel_overscan, gain, "
            "read_noise, saturation, name, extension, detector, linear.",
        ),
        (", overscan=None", "", "mycam.py, line 8: Amplifier(...) requires 'overscan'."),
        ("    recipe=Recipe(),\n", "", "mycam.py, line 5: Profile(...) requires 'recipe'."),
        (
            "overscan=None",
            "overscan='[4096:4109]'",
            "mycam.py, line 8: overscan='[4096:4109]': '[4096:4109]' is not an image section: "
            "it has 1 axis; write it as FITS does, "
            "'[first column:last column, first row:last row]', counting from 1.",
        ),
        (
            "overscan=None",
            "overscan=None, gain=2.0",
            "mycam.py, line 8: gain=2.0 is not in electron / adu; "
            "write it as gain=2.0 * u.electron / u.adu.",
        ),
        (
            "recipe=Recipe()",
            "recipe=Recipe(bias=False, dark='scale')",
            "mycam.py, line 9: dark='scale' needs bias=True or a constant: a dark that still contains its bias cannot be scaled.",
        ),
        (
            "overscan=None",
            "overscan=None, overscan=None",
            "mycam.py, line 8: keyword argument repeated: overscan.",
        ),
        (
            "instrument='MyCam',",
            "instrument='MyCam'",
            "mycam.py, line 6: invalid syntax. Perhaps you forgot a comma?",
        ),
        (
            "Recipe()",
            "Receipt()",
            "mycam.py, line 9: NameError: name 'Receipt' is not defined; did you mean 'Recipe'?",
        ),
        (
            "recipe=Recipe()",
            "recipe=Recipe(flat=Flat())",
            "mycam.py, line 9: 'Flat' is not imported; write from ccdprofiles import Flat.",
        ),
        (
            "import Amplifier,",
            "import Amplifer,",
            "mycam.py, line 3: ccdprofiles has no 'Amplifer'; did you mean 'Amplifier'?",
        ),
        (
            "import Amplifier,",
            "import Qwxz, Amplifier,",
            "mycam.py, line 3: ccdprofiles has no 'Qwxz'.",
        ),
        (
            "from ccdprofiles import Amplifier,",
            "from ccdprofile import Amplifier,",
            "mycam.py, line 3: ModuleNotFoundError: No module named 'ccdprofile'; "
            "did you mean 'ccdprofiles'?",
        ),
        (
            "profile = Profile",
            "from astropy import units as u\nADU = u.electorn\nprofile = Profile",
            "mycam.py, line 6: astropy.units has no 'electorn'; did you mean 'electron'?",
        ),
        (
            "profile = Profile",
            "_profile = Profile",
            "mycam.py: it contains no profile; end it with profile = Profile(...).",
        ),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path, before, after, sentence):
    path = write(tmp_path / "mycam.py")
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    assert refusal_of(read_profiles, path) == sentence


def test_a_file_that_is_none(tmp_path):
    path = tmp_path / "mycam.py"
    assert refusal_of(load_profile, path) == f"{path} is not a file; a profile is one Python file."
    assert refusal_of(load_profile, "./mycam.py") == (
        "mycam.py is not a file; a profile is one Python file."
    )


@pytest.mark.parametrize("text", ["profile = Profile(", "import nosuch", "x = 1"])
def test_a_broken_file_of_the_user_costs_itself(user, text, caplog):
    write(user / "mycam.py").write_text(text)
    assert sorted(known_profiles()) == SHIPPED
    ((sentence,),) = [[r.getMessage() for r in caplog.records]]
    assert sentence.startswith("mycam.py")
    assert sentence.endswith(f"(in your own folder, {user})")
    assert load_profile("lfc").name == "lfc"
    assert len(caplog.records) == 1
    why = refusal_of(Registry.gather().choose, {"INSTRUME": "MyCam"}, kind=UnknownInstrument)
    assert why.endswith(f"A file that cannot be read may contain it: {sentence}")
    assert refusal_of(load_profile, "mycam").endswith(sentence)
    assert "mycam.py" in refusal_of(load_profile, user / "mycam.py")


def test_a_shipped_profile_does_not_stand_in_for_a_broken_one_of_the_user(user):
    write(user / "lfc.py").write_text("import nosuch")
    assert "lfc" not in known_profiles()
    assert "lfc.py, line 1: ModuleNotFoundError" in refusal_of(load_profile, "lfc")
    assert load_profile("cg16m").name == "cg16m"


def test_reading_a_profile_leaves_nothing_behind(tmp_path):
    write(tmp_path / "mycam.py")
    read_profiles(tmp_path / "mycam.py")
    assert [p.name for p in tmp_path.iterdir()] == ["mycam.py"]
    assert not [name for name in sys.modules if name.endswith("mycam")]


# The hash of a profile that was read.


FUNCTION = '''

def gain(header):
    """Electrons per adu."""
    return header.get("EGAIN")  # what the driver says
'''


def with_function(path):
    text = write(path).read_text().replace("\n\nprofile", FUNCTION + "\n\nprofile")
    path.write_text(text.replace("overscan=None", "overscan=None, gain=gain"))
    return path


def test_comments_names_and_notes_do_not_change_the_hash(tmp_path):
    for number, make in enumerate((write, with_function)):
        path = make(tmp_path / f"mycam{number}.py")
        first = load_profile(path).hash
        other = path.with_name(f"other{number}.py")
        other.write_text(
            path.read_text()
            .replace("My camera.", "Another text.\n\nOf several lines.")
            .replace("Electrons per adu.", "The gain.")
            .replace("what the driver says", "as the driver has it")
            .replace("    recipe=", "\n    # why\n    status='headers seen',\n    recipe=")
        )
        assert load_profile(other).hash == first


def test_the_code_of_a_function_changes_the_hash(tmp_path):
    path = with_function(tmp_path / "mycam.py")
    first = load_profile(path).hash
    path.write_text(path.read_text().replace('header.get("EGAIN")', 'header.get("GAIN")'))
    assert load_profile(path).hash != first


def test_public_functions_are_offered_by_the_package():
    assert ccdprofiles.known_profiles is known_profiles
    assert ccdprofiles.load_profile is load_profile


def test_a_choice_is_not_taken_over_by_a_card_that_only_looks_equal():
    one = camera(name="one", where={"CHIP": 1})
    yes = camera(name="yes", where={"CHIP": True})
    registry = Registry((one, yes))
    for said, chosen in ((1, one), (True, yes), (1.0, one), (True, yes)):
        assert registry.choose({"INSTRUME": "MyCam", "CHIP": said}) is chosen


def test_a_function_decides_for_every_header_anew():
    odd = camera(name="odd", instrument=lambda header: header.get("FRAMENO", 0) % 2 == 1)
    even = camera(name="even", instrument=lambda header: header.get("FRAMENO", 0) % 2 == 0)
    registry = Registry((odd, even))
    assert [registry.choose({"FRAMENO": n}).name for n in range(4)] == ["even", "odd"] * 2


# What a file or a package does that would end the program.

ENDS = {
    "import sys\nsys.exit()": "line 2: SystemExit",
    "raise KeyboardInterrupt": "line 1: KeyboardInterrupt",
    "def f():\n    return f()\nf()": "line 2: RecursionError: maximum recursion depth exceeded",
    "while True:\n    pass": "it took longer than 0.05 s",
}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(watch, "LIMIT", 0.05)
    monkeypatch.setattr(watch, "IMPORTING", 0.05)
    monkeypatch.setattr(watch, "TICK", 0.01)


@pytest.mark.parametrize(("text", "why"), ENDS.items())
def test_a_file_that_would_end_the_program_is_refused(tmp_path, monkeypatch, quick, text, why):
    (tmp_path / "mycam.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "mycam.py", "mycam.py"):
        sentence = refusal_of(read_profiles, path)
        assert sentence.startswith("mycam.py, line ")
        assert sentence.endswith(f"{why}; correct the file.")


def test_a_file_named_from_where_one_is_has_its_line_too(tmp_path, monkeypatch):
    (tmp_path / "mycam.py").write_text("\nimport nosuch")
    monkeypatch.chdir(tmp_path)
    assert refusal_of(read_profiles, "mycam.py").startswith("mycam.py, line 2: ModuleNotFound")


def test_a_file_of_the_user_that_would_end_the_program_costs_itself(user, caplog):
    write(user / "mycam.py").write_text("import sys\nsys.exit(0)")
    assert sorted(known_profiles()) == SHIPPED
    assert [r.getMessage() for r in caplog.records] == [
        f"mycam.py, line 2: SystemExit: 0; correct the file. (in your own folder, {user})"
    ]


def test_an_interrupt_while_a_file_is_read_passes(tmp_path):
    text = "import signal\nsignal.raise_signal(signal.SIGINT)"
    (tmp_path / "mycam.py").write_text(text)
    with pytest.raises(KeyboardInterrupt):
        read_profiles(tmp_path / "mycam.py")


def test_a_function_for_the_instrument_that_would_end_the_program_is_named():
    def instrument(header):
        raise SystemExit(0)

    found = Registry.gather([camera(name="f", instrument=instrument)])
    sentence = refusal_of(found.choose, {"INSTRUME": "LFC"})
    assert sentence.startswith("a function of the profile failed (SystemExit: 0; instrument in ")


def test_a_function_for_the_instrument_that_fails_is_named_where_nothing_fits():
    found = Registry.gather([camera(name="f", instrument=lambda header: header["CAMTYPE"] == 1)])
    assert refusal_of(found.choose, {}, kind=UnknownInstrument).endswith(
        "or choose one with --profile. instrument= of the profile f fails on this header (KeyError: 'CAMTYPE')."
    )


def distribution(folder, name, version, points, **modules):
    """Write an installed package: its modules, and the folder that says what it offers."""
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\n{points}\n")
    for module_name, text in modules.items():
        (folder / f"{module_name}.py").write_text(text)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages."""
    monkeypatch.undo()
    monkeypatch.setattr(registry, "user_folder", lambda: tmp_path / "none")
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    known = set(sys.modules)
    yield folder
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
            del sys.modules[name]


BROKEN = {
    "import nosuch_package": "ModuleNotFoundError: No module named 'nosuch_package'",
    "raise ValueError('x')": "ValueError: x; <module> in their_cam.py, line 1",
    "import sys; sys.exit(0)": "SystemExit: 0; <module> in their_cam.py, line 1",
    "def f(): f()\nf()": "RecursionError: maximum recursion depth exceeded; <module> in their_cam.py",
    "profile = (": "SyntaxError: '(' was never closed (their_cam.py, line 1)",
    "x = 1": "AttributeError: module 'their_cam' has no attribute 'profile'",
    "profile = 5": "their_cam:profile is of type int, not a Profile or a module",
    "while True: pass": "it took longer than",
}


@pytest.mark.parametrize(("text", "why"), BROKEN.items())
def test_a_broken_installed_package_costs_itself(site, caplog, quick, text, why):
    distribution(site, "their-camera", "1.2", "their = their_cam:profile", their_cam=text)
    assert sorted(known_profiles()) == SHIPPED
    ((sentence,),) = [[r.getMessage() for r in caplog.records]]
    start = "the installed profile 'their' of their-camera 1.2 cannot be read ("
    assert sentence.startswith(start + why)
    assert sentence.endswith("); it is ignored; correct or remove the package.")
    assert load_profile("lfc").name == "lfc"
    assert refusal_of(load_profile, "their").endswith(sentence)


def test_a_module_of_an_installed_package_that_holds_no_profile_costs_itself(site, caplog):
    distribution(site, "their-camera", "1.2", "their = their_cam", their_cam="x = 1")
    assert sorted(known_profiles()) == SHIPPED
    assert "of their-camera 1.2 cannot be read (their_cam.py: it contains no profile" in caplog.text


def test_a_shipped_profile_does_not_stand_in_for_a_broken_one_that_is_installed(site):
    distribution(site, "their-camera", "1.2", "lfc = their_cam", their_cam="import nosuch")
    assert "lfc" not in known_profiles()
    assert "of their-camera 1.2 cannot be read" in refusal_of(load_profile, "lfc")


def test_a_list_of_entry_points_that_cannot_be_read_hides_no_other_package(site, caplog):
    distribution(site, "bad", "1", "no list at all", bad_cam="")
    distribution(site, "good", "2", "good = good_cam", good_cam=TEXT.format(**GOOD))
    assert "good_cam" in known_profiles()
    assert "bad-1.dist-info: its list of entry points cannot be read" in caplog.text


GOOD = {"notes": "", "instrument": "Good", "where": {}, "columns": 9}


def test_of_two_packages_with_one_name_the_first_by_name_counts_and_it_is_reported(site):
    for name in ("zeta", "alpha"):
        text = TEXT.format(**GOOD)
        distribution(site, name, "1", f"mine = {name}_cam:profile", **{f"{name}_cam": text})
    found = Registry.gather()
    assert found["mine"].file == "alpha_cam:profile"
    assert found.replaced == (
        "alpha_cam:profile replaces zeta_cam:profile: both are named 'mine'.",
    )


def test_a_broken_installed_package_stops_no_command(site, tmp_path, capsys):
    simulate_night("sbo", tmp_path / "night", shape=(32, 40))
    distribution(site, "their-camera", "1.3", "their = their_cam", their_cam="raise SystemExit(0)")
    night = str(tmp_path / "night")
    for arguments in (["plan", night], ["plan", night, "--profile", "sbo"], ["profiles"]):
        assert main(arguments) == 0
        assert "sbo" in capsys.readouterr().out
