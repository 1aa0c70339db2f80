"""TRADES against its equation: direction of the divergence, gradients, batch-norm passes."""

import copy

import pytest
import torch

from hardy.attacks import KL, PGD, Linf
from hardy.errors import UsageError
from hardy.models import frozen
from hardy.objectives import TRADES
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
    mean_divergence,
    mean_smoothed,
    network,
    noise,
    probabilities,
    statistics,
)


def attack(steps: int = 3) -> PGD:
    return PGD(Linf(0.1), steps, start_at="gaussian", loss=KL())


def test_the_loss_is_cross_entropy_plus_beta_times_the_divergence_from_clean_to_adversarial():
    model, x, y = network(), images(), labels()
    other = copy.deepcopy(model)
    with frozen(other):
        x_adv = attack().perturb(other, x, probabilities(other(x)), noise())
    terms = TRADES(attack(), beta=2.5)(model, x, y, noise())
    assert list(terms) == ["natural", "agreement"]
    clean, perturbed = other(x), other(x_adv)
    torch.testing.assert_close(terms["natural"], mean_cross_entropy(clean, y))
    by_hand = 2.5 * mean_divergence(probabilities(clean), probabilities(perturbed))
    assert by_hand > 1e-3
    torch.testing.assert_close(terms["agreement"], by_hand, rtol=1e-4, atol=1e-6)


def test_the_divergence_is_of_the_perturbed_prediction_from_the_clean_one_and_not_the_other_way_round():
    sure, unsure = torch.tensor([[4.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    # asked for the attack's target, for the clean term, for the adversarial term
    model = Scripted(sure, sure, unsure)
    term = TRADES(Told(), beta=1.0)(model, images(1), torch.tensor([0]), noise(1))["agreement"]
    p, q = probabilities(sure), probabilities(unsure)
    assert abs(mean_divergence(p, q) - mean_divergence(q, p)) > 0.1
    torch.testing.assert_close(term, mean_divergence(p, q))


def test_the_gradient_of_the_agreement_goes_through_both_predictions():
    model, x, y = Linear(), images(), labels()
    x_adv = (x + 0.3 * x.flip(1)).clamp(0, 1)
    term = TRADES(Told(lambda x: 0.3 * x.flip(1)), beta=3.0)(model, x, y, noise())["agreement"]

    def by_hand(detached: str) -> torch.Tensor:
        p, q = probabilities(model(x)), probabilities(model(x_adv))
        return 3.0 * mean_divergence(p.detach() if detached == "clean" else p, q.detach() if detached == "adv" else q)

    found = gradients(term, model)
    assert_near(found, gradients(by_hand(""), model))
    assert far(found, gradients(by_hand("clean"), model))
    assert far(found, gradients(by_hand("adv"), model))


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_attack_gets_the_clean_images_and_their_prediction_as_a_constant(mode):
    told, x, y, model = Told(), images(), labels(), network()
    other = copy.deepcopy(model).train(mode == "train")
    TRADES(told, batch_norm=mode)(model, x, y, noise())
    assert torch.equal(told.x, x)
    torch.testing.assert_close(told.target, probabilities(other(x)).detach())
    assert not told.target.requires_grad
    assert told.training == (mode == "train")
    assert not told.grads


def test_by_default_the_attack_maximises_the_divergence_from_a_gaussian_start():
    default = TRADES()
    assert default.attack == PGD(start_at="gaussian", loss=KL())
    assert default.beta == 6.0


def test_crafting_in_eval_mode_leaves_two_forward_passes_in_the_running_statistics():
    assert forwards_counted(TRADES(attack())) == {2}


def test_crafting_in_train_mode_adds_the_steps_and_the_clean_prediction():
    assert forwards_counted(TRADES(attack(3), batch_norm="train")) == {2 + 3 + 1}


def test_the_running_statistics_are_to_the_bit_those_of_the_clean_and_then_the_adversarial_pass():
    model, x, y = network(), images(), labels()
    told, other = Told(0.2), copy.deepcopy(model)
    TRADES(told)(model, x, y, noise())
    other(x)
    other((x + 0.2).clamp(0, 1))
    assert all(map(torch.equal, statistics(model), statistics(other)))


def test_a_beta_of_zero_leaves_the_clean_term_and_a_negative_one_is_refused():
    terms = TRADES(Told(), beta=0.0)(network(), images(), labels(), noise())
    assert terms["agreement"] == 0
    assert terms["natural"] > 0
    with pytest.raises(UsageError, match=r"beta is -1.0; it must be at least 0"):
        TRADES(beta=-1.0)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_with_smoothing_the_cross_entropy_is_of_the_spread_label_and_the_rest_stays(share):
    model, x, y = network().double(), images().double(), labels()
    other, hard = copy.deepcopy(model), TRADES(attack())(copy.deepcopy(model), x, y, noise())
    terms, expected = TRADES(attack(), smoothing=share)(model, x, y, noise()), mean_smoothed(other(x), y, share)
    torch.testing.assert_close(terms["natural"], expected)
    assert torch.equal(terms["agreement"], hard["agreement"])
    assert_near(gradients(terms["natural"], model), gradients(expected, other))


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_of_smoothing_that_is_none_is_refused(share):
    with pytest.raises(UsageError, match=f"smoothing is {share}; it must be"):
        TRADES(smoothing=share)
