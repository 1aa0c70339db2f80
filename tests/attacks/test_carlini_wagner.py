"""CarliniWagner: against foolbox, nearest points known in closed form, its search over c, and streams of images."""

import warnings
from dataclasses import replace

import pytest
import torch

from hardy.attacks import L2, Linf
from hardy.attacks.carlini_wagner import CarliniWagner, CarliniWagnerState
from hardy.errors import UsageError
from hardy.randomness import Noise
from toys import Linear, images, labels, linear, predicted, smooth

FAR = L2(100.0)
SHAPE = (3, 6, 6)


def run(attack: CarliniWagner, f, x: torch.Tensor, y: torch.Tensor, iterations: int | None = None):
    """The state after some iterations, all of them unless a number is given."""
    state = attack.start(f, x, y, Noise.of_batch(len(x)))
    for _ in range(attack.iterations if iterations is None else iterations):
        state = attack.advance(f, x, y, state)
    return state


def distances(x_adv: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return FAR.distance(x_adv, x)


# against foolbox


def foolboxes(attack: CarliniWagner, model, x: torch.Tensor, criterion) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import foolbox

        theirs = foolbox.attacks.L2CarliniWagnerAttack(
            attack.binary_search_steps,
            attack.steps,
            attack.learning_rate,
            attack.kappa,
            attack.initial_c,
            attack.abort_early,
        )
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        if isinstance(criterion, tuple):
            criterion = foolbox.criteria.TargetedMisclassification(criterion[0])
        return theirs.run(wrapped, x, criterion)


@pytest.mark.parametrize("kappa", [0.0, 1.5])
@pytest.mark.parametrize(
    ("seed", "rounds", "steps", "initial_c"), [(2, 4, 40, 1.0), (3, 3, 40, 10.0), (4, 10, 15, 1.0)]
)
def test_it_finds_the_images_that_foolbox_finds(kappa, seed, rounds, steps, initial_c):
    model, x = smooth(4, SHAPE, seed), images(6, SHAPE, seed, low=0.05, high=0.95)
    y = predicted(model, x)
    attack = CarliniWagner(FAR, steps, rounds, 0.05, initial_c, kappa, abort_early=False)
    expected = foolboxes(attack, model, x, y)
    found = expected.flatten(1).any(1)  # zeros where it found none
    state = run(attack, model, x, y)
    assert torch.equal(state.distance.isfinite(), found)
    assert int(found.sum()) >= 3
    assert torch.allclose(distances(state.x_adv, x)[found], distances(expected, x)[found], rtol=0.02)
    assert torch.allclose(state.x_adv[found], expected[found], atol=1e-4)
    assert torch.equal(state.x_adv[~found], x[~found])


def test_stopping_early_it_agrees_with_foolbox_on_single_images():
    model, x = smooth(4, SHAPE, 2), images(5, SHAPE, 2, low=0.05, high=0.95)
    y = predicted(model, x)
    attack = CarliniWagner(FAR, 60, 4, initial_c=0.1)
    expected = torch.cat([foolboxes(attack, model, x[i : i + 1], y[i : i + 1]) for i in range(5)])
    got = attack(model, x, y)
    assert torch.allclose(distances(got, x), distances(expected, x), rtol=0.02)


def test_towards_a_class_it_finds_what_foolbox_finds():
    model, x = smooth(4, SHAPE, 2), images(5, SHAPE, 2, low=0.05, high=0.95)
    with torch.no_grad():
        order = model(x).argsort(dim=1, descending=True)
    attack = CarliniWagner(FAR, 50, 4, initial_c=0.3, kappa=0.5, abort_early=False)
    expected = foolboxes(attack, model, x, (order[:, 1],))
    found = expected.flatten(1).any(1)
    state = run(attack, model, x, order[:, :2].contiguous())
    assert bool(found.any())
    assert torch.equal(state.distance.isfinite(), found)
    assert torch.equal(predicted(model, state.x_adv)[found], order[found, 1])
    assert torch.allclose(state.x_adv[found], expected[found], atol=1e-4)


# closed forms


def test_in_a_linear_model_it_comes_near_the_foot_of_the_perpendicular():
    model, x = linear(shape=(1, 4, 4)), images(8, (1, 4, 4), low=0.4, high=0.6)
    y = predicted(model, x)
    length = model.direction(y).square().sum((1, 2, 3)).sqrt()
    nearest = (model.margin(x, y) / length).detach()
    x_adv = CarliniWagner(FAR, steps=150, binary_search_steps=6, learning_rate=0.005, initial_c=0.1)(model, x, y)
    assert bool((predicted(model, x_adv) != y).all())
    got = distances(x_adv, x)
    assert bool((got >= nearest - 1e-6).all())
    assert torch.allclose(got, nearest, rtol=0.02, atol=1e-3)


def test_an_image_is_broken_within_eps_only():
    model, x = linear(shape=(1, 4, 4)), images(12, (1, 4, 4), low=0.3, high=0.7)
    y = predicted(model, x)
    attack = CarliniWagner(FAR, steps=80, binary_search_steps=5, learning_rate=0.005, initial_c=0.1)
    unbounded = attack(model, x, y)
    far = distances(unbounded, x)
    eps = float(far.sort().values[6]) + 1e-4
    bounded = replace(attack, ball=L2(eps))(model, x, y)
    near = far <= eps
    assert 0 < int(near.sum()) < 12
    assert torch.equal(bounded[near], unbounded[near])
    assert torch.equal(bounded[~near], x[~near])
    assert float(L2(eps).distance(bounded.double(), x.double()).max()) <= eps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_radius_just_short_of_the_distance_is_kept_to_the_last_bit(dtype):
    model, x = smooth(4, SHAPE, 2, dtype), images(4, SHAPE, 2, dtype)
    y = predicted(model, x)
    attack = CarliniWagner(FAR, steps=30, binary_search_steps=3, learning_rate=0.05, initial_c=10.0)
    far = L2().distance(attack(model, x, y).double(), x.double())
    assert float(far.min()) > 0
    for eps in far.tolist():
        bounded = replace(attack, ball=L2(eps))(model, x, y)
        assert float(L2().distance(bounded.double(), x.double()).max()) <= eps
        assert torch.equal((bounded != x).flatten(1).any(1)[far != eps], (far < eps)[far != eps])


def test_a_higher_confidence_costs_distance_and_is_reached():
    model, x = linear(shape=(1, 4, 4)), images(6, (1, 4, 4), low=0.3, high=0.7)
    y = predicted(model, x)
    attack = CarliniWagner(FAR, steps=80, binary_search_steps=4, initial_c=0.1)
    plain, sure = attack(model, x, y), replace(attack, kappa=1.0)(model, x, y)
    assert float(model.margin(sure, y).detach().max()) < -1
    assert bool((distances(sure, x) > distances(plain, x)).all())


# the search over c


def searched(found: list[bool], rounds: int) -> list[float]:
    """The values of c, where an adversarial image is found (or not) at each of them in turn."""
    attack = CarliniWagner(FAR, steps=1, binary_search_steps=rounds, initial_c=0.5)
    x, y = images(1, (1, 2, 2)), torch.zeros(1, dtype=torch.int64)
    outcomes = iter(found)

    def f(z: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0.0, 1.0 if next(outcomes) else -1.0]]) + 0 * z.sum()

    state, tried = attack.start(f, x, y, Noise.of_batch(1)), []
    for _ in range(rounds):
        tried.append(float(state.c))
        state = attack.advance(f, x, y, state)
    assert bool(state.done)
    return tried


def test_c_grows_tenfold_until_it_suffices_and_is_then_halved_between_the_nearest_two():
    assert searched([False, False, True, True, False, True], 6) == [0.5, 5.0, 50.0, 27.5, 16.25, 21.875]
    assert searched([True, True, False], 3) == [0.5, 0.25, 0.125]


def test_from_ten_values_on_the_last_is_the_least_that_sufficed():
    tried = searched([False, True, True, False] + [True] * 6, 10)
    assert tried[:5] == [0.5, 5.0, 2.75, 1.625, 2.1875]
    assert tried[9] == tried[8]
    assert searched([False] * 10, 10)[9] == 1e10
    assert searched([False] * 9, 9)[8] == pytest.approx(0.5e8)


def test_adam_starts_anew_with_every_c():
    model, x = smooth(4, SHAPE, 2), images(3, SHAPE)
    attack = CarliniWagner(FAR, steps=5, binary_search_steps=3, abort_early=False)
    state = run(attack, model, x, predicted(model, x), 4)
    assert bool(state.delta.flatten(1).any(1).all())
    state = run(attack, model, x, predicted(model, x), 5)
    assert state.step.tolist() == [5] * 3
    assert not any(t.any() for t in (state.delta, state.m, state.v, state.found))


def test_an_image_whose_loss_stalls_goes_on_to_the_next_c_by_itself():
    # where the first pixel is bright the network is flat: no gradient lowers the loss there
    model, x = linear(shape=(1, 4, 4)), images(2, (1, 4, 4), low=0.3, high=0.7)
    x[1, :, 0, 0] = 0.95
    flat = lambda z: torch.where(z[:, :, 0, 0] > 0.9, torch.tensor([1.0, 0.0]), model(z))  # noqa: E731
    y = predicted(flat, x)
    attack = CarliniWagner(FAR, steps=20, binary_search_steps=2, initial_c=1.0)
    assert run(attack, flat, x, y, 2).step.tolist() == [2, 2]
    state = run(attack, flat, x, y, 3)
    assert state.step.tolist() == [3, 20]
    assert state.c.tolist() == [1.0, 10.0]
    state = run(attack, flat, x, y, 6)
    assert state.step.tolist() == [6, 40]
    assert state.done.tolist() == [False, True]
    assert run(replace(attack, abort_early=False), flat, x, y, 6).step.tolist() == [6, 6]


# streams


@pytest.mark.parametrize(("room", "turned"), [(1, False), (3, True), (64, True)])
@pytest.mark.parametrize("abort_early", [True, False])
def test_an_image_is_attacked_alike_whenever_and_beside_whomever_it_enters(room, turned, abort_early):
    n = 6
    model, x = smooth(4, SHAPE, 2, torch.float64), images(n, SHAPE, dtype=torch.float64)
    y, noise = predicted(model, x), Noise.of_batch(n)
    attack = CarliniWagner(L2(1.5), 12, 3, learning_rate=0.1, initial_c=10.0, abort_early=abort_early)
    expected = attack(model, x, y, noise)
    waiting, inside, state, found = list(range(n))[:: -1 if turned else 1], [], None, {}
    turn = 0
    while waiting or inside:
        turn += 1
        if len(inside) < room and waiting and (turn % 3 == 1 or not inside):  # one at a time
            new, waiting = waiting[:1], waiting[1:]
            fresh = attack.start(model, x[new], y[new], noise[torch.tensor(new)])
            state = fresh if not inside else CarliniWagnerState.cat([state, fresh])
            inside = inside + new
        state = attack.advance(model, x[inside], y[inside], state)
        found |= {i: state.x_adv[k] for k, i in enumerate(inside) if state.done[k]}
        left = (~state.done).nonzero().squeeze(1)
        inside, state = [inside[k] for k in left.tolist()], state.select(left)
    assert torch.allclose(torch.stack([found[i] for i in range(n)]), expected, atol=1e-9)
    assert bool((expected != x).any())


def test_an_image_that_is_done_stays_as_it_is():
    model, x = smooth(4, SHAPE, 2), images(3, SHAPE)
    y = predicted(model, x)
    attack = CarliniWagner(FAR, steps=6, binary_search_steps=2, initial_c=10.0, abort_early=False)
    state = run(attack, model, x, y, 3)
    state.done = torch.tensor([False, True, False])
    after = attack.advance(model, x, y, state)
    assert after.step.tolist() == [4, 3, 4]
    assert torch.equal(after.delta[1], state.delta[1])
    assert torch.equal(after.m[1], state.m[1])
    assert bool((after.delta[[0, 2]] != state.delta[[0, 2]]).flatten(1).any(1).all())


def test_an_empty_state_moves_nowhere():
    model, x, y = smooth(), images(0), labels(0)
    attack = CarliniWagner(FAR, steps=3)
    assert attack.advance(model, x, y, attack.start(model, x, y, Noise.of_batch(0))).x_adv.shape == x.shape


# limits


def test_memory_layout_does_not_matter():
    model, x = smooth(4, SHAPE, 2, torch.float64), images(3, SHAPE, dtype=torch.float64)
    y, attack = (
        predicted(model, x),
        CarliniWagner(FAR, steps=15, binary_search_steps=3, learning_rate=0.1, initial_c=10.0),
    )
    expected = attack(model, x, y)
    assert bool((expected != x).any())
    assert torch.allclose(attack(model, x.to(memory_format=torch.channels_last), y), expected, atol=1e-9)
    turned = x.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.allclose(attack(model, turned, y), expected, atol=1e-9)


def test_neither_gradients_outside_nor_parameters_are_touched():
    model, x = smooth(4, SHAPE, 2), images(3, SHAPE)
    y, attack = (
        predicted(model, x),
        CarliniWagner(FAR, steps=8, binary_search_steps=2, learning_rate=0.1, initial_c=10.0),
    )
    expected = attack(model, x, y)
    assert bool((expected != x).any())
    with torch.no_grad():
        assert torch.equal(attack(model, x, y), expected)
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert not expected.requires_grad


def test_black_and_white_pixels_and_those_a_rounding_beyond_give_images():
    x = torch.tensor([0.0, 1.0, -9.9e-7, 1 + 9.9e-7]).view(1, 1, 2, 2).repeat(2, 1, 1, 1)
    model = smooth()
    x_adv = CarliniWagner(FAR, steps=20, binary_search_steps=3, initial_c=1.0)(model, x, (predicted(model, x) + 1) % 3)
    assert bool(x_adv.isfinite().all())
    assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1
    assert float((x_adv - x).abs().max()) < 1e-5  # misclassified as they are


@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_a_ball_that_holds_nothing_gives_the_image(eps):
    model, x = smooth(4, SHAPE, 2), images(3, SHAPE)
    assert torch.equal(CarliniWagner(L2(eps), steps=5, binary_search_steps=2)(model, x, predicted(model, x)), x)


def test_logits_and_gradients_that_are_not_numbers_leave_images():
    weight = linear(3).weight
    model = Linear(weight)
    x = images(4)
    # the slope of sqrt(max(0, x - 1)) at x < 1 is 0 times infinity
    broken = lambda z: model(z) + (z[:, :, :1, :1] - 1).clamp_min(0).sqrt().flatten(1)  # noqa: E731
    x_adv = CarliniWagner(FAR, steps=10, binary_search_steps=4, initial_c=0.1)(broken, x, predicted(model, x))
    assert bool(x_adv.isfinite().all())
    assert bool((x_adv[:, :, 1:] != x[:, :, 1:]).any())
    nothing = CarliniWagner(FAR, steps=4, binary_search_steps=2)(lambda z: model(z) * torch.nan, x, labels(4))
    assert torch.equal(nothing, x)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": 0}, "steps is 0; it must be at least 1"),
        ({"binary_search_steps": 0}, "binary_search_steps is 0; it must be at least 1"),
        ({"learning_rate": 0.0}, r"learning_rate is 0\.0; it must be above 0"),
        ({"initial_c": -1.0}, r"initial_c is -1\.0; it must be above 0"),
        ({"kappa": -1.0}, r"kappa is -1\.0; it must be at least 0"),
        ({"ball": Linf()}, r"ball is Linf\(.*\); it must be L2"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        CarliniWagner(**change)


def test_the_summary_holds_all_numbers():
    assert CarliniWagner().summary == (
        "Carlini-Wagner, L2 0.5, 9 values of c from 0.001, 1000 steps each, learning rate 0.01, kappa 0, stopping early"
    )
    assert CarliniWagner(kappa=2.0, abort_early=False).summary.endswith("kappa 2")
