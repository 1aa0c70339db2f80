"""RLFAT (Song et al., ICLR 2020) with the paper's and its authors' settings.

    hardy train rlfat-p-cifar10

WRN "w32-10", on STL-10 "40-2", Adam 1e-3 without decay, batch 32, 79,800 steps (29,700 on STL-10), flip only, no held-out part,
last weights; attacks of eps 0.03, step 0.0075, 10 steps (7 on CIFAR-100 and STL-10), batch norm in training mode while crafting.
Expected (Table 1, %): CIFAR-10 clean / PGD / CW: PGD-AT 82.96 / 46.19 / 46.41, TRADES 80.35 / 50.95 / 49.80, RLFAT-P 84.77 /
53.97 / 52.40, RLFAT-T 82.72 / 58.75 / 51.94. Such a run is days of work for a CPU; the `-small` recipes are made for one.
"""

from hardy.attacks import PGD, Linf
from hardy.data.augment import Augment
from hardy.data.cifar import CIFAR10, CIFAR100
from hardy.data.dataset import Dataset
from hardy.data.stl10 import STL10
from hardy.models import Architecture, w32_10, w40_2
from hardy.recipes.methods import Inner, objective
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
