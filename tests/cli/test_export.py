"""hardy export: what is written is the network that was measured, under others' names; nothing is overwritten or left half."""

import dataclasses
import json
import pickle
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from commands import run
from safetensors.torch import load_file

import hardy
from hardy.attacks import AutoAttack, Linf
from hardy.cli import shared
from hardy.data import CIFAR10, Dataset, cifar
from hardy.describe import describe, rebuild
from hardy.files import digest
from hardy.models import preact_resnet_18, resnet_18
from hardy.models.checkpoints import read_weights, save_weights
from hardy.models.foreign import load as load_foreign
from hardy.randomness import Noise
from hardy.results import Measurement, append

N = 30  # test images of the CIFAR-10 made up here


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """A CIFAR-10 of few random images."""
    small = dataclasses.replace(cifar._CIFAR10, train_count=4, test_count=N)
    monkeypatch.setattr(CIFAR10, "_layout", small)
    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name, count in {**{f"data_batch_{i}": 4 for i in range(1, 6)}, "test_batch": N}.items():
        pixels = (Noise.of_batch(count, purpose=name).uniform((3072,)) * 255).to(torch.uint8).numpy()
        labels = [i % 10 for i in range(count)]
        (folder / name).write_bytes(pickle.dumps({b"data": pixels, b"labels": labels}, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": list("abcdefghij")}, protocol=2))
    monkeypatch.setenv("HARDY_DATA", str(tmp_path / "data"))
    return tmp_path


def trained_on_cifar10(folder: Path, architecture) -> Path:
    """Weights that say they are of a run on CIFAR-10, beside its run.json."""
    folder.mkdir()
    model = architecture.build(10, 3, Noise.of_batch(1, 4))
    model(Noise.of_batch(4).uniform((3, 32, 32)))
    settings = dataclasses.replace(hardy.recipe("rlfat-p-cifar10"), name="mine", model=architecture)
    about = {"run": settings.name, "step": 7, "data": describe(CIFAR10()), "ball": describe(Linf(8 / 255))}
    file = folder / "last.safetensors"
    save_weights(file, model.eval().state_dict(), architecture, 10, 3, about)
    (folder / "run.json").write_text(json.dumps({"run": describe(settings), "hardy": "0.1.0"}))
    return file


def measured(file: Path, what: str, value: float, n: int, **settings) -> Measurement:
    """A row of these weights, as hardy evaluate writes it."""
    header = read_weights(file)[1]
    about = {
        "weights": "last",
        "weights sha256": digest(file),
        "network": header["model"],
        "step": header["step"],
        "precision": "float32",
        "data": rebuild(header["data"], Dataset).load()[1].origin,
    }
    return Measurement("a run", what, value, "fraction", n, value / 2, value, about | settings, 1.0, 2, 3, "cpu")


AUTO = {"attack": AutoAttack(Linf(8 / 255)).described, "summary": "AutoAttack", "judge": "any", "seed": 0}


# RobustBench


@pytest.mark.parametrize(
    "architecture",
    [resnet_18(2), preact_resnet_18(2, mean=(0.49, 0.48, 0.45), deviation=(0.25, 0.24, 0.26))],
)
def test_what_is_written_for_robustbench_is_the_network_and_plain_tensors(capsys, cifar10, architecture):
    file = trained_on_cifar10(cifar10 / "run", architecture)
    ran = run(
        capsys, "export", cifar10 / "run", "--to", "robustbench", "--out", cifar10 / "rb", "--name", "Me2024Robust"
    )
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in (cifar10 / "rb").iterdir()) == [
        "Me2024Robust.json", "Me2024Robust.pt", "claim.md", "network.py",
    ]  # fmt: skip
    state = torch.load(cifar10 / "rb" / "Me2024Robust.pt", weights_only=True)
    x = Noise.of_batch(5).uniform((3, 32, 32))
    with torch.no_grad():
        expected = hardy.load(file)(x)
        assert torch.equal(load_foreign(cifar10 / "rb" / "Me2024Robust.pt", architecture).model(x), expected)
        network = runpy.run_path(str(cifar10 / "rb" / "network.py"))["network"]()
        network.load_state_dict(state)  # as a stranger does it: no buffer too many
        assert torch.equal(network(x), expected)
    assert "all 30 images" in ran.out
    assert "Not yet a claim: AutoAttack was not measured in Linf 8/255" in ran.out
    assert "Left open, for you to say by flags: link, name, authors, venue, reported." in ran.out
    assert (
        f"autoattack_acc (`hardy evaluate {cifar10 / 'run'} --norm linf --eps 8/255 --attacks autoattack --n 30 --json FILE`)"
        in ran.out
    )


def test_the_numbers_of_the_claim_are_rows_of_these_very_weights(capsys, cifar10):
    file = trained_on_cifar10(cifar10 / "run", resnet_18(2))
    rows = [
        measured(file, "accuracy under autoattack", 0.1, N, **AUTO),
        measured(file, "accuracy under autoattack", 0.9, N, **AUTO | {"weights sha256": "other"}),
        measured(file, "accuracy under autoattack", 0.8, N, **AUTO, **{"crafted on": ["other"]}),
        measured(file, "accuracy under autoattack", 0.3, N, **AUTO, data="CIFAR-10 train, 20 images"),
        measured(file, "accuracy under autoattack", 0.7, N, **AUTO, **{"data set": {"type": "CIFAR100"}}),
        measured(file, "accuracy under autoattack", 0.6, N, **AUTO | {"attack": AutoAttack(Linf(4 / 255)).described}),
        measured(
            file, "accuracy under autoattack", 0.5, N, **AUTO | {"attack": AutoAttack(Linf(8 / 255), "plus").described}
        ),
        measured(file, "accuracy under autoattack", 0.4, N - 1, **AUTO),
    ]
    append(cifar10 / "run" / "results.jsonl", rows)
    told = {
        "verdict": "masked",
        "why": "It is.",
        "ball": "Linf 8/255",
        "n": 20,
        "signs": [],
        "weights sha256": digest(file),
    }
    (cifar10 / "run" / "diagnosis.json").write_text(json.dumps(told))
    flags = shlex.split("--title T --link https://example.org --authors A --venue 'V 2024' --reported 12.5")
    ran = run(capsys, "export", cifar10 / "run", "--to", "robustbench", "--out", cifar10 / "rb", *flags)
    assert ran.code == 0, ran.err
    told = json.loads((cifar10 / "rb" / "mine.json").read_text())
    assert told["autoattack_acc"] == "10.00"
    assert told["unreliable"] is True
    assert told["additional_data"] is False
    assert (told["number_forward_passes"], told["dataset"], told["eps"]) == (1, "cifar10", "8/255")
    assert (told["reported"], told["architecture"]) == ("12.5", "ResNet-18 (width 2)")
    assert told["clean_acc"] == f"{100 * accuracy(file):.2f}"
    assert "Not yet" not in ran.out
    assert "Left open" not in ran.out


def test_a_class_of_the_zoo_gets_its_normalisation_as_buffers(capsys, cifar10):
    architecture = resnet_18(64, mean=(0.49, 0.48, 0.45), deviation=(0.25, 0.24, 0.26))
    trained_on_cifar10(cifar10 / "run", architecture)
    ran = run(capsys, "export", cifar10 / "run", "--to", "robustbench", "--out", cifar10 / "rb", "--name", "M")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in (cifar10 / "rb").iterdir()) == ["M.json", "M.pt", "claim.md"]
    state = torch.load(cifar10 / "rb" / "M.pt", weights_only=True)
    assert state["mu"].flatten().tolist() == pytest.approx([0.49, 0.48, 0.45])
    assert "in a subclass that normalises by the buffers mu and sigma" in (cifar10 / "rb" / "claim.md").read_text()


@pytest.mark.parametrize(
    ("told", "unreliable"),
    [
        ([("no sign", "Linf 4/255")], None),  # nothing was measured in the claim's ball
        ([("masked", "L2 0.5")], True),
        ([("masked", "L2 0.5"), ("no sign", "Linf 8/255")], False),
        ([("no sign", "L2 0.5"), ("suspicious", "Linf 8/255")], True),
    ],
)
def test_a_verdict_in_another_ball_is_none_on_this_one_unless_it_is_bad(capsys, cifar10, told, unreliable):
    file = trained_on_cifar10(cifar10 / "run", resnet_18(2))
    for i, (verdict, ball) in enumerate(told):
        found = {"verdict": verdict, "why": "So.", "ball": ball, "n": 20, "signs": [], "weights sha256": digest(file)}
        (cifar10 / "run" / f"diagnosis-{i}.json").write_text(json.dumps(found))
    ran = run(capsys, "export", cifar10 / "run", "--to", "robustbench", "--out", cifar10 / "rb", "--name", "M")
    assert ran.code == 0, ran.err
    assert json.loads((cifar10 / "rb" / "M.json").read_text())["unreliable"] is unreliable
    doubted = "on masked gradients is" in ran.out
    assert doubted == ("**Unreliable.**" in (cifar10 / "rb" / "claim.md").read_text()) == bool(unreliable)


def accuracy(file: Path) -> float:
    """Of the images that the fixture made, by hand."""
    _, test = CIFAR10().load()
    with torch.no_grad():
        return float((hardy.load(file)(test.x()).argmax(1) == test.labels).float().mean())


def test_the_threat_model_is_that_of_training_or_what_is_asked_for(capsys, cifar10):
    trained_on_cifar10(cifar10 / "run", resnet_18(2))
    for flags, norm, eps, said in (
        ((), "Linf", "8/255", False),
        (("--eps", "4/255"), "Linf", "4/255", True),
        (("--norm", "l2"), "L2", "0.5", False),
    ):
        folder = cifar10 / f"{norm}-{eps.replace('/', '-')}"
        ran = run(capsys, "export", cifar10 / "run", "--to", "robustbench", "--out", folder, *flags)
        assert ran.code == 0, ran.err
        assert f"- **Threat Model**: {norm}\n- **eps**: {eps}\n" in (folder / "claim.md").read_text()
        assert ("The leaderboard is of eps 8/255; this entry is of 4/255." in ran.out) == said


@pytest.mark.parametrize(
    ("changes", "flags", "additional"),
    [
        ({"extra": {"type": "Extra", "path": "1m.npz"}}, (), None),
        ({"extra": {"type": "Extra", "path": "1m.npz"}}, ("--additional-data", "False"), False),
        ({"unknown": 1}, (), None),
        ({"data": {"type": "Digits"}}, (), None),  # of what it learnt from, nothing is known at RobustBench
        ({}, (), False),
        ({}, ("--additional-data", "True"), True),
    ],
)
def test_whether_there_were_additional_data_is_told_by_the_run_or_by_the_user(
    capsys, cifar10, changes, flags, additional
):
    trained_on_cifar10(cifar10 / "run", resnet_18(2))
    told = json.loads((cifar10 / "run" / "run.json").read_text())
    told["run"] |= changes
    (cifar10 / "run" / "run.json").write_text(json.dumps(told))
    ran = run(capsys, "export", cifar10 / "run", "--to", "robustbench", "--out", cifar10 / "rb", "--name", "M", *flags)
    assert ran.code == 0, ran.err
    assert json.loads((cifar10 / "rb" / "M.json").read_text())["additional_data"] is additional
    assert ("additional_data" in ran.out) == (additional is None)


# Hugging Face


def test_a_card_lies_beside_the_very_file_that_was_measured(capsys, trained, tmp_path):
    run(
        capsys,
        "evaluate",
        trained / "last.safetensors",
        "--attacks",
        "pgd-2",
        "--n",
        20,
        "--json",
        tmp_path / "rows.json",
    )
    out = tmp_path / "card"
    ran = run(
        capsys,
        "export",
        trained,
        "--weights",
        "last",
        "--to",
        "huggingface",
        "--out",
        out,
        "--results",
        tmp_path / "rows.json",
    )
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "network.py",
    ]
    assert (out / "model.safetensors").read_bytes() == (trained / "last.safetensors").read_bytes()
    text = (out / "README.md").read_text()
    assert "| pgd-2 | " in text
    assert digest(trained / "last.safetensors") in text
    header = read_weights(trained / "last.safetensors")[1]
    assert f"These are its last weights, after {header['step']} of {header['steps']} steps." in text
    told = json.loads((out / "config.json").read_text())
    assert told["model"] == {"type": "SmallCNN", "width": 2, "mean": [], "deviation": []}
    assert told["run"]["name"] == "quick"
    assert "The card names no license; --license does." in ran.out
    assert str(tmp_path) not in text + json.dumps(told)


def test_the_cards_code_runs(capsys, trained, tmp_path, monkeypatch):
    assert run(capsys, "export", trained, "--to", "huggingface", "--out", tmp_path / "card").code == 0
    monkeypatch.chdir(tmp_path / "card")
    monkeypatch.syspath_prepend(tmp_path / "card")
    images = Noise.of_batch(3).uniform(hardy.data.Digits().shape)
    blocks = (tmp_path / "card" / "README.md").read_text().split("```python\n")[1:]
    found = []
    with torch.no_grad():
        for block in blocks:
            names = {"images": images}
            exec(block.split("```")[0], names)
            found.append(names["logits"])
    assert len(found) == 2
    assert torch.equal(*found)


def test_weights_of_others_become_ours_and_the_card_says_which_file_was_measured(capsys, cifar10, monkeypatch):
    architecture = preact_resnet_18(2)
    model = architecture.build(10, 3).eval()
    torch.save({"state_dict": {f"module.{n}": v for n, v in model.state_dict().items()}}, cifar10 / "theirs.pt")
    flags = ("--model", "preact_resnet_18", "--model.width", 2, "--data", "cifar10")
    ran = run(capsys, "export", cifar10 / "theirs.pt", *flags, "--to", "huggingface", "--out", cifar10 / "card")
    assert ran.code == 0, ran.err
    text = (cifar10 / "card" / "README.md").read_text()
    assert f"are of the file with the SHA-256 {digest(cifar10 / 'theirs.pt')}" in text
    assert "how they were trained is not told" in text
    x = Noise.of_batch(2).uniform((3, 32, 32))
    with torch.no_grad():
        assert torch.equal(hardy.load(cifar10 / "card" / "model.safetensors")(x), model(x))


def test_weights_of_another_run_beside_a_runs_record_get_none_of_it(capsys, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    told = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**told, "id": "another"}))
    assert run(capsys, "export", folder, "--to", "huggingface", "--out", tmp_path / "card").code == 0
    assert "how they were trained is not told" in (tmp_path / "card" / "README.md").read_text()


def test_ones_own_network_is_exported_without_a_file_of_layers(capsys, tmp_path, monkeypatch):
    (tmp_path / "ownnet.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    layers = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 10)\n"
        "    return nn.Sequential(*layers)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    flags = ("ownnet:build", "--data", "digits", "--to", "huggingface", "--out", tmp_path / "card")
    ran = run(capsys, "export", *flags)
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in (tmp_path / "card").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    block = (tmp_path / "card" / "README.md").read_text().split("```python\n")[2].split("```")[0]
    names = {"images": Noise.of_batch(3).uniform(hardy.data.Digits().shape)}
    monkeypatch.chdir(tmp_path / "card")
    exec(block, names)
    hardy.models.own("ownnet:build")
    assert torch.equal(names["logits"], hardy.load("model.safetensors")(names["images"]))
    assert (
        load_file(tmp_path / "card" / "model.safetensors").keys()
        == hardy.load(tmp_path / "card" / "model.safetensors").state_dict().keys()
    )


def test_places_of_this_machine_in_the_settings_are_told(capsys, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    told = json.loads((folder / "run.json").read_text())
    told["run"]["extra"] = {"type": "Extra", "path": "/home/ann/1m.npz"}
    (folder / "run.json").write_text(json.dumps(told))
    ran = run(capsys, "export", folder, "--to", "huggingface", "--out", tmp_path / "card")
    assert "name places on this machine: /home/ann/1m.npz." in " ".join(ran.out.split())


def test_weights_of_a_run_that_was_not_finished_say_so(capsys, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    told = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**told, "steps": 10 * told["steps"]}))
    ran = run(capsys, "export", folder, "--to", "huggingface", "--out", tmp_path / "card")
    said = f"Its run was not trained to the end: it made {told['steps']} of {10 * told['steps']} steps."
    assert said in ran.out
    assert said in (tmp_path / "card" / "README.md").read_text().split("## Limits")[1]
    assert "not trained to the end" not in run(
        capsys, "export", trained, "--to", "huggingface", "--out", tmp_path / "whole"
    ).out  # fmt: skip


def test_results_of_other_weights_are_left_out_aloud(capsys, trained, tmp_path):
    found = {"verdict": "masked", "why": "So.", "ball": "Linf 0.1", "n": 20, "signs": [], "weights sha256": "other"}
    (tmp_path / "v.json").write_text(json.dumps(found))
    flags = ("--to", "huggingface", "--out", tmp_path / "card", "--results", tmp_path / "v.json")
    ran = run(capsys, "export", trained, *flags)
    assert ran.code == 0
    assert f"{tmp_path / 'v.json'}: nothing in it was measured of these weights on" in " ".join(ran.err.split())
    assert "It was not tested for masked gradients." in (tmp_path / "card" / "README.md").read_text()


# what goes wrong


def test_a_number_that_was_measured_before_and_is_another_now_is_said(capsys, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    file = folder / "last.safetensors"
    append(folder / "results.jsonl", [measured(file, "clean accuracy", 1.0, 40)])
    ran = run(capsys, "export", folder, "--weights", "last", "--to", "huggingface", "--out", tmp_path / "card")
    assert ran.code == 0
    assert "On the first 40 images clean accuracy is" in ran.err
    assert "100.00 % was measured before, on cpu." in ran.err


@pytest.mark.parametrize("to", ["robustbench", "huggingface"])
def test_a_network_that_is_another_when_read_back_fails_and_nothing_is_left(capsys, cifar10, monkeypatch, to):
    trained_on_cifar10(cifar10 / "run", resnet_18(2))
    text = shared.definition(resnet_18(2), 10, 3)
    monkeypatch.setattr(
        shared, "definition", lambda *_: text.replace("MEAN, DEVIATION = [0.0", "MEAN, DEVIATION = [0.001")
    )
    before = sorted(cifar10.iterdir())
    ran = run(capsys, "export", cifar10 / "run", "--to", to, "--out", cifar10 / "out")
    assert ran.code == 1
    assert (
        "network.py was read back and is not the network that was measured: 30 of 30 images get other logits" in ran.err
    )
    assert sorted(cifar10.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            "--to robustbench",
            "is judged by Digits in Linf; RobustBench has leaderboards of CIFAR10 in Linf and CIFAR10 in L2 and",
        ),
        ("--to huggingface --reported 50", "--reported is for --to robustbench; a model card has no place for it."),
        ("--to huggingface --norm l2", "--norm is for --to robustbench"),
        ("--to huggingface --additional-data True", "--additional-data is for --to robustbench"),
        ("--to robustbench --reported 150", "reported is 150.0; it must be in [0, 100], in %"),
        ("--to robustbench --eps 8", "eps is 8.0; it must be in (0, 1], the pixels' units: 8/255, not 8"),
        ("--to robustbench --forward-passes 0", "forward-passes is 0; it must be at least 1"),
        ("--to huggingface --name a/b", "name is 'a/b'; it must be a file's name"),
        ("--to huggingface --name ..", "name is '..'; it must be a file's name"),
        ("--to huggingface --results nowhere", "There is no folder or file nowhere"),
        ("--to huggingface --out THERE", "exists already; --out names a new folder, so that nothing is overwritten"),
        ("--to huggingface --model resnet_18", "says itself which network it is; leave --model out"),
    ],
)
def test_what_is_asked_wrongly_is_a_sentence_and_nothing_is_written(capsys, trained, tmp_path, flags, said):
    (tmp_path / "there").mkdir()
    words = [tmp_path / "there" if word == "THERE" else word for word in flags.split()]
    out = [] if "THERE" in flags else ["--out", tmp_path / "out"]
    ran = run(capsys, "export", trained, *words, *out)
    assert ran.code == 2
    assert said in " ".join(ran.err.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there"]


@pytest.mark.data
@pytest.mark.slow
def test_a_published_network_is_exported_with_its_published_numbers(capsys, tmp_path):
    ran = run(capsys, "export", "pgdat-cifar10-small", "--to", "robustbench", "--out", tmp_path / "rb")
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "rb" / "pgdat-cifar10-small.json").read_text())
    assert told["architecture"] == "PreActResNet-18 (width 16)"
    assert "AutoAttack was measured on the first 200 of 10,000 images: 10.5 [7.0, 15.5] %." in ran.out
    assert 45 < float(told["clean_acc"]) < 55
