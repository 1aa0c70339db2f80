import dataclasses

import pytest
import torch

from hardy.attacks import PGD, Linf
from hardy.errors import UsageError
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.gaps import generalisation_gaps, like
from hardy.results import newcombe, wilson
from toys import images, linear, smooth, split, split_of, worst_linf

PGD_2 = {"clean": None, "pgd-2": PGD(Linf(0.05), steps=2)}


def wrong(data, first):
    """The split with the first labels wrong."""
    labels = data.labels.clone()
    labels[:first] = (labels[:first] + 1) % len(data.classes)
    return dataclasses.replace(data, labels=labels)


def of_labels(*labels, classes=2):
    return split_of(images(len(labels)), torch.tensor(labels), classes)


def test_a_gap_is_training_minus_test_accuracy_with_newcombes_interval():
    model = linear()
    data = split(24, model, classes=2)
    train, test = wrong(data.take(slice(0, 10)), 1), wrong(data.take(slice(10, 24)), 7)
    rows = generalisation_gaps(model, train, test, {"clean": None}, run="toy", settings={"weights": "w"})
    part = like(train, test)
    right = int((model(part.x()).argmax(1) == part.labels).sum())
    seen, unseen, gap = rows
    assert (seen.what, seen.value, seen.n) == ("clean accuracy on training images", right / len(part), len(part))
    assert (unseen.what, unseen.value, unseen.n) == ("clean accuracy", 0.5, 14)
    assert (gap.what, gap.unit, gap.n) == ("generalisation gap of clean accuracy", "fraction", len(part) + 14)
    assert gap.value == pytest.approx(right / len(part) - 0.5)
    assert (gap.low, gap.high) == newcombe(right, len(part), 7, 14)
    assert (seen.low, seen.high) == wilson(right, len(part))
    assert (gap.settings["training"], gap.settings["test"]) == ([right, len(part)], [7, 14])
    assert {(row.run, row.settings["weights"]) for row in rows} == {("toy", "w")}
    assert seen.settings["data"] == gap.settings["training data"] == part.origin != gap.settings["data"] == test.origin
    assert (gap.forwards, gap.backwards) == (seen.forwards + unseen.forwards, 0)


def test_the_gap_under_an_attack_is_that_of_the_closed_form_on_a_linear_network():
    model, eps = linear(), 0.03
    train, test = split(60, model, classes=2, seed=1), split(60, model, classes=2, seed=2)
    rows = generalisation_gaps(model, train, test, {"pgd": PGD(Linf(eps), steps=30, start_at="image")})

    def robust(part):
        worst = worst_linf(model, part.x(), part.labels, eps)
        return (model(worst).argmax(1) == part.labels).double().mean().item()

    shares = robust(like(train, test)), robust(test)
    assert [row.value for row in rows] == pytest.approx([*shares, shares[0] - shares[1]])
    assert shares[0] != shares[1]


def test_a_gap_may_be_negative_and_each_attack_has_its_three_rows():
    model = smooth()
    train, test = wrong(split(20, model), 12), split(20, model)
    rows = generalisation_gaps(model, train, test, PGD_2)
    assert [row.what.split(" of ")[0] for row in rows] == [
        "clean accuracy on training images", "clean accuracy", "generalisation gap",
        "accuracy under pgd-2 on training images", "accuracy under pgd-2", "generalisation gap",
    ]  # fmt: skip
    assert rows[2].value < 0
    assert -1 <= rows[2].low < rows[2].value < rows[2].high <= 1


def test_rows_of_test_images_are_those_of_evaluate_and_no_number_depends_on_the_batch():
    model = smooth()
    train, test = split(20, model, seed=1), wrong(split(20, model, seed=2), 3)
    rows = generalisation_gaps(model, train, test, PGD_2, seed=3)
    assert [row.value for row in rows[1::3]] == [row.value for row in evaluate(model, test, PGD_2, seed=3)]
    again = generalisation_gaps(model, train, test, PGD_2, seed=3, batch=3)
    assert [row.value for row in again] == [row.value for row in rows]


def test_training_images_are_of_each_class_as_many_as_the_test_images_and_the_first_ones():
    train = of_labels(0, 0, 0, 1, 1, 0, 1, 1)
    part = like(train, of_labels(1, 0, 1, 1))
    assert part.indices.tolist() == [0, 3, 4, 6]
    assert part.labels.tolist() == [0, 1, 1, 1]
    assert "of each class as many as of the test images" in part.origin
    assert like(train, of_labels(0, 0, 0, 0, 0, 1)).indices.tolist() == [0, 1, 2, 3, 5]  # there are four of class 0


def test_progress_is_told_in_images_of_the_attack_at_hand():
    told = []
    data = split(10, smooth())
    generalisation_gaps(smooth(), data, data, PGD_2, tell=lambda done, total: told.append((done, total)))
    assert told[-1] == (10, 10)


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (of_labels(0, 1), of_labels(0, 1, classes=3), "of other classes than the test images"),
        (of_labels(0, 0), of_labels(1, 1), "no training image of the test images' classes"),
    ],
)
def test_images_that_do_not_compare_are_refused_with_a_sentence(train, test, said):
    with pytest.raises(UsageError, match=said):
        generalisation_gaps(linear(), train, test, {"clean": None})
