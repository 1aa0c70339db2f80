"""The loss around an image: along the direction of an attack, and over that direction and a random one.

    L(f(x + s d), y)   and   L(f(x + s d + t r), y),   d = x' - x,   r = eps * ascend(N(0, 1)): for Linf eps times random signs

Source:  RAT paper, Fig. 2 (cross-entropy of a correctly classified image as the scale s grows).
Differs: that figure's direction is a random one between the path's first adversarial image and its end, for one image; here it
         is that of the attack's image, and means are over all images that are classified correctly unperturbed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Attack, Forward
from hardy.data.split import Split
from hardy.describe import fitted, require
from hardy.errors import FailedError, UsageError
from hardy.evaluation.checks import check_alone, check_network
from hardy.evaluation.memory import Room, usable_batch
from hardy.evaluation.path import Tell
from hardy.evaluation.rows import Costs, Meter, Row
from hardy.evaluation.stream import classify
from hardy.losses.logits import cross_entropy
from hardy.models.classifier import frozen
from hardy.models.full_precision import full_precision
from hardy.randomness import Noise
from hardy.results import Measurement
from hardy.types import Images

LOSS_UNIT = "cross-entropy"


def loss_along(
    model: Forward,
    split: Split,
    attack: Attack,
    scales: Sequence[float],
    *,
    clip: bool = True,
    seed: int = 0,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> list[Measurement]:
    """Mean cross-entropy at x + s (x' - x), and the accuracy there, for each scale s: two rows each.

    x' is the attack's image: s = 0 is the image and s = 1 is x'; beyond, images leave the ball. clip: to [0, 1]. The images are
    those of the split that are classified correctly unperturbed. A row's settings have "scale" and "clip". tell: progress, in
    images.

    Raises: UsageError for no scale, an attack on groups of images, no image that is classified correctly, or what
    `check_network` raises.
    """
    scales = _scales(scales, "scales")
    looked = _look(model, split, attack, [(s, 0.0) for s in scales], clip=clip, seed=seed, batch=batch, tell=tell)
    about, rows = _about(settings, split, attack, clip=clip, seed=seed), []
    for i, scale in enumerate(scales):
        at, place = about | {"scale": scale}, f"{scale:g} times the perturbation"
        rows.append(Row(f"loss at {place}", run, at, looked.costs).mean(looked.losses[:, i], LOSS_UNIT))
        rows.append(Row(f"accuracy at {place}", run, at, looked.costs).share(looked.right[:, i]))
    return rows


def loss_surface(
    model: Forward,
    split: Split,
    attack: Attack,
    along: Sequence[float],
    across: Sequence[float],
    *,
    clip: bool = True,
    seed: int = 0,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> list[Measurement]:
    """Mean cross-entropy at x + s (x' - x) + t r for each pair of scales: a row each, those of one t after another.

    along: the scales s of the attack's perturbation; across: those of a random direction r as long as eps, one for each image.
    Images and the other arguments: see `loss_along`. A row's settings have "along", "across" and "clip".

    Raises: what `loss_along` raises.
    """
    along, across = _scales(along, "along"), _scales(across, "across")
    places = [(s, t) for t in across for s in along]
    looked = _look(model, split, attack, places, clip=clip, seed=seed, batch=batch, tell=tell)
    about = _about(settings, split, attack, clip=clip, seed=seed)
    return [
        Row(f"loss at ({s:g}, {t:g})", run, about | {"along": s, "across": t}, looked.costs).mean(column, LOSS_UNIT)
        for (s, t), column in zip(places, looked.losses.T, strict=True)
    ]


@dataclass(frozen=True)
class _Looked:
    """losses: float32 (N, P), at each place; right: bool (N, P), whether the class is the label there."""

    losses: Tensor
    right: Tensor
    costs: Costs


def _look(
    model: Forward,
    split: Split,
    attack: Attack,
    places: Sequence[tuple[float, float]],
    *,
    clip: bool,
    seed: int,
    batch: int | None,
    tell: Tell | None,
) -> _Looked:
    """The loss at each place around the images that are classified correctly."""
    check_alone(attack)
    check_network(model, split)
    room = Room(usable_batch(model, split, batch))
    meter = Meter(model)
    split = split.take(classify(meter.network, split, room.images).correct)
    if not len(split):
        raise UsageError(
            "None of the images is classified correctly unperturbed; the loss is looked at around such images."
        )
    noise, done = Noise(seed, split.indices, purpose="evaluation"), 0
    found: list[tuple[Tensor, Tensor]] = []

    def around(which: Tensor) -> tuple[Tensor, Tensor]:
        x, y, drawn = split.x(which), split.labels[which], noise[which]
        perturbation = attack(meter.network, x, y, drawn) - x
        across = attack.ball.eps * attack.ball.ascend(drawn.derive("across").normal(x.shape[1:]))
        losses, right = [], []
        with full_precision(model), torch.no_grad():
            for s, t in places:
                at = _moved(x, s * perturbation + t * across, clip=clip)
                logits = meter.network(at)
                losses.append(cross_entropy(logits, y))
                right.append(logits.argmax(1) == y)
        return torch.stack(losses, 1), torch.stack(right, 1)

    with frozen(model):
        for which, made in room.parts(around, torch.arange(len(split), device=split.labels.device)):
            found.append(made)
            done += len(which)
            if tell is not None:
                tell(done, len(split))
    losses, right = (torch.cat(column) for column in zip(*found, strict=True))
    if not bool(losses.isfinite().all()):
        raise FailedError("The network's loss is NaN or infinite around some images; it has no mean.")
    return _Looked(losses, right, meter.lap())


def _moved(x: Images, by: Images, *, clip: bool) -> Images:
    return (x + by).clamp(0, 1) if clip else x + by


def _scales(scales: Sequence[float], name: str) -> tuple[float, ...]:
    made: tuple[float, ...] = fitted(tuple(scales), tuple[float, ...], name)
    require(bool(made), name, made, "at least one number")
    require(len(set(made)) == len(made), name, made, "numbers that differ")
    return made


def _about(
    settings: Mapping[str, Any] | None, split: Split, attack: Attack, *, clip: bool, seed: int
) -> dict[str, Any]:
    attacked = {"attack": attack.described, "summary": attack.summary, "seed": seed, "clip": clip}
    return {**(settings or {}), "data": split.origin, "images": "classified correctly", **attacked}
