import importlib.metadata
import subprocess
import sys

import pytest
from commands import run

from hardy.__main__ import COMMANDS


def test_without_a_command_all_are_named(capsys):
    ran = run(capsys)
    assert ran.code == 0
    assert all(f"hardy {name}" in ran.out for name in COMMANDS)


def test_the_version_is_the_installed_one(capsys):
    assert run(capsys, "--version").out == f"hardy {importlib.metadata.version('hardy')}\n"


def test_an_unknown_command_gets_the_nearest_name_and_exit_code_2(capsys):
    ran = run(capsys, "evalute")
    assert ran.code == 2
    assert ran.err == "hardy: There is no command named 'evalute'; did you mean evaluate?\n"


@pytest.mark.parametrize(
    "command", [["demo"], ["train", "rlfat-t-cifar10"], ["evaluate"], ["analyse", "shuffle"], ["list"]]
)
def test_every_command_has_help_and_exit_code_0(capsys, command):
    ran = run(capsys, *command, "--help")
    assert ran.code == 0
    assert "usage: hardy" in ran.out


def test_the_module_runs_as_the_command_does_and_a_closed_pipe_is_no_traceback():
    shown = subprocess.run(
        f"{sys.executable} -m hardy list | head -1", shell=True, capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("recipes")
    assert "Traceback" not in shown.stderr
