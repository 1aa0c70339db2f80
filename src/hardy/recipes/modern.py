"""The methods with today's good practice, on CIFAR-10 and CIFAR-100: what a new method is best compared with.

    hardy train trades-cifar10-modern

PreActResNet-18, the data's mean and deviation inside the network; 110 epochs of SGD 0.1, momentum 0.9, decay 5e-4 on all
parameters, batch 128, divided by 10 at epochs 100 and 105; crops with 4 pixels of reflecting padding, flips; PGD-10 at 8/255,
step 2/255, batch norm in evaluation mode while crafting: the baseline of Pang et al., "Bag of tricks for adversarial training",
ICLR 2021. Weights are averaged over the steps, decay 0.995 (Rebuffi et al., "Fixing data augmentation to improve adversarial
robustness", 2021). 1,000 training images, classes in proportion, are held out to choose the best weights by, as Rice et al.,
"Overfitting in adversarially robust deep learning", ICML 2020, do: `best` stands for early stopping, `last` for none.

Not of one source: nobody has published these methods under just these settings, and no accuracy is known in advance. What a
method's own paper has of labels, weights and numbers of samples stays.
"""

from hardy.attacks import PGD, Linf
from hardy.data.augment import Augment
from hardy.data.cifar import CIFAR10, CIFAR100
from hardy.data.dataset import Dataset
from hardy.models import preact_resnet_18
from hardy.recipes.methods import METHODS, Inner, objective
from hardy.training.average import EMA
from hardy.training.optim import SGD, Piecewise
from hardy.training.run import Run, Validation

_Channels = tuple[float, float, float]
# data, mean and deviation of its training images
_SETS: dict[str, tuple[Dataset, _Channels, _Channels]] = {
    "cifar10": (CIFAR10(), (0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616)),
    "cifar100": (CIFAR100(), (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
}
_BALL = Linf(8 / 255)


def recipes() -> dict[str, Run]:
    """Every method on both data sets."""
    return {
        f"{method}-{name}-modern": Run(
            name=f"{method}-{name}-modern",
            data=data,
            model=preact_resnet_18(mean=mean, deviation=deviation),
            objective=objective(method, Inner(_BALL, 10, 2 / 255)),
            optimizer=SGD(lr=0.1, weight_decay=5e-4, schedule=Piecewise((100 / 110, 105 / 110))),
            epochs=110,
            batch=128,
            augment=Augment(flip=True, crop=4, padding="reflect"),
            average=EMA(decay=0.995),
            validation=Validation(images=1_000, attack=PGD(_BALL, steps=10)),
        )
        for name, (data, mean, deviation) in _SETS.items()
        for method in METHODS
    }
