import json

import pytest
from commands import run

from hardy.recipes import tables
from hardy.recipes.table import SCALES


@pytest.mark.parametrize("table", tables().values(), ids=tables())
def test_a_table_has_a_run_an_attack_and_a_number_of_images_at_each_of_its_scales(table):
    assert {"smoke", "small"} <= set(table.scales) <= set(SCALES)
    assert table.diagnoses.keys() <= table.scales.keys()
    for scale in table.scales:
        assert all(scale in row.runs for row in table.rows)
        assert all(scale in column.attacks and column.images[scale] >= 1 for column in table.columns)
        assert table.scales[scale]
    rows, columns = {row.title for row in table.rows}, {column.title for column in table.columns}
    for (row, column), cell in table.cells.items():
        assert row in rows
        assert column in columns
        assert 0 <= cell.value <= 1
        assert cell.place.startswith("Table 1(")


def test_the_numbers_of_the_paper_are_where_the_paper_has_them():
    cells = tables()["rlfat-1b"].cells
    assert cells["RLFAT-T", "PGD"].value == 0.5875
    assert cells["PGDAT", "N attack"].value == 0.4667
    assert ("RBSAT-P", "PGD") not in cells
    assert tables()["rlfat-1c"].cells["RLFAT-P", "CW"].value == 0.2904


def test_status_and_dry_run_list_every_job_and_make_nothing(capsys, tmp_path):
    status = run(
        capsys,
        "table",
        "rlfat-1b",
        "--scale",
        "smoke",
        "--seeds",
        "2",
        "--rows",
        "PGDAT",
        "--status",
        "--out",
        tmp_path,
    )
    assert status.code == 0, status.err
    assert status.out.count("waiting") == 10
    dry = run(
        capsys, "table", "rlfat-1b", "--scale", "smoke", "--rows", "PGDAT", "TRADES", "--dry-run", "--out", tmp_path
    )
    assert dry.code == 0, dry.err
    assert dry.out.count("evaluate-") == 8
    assert "hours) one after another" in dry.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_table_is_trained_measured_and_written_with_its_scale(capsys, tmp_path):
    command = ("table", "rlfat-1b", "--scale", "smoke", "--out", tmp_path)
    first = run(capsys, *command, "--rows", "RLFAT-P")
    assert first.code == 0, first.err
    assert "Table 1(b): accuracy on CIFAR-10 (scale smoke)" in first.out
    assert "These are not the paper's settings." in first.out
    assert "verified in float32, and crafted in float32." in first.out
    again = run(capsys, *command, "--rows", "RBSAT-P")
    assert again.code == 0, again.err
    rows = [json.loads(line) for line in (tmp_path / "smoke" / "rlfat-1b" / "results.jsonl").read_text().splitlines()]
    assert [(row["row"], row["column"]) for row in rows] == [
        (row, column) for row in ("RLFAT-P", "RBSAT-P") for column in ("No attack", "PGD", "CW", "N attack")
    ]
    assert {row["scale"] for row in rows} == {"smoke"}
    assert [row["paper"] for row in rows] == [0.8477, 0.5397, 0.524, 0.546, None, None, None, None]
    page = (tmp_path / "smoke" / "rlfat-1b" / "table.md").read_text()
    assert "| RLFAT-P | 0 | PGD | 53.97 |" in page
    assert "| RBSAT-P | 0 | PGD | – |" in page
    status = run(capsys, *command, "--rows", "RLFAT-P", "--status")
    assert status.out.count("done") == 5


def test_a_scale_that_a_table_has_not_is_refused(capsys, tmp_path):
    ran = run(capsys, "table", "methods", "--scale", "paper", "--out", tmp_path)
    assert ran.code == 2
    assert "methods has no scale 'paper'; it has smoke, small." in ran.err


@pytest.mark.slow
def test_a_table_without_a_paper_has_a_row_for_each_method_with_its_verdict(capsys, tmp_path):
    ran = run(capsys, "table", "methods", "--scale", "smoke", "--rows", "pgdat", "--out", tmp_path)
    assert ran.code == 0, ran.err
    (row,) = [line.split() for line in ran.out.splitlines() if line.startswith("pgdat")]
    assert row[1] == "0"
    assert " ".join(row).endswith(("no sign", "suspicious", "masked"))
    assert "paper" not in ran.out
    page = (tmp_path / "smoke" / "methods" / "table.md").read_text()
    assert "| method | seed | clean, 20 images |" in page
    assert "| trades |" not in page
    rows = [json.loads(line) for line in (tmp_path / "smoke" / "methods" / "results.jsonl").read_text().splitlines()]
    assert [row["column"] for row in rows] == ["clean", "PGD-20", "CW-20", "AutoAttack", "verdict"]
    assert rows[-1]["verdict"] in ("no sign", "suspicious", "masked")
    assert len(rows[-1]["signs"]) == 14
