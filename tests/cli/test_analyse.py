import shutil

import pytest
from commands import run
from PIL import Image


def test_shuffle_draws_a_picture(capsys, tmp_path):
    ran = run(capsys, "analyse", "shuffle", "--k", "2", "3", "--out", tmp_path / "shuffle.png")
    assert ran.code == 0, ran.err
    with Image.open(tmp_path / "shuffle.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(2**24)) > 10


def test_a_picture_that_exists_is_not_overwritten(capsys, tmp_path):
    (tmp_path / "mine.png").write_text("mine")
    ran = run(capsys, "analyse", "shuffle", "--out", tmp_path / "mine.png")
    assert ran.code == 2
    assert (tmp_path / "mine.png").read_text() == "mine"


def test_a_picture_that_cannot_be_written_is_refused_before_it_is_drawn(capsys, tmp_path, monkeypatch):
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "link.png", tmp_path / "file" / "a.png"):
        ran = run(capsys, "analyse", "shuffle", "--out", path)
        assert ran.code == 2
        assert "--out names a new file" in ran.err


def test_the_picture_is_of_any_data_set_with_any_settings(capsys, tmp_path):
    ran = run(capsys, "analyse", "shuffle", "--data", "digits", "--data.canvas", "32", "--out", tmp_path / "a[b].png")
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"{tmp_path / 'a[b].png'}: image 0, of class ")
    assert "of 32 x 32" in ran.out


def test_sensitivities_that_cannot_be_stored_are_printed_and_the_end_says_so(capsys, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy", ignore=shutil.ignore_patterns("results.jsonl"))
    (folder / "results.jsonl").mkdir()
    ran = run(capsys, "analyse", "sensitivity", folder, "--n", "5")
    assert ran.code == 1
    assert "±" in ran.out
    assert f"{folder / 'results.jsonl'}: " in ran.err
    assert ran.err.endswith("Not stored there: 4 rows.\n")


def test_sensitivity_prints_a_line_for_each_network(capsys, trained):
    ran = run(capsys, "analyse", "sensitivity", trained, trained / "best.safetensors", "--n", "20")
    assert ran.code == 0, ran.err
    lines = [line for line in ran.out.splitlines() if str(trained) in line]
    assert len(lines) == 2
    assert lines[0].split()[1:] == lines[1].split()[1:]  # the same weights
    assert all(column in ran.out for column in ("brightness -0.15", "brightness +0.15", "gamma 0.8", "gamma 1.2"))


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((), "An analysis is missing"),
        (("sensitivty", "x"), "did you mean sensitivity"),
        (("sensitivity",), "sources"),
        (("sensitivity", "nowhere"), "There is no weights file nowhere"),
        (("shuffle", "--data", "cifar11"), "There is no data set named 'cifar11'; did you mean cifar10"),
        (("shuffle", "--data", "cifar10-small"), "There is no data set named 'cifar10-small'"),
        (("shuffle", "--data", "folder"), "--data folder needs --data.path too"),
        (("shuffle", "--out", "a.xyz"), "name is '.xyz'; it must be one of png, svg, pdf"),
        (("shuffle", "--seed", "-1"), "seed is -1; it must be in [0, 2**32)"),
        (("shuffle", "--image", "500"), "image is 500; it must be in 0..499"),
        (("shuffle", "--k", "17"), "k is 17; it must be the number of blocks, 1 to the image's side (16)"),
    ],
)
def test_a_mistake_gets_a_sentence_and_exit_code_2(capsys, tmp_path, monkeypatch, args, sentence):
    monkeypatch.chdir(tmp_path)
    ran = run(capsys, "analyse", *args)
    assert ran.code == 2
    assert sentence in " ".join(ran.err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []
