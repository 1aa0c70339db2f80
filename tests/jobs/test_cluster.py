"""Jobs on a real Ray cluster of two nodes on this machine: a killed worker, a killed node, an end that is asked for."""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file

import hardy
from cli.commands import run
from hardy.errors import FailedError, UsageError
from hardy.jobs import Place
from hardy.jobs.beside import Beside
from hardy.jobs.cluster import OnRay, check_address, on_ray
from jobs.test_queue import RUN, jobs_of

TESTS = Path(__file__).parents[1]
LONG = 100  # epochs, of which each takes a part of a second: enough to be killed in the middle


class Machines(NamedTuple):
    """Where a cluster is. environment: of a process that finds it by $RAY_ADDRESS."""

    client: str
    environment: dict[str, str]


@pytest.fixture(scope="module")
def machines():
    """A cluster that is gone afterwards."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ray-")  # pytest's own folders have names too long for sockets
    environment = {
        **os.environ, "RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1",
        "RAY_worker_niceness": "0",  # Ray has its workers yield to all else; tests of other files would starve them
        "PYTHONPATH": os.pathsep.join([str(Path(hardy.__file__).parents[1]), str(TESTS)]),
    }  # fmt: skip
    command = [sys.executable, str(Path(__file__).with_name("ray_machines.py")), str(port)]
    with (Path(folder) / "said").open("w") as said:
        held = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True, env=environment
        )
    try:
        address = held.stdout.readline().strip()
        assert address, (Path(folder) / "said").read_text()
        yield Machines(f"ray://127.0.0.1:{port}", {**environment, "RAY_ADDRESS": address})
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            held.communicate(timeout=60)  # closes its input
        for process in of_folder(folder):  # what is still there: all of Ray's name their folder
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        held.kill()
        held.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def of_folder(folder) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [int(path.parent.name)] if folder.encode() in path.read_bytes() else []
    return found


def begun(command, environment) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=TESTS
    )


QUEUE = """
import dataclasses, sys
from pathlib import Path
from hardy.errors import StoppedError
from hardy.jobs import Place, run_jobs
from hardy.jobs.cluster import on_ray
from jobs.test_queue import RUN, jobs_of
out, address, epochs = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
jobs = list(jobs_of(out, dataclasses.replace(RUN, epochs=epochs)))
note = lambda line: print(line, flush=True)
try:
    with on_ray(address, Place(), out / "jobs", len(jobs), note) as runners:
        run_jobs(jobs, out / "jobs", runners, note)
except StoppedError as error:
    print(error, flush=True)
    sys.exit(128 + error.signal)
"""


def wait_until(condition, process, seconds=400):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])


def epochs_of(train, tmp_path) -> int:
    """How many epochs of a training its log tells of."""
    log = Beside.of(train, tmp_path / "jobs").log
    return log.read_text().count('"kind": "train"') if log.exists() else 0


def doing(life: Path) -> int:
    """The process that does a job."""
    return json.loads(life.read_text())["process"]


@pytest.mark.slow
def test_a_killed_worker_of_a_cluster_makes_no_other_table_and_the_status_tells_of_it(machines, tmp_path, capsys):
    table = ["table", "rlfat-1b", "--scale", "smoke", "--rows", "PGDAT", "--out"]
    command = [sys.executable, "-m", "hardy", *table, str(tmp_path / "ray"), "--on", "ray"]
    queue = begun(command, machines.environment)
    folder = tmp_path / "ray" / "smoke" / "jobs"
    wait_until(lambda: list(folder.glob("*.life")), queue)
    (life,) = folder.glob("*.life")
    os.kill(parent_of(doing(life)), signal.SIGKILL)  # Ray's worker; its child follows
    status = run(capsys, *table, tmp_path / "ray", "--status")
    said = queue.communicate()[0]
    assert queue.returncode == 0, said
    assert f"{life.stem}: its process or machine was lost (WorkerCrashedError)" in said
    assert f"{life.stem} again" in said
    assert "raylet" not in said
    assert "Ray: machines: 2; jobs at a time: 2." in said
    assert "0 of 5 jobs are done" in status.err
    assert "0 failed" in status.err
    after = run(capsys, *table, tmp_path / "ray", "--status")
    assert "5 of 5 jobs are done, 0 running, 0 failed, 0 left." in after.err
    assert sorted(path.name for path in (tmp_path / "ray" / "smoke").iterdir() if path.name.startswith(".")) == []
    assert run(capsys, *table, tmp_path / "here", "--device", "cpu").code == 0
    on_cluster, here = (rows(tmp_path / name / "smoke" / "rlfat-1b" / "results.jsonl") for name in ("ray", "here"))
    assert on_cluster == here
    assert len(here) == 4


def rows(file: Path) -> list[dict]:
    timed = ("seconds", "seconds_total", "when")
    return [
        {k: v for k, v in json.loads(line).items() if k not in timed and not isinstance(v, dict)}
        for line in file.read_text().splitlines()
    ]


@pytest.mark.slow
def test_an_end_that_is_asked_for_reaches_a_job_on_a_cluster_seen_through_its_client_server(machines, tmp_path):
    train, _ = jobs_of(tmp_path, dataclasses.replace(RUN, epochs=30_000))
    queue = begun(
        [sys.executable, "-c", QUEUE, str(tmp_path), machines.client, "30000"],
        {**machines.environment, "RAY_ADDRESS": ""},
    )
    wait_until(lambda: epochs_of(train, tmp_path) >= 3, queue)
    queue.send_signal(signal.SIGINT)
    said = queue.communicate()[0]
    assert queue.returncode == 128 + signal.SIGINT, said
    assert "Stopped with 2 of 2 jobs left; the same command goes on." in said
    assert "Traceback" not in said
    log = Beside.of(train, tmp_path / "jobs").log.read_text()
    assert "saved in" in log
    assert "Traceback" not in log


@pytest.mark.slow
def test_a_training_whose_node_is_lost_goes_on_elsewhere_to_the_same_weights(machines, tmp_path):
    run = dataclasses.replace(RUN, epochs=LONG)
    train, evaluate = jobs_of(tmp_path, run)
    queue = begun([sys.executable, "-c", QUEUE, str(tmp_path), "ray", str(LONG)], machines.environment)
    wait_until(lambda: epochs_of(train, tmp_path) >= 3, queue)
    worker = parent_of(doing(Beside.of(train, tmp_path / "jobs").life))
    for process in (parent_of(worker), worker):  # the node's own, and Ray's worker; the job's process saves what it has
        os.kill(process, signal.SIGKILL)
    assert not train.done()
    said = queue.communicate()[0]
    assert queue.returncode == 0, said
    assert f"{train.name}: its process or machine was lost" in said
    assert evaluate.done()
    log = Beside.of(train, tmp_path / "jobs").log.read_text()
    assert log.count(f"{train.name} begins") == 2
    assert epochs_of(train, tmp_path) == LONG  # none was trained twice
    hardy.train(run, tmp_path / "whole", device=torch.device("cpu"))
    whole, lost = (load_file(file) for file in (tmp_path / "whole" / "last.safetensors", train.weights))
    assert all(torch.equal(lost[name], value) for name, value in whole.items())


@pytest.mark.parametrize(("address", "environment"), [("ray://127.0.0.1:9", ""), ("ray", "127.0.0.1:9")])
def test_a_cluster_that_is_not_there_is_a_sentence_at_once(tmp_path, monkeypatch, address, environment):
    monkeypatch.setenv("RAY_ADDRESS", environment)
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    said = r"The Ray cluster at .*127\.0\.0\.1:9 was not reached: Connection refused\."
    with pytest.raises(FailedError, match=said), on_ray(address, Place(), tmp_path, 1):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("on", ["there", "ray://", "10.0.0.1:6379", ""])
def test_what_is_neither_here_nor_a_cluster_is_refused(on):
    with pytest.raises(UsageError, match="it must be here, ray, or ray://HOST:PORT"):
        check_address(on)


@pytest.mark.parametrize("on", ["here", "ray", "ray://head:10001"])
def test_this_machine_and_clusters_are_allowed(on):
    check_address(on)


def test_without_ray_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'hardy\[cluster\]'"), on_ray("ray", Place(), tmp_path, 1):
        pass


def test_a_cluster_that_is_gone_is_a_sentence_where_a_job_begins_and_silence_where_one_is_stopped(tmp_path):
    def gone(*args, **how):
        raise ConnectionError("closed")

    kinds = ("TaskCancelledError", "RayTaskError", "LocalRayletDiedError", "RayError")
    errors = types.SimpleNamespace(**{kind: type(kind, (Exception,), {}) for kind in kinds})
    answers = types.SimpleNamespace(exceptions=errors, get=gone, cancel=gone)
    for remote in (gone, lambda *args: "asked"):
        runner = OnRay(answers, types.SimpleNamespace(remote=remote), Place(), 1)
        train, _ = jobs_of(tmp_path)
        with pytest.raises(FailedError, match="The Ray cluster is not reached any more"):
            runner.run(train, Beside.of(train, tmp_path))
        runner.stop()


@pytest.mark.parametrize(
    ("has", "said"),
    [({"GPU": 2.0}, "a GPU, with a CPU beside it, for jobs"), ({"CPU": 0.0}, "a CPU for jobs"), ({}, "a CPU for jobs")],
)
def test_a_cluster_without_room_for_a_job_is_refused_before_one_waits_for_ever(tmp_path, monkeypatch, has, said):
    told = {"Alive": True, "Resources": has, "NodeID": "0123456789", "NodeManagerHostname": "n1"}
    ray = types.SimpleNamespace(nodes=lambda: [told])
    monkeypatch.setattr("hardy.jobs.cluster._connected", lambda address, note: contextlib.nullcontext(ray))
    with pytest.raises(UsageError, match=f"No machine of the cluster has {said}"), on_ray("ray", Place(), tmp_path, 1):
        pass


def test_which_gpu_is_left_to_ray(tmp_path):
    with pytest.raises(UsageError, match="must be cpu or cuda"), on_ray("ray", Place(device="cuda:1"), tmp_path, 1):
        pass
