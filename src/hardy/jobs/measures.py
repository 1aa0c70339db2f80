"""Measures: the numbers of a table's column, as settings: which jobs each needs, and how it is read from their results."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from hardy.attacks.attack import Attack
from hardy.errors import UsageError
from hardy.evaluation.average import average_accuracy
from hardy.jobs.job import Evaluate, Job, Train
from hardy.jobs.study import Analyse, Study
from hardy.jobs.timing import Time
from hardy.models.checkpoints import Which
from hardy.results import Measurement
from hardy.training.curves import learning_curves
from hardy.training.precision import Precision


@dataclass(frozen=True)
class Network:
    """A run's network, and how it is attacked.

    precision: while crafting where each success is verified in float32. which: of the run's weights.
    """

    train: Train
    precision: Precision = "float32"
    which: Which = "last"


class Measure(ABC):
    """A number of a network."""

    @abstractmethod
    def jobs(self, network: Network) -> tuple[Job, ...]:
        """What must be done, beside what that needs."""

    @abstractmethod
    def found(self, network: Network) -> Measurement | None:
        """The number, where all that is done."""


@dataclass(frozen=True)
class Accuracy(Measure):
    """Accuracy under an attack, which None is not, on the first test images. name: of the attack, in rows and logs."""

    name: str
    attack: Attack | None
    images: int

    def jobs(self, network: Network) -> tuple[Job, ...]:
        return (self._job(network),)

    def found(self, network: Network) -> Measurement | None:
        return self._job(network).result()

    def _job(self, network: Network) -> Evaluate:
        verified = self.attack is not None and self.attack.stops_at_success
        precision = network.precision if verified else "float32"
        return Evaluate(network.train, self.name, self.attack, self.images, precision, network.which)


@dataclass(frozen=True)
class MeanAccuracy(Measure):
    """The unweighted mean of several accuracies."""

    of: tuple[Accuracy, ...]

    def jobs(self, network: Network) -> tuple[Job, ...]:
        return tuple(job for one in self.of for job in one.jobs(network))

    def found(self, network: Network) -> Measurement | None:
        rows = [row for one in self.of if (row := one.found(network)) is not None]
        return average_accuracy(rows, [one.name for one in self.of]) if len(rows) == len(self.of) else None


@dataclass(frozen=True)
class RowOf(Measure):
    """A row of a study, by what it measures."""

    study: Study
    what: str

    def jobs(self, network: Network) -> tuple[Job, ...]:
        return (self._job(network),)

    def found(self, network: Network) -> Measurement | None:
        return _named(self.what, self._job(network).result())

    def _job(self, network: Network) -> Analyse:
        return Analyse(network.train, self.study, network.which)


@dataclass(frozen=True)
class AtEpoch(Measure):
    """A number that training itself has kept, as of an epoch. what: CLEAN or ROBUST of `hardy.training.curves`."""

    what: str
    epoch: int

    def jobs(self, network: Network) -> tuple[Job, ...]:
        return (network.train,)

    def found(self, network: Network) -> Measurement | None:
        if not network.train.done():
            return None
        rows = learning_curves(network.train.folder).of(self.what)
        return next((row for row in rows if row.settings["epoch"] == self.epoch), None)


@dataclass(frozen=True)
class StepCost(Measure):
    """What a training step costs. what: MINUTES, FORWARDS or BACKWARDS of `timing`; steps: how many are timed."""

    what: str
    steps: int

    def jobs(self, network: Network) -> tuple[Job, ...]:
        return (self._job(network),)

    def found(self, network: Network) -> Measurement | None:
        return _named(self.what, self._job(network).result())

    def _job(self, network: Network) -> Time:
        return Time(network.train.run, network.train.into, self.steps)


def _named(what: str, rows: list[Measurement] | None) -> Measurement | None:
    """The row of that quantity. Raises: UsageError where there are rows, and none is of it."""
    if rows is None:
        return None
    for row in rows:
        if row.what == what:
            return row
    raise UsageError(f"There is no row {what!r} among {', '.join(row.what for row in rows)}.")
