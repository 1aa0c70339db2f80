"""hardy analyse ablation: networks told apart by their settings, and no number measured twice."""

import json
import shutil
from dataclasses import replace

import pytest
from commands import run
from PIL import Image

from hardy.cli import ablation
from hardy.evaluation.average import average_accuracy
from hardy.models.published import about
from hardy.report.analysis import read
from hardy.results import append, wilson
from hardy.results import read as read_results

QUICK = ("--n", "30", "--offline", "--attacks", "pgd-2", "cw-2")


@pytest.fixture
def runs(trained, tmp_path):
    """Two runs of the same weights, the second with another eta in its settings; theirs to change."""
    made = [tmp_path / "base", tmp_path / "more"]
    for folder in made:
        shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("results.jsonl", "outcomes", "checkpoints"))
    told = json.loads((trained / "run.json").read_text())
    told["run"]["objective"]["eta"] = 0.0
    (made[1] / "run.json").write_text(json.dumps(told))
    return made


def analysis(out):
    return read(json.loads((out / "ablation.json").read_text()), "ablation.json")


def test_networks_are_told_apart_by_their_settings_and_have_the_mean_over_attacks(capsys, runs, tmp_path):
    ran = run(capsys, "analyse", "ablation", *runs, *QUICK, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    told = analysis(tmp_path / "out")
    (shown,) = told.tables
    assert shown.heads == ("", "settings", "clean", "pgd-2", "cw-2", "average")
    assert [row[:2] for row in shown.rows] == [
        (str(runs[0]), "the first"), (str(runs[1]), "objective.eta 0.5 -> 0"),
    ]  # fmt: skip
    assert told.figure.groups == ("clean", "pgd-2", "cw-2", "average")
    assert told.figure.names[1] == f"{runs[1]} (objective.eta 0.5 -> 0)"
    clean, pgd, cw, mean = told.rows[:4]
    assert mean == average_accuracy([pgd, cw], ("pgd-2", "cw-2"))
    assert mean.value == pytest.approx((pgd.value + cw.value) / 2)
    assert (clean.n, clean.low, clean.high) == (30, *wilson(round(30 * clean.value), 30))
    assert [bar.value for bar in told.figure.bars[0]] == [100 * row.value for row in (clean, pgd, cw, mean)]
    with Image.open(tmp_path / "out" / "ablation.png") as picture:
        assert len(picture.convert("RGB").getcolors(2**24)) > 10


def test_rows_that_a_run_has_are_taken_and_new_ones_are_added_to_it(capsys, runs, tmp_path, monkeypatch):
    ran = run(capsys, "evaluate", runs[0], *QUICK[:3], "--attacks", "pgd-2")
    assert ran.code == 0, ran.err
    results = runs[0] / "results.jsonl"
    before = results.read_bytes()
    assert run(capsys, "analyse", "ablation", runs[0], *QUICK, "--out", tmp_path / "out").code == 0
    assert results.read_bytes().startswith(before)
    assert [row.what for row in read_results(results)[0]] == [
        "accuracy under pgd-2", "clean accuracy", "accuracy under cw-2",
    ]  # fmt: skip
    assert analysis(tmp_path / "out").rows[1] == read_results(results)[0][0]
    after = results.read_bytes()
    monkeypatch.setattr(ablation, "evaluate", None)  # nothing is left to be measured
    ran = run(capsys, "analyse", "ablation", runs[0], *QUICK, "--out", tmp_path / "again")
    assert ran.code == 0, ran.err
    assert results.read_bytes() == after
    assert analysis(tmp_path / "again").rows == analysis(tmp_path / "out").rows


def test_rows_of_other_images_another_radius_or_other_weights_are_not_taken(capsys, runs, tmp_path):
    assert run(capsys, "evaluate", runs[0], *QUICK[:3], "--attacks", "pgd-2").code == 0
    results = runs[0] / "results.jsonl"
    (row,) = read_results(results)[0]
    changed = ("--eps", "0.05"), ("--n", "29"), ("--seed", "1"), ("--weights", "last")
    for number, flags in enumerate(changed):
        results.write_text("")
        append(results, [replace(row, value=1.0)])
        ran = run(capsys, "analyse", "ablation", runs[0], *QUICK, *flags, "--out", tmp_path / f"out{number}")
        assert ran.code == 0, ran.err
        assert analysis(tmp_path / f"out{number}").rows[1].value < 1


def test_torn_rows_of_results_are_counted_and_said(capsys, runs, tmp_path):
    (runs[0] / "results.jsonl").write_text('{"run": "quick", "wh\n{"what": "of another version"}\n')
    ran = run(capsys, "analyse", "ablation", *runs, *QUICK, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    said = f"{runs[0]}: 2 rows of results.jsonl passed over, torn, damaged or of another version."
    assert analysis(tmp_path / "out").remarks == (said,)
    assert said in ran.out


def test_networks_of_which_no_settings_are_known_are_compared_all_the_same(capsys, trained, runs, tmp_path):
    apart = shutil.copy(trained / "last.safetensors", tmp_path / "apart.safetensors")
    for sources, said in (
        ((runs[0], apart), ["the first", "settings not known"]),
        ((apart, runs[0]), ["settings not known"] * 2),
        ((runs[0], runs[0] / "last.safetensors"), ["the first", "the same settings"]),
    ):
        out = tmp_path / f"out-{len(said)}-{sources[1].name}"
        ran = run(capsys, "analyse", "ablation", *sources, *QUICK, "--out", out)
        assert ran.code == 0, ran.err
        assert [row[1] for row in analysis(out).tables[0].rows] == said


def test_results_that_cannot_be_stored_are_printed_and_the_end_says_so(capsys, runs, tmp_path):
    (runs[0] / "results.jsonl").mkdir()
    ran = run(capsys, "analyse", "ablation", runs[0], *QUICK, "--out", tmp_path / "out")
    assert ran.code == 1
    assert "average" in ran.out
    assert ran.err.endswith("Not stored there: 3 rows.\n")
    assert len(analysis(tmp_path / "out").rows) == 4


@pytest.mark.data
def test_the_published_networks_need_no_measuring_at_what_was_published(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "evaluate", None)
    names = ("pgdat-cifar10-small", "rbsat-p-cifar10-small", "rlfat-p-cifar10-small")
    ran = run(capsys, "analyse", "ablation", *names, "--n", "1000", "--offline", "--out", tmp_path)
    assert ran.code == 0, ran.err
    told = analysis(tmp_path)
    assert [row[1] for row in told.tables[0].rows] == [
        "the first", "objective PGDAT -> RLFATP; objective.eta = 0", "objective PGDAT -> RLFATP",
    ]  # fmt: skip
    for number, name in enumerate(names):
        values = {row["what"]: row["value"] for row in about(name)["measured"] if row["n"] == 1000}
        assert [row.value for row in told.rows[4 * number :][:3]] == list(values.values())


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "sources is (); it must be at least one run's folder, weights file or published network"),
        ("RUN RUN", "it must be networks that differ"),
        ("RUN --attacks", "attacks is (); it must be at least one name, such as pgd-20"),
        ("RUN --attacks pgd-2 pgd-2", "attacks is ('pgd-2', 'pgd-2'); it must be names that differ"),
        ("RUN --attacks pgd-2,cw-2", "no attack named 'pgd-2,cw-2'; did you mean"),
        ("RUN --attacks clean", "attack is 'clean'; it must be an attack on one network, such as pgd-20"),
        ("RUN --eps 8", "eps is 8.0; it must be in (0, 1], the pixels' units: 8/255, not 8"),
        ("nowhere", "no weights file nowhere"),
    ],
)
def test_a_mistake_gets_a_sentence_and_leaves_no_file(capsys, trained, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    ran = run(capsys, "analyse", "ablation", *(trained if word == "RUN" else word for word in flags.split()))
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", " ").split())
    assert not ran.out
    assert list(tmp_path.iterdir()) == []
