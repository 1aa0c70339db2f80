"""MART against eqs. (9)-(11) of its paper: the boosted cross-entropy, the weight of what is misclassified, their gradients."""

import copy
import math

import pytest
import torch
from torch import Tensor

from hardy.attacks import PGD, Linf
from hardy.errors import UsageError
from hardy.models import frozen
from hardy.objectives import MART
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
    network,
    noise,
    probabilities,
    statistics,
)


def boosted(p: Tensor, y: Tensor) -> Tensor:
    """-log p_y - log(1 - max over the other classes of p_c), averaged: eq. (9)."""
    values = []
    for i, label in enumerate(y.tolist()):
        largest = max((p[i, c] for c in range(p.shape[1]) if c != label), key=Tensor.item)
        values.append(-p[i, label].log() - (1 - largest).log())
    return torch.stack(values).mean()


def weighed(p: Tensor, q: Tensor, y: Tensor) -> Tensor:
    """KL(p || q) times 1 - p_y, averaged: eq. (11) without its first term; p: of the clean images, q: of the perturbed."""
    values = []
    for i, label in enumerate(y.tolist()):
        divergence = sum(p[i, c] * (p[i, c].log() - q[i, c].log()) for c in range(p.shape[1]))
        values.append(divergence * (1 - p[i, label]))
    return torch.stack(values).mean()


def moved(x: Tensor) -> Tensor:
    """What `told` makes of images."""
    return (x + 0.3 * x.flip(1)).clamp(0, 1)


def told() -> Told:
    return Told(lambda x: 0.3 * x.flip(1))


def test_terms_and_gradients_are_those_of_the_equations():
    model, x = network().double(), images(6).double()
    with torch.no_grad():
        model.linear.weight.mul_(10)
        y = (copy.deepcopy(model)(x).argmax(1) + torch.tensor([0, 0, 0, 1, 2, 3])) % 5
    other, attack = copy.deepcopy(model), PGD(Linf(0.02), steps=3, start_at="gaussian")
    with frozen(other):
        x_adv = attack.perturb(other, x, y, noise(6))
    terms = MART(attack, beta=2.5)(model, x, y, noise(6))
    p, q = probabilities(other(x)), probabilities(other(x_adv))
    assert {bool(right) for right in q.argmax(1) == y} == {True, False}  # both kinds of images are there
    by_hand = {"boosted": boosted(q, y), "agreement": 2.5 * weighed(p, q, y)}
    assert list(terms) == list(by_hand)
    for name, term in by_hand.items():
        assert term > 1e-2
        torch.testing.assert_close(terms[name], term)
    assert_near(gradients(sum(terms.values()), model), gradients(sum(by_hand.values()), other))
    assert all(map(torch.equal, statistics(model), statistics(other)))


def test_three_classes_by_hand():
    # p = 1/2, 1/4, 1/4 clean; 1/8, 5/8, 1/4 perturbed; label 0
    clean, perturbed = (torch.tensor([p]).log() + 3 for p in ([0.5, 0.25, 0.25], [0.125, 0.625, 0.25]))
    terms = MART(Told(), beta=1.0)(Scripted(clean, perturbed), images(1), torch.tensor([0]), noise(1))
    assert terms["boosted"].item() == pytest.approx(-math.log(1 / 8) - math.log(3 / 8), rel=1e-5)
    divergence = 0.5 * math.log(4) + 0.25 * math.log(0.4) + 0.25 * math.log(1)
    assert terms["agreement"].item() == pytest.approx(divergence * 0.5, rel=1e-5)


def test_the_label_counts_among_the_wrong_classes_not_even_where_it_is_the_most_likely():
    sure = torch.tensor([[5.0, 1.0, 0.0]])
    terms = MART(Told())(Scripted(sure, sure), images(1), torch.tensor([0]), noise(1))
    p = probabilities(sure)[0]
    torch.testing.assert_close(terms["boosted"], -p[0].log() - (1 - p[1]).log())


def test_the_gradient_of_the_agreement_goes_through_both_predictions_and_the_weight():
    model, x, y = Linear().double(), images().double(), labels()
    found = gradients(MART(told(), beta=3.0)(model, x, y, noise())["agreement"], model)

    def by_hand(held: str) -> Tensor:
        p, q = probabilities(model(x)), probabilities(model(moved(x)))
        unsure = 1 - p[torch.arange(4), y]
        unsure, q = (unsure.detach() if held == "weight" else unsure), (q.detach() if held == "perturbed" else q)
        p = p.detach() if held == "clean" else p
        return 3 * ((p * (p / q).log()).sum(1) * unsure).mean()

    assert_near(found, gradients(by_hand(""), model))
    for held in ("weight", "perturbed", "clean"):
        assert far(found, gradients(by_hand(held), model))


@pytest.mark.parametrize("sign", [1, -1])
def test_loss_and_gradient_are_finite_for_a_network_that_is_sure_right_or_wrong(sign):
    clean = torch.tensor([[400.0, 0.0, -400.0]]).mul(sign).requires_grad_()
    perturbed = torch.tensor([[-400.0, 400.0, 0.0]]).requires_grad_()
    terms = MART(Told(), beta=1.0)(Scripted(clean, perturbed), images(1), torch.tensor([0]), noise(1))
    total = sum(terms.values())
    # -log p_0 = 800, -log(1 - p_1) = 400: the sum of the others is that of the third, 0 beside 400
    assert terms["boosted"].item() == pytest.approx(1200)
    # KL from all on class 0 is 800 of weight 0, from all on class 2 is 400 of weight 1
    assert terms["agreement"].item() == pytest.approx(0 if sign == 1 else 400)
    for gradient in torch.autograd.grad(total, (clean, perturbed)):
        assert gradient.isfinite().all()
    (gradient,) = torch.autograd.grad(
        MART(Told(), beta=0.0)(Scripted(clean, perturbed), images(1), torch.tensor([0]), noise(1))["boosted"], perturbed
    )
    # softmax - one-hot for the first; for the second softmax less the softmax without class 1
    assert gradient.flatten().tolist() == pytest.approx([-1.0, 2.0, -1.0])


@pytest.mark.parametrize("mode", ["eval", "train", "batch"])
def test_the_attack_gets_the_clean_images_and_their_labels(mode):
    attack, x, y = told(), images(), labels()
    MART(attack, batch_norm=mode)(network(), x, y, noise())
    assert torch.equal(attack.x, x)
    assert torch.equal(attack.target, y)
    assert attack.training == (mode != "eval")
    assert not attack.grads


def test_two_passes_move_the_running_statistics_and_in_train_mode_those_of_the_attack():
    for mode, passes in (("eval", 2), ("batch", 2), ("train", 2 + 3)):
        assert forwards_counted(MART(PGD(steps=3), batch_norm=mode)) == {passes}


def test_the_defaults_are_the_papers():
    assert MART().beta == 5.0
    assert MART().attack == PGD(start_at="gaussian")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"beta": -5.0}, r"beta is -5\.0; it must be at least 0"),
        ({"beta": float("nan")}, "beta is nan"),
        ({"batch_norm": "none"}, "batch_norm is 'none'"),
        ({"attack": None}, "attack is None; it must be an Attack"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        MART(**change)
