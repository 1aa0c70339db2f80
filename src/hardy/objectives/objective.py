"""Objective: the interface of a training method."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Attack
from hardy.attacks.balls import Ball
from hardy.describe import with_article
from hardy.errors import UsageError
from hardy.models.classifier import BatchNormMode, Classifier, crafting
from hardy.randomness import Noise
from hardy.types import Images, Labels

Terms = dict[str, Tensor]  # named scalars; the loop minimises their sum


def loss_of(terms: Terms) -> Tensor:
    """The sum of an objective's terms.

    Raises: UsageError if they are not named scalars, or no network can learn from them, as one's own objective may have it.
    """
    if not isinstance(terms, dict) or not terms or not all(map(_is_term, terms, terms.values())):
        given = {name: _kind(value) for name, value in terms.items()} if isinstance(terms, dict) else _kind(terms)
        raise UsageError(
            f"An objective's terms are {given}; they must be a dict of scalar tensors by name, at least one."
        )
    loss = torch.stack(list(terms.values())).sum()
    if not loss.requires_grad:
        raise UsageError(
            f"An objective's terms, {', '.join(terms)}, have no gradient; one must come from the network's output."
        )
    return loss


def _is_term(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor) and value.ndim == 0


def _kind(value: object) -> str:
    return (
        f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else with_article(type(value).__name__)
    )


class Objective(ABC):
    """What a method minimises on a batch. Concrete ones are settings (`hardy.describe.settings`), one method a file.

    A method is two functions: `craft`, the inner problem, which gives no gradient to the network, and `terms`, the loss of what
    was crafted.
    """

    attack: Attack | None = None  # what it trains against; None without an adversary
    batch_norm: BatchNormMode = "eval"  # its mode while crafting

    @property
    def ball(self) -> Ball | None:
        """The perturbations trained against; None without an adversary."""
        return None if self.attack is None else self.attack.ball

    @property
    def coupled(self) -> bool:
        """Whether what an image adds to the loss depends on the others of its batch, batch norm's statistics aside.

        Such a method acts on each process's part of a batch by itself, and on whole batches only.
        """
        return self.attack is not None and self.attack.group is not None

    def check(self, shape: tuple[int, int, int]) -> None:  # noqa: B027 - most have nothing to refuse
        """Raises UsageError where images of this shape (C, H, W) are none that the method can train on."""

    def craft(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> Any:
        """What the adversary makes of a batch; here what the attack makes of images and labels, or the images themselves.

        The model is left as it was, but for the statistics of batch norms in training mode.
        """
        if self.attack is None:
            return x
        with crafting(model, self.batch_norm):
            return self.attack.perturb(model, x, y, noise)

    @abstractmethod
    def terms(self, model: Classifier, x: Images, y: Labels, made: Any, noise: Noise) -> Terms:
        """Named scalar terms whose sum is minimised. made: what `craft` made of the same batch and noise."""

    def __call__(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> Terms:
        """The terms of a batch. The model arrives in training mode and is left in it."""
        return self.terms(model, x, y, self.craft(model, x, y, noise), noise)
