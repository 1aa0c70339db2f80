"""The queue: every job once, in order, a failed one tried again and reported, whatever is killed in between."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from itertools import repeat
from pathlib import Path

import pytest

from hardy.attacks import PGD, Linf
from hardy.describe import describe
from hardy.errors import StoppedError, UsageError
from hardy.files import WriteError, locked
from hardy.jobs import Evaluate, Here, Place, Train, run_jobs, state_of
from hardy.jobs.beside import Beside
from hardy.jobs.measure import test_images as images_of
from hardy.jobs.runner import LostError, Runner, on_each_gpu
from hardy.models import small_cnn
from hardy.recipes import recipe
from hardy.results import read
from hardy.training.optim import SGD
from hardy.training.progress import Watch
from hardy.training.state import Folder

RUN = dataclasses.replace(recipe("standard-digits"), model=small_cnn(width=2), epochs=1, precision="float32")


def jobs_of(tmp_path, run=RUN):
    train = Train(run, str(tmp_path / "runs"))
    return train, Evaluate(train, "pgd", PGD(Linf(0.1), 1), 10)


def test_a_job_is_named_by_all_that_determines_its_run(tmp_path):
    names = {
        jobs_of(tmp_path, dataclasses.replace(RUN, **change))[0].name for change in ({}, {"seed": 1}, {"batch": 8})
    }
    assert len(names) == 3
    assert all("/" not in name for name in names)


def test_a_result_belongs_to_its_weights_attack_and_images(tmp_path):
    train, evaluate = jobs_of(tmp_path)
    for job in (train, evaluate):
        assert not job.done()
        job.execute(Place(), _silent())
        assert job.done()
    row = evaluate.result()
    assert row.n == 10
    lines = (train.folder / "results.jsonl").read_text().splitlines()
    evaluate.execute(Place(), _silent())
    assert (train.folder / "results.jsonl").read_text().splitlines() == lines
    for other in ({"n": 9}, {"attack": PGD(Linf(0.1), 2)}, {"attack": None}, {"precision": "bfloat16"}):
        assert not dataclasses.replace(evaluate, **other).done()
    longer = Train(dataclasses.replace(RUN, epochs=2), str(tmp_path / "runs"))
    assert not longer.done()
    train.weights.unlink()
    assert not train.done()
    assert not evaluate.done()


def test_what_was_measured_of_half_trained_weights_is_no_result(tmp_path):
    train, evaluate = jobs_of(tmp_path)
    Folder(train.folder, RUN, (1, 16, 16), "0123456789", {"steps": 20})._save(
        train.weights, RUN.model.build(10, 1).state_dict(), 5
    )
    evaluate.execute(Place(), Watch())
    assert len(read(train.folder / "results.jsonl")[0]) == 1
    assert evaluate.result() is None
    assert not evaluate.done()


def test_weights_of_data_that_are_unknown_are_refused_by_name(tmp_path):
    for data in ({"type": "Nowhere"}, 3):
        with pytest.raises(UsageError, match=r"^w\.safetensors names data that this version does not know: .+"):
            images_of({"data": data}, Path("w.safetensors"), None, offline=True)


def _silent():
    return Watch()


@pytest.mark.slow
def test_every_job_is_done_once_and_what_failed_twice_is_reported_while_others_go_on(tmp_path):
    wrong = dataclasses.replace(RUN, name="wrong", optimizer=SGD(lr=1e30))
    bad, after_bad = jobs_of(tmp_path, wrong)
    good, after_good = jobs_of(tmp_path)
    notes: list[str] = []
    failures = run_jobs([bad, after_bad, good, after_good], tmp_path / "jobs", [Here(Place())], notes.append)
    assert [failure.job for failure in failures] == [bad.name, after_bad.name]
    assert "not finite" in failures[0].said
    assert "not finite" in failures[0].log.read_text()
    assert failures[1].said == f"it needs {bad.name}"
    assert sum(bad.name in note and "failed" not in note for note in notes) == 2  # it was tried twice
    assert (bad.done(), good.done(), after_good.done()) == (False, True, True)
    states = [state_of(job, tmp_path / "jobs") for job in (bad, after_bad, good, after_good)]
    assert states == ["failed", "waiting", "done", "done"]
    # again: nothing that is done runs a second time
    before = (good.folder / "results.jsonl").read_bytes(), good.weights.stat().st_mtime_ns
    assert run_jobs([good, after_good], tmp_path / "jobs", [Here(Place())], notes.append) == []
    assert ((good.folder / "results.jsonl").read_bytes(), good.weights.stat().st_mtime_ns) == before


@pytest.mark.slow
def test_two_places_share_the_jobs_of_one_queue(tmp_path):
    jobs = [job for seed in (0, 1) for job in jobs_of(tmp_path, dataclasses.replace(RUN, seed=seed))]
    notes: list[str] = []
    assert run_jobs(jobs, tmp_path / "jobs", [Here(Place()), Here(Place())], notes.append) == []
    assert all(job.done() for job in jobs)
    assert sorted(note.split(": ")[1] for note in notes) == sorted(job.name for job in jobs)


def test_a_job_that_another_process_does_is_running_and_left_to_it(tmp_path):
    train, _ = jobs_of(tmp_path)
    assert state_of(train, tmp_path) == "waiting"
    lock = Beside.of(train, tmp_path).lock
    with locked(lock, "busy"):
        assert state_of(train, tmp_path) == "running"
    assert state_of(train, tmp_path) == "waiting"


PARENT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from jobs.test_queue import RUN, jobs_of
import dataclasses
from hardy.errors import StoppedError
from hardy.jobs import Here, Place, run_jobs
long = dataclasses.replace(RUN, epochs=int(sys.argv[3]))
try:
    jobs = list(jobs_of(Path(sys.argv[1]), long))
    run_jobs(jobs, Path(sys.argv[1]) / "jobs", [Here(Place())], lambda line: print(line, flush=True))
except StoppedError as error:
    print(error, flush=True)
    sys.exit(128 + error.signal)
"""


def parent(tmp_path, epochs):
    args = [sys.executable, "-c", PARENT, str(tmp_path), str(Path(__file__).parents[1]), str(epochs)]
    return subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_until(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_a_stopped_queue_saves_the_job_under_way_and_goes_on_when_given_again(tmp_path):
    long = dataclasses.replace(RUN, epochs=3_000)
    train, _ = jobs_of(tmp_path, long)
    first = parent(tmp_path, 3_000)
    wait_until(train.weights.exists)
    first.send_signal(signal.SIGINT)
    said = first.communicate()[0]
    assert first.returncode == 128 + signal.SIGINT, said
    assert "Stopped with 2 of 2 jobs left; the same command goes on." in said
    log = (tmp_path / "jobs" / f"{train.name}.log").read_text()
    assert "saved in" in log
    assert "Traceback" not in log + said


@pytest.mark.slow
def test_a_killed_queue_leaves_no_job_behind_and_another_takes_over(tmp_path):
    long = dataclasses.replace(RUN, epochs=60)
    train, evaluate = jobs_of(tmp_path, long)
    first = parent(tmp_path, 60)
    wait_until((tmp_path / "jobs" / f"{train.name}.lock").exists)
    first.kill()
    first.communicate()
    second = parent(tmp_path, 60)
    said = second.communicate()[0]
    assert second.returncode == 0, said
    assert train.done()
    assert evaluate.done()
    assert len((train.folder / "results.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_two_queues_at_once_do_no_job_twice(tmp_path):
    train, evaluate = jobs_of(tmp_path, dataclasses.replace(RUN, epochs=20))
    queues = [parent(tmp_path, 20) for _ in range(2)]
    for queue in queues:
        said = queue.communicate()[0]
        assert queue.returncode == 0, said
    for job in (train, evaluate):
        assert job.done()
        assert (tmp_path / "jobs" / f"{job.name}.log").read_text().count("begins") == 1
    assert len((train.folder / "results.jsonl").read_text().splitlines()) == 1


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(WriteError, match=r"The folder .* could not be made"):
        run_jobs([jobs_of(tmp_path)[0]], tmp_path / "file" / "jobs", [Here(Place())])


def test_what_breaks_in_a_worker_ends_the_queue_with_that_error(tmp_path, monkeypatch):
    def broken(*args):
        raise WriteError("no room")

    monkeypatch.setattr("hardy.jobs.runner.Here.run", broken)
    with pytest.raises(WriteError, match="no room"):
        run_jobs([jobs_of(tmp_path)[0]], tmp_path / "jobs", [Here(Place())])


def test_files_in_the_way_end_the_queue_with_an_error_that_names_them(tmp_path):
    train, _ = jobs_of(tmp_path)
    lock = Beside.of(train, tmp_path / "jobs").lock
    lock.mkdir(parents=True)
    with pytest.raises(WriteError, match=re.escape(str(lock))):
        run_jobs([train], tmp_path / "jobs", [Here(Place())])


def test_a_worker_whose_queue_is_gone_before_it_looks_ends_at_once(tmp_path):
    train, _ = jobs_of(tmp_path, dataclasses.replace(RUN, epochs=30_000))
    told = tmp_path / "job.json"
    place = {"data_root": None, "offline": True, "device": "cpu"}
    told.write_text(json.dumps({"job": describe(train), "place": place}))
    gone = subprocess.run([sys.executable, "-m", "hardy.jobs.work", str(told), "0"], check=False, timeout=120)
    assert gone.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert not train.done()


@pytest.mark.slow
def test_a_workers_modules_are_not_taken_from_the_folder_where_the_user_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("json.py").write_text("raise SystemExit('mine')")
    train, _ = jobs_of(tmp_path)
    assert run_jobs([train], tmp_path / "jobs", [Here(Place())]) == []
    assert train.done()


def test_an_end_that_was_asked_for_is_an_error_of_its_own(tmp_path, monkeypatch):
    train, _ = jobs_of(tmp_path)
    sent = iter([signal.SIGINT])

    def run(*args):
        os.kill(os.getpid(), next(sent, 0))  # 0 is no signal
        time.sleep(0.05)
        return 75

    monkeypatch.setattr("hardy.jobs.runner.Here.run", run)
    with pytest.raises(StoppedError, match="Stopped with 1 of 1 jobs left"):
        run_jobs([train], tmp_path / "jobs", [Here(Place())])


def test_a_device_that_was_asked_for_is_the_only_place(monkeypatch):
    assert [here.place for here in on_each_gpu(Place(device="cpu"))] == [Place(device="cpu")]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert [here.place for here in on_each_gpu(Place(offline=True))] == [
        Place(offline=True, device="cuda:0"),
        Place(offline=True, device="cuda:1"),
    ]


class Scripted(Runner):
    """A runner that does what it is told, job by job: an exit code, an error, or to do the job in truth."""

    def __init__(self, steps, lag=0.0):
        self.steps, self.lag, self.ran = steps, lag, []

    def run(self, job, beside):
        self.ran.append(job.name)
        beside.log.touch()
        step = next(self.steps)
        if isinstance(step, Exception):
            raise step
        return step(job) if callable(step) else step

    def stop(self):
        pass


def do(job) -> int:
    job.execute(Place(device="cpu"), Watch())
    return 0


def test_a_job_whose_machine_is_lost_goes_on_and_so_does_one_that_another_process_did_meanwhile(tmp_path):
    train, evaluate = jobs_of(tmp_path)
    notes: list[str] = []
    runner = Scripted(iter([LostError("gone"), 75, LostError("gone"), do, 1, do]))
    assert run_jobs([train, evaluate], tmp_path / "jobs", [runner], notes.append) == []
    assert runner.ran == [train.name] * 4 + [evaluate.name] * 2
    assert notes[:3] == [f"1 of 2: {train.name}", f"{train.name}: gone", f"1 of 2: {train.name} again"]
    assert evaluate.done()


def test_a_job_that_loses_every_machine_has_failed_with_those_that_need_it(tmp_path):
    train, evaluate = jobs_of(tmp_path)
    runner = Scripted(repeat(LostError("gone")))
    failures = run_jobs([train, evaluate], tmp_path / "jobs", [runner])
    assert [(failure.job, failure.said) for failure in failures] == [
        (train.name, "gone"), (evaluate.name, f"it needs {train.name}")
    ]  # fmt: skip
    assert len(runner.ran) == 5
    assert state_of(train, tmp_path / "jobs") == "failed"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (-9, "its process was ended by signal 9 (Killed)"),
        (0, "its process ended well, but what it made is not to be seen"),
    ],
)
def test_a_job_that_says_nothing_of_its_failure_is_told_of_by_how_its_process_ended(tmp_path, code, said):
    train, _ = jobs_of(tmp_path)
    beside = Beside.of(train, tmp_path / "jobs")
    beside.log.parent.mkdir()
    beside.log.write_text('{"kind": "train"}\n')
    (failure,) = run_jobs([train], tmp_path / "jobs", [Scripted(repeat(code))])
    assert (failure.said, failure.log) == (said, beside.log)
    assert beside.failed.read_text() == said + "\n"


def test_what_a_job_needs_is_done_without_being_named(tmp_path):
    train, evaluate = jobs_of(tmp_path)
    runner = Scripted(repeat(1))
    failures = run_jobs([evaluate, evaluate], tmp_path / "jobs", [runner])
    assert [failure.job for failure in failures] == [train.name, evaluate.name]
    assert runner.ran == [train.name] * 2


def test_what_another_queue_does_is_told_once_and_waited_for(tmp_path):
    train, _ = jobs_of(tmp_path)
    life = Beside.of(train, tmp_path / "jobs").life
    life.parent.mkdir()
    life.write_text(json.dumps({"host": "node7", "kernel": "another", "process": 3}))
    threading.Timer(1.2, life.unlink).start()
    notes: list[str] = []
    run_jobs([train], tmp_path / "jobs", [Scripted(repeat(1))], notes.append)
    assert notes[:2] == [f"{train.name} is under way on node7, and waited for.", f"1 of 1: {train.name}"]
    assert sum("waited for" in note for note in notes) == 1


def test_what_a_job_made_may_be_seen_late_where_the_runner_says_so(tmp_path):
    train, _ = jobs_of(tmp_path)

    def late(job) -> int:
        threading.Timer(0.2, do, (job,)).start()
        return 0

    assert run_jobs([train], tmp_path / "jobs", [Scripted(iter([late]), lag=30)]) == []
    assert run_jobs([train], tmp_path / "jobs", [Scripted(iter([]))]) == []


def test_many_runners_begin_all_that_can_be_done_at_once(tmp_path):
    seeds = [jobs_of(tmp_path, dataclasses.replace(RUN, seed=seed)) for seed in (0, 1)]
    both = threading.Barrier(2, timeout=60)

    def together(job) -> int:
        both.wait()
        return do(job)

    steps = iter([together] * 4)
    runners = [Scripted(steps) for _ in range(4)]
    assert run_jobs([job for pair in seeds for job in pair], tmp_path / "jobs", runners) == []
    assert all(job.done() for pair in seeds for job in pair)
