"""InfoFeature adversarial training against eqs. (6)-(8) of its paper, written out."""

import copy

import pytest
import torch
from torch import Tensor

from hardy.attacks import InfoFeature, Linf
from hardy.errors import UsageError
from hardy.models.classifier import Classifier
from hardy.objectives import PGDAT, InfoFeatureAT
from objectives.by_hand import (
    assert_near,
    batch_norms,
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

EPS, ALPHA, STEPS, WEIGHT = 0.1, 0.03, 3, 2.0


def attack() -> InfoFeature:
    return InfoFeature(Linf(EPS), STEPS, ALPHA, weight=WEIGHT)


def steep() -> Classifier:
    """A network sure enough for its maps to matter beside the cross-entropy."""
    model = network().double()
    with torch.no_grad():
        model.linear.weight.mul_(10)
    return model


def activation_map(model: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """sum_d max(w_yd A_d, 0)."""
    activations, weight = model.maps(x), model.linear.weight
    terms = [
        [(weight[y[i], d] * activations[i, d]).clamp_min(0) for d in range(weight.shape[1])] for i in range(len(x))
    ]
    return torch.stack([sum(of_image) for of_image in terms])


def crafted(model: Classifier, x: Tensor, y: Tensor, *, weight: float = WEIGHT) -> Tensor:
    """Steps up the cross-entropy and the root of the summed squared change of the label's map; the model in its mode."""
    clean = activation_map(model, x, y).detach()
    x_adv = (x + noise().uniform(x.shape[1:], -EPS, EPS).double()).clamp(0, 1)
    for _ in range(STEPS):
        at = x_adv.clone().requires_grad_()
        away = (activation_map(model, at, y) - clean).square().sum((1, 2)).sqrt()
        loss = len(x) * mean_cross_entropy(model(at), y) + weight * away.sum()
        (gradient,) = torch.autograd.grad(loss, at)
        x_adv = torch.max(torch.min(x_adv + ALPHA * gradient.sign(), x + EPS), x - EPS).clamp(0, 1)
    return x_adv


def test_the_loss_is_the_cross_entropy_of_the_attacks_images_and_so_is_its_gradient():
    model, x, y = steep(), images().double(), labels()
    other = copy.deepcopy(model)
    x_adv = crafted(other.eval(), x, y)
    assert not torch.allclose(x_adv, crafted(other, x, y, weight=0.0), atol=1e-3)  # the maps matter here
    other.train()
    assert torch.allclose(InfoFeatureAT(attack()).craft(model, x, y, noise()), x_adv, atol=1e-7)
    terms = InfoFeatureAT(attack())(model, x, y, noise())
    assert list(terms) == ["adversarial"]
    expected = mean_cross_entropy(other(x_adv), y)
    torch.testing.assert_close(terms["adversarial"], expected, rtol=1e-5, atol=0)
    assert_near(gradients(terms["adversarial"], model), gradients(expected, other))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(statistics(model), statistics(other), strict=True))


@pytest.mark.parametrize("mode", ["train", "batch"])
def test_in_the_other_modes_the_maps_and_the_steps_are_those_of_the_batchs_statistics(mode):
    model, x, y = steep(), images().double(), labels()
    expected = crafted(copy.deepcopy(model), x, y)
    assert not torch.allclose(expected, crafted(copy.deepcopy(model).eval(), x, y), atol=1e-3)
    assert torch.allclose(InfoFeatureAT(attack(), mode).craft(model, x, y, noise()), expected, atol=1e-7)


def test_the_label_is_smoothed_in_the_loss_and_not_in_the_attack():
    model, x, y = steep(), images().double(), labels()
    other = copy.deepcopy(model)
    plain, smooth = InfoFeatureAT(attack()), InfoFeatureAT(attack(), smoothing=0.5)
    x_adv = plain.craft(model, x, y, noise())
    assert torch.equal(smooth.craft(model, x, y, noise()), x_adv)
    torch.testing.assert_close(smooth(model, x, y, noise())["adversarial"], mean_smoothed(other(x_adv), y, 0.5))


@pytest.mark.parametrize(("mode", "passes"), [("eval", 1), ("batch", 1), ("train", 1 + STEPS + 1)])
def test_only_in_train_mode_the_clean_maps_and_the_steps_move_the_running_statistics(mode, passes):
    assert forwards_counted(InfoFeatureAT(attack(), mode)) == {passes}


def test_a_step_of_training_passes_the_batch_once_more_than_the_attacks_steps_and_once_for_the_clean_maps():
    model, seen = network(), []
    batch_norms(model)[0].register_forward_hook(lambda *_: seen.append(1))
    InfoFeatureAT()(model, images(), labels(), noise())
    assert len(seen) == 7 + 1 + 1


def test_without_the_maps_it_is_pgd_adversarial_training():
    model, x, y = network(), images(), labels()
    bare = InfoFeature(Linf(EPS), STEPS, ALPHA, weight=0.0)
    without = InfoFeatureAT(bare)(copy.deepcopy(model), x, y, noise())
    pgd = PGDAT(bare.walk)(copy.deepcopy(model), x, y, noise())
    torch.testing.assert_close(without["adversarial"], pgd["adversarial"])


def test_the_defaults_are_the_papers_and_images_stand_for_themselves():
    default = InfoFeatureAT()
    assert default.attack == InfoFeature(
        steps=7, weight=0.1, ce_weight=1.0, classes="label", clip="terms", distance="l2"
    )
    assert (default.batch_norm, default.smoothing, default.coupled) == ("eval", 0.0, False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"smoothing": 1.0}, r"smoothing is 1\.0; it must be in \[0, 1\)"),
        ({"smoothing": -0.5}, r"smoothing is -0\.5"),
        ({"batch_norm": "none"}, "batch_norm is 'none'"),
        ({"attack": None}, "attack is None; it must be an Attack"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        InfoFeatureAT(**change)
