"""Adversarial interpolation training, written out: partners, images, labels, loss and gradients."""

import copy

import pytest
import torch
from torch import Tensor, nn

from hardy.attacks import AdversarialInterpolation, Linf
from hardy.errors import UsageError
from hardy.objectives import InterpolationAT
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


def interpolated(model: nn.Module, x: Tensor, start: Tensor) -> Tensor:
    """One step of eps down the cosine distance to the features of the image at the mirrored place."""
    model, n = copy.deepcopy(model).eval(), len(x)
    at = start.clone().requires_grad_()
    partners = [model.features(x[n - 1 - i : n - i])[0].detach() for i in range(n)]
    distance = 0
    for i, g in enumerate(model.features(at)):
        distance = distance + (1 - (g @ partners[i]) / (g.norm() * partners[i].norm())).clamp_min(0)
    (gradient,) = torch.autograd.grad(distance, at)
    return (start - EPS * gradient.sign()).clamp(x - EPS, x + EPS).clamp(0, 1)


def loss_by_hand(logits: Tensor, y: Tensor, share: float = 0.5) -> Tensor:
    n, classes = logits.shape
    log_p, losses = logits.log_softmax(1), []
    for i in range(n):
        partner = int(y[n - 1 - i])
        label = [
            (1 - share) * (c == int(y[i])) + share * (0 if c == partner else 1 / (classes - 1)) for c in range(classes)
        ]
        assert sum(label) == pytest.approx(1)
        losses.append(-sum(p * log_p[i, c] for c, p in enumerate(label)))
    return torch.stack(losses).mean()


def case(n: int) -> tuple[nn.Module, Tensor, Tensor]:
    return network().double(), images(n).double(), torch.tensor([0, 3, 3, 1, 0, 2, 4])[:n]


@pytest.mark.parametrize("n", [1, 5, 6])  # of an odd number, the one in the middle is its own partner
def test_images_loss_and_gradients_by_hand(n):
    model, x, y = case(n)
    other, method = copy.deepcopy(model), InterpolationAT(AdversarialInterpolation(Linf(EPS)))
    expected = interpolated(model, x, Linf(EPS).sample(x, noise(n)))
    torch.testing.assert_close(method.craft(model, x, y, noise(n)), expected, atol=1e-7, rtol=0)
    terms = method(model, x, y, noise(n))
    assert list(terms) == ["adversarial"]
    by_hand = loss_by_hand(other(expected), y)
    torch.testing.assert_close(terms["adversarial"], by_hand, atol=1e-6, rtol=0)
    assert_near(gradients(terms["adversarial"], model), gradients(by_hand, other))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_what_is_not_the_partners_class(share):
    model, x, y = network(), images(), labels()
    loss = InterpolationAT(Told(0.2), share)(copy.deepcopy(model), x, y, noise())["adversarial"]
    torch.testing.assert_close(loss, loss_by_hand(model((x + 0.2).clamp(0, 1)), y, share))


def test_the_class_of_another_partner_gives_no_loss_however_unlikely():
    """The partner's class alone may have a logit of -1000."""
    z = torch.zeros(2, 5)
    z[0, 3], z[1, 0] = -1000.0, -1000.0
    model = network()
    model.forward = lambda x: z
    loss = InterpolationAT(Told())(model, images(2), torch.tensor([0, 3]), noise(2))["adversarial"]
    assert float(loss) == pytest.approx(torch.tensor(4.0).log().item(), abs=1e-5)


def test_it_acts_on_the_batch_as_a_whole_whatever_the_attack():
    assert InterpolationAT().coupled
    assert InterpolationAT(Told()).coupled
    model, x, y = network(), images(), torch.tensor([0, 1, 2, 3])
    method = InterpolationAT(Told())
    whole = method(copy.deepcopy(model), x, y, noise())["adversarial"]
    reordered = method(copy.deepcopy(model), x[[0, 2, 1, 3]], y[[0, 2, 1, 3]], noise())["adversarial"]
    swapped = method(copy.deepcopy(model), x[[0, 1, 3, 2]], y[[0, 1, 3, 2]], noise())["adversarial"]
    torch.testing.assert_close(whole, reordered)  # the same pairs
    assert (whole - swapped).abs() > 1e-3


def test_the_images_do_not_depend_on_the_labels():
    model, x, y = case(6)
    method = InterpolationAT(AdversarialInterpolation(Linf(EPS)))
    assert torch.equal(method.craft(model, x, y, noise(6)), method.craft(model, x, (y + 1) % 5, noise(6)))


def test_one_pass_of_the_moved_batch_alone_is_made_in_training_mode():
    assert forwards_counted(InterpolationAT()) == {1}
    model, x, y = case(6)
    other, method = copy.deepcopy(model), InterpolationAT(AdversarialInterpolation(Linf(EPS)))
    other(method.craft(copy.deepcopy(model), x, y, noise(6)))
    method(model, x, y, noise(6))
    assert all(map(torch.equal, statistics(model), statistics(other)))


def test_the_defaults_are_the_authors():
    method = InterpolationAT()
    assert (method.share, method.batch_norm) == (0.5, "eval")
    attack = method.attack
    assert (attack.ball, attack.steps, attack.alpha, attack.on) == (Linf(8 / 255), 1, 8 / 255, "features")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"share": -0.1}, r"share is -0\.1; it must be in \[0, 1\]"),
        ({"share": 1.5}, r"share is 1\.5; it must be in \[0, 1\]"),
        ({"batch_norm": "frozen"}, "batch_norm is 'frozen'; it must be 'eval' or 'train' or 'batch'"),
        ({"attack": None}, "attack is None; it must be an Attack"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        InterpolationAT(**change)
