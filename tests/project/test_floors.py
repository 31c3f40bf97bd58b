"""Packages stand on floors, and know only of those below them; modules never form a circle."""

import ast
from graphlib import TopologicalSorter

import pytest
from package_source import HOUSE, SOURCES, module_of

FLOORS = {
    "errors": 1,
    "files": 2,
    "camera": 3,
    "products": 3,
    "plan": 4,
    "pixels": 4,
    "simulate": 4,
    "reduce": 5,
    "run": 6,
    "output": 6,
    "report": 6,
    "night": 7,
    "bad_pixel_mask": 7,
    "steps": 7,
    "verify": 7,
    "cli": 8,
    "__main__": 9,
}
"""A package, or a module that stands alone; ``__init__`` gives names out lazily and has none."""

HANDED_UP = {"camera.single_steps": "steps"}
"""A module whose methods hand over to a package above it, which they import when they are called:
``Profile.read``, ``prepare`` and ``calibrate``, as people look for the steps of their camera there.
"""

MODULES = {module_of(path): path for path in SOURCES}


def imported(module):
    """The modules of the package that a module imports, wherever in it."""
    path = MODULES[module]
    package = ["ccdprofiles", *path.relative_to(HOUSE).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*start, *(node.module or "").split(".")]).rstrip(".")
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    inside = {name.removeprefix("ccdprofiles.") for name in names}
    packages = {name.removesuffix(".__init__") for name in MODULES} & inside
    return {n if n in MODULES else f"{n}.__init__" for n in packages} - {module}


def package_of(module):
    return module.split(".")[0]


def test_every_package_has_a_floor():
    assert {package_of(module) for module in MODULES} - {"__init__"} == set(FLOORS)
    assert max(FLOORS.values()) <= 9


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"__init__"}))
def test_a_module_imports_only_from_its_own_package_and_those_below(module):
    own = package_of(module)
    others = {package_of(name) for name in imported(module)} - {own, "__init__"}
    above = {name for name in others if FLOORS[name] >= FLOORS[own]} - {HANDED_UP.get(module)}
    assert not above, f"{module} imports from {sorted(above)}, which stand above it or beside it"


def test_no_imports_form_a_circle():
    graph = {
        name: {n for n in imported(name) if package_of(n) != HANDED_UP.get(name, "")} - {"__init__"}
        for name in MODULES
        if name != "__init__"
    }
    # A package's own __init__ is imported before its modules; those never import it.
    assert len([*TopologicalSorter(graph).static_order()]) >= len(graph)


@pytest.mark.parametrize("module", sorted(HANDED_UP))
def test_what_is_handed_up_is_imported_by_functions_alone(module):
    top = ast.parse(MODULES[module].read_text("utf-8")).body
    imports = [node for node in top if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not any(HANDED_UP[module] in ast.unparse(node) for node in imports)


def test_the_test_sees_imports():
    assert {"plan.plan", "run.measuring", "plan.frames"} <= imported("run.run")
    assert "plan.request" in imported("night")
    assert "camera.registry" in imported("plan.request")
    assert "cli.command" in imported("cli.__init__")


def test_no_module_is_a_drawer_for_odds_and_ends():
    drawers = {"utils", "util", "core", "helpers", "common", "misc", "base"}
    assert not drawers & {part for module in MODULES for part in module.split(".")}


def test_no_file_is_opened_to_be_changed_and_no_trap_of_ccdproc_is_called():
    forbidden = {"ccd_process", "create_deviation", "ccdmask", "cosmicray_median"}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                assert node.attr not in forbidden, f"{module}: {node.attr}"
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "open":
                arguments = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode")]
                modes = {n.value for n in arguments if isinstance(n, ast.Constant)}
                assert not modes & {"update", "append", "ostream", "a", "ab", "r+", "r+b", "rb+"}
