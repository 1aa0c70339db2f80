"""Real processes, killed, stopped, crowded and starved of disk: the run goes on and ends as the undisturbed one."""

import os
import random
import signal
import subprocess
import time

import pytest

from hardy.describe import describe, rebuild
from hardy.training import loop
from hardy.training.loop import train
from hardy.training.progress import Watch
from hardy.training.run import Run
from training.fakes import FULL, assert_same_run, child, tiny

LONG = tiny(epochs=4_000)  # outlasts any test


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "SAVE_EVERY", 0.0)
        patch.setattr(loop, "LOG_EVERY", 2)
        return train(FULL, tmp_path_factory.mktemp("runs") / "undisturbed", device="cpu")


def wait_for(process, step):
    """Read until the process has made that step."""
    for line in process.stdout:
        if int(line) >= step:
            return
    raise AssertionError(process.stderr.read())


def finish(out):
    """The same command, to its end; what it said."""
    with child(FULL, out) as process:
        said = process.communicate()[1]
        assert process.returncode == 0, said
    return said


def test_a_killed_process_is_resumed_to_the_same_end(tmp_path, undisturbed, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(loop, "LOG_EVERY", 2)
    with child(FULL, tmp_path / "run") as process:
        wait_for(process, 5)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    notes: list[str] = []
    run = rebuild(describe(FULL), Run)
    folder = train(run, tmp_path / "run", device="cpu", watch=Watch(note=notes.append))
    assert "Going on from step" in notes[0]
    assert_same_run(undisturbed, folder)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_killed_at_random_moments_again_and_again_it_ends_as_the_undisturbed_run(tmp_path, undisturbed, seed):
    moment = random.Random(seed)
    for _ in range(2):
        with child(FULL, tmp_path / "run") as process:
            # a step takes some milliseconds: the moments fall into steps, rows, saves and validations alike
            wait_for(process, moment.randint(1, 7))
            time.sleep(moment.uniform(0, 0.03))
            process.kill()
    finish(tmp_path / "run")
    assert_same_run(undisturbed, tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_saves_first_and_says_how_to_go_on(tmp_path, undisturbed, number):
    with child(FULL, tmp_path / "run") as process:
        wait_for(process, 2)
        process.send_signal(number)
        said = process.communicate()[1]
    assert process.returncode == 128 + number, said
    assert "of 9, saved in" in said
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    finish(tmp_path / "run")
    assert_same_run(undisturbed, tmp_path / "run")


@pytest.mark.slow
def test_a_second_command_on_a_running_runs_folder_is_refused_and_the_first_goes_on(tmp_path):
    with child(LONG, tmp_path / "run") as first:
        wait_for(first, 2)
        with child(LONG, tmp_path / "run") as second:
            said = second.communicate()[1]
        assert second.returncode == 2, said
        assert "Another process is training in" in said
        wait_for(first, 4)
        first.terminate()
        assert first.communicate() is not None
    assert first.returncode == 128 + signal.SIGTERM


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 400 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "hardy-test", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_in_mid_run_is_a_sentence_and_the_run_goes_on_when_there_is_room(small_disk, undisturbed):
    with child(FULL, small_disk / "run") as process:
        wait_for(process, 3)
        process.send_signal(signal.SIGSTOP)
        free = os.statvfs(small_disk)
        (small_disk / "filler").write_bytes(b"0" * (free.f_bavail * free.f_frsize))
        process.send_signal(signal.SIGCONT)
        said = process.communicate()[1]
    assert process.returncode == 1, said
    assert "No space left on device" in said
    assert "is kept in" in said
    assert not list((small_disk / "run").rglob("*.partial"))
    (small_disk / "filler").unlink()
    finish(small_disk / "run")
    assert_same_run(undisturbed, small_disk / "run")


@pytest.mark.slow
def test_a_folder_made_read_only_in_mid_run_is_a_sentence_and_its_last_good_state_stays(tmp_path, undisturbed):
    # root may write everywhere, unless it starts without that capability
    without = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    if without and subprocess.run([*without, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this is root, and setpriv cannot take its capability to write everywhere")
    with child(FULL, tmp_path / "run", without) as process:
        wait_for(process, 3)
        process.send_signal(signal.SIGSTOP)
        for folder in (tmp_path / "run", tmp_path / "run" / "checkpoints"):
            folder.chmod(0o555)
        process.send_signal(signal.SIGCONT)
        said = process.communicate()[1]
    for folder in (tmp_path / "run", tmp_path / "run" / "checkpoints"):
        folder.chmod(0o755)
    assert process.returncode == 1, said
    assert "could not be written: Permission denied" in said
    assert "is kept in" in said
    finish(tmp_path / "run")
    assert_same_run(undisturbed, tmp_path / "run")
