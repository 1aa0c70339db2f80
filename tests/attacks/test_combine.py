"""Attacks made of attacks: what each stage is given, and what is handed back."""

from typing import Any

import pytest
import torch
from torch import Tensor

from hardy.attacks import (
    APGD,
    FAB,
    L2,
    NATTACK,
    PGD,
    AdversarialInterpolation,
    AutoAttack,
    CrossEntropy,
    Foreign,
    Iterative,
    Linf,
    Restarts,
    Square,
    State,
    Targeted,
    TargetedDLR,
    TargetedMargin,
    Worst,
    fgsm,
)  # fmt: skip
from hardy.attacks.combine import Toward
from hardy.errors import UsageError
from hardy.evaluation.stream import under_attack
from hardy.randomness import Noise
from toys import images, labels, linear, predicted, smooth, split

N = 12


class Recorder(Iterative):
    """Hands the images back as they are, and remembers what it was given."""

    ball = Linf(0.1)
    iterations = 0
    summary = "a recorder"

    def __init__(self) -> None:
        self.given: list[tuple[Tensor, Tensor, Noise]] = []

    def start(self, f: Any, x: Tensor, target: Any, noise: Noise) -> State:
        self.given.append((x, target, noise))
        step = torch.zeros(len(x), dtype=torch.int64)
        return State(x.clone(), step == 0, step)

    def advance(self, f: Any, x: Tensor, target: Any, state: State) -> State:
        return state


def shown_to(model: Any) -> tuple[Any, list[Tensor]]:
    """The network, and the list of batches that will have been shown to it."""
    shown: list[Tensor] = []
    return lambda x: shown.append(x.detach()) or model(x), shown


def near_the_boundary(model: Any, n: int = N) -> tuple[Tensor, Tensor]:
    """Images that random noise breaks now and then, and the network's labels."""
    x = images(n, low=0.45, high=0.55)
    return x, predicted(model, x)


# what each stage is given


def test_every_stage_has_random_numbers_of_its_own():
    model, x = linear(), images(N)
    recorder = Recorder()
    Restarts(recorder, 3)(model, x, predicted(model, x), Noise.of_batch(N, 5))
    bits = [noise.bits((4,)) for _, _, noise in recorder.given]
    assert len(bits) == 3
    assert len({tuple(b.flatten().tolist()) for b in bits}) == 3
    assert bits[1].equal(Noise.of_batch(N, 5).derive("stage 1").bits((4,)))


def test_an_attack_once_has_the_numbers_it_has_alone():
    attack, noise = PGD(Linf(0.1), steps=2), Noise.of_batch(N)
    assert Restarts(attack, 1).noises(noise) == [noise]
    model = linear()
    x, y = near_the_boundary(model)
    alone, once = attack(model, x, y, noise), Restarts(attack, 1)(model, x, y, noise)
    broken = predicted(model, alone) != y
    assert broken.any()
    assert torch.equal(once[broken], alone[broken])


def test_numbers_of_an_image_are_its_own_in_every_stage():
    model = linear()
    x, y = near_the_boundary(model)
    noise, attack = Noise.of_batch(N), Restarts(PGD(Linf(0.02), steps=0), 4)
    together = attack(model, x, y, noise)
    assert torch.equal(together[3:5], attack(model, x[3:5], y[3:5], noise[3:5]))


def test_restarts_attack_only_what_is_unbroken_and_hand_back_what_broke_first():
    model = linear()
    x, y = near_the_boundary(model)
    y[0] = 1 - y[0]
    one, noise = PGD(Linf(0.1), steps=0), Noise.of_batch(N, 3)
    f, shown = shown_to(model)
    got = Restarts(one, 6)(f, x, y, noise)

    expected, left, sizes = x.clone(), (torch.arange(N) > 0), [N]
    for i in range(6):
        tried = one(model, x, y, noise.derive(f"stage {i}") if i else noise)
        if left.any():
            sizes.append(int(left.sum()))
        broken = left & (predicted(model, tried) != y)
        expected[broken] = tried[broken]
        left &= ~broken
    assert [len(batch) for batch in shown] == sizes
    assert len(set(sizes)) > 3
    assert torch.equal(got, expected)
    assert torch.equal(got[0], x[0])  # misclassified as it is


def test_an_image_that_nothing_breaks_is_handed_back_as_it_was():
    model, x = linear(), images(N)
    y = predicted(model, x)
    for attack in (
        Restarts(PGD(Linf(1e-4), steps=2), 2),
        Worst((PGD(Linf(1e-4)), Square(Linf(1e-4), 5))),
        Targeted(PGD(Linf(1e-4), loss=TargetedMargin()), 2),
    ):
        x_adv = attack(model, x, y)
        held = predicted(model, x_adv) == y
        assert held.sum() >= N - 1
        assert torch.equal(x_adv[held], x[held])


def test_the_worst_case_is_broken_where_one_of_its_parts_breaks_it_and_as_the_first_of_these_left_it():
    model, noise = smooth(4, seed=10), Noise.of_batch(N, 2)
    x = images(N)
    y = predicted(model, x)
    parts = (fgsm(Linf(0.05)), PGD(Linf(0.05), steps=8), Square(Linf(0.05), 30))
    worst = Worst(parts)
    expected, left = x.clone(), torch.ones(N, dtype=torch.bool)
    for part, drawn in zip(parts, worst.noises(noise), strict=True):
        tried = part(model, x, y, drawn)
        broken = left & (predicted(model, tried) != y)
        expected[broken] = tried[broken]
        left &= ~broken
    assert 0 < left.sum() < N
    assert torch.equal(worst(model, x, y, noise), expected)


def test_stages_of_nested_attacks_come_in_order():
    a, b = PGD(Linf(0.1), loss=TargetedMargin()), FAB(Linf(0.1))
    assert Worst((Restarts(a, 2), b)).stages == (a, a, b)
    assert Restarts(Worst((a, b)), 2).stages == (a, b, a, b)
    assert Targeted(Restarts(a, 2), 2).stages == (Toward(a, 1), Toward(a, 1), Toward(a, 2), Toward(a, 2))
    assert Restarts(Targeted(a, 2), 2).stages == (Toward(a, 1), Toward(a, 2)) * 2


def test_what_several_attacks_are_together():
    black_box = NATTACK(Linf(0.1), population=7)
    both = Worst((PGD(Linf(0.1)), black_box))
    assert both.copies == Restarts(black_box, 2).copies == Toward(black_box).copies == 7
    assert both.stops_at_success
    assert Toward(black_box).stops_at_success
    assert not Restarts(PGD(Linf(0.1)), 2).stops_at_success
    assert both.group is None
    assert list(both.parts) == [attack.summary for attack in both.attacks]
    assert Restarts(black_box, 2).parts == {f"{black_box.summary}, 2 times": Restarts(black_box, 2)}
    assert Targeted(FAB(), 3).summary == f"{FAB().summary}, towards each of the 3 likeliest wrong classes"


# towards classes


def test_wanted_classes_are_ranked_by_the_scores_of_the_unperturbed_image():
    z = torch.tensor([[5.0, 1.0, 4.0, 3.0], [0.0, 9.0, 2.0, 2.0]])
    x = images(2)
    recorder = Recorder()
    Targeted(recorder, 3)(lambda x: z[: len(x)], x, torch.tensor([0, 1]), Noise.of_batch(2))
    pairs = [target.tolist() for _, target, _ in recorder.given]
    # equal scores in the order of the classes
    assert pairs == [[[0, 2], [1, 2]], [[0, 3], [1, 3]], [[0, 1], [1, 0]]]
    assert all(torch.equal(given, x) for given, _, _ in recorder.given)


def test_a_label_that_is_not_the_prediction_is_no_wanted_class():
    z = torch.tensor([[5.0, 1.0, 4.0]])
    for rank, wanted in ((1, 0), (2, 1)):
        state = Toward(Recorder(), rank).start(lambda x: z, images(1), torch.tensor([2]), Noise.of_batch(1))
        assert state.pairs.tolist() == [[2, wanted]]


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_on_a_linear_network_the_corner_towards_each_class_is_tried_in_turn(ranks):
    eps, model = 0.06, linear(6, seed=1)
    x = images(40, low=eps, high=1 - eps)
    y = predicted(model, x)
    attack = Targeted(PGD(Linf(eps), steps=6, start_at="image", loss=TargetedMargin()), ranks)
    expected, left = x.clone(), torch.ones(40, dtype=torch.bool)
    order = model(x).argsort(dim=1, descending=True)[:, 1:]
    for rank in range(ranks):
        corner = (x + eps * (model.weight[order[:, rank]] - model.weight[y]).sign()).detach()
        broken = left & (predicted(model, corner) != y)
        expected[broken] = corner[broken]
        left &= ~broken
    got = attack(model, x, y)
    assert 0 < left.sum() < 40
    assert torch.equal(predicted(model, got) == y, left)
    assert torch.allclose(got, expected, rtol=0, atol=1e-6)


def test_an_image_that_the_likeliest_class_does_not_break_may_be_broken_towards_the_next():
    # towards the first rival the label's own score rises as well; the second has the opposite weights
    model = linear(3)
    with torch.no_grad():
        model.weight[1], model.weight[2] = 1.01 * model.weight[0], -model.weight[0]
        model.bias.copy_(torch.tensor([0.0, -0.1, 0.0]) - model.weight.sum((1, 2, 3)) / 2)  # on grey: 0, -0.1, 0
    x = 0.5 + 0.01 * model.weight[:1].detach()
    y = torch.tensor([0])
    scores = model(x)[0]
    assert scores[0] > scores[1] > scores[2]
    one, two = (
        Targeted(PGD(Linf(0.1), start_at="image", loss=TargetedMargin()), ranks)(model, x, y) for ranks in (1, 2)
    )
    assert torch.equal(one, x)
    assert predicted(model, two).tolist() == [2]


@pytest.mark.parametrize("inner", [APGD(Linf(0.1), 6, TargetedDLR()), FAB(Linf(0.1), steps=5), Square(Linf(0.1), 30)])
def test_a_network_with_fewer_classes_is_attacked_towards_those_it_has(inner):
    model, noise = smooth(4, seed=10), Noise.of_batch(N)
    x = images(N)
    y = predicted(model, x)
    nine, three = (Targeted(inner, ranks)(model, x, y, noise) for ranks in (9, 3))
    assert (predicted(model, three) != y).any()
    assert torch.equal(nine, three)


@pytest.mark.parametrize("classes", [4, *(pytest.param(more, marks=pytest.mark.slow) for more in (5, 9))])
def test_autoattack_evaluates_networks_with_fewer_than_ten_classes(classes):
    data = split(20, smooth(classes, seed=10), classes)
    outcome = under_attack(smooth(classes, seed=10), data, AutoAttack(Linf(0.005)), batch=15)
    assert 0 < int(outcome.correct.sum()) <= 20


def test_a_class_that_there_is_not_costs_one_pass_to_find_that_out():
    model, x = smooth(3), images(N)
    y = predicted(model, x)
    f, shown = shown_to(model)
    stage = Toward(FAB(Linf(0.1)), 3)
    state = stage.start(f, x, y, Noise.of_batch(N))
    assert state.done.all()
    assert torch.equal(state.step, torch.full((N,), 100))  # so that evaluation, too, takes it for finished
    assert stage.advance(f, x, y, state) is state
    assert [len(batch) for batch in shown] == [N]
    again = type(state).cat([state.select(torch.arange(4)), state.select(torch.arange(4, N))])
    assert torch.equal(again.x_adv, x)


# in evaluation


@pytest.mark.parametrize(
    "attack",
    [
        Restarts(PGD(Linf(0.05), steps=1), 3),
        Targeted(APGD(Linf(0.05), 5, TargetedDLR()), 9),
        Targeted(FAB(Linf(0.05), steps=3), 9),
        Worst((fgsm(Linf(0.05)), Targeted(Square(Linf(0.05), 5), 2), APGD(Linf(0.05), 4))),
    ],
    ids=["restarts", "apgd-t", "fab-t", "worst"],
)
@pytest.mark.parametrize("batch", [4, 50])
def test_evaluation_gives_the_verdicts_of_a_call_at_the_same_cost(attack, batch, monkeypatch):
    monkeypatch.setattr("hardy.attacks.square._TOGETHER", 1)  # in a stream it asks several queries at once
    model = smooth(4, seed=10)
    data = split(30, model, 4)
    x, y = data.x(), data.labels
    f, shown = shown_to(model)
    x_adv = attack(f, x, y, Noise(1, data.indices, purpose="evaluation"))
    outcome = under_attack(model, data, attack, seed=1, batch=batch, keep=True)
    assert 0 < outcome.correct.sum() < 30
    assert torch.equal(outcome.correct, predicted(model, x_adv) == y)
    assert torch.allclose(outcome.x_adv, x_adv, rtol=0, atol=1e-5)
    assert len(outcome.after) == len(attack.stages)
    assert list(outcome.after) == sorted(outcome.after, reverse=True)
    assert outcome.forwards + len(data) == sum(len(batch) for batch in shown)  # the clean pass is not the attack's


# what is refused


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Worst(()), r"attacks is \(\); it must be at least one attack"),
        (lambda: Worst((PGD(Linf(0.1)), PGD(Linf(0.2)))), r"\['Linf 0\.1', 'Linf 51/255'\]; it must be attacks in one and"),
        (lambda: Worst((PGD(Linf(0.1)), PGD(L2(0.1)))), "attacks in one and the same ball"),
        (lambda: Worst((PGD(Linf(0.1)), FAB(Linf(0.10000001)))), "attacks in one and the same ball"),
        (lambda: Worst((PGD(), PGD(), FAB())), "it must be attacks that differ; Restarts repeats one"),
        (lambda: Worst((AdversarialInterpolation(),)), "attacks that go by iterations"),
        (lambda: Worst((PGD(), Foreign(lambda f, x, y: x, Linf()))), "attacks that go by iterations"),
        (lambda: Worst((1,)), "attacks is"),
        (lambda: Restarts(PGD(), 0), "restarts is 0; it must be at least 1"),
        (lambda: Restarts(AdversarialInterpolation()), "it must be one that goes by iterations"),
        (lambda: Targeted(FAB(), 0), "classes is 0; it must be at least 1"),
        (lambda: Targeted(AdversarialInterpolation()), "it must be one that goes by iterations"),
        (lambda: Toward(FAB(), 0), "rank is 0; it must be at least 1"),
        (lambda: Toward(Targeted(FAB()), 1), "attack is"),
    ],
)  # fmt: skip
def test_combinations_that_make_no_sense_are_refused(make, said):
    with pytest.raises(UsageError, match=said):
        make()


def test_a_loss_of_labels_is_refused_towards_a_class_and_a_loss_of_pairs_without_one():
    model, x = smooth(4, seed=10), images(N)
    y = predicted(model, x)
    with pytest.raises(UsageError, match=r"Labels are torch\.int64 \(12, 2\)"):
        Targeted(PGD(loss=CrossEntropy()))(model, x, y)
    with pytest.raises(UsageError, match=r"hardy\.attacks\.Targeted chooses these"):
        Restarts(PGD(loss=TargetedMargin()), 2)(model, x, y)


def test_labels_that_the_network_has_no_class_for_are_refused_before_anything_else():
    for attack in (Restarts(PGD(), 2), Targeted(FAB()), Worst((PGD(), FAB()))):
        with pytest.raises(UsageError, match=r"Labels lie in 0\.\.3; f gives 3 classes"):
            attack(smooth(3), images(4), torch.arange(4))
    assert len(Targeted(FAB())(smooth(3), images(0), labels(0))) == 0
