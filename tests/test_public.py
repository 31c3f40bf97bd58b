"""What people import is there, is told, and is quick to come."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ccdprofiles

PUBLIC = [
    "Amplifier",
    "Combine",
    "CosmicRays",
    "Flat",
    "Night",
    "Profile",
    "Recipe",
    "SpectralFlat",
    "known_profiles",
    "load_profile",
    "plan_night",
    "reduce_night",
    "simulate_night",
    "verify_night",
]

MODULES = sorted(
    p.stem for p in Path(ccdprofiles.__file__).parent.glob("*.py") if not p.stem.startswith("__")
)


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


def test_a_name_that_is_none_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'reduce_nights'"):
        _ = ccdprofiles.reduce_nights


def test_a_star_brings_the_public_names():
    told = run("from ccdprofiles import *; print(*sorted(n for n in dir() if n[0] != '_'))")
    assert told.split() == sorted(PUBLIC)


def test_to_import_the_package_is_quick():
    heavy = ("astropy", "ccdproc", "numpy", "scipy", "astroscrappy")
    told = run("import sys, ccdprofiles; print(*sorted({m.split('.')[0] for m in sys.modules}))")
    assert not set(heavy) & set(told.split())


def test_profiles_need_no_ccdproc():
    code = "import sys; from ccdprofiles import Profile, known_profiles; print('ccdproc' in sys.modules)"
    assert run(code).strip() == "False"


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
