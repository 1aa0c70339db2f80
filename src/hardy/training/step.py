"""Step: the forward half of a training step, as one module that can be compiled and wrapped."""

from torch import Tensor, nn

from hardy.models.classifier import Classifier
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise


class Step(nn.Module):
    """The objective's terms on a batch. DDP goes around this, not around the model: objectives call its parts."""

    def __init__(self, model: Classifier, objective: Objective) -> None:
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, x: Tensor, y: Tensor, noise: Noise) -> Terms:
        return self.objective(self.model, x, y, noise)
