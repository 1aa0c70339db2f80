"""Rows of what was measured image by image: a share with Wilson's interval, a mean with a normal one; and what they cost."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from hardy.attacks.attack import Attack, Forward
from hardy.data.split import Split
from hardy.evaluation.stream import Counted, Judge, Outcome
from hardy.results import Measurement, wilson
from hardy.types import PerSample

_Z = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True)
class Costs:
    """Wall-clock seconds, and passes of single images through the network; see Measurement."""

    seconds: float = 0.0
    forwards: int = 0
    backwards: int = 0

    @classmethod
    def of(cls, outcome: Outcome) -> "Costs":
        """Those of an attack, or of a look at the unperturbed images."""
        return cls(outcome.seconds, outcome.forwards, outcome.backwards)

    def plus(self, other: "Costs") -> "Costs":
        """These and others."""
        return Costs(self.seconds + other.seconds, self.forwards + other.forwards, self.backwards + other.backwards)


@dataclass
class Meter:
    """Counts what a network is asked through `network`."""

    model: Forward
    network: Counted = field(init=False)
    _before: Costs = field(init=False)

    def __post_init__(self) -> None:
        self.network = Counted(self.model)
        self._before = self._now()

    def _now(self) -> Costs:
        return Costs(time.perf_counter(), self.network.forwards, self.network.backwards)

    def lap(self) -> Costs:
        """What was spent since the last time, or the beginning."""
        now, then = self._now(), self._before
        self._before = now
        return Costs(now.seconds - then.seconds, now.forwards - then.forwards, now.backwards - then.backwards)


def determining(
    settings: Mapping[str, Any] | None, split: Split, attack: Attack | None, judge: Judge, seed: int
) -> dict[str, Any]:
    """What determines a row's value, beside other settings; without an attack that is the network and the images."""
    about = {**(settings or {}), "data": split.origin}
    if attack is None:
        return about
    judged = "any" if attack.stops_at_success else judge
    return about | {"attack": attack.described, "summary": attack.summary, "judge": judged, "seed": seed}


@dataclass(frozen=True)
class Row:
    """What a row says beside its number; settings: all that determines the value."""

    what: str
    run: str
    settings: Mapping[str, Any]
    costs: Costs

    def share(self, correct: Tensor) -> Measurement:
        """The share of images that are correct (bool (N,), N > 0), with its 95 % Wilson interval."""
        right, n = int(correct.sum()), len(correct)
        return self._row(right / n, "fraction", n, wilson(right, n), correct)

    def mean(self, values: PerSample, unit: str) -> Measurement:
        """The mean over images, with the normal 95 % interval of the mean; a single image has none."""
        mean, n = float(values.double().mean()), len(values)
        half = _Z * float(values.double().std()) / n**0.5 if n > 1 else None
        return self._row(mean, unit, n, (None, None) if half is None else (mean - half, mean + half), values)

    def _row(
        self, value: float, unit: str, n: int, interval: tuple[float | None, float | None], of: Tensor
    ) -> Measurement:
        return Measurement(
            run=self.run,
            what=self.what,
            value=value,
            unit=unit,
            n=n,
            low=interval[0],
            high=interval[1],
            settings=dict(self.settings),
            seconds=self.costs.seconds,
            forwards=self.costs.forwards,
            backwards=self.costs.backwards,
            device=str(of.device),
        )
