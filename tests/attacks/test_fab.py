"""FAB: against the reference's iterates and verdicts, closed forms of linear models, its counts, and where it stops."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
import torch
from pyautoattack.fab_pt import FABAttack_PT

from hardy.attacks import L2, Linf, Restarts, Targeted
from hardy.attacks.fab import FAB, FABState
from hardy.errors import UsageError
from hardy.evaluation.stream import under_attack
from hardy.randomness import Noise
from toys import Linear, images, labels, linear, predicted, smooth, split, worst_l2, worst_linf

SHAPE = (2, 5, 5)
balls = pytest.mark.parametrize("ball", [Linf, L2])
targeted = pytest.mark.parametrize("towards", [None, 1, 2], ids=["any class", "the likeliest", "the next"])


def pairs_of(model, x: torch.Tensor, y: torch.Tensor, rank: int) -> torch.Tensor:
    """(N, 2): the label and the wrong class of that rank."""
    with torch.no_grad():
        wrong = model(x).scatter(1, y[:, None], -torch.inf).argsort(1, descending=True)
    return torch.stack([y, wrong[:, rank - 1]], 1)


def states(attack: FAB, f, x, target, noise: Noise | None = None) -> list[FABState]:
    """The state before the first iteration and after each, whether or not images are done."""
    made = [attack.start(f, x, target, Noise.of_batch(len(x)) if noise is None else noise)]
    for _ in range(attack.iterations):
        made.append(attack.advance(f, x, target, made[-1]))
    return made


# against the reference


@contextmanager
def in_float64(monkeypatch) -> Iterator[None]:
    """The reference turns images and gradients into float32, unless told that float64 is meant by that."""
    default = torch.get_default_dtype()
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(default)


class Reference(FABAttack_PT):
    """pyautoattack's FAB, which notes the points at which it takes gradients."""

    def __init__(self, model, ball, steps: int, towards: int | None = None) -> None:
        name = type(ball).__name__
        super().__init__(model, norm=name, n_iter=steps, eps=ball.eps, targeted=towards is not None, device="cpu")
        self.points, self.target_class = [], (towards or 0) + 1

    def get_diff_logits_grads_batch(self, imgs, la):
        self.points.append(imgs.clone())
        return super().get_diff_logits_grads_batch(imgs, la)

    def get_diff_logits_grads_batch_targeted(self, imgs, la, la_target):
        self.points.append(imgs.clone())
        return super().get_diff_logits_grads_batch_targeted(imgs, la, la_target)


@balls
@targeted
@pytest.mark.parametrize("seed", range(2))
def test_iterates_are_those_of_the_reference(ball, towards, seed, monkeypatch):
    model = smooth(4, SHAPE, seed, torch.float64)
    x = images(8, SHAPE, seed, torch.float64)
    y = predicted(model, x)
    theirs = Reference(model, ball(0.0), 25, towards)
    with in_float64(monkeypatch):
        found = theirs.attack_single_run(x, y, is_targeted=towards is not None)
    target = y if towards is None else pairs_of(model, x, y, towards)
    ours = states(FAB(ball(0.0), steps=25), model, x, target)  # nothing is within 0 of x: nobody stops
    assert len(theirs.points) == 25
    for before, point in zip(ours, theirs.points, strict=False):
        assert torch.allclose(before.at, point, atol=1e-6, rtol=0)
    assert float((theirs.points[-1] - theirs.points[1]).abs().amax()) > 1e-3  # it goes on moving
    # the nearest misclassified point is the reference's, or nearer: points where gradients are taken count here too
    reached = (found != x).flatten(1).any(1)
    assert bool(reached.any())
    assert bool((ours[-1].distance <= ball(0.0).distance(found, x) + 1e-6)[reached].all())
    assert bool(ours[-1].distance[~reached].isinf().all())


@balls
def test_random_starts_are_those_of_the_reference(ball, monkeypatch):
    model, x = smooth(4, SHAPE, dtype=torch.float64), images(6, SHAPE, dtype=torch.float64)
    y, noise = predicted(model, x), Noise.of_batch(6, seed=5)
    theirs = Reference(model, ball(0.3), 1)
    with in_float64(monkeypatch), monkeypatch.context() as patch:
        patch.setattr(torch, "rand", lambda shape: noise.uniform(shape[1:]).double())
        patch.setattr(torch, "randn", lambda shape: noise.normal(shape[1:]).double())
        theirs.attack_single_run(x, y, use_rand_start=True)
    attack = FAB(ball(0.3), start_at="random")
    assert torch.allclose(attack.start(model, x, y, noise).at, theirs.points[0], atol=1e-6)


@balls
@pytest.mark.parametrize("towards", [None, 9], ids=["any class", "each class"])
def test_it_breaks_the_images_that_the_reference_breaks(ball, towards):
    model, x = smooth(4, SHAPE, seed=1), images(60, SHAPE, seed=1)
    y = predicted(model, x)
    eps = float(states(FAB(ball(0.0), steps=10), model, x, y)[-1].distance.median())
    attack = FAB(ball(eps), steps=20)
    x_adv = (Targeted(attack, 3) if towards else attack)(model, x, y)
    broken = predicted(model, x_adv) != y
    theirs = Reference(model, ball(eps), 20, towards)
    theirs.n_target_classes = 3
    found = theirs.perturb(x, y)
    expected = predicted(model, found) != y
    assert 20 <= int(expected.sum()) <= 40
    assert bool((broken | ~expected).all())
    assert int(broken.sum()) <= int(expected.sum()) + 2


# linear models: the distance is known


@pytest.mark.parametrize("start_at", ["image", "random"])
def test_the_distance_it_finds_on_a_linear_model_is_the_closed_form(start_at):
    model, x = linear(dtype=torch.float64), images(30, low=0.3, high=0.7, dtype=torch.float64)
    y = predicted(model, x)
    margin, w = model.margin(x, y).detach(), model.direction(y).detach()
    for ball, dual in ((Linf, w.abs().sum((1, 2, 3))), (L2, w.square().sum((1, 2, 3)).sqrt())):
        exact = margin / dual
        inside = exact < 0.25  # no pixel meets the ends of the range
        assert int(inside.sum()) >= 20
        # with nothing beyond the hyperplane, half of the iterates would be on its right side
        last = states(FAB(ball(0.0), steps=60, eta=1.0001, start_at=start_at), model, x, y)[-1]
        assert bool((last.distance >= exact * (1 - 1e-9)).all())
        assert torch.allclose(last.distance[inside], exact[inside], rtol=1e-3)


@balls
def test_it_breaks_the_images_of_a_linear_model_that_can_be_broken_and_no_others(ball):
    model, x = linear(dtype=torch.float64), images(80, dtype=torch.float64, low=0.3, high=0.7)
    y = predicted(model, x)
    w = model.direction(y).detach()
    dual = w.abs().sum((1, 2, 3)) if ball is Linf else w.square().sum((1, 2, 3)).sqrt()
    eps = float((model.margin(x, y).detach() / dual).median())
    worst = {Linf: worst_linf, L2: worst_l2}[ball]
    broken = predicted(model, FAB(ball(eps), steps=60)(model, x, y)) != y
    assert not (broken & (model.margin(worst(model, x, y, eps), y) > 0)).any()
    sure = model.margin(worst(model, x, y, eps * 0.94), y) < 0  # it aims 5 % too far
    assert bool((broken | ~sure).all())
    assert 20 < int(sure.sum()) <= 40


def test_of_several_classes_it_takes_the_nearest_and_towards_one_that_one():
    # the true class wins by 0.2 over class 1, whose slope is 1, and by 0.3 over class 2, whose slope is 6
    weight = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 6.0]], dtype=torch.float64).view(3, 1, 1, 2)
    model = Linear(weight, torch.tensor([0.0, -0.7, -3.3], dtype=torch.float64))
    x, y = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64), torch.tensor([0])
    attack = FAB(Linf(0.0), steps=1, eta=1.0)
    assert states(attack, model, x, y)[-1].at.flatten().tolist() == pytest.approx([0.5, 0.55])
    towards = states(attack, model, x, torch.tensor([[0, 1]]))[-1].at
    assert towards.flatten().tolist() == pytest.approx([0.7, 0.5])


# what it hands back, and when


@balls
@targeted
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_broken_images_are_within_eps_to_the_last_bit_and_others_as_they_were(ball, towards, dtype):
    model, x = smooth(4, SHAPE, dtype=dtype), images(60, SHAPE, dtype=dtype)
    y = predicted(model, x)
    target = y if towards is None else pairs_of(model, x, y, towards)
    eps = float(states(FAB(ball(0.0), steps=15), model, x, target)[-1].distance.median())
    last = states(FAB(ball(eps), steps=15), model, x, target)[-1]
    broken = predicted(model, last.x_adv) != y
    assert 10 <= int(broken.sum()) <= 50
    assert torch.equal(last.x_adv[~broken], x[~broken])
    assert torch.equal(broken, last.distance <= eps)
    assert last.done.all()
    exact = (last.x_adv.double() - x.double()).flatten(1)
    assert float((exact.norm(dim=1) if ball is L2 else exact.abs().amax(1)).max()) <= eps
    assert 0 <= float(last.x_adv.min()) <= float(last.x_adv.max()) <= 1
    assert last.x_adv.dtype == dtype


@balls
def test_a_broken_image_stops_at_once_and_stays(ball):
    model, x = smooth(), images(6)
    y = predicted(model, x)
    y[[1, 4]] = (y[[1, 4]] + 1) % 3  # misclassified from the start
    made = states(FAB(ball(1e-4), steps=4), model, x, y)
    assert made[1].done.tolist() == [False, True, False, False, True, False]
    assert torch.equal(made[1].x_adv, x)
    assert torch.equal(made[-1].x_adv[[1, 4]], x[[1, 4]])
    assert torch.equal(made[-1].at[[1, 4]], made[1].at[[1, 4]])
    assert not torch.equal(made[-1].at[[0]], made[1].at[[0]])
    assert made[-1].done.all()
    assert made[-1].step.tolist() == [4] * 6


def test_images_that_are_all_misclassified_come_back_after_one_iteration():
    model, x = smooth(), images(5)
    y = (predicted(model, x) + 1) % 3
    shown = []
    x_adv = FAB(Linf(0.1))(lambda z: shown.append(len(z)) or model(z), x, y)
    assert torch.equal(x_adv, x)
    assert shown == [5, 5]


@balls
def test_it_goes_on_where_the_verdict_denies_a_success(ball):
    model, x = smooth(dtype=torch.float64), images(8, dtype=torch.float64)
    y = predicted(model, x)
    attack = FAB(ball(1.0), steps=6)
    state = attack.start(model, x, y, Noise.of_batch(8))
    reported = []
    while not bool((state.step >= 6).any()):
        state = attack.advance(model, x, y, state)
        reported.append(state.x_adv.clone())
        state.done &= state.step >= 6
    unstopped = states(FAB(ball(0.0), steps=6), model, x, y)[-1]
    assert torch.allclose(state.at, unstopped.at, atol=1e-6)  # balls are smaller by their rounding
    fresh = [(b != a).flatten(1).any(1) for a, b in pairwise(reported)]
    assert bool(torch.stack(fresh).any(0).all())  # every image is reported at several points


def test_eps_0_hands_back_the_image_and_so_do_no_steps():
    model, x = smooth(), images(5)
    y = predicted(model, x)
    for attack in (FAB(Linf(0.0), steps=3), FAB(L2(0.0), steps=3, start_at="random"), FAB(steps=0)):
        assert torch.equal(attack(model, x, y), x)


# every image its own problem


@balls
@targeted
def test_images_of_a_batch_do_not_influence_each_other(ball, towards):
    model, x = smooth(4, SHAPE, dtype=torch.float64), images(7, SHAPE, dtype=torch.float64)
    y = predicted(model, x)
    target = y if towards is None else pairs_of(model, x, y, towards)
    eps = float(states(FAB(ball(0.0), steps=12), model, x, target)[-1].distance.median())
    attack, noise = FAB(ball(eps), steps=12, start_at="random"), Noise.of_batch(7)
    whole = states(attack, model, x, target, noise)[-1]
    for i in range(7):
        alone = states(attack, model, x[i : i + 1], target[i : i + 1], noise[i : i + 1])[-1]
        assert torch.allclose(alone.x_adv[0], whole.x_adv[i], atol=1e-9)
        assert torch.allclose(alone.at[0], whole.at[i], atol=1e-9)


def test_images_that_enter_later_fare_as_they_would_have_from_the_beginning():
    model, x = smooth(4, SHAPE, dtype=torch.float64), images(6, SHAPE, dtype=torch.float64)
    y, noise, attack = predicted(model, x), Noise.of_batch(6), FAB(Linf(0.0), steps=8, start_at="random")
    whole = states(attack, model, x, y, noise)
    first = attack.start(model, x[:4], y[:4], noise[:4])
    for _ in range(3):
        first = attack.advance(model, x[:4], y[:4], first)
    index = torch.tensor([3, 1, 4, 5])
    state = FABState.cat([first.select(index[:2]), attack.start(model, x[4:], y[4:], noise[4:])])
    for _ in range(5):
        state = attack.advance(model, x[index], y[index], state)
    assert state.step.tolist() == [8, 8, 5, 5]
    assert torch.allclose(state.at[:2], whole[8].at[[3, 1]], atol=1e-9)
    assert torch.allclose(state.at[2:], whole[5].at[4:], atol=1e-9)
    none = attack.advance(model, x[:0], y[:0], state.select(index[:0]))
    assert none.at.shape == (0, *SHAPE)


@pytest.mark.parametrize("toward", [False, True])
def test_evaluation_gives_the_same_verdicts_whatever_the_batch(toward):
    model = smooth(4, SHAPE, dtype=torch.float64)

    def in_float64(x: torch.Tensor) -> torch.Tensor:
        return model(x.double())

    data, correct = split(30, in_float64, 4, SHAPE), torch.ones(30, dtype=torch.bool)
    attack = FAB(Linf(0.07), steps=10, start_at="random")
    attack = Targeted(attack, 2) if toward else attack
    verdicts = [
        under_attack(in_float64, data, stage, correct, batch=b).correct for stage in attack.stages for b in (1, 7, 64)
    ]
    assert all(torch.equal(v, verdicts[3 * (i // 3)]) for i, v in enumerate(verdicts))
    assert 3 <= int(verdicts[0].sum()) <= 27


def test_restarts_from_random_points_break_more_than_one_run():
    model, x = smooth(4, SHAPE, seed=1), images(80, SHAPE, seed=1)
    y = predicted(model, x)
    once = FAB(Linf(0.07), steps=1, start_at="random")
    broken = [predicted(model, a(model, x, y)) != y for a in (once, Restarts(once, 4))]
    assert int(broken[1].sum()) > int(broken[0].sum()) > 0


# limits


@balls
def test_with_two_classes_towards_any_is_towards_the_other(ball):
    model, x = smooth(2, SHAPE, 1, torch.float64), images(10, SHAPE, 1, torch.float64)
    y = predicted(model, x)
    either = states(FAB(ball(0.0), steps=8), model, x, y)[-1]
    other = states(FAB(ball(0.0), steps=8), model, x, torch.stack([y, 1 - y], 1))[-1]
    assert torch.allclose(either.at, other.at, atol=1e-12)
    assert torch.allclose(either.distance, other.distance, atol=1e-12)
    assert bool((either.at != x).any())


@balls
def test_memory_layout_does_not_matter(ball):
    model, x = smooth(shape=(3, 8, 8), dtype=torch.float64), images(6, (3, 8, 8), dtype=torch.float64)
    y = predicted(model, x)
    attack = FAB(ball(0.0), steps=6)
    expected = states(attack, model, x, y)[-1].at
    assert torch.allclose(states(attack, model, x.to(memory_format=torch.channels_last), y)[-1].at, expected, atol=1e-9)
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.allclose(states(attack, model, turned, y)[-1].at, expected, atol=1e-9)


@balls
@pytest.mark.parametrize("scale", [1e-20, 1e-6, 1e6, 1e20])
def test_the_scale_of_the_logits_does_not_matter_in_float32(ball, scale):
    model, x = smooth(2, SHAPE, seed=1), images(20, SHAPE, seed=1)
    y = predicted(model, x)
    expected = states(FAB(ball(0.0), steps=3), model, x, y)[-1]
    got = states(FAB(ball(0.0), steps=3), lambda z: model(z) * scale, x, y)[-1]
    assert torch.allclose(got.distance, expected.distance, rtol=1e-3)
    assert bool(expected.distance.isfinite().any())


@balls
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("image", [0, 2])
def test_logits_and_gradients_that_are_not_numbers_leave_images(ball, value, image):
    model, x = smooth(), images(3)
    y = predicted(model, x)

    def brittle(z: torch.Tensor) -> torch.Tensor:
        rows = torch.arange(len(z)) == image
        return model(z) * torch.where(rows, value, 1.0)[:, None]

    last = states(FAB(ball(0.0), steps=3), brittle, x, y)[-1]
    assert bool(last.x_adv.isfinite().all())
    assert bool(last.at.isfinite().all())
    others = [i for i in range(3) if i != image]
    assert bool((last.at != x).flatten(1).any(1)[others].all())


def test_a_network_without_slope_leaves_the_image_where_it_is():
    x, y = images(3), torch.zeros(3, dtype=torch.int64)
    flat = lambda z: z.flatten(1)[:, :3] * 0 + torch.tensor([1.0, 0.5, 0.0])  # noqa: E731
    last = states(FAB(Linf(0.1), steps=3), flat, x, y)[-1]
    assert torch.allclose(last.at, x, atol=1e-6)
    assert torch.equal(last.x_adv, x)


@pytest.mark.parametrize("f", [lambda z: z.flatten(1)[:, :3].detach(), lambda z: torch.ones(len(z), 3)])
def test_a_network_that_no_gradient_passes_is_refused(f):
    with pytest.raises(UsageError, match="No gradient reaches the images"):
        FAB()(f, images(2), torch.zeros(2, dtype=torch.int64))


def test_probabilities_are_no_target():
    x = images(2)
    with pytest.raises(UsageError, match=r"Labels are torch.float32 \(2, 3\); they must be int64"):
        FAB()(smooth(), x, torch.full((2, 3), 1 / 3))


# counts


@pytest.mark.parametrize("towards", [None, 1])
def test_an_iteration_passes_an_image_twice_forwards_and_once_backwards_for_each_class(towards):
    model, x = smooth(4), images(3)
    y = predicted(model, x)
    forwards, graphs, backwards = [], [], []

    def counted(z: torch.Tensor) -> torch.Tensor:
        forwards.append(len(z))
        graphs.append(z.requires_grad)
        if z.requires_grad:
            z = z * 1
            z.register_hook(lambda g: backwards.append(len(g)))
        return model(z)

    states(FAB(Linf(0.0), steps=5), counted, x, y if towards is None else pairs_of(model, x, y, towards))
    assert forwards == [3] * 10
    assert graphs == [True, False] * 5
    assert backwards == [3] * 5 * (3 if towards is None else 1)


def test_nothing_else_gets_a_gradient():
    model, x = smooth(), images(4)
    y = predicted(model, x)
    with torch.no_grad():
        x_adv = FAB(Linf(0.05), steps=3)(model, x, y)
    assert not x_adv.requires_grad
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert torch.equal(x, images(4))


# settings


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": -1}, "steps is -1; it must be at least 0"),
        ({"alpha_max": 1.5}, r"alpha_max is 1\.5; it must be in \[0, 1\]"),
        ({"eta": 0.9}, r"eta is 0\.9; it must be at least 1"),
        ({"beta": -0.1}, r"beta is -0\.1; it must be in \[0, 1\]"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        FAB(**change)


def test_the_constants_are_the_papers_and_the_summary_holds_all_numbers():
    assert FAB().summary == "FAB, Linf 8/255, 100 steps from x, alpha at most 0.1, eta 1.05, beta 0.9"
    shown = FAB(L2(0.5), steps=1, start_at="random", alpha_max=0.2, eta=1.1, beta=0.8).summary
    assert shown == "FAB, L2 0.5, 1 step from a random point at eps / 2, alpha at most 0.2, eta 1.1, beta 0.8"


def test_an_image_misclassified_as_it_is_comes_back_from_targeted_too():
    model, x, y = smooth(4), images(10), labels(10, 4)
    x_adv, wrong = Targeted(FAB(Linf(0.05), steps=2), 3)(model, x, y), predicted(model, x) != y
    assert 0 < int(wrong.sum()) < 10
    assert torch.equal(x_adv[wrong], x[wrong])
