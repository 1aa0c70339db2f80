"""Noise on images: Gaussian, shot, impulse and speckle noise, in each channel of each pixel by itself.

Source: Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019,
        and its code (github.com/hendrycks/robustness, make_cifar_c.py and make_imagenet_c.py).
"""

from functools import lru_cache

import torch
from torch import Tensor

from hardy.data.corruption import Corruption, cut, unit
from hardy.describe import settings
from hardy.randomness import Noise


@settings
class GaussianNoise(Corruption):
    """Normal noise: x + N(0, sigma^2)."""

    sigma: float

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        return cut(unit(images) + self.sigma * noise.normal(images.shape[1:]))


@settings
class ShotNoise(Corruption):
    """Counted photons: Poisson(photons * x) / photons. photons: how many of them are white, on average."""

    photons: float
    above_zero = ("photons",)

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        unit_numbers = (noise.bits(images.shape[1:]) + 0.5) * 2.0**-32
        table = _poisson(self.photons).to(images.device)
        # a byte's row of the table stands between its own number and the next
        counts = torch.searchsorted(table.flatten(), images + unit_numbers) - table.shape[1] * images.long()
        return cut(counts / self.photons)


@lru_cache(maxsize=16)
def _poisson(photons: float) -> Tensor:
    """float64 (256, K): for each byte, its number plus P(X <= k) of its Poisson distribution; the last is 1."""
    rate = torch.arange(256, dtype=torch.float64)[:, None] * photons / 255
    k = torch.arange(int(photons + 10 * photons**0.5 + 20), dtype=torch.float64)
    shares = (torch.xlogy(k, rate) - rate - torch.lgamma(k + 1)).exp().cumsum(1)
    shares[:, -1] = 1
    return shares.clamp(max=1) + torch.arange(256)[:, None]


@settings
class ImpulseNoise(Corruption):
    """Black with probability share / 2, white with share / 2. share: of the values in all channels."""

    share: float

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        u = noise.uniform(images.shape[1:])
        struck = torch.where(u < self.share / 2, images.new_tensor(0), images.new_tensor(255))
        return torch.where(u < self.share, struck, images)


@settings
class SpeckleNoise(Corruption):
    """Normal noise in proportion to the pixel: x + x N(0, sigma^2)."""

    sigma: float

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        x = unit(images)
        return cut(x + x * (self.sigma * noise.normal(images.shape[1:])))
