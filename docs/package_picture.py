"""Make ``_static/packages.svg``: the packages on their floors, drawn from the imports.

Run it from anywhere: ``python docs/package_picture.py``. It needs nothing but Python, and reads
the source as text. An arrow leads from a package to one that it imports; arrows that follow from
others (run → reduce → plan leaves out run → plan) are not drawn.
"""

from __future__ import annotations

import ast
import textwrap
from functools import cache
from html import escape
from pathlib import Path

HOUSE = Path(__file__).parents[1] / "ccdprofiles"
PICTURE = Path(__file__).parent / "_static" / "packages.svg"

LEFT_OUT = {"__init__", "__main__"}
"""They hold no code but give out names, and import lazily from everywhere."""

WIDTH, HEIGHT, GAP, RISE = 212, 76, 28, 62
"""Size of a box, and the space beside and above it, in pixels."""


def packages() -> dict[str, list[Path]]:
    """Return the source files of each package, and of each module that stands alone."""
    files: dict[str, list[Path]] = {}
    for path in sorted(HOUSE.rglob("*.py")):
        files.setdefault(path.relative_to(HOUSE).with_suffix("").parts[0], []).append(path)
    return {name: paths for name, paths in files.items() if name not in LEFT_OUT}


def imports(name: str) -> set[str]:
    """Return the other packages that a package imports, wherever in its functions."""
    known, names = packages(), set()
    for path in known[name]:
        depth = len(path.relative_to(HOUSE).parts)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == depth:
                inside = (node.module or "").split(".")[0]
                names |= {inside} if inside else {alias.name for alias in node.names}
    return names & set(known) - {name}


def upwards() -> set[tuple[str, str]]:
    """Return the imports that lead up: a method that hands over to a package above it."""
    camera = (HOUSE / "camera" / "single_steps.py").read_text("utf-8")
    return {("camera", "steps")} if "..steps" in camera else set()


def graph() -> dict[str, set[str]]:
    """Return package → packages below it."""
    return {name: {n for n in imports(name) if (name, n) not in upwards()} for name in packages()}


def floors(below: dict[str, set[str]]) -> dict[str, int]:
    """Return the floor of each package: one above the highest that it imports."""

    @cache
    def floor(name: str) -> int:
        return 1 + max((floor(other) for other in below[name]), default=0)

    return {name: floor(name) for name in below}


def drawn(below: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the arrows that do not follow from others."""

    @cache
    def reached(name: str) -> frozenset[str]:
        return frozenset(below[name]).union(*(reached(other) for other in below[name]))

    return sorted(
        (name, other)
        for name, others in below.items()
        for other in others
        if not any(other in reached(between) for between in others)
    )


def sentence(name: str) -> str:
    """Return the first sentence of a package's docstring."""
    path = HOUSE / name / "__init__.py"
    path = path if path.exists() else HOUSE / f"{name}.py"
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("`", "")


def picture() -> str:
    """Return the picture as SVG."""
    below = graph()
    rows: dict[int, list[str]] = {}
    for name, floor in sorted(floors(below).items()):
        rows.setdefault(floor, []).append(name)
    top, widest = max(rows), max(len(names) for names in rows.values())
    width = widest * (WIDTH + GAP) + GAP
    places = {}
    for floor, names in rows.items():
        start = (width - len(names) * (WIDTH + GAP) + GAP) / 2
        for column, name in enumerate(names):
            places[name] = start + column * (WIDTH + GAP), 10 + (top - floor) * (HEIGHT + RISE)
    height = 20 + top * (HEIGHT + RISE) - RISE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        'font-family="sans-serif">',
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
        *(_arrow(places[upper], places[lower]) for upper, lower in drawn(below)),
        *(_box(name, *place) for name, place in sorted(places.items())),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _arrow(upper: tuple[float, float], lower: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = upper, lower
    start, end = x + WIDTH / 2, to_x + WIDTH / 2
    bend = (to_y - y - HEIGHT) / 2
    y += HEIGHT
    return (
        f'<path d="M{start:.0f} {y:.0f}C{start:.0f} {y + bend:.0f} {end:.0f} {to_y - bend:.0f} '
        f'{end:.0f} {to_y:.0f}" fill="none" stroke="#667" marker-end="url(#head)"/>'
    )


def _box(name: str, x: float, y: float) -> str:
    lines = textwrap.wrap(sentence(name), 34)[:3]
    text = "".join(
        f'<text x="{x + 10:.0f}" y="{y + 36 + 14 * number:.0f}" font-size="11.5" fill="#334">'
        f"{escape(line)}</text>"
        for number, line in enumerate(lines)
    )
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#eef3fa" '
        f'stroke="#1f5fa8"/><text x="{x + 10:.0f}" y="{y + 19:.0f}" font-size="15" '
        f'font-weight="bold" fill="#1f5fa8">{name}</text>{text}'
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(), "utf-8")
