"""Criteria: the losses as settings, and the margin that stops."""

import pytest
import torch

from hardy.errors import UsageError
from hardy.losses import logits as of_logits
from hardy.losses.criteria import DLR, KL, CrossEntropy, Margin
from hardy.randomness import Noise
from toys import labels

Z = Noise.of_batch(8, purpose="logits").normal((5,))
Y = labels(8, 5)


@pytest.mark.parametrize(
    ("criterion", "loss", "target"),
    [
        (CrossEntropy(), of_logits.cross_entropy, Y),
        (KL(), of_logits.kl, Z.flip(0).softmax(1)),
        (DLR(), of_logits.dlr, Y),
    ],
    ids=["CrossEntropy", "KL", "DLR"],
)
def test_a_criterion_is_the_loss_of_its_name(criterion, loss, target):
    assert torch.equal(criterion(Z, target), loss(Z, target))


def test_the_margin_to_be_maximised_by_hand():
    z = torch.tensor([[4.0, 1.0, 0.0], [0.0, 9.0, 1.0], [0.0, 60.0, 1.0]])
    y = torch.tensor([0, 0, 0])
    assert Margin()(z, y).tolist() == [-53.0, -41.0, 0.0]
    assert Margin(0.0)(z, y).tolist() == [-3.0, 0.0, 0.0]


def test_the_margin_sends_gradient_to_the_runner_up_where_all_other_logits_are_negative():
    z = torch.tensor([[2.0, -3.0, -5.0]], requires_grad=True)
    Margin()(z, torch.tensor([0])).sum().backward()
    assert z.grad.tolist() == [[-1.0, 1.0, 0.0]]


def test_the_margin_stops_at_a_misclassification_by_kappa():
    z = torch.tensor([[0.0, 2.0], [0.0, 4.0]], requires_grad=True)
    Margin(3.0)(z, torch.tensor([0, 0])).sum().backward()
    assert z.grad.tolist() == [[-1.0, 1.0], [0.0, 0.0]]


def test_a_negative_kappa_is_refused():
    with pytest.raises(UsageError, match=r"kappa is -1\.0; it must be at least 0"):
        Margin(-1.0)


@pytest.mark.parametrize("criterion", [CrossEntropy(), Margin(), DLR()])
@pytest.mark.parametrize("target", [Y.float(), Y.int(), Y[:, None], Z.softmax(1)])
def test_what_are_no_labels_is_refused_where_labels_are_compared(criterion, target):
    with pytest.raises(UsageError, match=r"Labels are .*; they must be int64 \(N,\)"):
        criterion(Z, target)


@pytest.mark.parametrize("target", [Y, torch.ones(8), torch.ones(8, 1), torch.ones(8, 5, dtype=torch.int64)])
def test_what_are_no_probabilities_is_refused_where_these_are_compared(target):
    with pytest.raises(UsageError, match="KL compares logits with probabilities"):
        KL()(Z, target)


def test_the_divergence_of_integers_is_refused():
    with pytest.raises(UsageError, match=r"they are torch\.int64 \(8, 5\) and torch\.float32 \(8, 5\)"):
        KL()(Z.long(), Z.softmax(1))
