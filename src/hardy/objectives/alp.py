"""ALP: adversarial logit pairing, PGD-AT that keeps the logits of clean and perturbed images together.

    minimise   E[ natural * CE(f(x), y) + adversarial * CE(f(x'), y) + weight * mean over classes of (f(x) - f(x'))^2 ]

Source:  Kannan et al., "Adversarial logit pairing", 2018; weight 0.1 from the InfoFeature paper, section
         4.1, whose Table 1 compares with it. Halves for the two cross-entropies: the mean over the joint batch of the authors'
         code, which trains on ImageNet only.
Differs: the authors' attack never sees y but climbs the cross-entropy of the predicted class, against label leaking, which
         takes a forward pass more; the CIFAR ports of others use y, and so does `label="true"`, the default. The authors' code
         smooths labels by 0.1 (`smoothing`).
"""

from typing import Literal

import torch

from hardy.attacks import PGD, Attack
from hardy.describe import require, settings
from hardy.losses.labels import check_smoothing
from hardy.losses.logits import cross_entropy, squared_distance
from hardy.models.classifier import BatchNormMode, Classifier, crafting
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise
from hardy.types import Images, Labels


@settings
class ALP(Objective):
    """Adversarial logit pairing."""

    attack: Attack = PGD()  # maximises cross-entropy
    weight: float = 0.1  # of the pairing; lambda in the papers
    natural: float = 0.5  # weight of the clean images' cross-entropy
    adversarial: float = 0.5  # weight of the perturbed ones'
    label: Literal["true", "predicted"] = "true"  # what the attack climbs the cross-entropy of
    joint: bool = True  # clean and perturbed images in one pass, so that they share batch norm's statistics
    batch_norm: BatchNormMode = "eval"  # its mode while crafting
    smoothing: float = 0.0  # share of the label spread over the other classes in the loss

    def __post_init__(self) -> None:
        for name in ("weight", "natural", "adversarial"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        require(self.natural + self.adversarial > 0, "adversarial", self.adversarial, "above 0 where natural is 0")
        check_smoothing(self.smoothing)

    def craft(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> Images:
        with crafting(model, self.batch_norm):
            if self.label == "predicted":
                with torch.no_grad():
                    y = model(x).argmax(1)
            return self.attack.perturb(model, x, y, noise)

    def terms(self, model: Classifier, x: Images, y: Labels, made: Images, noise: Noise) -> Terms:
        clean, perturbed = model(torch.cat([x, made])).chunk(2) if self.joint else (model(x), model(made))
        return {
            "natural": self.natural * cross_entropy(clean, y, self.smoothing).mean(),
            "adversarial": self.adversarial * cross_entropy(perturbed, y, self.smoothing).mean(),
            "pairing": self.weight * squared_distance(clean, perturbed).mean() / clean.shape[1],
        }
