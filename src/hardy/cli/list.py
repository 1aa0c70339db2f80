"""hardy list: recipes, methods, attacks, data sets, networks."""

import inspect

from hardy import models
from hardy.attacks.names import ATTACKS
from hardy.cli.console import out, table
from hardy.errors import UsageError, unknown
from hardy.recipes import recipes
from hardy.recipes.settings import METHODS

_DATA = {
    "digits": "scikit-learn's digits on a canvas of 16 x 16; nothing to download",
    "cifar10": "CIFAR-10, 50,000 + 10,000 images of 32 x 32, 10 classes",
    "cifar100": "CIFAR-100, 50,000 + 10,000 images of 32 x 32, 100 classes",
}
_KINDS = ("recipes", "methods", "attacks", "data", "models")


def main(args: list[str]) -> None:
    """Run `hardy list [recipes|methods|attacks|data|models]`; without a name, all of them."""
    if args and args[0] in ("-h", "--help"):
        out.print(f"usage: hardy list [{'|'.join(_KINDS)}]")
        return
    if len(args) > 1:
        raise UsageError(f"One kind is listed at a time, or all; {' '.join(args)!r} was given.")
    if args and args[0] not in _KINDS:
        raise unknown("list", args[0], _KINDS)
    for kind in args or _KINDS:
        table(kind, ("name", "what it is"), _rows(kind), left=2)
        if not args:
            out.print()


def _rows(kind: str) -> list[tuple[str, str]]:
    match kind:
        case "recipes":
            return [(name, _budget(name)) for name in recipes()]
        case "methods":
            return list(METHODS.items())
        case "attacks":
            return [(name, what) for name, (what, _) in ATTACKS.items()]
        case "data":
            return list(_DATA.items())
        case _:
            builders = {
                name: value for name, value in vars(models).items() if inspect.isfunction(value) and name in _NETWORKS
            }
            return [(name, (inspect.getdoc(value) or "").split("\n")[0]) for name, value in builders.items()]


_NETWORKS = ("preact_resnet_18", "resnet_18", "small_cnn", "w32_10", "w40_2", "wrn_28_10", "wrn_34_10", "wrn_40_2")


def _budget(name: str) -> str:
    run = recipes()[name]
    length = f"{run.epochs} epochs" if run.epochs else f"{run.steps:,} steps"
    first = f", {run.data.training_images:,} images" if run.data.training_images else ""
    return f"{length} of batch {run.batch}{first}, {type(run.model).__name__}"
