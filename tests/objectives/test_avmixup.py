"""AVmixup, written out: the vertex, the mixture, its label, loss and gradients."""

import copy

import pytest
import torch
from torch import Tensor

from hardy.attacks import PGD, Linf
from hardy.errors import UsageError
from hardy.models import frozen
from hardy.objectives import AVmixup
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
changes = pytest.mark.parametrize(
    "change", [{}, {"gamma": 1.0}, {"gamma": 3.0, "lambda_1": 0.9, "lambda_2": 0.2}, {"lambda_2": 1.0}], ids=str
)


def phi(label: int, probability: float, classes: int = 5) -> list[float]:
    return [probability if c == label else (1 - probability) / (classes - 1) for c in range(classes)]


def mixed_by_hand(method: AVmixup, x: Tensor, x_adv: Tensor, w: list[float]) -> Tensor:
    made = []
    for i in range(len(x)):
        vertex = (x[i] + method.gamma * (x_adv[i] - x[i])).clamp(0, 1)
        made.append(w[i] * x[i] + (1 - w[i]) * vertex)
    return torch.stack(made)


def loss_by_hand(method: AVmixup, logits: Tensor, y: Tensor, w: list[float]) -> Tensor:
    log_p, losses = logits.log_softmax(1), []
    for i, label in enumerate(y.tolist()):
        at_image, at_vertex = phi(label, method.lambda_1), phi(label, method.lambda_2)
        target = [w[i] * a + (1 - w[i]) * b for a, b in zip(at_image, at_vertex, strict=True)]
        losses.append(-sum(p * log_p[i, c] for c, p in enumerate(target)))
    return torch.stack(losses).mean()


def shares(method: AVmixup, scale: Tensor) -> list[float]:
    """w of each image."""
    return (1 - scale.double() / method.gamma).tolist()


@changes
def test_images_loss_and_gradients_by_hand(change):
    model, x, y, given = network(), images(6), labels(6), noise(6)
    x[0, :, :4], x[1, :, 4:] = 0.0, 1.0  # where vertices are clipped
    other, method = copy.deepcopy(model), AVmixup(PGD(Linf(EPS), steps=3), **change)
    with frozen(other):
        x_adv = method.attack.perturb(other, x, y, given)
    mixed, scale = method.craft(model, x, y, given)
    w = shares(method, scale)
    torch.testing.assert_close(mixed, mixed_by_hand(method, x, x_adv, w), atol=3e-7, rtol=0)
    terms = method(model, x, y, given)
    assert list(terms) == ["mixed"]
    by_hand = loss_by_hand(method, other(mixed), y, w)
    torch.testing.assert_close(terms["mixed"], by_hand, atol=1e-6, rtol=0)
    assert_near(gradients(terms["mixed"], model), gradients(by_hand, other))


def test_half_of_the_way_with_gamma_two_is_the_adversarial_point_and_a_label_of_0_55():
    method, classes = AVmixup(), 10
    z, y = torch.randn(1, classes, generator=torch.Generator().manual_seed(0)), torch.tensor([3])
    model = network()
    model.forward = lambda x: z
    loss = method.terms(model, images(1), y, (images(1), torch.tensor([1.0])), noise(1))["mixed"]
    target = torch.tensor([phi(3, 0.55, classes)])
    torch.testing.assert_close(loss, -(target * z.log_softmax(1)).sum())


def test_how_far_each_image_goes_is_drawn_uniformly_for_each_by_itself():
    x = torch.full((4000, 1, 1, 2), 0.5)
    mixed, scale = AVmixup(Told(0.1)).craft(network(), x, torch.zeros(4000, dtype=torch.int64), noise(4000))
    assert scale.shape == (4000,)
    torch.testing.assert_close((mixed - x) / 0.1, scale.view(-1, 1, 1, 1).expand_as(x), atol=1e-4, rtol=0)
    share = scale / 2
    assert len(share.unique()) > 3990
    counts = torch.histc(share, 20, 0, 1)
    assert int(counts.sum()) == 4000
    assert float(((counts - 200) ** 2 / 200).sum()) < 45  # chi squared of 19: below with probability 0.999


def test_mixtures_leave_the_ball_but_not_the_range_of_pixels():
    model, x, y = network(), images(40), labels(40)
    x_adv = (x + 0.2).clamp(0, 1)
    mixed, _ = AVmixup(Told(0.2)).craft(model, x, y, noise(40))
    assert float((mixed - x).max()) > 0.3
    assert float(mixed.max()) <= 1
    beyond = x + 2 * (x_adv - x) > 1
    assert beyond.any()
    assert (mixed <= x + 2 * (x_adv - x) + 1e-6).all()


def test_it_is_the_vertex_that_is_clipped_and_not_the_mixture():
    x, y = torch.full((50, 3, 8, 8), 0.9), labels(50)
    method = AVmixup(Told(0.1))
    mixed, scale = method.craft(network(), x, y, noise(50))
    expected = torch.lerp(x, torch.ones_like(x), (scale / 2).view(-1, 1, 1, 1))
    torch.testing.assert_close(mixed, expected, atol=1e-6, rtol=0)
    assert (mixed - (x + 0.1 * scale.view(-1, 1, 1, 1)).clamp(0, 1)).abs().max() > 0.04


@pytest.mark.parametrize("mode", ["eval", "train", "batch"])
def test_the_attack_gets_images_labels_and_the_network_in_its_mode(mode):
    attack, x, y = Told(), images(), labels()
    AVmixup(attack, batch_norm=mode)(network(), x, y, noise())
    assert torch.equal(attack.x, x)
    assert torch.equal(attack.target, y)
    assert attack.training == (mode != "eval")
    assert not attack.grads


@pytest.mark.parametrize("mode", ["eval", "batch"])
def test_one_pass_of_the_mixtures_alone_is_made_on_the_running_statistics(mode):
    method = AVmixup(PGD(Linf(EPS), steps=3), batch_norm=mode)
    assert forwards_counted(method) == {1}
    model, x, y = network(), images(), labels()
    other = copy.deepcopy(model)
    mixed, _ = method.craft(copy.deepcopy(model), x, y, noise())
    other(mixed)
    method(model, x, y, noise())
    assert all(map(torch.equal, statistics(model), statistics(other)))


def test_with_the_statistics_of_the_batch_other_images_are_found():
    model, x, y = network(), images(), labels()
    evaluated, of_batch = (
        AVmixup(PGD(Linf(EPS), steps=3), batch_norm=mode).craft(model, x, y, noise()) for mode in ("eval", "batch")
    )
    assert torch.equal(evaluated[1], of_batch[1])
    assert (evaluated[0] - of_batch[0]).abs().max() > 0.01


def test_the_defaults_are_the_authors_for_cifar_10():
    method = AVmixup()
    assert (method.gamma, method.lambda_1, method.lambda_2) == (2.0, 1.0, 0.1)
    assert (method.attack, method.attack.alpha) == (PGD(Linf(8 / 255), 10), pytest.approx(2 / 255))
    assert not method.coupled


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gamma": 0.0}, r"gamma is 0\.0; it must be above 0"),
        ({"gamma": -1.0}, r"gamma is -1\.0; it must be above 0"),
        ({"lambda_1": 1.1}, r"lambda_1 is 1\.1; it must be a probability in \[0, 1\]"),
        ({"lambda_2": -0.1}, r"lambda_2 is -0\.1; it must be a probability in \[0, 1\]"),
        ({"batch_norm": "frozen"}, "batch_norm is 'frozen'; it must be 'eval' or 'train' or 'batch'"),
        ({"attack": None}, "attack is None; it must be an Attack"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        AVmixup(**change)
