"""Commands under torchrun: one folder, one voice, the same rows; and processes that die are started again."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pairs import environment
from training.fakes import weights

RUN = [
    "train",
    "pgdat-digits",
    "--batch",
    "32",
    "--precision",
    "float32",
    "--optimizer",
    "sgd",
    "--optimizer.lr",
    "0.02",
]
# as `-m hardy`, but that it saves after each step, and that its second process dies at a step of the first attempt
DYING = """
import os, signal, sys
from hardy import __main__
from hardy.training import loop

make, loop.SAVE_EVERY = loop._make, 0.0

def dies(training, *args):
    make(training, *args)
    if (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"], training.step) == ("1", "0", 4):
        os.kill(os.getpid(), signal.SIGKILL)

loop._make = dies
sys.exit(__main__.main())
"""


def torchrun(*command: str, restarts: int = 0, processes: int = 2, **options) -> subprocess.Popen:
    """`torchrun COMMAND`."""
    flags = "--standalone", "--nproc-per-node", str(processes), "--max-restarts", str(restarts)
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *flags, *command],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def done(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=900)
    return process.returncode, out, err


def hardy(*args: str, **options) -> tuple[int, str, str]:
    return done(torchrun("-m", "--", "hardy", *args, **options))  # torchrun would take --n for one of its own


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run of two processes."""
    folder = tmp_path_factory.mktemp("together") / "run"
    code, out, err = hardy(*RUN, "--steps", "6", "--out", str(folder))
    assert code == 0, err
    assert out.count("is trained") == 1
    assert err.count(f"pgdat-digits -> {folder}") == 1
    return folder


@pytest.mark.slow
def test_torchrun_trains_one_run_which_two_processes_evaluate_as_one_does(trained, tmp_path):
    measure = ["evaluate", str(trained), "--attacks", "clean,pgd-3", "--n", "21", "--json"]
    code, out, err = hardy(*measure, str(tmp_path / "two.json"))
    assert code == 0, err
    assert out.count("accuracy under pgd-3") == 1
    assert err.count("pgd-3:") == 1
    rows = json.loads((tmp_path / "two.json").read_text())
    stored = [json.loads(line) for line in (trained / "results.jsonl").read_text().splitlines()]
    assert [row["value"] for row in stored] == [row["value"] for row in rows]
    (trained / "outcomes").rename(tmp_path / "outcomes")
    one = hardy(*measure, str(tmp_path / "one.json"), processes=1)
    assert one[0] == 0, one[2]
    for a, b in zip(json.loads((tmp_path / "one.json").read_text()), rows, strict=True):
        assert {**a, "seconds": 0, "recorded": 0} == {**b, "seconds": 0, "recorded": 0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["train", "pgdat-nothing"], "There is no recipe named 'pgdat-nothing'"),
        (
            ["train", "pgdat-digits", "--dry-run"],
            "--dry-run measures what one process takes; start it without torchrun",
        ),
        (
            ["diagnose", "rlfat-p-cifar10-small"],
            "`hardy diagnose` is the work of one process; start it without torchrun",
        ),
    ],
)
def test_what_all_processes_refuse_is_said_once(args, said):
    code, _, err = hardy(*args)
    assert code == 1  # torchrun's own
    assert err.count(said) == 1
    assert not re.search(r"hardy: process \d", err)
    assert "exitcode  : 2" in err


@pytest.mark.slow
def test_a_process_that_is_killed_is_started_again_from_the_last_checkpoint(tmp_path):
    program = tmp_path / "dying.py"
    program.write_text(DYING)
    code, _, err = done(torchrun(str(program), *RUN, "--steps", "8", "--out", str(tmp_path / "run"), restarts=1))
    assert code == 0, err
    assert re.search(r"holds this run\. Going on from step [34] of 8", err)
    code, _, err = hardy(*RUN, "--steps", "8", "--out", str(tmp_path / "undisturbed"))
    assert code == 0, err
    given, expected = (weights(tmp_path / name / "last.safetensors") for name in ("run", "undisturbed"))
    for name, value in expected.items():
        assert given[name].shape == value.shape
        assert float((given[name].double() - value.double()).abs().max()) <= 1e-6, name


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_torchrun_saves_first_and_is_told_once(tmp_path, number):
    process = torchrun("-m", "hardy", *RUN, "--epochs", "1000", "--out", str(tmp_path / "run"))
    metrics = tmp_path / "run" / "metrics.jsonl"
    for _ in range(1200):
        if metrics.exists() or process.poll() is not None:
            break
        time.sleep(0.25)
    process.send_signal(number)
    _, _, err = done(process)
    assert err.count("the same command goes on from there") == 1, err
    assert list((tmp_path / "run" / "checkpoints").glob("*.state.pt"))
    assert not re.search(r"hardy: process \d", err)
    assert (tmp_path / "run" / "last.safetensors").exists()
