"""Tables: the paper's number, the measured one, its interval and their difference; several seeds together; and Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hardy.report.analysis import Tabular
from hardy.results import Measurement

HEADS = ("method", "seed", "what", "paper", "measured", "95 % interval", "difference", "images")
NONE = "–"


@dataclass(frozen=True)
class Printed:
    """A number of a paper, and where it stands there.

    digits: after the point, as printed; a fraction is printed in per cent. same_ball: whether it is of the ball that ours is of.
    """

    value: float
    place: str
    unit: str = "fraction"
    digits: int = 2
    same_ball: bool = True

    def __str__(self) -> str:
        return f"{100 * self.value if self.unit == 'fraction' else self.value:.{self.digits}f}"


@dataclass(frozen=True)
class Line:
    """A number of a table: what the paper says, None where it says nothing, and what was measured here."""

    row: str
    column: str
    seed: int
    paper: Printed | None
    measured: Measurement | None

    def cells(self) -> tuple[str, ...]:
        """The line under HEADS, fractions in per cent; a dash where there is no number."""
        row, paper = self.measured, str(self.paper or NONE)
        if row is None:
            return self.row, str(self.seed), self.column, paper, NONE, NONE, NONE, NONE
        value, interval = _in(row.unit, row.value), _interval(row)
        difference = self.difference(row.value, row.unit)
        return self.row, str(self.seed), self.column, paper, value, interval or NONE, difference, f"{row.n:,}"

    def difference(self, value: float, unit: str) -> str:
        """Measured minus paper: in points, or in the unit of both; a dash without a paper, or where unit or ball is another."""
        paper = self.paper
        if paper is None or paper.unit != unit or not paper.same_ball:
            return NONE
        return f"{100 * (value - paper.value):+.1f}" if unit == "fraction" else f"{value - paper.value:+.3g}"


def percent(value: float | None) -> str:
    """A fraction in per cent; a dash for none."""
    return NONE if value is None else f"{100 * value:.1f}"


def _in(unit: str, value: float) -> str:
    """A value of that unit: a fraction in per cent."""
    return percent(value) if unit == "fraction" else f"{value:.4g}"


def _interval(row: Measurement) -> str:
    """Empty where there is none."""
    return "" if row.low is None or row.high is None else f"[{_in(row.unit, row.low)}, {_in(row.unit, row.high)}]"


def wide(lines: Sequence[Line], verdicts: Mapping[tuple[str, int], str] | None = None) -> Tabular:
    """A table without numbers of a paper: a row for each method and seed, a column for each measure.

    A column's head says how many images there were, where columns differ in that. verdicts: by method and seed, of those that
    were diagnosed; None has no column for them.
    """
    columns = list(dict.fromkeys(line.column for line in lines))
    found = {(line.row, line.seed, line.column): line.measured for line in lines}
    images = {c: {line.measured.n for line in lines if line.column == c and line.measured} for c in columns}
    differ = len(set().union(*images.values())) > 1
    titles = (f"{c}, {next(iter(n)):,} images" if differ and len(n) == 1 else c for c, n in images.items())
    rows = [
        (
            row,
            str(seed),
            *(with_interval(found.get((row, seed, c))) for c in columns),
            *([] if verdicts is None else [verdicts.get((row, seed), NONE)]),
        )
        for row, seed in dict.fromkeys((line.row, line.seed) for line in lines)
    ]
    heads = ("method", "seed", *titles, *([] if verdicts is None else ["verdict"]))
    return Tabular("", heads, tuple(rows))


def with_interval(row: Measurement | None) -> str:
    """A value in its unit, with its interval; a dash for none."""
    return NONE if row is None else f"{_in(row.unit, row.value)} {_interval(row)}".rstrip()


def over_seeds(lines: Sequence[Line], ranked_by: str | None) -> Tabular | None:
    """Mean, standard deviation, best and worst of the methods with several seeds; None where no method has them.

    ranked_by: the column by which whole networks are best and worst; None leaves these out.
    """
    rows = []
    for row in dict.fromkeys(line.row for line in lines):
        of = [line for line in lines if line.row == row]
        rank = {line.seed: line.measured.value for line in of if line.column == ranked_by and line.measured}
        best, worst = (choose(rank, key=lambda seed: rank[seed], default=None) for choose in (max, min))
        for column in dict.fromkeys(line.column for line in of):
            found = {line.seed: line.measured for line in of if line.column == column and line.measured}
            if len(found) < 2:
                continue
            one = next(line for line in of if line.column == column)
            values, unit = [it.value for it in found.values()], next(iter(found.values())).unit
            mean, deviation = statistics.mean(values), statistics.stdev(values)
            chosen = (NONE if seed not in found else _in(unit, found[seed].value) for seed in (best, worst))
            difference = one.difference(mean, unit)
            told = (str(one.paper or NONE), str(len(found)), _in(unit, mean), _in(unit, deviation), *chosen, difference)
            rows.append((row, column, *told))
    heads = ("method", "what", "paper", "seeds", "mean", "deviation", "best", "worst", "difference")
    told_by = f"; best and worst are whole networks, by {ranked_by}" if ranked_by else ""
    return Tabular(f"Over seeds{told_by}", heads, tuple(rows), left=2) if rows else None


def markdown(title: str, tables: Sequence[Tabular], remarks: Sequence[str]) -> str:
    """A page with the tables, each below its title where it has one, and the remarks."""
    parts = [f"# {title}"]
    for shown in tables:
        lines = (shown.heads, ["---"] * len(shown.heads), *shown.rows)
        parts += [f"## {shown.title}"] if shown.title else []
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in lines))
    return "\n\n".join([*parts, *remarks]) + "\n"
