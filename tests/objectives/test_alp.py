"""Adversarial logit pairing against its equation: the joint batch, the pairing's mean, whose label is attacked."""

import copy

import pytest
import torch
from torch import Tensor

from hardy.attacks import PGD, Linf
from hardy.errors import UsageError
from hardy.models import frozen
from hardy.objectives import ALP
from objectives.by_hand import (
    Linear,
    Scripted,
    Told,
    assert_near,
    far,
    forwards_counted,
    gradients,
    images,
    labels,
    mean_cross_entropy,
    mean_smoothed,
    network,
    noise,
    statistics,
)


def moved(x: Tensor) -> Tensor:
    """What `told` makes of images."""
    return (x + 0.3 * x.flip(1)).clamp(0, 1)


def told() -> Told:
    return Told(lambda x: 0.3 * x.flip(1))


def paired(clean: Tensor, perturbed: Tensor) -> Tensor:
    """The squared difference of logits, averaged over images and classes, number by number."""
    n, classes = clean.shape
    squares = [(clean[i, c] - perturbed[i, c]) ** 2 for i in range(n) for c in range(classes)]
    return torch.stack(squares).sum() / (n * classes)


@pytest.mark.parametrize("joint", [True, False])
def test_the_loss_is_two_cross_entropies_and_the_mean_squared_difference_of_logits(joint):
    model, x, y = network().double(), images().double(), labels()
    other = copy.deepcopy(model)
    terms = ALP(told(), weight=1.7, natural=0.3, adversarial=0.8, joint=joint)(model, x, y, noise())
    if joint:
        logits = other(torch.cat([x, moved(x)]))
        clean, perturbed = logits[:4], logits[4:]
    else:
        clean, perturbed = other(x), other(moved(x))
    by_hand = {
        "natural": 0.3 * mean_cross_entropy(clean, y),
        "adversarial": 0.8 * mean_cross_entropy(perturbed, y),
        "pairing": 1.7 * paired(clean, perturbed),
    }
    assert list(terms) == list(by_hand)
    for name, term in by_hand.items():
        assert term > 1e-3
        torch.testing.assert_close(terms[name], term)
    assert_near(gradients(sum(terms.values()), model), gradients(sum(by_hand.values()), other))
    assert all(map(torch.equal, statistics(model), statistics(other)))


def test_one_pass_or_two_make_batch_norm_see_other_statistics():
    model, x, y = network(), images(), labels()
    one, two = (ALP(told(), joint=joint)(copy.deepcopy(model), x, y, noise()) for joint in (True, False))
    assert abs(one["natural"] - two["natural"]) > 1e-3


def test_by_default_the_cross_entropies_are_the_mean_over_the_joint_batch():
    model, x, y = network().double(), images().double(), labels()
    terms = ALP(told())(copy.deepcopy(model), x, y, noise())
    logits = model(torch.cat([x, moved(x)]))
    torch.testing.assert_close(terms["natural"] + terms["adversarial"], mean_cross_entropy(logits, torch.cat([y, y])))
    torch.testing.assert_close(terms["pairing"], 0.1 * paired(*logits.chunk(2)))


def test_logits_that_differ_by_one_in_every_class_cost_the_weight_whatever_the_number_of_classes():
    for classes in (2, 7):
        zeros, ones = torch.zeros(4, classes), torch.ones(4, classes)
        y = torch.zeros(4, dtype=torch.int64)
        joint = ALP(Told(), weight=0.5)(Scripted(torch.cat([zeros, ones])), images(), y, noise())
        apart = ALP(Told(), weight=0.5, joint=False)(Scripted(zeros, ones), images(), y, noise())
        assert joint["pairing"] == apart["pairing"] == 0.5


@pytest.mark.parametrize("joint", [True, False])
def test_the_gradient_of_the_pairing_goes_through_both_sides(joint):
    model, x, y = Linear(), images(), labels()
    found = gradients(ALP(told(), weight=3.0, joint=joint)(model, x, y, noise())["pairing"], model)

    def by_hand(detached: str) -> Tensor:
        clean, perturbed = model(x), model(moved(x))
        return 3.0 * paired(
            clean.detach() if detached == "clean" else clean, perturbed.detach() if detached == "adv" else perturbed
        )

    # a bias shifts both sides alike: its gradient is 0 but for rounding
    assert_near(found, gradients(by_hand(""), model))
    assert far(found, gradients(by_hand("clean"), model))
    assert far(found, gradients(by_hand("adv"), model))


@pytest.mark.parametrize("mode", ["eval", "train", "batch"])
def test_the_attack_gets_the_label_or_the_class_predicted_in_the_mode_of_crafting(mode):
    model, x = network(), images()
    other = copy.deepcopy(model).train(mode != "eval")
    predicted = other(x).argmax(1)
    y = (predicted + 1) % 5
    for label, target in (("true", y), ("predicted", predicted)):
        attack = told()
        ALP(attack, label=label, batch_norm=mode)(copy.deepcopy(model), x, y, noise())
        assert torch.equal(attack.x, x)
        assert torch.equal(attack.target, target)
        assert attack.training == (mode != "eval")
        assert not attack.grads


def test_whichever_label_is_attacked_the_loss_is_of_the_true_one():
    model, x = Linear(), images()
    y = (model(x).argmax(1) + 1) % 5
    terms = ALP(told(), label="predicted")(model, x, y, noise())
    torch.testing.assert_close(terms["natural"], 0.5 * mean_cross_entropy(model(x), y))
    torch.testing.assert_close(terms["adversarial"], 0.5 * mean_cross_entropy(model(moved(x)), y))


@pytest.mark.parametrize("label", ["true", "predicted"])
def test_the_adversarial_images_are_those_of_pgd_on_that_label(label):
    model, x, y, attack = network().double(), images().double(), labels(), PGD(Linf(0.1), steps=3)
    other = copy.deepcopy(model)
    with frozen(other):
        x_adv = attack.perturb(other, x, y if label == "true" else other(x).argmax(1), noise())
    terms = ALP(attack, label=label, joint=False)(model, x, y, noise())
    other(x)
    torch.testing.assert_close(terms["adversarial"], 0.5 * mean_cross_entropy(other(x_adv), y))


def test_labels_are_smoothed_in_both_cross_entropies_and_nowhere_else():
    model, x, y = Linear().double(), images().double(), labels()
    terms = ALP(told(), smoothing=0.2, natural=0.3, adversarial=0.8)(model, x, y, noise())
    for name, weight, at in (("natural", 0.3, x), ("adversarial", 0.8, moved(x))):
        torch.testing.assert_close(terms[name], weight * mean_smoothed(model(at), y, 0.2))
    assert terms["pairing"] == ALP(told())(model, x, y, noise())["pairing"]


@pytest.mark.parametrize(
    ("objective", "passes"),
    [
        (ALP(PGD(steps=3)), 1),
        (ALP(PGD(steps=3), joint=False), 2),
        (ALP(PGD(steps=3), label="predicted"), 1),
        (ALP(PGD(steps=3), batch_norm="batch", label="predicted"), 1),
        (ALP(PGD(steps=3), batch_norm="train"), 1 + 3),
        (ALP(PGD(steps=3), batch_norm="train", label="predicted", joint=False), 2 + 3 + 1),
    ],
)
def test_the_running_statistics_count_the_training_passes_and_in_train_mode_those_of_the_attack(objective, passes):
    assert forwards_counted(objective) == {passes}


def test_the_defaults_are_the_papers():
    default = ALP()
    assert (default.weight, default.natural, default.adversarial, default.label) == (0.1, 0.5, 0.5, "true")
    assert default.attack == PGD()
    assert not default.coupled


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weight": -0.1}, r"weight is -0\.1; it must be at least 0"),
        ({"natural": -1.0}, r"natural is -1\.0; it must be at least 0"),
        ({"adversarial": -1.0}, r"adversarial is -1\.0; it must be at least 0"),
        ({"natural": 0.0, "adversarial": 0.0}, r"adversarial is 0\.0; it must be above 0 where natural is 0"),
        ({"weight": float("nan")}, "weight is nan"),
        ({"label": "least likely"}, "label is 'least likely'; it must be 'true' or 'predicted'"),
        ({"smoothing": 1.0}, r"smoothing is 1\.0; it must be in \[0, 1\)"),
        ({"batch_norm": "off"}, "batch_norm is 'off'"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        ALP(**change)
