"""APGD: against pyautoattack step for step, by hand where that is silent, its counts, and where it stops."""

import dataclasses
import warnings

import pytest
import torch

from hardy.attacks import DLR, KL, L2, CrossEntropy, Linf, Targeted, TargetedDLR
from hardy.attacks.apgd import APGD, APGDState
from hardy.errors import UsageError
from hardy.evaluation.accuracy import evaluate
from hardy.randomness import Noise
from toys import images, labels, linear, predicted, smooth, split, worst_l2, worst_linf

RGB = (3, 6, 6)
BALLS = [Linf(0.05), L2(0.4)]
in_both_balls = pytest.mark.parametrize("ball", BALLS, ids=["Linf", "L2"])


def run(attack: APGD, f, x: torch.Tensor, target: torch.Tensor, noise: Noise | None = None) -> list[APGDState]:
    """The states of all iterations, the start first."""
    states = [attack.start(f, x, target, Noise.of_batch(len(x)) if noise is None else noise)]
    for _ in range(attack.iterations):
        states.append(attack.advance(f, x, target, states[-1]))
    return states


def going_on(attack: APGD, f, x: torch.Tensor, target: torch.Tensor) -> list[APGDState]:
    """The same, each success denied as evaluation may do."""
    states = [attack.start(f, x, target, Noise.of_batch(len(x)))]
    for _ in range(attack.iterations):
        last = dataclasses.replace(states[-1], done=torch.zeros(len(x), dtype=torch.bool))
        states.append(attack.advance(f, x, target, last))
    return states


def varied(x: torch.Tensor, seed: int = 0):
    """A network of five classes, shifted so that it sees several of them in these images, and smaller perturbations suffice."""
    model = smooth(5, RGB, seed=seed, dtype=x.dtype)
    with torch.no_grad():
        model.last.bias -= model(x).mean(0) / 20
    return model


def raised(model, y: torch.Tensor, by: float = 9.0):
    """The network with the scores of these images' own labels raised, so that none can be broken."""
    return lambda z: model(z) + by * torch.nn.functional.one_hot(y, 5)


class Counting:
    """A network that notes how many images it was shown at each call, and whether with a gradient."""

    def __init__(self, model) -> None:
        self.model, self.shown, self.with_gradient = model, [], []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.shown.append(len(x))
        self.with_gradient.append(x.requires_grad)
        return self.model(x)


# against pyautoattack


def theirs(model, attack: APGD, x: torch.Tensor, target: torch.Tensor, monkeypatch):
    """(x_best, loss_best, every point shown to the network, x_best_adv, broken) of the reference from the same start."""
    points = []

    def noted(z: torch.Tensor) -> torch.Tensor:
        points.append(z.detach().clone())
        return model(z)

    noise = Noise.of_batch(len(x))
    monkeypatch.setattr(torch, "rand", lambda shape: noise.uniform(shape[1:]).to(x.dtype))
    monkeypatch.setattr(torch, "randn", lambda shape: noise.normal(shape[1:]).to(x.dtype))
    before = torch.get_default_dtype()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

        norm = type(attack.ball).__name__
        common = {"n_iter": attack.steps, "norm": norm, "eps": attack.ball.eps, "rho": attack.rho, "device": "cpu"}
        if target.ndim == 2:
            reference = APGDAttack_targeted(noted, **common)
            reference.y_target, y = target[:, 1], target[:, 0]
        else:
            reference = APGDAttack(noted, loss="dlr" if isinstance(attack.loss, DLR) else "ce", **common)
            y = target
        reference.init_hyperparam(x)
        try:
            torch.set_default_dtype(x.dtype)  # it holds losses and step sizes in the default type
            best, robust, loss, found = reference.attack_single_run(x, y)
        finally:
            torch.set_default_dtype(before)
            monkeypatch.undo()
    return best.detach(), loss, points, found.detach(), ~robust


def without_slack(monkeypatch) -> None:
    """Balls of exactly their radius, as the reference has them."""
    monkeypatch.setattr("hardy.attacks.balls._ROUNDING", 0.0)
    monkeypatch.setattr("hardy.attacks.balls._NORM_ROUNDING", 0.0)


def target_for(loss, model, x: torch.Tensor) -> torch.Tensor:
    y = predicted(model, x)
    return torch.stack([y, (y + 2) % 5], 1) if isinstance(loss, TargetedDLR) else y


@in_both_balls
@pytest.mark.parametrize("loss", [CrossEntropy(), DLR(), TargetedDLR()], ids=["ce", "dlr", "targeted dlr"])
@pytest.mark.parametrize("steps", [3, 40])
@pytest.mark.parametrize("hard", [False, True], ids=["", "resists"])
def test_iterates_losses_and_best_points_are_those_of_pyautoattack(ball, loss, steps, hard, monkeypatch):
    x = images(25, RGB, seed=steps, dtype=torch.float64)
    model = varied(x, steps)
    target = target_for(loss, model, x)
    y = target[:, 0] if target.ndim == 2 else target
    f = raised(model, y) if hard else model
    attack = APGD(ball if hard else type(ball)(ball.eps / 3), steps=steps, loss=loss)
    best, best_loss, points, _, broken = theirs(f, attack, x, target, monkeypatch)
    assert not (hard and broken.any())
    assert hard or 0 < int(broken.sum()) < 25
    without_slack(monkeypatch)
    seen = []
    states = run(attack, lambda z: seen.append(z.detach()) or f(z), x, target)
    assert len(points) == steps + 1
    active = torch.ones(25, dtype=torch.bool)
    for i, (state, expected) in enumerate(zip(states, points, strict=True)):
        if bool(active.any()):
            # the reference adds 1e-12 to a gradient's norm
            assert float((seen[i] - expected[active]).abs().max()) < 1e-6
            newly = active & (state.step < steps) & state.done
            assert float((state.x_adv[newly] - expected[newly]).abs().sum()) < 1e-6
        active = ~state.done
    last, held = states[-1], ~broken
    assert torch.equal(predicted(f, last.x_adv) != y, broken)
    assert float((last.x_adv - best)[held].abs().max()) < 1e-6
    assert float((last.best_loss - best_loss)[held].abs().max()) < 1e-6
    assert bool((last.best_loss > states[0].best_loss)[held].all())
    if hard and steps == 40:
        assert len(last.step_size.unique()) > 1  # halved at different times for different images


@in_both_balls
@pytest.mark.parametrize("loss", [CrossEntropy(), DLR(), TargetedDLR()], ids=["ce", "dlr", "targeted dlr"])
def test_the_same_images_are_broken_as_by_pyautoattack_and_with_the_balls_slack_losses_are_as_high(
    ball, loss, monkeypatch
):
    x = images(40, RGB, seed=3, dtype=torch.float64)
    model = varied(x, 3)
    target = target_for(loss, model, x)
    attack = APGD(type(ball)(ball.eps / 2), steps=25, loss=loss)
    _, best_loss, _, _, broken = theirs(model, attack, x, target, monkeypatch)
    last = run(attack, model, x, target)[-1]
    y = target[:, 0] if target.ndim == 2 else target
    assert torch.equal(predicted(model, last.x_adv) != y, broken)
    assert 0 < int(broken.sum()) < 40
    assert float((last.best_loss - best_loss)[~broken].abs().max()) < 2e-4  # a smaller ball by 6e-8 in every pixel


@in_both_balls
def test_the_start_lies_on_the_surface_of_the_ball_and_is_pyautoattacks(ball, monkeypatch):
    x = images(50, RGB, dtype=torch.float64, low=0.45, high=0.55)
    model = varied(x)
    y = labels(50, 5)
    attack = APGD(ball, steps=1)
    start = attack.start(model, x, y, Noise.of_batch(50)).at
    assert torch.allclose(ball.distance(start, x), torch.full((50,), ball.eps, dtype=torch.float64), atol=3e-6)
    _, _, points, _, _ = theirs(model, attack, x, y, monkeypatch)
    assert float((start - points[0]).abs().max()) < 1e-6
    assert float((start - x).mean(0).abs().max()) < 4 * ball.eps / 50**0.5


# linear models: the worst case is known


@pytest.mark.parametrize(("ball", "worst_of"), [(Linf(0.1), worst_linf), (L2(0.2), worst_l2)], ids=["Linf", "L2"])
def test_the_worst_case_of_a_linear_model_is_reached(ball, worst_of):
    model, x = linear(), images(20, low=0.35, high=0.65)
    y = predicted(model, x)
    attack, worst = APGD(ball, steps=60), model.margin(worst_of(model, x, y, ball.eps), y)
    assert torch.allclose(model.margin(going_on(attack, model, x, y)[-1].best, y), worst, atol=2e-4)
    assert torch.equal(model.margin(attack(model, x, y), y) < 0, worst < 0)


# the step size


def test_checkpoints_come_after_22_then_19_16_13_10_7_and_then_every_6_of_100_steps():
    flat = lambda z: torch.tensor([9.0, 0.0, 1.0]) + 0 * z.sum((1, 2, 3))[:, None]  # noqa: E731
    x, y = images(2), torch.zeros(2, dtype=torch.int64)
    states = run(APGD(Linf(0.1)), flat, x, y)
    at = [i for i in range(1, 101) if int(states[i].since[0]) == 0]
    assert at == [22, 41, 57, 70, 80, 87, 93, 99]
    assert states[-1].step_size.tolist() == pytest.approx([0.2 / 2**8] * 2)  # nothing ever rose


def test_at_a_checkpoint_without_enough_rises_the_step_is_halved_and_the_best_point_returned_to():
    x = images(12, RGB, dtype=torch.float64)
    model = varied(x)
    y = predicted(model, x)
    attack = APGD(Linf(0.05), steps=50)
    states = run(attack, raised(model, y), x, y)
    after = states[11]  # int(0.22 * 50) = 11
    assert after.halved.any()
    rose, held = torch.zeros(12, dtype=torch.int64), torch.zeros(12, dtype=torch.float64)
    for state in states[1:12]:
        rose += state.loss > held
        held = state.loss
    assert torch.equal(after.halved, rose <= 0.75 * 11)
    for i in range(12):
        assert float(after.step_size[i]) == pytest.approx(0.05 if after.halved[i] else 0.1)
        if after.halved[i]:
            assert torch.equal(after.at[i], after.best[i])
            assert torch.equal(after.gradient[i], after.best_gradient[i])
    assert after.interval.tolist() == [10] * 12
    assert after.since.tolist() == after.rises.tolist() == [0] * 12


class Scripted:
    """Logits told in advance, one row a call; a network adds a little, so that there is a gradient."""

    def __init__(self, rows: list[list[float]]) -> None:
        self.model, self.rows = smooth(), iter(rows)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tensor(next(self.rows)) + self.model(x) / 1e6


def test_only_from_the_second_checkpoint_on_is_the_step_halved_because_the_best_has_not_risen():
    # the start is the best; all later losses rise without end, and stay below it
    f = Scripted([[0.1, 0.0, 0.0], *[[9.0 - i / 50, 0.0, 0.0] for i in range(100)]])
    states = run(APGD(Linf(0.1)), f, images(1), torch.zeros(1, dtype=torch.int64))
    sizes = [float(states[i].step_size) for i in (21, 22, 40, 41, 56, 57, 69, 70)]
    # the return to the best point is followed by another loss that rises, and halving waits for a checkpoint in between
    assert sizes == pytest.approx([0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05])
    assert torch.equal(states[41].at, states[0].at)
    assert not torch.equal(states[22].at, states[0].at)


def test_a_misclassified_iterate_is_handed_back_even_if_another_has_a_higher_loss():
    f = Scripted([[5.0, 4.9, 4.9], [5.0, 5.1, -99.0]])
    y = torch.zeros(1, dtype=torch.int64)
    start, after = run(APGD(Linf(0.1), steps=1), f, images(1), y)
    assert float(after.best_loss) == float(start.best_loss)
    assert torch.equal(after.best, start.at)
    assert torch.equal(after.x_adv, after.at)
    assert not torch.equal(after.x_adv, start.at)


def test_the_loss_handed_on_is_that_of_the_best_iterate():
    x = images(6, RGB, dtype=torch.float64)
    model = varied(x)
    y = predicted(model, x)
    f = raised(model, y)
    states = run(APGD(L2(0.4), steps=30), f, x, y)
    assert any(not torch.equal(s.x_adv, s.at) for s in states)
    at_best = CrossEntropy()(f(states[-1].x_adv), y)
    assert torch.allclose(at_best, states[-1].best_loss, atol=1e-12)
    assert torch.equal(states[-1].x_adv, states[-1].best)
    assert bool((torch.stack([s.best_loss for s in states]).diff(dim=0) >= 0).all())


# stopping


@in_both_balls
def test_a_broken_image_stops_at_once_stays_and_is_shown_no_more(ball):
    x = images(20, RGB, dtype=torch.float64)
    model = varied(x)
    y = predicted(model, x)
    counting = Counting(model)
    states = run(APGD(ball, steps=20), counting, x, y)
    assert counting.shown[0] == 20
    for before, after, shown in zip(states, states[1:], counting.shown[1:], strict=False):
        assert shown == int((~before.done).sum())
        assert torch.equal(after.x_adv[before.done], before.x_adv[before.done])
        assert torch.equal(after.step[before.done], before.step[before.done])
        newly = after.done & ~before.done & (after.step < 20)
        assert bool((predicted(model, after.x_adv[newly]) != y[newly]).all())
    stopped = states[-1].step < 20
    assert bool(stopped.any())
    assert bool((predicted(model, states[-1].x_adv[stopped]) != y[stopped]).all())
    assert bool(states[-1].done.all())


def test_images_that_are_all_misclassified_already_are_done_at_the_start():
    x = images(6, RGB)
    model = varied(x)
    counting = Counting(model)
    wrong = (predicted(model, x) + 1) % 5
    attack = APGD(Linf(1e-4), steps=20)
    state = attack.start(counting, x, wrong, Noise.of_batch(6))
    assert state.done.all()
    assert attack.advance(counting, x, wrong, state).step.tolist() == [0] * 6
    assert counting.shown == [6]
    counting.shown.clear()
    assert bool((predicted(model, attack(counting, x, wrong)) != wrong).all())
    assert counting.shown == [6]


def test_after_a_success_that_is_denied_the_attack_goes_on_with_another_image():
    x = images(20, RGB, dtype=torch.float64)
    model = varied(x)
    y = predicted(model, x)
    attack = APGD(Linf(0.05), steps=20)
    states = run(attack, model, x, y)
    broken = next(s for s in states if bool((s.done & (s.step < 20)).any()))
    denied = dataclasses.replace(broken, done=torch.zeros(20, dtype=torch.bool))
    after = attack.advance(model, x, y, denied)
    who = broken.done
    assert torch.equal(after.step[who], broken.step[who] + 1)
    assert bool((after.x_adv[who] != broken.x_adv[who]).flatten(1).any(1).all())


# counting


@pytest.mark.parametrize("passes", [1, 3])
def test_an_image_that_resists_costs_one_pass_forwards_and_back_an_iteration_and_one_at_the_start(passes):
    x = images(4, RGB)
    model = varied(x)
    y = predicted(model, x)
    counting = Counting(raised(model, y))
    APGD(Linf(0.05), steps=9, passes=passes)(counting, x, y)
    assert counting.shown == [4] * 10 * passes
    assert all(counting.with_gradient)


# several passes


def test_several_passes_of_a_network_without_randomness_change_nothing():
    x = images(8, RGB, dtype=torch.float64)
    model = varied(x)
    y = predicted(model, x)
    once, thrice = (APGD(Linf(0.05), steps=12, passes=p)(model, x, y) for p in (1, 4))
    assert float((once - thrice).abs().max()) < 1e-9


def test_gradient_loss_and_prediction_are_those_of_the_mean_over_passes():
    shift = [torch.tensor([first, 0.0, 0.0]) for first in (4.0, 6.2, -9.0)]
    calls = iter(shift * 10)
    model, x = smooth(), images(5)
    y = torch.zeros(5, dtype=torch.int64)
    fixed = lambda z: model(z) / 100 + next(calls)  # noqa: E731
    state = APGD(Linf(0.05), steps=4, passes=3).start(fixed, x, y, Noise.of_batch(5))
    at = state.at.clone().requires_grad_()
    losses = torch.stack([CrossEntropy()(model(at) / 100 + s, y) for s in shift])
    (gradient,) = torch.autograd.grad(losses.mean(0).sum(), at)
    assert torch.allclose(state.best_loss, losses.mean(0), atol=1e-6)
    assert torch.allclose(state.gradient, gradient, atol=1e-6)
    assert not state.done.any()  # the last pass was misclassified, the mean of the three is not


# as a stream


@in_both_balls
def test_images_that_enter_at_different_times_end_as_they_do_alone(ball):
    x = images(9, RGB, dtype=torch.float64)
    model = varied(x)
    y, noise = predicted(model, x), Noise(5, torch.arange(9) * 7, purpose="stream")
    attack = APGD(type(ball)(ball.eps / 4), steps=30)
    alone = [run(attack, model, x[i : i + 1], y[i : i + 1], noise[i : i + 1])[-1].x_adv for i in range(9)]
    state, place, waiting = None, torch.empty(0, dtype=torch.int64), torch.tensor([4, 2, 8, 0, 1, 7, 3, 6, 5])
    result = torch.full_like(x, torch.nan)
    for turn in range(200):
        if turn % 7 == 0 and len(waiting):  # two enter at a time
            new, waiting = waiting[:2], waiting[2:]
            fresh = attack.start(model, x[new], y[new], noise[new])
            state = fresh if state is None else APGDState.cat([state, fresh])
            place = torch.cat([place, new])
        result[place[state.done]] = state.x_adv[state.done]
        place, state = place[~state.done], state.select(~state.done)
        state = attack.advance(model, x[place], y[place], state)
        if not len(place) and not len(waiting):
            break
    assert float((result - torch.cat(alone)).abs().max()) < 1e-9


@pytest.mark.parametrize(
    "attack", [APGD(Linf(0.02)), Targeted(APGD(Linf(0.02), loss=TargetedDLR()), 2)], ids=["", "targeted"]
)
def test_the_batch_of_an_evaluation_changes_neither_result_nor_costs(attack):
    model = varied(images(30, RGB))
    data = split(30, model, 5, RGB)
    whole, small = (evaluate(model, data, {"apgd": attack}, batch=b)[0] for b in (30, 4))
    assert 0 < whole.value == small.value < 1
    if attack.stages == (
        attack,
    ):  # where there is room, stages run side by side: what one breaks, others have begun on
        assert whole.forwards == small.forwards
        assert whole.backwards == small.backwards


# limits


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@in_both_balls
def test_every_iterate_lies_in_the_ball_to_the_last_bit(ball, dtype):
    x = images(8, RGB, dtype=dtype)
    model = varied(x)
    x[0, 0], x[1, 1] = 0.0, 1.0
    for state in going_on(APGD(ball, steps=15), model, x, predicted(model, x)):
        for points in (state.x_adv, state.at, state.best):
            assert points.dtype == dtype
            assert 0 <= float(points.min()) <= float(points.max()) <= 1
            norm = torch.inf if isinstance(ball, Linf) else 2
            assert float((points.double() - x.double()).flatten(1).norm(p=norm, dim=1).max()) <= ball.eps


@in_both_balls
def test_memory_layout_does_not_matter(ball):
    x = images(6, RGB, dtype=torch.float64)
    model = varied(x)
    y, attack = predicted(model, x), APGD(ball, steps=12)
    expected = attack(model, x, y)
    assert float((attack(model, x.to(memory_format=torch.channels_last), y) - expected).abs().max()) < 1e-9
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert float((attack(model, turned, y) - expected).abs().max()) < 1e-9


@in_both_balls
def test_a_gradient_or_a_loss_that_is_not_a_number_leaves_images(ball):
    x = images(4, RGB)
    model = varied(x)
    y = predicted(model, x)
    # the slope of sqrt(max(0, x - 1)) at x < 1 is 0 times infinity
    spoilt = lambda z: raised(model, y)(z) + (z[:, :1, 0, 0] - 1).clamp_min(0).sqrt()  # noqa: E731
    x_adv = APGD(ball, steps=5)(spoilt, x, y)
    assert bool(x_adv.isfinite().all())
    assert float(ball.distance(x_adv, x).max()) <= ball.eps

    class Undefined(DLR):  # at the start only
        first = True

        def __call__(self, out, target):
            loss = super().__call__(out, target)
            value = loss * torch.nan if Undefined.first else loss
            Undefined.first = False
            return value

    states = run(APGD(ball, steps=5, loss=Undefined()), raised(model, y), x, y)
    assert bool(states[-1].best_loss.isfinite().all())
    assert bool((states[-1].x_adv != states[0].x_adv).flatten(1).any(1).all())


def test_no_images_in_a_stream_are_a_batch_too():
    model, x, y = smooth(5, RGB), images(3, RGB), labels(3, 5)
    attack = APGD(Linf(0.05), steps=3)
    empty = attack.start(model, x, y, Noise.of_batch(3)).select(torch.empty(0, dtype=torch.int64))
    after = attack.advance(model, x[:0], y[:0], empty)
    assert after.x_adv.shape == (0, *RGB)


def test_no_steps_hand_back_the_start():
    x, y = images(3, RGB), labels(3, 5)
    attack = APGD(Linf(0.05), steps=0)
    state = attack.start(smooth(5, RGB), x, y, Noise.of_batch(3))
    assert state.done.all()
    assert torch.equal(attack(smooth(5, RGB), x, y), state.at)


# what is refused


def test_probabilities_in_place_of_labels_are_refused():
    model, x = smooth(), images(3)
    with pytest.raises(UsageError, match=r"Labels are torch\.float32 \(3, 3\); they must be int64"):
        APGD(loss=KL())(model, x, model(x).softmax(1).detach())


@pytest.mark.parametrize(
    ("attack", "classes", "said"),
    [
        (APGD(loss=DLR()), 2, "The DLR loss needs at least 3 classes; the network gives 2"),
        (Targeted(APGD(loss=TargetedDLR())), 3, "The targeted DLR loss needs at least 4 classes; the network gives 3"),
        (APGD(loss=TargetedDLR()), 5, r"a targeted loss compares with int64 \(N, 2\), the label and the wanted class"),
    ],
)
def test_a_loss_that_needs_more_classes_or_pairs_says_so(attack, classes, said):
    model, x = smooth(classes), images(3)
    with pytest.raises(UsageError, match=said):
        attack(model, x, predicted(model, x))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": -1}, "steps is -1; it must be at least 0"),
        ({"passes": 0}, "passes is 0; it must be at least 1"),
        ({"rho": 1.5}, r"rho is 1\.5; it must be in \[0, 1\]"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        APGD(**change)


def test_the_summary_holds_all_numbers():
    assert APGD().summary == "APGD on CrossEntropy(), Linf 8/255, 100 steps, rho 0.75"
    shown = APGD(L2(0.5), steps=1, loss=DLR(), passes=20, rho=0.5).summary
    assert shown == "APGD on DLR(), L2 0.5, 1 step, 20 passes each, rho 0.5"
