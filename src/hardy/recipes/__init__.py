"""Papers as data: named runs. Importing builds nothing."""

from functools import cache

from hardy.errors import unknown
from hardy.objectives import AWP
from hardy.recipes import (
    comparison,
    digits,
    folder,
    infofeature2021,
    infofeature2021_figures,
    infofeature2021_tables,
    modern,
    rat2021,
    rat2021_corruptions,
    rat2021_figures,
    rat2021_tables,
    references,
    rlfat2020,
    rlfat2020_tables,
    small,
)
from hardy.recipes.table import Table
from hardy.training.run import Run

_AWP = "awp-"


def recipes() -> dict[str, Run]:
    """Every recipe by its name: <method>-<data>, also with -small or -modern, or with -<paper> where other papers have that
    method, too.
    """
    return dict(_recipes())


@cache
def _recipes() -> dict[str, Run]:
    return {
        **digits.recipes(),
        **rlfat2020.recipes(),
        **infofeature2021.recipes(),
        **rat2021.recipes(),
        **references.recipes(),
        **modern.recipes(),
        **small.recipes(),
        **folder.recipes(),
    }


def recipe(name: str) -> Run:
    """The recipe of that name. `awp-` before any name puts AWP around that recipe's objective, unless it has it already.

    Raises: UsageError, with the nearest names, if there is none.
    """
    known = recipes()
    if name in known:
        return known[name]
    if not name.startswith(_AWP):
        raise unknown("recipe", name, known)
    plain = {_AWP + other: run for other, run in known.items() if not isinstance(run.objective, AWP)}
    if name not in plain:
        raise unknown("recipe", name, {**known, **plain})
    return references.with_awp(plain[name])


def tables() -> dict[str, Table]:
    """Every table by its name."""
    modules = (
        rlfat2020_tables,
        infofeature2021_tables,
        infofeature2021_figures,
        rat2021_tables,
        rat2021_corruptions,
        rat2021_figures,
        comparison,
    )
    return {name: table for module in modules for name, table in module.tables().items()}


__all__ = ["recipe", "recipes", "tables"]
