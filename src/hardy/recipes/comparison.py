"""The table `methods`: every method on the same 5,000 images with the same number of steps, at a budget for two CPU cores.

The settings of the `-small` recipes on CIFAR-10, but for 10 epochs, 390 steps, where those have 50: enough for robust accuracy to
rise, and not for overfitting. No paper has such a table.
"""

from dataclasses import replace

from hardy.attacks import PGD, AutoAttack, Linf
from hardy.attacks.pgd import cw
from hardy.evaluation.diagnosis import Plan
from hardy.models import small_cnn
from hardy.recipes import digits, small
from hardy.recipes.methods import METHODS
from hardy.recipes.table import Column, Diagnosed, Row, Table
from hardy.training.run import Run

EPOCHS = 10
# as `hardy diagnose --quick`, on twice the images
_SHORT = Plan(images=100, apgd_t_steps=50, fab_steps=25, target_classes=3, square_queries=1000, nattack_images=0)
_TINY = Plan(images=2, apgd_t_steps=2, fab_steps=2, target_classes=1, square_queries=5, nattack_images=0)


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
    few, ours = Linf(digits.EPS), Linf(8 / 255)
    made = digits.recipes()
    tiny = {method: replace(made[f"{method}-digits"], model=small_cnn(width=2), epochs=1) for method in METHODS}
    columns = (
        Column("clean", "clean", {"smoke": None, "small": None}, {"smoke": 20, "small": 1_000}),
        Column("PGD-20", "pgd-20", {"smoke": PGD(few, 2), "small": PGD(ours, 20)}, {"smoke": 20, "small": 1_000}),
        Column("CW-20", "cw-20", {"smoke": cw(few, 2), "small": cw(ours, 20)}, {"smoke": 20, "small": 1_000}),
        Column(
            "AutoAttack",
            "autoattack",
            {"smoke": AutoAttack(few), "small": AutoAttack(ours)},
            {"smoke": 2, "small": 200},
        ),
    )
    table = Table(
        name="methods",
        title="All methods at one budget",
        rows=tuple(Row(method, {"smoke": tiny[method], "small": run}) for method, run in runs().items()),
        columns=columns,
        cells={},
        diagnoses={"smoke": Diagnosed(few, _TINY), "small": Diagnosed(ours, _SHORT)},
        scales={
            "smoke": "digits, an epoch of a network of width 2, few test images: shows that every part works, and nothing else",
            "small": f"the first 5,000 training images of CIFAR-10, PreActResNet-18 of width 16, {EPOCHS} epochs, Linf 8/255",
        },
    )
    return {table.name: table}
