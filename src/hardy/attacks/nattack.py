"""NATTACK: a black-box attack that learns where in the ball adversarial images are dense.

    x(m) = project(tanh(atanh(2x - 1) + m) / 2 + 1/2),   mu <- mu + eta / (b sigma) * sum_i A_i n_i,   m_i = mu + sigma n_i

with A_i the standardised rewards -1/2 max(log p_y - max_{c != y} log p_c, 0) of b random members.

Source:  Li et al., "NATTACK", ICML 2019, Algorithm 1; RLFAT paper, Appendix A (its constants).
Differs: the published code takes the runner-up class's log-probability from the first member for all of them
         (`runner_up="first-member"`); by default each member has its own. Like that code, only the mean is tested, before
         every tenth update, so that the last updates are not tested.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hardy.attacks.attack import Forward, Iterative, State
from hardy.attacks.balls import Ball, Linf
from hardy.describe import require, settings
from hardy.losses.criteria import check_labels
from hardy.losses.logits import runner_up
from hardy.randomness import Noise
from hardy.types import Images, Labels, PerSample

_MOST = 1000.0  # the reward's floor
_MEMBERS_AT_ONCE = 600  # population members drawn, and passed through f, together


@dataclass
class NAttackState(State):
    """mu: mean of the perturbation before tanh. queries: int64 (N,), images of it shown to f."""

    mu: Tensor
    queries: Tensor
    noise: Noise


@settings
class NATTACK(Iterative):
    """Black-box search by natural evolution strategies; sees labels' scores only, no gradient."""

    ball: Ball = Linf()
    steps: int = 200
    population: int = 300
    sigma: float = 0.1  # deviation of the members before tanh
    learning_rate: float = 0.008
    test_every: int = 10  # updates between two tests of the mean
    runner_up: Literal["per-member", "first-member"] = "per-member"

    def __post_init__(self) -> None:
        require(self.steps >= 0, "steps", self.steps, "at least 0")
        require(self.population >= 2, "population", self.population, "at least 2")
        require(self.sigma > 0, "sigma", self.sigma, "above 0")
        require(self.learning_rate > 0, "learning_rate", self.learning_rate, "above 0")
        require(self.test_every >= 1, "test_every", self.test_every, "at least 1")

    @property
    def iterations(self) -> int:
        return self.steps

    @property
    def copies(self) -> int:
        return self.population

    @property
    def stops_at_success(self) -> bool:
        return True

    @property
    def summary(self) -> str:
        return (
            f"NATTACK, {self.ball}, {self.steps} updates of {self.population} members, sigma {self.sigma:g}, "
            f"learning rate {self.learning_rate:g}, tested every {self.test_every}, runner-up {self.runner_up}"
        )

    def start(self, f: Forward, x: Images, target: Labels, noise: Noise) -> NAttackState:
        del f
        check_labels(target)
        zero = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        mu = 0.001 * noise.draw(0).normal(x.shape[1:]).to(x.dtype)
        return NAttackState(x.clone(), zero >= self.steps, zero, mu, zero, noise)

    def advance(self, f: Forward, x: Images, target: Any, state: State) -> NAttackState:
        assert isinstance(state, NAttackState)
        active = (~state.done).nonzero().squeeze(1)
        new = NAttackState(
            state.x_adv.clone(),
            state.done.clone(),
            state.step + 1,
            state.mu.clone(),
            state.queries.clone(),
            state.noise,
        )
        with torch.no_grad():
            active = self._test(f, x, target, new, active[state.step[active] % self.test_every == 0], active)
            for some in active.split(max(1, _MEMBERS_AT_ONCE // self.population)) if len(active) else ():
                new.mu[some] += self._update(f, x[some], target[some], state.select(some))
                new.queries[some] += self.population
        new.done |= new.step >= self.steps
        return new

    def _update(self, f: Forward, x: Images, y: Labels, state: NAttackState) -> Tensor:
        """The step of mu, for images that are all to be moved."""
        drawn = state.noise.draw(state.step + 1).normal((self.population, *x.shape[1:])).to(x.dtype)
        rewards = self._rewards(f, x, y, state.mu[:, None] + self.sigma * drawn)
        rewards = rewards - rewards[:, :1]  # equal rewards become zeros, whose mean is exact; theirs is not
        advantage = (rewards - rewards.mean(1, True)) / (rewards.std(1, correction=0, keepdim=True) + 1e-7)
        # summed as precisely as the network computes: rounding by the batch's size would be magnified by small rewards
        total = torch.einsum("nb,nbchw->nchw", advantage, drawn.to(advantage.dtype)).to(x.dtype)
        step = self.learning_rate / (self.population * self.sigma) * total
        return step.nan_to_num(0.0, 0.0, 0.0)  # a member whose logits are NaN spoils an update, and no more than that

    def _test(self, f: Forward, x: Images, target: Labels, new: NAttackState, due: Tensor, active: Tensor) -> Tensor:
        """Show f the means that are due; those it gets wrong are done. Returns the images that go on."""
        if not len(due):
            return active
        mean = self._image(x[due], before_tanh(x[due]) + new.mu[due])
        broken = f(mean).argmax(1) != target[due]
        new.x_adv[due] = mean
        new.queries[due] += 1
        new.done[due[broken]] = True
        return active[~new.done[active]]

    def _image(self, x: Images, before_tanh: Tensor) -> Images:
        return self.ball.project(torch.tanh(before_tanh) / 2 + 0.5, x)

    def _rewards(self, f: Forward, x: Images, y: Labels, members: Tensor) -> Tensor:
        """(N, b): -1/2 clip(log p_y - log p_runner-up, 0, 1000) of each member (N, b, C, H, W)."""
        n, b = members.shape[:2]
        shown = self._image(x.repeat_interleave(b, 0), (before_tanh(x)[:, None] + members).flatten(0, 1))
        logits = torch.cat([f(part) for part in shown.split(_MEMBERS_AT_ONCE)])
        log_p = (logits.softmax(1) + 1e-30).log()
        labels = y.repeat_interleave(b)
        true: PerSample = log_p.gather(1, labels[:, None]).view(n, b)
        other = runner_up(log_p, labels).view(n, b)
        if self.runner_up == "first-member":
            other = other[:, :1]
        return -(true - other).clamp(0, _MOST) / 2


def before_tanh(x: Images) -> Tensor:
    """What tanh turns into x; a pixel of 1 + 1e-6, which the range check lets pass, would give NaN."""
    return torch.atanh((1 - 1e-6) * (2 * x.clamp(0, 1) - 1))
