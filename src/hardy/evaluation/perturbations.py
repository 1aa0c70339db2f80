"""How far the perturbations of two attacks are from each other that begin at the same image.

    ||x'_a - x'_b||_2,   and   mean over pixels and channels of (x'_a - x'_b)^2

Source:  InfoFeature paper, Table 2.
Differs: the unit of that table, "x 1e-5" of an L2 distance, cannot be that of the L2 distance of such images; both quantities
         are given, and no difference to the table is computed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Attack, Forward, Iterative
from hardy.attacks.informative import Coupled
from hardy.data.split import Split
from hardy.describe import require
from hardy.errors import UsageError
from hardy.evaluation.checks import check_network
from hardy.evaluation.memory import Room, usable_batch
from hardy.evaluation.path import Tell, ascending, one_path, walk
from hardy.evaluation.rows import Meter, Row
from hardy.models.classifier import frozen
from hardy.randomness import Noise
from hardy.results import Measurement
from hardy.types import Images, Labels

L2_UNIT = "L2, pixels in [0, 1]"
SQUARED_UNIT = "squared pixels in [0, 1]"


def perturbation_distances(
    model: Forward,
    split: Split,
    attacks: Mapping[str, Attack],
    counts: Sequence[int],
    *,
    seed: int = 0,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> list[Measurement]:
    """Distances of the second and further attacks from the first after each number of steps: two rows for each, means over all
    images with their 95 % interval.

    attacks: by their names in rows. All use the same random numbers. Where one of them moves a batch together, all see the
    images in groups of its size, in order. A row's settings have "steps", "attack" and "from". tell: progress, in images times
    steps.

    Raises: UsageError for fewer than two attacks, counts below 1 or beyond an attack's own, attacks of several stages or that
    do not start at the same images, or what `check_network` raises.
    """
    counts = ascending(counts, "steps", 1)
    require(
        len(attacks) >= 2, "attacks", list(attacks), "two attacks or more, the first being what others are held against"
    )
    for attack in attacks.values():
        _check_path(attack, counts)
    check_network(model, split)
    (reference, *others), noise, done = attacks, Noise(seed, split.indices, purpose="evaluation"), 0
    meter = Meter(model)
    differences: dict[tuple[str, int], list[Tensor]] = {(name, count): [] for name in others for count in counts}

    def differing(which: Tensor) -> dict[tuple[str, int], Tensor]:
        x, y, found = split.x(which), split.labels[which], {}
        walks = [_walk(meter.network, attack, x, y, noise[which], (0, *counts)) for attack in attacks.values()]
        for at in zip(*walks, strict=True):
            (count, first), *rest = at
            for name, (_, x_adv) in zip(others, rest, strict=True):
                if count:
                    found[name, count] = _both(x_adv, first)
                elif not torch.equal(x_adv, first):
                    raise UsageError(f"{name} and {reference} start at different images; they must start at the same.")
            if tell is not None:
                tell(done + len(which) * count, len(split) * counts[-1])
        return found

    everything = torch.arange(len(split), device=split.labels.device)
    with frozen(model):
        group = max((attack.group or 0 for attack in attacks.values()), default=0)
        made: Iterable[tuple[Tensor, dict[tuple[str, int], Tensor]]] = (
            ((which, differing(which)) for which in everything.split(group))  # the same groups whatever the batch
            if group
            else Room(usable_batch(model, split, batch)).parts(differing, everything)
        )
        for which, found in made:
            done += len(which) * counts[-1]
            for key, values in found.items():
                differences[key].append(values)
    costs = meter.lap()
    rows = []
    for (name, count), parts in differences.items():
        l2, squared = torch.cat(parts).unbind(1)
        about = {
            **(settings or {}), "data": split.origin, "attack": attacks[name].described, "summary": attacks[name].summary,
            "from": attacks[reference].described, "seed": seed, "steps": count,
        }  # fmt: skip
        after = f"of {name} from {reference} after {count} step{'s' * (count != 1)}"
        rows.append(Row(f"L2 distance {after}", run, about, costs).mean(l2, L2_UNIT))
        rows.append(Row(f"mean squared difference {after}", run, about, costs).mean(squared, SQUARED_UNIT))
    return rows


def _check_path(attack: Attack, counts: Sequence[int]) -> None:
    """Raises UsageError unless the attack's images after each count can be had."""
    if isinstance(attack, Coupled):
        require(counts[-1] <= attack.steps, "steps", counts[-1], f"at most {attack.steps}, those of the attack")
    else:
        one_path(attack, counts)


def _walk(
    f: Forward, attack: Attack, x: Images, y: Labels, noise: Noise, counts: Sequence[int]
) -> Iterator[tuple[int, Images]]:
    """`walk`, and the same of an attack that moves a batch together, made anew for each count."""
    if isinstance(attack, Coupled):
        made = {count: replace(attack, steps=count) for count in counts}  # type: ignore[type-var]  # concrete ones are settings
        return ((count, shorter.perturb(f, x, y, noise)) for count, shorter in made.items())
    assert isinstance(attack, Iterative)
    return walk(f, attack, x, y, noise, counts)


def _both(x_adv: Images, other: Images) -> Tensor:
    """float64 (N, 2): the L2 distance of two images, and the mean of the squared differences."""
    squares = (x_adv.double() - other.double()).square().flatten(1)
    return torch.stack([squares.sum(1).sqrt(), squares.mean(1)], 1)
