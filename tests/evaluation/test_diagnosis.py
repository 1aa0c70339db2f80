"""Diagnoses of networks that are masked by construction, and of honest ones: the verdict is right on all, over three seeds."""

import dataclasses
import json
from functools import cache

import pytest
import torch
from torch import nn

from hardy.attacks import L2, PGD, Linf
from hardy.data import Digits
from hardy.errors import UsageError
from hardy.evaluation import sign_kinds as kinds
from hardy.evaluation.diagnosis import QUICK, Plan, diagnose
from hardy.losses.logits import soft_cross_entropy
from hardy.models import small_cnn
from hardy.randomness import Noise
from toys import images, linear, predicted, smooth, split, split_of

BALL = Linf(0.1)


class Scaled(nn.Module):
    """Logits times 1000: cross-entropy is 0 to the last bit, and so is its gradient (defensive distillation)."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return 1000 * self.model(x)


class Quantised(nn.Module):
    """Nine shades of grey: the gradient of rounding is 0."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(torch.round(8 * x) / 8)


class Randomised(nn.Module):
    """Noise is added to every image, another one each time."""

    def __init__(self, model, deviation=0.2):
        super().__init__()
        self.model, self.deviation, self.passes = model, deviation, 0

    def forward(self, x):
        self.passes += 1
        drawn = Noise.of_batch(len(x), step=self.passes, purpose="layer").normal(x.shape[1:])
        return self.model(x + self.deviation * drawn)


class Saturated(nn.Module):
    """A sigmoid so steep that it is 0 or 1, and its gradient 0, almost everywhere."""

    def __init__(self, model, slope=100):
        super().__init__()
        self.model, self.slope = model, slope

    def forward(self, x):
        return self.model(torch.sigmoid(self.slope * (x - 0.5)))


class SaturatedInside(nn.Module):
    """The network's rectifiers become steep hyperbolic tangents."""

    def __init__(self, model, slope=30):
        super().__init__()
        self.model = model
        for at, layer in enumerate(model.layers):
            if isinstance(layer, nn.ReLU):
                model.layers[at] = Steep(slope)

    def forward(self, x):
        return self.model(x)


class Steep(nn.Module):
    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, z):
        return torch.tanh(self.slope * z)


@pytest.fixture(scope="module")
def digits():
    return Digits(canvas=8, placement="centre").load()


def trained(data, seed, *, around=lambda model: model, adversarial=False, smoothing=0.0, steps=200, width=8):
    """A small network after some hundred steps; `around` puts something around it, before.

    It is trained in float64, so that it is the same on every processor: what rounding in float32 does to it grows with the steps.
    """
    model = small_cnn(width).build(10, 1, Noise.of_batch(1, seed)).double()
    whole = around(model)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(steps):
        rows = Noise.of_batch(1, seed, step=step, purpose="rows").permutation(len(data))[0, :64]
        x, y = data.x(rows).double(), data.labels[rows]
        if adversarial:
            x = PGD(BALL, steps=5)(whole, x, y, Noise.of_batch(len(x), seed, step=step))
        optimizer.zero_grad()
        logits = whole.train()(x)
        target = torch.full_like(logits, smoothing / 10).scatter_(1, y[:, None], 1 - 0.9 * smoothing)
        soft_cross_entropy(logits, target).mean().backward()
        optimizer.step()
    return whole.float().eval()


def result(diagnosis, sort):
    return next(sign.result for sign in diagnosis.signs if sign.name == sort.name)


SEEDS = [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)]
SHORT = dataclasses.replace(QUICK, images=40, square_queries=200)


@pytest.fixture(scope="module")
def plain(digits):
    """seed -> a plainly trained network, trained once."""
    return cache(lambda seed: trained(digits[0], seed))


def short(model, data, seed=0, plan=SHORT, **more):
    return diagnose(model, data, ball=BALL, plan=plan, seed=seed, **more)


@pytest.mark.parametrize("seed", SEEDS)
def test_scaled_logits_are_masked(digits, plain, seed):
    found = short(Scaled(plain(seed)), digits[1], seed)
    assert found.verdict == "masked"
    assert result(found, kinds.GRADIENT) == "seen"
    assert result(found, kinds.CHANCE) == "seen"


def test_a_network_that_torch_cannot_follow_is_masked(digits, plain):
    model = plain(0)
    found = short(lambda x: model((x > 0.5).float()), digits[1])
    assert found.verdict == "masked"
    assert result(found, kinds.GRADIENT) == "seen"
    assert found.network == "function"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("around", [Quantised, Saturated])
def test_quantised_input_and_a_saturating_first_layer_are_masked(digits, around, seed):
    found = short(trained(digits[0], seed, around=around), digits[1], seed)
    assert found.verdict == "masked"
    assert result(found, kinds.GRADIENT) == "seen"


@pytest.mark.parametrize("seed", SEEDS)
def test_saturating_activations_are_masked_whose_gradients_are_not_zero_but_lead_astray(digits, seed):
    more = dataclasses.replace(SHORT, images=100)  # at 40 the black box breaks too few for a strong sign
    found = short(trained(digits[0], seed, around=SaturatedInside), digits[1], seed, more)
    assert found.verdict == "masked"
    assert result(found, kinds.AUTOATTACK) == "seen"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_randomised_layer_never_gets_no_sign(digits, seed):
    found = short(trained(digits[0], seed, around=Randomised), digits[1], seed)
    # "suspicious" at least: with little noise averaging gains nothing, and PGD's number is about right
    assert found.verdict in ("suspicious", "masked")
    assert result(found, kinds.CHANGING) == "seen"
    assert result(found, kinds.SQUARE) == "not tested"  # it would break images by looking often enough


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_label_smoothing_taken_far_is_masked(digits, seed):
    model = trained(digits[0], seed, smoothing=0.995, steps=600)  # by 0.99 some are masked, some suspicious
    plan = Plan(apgd_t_steps=30, fab_steps=2, target_classes=5, square_queries=50, nattack_images=0)
    found = short(model, digits[1], seed, plan)
    assert found.verdict == "masked"
    assert result(found, kinds.AUTOATTACK) == result(found, kinds.MARGIN) == "seen"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("adversarial", [False, True], ids=["plainly", "adversarially"])
def test_honest_networks_get_no_sign(digits, plain, seed, adversarial):
    model = trained(digits[0], seed, adversarial=True, steps=120) if adversarial else plain(seed)
    found = short(model, digits[1], seed, surrogate=plain(seed) if adversarial else None)
    assert (found.verdict, [sign.name for sign in found.signs if sign.result == "seen"]) == ("no sign", [])
    assert sum(sign.result == "not seen" for sign in found.signs) == (12 if adversarial else 11)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("adversarial", [False, True], ids=["plainly", "adversarially"])
def test_honest_networks_get_no_sign_where_more_images_make_the_tests_sharper(digits, plain, seed, adversarial):
    model = trained(digits[0], seed, adversarial=True, steps=120) if adversarial else plain(seed)
    plan = Plan(apgd_t_steps=30, fab_steps=5, target_classes=5, square_queries=50, nattack_images=0)
    found = diagnose(
        model, digits[1], ball=Linf(0.15), plan=plan, seed=seed
    )  # where PGD-20 leaves few, others find most
    assert (found.verdict, [sign.name for sign in found.signs if sign.result == "seen"]) == ("no sign", [])


class FlatNearby(nn.Module):
    """All but flat within 0.2 of grey, as networks are within the radius of adversarial training, and steep beyond."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        u = x - 0.5
        return self.model(0.5 + 0.01 * u + 5 * u.sign() * torch.relu(u.abs() - 0.2))


def test_a_network_that_pgd_breaks_wholly_is_not_masked_though_noise_does_more_than_its_gradients_allow():
    model = FlatNearby(linear())
    x = images(40, low=0.4, high=0.6)
    found = diagnose(model, split_of(x, predicted(model, x), 2), ball=Linf(0.45), plan=Plan(40, 10, 5, 1, 20, 0))
    measured = {row.what: row.value for row in found.rows}
    assert measured["share with a useful gradient"] < 0.2
    assert measured["accuracy under PGD-20"] == 0
    assert (found.verdict, result(found, kinds.GRADIENT)) == ("no sign", "not seen")


def toy(model, n=24, classes=3, **more):
    plan = Plan(30, 10, 5, 2, 20, 2, 2)
    return diagnose(model, split(n, model, classes), **{"ball": Linf(0.05), "plan": plan, **more})


def test_each_measurement_is_made_once_and_the_cost_is_theirs():
    told = []
    found = toy(smooth(), progress=lambda *now: told.append(now[0]))
    measured = [row.what for row in found.rows]
    assert len(set(measured)) == len(measured)
    assert {"clean", "noise", "passes", "gradients", "PGD-20", "Square"} <= set(told)
    assert {f"accuracy under {name}" for name in ("PGD-20", "FGSM", "CW-20", "NATTACK", "noise")} <= set(measured)
    for cost in ("seconds", "forwards", "backwards"):
        assert getattr(found, cost) == sum(getattr(row, cost) for row in found.rows) > 0


def test_a_row_says_which_images_were_attacked():
    rows = {row.what: row.settings for row in toy(smooth()).rows}
    assert rows["accuracy under apgd-ce"]["images"] == "what PGD-20 left"
    assert rows["accuracy under fab-t"]["images"] == "what PGD-20, apgd-ce, apgd-t left"


def test_a_diagnosis_becomes_json_and_comes_back():
    found = toy(smooth(), run="toy", settings={"weights": "best"})
    read = json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))
    assert read["verdict"] == found.verdict
    assert [sign["name"] for sign in read["signs"]] == [kind.name for kind in kinds.KINDS]
    assert {(row["run"], row["settings"]["weights"]) for row in read["rows"]} == {("toy", "best")}
    assert (read["n"], read["plan"]["square_queries"], read["ball"]) == (24, 20, "Linf 0.05")
    assert "Smooth" in read["network"]


def test_the_same_seed_gives_the_same_diagnosis_whatever_the_batch():
    one, other = (toy(smooth(), seed=5, batch=batch) for batch in (24, 7))
    assert [dict(sign.numbers) for sign in one.signs] == [dict(sign.numbers) for sign in other.signs]
    assert [sign.p for sign in one.signs] == [sign.p for sign in other.signs]


def test_the_network_is_left_as_it_was():
    model = smooth().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    toy(model)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


@pytest.mark.parametrize("ball", [Linf(0.02), L2(0.1)])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_networks_of_few_classes_can_be_diagnosed_in_either_norm(ball, classes):
    found = toy(smooth(classes), classes=classes, ball=ball)
    assert [sign.name for sign in found.signs] == [kind.name for kind in kinds.KINDS]
    # in the largest ball there is the same grey image for all
    grey = next(sign for sign in found.signs if sign.name == kinds.CHANCE.name).numbers["eps"]
    assert grey == (0.5 if isinstance(ball, Linf) else 2.0)  # half the root of 16 pixels


def test_too_few_images_never_give_a_verdict_but_no_sign():
    model = linear()
    found = diagnose(lambda x: 1000 * model(x), split(1, model, 2), ball=Linf(0.001), plan=Plan(1, 2, 2, 1, 5, 1, 2))
    assert found.verdict == "no sign"
    assert not [sign for sign in found.signs if sign.result == "seen"]
    assert "1 of 14 signs could be tested" in found.why  # a single image may show that outputs change


def test_a_network_that_is_right_on_nothing_gets_no_sign_and_is_not_attacked():
    model, shown = smooth(), []

    def counted(x):
        shown.append(len(x))
        return model(x)

    right = split(24, model)
    wrong = dataclasses.replace(right, labels=(right.labels + 1) % 3)
    found = diagnose(counted, wrong, ball=Linf(0.05), batch=24)
    assert (found.verdict, min(shown)) == ("no sign", 2)  # two images to begin with, and never none
    assert "1 of 14 signs could be tested" in found.why
    assert found.backwards == 0


def test_a_confident_network_has_useful_gradients_and_one_whose_loss_is_zero_to_the_last_bit_has_none():
    model = linear()
    data = split(40, model, 2)
    factor = 30 / model.margin(data.x(), data.labels).detach().abs().median()
    for scale, zero in ((1, False), (1000, True)):
        found = toy(lambda x, scale=scale: scale * factor * model(x), classes=2, n=40)
        assert result(found, kinds.GRADIENT) == ("seen" if zero else "not seen")


def test_transfer_is_tested_where_there_is_a_network_to_craft_on():
    model = smooth()
    assert result(toy(model), kinds.TRANSFER) == "not tested"
    assert result(toy(model, surrogate=smooth(seed=1)), kinds.TRANSFER) in ("not seen", "not enough images")
    # the loss is 0 to the last bit; the surrogate is the same network as it was before
    assert result(toy(lambda x: 1e6 * model(x), surrogate=model, ball=Linf(0.2)), kinds.TRANSFER) == "seen"


class Misleading(nn.Module):
    """Outputs change a little from pass to pass, gradients a lot; the mean of many passes points uphill."""

    def __init__(self, model):
        super().__init__()
        self.model, self.passes = model, 0

    def forward(self, x):
        self.passes += 1
        drawn = Noise.of_batch(len(x), step=self.passes, purpose="layer").normal(x.shape[1:])
        return self.model(x + 8 * drawn * (x - x.detach()) + 1e-3 * drawn)


def test_a_random_network_whose_averaged_gradients_break_more_is_masked():
    model = linear(2, (1, 8, 8))
    found = diagnose(Misleading(model), split(100, model, 2, (1, 8, 8)), ball=Linf(0.1), plan=Plan(100, 1, 1, 1, 1, 0))
    assert result(found, kinds.AVERAGED) == "seen"
    assert found.verdict == "masked"


def test_what_cannot_be_diagnosed_is_refused():
    model = smooth()
    for asked, said in (
        ({"ball": Linf(0.0)}, "ball is"),
        ({"ball": 0.1}, "ball is 0.1"),
        ({"batch": 0}, "batch is 0"),
        ({"seed": "1"}, "seed is"),
        ({"surrogate": smooth(5)}, "logits"),
    ):
        with pytest.raises(UsageError, match=said):
            toy(model, **asked)
    with pytest.raises(UsageError, match="n is 0"):
        toy(model, n=0)
