import json

import pytest
from commands import run
from PIL import Image

from hardy.data import Digits
from hardy.describe import describe, rebuild
from hardy.models.checkpoints import read_weights, save_weights
from hardy.models.classifier import Architecture
from hardy.results import Measurement

QUICK = ("--n", "12", "--offline")


def analysed(capsys, out, name, *args):
    """(what was printed, the rows) of an analysis that must succeed and leave a figure."""
    ran = run(capsys, "analyse", name, *args, *QUICK, "--out", out)
    assert ran.code == 0, ran.err
    with Image.open(out / f"{name}.png") as picture:
        assert len(picture.convert("RGB").getcolors(2**24)) > 10
    assert ran.out.endswith(f"{out / name}.png\n{out / name}.json: {len(rows_of(out, name))} rows\n")
    return ran, rows_of(out, name)


def rows_of(out, name):
    return [Measurement(**row) for row in json.loads((out / f"{name}.json").read_text())["rows"]]


def cells(ran, first):
    """The cells of the table's line that begins so, without intervals."""
    (line,) = [line for line in ran.out.splitlines() if line.split()[:1] == [first]]
    return [word for word in line.split()[1:] if "[" not in word and "]" not in word]


def test_eps_prints_a_column_for_each_network_and_writes_rows_and_a_figure(capsys, trained, tmp_path):
    networks = (trained / "best.safetensors", trained / "last.safetensors")
    ran, rows = analysed(capsys, tmp_path / "new", "eps", *networks, "--eps", "0", "8/255", "0.3", "--attack", "pgd-2")
    assert [row.settings["eps"] for row in rows] == [0, 8 / 255, 0.3] * 2
    assert [row.what for row in rows[:2]] == ["clean accuracy", "accuracy under pgd-2 at eps 8/255"]
    assert all(row.n == 12 for row in rows)
    assert "step_size" in rows[1].settings["attack"]
    assert rows[1].settings["attack"]["step_size"] == rows[2].settings["attack"]["step_size"] == 2 / 255
    assert cells(ran, "8/255") == [f"{100 * rows[i].value:.1f}" for i in (1, 4)]
    assert all(f"{network} (n = 12)" in ran.out for network in networks)


def test_steps_are_those_of_evaluate_and_0_is_clean_accuracy(capsys, trained, tmp_path):
    _, rows = analysed(capsys, tmp_path, "steps", trained, "--steps", "3", "0", "1", "--eps", "0.1")
    evaluated = run(
        capsys, "evaluate", trained / "best.safetensors", *QUICK, "--attacks", "clean,pgd-1,pgd-3", "--eps", "0.1",
        "--json", tmp_path / "rows.json",
    )  # fmt: skip
    assert evaluated.code == 0, evaluated.err
    assert [row.value for row in rows] == [row["value"] for row in json.loads((tmp_path / "rows.json").read_text())]
    assert [row.settings["steps"] for row in rows] == [0, 1, 3]


def test_strength_has_the_rows_of_each_attack(capsys, trained, tmp_path):
    ran, rows = analysed(capsys, tmp_path, "strength", trained, "--steps", "0", "2", "--eps", "0.1")
    assert [row.what for row in rows] == [
        "clean accuracy", "accuracy after 2 steps of pgd", "clean accuracy", "accuracy after 2 steps of infofeature",
    ]  # fmt: skip
    assert ran.out.count("Accuracy in %") == 2


def test_restarts_never_gain_and_the_radius_is_that_of_the_training(capsys, trained, tmp_path):
    ran, rows = analysed(capsys, tmp_path, "restarts", trained, "--attack", "pgd-1", "--restarts", "1", "3")
    assert rows[0].value >= rows[1].value
    trained_with = json.loads((trained / "run.json").read_text())["run"]["objective"]["attack"]["ball"]["eps"]
    assert rows[0].settings["attack"]["attack"]["ball"]["eps"] == trained_with
    assert "No radius was given" not in ran.err


def test_what_is_there_already_is_kept(capsys, trained, tmp_path):
    analysed(capsys, tmp_path, "restarts", trained, "--attack", "pgd-1", "--restarts", "1")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    ran = run(capsys, "analyse", "restarts", trained, "--out", tmp_path)
    assert ran.code == 2
    assert "restarts.json exists already; --out names a folder for new files" in ran.err
    (tmp_path / "restarts.json").unlink()
    assert "restarts.png exists already" in run(capsys, "analyse", "restarts", trained, "--out", tmp_path).err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()}.items() < before.items()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("eps", "sources is (); it must be at least one run's folder, weights file or published network"),
        ("eps nowhere", "no weights file nowhere"),
        ("eps RUN RUN", "it must be networks that differ"),
        ("eps RUN --n 0", "n is 0; it must be at least 1 image"),
        ("eps RUN --n -3", "n is -3; it must be at least 1 image"),
        ("eps RUN --batch 0", "batch is 0; it must be at least 1"),
        ("eps RUN --seed -1", "seed is -1; it must be in [0, 2**32)"),
        ("eps RUN --picture bmp", "picture is 'bmp'; it must be one of png, svg, pdf"),
        ("eps RUN --eps 8", "eps is 8.0; it must be in [0, 1], the pixels' units: 8/255, not 8"),
        ("eps RUN --eps -0.1", "eps is -0.1; it must be in [0, 1]"),
        ("eps RUN --eps", "eps is (); it must be at least one radius"),
        ("eps RUN --eps 0.1 0.1", "it must be radii that differ"),
        ("eps RUN --eps eight", "['eight']"),
        ("eps RUN --step-size 0", "step_size is 0.0; it must be above 0"),
        ("eps RUN --attack pgdd-10", "no attack named 'pgdd-10'; did you mean pgd-K"),
        ("eps RUN --attack clean", "attack is 'clean'; it must be an attack on one network, such as pgd-20"),
        ("eps RUN --attack transfer", "attack is 'transfer'; it must be an attack on one network"),
        ("eps RUN --device xpu", "device is 'xpu'; it must be cpu"),
        ("eps RUN --data cifar10-small", "no data set named 'cifar10-small'"),
        ("steps RUN --attack pgd-20", "no attack in steps of one size named 'pgd-20'; did you mean pgd?"),
        ("steps RUN --attack square", "no attack in steps of one size named 'square'"),
        ("steps RUN --steps 0 -1", "steps is -1; it must be at least 0"),
        ("steps RUN --steps", "steps is (); it must be at least one number"),
        ("steps RUN --steps ten", "'ten'"),
        ("steps RUN --eps 2", "eps is 2.0; it must be in (0, 1], the pixels' units: 8/255, not 8"),
        ("steps RUN --eps 0", "eps is 0.0; it must be in (0, 1]"),
        ("steps RUN --step-size -1", "step_size is -1.0; it must be above 0, or left out for eps / 4"),
        ("strength RUN --attacks pgd pgd", "it must be names that differ"),
        ("strength RUN --attacks", "attacks is (); it must be at least one name, such as pgd"),
        ("strength RUN --attacks pgd infofeatur", "'infofeatur'; did you mean infofeature?"),
        ("restarts RUN --restarts 0", "restarts is 0; it must be at least 1"),
        ("restarts RUN --restarts 2 2", "it must be numbers that differ"),
        ("restarts RUN --eps 1.5", "eps is 1.5; it must be in (0, 1]"),
        (
            "restarts RUN --attack feature-scatter",
            "attack is 'feature-scatter'; it must be one that goes by iterations",
        ),
    ],
)
def test_a_mistake_gets_a_sentence_and_leaves_no_file(capsys, trained, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    ran = run(capsys, "analyse", *(trained if word == "RUN" else word for word in flags.split()))
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", " ").split())
    assert "Traceback" not in ran.err
    assert not ran.out
    assert list(tmp_path.iterdir()) == []


def test_networks_of_different_images_do_not_go_into_one_figure(capsys, trained, tmp_path):
    tensors, header = read_weights(trained / "best.safetensors")
    about = {"run": "other", "data": describe(Digits(canvas=8))}
    save_weights(tmp_path / "other.safetensors", tensors, rebuild(header["model"], Architecture), 10, 1, about)
    both = (trained, tmp_path / "other.safetensors")
    ran = run(capsys, "analyse", "eps", *both, *QUICK, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "The networks are judged by different images" in ran.err
    assert "name one data set by --data" in ran.err
    quick = ("--eps", "0", "--data", "digits")
    assert run(capsys, "analyse", "eps", *both, *QUICK, *quick, "--out", tmp_path / "out").code == 0


def test_where_no_single_radius_is_known_that_of_the_papers_is_taken_and_said(capsys, trained, tmp_path):
    tensors, header = read_weights(trained / "best.safetensors")
    save_weights(
        tmp_path / "plain.safetensors", tensors, rebuild(header["model"], Architecture), 10, 1, {"data": header["data"]}
    )
    ran, rows = analysed(capsys, tmp_path, "steps", tmp_path / "plain.safetensors", "--steps", "1")
    assert "No radius was given, and none is known from training: 8/255 is taken." in ran.err
    assert rows[0].settings["attack"]["ball"]["eps"] == 8 / 255


def test_every_analysis_has_help(capsys):
    for name in ("eps", "steps", "strength", "restarts", "perturbations", "direction", "surface"):
        assert name in run(capsys, "analyse", "--help").out
        ran = run(capsys, "analyse", name, "--help")
        assert ran.code == 0
        assert "RUN|WEIGHTS|NAME" in ran.out
