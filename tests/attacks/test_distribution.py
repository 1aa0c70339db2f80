"""AdversarialDistribution: the authors' loop with torch's Adam, the density that its entropy is of, steps by hand."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, distributions, nn

from hardy.attacks import AdversarialDistribution, Linf
from hardy.errors import UsageError
from hardy.randomness import Noise
from toys import images, labels, smooth

EPS = 0.1
either = pytest.mark.parametrize("accumulate", [True, False])


def case(n: int = 4, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor, Tensor, Noise]:
    x = images(n, dtype=dtype)
    x[0, :, :2], x[-1, :, 2:] = 0.0, 1.0
    return smooth(dtype=dtype), x, labels(n), Noise.of_batch(n, 3)


def drawn(noise: Noise, x: Tensor, number: int) -> Tensor:
    """The normal numbers of one of the samples that a gradient is taken at."""
    return noise.derive("sample").draw(number).normal(x.shape[1:]).to(x.dtype)


def sample(x: Tensor, mean: Tensor, spread: Tensor, n: Tensor) -> Tensor:
    """d / eps."""
    return torch.tanh(mean + torch.log(1 + torch.exp(spread)) * n)


def learned(attack, model, x: Tensor, y: Tensor, noise: Noise, tiny: float) -> tuple[Tensor, Tensor]:
    """The parameters that the authors' loop ends with: Adam without memory, on the loss of the batch as a whole."""
    mean, spread = torch.zeros_like(x, requires_grad=True), torch.zeros_like(x, requires_grad=True)
    adam = torch.optim.Adam([mean, spread], lr=attack.step_size, betas=(0.0, 0.0), eps=tiny)
    for step in range(attack.steps):
        if not attack.accumulate:
            adam.zero_grad()
        for i in range(attack.samples):
            n = drawn(noise, x, attack.samples * step + i)
            d = sample(x, mean, spread, n)
            std = torch.log(1 + torch.exp(spread))
            entropy = (n**2 / 2 + torch.log(std + 1e-8) + torch.log(1 - d**2 + 1e-8)).mean()
            logits = model(torch.clamp(x + attack.ball.eps * d, 0, 1))
            loss = -nn.functional.cross_entropy(logits, y) - attack.weight * entropy
            (loss / attack.samples).backward()
        adam.step()
    return mean.detach(), spread.detach()


def states(attack, model, x, y, noise):
    return list(attack.states(model, x, y, noise))


@either
@pytest.mark.parametrize("change", [{}, {"weight": 1.0}, {"samples": 2, "steps": 4, "step_size": 0.1}], ids=str)
def test_it_learns_what_adam_learns_in_the_authors_loop(accumulate, change):
    model, x, y, noise = case()
    attack = AdversarialDistribution(Linf(EPS), accumulate=accumulate, **change)
    # a batch's mean has a fourth of an image's own gradient: beside it Adam's eps is to be a fourth, too
    mean, spread = learned(attack, model, x, y, noise, 1e-8 / len(x))
    end = states(attack, model, x, y, noise)[-1]
    torch.testing.assert_close(end.mean, mean, atol=1e-6, rtol=0)
    torch.testing.assert_close(end.spread, spread, atol=1e-6, rtol=0)
    d = sample(x, mean, spread, noise.derive("result").normal(x.shape[1:]).to(x.dtype))
    torch.testing.assert_close(end.x_adv, torch.clamp(x + EPS * d, 0, 1), atol=2e-7, rtol=0)
    assert torch.equal(attack(model, x, y, noise), end.x_adv)


def test_with_adams_own_eps_the_authors_loop_differs_where_gradients_are_tiny_alone():
    model, x, y, noise = case()
    attack = AdversarialDistribution(Linf(EPS), steps=1)
    end = states(attack, model, x, y, noise)[-1]
    mean, spread = learned(attack, model, x, y, noise, 1e-8)
    for got, expected, up in ((end.mean, mean, end.up_mean), (end.spread, spread, end.up_spread)):
        large = up.abs() > 1e-4
        assert large.any()
        torch.testing.assert_close(got[large], expected[large], atol=2e-4, rtol=0)


def test_summed_gradients_and_each_steps_own_lead_elsewhere():
    model, x, y, noise = case()
    summed, own = (
        states(AdversarialDistribution(Linf(EPS), accumulate=accumulate), model, x, y, noise)[-1]
        for accumulate in (True, False)
    )
    assert ((summed.mean - own.mean).abs() > 0.1).any()
    assert ((summed.spread - own.spread).abs() > 0.1).any()


@either
def test_a_step_is_of_the_step_size_along_the_sign_wherever_there_is_a_gradient(accumulate):
    model, x, y, noise = case()
    attack = AdversarialDistribution(Linf(EPS), steps=5, accumulate=accumulate)
    path, checked = states(attack, model, x, y, noise), 0
    for before, after in pairwise(path):
        for moved, up in (
            (after.mean - before.mean, after.up_mean),
            (after.spread - before.spread, after.up_spread),
        ):
            large = up.abs() > 1e-5
            torch.testing.assert_close(moved[large].abs(), torch.full_like(moved[large], 0.3), rtol=1e-3, atol=0)
            assert torch.equal(moved[large].sign(), up[large].sign())
            assert float(moved.abs().max()) <= 0.3 + 1e-6
            checked += int(large.sum())
    assert checked > 100


@either
def test_what_a_step_follows_is_the_sum_of_the_gradients_or_the_last_one(accumulate):
    model, x, y, noise = case()
    attack = AdversarialDistribution(Linf(EPS), steps=3, samples=2, weight=0.5, accumulate=accumulate)
    total_mean, total_spread = torch.zeros_like(x), torch.zeros_like(x)
    path = states(attack, model, x, y, noise)
    for step, (before, after) in enumerate(pairwise(path)):
        if not accumulate:
            total_mean, total_spread = torch.zeros_like(x), torch.zeros_like(x)
        for image in range(len(x)):  # each by itself
            one = slice(image, image + 1)
            for i in range(2):
                mean, spread = (p[one].clone().requires_grad_() for p in (before.mean, before.spread))
                n = drawn(noise, x, 2 * step + i)[one]
                d, std = sample(x[one], mean, spread, n), torch.log(1 + torch.exp(spread))
                entropy = (n**2 / 2 + torch.log(std + 1e-8) + torch.log(1 - d**2 + 1e-8)).mean()
                raised = -model(torch.clamp(x[one] + EPS * d, 0, 1)).log_softmax(1)[0, y[image]] + 0.5 * entropy
                of_mean, of_spread = torch.autograd.grad(raised, (mean, spread))
                total_mean[one] += of_mean / 2
                total_spread[one] += of_spread / 2
        torch.testing.assert_close(after.up_mean, total_mean, atol=1e-12, rtol=1e-9)
        torch.testing.assert_close(after.up_spread, total_spread, atol=1e-12, rtol=1e-9)


def test_without_a_loss_it_climbs_the_entropy_of_the_squashed_normal_distribution():
    _, x, y, noise = case()
    attack = AdversarialDistribution(Linf(EPS), steps=2, samples=3, weight=0.7, accumulate=False)
    path = states(attack, lambda z: 0 * z.flatten(1)[:, :3], x, y, noise)
    for step, (before, after) in enumerate(pairwise(path)):
        mean, spread = before.mean.clone().requires_grad_(), before.spread.clone().requires_grad_()
        base = distributions.Normal(mean, nn.functional.softplus(spread))
        minus_log_density = 0
        for i in range(3):
            z = mean + base.scale * drawn(noise, x, 3 * step + i)
            squash = distributions.transforms.TanhTransform()
            minus_log_density -= (base.log_prob(z) - squash.log_abs_det_jacobian(z, squash(z))) / 3
        entropy = 0.7 * minus_log_density.mean((1, 2, 3)).sum()
        of_mean, of_spread = torch.autograd.grad(entropy, (mean, spread))
        # 1e-8 stands inside the logarithms
        torch.testing.assert_close(after.up_mean, of_mean, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(after.up_spread, of_spread, atol=1e-5, rtol=1e-4)
        assert of_spread.abs().max() > 1e-3


def test_it_begins_with_a_deviation_of_0_693_around_the_image():
    x = images(300, low=0.3, high=0.7)
    attack = AdversarialDistribution(Linf(EPS), steps=0)
    d = (attack(smooth(), x, labels(300)) - x) / EPS
    assert float(d.atanh().std()) == pytest.approx(0.6931, rel=0.03)
    assert abs(float(d.mean())) < 0.03
    assert float(d.abs().max()) > 0.9


def test_the_result_is_a_sample_that_no_gradient_was_taken_at():
    model, x, y, noise = case()
    attack = AdversarialDistribution(Linf(EPS), steps=2, samples=3)
    end = states(attack, model, x, y, noise)[-1]
    x_adv = attack(model, x, y, noise)
    for number in range(7):
        other = torch.clamp(x + EPS * sample(x, end.mean, end.spread, drawn(noise, x, number)), 0, 1)
        assert (x_adv - other).abs().max() > 0.01


def test_all_samples_of_all_steps_and_pixels_are_drawn_apart():
    _, x, y, noise = case(6)
    seen: list[Tensor] = []

    def flat(z: Tensor) -> Tensor:
        seen.append(z.detach())
        return 0 * z.flatten(1)[:, :3]

    inside = torch.full_like(x, 0.5)
    attack = AdversarialDistribution(
        Linf(EPS), steps=3, samples=4, weight=0.0
    )  # nothing moves: all samples are of one law
    attack(flat, inside, y, noise)
    assert len(seen) == 12
    values = torch.stack(seen).flatten()
    assert len(values.unique()) == len(values)
    assert float(((values - 0.5) / EPS).atanh().std()) == pytest.approx(0.6931, rel=0.05)


def test_what_is_learned_raises_the_loss_and_a_heavy_entropy_keeps_the_distribution_wide():
    model, x, y = smooth(), images(40), labels(40)

    def loss(**change) -> float:
        x_adv = AdversarialDistribution(Linf(EPS), **change)(model, x, y)
        return float(nn.functional.cross_entropy(model(x_adv), y).detach())

    assert loss() > 1.2 * loss(steps=0)

    def width(weight: float) -> float:
        attack = AdversarialDistribution(Linf(EPS), weight=weight)
        return float(nn.functional.softplus(states(attack, model, x, y, Noise.of_batch(40))[-1].spread).mean())

    assert width(100.0) > 1.1 * width(0.01)


@pytest.mark.parametrize("n", [1, 2])
def test_how_many_images_stand_beside_one_does_not_matter(n):
    model, x, y, noise = case()
    attack = AdversarialDistribution(Linf(EPS))
    whole = attack(model, x, y, noise)
    for first in range(0, 4, n):
        some = slice(first, first + n)
        torch.testing.assert_close(attack(model, x[some], y[some], noise[some]), whole[some], atol=1e-9, rtol=0)


def test_images_that_are_done_stay_as_they_are():
    model, x, y, noise = case()
    attack = AdversarialDistribution(Linf(EPS), steps=3)
    state = attack.start(model, x, y, noise)
    state.done[1] = True
    after = attack.advance(model, x, y, state)
    same = [bool((a == b).all()) for a, b in zip(after.x_adv, state.x_adv, strict=True)]
    assert same == [False, True, False, False]
    assert torch.equal(after.mean[1], state.mean[1])
    assert torch.equal(after.spread[1], state.spread[1])


@either
def test_a_gradient_that_is_not_a_number_leaves_images(accumulate):
    model, x, y, noise = case()
    # the slope of sqrt(max(0, x - 2)) at x < 2 is 0 times infinity
    broken = lambda z: model(z) + (z[:, :, :1, :1] - 2).clamp_min(0).sqrt().flatten(1)  # noqa: E731
    x_adv = AdversarialDistribution(Linf(EPS), accumulate=accumulate)(broken, x, y, noise)
    assert bool(x_adv.isfinite().all())
    assert float((x_adv - x).abs().max()) <= EPS
    assert (x_adv[:, :, 1:] != x[:, :, 1:]).any()


def test_a_network_without_gradient_is_refused():
    with pytest.raises(UsageError, match="No gradient reaches the images"):
        AdversarialDistribution()(lambda z: z.detach().flatten(1)[:, :3], images(3), labels(3))


# settings


def test_the_defaults_are_the_authors():
    attack = AdversarialDistribution()
    assert (attack.steps, attack.samples, attack.step_size, attack.weight) == (7, 5, 0.3, 0.01)
    assert attack.ball == Linf(8 / 255)
    assert attack.accumulate
    assert attack.summary == (
        "a sample of an adversarial distribution on cross-entropy, Linf 8/255, 7 steps of 0.3 with 5 samples each, entropy "
        "weighed 0.01, gradients summed over steps"
    )
    assert "summed" not in AdversarialDistribution(accumulate=False).summary


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": -1}, "steps is -1; it must be at least 0"),
        ({"samples": 0}, "samples is 0; it must be at least 1"),
        ({"step_size": -0.1}, r"step_size is -0\.1; it must be at least 0"),
        ({"weight": -1.0}, r"weight is -1\.0; it must be at least 0"),
        ({"ball": "linf"}, "ball is 'linf'; it must be a Linf"),
    ],
)
def test_settings_out_of_range_are_refused(change, said):
    with pytest.raises(UsageError, match=said):
        AdversarialDistribution(**change)
