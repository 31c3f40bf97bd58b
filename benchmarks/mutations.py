"""Break lines of a module, one at a time, and see whether a test turns red.

    python benchmarks/mutations.py ccdprofiles/reduce/flats.py --number 5 -- tests/reduce tests/whole_nights/test_golden.py

A copy of the checkout is broken, never the checkout itself. A break swaps a comparison, an arithmetic
operator, ``and`` with ``or``, drops a ``not``, or adds one to a number; ``--seed`` chooses others.
Test paths are tried in the order in which they are given, until one turns red. A break that no test
sees is printed with its line: either a test is missing, or the break changes nothing (say so).
Numbers that only set the speed are left alone.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

COMPARED = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
CALCULATED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
FOR_SPEED = {
    *("_TILE_BYTES", "_LARGEST_NETWORK", "_CACHE_BYTES", "_BAND_BYTES"),
    *("_TOGETHER", "_SAMPLES", "_WRITERS"),
}
"""Constants that change the speed and nothing else, as does what is computed from them."""


def breaks(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Go through the places that can be broken: number of the node, and what would be done."""
    skipped = _not_run(tree)
    for number, node in enumerate(ast.walk(tree)):
        if node in skipped:
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
            yield number, "comparison"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in CALCULATED:
            yield number, "arithmetic"
        elif isinstance(node, ast.BoolOp):
            yield number, "and/or"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield number, "not"
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield number, "number"


def _not_run(tree: ast.Module) -> set[ast.AST]:
    """Annotations, texts of f-strings and sizes of blocks, whose break could be seen by nobody."""
    dead: list[ast.AST | None] = []
    for node in ast.walk(tree):
        dead += [getattr(node, name, None) for name in ("annotation", "returns")]
        if isinstance(node, ast.FormattedValue):
            dead.append(node.format_spec)
        if isinstance(node, ast.Raise):
            dead.append(node.exc)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "bands_of":
            dead.append(node.args[1])
        if isinstance(node, ast.Assign):
            names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            dead.append(node.value if names & FOR_SPEED else None)
    return {inner for node in dead if node is not None for inner in ast.walk(node)}


def broken(tree: ast.Module, number: int) -> tuple[ast.Module, int, str, str]:
    """Return the tree with one node broken, its line, and what stood and stands there."""
    tree = copy.deepcopy(tree)
    node = list(ast.walk(tree))[number]
    before = ast.unparse(node)
    if isinstance(node, ast.Compare):
        node.ops[0] = COMPARED[type(node.ops[0])]()
    elif isinstance(node, ast.BinOp | ast.AugAssign):
        node.op = CALCULATED[type(node.op)]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
    elif isinstance(node, ast.Constant):
        node.value += 1
    return ast.fix_missing_locations(tree), node.lineno, before, ast.unparse(node)


def main() -> int:
    """Break what the command line names, print each break and its test, and count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="+", type=Path)
    parser.add_argument("--number", type=int, default=5, help="breaks of each module")
    parser.add_argument("--seed", type=int, default=1)
    words = sys.argv[1:]
    tests = words[words.index("--") + 1 :] if "--" in words else ["tests"]
    options = parser.parse_args(words[: words.index("--")] if "--" in words else words)
    alive = tried = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "checkout")
        shutil.copytree(ROOT, place, ignore=shutil.ignore_patterns(".git", ".tox", "made", "*.pyc"))
        if red := _first_red(place, tests):
            sys.exit(f"{red}: red without any break; choose tests that pass in a copy")
        for module in options.modules:
            survived = _try(place, module, options.number, options.seed, tests)
            alive, tried = alive + sum(survived), tried + len(survived)
    print(f"{alive} of {tried} breaks were seen by no test")
    return int(alive > 0)


def _try(place: Path, module: Path, number: int, seed: int, tests: list[str]) -> list[bool]:
    """Break a module at some places, one at a time; return for each whether no test saw it."""
    source = (ROOT / module).read_text("utf-8")
    tree = ast.parse(source)
    places = list(breaks(tree))
    survived = []
    for chosen, kind in random.Random(f"{seed} {module}").sample(places, min(number, len(places))):
        changed, line, before, after = broken(tree, chosen)
        (place / module).write_text(ast.unparse(changed), "utf-8")
        red = _first_red(place, tests)
        survived.append(red is None)
        print(
            f"{module}:{line}: {kind}: {before} -> {after}: {red or 'SEEN BY NO TEST'}", flush=True
        )
    (place / module).write_text(source, "utf-8")
    return survived


def _first_red(place: Path, tests: list[str]) -> str | None:
    """Return the first test that fails, or None."""
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    for path in tests:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "not slow", "--no-header"]
        try:
            done = subprocess.run(
                [*command, "-p", "no:cacheprovider", "--tb=no", path],
                cwd=place,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"{path} did not end"
        if done.returncode:
            lines = [n for n in done.stdout.splitlines() if n.startswith(("FAILED", "ERROR"))]
            return (
                lines[0].split(" - ")[0][:140] if lines else f"{path} ended with {done.returncode}"
            )
    return None


if __name__ == "__main__":
    sys.exit(main())
