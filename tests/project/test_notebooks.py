"""The notebooks of the pages run, and show what they were stored with."""

import ast
import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ccdprofiles

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
image = pytest.importorskip("matplotlib.image")

DOCS = Path(__file__).parents[2] / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
PUBLIC = {
    "ccdprofiles": set(ccdprofiles.__all__),
    "ccdprofiles.errors": {"PlanError"},
    "ccdprofiles.products.band": {"DQ_BITS"},
    "ccdprofiles.simulate": {"windowed"},
}
"""What a notebook may import from the package."""


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell):
    """Return the text outputs of a cell, each with its kind."""
    outputs = []
    for output in cell.outputs:
        if output.output_type == "stream":
            outputs.append((output.name, output.text))
        elif output.output_type == "error":
            outputs.append((output.ename, output.evalue))
        else:
            kinds = sorted(kind for kind in output.data if kind.startswith("text/"))
            outputs += [(kind, output.data[kind]) for kind in kinds]
    return outputs


def pictures(cell):
    """Return the PNG files that a cell shows, as bytes."""
    shown = (output.get("data", {}).get("image/png") for output in cell.outputs)
    return [base64.b64decode(picture) for picture in shown if picture]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The folder with the notebooks as they come out today, each run by a kernel of its own."""
    # The first use of matplotlib collects the fonts, which a notebook would report.
    pytest.importorskip("matplotlib.font_manager")
    folder = tmp_path_factory.mktemp("notebooks")
    done = subprocess.run(
        [sys.executable, DOCS / "execute_notebooks.py", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return folder


def test_there_is_a_notebook_of_an_imager_and_of_a_spectrograph():
    assert [path.stem for path in NOTEBOOKS] == ["kosmos", "lfc"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_gives_the_outputs_that_it_was_stored_with(path, executed):
    stored, new = read(path), read(executed / path.name)
    assert [cell.source for cell in new.cells] == [cell.source for cell in stored.cells]
    for was, now in zip(code_cells(stored), code_cells(new), strict=True):
        assert texts(now) == texts(was), now.source
        assert len(pictures(now)) == len(pictures(was)), now.source
        for picture in pictures(now):
            assert image.imread(io.BytesIO(picture)).std() > 0.01, now.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_was_stored_after_one_run_without_complaint(path):
    notebook = read(path)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {kind for cell in cells for kind, _ in texts(cell)}
    assert kinds == {"stdout", "text/plain"}
    assert sum(len(pictures(cell)) for cell in cells) >= 8
    assert not any(cell.metadata for cell in notebook.cells)
    nbformat.validate(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_stored_notebook_is_small_and_of_no_one_machine(path):
    assert path.stat().st_size < 700_000
    notebook = read(path)
    for cell in code_cells(notebook):
        assert all(len(picture) <= 60_000 for picture in pictures(cell)), cell.source
    words = [cell.source for cell in notebook.cells]
    words += [text for cell in code_cells(notebook) for _, text in texts(cell)]
    text = "\n".join([*words, str(notebook.metadata)])
    assert not re.search(r"(?<![\w.~/])/(home|root|tmp|work|usr|Users|mnt|var|opt)/", text)
    assert not re.search(r"\d\d:\d\d:\d\d|0x[0-9a-f]{6}", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_uses_public_names_only(path):
    code = "\n".join(cell.source for cell in code_cells(read(path)))
    modules = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in modules if node.module.partition(".")[0] == "ccdprofiles"]
    assert ours
    for node in ours:
        assert {alias.name for alias in node.names} <= PUBLIC[node.module]
    assert not re.search(r"import ccdprofiles|\._\w", code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_the_links_of_a_notebook_lead_somewhere_and_to_it_too(path):
    words = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)]+)\)", words):
        assert (path.parent / target).is_file(), target
    assert f"   notebooks/{path.stem}\n" in (DOCS / "index.rst").read_text("utf-8")
