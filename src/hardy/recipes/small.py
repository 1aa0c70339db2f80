"""The methods at a budget for two CPU cores: 5,000 images, as few as the RLFAT paper's STL-10 has.

    hardy train rlfat-p-cifar10-small

The first 5,000 training images, PreActResNet-18 of width 16, 50 epochs of Adam 1e-3, batch 128, flip only; PGD-7 at 8/255, step
2/255, batch norm in evaluation mode while crafting. 500 other training images are held out to watch robust accuracy and to
choose the best weights. About 20 minutes a method on two cores that multiply bfloat16.

The papers' other data sets, with each paper's methods, made for about the same budget: SVHN's first 5,000 images, not flipped;
STL-10 and Imagenette at 96 and 64 pixels with 10 epochs of all their images, but for the 500 held out.
"""

from dataclasses import dataclass

from hardy.attacks import PGD, Linf
from hardy.data.augment import Augment
from hardy.data.cifar import CIFAR10, CIFAR100
from hardy.data.dataset import Dataset
from hardy.data.imagenette import Imagenette
from hardy.data.stl10 import STL10
from hardy.data.svhn import SVHN
from hardy.models import preact_resnet_18
from hardy.recipes.methods import METHODS, Inner, objective
from hardy.training.optim import Adam
from hardy.training.run import Run, Validation


@dataclass(frozen=True)
class _Set:
    """A data set, and what differs with it from the settings above."""

    data: Dataset
    epochs: int = 50
    flip: bool = True
    methods: tuple[str, ...] = tuple(METHODS)


_SETS = {
    "cifar10": _Set(CIFAR10(first=5_000)),
    "cifar100": _Set(CIFAR100(first=5_000)),
    "svhn": _Set(
        SVHN(first=5_000),
        flip=False,
        methods=("standard", "pgdat", "feature-scatter", "adv-interp", "infofeature"),
    ),
    "stl10": _Set(
        STL10(),
        epochs=10,
        methods=("standard", "pgdat", "trades", "rbsat-p", "rbsat-t", "rlfat-p", "rlfat-t", "pgdat-rolled"),
    ),
    "imagenette": _Set(
        Imagenette(size=64), epochs=10, methods=("standard", "pgdat", "trades", "avmixup", "adt", "rat")
    ),
}


def recipes() -> dict[str, Run]:
    """Every method on CIFAR-10 and CIFAR-100, and each paper's on the data sets that it has besides."""
    return {
        f"{method}-{name}-small": Run(
            name=f"{method}-{name}-small",
            data=of.data,
            model=preact_resnet_18(width=16),
            objective=objective(method, Inner(Linf(8 / 255), 7, 2 / 255)),
            optimizer=Adam(lr=1e-3),
            epochs=of.epochs,
            batch=128,
            augment=Augment(flip=of.flip),
            validation=Validation(images=500, attack=PGD(Linf(8 / 255), steps=10)),
        )
        for name, of in _SETS.items()
        for method in of.methods
    }
