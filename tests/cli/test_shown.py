"""hardy analyse saliency, examples, activation: pictures of images that all networks classify correctly."""

import json

import numpy as np
import pytest
from commands import run
from PIL import Image

import hardy
from hardy.data import Digits
from hardy.evaluation import SmoothGrad, adversarial_examples, classified_by_all, saliency_maps
from hardy.evaluation.stream import classify
from hardy.report.analysis import read
from hardy.report.figures import heat, pixels_of
from hardy.results import Measurement

MODULE = """
import torch

def always(label):
    class Always(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)) * 0.001 + 10 * torch.eye(10)[label]
    return lambda num_classes: Always(256, num_classes)

zero, one = always(0), always(1)
"""


def analysed(capsys, out, name, *args):
    """(what was printed, the analysis) of one that must succeed and leave a figure."""
    ran = run(capsys, "analyse", name, *args, "--offline", "--out", out)
    assert ran.code == 0, ran.err
    with Image.open(out / f"{name}.png") as picture:
        assert len(picture.convert("RGB").getcolors(2**24)) > 10
    told = read(json.loads((out / f"{name}.json").read_text()), f"{name}.json")
    assert ran.out.endswith(f"{out / name}.png\n{out / name}.json: {len(told.rows)} rows\n")
    return ran, told


def titles(told):
    return [[shown.title for shown in row] for row in told.figure.rows]


@pytest.fixture(scope="module")
def both(trained):
    return trained / "best.safetensors", trained / "last.safetensors"


def chosen(both, n):
    """(the networks, the images), as Python has them."""
    models = [hardy.load(file) for file in both]
    test = Digits().load()[1]
    return models, test.take(classified_by_all(models, test, n).index)


def test_saliency_shows_the_maps_of_all_networks_on_the_same_images(capsys, both, tmp_path):
    flags = ("--n", "7", "--shown", "3", "--samples", "4", "--noise", "0.2", "--percentile", "90", "--seed", "5")
    ran, told = analysed(capsys, tmp_path, "saliency", *both, *flags)
    models, test = chosen(both, 7)
    assert titles(told) == [["image", str(both[0]), str(both[1])]] * 3
    assert told.figure.names == tuple(test.classes[label] for label in test.labels[:3])
    rows = [row for model in models for row in saliency_maps(model, test, SmoothGrad(0.2, 4), seed=5).rows]
    assert [row.value for row in told.rows] == pytest.approx([row.value for row in rows], rel=1e-5)
    assert told.rows[0].settings["images"] == test.indices.tolist()
    assert told.rows[0].settings["maps"] == {"type": "SmoothGrad", "noise": 0.2, "samples": 4}
    assert f"{100 * rows[0].value:.1f} [{100 * rows[0].low:.1f}, {100 * rows[0].high:.1f}]" in ran.out
    image, *maps = (pixels_of(shown) for shown in told.figure.rows[1])
    assert image == pytest.approx(np.repeat(test.x()[1].numpy().transpose(1, 2, 0), 3, 2), abs=0.5 / 255 + 1e-6)
    assert [shown.max() for shown in maps] == [1, 1]
    assert "percentile 90" in told.says


def test_how_many_images_were_passed_over_is_said_and_kept(capsys, both, tmp_path):
    models, test = hardy.load(both[0]), Digits().load()[1]
    wrong = classified_by_all([models], test, 10).passed_over
    ran, told = analysed(capsys, tmp_path, "saliency", both[0], "--n", "10", "--samples", "1")
    remark = f"10 images that the network classifies correctly, taken from the classes in turn; {wrong} others were passed over."
    assert told.remarks[0].startswith(remark)
    assert remark in ran.out
    assert "digits test" in told.remarks[0]


def test_where_fewer_images_are_classified_correctly_than_asked_for_it_is_said(capsys, both, tmp_path):
    ran, told = analysed(capsys, tmp_path, "saliency", both[0], "--n", "5000", "--samples", "1", "--shown", "2")
    model, test = hardy.load(both[0]), Digits().load()[1]
    assert told.rows[0].n == int(classify(model, test).correct.sum())
    assert "There are no more than these; 5,000 were asked for." in ran.out
    assert len(told.figure.rows) == 2


def test_examples_show_image_attacked_image_and_perturbation(capsys, both, tmp_path):
    ran, told = analysed(capsys, tmp_path, "examples", *both, "--n", "4", "--attack", "pgd-3", "--eps", "0.1")
    models, test = chosen(both, 4)
    attack = hardy.attacks.PGD(hardy.attacks.Linf(0.1), steps=3)
    made = [adversarial_examples(model, test, attack) for model in models]
    assert told.figure.names == (
        "image", f"{both[0]}\npgd-3", "perturbation", f"{both[1]}\npgd-3", "perturbation",
    )  # fmt: skip
    of_class = [test.classes[label] for label in test.labels]
    assert titles(told)[0] == of_class
    for k, of in enumerate(made):
        for i, title in enumerate(titles(told)[1 + 2 * k]):
            before, after = title.split("\n→ ")
            assert before == f"{of_class[i]} {100 * float(of.before.confidence[i]):.0f} %"
            assert after == f"{test.classes[of.after.classes[i]]} {100 * float(of.after.confidence[i]):.0f} %"
            assert title.split()[0] in ran.out
            shown, magnified = (pixels_of(told.figure.rows[row + 2 * k][i])[..., 0] for row in (1, 2))
            x, x_adv = test.x()[i, 0].numpy(), of.x_adv[i, 0].numpy()
            assert shown == pytest.approx(x_adv, abs=0.003)
            assert magnified == pytest.approx((x_adv - x + 0.1) / 0.2, abs=0.003)
        assert titles(told)[2 + 2 * k] == [f"L2 {float(l2):.2f}" for l2 in of.l2]
    assert [row.value for row in told.rows] == pytest.approx([row.value for of in made for row in of.rows], rel=1e-5)
    assert [row[:3] for row in told.tables[1].rows] == [
        (str(name), str(int(index)), label) for name in both for index, label in zip(test.indices, of_class, strict=True)
    ]  # fmt: skip
    assert "magnified 5 times about grey: in each channel, black is -0.1, white +0.1" in told.says


def test_without_a_radius_it_is_that_of_the_networks_training(capsys, trained, tmp_path):
    _, told = analysed(capsys, tmp_path, "examples", trained, "--n", "2", "--attack", "fgsm")
    eps = json.loads((trained / "run.json").read_text())["run"]["objective"]["attack"]["ball"]["eps"]
    assert told.rows[0].settings["attack"]["ball"]["eps"] == eps


def test_activation_shows_maps_over_image_and_attacked_image(capsys, both, tmp_path):
    ran, told = analysed(capsys, tmp_path, "activation", *both, "--n", "3", "--eps", "0.1")
    assert told.figure.names[1:3] == (f"{both[0]}\nimage", f"{both[0]}\ninfofeature-7")
    test = chosen(both, 3)[1]
    assert titles(told) == [[test.classes[label] for label in test.labels]] * 5
    assert [row.what for row in told.rows[:3]] == [
        "cosine distance of activation maps under infofeature-7",
        "l2 distance of activation maps under infofeature-7",
        "examples broken by infofeature-7",
    ]
    assert told.rows[1].settings["attack"]["type"] == "InfoFeature"
    assert f"{told.rows[1].value:.3f} [{told.rows[1].low:.3f}" in ran.out
    image, *overs = (pixels_of(told.figure.rows[row][0]) for row in (0, 1, 2))
    scale = heat(np.linspace(0, 1, 256)[None])[0]
    colours = [(over - 0.45 * image) / 0.55 for over in overs]  # what was laid over the image, and the attacked one
    assert np.abs(colours[0][:, :, None] - scale).max(3).min(2).max() < 0.02
    assert min(np.abs(laid - scale[-1]).max(2).min() for laid in colours) < 0.2  # the larger maximum


def test_pictures_of_other_formats_are_drawn(capsys, both, tmp_path):
    ran = run(
        capsys, "analyse", "examples", both[0], "--n", "1", "--attack", "fgsm", "--picture", "svg", "--out", tmp_path
    )
    assert ran.code == 0, ran.err
    assert "<svg" in (tmp_path / "examples.svg").read_text()
    assert [Measurement(**row).low is None for row in json.loads((tmp_path / "examples.json").read_text())["rows"]] == [
        False, True, True, True,
    ]  # fmt: skip


def test_networks_that_are_never_right_together_have_no_images(capsys, tmp_path, monkeypatch):
    (tmp_path / "constants.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    ran = run(
        capsys, "analyse", "saliency", "constants:zero", "constants:one", "--data", "digits", "--out", tmp_path / "out"
    )
    assert ran.code == 2
    assert "None of the 500 images is classified correctly by every network" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("saliency", "sources is (); it must be at least one run's folder, weights file or published network"),
        ("saliency nowhere", "no weights file nowhere"),
        ("saliency RUN RUN", "it must be networks that differ"),
        ("saliency RUN --n 0", "n is 0; it must be at least 1 image"),
        ("saliency RUN --shown 0", "shown is 0; it must be at least 1 image"),
        ("saliency RUN --noise -1", "noise is -1.0; it must be at least 0, a share of an image's range of values"),
        ("saliency RUN --noise nan", "Error parsing --noise: 'nan'"),
        ("saliency RUN --samples 0", "samples is 0; it must be at least 1"),
        ("saliency RUN --samples many", "'many'"),
        ("saliency RUN --percentile 0", "percentile is 0.0; it must be in (0, 100]"),
        ("saliency RUN --percentile 101", "percentile is 101.0; it must be in (0, 100]"),
        ("saliency RUN --seed -1", "seed is -1; it must be in [0, 2**32)"),
        ("saliency RUN --batch 0", "batch is 0; it must be at least 1"),
        ("saliency RUN --picture bmp", "picture is 'bmp'; it must be one of png, svg, pdf"),
        ("saliency RUN --attack pgd-20", "Unrecognized options: --attack"),
        ("examples", "sources is ()"),
        ("examples RUN --attack clean", "attack is 'clean'; it must be an attack on one network, such as pgd-20"),
        ("examples RUN --attack pgd", "no attack named 'pgd'; did you mean pgd-K"),
        ("examples RUN --attack feature-scatter", "it must be one on single images, such as pgd-10"),
        ("examples RUN --attack cw-l2", "cw-l2 looks for small L2 distances"),
        ("examples RUN --eps 8", "eps is 8.0; it must be in (0, 1], the pixels' units: 8/255, not 8"),
        ("examples RUN --eps 0", "eps is 0.0; it must be in (0, 1]"),
        ("examples RUN --n 0", "n is 0; it must be at least 1 image"),
        ("examples RUN --images 6", "Unrecognized options: --images"),
        ("activation RUN --attack adv-interp", "it must be one on single images"),
        ("activation RUN --eps 2", "eps is 2.0"),
        ("activation nowhere", "no weights file nowhere"),
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


def test_what_is_there_already_is_kept(capsys, trained, tmp_path):
    (tmp_path / "examples.png").write_text("mine")
    ran = run(capsys, "analyse", "examples", trained, "--out", tmp_path)
    assert ran.code == 2
    assert "examples.png exists already; --out names a folder for new files" in ran.err
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"examples.png": "mine"}


def test_each_is_listed_and_has_help(capsys):
    for name in ("saliency", "examples", "activation"):
        assert f"  {name} " in run(capsys, "analyse", "--help").out
        ran = run(capsys, "analyse", name, "--help")
        assert ran.code == 0
        assert "RUN|WEIGHTS|NAME" in ran.out
        assert "taken from the classes in turn" in " ".join(ran.out.replace("│", " ").split())
