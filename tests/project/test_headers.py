"""Many headers: each file is opened once, and little is added to reading it."""

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ccdprofiles.files.cards import Cards
from ccdprofiles.night import scan_night
from ccdprofiles.plan.frames import ACCEPTED, frames_table
from ccdprofiles.plan.planner import make_plan

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PROFILES = sorted((BENCHMARKS / "profiles").glob("*.py"))
NUMBER = 2000

pytestmark = pytest.mark.skipif(not PROFILES, reason="the benchmarks are not here")


@pytest.fixture(scope="module")
def headers():
    """The benchmark that makes many headers."""
    spec = importlib.util.spec_from_file_location("headers", BENCHMARKS / "headers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(headers, tmp_path_factory):
    made = tmp_path_factory.mktemp("many") / "night"
    assert headers.make(made, NUMBER) == NUMBER
    return made


def test_every_frame_is_understood(folder):
    frames = scan_night(folder, profiles=PROFILES)
    assert {f.verdict for f in frames} == {ACCEPTED}
    assert len({f.profile.name for f in frames}) == 10
    assert len(frames[0].header) == 59  # and END
    plan = make_plan(frames)
    assert plan.complete
    used = {i.file for m in plan.masters for i in m.inputs}
    used |= {p.input.file for p in plan.products}
    unwanted = {f.file for f in frames if (f.profile.name, f.type) == ("lfc", "bias")}
    assert used | unwanted == {f.file for f in frames}
    assert not used & unwanted
    table = frames_table(frames)
    assert len(table) == NUMBER
    assert set(table["type"]) == {"bias", "dark", "flat", "science"}


def test_a_file_is_opened_once(folder):
    code = f"""
import sys
opened = []
def hook(event, args):
    if event == "open" and {str(folder)!r} in str(args[0]):
        opened.append(str(args[0]))
sys.addaudithook(hook)
from ccdprofiles.night import plan_night
plan_night({str(folder)!r}, profiles={[str(p) for p in PROFILES]!r})
print(len(opened), len(set(opened)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(NUMBER)] * 2


def test_a_header_costs_little_more_than_its_reading(folder, headers):
    """About 15 times a plain read of the blocks; a library that parses whole headers, 100 times."""
    ratios = []
    for _ in range(3):
        start = time.perf_counter()
        headers.plain_read(folder)
        read = time.perf_counter()
        make_plan(scan_night(folder, profiles=PROFILES))
        ratios.append((time.perf_counter() - read) / (read - start))
    assert min(ratios) < 60


def cards(*lines):
    return Cards(b"".join(line.encode().ljust(80) for line in lines))


def test_headers_of_one_layout_keep_their_own_values():
    first = cards("EXPTIME =                  3.0", "FILTER  = 'r       '")
    second = cards("EXPTIME =                  7.0", "FILTER  = 'i       '")
    assert (first["EXPTIME"], first["filter"]) == (3.0, "r")
    assert (second["EXPTIME"], second["filter"]) == (7.0, "i")


def test_long_keywords_share_no_layout():
    first = cards("HIERARCH ESO DET GAIN = 1", "GAIN    = 2")
    second = cards("HIERARCH ESO DET RON = 3", "GAIN    = 4")
    assert (first["ESO DET GAIN"], first["HIERARCH ESO DET GAIN"], first["GAIN"]) == (1, 1, 2)
    assert "ESO DET GAIN" not in second
    assert (second["ESO DET RON"], second["GAIN"]) == (3, 4)


def test_a_keyword_that_stands_three_times_says_two_things_if_any_differs():
    line = "FILTER  = '{}'".format
    assert cards(line("r"), line("r"), line("r")).conflicting == set()
    assert cards(line("r"), line("i"), line("r")).conflicting == {"FILTER"}
    assert cards(line("r"), line("r"), line("i")).conflicting == {"FILTER"}
    assert cards(line("r"), line("r"), line("i"))["FILTER"] == "r"
