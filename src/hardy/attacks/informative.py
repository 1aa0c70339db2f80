"""Attacks on activations: InfoFeature, and those inside feature scattering and adversarial interpolation.

    InfoFeature     maximise over the ball   ce_weight * CE(f(x'), y) + weight * D(M(x), M(x'))
    feature scatter maximise                 OT between the batches f(x) and f(x'), entropic, cosine costs
    interpolation   minimise                 max(0, 1 - cos(features(x'_i), features(x_{N-1-i})))

with M the class activation maps, sum_d max(w_d A_d, 0). M(x) does not depend on x', and is computed once.

Source:  "InfoFeature" paper, eqs. (3), (5)-(7): 7 steps, weight 0.1; Zhang and Wang, "Defense against adversarial attacks
         using feature scattering-based adversarial training", NeurIPS 2019; Zhang and Xu, "Adversarial interpolation
         training", 2020; the constants of the latter two from their code.
Differs: what the first paper does not say is a setting: whose class's map (default the label's), the form of D (the root of
         the sum of squares), where x' starts (anywhere in the ball). The other two start at a point of the ball that may lie
         outside [0, 1]; here it is projected first.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hardy.attacks.attack import Attack, Forward, Iterative, State, looking
from hardy.attacks.balls import Ball, Linf, fraction
from hardy.attacks.pgd import PGD, check_steps, gradient_at
from hardy.describe import require, settings
from hardy.losses.criteria import check_labels
from hardy.losses.features import Clip, Distance, class_activation_maps, cosine_distance, map_distance, of_class
from hardy.losses.logits import cross_entropy
from hardy.losses.transport import cosine_costs, transport_distance
from hardy.models.classifier import Classifier
from hardy.randomness import Noise
from hardy.types import Images, Labels, Logits, PerSample

Activations = Literal["logits", "features"]


@dataclass
class InfoFeatureState(State):
    """clean: (N, 1 or K, h, w), the class activation maps of x. classes: int64 (N,), whose they are; None for all."""

    clean: Tensor
    classes: Tensor | None


@settings
class InfoFeature(Iterative):
    """PGD on cross-entropy and on the change of class activation maps; needs a `Classifier`."""

    ball: Ball = Linf()
    steps: int = 7
    step_size: float | None = None  # pixel units of [0, 1]; None is eps / 4
    start_at: Literal["uniform", "gaussian", "image"] = "uniform"  # in the ball; x + 0.001 * N(0, 1); x itself
    weight: float = 0.1  # of the maps' distance; lambda in the paper
    ce_weight: float = 1.0
    classes: Literal["label", "predicted", "all"] = "label"  # whose maps; predicted: for the unperturbed image
    clip: Clip = "terms"  # negative values become 0 before the sum over channels, after it, or not at all
    distance: Distance = "l2"
    over: Literal["sum", "mean"] = "sum"  # of the differences of all entries; nothing to the cosine
    floor: float = 1e-12  # inside the root of l2, which without it has no gradient at x

    def __post_init__(self) -> None:
        check_steps(self.steps, self.step_size, "eps / 4")
        require(self.weight >= 0, "weight", self.weight, "at least 0")
        require(self.ce_weight >= 0, "ce_weight", self.ce_weight, "at least 0")
        require(self.weight + self.ce_weight > 0, "ce_weight", self.ce_weight, "above 0 where weight is 0")
        require(self.floor > 0, "floor", self.floor, "above 0")
        moves = self.ce_weight > 0 or self.start_at != "image"
        require(moves, "start_at", self.start_at, "another where ce_weight is 0: at x the maps' distance has no slope")

    @property
    def walk(self) -> PGD:
        """PGD with the same steps and start."""
        return PGD(self.ball, self.steps, self.step_size, self.start_at)

    @property
    def iterations(self) -> int:
        return self.steps

    @property
    def summary(self) -> str:
        of = {"label": "the label", "predicted": "the predicted class", "all": "all classes"}[self.classes]
        clipped = {"terms": "clipped before the sum", "sum": "clipped after the sum", "none": "not clipped"}[self.clip]
        form = f"l2, floor {self.floor:g}" if self.distance == "l2" else self.distance
        return (
            f"InfoFeature, {self.ce_weight:g} cross-entropy + {self.weight:g} distance of the activation maps of {of} "
            f"({clipped}; {form}, {self.over}){self.walk.summary.removeprefix(f'PGD on {self.walk.loss}')}"
        )

    def view(self, f: Forward) -> Forward:
        """Logits (N, K), and class activation maps (N, K, h, w)."""

        def look(model: Classifier, x: Images) -> tuple[Logits, Tensor]:
            logits, maps = model.with_maps(x)
            return logits, class_activation_maps(maps, model.head_weight, self.clip)

        return looking(f, look)

    def start(self, f: Forward, x: Images, target: Labels, noise: Noise) -> InfoFeatureState:
        check_labels(target)
        with torch.no_grad():
            logits, maps = f(x)
        classes = {"label": target, "predicted": logits.argmax(1), "all": None}[self.classes]
        begun = self.walk.start(f, x, target, noise)
        return InfoFeatureState(begun.x_adv, begun.done, begun.step, _of_classes(maps, classes), classes)

    def advance(self, f: Forward, x: Images, target: Any, state: State) -> InfoFeatureState:
        assert isinstance(state, InfoFeatureState)
        clean, classes = state.clean, state.classes

        def loss(at: Images) -> PerSample:
            logits, maps = f(at)
            away = map_distance(_of_classes(maps, classes), clean, self.distance, self.over, self.floor)
            return self.ce_weight * cross_entropy(logits, target) + self.weight * away

        x_adv = _ascended(loss, state.x_adv, x, self.ball, self.walk.alpha)
        x_adv = torch.where(state.done.view(-1, 1, 1, 1), state.x_adv, x_adv)
        step = state.step + 1
        return InfoFeatureState(x_adv, step >= self.steps, step, clean, classes)


def _of_classes(maps: Tensor, classes: Tensor | None) -> Tensor:
    """The map of one class for each image; all of them for None."""
    return maps if classes is None else of_class(maps, classes)


def _ascended(loss: Callable[[Images], Tensor], x_adv: Images, x: Images, ball: Ball, alpha: float) -> Images:
    gradient = gradient_at(x_adv, loss).nan_to_num(0.0)  # a NaN would go into the image
    return ball.project(x_adv + alpha * ball.ascend(gradient), x)


class Coupled(Attack):
    """An attack on the images of a batch together: made for training. A number it gives depends on who stands beside whom."""

    steps: int
    step_size: float | None
    on: Activations

    def __post_init__(self) -> None:
        check_steps(self.steps, self.step_size, "eps")

    @property
    def stages(self) -> tuple[Iterative, ...]:
        return ()

    @property
    def group(self) -> int:
        return 100  # in their order, the misclassified among them

    @property
    def alpha(self) -> float:
        """The step size taken, in pixel units of [0, 1]."""
        return self.ball.eps if self.step_size is None else self.step_size

    @property
    def path(self) -> str:
        """Ball, steps and start, for the summary."""
        steps = f"{self.steps} step{'s' * (self.steps != 1)} of {fraction(self.alpha)}"
        return (
            f"{self.ball}, {steps} from a uniform point of the ball, images in groups of {self.group} where evaluated"
        )

    def view(self, f: Forward) -> Forward:
        return f if self.on == "logits" else looking(f, Classifier.with_features)

    def perturb(self, f: Forward, x: Images, target: Any, noise: Noise) -> Images:
        del target
        seen = self.view(f)

        def activations(at: Images) -> Tensor:
            out = seen(at)
            chosen: Tensor = out if self.on == "logits" else out[1]
            return chosen

        loss, x_adv = self.loss(activations, x), self.ball.sample(x, noise)
        for _ in range(self.steps):
            x_adv = _ascended(loss, x_adv, x, self.ball, self.alpha)
        return x_adv

    @abstractmethod
    def loss(self, activations: Callable[[Images], Tensor], x: Images) -> Callable[[Images], Tensor]:
        """What is maximised, as a function of the perturbed batch."""


@settings
class FeatureScatter(Coupled):
    """Moves the batch as a whole away from itself: the entropic transport distance of what the network makes of it."""

    ball: Ball = Linf()
    steps: int = 1
    step_size: float | None = None  # pixel units of [0, 1]; None is eps
    on: Activations = "logits"  # as the authors' code has it; features need a `Classifier`
    regularisation: float = 0.01
    iterations: int = 100  # of Sinkhorn, at most
    tolerance: float = 0.1  # change of the potentials, in sum, at which these end

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.regularisation > 0, "regularisation", self.regularisation, "above 0")
        require(self.iterations >= 1, "iterations", self.iterations, "at least 1")
        require(self.tolerance >= 0, "tolerance", self.tolerance, "at least 0")

    @property
    def summary(self) -> str:
        return (
            f"feature scatter on {self.on}, {self.path}, regularisation {self.regularisation:g}, "
            f"at most {self.iterations} Sinkhorn iterations, tolerance {self.tolerance:g}"
        )

    def loss(self, activations: Callable[[Images], Tensor], x: Images) -> Callable[[Images], Tensor]:
        with torch.no_grad():
            clean = activations(x)

        def distance(at: Images) -> Tensor:
            costs = cosine_costs(clean, activations(at))
            return transport_distance(costs, self.regularisation, self.iterations, self.tolerance)

        return distance


@settings
class AdversarialInterpolation(Coupled):
    """Moves each image towards the features of another, the one at the mirrored place of the batch."""

    ball: Ball = Linf()
    steps: int = 1
    step_size: float | None = None  # pixel units of [0, 1]; None is eps
    on: Activations = "features"  # need a `Classifier`

    @property
    def summary(self) -> str:
        return f"adversarial interpolation on {self.on}, {self.path}, towards the batch reversed"

    def loss(self, activations: Callable[[Images], Tensor], x: Images) -> Callable[[Images], Tensor]:
        with torch.no_grad():
            partners = activations(x).flip(0)
        return lambda at: -cosine_distance(activations(at), partners)
