from dataclasses import replace

import pytest
from commands import run
from rich.progress import Progress

from hardy.attacks import Linf
from hardy.attacks.names import named
from hardy.cli import console
from hardy.cli.console import measurement_row, progress, shown, table
from hardy.results import Measurement


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("objective.attack.ball.eps", 8 / 255, "8/255 = 0.0313725"),
        ("objective.attack.step_size", 2 / 255, "2/255 = 0.00784314"),
        ("eps", 0.1, "0.1"),
        ("eps", 1e-300, "1e-300"),
        ("optimizer.schedule.peak", 0.4, "0.4"),
        ("average.decay", 0.2, "0.2"),
        ("optimizer.lr", 0.1 + 1e-9, "0.100000001"),
        ("steps", None, "None"),
        ("model.mean", (0.5,), "(0.5,)"),
    ],
)
def test_only_radii_and_step_sizes_are_said_in_255ths(name, value, text):
    assert shown(name, value) == text


def test_brackets_and_colons_in_a_table_are_no_markup(capsys):
    table("a [b] :smile:", ("run", "[n]"), [("r[/b]x", "[0.1, 0.2]")])
    assert capsys.readouterr().out.splitlines() == ["a [b] :smile:", "run            [n]", "r[/b]x  [0.1, 0.2]"]


def test_a_row_in_a_pipe_is_as_long_as_it_needs_to_be(capsys):
    table(None, ("run", "n"), [("long/" * 60, "1"), ("short", "2")])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["long/" * 60, "1"]


def test_a_run_whose_name_has_brackets_is_shown_in_the_progress_bar(monkeypatch):
    made = []

    class Kept(Progress):
        def __init__(self, *columns, console, transient, disable):
            made.append(columns)
            super().__init__(*columns, console=console, transient=transient, disable=disable)

    monkeypatch.setattr(console, "Progress", Kept)
    with progress() as display:
        display.add_task("r[/b]x", total=1, note="")
        assert made[0][0].render(display.tasks[0]).plain == "r[/b]x"
        assert made[0][2].render(display.tasks[0]).plain == "0/1"
        display.add_task("how much is not known yet", total=None, note="")
        assert made[0][2].render(display.tasks[1]).plain == ""


@pytest.mark.parametrize("name", ["fgsm", "pgd-2x3", "apgd-t", "fab-t", "autoattack", "autoattack-plus", "nattack"])
def test_a_row_shows_the_radius_of_attacks_within_attacks(name):
    described = named(name, Linf(12 / 255)).described
    row = Measurement("run", "what", 0.5, "fraction", 2, 0.1, 0.9, {"attack": described}, 1.0, 2, 3, "cpu")
    assert measurement_row(row)[3] == "12/255"
    assert measurement_row(replace(row, settings={}))[3] == ""


def test_usage_lines_keep_what_is_in_brackets(capsys):
    assert "usage: hardy train RECIPE [settings]" in run(capsys, "train", "--help").out
    assert "[recipes|methods|attacks|data|models|published|tables]" in run(capsys, "list", "--help").out
