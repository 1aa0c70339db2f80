"""The methods on one's own images: a folder with a folder for each class.

    hardy train rlfat-t-folder --data.path IMAGES

Images of 32 x 32 pixels (--data.size), PreActResNet-18 of width 32, 30 epochs of Adam 1e-3 that fall to 0, batch 32, flips;
PGD-7 at 8/255, step 2/255. A start that suits small sets, not tuned for any: --validation.images 200 holds out images to choose
the best weights by and to see overfitting, --model, --optimizer and all other settings are flags. Nothing here is from a paper.
"""

from hardy.attacks import PGD, Linf
from hardy.data.augment import Augment
from hardy.data.folder import Folder
from hardy.models import preact_resnet_18
from hardy.recipes.methods import METHODS, Inner, objective
from hardy.training.optim import Adam, Cosine
from hardy.training.run import Run, Validation


def recipes() -> dict[str, Run]:
    """Every method."""
    return {
        f"{method}-folder": Run(
            name=f"{method}-folder",
            data=Folder(path="images"),
            model=preact_resnet_18(width=32),
            objective=objective(method, Inner(Linf(8 / 255), 7, 2 / 255)),
            optimizer=Adam(lr=1e-3, schedule=Cosine()),
            epochs=30,
            batch=32,
            augment=Augment(flip=True),
            validation=Validation(attack=PGD(Linf(8 / 255), steps=10)),
        )
        for method in METHODS
    }
