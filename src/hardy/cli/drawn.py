"""A table that stands for a figure of a paper, as a figure: lines over the columns' x, or bars."""

from collections.abc import Mapping, Sequence

from hardy.cli.asked import Asked
from hardy.recipes.table import Column
from hardy.report import figures
from hardy.report.figures import Bands, Bar, Bars, Figure, Panel, Point
from hardy.report.tables import Line
from hardy.results import Measurement

Found = Mapping[tuple[str, int, str], Measurement]  # by row, seed and column


def figure(asked: Asked, lines: Sequence[Line]) -> Figure | None:
    """What is drawn of the table's lines; None for a table of numbers, or where nothing is measured yet."""
    found = {(line.row, line.seed, line.column): line.measured for line in lines if line.measured is not None}
    drawn = asked.table.drawn
    if drawn is None or not found:
        return None
    return _bars(asked, found) if drawn.x_label is None else _bands(asked, found)


def _bars(asked: Asked, found: Found) -> Bars:
    """A group of bars for each row, a bar in it for each column."""
    assert asked.table.drawn is not None
    (label,) = asked.table.drawn.panels.values()
    shown, columns = _shown(found), asked.setting.columns
    bars = tuple(tuple(_bar(found.get((*place, column))) for place in shown) for column in columns)
    return Bars(_title(asked, "lines on bars"), label, tuple(_name(*place, found) for place in shown), columns, bars)


def _bands(asked: Asked, found: Found) -> Bands:
    """A panel for each part and each of the columns' panels, in it a line for each row."""
    drawn = asked.table.drawn
    assert drawn is not None
    assert drawn.x_label is not None
    panels = []
    for part in asked.setting.parts:
        rows = {part.named(row): row.title for row in part.rows}
        for panel, label in drawn.panels.items():
            columns = [column for column in part.columns if column.panel == panel]
            of_each = {
                _name(rows[row], seed, found): _points(columns, row, seed, found)
                for row, seed in _shown(found)
                if row in rows
            }
            lines = tuple(figures.Line(name, points) for name, points in of_each.items() if points)
            over = ", ".join(word for word in (part.title, panel) if word)
            panels += [Panel(over, drawn.x_label, label, lines)] if lines else []
    return Bands(_title(asked, "bands"), tuple(panels), share_y=len(set(drawn.panels.values())) == 1)


def _title(asked: Asked, intervals: str) -> str:
    return f"{asked.table.title}; scale {asked.scale}, {intervals}: 95 % intervals"


def _shown(found: Found) -> list[tuple[str, int]]:
    """Rows and seeds of which there is a number."""
    return list(dict.fromkeys((row, seed) for row, seed, _ in found))


def _name(row: str, seed: int, found: Found) -> str:
    """The row's title, with the seed where there are several."""
    return f"{row}, seed {seed}" if len({seed for _, seed, _ in found}) > 1 else row


def _points(columns: Sequence[Column], row: str, seed: int, found: Found) -> tuple[Point, ...]:
    measured = [(column.x, found.get((row, seed, column.title))) for column in columns]
    return tuple(Point(x, *_values(it)) for x, it in measured if x is not None and it is not None)


def _bar(row: Measurement | None) -> Bar | None:
    return None if row is None else Bar(*_values(row))


def _values(row: Measurement) -> tuple[float, float | None, float | None]:
    """(value, low, high) as they are drawn: fractions in per cent."""
    times = 100 if row.unit == "fraction" else 1
    low, high = (None if value is None else times * value for value in (row.low, row.high))
    return times * row.value, low, high
