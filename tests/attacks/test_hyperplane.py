"""Steps onto a hyperplane within [0, 1]: against scipy's optima, closed forms, the reference's projections, and limits."""

import numpy as np
import pytest
import torch
from pyautoattack import fab_projections
from scipy import optimize

from hardy.attacks.hyperplane import step_l2, step_linf
from hardy.randomness import Noise

STEPS = {"Linf": step_linf, "L2": step_l2}
NORMS = {"Linf": lambda d: d.abs().amax((1, 2, 3)), "L2": lambda d: d.square().sum((1, 2, 3)).sqrt()}
both = pytest.mark.parametrize("norm", ["Linf", "L2"])


def problems(n: int, pixels: int, share: float, seed: int = 0, dtype: torch.dtype = torch.float64):
    """(x, w, gap): some weights are 0, some pixels at 0 or 1; the hyperplane is `share` of the way to the last corner."""
    noise = Noise.of_batch(n, seed, purpose="problems")
    x = noise.derive("x").uniform((1, 1, pixels), -0.2, 1.2).to(dtype).clamp(0, 1)
    w = noise.derive("w").normal((1, 1, pixels)).to(dtype) * 3
    w[..., ::4] = 0
    sign = 2 * noise.derive("sign").integers(2, ()) - 1
    up = w * sign.view(-1, 1, 1, 1)
    reach = torch.where(up > 0, up * x, up * (x - 1)).sum((1, 2, 3))  # what <up, x> can be lowered by
    return x, w, sign * reach * share


def inner(w: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    return (w * d).sum((1, 2, 3))


def by_scipy(norm: str, x: np.ndarray, w: np.ndarray, gap: float) -> float:
    """The least norm of a step onto the hyperplane within [0, 1]."""
    n = len(x)
    if norm == "Linf":
        # variables d and t: minimise t with |d_i| <= t
        bounded = np.block([[np.eye(n), -np.ones((n, 1))], [-np.eye(n), -np.ones((n, 1))]])
        limits = [*zip(-x, 1 - x, strict=True), (0, None)]
        cost = np.append(np.zeros(n), 1.0)
        found = optimize.linprog(cost, bounded, np.zeros(2 * n), np.append(w, 0.0)[None], [-gap], limits)
        assert found.success
        return float(found.fun)
    found = optimize.minimize(
        lambda d: d @ d,
        np.zeros(n),
        jac=lambda d: 2 * d,
        bounds=list(zip(-x, 1 - x, strict=True)),
        constraints={"type": "eq", "fun": lambda d: w @ d + gap, "jac": lambda d: w},
        options={"ftol": 1e-14, "maxiter": 500},
        method="SLSQP",
    )
    assert found.success
    return float(np.sqrt(found.fun))


@both
@pytest.mark.parametrize("share", [0.05, 0.4, 0.8, 0.97])
def test_the_step_leads_onto_the_hyperplane_within_the_range_and_is_as_short_as_scipys(norm, share):
    x, w, gap = problems(12, 7, share)
    d = STEPS[norm](x, w, gap)
    assert torch.allclose(inner(w, d), -gap, atol=1e-12)
    assert float((x + d).min()) >= -1e-15
    assert float((x + d).max()) <= 1 + 1e-15
    for i in range(len(x)):
        least = by_scipy(norm, x[i].flatten().numpy(), w[i].flatten().numpy(), float(gap[i]))
        assert float(NORMS[norm](d)[i]) == pytest.approx(least, abs=1e-7)


@both
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99, 1.2])
@pytest.mark.parametrize("pixels", [5, 300])
def test_steps_are_those_of_the_reference(norm, share, pixels, monkeypatch):
    x, w, gap = problems(20, pixels, share, seed=1)
    theirs = {"Linf": fab_projections.projection_linf, "L2": fab_projections.projection_l2}[norm]
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # they work in float32
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        expected = theirs(x.flatten(1), w.flatten(1), inner(w, x) - gap)
    finally:
        torch.set_default_dtype(default)
    got = STEPS[norm](x, w, gap).flatten(1)
    assert torch.allclose(got, expected, atol=1e-9)
    assert float(got.abs().max()) > 1e-4


def test_far_from_the_ends_of_the_range_the_steps_are_the_textbooks():
    x = torch.full((3, 1, 2, 2), 0.5, dtype=torch.float64)
    w = Noise.of_batch(3).normal((1, 2, 2)).to(torch.float64)
    gap = torch.tensor([0.01, -0.02, 0.0], dtype=torch.float64)
    as_images = gap.view(-1, 1, 1, 1)
    linf = -as_images * w.sign() / w.abs().sum((1, 2, 3), keepdim=True)
    assert torch.allclose(step_linf(x, w, gap), linf, atol=1e-15)
    l2 = -as_images * w / w.square().sum((1, 2, 3), keepdim=True)
    assert torch.allclose(step_l2(x, w, gap), l2, atol=1e-15)


def test_a_pixel_without_room_leaves_its_part_to_the_others():
    x = torch.tensor([0.1, 0.5, 0.5], dtype=torch.float64).view(1, 1, 1, 3)
    w = torch.tensor([2.0, 1.0, -1.0], dtype=torch.float64).view(1, 1, 1, 3)
    gap = torch.tensor([0.8], dtype=torch.float64)
    # Linf: 2 * 0.1 + t + t = 0.8; L2: 2 * 0.1 + t + t = 0.8 as well, the first pixel being full at t = 0.05
    expected = [-0.1, -0.3, 0.3]
    assert step_linf(x, w, gap).flatten().tolist() == pytest.approx(expected)
    assert step_l2(x, w, gap).flatten().tolist() == pytest.approx(expected)


@both
@pytest.mark.parametrize("share", [1.0, 1.0001, 5.0, 1e30])
def test_where_the_range_does_not_reach_the_hyperplane_every_pixel_goes_all_its_way(norm, share):
    x, w, gap = problems(10, 9, share)
    way = -gap.sign().view(-1, 1, 1, 1) * w.sign()
    corner = torch.where(way > 0, 1.0, torch.where(way < 0, 0.0, x))
    assert torch.allclose(x + STEPS[norm](x, w, gap), corner, atol=1e-9)


@both
def test_nothing_to_do_is_no_step(norm):
    x, w, gap = problems(4, 6, 0.5)
    assert not STEPS[norm](x, w, torch.zeros_like(gap)).any()
    assert not STEPS[norm](x, torch.zeros_like(w), gap).any()
    assert STEPS[norm](x[:0], w[:0], gap[:0]).shape == (0, 1, 1, 6)


@both
@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e10, 1e30])
def test_in_float32_steps_do_not_depend_on_the_scale_of_the_normal(norm, scale):
    x, w, gap = problems(10, 50, 0.6, dtype=torch.float32)
    expected = STEPS[norm](x, w, gap)
    assert torch.allclose(STEPS[norm](x, w * scale, gap * scale), expected, atol=1e-5)
    assert float(expected.abs().max()) > 0.1


@both
@pytest.mark.parametrize("gap", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("weight", [0.0, 1e-42, 1.0, 3e38])
def test_steps_are_finite_whatever_the_gap_and_the_normal(norm, gap, weight):
    x, w, _ = problems(4, 6, 0.5, dtype=torch.float32)
    w = w.sign() * weight
    d = STEPS[norm](x, w, torch.full((4,), gap))
    assert bool(d.isfinite().all())
    assert -1e-6 <= float((x + d).min()) <= float((x + d).max()) <= 1 + 1e-6


@both
def test_an_image_gets_the_same_step_in_any_batch(norm):
    x, w, gap = problems(20, 300, 0.5, dtype=torch.float32)
    gap *= torch.linspace(0, 3, 20)
    together = STEPS[norm](x, w, gap)
    alone = torch.cat([STEPS[norm](x[i : i + 1], w[i : i + 1], gap[i : i + 1]) for i in range(20)])
    assert torch.allclose(alone, together, atol=1e-6)
    assert bool(together[1:].flatten(1).any(1).all())
