"""EMA: an exponential moving average of a network's weights and batch-norm statistics."""

import torch
from torch import Tensor, nn

from hardy.describe import require, settings


@settings
class EMA:
    """Weights averaged over steps; what is evaluated and saved where a run has it."""

    decay: float = 0.995  # share of the average kept at each step

    def __post_init__(self) -> None:
        require(0 <= self.decay < 1, "decay", self.decay, "in [0, 1)")

    def start(self, model: nn.Module) -> dict[str, Tensor]:
        """The average before the first step: a copy of the network's state."""
        return {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, average: dict[str, Tensor], model: nn.Module, step: int) -> None:
        """Move the average towards the network after step `step` (from 1).

        Early on the average forgets faster, decay = min(decay, (1 + step) / (10 + step)), so that it does not keep the
        random start. Counters of batches are copied.
        """
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, weight)
            else:
                average[name].copy_(value)
