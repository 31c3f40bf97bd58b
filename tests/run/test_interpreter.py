"""The private parts of concurrent.futures that a run relies on still do what it needs."""

import multiprocessing
import os
import time
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from ccdprofiles.run.interpreter import first_answer, has_ended, kill_processes, renewed, size_of

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
    children = set(multiprocessing.active_children())
    assert children
    kill_processes(pool)
    assert not any(child.is_alive() for child in children)


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
