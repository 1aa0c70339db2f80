"""Papers as data: named runs. Importing builds nothing."""

from hardy.errors import unknown
from hardy.recipes import digits, folder, rlfat2020, small
from hardy.recipes.table import Table
from hardy.training.run import Run


def recipes() -> dict[str, Run]:
    """Every recipe by its name, <method>-<data>[-small]."""
    return {**digits.recipes(), **rlfat2020.recipes(), **small.recipes(), **folder.recipes()}


def recipe(name: str) -> Run:
    """The recipe of that name. Raises: UsageError, with the nearest names, if there is none."""
    known = recipes()
    if name not in known:
        raise unknown("recipe", name, known)
    return known[name]


def tables() -> dict[str, Table]:
    """Every table by its name."""
    return rlfat2020.tables()


__all__ = ["recipe", "recipes", "tables"]
