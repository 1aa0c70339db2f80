"""hardy table: every table at the scale smoke, what is printed and written of it, and what is asked for beside it."""

import json
from pathlib import Path

import pytest
import torch
from commands import run
from PIL import Image

from hardy.cli.asked import Asked
from hardy.cli.table import _remarks
from hardy.jobs import Place
from hardy.recipes import tables
from hardy.report.analysis import read
from hardy.report.tables import Line
from hardy.results import Measurement
from hardy.training.estimate import hardware
from hardy.training.progress import Watch

TABLES = tables()


def asked(name, **changes) -> Asked:
    usual = {
        "scale": "small", "seeds": 1, "titles": None, "also": (), "precision": "float32", "out": Path("runs/tables")
    }  # fmt: skip
    return Asked(TABLES[name], **(usual | changes))


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A folder in which every job of every table at the scale smoke is done, in this process."""
    out = tmp_path_factory.mktemp("tables")
    done = {}
    for name in TABLES:
        for job in asked(name, scale="smoke", out=out).jobs():
            # two jobs of one name would share a lock and a log, and one would pass for the other
            assert done.setdefault(job.name, job) == job, (name, job.name)
            do(job)
    return out


def do(job) -> None:
    """In this process, which the queue would start one for."""
    if not job.done():
        job.execute(Place(device="cpu"), Watch())
        assert job.done(), job.name


def shown(capsys, filled, name, *more):
    ran = run(capsys, "table", name, "--scale", "smoke", "--out", filled, *more)
    assert ran.code == 0, ran.err
    return ran


def rows_of(filled, name):
    return [json.loads(line) for line in (filled / "smoke" / name / "results.jsonl").read_text().splitlines()]


def page_of(filled, name):
    return (filled / "smoke" / name / "table.md").read_text()


def test_every_table_is_filled_at_the_scale_smoke_from_shared_jobs(capsys, filled):
    for name, table in TABLES.items():  # one test for all: the jobs take most of the time, and are shared
        ran = shown(capsys, filled, name)
        setting = table.settings["smoke"]
        assert table.title in " ".join(ran.out.split())
        rows = [row for row in rows_of(filled, name) if row["column"] != "verdict"]
        assert [(row["row"], row["column"]) for row in rows] == [
            (row, column) for row in setting.rows for column in setting.columns
        ], name
        assert {row["scale"] for row in rows} == {"smoke"}
        for row in rows:
            cell = table.cells.get((row["row"], row["column"]))
            assert row["paper"] == (cell.value if cell else None)
            assert row["place"] == (cell.place if cell else "not printed in the paper")
            assert row["value"] >= (-1 if "gap" in row["what"] else 0)
        page = page_of(filled, name)
        assert page.startswith(f"# {table.title} (scale smoke)\n\n| method |")
        assert ("These are not the paper's settings." in page) == ("paper" in table.settings)
        for note in table.notes:
            assert note in page
        assert page.endswith("](figure.png)\n") == (table.drawn is not None)
        figure = filled / "smoke" / name / "figure.png"
        assert figure.exists() == (table.drawn is not None) == ("The paper draws these numbers" in page)
        if table.drawn is not None:
            with Image.open(figure) as picture:
                assert picture.width > 400
            told = read(json.loads(figure.with_suffix(".json").read_text()), "figure.json")
            assert (told.name, len(told.rows)) == (name, len(rows))
            assert told.command.startswith(f"hardy table {name} --scale smoke")


def test_the_papers_number_stands_beside_the_measured_one(capsys, filled):
    ran = shown(capsys, filled, "rlfat-1b")
    assert "Table 1(b): accuracy on CIFAR-10 (scale smoke)" in ran.out
    assert "verified in float32, and crafted in float32." in ran.out
    (line,) = [line.split() for line in ran.out.splitlines() if line.startswith("RLFAT-P") and " PGD " in line]
    assert line[:4] == ["RLFAT-P", "0", "PGD", "53.97"]
    assert "| RLFAT-P | 0 | PGD | 53.97 |" in page_of(filled, "rlfat-1b")
    assert "| RBSAT-P | 0 | PGD | – |" in page_of(filled, "rlfat-1b")
    status = run(capsys, "table", "rlfat-1b", "--scale", "smoke", "--out", filled, "--rows", "RLFAT-P", "--status")
    assert status.out.count("done") == 5


def test_numbers_of_another_radius_than_the_papers_have_no_difference_to_it(capsys, filled):
    assert TABLES["rat-3"].printed("small", "SAT", "PGD").same_ball  # 8/255 both
    assert not TABLES["rlfat-1b"].printed("small", "PGDAT", "PGD").same_ball  # 8/255 and 0.03
    shown(capsys, filled, "rlfat-1b")
    page = page_of(filled, "rlfat-1b")
    (line,) = [line for line in page.splitlines() if line.startswith("| PGDAT | 0 | PGD |")]
    assert [cell.strip() for cell in line.split("|")][7] == "–"
    assert "The paper's numbers are of Linf 0.03, those measured here of Linf 0.1: no difference is taken." in page
    assert not any(row["same ball"] for row in rows_of(filled, "rlfat-1b") if row["paper"] is not None)


def test_the_papers_that_choose_an_epoch_have_the_weights_that_are_best_on_held_out_images(capsys, filled):
    shown(capsys, filled, "infofeature-1")
    assert "the weights of the epoch that is best under attack on held-out training images." in page_of(
        filled, "infofeature-1"
    )
    assert {row["settings"]["weights"] for row in rows_of(filled, "infofeature-1")} == {"best"}
    shown(capsys, filled, "rat-1-cifar10")
    assert "Networks have the weights of their last step." in page_of(filled, "rat-1-cifar10")
    assert {row["settings"]["weights"] for row in rows_of(filled, "rat-1-cifar10")} == {"last"}


def test_numbers_of_a_unit_that_is_not_the_papers_are_shown_without_a_difference(capsys, filled):
    shown(capsys, filled, "infofeature-2")
    lines = page_of(filled, "infofeature-2").splitlines()
    line = next(line for line in lines if line.startswith("| Madry | 0 | CW, 2-iter |"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert (cells[3], cells[6]) == ("1.8", "–")
    assert float(cells[4]) > 0


def test_a_table_without_a_paper_has_a_row_for_each_method_with_its_verdict(capsys, filled):
    ran = shown(capsys, filled, "methods")
    (row,) = [line.split() for line in ran.out.splitlines() if line.startswith("pgdat ")]
    assert row[1] == "0"
    assert " ".join(row).endswith(("no sign", "suspicious", "masked"))
    assert "paper" not in ran.out
    assert "| method | seed | clean, 20 images |" in page_of(filled, "methods")
    rows = [row for row in rows_of(filled, "methods") if row["row"] == "pgdat"]
    assert [row["column"] for row in rows] == ["clean", "PGD-20", "CW-20", "AutoAttack", "verdict"]
    assert rows[-1]["verdict"] in ("no sign", "suspicious", "masked")
    assert len(rows[-1]["signs"]) == 14


def test_a_figure_of_several_data_sets_has_a_panel_for_each(capsys, filled):
    shown(capsys, filled, "rat-fig7")
    told = read(json.loads((filled / "smoke" / "rat-fig7" / "figure.json").read_text()), "figure.json").figure
    assert [panel.title for panel in told.panels] == ["CIFAR-100", "ImageNette"]
    assert [line.name for line in told.panels[0].lines] == ["ST", "SAT", "TRADES", "AVM", "ADT", "RAT"]
    assert [point.x for point in told.panels[0].lines[0].points] == [0, 1, 2]
    shown(capsys, filled, "rat-fig6")
    told = read(json.loads((filled / "smoke" / "rat-fig6" / "figure.json").read_text()), "figure.json").figure
    assert told.names == ("clean", "PGD")
    assert told.groups[:2] == ("ST, CIFAR-100", "SAT, CIFAR-100")


def test_a_report_shows_a_tables_numbers_beside_the_papers_and_its_figures(capsys, filled):
    for name in ("rlfat-1b", "rlfat-2a", "rat-fig4"):
        shown(capsys, filled, name)
    folders = [filled / "smoke" / name for name in ("rlfat-1b", "rlfat-2a", "rat-fig4")]
    ran = run(capsys, "report", *folders, "--out", filled / "page.html")
    assert ran.code == 0, ran.err
    text = (filled / "page.md").read_text()
    assert "rlfat-1b at scale smoke" in text
    assert "| PGDAT, CIFAR-10 | 0 | brightness -0.15 | 1.41 |" in text
    assert "RAT paper, Fig. 4: accuracy against PGD's steps, CIFAR-10 (scale smoke)" in text


# what is asked for beside the paper's columns


@pytest.mark.parametrize("name", TABLES)
def test_autoattack_and_the_diagnosis_come_beside_any_tables_columns(name):
    for scale, setting in TABLES[name].settings.items():
        plain = {job.name for job in asked(name, scale=scale).jobs()}
        more = {job.name for job in asked(name, scale=scale, also=("autoattack", "diagnosis")).jobs()} - plain
        rows = 0 if name == "methods" else len({row.run for _, row in setting.rows.values()})  # it has them unasked
        assert sum("-autoattack" in job for job in more) == rows, scale
        assert sum(job.startswith("diagnose-") for job in more) == rows, scale


@pytest.mark.slow
def test_what_was_asked_for_beside_is_measured_and_shown(capsys, tmp_path):
    beside = ("--also", "autoattack", "diagnosis")
    ran = run(capsys, "table", "rat-3", "--scale", "smoke", "--rows", "SAT", "--out", tmp_path, *beside)
    assert ran.code == 0, ran.err
    assert "Signs of masked gradients" in ran.out
    rows = rows_of(tmp_path, "rat-3")
    assert [(row["column"], row["n"]) for row in rows] == [
        ("Clean", 20), ("PGD", 20), ("CW", 20), ("AutoAttack", 2), ("verdict", 2)
    ]  # fmt: skip
    assert "| SAT | 0 | AutoAttack | – |" in page_of(tmp_path, "rat-3")


# several seeds


def test_several_seeds_have_a_mean_and_best_and_worst_are_whole_networks(capsys, tmp_path):
    titles = ("Madry", "FeaScatter, best", "FeaScatter, worst")
    for job in asked("infofeature-3", scale="smoke", seeds=2, titles=titles, out=tmp_path).jobs():
        do(job)
    ran = shown(capsys, tmp_path, "infofeature-3", "--seeds", "2", "--rows", *titles)
    assert "Over seeds; best and worst are whole networks, by PGD20" in ran.out
    rows = rows_of(tmp_path, "infofeature-3")
    assert [row["seed"] for row in rows if row["row"] == "Madry"] == [0] * 5 + [1] * 5
    best, worst = ([row for row in rows if row["row"] == f"FeaScatter, {which}"] for which in ("best", "worst"))
    assert len(best) == len(worst) == 5
    assert len({row["seed"] for row in best}) == len({row["seed"] for row in worst}) == 1
    ranked = {row["row"]: row["value"] for row in rows if row["column"] == "PGD20"}
    assert ranked["FeaScatter, best"] >= ranked["FeaScatter, worst"]
    page = page_of(tmp_path, "infofeature-3")
    assert "were measured, of which one is shown: FeaScatter, best: 2; FeaScatter, worst: 2." in page
    trained = sorted(folder.name[:28] for folder in (tmp_path / "smoke").glob("feature-scatter-*"))
    assert trained == ["feature-scatter-digits-seed0", "feature-scatter-digits-seed1"]  # best and worst share them


def test_no_network_is_the_best_or_worst_before_the_number_is_there_that_says_so(tmp_path):
    of = asked("infofeature-3", scale="smoke", titles=("FeaScatter, best",), out=tmp_path)
    train, clean, *_ = of.jobs()
    do(train)
    do(clean)
    lines = [line for line in of.lines() if line.row == "FeaScatter, best"]
    assert [line.column for line in lines] == ["Clean", "FGSM", "PGD7", "PGD20", "CW20"]
    assert not any(line.measured for line in lines)
    assert of.chosen_of == {}
    (ranks,) = [job for job in of.jobs() if job.name.endswith("-pgd-20")]
    do(ranks)
    assert [line.column for line in of.lines() if line.measured and "best" in line.row] == ["Clean", "PGD20"]
    assert of.chosen_of == {"FeaScatter, best": 1, "FeaScatter, worst": 1}  # the same network, measured for both


# what a page says


def test_steps_are_told_with_what_they_were_timed_on_and_not_held_against_another_machines(capsys, tmp_path):
    for job in asked("rat-cost", scale="smoke", titles=("SAT",), out=tmp_path).jobs():
        do(job)
    shown(capsys, tmp_path, "rat-cost", "--rows", "SAT")
    page = page_of(tmp_path, "rat-cost")
    assert f"Steps were timed on {hardware(torch.device('cpu'))}." in page
    (line,) = [line for line in page.splitlines() if line.startswith("| SAT | 0 | minutes for 1,000 steps | 41.88 |")]
    assert [cell.strip() for cell in line.strip("|").split("|")][6] == "–"


@pytest.mark.parametrize(
    ("scale", "says"), [("small", "; at this scale it says nothing about the paper."), ("paper", ".")]
)
def test_a_difference_to_the_paper_is_said_to_say_nothing_of_it_where_the_settings_are_others(tmp_path, scale, says):
    of = asked("rat-3", scale=scale, out=tmp_path)
    row = Measurement(
        "a", "accuracy under pgd-10", 0.4, "fraction", 1_000, 0.37, 0.43, {"attack": {}}, 0.0, 0, 0, "cpu"
    )
    remarks = _remarks(of, [Line("SAT", "PGD", 0, of.table.printed(scale, "SAT", "PGD"), row)])
    assert f"The difference is measured minus paper, in points where it is one of accuracies{says}" in remarks


def test_a_page_speaks_of_the_precision_of_crafting_only_where_a_columns_attack_uses_it():
    assert asked("rlfat-1b").stops  # NATTACK
    assert asked("rlfat-fig2").stops  # in the average
    assert not asked("infofeature-1").stops
    assert asked("infofeature-1", also=("autoattack",)).stops
    assert not asked("rat-fig4").stops


# what makes nothing


def test_files_that_cannot_be_written_are_told_of_before_any_work(capsys, tmp_path):
    (tmp_path / "smoke").mkdir()
    (tmp_path / "smoke" / "rat-3").write_text("mine")
    (tmp_path / "smoke" / "rat-4" / "table.md").mkdir(parents=True)
    for name, said in (
        ("rat-3", "cannot be written"),
        ("rat-4", "table.md is a folder; a file of that name is to be written"),
    ):
        ran = run(capsys, "table", name, "--scale", "smoke", "--out", tmp_path)
        assert ran.code == 2
        assert said in " ".join(ran.err.split())
    assert (tmp_path / "smoke" / "rat-3").read_text() == "mine"
    assert not (tmp_path / "smoke" / "jobs").exists()


def test_status_and_dry_run_list_every_job_and_make_nothing(capsys, tmp_path):
    table = ("table", "rlfat-1b", "--scale", "smoke", "--out", tmp_path)
    status = run(capsys, *table, "--seeds", "2", "--rows", "PGDAT", "--status")
    assert status.code == 0, status.err
    assert status.out.count("waiting") == 10
    dry = run(capsys, *table, "--rows", "PGDAT", "TRADES", "--dry-run")
    assert dry.code == 0, dry.err
    assert dry.out.count("evaluate-") == 8
    assert "hours) one after another" in dry.out
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_has_times_of_studies_and_of_timings_and_none_of_a_diagnosis(capsys, tmp_path):
    dry = run(capsys, "table", "rlfat-2a", "--scale", "smoke", "--out", tmp_path, "--also", "diagnosis", "--dry-run")
    assert dry.code == 0, dry.err
    lines = [line for line in dry.out.splitlines() if line.startswith(("analyse-", "diagnose-"))]
    assert len(lines) == 8
    assert all(line.endswith("not estimated") == line.startswith("diagnose-") for line in lines)
    dry = run(capsys, "table", "rat-cost", "--scale", "smoke", "--out", tmp_path, "--dry-run")
    assert dry.out.count("time-") == 6
    assert "not estimated" not in dry.out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("methods", "--scale", "paper"), "methods has no scale 'paper'; it has smoke, small."),
        (("rat-fig6", "--rows", "RAT"), "rat-fig6 has no row 'RAT' at scale small; it has ST, CIFAR-100, "),
        (("rlfat-2a", "--rows", "RLFAT-P, STL-10"), "has no row 'RLFAT-P, STL-10' at scale small; it has PGDAT, CIFAR-10"),
        (("rat-1",), "There is no table named 'rat-1'; did you mean"),
        (("rat-3", "--also", "robustbench"), "robustbench"),
        (("rat-3", "--seeds", "0"), "seeds is 0; it must be at least 1"),
    ],
)  # fmt: skip
def test_what_a_table_has_not_is_refused(capsys, tmp_path, args, said):
    ran = run(capsys, "table", *args, "--out", tmp_path)
    assert ran.code == 2
    assert said in " ".join(ran.err.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []
