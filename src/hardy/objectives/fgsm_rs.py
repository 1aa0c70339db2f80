"""FGSM-RS: adversarial training with a single step from a random start, "fast" adversarial training.

    minimise   E[ CE(f(x'), y) ],   x' = one step of 1.25 eps from a uniform point of the ball, projected

Source:  Wong et al., "Fast is better than free", ICLR 2020, Algorithm 3: eps 8/255, step 10/255.
Differs: the authors' code leaves batch norm in training mode while crafting, which is `batch_norm="train"`. Trained for long, it
         collapses: accuracy under many steps falls to 0 while that under one step rises (catastrophic overfitting).
"""

from hardy.attacks import PGD, Attack
from hardy.describe import settings
from hardy.objectives.pgd_at import PGDAT


@settings
class FGSMRS(PGDAT):
    """Adversarial training on one large step from a random start."""

    attack: Attack = PGD(steps=1, step_size=10 / 255)
