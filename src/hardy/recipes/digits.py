"""The methods on scikit-learn's digits: seconds a method, no download.

    hardy train rlfat-p-digits

Eight by eight scans placed at random on a black canvas of 16 x 16 pixels, a small network, 40 epochs of Adam; PGD-7 at eps 0.1.
Nothing here is from a paper.
"""

from hardy.attacks import PGD, Linf
from hardy.data.digits import Digits
from hardy.models import small_cnn
from hardy.recipes.methods import METHODS, Inner, objective
from hardy.training.optim import Adam, OneCycle
from hardy.training.run import Run, Validation

EPS = 0.1


def recipes() -> dict[str, Run]:
    """Every method."""
    return {
        f"{method}-digits": Run(
            name=f"{method}-digits",
            data=Digits(),
            model=small_cnn(),
            objective=objective(method, Inner(Linf(EPS), 7)),
            optimizer=Adam(lr=3e-3, schedule=OneCycle()),
            epochs=40,
            batch=64,
            validation=Validation(attack=PGD(Linf(EPS), steps=10)),
        )
        for method in METHODS
    }
