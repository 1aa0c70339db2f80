"""The table `methods`: every method on the same 5,000 images with the same number of steps, at a budget for two CPU cores.

The settings of the `-small` recipes on CIFAR-10, but for 10 epochs, 390 steps, where those have 50: enough for robust accuracy to
rise, and not for overfitting. No paper has such a table.
"""

from collections.abc import Mapping
from dataclasses import replace

from hardy.attacks import PGD
from hardy.attacks.pgd import cw
from hardy.jobs.measures import Accuracy
from hardy.recipes import scales, small
from hardy.recipes.methods import METHODS
from hardy.recipes.table import Beside, Column, Part, Row, Setting, Table
from hardy.training.run import Run

EPOCHS = 10


def runs() -> dict[str, Run]:
    """Each method's run at the small scale."""
    found, recipes = {}, small.recipes()
    for method in METHODS:
        recipe = recipes[f"{method}-cifar10-small"]
        validation = replace(recipe.validation, every=EPOCHS // 2)
        found[method] = replace(recipe, name=f"{method}-cifar10-short", epochs=EPOCHS, validation=validation)
    return found


def tables() -> dict[str, Table]:
    """All methods, clean and under PGD-20, CW-20 and AutoAttack, with the verdict on masked gradients beside each."""
    small_says = (
        f"the first 5,000 training images of CIFAR-10, PreActResNet-18 of width 16, {EPOCHS} epochs, Linf 8/255"
    )
    tiny = {method: scales.tiny(method) for method in METHODS}
    table = Table(
        name="methods",
        title="All methods at one budget",
        settings={
            "smoke": Setting(scales.SMOKE, (_part(tiny, 2, scales.SMOKE_IMAGES, scales.SMOKE_BESIDE),)),
            "small": Setting(small_says, (_part(runs(), 20, scales.SMALL_IMAGES, scales.SMALL_BESIDE),)),
        },
        cells={},
        ranked_by="AutoAttack",
        always=("diagnosis",),
    )
    return {table.name: table}


def _part(found: Mapping[str, Run], steps: int, images: int, beside: Beside) -> Part:
    columns = (
        Column("clean", Accuracy("clean", None, images)),
        Column("PGD-20", Accuracy("pgd-20", PGD(beside.ball, steps), images)),
        Column("CW-20", Accuracy("cw-20", cw(beside.ball, steps), images)),
        beside.autoattack,
    )
    return Part(tuple(Row(method, run) for method, run in found.items()), columns, beside)
