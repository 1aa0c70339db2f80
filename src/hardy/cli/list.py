"""hardy list: recipes, methods, attacks, data sets, networks, published networks, tables."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hardy.attacks.names import ATTACKS
from hardy.cli.console import out, percent, table
from hardy.cli.flags import builders, classes
from hardy.data.dataset import Dataset
from hardy.data.split import batches
from hardy.errors import UsageError, unknown
from hardy.models.published import about, published
from hardy.randomness import Noise
from hardy.recipes import digits, recipes, tables
from hardy.recipes.methods import METHODS
from hardy.results import Measurement
from hardy.training.passes import Passes, passes_of_step
from hardy.training.run import Run

_COUNTED = 16  # images of the step whose passes are counted
_NARROW = 120  # columns of a terminal, below which the table of methods would be folded beyond reading
_OWN = ("MODULE:FUNCTION", "one's own network, as the function makes it: --model mypackage.mymodule:build")

_METHOD = ("name", "what it is", "paper", "equation", "known AutoAttack accuracy, %", "forwards", "backwards")
_ABOUT_METHODS = (
    "Passes of the batch through the network in one training step, counted now on digits with 7 steps of attack where a method "
    "leaves their number open. Known accuracies are of CIFAR-10, Linf 8/255, as others published them; `awp-` in front of a "
    "recipe's name, as in awp-rat-digits, puts AWP around it."
)

_RESTARTED = ("pgd-KxR", "any attack with K steps from R random starts; broken if one breaks: pgd-20x5")


def main(args: list[str]) -> None:
    """Run `hardy list [KIND]`; without a name, all of them."""
    if args and args[0] in ("-h", "--help"):
        out.print(
            f"usage: hardy list [{'|'.join(_LISTS)}]\n\nWhat there is, by the names that the other commands take."
        )
        return
    if len(args) > 1:
        raise UsageError(f"One kind is listed at a time, or all; {' '.join(args)!r} was given.")
    if args and args[0] not in _LISTS:
        raise unknown("list", args[0], _LISTS)
    if args == ["methods"]:
        _list_methods()
        return
    for kind in args or _LISTS:
        table(kind, ("name", "what it is"), _LISTS[kind](), left=2)
        if not args:
            out.print()


def _first_line(documented: Any) -> str:
    return (inspect.getdoc(documented) or "").split("\n")[0]


def _budget(run: Run) -> str:
    length = f"{run.epochs} epochs" if run.epochs else f"{run.steps:,} steps"
    return f"{length} of batch {run.batch}{_images(run.data)}, {type(run.model).__name__}"


def _images(data: Dataset) -> str:
    try:
        return f", {data.training_images:,} images" if data.training_images else ""
    except UsageError:  # the user's own images, and there are none at the recipe's path
        return ""


def _measured(name: str) -> str:
    """A published network's numbers, clean and under attack."""
    rows = [Measurement(**row) for row in about(name)["measured"]]
    return ", ".join(f"{row.what.removeprefix('accuracy under ')} {percent(row.value)} % of {row.n:,}" for row in rows)


def _list_methods() -> None:
    """A table, or where the terminal is too narrow for one a few lines for each method."""
    rows = list(_methods())
    if not out.is_terminal or out.width >= _NARROW:
        table("methods", _METHOD, rows, left=len(_METHOD) - 2)
    else:
        for name, what, paper, equation, autoattack, forwards, backwards in rows:
            out.print(f"{name}: {what}. Paper: {paper}.\n  {equation}\n  AutoAttack: {autoattack}")
            out.print(f"  {forwards} forwards, {backwards} backwards\n")
    out.print("\n" + _ABOUT_METHODS)


def _methods() -> Iterator[tuple[str, ...]]:
    """Each method with its paper and what a step of it costs."""
    costs = passes()
    for name, method in METHODS.items():
        paper = f"{method.paper} {method.year}" if method.year else "none"
        cost = costs[name]
        yield name, method.what, paper, method.equation, method.autoattack, f"{cost.forwards:g}", f"{cost.backwards:g}"


def passes() -> dict[str, Passes]:
    """What a step of each method costs, counted on a batch of digits."""
    made = digits.recipes()
    images, _ = next(iter(made.values())).data.load()
    x, y, _ = next(batches(images, _COUNTED, Noise.of_batch(1)))
    found = {}
    for name in METHODS:
        run = made[f"{name}-digits"]
        network = run.model.build(run.data.classes, run.data.shape[0])
        found[name] = passes_of_step(run.objective, network, x, y, Noise.of_batch(len(x)))
    return found


_LISTS: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
    "recipes": lambda: ((name, _budget(run)) for name, run in recipes().items()),
    "methods": lambda: ((name, made.what) for name, made in METHODS.items()),
    "attacks": lambda: [*((name, what) for name, (what, _) in ATTACKS.items()), _RESTARTED],
    "data": lambda: ((name, _first_line(made)) for name, made in classes(Dataset).items()),
    "models": lambda: [*((name, _first_line(made)) for name, made in builders().items()), _OWN],
    "published": lambda: ((name, _measured(name)) for name in published()),
    "tables": lambda: ((name, made.title) for name, made in sorted(tables().items())),
}
