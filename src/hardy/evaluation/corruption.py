"""Accuracy on naturally corrupted images: of each type and severity, of each type, and over twelve or fifteen types (mCA).

    mCA = mean over types and severities of the fraction of images classified correctly

Source:  RAT paper, Table 2: the twelve types without noise (mCA-12). Hendrycks and Dietterich, "Benchmarking neural network
         robustness to common corruptions and perturbations", ICLR 2019: fifteen types (mCA-15), and four more.
Differs: it is accuracy, and not Hendrycks and Dietterich's mCE, which divides each type's error by that of AlexNet. mCA-12 and
         mCA-15 are no numbers to compare: noise is left out of one.
"""

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor

from hardy.attacks.attack import Forward
from hardy.data.corrupted import Corrupted, Made
from hardy.data.corruptions import KINDS, RAT_PAPER, SEVERITIES, USUAL
from hardy.data.split import Split
from hardy.describe import fitted, require
from hardy.errors import unknown
from hardy.evaluation.checks import check_network
from hardy.evaluation.memory import Room, usable_batch
from hardy.evaluation.path import Tell
from hardy.evaluation.rows import Costs, Meter, Row, determining
from hardy.evaluation.stream import classify, verdict
from hardy.models.classifier import frozen
from hardy.results import Measurement
from hardy.types import PerSample

SUMMARIES: Mapping[str, tuple[str, ...]] = {"mCA-12": RAT_PAPER, "mCA-15": USUAL}

_QUICKEST = 100  # images at once on a CPU, whose cache does not hold the activations of many more


def corruption_accuracy(
    model: Forward,
    split: Split,
    *,
    kinds: Sequence[str] = tuple(KINDS),
    severities: Sequence[int] = SEVERITIES,
    corrupted: Corrupted | None = None,
    batch: int | None = None,
    run: str = "",
    settings: Mapping[str, Any] | None = None,
    tell: Tell | None = None,
) -> list[Measurement]:
    """Rows: clean accuracy; accuracy under each type and severity; the mean over severities of each type; the mean over types.

    A mean over severities is there where there are several, mCA-12 and mCA-15 where all their types and severities 1 to 5 are.
    The same images are behind all of them: a mean's interval is that of the mean over images of each image's share of
    corruptions under which it is classified correctly. It is one of test sampling, not of the corruptions' random numbers.

    kinds: names of `hardy.data.corruptions.KINDS`. corrupted: where the images come from, `Made` or `Released`; left out, they
    are made here. They are in memory a batch at a time. settings: what else belongs into each row. tell: progress, in images.

    Raises: UsageError for an unknown or repeated type or severity, or what `check_network` and `corrupted` raise.
    """
    kinds, severities = wanted(kinds, severities)
    corrupted = Made(split.shape) if corrupted is None else corrupted
    check_network(model, split)
    room, total = Room(_batch(model, split, batch)), len(kinds) * len(severities) * len(split)
    sight = _Sight(model, split, corrupted, room, tell, total)
    about = determining(settings, split, None, "last", 0)
    clean = classify(model, split, room.images)
    rows = [Row("clean accuracy", run, about, Costs.of(clean)).share(clean.correct)]
    shares: dict[str, PerSample] = {}
    spent: dict[str, Costs] = {}
    alike: dict[str, Any] = {}  # settings of the images that are not those of a type
    for kind in kinds:
        each, costs = [], []
        for severity in severities:
            each.append(sight.correct(kind, severity))
            costs.append(sight.meter.lap())
            one = about | {"kind": kind, "severity": severity, **corrupted.settings(kind, severity)}
            alike |= {name: value for name, value in one.items() if name not in ("kind", "severity", "constants")}
            rows.append(Row(f"accuracy under {kind}, severity {severity}", run, one, costs[-1]).share(each[-1]))
        shares[kind], spent[kind] = torch.stack(each).double().mean(0), reduce(Costs.plus, costs)
    over = alike | {"severities": list(severities)}
    for kind, share in shares.items() if len(severities) > 1 else ():
        what = f"accuracy under {kind}, mean over severities"
        rows.append(Row(what, run, over | {"kind": kind}, spent[kind]).mean(share, "fraction"))
    for name, of in summaries(kinds, severities).items():
        costs_of = reduce(Costs.plus, (spent[kind] for kind in of))
        rows.append(Row(name, run, over | {"kinds": list(of)}, costs_of).mean(mean_over(of, shares), "fraction"))
    return rows


def wanted(kinds: Sequence[str], severities: Sequence[int]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Both as they were given, the severities in order.

    Raises: UsageError for none, an unknown one, or one twice.
    """
    types: tuple[str, ...] = fitted(tuple(kinds), tuple[str, ...], "types")
    strengths: tuple[int, ...] = fitted(tuple(severities), tuple[int, ...], "severities")
    require(bool(types), "types", types, "at least one type of corruption")
    for kind in types:
        if kind not in KINDS:
            raise unknown("type of corruption", kind, KINDS)
    require(len(set(types)) == len(types), "types", types, "types that differ")
    require(bool(strengths), "severities", strengths, "at least one of 1..5")
    for severity in strengths:
        require(severity in SEVERITIES, "severity", severity, "in 1..5")
    require(len(set(strengths)) == len(strengths), "severities", strengths, "severities that differ")
    return types, tuple(sorted(strengths))


def summaries(kinds: Sequence[str], severities: Sequence[int]) -> dict[str, tuple[str, ...]]:
    """The named means that these types and severities are enough for, each with its types."""
    whole = tuple(severities) == SEVERITIES
    return {name: of for name, of in SUMMARIES.items() if whole and set(of) <= set(kinds)}


def mean_over(kinds: Sequence[str], shares: Mapping[str, PerSample]) -> PerSample:
    """The mean over types, each counting as much as another, of each image's share by type."""
    return torch.stack([shares[kind] for kind in kinds]).mean(0)


def _batch(model: Forward, split: Split, batch: int | None) -> int:
    usable = usable_batch(model, split, batch)
    return min(usable, _QUICKEST) if batch is None and split.labels.device.type == "cpu" else usable


class _Sight:
    """The network's view of corrupted images, and what it costs."""

    def __init__(
        self, model: Forward, split: Split, corrupted: Corrupted, room: Room, tell: Tell | None, total: int
    ) -> None:
        self.model, self.split, self.corrupted, self.room = model, split, corrupted, room
        self.tell, self.total, self.done = tell, total, 0
        self.meter = Meter(model)

    def correct(self, kind: str, severity: int) -> Tensor:
        """Bool (N,): which images are classified correctly once they are corrupted."""
        index = torch.arange(len(self.split), device=self.split.labels.device)
        with frozen(self.model):
            return torch.cat([right for _, right in self.room.parts(partial(self._judged, kind, severity), index)])

    def _judged(self, kind: str, severity: int, which: Tensor) -> Tensor:
        part = self.split.take(which)
        x = self.corrupted.images(kind, severity, part).to(torch.float32) / 255
        # laid out pixel by pixel: the convolutions of a CPU are a quarter quicker with that
        right = verdict(self.meter.network, x.contiguous(memory_format=torch.channels_last), part.labels)
        self.done += len(which)
        if self.tell is not None:
            self.tell(self.done, self.total)
        return right
