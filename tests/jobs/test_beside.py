"""How a job stands, by the files beside it: what another machine does is told by its signs of life alone."""

import json
import os
import time

import pytest

from hardy.files import locked
from hardy.jobs import Place, state_of
from hardy.jobs.beside import STALE, Beside, comes
from jobs.test_queue import jobs_of


@pytest.fixture
def job(tmp_path):
    return jobs_of(tmp_path / "runs")[0]


def sign(beside: Beside, age: float, **changes) -> None:
    """A sign of life of a process on another machine, so many seconds ago."""
    beside.life.write_text(json.dumps({"host": "node7", "kernel": "another", "process": 3} | changes))
    os.utime(beside.life, times=(time.time() - age,) * 2)


def test_a_job_that_another_machine_does_is_running_there_as_long_as_it_gives_signs_of_life(job, tmp_path):
    beside = Beside.of(job, tmp_path)
    sign(beside, age=STALE - 20)
    assert (state_of(job, tmp_path), beside.runner(), beside.elsewhere()) == ("running", "node7", True)
    sign(beside, age=STALE + 1)
    assert (state_of(job, tmp_path), beside.runner(), beside.elsewhere()) == ("waiting", None, False)


def test_a_sign_of_life_of_a_killed_process_here_does_not_count_as_its_lock_is_free(job, tmp_path):
    beside = Beside.of(job, tmp_path)
    with beside.alive():
        kernel = json.loads(beside.life.read_text())["kernel"]
    sign(beside, age=0, kernel=kernel)
    assert (state_of(job, tmp_path), beside.elsewhere()) == ("waiting", False)


def test_a_lock_that_a_lost_machine_left_behind_is_told_of(job, tmp_path):
    beside = Beside.of(job, tmp_path)
    sign(beside, age=12 * 60)
    with locked(beside.lock, ""):
        assert beside.runner() == "node7, without a sign of life for 12 minutes"


def test_signs_of_life_are_given_until_the_end(job, tmp_path, monkeypatch):
    monkeypatch.setattr("hardy.jobs.beside.BEAT", 0.01)
    beside = Beside.of(job, tmp_path)
    with beside.alive():
        assert json.loads(beside.life.read_text())["process"] == os.getpid()
        os.utime(beside.life, times=(1, 1))
        assert comes(lambda: beside.life.stat().st_mtime > 1, 10)
    assert not beside.life.exists()


def test_the_end_of_a_log_is_its_last_line_with_words(job, tmp_path):
    beside = Beside.of(job, tmp_path)
    beside.log.write_text("first\nlast\n\n")
    assert beside.said() == "last"
    beside.log.write_text("\n")
    assert beside.said() == "it said nothing"


def test_a_description_holds_the_job_and_its_place(job, tmp_path):
    beside = Beside.of(job, tmp_path)
    beside.tell(job, Place(tmp_path, offline=True, device="cuda"))
    told = json.loads(beside.told.read_text())
    assert told["place"] == {"data_root": str(tmp_path), "offline": True, "device": "cuda"}


def test_what_comes_late_is_waited_for_and_what_does_not_is_not():
    seen = iter([False, True])
    assert comes(lambda: next(seen), 10)
    assert not comes(lambda: False, 0)
