"""Table: a table or figure of a paper as data: rows are runs, columns measures, cells the paper's numbers and their places."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from hardy.attacks import AutoAttack
from hardy.attacks.balls import Ball
from hardy.errors import unknown
from hardy.evaluation.diagnosis import Plan
from hardy.jobs.measures import Accuracy, Measure
from hardy.models.checkpoints import Which
from hardy.report.tables import Printed
from hardy.training.run import Run

Scale = Literal["smoke", "small", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)
Also = Literal["autoattack", "diagnosis"]


@dataclass(frozen=True)
class Row:
    """A method: its title in the table, and its run. of: each seed's network, or the best or worst of all seeds'."""

    title: str
    run: Run
    of: Literal["each", "best", "worst"] = "each"


@dataclass(frozen=True)
class Column:
    """A number of each row. x, panel: where it stands in a figure of lines."""

    title: str
    measure: Measure
    x: float | None = None
    panel: str = ""


@dataclass(frozen=True)
class Beside:
    """What can stand beside a paper's columns: AutoAttack in that ball on so many images, and a diagnosis by that plan."""

    ball: Ball
    images: int
    plan: Plan

    @property
    def autoattack(self) -> Column:
        """AutoAttack's column."""
        return Column("AutoAttack", Accuracy("autoattack", AutoAttack(self.ball), self.images))


@dataclass(frozen=True)
class Part:
    """Rows that are judged by the same images, with their columns. title: of the data set, where a table has several parts.

    Columns have the same titles in all parts of a table.
    """

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    beside: Beside
    title: str = ""

    def named(self, row: Row) -> str:
        """The row's title in the table."""
        return f"{row.title}, {self.title}" if self.title else row.title


@dataclass(frozen=True)
class Setting:
    """A table at one scale. says: what that is, in words."""

    says: str
    parts: tuple[Part, ...]

    @property
    def rows(self) -> dict[str, tuple[Part, Row]]:
        """Every row by its title in the table, with the part that it is in."""
        return {part.named(row): (part, row) for part in self.parts for row in part.rows}

    @property
    def columns(self) -> tuple[str, ...]:
        """The titles of all columns."""
        return tuple(column.title for column in self.parts[0].columns)


@dataclass(frozen=True)
class Drawn:
    """How a table is drawn that stands for a figure: lines over the columns' x, in these panels, or bars where there is no x.

    panels: the label of each one's y axis, by its title. x_label: of lines; None for bars.
    """

    panels: Mapping[str, str]
    x_label: str | None = None


@dataclass(frozen=True)
class Table:
    """A table of a paper. A row or cell that the paper has not is there without a number.

    settings: by scale, for those that it has; numbers of different scales never stand in one table. cells: the paper's numbers
    by the titles of row and column. ranked_by: the column by which the best and worst of several seeds are told. weights: which
    of a run's are measured. always: what stands beside its columns unasked. notes: what a reader should know of it, in sentences.
    """

    name: str
    title: str
    settings: Mapping[Scale, Setting]
    cells: Mapping[tuple[str, str], Printed]
    ranked_by: str | None = None
    weights: Which = "last"
    always: tuple[Also, ...] = ()
    notes: tuple[str, ...] = ()
    drawn: Drawn | None = None

    def ball(self, scale: Scale) -> Ball:
        """The ball of networks and attacks, which is one at each scale."""
        return self.settings[scale].parts[0].beside.ball

    def printed(self, scale: Scale, row: str, column: str) -> Printed | None:
        """The paper's number in that cell, to stand beside one of that scale; None where it has none."""
        cell = self.cells.get((row, column))
        return None if cell is None else replace(cell, same_ball=self.ball("paper") == self.ball(scale))


def cells_of(
    place: str,
    columns: Iterable[str],
    printed: Mapping[str, tuple[float, ...]],
    *,
    unit: str = "fraction",
    digits: int = 2,
) -> dict[tuple[str, str], Printed]:
    """Cells from the rows of a printed table; fractions are printed in per cent. digits: after the point, as printed."""
    titles = tuple(columns)
    return {
        (row, column): Printed(
            round(value / 100, 6) if unit == "fraction" else value, f"{place}, {row}, {column}", unit, digits
        )
        for row, values in printed.items()
        for column, value in zip(titles, values, strict=True)
    }


def find(name: str, tables: Mapping[str, Table]) -> Table:
    """The table of that name. Raises: UsageError, with the nearest names, if there is none."""
    if name not in tables:
        raise unknown("table", name, tables)
    return tables[name]
