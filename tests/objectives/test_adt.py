"""ADT-EXP, written out: a distribution learned by torch's Adam image by image, and the loss of one sample of it."""

import copy

import pytest
import torch
from torch import Tensor, nn

from hardy.attacks import AdversarialDistribution, Linf
from hardy.errors import UsageError
from hardy.objectives import ADT
from hardy.randomness import Noise
from objectives.by_hand import (
    Told,
    assert_near,
    forwards_counted,
    gradients,
    images,
    labels,
    mean_cross_entropy,
    network,
    noise,
    statistics,
)

EPS = 0.1


def sampled(attack: AdversarialDistribution, model: nn.Module, x: Tensor, y: Tensor, given: Noise) -> Tensor:
    """What the distribution of each image gives, learned by itself against the network in evaluation mode."""
    model, made = copy.deepcopy(model).eval(), []
    for i in range(len(x)):
        one, own = x[i : i + 1], given[i : i + 1]
        mean, rho = (torch.zeros_like(one, requires_grad=True) for _ in range(2))
        adam = torch.optim.Adam([mean, rho], lr=attack.step_size, betas=(0.0, 0.0), eps=1e-8, maximize=True)
        for step in range(attack.steps):
            if not attack.accumulate:
                adam.zero_grad()
            for k in range(attack.samples):
                n = own.derive("sample").draw(attack.samples * step + k).normal(one.shape[1:]).double()
                std = nn.functional.softplus(rho)
                d = torch.tanh(mean + std * n)
                log_density = -(n**2) / 2 - torch.log(std + 1e-8) - torch.log(1 - d**2 + 1e-8)
                loss = nn.functional.cross_entropy(model((one + EPS * d).clamp(0, 1)), y[i : i + 1])
                ((loss - attack.weight * log_density.mean()) / attack.samples).backward()
            adam.step()
        n = own.derive("result").normal(one.shape[1:]).double()
        d = torch.tanh(mean + nn.functional.softplus(rho) * n).detach()
        made.append((one + EPS * d).clamp(0, 1))
    return torch.cat(made)


@pytest.mark.parametrize("accumulate", [True, False])
def test_images_loss_and_gradients_by_hand(accumulate):
    model, x, y, given = network().double(), images(3).double(), labels(3), noise(3)
    other = copy.deepcopy(model)
    attack = AdversarialDistribution(Linf(EPS), steps=3, samples=2, accumulate=accumulate)
    method = ADT(attack)
    expected = sampled(attack, model, x, y, given)
    torch.testing.assert_close(method.craft(model, x, y, given), expected, atol=3e-7, rtol=0)
    terms = method(model, x, y, given)
    assert list(terms) == ["adversarial"]
    by_hand = mean_cross_entropy(other(expected), y)
    torch.testing.assert_close(terms["adversarial"], by_hand, atol=1e-6, rtol=0)
    assert_near(gradients(terms["adversarial"], model), gradients(by_hand, other))


@pytest.mark.parametrize("mode", ["eval", "train", "batch"])
def test_the_attack_gets_images_labels_and_the_network_in_its_mode(mode):
    attack, x, y = Told(), images(), labels()
    ADT(attack, mode)(network(), x, y, noise())
    assert torch.equal(attack.x, x)
    assert torch.equal(attack.target, y)
    assert attack.training == (mode != "eval")
    assert not attack.grads


def test_one_pass_of_the_sample_alone_is_made_in_training_mode():
    method = ADT(AdversarialDistribution(Linf(EPS), steps=2, samples=2))
    assert forwards_counted(method) == {1}
    model, x, y = network(), images(), labels()
    other = copy.deepcopy(model)
    other(method.craft(copy.deepcopy(model), x, y, noise()))
    method(model, x, y, noise())
    assert all(map(torch.equal, statistics(model), statistics(other)))


def test_learning_a_distribution_passes_images_through_once_a_sample():
    model, passes = network(), []
    model.register_forward_pre_hook(lambda m, given: passes.append((m.training, len(given[0]))))
    ADT()(model, images(), labels(), noise())
    assert passes == [(False, 4)] * 35 + [(True, 4)]


def test_the_defaults_are_the_authors():
    method = ADT()
    assert method.attack == AdversarialDistribution(Linf(8 / 255), 7, 5, 0.3, 0.01, accumulate=True)
    assert (method.batch_norm, method.smoothing) == ("eval", 0.0)
    assert not method.coupled


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"smoothing": 1.0}, r"smoothing is 1\.0; it must be in \[0, 1\)"),
        ({"batch_norm": "frozen"}, "batch_norm is 'frozen'; it must be 'eval' or 'train' or 'batch'"),
        ({"attack": None}, "attack is None; it must be an Attack"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        ADT(**change)
