"""Filters: Gaussian blur, correlation, zoom, motion blur and bilinear sampling of batches of images, on any device."""

import math
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

Border = Literal["nearest", "reflect", "mirror"]  # aaa|abc|ccc, cba|abc|cba, cb|abc|ba: scipy's names

_NOTHING = 1e-9  # a weight below it moves no byte


def mirrored(place: Tensor, n: int, border: Border) -> Tensor:
    """int64: which of 0 .. n-1 stands at each place beyond them, as far out as one likes."""
    if border == "nearest" or n == 1:
        return place.clamp(0, n - 1)
    period, double = (2 * n, 1) if border == "reflect" else (2 * n - 2, 0)
    inside = place.remainder(period)
    return torch.where(inside < n, inside, period - double - inside)


def gaussian_weights(sigma: float, reach: int) -> Tensor:
    """float64 (2 reach + 1,): exp(-i^2 / (2 sigma^2)), of sum 1."""
    at = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-(at**2) / (2 * sigma**2)) if sigma > 0 else (at == 0).double()
    return weights / weights.sum()


def banded(weights: Tensor, n: int, border: Border) -> Tensor:
    """float64 (n, n): correlation with these weights, their middle at 0, along an axis of n places, as a matrix."""
    reach = len(weights) // 2
    places = torch.arange(n)[:, None] + torch.arange(-reach, reach + 1)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    return matrix.scatter_add_(1, mirrored(places, n, border), weights.double().expand(n, -1))


def along(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Images (..., H, W) with a matrix applied to each of the two axes: rows @ x @ columns transposed."""
    return rows.to(x) @ (x @ columns.to(x).T)


@lru_cache(maxsize=64)
def _smoothing(n: int, sigma: float, border: Border, truncate: float) -> Tensor:
    return banded(gaussian_weights(sigma, int(truncate * sigma + 0.5)), n, border)


def blurred(x: Tensor, sigma: float, border: Border = "nearest", truncate: float = 4.0) -> Tensor:
    """Images (..., H, W) under a Gaussian of standard deviation sigma, cut off at `truncate` of them, as scipy cuts it off."""
    h, w = x.shape[-2:]
    return along(x, _smoothing(h, sigma, border, truncate), _smoothing(w, sigma, border, truncate))


def correlated(x: Tensor, kernel: Tensor, border: Border = "mirror") -> Tensor:
    """Images (..., H, W) correlated with a kernel of odd sides, its middle at 0."""
    h, w = x.shape[-2:]
    reach = len(kernel) // 2
    above = mirrored(torch.arange(-reach, h + reach, device=x.device), h, border)
    padded = x.index_select(-2, above)
    lines = [padded[..., i : i + h, :] @ banded(weights, w, border).to(x).T for i, weights in enumerate(kernel)]
    return torch.stack(lines).sum(0)


@lru_cache(maxsize=256)
def zooming(n: int, factor: float) -> Tensor:
    """float64 (n, n): the middle of an axis of n places, enlarged `factor` (at least 1) times and cut to n, as a matrix.

    The middle ceil(n / factor) places become round(factor times as many) by linear interpolation, the outermost staying so.
    """
    kept = math.ceil(n / factor)
    first, long = (n - kept) // 2, round(kept * factor)
    step = (kept - 1) / (long - 1) if long > 1 else 0.0
    at = first + step * (torch.arange(n, dtype=torch.float64) + (long - n) // 2)
    below = at.floor().clamp(first, first + kept - 1)
    above = (below + 1).clamp(max=first + kept - 1)
    matrix = torch.zeros(n, n, dtype=torch.float64)
    matrix.scatter_add_(1, below.long()[:, None], (1 - (at - below))[:, None])
    return matrix.scatter_add_(1, above.long()[:, None], (at - below)[:, None])


def streaked(x: Tensor, radius: float, sigma: float, angle: Tensor) -> Tensor:
    """Motion blur of images (N, C, H, W), each in a direction of its own; angle: (N,), in radians, clockwise from the x axis.

        out(p) = sum_i k_i x(p + o_i),  i = 0 .. 2 ceil(radius),  k_i ~ exp(-i^2 / (2 sigma^2)), of sum 1
        o_i = (ceil(i cos(angle) - 1/2), ceil(i sin(angle) - 1/2)); beyond the border stands the border's pixel

    Source: ImageMagick 6.8 to 7, `MotionBlurImage` (effect.c), whose half of a Gaussian looks one way only.
    """
    n, c, h, w = x.shape
    weights = torch.exp(-(torch.arange(2 * math.ceil(radius) + 1, dtype=torch.float64) ** 2) / (2 * sigma**2))
    weights = weights / weights.sum()
    flat, out = x.flatten(2), torch.zeros_like(x.flatten(2))
    across, down = torch.arange(w, device=x.device), torch.arange(h, device=x.device)
    for i, weight in enumerate(weights.tolist()):
        if weight < _NOTHING:
            break
        columns, rows = (
            torch.ceil(i * part - 0.5).long()[:, None] for part in (angle.double().cos(), angle.double().sin())
        )
        place = (down + rows).clamp(0, h - 1)[:, :, None] * w + (across + columns).clamp(0, w - 1)[:, None, :]
        out += weight * flat.gather(2, place.view(n, 1, h * w).expand(-1, c, -1))
    return out.view(n, c, h, w)


def sampled(x: Tensor, rows: Tensor, columns: Tensor, border: Literal["reflect", "mirror"]) -> Tensor:
    """Images (N, C, H, W) read between their pixels by bilinear interpolation, at (N, H', W') rows and columns."""
    h, w = x.shape[-2:]
    if border == "mirror":
        across, down = (2 * at / max(1, n - 1) - 1 for at, n in ((columns, w), (rows, h)))
    else:
        across, down = ((2 * at + 1) / n - 1 for at, n in ((columns, w), (rows, h)))
    grid = torch.stack([across, down], -1).to(x)
    return grid_sample(x, grid, "bilinear", "reflection", align_corners=border == "mirror")


def plasma(size: int, decay: float, uniform: Tensor) -> Tensor:
    """float64 (N, size, size): clouds by the diamond-square method on a torus, each from 0 to 1; size is a power of two.

    The middle of each square, then of each edge, is the mean of its four neighbours plus a number in [-a, a]; a begins at
    10^4 and is divided by decay^2 with each halving of the squares. uniform: (N, size^2 - 1), numbers in [-1, 1].
    """
    n, step, spread, used = len(uniform), size, 1e4, 0
    clouds = uniform.new_zeros(n, size, size, dtype=torch.float64)

    def some(side: int) -> Tensor:
        nonlocal used
        used += side * side
        return spread * uniform[:, used - side * side : used].double().view(n, side, side)

    while step >= 2:
        half, side = step // 2, size // step
        corner = clouds[:, ::step, ::step]
        pair = corner + corner.roll(-1, 1)
        middle = (pair + pair.roll(-1, 2)) / 4 + some(side)
        clouds[:, half::step, half::step] = middle
        clouds[:, ::step, half::step] = (middle + middle.roll(1, 1) + corner + corner.roll(-1, 2)) / 4 + some(side)
        clouds[:, half::step, ::step] = (middle + middle.roll(1, 2) + corner + corner.roll(-1, 1)) / 4 + some(side)
        step, spread = half, spread / decay**2
    low, high = (bound(clouds.flatten(1), 1).view(n, 1, 1) for bound in (torch.amin, torch.amax))
    return (clouds - low) / (high - low)
