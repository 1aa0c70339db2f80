"""FAB: steps onto the linearised decision boundary, drawn towards the image; looks for the nearest misclassified point.

    x' = clip((1 - a) (x' + eta d(x')) + a (x + eta d(x))),   a = min(|d(x')| / (|d(x')| + |d(x)|), alpha_max)

with d the shortest step within [0, 1] onto the hyperplane on which, linearly continued from x', some class c draws level
with the label y: of all the one nearest to x'. From a misclassified x' it goes back: x' = x + beta (x' - x).

Source:  Croce and Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML 2020,
         Algorithm 1; its constants. Towards one wanted class: Croce and Hein, "Reliable evaluation of adversarial
         robustness", ICML 2020, FAB-T.
Differs: an image is done when a misclassified point within eps is found, where the authors' code goes on to a nearer one;
         the points at which gradients are taken are tested too, as their logits are there anyway. Normals below 1e-8 are
         used in L2 as well. There is no search along the line to the image at the end, as in the code within AutoAttack.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hardy.attacks.attack import NO_GRADIENT, Forward, Iterative, State
from hardy.attacks.balls import L2, Ball, Linf
from hardy.attacks.hyperplane import step_l2, step_linf
from hardy.describe import require, settings
from hardy.errors import UsageError
from hardy.losses.criteria import check_labels, true_class
from hardy.randomness import Noise
from hardy.types import Images, Labels, Logits, PerSample

_SHORTEST = 1e-8  # lengths of steps are taken to be at least this, so that their ratio is a number
_ABOVE_ZERO = 1e-12  # added to the gradient's norm, by which the difference of two logits is divided


@dataclass
class FABState(State):
    """at: where the search stands. distance: (N,), of the nearest misclassified point seen, infinite before the first."""

    at: Images
    distance: PerSample


@settings
class FAB(Iterative):
    """Search for the nearest misclassified point; an image is broken where that is found within the ball.

    With labels, the boundary to any other class, one backward pass each; with pairs (label, wanted class), as `Targeted`
    makes them, the boundary to that class only.
    """

    ball: Ball = Linf()
    steps: int = 100
    start_at: Literal["image", "random"] = "image"  # x itself; a random point at a distance of eps / 2, for restarts
    alpha_max: float = 0.1  # largest weight of the image's own step
    eta: float = 1.05  # how far beyond the hyperplane: 1 is onto it
    beta: float = 0.9  # share of the perturbation kept when going back

    def __post_init__(self) -> None:
        require(isinstance(self.ball, Linf | L2), "ball", self.ball, "Linf or L2")
        require(self.steps >= 0, "steps", self.steps, "at least 0")
        require(0 <= self.alpha_max <= 1, "alpha_max", self.alpha_max, "in [0, 1]")
        require(self.eta >= 1, "eta", self.eta, "at least 1")
        require(0 <= self.beta <= 1, "beta", self.beta, "in [0, 1]")

    @property
    def iterations(self) -> int:
        return self.steps

    @property
    def stops_at_success(self) -> bool:
        return True

    @property
    def summary(self) -> str:
        start = {"image": "x", "random": "a random point at eps / 2"}[self.start_at]
        return (
            f"FAB, {self.ball}, {self.steps} step{'s' * (self.steps != 1)} from {start}, alpha at most "
            f"{self.alpha_max:g}, eta {self.eta:g}, beta {self.beta:g}"
        )

    def start(self, f: Forward, x: Images, target: Any, noise: Noise) -> FABState:
        del f
        check_labels(true_class(target))
        at = x.clone()
        if self.start_at == "random":
            at = (x + self.ball.eps / 2 * self._random_direction(x, noise)).clamp_(0, 1)
        step = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return FABState(x.clone(), step >= self.steps, step, at, x.new_full((len(x),), torch.inf))

    def advance(self, f: Forward, x: Images, target: Any, state: State) -> FABState:
        assert isinstance(state, FABState)
        new = FABState(
            state.x_adv.clone(), state.done.clone(), state.step + 1, state.at.clone(), state.distance.clone()
        )
        active = (~state.done).nonzero().squeeze(1)
        if len(active):
            x, target = x[active], target[active]
            y = true_class(target)
            at = self._held(state.at[active], x)
            before, w, gap = self._nearest_boundary(f, at, target)
            moved = self._held(self._moved(x, at, w, gap), x)
            with torch.no_grad():
                after = f(moved).argmax(1) != y
            # the moved point first: where both are misclassified, the one that was there before is handed back
            self._report(new, x, moved, after, active)
            self._report(new, x, at, before.argmax(1) != y, active)
            new.at[active] = torch.where(after.view(-1, 1, 1, 1), x + self.beta * (moved - x), moved)
        new.done |= new.step >= self.steps
        return new

    def _report(self, new: FABState, x: Images, point: Images, wrong: Tensor, active: Tensor) -> None:
        """Note the misclassified points; one within eps ends the search."""
        distance = self.ball.distance(point, x)
        seen = active[wrong]
        new.distance[seen] = torch.minimum(new.distance[seen], distance[wrong])
        broken = wrong & (distance <= self.ball.eps)
        new.x_adv[active[broken]] = point[broken]
        new.done[active[broken]] = True

    def _held(self, point: Images, x: Images) -> Images:
        """Points within eps made so to the last bit, so that what is handed back is what was tested."""
        near = self.ball.distance(point, x) <= self.ball.eps
        return torch.where(near.view(-1, 1, 1, 1), self.ball.project(point, x), point)

    def _moved(self, x: Images, at: Images, w: Tensor, gap: PerSample) -> Images:
        """One step, from `at` and from the image, onto the hyperplane <w, . - at> = -gap and beyond it."""
        shortest = step_linf if isinstance(self.ball, Linf) else step_l2
        d = shortest(at, w, gap)
        own = shortest(x, w, gap + (w * (x - at)).sum((1, 2, 3)))
        length, own_length = (self._length(step).clamp_min(_SHORTEST) for step in (d, own))
        alpha = (length / (length + own_length)).clamp_max(self.alpha_max).view(-1, 1, 1, 1)
        return ((at + self.eta * d) * (1 - alpha) + (x + self.eta * own) * alpha).clamp(0, 1)

    def _nearest_boundary(self, f: Forward, at: Images, target: Tensor) -> tuple[Logits, Tensor, PerSample]:
        """(logits, gradient w of z_c - z_y, z_c - z_y) at these points, c the class whose boundary is the nearest."""
        y = true_class(target)
        w, gap = torch.zeros_like(at), at.new_zeros(len(at))
        nearest = at.new_full((len(at),), torch.inf)
        with torch.enable_grad():
            at = at.detach().requires_grad_()
            logits = f(at).to(at.dtype)
            other = target[:, 1:] if target.ndim == 2 else _others(y, logits.shape[1])
            gaps = logits.gather(1, other) - logits.gather(1, y[:, None])
        # one class after another: all gradients at once would take the memory of as many batches
        for value, gradient in _gradients(gaps, at):
            far = value.abs() / (_ABOVE_ZERO + self._dual_length(gradient))
            nearer = far < nearest  # not for NaN
            nearest = torch.where(nearer, far, nearest)
            gap = torch.where(nearer, value, gap)
            w = torch.where(nearer.view(-1, 1, 1, 1), gradient, w)
        return logits.detach(), w, gap

    def _random_direction(self, x: Images, noise: Noise) -> Tensor:
        """Of length 1: in Linf a uniform point of the cube, in L2 a normal one, stretched to that."""
        if isinstance(self.ball, L2):
            return self.ball.ascend(noise.normal(x.shape[1:]).to(x.dtype))
        offset = noise.uniform(x.shape[1:], -1, 1).to(x.dtype)
        return offset / self._length(offset).clamp_min(_ABOVE_ZERO).view(-1, 1, 1, 1)

    def _length(self, d: Tensor) -> PerSample:
        return self.ball.distance(d, torch.zeros_like(d))

    def _dual_length(self, w: Tensor) -> PerSample:
        """A difference of logits divided by this is the distance from its hyperplane, [0, 1] aside."""
        return self._length(w) if isinstance(self.ball, L2) else w.abs().sum((1, 2, 3))


def _others(y: Labels, classes: int) -> Tensor:
    """int64 (N, K - 1): all classes but the label, in order."""
    rank = torch.arange(classes - 1, device=y.device).expand(len(y), -1)
    return rank + (rank >= y[:, None])


def _gradients(gaps: Tensor, at: Images) -> Iterator[tuple[PerSample, Tensor]]:
    """Each column of gaps (N, columns), and its gradient at the images they were computed from; 0 where it is NaN.

    Raises: UsageError where the gaps do not depend on the images in a way that torch could follow.
    """
    for i in range(gaps.shape[1]):
        gradient = None
        if gaps.requires_grad:
            column = torch.zeros_like(gaps)
            column[:, i] = 1
            more = i < gaps.shape[1] - 1
            gradient = torch.autograd.grad(gaps, at, column, retain_graph=more, allow_unused=True)[0]
        if gradient is None:
            raise UsageError(NO_GRADIENT)
        yield gaps[:, i].detach(), gradient.nan_to_num(0.0)
