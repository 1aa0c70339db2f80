"""The RAT paper's Figs. 2 to 8: loss along a direction, generalisation gaps, and accuracy against steps and radius.

    hardy table rat-fig4 --scale small

Figs. 3, 4 and 5 are of CIFAR-10; 6, 7 and 8 the same of CIFAR-100 and ImageNette. The paper prints no numbers of them, and does
not say at which steps and radii it looks. Fig. 2 is the loss of one image along a direction between its path's first adversarial
image and the end; here it is the mean over the test images that are classified correctly, along PGD's perturbation, for SAT and
RAT: whose network the figure is of is not said.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

from hardy.attacks.balls import fraction
from hardy.jobs.measures import RowOf
from hardy.jobs.studies import Direction, Gaps, OverEps, OverSteps
from hardy.recipes import scales
from hardy.recipes.rat2021_tables import PAPER, SETS, SMALL, attack, beside, images, rows
from hardy.recipes.table import Column, Drawn, Part, Scale, Setting, Table

_COUNTS = (0, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 80, 100)
_RADII = tuple(range(0, 17, 2))  # 255ths
_TENTHS = tuple(range(21))  # of S = 2

_GAPS = (
    "A gap is accuracy on training images minus that on test images, in points, of each class as many as of the other: clean, "
    "and under PGD."
)
_STEPS = "Columns are numbers of PGD's steps, of 2/255 at eps 8/255 (on digits eps / 4), 0 being none."
_STATED = 'The paper\'s text: RAT "outperforms the second best by a clear margin of around 10% after 20 steps".'
_EPS = "Columns are PGD's radii in 255ths, with 10 steps of 2/255 (on digits 2 of eps / 4)."
_POINTS = Drawn({"": "gap (points)"})
_OVER_STEPS, _OVER_EPS = (Drawn({"": "accuracy (%)"}, over) for over in ("steps", "eps (255ths)"))


def tables() -> dict[str, Table]:
    """All of them by name."""
    first, others = ("cifar10",), ("cifar100", "imagenette")
    made = (
        _direction(),
        _of(3, "generalisation gaps", first, _gaps, _POINTS, _GAPS),
        _of(4, "accuracy against PGD's steps", first, _steps, _OVER_STEPS, _STEPS, _STATED),
        _of(5, "accuracy against PGD's radius", first, _radii, _OVER_EPS, _EPS),
        _of(6, "generalisation gaps", others, _gaps, _POINTS, _GAPS),
        _of(7, "accuracy against PGD's steps", others, _steps, _OVER_STEPS, _STEPS),
        _of(8, "accuracy against PGD's radius", others, _radii, _OVER_EPS, _EPS),
    )
    return {table.name: table for table in made}


def _of(
    number: int,
    what: str,
    sets: tuple[str, ...],
    columns: Callable[[Scale, str], tuple[Column, ...]],
    drawn: Drawn,
    *notes: str,
) -> Table:
    """A figure of all methods on these data sets."""

    def parts(scale: Scale) -> tuple[Part, ...]:
        title = {data: SETS[data][0] if len(sets) > 1 else "" for data in sets}
        return tuple(Part(rows(scale, data), columns(scale, data), beside(scale, data), title[data]) for data in sets)

    return Table(
        name=f"rat-fig{number}",
        title=f"RAT paper, Fig. {number}: {what}, {' and '.join(SETS[data][0] for data in sets)}",
        settings={
            "smoke": Setting(scales.SMOKE, parts("smoke")),
            "small": Setting("; ".join(f"{SETS[data][0]}: {SMALL[data]}" for data in sets), parts("small")),
            "paper": Setting(PAPER, parts("paper")),
        },
        cells={},
        notes=notes,
        drawn=drawn,
    )


def _gaps(scale: Scale, data: str) -> tuple[Column, ...]:
    study = Gaps("pgd-10", attack(scale), images(scale, data))
    return (
        Column("clean", RowOf(study, "generalisation gap of clean accuracy")),
        Column("PGD", RowOf(study, "generalisation gap of accuracy under pgd-10")),
    )


def _steps(scale: Scale, data: str) -> tuple[Column, ...]:
    counts = (0, 1, 2) if scale == "smoke" else _COUNTS
    study = OverSteps("PGD", replace(attack(scale), steps=counts[-1]), counts, images(scale, data))
    return tuple(
        Column(
            str(count),
            RowOf(study, f"accuracy after {count} step{'s' * (count != 1)} of PGD" if count else "clean accuracy"),
            float(count),
        )
        for count in counts
    )


def _radii(scale: Scale, data: str) -> tuple[Column, ...]:
    radii = (0, 8, 25) if scale == "smoke" else _RADII
    study = OverEps("PGD", attack(scale), tuple(radius / 255 for radius in radii), images(scale, data))
    return tuple(
        Column(
            str(radius),
            RowOf(study, f"accuracy under PGD at eps {fraction(radius / 255)}" if radius else "clean accuracy"),
            float(radius),
        )
        for radius in radii
    )


def _direction() -> Table:
    """Fig. 2."""

    def part(scale: Scale) -> Part:
        at = tuple(tenth / 10 for tenth in ((0, 10, 20) if scale == "smoke" else _TENTHS))
        n = 500 if scale == "smoke" else images(scale, "cifar10")  # some must be classified correctly
        study = Direction(attack(scale), at, n)
        columns = tuple(
            Column(f"{what} at {s:g}", RowOf(study, f"{what} at {s:g} times the perturbation"), s, what)
            for what, s in product(("loss", "accuracy"), at)
        )
        shown = tuple(row for row in rows(scale, "cifar10") if row.title in ("SAT", "RAT"))
        return Part(shown, columns, beside(scale, "cifar10"))

    return Table(
        name="rat-fig2",
        title="RAT paper, Fig. 2: loss and accuracy along an attack's perturbation, CIFAR-10",
        settings={
            "smoke": Setting(scales.SMOKE, (part("smoke"),)),
            "small": Setting(SMALL["cifar10"], (part("small"),)),
            "paper": Setting(PAPER, (part("paper"),)),
        },
        cells={},
        notes=(
            "Columns are the mean cross-entropy, and the accuracy in %, at s times PGD's perturbation, over test images that "
            "are classified correctly unperturbed: s = 1 is the attack's image, beyond it images leave the ball.",
        ),
        drawn=Drawn({"loss": "cross-entropy", "accuracy": "accuracy (%)"}, "s (times the perturbation)"),
    )
