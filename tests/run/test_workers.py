"""Whoever does the work, and whoever dies of it: the same products, and nothing lost."""

import errno
import gc
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ccdprofiles import known_profiles, reduce_night, verify_night
from ccdprofiles.errors import FrameRejected, InputError, OutputError
from ccdprofiles.run import processes as our_processes
from ccdprofiles.run.processes import process_pool
from ccdprofiles.run.workers import Workers, workers_of
from ccdprofiles.simulate import simulate_night, windowed

FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Task:
    """A job that does what its files say."""

    files: tuple[str, ...]
    held: int = 0

    def split(self):
        return [Task((file,)) for file in self.files]

    def run(self, mapped=map):
        for file in self.files:
            if file == "killer":
                os.kill(os.getpid(), signal.SIGKILL)
            if file.startswith("once:") and not os.path.exists(file[5:]):
                open(file[5:], "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
            if file == "refused":
                raise FrameRejected("no", "it is refused.")
        return [file.upper() for file in mapped(str, self.files)]


def outcomes(workers, tasks):
    for task in tasks:
        workers.submit(task)
    return {job.files: outcome for job, outcome in workers.finished()}


@pytest.fixture
def processes():
    with ProcessPoolExecutor(2, mp_context=FORK) as pool:
        yield pool


def test_jobs_are_done_by_threads():
    with Workers(2) as workers:
        found = outcomes(workers, [Task((f"f{n}",)) for n in range(20)])
    assert found == {(f"f{n}",): [f"F{n}"] for n in range(20)}


def test_a_refusal_is_given_back_and_the_others_go_on(processes):
    for executor in (None, processes):
        with Workers(2, executor) as workers:
            found = outcomes(workers, [Task(("a",)), Task(("refused",)), Task(("b",))])
        assert str(found["refused",]) == "it is refused."
        assert (found["a",], found["b",]) == (["A"], ["B"])


def test_a_job_may_give_out_more_jobs():
    with Workers(2) as workers:
        workers.submit(Task(("a",)))
        seen = []
        for job, _ in workers.finished():
            seen.append(job.files[0])
            if len(seen) < 5:
                workers.submit(Task((job.files[0] + "a",)))
    assert seen == ["a", "aa", "aaa", "aaaa", "aaaaa"]


def test_a_worker_that_is_killed_loses_nothing(processes, tmp_path):
    """Whatever was under way is done again, by a pool like the one that broke."""
    tasks = [Task((f"f{n}", f"once:{tmp_path / str(n)}" if n == 3 else "x")) for n in range(12)]
    with Workers(2, processes) as workers:
        found = outcomes(workers, tasks)
        assert workers.lost == 1
    assert [files[0] for files in sorted(found)] == sorted(f"f{n}" for n in range(12))
    assert all(isinstance(outcome, list) for outcome in found.values())


class Doomed(ProcessPoolExecutor):
    """A pool whose workers die just before it is given one more job."""

    at = -1

    def submit(self, *job):
        Doomed.at -= 1
        if Doomed.at == 0:
            for pid in list(self._processes):
                os.kill(pid, signal.SIGKILL)
            assert until(lambda: self._broken)
        return super().submit(*job)


@pytest.mark.parametrize("busy", [True, False])
def test_workers_that_die_before_a_job_is_given_out_lose_nothing(busy):
    """The jobs that were under way tell of it, or there was none."""
    with Doomed(2, mp_context=FORK) as pool, Workers(2, pool) as workers:
        found = outcomes(workers, [Task(("first",))])
        Doomed.at = 3 if busy else 1
        found |= outcomes(workers, [Task((f"f{n}",)) for n in range(8)])
    assert sorted(files[0] for files in found) == sorted([f"f{n}" for n in range(8)] + ["first"])
    assert all(isinstance(outcome, list) for outcome in found.values())
    assert workers.lost == 1


def test_a_frame_that_kills_twice_is_set_aside_and_no_other(processes):
    tasks = [Task((f"f{n}", f"g{n}")) for n in range(5)] + [Task(("h", "killer", "i"))]
    with Workers(2, processes) as workers:
        found = outcomes(workers, tasks)
    refused = found.pop(("killer",))
    assert refused.code == "killed-worker"
    assert "died twice while working on it" in str(refused)
    assert sorted(file for files in found for file in files) == sorted(
        [f"{letter}{n}" for n in range(5) for letter in "fg"] + ["h", "i"]
    )
    assert all(isinstance(outcome, list) for outcome in found.values())


def test_bands_are_left_only_when_all_are_done():
    """A file that is given up must not be written to by a band that comes late."""
    done = []

    def band(n):
        if n == 0:
            raise ValueError("the first")
        time.sleep(0.05)
        done.append(n)

    with Workers(4) as workers, pytest.raises(ValueError, match="the first"):
        workers._mapped(band, range(4))
    before = list(done)
    time.sleep(0.2)
    assert done == before


def test_a_run_that_is_interrupted_ends_soon(usual_signals):
    class Long(Task):
        def run(self, mapped=map):
            return mapped(lambda n: time.sleep(0.02), range(2000))

    def interrupted():
        with Workers(2) as workers:
            threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
            outcomes(workers, [Long(("a",))])

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - start < 5


def test_workers_are_counted():
    assert workers_of(None, 3) == 3
    assert workers_of(None, 0) >= 1
    with ThreadPoolExecutor(5) as pool:
        assert workers_of(pool, 0) == 5


# Whole nights.


def sums(folder):
    """The SHA-256 of every product."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.fits"))
    }


@pytest.fixture(scope="module", params=["lfc", "kosmos", "proem"])
def night(request, tmp_path_factory):
    """A small night with overscan, one with several amplifiers and functions, one without either."""
    folder = tmp_path_factory.mktemp(request.param)
    profile = known_profiles()[request.param]
    truth = simulate_night(windowed(profile, 60, 80), folder / "raw", seed=3)
    reduce_night(folder / "raw", folder / "one", profile=truth.known, jobs=1)
    return folder / "raw", truth.known, sums(folder / "one")


@pytest.mark.parametrize("jobs", [2, 8])
def test_threads_make_the_same_bytes(night, tmp_path, jobs):
    raw, profile, wanted = night
    reduce_night(raw, tmp_path / "out", profile=profile, jobs=jobs)
    assert sums(tmp_path / "out") == wanted


@pytest.mark.parametrize("number", [1, 2, 8])
def test_processes_make_the_same_bytes(night, tmp_path, number):
    raw, profile, wanted = night
    with ProcessPoolExecutor(number, mp_context=FORK) as pool:
        made = reduce_night(raw, tmp_path / "out", profile=profile, executor=pool)
    assert sums(tmp_path / "out") == wanted
    assert made.ok


@pytest.mark.parametrize("number", [2, 3])
def test_masters_that_are_shared_out_have_the_same_bytes(night, tmp_path, monkeypatch, number):
    """Levels of flats and bands of rows come from several workers."""
    raw, profile, wanted = night
    monkeypatch.setattr("ccdprofiles.run.jobs.LARGE", 0)
    with ProcessPoolExecutor(number, mp_context=FORK) as pool:
        made = reduce_night(raw, tmp_path / "out", profile=profile, executor=pool)
    assert sums(tmp_path / "out") == wanted
    assert made.ok
    assert not list((tmp_path / "out").rglob(".*.tmp"))


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_share_blames_the_file_that_the_disk_refused(night, tmp_path, monkeypatch, kind):
    raw, profile, _ = night

    def refused(*args, **how):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("ccdprofiles.run.jobs.LARGE", 0)
    if kind == "read":
        monkeypatch.setattr("ccdprofiles.reduce.inputs.JobInputs.band", refused)
    else:
        monkeypatch.setattr("ccdprofiles.reduce.parts.Part._place", refused)
    error = OSError if kind == "read" else OutputError
    with ThreadPoolExecutor(2) as pool, pytest.raises(error, match="Input/output") as told:
        reduce_night(raw, tmp_path / "out", profile=profile, executor=pool)
    assert isinstance(told.value, OutputError) == (kind == "write")
    assert not list((tmp_path / "out").rglob(".*-*.tmp"))


@pytest.mark.parametrize("pause", [0.0, 0.02, 0.05])
def test_workers_that_are_telling_their_results_keep_nobody_waiting(pause):
    """Half a result is left in the pipe when a worker is ended."""

    def interrupted():
        with process_pool(2) as pool:
            for _ in range(8):
                pool.submit(bytes, 30_000_000)
            time.sleep(pause)
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - began < 20


def test_ctrl_c_waits_until_the_processes_are_there(usual_signals, monkeypatch):
    """It came while they were forked, and was lost, or ended them."""
    real = our_processes._begun

    def begun(number):
        os.kill(os.getpid(), signal.SIGINT)
        pool = real(number)
        assert pool.submit(int).result() == 0
        return pool

    def interrupted():
        with process_pool(1):
            raise AssertionError("Ctrl-C was lost")

    monkeypatch.setattr(our_processes, "_begun", begun)
    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_processes_that_die_as_they_begin_are_done_without(monkeypatch):
    monkeypatch.setattr(our_processes, "_settle", os.abort)
    with process_pool(1) as pool:
        assert pool is None


def test_our_own_processes_make_the_same_bytes(night, tmp_path, monkeypatch):
    """As a large night has them: they are forked from a server, and run no script again."""
    raw, profile, wanted = night
    monkeypatch.setattr("ccdprofiles.run.processes._LEAST", 0)
    monkeypatch.setattr("ccdprofiles.run.jobs.LARGE", 0)
    made = reduce_night(raw, tmp_path / "out", profile=profile, jobs=2)
    assert sums(tmp_path / "out") == wanted
    assert made.ok


def test_the_caller_keeps_its_garbage_collector(night, tmp_path, monkeypatch):
    """Workers look for no garbage in what they were born with; a caller is not their process."""
    raw, profile, _ = night
    monkeypatch.setattr("ccdprofiles.run.processes._LEAST", 0)
    before = gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()
    reduce_night(raw, tmp_path / "out", profile=profile, jobs=2)
    assert (gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()) == before
    with process_pool(1) as pool:
        assert pool.submit(gc.get_freeze_count).result() > 10_000
        assert pool.submit(gc.isenabled).result()


def test_processes_that_know_nothing_make_the_same_bytes(night, tmp_path):
    """A profile may hold functions, which do not travel to a process begun afresh."""
    raw, profile, wanted = night
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        reduce_night(raw, tmp_path / "out", profile=profile, executor=pool)
    assert sums(tmp_path / "out") == wanted


def test_an_executor_of_threads_makes_the_same_bytes(night, tmp_path):
    raw, profile, wanted = night
    with ThreadPoolExecutor(3) as pool:
        reduce_night(raw, tmp_path / "out", profile=profile, executor=pool)
        assert pool.submit(int, "1").result() == 1, "a pool that was lent is not shut down"
    assert sums(tmp_path / "out") == wanted


def kill_when(found, pids):
    """Kill a process once something is there, and tell its number."""

    def watch():
        for _ in range(2000):
            if found() and (there := pids()):
                os.kill(there[0], signal.SIGKILL)
                killed.append(there[0])
                return
            time.sleep(0.005)

    killed = []
    thread = threading.Thread(target=watch)
    thread.start()
    return thread, killed


def test_a_process_killed_in_the_middle_loses_nothing(night, tmp_path):
    raw, profile, wanted = night
    out = tmp_path / "out"
    with ProcessPoolExecutor(2, mp_context=FORK) as pool:
        pids = lambda: list(pool._processes)  # noqa: E731
        pool.submit(int).result()
        thread, _ = kill_when(lambda: list(out.glob("masters/*.fits")), pids)
        made = reduce_night(raw, out, profile=profile, executor=pool)
        thread.join()
    assert sums(out) == wanted
    assert made.ok
    assert not list(out.rglob(".*.tmp"))


def test_a_frame_that_kills_its_worker_has_its_row(night, tmp_path, monkeypatch):
    """The worker dies twice of one science frame; all others are as they were."""
    import ccdprofiles.run.jobs as jobs

    raw, profile, wanted = night
    plain = jobs.measure
    victim = sorted(path.name for path in raw.rglob("*.fits"))[-1]

    def deadly(raw, *more, **options):
        if raw.path.name == victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(raw, *more, **options)

    monkeypatch.setattr(jobs, "measure", deadly)
    with ProcessPoolExecutor(2, mp_context=FORK) as pool:
        made = reduce_night(raw, tmp_path / "out", profile=profile, executor=pool)
    (row,) = [r for r in made.frames if r["file"].endswith(victim)]
    assert (row["verdict"], row["code"]) == ("set aside", "killed-worker")
    assert len(made.frames) == len(list(raw.rglob("*.fits")))
    same = {name for name, value in sums(tmp_path / "out").items() if wanted[name] == value}
    assert same


# A cluster of dask.distributed, on the loopback address.


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    ) as made:
        yield made


def test_a_cluster_makes_the_same_bytes(night, cluster, tmp_path):
    raw, profile, wanted = night
    made = reduce_night(raw, tmp_path / "out", profile=profile, dask=cluster.scheduler_address)
    assert sums(tmp_path / "out") == wanted
    assert made.ok


def test_a_worker_of_a_cluster_killed_in_the_middle_loses_nothing(night, cluster, tmp_path):
    raw, profile, wanted = night
    out = tmp_path / "out"
    pids = lambda: [w.pid for w in cluster.workers.values() if w.pid]  # noqa: E731
    thread, killed = kill_when(lambda: list(out.glob("masters/*.fits")), pids)
    made = reduce_night(raw, out, profile=profile, dask=cluster.scheduler_address)
    thread.join()
    assert sums(out) == wanted
    assert made.ok
    assert killed, "no worker was killed"
    for _ in range(400):
        # Another takes its place, which may take a busy machine long; one is enough to go on.
        if pids() and killed[0] not in pids():
            return
        time.sleep(0.05)
    raise AssertionError("the cluster did not notice that its worker was killed")


def test_a_cluster_that_is_not_there_is_refused(night, tmp_path, monkeypatch):
    raw, profile, _ = night
    monkeypatch.setattr("ccdprofiles.run.cluster._PATIENCE", 0.3)
    with pytest.raises(InputError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:1 "):
        reduce_night(raw, tmp_path / "out", profile=profile, dask="tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    "told", ["nonsense", "localhost", "", "foo://a:1", "tcp://a:99999", "no.json", "odd.json", 3]
)
def test_what_is_no_address_is_refused_before_anything_is_made(night, tmp_path, monkeypatch, told):
    """A client of dask.distributed would wait for ever at its end."""
    raw, profile, _ = night
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.json").write_text("[1]")
    with pytest.raises(InputError, match=r"not the address of a scheduler|scheduler file"):
        reduce_night(raw, tmp_path / "out", profile=profile, dask=told)
    assert not (tmp_path / "out").exists()


def test_tls_without_a_certificate_is_refused():
    pytest.importorskip("distributed")
    from ccdprofiles.run.cluster import connected

    with pytest.raises(InputError, match="dask has no certificate"), connected("tls://a:1"):
        pass


def test_a_scheduler_file_tells_the_address(tmp_path):
    from ccdprofiles.run.cluster import address_of

    told = tmp_path / "scheduler.json"
    told.write_text('{"type": "Scheduler", "address": "tcp://127.0.0.1:8786"}')
    assert address_of(str(told)) == "tcp://127.0.0.1:8786"
    assert address_of("[::1]:8786") == "[::1]:8786"


def test_workers_that_see_other_folders_are_refused(cluster, tmp_path):
    from distributed import Client

    from ccdprofiles.run.cluster import check_paths

    (tmp_path / "here").touch()
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        check_paths(client, [tmp_path / "here"])
        with pytest.raises(InputError, match=r"cannot access .*gone; move night and output to"):
            check_paths(client, [tmp_path / "here", tmp_path / "gone"])


def test_an_executor_and_a_cluster_are_one_too_many(night, tmp_path):
    raw, profile, _ = night
    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(InputError, match="only one can run the jobs"),
    ):
        reduce_night(raw, tmp_path, profile=profile, executor=pool, dask="tcp://127.0.0.1:1")


@pytest.mark.parametrize("odd", [{"executor": 3}, {"cosmic_rays": 3}, {"cosmic_rays": "off"}])
def test_an_executor_or_cosmic_rays_of_another_kind_are_refused(night, tmp_path, odd):
    raw, profile, _ = night
    ((name, value),) = odd.items()
    with pytest.raises(InputError, match=rf"{name}={value!r} is n"):
        reduce_night(raw, tmp_path / "out", profile=profile, **odd)
    assert not (tmp_path / "out").exists()


def test_workers_that_are_gone_end_the_run(tmp_path):
    """As when a cluster goes down: finished products are kept."""

    class Gone(ThreadPoolExecutor):
        def submit(self, *job):
            future = super().submit(time.sleep, 0)
            future.cancel()
            future.cancelled = lambda: True
            return future

    with Gone(1) as pool, Workers(1, pool) as workers:
        workers.submit(Task(("a",)))
        with pytest.raises(OutputError, match="the workers have ended"):
            list(workers.finished())


# Our own processes, as a script and a terminal see them.

SCRIPT = """
import sys
import ccdprofiles.run.jobs, ccdprofiles.run.processes
ccdprofiles.run.processes._LEAST = ccdprofiles.run.jobs.LARGE = 0
print("begun", flush=True)
from ccdprofiles.cli.command import main
sys.exit(main(["reduce", *sys.argv[1:], "-q", "-j", "2"]))
"""


@pytest.fixture
def begun(usual_signals, tmp_path):
    """Begin a run of a script without a guard, in a process group of its own."""
    profile = windowed(known_profiles()["lfc"], 500, 400)
    truth = simulate_night(profile, tmp_path / "raw", seed=5)
    script = tmp_path / "reduce.py"
    script.write_text(SCRIPT)
    camera = tmp_path / "camera.py"
    camera.write_text(
        "from ccdprofiles import known_profiles\n"
        "from ccdprofiles.simulate import windowed\n"
        'profile = windowed(known_profiles()["lfc"], 500, 400)\n'
    )
    started = []

    def begin(out):
        command = [sys.executable, script, truth.folder, "-o", out, "--profile", camera]
        process = subprocess.Popen(
            [*map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def in_session(number):
    """The processes of a session, by the table that Linux keeps."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == number and fields[0] != "Z":
                found.append(int(entry))
    return found


def until(true, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return False


linux = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs the table of Linux")


@linux
def test_a_script_runs_once_and_leaves_no_process(begun, tmp_path):
    process = begun(tmp_path / "out")
    told, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert told.count("begun") == 1
    assert until(lambda: not in_session(process.pid))


UNGUARDED = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
from ccdprofiles import reduce_night
spawn = multiprocessing.get_context("spawn")
with ProcessPoolExecutor(2, mp_context=spawn) as pool:
    reduce_night(sys.argv[1], sys.argv[2], executor=pool)
"""


def test_a_script_without_a_guard_is_told_of_it(tmp_path):
    """Its processes would run it again, and each end in an error; no frame is to blame."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "unguarded.py").write_text(UNGUARDED)
    command = [sys.executable, tmp_path / "unguarded.py", tmp_path / "raw", tmp_path / "out"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ccdprofiles.errors.InputError: the processes of the executor end as soon"
    )
    assert 'under if __name__ == "__main__":' in last
    assert not (tmp_path / "out").exists()


@linux
def test_processes_go_when_the_one_that_leads_them_is_killed(begun, tmp_path):
    whole = begun(tmp_path / "whole")
    whole.communicate(timeout=60)
    process = begun(tmp_path / "out")
    assert until(lambda: list((tmp_path / "out").glob("masters/*.fits")), 60)
    assert len(in_session(process.pid)) >= 3
    process.kill()
    process.communicate()
    assert until(lambda: not in_session(process.pid))
    again = begun(tmp_path / "out")
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert sums(tmp_path / "out") == sums(tmp_path / "whole")
    assert not list((tmp_path / "out").rglob(".*.tmp"))


@linux
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_processes_in_seconds(begun, tmp_path, name):
    number = getattr(signal, name)
    process = begun(tmp_path / "out")
    assert until(lambda: list((tmp_path / "out").glob("masters/*.fits")), 60)
    start = time.monotonic()
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert time.monotonic() - start < 5
    how = "interrupted" if name == "SIGINT" else f"ended by {name}"
    assert errors == f"ccdprofiles: {how}; finished products are kept; run it again to continue.\n"
    assert until(lambda: not in_session(process.pid))
    left = {p.name for p in (tmp_path / "out").rglob(".*")}
    assert left == {".ccdprofiles.lock"}


# A system that gives no more memory, threads or processes.


class Greedy(Task):
    """A job for which memory runs out beside others, or always."""

    def run(self, mapped=map):
        if self.files[0] == "beside" and Greedy.tries == 0:
            Greedy.tries = 1
            raise MemoryError
        if self.files[0] == "always":
            raise np._core._exceptions._ArrayMemoryError((10**9,), np.dtype("f8"))
        return super().run(mapped)


def test_memory_that_runs_out_leaves_one_worker(caplog):
    Greedy.tries = 0
    with Workers(4) as workers:
        found = outcomes(workers, [Task((f"f{n}",)) for n in range(6)] + [Greedy(("beside",))])
        assert workers.number == 1
    assert len(found) == 7
    assert found["beside",] == ["BESIDE"]
    assert "continues with one worker" in caplog.text


@pytest.mark.parametrize("number", [1, 3])
def test_memory_that_runs_out_for_one_worker_ends_the_run(number):
    with (
        Workers(number) as workers,
        pytest.raises(OutputError, match="not enough memory for always"),
    ):
        outcomes(workers, [Task(("a",)), Greedy(("always",)), Task(("b",))])


def test_memory_that_runs_out_in_a_process_ends_the_run(processes):
    with (
        Workers(2, processes) as workers,
        pytest.raises(OutputError, match="not enough memory for"),
    ):
        outcomes(workers, [Task(("a",)), Greedy(("always",)), Task(("b",))])


NOT_STARTED = [
    BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
    RuntimeError("can't start new thread"),
    MemoryError(),
]


@pytest.mark.parametrize("error", NOT_STARTED, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("given", [0, 1, 3])
def test_threads_that_do_not_start_are_done_without(monkeypatch, given, error):
    """The night is reduced by those there are, down to the one that asks."""
    left, start = [given], threading.Thread.start

    def refused(thread):
        if not left[0]:
            raise error
        left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with Workers(4) as workers:
        found = outcomes(workers, [Task((f"f{n}", "g")) for n in range(9)])
    assert found == {(f"f{n}", "g"): [f"F{n}", "G"] for n in range(9)}


def test_a_night_is_reduced_without_a_thread(night, tmp_path, monkeypatch):
    """Nor does writing, hashing, closing or importing wait for one."""
    raw, profile, wanted = night

    def refused(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("ccdprofiles.run.processes._LEAST", 0)
    monkeypatch.setattr(threading.Thread, "start", refused)
    reduce_night(raw, tmp_path / "out", profile=profile, jobs=4)
    assert sums(tmp_path / "out") == wanted
    assert verify_night(tmp_path / "out").ok


@pytest.mark.parametrize("error", NOT_STARTED, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("given", [0, 1])
def test_processes_that_do_not_start_are_done_without(monkeypatch, given, error):
    before = set(multiprocessing.active_children())
    left, start = [given], multiprocessing.process.BaseProcess.start

    def refused(process):
        if not left[0]:
            raise error
        left[0] -= 1
        start(process)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refused)
    with process_pool(4) as pool:
        assert (pool is None) == (given == 0)
        if pool is not None:
            assert pool.submit(str, 5).result() == "5"
            assert len(pool._processes) == 1
    assert set(multiprocessing.active_children()) <= before


def test_a_pool_whose_thread_cannot_talk_keeps_nobody_waiting(monkeypatch, capfd):
    """The thread that passes jobs on starts one more; it ended, and the answer never came."""
    before = set(multiprocessing.active_children())

    def refused(queue):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(multiprocessing.queues.Queue, "_start_thread", refused)
    with process_pool(2) as pool:
        assert pool is None
    assert set(multiprocessing.active_children()) <= before
    assert capfd.readouterr().err == ""


def test_an_executor_that_does_not_start_is_refused(monkeypatch, tmp_path):
    def refused(process):
        raise NOT_STARTED[0]

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refused)
    pool = ProcessPoolExecutor(2, mp_context=FORK)
    with pytest.raises(InputError, match=r"cannot be started .*ulimit -u"):
        reduce_night(tmp_path, tmp_path / "out", executor=pool)
    pool.shutdown(wait=False)


def test_a_signal_that_another_thread_receives_waits_too(usual_signals):
    """Python runs its handler in the main thread, whose mask does not keep it."""
    over, done = threading.Event(), []
    thread = threading.Thread(target=over.wait)
    thread.start()

    def begin():
        with our_processes._uninterrupted():
            signal.pthread_kill(thread.ident, signal.SIGINT)
            time.sleep(0.02)
            done.append("undisturbed")

    try:
        with pytest.raises(KeyboardInterrupt):
            begin()
    finally:
        over.set()
        thread.join()
    assert done == ["undisturbed"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
