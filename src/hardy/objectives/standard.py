"""Standard training: no adversary.

minimise   E[ CE(f(x), y) ]
"""

from hardy.describe import settings
from hardy.losses.labels import check_smoothing
from hardy.losses.logits import cross_entropy
from hardy.models.classifier import Classifier
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise
from hardy.types import Images, Labels


@settings
class Standard(Objective):
    """Cross-entropy of clean images."""

    smoothing: float = 0.0  # share of the label spread over the other classes

    def __post_init__(self) -> None:
        check_smoothing(self.smoothing)

    def terms(self, model: Classifier, x: Images, y: Labels, made: Images, noise: Noise) -> Terms:
        return {"natural": cross_entropy(model(x), y, self.smoothing).mean()}
