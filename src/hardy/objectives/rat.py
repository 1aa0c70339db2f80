"""RAT: regional adversarial training, on points of the region that an attack's path spans, each with its own label.

    end = x'_K,   first = x'_t with the least t at which f is wrong,   for PGD's path x'_1 .. x'_K
    point = x + s * (lambda * first + (1 - lambda) * end - x),   lambda ~ U(0, 1),   s ~ U{0, 0.1, ..., S}      (sampler, ARS)
    label: beta on y, the rest in equal parts on the other classes,   beta = beta_max - s * (beta_max - beta_min) / S   (DLS)
    minimise   the mean of CE(f(point), label) over m points of each image

Source:  Song et al., "Regional adversarial training for better robust generalization", 2021, eqs. (5)-(7), Algorithm 1; S is 2
         for CIFAR and 3 for Imagenette, m 2, beta from 1 to 0.1.
Differs: what the paper does not say. It assumes that an attack finds an adversarial point; for most images of a trained network
         it finds none, and then `if_none` names what first is: the end (the default; the direction is then AVmixup's) or
         x'_1, also where the end alone fools the network, to see which would take one more pass. Points leave the ball by
         design, up to S * eps; `clip` keeps them in [0, 1], the label's s is the drawn one. All m points pass through the
         network together, in training mode. lambda and s are drawn for each point.
         Without `regional` the end alone gives the direction. Then, with one point, smallest and largest scale 1 and both betas
         1, this is PGD-AT (SAT in the paper); with s drawn, AVmixup with w = 1 - s / S, but for the clipping.
"""

import math
from typing import Literal

import torch

from hardy.attacks import PGD, Iterative
from hardy.describe import require, settings
from hardy.errors import UsageError
from hardy.losses.labels import confidence_at, smoothed
from hardy.losses.logits import soft_cross_entropy
from hardy.models.classifier import BatchNormMode, Classifier, crafting
from hardy.objectives.objective import Objective, Terms
from hardy.randomness import Noise
from hardy.types import Images, Labels, PerSample


@settings
class RegionalSampler:
    """ARS: which points of the region are trained on."""

    regional: bool = (
        True  # directions between those of the first adversarial point and of the end; else of the end alone
    )
    samples: int = 2  # points of each image; m in the paper
    smallest: float = 0.0  # scale s
    largest: float = 2.0  # S in the paper
    spacing: float = 0.1  # between two scales
    if_none: Literal["end", "one step"] = "end"  # what stands for the first adversarial point where there is none
    clip: bool = True  # points to [0, 1]

    def __post_init__(self) -> None:
        require(self.samples >= 1, "samples", self.samples, "at least 1")
        require(self.smallest >= 0, "smallest", self.smallest, "at least 0")
        require(self.largest > 0, "largest", self.largest, "above 0")
        require(self.largest >= self.smallest, "largest", self.largest, f"at least smallest, {self.smallest:g}")
        require(self.spacing > 0, "spacing", self.spacing, "above 0")
        enough = self.largest - self.smallest <= 1e6 * self.spacing
        require(enough, "spacing", self.spacing, "at least a millionth of what lies between smallest and largest")

    @property
    def scales(self) -> int:
        """How many scales there are to draw from, none beyond the largest."""
        # a little more than the quotient: 0.3 / 0.1 is below 3
        return math.floor((self.largest - self.smallest) / self.spacing + 1e-6) + 1

    def __call__(self, x: Images, first: Images, end: Images, noise: Noise) -> tuple[Images, PerSample]:
        """(m * N) points, the N first ones of each image one after another, and their scales s."""
        points, scales = [], []
        for sample in range(self.samples):
            drawn = noise.derive("region").draw(sample)
            # lerp: with first and end the same, and s 1, the point is the end to the bit
            along = drawn.derive("direction").uniform((1, 1, 1)).to(x.dtype)
            between = torch.lerp(end, first, along) if self.regional else end
            s = self.smallest + self.spacing * drawn.derive("scale").integers(self.scales, (1, 1, 1)).to(x.dtype)
            point = torch.lerp(x, between, s)
            points.append(point.clamp(0, 1) if self.clip else point)
            scales.append(s.flatten())
        return torch.cat(points), torch.cat(scales)


@settings
class DistanceLabels:
    """DLS: how sure the network is to be of a point at scale s; with both betas 1 labels are hard."""

    beta_max: float = 1.0  # probability of the label at the image
    beta_min: float = 0.1  # and at the largest scale

    def __post_init__(self) -> None:
        for name in ("beta_max", "beta_min"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a probability in [0, 1]")


@settings
class RAT(Objective):
    """Regional adversarial training."""

    attack: Iterative = PGD()  # maximises cross-entropy, one gradient at each of its iterates
    sampler: RegionalSampler = RegionalSampler()
    labels: DistanceLabels = DistanceLabels()
    batch_norm: BatchNormMode = "eval"  # its mode while crafting

    def craft(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> tuple[Images, PerSample]:
        """Points of every image's region, m * N, and their scales."""
        with crafting(model, self.batch_norm):
            first, end = self.ends(model, x, y, noise)
        return self.sampler(x, first, end, noise)

    def ends(self, model: Classifier, x: Images, y: Labels, noise: Noise) -> tuple[Images, Images]:
        """The first adversarial point of the attack's path from each image, and its end; the start is none of its points.

        Raises: UsageError for an attack whose gradients are taken elsewhere than at its iterates.
        """
        first = end = x
        heard = False
        found = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for step, (point, logits) in enumerate(self.attack.path(model, x, y, noise)):
            end = point
            if step == 1:
                first = point
            heard |= logits is not None
            if step and logits is not None:
                fooled = logits.argmax(1) != y
                first = torch.where((fooled & ~found).view(-1, 1, 1, 1), point, first)
                found |= fooled
        if not heard and self.attack.iterations:
            raise UsageError(
                "RAT looks for the first adversarial point where the attack takes its gradients, and "
                f"{type(self.attack).__name__} takes none at its iterates; PGD and InfoFeature do."
            )
        if self.sampler.if_none == "end":  # one that only the end fools has the end, too: no pass is needed to tell
            first = torch.where(found.view(-1, 1, 1, 1), first, end)
        return first, end

    def terms(self, model: Classifier, x: Images, y: Labels, made: tuple[Images, PerSample], noise: Noise) -> Terms:
        points, scale = made
        logits = model(points)
        confidence = confidence_at(scale, self.sampler.largest, self.labels.beta_max, self.labels.beta_min)
        labels = smoothed(y.repeat(self.sampler.samples), logits.shape[1], confidence)
        return {"regional": soft_cross_entropy(logits, labels).mean()}
