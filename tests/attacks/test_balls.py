"""Linf and L2: containment to the last bit, projection by brute force, sampling, and which way is up."""

import math

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import example, given
from hypothesis import settings as tried
from scipy import stats

from hardy.attacks.balls import L2, Linf, fraction
from hardy.errors import UsageError
from hardy.randomness import Noise
from toys import images

PIXELS = st.sampled_from([0.0, 1.0, 0.5, 2.0**-24, 1 - 2.0**-24]) | st.floats(0, 1, width=32)
RADII = st.sampled_from([0.0, 8 / 255, 0.03, 0.031, 1e-8, 2.0**-24, 0.5, 1.0]) | st.floats(0, 1)


def exact(x_adv: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """The difference of float32 images without rounding."""
    return x_adv.double() - x.double()


# containment


@given(st.lists(PIXELS, min_size=1, max_size=20), st.floats(-2, 2, width=32), RADII)
@example([0.0, 1.0], 2.0, 0.0)
@example([0.48, 0.49, 0.2], 2.0, 0.3569657722299704)
def test_linf_images_lie_within_eps_to_the_last_bit(pixels, away, eps):
    x = torch.tensor(pixels).view(1, 1, 1, -1)
    x_adv = Linf(eps).project(x + away, x)
    assert float(exact(x_adv, x).abs().max()) <= eps
    assert float((x_adv - x).abs().max()) <= eps
    assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1


@given(st.lists(PIXELS, min_size=1, max_size=20), st.integers(0, 1000), st.floats(0, 4))
@example([0.0, 1.0], 1, 0.0)
def test_l2_images_lie_within_eps_to_the_last_bit(pixels, seed, eps):
    x = torch.tensor(pixels).view(1, 1, 1, -1)
    x_adv = L2(eps).project(x + 2 * Noise.of_batch(1, seed).normal(x.shape[1:]), x)
    assert float(exact(x_adv, x).square().sum().sqrt()) <= eps
    assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1


def test_many_pixels_and_radii_lie_within_eps_to_the_last_bit():
    radii = Noise.of_batch(1, purpose="radii").uniform((150,))[0].double().square().tolist()
    for number, eps in enumerate(radii):
        x = images(4, (3, 16, 16), seed=number) ** 4  # many small values: finer float32 numbers
        for sign in (1, -1):
            assert float(exact(Linf(eps).project(x + 2 * sign, x), x).abs().max()) <= eps
        far = x + 5 * Noise.of_batch(4, number).normal((3, 16, 16))
        radius = 20 * eps
        assert float(exact(L2(radius).project(far, x), x).square().sum((1, 2, 3)).sqrt().max()) <= radius


@pytest.mark.parametrize("pixels", [1, 2, 3, 16, 768])
def test_large_l2_radii_are_kept_to_the_last_bit_where_nothing_is_clipped(pixels):
    for number, share in enumerate(Noise.of_batch(1, purpose="shares").uniform((40,), 0, 0.95)[0].double().tolist()):
        x = images(4000 // pixels, (1, 1, pixels), number, high=0.05)
        each = share * (1.01 + images(4000 // pixels, (1, 1, pixels), number + 1, high=0.05))
        eps = share * pixels**0.5
        x_adv = L2(eps).project(x + each, x)
        assert float(exact(x_adv, x).square().sum((1, 2, 3)).sqrt().max()) <= eps


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 8, 8), (3, 96, 96)])
def test_the_radius_is_used_up_but_for_rounding(shape):
    x = images(3, shape, low=0.4, high=0.6)
    direction = Noise.of_batch(3).normal(shape)
    assert Linf(0.1).distance(Linf(0.1).project(x + direction.sign(), x), x).tolist() == pytest.approx(
        [0.1] * 3, abs=2e-7
    )
    far = x + 100 * direction
    assert L2(0.1).distance(L2(0.1).project(far, x), x).tolist() == pytest.approx([0.1] * 3, abs=1.2e-5)


@pytest.mark.parametrize("ball", [Linf(0.0), L2(0.0)], ids=str)
def test_a_radius_of_zero_gives_x_itself(ball):
    x = torch.cat([images(3), torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)])
    noise = Noise.of_batch(5)
    assert torch.equal(ball.project(x + noise.normal(x.shape[1:]), x), x)
    assert torch.equal(ball.sample(x, noise), x)


@pytest.mark.parametrize("ball", [Linf(0.1), L2(0.5)], ids=str)
def test_projection_leaves_its_inputs_alone_and_keeps_points_inside_where_they_are(ball):
    x = images(4)
    near = ball.project(x + 0.01 * Noise.of_batch(4).normal(x.shape[1:]), x)
    x_before, near_before = x.clone(), near.clone()
    again = ball.project(near, x)
    assert torch.allclose(again, near, atol=1e-7)
    assert torch.equal(x, x_before)
    assert torch.equal(near, near_before)


# projection by brute force


def nearest_of_a_grid(far: torch.Tensor, x: torch.Tensor, ball: Linf | L2) -> float:
    """The least distance from `far` to any point of a fine grid on [0, 1]^2 that the ball around x holds."""
    axis = torch.linspace(0, 1, 501, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis).view(-1, 1, 1, 2)
    allowed = points[ball.distance(points, x) <= ball.eps]
    return float((allowed - far).square().sum((1, 2, 3)).sqrt().min())


# with L2 only inside: where clipping follows, the usual projection is not the nearest point
@pytest.mark.parametrize(("ball", "low"), [(Linf(0.3), 0.0), (L2(0.3), 0.35)], ids=["Linf", "L2"])
def test_no_allowed_point_of_a_grid_is_nearer_than_the_projection(ball, low):
    for seed in range(20):
        x = images(1, (1, 1, 2), seed, torch.float64, low, 1 - low)
        far = x + Noise.of_batch(1, seed, purpose="far").normal((1, 1, 2)).double()
        got = ball.project(far, x)
        distance = float((got - far).square().sum().sqrt())
        assert distance <= nearest_of_a_grid(far, x, ball) + 1e-6
        assert float(ball.distance(got, x)) <= ball.eps


def test_l2_projection_is_radial_and_then_clipped():
    x = torch.tensor([[[[0.9, 0.5]]]])
    got = L2(0.5).project(x + torch.tensor([[[[3.0, 4.0]]]]), x)
    assert got.flatten().tolist() == pytest.approx([1.0, 0.9], abs=1e-5)  # (0.9 + 0.3 clipped, 0.5 + 0.4)


# ascent


def test_linf_ascends_along_signs():
    g = torch.tensor([[[[0.5, -1e-30, 0.0]]]])
    assert Linf().ascend(g).tolist() == [[[[1.0, -1.0, 0.0]]]]


@pytest.mark.parametrize("size", [1e30, 1.0, 1e-10, 1e-25, 1e-36])
def test_l2_ascends_by_unit_length_however_small_the_gradient(size):
    g = Noise.of_batch(3).normal((3, 8, 8))
    up = L2().ascend(g * size)
    assert up.flatten(1).double().norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)
    assert torch.allclose(up, L2().ascend(g), atol=1e-5)


@pytest.mark.parametrize("ball", [Linf(), L2()], ids=str)
def test_no_gradient_is_no_direction(ball):
    assert not ball.ascend(torch.zeros(2, 1, 3, 3)).any()


@pytest.mark.parametrize("ball", [Linf(), L2()], ids=str)
def test_no_other_direction_of_the_unit_ball_goes_up_more(ball):
    g = Noise.of_batch(1).normal((1, 3, 3)).double()
    best = (g * ball.ascend(g)).sum()
    others = Noise.of_batch(2000, purpose="others").normal((1, 3, 3)).double()
    norm = others.flatten(1).norm(p=torch.inf if isinstance(ball, Linf) else 2, dim=1)
    others = others / norm.view(-1, 1, 1, 1)
    assert float((g * others).sum((1, 2, 3)).max()) <= float(best)


# distance and sampling


def test_distances_are_those_of_the_norm():
    x = images(3, (3, 5, 5))
    x_adv = images(3, (3, 5, 5), seed=1)
    d = (x_adv - x).flatten(1)
    assert torch.equal(Linf().distance(x_adv, x), d.norm(p=torch.inf, dim=1))
    assert torch.allclose(L2().distance(x_adv, x), d.norm(dim=1), rtol=1e-6)
    assert L2().distance(x, x).tolist() == [0.0] * 3
    assert Linf().distance(x[:0], x[:0]).shape == L2().distance(x[:0], x[:0]).shape == (0,)


def test_linf_samples_are_uniform_in_the_box():
    x = images(200, (1, 10, 10), low=0.3, high=0.7)
    offset = Linf(0.25).sample(x, Noise.of_batch(200)) - x
    assert float(offset.abs().max()) <= 0.25
    assert stats.kstest(offset.flatten().double().numpy(), stats.uniform(-0.25, 0.5).cdf).pvalue > 0.01
    pixels = offset.flatten(1).double()
    assert abs(float(torch.corrcoef(pixels[:, :2].T)[0, 1])) < 4 / math.sqrt(200)


def test_l2_samples_are_uniform_in_the_ball():
    x = images(4000, (1, 1, 3), low=0.45, high=0.55)
    offset = (L2(0.4).sample(x, Noise.of_batch(4000)) - x).flatten(1).double()
    length = offset.norm(dim=1)
    assert float(length.max()) <= 0.4
    assert stats.kstest(((length / 0.4) ** 3).numpy(), "uniform").pvalue > 0.01  # the share of volume further in
    height = offset[:, 0] / length
    assert stats.kstest(height.numpy(), stats.uniform(-1, 2).cdf).pvalue > 0.01  # Archimedes: uniform on a sphere


@pytest.mark.parametrize("ball", [Linf(0.2), L2(1.0)], ids=str)
def test_samples_at_the_edge_of_the_range_stay_in_it(ball):
    x = torch.cat([torch.zeros(5, 1, 4, 4), torch.ones(5, 1, 4, 4)])
    drawn = ball.sample(x, Noise.of_batch(10))
    assert float(drawn.min()) == 0.0
    assert float(drawn.max()) == 1.0
    assert bool((drawn[:5] > 0).any())
    assert float(ball.distance(drawn, x).max()) <= ball.eps


@pytest.mark.parametrize("ball", [Linf(0.2), L2(1.0)], ids=str)
def test_samples_keep_the_type_of_the_images_and_their_own_noise(ball):
    x = images(6, dtype=torch.float64)
    drawn = ball.sample(x, Noise.of_batch(6))
    assert drawn.dtype == torch.float64
    assert torch.allclose(ball.sample(x[2:4], Noise.of_batch(6)[2:4]), drawn[2:4], atol=1e-12)
    assert not torch.allclose(drawn[0] - x[0], drawn[1] - x[1], atol=1e-3)
    assert ball.sample(x[:0], Noise.of_batch(0)).shape == (0, 1, 4, 4)


# settings


@pytest.mark.parametrize("eps", [-0.1, 8, 1.5])
def test_linf_radii_outside_the_pixels_units_are_refused(eps):
    with pytest.raises(UsageError, match=r"eps is .*; it must be in \[0, 1\]"):
        Linf(eps)


@pytest.mark.parametrize("eps", [-0.1, -3])
def test_l2_radii_below_zero_are_refused(eps):
    with pytest.raises(UsageError, match=r"eps is .*; it must be at least 0"):
        L2(eps)


@pytest.mark.parametrize("ball", [Linf, L2])
@pytest.mark.parametrize("eps", [math.nan, math.inf])
def test_radii_that_are_no_numbers_are_refused(ball, eps):
    with pytest.raises(UsageError, match=r"eps is .*; it must be a finite number"):
        ball(eps)


@tried(max_examples=50)
@given(st.integers(0, 255))
def test_whole_255ths_are_written_as_such(k):
    assert fraction(k / 255) == (f"{k}/255" if k % 255 else str(k // 255))


def test_balls_and_radii_are_written_briefly():
    assert str(Linf(8 / 255)) == "Linf 8/255"
    assert str(L2(0.5)) == "L2 0.5"
    assert fraction(0.03) == "0.03"
    assert fraction(1 / 3 + 1e-4) == "0.333433"
    assert fraction(8 / 255 / 4) == "2/255"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-300, "1e-300"), (1e-13, "1e-13"), (8 / 255 * (1 + 1e-8), "0.0313725"), (1 - 1e-12, "1"), (306 / 255, "1.2"),
     (-8 / 255, "-0.0313725"), (float("inf"), "inf")],
)  # fmt: skip
def test_what_is_no_whole_number_of_255ths_below_1_is_written_as_a_decimal(value, text):
    assert fraction(value) == text
