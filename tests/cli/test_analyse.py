import json
import shutil

from commands import run
from PIL import Image

from hardy.report.analysis import read
from hardy.report.figures import pixels_of


def test_shuffle_draws_a_picture_and_keeps_it_for_reports(capsys, tmp_path):
    ran = run(capsys, "analyse", "shuffle", "--k", "2", "3", "--out", tmp_path)
    assert ran.code == 0, ran.err
    with Image.open(tmp_path / "shuffle.png") as picture:
        assert picture.format == "PNG"
        assert len(picture.convert("RGB").getcolors(2**24)) > 10
    told = read(json.loads((tmp_path / "shuffle.json").read_text()), "shuffle.json")
    assert [[shown is not None for shown in row] for row in told.figure.rows] == [
        [True] * 3,
        *[[False, True, True]] * 2,
    ]
    # a shuffle keeps every block's colour, and only moves them
    for k in (1, 2):
        moved, went = (pixels_of(told.figure.rows[i][k]).reshape(-1, 3) for i in (1, 2))
        assert sorted(map(tuple, moved)) == sorted(map(tuple, went))


def test_the_picture_is_of_any_data_set_with_any_settings(capsys, tmp_path):
    out = tmp_path / "a[b]"
    ran = run(capsys, "analyse", "shuffle", "--data", "digits", "--data.canvas", "32", "--out", out, "--picture", "svg")
    assert ran.code == 0, ran.err
    assert ran.out.lstrip().startswith("image 0, of class ")
    assert "of 32 x 32" in ran.out
    assert ran.out.endswith(f"{out / 'shuffle.svg'}\n{out / 'shuffle.json'}\n")
    assert "<svg" in (out / "shuffle.svg").read_text()


def test_sensitivities_that_cannot_be_stored_are_printed_and_the_end_says_so(capsys, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy", ignore=shutil.ignore_patterns("results.jsonl"))
    (folder / "results.jsonl").mkdir()
    ran = run(capsys, "analyse", "sensitivity", folder, "--n", "5", "--out", tmp_path / "out")
    assert ran.code == 1
    assert "±" in ran.out
    assert f"{folder / 'results.jsonl'}: " in ran.err
    assert ran.err.endswith("Not stored there: 4 rows.\n")


def test_sensitivity_prints_a_line_for_each_network(capsys, trained, tmp_path):
    ran = run(capsys, "analyse", "sensitivity", trained, trained / "best.safetensors", "--n", "20", "--out", tmp_path)
    assert ran.code == 0, ran.err
    lines = [line for line in ran.out.splitlines() if line.startswith(str(trained))]
    assert len(lines) == 2
    assert lines[0].split()[1:] == lines[1].split()[1:]  # the same weights
    assert all(column in ran.out for column in ("brightness -0.15", "brightness +0.15", "gamma 0.8", "gamma 1.2"))
