import dataclasses
import shutil

import pytest
from commands import run

from hardy.cli.curves import by_images
from hardy.recipes import recipe
from hardy.training import train
from hardy.training.curves import learning_curves
from report.folders import run as kept_run


@pytest.fixture
def fresh(trained, tmp_path_factory):
    """The same run, without what other tests measured of it."""
    return shutil.copytree(
        trained, tmp_path_factory.mktemp("fresh") / "quick", ignore=shutil.ignore_patterns("results.jsonl", "outcomes")
    )


def test_a_report_of_a_run_says_what_was_measured_and_what_is_missing(capsys, fresh, tmp_path):
    run(
        capsys,
        "evaluate",
        fresh / "last.safetensors",
        "--attacks",
        "clean",
        "--n",
        "9",
        "--json",
        tmp_path / "rows.json",
    )
    ran = run(capsys, "report", fresh, tmp_path / "rows.json", "--out", tmp_path / "page.html")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines() == [str(tmp_path / f"page.{ending}") for ending in ("html", "md", "tex")]
    text = (tmp_path / "page.md").read_text()
    assert text.startswith("<!-- hardy report -->\n# Robustness report\n\n2 networks, ")
    assert f"hardy evaluate {fresh} --attacks autoattack" in text
    assert f"hardy analyse eps {fresh}   # robust accuracy" in text
    assert "analyse shuffle" not in text
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert "*Training curves: 1 run; on held-out images, bands: 95 % intervals.*" in text
    assert "\\begin{tabular}" in (tmp_path / "page.tex").read_text()


def test_runs_of_different_images_have_curves_of_their_own(tmp_path):
    curves = {}
    for name in ("pgdat-digits", "trades-digits", "pgdat-cifar10-small"):
        curves[name] = learning_curves(kept_run(tmp_path / name, name=name))
    assert [list(group) for group in by_images(curves)] == [["pgdat-digits", "trades-digits"], ["pgdat-cifar10-small"]]


def test_a_report_is_written_anew_and_nothing_else_is(capsys, trained, tmp_path):
    page = tmp_path / "page.html"
    assert run(capsys, "report", trained, "--out", page).code == 0
    first = page.read_text()
    assert run(capsys, "report", trained, "--out", page).code == 0
    assert page.read_text() == first
    (tmp_path / "page.md").write_text("mine")
    ran = run(capsys, "report", trained, "--out", page)
    assert ran.code == 2
    assert "page.md exists already and is no report of hardy; --out names another page" in ran.err
    assert (tmp_path / "page.md").read_text() == "mine"


def test_published_networks_stand_beside_their_papers_numbers(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = run(capsys, "report", "pgdat-cifar10-small", "rlfat-p-cifar10-small")
    assert ran.code == 0, ran.err
    text = (tmp_path / "report.md").read_text()
    assert "| pgdat-cifar10-small | 0 | PGD | 46.19 | 15.6 | [13.5, 18.0] | – | 1,000 |" in text
    assert "The paper's numbers are of Linf 0.03: no difference is taken." in text
    assert "not in the paper's setting" in text
    assert "hardy diagnose pgdat-cifar10-small --json diagnosis-pgdat-cifar10-small.json" in text


def test_the_seed_of_a_run_does_not_keep_the_papers_numbers_away(capsys, tmp_path):
    ran = run(capsys, "report", "pgdat-cifar10-small-seed1", "--out", tmp_path / "page.html")
    assert ran.code == 0, ran.err
    assert "| pgdat-cifar10-small-seed1 | 1 | PGD | 46.19 | 15.1 |" in (tmp_path / "page.md").read_text()


def test_the_page_of_one_folder_lies_in_it(capsys, tmp_path):
    quick = dataclasses.replace(recipe("standard-digits"), epochs=1)
    train(quick, tmp_path / "runs" / "a")
    ran = run(capsys, "report", tmp_path / "runs")
    assert ran.out.splitlines()[0] == str(tmp_path / "runs" / "report.html")
    text = (tmp_path / "runs" / "report.md").read_text()
    forwards = quick.batch * (1297 // quick.batch)
    assert f"| {forwards:,} | {forwards:,} |" in text.split("## Training")[1]  # plain training: one pass an image


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "sources is (); it must be at least one run's folder, or one with results"),
        ("nowhere", "There is no folder or file nowhere"),
        ("EMPTY", "there is no run and no result of hardy in it"),
        ("RUN --out page.pdf", "out is 'page.pdf'; it must be a name that ends in .html"),
        ("RUN --out FILE/page.html", "cannot be written"),
        ("RUN --title x", "Unrecognized options: --title"),
        ("rlfat-p-cifar10-smal", "There is no folder or file rlfat-p-cifar10-smal"),
    ],
)
def test_a_mistake_gets_a_sentence_and_leaves_no_file(capsys, trained, tmp_path, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    places = {"RUN": str(trained), "EMPTY": "empty", "FILE/page.html": "file/page.html"}
    ran = run(capsys, "report", *(places.get(word, word) for word in flags.split()))
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", " ").split())
    assert not ran.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
