"""FGSM-RS against algorithm 3 of its paper."""

import copy

import pytest
import torch
from torch import Tensor

from hardy.attacks import PGD, Linf
from hardy.errors import UsageError
from hardy.models import crafting
from hardy.objectives import FGSMRS, PGDAT
from objectives.by_hand import (
    assert_near,
    batch_norms,
    forwards_counted,
    gradients,
    images,
    labels,
    mean_cross_entropy,
    network,
    noise,
    statistics,
)

EPS, ALPHA = 8 / 255, 10 / 255


def one_step(model, x: Tensor, y: Tensor) -> Tensor:
    """A uniform point of the ball, alpha along the sign of the gradient, back into the ball and [0, 1]; the model in its mode."""
    start = (x + noise().uniform(x.shape[1:], -EPS, EPS).double()).clamp(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(mean_cross_entropy(model(start), y), start)
    delta = (start.detach() + ALPHA * gradient.sign() - x).clamp(-EPS, EPS)
    return (x + delta).clamp(0, 1)


@pytest.mark.parametrize("mode", ["eval", "train", "batch"])
def test_loss_and_gradient_are_those_of_the_image_one_step_from_a_random_start(mode):
    model, x, y = network().double(), images().double(), labels()
    other = copy.deepcopy(model)
    with crafting(other, mode):
        x_adv = one_step(other, x, y)
    assert float((x_adv - x).abs().max()) == pytest.approx(EPS)
    terms = FGSMRS(batch_norm=mode)(model, x, y, noise())
    assert list(terms) == ["adversarial"]
    expected = mean_cross_entropy(other(x_adv), y)
    torch.testing.assert_close(terms["adversarial"], expected, rtol=1e-5, atol=0)
    assert_near(gradients(terms["adversarial"], model), gradients(expected, other))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(statistics(model), statistics(other), strict=True))


def test_the_step_is_longer_than_the_radius_and_the_start_random():
    model, x, y = network(), images(), labels()
    one, other = (FGSMRS().craft(model, x, y, noise(seed=seed)) for seed in (0, 1))
    assert not torch.equal(one, other)
    # a step of 10/255 from a uniform point of 8/255 ends at the edge in (8 + 2) / 16 of the pixels that have room for it
    free = ((x > EPS) & (x < 1 - EPS)) & (one != 0)
    edge = ((one - x).abs() > EPS - 1e-5)[free].float().mean()
    assert 0.5 < edge < 0.75


def test_it_takes_two_passes_forward_and_one_of_them_counts():
    model, seen = network(), []
    batch_norms(model)[0].register_forward_hook(lambda *_: seen.append(1))
    FGSMRS()(model, images(), labels(), noise())
    assert len(seen) == 2
    assert forwards_counted(FGSMRS()) == forwards_counted(FGSMRS(batch_norm="batch")) == {1}
    assert forwards_counted(FGSMRS(batch_norm="train")) == {2}


def test_the_defaults_are_the_papers():
    assert FGSMRS().attack == PGD(Linf(8 / 255), steps=1, step_size=10 / 255, start_at="uniform")
    assert isinstance(FGSMRS(), PGDAT)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"smoothing": 1.0}, r"smoothing is 1\.0; it must be in \[0, 1\)"),
        ({"smoothing": float("nan")}, "smoothing is nan"),
        ({"batch_norm": "none"}, "batch_norm is 'none'"),
        ({"attack": None}, "attack is None; it must be an Attack"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        FGSMRS(**change)
