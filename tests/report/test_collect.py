import json

import pytest
from folders import analysis, diagnosis, json_lines, row, run

from hardy.errors import UsageError
from hardy.models.published import about
from hardy.report.collect import collect
from hardy.report.sections import report


def test_runs_analyses_diagnoses_and_tables_are_found_below_a_folder(tmp_path):
    run(tmp_path / "runs" / "a", [row()])
    diagnosis(tmp_path / "runs" / "a" / "diagnosis-1.json")
    analysis(tmp_path)
    (tmp_path / "tables" / "t").mkdir(parents=True)
    json_lines(tmp_path / "tables" / "t" / "results.jsonl", [{"table": "t", "value": 0.5}])
    found = collect([tmp_path])
    assert [kept.place for kept in found.runs] == [str(tmp_path / "runs" / "a")]
    kept = found.runs[0]
    assert (len(kept.metrics), len(kept.costs), [measured.value for measured in kept.rows]) == (2, 2, [0.5])
    assert [it.name for _, it in found.analyses] == ["eps"]
    assert [(it.verdict, it.weights) for it in found.diagnoses] == [("no sign", "one")]
    assert found.table_rows == [{"table": "t", "value": 0.5}]
    assert found.problems == []


def test_checkpoints_logs_and_hidden_folders_are_not_looked_into(tmp_path):
    run(tmp_path / "a")
    for name in ("checkpoints", "tensorboard", "outcomes", ".git"):
        run(tmp_path / "a" / name)
    assert len(collect([tmp_path]).runs) == 1


def test_a_published_network_and_a_file_of_rows_are_runs_with_less(tmp_path):
    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps([vars(row())]))
    name = "pgdat-cifar10-small"
    found = collect([rows, (name, about(name))])
    assert [(kept.place, len(kept.metrics)) for kept in found.runs] == [(str(rows), 0), (name, 0)]
    assert found.runs[1].told["run"]["name"] == name
    assert found.runs[1].rows[0].what == "clean accuracy"


def test_what_is_torn_or_of_another_version_is_counted_named_and_passed_over(tmp_path):
    folder = run(tmp_path / "a", [row(), row(value=0.25)])
    for name, torn in (("results", '{"run": "a", "wh'), ("metrics", '{"kind'), ("costs", "3")):
        with (folder / f"{name}.jsonl").open("a") as file:
            file.write(torn + "\n")
    (folder / "results.jsonl").write_text(
        (folder / "results.jsonl").read_text() + json.dumps({"other": "version"}) + "\n"
    )
    diagnosis(folder / "d.json", n="many")
    (folder / "broken.json").write_text("{")
    told = json.loads(analysis(folder).read_text())
    (folder / "eps.json").write_text(json.dumps(told | {"rows": [{}]}))
    (folder / "package.json").write_text('{"name": "something else"}')
    found = collect([folder])
    assert [measured.value for measured in found.runs[0].rows] == [0.5, 0.25]
    assert (len(found.runs[0].metrics), len(found.runs[0].costs)) == (2, 2)
    assert not found.analyses
    assert not found.diagnoses
    said = "\n".join(found.problems)
    assert f"2 lines of {folder / 'results.jsonl'} are torn, damaged or of another version, and passed over." in said
    assert f"1 line of {folder / 'metrics.jsonl'} is torn, and passed over." in said
    assert f"1 line of {folder / 'costs.jsonl'} is torn, and passed over." in said
    assert f"{folder / 'd.json'} is a damaged diagnosis" in said
    assert f"{folder / 'broken.json'} cannot be read" in said
    assert f"{folder / 'eps.json'} is damaged, or was written by another version" in said
    assert len(found.problems) == 6  # a file of something else is nobody's business


def test_results_that_cannot_be_read_are_named_and_the_run_is_shown(tmp_path, monkeypatch):
    whole = run(tmp_path / "a", [row()])

    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("hardy.report.collect.read", denied)
    found = collect([whole])
    assert [kept.rows for kept in found.runs] == [()]
    assert found.problems == [f"{whole / 'results.jsonl'} cannot be read (Permission denied) and is passed over."]


def test_a_damaged_run_is_passed_over_and_the_others_are_shown(tmp_path):
    run(tmp_path / "good")
    run(tmp_path / "bad")
    (tmp_path / "bad" / "run.json").write_text('{"run": 3}')
    found = collect([tmp_path])
    assert [kept.place for kept in found.runs] == [str(tmp_path / "good")]
    assert found.problems == [
        f"{tmp_path / 'bad' / 'run.json'} is damaged: it does not tell a run's settings. The run is passed over."
    ]


def test_a_diagnosis_of_rows_that_name_one_network_is_of_that_network(tmp_path):
    rows = [vars(row(settings={"weights sha256": "two"}))]
    file = diagnosis(tmp_path / "d.json", weights=None, rows=rows)
    assert [it.weights for it in collect([file]).diagnoses] == ["two"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda at: at / "nowhere", "There is no folder or file .*nowhere; name a run's folder"),
        (lambda at: at, "there is no run and no result of hardy in it"),
        (lambda at: _text(at / "a.json", '{"name": 1}'), "a.json is no result file of hardy"),
        (lambda at: _text(at / "a.json", "torn"), "a.json is no result file of hardy"),
    ],
)
def test_a_source_without_anything_is_refused(tmp_path, make, said):
    with pytest.raises(UsageError, match=said):
        collect([make(tmp_path)])


def _text(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 5},
        {"weights sha256": ["one"]},
        {"signs": [{"name": "a", "weight": "b", "result": "c", "why": "d", "numbers": {"e": "f"}}]},
    ],
)
def test_a_diagnosis_of_another_form_ends_no_report(tmp_path, changes):
    run(tmp_path / "a", [row(settings={"weights sha256": ["one"]})])
    diagnosis(tmp_path / "d.json", **changes)
    report(collect([tmp_path]), {}, {})


def test_what_is_reached_twice_is_there_once(tmp_path):
    folder = run(tmp_path / "a", [row()])
    analysis(tmp_path)
    (folder / "loop").symlink_to(tmp_path)
    name = "pgdat-cifar10-small"
    found = collect([tmp_path, folder, tmp_path / "eps.json", (name, about(name)), (name, about(name))])
    assert [kept.place for kept in found.runs] == [str(folder), name]
    assert len(found.analyses) == 1


def test_rows_written_to_a_file_beside_a_runs_own_are_no_network_more(tmp_path):
    folder = run(tmp_path / "a", [row()])
    (folder / "rows.json").write_text(json.dumps([vars(row()), vars(row(value=0.25))]))
    (folder / "same.json").write_text(json.dumps([vars(row())]))
    found = collect([tmp_path])
    assert [(kept.place, len(kept.rows)) for kept in found.runs] == [(str(folder), 1), (str(folder / "rows.json"), 1)]


def test_rows_of_a_results_file_alone_are_a_network(tmp_path):
    json_lines(tmp_path / "results.jsonl", [vars(row())])
    for source in (tmp_path, tmp_path / "results.jsonl"):
        assert [kept.place for kept in collect([source]).runs] == [str(tmp_path / "results.jsonl")]
