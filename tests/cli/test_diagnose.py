import json

import pytest
import torch
from commands import run

from hardy.cli.diagnose import _decisive
from hardy.data import Split
from hardy.describe import rebuild
from hardy.evaluation import signs
from hardy.evaluation.sign_kinds import KINDS
from hardy.models.checkpoints import read_weights, save_weights
from hardy.models.classifier import Architecture
from hardy.models.published import find
from hardy.results import Measurement

QUICK = ("--quick", "--n", "20", "--offline")
RANDOM = """
import torch
from torch import nn

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(256, 10)
        self.linear.load_state_dict({"weight": torch.eye(10).repeat(1, 26)[:, :256], "bias": torch.zeros(10)})

    def forward(self, x):
        return self.linear((x + 0.1 * torch.rand(x.shape, generator=DRAWN)).flatten(1))

DRAWN = torch.Generator().manual_seed(0)

def build(num_classes):
    return Network()
"""


def diagnosed(capsys, *args):
    ran = run(capsys, "diagnose", *args, *QUICK)
    assert ran.code == 0, ran.err
    return ran


def lines(ran):
    """The table's lines by the sign's name."""
    return {
        kind.name: next(line for line in ran.out.splitlines() if line.startswith(kind.name + "  ")) for kind in KINDS
    }


def test_a_run_gets_a_table_of_all_signs_and_a_verdict_and_the_same_goes_into_json(capsys, trained, tmp_path):
    file = tmp_path / "found.json"
    ran = diagnosed(capsys, trained, "--json", file)
    told = json.loads(file.read_text())
    assert ran.out.splitlines()[0] == f"best weights of {trained}; Linf, eps 0.1; seed 0"
    assert ran.out.splitlines()[1].startswith("the first 20 images of digits test")
    assert ran.out.splitlines()[-1] == f"verdict: {told['verdict']}. {told['why']}"
    assert list(told)[:3] == ["source", "surrogate", "verdict"]
    assert (told["source"], told["surrogate"], told["n"]) == (str(trained), None, 20)
    assert [sign["name"] for sign in told["signs"]] == [kind.name for kind in KINDS]
    table = lines(ran)
    for sign in told["signs"]:
        assert f"  {sign['weight']:<6}  {sign['result']}" in table[sign["name"]]
    rows = {row["what"]: Measurement(**row) for row in told["rows"]}
    clean, pgd = rows["clean accuracy"], rows["accuracy under PGD-20"]
    assert f"clean accuracy {100 * clean.value:.1f} % ({round(20 * clean.value)} image" in ran.out
    assert f"under PGD-20 {100 * pgd.value:.1f} % ({round(20 * pgd.value)} image" in ran.out
    assert pgd.settings["precision"] == "float32"
    assert told["forwards"] == sum(row.forwards for row in rows.values())


def test_reasons_for_what_is_not_tested_are_said_once_and_the_evidence_only_where_it_is_asked_for(capsys, trained):
    ran = diagnosed(capsys, trained)
    assert ran.out.count("left out of a quick diagnosis") == 1
    assert "not tested, as no plainly trained network was given: transfer beats white box." in ran.out
    assert "No plainly trained network is known for these images; --surrogate names one" in ran.err
    unseen = [name for name, line in lines(ran).items() if "  seen  " not in line]
    assert not any(f"\n{name}: " in ran.out for name in unseen)
    explained = diagnosed(capsys, trained, "--explain")
    for kind in KINDS:
        assert explained.out.count(kind.why) == 1
        assert f"\n{kind.name}: " in explained.out
    assert explained.out.count("left out of a quick diagnosis") == 1


def test_a_random_network_is_told_and_the_sign_seen_comes_first_with_its_reason(capsys, tmp_path, monkeypatch):
    (tmp_path / "drawn.py").write_text(RANDOM)
    monkeypatch.syspath_prepend(tmp_path)
    ran = diagnosed(capsys, "drawn:build", "--data", "digits", "--eps", "0.1")
    assert "it is random, and so are its numbers" in ran.err
    table = ran.out.splitlines().index(lines(ran)["outputs change from pass to pass"])
    assert ran.out.splitlines()[table - 1].startswith("sign ")
    assert "logits change 20" in ran.out.splitlines()[table]
    assert "\noutputs change from pass to pass: seen. Tested: share of images whose logits change" in ran.out
    assert ran.out.count("breaks more by luck") == 1
    assert "verdict: no sign" not in ran.out


def test_transfer_comes_from_the_network_named(capsys, trained, tmp_path):
    tensors, header = read_weights(trained / "best.safetensors")
    other = tmp_path / "other.safetensors"
    tensors["linear.weight"] *= 2
    save_weights(other, tensors, rebuild(header["model"], Architecture), 10, 1, {})
    ran = diagnosed(capsys, trained, "--surrogate", other, "--json", tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text())["surrogate"] == str(other)
    assert f"{other}, for crafting: Clean accuracy is" in ran.err
    assert "not tested" not in lines(ran)["transfer beats white box"]
    assert "transfer " in lines(ran)["transfer beats white box"].removeprefix("transfer beats")


def test_a_network_is_not_its_own_surrogate_under_another_name(capsys, trained, tmp_path):
    (tmp_path / "copy.safetensors").write_bytes((trained / "best.safetensors").read_bytes())
    ran = run(capsys, "diagnose", trained, "--surrogate", tmp_path / "copy.safetensors", *QUICK)
    assert ran.code == 2
    assert "copy.safetensors is the network itself; name another one, plainly trained." in ran.err
    assert not ran.out


@pytest.fixture
def of_cifar(monkeypatch):
    """Made-up images in place of CIFAR-10's; a function that says which classes they have."""
    names = read_weights(find("standard-cifar10-small"))[1]["class names"]
    images = torch.arange(6 * 3072).reshape(6, 3, 32, 32).mul(37).to(torch.uint8)

    def shown(classes=names):
        made = Split(images, torch.arange(6), tuple(classes), torch.arange(6), "made up")
        monkeypatch.setattr("hardy.cli.subject.test_images", lambda *_, **__: made)
        return names

    return shown


def test_for_cifar_10_the_published_plain_network_is_taken_unless_it_is_the_one_diagnosed(capsys, of_cifar, tmp_path):
    of_cifar()
    diagnosed(capsys, "trades-cifar10-small", "--json", tmp_path / "other.json")
    assert json.loads((tmp_path / "other.json").read_text())["surrogate"] == "standard-cifar10-small"
    ran = diagnosed(capsys, "standard-cifar10-small", "--json", tmp_path / "itself.json")
    assert json.loads((tmp_path / "itself.json").read_text())["surrogate"] is None
    assert "standard-cifar10-small itself is what transfer would be tested from" in ran.err
    assert "No radius was given, and none is known from training: 8/255 is taken." in ran.err


def test_images_of_other_classes_have_no_published_surrogate(capsys, of_cifar):
    of_cifar(reversed(of_cifar()))
    ran = diagnosed(capsys, "trades-cifar10-small")
    assert "No plainly trained network is known for these images" in ran.err


def test_there_are_never_more_images_than_the_test_set_has(capsys, of_cifar):
    of_cifar()
    assert "the first 6 images of made up" in diagnosed(capsys, "standard-cifar10-small").out


def held(n, *broken):
    made = torch.ones(n, dtype=torch.bool)
    made[list(broken)] = False
    return made


def test_the_numbers_that_decide_are_counts_beside_shares_and_accuracies_in_per_cent():
    correct, pgd = held(20, 0), held(20, *range(5))
    cells = [
        (signs.one_step(held(20, 0, 1, 7), pgd, correct), "FGSM 85.0 %, PGD-20 75.0 %; broken by one only: 1 and 3"),
        (signs.margin_loss(held(20, 0, 1, 9, 10), pgd, correct), "CW-20 80.0 %, broken 10.5 % (2 of 19); bound 7.5 %"),
        (signs.effort({"a": pgd & held(20, 8), "b": pgd & held(20, 8, 9)}, pgd, correct),
         "broken 10.5 % (2 of 19); bound 10.0 %"),
        (signs.square_after(pgd, pgd, correct), "broken 0.0 % (0 of 19); bound 3.0 %"),
        (signs.chance(held(20, *range(18)), correct, torch.arange(20) % 4, 0.5), "eps 0.5, accuracy 10.0 %, chance 25.0 %"),
        (signs.rising({0.1: pgd, 0.2: held(20, 0, 1, 2, 3)}, correct),
         "accuracy at 0.1 75.0 %, accuracy at 51/255 80.0 %; broken by one only: 1 and 0"),
        (signs.changing(~held(20, 3), ~held(20)), "images 20, logits change 1, class changes 0"),
        (signs.square_after(held(3), ~held(3, 0, 1, 2) & ~held(3), ~held(3)), "broken (0 of 0); bound 3.0 %"),
    ]  # fmt: skip
    for sign, cell in cells:
        assert _decisive(sign)[0] == cell
