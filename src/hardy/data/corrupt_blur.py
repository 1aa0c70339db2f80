"""Blurs: out of focus, through glass, by motion, by zooming in, and Gaussian.

Source:  Hendrycks and Dietterich, ICLR 2019, and its code (see `corrupt_noise`).
Differs: sums are in float64. An edge that is not square is enlarged by its own length.
"""

import math
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from hardy.data.corruption import Corruption, cut_bytes
from hardy.data.filters import blurred, correlated, gaussian_weights, streaked, zooming
from hardy.describe import require, settings
from hardy.randomness import Noise


@settings
class GaussianBlur(Corruption):
    """A Gaussian of standard deviation sigma, cut off at four of them."""

    sigma: float
    lengths = ("sigma",)

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        del noise
        return cut_bytes(blurred(images.double(), self.sigma))


@settings
class DefocusBlur(Corruption):
    """Correlation with a disk of pixels of that radius, itself smoothed by a Gaussian of 3 x 3 pixels (5 x 5 beyond radius 8).

    Differs: of a radius from 8 on the code mirrors the disk at its square's edge while it smooths it.
    """

    radius: float
    sigma: float

    def scaled(self, by: float) -> "DefocusBlur":
        # a disk of more than one pixel does not become one, which would be no blur at all
        radius = max(1, by * self.radius) if self.radius >= 1 else by * self.radius
        return replace(self, radius=radius, sigma=by * self.sigma)

    @property
    def kernel(self) -> Tensor:
        """float64 (2 r + 1, 2 r + 1)."""
        reach = 1 if self.radius <= 8 else 2
        smooth = gaussian_weights(self.sigma, reach)[None]
        whole = math.floor(self.radius) + reach
        at = torch.arange(-whole, whole + 1, dtype=torch.float64)
        disk = (at[:, None] ** 2 + at**2 <= self.radius**2).double()
        return conv2d((disk / disk.sum())[None, None], (smooth.T * smooth)[None, None], padding=reach)[0, 0]

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        del noise
        return cut_bytes(correlated(images.double(), self.kernel))


@settings
class GlassBlur(Corruption):
    """A Gaussian, pixels that take the value of one nearby, and the Gaussian again.

    From the last pixel to the first, row by row, each takes the value that the one dy below and dx to the right of it has by
    then, dy and dx drawn from -shift .. shift - 1. The first shift + 1 rows and columns and the last shift - 1 keep theirs.

    Differs: nothing from the code, whose exchange of two pixels copies one over the other. The paper says they are shuffled.
    """

    sigma: float
    shift: int
    passes: int
    lengths = ("sigma", "shift")
    above_zero = ("shift",)

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        n, c, h, w = images.shape
        x = cut_bytes(blurred(images.double(), self.sigma)).flatten(2)
        for i in range(self.passes):
            x = x.gather(2, self._source(h, w, noise.derive(f"pass {i}")).view(n, 1, h * w).expand(-1, c, -1))
        return cut_bytes(blurred(x.view(n, c, h, w).double(), self.sigma))

    def _source(self, h: int, w: int, noise: Noise) -> Tensor:
        """int64 (N, H W): the pixel whose value each one ends with."""
        d, here = self.shift, torch.arange(h * w, device=noise.rows.device)
        moving = torch.zeros(h, w, dtype=torch.bool, device=here.device)
        moving[d + 1 : h - d + 1, d + 1 : w - d + 1] = True
        moving = moving.flatten()
        down, across = (noise.integers(2 * d, (2, int(moving.sum()))) - d).unbind(1)
        source = here.repeat(len(noise), 1)
        source[:, moving] += w * down + across
        # a pixel that comes later in the image has its new value already: what it has is looked up there, twice as far each time
        further = (source > here) & moving[source]
        while further.any():
            source, further = (
                torch.where(further, source.gather(1, source), source),
                further & further.gather(1, source),
            )
        return source


@settings
class MotionBlur(Corruption):
    """Half a Gaussian along a line at an angle from U(-45, 45) degrees; see `streaked`."""

    radius: float
    sigma: float
    lengths = ("radius", "sigma")
    above_zero = ("sigma",)

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        angle = noise.uniform((), -math.pi / 4, math.pi / 4)
        return streaked(images.float(), self.radius, self.sigma, angle).round().to(torch.uint8)


@settings
class ZoomBlur(Corruption):
    """The mean of the image and of the image enlarged around its middle by 1, 1 + step, ... below `last`.

    Differs: nothing from the code, which has the image itself in the mean twice.
    """

    last: float
    step: float
    above_zero = ("step",)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.last > 1, "last", self.last, "above 1")

    @property
    def factors(self) -> list[float]:
        """1.06 is one of them where `last` is 1.06 and `step` 0.01: sums of float64 numbers round."""
        return [float(factor) for factor in np.arange(1, self.last, self.step)]

    def apply(self, images: Tensor, noise: Noise) -> Tensor:
        del noise
        n, c, h, w = images.shape
        pixels = images.cpu().double().view(n * c, h * w).numpy().T
        done = _mean_of_zooms(h, w, tuple(self.factors)) @ np.ascontiguousarray(pixels)
        return cut_bytes(torch.from_numpy(np.ascontiguousarray(done.T)).to(images.device).view(n, c, h, w))


@lru_cache(maxsize=16)
def _mean_of_zooms(h: int, w: int, factors: tuple[float, ...]) -> Any:
    """The sparse matrix (h w, h w) that all factors, and the image itself once more, make together of an image's pixels."""
    from scipy.sparse import csr_array, eye_array, kron

    total = eye_array(h * w, format="csr")
    for factor in factors:
        total = total + kron(csr_array(zooming(h, factor).numpy()), csr_array(zooming(w, factor).numpy()), format="csr")
    return total / (len(factors) + 1)
