"""Feature scattering, written out: transport by loops in plain numbers, half of each label spread."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from hardy.attacks import PGD, FeatureScatter, Linf
from hardy.errors import UsageError
from hardy.objectives import FeatureScatterAT
from objectives.by_hand import (
    Told,
    assert_near,
    forwards_counted,
    gradients,
    images,
    labels,
    network,
    noise,
    statistics,
)

EPS = 0.1


def transport(clean: Tensor, moved: Tensor, *, through_the_plan: bool = True) -> Tensor:
    """Cost of the plan of the authors' code: regularisation 0.01, at most 100 rounds, stopped at a change of 0.1."""
    n = len(clean)
    cost = torch.stack(
        [torch.stack([(1 - (a @ b) / (a.norm() * b.norm())).clamp_min(0) for b in moved]) for a in clean]
    )
    u, v = torch.zeros(n, dtype=cost.dtype), torch.zeros(n, dtype=cost.dtype)
    for _ in range(100):
        before = u
        sums = torch.exp((u[:, None] + v[None, :] - cost) / 0.01).sum(1)
        u = 0.01 * (math.log(1 / n) - torch.log(sums + 1e-6)) + u
        sums = torch.exp((u[:, None] + v[None, :] - cost) / 0.01).sum(0)
        v = 0.01 * (math.log(1 / n) - torch.log(sums + 1e-6)) + v
        if (u - before).abs().sum() < 0.1:
            break
    plan = torch.exp((u[:, None] + v[None, :] - cost) / 0.01)
    return ((plan if through_the_plan else plan.detach()) * cost).sum()


def scattered(model: nn.Module, x: Tensor, start: Tensor, *, through_the_plan: bool = True) -> Tensor:
    model = copy.deepcopy(model).eval()
    at = start.clone().requires_grad_()
    distance = transport(model(x).detach(), model(at), through_the_plan=through_the_plan)
    (gradient,) = torch.autograd.grad(distance, at)
    return (start + EPS * gradient.sign()).clamp(x - EPS, x + EPS).clamp(0, 1)


def smoothed_loss(logits: Tensor, y: Tensor, share: float = 0.5) -> Tensor:
    log_p, classes = logits.log_softmax(1), logits.shape[1]
    losses = [
        -sum(log_p[i, c] * (1 - share if c == label else share / (classes - 1)) for c in range(classes))
        for i, label in enumerate(y.tolist())
    ]
    return torch.stack(losses).mean()


def case(n: int = 6) -> tuple[nn.Module, Tensor, Tensor]:
    return network().double(), images(n).double(), labels(n)


def test_images_loss_and_gradients_by_hand():
    model, x, y = case()
    other, method = copy.deepcopy(model), FeatureScatterAT(FeatureScatter(Linf(EPS)))
    expected = scattered(model, x, Linf(EPS).sample(x, noise(6)))
    torch.testing.assert_close(method.craft(model, x, y, noise(6)), expected, atol=1e-7, rtol=0)
    terms = method(model, x, y, noise(6))
    assert list(terms) == ["adversarial"]
    by_hand = smoothed_loss(other(expected), y)
    torch.testing.assert_close(terms["adversarial"], by_hand, atol=1e-6, rtol=0)
    assert_near(gradients(terms["adversarial"], model), gradients(by_hand, other))


def test_the_gradient_goes_through_the_plan():
    model, x, y = case()
    start = Linf(EPS).sample(x, noise(6))
    held = scattered(model, x, start, through_the_plan=False)
    made = FeatureScatterAT(FeatureScatter(Linf(EPS))).craft(model, x, y, noise(6))
    assert ((made - held).abs() > EPS).float().mean() > 0.01


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_the_label_keeps_all_but_its_share(share):
    model, x, y = network(), images(), labels()
    loss = FeatureScatterAT(Told(0.2), smoothing=share)(copy.deepcopy(model), x, y, noise())["adversarial"]
    torch.testing.assert_close(loss, smoothed_loss(model((x + 0.2).clamp(0, 1)), y, share))


def test_the_images_do_not_depend_on_the_labels_but_on_the_whole_batch():
    model, x, y = case()
    method = FeatureScatterAT(FeatureScatter(Linf(EPS)))
    made = method.craft(model, x, y, noise(6))
    assert torch.equal(made, method.craft(model, x, (y + 1) % 5, noise(6)))
    alone = method.craft(model, x[:3], y[:3], noise(3))
    assert (alone - made[:3]).abs().max() > EPS
    assert method.coupled
    assert not FeatureScatterAT(PGD()).coupled  # it is the attack that couples them


def test_one_pass_of_the_moved_batch_alone_is_made_in_training_mode():
    assert forwards_counted(FeatureScatterAT()) == {1}
    model, x, y = case()
    other = copy.deepcopy(model)
    method = FeatureScatterAT(FeatureScatter(Linf(EPS)))
    other(method.craft(copy.deepcopy(model), x, y, noise(6)))
    method(model, x, y, noise(6))
    assert all(map(torch.equal, statistics(model), statistics(other)))


def test_the_defaults_are_the_authors():
    method = FeatureScatterAT()
    assert (method.smoothing, method.batch_norm) == (0.5, "eval")
    attack = method.attack
    assert (attack.ball, attack.steps, attack.alpha, attack.on) == (Linf(8 / 255), 1, 8 / 255, "logits")
    assert (attack.regularisation, attack.iterations, attack.tolerance) == (0.01, 100, 0.1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"smoothing": 1.0}, r"smoothing is 1\.0; it must be in \[0, 1\)"),
        ({"smoothing": -0.5}, r"smoothing is -0\.5; it must be in \[0, 1\)"),
        ({"batch_norm": "frozen"}, "batch_norm is 'frozen'; it must be 'eval' or 'train' or 'batch'"),
        ({"attack": None}, "attack is None; it must be an Attack"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        FeatureScatterAT(**change)
