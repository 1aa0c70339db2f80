import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from commands import run
from PIL import Image

import hardy
from hardy.attacks import Linf
from hardy.attacks.names import named
from hardy.data import Digits
from hardy.describe import rebuild
from hardy.evaluation.adversarial import Adversarial
from hardy.files import digest
from hardy.jobs.measure import about_weights, known
from hardy.models import Architecture, small_cnn
from hardy.models.checkpoints import read_weights, save_weights
from hardy.results import read

FEW = ("--n", "30", "--attacks", "clean,fgsm,pgd-2", "--eps", "0.1")


def test_evaluate_prints_every_attack_with_interval_n_judge_and_description(capsys, trained):
    ran = run(capsys, "evaluate", trained, *FEW)
    assert ran.code == 0, ran.err
    for name in ("clean accuracy", "accuracy under fgsm", "accuracy under pgd-2"):
        line = next(line for line in ran.out.splitlines() if line.startswith(name))
        assert "[" in line
        assert " 30 " in line
    assert "last" in ran.out
    assert "PGD on CrossEntropy(), Linf 0.1, 2 steps of 0.025 from a uniform point of the ball" in ran.out
    assert "best weights of" in ran.out


def test_rows_go_to_the_run_and_to_a_new_json_file(capsys, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy", ignore=shutil.ignore_patterns("results.jsonl"))
    ran = run(capsys, "evaluate", folder, *FEW, "--json", tmp_path / "rows.json")
    assert ran.code == 0, ran.err
    written = json.loads((tmp_path / "rows.json").read_text())
    rows, passed_over = read(folder / "results.jsonl")
    assert passed_over == 0
    assert [row.what for row in rows] == [row["what"] for row in written]
    assert [row.value for row in rows] == [row["value"] for row in written]
    assert written[2]["settings"]["attack"]["steps"] == 2
    assert written[2]["settings"]["judge"] == "last"
    assert written[0]["low"] < written[0]["value"] < written[0]["high"]


def test_rows_that_cannot_be_stored_are_measured_and_printed_and_the_end_says_where_they_are_not(
    capsys, trained, tmp_path
):
    folder = shutil.copytree(trained, tmp_path / "copy", ignore=shutil.ignore_patterns("results.jsonl"))
    (folder / "results.jsonl").mkdir()
    ran = run(capsys, "evaluate", folder, *FEW, "--json", tmp_path / "rows.json")
    assert ran.code == 1
    for name in ("clean", "fgsm", "pgd-2"):
        assert f"{name}: " in ran.err
    assert "accuracy under pgd-2" in ran.out
    assert len(json.loads((tmp_path / "rows.json").read_text())) == 3
    last = ran.err.splitlines()[-1]
    assert last.startswith(f"hardy: The results could not be written to {folder / 'results.jsonl'}: ")
    assert last.endswith("Not stored there: 3 rows.")


def test_a_number_is_said_before_it_is_stored(capsys, trained, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("hardy.cli.evaluate.append", stopped)
    ran = run(capsys, "evaluate", trained, *FEW)
    assert ran.code == 130
    assert "clean: " in ran.err


@pytest.mark.parametrize(("attacks", "bounds"), [("clean", 0), ("clean,fgsm", 1), ("fgsm,autoattack", 0)])
def test_what_weaker_attacks_leave_is_called_an_upper_bound(capsys, trained, attacks, bounds):
    ran = run(capsys, "evaluate", trained, "--n", "2", "--attacks", attacks, "--eps", "0.3")
    assert ran.code == 0, ran.err
    assert ran.out.count("upper bounds of robust accuracy; --attacks autoattack") == bounds


def test_attacks_may_have_blanks_around_them(capsys, trained):
    ran = run(capsys, "evaluate", trained, "--n", "5", "--attacks", " clean, fgsm ,", "--eps", "0.1")
    assert ran.code == 0, ran.err
    assert "accuracy under fgsm " in ran.out


def test_the_radius_taken_is_noted_where_it_is_used_only(capsys, trained, tmp_path):
    tensors, header = read_weights(trained / "last.safetensors")
    network = rebuild(header["model"], Architecture)
    weights = tmp_path / "never-attacked.safetensors"
    save_weights(weights, tensors, network, header["classes"], header["channels"], {"data": header["data"]})
    assert "8/255 is taken" in run(capsys, "evaluate", weights, "--n", "5", "--attacks", "fgsm").err
    for attacks in ("clean", "fgms"):
        assert "8/255 is taken" not in run(capsys, "evaluate", weights, "--n", "5", "--attacks", attacks).err


def test_eps_is_the_runs_own_where_none_is_given(capsys, trained):
    ran = run(capsys, "evaluate", trained, "--n", "5", "--attacks", "fgsm")
    assert "Linf 0.1," in ran.out


def test_a_weights_file_alone_is_enough_and_knows_the_radius_too(capsys, trained):
    ran = run(capsys, "evaluate", trained / "last.safetensors", *FEW)
    assert ran.code == 0, ran.err
    assert "eps 0.1" in ran.err
    assert "last.safetensors" in ran.out


def test_black_box_attacks_get_fewer_images(capsys, trained):
    ran = run(
        capsys, "evaluate", trained, "--n", "20", "--n-black-box", "1", "--attacks", "clean,nattack", "--eps", "0.3"
    )
    assert ran.code == 0, ran.err
    line = next(line for line in ran.out.splitlines() if line.startswith("accuracy under nattack"))
    assert line.split()[-7:-4] == ["1", "0.3", "any"]


# any network


ON_DIGITS = ("--data", "digits", "--data.canvas", "8", "--n", "40", "--attacks", "clean,fgsm", "--eps", "0.1")
SMALL = ("--model", "small_cnn", "--model.width", "2")


def number(ran, what):
    """The accuracy (per cent) in the table's line of that name."""
    assert ran.code == 0, ran.err
    line = next(line for line in ran.out.splitlines() if line.startswith(f"{what} "))
    return float(line.removeprefix(what).split()[0])


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The folder of a run whose network is far better than chance; tests must not change it."""
    whole = hardy.recipe("standard-digits")
    quick = {"data": Digits(canvas=8), "epochs": 4, "precision": "float32", "model": small_cnn(width=2)}
    quick["optimizer"] = replace(whole.optimizer, lr=3e-2)
    quick["validation"] = replace(whole.validation, images=40)
    return hardy.train(
        replace(whole, name="learned", **quick), tmp_path_factory.mktemp("runs") / "learned", device="cpu"
    )


@pytest.fixture
def state(learned):
    """The trained network's tensors as others save them, without the normalisation that ours has."""
    tensors, _ = read_weights(learned / "best.safetensors")
    return {name: value for name, value in tensors.items() if name not in ("mean", "deviation")}


@pytest.mark.parametrize(
    ("layout", "notes"),
    [
        (lambda s: s, []),
        (lambda s: {"state_dict": {f"module.{n}": v for n, v in s.items()}, "epoch": 3},
         ["The weights are the file's entry 'state_dict'; passed over is epoch.", "prefix 'module.' was taken off"]),
        (lambda s: {"net": {n: v for n, v in s.items() if "num_batches" not in n}, "acc": 0.5},
         ["The weights are the file's entry 'net'", "4 batch norms come without num_batches_tracked"]),
    ],
)  # fmt: skip
def test_weights_of_others_give_the_number_of_the_same_network_of_ours(capsys, learned, tmp_path, state, layout, notes):
    torch.save(layout(state), tmp_path / "w.pt")
    ran = run(capsys, "evaluate", tmp_path / "w.pt", *SMALL, *ON_DIGITS)
    ours = run(capsys, "evaluate", learned / "best.safetensors", *ON_DIGITS)
    for what in ("clean accuracy", "accuracy under fgsm"):
        assert number(ran, what) == number(ours, what)
    for note in notes:
        assert note in ran.err
    assert "Clean accuracy is " in ran.err
    assert "normalisation" not in ran.err.replace("another normalisation", "")


@pytest.mark.parametrize("right", [True, False])
def test_a_files_normalisation_is_tried_and_the_better_taken(capsys, tmp_path, learned, state, right):
    mean, deviation = (0.0, 1.0) if right else (5.0, 0.01)
    torch.save({**state, "mu": torch.tensor([mean]), "sigma": torch.tensor([deviation])}, tmp_path / "w.pt")
    ran = run(capsys, "evaluate", tmp_path / "w.pt", *SMALL, *ON_DIGITS, "--json", tmp_path / "rows.json")
    assert re.search(r"on 400 images is [0-9.]+% with the weights' own normalisation and [0-9.]+% without", ran.err)
    assert f"The network is evaluated {'with' if right else 'without'} it." in ran.err
    assert json.loads((tmp_path / "rows.json").read_text())[0]["settings"]["normalisation"] == "with" + "out" * (
        not right
    )
    ours = run(capsys, "evaluate", learned / "best.safetensors", *ON_DIGITS)
    assert number(ran, "clean accuracy") == number(ours, "clean accuracy")


def test_a_normalisation_that_was_asked_for_is_not_tried_against_the_files(capsys, tmp_path, state):
    torch.save({**state, "mu": torch.tensor([5.0]), "sigma": torch.tensor([0.01])}, tmp_path / "w.pt")
    asked = ("--model.mean", "0.1", "--model.deviation", "1", "--json", tmp_path / "rows.json")
    ran = run(capsys, "evaluate", tmp_path / "w.pt", *SMALL, *ON_DIGITS, *asked)
    assert ran.code == 0, ran.err
    assert "The normalisation that was asked for is taken, not the file's." in ran.err
    assert "The network is evaluated" not in ran.err
    settings = json.loads((tmp_path / "rows.json").read_text())[0]["settings"]
    assert settings["network"]["mean"] == [0.1]
    assert "normalisation" not in settings


def test_a_function_that_makes_a_trained_network_is_a_source(capsys, tmp_path, learned, monkeypatch):
    (tmp_path / "ofmine.py").write_text(f"import hardy\ndef trained():\n    return hardy.load({str(learned)!r})\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    ran = run(capsys, "evaluate", "ofmine:trained", *ON_DIGITS)
    ours = run(capsys, "evaluate", learned / "best.safetensors", *ON_DIGITS)
    for what in ("clean accuracy", "accuracy under fgsm"):
        assert number(ran, what) == number(ours, what)
    assert "ofmine:trained; digits test" in ran.out


def test_a_published_network_is_told_of_by_its_name(capsys, monkeypatch, tmp_path, learned):
    folder = tmp_path / "published"
    folder.mkdir()
    shutil.copy(learned / "best.safetensors", folder / "mine-digits.safetensors")
    told = {"measured": [], "sha256": digest(folder / "mine-digits.safetensors")}
    (folder / "mine-digits.json").write_text(json.dumps(told))
    monkeypatch.setattr("hardy.models.published.FOLDER", folder)
    ran = run(capsys, "evaluate", "mine-digits", "--n", "40", "--attacks", "clean")
    assert number(ran, "clean accuracy") == number(
        run(capsys, "evaluate", learned, "--n", "40", "--attacks", "clean"), "clean accuracy"
    )
    assert "mine-digits; digits test" in ran.out


# how it is attacked and told


def test_attacks_crafted_on_another_network_are_judged_by_the_first(capsys, learned, tmp_path, state):
    torch.save(state, tmp_path / "same.pt")
    torch.save({n: v.roll(1, 0) if v.ndim == 4 else v for n, v in state.items()}, tmp_path / "other.pt")
    white = run(capsys, "evaluate", learned / "best.safetensors", *ON_DIGITS)
    same = run(capsys, "evaluate", learned / "best.safetensors", *ON_DIGITS, *SMALL, "--craft-on", tmp_path / "same.pt")
    under = "accuracy under fgsm"
    assert number(same, under) == number(white, under)
    assert f"attacks crafted on {tmp_path / 'same.pt'}" in same.out
    assert f"{tmp_path / 'same.pt'}, for crafting: Clean accuracy is" in same.err
    both = (learned / "last.safetensors", tmp_path / "other.pt", "--json", tmp_path / "rows.json")
    other = run(capsys, "evaluate", learned / "best.safetensors", *ON_DIGITS, *SMALL, "--craft-on", *both)
    assert number(other, "clean accuracy") == number(white, "clean accuracy")
    assert number(other, under) >= number(white, under)
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert rows[1]["settings"]["crafted on"] == [digest(path) for path in both[:2]]


def test_several_radii_have_a_row_each(capsys, trained):
    ran = run(capsys, "evaluate", trained, "--n", "40", "--attacks", "clean,fgsm", "--eps", "2/255, 0.3")
    assert number(ran, "accuracy under fgsm at 2/255") > number(ran, "accuracy under fgsm at 0.3")
    assert ran.out.count("clean accuracy") == 1
    assert "eps 2/255 = 0.00784314, 0.3 (Linf)" in ran.err


def test_the_norm_is_l2_where_asked_for(capsys, trained):
    ran = run(capsys, "evaluate", trained, "--n", "20", "--attacks", "pgd-2", "--norm", "l2")
    assert ran.code == 0, ran.err
    assert "PGD on CrossEntropy(), L2 0.5, 2 steps of 0.125" in ran.out
    assert "No radius was given, nor is one known from training: 0.5 is taken." in ran.err  # the training's is of Linf


def test_every_class_gets_its_line(capsys, trained):
    ran = run(capsys, "evaluate", trained, "--n", "40", "--attacks", "clean,fgsm", "--by-class")
    assert ran.code == 0, ran.err
    lines = ran.out.split("Accuracy on each class, %\n")[1].splitlines()
    assert lines[0].split() == ["images", "clean", "accuracy", "fgsm"]
    cells = [line.split() for line in lines[1:11]]
    assert [cell[0] for cell in cells] == list("0123456789")
    assert sum(int(cell[1]) for cell in cells) == 40
    right = sum(int(cell[1]) * float(cell[2]) / 100 for cell in cells if cell[2] != "-")
    assert abs(right - 0.4 * number(ran, "clean accuracy")) < 0.05


def test_the_same_command_again_says_the_same_number_without_attacking(capsys, trained, tmp_path, monkeypatch):
    command = ("evaluate", trained / "best.safetensors", *ON_DIGITS, "--outcomes", tmp_path / "outcomes")
    first = run(capsys, *command)
    monkeypatch.setattr("hardy.attacks.pgd.PGD.advance", None)  # an attack would fail
    again = run(capsys, *command)
    under = "accuracy under fgsm"
    assert number(again, under) == number(first, under)
    assert len([*(tmp_path / "outcomes").glob("fgsm-*.jsonl")]) == 1


def test_a_run_keeps_its_outcomes_and_goes_without_where_it_cannot(capsys, trained, tmp_path):
    ignored = shutil.ignore_patterns("outcomes", "results.jsonl")
    folder = shutil.copytree(trained, tmp_path / "copy", ignore=ignored)
    first = run(capsys, "evaluate", folder, *FEW)
    assert {path.name.rpartition("-")[0] for path in (folder / "outcomes").glob("*.jsonl")} == {"fgsm", "pgd-2"}
    shutil.rmtree(folder / "outcomes")
    (folder / "outcomes").write_text("mine")
    again = run(capsys, "evaluate", folder, *FEW)
    assert number(again, "accuracy under pgd-2") == number(first, "accuracy under pgd-2")
    assert "No outcomes are kept: " in again.err


def test_adversarial_images_go_into_new_files_and_fool_the_network(capsys, trained, tmp_path):
    folder = tmp_path / "adversarial"
    command = ("evaluate", trained / "best.safetensors", "--n", "40", "--attacks", "clean,fgsm", "--eps", "8/255,0.1")
    ran = run(capsys, *command, "--adversarial", folder)
    assert {path.name for path in folder.iterdir()} == {"fgsm-at-8-255.safetensors", "fgsm-at-0.1.safetensors"}
    found = Adversarial.read(folder / "fgsm-at-0.1.safetensors")
    right = found.accuracy(hardy.load(trained))
    assert 100 * float(right.double().mean()) == number(ran, "accuracy under fgsm at 0.1")
    again = run(capsys, *command, "--adversarial", folder)
    assert again.code == 2
    assert "clean: " not in again.err  # refused before any work


def test_passes_are_printed(capsys, trained):
    ran = run(capsys, "evaluate", trained, "--n", "30", "--attacks", "clean", "--device", "cpu")
    line = next(line for line in ran.out.splitlines() if line.startswith("clean accuracy"))
    assert line.split()[-2:] == ["30", "0"]
    assert ran.out.splitlines()[0].split()[-2:] == ["forwards", "backwards"]


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("--outcomes", "the same command goes on, the images decided so far are in"),
        ("--adversarial", "--adversarial cannot go on where it was"),
        (None, "with --outcomes FOLDER the same command could go on"),
    ],
)
def test_stopped_it_says_how_to_go_on(kept, said, capsys, trained, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("hardy.cli.evaluate.evaluate", interrupted)
    folder = () if kept is None else (kept, tmp_path / "folder")
    ran = run(capsys, "evaluate", trained / "best.safetensors", *FEW, *folder)
    assert (ran.code, ran.out) == (130, "")
    assert said in ran.err.splitlines()[-1]


def test_rows_on_other_data_or_crafted_on_another_network_are_not_taken_for_the_runs_own(capsys, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy", ignore=shutil.ignore_patterns("results.jsonl"))
    file = folder / "last.safetensors"
    about = {**about_weights(file, "last", read_weights(file)[1]), "precision": "float32"}
    attack = named("fgsm", Linf(0.1))
    command = ("evaluate", folder, "--weights", "last", "--n", "30", "--attacks", "fgsm", "--eps", "0.1")
    for other in (("--craft-on", trained / "best.safetensors"), ("--data", "digits", "--data.canvas", "24")):
        ran = run(capsys, *command, *other)
        assert ran.code == 0, ran.err
        assert known(folder / "results.jsonl", about, attack, 30) is None
    assert run(capsys, *command, "--data", "digits", "--by-class").code == 0  # its own data
    assert known(folder / "results.jsonl", about, attack, 30) == read(folder / "results.jsonl")[0][2]


def test_images_of_other_classes_than_those_of_training_are_not_judged_as_if_they_were_the_same(capsys, tmp_path):
    for part in ("train", "test"):
        for shade, name in enumerate(("cat", "dog")):
            (tmp_path / "images" / part / name).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (8, 8), (60 * i, 90 * shade, 10)).save(
                    tmp_path / "images" / part / name / f"{part}{i}.png"
                )
    settings = (
        "--data.path",
        tmp_path / "images",
        "--data.size",
        "8",
        "--epochs",
        "1",
        "--batch",
        "4",
        "--model",
        "small_cnn",
    )
    ran = run(capsys, "train", "standard-folder", *settings, "--out", tmp_path / "run")
    assert ran.code == 0, ran.err
    few = ("--attacks", "clean", "--n", "4")
    assert run(capsys, "evaluate", tmp_path / "run", *few).code == 0
    other = ("--data", "folder", "--data.path", tmp_path / "other", "--data.size", "8")
    shutil.copytree(tmp_path / "images", tmp_path / "other")
    for part in ("train", "test"):
        (tmp_path / "images" / part / "cat").rename(tmp_path / "images" / part / "zebra")
        (tmp_path / "other" / part / "cat").rename(tmp_path / "other" / part / "a-cat")
    ran = run(capsys, "evaluate", tmp_path / "run", *few)
    assert ran.code == 2
    assert "was trained on the classes cat, dog; those of the images are dog, zebra. They must be the same" in ran.err
    ran = run(capsys, "evaluate", tmp_path / "run", *few, *other)
    assert ran.code == 0, ran.err
    assert "those of the images are a-cat, dog. The first is taken for the first" in ran.err
