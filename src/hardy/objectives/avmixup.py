"""AVmixup: adversarial vertex mixup, train between each image and a point beyond its adversarial one.

    v = clip(x + gamma * (x_adv - x)),   x' = w * x + (1 - w) * v,   w ~ U(0, 1) for each image
    minimise   E[ CE(f(x'), w * phi(y, lambda_1) + (1 - w) * phi(y, lambda_2)) ]

with phi(y, l) = l on y and the rest in equal parts on the other classes.

Source:  Lee et al., "Adversarial vertex mixup", CVPR 2020; gamma 2, lambda_1 1, lambda_2 0.1 from the authors'
         settings for CIFAR-10, w ~ Beta(1, 1).
Differs: the mixture is written x + (1 - w) * (v - x). Batch norm is in eval mode while crafting unless `batch_norm` says
         "batch", which is what the authors' code does.
"""

import torch

from hardy.attacks import PGD, Attack
from hardy.describe import require, settings
from hardy.losses.labels import confidence_at, smoothed
from hardy.losses.logits import soft_cross_entropy
from hardy.models.classifier import BatchNormMode, Classifier, crafting
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise
from hardy.types import Images, Labels, PerSample


@settings
class AVmixup(Objective):
    """Adversarial vertex mixup."""

    attack: Attack = PGD()  # maximises cross-entropy
    gamma: float = 2.0  # how far the vertex is, in lengths of the perturbation
    lambda_1: float = 1.0  # probability of the label at the image
    lambda_2: float = 0.1  # and at the vertex
    batch_norm: BatchNormMode = "eval"  # its mode while crafting

    def __post_init__(self) -> None:
        require(self.gamma > 0, "gamma", self.gamma, "above 0")
        for name in ("lambda_1", "lambda_2"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a probability in [0, 1]")

    def craft(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> tuple[Images, PerSample]:
        """Mixed images, and how far each lies from x in lengths of the perturbation, gamma * (1 - w)."""
        with crafting(model, self.batch_norm):
            x_adv = self.attack.perturb(model, x, y, noise)
        vertex = (x + self.gamma * (x_adv - x)).clamp(0, 1)
        to_vertex = 1 - noise.derive("mixup").uniform((1, 1, 1)).to(x.dtype)
        return torch.lerp(x, vertex, to_vertex), self.gamma * to_vertex.flatten()

    def terms(self, model: Classifier, x: Images, y: Labels, made: tuple[Images, PerSample], noise: Noise) -> Terms:
        mixed, scale = made
        logits = model(mixed)
        confidence = confidence_at(scale, self.gamma, self.lambda_1, self.lambda_2)
        return {"mixed": soft_cross_entropy(logits, smoothed(y, logits.shape[1], confidence)).mean()}
