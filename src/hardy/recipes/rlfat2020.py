"""RLFAT (Song et al., ICLR 2020) with the paper's and its authors' settings.

    hardy train rlfat-p-cifar10

WRN "w32-10", Adam 1e-3 without decay, batch 32, 79,800 steps, flip only, no held-out part, last weights; attacks of eps 0.03,
step 0.0075, 10 steps (7 on CIFAR-100), batch norm in training mode while crafting. Expected (Table 1, %): CIFAR-10 clean /
PGD / CW: PGD-AT 82.96 / 46.19 / 46.41, TRADES 80.35 / 50.95 / 49.80, RLFAT-P 84.77 / 53.97 / 52.40, RLFAT-T 82.72 / 58.75 /
51.94. Such a run is days of work for a CPU; the `-small` recipes are made for one.
"""

from hardy.attacks import PGD, Linf
from hardy.data.augment import Augment
from hardy.data.cifar import CIFAR10, CIFAR100
from hardy.data.dataset import Dataset
from hardy.models import w32_10
from hardy.recipes.settings import METHODS, objective
from hardy.training.optim import Adam
from hardy.training.run import Run, Validation

# data, attack steps (P-RLFAT Appendix A)
_SETS: dict[str, tuple[Dataset, int]] = {"cifar10": (CIFAR10(), 10), "cifar100": (CIFAR100(), 7)}


def recipes() -> dict[str, Run]:
    """Every method on every data set."""
    return {
        f"{method}-{name}": Run(
            name=f"{method}-{name}",
            data=data,
            model=w32_10(),
            objective=objective(method, Linf(0.03), steps, 0.0075, batch_norm="train"),
            optimizer=Adam(lr=1e-3),
            steps=79_800,
            batch=32,
            augment=Augment(flip=True),
            validation=Validation(attack=PGD(Linf(0.03), steps=10)),
        )
        for name, (data, steps) in _SETS.items()
        for method in METHODS
    }
