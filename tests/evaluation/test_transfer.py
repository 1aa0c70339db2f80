"""Transfer: networks averaged, and attacks that see another network than the one that judges."""

import pytest
import torch
from torch import nn

from hardy.attacks import APGD, FAB, NATTACK, PGD, InfoFeature, Linf, Square
from hardy.attacks.attack import Forward
from hardy.data.split import Split
from hardy.errors import UsageError
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.stream import classify, under_attack
from hardy.evaluation.transfer import Averaged, surrogate
from hardy.models.classifier import frozen
from hardy.randomness import Noise
from toys import classifier, images, predicted, smooth, split

INF = Linf(0.15)


def test_logits_are_the_mean_of_the_networks():
    one, other, x = smooth(seed=1), smooth(seed=2), images(4)
    expected = (one(x) + other(x) + x.flatten(1)[:, :3]) / 3
    torch.testing.assert_close(Averaged([one, other, lambda x: x.flatten(1)[:, :3]])(x), expected)


def test_evaluation_mode_reaches_the_networks_and_is_undone():
    one, other, x = classifier(seed=1), classifier(seed=2), images(4)
    expected = (one(x) + other(x)) / 2
    averaged = Averaged([one.train(), other, lambda x: torch.zeros(len(x), 3)]).train()
    with frozen(averaged):
        assert not one.training
        assert not other.training
        assert not any(p.requires_grad for p in (*one.parameters(), *other.parameters()))
        torch.testing.assert_close(averaged(x), expected * 2 / 3)
    assert one.training
    assert other.training
    assert all(p.requires_grad for p in (*one.parameters(), *other.parameters()))


def test_the_networks_move_to_another_type_together():
    averaged = Averaged([classifier(seed=1), classifier(seed=2)]).double()
    assert averaged(images(2, dtype=torch.float64)).dtype == torch.float64


def test_a_surrogate_is_one_network_or_the_mean_of_several():
    one, other = smooth(seed=1), smooth(seed=2)
    assert surrogate(None) is None
    assert surrogate(one) is one
    assert surrogate([one]) is one
    averaged = surrogate((one, other))
    assert isinstance(averaged, Averaged)
    assert averaged.networks == (one, other)
    stacked = nn.Sequential(one)  # a list of layers, but a network
    assert surrogate(stacked) is stacked


@pytest.mark.parametrize("given", [[], ["runs/mine"], [None], "runs/mine", 3])
def test_what_is_no_network_is_refused(given):
    with pytest.raises(UsageError, match="network"):
        surrogate(given)


def twins(n: int = 64) -> tuple[nn.Module, nn.Module, Split]:
    """Two float64 networks that resemble each other, none of whose classes leads by much; images labelled by the first."""
    made = []
    for strength in (0.0, 0.3):
        model = classifier(5, seed=1).double()
        with torch.no_grad():
            model.linear.bias -= model(split(n, classes=5, seed=1).x()).mean(0)
            for name, weight in model.named_parameters():
                weight.mul_(1 + strength * Noise.of_batch(1, purpose=name).normal(weight.shape)[0])
        made.append(model)
    return made[0], made[1], split(n, made[0], 5, seed=1)


ATTACKS = {
    "pgd": PGD(INF, steps=4),
    "apgd": APGD(INF, steps=6),
    "fab": FAB(INF, steps=4),
    "square": Square(INF, queries=20),
    "nattack": NATTACK(INF, steps=4, population=4, test_every=1, learning_rate=0.2),
    "infofeature": InfoFeature(INF, steps=3),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("batch", [7, 64])
def test_transfer_is_attacking_one_network_by_hand_and_showing_what_comes_out_to_another(attack, batch):
    model, other, data = twins()
    clean = classify(model, data).correct
    x_adv = attack(other, data.x(), data.labels, Noise(0, data.indices, purpose="evaluation"))
    expected = clean & (predicted(model, x_adv) == data.labels)
    outcome = under_attack(model, data, attack, batch=batch, craft_on=other, keep=True)
    assert 0 < int(outcome.correct.sum()) < 64
    assert torch.equal(outcome.correct, expected)
    torch.testing.assert_close(outcome.x_adv[~expected], x_adv[~expected], rtol=0, atol=1e-6)
    assert not torch.equal(outcome.correct, under_attack(model, data, attack).correct)


def test_an_attack_crafted_on_the_judges_twin_is_the_attack_on_the_judge():
    (model, _, data), (twin, _, _) = twins(), twins()
    attack = PGD(INF, steps=4)
    assert torch.equal(
        under_attack(model, data, attack, craft_on=twin).correct, under_attack(model, data, attack).correct
    )


def counting(model: nn.Module, seen: list[bool]) -> Forward:
    """The network as one that notes whether a pass had a gradient."""

    class Noted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x):
            seen.extend([x.requires_grad] * len(x))
            return self.model(x)

    return Noted()


def test_the_judge_sees_no_gradient_and_the_passes_through_all_networks_are_counted():
    judge, one, other = [], [], []
    model = classifier(seed=1)
    data = split(20, model, seed=1)
    surrogates = [counting(classifier(seed=2), one), counting(classifier(seed=3), other)]
    outcome = under_attack(
        counting(model, judge), data, PGD(INF, steps=3), classify(model, data).correct, craft_on=Averaged(surrogates)
    )
    assert judge == [False] * 20
    assert one == other == [True] * 60
    assert (outcome.forwards, outcome.backwards) == (80, 60)  # an ensemble's pass counts once


def test_evaluate_crafts_on_what_it_is_given():
    model, other, data = twins()
    others = [other, classifier(5, seed=4)]
    (row,) = evaluate(model, data, {"pgd": PGD(INF, steps=4)}, craft_on=others, batch=7)
    expected = under_attack(model, data, PGD(INF, steps=4), craft_on=Averaged(others)).correct
    assert row.value == float(expected.double().mean())
    assert 0 < row.value < 1
    with pytest.raises(UsageError, match="craft_on"):
        evaluate(model, data, ["pgd-3"], craft_on=[])
    with pytest.raises(UsageError, match="network gives"):
        evaluate(model, data, ["pgd-3"], craft_on=classifier(classes=4))


def test_a_network_in_training_mode_is_crafted_on_in_evaluation_mode():
    model, other, data = twins()
    expected = under_attack(model, data, PGD(INF, steps=4), craft_on=other).correct
    assert not bool(expected.all())
    assert torch.equal(under_attack(model, data, PGD(INF, steps=4), craft_on=other.train()).correct, expected)
    assert other.training
