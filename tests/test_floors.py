"""Modules stand on floors, and know only of those below them."""

import ast
from pathlib import Path

import pytest

import ccdprofiles

HOUSE = Path(ccdprofiles.__file__).parent

FLOORS = {
    # What everything stands on.
    "errors": 0.0,
    "threads": 0.0,
    "section": 0.1,
    "quiet": 0.0,
    "spelling": 0.1,
    "watch": 0.1,
    "notebook": 0.1,
    "storage": 0.1,
    # A camera, its headers and its raw files.
    "amplifier": 1.0,
    "noise": 1.0,
    "raw": 1.0,
    "profile": 1.1,
    "registry": 1.2,
    "changes": 1.2,
    "setup_cards": 1.2,
    "quality": 1.3,
    "checksum": 1.1,
    # The verbs: each works for itself.
    "calibrate": 2.1,
    "cameras": 2.0,
    "combine": 2.0,
    "cosmics": 2.0,
    "collection": 1.0,
    "frames": 2.0,
    "prepare": 2.0,
    "copies": 2.1,
    "levels": 2.1,
    "header": 1.5,
    "products": 2.0,
    "response": 2.0,
    "simulate": 2.1,
    "unknown": 2.1,
    # What is to be made of what.
    "plan": 3.0,
    "selection": 3.1,
    "state": 3.0,
    # Making it, and telling of it.
    "ledger": 3.5,
    "cards": 3.6,
    "flats": 3.6,
    "resume": 3.7,
    "masters": 3.7,
    "science": 3.7,
    "jobs": 3.8,
    "workers": 3.9,
    "cluster": 3.9,
    "processes": 3.85,
    "verdicts": 3.7,
    "run": 4.0,
    "report": 4.5,
    # A whole night.
    "output": 4.6,
    "earlier": 4.7,
    "night": 5.0,
    "verify": 5.0,
    "ends": 5.5,
    # What people use.
    "__init__": 6.0,
    "cli": 6.0,
    "__main__": 6.1,
}

MODULES = sorted(p.stem for p in HOUSE.glob("*.py"))


def imported(module):
    """The modules of the package that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse((HOUSE / f"{module}.py").read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            name = node.module or ""
            if node.level == 0 and name.split(".")[0] != "ccdprofiles":
                continue
            inside = name if node.level else name.removeprefix("ccdprofiles").lstrip(".")
            names = [inside.split(".")[0]] if inside else [a.name for a in node.names]
            found |= {n if n in FLOORS else "__init__" for n in names if n != "__version__"}
        elif isinstance(node, ast.Import):
            parts = [a.name.split(".") for a in node.names]
            found |= {[*p, "__init__"][1] for p in parts if p[0] == "ccdprofiles"}
    return found


def test_every_module_has_a_floor():
    assert set(MODULES) <= set(FLOORS)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_knows_only_of_those_below_it(module):
    above = {n for n in imported(module) if FLOORS[n] >= FLOORS[module]}
    assert not above, f"{module} imports {sorted(above)}, which stand above it or beside it"


def test_the_test_sees_imports():
    assert {"plan", "resume", "frames"} <= imported("run")
    assert "registry" in imported("night")


def test_no_module_is_a_drawer_for_odds_and_ends():
    assert not {"utils", "util", "core", "helpers", "common", "misc", "base"} & set(MODULES)


def test_no_file_is_opened_to_be_changed_and_no_trap_of_ccdproc_is_called():
    forbidden = {"ccd_process", "create_deviation", "ccdmask", "cosmicray_median"}
    for module in MODULES:
        for node in ast.walk(ast.parse((HOUSE / f"{module}.py").read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in forbidden, f"{module}: {node.attr}"
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "open":
                said = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode")]
                modes = {n.value for n in said if isinstance(n, ast.Constant)}
                assert not modes & {"update", "append", "ostream", "a", "ab", "r+", "r+b", "rb+"}
