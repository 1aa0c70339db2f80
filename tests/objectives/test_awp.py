"""AWP against a network whose weights were moved by hand: terms, gradients, running statistics, what is left behind."""

import copy

import pytest
import torch
from torch import Tensor, nn

from hardy.attacks import KL, PGD, Linf
from hardy.errors import UsageError
from hardy.models import wrap
from hardy.models.classifier import Classifier
from hardy.objectives import ALP, AWP, MART, PGDAT, RLFATP, RLFATT, TRADES, FeatureMatching, Objective, Standard
from objectives.by_hand import (
    Told,
    batch_norms,
    forwards_counted,
    gradients,
    images,
    labels,
    network,
    noise,
    statistics,
)

PLAIN, AWAY = PGD(Linf(0.1), 2), PGD(Linf(0.1), 2, start_at="gaussian", loss=KL())
INNER = [
    Standard(),
    Standard(smoothing=0.3),
    PGDAT(PLAIN),
    PGDAT(PLAIN, "train"),
    PGDAT(PLAIN, "batch"),
    TRADES(AWAY),
    TRADES(AWAY, batch_norm="train"),
    RLFATT(AWAY),
    FeatureMatching(PLAIN),
    FeatureMatching(PLAIN, form="cam"),
    MART(PLAIN),
    ALP(PLAIN, joint=False),
]
every = pytest.mark.parametrize("inner", INNER, ids=str)


def total(terms: dict[str, Tensor]) -> Tensor:
    return sum(terms.values())


def by_hand(
    inner: Objective, model: Classifier, x: Tensor, y: Tensor, gamma: float
) -> tuple[dict[str, Tensor], Classifier]:
    """Terms at the moved weights, and the network that has them; each pass of a kind on a network of its own."""
    moved = copy.deepcopy(model)
    made = inner.craft(moved, x, y, noise(step=3))
    proxy = copy.deepcopy(moved)
    slopes = gradients(total(inner.terms(proxy, x, y, made, noise(step=3))), proxy)
    with torch.no_grad():
        for weight, slope in zip(moved.parameters(), slopes, strict=True):
            if weight.dim() > 1:
                length = (weight**2).sum() ** 0.5
                weight.add_(gamma * length * slope / (slope**2).sum() ** 0.5)
    return inner.terms(moved, x, y, made, noise(step=3)), moved


@every
def test_terms_gradients_and_statistics_are_those_of_a_network_moved_by_hand(inner):
    model, x, y = network().double(), images().double(), labels()
    plain = total(inner(copy.deepcopy(model), x, y, noise(step=3)))
    expected, moved = by_hand(inner, model, x, y, 0.05)
    terms = AWP(inner, 0.05)(model, x, y, noise(step=3))
    assert list(terms) == list(expected)
    for name in terms:
        torch.testing.assert_close(terms[name], expected[name], rtol=1e-9, atol=1e-12)
    assert total(terms) > plain + 1e-3  # the weights were moved, and to where the loss is higher
    for a, b in zip(gradients(total(terms), model), gradients(total(expected), moved), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-10)
    for a, b in zip(statistics(model), statistics(moved), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@every
def test_with_gamma_0_it_is_the_inner_objective_to_the_bit(inner):
    model, x, y = network(), images(), labels()
    other = copy.deepcopy(model)
    terms, expected = AWP(inner, 0.0)(model, x, y, noise()), inner(other, x, y, noise())
    assert list(terms) == list(expected)
    assert all(torch.equal(terms[name], expected[name]) for name in terms)
    assert all(map(torch.equal, statistics(model), statistics(other)))
    for a, b in zip(gradients(total(terms), model), gradients(total(expected), other), strict=True):
        assert torch.equal(a, b)


@every
def test_the_weights_are_left_as_they_were_and_are_the_same_tensors(inner):
    model = network()
    before = {name: (weight, weight.clone()) for name, weight in model.named_parameters()}
    buffers = dict(model.named_buffers())
    total(AWP(inner, 0.05)(model, images(), labels(), noise())).backward()
    for name, weight in model.named_parameters():
        assert weight is before[name][0]
        assert torch.equal(weight, before[name][1])
        assert weight.grad is not None
    assert all(buffer is buffers[name] for name, buffer in model.named_buffers())
    assert all(module.training for module in model.modules())


class Noting(Objective):
    """A loss of the weights, which notes what they are whenever it is asked for."""

    def __init__(self) -> None:
        self.crafted, self.seen, self.heads = 0, [], []

    def craft(self, model, x, y, noise):
        self.crafted += 1
        return x

    def terms(self, model, x, y, made, noise):
        self.seen.append({name: weight.detach().clone() for name, weight in model.named_parameters()})
        self.heads.append(model.head_weight.detach().clone())
        return {"loss": model(made).square().sum(), "head": model.head_weight.square().sum()}


def test_every_layers_weights_are_moved_by_gamma_of_their_norm_and_nothing_else_is():
    model, inner = network().double(), Noting()
    AWP(inner, 0.2)(model, images().double(), labels(), noise())
    first, second = inner.seen
    assert inner.crafted == 1
    for name, weight in model.named_parameters():
        assert torch.equal(first[name], weight)
        if weight.ndim > 1:
            away = (second[name] - weight).norm()
            torch.testing.assert_close(away, 0.2 * weight.norm())
        else:
            assert torch.equal(second[name], weight)
    assert {weight.ndim for weight in first.values()} == {1, 2, 4}
    assert torch.equal(inner.heads[1], second["linear.weight"])  # and what looks at the last layer's weights sees it
    assert not torch.equal(inner.heads[1], inner.heads[0])


def test_the_weights_move_up_the_gradient_of_the_sum_of_the_terms():
    model, inner, x = network().double(), Noting(), images().double()
    AWP(inner, 0.2)(model, x, labels(), noise())
    other = copy.deepcopy(model)
    slopes = gradients(other(x).square().sum() + other.linear.weight.square().sum(), other)
    for (name, weight), slope in zip(model.named_parameters(), slopes, strict=True):
        if weight.ndim > 1:
            away = (inner.seen[1][name] - weight).flatten()
            cosine = torch.nn.functional.cosine_similarity(away, slope.flatten(), dim=0)
            assert float(cosine.detach()) == pytest.approx(1)


def test_weights_that_are_not_trained_or_that_the_loss_does_not_see_stay():
    class Part(Noting):
        """A loss of the last layer's weights alone."""

        def terms(self, model, x, y, made, noise):
            return {"loss": super().terms(model, x, y, made, noise)["head"]}

    for inner, fixed in ((Noting(), "layers.0.weight"), (Part(), "")):
        model = network().double()
        for name, weight in model.named_parameters():
            weight.requires_grad_(name != fixed)
        AWP(inner, 0.2)(model, images().double(), labels(), noise())
        changed = {name for name in inner.seen[0] if not torch.equal(inner.seen[0][name], inner.seen[1][name])}
        layers = {f"layers.{i}.weight" for i in (3, 6, 9)}
        assert changed == ({"linear.weight"} if fixed == "" else {"linear.weight", *layers})


def test_a_loss_without_slope_moves_nothing_and_stays_finite():
    class Flat(Noting):
        """A loss whose gradient is 0."""

        def terms(self, model, x, y, made, noise):
            return {"loss": 0.0 * super().terms(model, x, y, made, noise)["loss"]}

    model, inner = network(), Flat()
    loss = AWP(inner, 0.2)(model, images(), labels(), noise())["loss"]
    assert all(torch.equal(inner.seen[1][name], inner.seen[0][name]) for name in inner.seen[0])
    assert all(gradient.isfinite().all() for gradient in gradients(loss, model))


def test_a_loss_that_fails_leaves_the_network_as_it_was():
    class Failing(Noting):
        """Fails at the moved weights."""

        def terms(self, model, x, y, made, noise):
            if self.seen:
                raise ZeroDivisionError
            return super().terms(model, x, y, made, noise)

    model = network()
    weights = {name: (weight, weight.clone()) for name, weight in model.named_parameters()}
    before = statistics(model)
    with pytest.raises(ZeroDivisionError):
        AWP(Failing(), 0.2)(model, images(), labels(), noise())
    assert all(weight is weights[name][0] for name, weight in model.named_parameters())
    assert all(torch.equal(weight, weights[name][1]) for name, weight in model.named_parameters())
    assert all(map(torch.equal, statistics(model), before))


@pytest.mark.parametrize(
    ("inner", "crafting", "losses"),
    [
        (Standard(), 0, 1),
        (PGDAT(PGD(steps=3)), 3, 1),
        (TRADES(PGD(steps=3, start_at="gaussian", loss=KL())), 3 + 1, 2),
        (RLFATT(PGD(steps=3, start_at="gaussian", loss=KL())), 3 + 1, 3),
        (FeatureMatching(PGD(steps=3)), 3, 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Objective) else str(value),
)
def test_the_adversary_crafts_once_and_the_pass_that_finds_the_move_leaves_no_trace(inner, crafting, losses):
    model, seen = network(), []
    batch_norms(model)[0].register_forward_hook(lambda *_: seen.append(1))
    AWP(inner)(model, images(), labels(), noise())
    assert len(seen) == crafting + 2 * losses
    assert forwards_counted(AWP(inner)) == {losses}


def test_a_wrapped_network_whose_maps_are_looked_for_while_its_weights_are_moved():
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))
    found, named = (wrap(module, maps_layer=layer).train() for layer in ("", "1"))
    terms, expected = (
        AWP(FeatureMatching(PLAIN), 0.05)(model, images(), labels(), noise()) for model in (found, named)
    )
    assert terms == expected
    assert all(p.requires_grad and p.is_leaf for p in module.parameters())
    assert all(map(torch.equal, gradients(total(terms), found), gradients(total(expected), named)))


def test_crafting_in_train_mode_leaves_its_trace_once():
    assert forwards_counted(AWP(PGDAT(PGD(steps=3), "train"))) == {3 + 1}
    assert forwards_counted(AWP(PGDAT(PGD(steps=3), "batch"))) == {1}


def test_both_losses_are_of_the_same_crafted_images_and_noise():
    told, model, seen = Told(0.2), network(), []
    batch_norms(model)[0].register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
    AWP(RLFATP(told, eta=0.0), 0.0)(model, images(), labels(), noise(step=3))
    assert torch.equal(*seen)  # one shuffle for both


def test_it_speaks_for_the_objective_inside():
    inner = RLFATP(PGD(Linf(0.07)), k=9)
    assert AWP(inner).ball == Linf(0.07)
    assert AWP(Standard()).ball is None
    crafting = RLFATP(PGD(Linf(0.07)), batch_norm="train")
    assert (AWP(crafting).attack, AWP(crafting).batch_norm) == (crafting.attack, "train")
    with pytest.raises(UsageError, match=r"objective\.k is 9"):
        AWP(inner).check((3, 8, 8))
    AWP(inner).check((3, 9, 9))
    assert AWP(Standard()).coupled


def test_the_defaults_are_those_for_pgd_at():
    assert AWP() == AWP(PGDAT(), 0.01)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AWP(gamma=-0.01), r"gamma is -0\.01; it must be at least 0"),
        (lambda: AWP(gamma=float("nan")), "gamma is nan"),
        (lambda: AWP(AWP()), "inner is .AWP.; it must be another objective than AWP itself"),
        (lambda: AWP(PGD()), "inner is PGD.*; it must be an Objective"),
    ],
)
def test_settings_out_of_range_are_refused(make, said):
    with pytest.raises(UsageError, match=said):
        make()
