import shutil

from commands import run
from PIL import Image


def test_shuffle_draws_a_picture(capsys, tmp_path):
    ran = run(capsys, "analyse", "shuffle", "--k", "2", "3", "--out", tmp_path / "shuffle.png")
    assert ran.code == 0, ran.err
    with Image.open(tmp_path / "shuffle.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(2**24)) > 10


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
