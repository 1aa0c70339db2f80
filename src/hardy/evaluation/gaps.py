"""Generalisation gaps: accuracy on images that a network was trained on, minus that on images it has not seen.

Source:  RAT paper, "Comparison on Generalization Gaps", Figs. 3 and 6: the differences of clean accuracy, and of accuracy under
         PGD, between training data and test data.
Differs: the training images looked at are of each class as many as the test images, so that a gap is none of the classes' mix.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from hardy.attacks.attack import Attack, Forward
from hardy.data.split import Split
from hardy.errors import UsageError
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.path import Tell
from hardy.evaluation.rows import Costs
from hardy.results import Measurement, newcombe


def generalisation_gaps(
    model: Forward,
    train: Split,
    test: Split,
    attacks: Mapping[str, Attack | None],
    *,
    seed: int = 0,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> list[Measurement]:
    """Three rows for each attack, by its name, None being no attack: accuracy on training images, on test images, the difference.

    train: images that the network learnt from, of which `like` takes some. test: images that it has not seen. A difference has
    Newcombe's 95 % interval, its n is that of both, and "training" and "test" in its settings are (correct, images) of each.
    tell: progress, in images of the attack at hand.

    Raises: UsageError for images of different classes, or what `evaluate` raises.
    """
    part = like(train, test)

    def measured(split: Split) -> list[Measurement]:
        return evaluate(
            model, split, attacks, seed=seed, batch=batch, run=run, settings=settings,
            progress=None if tell is None else lambda name, done, total, robust: tell(done, total),
        )  # fmt: skip

    rows = []
    for seen, unseen in zip(measured(part), measured(test), strict=True):
        rows += [replace(seen, what=f"{seen.what} on training images"), unseen, _gap(seen, unseen)]
    return rows


def like(train: Split, test: Split) -> Split:
    """Training images, of each class as many as there are test images, or all there are; the first ones of each.

    Raises: UsageError where the classes are not the same, or there are no such images.
    """
    if train.classes != test.classes:
        raise UsageError(
            f"The training images are of other classes than the test images ({train.origin}; {test.origin}); a gap is one "
            "between images of the same classes."
        )
    of_class = [(train.labels == label).nonzero().squeeze(1) for label in range(len(train.classes))]
    wanted = [int((test.labels == label).sum()) for label in range(len(test.classes))]
    chosen = torch.cat([places[:count] for places, count in zip(of_class, wanted, strict=True)])
    if not len(chosen):
        raise UsageError(
            f"There is no training image of the test images' classes ({train.origin}); at least 1 is needed."
        )
    return replace(
        train.take(chosen.sort().values), origin=f"{train.origin}; of each class as many as of the test images"
    )


def _gap(seen: Measurement, unseen: Measurement) -> Measurement:
    """The difference of two rows, of training images and of others."""
    counts = [(round(row.value * row.n), row.n) for row in (seen, unseen)]
    low, high = newcombe(*counts[0], *counts[1])
    costs = Costs(seen.seconds, seen.forwards, seen.backwards).plus(
        Costs(unseen.seconds, unseen.forwards, unseen.backwards)
    )
    about = {"training data": seen.settings["data"], "training": list(counts[0]), "test": list(counts[1])}
    return replace(
        unseen,
        what=f"generalisation gap of {unseen.what}",
        value=seen.value - unseen.value,
        n=seen.n + unseen.n,
        low=low,
        high=high,
        settings=unseen.settings | about,
        seconds=costs.seconds,
        forwards=costs.forwards,
        backwards=costs.backwards,
    )
