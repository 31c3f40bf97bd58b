"""What is built from the checkout holds the profiles, and works where it is installed.

Nothing here needs the network: what the package depends on is lent from the
environment that runs the tests.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import ccdprofiles
from ccdprofiles.camera.profile_file import read_profiles

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("ccdprofiles", "profiles", "tests", "docs", "benchmarks")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "_build", "api", "work", ".*")
SHIPPED = {p.name for f in (ROOT / "profiles").glob("[!_]*.py") for p in read_profiles(f)}
BESIDE = ("lfc-mask.fits", "lfc-mask.fits.gz", "lfc-linearity.ecsv", "lfc-linearity.csv")
"""Files that the recipe of a profile may name."""


def missing() -> str:
    """Say what keeps the package from being built here, if anything does."""
    if not (ROOT / "setup.cfg").is_file():
        return "the tests are not in a checkout or an sdist"
    try:
        metadata.version("build"), metadata.version("pip")
        setuptools = metadata.version("setuptools")
    except metadata.PackageNotFoundError as error:
        return f"{error.name} is not installed; the extra test holds it"
    old = int(setuptools.partition(".")[0]) < 77
    return f"setuptools {setuptools} is older than 77" if old else ""


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


def run(*command: object, cwd: Path) -> str:
    """Run a command away from the checkout and return all that it says."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "COV"))}
    ended = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        # No profiles but the shipped ones: those of the user live below these.
        env=kept | {"HOME": str(cwd), "XDG_CONFIG_HOME": str(cwd), "PIP_CONFIG_FILE": os.devnull},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def build(source: Path, kind: str, into: Path) -> tuple[Path, str]:
    """Build a wheel or an sdist, and return it and the log."""
    into.mkdir(exist_ok=True)
    command = (sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", into)
    log = run(*command, source, cwd=into)
    (built,) = into.iterdir()
    return built, log


def copy_of_checkout(folder: Path) -> Path:
    """Copy what a fresh clone holds: a build leaves folders behind."""
    folder.mkdir()
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, folder)
        elif path.name in FOLDERS:
            shutil.copytree(path, folder / path.name, ignore=LEFT_OUT)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    source = copy_of_checkout(tmp_path_factory.mktemp("checkout") / "ccdprofiles")
    for name in BESIDE:
        (source / "profiles" / name).write_text("made up")
    return source


@pytest.fixture(scope="module")
def sdist(source, tmp_path_factory):
    return build(source, "sdist", tmp_path_factory.mktemp("sdist") / "dist")


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    return build(source, "wheel", tmp_path_factory.mktemp("wheel") / "dist")


@pytest.fixture(scope="module")
def wheel_of_sdist(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist[0]) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return build(unpacked, "wheel", folder / "dist")


@pytest.fixture(scope="module")
def lent(tmp_path_factory):
    """A folder with all that is installed here, except ccdprofiles."""
    folder = tmp_path_factory.mktemp("lent")
    for site in sys.path:
        if Path(site).name not in ("site-packages", "dist-packages"):
            continue
        for path in Path(site).iterdir():
            link = folder / path.name
            if "ccdprofiles" in path.name or path.suffix == ".pth" or link.exists():
                continue
            try:
                link.symlink_to(path)
            except OSError:
                pytest.skip("this system makes no symbolic links")
    return folder


class Environment:
    """A fresh environment, in which nothing is installed but what a test installs."""

    def __init__(self, folder: Path, lent: Path):
        self.folder = folder
        venv.create(folder, with_pip=False)
        windows = os.name == "nt"
        self.scripts = folder / ("Scripts" if windows else "bin")
        self.python = self.scripts / "python"
        found = self("-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
        self.site = Path(found.strip())
        (self.site / "lent.pth").write_text(f"{lent}\n", encoding="utf-8")

    def __call__(self, *arguments: object) -> str:
        return run(self.python, *arguments, cwd=self.folder)

    def install(self, *what: object) -> None:
        pip = (sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet")
        offline = ("--no-index", "--no-deps", "--no-build-isolation", "--no-compile")
        run(*pip, *offline, *what, cwd=self.folder)

    def profiles(self) -> set[str]:
        """List the profiles with the command, and make sure that the module lists the same."""
        listed = run(self.scripts / "ccdprofiles", "profiles", cwd=self.folder)
        assert self("-m", "ccdprofiles", "profiles") == listed
        return {line.split()[0] for line in listed.splitlines()}

    def home_of_package(self) -> Path:
        return Path(self("-c", "import ccdprofiles; print(ccdprofiles.__file__)").strip()).parent


@pytest.fixture
def environment(tmp_path, lent):
    return Environment(tmp_path / "environment", lent)


def members(wheel: Path) -> set[str]:
    """Name the files of a wheel, without those that say what it is."""
    names = zipfile.ZipFile(wheel).namelist()
    return {name for name in names if ".dist-info/" not in name}


def in_wheel(source: Path) -> set[str]:
    """Name the files that a wheel should hold."""
    package = source / "ccdprofiles"
    files = [*package.rglob("*.py"), package / "py.typed"]
    modules = {p.relative_to(source).as_posix() for p in files}
    return modules | {f"ccdprofiles/profiles/{p.name}" for p in (source / "profiles").glob("*.*")}


def test_the_wheel_holds_the_package_and_the_profiles(source, wheel):
    assert members(wheel[0]) == in_wheel(source)
    assert {"ccdprofiles/profiles/lfc.py", "ccdprofiles/py.typed"} <= set(members(wheel[0]))
    assert {f"ccdprofiles/profiles/{name}" for name in BESIDE} <= members(wheel[0])


def test_the_wheel_of_the_sdist_is_that_of_the_checkout(wheel, wheel_of_sdist):
    assert members(wheel_of_sdist[0]) == members(wheel[0])


def test_the_sdist_holds_what_its_tests_and_pages_need(source, sdist):
    with tarfile.open(sdist[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for folder in FOLDERS:
        files = {p.relative_to(source).as_posix() for p in (source / folder).rglob("*.*")}
        assert files <= names
    assert {n for n in names if n.endswith(".header")}
    assert {"LICENSE", "CHANGES.rst", "CITATION.cff", "README.md", "tox.ini"} <= names
    assert not {n for n in names if n.endswith(".pyc") or n.startswith(("docs/api", "docs/_b"))}


def test_the_build_has_nothing_to_complain_of(sdist, wheel, wheel_of_sdist):
    for _, log in (sdist, wheel, wheel_of_sdist):
        assert "deprecat" not in log.lower()
        assert "no files found" not in log


@pytest.mark.parametrize("kind", ["wheel", "wheel_of_sdist"])
def test_an_installed_wheel_finds_the_profiles(kind, request, environment):
    environment.install(request.getfixturevalue(kind)[0])
    assert environment.home_of_package() == environment.site / "ccdprofiles"
    assert environment.profiles() == SHIPPED
    assert "LFC" in environment("-c", "import ccdprofiles.profiles.lfc as m; print(m.profile)")


def test_an_editable_install_finds_a_new_profile_without_another_install(tmp_path, environment):
    source = copy_of_checkout(tmp_path / "checkout")
    environment.install("--editable", source)
    assert environment.home_of_package() == source / "ccdprofiles"
    assert environment.profiles() == SHIPPED
    lfc = (source / "profiles" / "lfc.py").read_text(encoding="utf-8")
    new = lfc.replace('instrument="LFC"', 'instrument="NEWCAM"')
    (source / "profiles" / "newcam.py").write_text(new, encoding="utf-8")
    assert environment.profiles() == SHIPPED | {"newcam"}


def test_the_version_is_the_same_everywhere(wheel):
    version = ccdprofiles.__version__
    assert wheel[0].name == f"ccdprofiles-{version}-py3-none-any.whl"
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == version
    changes = (ROOT / "CHANGES.rst").read_text(encoding="utf-8")
    assert re.search(r"^\d\S*", changes, re.MULTILINE)[0] == version
