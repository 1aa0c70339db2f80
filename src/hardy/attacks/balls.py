"""Linf and L2: which perturbed images are allowed, and which way is up."""

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from hardy.describe import require, settings
from hardy.randomness import Noise
from hardy.types import Images, PerSample

# The distance between neighbouring float32 numbers below 1: half of it is what adding a perturbation to a pixel may
# round by, the other half what the radius itself may. Balls are projected onto smaller by that much, so that the images
# handed back lie within eps to the last bit.
_ROUNDING = 2.0**-24
_NORM_ROUNDING = 2.0**-20  # relative: a norm summed in float32, and the scaling by it


Norm = Literal["linf", "l2"]


class Ball(ABC):
    """Images within a distance eps of x, and within [0, 1]."""

    eps: float

    @abstractmethod
    def project(self, x_adv: Images, x: Images) -> Images:
        """The nearest image (for each norm: its usual projection, then clipping to [0, 1]); exactly within eps of x."""

    @abstractmethod
    def sample(self, x: Images, noise: Noise) -> Images:
        """A random image of the ball around each x."""

    @abstractmethod
    def ascend(self, grad: Tensor) -> Tensor:
        """Argmax <grad, d> over the unit ball; 0 where the gradient is 0."""

    @abstractmethod
    def distance(self, x_adv: Images, x: Images) -> PerSample:
        """The distance this ball bounds, in pixel units of [0, 1]."""

    def __str__(self) -> str:
        return f"{type(self).__name__} {fraction(self.eps)}"


@settings
class Linf(Ball):
    """max |x_adv - x| <= eps."""

    eps: float = 8 / 255  # pixel units of [0, 1]

    def __post_init__(self) -> None:
        require(0 <= self.eps <= 1, "eps", self.eps, "in [0, 1], the pixels' units: 8/255, not 8")

    def project(self, x_adv: Images, x: Images) -> Images:
        radius = max(self.eps - _ROUNDING, 0.0)
        return torch.clamp(x_adv, x - radius, x + radius).clamp_(0, 1)

    def sample(self, x: Images, noise: Noise) -> Images:
        offset = noise.uniform(x.shape[1:], -self.eps, self.eps)
        return self.project(x + offset.to(x.dtype), x)

    def ascend(self, grad: Tensor) -> Tensor:
        return grad.sign()

    def distance(self, x_adv: Images, x: Images) -> PerSample:
        return (x_adv - x).abs().flatten(1).amax(1)


@settings
class L2(Ball):
    """sqrt(sum (x_adv - x)^2) <= eps."""

    eps: float = 0.5  # pixel units of [0, 1]

    def __post_init__(self) -> None:
        require(self.eps >= 0, "eps", self.eps, "at least 0")

    def project(self, x_adv: Images, x: Images) -> Images:
        offset = x_adv - x
        slack = _ROUNDING * math.sqrt(offset[0].numel() if len(offset) else 1) + _NORM_ROUNDING * self.eps
        radius = max(self.eps - slack, 0.0)
        norm = _norm(offset)
        return (x + offset * (radius / norm.clamp_min(max(radius, 1e-12))).clamp_max(1)).clamp_(0, 1)

    def sample(self, x: Images, noise: Noise) -> Images:
        direction = noise.derive("direction").normal(x.shape[1:]).to(x.dtype)
        length = noise.derive("length").uniform((1, 1, 1)).to(x.dtype) ** (1 / max(x[:1].numel(), 1))
        return self.project(x + self.eps * length * self.ascend(direction), x)

    def ascend(self, grad: Tensor) -> Tensor:
        scaled = grad / _largest(grad)
        return scaled / _norm(scaled).clamp_min(0.5)  # the norm is at least 1, or 0

    def distance(self, x_adv: Images, x: Images) -> PerSample:
        return _norm(x_adv - x).flatten()


def in_norm(norm: Norm, eps: float) -> Ball:
    """The ball of a norm and radius."""
    return Linf(eps) if norm == "linf" else L2(eps)


def _norm(x: Tensor) -> Tensor:
    """L2 norm of each image, (N, 1, 1, 1)."""
    # scaled by the largest entry first: squares of gradients of 1e-25 would vanish in float32
    largest = _largest(x)
    return largest * (x / largest).square().sum((1, 2, 3), keepdim=True).sqrt()


def _largest(x: Tensor) -> Tensor:
    """Largest absolute entry of each image, (N, 1, 1, 1); above 0 always."""
    return x.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-38) if x.numel() else x.new_ones(len(x), 1, 1, 1)


def fraction(value: float) -> str:
    """0.0313... as 8/255 where it is a whole number of 255ths between 0 and 1, else to six digits."""
    of_255 = round(value * 255) if 0 < value < 1 else 0
    whole = 0 < of_255 < 255 and math.isclose(value * 255, of_255, rel_tol=1e-9)
    return f"{of_255}/255" if whole else f"{value:.6g}"
