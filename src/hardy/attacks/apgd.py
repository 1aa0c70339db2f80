"""APGD: projected gradient ascent that chooses its own step sizes, by whether the loss still rises.

    z_t = project(x_t + s_t * ascend(g_t)),   x_(t+1) = project(x_t + 0.75 (z_t - x_t) + 0.25 (x_t - x_(t-1)))

From s_0 = 2 eps. At checkpoints, ever closer together, s is halved and the search goes on from its best point, if at most a
share rho of the steps since the last one raised the loss, or if the last one halved nothing and the best has not risen since.

Source:  Croce and Hein, "Reliable evaluation of adversarial robustness", ICML 2020, Algorithm 1.
Differs: like the authors' code: checkpoints are whole numbers of steps, the first step counts as a rise if its loss is above
         0 (not above the start's), and after a return to the best point the momentum is measured from the place returned
         from. Unlike it: an image is left as soon as one of its iterates is misclassified, which changes no verdict; and
         with several passes the loss is their mean and the prediction that of their mean logits, not the last pass's.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Forward, Iterative, State, of_unfinished
from hardy.attacks.balls import L2, Ball, Linf
from hardy.attacks.pgd import gradient_at
from hardy.describe import require, settings
from hardy.losses.criteria import Criterion, CrossEntropy, check_labels, true_class
from hardy.randomness import Noise
from hardy.types import Images, PerSample

_KEPT = 0.75  # share of the new step in a move; the rest repeats the last move
_FIRST, _SHORTER, _SHORTEST = (
    0.22,
    0.03,
    0.06,
)  # steps to the first checkpoint, fewer to each next, at least; shares of all


@dataclass
class APGDState(State):
    """x_adv is the misclassified iterate where there is one, else `best`, the iterate of highest loss.

    at, previous: the last iterate and the one it was reached from. gradient, loss: of the last iterate, but the gradient of
    `best` where the search went back there. step_size: pixel units. interval: int64, steps between the last checkpoint and
    the next; since, rises: int64, steps since the last, and those of them that raised the loss. best_before: best_loss at the
    last checkpoint. halved: bool, whether that one halved the step size.
    """

    at: Images
    previous: Images
    gradient: Tensor
    loss: PerSample
    best: Images
    best_gradient: Tensor
    best_loss: PerSample
    step_size: PerSample
    interval: Tensor
    since: Tensor
    rises: Tensor
    best_before: PerSample
    halved: Tensor


@settings
class APGD(Iterative):
    """Gradient ascent without a step size to be chosen; stops at the first misclassified iterate."""

    ball: Ball = Linf()
    steps: int = 100
    loss: Criterion = CrossEntropy()  # also DLR(); TargetedDLR() within Targeted
    passes: int = 1  # forward passes that gradient and loss are the mean of: for networks that draw random numbers
    rho: float = 0.75  # share of steps that must raise the loss, or the step size is halved

    def __post_init__(self) -> None:
        require(self.steps >= 0, "steps", self.steps, "at least 0")
        require(self.passes >= 1, "passes", self.passes, "at least 1")
        require(0 <= self.rho <= 1, "rho", self.rho, "in [0, 1]")

    @property
    def iterations(self) -> int:
        return self.steps

    @property
    def stops_at_success(self) -> bool:
        return True

    @property
    def summary(self) -> str:
        steps = f"{self.steps} step{'s' * (self.steps != 1)}"
        passes = f", {self.passes} passes each" if self.passes > 1 else ""
        return f"APGD on {self.loss}, {self.ball}, {steps}{passes}, rho {self.rho:g}"

    def start(self, f: Forward, x: Images, target: Any, noise: Noise) -> APGDState:
        check_labels(true_class(target))
        at = self._random_point(x, noise)
        gradient, loss, broken = self._look(f, at, target)
        zero = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return APGDState(
            x_adv=at,
            done=broken | (zero >= self.steps),
            step=zero,
            at=at,
            previous=at,
            gradient=gradient,
            loss=torch.zeros_like(loss),  # what the first step's loss is held against
            best=at,
            best_gradient=gradient,
            best_loss=loss,
            step_size=x.new_full((len(x),), 2 * self.ball.eps),
            interval=torch.full_like(zero, self._share(_FIRST)),
            since=zero,
            rises=zero,
            best_before=loss,
            halved=torch.ones_like(broken),  # the first checkpoint asks for rises only
        )

    def advance(self, f: Forward, x: Images, target: Any, state: State) -> State:
        return of_unfinished(lambda *of: self._advance(f, *of), x, target, state)

    def _advance(self, f: Forward, x: Images, target: Any, state: State) -> APGDState:
        """The next state of images none of which is done."""
        assert isinstance(state, APGDState)
        at = self._move(x, state)
        gradient, loss, broken = self._look(f, at, target)
        better = loss > state.best_loss
        best = torch.where(_wide(better), at, state.best)
        best_gradient = torch.where(_wide(better), gradient, state.best_gradient)
        best_loss = torch.where(better, loss, state.best_loss)

        since, rises = state.since + 1, state.rises + (loss > state.loss)
        due = since == state.interval
        stuck = ~state.halved & (state.best_before >= best_loss)
        halve = due & ((rises <= self.rho * state.interval) | stuck)
        shorter = (state.interval - self._share(_SHORTER)).clamp_min(self._share(_SHORTEST))
        step = state.step + 1
        return APGDState(
            x_adv=torch.where(_wide(broken), at, best),
            done=broken | (step >= self.steps),
            step=step,
            at=torch.where(_wide(halve), best, at),
            previous=state.at,
            gradient=torch.where(_wide(halve), best_gradient, gradient),
            loss=loss,
            best=best,
            best_gradient=best_gradient,
            best_loss=best_loss,
            step_size=torch.where(halve, state.step_size / 2, state.step_size),
            interval=torch.where(due, shorter, state.interval),
            since=since.masked_fill(due, 0),
            rises=rises.masked_fill(due, 0),
            best_before=torch.where(due, best_loss, state.best_before),
            halved=torch.where(due, halve, state.halved),
        )

    def _move(self, x: Images, state: APGDState) -> Images:
        """The next iterate: a step up, mixed with the last move where there was one."""
        stepped = self.ball.project(state.at + _wide(state.step_size) * self.ball.ascend(state.gradient), x)
        kept = _wide(torch.where(state.step > 0, _KEPT, 1.0).to(x.dtype))
        return self.ball.project(state.at + kept * (stepped - state.at) + (1 - kept) * (state.at - state.previous), x)

    def _look(self, f: Forward, at: Images, target: Any) -> tuple[Tensor, PerSample, Tensor]:
        """Gradient and loss at an iterate, and whether it is misclassified."""
        losses, scores = [], []

        def looked(z: Images) -> PerSample:
            logits = f(z)
            loss = self.loss(logits, target)
            losses.append(loss.detach())
            scores.append(logits.detach())
            return loss

        gradient = sum((gradient_at(at, looked) for _ in range(self.passes)), torch.zeros_like(at)) / self.passes
        loss = torch.stack(losses).mean(0)
        loss = torch.where(loss.isnan(), -torch.inf, loss)  # no best loss, and all others are above it
        broken = torch.stack(scores).mean(0).argmax(1) != true_class(target)
        return gradient.nan_to_num(0.0), loss, broken  # a NaN would go into the image

    def _random_point(self, x: Images, noise: Noise) -> Images:
        """A start on the ball's surface: along a normal vector in L2, a uniform one of the cube in Linf."""
        shape = x.shape[1:]
        drawn = noise.normal(shape) if isinstance(self.ball, L2) else noise.uniform(shape, -1.0, 1.0)
        drawn = drawn.to(x.dtype)
        length = self.ball.distance(drawn, torch.zeros_like(drawn)).clamp_min(1e-12)
        return self.ball.project(x + self.ball.eps * drawn / _wide(length), x)

    def _share(self, share: float) -> int:
        """A share of all steps, at least 1."""
        return max(int(share * self.steps), 1)


def _wide(values: Tensor) -> Tensor:
    """(N,) as (N, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)
