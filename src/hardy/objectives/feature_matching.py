"""Feature matching: adversarial training that keeps the class activation maps of clean and perturbed images together.

    minimise   CE over the joint batch + weight * MSE(M(x), M(x')) + weight_logits * MSE(f(x), f(x'))

with M the map of the label's class. "grad-cam", the authors' code: relu(sum_d a_d A_d), a the spatial means of the gradient of
z_y, averaged over the joint batch's 2 N * K logits, with respect to the activations A, and divided by its root mean square plus
1e-5. For a linear last layer after pooling that gradient is w_yd / (h w * 2 N K), so that M is a class activation map times a
number, and no backward pass is needed. "cam": sum_d w_yd A_d, as the InfoFeature paper describes the method (its eq. 5).

Source:  Li et al., "Towards adversarial robustness via feature matching", IEEE Access 2020, with its code; the weights 10 (maps)
         and 2 (logits) are that code's. InfoFeature paper, section 4.1: weight 10, maps alone.
Differs: of the two versions of the authors' code, whose files look swapped, the one that normalises the gradient is meant by
         `normalise`; in the other the maps' term is some 1e-12, and what is left is logit pairing.
         The mean is of a batch: each process takes that of its own part.
"""

from typing import Literal

import torch
from torch import Tensor

from hardy.attacks import PGD, Attack
from hardy.describe import require, settings
from hardy.losses.features import class_activation_maps, map_distance, of_class
from hardy.losses.labels import check_smoothing
from hardy.losses.logits import cross_entropy, squared_distance
from hardy.models.classifier import BatchNormMode, Classifier
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise
from hardy.types import Images, Labels, Maps

_TINY = 1e-36  # inside a root whose gradient weights of 0 would make NaN; lost in the rounding of any others


@settings
class FeatureMatching(Objective):
    """Adversarial feature matching; needs a `Classifier` whose last layer is linear."""

    attack: Attack = PGD(steps=7)  # maximises cross-entropy
    weight: float = 10.0  # of the maps' distance; lambda in the InfoFeature paper
    weight_logits: float = 2.0  # of the logits' distance
    form: Literal["grad-cam", "cam"] = "grad-cam"
    normalise: bool = True  # the gradient, in "grad-cam"
    floor: float = 1e-5  # beside the root mean square of the gradient
    batch_norm: BatchNormMode = "eval"  # its mode while crafting
    smoothing: float = 0.0  # share of the label spread over the other classes in the loss

    def __post_init__(self) -> None:
        for name in ("weight", "weight_logits"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        require(self.floor > 0, "floor", self.floor, "above 0")
        check_smoothing(self.smoothing)

    @property
    def coupled(self) -> bool:
        return super().coupled or self.form == "grad-cam"  # its gradient is of the batch's mean

    def terms(self, model: Classifier, x: Images, y: Labels, made: Images, noise: Noise) -> Terms:
        both = torch.cat([y, y])
        logits, maps = model.with_maps(torch.cat([x, made]))
        clean, perturbed = self.maps(maps, model.head_weight, both).chunk(2)
        apart = map_distance(clean, perturbed, "squared", "mean").mean()
        pairs = squared_distance(*logits.chunk(2)).mean() / logits.shape[1]
        terms = {"joint": cross_entropy(logits, both, self.smoothing).mean(), "maps": self.weight * apart}
        return {**terms, "pairing": self.weight_logits * pairs} if self.weight_logits else terms

    def maps(self, maps: Maps, weight: Tensor, y: Labels) -> Tensor:
        """(M, 1, h, w): the map of each image's label, of activations (M, D, h, w) and the last layer's weights (K, D)."""
        if self.form == "cam":
            return of_class(class_activation_maps(maps, weight, "none"), y)
        mean = 1 / (maps.shape[2] * maps.shape[3] * len(maps) * len(weight))  # over places and logits
        root = ((weight[y] * mean).square().mean() + _TINY).sqrt()
        scale = mean / (root + self.floor) if self.normalise else mean
        return scale * of_class(class_activation_maps(maps, weight, "sum"), y)
