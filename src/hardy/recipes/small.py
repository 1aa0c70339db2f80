"""The methods at a budget for two CPU cores: 5,000 images, as few as the RLFAT paper's STL-10 has.

    hardy train rlfat-p-cifar10-small

The first 5,000 training images, PreActResNet-18 of width 16, 50 epochs of Adam 1e-3, batch 128, flip only; PGD-7 at 8/255, step
2/255, batch norm in evaluation mode while crafting. 500 other training images are held out to watch robust accuracy and to
choose the best weights. About 20 minutes a method on two cores that multiply bfloat16.
"""

from hardy.attacks import PGD, Linf
from hardy.data.augment import Augment
from hardy.data.cifar import CIFAR10, CIFAR100
from hardy.data.dataset import Dataset
from hardy.models import preact_resnet_18
from hardy.recipes.methods import METHODS, Inner, objective
from hardy.training.optim import Adam
from hardy.training.run import Run, Validation

_SETS: dict[str, Dataset] = {"cifar10": CIFAR10(first=5_000), "cifar100": CIFAR100(first=5_000)}


def recipes() -> dict[str, Run]:
    """Every method on every data set."""
    return {
        f"{method}-{name}-small": Run(
            name=f"{method}-{name}-small",
            data=data,
            model=preact_resnet_18(width=16),
            objective=objective(method, Inner(Linf(8 / 255), 7, 2 / 255)),
            optimizer=Adam(lr=1e-3),
            epochs=50,
            batch=128,
            augment=Augment(flip=True),
            validation=Validation(images=500, attack=PGD(Linf(8 / 255), steps=10)),
        )
        for name, data in _SETS.items()
        for method in METHODS
    }
