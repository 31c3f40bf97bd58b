"""Jobs name what follows them, and can be pickled."""

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from types import SimpleNamespace

import by_hand
import pytest

from ccdprofiles import Flat, known_profiles, plan_night
from ccdprofiles.errors import FrameRejected
from ccdprofiles.plan.plan import Input
from ccdprofiles.plan.scan import scan
from ccdprofiles.reduce.flat_levels import FlatLevel
from ccdprofiles.reduce.parts import Part
from ccdprofiles.run import jobs
from ccdprofiles.run.jobs import FlatLevelsJob, MasterJob, RowsJob, first_jobs
from ccdprofiles.run.runstate import RunState, Settings
from ccdprofiles.simulate import simulate_night, windowed


def request(kind, frames=4, shape=(40, 10), own_noise=False):
    return SimpleNamespace(
        master=SimpleNamespace(type=kind),
        chosen=tuple(Input(f"f{n}") for n in range(frames)),
        shape=shape,
        measures_own_noise=own_noise,
    )


def test_a_small_master_or_one_that_is_not_divided_is_one_job(monkeypatch):
    assert [type(job) for job in first_jobs(request("flat"), 3)] == [MasterJob]
    monkeypatch.setattr(jobs, "LARGE", 0)
    assert [type(job) for job in first_jobs(request("flat"), 0)] == [MasterJob]
    assert [type(job) for job in first_jobs(request("dark", own_noise=True), 3)] == [MasterJob]


def test_flat_levels_are_followed_by_rows_and_rows_by_the_master(monkeypatch, tmp_path):
    monkeypatch.setattr(jobs, "LARGE", 0)
    flat = request("flat")
    begun = first_jobs(flat, 3)
    assert [type(job) for job in begun] == [FlatLevelsJob] * 2
    assert [i.file for job in begun for i in job.chosen] == ["f0", "f1", "f2", "f3"]
    levels = [{i.file: FlatLevel(1.0) for i in job.chosen} for job in begun]
    rows = begun[0].following(levels, 3)
    assert [type(job) for job in rows] == [RowsJob] * 3
    assert [job.rows for job in rows] == [(0, 16), (16, 32), (32, 40)]
    assert all(set(job.levels) == {"f0", "f1", "f2", "f3"} for job in rows)
    parts = [Part(tmp_path, tmp_path, *job.rows, 10) for job in rows]
    (last,) = rows[0].following(parts[::-1], 3)
    assert isinstance(last, MasterJob)
    assert list(last.parts) == parts
    assert all(job.request is flat for job in (*begun, *rows, last))


def test_biases_begin_with_their_rows(monkeypatch):
    monkeypatch.setattr(jobs, "LARGE", 0)
    assert [job.levels for job in first_jobs(request("bias"), 2)] == [None, None]


def test_a_frame_that_changes_while_its_master_is_shared_costs_itself(monkeypatch, tmp_path):
    """The rows of the first attempt are removed, and do not stand in the way of the second."""
    raw, masters = tmp_path / "raw", tmp_path / "out" / "masters"
    by_hand.write_some(raw, "bias", 5, 100)
    lock, real, left, calls = threading.Lock(), jobs.combine_part, [], []

    def changed_meanwhile(*args):
        with lock:
            calls.append(args)
            if len(calls) == 2:
                os.utime(raw / "bias3.fits", ns=(1, 1))
            left.append(len(list(masters.glob(".*.tmp"))))
            return real(*args)

    monkeypatch.setattr(jobs, "LARGE", 0)
    monkeypatch.setattr(jobs, "combine_part", changed_meanwhile)
    with ThreadPoolExecutor(2) as pool:
        made = by_hand.reduce_night(raw, tmp_path / "out", profile=by_hand.camera(), executor=pool)
    assert list(made.set_aside["file"]) == ["bias3.fits"]
    assert list(made.set_aside["code"]) == ["changed"]
    assert len(made.masters) == 1
    assert left[:4] == [0, 1, 0, 1]
    assert not list(masters.glob(".*.tmp"))


def test_rows_of_a_flat_that_is_refused_when_it_is_whole_are_removed(monkeypatch, tmp_path):
    def refused(*args):
        raise FrameRejected("flat-level", "its good pixels have no light.")

    by_hand.write_some(tmp_path / "raw", "bias", 3, 100)
    by_hand.write_some(tmp_path / "raw", "flat", 3, 20_000, 1.0)
    monkeypatch.setattr(jobs, "LARGE", 0)
    monkeypatch.setattr("ccdprofiles.reduce.masters.flat_norm", refused)
    removed, remove = [], Part.remove
    monkeypatch.setattr(Part, "remove", lambda part: (removed.append(part), remove(part)))
    with ThreadPoolExecutor(2) as pool:
        profile = by_hand.camera(flat=Flat())
        made = by_hand.reduce_night(
            tmp_path / "raw", tmp_path / "out", profile=profile, executor=pool
        )
    assert len(made.masters) == 1
    assert "its good pixels have no light" in str(made)
    assert not list((tmp_path / "out" / "masters").glob(".*.tmp"))
    assert len(removed) == 4


def test_the_inputs_of_a_job_can_be_pickled_and_hold_only_its_frames(tmp_path):
    truth = simulate_night(windowed(known_profiles()["lfc"], 40, 40), tmp_path / "raw", seed=3)
    plan = plan_night(tmp_path / "raw", profile=truth.known)
    frames = [f for f in scan(tmp_path / "raw", None, forced=truth.known) if f.raw is not None]
    state = RunState(plan, frames, Settings(tmp_path / "out"))
    master = plan.masters[0]
    for chosen in master.inputs:
        state.measured[chosen.file] = jobs.look_at(state.frames[chosen.file])
    inputs = state.job_inputs(master.inputs)
    same = pickle.loads(pickle.dumps(inputs))
    assert set(same.frames) == set(same.measured) == {i.file for i in master.inputs}
    assert all(f.raw.path.is_absolute() for f in same.frames.values())
    with pytest.raises(FrozenInstanceError):
        inputs.frames = {}
