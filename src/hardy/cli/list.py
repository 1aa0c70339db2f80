"""hardy list: recipes, methods, attacks, data sets, networks, published networks, tables."""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from hardy.attacks.names import ATTACKS
from hardy.cli.console import out, percent, table
from hardy.cli.flags import builders, classes
from hardy.data.dataset import Dataset
from hardy.errors import UsageError, unknown
from hardy.models.published import about, published
from hardy.recipes import recipes, tables
from hardy.recipes.settings import METHODS
from hardy.results import Measurement
from hardy.training.run import Run

_OWN = ("MODULE:FUNCTION", "one's own network, as the function makes it: --model mypackage.mymodule:build")

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


_LISTS: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
    "recipes": lambda: ((name, _budget(run)) for name, run in recipes().items()),
    "methods": METHODS.items,
    "attacks": lambda: [*((name, what) for name, (what, _) in ATTACKS.items()), _RESTARTED],
    "data": lambda: ((name, _first_line(made)) for name, made in classes(Dataset).items()),
    "models": lambda: [*((name, _first_line(made)) for name, made in builders().items()), _OWN],
    "published": lambda: ((name, _measured(name)) for name in published()),
    "tables": lambda: ((name, made.title) for name, made in tables().items()),
}
