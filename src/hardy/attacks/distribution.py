"""AdversarialDistribution: learns, for each image, a distribution of perturbations, and draws one of them.

    maximise over m, r   E[ CE(f(x + d), y) ] + weight * H(d),   d = eps * tanh(m + softplus(r) * n),   n ~ N(0, 1)

with H the mean over all pixels of n^2 / 2 + log(std) + log(1 - tanh^2), the entropy but for constants.

Source:  Deng et al., "Adversarial distributional training for robust deep learning", NeurIPS 2020, ADT_EXP: 7 steps of 5
         samples each, step size 0.3, weight 0.01. Adam with both betas 0 is ascent along the sign, g / (|g| + 1e-8).
Differs: the authors' code never sets gradients to zero within an image's steps, so that each step follows the sum of all
         gradients so far; `accumulate=False` takes each step's own. A gradient is that of an image's own loss and not of
         the batch's mean, so that what becomes of an image does not depend on how many stand beside it.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hardy.attacks.attack import NO_GRADIENT, Forward, Iterative, State
from hardy.attacks.balls import Linf
from hardy.describe import require, settings
from hardy.errors import UsageError
from hardy.losses.criteria import check_labels
from hardy.losses.logits import cross_entropy
from hardy.randomness import Noise
from hardy.types import Images

_TINY = 1e-8  # inside the logarithms and beside Adam's root, as in the authors' code


@dataclass
class DistributionState(State):
    """mean, spread: (N, C, H, W), m and r. up_mean, up_spread: what their next step adds to. noise: each image's own."""

    mean: Tensor
    spread: Tensor
    up_mean: Tensor
    up_spread: Tensor
    noise: Noise


@settings
class AdversarialDistribution(Iterative):
    """Ascent on the parameters of a distribution of perturbations; hands back a sample of it."""

    ball: Linf = Linf()
    steps: int = 7
    samples: int = 5  # of the distribution, for the gradient of one step
    step_size: float = 0.3  # of m and r, before tanh and softplus; no pixel units
    weight: float = 0.01  # of the entropy; lambda in the paper
    accumulate: bool = True  # whether a step follows the sum of all gradients so far

    def __post_init__(self) -> None:
        require(self.steps >= 0, "steps", self.steps, "at least 0")
        require(self.samples >= 1, "samples", self.samples, "at least 1")
        require(self.step_size >= 0, "step_size", self.step_size, "at least 0")
        require(self.weight >= 0, "weight", self.weight, "at least 0")

    @property
    def iterations(self) -> int:
        return self.steps

    @property
    def summary(self) -> str:
        summed = ", gradients summed over steps" if self.accumulate else ""
        return (
            f"a sample of an adversarial distribution on cross-entropy, {self.ball}, {self.steps} steps of "
            f"{self.step_size:g} with {self.samples} samples each, entropy weighed {self.weight:g}{summed}"
        )

    def start(self, f: Forward, x: Images, target: Any, noise: Noise) -> DistributionState:
        del f
        check_labels(target)
        zero = torch.zeros_like(x)
        step = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        x_adv = self._sample(x, zero, zero, noise.derive("result"))
        return DistributionState(x_adv, step >= self.steps, step, zero, zero, zero, zero, noise)

    def advance(self, f: Forward, x: Images, target: Any, state: State) -> DistributionState:
        assert isinstance(state, DistributionState)
        kept = 1.0 if self.accumulate else 0.0
        up_mean, up_spread = kept * state.up_mean, kept * state.up_spread
        for i in range(self.samples):
            n = state.noise.derive("sample").draw(self.samples * state.step + i).normal(x.shape[1:]).to(x.dtype)
            of_mean, of_spread = self._gradient(f, x, target, state.mean, state.spread, n)
            up_mean, up_spread = up_mean + of_mean / self.samples, up_spread + of_spread / self.samples
        going = (~state.done).view(-1, 1, 1, 1)
        mean = state.mean + going * (self.step_size * _normed(up_mean))
        spread = state.spread + going * (self.step_size * _normed(up_spread))
        # the same draw at each step, so that an image is moved by what is learned alone
        x_adv = self._sample(x, mean, spread, state.noise.derive("result"))
        step = state.step + 1
        return DistributionState(x_adv, step >= self.steps, step, mean, spread, up_mean, up_spread, state.noise)

    def _sample(self, x: Images, mean: Tensor, spread: Tensor, noise: Noise) -> Images:
        n = noise.normal(x.shape[1:]).to(x.dtype)
        return self.ball.project(x + self.ball.eps * (mean + F.softplus(spread) * n).tanh(), x)

    def _gradient(
        self, f: Forward, x: Images, target: Any, mean: Tensor, spread: Tensor, n: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of an image's loss and entropy at one sample, 0 where they are NaN."""
        with torch.enable_grad():
            mean, spread = mean.detach().requires_grad_(), spread.detach().requires_grad_()
            deviation = F.softplus(spread)
            squashed = (mean + deviation * n).tanh()
            entropy = n.square() / 2 + (deviation + _TINY).log() + (1 - squashed.square() + _TINY).log()
            loss = cross_entropy(f((x + self.ball.eps * squashed).clamp(0, 1)), target)
            if not loss.requires_grad:
                raise UsageError(NO_GRADIENT)
            total = (loss + self.weight * entropy.flatten(1).mean(1)).sum()
            of_mean, of_spread = torch.autograd.grad(total, (mean, spread))
        return of_mean.nan_to_num(0.0), of_spread.nan_to_num(0.0)


def _normed(gradient: Tensor) -> Tensor:
    """A step of Adam with both betas 0."""
    return gradient / (gradient.abs() + _TINY)
