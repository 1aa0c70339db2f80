"""TRADES: trade accuracy for agreement between the clean and the perturbed prediction.

    minimise   E[ CE(f(x), y) + beta * KL(f(x) || f(x')) ],   x' = argmax over the ball of KL(f(x) || f(x'))

Source:  Zhang et al., ICML 2019, eq. (5) and Algorithm 1; RLFAT paper, eq. (6), where beta is called lambda.
Differs: the authors run the clean images through the network twice, which counts them twice in the running statistics;
         here once. Like their code it starts from x + 0.001 N(0, 1) rather than from a uniform point of the ball.
"""

from hardy.attacks import KL, PGD, Attack
from hardy.describe import require, settings
from hardy.losses.labels import check_smoothing
from hardy.losses.logits import cross_entropy, kl
from hardy.models.classifier import BatchNormMode, Classifier, crafting
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise
from hardy.types import Images, Labels


@settings
class TRADES(Objective):
    """Cross-entropy of clean images plus agreement of the perturbed ones."""

    attack: Attack = PGD(start_at="gaussian", loss=KL())  # maximises KL from the clean prediction
    beta: float = 6.0  # weight of agreement; 1/lambda in the TRADES paper, lambda in the RLFAT paper
    batch_norm: BatchNormMode = "eval"  # its mode while crafting
    smoothing: float = 0.0  # share of the label spread over the other classes in the cross-entropy

    def __post_init__(self) -> None:
        require(self.beta >= 0, "beta", self.beta, "at least 0")
        check_smoothing(self.smoothing)

    def craft(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> Images:
        return away_from_clean(model, x, self.attack, self.batch_norm, noise)

    def terms(self, model: Classifier, x: Images, y: Labels, made: Images, noise: Noise) -> Terms:
        clean, perturbed = model(x), model(made)  # two passes: batch-norm statistics must not mix
        return {
            "natural": cross_entropy(clean, y, self.smoothing).mean(),
            "agreement": self.beta * kl(perturbed, clean.softmax(1)).mean(),
        }


def away_from_clean(model: Classifier, x: Images, attack: Attack, batch_norm: BatchNormMode, noise: Noise) -> Images:
    """The image whose prediction the attack drives furthest from that of x."""
    with crafting(model, batch_norm):
        return attack.perturb(model, x, model(x).softmax(1).detach(), noise)
