"""hardy analyse perturbations, direction, surface: where attacks lead, and the loss on the way."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardy.attacks.attack import Attack
from hardy.attacks.balls import Linf
from hardy.cli.console import percent
from hardy.cli.outputs import command, kept
from hardy.cli.several import (
    Network,
    Several,
    attack_on_one,
    check,
    check_radius,
    check_single,
    flat,
    images,
    interval,
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
from hardy.evaluation.perturbations import L2_UNIT, SQUARED_UNIT, perturbation_distances
from hardy.evaluation.surface import LOSS_UNIT, loss_along, loss_surface
from hardy.report.analysis import Analysis, Tabular
from hardy.report.figures import Bands, HeatMap, HeatMaps, Mark, Panel
from hardy.results import Measurement


@dataclass(frozen=True)
class Perturbations(Several):
    """Distances of attacks' images from those of another attack that starts at the same: the InfoFeature paper's Table 2."""

    attacks: tuple[str, ...] = (
        "cw",
        "infofeature",
    )  # spaces between; names that take a K in `hardy list attacks`, without it
    against: str = "pgd"  # the attack whose images they are held against
    steps: tuple[int, ...] = (1, 2, 5, 7, 10, 20)  # spaces between
    eps: float | None = None  # Linf radius; left out, that of the networks' training, else 8/255
    step_size: float | None = None  # left out, eps / 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.attacks), "attacks", self.attacks, "at least one name, such as infofeature")
        require(
            len({*self.attacks, self.against}) == len(self.attacks) + 1, "attacks", self.attacks, "names that differ"
        )
        for name in (*self.attacks, self.against):
            of_steps(name, 8 / 255, 1, None)
        ascending(self.steps, "steps", 1)
        if self.eps is not None:
            check_radius(self.eps)
        require(
            self.step_size is None or self.step_size > 0,
            "step_size",
            self.step_size,
            "above 0, or left out for eps / 4",
        )


@dataclass(frozen=True)
class Direction(Several):
    """The loss at x + s (x' - x), x' the attack's image, as s grows beyond 1: after the RAT paper's Fig. 2.

    Images are those that the network classifies correctly unperturbed.
    """

    attack: str = "pgd-10"  # as in `hardy list attacks`
    scales: tuple[float, ...] = (
        0,
        0.25,
        0.5,
        0.75,
        1,
        1.25,
        1.5,
        1.75,
        2,
        2.25,
        2.5,
        2.75,
        3,
    )  # 1 is the attack's image
    eps: float | None = None  # Linf radius; left out, that of the networks' training, else 8/255
    clip: bool = True  # to [0, 1]

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.scales), "scales", self.scales, "at least one number")
        require(len(set(self.scales)) == len(self.scales), "scales", self.scales, "numbers that differ")
        check_single(self.attack, self.eps)


@dataclass(frozen=True)
class Surface(Several):
    """The mean loss over an attack's perturbation and a random sign vector of length eps, a grid of both scales.

    Images are those that the network classifies correctly unperturbed.
    """

    n: int = 20  # test images, the first ones; each is passed through the network once a place of the grid
    attack: str = "pgd-10"  # as in `hardy list attacks`
    scale: float = 1.5  # both axes go from -scale to scale; 1 is the attack's image, and eps
    points: int = 21  # of each axis
    eps: float | None = None  # Linf radius; left out, that of the networks' training, else 8/255
    clip: bool = True  # to [0, 1]

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.scale > 0, "scale", self.scale, "above 0")
        require(self.points >= 2, "points", self.points, "at least 2")
        check_single(self.attack, self.eps)

    @property
    def axis(self) -> tuple[float, ...]:
        """The scales of either axis."""
        return tuple(round(float(s), 9) for s in np.linspace(-self.scale, self.scale, self.points))


def perturbations(args: list[str]) -> None:
    """Run `hardy analyse perturbations`."""
    made = options(Perturbations(), args, "perturbations")
    found = networks(made)
    at = radius(made.eps, found)
    names = (made.against, *made.attacks)
    attacks = {name: of_steps(name, at, max(made.steps), made.step_size) for name in names}
    for name, attack in attacks.items():
        check(name, attack, found)

    def measured(network: Network, tell: Tell) -> list[Measurement]:
        return perturbation_distances(
            network.model, network.test, attacks, made.steps, seed=made.seed, batch=made.batch,
            run=network.run, settings=network.about, tell=tell,
        )  # fmt: skip

    rows = of_all(found, measured)
    of_each = {
        name: {title: _of(some, attacks[name], L2_UNIT) for title, some in rows.items()} for name in made.attacks
    }
    shown = []
    for name, of in of_each.items():
        about = f"[95 % interval] of {name} from {made.against}"
        squared = {title: _of(some, attacks[name], SQUARED_UNIT) for title, some in rows.items()}
        shown += [
            tabular(f"Mean L2 distance {about}", "steps", of, interval),
            tabular(f"Mean squared difference {about}", "steps", squared, _scientific),
        ]
    label = f"L2 distance from {made.against} (pixels in [0, 1])"
    panels = tuple(
        Panel(title, "steps", label, tuple(line(name, of[title], "steps") for name, of in of_each.items()))
        for title in found
    )
    says = (
        f"How far an attack's image lies from that of {made.against} after as many steps from the same start: 0 would be the "
        "same attack. After the InfoFeature paper's Table 2, whose unit is not known."
    )
    title = f"{' and '.join(made.attacks)} from the same start as {made.against}, {Linf(at)}; {images(found)}"
    asked = command("perturbations", args)
    kept(
        made,
        Analysis("perturbations", "Distances of attacks", says, asked, tuple(shown), Bands(title, panels), flat(rows)),
    )


def direction(args: list[str]) -> None:
    """Run `hardy analyse direction`."""
    made = options(Direction(), args, "direction")
    found = networks(made)
    attack = attack_on_one(made.attack, radius(made.eps, found))
    check(made.attack, attack, found)

    def measured(network: Network, tell: Tell) -> list[Measurement]:
        return loss_along(
            network.model, network.test, attack, made.scales, clip=made.clip, seed=made.seed, batch=made.batch,
            run=network.run, settings=network.about, tell=tell,
        )  # fmt: skip

    rows = of_all(found, measured)
    losses, shares = (
        {name: [row for row in of if row.unit == unit] for name, of in rows.items()} for unit in (LOSS_UNIT, "fraction")
    )
    where = f"at x + scale * perturbation, by {attack.summary}"
    shown = (
        tabular(f"Mean cross-entropy [95 % interval] {where}", "scale", losses, interval),
        tabular(f"Accuracy in % {where}", "scale", shares, lambda row: percent(row.value, row.low, row.high)),
    )
    label = f"scale of the perturbation (1: {made.attack})"
    panels = (
        Panel("", label, "cross-entropy", tuple(line(name, of, "scale") for name, of in losses.items())),
        Panel("", label, "accuracy (%)", tuple(line(name, of, "scale", percent=True) for name, of in shares.items())),
    )
    says = (
        "Loss and accuracy on the way from an image to the attack's, and beyond it. A loss that rises steadily is one whose "
        "gradient leads somewhere; images beyond scale 1 are outside the ball. After the RAT paper's Fig. 2."
    )
    title = f"x + scale * ({made.attack}'s image - x), {attack.ball}; those classified correctly of {images(found)}"
    figure, asked = Bands(title, panels, share_y=False), command("direction", args)
    kept(made, Analysis("direction", "The loss along an attack", says, asked, shown, figure, flat(rows)))


def surface(args: list[str]) -> None:
    """Run `hardy analyse surface`."""
    made = options(Surface(), args, "surface")
    found = networks(made)
    attack = attack_on_one(made.attack, radius(made.eps, found))
    check(made.attack, attack, found)

    def measured(network: Network, tell: Tell) -> list[Measurement]:
        return loss_surface(
            network.model, network.test, attack, made.axis, made.axis, clip=made.clip, seed=made.seed, batch=made.batch,
            run=network.run, settings=network.about, tell=tell,
        )  # fmt: skip

    rows = of_all(found, measured)
    heads = ("network", "images", "lowest", "at the image", "highest", "where (along, across)")
    title = f"Mean cross-entropy over the grid; {attack.summary}"
    shown = Tabular(title, heads, tuple(_extremes(name, of) for name, of in rows.items()))
    marks = (Mark("image", 0, 0), *((Mark(made.attack, 1, 0),) if made.scale >= 1 else ()))
    figure = HeatMaps(
        f"{made.attack} at {attack.ball}; means over images classified correctly",
        made.axis,
        made.axis,
        tuple(HeatMap(f"{name} ({of[0].n} images)", _grid(of, made.points), marks) for name, of in rows.items()),
        x_label=f"scale of {made.attack}'s perturbation",
        y_label="scale of a random sign vector of length eps",
        value_label="mean cross-entropy",
    )
    says = (
        "The loss over an attack's direction (across the picture) and a random one (upwards). A smooth slope towards the "
        "attack's image is what an honest network shows; a plateau with cliffs hides gradients."
    )
    kept(
        made,
        Analysis("surface", "The loss around images", says, command("surface", args), (shown,), figure, flat(rows)),
    )


def _grid(rows: Sequence[Measurement], points: int) -> tuple[tuple[float, ...], ...]:
    """The rows' values, line by line."""
    return tuple(tuple(row.value for row in rows[first : first + points]) for first in range(0, len(rows), points))


def _of(rows: Sequence[Measurement], attack: Attack, unit: str) -> list[Measurement]:
    return [row for row in rows if row.settings["attack"] == attack.described and row.unit == unit]


def _scientific(row: Measurement) -> str:
    return f"{row.value:.3g}" + ("" if row.low is None else f" [{row.low:.3g}, {row.high:.3g}]")


def _extremes(name: str, rows: Sequence[Measurement]) -> tuple[str, ...]:
    """A network's surface in a line of the table."""
    lowest, highest = min(row.value for row in rows), max(rows, key=lambda row: row.value)
    clean = [f"{row.value:.3f}" for row in rows if row.settings["along"] == row.settings["across"] == 0]
    where = f"({highest.settings['along']:g}, {highest.settings['across']:g})"
    return name, str(highest.n), f"{lowest:.3f}", *(clean or ["-"]), f"{highest.value:.3f}", where
