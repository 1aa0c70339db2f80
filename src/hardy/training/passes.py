"""What one training step of a method costs: passes of the batch through the network, counted while it is made."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from hardy.models.classifier import Classifier
from hardy.objectives.objective import Objective, loss_of
from hardy.randomness import Noise
from hardy.types import Images, Labels


@dataclass
class Passes:
    """Forward and backward passes, in batches: 1 is one pass of as many images as the batch has."""

    forwards: float = 0.0
    backwards: float = 0.0


def passes_of_step(objective: Objective, model: Classifier, x: Images, y: Labels, noise: Noise) -> Passes:
    """Passes through the network's trunk in one training step without the optimiser; gradients are left on the parameters."""
    with counting(model, len(x)) as passes:
        loss_of(objective(model, x, y, noise)).backward()
    return passes


@contextmanager
def counting(model: Classifier, batch: int) -> Iterator[Passes]:
    """Counts passes of `batch` images through the network's trunk while it lasts."""
    passes, trunk, own = Passes(), model.trunk, vars(model).get("trunk")  # its own where it is compiled

    def counted(x: Tensor) -> Tensor:
        made = trunk(x)
        share = len(x) / batch
        passes.forwards += share

        def count_backward(gradient: Tensor) -> None:
            del gradient
            passes.backwards += share

        if made.requires_grad:
            made.register_hook(count_backward)
        return made

    vars(model)["trunk"] = counted
    try:
        yield passes
    finally:
        del vars(model)["trunk"]
        if own is not None:
            vars(model)["trunk"] = own
