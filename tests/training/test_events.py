"""TensorBoard events: the numbers of metrics.jsonl."""

import pytest

from hardy.training.events import Events
from hardy.training.loop import train
from hardy.training.run import Validation
from training.fakes import InMemory, rows, tiny

pytest.importorskip("tensorboard")


def scalars(folder):
    """{name: [(step, value), ...]} as TensorBoard reads them, what was struck out left out."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    return {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_a_runs_events_are_its_rows(tmp_path):
    folder = train(tiny(data=InMemory(32), validation=Validation(images=6)), tmp_path / "run", device="cpu")
    found = scalars(folder)
    assert [step for step, _ in found["train/loss"]] == [row["step"] for row in rows(folder, "train")]
    for name in ("clean", "robust", "single_step"):
        wanted = [(row["step"], pytest.approx(row[name])) for row in rows(folder, "validation")]
        assert found[f"validation/{name}"] == wanted
    assert found["train/lr"]
    assert {f"train/{term}" for term in rows(folder, "train")[0]["terms"]} <= found.keys()
    assert not any(name.endswith(("/n", "/epoch", "/step")) for name in found)


def test_events_after_the_step_a_run_goes_on_from_are_struck_out(tmp_path):
    for after, steps in ((0, (1, 2, 3)), (2, (3, 4))):
        events = Events(tmp_path, after)
        for step in steps:
            events.add({"kind": "train", "step": step, "loss": float(10 * after + step)})
        events.close()
    assert scalars(tmp_path)["train/loss"] == [(1, 1.0), (2, 2.0), (3, 23.0), (4, 24.0)]


def test_without_tensorboard_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("hardy.training.events.importlib.util.find_spec", lambda name: None)
    events = Events(tmp_path, 0)
    events.add({"kind": "train", "step": 1, "loss": 1.0})
    events.close()
    assert list(tmp_path.iterdir()) == []
