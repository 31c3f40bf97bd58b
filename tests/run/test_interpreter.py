"""What a run sets and uses of the interpreter does what it needs, and is not needed to run."""

import gc
import multiprocessing
import os
import platform
import subprocess
import sys
import threading
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import forkserver

import pytest

from ccdprofiles.errors import InputError
from ccdprofiles.files.threads import Threads
from ccdprofiles.night import plan_night, reduce_night, scan_night
from ccdprofiles.run import interpreter
from ccdprofiles.run.interpreter import (
    FewerProcesses,
    NotStarted,
    end_server,
    first_answer,
    has_ended,
    kill_processes,
    leave_uncollected,
    renewed,
    size_of,
    stop_results,
)

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def pool():
    with ProcessPoolExecutor(2, mp_context=FORK, initializer=os.nice, initargs=(0,)) as made:
        first_answer(made)
        yield made


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


def test_processes_are_killed_and_waited_for(pool):
    children = set(pool._processes.values())
    assert children
    kill_processes(pool)
    # The thread of the pool waits for them, too, and may still be writing down that they ended.
    assert until(lambda: not any(child.is_alive() for child in children))


def test_the_thread_of_a_broken_pool_has_ended(pool):
    assert not has_ended(pool)
    kill_processes(pool)
    assert until(lambda: has_ended(pool))


def test_a_renewed_pool_is_like_the_one_that_broke(pool):
    with pytest.raises(BrokenExecutor):
        pool.submit(os._exit, 1).result()
    with renewed(pool) as other:
        assert type(other) is type(pool)
        assert size_of(other) == 2
        assert other.submit(multiprocessing.get_start_method).result()


def test_the_size_of_an_executor_is_known_or_none():
    with ThreadPoolExecutor(5) as pool:
        assert size_of(pool) == 5
    assert size_of(None) is None
    assert size_of(object()) is None


def output_of(script):
    # Dask sets the allocator's variables of all processes that follow.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=plain)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


PAGES = """
import resource, sys
import numpy as np
from ccdprofiles.run.interpreter import keep_memory

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = new_pages()
keep_memory()
new_pages()
print(before, new_pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc returns them each time")
def test_memory_of_a_band_is_kept_for_the_next():
    before, after = map(int, output_of(PAGES))
    assert after < before / 10


def test_a_process_without_memory_to_keep_goes_on(monkeypatch):
    def refused(size):
        raise MemoryError

    monkeypatch.setattr(interpreter, "bytes", refused, raising=False)
    interpreter.keep_memory.__wrapped__()


def test_what_is_imported_for_good_is_never_collected():
    told = output_of(
        "import gc; from ccdprofiles.run.interpreter import import_for_good\n"
        "import_for_good(['ccdprofiles.run.run'])\n"
        "import sys; print(gc.isenabled(), gc.get_freeze_count() > 50_000)"
    )
    assert told == ["True", "True"]


def test_the_collector_is_on_after_an_import_that_fails():
    with pytest.raises(ModuleNotFoundError):
        interpreter.import_for_good(["ccdprofiles.none"])
    assert gc.isenabled()


def test_the_collector_is_paused_only_in_the_block():
    with interpreter.collector_paused():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_a_collector_that_the_caller_switched_off_stays_off():
    gc.disable()
    try:
        with interpreter.collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_night_is_read_and_planned_without_collections(tmp_path, monkeypatch):
    """And with them again afterwards, also where the night cannot be read."""
    seen = []

    def noted(self, *args):
        seen.append(gc.isenabled())
        raise InputError("enough")

    monkeypatch.setattr("ccdprofiles.plan.request.NightRequest.scan", noted)
    for read in (
        lambda: scan_night(tmp_path),
        lambda: plan_night(tmp_path),
        lambda: reduce_night(tmp_path, tmp_path.parent / "out"),
    ):
        with pytest.raises(InputError, match="enough"):
            read()
    assert seen == [False] * 3
    assert gc.isenabled()


def test_what_was_there_is_left_uncollected():
    assert output_of(
        "import gc; from ccdprofiles.run.interpreter import leave_uncollected\n"
        "before = gc.get_freeze_count(); leave_uncollected(); print(before, gc.get_freeze_count() > 1000)"
    ) == ["0", "True"]


def test_an_interpreter_without_a_freezer_collects(monkeypatch):
    monkeypatch.delattr(gc, "freeze")
    leave_uncollected()


def test_a_pool_starts_with_the_processes_that_it_gets(monkeypatch):
    left, start = [1], multiprocessing.process.BaseProcess.start

    def limited(process):
        if not left:
            raise BlockingIOError
        left.pop()
        start(process)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", limited)
    with FewerProcesses(3, mp_context=FORK) as pool:
        assert [*pool.map(abs, [-1, -2, -3])] == [1, 2, 3]
        assert len(pool._processes) == 1


def test_threads_are_those_that_start(monkeypatch):
    left, start = [1], threading.Thread.start

    def limited(thread):
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with Threads(3) as pool:
        assert [*pool.map(abs, [-1, -2, -3])] == [1, 2, 3]
        assert len(pool._threads) == 1


def test_a_pool_that_is_killed_while_it_sends_results_is_left(pool):
    """Without the end of the pipe its thread would wait for the rest of a result."""
    future = pool.submit(time.sleep, 60)
    kill_processes(pool)
    stop_results(pool)
    assert pool._result_queue._writer.closed
    assert isinstance(future.exception(20), BrokenExecutor)


def test_the_server_is_killed():
    told = output_of(
        "import multiprocessing, os\n"
        "from multiprocessing import forkserver\n"
        "from ccdprofiles.run.interpreter import end_server\n"
        "end_server()\n"
        "forkserver.ensure_running()\n"
        "pid = forkserver._forkserver._forkserver_pid\n"
        "end_server()\n"
        "try: os.kill(pid, 0)\n"
        "except ProcessLookupError: print('ended')"
    )
    assert told == ["ended"]


def test_a_pool_whose_thread_ended_is_noticed(monkeypatch, capfd):
    def refused(queue):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(multiprocessing.queues.Queue, "_start_thread", refused)
    pool = ProcessPoolExecutor(1, mp_context=FORK)
    with pytest.raises(NotStarted, match="the thread that communicates with them ended"):
        first_answer(pool)
    kill_processes(pool)
    assert capfd.readouterr().err == ""


# Another version of Python, whose pools keep what they need under other names.


class OtherPool(ProcessPoolExecutor):
    """A pool whose private parts are not to be seen from outside the standard library."""

    HIDDEN = frozenset(
        [
            "_processes",
            "_result_queue",
            "_executor_manager_thread",
            "_max_workers",
            "_mp_context",
            "_initializer",
            "_initargs",
            "_client",
        ]
    )

    def __getattribute__(self, name):
        if name in OtherPool.HIDDEN and sys._getframe(1).f_globals is vars(interpreter):
            raise AttributeError(name)
        return super().__getattribute__(name)


def test_a_pool_with_other_names_works_and_ends():
    with OtherPool(1, mp_context=FORK) as pool:
        first_answer(pool)
        assert not has_ended(pool)
        assert size_of(pool) is None
        kill_processes(pool)
        stop_results(pool)
        assert pool.submit(int).result() == 0


def test_a_pool_with_other_names_that_broke_is_not_renewed():
    with OtherPool(1, mp_context=FORK) as pool:
        with pytest.raises(BrokenExecutor):
            pool.submit(os._exit, 1).result()
        with pytest.raises(NotStarted, match="this version of Python cannot renew a pool"):
            renewed(pool)


def test_a_server_with_another_name_is_left(monkeypatch):
    monkeypatch.delattr(forkserver, "_forkserver")
    end_server()


@pytest.mark.parametrize("hook", ["_spawn_process", "_adjust_thread_count"])
def test_pools_whose_hook_is_never_called_work(hook):
    """As if the standard library called it by another name."""
    kind = FewerProcesses if hook == "_spawn_process" else Threads
    base = kind.__mro__[1]
    plain = type("Plain", (kind,), {hook: getattr(base, hook)})
    named = {"mp_context": FORK} if base is ProcessPoolExecutor else {}
    with plain(2, **named) as pool:
        assert pool.submit(abs, -3).result() == 3
