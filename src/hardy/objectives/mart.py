"""MART: misclassification-aware adversarial training.

    minimise   E[ -log p_y(x') - log(1 - max_{c != y} p_c(x')) + beta * KL(f(x) || f(x')) * (1 - p_y(x)) ],
    x' = argmax over the ball of CE(f(x'), y)

Source:  Wang et al., "Improving adversarial robustness requires revisiting misclassified examples", ICLR 2020; beta (lambda in
         the paper) 5; the start x + 0.001 N(0, 1) is that of the authors' code.
Differs: their code adds 1e-12 and 1e-4 inside logarithms, and 1e-7 to 1 - p_y(x); here log(1 - p) is computed from the
         logits, which needs none of them.
"""

import torch

from hardy.attacks import PGD, Attack
from hardy.describe import require, settings
from hardy.losses.logits import cross_entropy, kl, log_not
from hardy.models.classifier import BatchNormMode, Classifier
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise
from hardy.types import Images, Labels


@settings
class MART(Objective):
    """Misclassification-aware adversarial training."""

    attack: Attack = PGD(start_at="gaussian")  # maximises cross-entropy
    beta: float = 5.0  # weight of the misclassified images' agreement; lambda in the paper
    batch_norm: BatchNormMode = "eval"  # its mode while crafting

    def __post_init__(self) -> None:
        require(self.beta >= 0, "beta", self.beta, "at least 0")

    def terms(self, model: Classifier, x: Images, y: Labels, made: Images, noise: Noise) -> Terms:
        clean, perturbed = model(x), model(made)  # two passes: batch-norm statistics must not mix
        wrong = perturbed.scatter(1, y[:, None], -torch.inf).argmax(1)
        probabilities = clean.softmax(1)
        unsure = 1 - probabilities.gather(1, y[:, None]).squeeze(1)
        return {
            "boosted": (cross_entropy(perturbed, y) - log_not(perturbed, wrong)).mean(),
            "agreement": self.beta * (kl(perturbed, probabilities) * unsure).mean(),
        }
