"""hardy analyse corruptions and corrupted, as a user runs them."""

import json

import numpy as np
import pytest
import torch
from commands import run
from PIL import Image

from hardy.data import Digits, corrupt
from hardy.data.corruptions import KINDS
from hardy.data.frost import NAMES
from hardy.randomness import Noise
from hardy.report.analysis import read
from hardy.report.figures import pixels_of

QUICK = ("--n", "12", "--offline")


def analysed(out, name="corruptions"):
    return read(json.loads((out / f"{name}.json").read_text()), name)


def test_corruptions_prints_types_and_summaries_for_each_network_and_draws_bars(capsys, trained, tmp_path):
    networks = (trained / "best.safetensors", trained / "last.safetensors")
    ran = run(capsys, "analyse", "corruptions", *networks, *QUICK, "--out", tmp_path)
    assert ran.code == 0, ran.err
    told = analysed(tmp_path)
    assert len(told.rows) == 2 * (1 + 19 * 5 + 19 + 2)
    assert told.figure.groups == ("clean", *KINDS, "mCA-12", "mCA-15")
    assert told.figure.names == tuple(map(str, networks))
    values = {row.what: row for row in told.rows[: len(told.rows) // 2]}
    by_severity = [values[f"accuracy under fog, severity {s}"].value for s in range(1, 6)]
    fog = values["accuracy under fog, mean over severities"]
    assert fog.value == pytest.approx(np.mean(by_severity))
    bar = told.figure.bars[0][told.figure.groups.index("fog")]
    assert (bar.value, bar.low, bar.high) == (100 * fog.value, 100 * fog.low, 100 * fog.high)
    first, *details = told.tables
    assert [line[0] for line in first.rows] == list(told.figure.groups)
    assert f"fog {100 * fog.value:.1f} [" in " ".join(ran.out.split())
    assert details[0].title == f"{networks[0]}: accuracy in % by severity"
    assert details[0].rows[list(KINDS).index("fog")] == ("fog", *(f"{100 * value:.1f}" for value in by_severity))
    assert "Corrupted images: made here, constants those of CIFAR, lengths times 16/32, frost drawn." in ran.out
    with Image.open(tmp_path / "corruptions.png") as picture:
        assert len(picture.convert("RGB").getcolors(2**24)) > 10


def test_some_types_at_one_severity_have_their_accuracies_and_no_means(capsys, trained, tmp_path):
    chosen = ("--types", "snow", "contrast", "--severities", "4", "--picture", "svg")
    ran = run(capsys, "analyse", "corruptions", trained, *QUICK, *chosen, "--seed", "3", "--out", tmp_path)
    assert ran.code == 0, ran.err
    told = analysed(tmp_path)
    whats = ["clean accuracy", "accuracy under snow, severity 4", "accuracy under contrast, severity 4"]
    assert [row.what for row in told.rows] == whats
    assert told.rows[1].settings["seed"] == 3
    assert told.rows[1].settings["constants"]["type"] == "Snow"
    assert told.figure.groups == ("clean", "snow", "contrast")
    assert "severity 4" in ran.out
    assert "mCA" not in ran.out
    assert (tmp_path / "corruptions.svg").is_file()


def test_a_single_image_has_no_interval(capsys, trained, tmp_path):
    ran = run(capsys, "analyse", "corruptions", trained, "--n", "1", "--types", "fog", "--out", tmp_path)
    assert ran.code == 0, ran.err
    assert analysed(tmp_path).figure.bars[0][1].low is None


def test_corrupted_shows_an_image_under_each_type(capsys, tmp_path):
    ran = run(capsys, "analyse", "corrupted", "--image", "4", "--severities", "5", "1", "--out", tmp_path)
    assert ran.code == 0, ran.err
    figure = analysed(tmp_path, "corrupted").figure
    titles = [shown.title for row in figure.rows for shown in row]
    assert titles == ["the image", *(f"{kind} {severity}" for kind in KINDS for severity in (1, 5))]
    assert max(map(len, figure.rows)) == 6
    test = Digits().load()[1].take(slice(4, 5))
    shown = {picture.title: picture for row in figure.rows for picture in row}
    assert np.allclose(pixels_of(shown["the image"])[..., 0], test.images[0, 0] / 255)
    snow = corrupt(test.images, "snow", 5, Noise(0, test.indices, purpose="corruption"))
    assert np.allclose(pixels_of(shown["snow 5"])[..., 0], snow[0, 0] / 255)


def test_overlays_of_the_release_are_used_where_they_are_given(capsys, tmp_path):
    (tmp_path / "ice").mkdir()
    for name in NAMES:
        Image.new("RGB", (400, 300), (200, 200, 200)).save(tmp_path / "ice" / name)
    flags = ("--types", "frost", "--severities", "3", "--overlays", tmp_path / "ice")
    ran = run(capsys, "analyse", "corrupted", *flags, "--out", tmp_path / "new")
    assert ran.code == 0, ran.err
    assert f"frost from the pictures in {tmp_path / 'ice'}" in ran.out
    shown = pixels_of(analysed(tmp_path / "new", "corrupted").figure.rows[1][0])
    assert shown.min() == pytest.approx(0.4 * 200 / 255, abs=1 / 255)


def test_overlays_for_released_images_are_refused(capsys, trained, tmp_path):
    for name in NAMES:
        Image.new("RGB", (400, 300)).save(tmp_path / name)
    ran = run(capsys, "analyse", "corruptions", trained, "--images", "released", "--overlays", tmp_path)
    assert ran.code == 2
    said = " ".join(ran.err.replace("│", " ").replace("|", " ").split())
    assert "left out for released images, which have their frost already" in said


class Release:
    """Stands for a release: images that are all white."""

    says = "CIFAR-10-C from elsewhere"

    def images(self, kind, severity, part):
        return torch.full_like(part.images, 255)

    def settings(self, kind, severity):
        return {"images": self.says}


def test_released_images_are_asked_for_where_their_files_are(capsys, trained, tmp_path, monkeypatch):
    asked = []

    def of(split, root, *, offline):
        asked.append((len(split), root, offline))
        return Release()

    monkeypatch.setattr("hardy.cli.corruptions.Released.of", of)
    flags = ("--images", "released", "--data-root", tmp_path, "--types", "snow", "fog", "--severities", "1")
    ran = run(capsys, "analyse", "corruptions", trained, *QUICK, *flags, "--out", tmp_path / "new")
    assert ran.code == 0, ran.err
    assert asked == [(12, tmp_path, True)]
    _, snow, fog = analysed(tmp_path / "new").rows
    assert snow.settings["images"] == "CIFAR-10-C from elsewhere"
    assert snow.value == fog.value
    assert "Corrupted images: CIFAR-10-C from elsewhere." in ran.out
