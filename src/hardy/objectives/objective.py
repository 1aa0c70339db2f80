"""Objective: the interface of a training method."""

from abc import ABC, abstractmethod

from torch import Tensor

from hardy.attacks.balls import Ball
from hardy.models.classifier import Classifier
from hardy.randomness import Noise
from hardy.types import Images, Labels

Terms = dict[str, Tensor]  # named scalars; the loop minimises their sum


class Objective(ABC):
    """What a method minimises on a batch. Concrete ones are settings, one method a file."""

    @property
    def ball(self) -> Ball | None:
        """The perturbations trained against; None without an adversary."""
        return None

    def check(self, shape: tuple[int, int, int]) -> None:  # noqa: B027 - most have nothing to refuse
        """Raises UsageError where images of this shape (C, H, W) are none that the method can train on."""

    @abstractmethod
    def __call__(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> Terms:
        """Named scalar terms whose sum is minimised. The model arrives in training mode and is left in it."""
