"""benchmarks/autoattack.py: both contestants do what their libraries do; what is printed and written is what was found."""

import json
import sys
from statistics import mean

import pytest
import torch
from pyautoattack import AutoAttack as Reference
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_base import FABAttack
from pyautoattack.square import SquareAttack

from hardy.attacks import L2, AutoAttack, Linf
from hardy.errors import UsageError
from hardy.evaluation.stream import classify, under_attack
from toys import classifier
from toys import split as made

BALLS = [Linf(0.25), L2(0.6)]
SETTINGS = (
    "eps",
    "norm",
    "seed",
    "n_restarts",
    "loss",
    "n_iter",
    "eot_iter",
    "n_target_classes",
    "targeted",
    "n_queries",
    "p_init",
)
CLASSES = {APGDAttack: "apgd-ce", APGDAttack_targeted: "apgd-t", FABAttack: "fab-t", SquareAttack: "square"}


@pytest.fixture(scope="module")
def benchmark(benchmarks):
    return benchmarks.autoattack


@pytest.fixture(scope="module")
def problem():
    """(network of ten classes, 12 images, the last of them misclassified)."""
    model = classifier(10)
    split = made(12, model, 10)
    split.labels[-1] = (split.labels[-1] + 1) % 10
    return model, split


@pytest.mark.parametrize("ball", BALLS)
def test_a_part_of_each_is_that_of_its_library(benchmark, problem, ball):
    model, split = problem
    clean = classify(model, split).correct
    theirs = benchmark.run(benchmark.theirs(ball, 7), model, split, ["apgd-ce"], clean, 1)
    whole = Reference(model, version="standard", eps=ball.eps, norm=type(ball).__name__, seed=1)
    assert whole.attacks_to_run == benchmark.PARTS
    whole.attacks_to_run = ["apgd-ce"]
    left = clean.nonzero().squeeze(1)  # the batches are cut from these
    x_adv, _ = whole.run_standard_evaluation(split.x(left), split.labels[left], batch_size=7)
    with torch.no_grad():
        assert torch.equal(model(x_adv).argmax(1) == split.labels[left], theirs.robust[0][left])

    ours = benchmark.run(benchmark.ours(ball, 7), model, split, ["apgd-ce"], clean, 1)
    part = under_attack(model, split, AutoAttack(ball).parts["apgd-ce"], clean, seed=1)
    assert torch.equal(ours.robust[0], part.correct)
    assert (ours.forwards[0], ours.backwards[0]) == (part.forwards, part.backwards)
    for found in (ours, theirs):
        assert 0 < int(found.robust[0].sum()) < int(clean.sum()) == 11
        assert found.seconds[0] > 0


def test_every_part_of_the_reference_is_set_as_in_its_standard_version(benchmark, problem, monkeypatch):
    seen = {}

    def spy(name):
        def perturb(attack, x, y):
            seen[name] = {key: getattr(attack, key, None) for key in SETTINGS}
            return x

        return perturb

    for cls, name in CLASSES.items():
        monkeypatch.setattr(cls, "perturb", spy(name))
    found = benchmark.run(benchmark.theirs(Linf(), 20), *problem, benchmark.PARTS, torch.ones(12, dtype=torch.bool), 5)
    assert [int(held.sum()) for held in found.robust] == [11] * 4
    common = {"eps": 8 / 255, "norm": "Linf", "seed": 5, "n_restarts": 1}
    assert {name: {key: value for key, value in of.items() if value is not None} for name, of in seen.items()} == {
        "apgd-ce": common | {"loss": "ce", "n_iter": 100, "eot_iter": 1},
        "apgd-t": common | {"loss": "dlr-targeted", "n_iter": 100, "eot_iter": 1, "n_target_classes": 9},
        "fab-t": common | {"targeted": True, "n_iter": 100, "n_target_classes": 9},
        "square": common | {"loss": "margin", "targeted": False, "n_queries": 5000, "p_init": 0.8},
    }


def test_the_passes_of_the_reference_are_its_attacks_and_one_for_each_verdict(benchmark, problem):
    model, split = problem
    held = torch.ones(12, dtype=torch.bool)
    held[3] = False
    _, forwards, backwards = benchmark.theirs(Linf(0.0), 5)(model, split, "apgd-ce", held, 0)
    # of 11 images one is misclassified as it is, which the attack finds out by a forward pass of all
    assert backwards == 101 * 10
    assert forwards == 11 + 101 * 10 + 11
    assert benchmark.theirs(Linf(0.1), 5)(model, split, "square", ~held & held, 0)[1:] == (0, 0)


def test_what_is_printed_and_written_is_what_was_found(benchmark, problem, tmp_path, capsys, monkeypatch):
    model, split = problem
    monkeypatch.setattr(benchmark, "network", lambda name: (model, split))
    out = tmp_path / "found.json"
    flags = ["--parts", "apgd-ce", "--eps", "1/4", "--n", "9", "--seeds", "2", "--batch", "4", "--bfloat16"]
    benchmark.main([*flags, "--json", str(out)])
    written, shown = json.loads(out.read_text(encoding="utf-8")), capsys.readouterr().out.splitlines()
    assert written["settings"]["eps"] == 0.25
    assert written["clean"] == classify(model, split).correct.tolist()[:9]
    assert shown[0].startswith("rlfat-p-cifar10-small, 9 images, 9 correct, Linf 0.25, 2 seeds, batch 4, ")
    found = written["found"]
    assert list(found) == ["hardy", "pyautoattack", "hardy, bfloat16"]
    for name, seeds in found.items():
        robust = mean(sum(one["robust"][0]) for one in seeds)
        forwards, backwards, seconds = (
            mean(one[of][0] for one in seeds) for of in ("forwards", "backwards", "seconds")
        )
        cells = f"{robust:.1f} {forwards / 1000:,.1f} {backwards / 1000:,.1f} {seconds:.1f}"
        assert f"{name} apgd-ce {cells}" in [" ".join(line.split()) for line in shown]
    spent = {name: sum(sum(one["seconds"]) for one in seeds) for name, seeds in found.items()}
    for name in ("hardy", "hardy, bfloat16"):
        assert f"{name}: {spent['pyautoattack'] / spent[name]:.2f} times the speed of pyautoattack" in shown
        pairs = zip(found[name], found["pyautoattack"], strict=True)
        apart = mean(sum(a != b for a, b in zip(x["robust"][-1], y["robust"][-1], strict=True)) for x, y in pairs)
        assert f"{name} disagrees with pyautoattack on {apart:.1f} of 9" in shown
    assert sum("disagrees with itself under another seed on " in line for line in shown) == 3


def test_only_the_contestant_that_says_so_crafts_in_bfloat16(benchmark, problem, monkeypatch):
    seen = []

    def spy(model, split, name, robust, seed):
        seen.append((seed, model.autocast))
        return robust, 0, 0

    for contestant in ("ours", "theirs"):
        monkeypatch.setattr(benchmark, contestant, lambda ball, batch: spy)
    clean = torch.ones(12, dtype=torch.bool)
    benchmark.measure(*problem, Linf(), ["apgd-ce"], clean, seeds=2, batch=4, bfloat16=True)
    assert seen == [(seed, kind) for seed in (0, 1) for kind in (None, None, torch.bfloat16)]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--n", "0"], "argument --n: it is '0'; it must be a whole number of at least 1."),
        (["--seeds", "-1"], "argument --seeds: it is '-1'; it must be a whole number of at least 1."),
        (["--batch", "2.5"], "argument --batch: it is '2.5'; it must be a whole number of at least 1."),
        (["--eps", "8/0"], "argument --eps: it is '8/0'; it must be a number, such as 8/255 or 0.5."),
        (["--eps", "8"], "eps is 8.0; it must be in [0, 1], the pixels' units: 8/255, not 8."),
        (["--norm", "l1"], "argument --norm: invalid choice: 'l1'"),
        (["--parts", "apgd-ce,fab"], "it is 'apgd-ce,fab'; it must be some of apgd-ce,apgd-t,fab-t,square, each once."),
        (["--parts", "square,square"], "it must be some of apgd-ce,apgd-t,fab-t,square, each once."),
        (["--network", "resnet"], "argument --network: invalid choice: 'resnet'"),
        (["--device", "cuda"], "--device is cuda, and torch finds no such device here; cpu is allowed."),
        (["--json", "{tmp}/there"], "there; it must be a file that does not exist yet, in a folder that does."),
        (["--json", "{tmp}/a/b"], "b; it must be a file that does not exist yet, in a folder that does."),
    ],
)
def test_wrong_flags_are_refused_with_a_sentence_before_anything_is_measured(benchmark, refused, flags, said):
    refused(benchmark, flags, said)


def test_images_that_are_not_there_are_named_in_a_sentence(benchmark, capsys, monkeypatch):
    def missing(name):
        raise UsageError("CIFAR-10 is nowhere.")

    monkeypatch.setattr(benchmark, "network", missing)
    with pytest.raises(SystemExit):
        benchmark.main(["--n", "1"])
    assert "error: CIFAR-10 is nowhere." in capsys.readouterr().err


def test_without_pyautoattack_a_sentence_says_how_to_get_it(benchmark, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(SystemExit, match=r"`pip install --editable '\.\[test\]'` .* installs it\."):
        benchmark.theirs(Linf(), 5)
