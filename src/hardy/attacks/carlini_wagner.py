"""CarliniWagner: the nearest adversarial image in L2, by Adam over a tanh variable and a binary search.

  min over w of  c * max(z_y - max_{i != y} z_i + kappa, 0) + |x(w) - x|^2,   x(w) = (tanh(w) + 1) / 2

for one c after another: ten times the last until an adversarial image is found, then halving between the largest that failed
and the least that did not.

Source:  Carlini and Wagner, "Towards evaluating the robustness of neural networks", IEEE S&P 2017, sections V and VI;
         RLFAT paper, eqs. (2) and (3), where nothing but PGD on this margin was run (`hardy.attacks.cw`).
Differs: the authors run 10,000 steps for each c and stop early where the whole batch's loss stalls; here 1,000, and each image
         stops by itself. Distances are to x itself, not to what the tanh map makes of it.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hardy.attacks.attack import NO_GRADIENT, Forward, Iterative, State, of_unfinished
from hardy.attacks.balls import L2, Ball
from hardy.attacks.nattack import before_tanh
from hardy.attacks.pgd import gradient_at
from hardy.describe import require, settings
from hardy.errors import UsageError
from hardy.losses.criteria import check_labels, to_fall, true_class
from hardy.randomness import Noise
from hardy.types import Images, Logits, PerSample

_DECAYS = (0.9, 0.999)  # Adam's
_LARGEST_C = 1e10
_STALLED = 0.9999  # share of the loss at the last check that must be undercut
_NORM_ROUNDING = 2.0**-20  # relative: a norm summed in float32


@dataclass
class CarliniWagnerState(State):
    """delta: the change of w. m, v: its moments in Adam. c, lower, upper: float64 (N,), the search. distance: the least of an
    adversarial image so far, within the ball or not. found: bool (N,), one for this c. loss: at the last check.
    """

    delta: Tensor
    m: Tensor
    v: Tensor
    c: Tensor
    lower: Tensor
    upper: Tensor
    distance: Tensor
    found: Tensor
    loss: Tensor


@settings
class CarliniWagner(Iterative):
    """The adversarial image nearest to x in L2; the image itself where none was found within the ball.

    An image is broken if one was found within `ball.eps`: a large eps sets no bound. Towards a class where it is given pairs.
    """

    ball: Ball = L2()  # L2 alone
    steps: int = 1000  # of Adam, for each c
    binary_search_steps: int = 9  # values of c; from 10 on, the last is the least that succeeded once more
    learning_rate: float = 0.01
    initial_c: float = 0.001
    kappa: float = 0.0  # the margin by which an adversarial image must be misclassified
    abort_early: bool = True  # go on to the next c where a tenth of the steps has not lowered the loss

    def __post_init__(self) -> None:
        require(isinstance(self.ball, L2), "ball", self.ball, "L2")
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.binary_search_steps >= 1, "binary_search_steps", self.binary_search_steps, "at least 1")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        require(self.initial_c > 0, "initial_c", self.initial_c, "above 0")
        require(self.kappa >= 0, "kappa", self.kappa, "at least 0")

    @property
    def iterations(self) -> int:
        return self.steps * self.binary_search_steps

    @property
    def summary(self) -> str:
        return (
            f"Carlini-Wagner, {self.ball}, {self.binary_search_steps} values of c from {self.initial_c:g}, {self.steps} steps "
            f"each, learning rate {self.learning_rate:g}, kappa {self.kappa:g}{', stopping early' * self.abort_early}"
        )

    def start(self, f: Forward, x: Images, target: Any, noise: Noise) -> CarliniWagnerState:
        del f, noise
        check_labels(true_class(target))
        step = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        zero, none, infinite = torch.zeros_like(x), step > 0, torch.full_like(x[:, 0, 0, 0], torch.inf)
        c = torch.full_like(step, self.initial_c, dtype=torch.float64)
        return CarliniWagnerState(
            x.clone(), none, step, zero, zero, zero, c, 0 * c, infinite.double(), infinite, none, infinite
        )

    def advance(self, f: Forward, x: Images, target: Any, state: State) -> State:
        return of_unfinished(lambda *of: self._descend(f, *of), x, target, state)

    def _descend(self, f: Forward, x: Images, target: Tensor, state: State) -> CarliniWagnerState:
        """A step of Adam for each image, and the next c for those at their last."""
        assert isinstance(state, CarliniWagnerState)
        gradient, loss, shown, logits = self._losses(f, x, target, state)
        made = state.step % self.steps
        m, v = (
            decay * old + (1 - decay) * new
            for decay, old, new in zip(_DECAYS, (state.m, state.v), (gradient, gradient.square()), strict=True)
        )
        # in float64: 1 - 0.999 has few digits left in float32
        mean, square = (
            moment / (1 - decay ** (made + 1).double()).to(x.dtype).view(-1, 1, 1, 1)
            for decay, moment in zip(_DECAYS, (m, v), strict=True)
        )
        delta = state.delta - self.learning_rate * mean / (square.sqrt() + 1e-8)

        adversarial = self._adversarial(logits, target)
        distance = self.ball.distance(shown, x)
        nearer = adversarial & (distance < state.distance)
        inside = distance * (1 + _NORM_ROUNDING) <= self.ball.eps
        x_adv = torch.where((nearer & inside).view(-1, 1, 1, 1), shown, state.x_adv)
        distance = torch.where(nearer, distance, state.distance)
        found = state.found | adversarial

        check = (made % math.ceil(self.steps / 10) == 0) & self.abort_early
        stalled = check & ~(loss <= _STALLED * state.loss)
        step = torch.where(stalled, state.step - made + self.steps, state.step + 1)
        loss = torch.where(check, loss, state.loss)
        new = CarliniWagnerState(
            x_adv, step >= self.iterations, step, delta, m, v, state.c, state.lower, state.upper, distance, found, loss
        )
        ended = step % self.steps == 0
        return self._next_c(new, ended) if bool(ended.any()) else new

    def _losses(
        self, f: Forward, x: Images, target: Tensor, state: CarliniWagnerState
    ) -> tuple[Tensor, PerSample, Images, Logits]:
        """(gradient for delta, loss, image, logits) at the present delta."""
        w = before_tanh(x)
        middle = torch.tanh(w) / 2 + 0.5  # x but for the rounding of tanh, so that delta 0 costs nothing
        seen: list[Tensor] = []

        def loss(delta: Tensor) -> PerSample:
            shown = torch.tanh(w + delta) / 2 + 0.5
            logits: Logits = f(shown)
            if not logits.requires_grad:  # the distance alone has a gradient
                raise UsageError(NO_GRADIENT)
            hinge = (to_fall(logits, target) + self.kappa).clamp_min(0)
            total = state.c.to(x.dtype) * hinge + (shown - middle).square().sum((1, 2, 3))
            seen.extend(t.detach() for t in (total, shown, logits))
            return total

        gradient = gradient_at(state.delta, loss).nan_to_num(0.0)
        return gradient, seen[0], seen[1], seen[2]

    def _adversarial(self, logits: Logits, target: Tensor) -> Tensor:
        """Bool (N,): who is misclassified (in pairs: as the wanted class) by the confidence asked for."""
        wanted = target.ndim == 2
        labels = target[:, 1] if wanted else target
        handicap = self.kappa * F.one_hot(labels, logits.shape[1])
        wrong = ((logits - handicap).argmax(1) == labels) if wanted else ((logits + handicap).argmax(1) != labels)
        return wrong & logits.isfinite().all(1)

    def _next_c(self, state: CarliniWagnerState, ended: Tensor) -> CarliniWagnerState:
        """The state with the next c, and Adam anew, for the images that are through with theirs."""
        upper = torch.where(ended & state.found, state.c, state.upper)
        lower = torch.where(ended & ~state.found, state.c, state.lower)
        c = torch.where(upper.isinf(), 10 * state.c, (lower + upper) / 2)
        if self.binary_search_steps >= 10:
            last = state.step == self.iterations - self.steps
            c = torch.where(last, upper.clamp_max(_LARGEST_C), c)
        c = torch.where(ended, c, state.c)
        still = ~ended.view(-1, 1, 1, 1)
        delta, m, v = (torch.where(still, t, 0) for t in (state.delta, state.m, state.v))
        loss = state.loss.masked_fill(ended, torch.inf)
        return CarliniWagnerState(
            state.x_adv,
            state.done,
            state.step,
            delta,
            m,
            v,
            c,
            lower,
            upper,
            state.distance,
            state.found & ~ended,
            loss,
        )
