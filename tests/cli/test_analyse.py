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


def test_sensitivity_prints_a_line_for_each_network(capsys, trained):
    ran = run(capsys, "analyse", "sensitivity", trained, trained / "last.safetensors", "--n", "20", "--weights", "last")
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
        (("shuffle", "--data", "mnist"), "mnist"),
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
