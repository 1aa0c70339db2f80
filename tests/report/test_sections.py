import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from folders import DATA, analysis, diagnosis, json_lines, row, run
from safetensors.numpy import save_file

from hardy.report.accuracy import PaperNumber
from hardy.report.analysis import Analysis, write
from hardy.report.collect import collect
from hardy.report.document import Commands, Drawn, Folded, Grid, Items, Paragraph
from hardy.report.sections import report
from hardy.report.subjects import subjects
from hardy.report.tables import Printed
from hardy.report.training import duration

AUTOATTACK = {"attack": {"type": "AutoAttack"}, "summary": "AutoAttack, standard", "judge": "any"}


def made(*sources, papers=None, analyses=None):
    """The report's sections by name."""
    document = report(collect(sources), papers or {}, analyses or {})
    return {section.name: section for section in document.sections}


def everything(section, kind):
    """All blocks of a kind, inside folded ones too."""

    def walk(blocks):
        for block in blocks:
            if isinstance(block, kind):
                yield block
            if isinstance(block, Folded):
                yield from walk(block.blocks)

    return list(walk(section.blocks))


def tables(section):
    return [block.table for block in everything(section, Grid)]


def test_networks_stand_in_one_table_the_most_robust_under_the_last_attack_first(tmp_path):
    for name, n, values in (("a", 100, (0.9, 0.4, 0.2)), ("b", 50, (0.8, 0.3, 0.25))):
        clean, pgd, autoattack = values
        last = row("accuracy under autoattack", autoattack, n=n, settings=AUTOATTACK)
        run(tmp_path / name, [row(value=clean), row("accuracy under pgd-20", pgd), last])
    diagnosis(tmp_path / "a" / "d.json", "suspicious")
    (table,) = tables(made(tmp_path)["accuracy"])
    assert table.heads == (
        "network",
        "clean (n\u00a0=\u00a0100)",
        "pgd-20 (n\u00a0=\u00a0100)",
        "autoattack",
        "masked gradients",
    )
    assert table.rows == (
        ("b", "80.0 [70.0, 90.0]", "30.0 [20.0, 40.0]", "25.0 [15.0, 35.0] (n = 50)", "suspicious"),
        ("a", "90.0 [80.0, 100.0]", "40.0 [30.0, 50.0]", "20.0 [10.0, 30.0] (n = 100)", "suspicious"),
    )  # both have the same weights, so that the diagnosis is of both
    said = [text for items in everything(made(tmp_path)["accuracy"], Items) for text in items.texts]
    assert said == [
        "pgd-20: PGD, 20 steps; judged at the last iterate",
        "autoattack: AutoAttack, standard; judged at any iterate",
    ]


def test_attacks_of_one_name_with_other_settings_are_columns_of_their_own(tmp_path):
    other = {"attack": {"type": "PGD", "steps": 20, "eps": 1}, "summary": "wider"}
    run(tmp_path / "a", [row("accuracy under pgd-20", 0.4), row("accuracy under pgd-20", 0.1, settings=other),
                         row("accuracy under pgd-20", 0.6, settings={"crafted on": ["x"]})])  # fmt: skip
    section = made(tmp_path)["accuracy"]
    (table,) = tables(section)
    assert [head.split(" (")[0] for head in table.heads[1:4]] == ["pgd-20 [a]", "pgd-20 [b]", "pgd-20 [c]"]
    assert [cell[:4] for cell in table.rows[0][1:4]] == ["40.0", "10.0", "60.0"]
    assert everything(section, Items)[0].texts[2].endswith("crafted on another network")


def test_one_attack_of_two_names_is_one_column(tmp_path):
    run(tmp_path / "a", [row("accuracy under pgd-20", 0.4)])
    run(tmp_path / "b", [row("accuracy under pgd", 0.3)])
    (table,) = tables(made(tmp_path)["accuracy"])
    assert [head.split(" (")[0] for head in table.heads] == ["network", "pgd-20", "masked gradients"]
    assert [(line[0], line[1][:4]) for line in table.rows] == [("a", "40.0"), ("b", "30.0")]


def test_of_two_rows_of_one_measurement_that_of_more_images_counts_and_of_these_the_newest(tmp_path):
    run(tmp_path / "a", [row(value=0.1, n=200), row(value=0.2), row(value=0.3, n=200)])
    assert tables(made(tmp_path)["accuracy"])[0].rows[0][1].startswith("30.0")


def test_rows_of_weights_that_a_run_no_longer_has_are_left_out_and_counted(tmp_path):
    run(tmp_path / "a", [row(value=0.1, settings={"weights sha256": "old"}), row(value=0.2)])
    sections = made(tmp_path)
    assert tables(sections["accuracy"])[0].rows[0][1].startswith("20.0")
    assert f"1 row of {tmp_path / 'a'} are of last weights that it had before, and left out." in everything(
        sections["problems"], Items)[0].texts  # fmt: skip


def test_best_and_last_weights_are_two_networks_of_one_run(tmp_path):
    run(tmp_path / "a", [row(value=0.1), row(value=0.2, settings={"weights": "best", "weights sha256": "two"})])
    sections = made(tmp_path)
    assert [line[0] for line in tables(sections["accuracy"])[0].rows] == ["a, best", "a, last"]
    assert [line[0] for line in tables(sections["training"])[0].rows] == ["a"]


def test_networks_of_different_images_are_not_compared_and_the_page_says_so(tmp_path):
    run(tmp_path / "a", [row()])
    run(tmp_path / "b", [row(settings={"data": "CIFAR-10 test, 10,000 images from /some/place; checked"})])
    run(tmp_path / "c", [row(settings={"data": "CIFAR-10 test, 10,000 images from /another; checked"})])
    section = made(tmp_path)["accuracy"]
    assert [(table.title, [line[0] for line in table.rows]) for table in tables(section)] == [
        (DATA, ["a"]), ("CIFAR-10 test, 10,000 images; checked", ["b", "c"])]  # fmt: skip
    assert [block.text for block in everything(section, Paragraph) if block.warning] == [
        "Networks judged by different images stand in different tables: their numbers are not compared."
    ]


def test_runs_of_one_name_are_told_apart_by_the_folder_above(tmp_path):
    for above in ("one", "two"):
        run(tmp_path / above / "a", [row()])
    run(tmp_path / "two" / "b", [row()])
    networks, _ = subjects(collect([tmp_path]))
    assert [network.name for network in networks] == ["one/a", "two/a", "b"]


def test_the_papers_numbers_stand_beside_ours_with_their_difference(tmp_path):
    folder = run(tmp_path / "a", [row(value=0.9), row("accuracy under pgd-20", 0.4)])
    numbers = [
        PaperNumber("Table 1", "clean", Printed(0.85, "Table 1"), None, None, ""),
        PaperNumber(
            "Table 1", "PGD", Printed(0.45, "Table 1"), {"type": "PGD", "steps": 20}, "last", "Not the paper's setting."
        ),
        PaperNumber("Table 1", "CW", Printed(0.35, "Table 1"), {"type": "CW"}, "last", "Not the paper's setting."),
    ]
    section = made(tmp_path, papers={str(folder): numbers})["papers"]
    assert tables(section)[0].rows == (
        ("a", "0", "clean", "85.00", "90.0", "[80.0, 100.0]", "+5.0", "100"),
        ("a", "0", "PGD", "45.00", "40.0", "[30.0, 50.0]", "-5.0", "100"),
    )  # and none for what was not measured
    assert [block.text for block in everything(section, Paragraph)] == ["Not the paper's setting."]


def test_a_number_of_a_papers_best_epoch_stands_beside_that_of_our_best_weights_once_the_run_has_ended(tmp_path):
    folder = run(tmp_path / "a", [row(value=0.8), row(value=0.9, settings={"weights": "best", "step": 10})])
    number = PaperNumber("Table 1", "clean", Printed(0.85, "Table 1"), None, None, "", "best")
    saved(folder, "best", 10)
    assert "papers" not in made(tmp_path, papers={str(folder): [number]})
    saved(folder, "last", 20)
    (shown,) = tables(made(tmp_path, papers={str(folder): [number]})["papers"])
    assert shown.rows == (("a, best", "0", "clean", "85.00", "90.0", "[80.0, 100.0]", "+5.0", "100"),)


def test_a_tables_rows_stand_beside_the_papers_numbers_and_those_without_any_do_not(tmp_path):
    told = {"table": "rlfat-1b", "scale": "small", "row": "PGDAT", "column": "PGD", "seed": 1, "place": "Table 1(b)"}
    json_lines(tmp_path / "results.jsonl", [
        {**told, "paper": 0.5, **vars(row("accuracy under pgd", 0.4))}, {**told, "value": 0.5},
        {**told, "table": "methods", "paper": None, **vars(row("accuracy under pgd", 0.4))}])  # fmt: skip
    sections = made(tmp_path)
    (table,) = tables(sections["papers"])
    assert table.rows == (("PGDAT", "1", "PGD", "50.00", "40.0", "[30.0, 50.0]", "-10.0", "100"),)
    assert "A row of table rlfat-1b could not be read" in everything(sections["problems"], Items)[0].texts[0]


def test_training_tells_time_passes_and_how_far_a_run_came(tmp_path):
    run(tmp_path / "a")
    unfinished = run(tmp_path / "b", epochs=1)
    (unfinished / "costs.jsonl").unlink()
    section = made(tmp_path)["training"]
    lines = tables(section)[0].rows
    assert lines[0][0] == "a"
    assert lines[0][4:] == ("20", "1 h 01 min", "2,100", "1,850")
    assert lines[1][4:] == ("10 of 20", "–", "–", "–")
    settings = dict(tables(section)[1].rows)
    assert settings["objective"] == "PGDAT"
    assert settings["objective.attack.steps"] == "7"


def test_a_diagnosis_is_shown_with_its_evidence_one_of_no_shown_network_too(tmp_path):
    run(tmp_path / "a", [row()])
    diagnosis(tmp_path / "d.json", "masked")
    diagnosis(tmp_path / "e.json", "no sign", weights="other", rows=[vars(row(settings={"weights sha256": "other"}))])
    section = made(tmp_path)["diagnosis"]
    said = [(block.text, block.warning) for block in section.blocks if isinstance(block, Paragraph)][1:]
    assert said == [("a: masked. That is masked. Linf 8/255, 40 images.", True),
                    ("a run: no sign. That is no sign. Linf 8/255, 40 images.", False)]  # fmt: skip
    assert tables(section)[0].rows == (("transfer", "strong", "not seen", "0.5", "images 40, PGD-20 25.0 %"),)


def test_an_analysis_is_shown_whole_with_the_command_that_made_it(tmp_path):
    analysis(tmp_path)
    section = made(tmp_path)["analyses"]
    assert [block.text for block in section.blocks[:2]] == ["The eps", "It falls as `eps` grows."]
    assert everything(section, Drawn)[0].figure.title == "both networks"
    assert tables(section)[0].rows[1] == ("8/255", "20.0", "30.0")
    assert everything(section, Commands)[0].lines == ("hardy analyse eps a b",)


def test_other_measurements_have_a_table_of_their_own(tmp_path):
    run(tmp_path / "a", [row("loss sensitivity at gamma 0.8", 1.25, unit="gradient norm")])
    assert tables(made(tmp_path)["others"])[0].rows == (
        ("a", "loss sensitivity at gamma 0.8", "1.25", "[1.15, 1.35]", "gradient norm", "100"),
    )


def test_accuracy_under_what_is_no_attack_is_another_measurement(tmp_path):
    run(tmp_path / "a", [row(), row("accuracy under fog, severity 1", 0.25, settings={"attack": None})])
    sections = made(tmp_path)
    assert len(tables(sections["accuracy"])[0].heads) == 3
    assert tables(sections["others"])[0].rows[0][1] == "accuracy under fog, severity 1"


def test_what_is_missing_is_told_as_commands(tmp_path):
    a = run(tmp_path / "a", [row()], epochs=1)
    b = run(tmp_path / "with space" / "b")
    c = run(tmp_path / "c", [row("accuracy under autoattack", 0.2, settings={"weights sha256": "c"})])
    diagnosis(c / "d.json", weights="c")
    analysis(tmp_path)
    lines = [
        line
        for block in everything(made(tmp_path, analyses={"eps": "by radius", "steps": "by steps"})["missing"], Commands)
        for line in block.lines
    ]
    assert lines == [
        f"hardy train pgdat-digits --out {a}",
        f"hardy evaluate '{b}'",
        f"hardy evaluate {a} --attacks autoattack",
        f"hardy evaluate '{b}' --attacks autoattack",
        f"hardy diagnose {a} --json {a}/diagnosis.json",
        f"hardy diagnose '{b}' --json '{b}/diagnosis.json'",
        f"hardy analyse eps {a} {c} '{b}'   # by radius",  # there is one, of a's weights alone
        f"hardy analyse steps {a} {c} '{b}'   # by steps",
    ]


def test_an_analysis_of_every_network_is_not_missing_whether_or_not_its_weights_were_measured(tmp_path):
    run(tmp_path / "a", [row()])
    analysis(tmp_path)
    assert "hardy analyse" not in str(made(tmp_path, analyses={"eps": "by radius"})["missing"])
    run(tmp_path / "b", name="trades-digits")
    assert "hardy analyse eps" in str(made(tmp_path, analyses={"eps": "by radius"})["missing"])
    of_b = dataclasses.replace(row(), run="trades-digits")
    write(tmp_path / "b.json", Analysis("eps", "Of b", "", "", (), None, (of_b,)))
    assert "hardy analyse" not in str(made(tmp_path, analyses={"eps": "by radius"})["missing"])


def test_an_analysis_of_other_weights_of_a_run_is_marked(tmp_path):
    run(tmp_path / "a", [row(settings={"weights sha256": "two"})])
    of_a = dataclasses.replace(row(), run="pgdat-digits")
    write(tmp_path / "eps.json", Analysis("eps", "Of a", "", "", (), None, (of_a,)))
    warned = [it.text for it in everything(made(tmp_path)["analyses"], Paragraph) if it.warning]
    assert warned == ["Of other weights than those measured above: pgdat-digits."]
    run(tmp_path / "b", [row()])  # another seed's, which has them
    assert not any(it.warning for it in everything(made(tmp_path)["analyses"], Paragraph))


def test_where_nothing_is_missing_or_passed_over_nothing_is_said_of_it(tmp_path):
    run(tmp_path / "a", [row("accuracy under autoattack", 0.2)])
    diagnosis(tmp_path / "a" / "d.json")
    assert not {"missing", "problems", "papers", "others"} & made(tmp_path).keys()


def test_the_lead_counts_what_there_is(tmp_path):
    run(tmp_path / "a", [row(), row("accuracy under pgd-20", 0.2)])
    analysis(tmp_path)
    lead = report(collect([tmp_path]), {}, {}).lead
    assert lead == "1 network, 2 measurements, 0 diagnoses, 1 analysis. Measured with hardy 0.1.0."


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 00 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_times_are_said_as_people_do(seconds, said):
    assert duration(seconds) == said


def test_settings_of_another_version_are_shown_as_they_are(tmp_path):
    folder = run(tmp_path / "a")
    told = json.loads((folder / "run.json").read_text())
    told["run"] = {"type": "Run", "name": "old", "unknown": [1, 2], "model": None}
    (folder / "run.json").write_text(json.dumps(told))
    section = made(tmp_path)["training"]
    assert tables(section)[0].rows[0][1:4] == ("old", "–", "–")
    assert dict(tables(section)[1].rows)["unknown"] == "1, 2"


def saved(folder, which, step):
    """A weights file that says of itself after how many steps it was saved."""
    save_file({"w": np.zeros(1)}, folder / f"{which}.safetensors", {"hardy": json.dumps({"step": step})})
    return folder


def test_rows_of_weights_that_were_trained_on_since_are_left_out(tmp_path):
    folder = saved(run(tmp_path / "a", [row(settings={"step": 10})]), "last", 20)
    sections = made(tmp_path)
    assert "accuracy" not in sections
    assert everything(sections["problems"], Items)[0].texts == (
        f"1 row of {folder} are of last weights that it had before, and left out.",
    )
    saved(folder, "last", 10)
    assert tables(made(tmp_path)["accuracy"])[0].rows[0][1].startswith("50.0")


@pytest.mark.parametrize(
    "settings", [{"crafted on": ["x"]}, {"judge": "any"}, {"data set": {"type": "CIFAR100"}}, {"step": 10}]
)
def test_a_number_of_another_setting_is_not_put_beside_the_papers(tmp_path, settings):
    folder = run(tmp_path / "a", [row("accuracy under pgd-20", 0.4, settings=settings)])
    papers = {
        str(folder): [PaperNumber("Table 1", "PGD", Printed(0.45, "Table 1"), {"type": "PGD", "steps": 20}, "last", "")]
    }
    sections = made(tmp_path, papers=papers)
    assert "40.0" not in str(sections.get("papers"))


def test_a_verdict_is_that_on_the_images_of_the_table_and_of_several_on_the_most(tmp_path):
    other = {"data": "CIFAR-10 test, 10,000 images; read"}
    run(tmp_path / "a", [row(), row(value=0.1, settings=other)])
    diagnosis(tmp_path / "b.json", "masked", n=400, rows=[vars(row())])
    diagnosis(tmp_path / "c.json", "no sign", n=40, rows=[vars(row())])
    sections = made(tmp_path)
    assert [table.rows[0][-1] for table in tables(sections["accuracy"])] == ["masked", "–"]
    said = [block.text for block in sections["diagnosis"].blocks if isinstance(block, Paragraph)][1:]
    assert [text.split(". ")[0] for text in said] == ["a: masked", "a: no sign"]


def test_images_of_other_folders_or_at_other_places_are_other_images(tmp_path):
    for i, place in enumerate(("one", "two")):
        run(
            tmp_path / f"a{i}", [row(settings={"data": f"folder test, 9 of 90 images of 2 classes from {place}; read"})]
        )
        lie = f"digits test, 9 of 90 scans of 8 x 8 from scikit-learn, at a random place of {16 + i}; our own split"
        run(tmp_path / f"b{i}", [row(settings={"data": lie})])
        known = f"CIFAR-10 test, 10,000 images from {place}; downloaded, checksum verified"
        run(tmp_path / f"c{i}", [row(settings={"data": known})])
    assert sorted(len(table.rows) for table in tables(made(tmp_path)["accuracy"])) == [1, 1, 1, 1, 2]


def test_a_run_that_has_logged_nothing_has_made_no_known_number_of_steps(tmp_path):
    folder = run(tmp_path / "a")
    (folder / "metrics.jsonl").unlink()
    (folder / "costs.jsonl").unlink()
    assert tables(made(tmp_path)["training"])[0].rows[0][4] == "–"
    saved(folder, "last", 10)
    assert tables(made(tmp_path)["training"])[0].rows[0][4] == "10 of 20"


def test_a_step_that_is_no_number_is_passed_over(tmp_path):
    json_lines(run(tmp_path / "a") / "metrics.jsonl", [{"kind": "train", "step": "many"}])
    assert tables(made(tmp_path)["training"])[0].rows[0][4] == "20"


def test_a_diagnosis_is_wanted_where_the_report_finds_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "a", [row()])
    lines = everything(made(Path("a"))["missing"], Commands)
    assert lines[-1].lines == ("hardy diagnose a --json a/diagnosis.json",)


def test_a_radius_among_a_signs_numbers_is_no_share(tmp_path):
    sign = {"name": "radius", "weight": "hint", "result": "seen", "p": 0.5, "why": "It should.",
            "numbers": {"eps": 0.25, "accuracy": 0.25}}  # fmt: skip
    diagnosis(tmp_path / "d.json", signs=[sign])
    assert tables(made(tmp_path)["diagnosis"])[0].rows[0][-1] == "eps 0.25, accuracy 25.0 %"


@pytest.mark.parametrize("changes", [{"seed": None}, {"paper": "many"}])
def test_a_tables_row_that_is_of_another_version_is_passed_over(tmp_path, changes):
    told = vars(row()) | {"table": "t", "scale": "s", "row": "r", "column": "c", "seed": 0, "paper": 0.5} | changes
    json_lines(tmp_path / "results.jsonl", [told])
    assert "papers" not in made(tmp_path)
