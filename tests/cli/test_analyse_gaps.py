"""hardy analyse gaps: on the images that a run was really trained on."""

import json
import shutil

import pytest
from commands import run
from PIL import Image

from hardy.data import Digits
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.gaps import like
from hardy.models.checkpoints import load
from hardy.report.analysis import read
from hardy.results import newcombe
from hardy.training.record import read_run
from hardy.training.stream import TrainingImages

QUICK = ("--n", "30", "--offline", "--attack", "pgd-2")


def analysis(out):
    return read(json.loads((out / "gaps.json").read_text()), "gaps.json")


def test_gaps_are_of_the_runs_own_training_images_without_what_it_held_out(capsys, trained, tmp_path):
    out = tmp_path / "new"
    ran = run(capsys, "analyse", "gaps", trained, *QUICK, "--out", out)
    assert ran.code == 0, ran.err
    images, (_, test) = TrainingImages.load(read_run(trained)), Digits().load()
    test = test.take(slice(30))
    (expected,) = evaluate(load(trained), like(images.part, test), ["clean"])
    told = analysis(out)
    seen, unseen, gap, robust, *_ = told.rows
    assert (seen.value, seen.n) == (expected.value, expected.n)
    assert "40 held-out images not among them; of each class as many as of the test images" in seen.settings["data"]
    assert unseen.value == evaluate(load(trained), test, ["clean"])[0].value
    assert (gap.low, gap.high) == newcombe(round(30 * seen.value), 30, round(30 * unseen.value), 30)
    assert robust.what == "accuracy under pgd-2 on training images"
    assert f"{100 * gap.value:.1f} [{100 * gap.low:.1f}, {100 * gap.high:.1f}]" in ran.out
    assert told.command == f"hardy analyse gaps {trained} {' '.join(QUICK)} --out {out}"
    assert told.remarks == ()


def test_the_figure_has_a_bar_for_each_gap_of_each_network(capsys, trained, tmp_path):
    both = (trained / "best.safetensors", trained / "last.safetensors")
    ran = run(capsys, "analyse", "gaps", *both, *QUICK, "--out", tmp_path)
    assert ran.code == 0, ran.err
    told = analysis(tmp_path)
    assert told.figure.names == tuple(map(str, both))
    assert told.figure.groups == ("clean", "pgd-2")
    assert [[bar.value for bar in of] for of in told.figure.bars] == [
        [100 * told.rows[i].value for i in (2, 5)], [100 * told.rows[i].value for i in (8, 11)],
    ]  # fmt: skip
    assert [len(shown.rows) for shown in told.tables] == [2, 2]
    with Image.open(tmp_path / "gaps.png") as picture:
        assert len(picture.convert("RGB").getcolors(2**24)) > 10


def test_weights_apart_from_their_run_need_the_datas_name_and_what_is_not_known_is_said(capsys, trained, tmp_path):
    apart = shutil.copy(trained / "best.safetensors", tmp_path / "apart.safetensors")
    ran = run(capsys, "analyse", "gaps", apart, *QUICK, "--out", tmp_path / "out")
    assert ran.code == 2
    assert f"{apart} does not tell what it was trained on" in ran.err
    assert not (tmp_path / "out").exists()
    ran = run(capsys, "analyse", "gaps", apart, trained, "--data", "digits", *QUICK, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert analysis(tmp_path / "out").remarks == (
        f"{apart}: all 1,297 training images count as seen; whether some were held out is not known.",
    )


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "sources is (); it must be at least one run's folder, weights file or published network"),
        ("RUN RUN", "it must be networks that differ"),
        ("RUN --attack clean", "attack is 'clean'; it must be an attack on one network, such as pgd-20"),
        ("RUN --attack pdg-10", "no attack named 'pdg-10'; did you mean pgd-K"),
        ("RUN --eps 8", "eps is 8.0; it must be in (0, 1], the pixels' units: 8/255, not 8"),
        ("RUN --n 0", "n is 0; it must be at least 1 image"),
    ],
)
def test_a_mistake_gets_a_sentence_and_leaves_no_file(capsys, trained, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    ran = run(capsys, "analyse", "gaps", *(trained if word == "RUN" else word for word in flags.split()))
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", " ").split())
    assert not ran.out
    assert list(tmp_path.iterdir()) == []
