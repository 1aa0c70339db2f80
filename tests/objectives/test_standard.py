"""Standard training against its equation."""

import copy

import torch

from hardy.objectives import Standard
from objectives.by_hand import (
    assert_near,
    forwards_counted,
    gradients,
    images,
    labels,
    mean_cross_entropy,
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
