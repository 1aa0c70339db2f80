"""Optimisers and learning-rate schedules: settings, and functions of progress in [0, 1]."""

import math
from abc import ABC, abstractmethod
from itertools import pairwise

import torch
from torch import nn

from hardy.describe import require, settings


class Schedule(ABC):
    """The learning rate's factor as a function of progress through training, 0 at the start and 1 at the end."""

    @abstractmethod
    def __call__(self, progress: float) -> float: ...


@settings
class Constant(Schedule):
    """The same rate throughout."""

    def __call__(self, progress: float) -> float:
        del progress
        return 1.0


@settings
class Piecewise(Schedule):
    """The rate times `factor` from each of the `drops` on."""

    drops: tuple[float, ...] = (0.5, 0.75)  # shares of the training's length
    factor: float = 0.1

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.drops))
        require(
            rising and all(0 <= d <= 1 for d in self.drops),
            "drops",
            self.drops,
            "shares of the training in [0, 1], rising",
        )
        require(0 < self.factor <= 1, "factor", self.factor, "in (0, 1]")

    def __call__(self, progress: float) -> float:
        return float(self.factor ** sum(progress >= drop for drop in self.drops))


@settings
class Cosine(Schedule):
    """From 1 to 0 along half a cosine, after a linear rise over the share `warmup`."""

    warmup: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.warmup < 1, "warmup", self.warmup, "a share of the training in [0, 1)")

    def __call__(self, progress: float) -> float:
        if progress < self.warmup:
            return progress / self.warmup
        return (1 + math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup))) / 2


@settings
class OneCycle(Schedule):
    """Linearly from 0 to 1 at `peak`, and linearly back to 0."""

    peak: float = 0.4

    def __post_init__(self) -> None:
        require(0 < self.peak < 1, "peak", self.peak, "a share of the training in (0, 1)")

    def __call__(self, progress: float) -> float:
        return progress / self.peak if progress < self.peak else (1 - progress) / (1 - self.peak)


class Optimizer(ABC):
    """The settings of an optimiser; `build` makes it for a network."""

    lr: float
    schedule: Schedule
    clip: float | None

    @abstractmethod
    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """The optimiser of the network's parameters, at the full learning rate."""


@settings
class SGD(Optimizer):
    """Stochastic gradient descent with momentum."""

    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 5e-4
    decay_norms: bool = True  # whether batch norms and biases decay too; Madry et al. decay weights only
    schedule: Schedule = Piecewise()
    clip: float | None = None  # largest norm of the whole gradient; None is no limit

    def __post_init__(self) -> None:
        _check(self.lr, self.weight_decay, self.clip)
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        require(self.momentum > 0 or not self.nesterov, "momentum", self.momentum, "above 0 where nesterov is set")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        groups = _groups(model, self.weight_decay, self.decay_norms)
        return torch.optim.SGD(groups, self.lr, self.momentum, nesterov=self.nesterov)


@settings
class Adam(Optimizer):
    """Adam, with weight decay added to the gradient where there is any."""

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    schedule: Schedule = Constant()
    clip: float | None = None  # largest norm of the whole gradient; None is no limit

    def __post_init__(self) -> None:
        _check(self.lr, self.weight_decay, self.clip)
        require(0 <= self.beta1 < 1, "beta1", self.beta1, "in [0, 1)")
        require(0 <= self.beta2 < 1, "beta2", self.beta2, "in [0, 1)")

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(model.parameters(), self.lr, (self.beta1, self.beta2), weight_decay=self.weight_decay)


def _check(lr: float, weight_decay: float, clip: float | None) -> None:
    require(lr > 0, "lr", lr, "above 0")
    require(weight_decay >= 0, "weight_decay", weight_decay, "at least 0")
    require(clip is None or clip > 0, "clip", clip, "above 0, or None")


def _groups(model: nn.Module, weight_decay: float, decay_norms: bool) -> list[dict[str, object]]:
    if decay_norms:
        return [{"params": list(model.parameters()), "weight_decay": weight_decay}]
    return [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
