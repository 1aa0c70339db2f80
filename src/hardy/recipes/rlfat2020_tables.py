"""The RLFAT paper's tables: 1 (a) to (c), 2 (a) and (b), Fig. 2, and its statement on the cost of the shuffle.

    hardy table rlfat-1b --scale small

Table 1: PGD and CW of as many steps as in training (Appendix A), CW as PGD on the margin with kappa 50, as the authors' code has
it; NATTACK on the first 1,500 test images, where the code takes these and the paper "a sample". Table 2: gradients at clean test
images; the code's own script reads a file of adversarial ones, and does not say which the printed numbers are of. Fig. 2: the
mean over all three attacks, each counting as much as another; no number is printed, and none is read off the picture.

Small: the `-small` recipes, PGD-20 and CW-20 at 8/255; the paper's numbers beside them are of Linf 0.03. Of tables with several
data sets the small scale has CIFAR-10 alone.
"""

from collections.abc import Mapping
from functools import cache

from hardy.attacks import NATTACK, PGD, Linf, Margin
from hardy.attacks.pgd import cw
from hardy.jobs.measures import Accuracy, MeanAccuracy, RowOf, StepCost
from hardy.jobs.studies import Sensitivity
from hardy.jobs.timing import BACKWARDS, FORWARDS, MINUTES
from hardy.recipes import rlfat2020, scales
from hardy.recipes.table import Beside, Column, Drawn, Part, Row, Scale, Setting, Table, cells_of
from hardy.report.tables import Printed
from hardy.training.run import Run

_METHODS = {"pgdat": "PGDAT", "trades": "TRADES", "rlfat-p": "RLFAT-P", "rlfat-t": "RLFAT-T"}
_BESIDE = {"rbsat-p": "RBSAT-P", "pgdat-rolled": "PGDAT, rolled"}  # not in the table: the ablation and our control
_ABLATION = {
    "pgdat": "PGDAT", "rbsat-p": "PGDAT + RLFL", "rlfat-p": "PGDAT + RLFL + RLFT",
    "trades": "TRADES", "rbsat-t": "TRADES + RLFL", "rlfat-t": "TRADES + RLFL + RLFT",
}  # fmt: skip
_COSTS = {
    "pgdat": "PGDAT", "rbsat-p": "RBSAT-P", "rlfat-p": "RLFAT-P",
    "trades": "TRADES", "rbsat-t": "RBSAT-T", "rlfat-t": "RLFAT-T",
}  # fmt: skip

# title, steps of attack (Appendix A), test images
_SETS = {"stl10": ("STL-10", 7, 8_000), "cifar10": ("CIFAR-10", 10, 10_000), "cifar100": ("CIFAR-100", 7, 10_000)}
_BALL = Linf(0.03)

_COLUMNS = ("No attack", "PGD", "CW", "N attack")
_TABLE_1 = {
    "stl10": (
        "Table 1(a)",
        {
            "PGDAT": (67.05, 30.00, 31.97, 34.80),
            "TRADES": (65.24, 38.99, 38.35, 42.07),
            "RLFAT-P": (71.47, 38.42, 38.42, 44.80),
            "RLFAT-T": (72.38, 43.36, 39.31, 48.13),
        },
    ),
    "cifar10": (
        "Table 1(b)",
        {
            "PGDAT": (82.96, 46.19, 46.41, 46.67),
            "TRADES": (80.35, 50.95, 49.80, 52.47),
            "RLFAT-P": (84.77, 53.97, 52.40, 54.60),
            "RLFAT-T": (82.72, 58.75, 51.94, 54.60),
        },
    ),
    "cifar100": (
        "Table 1(c)",
        {
            "PGDAT": (55.86, 23.32, 22.87, 22.47),
            "TRADES": (52.13, 27.26, 24.66, 25.13),
            "RLFAT-P": (56.70, 31.99, 29.04, 32.53),
            "RLFAT-T": (58.96, 31.63, 27.54, 30.86),
        },
    ),
}
_BRIGHTNESS, _GAMMA = (-0.15, 0.15), (0.8, 1.2)
_TABLE_2A = {
    "stl10": {"PGDAT": (0.85, 0.82), "TRADES": (0.46, 0.48), "RLFAT-P": (0.32, 0.34), "RLFAT-T": (0.22, 0.23)},
    "cifar10": {"PGDAT": (1.41, 1.36), "TRADES": (0.88, 0.90), "RLFAT-P": (0.70, 0.71), "RLFAT-T": (0.54, 0.56)},
    "cifar100": {"PGDAT": (3.93, 3.66), "TRADES": (2.31, 2.12), "RLFAT-P": (1.25, 1.31), "RLFAT-T": (1.00, 0.98)},
}
_TABLE_2B = {
    "stl10": {"PGDAT": (0.77, 0.79), "TRADES": (0.44, 0.42), "RLFAT-P": (0.30, 0.29), "RLFAT-T": (0.21, 0.19)},
    "cifar10": {"PGDAT": (1.27, 1.20), "TRADES": (0.84, 0.76), "RLFAT-P": (0.69, 0.62), "RLFAT-T": (0.54, 0.48)},
    "cifar100": {"PGDAT": (2.82, 2.80), "TRADES": (1.78, 1.76), "RLFAT-P": (1.09, 1.01), "RLFAT-T": (0.95, 0.88)},
}

_PAPER = "the paper's network, data, steps and attacks, Linf 0.03"
_NATTACK = "NATTACK on the first 1,500 test images"
_SMALL = "the first 5,000 training images, PreActResNet-18 of width 16, 50 epochs, Linf 8/255"
_SMALL_96 = "the 5,000 training images, 500 of them held out, PreActResNet-18 of width 16, 10 epochs, Linf 8/255"
_SMALL_ATTACKS = "PGD-20 and CW-20"

_papers = cache(rlfat2020.recipes)


def tables() -> dict[str, Table]:
    """All of them by name."""
    made = (
        _table_1("rlfat-1a", "stl10", _SMALL_96),
        _table_1("rlfat-1b", "cifar10", _SMALL),
        _table_1("rlfat-1c", "cifar100", _SMALL),
        _table_2("rlfat-2a", "Table 2(a)", "brightness", _BRIGHTNESS, _TABLE_2A),
        _table_2("rlfat-2b", "Table 2(b)", "gamma", _GAMMA, _TABLE_2B),
        _figure_2(),
        _costs(),
    )
    return {table.name: table for table in made}


def _table_1(name: str, data: str, words: str) -> Table:
    """Accuracy under white-box and black-box attacks."""
    place, printed = _TABLE_1[data]
    methods = {**_METHODS, **_BESIDE}

    def part(scale: Scale) -> Part:
        return Part(_rows(methods, scale, data), _attacks(scale, data), _beside(scale, data))

    return Table(
        name=name,
        title=f"RLFAT paper, {place}: accuracy on {_SETS[data][0]}",
        settings={
            "smoke": Setting(scales.SMOKE, (part("smoke"),)),
            "small": Setting(f"{words}, {_SMALL_ATTACKS}", (part("small"),)),
            "paper": Setting(f"{_PAPER}; {_NATTACK}", (part("paper"),)),
        },
        cells=cells_of(place, _COLUMNS, printed),
        ranked_by="PGD",
    )


def _table_2(
    name: str,
    place: str,
    what: str,
    at: tuple[float, float],
    printed: Mapping[str, Mapping[str, tuple[float, float]]],
) -> Table:
    """Loss sensitivity at two brightness shifts, or two gammas."""
    titles = tuple(f"{what} {value:+g}" if what == "brightness" else f"{what} {value:g}" for value in at)

    def part(scale: Scale, data: str) -> Part:
        images = _images(scale, data)
        study = Sensitivity(images, shifts=at) if what == "brightness" else Sensitivity(images, exponents=at)
        columns = tuple(Column(title, RowOf(study, f"loss sensitivity at {title}")) for title in titles)
        return Part(_rows(_METHODS, scale, data), columns, _beside(scale, data), _SETS[data][0])

    cells: dict[tuple[str, str], Printed] = {}
    for data, rows in printed.items():
        named = {f"{row}, {_SETS[data][0]}": values for row, values in rows.items()}
        cells |= cells_of(place, titles, named, unit="gradient norm")
    return Table(
        name=name,
        title=f"RLFAT paper, {place}: loss sensitivity to {what}",
        settings={
            "smoke": Setting(scales.SMOKE, (part("smoke", "cifar10"),)),
            "small": Setting(_SMALL, (part("small", "cifar10"),)),
            "paper": Setting(f"{_PAPER}; all test images", tuple(part("paper", data) for data in _SETS)),
        },
        cells=cells,
        notes=(
            "Loss sensitivity is the mean L2 norm of the loss's gradient at transformed test images: less is smoother. Images "
            "are clean, as in the paper's words; the authors' script reads a file of adversarial ones.",
        ),
    )


def _figure_2() -> Table:
    """Clean accuracy and the average over the attacks, of the methods and their parts."""

    def part(scale: Scale, data: str) -> Part:
        clean, *attacks = (column.measure for column in _attacks(scale, data))
        mean = MeanAccuracy(tuple(attack for attack in attacks if isinstance(attack, Accuracy)))
        columns = (Column("standard", clean), Column("robust, average", mean))
        return Part(_rows(_ABLATION, scale, data), columns, _beside(scale, data), _SETS[data][0])

    return Table(
        name="rlfat-fig2",
        title="RLFAT paper, Fig. 2: what RLFL and RLFT add",
        settings={
            "smoke": Setting(scales.SMOKE, (part("smoke", "cifar10"),)),
            "small": Setting(f"{_SMALL}, {_SMALL_ATTACKS}", (part("small", "cifar10"),)),
            "paper": Setting(f"{_PAPER}; {_NATTACK}", tuple(part("paper", data) for data in _SETS)),
        },
        cells={},
        ranked_by="robust, average",
        notes=(
            "The average is the unweighted mean of accuracies under PGD, CW and NATTACK. RLFL is training on shuffled images, "
            "RLFT the transfer to whole ones.",
        ),
        drawn=Drawn({"": "accuracy (%)"}),
    )


def _costs() -> Table:
    """What a step costs, with the shuffle and without it."""

    def part(scale: Scale, steps: int) -> Part:
        columns = (
            Column("minutes for 1,000 steps", StepCost(MINUTES, steps)),
            Column("forward passes", StepCost(FORWARDS, steps)),
            Column("backward passes", StepCost(BACKWARDS, steps)),
        )
        return Part(_rows(_COSTS, scale, "cifar10"), columns, _beside(scale, "cifar10"))

    return Table(
        name="rlfat-cost",
        title="RLFAT paper, section 3.3: what a training step costs",
        settings={
            "smoke": Setting(scales.SMOKE, (part("smoke", 2),)),
            "small": Setting("the small recipes on CIFAR-10, the median of 5 steps", (part("small", 5),)),
            "paper": Setting("the paper's network and batch on CIFAR-10, the median of 5 steps", (part("paper", 5),)),
        },
        cells={},
        notes=(
            'The paper: "the computational cost of RBS transformation (line 7) is negligible in the total computational cost"; '
            "RBSAT-P is PGDAT with the shuffle, and nothing else. Minutes are timed on made-up images without "
            "reading data or validation; other work beside them shows. Passes are of the batch, in one step.",
        ),
    )


def _rows(methods: Mapping[str, str], scale: Scale, data: str) -> tuple[Row, ...]:
    def run(method: str) -> Run:
        if scale == "smoke":
            return scales.tiny(method)
        return scales.ours(method, data) if scale == "small" else _papers()[f"{method}-{data}"]

    return tuple(Row(title, run(method)) for method, title in methods.items())


def _images(scale: Scale, data: str) -> int:
    """How many test images there are for all but NATTACK."""
    return {"smoke": scales.SMOKE_IMAGES, "small": scales.SMALL_IMAGES, "paper": _SETS[data][2]}[scale]


def _beside(scale: Scale, data: str) -> Beside:
    paper = scales.paper_beside(_BALL, _SETS[data][2])
    return {"smoke": scales.SMOKE_BESIDE, "small": scales.SMALL_BESIDE, "paper": paper}[scale]


def _attacks(scale: Scale, data: str) -> tuple[Column, ...]:
    """No attack, PGD and CW of as many steps as in training (20 at the scale small), and NATTACK."""
    steps, most = _SETS[data][1], _images(scale, data)
    few, ours = scales.FEW, scales.OURS
    pgd = {"smoke": PGD(few, 2), "small": PGD(ours, 20), "paper": PGD(_BALL, steps, 0.0075)}[scale]
    margin = {"smoke": cw(few, 2), "small": cw(ours, 20), "paper": PGD(_BALL, steps, 0.0075, loss=Margin())}[scale]
    nattack, tried = {
        "smoke": (NATTACK(few, steps=2, population=4), scales.SMOKE_NATTACK),
        "small": (NATTACK(ours), scales.SMALL_NATTACK),
        "paper": (NATTACK(_BALL), 1_500),
    }[scale]
    measures = (
        Accuracy("clean", None, most),
        Accuracy("pgd", pgd, most),
        Accuracy("cw", margin, most),
        Accuracy("nattack", nattack, tried),
    )
    return tuple(Column(title, measure) for title, measure in zip(_COLUMNS, measures, strict=True))
