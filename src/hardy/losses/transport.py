"""Entropic optimal transport between the images of two batches (Sinkhorn); its gradient goes through the iterations.

    OT(a, b) = sum_ij T_ij C_ij,   C_ij = max(0, 1 - cos(a_i, b_j)),   T = exp((u_i + v_j - C_ij) / regularisation)

with u and v such that the rows and the columns of T sum to uniform weights.

Source:  Cuturi, NeurIPS 2013; Zhang and Wang, "Feature scattering", NeurIPS 2019, eq. (5), with the constants of its code:
         regularisation 0.01, at most 100 iterations, stopped loosely, 1e-6 beside the sums in the logarithms.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hardy.types import Features


def cosine_costs(a: Features, b: Features) -> Tensor:
    """(N, M): max(0, 1 - cos(a_i, b_j)) for rows of (N, D) and (M, D)."""
    return (1 - F.normalize(a) @ F.normalize(b).T).clamp_min(0)


def transport_plan(
    costs: Tensor,
    regularisation: float = 0.01,
    iterations: int = 100,
    tolerance: float = 0.1,
    floor: float = 1e-6,
) -> Tensor:
    """(N, M): how much goes from i to j; rows sum to about 1/N, columns to 1/M. The gradient reaches the costs.

    tolerance: the iterations end where the potentials u, in units of the costs, change by less than this in sum. floor: what
    is added to each sum under a logarithm.
    """
    n, m = costs.shape
    u, v = costs.new_zeros(n, 1), costs.new_zeros(1, m)

    def exponent() -> Tensor:
        return (u + v - costs) / regularisation

    for _ in range(iterations):
        before = u
        u = u + regularisation * (-math.log(n) - _log_sum(exponent(), 1, floor))
        v = v + regularisation * (-math.log(m) - _log_sum(exponent(), 0, floor))
        if float((u - before).detach().abs().sum()) < tolerance:
            break
    return exponent().exp()


def transport_distance(
    costs: Tensor,
    regularisation: float = 0.01,
    iterations: int = 100,
    tolerance: float = 0.1,
    floor: float = 1e-6,
) -> Tensor:
    """The cost () of the transport plan; the gradient goes through the plan too."""
    return (transport_plan(costs, regularisation, iterations, tolerance, floor) * costs).sum()


def _log_sum(exponent: Tensor, dim: int, floor: float) -> Tensor:
    """log(sum exp + floor) along a dimension, which is kept."""
    total = exponent.logsumexp(dim, keepdim=True)
    return torch.logaddexp(total, torch.full_like(total, math.log(floor))) if floor else total
