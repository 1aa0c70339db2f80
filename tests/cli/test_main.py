import importlib.metadata
import io
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run

from hardy.__main__ import COMMANDS, main
from hardy.cli import console


def test_without_a_command_all_are_named(capsys):
    ran = run(capsys)
    assert ran.code == 0
    assert all(f"hardy {name}" in ran.out for name in COMMANDS)


def test_the_version_is_the_installed_one(capsys):
    assert run(capsys, "--version").out == f"hardy {importlib.metadata.version('hardy')}\n"


@pytest.mark.parametrize(
    "command", [["demo"], ["train", "rlfat-t-cifar10"], ["evaluate"], ["compare"], ["analyse", "shuffle"], ["list"]]
)
def test_every_command_has_help_and_exit_code_0(capsys, command):
    ran = run(capsys, *command, "--help")
    assert ran.code == 0
    assert "usage: hardy" in ran.out


@pytest.fixture
def _nothing_held_back():
    """What could not be written is held back by the console, and would come out in another test."""
    yield
    with console.out.capture():
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.usefixtures("_nothing_held_back")
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("args", [(), ("list", "attacks"), ("demo", "--help")])
def test_a_full_disk_under_standard_output_is_named(capsys, monkeypatch, args, buffered):
    with open("/dev/full", "wb", buffering=-1 if buffered else 0) as full:  # noqa: PTH123 - Path has no such mode
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(full, write_through=not buffered))
        assert main(list(args)) == 1
        assert capsys.readouterr().err == "hardy: Standard output: No space left on device.\n"


def test_what_the_terminal_cannot_show_is_a_question_mark(capsys, monkeypatch, trained, tmp_path):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    code = main(["analyse", "sensitivity", str(trained / "last.safetensors"), "--n", "5", "--out", str(tmp_path)])
    assert code == 0, capsys.readouterr().err
    assert b"(mean gradient norm, ? 95 %)" in shown.getvalue()


def test_the_module_runs_as_the_command_does_and_a_closed_pipe_is_no_traceback():
    shown = subprocess.run(
        f"{sys.executable} -m hardy list | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("recipes")
    assert "Traceback" not in shown.stderr
