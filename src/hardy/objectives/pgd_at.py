"""PGD-AT: train on the worst image that PGD finds, and on it alone.

    minimise   E[ CE(f(x'), y) ],   x' = argmax over the ball of CE(f(x'), y)

Source:  Madry et al., ICLR 2018, eq. (2.1); RLFAT paper, eqs. (4)-(5).
Differs: batch norm is in eval mode while crafting unless `batch_norm` says "train", which is what the authors' code of both
         papers does (their running statistics then come mostly from attack iterates).
"""

from hardy.attacks import PGD, Attack, Ball
from hardy.data.block_shuffle import random_roll
from hardy.describe import settings
from hardy.losses.logits import cross_entropy
from hardy.models.classifier import BatchNormMode, Classifier, crafting
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise
from hardy.types import Images, Labels


@settings
class PGDAT(Objective):
    """PGD adversarial training."""

    attack: Attack = PGD()  # maximises cross-entropy
    batch_norm: BatchNormMode = "eval"  # its mode while crafting

    @property
    def ball(self) -> Ball:
        return self.attack.ball

    def __call__(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> Terms:
        with crafting(model, self.batch_norm):
            x_adv = self.attack.perturb(model, x, y, noise)
        return {"adversarial": cross_entropy(model(x_adv), y).mean()}


@settings
class RolledPGDAT(Objective):
    """PGD-AT on adversarial batches rolled around by a random offset: the control for RBS.

    RBS with k = 2 rolls each axis in half of the steps and leaves the whole image in 27 % of them; this rolls both axes, always.

    Source: a control of this library's; no paper.
    """

    attack: Attack = PGD()  # maximises cross-entropy
    batch_norm: BatchNormMode = "eval"  # its mode while crafting

    @property
    def ball(self) -> Ball:
        return self.attack.ball

    def __call__(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> Terms:
        with crafting(model, self.batch_norm):
            x_adv = self.attack.perturb(model, x, y, noise)
        return {"adversarial": cross_entropy(model(random_roll(x_adv, noise.derive("roll"))), y).mean()}
