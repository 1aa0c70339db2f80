"""hardy analyse eps, steps, strength, restarts: robust accuracy of several networks against what an attack is given."""

from collections.abc import Sequence
from dataclasses import dataclass

from hardy.attacks.attack import Attack
from hardy.attacks.balls import Linf
from hardy.cli.console import percent
from hardy.cli.outputs import command, kept
from hardy.cli.several import (
    Measured,
    Network,
    Rows,
    Several,
    attack_on_one,
    check,
    check_radius,
    flat,
    images,
    in_steps_of,
    line,
    networks,
    of_all,
    of_steps,
    options,
    radius,
    tabular,
)
from hardy.describe import require
from hardy.evaluation.path import Tell, ascending
from hardy.evaluation.sweep import over_eps, over_restarts, over_steps
from hardy.report.analysis import Analysis, Tabular
from hardy.report.figures import Bands, Line, Panel
from hardy.results import Measurement

_CLEAN = "An image that is misclassified unperturbed never counts as robust."


@dataclass(frozen=True)
class Eps(Several):
    """Accuracy under an attack whose radius grows: the RAT paper's Figs. 5 and 8."""

    attack: str = "pgd-10"  # as in `hardy list attacks`
    eps: tuple[float, ...] = tuple(
        k / 255 for k in (0, 1, 2, 4, 6, 8, 10, 12, 14, 16)
    )  # Linf radii, spaces between; 0 is no attack
    step_size: float = 2 / 255  # of pgd-K, cw-K and infofeature-K, whatever eps

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.eps), "eps", self.eps, "at least one radius")
        for eps in self.eps:
            check_radius(eps, none_too=True)
        require(len(set(self.eps)) == len(self.eps), "eps", self.eps, "radii that differ")
        require(self.step_size > 0, "step_size", self.step_size, "above 0")
        attack_on_one(self.attack, 8 / 255)

    def at(self, eps: float) -> Attack:
        """The attack of a radius."""
        return in_steps_of(attack_on_one(self.attack, eps), self.step_size)


@dataclass(frozen=True)
class Steps(Several):
    """Accuracy after each number of an attack's steps, all of one path: the RAT paper's Figs. 4 and 7."""

    attack: str = "pgd"  # a name that takes a K in `hardy list attacks`, without it
    steps: tuple[int, ...] = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 80, 100)  # spaces between; 0 is no attack
    eps: float | None = None  # Linf radius; left out, that of the networks' training, else 8/255
    step_size: float | None = None  # left out, eps / 4

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_steps((self.attack,), self)


@dataclass(frozen=True)
class Strength(Several):
    """Accuracy under several attacks against their number of steps: the InfoFeature paper's Fig. 4."""

    attacks: tuple[str, ...] = (
        "pgd",
        "infofeature",
    )  # spaces between; names that take a K in `hardy list attacks`, without it
    steps: tuple[int, ...] = (0, 1, 2, 3, 5, 7, 10, 15, 20)  # spaces between; 0 is no attack
    eps: float | None = None  # Linf radius; left out, that of the networks' training, else 8/255
    step_size: float | None = None  # left out, eps / 4

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_steps(self.attacks, self)


@dataclass(frozen=True)
class Restarts(Several):
    """Accuracy in the worst case of an attack's first restarts, all of one run."""

    attack: str = "pgd-20"  # as in `hardy list attacks`
    restarts: tuple[int, ...] = (1, 2, 4, 8)  # spaces between
    eps: float | None = None  # Linf radius; left out, that of the networks' training, else 8/255

    def __post_init__(self) -> None:
        super().__post_init__()
        ascending(self.restarts, "restarts", 1)
        if self.eps is not None:
            check_radius(self.eps)
        repeated = attack_on_one(self.attack, 8 / 255)
        require(bool(repeated.stages), "attack", self.attack, "one that goes by iterations, such as pgd-20")


def eps(args: list[str]) -> None:
    """Run `hardy analyse eps`."""
    made = options(Eps(), args, "eps")
    found = networks(made)
    largest = made.at(max(made.eps) or 8 / 255)
    check(made.attack, largest, found)

    def measured(network: Network, tell: Tell) -> list[Measurement]:
        return over_eps(
            network.model, network.test, made.at, made.eps, name=made.attack, seed=made.seed, batch=made.batch,
            run=network.run, settings=network.about, tell=tell,
        )  # fmt: skip

    rows = of_all(found, measured)
    shown = _accuracies(f"{made.attack}; at the largest eps: {largest.summary}", "eps", rows)
    panel = _panel("", "eps (in units of 1/255)", _lines(rows, "eps", 255))
    says = (
        "How accuracy falls as the attack may change pixels more, with a fixed step size. It must reach that of guessing in "
        f"the end: where it does not, the attack fails and the network need not be robust. {_CLEAN} After the RAT paper's "
        "Figs. 5 and 8."
    )
    figure = Bands(f"{made.attack}; {images(found)}", (panel,))
    kept(made, Analysis("eps", "Accuracy by radius", says, command("eps", args), (shown,), figure, flat(rows)))


def steps(args: list[str]) -> None:
    """Run `hardy analyse steps`."""
    made = options(Steps(), args, "steps")
    found = networks(made)
    attack = _longest(made.attack, made, radius(made.eps, found))
    check(made.attack, attack, found)
    rows = of_all(found, _stepped(made, made.attack, attack))
    shown = _accuracies(attack.summary, "steps", rows)
    panel = _panel("", f"steps of {made.attack}", _lines(rows, "steps"))
    says = (
        "Accuracy after each number of steps of one path. Where it still falls at the end, the attack has not converged and "
        f"more steps would break more. {_CLEAN} After the RAT paper's Figs. 4 and 7."
    )
    figure = Bands(f"{made.attack} at {attack.ball}; {images(found)}", (panel,))
    kept(made, Analysis("steps", "Accuracy by steps", says, command("steps", args), (shown,), figure, flat(rows)))


def strength(args: list[str]) -> None:
    """Run `hardy analyse strength`."""
    made = options(Strength(), args, "strength")
    found = networks(made)
    at = radius(made.eps, found)
    attacks = {name: _longest(name, made, at) for name in made.attacks}
    for name, attack in attacks.items():
        check(name, attack, found)
    rows = {name: of_all(found, _stepped(made, name, attack), f", {name}") for name, attack in attacks.items()}
    shown = tuple(_accuracies(attack.summary, "steps", rows[name]) for name, attack in attacks.items())
    panels = tuple(
        _panel(title, "steps", tuple(line(name, of[title], "steps", percent=True) for name, of in rows.items()))
        for title in found
    )
    says = (
        "Accuracy under each attack after each number of its steps: the lower line is the stronger attack. After the "
        "InfoFeature paper's Fig. 4."
    )
    figure = Bands(f"{' and '.join(attacks)} at {Linf(at)}; {images(found)}", panels)
    measured = tuple(row for of in rows.values() for row in flat(of))
    kept(made, Analysis("strength", "Attacks by steps", says, command("strength", args), shown, figure, measured))


def restarts(args: list[str]) -> None:
    """Run `hardy analyse restarts`."""
    made = options(Restarts(), args, "restarts")
    found = networks(made)
    attack = attack_on_one(made.attack, radius(made.eps, found))
    check(made.attack, attack, found)

    def measured(network: Network, tell: Tell) -> list[Measurement]:
        return over_restarts(
            network.model, network.test, attack, made.restarts, name=made.attack, seed=made.seed, batch=made.batch,
            run=network.run, settings=network.about, tell=tell,
        )  # fmt: skip

    rows = of_all(found, measured)
    shown = _accuracies(f"the worst of so many restarts; {attack.summary}", "restarts", rows)
    panel = _panel("", f"restarts of {made.attack}", _lines(rows, "restarts"), tuple(sorted(made.restarts)))
    says = (
        "Accuracy on images that none of the first restarts breaks. Where more restarts go on breaking images, a single run "
        "of the attack says too much."
    )
    figure = Bands(f"{made.attack} at {attack.ball}, the worst of so many restarts; {images(found)}", (panel,))
    kept(
        made,
        Analysis("restarts", "Accuracy by restarts", says, command("restarts", args), (shown,), figure, flat(rows)),
    )


def _check_steps(names: Sequence[str], made: Steps | Strength) -> None:
    require(bool(names), "attacks", names, "at least one name, such as pgd")
    require(len(set(names)) == len(names), "attacks", names, "names that differ")
    for name in names:
        of_steps(name, 8 / 255, 1, None)
    ascending(made.steps, "steps", 0)
    if made.eps is not None:
        check_radius(made.eps)
    require(
        made.step_size is None or made.step_size > 0, "step_size", made.step_size, "above 0, or left out for eps / 4"
    )


def _longest(name: str, made: Steps | Strength, eps: float) -> Attack:
    """The attack with the most of the steps asked for; at least 1, which the image alone would not need."""
    return of_steps(name, eps, max(*made.steps, 1), made.step_size)


def _stepped(made: Steps | Strength, name: str, attack: Attack) -> Measured:
    return lambda network, tell: over_steps(
        network.model, network.test, attack, made.steps, name=name, seed=made.seed, batch=made.batch,
        run=network.run, settings=network.about, tell=tell,
    )  # fmt: skip


def _accuracies(title: str, key: str, rows: Rows) -> Tabular:
    """Accuracies in a table, a line for each value of the setting `key`."""
    return tabular(
        f"Accuracy in % [95 % interval]; {title}", key, rows, lambda row: percent(row.value, row.low, row.high)
    )


def _lines(rows: Rows, key: str, times: float = 1) -> tuple[Line, ...]:
    """Accuracies in per cent over a setting, a line for each network."""
    return tuple(line(name, of, key, times=times, percent=True) for name, of in rows.items())


def _panel(title: str, x_label: str, lines: tuple[Line, ...], ticks: tuple[float, ...] | None = None) -> Panel:
    return Panel(title, x_label, "robust accuracy (%)", lines, ticks)
