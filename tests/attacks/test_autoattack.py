"""AutoAttack: its versions are those of pyautoattack, and only what could still be broken costs anything."""

from typing import Any

import pyautoattack
import pytest
import torch
from torch import Tensor

from hardy.attacks import (
    APGD,
    DLR,
    FAB,
    L2,
    Attack,
    AutoAttack,
    Ball,
    CrossEntropy,
    Linf,
    Restarts,
    Square,
    Targeted,
    TargetedDLR,
    Worst,
)  # fmt: skip
from hardy.errors import UsageError
from hardy.evaluation.stream import under_attack
from hardy.randomness import Noise
from toys import images, linear, predicted, smooth, split, split_of

VERSIONS = ("standard", "plus", "rand")


def theirs_as_ours(theirs: Any, name: str, ball: Ball) -> Attack:
    """What pyautoattack would run under that name, in our settings, by the attributes of its object."""
    apgd, targeted, fab, square = theirs.apgd, theirs.apgd_targeted, theirs.fab, theirs.square
    if name in {"apgd-ce", "apgd-dlr"}:
        loss = CrossEntropy() if name == "apgd-ce" else DLR()
        one = APGD(ball, apgd.n_iter, loss, apgd.eot_iter, apgd.thr_decr)
        return one if apgd.n_restarts == 1 else Restarts(one, apgd.n_restarts)
    if name == "apgd-t":
        assert targeted.n_restarts == 1
        one = APGD(ball, targeted.n_iter, TargetedDLR(), targeted.eot_iter, targeted.thr_decr)
        return Targeted(one, targeted.n_target_classes)
    if name == "square":
        assert (square.n_restarts, square.targeted, square.loss, square.rescale_schedule) == (1, False, "margin", False)
        return Square(ball, square.n_queries, square.p_init, "fixed")
    constants = {"alpha_max": fab.alpha_max, "eta": fab.eta, "beta": fab.beta}
    one = FAB(ball, fab.n_iter, **constants)
    if name == "fab-t":  # run_standard_evaluation runs it once, whatever n_restarts was
        return Targeted(one, fab.n_target_classes)
    return Worst((one, Restarts(FAB(ball, fab.n_iter, "random", **constants), fab.n_restarts - 1)))


@pytest.mark.parametrize("ball", [Linf(8 / 255), L2(0.5)], ids=["Linf", "L2"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_holds_what_pyautoattacks_does_in_its_order(version, ball):
    theirs = pyautoattack.AutoAttack(smooth(), eps=ball.eps, norm=type(ball).__name__, version=version)
    parts = AutoAttack(ball, version).parts
    assert list(parts) == theirs.attacks_to_run
    for name, part in parts.items():
        assert part == theirs_as_ours(theirs, name, ball)
        assert part.ball == ball
    for one in (theirs.apgd, theirs.fab, theirs.square, theirs.apgd_targeted):
        assert one.eps == ball.eps


@pytest.mark.parametrize(
    ("version", "stages"), [("standard", 1 + 9 + 9 + 1), ("plus", 5 + 5 + 5 + 1 + 9 + 9), ("rand", 2)]
)
def test_stages_are_those_of_the_parts_one_after_another(version, stages):
    attack = AutoAttack(Linf(0.1), version)
    assert len(attack.stages) == stages
    assert attack.stages == tuple(stage for part in attack.parts.values() for stage in part.stages)
    assert len({drawn.purpose for drawn in attack.noises(Noise.of_batch(1))}) == stages
    assert attack.stops_at_success
    assert attack.summary == f"AutoAttack ({version}: {', '.join(attack.parts)}), Linf 0.1"


def test_an_unknown_version_is_refused():
    with pytest.raises(UsageError, match="version is 'custom'; it must be 'standard' or 'plus' or 'rand'"):
        AutoAttack(Linf(0.1), "custom")


def counting(model: Any) -> tuple[Any, list[int]]:
    sizes: list[int] = []
    return lambda x: sizes.append(len(x)) or model(x), sizes


def far_and_near(eps: float) -> tuple[Any, Tensor, Tensor, Tensor]:
    """A linear network of four classes, images no pixel of which meets 0 or 1, labels, and how far each is from being broken.

    The distance is in Linf, in units of eps: the least of z_y - z_c over the L1 norm of w_y - w_c.
    """
    model = linear(4, seed=2)
    x = images(400, low=eps, high=1 - eps)
    y = predicted(model, x)
    with torch.no_grad():
        z = model(x)
        apart = (model.weight[y][:, None] - model.weight[None]).abs().sum((2, 3, 4))
        gaps = (z.gather(1, y[:, None]) - z) / apart
        return model, x, y, gaps.scatter(1, y[:, None], torch.inf).amin(1) / eps


def test_it_breaks_what_can_be_broken_and_only_what_it_has_not_broken_costs_anything():
    eps = 0.05
    model, x, y, distance = far_and_near(eps)
    near, far = (distance < 0.95).nonzero().flatten(), (distance > 1.05).nonzero().flatten()
    which = torch.cat([near[:6], far[:1]])
    x, y = x[which], y[which]
    y = torch.cat([y[:1], (y[1:2] + 1) % 4, y[2:]])  # the second is misclassified as it is
    attack = AutoAttack(Linf(eps))
    f, sizes = counting(model)
    x_adv = attack(f, x, y)
    assert (predicted(model, x_adv) == y).tolist() == [False] * 6 + [True]
    assert torch.equal(x_adv[1], x[1])
    assert torch.equal(x_adv[6], x[6])

    f, first = counting(model)
    Restarts(attack.parts["apgd-ce"], 1)(f, x, y, Noise.of_batch(7))
    # of the four classes three are attacked towards; that there is no fourth to ninth costs a look and a verdict each
    targeted = 3 * (1 + 101 + 1) + 6 * 2
    fab = 3 * (1 + 2 * 100 + 1) + 6 * 2
    assert sum(sizes) == sum(first) + targeted + fab + (5001 + 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_where_the_first_attack_breaks_everything_the_others_cost_nothing(version):
    model, x, y, distance = far_and_near(0.2)
    x, y = x[distance < 0.5][:9], y[distance < 0.5][:9]
    attack, noise = AutoAttack(Linf(0.2), version), Noise.of_batch(9)
    (f, sizes), (g, alone) = counting(model), counting(model)
    x_adv = attack(f, x, y, noise)
    expected = Restarts(attack.stages[0], 1)(g, x, y, noise)
    assert torch.equal(x_adv, expected)
    assert (predicted(model, x_adv) != y).all()
    assert sizes == alone


def test_random_networks_are_broken_by_the_mean_of_twenty_passes():
    eps = 0.05
    model, x, y, distance = far_and_near(eps)
    which = torch.cat([(distance < 0.8).nonzero().flatten()[:4], (distance > 1.3).nonzero().flatten()[:1]])
    f, sizes = counting(model)
    x_adv = AutoAttack(Linf(eps), "rand")(f, x[which], y[which])
    assert (predicted(model, x_adv) == y[which]).tolist() == [False] * 4 + [True]
    assert sizes.count(1) >= 2 * 20 * 100  # two attacks on what is left


def test_evaluation_tells_what_each_stage_left_and_does_not_go_on_when_nothing_is():
    model, x, y, distance = far_and_near(0.2)
    x, y = x[distance < 0.5][:9], y[distance < 0.5][:9]
    data = split_of(x, torch.cat([(y[:2] + 1) % 4, y[2:]]), 4)
    outcome = under_attack(model, data, AutoAttack(Linf(0.2)), batch=3)
    assert not outcome.correct.any()
    assert outcome.after == (0,) * 20
    assert 14 <= outcome.forwards < 9 * 20


def test_it_needs_four_classes_where_images_are_left_for_the_targeted_loss():
    model = smooth(3, seed=10)
    data = split(6, model)
    with pytest.raises(UsageError, match=r"The targeted DLR loss needs at least 4 classes; the network gives 3\."):
        AutoAttack(Linf(1e-3))(model, data.x(), data.labels)
    assert torch.equal(AutoAttack(Linf(1e-3))(model, data.x(), (data.labels + 1) % 3), data.x())
