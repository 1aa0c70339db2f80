"""Feature scattering: train on a batch that was moved away from itself as a whole, without labels.

    minimise   E[ CE(f(x'), y_smoothed) ],   x' = argmax over the balls of OT(f(x_1 .. x_N), f(x'_1 .. x'_N))

with OT the entropic transport distance of the two batches' logits (cosine costs), and 0.5 on the label's class.

Source:  Zhang and Wang, "Defense against adversarial attacks using feature scattering-based adversarial training", NeurIPS
         2019, with the constants of its code.
Differs: the random start is projected onto [0, 1] before the step. Like the code, and unlike the title, it compares logits
         (`attack.on` has "features", too), and lets the gradient through the transport plan. Images of a batch depend on each
         other: a process's part is moved by itself.
"""

from hardy.attacks import Attack, FeatureScatter
from hardy.describe import settings
from hardy.objectives.pgd_at import PGDAT


@settings
class FeatureScatterAT(PGDAT):
    """Adversarial training on feature scatter, with smoothed labels."""

    attack: Attack = FeatureScatter()
    smoothing: float = 0.5  # share of the label spread over the other classes
