"""Adversarial interpolation training: move each image towards the features of another, and its label away from that one's.

    minimise   E[ CE(f(x'), y') ],   x' = argmin over the ball of max(0, 1 - cos(g(x'_i), g(x_j))),   j = N + 1 - i
               y' = (1 - share) * y_i + share * (1 - y_j) / (K - 1)

with g the pooled features, and one-hot labels: the partner's class, if another one, gets probability 0.

Source:  Zhang and Xu, "Adversarial interpolation training: a simple approach for improving model robustness", 2020, with the
         label law and the constants of its code: one step of eps, share 0.5, the batch in reverse order as partners.
Differs: the random start is projected onto [0, 1] before the step. Images of a batch depend on each other: on several
         processes, partners are of the same process.
"""

from hardy.attacks import AdversarialInterpolation, Attack
from hardy.describe import require, settings
from hardy.losses.labels import away_from_partner
from hardy.losses.logits import soft_cross_entropy
from hardy.models.classifier import BatchNormMode, Classifier
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise
from hardy.types import Images, Labels


@settings
class InterpolationAT(Objective):
    """Adversarial interpolation training."""

    attack: Attack = AdversarialInterpolation()
    share: float = 0.5  # of the label given to what is not the partner's class; epsilon_y in the paper
    batch_norm: BatchNormMode = "eval"  # its mode while crafting

    def __post_init__(self) -> None:
        require(0 <= self.share <= 1, "share", self.share, "in [0, 1]")

    @property
    def coupled(self) -> bool:
        return True  # partners are of one batch

    def terms(self, model: Classifier, x: Images, y: Labels, made: Images, noise: Noise) -> Terms:
        logits = model(made)
        labels = away_from_partner(y, y.flip(0), logits.shape[1], self.share)
        return {"adversarial": soft_cross_entropy(logits, labels).mean()}
