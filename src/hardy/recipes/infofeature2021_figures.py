"""The InfoFeature paper's Table 2 (how far attacks lie apart) and Figs. 3 (accuracy over the epochs) and 4 (two attacks).

    hardy table infofeature-fig4 --scale small

Table 2: every attack starts at the same random point as the PGD that it is held against, and all take steps of 2/255, so that
what differs is the loss alone. The unit that the paper prints, "x 1e-5" of an L2 distance, cannot be that of the distance of
such images: the mean L2 distance and the mean squared difference are given, and no difference to the paper.

Fig. 3: the paper's validation images are the test set; here they are held-out training images, clean and under the attack that
chooses the best weights. Every tenth epoch. Fig. 4: after which iterations the paper looks is not said.
"""

from dataclasses import replace

from hardy.attacks import PGD, AdversarialInterpolation, FeatureScatter, InfoFeature
from hardy.attacks.pgd import cw
from hardy.jobs.measures import AtEpoch, RowOf
from hardy.jobs.studies import Distances, OverSteps
from hardy.recipes.infofeature2021_tables import (
    ALPHA,
    IN_THE_ATTACK,
    IN_THE_LOSS,
    MADRY,
    STANDARD,
    WEIGHTS,
    ball,
    beside,
    images,
    rows,
    settings,
)
from hardy.recipes.table import Column, Drawn, Part, Row, Scale, Table, cells_of
from hardy.training.curves import CLEAN, ROBUST

_UNIT = "x 1e-5, unknown"
_ITERATIONS = (1, 2, 5, 7, 10, 20)
_OF_ONE = {"FeaScatter": "feature-scatter", "AdvInterp": "adv-interp"}
_OF_SEVERAL = {"CW": "cw", "Ours": "infofeature"}
_TABLE_2 = {
    "Clean": (2.1, 2.0, 2.8, 2.0, 1.8, 2.2, 1.6, 1.9, 1.5, 2.0, 1.5, 2.0, 1.6, 2.1),
    "Madry": (2.1, 2.0, 2.8, 2.0, 1.8, 2.7, 1.6, 2.7, 1.8, 2.8, 2.0, 2.8, 2.1, 2.8),
}


def tables() -> dict[str, Table]:
    """All of them by name."""
    made = (_distances(), _curves(), _strength())
    return {table.name: table for table in made}


def _distances() -> Table:
    """Table 2."""

    def part(scale: Scale) -> Part:
        of, n = ball(scale), images(scale, "cifar10")
        alpha = of.eps / 4 if scale == "smoke" else ALPHA
        shown = (1, 2) if scale == "smoke" else _ITERATIONS
        most = shown[-1]
        one = Distances(
            ("pgd", *_OF_ONE.values()),
            (PGD(of, 1, alpha), FeatureScatter(of, 1, alpha), AdversarialInterpolation(of, 1, alpha)),
            (1,),
            n,
        )
        several = Distances(
            ("pgd", *_OF_SEVERAL.values()),
            (PGD(of, most, alpha), replace(cw(of, most), step_size=alpha), InfoFeature(of, most, alpha)),
            shown,
            n,
        )
        columns = [column for title, name in _OF_ONE.items() for column in _both(title, one, name, 1)]
        columns += [
            column
            for count in shown
            for title, name in _OF_SEVERAL.items()
            for column in _both(title, several, name, count)
        ]
        named = {"standard": "Clean", **MADRY}
        return Part(rows(named, scale, "cifar10"), tuple(columns), beside(scale, "cifar10"))

    titles = [_iterations(title, 1) for title in _OF_ONE]
    titles += [_iterations(title, count) for count in _ITERATIONS for title in _OF_SEVERAL]
    return Table(
        name="infofeature-2",
        title="InfoFeature paper, Table 2: distance of attacks' images from PGD's",
        settings=settings(part("smoke"), part("small"), part("paper")),
        cells=cells_of("Table 2", titles, _TABLE_2, unit=_UNIT, digits=1),
        weights=WEIGHTS,
        notes=(
            "The mean L2 distance of whole images, pixels in [0, 1], and (squared) the mean over pixels and channels of the "
            'squared difference. The paper\'s numbers are "x 1e-5" of an L2 distance, which such images cannot have: no '
            "difference is computed.",
        ),
    )


def _iterations(title: str, count: int) -> str:
    return f"{title}, {count}-iter"


def _both(title: str, study: Distances, name: str, count: int) -> tuple[Column, Column]:
    """The L2 distance of an attack's images after so many steps, and the squared difference."""
    after, head = f"of {name} from pgd after {count} step{'s' * (count != 1)}", _iterations(title, count)
    return (
        Column(head, RowOf(study, f"L2 distance {after}")),
        Column(f"{head}, squared", RowOf(study, f"mean squared difference {after}")),
    )


def _curves() -> Table:
    """Fig. 3."""

    def part(scale: Scale) -> Part:
        trained = rows({**MADRY, **IN_THE_LOSS, **IN_THE_ATTACK}, scale, "cifar10")
        if scale == "smoke":
            trained = tuple(Row(row.title, replace(row.run, epochs=2)) for row in trained)
        length = trained[0].run.epochs or 0
        epochs = range(1, length + 1) if scale == "smoke" else range(10, length + 1, 10)
        columns = tuple(
            Column(f"{panel}, epoch {epoch}", AtEpoch(what, epoch), float(epoch), panel)
            for panel, what in (("clean", CLEAN), ("under attack", ROBUST))
            for epoch in epochs
        )
        return Part(trained, columns, beside(scale, "cifar10"))

    return Table(
        name="infofeature-fig3",
        title="InfoFeature paper, Fig. 3: validation accuracy over training epochs",
        settings=settings(part("smoke"), part("small"), part("paper")),
        cells={},
        weights=WEIGHTS,
        notes=("Accuracy in %, on held-out training images: clean, and under the PGD that chooses the best weights.",),
        drawn=Drawn({"clean": "accuracy (%)", "under attack": "accuracy (%)"}, "epoch"),
    )


def _strength() -> Table:
    """Fig. 4."""

    def part(scale: Scale) -> Part:
        of, n = ball(scale), images(scale, "cifar10")
        counts = (0, 1, 2) if scale == "smoke" else (0, 1, 2, 3, 4, 5, 6, 7, 10, 15, 20)
        columns = []
        for name, attack in {"PGD": PGD(of, counts[-1]), "InfoFeature": InfoFeature(of, counts[-1])}.items():
            study = OverSteps(name, attack, counts, n)
            for count in counts:
                what = f"accuracy after {count} step{'s' * (count != 1)} of {name}" if count else "clean accuracy"
                columns.append(Column(f"{name}, {count}", RowOf(study, what), float(count), name))
        return Part(rows({**STANDARD, **MADRY}, scale, "cifar10"), tuple(columns), beside(scale, "cifar10"))

    return Table(
        name="infofeature-fig4",
        title="InfoFeature paper, Fig. 4: accuracy against the iterations of PGD and InfoFeature",
        settings=settings(part("smoke"), part("small"), part("paper")),
        cells={},
        weights=WEIGHTS,
        notes=("Columns are attacks and numbers of iterations, of steps of eps / 4.",),
        drawn=Drawn({"PGD": "accuracy (%)", "InfoFeature": "accuracy (%)"}, "iterations"),
    )
