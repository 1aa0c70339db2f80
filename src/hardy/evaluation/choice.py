"""Images that several networks all classify correctly: the first of each class, then the second of each, and so on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hardy.attacks.attack import Forward
from hardy.data.split import Split
from hardy.describe import fitted, require
from hardy.errors import UsageError
from hardy.evaluation.checks import check_network
from hardy.evaluation.memory import usable_batch
from hardy.evaluation.stream import classify

_TOGETHER = 32  # images of a class that are looked at at once


@dataclass(frozen=True)
class Chosen:
    """index: int64 (N,), places in the split. passed_over: images before these, of the same classes, that were not taken."""

    index: Tensor
    passed_over: int


def classified_by_all(models: Sequence[Forward], split: Split, n: int, batch: int | None = None) -> Chosen:
    """The first n images that all networks classify correctly, taken from the classes in turn; fewer where there are no more.

    Raises: UsageError for n below 1, no network, no such image, or what `check_network` raises.
    """
    require(fitted(n, int, "n") >= 1, "n", n, "at least 1 image")
    require(bool(models), "models", models, "at least one network")
    for model in models:
        check_network(model, split)
    at_once = min(usable_batch(model, split, batch) for model in models)
    of_class = [(split.labels == label).nonzero().squeeze(1) for label in range(len(split.classes))]
    turns = {label: _correct(models, split, places, at_once) for label, places in enumerate(of_class)}
    index: list[int] = []
    looked_at = [0] * len(of_class)
    while turns and len(index) < n:
        for label in list(turns)[: n - len(index)]:
            place = next(turns[label], None)
            if place is None:
                looked_at[label] = len(of_class[label])
                del turns[label]
            else:
                looked_at[label] = place + 1
                index.append(int(of_class[label][place]))
    if not index:
        raise UsageError(f"None of the {len(split)} images is classified correctly by every network.")
    return Chosen(torch.tensor(index, device=split.labels.device), sum(looked_at) - len(index))


def _correct(models: Sequence[Forward], split: Split, places: Tensor, batch: int) -> Iterator[int]:
    """Which of the images at these places all networks classify correctly: their numbers among them, in order."""
    for first in range(0, len(places), _TOGETHER):
        some = places[first : first + _TOGETHER]
        numbers = torch.arange(first, first + len(some), device=some.device)
        for model in models:
            if len(some):
                right = classify(model, split.take(some), batch).correct
                some, numbers = some[right], numbers[right]
        yield from numbers.tolist()
