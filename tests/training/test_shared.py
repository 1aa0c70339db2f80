"""A run of two processes (gloo, CPU): the steps of one process, its folder, its checkpoints, and an end that both agree on."""

import dataclasses
import json
import os
import re
import signal
from pathlib import Path

import pytest
import torch

from hardy import files
from hardy.attacks import PGD, Linf, Restarts, Worst
from hardy.attacks.names import in_balls
from hardy.describe import describe, rebuild, settings
from hardy.errors import FailedError, StoppedError, UsageError
from hardy.files import WriteError
from hardy.models.own import own
from hardy.objectives import AWP, PGDAT, RLFATP, RLFATT, Standard
from hardy.parallel import Group, joined, this_group
from hardy.recipes.methods import METHODS, Inner, objective
from hardy.training import loop, record
from hardy.training.loop import train
from hardy.training.optim import SGD
from hardy.training.progress import Watch
from hardy.training.run import Run
from pairs import together
from training.fakes import FULL, NotFiniteAt, rows, state, tiny, weights

pytestmark = pytest.mark.slow

INNER = Inner(Linf(0.1), 2)
COUPLED = {method for method in METHODS if objective(method, INNER).coupled}


@settings
class SignalledAt(RLFATT):
    """RLFATT, in whose step (counted from 1) the second process gets SIGTERM."""

    at: int = 5

    def terms(self, model, x, y, made, noise):
        if noise.step + 1 == self.at and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        return super().terms(model, x, y, made, noise)


def with_dropout(classes: int) -> torch.nn.Module:
    """A network of the user's, one of whose parameters no image reaches."""
    layers = [torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.Dropout(0.5)]
    ends = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, classes)]
    made = torch.nn.Sequential(*layers, *ends)
    made.register_parameter("unused", torch.nn.Parameter(torch.ones(1)))
    return made


class OwnNorm(torch.nn.BatchNorm2d):
    """A batch norm for which nothing can stand in."""

    def forward(self, x):
        return super().forward(x)


def with_own_norm(classes: int) -> torch.nn.Module:
    """A network of the user's with such a batch norm."""
    pool = torch.nn.AdaptiveAvgPool2d(1)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), OwnNorm(4), pool, torch.nn.Flatten(), torch.nn.Linear(4, classes)
    )


def plain(**changes) -> Run:
    """Two steps of plain descent: Adam's first step is the gradient's sign, which rounding turns where it is near 0."""
    return tiny(**{"optimizer": SGD(lr=0.1, momentum=0.9), "epochs": None, "steps": 2, **changes})


def runs() -> dict[str, Run]:
    """By name, runs that are the same with one process and with two."""
    made = {method: plain(objective=objective(method, INNER)) for method in METHODS if method not in COUPLED}
    for mode in ("train", "batch"):
        for method in ("pgdat", "trades", "avmixup"):
            made[f"{method}-{mode}"] = plain(objective=objective(method, Inner(Linf(0.1), 2, batch_norm=mode)))
    made["odd"] = plain(batch=7)  # 4 images and 3
    made["parts"] = plain(batch=8, micro_batch=3)  # 2 and 1, 2 and 1, 1 and 1
    made["parts-train"] = plain(batch=8, micro_batch=5, objective=PGDAT(PGD(Linf(0.1), steps=2), "train"))
    made["clipped"] = plain(optimizer=SGD(lr=0.1, clip=0.01))
    made["full"] = dataclasses.replace(FULL, optimizer=SGD(lr=0.02))
    return made


STOPPED = dataclasses.replace(FULL, objective=SignalledAt(RLFATT().attack), optimizer=SGD(lr=0.02))
PER_PROCESS = plain(norm_over="process", objective=Standard())
OWN = plain(model=own(with_dropout), objective=Standard(), steps=3)


def pair(folder: Path) -> None:
    """What each of the two processes does."""
    torch.set_num_threads(1)
    quickly(setattr)
    said: dict[str, list[str]] = {}

    def trained(name: str, run: Run, of: str = "") -> None:
        said[name] = []
        try:
            train(run, folder / f"{name}{of}", device="cpu", watch=Watch(note=said[name].append))
        except (FailedError, StoppedError, UsageError) as error:
            said[name].append(f"{type(error).__name__}: {error}")

    with joined():
        for name, run in runs().items():
            trained(name, run)
        for method in sorted(COUPLED):
            trained(method, plain(objective=objective(method, INNER)))
        trained("own", OWN)
        trained("own-norm", plain(model=own(with_own_norm), objective=Standard()))
        trained("per-process", PER_PROCESS)
        trained("unseen", plain(), os.environ["RANK"])
        trained("other", plain(seed=1))
        trained("small", plain(batch=8, micro_batch=7))
        trained("not-finite", plain(objective=NotFiniteAt(2)))
        trained("stopped", STOPPED)
        commit = loop.Folder.commit
        if this_group().is_first:
            loop.Folder.commit = full_disk
        trained("full-disk", plain())
        loop.Folder.commit = commit
    (folder / f"said-{os.environ['RANK']}.json").write_text(json.dumps(said))


def quickly(put) -> None:
    """A row for each step; nothing need be on the disk before it is read again, or name the commit."""
    put(loop, "LOG_EVERY", 1)
    put(files, "_sync", lambda path: None)
    put(record, "_commit", lambda: None)


def full_disk(folder, point):
    raise WriteError("No room.")


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    """The folder of all that two processes made; what one process began in it, and what it makes of the same runs, are there."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        quickly(patch.setattr)
        for name, run in runs().items():
            train(run, folder / "alone" / name, device="cpu")
        train(plain(), folder / "other", device="cpu")
        train(STOPPED, folder / "alone" / "stopped", device="cpu")
        begun(STOPPED, folder / "stopped")
        together("training.test_shared:pair", folder)
        train(rebuild(describe(STOPPED), Run), folder / "stopped", device="cpu")
    return folder


def begun(run: Run, out: Path) -> None:
    """Train until the first epoch's end is saved, and a step more."""

    def stop(step: int, total: int) -> None:
        if step == 4:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(run, out, device="cpu", watch=Watch(step=stop))


def said(folder: Path, name: str) -> list[list[str]]:
    """What each process said of a run."""
    return [json.loads((folder / f"said-{rank}.json").read_text())[name] for rank in range(2)]


def assert_near(one: Path, other: Path) -> None:
    """The same weights, statistics and rows, rounding aside."""
    expected = weights(one / "last.safetensors")
    given = weights(other / "last.safetensors")
    assert given.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            given[name], value, rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    for a, b in zip(rows(one, "train"), rows(other, "train"), strict=True):
        assert b["terms"] == pytest.approx(a["terms"], rel=1e-5, abs=1e-6)
    assert rows(one, "validation") == rows(other, "validation")


@pytest.mark.parametrize("name", runs())
def test_two_processes_make_the_steps_of_one(found, name):
    assert_near(found / "alone" / name, found / name)
    assert {path.name for path in (found / name).iterdir()} - {".lock"} == {
        path.name for path in (found / "alone" / name).iterdir()
    } - {".lock"}


def test_the_passes_of_both_processes_are_counted(found):
    one, other = (
        [json.loads(line) for line in (folder / "pgdat" / "costs.jsonl").read_text().splitlines()]
        for folder in (found / "alone", found)
    )
    assert [(row["forwards"], row["backwards"]) for row in one] == [
        (row["forwards"], row["backwards"]) for row in other
    ]


def test_a_run_goes_on_with_two_processes_and_back(found):
    first, second = said(found, "stopped")
    assert "Going on from step 3 of 9." in first[0]
    assert "StoppedError: Stopped after step 5 of 9, saved in" in first[1]  # the signal was the second process's
    assert second == first[1:]
    assert_near(found / "alone" / "stopped", found / "stopped")


def test_the_folder_says_how_many_processes_began_the_run(found):
    assert json.loads((found / "pgdat" / "run.json").read_text())["processes"] == 2
    assert "processes" not in json.loads((found / "alone" / "pgdat" / "run.json").read_text())


def test_a_folder_that_not_all_processes_see_is_told_of(found):
    first, second = said(found, "unseen")
    assert first[0].startswith(
        f"Not all processes see {found / 'unseen0'}: started again with the first of them on another"
    )
    assert second == []
    assert not (found / "unseen1").exists()


@pytest.mark.parametrize("method", sorted(COUPLED))
def test_a_method_that_couples_a_batch_says_that_each_process_has_its_own_part(found, method):
    first, second = said(found, method)
    assert "each of the 2 processes at those of its own part" in first[0]
    assert second == []
    assert rows(found / method, "train")[-1]["step"] == 2


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("other", "UsageError: .* holds a run with other settings: seed"),
        (
            "small",
            "UsageError: The smallest part that micro_batch makes of a batch is 1; .* the number of processes, 2",
        ),
        ("own-norm", r"UsageError: The batch norm module\.1 is an OwnNorm, whose forward is its own"),
        ("not-finite", "FailedError: The loss is not finite at step 2: .*No checkpoint had been made"),
        ("full-disk", "FailedError: No room. No checkpoint had been made in .*; the same command goes on from there."),
    ],
)
def test_both_processes_end_with_the_same_sentence(found, name, sentence):
    first, second = said(found, name)
    assert first == second
    assert len(first) == 1
    assert re.match(sentence, first[0])


def test_batch_norm_of_each_processs_images_keeps_the_mean_of_their_statistics(found):
    kept = weights(found / "per-process" / "last.safetensors")
    synchronised = weights(found / "standard" / "last.safetensors")
    means = [name for name in kept if name.endswith("running_mean")]
    assert means
    # after the first step these would be equal; the second was made from other weights
    assert any(not torch.allclose(kept[name], synchronised[name], atol=1e-7) for name in kept)
    for name in means:
        torch.testing.assert_close(kept[name], synchronised[name], rtol=0.1, atol=0.02)


def test_a_network_of_the_users_with_dropout_and_a_parameter_without_gradient_is_trained(found):
    assert said(found, "own") == [[], []]
    kept = weights(found / "own" / "last.safetensors")
    assert all(bool(value.isfinite().all()) for value in kept.values())
    assert float(next(value for name, value in kept.items() if name.endswith("unused"))) == 1.0


@pytest.mark.parametrize(
    "attack", [Restarts(PGD(steps=1), 2), Worst((PGD(steps=1),)), in_balls("apgd-ce", [Linf(0.1)])[0][1]]
)
@pytest.mark.parametrize("around", [lambda inner: inner, AWP])
def test_an_attack_that_makes_as_many_passes_as_it_needs_is_refused_where_each_pass_is_of_all_processes(
    monkeypatch, tmp_path, attack, around
):
    monkeypatch.setattr(loop, "this_group", lambda: Group(0, 2))
    for mode in ("train", "batch"):
        with pytest.raises(UsageError, match=f"batch_norm is '{mode}'.*leaves images in each where it succeeds"):
            train(plain(objective=around(PGDAT(attack, mode))), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_processes_that_share_nothing_out_train_by_themselves(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert this_group().size == 1
    folder = train(tiny(epochs=None, steps=1, objective=RLFATP(PGD(steps=1))), tmp_path / "run", device="cpu")
    assert state(folder)["step"] == 1
