from dataclasses import replace

import pytest
import torch

from hardy.attacks import PGD
from hardy.errors import UsageError
from hardy.evaluation.average import average_accuracy
from hardy.evaluation.rows import Costs, Row
from hardy.results import wilson


def row(correct, **settings):
    told = {"weights": "w", "attack": PGD().described, "summary": "PGD", "judge": "last", "seed": 0} | settings
    return Row("accuracy under it", "toy", told, Costs(1.0, 10, 5)).share(correct)


def of(right, n=10):
    return row(torch.arange(n) < right)


def test_the_average_is_the_unweighted_mean_and_its_interval_that_of_the_ends():
    one, two, three = of(8), of(5), of(2)
    made = average_accuracy([one, two, three], ["fgsm", "pgd", "cw"])
    assert made.value == pytest.approx(0.5)
    ends = [wilson(right, 10) for right in (8, 5, 2)]
    assert made.low == pytest.approx(sum(low for low, _ in ends) / 3)
    assert made.high == pytest.approx(sum(high for _, high in ends) / 3)
    assert (made.what, made.n, made.unit) == ("average accuracy under fgsm, pgd, cw", 10, "fraction")
    assert (made.seconds, made.forwards, made.backwards) == (3.0, 30, 15)
    assert made.settings == {
        "weights": "w", "seed": 0, "attacks": dict.fromkeys(("fgsm", "pgd", "cw"), PGD().described)
    }  # fmt: skip


def test_attacks_that_break_the_same_images_have_wilsons_interval():
    made = average_accuracy([of(3), of(3)], ["pgd", "cw"])
    assert (made.value, made.low, made.high) == pytest.approx((0.3, *wilson(3, 10)))


def test_attacks_on_different_numbers_of_images_count_alike_and_the_least_number_is_said():
    made = average_accuracy([of(8), of(1, 4)], ["pgd", "nattack"])
    assert (made.value, made.n) == (pytest.approx((0.8 + 0.25) / 2), 4)
    assert made.low == pytest.approx((wilson(8, 10)[0] + wilson(1, 4)[0]) / 2)


def test_a_network_that_nothing_is_left_of_has_an_interval_all_the_same():
    made = average_accuracy([of(0), of(0)], ["pgd", "cw"])
    assert (made.value, made.low) == (0.0, 0.0)
    assert made.high == pytest.approx(wilson(0, 10)[1])


@pytest.mark.parametrize("seed", range(20))
def test_the_interval_is_never_narrower_than_that_of_the_images_own_means(seed):
    drawn = torch.Generator().manual_seed(seed)
    correct = torch.rand(3, 400, generator=drawn) < torch.rand(3, 1, generator=drawn) * 0.6 + 0.2
    made = average_accuracy([row(of) for of in correct], ["a", "b", "c"])
    own = Row("", "", {}, Costs()).mean(correct.double().mean(0), "")
    assert made.value == pytest.approx(own.value)
    assert made.high - made.low >= 0.99 * (own.high - own.low)  # Wilson's is that of 404 images, about


@pytest.mark.parametrize(
    ("rows", "names", "said"),
    [
        ([], [], "names"),
        ([of(1)], ["a", "b"], "one for each row, of which there are 1"),
        ([of(1), replace(of(1), low=None)], ["a", "b"], "accuracies with intervals"),
    ],
)
def test_rows_that_have_no_average_are_refused(rows, names, said):
    with pytest.raises(UsageError, match=said):
        average_accuracy(rows, names)
