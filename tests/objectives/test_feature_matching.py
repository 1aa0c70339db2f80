"""Feature matching against its authors' form, gradients of gradients and all, and against a plain class activation map."""

import copy

import pytest
import torch
from torch import Tensor, nn

from hardy.attacks import PGD, Linf
from hardy.errors import UsageError
from hardy.models import frozen, small_cnn, wrap
from hardy.models.classifier import Classifier
from hardy.objectives import FeatureMatching
from objectives.by_hand import (
    Linear,
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


def grad_cam(model: Classifier, x: Tensor, y: Tensor, floor: float | None) -> tuple[Tensor, Tensor]:
    """Logits, and relu(sum_d a_d A_d) by differentiating the network; floor: None where the gradient is not normalised."""
    activations = model.maps(x)
    logits = model.head(activations.mean((2, 3)))
    n, classes = logits.shape
    score = sum(logits[i, y[i]] for i in range(n)) / (n * classes)
    (gradient,) = torch.autograd.grad(score, activations, create_graph=True)
    if floor is not None:
        gradient = gradient / ((gradient**2).mean() ** 0.5 + floor)
    weights = gradient.mean((2, 3))
    summed = sum(weights[:, d, None, None] * activations[:, d] for d in range(activations.shape[1]))
    return logits, torch.relu(summed)


def cam(model: Classifier, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and sum_d w_yd A_d."""
    activations, weight = model.maps(x), model.linear.weight
    summed = [sum(weight[y[i], d] * activations[i, d] for d in range(activations.shape[1])) for i in range(len(x))]
    return model.head(activations.mean((2, 3))), torch.stack(summed)


def by_hand(objective: FeatureMatching, model: Classifier, x: Tensor, x_adv: Tensor, y: Tensor) -> dict[str, Tensor]:
    both, twice = torch.cat([x, x_adv]), torch.cat([y, y])
    if objective.form == "cam":
        logits, maps = cam(model, both, twice)
    else:
        logits, maps = grad_cam(model, both, twice, objective.floor if objective.normalise else None)
    n = len(x)
    terms = {
        "joint": mean_cross_entropy(logits, twice),
        "maps": objective.weight * ((maps[:n] - maps[n:]) ** 2).mean(),
        "pairing": objective.weight_logits * ((logits[:n] - logits[n:]) ** 2).mean(),
    }
    return terms if objective.weight_logits else {name: terms[name] for name in ("joint", "maps")}


CASES = [
    {},
    {"floor": 0.1},  # not a small thing beside the gradient's root mean square
    {"normalise": False, "weight": 1e5},
    {"form": "cam"},
    {"weight": 3.0, "weight_logits": 0.0},
    {"form": "cam", "normalise": False, "weight_logits": 0.7, "weight": 0.3},
]
cases = pytest.mark.parametrize("case", CASES, ids=str)


@cases
def test_terms_and_all_gradients_are_those_of_differentiating_the_network(case):
    model, x, y = network().double(), images().double(), labels()
    other, objective = copy.deepcopy(model), FeatureMatching(told(), **case)
    terms, expected = objective(model, x, y, noise()), by_hand(objective, other, x, moved(x), y)
    assert list(terms) == list(expected)
    for name, term in expected.items():
        assert term > 1e-4
        torch.testing.assert_close(terms[name], term)
        found, wanted = (
            torch.autograd.grad(
                one, list(of.parameters()), retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for one, of in ((terms[name], model), (term, other))
        )
        for a, b in zip(found, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)
    assert all(map(torch.equal, statistics(model), statistics(other)))


@cases
def test_in_float32_too(case):
    model, x, y = small_cnn(width=8).build(10, 3), images(16, side=32), torch.arange(16) % 10
    other, objective = copy.deepcopy(model), FeatureMatching(told(), **case)
    terms, expected = objective(model, x, y, noise(16)), by_hand(objective, other, x, moved(x), y)
    for name, term in expected.items():
        torch.testing.assert_close(terms[name], term, rtol=1e-4, atol=1e-7)
    found, wanted = gradients(sum(terms.values()), model), gradients(sum(expected.values()), other)
    for a, b in zip(found, wanted, strict=True):
        assert (a - b).norm() < 1e-5 * b.norm()


def test_the_last_layers_weights_get_the_gradient_of_the_maps_through_the_gradient_and_its_scale():
    """A gradient held constant, or its root mean square, would give other ones."""
    model, x, y = Linear().double(), images().double(), labels()
    objective = FeatureMatching(told(), floor=0.001)
    found = gradients(objective(model, x, y, noise())["maps"] + 0 * model.linear.bias.sum(), model)
    both, twice = torch.cat([x, moved(x)]), torch.cat([y, y])

    def held(what: str) -> Tensor:
        weight = model.linear.weight[twice] / (8 * 8 * 8 * 5)
        root = weight.square().mean().sqrt()
        weight, root = (weight.detach() if what == "gradient" else weight), (root.detach() if what == "root" else root)
        maps = torch.relu(torch.einsum("nd,ndhw->nhw", weight / (root + 0.001), both))
        return 10 * (maps[:4] - maps[4:]).square().mean() + 0 * model.linear.bias.sum()

    assert_near(found, gradients(held(""), model))
    assert far(found, gradients(held("gradient"), model))
    assert far(found, gradients(held("root"), model))


def test_the_map_is_that_of_the_label():
    model, x, y = network(), images(), labels()
    objective = FeatureMatching(told())
    maps = [objective(copy.deepcopy(model), x, at, noise())["maps"].item() for at in (y, (y + 1) % 5)]
    assert abs(maps[0] - maps[1]) > 0.01 * maps[0]


def test_the_sum_over_channels_is_clipped_and_not_its_terms_and_in_cam_neither():
    weight = torch.tensor([[1.0, -3.0], [2.0, 1.0]])
    maps = torch.tensor([[[[4.0, 1.0]], [[1.0, 1.0]]]])  # (1, 2, 1, 2)
    y = torch.tensor([0])
    assert FeatureMatching(form="cam").maps(maps, weight, y).tolist() == [[[[1.0, -2.0]]]]
    by_grad_cam = FeatureMatching(normalise=False).maps(maps, weight, y)
    assert by_grad_cam.flatten().tolist() == pytest.approx([1 / 4, 0.0])  # two places, one image, two logits
    normalised = FeatureMatching(floor=0.5).maps(maps, weight, y)
    assert normalised.flatten().tolist() == pytest.approx([0.25 / ((1 / 16 + 9 / 16) ** 0.5 / 2**0.5 + 0.5), 0.0])


def test_without_normalisation_the_maps_term_is_numerically_nil():
    """At the sizes of the authors' code: 64 images, 8 x 8 places, 100 classes."""
    x, y = images(64, side=32), torch.arange(64)
    model = small_cnn(width=4).build(100, 3)
    plain, normalised, nil = (
        {name: term.item() for name, term in one(copy.deepcopy(model), x, y, noise(64)).items()}
        for one in (
            FeatureMatching(told(), form="cam"),
            FeatureMatching(told()),
            FeatureMatching(told(), normalise=False),
        )
    )
    assert 0 < nil["maps"] < 2e-12 * plain["maps"]
    assert nil["maps"] < 1e-10 * nil["pairing"]
    assert nil["maps"] < 1e-8 * normalised["maps"]
    for terms in (plain, normalised):
        assert terms["joint"] == nil["joint"]
        assert terms["pairing"] == nil["pairing"]


def test_the_adversarial_images_are_those_of_pgd_against_the_evaluated_network():
    model, x, y, attack = network().double(), images().double(), labels(), PGD(Linf(0.1), steps=3)
    other, objective = copy.deepcopy(model), FeatureMatching(attack)
    with frozen(other):
        x_adv = attack.perturb(other, x, y, noise())
    terms, expected = objective(model, x, y, noise()), by_hand(objective, other, x, x_adv, y)
    for name, term in expected.items():
        torch.testing.assert_close(terms[name], term)


def test_labels_are_smoothed_in_the_cross_entropy_alone():
    model, x, y = Linear().double(), images().double(), labels()
    plain, smooth = (FeatureMatching(told(), smoothing=s)(model, x, y, noise()) for s in (0.0, 0.2))
    expected = mean_smoothed(model(torch.cat([x, moved(x)])), torch.cat([y, y]), 0.2)
    torch.testing.assert_close(smooth["joint"], expected)
    assert (smooth["maps"], smooth["pairing"]) == (plain["maps"], plain["pairing"])


def test_a_last_layer_that_starts_at_0_gets_a_gradient():
    model, x, y = network(), images(), labels()
    with torch.no_grad():
        model.linear.weight.zero_()
    terms = FeatureMatching(told())(model, x, y, noise())
    assert terms["maps"] == 0
    slopes = gradients(sum(terms.values()), model)
    assert all(slope.isfinite().all() for slope in slopes)
    assert slopes[-2].abs().sum() > 0


@pytest.mark.parametrize("form", ["grad-cam", "cam"])
def test_it_takes_one_pass_whatever_the_form(form):
    assert forwards_counted(FeatureMatching(PGD(steps=3), form=form)) == {1}
    assert forwards_counted(FeatureMatching(PGD(steps=3), form=form, batch_norm="train")) == {1 + 3}
    assert forwards_counted(FeatureMatching(PGD(steps=3), form=form, batch_norm="batch")) == {1}


def test_the_batch_matters_to_grad_cam_alone_and_each_says_so():
    model, x, y = Linear().double(), images().double(), labels()
    for form, couples in (("grad-cam", True), ("cam", False)):
        objective = FeatureMatching(told(), form=form)
        assert objective.coupled == couples
        whole = objective(model, x, y, noise())["maps"]
        halves = [objective(model, x[i : i + 2], y[i : i + 2], noise(2))["maps"] for i in (0, 2)]
        assert torch.allclose(whole, sum(halves) / 2, rtol=1e-9) != couples


def test_the_defaults_are_those_of_the_authors_code():
    default = FeatureMatching()
    assert (default.weight, default.weight_logits, default.floor) == (10.0, 2.0, 1e-5)
    assert (default.form, default.normalise) == ("grad-cam", True)
    assert default.attack == PGD(steps=7)


def test_a_network_without_a_linear_last_layer_is_refused():
    module = nn.Sequential(nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UsageError, match="no linear layer"):
        FeatureMatching(told())(wrap(module, maps_layer="0").train(), images(), labels(), noise())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weight": -1.0}, r"weight is -1\.0; it must be at least 0"),
        ({"weight_logits": -2.0}, r"weight_logits is -2\.0; it must be at least 0"),
        ({"floor": 0.0}, r"floor is 0\.0; it must be above 0"),
        ({"form": "cam++"}, r"form is 'cam\+\+'; it must be 'grad-cam' or 'cam'"),
        ({"weight": float("inf")}, "weight is inf"),
        ({"smoothing": -0.1}, r"smoothing is -0\.1; it must be in \[0, 1\)"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        FeatureMatching(**change)
