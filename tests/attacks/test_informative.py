"""InfoFeature, feature scatter and adversarial interpolation: closed forms, by hand, image by image."""

import pytest
import torch
from torch import Tensor, nn

from hardy.attacks import (
    L2,
    PGD,
    AdversarialInterpolation,
    FeatureScatter,
    InfoFeature,
    Linf,
    Restarts,
    Targeted,
    Worst,
)
from hardy.attacks.attack import Around
from hardy.describe import describe, rebuild
from hardy.errors import UsageError
from hardy.models import wrap
from hardy.models.classifier import Classifier
from hardy.randomness import Noise
from toys import classifier, images, labels, predicted, smooth

EPS = 8 / 255


class Places(Classifier):
    """Two maps, each the image times a weight at each place; logits are weighed means of them."""

    def __init__(self, one: Tensor, two: Tensor, head: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.stack([one, two]))
        self.linear = nn.Linear(2, len(head), bias=False)
        self.linear.weight = nn.Parameter(head)

    def trunk(self, x: Tensor) -> Tensor:
        return x * self.weights

    def head(self, z: Tensor) -> Tensor:
        logits: Tensor = self.linear(z)
        return logits


def places() -> Places:
    """Class 0 weighs the first map by 1, the second by -1; class 1 by 2 and 3. Activations are of both signs."""
    one, two = torch.tensor([[1.0, -2.0], [0.5, 1.0]]), torch.tensor([[1.0, 1.0], [-3.0, 0.25]])
    return Places(one, two, torch.tensor([[1.0, -1.0], [2.0, 3.0]])).double().eval()


def case(n: int = 6) -> tuple[Classifier, Tensor, Tensor, Noise]:
    model, x = classifier(shape=(2, 6, 6)).double(), images(n, (2, 6, 6), dtype=torch.float64)
    return model, x, predicted(model, x), Noise.of_batch(n)


def plainly(x: Tensor) -> Tensor:
    """A function that is no module."""
    return smooth()(x)


def by_hand(model: Classifier, at: Tensor, clean: Tensor, y: Tensor, of: Tensor | None, attack: InfoFeature) -> Tensor:
    """The loss of the paper's eqs. (6) and (7), with every product written out."""

    def cam(x: Tensor) -> Tensor:
        products = model.maps(x)[:, None] * model.linear.weight[None, :, :, None, None]
        if attack.clip == "terms":
            products = products.clamp_min(0)
        whole = products.sum(2)
        whole = whole.clamp_min(0) if attack.clip == "sum" else whole
        return whole if of is None else torch.stack([whole[i, c] for i, c in enumerate(of)])

    a, b = cam(at).flatten(1), cam(clean).detach().flatten(1)
    parts = (a - b).abs() if attack.distance == "l1" else (a - b) ** 2
    s = parts.sum(1) if attack.over == "sum" else parts.mean(1)
    away = (s + attack.floor).sqrt() if attack.distance == "l2" else s
    if attack.distance == "cosine":
        away = 1 - (a * b).sum(1) / ((a**2).sum(1) * (b**2).sum(1)).sqrt()
    return attack.ce_weight * nn.functional.cross_entropy(model(at), y, reduction="none") + attack.weight * away


@pytest.mark.parametrize(
    "change",
    [{}, {"distance": "l1"}, {"distance": "l1", "over": "mean", "classes": "all"}, {"distance": "cosine", "weight": 100.0},
     {"distance": "cosine", "weight": 100.0, "classes": "all", "clip": "none"}, {"classes": "predicted"}, {"classes": "all"},
     {"distance": "squared"}, {"over": "mean"}, {"clip": "sum"}, {"clip": "none"}, {"ce_weight": 0.0},
     {"weight": 3.0, "floor": 0.5}, {"start_at": "gaussian"},
     {"classes": "all", "distance": "squared", "over": "mean", "clip": "none"}],
    ids=str,
)  # fmt: skip
def test_its_steps_by_hand(change):
    model, x, y, noise = case()
    y = (y + 1) % 3  # another than the predicted
    attack = InfoFeature(Linf(0.1), steps=4, step_size=0.03, **{"weight": 1.0} | change)
    of = {"label": y, "predicted": predicted(model, x), "all": None}[attack.classes]
    expected = PGD(Linf(0.1), steps=0, start_at=attack.start_at)(model, x, y, noise)
    for _ in range(4):
        at = expected.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(by_hand(model, at, x, y, of, attack).sum(), at)
        expected = (expected + 0.03 * gradient.sign()).clamp(x - 0.1, x + 0.1).clamp(0, 1)
    got = attack(model, x, y, noise)
    assert torch.allclose(got, expected, atol=1e-7)
    plain = PGD(Linf(0.1), steps=4, step_size=0.03, start_at=attack.start_at)(model, x, y, noise)
    assert not torch.allclose(got, plain, atol=1e-3)  # the maps mattered


def test_without_the_maps_it_is_pgd():
    model, x, y, noise = case()
    for ball in (Linf(0.1), L2(0.5)):
        got = InfoFeature(ball, steps=4, weight=0.0)(model, x, y, noise)
        assert torch.allclose(got, PGD(ball, steps=4)(model, x, y, noise), atol=1e-9)


def test_the_map_of_a_network_of_places_moves_where_it_began_to():
    model, x = places(), images(4, (1, 2, 2), dtype=torch.float64, low=0.3, high=0.7)
    y, noise = torch.tensor([0, 1, 0, 1]), Noise.of_batch(4)
    attack = InfoFeature(Linf(0.1), steps=5, step_size=0.1, weight=1.0, ce_weight=0.0)
    x_adv = attack(model, x, y, noise)
    begun = Linf(0.1).sample(x, noise) - x
    # each place's term of the distance grows with its own pixel's change: further the way that the start went
    reaches = x + 0.1 * begun.sign()
    # the map of class 0 at place (1, 0): max(0.5 x, 0) + max(3 x, 0); at (0, 1), max(-2 x, 0) + max(-x, 0): no slope
    for i, sees in ((0, [1, 0, 1, 1]), (1, [1, 1, 1, 1]), (2, [1, 0, 1, 1]), (3, [1, 1, 1, 1])):
        moved = (x_adv[i] - reaches[i]).abs().flatten() < 1e-6
        assert moved.tolist() == [bool(s) for s in sees]
    unseen = (x_adv - x)[[0, 2], :, 0, 1]
    assert torch.allclose(unseen, begun[[0, 2], :, 0, 1], atol=1e-9)


def test_from_the_image_itself_the_first_step_is_that_of_cross_entropy():
    model, x, y, noise = case()
    for distance in ("l2", "squared", "l1"):
        attack = InfoFeature(Linf(0.1), steps=1, weight=100.0, start_at="image", distance=distance)
        assert torch.allclose(attack(model, x, y, noise), PGD(Linf(0.1), steps=1, start_at="image")(model, x, y, noise))


def test_the_defaults_are_the_papers():
    attack = InfoFeature()
    assert (attack.steps, attack.weight, attack.ball, attack.walk.alpha) == (7, 0.1, Linf(EPS), pytest.approx(2 / 255))
    assert attack.summary == (
        "InfoFeature, 1 cross-entropy + 0.1 distance of the activation maps of the label (clipped before the sum; l2, floor "
        "1e-12, sum), Linf 8/255, 7 steps of 2/255 from a uniform point of the ball"
    )
    assert rebuild(describe(attack), InfoFeature) == attack


@pytest.mark.parametrize("distance", ["l1", "cosine"])
def test_each_distance_is_pushed_further_than_by_cross_entropy_alone_and_names_itself(distance):
    model, x, y, noise = case()

    def away(weight: float) -> float:
        attack = InfoFeature(Linf(0.05), weight=weight, distance=distance)
        x_adv, f = attack(model, x, y, noise), attack.view(model)
        maps = [f(at)[1][torch.arange(6), y].flatten(1) for at in (x, x_adv)]
        apart = 1 - nn.functional.cosine_similarity(*maps) if distance == "cosine" else (maps[0] - maps[1]).abs().sum(1)
        return apart.mean().item()

    assert away(1e4) > 1.05 * away(0.0)
    assert f"; {distance}, sum)" in InfoFeature(distance=distance).summary
    assert rebuild(describe(InfoFeature(distance=distance)), InfoFeature).distance == distance


# image by image


@pytest.mark.parametrize("classes", ["label", "predicted", "all"])
def test_images_may_enter_and_leave_at_any_iteration(classes):
    model, x, y, noise = case(7)
    attack = InfoFeature(Linf(0.1), steps=5, weight=1.0, classes=classes)
    expected, f = attack(model, x, y, noise), attack.view(model)
    early = attack.start(f, x[:3], y[:3], noise[:3])
    for _ in range(2):
        early = attack.advance(f, x[:3], y[:3], early)
    state = type(early).cat([early, attack.start(f, x[3:], y[3:], noise[3:])])
    place = torch.tensor([5, 0, 2, 6, 1, 3, 4])
    state, result = state.select(place), torch.full_like(x, torch.nan)
    for _ in range(5):
        state = attack.advance(f, x[place], y[place], state)
        result[place[state.done]] = state.x_adv[state.done]
        place, state = place[~state.done], state.select(~state.done)
    assert not len(place)
    assert float((result - expected).abs().max()) < 1e-9


def test_images_that_are_done_stay_and_no_image_is_a_batch_too():
    model, x, y, noise = case()
    attack = InfoFeature(Linf(0.1), steps=2)
    f = attack.view(model)
    state = attack.start(f, x, y, noise)
    state.done[2] = True
    after = attack.advance(f, x, y, state)
    same = (after.x_adv == state.x_adv).flatten(1).all(1)
    assert same.tolist() == [False, False, True, False, False, False]
    none = attack.start(f, x[:0], y[:0], noise[torch.arange(0)])
    assert attack.advance(f, x[:0], y[:0], none).x_adv.shape == (0, 2, 6, 6)


# what it looks at


class Tally(Around):
    """Counts the passes through a network."""

    def __init__(self, model: Classifier) -> None:
        self.model, self.passes = model, 0

    def around(self, f):
        def tallied(x):
            self.passes += 1
            return f(x)

        return tallied


def test_what_counts_the_networks_passes_counts_those_for_its_maps():
    model, x, y, noise = case()
    attack, tally = InfoFeature(Linf(0.1), steps=3), Tally(model)
    assert torch.equal(attack(tally, x, y, noise), attack(model, x, y, noise))
    assert tally.passes == 4  # the clean maps, and three steps
    assert torch.equal(attack.perturb(tally, x, y, noise), attack(model, x, y, noise))
    assert torch.equal(tally(x), model(x))


@pytest.mark.parametrize(
    "attack", [InfoFeature(), AdversarialInterpolation(), FeatureScatter(on="features")], ids=lambda a: type(a).__name__
)
@pytest.mark.parametrize("f", [smooth(), plainly, Tally(smooth())], ids=["module", "function", "counted"])
def test_a_network_that_shows_no_activations_is_refused(attack, f):
    said = r"f is (Smooth|function); this attack looks at a network's activations.*hardy\.models\.wrap makes one"
    with pytest.raises(UsageError, match=said):
        attack(f, images(3), labels(3))


def test_a_network_of_ones_own_is_looked_into_when_wrapped():
    inner, x = classifier(shape=(2, 6, 6)).double(), images(4, (2, 6, 6), dtype=torch.float64)
    y, noise = predicted(inner, x), Noise.of_batch(4)
    module = nn.Sequential(
        inner.first, inner.norm, nn.ReLU(), inner.second, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    module.append(inner.linear)
    wrapped = wrap(module, (0.5, 0.5), (0.25, 0.25)).double().eval()
    for attack in (InfoFeature(Linf(0.1), steps=3, weight=1.0), AdversarialInterpolation(Linf(0.1))):
        assert torch.allclose(attack(wrapped, x, y, noise), attack(inner, x, y, noise), atol=1e-9)
    logits, maps = wrapped.with_maps(x)
    assert torch.allclose(logits, inner(x))
    assert torch.allclose(maps, inner.maps(x))
    assert torch.equal(wrapped.head_weight, inner.linear.weight)


def test_networks_without_a_linear_layer_have_no_weights_for_the_maps():
    module = nn.Sequential(nn.Conv2d(1, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UsageError, match="no linear layer"):
        InfoFeature()(wrap(module, maps_layer="0").eval(), images(2), labels(2))
    with pytest.raises(UsageError, match="The layer 0 is Conv2d; the head must be linear"):
        InfoFeature()(wrap(module, head_layer="0").eval(), images(2), labels(2))


@pytest.mark.parametrize("attack", [InfoFeature(), AdversarialInterpolation(), FeatureScatter()])
def test_labels_without_a_class_are_refused(attack):
    with pytest.raises(UsageError, match=r"Labels lie in 0\.\.3; f gives 3 classes"):
        attack(classifier(), images(2), torch.tensor([0, 3]))


def test_among_others_each_attack_sees_what_it_looks_at():
    model, x, y, noise = case()
    both = Worst((PGD(Linf(0.02), steps=1), InfoFeature(Linf(0.02), steps=2)))
    x_adv = both(model, x, y, noise)
    assert float((x_adv - x).abs().max()) <= 0.02
    assert Restarts(InfoFeature(Linf(0.02), steps=2), 2)(model, x, y, noise).shape == x.shape
    with pytest.raises(UsageError, match=r"Labels are torch\.int64 \(6, 2\)"):
        Targeted(InfoFeature(steps=1), 1)(model, x, y, noise)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": -1}, "steps is -1"),
        ({"step_size": -0.1}, r"step_size is -0\.1; it must be at least 0, or None for eps / 4"),
        ({"weight": -1.0}, r"weight is -1\.0"),
        ({"ce_weight": -1.0}, r"ce_weight is -1\.0; it must be at least 0"),
        ({"weight": 0.0, "ce_weight": 0.0}, r"ce_weight is 0\.0; it must be above 0 where weight is 0"),
        ({"ce_weight": 0.0, "start_at": "image"}, "start_at is 'image'; it must be another where ce_weight is 0"),
        ({"floor": 0.0}, r"floor is 0\.0; it must be above 0"),
        ({"classes": "both"}, "classes is 'both'"),
        ({"distance": "linf"}, "distance is 'linf'; it must be 'l2' or 'squared' or 'l1' or 'cosine'"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        InfoFeature(**change)


# feature scatter and interpolation


COUPLED = [
    FeatureScatter(Linf(0.1)),
    FeatureScatter(L2(0.5), steps=3, step_size=0.2, on="features"),
    AdversarialInterpolation(Linf(0.1)),
    AdversarialInterpolation(L2(0.5), steps=3, step_size=0.2, on="logits"),
]
every = pytest.mark.parametrize("attack", COUPLED, ids=str)


def test_feature_scatter_takes_a_step_of_eps_up_the_transport_of_the_logits():
    model, x, y, noise = case()
    start = Linf(0.1).sample(x, noise)
    at = start.clone().requires_grad_()
    a, b = (z / z.norm(dim=1, keepdim=True) for z in (model(x).detach(), model(at)))
    cost = (1 - a @ b.T).clamp_min(0)
    u, v = torch.zeros(6, 1, dtype=torch.float64), torch.zeros(1, 6, dtype=torch.float64)
    for _ in range(100):
        before = u
        u = u + 0.01 * (-torch.tensor(6.0).log() - (((u + v - cost) / 0.01).exp().sum(1, keepdim=True) + 1e-6).log())
        v = v + 0.01 * (-torch.tensor(6.0).log() - (((u + v - cost) / 0.01).exp().sum(0, keepdim=True) + 1e-6).log())
        if float((u - before).detach().abs().sum()) < 0.1:
            break
    (gradient,) = torch.autograd.grad((((u + v - cost) / 0.01).exp() * cost).sum(), at)
    expected = (start + 0.1 * gradient.sign()).clamp(x - 0.1, x + 0.1).clamp(0, 1)
    assert torch.allclose(FeatureScatter(Linf(0.1))(model, x, y, noise), expected, atol=1e-7)


def test_feature_scatter_on_logits_needs_no_more_than_a_function():
    x_adv = FeatureScatter(Linf(0.1))(plainly, images(5), labels(5))
    assert torch.equal(x_adv, FeatureScatter(Linf(0.1))(smooth(), images(5), labels(5)))


def test_interpolation_takes_a_step_of_eps_towards_the_features_of_the_batch_reversed():
    model, x, y, noise = case(5)  # the third is its own partner
    start = Linf(0.1).sample(x, noise)
    at = start.clone().requires_grad_()
    cosine = nn.functional.cosine_similarity(model.features(at), model.features(x)[[4, 3, 2, 1, 0]].detach())
    (gradient,) = torch.autograd.grad((1 - cosine).sum(), at)
    expected = (start - 0.1 * gradient.sign()).clamp(x - 0.1, x + 0.1).clamp(0, 1)
    assert torch.allclose(AdversarialInterpolation(Linf(0.1))(model, x, y, noise), expected, atol=1e-7)


def test_more_steps_go_further():
    model, x, y, noise = case()

    def away(attack: AdversarialInterpolation) -> float:
        features = model.features(attack(model, x, y, noise))
        return float((1 - nn.functional.cosine_similarity(features, model.features(x).flip(0))).mean().detach())

    none, many = (away(AdversarialInterpolation(Linf(0.1), steps=steps, step_size=0.02)) for steps in (0, 15))
    assert many < 0.8 * none


@every
def test_they_couple_the_batch_and_are_no_stream(attack):
    model, x, y, noise = case()
    assert attack.group == 100
    assert attack.stages == ()
    whole, alone = attack(model, x, y, noise), attack(model, x[:4], y[:4], noise[:4])
    assert not torch.allclose(whole[:4], alone, atol=1e-3)
    assert PGD().group is None
    assert InfoFeature().group is None


@every
def test_they_stay_in_the_ball_whatever_the_labels_and_leave_the_network_alone(attack):
    model, x = classifier().train(), images(6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x_adv = attack(model, x, labels(6))
    assert torch.equal(x_adv, attack(model, x, (labels(6) + 1) % 3))
    assert float(attack.ball.distance(x_adv.double(), x.double()).max()) <= attack.ball.eps
    assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1
    assert not x_adv.requires_grad
    assert bool((x_adv != x).flatten(1).any(1).all())
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@every
def test_they_describe_themselves(attack):
    assert rebuild(describe(attack), type(attack)) == attack
    assert str(attack.ball) in attack.summary
    assert attack.on in attack.summary


def test_combinations_refuse_what_has_no_stages():
    for attack in COUPLED:
        with pytest.raises(UsageError, match="by iterations"):
            Restarts(attack, 2)
        with pytest.raises(UsageError, match="by iterations"):
            Targeted(attack, 2)
        with pytest.raises(UsageError, match="by iterations"):
            Worst((attack,))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FeatureScatter(steps=-1), "steps is -1"),
        (lambda: AdversarialInterpolation(step_size=-1.0), "at least 0, or None for eps"),
        (lambda: FeatureScatter(regularisation=0.0), "regularisation is 0"),
        (lambda: FeatureScatter(iterations=0), "iterations is 0"),
        (lambda: FeatureScatter(tolerance=-1.0), "tolerance is -1"),
    ],
)
def test_their_settings_out_of_range_are_refused(make, said):
    with pytest.raises(UsageError, match=said):
        make()
