"""Sweeps: robust accuracy against the radius, the number of steps and the number of restarts.

Source:  RAT paper, Figs. 4 and 7 (0 to 100 steps of 2/255 at eps 8/255), 5 and 8 (eps 0 to 16/255, 10 steps of 2/255);
         InfoFeature paper, Fig. 4 (two attacks against their iterations).
Differs: an image that is misclassified unperturbed never counts as robust, as everywhere here; no steps, and eps 0, are the
         unperturbed image, and not a random point of the ball.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Attack, Forward
from hardy.attacks.balls import fraction
from hardy.attacks.combine import Restarts
from hardy.data.split import Split
from hardy.describe import fitted, require
from hardy.evaluation.checks import check_network
from hardy.evaluation.memory import Room, usable_batch
from hardy.evaluation.path import Tell, ascending, one_path, walk
from hardy.evaluation.rows import Costs, Meter, Row, determining
from hardy.evaluation.stream import Judge, classify, under_attack, verdict
from hardy.models.classifier import frozen
from hardy.randomness import Noise
from hardy.results import Measurement


def over_eps(
    model: Forward,
    split: Split,
    attack: Callable[[float], Attack],
    radii: Sequence[float],
    *,
    name: str = "the attack",
    judge: Judge = "last",
    seed: int = 0,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> list[Measurement]:
    """Accuracy under the attack of each radius, a row each, in the order of the radii; 0 is clean accuracy.

    attack: makes the attack of a radius in [0, 1] pixels, as in lambda eps: PGD(Linf(eps), steps=10, step_size=2/255). name:
    what rows call it. The radius is in a row's settings as "eps". tell: progress, in images of the radius at hand.

    Raises: UsageError for no radius, one below 0, or what `check_network` raises.
    """
    radii = fitted(tuple(radii), tuple[float, ...], "eps")
    require(bool(radii), "eps", radii, "at least one radius")
    for eps in radii:
        require(eps >= 0, "eps", eps, "at least 0")
    require(len(set(radii)) == len(radii), "eps", radii, "radii that differ")
    made = {eps: attack(eps) if eps > 0 else None for eps in radii}
    check_network(model, split)
    batch = usable_batch(model, split, batch)
    clean, rows = classify(model, split, batch), []
    for eps, at in made.items():
        about = determining(settings, split, at, judge, seed)
        if at is None:
            outcome, what = clean, "clean accuracy"
        else:
            what = f"accuracy under {name} at eps {fraction(eps)}"
            outcome = under_attack(
                model, split, at, clean.correct, judge=judge, seed=seed, batch=batch, progress=_told(tell)
            )
        rows.append(Row(what, run, about | {"eps": eps}, Costs.of(outcome)).share(outcome.correct))
    return rows


def over_steps(
    model: Forward,
    split: Split,
    attack: Attack,
    counts: Sequence[int],
    *,
    name: str = "the attack",
    seed: int = 0,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> list[Measurement]:
    """Accuracy after each number of the attack's steps, a row each, in ascending order; 0 is clean accuracy.

    One path is judged at each count, at its last image then. Where an attack's steps do not depend on how many are to come,
    these are the accuracies under separate attacks of as many steps; the settings tell the whole attack, and the count as
    "steps". Costs are those of the path up to there. tell: progress, in images times steps.

    Raises: UsageError for counts below 0 or beyond the attack's own, an attack of several stages, or what `check_network`
    raises.
    """
    counts = ascending(counts, "steps", 0)
    path = one_path(attack, counts)
    check_network(model, split)
    meter, noise = Meter(model), Noise(seed, split.indices, purpose="evaluation")
    room, done = Room(usable_batch(model, split, batch)), 0
    with frozen(model):
        clean = classify(meter.network, split, room.images).correct
        correct = {count: clean.clone() for count in counts}
        costs = dict.fromkeys(counts, Costs()) | {counts[0]: meter.lap()}
        walked, wanted = clean.nonzero().squeeze(1), [count for count in counts if count]

        def judged(which: Tensor) -> list[tuple[int, Tensor, Costs]]:
            x, y, found = split.x(which), split.labels[which], []
            for count, x_adv in walk(meter.network, path, x, y, noise[which], wanted):
                found.append((count, verdict(meter.network, x_adv, y), meter.lap()))
                if tell is not None:
                    tell(done + len(which) * count, len(walked) * wanted[-1])
            return found

        for which, found in room.parts(judged, walked) if len(walked) and wanted else ():
            for count, right, spent in found:
                correct[count][which] = right
                costs[count] = costs[count].plus(spent)
            done += len(which) * wanted[-1]
    rows = []
    for count, spent in zip(counts, accumulate(costs.values(), Costs.plus), strict=True):
        about = determining(settings, split, attack if count else None, "last", seed) | {"steps": count}
        what = f"accuracy after {count} step{'s' * (count != 1)} of {name}" if count else "clean accuracy"
        rows.append(Row(what, run, about, spent).share(correct[count]))
    return rows


def over_restarts(
    model: Forward,
    split: Split,
    attack: Attack,
    counts: Sequence[int],
    *,
    name: str = "the attack",
    judge: Judge = "last",
    seed: int = 0,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> list[Measurement]:
    """Accuracy in the worst case of the first 1, 2, ... restarts of one run of the most, a row each, in ascending order.

    The settings tell the whole run, and the count as "restarts"; costs are those of the whole run. tell: progress, in images
    of the restart at hand.

    Raises: UsageError for counts below 1, an attack that does not go by iterations, or what `check_network` raises.
    """
    counts = ascending(counts, "restarts", 1)
    repeated = Restarts(attack, counts[-1])
    check_network(model, split)
    # the images are kept for one reason: restarts are then made one after another, and what each leaves is known
    outcome = under_attack(
        model,
        split,
        repeated,
        judge=judge,
        seed=seed,
        batch=usable_batch(model, split, batch),
        keep=True,
        progress=_told(tell),
    )
    about, each = determining(settings, split, repeated, judge, seed), len(attack.stages)
    rows = []
    for count in counts:
        what = f"accuracy under {name}, the worst of {count}"
        left = torch.arange(len(split), device=split.labels.device) < outcome.after[count * each - 1]
        rows.append(Row(what, run, about | {"restarts": count}, Costs.of(outcome)).share(left))
    return rows


def _told(tell: Tell | None) -> Callable[[str, int, int, int], None] | None:
    return None if tell is None else lambda name, done, total, robust: tell(done, total)
