"""The studies that tables ask for: each calls one function of `hardy.evaluation` with settings of its own."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from hardy.attacks.attack import Attack
from hardy.attacks.balls import Linf
from hardy.attacks.pgd import PGD
from hardy.data.cifar_c import Released
from hardy.data.corrupted import Made
from hardy.data.corruptions import SEVERITIES
from hardy.describe import require, settings
from hardy.evaluation.accuracy import evaluate
from hardy.evaluation.corruption import corruption_accuracy
from hardy.evaluation.gaps import generalisation_gaps
from hardy.evaluation.perturbations import perturbation_distances
from hardy.evaluation.sensitivity import loss_sensitivity
from hardy.evaluation.surface import loss_along
from hardy.evaluation.sweep import over_eps, over_steps
from hardy.jobs.job import passes_of
from hardy.jobs.study import Study, Trained
from hardy.results import Measurement
from hardy.training.run import Run


@settings
class Sensitivity(Study):
    """Loss sensitivity at brightness shifts and gammas."""

    images: int
    shifts: tuple[float, ...] = ()
    exponents: tuple[float, ...] = ()

    @property
    def passes(self) -> tuple[float, float]:
        all_of_them = self.images * (len(self.shifts) + len(self.exponents))
        return all_of_them, all_of_them

    def rows(self, of: Trained) -> list[Measurement]:
        return loss_sensitivity(
            of.network(), of.test(self.images), shifts=self.shifts, exponents=self.exponents, run=of.name,
            settings=of.about, tell=of.tell,
        )  # fmt: skip


@settings
class Gaps(Study):
    """Accuracy on training images, on test images, and the difference: clean, and under an attack of that name."""

    name: str
    attack: Attack
    images: int

    @property
    def passes(self) -> tuple[float, float]:
        forwards, backwards = passes_of(self.attack, self.images)
        return 2 * (self.images + forwards), 2 * backwards

    def rows(self, of: Trained) -> list[Measurement]:
        attacks = {"clean": None, self.name: self.attack}
        return generalisation_gaps(
            of.network(), of.learnt(), of.test(self.images), attacks, run=of.name, settings=of.about, tell=of.tell
        )


@settings
class OverSteps(Study):
    """Accuracy after each number of steps of an attack of that name."""

    name: str
    attack: Attack
    counts: tuple[int, ...]
    images: int

    @property
    def passes(self) -> tuple[float, float]:
        forwards, backwards = passes_of(self.attack, self.images)
        return forwards + self.images * len(self.counts), backwards

    def rows(self, of: Trained) -> list[Measurement]:
        return over_steps(
            of.network(), of.test(self.images), self.attack, self.counts, name=self.name, run=of.name,
            settings=of.about, tell=of.tell,
        )  # fmt: skip


@settings
class OverEps(Study):
    """Accuracy under PGD of that name, in Linf balls of each radius."""

    name: str
    attack: PGD
    radii: tuple[float, ...]
    images: int

    @property
    def passes(self) -> tuple[float, float]:
        return _together([self.attack] * len(self.radii), self.images)

    def rows(self, of: Trained) -> list[Measurement]:
        return over_eps(
            of.network(), of.test(self.images), lambda eps: replace(self.attack, ball=Linf(eps)), self.radii,
            name=self.name, run=of.name, settings=of.about, tell=of.tell,
        )  # fmt: skip


@settings
class Corruptions(Study):
    """Accuracy under types of natural corruption at all severities. source: made here, or from CIFAR-10-C and CIFAR-100-C."""

    kinds: tuple[str, ...]
    source: Literal["made", "released"]
    images: int

    @property
    def passes(self) -> tuple[float, float]:
        return self.images * (1 + len(self.kinds) * len(SEVERITIES)), 0

    def rows(self, of: Trained) -> list[Measurement]:
        test, place = of.test(self.images), of.place
        made = Made(test.shape) if self.source == "made" else None
        corrupted = made or Released.of(test, place.data_root, offline=place.offline)
        return corruption_accuracy(
            of.network(), test, kinds=self.kinds, corrupted=corrupted, run=of.name, settings=of.about, tell=of.tell
        )


@settings
class Distances(Study):
    """How far attacks' images lie from those of the first after each number of steps. names: one for each attack."""

    names: tuple[str, ...]
    attacks: tuple[Attack, ...]
    counts: tuple[int, ...]
    images: int

    def __post_init__(self) -> None:
        _check_names(self.names, self.attacks)

    @property
    def passes(self) -> tuple[float, float]:
        return _together(self.attacks, self.images)

    def rows(self, of: Trained) -> list[Measurement]:
        attacks = dict(zip(self.names, self.attacks, strict=True))
        return perturbation_distances(
            of.network(), of.test(self.images), attacks, self.counts, run=of.name, settings=of.about, tell=of.tell
        )


@settings
class Direction(Study):
    """Loss and accuracy along an attack's perturbation, at each scale of it."""

    attack: Attack
    scales: tuple[float, ...]
    images: int

    @property
    def passes(self) -> tuple[float, float]:
        forwards, backwards = passes_of(self.attack, self.images)
        return forwards + self.images * len(self.scales), backwards

    def rows(self, of: Trained) -> list[Measurement]:
        return loss_along(
            of.network(), of.test(self.images), self.attack, self.scales, run=of.name, settings=of.about, tell=of.tell
        )


@settings
class Transfer(Study):
    """Accuracy under attacks crafted on the network of another run. names: one for each attack."""

    names: tuple[str, ...]
    attacks: tuple[Attack, ...]
    source: Run
    images: int

    def __post_init__(self) -> None:
        _check_names(self.names, self.attacks)

    @property
    def sources(self) -> tuple[Run, ...]:
        return (self.source,)

    @property
    def passes(self) -> tuple[float, float]:
        return _together(self.attacks, self.images)

    def rows(self, of: Trained) -> list[Measurement]:
        about = {**of.about, "crafted on": self.source.name}
        return evaluate(
            of.network(), of.test(self.images), dict(zip(self.names, self.attacks, strict=True)),
            craft_on=of.network(self.source), run=of.name, settings=about,
            progress=lambda name, done, total, robust: of.tell(done, total),
        )  # fmt: skip


def _together(attacks: Sequence[Attack], images: int) -> tuple[float, float]:
    """(forward, backward) passes of all the attacks."""
    each = [passes_of(attack, images) for attack in attacks]
    return sum(forwards for forwards, _ in each), sum(backwards for _, backwards in each)


def _check_names(names: tuple[str, ...], attacks: tuple[Attack, ...]) -> None:
    require(len(names) == len(attacks), "names", names, f"{len(attacks)}, one for each attack")
    require(len(set(names)) == len(names), "names", names, "names that differ")
