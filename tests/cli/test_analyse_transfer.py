"""hardy analyse transfer: the numbers are those of hardy evaluate --craft-on."""

import json

import pytest
from commands import run
from PIL import Image

from hardy.data import Digits
from hardy.describe import describe, rebuild
from hardy.models import small_cnn
from hardy.models.checkpoints import read_weights, save_weights
from hardy.models.classifier import Architecture
from hardy.report.analysis import read

QUICK = ("--n", "80", "--offline", "--eps", "0.05")


@pytest.fixture(scope="module")
def other(trained, tmp_path_factory):
    """Weights of another network on the same images: the run's, with those of its last layer moved."""
    tensors, header = read_weights(trained / "best.safetensors")
    name = [name for name in tensors if name.endswith("weight")][-1]
    tensors[name] = tensors[name] + 0.05 * tensors[name].flip(0)
    path = tmp_path_factory.mktemp("other") / "other.safetensors"
    save_weights(path, tensors, rebuild(header["model"], Architecture), 10, 1, {"run": "o", "data": header["data"]})
    return path


def analysis(out):
    return read(json.loads((out / "transfer.json").read_text()), "transfer.json")


def evaluated(capsys, tmp_path, *args):
    """The accuracies that `hardy evaluate` finds."""
    file = tmp_path / "rows.json"
    ran = run(capsys, "evaluate", *args, *QUICK, "--json", file)
    assert ran.code == 0, ran.err
    found = [row["value"] for row in json.loads(file.read_text())]
    file.unlink()
    return found


def test_the_matrix_has_the_accuracies_of_evaluate_for_each_network_and_source(capsys, trained, other, tmp_path):
    networks = (trained / "best.safetensors", other)
    ran = run(capsys, "analyse", "transfer", *networks, *QUICK, "--attacks", "pgd-2", "cw-2", "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    told = analysis(tmp_path / "out")
    expected = []
    for judged in networks:
        alone = evaluated(capsys, tmp_path, judged, "--attacks", "clean,noise")
        crafted = [
            evaluated(capsys, tmp_path, judged, "--attacks", "pgd-2,cw-2", "--craft-on", source) for source in networks
        ]
        expected.append([*alone, *(of[attack] for attack in (0, 1) for of in crafted)])
    assert [list(row) for row in told.figure.values] == [[100 * value for value in row] for row in expected]
    assert [row.value for row in told.rows] == [value for row in expected for value in row]
    assert len({value for row in expected for value in row}) > 3
    names = tuple(map(str, networks))
    assert told.figure.rows == names
    assert told.figure.columns == (
        "clean", "noise", *(f"{attack} on {name}" for attack in ("pgd-2", "cw-2") for name in names)
    )  # fmt: skip
    for title, first in (("without an attack (n = 80)", 0), ("under pgd-2, crafted on", 2), ("under cw-2", 4)):
        (shown,) = [shown for shown in told.tables if title in shown.title]
        assert [[cell.split(" [")[0] for cell in row[1:]] for row in shown.rows] == [
            [f"{100 * value:.1f}" for value in row[first : first + 2]] for row in expected
        ]
    with Image.open(tmp_path / "out" / "transfer.png") as picture:
        assert len(picture.convert("RGB").getcolors(2**24)) > 10


def test_attacks_can_be_crafted_on_other_networks_alone(capsys, trained, other, tmp_path):
    flags = ("--craft-on", other, "--attacks", "pgd-2", *QUICK)
    ran = run(capsys, "analyse", "transfer", trained / "best.safetensors", *flags, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    told = analysis(tmp_path / "out")
    assert told.figure.columns == ("clean", "noise", f"pgd-2 on {other}")
    (expected,) = evaluated(capsys, tmp_path, trained / "best.safetensors", "--attacks", "pgd-2", "--craft-on", other)
    assert told.rows[2].value == expected
    _, header = read_weights(other)
    assert told.rows[2].settings["crafted on"]["name"] == str(other)
    assert told.rows[2].settings["crafted on"]["network"] == header["model"]
    assert "weights sha256" in told.rows[2].settings["crafted on"]


def test_networks_of_other_images_or_classes_are_refused(capsys, trained, tmp_path):
    def saved(name, classes, data):
        network = small_cnn(width=2)
        about = {"run": name, "data": describe(data)}
        save_weights(tmp_path / name, network.build(classes, 1).state_dict(), network, classes, 1, about)
        return tmp_path / name

    judged, on = trained, ("--craft-on", saved("four.safetensors", 4, Digits()))
    ran = run(capsys, "analyse", "transfer", judged, *on, *QUICK, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "four.safetensors cannot be evaluated. For 2 images the network gives" in ran.err
    assert "logits (2, 10) are needed for 10 classes" in ran.err
    small = saved("small.safetensors", 10, Digits(canvas=8))
    ran = run(capsys, "analyse", "transfer", judged, small, *QUICK, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "The networks are judged by different images" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("RUN RUN", "it must be networks that differ"),
        ("RUN --attacks", "attacks is (); it must be at least one name, such as pgd-10"),
        ("RUN --attacks pgd-2 pgd-2", "attacks is ('pgd-2', 'pgd-2'); it must be names that differ"),
        ("RUN --attacks clean", "attack is 'clean'; it must be an attack on one network, such as pgd-20"),
        (
            "RUN --attacks feature-scatter",
            "attack is 'feature-scatter'; it must be one on single images, such as pgd-10",
        ),
        ("RUN --craft-on a a", "craft_on is ('a', 'a'); it must be names that differ"),
        ("RUN --craft-on nowhere", "no weights file nowhere"),
        ("RUN --eps 0", "eps is 0.0; it must be in (0, 1]"),
    ],
)
def test_a_mistake_gets_a_sentence_and_leaves_no_file(capsys, trained, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    ran = run(capsys, "analyse", "transfer", *(trained if word == "RUN" else word for word in flags.split()))
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", " ").split())
    assert not ran.out
    assert list(tmp_path.iterdir()) == []
