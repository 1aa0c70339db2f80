"""Step: the forward half of a training step, as one module that can be compiled and wrapped."""

import warnings
from contextlib import AbstractContextManager, nullcontext

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hardy.models.classifier import Classifier
from hardy.models.own import Wrapped
from hardy.objectives.objective import Objective, Terms
from hardy.parallel import Group
from hardy.randomness import Noise


class Step(nn.Module):
    """The objective's terms on a batch. DDP goes around this, not around the model: objectives call its parts."""

    def __init__(self, model: Classifier, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, x: Tensor, y: Tensor, noise: Noise) -> Terms:
        return self.objective(self.model, x, y, noise)


def shared(step: Step, group: Group) -> nn.Module:
    """The same step, whose gradients become their means over the group's processes as they are computed."""
    if group.size == 1:
        return step
    unused = isinstance(step.model, Wrapped)  # one of the user's may have parameters that a step does not reach
    # torch warns of looking for them in vain, and of a name of before 2.13
    warnings.filterwarnings(
        "ignore", message="find_unused_parameters=True was specified|`broadcast_buffers` is deprecated"
    )
    return DistributedDataParallel(step, broadcast_buffers=False, find_unused_parameters=unused)


def apart(step: nn.Module) -> AbstractContextManager[None]:
    """Inside, each process adds up gradients of its own; the first backward pass outside brings all of them together."""
    return step.no_sync() if isinstance(step, DistributedDataParallel) else nullcontext()
