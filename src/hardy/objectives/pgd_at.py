"""PGD-AT: train on the worst image that PGD finds, and on it alone.

    minimise   E[ CE(f(x'), y) ],   x' = argmax over the ball of CE(f(x'), y)

Source:  Madry et al., ICLR 2018, eq. (2.1); RLFAT paper, eqs. (4)-(5).
Differs: batch norm is in eval mode while crafting unless `batch_norm` says "train", which is what the authors' code of both
         papers does (their running statistics then come mostly from attack iterates).
"""

from hardy.attacks import PGD, Attack
from hardy.data.block_shuffle import random_roll
from hardy.describe import settings
from hardy.losses.labels import check_smoothing
from hardy.losses.logits import cross_entropy
from hardy.models.classifier import BatchNormMode, Classifier
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise
from hardy.types import Images, Labels


@settings
class PGDAT(Objective):
    """PGD adversarial training; with another attack, training on that attack's images."""

    attack: Attack = PGD()  # maximises cross-entropy
    batch_norm: BatchNormMode = "eval"  # its mode while crafting
    smoothing: float = 0.0  # share of the label spread over the other classes in the loss; the attack has y itself

    def __post_init__(self) -> None:
        check_smoothing(self.smoothing)

    def terms(self, model: Classifier, x: Images, y: Labels, made: Images, noise: Noise) -> Terms:
        return {"adversarial": cross_entropy(model(made), y, self.smoothing).mean()}


@settings
class RolledPGDAT(PGDAT):
    """PGD-AT on adversarial batches rolled around by a random offset: the control for RBS.

    RBS with k = 2 rolls each axis in half of the steps and leaves the whole image in 27 % of them; this rolls both axes, always.

    Source: a control of this library's; no paper.
    """

    def craft(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> Images:
        return random_roll(super().craft(model, x, y, noise), noise.derive("roll"))
