"""NATTACK: against a plain loop for one image, its counts, and where it stops."""

import numpy as np
import pytest
import torch

from hardy.attacks import L2, NATTACK, Linf
from hardy.attacks.nattack import NAttackState, before_tanh
from hardy.errors import UsageError
from hardy.randomness import Noise
from toys import images, labels, linear, predicted, smooth, worst_linf


def run(attack: NATTACK, f, x: torch.Tensor, y: torch.Tensor, noise: Noise | None = None) -> NAttackState:
    """All iterations; the last state."""
    state = attack.start(f, x, y, Noise.of_batch(len(x)) if noise is None else noise)
    for _ in range(attack.iterations):
        state = attack.advance(f, x, y, state)
    return state


def plain_loop(attack: NATTACK, f, x: np.ndarray, y: int, noise: Noise, *, published: bool):
    """(mean, last tested image, queries) of one image, written as the paper's procedure in NumPy.

    f: image (C, H, W) -> logits. published: clip around x_ref, the image after the tanh map and back, as the published
    code does; else around x itself, by the rounding's slack less than eps.
    """
    sigma = attack.sigma
    w0 = np.arctanh((1 - 1e-6) * (2 * x - 1))
    reference, eps = (0.5 * np.tanh(w0) + 0.5, attack.ball.eps) if published else (x, attack.ball.eps - 2.0**-24)

    def shown(perturbation):
        return reference + np.clip(0.5 * np.tanh(w0 + perturbation) + 0.5 - reference, -eps, eps)

    mu = 0.001 * noise.draw(0).normal(x.shape)[0].numpy().astype(np.float64)
    tested, queries = x, 0
    for t in range(attack.steps):
        if t % attack.test_every == 0:
            tested = shown(mu)
            queries += 1
            if f(tested).argmax() != y:
                break
        drawn = noise.draw(t + 1).normal((attack.population, *x.shape))[0].numpy().astype(np.float64)
        log_true, log_other = [], []
        for member in drawn:
            logits = f(shown(mu + sigma * member))
            p = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
            log_true.append(np.log(p[y] + 1e-30))
            log_other.append(np.log(np.delete(p, y).max() + 1e-30))
        if attack.runner_up == "first-member":
            log_other = [log_other[0]] * len(log_other)
        reward = -0.5 * np.clip(np.array(log_true) - np.array(log_other), 0, 1000)
        standard = (reward - reward.mean()) / (reward.std() + 1e-7)
        mu = mu + attack.learning_rate / (attack.population * sigma) * sum(
            a * n for a, n in zip(standard, drawn, strict=True)
        )
        queries += attack.population
    return mu, tested, queries


@pytest.mark.parametrize("runner_up", ["per-member", "first-member"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("published", "tolerance"), [(False, 1e-9), (True, 2e-5)], ids=["exactly", "as published"])
def test_it_does_what_a_plain_loop_over_one_image_does(runner_up, seed, published, tolerance):
    model, x = smooth(seed=seed, dtype=torch.float64), images(1, seed=seed, dtype=torch.float64)
    y = predicted(model, x)
    attack = NATTACK(Linf(0.2), steps=6, population=20, learning_rate=0.04, test_every=2, runner_up=runner_up)
    noise = Noise(seed, torch.tensor([17]), purpose="evaluation")

    def f(image: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(image)[None])[0].numpy()

    mu, tested, queries = plain_loop(attack, f, x[0].numpy(), int(y), noise, published=published)
    state = run(attack, model, x, y, noise)
    assert np.abs(state.mu[0].numpy() - mu).max() < tolerance
    assert np.abs(mu).max() > 0.1  # it moved
    assert np.abs(state.x_adv[0].numpy() - tested).max() < tolerance
    assert state.queries.tolist() == [queries]


def test_taking_the_runner_up_from_the_first_member_is_another_attack():
    model, x = smooth(), images(3)
    y = predicted(model, x)
    means = [
        run(NATTACK(Linf(0.1), steps=2, population=20, runner_up=r), model, x, y).mu
        for r in ("per-member", "first-member")
    ]
    assert not torch.allclose(*means, atol=1e-5)


def test_the_mean_drifts_down_the_margin_of_a_linear_model():
    model, x = linear(), images(8, low=0.3, high=0.7)
    y = predicted(model, x)
    attack = NATTACK(Linf(0.2), steps=20, population=60, learning_rate=0.05, test_every=50)
    mu = run(attack, lambda z: model(z) / 10, x, y).mu  # a tenth of the slope: no member is misclassified by much
    down = -model.direction(y).detach().flatten(1)
    cosine = torch.nn.functional.cosine_similarity(mu.flatten(1), down)
    assert float(cosine.min()) > 0.6


def test_it_breaks_the_images_of_a_linear_model_that_can_be_broken_easily_and_no_others():
    model, x = linear(seed=3), images(30, seed=3, low=0.2, high=0.8)
    y = predicted(model, x)
    attack = NATTACK(Linf(0.1), steps=40, population=40, learning_rate=0.1)
    x_adv = attack(model, x, y)
    still = model.margin(x_adv, y) > 0
    possible = model.margin(worst_linf(model, x, y, 0.1), y) < 0
    assert not (~still & ~possible).any()
    easy = model.margin(worst_linf(model, x, y, 0.03), y) < 0
    assert bool(easy.any())
    assert not (still & easy).any()


# counts


@pytest.mark.parametrize(
    ("steps", "population", "every", "tests"), [(20, 5, 10, 2), (21, 4, 10, 3), (7, 3, 1, 7), (1, 2, 10, 1)]
)
def test_an_image_that_resists_costs_every_member_of_every_update_and_the_tests(steps, population, every, tests):
    shown = 0

    def resists(z: torch.Tensor) -> torch.Tensor:
        nonlocal shown
        shown += len(z)
        return torch.tensor([5.0, 0.0, 1.0]).expand(len(z), 3) + z.mean((1, 2, 3))[:, None] * torch.tensor(
            [0.0, 0.1, 0.2]
        )

    attack = NATTACK(Linf(0.05), steps=steps, population=population, test_every=every)
    state = run(attack, resists, images(3), torch.zeros(3, dtype=torch.int64))
    assert state.queries.tolist() == [steps * population + tests] * 3
    assert shown == 3 * (steps * population + tests)
    assert state.done.all()


def test_with_the_papers_constants_that_is_60020():
    attack = NATTACK()
    tests = len(range(0, attack.steps, attack.test_every))
    assert (attack.steps, attack.population, attack.sigma, attack.learning_rate) == (200, 300, 0.1, 0.008)
    assert attack.steps * attack.population + tests == 60_020
    assert attack.copies == 300


# stopping


def test_a_broken_image_stops_at_once_and_stays():
    model, x = smooth(), images(6)
    y = predicted(model, x)
    y[[1, 4]] = (y[[1, 4]] + 1) % 3  # misclassified from the start: broken at the first test
    attack = NATTACK(Linf(0.02), steps=12, population=6)
    noise = Noise.of_batch(6)
    state = attack.start(model, x, y, noise)
    first = attack.advance(model, x, y, state)
    assert first.done[[1, 4]].all()
    assert first.queries[[1, 4]].tolist() == [1, 1]
    last = run(attack, model, x, y, noise)
    assert torch.equal(last.x_adv[[1, 4]], first.x_adv[[1, 4]])
    assert torch.equal(last.mu[[1, 4]], state.mu[[1, 4]])
    assert last.queries[[1, 4]].tolist() == [1, 1]
    assert bool((last.queries > 1).any())


def test_what_it_hands_back_is_the_image_it_tested():
    model, x = linear(), images(20)
    y = predicted(model, x)
    state = run(NATTACK(Linf(0.1), steps=30, population=30, learning_rate=0.2), model, x, y)
    stopped = state.queries < 30 * 30 + 3
    assert bool(stopped.any())
    assert bool((predicted(model, state.x_adv[stopped]) != y[stopped]).all())


def test_images_of_a_batch_do_not_influence_each_other():
    model, x = smooth(dtype=torch.float64), images(5, dtype=torch.float64)
    y = predicted(model, x)
    y[2] = (y[2] + 1) % 3  # one that leaves early
    attack = NATTACK(Linf(0.1), steps=12, population=8, learning_rate=0.2)
    noise = Noise.of_batch(5)
    whole = run(attack, model, x, y, noise)
    for i in range(5):
        alone = run(attack, model, x[i : i + 1], y[i : i + 1], noise[i : i + 1])
        assert torch.allclose(alone.x_adv[0], whole.x_adv[i], atol=1e-9)
        assert torch.allclose(alone.mu[0], whole.mu[i], atol=1e-9)
        assert int(alone.queries) == int(whole.queries[i])


def test_large_populations_are_shown_in_parts_without_changing_anything(monkeypatch):
    model, x = smooth(dtype=torch.float64), images(3, dtype=torch.float64)
    y = predicted(model, x)
    attack = NATTACK(Linf(0.1), steps=2, population=25)
    expected = run(attack, model, x, y).mu
    monkeypatch.setattr("hardy.attacks.nattack._MEMBERS_AT_ONCE", 4)
    assert torch.allclose(run(attack, model, x, y).mu, expected, atol=1e-12)


# rewards that say nothing


@pytest.mark.parametrize("height", [0.0, 0.3, 1.7, 2.7, 9.1, 300.0])
@pytest.mark.parametrize("population", [7, 300])
def test_rewards_without_variance_leave_the_mean_where_it_is(height, population):
    constant = lambda z: torch.tensor([height, -0.1, -0.2]).expand(len(z), 3)  # noqa: E731
    x, y = images(2), torch.zeros(2, dtype=torch.int64)
    attack = NATTACK(Linf(0.1), steps=3, population=population)
    state = attack.start(constant, x, y, Noise.of_batch(2))
    after = run(attack, constant, x, y)
    assert torch.equal(after.mu, state.mu)


def test_members_that_are_all_misclassified_leave_the_mean_where_it_is():
    y = torch.zeros(4, dtype=torch.int64)

    def right_at_tests_only(z: torch.Tensor) -> torch.Tensor:
        wrong_by = z.mean((1, 2, 3)) + 1  # differs between the members
        zero = torch.zeros_like(wrong_by)
        return torch.stack([zero + 9, zero] if len(z) == 4 else [zero, wrong_by], 1)

    attack, x = NATTACK(Linf(0.1), steps=1, population=10), images(4)
    state = attack.start(right_at_tests_only, x, y, Noise.of_batch(4))
    after = attack.advance(right_at_tests_only, x, y, state)
    assert after.queries.tolist() == [11] * 4
    assert torch.equal(after.mu, state.mu)


# limits


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.3)], ids=str)
def test_black_and_white_pixels_and_those_a_rounding_beyond_give_images(ball):
    x = torch.tensor([0.0, 1.0, -9.9e-7, 1 + 9.9e-7]).view(1, 1, 2, 2).repeat(2, 1, 1, 1)
    model = smooth()
    attack = NATTACK(ball, steps=4, population=10, learning_rate=1.0, test_every=1)
    state = run(attack, model, x, predicted(model, x))
    assert bool(state.x_adv.isfinite().all())
    assert bool(state.mu.isfinite().all())
    assert 0 <= float(state.x_adv.min()) <= float(state.x_adv.max()) <= 1


def test_pixels_at_the_ends_of_the_range_hardly_move():
    # the tanh map: reaching 0.03 from 0 needs a perturbation of 5.5
    x = torch.tensor([0.0, 0.5]).view(1, 1, 1, 2)
    moved = NATTACK(Linf(1.0))._image(x, before_tanh(x) + 0.1) - x
    assert float(moved[..., 0]) < 1e-6
    assert float(moved[..., 1]) == pytest.approx(np.tanh(0.1) / 2, abs=1e-6)


def test_no_steps_hand_back_the_image():
    x = images(3)
    assert torch.equal(NATTACK(steps=0)(smooth(), x, labels(3)), x)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": -1}, "steps is -1"),
        ({"population": 1}, "population is 1; it must be at least 2"),
        ({"sigma": 0.0}, r"sigma is 0\.0; it must be above 0"),
        ({"test_every": 0}, "test_every is 0; it must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        NATTACK(**change)


def test_the_summary_holds_all_numbers():
    assert NATTACK(Linf(0.03)).summary == (
        "NATTACK, Linf 0.03, 200 updates of 300 members, sigma 0.1, learning rate 0.008, tested every 10, runner-up per-member"
    )


def test_members_whose_logits_are_not_finite_do_not_spoil_the_image():
    model = smooth()

    def brittle(x: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.arange(len(x))[:, None] % 5 == 4, torch.nan, model(x))

    x = images(3)
    x_adv = NATTACK(Linf(0.1), steps=3, population=10, test_every=1)(brittle, x, predicted(model, x))
    assert bool(x_adv.isfinite().all())
    assert float((x_adv - x).abs().max()) <= 0.1
