"""The benchmarks run, and do not count what went wrong."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from ccdprofiles import simulate_night

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(
    not BENCHMARKS.is_dir(), reason="an installed package has no benchmarks"
)


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def nights():
    return load("nights")


def run(name, *arguments):
    command = [sys.executable, str(BENCHMARKS / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_steps_says_where_the_time_went(tmp_path):
    simulate_night("sbo", tmp_path / "night", shape=(700, 700))
    told = run("steps.py", tmp_path / "night", "--work", tmp_path)
    assert "files found" in told
    assert "by function" in told
    for phase in ("scan", "masters", "science", "report"):
        assert f"\n{phase}" in told
    # What it made is gone again.
    assert [p.name for p in tmp_path.iterdir()] == ["night"]


def test_combining_finds_nothing_clipped_wrongly(tmp_path):
    told = run("combining.py", "--size", 96, "--rounds", 1, "--no-guide", "--work", tmp_path)
    assert told.count("; 0 pixels were decided otherwise") == 2
    clipped = [int(line.split()[0]) for line in told.splitlines() if "are clipped" in line]
    assert all(clipped)


def found(status=0, sigma=0.1, level=0.99):
    runs = [{"wall": 2.0, "cpu": 3.0, "rss": 100.0, "status": status}]
    return {
        "files": 10,
        "raw": 2e9,
        "made": 4e9,
        "runs": {"guide": runs, "ours": runs},
        "tree": {"ours": {"pss": 120.0, "processes": 1, "status": 0}},
        "agreement": {"frames": 4, "sigma": sigma, "level": level},
    }


def test_a_benchmark_counts_where_all_went_well(nights):
    assert nights._wrong({"A": found()}) == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"status": 1}, "A: guide failed"),
        ({"sigma": 3.0}, "A: 0.1 % of our pixels lie more than 3 sigma from the guide's"),
        ({"sigma": float("nan")}, "A: 0.1 % of our pixels lie more than nan sigma"),
        ({"level": 1.2}, "A: our level is 1 / 1.2000 of the guide's"),
    ],
)
def test_a_benchmark_does_not_count_where_something_went_wrong(nights, wrong, sentence):
    assert nights._wrong({"A": found(**wrong)})[0].startswith(sentence)


def test_the_cost_of_a_frame_is_what_the_storage_and_the_cores_must_give(nights):
    _, _, row = nights._cost({"A": found()}).splitlines()
    night, seconds, read, written, core, *cores = row.split()
    assert (night, seconds, read, written, core) == ("A", "0.300", "200.00", "400.00", "2000")
    # 2 GB/s a core: half a core, two and a half, and ten move 1, 5 and 20 GB/s.
    assert cores == ["0.5", "2.5", "10.0"]


def test_a_frame_is_shifted_into_another_one_of_the_same_kind(nights, tmp_path):
    pixels = np.arange(200, dtype="u2").reshape(20, 10)
    header = fits.Header({"OBSERVER": "make_night", "EXPTIME": 3.0})
    fits.writeto(tmp_path / "one.fits", pixels, header)
    nights._shifted(tmp_path / "one.fits", tmp_path / "two.fits", 2)
    data, said = fits.getdata(tmp_path / "two.fits", header=True)
    assert np.array_equal(data, np.roll(pixels, 4, axis=0))
    assert (said["OBSERVER"], said["EXPTIME"]) == ("make_00002", 3.0)


def test_a_process_is_measured_for_itself(nights):
    big = b"x" * (200 * 2**20)
    run = nights._timed(
        [sys.executable, "-S", "-c", "import sys, time; time.sleep(0.1); sys.exit(3)"]
    )
    assert len(big) / 2**20 > 100 > run["rss"] > 1
    assert run["status"] == 3
    assert run["wall"] >= 0.1
    assert run["cpu"] > 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_memory_of_children_is_counted(nights):
    child = "import time; x = bytearray(60 * 2**20); time.sleep(1)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    alone = nights._memory([sys.executable, "-c", child])
    both = nights._memory([sys.executable, "-c", code])
    assert (alone["processes"], both["processes"]) == (1, 2)
    assert both["pss"] > alone["pss"] > 60


def test_a_break_changes_one_place_and_names_its_line():
    mutations = load("mutations")
    tree = ast.parse("def f(a: 3, b):\n    return not a < b and a + 2 > 1\n")
    kinds = dict(mutations.breaks(tree))
    assert sorted(kinds.values()) == sorted(
        ["and/or", "not", "comparison", "comparison", "arithmetic", "number", "number"]
    )
    for number in kinds:
        changed, line, before, after = mutations.broken(tree, number)
        assert line == 2
        assert before != after
        assert ast.dump(changed) != ast.dump(tree)
