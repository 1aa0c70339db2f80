"""AWP: adversarial weight perturbation around any other objective.

    minimise   L(w + v),   v = argmax over ||v_l|| <= gamma ||w_l|| for each layer l of L(w + v), by one step from 0

The inner objective crafts once, at w; v is one normalised gradient step of its loss there; the loss at w + v is what is
minimised, and its gradient is applied to w by the loop as any other.

Source:  Wu et al., "Adversarial weight perturbation helps robust generalization", NeurIPS 2020; gamma 0.01 for
         PGD-AT and 0.005 for TRADES from the authors' code, which perturbs weights of more than one dimension only.
Differs: the pass that finds v leaves no trace in batch norm's running statistics, as in that code, where a copy of the network
         makes it. For TRADES they leave v out in the first epochs; here it is there from the start. Their
         optimiser steps from w + v, and v is taken off again; here weight decay sees w. v is of a whole batch: each process
         finds its own.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from hardy.attacks import Attack, Ball
from hardy.describe import require, settings
from hardy.models.classifier import BatchNormMode, Classifier
from hardy.objectives.objective import Objective, Terms, loss_of
from hardy.objectives.pgd_at import PGDAT
from hardy.randomness import Noise
from hardy.types import Images, Labels

_TINY = 1e-20  # beside the norm of a gradient that may be 0


@settings
class AWP(Objective):
    """Another objective, its loss taken at weights that were moved to raise it."""

    inner: Objective = PGDAT()
    gamma: float = 0.01  # how far, relative to each layer's weights

    def __post_init__(self) -> None:
        require(self.gamma >= 0, "gamma", self.gamma, "at least 0")
        require(not isinstance(self.inner, AWP), "inner", "AWP", "another objective than AWP itself")

    @property
    def attack(self) -> Attack | None:  # type: ignore[override]
        return self.inner.attack

    @property
    def batch_norm(self) -> BatchNormMode:  # type: ignore[override]
        return self.inner.batch_norm

    @property
    def ball(self) -> Ball | None:
        return self.inner.ball

    @property
    def coupled(self) -> bool:
        return True  # the weights are moved to raise the loss of a whole batch

    def check(self, shape: tuple[int, int, int]) -> None:
        self.inner.check(shape)

    def craft(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> Any:
        return self.inner.craft(model, x, y, noise)

    def terms(self, model: Classifier, x: Images, y: Labels, made: Any, noise: Noise) -> Terms:
        loss = _Loss(model, self.inner)
        weights = dict(loss.named_parameters())
        moved = {name: w for name, w in weights.items() if w.ndim > 1 and w.requires_grad}
        # copies of the buffers: what this pass does to the running statistics goes with them
        aside = {name: buffer.clone() for name, buffer in loss.named_buffers()}
        first: Terms = functional_call(loss, {**weights, **aside}, (x, y, made, noise))
        total = loss_of(first)
        gradients = torch.autograd.grad(total, list(moved.values()), allow_unused=True) if moved else ()
        towards = {
            name: w + self.gamma * (w.norm() / (g.norm() + _TINY) * g).detach()
            for (name, w), g in zip(moved.items(), gradients, strict=True)
            if g is not None
        }
        terms: Terms = functional_call(loss, towards, (x, y, made, noise))
        return terms


class _Loss(nn.Module):
    """An objective's loss as a module, so that all that it calls of the network sees other weights."""

    def __init__(self, model: Classifier, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, x: Tensor, y: Tensor, made: Any, noise: Noise) -> Terms:
        return self.objective.terms(self.model, x, y, made, noise)
