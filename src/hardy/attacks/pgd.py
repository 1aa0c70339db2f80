"""PGD on any criterion, with FGSM and the papers' CW as cases of it.

    x_0 = start,   x_{t+1} = project(x_t + step_size * ascend(grad L(f(x_t), target)))

Source:  Madry et al., ICLR 2018 (PGD); Goodfellow et al., ICLR 2015 (FGSM); Dong et al., CVPR 2018 (momentum).
Differs: equation (1) of the RLFAT paper subtracts the step; its code, like everybody's, adds it. The authors take the first
         gradient at a start that may lie outside [0, 1]; here the start is projected first, as Madry et al. do.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hardy.attacks.attack import NO_GRADIENT, Forward, Iterative, State
from hardy.attacks.balls import Ball, Linf, fraction
from hardy.describe import require, settings
from hardy.errors import UsageError
from hardy.losses.criteria import Criterion, CrossEntropy, Margin
from hardy.randomness import Noise
from hardy.types import Images, PerSample

_GAUSSIAN = 0.001  # deviation of the Gaussian start, as in the TRADES and RLFAT code


def check_steps(steps: int, step_size: float | None, usual: str) -> None:
    """Raises UsageError unless these can be steps; usual: what None stands for."""
    require(steps >= 0, "steps", steps, "at least 0")
    require(step_size is None or step_size >= 0, "step_size", step_size, f"at least 0, or None for {usual}")


@dataclass
class PGDState(State):
    """velocity: the running mean of gradients, where momentum is used."""

    velocity: Tensor | None


@settings
class PGD(Iterative):
    """Projected gradient ascent; the last iterate is what it hands back."""

    ball: Ball = Linf()
    steps: int = 10
    step_size: float | None = None  # pixel units of [0, 1]; None is eps / 4
    start_at: Literal["uniform", "gaussian", "image"] = "uniform"  # in the ball; x + 0.001 * N(0, 1); x itself
    momentum: float = 0.0  # share of the previous direction kept, gradients scaled to unit L1 norm; 0 is plain PGD
    loss: Criterion = CrossEntropy()

    def __post_init__(self) -> None:
        check_steps(self.steps, self.step_size, "eps / 4")
        require(self.momentum >= 0, "momentum", self.momentum, "at least 0")

    @property
    def alpha(self) -> float:
        """The step size taken, in pixel units of [0, 1]."""
        return self.ball.eps / 4 if self.step_size is None else self.step_size

    @property
    def iterations(self) -> int:
        return self.steps

    @property
    def summary(self) -> str:
        starts = {
            "uniform": "from a uniform point of the ball",
            "gaussian": "from x + 0.001 N(0, 1)",
            "image": "from x",
        }
        kept = f", momentum {self.momentum:g}" if self.momentum else ""
        steps = f"{self.steps} step{'s' * (self.steps != 1)} of {fraction(self.alpha)}"
        return f"PGD on {self.loss}, {self.ball}, {steps} {starts[self.start_at]}{kept}"

    def start(self, f: Forward, x: Images, target: Any, noise: Noise) -> PGDState:
        del f, target
        match self.start_at:
            case "uniform":
                x_adv = self.ball.sample(x, noise)
            case "gaussian":
                x_adv = self.ball.project(x + _GAUSSIAN * noise.normal(x.shape[1:]).to(x.dtype), x)
            case "image":
                x_adv = x.clone()
        step = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        velocity = torch.zeros_like(x) if self.momentum else None
        return PGDState(x_adv, step >= self.steps, step, velocity)

    def advance(self, f: Forward, x: Images, target: Any, state: State) -> PGDState:
        assert isinstance(state, PGDState)
        direction = self.gradient(f, state.x_adv, target)
        velocity = state.velocity
        if velocity is not None:
            scale = direction.abs().sum((1, 2, 3), keepdim=True).clamp_min(1e-30)
            velocity = self.momentum * velocity + direction / scale
            direction = velocity
        x_adv = self.ball.project(state.x_adv + self.alpha * self.ball.ascend(direction), x)
        x_adv = torch.where(state.done.view(-1, 1, 1, 1), state.x_adv, x_adv)
        step = state.step + 1
        return PGDState(x_adv, step >= self.steps, step, velocity)

    def gradient(self, f: Forward, x_adv: Images, target: Any) -> Tensor:
        """Gradient of the summed criterion at x_adv, 0 where it is NaN; nothing else gets a gradient."""
        gradient = gradient_at(x_adv, lambda at: self.loss(f(at), target))
        return gradient.nan_to_num(0.0)  # a NaN would go into the image


def gradient_at(x: Images, loss: Callable[[Images], PerSample]) -> Tensor:
    """Gradient of the summed loss at x; nothing else gets one.

    Raises: UsageError where the loss does not depend on x in a way that torch could follow.
    """
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        total = loss(at).sum()
        gradient = torch.autograd.grad(total, at, allow_unused=True)[0] if total.requires_grad else None
    if gradient is None:
        raise UsageError(NO_GRADIENT)
    return gradient


def fgsm(ball: Ball, *, random_start: bool = False) -> PGD:
    """The fast gradient sign method: one step of length eps, from x itself or from a uniform point of the ball."""
    return PGD(ball, steps=1, step_size=ball.eps, start_at="uniform" if random_start else "image")


def cw(ball: Ball, steps: int) -> PGD:
    """PGD on the margin with kappa 50: what the RLFAT, InfoFeature and RAT papers call CW."""
    return PGD(ball, steps=steps, loss=Margin())
