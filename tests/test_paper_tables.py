"""The tables as data: the papers' numbers where their text has them, columns as each paper ran them, nothing mixed."""

import dataclasses
from collections.abc import Iterator

import pytest

import papers
from hardy.attacks import (
    NATTACK,
    PGD,
    AdversarialInterpolation,
    AutoAttack,
    CrossEntropy,
    FeatureScatter,
    InfoFeature,
    Linf,
    Margin,
)
from hardy.describe import describe
from hardy.errors import UsageError
from hardy.jobs.measures import Accuracy, AtEpoch, MeanAccuracy, RowOf, StepCost
from hardy.jobs.studies import Corruptions, Direction, Distances, Gaps, OverEps, OverSteps, Sensitivity, Transfer
from hardy.jobs.timing import MINUTES
from hardy.recipes import infofeature2021, rat2021, recipes, rlfat2020, small, tables
from hardy.recipes.table import SCALES, find
from hardy.training.curves import CLEAN, ROBUST

TABLES = tables()
every = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
EPS, ALPHA = 8 / 255, 2 / 255


def numbers(text: str) -> Iterator[tuple[str, list[str]]]:
    """(first words, numbers) of each line."""
    for line in text.strip().splitlines():
        words = line.split()
        count = next((i for i, word in enumerate(words) if word.replace(".", "").isdigit()), len(words))
        yield " ".join(words[:count]), words[count:]


def printed(name: str) -> dict[tuple[str, str], str]:
    return {place: str(cell) for place, cell in TABLES[name].cells.items()}


def in_columns(text: str, columns: tuple[str, ...]) -> dict[tuple[str, str], str]:
    return {(row, c): value for row, of in numbers(text) for c, value in zip(columns, of, strict=True)}


def columns_of(name, scale="paper"):
    return {column.title: column.measure for column in TABLES[name].settings[scale].parts[0].columns}


def runs_of(name, scale="paper"):
    return {title: row.run for title, (_, row) in TABLES[name].settings[scale].rows.items()}


def studies_of(part):
    return {column.measure.study for column in part.columns}


# what every table is


def test_there_is_every_table_and_figure_of_the_papers_that_has_numbers_and_our_own():
    figures = {f"rat-fig{number}" for number in range(2, 9)}
    assert set(TABLES) == {
        *(f"rlfat-{name}" for name in ("1a", "1b", "1c", "2a", "2b", "fig2", "cost")),
        *(f"infofeature-{name}" for name in (1, 2, 3, 4, 5, 6, "fig3", "fig4")),
        *(f"rat-{name}" for name in ("1-cifar10", "1-cifar100", "1-imagenette", 2, 3, 4, "cost")), *figures,
        "methods",
    }  # fmt: skip
    assert all(table.name == name for name, table in TABLES.items())
    assert {name for name, table in TABLES.items() if not table.cells} == {
        "methods", "rlfat-fig2", "rlfat-cost", "infofeature-fig3", "infofeature-fig4", *figures
    }  # fmt: skip


@every
def test_a_table_has_runs_and_columns_at_each_of_its_scales(table):
    assert tuple(table.settings) == (("smoke", "small") if table.name == "methods" else SCALES)
    assert table.title
    for setting in table.settings.values():
        assert setting.says
        assert len(setting.rows) == sum(len(part.rows) for part in setting.parts)
        for part in setting.parts:
            assert tuple(column.title for column in part.columns) == setting.columns
            assert len(set(setting.columns)) == len(setting.columns)
            assert table.ranked_by is None or table.ranked_by in setting.columns


@every
def test_every_number_of_the_paper_has_its_place_in_the_table_of_the_papers_scale(table):
    for (row, column), cell in table.cells.items():
        assert row in table.settings["paper"].rows
        assert column in table.settings["paper"].columns
        assert cell.place.startswith(("Table ", "Computation Efficiency"))
    # what the smaller scales have of the paper's rows has the paper's titles
    for scale in ("smoke", "small"):
        assert not table.cells or {row for row, _ in table.cells} & set(table.settings[scale].rows)


@every
def test_radii_are_never_mixed_in_a_table(table):
    for scale, setting in table.settings.items():
        radii = {ball["eps"] for part in setting.parts for ball in _balls(part)}
        assert len(radii) == 1, (scale, radii)
        trained = {ball["eps"] for _, row in setting.rows.values() for ball in _in(describe(row.run.objective))}
        assert trained <= radii, scale
        if scale == "paper":
            assert radii == {0.03 if table.name.startswith("rlfat") else EPS}


def _balls(part):
    yield from _in(describe(part.beside.ball))
    for column in part.columns:
        match column.measure:
            case Accuracy(attack=attack) if attack is not None:
                yield from _in(describe(attack))
            case MeanAccuracy(of=several):
                yield from (ball for one in several for ball in _in(describe(one.attack)))
            case RowOf(study=study):
                yield from _in(describe(study))


def _in(described):
    """Every Linf ball in a description."""
    if isinstance(described, list):
        for item in described:
            yield from _in(item)
    elif isinstance(described, dict):
        if described.get("type") == "Linf":
            yield described
        for item in described.values():
            yield from _in(item)


@every
def test_a_figure_is_drawn_from_columns_that_have_their_place_in_it(table):
    if table.drawn is None:
        assert "fig" not in table.name
        return
    for part in (part for setting in table.settings.values() for part in setting.parts):
        if table.drawn.x_label is None:
            assert all(column.x is None for column in part.columns)
            assert len(table.drawn.panels) == 1
            continue
        assert {column.panel for column in part.columns} == set(table.drawn.panels)
        for panel in table.drawn.panels:
            xs = [column.x for column in part.columns if column.panel == panel]
            assert xs == sorted(set(xs))


def test_rows_at_the_papers_scale_are_its_recipes_and_at_the_small_scale_the_small_ones():
    known = set(recipes().values())
    for table in TABLES.values():
        for scale in {"small", "paper"} & table.settings.keys():
            own = table.name == "methods" or (scale == "small" and table.name in ("rat-3", "rat-4"))
            assert own or set(runs_of(table.name, scale).values()) <= known, (table.name, scale)


@every
def test_networks_have_the_weights_that_each_papers_are_chosen_by(table):
    """The register's D27: P-INFO's model choice by a held-out split, not by the test set."""
    assert table.weights == ("best" if table.name.startswith("infofeature") else "last")
    if table.weights == "best":
        for setting in table.settings.values():
            runs = [row.run for _, row in setting.rows.values()]
            runs += [run for part in setting.parts for run in _sources(part)]
            assert all(run.validation.images > 0 for run in runs)


def _sources(part):
    studies = [column.measure.study for column in part.columns if isinstance(column.measure, RowOf)]
    return [run for study in studies for run in study.sources]


def test_an_unknown_table_is_refused_with_the_nearest_names():
    with pytest.raises(UsageError, match=r"There is no table named 'rlfat-1'; did you mean .*rlfat-1a"):
        find("rlfat-1", TABLES)


# the RLFAT paper


@pytest.mark.parametrize(
    ("name", "text"),
    [("rlfat-1a", papers.RLFAT_1A), ("rlfat-1b", papers.RLFAT_1B), ("rlfat-1c", papers.RLFAT_1C)],
)
def test_rlfats_table_1_has_the_papers_numbers(name, text):
    assert printed(name) == in_columns(text, ("No attack", "PGD", "CW", "N attack"))


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("rlfat-2a", papers.RLFAT_2A, ("brightness -0.15", "brightness +0.15")),
        ("rlfat-2b", papers.RLFAT_2B, ("gamma 0.8", "gamma 1.2")),
    ],
)
def test_rlfats_table_2_has_the_papers_numbers(name, text, columns):
    heads = [(m, c) for m in ("PGDAT", "TRADES", "RLFAT-P", "RLFAT-T") for c in columns]
    expected = {
        (f"{method}, {line.split()[0]}", column): value
        for line in text.strip().splitlines()
        for (method, column), value in zip(heads, line.split()[1:], strict=True)
    }
    assert printed(name) == expected
    assert {cell.unit for cell in TABLES[name].cells.values()} == {"gradient norm"}


@pytest.mark.parametrize(
    ("name", "data", "steps", "n"),
    [("rlfat-1a", "stl10", 7, 8_000), ("rlfat-1b", "cifar10", 10, 10_000), ("rlfat-1c", "cifar100", 7, 10_000)],
)
def test_rlfats_attacks_are_those_of_its_appendix_a(name, data, steps, n):
    ball = Linf(0.03)
    assert columns_of(name) == {
        "No attack": Accuracy("clean", None, n),
        "PGD": Accuracy("pgd", PGD(ball, steps, 0.0075, "uniform", loss=CrossEntropy()), n),
        "CW": Accuracy("cw", PGD(ball, steps, 0.0075, "uniform", loss=Margin(50.0)), n),
        "N attack": Accuracy("nattack", NATTACK(ball, steps=200, population=300, sigma=0.1, learning_rate=0.008), 1_500),
    }  # fmt: skip
    known, runs = rlfat2020.recipes(), runs_of(name)
    for method, title in (("pgdat", "PGDAT"), ("trades", "TRADES"), ("rlfat-p", "RLFAT-P"), ("rlfat-t", "RLFAT-T")):
        assert runs[title] == known[f"{method}-{data}"]


def test_rlfats_table_2_measures_all_test_images_of_each_data_set():
    for name, study in (
        ("rlfat-2a", lambda n: Sensitivity(n, shifts=(-0.15, 0.15))),
        ("rlfat-2b", lambda n: Sensitivity(n, exponents=(0.8, 1.2))),
    ):
        parts = TABLES[name].settings["paper"].parts
        assert [part.title for part in parts] == ["STL-10", "CIFAR-10", "CIFAR-100"]
        assert [studies_of(part) for part in parts] == [{study(n)} for n in (8_000, 10_000, 10_000)]


def test_rlfats_figure_2_averages_over_table_1s_attacks_for_a_method_its_rlfl_and_its_rlft():
    parts = TABLES["rlfat-fig2"].settings["paper"].parts
    for part, name in zip(parts, ("rlfat-1a", "rlfat-1b", "rlfat-1c"), strict=True):
        clean, mean = (column.measure for column in part.columns)
        assert clean == columns_of(name)["No attack"]
        assert mean.of == tuple(columns_of(name)[title] for title in ("PGD", "CW", "N attack"))
    methods = ("pgdat", "rbsat-p", "rlfat-p", "trades", "rbsat-t", "rlfat-t")
    assert [run.name for run in runs_of("rlfat-fig2", "small").values()] == [f"{m}-cifar10-small" for m in methods]


def test_the_jobs_of_the_tables_that_earlier_versions_had_are_the_same():
    ball = Linf(EPS)
    expected = {
        "No attack": Accuracy("clean", None, 1_000),
        "PGD": Accuracy("pgd", PGD(ball, 20), 1_000),
        "CW": Accuracy("cw", PGD(ball, 20, loss=Margin()), 1_000),
        "N attack": Accuracy("nattack", NATTACK(ball), 50),
    }
    assert columns_of("rlfat-1b", "small") == columns_of("rlfat-1c", "small") == expected
    methods = ("pgdat", "trades", "rlfat-p", "rlfat-t", "rbsat-p", "pgdat-rolled")
    known = small.recipes()
    assert [*runs_of("rlfat-1b", "small").values()] == [known[f"{method}-cifar10-small"] for method in methods]
    assert columns_of("methods", "small") == {
        "clean": Accuracy("clean", None, 1_000),
        "PGD-20": Accuracy("pgd-20", PGD(ball, 20), 1_000),
        "CW-20": Accuracy("cw-20", PGD(ball, 20, loss=Margin()), 1_000),
        "AutoAttack": Accuracy("autoattack", AutoAttack(ball), 200),
    }
    beside = TABLES["methods"].settings["small"].parts[0].beside
    assert beside.ball == ball
    assert dataclasses.asdict(beside.plan) == {
        "images": 100, "apgd_t_steps": 50, "fab_steps": 25, "target_classes": 3, "square_queries": 1000,
        "nattack_images": 0, "nattack_steps": 200,
    }  # fmt: skip
    assert TABLES["methods"].always == ("diagnosis",)


# the InfoFeature paper

TRANSFERRED = ("Random noise", "PGD10 on Standard", "CW10 on Standard", "PGD10 on Madry", "CW10 on Madry")
WHITE_BOX = ("Clean", "FGSM", "PGD7", "PGD20", "CW20")


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("infofeature-1", papers.INFOFEATURE_1, WHITE_BOX),
        ("infofeature-4", papers.INFOFEATURE_4, WHITE_BOX),
        ("infofeature-5", papers.INFOFEATURE_5, WHITE_BOX),
        ("infofeature-6", papers.INFOFEATURE_6, TRANSFERRED),
    ],
)
def test_infofeatures_tables_have_the_papers_numbers(name, text, columns):
    assert printed(name) == in_columns(text, columns)


def test_infofeatures_table_3_has_the_papers_numbers_of_best_and_worst_networks():
    expected, kind = {}, ""
    for row, of in numbers(papers.INFOFEATURE_3):
        if not of:
            kind = f", {row.split()[0].lower()}"
            continue
        expected |= {(f"{row}{kind}", c): value for c, value in zip(WHITE_BOX, of, strict=True)}
    assert printed("infofeature-3") == expected
    rows = TABLES["infofeature-3"].settings["paper"].rows
    assert {title: row.of for title, (_, row) in rows.items()} == {
        title: {"best": "best", "worst": "worst"}.get(title.split(", ")[-1], "each") for title, _ in expected
    }
    assert TABLES["infofeature-3"].ranked_by == "PGD20"


def test_infofeatures_table_2_has_the_papers_numbers_in_a_unit_that_nothing_is_compared_with():
    heads = ("FeaScatter, 1-iter", "AdvInterp, 1-iter", "CW, 1-iter", "Ours, 1-iter")
    heads += tuple(f"{name}, {count}-iter" for count in (2, 5, 7, 10, 20) for name in ("CW", "Ours"))
    assert printed("infofeature-2") == in_columns(papers.INFOFEATURE_2, heads)
    assert {cell.unit for cell in TABLES["infofeature-2"].cells.values()} == {"x 1e-5, unknown"}


@pytest.mark.parametrize(
    ("name", "data", "n"),
    [
        ("infofeature-1", "cifar10", 10_000),
        ("infofeature-3", "cifar10-wrn", 10_000),
        ("infofeature-4", "cifar100", 10_000),
        ("infofeature-5", "svhn", 26_032),
    ],
)
def test_infofeatures_white_box_attacks_have_its_numbers(name, data, n):
    ball = Linf(EPS)
    assert columns_of(name) == {
        "Clean": Accuracy("clean", None, n),
        "FGSM": Accuracy("fgsm-rs", PGD(ball, 1, EPS, "uniform"), n),
        "PGD7": Accuracy("pgd-7", PGD(ball, 7), n),
        "PGD20": Accuracy("pgd-20", PGD(ball, 20), n),
        "CW20": Accuracy("cw-20", PGD(ball, 20, loss=Margin(50.0)), n),
    }
    assert PGD(ball, 7).alpha == ALPHA
    known, runs = infofeature2021.recipes(), {title.split(",")[0]: run for title, run in runs_of(name).items()}
    assert runs["Standard"] == known[f"standard-{data}-infofeature2021"]
    assert runs["Madry"] == known[f"pgdat-{data}-infofeature2021"]
    assert runs["Ours"] == known[f"infofeature-{data}"]


def test_infofeatures_transfer_shows_wide_networks_what_attacks_on_resnets_found():
    known, ball = infofeature2021.recipes(), Linf(EPS)
    attacks = (PGD(ball, 10), PGD(ball, 10, loss=Margin(50.0)))
    columns = columns_of("infofeature-6")
    assert columns["Random noise"] == Accuracy("noise", PGD(ball, 0), 10_000)
    for title, method in (("Standard", "standard"), ("Madry", "pgdat")):
        study = Transfer(("pgd-10", "cw-10"), attacks, known[f"{method}-cifar10-infofeature2021"], 10_000)
        assert columns[f"PGD10 on {title}"] == RowOf(study, "accuracy under pgd-10")
        assert columns[f"CW10 on {title}"] == RowOf(study, "accuracy under cw-10")
    names = ("standard-cifar10-wrn-infofeature2021", "pgdat-cifar10-wrn-infofeature2021", "infofeature-cifar10-wrn")
    assert [*runs_of("infofeature-6").values()] == [known[name] for name in names]
    # no network is attacked and shown its own images as if they were another's
    for scale in ("smoke", "small"):
        part = TABLES["infofeature-6"].settings[scale].parts[0]
        assert {c.measure.study.source.seed for c in part.columns if isinstance(c.measure, RowOf)} == {100}
        assert {row.run.seed for row in part.rows} == {0}


def test_infofeatures_table_2_compares_attacks_of_equal_steps_from_the_same_start():
    ball = Linf(EPS)
    assert studies_of(TABLES["infofeature-2"].settings["paper"].parts[0]) == {
        Distances(
            ("pgd", "feature-scatter", "adv-interp"),
            (PGD(ball, 1, ALPHA), FeatureScatter(ball, 1, ALPHA), AdversarialInterpolation(ball, 1, ALPHA)),
            (1,), 10_000,
        ),
        Distances(
            ("pgd", "cw", "infofeature"),
            (PGD(ball, 20, ALPHA), PGD(ball, 20, ALPHA, loss=Margin(50.0)), InfoFeature(ball, 20, ALPHA)),
            (1, 2, 5, 7, 10, 20), 10_000,
        ),
    }  # fmt: skip


def test_infofeatures_figures_look_at_every_tenth_epoch_and_at_up_to_twenty_iterations():
    columns = columns_of("infofeature-fig3")
    assert list(columns.values()) == [AtEpoch(what, e) for what in (CLEAN, ROBUST) for e in range(10, 121, 10)]
    assert len(columns_of("infofeature-fig3", "small")) == 2 * 5
    counts = (0, 1, 2, 3, 4, 5, 6, 7, 10, 15, 20)
    assert studies_of(TABLES["infofeature-fig4"].settings["paper"].parts[0]) == {
        OverSteps("PGD", PGD(Linf(EPS), 20), counts, 10_000),
        OverSteps("InfoFeature", InfoFeature(Linf(EPS), 20), counts, 10_000),
    }


# the RAT paper

RAT_1 = ("Clean", "FGSM", "PGD", "CW", "N attack")


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [
        ("rat-1-cifar10", papers.RAT_1_CIFAR10, RAT_1),
        ("rat-1-cifar100", papers.RAT_1_CIFAR100, RAT_1),
        ("rat-1-imagenette", papers.RAT_1_IMAGENETTE, RAT_1),
        ("rat-3", papers.RAT_3, ("Clean", "PGD", "CW")),
    ],
)
def test_rats_tables_have_the_papers_numbers(name, text, columns):
    assert printed(name) == in_columns(text, columns)


def test_rats_table_2_has_the_papers_numbers_of_the_released_images():
    columns = (
        "mCA", "Defocus", "Glass", "Motion", "Zoom", "Snow", "Frost", "Fog", "Bright", "Contrast", "Elastic", "Pixelate", "JPEG"
    )  # fmt: skip
    expected = {}
    for data, text in (("CIFAR-10", papers.RAT_2_CIFAR10), ("CIFAR-100", papers.RAT_2_CIFAR100)):
        expected |= {(f"{row}, {data}", column): value for (row, column), value in in_columns(text, columns).items()}
    assert printed("rat-2") == expected
    # the paper's mean is that of its own twelve columns
    for row in TABLES["rat-2"].settings["paper"].rows:
        mean = sum(TABLES["rat-2"].cells[row, column].value for column in columns[1:]) / 12
        assert TABLES["rat-2"].cells[row, "mCA"].value == pytest.approx(mean, abs=6e-5)
    kinds = (
        "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow", "frost", "fog", "brightness", "contrast",
        "elastic_transform", "pixelate", "jpeg_compression",
    )  # fmt: skip
    for scale, source, n in (("paper", "released", 10_000), ("small", "made", 1_000)):
        for part in TABLES["rat-2"].settings[scale].parts:
            assert studies_of(part) == {Corruptions(kinds, source, n)}
            whats = [column.measure.what for column in part.columns]
            assert whats == ["mCA-12", *(f"accuracy under {kind}, mean over severities" for kind in kinds)]


def test_rats_table_4_has_the_papers_numbers_and_runs_with_its_probabilities():
    expected = {}
    for line in papers.RAT_4.strip().splitlines():
        largest, smallest, *of = line.split()
        row = f"{largest}, {smallest}"
        expected |= {(row, c): value for c, value in zip(("Clean", "PGD", "CW"), of, strict=True)}
    assert printed("rat-4") == expected
    known = rat2021.recipes()
    for title, run in runs_of("rat-4").items():
        assert run == known["rat-cifar10" if title == "1.0, 0.1" else f"rat-{title.replace(', ', '-')}-cifar10"]
    for scale in SCALES:
        for title, run in runs_of("rat-4", scale).items():
            labels = run.objective.labels
            assert (labels.beta_max, labels.beta_min) == tuple(map(float, title.split(", ")))
        assert len({run.name for run in runs_of("rat-4", scale).values()}) == 5


def test_rats_table_3_is_sat_then_with_hard_labels_then_rat():
    for scale, known in (("paper", rat2021.recipes()), ("small", small.recipes())):
        rows, end = runs_of("rat-3", scale), "cifar10" if scale == "paper" else "cifar10-small"
        assert rows["SAT"] == known["pgdat-cifar10-rat2021" if scale == "paper" else "pgdat-cifar10-small"]
        rat, ars = known[f"rat-{end}"], rows["SAT+ARS"]
        assert rows["SAT+ARS+DLS"] == rat
        assert (ars.objective.labels.beta_max, ars.objective.labels.beta_min) == (1.0, 1.0)
        labelled = dataclasses.replace(ars.objective, labels=rat.objective.labels)
        assert dataclasses.replace(ars, name=rat.name, objective=labelled) == rat
        assert ars.name == f"rat-ars-{end}"


@pytest.mark.parametrize(("data", "n"), [("cifar10", 10_000), ("cifar100", 10_000), ("imagenette", 3_925)])
def test_rats_attacks_have_its_numbers(data, n):
    ball = Linf(EPS)
    assert columns_of(f"rat-1-{data}") == {
        "Clean": Accuracy("clean", None, n),
        "FGSM": Accuracy("fgsm", PGD(ball, 1, EPS, "image"), n),
        "PGD": Accuracy("pgd-10", PGD(ball, 10, ALPHA, "uniform"), n),
        "CW": Accuracy("cw-10", PGD(ball, 10, ALPHA, "uniform", loss=Margin(50.0)), n),
        "N attack": Accuracy("nattack", NATTACK(ball, steps=200, population=300, sigma=0.1, learning_rate=0.008), 1_000),
    }  # fmt: skip
    known = rat2021.recipes()
    assert runs_of(f"rat-1-{data}") == {
        "ST": known[f"standard-{data}-rat2021"], "SAT": known[f"pgdat-{data}-rat2021"],
        "TRADES": known[f"trades-{data}-rat2021"], "AVM": known[f"avmixup-{data}"], "ADT": known[f"adt-{data}"],
        "RAT": known[f"rat-{data}"],
    }  # fmt: skip


def test_rats_statement_on_cost_stands_beside_the_minutes_of_a_thousand_steps():
    title = "minutes for 1,000 steps"
    assert printed("rat-cost") == {("SAT", title): "41.88", ("RAT", title): "47.95"}
    assert {cell.unit for cell in TABLES["rat-cost"].cells.values()} == {"minutes on a V100"}  # of no other machine's
    assert columns_of("rat-cost")[title] == StepCost(MINUTES, 5)
    assert any("negligible" in note for note in TABLES["rlfat-cost"].notes)


COUNTS, RADII = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 80, 100), tuple(k / 255 for k in range(0, 17, 2))


@pytest.mark.parametrize(
    ("first", "second", "study"),
    [
        (3, 6, lambda n: Gaps("pgd-10", PGD(Linf(EPS), 10, ALPHA), n)),
        (4, 7, lambda n: OverSteps("PGD", PGD(Linf(EPS), 100, ALPHA), COUNTS, n)),
        (5, 8, lambda n: OverEps("PGD", PGD(Linf(EPS), 10, ALPHA), RADII, n)),
    ],
)
def test_rats_figures_are_of_cifar10_and_again_of_the_others(first, second, study):
    for number, sets in ((first, {"": 10_000}), (second, {"CIFAR-100": 10_000, "ImageNette": 3_925})):
        parts = TABLES[f"rat-fig{number}"].settings["paper"].parts
        assert [part.title for part in parts] == list(sets)
        for part in parts:
            assert studies_of(part) == {study(sets[part.title])}
            assert [row.title for row in part.rows] == ["ST", "SAT", "TRADES", "AVM", "ADT", "RAT"]


def test_rats_figure_2_goes_from_the_image_to_twice_its_perturbation_as_training_does():
    part = TABLES["rat-fig2"].settings["paper"].parts[0]
    tenths = tuple(tenth / 10 for tenth in range(21))
    assert studies_of(part) == {Direction(PGD(Linf(EPS), 10, ALPHA), tenths, 10_000)}
    for panel in ("loss", "accuracy"):
        assert [column.x for column in part.columns if column.panel == panel] == list(tenths)
