"""The shortest step onto a hyperplane that stays within [0, 1], in Linf and in L2.

    minimise |d|   subject to   <w, d> = -gap,   0 <= x + d <= 1

Every pixel goes the way that lowers |gap|, by min(t v_i, room_i) with room_i its distance from the end of [0, 1] on that
way, and v_i = 1 in Linf, |w_i| in L2 (the conditions of Karush, Kuhn and Tucker). What is left is one number: the t with
sum_i |w_i| min(t v_i, room_i) = |gap|. The sum is concave and piecewise linear in t, so that Newton's method from t = 0
ascends to the root and is there, exactly, after finitely many steps; no sorting. Where [0, 1] does not meet the
hyperplane, every pixel goes all its way.

Source: Croce and Hein, ICML 2020 (FAB), eq. (4), state the problem; the solution here is our own.
"""

import torch
from torch import Tensor

from hardy.types import Images, PerSample

_ABOVE_ZERO = 1e-38  # what a gradient is divided by where it is 0


def step_linf(x: Images, w: Tensor, gap: PerSample) -> Tensor:
    """The step d of least max |d_i|; of these the one that moves every pixel by that much or as far as it can go.

    w: normals, shaped as x; where one is 0, so is the step. gap: (N,), how far <w, x> is above the hyperplane's value.
    """
    slope, gap, way, room = _prepared(x, w, gap)
    level = _level(room, slope, slope * room, gap)
    return way * torch.minimum(level, room)


def step_l2(x: Images, w: Tensor, gap: PerSample) -> Tensor:
    """The step d of least sum d_i^2. w, gap: as for `step_linf`."""
    slope, gap, way, room = _prepared(x, w, gap)
    full_at = torch.where(slope > 0, room / slope, 0)
    level = _level(full_at, slope.square(), slope * room, gap)
    return way * torch.where(full_at <= level, room, level * slope)


def _prepared(x: Images, w: Tensor, gap: PerSample) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """|w| and |gap| (N, 1, 1, 1), both divided by the largest |w_i|; each pixel's way (-1, 0, 1), and its room on it."""
    scale = w.abs().amax((1, 2, 3), keepdim=True).clamp_min(_ABOVE_ZERO)
    gap = gap.view(-1, 1, 1, 1)
    way = -gap.sign() * w.sign()
    return w.abs() / scale, gap.abs() / scale, way, torch.where(way > 0, 1 - x, x).clamp_min(0)


def _level(full_at: Tensor, slopes: Tensor, full: Tensor, gap: Tensor) -> Tensor:
    """The t (N, 1, 1, 1) with sum_i (slopes_i t while t < full_at_i, then full_i) = gap; without one, above all full_at."""
    level = torch.zeros_like(gap)
    while True:
        free = full_at > level
        slope = torch.where(free, slopes, 0).sum((1, 2, 3), keepdim=True)
        left = gap - torch.where(free, 0, full).sum((1, 2, 3), keepdim=True)
        root = left / slope
        rises = (slope > 0) & (root > level)  # not for NaN; and never once no further pixel has become full
        if not bool(rises.any()):
            return level
        level = torch.where(rises, root, level)
