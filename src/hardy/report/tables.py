"""Tables: the paper's number, the measured one, its interval and their difference, as lines of cells and as Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hardy.results import Measurement

HEADS = ("method", "seed", "attack", "paper", "measured", "95 % interval", "difference", "images")


@dataclass(frozen=True)
class Line:
    """A number of a table: what the paper says (a fraction, None where it says nothing), and what was measured here.

    place: where in the paper it stands.
    """

    row: str
    column: str
    seed: int
    paper: float | None
    place: str
    measured: Measurement | None

    def cells(self) -> tuple[str, ...]:
        """The line in per cent, under HEADS; a dash where there is no number."""
        row = self.measured
        paper = "–" if self.paper is None else f"{100 * self.paper:.2f}"
        if row is None:
            return self.row, str(self.seed), self.column, paper, "–", "–", "–", "–"
        interval = "–" if row.low is None or row.high is None else f"[{percent(row.low)}, {percent(row.high)}]"
        difference = "–" if self.paper is None else f"{100 * (row.value - self.paper):+.1f}"
        return self.row, str(self.seed), self.column, paper, percent(row.value), interval, difference, f"{row.n:,}"


def percent(value: float | None) -> str:
    """A fraction in per cent; a dash for none."""
    return "–" if value is None else f"{100 * value:.1f}"


def wide(
    lines: Sequence[Line], verdicts: Mapping[tuple[str, int], str]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(heads, rows) of a table without numbers of a paper: a row for each method and seed, a column for each attack.

    verdicts: by method and seed, of those that were diagnosed.
    """
    columns = list(dict.fromkeys(line.column for line in lines))
    images = {line.column: line.measured.n for line in lines if line.measured}
    found = {(line.row, line.seed, line.column): line.measured for line in lines}
    heads = ("method", "seed", *(f"{c}, {images[c]:,} images" if c in images else c for c in columns), "verdict")
    rows = [
        (row, str(seed), *(with_interval(found.get((row, seed, c))) for c in columns), verdicts.get((row, seed), "–"))
        for row, seed in dict.fromkeys((line.row, line.seed) for line in lines)
    ]
    return heads, rows


def with_interval(row: Measurement | None) -> str:
    """A fraction in per cent with its interval; a dash for none."""
    if row is None:
        return "–"
    return percent(row.value) + ("" if row.low is None else f" [{percent(row.low)}, {percent(row.high)}]")


def markdown(title: str, remarks: Sequence[str], heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A page with the table and, below it, the remarks."""
    table = "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))
    return "\n\n".join([f"# {title}", table, *remarks]) + "\n"
