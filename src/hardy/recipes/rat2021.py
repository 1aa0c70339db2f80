"""RAT (Song et al., 2021), what it is compared with, and its ablations, with the paper's settings on each of its data sets.

    hardy train rat-cifar10

WRN-34-10 on CIFAR-10 and CIFAR-100, PreActResNet-18 on Imagenette; 80,000 steps of SGD 0.1, momentum 0.9, decay 2e-4, batch 128,
divided by 10 at steps 30,000 and 45,000; eps 8/255, 10 steps of 2/255. RAT draws m = 2 points of each image, the scale from 0 to
S = 2 (3 on Imagenette) in steps of 0.1, the label's probability from 1 down to 0.1. `rat-ars-cifar10` has hard labels (SAT + ARS
of Table 3), `rat-<largest>-<smallest>-cifar10` the other probabilities of Table 4. ADT learns its distributions by its own
code's 7 steps of 5 samples, AVmixup has its own gamma 2 and probabilities 1 and 0.1, TRADES beta 6.

Unstated: the augmentation (here crops with 4 pixels of zero padding, and flips), normalisation (none), the side of Imagenette's
images (96 pixels; 80,000 steps are 1,081 epochs there), batch norm while crafting (evaluation mode), what decays (all
parameters), and which weights are reported: here the last, of a training on all images. The paper says that it follows
Madry et al. and AVmixup, whose code pads by 2 pixels, decays weights only, and drops at 40,000 and 60,000.

Expected (Table 1, clean / PGD / CW, %): CIFAR-10 standard 95.42 / 0.00 / 0.00, PGD-AT (there SAT) 86.92 / 47.74 / 48.64, TRADES
85.84 / 50.39 / 51.02, AVmixup 92.40 / 62.19 / 56.83, ADT 87.98 / 49.27 / 50.38, RAT 93.17 / 70.57 / 65.54. CIFAR-100: PGD-AT
60.03 / 24.34 / 23.95, AVmixup 69.48 / 29.53 / 24.00, RAT 70.65 / 37.03 / 27.45. Imagenette: PGD-AT 83.52 / 53.58 / 52.92,
AVmixup 87.87 / 50.14 / 45.22, RAT 86.19 / 61.83 / 55.82. Table 3: SAT + ARS 87.67 / 52.59 / 50.87. Table 4, of largest and
smallest probability: 1.0, 0.3 92.59 / 64.87 / 61.53; 1.0, 0.5 91.55 / 62.86 / 56.95; 0.8, 0.1 92.33 / 66.44 / 63.47; 0.6, 0.1
91.65 / 62.93 / 59.88. The paper's tables disagree on RAT itself: clean is 90.94 in Table 4, and CW 65.34 in
Table 3. No AutoAttack number of RAT is known; of the methods whose labels are as soft, and that have one, it is far below what
PGD shows.
"""

from dataclasses import dataclass, replace

from hardy.attacks import PGD, Linf
from hardy.data.augment import Augment
from hardy.data.cifar import CIFAR10, CIFAR100
from hardy.data.dataset import Dataset
from hardy.data.imagenette import Imagenette
from hardy.models import Architecture, preact_resnet_18, wrn_34_10
from hardy.objectives import RAT, Objective
from hardy.objectives.rat import DistanceLabels
from hardy.recipes.methods import Inner, objective
from hardy.training.optim import SGD, Piecewise
from hardy.training.run import Run, Validation

_BALL = Linf(8 / 255)
_STEPS, _DROPS = 80_000, (30_000, 45_000)
_METHODS = ("avmixup", "adt", "rat")
_BASELINES = ("standard", "pgdat", "trades")
_BETAS = ((1.0, 0.3), (1.0, 0.5), (0.8, 0.1), (0.6, 0.1))  # Table 4, but for its first row, which is RAT itself


@dataclass(frozen=True)
class _Setting:
    """Data and network. largest: S, the largest scale of RAT's points."""

    data: Dataset
    model: Architecture
    largest: float = 2.0


_SETTINGS = {
    "cifar10": _Setting(CIFAR10(), wrn_34_10()),
    "cifar100": _Setting(CIFAR100(), wrn_34_10()),
    "imagenette": _Setting(Imagenette(), preact_resnet_18(), largest=3.0),
}


def recipes() -> dict[str, Run]:
    """Every method on every data set, baselines with the paper in their names; the ablations on CIFAR-10."""
    found: dict[str, Run] = {}
    for data, setting in _SETTINGS.items():
        names = {f"{method}-{data}": method for method in _METHODS}
        names |= {f"{method}-{data}-rat2021": method for method in _BASELINES}
        found |= {name: _run(name, _objective(method, setting.largest), setting) for name, method in names.items()}
    cifar10 = _SETTINGS["cifar10"]
    ablations = {"rat-ars-cifar10": (1.0, 1.0)}
    ablations |= {f"rat-{largest}-{smallest}-cifar10": (largest, smallest) for largest, smallest in _BETAS}
    return found | {name: _run(name, _rat(cifar10.largest, betas), cifar10) for name, betas in ablations.items()}


def _run(name: str, trained: Objective, setting: _Setting) -> Run:
    return Run(
        name=name,
        data=setting.data,
        model=setting.model,
        objective=trained,
        optimizer=SGD(lr=0.1, weight_decay=2e-4, schedule=Piecewise(tuple(step / _STEPS for step in _DROPS))),
        steps=_STEPS,
        batch=128,
        augment=Augment(flip=True, crop=4),
        validation=Validation(attack=PGD(_BALL, steps=10)),
    )


def _objective(method: str, largest: float) -> Objective:
    return _rat(largest) if method == "rat" else objective(method, _inner())


def _rat(largest: float, betas: tuple[float, float] = (1.0, 0.1)) -> Objective:
    made = objective("rat", _inner())
    assert isinstance(made, RAT)
    return replace(made, sampler=replace(made.sampler, largest=largest), labels=DistanceLabels(*betas))


def _inner() -> Inner:
    return Inner(_BALL, 10, 2 / 255)
