"""Losses of logits: by hand, against torch and scipy, their gradients, their ends."""

import math

import pytest
import torch
from scipy import special, stats

from hardy.errors import UsageError
from hardy.losses.logits import (
    cross_entropy,
    dlr,
    kl,
    log_not,
    margin,
    runner_up,
    soft_cross_entropy,
    squared_distance,
)
from hardy.randomness import Noise
from toys import labels

Z = torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, 4.0]])
Y = torch.tensor([0, 2])


def logits(n: int = 6, classes: int = 4, seed: int = 0) -> torch.Tensor:
    return Noise.of_batch(n, seed, purpose="logits").normal((classes,)).double()


def probabilities(n: int = 6, classes: int = 4, seed: int = 1) -> torch.Tensor:
    return logits(n, classes, seed).softmax(1)


def smoothing(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return cross_entropy(z, y, 0.3)


# values


def test_cross_entropy_by_hand():
    expected = [math.log(math.e + math.e**3 + math.e**2) - 1, math.log(1 + 1 / math.e + math.e**4) - 4]
    assert cross_entropy(Z.double(), Y).tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cross_entropy_with_smoothing_by_hand(share):
    z, y = logits(), labels(6, 4)
    expected = []
    for row, label in zip(z.tolist(), y.tolist(), strict=True):
        log_p = [value - math.log(sum(map(math.exp, row))) for value in row]
        expected.append(-sum((1 - share if c == label else share / 3) * log_p[c] for c in range(4)))
    assert cross_entropy(z, y, share).tolist() == pytest.approx(expected, rel=1e-6)
    # torch's own smoothing spreads over all classes, the label among them: by 4/3 as much for the same label
    of_torch = (
        torch.nn.functional.cross_entropy(z, y, reduction="none", label_smoothing=share * 4 / 3)
        if share < 0.75
        else None
    )
    assert of_torch is None or torch.allclose(cross_entropy(z, y, share), of_torch, atol=1e-6)


def test_without_smoothing_cross_entropy_is_torchs_to_the_bit():
    z, y = logits().float(), labels(6, 4)
    assert torch.equal(cross_entropy(z, y), torch.nn.functional.cross_entropy(z, y, reduction="none"))


def test_smoothing_by_a_half_of_ten_classes_leaves_a_half_on_the_label():
    z = torch.zeros(1, 10).requires_grad_()
    (slope,) = torch.autograd.grad(cross_entropy(z, torch.tensor([3]), 0.5).sum(), z)
    target = 0.1 - slope[0]  # softmax minus the target
    assert target.tolist() == pytest.approx([0.5 if c == 3 else 0.5 / 9 for c in range(10)], abs=1e-6)


def test_the_logarithm_of_what_a_class_is_not_by_hand():
    p = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.625, 0.25]]).double()
    given = log_not(p.log() - 3, torch.tensor([0, 2]))
    assert given.tolist() == pytest.approx([math.log(0.5), math.log(0.75)], rel=1e-12)
    z, c = logits(), labels(6, 4)
    expected = (1 - z.softmax(1).gather(1, c[:, None]).squeeze(1)).log()
    assert torch.allclose(log_not(z, c), expected, atol=1e-12)


@pytest.mark.parametrize("size", [20.0, 400.0, 1e4, 1e30])
def test_the_logarithm_of_what_a_class_is_not_is_exact_where_that_class_is_all_there_is(size):
    z = torch.tensor([[size, 0.0, -size], [-size, size, size]], requires_grad=True)
    value = log_not(z, torch.tensor([0, 0]))  # 1 - p would be 0 here
    assert value.tolist() == pytest.approx([-size, 0.0], rel=1e-6, abs=1e-6)
    (slope,) = torch.autograd.grad(value.sum(), z)
    assert slope.tolist()[0] == pytest.approx([-1.0, 1.0, 0.0], abs=1e-6)
    assert slope.tolist()[1] == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)


def test_soft_cross_entropy_of_a_one_hot_target_is_cross_entropy():
    z, y = logits(), labels(6, 4)
    one_hot = torch.nn.functional.one_hot(y, 4).double()
    assert torch.allclose(soft_cross_entropy(z, one_hot), cross_entropy(z, y), atol=1e-14)


def test_soft_cross_entropy_equals_torchs():
    z, t = logits(), probabilities()
    expected = torch.nn.functional.cross_entropy(z, t, reduction="none")
    assert torch.allclose(soft_cross_entropy(z, t), expected, atol=1e-14)


def test_kl_equals_torchs_and_scipys():
    z, t = logits(), probabilities()
    of_torch = torch.nn.functional.kl_div(z.log_softmax(1), t, reduction="none").sum(1)
    of_scipy = [stats.entropy(t[i].numpy(), special.softmax(z[i].numpy())) for i in range(6)]
    assert torch.allclose(kl(z, t), of_torch, atol=1e-14)
    assert kl(z, t).tolist() == pytest.approx(of_scipy, abs=1e-14)


def test_kl_goes_from_the_target_to_the_logits():
    z, t = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    assert float(kl(z, t)) == pytest.approx(math.log(2))  # the other direction would be infinite
    assert float(kl(torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.5, 0.5]]))) == pytest.approx(
        0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    )


def test_kl_of_a_prediction_from_itself_is_zero_and_never_negative():
    z = logits(200)
    assert kl(z, z.softmax(1)).abs().max() < 1e-14
    assert kl(z, probabilities(200)).min() > 0


def test_margin_and_runner_up_by_hand():
    assert margin(Z, Y).tolist() == [-2.0, 4.0]
    assert runner_up(Z, Y).tolist() == [3.0, 0.0]
    assert margin(Z, torch.tensor([1, 1])).tolist() == [1.0, -5.0]


def test_margin_is_negative_exactly_where_the_image_is_misclassified():
    z, y = logits(300), labels(300, 4)
    assert torch.equal(margin(z, y) < 0, z.argmax(1) != y)


def test_dlr_by_hand():
    z = torch.tensor([[5.0, 3.0, 2.0, -7.0], [0.0, 4.0, 1.0, 3.0]])
    y = torch.tensor([0, 2])
    # -(5 - 3) / (5 - 2); -(1 - 4) / (4 - 1)
    assert dlr(z, y).tolist() == pytest.approx([-2 / 3, 1.0])


def test_dlr_does_not_change_with_shift_and_scale():
    z, y = logits(), labels(6, 4)
    assert torch.allclose(dlr(1000 * z + 17, y), dlr(z, y), atol=1e-9)
    assert float(dlr(torch.zeros(1, 3), torch.tensor([1]))) == 0.0


@pytest.mark.parametrize("classes", [1, 2])
def test_dlr_of_fewer_than_three_classes_is_refused(classes):
    with pytest.raises(UsageError, match=f"at least 3 classes; the network gives {classes}"):
        dlr(torch.zeros(2, classes), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_logits_that_differ_by_one_in_every_class_are_as_far_apart_as_there_are_classes(classes):
    a = torch.zeros(3, classes)
    assert squared_distance(a, a + 1).tolist() == [float(classes)] * 3
    assert squared_distance(a, a - 2).mean() == 4 * classes


def test_every_loss_gives_one_value_an_image_and_depends_on_that_image_alone():
    z, y, t = logits(5), labels(5, 4), probabilities(5)
    of_labels = [(loss, y) for loss in (cross_entropy, smoothing, margin, dlr, runner_up, log_not)]
    for loss, target in [*of_labels, (kl, t), (soft_cross_entropy, t), (squared_distance, t)]:
        whole = loss(z, target)
        assert whole.shape == (5,)
        assert torch.equal(torch.cat([loss(z[i : i + 1], target[i : i + 1]) for i in range(5)]), whole)
        assert loss(z[:0], target[:0]).shape == (0,)


# gradients


@pytest.mark.parametrize("loss", [cross_entropy, smoothing, margin, dlr, runner_up, log_not], ids=lambda f: f.__name__)
def test_gradients_for_logits_and_labels_are_right(loss):
    z = logits().requires_grad_()
    assert torch.autograd.gradcheck(lambda a: loss(a, labels(6, 4)), (z,))


@pytest.mark.parametrize("loss", [kl, soft_cross_entropy, squared_distance], ids=lambda f: f.__name__)
def test_gradients_reach_both_logits_and_target(loss):
    z, t = logits().requires_grad_(), probabilities().requires_grad_()
    assert torch.autograd.gradcheck(loss, (z, t))
    gradients = torch.autograd.grad(loss(z, t).sum(), (z, t))
    assert all(bool(g.any()) for g in gradients)


@pytest.mark.parametrize("loss", [kl, soft_cross_entropy], ids=lambda f: f.__name__)
def test_value_and_gradients_are_finite_where_probabilities_underflow_to_zero(loss):
    sure = torch.tensor([[300.0, 0.0, -300.0]], requires_grad=True)
    other = torch.tensor([[-300.0, 0.0, 300.0]], requires_grad=True)
    target = other.softmax(1)
    assert (target == 0).sum() == 2
    value = loss(sure, target)
    gradients = torch.autograd.grad(value.sum(), (sure, other))
    assert value.tolist() == pytest.approx([600])
    assert all(bool(g.isfinite().all()) for g in gradients)
    assert gradients[0].tolist() == [[1.0, 0.0, -1.0]]


def test_cross_entropy_of_an_underflowed_class_keeps_its_value_and_gradient():
    z = torch.tensor([[500.0, 0.0]], requires_grad=True)
    value = cross_entropy(z, torch.tensor([1]))
    value.sum().backward()
    assert value.tolist() == [500.0]
    assert z.grad.tolist() == [[1.0, -1.0]]


def test_the_runner_up_gets_its_gradient_where_all_other_logits_are_negative():
    # a 0/1 mask would let the true class win here with a logit of 0
    z = torch.tensor([[2.0, -3.0, -5.0]], requires_grad=True)
    margin(z, torch.tensor([0])).sum().backward()
    assert z.grad.tolist() == [[1.0, -1.0, 0.0]]


@pytest.mark.parametrize("loss", [cross_entropy, smoothing, margin, dlr, runner_up, log_not], ids=lambda f: f.__name__)
@pytest.mark.parametrize("size", [1e-30, 1.0, 500.0, 1e10, 1e30])
def test_values_and_gradients_are_finite_at_extreme_logits(loss, size):
    z = torch.tensor([[1.0, 0.0, -1.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]]).mul(size).requires_grad_()
    for c in range(3):
        value = loss(z, torch.full((4,), c))
        (slope,) = torch.autograd.grad(value.sum(), z)
        assert value.isfinite().all()
        assert slope.isfinite().all()


@pytest.mark.parametrize("size", [500.0, 1e10, 1e30])
def test_values_and_gradients_of_two_predictions_are_finite_at_extreme_logits(size):
    z = torch.tensor([[1.0, 0.0, -1.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).mul(size).requires_grad_()
    other = z.detach().flip(1).requires_grad_()
    for loss in (kl, soft_cross_entropy):
        value = loss(z, other.softmax(1))
        assert value.isfinite().all()
        assert all(slope.isfinite().all() for slope in torch.autograd.grad(value.sum(), (z, other)))
