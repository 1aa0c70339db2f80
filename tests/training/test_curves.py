import dataclasses
import json

import pytest

from hardy.attacks import PGD, Linf
from hardy.errors import UsageError
from hardy.results import wilson
from hardy.training.curves import CLEAN, LOSS, ROBUST, learning_curves
from hardy.training.loop import train
from hardy.training.run import Validation
from training.fakes import InMemory, rows, tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run of three epochs of three steps, with validation; tests must not change it."""
    run = tiny(data=InMemory(n=30), validation=Validation(images=6, attack=PGD(Linf(0.02), steps=2)))
    return train(run, tmp_path_factory.mktemp("runs") / "tiny", device="cpu")


def validation(step, clean, robust, **more):
    return {
        "kind": "validation",
        "step": step,
        "epoch": step / 10,
        "clean": clean,
        "robust": robust,
        "n": 20,
        "single_step": robust,
    } | more


def training(step, loss, **more):
    return {"kind": "train", "step": step, "epoch": step / 10, "terms": {"a": loss}, "loss": loss, "lr": 0.1} | more


def folder(finished, path, *lines):
    """A run's folder whose metrics.jsonl has these lines, rows or text."""
    path.mkdir()
    (path / "run.json").write_bytes((finished / "run.json").read_bytes())
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (path / "metrics.jsonl").write_text(text + "\n")
    return path


def test_the_curves_of_a_run_are_those_of_its_rows(finished):
    curves = learning_curves(finished)
    logged = rows(finished, "validation")
    assert len(logged) == 3
    for what, key in ((CLEAN, "clean"), (ROBUST, "robust")):
        assert [(row.settings["epoch"], row.settings["step"], row.value, row.n) for row in curves.of(what)] == [
            (row["epoch"], row["step"], row[key], 6) for row in logged
        ]
    assert [row.settings["epoch"] for row in curves.of(LOSS)] == [1.0, 2.0, 3.0]
    assert [row.value for row in curves.of(LOSS)] == pytest.approx([row["loss"] for row in rows(finished, "train")])
    assert curves.passed_over == 0
    assert len(curves.rows) == 9


def test_a_row_tells_the_run_its_attack_and_the_versions_it_was_trained_with(finished):
    told = json.loads((finished / "run.json").read_text())
    curves = learning_curves(finished)
    assert curves.told == told
    assert dataclasses.asdict(curves.run)["name"] == "tiny"
    robust = curves.of(ROBUST)[0]
    assert robust.settings["attack"] == PGD(Linf(0.02), steps=2).described
    assert robust.settings["id"] == told["id"]
    assert robust.settings["data"] == told["origin"]
    assert "attack" not in curves.of(CLEAN)[0].settings
    assert (robust.run, robust.hardy, robust.torch, robust.device) == ("tiny", told["hardy"], told["torch"], "cpu")


def test_accuracies_have_wilsons_interval_and_losses_are_means_over_the_steps_of_an_epoch(finished, tmp_path):
    lines = (
        training(4, 2.0), training(10, 1.0), validation(10, 0.5, 0.25),
        training(14, 0.8), training(20, 0.3), validation(20, 0.7, 0.0), training(24, 0.1),
    )  # fmt: skip
    curves = learning_curves(folder(finished, tmp_path / "run", *lines))
    assert [(row.low, row.high) for row in curves.of(CLEAN)] == [wilson(10, 20), wilson(14, 20)]
    assert [(row.low, row.high) for row in curves.of(ROBUST)] == [wilson(5, 20), wilson(0, 20)]
    # an epoch of ten steps: a row is the mean over those since the row before
    assert [row.value for row in curves.of(LOSS)] == pytest.approx([1.4, 0.5, 0.1])
    assert [row.settings["epoch"] for row in curves.of(LOSS)] == [1.0, 2.0, 2.4]
    assert [row.n for row in curves.of(LOSS)] == [80, 80, 32]  # batches of 8
    assert {(row.low, row.high, row.unit) for row in curves.of(LOSS)} == {(None, None, "loss")}


def test_torn_and_damaged_rows_are_passed_over_and_counted(finished, tmp_path):
    lines = (
        training(10, 1.0), '{"kind": "validation", "step": 10, "ep', validation(10, 0.5, 0.25), "", "[1, 2]",
        validation(20, None, 0.1), validation(20, 1.2, 0.1), validation(20, 0.5, 0.1, n=0), training(20, "high"),
        {"kind": "validation", "step": 30, "clean": 0.1}, training(10, 0.5), {"kind": "other", "step": 30, "epoch": 3.0},
    )  # fmt: skip
    curves = learning_curves(folder(finished, tmp_path / "run", *lines))
    assert [row.what for row in curves.rows] == [CLEAN, ROBUST, LOSS]
    assert curves.passed_over == 8


def test_a_run_without_validation_has_a_loss_alone(tmp_path):
    curves = learning_curves(train(tiny(), tmp_path / "run", device="cpu"))
    assert [len(curves.of(what)) for what in (CLEAN, ROBUST, LOSS)] == [0, 0, 3]


def test_what_has_no_curves_is_refused_with_a_sentence(finished, tmp_path):
    with pytest.raises(UsageError, match="no folder; curves are read from the folder of a run"):
        learning_curves(finished / "last.safetensors")
    with pytest.raises(UsageError, match=r"has no run.json"):
        learning_curves(tmp_path)
    empty = folder(finished, tmp_path / "empty")
    with pytest.raises(UsageError, match="its run has logged nothing yet"):
        learning_curves(empty)
    (empty / "metrics.jsonl").unlink()
    with pytest.raises(UsageError, match=r"no metrics.jsonl that can be read: its run has logged nothing"):
        learning_curves(empty)
    (empty / "run.json").write_text('{"run": {"type": "Other"}}')
    with pytest.raises(UsageError, match="does not describe a run that this version knows"):
        learning_curves(empty)
