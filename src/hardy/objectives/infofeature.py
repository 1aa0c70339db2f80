"""InfoFeature adversarial training: PGD-AT whose attack changes class activation maps, too.

    minimise   E[ CE(f(x'), y) ],   x' = argmax over the ball of CE(f(x'), y) + 0.1 * D(M(x), M(x'))

with M the map of eq. (6): sum_d max(w_d A_d, 0), w the last layer's weights, A the activations before pooling.

Source:  InfoFeature paper, eqs. (6)-(8). What its section 3.2 leaves open (whose map, how a distance is summed) are settings of
         the attack. Section 4.2 smooths labels with strength 0.5, as the feature scattering code does; that is `smoothing`. It is
         0 here: section 4.1, ResNet-18 on CIFAR-10, does not say that it does.
Differs: eq. (8), read to the letter, minimises the maps' distance as well; the text has it change the attack alone, as eqs. (2)
         and (3) do, and so it is here. Eq. (7) does not say that the maps' distance is each image's own; here it is.
"""

from hardy.attacks import Attack, InfoFeature
from hardy.describe import settings
from hardy.objectives.pgd_at import PGDAT


@settings
class InfoFeatureAT(PGDAT):
    """Adversarial training on InfoFeature."""

    attack: Attack = InfoFeature()
