import pytest
import torch

from hardy.attacks import APGD, PGD
from hardy.evaluation.rows import Costs, Meter, Row, determining
from hardy.evaluation.stream import under_attack
from hardy.results import wilson
from toys import images, linear, split


def test_a_share_has_wilsons_interval_and_all_that_the_row_was_told():
    row = Row("accuracy", "toy", {"steps": 3}, Costs(1.5, 20, 10)).share(torch.tensor([True, True, False, True]))
    assert (row.value, row.n, (row.low, row.high)) == (0.75, 4, wilson(3, 4))
    assert (row.what, row.run, row.settings, row.unit) == ("accuracy", "toy", {"steps": 3}, "fraction")
    assert (row.seconds, row.forwards, row.backwards) == (1.5, 20, 10)


def test_a_mean_has_a_normal_interval_and_a_single_image_none():
    row = Row("loss", "", {}, Costs()).mean(torch.tensor([1.0, 2.0, 6.0]), "cross-entropy")
    assert row.value == pytest.approx(3)
    assert row.high - row.value == pytest.approx(1.959964 * 7**0.5 / 3**0.5)  # the variance is 14 / 2
    assert row.value - row.low == pytest.approx(row.high - row.value)
    alone = Row("loss", "", {}, Costs()).mean(torch.tensor([2.0]), "cross-entropy")
    assert (alone.value, alone.low, alone.high, alone.n) == (2.0, None, None, 1)


def test_a_meter_counts_passes_since_the_last_lap():
    meter = Meter(linear())
    meter.network(images(3))
    first = meter.lap()
    meter.network(images(2).requires_grad_())
    second = meter.lap()
    assert ((first.forwards, first.backwards), (second.forwards, second.backwards)) == ((3, 0), (2, 2))
    both = first.plus(second)
    assert (both.forwards, both.backwards) == (5, 2)
    assert both.seconds == first.seconds + second.seconds > 0


def test_what_determines_a_value_is_the_network_the_images_and_the_attack_as_it_was_judged():
    data = split(2)
    assert determining({"weights": "w"}, data, None, "last", 3) == {"weights": "w", "data": "made up"}
    about = determining(None, data, PGD(), "last", 3)
    assert about == {
        "data": "made up", "attack": PGD().described, "summary": PGD().summary, "judge": "last", "seed": 3,
    }  # fmt: skip
    assert determining(None, data, APGD(), "last", 3)["judge"] == "any"  # it makes its own tests


def test_the_costs_of_an_outcome_are_its_own():
    outcome = under_attack(linear(), split(2, linear(), 2), PGD(steps=3))
    costs = Costs.of(outcome)
    assert (costs.seconds, costs.forwards, costs.backwards) == (outcome.seconds, outcome.forwards, outcome.backwards)
    assert costs.backwards == 6
