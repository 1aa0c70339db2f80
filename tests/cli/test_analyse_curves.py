"""hardy analyse curves: what runs' folders have kept, and no network."""

import json
import shutil

import pytest
from commands import run
from PIL import Image

from hardy.report.analysis import read
from hardy.training.curves import CLEAN, LOSS, ROBUST


def analysis(out):
    return read(json.loads((out / "curves.json").read_text()), "curves.json")


def copy(trained, path, change=lambda told: told, keep=lambda row: True, torn=""):
    """A folder with no more than the run's settings and rows, some of them."""
    path.mkdir()
    told = json.loads((trained / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(change(told) or told))
    rows = [row for row in (trained / "metrics.jsonl").read_text().splitlines() if keep(json.loads(row))]
    (path / "metrics.jsonl").write_text("\n".join(rows) + "\n" + torn)
    return path


def test_the_curves_of_runs_of_different_lengths_with_and_without_validation(capsys, trained, tmp_path):
    longer = copy(trained, tmp_path / "longer")
    shorter = copy(trained, tmp_path / "shorter", keep=lambda row: row["epoch"] <= 1)
    without = copy(trained, tmp_path / "without", keep=lambda row: row["kind"] == "train")
    runs = (longer, shorter, without)
    ran = run(capsys, "analyse", "curves", *runs, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    told = analysis(tmp_path / "out")
    clean, robust, loss = told.figure.panels
    logged = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    logged = [row for row in logged if row["kind"] == "validation"]
    for panel, key in ((clean, "clean"), (robust, "robust")):
        assert [line.name for line in panel.lines] == [str(longer), str(shorter)]
        assert [(point.x, point.y) for point in panel.lines[0].points] == [
            (row["epoch"], 100 * row[key]) for row in logged
        ]
        assert all(point.low <= point.y < point.high for point in panel.lines[0].points)
    assert [len(line.points) for line in loss.lines] == [2, 1, 2]
    assert [row[:3] for row in told.tables[0].rows] == [
        (str(longer), "2", "40"), (str(shorter), "1", "40"), (str(without), "2", "0"),
    ]  # fmt: skip
    best = max(logged, key=lambda row: row["robust"])
    assert told.tables[0].rows[0][5].startswith(f"{100 * best['robust']:.1f} [")
    assert told.tables[0].rows[0][6] == f"{best['epoch']:g}"
    assert told.tables[0].rows[2][3:7] == ("", "", "", "")
    assert told.remarks[0].startswith("Accuracy under attack: PGD on CrossEntropy()")
    assert told.remarks[1] == f"{without}: no accuracy, for the run held no images out (--validation.images)."
    assert {row.what for row in told.rows} == {CLEAN, ROBUST, LOSS}
    with Image.open(tmp_path / "out" / "curves.png") as picture:
        assert len(picture.convert("RGB").getcolors(2**24)) > 10


def test_runs_that_all_lack_validation_have_a_panel_of_losses_alone(capsys, trained, tmp_path):
    without = copy(trained, tmp_path / "without", keep=lambda row: row["kind"] == "train")
    assert run(capsys, "analyse", "curves", without, "--out", tmp_path / "out").code == 0
    told = analysis(tmp_path / "out")
    assert [panel.y_label for panel in told.figure.panels] == ["training loss"]
    assert told.figure.title == "1 run; no run has held-out images"


def test_torn_rows_are_counted_and_attacks_that_differ_are_named(capsys, trained, tmp_path):
    def weaker(told):
        told["run"]["validation"]["attack"]["steps"] = 9

    torn = copy(trained, tmp_path / "torn", torn='{"kind": "validation", "st\n{}\n')
    other = copy(trained, tmp_path / "other", weaker)
    ran = run(capsys, "analyse", "curves", torn, other, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    told = analysis(tmp_path / "out")
    assert f"{torn}: 2 rows of metrics.jsonl passed over, torn or damaged." in told.remarks
    assert f"{torn}: 2 rows of metrics.jsonl passed over" in ran.out
    assert [remark for remark in told.remarks if remark.startswith(f"{other}: accuracy under attack is that under PGD")]


def test_runs_of_other_images_are_refused(capsys, trained, tmp_path):
    def larger(told):
        told |= {"shape": [1, 32, 32], "origin": "digits of another size"}

    other = copy(trained, tmp_path / "other", larger)
    ran = run(capsys, "analyse", "curves", trained, other, "--out", tmp_path / "out")
    assert ran.code == 2
    assert f"The runs are of different images ({trained}: digits train, 1,297" in ran.err
    assert f"{other}: digits of another size); only runs of the same go into one figure." in ran.err
    assert not (tmp_path / "out").exists()


def test_what_is_there_already_is_kept(capsys, trained, tmp_path):
    (tmp_path / "curves.png").write_bytes(b"mine")
    ran = run(capsys, "analyse", "curves", trained, "--out", tmp_path)
    assert ran.code == 2
    assert "curves.png exists already; --out names a folder for new files" in ran.err
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "sources is (); it must be at least one run's folder"),
        ("RUN RUN", "it must be runs that differ"),
        ("nowhere", "nowhere is no folder; curves are read from the folder of a run"),
        ("RUN/last.safetensors", "is no folder; curves are read from the folder of a run"),
        ("rlfat-p-cifar10-small", "rlfat-p-cifar10-small is no folder; curves are read from the folder of a run"),
        ("EMPTY", "has no run.json; it is not the folder of a run"),
        ("SILENT", "has no metrics.jsonl that can be read: its run has logged nothing"),
        ("RUN --picture bmp", "picture is 'bmp'; it must be one of png"),
        ("RUN --n 3", "Unrecognized options: --n, 3"),
    ],
)
def test_a_mistake_gets_a_sentence_and_leaves_no_file(capsys, trained, tmp_path, monkeypatch, flags, said):
    for name in ("EMPTY", "SILENT"):
        (tmp_path / name).mkdir()
    shutil.copy(trained / "run.json", tmp_path / "SILENT")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    ran = run(capsys, "analyse", "curves", *(word.replace("RUN", str(trained)) for word in flags.split()))
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", " ").split())
    assert not ran.out
    assert sorted(tmp_path.rglob("*")) == before
