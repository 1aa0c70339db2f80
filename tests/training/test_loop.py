"""The loop: the same run whatever interrupts it, an end where the numbers end, and weights chosen on held-out images."""

import contextlib
import dataclasses
import json
import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from hardy import files
from hardy.attacks import PGD, Linf, fgsm
from hardy.data.augment import Augment
from hardy.data.extra import Extra
from hardy.data.split import batches
from hardy.describe import describe
from hardy.errors import FailedError, UsageError
from hardy.evaluation.stream import Outcome
from hardy.models.checkpoints import load, read_weights
from hardy.models.own import own
from hardy.models.small import SmallCNNModule
from hardy.objectives import PGDAT, RLFATP, RLFATT, Standard
from hardy.training import loop, validation
from hardy.training import state as training_state
from hardy.training.loop import train
from hardy.training.optim import SGD, Adam, Constant, OneCycle
from hardy.training.progress import Watch
from hardy.training.run import Validation
from hardy.training.state import Folder
from hardy.training.stream import TrainingImages
from training.fakes import (
    FULL,
    BreaksWeightsAt,
    InMemory,
    NotFiniteAt,
    Stopped,
    assert_same_run,
    rows,
    same,
    state,
    tiny,
    weights,
)

STEPS = 9


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch) -> None:
    """No test here cuts the power: nothing need be on the disk before it is read again."""
    monkeypatch.setattr(files, "_sync", lambda path: None)


def stop_after(step: int) -> Watch:
    """Interrupts after a step has been made, before anything of it is logged or saved."""

    def look(made: int, total: int) -> None:
        if made == step:
            raise Stopped

    return Watch(step=look)


def stop_at_row(kind: str, step: int) -> Watch:
    """Interrupts after a row has been logged, before its checkpoint."""

    def look(row: dict) -> None:
        if (row["kind"], row["step"]) == (kind, step):
            raise Stopped

    return Watch(row=look)


@pytest.fixture
def often(monkeypatch) -> None:
    """A checkpoint after each step, and a row every other step."""
    monkeypatch.setattr(loop, "SAVE_EVERY", 0.0)
    monkeypatch.setattr(loop, "LOG_EVERY", 2)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The run with checkpoints after each step, never interrupted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "SAVE_EVERY", 0.0)
        patch.setattr(loop, "LOG_EVERY", 2)
        return train(FULL, tmp_path_factory.mktemp("runs") / "undisturbed", device="cpu")


# interruptions


def test_the_undisturbed_run_has_all_that_could_be_lost(undisturbed):
    assert [row["step"] for row in rows(undisturbed, "train")] == [2, 3, 5, 6, 8, 9]
    assert [row["step"] for row in rows(undisturbed, "validation")] == [3, 6, 9]
    assert not same(weights(undisturbed / "last.safetensors"), load(network_weights(undisturbed)).state_dict())
    assert state(undisturbed)["average"] is not None
    assert (undisturbed / "best.safetensors").is_file()
    assert read_weights(undisturbed / "last.safetensors")[1]["step"] == STEPS


def network_weights(folder: Path) -> Path:
    """The file of the network itself, not of its average."""
    return folder / "checkpoints" / f"step-{STEPS:08d}.safetensors"


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(
    "stops",
    [
        [stop_after(1)],
        [stop_after(4)],
        [stop_after(6)],
        [stop_after(9)],
        [stop_at_row("train", 5)],
        [stop_at_row("validation", 6)],
        [stop_after(2), stop_after(5), stop_at_row("train", 8)],
    ],
    ids=["1", "4", "6", "9", "row 5", "validation 6", "thrice"],
)
def test_an_interrupted_run_ends_as_the_undisturbed_one_to_the_bit(tmp_path, undisturbed, stops):
    for watch in stops:
        with pytest.raises(Stopped):
            train(FULL, tmp_path / "run", device="cpu", watch=watch)
    assert_same_run(undisturbed, train(FULL, tmp_path / "run", device="cpu"))


@pytest.mark.parametrize("step", [1, 5])
def test_so_does_one_that_saves_at_the_ends_of_epochs_only(tmp_path, step):
    whole = train(FULL, tmp_path / "whole", device="cpu")
    with pytest.raises(Stopped):
        train(FULL, tmp_path / "run", device="cpu", watch=stop_after(step))
    assert_same_run(whole, train(FULL, tmp_path / "run", device="cpu"))


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize(("ending", "how"), [("safetensors", "cut"), ("state.pt", "flipped"), ("state.pt", "missing")])
def test_so_does_one_whose_newest_checkpoint_was_damaged(tmp_path, undisturbed, ending, how):
    with pytest.raises(Stopped):
        train(FULL, tmp_path / "run", device="cpu", watch=stop_after(6))
    newest = tmp_path / "run" / "checkpoints" / f"step-00000005.{ending}"
    content = newest.read_bytes()
    newest.unlink()
    if how == "cut":
        newest.write_bytes(content[: len(content) // 2])
    elif how == "flipped":
        newest.write_bytes(bytes(byte ^ 1 if i % 64 == 0 else byte for i, byte in enumerate(content)))
    notes: list[str] = []
    folder = train(FULL, tmp_path / "run", device="cpu", watch=Watch(note=notes.append))
    assert "Going on from step 4 of 9." in notes[0]
    assert_same_run(undisturbed, folder)


@pytest.mark.usefixtures("often")
def test_weights_without_a_whole_checkpoint_are_never_trained_over(tmp_path):
    with pytest.raises(Stopped):
        train(FULL, tmp_path / "run", device="cpu", watch=stop_after(6))
    for file in (tmp_path / "run" / "checkpoints").glob("step-*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    with pytest.raises(UsageError, match="holds weights of step 5 of this run, but no whole checkpoint to go on from"):
        train(FULL, tmp_path / "run", device="cpu")
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_finished_run_of_a_version_with_fewer_settings_is_known_and_left_as_it_is(tmp_path, monkeypatch, checkpoints):
    with monkeypatch.context() as older:
        for module in ("record", "state"):  # whichever gives the run its id
            older.setattr(f"hardy.training.{module}.fingerprint", lambda run: "000000000000", raising=False)
        folder = train(tiny(), tmp_path / "run", device="cpu")
    told = json.loads((folder / "run.json").read_text())
    del told["run"]["micro_batch"], told["run"]["objective"]["smoothing"]
    (folder / "run.json").write_text(json.dumps(told))
    if not checkpoints:
        shutil.rmtree(folder / "checkpoints")
    before = (folder / "last.safetensors").read_bytes()
    notes: list[str] = []
    train(tiny(), folder, device="cpu", watch=Watch(note=notes.append))
    assert "It is complete" in notes[0]
    assert (folder / "last.safetensors").read_bytes() == before


@pytest.mark.usefixtures("often")
def test_a_run_killed_in_its_first_checkpoint_starts_again_and_says_so(tmp_path, undisturbed, monkeypatch):
    write = training_state.write_bytes

    def killed(path, content):
        if path.name.endswith(".state.pt"):
            raise Stopped
        write(path, content)

    monkeypatch.setattr(training_state, "write_bytes", killed)
    with pytest.raises(Stopped):
        train(FULL, tmp_path / "run", device="cpu")
    monkeypatch.setattr(training_state, "write_bytes", write)
    notes: list[str] = []
    folder = train(FULL, tmp_path / "run", device="cpu", watch=Watch(note=notes.append))
    assert "no whole checkpoint. Starting again from step 0." in notes[0]
    assert_same_run(undisturbed, folder)


def test_a_finished_run_whose_checkpoints_were_removed_is_complete(tmp_path):
    folder = train(FULL, tmp_path / "run", device="cpu")
    shutil.rmtree(folder / "checkpoints")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    notes: list[str] = []
    assert train(FULL, folder, device="cpu", watch=Watch(note=notes.append)) == folder
    assert notes[0].endswith("It is complete; its checkpoints are gone.")
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_a_finished_run_started_again_does_nothing(tmp_path):
    folder = train(FULL, tmp_path / "run", device="cpu")
    before = {
        file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "last.safetensors"
    }
    last = weights(folder / "last.safetensors")
    notes: list[str] = []

    def never(*args: object) -> None:
        raise AssertionError

    assert train(FULL, folder, device="cpu", watch=Watch(step=never, row=never, note=notes.append)) == folder
    after = {
        file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "last.safetensors"
    }
    assert after == before
    assert same(weights(folder / "last.safetensors"), last)
    assert len(notes) == 1
    assert notes[0].endswith("holds this run. It is complete.")


def test_other_settings_are_refused_before_anything_is_touched(tmp_path):
    train(tiny(), tmp_path / "run", device="cpu")
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    with pytest.raises(UsageError, match=r"seed \(0 there, 1 given\)"):
        train(tiny(seed=1), tmp_path / "run", device="cpu")
    assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before


# batches in parts


def without_norms(classes: int) -> torch.nn.Module:
    """A network in which no image sees another."""
    layers = torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    return torch.nn.Sequential(*layers, torch.nn.Linear(4, classes))


@pytest.mark.parametrize("part", [1, 3, 8])
def test_a_batch_in_parts_trains_the_same_network_where_no_image_sees_another(tmp_path, part):
    plain = tiny(model=own(without_norms), objective=RLFATP(PGD(steps=2), eta=0.0))  # shuffled the same in all parts
    whole = train(plain, tmp_path / "whole", device="cpu")
    parts = train(dataclasses.replace(plain, micro_batch=part), tmp_path / "parts", device="cpu")
    found, expected = (weights(folder / "last.safetensors") for folder in (parts, whole))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
    for row, of_whole in zip(rows(parts, "train"), rows(whole, "train"), strict=True):
        assert row["terms"] == pytest.approx(of_whole["terms"], rel=1e-5)


def test_a_batch_in_parts_passes_no_more_images_through_the_network_at_once(tmp_path, monkeypatch):
    seen = []
    trunk = SmallCNNModule.trunk
    monkeypatch.setattr(SmallCNNModule, "trunk", lambda self, x: seen.append(len(x)) or trunk(self, x))
    train(tiny(micro_batch=3, epochs=None, steps=1), tmp_path, device="cpu")
    per_part = 3  # two steps of attack, one of training
    assert seen[-3 * per_part :] == [3] * per_part + [3] * per_part + [2] * per_part


# numbers that are none


@pytest.mark.usefixtures("often")
def test_a_loss_that_is_not_finite_ends_the_run_with_step_terms_and_checkpoint(tmp_path):
    with pytest.raises(FailedError) as failed:
        train(tiny(objective=NotFiniteAt(5)), tmp_path / "run", device="cpu")
    said = str(failed.value)
    assert "The loss is not finite at step 5: natural = " in said
    assert "broken = nan" in said
    assert "The checkpoint of step 4 is kept" in said
    assert str(tmp_path / "run") in said
    assert "--optimizer.clip" in said
    _assert_all_finite(tmp_path / "run", step=4)


def test_a_loss_that_is_not_finite_is_found_at_the_next_row_with_its_own_step(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 3)
    with pytest.raises(FailedError, match=r"not finite at step 8: .* The checkpoint of step 6 is kept"):
        train(tiny(objective=NotFiniteAt(8), data=InMemory(50)), tmp_path / "run", device="cpu")
    assert [row["step"] for row in rows(tmp_path / "run", "train")] == [3, 6]
    _assert_all_finite(tmp_path / "run", step=6)


def test_a_first_loss_that_is_not_finite_says_that_there_is_no_checkpoint(tmp_path):
    with pytest.raises(FailedError, match=r"not finite at step 1: .*\. No checkpoint had been made"):
        train(tiny(objective=NotFiniteAt(1)), tmp_path / "run", device="cpu")
    assert not list((tmp_path / "run").rglob("*.safetensors"))


@pytest.mark.parametrize("validation", [Validation(), Validation(images=6, attack=PGD(steps=1))])
@pytest.mark.parametrize(("at", "kept"), [(3, "No checkpoint had been made"), (6, "The checkpoint of step 3 is kept")])
def test_weights_that_the_last_update_broke_are_not_saved_although_every_loss_was_finite(
    tmp_path, validation, at, kept
):
    run = tiny(data=InMemory(26 + validation.images), objective=BreaksWeightsAt(at), validation=validation)
    with pytest.raises(FailedError, match=rf"The weights are not finite after step {at}, in .*\. {kept}"):
        train(run, tmp_path / "run", device="cpu")
    _assert_all_finite(tmp_path / "run", step=at - 3)


def test_a_learning_rate_that_is_far_too_high_ends_in_a_sentence(tmp_path):
    run = tiny(optimizer=SGD(lr=1e30), objective=Standard())
    with pytest.raises(FailedError, match="not finite"):
        train(run, tmp_path / "run", device="cpu")
    assert not list((tmp_path / "run").rglob("*.safetensors"))


def _assert_all_finite(folder: Path, step: int) -> None:
    files = list(folder.rglob("*.safetensors"))
    assert bool(files) == bool(step)
    for file in files:
        assert all(value.isfinite().all() for value in weights(file).values()), file
    if step:
        assert read_weights(folder / "last.safetensors")[1]["step"] == step
        assert state(folder)["step"] == step


# held-out images


def parts(run):
    images = TrainingImages.load(run)
    return images.part, images.held_out


@pytest.mark.parametrize("spare", [6, 7, 30])
def test_held_out_images_are_taken_from_unused_ones_where_there_are_enough(spare):
    part, held_out = parts(tiny(data=InMemory(26, spare), validation=Validation(images=6)))
    assert part.indices.tolist() == list(range(26))
    assert len(held_out) == 6
    assert set(held_out.indices.tolist()) <= set(range(26, 26 + spare))


@pytest.mark.parametrize("spare", [0, 5])
def test_held_out_images_are_otherwise_removed_from_training(spare):
    part, held_out = parts(tiny(data=InMemory(26, spare), validation=Validation(images=6)))
    assert len(held_out) == 6
    assert sorted([*part.indices.tolist(), *held_out.indices.tolist()]) == list(range(26))


def test_without_a_validation_every_training_image_is_learnt_from():
    part, held_out = parts(tiny(data=InMemory(26, 30)))
    assert part.indices.tolist() == list(range(26))
    assert held_out is None


def test_more_held_out_images_than_there_are_is_refused(tmp_path):
    with pytest.raises(UsageError, match="26 images were to be held out of 26"):
        train(tiny(validation=Validation(images=26)), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("spare", [0, 12])
def test_best_weights_are_those_of_the_first_epoch_with_the_highest_robust_accuracy_on_held_out_images(
    tmp_path, monkeypatch, spare
):
    run = tiny(
        data=InMemory(32, spare), optimizer=Adam(), epochs=4, validation=Validation(images=6, attack=PGD(steps=3))
    )
    part, held_out = parts(run)
    seen, values = [], iter([1, 3, 3, 2, 0])

    def scripted(model, split, attack, correct, *, seed):
        if attack == fgsm(run.validation.attack.ball):  # logged, and chooses nothing
            return Outcome(torch.ones(6, dtype=torch.bool), 0.0, 0, 0)
        seen.append((split.indices.tolist(), attack, seed))
        return Outcome(torch.arange(6) < next(values), 0.0, 0, 0)

    monkeypatch.setattr(validation, "under_attack", scripted)
    folder = train(run, tmp_path / "run", device="cpu")
    assert seen == [(held_out.indices.tolist(), PGD(steps=3), run.seed)] * 4
    assert not set(held_out.indices.tolist()) & set(part.indices.tolist())
    assert [row["robust"] for row in rows(folder, "validation")] == [1 / 6, 3 / 6, 3 / 6, 2 / 6]
    # a constant learning rate: the network after two epochs is that of a run of two
    shorter = train(
        dataclasses.replace(run, epochs=2, validation=Validation(images=6, every=9)), tmp_path / "2", device="cpu"
    )
    assert same(weights(folder / "best.safetensors"), weights(shorter / "last.safetensors"))
    assert not same(weights(folder / "best.safetensors"), weights(folder / "last.safetensors"))
    assert same(load(folder).state_dict(), weights(folder / "best.safetensors"))
    assert same(load(folder, "last").state_dict(), weights(folder / "last.safetensors"))


def test_validation_comes_every_so_many_epochs_and_at_the_end(tmp_path):
    run = tiny(epochs=5, data=InMemory(32), validation=Validation(images=6, every=2, attack=PGD(steps=1)))
    folder = train(run, tmp_path / "run", device="cpu")
    assert [row["step"] for row in rows(folder, "validation")] == [6, 12, 15]
    for row in rows(folder, "validation"):
        assert 0 <= row["robust"] <= row["clean"] <= 1
        assert 0 <= row["single_step"] <= row["clean"]
        assert row["n"] == 6


def test_a_run_without_validation_has_no_best_weights(tmp_path):
    folder = train(tiny(), tmp_path / "run", device="cpu")
    assert not (folder / "best.safetensors").exists()
    assert load(folder).state_dict().keys() == weights(folder / "last.safetensors").keys()


# length, order, seeds


@pytest.mark.parametrize(
    ("length", "saved"),
    [({"epochs": 2}, [3, 6]), ({"epochs": None, "steps": 5}, [3, 5]), ({"epochs": None, "steps": 2}, [2])],
)
def test_a_run_makes_as_many_steps_as_its_length_says_and_saves_at_ends_of_epochs(tmp_path, length, saved):
    made = []
    folder = train(tiny(**length), tmp_path / "run", device="cpu", watch=Watch(step=lambda *at: made.append(at)))
    assert made == [(step, saved[-1]) for step in range(1, saved[-1] + 1)]
    assert sorted(file.name for file in (folder / "checkpoints").glob("*.pt")) == [
        f"step-{s:08d}.state.pt" for s in saved
    ]
    assert [row["step"] for row in rows(folder, "train")] == saved
    assert rows(folder, "train")[-1]["epoch"] == pytest.approx(saved[-1] / 3, abs=1e-4)


def test_a_run_in_epochs_is_the_run_of_as_many_steps(tmp_path):
    one = train(tiny(epochs=2), tmp_path / "epochs", device="cpu")
    other = train(tiny(epochs=None, steps=6), tmp_path / "steps", device="cpu")
    assert same(weights(one / "last.safetensors"), weights(other / "last.safetensors"))


def test_a_batch_larger_than_the_data_is_refused_and_leaves_no_folder(tmp_path):
    with pytest.raises(UsageError, match="batch is 64; it must be at most the number of training images, 26"):
        train(tiny(batch=64), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_the_same_seed_gives_the_same_weights_and_another_others(tmp_path):
    runs = {
        name: train(tiny(seed=seed), tmp_path / name, device="cpu") for name, seed in (("a", 0), ("b", 0), ("c", 1))
    }
    last = {name: weights(folder / "last.safetensors") for name, folder in runs.items()}
    assert same(last["a"], last["b"])
    assert not same(last["a"], last["c"])
    assert (runs["a"] / "metrics.jsonl").read_bytes() == (runs["b"] / "metrics.jsonl").read_bytes()


def test_training_leaves_torchs_global_generator_alone(tmp_path):
    before = torch.get_rng_state()
    train(FULL, tmp_path / "run", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_the_order_of_the_images_is_another_permutation_in_each_epoch(tmp_path, monkeypatch):
    seen = _record(monkeypatch)
    train(tiny(batch=13, epochs=4, augment=Augment()), tmp_path / "run", device="cpu")
    epochs = [[*chain(*seen[i : i + 2])] for i in range(0, 8, 2)]
    assert all(sorted(epoch) == list(range(26)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_last_smaller_batch_of_an_epoch_is_left_out(tmp_path, monkeypatch):
    seen = _record(monkeypatch)
    train(tiny(batch=8, epochs=4, augment=Augment()), tmp_path / "run", device="cpu")
    assert [len(batch) for batch in seen] == [8] * 12
    assert all(len(set(chain(*seen[i : i + 3]))) == 24 for i in range(0, 12, 3))
    assert len(set(chain(*seen))) == 26  # other images are left out the next time


def _record(monkeypatch) -> list[list[int]]:
    """The indices of the images of each step to come, by their first pixels."""
    seen: list[list[int]] = []

    class Recording(loop.Step):
        def forward(self, x, y, noise):
            seen.append((x[:, 0, 0, 0] * 255).round().long().tolist())
            return super().forward(x, y, noise)

    monkeypatch.setattr(loop, "Step", Recording)
    return seen


def test_augmentation_and_objective_have_other_random_numbers_at_each_step(tmp_path, monkeypatch):
    run, keys, flipped = tiny(batch=26, epochs=4, seed=7), [], []
    originals = parts(run)[0].x()

    class Recording(loop.Step):
        def forward(self, x, y, noise):
            keys.append((noise.seed, noise.purpose, noise.step, len(noise)))
            flipped.append(tuple(not (originals == image).flatten(1).all(1).any() for image in x))
            return super().forward(x, y, noise)

    monkeypatch.setattr(loop, "Step", Recording)
    train(run, tmp_path / "run", device="cpu")
    assert keys == [(7, "objective", step, 26) for step in range(4)]
    # by place in the batch: the order of the images is no part of it
    assert len(set(flipped)) == 4
    assert all(4 < sum(places) < 22 for places in flipped)


# one step


def _step_of(tmp_path: Path, name: str, **changes) -> tuple[dict, dict]:
    """(parameters before, after) one step of a run."""
    run = tiny(epochs=None, steps=1, **changes)
    folder = train(run, tmp_path / name, device="cpu")
    before = run.model.build(4, 1, loop.Noise.of_batch(1, run.seed, purpose="network"))
    after = weights(folder / "last.safetensors")
    return {n: p.detach() for n, p in before.named_parameters()}, {n: after[n] for n, _ in before.named_parameters()}


def _moved(before: dict, after: dict) -> float:
    return float(sum((after[name] - before[name]).double().square().sum() for name in before)) ** 0.5


def test_clipping_bounds_the_norm_of_the_whole_gradient(tmp_path):
    def moved(clip: float | None) -> float:
        plain = SGD(lr=1.0, momentum=0.0, weight_decay=0.0, schedule=Constant(), clip=clip)
        return _moved(*_step_of(tmp_path, str(clip), optimizer=plain))

    free = moved(None)
    assert free > 0.1
    assert moved(free / 10) == pytest.approx(free / 10, rel=1e-3)
    assert moved(free * 10) == pytest.approx(free, rel=1e-6)


def test_a_step_of_plain_sgd_goes_down_the_gradient_of_the_sum_of_the_terms(tmp_path):
    run = tiny(augment=Augment(), batch=26, objective=PGDAT(PGD(Linf(0.1), 2)))
    before, after = _step_of(
        tmp_path,
        "run",
        augment=Augment(),
        batch=26,
        optimizer=SGD(0.5, momentum=0.0, weight_decay=0.1, schedule=Constant()),
    )
    model = run.model.build(4, 1, loop.Noise.of_batch(1, 0, purpose="network"))
    part, _ = parts(run)
    x, y, _ = next(batches(part, 26, loop.Noise.of_batch(1, 0, purpose="order")))
    sum(run.objective(model, x, y, loop.Noise.of_batch(26, 0, purpose="objective")).values()).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(
            after[name], before[name] - 0.5 * (p.grad + 0.1 * before[name]), rtol=1e-4, atol=1e-6
        )


def test_the_rate_of_each_step_follows_the_schedule(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    folder = train(tiny(optimizer=Adam(lr=0.02, schedule=OneCycle(peak=0.5))), tmp_path / "run", device="cpu")
    rates = [0.02 * (2 * s / 9 if s < 4.5 else 2 * (1 - s / 9)) for s in (i + 0.5 for i in range(9))]
    assert [row["lr"] for row in rows(folder, "train")] == pytest.approx(rates)


def test_a_row_holds_the_means_of_the_terms_since_the_last(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(loop, "LOG_EVERY", 1)
        single = rows(train(FULL, tmp_path / "each", device="cpu"), "train")
    both = rows(train(FULL, tmp_path / "epoch", device="cpu"), "train")
    assert list(both[0]["terms"]) == ["natural", "local agreement", "transfer"]
    for i, row in enumerate(both):
        of_epoch = single[3 * i : 3 * i + 3]
        for name, value in row["terms"].items():
            assert value == pytest.approx(sum(one["terms"][name] for one in of_epoch) / 3)
        assert row["loss"] == pytest.approx(sum(row["terms"].values()))


def test_with_an_average_it_is_what_is_saved_and_validated(tmp_path, monkeypatch):
    judged = []
    classify = validation.classify
    monkeypatch.setattr(validation, "classify", lambda model, split: judged.append(model) or classify(model, split))
    folder = train(FULL, tmp_path / "run", device="cpu")
    assert same(judged[-1].state_dict(), weights(folder / "last.safetensors"))
    assert same(state(folder)["average"], weights(folder / "last.safetensors"))
    assert not same(weights(network_weights(folder)), weights(folder / "last.safetensors"))


def test_training_lowers_the_loss(tmp_path):
    run = tiny(objective=Standard(), optimizer=Adam(lr=0.01), epochs=15, augment=Augment())
    losses = [row["loss"] for row in rows(train(run, tmp_path / "run", device="cpu"), "train")]
    assert losses[-1] < 0.7 * losses[0]


def test_the_weights_say_which_step_run_and_data_they_are_of(tmp_path):
    folder = train(FULL, tmp_path / "run", device="cpu")
    _, about = read_weights(folder / "last.safetensors")
    assert (about["run"], about["step"], about["classes"], about["channels"]) == ("tiny", 9, 4, 1)
    assert about["shape"] == [1, 8, 8]
    assert about["data"] == describe(FULL.data)
    assert about["id"] == json.loads((folder / "run.json").read_text())["id"]


def test_a_folder_beyond_the_end_of_the_run_is_refused(tmp_path):
    folder = train(tiny(), tmp_path / "run", device="cpu")
    made = Folder(folder, tiny(), (1, 8, 8), "abcd", {})
    point = made.newest()
    assert point is not None
    made.commit(dataclasses.replace(point, step=12))
    with pytest.raises(UsageError, match="is at step 12, beyond this run's 9"):
        train(tiny(), folder, device="cpu")


# extra data


@pytest.fixture
def extra_file(tmp_path):
    """Eleven extra images whose first pixel is 200 and more, in the format of generated data."""
    images = np.full((11, 8, 8, 1), 7, np.uint8)
    images[:, 0, 0, 0] = range(200, 211)
    np.savez(tmp_path / "extra.npz", image=images, label=np.arange(11) % 4)
    return tmp_path / "extra.npz"


def seen_by(run, out, monkeypatch, **stop):
    """(first pixels of every batch that the objective saw, the folder)."""
    seen = []
    call = Standard.__call__

    def look(self, model, x, y, noise):
        seen.append((x[:, 0, 0, 0] * 255).round().int().tolist())
        return call(self, model, x, y, noise)

    monkeypatch.setattr(Standard, "__call__", look)
    with contextlib.suppress(Stopped):
        train(run, out, device="cpu", **stop)
    monkeypatch.setattr(Standard, "__call__", call)
    return seen


def test_each_batch_has_its_share_of_extra_images_each_once_a_pass(tmp_path, extra_file, monkeypatch):
    run = tiny(objective=Standard(), augment=Augment(), extra=Extra(str(extra_file), fraction=0.375))
    seen = seen_by(run, tmp_path / "run", monkeypatch)
    assert len(seen) == 3 * (26 // 5)  # an epoch is a pass over the 26 images of the data set, five in a batch
    for batch in seen:
        assert [pixel >= 200 for pixel in batch] == [False] * 5 + [True] * 3
    first_pass = [pixel for batch in seen[:3] for pixel in batch[5:]]
    assert len(set(first_pass)) == 9
    assert first_pass != [pixel for batch in seen[3:6] for pixel in batch[5:]]
    epoch = [pixel for batch in seen[:5] for pixel in batch[:5]]
    assert len(set(epoch)) == 25
    assert "generated images from" in json.loads((tmp_path / "run" / "run.json").read_text())["extra"]


def test_an_interrupted_run_sees_the_same_extra_images(tmp_path, extra_file, monkeypatch):
    run = tiny(objective=Standard(), augment=Augment(), extra=Extra(str(extra_file), fraction=0.375))
    whole = seen_by(run, tmp_path / "whole", monkeypatch)
    before = seen_by(run, tmp_path / "run", monkeypatch, watch=stop_after(7))
    after = seen_by(run, tmp_path / "run", monkeypatch)
    assert before == whole[:7]
    assert after == whole[5:]  # the newest checkpoint is that of the first epoch's end
    assert same(weights(tmp_path / "run" / "last.safetensors"), weights(tmp_path / "whole" / "last.safetensors"))


@pytest.mark.parametrize("fraction", [0.05, 0.95])
def test_a_fraction_that_leaves_one_kind_out_is_refused(fraction):
    with pytest.raises(UsageError, match=r"extra.fraction is .* such that a batch has images of both kinds"):
        tiny(extra=Extra("some.npz", fraction=fraction))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 24, "fraction": 0.5}, "number of extra images in a batch is 12; it must be in 1..11"),
        ({"batch": 30, "fraction": 0.1}, "number of a batch's images that are not extra ones is 27; .*, 26"),
    ],
)
def test_too_few_images_of_either_kind_for_a_batch_are_refused_before_a_folder_is_made(
    tmp_path, extra_file, changes, said
):
    run = tiny(extra=Extra(str(extra_file), fraction=changes["fraction"]), batch=changes["batch"])
    with pytest.raises(UsageError, match=said):
        train(run, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


# images that do not fit


@pytest.mark.parametrize("objective", [RLFATP(k=9), RLFATT(k=9)])
def test_more_blocks_than_the_image_has_pixels_are_refused_before_a_folder_is_made(tmp_path, objective):
    with pytest.raises(
        UsageError, match=r"objective.k is 9; it must be the number of blocks, 1 to the image's side \(8\)"
    ):
        train(tiny(objective=objective), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_crop_larger_than_the_image_is_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(UsageError, match="crop is 8; it must be below the image's side"):
        train(tiny(augment=Augment(crop=8, padding="reflect")), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "changed", [{"classes": tuple("wxyz")}, {"classes": tuple("abcde")}, {"labels": torch.zeros(26).long()}]
)
def test_a_run_does_not_go_on_with_other_classes_or_labels(tmp_path, monkeypatch, changed):
    with pytest.raises(Stopped):
        train(tiny(), tmp_path / "run", device="cpu", watch=stop_after(4))
    part, test = InMemory().load()
    monkeypatch.setattr(InMemory, "load", lambda *_, **__: (dataclasses.replace(part, **changed), test))
    with pytest.raises(UsageError, match="began with other classes, or other numbers of images in them, than made for"):
        train(tiny(), tmp_path / "run", device="cpu")
