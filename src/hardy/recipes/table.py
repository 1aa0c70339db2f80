"""Table: a table of a paper as data: rows are runs, columns measurements, cells the paper's numbers and their places."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from hardy.attacks import Attack
from hardy.attacks.balls import Ball
from hardy.errors import unknown
from hardy.evaluation.diagnosis import Plan
from hardy.training.run import Run

Scale = Literal["smoke", "small", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)


@dataclass(frozen=True)
class Row:
    """A method: its title in the table, and the run that stands for it at each scale."""

    title: str
    runs: Mapping[Scale, Run]


@dataclass(frozen=True)
class Column:
    """A measurement: its title in the table, its attack's name, and at each scale the attack and how many test images it gets.

    An attack of None is none: clean accuracy. Images are the first ones of the test set.
    """

    title: str
    name: str
    attacks: Mapping[Scale, Attack | None]
    images: Mapping[Scale, int]


@dataclass(frozen=True)
class Diagnosed:
    """The diagnosis that stands beside each row: the ball in which attacks look, and how much is done."""

    ball: Ball
    plan: Plan


@dataclass(frozen=True)
class Cell:
    """A number of the paper, as a fraction, and where in the paper it stands."""

    value: float
    place: str


@dataclass(frozen=True)
class Table:
    """A table of a paper. A row or cell that the paper has not is there without a number.

    scales: what each scale is, in words, for those that the table has; numbers of different scales never stand in one table.
    diagnoses: at each scale, where each row's verdict is given.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    cells: Mapping[tuple[str, str], Cell]  # by the titles of row and column
    scales: Mapping[Scale, str]
    diagnoses: Mapping[Scale, Diagnosed] = field(default_factory=dict)


def cells_of(
    place: str, columns: tuple[str, ...], percentages: Mapping[str, tuple[float, ...]]
) -> dict[tuple[str, str], Cell]:
    """Cells from the rows of a printed table in per cent."""
    return {
        (row, column): Cell(round(value / 100, 6), f"{place}, {row}, {column}")
        for row, values in percentages.items()
        for column, value in zip(columns, values, strict=True)
    }


def find(name: str, tables: Mapping[str, Table]) -> Table:
    """The table of that name. Raises: UsageError, with the nearest names, if there is none."""
    if name not in tables:
        raise unknown("table", name, tables)
    return tables[name]
