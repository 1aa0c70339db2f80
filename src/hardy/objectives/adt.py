"""ADT-EXP: adversarial distributional training with an explicit distribution of perturbations for each image.

    minimise   E[ E over d ~ p(x) of CE(f(x + d), y) ],   p(x) = argmax of E[ CE(f(x + d), y) ] + 0.01 * H(p)

Each step learns every image's distribution anew, and trains on one sample of it.

Source:  Deng et al., NeurIPS 2020, ADT_EXP.
Differs: see `attacks/distribution.py`, which has the inner problem.
"""

from hardy.attacks import AdversarialDistribution, Attack
from hardy.describe import settings
from hardy.objectives.pgd_at import PGDAT


@settings
class ADT(PGDAT):
    """Adversarial training on a sample of a learned distribution."""

    attack: Attack = AdversarialDistribution()
