"""The files that strangers look for first: how to contribute, to cite, to install and to test."""

import configparser
import logging
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ccdprofiles

ROOT = next(p for p in Path(__file__).resolve().parents if (p / "docs").is_dir())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
YAML = [*WORKFLOWS, *FORMS, ROOT / "CITATION.cff", ROOT / ".readthedocs.yaml"]
YAML.append(ROOT / "recipe" / "recipe.yaml")
SYSTEMS = {"ubuntu-latest", "macos-latest", "windows-latest"}
MARKER = re.compile(r"TO-FILL-[A-Z0-9]+(?:-[A-Z0-9]+)*")
TEXT = re.compile(r"\.(bib|cff|cfg|in|ini|md|py|rst|toml|txt|ya?ml)$")
GENERATED = {"_build", "api", "build", "dist", "made"}

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="an sdist has no workflows")


def read_ini(name):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / name, "utf-8")
    return parser


def lines_of(name, section, key):
    lines = read_ini(name)[section][key].splitlines()
    return [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]


def load(path):
    return yaml.safe_load(path.read_text("utf-8"))


def jobs():
    for path in WORKFLOWS:
        for name, job in load(path)["jobs"].items():
            yield f"{path.stem}/{name}", job


JOBS = dict(jobs())


def environments_of(job):
    """Return the tox environments that a job runs."""
    runs = "\n".join(step.get("run", "") for step in job["steps"])
    return re.findall(r"^tox -e (\S+)$", runs, re.MULTILINE)


def supported_pythons():
    """Return the versions of Python that the classifiers name."""
    found = (
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line)
        for line in lines_of("setup.cfg", "metadata", "classifiers")
    )
    return [match[1] for match in found if match]


def minimum_versions():
    """Return the lowest version of each requirement in setup.cfg."""
    lines = lines_of("setup.cfg", "options", "install_requires")
    return dict(line.split(">=") for line in lines)


@pytest.mark.parametrize("path", YAML, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_yaml_file_can_be_read(path):
    assert isinstance(load(path), dict)


def test_the_workflows_test_every_system_with_every_supported_python():
    matrix = JOBS["tests/test"]["strategy"]["matrix"]
    assert set(matrix["os"]) == SYSTEMS
    assert matrix["python"] == supported_pythons()


def test_the_oldest_supported_python_is_the_one_that_is_required():
    oldest, newest = supported_pythons()[0], supported_pythons()[-1]
    assert lines_of("setup.cfg", "options", "python_requires") == [f">={oldest}"]
    assert f"Python {oldest} or newer" in (ROOT / "README.md").read_text("utf-8")
    assert f"Python {oldest} to {newest}" in (ROOT / "OWNERS-TO-FILL.md").read_text("utf-8")


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_complete(name):
    job = JOBS[name]
    actions = [step["uses"].partition("@")[0] for step in job["steps"] if "uses" in step]
    assert actions == ["actions/checkout", "actions/setup-python"]
    (python,) = [s["with"]["python-version"] for s in job["steps"] if "python" in s.get("uses", "")]
    assert isinstance(python, str)  # 3.10 as a number is 3.1
    assert python in (*supported_pythons(), "${{ matrix.python }}")
    assert len(environments_of(job)) == 1


@pytest.mark.parametrize("name", JOBS)
def test_a_job_runs_an_environment_that_tox_knows(name):
    pytest.importorskip("tox")
    (environment,) = environments_of(JOBS[name])
    command = (sys.executable, "-m", "tox", "config", "-c", ROOT / "tox.ini", "-k", "commands")
    done = subprocess.run(
        [*command, "-e", environment], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout
    assert f"[testenv:{environment}]" in done.stdout


def test_the_environments_of_the_workflows_have_their_factors_in_tox():
    known = {s.removeprefix("testenv:") for s in read_ini("tox.ini").sections()}
    known |= set(re.split(r",\s*", read_ini("tox.ini")["tox"]["env_list"]))
    known |= {line.partition(":")[0] for line in lines_of("tox.ini", "testenv", "deps")}
    for job in JOBS.values():
        assert set(environments_of(job)[0].split("-")) <= known


def test_every_environment_of_tox_is_run_by_a_workflow():
    sections = {s.removeprefix("testenv:") for s in read_ini("tox.ini").sections() if ":" in s}
    listed = set(re.split(r",\s*", read_ini("tox.ini")["tox"]["env_list"]))
    run = {environment for job in JOBS.values() for environment in environments_of(job)}
    assert sections | listed | {"test-oldestdeps", "test-devdeps"} <= run


def test_development_versions_are_tested_weekly():
    weekly = load(ROOT / ".github" / "workflows" / "weekly.yml")
    (when,) = weekly[True]["schedule"]  # YAML 1.1 reads the key "on" as True
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", when["cron"])
    assert environments_of(JOBS["weekly/development-dependencies"]) == ["test-devdeps"]
    sources = [d for d in lines_of("tox.ini", "testenv", "deps") if d.startswith("devdeps:")]
    assert [re.search(r": (\w+) @ git", s)[1] for s in sources] == ["astropy", "ccdproc"]


def test_the_oldest_dependencies_are_the_lowest_versions_that_are_allowed():
    pinned = {}
    for line in lines_of("tox.ini", "testenv", "deps"):
        match = re.fullmatch(r"oldestdeps: ([\w-]+)==([\d.]+)\.\*", line)
        if match:
            pinned[match[1]] = match[2]
    lowest = minimum_versions()
    assert pinned.keys() == lowest.keys()
    for name, version in lowest.items():
        assert (version if "." in version else f"{version}.0") == pinned[name]


def test_the_recipe_of_conda_asks_for_the_same_as_setup_cfg():
    recipe = load(ROOT / "recipe" / "recipe.yaml")
    python, *run = recipe["requirements"]["run"]
    assert dict(line.split(" >=") for line in run) == minimum_versions()
    assert python == "python >=${{ python_min }}"
    assert recipe["context"]["python_min"] == supported_pythons()[0]
    assert recipe["context"]["version"] == ccdprofiles.__version__
    assert recipe["build"]["noarch"] == "python"
    (entry,) = lines_of("setup.cfg", "options.entry_points", "console_scripts")
    assert recipe["build"]["python"]["entry_points"] == [entry]
    assert recipe["tests"][0]["python"]["pip_check"] is True
    (build_tool,) = [h for h in recipe["requirements"]["host"] if h.startswith("setuptools")]
    assert build_tool.replace(" ", "") in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_docs_host_builds_as_tox_does():
    host = load(ROOT / ".readthedocs.yaml")
    assert (ROOT / host["sphinx"]["configuration"]).is_file()
    assert host["sphinx"]["fail_on_warning"] is True
    assert host["build"]["tools"]["python"] in supported_pythons()
    (install,) = host["python"]["install"]
    assert install["extra_requirements"] == ["docs"]


@pytest.mark.parametrize("path", FORMS, ids=lambda p: p.name)
def test_an_issue_form_asks_for_something(path):
    form = load(path)
    if path.name == "config.yml":
        assert form["blank_issues_enabled"] is True
        return
    assert form["name"]
    assert form["description"]
    fields = [field["id"] for field in form["body"]]
    assert len(fields) == len(set(fields))
    assert any(field.get("validations", {}).get("required") for field in form["body"])
    assert all(field["attributes"]["label"] for field in form["body"])


def texts_of_the_project():
    for folder, folders, names in os.walk(ROOT):
        hidden = {f for f in folders if f.startswith(".") and f != ".github"}
        folders[:] = sorted(set(folders) - hidden - GENERATED)
        yield from (Path(folder, name) for name in names if TEXT.search(name))


def test_only_the_owners_page_and_the_files_that_it_names_hold_markers():
    page = (ROOT / "OWNERS-TO-FILL.md").read_text("utf-8")
    rows = re.findall(r"^\| `(TO-FILL-[A-Z0-9-]+)` \| .+ \| (.+) \|$", page, re.MULTILINE)
    listed = {(marker, file) for marker, files in rows for file in re.findall(r"`(.+?)`", files)}
    held = {
        (marker, path.relative_to(ROOT).as_posix())
        for path in texts_of_the_project()
        if path.name not in ("OWNERS-TO-FILL.md", Path(__file__).name)
        for marker in MARKER.findall(path.read_text("utf-8"))
    }
    assert held == listed


def test_the_paper_has_the_parts_that_the_journal_asks_for():
    _, head, text = (ROOT / "paper.md").read_text("utf-8").split("---\n", 2)
    matter = yaml.safe_load(head)
    assert matter.keys() >= {"title", "tags", "authors", "affiliations", "date", "bibliography"}
    assert re.findall(r"^# (.+)$", text, re.MULTILINE) == [
        "Summary",
        "Statement of need",
        "State of the field",
        "Software design",
        "Research impact statement",
        "AI usage disclosure",
        "Acknowledgements",
        "References",
    ]
    assert 750 <= len(text.split()) <= 1750
    for picture in re.findall(r"!\[.*?\]\((.+?)\)", text, re.DOTALL):
        assert (ROOT / picture).is_file()


def test_the_references_of_the_paper_are_those_that_it_cites():
    entries = re.split(r"^@", (ROOT / "paper.bib").read_text("utf-8"), flags=re.MULTILINE)[1:]
    keys = {re.match(r"\w+\{(\w+),", entry)[1] for entry in entries}
    text = (ROOT / "paper.md").read_text("utf-8")
    assert keys == set(re.findall(r"(?<![\w.])@(\w+)", text))
    for entry in entries:
        assert re.search(r"doi\s+= \{10\.\d{4,5}/\S+\}", entry), entry
        assert entry.count("{") == entry.count("}")


def test_the_citation_names_what_the_package_is():
    citation = load(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == read_ini("setup.cfg")["metadata"]["license_expression"]
    assert all(reference["doi"].startswith("10.") for reference in citation["references"])


def test_contributing_names_every_environment_of_tox_and_files_that_are_there():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    for job in JOBS.values():
        assert f"`tox -e {environments_of(job)[0]}`" in text
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (ROOT / target).exists(), target


def test_an_inventory_out_of_reach_is_no_warning_and_anything_else_is(monkeypatch):
    pytest.importorskip("sphinx_astropy")
    monkeypatch.setattr(sys, "path", [*sys.path])
    conf = runpy.run_path(str(ROOT / "docs" / "conf.py"))
    assert conf["intersphinx_mapping"].keys() == {"python", "numpy", "astropy", "ccdproc"}
    levels = []
    for text in ("failed to reach any of the inventories with the following issues:\n%s", "other"):
        record = logging.LogRecord("sphinx", logging.WARNING, "", 0, text, None, None)
        assert conf["_offline_is_no_fault"](record)
        levels.append(record.levelname)
    assert levels == ["INFO", "WARNING"]
