"""What the pages promise: every instrument listed, commands that are there, nothing of one machine."""

import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest

from ccdprofiles import known_profiles, plan_night, simulate_night
from ccdprofiles.camera.profile_file import read_profiles
from ccdprofiles.cli.command import main
from ccdprofiles.simulate import windowed

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CHANGES.rst", *DOCS.rglob("*.rst"), *DOCS.rglob("*.py")]
)
PAGES = [page for page in PAGES if not {"_build", "api"} & set(page.relative_to(ROOT).parts)]


@pytest.fixture(scope="module")
def instruments():
    """The module that makes the instruments page."""
    path = DOCS / "instrument_table.py"
    spec = importlib.util.spec_from_file_location("instrument_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_of_instruments_lists_every_profile(instruments):
    shipped = instruments.shipped()
    lines = instruments.table(shipped)
    rows = [line for line in lines if line.startswith("   * - ``")]
    assert [p.name for p in shipped] == [row.split("``")[1] for row in rows]
    assert {p.name for p in shipped} <= set(known_profiles())
    assert len([line for line in lines if line.startswith("     - ")]) == 7 * (len(rows) + 1)


def test_the_table_says_what_the_profile_says(instruments):
    (lfc,) = [p for p in instruments.shipped() if p.name == "lfc"]
    text = "\n".join(instruments.table([lfc]))
    for said in (
        "``LFC``",
        "``[2056:2080, 1:4128]``",
        "1.1\N{NO-BREAK SPACE}e/adu",
        "not known",
        "adu",
    ):
        assert said in text


def test_every_profile_says_where_its_numbers_come_from(instruments):
    notes = "\n".join(instruments.notes(instruments.shipped()))
    for profile in instruments.shipped():
        assert profile.notes.splitlines()[0] in notes


def test_the_readme_lists_every_profile():
    table = README.split("## Instruments")[1].split("##")[0]
    assert set(re.findall(r"`(\w+)`", table)) == {
        p.name for p in read_profiles_shipped() if not p.name.startswith("_")
    }


def read_profiles_shipped():
    from ccdprofiles.camera.registry import shipped_folder

    files = [p for p in shipped_folder().glob("*.py") if not p.name.startswith("_")]
    return [p for file in files for p in read_profiles(file)]


def test_the_readme_has_its_three_lines_and_both_commands():
    assert (
        "from ccdprofiles import reduce_night\n\n"
        'night = reduce_night("2018-08-22", "reduced")  # the profile is chosen by INSTRUME\n'
        "print(night)  # what was made"
    ) in README
    for command in (
        "python -m venv .venv && .venv/bin/pip install . && .venv/bin/ccdprofiles demo",
        "python -m venv .venv && .venv/bin/pip install tox && .venv/bin/tox",
    ):
        assert f"```\n{command}\n```" in README


def test_the_plan_in_the_readme_is_a_real_one(tmp_path):
    truth = simulate_night(windowed("lfc", 60, 60), tmp_path / "night", seed=1)
    assert str(plan_night(tmp_path / "night", profile=truth.known)) in README


@pytest.mark.parametrize("page", [README, (DOCS / "tutorial.rst").read_text("utf-8")])
def test_commands_of_the_pages_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"(?m)^ *(?:\$ |\.venv/bin/)ccdprofiles (.*(?:try|-demo)\b.*)", page)
    if not lines[0].startswith("demo"):
        lines.insert(0, "demo")
    assert len(lines) == 4
    for line in lines:
        assert main(line.split()) == 0, line


def test_the_example_in_the_readme_is_a_profile(tmp_path):
    (code,) = re.findall(r'```python\n(""".*?)```', README, re.S)
    path = tmp_path / "mycam.py"
    path.write_text(code, "utf-8")
    (profile,) = read_profiles(path)
    assert profile.fits({"INSTRUME": "MyCam"})


def test_the_commands_of_the_readme_are_there(capsys):
    named = set(re.findall(r"\| `ccdprofiles (\w+)", README))
    with pytest.raises(SystemExit):
        main(["--help"])
    there = set(re.findall(r"^ {4}(\w+) ", capsys.readouterr().out, re.M))
    assert named <= there


def test_the_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_page_names_a_place_of_one_machine(page):
    text = page.read_text("utf-8")
    assert not re.search(r"(?<![\w.~/])/(home|root|tmp|work|usr|Users|mnt|var|opt)/", text)
    assert not re.search(
        r"pypi\.|pythonhosted|localhost|127\.0\.0\.1|artifactory|proxy", text, re.I
    )


def test_every_page_is_in_a_table_of_contents():
    told = "\n".join(page.read_text("utf-8") for page in DOCS.rglob("*.rst"))
    for page in DOCS.rglob("*.rst"):
        name = page.relative_to(DOCS).with_suffix("").as_posix()
        if name != "index" and "api" not in page.parts and "_build" not in page.parts:
            assert re.search(rf"^ +{name}$", told, re.M), name


def test_the_flags_and_exits_in_the_reference_are_ours():
    from ccdprofiles.cli import ends as cli
    from ccdprofiles.products.band import DQ_BITS, MASKED

    text = (DOCS / "reference.rst").read_text("utf-8")
    flags = dict(re.findall(r"^(\d+) +(\w[\w\- ]*?)  +(?:yes|no) ", text, re.M))
    assert {int(bit): name for bit, name in flags.items()} == {b: n for n, b in DQ_BITS.items()}
    masks = {
        int(b): m == "yes" for b, m in re.findall(r"^(\d+) +\w[\w\- ]*?  +(yes|no) ", text, re.M)
    }
    assert masks == {b: bool(b & MASKED) for b in DQ_BITS.values()}
    for code in (cli.DONE, cli.INCOMPLETE, cli.USAGE, cli.NOTHING, cli.LOCKED, cli.OUTPUT):
        assert re.search(rf"^{code}     +\w", text, re.M)


def test_the_tree_of_errors_in_the_reference_is_the_one_of_the_module():
    from ccdprofiles import errors

    text = (DOCS / "reference.rst").read_text("utf-8")
    lines = errors.__doc__.split("::\n\n")[1].split("\n\nEvery")[0]
    assert lines in text


def test_every_card_that_is_written_is_in_the_reference(reduced):
    text = (DOCS / "reference.rst").read_text("utf-8").split(".. _cards:")[1].split("Refusals")[0]
    told = set(re.findall(r"``([A-Z0-9-]+)n?``", text))
    for image in (*reduced.masters.values(), *reduced.science.values()):
        cards = [c for c in image.header if c.startswith(("CP", "HAS", "OS"))]
        assert {re.sub(r"(?<=[A-Z])\d$", "", c) for c in cards} <= told


NAMES = sorted(
    {
        (page.relative_to(ROOT).as_posix(), name)
        for page in PAGES
        if page.name != "CHANGES.rst"
        for name in re.findall(r"(?<![\w./-])ccdprofiles(?:\.\w+)+", page.read_text("utf-8"))
        if not name.endswith((".css", ".log"))
    }
)
NOT_MODULES = {"ccdprofiles.profiles"}
"""Names of something else: the group of entry points."""


@pytest.mark.parametrize(("page", "name"), NAMES)
def test_a_name_of_the_package_in_a_page_is_there(page, name):
    if name not in NOT_MODULES:
        assert pkgutil.resolve_name(name) is not None


def test_the_names_of_the_package_in_the_pages_are_collected():
    assert ("docs/reference.rst", "ccdprofiles.night.reduce_night") in NAMES
    assert ("docs/modules.rst", "ccdprofiles.simulate.night") in NAMES


def test_the_picture_of_the_packages_shows_the_imports_as_they_are():
    spec = importlib.util.spec_from_file_location("package_picture", DOCS / "package_picture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PICTURE.read_text("utf-8") == module.picture(), "run docs/package_picture.py"
    assert max(module.floors(module.graph()).values()) <= 8
