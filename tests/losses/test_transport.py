"""Entropic transport: POT, scipy's assignment and dual problem, closed forms, marginals, finite differences."""

import math
import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, minimize
from scipy.special import logsumexp

from hardy.losses.features import cosine_distance
from hardy.losses.transport import cosine_costs, transport_distance, transport_plan
from hardy.randomness import Noise

TO_THE_END = {"iterations": 20_000, "tolerance": 1e-13, "floor": 0.0}


def costs(n: int, m: int | None = None, seed: int = 0) -> torch.Tensor:
    return Noise.of_batch(n, seed, purpose="costs").uniform((m or n,)).double()


def test_costs_are_cosine_distances_of_all_pairs():
    a, b = (Noise.of_batch(n, seed=n).normal((4,)).double() for n in (3, 5))
    got = cosine_costs(a, b)
    for i in range(3):
        for j in range(5):
            assert float(got[i, j]) == pytest.approx(float(cosine_distance(a[i : i + 1], b[j : j + 1])), abs=1e-12)
    assert float(cosine_costs(a.float(), a.float()).min()) >= 0  # rounding takes none below


@pytest.mark.parametrize("seed", range(3))
def test_with_little_regularisation_it_is_the_optimal_assignment(seed):
    given = costs(6, seed=seed)
    rows, columns = linear_sum_assignment(given.numpy())
    best = float(given.numpy()[rows, columns].sum()) / 6
    got = float(transport_distance(given, 0.002, **TO_THE_END))
    assert got == pytest.approx(best, abs=1e-3)
    assert got >= best - 1e-5  # the marginals are not met exactly


def test_it_solves_the_entropic_dual_that_scipy_solves():
    given, r = costs(4, 5, seed=3), 0.1

    def negative_dual(potentials: np.ndarray) -> float:
        u, v = potentials[:4, None], potentials[None, 4:]
        return r * float(logsumexp((u + v - given.numpy()) / r)) - float(u.mean() + v.mean())

    solved = minimize(negative_dual, np.zeros(9), method="BFGS", options={"gtol": 1e-9}).x
    plan = np.exp((solved[:4, None] + solved[None, 4:] - given.numpy()) / r)
    got = transport_plan(given, r, **TO_THE_END).numpy()
    assert np.abs(got - plan / plan.sum()).max() < 1e-6
    assert float(transport_distance(given, r, **TO_THE_END)) == pytest.approx(float((got * given.numpy()).sum()))


def test_two_against_two_has_a_closed_form():
    # T = [[t, s], [s, t]] with t / s = exp((c01 + c10 - c00 - c11) / 2 r)
    given, r = torch.tensor([[0.1, 0.4], [0.7, 0.3]], dtype=torch.float64), 0.2
    ratio = math.exp((0.4 + 0.7 - 0.1 - 0.3) / (2 * r))
    t = 0.5 * ratio / (1 + ratio)
    got = transport_plan(given, r, **TO_THE_END)
    assert got.flatten().tolist() == pytest.approx([t, 0.5 - t, 0.5 - t, t], abs=1e-9)


def test_one_image_goes_where_there_is_one_place():
    given = torch.tensor([[0.3]], dtype=torch.float64)
    assert float(transport_plan(given)) == pytest.approx(1.0, abs=1e-4)
    assert float(transport_distance(given)) == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_the_constants_of_the_code_marginals_are_nearly_uniform(dtype):
    plan = transport_plan(costs(32).to(dtype))
    assert plan.sum(0).tolist() == pytest.approx([1 / 32] * 32, rel=0.01)
    assert plan.sum(1).tolist() == pytest.approx([1 / 32] * 32, rel=0.6)  # the columns were set last
    assert float(plan.sum()) == pytest.approx(1, rel=0.01)


def test_iterations_and_tolerance_end_it():
    given = costs(8)
    one = transport_plan(given, iterations=1)
    u = 0.01 * (-math.log(8) - torch.log((-given / 0.01).exp().sum(1, keepdim=True) + 1e-6))
    v = 0.01 * (-math.log(8) - torch.log(((u - given) / 0.01).exp().sum(0, keepdim=True) + 1e-6))
    assert torch.allclose(one, ((u + v - given) / 0.01).exp(), atol=1e-12)
    assert torch.equal(transport_plan(given, tolerance=1e9), one)
    assert not torch.allclose(transport_plan(given, tolerance=0.0), one, atol=1e-4)


@pytest.mark.parametrize(("regularisation", "floor"), [(0.01, 1e-6), (0.3, 1e-6), (0.3, 0.0)])
def test_the_gradient_is_that_of_finite_differences_the_plans_own_included(regularisation, floor):
    given = costs(4, seed=2).requires_grad_()

    def distance(at: torch.Tensor) -> torch.Tensor:
        return transport_distance(at, regularisation, iterations=7, tolerance=0.0, floor=floor)

    assert torch.autograd.gradcheck(distance, (given,), eps=1e-7, atol=1e-4)
    (whole,) = torch.autograd.grad(distance(given), given)
    plan = transport_plan(given, regularisation, iterations=7, tolerance=0.0, floor=floor).detach()
    assert not torch.allclose(whole, plan, atol=1e-3)  # what a plan held fixed would give


def test_costs_far_beyond_the_regularisation_stay_finite():
    given = (2 * costs(16)).float().requires_grad_()
    distance = transport_distance(given, 0.001)
    (slope,) = torch.autograd.grad(distance, given)
    assert bool(distance.isfinite())
    assert bool(slope.isfinite().all())


# against POT, and on logits


def logits(n: int = 60, classes: int = 10, seed: int = 0) -> torch.Tensor:
    return Noise.of_batch(n, seed, purpose="logits").normal((classes,)).double()


@pytest.mark.parametrize(
    ("n", "m", "regularisation"), [(4, 9, 0.01), (5, 5, 0.05), (12, 12, 0.1), (4, 9, 0.05), (12, 12, 0.5)]
)
def test_brought_to_the_end_it_is_the_plan_of_pot(n, m, regularisation):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ot
    given = costs(n, m, seed=n)
    theirs = ot.sinkhorn(
        np.full(n, 1 / n),
        np.full(m, 1 / m),
        given.numpy(),
        regularisation,
        method="sinkhorn_log",
        numItermax=20_000,
        stopThr=1e-12,
    )
    got = transport_plan(given, regularisation, **TO_THE_END).numpy()
    assert np.abs(got - theirs).max() < 1e-9
    distance = float(transport_distance(given, regularisation, **TO_THE_END))
    assert distance == pytest.approx(float((theirs * given.numpy()).sum()), abs=1e-9)


@pytest.mark.parametrize("tolerance", [1.0, 0.1, 0.01])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_marginals_are_uniform_as_far_as_the_loose_stop_says(tolerance, dtype):
    moved = logits() + 0.1 * logits(seed=1)
    given = cosine_costs(logits().to(dtype), moved.to(dtype))
    plan = transport_plan(given, tolerance=tolerance)
    # the next change of the potentials u would be this
    change = 0.01 * (60 * plan.sum(1)).log().abs().sum()
    assert float(change) < tolerance
    assert float(change) > 1e-6  # the rows are not met: the stop is a loose one
    assert plan.sum(0).tolist() == pytest.approx(
        [1 / 60] * 60, rel=1e-3
    )  # the columns were set last, but for the floor


def test_the_transport_of_a_batch_to_itself_is_small_and_above_zero():
    given = cosine_costs(logits(), logits())
    assert float(given.diagonal().max()) < 1e-12  # without regularisation nothing would have to go anywhere
    distance = float(transport_distance(given))
    assert 1e-11 < distance < 0.01 * float(given.mean())
    assert distance < 0.5 * float(transport_distance(cosine_costs(logits(), logits(seed=1))))
    assert float(transport_distance(given, 0.1)) > 2 * distance
