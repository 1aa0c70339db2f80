import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run

import hardy

QUICK = (
    "--model.width", "2", "--epochs", "1", "--objective.attack.steps", "1", "--precision", "float32", "--data.canvas", "8",
)  # fmt: skip


def test_train_makes_a_run_that_loads_and_says_what_comes_next(capsys, tmp_path):
    ran = run(capsys, "train", "pgdat-digits", *QUICK, "--out", tmp_path / "run")
    assert ran.code == 0, ran.err
    assert f"hardy evaluate {tmp_path / 'run'}" in ran.out
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert described["run"]["model"] == {"type": "SmallCNN", "width": 2, "mean": [], "deviation": []}
    assert not hardy.load(tmp_path / "run").training


def test_the_same_command_again_says_that_the_run_is_complete_and_changes_nothing(capsys, tmp_path):
    command = ("train", "standard-digits", "--model.width", "2", "--epochs", "1", "--out", tmp_path / "run")
    assert run(capsys, *command).code == 0
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    again = run(capsys, *command)
    assert again.code == 0
    assert "It is complete" in again.err
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before


def test_dry_run_prints_every_setting_in_both_forms_and_the_time_and_makes_nothing(capsys, tmp_path):
    ran = run(
        capsys,
        "train",
        "rlfat-p-digits",
        *QUICK,
        "--objective.attack.ball.eps",
        "8/255",
        "--out",
        tmp_path / "x",
        "--dry-run",
    )
    assert ran.code == 0, ran.err
    assert "8/255 = 0.0313725" in ran.out
    assert "objective.eta" in ran.out
    assert "20 steps of" in ran.out
    assert not (tmp_path / "x").exists()


def test_settings_that_differ_from_the_recipe_are_said_those_a_swapped_part_brings_too(capsys, tmp_path):
    changes = ("--objective", "trades", "--seed", "3")
    ran = run(capsys, "train", "pgdat-cifar10-small", *changes, "--dry-run", "--model", "smallcnn", "--batch", "2")
    assert ran.code == 0, ran.err
    said = ran.err.splitlines()
    assert "seed: 3 (the recipe: 0)" in said
    assert "objective: TRADES (the recipe: PGDAT)" in said
    assert "model: SmallCNN (the recipe: PreActResNet18)" in said
    assert "It keeps the recipe's name and folder, runs/pgdat-cifar10-small; --name or --out give it others." in said
    assert "objective.attack.steps: 10 (the recipe: 7)" in said
    assert "objective.beta: 6 (the recipe: not there)" in said
    assert not any(line.startswith(("epochs", "objective.attack.ball")) for line in said)


def test_a_part_that_is_put_in_place_of_none_is_said(capsys):
    ran = run(capsys, "train", "pgdat-digits", *QUICK, "--average", "ema", "--name", "a[b]", "--dry-run")
    assert ran.code == 0, ran.err
    assert "average: EMA (the recipe: None)" in ran.err.splitlines()
    assert "keeps the recipe's name" not in ran.err
    assert "folder     runs/a[b]" in ran.out


def test_dry_run_says_the_class_of_every_part_and_255ths_of_radii_alone(capsys):
    ran = run(capsys, "train", "rlfat-t-digits", *QUICK, "--dry-run")
    rows = [tuple(line.split(maxsplit=1)) for line in ran.out.splitlines() if line.strip()]
    for row in (
        ("data", "Digits"), ("model", "SmallCNN"), ("objective", "RLFATT"), ("objective.attack.ball", "Linf"),
        ("objective.attack.loss", "KL"), ("optimizer", "Adam"), ("optimizer.schedule", "OneCycle"), ("average", "None"),
        ("optimizer.schedule.peak", "0.4"), ("objective.attack.ball.eps", "0.1"),
    ):  # fmt: skip
        assert row in rows
    assert not any("/255" in value for _, value in rows)


def test_a_recipe_as_it_is_differs_in_nothing(capsys):
    assert run(capsys, "train", "standard-digits", "--dry-run").err == ""


def test_a_folder_whose_name_looks_like_markup_is_named_as_the_shell_takes_it(capsys, tmp_path):
    ran = run(capsys, "train", "standard-digits", *QUICK[:4], "--out", tmp_path / "r[/b] :x:")
    assert ran.code == 0, ran.err
    assert f"hardy evaluate '{tmp_path}/r[/b] :x:'" in ran.out
    assert (tmp_path / "r[/b] :x:" / "last.safetensors").exists()


def test_dry_run_counts_the_images_that_are_held_out(capsys):
    quick = ("--model", "smallcnn", "--model.width", "2", "--batch", "50", "--epochs", "1", "--dry-run")
    held = ("--validation.images", "1000")
    assert "980 steps of" in run(capsys, "train", "standard-cifar10", *quick, *held).out
    assert "100 steps of" in run(capsys, "train", "standard-cifar10", *quick, *held, "--data.first", "5000").out


def test_dry_run_of_a_length_in_steps_needs_no_data(capsys, tmp_path):
    args = ("--model", "smallcnn", "--model.width", "2", "--batch", "4", "--steps=10", "--offline", "--dry-run")
    ran = run(capsys, "train", "standard-cifar10-small", *args, "--data-root", tmp_path)
    assert ran.code == 0, ran.err
    assert "10 steps of" in ran.out


def test_more_blocks_than_pixels_can_be_put_right_in_the_same_folder(capsys, tmp_path):
    command = ("train", "rbsat-p-digits", *QUICK, "--out", tmp_path / "run")
    wrong = run(capsys, *command, "--objective.k", "9")
    assert wrong.code == 2
    assert "k is 9; it must be the number of blocks, 1 to the image's side (8)" in wrong.err
    assert run(capsys, *command, "--objective.k", "3").code == 0


@pytest.mark.slow
def test_a_killed_command_goes_on_and_ends_with_the_weights_of_an_undisturbed_one(tmp_path):
    def command(out: Path) -> list[str]:
        return [sys.executable, "-m", "hardy", "train", "pgdat-digits", *QUICK, "--epochs", "30", "--out", str(out)]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    killed = subprocess.Popen(command(tmp_path / "killed"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not list((tmp_path / "killed").glob("checkpoints/*.state.pt")):
        assert killed.poll() is None
    killed.kill()
    killed.wait()
    again = subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True, text=True)
    assert "Going on from step" in again.stderr
    assert (tmp_path / "killed" / "last.safetensors").read_bytes() == (
        tmp_path / "whole" / "last.safetensors"
    ).read_bytes()


OWN = """
from torch import nn

def build(num_classes):
    layers = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
    return nn.Sequential(*layers)
"""


def test_ones_own_network_is_named_by_the_function_that_builds_it(tmp_path, monkeypatch, capsys):
    (tmp_path / "mynet.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    args = (
        "--model",
        "mynet:build",
        "--model.mean",
        "0.5",
        "--model.deviation",
        "0.5",
        "--epochs",
        "1",
        "--out",
        "run",
    )
    trained = run(capsys, "train", "standard-digits", *args)
    assert trained.code == 0, trained.err
    sys.modules["hardy.models.own"]._ADMITTED.clear()
    refused = run(capsys, "evaluate", "run", "--n", "5", "--attacks", "clean")
    assert refused.code == 2
    assert "--model mynet:build" in refused.err
    measured = run(capsys, "evaluate", "run", "--n", "5", "--attacks", "clean", "--model", "mynet:build")
    assert measured.code == 0, measured.err
    sys.modules["hardy.models.own"]._ADMITTED.clear()
    analysed = run(capsys, "analyse", "sensitivity", "run", "--n", "5", "--model", "mynet:build")
    assert analysed.code == 0, analysed.err
    sys.modules.pop("mynet")
