"""Rules of the house that can be read off the source: sizes, private names, attributes."""

import ast
import re

import pytest
from package_source import HOUSE, SOURCES

from ccdprofiles.camera.frame_types import FRAME_TYPES, MASTER_TYPES, STEPS

LONGEST = 500
"""Lines of a module."""

CONSTRUCTORS = {"__init__", "__new__", "__post_init__"}


def name_of(path):
    return path.relative_to(HOUSE).as_posix()


def tree_of(path):
    return ast.parse(path.read_text("utf-8"))


def set_attributes(function):
    """The attributes of ``self`` that a method assigns."""
    for node in ast.walk(function):
        stored = isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if stored and getattr(node.value, "id", None) == "self":
            yield node.attr


def declared(owner):
    """The attributes that a class declares: in its body, by slots, or in a constructor."""
    names = set()
    for node in owner.body:
        if isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
        elif isinstance(node, ast.Assign):
            names |= {n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.FunctionDef) and node.name in CONSTRUCTORS:
            names |= set(set_attributes(node))
    return names


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_is_not_too_long(path):
    assert len(path.read_text("utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_attribute_appears_outside_a_constructor(path):
    for owner in ast.walk(tree_of(path)):
        if not isinstance(owner, ast.ClassDef):
            continue
        known = declared(owner)
        # What a class of another library keeps for itself is declared there.
        known |= {"stream"} if "FileHandler" in ast.unparse(owner) else set()
        for method in owner.body:
            if isinstance(method, ast.FunctionDef):
                late = set(set_attributes(method)) - known
                assert not late, f"{owner.name}.{method.name} makes {sorted(late)}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_module_imports_a_private_name_of_another(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            private = [a.name for a in node.names if re.match(r"_[a-z]", a.name)]
            assert not private, f"{node.module}: {private}"


TYPES_ELSEWHERE = {"camera/frame_types.py", "steps/stack.py", "steps/calibrated.py"}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_the_types_of_frames_and_masters_stand_in_one_module(path):
    tables = {FRAME_TYPES, MASTER_TYPES, STEPS}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            types = tuple(getattr(e, "value", None) for e in node.elts)
            again = types in tables and name_of(path) not in TYPES_ELSEWHERE
            assert not again, f"line {node.lineno}: use the tuple of camera/frame_types.py"


def test_the_rules_see_the_source():
    assert len(SOURCES) > 100
    owner = ast.parse("class A:\n def __init__(self): self.a = 1\n def f(self): self.b = 2").body[0]
    assert declared(owner) == {"a"}
    assert set(set_attributes(owner.body[1])) == {"b"}
