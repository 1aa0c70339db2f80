"""Standard training: no adversary.

minimise   E[ CE(f(x), y) ]
"""

from hardy.describe import settings
from hardy.losses.logits import cross_entropy
from hardy.models.classifier import Classifier
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise
from hardy.types import Images, Labels


@settings
class Standard(Objective):
    """Cross-entropy of clean images."""

    def __call__(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> Terms:
        del noise
        return {"natural": cross_entropy(model(x), y).mean()}
