"""What people import is there, is told, and is quick to come."""

import importlib
import inspect
import subprocess
import sys

import pytest
from package_source import SOURCES, module_of

import ccdprofiles

PUBLIC = [
    "Amplifier",
    "Card",
    "Combine",
    "CosmicRays",
    "Dated",
    "Flat",
    "Limits",
    "Night",
    "Profile",
    "Recipe",
    "Setting",
    "SpectralFlat",
    "combine",
    "detect_cosmics",
    "known_profiles",
    "load_profile",
    "make_bad_pixel_mask",
    "plan_night",
    "reduce_night",
    "simulate_night",
    "verify_night",
]

MODULES = sorted(module_of(path) for path in SOURCES if not path.stem.startswith("__"))

HEAVY = ("astropy", "ccdproc", "numpy", "scipy", "astroscrappy")

TIMED = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


def run(code):
    """Run code in an interpreter that has imported nothing yet."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_those_that_are_documented():
    assert ccdprofiles.__all__ == PUBLIC == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_can_be_imported_and_is_told(name):
    thing = getattr(ccdprofiles, name)
    assert inspect.isclass(thing) or inspect.isfunction(thing)
    assert thing.__name__ == name
    assert inspect.getdoc(thing)
    assert name in dir(ccdprofiles)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_an_example(name):
    """They are run as doctests."""
    assert "\n>>> " in inspect.getdoc(getattr(ccdprofiles, name))


@pytest.mark.parametrize("method", ["read", "prepare", "calibrate"])
def test_a_step_of_a_profile_has_an_example(method):
    assert "\n>>> " in inspect.getdoc(getattr(ccdprofiles.Profile, method))


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'reduce_nights'"):
        _ = ccdprofiles.reduce_nights


def test_a_star_brings_the_public_names():
    told = run("from ccdprofiles import *; print(*sorted(n for n in dir() if n[0] != '_'))")
    assert told.split() == sorted(PUBLIC)


def test_to_import_the_package_is_quick():
    told = run("import sys, ccdprofiles; print(*sorted({m.split('.')[0] for m in sys.modules}))")
    assert not set(HEAVY) & set(told.split())


def test_profiles_need_no_ccdproc():
    code = "import sys; from ccdprofiles import Profile, known_profiles; print('ccdproc' in sys.modules)"
    assert run(code).strip() == "False"


@pytest.mark.parametrize("option", ["--help", "--version", "plan --help", "reduce --help"])
def test_help_waits_for_no_astropy(option):
    told = run(
        "import sys, ccdprofiles.cli.command\n"
        f"try: ccdprofiles.cli.command.main({option.split()!r})\n"
        "except SystemExit as end: assert not end.code\n"
        "print('\\n', *{m.split('.')[0] for m in sys.modules})"
    )
    assert "ccdprofiles" in told
    assert not set(HEAVY) & set(told.splitlines()[-1].split())


def test_a_plan_waits_for_nothing_that_works_on_pixels(tmp_path):
    ccdprofiles.simulate_night("sbo", tmp_path / "night", shape=(32, 40))
    told = run(
        "import sys, ccdprofiles.cli.command\n"
        f"ccdprofiles.cli.command.main(['plan', {str(tmp_path / 'night')!r}])\n"
        "print('\\n', *sys.modules)"
    )
    assert "files found" in told
    parts = ("io.fits", "modeling", "nddata", "stats", "table", "wcs")
    needless = {"ccdproc", "scipy", "astroscrappy", "filelock", *(f"astropy.{p}" for p in parts)}
    assert not needless & set(told.splitlines()[-1].split())


def test_to_import_the_package_takes_no_longer_than_ccdproc():
    quick, slow = "import ccdprofiles", "import ccdproc"
    ratios = []
    for _ in range(3):
        times = [float(run(TIMED.format(code))) for code in (quick, slow)]
        ratios.append(times[0] / times[1])
    assert sorted(ratios)[1] < 1.1


def test_the_version_is_one():
    assert all(part.isdigit() for part in ccdprofiles.__version__.split(".")[:2])


@pytest.mark.parametrize("module", MODULES)
def test_every_module_tells_what_it_is_and_what_it_gives(module):
    made = importlib.import_module(f"ccdprofiles.{module}")
    assert inspect.getdoc(made)
    names = made.__all__
    assert len(set(names)) == len(names)
    for name in names:
        assert hasattr(made, name), name


@pytest.mark.parametrize("module", MODULES)
def test_every_public_function_and_class_is_told(module):
    made = importlib.import_module(f"ccdprofiles.{module}")
    for name, thing in vars(made).items():
        mine = getattr(thing, "__module__", None) == made.__name__
        if name.startswith("_") or not mine or not callable(thing):
            continue
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            fields = {f.name for f in getattr(thing, "__dataclass_fields__", {}).values()}
            for method, function in vars(thing).items():
                if method in fields:
                    continue
                if not method.startswith("_") and inspect.isfunction(function):
                    assert function.__doc__, f"{name}.{method}"
                if not method.startswith("_") and isinstance(function, property):
                    assert function.__doc__, f"{name}.{method}"
