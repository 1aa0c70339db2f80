"""Spatter: drops of water or of mud on the lens.

Source:  Hendrycks and Dietterich, ICLR 2019, and its code (see `corrupt_noise`), which has OpenCV find the drops' edges, their
         distances and a relief; the mathematics of that are written out here.
Differs: distances to an edge are exact, and not sums of steps of 1, 1.4 and 2.1969. Where no drop falls the image stays as it
         is; the code divides by zero there.
"""

import dataclasses
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from hardy.data.corruption import Corruption, colour, cut, cut_bytes, unit
from hardy.data.filters import blurred, correlated, gaussian_weights
from hardy.describe import settings
from hardy.randomness import Noise

_FARTHEST = 20  # pixels from an edge; what is farther is as far
_LOW, _HIGH = 50, 150  # how steep an edge is at least everywhere, and somewhere
_RELIEF = torch.tensor([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=torch.float64)
_BOX = torch.full((3, 3), 1 / 9, dtype=torch.float64)
_SOBEL = torch.tensor([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=torch.float64)


@settings
class Water(Corruption):
    """Drops of water, pale turquoise: brighter by `mix` times their wetness times their relief, over the image's most.

    mean, deviation, sigma, threshold: see `_wet`.
    """

    mean: float
    deviation: float
    sigma: float
    threshold: float
    mix: float

    def scaled(self, by: float) -> "Water":
        return dataclasses.replace(self, sigma=by * self.sigma, deviation=_as_rough(self.deviation, self.sigma, by))

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        x = unit(images)
        wet = cut(_wet(self.mean, self.deviation, self.sigma, self.threshold, images, noise)).double()
        near = cut_bytes(correlated(distances(edges(wet)).clamp(max=_FARTHEST), _BOX)).double()
        relief = correlated(equalised(near), _RELIEF).clamp(0, 255)
        drops = wet * correlated(relief, _BOX).round()
        most = drops.amax((2, 3), keepdim=True).clamp_min(1)
        return cut(x + self.mix * drops / most * colour(175, 238, 238, x))


@settings
class Mud(Corruption):
    """Drops of mud, brown, smoothed by a Gaussian of `soft`, and opaque where that leaves 0.8 or more of them.

    mean, deviation, sigma, threshold: see `_wet`.
    """

    mean: float
    deviation: float
    sigma: float
    threshold: float
    soft: float

    def scaled(self, by: float) -> "Mud":
        rough = _as_rough(self.deviation, self.sigma, by)
        return dataclasses.replace(self, sigma=by * self.sigma, soft=by * self.soft, deviation=rough)

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        x = unit(images)
        wet = _wet(self.mean, self.deviation, self.sigma, self.threshold, images, noise)
        cover = blurred((wet > self.threshold).double(), self.soft)
        cover = torch.where(cover < 0.8, 0, cover)
        return cut(x * (1 - cover) + cover * colour(63, 42, 20, x))


def _wet(mean: float, deviation: float, sigma: float, threshold: float, images: Tensor, noise: Noise) -> Tensor:
    """float64 (N, 1, H, W): N(mean, deviation^2) under a Gaussian of sigma, and 0 where that is below the threshold."""
    drawn = mean + deviation * noise.normal((1, *images.shape[2:])).double()
    wet = blurred(drawn, sigma)
    return torch.where(wet < threshold, 0, wet)


def _as_rough(deviation: float, sigma: float, by: float) -> float:
    """The deviation of noise that a Gaussian of by * sigma leaves as rough as one of sigma leaves noise of `deviation`."""
    before, now = (float(gaussian_weights(s, math.ceil(4 * s)).square().sum()) for s in (sigma, by * sigma))
    return deviation * before / now


def edges(x: Tensor) -> Tensor:
    """Bool (N, 1, H, W): Canny's edges of values in [0, 255], as OpenCV's `Canny` finds them between thresholds 50 and 150.

    The slope is |dx| + |dy| by Sobel's filter; an edge is where it is largest along its direction, rounded to 45 degrees, above
    50, and connected to where it is above 150.
    """
    across, down = correlated(x, _SOBEL, "nearest"), correlated(x, _SOBEL.T, "nearest")
    slope = across.abs() + down.abs()
    around = pad(slope, (1, 1, 1, 1))
    h, w = x.shape[2:]

    def beside(rows: int, columns: int) -> Tensor:
        return around[:, :, 1 + rows : 1 + rows + h, 1 + columns : 1 + columns + w]

    lying, standing = down.abs() < (2**0.5 - 1) * across.abs(), down.abs() > (2**0.5 + 1) * across.abs()
    falling = (slope > beside(-1, -1)) & (slope > beside(1, 1))
    rising = (slope > beside(-1, 1)) & (slope > beside(1, -1))
    crest = torch.where(across * down < 0, rising, falling)
    crest = torch.where(lying, (slope > beside(0, -1)) & (slope >= beside(0, 1)), crest)
    crest = torch.where(standing, (slope > beside(-1, 0)) & (slope >= beside(1, 0)), crest)
    possible, found = crest & (slope > _LOW), crest & (slope > _HIGH)
    while True:
        grown = (max_pool2d(found.float(), 3, 1, 1) > 0) & possible
        if torch.equal(grown, found):
            return found
        found = grown


def distances(there: Tensor) -> Tensor:
    """float64 (N, 1, H, W): how far from each pixel the nearest one is that is `there` (bool), in the same image."""
    from scipy.ndimage import distance_transform_edt

    # images lie behind each other, far apart; the last has nothing but such pixels, lest there be none at all
    away = np.pad(~there[:, 0].cpu().numpy(), ((0, 1), (0, 0), (0, 0)))
    found = distance_transform_edt(away, sampling=(1e6, 1, 1))[:-1, None]
    return torch.from_numpy(found).to(there.device)


def equalised(x: Tensor) -> Tensor:
    """Whole numbers in 0..255 (N, 1, H, W) spread so that each is as frequent as another; one alone stays as it is."""
    flat = x.flatten(1).long()
    counts = torch.zeros(len(x), 256, dtype=torch.float64, device=x.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=torch.float64))
    least = counts.gather(1, flat.amin(1, keepdim=True))
    below = (counts.cumsum(1) - least).clamp_min(0)
    spread = (below * 255 / (flat.shape[1] - least)).round()
    return torch.where(least == flat.shape[1], flat, spread.gather(1, flat)).view(x.shape).to(x.dtype)
