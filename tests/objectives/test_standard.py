"""Standard training against its equation."""

import copy

import pytest
import torch

from hardy.errors import UsageError
from hardy.objectives import Standard
from objectives.by_hand import (
    assert_near,
    forwards_counted,
    gradients,
    images,
    labels,
    mean_cross_entropy,
    mean_smoothed,
    network,
    noise,
)


def test_the_loss_is_the_mean_cross_entropy_of_the_clean_images():
    model, x, y = network(), images(), labels()
    terms = Standard()(copy.deepcopy(model), x, y, noise())
    assert list(terms) == ["natural"]
    torch.testing.assert_close(terms["natural"], mean_cross_entropy(model(x), y))


def test_the_gradient_is_that_of_the_cross_entropy():
    model, x, y = network(), images(), labels()
    assert_near(
        gradients(Standard()(model, x, y, noise())["natural"], model), gradients(mean_cross_entropy(model(x), y), model)
    )


def test_one_forward_pass_moves_the_running_statistics():
    assert forwards_counted(Standard()) == {1}


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_with_smoothing_the_label_is_spread_over_the_other_classes(share):
    model, x, y = network().double(), images().double(), labels()
    other = copy.deepcopy(model)
    terms, expected = Standard(smoothing=share)(model, x, y, noise()), mean_smoothed(other(x), y, share)
    torch.testing.assert_close(terms["natural"], expected)
    assert_near(gradients(terms["natural"], model), gradients(expected, other))


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_of_smoothing_that_is_none_is_refused(share):
    with pytest.raises(UsageError, match=f"smoothing is {share}; it must be"):
        Standard(smoothing=share)
