import pytest
import torch

from hardy.attacks import APGD, PGD, FeatureScatter, InfoFeature, Linf
from hardy.attacks import Restarts as Repeated
from hardy.errors import UsageError
from hardy.evaluation.stream import classify, under_attack
from hardy.evaluation.sweep import over_eps, over_restarts, over_steps
from hardy.results import wilson
from toys import classifier, linear, smooth, split, split_of, worst_linf

COUNTS = (0, 1, 2, 3, 6)
N = 40


@pytest.fixture(scope="module")
def data():
    """Images of which the network classifies most correctly, not all."""
    made = split(N, smooth())
    made.labels[:4] = (made.labels[:4] + 1) % 3
    return made


def pgd(eps, steps=6):
    return PGD(Linf(eps), steps=steps, step_size=0.02)


def values(rows):
    return [row.value for row in rows]


def test_steps_of_one_path_have_the_accuracies_of_separate_attacks_exactly(data):
    rows = over_steps(smooth(), data, pgd(0.1), COUNTS, seed=5)
    separate = [classify(smooth(), data).correct]
    separate += [under_attack(smooth(), data, pgd(0.1, count), seed=5).correct for count in COUNTS[1:]]
    assert values(rows) == [correct.sum().item() / N for correct in separate]
    assert len(set(values(rows))) > 2  # else nothing was compared


def test_steps_of_infofeature_are_those_of_separate_attacks_too():
    model = classifier()
    data = split(20, model)
    rows = over_steps(model, data, InfoFeature(Linf(0.1), steps=6), COUNTS)
    alone = [under_attack(model, data, InfoFeature(Linf(0.1), steps=count)).correct for count in COUNTS[1:]]
    assert values(rows)[1:] == [correct.sum().item() / 20 for correct in alone]


def test_no_number_depends_on_the_batch_or_the_order_of_the_images(data):
    attack, backwards = pgd(0.1), data.take(torch.arange(N).flip(0))
    for measure in (
        lambda split, batch: over_steps(smooth(), split, attack, COUNTS, batch=batch),
        lambda split, batch: over_eps(smooth(), split, pgd, (0.0, 0.05, 0.1), batch=batch),
        lambda split, batch: over_restarts(smooth(), split, attack, (1, 3), batch=batch),
    ):
        expected = values(measure(data, N))
        assert values(measure(data, 7)) == values(measure(backwards, 11)) == expected


def test_a_row_of_steps_tells_the_count_the_attack_its_interval_and_what_it_cost_up_to_there(data):
    rows = over_steps(smooth(), data, pgd(0.1), (6, 0, 2), name="pgd", run="toy", settings={"weights": "w"}, seed=4)
    assert [row.what for row in rows] == [
        "clean accuracy",
        "accuracy after 2 steps of pgd",
        "accuracy after 6 steps of pgd",
    ]
    assert [row.settings["steps"] for row in rows] == [0, 2, 6]
    assert [(row.low, row.high) for row in rows] == [wilson(round(N * row.value), N) for row in rows]
    assert {(row.run, row.n, row.unit, row.settings["weights"]) for row in rows} == {("toy", N, "fraction", "w")}
    assert rows[1].settings["summary"] == pgd(0.1).summary
    assert (rows[1].settings["judge"], rows[1].settings["seed"], rows[1].settings["data"]) == ("last", 4, "made up")
    assert "attack" not in rows[0].settings
    walked = round(N * rows[0].value)
    # the clean verdicts of all; a gradient a step and a verdict a count of those that are correct
    assert [row.forwards for row in rows] == [N, N + 3 * walked, N + 8 * walked]
    assert [row.backwards for row in rows] == [0, 2 * walked, 6 * walked]


def test_clean_accuracy_alone_costs_no_attack(data):
    (row,) = over_steps(smooth(), data, pgd(0.1), (0,))
    assert (row.forwards, row.backwards, row.value) == (N, 0, 0.9)


def test_where_no_image_is_classified_correctly_no_accuracy_is_above_0():
    right = split(8, smooth())
    wrong = split_of(right.x(), (right.labels + 1) % 3, 3)
    assert values(over_steps(smooth(), wrong, pgd(0.1), COUNTS)) == [0.0] * 5
    assert values(over_restarts(smooth(), wrong, pgd(0.1), (1, 2))) == [0.0] * 2


def test_on_a_linear_network_accuracy_over_eps_is_that_of_the_closed_form():
    model = linear()
    data = split(60, model, classes=2)
    radii = (0.0, 0.01, 0.03, 0.1)
    rows = over_eps(model, data, lambda eps: PGD(Linf(eps), steps=30, start_at="image"), radii, name="pgd-30")
    expected = [
        (model(worst_linf(model, data.x(), data.labels, eps)).argmax(1) == data.labels).float().mean().item()
        for eps in radii
    ]
    assert values(rows) == pytest.approx(expected)
    assert expected[0] == 1
    assert expected[-1] < 0.5
    assert [row.what for row in rows][:2] == ["clean accuracy", "accuracy under pgd-30 at eps 0.01"]
    assert [row.settings["eps"] for row in rows] == list(radii)


def test_the_worst_of_restarts_is_that_of_as_many_restarts_and_falls(data):
    attack = pgd(0.04, 1)
    rows = over_restarts(smooth(), data, attack, (1, 2, 3, 12), name="pgd")
    assert rows[0].value == under_attack(smooth(), data, attack).correct.sum().item() / N
    for count, row in zip((2, 3, 12), rows[1:], strict=True):
        assert row.value == under_attack(smooth(), data, Repeated(attack, count)).correct.sum().item() / N
    assert values(rows) == sorted(values(rows), reverse=True)
    assert rows[0].value > rows[-1].value
    assert [row.settings["restarts"] for row in rows] == [1, 2, 3, 12]
    assert rows[1].what == "accuracy under pgd, the worst of 2"


def test_progress_ends_with_all_that_there_is(data):
    told = []
    over_steps(smooth(), data, pgd(0.1), COUNTS, batch=10, tell=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (36 * 6, 36 * 6)
    told.clear()
    over_restarts(smooth(), data, pgd(0.1), (2,), tell=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > 0


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda m, s: over_eps(m, s, pgd, ()), r"eps is \(\); it must be at least one radius"),
        (lambda m, s: over_eps(m, s, pgd, (-0.1,)), "eps is -0.1; it must be at least 0"),
        (lambda m, s: over_eps(m, s, pgd, (8,)), "8/255, not 8"),
        (lambda m, s: over_eps(m, s, pgd, (0.1, 0.1)), "radii that differ"),
        (lambda m, s: over_steps(m, s, pgd(0.1), (7,)), "steps is 7; it must be at most 6"),
        (lambda m, s: over_steps(m, s, pgd(0.1), (-1,)), "steps is -1; it must be at least 0"),
        (lambda m, s: over_steps(m, s, pgd(0.1), (1,), batch=0), "batch is 0"),
        (lambda m, s: over_steps(m, s, Repeated(pgd(0.1), 2), (1,)), "one run of iterations"),
        (lambda m, s: over_restarts(m, s, pgd(0.1), (0,)), "restarts is 0; it must be at least 1"),
        (lambda m, s: over_restarts(m, s, FeatureScatter(), (2,)), "one that goes by iterations"),
        (lambda m, s: over_steps(m, s.take(slice(0)), pgd(0.1), (1,)), "n is 0; it must be at least 1 image"),
    ],
)
def test_what_cannot_be_swept_is_refused_with_a_sentence(data, asked, said):
    with pytest.raises(UsageError, match=said):
        asked(smooth(), data)


def test_an_attack_that_tests_success_itself_is_judged_so(data):
    (row,) = over_steps(smooth(), data, APGD(Linf(0.1), steps=6), (6,))
    assert row.settings["judge"] == "any"
    assert row.value == under_attack(smooth(), data, APGD(Linf(0.1), steps=6)).correct.sum().item() / N
