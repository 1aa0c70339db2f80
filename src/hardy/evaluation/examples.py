"""Examples of an attack: a few images, what it makes of them, and what the network says before and after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Attack, Forward
from hardy.attacks.balls import L2, Linf
from hardy.data.split import Split
from hardy.errors import FailedError
from hardy.evaluation.checks import check_alone, check_network
from hardy.evaluation.memory import Room, usable_batch
from hardy.evaluation.path import Tell
from hardy.evaluation.perturbations import L2_UNIT
from hardy.evaluation.rows import Meter, Row, determining
from hardy.evaluation.stream import allowed
from hardy.models.classifier import frozen
from hardy.models.full_precision import full_precision
from hardy.randomness import Noise
from hardy.results import Measurement
from hardy.types import Images, Labels, Logits, PerSample

CONFIDENCE_UNIT = "probability"


@dataclass(frozen=True)
class Said:
    """What a network says of images: classes, int64 (N,), and the probability that its softmax gives to each."""

    classes: Labels
    confidence: PerSample

    @classmethod
    def of(cls, logits: Logits) -> "Said":
        """What logits say."""
        confidence, classes = logits.softmax(1).max(1)
        return cls(classes, confidence)

    def words(self, i: int, names: Sequence[str]) -> str:
        """What is said of one image: the class by its name, and the probability in per cent."""
        return f"{names[int(self.classes[i])]} {100 * float(self.confidence[i]):.0f} %"


@dataclass(frozen=True)
class Attacked:
    """x_adv: the attack's images, whether they break the network or not. broken: bool (N,). linf, l2: their distances.

    before, after: what the network says of the images and of these. rows: what is measured of them.
    """

    x_adv: Images
    before: Said
    after: Said
    broken: Tensor
    linf: PerSample
    l2: PerSample
    rows: list[Measurement]


def adversarial_examples(
    model: Forward,
    split: Split,
    attack: Attack,
    *,
    name: str = "",
    seed: int = 0,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> Attacked:
    """What the attack makes of each image in the end, and four rows over all images, with their 95 % intervals.

    The share of images that it breaks: classified correctly before and not after, by float32 forward passes, and the attack's
    image is in its ball and in [0, 1]; the mean confidence before and after, in whatever class is named; the mean L2 distance.
    An image's random numbers are those that `evaluate` gives it. name: of the attack, in rows. settings: what else belongs
    into each row. tell: progress, in images.

    Raises: UsageError for an attack on groups of images, or what `check_network` raises; FailedError where the network's
    logits on attacked images are not finite.
    """
    check_alone(attack)
    check_network(model, split)
    meter, room = Meter(model), Room(usable_batch(model, split, batch))
    noise, done = Noise(seed, split.indices, purpose="evaluation"), 0
    found: list[tuple[Images, Logits, Logits]] = []

    def outcome(which: Tensor) -> tuple[Images, Logits, Logits]:
        x = split.x(which)
        x_adv = attack(meter.network, x, split.labels[which], noise[which])
        with full_precision(model), torch.no_grad():
            return x_adv, meter.network(x), meter.network(x_adv)

    with frozen(model):
        for which, made in room.parts(outcome, torch.arange(len(split), device=split.labels.device), attack.copies):
            found.append(made)
            done += len(which)
            if tell is not None:
                tell(done, len(split))
    x, (x_adv, before, after) = split.x(), (torch.cat(column) for column in zip(*found, strict=True))
    if not bool(after.isfinite().all()):
        raise FailedError(
            "The network's logits are NaN or infinite on attacked images; there is no confidence to show."
        )
    first, last = Said.of(before), Said.of(after)
    broken = (first.classes == split.labels) & (last.classes != split.labels) & allowed(attack.ball, x_adv, x)
    linf, l2 = (ball.distance(x_adv.double(), x.double()) for ball in (Linf(), L2()))
    about, costs, name = determining(settings, split, attack, "last", seed), meter.lap(), name or attack.summary
    rows = [
        Row(f"examples broken by {name}", run, about, costs).share(broken),
        Row("confidence before", run, about, costs).mean(first.confidence, CONFIDENCE_UNIT),
        Row(f"confidence after {name}", run, about, costs).mean(last.confidence, CONFIDENCE_UNIT),
        Row(f"L2 distance of {name}", run, about, costs).mean(l2, L2_UNIT),
    ]
    return Attacked(x_adv, first, last, broken, linf, l2, rows)
