"""The page of codes has a row for every code of the source, and none besides."""

import ast
import re
from pathlib import Path

import pytest

import ccdprofiles

HOUSE = Path(ccdprofiles.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "codes.rst"

ARGUMENT = {"FrameRejected": 0, "rejected": 0, "Reason": 1, "fail": 1}
"""Where a code stands in a call that makes a verdict."""

HANDED_ON = {"code", "error.code", "found.code", "outcome.code", "refused.code", "wrong.code"}
"""What stands in its place where a verdict is only handed on."""

FIELDS = {"field": ("gain", "read_noise", "saturation", "linear")}
"""Codes that are the names of numbers of an amplifier."""


def codes_of(path):
    """The codes that a module uses, and what else stands in their place."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        said = None
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            place = ARGUMENT.get(name)
            if place is not None and len(node.args) > place:
                said = node.args[place]
        if isinstance(said, ast.Constant):
            yield said.value
        elif said is not None and ast.unparse(said) in FIELDS:
            yield from FIELDS[ast.unparse(said)]
        elif said is not None and ast.unparse(said) not in HANDED_ON:
            yield f"{path.name}, line {said.lineno}: {ast.unparse(said)}"


USED = sorted({code for path in HOUSE.rglob("*.py") for code in codes_of(path)})


def rows():
    text = PAGE.read_text("utf-8")
    found = re.findall(
        r"^   \* - ``(.+?)``\n     - (.+?)\n     - (.+?)(?=\n   \*|\n\n)", text, re.M | re.S
    )
    return {code: (cause, cure) for code, cause, cure in found}


@pytest.mark.parametrize("code", USED)
def test_a_code_has_its_row_with_cause_and_cure(code):
    assert code in rows(), f"docs/reference/codes.rst lacks a row for {code!r}"
    assert all(len(text.split()) > 2 for text in rows()[code])


def test_the_page_has_no_other_code_and_is_in_order():
    assert list(rows()) == USED


def test_the_source_is_read():
    assert {"truncated", "no-dark", "no-master", "read_noise", "checksum"} < set(USED)
    assert all(re.fullmatch(r"[a-z][a-z_-]+", code) for code in USED)
