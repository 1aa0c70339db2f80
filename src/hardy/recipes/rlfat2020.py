"""RLFAT (Song et al., ICLR 2020) with the paper's and its authors' settings.

    hardy train rlfat-p-cifar10

WRN "w32-10", on STL-10 "40-2", Adam 1e-3 without decay, batch 32, 79,800 steps (29,700 on STL-10), flip only, no held-out part,
last weights; attacks of eps 0.03, step 0.0075, 10 steps (7 on CIFAR-100 and STL-10), batch norm in training mode while crafting.
Expected (Table 1, %): CIFAR-10 clean / PGD / CW: PGD-AT 82.96 / 46.19 / 46.41, TRADES 80.35 / 50.95 / 49.80, RLFAT-P 84.77 /
53.97 / 52.40, RLFAT-T 82.72 / 58.75 / 51.94. Such a run is days of work for a CPU; the `-small` recipes are made for one.
"""

from dataclasses import replace

from hardy.attacks import NATTACK, PGD, Linf, Margin
from hardy.attacks.pgd import cw
from hardy.data.augment import Augment
from hardy.data.cifar import CIFAR10, CIFAR100
from hardy.data.dataset import Dataset
from hardy.data.stl10 import STL10
from hardy.models import Architecture, small_cnn, w32_10, w40_2
from hardy.recipes import digits, small
from hardy.recipes.methods import Inner, objective
from hardy.recipes.table import SCALES, Column, Row, Scale, Table, cells_of
from hardy.training.optim import Adam
from hardy.training.run import Run, Validation

_COMPARED = ("standard", "pgdat", "trades", "rbsat-p", "rbsat-t", "rlfat-p", "rlfat-t", "pgdat-rolled")

# data, network, attack steps, training steps (P-RLFAT section 4.1 and Appendix A)
_SETS: dict[str, tuple[Dataset, Architecture, int, int]] = {
    "cifar10": (CIFAR10(), w32_10(), 10, 79_800),
    "cifar100": (CIFAR100(), w32_10(), 7, 79_800),
    "stl10": (STL10(), w40_2(), 7, 29_700),
}


def recipes() -> dict[str, Run]:
    """Every method on every data set."""
    return {
        f"{method}-{name}": Run(
            name=f"{method}-{name}",
            data=data,
            model=model,
            objective=objective(method, Inner(Linf(0.03), attack_steps, 0.0075, "train")),
            optimizer=Adam(lr=1e-3),
            steps=steps,
            batch=32,
            augment=Augment(flip=True),
            validation=Validation(attack=PGD(Linf(0.03), steps=10)),
        )
        for name, (data, model, attack_steps, steps) in _SETS.items()
        for method in _COMPARED
    }


_SCALES: dict[Scale, str] = {
    "smoke": "digits, an epoch of a network of width 2, 20 test images: shows that every part works, and nothing else",
    "small": "the first 5,000 training images, PreActResNet-18 of width 16, 50 epochs, Linf 8/255, PGD-20 and CW-20",
    "paper": "the paper's network, data, steps and attacks, Linf 0.03; NATTACK on the first 1,500 test images",
}
_METHODS = {"pgdat": "PGDAT", "trades": "TRADES", "rlfat-p": "RLFAT-P", "rlfat-t": "RLFAT-T"}
_BESIDE = {"rbsat-p": "RBSAT-P", "pgdat-rolled": "PGDAT, rolled"}  # not in the table: the ablation and our control
_COLUMNS = ("No attack", "PGD", "CW", "N attack")
_PRINTED = {
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


def tables() -> dict[str, Table]:
    """Table 1 (b) and (c): accuracy under white-box and black-box attacks."""
    return {
        name: Table(
            name=name,
            title=f"RLFAT paper, {_PRINTED[data][0]}: accuracy on {title}",
            rows=tuple(_row(method, shown, data) for method, shown in {**_METHODS, **_BESIDE}.items()),
            columns=_columns(_SETS[data][2]),
            cells=cells_of(_PRINTED[data][0], _COLUMNS, _PRINTED[data][1]),
            scales=_SCALES,
        )
        for name, data, title in (("rlfat-1b", "cifar10", "CIFAR-10"), ("rlfat-1c", "cifar100", "CIFAR-100"))
    }


def _row(method: str, title: str, data: str) -> Row:
    tiny = replace(digits.recipes()[f"{method}-digits"], model=small_cnn(width=2), epochs=1)
    small_run = small.recipes()[f"{method}-{data}-small"]
    return Row(title, {"smoke": tiny, "small": small_run, "paper": recipes()[f"{method}-{data}"]})


def _columns(steps: int) -> tuple[Column, ...]:
    """No attack, PGD and CW of as many steps as in training (Appendix A; 20 at the small scales), and NATTACK."""
    paper, ours, few = Linf(0.03), Linf(8 / 255), Linf(digits.EPS)
    most: dict[Scale, int] = {"smoke": 20, "small": 1_000, "paper": 10_000}
    return (
        Column(_COLUMNS[0], "clean", dict.fromkeys(SCALES), most),
        Column(
            _COLUMNS[1],
            "pgd",
            {"smoke": PGD(few, 2), "small": PGD(ours, 20), "paper": PGD(paper, steps, 0.0075)},
            most,
        ),
        Column(
            _COLUMNS[2],
            "cw",
            {"smoke": cw(few, 2), "small": cw(ours, 20), "paper": PGD(paper, steps, 0.0075, loss=Margin())},
            most,
        ),
        Column(
            _COLUMNS[3],
            "nattack",
            {"smoke": NATTACK(few, steps=2, population=4), "small": NATTACK(ours), "paper": NATTACK(paper)},
            {"smoke": 4, "small": 50, "paper": 1_500},
        ),
    )
