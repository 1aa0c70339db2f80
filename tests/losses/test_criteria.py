"""Criteria: the losses as settings, and the margin that stops."""

import pytest
import torch

from hardy.errors import UsageError
from hardy.losses import logits as of_logits
from hardy.losses.criteria import (
    DLR,
    KL,
    CrossEntropy,
    Margin,
    TargetedCrossEntropy,
    TargetedDLR,
    TargetedMargin,
    check_labels,
    to_fall,
    true_class,
)  # fmt: skip
from hardy.randomness import Noise
from toys import labels

Z = Noise.of_batch(8, purpose="logits").normal((5,))
Y = labels(8, 5)
WANTED = (Y + 1 + torch.arange(8) % 4) % 5
PAIRS = torch.stack([Y, WANTED], 1)


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


# towards a class


def test_a_targeted_criterion_is_the_loss_of_its_name_of_label_and_wanted_class():
    assert torch.equal(TargetedCrossEntropy()(Z, PAIRS), -of_logits.cross_entropy(Z, WANTED))
    assert torch.equal(TargetedMargin()(Z, PAIRS), of_logits.difference(Z, Y, WANTED))
    assert torch.equal(TargetedDLR()(Z, PAIRS), of_logits.targeted_dlr(Z, Y, WANTED))


def test_targeted_criteria_by_hand():
    z = torch.tensor([[4.0, 1.0, 3.0, 0.0, -2.0]])
    pair = torch.tensor([[0, 2]])
    assert TargetedMargin()(z, pair).tolist() == [-1.0]
    assert TargetedDLR()(z, pair).tolist() == pytest.approx([-1 / (4 - 0.5 * (1 + 0))])
    p = z.exp() / z.exp().sum()
    assert TargetedCrossEntropy()(z, pair).tolist() == pytest.approx([float(p[0, 2].log())])


@pytest.mark.parametrize("criterion", [TargetedCrossEntropy(), TargetedMargin(), TargetedDLR()])
def test_a_targeted_criterion_rises_with_the_wanted_class(criterion):
    higher = Z + torch.nn.functional.one_hot(WANTED, 5) * 0.1
    assert (criterion(higher, PAIRS) > criterion(Z, PAIRS)).all()


@pytest.mark.parametrize("criterion", [TargetedCrossEntropy(), TargetedMargin(), TargetedDLR()])
@pytest.mark.parametrize("target", [Y, PAIRS.int(), PAIRS.float(), PAIRS[:, :1], torch.stack([Y] * 3, 1)])
def test_what_are_no_pairs_is_refused_where_a_class_is_wanted(criterion, target):
    with pytest.raises(
        UsageError, match=r"int64 \(N, 2\), the label and the wanted class: hardy\.attacks\.Targeted chooses"
    ):
        criterion(Z, target)


def test_pairs_are_refused_by_losses_of_labels():
    for criterion in (CrossEntropy(), Margin(), DLR()):
        with pytest.raises(UsageError, match=r"Labels are torch\.int64 \(8, 2\)"):
            criterion(Z, PAIRS)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_ratios_need_three_and_four_classes(classes):
    z, y = Z[:, :classes], Y % classes
    with pytest.raises(
        UsageError, match=rf"The targeted DLR loss needs at least 4 classes; the network gives {classes}\."
    ):
        TargetedDLR()(z, torch.stack([y, (y + 1) % classes], 1))
    if classes == 2:
        with pytest.raises(UsageError, match=r"The DLR loss needs at least 3 classes; the network gives 2\."):
            DLR()(z, y)
    else:
        assert DLR()(z, y).isfinite().all()


def test_the_true_class_of_labels_and_of_pairs():
    assert torch.equal(true_class(Y), Y)
    assert torch.equal(true_class(PAIRS), Y)
    for neither in (Z, PAIRS.float(), torch.stack([Y] * 3, 1)):  # so that messages tell its shape
        assert true_class(neither) is neither


def test_what_is_to_fall_is_below_0_where_the_attack_has_what_it_wants():
    assert torch.equal(to_fall(Z, Y), of_logits.margin(Z, Y))
    assert torch.equal(to_fall(Z, Y) < 0, Z.argmax(1) != Y)
    wanted = torch.where(torch.arange(8) % 2 == 0, Z.argmax(1), WANTED)
    falling = to_fall(Z, torch.stack([Y, wanted], 1))
    assert torch.equal(falling < 0, Z.argmax(1) == wanted)
    assert 0 < (falling < 0).sum() < 8
    best_other = Z.scatter(1, wanted[:, None], -torch.inf).amax(1)
    assert torch.equal(falling, best_other - Z.gather(1, wanted[:, None]).squeeze(1))


def test_labels_are_checked():
    check_labels(Y)
    for wrong in (Y.int(), Y.float(), Y[:, None], PAIRS, torch.tensor(1)):
        with pytest.raises(UsageError, match=r"they must be int64 \(N,\)"):
            check_labels(wrong)
